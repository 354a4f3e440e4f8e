"""Codes in SQLite: an aggregate function over packed codes, and an inverted table that needs no function.

Run it with ``python examples/11_sqlite.py``. It uses paragraphs of the demo data, and takes seconds.
``python examples/11_sqlite.py items.npy queries.npy [model.npz]`` does the same with your embeddings; without a model it trains one.
If a function fails, SQLite says only that it failed: ``sqlite3.enable_callback_tracebacks(True)`` prints why.

Equations: E10, E17, E19 to E25, R10. Pages of spec/: compressae.md, refine.md, packed.md. Chapter: examples/learn/5_search.py.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time

import numpy as np

from compressae_ref import (
    Codes,
    CompressaeError,
    DomainError,
    Model,
    PackedCodes,
    encode_refined,
    fit,
    get_backend,
    load_model,
    pack,
    reference,
    search,
)
from compressae_ref.demo_data import load_addresses
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.retrieval.spaces import as_queries

TOP, EXPANSION = 10, 8


def query_vectors(model: Model, x: np.ndarray, m: int | None = None) -> np.ndarray | Codes:
    """Return u = W_dec x̄ of dense queries, or with m its m largest entries."""
    like, space = Codes.none(model.k, model.params.n_latents), "asymmetric" if m is None else "expanded"
    return as_queries(space, x, like, model, m, get_backend()).u


def as_json(codes: Codes) -> list[str]:
    """Return each row as a JSON array of [latent, value]."""
    rows = zip(codes.indices.tolist(), codes.values.tolist(), strict=True)
    return [json.dumps([*zip(*row, strict=True)]) for row in rows]


def nearest_by(model: Model, like: PackedCodes) -> type:
    """Return the SQL aggregate nearest(id, code, norm, query): the best items as a JSON array of [id, cosine].

    It collects the rows of the statement, and unpacks and scores all of them at once at the end.
    """

    class Nearest:
        def __init__(self) -> None:
            self.ids, self.codes, self.norms, self.query = [], [], [], b""

        def step(self, item: int, code: bytes, norm: float, query: bytes) -> None:
            self.ids.append(item)
            self.codes.append(code)
            self.norms.append(norm)
            self.query = query

        def finalize(self) -> str:
            # Copies as bytearrays, because Numba would compile other kernels for arrays that are read-only.
            data = np.frombuffer(bytearray().join(self.codes), np.uint8).reshape(-1, like.bytes_per_item)
            codes = PackedCodes(data, like.n_latents, like.k, like.bits).unpack()
            u = query_vectors(model, np.frombuffer(bytearray(self.query), np.float32)[None])
            scores = reference.gather(u, codes.indices, codes.values) / np.array(self.norms, np.float32)
            return json.dumps([(self.ids[row], float(scores[0, row])) for row in reference.best(scores, TOP)[0]])

    return Nearest


NEAREST = """
SELECT json_extract(hit.value, '$[0]'), json_extract(hit.value, '$[1]')
FROM json_each((SELECT nearest(id, code, norm, ?) FROM packed WHERE id >= ?)) AS hit"""

INVERTED = """
WITH query AS (SELECT json_extract(value, '$[0]') AS latent, json_extract(value, '$[1]') AS weight FROM json_each(?))
SELECT item, SUM(weight * value) AS score
FROM query CROSS JOIN postings USING (latent) WHERE item >= ?
GROUP BY item ORDER BY score DESC, item LIMIT 10"""


def filled(packed: PackedCodes, norms: np.ndarray, path: str = ":memory:") -> sqlite3.Connection:
    """Return a database with a table of packed codes, and a table of their entries divided by the norm of the item."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE packed (id INTEGER PRIMARY KEY, code BLOB, norm REAL)")
    db.execute(
        "CREATE TABLE postings (latent INTEGER, item INTEGER, value REAL, PRIMARY KEY (latent, item)) WITHOUT ROWID"
    )
    rows = zip(map(bytes, packed.data), norms.tolist(), strict=True)
    db.executemany("INSERT INTO packed VALUES (?, ?, ?)", ((i, *row) for i, row in enumerate(rows)))
    codes = packed.unpack()
    items = np.repeat(np.arange(len(codes)), codes.k)
    order = np.argsort(codes.indices, axis=None, kind="stable")  # in the order of the primary key
    columns = (codes.indices.ravel(), items, (codes.values / norms[:, None]).ravel())
    db.executemany(
        "INSERT INTO postings VALUES (?, ?, ?)", zip(*(column[order].tolist() for column in columns), strict=True)
    )
    db.commit()
    return db


def bytes_of(db: sqlite3.Connection, table: str) -> int:
    """Return the bytes of a table in the file: its pages in a copy of the database that has no other table."""
    only = sqlite3.connect(":memory:")
    db.backup(only)
    for other in {"packed", "postings"} - {table}:
        only.execute(f"DROP TABLE {other}")
    only.execute("VACUUM")
    return only.execute("PRAGMA page_count").fetchone()[0] * only.execute("PRAGMA page_size").fetchone()[0]


def compare(db: sqlite3.Connection, name: str, sql: str, asked: list, expected: list, from_item: int = 0) -> None:
    """Ask every query, and print whether ids and scores are those of `search`."""
    found, seconds = [], []
    for query in asked:
        start = time.perf_counter()
        found.append(db.execute(sql, (query, from_item)).fetchall())
        seconds.append(time.perf_counter() - start)
    same = sum([item for item, _ in hits] == ids for hits, (ids, _) in zip(found, expected, strict=True))
    apart = max(
        abs(a - b)
        for hits, (_, scores) in zip(found, expected, strict=True)
        for (_, a), b in zip(hits, scores, strict=False)  # fewer hits, if fewer items share a latent with the query
    )
    print(f"   {name:<28} {1e3 * np.median(seconds):>6.1f} ms  {same} of {len(asked)}  {apart:.0e}")


def problem(given: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Model]:
    """Return items, queries and a model: those of the files, or of the demo data."""
    if given.items is None:
        data = load_addresses().vectors.astype(np.float32)
        x, queries = np.delete(data, slice(None, None, 300), axis=0), data[::300]
    else:
        x, queries = (np.asarray(open_embeddings(path), np.float32) for path in (given.items, given.queries))
    if given.model is None:
        return x, queries, fit(x, serve="dense", n_latents=1024, k=32, steps=150, batch_size=256).model
    model = load_model(given.model)
    if model.params.mean is not None:
        hint = "the norms and scores of a centred model have other formulas (spec/center.md)"
        raise DomainError("expected a model without a mean, got a centred model", path=given.model, hint=hint)
    return x, queries, model


def main(given: argparse.Namespace) -> None:
    x, queries, model = problem(given)
    queries = np.asarray(queries[:30], np.float32)
    packed = pack(encode_refined(x, model))
    codes, half = packed.unpack(), len(x) // 2
    norms = reference.clamped_norm(model.decode(codes))
    db = filled(packed, norms)
    db.create_aggregate("nearest", 4, nearest_by(model, packed))

    def expected(space: str, of: Codes, from_item: int = 0, **settings: int) -> list[tuple[list[int], list[float]]]:
        hits = search(queries, of, TOP, space=space, model=model, backend="numpy", **settings)
        return list(zip((hits.ids + from_item).tolist(), hits.scores.tolist(), strict=True))

    m = min(EXPANSION * model.k, model.params.n_latents)
    expanded = query_vectors(model, queries, m)
    dense = [query.tobytes() for query in queries]
    sparse = as_json(expanded)
    sizes = ", ".join(f"{bytes_of(db, table) / len(x):.0f} in {table}" for table in ("packed", "postings"))
    print(f"1. {len(x):,} items, {packed.bytes_per_item} bytes each when packed. Bytes per item in the file: {sizes}")
    print("2. Median time of a dense query; queries whose ids are those of search; largest difference of scores")
    compare(db, "aggregate over packed codes", NEAREST, dense, expected("asymmetric", codes))
    compare(db, "the same of the last half", NEAREST, dense, expected("asymmetric", codes[half:], half), half)
    compare(db, f"inverted table, {m} entries", INVERTED, sparse, expected("expanded", codes, query_k=m))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("items", "embeddings (n, d)"), ("queries", "queries (n, d)"), ("model", "model file")):
        parser.add_argument(name, nargs="?", metavar=name.upper(), help=text)
    given = parser.parse_args()
    if given.items is not None and given.queries is None:
        parser.error("expected ITEMS and QUERIES, got ITEMS alone")
    return given


if __name__ == "__main__":
    try:
        main(arguments())
    except (CompressaeError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
