"""The results of one way to store items, and the judge who measures them: recall of the dense neighbours, and nDCG."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.files.relevance import Relevance
from compressae_ref.metrics import half_width, ndcg_of_each, recall_of_each

NDCG_TOP = 10

Find = Callable[[], NDArray[np.int64]]
"""One search for all queries: () → ids (n_q, most neighbours)."""


@dataclass(frozen=True)
class Row:
    """The results of one way to store the items and to search them."""

    method: str
    """"dense", a baseline, a space of the codes, "split" (sparse space, signs split), "two-stage" or "residual\""""
    k: int | None
    """stored entries, for codes"""
    query_k: int | None
    """entries of a query, if queries are codes or expanded"""
    bytes_per_item: int
    compression: float
    """bytes of a dense float32 item divided by bytes_per_item"""
    recall: dict[int, float]
    """for each number of neighbours: the share of the dense neighbours that the search returns"""
    refined: bool = False
    """whether the codes are refined"""
    bits: int | None = None
    """bits per value, for packed codes"""
    ndcg: float | None = None
    """nDCG@10, if relevance pairs are given"""
    queries_per_second: float | None = None
    """of one call with all queries, if it is measured"""
    fitted: bool = False
    """whether the codes are fitted to the items as anchors"""
    recall_error: dict[int, float] = field(default_factory=dict)
    """half the width of the 95 % interval of each recall over the queries (`metrics.half_width`)"""
    ndcg_error: float | None = None
    """half the width of that of nDCG"""

    @property
    def deepest(self) -> float:
        """The recall of the most neighbours."""
        return self.recall[max(self.recall)]

    @property
    def deepest_error(self) -> float:
        """Half the width of the 95 % interval of `deepest`; 0 if it is not known."""
        return self.recall_error.get(max(self.recall), 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain numbers and strings."""
        by_top = {
            name: {str(top): value for top, value in getattr(self, name).items()} for name in ("recall", "recall_error")
        }
        return asdict(self) | by_top


class Way(NamedTuple):
    """How the codes of a row are stored."""

    k: int
    bits: int | None = None
    refined: bool = False
    fitted: bool = False


class Judge(NamedTuple):
    """The queries, and what a search should return."""

    queries: Floats
    tops: Sequence[int]
    truth: NDArray[np.int64]
    """(n_q, most) dense neighbours"""
    dense_bytes: int
    relevance: Relevance | None
    timed: bool

    @property
    def most(self) -> int:
        """The number of neighbours that each search returns."""
        least = 0 if self.relevance is None else NDCG_TOP
        return max(*self.tops, least)

    def row(
        self, method: str, stored_bytes: int, find: Find, way: Way | None = None, query_k: int | None = None
    ) -> Row:
        """Return a row of the table: one search gives its quality, a second one its time."""
        found = find()
        recalls = {top: recall_of_each(found[:, :top], self.truth[:, :top]) for top in self.tops}
        recall = {top: float(np.mean(each)) for top, each in recalls.items()}
        error = {top: half_width(each) for top, each in recalls.items()}
        ndcg, ndcg_error = None, None
        if self.relevance is not None:
            gains = ndcg_of_each(found[:, :NDCG_TOP], self.relevance)
            ndcg, ndcg_error = float(np.mean(gains)), half_width(gains)
        speed = len(self.queries) / _seconds(find) if self.timed else None
        k, bits, refined, fitted = way or (None, None, False, False)
        smaller = self.dense_bytes / stored_bytes
        return Row(
            method, k, query_k, stored_bytes, smaller, recall, refined, bits, ndcg, speed, fitted, error, ndcg_error
        )


def _seconds(find: Find) -> float:
    start = time.perf_counter()
    find()
    return time.perf_counter() - start
