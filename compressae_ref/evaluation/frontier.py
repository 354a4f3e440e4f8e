"""The results of an evaluation as a Markdown table and as a picture of recall against bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from compressae_ref.errors import DomainError
from compressae_ref.evaluation.judge import Row
from compressae_ref.files.atomic_write import PathLike, replacing
from compressae_ref.layout import markdown
from compressae_ref.optional import install_command

LABELS = {
    "dense": "dense vectors",
    "truncation": "first dimensions",
    "binary, rescored": "binary, re-ranked by dense queries",
    "binary, float32": "binary, re-ranked by stored float32 vectors",
    "int8, float32": "int8, re-ranked by stored float32 vectors",
    "transform coding": "PCA, bits by variance (as SAQ)",
    "PCA, rotated": "PCA, random rotation (as ASH)",
    "RQ": "residual quantiser (RQ)",
    "LSQ": "local search quantiser (LSQ)",
    "sparse": "codes, sparse space",
    "split": "codes, sparse space, signs split",
    "reconstructed": "codes, reconstructed space",
    "asymmetric": "codes, dense queries",
    "expanded": "codes, expanded queries",
    "two-stage": "codes, two stages",
    "residual": "residual codes, dense queries",
}


def label(row: Row) -> str:
    """Say in words what is stored and how it is searched."""
    words = LABELS.get(row.method, row.method)
    kind = "refined codes" if row.refined else "fitted codes" if row.fitted else "codes"
    return words.replace("codes", kind, 1)


def on_frontier(row: Row, rows: Sequence[Row]) -> bool:
    """Tell whether no other row has higher recall at as few bytes, or as high a recall at fewer."""
    top = max(row.recall)
    here = row.recall[top], -row.bytes_per_item
    others = ((other.recall[top], -other.bytes_per_item) for other in rows)
    return not any(there != here and all(a >= b for a, b in zip(there, here, strict=True)) for there in others)


def table(rows: Sequence[Row], best: Row | None = None) -> str:
    """The rows as a Markdown table.

    With times the rows are those of `evaluate(..., baselines=True)`: they are ordered by bytes, and a • marks each row
    that no other row beats. So they are with ``best``, a row that is marked as the best choice.
    """
    timed = any(row.queries_per_second is not None for row in rows)
    compared = timed or best is not None
    shown = sorted(rows, key=lambda row: (-row.bytes_per_item, -row.recall[max(row.recall)])) if compared else rows
    tops = list(rows[0].recall)
    columns = {"items stored as": [label(row) + _mark(row, rows, best) * compared for row in shown]}
    columns["k"] = [_number(row.k) for row in shown]
    if any(row.bits is not None for row in rows):
        columns["bits"] = [_number(row.bits) for row in shown]
    columns["query k"] = [_number(row.query_k) for row in shown]
    columns["bytes/item"] = [str(row.bytes_per_item) for row in shown]
    columns["smaller by"] = [f"{row.compression:.1f}×" for row in shown]
    columns |= {f"recall@{top}": [f"{row.recall[top]:.3f}" for row in shown] for top in tops}
    if any(row.ndcg is not None for row in rows):
        columns["nDCG@10"] = [f"{row.ndcg:.3f}" for row in shown]
    if timed:
        columns["queries/s"] = [f"{row.queries_per_second:,.0f}" for row in shown]
    return markdown(columns)


def _mark(row: Row, rows: Sequence[Row], best: Row | None) -> str:
    return " •" * on_frontier(row, rows) + " (best)" * (row is best)


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def require_matplotlib() -> None:
    """Raise DomainError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise DomainError(
            "expected the package matplotlib, which is not installed", argument="picture", hint=install_command("plot")
        ) from error


class Series(NamedTuple):
    """One line of the picture."""

    label: str
    ours: bool
    points: list[tuple[int, float]]
    """bytes per item and recall, by bytes"""


MOST_SERIES = 7
"""More lines than this cannot be told apart at a glance."""

SERIES: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("refined, packed codes; dense queries", lambda row: row.method == "asymmetric" and row.refined and _packed(row)),
    ("residual codes; dense queries", lambda row: row.method == "residual"),
    (
        "codes; dense queries",
        lambda row: row.method == "asymmetric" and not (row.refined or row.fitted or _packed(row)),
    ),
    (
        "codes; sparse queries",
        lambda row: row.method == "sparse" and row.query_k != row.k and not (row.fitted or _packed(row)),
    ),
    ("int8", lambda row: row.method == "int8"),
    ("PCA, bits by variance", lambda row: row.method == "transform coding"),
    ("OPQ", lambda row: row.method == "OPQ"),
    ("PCA", lambda row: row.method == "PCA"),
    ("binary, re-ranked", lambda row: row.method == "binary, rescored"),
    ("codes; reconstructed space", lambda row: row.method == "reconstructed" and not row.refined),
    ("PQ", lambda row: row.method == "PQ"),
    ("float16", lambda row: row.method == "float16"),
)
"""Lines by importance: the first `MOST_SERIES` that have points are drawn."""


def _packed(row: Row) -> bool:
    return row.bits is not None


def series(rows: Sequence[Row]) -> list[Series]:
    """Select the lines of the picture, at most `MOST_SERIES`; of several packings the one nearest to 5 bits a value."""
    top = max(rows[0].recall)
    bits = min({row.bits for row in rows if row.bits is not None}, key=lambda bits: abs(bits - 5), default=None)
    found = []
    for name, belongs in SERIES:
        shown = [row for row in rows if row.bits in (None, bits) and belongs(row)]
        points = {(row.bytes_per_item, row.recall[top]) for row in shown}
        if points:
            found.append(Series(name, "codes" in name, sorted(points)))
    return found[:MOST_SERIES]


def draw(rows: Sequence[Row], path: PathLike, title: str = "What compression costs") -> None:
    """Draw recall against bytes per item as a PNG: at most seven labelled lines, those of codes in colour."""
    require_matplotlib()
    figure = draw_figure(rows, title)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=180)


def draw_figure(rows: Sequence[Row], title: str) -> Any:
    """Return the picture as a matplotlib figure."""
    from matplotlib.figure import Figure

    top, lines = max(rows[0].recall), series(rows)
    figure = Figure(figsize=(8.3, 4.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for line in lines:
        colour = "tab:blue" if line.ours else "0.55"
        axes.plot(*zip(*line.points, strict=True), "o-" if line.ours else "s--", color=colour, markersize=5)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:g}")
    axes.set_ylim(0, 1.05)
    axes.set_xlim(right=4.5 * max(line.points[-1][0] for line in lines))
    axes.set_xlabel(f"bytes per item, logarithmic (dense float32 vectors: {rows[0].bytes_per_item:,})")
    axes.set_ylabel(f"recall of the {top} dense neighbours")
    axes.set_title(title)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    _label_lines(axes, lines)
    return figure


def _label_lines(axes: Any, lines: Sequence[Series]) -> None:
    """Write each label to the right of the last point of its line; move it down where another label stands."""
    axes.figure.draw_without_rendering()  # fixes the layout, which the positions below depend on
    height, taken = 15 * axes.figure.dpi / 72, list[tuple[float, float, float]]()
    for line in sorted(lines, key=lambda line: -line.points[-1][1]):
        label = axes.annotate(
            line.label,
            line.points[-1],
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color="tab:blue" if line.ours else "0.35",
            weight="bold" if line.ours else "normal",
        )
        box = label.get_window_extent()
        below = [
            low - height for left, right, low in taken if left < box.x1 and box.x0 < right and low - box.y0 < height
        ]
        y = min([box.y0, *below])
        label.set_position((8, (y - box.y0) * 72 / axes.figure.dpi))
        taken.append((box.x0, box.x1, y))
