"""Vectors of training for sparse space: shares, the similarity loss and its gradients, steps, and kept latents."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.backends.rounding import gamma
from spec.generate.answers import Values
from spec.generate.build import Case, Flag, Group, accepts, dyadic, exact_rows, f32, names_row
from spec.generate.training import MEASURED, NO_FOLD, measured, tiny

OWN_ROW = Flag("the row itself is compared, too", ("R22", "E30"), (("[0.0 if j == i else exponential(z[j] - largest)", "[exponential(z[j] - largest)"),))  # fmt: skip
FOLD = Flag("sums over rows do not fold: only who promises the same bits has to", ("E1", "E30"), (NO_FOLD,), bits=True)


def _wide(inputs: Values) -> Values:
    """Return the inputs with all float32 arrays in float64."""
    return {
        name: value.astype(np.float64) / 3 if isinstance(value, np.ndarray) and value.dtype == np.float32 else value
        for name, value in inputs.items()
    }


def softmax_others() -> Group:
    """Return the vectors of shares."""
    flags = {
        "OwnRow": OWN_ROW,
        "EqualRows": Flag("equal rows are left out like the row itself", ("R22",), (("0.0 if j == i else exponential", "0.0 if c[j] == c[i] else exponential"),)),
        "Factor": Flag("cosines are not multiplied by the factor", ("E30",), (("z = [factor * float(value) for value in c]", "z = [float(value) for value in c]"),)),
        "Largest": Flag("the largest number is not subtracted, so that the exponential overflows", ("E30",), (("exponential(z[j] - largest)", "exponential(z[j])"),)),
        "LargestOfOthers": Flag("the largest number is that of the row itself, so that all others underflow", ("E30", "R22"), (("for j in range(len(z)) if j != i])", "for j in range(len(z))])"),)),
        "InDouble": Flag("float32 shares are not computed in float64", ("E30",), (("factor * float(value)", "factor * value"),)),
        "Underflow": Flag("exp(x) is not 0 below −700", ("E29",), (("if x < -700.0:", "if x < -750.0:"),)),
        "SecondPart": Flag("the second part of ln 2 is not subtracted", ("E29",), ((' - n * float.fromhex("0x1.a39ef35793c76p-33")', ""),)),
        "Terms": Flag("the series ends too soon", ("E29",), (("range(13, -1, -1)", "range(9, -1, -1)"),)),
        "Nearest": Flag("n is not the nearest integer", ("E29",), (("* 1.4426950408889634 + 0.5)", "* 1.4426950408889634)"),), bits=True),
        "Library": Flag("the exponential is that of a library: only who promises the same bits must not", ("E29",), (("    series = 0.0\n", "    return math.exp(x)\n"),), bits=True),
        "Fold": FOLD,
    }  # fmt: skip
    rng = np.random.default_rng(61)
    ones = f32(np.where(np.arange(4) < 3, 1, -1))
    wide = np.full((3, 3), 0.5)
    wide[0] = [1, 0.5, 0.5 - 705 / 1024]
    wide[1], wide[2] = [0.5, 1, 0.5 - 702 / 1024], [0.5 - 701 / 1024, 0.5, 1]
    any_cosines, many = f32(rng.uniform(-1, 1, (6, 6))), rng.uniform(-1, 1, (18, 18))
    below = f32([[1, -0.5, -0.5], [0, 1, 0.25], [-1, -0.75, 1]])
    cases = [
        Case("two rows", ("OwnRow",), {"cosines": f32([[1, 0.5], [0.25, 1]]), "factor": np.array(5.0)}),
        Case("three equal rows and their opposite", ("EqualRows", "OwnRow"), {"cosines": np.outer(ones, ones), "factor": np.array(4096.0)}),
        Case("an extreme factor, ties, and a row that is nearest to itself", ("Largest", "LargestOfOthers"), {"cosines": below, "factor": np.array(2.0**20)}),
        Case("a factor of zero", ("OwnRow", "Factor"), {"cosines": any_cosines[:5, :5].copy(), "factor": np.array(0.0)}),
        Case("numbers below −700", ("Underflow",), {"cosines": wide, "factor": np.array(1024.0)}, needs=("float64",)),
        Case("any cosines", ("OwnRow", "Factor"), {"cosines": any_cosines, "factor": np.array(31.7)}, bounds=_share_bounds),
        Case("a large factor", ("InDouble", "OwnRow"), {"cosines": f32(any_cosines / 64 + 0.75), "factor": np.array(313.7)}, bounds=_share_bounds),
        Case("any cosines in float64", ("OwnRow", "Factor", "SecondPart", "Terms", "Nearest", "Library", "Fold"), {"cosines": many, "factor": np.array(12.3)}, bounds=_share_bounds, needs=("float64",)),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact: any order gives these bits.",
        "The bound is that of exponents up to 2f, of sums in any order and of an exponential within two units in the last "
        "place, all in float64, and one rounding to the dtype.",
    ]
    return Group("softmax_others", "softmax_others", header, flags, cases)


def _share_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    cosines, factor = inputs["cosines"], float(inputs["factor"])
    in_float64 = gamma(int(4 * factor) + 2 * len(cosines) + 16, np.float64)
    return {"shares": in_float64 + (float(np.finfo(cosines.dtype).eps) if cosines.dtype == np.float32 else 0)}


def _model(rng: np.random.Generator, d: int, h: int, k: int) -> Values:
    settings = {"temperature": np.array(0.2), "weight": np.array(0.7)}
    return tiny(rng, 0, d, h) | {"k": k} | settings


def similarity_gradients() -> Group:
    """Return the vectors of the similarity loss and of the gradients of a batch."""
    flags = {
        "OwnRow": OWN_ROW,
        "Temperature": Flag("dense cosines are not divided by τ", ("E31",), (("i, 1 / tau)", "i, 1.0)"),)),
        "CodeTemperature": Flag("cosines of codes are not divided by τ", ("E31",), (("i, alpha / tau)", "i, alpha)"),)),
        "Scale": Flag("the scale is θ, not exp(θ)", ("E31",), (("exponential(theta)", "theta"),)),
        "OwnScale": Flag("both lengths of queries have the same scale", ("E31",), (("h, tau, w, theta[1])", "h, tau, w, theta[0])"),)),
        "LongQueries": Flag("queries have only k entries", ("E31",), (("compare(p, longs, codes,", "compare(p, codes, codes,"),)),
        "ShortItems": Flag("items have k_aux entries, too", ("E31",), (("compare(p, longs, codes,", "compare(p, longs, longs,"),)),
        "Weight": Flag("gradients are not multiplied by w", ("E31", "E32"), (("rounded(w * alpha /", "rounded(alpha /"),)),
        "MeanOverBatch": Flag("the loss is a sum over the batch, not its mean", ("E31", "E32"), (("(tau * n), S[0][0])", "tau, S[0][0])"),)),
        "Factor": Flag("gradients are not multiplied by α / τ", ("E32",), (("rounded(w * alpha / (tau * n),", "rounded(w / n,"),)),
        "Norms": Flag("gradients are not divided by the norms of codes", ("E32",), (("G[i][j] / (code_norm(queries[i][1]) * code_norm(items[j][1]))", "G[i][j]"),)),
        "AsItem": Flag("a code gets no gradient as an item", ("E32",), (("(H[i][j] + H[j][i]) + H_aux[i][j]", "H[i][j] + H_aux[i][j]"),)),
        "AsQuery": Flag("a code gets no gradient as a query of k entries", ("E32",), (("(H[i][j] + H[j][i]) + H_aux[i][j]", "H[j][i] + H_aux[i][j]"),)),
        "AsLongQuery": Flag("a code gets no gradient as a part of the longer query", ("E32",), (("(H[i][j] + H[j][i]) + H_aux[i][j]", "H[i][j] + H[j][i]"),)),
        "AsItemOfLong": Flag("a code gets no gradient as an item of longer queries", ("E32",), (("(dot(as_item, values_of(j, longs)) - (a + b) * v)", "(0.0 - (a + b) * v)"),)),
        "RestGradient": Flag("the rest gets no gradient", ("E32",), (("[dot(H_aux[i], values_of(j, codes)) - b * v for", "[0.0 * v for"),)),
        "Along": Flag("norms of codes are constants", ("E32",), (("return total / (length * length) if", "return 0.0 * total if"),)),
        "AlongItem": Flag("the norm of an item is a constant", ("E32",), (("along(q[i] + t[i], codes[i][1]) + along(t_aux[i], codes[i][1])", "along(q[i], codes[i][1])"),)),
        "AlongLong": Flag("the norm of a longer query is a constant", ("E32",), (("b = along(q_aux[i], longs[i][1])", "b = 0.0"),)),
        "ClampedNorm": Flag("a clamped norm is differentiated", ("R6", "E32"), (("if length > 1e-8 else 0.0", ""),)),
        "ScaleGradient": Flag("the gradient of θ is that of α", ("E33",), (("return H, q, t, fold_sum([float", "return H, q, t, 1 / alpha * fold_sum([float"),)),
        "Reconstruction": Flag("the gradient of E7' is left out", ("E32",), (("plain[t] + own[t] for", "own[t] for"),)),
        "OneRow": Flag("a batch of one row is refused", ("R22",), (("    if n < 2:  # R22\n", "    if False:\n"),)),
    }  # fmt: skip
    rng = np.random.default_rng(62)
    model = _model(rng, 12, 16, 2) | {"theta": np.array([0.5, -0.75])}
    x = f32(rng.standard_normal((5, 12)) + 0.5)
    full = _model(rng, 8, 10, 3) | {"theta": np.array([0.25, 0.5])}
    equal = f32(rng.standard_normal((6, 8)))
    equal[3:] = equal[:3] * f32([[1], [2], [-1]])
    small = _model(rng, 8, 10, 2) | {"theta": np.zeros(2)}
    short = f32(rng.standard_normal((4, 8)))
    short[:, 0], short[1] = 0, 0
    short[1, 0] = 1
    small["b_enc"] = np.zeros_like(small["b_enc"])
    small["W_enc"][0] *= f32(2.0**-29)
    others = ("OneRow", "ClampedNorm")
    every, bounds = tuple(name for name in flags if name not in others), _gradient_bounds
    cases = [
        Case("five rows", every, model | {"x": x}, bounds=bounds),
        Case("4k is more than h; equal rows and opposite rows", ("OwnRow", "AsItem", "RestGradient", "Along"), full | {"x": equal}, bounds=bounds),
        Case("a row whose codes are shorter than 1e-8", ("ClampedNorm",), small | {"x": short}, bounds=bounds),
        Case("k = h: there is no rest", ("AsItem", "Along"), full | {"x": equal[:3], "k": 10}, bounds=bounds),
        Case("in float64", ("AsItem", "AlongLong", "ScaleGradient"), _wide(model | {"x": x[:4]}), bounds=bounds, needs=("float64",)),
        Case("one row", ("OneRow",), full | {"x": equal[:1]}, bounds=bounds),
    ]  # fmt: skip
    header = [MEASURED, "The similarity loss may be computed in the dtype: its bound is at least 8ε max(1, α) / τ."]
    return Group("similarity_gradients", "similarity_gradients", header, flags, cases)


def _gradient_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    bounds = measured("similarity_gradients")(inputs, outputs)
    bounds = {name: bound for name, bound in bounds.items() if outputs[name].any()}
    largest = max(1.0, *np.exp(inputs["theta"])) / float(inputs["temperature"])
    least = 8 * float(np.finfo(inputs["W_enc"].dtype).eps) * largest
    return bounds | {"loss_similarity": max(bounds.get("loss_similarity", 0), least)}


def distill_steps() -> Group:
    """Return the vectors of three steps of a tiny model."""
    flags = {
        "ScaleMoves": Flag("θ does not move", ("R24",), (("    move_scales(scales, grad_theta, t)\n", ""),)),
        "ScaleRate": Flag("the learning rate of θ is not 0.01", ("R24",), (("v[i], t, 0.01, 0.9", "v[i], t, 0.02, 0.9"),)),
        "ScaleStep": Flag("the steps of θ are not counted", ("R24",), (("v[i], t, 0.01, 0.9", "v[i], 1, 0.01, 0.9"),)),
        "ScaleStart": Flag("θ starts at another number than 0", ("R24",), (("return [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]", "return [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]"),)),
        "AfterStep": Flag("atoms are not made unit rows after the step", ("R8",), (("return W_enc, b_enc, renormalize(W_dec)", "return W_enc, b_enc, W_dec"),)),
    }  # fmt: skip
    rng = np.random.default_rng(63)
    inputs = _model(rng, 8, 10, 2) | {"lr": np.array(0.02), "batches": f32(rng.standard_normal((3, 4, 8)) + 0.5)}
    cases = [Case("three steps", tuple(flags), inputs, bounds=measured("distill_steps"))]
    return Group("distill_steps", "distill_steps", [MEASURED], flags, cases)


def kept_latents() -> Group:
    """Return the vectors of the most used latents."""
    order = "key=lambda j: (-used[j], j))\n    return sorted(order[:m])"
    flags = {
        "MostUsed": Flag("the least used latents are kept", ("R23",), ((order, "key=lambda j: (used[j], j))\n    return sorted(order[:m])"),)),
        "Tie": Flag("of equally used latents the higher one is kept", ("R23",), ((order, "key=lambda j: (-used[j], -j))\n    return sorted(order[:m])"),)),
        "Ascending": Flag("latents come in the order of their use", ("R23",), ((order, "key=lambda j: (-used[j], j))\n    return order[:m]"),)),
        "AtK": Flag("the longer codes are counted", ("R23",), (("in encode(unit_row(rows[i]), W_enc, b_enc, k)[0]:", "in encode(unit_row(rows[i]), W_enc, b_enc, min(4 * k, len(used)))[0]:"),)),
        "Rows": Flag("the sums of magnitudes decide", ("R23",), (("in encode(unit_row(rows[i]), W_enc, b_enc, k)[0]:\n            used[j] = used[j] + 1", "in range(len(used)):\n            used[j] = used[j] + abs(pre_activations(unit_row(rows[i]), W_enc, b_enc)[j])"),)),
        "TooMany": Flag("m > h is not refused", ("R23",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(60)
    inputs: dict[str, Any] = {"x": exact_rows(rng, 12, 8, 4), "W_enc": dyadic(rng, (8, 10)), "b_enc": dyadic(rng, (10,)), "k": 2, "m": 5}  # fmt: skip
    cases = [
        Case("twelve rows", ("MostUsed", "Tie", "Ascending", "AtK", "Rows"), inputs),
        Case("all latents", ("Ascending",), inputs | {"m": 10}),
        Case("more latents than there are", ("TooMany",), inputs | {"m": 11}, error="DomainError"),
    ]
    header = ["All sums are exact: any order gives these latents."]
    return Group("kept_latents", "kept_latents", header, flags, cases)


ONE_WAY = Flag("a pair counts in one direction", ("R25",), (("        related[b].add(a)\n", ""),))


def related_batches() -> Group:
    """Return the vectors of batches with partners."""
    partner = "rows.add(related[i][(t - 1) % len(related[i])])"
    flags = {
        "Partner": Flag("drawn rows have no partners", ("R25",), ((partner, "pass"),)),
        "OnePartner": Flag("all related rows of a drawn row come", ("R25",), ((partner, "rows.update(related[i])"),)),
        "InTurn": Flag("the partner is the same in every step", ("R25",), (("(t - 1) % len", "0 % len"),)),
        "FromOne": Flag("the first step is number 0", ("R25",), (("(t - 1) % len", "t % len"),)),
        "AscendingPartners": Flag("related rows are not in ascending order", ("R25",), (("sorted(others)", "sorted(others)[::-1]"),)),
        "OneWay": ONE_WAY,
        "PairOnce": Flag("a pair that is given in both directions counts twice", ("R25",), (("[set() for _ in range(n)]", "[[] for _ in range(n)]"), ("related[a].add(b)", "related[a].append(b)"), ("related[b].add(a)", "related[b].append(a)"))),
        "RowOnce": Flag("a row that is drawn and a partner comes twice", ("R25",), (("rows = set(drawn)", "rows = list(drawn)"), (partner, partner.replace("add", "append")))),
        "Ascending": Flag("partners come after the drawn rows", ("R25",), (("return sorted(rows)", "return drawn + sorted(rows - set(drawn))"),)),
        "WithItself": Flag("a row that is related to itself is not refused", ("R25",), lambda inputs, _: {"outputs": {"rows": inputs["drawn"]}}),
        "PairRow": Flag("the error does not name the row of the pair", ("R25",), names_row(0)),
    }  # fmt: skip
    pairs = np.array([[0, 7], [3, 9], [9, 3], [5, 3], [3, 1], [8, 6]])
    drawn = np.array([9, 3, 4, 8])
    every = tuple(name for name in flags if name not in ("WithItself", "PairRow", "AscendingPartners"))
    cases = [
        Case("the first step", ("Partner", "OnePartner", "FromOne", "AscendingPartners", "Ascending"), {"drawn": drawn, "pairs": pairs, "step": 1}),
        Case("the fifth step, in which a drawn row is a partner", every, {"drawn": drawn, "pairs": pairs, "step": 5}),
        Case("a large step", ("Partner", "OnePartner", "InTurn", "FromOne"), {"drawn": drawn[1:], "pairs": pairs, "step": 1_000_001}),
        Case("drawn rows without related rows", ("Ascending",), {"drawn": np.array([2, 4, 0]), "pairs": pairs, "step": 2}),
        Case("a row that is related to itself", ("WithItself", "PairRow"), {"drawn": drawn, "pairs": np.array([[0, 7], [1, 2], [3, 3]]), "step": 1}, error="DomainError", row=2),
    ]  # fmt: skip
    return Group("related_batches", "related_batches", ["Row numbers: there is nothing to round."], flags, cases)


def related_targets() -> Group:
    """Return the vectors of targets."""
    mixed = "[kept * p[i][j] + added * R[i][j] for j in range(len(p))]"
    in_double = "[rounded((1.0 - share) * float(p[i][j]) + share / q * R[i][j], p[i][j]) for j in range(len(p))]"
    flags = {
        "Shares": Flag("the shares are not multiplied by 1 − λ", ("E34",), (("rounded(1.0 - share,", "rounded(1.0,"),)),
        "Divided": Flag("λ is not divided by the number of related rows", ("E34",), (("rounded(share / q,", "rounded(share,"),)),
        "Unrelated": Flag("the shares of a row without related rows are multiplied, too", ("E34",), (("if q == 0:", "if q < 0:"), ("share / q,", "share / max(q, 1),"))),
        "InBatch": Flag("related rows that are not in the batch count", ("E34",), (("[[1 if j in related[i] else 0 for j in rows] for i in rows]", "[[1 if j in related[i] else 0 for j in rows] + [1] * len(set(related[i]) - set(rows)) for i in rows]"),)),
        "ByNumber": Flag("a place in the batch is taken for a row number", ("E34",), (("1 if j in related[i] else 0 for j in rows] for i in rows", "1 if j in related[i] else 0 for j in range(len(rows))] for i in range(len(rows))"),)),
        "OneWay": ONE_WAY,
        "Rounded": Flag("1 − λ and λ / q are not rounded to the dtype: only who promises the same bits must", ("E34",), ((mixed, in_double),), bits=True),
        "Fused": Flag("a multiply-add is fused: only who promises the same bits must not", ("E34",), ((mixed, mixed.replace("kept * p[i][j] + added * R[i][j]", "fma(kept, p[i][j], added * R[i][j])")),), bits=True),
    }  # fmt: skip
    rng = np.random.default_rng(66)
    rows = np.array([1, 3, 4, 5, 8, 9])
    pairs = np.array([[3, 1], [9, 3], [3, 7], [0, 8], [5, 4], [4, 5], [4, 9], [4, 1], [6, 0]])
    powers = f32(np.where(np.eye(6), 0, 1 / 8))
    shares = f32(rng.random((6, 6)) * (1 - np.eye(6)))
    shares /= shares.sum(axis=1, keepdims=True)
    inputs = {"rows": rows, "pairs": pairs}
    every = tuple(name for name in flags if not flags[name].bits)
    cases = [
        Case("powers of two", ("Shares", "Divided", "InBatch", "ByNumber", "OneWay"), inputs | {"shares": powers, "relevance_weight": np.array(0.25)}),
        Case("nothing but relations", every, inputs | {"shares": powers, "relevance_weight": np.array(1.0)}),
        Case("any shares", (*every, "Rounded", "Fused"), inputs | {"shares": shares, "relevance_weight": np.array(0.3)}, bounds=_target_bounds),
        Case("any shares in float64", (*every, "Fused"), inputs | {"shares": shares.astype(np.float64) / 3, "relevance_weight": np.array(0.03)}, bounds=_target_bounds, needs=("float64",)),
        Case("no related rows in the batch", ("Unrelated",), {"rows": np.array([2, 6, 8]), "pairs": pairs, "shares": powers[:3, :3].copy(), "relevance_weight": np.array(0.5)}),
    ]  # fmt: skip
    header = ["The bound is that of three roundings of numbers up to 1. Where there are none, all results are exact."]
    return Group("related_targets", "related_targets", header, flags, cases)


def _target_bounds(inputs: Values, outputs: Values) -> dict[str, float]:
    return {"targets": gamma(4, inputs["shares"].dtype)}


def related_gradients() -> Group:
    """Return the vectors of gradients of a batch with relations."""
    used = "p = p if R is None else related_targets(p, R, share)  # section 5"
    flags = {
        "Target": Flag("the gradients are those without relations", ("E34",), ((used, "pass"),)),
        "LongQueries": Flag("the target of the longer queries has no relations", ("E34",), ((used, f"plain = p\n    {used}"), ("compare(p, longs, codes,", "compare(plain, longs, codes,"))),
        "Unrelated": Flag("the shares of a row without related rows are multiplied, too", ("E34",), (("if q == 0:", "if q < 0:"), ("share / q,", "share / max(q, 1),"))),
    }  # fmt: skip
    rng = np.random.default_rng(65)
    model = _model(rng, 12, 16, 2) | {"theta": np.array([0.5, -0.75]), "x": f32(rng.standard_normal((5, 12)) + 0.5)}
    related = {"rows": np.array([2, 3, 5, 7, 11]), "pairs": np.array([[2, 5], [7, 2], [11, 4], [5, 2]])}
    inputs = model | related | {"relevance_weight": np.array(0.4)}
    cases = [
        Case("five rows, of which three are related", tuple(flags), inputs, bounds=_gradient_bounds),
        Case("nothing but relations, in float64", tuple(flags), _wide(inputs | {"relevance_weight": np.array(1.0)}), bounds=_gradient_bounds, needs=("float64",)),
    ]  # fmt: skip
    header = [MEASURED, "The similarity loss may be computed in the dtype: its bound is at least 8ε max(1, α) / τ."]
    return Group("related_gradients", "related_gradients", header, flags, cases)


GROUPS = (
    *(softmax_others, similarity_gradients, distill_steps, kept_latents),
    *(related_batches, related_targets, related_gradients),
)
