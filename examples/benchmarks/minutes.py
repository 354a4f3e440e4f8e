"""What time buys: rows per second at the paper's setting, and quality after so many seconds beside PyTorch."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import PAGES, head, line, load
from compressae_ref import Model, Params, Progress, TrainConfig, fit, init_params, mean_cosine, recall_at, search
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.training.batches import ShuffledBatches
from compressae_ref.training.settings import learning_rate
from tests import torch_oracle as oracle

PAPER_STEPS, PAPER_BATCH = 500, 100_000
BATCH, LR = 512, 0.01


class _EnoughError(Exception):
    """The time is over."""


def sustained(options: argparse.Namespace) -> None:
    """Rows per second of `fit` in batches of 100,000 for five minutes, and how long the paper's run takes so."""
    x, batch = load(options.embeddings), PAPER_BATCH
    x = np.resize(x, (2 * batch, x.shape[1]))
    ends: list[float] = []

    def clock(progress: Progress) -> None:
        ends.append(time.perf_counter())
        if ends[-1] - ends[0] > options.seconds:
            raise _EnoughError

    settings = {"n_latents": options.latents[0], "k": options.k[0], "validation_rows": 0, "steps": PAPER_STEPS}
    with contextlib.suppress(_EnoughError):
        fit(x, preset="paper", callback=clock, **settings)
    steps = np.diff(ends)
    thirds = [f"{batch / part.mean():,.0f}" for part in np.array_split(steps, 3)]
    head("d", "h", "k", "rows in a batch", "steps", "seconds", "rows/s", "by thirds", f"{PAPER_STEPS} steps, minutes")
    rate = batch / steps.mean()
    whole = PAPER_STEPS * PAPER_BATCH / rate / 60
    setting = (x.shape[1], options.latents[0], options.k[0], batch, len(steps))
    line(*setting, f"{steps.sum():.0f}", f"{rate:,.0f}", ", ".join(thirds), f"{whole:.0f}")


# -- what a minute buys -----------------------------------------------------------------------------------------------


def minute(options: argparse.Namespace) -> None:
    """Quality after so many seconds of training: this package and PyTorch in turns, from the same start; a picture."""
    items, queries = load(options.embeddings), load(options.queries)
    truth = nearest_dense(queries, unit_rows(items, np.float32), 100).ids
    config = TrainConfig(n_latents=options.latents[0], k=options.k[0], batch_size=BATCH, lr=LR, validation_rows=0)
    sides = {"this package": _train, "PyTorch": _train_torch}
    rates: dict[str, float] = {}
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in sides}
    for name, train in sides.items():
        _, seconds = train(items, config, 200)
        rates[name] = 200 / seconds
    head("", "seconds", "steps", "held-out cosine", "recall@100, dense queries", "recall@100, sparse space", text=1)
    for budget in options.budgets:
        for name, train in sides.items():
            steps = max(1, int(rates[name] * budget))
            params, seconds = train(items, config, steps)
            rates[name] = steps / seconds
            model = Model(params, config.k)
            figures = (_held_out_cosine(model, queries), *_recalls(model, items, queries, truth))
            found[name].append((seconds, *figures))
            line(name, f"{seconds:.1f}", steps, *(f"{figure:.4f}" for figure in figures))
    _draw(found, config, items.shape, Path(options.picture or PAGES / "minute.png"))


def _train(items: np.ndarray, config: TrainConfig, steps: int) -> tuple[Params, float]:
    start = time.perf_counter()
    model = fit(items, replace(config, steps=steps)).model
    return model.params, time.perf_counter() - start


def _train_torch(items: np.ndarray, config: TrainConfig, steps: int) -> tuple[Params, float]:
    """The same start, batches and learning rates, on the dense PyTorch side."""
    start = time.perf_counter()
    rng = np.random.default_rng(config.seed)
    model = oracle.leaves(init_params(items.shape[1], config.n_latents or 0, rng, init=config.init))
    optimizer = torch.optim.Adam(model, lr=LR, fused=True)
    batches: Iterator[np.ndarray] = ShuffledBatches(
        items, config.batch_size, rng, held_out=np.empty(0, np.int64), buffer_rows=config.buffer_rows
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, steps)
        oracle.train_step(torch.from_numpy(next(batches)), model, config.k, optimizer)
    params = Params(*(each.detach().numpy() for each in model))
    return params, time.perf_counter() - start


def _held_out_cosine(model: Model, queries: np.ndarray) -> float:
    return mean_cosine(unit_rows(queries, np.float32), model.decode(model.encode(queries)))


def _recalls(model: Model, items: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    codes = model.encode(items)
    ways = ({"space": "asymmetric"}, {"space": "sparse", "query_k": 4 * model.k})
    asymmetric, sparse = (recall_at(search(queries, codes, 100, model=model, **way).ids, truth) for way in ways)
    return asymmetric, sparse


def _draw(
    found: dict[str, list[tuple[float, float, float, float]]], config: TrainConfig, shape: tuple[int, ...], path: Path
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(
        f"What a minute buys: {shape[0]:,} × {shape[1]}, h = {config.n_latents}, k = {config.k}, batches of {BATCH}"
    )
    panels = figure.subplots(1, 3)
    names = ("held-out cosine", "recall@100, dense queries", "recall@100, sparse space")
    for column, (axes, title) in enumerate(zip(panels, names, strict=True), start=1):
        for (name, points), colour in zip(found.items(), ("C0", "C3"), strict=True):
            rows = np.array(points)
            axes.plot(rows[:, 0], rows[:, column], "o-", color=colour, label=name)
        axes.set_xscale("log")
        axes.set_xticks([row[0] for row in points], [f"{row[0]:.0f}" for row in points])
        axes.minorticks_off()
        axes.set_xlabel("seconds of training")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)
    print(f"\nPicture: {path.name}")
