"""Vectors of weights in fewer bytes: rounding and decoding them."""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.generate.answers import Spec, Values
from spec.generate.build import Case, Flag, Group, f32, unit_atoms
from spec.generate.program import program

RUN = program()

SMALLEST = 2.0**-149
"""The smallest number of float32 above 0."""


def _atoms_of_other_scales(rng: np.random.Generator, count: int) -> Any:
    """Return atoms (count, 2) whose scale is another number if it is computed in float32."""
    atoms: list[Any] = []
    while len(atoms) < count:
        a, b = (int(number) for number in rng.integers(1, 127, 2))
        row = f32([127, b]) / f32(128) if a % 2 else f32([-b, 127]) / f32(128)
        squares = 127 * 127 + b * b
        if f32(1) / np.sqrt(f32(squares)) != f32(1 / np.sqrt(float(squares))):
            atoms.append(row)
    return f32(atoms)


def _near_ties(rng: np.random.Generator, count: int) -> Any:
    """Return columns (2, count) whose second quotient is no tie in float64, but is one in float32."""
    columns: list[Any] = []
    while len(columns) < count:
        largest = f32(rng.integers(2**22, 2**23) * 2.0**-22)
        _, scale = RUN.round_column([float(largest)])
        tie = int(rng.integers(2, 120)) + 0.5
        weight = f32(tie * scale)
        if f32(weight / f32(scale)) == tie and round(float(weight) / scale) != round(tie):
            columns.append([largest, weight])
    return f32(columns).T.copy()


def round_weights() -> Group:
    """Return the vectors of rounding."""
    scale = "as_float32(max([abs(weight) for weight in weights]) / 127.0)"
    flags = {
        "Nearest": Flag("a scale is rounded up, not to the nearest float32, so that rounding again changes it", ("E65", "R47"), _next_scales),
        "PowerOfTwo": Flag("the largest magnitude is divided by 128", ("E65",), ((scale, scale.replace("127", "128")),)),
        "HalfToEven": Flag("halves are rounded up", ("E65",), (("[round(weight / scale) for", "[math.floor(weight / scale + 0.5) for"),)),
        "Towards": Flag("quotients are cut off, not rounded", ("E65",), (("[round(weight / scale) for", "[int(weight / scale) for"),)),
        "InDouble": Flag("quotients are computed in float32", ("E65",), (("[round(weight / scale) for", "[round(as_float32(weight / scale)) for"),)),
        "ZeroColumn": Flag("a column of zeros has the scale 0", ("E65", "R45"), _zero_scales),
        "Tiny": Flag("a scale may be subnormal, so that its integers exceed 127 or change when they are rounded again", ("E65", "R45", "R47"), (("if scale < 2.0**-126:", "if scale == 0.0:"),)),
        "ByRow": Flag("a row of W_enc has a scale, not a column", ("E65",), _by_rows),
        "UnitAtoms": Flag("the scale of an atom is that of its rounding, so that decoded atoms are not unit rows", ("E65",), (("return q, as_float32(1.0 / math.sqrt(squares))", "return q, round_column(weights)[1]"),)),
        "NormInDouble": Flag("the norm of an atom's integers is computed in float32", ("E65",), (("as_float32(1.0 / math.sqrt(squares))", "as_float32(1.0 / as_float32(math.sqrt(squares)))"),)),
    }  # fmt: skip
    rng = np.random.default_rng(81)
    any_numbers = f32(rng.integers(-(2**23), 2**23, (5, 7)) * 2.0**-25)
    atoms = f32(rng.integers(-(2**10), 2**10, (7, 5)) * 2.0**-10)
    halves = f32([[127, -127, 254], [0.5, 1.5, 1], [-0.5, -1.5, -1], [2.5, 126.5, 5], [3.5, -2.5, 253]])
    ties, others = _near_ties(rng, 4), _atoms_of_other_scales(rng, 4)
    edges = f32([[0, 178, 572, 127 * 2**23, -(127 * 2**23 - 128)], [0, -100, 3, 1, 127], [0, 178, 59, -(2**25), 2**25]])
    zeros = {"W_enc": edges * f32(SMALLEST), "W_dec": unit_atoms(rng, 5, 4)[:, :3] * 2}
    cases = [
        Case("any numbers", ("Nearest", "PowerOfTwo", "ByRow", "Towards", "UnitAtoms"), {"W_enc": any_numbers, "W_dec": atoms}),
        Case("weights halfway between integers", ("HalfToEven", "Towards"), {"W_enc": halves, "W_dec": np.ascontiguousarray(halves.T)}),
        Case("weights halfway between integers in float32, but not in float64", ("InDouble",), {"W_enc": ties, "W_dec": np.ascontiguousarray(ties.T)}),
        Case("atoms whose scale needs float64", ("NormInDouble", "UnitAtoms"), {"W_enc": np.ascontiguousarray(others.T), "W_dec": others}),
        Case("zeros, and scales around the smallest normal number", ("ZeroColumn", "Tiny"), zeros),
    ]  # fmt: skip
    return Group("round_weights", "round_weights", ["Integers and scales are compared."], flags, cases)


def _next_scales(inputs: Values, outputs: Values) -> dict[str, Any]:
    """Round scales of columns up."""
    exact = np.abs(inputs["W_enc"].astype(np.float64)).max(axis=0) / 127
    up = np.where(
        outputs["W_enc_scales"] < exact, np.nextafter(outputs["W_enc_scales"], f32(np.inf)), outputs["W_enc_scales"]
    )
    return {"outputs": outputs | {"W_enc_scales": up}}


def _zero_scales(inputs: Values, outputs: Values) -> dict[str, Any]:
    scales = np.where(inputs["W_enc"].any(axis=0), outputs["W_enc_scales"], f32(0))
    return {"outputs": outputs | {"W_enc_scales": scales}}


def _by_rows(inputs: Values, outputs: Values) -> dict[str, Any]:
    rows = [RUN.round_column(row) for row in inputs["W_enc"].astype(np.float64).tolist()]
    return {"outputs": outputs | {"W_enc_q": np.array([q for q, _ in rows], np.int32)}}


def decode_weights() -> Group:
    """Return the vectors of decoding."""
    flags = {
        "Product": Flag("the integer is divided by 127, and then multiplied", ("E64",), (("return as_float32(q * scale)", "return as_float32(as_float32(q / 127.0) * as_float32(127.0 * scale))"),)),
        "Rounded": Flag("the product is cut off, not rounded to the nearest", ("E64",), (("return as_float32(q * scale)", "return math.ldexp(math.floor(math.ldexp(math.frexp(q * scale)[0], 24)), math.frexp(q * scale)[1] - 24)"),)),
        "ByLatent": Flag("the scales of W_enc are those of W_dec", ("E64",), _one_set_of_scales),
        "Subnormal": Flag("products that are subnormal become 0", ("E64",), (("return as_float32(q * scale)", "return as_float32(q * scale) if abs(q * scale) >= 2.0**-126 else 0.0"),)),
    }  # fmt: skip
    rng = np.random.default_rng(82)
    q_enc, q_dec = (rng.integers(-127, 128, shape).astype(np.int32) for shape in ((5, 6), (6, 5)))
    scales = f32(rng.integers(2**23, 2**24, (2, 6)) * 2.0**-31)
    rounded = {"W_enc_q": q_enc, "W_enc_scales": scales[0], "W_dec_q": q_dec, "W_dec_scales": scales[1]}
    small = f32([3, 5, 1, 2**20, 2**23, 2**24 - 1]) * f32(SMALLEST)
    cases = [
        Case("scales of 24 bits", ("Product", "Rounded", "ByLatent"), rounded),
        Case("subnormal scales", ("Subnormal",), rounded | {"W_enc_scales": small, "W_dec_scales": small[::-1].copy()}),
    ]
    return Group("decode_weights", "decode_weights", ["All bits are compared."], flags, cases)


def _one_set_of_scales(inputs: Values, outputs: Values) -> dict[str, Any]:
    return {"outputs": Spec().answer("decode_weights", inputs | {"W_enc_scales": inputs["W_dec_scales"]})}


GROUPS = (round_weights, decode_weights)
