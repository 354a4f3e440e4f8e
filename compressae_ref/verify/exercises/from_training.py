"""The tests of `decode_backward` and `train_step`, which are parts of the operations that the vectors have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.rounding import gamma
from compressae_ref.verify.exercises.table import PARAMS
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import Test, Values

ROUNDINGS = 16
"""Where a vector has no bound because its sums are exact, an exercise still allows so many roundings of the largest
number: a formula may be written in several ways."""


def decode_backward(suite: Suite) -> Iterator[Test]:
    """Yield tests with the gradients of training, and with those that the reference computes."""
    for test in suite.with_outputs("train_steps"):
        if test.inputs["renormalize"] == "after_step":  # else the vector has projected gradients
            for t in range(1, len(test.inputs["batches"]) + 1):
                W_dec = test.outputs[f"{t - 1}.W_dec"] if t > 1 else test.inputs["W_dec"]
                yield _backward_test(test, f"step {t}", _of_step(test.outputs, t), W_dec)
    for test in suite.with_outputs("gradients"):
        inner = inner_values(**test.inputs)
        yield _backward_test(test, "", inner | {"grad_W_dec": test.outputs["grad_W_dec"]}, test.inputs["W_dec"])


def inner_values(
    x: Floats,
    W_enc: Floats,
    b_enc: Floats,
    W_dec: Floats,
    k: int,
    *,
    aux_weight: float = 1 / 8,
    aux_in_k: bool = True,
    whole: str = "",
) -> Values:
    """Return codes and gradients of values of a batch, as `reference.loss_and_gradients` computes them.

    Without ``aux_in_k``, the k largest entries do not get the gradient of x̂_aux. With ``whole``, all min(4k, h) entries
    take the place of the rest: "back" in the gradients, "both" in x̂_aux, too.
    """
    n, real = len(x), W_dec.dtype.type
    x_unit = reference.unit_rows(x, W_dec.dtype)
    indices, all_values = reference.abs_topk(reference.pre_activations(x_unit, W_enc, b_enc), min(4 * k, len(b_enc)))
    code_k, code_rest = reference.split_code(indices, all_values, k)
    if whole == "both":
        code_rest = indices, all_values
    x_hat_k = reference.decode(code_k[0], code_k[1], W_dec)
    x_hat_aux = x_hat_k + reference.decode(code_rest[0], code_rest[1], W_dec)
    grad_cos = np.full(n, -1 / n, W_dec.dtype)
    grad_aux = reference.cosine_backward(grad_cos * real(aux_weight), x_unit, x_hat_aux)
    grad_k = reference.cosine_backward(grad_cos, x_unit, x_hat_k)
    grad_k = grad_k + grad_aux if aux_in_k else grad_k
    if whole:
        code_rest = indices, all_values
    values = {"x_unit": x_unit, "x_hat_aux": x_hat_aux, "grad_x_hat_k": grad_k, "grad_x_hat_aux": grad_aux}
    for name, code, grad in (("k", code_k, grad_k), ("rest", code_rest, grad_aux)):
        values |= {f"indices_{name}": code[0], f"values_{name}": code[1]}
        values[f"grad_values_{name}"] = reference.decode_backward_values(grad, code[0], W_dec)
    return values


def _backward_test(test: Test, place: str, values: Values, W_dec: Floats) -> Test:
    """Return a test of `decode_backward` in which both parts of the codes are rows of one width.

    ∂L/∂W_dec adds up the k largest entries of a row and then its rest (E14). The rest is longer, so both are cut into
    pieces of equal width, each with the gradient of its reconstruction. In this order the sum has the vector's bits.
    """
    n, k, e = len(values["indices_k"]), values["indices_k"].shape[1], values["indices_rest"].shape[1]
    width = math.gcd(k, e)

    def pieces(name: str) -> Any:
        parts = [values[f"{name}_{part}"].reshape(n, -1, width) for part in ("k", "rest")]
        return np.concatenate(parts, axis=1).reshape(-1, width)

    grads = [
        np.repeat(values[f"grad_x_hat_{part}"][:, None], size // width, 1) for part, size in (("k", k), ("aux", e))
    ]
    grad_x_hat = np.concatenate(grads, axis=1).reshape(-1, W_dec.shape[1])
    inputs = {"grad_x_hat": grad_x_hat, "indices": pieces("indices"), "values": pieces("values"), "W_dec": W_dec}
    outputs = {"grad_values": pieces("grad_values"), "grad_W_dec": values["grad_W_dec"]}
    lengths = np.linalg.norm(grad_x_hat, axis=1).max()
    relative = gamma(2 * W_dec.shape[1] + len(grad_x_hat) + ROUNDINGS, W_dec.dtype)
    bounds = {"grad_values": float(relative * lengths * np.linalg.norm(W_dec, axis=1).max())}
    bounds["grad_W_dec"] = float(relative * lengths * np.abs(inputs["values"]).max() * len(grad_x_hat))
    comment = f"{test.comment}{place and f'; {place}'}"
    return Test(
        f"{test.id}/{place.replace(' ', '-') or 'decode'}", "decode_backward", (), comment, inputs, outputs, bounds
    )


def train_step(suite: Suite) -> Iterator[Test]:
    """Yield a test for each step of the vectors: parameters and moments before it, and those after it."""
    for test in suite.with_outputs("train_steps"):
        arrays = {"params": [test.inputs[name] for name in PARAMS]}
        arrays |= {moment: [np.zeros_like(array) for array in arrays["params"]] for moment in ("m", "v")}
        for t, batch in enumerate(test.inputs["batches"], start=1):
            groups = {f"{name}.{i}": array for name, group in arrays.items() for i, array in enumerate(group)}
            last = {"t": t, "k": test.inputs["k"], "lr": float(test.inputs["lr"])}
            inputs = {"batch": batch, **groups, **last, "may_2025": test.inputs["renormalize"] == "before_step"}
            outputs = _of_step(test.outputs, t)
            yield Test(
                f"{test.id}/step-{t}",
                "train_step",
                (),
                f"{test.comment}; step {t}",
                inputs,
                outputs,
                _of_step(test.bounds, t),
            )
            arrays["params"] = [outputs[name] for name in PARAMS]
            arrays |= {moment: [outputs[f"{moment}_{name}"] for name in PARAMS] for moment in ("m", "v")}


def _of_step(values: Any, t: int) -> dict[str, Any]:
    """Return the values of step t, without the number in their names."""
    return {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{t}.")}
