"""Selection of the k largest without a sort: ties go to the lower index (R1).

Numbers are compared as unsigned integers that have the same order, so that selection is exact and total. NaN comes
above infinity: it is selected, and `Model.encode` refuses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.codes import Codes

Keys = NDArray[np.unsignedinteger[Any]]
"""Unsigned integers in the order of the numbers that they stand for."""


def by_magnitude(values: Floats) -> Keys:
    """Keys in the order of |value| (R1): the bits without the sign."""
    unsigned = np.dtype(f"u{values.itemsize}")
    keys: Keys = values.view(unsigned) & unsigned.type(np.iinfo(unsigned).max >> 1)
    return keys


def largest(keys: Any, k: int) -> Bools:
    """Mask (n, m) of the k largest keys of each row, ties to the lower index: True exactly k times in each row.

    Dense equivalent: the first k of a stable sort by descending key. ``keys`` may be any array (n, m) without NaN.
    """
    m = keys.shape[1]
    if k == 0:
        return np.zeros(keys.shape, np.bool_)
    threshold = np.partition(keys, m - k, axis=1)[:, m - k, None]
    above, tied = keys > threshold, keys == threshold
    free = k - above.sum(axis=1, keepdims=True)
    mask: Bools = above | (tied & (np.cumsum(tied, axis=1) <= free))
    return mask


def abs_topk(pre: Floats, k: int) -> Codes:
    """`reference.abs_topk` (E5). (n, h) → Codes."""
    kept = largest(by_magnitude(pre), k)
    indices = np.nonzero(kept)[1].reshape(len(pre), k).astype(np.int32)
    return Codes.trusted(indices, pre[kept].reshape(len(pre), k) + pre.dtype.type(0), pre.shape[1])  # −0 becomes +0


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    """`reference.split_code`: the k largest stored entries of each row, and the remainder (E6)."""

    def split(rows: slice) -> tuple[Codes, Codes]:
        some = codes[rows]
        kept = largest(by_magnitude(some.values), k)
        return some.entries(kept, k), some.entries(~kept, codes.k - k)

    kept, remainder = zip(*map_blocks(len(codes), ROWS_PER_BLOCK, split), strict=True)
    return Codes.concatenate(kept), Codes.concatenate(remainder)
