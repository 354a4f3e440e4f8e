"""How steady and how pure segments are, beside k-means with the same number of groups."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.measure import head, line, load
from compressae_ref import fit
from compressae_ref.arrays import Floats
from compressae_ref.errors import DomainError
from compressae_ref.reference import unit_rows
from compressae_ref.segments.membership import Rule, assign, keys_of

Groups = NDArray[np.int32]
"""(n,): the group of each item, -1 for none"""

Figures = dict[str, Any]
"""What a row of the table says: its settings, and of each figure one value for each seed, or pair of seeds"""

SETTINGS = ("groups by", "h", "k", "steps")
OF_GROUPS = ("groups", "first choice", "unassigned", "Gini", "largest")
OF_PAIRS = ("ARI", "NMI", "items kept")
OF_LABELS = ("purity", "NMI with labels")
COLUMNS = (
    *SETTINGS, *OF_GROUPS, *(f"{name} of {which}" for which in ("seeds", "halves") for name in OF_PAIRS),
    *OF_LABELS, "seconds",
)  # fmt: skip


class Problem(NamedTuple):
    """What is grouped, and what the groups are compared with."""

    x: Floats
    labels: NDArray[np.int64] | None
    """(n,): the number of each item's label"""
    early: NDArray[np.bool_] | None
    """(n,): whether an item is in the first half of the time"""
    seeds: Sequence[int]


Train = Callable[[Floats, int], Callable[[Floats], tuple[Groups, float]]]
"""Train on rows with a seed; the result gives the groups of rows, and the share of items in their first choice."""


def segments(options: argparse.Namespace) -> None:
    """Segments of one model for each seed, and k-means with ``--starts`` starts for each seed.

    Seeds are compared in pairs. Halves: one model of the rows before the median time, one of the others; both group all
    rows. Figures are the mean over seeds or their pairs, with the lowest and the highest.
    """
    labels = None if options.labels is None else np.unique(column(options.labels), return_inverse=True)[1]
    early = None if options.times is None else first_half(column(options.times))
    problem = Problem(load(options.embeddings), labels, early, options.seeds)
    for name, values in (("labels", labels), ("times", early)):
        if values is not None and len(values) != len(problem.x):
            raise DomainError(f"expected {len(problem.x)} values, got {len(values)}", argument=name)
    head(*COLUMNS, text=1)
    for row in rows(problem, options.latents, options.k, options.steps, options.starts):
        line(*(_shown(row.get(name)) for name in COLUMNS))


def rows(
    problem: Problem, latents: Sequence[int], ks: Sequence[int], steps: int | None, starts: int
) -> Iterator[Figures]:
    """Return the figures of segments for each h and k, each followed by those of k-means if there are starts."""
    for h, k in itertools.product(latents, ks):
        settings = {"n_latents": h, "k": k} | ({} if steps is None else {"steps": steps})
        found = figures(problem, _segments_of(settings))
        yield {"groups by": "segments", "h": h, "k": k, "steps": steps, **found}
        if starts:
            number = int(np.median(found["groups"]))
            yield {"groups by": f"k-means, {starts} starts", **figures(problem, _kmeans_of(number, starts))}


def figures(problem: Problem, train: Train) -> Figures:
    """Group all items once for each seed, and once for each half of the time."""
    start = time.perf_counter()
    grouped = [train(problem.x, seed)(problem.x) for seed in problem.seeds]
    found: Figures = {"seconds": (time.perf_counter() - start) / len(problem.seeds)}
    parts = [groups for groups, _ in grouped]
    found["groups"] = [len(np.unique(part[part >= 0])) for part in parts]
    found["first choice"] = [first for _, first in grouped]
    found["unassigned"] = [float(np.mean(part < 0)) for part in parts]
    found["Gini"] = [gini(part) for part in parts]
    found["largest"] = [float(np.bincount(part + 1)[1:].max() / len(part)) for part in parts]
    found |= _between(parts, "seeds")
    if problem.early is not None:
        halves = (problem.early, ~problem.early)
        found |= _between([train(problem.x[half], problem.seeds[0])(problem.x)[0] for half in halves], "halves")
    if problem.labels is not None:
        found["purity"] = [purity(part, problem.labels) for part in parts]
        found["NMI with labels"] = [_sklearn().normalized_mutual_info_score(problem.labels, part) for part in parts]
    return found


def _segments_of(settings: dict[str, Any]) -> Train:
    def train(x: Floats, seed: int) -> Callable[[Floats], tuple[Groups, float]]:
        model = fit(x, serve="segments", seed=seed, **settings).model

        def group(x: Floats) -> tuple[Groups, float]:
            codes, every = model.encode(x), Rule(min_items=1)
            keys, all_keys = keys_of(codes, Rule()), keys_of(codes, every)
            groups = assign(codes, keys, Rule()).segments[:, 0]
            first = assign(codes, all_keys, every).segments[:, 0]
            same = (keys[groups] == all_keys[first]).all(axis=1) & (groups >= 0)
            return groups, float(same.mean())

        return group

    return train


def _kmeans_of(number: int, starts: int) -> Train:
    def train(x: Floats, seed: int) -> Callable[[Floats], tuple[Groups, float]]:
        from sklearn.cluster import KMeans

        means = KMeans(number, n_init=starts, algorithm="lloyd", random_state=seed).fit(unit_rows(x, np.float32))
        return lambda x: (means.predict(unit_rows(x, np.float32)).astype(np.int32), 1.0)

    return train


# -- measures ---------------------------------------------------------------------------------------------------------


def gini(groups: Groups) -> float:
    """Return the Gini coefficient of the sizes of the groups: 0 if all are equally large."""
    sizes = np.unique(groups[groups >= 0], return_counts=True)[1]
    ranks = 2 * np.arange(1, len(sizes) + 1) - len(sizes) - 1
    return float(ranks @ np.sort(sizes) / (len(sizes) * sizes.sum()))


def purity(groups: Groups, labels: NDArray[np.int64]) -> float:
    """Return the share of items that have the most frequent label of their group."""
    return float(_together(groups, labels).max(axis=1).sum() / len(groups))


def kept(groups: Groups, others: Groups) -> float:
    """Return the share of items that stay together if each group is matched with one other group."""
    together = _together(groups, others)
    return float(together[linear_sum_assignment(together, maximize=True)].sum() / len(groups))


def first_half(times: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which items are in the first half, ordered by time and then by row."""
    half: NDArray[np.bool_] = np.argsort(np.argsort(times, kind="stable")) < len(times) // 2
    return half


def column(path: str) -> NDArray[Any]:
    """Read one value for each row: a .npy array, or a text file with one on each line."""
    if path.endswith(".npy"):
        values: NDArray[Any] = np.load(path, allow_pickle=False)
        return values
    return np.array(Path(path).read_text(encoding="utf-8").splitlines())


def _between(parts: Sequence[Groups], which: str) -> Figures:
    scores = _sklearn()
    measures = (scores.adjusted_rand_score, scores.normalized_mutual_info_score, kept)
    pairs = list(itertools.combinations(parts, 2))
    return {
        f"{name} of {which}": [float(measure(*pair)) for pair in pairs]
        for name, measure in zip(OF_PAIRS, measures, strict=True)
    }


def _together(groups: Groups, others: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the items in each group and each other group; the first ones hold the items without."""
    counts = np.zeros((groups.max() + 2, others.max() + 2), np.int64)
    np.add.at(counts, (groups + 1, others + 1), 1)
    return counts


def _sklearn() -> Any:
    try:
        import sklearn.metrics
    except ImportError:
        sys.exit("bench.py: expected scikit-learn to compare with, got none: pip install scikit-learn")
    return sklearn.metrics


def _shown(value: Any) -> Any:
    """Return the mean of several values, with the lowest and the highest."""
    if not isinstance(value, list):
        return f"{value:.1f}" if isinstance(value, float) else value
    if not value:
        return None
    digits = 0 if all(isinstance(one, int) for one in value) else 3
    low, middle, high = (f"{one:.{digits}f}" for one in (min(value), np.mean(value), max(value)))
    return middle if low == high else f"{middle} ({low} to {high})"
