"""The series of a segment as a histogram of its share in each bin: one path, which small and large charts share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from compressae_ref.page.markup import Markup, tag
from compressae_ref.page.text import count, number, percent, safe
from compressae_ref.segments.wording import Facts, neighbours, score, shares, summed, times, window

HEIGHT = 60
"""Steps of the vertical axis."""


def histogram(segment: Facts, bins: Facts, points: int) -> Markup:
    """Return the elements of a chart, of width 1 for each bin: the window, the bars and the bar of the peak.

    Of more than ``points`` bins, neighbours are drawn as one, with their share in the weight of all of them.
    """
    together = neighbours(bins, points)
    values = shares(segment, bins, together)
    top = max(values) or 1.0
    tops = [HEIGHT - round(HEIGHT * value / top) for value in values]
    peak = values.index(max(values))
    return tag(
        "g",
        _window(segment["trend"], bins["labels"], together),
        tag("path", d=f"M0 {HEIGHT}{''.join(f'V{y}h{len(list(run))}' for y, run in groupby(tops))}V{HEIGHT}z"),
        tag("path", class_="k", d=f"M{peak} {HEIGHT}V{tops[peak]}h1V{HEIGHT}z"),
        id=f"p{segment['id']}",
    )


def _window(trend: Facts | None, labels: Sequence[str], together: int) -> Markup | None:
    ends = _ends(trend, labels, together)
    return ends and tag("path", class_="w", d=f"M{ends[0]} 0V{HEIGHT}H{ends[1] + 1}V0z")


def _ends(trend: Facts | None, labels: Sequence[str], together: int) -> tuple[int, int] | None:
    """Return the first and the last bar of the window, if there is one."""
    if trend is None or trend["class"] == "steady" or not {trend["from"], trend["to"]} <= set(labels):
        return None
    return labels.index(trend["from"]) // together, labels.index(trend["to"]) // together


def drawing(bins: Facts, points: int, content: Markup, label: str | None = None) -> Markup:
    """Return an ``svg`` with the elements of `histogram`, as wide and as high as the style says."""
    width = -(-len(bins["labels"]) // neighbours(bins, points))
    told = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", content, viewBox=f"0 0 {width} {HEIGHT}", preserveAspectRatio="none", **told)


def again(segment: Facts) -> Markup:
    """Return a reference to the histogram of a segment, which the overview holds."""
    return tag("use", href=f"#p{segment['id']}")


def peak_of(segment: Facts, bins: Facts) -> tuple[int, str]:
    """Return the bin in which the share is largest, and that in words: "peak 1850s, 4.1%"."""
    values = shares(segment, bins)
    at = values.index(max(values))
    return at, f"peak {safe(bins['labels'][at], 40)}, {percent(values[at])}"


def chart(segment: Facts, bins: Facts, points: int) -> Markup:
    """Return what the script draws the large chart of a segment from, and the sentence about its trend."""
    together = neighbours(bins, points)
    start, stop = _ends(segment["trend"], bins["labels"], together) or (None, None)
    values = summed(segment["series"], together)
    series = " ".join(number(value, 3).replace(",", "") if value % 1 else f"{int(value)}" for value in values)
    return tag(
        "figure", tag("figcaption", _sentence(segment, bins)), data_v=Markup(series), data_from=start, data_to=stop
    )


def _sentence(segment: Facts, bins: Facts) -> str:
    trend, (_, peak) = segment["trend"], peak_of(segment, bins)
    first = f"Share of each {safe(bins['unit'], 20)}: {peak}."
    if trend is None or trend["class"] == "steady":
        return f"{first} No trend is significant."
    return (
        f"{first} In {window(trend)} the share is {_compared(trend['ratio'], 'in the other bins')} "
        f"(z {score(trend['z'])}). Lately it is {_compared(trend['last_ratio'], 'before')} "
        f"(z {score(trend['last_z'])})."
    )


def _compared(ratio: float | None, what: str) -> str:
    return f"{times(ratio)} that {what}" if ratio is not None else f"positive, and 0 {what}"


def axis_of(bins: Facts, points: int) -> Markup:
    """Return the bins of large charts as JSON. "<" is escaped, so that no text can end the element."""
    together, unit = neighbours(bins, points), safe(bins["unit"], 20)
    labels = [safe(label, 40) for label in bins["labels"]]
    firsts, lasts = labels[::together], [*labels[together - 1 :: together], labels[-1]]
    told = {
        "unit": unit if together == 1 else count(together, unit),
        "labels": [first if first == last else f"{first}–{last}" for first, last in zip(firsts, lasts, strict=False)],
        "totals": summed(bins["totals"], together),
    }
    return tag("script", Markup(json.dumps(told).replace("<", "\\u003c")), type="application/json", id="bins")
