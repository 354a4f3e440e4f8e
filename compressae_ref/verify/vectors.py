"""Read test vectors: arrays as little-endian hex, files of tests, and their folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import SPEC_VERSION as SPEC_VERSION
from compressae_ref.errors import FormatError, format_error, reason
from compressae_ref.optional import data_folder
from compressae_ref.verify.operations import OPERATIONS

DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
"""Dtypes by their name in vectors and in the protocol."""

MOST_DRAWN = 1 << 24
"""Most numbers that a vector may draw from a seed."""

Values = dict[str, Any]
"""Inputs or outputs by name: arrays, integers, strings, None, or lists of strings and None."""


@dataclass(frozen=True)
class Test:
    """One request, and its right answer."""

    id: str
    operation: str
    flags: tuple[str, ...]
    comment: str
    inputs: Values
    outputs: Values = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    """absolute error bounds of outputs whose sums may run in any order; other outputs are compared bit for bit"""
    error: str | None = None
    """name of the error that the inputs must cause"""
    row: int | None = None
    """number of the row that the error must name, from 0"""
    needs_float64: bool = False


@dataclass(frozen=True)
class VectorFile:
    """The tests of one file, and the mistake that each flag catches."""

    name: str
    operation: str
    why: Mapping[str, str]
    bits: frozenset[str]
    """flags of mistakes that change only bits, within the bounds; relevant to bit-identical implementations"""
    tests: tuple[Test, ...]


def array_to_json(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as ``{"dtype", "shape", "hex"}``: its bytes in C order, little-endian."""
    for name, dtype in DTYPES.items():
        if array.dtype == np.dtype(dtype):
            little = np.asarray(array, dtype, order="C")
            return {"dtype": name, "shape": list(array.shape), "hex": little.tobytes().hex()}
    raise TypeError(f"no name for {array.dtype}")


def array_from_json(value: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array of `array_to_json`.

    Raises
    ------
    FormatError
        If a key is missing or unknown, or if dtype, shape and bytes do not agree.
    """
    if set(value) != {"dtype", "shape", "hex"}:
        raise FormatError(f"expected an array with dtype, shape and hex, got {', '.join(sorted(value)) or 'no keys'}")
    dtype, shape, text = value["dtype"], value["shape"], value["hex"]
    if not (isinstance(dtype, str) and dtype in DTYPES and isinstance(text, str) and isinstance(shape, list)):
        raise FormatError(
            f"expected a dtype of {', '.join(DTYPES)}, a list as shape and a string as hex, "
            f"got dtype {described(dtype)}, shape {described(shape)}, hex {described(text)}"
        )
    if len(shape) > 3 or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise FormatError(f"expected a shape of up to three integers from 0, got {described(shape)}")
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise FormatError(f"expected bytes as hex, got {described(text)} ({reason(error)})") from error
    array = np.frombuffer(raw, np.uint8)
    expected = int(np.prod(shape, dtype=object)) * np.dtype(DTYPES[dtype]).itemsize
    if len(array) != expected:
        raise FormatError(f"expected {expected} bytes for {dtype} {shape}, got {len(array)}")
    return array.view(DTYPES[dtype]).reshape(shape)


def described(value: Any) -> str:
    """Return dtype and shape of an array, such as ``F32 [5, 16]``; the JSON of another value, at most 60 characters."""
    if isinstance(value, np.ndarray):
        names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
        return f"{names.get(value.dtype, value.dtype)} {list(value.shape)}"
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def values_to_json(values: Values) -> dict[str, Any]:
    """Convert arrays by `array_to_json`, and keep the other values."""
    return {name: array_to_json(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}


def values_from_json(values: Mapping[str, Any]) -> Values:
    """Convert the arrays of `values_to_json` back; FormatError names the value that is not an array."""
    return {name: _named_array(name, value) if isinstance(value, dict) else value for name, value in values.items()}


def _named_array(name: str, value: Mapping[str, Any]) -> NDArray[Any]:
    try:
        return array_from_json(value)
    except FormatError as error:
        error.argument = name[:40]
        raise


def compact(value: Any) -> str:
    """Return one line of JSON without spaces between its tokens."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def drawn(shape: list[int], seed: str) -> NDArray[np.float32]:
    """Return pseudorandom numbers that files need not store: ((byte i of SHAKE-128(seed) mod 16) − 8) / 64."""
    count = int(np.prod(shape))
    stream = np.frombuffer(hashlib.shake_128(seed.encode()).digest(count), np.uint8)
    values: NDArray[np.float32] = ((stream % 16).astype(np.float32).reshape(shape) - 8) / np.float32(64)
    return values


# -- files ------------------------------------------------------------------------------------------------------------


def default_folder() -> Path:
    """Return the folder of the test vectors; BackendError if they are not installed."""
    return data_folder("compressae_ref_vectors", "spec/vectors", "test vectors")


def load_folder(folder: Path) -> list[VectorFile]:
    """Read all files of tests in a folder, by name."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != "accumulated.json")
    if not paths:
        raise FormatError(
            "expected files of test vectors (*.json), found none", path=folder, hint="pass a copy of spec/vectors"
        )
    return [load_file(path) for path in paths]


def load_mistakes(folder: Path) -> dict[str, dict[str, str]]:
    """Read which answer each mistake gives: test → flag → `judge.fingerprint`; {} if the folder does not have it."""
    path = folder / "mistakes" / "answers.json"
    if not path.exists():
        return {}
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))["answers"]
        return {test: {flag: str(answer) for flag, answer in flags.items()} for test, flags in answers.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable(path, "the answers that mistakes give", error) from error


def load_file(path: Path) -> VectorFile:
    """Read one file of tests; FormatError if it does not follow its schema, for example has an unknown key."""
    try:
        return _file(path, json.loads(path.read_text(encoding="utf-8")))
    except FormatError as error:
        raise format_error(path, error) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable(path, "a file of tests that follows its schema", error) from error


def unreadable(path: Path, expected: str, error: Exception) -> FormatError:
    """Return the error for a JSON file of vectors that cannot be read or lacks a part."""
    return FormatError(f"expected {expected}, got {type(error).__name__}: {reason(error)}", path=path)


def _file(path: Path, content: dict[str, Any]) -> VectorFile:
    _only(content, {"spec", "operation", "level", "section", "equations", "rules", "header", "flags", "tests"})
    if content["spec"] != SPEC_VERSION:
        raise FormatError(f"expected vectors of specification {SPEC_VERSION}, got {content['spec']}")
    flags = content["flags"]
    if content["operation"] not in OPERATIONS:
        raise FormatError(f"expected tests of a known operation, got {described(content['operation'])}")
    if not content["tests"]:
        raise FormatError("expected at least one test, got an empty list")
    tests = tuple(_test(path, content["operation"], test) for test in content["tests"])
    return VectorFile(
        path.stem,
        content["operation"],
        {name: flag["why"] for name, flag in flags.items()},
        frozenset(name for name, flag in flags.items() if flag.get("bits")),
        tests,
    )


def _test(path: Path, operation: str, test: dict[str, Any]) -> Test:
    if unknown := set(test["inputs"]) - set(OPERATIONS[operation].inputs):
        raise FormatError(
            f"expected only inputs of {operation}, got also {', '.join(sorted(unknown))}", argument=test["id"]
        )
    _only(test, {"id", "comment", "flags", "result", "inputs", "outputs", "bounds", "error", "row", "needs"})
    if words := [each for each in (test["id"], test["comment"], *test["flags"]) if not isinstance(each, str)]:
        raise FormatError(f"expected strings as id, comment and flags, got {described(words[0])}")
    return Test(
        test["id"],
        operation,
        tuple(test["flags"]),
        test["comment"],
        {name: _value(path, value) for name, value in test["inputs"].items()},
        {name: _value(path, value) for name, value in test.get("outputs", {}).items()},
        test.get("bounds", {}),
        test.get("error"),
        test.get("row"),
        "float64" in test.get("needs", []),
    )


def _value(path: Path, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if set(value) == {"path"}:
        file = path.parent / value["path"]
        if not file.is_file():  # reading a device may never end
            raise FormatError(f"expected a file beside the vectors, got {described(value['path'])}")
        return np.fromfile(file, np.uint8)
    if set(value) == {"dtype", "shape", "shake128"}:
        shape = value["shape"]
        sizes = isinstance(shape, list) and all(type(size) is int and 0 <= size <= MOST_DRAWN for size in shape)
        if not sizes or int(np.prod(shape, dtype=object)) > MOST_DRAWN:
            raise FormatError(f"expected a shape of at most {MOST_DRAWN} numbers in total, got {described(shape)}")
        return drawn(shape, value["shake128"])
    return array_from_json(value)


def _only(content: Mapping[str, Any], known: set[str]) -> None:
    """Refuse unknown keys."""
    if unknown := set(content) - known:
        raise FormatError(f"expected only {', '.join(sorted(known))}, got also {', '.join(sorted(unknown))}")
