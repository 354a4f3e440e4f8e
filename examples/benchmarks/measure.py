"""What all benchmarks share: turns, medians with quartiles, tables and their JSON, child processes."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.files.foreign.embeddings import open_embeddings

HERE = Path(__file__).parent
PAGES = HERE.parent / "pages"
MEASURED = PAGES / "measured"
"""The tables of the pages as JSON, one file each: pages are rendered from these files, never typed."""

_tables: list[dict[str, Any]] = []
"""What `head` and `line` have printed in this process."""


def load(path: str) -> np.ndarray:
    """The embeddings, in float32."""
    return np.asarray(open_embeddings(path)).astype(np.float32)


def same(ours: object, theirs: object, tolerance: float, what: str) -> None:
    """Stop where two results differ by more than rounding."""
    difference = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    if not difference <= tolerance:
        sys.exit(f"{what}: expected the same from both within {tolerance:.1e}, got a difference of {difference:.1e}")


def in_turns(turns: int, calls: int = 4, **functions: Callable[[], object]) -> dict[str, np.ndarray]:
    """Seconds of each function in each turn, of several calls in a row, as in training; the first turn does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            settle()
            if turn:
                seconds[name].append((time.perf_counter() - start) / calls)
    return {name: np.array(each) for name, each in seconds.items()}


def settle() -> None:
    """Wait until a GPU, if one is in use, has done what it was asked."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def device_of(backend: str) -> str:
    """Where PyTorch computes beside a backend: on a GPU beside "cuda", unless that is simulated."""
    import torch

    return "cuda" if backend == "cuda" and torch.cuda.is_available() else "cpu"


def where(options: argparse.Namespace) -> str:
    """What a table and a picture say of where it was measured."""
    if options.backend != "cuda":
        return f"{options.threads} threads"
    from compressae_ref.backends.cuda.rules import SIMULATED

    if SIMULATED:
        return "a simulated GPU, whose times mean nothing"
    return "a GPU" if device_of("cuda") == "cuda" else "a GPU; PyTorch, built without CUDA, on the processor"


def spread(values: np.ndarray, digits: int) -> str:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def head(*columns: str, text: int = 0) -> None:
    """Start a Markdown table; the first ``text`` columns hold words, the others numbers."""
    _tables.append({"text": text, "columns": list(columns), "rows": []})
    _say(columns)
    _say(["---" if place < text else "---:" for place in range(len(columns))])


def line(*cells: object) -> None:
    """Print a row of the table at once, so that a long benchmark shows how far it is."""
    plain = (str, int, float, list, type(None))
    _tables[-1]["rows"].append([cell if isinstance(cell, plain) else str(cell) for cell in cells])
    _say(["" if cell is None else cell for cell in cells])


def _say(cells: Sequence[object]) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def keep(name: str, command: str, threads: int) -> None:
    """Write the tables that this process printed to measured/NAME.json, NAME-2.json and so on."""
    for number, table in enumerate(_tables, 1):
        write_measured(name if number == 1 else f"{name}-{number}", command, machine(threads), **table)


def write_measured(name: str, command: str, where: str, **table: Any) -> None:
    """Write one table as JSON, a row on each line."""
    facts = {"command": command, "where": where, "when": datetime.date.today().isoformat()}
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in facts.items()]
    lines += [f" {json.dumps(key)}: {json.dumps(table[key], ensure_ascii=False)}," for key in ("text", "columns")]
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in table["rows"])
    text = "\n".join(["{", *lines, ' "rows": [', rows, " ]", "}"])
    (MEASURED / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def command_line() -> str:
    """Return the running command as others can type it: files without their folders, no --keep."""
    words = [Path(word).name if "/" in word and not word.endswith("bench.py") else word for word in sys.argv[1:]]
    if "--keep" in words:
        del words[words.index("--keep") : words.index("--keep") + 2]
    return " ".join(["python examples/bench.py", *words])


def machine(threads: int) -> str:
    """The processor and how many threads of it were used."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{threads} threads, {found[1] if found else 'unknown processor'}"


def child(code: str, *arguments: object, **environment: str) -> str:
    """What a fresh Python prints that runs ``code`` from the folder of the checkout."""
    import os

    command: Sequence[str] = [sys.executable, "-c", code, *map(str, arguments)]
    root = str(HERE.parents[1])
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()
