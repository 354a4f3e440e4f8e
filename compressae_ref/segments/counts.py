"""Count weights and items by segment, bin of time and site (E45). One by one gives the same bits as all at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import DomainError
from compressae_ref.segments.contrast import Doubles

MAX_CELLS = 100_000_000
"""The most cells of segments, bins and sites: more take too much memory."""

MAX_BINS = 10_000
"""The most bins of time. The windows that are compared grow with their number."""


class Events(NamedTuple):
    """Items to count."""

    segments: NDArray[np.int32]
    """(n, m): segments of each item, padded with −1"""
    bins: NDArray[np.int64]
    """(n,) from 0"""
    sites: NDArray[np.int64]
    """(n,) from 0"""
    weights: Doubles
    """(n,) ≥ 0"""


class Counts:
    """Sums over items, in the order of the items.

    Attributes
    ----------
    weights, squares : (S, bins, sites) float64: sums of w and of w² over the items of a segment
    items : (S, bins, sites) int64: their number
    totals, total_items : (bins, sites): sums of w, and numbers, over all items, each item once
    unassigned : (bins, sites) float64: the weight of items without a segment
    largest, largest_item : (S, bins): the largest weight of an item, and the first item that has it, or −1
    """

    def __init__(self, n_segments: int, n_bins: int, n_sites: int) -> None:
        require_cells(n_segments, n_bins, n_sites)
        shape = n_segments, n_bins, n_sites
        self.n = 0
        self.weights, self.squares, self.items = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
        self.totals, self.unassigned = np.zeros(shape[1:]), np.zeros(shape[1:])
        self.total_items = np.zeros(shape[1:], np.int64)
        self.largest, self.largest_item = np.zeros(shape[:2]), np.full(shape[:2], -1)

    def grow(self, before: int, n_bins: int, n_sites: int) -> None:
        """Add ``before`` empty bins in front, and empty bins and sites at the end up to these numbers."""
        if (n_bins, n_sites) == self.totals.shape:
            return
        require_cells(len(self.weights), n_bins, n_sites)
        for name in ("weights", "squares", "items", "totals", "unassigned", "total_items", "largest", "largest_item"):
            array = getattr(self, name)
            first = 0 if name in ("totals", "unassigned", "total_items") else 1
            widths = [(0, 0)] * array.ndim
            widths[first] = (before, n_bins - before - array.shape[first])
            if array.ndim > first + 1:
                widths[first + 1] = (0, n_sites - array.shape[first + 1])
            setattr(self, name, np.pad(array, widths, constant_values=-1 if name == "largest_item" else 0))

    def add(self, events: Events) -> None:
        """Add items after those that have been added; bins and sites must exist."""
        w, cell = events.weights, (events.bins, events.sites)
        np.add.at(self.totals, cell, w)
        np.add.at(self.total_items, cell, 1)
        without = events.segments[:, 0] < 0
        np.add.at(self.unassigned, (events.bins[without], events.sites[without]), w[without])
        rows, places = np.nonzero(events.segments >= 0)
        of, bins, w = events.segments[rows, places], events.bins[rows], w[rows]
        where = of, bins, events.sites[rows]
        np.add.at(self.weights, where, w)
        np.add.at(self.squares, where, w * w)
        np.add.at(self.items, where, 1)
        self._update_largest((of, bins), w, self.n + rows)
        self.n += len(events.segments)

    def _update_largest(
        self, where: tuple[NDArray[np.int32], NDArray[np.int64]], w: Doubles, numbers: NDArray[np.int64]
    ) -> None:
        before = self.largest[where]
        np.maximum.at(self.largest, where, w)
        new = (w == self.largest[where]) & ((w > before) | (self.largest_item[where] < 0))
        cells = where[0][new], where[1][new]
        self.largest_item[cells] = np.iinfo(np.int64).max
        np.minimum.at(self.largest_item, cells, numbers[new])


def require_cells(n_segments: int, n_bins: int, n_sites: int) -> None:
    """Refuse so many bins and sites that the counts would not fit into memory. DomainError."""
    if n_bins > MAX_BINS:
        raise DomainError(
            f"expected at most {MAX_BINS:,} bins, got {n_bins:,}", argument="times", hint="choose larger bins (--bin)"
        )
    if n_segments * n_bins * n_sites > MAX_CELLS:
        raise DomainError(
            f"expected at most {MAX_CELLS:,} cells, got {n_segments:,} segments x {n_bins:,} bins x {n_sites:,} sites",
            hint="choose larger bins, or sites with fewer values",
        )
