"""Numba kernels that work row by row: unit rows, losses and their gradients, unit atoms, dots with codes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats, aligned_empty
from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.numba.rules import (
    clamped,
    cosine,
    cosine_grad,
    cosine_grad_scale,
    mul_rounded,
    scale_exponent,
    scale_factors,
    scaled,
    sqrt_rounded,
)
from compressae_ref.backends.numba.simd import WIDTH, aligned_rows, load, maximum, minimum, splat, store
from compressae_ref.backends.numba.sums import add_dots, numbers
from compressae_ref.backends.rules import COSINE_EPS
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes

ROWS_PER_TASK = 128
CODES_PER_TASK = 1 << 12


def unit_rows(x: Floats, dtype: Any) -> Floats:
    x = np.ascontiguousarray(x, np.result_type(x.dtype, dtype))
    x_unit = aligned_empty(x.shape, x.dtype)
    parallel_for(len(x), ROWS_PER_TASK, _unit_rows, x, x_unit)
    return x_unit.astype(dtype, copy=False)


@kernel
def _unit_rows(x, x_unit, start, stop):  # type: ignore[no-untyped-def]
    lanes = aligned_rows(2, WIDTH, x.dtype)
    for row in range(start, stop):
        _scale(x[row], scale_exponent(_largest_magnitude(x, row, lanes)), x_unit[row])
    norms = _norms(x_unit[start:stop])
    for row in range(start, stop):
        _divide(x_unit[row], norms[row - start])


@inlined
def _largest_magnitude(x, row, lanes):  # type: ignore[no-untyped-def]
    vectorized = x.shape[1] - x.shape[1] % WIDTH
    high = low = splat(x.dtype.type(0))
    for c in range(0, vectorized, WIDTH):
        high, low = maximum(load(x, row, c), high), minimum(load(x, row, c), low)
    store(lanes, 0, 0, high)
    store(lanes, 1, 0, low)
    largest = x.dtype.type(0)
    for lane in range(WIDTH):
        largest = max(largest, lanes[0, lane], -lanes[1, lane])
    for c in range(vectorized, x.shape[1]):
        largest = max(largest, abs(x[row, c]))
    return largest


@inlined
def _scale(x, exponent, out):  # type: ignore[no-untyped-def]
    one, other = scale_factors(exponent, x.dtype.type(1))
    for c in range(x.size):
        out[c] = scaled(x[c], one, other)


@inner
def _norms(a):  # type: ignore[no-untyped-def]
    norms = _dots(a, a)
    for row in range(norms.size):
        norms[row] = sqrt_rounded(norms[row], a.dtype.type(0))
    return norms


@inner
def _dots(a, b):  # type: ignore[no-untyped-def]
    rows, dots = numbers(a.shape[0]), np.empty(a.shape[0], a.dtype)
    add_dots(a, rows, b, rows, rows.size, dots, rows)
    return dots


@inner
def _divide(x, divisor):  # type: ignore[no-untyped-def]
    for c in range(x.size):
        x[c] /= divisor


def renormalize_decoder(W_dec: Floats) -> None:
    rows = np.ascontiguousarray(W_dec)
    parallel_for(len(W_dec), ROWS_PER_TASK, _renormalize, rows)
    if rows is not W_dec:
        W_dec[...] = rows


@kernel
def _renormalize(W_dec, start, stop):  # type: ignore[no-untyped-def]
    norms = _norms(W_dec[start:stop])
    for row in range(start, stop):
        _divide(W_dec[row], norms[row - start])


class Reconstructed(NamedTuple):
    """Unit rows and their two reconstructions, each (n, d)."""

    x_unit: Any
    x_hat_k: Any
    x_hat_aux: Any


def loss_backward(
    x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float
) -> tuple[Floats, Floats]:
    cos, grad = np.empty((2, len(x_unit)), x_unit.dtype), aligned_empty((2, *x_unit.shape), x_unit.dtype)
    toward = np.array([-1 / n_batch, -1 / n_batch], x_unit.dtype)
    toward[1] *= x_unit.dtype.type(aux_weight)
    rows = Reconstructed(*(np.ascontiguousarray(array) for array in (x_unit, x_hat_k, x_hat_aux)))
    parallel_for(len(x_unit), ROWS_PER_TASK, _loss_backward, rows, toward, x_unit.dtype.type(COSINE_EPS), cos, grad)
    return cos, grad


@kernel
def _loss_backward(rows, grad_cos, eps, cos, grad, start, stop):  # type: ignore[no-untyped-def]
    x_unit, x_hat_k = rows.x_unit[start:stop], rows.x_hat_k[start:stop]
    x_hat_aux = rows.x_hat_aux[start:stop]
    norm_x, factors = _clamped_norms(x_unit, eps), np.empty((2, 2, stop - start), x_unit.dtype)
    for part in range(2):  # a loop, so that the function is inlined once
        x_hat = x_hat_aux if part else x_hat_k
        _cosines_backward(grad_cos[part], x_unit, norm_x, x_hat, eps, cos[part, start:stop], factors[part])
    for i in range(stop - start):
        grad_aux, grad_k = grad[1, start + i], grad[0, start + i]
        _combine(x_unit[i], x_hat_aux[i], factors[1, 0, i], factors[1, 1, i], grad_aux)
        _combine(x_unit[i], x_hat_k[i], factors[0, 0, i], factors[0, 1, i], grad_k)
        _add(grad_aux, grad_k)


@inner
def _clamped_norms(x, eps):  # type: ignore[no-untyped-def]
    norms = _norms(x)
    for row in range(norms.size):
        norms[row] = clamped(norms[row], eps)
    return norms


@inlined
def _cosines_backward(grad_cos, x_unit, norm_x, x_hat, eps, cos, factors):  # type: ignore[no-untyped-def]
    """Compute cosines and the factors of x̄ and x̂ in their gradients, as `reference.cosine_backward` does."""
    dots, norm_hat = _dots(x_unit, x_hat), _clamped_norms(x_hat, eps)
    for i in range(dots.size):
        cos[i] = cosine(dots[i], norm_x[i], norm_hat[i])
        factors[0, i] = grad_cos / mul_rounded(norm_x[i], norm_hat[i])
        factors[1, i] = cosine_grad_scale(grad_cos, cos[i], norm_hat[i], eps, x_hat.dtype.type(0))


@inlined
def _combine(x, x_hat, toward, scale, out):  # type: ignore[no-untyped-def]
    for c in range(x.size):
        out[c] = cosine_grad(toward, x[c], scale, x_hat[c])


@inlined
def _add(x, out):  # type: ignore[no-untyped-def]
    for c in range(x.size):
        out[c] += x[c]


def codes_dot(u: Floats, codes: Codes) -> Floats:
    dots = np.empty((len(u), len(codes)), u.dtype)
    indices, values = np.ascontiguousarray(codes.indices), np.ascontiguousarray(codes.values)
    parallel_for(len(codes), CODES_PER_TASK, _codes_dot, np.ascontiguousarray(u), indices, values, dots)
    return dots


@kernel
def _codes_dot(u, indices, values, dots, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for q in range(u.shape[0]):
            dot = u.dtype.type(0)
            for t in range(indices.shape[1]):
                dot += u[q, indices[i, t]] * values[i, t]
            dots[q, i] = dot
