"""Vectors of selection: `abs_topk`, `truncate`, `split_codes`. Nothing is rounded, so all outputs are exact."""

from __future__ import annotations

import numpy as np

from spec.generate.build import Case, Flag, Group, f32

TIE = ("(-abs(pre[j]), j))  # R1", "(-abs(pre[j]), -j))")
HEADER = ["Outputs are compared by their bytes: a selection compares numbers and changes none."]


def abs_topk() -> Group:
    """Return the vectors of selection by R1, in the order of R2."""
    key = "(-abs(pre[j]), j))  # R1"
    flags = {
        "TieAtBoundary": Flag("ties go to the higher index, or to any", ("R1", "E5"), (TIE,)),
        "SignedTie": Flag("of two equal magnitudes the positive one is preferred", ("R1",), ((key, "(-abs(pre[j]), -pre[j], j))"),)),
        "Magnitude": Flag("the largest values are kept, not the largest magnitudes", ("R1", "E5"), ((key, "(-pre[j], j))"),)),
        "AllNegative": Flag("negative entries count as zero", ("R1",), ((key, "(-max(pre[j], 0.0), j))"),)),
        "Sign": Flag("the magnitude is stored, without its sign", ("E5",), (("values = [pre[j] + 0.0", "values = [abs(pre[j]) + 0.0"),)),
        "AscendingIndex": Flag("entries are stored by descending magnitude", ("R2",), (("indices = sorted(order[:k])  # R2", "indices = order[:k]"),)),
        "ZerosStored": Flag("zeros are not stored, so that a row has fewer than k entries", ("R2",), (("indices = sorted(order[:k])  # R2", "indices = [j for j in sorted(order[:k]) if pre[j] != 0]"),)),
        "MinusZero": Flag("−0 is stored as it is", ("R2",), (("values = [pre[j] + 0.0 for", "values = [pre[j] for"),)),
        "Subnormal": Flag("subnormal numbers are flushed to zero", ("R1",), ((key, "(-abs(pre[j]) if abs(pre[j]) >= 2.0**-126 else 0.0, j))"),)),
        "LastBit": Flag("magnitudes are compared with a tolerance or in less precision", ("R1",), ((key, "(-round(float(abs(pre[j])), 6), j))"),)),
        "AllOfThem": Flag("k = h is off by one", ("R2",), (("indices = sorted(order[:k])  # R2", "indices = sorted(order[: min(k, len(pre) - 1)])"),)),
        "KTooLarge": Flag("k > h is not refused", ("R2",), (("assert 1 <= k <= len(pre)", "assert 1 <= k"),)),
        "KZero": Flag("k = 0 is not refused", ("R2",), (("assert 1 <= k <= len(pre)", "assert k <= len(pre)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(1)
    many = rng.integers(-3, 4, (12, 40)) * 0.25
    near = 1 + np.arange(8) * 2.0**-23
    bits = rng.integers(0, 2**31 - 2**23, (6, 33)).astype(np.uint32)  # any finite magnitude
    any_scale = (bits | (rng.integers(0, 2, bits.shape).astype(np.uint32) << 31)).view(np.float32)
    cases = [
        Case("four of one magnitude, two places", ("TieAtBoundary",), {"pre": f32([[0.5, 2, -0.5, 0.5, 0.5, 0.25]]), "k": 3}),
        Case("all magnitudes equal", ("TieAtBoundary",), {"pre": f32([[1] * 8, [-1] * 8]), "k": 3}),
        Case("a negative entry ties with a positive one behind it", ("SignedTie",), {"pre": f32([[0, -0.5, 0.5, 0.25]]), "k": 1}),
        Case("the largest magnitude is negative", ("Magnitude", "Sign"), {"pre": f32([[0.5, -4, 1, -0.25], [-1, -2, -3, 4]]), "k": 2}),
        Case("nothing is positive", ("AllNegative", "Magnitude", "Sign"), {"pre": f32([[-1, -3, -2, -4, -0.5]]), "k": 2}),
        Case("the largest stand last", ("AscendingIndex",), {"pre": f32([[1, 2, 3, 4], [4, 1, 3, 2]]), "k": 3}),
        Case("fewer than k entries are not zero", ("ZerosStored",), {"pre": f32([[0, 0, 3, 0], [0, 0, 0, 0]]), "k": 3}),
        Case("−0 is selected", ("MinusZero", "ZerosStored"), {"pre": f32([[-0.0, 1, -0.0, 0.0]]), "k": 3}),
        Case("−0 and +0 tie, −0 first", ("MinusZero",), {"pre": f32([[-0.0, 0.0]]), "k": 1}),
        Case("all numbers are subnormal", ("Subnormal",), {"pre": f32([[1e-45, 3e-45, -4e-45, 1e-44, 0]]), "k": 2}),
        Case("magnitudes that differ in the last bit", ("LastBit",), {"pre": f32([near, -near]), "k": 2}),
        Case("k = h", ("AllOfThem",), {"pre": f32([[3, -1, 2], [0, 5, -5]]), "k": 3}),
        Case("one latent", ("AllOfThem",), {"pre": f32([[-7]]), "k": 1}),
        Case("rows full of ties", ("TieAtBoundary", "SignedTie", "AscendingIndex"), {"pre": f32(many), "k": 9}),
        Case("any finite numbers, of all scales", ("Magnitude", "Sign", "LastBit"), {"pre": any_scale, "k": 12}),
        Case("k larger than h", ("KTooLarge",), {"pre": f32([[1, 2, 3]]), "k": 4}, error="DomainError"),
        Case("k = 0", ("KZero",), {"pre": f32([[1, 2, 3]]), "k": 0}, error="DomainError"),
    ]  # fmt: skip
    return Group("abs_topk", "abs_topk", HEADER, flags, cases)


BY_MAGNITUDE = "key=lambda t: (-abs(values[t]), t))"


def _split_flags(rest: bool) -> dict[str, Flag]:
    flags = {
        "LargestNotFirst": Flag("the first k stored entries are taken", ("E6", "R2"), (("order = sorted(range(len(values)), " + BY_MAGNITUDE, "order = list(range(len(values)))"),)),
        "TruncateTie": Flag("ties of stored entries go to the higher index", ("R2",), ((BY_MAGNITUDE, "key=lambda t: (-abs(values[t]), -t))"),)),
        "TruncateMagnitude": Flag("the largest stored values are kept, not the largest magnitudes", ("E6", "R2"), ((BY_MAGNITUDE, "key=lambda t: (-values[t], t))"),)),
        "TruncateAscending": Flag("what is kept is left in the order of magnitudes", ("R2",), (("kept = sorted(order[:k])", "kept = order[:k]"),)),
    }  # fmt: skip
    if rest:
        flags |= {
            "RestAscending": Flag("the rest is left in the order of magnitudes", ("E6", "R2"), (("rest = sorted(order[k:])", "rest = order[k:]"),)),
            "RestIsTheOthers": Flag("the rest holds the k largest, too", ("E6",), (("rest = sorted(order[k:])", "rest = sorted(order)"),)),
        }  # fmt: skip
    return flags


def _split_cases() -> list[Case]:
    rng = np.random.default_rng(2)
    indices = np.sort(rng.random((6, 30)).argsort(axis=1)[:, :12], axis=1).astype(np.int32)
    values = f32(rng.integers(-4, 5, (6, 12)) * 0.5 + 0.0)
    small = np.array([[1, 4, 6, 7]], np.int32)
    every = ("LargestNotFirst", "TruncateTie", "TruncateMagnitude", "TruncateAscending")
    return [
        Case("the largest stand last", ("LargestNotFirst", "TruncateAscending"), {"indices": small, "values": f32([[1, 2, 3, -4]]), "k": 2}),
        Case("two of one magnitude at the border", ("TruncateTie",), {"indices": small, "values": f32([[2, -1, 1, 0.5]]), "k": 2}),
        Case("rows full of ties", every, {"indices": indices, "values": values, "k": 5}),
    ]  # fmt: skip


def truncate() -> Group:
    """Return the vectors of truncation to a smaller k."""
    flags = _split_flags(rest=False) | {
        "TruncateTooFar": Flag("a k larger than what is stored is not refused", ("R2",), lambda given, _: {"outputs": {name: given[name] for name in ("indices", "values")}}),
    }  # fmt: skip
    more = {"indices": np.array([[0, 2]], np.int32), "values": f32([[1, -2]]), "k": 3}
    cases = [*_split_cases(), Case("more than is stored", ("TruncateTooFar",), more, error="DomainError")]
    return Group("truncate", "truncate", HEADER, flags, cases)


def split_codes() -> Group:
    """Return the vectors of splitting codes into the k largest entries and the rest."""
    flags, cases = _split_flags(rest=True), _split_cases()
    flags |= {
        "KZero": Flag("k = 0 is not refused", ("R2",), (("assert 1 <= k <= len(values)  # R2", "assert k <= len(values)"),)),
        "TooManyEntries": Flag("a k larger than what is stored is not refused", ("R2",), (("assert 1 <= k <= len(values)  # R2", "assert 1 <= k"),)),
    }  # fmt: skip
    cases[2].flags += ("RestAscending", "RestIsTheOthers")
    whole = {"indices": np.array([[0, 2]], np.int32), "values": f32([[1, -2]]), "k": 2}
    cases += [
        Case("nothing is left: the rest has no column", ("RestIsTheOthers",), whole),
        Case("k = 0", ("KZero",), whole | {"k": 0}, error="DomainError"),
        Case("more than is stored", ("TooManyEntries",), whole | {"k": 3}, error="DomainError"),
    ]
    return Group("split_codes", "split_codes", HEADER, flags, cases)


GROUPS = (abs_topk, truncate, split_codes)
