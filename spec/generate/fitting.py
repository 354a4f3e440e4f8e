"""Vectors of fitted codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.generate.answers import Values
from spec.generate.build import Case, Flag, Group, accepts, f32, names_row
from spec.generate.coding import NOT_FINITE, ZERO_ROW
from spec.generate.training import MEASURED, NO_FOLD, measured, tiny


def fitted_codes() -> Group:
    """Return the vectors of fitted codes."""
    flags = {
        "OwnAnchor": Flag("an anchor competes with itself", ("E35",), (("closeness(dot(units[i], units[j])) if j != i else 0.0", "closeness(dot(units[i], units[j]))"), ("closeness(code_dot(queries[i], items[j], h)) if j != i else 0.0", "closeness(code_dot(queries[i], items[j], h))"))),
        "OwnTotals": Flag("dense shares have the totals of cosines of codes", ("E35", "E36"), (("rounded(near / (dense_totals[i] + near)", "rounded(near / (sparse_totals[i] + near)"),)),
        "LongQueries": Flag("anchors have only k entries", ("E35",), (("encode(x_unit, W_enc, b_enc, min(4 * k, h))", "encode(x_unit, W_enc, b_enc, k)"),)),
        "ShortItems": Flag("anchors compete with k_aux entries", ("E35",), (("items = [scaled_code(split_code(*code, k)[0]) for code in wide]", "items = queries"),)),
        "UnitAnchors": Flag("codes of anchors are not scaled to norm 1", ("E35",), (("queries = [scaled_code(code) for code in wide]", "queries = wide"),)),
        "Closeness": Flag("cosines have another factor than 20", ("E35",), (("20.0 * float(cosine) - 20.0", "10.0 * float(cosine) - 10.0"),)),
        "Dense": Flag("dense shares are left out", ("E36",), (("excess = r - rounded(near / (dense_totals[i] + near), x_unit[0])", "excess = r"),)),
        "Sparse": Flag("shares of cosines of codes are left out", ("E36",), (("excess = r - rounded(", "excess = -rounded("),)),
        "Uphill": Flag("the code moves along the gradient, not against it", ("E38",), (("s[j] - scale * g[j] for", "s[j] + scale * g[j] for"),)),
        "Tangent": Flag("the part of the gradient along the code is not taken off", ("E37",), (("g[j], s[j] = g[j] - along * value, value", "g[j], s[j] = g[j], value"),)),
        "StepLength": Flag("the gradient is not scaled to the length η", ("E38",), (("scale = rounded(rate, g[0]) / clamped_norm(g)", "scale = rounded(rate, g[0])"),)),
        "Start": Flag("the code of the encoder is not scaled to norm 1", ("E36",), (("code = scaled_code(encode(x_unit, W_enc, b_enc, k))", "code = encode(x_unit, W_enc, b_enc, k)"),)),
        "Rescaled": Flag("codes are not scaled to norm 1 after a step", ("E38",), (("return scaled_code(abs_topk([", "return (abs_topk(["),)),
        "Reselect": Flag("the latents of the encoder's code are kept", ("E38",), (("abs_topk([s[j] - scale * g[j] for j in range(h)]", "abs_topk([s[j] - scale * g[j] if s[j] else 0.0 * g[j] for j in range(h)]"),)),
        "Falls": Flag("the rate does not fall", ("R27",), (("0.1 * (1 - t / steps))", "0.1)"),)),
        "NextGroup": Flag("every step has the first group", ("R27",), (("groups[t % len(groups)]", "groups[0]"),)),
        "Dealt": Flag("a group has consecutive anchors", ("R26",), (("[used[g::count] for g in range(count)]", "[used[g * n // count : (g + 1) * n // count] for g in range(count)]"),)),
        "Spread": Flag("the first anchors are used, not evenly spaced ones", ("R26",), (("used = [left[i * len(left) // n] for i in range(n)]", "used = left[:n]"),)),
        "ZeroAnchor": Flag("anchors that are zero rows are not left out", ("R26",), (("left = [x for x in anchors if any(value != 0.0 for value in x)]", "left = anchors"),)),
        "OneAnchor": Flag("a single anchor is not refused", ("R26",), accepts),
        "NoSteps": Flag("T = 0 is not refused", ("R28",), accepts),
        "KZero": Flag("k = 0 is not refused", ("R28",), accepts),
        "ZeroRow": Flag(ZERO_ROW.why, ("R4", "R28"), ZERO_ROW.bug),
        "NotFinite": NOT_FINITE,
        "FirstBadRow": Flag("the error does not name the first bad row", ("R3", "R28"), names_row(3)),
        "OtherDimension": Flag("anchors of another dimension than the model's are not refused", ("E35",), accepts),
        "Fold": Flag("sums over d, anchors and latents do not fold: only who promises the same bits has to", ("E1", "E35", "E38"), (NO_FOLD,), bits=True),
        "AnchorOrder": Flag("anchors are summed in another order: only who promises the same bits must not", ("E37",), (("for i in range(len(units)):", "for i in reversed(range(len(units))):"),), bits=True),
    }  # fmt: skip
    rng = np.random.default_rng(71)
    bounds = measured("fitted_codes")

    def made(d: int, h: int, k: int, n: int, m: int, **sizes: Any) -> Values:
        model = {name: array for name, array in tiny(rng, 0, d, h).items() if name in ("W_enc", "b_enc")}
        rows = {"x": f32(rng.standard_normal((n, d)) + 0.25), "anchors": f32(rng.standard_normal((m, d)) + 0.25)}
        return {**rows, **model, "k": k, "steps": 1, "size": 256, "most": 40, "zero_rows": "error"} | sizes

    one = made(8, 24, 3, 4, 6)
    many = _weak_entries(made(8, 32, 14, 2000, 11, steps=12, size=1, most=2), 3)
    few = made(8, 12, 4, 3, 5, steps=3)
    wide = made(18, 34, 4, 2, 18, steps=2)
    wide |= {name: wide[name].astype(np.float64) / 3 for name in ("x", "anchors", "W_enc", "b_enc")}
    zeros, zero, bad = many | {"anchors": many["anchors"].copy()}, one["x"].copy(), one["x"].copy()
    zeros["anchors"][[0, 4]] = 0
    zero[1], bad[2, 5], bad[3, 0] = 0, np.nan, np.inf
    step = ("OwnAnchor", "OwnTotals", "LongQueries", "ShortItems", "UnitAnchors", "Closeness", "Dense", "Sparse", "Uphill", "Tangent", "StepLength", "Start", "Rescaled")  # fmt: skip
    cases = [
        Case("one step", step, one, bounds=bounds),
        Case("twelve steps, two groups of four anchors out of eleven", ("Falls", "NextGroup", "Dealt", "Spread", "Reselect"), many, bounds=bounds),
        Case("anchors that are zero rows", ("ZeroAnchor",), zeros, bounds=bounds),
        Case("4k is more than h; rows are their own anchors", ("Tangent", "Falls"), few | {"x": few["anchors"][:3]}, bounds=bounds),
        Case("k = h", ("Dense", "Uphill"), few | {"k": 12}, bounds=bounds),
        Case("in float64", ("Dense", "Sparse", "Fold", "AnchorOrder"), wide, bounds=bounds, needs=("float64",)),
        Case("a zero row on request", ("Dense",), one | {"x": zero, "zero_rows": "empty"}, bounds=bounds),
        Case("a zero row", ("ZeroRow",), one | {"x": zero}, error="DomainError", row=1),
        Case("rows that are not finite", ("NotFinite", "FirstBadRow"), one | {"x": bad}, error="DomainError", row=2),
        Case("one anchor", ("OneAnchor",), one | {"anchors": one["anchors"][:1]}, error="DomainError"),
        Case("no steps", ("NoSteps",), one | {"steps": 0}, error="DomainError"),
        Case("k = 0", ("KZero",), one | {"k": 0}, error="DomainError"),
        Case("anchors of another dimension", ("OtherDimension",), one | {"anchors": one["anchors"][:, :7].copy()}, error="ShapeError"),
    ]  # fmt: skip
    return Group("fitted_codes", "fitted_codes", [MEASURED], flags, cases)


def _weak_entries(inputs: Values, n: int) -> Values:
    """Keep the n rows whose smallest entries are the smallest parts of their codes: steps change their latents."""
    x = inputs["x"].astype(np.float64)
    pre = x @ inputs["W_enc"] / np.linalg.norm(x, axis=1, keepdims=True) + inputs["b_enc"]
    largest = -np.sort(-np.abs(pre), axis=1)[:, : inputs["k"]]
    smallest = largest[:, -1] / np.linalg.norm(largest, axis=1)
    return inputs | {"x": inputs["x"][np.sort(np.argsort(smallest)[:n])]}


GROUPS = (fitted_codes,)
