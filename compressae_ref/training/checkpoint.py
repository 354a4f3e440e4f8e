"""The checkpoint file: everything that the remaining steps of a training depend on, and the data that it belongs to.

It is an ``.npz`` archive without pickle like the other files of this package, written atomically. It holds no rows:
those of the shuffle buffer are read again from the data. Only this package reads it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.files.model_file import json_array
from compressae_ref.files.npz import PathLike, write_npz
from compressae_ref.training.batches import ShuffledBatches
from compressae_ref.training.history import History, Record
from compressae_ref.training.relations import Relations
from compressae_ref.training.settings import TrainConfig, described
from compressae_ref.training.step import Losses, TrainState
from compressae_ref.unit_blocks import Rows

FORMAT = "compressae-checkpoint"

VERSIONS = {"reconstruct": 1, "distill": 2}
"""The version of the file for each objective. Version 2 also holds the similarity loss and the learned scales."""

N_FIELDS = {1: len(fields(Record)) - 1, 2: len(fields(Record))}
"""Numbers in a record of the history, by version."""

N_LOSSES = {1: len(Losses._fields) - 1, 2: len(Losses._fields)}
"""Losses of a step, by version."""

SAMPLED_ROWS = 64
"""Rows whose digest identifies the data: the first, the last, and others at even distances."""


@dataclass(frozen=True)
class DataFacts:
    """What a checkpoint states about the data."""

    rows: int
    d: int
    dtype: str
    """float64 for float64 data, else float32"""
    digest: str
    """SHA-256 of `SAMPLED_ROWS` rows"""

    def __str__(self) -> str:
        return f"{self.rows} rows, d = {self.d}, {self.dtype}"


def data_facts(rows: Rows) -> DataFacts:
    """Return the facts about data; it reads the sampled rows."""
    sample = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLED_ROWS, len(rows))).round().astype(np.int64))
    little = np.ascontiguousarray(rows.select(sample), rows.dtype.newbyteorder("<"))
    return DataFacts(len(rows), rows.d, rows.dtype.name, hashlib.sha256(little.tobytes()).hexdigest())


@dataclass
class Run:
    """A training between two steps."""

    config: TrainConfig
    """resolved"""
    state: TrainState
    batches: ShuffledBatches
    history: History
    start: str | None
    """digest of the model that it started from, if any"""
    data: DataFacts | None = None
    generator: dict[str, Any] | None = None
    """state of the generator before the training; this and ``data`` are None unless it is saved"""
    mean: Floats | None = None
    """the mean (d,) that is subtracted from the unit rows, if any; it follows from the data, so it is not saved"""
    mean_cosine: float = math.nan
    """mean cosine of two different rows"""
    relations: Relations | None = None
    """which rows are related, if that is known"""


def save_checkpoint(path: PathLike, run: Run) -> None:
    """Write a run to a file.

    Raises
    ------
    OSError
        If the file cannot be written. The previous file stays as it was.
    """
    state, place, fetch = run.state, run.batches.place(), run.history.backend.fetch
    if run.data is None:
        raise RuntimeError("expected a run that can be saved")
    meta = {
        "format": FORMAT,
        "version": (version := VERSIONS[run.config.objective]),
        "step": state.adam.step,
        "training": described(run.config),
        "start": run.start,
        "data": {field.name: getattr(run.data, field.name) for field in fields(DataFacts)},
        "generator": run.generator,
        "place": {"generator": place.generator, "left": place.left, "drawn": place.drawn},
        "seconds": time.perf_counter() - run.history.started,
    }
    if run.relations is not None:
        meta["relevance"] = run.relations.digest
    parts = {"": state.params, "m.": state.adam.m, "v.": state.adam.v}
    if run.history.best is not None:
        parts["best."] = run.history.best[0]
    arrays = {
        prefix + name: np.ascontiguousarray(fetch(array))
        for prefix, params in parts.items()
        for name, array in params.arrays().items()
    }
    arrays |= {"usage": state.usage, "blocks": place.blocks}
    if version > 1:
        arrays["scales"] = np.stack([state.scales.theta, state.scales.m, state.scales.v])
    records, n_fields, n_losses = map(astuple, run.history.records), N_FIELDS[version], N_LOSSES[version]
    arrays["records"] = np.array([record[:n_fields] for record in records], np.float64).reshape(-1, n_fields)
    arrays["losses"] = np.array([each[:n_losses] for each in run.history.losses], np.float64).reshape(-1, n_losses)
    write_npz(path, {**arrays, "meta": json_array({**meta, "digest": digest_of(arrays, meta)})})


def digest_of(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a checkpoint but for its digest."""
    sha = hashlib.sha256(json.dumps({**meta, "digest": None}, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        sha.update(little.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
