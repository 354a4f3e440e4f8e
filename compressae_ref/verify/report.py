"""Judge an implementation on all tests of the levels asked for, and tell what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressae_ref.backends import get_backend
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.verify import accumulated, self_test
from compressae_ref.verify.judge import Verdict, checked_answer, judge
from compressae_ref.verify.operations import EXTENSIONS, LEVELS, OPERATIONS, PARTS
from compressae_ref.verify.programs import Ask
from compressae_ref.verify.vectors import SPEC_VERSION, Test, VectorFile, load_folder

SHOWN = 5
"""Failures of a level that are shown in full."""

NAMED = 20
"""Failures of a level that are named at least."""

FEW = 3
"""Mistakes that a test catches and that are told one by one; of more only the names."""

HIGHEST = list(LEVELS)[-1]
"""The level that takes in all others."""

ACCUMULATED = "accumulated-"
"""How the ids of groups of accumulated cases begin."""


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
    cases: int = 0
    """accumulated cases"""
    cases_passed: int = 0
    unsupported: list[str] = field(default_factory=list)
    """operations that the program does not know"""
    failures: list[Failure] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether everything was passed."""
        return self.passed == self.tests and self.cases_passed == self.cases

    def add(self, test: Test, verdict: Verdict) -> None:
        """Count one test, or a group of accumulated cases."""
        if test.id.startswith(ACCUMULATED):
            self.cases += accumulated.ROWS
            self.cases_passed += accumulated.ROWS * verdict.passed
        else:
            self.tests += 1
            self.passed += verdict.passed
            self.bits += verdict.bits


def levels_up_to(level: str) -> list[str]:
    """The levels that one takes in; an extension alone; with "all" everything."""
    if level == "all":
        return list(PARTS)
    if level in EXTENSIONS:
        return [level]
    names = list(LEVELS)
    return names[: names.index(level) + 1]


class Suite:
    """The tests of a folder of vectors, and what they say of themselves."""

    def __init__(self, folder: Path, *, cases: int, without: Sequence[str] = (), only: Sequence[str] = ()) -> None:
        self.folder, self.cases, self.without, self.only = folder, cases, tuple(without), tuple(only)
        self.files: list[VectorFile] = load_folder(folder)
        self.digests = _digests(folder / "accumulated.json")
        names = [test.id for file in self.files for test in file.tests]
        if len(set(names)) < len(names):
            raise FormatError(f"expected one test of each id, got {max(names, key=names.count)} twice", path=folder)
        if missing := set(OPERATIONS) - {file.operation for file in self.files}:
            raise FormatError(f"expected tests of every operation, found none of {min(missing)}", path=folder)

    def check_only(self, levels: Sequence[str]) -> None:
        """Raise where a test that is asked for alone is not one of these levels."""
        known = {test.id for test in self.tests(levels)} if self.only else set()
        if unknown := [name for name in self.only if name not in known]:
            raise DomainError(
                f"expected ids of tests up to {levels[-1]}, such as encode-1, got {unknown[0]!r}", argument="only"
            )

    def tests(self, levels: Iterable[str]) -> Iterator[Test]:
        """All tests of some levels, the accumulated ones at the end of each."""
        for level in levels:
            for operation in (name for name, each in OPERATIONS.items() if each.level == level):
                for file in self.files:
                    if file.operation == operation:
                        yield from (test for test in file.tests if not self._left_out(test))
            for operation in accumulated.GROUPS:
                if OPERATIONS[operation].level == level and not self.only:
                    yield from self._accumulated(operation)

    def catches(self, test: Test, bits: bool) -> list[str]:
        """The mistakes that a test is there to catch, in words: those that only bits show, or the others."""
        file = next((file for file in self.files if test.id.rpartition("-")[0] == file.name), None)
        if file is None:
            return []
        flags = [name for name in test.flags if (name in file.bits) == bits]
        if len(flags) > FEW:
            return [f"catches {len(flags)} mistakes: {', '.join(flags)} ({file.name}.json says what they are)"]
        return [f"{file.why[name]} ({name})" for name in flags]

    def _left_out(self, test: Test) -> bool:
        return ("float64" in self.without and test.needs_float64) or bool(self.only and test.id not in self.only)

    def _accumulated(self, operation: str) -> Iterator[Test]:
        """The cases, and at their end a look at their digest: the reference must be what it was."""
        backend, answers = get_backend("numpy"), hashlib.sha256()
        for group, inputs in enumerate(accumulated.groups(operation, self.cases)):
            outputs = self_test.answer(operation, inputs, backend)["outputs"]
            accumulated.add(answers, outputs)
            yield Test(f"{ACCUMULATED}{operation}-{group}", operation, (), f"cases from {100 * group}", inputs, outputs)
        expected = self.digests[operation][str(self.cases)]
        if answers.hexdigest() != expected:
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


def _digests(path: Path) -> dict[str, dict[str, str]]:
    """The digest of so many cases, for each operation that has accumulated ones."""
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))["digests"]
        of = accumulated.GROUPS
        return {name: {str(cases): str(digests[name][str(cases)]) for cases in accumulated.CASES} for name in of}
    except (ValueError, LookupError, TypeError) as error:
        raise FormatError(
            f"expected digests of {', '.join(accumulated.GROUPS)}, got something else", path=path
        ) from error


def run(suite: Suite, ask: Ask, levels: Sequence[str], *, bits: bool = False) -> Iterator[LevelResult]:
    """Ask everything, level by level; with ``bits``, what is within a bound but has other bits is not passed."""
    for level in levels:
        result = LevelResult(level)
        for test in suite.tests([level]):
            answer = ask(test)
            verdict, right_but_for_bits = _judged(test, answer, bits)
            result.add(test, verdict)
            if "unsupported" in answer:
                result.unsupported += [] if test.operation in result.unsupported else [test.operation]
            elif not verdict.passed:
                why = suite.catches(test, bits=right_but_for_bits)
                result.failures.append(Failure(test.id, test.comment, verdict.words, why))
        yield result


def _judged(test: Test, answer: dict[str, Any], bits: bool) -> tuple[Verdict, bool]:
    """The verdict, and whether only the bits that were demanded are wrong."""
    if "failed" in answer or "unsupported" in answer:
        return Verdict(False, False, str(answer.get("failed", "not supported"))), False
    if words := checked_answer(test, answer):
        return Verdict(False, False, words), False
    verdict = judge(test, answer)
    if bits and verdict.passed and not verdict.bits:
        return Verdict(False, False, verdict.words), True
    return verdict, False


def as_json(results: list[LevelResult], suite: Suite) -> dict[str, Any]:
    """The whole result for machines."""
    levels = {
        each.level: {
            "passed": each.full,
            "tests": each.tests,
            "tests_passed": each.passed,
            "tests_to_the_bit": each.bits,
            "cases": each.cases,
            "cases_passed": each.cases_passed,
            "unsupported": each.unsupported,
            "failures": [vars(failure) for failure in each.failures],
        }
        for each in results
    }
    return {
        "spec": SPEC_VERSION,
        "vectors": suite.digest(),
        "without": list(suite.without),
        "only": list(suite.only),
        "passed": all(each.full for each in results),
        "levels": levels,
    }


def level_text(result: LevelResult) -> str:
    """One level to read."""
    return "\n".join(_level_lines(result))


def outcome_text(results: list[LevelResult], suite: Suite) -> str:
    """The last line: whether the level asked for is passed."""
    asked = ", ".join(suite.only) or _asked_for([each.level for each in results])
    left_out = f", without {' and '.join(suite.without)}" if suite.without else ""
    said = "passes" if all(each.full for each in results) else "does not pass"
    return f"{said} {asked}{left_out} (specification {SPEC_VERSION}, vectors {suite.digest()[:12]})"


def _asked_for(levels: list[str]) -> str:
    """The highest level, and the extensions."""
    highest = [level for level in levels if level in LEVELS][-1:]
    return ", ".join([*highest, *(level for level in levels if level in EXTENSIONS)])


def _level_lines(result: LevelResult) -> Iterator[str]:
    head = f"{result.level} {PARTS[result.level]}: {result.passed} of {result.tests} tests"
    if result.cases:
        head += f" and {result.cases_passed:,} of {result.cases:,} cases"
    head += " passed"
    if result.passed:
        inexact = result.passed - result.bits
        head += ", to the bit" if not inexact else f", {inexact} within the bound of another order of sums"
    yield head
    if result.unsupported:
        yield f"   not supported by the program: {', '.join(result.unsupported)}"
    for failure in result.failures[:SHOWN]:
        yield f"   {failure.test}: {failure.comment}"
        yield f"      {failure.words}"
        yield from (f"      this test {why}" for why in failure.flags)
    if more := [failure.test for failure in result.failures[SHOWN:]]:
        yield f"   and {len(more)} more: {', '.join(more[:NAMED])}{', …' if len(more) > NAMED else ''}"
