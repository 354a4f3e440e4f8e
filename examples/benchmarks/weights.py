"""What rounding the weights of a model costs: bytes of its files, and recall of the dense neighbours."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import Codes, Model, encode_refined, load_model, recall_at, save_model, search
from compressae_ref.files.stored_weights import Weights
from compressae_ref.retrieval.brute_force import nearest_dense

TOP = 100
WEIGHTS: tuple[Weights, ...] = ("float32", "float16", "int8")


class Stored(NamedTuple):
    """A model as it is read from its file, and the bytes of that file and of its encoder alone."""

    model: Model
    whole: int
    encoder: int


def weights(options: argparse.Namespace) -> None:
    """Recall of codes of the same models, stored with fewer and fewer bits; means over the models, lowest and highest.

    "Change" is the largest change of one of these recalls for one of the models. The items of each model are encoded
    with its own weights.
    """
    x, queries = load(options.embeddings), load(options.queries)
    near = nearest_dense(queries, x, TOP).ids
    spaces = ("sparse space, query 4k", "dense queries", "refined, dense queries")
    columns = ("model file, MB", "encoder only, MB", "same latents", *(f"recall@{TOP}, {space}" for space in spaces))
    head("weights", *columns, "change", text=1)
    models, first, original = [load_model(path) for path in options.models], None, []
    for kind in WEIGHTS:
        found, same, size = [], [], Stored(models[0], 0, 0)
        for number, model in enumerate(models):
            size = stored(model, kind)
            codes = size.model.encode(x)
            if kind == WEIGHTS[0]:
                original.append(codes.indices)
            same.append(float((codes.indices == original[number]).all(axis=1).mean()))
            found.append(_recalls(size.model, x, codes, queries, near))
        recalls = np.array(found)
        first = recalls if first is None else first
        megabytes = [f"{each / 1e6:.2f}" for each in (size.whole, size.encoder)]
        change = f"{np.abs(recalls - first).max():.4f}"
        line(kind, *megabytes, f"{100 * np.mean(same):.1f} %", *map(_spread, recalls.T), change)


def stored(model: Model, kind: Weights) -> Stored:
    """Return a model after it was written and read with these weights."""
    with tempfile.TemporaryDirectory() as folder:
        whole, encoder = Path(folder) / "whole.npz", Path(folder) / "encoder.npz"
        save_model(whole, model, weights=kind)
        save_model(encoder, model, weights=kind, only="encoder")
        return Stored(load_model(whole), whole.stat().st_size, encoder.stat().st_size)


def _recalls(model: Model, x: Any, codes: Codes, queries: Any, near: Any) -> list[float]:
    refined = encode_refined(x, model)
    ids = (
        search(queries, codes, TOP, model=model, query_k=4 * model.k).ids,
        search(queries, codes, TOP, model=model, space="asymmetric").ids,
        search(queries, refined, TOP, model=model, space="asymmetric").ids,
    )
    return [recall_at(each, near) for each in ids]


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ({values.min():.4f} to {values.max():.4f})"
