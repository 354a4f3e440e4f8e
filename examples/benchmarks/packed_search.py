"""Search over codes that stay packed, beside the unpacked index and faiss at equal bytes."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.many import many_embeddings
from benchmarks.measure import head, in_turns, line, load, spread
from compressae_ref import Index, Model, PackedCodes, PackedIndex, encode_refined, load_model, pack, recall_at
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense

TOP, BATCH = 100, 64
SPACES = ("asymmetric", "expanded", "sparse")
Find = Callable[[np.ndarray], np.ndarray]


def packed_search(options: argparse.Namespace) -> None:
    """Milliseconds for a batch of 64 queries and for one, bytes for each item, and recall."""
    model, n = load_model(options.model), min(options.items)
    x, x_q = many_embeddings(load(options.embeddings), n), unit_rows(load(options.queries), np.float32)
    packed, near = pack(encode_refined(x, model)), nearest_dense(x_q[: options.asked], x, TOP).ids
    head(
        "items",
        "engine",
        "bytes per item",
        f"{BATCH} queries, ms",
        "times Index",
        "1 query, ms",
        f"recall@{TOP}",
        text=2,
    )
    for space in SPACES:
        _in_a_space(space, packed, model, x_q, near, options)
    _faiss(x, x_q, near, options)
    for many in sorted(options.items)[1:]:
        _many(packed, many, model, x_q, options)


def _in_a_space(
    space: Any, packed: PackedCodes, model: Model, x_q: np.ndarray, near: np.ndarray, options: argparse.Namespace
) -> None:
    index = Index.build(packed, space=space, model=model)
    ours = PackedIndex.build(packed, space=space, model=model)
    for found, expected in zip(ours.search(x_q[:BATCH], TOP), index.search(x_q[:BATCH], TOP), strict=True):
        if not np.array_equal(found, expected):
            raise SystemExit(f"{space}: the packed index finds other items, or with other scores")
    took = in_turns(
        options.turns,
        1,
        **{
            f"{name}, {n}": lambda each=each, n=n: each.search(x_q[:n], TOP)
            for name, each in (("Index", index), ("PackedIndex", ours))
            for n in (BATCH, 1)
        },
    )
    recall = recall_at(ours.search(x_q[: len(near)], TOP).ids, near)
    for name, size in (("Index", _bytes(index)), ("PackedIndex", ours.nbytes / len(ours))):
        many, one = (took[f"{name}, {n}"] for n in (BATCH, 1))
        times = spread(many / took[f"Index, {BATCH}"], 2)
        line(
            f"{len(packed):,}",
            f"{name}, {space}",
            round(size),
            spread(1e3 * many, 0),
            times,
            spread(1e3 * one, 1),
            f"{recall:.4f}",
        )


def _bytes(index: Index) -> float:
    """Bytes for each item: indices, values, norms, ids, and the lists of the backend."""
    (segment,) = index._state.segments
    arrays = [segment.codes.indices, segment.codes.values, segment.norms, index.ids]
    lists = [each for each in segment.index or () if isinstance(each, np.ndarray)]
    return sum(each.nbytes for each in (*arrays, *lists)) / len(index)


def _faiss(x: np.ndarray, x_q: np.ndarray, near: np.ndarray, options: argparse.Namespace) -> None:
    """Indexes of faiss at about equal bytes; with RFlat the floats are kept, too."""
    import faiss

    faiss.omp_set_num_threads(options.threads)
    d = x.shape[1]
    for name in options.faiss:
        index = faiss.index_factory(d, name, faiss.METRIC_INNER_PRODUCT)
        index.train(x[:: max(1, len(x) // 65_536)])
        index.add(x)
        if "RFlat" in name:
            index.k_factor = 4
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "index")
            faiss.write_index(index, path)
            size = Path(path).stat().st_size / len(x)
        took = in_turns(
            options.turns,
            1,
            many=lambda index=index: index.search(x_q[:BATCH], TOP),
            one=lambda index=index: index.search(x_q[:1], TOP),
        )
        recall = recall_at(index.search(x_q[: len(near)], TOP)[1], near)
        line(
            f"{len(x):,}",
            f"faiss {name}",
            round(size),
            spread(1e3 * took["many"], 0),
            None,
            spread(1e3 * took["one"], 1),
            f"{recall:.4f}",
        )


def _many(packed: PackedCodes, n: int, model: Model, x_q: np.ndarray, options: argparse.Namespace) -> None:
    """The codes again and again, up to n items, in memory and mapped from a file."""
    repeated = PackedCodes(
        np.resize(packed.data, (n, packed.bytes_per_item)),
        packed.n_latents,
        packed.k,
        packed.bits,
        packed.model,
        packed.refined,
    )
    index = PackedIndex.build(repeated, space="asymmetric", model=model)
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "index.npz")
        start = time.perf_counter()
        mapped = PackedIndex.load(Path(folder) / "index.npz", model=model, check=False)
        opened = time.perf_counter() - start
        took = in_turns(
            min(options.turns, 3),
            1,
            **{
                f"{name}, {queries}": lambda each=each, queries=queries: each.search(x_q[:queries], TOP)
                for name, each in (("memory", index), ("mapped", mapped))
                for queries in (BATCH, 1)
            },
        )
        for name, each, what in (("memory", index, ""), ("mapped", mapped, f", opened in {1e3 * opened:.0f} ms")):
            many, one = (took[f"{name}, {queries}"] for queries in (BATCH, 1))
            line(
                f"{n:,}",
                f"PackedIndex, asymmetric, {name}{what}",
                round(each.nbytes / n),
                spread(1e3 * many, 0),
                None,
                spread(1e3 * one, 1),
                None,
            )
