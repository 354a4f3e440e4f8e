"""Choose settings for a number of bytes or for a quality, among settings that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal, NamedTuple

from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.evaluation.frontier import draw_figure
from compressae_ref.evaluation.judge import Row
from compressae_ref.files.atomic_write import PathLike, replacing

PACKAGE = "this package"


HALF_FIXED = 8
"""Bytes of a vector ``halfvec`` of pgvector besides its dimensions."""


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
    half: str | None = None
    """its type for dense vectors in float16, if it has one that takes fewer bytes"""

    def half_type(self, d: int) -> str:
        """Return the type of a dense vector of d dimensions in float16."""
        return f"{self.half}({d})"

    def half_bytes(self, d: int) -> int:
        """Return the bytes of a dense vector of d dimensions in float16."""
        return HALF_FIXED + 2 * d

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
        "halfvec",
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


def least_bytes(h: int) -> dict[str, int]:
    """Return the bytes of the smallest code, of one entry, for each way of serving codes of h latents."""
    return {PACKAGE: Layout.of(h, 1, min(BITS)).row_bytes} | {engine.name: engine.bytes_of(1) for engine in ENGINES}


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
    def kind(self) -> str:
        """What is stored: "dense", "residual" or "sparse" codes."""
        return "dense" if self.row.k is None else "residual" if self.row.method == "residual" else "sparse"

    @property
    def recall(self) -> float:
        """The recall of the most neighbours."""
        return self.row.deepest

    @property
    def recall_error(self) -> float:
        """Half the width of its 95 % interval."""
        return self.row.deepest_error

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


def draw_choice(rows: Sequence[Row], marked: Sequence[Row], path: PathLike) -> None:
    """Draw the frontier as `frontier.draw` does, with a ring around each of the chosen rows."""
    figure: Any = draw_figure(rows, "What compression costs, and the choice")
    points = [(row.bytes_per_item, row.deepest) for row in marked]
    if points:
        # the lines leave out some settings, which may be the chosen ones
        figure.axes[0].plot(*zip(*points, strict=True), "o", color="tab:blue", markersize=5)
        ring = {"markersize": 13, "markeredgewidth": 2, "markerfacecolor": "none", "color": "tab:red"}
        figure.axes[0].plot(*zip(*points, strict=True), "o", zorder=5, **ring)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=180)
