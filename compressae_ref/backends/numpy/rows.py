"""Operations on rows: normalisation, the loss and its gradient, unit atoms."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.params import AnyParams


def place(array: Any) -> Any:
    """Return the array itself: this backend computes in the memory of the processor."""
    return array


def fetch(array: Any) -> Any:
    """Return the array itself."""
    return array


def place_params(params: AnyParams) -> AnyParams:
    """Return the parameters themselves."""
    return params


def unit_rows(x: Floats, dtype: Any) -> Floats:
    """`reference.unit_rows` (E3). (n, d) → (n, d)."""
    return np.concatenate(map_blocks(len(x), ROWS_PER_BLOCK, lambda rows: reference.unit_rows(x[rows], dtype)))


def loss_backward(
    x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float
) -> tuple[Floats, Floats]:
    """Cosines (2, n) with x̂_k and x̂_aux, and the gradients with respect to both (2, n, d) (E13')."""
    grad_cos = np.full(len(x_unit), -1 / n_batch, x_unit.dtype)
    grad_cos_aux = grad_cos * x_unit.dtype.type(aux_weight)

    def backward(rows: slice) -> tuple[Floats, Floats]:
        x, k, aux = x_unit[rows], x_hat_k[rows], x_hat_aux[rows]
        grad_aux = reference.cosine_backward(grad_cos_aux[rows], x, aux)
        grad_k = reference.cosine_backward(grad_cos[rows], x, k) + grad_aux  # x̂_k is a term of x̂_aux
        return np.stack([reference.cosine(x, k), reference.cosine(x, aux)]), np.stack([grad_k, grad_aux])

    cos, grad = zip(*map_blocks(len(x_unit), ROWS_PER_BLOCK, backward), strict=True)
    return np.concatenate(cos, axis=1), np.concatenate(grad, axis=1)


def renormalize_decoder(W_dec: Floats) -> None:
    """`reference.renormalize`: make the atoms unit rows, in place (E12)."""
    map_blocks(len(W_dec), ROWS_PER_BLOCK, lambda rows: reference.renormalize(W_dec[rows]))


def project_decoder_gradient(grad_W_dec: Floats, W_dec: Floats) -> None:
    """`reference.project`: remove from each gradient its part along the atom, in place (E12')."""
    reference.project(grad_W_dec, W_dec)
