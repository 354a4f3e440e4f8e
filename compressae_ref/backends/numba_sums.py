"""Numba kernels for the sums of `compressae_ref.sums`, to the bit."""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba_cache import inner, kernel
from compressae_ref.backends.numba_lanes import WIDTH, lines, load, store
from compressae_ref.backends.threads import share

PAIRS = 32
"""Pairs of rows that go through each stage together: what one stage has stored is in memory when the next one reads."""


def pair_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty((len(a), len(b)), a.dtype)
    share(len(b), 256, _pair_dots, np.ascontiguousarray(a), np.ascontiguousarray(b), dots.reshape(-1))
    return dots


@kernel
def _pair_dots(a, b, out, first, last):  # type: ignore[no-untyped-def]
    n = a.shape[0]
    rows, same, places = numbers(n), np.empty(n, np.int32), np.empty(n, np.int64)
    for j in range(first, last):
        for i in range(n):
            same[i], places[i] = j, i * b.shape[0] + j
        add_dots(a, rows, b, same, n, out, places)


@inner
def numbers(n):  # type: ignore[no-untyped-def]
    """The numbers from 0 to n."""
    numbers = np.empty(n, np.int32)
    for i in range(n):
        numbers[i] = i
    return numbers


@inner
def add_dots(a, rows_a, b, rows_b, n, out, places):  # type: ignore[no-untyped-def]
    """out[places[e]] = ⟨a[rows_a[e]], b[rows_b[e]]⟩ for e < n, each summed by `sums.fold_sum`.

    Several halvings are done at once, while the numbers are in registers: each product is added to the same one as
    there, only sooner. Neighbours that share a row of b are the faster for it.
    """
    at_once = _at_once(a.shape[1])
    terms = lines(PAIRS, a.shape[1] // at_once + WIDTH, a.dtype)
    terms[:] = 0  # what is beyond the terms is added, too, though of no account: no slow numbers there
    for start in range(0, n, PAIRS):
        count = min(PAIRS, n - start)
        t = 0
        while t < count:
            run = _run(rows_b, start + t, start + count)
            if at_once == 8:
                _fold_eight(a, rows_a, start + t, b, rows_b[start + t], terms, t, run)
            else:
                _fold_two(a, rows_a, start + t, b, rows_b[start + t], terms, t, run, at_once)
            t += run
        left = a.shape[1] // at_once
        while left > 16 and left % 2 == 0:
            left //= 2
            for t in range(count):
                _halve(terms, t, left)
        for t in range(count):
            total = terms[t, 0]
            for c in range(1, left):
                total += terms[t, c]
            out[places[start + t]] = total


@inner
def _at_once(d):  # type: ignore[no-untyped-def]
    """How many products, d / that apart, are added up while they are in registers: three halvings, one or none."""
    if d % 8 == 0 and d // 8 >= WIDTH:
        return 8
    return 2 if d % 2 == 0 and d // 2 >= WIDTH else 1


@inner
def _run(rows, start, stop):  # type: ignore[no-untyped-def]
    """How many of the rows from ``start`` are the same, at most 8."""
    run = 1
    while run < 8 and start + run < stop and rows[start + run] == rows[start]:
        run += 1
    return run


@inner
def _fold_eight(a, rows, e, b, j, terms, t, run):  # type: ignore[no-untyped-def]
    """terms[t + u] = what three halvings make of the products of a[rows[e + u]] and b[j], for u < run."""
    left = a.shape[1] // 8
    for start in range(0, left, WIDTH):
        c = min(start, left - WIDTH)
        b0, b1, b2, b3 = load(b, j, c), load(b, j, c + left), load(b, j, c + 2 * left), load(b, j, c + 3 * left)
        c4 = c + 4 * left
        b4, b5, b6, b7 = load(b, j, c4), load(b, j, c4 + left), load(b, j, c4 + 2 * left), load(b, j, c4 + 3 * left)
        for u in range(run):
            i = rows[e + u]
            even = _four(a, i, c, left, b0, b2, b4, b6)
            store(terms, t + u, c, even + _four(a, i, c + left, left, b1, b3, b5, b7))


@inner
def _four(a, i, c, left, b0, b2, b4, b6):  # type: ignore[no-untyped-def]
    """Every second product of eight, folded twice."""
    first = load(a, i, c) * b0 + load(a, i, c + 4 * left) * b4
    return first + (load(a, i, c + 2 * left) * b2 + load(a, i, c + 6 * left) * b6)


@inner
def _fold_two(a, rows, e, b, j, terms, t, run, at_once):  # type: ignore[no-untyped-def]
    """As `_fold_eight`, with one halving or none."""
    left = a.shape[1] // at_once
    for u in range(run):
        i = rows[e + u]
        if at_once == 1:
            for c in range(left):
                terms[t + u, c] = a[i, c] * b[j, c]
            continue
        for start in range(0, left, WIDTH):
            c = min(start, left - WIDTH)
            first = load(a, i, c) * load(b, j, c)
            store(terms, t + u, c, first + load(a, i, c + left) * load(b, j, c + left))


@inner
def _halve(terms, t, half):  # type: ignore[no-untyped-def]
    """Add the second half onto the first, 16 at a time; the last 16 are read before any of them changes.

    Of a half that is less than 16 all 16 are added: what follows it is of no account.
    """
    final = max(half - WIDTH, 0)
    last = load(terms, t, final) + load(terms, t, final + half)
    for c in range(0, final, WIDTH):
        store(terms, t, c, load(terms, t, c) + load(terms, t, c + half))
    store(terms, t, final, last)
