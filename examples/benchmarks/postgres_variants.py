"""Ways to store items in PostgreSQL and to search them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.postgres_problem import HALF_ROUNDING, Problem, Variant, hamming
from benchmarks.postgres_tables import (
    Sparsevec,
    Tables,
    bit_strings,
    bits,
    entries_of,
    nearest,
    reranked,
    sparsevecs,
    summed,
    vectors,
)

# -- variants of one kind ---------------------------------------------------------------------------------------------

CODE = "code <#> %(codes)s::sparsevec"
M16 = (16, 64)
"""m and ef_construction: the defaults of pgvector."""

COSINE = "code <=> %(codes)s::sparsevec"
STORED = {"sparse": "codes", "expanded": "refined codes"}


def dense_scan(p: Problem) -> Variant:
    """Return what every other variant is compared with."""
    sql = nearest("dense", f"v <=> %(dense)s::vector({p.d})")
    return Variant(f"vector({p.d})", "scan", "dense", sql, p.dense, p.asked)


def _codes(p: Problem, space: str, entries: int, distance: str = CODE) -> Variant:
    """Scan codes."""
    table, operator = {"sparse": "sparse", "expanded": "refined"}[space], distance.split()[1]
    search = f"scan, `{operator}`, query of {min(entries, p.h)}"
    values = {"codes": p.text(space, entries)}
    return Variant(STORED[space], search, table, nearest(table, distance), p.scores(space, entries), values)


def _bits(p: Problem, candidates: int, entries: int, table: str = "items") -> Variant:
    """Take candidates by the signs of the dense vectors, and re-rank them by refined codes."""
    first = f"bits <~> binary_quantize(%(dense)s::vector({p.d}))"
    return Variant(
        f"bit({p.d}), refined codes", f"scan of bits, {candidates} re-ranked by a query of {min(entries, p.h)}", table,
        reranked(table, first, candidates, CODE), p.scores("expanded", entries),
        {"dense": p.asked["dense"], "codes": p.text("expanded", entries)},
        first=(hamming(p.x, p.queries), candidates),
    )  # fmt: skip


def _approximate(variant: Variant, table: str, index: tuple[int, int], ef: int) -> Variant:
    """Search another table, which has an index."""
    sql = variant.sql.replace(f" {variant.table} ", f" {table} ")
    search = f"HNSW {index[0]}/{index[1]}, ef {ef}" + variant.search.replace("scan of", ", of").removeprefix("scan")
    return replace(
        variant, search=search, table=table, sql=sql, exact=False, settings={**variant.settings, "hnsw.ef_search": ef}
    )


def _of_halves(p: Problem, table: str, what: str, scores: np.ndarray) -> Variant:
    sql = nearest(table, f"v <=> %(dense)s::halfvec({p.d})")
    return Variant(f"halfvec({p.d}){what}", "scan", table, sql, scores, p.asked, rounding=HALF_ROUNDING)


# -- groups, which are timed in turns ---------------------------------------------------------------------------------


def scans(p: Problem, tables: Tables) -> list[Variant]:
    """Scan dense vectors, reconstructions, codes, and an inverted table."""
    tables.copy("dense", "v", f"vector({p.d})", vectors(p.x))
    tables.copy("reconstructed", "v", f"vector({p.d})", vectors(p.reconstructed))
    for table, source in {"half": "dense", "half_reconstructed": "reconstructed"}.items():
        tables.derive(table, f"SELECT id, v::halfvec({p.d}) AS v FROM {source}")
    for table, (space, refine) in {"sparse": ("sparse", False), "refined": ("expanded", True)}.items():
        tables.copy(table, "code", f"sparsevec({p.h})", sparsevecs(p.stored(space, refine)))
    tables.inverted("inverted", p.stored("sparse", False))
    return [
        _of_halves(p, "half", "", p.dense),
        _of_halves(p, "half_reconstructed", " of reconstructions", p.scores("expanded", p.h)),
        _codes(p, "sparse", 128, COSINE),
        _codes(p, "sparse", 128),
        _codes(p, "sparse", 32),
        _codes(p, "expanded", 256),
        _codes(p, "expanded", 1024),
        _summed(p, 32),
        _summed(p, 128),
    ]


def _summed(p: Problem, entries: int) -> Variant:
    latents, values = entries_of(p.sent("sparse", entries))
    parameters = {"latents": latents, "values": values}
    search = f"sums of a query of {entries}"
    return Variant(
        "rows (latent, id, value)", search, "inverted", summed("inverted"), p.scores("sparse", entries), parameters
    )


def first_stages(p: Problem, tables: Tables) -> list[Variant]:
    """Re-rank candidates that a scan of bits returns."""
    signs = f"SELECT id, binary_quantize(v)::bit({p.d}) AS bits, code FROM {{}} JOIN refined USING (id) ORDER BY id"
    tables.derive("items", signs.format("dense"))
    tables.derive("items_reconstructed", signs.format("reconstructed"))
    rotated, asked = p.rotated(256)
    tables.copy("rotated", "bits", f"bit({rotated.shape[1]})", bits(rotated))
    tables.derive("items_rotated", "SELECT id, bits, code FROM rotated JOIN refined USING (id) ORDER BY id")
    last = _bits(p, 1000, p.h)
    name = f"scan of {rotated.shape[1]} bits of principal components, 1000 re-ranked by a query of {p.h}"
    return [
        *(_bits(p, candidates, p.h) for candidates in (200, 400)),
        _bits(p, 1000, 256),
        _bits(p, 1000, 1024),
        last,
        replace(
            _bits(p, 1000, p.h, "items_reconstructed"),
            search=last.search.replace("bits", "bits of reconstructions"),
            first=(hamming(p.reconstructed, p.queries), 1000),
        ),
        replace(
            last, stored=f"bit({rotated.shape[1]}), refined codes", search=name, table="items_rotated",
            sql=reranked("items_rotated", f"bits <~> %(bits)s::bit({rotated.shape[1]})", 1000, CODE),
            values={"bits": bit_strings(asked), "codes": last.values["codes"]},
            first=(hamming(rotated, asked), 1000),
        ),
    ]  # fmt: skip


def settings(p: Problem, tables: Tables) -> list[Variant]:
    """Change settings of the server and the form of parameters."""
    tables.derive("plain", "SELECT * FROM refined", plain="code")
    scan, staged = _codes(p, "expanded", 256), _bits(p, 1000, p.h)
    binary = {entries: list(map(Sparsevec, sparsevecs(p.sent("expanded", entries)))) for entries in (256, p.h)}

    def named(variant: Variant, words: str, **changes: Any) -> Variant:
        return replace(variant, search=f"{variant.search}; {words}", **changes)

    changed = [
        change
        for variant, entries in ((scan, 256), (staged, p.h))
        for change in (
            named(variant, "as above"),
            named(variant, "2 parallel workers", settings={"max_parallel_workers_per_gather": 2}),
            named(variant, "binary parameters", values={**variant.values, "codes": binary[entries]}),
            named(variant, "not prepared", prepare=False),
        )
    ]
    parallel = {"max_parallel_workers_per_gather": 2}
    plain = named(scan, "STORAGE PLAIN", table="plain", sql=scan.sql.replace(" refined ", " plain "))
    return [named(dense_scan(p), "2 parallel workers", settings=parallel), *changed, plain]


def dense_indexes(p: Problem, tables: Tables) -> list[Variant]:
    """Search dense vectors by HNSW, and by HNSW on their bits with dense re-ranking."""
    tables.derive("dense_hnsw", "SELECT * FROM dense", index="hnsw (v vector_cosine_ops)")
    tables.derive("half_hnsw", "SELECT * FROM half", index="hnsw (v halfvec_cosine_ops)")
    tables.derive("half_reconstructed_hnsw", "SELECT * FROM half_reconstructed", index="hnsw (v halfvec_cosine_ops)")
    signs = f"binary_quantize(v)::bit({p.d})"
    tables.derive("dense_bits", "SELECT * FROM dense", index=f"hnsw (({signs}) bit_hamming_ops)")
    scan, half = dense_scan(p), _of_halves(p, "half", "", p.dense)
    decoded = _of_halves(p, "half_reconstructed", " of reconstructions", p.scores("expanded", p.h))
    asked = f"%(dense)s::vector({p.d})"
    sql = reranked("dense_bits", f"{signs} <~> binary_quantize({asked})", 400, f"v <=> {asked}", "v")
    bits_first = replace(scan, table="dense_bits", sql=sql, search="scan of bits in the index, 400 re-ranked")
    return [
        *(_approximate(scan, "dense_hnsw", M16, ef) for ef in (100, 200, 400)),
        *(_approximate(half, "half_hnsw", M16, ef) for ef in (100, 200)),
        _approximate(decoded, "half_reconstructed_hnsw", M16, 200),
        _approximate(bits_first, "dense_bits", M16, 400),
    ]


def code_indexes(p: Problem, tables: Tables) -> list[Variant]:
    """Search codes by HNSW with several settings, alone and as a first stage."""
    sparse, cosine = _codes(p, "sparse", 128), _codes(p, "sparse", 128, COSINE)
    refined = _codes(p, "expanded", 256)
    built = {"cosine": (cosine, "cosine", M16), "ip": (sparse, "ip", M16)}
    built |= {
        "ip_200": (sparse, "ip", (16, 200)),
        "ip_32": (sparse, "ip", (32, 200)),
        "ip_refined": (refined, "ip", M16),
    }
    variants = []
    for table, (scan, operators, (m, construction)) in built.items():
        options = f"WITH (m = {m}, ef_construction = {construction})"
        tables.derive(table, f"SELECT * FROM {scan.table}", index=f"hnsw (code sparsevec_{operators}_ops) {options}")
        variants += [_approximate(scan, table, (m, construction), ef) for ef in (100, 200, 400)]
    return [*variants, *(_by_short_query(p, refined, entries) for entries in (64, 256))]


def _by_short_query(p: Problem, refined: Variant, entries: int) -> Variant:
    """Take candidates by an index on codes and a short query, and re-rank them by all entries."""
    first = reranked("ip_refined", "code <#> %(short)s::sparsevec", 400, CODE)
    values = {"short": p.text("expanded", entries), "codes": p.text("expanded", p.h)}
    search = f"scan, query of {min(entries, p.h)}, 400 re-ranked by a query of {p.h}"
    scan = replace(refined, search=search, table="ip_refined", sql=first, values=values)
    return _approximate(replace(scan, scores=p.scores("expanded", p.h)), "ip_refined", M16, 400)


def bit_indexes(p: Problem, tables: Tables) -> list[Variant]:
    """Take candidates by HNSW on the bits, and re-rank them by refined codes."""
    variants = []
    for table, setting in {"bits_16": M16, "bits_32": (32, 200)}.items():
        options = "WITH (m = {}, ef_construction = {})".format(*setting)
        tables.derive(table, "SELECT * FROM items ORDER BY id", index=f"hnsw (bits bit_hamming_ops) {options}")
        for candidates, entries in ((200, p.h), (400, p.h), (1000, 1024), (1000, p.h)):
            variants.append(_approximate(_bits(p, candidates, entries), table, setting, candidates))
    return variants


GROUPS: Sequence[Callable[[Problem, Tables], list[Variant]]] = (
    scans, first_stages, settings, dense_indexes, code_indexes, bit_indexes,
)  # fmt: skip
"""Each creates its tables. A scan of dense vectors takes turns with each group."""
