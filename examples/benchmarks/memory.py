"""The most memory that training needs, beside PyTorch: each measured in a process of its own."""

from __future__ import annotations

import argparse

from benchmarks.measure import child, head, line
from compressae_ref.files.foreign.embeddings import open_embeddings

TRAIN = """
import os, re, sys
from pathlib import Path
import numpy as np
side, path, n, h, k, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6
from compressae_ref import TrainConfig, init_params
x = np.load(path, mmap_mode="r")
batch = np.empty((n, x.shape[1]), np.float32)
for start in range(0, n, len(x)):
    batch[start : start + len(x)] = x[: n - start]
del x
params = init_params(batch.shape[1], h, np.random.default_rng(0))
if side == "ours":
    from compressae_ref.backends import get_backend
    from compressae_ref.backends.thread_pool import set_threads
    from compressae_ref.training.step import init_state, train_step
    set_threads(threads)
    state = init_state(params)
    del params
    for _ in range(2):
        train_step(state, batch, TrainConfig(n_latents=h, k=k), get_backend("numba"), 1e-3)
else:
    import torch
    from tests import torch_oracle as oracle
    torch.set_num_threads(threads)
    model, rows = oracle.leaves(params), torch.from_numpy(batch)
    del params
    optimizer = torch.optim.Adam(model, lr=1e-3, fused=True)
    for _ in range(2):
        oracle.train_step(rows, model, k, optimizer)
print(f"{peak():.2f}")
"""
"""Two steps, the second with Adam's moments in place."""


def memory(options: argparse.Namespace) -> None:
    """Peak resident memory of two training steps, the batch in it."""
    h, k, d = options.latents[0], options.k[0], open_embeddings(options.embeddings).shape[1]
    head("d", "h", "k", "rows in a batch", "ours, GB", "PyTorch, GB", "batch alone, GB")
    for n in options.rows:
        peaks = [child(TRAIN, side, options.embeddings, n, h, k, options.threads) for side in ("ours", "theirs")]
        line(d, h, k, n, *peaks, f"{4 * n * d / 1e9:.2f}")
