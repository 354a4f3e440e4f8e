"""The library of examples/port_c, compiled by the system's C compiler and timed by a C program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CLONE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CLONE / "examples"))

from benchmarks.routes import Route  # noqa: E402  it is no part of the package

SOURCE = Path(__file__).parents[2] / "port_c"
CLOCK = Path(__file__).with_name("c_clock.c")
FLAGS = [
    "-std=c99",
    "-O2",
    "-ftree-vectorize",
    "-ffp-contract=off",
    "-fno-asynchronous-unwind-tables",
    "-ffunction-sections",
    "-Wl,--gc-sections",
    "-s",
]
ROWS, QUERIES = 1000, 200
MODELS = {"model.npz": "float32", "int8.npz": "int8", "encoder.npz": "encoder only"}


def measure(folder: Path) -> list[Route]:
    """Measure each model of the folder that exists."""
    if shutil.which("cc") is None:
        print("routes/c: needs a C compiler (cc)", file=sys.stderr)
        return []
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        program, port = (_built(work / path.stem, path) for path in (CLOCK, SOURCE / "port.c"))
        for name, count in (("items", ROWS), ("queries", QUERIES)):
            _write_rows(folder / f"{name}.npy", count, work / name)
        return [_route(folder, name, program, port, work) for name in MODELS if (folder / name).exists()]


def _built(program: Path, source: Path) -> Path:
    sources = [str(source), str(SOURCE / "compressae.c")]
    subprocess.run(["cc", *FLAGS, "-I", str(SOURCE), "-o", str(program), *sources, "-lm"], check=True)
    return program


def _write_rows(path: Path, count: int, out: Path) -> None:
    np.load(path, mmap_mode="r")[:count].astype("<f4").tofile(out)


def _route(folder: Path, name: str, program: Path, port: Path, work: Path) -> Route:
    model, packed = folder / name, folder / "packed.npz"
    times = _times(program, model, None if name == "encoder.npz" else packed, work)
    note = f"opens in {times['open_ms']:.0f} ms, without checks in {times['open_unverified_ms']:.1f} ms"
    if "index_ms" in times:
        note += f"; norms of the items: {times['index_ms']:.0f} ms"
    return Route(
        f"C, {MODELS[name]}",
        port.stat().st_size,
        model.stat().st_size,
        times["encode_ms"],
        times.get("search_ms"),
        times["peak_mb"],
        note,
    )


def _times(program: Path, model: Path, packed: Path | None, work: Path) -> dict[str, Any]:
    command = [program, model, packed or "-", work / "items", work / "queries"]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"routes/c: {model.name}: {ended.stderr.strip()}")
    times: dict[str, Any] = json.loads(ended.stdout)
    return times
