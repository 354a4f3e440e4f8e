"""Python: encode one row and search, with NumPy alone and with Numba, in processes of their own.

    python examples/benchmarks/routes/python.py FOLDER [--pythons PYTHON ...]

Each interpreter needs NumPy, and SciPy and Numba for the rows with Numba. They import the package of this clone. Installed
bytes are those of files as they ship, without the bytecode that Python adds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CLONE / "examples"))

from benchmarks.routes import Route  # noqa: E402  it is no part of the package

PROBE = """
import dataclasses, importlib.metadata, json, re, resource, statistics, sys, time
from pathlib import Path
alone, model_file, needs = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if alone and name.split(".")[0] in ("numba", "scipy"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
if alone:
    import importlib.util
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name in ("numba", "scipy") else found(name, *rest)
def milliseconds(function, arguments):
    times = []
    for argument in arguments:
        start = time.perf_counter()
        function(argument)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])
start = time.perf_counter()
import numpy as np
import compressae_ref as csae
load = csae.load_encoder if model_file == "encoder.npz" else csae.load_model
imported = time.perf_counter()
model, queries = load(model_file), np.load("queries.npy", mmap_mode="r")
first = model.encode(queries[:1])
result = {"import": 1e3 * (imported - start), "first": 1e3 * (time.perf_counter() - imported)}
rows = [np.array(queries[i : i + 1], np.float32) for i in range(min(len(queries), 51))]
result["encode"] = milliseconds(model.encode, rows)
def peak():
    if (status := Path("/proc/self/status")).exists():  # ru_maxrss counts the process that started this one, too
        return 1.024e-3 * int(re.search("VmHWM:(.*)kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
result["encode peak"] = peak()
if model_file != "encoder.npz":
    packed = dataclasses.replace(csae.load_packed("packed.npz"), model=None)  # int8.npz is another model, which searches them in the same time
    index = csae.Index.build(packed, model=model)
    result["search"] = milliseconds(lambda row: index.search(row, 10), rows)
result["peak"] = peak()
files = [file.locate() for name in needs for file in importlib.metadata.files(name) or []]
result["installed"] = sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
result["python"] = sys.version.split()[0]
result["numpy"] = np.__version__
print(json.dumps(result))
"""
"""Imports, encodes one row at a time, and then searches with one query at a time; prints what it took."""

ALONE, COMPILED = ("numpy",), ("numpy", "scipy", "numba", "llvmlite")
"""The packages of each route besides this one."""

ROUTES = (
    ("NumPy alone", ALONE, "model.npz"),
    ("NumPy alone, int8 model", ALONE, "int8.npz"),
    ("NumPy alone, encoder only", ALONE, "encoder.npz"),
    ("with Numba", COMPILED, "model.npz"),
)


def measure(folder: str | Path, pythons: Sequence[str] = (sys.executable,), turns: int = 5) -> list[Route]:
    """Measure each route with each interpreter: medians over processes, of which the first does not count."""
    found = []
    for python in pythons:
        for name, packages, model in ROUTES:
            first = _probed(python, packages, model, Path(folder))  # compiles what is not compiled yet
            if first is not None:
                runs = [_probed(python, packages, model, Path(folder)) for _ in range(turns)]
                found.append(_route(name, model, Path(folder), runs))
    return found


def _probed(python: str, packages: Sequence[str], model: str, folder: Path) -> dict[str, float | str] | None:
    """Run the probe once; None, and a line on standard error, if the route is not there."""
    if not (folder / model).exists():
        print(f"routes/python: {model} is not in {folder}: left out", file=sys.stderr)
        return None
    command = [python, "-c", PROBE, json.dumps(packages == ALONE), model, json.dumps(packages)]
    environment = os.environ | {"PYTHONPATH": str(CLONE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"routes/python: {python}, {model}: {done.stderr.strip().splitlines()[-1]}: left out", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def _route(name: str, model: str, folder: Path, runs: Sequence[dict]) -> Route:
    median = {key: sorted(run[key] for run in runs)[len(runs) // 2] for key in runs[0]}
    package = sum(file.stat().st_size for file in (CLONE / "compressae_ref").rglob("*.*") if file.suffix != ".pyc")
    return Route(
        f"Python {median['python']}, {name}",
        median["installed"] + package,
        (folder / model).stat().st_size,
        round(median["encode"], 3),
        round(median["search"], 3) if "search" in median else None,
        round(median["peak"], 1),
        f"import {median['import']:.0f} ms, model and first row {median['first']:.0f} ms; encoding alone takes at most "
        f"{median['encode peak']:.0f} MB; NumPy {median['numpy']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with model.npz, packed.npz and queries.npy")
    parser.add_argument("--pythons", nargs="+", default=[sys.executable], help="interpreters (default: this one)")
    parser.add_argument("--turns", type=int, default=5, help="processes of each route (default: 5)")
    options = parser.parse_args()
    for route in measure(options.folder, options.pythons, options.turns):
        print(" | ".join(map(str, route)))


if __name__ == "__main__":
    main()
