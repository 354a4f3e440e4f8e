"""Vectors of unit rows, encoding and decoding: exact for any order of sums, or separated, with bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.backends.rounding import gamma
from compressae_ref.reference import unit_rows
from compressae_ref.verify.vectors import drawn
from spec.generate.answers import Spec, Values
from spec.generate.build import (
    Answer,
    BrokenVectorError,
    Case,
    Flag,
    Group,
    accepts,
    codes,
    dyadic,
    exact_rows,
    f32,
    names_row,
    random_atoms,
    unit_atoms,
)
from spec.generate.program import listed

NO_FOLD = ("while len(terms) > 16", "while False and len(terms) > 16")
FUSED_DOT = (
    "    return fold_sum([a[c] * b[c] for c in range(len(a))])\n",
    """    half = len(a) // 2
    if len(a) > 16 and len(a) % 2 == 0:
        return fold_sum([fma(a[half + c], b[half + c], a[c] * b[c]) for c in range(half)])
    total = a[0] * b[0]
    for c in range(1, len(a)):
        total = fma(a[c], b[c], total)
    return total
""",
)
FUSED_DOTS = "a multiply-add is fused in a dot product: only who promises the same bits must not"
IN_DOUBLE = ("fold_sum([a[c] * b[c] for", "fold_sum([float(a[c]) * float(b[c]) for")

NOT_FINITE = Flag(
    "a row that is not finite is not refused",
    ("R3",),
    (("assert all(math.isfinite(value) for value in x)  # R3", "assert True"),),
)
ZERO_ROW = Flag("a zero row is not refused, or gives NaN", ("R4",), (("assert largest > 0.0  # R4", "assert True"),))
FIRST_BAD_ROW = Flag("the error does not name the first bad row", ("R3", "R4"), names_row(3))
FUSED = Flag(FUSED_DOTS, ("E2",), (FUSED_DOT,), bits=True)
FOLD = Flag("sums over d do not fold: only who promises the same bits has to", ("E1", "E2"), (NO_FOLD,), bits=True)
NOT_UNIT = Flag("rows are not made unit rows", ("E3",), (("return [value / length for value in scaled]", "return x"),))
HUGE = Flag("squares overflow", ("E3",), (("[math.ldexp(value, -exponent) for value in x]", "x"),))
TINY = Flag("squares vanish", ("E3",), (("[math.ldexp(value, -exponent) for value in x]", "x"),))  # fmt: skip


def _unit_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    """Bound the error of unit rows: two norms in two orders, each with a root and a division, and entries of at most 1."""
    d, dtype = inputs["x"].shape[1], inputs["x"].dtype
    return {"x_unit": 2 * gamma(d + 4, dtype)}


def normalize_rows() -> Group:
    """Return the vectors of unit rows, at any scale."""
    flags = {
        "NotUnit": NOT_UNIT,
        "Huge": HUGE,
        "Tiny": TINY,
        "SubnormalRow": Flag("subnormal numbers are flushed to zero", ("E3",), (("largest = max(abs(value) for value in x)", "x = [value if abs(value) >= 2.0**-126 else 0.0 for value in x]\n    largest = max(abs(value) for value in x)"),)),
        "Fold": FOLD,
        "Fused": FUSED,
        "NotFinite": NOT_FINITE,
        "ZeroRow": ZERO_ROW,
        "FirstBadRow": FIRST_BAD_ROW,
    }  # fmt: skip
    rng = np.random.default_rng(11)
    x = exact_rows(rng, 4, 20, 16)
    random = f32(rng.standard_normal((8, 96)))
    infinite = f32([[1, 2], [3, -np.inf], [np.inf, 1]])
    cases = [
        Case("norms that are powers of two", ("NotUnit",), {"x": x}),
        Case("rows as large as float32 goes", ("Huge", "NotUnit"), {"x": x * f32(2.0**124)}),
        Case("rows whose squares are below the smallest number", ("Tiny", "NotUnit"), {"x": x * f32(2.0**-100)}),
        Case("rows of subnormal numbers", ("SubnormalRow", "Tiny"), {"x": x * f32(2.0**-140)}),
        Case("any rows, d = 96", ("NotUnit", "Fold"), {"x": random}, bounds=_unit_bounds),
        Case("any rows, d = 51: nothing folds", ("NotUnit",), {"x": random[:, :51].copy()}, bounds=_unit_bounds),
        Case("NaN, and not in the first place", ("NotFinite",), {"x": f32([[1, 2], [1, np.nan]])}, error="DomainError", row=1),
        Case("infinity", ("NotFinite", "FirstBadRow"), {"x": infinite}, error="DomainError", row=1),
        Case("a zero row", ("ZeroRow",), {"x": f32([[1, 2], [0, -0.0]])}, error="DomainError", row=1),
        Case("a zero row behind one that is not finite", ("FirstBadRow",), {"x": f32([[1, 2], [1, 3], [1, np.nan], [0, 0]])}, error="DomainError", row=2),
        Case("a row that is not finite behind a zero row", ("FirstBadRow",), {"x": f32([[1, 2], [0, 0], [1, 3], [1, np.nan]])}, error="DomainError", row=1),
        Case("many rows, d = 31: nothing folds", ("NotUnit", "Fused"), {"x": f32(rng.standard_normal((32, 31)))}, bounds=_unit_bounds),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound of x_unit is 2γ_{d+4}: two sums of squares in two orders, a root and a division each (Higham, section 3.1).",
    ]
    return Group("normalize_rows", "normalize_rows", header, flags, cases)


# -- encode -----------------------------------------------------------------------------------------------------------


def _encode_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    """Return 2γ_{2d+16} (max ‖w‖ + max |b|), which includes the rounding of unit rows."""
    W_enc, b_enc = (inputs[name].astype(np.float64) for name in ("W_enc", "b_enc"))
    size = np.linalg.norm(W_enc, axis=0).max() + np.abs(b_enc).max()
    return {"values": float(2 * gamma(2 * len(W_enc) + 16, inputs["W_enc"].dtype) * size)}


def _separated_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    """Return that bound, after checking that it cannot change the selection."""
    bounds, margin = _encode_bounds(inputs, outputs), _margin(inputs, outputs)
    if margin <= 2 * bounds["values"]:
        raise BrokenVectorError(f"the selection is not separated: margin {margin}, bounds {bounds}")
    return bounds


def _margin(inputs: Values, outputs: Values) -> float:
    """Return the smallest distance between a selected and an unselected magnitude."""
    W_enc, b_enc = (inputs[name].astype(np.float64) for name in ("W_enc", "b_enc"))
    near = np.abs(unit_rows(inputs["x"].astype(np.float64), np.float64) @ W_enc + b_enc)
    ordered = -np.sort(-near, axis=1)
    return float((ordered[:, inputs["k"] - 1] - ordered[:, inputs["k"]]).min())


def _separated(rng: np.random.Generator, n: int, d: int, h: int, k: int) -> Values:
    """Return random inputs: of many random rows, those whose selection has the largest margin."""
    W_enc, b_enc = random_atoms(rng, h, d).T.copy(), f32(rng.standard_normal(h) * 0.1)
    x = f32(np.ldexp(rng.standard_normal((40 * n, d)), rng.integers(-20, 21, (40 * n, 1))))
    near = np.abs(unit_rows(x.astype(np.float64), np.float64) @ W_enc + b_enc)
    ordered = -np.sort(-near, axis=1)
    clear = np.argsort(ordered[:, k] - ordered[:, k - 1])[:n]
    return {"x": x[clear], "W_enc": W_enc, "b_enc": b_enc, "k": k, "zero_rows": "error"}


def _equal_latents(values: Values) -> Values:
    """Duplicate every latent, so that all magnitudes tie in pairs."""
    twice = {name: np.concatenate([values[name]] * 2, axis=-1) for name in ("W_enc", "b_enc")}
    return values | twice | {"k": 2 * values["k"] - 1}


def _paper_rows(rng: np.random.Generator) -> Any:
    """Return rows of 624 entries ±1, 100 entries ±2 and 44 zeros, whose squares sum to 1,024."""
    entries = np.repeat([1.0, 2.0, 0.0], [624, 100, 44])
    return f32([rng.permutation(entries) * rng.choice([-1, 1], 768) for _ in range(8)])


def encode() -> Group:
    """Return the vectors of encoding."""
    flags = {
        "Bias": Flag("the bias is left out", ("E4",), ((" + b_enc[j])", ")"),)),
        "NotUnit": NOT_UNIT,
        "Orientation": Flag("W_enc is read by rows where it has to be read by columns", ("E4",), (("[W_enc[c][j] for c", "[W_enc[j][c] for c"),)),
        "Huge": HUGE,
        "Tiny": TINY,
        "TieAtBoundary": Flag("ties go to the higher index, or to any", ("R1", "E5"), (("(-abs(pre[j]), j))  # R1", "(-abs(pre[j]), -j))"),)),
        "Magnitude": Flag("the largest values are kept, or negative ones count as zero", ("R1",), (("(-abs(pre[j]), j))  # R1", "(-max(pre[j], 0.0), j))"),)),
        "Fold": FOLD,
        "Fused": FUSED,
        "InDouble": Flag("sums run in more precision: only who promises the same bits must not", ("E2",), (IN_DOUBLE,), bits=True),
        "WideRow": Flag("a row in float64 is rounded before it is made a unit row", ("E3",), _rounds_first),
        "WideUnitRow": Flag("a row in float64 is made a unit row in float32: only who promises the same bits must not", ("E3",), _unit_in_float32, bits=True),
        "ZeroRowEmpty": Flag("with zero_rows = empty a zero row gets the code of the bias, or of NaN", ("R4",), (("return list(range(k)), [0.0] * k", "return encode(x, W_enc, b_enc, k)"),)),
        "ZeroRow": ZERO_ROW,
        "NotFinite": NOT_FINITE,
        "FirstBadRow": FIRST_BAD_ROW,
        "KTooLarge": Flag("k > h is not refused", ("R2",), (("assert 1 <= k <= len(pre)", "assert 1 <= k"),)),
        "OtherDimension": Flag("rows of another dimension than the model's are not refused", ("E4",), accepts),
        "PaperSize": Flag("numbers of latents do not fit what they are kept in", ("E5",), lambda _, right: {"outputs": right | {"indices": right["indices"] % 256}}),
    }  # fmt: skip
    rng = np.random.default_rng(12)
    model = {"W_enc": dyadic(rng, (20, 24)), "b_enc": dyadic(rng, (24,), most=4), "k": 5, "zero_rows": "error"}
    x = exact_rows(rng, 10, 20, 16)
    square = {"W_enc": dyadic(rng, (16, 16)), "b_enc": dyadic(rng, (16,)), "k": 3, "zero_rows": "error"}
    zero = x.copy()
    zero[1] = 0
    bad = x.copy()
    bad[[2, 3], [7, 5]] = np.nan
    infinite = x.copy()
    infinite[4, 19] = np.inf
    paper = {"W_enc": drawn([768, 4096], "W_enc 768 4096"), "b_enc": drawn([4096], "b_enc 4096")}
    stated = {
        name: {"dtype": "F32", "shape": list(array.shape), "shake128": f"{name} {' '.join(map(str, array.shape))}"}
        for name, array in paper.items()
    }
    separated = _separated(rng, 6, 96, 64, 8)
    cases = [
        Case("exact sums", ("Bias", "TieAtBoundary", "Magnitude"), model | {"x": x}),
        Case("rows of other norms", ("NotUnit", "Bias"), model | {"x": x * 32}),
        Case("d = h", ("Orientation",), square | {"x": exact_rows(rng, 6, 16, 4)}),
        Case("rows as large as float32 goes", ("Huge",), model | {"x": x * f32(2.0**124)}),
        Case("rows whose squares are below the smallest number", ("Tiny",), model | {"x": x * f32(2.0**-100)}),
        Case("a zero row on request", ("ZeroRowEmpty",), model | {"x": zero, "zero_rows": "empty"}),
        Case("h = 1, k = 1", ("Bias",), {"x": x[:2], "W_enc": dyadic(rng, (20, 1)), "b_enc": f32([0.5]), "k": 1, "zero_rows": "error"}),
        Case("any rows, d = 96", ("Bias", "Magnitude", "Fold", "InDouble", "Fused"), separated, bounds=_separated_bounds),
        Case("every latent twice", ("TieAtBoundary",), _equal_latents(_separated(rng, 4, 40, 20, 4)), bounds=_encode_bounds),
        Case("rows in float64, beyond float32", ("WideRow",), model | {"x": x.astype(np.float64) * 2.0**200}, needs=("float64",)),
        Case("any rows in float64", ("WideUnitRow",), separated | {"x": rng.standard_normal((6, 96))}, bounds=_separated_bounds, needs=("float64",)),
        Case("rows in float32 for a model in float64", ("Bias", "Magnitude", "Fold", "Fused"), _wide_model(separated), bounds=_separated_bounds, needs=("float64",)),
        Case("768 dimensions, 4,096 latents, 32 of them kept", ("PaperSize", "TieAtBoundary", "Bias"), {"x": _paper_rows(rng), **paper, "k": 32, "zero_rows": "error"}, stated=stated),
        Case("a zero row", ("ZeroRow",), model | {"x": zero}, error="DomainError", row=1),
        Case("NaN in two rows", ("NotFinite", "FirstBadRow"), model | {"x": bad}, error="DomainError", row=2),
        Case("infinity", ("NotFinite", "FirstBadRow"), model | {"x": infinite}, error="DomainError", row=4),
        Case("k larger than h", ("KTooLarge",), model | {"x": x[:1], "k": 25}, error="DomainError"),
        Case("19 dimensions for a model of 20", ("OtherDimension",), model | {"x": x[:, :19].copy()}, error="ShapeError"),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits, ties included.",
        "The bound of values is 2γ_{2d+16} (max ‖w‖ + max |b|): the row and the dot in two orders (Higham, section 3.1). Selections are",
        "separated by more than twice as much, or the latents are equal in pairs and a row and a latent have one order of summation.",
    ]
    return Group("encode", "encode", header, flags, cases)


def _rounds_first(inputs: Values, outputs: Values) -> Answer:
    with np.errstate(over="ignore"):
        x = inputs["x"].astype(np.float32)
    try:
        return {"outputs": Spec().answer("encode", inputs | {"x": x})}
    except AssertionError:
        return {"error": "DomainError"}


def _unit_in_float32(inputs: Values, outputs: Values) -> Answer:
    x = Spec().answer("normalize_rows", {"x": inputs["x"].astype(np.float32)})["x_unit"]
    run = Spec().program(np.float32)
    columns = listed(inputs["W_enc"]), listed(inputs["b_enc"])
    codes = [run.encode(row, *columns, inputs["k"]) for row in listed(x)]
    return {
        "outputs": {"indices": np.array([row[0] for row in codes], np.int32), "values": f32([row[1] for row in codes])}
    }


def _wide_model(inputs: Values) -> Values:
    return inputs | {name: inputs[name].astype(np.float64) / 3 for name in ("W_enc", "b_enc")}


# -- decode -----------------------------------------------------------------------------------------------------------


def _decode_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    """Return 2γ_{k+1} Σ |v| max |w|."""
    most = np.abs(inputs["values"].astype(np.float64)).sum(axis=1).max() * np.abs(inputs["W_dec"]).max()
    return {"x_hat": 2 * gamma(inputs["values"].shape[1] + 1, inputs["values"].dtype) * float(most)}


def decode() -> Group:
    """Return the vectors of decoding."""
    step = "x_hat[c] = x_hat[c] + values[t] * atom[c]"
    flags = {
        "Orientation": Flag("W_dec is read by columns where it has to be read by rows", ("E7",), (("atom = W_dec[indices[t]]", "atom = [row[indices[t]] for row in W_dec]"),)),
        "Sum": Flag("an atom takes the place of the one before", ("E7",), ((step, "x_hat[c] = values[t] * atom[c]"),)),
        "Sign": Flag("values lose their sign", ("E7",), ((step, "x_hat[c] = x_hat[c] + abs(values[t]) * atom[c]"),)),
        "NotRescaled": Flag("reconstructions are made unit rows", ("E7",), lambda _, right: {"outputs": {"x_hat": right["x_hat"] / np.maximum(np.linalg.norm(right["x_hat"], axis=1, keepdims=True), np.float32(1e-8))}}),
        "StoredOrder": Flag("atoms are added in another order than the stored one: only who promises the same bits must not", ("E7",), (("    x_hat = [0.0] * len(W_dec[0])\n    for t in range(len(indices)):", "    x_hat = [0.0] * len(W_dec[0])\n    for t in reversed(range(len(indices))):"),), bits=True),
    }  # fmt: skip
    flags["Fused"] = Flag(
        "a multiply-add is fused: only who promises the same bits must not",
        ("E7",),
        ((step, "x_hat[c] = fma(values[t], atom[c], x_hat[c])"),),
        bits=True,
    )
    rng = np.random.default_rng(13)
    indices, values = codes(rng, 5, 16, 4)
    empty = {"indices": np.array([[0, 1]], np.int32), "values": f32([[0, 0]]), "W_dec": unit_atoms(rng, 3, 8)}
    random = {
        "indices": codes(rng, 5, 32, 12)[0],
        "values": f32(rng.standard_normal((5, 12))),
        "W_dec": random_atoms(rng, 32, 24),
    }
    one = {"indices": np.array([[2]], np.int32), "values": f32([[-0.5]]), "W_dec": unit_atoms(rng, 3, 8)}
    cases = [
        Case("exact sums, d = h", ("Orientation", "Sum", "Sign", "NotRescaled"), {"indices": indices, "values": values, "W_dec": unit_atoms(rng, 16, 16)}),
        Case("one entry", ("Sign", "NotRescaled"), one),
        Case("a code of zeros decodes to zeros, and a zero is +0", ("Sum",), empty | {"indices": np.array([[0, 1], [1, 2]], np.int32), "values": f32([[0, 0], [1, 0]])}),
        Case("any values", ("Sum", "Sign", "StoredOrder", "Fused"), random, bounds=_decode_bounds),
        Case("any values in float64", ("Sum", "Sign", "StoredOrder", "Fused"), {"indices": random["indices"], "values": rng.standard_normal((5, 12)), "W_dec": random_atoms(rng, 32, 24, np.float64)}, bounds=_decode_bounds, needs=("float64",)),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound of x_hat is 2γ_{k+1} Σ |v| max |w| (Higham, section 3.1).",
    ]
    return Group("decode", "decode", header, flags, cases)


GROUPS = (normalize_rows, encode, decode)
