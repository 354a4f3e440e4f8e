"""Judge an implementation on all tests of the requested levels, and report the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressae_ref.backends import get_backend
from compressae_ref.errors import DomainError, FormatError, reason
from compressae_ref.verify import accumulated, self_test
from compressae_ref.verify.judge import Verdict, checked_answer, fingerprint, judge
from compressae_ref.verify.operations import EXTENSIONS, LEVELS, OPERATIONS, PARTS
from compressae_ref.verify.programs import ONLY_ANSWERS, Ask
from compressae_ref.verify.vectors import SPEC_VERSION, Test, VectorFile, load_folder, load_mistakes, unreadable

SHOWN = 5
"""Number of failures per level that are printed in full."""

NAMED = 20
"""Number of further failures per level whose ids are printed."""

FEW = 3
"""Number of possible causes up to which each is described; above it only their names are printed."""

PROMISE, ONLY_BITS = ": only who promises the same bits", "; this concerns only bit-identical implementations"
"""The ending of a mistake that changes only bits: as stored in the vectors, which are fixed, and as printed."""

HIGHEST = list(LEVELS)[-1]
"""The level that includes all others."""

ACCUMULATED = "accumulated-"
"""Prefix of the ids of groups of accumulated cases."""


@dataclass
class Failure:
    """One test that was not passed."""

    test: str
    comment: str
    reason: str
    flags: list[str]
    """the mistake that gives exactly this answer, or mistakes that the test catches"""


@dataclass
class LevelResult:
    """The result of one level."""

    level: str
    tests: int = 0
    passed: int = 0
    bit_exact: int = 0
    cases: int = 0
    """number of accumulated cases"""
    cases_passed: int = 0
    unsupported: dict[str, bool] = field(default_factory=dict)
    """operations that the program does not support; the value is True if it does not support them in float64 only"""
    noise: list[str] = field(default_factory=list)
    """lines of the program's standard output that are not answers"""
    failures: list[Failure] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether all tests and cases are passed."""
        return self.passed == self.tests and self.cases_passed == self.cases

    def add(self, test: Test, verdict: Verdict) -> None:
        """Count one test, or one group of accumulated cases."""
        if test.id.startswith(ACCUMULATED):
            self.cases += accumulated.ROWS
            self.cases_passed += accumulated.ROWS * verdict.passed
        else:
            self.tests += 1
            self.passed += verdict.passed
            self.bit_exact += verdict.bit_exact


def levels_up_to(level: str) -> list[str]:
    """Return a level and all levels before it; an extension alone; for "all", all levels and extensions."""
    if level == "all":
        return list(PARTS)
    if level in EXTENSIONS:
        return [level]
    names = list(LEVELS)
    return names[: names.index(level) + 1]


class Suite:
    """The tests in a folder of vectors.

    Parameters
    ----------
    folder : folder of test vectors
    cases : number of accumulated cases, one of `accumulated.CASES`
    without : ("float64",) to skip tests that need float64
    only : ids of the only tests to run; empty: all tests
    """

    def __init__(self, folder: Path, *, cases: int, without: Sequence[str] = (), only: Sequence[str] = ()) -> None:
        self.folder, self.cases, self.without, self.only = folder, cases, tuple(without), tuple(only)
        self.files: list[VectorFile] = load_folder(folder)
        self.digests = _digests(folder / "accumulated.json")
        self.mistakes = load_mistakes(folder)
        names = [test.id for file in self.files for test in file.tests]
        if len(set(names)) < len(names):
            raise FormatError(f"expected unique ids of tests, got {max(names, key=names.count)} twice", path=folder)
        if missing := set(OPERATIONS) - {file.operation for file in self.files}:
            raise FormatError(
                f"expected tests of every operation, found no tests of {min(missing)}",
                path=folder,
                hint="pass a complete folder of vectors",
            )

    def check_only(self, levels: Sequence[str]) -> None:
        """Raise DomainError if a test of ``only`` is not in these levels."""
        known = {test.id for test in self.tests(levels)} if self.only else set()
        if unknown := [name for name in self.only if name not in known]:
            raise DomainError(
                f"expected ids of tests up to {levels[-1]}, such as encode-1, got {unknown[0]!r}", argument="only"
            )

    def tests(self, levels: Iterable[str]) -> Iterator[Test]:
        """Yield all tests of these levels; the accumulated ones come last in each level."""
        for level in levels:
            for name in (name for name, operation in OPERATIONS.items() if operation.level == level):
                for file in self.files:
                    if file.operation == name:
                        yield from (test for test in file.tests if not self._is_skipped(test))
            for name in accumulated.GROUPS:
                if OPERATIONS[name].level == level and not self.only:
                    yield from self._accumulated(name)

    def causes(self, test: Test, answer: dict[str, Any], verdict: Verdict, bits: bool) -> list[str]:
        """Name the mistakes that give exactly this answer, or else those that the test catches.

        Returns nothing for a fault of the protocol and for an unexpected error. ``bits`` tells whether only bits
        differ: then mistakes that change only bits are possible, else the others.
        """
        file = self._file(test.id.rpartition("-")[0])
        if file is None or not answer.keys() & {"outputs", "error"}:
            return []
        given = fingerprint(test, answer)
        exact = [self._flag(file, name) for name, told in self.mistakes.get(test.id, {}).items() if told == given]
        if exact := [flag for flag in exact if flag is not None]:
            return [f"exactly this answer is given if {', or if '.join(_mistake(*flag) for flag in exact)}"]
        if not verdict.in_form or "error" in answer or test.error is not None:
            return []
        flags = [name for name in test.flags if (name in file.bits) == bits]
        if len(flags) > FEW:
            return [f"possible causes: one of {', '.join(flags)} (described in {file.name}.json), or another one"]
        return [f"possible cause: {_mistake(file, name)}" for name in flags]

    def _file(self, name: str) -> VectorFile | None:
        return next((file for file in self.files if file.name == name), None)

    def _flag(self, file: VectorFile, name: str) -> tuple[VectorFile, str] | None:
        """Return the file and the name of a flag, "file: flag" or one of this file; None if there is none."""
        other, _, flag = name.rpartition(": ")
        where = self._file(other) if other else file
        return None if where is None or flag not in where.why else (where, flag)

    def _is_skipped(self, test: Test) -> bool:
        return ("float64" in self.without and test.needs_float64) or bool(self.only and test.id not in self.only)

    def _accumulated(self, operation: str) -> Iterator[Test]:
        """Yield the groups of cases, then check the digest of all answers: the expected outputs are computed here."""
        backend, answers = get_backend("numpy"), hashlib.sha256()
        for group, inputs in enumerate(accumulated.groups(operation, self.cases)):
            answer = self_test.answer(operation, inputs, backend)
            if "outputs" not in answer:
                raise FormatError(f"expected codes of {operation}, got {answer}", path=self.folder / "accumulated.json")
            outputs = answer["outputs"]
            accumulated.add(answers, outputs)
            yield Test(f"{ACCUMULATED}{operation}-{group}", operation, (), f"cases from {100 * group}", inputs, outputs)
        expected = self.digests[operation][str(self.cases)]
        if answers.hexdigest() != expected:
            raise FormatError(
                f"expected the digest {expected[:12]} of {self.cases} cases of {operation}, "
                f"got {answers.hexdigest()[:12]} from this installation",
                path=self.folder / "accumulated.json",
            )

    def digest(self) -> str:
        """Return the SHA-256 of the names and bytes of all files of tests, which identifies the vectors.

        The answers of mistakes are no part of it: they are no tests.
        """
        sha = hashlib.sha256()
        for path in sorted([*self.folder.glob("*.json"), *self.folder.glob("files/*.npz")]):
            sha.update(path.relative_to(self.folder).as_posix().encode() + b"\n" + path.read_bytes())
        return sha.hexdigest()


def _mistake(file: VectorFile, flag: str) -> str:
    """Describe a mistake: a clause, and the name of its flag."""
    ending = ONLY_BITS if flag in file.bits else ""
    return f"{file.why[flag].removeprefix('fails if ').partition(PROMISE)[0]}{ending} ({flag})"


def _digests(path: Path) -> dict[str, dict[str, str]]:
    """Read the digests by operation and number of cases."""
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))["digests"]
        of = accumulated.GROUPS
        return {name: {str(cases): str(digests[name][str(cases)]) for cases in accumulated.CASES} for name in of}
    except (ValueError, LookupError, TypeError) as error:
        raise unreadable(path, f"digests of {' and '.join(accumulated.GROUPS)}", error) from error


def run(suite: Suite, ask: Ask, levels: Sequence[str], *, bits: bool = False) -> Iterator[LevelResult]:
    """Run all tests, level by level; with ``bits``, an answer passes only if it is bit-exact."""
    for level in levels:
        result = LevelResult(level)
        for test in suite.tests([level]):
            answer = ask(test)
            verdict, only_bits = _judged(test, answer, bits)
            result.add(test, verdict)
            result.noise += answer.get("noise", [])
            if "unsupported" in answer:
                only_wide = result.unsupported.get(test.operation, True)
                result.unsupported[test.operation] = only_wide and test.needs_float64
            elif not verdict.passed:
                causes = suite.causes(test, answer, verdict, only_bits)
                result.failures.append(Failure(test.id, test.comment, verdict.reason, causes))
        yield result


def _judged(test: Test, answer: dict[str, Any], bits: bool) -> tuple[Verdict, bool]:
    """Return the verdict, and whether the answer fails only because ``bits`` demands bit-exact outputs."""
    if "failed" in answer or "unsupported" in answer:
        return Verdict(False, False, str(answer.get("failed", "not supported")), in_form=False), False
    if unknown := checked_answer(test, answer):
        return Verdict(False, False, unknown, in_form=False), False
    try:
        verdict = judge(test, answer)
    except Exception as error:  # a fault of this package fails one test, and the report goes on
        words = f"this installation raised {type(error).__name__} while it judged the answer: {reason(error)}"
        return Verdict(False, False, words, in_form=False), False
    if bits and verdict.passed and not verdict.bit_exact:
        return Verdict(False, False, verdict.reason), True
    return verdict, False


def json_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a result as JSON names them: programs know the reason as ``words``."""
    return {"words" if name == "reason" else name: value for name, value in fields.items()}


def as_json(results: list[LevelResult], suite: Suite) -> dict[str, Any]:
    """Return the whole result as a JSON object."""
    levels = {
        result.level: {
            "passed": result.full,
            "tests": result.tests,
            "tests_passed": result.passed,
            "tests_to_the_bit": result.bit_exact,
            "cases": result.cases,
            "cases_passed": result.cases_passed,
            "unsupported": list(result.unsupported),
            "noise": result.noise,
            "failures": [json_fields(vars(failure)) for failure in result.failures],
        }
        for result in results
    }
    return {
        "spec": SPEC_VERSION,
        "vectors": suite.digest(),
        "without": list(suite.without),
        "only": list(suite.only),
        "passed": all(result.full for result in results),
        "levels": levels,
    }


def level_text(result: LevelResult) -> str:
    """Return the result of one level as text for people."""
    return "\n".join(_level_lines(result))


def outcome_text(results: list[LevelResult], suite: Suite) -> str:
    """Return the last line of a report: whether the requested level is passed."""
    requested = ", ".join(suite.only) or _requested([result.level for result in results])
    without = f", without {' and '.join(suite.without)}" if suite.without else ""
    outcome = "passes" if all(result.full for result in results) else "does not pass"
    return f"{outcome} {requested}{without} (specification {SPEC_VERSION}, vectors {suite.digest()[:12]})"


def _requested(levels: list[str]) -> str:
    """Return the highest level and the extensions."""
    highest = [level for level in levels if level in LEVELS][-1:]
    return ", ".join([*highest, *(level for level in levels if level in EXTENSIONS)])


def _level_lines(result: LevelResult) -> Iterator[str]:
    head = f"{result.level} {PARTS[result.level]}: {result.passed} of {result.tests} tests"
    if result.cases:
        head += f" and {result.cases_passed:,} of {result.cases:,} cases"
    head += " passed"
    if result.passed:
        inexact = result.passed - result.bit_exact
        head += ", to the bit" if not inexact else f", {inexact} of them within the bounds for other orders of sums"
    yield head
    if not_at_all := [name for name, only_wide in result.unsupported.items() if not only_wide]:
        yield f"   not supported by the program: {', '.join(not_at_all)}"
    if wide := [name for name, only_wide in result.unsupported.items() if only_wide]:
        yield f"   not supported by the program in float64: {', '.join(wide)}; --without float64 skips these tests"
    if result.noise:
        some = ", ".join(map(repr, result.noise))
        yield f"   skipped lines that are not answers ({some}): {ONLY_ANSWERS}"
    for failure in result.failures[:SHOWN]:
        yield f"   {failure.test}: {failure.comment}"
        yield f"      {failure.reason}"
        yield from (f"      {cause}" for cause in failure.flags)
    if more := [failure.test for failure in result.failures[SHOWN:]]:
        yield f"   and {len(more)} more: {', '.join(more[:NAMED])}{', …' if len(more) > NAMED else ''}"
