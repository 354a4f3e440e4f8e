"""Encoding on the device, with the bits of `compressae_ref.backends.numpy.encode`.

As there, a matrix product in any summation order finds candidates for the k largest latents, and the dots of these
candidates are recomputed in the specified order. The number of candidates is a guess that is verified for every row:
each excluded latent must be smaller than the k-th largest, whatever the rounding of the product. If this fails, the
number of candidates is doubled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import Floats
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.codes import codes_of
from compressae_ref.backends.cuda.launch import F1, F2, I2, elements, kernel
from compressae_ref.backends.cuda.memory import columns, empty, in_blocks, like, rows
from compressae_ref.backends.cuda.product import dense_product
from compressae_ref.backends.cuda.select import empty_codes, largest, magnitudes, positions, taken, unsigned
from compressae_ref.backends.cuda.sums import chosen_dots
from compressae_ref.backends.rounding import rounding_bound
from compressae_ref.backends.rules import stored
from compressae_ref.codes import Codes

EXTRA_CANDIDATES = 32
"""Candidates beyond k; rounding of the product rarely moves a latent further."""

ROWS_PER_BLOCK = 2048
"""Rows whose (rows, h) pre-activations are in device memory at once."""


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    x, W, b = rows(x_unit), columns(W_enc), rows(b_enc)
    h = len(W)
    indices, values = empty_codes((len(x), k), W.dtype)
    bound = _bound(W, b)

    def encode_block(block: slice) -> None:
        _encode(x[block], W, b, bound, indices[block], values[block])

    if len(x):
        in_blocks(len(x), ROWS_PER_BLOCK, encode_block)
    return codes_of(like(x_unit, indices), like(x_unit, values), h)


def _bound(W: Any, b: Any) -> float:
    """Compute `backends.numpy.encode.pre_bound`, with squares summed on the device in any order."""
    squares = empty((len(W), 1), W.dtype)
    _squares(elements(len(W)), W, squares)
    with np.errstate(over="ignore"):
        return float(rounding_bound(fetch(squares).max(), np.abs(fetch(b)).max(), W.shape[1]))


def _encode(x: Any, W: Any, b: Any, bound: float, indices: Any, values: Any) -> None:
    h, k = len(W), indices.shape[1]
    near = dense_product(x, W)
    _add_row(elements(near.size), near, b)
    keys = near.view(unsigned(near.dtype))
    magnitudes(near, keys)  # in place
    n_candidates = min(h, k + EXTRA_CANDIDATES)
    while not _encode_among(n_candidates, keys, x, W, b, bound, indices, values):
        n_candidates = min(h, 2 * n_candidates)


def _encode_among(
    n_candidates: int, near: Any, x: Any, W: Any, b: Any, bound: float, indices: Any, values: Any
) -> bool:
    """Encode with the ``n_candidates`` largest latents of the product; return whether they provably suffice."""
    h, k = near.shape[1], indices.shape[1]
    latents, _, least_near = largest(near, n_candidates, positions(h), rest=False)
    pre = chosen_dots(x, W, latents)
    _add_bias(elements(pre.size), latents, b, pre)
    chosen, _, least = largest(magnitudes(pre), k, positions(n_candidates), rest=False)
    taken(latents, pre, chosen, indices, values)
    left_out, kept = (fetch(keys).view(pre.dtype).astype(np.float64) for keys in (least_near, least))
    return n_candidates == h or bool((left_out + bound < kept).all())


@kernel
def _squares(W: F2, squares: F2) -> None:
    for j in range(cuda.grid(1), W.shape[0], cuda.gridsize(1)):
        total = W.dtype.type(0)
        for c in range(W.shape[1]):
            total += W[j, c] * W[j, c]
        squares[j, 0] = total


@kernel
def _add_row(near: F2, b: F1) -> None:
    for number in range(cuda.grid(1), near.size, cuda.gridsize(1)):
        i, j = number // near.shape[1], number % near.shape[1]
        near[i, j] += b[j]


@kernel
def _add_bias(latents: I2, b: F1, pre: F2) -> None:
    for number in range(cuda.grid(1), pre.size, cuda.gridsize(1)):
        i, t = number // pre.shape[1], number % pre.shape[1]
        pre[i, t] = stored(pre[i, t] + b[latents[i, t]], pre.dtype.type(0))
