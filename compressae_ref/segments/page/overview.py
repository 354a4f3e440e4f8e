"""The table of all segments, and the controls that sort and filter it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compressae_ref.page.markup import Markup, tag
from compressae_ref.page.text import percent, safe
from compressae_ref.segments.page.chart import drawing, histogram, peak_of
from compressae_ref.segments.page.part import Limits, fidelity_words, link
from compressae_ref.segments.wording import CLASSES, Facts, ends, trend_words, weight


def overview(facts: Facts, ordered: Sequence[Facts], limits: Limits) -> Markup:
    """Return the section with the table of all segments, in the order in which they are given: by size."""
    heads = tag("tr", *_heads(facts))
    rows = (tag("tr", *_cells(segment, facts, limits), **_keys(segment)) for segment in ordered)
    return tag(
        "section",
        tag("h2", "Overview"),
        tag("noscript", tag("p", "Sorting, filters and large charts need JavaScript.", class_="quiet")),
        _controls(facts),
        tag("table", tag("thead", heads), tag("tbody", *rows), class_="overview sortable"),
        id="overview",
    )


def _heads(facts: Facts) -> Iterable[Markup]:
    yield _head("Segment", "name")
    if bins := facts["bins"]:
        yield _head("Trend", "trend")
        yield _head("Share over time", "time", tag("span", *(tag("span", end) for end in ends(bins)), class_="ends"))
    yield _head("Items", "n", sort=None if facts["weighted"] else "descending")
    if facts["weighted"]:
        yield _head("Weight", "n", sort="descending")
    yield _head("Share", "n")
    yield _head("F1", "n")


def _head(title: str, kind: str, below: Markup | None = None, sort: str | None = None) -> Markup:
    return tag("th", tag("span", title, class_="title"), below, scope="col", class_=kind, aria_sort=sort)


def _cells(segment: Facts, facts: Facts, limits: Limits) -> Iterable[Markup]:
    yield tag("th", link(segment, limits.name), scope="row", class_="name")
    if bins := facts["bins"]:
        labels = bins["labels"]
        yield tag("td", trend_words(segment["trend"]), class_="trend", data_s=_order(segment["trend"], labels))
        at, peak = peak_of(segment, bins)
        first, last = ends(bins)
        spark = drawing(bins, limits.points, histogram(segment, bins, limits.points), label=peak)
        yield tag("td", tag("i", first), spark, tag("i", last), class_="time", data_s=at)
    yield tag("td", f"{segment['items']:,}", class_="items")
    if facts["weighted"]:
        yield tag("td", weight(segment["weight"]), class_="weight")
    yield tag("td", percent(segment["share"]), class_="share")
    fidelity = segment["fidelity"]
    shown = "–" if fidelity is None or fidelity["f1"] is None else f"{fidelity['f1']:.2f}"
    yield tag("td", shown, class_="f1", title=fidelity and fidelity_words(fidelity))


def _order(trend: Facts | None, labels: Sequence[str]) -> float:
    """Return what the column of trends is sorted by: the class, and within it the first bin of the window."""
    if trend is None or trend["class"] not in CLASSES:
        return len(CLASSES)
    start = labels.index(trend["from"]) if trend["from"] in labels else 0
    return round(CLASSES.index(trend["class"]) + start / len(labels), 4)


def _keys(segment: Facts) -> dict[str, object]:
    return {"data_c": segment["trend"] and segment["trend"]["class"], "data_g": segment["group"]}


def _controls(facts: Facts) -> Markup:
    """Return the controls; they are hidden until the script is there that obeys them."""
    present = {segment["trend"]["class"] for segment in facts["segments"] if segment["trend"]}
    classes = [(name, name) for name in CLASSES if name in present]
    groups = [(group["id"], safe(group["name"], 60)) for group in facts["groups"]]
    return tag(
        "form",
        tag("label", "Search ", tag("input", type="search", name="text", placeholder="name, word or text")),
        _choice("Trend", "c", classes),
        _choice("Group", "g", groups),
        tag("button", "Reset", type="reset"),
        tag("p", role="status", aria_live="polite", class_="quiet"),
        hidden=True,
        data_parts="parts",
        data_what="segments",
    )


def _choice(label: str, name: str, options: Sequence[tuple[object, object]]) -> Markup | None:
    if len(options) < 2:
        return None
    listed = (tag("option", text, value=value) for value, text in options)
    return tag("label", f"{label} ", tag("select", tag("option", "all", value=""), *listed, name=name))
