"""Numba kernels for the CPU. Each gives the same bits as its namesake in `compressae_ref.ops`.

That holds because every sum runs in the order that ops states, whatever the number of threads: each row, latent or pair
of rows has one owner. No ``fastmath``, so nothing is reordered and no multiply-add is fused. Rows are read through
``indices`` without a bounds check: `Codes` has checked them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from compressae_ref import ops
from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes

name = "numba"

DIGIT_BITS = 11
"""Bits that one pass of the radix selection looks at: its histogram of 2048 counters stays in the first-level cache."""


def _kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit``, with the compiled code kept on disk where there is a place to keep it."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # a read-only installation without a cache folder
            return numba.njit(**options)(function)

    return compiled


# -- selection --------------------------------------------------------------------------------------------------------


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    near = x_unit @ W_enc
    near += b_enc
    indices, values = np.empty((len(near), k), np.int32), np.empty((len(near), k), near.dtype)
    columns = np.ascontiguousarray(W_enc.T)
    margin = 2 * ops.pre_bound(W_enc, b_enc, row_dots)
    _encode(near, *_ordered_bits(near), margin, x_unit, columns, b_enc, indices, values)
    return Codes.trusted(indices, values, near.shape[1])


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    parts = []
    for width in (k, codes.k - k):
        shape = (len(codes), width)
        parts.append((np.empty(shape, np.int32), np.empty(shape, codes.values.dtype)))
    _split(codes.indices, codes.values, *_ordered_bits(codes.values), *parts[0], *parts[1])
    kept, rest = (Codes.trusted(*part, codes.n_latents, codes.model) for part in parts)
    return kept, rest


def _ordered_bits(values: Floats) -> tuple[Any, int]:
    """The values' bits as unsigned integers (the kernels drop the sign), and how many bits are left without it."""
    return values.view(f"u{values.itemsize}"), 8 * values.itemsize - 1


@_kernel(parallel=True)
def _encode(near, order, bits, margin, x_unit, columns, b_enc, indices, values):  # type: ignore[no-untyped-def]
    k = indices.shape[1]
    for row in numba.prange(near.shape[0]):
        possible = _not_below(near[row], _kth_magnitude(near[row], order[row], k, bits) - margin)
        pre, terms = np.empty(possible.size, near.dtype), np.empty(x_unit.shape[1], near.dtype)
        for i in range(possible.size):
            # −0 becomes +0 (R2)
            pre[i] = _dot(x_unit[row], columns[possible[i]], terms) + b_enc[possible[i]] + near.dtype.type(0)
        kept = np.empty(k, np.int32)
        _largest(pre.view(order.dtype), bits, kept)
        for t in range(k):
            indices[row, t], values[row, t] = possible[kept[t]], pre[kept[t]]


@_kernel()
def _kth_magnitude(near, order, k, bits):  # type: ignore[no-untyped-def]
    """The k-th largest |value| of a row, as a float."""
    key = np.empty(1, order.dtype)
    key[0] = _kth_largest(_magnitudes(order, bits), k, bits)
    return key.view(near.dtype)[0]


@_kernel()
def _not_below(near, cut):  # type: ignore[no-untyped-def]
    """Positions whose magnitude is not below ``cut``; NaN never is."""
    positions, found = np.empty(near.size, np.int32), 0
    for j in range(near.size):
        if not (abs(near[j]) < cut):
            positions[found] = j
            found += 1
    return positions[:found]


@_kernel(parallel=True)
def _split(  # type: ignore[no-untyped-def]
    indices, values, order, bits, kept_indices, kept_values, rest_indices, rest_values
):
    k = kept_indices.shape[1]
    for row in numba.prange(indices.shape[0]):
        kept = np.empty(k, np.int32)
        _largest(order[row], bits, kept)
        t = 0
        for i in range(indices.shape[1]):
            if t < k and kept[t] == i:
                kept_indices[row, t], kept_values[row, t] = indices[row, i], values[row, i]
                t += 1
            else:
                rest_indices[row, i - t], rest_values[row, i - t] = indices[row, i], values[row, i]


@_kernel()
def _largest(order, bits, positions):  # type: ignore[no-untyped-def]
    """Positions of the ``positions.size`` largest keys of a row, ascending; ties to the lower position."""
    k, keys = positions.size, _magnitudes(order, bits)
    threshold = _kth_largest(keys.copy(), k, bits)
    free = k
    for j in range(keys.size):
        free -= keys[j] > threshold
    t = 0
    for j in range(keys.size):
        if keys[j] > threshold:
            positions[t] = j
            t += 1
        elif keys[j] == threshold and free > 0:
            positions[t] = j
            t += 1
            free -= 1


@_kernel()
def _magnitudes(order, bits):  # type: ignore[no-untyped-def]
    """Keys that order like |value|: the bits without the sign."""
    return order & order.dtype.type((np.uint64(1) << np.uint64(bits)) - np.uint64(1))


@_kernel()
def _kth_largest(keys, k, bits):  # type: ignore[no-untyped-def]
    """The k-th largest of unsigned keys; ``keys`` is overwritten.

    Radix selection from the top digit down: count the digits, find the one that holds the k-th key, keep its keys.
    """
    counts = np.empty(1 << DIGIT_BITS, np.int64)
    m, mask, shift = keys.size, keys.dtype.type((1 << DIGIT_BITS) - 1), bits - DIGIT_BITS
    while True:
        counts[:] = 0
        for i in range(m):
            counts[(keys[i] >> keys.dtype.type(shift)) & mask] += 1
        digit = counts.size - 1
        while counts[digit] < k:
            k -= counts[digit]
            digit -= 1
        kept = 0
        for i in range(m):
            if (keys[i] >> keys.dtype.type(shift)) & mask == digit:
                keys[kept] = keys[i]
                kept += 1
        m = kept
        if shift == 0 or m == 1:
            return keys[0]
        shift = max(shift - DIGIT_BITS, 0)


# -- decoding and the three backward products -------------------------------------------------------------------------


def decode(codes: Codes, W_dec: Floats) -> Floats:
    x_hat = np.zeros((len(codes), W_dec.shape[1]), codes.values.dtype)
    _decode(codes.indices, codes.values, W_dec, x_hat)
    return x_hat


@_kernel(parallel=True)
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


@_kernel(parallel=True)
def _decode_backward_values(grad_x_hat, indices, W_dec, grad_values):  # type: ignore[no-untyped-def]
    for row in numba.prange(indices.shape[0]):
        terms = np.empty(W_dec.shape[1], W_dec.dtype)
        for t in range(indices.shape[1]):
            grad_values[row, t] = _dot(grad_x_hat[row], W_dec[indices[row, t]], terms)


def pair_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty((len(a), len(b)), a.dtype)
    _pair_dots(a, b, dots)
    return dots


@_kernel(parallel=True)
def _pair_dots(a, b, dots):  # type: ignore[no-untyped-def]
    for j in numba.prange(b.shape[0]):
        terms = np.empty(a.shape[1], a.dtype)
        for i in range(a.shape[0]):
            dots[i, j] = _dot(a[i], b[j], terms)


def row_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty(len(a), a.dtype)
    _row_dots(a, b, dots)
    return dots


@_kernel(parallel=True)
def _row_dots(a, b, dots):  # type: ignore[no-untyped-def]
    for row in numba.prange(a.shape[0]):
        dots[row] = _dot(a[row], b[row], np.empty(a.shape[1], a.dtype))


@_kernel()
def _dot(a, b, terms):  # type: ignore[no-untyped-def]
    """`sums.fold_sum` of a · b: the second half is added onto the first, so that every step vectorises."""
    for c in range(a.size):
        terms[c] = a[c] * b[c]
    left = a.size
    while left > 16 and left % 2 == 0:
        left //= 2
        for c in range(left):
            terms[c] += terms[c + left]
    total = terms[0]
    for c in range(1, left):
        total += terms[c]
    return total


def transpose_product(parts: Sequence[tuple[Codes, Floats]], out: Floats) -> None:
    indices = np.concatenate([codes.indices for codes, _ in parts], axis=1)
    values = np.concatenate([codes.values for codes, _ in parts], axis=1)
    stacked = np.concatenate([y for _, y in parts])
    first_row = np.repeat(np.arange(len(parts)) * len(indices), [codes.k for codes, _ in parts])
    _transpose_product(*_by_latent(indices, values, first_row, out.shape[0]), stacked, out)


@_kernel()
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


@_kernel(parallel=True)
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


@_kernel(parallel=True)
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


@_kernel(parallel=True)
def _adam_update(param, grad, m, v, constants, tiny):  # type: ignore[no-untyped-def]
    lr, beta1, beta2, eps, correction1, correction2 = constants
    one, zero = param.dtype.type(1), param.dtype.type(0)
    for i in numba.prange(param.size):
        first = beta1 * m[i] + (one - beta1) * grad[i]
        second = beta2 * v[i] + (one - beta2) * (grad[i] * grad[i])
        m[i] = zero if abs(first) < tiny else first
        v[i] = zero if second < tiny else second
        param[i] -= lr * (m[i] / correction1) / (np.sqrt(v[i] / correction2) + eps)
