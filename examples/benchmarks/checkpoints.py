"""What checkpoints cost."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import head, line, load, spread
from compressae_ref import Progress, fit
from compressae_ref.training.checkpoint import save_checkpoint
from compressae_ref.training.checkpoint_schedule import MINUTES

BATCH = 1024


def checkpoint(options: argparse.Namespace) -> None:
    """Seconds to write a checkpoint in the current folder, and their share of the default interval."""
    x = load(options.embeddings)
    head("d", "h", "early stopping", "MB", "seconds to write", f"share of {MINUTES:g} minutes, %")
    for h in options.latents:
        for patience in (None, 1000):
            seconds, size = _written(x, options.turns, n_latents=h, k=options.k[0], patience=patience)
            share = 100 * seconds / (60 * MINUTES + seconds)
            stops = "no" if patience is None else "yes"
            line(x.shape[1], h, stops, f"{size / 1e6:.0f}", spread(seconds, 2), spread(share, 3))


def _written(x: np.ndarray, turns: int, **settings: object) -> tuple[np.ndarray, int]:
    """Seconds of each checkpoint of a training, but for the first one, and the bytes of the last one."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "checkpoint"

        def save(progress: Progress) -> None:
            started = time.perf_counter()
            save_checkpoint(path, progress.run)
            seconds.append(time.perf_counter() - started)

        steps = turns + 1
        settings |= {"objective": "reconstruct", "batch_size": BATCH, "steps": steps, "records": steps}
        fit(x, checkpoint=path, callback=save, **settings)
        return np.array(seconds[1:]), path.stat().st_size
