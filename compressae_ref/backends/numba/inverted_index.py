"""Inverted lists: for each block of items and each latent, which of them store it, and about with what value.

Values are divided by the item's norm, and rounded to integers of 8 bits: v/‖item‖ = (p + r)/S with |p| ≤ 127. Lists say
where a search need not look (`numba_search`); no score comes from them. The latents that many items of a block store
have a *column* instead, with an integer for every item: adding up a column takes a tenth of the time for each item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import kernel
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes
from compressae_ref.errors import FormatError

ITEMS_PER_BLOCK = 16384
"""Items of a block: their sums of 16 bits stay in the first-level cache."""

COLUMN_THRESHOLD = 10
"""A latent that more than one in so many items of a block store has a column there."""

MAX_INTEGER = 127
"""The largest integer."""


class InvertedIndex(NamedTuple):
    """Inverted lists of n items in blocks."""

    block: int
    """items of a block"""
    starts: Any
    """(blocks, h + 1) int32: where the list of a latent begins, from the beginning of the block's"""
    firsts: Any
    """(blocks + 1,) int64: where the lists of a block begin"""
    places: Any
    """uint16: items of a block by their places in it"""
    integers: Any
    """int8: p for each of them"""
    columns: Any
    """(columns, rows of a block) int8: p for all items of a block"""
    column_of: Any
    """(blocks, h) int32: which column a latent has in a block, or −1"""
    scale: float
    """S"""
    norm: float
    """an upper bound of ‖p‖ over the items"""
    remainder: float
    """an upper bound of ‖r‖ over the items"""
    shortest: float
    """the smallest norm of an item"""


class Quantized(NamedTuple):
    """Items in integers, and what is measured while they are rounded."""

    integers: Any
    """(n, k) int8: p of each entry"""
    counts: Any
    """(blocks, h) int32: items of a block that store a latent with p ≠ 0"""
    bounds: Any
    """(2, blocks) the largest ‖p‖ and ‖r‖ of a block"""


def build_index(codes: Codes, norms: Floats, block: int = ITEMS_PER_BLOCK) -> InvertedIndex:
    """The lists of all items: `best_items` takes them."""
    n, h, k = len(codes), codes.n_latents, codes.k
    indices, values = np.ascontiguousarray(codes.indices), np.ascontiguousarray(codes.values)
    blocks, rows = -(-n // block), min(n, block)
    largest = np.zeros(blocks)
    parallel_for(blocks, 1, _largest, block, values, norms, largest)
    scale = MAX_INTEGER / largest.max(initial=0) if largest.max(initial=0) > 0 else 1.0
    quantized = Quantized(np.empty((n, k), np.int8), np.zeros((blocks, h), np.int32), np.zeros((2, blocks)))
    parallel_for(blocks, 1, _quantize, block, indices, values, norms, scale, quantized)
    integers, counts, bounds = quantized
    crowded = counts > rows // COLUMN_THRESHOLD
    column_of = np.where(crowded, np.cumsum(crowded).reshape(crowded.shape) - 1, -1).astype(np.int32)
    counts[crowded] = 0
    starts = np.zeros((blocks, h + 1), np.int32)
    np.cumsum(counts, axis=1, out=starts[:, 1:])
    firsts = np.concatenate([[0], np.cumsum(starts[:, -1], dtype=np.int64)])
    index = InvertedIndex(
        block,
        starts,
        firsts,
        np.empty(firsts[-1], np.uint16),
        np.empty(firsts[-1], np.int8),
        np.zeros((int(crowded.sum()), rows), np.int8),
        column_of,
        float(scale),
        1.001 * float(bounds[0].max(initial=0)),
        1.001 * float(bounds[1].max(initial=0)),
        float(norms.min(initial=1)),
    )
    parallel_for(blocks, 1, _fill, indices, integers, index)
    return index


def load_index(fields: Mapping[str, Any], codes: Codes, check: bool) -> InvertedIndex:
    """Lists from the fields of those that `index_items` made of these codes, as a file keeps them.

    Raises
    ------
    FormatError
        For fields that do not fit each other or the codes; with ``check`` all numbers are looked at.
    """
    index = InvertedIndex(**{name: fields[name] for name in InvertedIndex._fields})
    n, h, block = len(codes), codes.n_latents, index.block
    blocks = -(-n // block)
    shapes = {"starts": (blocks, h + 1), "firsts": (blocks + 1,), "column_of": (blocks, h)}
    end = int(index.firsts[-1])
    shapes |= {"places": (end,), "integers": (end,), "columns": (len(index.columns), min(n, block))}
    fits = all(
        getattr(index, name).shape == shape and getattr(index, name).dtype == _DTYPES[name]
        for name, shape in shapes.items()
    )
    fits = fits and bool(
        (np.diff(index.starts, axis=1) >= 0).all()
        and (index.starts[:, 0] == 0).all()
        and np.array_equal(np.diff(index.firsts, prepend=0), np.append(0, index.starts[:, -1]))
        and (index.column_of >= -1).all()
        and (index.column_of < len(index.columns)).all()
        and (not check or index.places.max(initial=0) < min(n, block))
    )
    if not fits:
        raise FormatError("expected lists that fit the codes, got others")
    return index


_DTYPES = {
    "starts": np.int32,
    "firsts": np.int64,
    "places": np.uint16,
    "integers": np.int8,
    "columns": np.int8,
    "column_of": np.int32,
}


@kernel
def _largest(block, values, norms, largest, start, stop):  # type: ignore[no-untyped-def]
    for b in range(start, stop):
        for i in range(b * block, min((b + 1) * block, values.shape[0])):
            for t in range(values.shape[1]):
                largest[b] = max(largest[b], abs(np.float64(values[i, t])) / np.float64(norms[i]))


@kernel
def _quantize(block, indices, values, norms, scale, quantized, start, stop):  # type: ignore[no-untyped-def]
    integers, counts, bounds = quantized
    for b in range(start, stop):
        for i in range(b * block, min((b + 1) * block, values.shape[0])):
            norm = remainder = 0.0
            for t in range(values.shape[1]):
                scaled = np.float64(values[i, t]) / np.float64(norms[i]) * scale
                nearest = np.rint(scaled)
                norm += nearest * nearest
                remainder += (scaled - nearest) * (scaled - nearest)
                integers[i, t] = np.int8(nearest)
                counts[b, indices[i, t]] += nearest != 0
            bounds[0, b] = max(bounds[0, b], np.sqrt(norm))
            bounds[1, b] = max(bounds[1, b], np.sqrt(remainder))


@kernel
def _fill(indices, all_integers, index, start, stop):  # type: ignore[no-untyped-def]
    block, starts, firsts, places = index.block, index.starts, index.firsts, index.places
    integers, columns, column_of = index.integers, index.columns, index.column_of
    for b in range(start, stop):
        first_row, free = b * block, firsts[b] + starts[b].astype(np.int64)
        for i in range(first_row, min(first_row + block, indices.shape[0])):
            for t in range(indices.shape[1]):
                j = indices[i, t]
                if all_integers[i, t] == 0:
                    continue
                if column_of[b, j] >= 0:
                    columns[column_of[b, j], i - first_row] = all_integers[i, t]
                else:
                    places[free[j]], integers[free[j]] = i - first_row, all_integers[i, t]
                    free[j] += 1
