"""Segments over time: bursts that are planted in random counts, and the seconds that a million items take."""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.many import many_embeddings
from benchmarks.measure import head, line, load
from compressae_ref import Codes, Model, load_model
from compressae_ref.arrays import Floats
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.segments.counts import Counts
from compressae_ref.segments.segments import Segments
from compressae_ref.segments.trends import spikes, trends

SEGMENTS, BURST, RUNS = 50, 3.0, 1000
CASES = ((5, 1.0), (20, 1.0), (30, 1.0), (20, 2.0), (60, 2.0), (20, 4.0), (120, 4.0), (60, "1 to 4"))
"""Items of a segment in a bin, and their dispersion: the variance divided by the mean."""
WORDS = 20


def bursts(options: argparse.Namespace) -> None:
    """Random counts of 50 segments with and without a segment that has three times its rate in one bin and the next.

    Counts are Poisson, or negative binomial; the totals of bins vary by a factor of 3. A burst is found if it is a
    spike in its first bin, or within one bin: in the first or in the second, when its counts end there.
    """
    head("bins", "items of a segment", "dispersion", "false spikes", "false trends", "found at once", "within one bin")
    for bins in (12, 24, 60):
        for mean, dispersion in CASES:
            line(bins, mean, str(dispersion), *_shares(bins, mean, dispersion))


def _shares(bins: int, mean: float, dispersion: Any) -> list[str]:
    found = np.zeros(4)
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        nothing = _random(rng, bins, mean, dispersion)
        planted = [_random(np.random.default_rng(seed + RUNS), bins, mean, dispersion, bins - late) for late in (1, 2)]
        at_once, next_bin = (any(spike.segment == 0 and spike.bin >= bins - late for spike in spikes(counts))
                             for late, counts in zip((1, 2), planted, strict=True))  # fmt: skip
        moved = any(trend.kind != "steady" for trend in trends(nothing))
        found += [bool(spikes(nothing)), moved, at_once, at_once or next_bin]
    return [f"{share:.1%}" for share in found / RUNS]


def _random(rng: np.random.Generator, bins: int, mean: float, dispersion: Any, burst: int | None = None) -> Counts:
    """Return random counts; segment 0 has `BURST` times its rate from the bin ``burst`` on."""
    totals = np.round(rng.uniform(0.5, 1.5, bins) * mean * SEGMENTS * 2)
    expected = np.tile(totals / (2 * SEGMENTS), (SEGMENTS, 1))
    if burst is not None:
        expected[0, burst:] *= BURST
    phi = rng.choice([1.001, 2.0, 4.0], (SEGMENTS, 1)) if isinstance(dispersion, str) else dispersion
    if isinstance(phi, float) and phi == 1:
        y = rng.poisson(expected)
    else:
        y = rng.negative_binomial(expected / (phi - 1), np.broadcast_to(1 / phi, expected.shape))
    return _counts(y, np.maximum(totals, y.sum(axis=0)))


def _counts(y: NDArray[Any], totals: NDArray[Any]) -> Counts:
    counts = Counts(*y.shape, 1)
    counts.weights[:, :, 0] = counts.squares[:, :, 0] = counts.items[:, :, 0] = y
    counts.totals[:, 0] = counts.total_items[:, 0] = totals
    counts.largest[:] = y > 0
    return counts


def following(options: argparse.Namespace) -> None:
    """Seconds for items like the embeddings, with texts of at most 20 words, 200 bins and 5 sites."""
    model = load_model(options.model)
    x = load(options.embeddings)
    head("items", "segments", "membership", "counts", "trends and spikes", "these three", "names", "one new item, ms",
         "its encoding, ms", "peak memory, MB")  # fmt: skip
    for n in options.items:
        line(f"{n:,}", *_figures(model, x, n, _Texts(options, n)))


def _figures(model: Model, x: Floats, n: int, texts: _Texts) -> list[str]:
    rng, took = np.random.default_rng(0), list[float]()
    more = many_embeddings(x, n)
    codes = Codes.concatenate([model.encode(more[i : i + 100_000]) for i in range(0, n, 100_000)])
    del more
    times = np.datetime64("1900-01-01") + np.sort(rng.integers(0, 200 * 365, n))
    sites = rng.integers(0, 5, n)
    segments = _timed(took, lambda: Segments.build(codes, model=model))
    _timed(took, lambda: segments.over_time(times, bin="year", sites=sites))
    _timed(took, lambda: (segments.trends(), segments.spikes()))
    _timed(took, lambda: segments.name(texts))
    one, encoding = list[float](), list[float]()
    for i in range(50):
        row = slice(i, i + 1)
        _timed(one, lambda row=row: segments.update(x[row], times=times[-1:], sites=sites[:1]))
        _timed(encoding, lambda row=row: model.encode(x[row]))
    seconds = [*took[:3], sum(took[:3]), took[3]]
    milliseconds = [1000 * float(np.median(each)) for each in (one, encoding)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [str(len(segments)), *(f"{s:.1f}" for s in seconds), *(f"{ms:.2f}" for ms in milliseconds), f"{memory:,.0f}"]


class _Texts:
    """As many texts as there are items, of at most 20 words: those of a table, again and again."""

    def __init__(self, options: argparse.Namespace, n: int) -> None:
        texts = open_table(options.texts).texts(options.text)
        self.texts, self.n = [" ".join((text or "").split()[:WORDS]) for text in texts], n

    def __iter__(self) -> Iterator[str]:
        return itertools.islice(itertools.cycle(self.texts), self.n)


def _timed(took: list[float], function: Callable[[], Any]) -> Any:
    """Return what a function returns, and add the seconds that it takes to a list."""
    start = time.perf_counter()
    result = function()
    took.append(time.perf_counter() - start)
    return result
