"""The models of ``choose``, and their training on a sample if there is none."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from compressae_ref.cli.dry_run import duration
from compressae_ref.cli.progress import shown_progress
from compressae_ref.cli.terminal import tell
from compressae_ref.evaluation.sample import Sample
from compressae_ref.model import Model
from compressae_ref.training.fit import Progress, fit
from compressae_ref.training.settings import SERVE, default_latents, default_steps

STEPS = 1500
"""Steps of a training on the sample: about a minute on two cores for the default sizes."""

TIMED_STEPS = 10


class Models(NamedTuple):
    """The models to measure."""

    package: Model
    """for dense queries"""
    engines: Model
    """for sparse queries in a vector database"""
    trained: bool
    """whether both were trained on the sample"""


def trained_on(sample: Sample, options: argparse.Namespace) -> Models:
    """Train a model for dense queries and one for sparse queries on the sample; first say how long it takes."""
    items = sample.items[sample.items.any(axis=1)]
    h, seconds, steps = default_latents(sample.n), 0.0, {}
    for serve in ("dense", "both"):
        batch = min(SERVE[serve]["batch_size"], len(items))
        steps[serve] = options.steps or min(STEPS, default_steps(len(items), batch))
        seconds += steps[serve] * _seconds_per_step(items, serve, h, options.backend)
    tell(
        f"no MODEL given: training two models on the sample, {' and '.join(map(str, steps.values()))} steps, "
        f"about {duration(seconds)}"
    )
    models = []
    for serve, n in steps.items():
        with shown_progress("step") as progress:
            callback = None if progress is None else _stepping(progress)
            settings: dict[str, Any] = {"n_latents": h, "steps": n, "backend": options.backend, "callback": callback}
            models.append(fit(items, serve=serve, **settings).model)
    dense, sparse = models
    return Models(dense, sparse, True)


def _seconds_per_step(items: Any, serve: str, h: int, backend: str | None) -> float:
    """Return the median time of a few steps on few rows."""
    times: list[float] = []
    few = items[: 4 * SERVE[serve]["batch_size"]]
    settings: dict[str, Any] = {
        "n_latents": h,
        "steps": TIMED_STEPS,
        "validation_rows": 0,
        "records": 1,
        "backend": backend,
    }
    fit(few, serve=serve, callback=lambda progress: times.append(time.perf_counter()), **settings)
    pauses = sorted(after - before for before, after in pairwise(times))
    return pauses[len(pauses) // 2]


def _stepping(progress: Callable[[int, int], None]) -> Callable[[Progress], None]:
    return lambda done: progress(done.step, done.steps)
