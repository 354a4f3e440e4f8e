"""Train from a file on disk with a callback, a learning rate schedule and early stopping, and print the history.

The second part shows reproducibility: the same seed gives the same model to the last bit, from an array or a file, with
the NumPy or the Numba backend. Run it with ``python examples/02_train.py``.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compressae_ref import FitResult, Progress, TrainConfig, fit
from compressae_ref.demo_data import load_demo_data

CONFIG = TrainConfig(n_latents=1024, k=16, batch_size=256, steps=600, records=24, patience=3)
SCHEDULE = {"lr": 5e-3, "warmup_steps": 75, "decay": "cosine"}  # keyword settings override those of a TrainConfig
TINY = TrainConfig(n_latents=64, k=4, batch_size=128, steps=6)


def report(progress: Progress) -> None:
    """Print each new record of the history. The callback is called after every step."""
    if progress.record is not None:
        cosine = progress.record.validation_cosine
        print(f"   step {progress.step:>3} of at most {progress.steps}: held-out cosine {cosine:.4f}")


def train(embeddings: np.ndarray) -> FitResult:
    print(
        f"\n1. Train with h = {CONFIG.n_latents}, k = {CONFIG.k}. The learning rate rises over {SCHEDULE['warmup_steps']} steps,"
    )
    print("   then falls as half a cosine. Training stops when the held-out cosine has not improved for")
    print(f"   {CONFIG.patience} records.\n")
    result = fit(embeddings, CONFIG, callback=report, **SCHEDULE)
    last, best = result.history[-1], max(result.history, key=lambda record: record.validation_cosine)
    outcome = "Stopped early after" if last.step < CONFIG.steps else "Completed"
    print(
        f"\n   {outcome} {last.step} of {CONFIG.steps} steps. The model is that of the best record, step {best.step}."
    )
    return result


def show_history(result: FitResult) -> None:
    print("\n2. Every third record of the history. Losses and latents cover the steps since the previous record:\n")
    print("    step    lr       loss_k   loss_aux   held-out cosine   dead latents   top latent in")
    for record in result.history[::3]:
        print(
            f"   {record.step:>5}    {record.lr:.5f}  {record.loss_k:.4f}   {record.loss_aux:.4f}"
            f" {record.validation_cosine:>17.4f} {record.dead_latents:>14} {record.top_latent_share:>14.0%} of rows"
        )
    print(
        "\n   loss_k is 1 − cosine at k. A latent is dead if no row stores it. The top latent is the most frequent one."
    )


def compare_digests(array: np.ndarray, mapped: np.ndarray) -> None:
    print(f"\n3. Digests of models after {TINY.steps} steps with the same seed:\n")
    runs = {
        "array, numpy": fit(array, TINY, backend="numpy"),
        "file,  numpy": fit(mapped, TINY, backend="numpy"),
    }
    if find_spec("numba"):
        runs["array, numba"] = fit(array, TINY, backend="numba")
        runs["file,  numba"] = fit(mapped, TINY, backend="numba")
    else:
        print("   (Numba is not installed; only the NumPy backend is shown.)")
    for name, result in runs.items():
        print(f"   {name}   {result.model.digest}")
    if len({result.model.digest for result in runs.values()}) != 1:
        raise SystemExit("expected equal digests, got different ones")
    other = fit(array, TINY, seed=1).model.digest
    print(f"   All are equal: the same bytes. Another seed gives another model:\n\n   seed 1         {other}")


def main() -> None:
    data = load_demo_data()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.npy"
        np.save(file, data.items)
        # Rows are read when they are needed, so the file may be larger than memory.
        mapped = np.load(file, mmap_mode="r")
        print(f"{mapped.shape[0]:,} embeddings of d = {mapped.shape[1]}, {mapped.dtype}, mapped from {file.name}.")
        show_history(train(mapped))
        compare_digests(data.items, mapped)
        del mapped  # Windows cannot delete the folder while the file is mapped


if __name__ == "__main__":
    main()
