"""Cold start: imports, kernels that have never been compiled, the second process, one vector."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import child, head, line, load, spread
from benchmarks.speed import one
from compressae_ref import Model, init_params, save_model

IMPORT = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
"""

FIRST = """
import time
start = time.perf_counter()
import numpy as np
import compressae_ref as csae
x = np.random.default_rng(0).standard_normal((400, 384), np.float32)
model = csae.fit(x, n_latents=512, k=32, steps=3, batch_size=128).model
trained = time.perf_counter()
csae.search(x[:3], model.encode(x), 5, model=model)
print(trained - start, time.perf_counter() - start)
"""
"""Training and searching on a few rows: it uses all kernels but those for float64."""

COMMAND = """
import subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, "-m", "compressae_ref", *sys.argv[1:]], check=True, capture_output=True)
print(time.perf_counter() - start)
"""


def start(options: argparse.Namespace) -> None:
    """Everything that a first use waits for."""
    imports: dict[str, list[float]] = {"numpy": [], "compressae_ref": []}
    for _ in range(options.turns):
        for name, seconds in imports.items():
            seconds.append(float(child(IMPORT, name)))
    head("what", "ms", text=1)
    for name, seconds in imports.items():
        line(f"`import {name}`", spread(1e3 * np.array(seconds), 0))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first use of the kernels, nothing compiled", "the same in a second process"):
            trained, all_of_it = (1e3 * float(each) for each in child(FIRST, NUMBA_CACHE_DIR=folder).split())
            line(f"{name}: imports, training", f"{trained:.0f}")
            line(f"{name}: imports, training, encoding, search", f"{all_of_it:.0f}")
        x = load(options.embeddings)
        np.save(Path(folder) / "one.npy", x[:1])
        h, k = options.latents[0], options.k[0]
        save_model(Path(folder) / "model.npz", Model(init_params(x.shape[1], h, np.random.default_rng(0)), k))
        words = ("encode", f"{folder}/model.npz", f"{folder}/one.npy", "-o", f"{folder}/codes.npz")
        seconds = np.array([float(child(COMMAND, *words)) for _ in range(options.turns + 1)][1:])
        line(f"`compressae-ref encode` of one vector, d {x.shape[1]}, h {h}", spread(1e3 * seconds, 0))
    line(f"`model.encode` of one vector, d {x.shape[1]}, h {h}", f"{1e3 * one(options):.2f}")
