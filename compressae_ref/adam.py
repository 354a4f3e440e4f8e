"""Adam (Kingma and Ba, Algorithm 1) as PyTorch runs it, and the unit rows of the decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.params import Params
from compressae_ref.sums import row_dots

AdamUpdate = Callable[[Floats, Floats, Floats, Floats, Floats], None]
"""The type of `adam_update`."""


@dataclass(frozen=True)
class AdamConfig:
    """Learning rate α, decay rates β₁ and β₂ of the two moments, and ε, which is added outside the corrected root."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


@dataclass
class AdamState:
    """Step count t and the moments m, v: each a `Params` of the same shapes, changed in place."""

    step: int
    m: Params
    v: Params


def init_adam(params: Params) -> AdamState:
    """t = 0 and zero moments."""
    return AdamState(0, params.zeros_like(), params.zeros_like())


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    """One Adam step of one array, in place.                                                                      (E11)

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  p ← p − α · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    Parameters
    ----------
    param, grad, m, v : arrays of one shape and memory order; all but ``grad`` are changed
    constants : (8,) α, β₁, β₂, 1 − β₁, 1 − β₂, ε, 1 − β₁ᵗ, 1 − β₂ᵗ in the dtype of ``param`` (`adam_constants`)

    Notes
    -----
    ε stands outside the bias-corrected root, as in ``torch.optim.Adam`` and Algorithm 1 (R8).

    Moments below the smallest normal number become zero. The moments of a dead latent would otherwise stay subnormal
    for ever (0.9 times 4 ulp rounds to 4 ulp), and arithmetic on subnormals is up to a hundred times slower. That moves
    a parameter by less than α · 1e-30.
    """
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = constants
    m[...] = _flushed(beta1 * m + rest1 * grad)
    v[...] = _flushed(beta2 * v + rest2 * (grad * grad))
    param -= lr * (m / correction1) / (np.sqrt(v / correction2) + eps)


def _flushed(moment: Floats) -> Floats:
    """Subnormal numbers as zeros."""
    # spec: "A moment below the smallest normal number of the format becomes zero"
    return np.where(np.abs(moment) < np.finfo(moment.dtype).tiny, moment.dtype.type(0), moment)


def adam_constants(config: AdamConfig, step: int, dtype: np.dtype[Any]) -> Floats:
    """The numbers of one step, computed in float64 and rounded once."""
    # spec: "are computed in float64, powers by repeated squaring from the lowest bit of the exponent, and
    # rounded once"
    beta1, beta2 = config.beta1, config.beta2
    corrections = (1 - power(beta1, step), 1 - power(beta2, step))
    return np.array([config.lr, beta1, beta2, 1 - beta1, 1 - beta2, config.eps, *corrections], dtype)


def power(base: float, exponent: int) -> float:
    """baseⁿ by repeated squaring, from the lowest bit of n: ``**`` leaves its last bit to the C library."""
    result = 1.0
    while exponent > 0:
        if exponent % 2 == 1:
            result *= base
        base *= base
        exponent //= 2
    return result


def adam_step(
    params: Params, grads: Params, state: AdamState, config: AdamConfig, update: AdamUpdate = adam_update
) -> None:
    """Adam on all parameters, in place; ``update`` is the kernel that a backend brings."""
    state.step += 1
    constants = adam_constants(config, state.step, params.dtype)
    arrays = (each.arrays().values() for each in (params, grads, state.m, state.v))
    for param, grad, m, v in zip(*arrays, strict=True):
        update(param, grad, m, v, constants)


def renormalize_decoder(W_dec: Floats) -> None:
    """Make the rows of W_dec (the atoms) unit rows again, in place: W_dec[j] ← W_dec[j] / ‖W_dec[j]‖ (R8).       (E12)

    Done after the step. The original's projection of the gradient after its step changes nothing and is not done.
    """
    W_dec /= np.sqrt(row_dots(W_dec, W_dec))[:, None]


def project_decoder_gradient(grad_W_dec: Floats, W_dec: Floats) -> None:
    """Remove from each row's gradient its part along the (unit) atom, in place: the order of May 2025 (R8).      (E12')

    grad[j] ← grad[j] − ⟨grad[j], W_dec[j]⟩ W_dec[j]. That version projected, renormalised, and then made the step.
    """
    grad_W_dec -= row_dots(grad_W_dec, W_dec)[:, None] * W_dec
