"""What rose and what fell, as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from compressae_ref.layout import JOINERS, columns_of, padded, start_of, wrapped
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
"""Columns of a line, at most, and without a terminal."""

BARS = 26
"""Columns of a series and of any other cell, at most, so that there is room for a name."""

NAME = 14
"""Columns for a name: with fewer beside its cells, it gets a line of its own."""

LISTED = 10
BLOCKS = " ▁▂▃▄▅▆▇█"
LETTERS = " .:-=+*#@"
"""What stands for `BLOCKS` where they cannot be written."""

PLAIN = str.maketrans(
    {"–": "-", "×": "x", "−": "-", "…": "~", "“": '"', "”": '"', **dict(zip(BLOCKS, LETTERS, strict=True))}
)

Column = Callable[[Facts], str]


def lines(facts: Facts, encoding: str | None = "utf-8", width: int | None = None) -> list[str]:
    """Return the facts of segments as lines of at most 100 columns, or fewer if the terminal has fewer.

    Parameters
    ----------
    facts : what `Segments.facts` returns
    encoding : that of the stream. If it has no block characters, the series are drawn in ASCII, and characters that it
        does not have become "?".
    width : columns of the terminal; None: 100
    """
    width = min(width or WIDTH, WIDTH)
    made = [line.rstrip() for line in _lines(facts, width)]
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        made = [line.translate(PLAIN).encode("ascii", "replace").decode() for line in made]
        return [_fitted(line, width).translate(PLAIN) for line in made]
    return [_fitted(line, width) for line in made]


def _lines(facts: Facts, width: int) -> Iterable[str]:
    yield safe(facts["title"], WIDTH)
    for sentence in summary(facts):
        yield from wrapped(sentence, width)
    if bins := facts["bins"]:
        when = f"and the {count(2, safe(bins['unit'], 20))[2:]} in which it was strongest"
        bars = min(BARS, max(width // 4, 16))
        columns: list[Column] = [partial(_bars, bins, bars), _trend]
        yield from _table(f"What rose most, {when}", risen(facts), facts, [*columns, rose], width)
        yield from _table(f"What fell or is gone, {when}", fallen(facts), facts, [*columns, partial(fell, bins)], width)
        yield from _table(f"What came and went, {when}", came_and_went(facts), facts, [*columns, excess], width)
    else:
        yield from _table("The largest", [segment["id"] for segment in by_size(facts)], facts, [_size, _share], width)
    if facts["hidden"]:
        yield from _table("Strong but overlooked", facts["hidden"], facts, [_size, _overlooked], width)


def _table(title: str, ids: Sequence[int], facts: Facts, columns: Sequence[Column], width: int) -> Iterable[str]:
    """Return a heading and the first ten segments: aligned columns, and the name in what is left of the line.

    If little is left, the name has a line of its own, and the cells follow below it.
    """
    rows = [facts["segments"][i] for i in ids[:LISTED]]
    cells = [[_fitted(column(row), BARS) for column in columns] for row in rows]
    widths = [max(map(columns_of, column)) for column in zip(*cells, strict=True)]
    yield ""
    heading = f"{title}: {f'the first {LISTED} of {len(ids):,}' if len(ids) > LISTED else len(ids) or 'none'}"
    yield from wrapped(heading, width)
    apart = width - sum(2 + each for each in widths) < 2 + NAME
    for row, row_cells in zip(rows, cells, strict=True):
        if apart:
            first, *others = row_cells
            yield from (f"  {name_of(row)}", f"    {first}", *wrapped(f"    {', '.join(others)}", width))
            continue
        line = "".join(f"  {padded(cell, size)}" for cell, size in zip(row_cells, widths, strict=True))
        yield f"{line}  {name_of(row)}"


def _bars(bins: Facts, most: int, segment: Facts) -> str:
    values = shares(segment, bins, neighbours(bins, most))
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


def _fitted(text: str, width: int) -> str:
    """Return a text of at most so many columns, with "…" where it was cut, without joiners: terminals escape them."""
    text = "".join(letter for letter in text if letter not in JOINERS)
    if columns_of(text) <= width:
        return text
    return f"{start_of(text, width - 1).rstrip()}…"
