"""The usual mistakes in exercises about training (chapter 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.verify.exercises.mistakes_with_codes import Mistake, Options, pairs_of, singles_of


def _adam(
    *,
    first: bool = True,
    second: bool = True,
    inside: bool = False,
    square: bool = True,
    sign: int = -1,
    before: int = 0,
    flush: bool = True,
) -> Mistake:
    """Return Adam without some of its parts."""

    def step_of(param: Any, grad: Any, m: Any, v: Any, step: int, lr: float) -> Any:
        wide = np.float64
        g = grad.astype(wide)
        m_new, v_new = 0.9 * m.astype(wide) + 0.1 * g, 0.999 * v.astype(wide) + 0.001 * (g * g if square else g)
        t = step - before
        m_hat = m_new / (1 - 0.9**t) if first else m_new
        v_hat = v_new / (1 - 0.999**t) if second else v_new
        root = np.sqrt(v_hat + 1e-8) if inside else np.sqrt(v_hat) + 1e-8
        moved = param.astype(wide) + sign * lr * m_hat / root
        m_new, v_new = (array.astype(param.dtype) for array in (m_new, v_new))
        for moment in (m_new, v_new) if flush else ():
            moment[np.abs(moment) < np.finfo(param.dtype).tiny] = 0
        return moved.astype(param.dtype), m_new, v_new

    return step_of


def _step(*, normalised: bool = True, projected: bool = True, order: str = "") -> Mistake:
    """Return a step without unit atoms, without the projection, or in another order."""

    def step_of(batch: Any, params: Any, m: Any, v: Any, t: int, k: int, lr: float, may_2025: bool) -> Any:
        params, m, v = (tuple(array.copy() for array in group) for group in (params, m, v))
        losses, grads = reference.loss_and_gradients(batch, params[0], params[1], params[2], k)
        early = may_2025 != (order == "other")
        if early and order == "projected first":
            reference.project(grads[2], params[2])
        if early and normalised:
            reference.renormalize(params[2])
        if early and projected and order != "projected first":
            reference.project(grads[2], params[2])
        for group in zip(params, grads, m, v, strict=True):
            reference.adam(*group, t, lr)
        if (not early and normalised) or order == "after, too":
            reference.renormalize(params[2])
        return losses, params, m, v

    return step_of


_OF_ADAM: Options = {
    "both bias corrections are missing: m / (1 − β₁ᵗ) and v / (1 − β₂ᵗ)": {"first": False, "second": False},
    "the bias correction of m is missing": {"first": False},
    "the bias correction of v is missing": {"second": False},
    "ε is inside the root: √v̂ + ε, not √(v̂ + ε)": {"inside": True},
    "v is a mean of g, not of g²": {"square": False},
    "the parameter moves along the gradient, not against it": {"sign": 1},
    "the corrections use t − 1: the first step is t = 1": {"before": 1},
    "the correction uses t + 1: the first step is t = 1": {"before": -1},
    "a moment below the smallest normal number is kept: it becomes 0 (E11)": {"flush": False},
}

_OF_STEP: Options = {
    "the atoms are not made unit rows (E12, R8)": {"normalised": False},
    "the gradient of the atoms is not projected (E12')": {"projected": False},
    "the atoms are made unit rows in the other order (R8)": {"order": "other"},
    "the gradient is projected before the atoms are unit rows: project with unit atoms (E12')": {
        "order": "projected first"
    },
    "in the order of May 2025 the atoms are made unit rows after Adam, too: they stay as Adam moves them (R8)": {
        "order": "after, too"
    },
}

PAIRS: dict[str, dict[str, Mistake]] = {"adam": pairs_of(_adam, _OF_ADAM)}
"""By function: two mistakes at once."""

MISTAKES: dict[str, dict[str, Mistake]] = {
    "adam": singles_of(_adam, _OF_ADAM),
    "renormalize": {
        "atoms stay as they are": lambda W_dec: W_dec,
        "columns are divided by their norms: an atom is a row": lambda W_dec: W_dec / np.linalg.norm(W_dec, axis=0),
        "atoms are divided by the norm of the whole matrix: use axis=1": lambda W_dec: W_dec / np.linalg.norm(W_dec),
        "atoms are divided by ‖w‖²: the root is missing": lambda W_dec: W_dec / reference.dot(W_dec, W_dec)[:, None],
    },
    "project": {
        "the gradient stays as it is": lambda grad_W_dec, W_dec: grad_W_dec,
        "one dot of the whole matrix is used: each atom has its own, use axis=1": lambda grad_W_dec, W_dec: (
            grad_W_dec - (grad_W_dec * W_dec).sum() * W_dec
        ),
        "the part along the atom is added, not removed": lambda grad_W_dec, W_dec: (
            grad_W_dec + reference.dot(grad_W_dec, W_dec)[:, None] * W_dec
        ),
        "only the part along the atom is left: subtract it from the gradient": lambda grad_W_dec, W_dec: (
            reference.dot(grad_W_dec, W_dec)[:, None] * W_dec
        ),
    },
    "train_step": singles_of(_step, _OF_STEP),
}
"""By function: what is wrong, as a clause, and a function of the arguments that returns what comes out then."""
