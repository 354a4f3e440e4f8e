"""Products of codes with dense arrays: by SciPy where its sums have the stated order, else as in the reference."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.backends.numpy.sums import chosen_dots
from compressae_ref.codes import Codes
from compressae_ref.optional import require_scipy

LATENTS_PER_BLOCK = 512

Pair = tuple[Codes, Floats]
"""Codes (n rows, h latents) and an array (n, m)."""


def decode(codes: Codes, W_dec: Floats) -> Floats:
    """`reference.decode`: reconstructions (E7). Codes, (h, d) → (n, d)."""
    in_order = scipy_sums_in_order()

    def product(rows: slice) -> Floats:
        some = codes[rows]
        x_hat: Floats = some.to_csr() @ W_dec if in_order else reference.decode(some.indices, some.values, W_dec)
        return x_hat

    return np.concatenate(map_blocks(len(codes), ROWS_PER_BLOCK, product))


@cache
def scipy_sums_in_order() -> bool:
    """Whether SciPy is installed and its product of a sparse and a dense array has the bits of `reference.decode`.

    It sums in stored order. But a compiler may have fused products and sums, which rounds once instead of twice.
    """
    if importlib.util.find_spec("scipy") is None:
        return False
    rng = np.random.default_rng(0)
    codes = Codes(np.arange(8 * 32, dtype=np.int32).reshape(8, 32) % 64, rng.standard_normal((8, 32), np.float32), 64)
    W_dec = rng.standard_normal((64, 67), np.float32)
    return np.array_equal(codes.to_csr() @ W_dec, reference.decode(codes.indices, codes.values, W_dec))


def decode_nested(codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Floats, Floats]:
    """x̂_k, and x̂_aux = x̂_k + the reconstruction of the remainder (E13)."""
    x_hat_k = decode(codes_k, W_dec)
    return x_hat_k, x_hat_k + decode(codes_rest, W_dec)


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
    """`reference.decode_backward_values`: the gradients of stored values (E7'). (n, d) → (n, k)."""

    def backward(rows: slice) -> Floats:
        return chosen_dots(grad_x_hat[rows], W_dec, codes.indices[rows])

    return np.concatenate(map_blocks(len(codes), ROWS_PER_BLOCK, backward))


def weights_backward(
    parts: Sequence[Pair],
    grad_pre: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    grad_W_dec: Floats,
    add: bool,
) -> None:
    """The gradients of all weights, in place (E7'', E4').

    Parameters
    ----------
    parts : pairs of codes and ∂L/∂x̂; the stored latents of the codes are disjoint in each row
    grad_pre : ∂L/∂a as codes with the same latents
    x_unit : (n, d)
    grad_W_enc, grad_b_enc, grad_W_dec : (d, h), (h,) and (h, d)
    add : if False, overwrite the arrays instead of adding to them
    """
    ones = np.ones((len(x_unit), 1), x_unit.dtype)
    _add_products(parts, grad_W_dec, add)
    _add_products([(grad, x_unit) for grad in grad_pre], grad_W_enc.T, add)
    _add_products([(grad, ones) for grad in grad_pre], grad_b_enc[:, None], add)


def latent_sums(codes: Codes, y: Floats) -> Floats:
    """Σᵢ s[i, j] · y[i] for every latent j, in row order: `reference.add_outer` over all rows. (n, m) → (h, m)."""
    sums = np.empty((codes.n_latents, y.shape[1]), y.dtype)
    _add_products([(codes, y)], sums, add=False)
    return sums


def _add_products(parts: Sequence[Pair], out: Floats, add: bool) -> None:
    """`_transpose_product`, by SciPy where its sums have the stated order."""
    (_scipy_transpose_product if scipy_sums_in_order() else _transpose_product)(parts, out, add)


def _transpose_product(parts: Sequence[Pair], out: Floats, add: bool) -> None:
    """Add Σᵢ s[i, j] · y[i] to ``out[j]`` for every pair (s, y), in row order (E8)."""
    if not add:
        out[...] = 0
    for row in range(len(parts[0][0])):
        for codes, y in parts:
            reference.add_outer(codes.values[row], codes.indices[row], y[row], out)


def _scipy_transpose_product(parts: Sequence[Pair], out: Floats, add: bool) -> None:
    """`_transpose_product` as one product of a sparse and a dense array.

    Each row of the sparse array belongs to a latent: first a 1 for the number that is added to, then the entries in
    row order.
    """
    codes, y = [part[0] for part in parts], np.stack([part[1] for part in parts], axis=1).reshape(-1, out.shape[1])
    values, latents = (np.concatenate([getattr(c, of) for c in codes], axis=1).ravel() for of in ("values", "indices"))
    starts = np.cumsum([0, *[part.k for part in codes] * len(codes[0])])
    if add:
        own = np.arange(len(out))
        y = np.concatenate([out, y])
        values, latents = np.append(np.ones_like(out[:, 0]), values), np.append(own, latents)
        starts = np.append(own, len(out) + starts)
    csr_array = require_scipy("sparse", "products of codes").csr_array
    by_latent = csr_array((values, latents, starts), shape=(len(y), len(out))).T.tocsr()

    def product(some: slice) -> None:
        out[some] = by_latent[some] @ y

    map_blocks(len(out), LATENTS_PER_BLOCK, product)


def count_latents(codes: Codes) -> NDArray[np.int64]:
    """Number of rows that store each latent. → (h,)."""
    return np.bincount(codes.indices.ravel(), minlength=codes.n_latents)
