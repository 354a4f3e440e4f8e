"""All facts about segments as one HTML file that needs nothing else: no network, no fonts, no images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import resources

from compressae_ref.files.atomic_write import PathLike
from compressae_ref.page.document import document, fitting, write_document
from compressae_ref.page.markup import Markup, foreign, tag
from compressae_ref.page.text import count, safe
from compressae_ref.segments.page.chart import again, axis_of, drawing
from compressae_ref.segments.page.overview import overview
from compressae_ref.segments.page.part import Limits, link, part
from compressae_ref.segments.wording import (
    Facts,
    by_size,
    came_and_went,
    ends,
    excess,
    fallen,
    fell,
    risen,
    rose,
    summary,
    times,
    trend_words,
    window,
)

BYTES = 2_000_000
"""Size that a page of up to `SEGMENTS` segments does not exceed; more segments have more room."""

SEGMENTS = 500

LIMITS = [
    Limits(160, 240, 80, 5),
    Limits(110, 80, 60, 5),
    Limits(80, 60, 40, 3),
    Limits(60, 60, 40, 3),
    Limits(45, 60, 40, 3),
    Limits(30, 40, 30, 2),
    Limits(16, 30, 16, 1),
    Limits(5, 16, 5, 0),
]
"""How much is shown: the first that makes the page small enough, or the last."""

LISTED = 10
"""Segments in each of the lists at the top."""


def page(facts: Facts) -> str:
    """Return the facts of segments as an HTML document.

    Parameters
    ----------
    facts : what `Segments.facts` returns. Its texts may be hostile: they are escaped, cut, and lose their controls.

    Returns
    -------
    The document. It can be encoded as UTF-8, refers to nothing outside of itself, and is the same for the same facts.
    With up to 500 segments it has at most 2,000,000 bytes: if texts of 160 characters are too many, they are cut to
    110, 80 or fewer, and charts have fewer bars.
    """
    room = BYTES * max(1, len(facts["segments"]) / SEGMENTS)
    return fitting(lambda limits: _document(facts, limits), LIMITS, room)


def write_page(path: PathLike, facts: Facts) -> None:
    """Write the page to a file: all of it, or nothing."""
    write_document(path, page(facts))


def _document(facts: Facts, limits: Limits) -> str:
    title = safe(facts["title"], 120) or "Segments"
    ordered = by_size(facts)
    main = tag(
        "main",
        _lists(facts, limits),
        overview(facts, ordered, limits),
        tag("section", tag("h2", "Each segment"), *(part(segment, facts, limits) for segment in ordered), id="parts"),
    )
    axis = facts["bins"] and axis_of(facts["bins"], limits.points)
    charts = resources.files(__package__).joinpath("charts.js").read_text(encoding="utf-8")
    return document(title, _header(facts, title, limits), main, axis, script=charts)


# -- the top -----------------------------------------------------------------------------------------------------------


def _header(facts: Facts, title: str, limits: Limits) -> Markup:
    made = f"{facts['latents']:,} latents, k {facts['k']}, assignment “{safe(facts['assign'], 20)}”"
    model = f", model {safe(facts['model'], 12).rstrip('…')}" if facts["model"] else ""
    return tag(
        "header",
        tag("h1", foreign(title, 120)),
        tag("p", " ".join(summary(facts))),
        tag(
            "details",
            tag("summary", "How to read this page"),
            tag("ul", *(tag("li", line) for line in _legend(facts))),
            tag("p", f"{made}{model}. Texts are cut to {limits.text} characters.", class_="quiet"),
        ),
    )


def _legend(facts: Facts) -> Iterable[str]:
    yield "A segment is a group of items whose codes share a strong latent of the model, with the same sign."
    yield "A name is made of words that are frequent in the segment and rare elsewhere."
    yield "F1 says how well the name alone tells the items of the segment from as many others: 1 is best."
    if facts["bins"]:
        yield f"A chart shows the share of the segment in each {safe(facts['bins']['unit'], 20)}. The peak is coloured."
        yield "The shaded bins are those in which the segment is strongest: 12× compares them with the others."
        yield "A trend is named only if it is significant: among all that are named, few are due to chance."
        yield "z is a difference divided by its standard deviation. Beyond 3 or −3, chance is a poor explanation."
    if facts["weighted"]:
        yield "Weights came with the items, such as views. Shares are shares of the weight."


def _lists(facts: Facts, limits: Limits) -> Markup:
    lists = []
    if facts["bins"]:
        lists.append(("What rose most", risen(facts), "No segment rose.", _rise))
        lists.append(("What fell or is gone", fallen(facts), "No segment fell.", _fall))
        lists.append(("What came and went", came_and_went(facts), "No segment did.", _come))
    if facts["weighted"] or facts["hidden"]:
        lists.append(("Strong but overlooked", facts["hidden"], "No segment is.", _overlooked))
    note = "The items have no times, so there are no trends."
    if facts["bins"]:
        unit = safe(facts["bins"]["unit"], 20)
        note = (
            f"Charts show the share of each {unit} from {' to '.join(ends(facts['bins']))}. "
            "12× compares the share in the shaded bins with the others; “lately 0.3×”, the last bins with all before."
        )
    columns = (
        tag("div", tag("h2", title), *_list(ids, words, facts, limits) if ids else [tag("p", none, class_="quiet")])
        for title, ids, none, words in lists
    )
    return tag("section", tag("div", *columns, class_="lists"), tag("p", note, class_="quiet"), id="top")


def _list(ids: Sequence[int], words: Callable[..., str], facts: Facts, limits: Limits) -> Iterable[Markup]:
    bins = facts["bins"]
    entries = []
    for segment in (facts["segments"][i] for i in ids[:LISTED]):
        spark = drawing(bins, limits.points, again(segment)) if bins else None
        entries.append(tag("li", spark, tag("div", link(segment, limits.name), " ", tag("i", words(segment, bins)))))
    yield tag("ol", *entries)
    if len(ids) > LISTED:
        yield tag("p", f"{LISTED} of {len(ids):,}; the overview has all.", class_="quiet")


def _rise(segment: Facts, bins: Facts) -> str:
    return f"{_when(segment['trend'])}, {rose(segment)}"


def _fall(segment: Facts, bins: Facts) -> str:
    return f"{_when(segment['trend'])}, {fell(bins, segment)}"


def _come(segment: Facts, bins: Facts) -> str:
    return f"{_when(segment['trend'])}, {excess(segment)}"


def _when(trend: Facts) -> str:
    """Return the window of a trend; the title of the list says whether it rose or fell."""
    return f"strongest {window(trend)}" if trend["class"] in ("rising", "falling") else trend_words(trend)


def _overlooked(segment: Facts, bins: Facts | None) -> str:
    return f"{count(segment['items'], 'item')}, each {times(segment['hidden']['ratio'])} its expected weight"
