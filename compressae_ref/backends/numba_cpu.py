"""The "numba" backend: kernels for the CPU. Each gives the same bits as its namesake in `compressae_ref.ops`.

That holds because every sum runs in the order that ops states, whatever the number of threads: each row, latent or pair
of rows has one owner. No ``fastmath``, so nothing is reordered and no multiply-add is fused. Rows are read through
``indices`` without a bounds check: `Codes` has checked them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba_select import encode, split_codes
from compressae_ref.backends.numba_sums import dot, kernel, pair_dots, row_dots
from compressae_ref.codes import Codes

name = "numba"

__all__ = [
    "adam_update",
    "codes_dot",
    "decode",
    "decode_backward_values",
    "encode",
    "name",
    "pair_dots",
    "row_dots",
    "split_codes",
    "transpose_product",
]

# -- decoding and the three backward products -------------------------------------------------------------------------


def decode(codes: Codes, W_dec: Floats) -> Floats:
    x_hat = np.zeros((len(codes), W_dec.shape[1]), codes.values.dtype)
    _decode(codes.indices, codes.values, W_dec, x_hat)
    return x_hat


@kernel(parallel=True)
def _decode(indices, values, W_dec, x_hat):  # type: ignore[no-untyped-def]
    for row in numba.prange(indices.shape[0]):
        total = x_hat[row]
        for t in range(indices.shape[1]):
            atom, value = W_dec[indices[row, t]], values[row, t]
            for c in range(total.size):
                total[c] += value * atom[c]


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
    grad_values = np.empty_like(codes.values)
    _decode_backward_values(grad_x_hat, codes.indices, W_dec, grad_values)
    return grad_values


@kernel(parallel=True)
def _decode_backward_values(grad_x_hat, indices, W_dec, grad_values):  # type: ignore[no-untyped-def]
    for row in numba.prange(indices.shape[0]):
        terms = np.empty(W_dec.shape[1], W_dec.dtype)
        for t in range(indices.shape[1]):
            grad_values[row, t] = dot(grad_x_hat[row], W_dec[indices[row, t]], terms)


def transpose_product(parts: Sequence[tuple[Codes, Floats]], out: Floats) -> None:
    indices = np.concatenate([codes.indices for codes, _ in parts], axis=1)
    values = np.concatenate([codes.values for codes, _ in parts], axis=1)
    stacked = np.concatenate([y for _, y in parts])
    first_row = np.repeat(np.arange(len(parts)) * len(indices), [codes.k for codes, _ in parts])
    _transpose_product(*_by_latent(indices, values, first_row, out.shape[0]), stacked, out)


@kernel()
def _by_latent(indices, values, first_row, n_latents):  # type: ignore[no-untyped-def]
    """Stored entries grouped by latent, rows in order within each: starts (h + 1,), row of y and value per entry."""
    starts = np.zeros(n_latents + 1, np.int64)
    for latent in indices.flat:
        starts[latent + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    rows, weights = np.empty(indices.size, np.int64), np.empty(indices.size, values.dtype)
    for row in range(indices.shape[0]):
        for t in range(indices.shape[1]):
            place = free[indices[row, t]]
            free[indices[row, t]] += 1
            rows[place], weights[place] = first_row[t] + row, values[row, t]
    return starts, rows, weights


@kernel(parallel=True)
def _transpose_product(starts, rows, weights, y, out):  # type: ignore[no-untyped-def]
    for latent in numba.prange(out.shape[0]):
        total = out[latent]
        for entry in range(starts[latent], starts[latent + 1]):
            source, weight = y[rows[entry]], weights[entry]
            for c in range(total.size):
                total[c] += weight * source[c]


# -- retrieval and Adam -----------------------------------------------------------------------------------------------


def codes_dot(u: Floats, codes: Codes) -> Floats:
    dots = np.empty((len(u), len(codes)), u.dtype)
    _codes_dot(u, codes.indices, codes.values, dots)
    return dots


@kernel(parallel=True)
def _codes_dot(u, indices, values, dots):  # type: ignore[no-untyped-def]
    for i in numba.prange(indices.shape[0]):
        for q in range(u.shape[0]):
            dot = u.dtype.type(0)
            for t in range(indices.shape[1]):
                dot += u[q, indices[i, t]] * values[i, t]
            dots[q, i] = dot


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    flat = (array.ravel("K") for array in (param, grad, m, v))
    _adam_update(*flat, constants, np.finfo(param.dtype).tiny)


@kernel(parallel=True)
def _adam_update(param, grad, m, v, constants, tiny):  # type: ignore[no-untyped-def]
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = constants
    zero = param.dtype.type(0)
    for i in numba.prange(param.size):
        first = beta1 * m[i] + rest1 * grad[i]
        second = beta2 * v[i] + rest2 * (grad[i] * grad[i])
        m[i] = zero if abs(first) < tiny else first
        v[i] = zero if second < tiny else second
        param[i] -= lr * (m[i] / correction1) / (np.sqrt(v[i] / correction2) + eps)
