"""Vectors of packed codes: packing to bytes, and unpacking."""

from __future__ import annotations

import numpy as np

from spec.generate.answers import Spec, Values
from spec.generate.build import Case, Flag, Group, accepts, codes, f32, names_row


def pack() -> Group:
    """Return the vectors of packing codes into bytes."""
    flags = {
        "LowBits": Flag("another number of low bits is taken", ("E24",), (("key=lambda low: (k * low + k + ((h - 1) >> low), low)", "key=lambda low: (abs(low - 4), low)"),)),
        "LowestOfEqual": Flag("of equally good numbers of low bits another than the lowest is taken", ("E24",), (("((h - 1) >> low), low))", "((h - 1) >> low), -low))"),)),
        "Unary": Flag("the unary bits are not moved on by the number of the entry", ("E24",), (("row[starts[0] + (indices[t] >> low) + t] = 1", "row[starts[0] + (indices[t] >> low)] = 1"),)),
        "BitOrder": Flag("the highest bit of a byte comes first", ("E24",), (("sum(bit << i for i, bit", "sum(bit << (7 - i) for i, bit"),)),
        "Relative": Flag("values are not divided by the largest magnitude of their row", ("E25", "R18"), (("abs(values[t]) / largest * levels", "abs(values[t]) * levels"),)),
        "RoundDown": Flag("magnitudes are rounded to the nearest level", ("E25",), (("math.floor(abs(values[t]) / largest * levels)", "math.floor(abs(values[t]) / largest * levels + 0.5)"),)),
        "InDouble": Flag("values in float32 are divided in float64", ("E25",), (("abs(values[t]) / largest * levels)", "float(abs(values[t])) / float(largest) * levels)"),)),
        "Sign": Flag("negative values are stored in two's complement", ("E25",), (("q + (levels if values[t] < 0.0 else 0)", "(2 * levels - 1 - q if values[t] < 0.0 else q)"),)),
        "ZeroRow": Flag("a row of zeros is stored as others", ("R19",), (("        return bytes(packed_bytes(h, k, bits))", "        largest = 1.0"),)),
        "Bits": Flag("other numbers of bits are not refused", ("R18",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(41)
    indices, values = codes(rng, 6, 37, 5)
    small: Values = {"indices": indices, "values": values, "n_latents": 37}
    wide, _ = codes(rng, 4, 4096, 32)
    paper: Values = {"indices": wide, "values": f32(rng.standard_normal((4, 32))), "n_latents": 4096}
    zeros = values.copy()
    zeros[1], zeros[2, 3] = 0, 0
    cases = [
        Case("4 bits of 37 latents", ("LowBits", "Unary", "BitOrder", "RoundDown", "Sign"), small | {"bits": 4}),
        Case("5 bits", ("BitOrder", "Sign"), small | {"bits": 5}),
        Case("6 bits, at another scale", ("Relative",), small | {"values": values * 8, "bits": 6}),
        Case("8 bits, a row of zeros and a zero", ("ZeroRow",), small | {"values": zeros, "bits": 8}),
        Case("32 of 4,096 latents in 56 bytes", ("LowestOfEqual", "RoundDown"), paper | {"bits": 5}),
        Case("k = h = 1", ("Sign",), {"indices": np.zeros((2, 1), np.int32), "values": f32([[2], [-3]]), "n_latents": 1, "bits": 4}),
        Case("values in float64", ("RoundDown",), paper | {"values": rng.standard_normal((4, 32)), "bits": 8}, needs=("float64",)),
        Case("7 bits", ("Bits",), small | {"bits": 7}, error="DomainError"),
        Case("a quotient that float32 rounds up to a level", ("InDouble",), {"indices": np.array([[0, 1]], np.int32), "values": f32([[float.fromhex("0x1.36ba12p-2"), float.fromhex("0x1.9e4d6ep-1")]]), "n_latents": 2, "bits": 4}),
    ]  # fmt: skip
    return Group("pack", "pack", ["Bytes are compared."], flags, cases)


def unpack() -> Group:
    """Return the vectors of unpacking codes from bytes."""
    flags = {
        "Half": Flag("values are read back as the lower end of their step", ("E25",), (("(q + 0.5) / levels", "q / levels"),)),
        "SignBit": Flag("the sign is lost", ("E25",), (("* (-1.0 if number >= levels else 1.0)", "* 1.0"),)),
        "HighParts": Flag("the unary bits are read without the number of the entry", ("E24",), (("((ones[t] - t) << low)", "(ones[t] << low)"),)),
        "ZeroRow": Flag("a row of zero bytes is refused, or read as other than zeros", ("R19",), (("    if not any(packed):  # R19", "    if False:"),)),
        "Padding": Flag("bits behind the last value are not looked at", ("R20",), (("assert sum(highs) == k and not any(padding)  # R20", "assert sum(highs) == k"),)),
        "Count": Flag("another number of entries is not refused", ("R20",), accepts),
        "Ascending": Flag("indices that do not ascend, or are too large, are not refused", ("R20",), (("assert all(a < b for a, b in zip(indices, indices[1:] + [h]))  # R20", "assert True"),)),
        "Largest": Flag("rows without a value of the largest level are not refused", ("R20",), (("assert largest == levels - 1  # R20", "assert True"),)),
        "FirstBadRow": Flag("the error does not name the row", ("R20",), names_row(0, "FormatError")),
        "Length": Flag("rows of another number of bytes are not refused", ("R20",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(42)
    indices, values = codes(rng, 5, 37, 5)
    values[1] = 0
    asked: Values = {"indices": indices, "values": values, "n_latents": 37}
    made = {bits: Spec().answer("pack", asked | {"bits": bits})["packed"] for bits in (4, 5)}
    given: Values = {"n_latents": 37, "k": 5}
    right = given | {"packed": made[5], "bits": 5}
    low, starts = 2, 10  # 5 numbers of 2 low bits, 14 unary bits, 5 of 5 bits: 49 bits in 7 bytes

    def changed(*bits: int) -> Values:
        packed = np.unpackbits(made[5], axis=1, bitorder="little")
        packed[3, list(bits)] ^= 1
        return right | {"packed": np.packbits(packed, axis=1, bitorder="little")}

    ones = starts + (indices[3] >> low) + np.arange(5)
    free = next(bit for bit in range(starts, starts + 14) if bit not in ones)
    same = np.array([[4, 5, 9, 20, 36]] * 4, np.int32)
    twice = Spec().answer("pack", asked | {"indices": same, "values": values[[0, 2, 3, 4]], "bits": 5})["packed"]
    as_bits = np.unpackbits(twice, axis=1, bitorder="little")
    as_bits[2, 2] = 0  # 4 and 4: the lowest bit of the second one
    largest = np.unpackbits(made[5], axis=1, bitorder="little")
    largest[3, 24:49] &= np.tile([1, 1, 0, 1, 1], 5).astype(np.uint8)
    cases = [
        Case("5 bits, one row of zeros", ("Half", "SignBit", "HighParts", "ZeroRow"), right),
        Case("4 bits", ("Half", "SignBit"), given | {"packed": made[4], "bits": 4}),
        Case("a bit behind the last value", ("Padding", "FirstBadRow"), changed(50), error="FormatError", row=3),
        Case("an entry too few", ("Count",), changed(int(ones[2])), error="FormatError", row=3),
        Case("an entry too many", ("Count",), changed(free), error="FormatError", row=3),
        Case("an index twice", ("Ascending",), given | {"packed": np.packbits(as_bits, axis=1, bitorder="little"), "bits": 5}, error="FormatError", row=2),
        Case("no value of the largest level", ("Largest",), given | {"packed": np.packbits(largest, axis=1, bitorder="little"), "bits": 5}, error="FormatError", row=3),
        Case("a byte too many in each row", ("Length",), right | {"packed": np.pad(made[5], ((0, 0), (0, 1)))}, error="ShapeError"),
        Case("a byte too few in each row", ("Length",), right | {"packed": made[5][:, :-1].copy()}, error="ShapeError"),
    ]  # fmt: skip
    return Group("unpack", "unpack", ["Values are exact: any implementation gives these bits."], flags, cases)


GROUPS = (pack, unpack)
