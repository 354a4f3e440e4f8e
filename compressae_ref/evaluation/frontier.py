"""The rows of an evaluation for people: a table, and a picture of what is found against what is stored."""

from __future__ import annotations

from collections.abc import Sequence

from compressae_ref.errors import DomainError
from compressae_ref.evaluation.evaluate import Row
from compressae_ref.files.npz import PathLike, replacing

LABELS = {
    "dense": "dense vectors",
    "PCA": "PCA, as many bytes",
    "truncation": "first dimensions",
    "binary, rescored": "binary, rescored by dense queries",
    "sparse": "codes, sparse space",
    "split": "codes, signs split, sparse space",
    "reconstructed": "codes, reconstructed space",
    "asymmetric": "codes, asked with dense queries",
    "expanded": "codes, expanded queries",
    "two-stage": "codes, two stages",
}


def label(row: Row) -> str:
    """What is stored and how it is asked, in words."""
    words = LABELS.get(row.method, row.method)
    return words.replace("codes", "refined codes", 1) if row.refined else words


def on_frontier(row: Row, rows: Sequence[Row]) -> bool:
    """Whether no other row finds more in as few bytes, or as much in fewer."""
    top = max(row.recall)
    here = row.recall[top], -row.bytes_per_item
    others = ((other.recall[top], -other.bytes_per_item) for other in rows)
    return not any(there != here and all(a >= b for a, b in zip(there, here, strict=True)) for there in others)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table.

    With times the rows are those of `evaluate(..., baselines=True)`: ordered by bytes, with a • where no other row
    finds more in as few.
    """
    compared = any(row.queries_per_second is not None for row in rows)
    shown = sorted(rows, key=lambda row: (-row.bytes_per_item, -row.recall[max(row.recall)])) if compared else rows
    tops = list(rows[0].recall)
    columns = {"items stored as": [label(row) + " •" * (compared and on_frontier(row, rows)) for row in shown]}
    columns["k"] = [_number(row.k) for row in shown]
    if any(row.bits is not None for row in rows):
        columns["bits"] = [_number(row.bits) for row in shown]
    columns["query k"] = [_number(row.query_k) for row in shown]
    columns["bytes/item"] = [str(row.bytes_per_item) for row in shown]
    columns["smaller by"] = [f"{row.compression:.1f}×" for row in shown]
    columns |= {f"recall@{top}": [f"{row.recall[top]:.3f}" for row in shown] for top in tops}
    if any(row.ndcg is not None for row in rows):
        columns["nDCG@10"] = [f"{row.ndcg:.3f}" for row in shown]
    if compared:
        columns["queries/s"] = [f"{row.queries_per_second:,.0f}" for row in shown]
    return _markdown(columns)


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _markdown(columns: dict[str, list[str]]) -> str:
    """Columns below their heads: the first one to the left, all others to the right."""
    widths = [max(map(len, [head, *cells])) for head, cells in columns.items()]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [list(columns), rule, *zip(*columns.values(), strict=True)]
    aligned = (
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in aligned)


def require_matplotlib() -> None:
    """DomainError where pictures cannot be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise DomainError(
            "matplotlib is not installed (pip install 'compressae-ref[plot]')", argument="picture"
        ) from error


def draw(rows: Sequence[Row], path: PathLike, title: str = "What compression costs") -> None:
    """A PNG picture of recall against bytes per item, with a line for each way of storing and asking."""
    require_matplotlib()
    from matplotlib.figure import Figure

    top, curves = max(rows[0].recall), _curves(rows)
    figure = Figure(figsize=(8.6 if len(curves) < 8 else 11, 5 if len(curves) < 8 else 7), layout="constrained")
    axes = figure.subplots()
    colours = {way: f"C{place % 10}" for place, way in enumerate(dict.fromkeys(way for way, _ in curves))}
    for (way, bits), points in curves.items():
        ours = "codes" in way
        axes.plot(
            *zip(*sorted(points), strict=True),
            marker="o" if ours and bits is None else "^" if ours else "s",
            linestyle="-" if ours else "--",
            color=colours[way],
            markersize=5,
            label=way if bits is None else f"{way}, {bits} bits",
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:g}")
    axes.set_xlabel(f"bytes per item (dense float32: {rows[0].bytes_per_item})")
    axes.set_ylabel(f"share of the {top} dense neighbours found")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=130)


def _curves(rows: Sequence[Row]) -> dict[tuple[str, int | None], list[tuple[int, float]]]:
    """Points of each way but the dense one, by the bits of packed values; longer queries are a way of their own."""
    top, curves = max(rows[0].recall), dict[tuple[str, int | None], list[tuple[int, float]]]()
    for row in rows:
        if row.method == "dense":
            continue
        longer = row.method == "sparse" and row.query_k != row.k
        way = label(row) + ", query k = 4k" * longer
        curves.setdefault((way, row.bits), []).append((row.bytes_per_item, row.recall[top]))
    return dict(sorted(curves.items(), key=lambda curve: ("codes" not in curve[0][0], curve[0][0], curve[0][1] or 0)))
