"""Numba kernels for dots in the order of `reference.fold_sum`."""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.numba.rules import halves_again
from compressae_ref.backends.numba.simd import WIDTH, aligned_rows, load, store
from compressae_ref.backends.thread_pool import parallel_for

PAIRS_PER_BLOCK = 32
"""Pairs of rows that go through each stage together, so that a load does not wait for the preceding store."""

ROWS_PER_TILE = 256
"""Rows of a that stay in the L2 cache while all rows of b pass."""


def pair_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty((len(a), len(b)), a.dtype)
    rows = np.ascontiguousarray(a)
    if b is a:
        parallel_for(len(b), 64, _pair_dots, rows, rows, True, dots)
        return dots
    others = np.ascontiguousarray(b)
    for start in range(0, len(a), ROWS_PER_TILE):
        tile = slice(start, start + ROWS_PER_TILE)
        parallel_for(len(b), 256, _pair_dots, rows[tile], others, False, dots[tile])
    return dots


@kernel
def _pair_dots(a, b, symmetric, out, start, stop):  # type: ignore[no-untyped-def]
    """Set out[i, j] = ⟨a[i], b[j]⟩ for some j. If a is b, i runs to j alone, and out[j, i] is set, too."""
    block = max(1, 512 // max(a.shape[0], 1))  # rows of b per block
    most = a.shape[0] * block
    rows_a, rows_b = np.empty(most, np.int32), np.empty(most, np.int32)
    dots, places = np.empty(most, a.dtype), numbers(most)
    for begin in range(start, stop, block):
        end = min(begin + block, stop)
        n = end if symmetric else a.shape[0]
        for j in range(begin, end):
            for i in range(n):
                rows_a[(j - begin) * n + i], rows_b[(j - begin) * n + i] = i, j
        add_dots(a, rows_a, b, rows_b, (end - begin) * n, dots, places)
        for j in range(begin, end):
            for i in range(n):
                out[i, j] = dots[(j - begin) * n + i]
                if symmetric:
                    out[j, i] = out[i, j]


@inner
def numbers(n):  # type: ignore[no-untyped-def]
    """Return 0, 1, ..., n − 1 as int32."""
    numbers = np.empty(n, np.int32)
    for i in range(n):
        numbers[i] = i
    return numbers


@inner
def add_dots(a, rows_a, b, rows_b, n, out, places):  # type: ignore[no-untyped-def]
    """Set out[places[e]] = ⟨a[rows_a[e]], b[rows_b[e]]⟩ for e < n, each summed by `reference.fold_sum`.

    Up to four halvings are done at once in registers: the same products are added in the same order. Consecutive pairs
    that share a row of b are faster, because it is loaded once.
    """
    per_term = _products_per_term(a.shape[1])
    terms = aligned_rows(PAIRS_PER_BLOCK, a.shape[1] // per_term + WIDTH, a.dtype)
    terms[:] = 0  # padding is added and ignored; zeros avoid slow subnormals there
    for start in range(0, n, PAIRS_PER_BLOCK):
        count = min(PAIRS_PER_BLOCK, n - start)
        e = start
        while e < start + count:
            run = _run(rows_b, e, start + count)
            if per_term == 16:
                _fold_sixteen(a, rows_a, e, b, rows_b[e], terms, e - start, run)
            elif per_term == 2:
                _fold_two(a, rows_a, e, b, rows_b[e], terms, e - start, run)
            else:
                _multiply(a, rows_a, e, b, rows_b[e], terms, e - start, run)
            e += run
        left = a.shape[1] // per_term
        while halves_again(left):
            left //= 2
            for t in range(count):
                _halve(terms, t, left)
        for t in range(count):
            total = terms[t, 0]
            for c in range(1, left):
                total += terms[t, c]
            out[places[start + t]] = total


@inlined
def _products_per_term(d):  # type: ignore[no-untyped-def]
    """Return how many products are added in registers: 16 (four halvings), 2 (one) or 1 (none)."""
    if d % 16 == 0 and d // 16 >= WIDTH:
        return 16
    return 2 if d % 2 == 0 and d // 2 >= WIDTH else 1


@inner
def _run(rows, start, stop):  # type: ignore[no-untyped-def]
    """Return how many consecutive rows from ``start`` are equal, at most 8."""
    run = 1
    while run < 8 and start + run < stop and rows[start + run] == rows[start]:
        run += 1
    return run


@inner
def _fold_sixteen(a, rows, e, b, j, terms, t, run):  # type: ignore[no-untyped-def]
    """Set terms[t + u] to the products of a[rows[e + u]] and b[j] after four halvings, for u < run.

    Let p_m be the product at offset m · d/16. The four halvings add p_m and p_{m+8}, then m and m + 4, then m + 2,
    then m + 1. So p₀, p₄, p₈ and p₁₂ are added first, and their sum is added to that of p₂, p₆, p₁₀ and p₁₄.
    """
    left = a.shape[1] // 16
    step = 4 * left
    for start in range(0, left, WIDTH):
        c0 = min(start, left - WIDTH)
        c1, c2, c3 = c0 + left, c0 + 2 * left, c0 + 3 * left
        b0, b4, b8, b12 = load(b, j, c0), load(b, j, c0 + step), load(b, j, c0 + 2 * step), load(b, j, c0 + 3 * step)
        b1, b5, b9, b13 = load(b, j, c1), load(b, j, c1 + step), load(b, j, c1 + 2 * step), load(b, j, c1 + 3 * step)
        b2, b6, b10, b14 = load(b, j, c2), load(b, j, c2 + step), load(b, j, c2 + 2 * step), load(b, j, c2 + 3 * step)
        b3, b7, b11, b15 = load(b, j, c3), load(b, j, c3 + step), load(b, j, c3 + 2 * step), load(b, j, c3 + 3 * step)
        for u in range(run):
            i = rows[e + u]
            even = _four(a, i, c0, step, b0, b4, b8, b12) + _four(a, i, c2, step, b2, b6, b10, b14)
            odd = _four(a, i, c1, step, b1, b5, b9, b13) + _four(a, i, c3, step, b3, b7, b11, b15)
            store(terms, t + u, c0, even + odd)


@inner
def _four(a, i, c, step, b0, b1, b2, b3):  # type: ignore[no-untyped-def]
    """Return the sum of four products, (0 + 2) + (1 + 3)."""
    first = load(a, i, c) * b0 + load(a, i, c + 2 * step) * b2
    return first + (load(a, i, c + step) * b1 + load(a, i, c + 3 * step) * b3)


@inner
def _multiply(a, rows, e, b, j, terms, t, run):  # type: ignore[no-untyped-def]
    """Set terms[t + u] to the products of a[rows[e + u]] and b[j], for u < run."""
    for u in range(run):
        i = rows[e + u]
        for c in range(a.shape[1]):
            terms[t + u, c] = a[i, c] * b[j, c]


@inner
def _fold_two(a, rows, e, b, j, terms, t, run):  # type: ignore[no-untyped-def]
    """As `_fold_sixteen`, but with one halving."""
    left = a.shape[1] // 2
    for u in range(run):
        i = rows[e + u]
        for start in range(0, left, WIDTH):
            c = min(start, left - WIDTH)
            first = load(a, i, c) * load(b, j, c)
            store(terms, t + u, c, first + load(a, i, c + left) * load(b, j, c + left))


@inner
def _halve(terms, t, half):  # type: ignore[no-untyped-def]
    """Add the second half of the terms to the first, 16 at a time; the last 16 are loaded before any store.

    If the half is shorter than 16, the surplus lanes are computed and ignored.
    """
    final = max(half - WIDTH, 0)
    last = load(terms, t, final) + load(terms, t, final + half)
    for c in range(0, final, WIDTH):
        store(terms, t, c, load(terms, t, c) + load(terms, t, c + half))
    store(terms, t, final, last)


@inlined
def fold(values, terms):  # type: ignore[no-untyped-def]
    """Return the sum of values as `reference.fold_sum` adds them; ``terms`` is overwritten, and may be ``values``."""
    left = values.size
    for j in range(left):
        terms[j] = values[j]
    while halves_again(left):
        left //= 2
        for j in range(left):
            terms[j] += terms[left + j]
    total = terms[0]
    for j in range(1, left):
        total += terms[j]
    return total
