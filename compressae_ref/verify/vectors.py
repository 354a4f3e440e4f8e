"""The test vectors: arrays as little-endian hex, files of tests, and where they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError, format_error
from compressae_ref.verify.operations import OPERATIONS

SPEC_VERSION = "1.1"
"""Version of the specification; `spec/CHANGELOG.md` says what changes it."""

DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
"""Names of dtypes in vectors and in the protocol."""

Values = dict[str, Any]
"""Inputs or outputs by name: arrays, whole numbers, texts, null."""


@dataclass(frozen=True)
class Test:
    """One question, and what a right answer is."""

    id: str
    operation: str
    flags: tuple[str, ...]
    comment: str
    inputs: Values
    outputs: Values = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    """absolute bounds of outputs whose sums may run in another order; the others are compared exactly"""
    error: str | None = None
    """name of the error that the inputs must cause"""
    row: int | None = None
    """the row that the error must name"""
    needs_float64: bool = False


@dataclass(frozen=True)
class VectorFile:
    """The tests of one file, and what each of its flags is there to catch."""

    name: str
    operation: str
    why: Mapping[str, str]
    bits: frozenset[str]
    """flags that only the bits of the stated order of sums show"""
    tests: tuple[Test, ...]


def array_to_json(array: NDArray[Any]) -> dict[str, Any]:
    """``{"dtype", "shape", "hex"}``: the bytes in C order, little-endian."""
    for name, dtype in DTYPES.items():
        if array.dtype == np.dtype(dtype):
            little = np.asarray(array, dtype, order="C")
            return {"dtype": name, "shape": list(array.shape), "hex": little.tobytes().hex()}
    raise TypeError(f"no name for {array.dtype}")


def array_from_json(value: Mapping[str, Any]) -> NDArray[Any]:
    """The array; FormatError for anything that is not exactly one."""
    if set(value) != {"dtype", "shape", "hex"}:
        raise FormatError(f"expected an array with dtype, shape and hex, got {sorted(value)}")
    dtype, shape, text = value["dtype"], value["shape"], value["hex"]
    if not (isinstance(dtype, str) and dtype in DTYPES and isinstance(text, str) and isinstance(shape, list)):
        raise FormatError(f"expected an array of {', '.join(DTYPES)}, got dtype {dtype!r}, shape {shape!r}")
    if len(shape) > 3 or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise FormatError(f"expected a shape of whole numbers, got {shape}")
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise FormatError("expected bytes as hex, got other characters") from error
    array = np.frombuffer(raw, np.uint8)
    expected = int(np.prod(shape, dtype=object)) * np.dtype(DTYPES[dtype]).itemsize
    if len(array) != expected:
        raise FormatError(f"expected {expected} bytes for {dtype} of shape {shape}, got {len(array)}")
    return array.view(DTYPES[dtype]).reshape(shape)


def values_to_json(values: Values) -> dict[str, Any]:
    """Arrays as `array_to_json`, the others as they are."""
    return {name: array_to_json(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}


def values_from_json(values: Mapping[str, Any]) -> Values:
    """The reverse of `values_to_json`."""
    return {name: array_from_json(value) if isinstance(value, dict) else value for name, value in values.items()}


def compact(value: Any) -> str:
    """One line of JSON without a space outside its texts."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def drawn(shape: list[int], seed: str) -> NDArray[np.float32]:
    """An array that no file has to hold: byte i of SHAKE-128(seed) becomes ((byte mod 16) − 8) / 64."""
    count = int(np.prod(shape))
    stream = np.frombuffer(hashlib.shake_128(seed.encode()).digest(count), np.uint8)
    values: NDArray[np.float32] = ((stream % 16).astype(np.float32).reshape(shape) - 8) / np.float32(64)
    return values


# -- files ------------------------------------------------------------------------------------------------------------


def default_folder() -> Path:
    """The vectors that come with this package; in a checkout, those of its specification."""
    package = Path(__file__).parent.parent
    for folder in (package / "vectors", package.parent / "spec" / "vectors"):
        if (folder / "abs_topk.json").exists():
            return folder
    raise FormatError("expected the test vectors beside the package, found none: give their folder with --vectors")


def load_folder(folder: Path) -> list[VectorFile]:
    """All files of tests in a folder, by level."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != "accumulated.json")
    if not paths:
        raise FormatError("expected files of test vectors (*.json), found none", path=folder)
    return [load_file(path) for path in paths]


def load_file(path: Path) -> VectorFile:
    """One file of tests; FormatError for a key that this version does not know."""
    try:
        return _file(path, json.loads(path.read_text(encoding="utf-8")))
    except FormatError as error:
        raise format_error(path, error) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("expected a file of tests by its schema, got something else", path=path) from error


def _file(path: Path, content: dict[str, Any]) -> VectorFile:
    _only(content, {"spec", "operation", "level", "section", "equations", "rules", "header", "flags", "tests"})
    if content["spec"] != SPEC_VERSION:
        raise FormatError(f"expected vectors of specification {SPEC_VERSION}, got {content['spec']}")
    flags = content["flags"]
    if content["operation"] not in OPERATIONS or not content["tests"]:
        raise FormatError(f"expected tests of a known operation, got {content['operation']!r}")
    tests = tuple(_test(path, content["operation"], each) for each in content["tests"])
    return VectorFile(
        path.stem,
        content["operation"],
        {name: flag["why"] for name, flag in flags.items()},
        frozenset(name for name, flag in flags.items() if flag.get("bits")),
        tests,
    )


def _test(path: Path, operation: str, test: dict[str, Any]) -> Test:
    if unknown := set(test["inputs"]) - set(OPERATIONS[operation].inputs):
        raise FormatError(f"expected inputs of {operation}, got {', '.join(sorted(unknown))}, too", argument=test["id"])
    _only(test, {"id", "comment", "flags", "result", "inputs", "outputs", "bounds", "error", "row", "needs"})
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
        return np.fromfile(path.parent / value["path"], np.uint8)
    if set(value) == {"dtype", "shape", "shake128"}:
        return drawn(value["shape"], value["shake128"])
    return array_from_json(value)


def _only(content: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(content) - known:
        raise FormatError(f"expected {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}, too")
