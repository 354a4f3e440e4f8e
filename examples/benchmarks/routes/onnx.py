"""ONNX: encode one row at a time with onnxruntime on one thread, in a process that imports NumPy and onnxruntime alone.

Run ``python examples/benchmarks/routes/onnx.py FOLDER``. It needs the packages onnx and onnxruntime.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]
sys.path[:] = [str(CLONE / "examples"), str(CLONE), *(at for at in sys.path if at != str(Path(__file__).parent))]

from benchmarks.routes import Route  # noqa: E402  it is no part of the package

PROBE = """
import importlib.metadata, json, re, statistics, sys, time
from pathlib import Path
start = time.perf_counter()
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
imported = time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options)
opened = time.perf_counter()
rows = np.load("queries.npy", mmap_mode="r")[:51].astype(np.float32)
times = []
for i in range(len(rows)):
    begin = time.perf_counter()
    session.run(None, {"x": rows[i : i + 1]})
    times.append(1e3 * (time.perf_counter() - begin))
names = [re.match(r"[\\w-]+", line)[0] for line in importlib.metadata.requires("onnxruntime") if "extra ==" not in line]
files = [file.locate() for name in ("onnxruntime", *names) for file in importlib.metadata.files(name) or []]
print(json.dumps({
    "version": onnxruntime.__version__,
    "import": 1e3 * (imported - start),
    "open": 1e3 * (opened - imported),
    "encode": statistics.median(times[1:]),
    "peak": 1.024e-3 * int(re.search("VmHWM:(.*)kB", Path("/proc/self/status").read_text())[1]),
    "installed": sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc"),
}))
"""
"""Opens the graph, encodes one row at a time, and prints what it took."""

ROUTES = (("", "model.npz"), (", int8 model", "int8.npz"))


def measure(folder: str | Path, turns: int = 5) -> list[Route]:
    """Measure the graph of each kind of model: medians over processes. An empty list if a package is missing."""
    if missing := [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]:
        print(f"routes/onnx.py: needs {' and '.join(missing)}", file=sys.stderr)
        return []
    return [_route(Path(folder), kind, model, turns) for kind, model in ROUTES]


def _route(folder: Path, kind: str, model: str, turns: int) -> Route:
    with tempfile.TemporaryDirectory() as temporary:
        graph = Path(temporary) / "encoder.onnx"
        convert = [sys.executable, "-m", "compressae_ref", "convert", str((folder / model).resolve()), "-o", str(graph)]
        subprocess.run([*convert, "--quiet"], cwd=CLONE, check=True)
        runs = [_probed(folder, graph) for _ in range(turns)]
        size = graph.stat().st_size
    median = {key: sorted(run[key] for run in runs)[turns // 2] for key in runs[0]}
    return Route(
        name=f"onnxruntime {median['version']}{kind}",
        installed_bytes=median["installed"],
        model_bytes=size,
        encode_ms=round(median["encode"], 3),
        search_ms=None,
        peak_mb=round(median["peak"], 1),
        note=f"1 thread; without Python itself; import {median['import']:.0f} ms, open {median['open']:.0f} ms",
    )


def _probed(folder: Path, graph: Path) -> dict[str, float | str]:
    command = [sys.executable, "-c", PROBE, str(graph)]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    for route in measure(sys.argv[1]):
        print(" | ".join(map(str, route)))
