"""Vectors of training: losses, gradients, Adam, unit atoms, initial values, and three full steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.backends.rounding import gamma
from spec.generate.answers import Values
from spec.generate.build import Case, Flag, Group, accepts, exact_rows, f32, random_atoms, spread
from spec.generate.coding import FUSED as FUSED_DOT

ORDERS_FACTOR = 8
"""Bounds of gradients and steps, as a multiple of their largest change over twelve other orders of all sums."""

MEASURED = (
    "Bounds are measured: eight times as far as the value moves when every sum runs in twelve other orders, and at least four units "
    "in its last place."
)
NO_FOLD = ("while len(terms) > 16", "while False and len(terms) > 16")


def measured(operation: str) -> Any:
    """Return bounds of the outputs of an operation, as `MEASURED` says."""

    def bounds(inputs: Values, outputs: Values) -> dict[str, float]:
        moved = spread(operation, inputs, outputs)
        least = {
            name: 4 * np.spacing(np.abs(outputs[name]).max(initial=0).astype(outputs[name].dtype)) for name in moved
        }
        return {name: float(max(ORDERS_FACTOR * moved[name], least[name])) for name in moved}

    return bounds


def cosine() -> Group:
    """Return the vectors of the cosine of a row with its reconstruction, and of its gradient."""
    clamp = ("return max(norm(a), 1e-8)  # R6", "return norm(a)")
    flags = {
        "Clamp": Flag("norms are not clamped at 1e-8, or a zero reconstruction gives NaN", ("R6", "E9"), (clamp,)),
        "ClampedGradient": Flag("a clamped norm is differentiated", ("R6", "E9'"), (("if clamped_norm(x_hat) > 1e-8:", "if True:"),)),
        "AlongReconstruction": Flag("the gradient of the norm is left out, or added", ("E9'",), (("toward * x_unit[c] - along * x_hat[c]", "toward * x_unit[c] + along * x_hat[c]"),)),
        "Scale": Flag("the cosine is a plain dot product", ("E9",), (("dot(x_unit, x_hat) / (clamped_norm(x_unit) * clamped_norm(x_hat))", "dot(x_unit, x_hat)"),)),
        "Fold": Flag("sums over d do not fold: only who promises the same bits has to", ("E1",), (NO_FOLD,), bits=True),
        "Fused": FUSED_DOT,
    }  # fmt: skip
    rng = np.random.default_rng(31)
    unit = exact_rows(rng, 3, 8, 4) / 2
    ones = f32([1, -0.5, 0.25])
    x_unit, x_hat = random_atoms(rng, 4, 64), f32(rng.standard_normal((4, 64)))
    bounds = lambda given, _: {"cos": 4 * gamma(64 + 8, np.float32), "grad_x_hat": 16 * gamma(64 + 8, np.float32)}  # noqa: E731
    cases = [
        Case("exact norms", ("AlongReconstruction", "Scale"), {"x_unit": unit, "x_hat": exact_rows(rng, 3, 8, 4) * 2, "grad_cos": ones}),
        Case("a reconstruction of zeros", ("Clamp",), {"x_unit": unit, "x_hat": 0 * unit, "grad_cos": ones}),
        Case("reconstructions shorter than 1e-8", ("Clamp", "ClampedGradient"), {"x_unit": unit, "x_hat": unit[::-1] * f32(2.0**-30), "grad_cos": ones}),
        Case("any rows", ("AlongReconstruction", "Scale", "Fold", "Fused"), {"x_unit": x_unit, "x_hat": x_hat, "grad_cos": f32([1, -1, 0.5, 2])}, bounds=bounds),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound of cos is 4γ_{d+8} (Higham, section 3.1); ‖x̂‖ > 1 and |grad_cos| ≤ 2, so 16γ_{d+8} bounds the gradient.",
    ]
    return Group("cosine", "cosine", header, flags, cases)


def tiny(rng: np.random.Generator, n: int, d: int, h: int) -> Values:
    """Return a random model."""
    return {
        "W_enc": f32(rng.standard_normal((d, h)) / np.sqrt(d)),
        "b_enc": f32(rng.standard_normal(h) * 0.1),
        "W_dec": random_atoms(rng, h, d),
    }


def gradients() -> Group:
    """Return the vectors of losses and gradients of a batch."""
    flags = {
        "AuxWeight": Flag("the auxiliary loss does not have the weight 1/8", ("E13'", "E13"), (("-1.0 / n * 0.125", "-1.0 / n"),)),
        "KAux": Flag("the auxiliary loss does not see 4k entries", ("R5", "E13"), (("min(4 * k, len(b_enc))", "min(2 * k, len(b_enc))"),)),
        "KAuxAtMostH": Flag("4k > h is refused", ("R5",), (("min(4 * k, len(b_enc))", "4 * k"),)),
        "BothLosses": Flag("the code gets no gradient from the auxiliary loss", ("E13'",), (("grad_k = [grad_k[c] + grad_aux[c] for", "grad_k = [grad_k[c] for"),)),
        "MeanOverBatch": Flag("the loss is a sum over the batch, not its mean", ("E13'",), (("= loss_backward(x_unit, x_hat_k, x_hat_aux, n)", "= loss_backward(x_unit, x_hat_k, x_hat_aux, 1)"),)),
        "RestGradient": Flag("the rest gets the gradient of the code", ("E7'", "E7''"), (("(code_rest, grad_aux)", "(code_rest, grad_k)"),)),
        "ValueGradient": Flag("the gradient of a value is taken at another atom than its own", ("E7'",), (("[dot(grad_x_hat, W_dec[j]) for j in indices]", "[dot(grad_x_hat, W_dec[j - 1]) for j in indices]"),)),
        "OnlySelected": Flag("latents that were not selected get a gradient", ("R7", "E5'"), (("            add_outer(grad_values, indices, x_unit, grad_W_enc_columns)", "            add_outer([dot(grad_x_hat, atom) for atom in W_dec], list(range(h)), x_unit, grad_W_enc_columns)"),)),
        "NegativeValues": Flag("negative values get no gradient, as after a ReLU", ("R7",), (("            add_outer(grad_values, indices, x_unit, grad_W_enc_columns)", "            add_outer([max(v, 0.0) and g for g, v in zip(grad_values, values)], indices, x_unit, grad_W_enc_columns)"),)),
        "UnitInput": Flag("the gradient of the encoder takes the raw row, not the unit row", ("E4'",), (("add_outer(grad_values, indices, x_unit,", "add_outer(grad_values, indices, x,"),)),
        "BiasGradient": Flag("the bias gets no gradient", ("E4'",), (("indices, [1.0], grad_b_enc)", "indices, [0.0], grad_b_enc)"),)),
        "DecoderGradient": Flag("the gradient of the atoms is not weighted by the values", ("E7''", "E8"), (("add_outer(values, indices, grad_x_hat, grad_W_dec)", "add_outer([1.0] * len(values), indices, grad_x_hat, grad_W_dec)"),)),
        "AddsUp": Flag("a row's contribution takes the place of that of the row before", ("E8", "E14"), (("row[c] = row[c] + weights[t] * y[c]", "row[c] = weights[t] * y[c]"),)),
        "RowOrder": Flag("rows are not added in their order: only who promises the same bits must", ("E8", "E14"), (("for x in batch:  # in row order", "for x in batch[::-1]:"),), bits=True),
        "NotFinite": Flag("a row that is not finite is not refused", ("R3",), accepts),
        "Fused": Flag("a multiply-add is fused: only who promises the same bits must not", ("E8",), (("row[c] = row[c] + weights[t] * y[c]", "row[c] = fma(weights[t], y[c], row[c])"),), bits=True),
        "OtherDimension": Flag("rows of another dimension than the model's are not refused", ("E4",), accepts),
        "KZero": Flag("k = 0 is not refused", ("R2",), accepts),
        "KTooLarge": Flag("k > h is not refused", ("R2",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(32)
    model = tiny(rng, 6, 20, 24) | {"k": 3}
    x = f32(rng.standard_normal((6, 20)) * 3)
    bad = x.copy()
    bad[4, 1] = np.nan
    every = tuple(
        name for name in flags if name not in ("KAuxAtMostH", "NotFinite", "OtherDimension", "KZero", "KTooLarge")
    )
    cases = [
        Case("six rows", every, model | {"x": x}, bounds=measured("gradients")),
        Case("4k is more than h", ("KAuxAtMostH",), model | {"x": x[:2], "k": 9}, bounds=measured("gradients")),
        Case(
            "k = h: there is no rest",
            ("BothLosses", "BiasGradient"),
            model | {"x": x[:2], "k": 24},
            bounds=measured("gradients"),
        ),
        Case(
            "in float64",
            ("AuxWeight", "BothLosses", "RowOrder", "Fused"),
            {
                name: value if name == "k" else value.astype(np.float64) / 3
                for name, value in (model | {"x": x}).items()
            },
            bounds=measured("gradients"),
            needs=("float64",),
        ),
        Case("NaN", ("NotFinite",), model | {"x": bad}, error="DomainError", row=4),
        Case(
            "19 dimensions for a model of 20",
            ("OtherDimension",),
            model | {"x": x[:, :19].copy()},
            error="ShapeError",
        ),
        Case("k = 0", ("KZero",), model | {"x": x, "k": 0}, error="DomainError"),
        Case("k larger than h", ("KTooLarge",), model | {"x": x, "k": 25}, error="DomainError"),
    ]
    return Group("gradients", "gradients", [MEASURED], flags, cases)


def _adam_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    """Return 16 rounding errors of the largest number that enters each output."""
    u = float(np.finfo(inputs["param"].dtype).eps) / 2
    moved = np.abs(outputs["param"].astype(np.float64) - inputs["param"]).max()
    largest = {
        "param": np.abs(outputs["param"]).max() / 16 + moved,
        "m": np.abs(inputs["m"]).max() + np.abs(inputs["grad"]).max(),
    }
    largest["v"] = np.abs(inputs["v"]).max() + np.abs(inputs["grad"]).max() ** 2
    return {name: 16 * u * float(value) for name, value in largest.items()}  # fmt: skip


def _before_smallest() -> np.float32:
    """Return a first moment whose product with β₁ rounds to the smallest normal number, 2⁻¹²⁶."""
    smallest = np.finfo(np.float32).tiny
    moment = smallest / np.float32(0.9)
    while np.float32(0.9) * moment < smallest:
        moment = np.nextafter(moment, np.float32(1))
    return moment


def adam() -> Group:
    """Return the vectors of one step of Adam."""
    flags = {
        "EpsOutsideRoot": Flag("ε stands inside the root", ("R8", "E11"), (("(math.sqrt(v_hat) + eps)", "math.sqrt(v_hat + eps)"),)),
        "FirstCorrection": Flag("the first moment is not corrected", ("E11",), (("m_hat = m / (1 - power(beta1, t))", "m_hat = m"),)),
        "SecondCorrection": Flag("the second moment is not corrected", ("E11",), (("v_hat = v / (1 - power(beta2, t))", "v_hat = v"),)),
        "FirstStepIsOne": Flag("steps count from 0", ("E11",), (("m_hat = m / (1 - power(beta1, t))", "m_hat = m / (1 - power(beta1, t - 1))"),)),
        "SquaredGradient": Flag("the second moment averages magnitudes, not squares", ("E11",), (("(1 - beta2) * (g * g)", "(1 - beta2) * abs(g)"),)),
        "Power": Flag("powers are left to a library: only who promises the same bits must not", ("E11",), (("1 - power(beta1, t)", "1 - beta1**t"), ("1 - power(beta2, t)", "1 - beta2**t")), bits=True),
        "Flush": Flag("moments stay subnormal", ("E11",), (("m = 0.0 if abs(m) < smallest_normal else m", "m = m + 0.0"),)),
        "SmallestNormal": Flag("the smallest normal number itself becomes zero", ("E11",), (("m = 0.0 if abs(m) < smallest_normal else m", "m = 0.0 if abs(m) <= smallest_normal else m"),)),
    }  # fmt: skip
    rng = np.random.default_rng(33)
    entries = {"param": f32(rng.standard_normal(6)), "grad": f32(rng.standard_normal(6) * 1e-4), "lr": np.array(0.01)}
    first = entries | {"m": f32(np.zeros(6)), "v": f32(np.zeros(6)), "step": 1}
    later = entries | {"m": f32(rng.standard_normal(6) * 1e-4), "v": f32(rng.random(6) * 1e-8), "step": 7}
    still = f32([0, 0, 1e-3])
    subnormal = {
        "param": f32([1, 1, 1]),
        "grad": 0 * still,
        "m": f32([1.2e-38, -1.2e-38, 1e-30]),
        "v": f32([1e-38, 1, 1e-30]),
    }
    smallest = subnormal | {"m": f32([_before_smallest(), -_before_smallest(), 0]), "v": f32([1, 1, 1])}
    every = ("EpsOutsideRoot", "SecondCorrection", "SquaredGradient")
    cases = [
        Case("the first step", (*every, "FirstCorrection", "FirstStepIsOne"), first, bounds=_adam_bounds),
        Case("the seventh step", (*every, "FirstCorrection", "FirstStepIsOne"), later, bounds=_adam_bounds),
        Case("step 100,000", ("EpsOutsideRoot", "SquaredGradient"), later | {"step": 100_000}, bounds=_adam_bounds),
        Case("step 1,000 in float64", ("Power", "EpsOutsideRoot"), {name: value.astype(np.float64) / 3 if np.ndim(value) else value for name, value in (later | {"step": 1000}).items()}, bounds=_adam_bounds, needs=("float64",)),
        Case("moments that fall to the smallest normal number", ("SmallestNormal",), smallest | {"step": 3, "lr": np.array(0.5)}),
        Case("moments that fall below the smallest normal number", ("Flush",), subnormal | {"step": 3, "lr": np.array(0.5)}, bounds=lambda *_: {"param": 4 * float(np.finfo(np.float32).eps)}),
    ]  # fmt: skip
    header = [
        "The bounds are sixteen roundings of the largest number that enters; where there is none, the bits are compared."
    ]
    return Group("adam", "adam", header, flags, cases)


def renormalize() -> Group:
    """Return the vectors of unit atoms."""
    flags = {
        "UnitAtoms": Flag("atoms are divided by the square of their norm", ("E12",), (("value / norm(atom)", "value / dot(atom, atom)"),)),
        "Fold": Flag("sums over d do not fold: only who promises the same bits has to", ("E1",), (NO_FOLD,), bits=True),
    }  # fmt: skip
    rng = np.random.default_rng(34)
    W_dec = f32(rng.standard_normal((4, 48)))
    cases = [
        Case(
            "norms that are powers of two",
            ("UnitAtoms",),
            {"W_dec": exact_rows(rng, 4, 20, 16) * f32([[1], [2], [0.5], [0.25]])},
        ),
        Case(
            "any atoms",
            ("UnitAtoms", "Fold"),
            {"W_dec": W_dec},
            bounds=lambda *_: {"W_dec": 2 * gamma(48 + 4, np.float32)},
        ),
    ]
    header = [
        "Without bounds all sums are exact. The bound is 2γ_{d+4}: two sums of squares in two orders, a root and a division each."
    ]
    return Group("renormalize", "renormalize", header, flags, cases)


def project() -> Group:
    """Return the vectors of the projection in the order of May 2025."""
    flags = {
        "Projection": Flag("the part along the atom stays", ("E12'",), (("grad[c] - along * atom[c]", "grad[c]"),))
    }
    rng = np.random.default_rng(35)
    random = {"grad_W_dec": f32(rng.standard_normal((3, 24))), "W_dec": random_atoms(rng, 3, 24)}
    exact = {"grad_W_dec": f32(rng.integers(-4, 5, (3, 8))), "W_dec": exact_rows(rng, 3, 8, 4) / 2}
    cases = [
        Case("exact sums", ("Projection",), exact),
        Case("any atoms", ("Projection",), random, bounds=lambda given, _: {"grad_W_dec": 2 * gamma(24 + 4, np.float32) * float(np.linalg.norm(given["grad_W_dec"], axis=1).max())}),
    ]  # fmt: skip
    header = ["Without bounds all sums are exact. The bound is 2γ_{d+4} times the largest norm of a gradient."]
    return Group("project", "project", header, flags, cases)


def init_params() -> Group:
    """Return the vectors of initial values."""
    flags = {
        "FanIn": Flag("W_enc is uniform within ±√(6/d)", ("R9",), (("(2 * u - 1) * math.sqrt(6 / h)", "(2 * u - 1) * math.sqrt(6 / d)"),)),
        "Symmetric": Flag("weights are not spread on both sides of zero", ("R9",), (("(2 * u - 1) * math.sqrt(6 / d)", "u * math.sqrt(6 / d)"),)),
        "UnitAtStart": Flag("atoms are not unit rows at the start", ("R9",), (("W_dec = renormalize([[(2 * u - 1)", "W_dec = ([[(2 * u - 1)"),)),
        "Tied": Flag("the tied start does not make W_enc the transpose of W_dec", ("R9",), (("    if tied:", "    if False:"),)),
    }  # fmt: skip
    rng = np.random.default_rng(36)
    u = {"u_enc": rng.random((5, 8)), "u_dec": rng.random((8, 5))}
    bounds = lambda given, right: {name: float(np.spacing(np.abs(right[name]).max())) for name in ("W_enc", "W_dec")}  # noqa: E731
    cases = [
        Case("the original's start", ("FanIn", "Symmetric", "UnitAtStart"), u | {"init": "original"}, bounds=bounds),
        Case("tied", ("Tied", "Symmetric", "UnitAtStart"), u | {"init": "tied"}, bounds=bounds),
    ]
    header = ["Computed in float64 and rounded once: the bound is one unit in the last place of float32."]
    return Group("init_params", "init_params", header, flags, cases)


def train_steps() -> Group:
    """Return the vectors of three steps of a tiny model, with all intermediate values."""
    flags = {
        "AfterStep": Flag("atoms are not made unit rows after the step", ("R8", "E12"), (("    if not may_2025:\n        W_dec = renormalize(W_dec)", "    if False:\n        W_dec = renormalize(W_dec)"),)),
        "NoProjection": Flag("the gradient is projected before the step", ("R8",), (("    if may_2025:\n        W_dec = renormalize(W_dec)\n        grad_W_dec", "    if True:\n        grad_W_dec"),)),
        "May2025": Flag("the order of May 2025 is not: unit rows, projection, step", ("R8", "E12'"), (("    if may_2025:\n", "    if False:\n"),)),
        "Moments": Flag("moments start anew in each step", ("E11",), (("m = beta1 * m + (1 - beta1) * g", "m = (1 - beta1) * g"),)),
        "StepNumber": Flag("the step is not counted", ("E11",), (("move(W_enc, grad_W_enc, m[0], v[0], t, lr)", "move(W_enc, grad_W_enc, m[0], v[0], 1, lr)"),)),
        "BiasMoves": Flag("the bias is not trained", ("E11",), (("    move([b_enc], [grad_b_enc], [m[1]], [v[1]], t, lr)", "    move([b_enc], [grad_b_enc], [m[1]], [v[1]], t, 0.0)"),)),
        "AuxWeight": Flag("the auxiliary loss does not have the weight 1/8", ("E13'",), (("-1.0 / n * 0.125", "-1.0 / n"),)),
        "Fold": Flag("sums over d do not fold: only who promises the same bits has to", ("E1",), (NO_FOLD,), bits=True),
    }  # fmt: skip
    rng = np.random.default_rng(37)
    model = tiny(rng, 4, 18, 12) | {"k": 2, "lr": np.array(0.02)}
    batches = f32(rng.standard_normal((3, 4, 18)))
    every = ("Moments", "StepNumber", "BiasMoves", "AuxWeight", "Fold")
    cases = [
        Case("three steps", ("AfterStep", "NoProjection", *every), model | {"batches": batches, "renormalize": "after_step"}, bounds=measured("train_steps")),
        Case("three steps in the order of May 2025", ("May2025", *every), model | {"batches": batches, "renormalize": "before_step"}, bounds=measured("train_steps")),
    ]  # fmt: skip
    return Group("train_steps", "train_steps", [MEASURED, "Selections are the same in all these orders."], flags, cases)


GROUPS = (cosine, gradients, adam, renormalize, project, init_params, train_steps)
