"""A plot of lines, as SVG without text and labels of HTML: text keeps its size on a phone, and lines their width.

The positions of labels are rules of the style sheet, because the policy of our pages allows no other style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from compressae_ref.page.markup import Markup, join, tag

WIDTH, HEIGHT = 1000, 500
"""Units of the drawing, which is stretched to the room that it has."""

LABEL_HEIGHT = 0.075
"""Height of a label, as a share of the height of a plot."""


class Line(NamedTuple):
    """One line of a plot."""

    label: str
    points: Sequence[tuple[float, float]]
    """(x, y), ascending by x"""
    ours: bool = True
    """whether the line is emphasised"""


class Axis(NamedTuple):
    """One axis of a plot."""

    title: str
    low: float
    high: float
    ticks: Sequence[float]
    shown: Callable[[float], str] = str
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value is, from 0 (low) to 1 (high); values beyond are at the ends."""
        low, high, value = (
            (math.log(max(each, 1e-12)) for each in (self.low, self.high, value))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        return min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)


def plot(name: str, lines: Sequence[Line], x: Axis, y: Axis) -> tuple[Markup, str]:
    """Return a figure and the style that places its labels. ``name`` is its id."""
    style: list[str] = []
    ticks = [
        _label(style, f"{name}-x{i}", x.shown(at), f"left:{_percent(x.place(at))}", "x") for i, at in enumerate(x.ticks)
    ]
    ticks += [
        _label(style, f"{name}-y{i}", y.shown(at), f"top:{_percent(1 - y.place(at))}", "y")
        for i, at in enumerate(y.ticks)
    ]
    drawn = [line for line in lines if line.points]
    labels = []
    for i, (line, top) in enumerate(zip(drawn, label_tops(drawn, y), strict=True)):
        place = f"left:{_percent(x.place(line.points[-1][0]))};top:{_percent(top)}"
        labels.append(_label(style, f"{name}-l{i}", _named(i, line), place, _kind(line)))
    legend = tag("ul", *(tag("li", _named(i, line)) for i, line in enumerate(drawn)), class_="legend")
    svg = tag(
        "svg",
        *(tag("path", class_="grid", d=_level(y.place(at))) for at in y.ticks),
        *(_drawn(line, x, y) for line in lines),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    figure = tag(
        "figure",
        tag("p", y.title, class_="quiet"),
        tag("div", svg, *ticks, *labels, class_="canvas"),
        tag("p", x.title, class_="quiet under"),
        legend,
        class_="lines",
        id=name,
    )
    return figure, "".join(style)


def label_tops(lines: Sequence[Line], y: Axis) -> list[float]:
    """Return where the label of each line is, from 0 (top) to 1: at its last point, or near it."""
    wanted = [1 - y.place(line.points[-1][1]) for line in lines]
    order = sorted(range(len(lines)), key=lambda i: wanted[i])
    tops = dict.fromkeys(order, 0.0)
    at = -LABEL_HEIGHT
    for i in order:
        at = tops[i] = max(wanted[i], at + LABEL_HEIGHT)
    last = 1.0
    for i in reversed(order):  # push back what has left the plot
        last = tops[i] = min(tops[i], last)
        last -= LABEL_HEIGHT
    return [tops[i] for i in range(len(lines))]


def _drawn(line: Line, x: Axis, y: Axis) -> Markup:
    points = [f"{WIDTH * x.place(a):.1f} {HEIGHT * (1 - y.place(b)):.1f}" for a, b in line.points]
    kind = _kind(line)
    dots = "".join(f"M{point}h0" for point in points) if len(points) <= 40 else ""
    path = tag("path", class_=kind, d=Markup(f"M{'L'.join(points)}")) if len(points) > 1 else None
    return join(path, tag("path", class_=f"{kind} dots", d=Markup(dots)) if dots else None)


def _kind(line: Line) -> str:
    return "own" if line.ours else "other"


def _named(number: int, line: Line) -> Markup:
    """Return a letter, which stands for the label where there is no room, and the label."""
    return join(tag("b", chr(ord("A") + number)), tag("span", f" {line.label}"))


def _level(place: float) -> str:
    return f"M0 {HEIGHT * (1 - place):.1f}H{WIDTH}"


def _label(style: list[str], name: str, text: object, place: str, kind: str) -> Markup:
    style.append(f"#{name}{{{place}}}")
    return tag("span", text, class_=f"label {kind}", id=name)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
