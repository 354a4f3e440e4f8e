"""A step of gradient descent on codes of norm 1, of which the k largest entries are kept (E37, E38)."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import map_blocks
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.codes import Codes

ROWS_PER_TASK = 64
"""Rows whose gradients over all latents are in the cache of one thread. The choice affects speed only."""


def descend(codes: Codes, grad: Floats, rate: float) -> Codes:
    """Move codes of norm 1 by ``rate`` against the gradients, whose part along the codes is taken off.

    Codes (n, k), gradients (h, n) in the dtype of the codes → codes of norm 1 (n, k)
    """

    def descended(rows: slice) -> Codes:
        return _descended(codes[rows], np.array(grad[:, rows].T, order="C"), grad.dtype.type(rate))

    return Codes.concatenate(map_blocks(len(codes), ROWS_PER_TASK, descended))


def _descended(codes: Codes, grad: Floats, rate: Any) -> Codes:
    indices, values = codes.indices, codes.values
    stored = np.take_along_axis(grad, indices, axis=1)
    along = np.zeros(len(codes), grad.dtype)
    for t in range(codes.k):
        along += stored[:, t] * values[:, t]
    tangent = stored - along[:, None] * values
    np.put_along_axis(grad, indices, tangent, axis=1)
    step = (rate / reference.clamped_norm(grad))[:, None]
    grad *= -step
    np.put_along_axis(grad, indices, values - step * tangent, axis=1)
    return unit_codes(abs_topk(grad, codes.k))


def unit_codes(codes: Codes) -> Codes:
    """Return codes of norm 1; their norms are clamped as in a cosine (R6)."""
    values: Floats = codes.values / reference.code_norm(codes.values)[:, None]
    return Codes.trusted(codes.indices, values, codes.n_latents)
