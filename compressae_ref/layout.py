"""Fit tables and prose to the width of a terminal. This module imports nothing of the package."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

LEAST = 20
"""Columns of a line on narrower terminals, whose own wrapping then breaks it."""

PROSE = 100
"""Columns of a line of prose, at most: longer ones are hard to read."""

JOINERS = "\u200c\u200d"

SHORT = {"items stored as": "items", "query k": "qk", "bytes/item": "bytes", "smaller by": "ratio", "queries/s": "q/s"}
"""Headers of columns where a table does not fit. Others are those before "@", with their first letter: R@10."""

GAP = "  "
LEAST_TITLE = 16
"""Columns of the first column of a table, at least: with fewer, each row becomes a block of lines."""

COMMAND = re.compile(r" *(?:[a-z, ]+: )?compressae-ref ")
"""Lines that begin so hold a command to copy: they are continued as a shell does, after a backslash."""

GLUED = r"\s+(?![•(])"
"""Where the title of a row may be broken: not before a mark, which would stand alone on a line."""

WORD = r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+"""
CELLS = r"(?<!\\)\|"
RULE = r":?-+:?"


def width_of(stream: Any) -> int | None:
    """Return the columns of a terminal: ``COLUMNS`` if that is set, as other programs do. None: no terminal."""
    if not stream.isatty():
        return None
    said = os.environ.get("COLUMNS", "")
    columns = int(said) if said.isdecimal() else 0
    if not columns:
        with suppress(ValueError, OSError):
            columns = os.get_terminal_size(stream.fileno()).columns
    return max(columns or 80, LEAST)


def columns_of(text: str) -> int:
    """Return how many columns a terminal needs for a text: wide letters take two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(letter: str) -> int:
    import unicodedata  # a library that the start of a command need not load

    if unicodedata.combining(letter) or letter in JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text with spaces after it, or before it, up to so many columns."""
    spaces = " " * (width - columns_of(text))
    return spaces + text if right else text + spaces


def fitted(text: str, width: int | None) -> str:
    """Return a text for people in lines of at most ``width`` columns (None: as it is).

    Lines of prose are wrapped between words and keep their indentation. Tables in Markdown are laid out anew. Lines
    that programs read, which are JSON or have tabs, stay as they are.
    """
    if width is None:
        return text
    made: list[str] = []
    for is_table, lines in groupby(text.split("\n"), lambda line: line.startswith("| ")):
        if is_table:
            made += table_lines([*lines], width)
            continue
        for line in lines:
            is_data = "\t" in line or line.startswith(("{", "["))
            made += [line] if is_data else wrapped(line, min(width, PROSE))
    return "\n".join(made)


def wrapped(line: str, width: int) -> list[str]:
    """Break a line between words; the following lines are indented by two more columns.

    A word is broken only if it is wider than a line. A line that fits stays as it is, with all of its spaces.
    """
    if columns_of(line) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip(" ")), width // 2)
    is_command = COMMAND.match(line) is not None
    words = re.findall(WORD, line) if is_command else line.split()
    is_command &= max(map(columns_of, words), default=0) < width - len(indent) - 4
    return [*filled(words, width, indent, f"{indent}  ", " \\" if is_command else "")]


def filled(
    words: Sequence[str], width: int, first: str, others: str, end: str = "", *, whole: bool = False
) -> Iterator[str]:
    """Yield lines of words.

    Parameters
    ----------
    first, others : what the first line and the other lines begin with
    end : what follows each line but the last
    whole : whether words that are wider than a line are not broken
    """
    line = first
    for word in words:
        if line.strip() and columns_of(f"{line} {word}{end}") > width:
            yield line + end
            line = others
        joined = f"{line} {word}" if line.strip() else line + word
        while not whole and columns_of(joined + end) > width:
            piece = start_of(joined, width - len(end))
            yield piece + end
            joined = others + joined[len(piece) :]
        line = joined
    yield line


def start_of(text: str, width: int) -> str:
    """Return as much of the start of a text as fits."""
    taken = 0
    for at, letter in enumerate(text):
        taken += _columns(letter)
        if taken > width:
            return text[:at]
    return text


def markdown(columns: Mapping[str, Sequence[str]], *, right: bool = True) -> str:
    """Format a table in Markdown from its columns, the first one aligned left and the others right or left."""
    widths = [max(map(columns_of, [head, *cells, "-:"])) for head, cells in columns.items()]
    rule = ["-" * size if place == 0 or not right else "-" * (size - 1) + ":" for place, size in enumerate(widths)]
    lines = [list(columns), rule, *zip(*columns.values(), strict=True)]
    aligned = (
        [
            padded(cell, size, right=right and place > 0)
            for place, (cell, size) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in aligned)


def table_lines(markdown: Sequence[str], width: int) -> list[str]:
    """Fit the lines of a Markdown table: as they are, with short headers, or each row as a block of lines."""
    if all(columns_of(line) <= width for line in markdown):
        return [*markdown]
    rows = [[cell.strip() for cell in re.split(CELLS, line)[1:-1]] for line in markdown]
    rules = rows.pop(1) if len(rows) > 1 and all(re.fullmatch(RULE, cell) for cell in rows[1]) else []
    head, *body = rows
    if any(len(row) != len(head) for row in rows):  # no table
        return [piece for line in markdown for piece in wrapped(line, width)]
    return _aligned(head, body, rules, width) or _blocks(head, body, width)


def _short(header: str) -> str:
    name, at, top = header.partition("@")
    return SHORT.get(header, f"{name[:1].upper()}@{top}" if at and name == "recall" else name)


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]], rules: Sequence[str], width: int) -> list[str]:
    """Return aligned columns with short headers, the first one wrapped, and below them what the headers stand for.

    Nothing if there is no room for the first column.
    """
    names = [*map(_short, head)]
    rows = [names if len({*names}) == len(names) else head, *body]
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    room = width - sum(len(GAP) + other for other in widths[1:])
    longest = max(columns_of(word) for row in rows for word in _pieces(row[0], width))
    if room < max(longest, min(LEAST_TITLE, widths[0])):
        return []
    made = []
    for row in rows:
        title, *more = filled(_pieces(row[0], room), room, "", "") if columns_of(row[0]) > room else [row[0]]
        cells = [
            padded(cell, size, right=rule.endswith(":"))
            for cell, size, rule in zip(row[1:], widths[1:], rules[1:] or [""] * len(row), strict=False)
        ]
        made += [GAP.join([padded(title, min(room, widths[0])), *cells]).rstrip(), *more]
    # "bytes" for "bytes/item" explains itself
    meant = [f"{name}: {full}" for name, full in zip(rows[0], head, strict=True) if not full.startswith(name)]
    return [*made, *(wrapped("; ".join(meant), width) if meant else ())]


def _pieces(title: str, width: int) -> list[str]:
    """Return the words of a title, those before a mark together with it if there is room."""
    pieces = re.split(GLUED, title)
    return [word for piece in pieces for word in ([piece] if columns_of(piece) <= width else piece.split())]


def _blocks(head: Sequence[str], body: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return for each row its first cell, and below it the other ones after their headers."""
    made = []
    for title, *cells in body:
        pairs = [f"{name} {cell}" for name, cell in zip(head[1:], cells, strict=True) if cell]
        made += [
            *(filled(_pieces(title, width - len(GAP)), width, "", GAP) if title else ()),
            *_pair_lines(pairs, width),
        ]
    return made


def _pair_lines(pairs: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of whole pairs. A pair that is wider than a line is wrapped."""
    line = ""
    for pair in pairs:
        joined = f"{line} | {pair}" if line else f"{GAP}{pair}"
        if columns_of(joined) > width and line:
            yield from wrapped(line, width)
            joined = f"{GAP}{pair}"
        line = joined
    yield from wrapped(line, width) if line else ()
