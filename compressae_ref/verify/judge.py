"""Is an answer right? To the bit, or within a test's bound for sums in another order; and if not, why not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import get_backend
from compressae_ref.reference import unit_rows
from compressae_ref.verify.diagnose import broken_rule, shortened
from compressae_ref.verify.operations import OPERATIONS, STEP_OUTPUTS, STEP_REQUIRED
from compressae_ref.verify.self_test import answer as own_answer
from compressae_ref.verify.vectors import Test, Values


class Verdict(NamedTuple):
    """What became of one test."""

    passed: bool
    bits: bool
    """whether every output has the expected bits"""
    words: str
    """what is wrong, or right but for the bits, in one line"""


LOSSES = ("loss", "loss_k", "loss_aux")
"""Outputs that nobody is asked for the bits of: the order of these means is free (E13)."""


def judge(test: Test, answer: dict[str, Any]) -> Verdict:
    """Compare an answer (arrays decoded) with what the test expects."""
    with np.errstate(all="ignore"):
        return _judge(test, answer)


def _judge(test: Test, answer: dict[str, Any]) -> Verdict:
    if "error" in answer:
        return _judge_error(test, answer)
    if test.error is not None:
        return Verdict(False, False, f"expected {test.error}{_in_row(test.row)}, got outputs")
    outputs = answer["outputs"]
    if test.operation.startswith("write_"):
        test, outputs, words = _read_back(test, outputs)
        if words:
            return Verdict(False, False, words)
    return _judge_outputs(test, outputs)


def _judge_error(test: Test, answer: dict[str, Any]) -> Verdict:
    got = f"{answer['error']}{_in_row(answer.get('row'))}"
    expected = "outputs" if test.error is None else f"{test.error}{_in_row(test.row)}"
    right = test.error == answer["error"] and (test.row is None or test.row == answer.get("row"))
    return Verdict(right, right, "" if right else f"expected {expected}, got {got}")


def _in_row(row: int | None) -> str:
    return "" if row is None else f" in row {row}"


def _read_back(test: Test, outputs: Values) -> tuple[Test, Values, str]:
    """What a file that a program wrote holds, beside what it was given to write."""
    file = outputs.get("file")
    if not isinstance(file, np.ndarray) or file.dtype != np.uint8:
        return test, {}, "expected a file as U8, got none"
    read = own_answer(test.operation.replace("write_", "read_"), {"file": file}, get_backend("numpy"))
    if "error" in read:
        return test, {}, "wrote a file that is not one by file-format.md (R12)"
    given = Test(test.id, test.operation, test.flags, test.comment, {}, test.inputs)
    return given, {name: read["outputs"][name] for name in test.inputs}, ""


def _judge_outputs(test: Test, outputs: Values) -> Verdict:
    missing = [name for name in required_outputs(test) if name not in outputs]
    if missing:
        return Verdict(False, False, f"expected an output {missing[0]}, got none")
    bits, first = True, ""
    for name in sorted(set(outputs) & set(test.outputs), key=_place(test)):
        same, words = _compare(test.outputs[name], outputs[name], test.bounds.get(name))
        if words:
            return Verdict(False, False, _explained(test, name, outputs, words))
        if not same and bits and name.split(".")[-1] not in LOSSES:
            bits, first = (
                False,
                f"{name}: within the bound, and not the bits of the stated order: {_told(test, name, outputs)}",
            )
    return Verdict(True, bits, first)


def required_outputs(test: Test) -> list[str]:
    """What an answer must hold; the intermediate values of training need not be given."""
    if test.operation != "train_steps":
        return list(test.outputs)
    return [name for name in test.outputs if name.split(".")[1] in STEP_REQUIRED]


def _place(test: Test) -> Any:
    """The order in which outputs arise, so that the first that differs is the cause of the others."""
    if test.operation == "train_steps":
        order = {name: place for place, name in enumerate(STEP_OUTPUTS)}
        return lambda name: (int(name.split(".")[0]), order[name.split(".")[1]])
    return list(test.outputs).index


def _compare(expected: Any, got: Any, bound: float | None) -> tuple[bool, str]:
    """Whether the bits are the same; and what is wrong, if it is wrong."""
    if not isinstance(expected, np.ndarray):
        same = type(expected) is type(got) and expected == got
        return same, "" if same else f"expected {expected!r}, got {got!r}"
    if not isinstance(got, np.ndarray) or (got.dtype, got.shape) != (expected.dtype, expected.shape):
        found = f"{got.dtype} {got.shape}" if isinstance(got, np.ndarray) else repr(got)
        return False, f"expected {expected.dtype} {expected.shape}, got {found}"
    if expected.tobytes() == got.tobytes():
        return True, ""
    if bound is None:
        at = _first(_as_bits(expected) != _as_bits(got))
        return False, f"expected {expected[at]!s}, got {got[at]!s} at {_shown(at)}"
    wrong = ~(np.abs(got.astype(np.float64) - expected.astype(np.float64)) <= bound)
    if not wrong.any():
        return False, ""
    at = _first(wrong)
    return False, f"expected {expected[at]!s}, got {got[at]!s} at {_shown(at)}, more than {bound:.2g} apart"


def _told(test: Test, name: str, outputs: Values) -> str:
    """What was expected and what came, at the first place where bits differ."""
    return _compare(test.outputs[name], outputs[name], None)[1]


def _as_bits(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(place[0]) for place in np.nonzero(np.atleast_1d(wrong)))[: wrong.ndim]


def _shown(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]"


def _explained(test: Test, name: str, outputs: Values, words: str) -> str:
    """The same in terms of the rules, where the output is a selection."""
    said = f"{name}: {words}"
    if test.operation == "train_steps":
        step, which = name.split(".")
        return f"step {step}, first difference in {which}: {words}"
    if name.split("_")[0] not in ("indices", "values") or "pre" not in (selected := selected_from(test)):
        return said
    suffix = name.removeprefix("indices").removeprefix("values")
    codes: list[Any] = [outputs.get(f"{part}{suffix}") for part in ("indices", "values")]
    expected = [test.outputs[f"{part}{suffix}"] for part in ("indices", "values")]
    if any(not _alike(*pair) for pair in zip(codes, expected, strict=True)) or suffix == "_rest":
        return said
    for row, pre in enumerate(selected["pre"]):
        if row < min(map(len, codes)) and (
            rule := broken_rule(pre, expected[0][row], expected[1][row], codes[0][row], codes[1][row])
        ):
            return f"row {row} {rule}"
    return said


def _alike(got: Any, expected: NDArray[Any]) -> bool:
    """Whether an array can be looked at row by row: its numbers of rows and of columns may be wrong."""
    return isinstance(got, np.ndarray) and (got.ndim, got.dtype) == (2, expected.dtype)


def selected_from(test: Test) -> Values:
    """The pre-activations, or the values over all latents, that a test selects from, as ``pre`` (n, h); or nothing."""
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
    """What is wrong with the form of an answer: outputs that nobody asked for."""
    known = set(test.outputs) | set(OPERATIONS[test.operation].outputs)
    unknown = [name for name in answer.get("outputs", {}) if name not in known]
    return f"expected outputs {shortened(sorted(known))}, got {unknown[0][:40]!r}, too" if unknown else ""
