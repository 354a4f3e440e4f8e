"""Choose settings for a number of bytes or for a quality, among settings that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, hypot
from typing import Any, Literal, NamedTuple

from compressae_ref.evaluation.frontier import draw_figure, label
from compressae_ref.evaluation.judge import Row
from compressae_ref.files.atomic_write import PathLike, replacing

PACKAGE = "this package"


class Engine(NamedTuple):
    """A kind of vector database, and the bytes that a code of k entries takes there."""

    name: str
    signed: bool
    """whether it accepts negative values"""
    fixed: int
    """bytes per code"""
    per_entry: float
    """bytes per entry"""
    source: str
    """where these bytes come from"""
    address: str
    """form of its address (`stores.contract.parse_address`)"""

    def bytes_of(self, k: int) -> int:
        """Return the bytes of a code with k entries."""
        return ceil(self.fixed + self.per_entry * k)

    def most_entries(self, size: float) -> int:
        """Return the largest k whose codes take at most ``size`` bytes; 0 if there is none."""
        return max(0, int((size - self.fixed) // self.per_entry))


ENGINES = (
    Engine(
        "PostgreSQL with pgvector",
        True,
        16,
        8,
        "the column, without the HNSW index",
        "postgresql://HOST/DATABASE?table=TABLE",
    ),
    Engine(
        "Qdrant",
        True,
        147,
        9.5,
        "about; vectors and index of Qdrant Edge",
        "qdrant://HOST:PORT/COLLECTION",
    ),
    Engine(
        "Milvus, Elasticsearch",
        False,
        0,
        8,
        "an index and a value per entry; these engines do not report their size",
        "milvus:FILE?collection=NAME",
    ),
)
"""The bytes are those of ``examples/pages/stores.md``: the tests compare them with its measurements."""


class Goal(NamedTuple):
    """What the settings must reach."""

    kind: Literal["bytes", "recall", "ndcg"]
    value: float
    """at most so many bytes per item, or at least this recall, or at least this share of the nDCG of dense vectors"""


class Option(NamedTuple):
    """A way to serve the items, and what is expected of it."""

    serving: str
    """`PACKAGE`, the name of an engine, or "" for a way that stores no codes"""
    row: Row
    """its recall is that expected among all items, and its bytes are those in the engine"""
    share: float | None = None
    """nDCG as a share of that of dense vectors, if relevance is known"""
    share_error: float | None = None
    """half the width of its 95 % interval"""
    extrapolated: bool = False
    """whether the expected quality differs from that in the sample"""

    @property
    def recall(self) -> float:
        """The recall of the most neighbours."""
        return self.row.recall[max(self.row.recall)]

    @property
    def recall_error(self) -> float:
        """Half the width of its 95 % interval."""
        return self.row.recall_error.get(max(self.row.recall), 0.0)

    def quality(self, goal: Goal) -> float:
        """Return what the goal is about: the share of nDCG, or the recall."""
        return (self.share or 0.0) if goal.kind == "ndcg" else self.recall

    def meets(self, goal: Goal) -> bool:
        """Tell whether the bytes, or the expected quality, reach the goal."""
        return self.row.bytes_per_item <= goal.value if goal.kind == "bytes" else self.quality(goal) >= goal.value


def best(options: Sequence[Option], goal: Goal) -> Option | None:
    """Return the option with the highest recall within the bytes, or with the fewest bytes that reach the quality.

    None if no option reaches the goal. Of equal options, the one with the fewest bytes, or the highest quality.
    """
    meeting = [option for option in options if option.meets(goal)]
    if goal.kind == "bytes":
        return max(meeting, key=lambda option: (option.recall, -option.row.bytes_per_item), default=None)
    return min(meeting, key=lambda option: (option.row.bytes_per_item, -option.quality(goal)), default=None)


def nearest(options: Sequence[Option], goal: Goal) -> Option | None:
    """Return the option that misses the goal by the least: the fewest bytes, or the highest quality."""
    if goal.kind == "bytes":
        return min(options, key=lambda option: (option.row.bytes_per_item, -option.recall), default=None)
    return max(options, key=lambda option: (option.quality(goal), -option.row.bytes_per_item), default=None)


def better_than_codes(rows: Sequence[Row], size: float) -> str | None:
    """Say in a sentence which other method has higher recall than every code of at most ``size`` bytes, or None.

    Parameters
    ----------
    rows : results of `evaluate.evaluate`, or of other measurements of the same queries
    size : bytes per item

    Notes
    -----
    A method is better if the difference of recall is larger than the 95 % interval of a difference of independent
    means. The queries are the same, so this interval is rather too wide.
    """
    within = [row for row in rows if row.bytes_per_item <= size and row.method != "dense"]
    codes = max((row for row in within if row.k is not None), key=_recall, default=None)
    others = [row for row in within if row.k is None and (codes is None or _is_higher(row, codes))]
    if not others:
        return None
    other = max(others, key=lambda row: (_recall(row), -row.bytes_per_item))
    found = f"At {other.bytes_per_item} bytes use {label(other)}: recall@{max(other.recall)} {_shown(other)}"
    if codes is None:
        return f"{found}. No codes of at most {size:,.0f} bytes were measured."
    return f"{found}; {label(codes)} of k {codes.k} have {_shown(codes)} in {codes.bytes_per_item} bytes."


def _recall(row: Row) -> float:
    return row.recall[max(row.recall)]


def _error(row: Row) -> float:
    return row.recall_error.get(max(row.recall), 0.0)


def _is_higher(row: Row, than: Row) -> bool:
    return _recall(row) - _recall(than) > hypot(_error(row), _error(than))


def _shown(row: Row) -> str:
    return f"{_recall(row):.3f} ± {_error(row):.3f}"


def draw_choice(rows: Sequence[Row], marked: Sequence[Row], path: PathLike) -> None:
    """Draw the frontier as `frontier.draw` does, with a ring around each of the chosen rows."""
    figure: Any = draw_figure(rows, "What compression costs, and the choice")
    points = [(row.bytes_per_item, _recall(row)) for row in marked]
    if points:
        # the lines leave out some settings, which may be the chosen ones
        figure.axes[0].plot(*zip(*points, strict=True), "o", color="tab:blue", markersize=5)
        ring = {"markersize": 13, "markeredgewidth": 2, "markerfacecolor": "none", "color": "tab:red"}
        figure.axes[0].plot(*zip(*points, strict=True), "o", zorder=5, **ring)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=180)
