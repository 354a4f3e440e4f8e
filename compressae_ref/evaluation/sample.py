"""A sample of items and queries, and what it says about all items.

The recall of the nearest neighbours changes little with the number of items, but it does change. It may fall and rise
again, because it depends on the depth: on the share of the items that are neighbours. So each search is judged among
all items of the sample and among a quarter of them. This change is measured at fewer neighbours, so that its depths are
those of the step from the sample to all items. If it is larger than its interval, it is added to the recall, in
proportion to the logarithm of the number of items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.evaluation.judge import NDCG_TOP
from compressae_ref.files.relevance import Relevance
from compressae_ref.metrics import half_width, ndcg_of_each, recall_of_each
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.row_source import STREAM_ROWS, RowSource, read_blocks, read_rows

PARTS = 4
"""The trend of the recall is that from one of so many parts of the sample to the whole sample."""

LEAST_PART = 4
"""A part has at least this many times the neighbours that are asked for; otherwise there is no trend."""

Find = Callable[[int, NDArray[np.int64] | None], NDArray[np.int64]]
"""top, numbers of the items that may be returned or None for all → ids (n_q, top)."""


class Estimate(NamedTuple):
    """A mean over the queries that is expected among all items."""

    mean: float
    error: float
    """half the width of its 95 % interval; it contains the uncertainty of the trend"""
    extrapolated: bool = False
    """whether the mean differs from that of the sample"""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of n items, and queries.

    Parameters
    ----------
    items : (m, d) dense rows, m ≤ n
    queries : (n_q, d)
    n : the number of all items
    top : neighbours for recall
    part : (m,) which items are in the smaller sample
    relevance : of these queries and items
    """

    items: Floats
    queries: Floats
    n: int
    top: int
    part: Bools
    relevance: Relevance | None = None

    @property
    def most(self) -> int:
        """The number of neighbours that a search has to return."""
        return max(self.top, NDCG_TOP if self.relevance is not None else 0)

    @property
    def shallow(self) -> int:
        """The neighbours for the trend: from the part to the sample, their depths are those from the sample to all.

        The geometric mean of both depths is the same: t / √(part · m) = top / √(m · n).
        """
        return max(1, round(self.top * sqrt(int(self.part.sum()) / self.n)))

    @cached_property
    def factor(self) -> float:
        """The change from the sample to all items, relative to that from the part to the sample; 0 without a trend."""
        m, part = len(self.items), int(self.part.sum())
        if self.n <= m or part < LEAST_PART * self.shallow or part == m:
            return 0.0
        return log(self.n / m) / log(m / part)

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.part)

    def dense(self, top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Search among the dense items (`Find`)."""
        if allowed is None:
            return nearest_dense(self.queries, self.items, top).ids
        ids: NDArray[np.int64] = allowed[nearest_dense(self.queries, self.items[allowed], top).ids]
        return ids

    @cached_property
    def truth(self) -> list[NDArray[np.int64]]:
        """The dense neighbours among the sample and, if there is a trend, among its part."""
        return self.found(self.dense)

    def found(self, find: Find) -> list[NDArray[np.int64]]:
        """Return the results of a search among the sample and, if there is a trend, among its part."""
        few = max(self.shallow, NDCG_TOP if self.relevance is not None else 0)
        return [find(self.most, None), *([find(few, self._numbers)] if self.factor else [])]

    def recall(self, found: list[NDArray[np.int64]]) -> Estimate:
        """Return the recall expected among all items."""
        change = [self._recalls(*pair, self.shallow) for pair in zip(found, self.truth, strict=True)]
        return self._estimate(self._recalls(found[0], self.truth[0], self.top), change)

    @staticmethod
    def _recalls(ids: NDArray[np.int64], true: NDArray[np.int64], top: int) -> NDArray[np.float64]:
        return recall_of_each(ids[:, :top], true[:, :top])

    def gains(self, found: list[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
        """Return the nDCG of each judged query."""
        return [ndcg_of_each(ids[:, :NDCG_TOP], self.relevance or {}) for ids in found]

    def share(self, found: list[NDArray[np.int64]]) -> Estimate:
        """Return the nDCG as a share of that of dense vectors, expected among all items."""
        shares = [_shares(*pair) for pair in zip(self.gains(found), self.gains(self.truth), strict=True)]
        return self._estimate(shares[0], shares)

    def _estimate(self, values: NDArray[np.float64], trend: list[NDArray[np.float64]]) -> Estimate:
        """Estimate a mean among all items from the values of the queries, and from a trend: sample, and its part."""
        mean = float(np.mean(values))
        if len(trend) == 1:
            return Estimate(mean, half_width(values))
        change = trend[0] - trend[1]
        moves = abs(float(np.mean(change))) > half_width(change)
        expected = values + self.factor * change
        if moves:
            mean = float(np.clip(np.mean(expected), 0, max(1.0, mean)))
        return Estimate(mean, half_width(expected), moves)


def _shares(gains: NDArray[np.float64], dense: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values per query with the mean Σ gains / Σ dense and the spread of this ratio (delta method)."""
    whole = float(np.mean(dense))
    if whole == 0:
        return np.ones_like(gains)
    share = float(np.mean(gains)) / whole
    values: NDArray[np.float64] = share + (gains - share * dense) / whole
    return values


def drawn_rows(source: RowSource, rows: NDArray[np.int64], **checks: Any) -> Floats:
    """Read ascending rows of a source. One that can only be read in its order is read to its end."""
    if len(rows) == len(source) or getattr(source, "sequential", False):
        parts, start = [], 0
        for block in read_blocks(source, STREAM_ROWS, **checks):
            inside = rows[(rows >= start) & (rows < start + len(block))] - start
            parts.append(block[inside])
            start += len(block)
        return np.concatenate(parts)
    return read_rows(source, rows, **checks)


def smaller_sample(m: int, kept: NDArray[np.int64], rng: np.random.Generator) -> Bools:
    """Return which of m items are in the part: one in `PARTS`, and those of ``kept`` in any case."""
    part = np.zeros(m, np.bool_)
    part[rng.permutation(m)[: m // PARTS]] = True
    part[kept] = True
    return part
