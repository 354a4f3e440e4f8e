"""Report grades: one exercise in full, or one line for each; as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from compressae_ref.verify.exercises.grade import Grade
from compressae_ref.verify.exercises.table import CHAPTERS, TO_FILL_IN, Exercise, statement
from compressae_ref.verify.report import json_fields
from compressae_ref.verify.vectors import SPEC_VERSION

START = (
    f"to start: copy examples/learn/{TO_FILL_IN} to my_solution.py (once), write the function there, and run:",
    "  compressae-ref verify --student my_solution.py --exercise {number}",
)
"""No command that copies: run for a second exercise, it would overwrite the answer to the first."""


def task_text(exercise: Exercise) -> str:
    """Return the task of an exercise, where its subject stands, and how to start."""
    start = "\n".join(START).format(number=exercise.number)
    return f"{_title(exercise)}\n\n{statement(exercise)}\n\nread: {exercise.read}\n{start}"


def task_json(exercise: Exercise) -> dict[str, Any]:
    """Return the task of an exercise as a JSON object."""
    return _fields(exercise) | {"task": statement(exercise)}


def full_text(grade: Grade) -> str:
    """Return the grade of one exercise: what was compared, or what is wrong and what to read."""
    return "\n".join([_title(grade.exercise), *(f"  {line}" for line in _full_lines(grade))])


def short_text(grade: Grade) -> str:
    """Return the grade of one exercise in one line."""
    number, failure = f"{grade.exercise.number:2}", grade.failure
    words = grade.status if failure is None or grade.status == "not started" else f"wrong: {_first_words(grade)}"
    bits = f" ({_compared(grade)})" if grade.passed else ""
    return f"{number} {grade.exercise.names}: {words}{bits}"


def outcome_text(grades: Sequence[Grade]) -> str:
    """Return the last line of a report on several exercises."""
    count = {status: sum(grade.status == status for grade in grades) for status in ("passed", "wrong", "not started")}
    passed = f"{count.pop('passed')} of {len(grades)} exercises passed"
    words = ", ".join([passed, *(f"{number} {status}" for status, number in count.items() if number)])
    return words + ("; --exercise N says more about one" if count["wrong"] else "")


def as_json(grades: Sequence[Grade], path: str) -> dict[str, Any]:
    """Return all grades as a JSON object."""
    passed = all(grade.passed for grade in grades)
    return {"spec": SPEC_VERSION, "student": path, "passed": passed, "exercises": [_json(grade) for grade in grades]}


def _json(grade: Grade) -> dict[str, Any]:
    names = ("status", "tests", "tests_run", "tests_passed", "tests_to_the_bit")
    failure = None if grade.failure is None else json_fields(vars(grade.failure))
    return _fields(grade.exercise) | {name: getattr(grade, name) for name in names} | {"failure": failure}


def _fields(exercise: Exercise) -> dict[str, Any]:
    names = [function.name for function in exercise.functions]
    fields = {"exercise": exercise.number, "functions": names, "chapter": CHAPTERS[exercise.chapter]}
    return fields | {"cites": list(exercise.cites), "read": exercise.read}


def _title(exercise: Exercise) -> str:
    return f"exercise {exercise.number}, {exercise.names}: {exercise.what} ({', '.join(exercise.cites)})"


def _first_words(grade: Grade) -> str:
    failure = grade.failure
    assert failure is not None
    name = "" if len(grade.exercise.functions) == 1 else f"{failure.function}: "
    return name + failure.reason


def _compared(grade: Grade) -> str:
    """Return what was compared, and how equal it was."""
    inexact = grade.tests - grade.tests_to_the_bit
    if not inexact:
        return f"{grade.tests} tests, all bits equal"
    return f"{grade.tests} tests, {inexact} of them within the bounds for rounding, but not with equal bits"


def _full_lines(grade: Grade) -> Iterator[str]:
    failure = grade.failure
    if failure is None:
        yield f"passed: {_compared(grade)}"
        if grade.within:
            yield f"the first difference in bits, which is allowed here: {grade.within.replace(WITHIN, ': ')}"
        return
    if grade.status == "not started":
        passed = f"; {grade.tests_passed} tests of other functions passed" if grade.tests_passed else ""
        yield f"not started: {failure.reason}{passed}"
        yield from (line.format(number=grade.exercise.number) for line in START)
    else:
        yield f"wrong: {_counted(grade)}"
        if failure.test:
            which = "the first that fails is" if failure.is_first else "of those that fail, the clearest is"
            yield f"{which} {failure.test}: {failure.comment}"
        yield f"  {_first_words(grade)}"
        yield from (f"  {line}" for line in (*failure.causes, *failure.shown))
    yield f"read: {grade.exercise.read}"


WITHIN = ": within the bound, but not the bits of the stated order of sums: "
"""How `judge` words a difference in bits."""


def _counted(grade: Grade) -> str:
    left = grade.tests - grade.tests_run
    return f"{grade.tests_passed} of {grade.tests} tests pass" + (f", {left} were not run" if left else "")
