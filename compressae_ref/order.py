"""The total orders by which entries and items are selected: ties always go to the lower index.

Selection is done on unsigned integers that are in the same order as the numbers they stand for, so that it is exact,
total and the same in every backend, NaN included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats

Keys = NDArray[np.unsignedinteger[Any]]
"""Unsigned integers that order like the numbers they stand for."""


def by_magnitude(values: Floats) -> Keys:
    """Keys that order like |value| (R1): the bits without the sign. NaN comes above infinity."""
    unsigned = np.dtype(f"u{values.itemsize}")
    keys: Keys = values.view(unsigned) & unsigned.type(np.iinfo(unsigned).max >> 1)
    return keys


def largest(keys: Any, k: int) -> Bools:
    """Mask (n, m) of the k largest of each row, ties to the lower index: True exactly k times in each row.

    Dense equivalent: the first k of a stable sort by descending key. ``keys`` may be any array (n, m) without NaN.
    """
    m = keys.shape[1]
    if k == 0:
        return np.zeros(keys.shape, np.bool_)
    # spec: "Selection keeps the k largest |pre|, ties to the lower index."
    threshold = np.partition(keys, m - k, axis=1)[:, m - k, None]
    above, tied = keys > threshold, keys == threshold
    free = k - above.sum(axis=1, keepdims=True)
    mask: Bools = above | (tied & (np.cumsum(tied, axis=1) <= free))
    return mask
