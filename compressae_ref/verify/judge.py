"""Judge answers: bit-exact, within a test's bound for other orders of sums, or wrong; and explain what is wrong."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import get_backend
from compressae_ref.reference import unit_rows
from compressae_ref.verify.diagnose import broken_rule, shortened, unequal
from compressae_ref.verify.operations import OPERATIONS, STEP_OUTPUTS, STEP_REQUIRED
from compressae_ref.verify.self_test import answer as package_answer
from compressae_ref.verify.vectors import Test, Values, described


class Verdict(NamedTuple):
    """The result of one test."""

    passed: bool
    bit_exact: bool
    """whether every output has the expected bits"""
    reason: str
    """what differs, in one line; empty if nothing does"""
    in_form: bool = True
    """False if the answer breaks the protocol, so that no mistake in the numbers explains it"""


LOSSES = ("loss", "loss_k", "loss_aux", "loss_similarity")
"""Outputs that are never compared bit for bit: the summation order of these means is unspecified (E13, E31)."""


def judge(test: Test, answer: dict[str, Any]) -> Verdict:
    """Compare an answer, whose arrays are decoded, with the outputs or the error that the test expects."""
    if "failed" in answer:
        return Verdict(False, False, str(answer["failed"]), in_form=False)
    with np.errstate(all="ignore"):
        return _judge(test, answer)


def _judge(test: Test, answer: dict[str, Any]) -> Verdict:
    if "error" in answer:
        return _judge_error(test, answer)
    if test.error is not None:
        return Verdict(False, False, f"expected {test.error}{_in_row(test.row)}, got outputs")
    outputs = answer["outputs"]
    if missing := [name for name in required_outputs(test) if name not in outputs]:
        got = f"only {shortened(sorted(outputs))}" if outputs else "no outputs"
        return Verdict(False, False, f"expected an output {missing[0]}, got {got}", in_form=False)
    if test.operation.startswith("write_"):
        return _judge_file(test, outputs["file"])
    return _judge_outputs(test, outputs)


def _judge_error(test: Test, answer: dict[str, Any]) -> Verdict:
    got = f"{answer['error']}{_in_row(answer.get('row'))}"
    expected = "outputs" if test.error is None else f"{test.error}{_in_row(test.row)}"
    right = test.error == answer["error"] and (test.row is None or test.row == answer.get("row"))
    return Verdict(right, right, "" if right else f"expected {expected}, got {got}")


def _in_row(row: int | None) -> str:
    return "" if row is None else f" in row {row}"


def _judge_file(test: Test, file: Any) -> Verdict:
    """Read the file that a program wrote, and compare its content with the inputs."""
    if not isinstance(file, np.ndarray) or file.dtype != np.uint8:
        reason = f"expected the output 'file' as U8 [b], got {described(file)}"
        return Verdict(False, False, reason, in_form=False)
    content = _content(test, file)
    if "outputs" not in content:
        got = content.get("error") or content["failed"]
        return Verdict(False, False, f"expected a file that follows file-format.md (R12), got {got} when it was read")
    given = Test(test.id, test.operation, test.flags, test.comment, {}, test.inputs)
    return _judge_outputs(given, {name: content["outputs"][name] for name in test.inputs})


def _content(test: Test, file: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the answer of this package to a request to read the file that a program wrote."""
    return package_answer(test.operation.replace("write_", "read_"), {"file": file}, get_backend("numpy"))


def _judge_outputs(test: Test, outputs: Values) -> Verdict:
    bit_exact, first = True, ""
    for name in sorted(set(outputs) & set(test.outputs), key=_place(test)):
        same, reason = _compare(test.outputs[name], outputs[name], test.bounds.get(name))
        if reason:
            words = _explained(test, name, outputs, reason) + _not_a_number(test, name, outputs)
            return Verdict(False, False, words, in_form=_same_form(test.outputs[name], outputs[name]))
        if not same and bit_exact and name.split(".")[-1] not in LOSSES:
            difference = _compare(test.outputs[name], outputs[name], None)[1]
            bit_exact = False
            first = f"{name}: within the bound, but not the bits of the stated order of sums: {difference}"
    return Verdict(True, bit_exact, first)


def required_outputs(test: Test) -> list[str]:
    """Return the outputs that an answer must have; the intermediate values of training are optional."""
    if test.operation != "train_steps":
        return list(test.outputs)
    return [name for name in test.outputs if name.split(".")[1] in STEP_REQUIRED]


def fingerprint(test: Test, answer: dict[str, Any]) -> str:
    """Return a short string that is equal for equal answers to a test: it tells which mistake gives an answer.

    Returns
    -------
    If outputs are expected, 16 hex digits of the SHA-256 of those whose bits are compared; for a file, of its content.
    Otherwise "outputs", "another row", "another error" or "error".
    """
    if test.error is not None:
        if "error" not in answer:
            return "outputs"
        return "another row" if answer["error"] == test.error else "another error"
    if "outputs" not in answer:
        return "error"
    if test.operation.startswith("write_"):
        file = answer["outputs"].get("file")
        content = _content(test, file) if isinstance(file, np.ndarray) and file.dtype == np.uint8 else {}
        return _digest(content["outputs"]) if "outputs" in content else "error"
    names = [name for name in required_outputs(test) if name.split(".")[-1] not in LOSSES]
    return _digest({name: answer["outputs"].get(name) for name in names})


def _digest(outputs: Values) -> str:
    sha = hashlib.sha256()
    for name, value in sorted(outputs.items()):
        sha.update(
            f"{name} {json.dumps(value, default=repr) if isinstance(value, list) else described(value)}\n".encode()
        )
        if isinstance(value, np.ndarray):
            whole = value.dtype.kind != "f"
            sha.update((value if whole else np.where(np.isnan(value), value.dtype.type(np.nan), value)).tobytes())
    return sha.hexdigest()[:16]


def _place(test: Test) -> Any:
    """Return a sort key for the order of computation: the first output that differs causes the later differences."""
    if test.operation == "train_steps":
        order = {name: place for place, name in enumerate(STEP_OUTPUTS)}
        return lambda name: (int(name.split(".")[0]), order[name.split(".")[1]])
    return list(test.outputs).index


def _compare(expected: Any, got: Any, bound: float | None) -> tuple[bool, str]:
    """Return whether the bits are equal, and what is wrong: an empty string for equal bits or within the bound."""
    if not isinstance(expected, np.ndarray):
        same = type(expected) is type(got) and expected == got
        return same, "" if same else unequal(expected, got)
    if not _same_form(expected, got):
        return False, f"expected {described(expected)}, got {described(got)}"
    if expected.tobytes() == got.tobytes():
        return True, ""
    if bound is None:
        at = _first(_as_bits(expected) != _as_bits(got))
        return False, f"expected {expected[at]!s}, got {got[at]!s} at {_shown(at)}"
    wrong = ~(np.abs(got.astype(np.float64) - expected.astype(np.float64)) <= bound)
    if not wrong.any():
        return False, ""
    at = _first(wrong)
    return False, f"expected {expected[at]!s} ± {bound:.2g}, got {got[at]!s} at {_shown(at)}"


def _same_form(expected: Any, got: Any) -> bool:
    """Return whether the types of two outputs are equal; for arrays: dtype and shape."""
    if not isinstance(expected, np.ndarray):
        return type(expected) is type(got)
    return isinstance(got, np.ndarray) and (got.dtype, got.shape) == (expected.dtype, expected.shape)


def _not_a_number(test: Test, name: str, outputs: Values) -> str:
    """Name another output that has NaN where a number is expected: it can be the cause of the first difference."""
    for other, expected in test.outputs.items():
        got = outputs.get(other)
        if other == name or not isinstance(got, np.ndarray) or got.dtype.kind != "f" or not _same_form(expected, got):
            continue
        nan = np.isnan(got) & ~np.isnan(expected)
        if nan.any():
            return f"; {other} has NaN at {_shown(_first(nan))}"
    return ""


def _as_bits(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(place[0]) for place in np.nonzero(np.atleast_1d(wrong)))[: wrong.ndim]


def _shown(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]"


def _explained(test: Test, name: str, outputs: Values, reason: str) -> str:
    """Return what is wrong with an output: the broken rule for a selection, the step for training."""
    named = f"{name}: {reason}"
    if test.operation == "train_steps":
        step, which = name.split(".")
        return f"step {step}, first difference in {which}: {reason}"
    if name.split("_")[0] not in ("indices", "values") or "pre" not in (selected := selected_from(test)):
        return named
    suffix = name.removeprefix("indices").removeprefix("values")
    codes: list[Any] = [outputs.get(f"{part}{suffix}") for part in ("indices", "values")]
    expected = [test.outputs[f"{part}{suffix}"] for part in ("indices", "values")]
    if any(not _has_rows(*pair) for pair in zip(codes, expected, strict=True)) or suffix == "_rest":
        return named
    for row, pre in enumerate(selected["pre"]):
        if row < min(map(len, codes)) and (
            rule := broken_rule(pre, expected[0][row], expected[1][row], codes[0][row], codes[1][row])
        ):
            return f"row {row} {rule}"
    return named


def _has_rows(got: Any, expected: NDArray[Any]) -> bool:
    """Return True if arrays can be compared row by row, even if their numbers of rows or columns differ."""
    return isinstance(got, np.ndarray) and (got.ndim, got.dtype) == (2, expected.dtype)


def selected_from(test: Test) -> Values:
    """Return the input of a test's selection as ``pre`` (n, h), pre-activations or dense values; {} if it has none."""
    inputs = test.inputs
    if test.operation == "abs_topk":
        return {"pre": inputs["pre"]}
    if test.operation in ("truncate", "split_codes"):
        pre = np.zeros((len(inputs["indices"]), int(inputs["indices"].max()) + 1), inputs["values"].dtype)
        np.put_along_axis(pre, inputs["indices"], inputs["values"], axis=1)
        return {"pre": pre}
    if test.operation == "encode" and test.error is None and np.any(inputs["x"], axis=1).all():
        x_unit = unit_rows(inputs["x"], inputs["W_enc"].dtype)
        return {"pre": get_backend("numpy").pair_dots(x_unit, inputs["W_enc"].T) + inputs["b_enc"]}
    return {}


def checked_answer(test: Test, answer: dict[str, Any]) -> str:
    """Return what is wrong with the names of an answer's outputs, or an empty string."""
    known = set(test.outputs) | set(OPERATIONS[test.operation].outputs)
    unknown = [name for name in answer.get("outputs", {}) if name not in known]
    return f"expected only outputs {shortened(sorted(known))}, got also {unknown[0][:40]!r}" if unknown else ""
