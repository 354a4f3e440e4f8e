"""Vectors of centred models: rows without the mean, and search for the original rows."""

from __future__ import annotations

import numpy as np

from compressae_ref.backends.rounding import gamma
from spec.generate.answers import Spec, Values
from spec.generate.build import (  # fmt: skip
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
from spec.generate.coding import NOT_FINITE, ZERO_ROW
from spec.generate.retrieval import BY_ID

NORM = Flag("a mean whose norm is 1 is not refused", ("R21",), accepts)


def _subtracted_first(inputs: Values, outputs: Values) -> Answer:
    """Subtract the mean from the rows as they come."""
    rest = inputs["x"] - inputs["mean"]
    return {"outputs": Spec().answer("normalize_rows", {"x": rest})}


def _centred_query(inputs: Values, outputs: Values) -> Answer:
    """Search with the query without its mean, as it would be encoded."""
    centred = Spec().answer("center_rows", {"x": inputs["queries"], "mean": inputs["mean"]})["x_unit"]
    return {"outputs": Spec().answer("center_search", inputs | {"queries": centred})}


def center_rows() -> Group:
    """Return the vectors of rows without the mean."""
    flags = {
        "Mean": Flag("the mean is not subtracted", ("E26",), (("unit_row([x_unit[c] - mean[c] for", "unit_row([x_unit[c] for"),)),
        "UnitFirst": Flag("the mean is subtracted from the row, not from the unit row", ("E26",), _subtracted_first),
        "UnitAgain": Flag("the difference is not made a unit row", ("E26",), (("return unit_row([x_unit[c] - mean[c] for c in range(len(mean))])", "return [x_unit[c] - mean[c] for c in range(len(mean))]"),)),
        "Norm": NORM,
        "ZeroRow": Flag(ZERO_ROW.why, ("R4",), accepts),
        "NotFinite": Flag(NOT_FINITE.why, ("R3",), accepts),
        "FirstBadRow": Flag("the error does not name the first bad row", ("R3", "R4"), names_row(2)),
    }  # fmt: skip
    rng = np.random.default_rng(51)
    rows: Values = {"x": exact_rows(rng, 6, 20, 16) * f32([[1], [4], [0.5], [2], [16], [1]])}
    rows["mean"] = dyadic(rng, (20,), 3)
    random: Values = {"x": rng.standard_normal((4, 24)) + 2, "mean": f32(rng.standard_normal(24) / 40 + 0.15)}
    as_float32 = random | {"x": f32(random["x"])}
    wide = {name: random[name].astype(np.float64) for name in random}
    zero, bad, one = rows["x"].copy(), rows["x"].copy(), np.zeros(20, np.float32)
    zero[1], bad[1, 5], bad[2], one[3] = 0, np.nan, 0, 1
    bound = _rows_bound
    cases = [
        Case("dyadic rows and mean", ("Mean", "UnitFirst", "UnitAgain"), rows),
        Case("any rows", ("Mean", "UnitFirst", "UnitAgain"), as_float32, bounds=bound),
        Case("any rows in float64", ("Mean", "UnitAgain"), wide, bounds=bound, needs=("float64",)),
        Case("rows in float64, a mean in float32", ("Mean", "UnitAgain"), random, bounds=bound, needs=("float64",)),
        Case("a mean of norm 1", ("Norm",), rows | {"mean": one}, error="DomainError"),
        Case("a zero row", ("ZeroRow",), rows | {"x": zero}, error="DomainError", row=1),
        Case("NaN, then a zero row", ("NotFinite", "FirstBadRow"), rows | {"x": bad}, error="DomainError", row=1),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound is 2 (γ_{d+8} + u) (1 + 1 / s) + 2γ_{d+8}: two unit rows, and the smallest norm s of a difference.",
    ]
    return Group("center_rows", "center_rows", header, flags, cases)


def _rows_bound(inputs: Values, outputs: Values) -> dict[str, float]:
    mean = inputs["mean"].astype(np.float64)
    x_unit = inputs["x"].astype(np.float64)
    x_unit /= np.linalg.norm(x_unit, axis=1, keepdims=True)
    smallest = np.linalg.norm(x_unit - mean, axis=1).min()
    one = gamma(len(mean) + 8, inputs["mean"].dtype)
    return {"x_unit": float(2 * (one + gamma(1, inputs["mean"].dtype)) * (1 + 1 / smallest) + 2 * one)}


def center_search() -> Group:
    """Return the vectors of search with a centred model."""
    length = "clamped_norm(x_hat) / length_without_mean(x_hat, mean)"
    flags = {
        "Length": Flag("items are ranked by the cosines of rows without the mean", ("E27", "E28"), ((length, "clamped_norm(x_hat)"),)),
        "Negative": Flag("the length is wrong where ⟨μ, x̂⟩ is negative", ("E27",), (("return w if t < 0.0 else room / w", "return room / w"),)),
        "Room": Flag("1 − ⟨μ, μ⟩ is taken as 1", ("E27",), (("room = 1.0 - dot(mean, mean)", "room = 1.0"),)),
        "Added": Flag("⟨q, μ⟩ is not added to the scores", ("E28",), (("[ranked[i] + dot(query, mean) for i in ids]", "[ranked[i] for i in ids]"),)),
        "WholeQuery": Flag("the mean is subtracted from dense queries, too", ("E28",), _centred_query),
        "Restored": Flag("the query's reconstruction is compared without the mean", ("E27", "E28"), (("[scale * x_hat[c] + mean[c] for c", "[scale * x_hat[c] for c"),)),
        "ById": BY_ID,
        "Norm": NORM,
    }  # fmt: skip
    rng = np.random.default_rng(52)
    indices, values = codes(rng, 10, 12, 3)
    indices[7], values[7] = indices[2], values[2] * 2
    values[4] = 0
    items: Values = {"space": "asymmetric", "top": 10, "n_latents": 12, "W_dec": unit_atoms(rng, 12, 8)}
    items |= {"indices": indices, "values": values, "mean": dyadic(rng, (8,), 4)}
    dense: Values = {"queries": exact_rows(rng, 3, 8, 4) * f32([[1], [8], [0.25]])}
    one = np.zeros(8, np.float32)
    one[2] = 1
    random: Values = {"space": "asymmetric", "top": 1, "n_latents": 40, "W_dec": random_atoms(rng, 40, 24)}
    random |= {"indices": codes(rng, 12, 40, 6)[0], "values": f32(rng.standard_normal((12, 6)))}
    random |= {"mean": f32(rng.standard_normal(24) / 40 + 0.15)}
    query: Values = {"query_indices": codes(rng, 3, 40, 6)[0], "query_values": f32(rng.standard_normal((3, 6)))}
    coded = random | {"space": "reconstructed"} | query
    wide = {name: (value.astype(np.float64) if value.dtype == np.float32 else value) if isinstance(value, np.ndarray) else value for name, value in coded.items()}  # fmt: skip
    cases = [
        Case("dyadic numbers: ties, codes of zeros", ("Length", "Negative", "Room", "Added", "WholeQuery", "ById"), items | dense),
        Case("any codes, the best one", ("Length", "Added", "WholeQuery"), random | {"queries": f32(rng.standard_normal((3, 24)))}, bounds=_search_bound),
        Case("queries that are codes", ("Length", "Added", "Restored"), coded, bounds=_search_bound),
        Case("queries that are codes, in float64", ("Length", "Added", "Restored"), wide, bounds=_search_bound, needs=("float64",)),
        Case("a mean of norm 1", ("Norm",), items | dense | {"mean": one}, error="DomainError"),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound of scores is 8γ_{3d+2k+32} times w² / (1 − ⟨μ, μ⟩) and the largest Σ|v| / ‖x̂‖ of items, and of queries that are codes: every sum in two orders.",
    ]
    return Group("center_search", "center_search", header, flags, cases)


def _search_bound(inputs: Values, outputs: Values) -> dict[str, float]:
    """Bound the error of scores, after checking that neighbouring scores differ by more than twice the bound."""
    W_dec, mean = inputs["W_dec"].astype(np.float64), inputs["mean"].astype(np.float64)
    condition = 4 / (1 - mean @ mean)
    for prefix in ("", "query_") if "query_values" in inputs else ("",):
        values = inputs[f"{prefix}values"].astype(np.float64)
        x_hat = np.einsum("nk,nkd->nd", values, W_dec[inputs[f"{prefix}indices"]])
        condition *= (np.abs(values).sum(axis=1) / np.linalg.norm(x_hat, axis=1)).max()
    d, k = W_dec.shape[1], inputs["indices"].shape[1]
    bound = float(8 * gamma(3 * d + 2 * k + 32, inputs["W_dec"].dtype) * condition)
    scores = Spec().answer("center_search", inputs | {"top": 2})["scores"].astype(np.float64)
    if (scores[:, 0] - scores[:, 1]).min() <= 2 * bound:
        raise BrokenVectorError(f"scores are not separated for a bound of {bound}")
    return {"scores": bound}


GROUPS = (center_rows, center_search)
