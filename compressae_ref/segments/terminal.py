"""What rose and what fell, as lines for a terminal."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from compressae_ref.page.text import count, percent, safe
from compressae_ref.segments.wording import (
    Facts,
    by_size,
    came_and_went,
    excess,
    fallen,
    fell,
    name_of,
    neighbours,
    risen,
    rose,
    shares,
    summary,
    times,
    window,
)

WIDTH = 100
"""Columns of a line, at most."""

BARS = 26
"""Columns of a series and of any other cell, at most, so that there is room for a name."""

LISTED = 10
BLOCKS = " ▁▂▃▄▅▆▇█"
LETTERS = " .:-=+*#@"
"""What stands for `BLOCKS` where they cannot be written."""

JOINERS = "\u200c\u200d"

PLAIN = str.maketrans(
    {"–": "-", "×": "x", "−": "-", "…": "~", "“": '"', "”": '"', **dict(zip(BLOCKS, LETTERS, strict=True))}
)

Column = Callable[[Facts], str]


def lines(facts: Facts, encoding: str | None = "utf-8") -> list[str]:
    """Return the facts of segments as lines of at most 100 columns.

    Parameters
    ----------
    facts : what `Segments.facts` returns
    encoding : that of the stream. If it has no block characters, the series are drawn in ASCII, and characters that it
        does not have become "?".
    """
    made = [line.rstrip() for line in _lines(facts)]
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        made = [line.translate(PLAIN).encode("ascii", "replace").decode() for line in made]
        return [_fitted(line, WIDTH).translate(PLAIN) for line in made]
    return [_fitted(line, WIDTH) for line in made]


def _lines(facts: Facts) -> Iterable[str]:
    yield safe(facts["title"], WIDTH)
    yield from summary(facts)
    if bins := facts["bins"]:
        when = f"and the {count(2, safe(bins['unit'], 20))[2:]} in which it was strongest"
        columns: list[Column] = [partial(_bars, bins), _trend]
        yield from _table(f"What rose most, {when}", risen(facts), facts, [*columns, rose])
        yield from _table(f"What fell or is gone, {when}", fallen(facts), facts, [*columns, partial(fell, bins)])
        yield from _table(f"What came and went, {when}", came_and_went(facts), facts, [*columns, excess])
    else:
        yield from _table("The largest", [segment["id"] for segment in by_size(facts)], facts, [_size, _share])
    if facts["hidden"]:
        yield from _table("Strong but overlooked", facts["hidden"], facts, [_size, _overlooked])


def _table(title: str, ids: Sequence[int], facts: Facts, columns: Sequence[Column]) -> Iterable[str]:
    """Return a heading and the first ten segments: aligned columns, and the name in what is left of the line."""
    rows = [facts["segments"][i] for i in ids[:LISTED]]
    cells = [[_fitted(column(row), BARS) for column in columns] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    yield ""
    yield f"{title}: {f'the first {LISTED} of {len(ids):,}' if len(ids) > LISTED else len(ids) or 'none'}"
    for row, row_cells in zip(rows, cells, strict=True):
        line = "".join(f"  {_padded(cell, width)}" for cell, width in zip(row_cells, widths, strict=True))
        yield f"{line}  {name_of(row)}"


def _bars(bins: Facts, segment: Facts) -> str:
    values = shares(segment, bins, neighbours(bins, BARS))
    top = max(values) or 1.0
    return "".join(BLOCKS[math.ceil(8 * value / top)] for value in values)


def _trend(segment: Facts) -> str:
    return f"{safe(segment['trend']['class'], 20)} {window(segment['trend'])}"


def _size(segment: Facts) -> str:
    return count(segment["items"], "item")


def _share(segment: Facts) -> str:
    return percent(segment["share"])


def _overlooked(segment: Facts) -> str:
    return times(segment["hidden"]["ratio"])


def _columns(text: str) -> int:
    """Return how many columns a terminal needs for a text: wide letters take two, combining marks none."""
    return sum(map(_width, text))


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or letter in JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _fitted(text: str, width: int) -> str:
    """Return a text of at most so many columns, with "…" where it was cut, without joiners: terminals escape them."""
    text = "".join(letter for letter in text if letter not in JOINERS)
    if _columns(text) <= width:
        return text
    while _columns(text) >= width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))
