"""The usual mistakes in exercises about gradients (chapter 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.verify.exercises.from_training import inner_values
from compressae_ref.verify.exercises.mistakes_with_codes import Mistake, Options, pairs_of, singles_of


def _overwritten(grad_x_hat: Any, indices: Any, values: Any, W_dec: Any) -> Any:
    """Return gradients where `out[indices] += …` adds each atom's last row only."""
    grad_W_dec = np.zeros_like(W_dec)
    grad_W_dec[indices] += values[:, :, None] * grad_x_hat[:, None, :]
    return reference.decode_backward_values(grad_x_hat, indices, W_dec), grad_W_dec


def _outer(weights: Any, indices: Any, grad_x_hat: Any, W_dec: Any) -> Any:
    out = np.zeros_like(W_dec)
    for i in range(len(indices)):
        reference.add_outer(weights[i], indices[i], grad_x_hat[i], out)
    return out


def _magnitudes(grad_x_hat: Any, indices: Any, values: Any, W_dec: Any) -> Any:
    grad_values = reference.decode_backward_values(grad_x_hat, indices, W_dec)
    return grad_values, _outer(np.abs(values), indices, grad_x_hat, W_dec)


def _without_values(grad_x_hat: Any, indices: Any, values: Any, W_dec: Any) -> Any:
    return _magnitudes(grad_x_hat, indices, np.ones_like(values), W_dec)


def _scaled_values(grad_x_hat: Any, indices: Any, values: Any, W_dec: Any) -> Any:
    grad_values = reference.decode_backward_values(grad_x_hat, indices, W_dec)
    return values * grad_values, _outer(values, indices, grad_x_hat, W_dec)


def _lengths(x_unit: Any, x_hat: Any) -> tuple[Any, Any, Any]:
    return reference.clamped_norm(x_unit), reference.clamped_norm(x_hat), reference.cosine(x_unit, x_hat)


def _cosine_part(toward: int, along: int, power: int = 2, *, by_x: bool = True) -> Mistake:
    """Return the gradient of the cosine with other factors of its two terms; without ``by_x``, the first lacks ‖x̄‖."""

    def gradient(grad_cos: Any, x_unit: Any, x_hat: Any) -> Any:
        norm_x, norm_hat, cos = _lengths(x_unit, x_hat)
        first = toward * grad_cos / ((norm_x if by_x else 1) * norm_hat)
        second = np.where(norm_hat > 1e-8, along * grad_cos * cos / norm_hat**power, 0)
        return (first[:, None] * x_unit + second[:, None] * x_hat).astype(x_hat.dtype)

    return gradient


def _other_norms(of_x: Callable[[Any], Any], of_hat: Callable[[Any], Any]) -> Mistake:
    """Return the gradient of the cosine with other norms of x̄ and x̂, also in c."""

    def gradient(grad_cos: Any, x_unit: Any, x_hat: Any) -> Any:
        norm_x, norm_hat = of_x(x_unit), of_hat(x_hat)
        toward = grad_cos / (norm_x * norm_hat)
        along = toward * reference.dot(x_unit, x_hat) / (norm_hat * norm_hat)
        along = np.where(norm_hat > 1e-8, along, x_hat.dtype.type(0))
        return toward[:, None] * x_unit - along[:, None] * x_hat

    return gradient


def _ones(rows: Any) -> Any:
    return np.ones(len(rows), rows.dtype)


def _clamped_too(grad_cos: Any, x_unit: Any, x_hat: Any) -> Any:
    norm_x, norm_hat, cos = _lengths(x_unit, x_hat)
    return (grad_cos / (norm_x * norm_hat))[:, None] * x_unit - (grad_cos * cos / norm_hat**2)[:, None] * x_hat


def _without_grad_cos(grad_cos: Any, x_unit: Any, x_hat: Any) -> Any:
    return reference.cosine_backward(np.ones_like(grad_cos), x_unit, x_hat)


def _gradients(
    *,
    aux_weight: float = 1 / 8,
    of_losses: float = 1 / 8,
    sign: int = 1,
    sums: str = "",
    aux_in_k: bool = True,
    rest: bool = True,
    whole: str = "",
    added: bool = False,
) -> Mistake:
    """Return losses and gradients with other weights or signs, as ``sums`` over the batch, or without a part.

    With ``whole``, all min(4k, h) entries take the place of the rest: "back" in the gradients, "both" in x̂_aux, too.
    With ``added``, both gradients of an entry are added up.
    """

    def gradients(x: Any, W_enc: Any, b_enc: Any, W_dec: Any, k: int) -> Any:
        (_, loss_k, loss_aux), _ = reference.loss_and_gradients(x, W_enc, b_enc, W_dec, k)
        values = inner_values(x, W_enc, b_enc, W_dec, k, aux_weight=aux_weight, aux_in_k=aux_in_k, whole=whole)
        if whole == "both":
            loss_aux = np.mean(1 - reference.cosine(values["x_unit"], values["x_hat_aux"]))
        grad_pre, grad_W_dec = np.zeros((len(x), len(b_enc)), W_dec.dtype), np.zeros_like(W_dec)
        for name, grad in (("k", "k"), ("rest", "aux"))[: 1 + rest]:
            indices, each = values[f"indices_{name}"], values[f"values_{name}"]
            before = np.take_along_axis(grad_pre, indices, axis=1) if added else 0
            np.put_along_axis(grad_pre, indices, before + values[f"grad_values_{name}"], axis=1)
            grad_W_dec += _outer(each, indices, values[f"grad_x_hat_{grad}"], W_dec)
        factor = W_dec.dtype.type(sign * (len(x) if "gradients" in sums else 1))
        rows = len(x) if "losses" in sums else 1
        grads = tuple(factor * grad for grad in (values["x_unit"].T @ grad_pre, grad_pre.sum(axis=0), grad_W_dec))
        return (rows * (loss_k + of_losses * loss_aux), rows * loss_k, rows * loss_aux), grads

    return gradients


_OF_GRADIENTS: Options = {
    "the auxiliary loss has the weight 1 in the gradients, not 1/8 (E13)": {"aux_weight": 1.0},
    "the auxiliary loss has the weight 1, not 1/8 (E13)": {"aux_weight": 1.0, "of_losses": 1.0},
    "the auxiliary loss has the weight 1 in the loss, not 1/8 (E13)": {"of_losses": 1.0},
    "the auxiliary loss is missing in the gradients (E13')": {"aux_weight": 0.0},
    "the auxiliary loss is missing (E13)": {"aux_weight": 0.0, "of_losses": 0.0},
    "the auxiliary loss is missing in the loss (E13)": {"of_losses": 0.0},
    "gradients are sums over the batch: the losses are means, so divide by n": {"sums": "gradients"},
    "losses are sums over the batch: they are means (E13)": {"sums": "losses"},
    "losses and gradients are sums over the batch: the losses are means (E13)": {"sums": "losses and gradients"},
    "the gradients have the wrong sign: the loss is 1 − c": {"sign": -1},
    "the k largest entries do not get the gradient of x̂_aux: it is added to that of x̂_k (E13')": {"aux_in_k": False},
    "the rest of the entries gets no gradient: the auxiliary loss depends on it (E13')": {"rest": False},
}

_WHOLE = "all min(4k, h) entries take the place of the rest"

_OF_WHOLE: Options = {
    f"{_WHOLE}, and the k largest count twice in x̂_aux (E13)": {"whole": "both", "added": True},
    f"{_WHOLE}: the k largest count twice in x̂_aux, and their ∂L/∂a is overwritten (E13, E13')": {"whole": "both"},
    f"{_WHOLE}, and the k largest get the gradient of x̂_aux twice (E13')": {"whole": "back", "added": True},
    f"{_WHOLE}, and overwrite ∂L/∂a of the k largest (E13')": {"whole": "back"},
    f"{_WHOLE}, and overwrite ∂L/∂a of the k largest instead of adding to it (E13')": {
        "whole": "back",
        "aux_in_k": False,
    },
}

PAIRS: dict[str, dict[str, Mistake]] = {"gradients": pairs_of(_gradients, _OF_GRADIENTS)}
"""By function: two mistakes at once."""

MISTAKES: dict[str, dict[str, Mistake]] = {
    "cosine": {
        "the dot product is not divided by the norms": lambda x_unit, x_hat: reference.dot(x_unit, x_hat),
        "1e-8 is added to the norms, which are clamped instead (R6)": lambda x_unit, x_hat: (
            reference.dot(x_unit, x_hat) / (reference.norm(x_unit) * (reference.norm(x_hat) + 1e-8))
        ),
        "only ‖x̂‖ is clamped: clamp both norms (R6)": lambda x_unit, x_hat: (
            reference.dot(x_unit, x_hat) / (reference.norm(x_unit) * reference.clamped_norm(x_hat))
        ),
        "one clamp is on the product of the norms: clamp each of the two norms (R6)": lambda x_unit, x_hat: (
            reference.dot(x_unit, x_hat)
            / np.maximum(reference.norm(x_unit) * reference.norm(x_hat), x_hat.dtype.type(1e-8))
        ),
        "the norms are not clamped at 1e-8 (R6): 0 / 0 is NaN": lambda x_unit, x_hat: (
            reference.dot(x_unit, x_hat) / (reference.norm(x_unit) * reference.norm(x_hat))
        ),
        "1 − c is returned: that is the loss": lambda x_unit, x_hat: 1 - reference.cosine(x_unit, x_hat),
    },
    "cosine_backward": {
        "the second term of E9' is missing: ‖x̂‖ also depends on x̂": _cosine_part(1, 0),
        "the second term of E9' is added, not subtracted": _cosine_part(1, 1),
        "the sign of the whole gradient is wrong": _cosine_part(-1, 1),
        "the second term is divided by ‖x̂‖, not by ‖x̂‖²": _cosine_part(1, -1, power=1),
        "grad_cos is missing: the chain rule multiplies by ∂L/∂c": _without_grad_cos,
        "a clamped norm is differentiated: it is a constant (R6)": _clamped_too,
        "the first term is not divided by ‖x̄‖, which need not be 1 (E9')": _cosine_part(1, -1, by_x=False),
        "nothing is divided by ‖x̄‖, which need not be 1 (E9')": _other_norms(_ones, reference.clamped_norm),
        "only ‖x̂‖ is clamped: clamp both norms (R6)": _other_norms(reference.norm, reference.clamped_norm),
        "only ‖x̄‖ is clamped (R6): x̄ / 0 is no number": _other_norms(reference.clamped_norm, reference.norm),
        "the norms are not clamped at 1e-8 (R6): 0 / 0 is NaN": _other_norms(reference.norm, reference.norm),
    },
    "decode_backward": {
        "grad_W_dec[indices] += … keeps one row of those that share a latent: use np.add.at or a loop": _overwritten,
        "values lose their sign in ∂L/∂W_dec (E7'')": _magnitudes,
        "v is missing in ∂L/∂W_dec: it multiplies ∂L/∂x̂ (E7'')": _without_values,
        "∂L/∂v is multiplied by v": _scaled_values,
    },
    "gradients": singles_of(_gradients, _OF_GRADIENTS | _OF_WHOLE),
}
"""By function: what is wrong, as a clause, and a function of the arguments that returns what comes out then."""
