"""Vectors of files: valid and invalid model and codes files, one scenario in each, stored as separate files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spec.generate.answers import Spec, Values, codes_file, meta_array, model_file, text_array
from spec.generate.build import Bug, Case, Flag, Group, accepts, codes, dyadic, f32, unit_atoms
from spec.generate.program import program

RUN = program()
HEADER = [
    "A valid file gives these contents; an invalid one is refused with a FormatError. Each invalid file has one fault."
]

Members = dict[str, bytes]


class Scenario(NamedTuple):
    """One file and the mistake that it catches."""

    name: str
    flag: str
    why: str
    cites: tuple[str, ...]
    file: bytes
    valid: bool
    bug: Bug
    needs: tuple[str, ...] = ()


def _group(name: str, operation: str, folder: str, scenarios: list[Scenario]) -> Group:
    flags = {each.flag: Flag(each.why, each.cites, each.bug) for each in scenarios}
    cases = [
        Case(
            each.name,
            (each.flag,),
            {"file": np.frombuffer(each.file, np.uint8)},
            error=None if each.valid else "FormatError",
            stated={"file": {"path": file_name(folder, each)}},
            needs=each.needs,
        )
        for each in scenarios
    ]
    return Group(name, operation, HEADER, flags, cases)


def file_name(folder: str, scenario: Scenario) -> str:
    """Return the path of a scenario's file in the folder of vectors."""
    return f"files/{folder}-{scenario.name.replace(' ', '-').replace('|', '').replace('<', '').lower()}.npz"


def _changed(file: bytes, change: Callable[[Members, dict[str, Any]], None], redo: bool = False) -> bytes:
    """Return the file with changed members and meta, as a valid archive; ``redo`` recomputes the digest."""
    found: Members = RUN.members(file)
    meta = json.loads(RUN.array(found["meta"])[2].decode("utf-32-le"))
    change(found, meta)
    if redo:
        meta["digest"] = RUN.digest_of({name: RUN.array(found[name]) for name in ("W_enc", "b_enc", "W_dec")})
    if "meta" in found:
        found["meta"] = meta_array(meta)
    return bytes(RUN.archive(list(found.items())))


def _npy(array: Any) -> bytes:
    return bytes(RUN.npy(array.dtype.str, list(array.shape), array.tobytes()))


def _meta(**values: Any) -> Callable[[Members, dict[str, Any]], None]:
    return lambda found, meta: meta.update(values)


def _member(name: str, content: bytes) -> Callable[[Members, dict[str, Any]], None]:
    return lambda found, meta: found.update({name: content})


def _without(name: str) -> Callable[[Members, dict[str, Any]], None]:
    def change(found: Members, meta: dict[str, Any]) -> None:
        del found[name]

    return change


def _flipped(file: bytes, at: int) -> bytes:
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


ARCHIVE_OF_FILES = Spec(('name = (name + ".npy").encode()', "name = name.encode()")).program(np.float64).archive
"""The block `archive`, for names that need not end in .npy."""


def _archive(file: bytes, *more: tuple[str, bytes], first: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """Return the file with other members in front of its own and behind them."""
    own = [(f"{name}.npy", content) for name, content in RUN.members(file).items()]
    return bytes(ARCHIVE_OF_FILES([*first, *own, *more]))


def _with(file: bytes, name: str, content: bytes) -> bytes:
    """Return the file with another member, and everything else as it is."""
    return bytes(RUN.archive(list((RUN.members(file) | {name: content}).items())))


def _with_meta(file: bytes, text: str) -> bytes:
    """Return the file with any text as its meta."""
    return _with(file, "meta", bytes(RUN.npy(f"<U{len(text)}", [], text.encode("utf-32-le", "surrogatepass"))))


def _meta_text(file: bytes) -> str:
    return str(RUN.array(RUN.members(file)["meta"])[2].decode("utf-32-le"))


def _header(file: bytes, name: str, old: str, new: str) -> bytes:
    """Return the file with another text in the header of an array, of the same length with its padding."""
    content = RUN.members(file)[name]
    start = 10 + int.from_bytes(content[8:10], "little")
    text = content[10:start].decode().replace(old, new).rstrip()
    return _with(file, name, content[:10] + text.ljust(start - 11).encode() + b"\n" + content[start:])


def _version_2(file: bytes, name: str) -> bytes:
    """Return the file with an array in version 2.0 of .npy, whose header has its length in four bytes."""
    content = RUN.members(file)[name]
    start = 10 + int.from_bytes(content[8:10], "little")
    length = (start - 12).to_bytes(4, "little")
    return _with(file, name, content[:6] + b"\2\0" + length + content[10 : start - 3] + b"\n" + content[start:])


def _by_columns(file: bytes, array: Any) -> bytes:
    """Return the file with W_enc in Fortran order."""
    content = bytes(RUN.npy(array.dtype.str, list(array.shape), array.tobytes(order="F")))
    return _header(_with(file, "W_enc", content), "W_enc", "False", "True")


NOT_JSON = ('raw.decode("utf-32-le"), parse_constant=not_json', 'raw.decode("utf-32-le")')


def _skip(check: str) -> Bug:
    return ((check, "assert True"),)


DTYPE = 'assert arrays[name][0] == {"float32": "<f4", "float64": "<f8"}[meta["dtype"]]'
LATENTS = 'assert type(meta.get("n_latents")) is int and meta["n_latents"] == h'
KIND = 'assert meta.get("format") == kind'
VERSION = 'assert type(meta.get("version")) is int and meta["version"] == 1'


def _model_parts() -> tuple[Any, Any, Any, bytes]:
    rng = np.random.default_rng(41)
    W_enc, b_enc, W_dec = dyadic(rng, (4, 6)), dyadic(rng, (6,)), unit_atoms(rng, 6, 4)
    file = model_file(Spec(), W_enc, b_enc, W_dec, 2)
    return W_enc, b_enc, W_dec, _changed(file, _meta(training={"k": 5, "steps": 100, "n_latents": None}))


def _codes_parts() -> tuple[Any, Any, bytes]:
    indices, values = codes(np.random.default_rng(42), 3, 9, 2)
    return indices, values, codes_file(Spec(), indices, values, 9, "5e" * 32)


def model_scenarios() -> list[Scenario]:
    """Return the scenarios of model files."""
    W_enc, b_enc, W_dec, good = _model_parts()
    wide = model_file(Spec(), W_enc.astype(np.float64), b_enc.astype(np.float64), W_dec.astype(np.float64), 2)
    short = _npy(b_enc)[:-4]
    half = W_dec.copy()
    half[3] *= f32(1.25)
    finite = ("assert all(math.isfinite(value) for value in numbers(arrays[name][0], arrays[name][2]))", "assert True")
    one_more = np.append(b_enc, f32([0]))
    altered = W_enc.copy()
    altered[2, 3] += f32(1)
    in_training = good.find("training".encode("utf-32-le")) + 4 * len('training": {"k": ')
    crash: Bug = lambda *_: {"error": "FormatError"}  # noqa: E731

    def nested_k(given: Values, right: Values) -> dict[str, Any]:
        return {"outputs": right | {"k": 5}}

    def swapped(given: Values, right: Values) -> dict[str, Any]:
        return {"outputs": right | {"b_enc": right["b_enc"].byteswap()}} if right else {"outputs": {}}

    def bits(name: str, array: Any) -> Any:
        return _changed(good, _member(name, _npy(array)), redo=True)

    nan, infinite = b_enc.copy(), W_enc.copy()
    nan[1], infinite[0, 0] = np.nan, np.inf
    both = ("R11", "R12")
    return [
        Scenario("float32", "NestedNames", "the first k in the text of the meta is taken: there is another one in training", ("R12", "E18"), good, True, nested_k),
        Scenario("float64", "Float64", "numbers are taken for float32", ("R11",), wide, True, crash, ("float64",)),
        Scenario("unknown member", "UnknownMember", "a member that is not known is refused", ("R12",), _changed(good, _member("notes", text_array("made by hand"))), True, crash),
        Scenario("cut off", "CutOff", "a file without its end is read", ("R12",), good[:-30], False, accepts),
        Scenario("empty", "Empty", "an empty file is read", ("R12",), b"", False, accepts),
        Scenario("no archive", "NoArchive", "another kind of file is read", ("R12",), _npy(W_enc), False, accepts),
        Scenario("altered byte", "AlteredByte", "the CRC of a member is not looked at", ("R12",), _flipped(good, in_training), False, _skip("assert zlib.crc32(content) == number(data, at + 16, 4)")),
        Scenario("altered weights", "Digest", "the digest is not looked at", ("E18", "R12"), _changed(good, _member("W_enc", _npy(altered))), False, _skip('assert meta.get("digest") == digest_of(arrays)')),
        Scenario("codes format", "Kind", "a file of another kind is read as a model", ("R12",), _changed(good, _meta(format="compressae-codes")), False, _skip(KIND)),
        Scenario("version 2", "Version", "a file of an unknown version is read", ("R12",), _changed(good, _meta(version=2)), False, _skip(VERSION)),
        Scenario("version true", "VersionNumber", "true is taken for the number 1", ("R12",), _changed(good, _meta(version=True)), False, ((VERSION, 'assert meta.get("version") == 1'),)),
        Scenario("no dtype", "Dtype", "a meta without dtype agrees with anything", ("R12",), _changed(good, lambda found, meta: meta.pop("dtype")), False, accepts),
        Scenario("dtype of whole numbers", "DtypeKnown", "weights may be whole numbers", ("R12",), _whole_numbers(good), False, accepts),
        Scenario("no meta", "NoMeta", "a file without meta is read", ("R12",), _changed(good, _without("meta")), False, accepts),
        Scenario("meta is not JSON", "MetaJson", "a meta that is not JSON is read", ("R12",), bytes(RUN.archive([*list(RUN.members(good).items())[:-1], ("meta", text_array("{format: model}"))])), False, accepts),
        Scenario("no bias", "MissingMember", "a missing array is made up", ("R12",), _changed(good, _without("b_enc")), False, accepts),
        Scenario("pickled bias", "Pickled", "pickled objects are loaded", ("R12",), _changed(good, _member("b_enc", bytes(RUN.npy("|O", [6], b"\x80\x04N.")))), False, accepts),
        Scenario("lying header", "LyingHeader", "the header of an array is believed, though there are fewer bytes", ("R12",), _lying(good, short), False, (("assert len(raw) == math.prod(shape) * sizes[descr]", "assert True"),)),
        Scenario("one bias too many", "Shape", "shapes are not held against each other", ("R12",), _changed_shape(good, one_more), False, _skip("assert arrays[name][1] == shape")),
        Scenario("mixed precision", "MixedPrecision", "one array may be float64 where the others are float32", both, _mixed(good, b_enc), False, ((DTYPE, "assert True"),)),
        Scenario("big-endian", "BigEndian", "big-endian numbers are read, the wrong way round or at all", ("R11",), _changed(good, _member("b_enc", _npy(b_enc.astype(">f4")))), False, swapped),
        Scenario("NaN in the bias", "NotFinite", "numbers that are not finite are read", ("R3", "R12"), bits("b_enc", nan), False, (finite,)),
        Scenario("infinity in the encoder", "NotFinite", "numbers that are not finite are read", ("R3", "R12"), bits("W_enc", infinite), False, (finite,)),
        Scenario("atom of norm 1.25", "UnitAtoms", "atoms that are not unit rows are read", ("E12", "R12"), bits("W_dec", half), False, _skip("assert abs(math.sqrt(sum(value * value for value in atom)) - 1) <= 1e-3")),
        Scenario("k larger than h", "KTooLarge", "k > h is read", ("R12",), _changed(good, _meta(k=7)), False, (("    assert 1 <= k <= h\n    assert isinstance", "    assert isinstance"),)),
        Scenario("k is not whole", "KWhole", "a k of 2.5 is read", ("R12",), _changed(good, _meta(k=2.5)), False, _skip("assert type(meta.get(name)) is int")),
        Scenario("training is not an object", "Training", "training settings may be anything", ("R12",), _changed(good, _meta(training="long")), False, _skip('assert isinstance(meta.get("training"), dict)')),
        Scenario("other files", "OtherFiles", "a member that is not an array, or a folder, is refused", ("R12",), _archive(good, ("README.txt", b"made by hand"), ("notes/", b"")), True, crash),
        Scenario("two of one name", "LastMember", "of two members with one name the first is read", ("R12",), _archive(good, first=(("b_enc.npy", _npy(b_enc + f32(1))),)), True, (("found[name.removesuffix(\".npy\")] = content", "found.setdefault(name.removesuffix(\".npy\"), content)"),)),
        Scenario("k is true", "KTrue", "true is taken for a k of 1", ("R12",), _changed(good, _meta(k=True)), False, _skip("assert type(meta.get(name)) is int")),
        Scenario("text behind the JSON", "OnlyJson", "what follows the JSON object is ignored", ("R12",), _with_meta(good, _meta_text(good) + " {}"), False, accepts),
        Scenario("NUL behind the JSON", "OnlyJson", "what follows the JSON object is ignored", ("R12",), _with_meta(good, _meta_text(good) + "\0\0"), False, accepts),
        Scenario("NaN in the meta", "NaNInJson", "NaN or Infinity is taken for JSON", ("R12",), _with_meta(good, _meta_text(good).replace("100", "NaN")), False, (NOT_JSON,)),
        Scenario("infinity in the meta", "NaNInJson", "NaN or Infinity is taken for JSON", ("R12",), _with_meta(good, _meta_text(good).replace("100", "-Infinity")), False, (NOT_JSON,)),
        Scenario("half a surrogate pair", "Surrogate", "a surrogate is taken for a character", ("R12",), _with_meta(good, _meta_text(good).replace("steps", "step\ud83d")), False, accepts),
        Scenario("bytes in front", "FirstByte", "bytes in front of the archive are skipped", ("R12",), b"#!/bin/sh\n" + good, False, accepts),
        Scenario("two archives", "OneArchive", "the directory need not end where the end record begins, so that a file can have two", ("R12",), good + good, False, _skip("assert at == end  # one archive, from the first byte")),
        Scenario("array of version 2", "NpyVersion", "an array in version 2.0 of .npy is read", ("R12",), _version_2(good, "b_enc"), False, accepts),
        Scenario("byte order of the machine", "NativeOrder", "numbers in the byte order of the machine are read", ("R11",), _header(good, "b_enc", "'<f4'", "'=f4'"), False, accepts),
        Scenario("by columns", "FortranOrder", "arrays in Fortran order are read", ("R11",), _by_columns(good, W_enc), False, accepts),
        Scenario("one axis by columns", "FortranOrder", "arrays in Fortran order are read", ("R11",), _header(good, "b_enc", "False", "True"), False, accepts),
    ]  # fmt: skip


def _whole_numbers(good: bytes) -> bytes:
    """Return a model file whose arrays are integers, with the dtype in its meta."""

    def change(found: Members, meta: dict[str, Any]) -> None:
        for name in ("W_enc", "b_enc", "W_dec"):
            _, shape, raw = RUN.array(found[name])
            found[name] = bytes(RUN.npy("<i4", shape, raw))
        meta["dtype"] = "int32"

    return _changed(good, change, redo=True)


def _lying(good: bytes, short: bytes) -> bytes:
    """Return a file whose bias has 5 numbers but a header of 6; the digest is that of 5 numbers with the wrong shape."""
    found = RUN.members(good)
    start = 10 + int.from_bytes(short[8:10], "little")
    arrays = {name: RUN.array(found[name]) for name in ("W_enc", "W_dec")} | {"b_enc": ("<f4", [6], short[start:])}

    def change(members: Members, meta: dict[str, Any]) -> None:
        members["b_enc"] = short
        meta["digest"] = RUN.digest_of(arrays)

    return _changed(good, change)


def _changed_shape(good: bytes, bias: Any) -> bytes:
    return _changed(good, _member("b_enc", _npy(bias)), redo=True)


def _mixed(good: bytes, bias: Any) -> bytes:
    return _changed(good, _member("b_enc", _npy(bias.astype("<f8"))), redo=True)


def codes_scenarios() -> list[Scenario]:
    """Return the scenarios of codes files."""
    indices, values, good = _codes_parts()
    spec = Spec()
    zero = values.copy()
    zero[1] = [-0.0, 0.0]
    nan = values.copy()
    nan[2, 0] = np.nan

    def with_indices(row: list[int]) -> bytes:
        changed = indices.copy()
        changed[1] = row
        return _changed(good, _member("indices", _npy(changed.ravel())))

    ascends = "assert all(indices[t] < indices[t + 1] for t in range(k - 1))"
    inside = "assert all(0 <= j < h for j in indices)"
    return [
        Scenario("float32", "Model", "the digest of the model is lost", ("R13",), good, True, lambda _, right: {"outputs": right | {"model": None}}),
        Scenario("float64", "Float64", "numbers are taken for float32", ("R11",), codes_file(spec, indices, values.astype(np.float64), 9, None), True, lambda *_: {"error": "FormatError"}, ("float64",)),
        Scenario("no model", "NoModel", "codes without a model's digest are refused", ("R13",), codes_file(spec, indices, values, 9, None), True, lambda *_: {"error": "FormatError"}),
        Scenario("zeros", "MinusZero", "−0 stays −0, or stored zeros are dropped", ("R2",), codes_file(spec, indices, zero, 9, None), True, (('[value + 0.0 for value in arrays["data"]', '[value for value in arrays["data"]'),)),
        Scenario("cut off", "CutOff", "a file without its end is read", ("R12",), good[:-30], False, accepts),
        Scenario("model format", "Kind", "a file of another kind is read as codes", ("R12",), _changed(good, _meta(format="compressae-model")), False, _skip(KIND)),
        Scenario("version 2", "Version", "a file of an unknown version is read", ("R12",), _changed(good, _meta(version=2)), False, _skip(VERSION)),
        Scenario("indices descend", "Ascending", "indices that do not ascend are read", ("R2", "R12"), with_indices([7, 3]), False, _skip(ascends)),
        Scenario("repeated index", "Repeated", "a latent may be stored twice", ("R2", "R12"), with_indices([4, 4]), False, ((ascends, ascends.replace("<", "<=")),)),
        Scenario("index too large", "IndexTooLarge", "an index of h or more is read", ("R12",), with_indices([3, 9]), False, ((inside, inside.replace("0 <= j < h", "0 <= j")),)),
        Scenario("negative index", "IndexNegative", "a negative index is read", ("R12",), with_indices([-1, 3]), False, ((inside, inside.replace("0 <= j < h", "j < h")),)),
        Scenario("ragged rows", "Ragged", "rows with more or fewer than k entries are read", ("R2", "R12"), _changed(good, _member("indptr", _npy(np.array([0, 1, 4, 6], "<i4")))), False, (('assert all(arrays["indptr"][i] == i * k for i in range(n + 1))', "assert True"),)),
        Scenario("more rows than there are", "RowsCounted", "the number of rows is believed, and memory or time given to it", ("R12",), _changed(good, _member("shape", _npy(np.array([2**40, 9], "<i8")))), False, accepts),
        Scenario("a value too few", "Lengths", "values and indices are not held against each other", ("R12",), _changed(good, _member("data", _npy(values.ravel()[:-1]))), False, accepts),
        Scenario("NaN", "NotFinite", "values that are not finite are read", ("R3", "R12"), _changed(good, _member("data", _npy(nan.ravel()))), False, _skip('assert all(math.isfinite(value) for value in arrays["data"])')),
        Scenario("other n_latents", "LatentsAgree", "n_latents in the meta and in the shape may differ", ("R12",), _changed(good, _meta(n_latents=12)), False, _skip(LATENTS)),
        Scenario("model is a number", "ModelText", "the model may be anything", ("R13",), _changed(good, _meta(model=5)), False, _skip('assert "model" in meta and isinstance(meta["model"], (str, type(None)))')),
        Scenario("big-endian", "BigEndian", "big-endian numbers are read", ("R11",), _changed(good, _member("data", _npy(values.ravel().astype(">f4")))), False, accepts),
        Scenario("other files", "OtherFiles", "a member that is not an array, or a folder, is refused", ("R12",), _archive(good, ("README.txt", b"made by hand"), ("notes/", b"")), True, lambda *_: {"error": "FormatError"}),
        Scenario("two of one name", "LastMember", "of two members with one name the first is read", ("R12",), _archive(good, first=(("data.npy", _npy(values.ravel() + f32(1))),)), True, (("found[name.removesuffix(\".npy\")] = content", "found.setdefault(name.removesuffix(\".npy\"), content)"),)),
        Scenario("k is true", "KTrue", "true is taken for a k of 1", ("R12",), _changed(codes_file(spec, indices[:, :1], values[:, :1], 9, None), _meta(k=True)), False, _skip("assert type(k) is int and 1 <= k <= h")),
        Scenario("byte order of the machine", "NativeOrder", "numbers in the byte order of the machine are read", ("R11",), _header(good, "data", "'<f4'", "'=f4'"), False, accepts),
        Scenario("NaN in the meta", "NaNInJson", "NaN or Infinity is taken for JSON", ("R12",), _with_meta(good, _meta_text(good).replace("{", '{"made_in": NaN, ', 1)), False, (NOT_JSON,)),
    ]  # fmt: skip


def _packed_file() -> bytes:
    indices, values = codes(np.random.default_rng(43), 3, 37, 5)
    values[1] = 0
    given: Values = {"indices": indices, "values": values, "n_latents": 37, "bits": 5}
    packed = Spec().answer("pack", given)["packed"]
    meta = {"format": "compressae-packed", "version": 1, "k": 5, "n_latents": 37, "bits": 5, "model": "5e" * 32}
    return bytes(RUN.archive([("packed", _npy(packed)), ("meta", meta_array(meta))]))


def packed_scenarios() -> list[Scenario]:
    """Return the scenarios of files of packed codes."""
    good = _packed_file()
    packed = np.frombuffer(RUN.array(RUN.members(good)["packed"])[2], np.uint8).reshape(3, -1)
    bad = packed.copy()
    bad[2, -1] ^= 128
    refused: Bug = lambda *_: {"error": "FormatError"}  # noqa: E731

    def other(array: Any) -> bytes:
        return _changed(good, _member("packed", _npy(array)))

    return [
        Scenario("5 bits", "Model", "the digest of the model is lost", ("R13",), good, True, lambda _, right: {"outputs": right | {"model": None}}),
        Scenario("no model", "NoModel", "codes without a model's digest are refused", ("R13",), _changed(good, _meta(model=None)), True, refused),
        Scenario("codes format", "Kind", "a file of another kind is read as packed codes", ("R12",), _changed(good, _meta(format="compressae-codes")), False, _skip(KIND)),
        Scenario("7 bits", "Bits", "other numbers of bits are read", ("R18",), _changed(good, _meta(bits=7)), False, accepts),
        Scenario("bits are true", "BitsTrue", "the number of bits may be anything", ("R12",), _changed(good, _meta(bits=True)), False, accepts),
        Scenario("k of 0", "KZero", "a k of 0 is read", ("R2", "R12"), _changed(good, _meta(k=0)), False, accepts),
        Scenario("k larger than h", "KTooLarge", "k > h is read", ("R2", "R12"), _changed(good, _meta(k=38)), False, accepts),
        Scenario("a byte too many", "Length", "rows of another number of bytes are read", ("R12",), other(np.pad(packed, ((0, 0), (0, 1)))), False, (("assert descr == \"|u1\" and len(shape) == 2 and shape[1] == packed_bytes(h, k, bits)", "assert True"), ("    assert len(packed) == packed_bytes(h, k, bits)  # a ShapeError\n", ""), ("assert sum(highs) == k and not any(padding)  # R20", "assert sum(highs) == k"))),
        Scenario("signed integers", "Bytes", "the bytes may be numbers of another type", ("R11",), other(packed.astype("<i4")), False, accepts),
        Scenario("a bit behind the last value", "Padding", "rows are not checked", ("R20",), other(bad), False, _skip("unpack(row, h, k, bits)  # R20")),
        Scenario("model is a number", "ModelText", "the model may be anything", ("R13",), _changed(good, _meta(model=5)), False, accepts),
    ]  # fmt: skip


def packed_files() -> Group:
    """Return the vectors of `read_packed`."""
    return _group("packed_files", "read_packed", "packed", packed_scenarios())


def model_files() -> Group:
    """Return the vectors of `read_model`."""
    return _group("model_files", "read_model", "model", model_scenarios())


def codes_files() -> Group:
    """Return the vectors of `read_codes`."""
    return _group("codes_files", "read_codes", "codes", codes_scenarios())


def _cut(given: Values, right: Values) -> dict[str, Any]:
    return {"outputs": {"file": right["file"][:-5]}}


def write_codes() -> Group:
    """Return the vectors of `write_codes`: the file is read, and must hold the inputs."""
    lost = lambda given, _: {"outputs": Spec().answer("write_codes", given | {"model": None})}  # noqa: E731
    flags = {
        "Whole": Flag("the file is not whole", ("R12",), _cut),
        "ModelWritten": Flag("the digest of the model is not written", ("R13",), lost),
    }
    indices, values, _ = _codes_parts()
    inputs = {"indices": indices, "values": values, "n_latents": 9}
    cases = [
        Case("codes of a model", ("Whole", "ModelWritten"), inputs | {"model": "5e" * 32}),
        Case("codes of no known model", ("Whole",), inputs | {"model": None}),
    ]
    header = ["The file is read by the rules of file-format.md, and what it holds is compared; its bytes are free."]
    return Group("write_codes", "write_codes", header, flags, cases)


def write_model() -> Group:
    """Return the vectors of `write_model`: the file is read, and must hold the inputs."""
    flags = {
        "Whole": Flag("the file is not whole", ("R12",), _cut),
        "DigestWritten": Flag("the digest leaves out the names and shapes", ("E18",), (('sha.update(f"{name} {descr} ({sizes}{comma})\\n".encode())', "pass"),)),
    }  # fmt: skip
    W_enc, b_enc, W_dec, _ = _model_parts()
    inputs = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "k": 2}
    cases = [Case("a model", ("Whole", "DigestWritten"), inputs)]
    header = ["The file is read by the rules of file-format.md, and what it holds is compared; its bytes are free."]
    return Group("write_model", "write_model", header, flags, cases)


def bytes_of_files() -> dict[str, bytes]:
    """Return the bytes of every file by its path in the folder of vectors."""
    kinds = (("model", model_scenarios()), ("codes", codes_scenarios()), ("packed", packed_scenarios()))
    return {file_name(folder, each): each.file for folder, scenarios in kinds for each in scenarios}


GROUPS = (model_files, codes_files, write_codes, write_model, packed_files)
