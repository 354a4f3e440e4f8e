"""Split texts into words, in any script (R32), and make texts safe to print."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from compressae_ref.errors import DTypeError

MOST_CHARACTERS = 50
"""Longer words are dropped: they are encoded data, and a name has to be readable."""

UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029),
    (0x3031, 0x3035), (0x3038, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Code points, both ends included, of scripts written without spaces: Thai, Lao, Myanmar, Khmer, Han and Kana."""

JOINERS = "'\u200c\u200d"
"""Characters that belong to a word between two of its letters: the apostrophe, and two without width."""

ASCII_WORDS = re.compile(r"[a-z0-9]+(?:(?<=[a-z])'(?=[a-z])[a-z0-9]+)*")
ASCII_SPACES = "".join(c if c.isalnum() else " " for c in map(chr, range(128)))
# Beyond are planes without letters, marks or digits, and, at the end, the selectors of variants, which are marks.
CODE_POINTS = (range(0x10000), range(0x10000, 0x40000), range(0xE0100, 0xE01F0))


def as_text(text: object, row: int) -> str | None:
    """Return a text or None as it is. DTypeError if it is something else."""
    if text is not None and not isinstance(text, str):
        raise DTypeError(f"expected a string or None, got {type(text).__name__}", argument="texts", row=row)
    return text


def words_of(text: str) -> list[str]:
    """Return the words of a text, in their order (R32).

    The text is brought to the normal form NFKC, then to lower case (the default mapping of Unicode, with its rule for
    the final sigma), and ’ becomes '. Letters, marks and digits are the characters whose Unicode category begins with
    L, M and N. Those letters and marks that lie in `UNSPACED` are called unspaced.

    - A word is a longest run of characters, none of them unspaced, that are letters, marks or digits and begin with a
      letter or digit. A character of `JOINERS` belongs to it after a letter or mark and before a letter.
    - A longest run of unspaced characters that begins with a letter is cut into overlapping pairs: a letter with the
      marks after it counts as one, marks of other scripts included. A run of one letter has no pair.
    - Words without a letter, of one character, or of more than `MOST_CHARACTERS` are dropped.
    """
    if text.isascii():
        text = text.lower()
        # Most texts are such, and splitting them is twice as fast as a regular expression.
        found = ASCII_WORDS.findall(text) if "'" in text else text.translate(ASCII_SPACES).split()
        return [w for w in found if 1 < len(w) <= MOST_CHARACTERS and not w.isdigit()]
    return _words_of_any_script(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))


def joined(first: str, second: str | None = None) -> str:
    """Return a term: a word, or two that follow each other, with a space or as three characters of an unspaced script.

    Pairs of unspaced characters are joined if the second begins with the last character of the first.
    """
    if second is None:
        return first
    a, b = _unspaced_pair(first), _unspaced_pair(second)
    return first + b[1] if a and b and a[1] == b[0] else f"{first} {second}"


def related(first: str, second: str) -> bool:
    """Return whether two words are the same, or probably inflections of one (R34).

    They are if the beginning that they share has at least four characters and is a whole one of them, or at least two
    thirds of the longer one; pairs of unspaced characters are related if they share a character.
    """
    a, b = _unspaced_pair(first), _unspaced_pair(second)
    if a and b:
        return not {*a}.isdisjoint(b)
    shorter, longer = sorted((first, second), key=len)
    shared = next((i for i, (x, y) in enumerate(zip(shorter, longer, strict=False)) if x != y), len(shorter))
    return first == second or (shared >= 4 and (shared == len(shorter) or 3 * shared >= 2 * len(longer)))


def printable(text: str) -> str:
    """Return a text in one line: white space becomes single spaces; control and format characters are removed.

    Removed are the categories C* and the marks of line and paragraph (Zl, Zp), but not the joiners U+200C and U+200D.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in JOINERS else " " if c.isspace() else "" for c in text)
    return " ".join(text.split())


class _Patterns(NamedTuple):
    """Regular expressions for text in any script."""

    unspaced: re.Pattern[str]
    words: re.Pattern[str]
    """words, for text without unspaced characters"""
    runs: re.Pattern[str]
    """words, and in a group runs of unspaced characters"""
    pairs: re.Pattern[str]
    letter: re.Pattern[str]


ABOVE_BMP = re.compile("[\U00010000-\U0010ffff]")


def _words_of_any_script(text: str) -> list[str]:
    # Sets of characters above U+FFFF are slow in `re`: text without any has patterns of its own.
    patterns = _patterns(bool(ABOVE_BMP.search(text)))
    letter = patterns.letter.search
    if not patterns.unspaced.search(text):
        found = patterns.words.findall(text)
        return [w for w in found if 1 < len(w) <= MOST_CHARACTERS and (w.isalpha() or letter(w))]
    result = list[str]()
    for match in patterns.runs.finditer(text):
        word = match[0]
        if match.lastindex:
            result += [pair[1] + pair[2] for pair in patterns.pairs.finditer(word)]
        elif 1 < len(word) <= MOST_CHARACTERS and letter(word):
            result.append(word)
    return result


def _unspaced_pair(word: str) -> tuple[str, str] | None:
    """Return the two characters of a word that is a pair of unspaced ones."""
    match = None if word.isascii() else _patterns(True).pairs.match(word)
    return (match[1], match[2]) if match else None


@lru_cache(maxsize=2)
def _patterns(above_bmp: bool) -> _Patterns:
    unspaced = {c for first, last in UNSPACED for c in range(first, last + 1)}
    kinds: dict[str, list[int]] = {kind: [] for kind in ("L", "M", "N", "UL", "UM")}
    for part in CODE_POINTS if above_bmp else CODE_POINTS[:1]:
        for c in part:
            kind = unicodedata.category(chr(c))[0]
            if kind in "LMN":
                kinds["U" * (c in unspaced and kind != "N") + kind].append(c)
    L, M, N, UL, UM = (_ranges(kind) for kind in kinds.values())
    words = f"[{L}{N}][{L}{M}{N}]*(?:(?<=[{L}{M}])[{JOINERS}](?=[{L}])[{L}{M}{N}]+)*"
    one = f"[{UL}][{UM}{M}]*"
    patterns = f"[{UL}]", words, f"([{UL}][{UL}{UM}{M}]*)|{words}", f"({one})(?=({one}))", f"[{L}]"
    return _Patterns(*map(re.compile, patterns))


def _ranges(code_points: Iterable[int]) -> str:
    """Return ascending code points as the inside of a set of a regular expression."""
    ranges: list[list[int]] = []
    for c in code_points:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
