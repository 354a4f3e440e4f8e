"""Training: `fit` feeds `train_step` from data and keeps its history. Nothing here prints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import as_params
from compressae_ref.errors import DomainError
from compressae_ref.files.spool import spool_to_disk
from compressae_ref.model import Model
from compressae_ref.params import Params, init_params
from compressae_ref.row_source import RowSource
from compressae_ref.training.batches import batches, held_out_rows
from compressae_ref.training.settings import TrainConfig, described, learning_rate, make_config, resolve
from compressae_ref.training.step import Losses, TrainState, init_state, train_step
from compressae_ref.unit_blocks import Rows, open_rows


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


@dataclass(frozen=True)
class Progress:
    """The argument of the callback of `fit`, after every step."""

    step: int
    """steps completed"""
    steps: int
    """total steps"""
    losses: Losses
    """losses of this step"""
    record: Record | None
    """the new entry of the history, if this step has one"""


@dataclass(frozen=True)
class FitResult:
    """A trained `Model` with the history of its training."""

    model: Model
    history: list[Record]
    record: Record
    """the entry of the history that describes this model: the last one, or with ``patience`` the best"""


def fit(
    x: RowSource,
    config: TrainConfig | None = None,
    *,
    preset: str | None = None,
    rng: np.random.Generator | None = None,
    backend: str | Backend | None = None,
    callback: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> FitResult:
    """Train a model on embeddings.

    Parameters
    ----------
    x : (n, d) array or memory-mapped array, or any object with a length that gives slices of rows; float16, float32 or
        float64, at any scale. It is read in blocks: once to check every row, then to fill a buffer of ``buffer_rows``
        rows, or of one batch if that is more. A source that can only be read in sequence is first copied to a
        temporary file. With backend="cuda" it may be an array on the device, where batches are gathered.
    config, preset, settings : a `TrainConfig`, a name in `settings.PRESETS`, single settings; later ones override
        earlier ones
    rng : the only source of randomness; None creates one from ``config.seed``
    backend : "numpy", "numba" or "cuda"; the model is the same, byte for byte
    callback : called with a `Progress` after every step; an exception that it raises ends the training

    Returns
    -------
    FitResult

    Raises
    ------
    ShapeError, DTypeError, DomainError
        For invalid data or settings, and if the loss is no longer finite.
    """
    kernels = get_backend(backend)
    with spool_to_disk(x) as source:
        return _fit(open_rows(source, kernels), make_config(config, preset, settings), rng, kernels, callback)


def _fit(
    rows: Rows,
    config: TrainConfig,
    rng: np.random.Generator | None,
    backend: Backend,
    callback: Callable[[Progress], None] | None,
) -> FitResult:
    config = resolve(config, rows)
    config, rng = (config, np.random.default_rng(config.seed)) if rng is None else (replace(config, seed=None), rng)
    held_out = held_out_rows(len(rows), config.validation_rows or 0, rng)
    rows.check()
    drawn = batches(rows, config.batch_size, rng, held_out, config.buffer_rows)
    params = init_params(rows.d, config.n_latents or 0, rng, init=config.init, dtype=config.dtype or "float32")
    state = init_state(params, backend)
    history = _History(config, backend, _validation_rows(rows, held_out, state.params))
    params, record = _run(state, drawn, config, history, callback)
    return FitResult(Model(as_params(params), config.k, described(config)), history.records, record)


def _run(
    state: TrainState,
    batches: Iterator[Floats],
    config: TrainConfig,
    history: _History,
    callback: Callable[[Progress], None] | None,
) -> tuple[Params, Record]:
    """Run all steps; return the last parameters, or with ``patience`` those of the best record, and that record."""
    steps = config.steps or 0
    record_at = set(np.linspace(0, steps, min(config.records, steps) + 1).round().astype(int).tolist())
    for step in range(1, steps + 1):
        lr = learning_rate(config, step - 1, steps)
        with np.errstate(all="ignore"):  # the loss is checked below
            losses = train_step(state, next(batches), config, history.backend, lr)
        if not math.isfinite(losses.loss):
            raise DomainError(
                f"expected a finite loss, got {losses.loss} in step {step} of {steps}",
                argument="fit",
                hint="try a lower lr",
            )
        history.losses.append(losses)
        record = history.record(state, step, lr) if step in record_at else None
        if callback is not None:
            callback(Progress(step, steps, losses, record))
        if history.stale >= (config.patience or math.inf):
            break
    params, kept = history.best or (state.params.map(history.backend.fetch), history.records[-1])
    reference.renormalize(params.W_dec)  # "before_step" ends with atoms that are one step from unit norm
    return params, kept


class _History:
    """The records of a run, the numbers for the next one, and with ``patience`` the best parameters so far."""

    def __init__(self, config: TrainConfig, backend: Backend, validation: Floats) -> None:
        self.config, self.backend, self.validation = config, backend, validation
        self.records: list[Record] = []
        self.losses: list[Losses] = []
        self.started = time.perf_counter()
        self.best_cosine, self.stale = -math.inf, 0
        self.best: tuple[Params, Record] | None = None

    def record(self, state: TrainState, step: int, lr: float) -> Record:
        """Append a record of the steps since the last one, and reset the counters."""
        rows = len(self.losses) * self.config.batch_size
        seconds = time.perf_counter() - self.started
        cosine = self._validation_cosine(state.params)
        loss_k, loss_aux = (
            float(np.mean([getattr(each, name) for each in self.losses])) for name in ("loss_k", "loss_aux")
        )
        dead, top = int((state.usage == 0).sum()), float(state.usage.max() / rows)
        self.records.append(Record(step, loss_k, loss_aux, cosine, dead, top, rows / max(seconds, 1e-9), lr))
        self._keep_best(state.params, self.records[-1])
        self.losses, self.started = [], time.perf_counter()
        state.usage[:] = 0
        return self.records[-1]

    def _keep_best(self, params: Params, record: Record) -> None:
        self.stale += 1
        if self.config.patience is not None and record.validation_cosine > self.best_cosine:
            self.best_cosine, self.stale = record.validation_cosine, 0
            self.best = (params.map(self.backend.fetch).copy(), record)

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


def _validation_rows(rows: Rows, held_out: NDArray[np.int64], params: Params) -> Floats:
    if not len(held_out):
        return np.empty((0, params.d), params.dtype)
    x_unit: Floats = reference.unit_rows(rows.select(held_out), params.dtype)
    return x_unit
