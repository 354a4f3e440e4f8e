"""The tests in a folder of vectors, those of some levels, and the mistakes that a wrong answer may come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from compressae_ref.backends import get_backend
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.verify import accumulated, self_test
from compressae_ref.verify.judge import Verdict, fingerprint
from compressae_ref.verify.operations import EXTENSIONS, LEVELS, OPERATIONS, PARTS
from compressae_ref.verify.vectors import Test, VectorFile, load_folder, load_mistakes, unreadable

FEW = 3
"""Number of possible causes up to which each is described; above it only their names are printed."""

HIGHEST = list(LEVELS)[-1]
"""The level that includes all others."""

ACCUMULATED = "accumulated-"
"""Prefix of the ids of groups of accumulated cases."""

PROMISE, ONLY_BITS = ": only who promises the same bits", "; this concerns only bit-identical implementations"
"""The ending of a mistake that changes only bits: as stored in the vectors, which are fixed, and as printed."""


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

    def with_outputs(self, name: str) -> Iterator[Test]:
        """Yield the tests of a file of vectors that expect outputs."""
        for file in self.files:
            if file.name == name:
                yield from (test for test in file.tests if test.error is None)

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
        if exact := self.exact_mistakes(test, answer):
            return [exactly(exact)]
        if not verdict.in_form or "error" in answer or test.error is not None:
            return []
        flags = [name for name in test.flags if (name in file.bits) == bits]
        if len(flags) > FEW:
            return [f"possible causes: one of {', '.join(flags)} (described in {file.name}.json), or another one"]
        return [f"possible cause: {_mistake(file, name)}" for name in flags]

    def exact_mistakes(self, test: Test, answer: dict[str, Any]) -> list[str]:
        """Return the known mistakes that give exactly this answer, as clauses."""
        file = self._file(test.id.rpartition("-")[0])
        known = self.mistakes.get(test.id, {})
        if file is None or not known:
            return []
        given = fingerprint(test, answer)
        flags = [self._flag(file, name) for name, told in known.items() if told == given]
        return [_mistake(*flag) for flag in flags if flag is not None]

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


def exactly(mistakes: Sequence[str]) -> str:
    """Return a sentence about the known mistakes that give exactly an answer."""
    return f"exactly this answer is given if {', or if '.join(mistakes)}"


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
