"""CUDA kernels that work row by row or element by element: unit rows, losses and gradients, unit atoms, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import Floats, on_device
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.embeddings import cast
from compressae_ref.backends.cuda.launch import F2, F, kernel_with
from compressae_ref.backends.cuda.memory import by_blocks, changed, empty, rows
from compressae_ref.backends.cuda.rules import piece
from compressae_ref.backends.cuda.sums import fold_bytes, fold_dot
from compressae_ref.backends.rules import (
    COSINE_EPS,
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


def unit_rows(x: Floats, dtype: Any) -> Any:
    wide = np.result_type(x.dtype, dtype)

    def block_rows(block: Any) -> Any:
        placed = rows(cast(block, wide))
        x_unit = empty(placed.shape, placed.dtype)
        _unit_rows(len(placed), placed, x_unit)
        return cast(x_unit, dtype)

    return by_blocks([x], block_rows)


@kernel_with(fold_bytes)
def _unit_rows(x: F2, x_unit: F2) -> None:
    terms = cuda.shared.array(0, x.dtype)
    d = x.shape[1]
    for row in range(cuda.blockIdx.x, x.shape[0], cuda.gridDim.x):
        largest = _largest_magnitude(x, row)
        one, other = scale_factors(scale_exponent(largest), x.dtype.type(1))
        for c in range(cuda.threadIdx.x, d, cuda.blockDim.x):
            x_unit[row, c] = scaled(x[row, c], one, other) if largest > 0 else x.dtype.type(1)
        cuda.syncthreads()
        norm = sqrt_rounded(fold_dot(x_unit, row, x_unit, row, terms), x.dtype.type(0))
        for c in range(cuda.threadIdx.x, d, cuda.blockDim.x):
            x_unit[row, c] /= norm


@piece
def _largest_magnitude(x: Any, row: Any) -> Any:
    """Return the largest magnitude of a row. Every thread computes it, reading from the cache."""
    largest = x.dtype.type(0)
    for c in range(x.shape[1]):
        largest = max(largest, abs(x[row, c]))
    return largest


def renormalize_decoder(W_dec: Floats) -> None:
    with changed(W_dec) as (atoms,):
        _renormalize(len(atoms), atoms)


@kernel_with(fold_bytes)
def _renormalize(W_dec: F2) -> None:
    terms = cuda.shared.array(0, W_dec.dtype)
    for row in range(cuda.blockIdx.x, W_dec.shape[0], cuda.gridDim.x):
        norm = sqrt_rounded(fold_dot(W_dec, row, W_dec, row, terms), W_dec.dtype.type(0))
        for c in range(cuda.threadIdx.x, W_dec.shape[1], cuda.blockDim.x):
            W_dec[row, c] /= norm


def project_decoder_gradient(grad_W_dec: Floats, W_dec: Floats) -> None:
    with changed(grad_W_dec) as (grad,):
        _project(len(grad), grad, rows(W_dec))


@kernel_with(fold_bytes)
def _project(grad_W_dec: F2, W_dec: F2) -> None:
    terms = cuda.shared.array(0, W_dec.dtype)
    for row in range(cuda.blockIdx.x, W_dec.shape[0], cuda.gridDim.x):
        dot = fold_dot(grad_W_dec, row, W_dec, row, terms)
        for c in range(cuda.threadIdx.x, W_dec.shape[1], cuda.blockDim.x):
            grad_W_dec[row, c] -= mul_rounded(dot, W_dec[row, c])


def loss_backward(x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float) -> Any:
    x = rows(x_unit)
    cos, grad = empty((2, len(x)), x.dtype), empty((2 * len(x), x.shape[1]), x.dtype)
    toward = x.dtype.type(-1 / n_batch)
    numbers = (toward, toward * x.dtype.type(aux_weight), x.dtype.type(COSINE_EPS))
    _loss_backward(len(x), x, rows(x_hat_k), rows(x_hat_aux), *numbers, cos, grad)
    if on_device(x_unit):
        return fetch(cos), (grad[: len(x)], grad[len(x) :])
    return fetch(cos), fetch(grad).reshape(2, *x.shape)


@kernel_with(fold_bytes)
def _loss_backward(x: F2, x_hat_k: F2, x_hat_aux: F2, to_k: F, to_aux: F, eps: F, cos: F2, grad: F2) -> None:
    terms = cuda.shared.array(0, x.dtype)
    n, d = x.shape
    for i in range(cuda.blockIdx.x, n, cuda.gridDim.x):
        norm_x = clamped(sqrt_rounded(fold_dot(x, i, x, i, terms), x.dtype.type(0)), eps)
        cos_k, toward_k, scale_k = _cosine_backward(to_k, x, i, norm_x, x_hat_k, eps, terms)
        cos_aux, toward_aux, scale_aux = _cosine_backward(to_aux, x, i, norm_x, x_hat_aux, eps, terms)
        if cuda.threadIdx.x == 0:
            cos[0, i], cos[1, i] = cos_k, cos_aux
        for c in range(cuda.threadIdx.x, d, cuda.blockDim.x):
            aux = cosine_grad(toward_aux, x[i, c], scale_aux, x_hat_aux[i, c])
            grad[i, c] = cosine_grad(toward_k, x[i, c], scale_k, x_hat_k[i, c]) + aux
            grad[n + i, c] = aux


@piece
def _cosine_backward(grad_cos: Any, x: Any, i: Any, norm_x: Any, x_hat: Any, eps: Any, terms: Any) -> Any:
    """Return the cosine, and the factors of x̄ and x̂ in its gradient (E9')."""
    zero = x.dtype.type(0)
    norm_hat = clamped(sqrt_rounded(fold_dot(x_hat, i, x_hat, i, terms), zero), eps)
    cos = cosine(fold_dot(x, i, x_hat, i, terms), norm_x, norm_hat)
    return cos, grad_cos / mul_rounded(norm_x, norm_hat), cosine_grad_scale(grad_cos, cos, norm_hat, eps, zero)
