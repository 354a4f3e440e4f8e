"""Operations on rows: normalisation, the loss and its gradient, Adam, unit atoms."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats, flat
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.params import Params

NUMBERS_PER_BLOCK = 1 << 16


def place(array: Any) -> Any:
    """Return the array itself: this backend computes in the memory of the processor."""
    return array


def fetch(array: Any) -> Any:
    """Return the array itself."""
    return array


def place_params(params: Params) -> Params:
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


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    """One step of Adam on one array, in place (E11).

    Parameters
    ----------
    param, grad, m, v : contiguous arrays of one shape and memory order; all but ``grad`` are changed
    constants : (8,) α, β₁, β₂, 1 − β₁, 1 − β₂, ε, 1 − β₁ᵗ, 1 − β₂ᵗ in the dtype of ``param``
    """
    param, grad, m, v = (flat(array) for array in (param, grad, m, v))
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = constants

    def update(some: slice) -> None:
        m[some] = _flushed(beta1 * m[some] + rest1 * grad[some])
        v[some] = _flushed(beta2 * v[some] + rest2 * (grad[some] * grad[some]))
        param[some] -= lr * (m[some] / correction1) / (np.sqrt(v[some] / correction2) + eps)

    map_blocks(param.size, NUMBERS_PER_BLOCK, update)


def _flushed(moment: Floats) -> Floats:
    """Replace subnormal moments by zero (E11).

    The moments of a dead latent would otherwise stay subnormal for ever (0.9 times 4 ulp rounds to 4 ulp), and
    arithmetic on subnormals is up to a hundred times slower. It moves a parameter by less than α · 1e-30.
    """
    return np.where(np.abs(moment) < np.finfo(moment.dtype).tiny, moment.dtype.type(0), moment)


def renormalize_decoder(W_dec: Floats) -> None:
    """`reference.renormalize`: make the atoms unit rows, in place (E12)."""
    map_blocks(len(W_dec), ROWS_PER_BLOCK, lambda rows: reference.renormalize(W_dec[rows]))


def project_decoder_gradient(grad_W_dec: Floats, W_dec: Floats) -> None:
    """`reference.project`: remove from each gradient its part along the atom, in place (E12')."""
    reference.project(grad_W_dec, W_dec)
