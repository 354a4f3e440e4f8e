"""The history of a training: records at even distances, and the best parameters so far."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

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

    def _mean_cosine(self, params: Params) -> float:
        cosines = []
        for start in range(0, len(self.validation), self.config.rows_per_block):
            x_unit = self.validation[start : start + self.config.rows_per_block]
            codes = self.backend.encode(x_unit, params.W_enc, params.b_enc, self.config.k)
            cosines.append(reference.cosine(x_unit, self.backend.decode(codes, params.W_dec)))
        return float(np.concatenate(cosines).mean(dtype=np.float64)) if cosines else math.nan
