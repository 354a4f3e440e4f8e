"""A training step and encoding beside PyTorch and beside the one dense product, and how that changes with h and k."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import PAGES, child, head, in_turns, line, load, spread, where
from benchmarks.problem import LR, Distillation, Problem
from compressae_ref import Model, save_code_blocks, save_model
from compressae_ref.backends import get_backend
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.training.step import init_state, train_step


def step(options: argparse.Namespace) -> None:
    """A training step, or encoding, beside PyTorch and the product."""
    x = load(options.embeddings)
    head(
        "d", "h", "k", "rows", "product, ms", f"{options.what}, ms", "PyTorch, ms", "times as fast", "times the product"
    )
    for n in options.rows:
        for h in options.latents:
            for k in options.k:
                problem = Problem(x, n, h, k, options.backend)
                problem.check()
                seconds = in_turns(options.turns, product=problem.product, **_sides(problem, options.what))
                figures = [spread(1e3 * seconds[name], 1) for name in ("product", "ours", "theirs")]
                ratios = [seconds["theirs"] / seconds["ours"], seconds["ours"] / seconds["product"]]
                line(x.shape[1], h, k, n, *figures, *(spread(ratio, 2) for ratio in ratios))


encode = step


def _sides(problem: Problem, what: str) -> dict[str, object]:
    if what == "step":
        return {"ours": problem.step, "theirs": problem.step_torch}
    return {"ours": problem.encode, "theirs": problem.encode_torch}


def distill(options: argparse.Namespace) -> None:
    """A training step with the similarity loss, beside one without it and beside PyTorch."""
    x = load(options.embeddings)
    head("d", "h", "k", "rows", "plain step, ms", "with it, ms", "PyTorch, ms", "times the plain step", "times as fast")
    for n in options.rows:
        for h in options.latents:
            problem = Distillation(x, n, h, options.k[0], options.backend)
            problem.check()
            sides = {"plain": problem.plain, "ours": problem.step, "theirs": problem.step_torch}
            seconds = in_turns(options.turns, **sides)
            ratios = [seconds["ours"] / seconds["plain"], seconds["theirs"] / seconds["ours"]]
            figures = [*(spread(1e3 * seconds[side], 1) for side in sides), *(spread(ratio, 2) for ratio in ratios)]
            line(x.shape[1], h, options.k[0], n, *figures)


def growth(options: argparse.Namespace) -> None:
    """How many times as fast as PyTorch, by h and by k; a picture."""
    x, n = load(options.embeddings), options.rows[0]
    usual_h, usual_k = (
        usual if usual in many else many[0] for usual, many in ((4096, options.latents), (32, options.k))
    )
    settings = [(h, usual_k) for h in options.latents] + [(usual_h, k) for k in options.k if k != usual_k]
    found = {}
    head(
        "d", "h", "k", "rows", "step, ms", "PyTorch, ms", "times as fast", "encode, ms", "PyTorch, ms", "times as fast"
    )
    for h, k in settings:
        problem = Problem(x, n, h, k, options.backend)
        problem.check()
        cells = []
        for what in ("step", "encode"):
            seconds = in_turns(options.turns, 2, **_sides(problem, what))
            found[h, k, what] = ratio = seconds["theirs"] / seconds["ours"]
            cells += [*(spread(1e3 * seconds[side], 1) for side in ("ours", "theirs")), spread(ratio, 2)]
        line(x.shape[1], h, k, n, *cells)
    title = f"d = {x.shape[1]}, batches of {n:,} rows, {where(options)}"
    _draw(found, (usual_h, usual_k), Path(options.picture or PAGES / "growth.png"), title)


def _draw(found: dict[tuple[int, int, str], np.ndarray], usual: tuple[int, int], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(f"Times as fast as PyTorch: {title}")
    left, right = figure.subplots(1, 2, sharey=True)
    names = (f"latents h, at k = {usual[1]}", f"stored entries k, at h = {usual[0]:,}")
    for pick, (axes, name) in enumerate(zip((left, right), names, strict=True)):
        for what, colour in (("step", "C0"), ("encode", "C1")):
            at = sorted(key for key in found if key[2] == what and key[1 - pick] == usual[1 - pick])
            quartiles = np.array([np.quantile(found[key], (0.25, 0.5, 0.75)) for key in at])
            label = "training step" if what == "step" else "encoding"
            axes.plot([key[pick] for key in at], quartiles[:, 1], "o-", color=colour, label=label)
            axes.fill_between(
                [key[pick] for key in at], quartiles[:, 0], quartiles[:, 2], color=colour, alpha=0.2, lw=0
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks([key[pick] for key in at], [f"{key[pick]:,}" for key in at])
        axes.set_xlabel(name)
        axes.axhline(1, color="grey", lw=0.8)
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)
    print(f"\nPicture: {path.name}")


def numpy(options: argparse.Namespace) -> None:
    """NumPy and SciPy alone beside Numba: the same bits, later."""
    x = load(options.embeddings)
    head("d", "h", "k", "rows", "what", "Numba, ms", "NumPy, ms", "times as slow")
    for n in options.rows:
        problem = Problem(x, n, options.latents[0], options.k[0])
        states = {name: init_state(problem.params) for name in ("numba", "numpy")}

        def train(name: str, problem: Problem = problem, states: dict = states) -> None:
            train_step(states[name], problem.x, problem.config, get_backend(name), LR)

        for what, run in (("step", train), ("encode", problem.encode)):
            sides = {name: (lambda name=name, run=run: run(name)) for name in states}
            seconds = in_turns(options.turns, 1, **sides)
            figures = [spread(1e3 * seconds[name], 1) for name in sides]
            line(
                x.shape[1],
                options.latents[0],
                options.k[0],
                n,
                what,
                *figures,
                spread(seconds["numpy"] / seconds["numba"], 2),
            )


def file(options: argparse.Namespace) -> None:
    """Encoding a file into a file beside encoding an array in memory: rows per second, and the peak of memory."""
    x = load(options.embeddings)
    head(
        "rows",
        "array, rows/s",
        "file, rows/s",
        "file / array",
        "file in, MB",
        "file out, MB",
        "peak of the process, MB",
    )
    with tempfile.TemporaryDirectory() as folder:
        source, model_file, target = (str(Path(folder) / name) for name in ("x.npy", "model.npz", "codes.npz"))
        model = Model(Problem(x, 64, options.latents[0], options.k[0]).params, options.k[0])
        save_model(model_file, model)
        for n in options.rows:
            rows = np.resize(x, (n, x.shape[1]))
            np.save(source, rows)

            def from_file() -> None:
                save_code_blocks(target, model.encode_blocks(open_embeddings(source)), n)  # noqa: B023

            seconds = in_turns(options.turns, 1, array=lambda: model.encode(rows), file=from_file)  # noqa: B023
            rates = [spread(n / seconds[name], 0) for name in ("array", "file")]
            sizes = [f"{os.path.getsize(path) / 1e6:.0f}" for path in (source, target)]  # noqa: PTH202
            peak = child(PEAK, "encode", model_file, source, "-o", target)
            line(n, *rates, spread(seconds["array"] / seconds["file"], 2), *sizes, peak)


PEAK = """
import re, sys
from pathlib import Path
from compressae_ref.cli.main import main
assert main(sys.argv[1:]) == 0
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1000)
"""
"""A command of the package, and then the most memory that it had."""


def one(options: argparse.Namespace) -> float:
    """Seconds of encoding one vector from Python."""
    x = load(options.embeddings)
    model = Model(Problem(x, 64, options.latents[0], options.k[0]).params, options.k[0])
    model.encode(x[:1])
    seconds = []
    for row in range(min(300, len(x))):
        start = time.perf_counter()
        model.encode(x[row : row + 1])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
