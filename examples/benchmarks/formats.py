"""Files: bytes, and how fast they are read and written."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import load_model
from compressae_ref.files.foreign.codes import CODE_NAMES, open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.write import write_codes, write_embeddings
from compressae_ref.row_source import STREAM_ROWS

EMBEDDINGS = ("npy", "npz", "fbin", "fvecs", "safetensors", "hdf5", "parquet", "arrow")


def formats(options: argparse.Namespace) -> None:
    """Write and read embeddings, and codes, in every format; what comes back is compared first."""
    x = load(options.embeddings)
    codes = load_model(options.model).encode(x)
    head("what", "format", "bytes a row", "written, rows a second", "read, rows a second", text=2)
    with tempfile.TemporaryDirectory() as folder:
        for kind in EMBEDDINGS:
            path = f"{folder}/x.{kind}"
            wrote = _timed(options.turns, lambda path=path: write_embeddings(path, x))
            assert np.array_equal(np.asarray(open_embeddings(path)), x)
            read = _timed(options.turns, lambda path=path: _read(path))
            _say("embeddings", kind, path, len(x), wrote, read)
        for kind in CODE_NAMES:
            path = f"{folder}/codes.{kind}"
            blocks = [codes[start : start + STREAM_ROWS] for start in range(0, len(codes), STREAM_ROWS)]
            wrote = _timed(options.turns, lambda path=path, blocks=blocks: write_codes(path, blocks, len(codes)))
            again = open_codes(path, codes.n_latents).load()
            assert np.array_equal(again.indices, codes.indices)
            assert np.array_equal(again.values, codes.values)
            read = _timed(options.turns, lambda path=path: open_codes(path, codes.n_latents).load())
            _say("codes", kind, path, len(x), wrote, read)


def chunks(options: argparse.Namespace) -> None:
    """Encode HDF5 datasets with chunks of several shapes, in turns with the same rows in ``.npy``."""
    import h5py

    x, model = load(options.embeddings), load_model(options.model)
    n, d = x.shape
    head("chunks", "seconds", ".npy, seconds", "times as long", text=1)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        expected = model.encode(open_embeddings(f"{folder}/x.npy"))
        for shape in ((n, 1), (min(n, 8192), 1), (n, d), (-(-n // 2), -(-d // 4)), (min(n, 64), d)):
            path = f"{folder}/x.hdf5"
            with h5py.File(path, "w") as file:
                file.create_dataset("embeddings", data=x, chunks=shape)
            found = model.encode(open_embeddings(path))
            assert np.array_equal(found.indices, expected.indices)
            assert np.array_equal(found.values, expected.values)
            seconds: dict[str, list[float]] = {path: [], f"{folder}/x.npy": []}
            for _ in range(options.turns):
                for name, times in seconds.items():
                    times.append(_timed(1, lambda name=name: model.encode(open_embeddings(name))))
            ours, plain = (float(np.median(times)) for times in seconds.values())
            line(str(shape), f"{ours:.2f}", f"{plain:.2f}", f"{ours / plain:.2f}")


def _read(path: str) -> None:
    source = open_embeddings(path)
    for start in range(0, len(source), STREAM_ROWS):
        source[start : start + STREAM_ROWS]


def _timed(turns: int, act: object) -> float:
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        act()  # type: ignore[operator]
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _say(what: str, kind: str, path: str, n: int, wrote: float, read: float) -> None:
    line(what, f".{kind}", f"{Path(path).stat().st_size / n:.0f}", f"{n / wrote:,.0f}", f"{n / read:,.0f}")
