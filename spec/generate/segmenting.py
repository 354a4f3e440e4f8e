"""Vectors of segments: membership, contrasts, counts, trends, sites, hierarchy and matching."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.verify.segments_answers import COUNTED
from spec.generate.answers import Spec, Values
from spec.generate.build import (
    Answer,
    Case,
    Flag,
    Group,
    accepts,
    exact_exp,
    exact_rows,
    f32,
    fused_products,
    names_row,
    random_atoms,
)
from spec.generate.training import MEASURED, measured

EXACT = "All bits are stated: sums run in the stated order, and there are no bounds."


def assign_segments() -> Group:
    """Return the vectors of membership."""
    flags = {
        "Ties": Flag("of equal magnitudes the higher latent is first", ("R29",), (("(-abs(values[t]), indices[t]))", "(-abs(values[t]), -indices[t]))"),)),
        "Magnitude": Flag("the largest values come first, not the largest magnitudes", ("R29",), (("(-abs(values[t]), indices[t]))", "(-values[t], indices[t]))"),)),
        "Sign": Flag("signs are ignored", ("R30",), (("(indices[t], 1 if values[t] > 0 else -1)", "(indices[t], 1)"),)),
        "Zero": Flag("entries of value 0 are used", ("R29",), (("used = [t for t in order if values[t] != 0]", "used = order"),)),
        "Norm": Flag("strengths are not divided by the norm of the code", ("E39",), (("in_float32(abs(values[t]) / length)", "in_float32(abs(values[t]))"),)),
        "InFloat32": Flag("strengths are not rounded to float32", ("E39",), (("in_float32(abs(values[t]) / length)", "abs(values[t]) / length"),)),
        "Threshold": Flag("the threshold is not rounded to float32", ("E39", "R29"), (("if strength >= in_float32(threshold)", "if strength >= threshold"),)),
        "AtThreshold": Flag("an entry at the threshold is no candidate", ("R29",), (("if strength >= in_float32(threshold)", "if strength > in_float32(threshold)"),)),
        "Strongest": Flag("an item without a strong entry has no candidate", ("R29",), (("return strong or entries[:1]", "return strong"),)),
        "Top": Flag("an item has one candidate with every rule", ("R29",), (('entries[:1] if assign == "dominant" else entries[:top]', "entries[:1]"),)),
        "Every": Flag("all entries are candidates with every rule", ("R29",), (('entries[:1] if assign == "dominant" else entries[:top]', "entries"),)),
        "MinItems": Flag("a segment needs more than min_items items", ("R30",), (("count[key] >= min_items", "count[key] > min_items"),)),
        "NegativeFirst": Flag("− is numbered before +", ("R30",), (("key=lambda key: (key[0], -key[1])", "key=lambda key: key"),)),
        "MovesOn": Flag("items of small segments do not move on", ("R30",), (("found.append(candidates(left, assign, top, threshold))", "found.append([(keys.index(key), v) for key, v in candidates(entries, assign, top, threshold) if key in keys])"),)),
        "NoSegment": Flag("codes without a segment are not refused", ("R30",), accepts),
        "MinItemsZero": Flag("min_items = 0 is not refused", ("R30",), accepts),
        "TopZero": Flag("top = 0 is not refused", ("R29",), accepts),
        "ThresholdOne": Flag("a threshold of 1 is not refused", ("R29",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(81)

    def rule(assign: str, min_items: int, top: int = 3, threshold: float = 0.25) -> Values:
        return {"assign": assign, "top": top, "threshold": np.array(threshold), "min_items": min_items}

    ties = {
        "indices": np.array([[0, 2, 3], [0, 2, 3], [1, 2, 3], [1, 2, 3], [0, 1, 4], [0, 1, 4]], np.int32),
        "values": f32([[2, -2, 1], [-1, 2, 2], [-2, 2, 1], [-2, -1, 2], [0, 0, 0], [0, 4, 0]]),
        "n_latents": 6,
    }
    tenths = {
        "indices": np.array([[0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3, 5]], np.int32),
        "values": np.array([[7.0, -7, 1, 1], [1, -1, 7, -7], [3, 3, -3, 3]]),
        "n_latents": 6,
    }
    fifths = {"indices": np.array([[0, 1], [0, 1]], np.int32), "values": np.array([[3.0, 4], [-4, 3]]), "n_latents": 2}
    two = fifths | {"values": f32(fifths["values"])}
    n, k = 24, 4
    indices = np.sort(rng.random((n, 9)).argsort(axis=1)[:, :k], axis=1).astype(np.int32)
    values = rng.standard_normal((n, k)) + (indices == 2)
    values[3], values[4, 1:] = 0, 0
    many = {"indices": indices, "values": f32(values), "n_latents": 9}
    wide = many | {"indices": indices[:12], "values": values[:12] / 3}
    small = measured("assign_segments")
    cases = [
        Case("ties, both signs and codes with zeros", ("Ties", "Sign", "NegativeFirst"), ties | rule("dominant", 1)),
        Case("segments of two items", ("Ties", "Magnitude", "MinItems"), ties | rule("dominant", 2)),
        Case("top 2; a code with one value", ("Zero", "Top", "Every"), ties | rule("top", 1, 2), bounds=small),
        Case("strengths at the threshold, and none above it", ("Threshold", "AtThreshold", "Strongest"), tenths | rule("all", 1, threshold=0.7), needs=("float64",)),
        Case("strengths at another threshold", ("InFloat32",), fifths | rule("all", 1, threshold=0.6), needs=("float64",)),
        Case("many codes, dominant", ("Magnitude", "Sign", "Every", "MovesOn"), many | rule("dominant", 2), bounds=small),
        Case("many codes, top 3", ("MovesOn", "Top"), many | rule("top", 6), bounds=small),
        Case("many codes, all", ("Norm", "Strongest", "MinItems"), many | rule("all", 3, threshold=0.5), bounds=small),
        Case("more than k, in float64", ("Sign",), wide | rule("top", 3, 7), bounds=small, needs=("float64",)),
        Case("no segment is large enough", ("NoSegment",), two | rule("dominant", 3), error="DomainError"),
        Case("min_items = 0", ("MinItemsZero",), two | rule("dominant", 0), error="DomainError"),
        Case("top = 0", ("TopZero",), two | rule("top", 1, 0), error="DomainError"),
        Case("a threshold of 1", ("ThresholdOne",), two | rule("all", 1, threshold=1.0), error="DomainError"),
    ]  # fmt: skip
    return Group("assign_segments", "assign_segments", [MEASURED], flags, cases)


def logarithm() -> Group:
    """Return the vectors of the logarithm."""
    flags = {
        "Library": Flag("the logarithm is that of a library", ("E40",), (("    m, e = math.frexp(x)\n", "    return math.log(x)\n"),)),
        "Root": Flag("m is from 1/2 to 1", ("E40",), (('if m < float.fromhex("0x1.6a09e667f3bcdp-1"):', "if False:"),)),
        "Terms": Flag("the series ends four terms too soon", ("E40",), (("t, series = s * s, 1 / 23\n    for i in range(10, -1, -1):", "t, series = s * s, 0.0\n    for i in range(7, -1, -1):"),)),
        "SecondPart": Flag("the second part of ln 2 is not added", ("E40",), (("(2.0 * s * series + e * low)", "2.0 * s * series"),)),
        "Order": Flag("the three terms are added from the left", ("E40",), (("e * high + (2.0 * s * series + e * low)", "e * high + 2.0 * s * series + e * low"),)),
    }  # fmt: skip
    rng = np.random.default_rng(82)
    x = exact_exp(rng.normal(0, 3, 40))
    edges = np.array([1.0, 2.0**-0.5, np.nextafter(2.0**-0.5, 0), np.nextafter(1, 0), np.nextafter(1, 2), 2.0**-1022, 1e308, 0.5, 2.0])  # fmt: skip
    cases = [
        Case("any numbers", ("Library", "Root", "Terms", "SecondPart", "Order"), {"numbers": x}),
        Case("powers of two, their neighbours, and extreme numbers", ("SecondPart", "Root"), {"numbers": edges}),
    ]
    return Group("logarithm", "logarithm", [EXACT], flags, cases)


def contrast() -> Group:
    """Return the vectors of contrasts."""
    prior = "w = (0.5 + 0.5 * min(n, n_other) * p) / p"
    flags = {
        "Half": Flag("α is half a count", ("E41",), ((prior, "w = 0.5 / p"),)),
        "LargerSide": Flag("α has half of what the larger side has", ("E41",), ((prior, prior.replace("min", "max")),)),
        "NoPrior": Flag("α is 0", ("E41",), (("alpha, beta = w * p,", "alpha, beta = 0.0,"),)),
        "Ratio": Flag("δ compares shares, not odds", ("E41",), (("more, less = a * b_other, b * a_other", "more, less = a * (n_other + w), (n + w) * a_other"),)),
        "Variance": Flag("the variance has b and b′, too", ("E41",), (("1.0 / a + 1.0 / a_other\n", "1.0 / a + 1.0 / a_other + 1.0 / b + 1.0 / b_other\n"),)),
        "Others": Flag("everything else is given w − w p counts, which may be rounded to 0", ("E41",), (("w * (neither / total)", "w - w * p"),)),
        "Swapped": Flag("swapped sides change more than signs", ("E41",), (("logarithm(more / less) if more >= less else -logarithm(less / more)", "logarithm(more / less)"),)),
        "Deviation": Flag("z is δ / variance", ("E41",), (("delta / math.sqrt(variance)", "delta / variance"),)),
        "Nothing": Flag("a thing that is on no side is not left out", ("E41",), (("if not (both > 0 and neither > 0):", "if not neither > 0:"),)),
        "Everything": Flag("a thing that is alone on both sides is not left out", ("E41",), (("if not (both > 0 and neither > 0):", "if not both > 0:"),)),
        "Negative": Flag("a count below 0 is not refused", ("E41",), accepts),
        "NegativeRow": Flag("the error does not name the first count below 0", ("E41",), names_row(3)),
        "AboveTotal": Flag("a count above its total is not refused", ("E41",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(83)

    def sides(y: Any, y_other: Any, n: Any, n_other: Any) -> Values:
        named = zip(("y", "y_other", "n", "n_other"), np.broadcast_arrays(y, y_other, n, n_other), strict=True)
        return {name: np.array(side, np.float64) for name, side in named}

    n = 10.0 ** rng.integers(0, 7, (2, 24)) * rng.uniform(1, 9, (2, 24))
    any_counts = sides(*(n * rng.choice([0.0, 0.003, 0.2, 0.9, 1.0], n.shape)), *n)
    every = ("Half", "LargerSide", "NoPrior", "Ratio", "Variance", "Deviation")
    cases = [
        Case("counts of 100 and of 1,000", every, sides([0, 1, 7, 50, 100], [1, 10, 70, 0, 3], 100, 1000)),
        Case("any weights", (*every, "Swapped"), any_counts),
        Case("counts near their totals", ("Others",), sides([1e15, 1e9 - 1.0, 7e8], [3, 9, 1e3], [1e15 + 1.0, 1e9, 7e8 + 1.0], [4, 10, 1e3 + 1.0])),
        Case("things on no side, and alone on both", ("Nothing", "Everything"), sides([0, 3, 5], [0, 2, 0], [9, 9, 5], [4, 4, 0])),
        Case("counts below 0", ("Negative", "NegativeRow"), sides([1, 0, -1, -2], 1, 9, 9), error="DomainError", row=2),
        Case("a count above its total", ("AboveTotal",), sides([1, 2], [3, 10], 9, 9), error="DomainError"),
    ]  # fmt: skip
    return Group("contrast", "contrast", [EXACT], flags, cases)


def tail() -> Group:
    """Return the vectors of tails."""
    flags = {
        "Border": Flag("the series ends at 2, not at 3", ("E42",), (("if x < 3.0:", "if x < 2.0:"),)),
        "Terms": Flag("the series has 20 terms", ("E42",), (("range(1, 60)", "range(1, 20)"),)),
        "Levels": Flag("the continued fraction has 20 levels", ("E42",), (("range(60, 0, -1)", "range(20, 0, -1)"),)),
        "Lower": Flag("a negative z has the tail of its magnitude", ("E42",), (("return 1.0 - upper if z < 0 else upper", "return upper"),)),
        "Clamp": Flag("z is not clamped, so that the tail is 0", ("E42",), (("z = min(max(z, -37.0), 37.0)", "z = z + 0.0"),)),
        "Library": Flag("the tail is that of a library", ("E42",), (("    z = min(max(z, -37.0), 37.0)\n", "    return math.erfc(z / math.sqrt(2.0)) / 2.0\n"),)),
    }  # fmt: skip
    z = np.concatenate([np.linspace(-5, 5, 21), np.random.default_rng(84).normal(0, 6, 20)])
    edges = np.array([3.0, np.nextafter(3, 0), -3.0, 0.0, -0.0, 37.0, 40.0, -40.0, np.nextafter(37, 38)])
    cases = [
        Case("any z", ("Border", "Terms", "Levels", "Lower", "Library"), {"z_score": z}),
        Case("at the borders", ("Clamp", "Levels", "Lower"), {"z_score": edges}),
    ]
    return Group("tail", "tail", [EXACT], flags, cases)


def discoveries() -> Group:
    """Return the vectors of discoveries."""
    rule, taken = "ordered[r - 1] * len(p) <= q * r]", "bool(passed) and value <= ordered[passed[-1] - 1]"
    flags = {
        "Uncorrected": Flag("all tests with p ≤ q are discoveries", ("R31",), ((taken, "value <= q"),)),
        "Bonferroni": Flag("only tests with N p ≤ q are discoveries", ("R31",), ((taken, "value * len(p) <= q"),)),
        "Smaller": Flag("a p below one that is a discovery is none", ("R31",), ((taken, "value * len(p) <= q * (ordered.index(value) + 1)"),)),
        "FirstThatFails": Flag("r is below the first number that fails, not the largest that passes", ("R31",), ((rule, "all(ordered[i - 1] * len(p) <= q * i for i in range(1, r + 1))]"),)),
        "Strict": Flag("equality does not pass", ("R31",), ((rule, rule.replace("<=", "<")),)),
    }  # fmt: skip
    rng = np.random.default_rng(85)
    quarters = np.array([0.5, 0.125, 0.4375, 0.0625, 1.0, 0.375, 0.25, 0.9])
    mixed = np.concatenate([rng.random(20), rng.random(10) / 100])
    cases = [
        Case("one that fails below others that pass", ("Smaller", "FirstThatFails", "Bonferroni"), {"p": np.array([0.03, 0.031, 0.5, 0.9, 0.03]), "q": np.array(0.1)}),
        Case("equality", ("Strict", "Bonferroni"), {"p": quarters, "q": np.array(0.5)}),
        Case("no discovery", ("Uncorrected",), {"p": np.array([0.04, 0.9, 0.8]), "q": np.array(0.05)}),
        Case("ten of thirty", ("Uncorrected", "Bonferroni"), {"p": mixed, "q": np.array(0.05)}),
    ]  # fmt: skip
    return Group("discoveries", "discoveries", [EXACT], flags, cases)


def _by_halves(inputs: Values, outputs: Values) -> Answer:
    """Return the counts of a program that adds the sums of a batch to those of the batches before."""
    half, n = len(inputs["weights"]) // 2, len(inputs["weights"])
    parts = []
    for rows in (slice(0, half), slice(half, n)):
        batch = {name: inputs[name][rows] for name in ("segments", "bins", "sites", "weights")}
        parts.append(Spec().answer("count_items", inputs | batch))
    summed = {name: parts[0][name] + parts[1][name] for name in COUNTED if not name.startswith("largest")}
    return {"outputs": outputs | summed}


def count_items() -> Group:
    """Return the vectors of counts."""
    larger = "if largest[s][b][1] < 0 or w > largest[s][b][0]:"
    flags = {
        "Totals": Flag("an item counts in the totals once for each of its segments", ("E45",), (("[weight + w, count + 1, unassigned if", "[weight + w * len(segments), count + len(segments), unassigned if"),)),
        "Unassigned": Flag("the weight of unassigned items is the total", ("E45",), (("unassigned if segments else unassigned + w", "unassigned + w"),)),
        "Squares": Flag("weights are not squared", ("E45",), (("square + w * w, count", "square + w, count"),)),
        "First": Flag("the last of equally large items is taken", ("E45",), ((larger, larger.replace("w >", "w >=")),)),
        "ZeroWeight": Flag("a bin whose items have weight 0 has no largest item", ("E45",), ((larger, "if w > largest[s][b][0]:"),)),
        "Order": Flag("sums run over the items from the last one", ("E45", "R39"), (("w) in enumerate(items):", "w) in reversed(list(enumerate(items))):"),)),
        "Batches": Flag("sums of a batch are added to those of the batches before", ("R39",), _by_halves),
    }  # fmt: skip
    rng = np.random.default_rng(86)
    few = {
        "segments": np.array([[0, 1], [-1, -1], [0, -1], [1, 0], [0, -1], [1, -1]], np.int32),
        "bins": np.array([0, 0, 0, 0, 2, 1]), "sites": np.array([0, 1, 0, 0, 1, 1]),
        "weights": np.array([2.0, 8, 2, 1, 0, 0]), "n_segments": 3, "n_bins": 4, "n_sites": 2,
    }  # fmt: skip
    many = _items(rng, 60, 3, 2, 2)
    cases = [
        Case("six items", ("Totals", "Unassigned", "Squares", "First", "ZeroWeight"), few),
        Case("sixty items", ("Order", "Batches", "Totals"), many),
    ]
    return Group("count_items", "count_items", [EXACT], flags, cases)


def _items(rng: np.random.Generator, n: int, S: int, bins: int, sites: int) -> Values:
    """Return random items of up to two segments."""
    segments = rng.integers(0, S, (n, 2)).astype(np.int32)
    segments[segments[:, 0] == segments[:, 1], 1] = -1
    segments[rng.random(n) < 0.1] = -1
    named = {"segments": segments, "bins": rng.integers(0, bins, n), "sites": rng.integers(0, sites, n)}
    weights = np.round(rng.lognormal(0, 1, n), 2)
    return named | {"weights": weights, "n_segments": S, "n_bins": bins, "n_sites": sites}


def time_bins() -> Group:
    """Return the vectors of bins of time."""
    flags = {
        "Sunday": Flag("weeks begin on Sunday", ("R36",), (("(t // 86400 + 3) // 7", "(t // 86400 + 4) // 7"),)),
        "Truncated": Flag("times before 1970 are rounded up", ("R36",), (("days = t // 86400 + 719468", "days = int(t / 86400) + 719468"), ('"day": t // 86400', '"day": int(t / 86400)'), ('"hour": t // 3600', '"hour": int(t / 3600)'))),
        "Julian": Flag("years of full centuries are leap years", ("R36",), ((" + day // 36524", ""),)),
        "Decade": Flag("decades begin with a year that ends in 1", ("R36",), (('"decade": (120, 0)', '"decade": (120, -12)'),)),
        "March": Flag("years begin in March", ("R36",), (('"year": (12, 0)', '"year": (12, -2)'),)),
        "Century": Flag("centuries begin with a year that ends in 01", ("R36",), (("(1200, 840)", "(1200, 828)"),)),
        "Quarter": Flag("quarters begin in February", ("R36",), (('"quarter": (3, 0)', '"quarter": (3, -1)'),)),
        "EightBins": Flag("nine bins are needed, not eight", ("R36",), ((">= 7:", ">= 8:"),)),
        "SevenBins": Flag("seven bins are enough", ("R36",), ((">= 7:", ">= 6:"),)),
        "Coarsest": Flag("the finest unit is taken, not the coarsest", ("R36",), (('("century", "decade", "year", "quarter", "month", "week", "day")', '("hour", "day", "week", "month", "quarter", "year", "decade", "century")'),)),
    }  # fmt: skip
    days = [
        "0001-01-01",
        "0001-01-07",
        "1600-02-29",
        "1700-03-01",
        "1899-12-31",
        "1900-01-01",
        "1900-03-01",
        "1969-12-28",
    ]
    days += [
        "1969-12-29",
        "1969-12-31",
        "1970-01-01",
        "1970-01-04",
        "1970-01-05",
        "1971-01-01",
        "1999-12-31",
        "2000-01-01",
    ]
    days += [
        "2000-02-29",
        "2000-03-01",
        "2001-01-01",
        "2019-12-31",
        "2020-01-01",
        "2020-04-01",
        "2020-12-31",
        "9999-12-31",
    ]
    times = np.array(days, "datetime64[s]").astype(np.int64) + np.arange(len(days)) % 2 * 86399
    caught = {"hour": "Truncated", "day": "Truncated", "week": "Sunday", "month": "Julian", "quarter": "Quarter", "year": "March", "decade": "Decade", "century": "Century"}  # fmt: skip
    cases = [Case(f"bins of a {unit}", (flag,), {"times": times, "unit": unit}) for unit, flag in caught.items()]
    ends = {
        "8 centuries": ("1200-01-01", "1999-12-31", "Coarsest"),
        "8 decades": ("1920-12-31", "1990-01-01", "EightBins"),
        "8 days": ("2020-02-25", "2020-03-03", "EightBins"),
        "7 days": ("2020-02-26", "2020-03-03", "SevenBins"),
    }
    for what, (first, last, flag) in ends.items():
        two = np.array([first, last], "datetime64[s]").astype(np.int64)
        cases.append(Case(f"from first to last {what}", (flag,), {"times": two, "unit": "auto"}))
    return Group("time_bins", "time_bins", [EXACT], flags, cases)


def _counts(rng: np.random.Generator, shares: Any, n: int, sites: int = 2, weighted: bool = True) -> Values:
    """Return the counts of items that have one segment each, with ``shares`` (S, bins) in a bin of about n items."""
    shares = np.asarray(shares, np.float64)
    S, bins = shares.shape
    of_bin = np.repeat(np.arange(bins), rng.integers(n // 2, n, bins))
    p = np.vstack([shares, 1 - shares.sum(axis=0)]).cumsum(axis=0)
    own = (rng.random(len(of_bin)) > p[:, of_bin]).sum(axis=0)
    own = np.where(own == S, -1, own).astype(np.int32)[:, None]
    weights = np.round(rng.lognormal(0, 0.5, len(own)), 2) if weighted else np.ones(len(own))
    items = {"segments": own, "bins": of_bin, "sites": rng.integers(0, sites, len(own)), "weights": weights}
    sizes = {"n_segments": S, "n_bins": bins, "n_sites": sites}
    return Spec().answer("count_items", items | sizes)


def _only(counts: Values, *names: str, q: float = 0.05) -> Values:
    return {name: counts[name] for name in ("weights", "squares", "totals", *names)} | {"q": np.array(q)}


def _shares(bins: int) -> Any:
    """Return shares of segments: rising, falling, a peak of three bins, new, gone, steady twice, irregular, none."""
    b, bumps = np.arange(bins), np.sin(np.arange(bins) * 2.0) > 0.3
    rising, falling = 0.02 + 0.15 * b / bins, np.where(b < 9, 0.17, 0.06)
    falling[-3:] = 0.002
    peak = np.where((b >= bins // 2 - 1) & (b <= bins // 2 + 1), 0.3, 0.04)
    new, gone = np.where(b >= bins - 2, 0.15, 0.0), np.where(b < 3, 0.15, 0.0)
    return np.stack([rising, falling, peak, new, gone, 0 * b + 0.06, 0 * b + 0.05, np.where(bumps, 0.12, 0.02), 0 * b])


SERIES_FLAGS = {
    "Unit": Flag("weights are not divided by the unit of the segment", ("E45",), (("for sites in squares]) / weight if weight > 0 else 1.0", "for sites in squares]) / weight if False else 1.0"),)),
    "EmptyBins": Flag("bins without items are not left out", ("E45",), (("if added(totals[b]) > 0]", "if True]"),)),
    "OneBin": Flag("a single bin with items is not refused", ("E45",), accepts),
    "Independent": Flag("events count as independent", ("E46",), (("return max(1.0, median(local)) if local else 1.0", "return 1.0"),)),
    "Mean": Flag("the common dispersion is a mean, not a median", ("E46",), (("max(1.0, median(local))", "max(1.0, added(local) / len(local))"),)),
    "Successive": Flag("deviations are squared, not differences of successive ones", ("E46",), (("steps = [after - before for before, after in zip(deviations, deviations[1:])]", "steps = [2.0**0.5 * deviation for deviation in deviations[1:]]"),)),
    "ShortTail": Flag("z does not get the tail of a dispersed count", ("E47",), (("    if not dispersion > 1.0:\n        return z", "    if True:\n        return z"),)),
    "Digits": Flag("ln(1 + x) loses digits of a small x", ("E47",), (("logarithm(u) * x / (u - 1.0)", "logarithm(u)"),)),
    "Nu": Flag("ν does not grow with the expected count", ("E47",), (("nu = DEGREES + 2.0 * expected / (dispersion - 1.0)", "nu = DEGREES"),)),
}  # fmt: skip
"""Mistakes of series and dispersions, which trends and spikes share."""


def trends() -> Group:
    """Return the vectors of trends."""
    flags = SERIES_FLAGS | {
        "OwnWindow": Flag("the dispersion of the window is left out", ("E48",), (("dispersion = max((excess(*inside) + excess(*outside)) / max(count - 2, 1), common)", "dispersion = common"),)),
        "Lengths": Flag("lengths of windows double", ("R37",), (("length += max(1, length // 4)", "length *= 2"),)),
        "EveryEnd": Flag("windows at an end have only those lengths, too", ("R37",), (("if stop - start < count if at_end else stop - start in lengths:", "if stop - start < count and stop - start in lengths:"),)),
        "FirstWindow": Flag("among equal z the last window is taken", ("R37",), (("if best is None or z > best[0]:", "if best is None or z >= best[0]:"),)),
        "ManyWindows": Flag("p is not multiplied by the number of windows", ("E48",), (("tail(z) * (WINDOWS_PER_BIN * count)", "tail(z)"),)),
        "Steady": Flag("every segment has a trend", ("R37", "R31"), (("if found[s] else lately)", "if True else lately)"),)),
        "Lately": Flag("a segment whose best window is no discovery is steady, whatever the last one is", ("R37",), (("if recent[s] else \"steady\"", "if False else \"steady\""),)),
        "LatelyFell": Flag("a segment that fell lately is rising", ("R37",), (('("rising" if last[s][1] > 1 else "falling") if recent', '"rising" if recent'),)),
        "New": Flag("a segment is new if its share only rises", ("R37",), (('"new" if ratio >= ABSENT else "rising"', '"new"'),)),
        "Rising": Flag("a new segment is rising", ("R37",), (('"new" if ratio >= ABSENT else "rising"', '"rising"'),)),
        "Falling": Flag("a segment that is gone is falling", ("R37",), (('"gone" if ratio >= ABSENT else "falling"', '"falling"'),)),
        "Infinite": Flag("the ratio to a share of 0 is not infinite", ("E48",), (("(math.inf if share > 0 else 1.0)", "1.0"),)),
        "LastWindow": Flag("the length of the last window is rounded down", ("E48",), (("cut = len(y) - -(-len(y) // RECENT)", "cut = len(y) - max(1, len(y) // RECENT)"),)),
        "LastTail": Flag("the last window is tested in one direction", ("E48",), (("discoveries([2.0 * tail(abs(z)) for z, ratio in last], q)", "discoveries([tail(z) for z, ratio in last], q)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(87)
    many = _counts(rng, _shares(20), 1000, sites=1)
    holes = _counts(rng, _shares(12), 400, sites=1, weighted=False)
    for name in ("weights", "squares", "totals"):
        holes[name][..., [0, 4], :] = 0
    two = _counts(rng, _shares(2)[[0, 1, 5]], 900)
    one = {name: array[..., :1, :] if name in ("weights", "squares") else array[:1] for name, array in _only(two).items() if name != "q"}  # fmt: skip
    cases = [
        Case("nine segments over 20 bins", ("Unit", "Independent", "Mean", "Successive", "ShortTail", "Digits", "Nu", "OwnWindow", "Lengths", "EveryEnd", "FirstWindow", "ManyWindows", "Steady", "New", "Rising", "Falling", "Infinite", "LastWindow", "LastTail"), _only(many)),
        Case("two of twelve bins are empty; weights are 1", ("EmptyBins", "Lengths", "Steady"), _only(holes)),
        Case("two bins", ("Unit", "ManyWindows"), _only(two, q=0.5)),
        Case("segments that changed in the last window, and less in any other", ("Lately", "LatelyFell"), _lately()),
        Case("one bin", ("OneBin",), one | {"q": np.array(0.05)}, error="DomainError"),
    ]  # fmt: skip
    return Group("trends", "trends", [EXACT], flags, cases)


def _lately() -> Values:
    """Return counts of segments that are too small for a best window of their own, and rise or fall in the last one."""
    y = np.full((4, 16, 1), 6.0)
    y[0, 14:], y[1, 14:], y[2, ::2], y[3, 1::2] = 13.0, 0.0, 9.0, 9.0
    totals = np.full((16, 1), 200.0)
    return {"weights": y, "squares": y.copy(), "totals": totals, "q": np.array(0.05)}


def spikes() -> Group:
    """Return the vectors of spikes."""
    own = "own = excess(*[sums[b] for sums in prefix]) / (b - 1) if b >= 2 else 0.0"
    flags = {name: flag for name, flag in SERIES_FLAGS.items() if name not in ("EmptyBins", "OneBin")} | {
        "Past": Flag("the dispersion of other bins does not count while the past is short", ("E46",), (("if b < PAST:", "if False:"),)),
        "Future": Flag("the dispersion of other bins always counts", ("E46",), (("if b < PAST:", "if True:"),)),
        "Divisor": Flag("the excess of b bins is divided by b", ("E46",), ((own, own.replace("(b - 1)", "b")),)),
        "Common": Flag("the common dispersion does not count", ("E49",), (("n_others, max(own[b], common)", "n_others, max(own[b], 1.0)"),)),
        "Others": Flag("a bin is compared with all bins, not with the others", ("E49",), (("n_others = sums[1] - n[s][b]\n            rest = within(sums[0] - y[s][b], n_others)", "n_others = sums[1]\n            rest = within(sums[0], n_others)"),)),
        "Sorted": Flag("spikes are listed by segment", ("E49",), (("taken = sorted(each for each, is_found in zip(tried, found) if is_found)", "taken = [each for each, is_found in zip(tried, found) if is_found]"),)),
        "Rate": Flag("every bin is a spike", ("E49", "R31"), (("zip(tried, found) if is_found)", "zip(tried, found))"),)),
        "WithItem": Flag("the largest item stays in the total of the bin", ("E49",), (("less = n[s][b] - w / units[s]", "less = n[s][b]"),)),
        "OneItem": Flag("a spike is made by one item if z without it is below that of the weakest spike", ("E49",), (("tail(without) * len(tried) > q * len(taken))", "without < -taken[-1][0])"),)),
        "NoSpike": Flag("no spike is made by one item", ("E49",), (("tail(without) * len(tried) > q * len(taken))", "False)"),)),
        "Share": Flag("the share of the largest item is that of all items of the bin", ("E49",), (("item, w / weight, without,", "item, w / added(totals[b]), without,"),)),
    }  # fmt: skip
    rng = np.random.default_rng(88)
    shares = np.full((9, 14), 0.03)
    shares[0, 3], shares[1, 11], shares[2, [5, 6]] = 0.1, 0.2, 0.12
    shares[3] = np.where(np.arange(14) % 3, 0.02, 0.05)  # a rough past, and a rough future
    shares[3, 12], shares[4, 8], shares[4, 9:] = 0.3, 0.12, [0.01, 0.07, 0.01, 0.07, 0.01]
    many = _counts(rng, shares, 900, sites=1)
    _add_one_item(many, 4, 9, 60.0)
    calm = np.full((7, 12), 0.03)
    calm[1, 3], calm[2, 9] = 0.2, 0.065
    one = _counts(np.random.default_rng(95), calm, 600)
    _add_one_item(one, 2, 9, 10.0)
    cases = [
        Case("nine segments over 14 bins", ("Unit", "Independent", "Mean", "Successive", "ShortTail", "Digits", "Nu", "Past", "Future", "Divisor", "Common", "Others", "Sorted", "Rate", "WithItem", "OneItem", "Share"), _only(many, "largest", "largest_item")),
        Case("a spike that one item makes", ("NoSpike", "WithItem", "Share"), _only(one, "largest", "largest_item", q=0.2)),
    ]  # fmt: skip
    return Group("spikes", "spikes", [EXACT], flags, cases)


def _add_one_item(counts: Values, s: int, b: int, w: float) -> None:
    """Add the item of largest weight of a segment and bin, at the first site."""
    counts["weights"][s, b, 0] += w
    counts["squares"][s, b, 0] += w * w
    counts["totals"][b, 0] += w
    counts["largest"][s, b], counts["largest_item"][s, b] = w, 9999
    counts["items"][s, b, 0] += 1
    counts["total_items"][b, 0] += 1


def site_contrast() -> Group:
    """Return the vectors of sites."""
    flags = {
        "Unit": SERIES_FLAGS["Unit"],
        "Others": Flag("a site is compared with all sites, not with the others", ("E50",), (("n_other = added(n) - n[site]\n            counts = y[site], within(added(y) - y[site], n_other)", "n_other = added(n)\n            counts = y[site], within(added(y), n_other)"),)),
        "Shrunk": Flag("ratios are not shrunk", ("E50",), (("c = SHRINKAGE * (y + y_other) / (total if total > 0 else 1.0)\n    share, other = (y + c) / (n + SHRINKAGE), (y_other + c) / (n_other + SHRINKAGE)", "share, other = y / n, y_other / n_other"),)),
        "OneSided": Flag("only sites with more than the others are tested", ("E50",), (("discoveries([2.0 * tail(abs(z)) for weight, ratio, z in found], q)", "discoveries([tail(z) for weight, ratio, z in found], q)"),)),
        "Weight": Flag("the weight is in units of the segment", ("E50",), (("found.append((y[site] * unit,", "found.append((y[site],"),)),
        "OfBin": Flag("shares are shrunk towards 0", ("E50",), (("p = added(bin_weights) / (n if n > 0 else 1.0)", "p = 0.0 * n"),)),
    }  # fmt: skip
    counts = _counts(np.random.default_rng(89), [[0.1, 0.2, 0.1], [0.3, 0.2, 0.2], [0.05, 0.01, 0.02]], 600, sites=4)
    for name in ("weights", "squares"):
        counts[name][0, :, 1] *= 0.125
    cases = [Case("three segments at four sites", tuple(flags), _only(counts, q=0.1))]
    return Group("site_contrast", "site_contrast", [EXACT], flags, cases)


def hidden_segments() -> Group:
    """Return the vectors of hidden segments."""
    cell = "number * ((t + SHRINKAGE * mean) / (m + SHRINKAGE)) for number"
    flags = {
        "Unit": SERIES_FLAGS["Unit"],
        "ByCell": Flag("the expectation ignores bins and sites", ("E51",), ((cell, "number * mean for number"),)),
        "CellShrunk": Flag("the means of bins and sites are not shrunk", ("E51",), ((cell, "number * (t / max(m, 1)) for number"),)),
        "Shrunk": Flag("the ratio is not shrunk", ("E51",), (("(y / mean + SHRINKAGE) / (e + SHRINKAGE)", "y / mean / e"),)),
        "Few": Flag("segments with many items can be hidden", ("E51",), (("few = [size < median(sizes) for size in sizes]", "few = [True for size in sizes]"),)),
        "Rate": Flag("every ratio above 1 is significant", ("E51", "R31"), (("strong[s] and found[s][0] > 1 and", "found[s][0] > 1 and"),)),
    }  # fmt: skip
    counts = _counts(np.random.default_rng(90), [[0.1, 0.1], [0.03, 0.03], [0.2, 0.3], [0.04, 0.05], [0.3, 0.2]], 600)
    for s, factor in ((1, 4.0), (2, 2.0), (3, 1.5)):
        counts["totals"] += counts["weights"][s] * (factor - 1)
        counts["weights"][s] *= factor
        counts["squares"][s] *= factor * factor
    cases = [Case("five segments", tuple(flags), _only(counts, "items", "total_items"))]
    return Group("hidden_segments", "hidden_segments", [EXACT], flags, cases)


def together() -> Group:
    """Return the vectors of co-occurrence."""
    stored = "{(j, 1 if value > 0 else -1) for j, value in zip(*code) if value != 0}"
    flags = {
        "Signs": Flag("an entry of the other sign stores the segment, too", ("E52",), ((stored, "{(j, sign) for j, value in zip(*code) if value != 0 for sign in (1, -1)}"),)),
        "Zeros": Flag("entries of value 0 store a segment", ("E52",), ((stored, stored.replace(" if value != 0", "")),)),
        "Itself": Flag("a segment is compared with itself", ("E52",), (("if i != j else (1.0, 0.0)", "if True else (1.0, 0.0)"),)),
        "AllItems": Flag("items that store i are not taken from the others", ("E52",), (("if j in own]) - y, len(stored) - n", "if j in own]), len(stored)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(91)
    indices = np.sort(rng.random((50, 6)).argsort(axis=1)[:, :3], axis=1).astype(np.int32)
    values = f32(rng.integers(-2, 4, (50, 3)))
    keys = np.array([[0, 1], [1, 1], [1, -1], [4, 1], [5, -1]], np.int32)
    cases = [Case("fifty codes", tuple(flags), {"indices": indices, "values": values, "keys": keys})]
    return Group("together", "together", [EXACT], flags, cases)


def cut_hierarchy() -> Group:
    """Return the vectors of cuts."""
    terms = "added([max(1.0 - dot(atoms[i], atoms[j]), 0.0) for i in g for j in h]) / (len(g) * len(h))"
    pairs = "[max(1.0 - dot(atoms[i], atoms[j]), 0.0) for i in g for j in h])"
    flags = {
        "Single": Flag("groups have the distance of their nearest pair", ("E53",), ((terms, f"min({pairs}"),)),
        "Complete": Flag("groups have the distance of their farthest pair", ("E53",), ((terms, f"max({pairs}"),)),
        "Sum": Flag("groups have the sum of distances of all pairs", ("E53",), ((terms, f"added({pairs}"),)),
        "Signs": Flag("atoms do not have the sign of the segment", ("E53",), (("[float(value) * sign for value in W_dec[j]]", "[float(value) for value in W_dec[j]]"),)),
        "Numbers": Flag("groups are not numbered by their first segment", ("R38",), (("[[s in group for group in groups].index(True) for s", "[[s in group for group in groups[::-1]].index(True) for s"),)),
        "GroupsZero": Flag("no group is not refused", ("R38",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(92)
    W_dec, keys = random_atoms(rng, 12, 6), np.stack([np.arange(12), rng.choice([-1, 1], 12)], axis=1).astype(np.int32)
    asked = {"W_dec": W_dec, "keys": keys}
    cases = [
        Case("four groups of twelve", ("Single", "Complete", "Sum", "Signs", "Numbers"), asked | {"n_groups": 4}),
        Case("two groups", ("Single", "Sum"), asked | {"n_groups": 2}),
        Case("more groups than segments", ("Numbers",), asked | {"n_groups": 13}),
        Case("no group", ("GroupsZero",), asked | {"n_groups": 0}, error="DomainError"),
    ]
    return Group("cut_hierarchy", "cut_hierarchy", [EXACT, "Distances are far enough apart for any order of merges."], flags, cases)  # fmt: skip


def match_segments() -> Group:
    """Return the vectors of matches."""
    score = "(x + max(c, 0.0)) / 2.0"
    flags = {
        "Greedy": Flag("the best match of each segment is taken first", ("E54",), (("return max(options, key=lambda option: option[0])", "return max(options, key=lambda option: ([score[i][j] for k, j in option[1] if k == i] or [0.0])[0])"),)),
        "Jaccard": Flag("shared items are divided by those of the new segment", ("E54",), (("len(a & b) / max(len(a | b), 1)", "len(a & b) / max(len(a), 1)"),)),
        "Atoms": Flag("atoms are ignored", ("E54",), ((score, "x + 0.0 * c"),)),
        "Negative": Flag("negative cosines count", ("E54",), ((score, "(x + c) / 2.0"),)),
        "NothingShared": Flag("pairs that share no item are not left out", ("E54",), (("if jaccard[i][j] > 0]", "if True]"),)),
    }  # fmt: skip
    rng = np.random.default_rng(93)
    old = rng.integers(-1, 4, (60, 2)).astype(np.int32)
    old[old[:, 0] == old[:, 1], 1] = -1
    own = np.where(old >= 0, (old + rng.choice([0, 0, 1, 3], old.shape)) % 4, -1).astype(np.int32)
    own[own[:, 0] == own[:, 1], 1] = -1
    chain = {
        "segments": np.repeat([0, 0, 1, -1], [6, 5, 5, 8]).astype(np.int32)[:, None],
        "earlier": np.repeat([0, 1, 0, 1], [6, 5, 5, 8]).astype(np.int32)[:, None],
        "sizes": np.array([3, 2]),
    }
    atoms = {
        "atoms": exact_rows(rng, 4, 4, 1).astype(float),
        "earlier_atoms": exact_rows(rng, 4, 4, 4).astype(float) / 2,
    }
    both = {"segments": own, "earlier": old, "sizes": np.array([4, 4])}
    near = {
        "segments": np.repeat([0, 0, 1, 1], [5, 5, 5, 4]).astype(np.int32)[:, None],
        "earlier": np.repeat([0, 1, 0, 1], [5, 5, 5, 4]).astype(np.int32)[:, None],
        "sizes": np.array([2, 3]),
        "atoms": np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]]),
        "earlier_atoms": np.array([[-0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, 0.5], [0, 1, 0, 0]]),
    }
    apart = near | {
        "segments": np.repeat([0, 0, 1, 1], [8, 3, 3, 8]).astype(np.int32)[:, None],
        "earlier": np.repeat([0, 1, 0, 1], [8, 3, 3, 8]).astype(np.int32)[:, None],
        "sizes": np.array([2, 2]),
        "earlier_atoms": np.array([[-1.0, 0, 0, 0], [0, -1, 0, 0]]),
    }
    cases = [
        Case("without atoms; the best matches exclude each other", ("Greedy", "Jaccard"), chain),
        Case("two segments of an item", ("Jaccard", "Atoms"), both | atoms),
        Case("atoms decide", ("NothingShared", "Atoms"), near),
        Case("opposite atoms", ("Negative",), apart),
    ]
    return Group("match_segments", "match_segments", [EXACT], flags, cases)


def explained() -> Group:
    """Return the vectors of explained cosines."""
    flags = {
        "Cosine": Flag("the dot product is not divided by norms", ("E55",), (("return [cosine(x_unit, decode(*code, W_dec)) for x_unit, code in zip(units, codes)]", "return [dot(x_unit, decode(*code, W_dec)) for x_unit, code in zip(units, codes)]"),)),
        "ZeroRow": Flag("a row of zeros is left out", ("E55",), (("units = [unit_row(x) if any(value != 0.0 for value in x) else x for x in rows]", "units = [unit_row(x) for x in rows if any(value != 0.0 for value in x)]"),)),
        "Median": Flag("low is the median", ("E55",), (("math.floor(0.05 * len(cosines))", "len(cosines) // 2"),)),
        "Below": Flag("the number of the low cosine is counted from 1", ("E55",), (("math.floor(0.05 * len(cosines))", "max(math.floor(0.05 * len(cosines)) - 1, 0)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(94)
    x, W_dec = f32(rng.standard_normal((40, 6))), random_atoms(rng, 9, 6)
    x[7] = 0
    indices = np.sort(rng.random((40, 9)).argsort(axis=1)[:, :2], axis=1).astype(np.int32)
    values = np.take_along_axis(fused_products(x, W_dec), indices, 1)
    cases = [Case("forty rows, one of them zero", tuple(flags), {"x": x, "indices": indices, "values": values, "W_dec": W_dec}, bounds=measured("explained"))]  # fmt: skip
    return Group("explained", "explained", [MEASURED], flags, cases)


GROUPS = (
    assign_segments, logarithm, contrast, tail, discoveries, count_items, time_bins, trends, spikes, site_contrast,
    hidden_segments, together, cut_hierarchy, match_segments, explained,
)  # fmt: skip
