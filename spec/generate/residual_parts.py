"""Vectors of residual codes: the bytes behind the sparse part, reconstructions, and scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.generate.answers import Spec, Values
from spec.generate.build import (
    Case,
    Flag,
    Group,
    accepts,
    codes,
    exact_exp,
    f32,
    names_row,
    orthonormal,
    random_atoms,
    spread,
)

H, D, K = 24, 12, 3


def _codec(rng: np.random.Generator, bits: list[int]) -> Values:
    """Return a codec with some orthonormal directions."""
    basis = orthonormal(rng.standard_normal((D, D)))[: len(bits)]
    lengths = np.repeat(exact_exp(np.linspace(-2, 1, 8)), 32)
    scales = 0.5 / np.arange(1, len(bits) + 1)
    kept = {"basis": f32(np.ascontiguousarray(basis)), "scales": f32(scales), "lengths": f32(lengths)}
    return kept | {"bits": np.array(bits, np.uint8), "k": K, "value_bits": 4}


def _rows(rng: np.random.Generator, W_dec: Any, n: int) -> tuple[Any, Any]:
    """Return rows near their sparse parts, and these, packed."""
    indices, values = codes(rng, n, H, K)
    packed = Spec().answer("pack", {"indices": indices, "values": values, "n_latents": H, "bits": 4})["packed"]
    x = (values[:, :, None] * W_dec[indices]).sum(axis=1) + 0.2 * rng.standard_normal((n, D))
    return x.astype(W_dec.dtype), packed


def encode_residual() -> Group:
    """Return the vectors of what is stored behind the sparse part."""
    flags = {
        "Scale": Flag("the row is not brought to the scale of its sparse part", ("E56", "E57"), (("r = [beta * x_unit[c] - x_sparse[c]", "r = [x_unit[c] - x_sparse[c]"),)),
        "NegativeScale": Flag("the dot product of a row with its sparse part is not clamped", ("E56",), (("max(dot(x_sparse, x_unit), 2.0**-10)", "dot(x_sparse, x_unit)"),)),
        "Length": Flag("the longest stored length that is not above ρ is taken", ("E58",), (("q = nearest(codec[\"lengths\"], norm(r))", "q = max(0, sum(length <= norm(r) for length in codec[\"lengths\"]) - 1)"),)),
        "StoredLength": Flag("components are divided by ρ in place of the length that is read back", ("E59",), (("/ (codec[\"lengths\"][q] * codec[\"scales\"][j])", "/ (norm(r) * codec[\"scales\"][j])"),)),
        "Scales": Flag("components are not divided by their scales", ("E59",), (("/ (codec[\"lengths\"][q] * codec[\"scales\"][j])", "/ codec[\"lengths\"][q]"),)),
        "LevelBorders": Flag("a component at the midpoint of two levels takes the lower one", ("E61",), (("(a + b) / 2.0 <= y", "(a + b) / 2.0 < y"),)),
        "Levels": Flag("the levels are in equal steps", ("E60",), (("half = [level / 4096.0 for level in POSITIVE_LEVELS[bits - 1]]", "half = [(2 * i + 1) / 2**bits * 3.0 for i in range(2 ** (bits - 1))]"),)),
        "BitOrder": Flag("the highest bit of a number comes first", ("R41",), (("put(rest, start, bits, nearest(levels_of(bits), y))", "put(rest, start, bits, int(format(nearest(levels_of(bits), y), f\"0{bits}b\")[::-1], 2))"),)),
        "ZeroRow": Flag("a row without a sparse part has other bytes than zeros", ("R42",), (("    if not any(packed):  # R42\n        return bytes(rest_bytes(codec))\n", ""),)),
        "BitsOfCodec": Flag("more than 6 bits of a component are not refused", ("R40",), accepts),
        "KOfCodec": Flag("another k than that of the sparse part is not refused", ("R43",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(71)
    W_dec = random_atoms(rng, H, D)
    x, packed = _rows(rng, W_dec, 8)
    all_bits, few = _codec(rng, [6, 5, 4, 4, 3, 2, 2, 1, 1]), _codec(rng, [3, 1])
    against, empty = x.copy(), packed.copy()
    against[2], empty[3] = -x[2], 0
    W_64 = random_atoms(rng, H, D, np.float64)
    x_64, packed_64 = _rows(rng, W_64, 3)
    cases = [
        Case("28 bits of nine components", ("Scale", "Length", "StoredLength", "Scales", "Levels", "BitOrder"), {"x": x, "packed": packed, "W_dec": W_dec, **all_bits}),
        Case("4 bits of two components, a row against its sparse part and one without", ("NegativeScale", "ZeroRow"), {"x": against, "packed": empty, "W_dec": W_dec, **few}),
        Case("components of 0, at the middle of their levels", ("LevelBorders",), _at_a_border()),
        Case("a model in float64, rows at another scale", ("Scale",), {"x": x_64 * 1e6, "packed": packed_64, "W_dec": W_64, **few}, needs=("float64",)),
        Case("7 bits of a component", ("BitsOfCodec",), {"x": x, "packed": packed, "W_dec": W_dec, **few, "bits": np.array([7, 1], np.uint8)}, error="FormatError"),
        Case("k = 25 of 24 latents", ("KOfCodec",), {"x": x, "packed": packed, "W_dec": W_dec, **few, "k": 25}, error="DomainError"),
    ]  # fmt: skip
    return Group("encode_residual", "encode_residual", ["Bytes are compared."], flags, cases)


def _at_a_border() -> Values:
    """Return a row that differs from its sparse part along one axis, and a codec of other axes: exact in any order."""
    W_dec = np.eye(H, D, dtype=np.float32)
    W_dec[D:] = -W_dec[:D]
    given = {"indices": np.array([[0, 1, 2]] * 2, np.int32), "values": f32([[8, 4, 4], [8, -4, 4]]), "n_latents": H}
    packed = Spec().answer("pack", given | {"bits": 4})["packed"]
    x = np.zeros((2, D), np.float32)
    x[:, [0, 1, 2]], x[:, 3] = [[1, 0.5, 0.5], [1, -0.5, 0.5]], 0.5
    fields = _codec(np.random.default_rng(0), [2, 3])
    return {"x": x, "packed": packed, "W_dec": W_dec, **fields, "basis": np.eye(2, D, 8, dtype=np.float32)}


def _stored(rng: np.random.Generator, W_dec: Any, n: int, bits: list[int]) -> Values:
    x, packed = _rows(rng, W_dec, n)
    given = {"packed": packed, "W_dec": W_dec, **_codec(rng, bits)}
    return given | {"rest": Spec().answer("encode_residual", {"x": x, **given})["rest"]}


def decode_residual() -> Group:
    """Return the vectors of reconstructions."""
    flags = {
        "SparseAlone": Flag("the residual is left out", ("E62",), (("return [x_sparse[c] + length * toward[c] for c in range(len(x_sparse))]", "return x_sparse"),)),
        "Unscaled": Flag("levels are not multiplied by the scales of their components", ("E62",), (("[codec[\"scales\"][j] * t[j] for j in range(len(t))]", "t"),)),
        "LengthRead": Flag("the byte of the length is read as a fraction of 255", ("E58",), (("return codec[\"lengths\"][rest[0]], [", "return rest[0] / 255.0, ["),)),
        "ZeroRowRead": Flag("a row of zero bytes is read as other than zeros", ("R42",), (("    if not any(packed):\n        return x_sparse\n", ""),)),
        "Padding": Flag("bits behind the last number are not looked at", ("R41",), (("    assert not any(bits[at:])  # R41\n", ""),)),
        "NoSparsePart": Flag("a residual without a sparse part is not refused", ("R42",), (("    assert any(packed) or not any(rest)  # R42\n", ""),)),
        "FirstBadRow": Flag("the error does not name the row", ("R41",), names_row(0, "FormatError")),
        "RowBytes": Flag("rows of another number of bytes are not refused", ("R43",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(72)
    good = _stored(rng, random_atoms(rng, H, D), 6, [5, 3, 2, 2, 1])
    wide = _stored(rng, random_atoms(rng, H, D, np.float64), 2, [6, 4])
    zero, padding, alone = ({**good, "packed": good["packed"].copy(), "rest": good["rest"].copy()} for _ in range(3))
    zero["packed"][1], zero["rest"][1] = 0, 0
    padding["rest"][4, -1] |= 128
    alone["packed"][2] = 0

    def bounds(inputs: Values, outputs: Values) -> dict[str, float]:
        return spread("decode_residual", inputs, outputs)

    cases = [
        Case("five components, one row of zeros", ("SparseAlone", "Unscaled", "LengthRead", "ZeroRowRead"), zero, bounds=bounds),
        Case("a model in float64", ("SparseAlone",), wide, bounds=bounds, needs=("float64",)),
        Case("a bit behind the last number", ("Padding", "FirstBadRow"), padding, error="FormatError", row=4),
        Case("a residual behind zero bytes", ("NoSparsePart",), alone, error="FormatError", row=2),
        Case("a byte too many", ("RowBytes",), good | {"rest": np.pad(good["rest"], ((0, 0), (0, 1)))}, error="ShapeError"),
    ]  # fmt: skip
    return Group(
        "decode_residual", "decode_residual", ["Reconstructions are sums: their bounds are stated."], flags, cases
    )


def search_residual() -> Group:
    """Return the vectors of scores."""
    flags = {
        "SparseScore": Flag("the residual does not enter the score", ("E63",), (("indices, values) + of_rest) / clamped_norm(x_hat)", "indices, values)) / clamped_norm(x_hat)"),)),
        "SparseNorm": Flag("the score is divided by the norm of the sparse part", ("E63",), (("+ of_rest) / clamped_norm(x_hat)", "+ of_rest) / clamped_norm(sparse_row(packed, W_dec, codec))"),)),
        "LengthInScore": Flag("the length of the residual does not enter the score", ("E63",), (("of_rest = length * dot(p, t)", "of_rest = dot(p, t)"),)),
        "ScalesInScore": Flag("the scales of components do not enter the score", ("E63",), (("p = [dot(codec[\"basis\"][j], x_unit) * codec[\"scales\"][j]", "p = [dot(codec[\"basis\"][j], x_unit)"),)),
    }  # fmt: skip
    rng = np.random.default_rng(73)
    items = _stored(rng, random_atoms(rng, H, D), 7, [4, 3, 3, 1])
    items["packed"][6], items["rest"][6] = 0, 0

    def bounds(inputs: Values, outputs: Values) -> dict[str, float]:
        return spread("search_residual", inputs, outputs)

    queries = f32(rng.standard_normal((3, D)))
    cases = [Case("the best 5 of 7 items", tuple(flags), {"top": 5, "queries": queries, **items}, bounds=bounds)]
    return Group("search_residual", "search_residual", ["All items are scored."], flags, cases)


GROUPS = (encode_residual, decode_residual, search_residual)
