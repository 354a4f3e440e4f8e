"""Other ways of storing dense items in few bytes, to compare with: each says how many bytes, and what it finds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.retrieval.brute_force import best_products, unit_or_zero

Search = Callable[[Floats, int], NDArray[np.int64]]
"""Unit queries (n_q, d) and how many to find → ids (n_q, top)."""

RESCORED = 4
"""Binary codes: so many times as many candidates as are to be found are scored again by the dense query."""

CENTROIDS = 256
"""Of a part of a row in product quantisation, which takes a byte; they are trained on at least as many rows."""


class Baseline(NamedTuple):
    """One way of storing items."""

    method: str
    bytes_per_item: int
    search: Search


def baselines(x_unit: Floats, sizes: Sequence[int], quantised_sizes: Sequence[int]) -> Iterator[Baseline]:
    """Baselines for unit items (n, d): those that have one size, and the others at sizes in bytes.

    Parameters
    ----------
    sizes : of PCA and of the first dimensions alone, as Matryoshka embeddings are made shorter; both keep float32
    quantised_sizes : of product quantisation (PQ, and OPQ, which rotates first)

    Notes
    -----
    PQ, OPQ and RaBitQ are those of faiss, and left out where it is not installed or where items are too few to train.
    """
    yield from _scalar(x_unit)
    components = principal_components(x_unit)
    axes = np.eye(x_unit.shape[1], dtype=x_unit.dtype)
    for size in sorted({*sizes, *quantised_sizes}, reverse=True):
        m = min(size // x_unit.itemsize, len(axes))
        if m:
            yield by_components("PCA", x_unit, components[:m])
            yield by_components("truncation", x_unit, axes[:m])
    if has_faiss() and len(x_unit) >= CENTROIDS:
        yield from _quantised(x_unit, sorted(set(quantised_sizes), reverse=True))


def has_faiss() -> bool:
    """Whether product quantisers are at hand."""
    return importlib.util.find_spec("faiss") is not None


def principal_components(x_unit: Floats) -> Floats:
    """Directions (d, d) of falling uncentred second moment Σᵢ ⟨x̄ᵢ, c⟩², as rows: the first m keep most of it."""
    moments = x_unit.T.astype(np.float64) @ x_unit
    return np.linalg.eigh(moments)[1].T[::-1].astype(x_unit.dtype)


def by_components(method: str, x_unit: Floats, directions: Floats) -> Baseline:
    """As many float32 numbers as there are directions (m, d), compared by cosine."""
    items = unit_or_zero(x_unit @ directions.T)
    return Baseline(
        method, len(directions) * items.itemsize, lambda x_q, top: best_products(x_q @ directions.T, items, top).ids
    )


def _scalar(x_unit: Floats) -> Iterator[Baseline]:
    d, half = x_unit.shape[1], x_unit.astype(np.float16)
    yield Baseline("float16", 2 * d, _decoded(half, lambda rows: rows.astype(np.float32)))
    scale = np.maximum(np.abs(x_unit).max(axis=0), np.finfo(np.float32).tiny) / 127
    integers = np.rint(x_unit / scale).astype(np.int8)
    yield Baseline("int8", d, _decoded(integers, lambda rows: rows * scale))
    bits = np.packbits(x_unit > 0, axis=1)
    yield Baseline("binary", bits.shape[1], lambda x_q, top: _nearest_signs(x_q, bits, top))
    yield Baseline("binary, rescored", bits.shape[1], lambda x_q, top: _rescored(x_q, bits, top))


def _decoded(stored: NDArray[Any], decode: Callable[[NDArray[Any]], Floats]) -> Search:
    """Search among rows that are near unit ones when they are read, which is done block by block."""
    return lambda x_q, top: best_products(x_q, stored, top, lambda rows, first: decode(rows)).ids


def _signs(bits: NDArray[np.uint8], d: int) -> Floats:
    """±1 for the bits of rows."""
    return np.where(np.unpackbits(bits, axis=1, count=d), np.float32(1), np.float32(-1))


def _nearest_signs(x_q: Floats, bits: NDArray[np.uint8], top: int) -> NDArray[np.int64]:
    """Fewest differing bits: the highest dot of signs."""
    signs_q = np.where(x_q > 0, np.float32(1), np.float32(-1))
    return best_products(signs_q, bits, top, lambda rows, first: _signs(rows, x_q.shape[1])).ids


def _rescored(x_q: Floats, bits: NDArray[np.uint8], top: int) -> NDArray[np.int64]:
    """The nearest by their bits, and of these the nearest to the dense query."""
    near = _nearest_signs(x_q, bits, RESCORED * top)
    scores = np.stack([_signs(bits[rows], x_q.shape[1]) @ query for rows, query in zip(near, x_q, strict=True)])
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable")[:, :top], axis=1)


def _quantised(x_unit: Floats, sizes: Sequence[int]) -> Iterator[Baseline]:
    """What faiss trains; a byte for each part of a row, and the rotation of OPQ leaves out what does not divide."""
    d = x_unit.shape[1]
    for size in sizes:
        parts = max(m for m in range(1, min(size, d) + 1) if d % m == 0)
        yield _of_faiss("PQ", f"PQ{parts}", x_unit)
        parts = min(size, d)
        yield _of_faiss("OPQ", f"OPQ{parts}_{d // parts * parts},PQ{parts}", x_unit)
    yield _of_faiss("RaBitQ", "RaBitQ", x_unit)


def _of_faiss(method: str, factory: str, x_unit: Floats) -> Baseline:
    import faiss

    index = faiss.index_factory(x_unit.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    quantiser = faiss.downcast_index(getattr(index, "index", index))  # OPQ's stands behind its rotation
    if hasattr(quantiser, "do_polysemous_training"):
        quantiser.do_polysemous_training = False  # finds an order of the centroids, in most of the time, for nothing
    index.train(x_unit)
    index.add(x_unit)
    return Baseline(method, int(index.sa_code_size()), lambda x_q, top: _found(index, x_q, top))


def _found(index: Any, x_q: Floats, top: int) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = index.search(x_q, min(top, index.ntotal))[1]
    return ids
