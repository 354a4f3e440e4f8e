"""JavaScript in Node: encode one row and search, with the modules of ``examples/port_js``, in processes of their own.

Run ``python examples/benchmarks/routes/javascript.py FOLDER``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

CLONE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CLONE / "examples"))

from benchmarks.routes import Route  # noqa: E402  it is no part of the package

SCRIPT, PORT = Path(__file__).with_suffix(".mjs"), CLONE / "examples" / "port_js"
NOT_FOR_USERS = {"protocol.mjs", "rounding.mjs", "spaces.mjs", "training.mjs"}
"""Modules for the conformance levels, which a page does not load."""

ROWS = 50
ROUTES = (("", "model.npz", True), (", int8 model", "int8.npz", True), (", encoder only", "encoder.npz", False))


def measure(folder: str | Path) -> list[Route]:
    """Measure each kind of model; an empty list if Node is missing."""
    if shutil.which("node") is None:
        print("routes/javascript.py: needs node, version 18 or later", file=sys.stderr)
        return []
    rows = np.load(Path(folder) / "queries.npy", mmap_mode="r")[: ROWS + 1].astype("<f4")
    return [_route(Path(folder), rows.tobytes(), *route) for route in ROUTES]


def _route(folder: Path, rows: bytes, kind: str, model: str, searches: bool) -> Route:
    files = [folder / model, *([folder / "packed.npz"] if searches else [])]
    found = _answer(["node", str(SCRIPT), *map(str, files)], rows)
    search_ms = found["search"]["median"] if searches else None
    return Route(
        name=f"Node {found['version'].removeprefix('v').split('.')[0]}{kind}",
        installed_bytes=sum(path.stat().st_size for path in PORT.glob("*.mjs") if path.name not in NOT_FOR_USERS),
        model_bytes=files[0].stat().st_size,
        encode_ms=found["encode"]["median"],
        search_ms=search_ms,
        peak_mb=found["peakMb"],
        note=_note(found),
    )


def _answer(command: list[str], rows: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(subprocess.run(command, input=rows, capture_output=True, check=True).stdout)
    return answer


def _note(found: dict[str, Any]) -> str:
    """What the numbers of the table leave out."""
    parts = [f"installed: without Node itself; opening the model {found['openMs']:.0f} ms, the first row"]
    parts[0] += f" {found['encode']['first']:.1f} ms"
    if "search" in found:
        parts.append(f"refining a row {found['refine']['median']:.1f} ms")
        parts.append(f"index of {found['items']:,} items {found['indexMs'] / 1e3:.1f} s, once")
    return "; ".join(parts)


if __name__ == "__main__":
    for measured in measure(sys.argv[1]):
        print(measured)
