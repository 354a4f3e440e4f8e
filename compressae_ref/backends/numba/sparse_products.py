"""Numba kernels for decoding and the backward products of `compressae_ref.reference`.

Decoding and the gradients of the weights are both products of a sparse matrix with a dense one. `_add_rows` computes
them for 64 columns at a time: sums stay in registers, and the rows it reads stay in the cache. Sums run in the
specified order: the stored entries of a row, or the ascending rows of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from compressae_ref.arrays import Floats, aligned_empty
from compressae_ref.backends.numba.jit import inlined, kernel
from compressae_ref.backends.numba.simd import WIDTH, aligned_rows, load, splat, store
from compressae_ref.backends.numba.sort_by_latent import by_latent, entries_by_latent
from compressae_ref.backends.numba.sums import add_dots
from compressae_ref.backends.thread_pool import parallel_for, thread_count
from compressae_ref.codes import Codes

ROWS_PER_TASK = 512
"""Rows per task; at 768 dimensions they fit the L2 cache."""

COLUMNS_PER_TILE = 4 * WIDTH
"""Columns whose sums stay in registers."""

MAX_CACHED_BYTES = 1 << 20
"""A tile of y is copied if it has at most this many bytes, so that it is read from the L2 cache."""


class Entries(NamedTuple):
    """A sparse matrix by rows (CSR): row i has the entries starts[i] to starts[i + 1]."""

    starts: Any
    """(n + 1,)"""
    rows: Any
    """the row of y that each entry multiplies"""
    weights: Any
    """the value of each entry"""


class Product(NamedTuple):
    """out = entries · y."""

    entries: Entries
    out: Any
    """(n, columns of y)"""


def decode(codes: Codes, W_dec: Floats) -> Floats:
    x_hat = aligned_empty((len(codes), W_dec.shape[1]), codes.values.dtype)
    _add_rows(_entries(codes), np.ascontiguousarray(W_dec), x_hat)
    return x_hat


def decode_nested(codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Floats, Floats]:
    x_hat = aligned_empty((2, len(codes_k), W_dec.shape[1]), codes_k.values.dtype)
    _add_rows(_entries(codes_k), np.ascontiguousarray(W_dec), x_hat[0], then=Product(_entries(codes_rest), x_hat[1]))
    return x_hat[0], x_hat[1]


def _entries(codes: Codes) -> Entries:
    """Return codes as a CSR matrix."""
    indices, values = _contiguous(codes.indices, codes.values)
    return Entries(np.arange(len(codes) + 1) * codes.k, indices.reshape(-1), values.reshape(-1))


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
    grad_values = np.empty(codes.values.shape, codes.values.dtype)
    arrays = _contiguous(grad_x_hat, codes.indices, W_dec)
    parallel_for(len(codes), ROWS_PER_TASK, _decode_backward_values, *arrays, grad_values)
    return grad_values


@kernel
def _decode_backward_values(grad_x_hat, indices, W_dec, grad_values, start, stop):  # type: ignore[no-untyped-def]
    starts = np.arange(stop - start + 1) * indices.shape[1]
    entries, rows, latents = by_latent(indices[start:stop].reshape(-1), starts, start, W_dec.shape[0])
    add_dots(grad_x_hat, rows, W_dec, latents, entries.size, grad_values[start:stop].reshape(-1), entries)


# -- products of a sparse and a dense matrix --------------------------------------------------------------------------


def _add_rows(entries: Entries, y: Floats, out: Floats, add: bool = False, then: Product | None = None) -> None:
    """Set out[i] = Σ_e weights[e] · y[rows[e]], e from starts[i] to starts[i + 1] in this order.

    With ``add``, sums start at out[i] instead of 0. ``then`` is a second product with the same y, to which ``out`` is
    added at the end; computing both together loads y into the cache once.
    """
    width = COLUMNS_PER_TILE if len(y) * COLUMNS_PER_TILE * y.itemsize <= MAX_CACHED_BYTES else WIDTH
    tiles = -(-out.shape[1] // width)
    chunks = 1 if tiles >= 2 * thread_count() else 2 * thread_count()
    products = Product(entries, out), then or Product(entries, out[:0])
    parallel_for(tiles * chunks, 1, _add_columns, *products, y, add, width, chunks)


@kernel
def _add_columns(product, then, y, add, width, chunks, start, stop):  # type: ignore[no-untyped-def]
    out = product.out
    for task in range(start, stop):
        c, chunk = task // chunks * width, task % chunks
        n, after = out.shape[0], min(c + width, out.shape[1])
        row_start, row_stop = n * chunk // chunks, n * (chunk + 1) // chunks
        while c < after:
            taken = COLUMNS_PER_TILE if after - c >= COLUMNS_PER_TILE else min(after - c, WIDTH)
            copied = _copied(y, c, taken)
            for second in range(1 + (then.out.size > 0)):  # not booleans: literals would compile the body twice
                target, other = product, out[: n * add]
                if second:
                    target, other = then, out
                _add_tile(target, copied, other, c, taken, row_start, row_stop, second)
            c += taken


@inlined
def _add_tile(product, y, other, c, width, start, stop, after):  # type: ignore[no-untyped-def]
    """Compute some columns: sums start at ``other``, or start at 0 and ``other`` is added ``after`` them."""
    if width == COLUMNS_PER_TILE:
        _add_wide(product, y, other, c, start, stop, after)
    elif width == WIDTH:
        _add_narrow(product, y, other, c, start, stop, after)
    else:
        for column in range(width):
            _add_column(product, y, other, c, column, start, stop, after)


@inlined
def _add_wide(product, y, other, c, start, stop, after):  # type: ignore[no-untyped-def]
    (starts, rows, weights), out = product
    c1, c2, c3 = c + WIDTH, c + 2 * WIDTH, c + 3 * WIDTH
    begin, end = other.size > 0 and not after, other.size > 0 and after
    for i in range(start, stop):
        s0 = s1 = s2 = s3 = splat(out.dtype.type(0))
        if begin:
            s0, s1, s2, s3 = load(other, i, c), load(other, i, c1), load(other, i, c2), load(other, i, c3)
        for e in range(starts[i], starts[i + 1]):
            row, weight = rows[e], splat(weights[e])
            s0 = s0 + weight * load(y, row, 0)
            s1 = s1 + weight * load(y, row, WIDTH)
            s2 = s2 + weight * load(y, row, 2 * WIDTH)
            s3 = s3 + weight * load(y, row, 3 * WIDTH)
        if end:
            s0, s1 = load(other, i, c) + s0, load(other, i, c1) + s1
            s2, s3 = load(other, i, c2) + s2, load(other, i, c3) + s3
        store(out, i, c, s0)
        store(out, i, c1, s1)
        store(out, i, c2, s2)
        store(out, i, c3, s3)


@inlined
def _add_narrow(product, y, other, c, start, stop, after):  # type: ignore[no-untyped-def]
    (starts, rows, weights), out = product
    begin, end = other.size > 0 and not after, other.size > 0 and after
    for i in range(start, stop):
        total = load(other, i, c) if begin else splat(out.dtype.type(0))
        for e in range(starts[i], starts[i + 1]):
            total = total + splat(weights[e]) * load(y, rows[e], 0)
        store(out, i, c, load(other, i, c) + total if end else total)


@inlined
def _add_column(product, y, other, c, column, start, stop, after):  # type: ignore[no-untyped-def]
    (starts, rows, weights), out = product
    begin, end = other.size > 0 and not after, other.size > 0 and after
    for i in range(start, stop):
        total = other[i, c + column] if begin else out.dtype.type(0)
        for e in range(starts[i], starts[i + 1]):
            total += weights[e] * y[rows[e], column]
        out[i, c + column] = other[i, c + column] + total if end else total


@inlined
def _copied(y, c, width):  # type: ignore[no-untyped-def]
    """Copy columns to a contiguous matrix: strided rows would compete for the same cache sets."""
    copy, vectorized = aligned_rows(y.shape[0], width, y.dtype), width - width % WIDTH
    for i in range(y.shape[0]):
        for column in range(0, vectorized, WIDTH):
            store(copy, i, column, load(y, i, c + column))
        for column in range(vectorized, width):
            copy[i, column] = y[i, c + column]
    return copy


# -- gradients of the weights -----------------------------------------------------------------------------------------


def weights_backward(
    parts: Sequence[tuple[Codes, Floats]],
    grad_pre: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    grad_W_dec: Floats,
    add: bool,
) -> None:
    codes, grads = zip(*parts, strict=True)
    begins, rows, weights = entries_by_latent(codes, grad_pre, len(grad_b_enc))
    n = len(x_unit)
    part_rows = rows[0] + n * rows[1]
    for out, entries, y in (
        (grad_W_dec, Entries(begins, part_rows, weights[0]), _stacked(grads)),
        (grad_W_enc.T, Entries(begins, rows[0], weights[1]), np.ascontiguousarray(x_unit)),
    ):
        contiguous = np.ascontiguousarray(out)
        _add_rows(entries, y, contiguous, add)
        if contiguous is not out:
            out[...] = contiguous
    _add_weights(begins, weights[1], grad_b_enc, add)


def latent_sums(codes: Codes, y: Floats) -> Floats:
    begins, rows, weights = entries_by_latent([codes], [codes], codes.n_latents)
    sums = aligned_empty((codes.n_latents, y.shape[1]), y.dtype)
    _add_rows(Entries(begins, rows[0], weights[0]), np.ascontiguousarray(y), sums)
    return sums


@kernel
def _add_weights(starts, weights, out, add):  # type: ignore[no-untyped-def]
    for latent in range(out.size):
        total = out[latent] if add else out.dtype.type(0)
        for e in range(starts[latent], starts[latent + 1]):
            total += weights[e]
        out[latent] = total


def _stacked(arrays: Sequence[Floats]) -> Floats:
    """Stack the rows of arrays of one shape, without a copy if they are adjacent in memory."""
    first, n = arrays[0], len(arrays)
    places = [first.ctypes.data + i * first.nbytes for i in range(n)]
    if all(array.flags.c_contiguous and array.base is first.base is not None for array in arrays) and places == [
        array.ctypes.data for array in arrays
    ]:
        return as_strided(first, (n * len(first), first.shape[1]), first.strides)
    return np.concatenate(arrays)


def _contiguous(*arrays: Any) -> list[Any]:
    return [np.ascontiguousarray(array) for array in arrays]
