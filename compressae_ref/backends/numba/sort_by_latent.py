"""Numba kernels that sort the entries of codes by latent and then by row, so that weights are read once per latent.

This is a counting sort: count the entries of each latent, then put every entry in its place.
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
    """Sort entries by latent, then by row; return their entry numbers, rows and latents.

    Row first_row + i has the entries starts[i] to starts[i + 1]. After sorting, a column of the weights is read once
    for all its rows, which are in the cache.
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
    """Fill ``begins``, which must be zeros, with the start of each latent's sorted entries."""
    for entry in range(count):
        begins[latents[entry] + 1] += 1
    for latent in range(begins.size - 1):
        begins[latent + 1] += begins[latent]


@inlined
def place(latents, starts, begins, start, stop, entries, rows):  # type: ignore[no-untyped-def]
    """Put the entries of latents ``start`` to ``stop`` in their places."""
    free = begins[start:stop].copy()
    for row in range(starts.size - 1):
        for entry in range(starts[row], starts[row + 1]):
            latent = latents[entry]
            if start <= latent < stop:
                e = free[latent - start]
                free[latent - start] += 1
                entries[e], rows[e] = entry, row


class SideBySide(NamedTuple):
    """Codes of the same rows and gradients of their values; the columns of all parts are side by side."""

    indices: Any
    values: Any
    grads: Any
    part_of_column: Any


def entries_by_latent(codes: Sequence[Codes], grad_pre: Sequence[Codes], n_latents: int) -> tuple[Any, Any, Any]:
    """Sort the entries of all parts by latent, then by row; return starts, (row, part) and (value, gradient)."""
    indices = np.concatenate([part.indices for part in codes], axis=1)
    values, grads = (np.concatenate([part.values for part in source], axis=1) for source in (codes, grad_pre))
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
    """Write rows, parts and weights of the entries of latents ``start`` to ``stop``."""
    indices, values, grads, part_of_column = parts
    n, k = indices.shape
    flat_values, flat_grads = values.reshape(-1), grads.reshape(-1)
    entries = rows[1]
    place(indices.reshape(-1), np.arange(n + 1) * k, begins, start, stop, entries, rows[0])
    for e in range(begins[start], begins[stop]):
        entry = entries[e]
        weights[0, e], weights[1, e] = flat_values[entry], flat_grads[entry]
        rows[1, e] = part_of_column[entry - rows[0, e] * k]
