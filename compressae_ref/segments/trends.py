"""How the share of a segment changes over time: windows, classes and spikes (E48, E49, R37)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends.numpy.blocks import map_blocks
from compressae_ref.segments.contrast import Doubles, contrast, discoveries, tail
from compressae_ref.segments.counts import Counts
from compressae_ref.segments.dispersion import (
    Series,
    common_dispersion,
    excess,
    long_tailed,
    own_dispersion,
    prefixes,
    series_of,
    share_of,
    sums_of,
    total,
    within,
)

Kind = Literal["rising", "falling", "peak", "new", "gone", "steady"]
RATE = 0.05
"""Default of the false-discovery rate."""
ABSENT = 20.0
"""A segment is new or gone if its share inside the window is at least so many times that outside."""
WINDOWS_PER_BIN = 2
"""Windows overlap: by chance, the best one deviates as the best of so many independent ones per bin (measured)."""
SEGMENTS_PER_BLOCK, CELLS_PER_BLOCK = 32, 1 << 19
"""The most segments whose windows are compared at a time, and the most of their windows."""
RECENT = 8
"""The last window has one in so many bins, rounded up."""


class Trend(NamedTuple):
    """The window in which a segment is most over-represented, and how its share changed lately."""

    kind: Kind
    start: int
    """first bin of the window"""
    stop: int
    """bin after the last one"""
    z: float
    p: float
    ratio: float
    """share inside the window divided by the share outside; infinite if there is nothing outside"""
    last_ratio: float
    """share in the last window divided by the share before"""
    last_z: float
    last_significant: bool


class Spike(NamedTuple):
    """A bin in which a segment has many more items than in the others."""

    segment: int
    bin: int
    weight: float
    expected: float
    z: float
    largest_item: int
    """number of the item of the largest weight"""
    largest_share: float
    """its share of the weight"""
    z_without: float
    """z without that item"""
    one_item: bool
    """whether the bin is no spike without it"""


def trends(counts: Counts, q: float = RATE) -> list[Trend]:
    """Classify every segment by its best window, or else by the last one (E48, R37).

    Both are tested for all segments, each time with the false-discovery rate q.
    """
    series = series_of(counts)
    common = common_dispersion(series)
    start, stop, z, p, inside, outside = _best_windows(series, common)
    found = discoveries(p, q)
    last_ratio, last_z = _recent(series, common)
    recent = discoveries(2.0 * tail(np.abs(last_z)), q)
    count, ratio = len(series.bins), _ratio(inside, outside)
    result = []
    for s in range(len(z)):
        lately: Kind = "steady" if not recent[s] else "rising" if last_ratio[s] > 1 else "falling"
        kind = _kind(start[s], stop[s], count, ratio[s] >= ABSENT) if found[s] else lately
        window = int(series.bins[start[s]]), int(series.bins[stop[s] - 1]) + 1
        best = float(z[s]), float(p[s]), float(ratio[s])
        result.append(Trend(kind, *window, *best, float(last_ratio[s]), float(last_z[s]), bool(recent[s])))
    return result


def spikes(counts: Counts, q: float = RATE) -> list[Spike]:
    """Return the spikes of all segments, the largest z first; ties by segment and bin (E49)."""
    series = series_of(counts)
    common = common_dispersion(series)
    z = _spike_z(series, series.y, series.n, common)
    p = tail(z)
    found = discoveries(p, q)
    largest = counts.largest[:, series.bins] / series.unit[:, None]
    n = series.n - largest
    without = _spike_z(series, within(series.y - largest, n), n, common)
    segments, places = np.nonzero(found)
    order = np.lexsort((places, segments, -z[segments, places]))
    one_item = tail(without) * found.size > q * found.sum()
    return [_spike(counts, series, int(s), int(b), float(z[s, b]), float(without[s, b]), bool(one_item[s, b]))
            for s, b in zip(segments[order], places[order], strict=True)]  # fmt: skip


def _spike(counts: Counts, series: Series, s: int, place: int, z: float, without: float, one_item: bool) -> Spike:
    bin_, unit = int(series.bins[place]), float(series.unit[s])
    weight, n = float(series.y[s, place]), float(series.n[s, place])
    sums = (total(array[s : s + 1]) - array[s, place] for array in (series.y, series.n))
    others = float(share_of(*sums)[0, 0])
    share = float(counts.largest[s, bin_]) / (weight * unit)
    item = int(counts.largest_item[s, bin_])
    return Spike(s, bin_, weight * unit, others * n * unit, z, item, share, without, one_item)


def _spike_z(series: Series, y: Doubles, n: Doubles, common: float) -> Doubles:
    """Return the z of each bin against the others; ``y`` and ``n`` are the counts of that bin."""
    n_others = total(series.n) - series.n
    others = within(total(series.y) - series.y, n_others)
    dispersion = np.maximum(own_dispersion(series), common)
    z = contrast(*(array / dispersion for array in (y, others, n, n_others))).z
    return long_tailed(z, n * share_of(others, n_others), dispersion)


def windows(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start and stop of the windows over so many bins that are compared, by start and then by stop (R37).

    All that begin with the first bin or end with the last one, but not both; and of the others those of 1 bin and of
    lengths that grow by a quarter, rounded down, but at least by 1.
    """
    bins, lengths, length = np.arange(1, count), list[int](), 1
    while length < count:
        lengths.append(length)
        length += max(1, length // 4)
    inside = [(np.arange(1, count - length), np.arange(1 + length, count)) for length in lengths]
    parts = [(np.zeros_like(bins), bins), (bins, np.full_like(bins, count)), *inside]
    start, stop = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    order = np.lexsort((stop, start))
    return start[order], stop[order]


def _best_windows(series: Series, common: float) -> tuple[Any, ...]:
    """Return start, stop, z and p of each segment's window of largest z, and its shares inside and outside.

    Among windows of equal z it is the first.
    """
    prefix, count = prefixes(series), len(series.bins)
    start, stop = windows(count)

    def best(segments: slice) -> tuple[Any, ...]:
        own = [a[segments] for a in prefix]
        inside = [a[:, stop] - a[:, start] for a in own]
        outside = [a[:, -1:] - b for a, b in zip(own, inside, strict=True)]
        z, shares = _window_z(inside, outside, common, count)
        place = z.argmax(axis=1)
        rows = np.arange(len(z))
        return (start[place], stop[place], z[rows, place], *(share[rows, place] for share in shares))

    most = min(SEGMENTS_PER_BLOCK, max(1, CELLS_PER_BLOCK // len(start)))
    found = map_blocks(len(series.y), most, best)
    first, last, z, *shares = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return (first, last, z, np.minimum(1.0, tail(z) * (WINDOWS_PER_BIN * count)), *shares)


def _window_z(
    inside: list[Doubles], outside: list[Doubles], common: float, count: int
) -> tuple[Doubles, tuple[Doubles, Doubles]]:
    n, n_other = inside[1], outside[1]
    y, y_other = within(inside[0], n), within(outside[0], n_other)
    dispersion = np.maximum((excess(*inside) + excess(*outside)) / max(count - 2, 1), common)
    z = contrast(*(array / dispersion for array in (y, y_other, n, n_other))).z
    shares = share_of(y, n), share_of(y_other, n_other)
    return long_tailed(z, n * shares[1], dispersion), shares


def _recent(series: Series, common: float) -> tuple[Doubles, Doubles]:
    """Return the ratio of the shares in the last window and before, and its z."""
    count = series.y.shape[1]
    cut = count - -(-count // RECENT)
    sums = [(total(a[:, cut:]), total(a[:, :cut])) for a in sums_of(series)]
    inside, outside = ([pair[i] for pair in sums] for i in (0, 1))
    z, (share, before) = _window_z(inside, outside, common, count)
    return _ratio(share[:, 0], before[:, 0]), z[:, 0]


def _kind(start: int, stop: int, count: int, absent: bool) -> Kind:
    if stop == count:
        return "new" if absent else "rising"
    if start == 0:
        return "gone" if absent else "falling"
    return "peak"


def _ratio(share: Doubles, other: Doubles) -> Doubles:
    return np.where(other > 0, share / np.where(other > 0, other, 1.0), np.where(share > 0, np.inf, 1.0))
