"""Every route to encode and search outside a data centre, in one table."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import head, line, load
from benchmarks.routes import Route
from compressae_ref import ShapeError, encode_refined, load_model, pack, save_model, save_packed

ROUTES = ("python", "c", "javascript", "browser", "onnx", "sqlite")
"""Modules of `benchmarks.routes`, in the order of the table."""


def anywhere(options: argparse.Namespace) -> None:
    """Bytes, milliseconds and memory of each route, one after the other, on the same model and items."""
    _table(options, [importlib.import_module(f"benchmarks.routes.{module}").measure for module in ROUTES])


def pythons(options: argparse.Namespace) -> None:
    """The routes in Python, by each interpreter of --pythons."""
    _table(
        options, [lambda folder: importlib.import_module("benchmarks.routes.python").measure(folder, options.pythons)]
    )


def _table(options: argparse.Namespace, measures: Sequence[Callable[[Path], list[Route]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, options)
        head(
            "route",
            "program, MB",
            "model, MB",
            "encode a row, ms",
            "search, ms",
            "memory, MB",
            "what one must know",
            text=1,
        )
        for measure in measures:
            for route in measure(folder):
                line(*_cells(route))


def _prepare(folder: Path, options: argparse.Namespace) -> None:
    """Write the files that the routes read."""
    model, x = load_model(options.model), load(options.embeddings)
    queries = load(options.queries)
    for name, rows in ((options.embeddings, x), (options.queries, queries)):
        if rows.shape[1] != model.params.d:
            raise ShapeError(f"expected d = {model.params.d} as in the model, got {rows.shape[1]}", path=name)
    save_model(folder / "model.npz", model)
    save_model(folder / "int8.npz", model, weights="int8")
    save_model(folder / "encoder.npz", model, weights="int8", only="encoder")
    packed = pack(encode_refined(x, model))
    save_packed(folder / "packed.npz", replace(packed, model=None))  # so that both models search them: times are equal
    np.save(folder / "items.npy", x)
    np.save(folder / "queries.npy", queries)


def _cells(route: Route) -> list[str | None]:
    megabytes = (None if size is None else f"{size / 1e6:.{1 if size >= 1e6 else 3}f}" for size in route[1:3])
    times = (None if each is None else f"{each:.2f}" if each < 10 else f"{each:.0f}" for each in route[3:5])
    memory = None if route.peak_mb is None else f"{route.peak_mb:.0f}"
    return [route.name, *megabytes, *times, memory, route.note]
