"""Compare the codes of a page with product quantisation at equal bytes, on the same items and queries.

    pip install 'compressae-ref[faiss]'
    python examples/browser/compare.py embeddings.npy site/data

The queries are 1,000 items, evenly spaced; each is left out of its own results. Dense: the query is the item's vector.
Stored: the query is what the stored bytes are decoded to. PQ and OPQ are those of Faiss, with one byte per part.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from inputs import read_embeddings, run
from make_page import QUERIES, neighbours_of

import compressae_ref as csae
from compressae_ref.retrieval.brute_force import nearest_dense

Search = Callable[[np.ndarray, int], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, help="the embeddings that the page was built from")
    parser.add_argument("data", type=Path, help="the folder data of the page")
    parser.add_argument("--against", nargs="*", choices=("PQ", "OPQ"), default=["PQ", "OPQ"], help="(default: both)")
    options = parser.parse_args()
    sys.exit(run(lambda: compare(read_embeddings(options.embeddings), options.data, options.against)))


def compare(x: np.ndarray, data: Path, against: list[str]) -> None:
    codes, model = csae.load_packed(data / "codes.npz"), csae.load_model(data / "model.npz")
    if len(codes) != len(x):
        raise csae.ShapeError(f"expected {len(codes):,} embeddings, as the page has, got {len(x):,}")
    rows = np.unique(np.linspace(0, len(x) - 1, QUERIES).astype(np.int64))
    truth = neighbours_of(rows, nearest_dense(x[rows], x, 101).ids)
    print(f"{len(x):,} items of {codes.bytes_per_item} bytes, {len(rows):,} queries\n")
    print("| items stored as | shared bytes | dense @10 | @100 | stored @10 | @100 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    others = (quantiser(name, np.asarray(x), codes.bytes_per_item, rows) for name in against)
    for name, shared, search, stored in itertools.chain([code_method(codes, model, rows)], others):
        cells = [recall(search, queries, rows, truth, top) for queries in (x[rows], stored) for top in (10, 100)]
        print(f"| {name} | {shared:,} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)


Method = tuple[str, int, Search, np.ndarray]
"""Name, bytes that all items share and a search needs, search, and the queries decoded from what is stored."""


def code_method(codes: csae.PackedCodes, model: csae.Model, rows: np.ndarray) -> Method:
    index = csae.Index.build(codes, space="asymmetric", model=model)
    h, d = model.params.W_dec.shape
    return "codes", h * d + 4 * h, lambda x, top: index.search(x, top).ids, model.decode(codes[rows].unpack())


def quantiser(name: str, x: np.ndarray, size: int, rows: np.ndarray) -> Method:
    import faiss

    d, unit = x.shape[1], as_unit(x)
    if d % size:
        raise csae.DomainError(f"expected bytes per code that divide d = {d}, got {size}; choose another k")
    parts = {"PQ": f"PQ{size}", "OPQ": f"OPQ{size},PQ{size}"}[name]
    index = faiss.index_factory(d, parts, faiss.METRIC_INNER_PRODUCT)
    index.train(unit)
    index.add(unit)
    shared = 4 * 256 * d + (4 * d * d if name == "OPQ" else 0)  # centroids, and the rotation
    stored = np.stack([index.reconstruct(int(row)) for row in rows])
    return name, shared, lambda queries, top: index.search(as_unit(queries), top)[1], stored


def as_unit(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def recall(search: Search, queries: np.ndarray, rows: np.ndarray, truth: np.ndarray, top: int) -> float:
    return csae.recall_at(neighbours_of(rows, search(queries, top + 1)), truth[:, :top])


if __name__ == "__main__":
    main()
