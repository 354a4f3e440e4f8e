"""Train from a file on disk with a callback, a learning rate schedule and early stopping, and print the history.

The second part shows reproducibility: the same seed gives the same model to the last bit, from an array or a file, with
the NumPy or the Numba backend. Run it with ``python examples/02_train.py``.

Equations: E1, E11 to E13, R5, R8. Pages of spec/: compressae.md. Chapter: examples/learn/4_train.py.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compressae_ref import FitResult, Progress, TrainConfig, fit
from compressae_ref.demo_data import load_demo_data

# The learning rate rises over 75 steps, then falls as half a cosine. Training stops when the held-out cosine has not
# improved for 3 records (patience).
CONFIG = TrainConfig(n_latents=1024, k=16, batch_size=256, steps=600, records=24, patience=3)
SCHEDULE = {"lr": 5e-3, "warmup_steps": 75, "decay": "cosine"}  # keyword settings override those of a TrainConfig
TINY = TrainConfig(n_latents=64, k=4, batch_size=128, steps=6)


def report(progress: Progress) -> None:
    """Print each new record of the history. The callback is called after every step."""
    if progress.record is not None:
        print(f"   step {progress.step:>3}: held-out cosine {progress.record.validation_cosine:.4f}")


def show_history(result: FitResult) -> None:
    """Print every third record. Losses and latents cover the steps since the previous record.

    loss_k is 1 − cosine with k entries, loss_aux with 4k. A latent is dead if no row stores it; the top latent is the one
    that most rows store.
    """
    print(f"\n2. History. Training stopped after step {result.history[-1].step}, and the best record is the model.")
    print("    step       lr    loss_k  loss_aux  held-out cosine  dead latents  top latent in")
    for r in result.history[::3]:
        numbers = f"{r.lr:8.5f}  {r.loss_k:8.4f}  {r.loss_aux:8.4f}  {r.validation_cosine:15.4f}"
        print(f"   {r.step:>5} {numbers}  {r.dead_latents:12}  {r.top_latent_share:8.0%} of rows")


def compare_digests(array: np.ndarray, mapped: np.ndarray) -> None:
    print(f"\n3. Digests of models after {TINY.steps} steps with the same seed:")
    digests = []
    for backend in ("numpy", "numba") if find_spec("numba") else ("numpy",):
        for source, x in (("array", array), ("file", mapped)):
            digests.append(fit(x, TINY, backend=backend).model.digest)
            print(f"   {backend}, {source:<8} {digests[-1]}")
    other = fit(array, TINY, seed=1).model.digest
    print(f"   another seed    {other}\n   All models of one seed are the same bytes: {len(set(digests)) == 1}")


def main() -> None:
    data = load_demo_data()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.npy"
        np.save(file, data.items)
        # Rows are read when they are needed, so the file may be larger than memory.
        mapped = np.load(file, mmap_mode="r")
        print(f"1. Train on {len(mapped):,} embeddings in a file, for at most {CONFIG.steps} steps:")
        show_history(fit(mapped, CONFIG, callback=report, **SCHEDULE))
        compare_digests(data.items, mapped)
        del mapped  # Windows cannot delete the folder while the file is mapped


if __name__ == "__main__":
    main()
