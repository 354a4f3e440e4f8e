"""Numba kernels that sort the entries of codes by latent, and by row within each: what a latent needs is read once.

Sorting is by counting: where the entries of each latent begin is known first, then each is put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes


@inner
def by_latent(latents, starts, first_row, n_latents):  # type: ignore[no-untyped-def]
    """Entries sorted by latent, rows in order within each: entry numbers, rows and latents.

    Row i has the entries from starts[i] to starts[i + 1]. So a column of the weights is read once for all its rows, and
    the rows are in a cache.
    """
    count = starts[-1]
    begins = np.zeros(n_latents + 1, np.int64)
    find_begins(latents, count, begins)
    entries, rows, ordered = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    place(latents, starts, begins, 0, n_latents, entries, rows)
    for latent in range(n_latents):
        for e in range(begins[latent], begins[latent + 1]):
            rows[e] += first_row
            ordered[e] = latent
    return entries, rows, ordered


@inlined
def find_begins(latents, count, begins):  # type: ignore[no-untyped-def]
    """Where the entries of each latent begin, once they are sorted; ``begins`` is all zeros before."""
    for entry in range(count):
        begins[latents[entry] + 1] += 1
    for latent in range(begins.size - 1):
        begins[latent + 1] += begins[latent]


@inlined
def place(latents, starts, begins, start, stop, entries, rows):  # type: ignore[no-untyped-def]
    """Put the entries of the latents from ``first`` to ``last`` where they belong."""
    free = begins[start:stop].copy()
    for row in range(starts.size - 1):
        for entry in range(starts[row], starts[row + 1]):
            latent = latents[entry]
            if start <= latent < stop:
                e = free[latent - start]
                free[latent - start] += 1
                entries[e], rows[e] = entry, row


class SideBySide(NamedTuple):
    """Codes of the same rows, and gradients of their values, with the columns of all parts side by side."""

    indices: Any
    values: Any
    grads: Any
    part_of_column: Any


def entries_by_latent(codes: Sequence[Codes], grad_pre: Sequence[Codes], n_latents: int) -> tuple[Any, Any, Any]:
    """Entries of all parts by latent, rows in order: where each latent begins, (row, part), and (value, gradient)."""
    indices = np.concatenate([part.indices for part in codes], axis=1)
    values, grads = (np.concatenate([part.values for part in some], axis=1) for some in (codes, grad_pre))
    parts = SideBySide(indices, values, grads, np.repeat(np.arange(len(codes)), [part.k for part in codes]))
    begins = np.zeros(n_latents + 1, np.int64)
    _find_begins(indices.reshape(-1), begins)
    rows, weights = np.empty((2, indices.size), np.int32), np.empty((2, indices.size), values.dtype)
    parallel_for(n_latents, n_latents, _gather, parts, begins, rows, weights)
    return begins, rows, weights


@kernel
def _find_begins(latents, begins):  # type: ignore[no-untyped-def]
    find_begins(latents, latents.size, begins)


@kernel
def _gather(parts, begins, rows, weights, start, stop):  # type: ignore[no-untyped-def]
    """Rows, parts and weights of the entries of the latents from ``first`` to ``last``."""
    indices, values, grads, part_of_column = parts
    n, k = indices.shape
    flat_values, flat_grads = values.reshape(-1), grads.reshape(-1)
    entries = rows[1]
    place(indices.reshape(-1), np.arange(n + 1) * k, begins, start, stop, entries, rows[0])
    for e in range(begins[start], begins[stop]):
        entry = entries[e]
        weights[0, e], weights[1, e] = flat_values[entry], flat_grads[entry]
        rows[1, e] = part_of_column[entry - rows[0, e] * k]
