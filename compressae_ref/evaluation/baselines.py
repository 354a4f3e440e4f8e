"""Other ways to store dense items in few bytes, to compare with: each has a size and a search."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.retrieval.brute_force import best_products, unit_or_zero

Search = Callable[[Floats, int], NDArray[np.int64]]
"""Unit queries (n_q, d), top → ids (n_q, top)."""

RESCORED = 4
"""Binary codes: candidates to re-rank by the dense query, for each item to be returned."""

CENTROIDS = 256
"""Centroids for each part of a row in product quantisation: one byte. Training needs at least as many rows."""


class Baseline(NamedTuple):
    """One way to store items."""

    method: str
    bytes_per_item: int
    search: Search


def baselines(x_unit: Floats, sizes: Sequence[int], quantised_sizes: Sequence[int]) -> Iterator[Baseline]:
    """Yield the baselines for unit items (n, d): those with one size, and the others at given sizes in bytes.

    Parameters
    ----------
    sizes : of PCA and of the first dimensions (as for Matryoshka embeddings); both keep float32
    quantised_sizes : of product quantisation: PQ, and OPQ, which rotates first

    Notes
    -----
    PQ, OPQ and RaBitQ are those of faiss. They are left out if faiss is not installed or if there are too few items.
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
    """Tell whether faiss, and with it product quantisation, is installed."""
    return importlib.util.find_spec("faiss") is not None


def principal_components(x_unit: Floats) -> Floats:
    """Return directions (d, d) as rows, by decreasing uncentred second moment Σᵢ ⟨x̄ᵢ, c⟩²."""
    moments = x_unit.T.astype(np.float64) @ x_unit
    return np.linalg.eigh(moments)[1].T[::-1].astype(x_unit.dtype)


def by_components(method: str, x_unit: Floats, directions: Floats) -> Baseline:
    """Store one float32 number for each of the directions (m, d), and compare by cosine."""
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
    """Search among stored rows that are decoded to nearly unit rows, block by block."""
    return lambda x_q, top: best_products(x_q, stored, top, lambda rows, first: decode(rows)).ids


def _signs(bits: NDArray[np.uint8], d: int) -> Floats:
    """Decode bits to ±1."""
    return np.where(np.unpackbits(bits, axis=1, count=d), np.float32(1), np.float32(-1))


def _nearest_signs(x_q: Floats, bits: NDArray[np.uint8], top: int) -> NDArray[np.int64]:
    """Return the items with the fewest differing bits, which have the highest dot of signs."""
    signs_q = np.where(x_q > 0, np.float32(1), np.float32(-1))
    return best_products(signs_q, bits, top, lambda rows, first: _signs(rows, x_q.shape[1])).ids


def _rescored(x_q: Floats, bits: NDArray[np.uint8], top: int) -> NDArray[np.int64]:
    """Take the nearest items by their bits, then re-rank them by the dense query."""
    near = _nearest_signs(x_q, bits, RESCORED * top)
    scores = np.stack([_signs(bits[rows], x_q.shape[1]) @ query for rows, query in zip(near, x_q, strict=True)])
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable")[:, :top], axis=1)


def _quantised(x_unit: Floats, sizes: Sequence[int]) -> Iterator[Baseline]:
    """Train the quantisers of faiss: one byte per part of a row; OPQ drops dimensions so that the parts are equal."""
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
    quantiser = faiss.downcast_index(getattr(index, "index", index))  # for OPQ it follows the rotation
    if hasattr(quantiser, "do_polysemous_training"):
        quantiser.do_polysemous_training = False  # takes most of the time, and is not used here
    index.train(x_unit)
    index.add(x_unit)
    return Baseline(method, int(index.sa_code_size()), lambda x_q, top: _found(index, x_q, top))


def _found(index: Any, x_q: Floats, top: int) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = index.search(x_q, min(top, index.ntotal))[1]
    return ids
