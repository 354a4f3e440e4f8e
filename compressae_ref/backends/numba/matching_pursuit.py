"""Numba kernel for `backends.numpy.matching_pursuit.refine_unit`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.numba.simd import WIDTH, aligned_rows, load, splat, store
from compressae_ref.backends.numba.sums import add_dots, numbers
from compressae_ref.backends.numba.topk import empty_codes, ordered
from compressae_ref.backends.numpy.matching_pursuit import tolerance
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes

ROWS_PER_TASK = 64


class Problem(NamedTuple):
    """The inputs of a pursuit."""

    candidates: Any
    """(n, m) candidate latents of each row"""
    x_unit: Any
    """(n, d)"""
    W_dec: Any
    """(h, d)"""
    dots: Any
    """(h, h) dots of all pairs of atoms, or (0, 0) to compute them on demand"""
    tolerance: Any
    """smallest pivot, relative to the square of its atom"""


def refine_unit(codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Codes:
    indices, values = empty_codes(len(codes), k, W_dec.dtype)
    candidates, rows, atoms = (np.ascontiguousarray(array) for array in (codes.indices, x_unit, W_dec))
    table = np.empty((0, 0), W_dec.dtype) if dots is None else dots
    problem = Problem(candidates, rows, atoms, table, tolerance(W_dec.dtype))
    parallel_for(len(codes), ROWS_PER_TASK, _refine, problem, ordered(values[:0]), indices, values)
    return Codes.trusted(indices, values, codes.n_latents, codes.model)


@kernel
def _refine(problem, unsigned, indices, values, start, stop):  # type: ignore[no-untyped-def]
    latents, x_unit, W_dec, dots, least = problem
    m, k = latents.shape[1], indices.shape[1]
    p, y, solution = aligned_rows(k + 2, m, W_dec.dtype), np.empty(k, W_dec.dtype), np.empty(m, W_dec.dtype)
    p[:] = 0  # columns beyond the candidates are computed and ignored; zeros avoid slow subnormals there
    r, new, chosen = p[k, :m], p[k + 1, :m], np.empty(k, np.int64)
    bits, left, magnitude = r.view(unsigned.dtype), np.empty(m, unsigned.dtype), unsigned.dtype.type(-1) >> 1
    same, places = np.empty(m, np.int32), numbers(m)
    for row in range(start, stop):
        same[:], left[:] = row, magnitude
        add_dots(W_dec, latents[row], x_unit, same, m, r, places)
        size = 0
        for _ in range(m):
            c = _most_correlated(bits, left)
            left[c] = 0
            if dots.size > 0:
                _gather(dots, latents[row], latents[row, c], new)
            else:
                same[:] = latents[row, c]
                add_dots(W_dec, latents[row], W_dec, same, m, new, places)
            square = new[c]
            _orthogonalize(p, k + 1, size, c)
            if not new[c] > least * square:
                continue
            root = np.sqrt(new[c])
            factor = r[c] / root
            y[size], chosen[size] = factor, c
            for i in range(m):
                p[size, i] = new[i] / root
            for i in range(m):
                r[i] -= factor * p[size, i]
            size += 1
            if size == k:
                break
        _solve(chosen[:size], p, y, solution)
        _fill(latents[row], chosen[:size], solution, left, indices[row], values[row])


@inner
def _most_correlated(bits, left):  # type: ignore[no-untyped-def]
    """Return the first remaining candidate with the largest |r|.

    ``left`` masks the bits of r: all but the sign for remaining candidates, none for the others.
    """
    largest = bits.dtype.type(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & left[i])
    i = 0
    while left[i] == 0 or bits[i] & left[i] != largest:
        i += 1
    return i


@inner
def _gather(dots, latents, latent, out):  # type: ignore[no-untyped-def]
    row = dots[latent]
    for i in range(latents.size):
        out[i] = row[latents[i]]


@inner
def _orthogonalize(p, row, size, c):  # type: ignore[no-untyped-def]
    """Subtract p[s, c] · p[s] from p[row] for s = 0, 1, ..., size − 1, in this order."""
    for i in range(0, p.shape[1] - 3 * WIDTH, 4 * WIDTH):
        a, b = load(p, row, i), load(p, row, i + WIDTH)
        c0, d = load(p, row, i + 2 * WIDTH), load(p, row, i + 3 * WIDTH)
        for s in range(size):
            factor = splat(p[s, c])
            a = a - factor * load(p, s, i)
            b = b - factor * load(p, s, i + WIDTH)
            c0 = c0 - factor * load(p, s, i + 2 * WIDTH)
            d = d - factor * load(p, s, i + 3 * WIDTH)
        store(p, row, i, a)
        store(p, row, i + WIDTH, b)
        store(p, row, i + 2 * WIDTH, c0)
        store(p, row, i + 3 * WIDTH, d)
    for i in range(p.shape[1] // (4 * WIDTH) * 4 * WIDTH, p.shape[1], WIDTH):
        lanes = load(p, row, i)
        for s in range(size):
            lanes = lanes - splat(p[s, c]) * load(p, s, i)
        store(p, row, i, lanes)


@inlined
def _solve(chosen, p, y, solution):  # type: ignore[no-untyped-def]
    """Solve by back substitution; candidates that are not chosen get 0."""
    solution[:] = 0
    for t in range(chosen.size - 1, -1, -1):
        total = y[t]
        for s in range(t + 1, chosen.size):
            total -= p[t, chosen[s]] * solution[chosen[s]]
        solution[chosen[t]] = total / p[t, chosen[t]]


@inlined
def _fill(latents, chosen, solution, left, indices, values):  # type: ignore[no-untyped-def]
    """Write the chosen entries by ascending latent, filled up to k with the lowest other candidates."""
    left[:] = 1
    for c in chosen:
        left[c] = 0
    others, t = indices.size - chosen.size, 0
    for i in range(latents.size):
        if left[i] != 0:
            if others == 0:
                continue
            others -= 1
        indices[t], values[t] = latents[i], solution[i] + values.dtype.type(0)
        t += 1
