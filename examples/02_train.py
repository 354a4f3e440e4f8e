"""Training from a file on disk: a callback, a learning rate that rises and falls, early stopping, and the history.

Then what can be relied on: the same seed gives the same model, to the byte, from an array or from a file, with the
NumPy or with the Numba backend. Run it with ``python examples/02_train.py``.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compressae_ref import FitResult, Progress, TrainConfig, fit
from compressae_ref.demo_data import load_demo_data

CONFIG = TrainConfig(n_latents=1024, k=16, batch_size=256, steps=600, records=24, patience=3)
SCHEDULE = {"lr": 5e-3, "warmup_steps": 75, "decay": "cosine"}  # single settings override those of a TrainConfig
TINY = TrainConfig(n_latents=64, k=4, batch_size=128, steps=6)


def tell(progress: Progress) -> None:
    """Called after every step; every so often a step comes with a new record of the history."""
    if progress.record is not None:
        cosine = progress.record.validation_cosine
        print(f"   step {progress.step:>3} of at most {progress.steps}: held-out cosine {cosine:.4f}")


def train(embeddings: np.ndarray) -> FitResult:
    print(
        f"\n1. Train with h = {CONFIG.n_latents}, k = {CONFIG.k}. The learning rate rises over {SCHEDULE['warmup_steps']} steps,"
    )
    print("   then falls like half a cosine. The held-out rows decide when to stop: once the best record stands")
    print(f"   for {CONFIG.patience} more.\n")
    result = fit(embeddings, CONFIG, callback=tell, **SCHEDULE)
    last, best = result.history[-1], max(result.history, key=lambda record: record.validation_cosine)
    how = "Stopped early, after" if last.step < CONFIG.steps else "Ran all"
    print(f"\n   {how} {last.step} of {CONFIG.steps} steps; the model is that of step {best.step}, the best.")
    return result


def show_history(result: FitResult) -> None:
    print("\n2. Every third record of the history; losses and latents are about the steps since the record before:\n")
    print("    step    lr       loss_k   loss_aux   held-out cosine   dead latents   top latent in")
    for record in result.history[::3]:
        print(
            f"   {record.step:>5}    {record.lr:.5f}  {record.loss_k:.4f}   {record.loss_aux:.4f}"
            f" {record.validation_cosine:>17.4f} {record.dead_latents:>14} {record.top_latent_share:>14.0%} of rows"
        )
    print(
        "\n   loss_k is 1 − cosine at k. A latent is dead if no row stored it; the top latent is the one stored most."
    )


def compare_digests(array: np.ndarray, mapped: np.ndarray) -> None:
    print(f"\n3. The digest of a model, after {TINY.steps} steps with the same seed:\n")
    runs = {
        "array, numpy": fit(array, TINY, backend="numpy"),
        "file,  numpy": fit(mapped, TINY, backend="numpy"),
    }
    if find_spec("numba"):
        runs["array, numba"] = fit(array, TINY, backend="numba")
        runs["file,  numba"] = fit(mapped, TINY, backend="numba")
    else:
        print("   (numba is not installed: its lines are left out)")
    for name, result in runs.items():
        print(f"   {name}   {result.model.digest}")
    if len({result.model.digest for result in runs.values()}) != 1:
        raise SystemExit("The digests differ, and should not.")
    other = fit(array, TINY, seed=1).model.digest
    print(f"   All equal: the same bytes.\n\n   Another seed, another model:\n\n   seed 1         {other}")


def main() -> None:
    data = load_demo_data()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.npy"
        np.save(file, data.items)
        # Rows are read as they are needed: a file larger than memory works the same.
        mapped = np.load(file, mmap_mode="r")
        print(f"{mapped.shape[0]:,} embeddings of d = {mapped.shape[1]}, {mapped.dtype}, mapped from {file.name}.")
        show_history(train(mapped))
        compare_digests(data.items, mapped)
        del mapped  # an open map keeps Windows from removing the folder


if __name__ == "__main__":
    main()
