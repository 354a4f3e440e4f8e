"""Dot products in the stated order of E1 (over d) and E10 (over stored entries)."""

from __future__ import annotations

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats, Indices
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.codes import Codes

GATHERED_ROWS = 512
"""Rows of weights that are gathered at once: as many as fit a cache. The choice affects speed only."""


def pair_dots(a: Floats, b: Floats) -> Floats:
    """Dot products of all pairs of rows, ⟨a[i], b[j]⟩ (E2). (n, d), (h, d) → (n, h)."""

    def dots(rows: slice) -> Floats:
        block = np.empty((len(a), len(b[rows])), a.dtype)
        for i, row in enumerate(a):  # one row at a time: (n, h, d) products would not fit memory
            block[i] = reference.dot(row, b[rows])
        return block

    return np.concatenate(map_blocks(len(b), 4 * ROWS_PER_BLOCK, dots), axis=1)


def chosen_dots(a: Floats, b: Floats, indices: Indices) -> Floats:
    """Dot products of each row of a with some rows of b, ⟨a[i], b[indices[i, t]]⟩ (E2). → (n, m)."""
    dots = np.empty(indices.shape, a.dtype)
    step = max(1, GATHERED_ROWS // max(1, indices.shape[1]))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        dots[rows] = reference.dot(a[rows, None], b[indices[rows]])
    return dots


def codes_dot(u: Floats, codes: Codes) -> Floats:
    """`reference.gather`: dots of dense queries over the latents with codes (E10). (n_q, h) → (n_q, n)."""

    def dots(rows: slice) -> Floats:
        indices, values = codes.indices[rows], codes.values[rows]
        block = np.zeros((len(u), len(indices)), u.dtype)
        for t in range(codes.k):  # in place, which saves an array for each of the k terms
            block += u[:, indices[:, t]] * values[:, t]
        return block

    return np.concatenate(map_blocks(len(codes), 64 * ROWS_PER_BLOCK, dots), axis=1)
