"""Texts and numbers as pages show them: hostile texts become harmless here."""

from __future__ import annotations

import math
import re

REMOVED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Characters without a shape: controls, marks that reorder text, tags. The joiners U+200C and U+200D stay: Persian,
the scripts of India and others need them."""

MARKS = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
STACKED = re.compile(f"({MARKS}{{3}}){MARKS}+")
SURROGATE = re.compile("[\ud800-\udfff]")
ROOM = 20
"""Characters that are read of a text for each one that is shown, so that a text of a megabyte takes no time."""


def safe(text: object, limit: int = 160) -> str:
    """Return a text in one line of at most ``limit`` characters, without controls; "…" is the last one if it was cut.

    White space becomes single spaces.
    """
    whole = str(text)
    read = whole[: ROOM * limit]
    line = " ".join(clean(" ".join(read.split())).split())
    if len(line) <= limit and len(read) == len(whole):
        return line
    return line[: limit - 1].rstrip() + "…"


def clean(text: str) -> str:
    """Return a text without controls, with U+FFFD for lone surrogates, so that UTF-8 can encode it.

    Of marks above or below one letter, three are left: more would cover other lines.
    """
    if text.isascii() and text.isprintable():  # most texts, and quicker
        return text
    return STACKED.sub(r"\1", SURROGATE.sub("\ufffd", REMOVED.sub("", text)))


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many significant digits, without an exponent, and "–" if there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if value == 0 or exponent < -6:
        return "0"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def percent(share: float | None) -> str:
    """Return a share as percent with two digits."""
    if share is None or not math.isfinite(share):
        return "–"
    return "<0.01%" if 0 < share < 1e-4 else f"{number(100 * share)}%"


def count(n: int, what: str) -> str:
    """Return a number with its noun: "1 item", "2,000 items", "3 centuries"."""
    if n != 1:
        what = f"{what[:-1]}ies" if re.search("[^aeiou]y$", what) else f"{what}s"
    return f"{n:,} {what}"
