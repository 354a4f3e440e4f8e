"""Judge an implementation on all tests of the requested levels, and report the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from compressae_ref.errors import reason
from compressae_ref.verify import accumulated
from compressae_ref.verify.judge import Verdict, checked_answer, judge
from compressae_ref.verify.operations import EXTENSIONS, LEVELS, PARTS
from compressae_ref.verify.programs import ONLY_ANSWERS, Ask
from compressae_ref.verify.suite import ACCUMULATED, Suite
from compressae_ref.verify.vectors import SPEC_VERSION, Test

SHOWN = 5
"""Number of failures per level that are printed in full."""

NAMED = 20
"""Number of further failures per level whose ids are printed."""


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


def run(suite: Suite, ask: Ask, levels: Sequence[str], *, bits: bool = False) -> Iterator[LevelResult]:
    """Run all tests, level by level; with ``bits``, an answer passes only if it is bit-exact."""
    for level in levels:
        result = LevelResult(level)
        for test in suite.tests([level]):
            answer = ask(test)
            verdict, only_bits = judged(test, answer, bits)
            result.add(test, verdict)
            result.noise += answer.get("noise", [])
            if "unsupported" in answer:
                only_wide = result.unsupported.get(test.operation, True)
                result.unsupported[test.operation] = only_wide and test.needs_float64
            elif not verdict.passed:
                causes = suite.causes(test, answer, verdict, only_bits)
                result.failures.append(Failure(test.id, test.comment, verdict.reason, causes))
        yield result


def judged(test: Test, answer: dict[str, Any], bits: bool) -> tuple[Verdict, bool]:
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
    failed = [result.level for result in results if not result.full]
    requested = ", ".join(suite.only) or _requested(failed or [result.level for result in results])
    without = f", without {' and '.join(suite.without)}" if suite.without else ""
    outcome = "does not pass" if failed else "passes"
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
