"""Find columns that hold a dimension each, such as emb_0, emb_1, …, by the numbers in their names.

Columns belong together if the text before their numbers is the same, apart from separators. Numbers start at 0 or 1.
Numbers that are missing or repeat are an error, because the vectors would have fewer dimensions without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.choose_array import listed

LEAST = 3
"""Columns of a group with missing numbers. Fewer ones, such as x1 and x3, are columns of their own."""

_NUMBERED = re.compile(r"(.*?)[_\-.\[( ]*(\d{1,9})[\])]?")


class Group(NamedTuple):
    """Columns whose names differ in their numbers only."""

    columns: list[tuple[int, str]]
    """number and name of each, sorted"""

    @property
    def numbers(self) -> list[int]:
        """The number of each column, ascending."""
        return [number for number, _ in self.columns]

    @property
    def names(self) -> list[str]:
        """The columns in the order of their numbers."""
        return [name for _, name in self.columns]

    @property
    def whole(self) -> bool:
        """Whether the numbers are those from 0 or 1 to the last, each once."""
        first = self.numbers[0]
        return len(self.columns) > 1 and first in (0, 1) and self.numbers == [*range(first, first + len(self.columns))]

    @property
    def broken(self) -> bool:
        """Whether at least half of the numbers are there, but some are missing, or one repeats."""
        distinct = len({*self.numbers})
        return not self.whole and distinct >= LEAST and 2 * distinct > self.numbers[-1]

    def require_whole(self, path: object) -> None:
        """Raise FormatError that names the columns that are missing, or two that have one number."""
        if self.whole:
            return
        numbers, names = self.numbers, self.names
        expected = f"expected one column of numbers for each dimension, as in {names[0]} to {names[-1]}"
        hint = "add what is missing, or choose other columns with FILE::NAME"
        missing = sorted({*range(min(numbers[0], 1), numbers[-1] + 1)} - {*numbers})
        if missing:
            absent = listed({self._called(number): "" for number in missing})
            raise FormatError(f"{expected}, got none in {absent}", path=path, hint=hint)
        twice = next(place for place, number in enumerate(numbers[1:]) if number == numbers[place])
        raise FormatError(f"{expected}, got {names[twice]} and {names[twice + 1]} with one number", path=path)

    def _called(self, number: int) -> str:
        """Return the name of the column with a number, as the others are called."""
        name = self.names[-1]
        match = _NUMBERED.fullmatch(name)
        assert match is not None
        first = _NUMBERED.fullmatch(self.names[0])
        padded = first is not None and len(first[2]) == len(match[2])
        return f"{name[: match.start(2)]}{number:0{len(match[2]) if padded else 1}d}{name[match.end(2) :]}"


def numbered(names: Iterable[str]) -> dict[str, Group]:
    """Return the groups of numbered columns by the text before their numbers, or by both numbers if there is none."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            found.setdefault(match[1], []).append((int(match[2]), name))
    groups = {prefix: Group(sorted(columns)) for prefix, columns in found.items()}
    return {prefix or f"{of.numbers[0]}…{of.numbers[-1]}": of for prefix, of in groups.items()}
