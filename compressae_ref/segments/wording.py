"""The words and numbers that the page and the terminal show of segments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compressae_ref.page.text import count, number, safe
from compressae_ref.segments.composing import key_name

CLASSES = ("new", "rising", "peak", "steady", "falling", "gone")
"""The classes of trends in the order in which they are sorted."""

Facts = Mapping[str, Any]


def weight(value: float | None) -> str:
    """Return a weight or a count: integers in full, others with three digits."""
    if value is not None and math.isfinite(value) and value == int(value):
        return f"{int(value):,}"
    return number(value, 3)


def score(z: float | None) -> str:
    """Return a z-score with one decimal, or none if it is large, and a true minus."""
    if z is None or not math.isfinite(z):
        return "–"
    return f"{z:,.{0 if abs(z) >= 10 else 1}f}".replace("-", "−")


def times(ratio: float | None) -> str:
    """Return a ratio: "4.2×"."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    return ">1,000×" if ratio > 1000 else f"{number(ratio)}×"


def name_of(segment: Facts, limit: int = 80) -> str:
    """Return the name of a segment, or its latent and sign if it has none."""
    return safe(segment["name"] or "", limit) or key_name(segment["latent"], segment["sign"])


def window(trend: Facts) -> str:
    """Return the bins in which a segment is most over-represented: "1840s–1850s"."""
    start, stop = safe(trend["from"], 40), safe(trend["to"], 40)
    return start if start == stop else f"{start}–{stop}"


def trend_words(trend: Facts | None) -> str:
    """Return a trend in words: "peak 1840s–1850s", "gone, strongest 1790s–1840s", "steady"."""
    if trend is None:
        return "–"
    if trend["class"] == "steady":
        return "steady"
    return f"{safe(trend['class'], 20)}{' ' if trend['class'] == 'peak' else ', strongest '}{window(trend)}"


def rose(segment: Facts) -> str:
    """Return how a share grew in the last window: "lately 4.2×", or "lately new" if it was 0 before."""
    ratio = segment["trend"]["last_ratio"]
    return "lately new" if ratio is None else f"lately {times(ratio)}"


def fell(bins: Facts, segment: Facts) -> str:
    """Return when the last items came, or how the share fell if they came in the last bin."""
    last = last_seen(segment, bins["labels"])
    return f"last item {last}" if last else rose(segment)


def excess(segment: Facts) -> str:
    """Return how much larger the share is in the window of the trend: "12×", or "only then"."""
    ratio = segment["trend"]["ratio"]
    return "only then" if ratio is None else times(ratio)


def last_seen(segment: Facts, labels: Sequence[str]) -> str | None:
    """Return the label of the last bin with items, or None if that is the last bin of all or there is none."""
    seen = [at for at, value in enumerate(segment["series"] or []) if value > 0]
    return safe(labels[seen[-1]], 40) if seen and seen[-1] < len(labels) - 1 else None


def shares(segment: Facts, bins: Facts, together: int = 1) -> list[float]:
    """Return a segment's share of the weight of each bin, 0 where the bin is empty; so many neighbours count as one."""
    series, totals = summed(segment["series"], together), summed(bins["totals"], together)
    return [value / total if total > 0 else 0.0 for value, total in zip(series, totals, strict=True)]


def summed(values: Sequence[float], together: int) -> list[float]:
    """Return the sums of so many neighbours each."""
    return [sum(values[at : at + together]) for at in range(0, len(values), together)]


def neighbours(bins: Facts, most: int) -> int:
    """Return how many bins are drawn as one, so that there are at most so many."""
    return -(-len(bins["labels"]) // most)


def by_size(facts: Facts) -> list[Facts]:
    """Return the segments, largest first."""
    return sorted(facts["segments"], key=lambda segment: (-segment["weight"], segment["id"]))


def ends(bins: Facts) -> tuple[str, str]:
    """Return the labels of the first and the last bin."""
    return safe(bins["labels"][0], 40), safe(bins["labels"][-1], 40)


def risen(facts: Facts) -> list[int]:
    """Return the segments that rose in the last window, then those that rise or are new over all."""
    return [*facts["rising"], *_others(facts, "rising", "new")]


def fallen(facts: Facts) -> list[int]:
    """Return the segments that fell in the last window, then those that fall or are gone over all."""
    return [*facts["falling"], *_others(facts, "falling", "gone")]


def came_and_went(facts: Facts) -> list[int]:
    """Return the other segments with a single peak that is over."""
    last = facts["bins"]["labels"][-1]
    return [i for i in _others(facts, "peak") if facts["segments"][i]["trend"]["to"] != last]


def _others(facts: Facts, *classes: str) -> list[int]:
    """Return the segments of these classes whose share did not change in the last window, the clearest first."""
    changed = {*facts["rising"], *facts["falling"]}
    trends = {one["id"]: one["trend"] for one in facts["segments"] if one["trend"] and one["id"] not in changed}
    return sorted((i for i, trend in trends.items() if trend["class"] in classes), key=lambda i: (-trends[i]["z"], i))


def summary(facts: Facts) -> list[str]:
    """Return the sentences that say how much was divided into how many segments."""
    lost = facts["unassigned"]
    parts = [f"{count(facts['items'], 'item')} in {count(len(facts['segments']), 'segment')}"]
    if bins := facts["bins"]:
        parts.append(f"{count(len(bins['labels']), safe(bins['unit'], 20))} ({' to '.join(ends(bins))})")
    if facts["sites"]:
        parts.append(count(len(facts["sites"]), "site"))
    rest = f"{count(lost, 'item')} in no segment" if lost else "Each item is in a segment"
    return [f"{', '.join(parts)}.", f"{rest}."]
