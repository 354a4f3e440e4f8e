"""The history of a training: records at even distances, and the best parameters so far."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.params import Params
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import Losses, TrainState


@dataclass(frozen=True)
class Record:
    """One entry of the history. All fields but the validation cosine describe the steps since the previous record."""

    step: int
    loss_k: float
    loss_aux: float
    validation_cosine: float
    """mean cosine of held-out rows with their reconstructions at k; NaN if no row is held out"""
    dead_latents: int
    """number of latents that no row stored"""
    top_latent_share: float
    """share of the rows that stored the most used latent"""
    rows_per_second: float
    lr: float
    loss_similarity: float = 0.0
    """similarity loss of ``objective="distill"``"""


def record_steps(config: TrainConfig) -> list[int]:
    """Return the steps of a resolved configuration after which a record is made, ascending."""
    steps = config.steps or 0
    evenly = np.linspace(0, steps, min(config.records, steps) + 1).round().astype(int)
    return [step for step in np.unique(evenly).tolist() if step > 0]


STORED = ("step", "loss", "validation_cosine", "dead_latents", "top_latent_share", "lr")
"""The numbers of a record in a model file, in this order."""

MOST_STORED = 40
"""Most records in a model file: the first, the best, the last, and others at even distances."""

DECIMALS = 6
"""Decimals of losses, cosines and shares in a model file. The order in which losses are summed is not specified, so
their last bits may differ between machines; the file must not."""


def stored_history(records: Sequence[Record], config: TrainConfig) -> list[list[Any]]:
    """Return the history as a model file stores it: rows of `STORED`; a cosine that was not measured is None."""
    places = np.unique(np.linspace(0, len(records) - 1, min(MOST_STORED - 1, len(records))).round().astype(int))
    best = max(range(len(records)), key=lambda i: _cosine_or_less(records[i]), default=0)
    return [_stored(records[i], config) for i in sorted({*places.tolist(), best} if records else ())]


def _cosine_or_less(record: Record) -> float:
    return -math.inf if math.isnan(record.validation_cosine) else record.validation_cosine


def read_history(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stored history of a model as records by name; [] if the model has none that can be read."""
    rows = training.get("history")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(STORED) for row in rows):
        return []
    records = [dict(zip(STORED, row, strict=True)) for row in rows]
    return records if all(map(_is_record, records)) else []


def _is_record(record: dict[str, Any]) -> bool:
    return all(
        isinstance(value, int | float) or (value is None and name == "validation_cosine")
        for name, value in record.items()
    )


def _stored(record: Record, config: TrainConfig) -> list[Any]:
    similarity = config.similarity_weight * record.loss_similarity if config.objective == "distill" else 0.0
    loss = record.loss_k + config.aux_weight * record.loss_aux + similarity
    cosine = None if math.isnan(record.validation_cosine) else round(record.validation_cosine, DECIMALS)
    share = round(record.top_latent_share, DECIMALS)
    return [record.step, round(loss, DECIMALS), cosine, record.dead_latents, share, float(f"{record.lr:.6g}")]


class History:
    """The records of a run, the numbers for the next one, and with ``patience`` the best parameters so far."""

    def __init__(self, config: TrainConfig, backend: Backend, validation: Floats) -> None:
        self.config, self.backend, self.validation = config, backend, validation
        self.records: list[Record] = []
        self.losses: list[Losses] = []
        self.started = time.perf_counter()
        self.best_cosine, self.stale = -math.inf, 0
        self.best: tuple[Params, Record] | None = None

    def restore(self, records: Sequence[Record], losses: Sequence[Losses], best: Params | None, seconds: float) -> None:
        """Restore what a run had after a step: the seconds are those since its last record."""
        self.records, self.losses, self.started = [*records], [*losses], time.perf_counter() - seconds
        for record in records:
            if self._is_best(record) and best is not None:
                self.best = (best, record)

    def record(self, state: TrainState, step: int, lr: float) -> Record:
        """Append a record of the steps since the last one, and reset the counters."""
        rows = int(state.usage.sum()) // self.config.k
        seconds = time.perf_counter() - self.started
        cosine = self._validation_cosine(state.params)
        loss_k, loss_aux, similarity = (
            float(np.mean([getattr(each, name) for each in self.losses]))
            for name in ("loss_k", "loss_aux", "loss_similarity")
        )
        dead, top = int((state.usage == 0).sum()), float(state.usage.max() / rows)
        record = Record(step, loss_k, loss_aux, cosine, dead, top, rows / max(seconds, 1e-9), lr, similarity)
        self.records.append(record)
        if self._is_best(record):
            self.best = (state.params.map(self.backend.fetch).copy(), record)
        self.losses, self.started = [], time.perf_counter()
        state.usage[:] = 0
        return record

    def _is_best(self, record: Record) -> bool:
        """Count a record, and return whether it is the best so far. Without ``patience`` none is."""
        self.stale += 1
        if self.config.patience is None or not record.validation_cosine > self.best_cosine:
            return False
        self.best_cosine, self.stale = record.validation_cosine, 0
        return True

    def _validation_cosine(self, params: Params) -> float:
        with np.errstate(all="ignore"):  # NaN after a failed step: `as_params` refuses the model
            return self._mean_cosine(params)

    def other_cosine(self, params: Params) -> float:
        """Return the mean cosine of held-out rows with the reconstruction of another one; NaN for fewer than two."""
        with np.errstate(all="ignore"):
            return self._mean_cosine(self.backend.place_params(params), of_others=True)

    def _mean_cosine(self, params: Params, of_others: bool = False) -> float:
        """Return the mean cosine of rows with their reconstructions, or with those of rows half a block away."""
        cosines = []
        for start in range(0, len(self.validation), self.config.rows_per_block):
            x_unit = self.validation[start : start + self.config.rows_per_block]
            codes = self.backend.encode(x_unit, params.W_enc, params.b_enc, self.config.k)
            x_hat, shift = self.backend.decode(codes, params.W_dec), len(x_unit) // 2 if of_others else 0
            if shift or not of_others:
                cosines.append(reference.cosine(x_unit, np.roll(x_hat, shift, axis=0) if shift else x_hat))
        return float(np.concatenate(cosines).mean(dtype=np.float64)) if cosines else math.nan
