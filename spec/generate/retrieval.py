"""Vectors of search in the three spaces: exact with ties, or separated with bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressae_ref.backends.rounding import gamma
from spec.generate.answers import Spec, Values
from spec.generate.build import (
    Answer,
    BrokenVectorError,
    Bug,
    Case,
    Flag,
    Group,
    accepts,
    codes,
    exact_rows,
    f32,
    random_atoms,
    unit_atoms,
)
from spec.generate.program import listed

BY_ID = Flag(
    "items of equal score do not come by ascending id", ("R10",), (("(-scores[i], i))  # R10", "(-scores[i], -i))"),)
)
BEST_FIRST = Flag(
    "scores are ordered by magnitude, or the worst comes first",
    ("R10",),
    (("(-scores[i], i))  # R10", "(-abs(scores[i]), i))"),),
)
STORED_ORDER = Flag(
    "a dot with an item runs in another order than the stored one: only who promises the same bits must not",
    ("E10",),
    (
        (
            "    total = 0.0\n    for t in range(len(indices)):",
            "    total = 0.0\n    for t in reversed(range(len(indices))):",
        ),
    ),
    bits=True,
)
FUSED = Flag(
    "a multiply-add is fused: only who promises the same bits must not",
    ("E10",),
    (("total = total + u[indices[t]] * values[t]", "total = fma(u[indices[t]], values[t], total)"),),
    bits=True,
)
OTHER_DIMENSION = Flag("queries of another dimension than the model's are not refused", ("E3",), accepts)
ITEM_NORM_GONE = "the norm of the item is left out"
CLAMP_CODE = ("return max(math.sqrt(total), 1e-8)  # R6", "return math.sqrt(total)")
TOP_ZERO = Flag("top = 0 is not refused", ("R10",), accepts)
FEW_ITEMS = Flag(
    "with fewer items than asked for, results are filled up",
    ("R10",),
    lambda _, right: {
        "outputs": {name: np.pad(array, ((0, 0), (0, 1)), constant_values=-1) for name, array in right.items()}
    },
)
NOT_FINITE = Flag("a query that is not finite is not refused", ("R3",), accepts)
ZERO_QUERY = Flag("a zero query is not refused", ("R4",), (("assert largest > 0.0  # R4", "assert True"),))
HEADER = [
    "Where there are no bounds, all sums are exact, and so are norms, products of norms and scores: any order gives these bits.",
]


def _with(**changes: Any) -> Bug:
    """Return the bug of a program that answers a request with other inputs."""

    def bug(inputs: Values, outputs: Values) -> Answer:
        return {"outputs": Spec().answer("search", inputs | changes)}

    return bug


def _norm_two(values: Any) -> Any:
    """Return values ±1/2 times a power of two: four of them have that power as their norm."""
    return np.ldexp(np.sign(values), np.arange(len(values))[:, None] % 3 - 1)


def _separated(operation_inputs: Values, bound: float) -> dict[str, float]:
    """Return the bound of scores, after checking that neighbouring scores differ by more than twice the bound."""
    outputs = Spec().answer("search", operation_inputs | {"top": len(operation_inputs["indices"])})
    scores, top = outputs["scores"].astype(np.float64), operation_inputs["top"]
    gaps = (scores[:, :-1] - scores[:, 1:])[:, :top]
    if gaps.min() <= 2 * bound:
        raise BrokenVectorError(f"scores are not separated: {gaps.min()} for a bound of {bound}")
    return {"scores": bound}


def sparse_search() -> Group:
    """Return the vectors of search in sparse space: code against code."""
    flags = {
        "ById": BY_ID,
        "BestFirst": BEST_FIRST,
        "QueryNorm": Flag("the norm of the query is left out", ("E15",), (("(code_norm(query[1]) * code_norm(item[1]))", "code_norm(item[1])"),)),
        "ItemNorm": Flag(ITEM_NORM_GONE, ("E15",), (("(code_norm(query[1]) * code_norm(item[1]))", "code_norm(query[1])"),)),
        "SameLatents": Flag("entries are multiplied by their places, not by their latents", ("E10", "E15"), (("total = total + u[indices[t]] * values[t]", "total = total + u[t] * values[t]"),)),
        "LongerQuery": Flag("a query may not have more entries than an item", ("E15",), lambda given, _: {"outputs": Spec().answer("search", given | {name: given[name][:, :4] for name in ("query_indices", "query_values")})}),
        "ZeroCode": Flag("a code of zeros has the score NaN", ("R6",), (CLAMP_CODE,)),
        "Clamp": Flag("norms are not clamped at 1e-8", ("R6",), (CLAMP_CODE,)),
        "StoredOrder": STORED_ORDER,
        "FewItems": FEW_ITEMS,
        "TopZero": TOP_ZERO,
        "OtherModel": Flag("codes of another model are compared", ("R13",), accepts),
        "UnknownModel": Flag("codes whose model is unknown are not compared", ("R13",), lambda *_: {"error": "DomainError"}),
        "SameModel": Flag("codes of one model are not compared", ("R13",), lambda *_: {"error": "DomainError"}),
        "Fused": FUSED,
    }  # fmt: skip
    rng = np.random.default_rng(21)
    indices, values = codes(rng, 12, 16, 4)
    values = _norm_two(values)
    indices[7], values[7] = indices[3], values[3] * 4
    asked, asked_values = codes(rng, 3, 16, 4)
    items: Values = {"space": "sparse", "top": 12, "n_latents": 16, "indices": indices, "values": values}
    query: Values = {"query_indices": asked, "query_values": _norm_two(asked_values) * 2}
    every = np.tile(np.arange(16, dtype=np.int32), (2, 1))
    longer: Values = {"query_indices": every, "query_values": f32(rng.choice([-0.25, 0.25], (2, 16)))}
    zeros = items | {"values": np.where(np.arange(12)[:, None] % 5 == 2, 0, values).astype(np.float32)}
    tiny = items | {"values": values * f32(2.0**-30)}
    random_indices, _ = codes(rng, 20, 64, 12)
    random = items | {
        "n_latents": 64,
        "indices": random_indices,
        "values": f32(rng.standard_normal((20, 12))),
        "top": 1,
    }
    random |= {"query_indices": random_indices[:4], "query_values": f32(rng.standard_normal((4, 12)))}
    digests = {"model": "ab" * 32, "query_model": "ab" * 31 + "ac"}
    cases = [
        Case("exact scores, many of them equal", ("ById", "BestFirst", "QueryNorm", "SameLatents"), items | query),
        Case("the best five", ("ById",), items | query | {"top": 5}),
        Case("items of other norms", ("ItemNorm",), items | query | {"top": 6}),
        Case("queries with more entries than items", ("LongerQuery", "ById"), items | longer),
        Case("codes of zeros", ("ZeroCode",), zeros | query),
        Case("items with norms below 1e-8", ("Clamp",), tiny | query),
        Case("more asked for than there are", ("FewItems",), items | query | {"top": 40}),
        Case("any codes, the best one", ("ItemNorm", "StoredOrder", "Fused"), random, bounds=lambda given, _: _separated(given, 2 * gamma(30, np.float32))),
        Case("top = 0", ("TopZero",), items | query | {"top": 0}, error="DomainError"),
        Case("items of one model, queries of another", ("OtherModel",), items | query | digests, error="DomainError"),
        Case("queries of an unknown model", ("UnknownModel",), items | query | {"model": "ab" * 32, "query_model": None}),
        Case("items of an unknown model", ("UnknownModel",), items | query | {"model": None, "query_model": "ab" * 32}),
        Case("both models are unknown", ("UnknownModel",), items | query | {"model": None, "query_model": None}),
        Case("items and queries of one model", ("SameModel",), items | query | {"model": "ab" * 32, "query_model": "ab" * 32}),
    ]  # fmt: skip
    header = [
        *HEADER,
        "The bound of scores is 2γ_{2k+6}: a dot and two norms in two orders, each relative to ‖s_q‖ ‖s‖.",
    ]
    return Group("sparse_search", "search", header, flags, cases)


def _reconstruction_bound(inputs: Values) -> float:
    """Bound the error of scores: three sums over d and two over k, relative to Σ |u| |v| / ‖x̂‖ and to the norms."""
    W_dec, d, k = inputs["W_dec"].astype(np.float64), inputs["W_dec"].shape[1], inputs["indices"].shape[1]
    values = inputs["values"].astype(np.float64)
    atoms = W_dec[inputs["indices"]]
    norms = np.linalg.norm(np.einsum("nk,nkd->nd", values, atoms), axis=1)
    condition = (np.abs(values).sum(axis=1) / norms).max()
    if "query_values" in inputs:
        asked = inputs["query_values"].astype(np.float64)
        x_hat = np.einsum("nk,nkd->nd", asked, W_dec[inputs["query_indices"]])
        condition *= (np.abs(asked).sum(axis=1) / np.linalg.norm(x_hat, axis=1)).max()
    return float(2 * gamma(3 * d + 2 * k + 16, np.float32) * condition)


def reconstructed_search() -> Group:
    """Return the vectors of search in reconstructed space: reconstruction against reconstruction."""
    divided = "(clamped_norm(x_hat_q) * clamped_norm(x_hat))"
    flags = {
        "Gram": Flag("the codes are compared as they are, as if all atoms were orthogonal", ("E16",), _with(space="sparse")),
        "ReconstructionNorms": Flag("scores are divided by the norms of the codes, not of their reconstructions", ("E16",), ((divided, "(code_norm(query[1]) * code_norm(item[1]))"),)),
        "QueryNorm": Flag("the norm of the query's reconstruction is left out", ("E16",), ((divided, "clamped_norm(x_hat)"),)),
        "ById": BY_ID,
        "BestFirst": BEST_FIRST,
        "ZeroCode": Flag("a code of zeros has the score NaN", ("R6",), (("return max(norm(a), 1e-8)  # R6", "return norm(a)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(22)
    W_dec = unit_atoms(rng, 12, 8)
    found = [codes(rng, 400, 12, 3), codes(rng, 200, 12, 3)]
    (indices, values), (asked, asked_values) = (_exact_norms(*pair, W_dec) for pair in found)
    items: Values = {"space": "reconstructed", "top": 10, "n_latents": 12, "W_dec": W_dec}
    items |= {"indices": indices[:10], "values": values[:10]}
    query: Values = {"query_indices": asked[:3], "query_values": asked_values[:3]}
    zeros = items | {"values": np.where(np.arange(10)[:, None] % 4 == 1, 0, items["values"]).astype(np.float32)}
    random: Values = {"space": "reconstructed", "top": 1, "n_latents": 40, "W_dec": random_atoms(rng, 40, 24)}
    random |= {"indices": codes(rng, 12, 40, 6)[0], "values": f32(rng.standard_normal((12, 6)))}
    random |= {"query_indices": codes(rng, 3, 40, 6)[0], "query_values": f32(rng.standard_normal((3, 6)))}
    cases = [
        Case("exact scores, many of them equal", ("Gram", "ReconstructionNorms", "QueryNorm", "ById", "BestFirst"), items | query),
        Case("codes of zeros", ("ZeroCode",), zeros | query),
        Case("any codes, the best one", ("Gram", "ReconstructionNorms"), random, bounds=lambda given, _: _separated(given, _reconstruction_bound(given))),
    ]  # fmt: skip
    header = [
        *HEADER,
        "The bound of scores is 2γ_{3d+2k+16} times Σ|v_q| / ‖x̂_q‖ and the largest Σ|v| / ‖x̂‖: every sum in two orders.",
    ]
    return Group("reconstructed_search", "search", header, flags, cases)


def _exact_norms(indices: Any, values: Any, W_dec: Any) -> tuple[Any, Any]:
    """Return the codes whose reconstructions have a power of two as their norm."""
    values = np.sign(values)
    squares = (np.einsum("nk,nkd->nd", values, W_dec[indices]) ** 2).sum(axis=1)
    mantissa, exponent = np.frexp(squares)
    good = (mantissa == 0.5) & (exponent % 2 == 1)  # 4ᵐ = 1/2 · 2²ᵐ⁺¹
    return indices[good], values[good]


def _in_float64(inputs: Values) -> Values:
    """Return the inputs in float64, with values divided by 3 so that float32 cannot represent them."""
    wide = {name: inputs[name].astype(np.float64) for name in ("W_dec", "values", "queries")}
    return inputs | wide | {"values": wide["values"] / 3}


def asymmetric_search() -> Group:
    """Return the vectors of search in asymmetric space: a dense query against reconstructions."""
    flags = {
        "ReconstructionNorm": Flag("scores are divided by the norm of the code, not of its reconstruction", ("E17",), (("item[0], item[1]) / clamped_norm(x_hat)", "item[0], item[1]) / code_norm(item[1])"),)),
        "UnitQuery": Flag("the query is not made a unit row", ("E3", "E17"), (("return [value / length for value in scaled]", "return x"),)),
        "ById": BY_ID,
        "BestFirst": BEST_FIRST,
        "ZeroCode": Flag("a code of zeros has the score NaN", ("R6",), (("return max(norm(a), 1e-8)  # R6", "return norm(a)"),)),
        "ZeroQuery": ZERO_QUERY,
        "NotFinite": NOT_FINITE,
        "OtherDimension": OTHER_DIMENSION,
    }  # fmt: skip
    rng = np.random.default_rng(23)
    W_dec = unit_atoms(rng, 12, 8)
    indices, values = _exact_norms(*codes(rng, 400, 12, 3), W_dec)
    items: Values = {"space": "asymmetric", "top": 10, "n_latents": 12, "W_dec": W_dec}
    items |= {"indices": indices[:10], "values": values[:10]}
    queries = exact_rows(rng, 3, 8, 4) * f32([[1], [8], [0.25]])
    zeros = items | {"values": np.where(np.arange(10)[:, None] % 4 == 1, 0, items["values"]).astype(np.float32)}
    random: Values = {"space": "asymmetric", "top": 1, "n_latents": 40, "W_dec": random_atoms(rng, 40, 24)}
    random |= {"indices": codes(rng, 12, 40, 6)[0], "values": f32(rng.standard_normal((12, 6)))}
    random |= {"queries": f32(rng.standard_normal((3, 24)))}
    zero, infinite = queries.copy(), queries.copy()
    zero[2], infinite[1, 3] = 0, np.inf
    cases = [
        Case("exact scores, many of them equal", ("ReconstructionNorm", "UnitQuery", "ById", "BestFirst"), items | {"queries": queries}),
        Case("codes of zeros", ("ZeroCode",), zeros | {"queries": queries}),
        Case("any codes, the best one", ("ReconstructionNorm", "UnitQuery"), random, bounds=lambda given, _: _separated(given, _reconstruction_bound(given))),
        Case("any codes in float64, the best one", ("ReconstructionNorm", "UnitQuery"), _in_float64(random), bounds=lambda given, _: _separated(given, _reconstruction_bound(given)), needs=("float64",)),
        Case("a zero query", ("ZeroQuery",), items | {"queries": zero}, error="DomainError", row=2),
        Case("infinity in a query", ("NotFinite",), items | {"queries": infinite}, error="DomainError", row=1),
        Case("queries of 7 dimensions for atoms of 8", ("OtherDimension",), items | {"queries": queries[:, :7].copy()}, error="ShapeError"),
    ]  # fmt: skip
    header = [*HEADER, "The bound of scores is 2γ_{3d+2k+16} times the largest Σ|v| / ‖x̂‖: every sum in two orders."]
    return Group("asymmetric_search", "search", header, flags, cases)


def _expanded_bound(inputs: Values) -> dict[str, float]:
    """Return the bound of asymmetric space, after checking that rounding cannot change the selection of a query."""
    bound, d = _reconstruction_bound(inputs), inputs["W_dec"].shape[1]
    x_unit = inputs["queries"].astype(np.float64)
    x_unit /= np.linalg.norm(x_unit, axis=1, keepdims=True)
    magnitudes = -np.sort(-np.abs(x_unit @ inputs["W_dec"].astype(np.float64).T), axis=1)
    if (magnitudes[:, inputs["m"] - 1] - magnitudes[:, inputs["m"]]).min() <= 4 * gamma(2 * d + 8, np.float32):
        raise BrokenVectorError("what queries keep is not separated")
    outputs = Spec().answer("expanded_search", inputs | {"top": 2})
    if (outputs["scores"][:, 0] - outputs["scores"][:, 1]).min() <= 2 * bound:
        raise BrokenVectorError(f"scores are not separated for a bound of {bound}")
    return {"scores": bound}


def expanded_search() -> Group:
    """Return the vectors of search in expanded space: the largest entries of a query against reconstructions."""
    flags = {
        "Expansion": Flag("the query keeps all of its entries", ("E23",), (("abs_topk(over_latents(x_unit, W_dec), m)", "abs_topk(over_latents(x_unit, W_dec), len(W_dec))"), ("for t in range(m):", "for t in range(len(W_dec)):"))),
        "Magnitude": Flag("the query keeps its largest entries, not those of largest magnitude", ("R1", "E23"), (("(-abs(pre[j]), j))  # R1", "(-pre[j], j))"),)),
        "ReconstructionNorm": Flag("scores are divided by the norm of the code, not of its reconstruction", ("E23",), _expanded(lambda run, query, item, atoms, m: run.expanded_cosine(query, item, atoms, m) * run.clamped_norm(run.decode(item[0], item[1], atoms)) / run.code_norm(item[1]))),
        "QueryNorm": Flag("scores are divided by the norm of what the query keeps", ("E23",), _expanded(lambda run, query, item, atoms, m: run.expanded_cosine(query, item, atoms, m) / run.code_norm(run.abs_topk(run.over_latents(query, atoms), m)[1]))),
        "UnitQuery": Flag("the query is not made a unit row", ("E3", "E23"), (("return [value / length for value in scaled]", "return x"),)),
        "ById": BY_ID,
        "NotFinite": NOT_FINITE,
        "MTooLarge": Flag("m > h is not refused", ("R2", "E23"), accepts),
        "TopZero": TOP_ZERO,
        "OtherDimension": OTHER_DIMENSION,
    }  # fmt: skip
    rng = np.random.default_rng(24)
    W_dec = unit_atoms(rng, 12, 8)
    indices, values = _exact_norms(*codes(rng, 400, 12, 3), W_dec)
    items: Values = {"top": 10, "m": 5, "n_latents": 12, "W_dec": W_dec}
    items |= {"indices": indices[:10], "values": values[:10]}
    queries = exact_rows(rng, 3, 8, 4) * f32([[1], [8], [0.25]])
    random: Values = {"top": 1, "m": 8, "n_latents": 40, "W_dec": random_atoms(rng, 40, 24)}
    random |= {"indices": codes(rng, 12, 40, 6)[0], "values": f32(rng.standard_normal((12, 6)))}
    random |= {"queries": f32(rng.standard_normal((3, 24)))}
    infinite = queries.copy()
    infinite[1, 3] = np.inf
    cases = [
        Case("exact scores, many of them equal", ("Expansion", "Magnitude", "ReconstructionNorm", "QueryNorm", "UnitQuery", "ById"), items | {"queries": queries}),
        Case("one entry", ("Expansion",), items | {"queries": queries, "m": 1}),
        Case("any codes, the best one", ("Expansion", "ReconstructionNorm", "UnitQuery"), random, bounds=lambda given, _: _expanded_bound(given)),
        Case("infinity in a query", ("NotFinite",), items | {"queries": infinite}, error="DomainError", row=1),
        Case("more entries than latents", ("MTooLarge",), items | {"queries": queries, "m": 13}, error="DomainError"),
        Case("top = 0", ("TopZero",), items | {"queries": queries, "top": 0}, error="DomainError"),
        Case("queries of 9 dimensions for atoms of 8", ("OtherDimension",), items | {"queries": np.pad(queries, ((0, 0), (0, 1)))}, error="ShapeError"),
    ]  # fmt: skip
    header = [
        *HEADER,
        "The bound of scores is that of asymmetric_search; what queries keep is separated by more than rounding.",
    ]
    return Group("expanded_search", "expanded_search", header, flags, cases)


def _expanded(score: Callable[..., Any]) -> Bug:
    """Return the bug of a program that computes another score."""

    def bug(inputs: Values, outputs: Values) -> Answer:
        run, atoms = Spec().program(inputs["W_dec"].dtype), listed(inputs["W_dec"])
        items = list(zip(inputs["indices"].tolist(), listed(inputs["values"]), strict=True))
        asked = [run.unit_row(query) for query in listed(inputs["queries"])]
        scores = [[score(run, query, item, atoms, inputs["m"]) for item in items] for query in asked]
        ids = [run.best(row, inputs["top"]) for row in scores]
        best = [[row[i] for i in found] for row, found in zip(scores, ids, strict=True)]
        return {"outputs": {"ids": np.array(ids, np.int64), "scores": np.array(best, inputs["W_dec"].dtype)}}

    return bug


GROUPS = (sparse_search, reconstructed_search, asymmetric_search, expanded_search)
