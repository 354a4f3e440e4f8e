"""Grade a student's file: run its functions on the tests of the exercises, and say what is wrong."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from compressae_ref.errors import FormatError, reason
from compressae_ref.verify.exercises.from_vectors import original, tests_of
from compressae_ref.verify.exercises.mistakes import usual_mistake
from compressae_ref.verify.exercises.student import TIMEOUT, Student
from compressae_ref.verify.exercises.table import Exercise, Function
from compressae_ref.verify.judge import Verdict, judge
from compressae_ref.verify.suite import Suite, exactly
from compressae_ref.verify.vectors import Test, Values

ENDED = ("NoFile", "Missing", "NotStarted", "Compile")
"""Faults of a function that is not called."""

Wrong: TypeAlias = "tuple[Test, dict[str, Any], Verdict]"
"""A test, the answer that does not pass it, and why."""


@dataclass
class Failure:
    """A test that a function does not pass: the first, or a later one that only one mistake explains."""

    function: str
    reason: str
    """what is wrong, in one line"""
    test: str = ""
    """the id of the test, or "" if the fault does not depend on it"""
    comment: str = ""
    """what the test is about"""
    causes: list[str] = field(default_factory=list)
    """the known mistake that gives these numbers"""
    shown: list[str] = field(default_factory=list)
    """call, expected and returned values, if they are small"""
    is_first: bool = True
    """whether the function passes all tests before this one"""


@dataclass
class Grade:
    """The result of one exercise."""

    exercise: Exercise
    status: str = "passed"
    """passed, not started or wrong"""
    tests: int = 0
    tests_run: int = 0
    tests_passed: int = 0
    tests_to_the_bit: int = 0
    within: str = ""
    """the first difference in bits that is within a bound"""
    failure: Failure | None = None

    @property
    def passed(self) -> bool:
        """Whether the exercise is solved."""
        return self.status == "passed"


def check_file(path: str) -> None:
    """Raise OSError if a file cannot be read, or FormatError if it is no Python."""
    content = Path(path).read_bytes()
    if path.lower().endswith(".ipynb") or (content.lstrip()[:1] == b"{" and b'"nbformat"' in content):
        raise FormatError(
            "this is a notebook: expected a file of Python",
            path=path,
            hint="copy the cells with your functions into a file such as my_solution.py, and grade that",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns again when it runs the file
            ast.parse(content, path)
    except SyntaxError as error:
        text = f", {error.text.strip()[:80]!r}" if error.text else ""
        place = f" in line {error.lineno}{text}" if error.lineno else ""
        raise FormatError(f"expected a file of Python, got {error.msg}{place}", path=path) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise FormatError(
            f"expected a file of Python, got one that cannot be read ({reason(error)})", path=path
        ) from error


def grades(
    path: str, exercises: Iterable[Exercise], suite: Suite, *, timeout: float = TIMEOUT, bits: bool = False
) -> Iterator[Grade]:
    """Grade exercises of a file, one after the other.

    Parameters
    ----------
    path : the student's file
    timeout : seconds to wait for each call of a function
    bits : whether only the stated bits pass, in all exercises
    """
    check_file(path)
    with closing(Student(str(Path(path).resolve()), timeout)) as student:
        for exercise in exercises:
            yield grade(exercise, suite, student, bits=bits)


def grade(exercise: Exercise, suite: Suite, student: Student, *, bits: bool = False) -> Grade:
    """Grade one exercise."""
    result, all_tests = Grade(exercise), [tests_of(exercise, function, suite) for function in exercise.functions]
    result.tests = sum(map(len, all_tests))
    for function, tests in zip(exercise.functions, all_tests, strict=True):
        wrong = []
        for test in tests:
            answer = student(function, test)
            verdict = _judged(test, answer, bits or exercise.bits)
            _count(result, verdict, called=answer.get("error") not in ENDED)
            if not verdict.passed:
                wrong.append((test, answer, verdict))
            if "failed" in answer or answer.get("error") in ENDED:
                break
        if wrong and result.failure is None:
            result.failure = _failure(function, wrong, suite)
            result.status = "not started" if wrong[0][1].get("error") == "NotStarted" else "wrong"
    return result


def _count(result: Grade, verdict: Verdict, *, called: bool) -> None:
    result.tests_run += called
    result.tests_passed += verdict.passed
    result.tests_to_the_bit += verdict.bit_exact
    if verdict.passed and not verdict.bit_exact and not result.within:
        result.within = verdict.reason


def _judged(test: Test, answer: dict[str, Any], bits: bool) -> Verdict:
    """Return the verdict on an answer."""
    if "outputs" not in answer:
        return Verdict(False, False, str(answer.get("message") or answer.get("failed")), in_form=False)
    if words := _other_form(test, answer["outputs"]):
        return Verdict(False, False, words, in_form=False)
    verdict = judge(test, answer)
    if bits and verdict.passed and not verdict.bit_exact:
        return Verdict(False, False, verdict.reason)
    return verdict


def _other_form(test: Test, outputs: Values) -> str:
    """Return which output has another shape or dtype than expected, or an empty string."""
    for name, expected in test.outputs.items():
        got = outputs[name]
        if isinstance(expected, np.ndarray) and (expected.shape, expected.dtype) != (got.shape, got.dtype):
            forms = [f"{each.dtype} of shape {each.shape}" for each in (expected, got)]
            hint = "" if expected.dtype == got.dtype else f": a result has the dtype of the arguments; {_DTYPES}"
            return f"{name}: expected {forms[0]}, got {forms[1]}{hint}"
    return ""


_DTYPES = "np.zeros, np.ones and np.full make float64 unless you pass a dtype"


def _failure(function: Function, wrong: list[Wrong], suite: Suite) -> Failure:
    """Return what is wrong in the first of the wrong answers, or in the one that tells most."""
    first = wrong[0]
    if first[1].get("error") in ENDED:
        return Failure(function.name, first[2].reason)
    numbers = [each for each in wrong if "outputs" in each[1] and each[2].in_form]
    has_numbers = bool(numbers) and numbers[0] is first
    told = _telling(numbers, suite) if has_numbers else first
    test, answer, verdict = told
    ordered = (told, *(each for each in numbers if each is not told))
    causes = _causes(function, [(each[0], each[1]["outputs"]) for each in ordered], suite) if has_numbers else []
    shown = _shown(function, test, answer)
    return Failure(function.name, verdict.reason, test.id, test.comment, causes, shown, told is first)


def _telling(wrong: list[Wrong], suite: Suite) -> Wrong:
    """Return the wrong answer with the fewest mistakes that give it, one of which gives most of the wrong answers.

    Without such a mistake the first is returned. In a small test, many mistakes give the same answer.
    """
    exact = [_exact_mistakes(test, answer["outputs"], suite) for test, answer, _ in wrong]
    counts = Counter(words for mistakes in exact for words in mistakes)
    most = max(counts.values(), default=0)
    if 2 * most <= len(wrong):
        return wrong[0]
    places = [i for i, mistakes in enumerate(exact) if any(counts[words] == most for words in mistakes)]
    return wrong[min(places, key=lambda i: len(exact[i]))]


def _exact_mistakes(test: Test, outputs: Values, suite: Suite) -> list[str]:
    """Return the mistakes that the vectors know to give exactly these outputs, as clauses."""
    vector = original(test, suite)
    return [] if vector is None else suite.exact_mistakes(vector, {"outputs": vector.outputs | outputs})


def _causes(function: Function, wrong: list[tuple[Test, Values]], suite: Suite) -> list[str]:
    """Name the mistake that gives these numbers, if it is known."""
    test, outputs = wrong[0]
    if exact := _exact_mistakes(test, outputs, suite):
        return [exactly(exact)]
    found = usual_mistake(function.name, wrong)
    return [f"these numbers come out if {found}"] if found else []


# -- small calls are shown --------------------------------------------------------------------------------------------

MOST_SHOWN = 24
"""Numbers of a call, and of what it returns, up to which they are shown."""


def _shown(function: Function, test: Test, answer: dict[str, Any]) -> list[str]:
    """Return the call, the expected and the returned values, if all of them are small."""
    outputs = answer.get("outputs", {})
    if max(map(_size, (test.inputs, test.outputs, outputs))) > MOST_SHOWN:
        return []
    call = ", ".join(f"{name}={_text(value)}" for name, value in test.inputs.items())
    lines = [f"call:     {function.name}({call})", f"expected: {_listed(test.outputs)}"]
    return [*lines, f"got:      {_listed(outputs)}"] if outputs else lines


def _size(values: Values) -> int:
    return sum(np.size(value) for value in values.values())


def _listed(values: Values) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, separator=", ", max_line_width=10**6).replace("\n", "")
    return repr(value)
