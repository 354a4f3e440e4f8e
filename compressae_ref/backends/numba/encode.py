"""Numba kernel for `backends.numpy.encode`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import kernel
from compressae_ref.backends.numba.prefilter import Filter, candidates, make_filter
from compressae_ref.backends.numba.rules import stored
from compressae_ref.backends.numba.sort_by_latent import by_latent
from compressae_ref.backends.numba.sums import add_dots, pair_dots
from compressae_ref.backends.numba.topk import ROWS_PER_TASK, empty_codes, magnitudes, ordered, positions_of_largest
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes

MIN_FILTER_ROWS = 16
"""With fewer rows, computing all pre-activations is faster than building the filter."""


class Encoder(NamedTuple):
    """The weights of an encoder, and the filter made from them."""

    columns: Any
    """(h, d) W_encᵀ"""
    b_enc: Any
    """(h,)"""
    filter: Filter


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    columns = np.ascontiguousarray(W_enc.T)
    indices, values = empty_codes(len(x_unit), k, columns.dtype)
    if len(x_unit) < MIN_FILTER_ROWS:
        pre = pair_dots(x_unit, columns) + b_enc + columns.dtype.type(0)  # −0 becomes +0 (R2)
        parallel_for(len(pre), ROWS_PER_TASK, _abs_topk, pre, ordered(pre), indices, values)
    else:
        encoder = Encoder(columns, b_enc, make_filter(columns, b_enc))
        rows = np.ascontiguousarray(x_unit)
        parallel_for(len(rows), ROWS_PER_TASK, _encode, rows, encoder, ordered(values[:0]), indices, values)
    return Codes.trusted(indices, values, len(columns))


@kernel
def _abs_topk(pre, bits, indices, values, start, stop):  # type: ignore[no-untyped-def]
    k, h = indices.shape[1], pre.shape[1]
    positions, keys = np.empty((2, h + 1), np.int64), np.empty(h, bits.dtype)
    for row in range(start, stop):
        magnitudes(bits[row], keys)
        positions_of_largest(keys, h, k, positions[0], positions[1])
        for t in range(k):
            indices[row, t], values[row, t] = positions[0, t], pre[row, positions[0, t]]


@kernel
def _encode(x_unit, encoder, unsigned, indices, values, start, stop):  # type: ignore[no-untyped-def]
    columns, b_enc = encoder.columns, encoder.b_enc
    h, k = columns.shape[0], indices.shape[1]
    starts, found = candidates(x_unit, start, stop, k, encoder.filter)
    pre = np.empty(starts[-1], columns.dtype)
    entries, rows, latents = by_latent(found, starts, start, h)
    add_dots(x_unit, rows, columns, latents, entries.size, pre, entries)
    positions, keys = np.empty((2, h + 1), np.int64), np.empty(h, unsigned.dtype)
    bits = pre.view(unsigned.dtype)
    for row in range(start, stop):
        begin, m = starts[row - start], starts[row - start + 1] - starts[row - start]
        for i in range(begin, begin + m):
            pre[i] = stored(pre[i] + b_enc[found[i]], columns.dtype.type(0))
        magnitudes(bits[begin : begin + m], keys[:m])
        positions_of_largest(keys, m, k, positions[0], positions[1])
        for t in range(k):
            entry = begin + positions[0, t]
            indices[row, t], values[row, t] = found[entry], pre[entry]
