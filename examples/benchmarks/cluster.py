"""Encoding on Dask beside encoding in one process: rows per second, and what a killed worker costs."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.many import many_embeddings
from benchmarks.measure import head, line, load
from compressae_ref import load_model, save_code_blocks
from compressae_ref.cluster.on_dask import encode_on_dask
from compressae_ref.files.foreign.codes import open_codes


def cluster(options: argparse.Namespace) -> None:
    """Encode a file once with all threads of this process, and once with as many worker processes of Dask."""
    from distributed import LocalCluster

    model, n = load_model(options.model), max(options.items)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.npy"
        np.save(path, many_embeddings(load(options.embeddings), n))
        x = np.load(path, mmap_mode="r")
        started = time.perf_counter()
        save_code_blocks(f"{folder}/codes.npz", model.encode_blocks(x), n)
        alone = n / (time.perf_counter() - started)
        head("how", "rows", "rows per second", "of one process", "workers killed", text=1)
        line(f"one process, {options.threads} threads", f"{n:,}", f"{alone:,.0f}", "1.00", 0)
        workers = LocalCluster(n_workers=options.threads, threads_per_worker=1, dashboard_address=None)
        with workers:
            encode_on_dask(model, path, f"{folder}/first", workers.scheduler_address, part_rows=n)  # imports, kernels
            for kills in (0, 1):
                rate = n / _seconds(model, path, f"{folder}/parts{kills}", workers, n // 40, kills)
                line(f"Dask, {options.threads} workers", f"{n:,}", f"{rate:,.0f}", f"{rate / alone:.2f}", kills)
        codes = open_codes(f"{folder}/codes.npz").load()
        for kills in (0, 1):
            parts = open_codes(f"{folder}/parts{kills}").load()
            same = np.array_equal(parts.indices, codes.indices) and np.array_equal(parts.values, codes.values)
            print(f"{len([*Path(f'{folder}/parts{kills}').glob('part-*')])} parts, the same codes: {same}")


def _seconds(model: Any, path: str, folder: str, workers: Any, part_rows: int, kills: int) -> float:
    killed: list[int] = []

    def progress(done: int, total: int) -> None:
        if len(killed) < kills and done > total // 4:
            killed.append(next(iter(workers.workers.values())).process.pid)
            os.kill(killed[-1], signal.SIGKILL)

    started = time.perf_counter()
    encode_on_dask(model, path, folder, workers.scheduler_address, part_rows=part_rows, progress=progress)
    return time.perf_counter() - started
