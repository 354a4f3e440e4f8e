"""Judge an implementation on all tests of the levels asked for, and tell what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressae_ref.backends import get_backend
from compressae_ref.errors import FormatError
from compressae_ref.verify import accumulated, own
from compressae_ref.verify.judge import Verdict, checked_answer, judge
from compressae_ref.verify.operations import LEVELS, OPERATIONS
from compressae_ref.verify.programs import Ask
from compressae_ref.verify.vectors import SPEC_VERSION, Test, VectorFile, load_folder

SHOWN = 5
"""Failures of a level that are shown in full."""


@dataclass
class Failure:
    """One test that was not passed."""

    test: str
    comment: str
    words: str
    flags: list[str]
    """what the test is there to catch, in words"""


@dataclass
class LevelResult:
    """What came out on one level."""

    level: str
    tests: int = 0
    passed: int = 0
    bits: int = 0
    unsupported: list[str] = field(default_factory=list)
    """operations that the program does not know"""
    failures: list[Failure] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether every test was passed."""
        return self.passed == self.tests


def levels_up_to(level: str) -> list[str]:
    """The levels that one takes in."""
    names = list(LEVELS)
    return names[: names.index(level) + 1]


class Suite:
    """The tests of a folder of vectors, and what they say of themselves."""

    def __init__(self, folder: Path, *, cases: int, without: Sequence[str] = ()) -> None:
        self.folder, self.cases, self.without = folder, cases, tuple(without)
        self.files: list[VectorFile] = load_folder(folder)
        self.why = {(file.operation, name): words for file in self.files for name, words in file.why.items()}

    def tests(self, levels: Iterable[str]) -> Iterator[Test]:
        """All tests of some levels, the accumulated ones at the end of each."""
        for level in levels:
            for operation in (name for name, each in OPERATIONS.items() if each.level == level):
                for file in self.files:
                    if file.operation == operation:
                        yield from (test for test in file.tests if not self._left_out(test))
            for operation in (name for name in accumulated.GROUPS if OPERATIONS[name].level == level):
                yield from self._accumulated(operation)

    def _left_out(self, test: Test) -> bool:
        return "float64" in self.without and test.needs_float64

    def _accumulated(self, operation: str) -> Iterator[Test]:
        """The cases, and at their end a look at their digest: the reference must be what it was."""
        digests = json.loads((self.folder / "accumulated.json").read_text(encoding="utf-8"))["digests"][operation]
        backend, answers = get_backend("numpy"), hashlib.sha256()
        for group, inputs in enumerate(accumulated.groups(operation, self.cases)):
            outputs = own.answer(operation, inputs, backend)["outputs"]
            accumulated.add(answers, outputs)
            yield Test(f"accumulated-{operation}-{group}", operation, (), f"cases from {100 * group}", inputs, outputs)
        expected = digests.get(str(self.cases))
        if expected is not None and answers.hexdigest() != expected:
            raise FormatError(
                f"accumulated.json: expected the digest {expected[:12]} of {self.cases} cases of {operation}, "
                f"got {answers.hexdigest()[:12]} from this installation"
            )

    def digest(self) -> str:
        """SHA-256 over names and bytes of all files of tests: which vectors these are."""
        sha = hashlib.sha256()
        for path in sorted([*self.folder.glob("*.json"), *self.folder.glob("files/*.npz")]):
            sha.update(path.relative_to(self.folder).as_posix().encode() + b"\n" + path.read_bytes())
        return sha.hexdigest()


def run(suite: Suite, ask: Ask, levels: Sequence[str], *, bits: bool = False) -> list[LevelResult]:
    """Ask everything; with ``bits``, what is within a bound but has other bits is not passed."""
    results = {level: LevelResult(level) for level in levels}
    for test in suite.tests(levels):
        result = results[OPERATIONS[test.operation].level]
        result.tests += 1
        answer = ask(test)
        if "unsupported" in answer:
            if test.operation not in result.unsupported:
                result.unsupported.append(test.operation)
            continue
        verdict = _judged(test, answer, bits)
        result.passed += verdict.passed
        result.bits += verdict.bits
        if not verdict.passed:
            why = [f"{suite.why[test.operation, name]} ({name})" for name in test.flags]
            result.failures.append(Failure(test.id, test.comment, verdict.words, why))
    return list(results.values())


def _judged(test: Test, answer: dict[str, Any], bits: bool) -> Verdict:
    if "failed" in answer:
        return Verdict(False, False, answer["failed"])
    if words := checked_answer(test.operation, answer):
        return Verdict(False, False, words)
    verdict = judge(test, answer)
    if bits and verdict.passed and not verdict.bits:
        return Verdict(False, False, "is within the bounds, and has other bits than sums in the stated order (E1, E2)")
    return verdict


def as_json(results: list[LevelResult], suite: Suite) -> dict[str, Any]:
    """The whole result for machines."""
    levels = {
        each.level: {
            "passed": each.full,
            "tests": each.tests,
            "tests_passed": each.passed,
            "tests_to_the_bit": each.bits,
            "unsupported": each.unsupported,
            "failures": [vars(failure) for failure in each.failures],
        }
        for each in results
    }
    return {
        "spec": SPEC_VERSION,
        "vectors": suite.digest(),
        "cases": suite.cases,
        "without": list(suite.without),
        "passed": all(each.full for each in results),
        "levels": levels,
    }


def as_text(results: list[LevelResult], suite: Suite) -> str:
    """The same to read."""
    lines = [line for result in results for line in _level_lines(result)]
    reached = [result.level for result in results if all(each.full for each in results[: results.index(result) + 1])]
    asked = results[-1].level
    left_out = f", without {' and '.join(suite.without)}" if suite.without else ""
    said = f"passes {asked}" if reached and reached[-1] == asked else f"does not pass {asked}"
    lines.append(f"{said}{left_out} (specification {SPEC_VERSION}, vectors {suite.digest()[:12]})")
    return "\n".join(lines)


def _level_lines(result: LevelResult) -> Iterator[str]:
    head = f"{result.level} {LEVELS[result.level]:24s} {result.passed} of {result.tests} passed"
    if result.passed:
        inexact = result.passed - result.bits
        head += ", to the bit" if not inexact else f", {inexact} of them within the bound of another order of sums"
    yield head
    if result.unsupported:
        yield f"   not supported by the program: {', '.join(result.unsupported)}"
    for failure in result.failures[:SHOWN]:
        yield f"   {failure.test}: {failure.comment}"
        yield f"      {failure.words}"
        yield from (f"      this test {why}" for why in failure.flags)
    if len(result.failures) > SHOWN:
        yield f"   and {len(result.failures) - SHOWN} more; --json has them all"
