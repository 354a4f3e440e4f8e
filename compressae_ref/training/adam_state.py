"""Adam over all parameters of a model: its state, and the constants of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.params import Params

AdamUpdate = Callable[[Floats, Floats, Floats, Floats, Floats], None]
"""The kernel `adam_update` of a backend."""


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
    """Return the state before the first step: t = 0 and zero moments."""
    return AdamState(0, params.zeros_like(), params.zeros_like())


def adam_constants(config: AdamConfig, step: int, dtype: np.dtype[Any]) -> Floats:
    """α, β₁, β₂, 1 − β₁, 1 − β₂, ε, 1 − β₁ᵗ, 1 − β₂ᵗ, computed in float64 and rounded once (E11). → (8,)."""
    beta1, beta2 = config.beta1, config.beta2
    corrections = (1 - reference.power(beta1, step), 1 - reference.power(beta2, step))
    return np.array([config.lr, beta1, beta2, 1 - beta1, 1 - beta2, config.eps, *corrections], dtype)


def adam_step(params: Params, grads: Params, state: AdamState, config: AdamConfig, update: AdamUpdate) -> None:
    """Run Adam on all parameters, in place (E11, R8). ``update`` is the kernel of a backend."""
    state.step += 1
    constants = adam_constants(config, state.step, params.dtype)
    arrays = (each.arrays().values() for each in (params, grads, state.m, state.v))
    for param, grad, m, v in zip(*arrays, strict=True):
        update(param, grad, m, v, constants)
