"""What compression costs, in the report about a model: the plot of recall against bytes, and the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compressae_ref.page.markup import Markup, tag
from compressae_ref.page.plot import Axis, Line, plot

Facts = Mapping[str, Any]


def quality(facts: Facts, style: list[str]) -> Markup:
    """Return the section; the rules that place the labels of its plot are added to the style."""
    rows = facts["quality"]
    top = top_of(rows[0])
    ordered = sorted(rows, key=lambda row: (-row["bytes_per_item"], -row["recall"][top]))
    figure, rules = plot("frontier", _series(facts), _bytes_axis(rows), share_axis(f"recall@{top}"))
    style.append(rules)
    note = "• No other row has as high a recall in as few bytes. A heading sorts the table."
    return tag(
        "section",
        tag("h2", "What compression costs"),
        figure,
        _table(ordered, rows),
        tag("p", note, class_="quiet"),
        id="quality",
    )


def _series(facts: Facts) -> list[Line]:
    return [Line(line["label"], [tuple(point) for point in line["points"]], line["ours"]) for line in facts["series"]]


def _bytes_axis(rows: Sequence[Facts]) -> Axis:
    low, high = (f(row["bytes_per_item"] for row in rows) for f in (min, max))
    ticks = [2**power for power in range(3, 16) if low <= 2**power <= high]
    return Axis("bytes an item, logarithmic", low, high, ticks[:: 1 + len(ticks) // 6], "{:,}".format, True)


def share_axis(title: str) -> Axis:
    """Return an axis of a number from 0 to 1."""
    return Axis(title, 0, 1, (0, 0.25, 0.5, 0.75, 1), "{:g}".format)


def _table(ordered: Sequence[Facts], rows: Sequence[Facts]) -> Markup:
    tops = sorted(rows[0]["recall"], key=int)
    judged = any(row["ndcg"] is not None for row in rows)
    heads = [("items stored as", "name", ""), ("k", "n", "wide"), ("bits", "n", "wide"), ("query k", "n", "wide")]
    heads += [("bytes", "n", ""), ("smaller by", "n", "wide")]
    heads += [(f"recall@{top}", "n", "" if top == tops[-1] else "wide") for top in tops]
    heads += [("nDCG@10", "n", "")] if judged else []
    cells = (
        tag("th", tag("span", title, class_="title"), scope="col", class_=f"{kind} {wide}".strip())
        for title, kind, wide in heads
    )
    body = (tag("tr", *_cells(row, tops, judged), class_="best" if row["frontier"] else None) for row in ordered)
    return tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *body), class_="sortable quality")


def _cells(row: Facts, tops: Sequence[str], judged: bool) -> Iterable[Markup]:
    settings = [f"{name.replace('_', ' ')} {row[name]}" for name in ("k", "query_k", "bits") if row[name] is not None]
    details = tag("i", f" {', '.join(settings)}", class_="narrow") if settings else None
    yield tag("th", f"{row['label']}{' •' if row['frontier'] else ''}", details, scope="row")
    for name in ("k", "bits", "query_k"):
        yield tag("td", "" if row[name] is None else f"{row[name]:,}", class_="n wide")
    yield tag("td", f"{row['bytes_per_item']:,}", class_="n")
    yield tag("td", f"{row['compression']:.1f}×", class_="n wide")
    for top in tops:
        error = row["recall_error"].get(top)
        wide = "n" if top == tops[-1] else "n wide"
        yield tag("td", f"{row['recall'][top]:.3f}", _error(error), class_=wide)
    if judged:
        yield tag("td", "–" if row["ndcg"] is None else f"{row['ndcg']:.3f}", _error(row["ndcg_error"]), class_="n")


def _error(error: float | None) -> Markup | None:
    return None if not error else tag("i", f" ±{error:.3f}")


def best_of(rows: Sequence[Facts]) -> Facts | None:
    """Return the way to store codes that the summary names, or None if there are no codes.

    It has a recall within 0.02 of the highest at a tenth of the dense bytes or less, and the fewest bytes.
    """
    of_codes = [row for row in rows if row["k"] is not None]
    small = [row for row in of_codes if 10 * row["bytes_per_item"] <= rows[0]["bytes_per_item"]] or of_codes
    if not small:
        return None
    top = top_of(rows[0])
    most = max(row["recall"][top] for row in small)
    near = (row for row in small if row["recall"][top] >= most - 0.02)
    return min(near, key=lambda row: (row["bytes_per_item"], -row["recall"][top]))


def top_of(row: Facts) -> str:
    """Return the largest number of neighbours for which recall was measured."""
    return str(max(map(int, row["recall"])))
