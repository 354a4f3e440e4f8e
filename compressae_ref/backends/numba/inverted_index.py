"""The inverted index: for each block of items and each latent, the items that store it and their rounded values.

Values are divided by the item's norm and rounded to 8-bit integers: v/‖item‖ = (p + r)/S with |p| ≤ 127. `search` uses
them only to skip items; scores are computed from the codes. A latent that many items of a block store gets a *column*
with an integer for every item: per item, adding a column takes a tenth of the time of adding a list.
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
"""The 16-bit sums of this many items stay in the L1 cache."""

COLUMN_THRESHOLD = 10
"""A latent gets a column if more than 1/COLUMN_THRESHOLD of a block's items store it."""

MAX_INTEGER = 127
"""The largest |p|."""


class InvertedIndex(NamedTuple):
    """The inverted index of n items in blocks. Index files store these fields by name."""

    block: int
    """items per block"""
    starts: Any
    """(blocks, h + 1) int32: start of each latent's list, relative to ``firsts`` of the block"""
    firsts: Any
    """(blocks + 1,) int64: start of each block's lists"""
    places: Any
    """uint16: the listed items, as positions in their block"""
    integers: Any
    """int8: p of each listed item"""
    columns: Any
    """(columns, items of a block) int8: p of all items of a block"""
    column_of: Any
    """(blocks, h) int32: the column of a latent in a block, or −1"""
    scale: float
    """S"""
    norm: float
    """an upper bound of ‖p‖ over the items"""
    remainder: float
    """an upper bound of ‖r‖ over the items"""
    shortest: float
    """the smallest norm of an item"""


class Quantized(NamedTuple):
    """Items rounded to integers, with counts and error bounds."""

    integers: Any
    """(n, k) int8: p of each entry"""
    counts: Any
    """(blocks, h) int32: items of a block that store a latent with p ≠ 0"""
    bounds: Any
    """(2, blocks) the largest ‖p‖ and ‖r‖ in a block"""


def build_index(codes: Codes, norms: Floats, block: int = ITEMS_PER_BLOCK) -> InvertedIndex:
    """Build the index of all items for `best_items`."""
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
    """Return the index that `build_index` made of these codes, from the fields of an index file.

    Raises
    ------
    FormatError
        If the fields do not fit each other or the codes; ``check`` includes every list entry.
    """
    index = InvertedIndex(**{name: fields[name] for name in InvertedIndex._fields})
    n, h, block = len(codes), codes.n_latents, index.block
    blocks = -(-n // block)
    shapes = {"starts": (blocks, h + 1), "firsts": (blocks + 1,), "column_of": (blocks, h)}
    end = int(index.firsts[-1])
    shapes |= {"places": (end,), "integers": (end,), "columns": (len(index.columns), min(n, block))}
    for name, shape in shapes.items():
        array = getattr(index, name)
        if array.shape != shape or array.dtype != _DTYPES[name]:
            raise _misfit(name, f"{array.dtype} of shape {array.shape}")
    valid = {
        "starts": (np.diff(index.starts, axis=1) >= 0).all() and (index.starts[:, 0] == 0).all(),
        "firsts": np.array_equal(np.diff(index.firsts, prepend=0), np.append(0, index.starts[:, -1])),
        "column_of": ((index.column_of >= -1) & (index.column_of < len(index.columns))).all(),
        "places": not check or index.places.max(initial=0) < min(n, block),
    }
    for name, is_valid in valid.items():
        if not is_valid:
            raise _misfit(name, f"values from {getattr(index, name).min()} to {getattr(index, name).max()}")
    return index


def _misfit(name: str, found: str) -> FormatError:
    return FormatError(f"expected lists that fit the codes, got {found} in {name}", hint="build the index again")


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
