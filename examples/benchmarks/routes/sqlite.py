"""A database row: packed codes and an inverted table in SQLite, and codes as sparsevec in PGlite.

Run ``python examples/benchmarks/routes/sqlite.py FOLDER``. PGlite needs Node, and ``npm install`` in ``examples/pglite``.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

CLONE = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(CLONE / "examples"), str(CLONE)]

from benchmarks.routes import Route  # noqa: E402  it is no part of the package

PGLITE = CLONE / "examples" / "pglite"

PROBE = """
import importlib, importlib.metadata, json, re, sqlite3, statistics, sys, time
from pathlib import Path
import numpy as np
import compressae_ref as csae
example = importlib.import_module("11_sqlite")
model, like = csae.load_model("model.npz"), csae.load_packed("packed.npz")[:1]
queries = np.load("queries.npy", mmap_mode="r")[:31].astype(np.float32)
db = sqlite3.connect(sys.argv[1])
db.create_aggregate("nearest", 4, example.nearest_by(model, like))
m = min(example.EXPANSION * model.k, model.params.n_latents)

def by_packed(query):
    return db.execute(example.NEAREST, (query.tobytes(), 0)).fetchall()

def by_postings(query):
    return db.execute(example.INVERTED, (example.as_json(example.query_vectors(model, query[None], m))[0], 0)).fetchall()

search, times, ids = {"packed": by_packed, "postings": by_postings}[sys.argv[2]], [], []
for query in queries:
    begin = time.perf_counter()
    hits = search(query)
    times.append(1e3 * (time.perf_counter() - begin))
    ids.append([item for item, _ in hits])
files = [file.locate() for name in ("numpy", "scipy", "numba", "llvmlite") for file in importlib.metadata.files(name) or []]
print(json.dumps({
    "search": statistics.median(times[1:]),
    "ids": ids,
    "peak": 1.024e-3 * int(re.search("VmHWM:(.*)kB", Path("/proc/self/status").read_text())[1]),
    "installed": sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc"),
    "version": sqlite3.sqlite_version,
}))
"""
"""Opens the database, asks one dense query at a time, and prints what it took."""

ROUTES = {"packed": ("asymmetric", "aggregate over packed codes"), "postings": ("expanded", "inverted table")}
"""Tables, the space in which each is searched, and what the route is called."""


def measure(folder: str | Path) -> list[Route]:
    """Measure both tables of SQLite, and PGlite if it is installed."""
    return [*_sqlite(Path(folder)), *_pglite(Path(folder))]


def _sqlite(folder: Path) -> list[Route]:
    import compressae_ref as csae
    from compressae_ref import reference

    example = importlib.import_module("11_sqlite")
    model, packed = csae.load_model(folder / "model.npz"), csae.load_packed(folder / "packed.npz")
    norms = reference.clamped_norm(model.decode(packed.unpack()))
    package = sum(file.stat().st_size for file in (CLONE / "compressae_ref").rglob("*.*") if file.suffix != ".pyc")
    routes = []
    with tempfile.TemporaryDirectory() as temporary:
        db = example.filled(packed, norms, path := str(Path(temporary) / "items.db"))
        for table, (space, what) in ROUTES.items():
            command = [sys.executable, "-c", PROBE, path, table]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            queries = np.load(folder / "queries.npy", mmap_mode="r")[: len(found["ids"])].astype(np.float32)
            if found["ids"] != csae.search(queries, packed, 10, space=space, model=model).ids.tolist():
                raise SystemExit(f"expected the ids of search in {table}, got others")
            routes.append(
                Route(
                    name=f"SQLite {found['version']}, {what}",
                    installed_bytes=found["installed"] + package,
                    model_bytes=(folder / "model.npz").stat().st_size,
                    encode_ms=None,
                    search_ms=round(found["search"], 2),
                    peak_mb=round(found["peak"], 1),
                    note=f"{example.bytes_of(db, table) / len(packed):.0f} bytes per item in the file; same ids as search; "
                    "with Numba; without Python itself",
                )
            )
        db.close()
    return routes


def _pglite(folder: Path) -> list[Route]:
    """Search refined codes with sparse queries by the cosine of sparsevec, as the example does."""
    modules = PGLITE / "node_modules"
    if shutil.which("node") is None or not modules.is_dir():
        print("routes/sqlite.py: PGlite needs node and npm install in examples/pglite", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as temporary:
        latents = _written(folder, Path(temporary))
        command = ["node", str(PGLITE / "search.mjs"), latents, "items.jsonl", "queries.jsonl", "found.jsonl"]
        with subprocess.Popen(command, cwd=temporary, stdout=subprocess.PIPE, text=True) as started:
            output = started.stdout.read()
            _, status, usage = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode != 0:
        raise SystemExit(f"expected the results of search, got {output}")
    return [
        Route(
            name=f"PGlite {json.loads((PGLITE / 'package.json').read_text())['dependencies']['@electric-sql/pglite']}",
            installed_bytes=sum(
                file.stat().st_size for file in modules.rglob("*") if file.is_file() and file.suffix != ".pyc"
            ),
            model_bytes=None,
            encode_ms=None,
            search_ms=float(re.search(r"a query: (.*) ms", output)[1]),
            peak_mb=round(usage.ru_maxrss * 1.024e-3, 1),
            note=f"{re.search('items, (.*) bytes each', output)[1]} bytes per item; sparse queries, which are encoded "
            "elsewhere; without Node itself",
        )
    ]


def _written(folder: Path, temporary: Path) -> str:
    """Write what the example reads; return the number of latents."""
    from compressae_ref import load_model
    from compressae_ref.cli.main import main

    files = {name: str((folder / name).resolve()) for name in ("model.npz", "packed.npz", "queries.npy")}
    latents = load_model(files["model.npz"]).params.n_latents
    commands = [
        ["convert", files["packed.npz"], "-o", str(temporary / "items.jsonl"), "--quiet"],
        ["encode", files["model.npz"], files["queries.npy"], "-o", str(temporary / "queries.jsonl"), "--quiet"],
    ]
    search = ["search", files["model.npz"], files["packed.npz"], files["queries.npy"], "--space", "sparse", "--json"]
    with (temporary / "found.jsonl").open("w") as file, redirect_stdout(file):
        if any(main(command) for command in [*commands, search]):
            raise SystemExit("expected the files of the example to be written, got an error")
    return str(latents)


if __name__ == "__main__":
    for route in measure(sys.argv[1]):
        print(" | ".join(map(str, route)))
