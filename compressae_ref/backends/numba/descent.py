"""A step of gradient descent on codes of norm 1, with the bits of `backends.numpy.descent`."""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, kernel
from compressae_ref.backends.numba.rules import clamped, stored
from compressae_ref.backends.numba.sums import fold
from compressae_ref.backends.numba.topk import empty_codes, magnitudes, ordered, positions_of_largest
from compressae_ref.backends.rules import COSINE_EPS
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes

ROWS_PER_TASK = 64

ROWS_PER_LOAD = 16
"""Rows whose gradients are read together: as many as share a line of the cache."""


def descend(codes: Codes, grad: Floats, rate: float) -> Codes:
    indices, values = empty_codes(len(codes), codes.k, codes.values.dtype)
    before = np.ascontiguousarray(codes.indices), np.ascontiguousarray(codes.values)
    constants = np.array([rate, COSINE_EPS], grad.dtype)
    unsigned = ordered(np.empty(0, grad.dtype))
    parallel_for(len(codes), ROWS_PER_TASK, _descend, *before, grad, constants, unsigned, indices, values)
    return Codes.trusted(indices, values, codes.n_latents)


@kernel
def _descend(indices, values, grad, constants, unsigned, to_indices, to_values, start, stop):  # type: ignore[no-untyped-def]
    (h, _), k = grad.shape, indices.shape[1]
    rate, eps = constants
    zero = grad.dtype.type(0)
    rows = np.empty((ROWS_PER_LOAD, h + 16), grad.dtype)  # h is often a power of two: such rows compete for the cache
    squares, keys = np.empty(h, grad.dtype), np.empty(h, unsigned.dtype)
    positions, latents = np.empty((2, h + 1), np.int64), np.empty(h + 1, np.int32)
    for row in range(start, stop):
        if (row - start) % ROWS_PER_LOAD == 0:
            _load(grad, row, min(row + ROWS_PER_LOAD, stop), rows)
        g = rows[(row - start) % ROWS_PER_LOAD, :h]
        _take_off(g, indices[row], values[row])
        for j in range(h):
            squares[j] = g[j] * g[j]
        step = rate / clamped(np.sqrt(fold(squares, squares)), eps)
        for t in range(k):
            squares[t] = values[row, t] - step * g[indices[row, t]]
        for j in range(h):
            g[j] *= -step
        for t in range(k):
            g[indices[row, t]] = squares[t]
        magnitudes(g.view(unsigned.dtype), keys)
        m = _candidates(keys, indices[row], latents)
        positions_of_largest(keys, m, k, positions[0], positions[1])
        total = zero
        for t in range(k):
            latent = latents[positions[0, t]]
            value = stored(g[latent], zero)
            to_indices[row, t], to_values[row, t] = latent, value
            total += value * value
        norm = clamped(np.sqrt(total), eps)
        for t in range(k):
            to_values[row, t] /= norm


@inlined
def _load(grad, start, stop, rows):  # type: ignore[no-untyped-def]
    """Transpose some columns."""
    for j in range(grad.shape[0]):
        for row in range(start, stop):
            rows[row - start, j] = grad[j, row]


@inlined
def _candidates(keys, indices, latents):  # type: ignore[no-untyped-def]
    """Move to the front the keys that are no smaller than all those at ``indices``; return how many, and write where.

    At least k keys are, so the k largest are among them. Few others are, because a step is short.
    """
    least = keys[indices[0]]
    for latent in indices:
        least = min(least, keys[latent])
    m = 0
    for j in range(keys.size):
        latents[m], keys[m] = j, keys[j]
        m += keys[j] >= least
    return m


@inlined
def _take_off(g, indices, values):  # type: ignore[no-untyped-def]
    """Subtract from a gradient its part along a code of norm 1 (E37)."""
    along = g.dtype.type(0)
    for t in range(indices.size):
        along += g[indices[t]] * values[t]
    for t in range(indices.size):
        g[indices[t]] -= along * values[t]
