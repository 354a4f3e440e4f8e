"""The part of the page about one segment: its words, its series, and the items that show what it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from compressae_ref.page.markup import Markup, foreign, join, tag
from compressae_ref.page.text import count, number, percent, safe
from compressae_ref.segments.page.chart import chart
from compressae_ref.segments.wording import Facts, name_of, score, times, trend_words, weight

SPIKES = 3
"""Spikes that are shown of a segment."""


class Limits(NamedTuple):
    """How much of each thing is shown."""

    text: int
    """characters of the text of an item"""
    points: int
    """bars of a chart"""
    name: int
    """characters of the name of a segment, of a word, a site or a group"""
    links: int
    """other segments, or sites, in a list"""


def part(segment: Facts, facts: Facts, limits: Limits) -> Markup:
    """Return the part about a segment. Links lead to its inside, so that browsers open it without a script."""
    trend = None if facts["bins"] is None else tag("span", trend_words(segment["trend"]))
    name = tag("h3", foreign(name_of(segment), limits.name))
    head = tag("summary", name, trend, tag("span", count(segment["items"], "item")))
    body = tag(
        "div",
        tag("p", *_about(segment, facts, limits.name), class_="about"),
        _hidden(segment["hidden"]),
        _words(segment["terms"], limits.name),
        segment["series"] and facts["bins"] and chart(segment, facts["bins"], limits.points),
        *_spikes(segment["spikes"], limits.text),
        _evidence(segment, limits.text),
        _relations(segment, facts, limits),
        id=f"s{segment['id']}",
    )
    return tag("details", head, body, class_="part")


def _about(segment: Facts, facts: Facts, length: int) -> Iterable[object]:
    side = "positive" if segment["sign"] > 0 else "negative"
    heavy = f", weight {weight(segment['weight'])}" if facts["weighted"] else ""
    yield f"{count(segment['items'], 'item')}{heavy}, {percent(segment['share'])} of all. "
    yield f"Latent {segment['latent']}, {side} side. "
    if segment["named_by"]:
        yield f"Named by {safe(segment['named_by'], 20)}"
        yield f": {fidelity_words(segment['fidelity'])}. " if segment["fidelity"] else ". "
    group = next((group for group in facts["groups"] if group["id"] == segment["group"]), None)
    if group:
        yield from ("Group: ", foreign(group["name"], length), ".")


def fidelity_words(fidelity: Facts) -> str:
    """Return the fidelity of a name in words."""
    return f"F1 {_unit(fidelity['f1'])}, recall {_unit(fidelity['recall'])}, precision {_unit(fidelity['precision'])}"


def _unit(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _hidden(hidden: Facts | None) -> Markup | None:
    if hidden is None:
        return None
    return tag(
        "p",
        f"Strong but overlooked: the weight of an item is {times(hidden['ratio'])} its expected value "
        f"(z {score(hidden['z'])}), and there are few items.",
        class_="note",
    )


def _words(terms: Sequence[Facts], length: int) -> Markup | None:
    if not terms:
        return None
    words = (tag("li", foreign(term["term"], length), tag("i", f" {number(term['score'])}")) for term in terms)
    return join(tag("h4", "Words and their scores"), tag("ul", *words, class_="words"))


def _spikes(spikes: Sequence[Facts], length: int) -> Iterable[Markup]:
    if not spikes:
        return
    yield tag("h4", "Spikes")
    for spike in spikes[:SPIKES]:
        yield tag("p", tag("b", safe(spike["label"], 40)), f": {_spike_words(spike)}")
        others = (item for item in spike["items"] if item["row"] != spike["largest"]["row"])
        yield _items([spike["largest"], *others], length)
    if len(spikes) > SPIKES:
        yield tag("p", f"The {SPIKES} first of {count(len(spikes), 'spike')} are shown.", class_="quiet")


def _spike_words(spike: Facts) -> str:
    largest = spike["largest"]
    kind = "One item" if spike["one_item"] else "A theme"
    without = "" if largest["z_without"] is None else f"; without it z is {score(largest['z_without'])}"
    return (
        f"{weight(spike['weight'])} against {number(spike['expected'], 3)} expected (z {score(spike['z'])}). "
        f"{kind}: the largest item (row {largest['row']:,}) holds {percent(largest['share'])}{without}."
    )


EVIDENCE = {
    "strongest": "Strongest items",
    "median": "Items in the middle",
    "borderline": "Borderline items",
    "opposite": "Opposite side of the latent",
}


def _evidence(segment: Facts, length: int) -> Markup | None:
    columns = [
        tag("div", tag("h4", f"{title}{_strengths(segment[which])}"), _items(segment[which], length))
        for which, title in EVIDENCE.items()
        if segment[which]
    ]
    return tag("div", *columns, class_="columns") if columns else None


def _strengths(items: Sequence[Facts]) -> str:
    """Return the range of the strengths, in words."""
    ends = {f"{end(item['strength'] for item in items):.2f}" for end in (min, max)}
    return f", strength {'–'.join(sorted(ends))}"


def _items(items: Sequence[Facts], length: int) -> Markup:
    """Return items as a list whose numbers are their rows."""
    texts = (
        (item["row"], tag("i", "no text") if item["text"] is None else foreign(item["text"], length)) for item in items
    )
    return tag("ol", *(tag("li", text, value=row) for row, text in texts), class_="items")


def _relations(segment: Facts, facts: Facts, limits: Limits) -> Markup | None:
    segments = facts["segments"]
    near, together, sites = (segment[kind][: limits.links] for kind in ("neighbours", "with", "sites"))
    lists = {
        "Neighbours (cosine)": [(link(segments[one["id"]], limits.name), f"{one['cosine']:.2f}") for one in near],
        "Occurs with": [(link(segments[one["id"]], limits.name), _compared(one)) for one in together],
        "Sites": [(foreign(site["site"], limits.name), _site_words(site, facts["bins"])) for site in sites],
    }
    columns = [
        tag("div", tag("h4", title), tag("ul", *(tag("li", what, " ", tag("i", words)) for what, words in listed)))
        for title, listed in lists.items()
        if listed
    ]
    return tag("div", *columns, class_="columns") if columns else None


def _compared(other: Facts) -> str:
    return f"{times(other['ratio'])}, z {score(other['z'])}"


def _site_words(site: Facts, bins: Facts | None) -> str:
    series = site["series"]
    if bins is None:
        return _compared(site)
    return f"{_compared(site)}, most in {safe(bins['labels'][series.index(max(series))], 40)}"


def link(segment: Facts, limit: int) -> Markup:
    """Return a link to the part of a segment."""
    return tag("a", foreign(name_of(segment, limit), limit), href=f"#s{segment['id']}")
