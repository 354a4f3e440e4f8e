"""The steps of ``demo``, on embeddings of the demo data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend, get_backend
from compressae_ref.cli.progress import TrainingBar, stage
from compressae_ref.codes import Codes
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.evaluation.frontier import draw, label, table
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.leaders import leaders
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import encode_refined
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.metrics import bytes_per_row
from compressae_ref.model import Model
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.index import search
from compressae_ref.retrieval.spaces import Space
from compressae_ref.row_source import RowSource
from compressae_ref.training.fit import fit

Say = Callable[[str], None]
Way = tuple[str, Codes, Space, int | None]
"""Name, stored codes, space to search them in, entries of a query."""
SHOWN_QUERIES = ("butter", "osteosarcoma", "cowboy")
"""Words of the queries to show: for each word the first query whose name has it, or else the next query."""
NAME = 17
"""Characters of the name of a way."""
K = 32
KS = (32, 16, 8)
BITS = 5
LEAST_COMPRESSION = 10
COMMANDS = (
    "compressae-ref train embeddings.npy -o model.npz",
    "compressae-ref encode model.npz embeddings.npy --refine -o refined.npz",
    "compressae-ref pack refined.npz -o packed.npz",
    "compressae-ref search model.npz packed.npz queries.npy --space asymmetric",
)
"""What to type with one's own data."""


def run_demo(say: Say, *, picture: str | None = None, backend: str | Backend | None = None) -> list[Row]:
    """Train, encode, search and compare; print each step and return the rows of the table."""
    if picture is not None:
        require_writable(picture)
    kernels, data = get_backend(backend), load_demo_data()
    n, d = data.items.shape
    say(f"The data: sentence embeddings of {n:,} WordNet entries, {d} dimensions, and of {len(data.queries)} queries.")
    say(f"\n1. Train a sparse autoencoder on the {n:,} vectors, with the {kernels.name} kernels ...")
    model = train(data.items, say, kernels)
    say(f"\n2. Encode each vector as a code of {K} entries. For a smaller k, keep the k largest entries.")
    codes = model.encode(data.items, backend=kernels)
    _show_code(data, model, say, kernels)
    say("\n3. Search with all queries. Recall is the share of the nearest dense neighbours that a search finds.")
    say("   nDCG rates the order of the entries that WordNet relates to the query.")
    say('   k is the number of entries of a code. "smaller by" compares its bytes with those of a dense vector.\n')
    rows, measured = measure(model, data, kernels)
    best = best_of(rows)
    say(table(rows, best))
    _explain_rows(rows, best, say)
    packed = pack(encode_refined(data.items, model, backend=kernels), BITS, backend=kernels)
    ways: list[Way] = [
        ("sparse space", codes, "sparse", 4 * K),
        ("refined, packed", packed.unpack(), "asymmetric", None),
    ]
    say("\n4. The nearest neighbours of three queries, in dense vectors and in two rows of the table:")
    for query in shown_queries(data.query_names):
        _show_neighbours(data, query, ways, model, say)
    say(f"\nThe {len(codes):,} codes with k = {K} take {len(codes) * bytes_per_row(codes):,} bytes.")
    say(f"Refined and packed, they take {n * packed.bytes_per_item:,} bytes.")
    say(f"The dense float32 vectors take {n * d * 4:,} bytes.")
    if picture is not None:
        say(_draw(measured, picture))
    say("\nOn your data, with one embedding per row in embeddings.npy, and queries alike:")
    say("\n".join(f"   {command}" for command in COMMANDS))
    return rows


def measure(model: Model, data: DemoData, backend: Backend) -> tuple[list[Row], list[Row]]:
    """Return the rows of the table, by bytes, and all rows that were measured."""
    with stage("measuring the dense vectors") as show:
        measured = evaluate(
            model,
            data.items,
            data.queries,
            ks=KS,
            bits=[BITS],
            relevance=data.relevance,
            progress=lambda row: show(f"measured: {label(row)}, {row.bytes_per_item} bytes"),
            backend=backend,
        )
    return [row for row in measured if _in_table(row)], measured


def _in_table(row: Row) -> bool:
    """Tell whether a row answers what a newcomer asks: how many bytes, and which search."""
    if row.k is None:
        return True
    if row.refined:
        return row.method == "asymmetric"
    return row.bits is None and (row.method == "asymmetric" or (row.method == "sparse" and row.query_k != row.k))


def best_of(rows: Sequence[Row]) -> Row:
    """Return the row with the highest recall among those of at most a tenth of the dense bytes."""
    return max(
        (row for row in rows if row.compression >= LEAST_COMPRESSION), key=lambda row: row.recall[max(row.recall)]
    )


def train(items: RowSource, say: Say, backend: str | Backend | None) -> Model:
    """Train with k = `K` and report the validation cosine."""
    started = time.perf_counter()
    with TrainingBar() as bar:
        result = fit(items, k=K, backend=backend, callback=bar)
    last, settings = result.history[-1], result.model.training
    say(
        f"   {settings['steps']:,} steps of {settings['batch_size']} rows took {time.perf_counter() - started:.0f} s, "
        "including compilation.\n"
        f"   With {K} of {settings['n_latents']:,} latents per code, the mean cosine between held-out vectors "
        f"and their reconstructions is {last.validation_cosine:.3f}."
    )
    return result.model


def _show_code(data: DemoData, model: Model, say: Say, backend: Backend) -> None:
    query = shown_queries(data.query_names)[0]
    code = model.encode(data.queries[query : query + 1], 4, backend=backend)
    entries = ", ".join(f"{index}: {value:+.2f}" for index, value in zip(code.indices[0], code.values[0], strict=True))
    say(f"   With k = 4, the code of {short(data.query_names[query])!r} is {{{entries}}} (latent: value).")


def _explain_rows(rows: Sequence[Row], best: Row, say: Say) -> None:
    say(
        "\n   •: no other row has higher recall at as few bytes.\n"
        f"   (best): the highest recall in at most 1/{LEAST_COMPRESSION} of the bytes of dense vectors.\n"
        f"   {other_methods(rows)}\n\n"
        "   Sparse space: the cosine of two codes, which any database for sparse vectors can compute.\n"
        "   A query code with more entries (query k) has higher recall and needs no storage.\n"
        "   Dense queries: the cosine of the dense query and the decoded code of the item.\n"
        f"   Refined codes: better chosen entries (encode --refine). Bits: values that are packed in {BITS} bits.\n"
        "   PCA: as many principal components per item as fit into the bytes of the codes with as many bytes."
    )


def other_methods(rows: Sequence[Row]) -> str:
    """Return a sentence that says at which sizes int8 and PCA are ahead of codes (`leaders.leaders`).

    Parameters
    ----------
    rows : with recall for the same numbers of neighbours
    """
    codes = [row for row in rows if row.k is not None]
    clauses = []
    for method in ("int8", "PCA"):
        others = [row for row in rows if row.method == method]
        if ahead := leaders([*others, *codes]):
            clauses.append(f"{method} is the better choice if {_at(ahead)} are affordable")
        elif partly := leaders([*others, *(code for code in codes if code.method == "sparse")]):
            clauses.append(f"{method} is better than codes in sparse space at {_at(partly)}")
        elif others:
            clauses.append(f"{method} is better at none of these sizes")
    sentence = "; ".join(clauses)
    return f"{sentence}." if sentence else ""


def _at(rows: Sequence[Row]) -> str:
    """Return the sizes of rows, and their recall."""
    sizes = " or ".join(str(row.bytes_per_item) for row in rows)
    recalls = " and ".join(f"{row.deepest:.3f}" for row in rows)
    return f"{sizes} bytes per item (recall@{max(rows[0].recall)} {recalls})"


def shown_queries(names: Sequence[str]) -> list[int]:
    """Return the row numbers of the three queries to show (see `SHOWN_QUERIES`)."""
    rows = [
        next((row for row, name in enumerate(names) if word in name.split(" (")[0].split(", ")), None)
        for word in SHOWN_QUERIES
    ]
    return [fallback if row is None else row for fallback, row in enumerate(rows)]


def _show_neighbours(data: DemoData, query: int, ways: Sequence[Way], model: Model, say: Say) -> None:
    vector = data.queries[query : query + 1]
    say(f"\n   {short(data.query_names[query], 76)}")
    say(f"     {'dense vectors':<{NAME}}{_names(data, nearest_dense(vector, data.items, 5).ids[0])}")
    for name, codes, space, query_k in ways:
        hits = search(vector, codes, 5, space=space, model=model, query_k=query_k)
        say(f"     {name:<{NAME}}{_names(data, hits.ids[0])}")


def _names(data: DemoData, ids: NDArray[np.int64]) -> str:
    return " | ".join(data.item_names[item].split(" (")[0].split(", ")[0] for item in ids)


def short(text: str, width: int = 60) -> str:
    """Shorten a text to ``width`` characters."""
    return text if len(text) <= width else text[: width - 4].rstrip() + " ..."


def _draw(rows: Sequence[Row], path: str) -> str:
    """Plot the rows; return a message that says where the plot is, or why there is none."""
    try:
        draw(rows, path, "What compression costs: 4,010 WordNet entries, MiniLM vectors")
    except DomainError as error:
        return f"The table was not plotted: {'; '.join(filter(None, (error.message, error.hint)))}."
    return f"The table was plotted to {Path(path)}."
