"""Training: `fit` feeds `train_step` from data and keeps its history. Nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_params, as_zero_rows
from compressae_ref.errors import DomainError, DTypeError
from compressae_ref.files.npz import PathLike
from compressae_ref.files.spool import spool_to_disk
from compressae_ref.model import Model
from compressae_ref.params import Params, init_params
from compressae_ref.row_source import RowSource
from compressae_ref.training.batches import held_out_rows
from compressae_ref.training.centering import centred_rows, mean_direction
from compressae_ref.training.checkpoint import Run, data_facts
from compressae_ref.training.checkpoint_schedule import Checkpoints
from compressae_ref.training.generator_state import generator_state
from compressae_ref.training.history import History, Record, record_steps, stored_history
from compressae_ref.training.kept_latents import most_used
from compressae_ref.training.relations import Relations, batches_of, digest_of, related_pairs, with_relevance
from compressae_ref.training.resume import Checkpoint, load_checkpoint
from compressae_ref.training.settings import (
    TrainConfig,
    described,
    given_settings,
    learning_rate,
    make_config,
    resolve,
    started_from,
)
from compressae_ref.training.step import Losses, init_state, train_step
from compressae_ref.unit_blocks import Rows, open_rows


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
    run: Run | None = field(default=None, repr=False, compare=False)
    """the training itself, for `model`"""

    def model(self) -> Model:
        """Return a copy of the current model in host memory. Call it in the callback: later steps change the model.

        It costs nothing unless it is called.
        """
        if self.run is None:
            raise DomainError("expected the progress of a training, got one that was made by hand", argument="run")
        return _model(self.run, self.run.state.params.map(self.run.history.backend.fetch).copy())


@dataclass(frozen=True)
class FitResult:
    """A trained `Model` with the history of its training."""

    model: Model
    history: list[Record]
    record: Record
    """the entry of the history that describes this model: the last one, or with ``patience`` the best"""
    mean_cosine: float
    """mean cosine of two different rows, of a sample of the rows; of all training rows with ``center``"""
    skipped: int = 0
    """number of zero rows that were left out"""
    other_cosine: float = math.nan
    """mean cosine of held-out rows with the reconstruction of another one; NaN if there are fewer than two"""


def fit(
    x: RowSource,
    config: TrainConfig | None = None,
    *,
    preset: str | None = None,
    serve: str | None = None,
    rng: np.random.Generator | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
    callback: Callable[[Progress], None] | None = None,
    checkpoint: PathLike | Checkpoints | None = None,
    every: float | None = None,
    resume: PathLike | None = None,
    start: Model | None = None,
    relevance: Any = None,
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
    serve : what the codes are for, in place of a preset (`settings.SERVE`): "sparse" or "both" for search with sparse
        queries, which also serves dense ones; "dense" for dense queries alone; "segments" for groups of items. None:
        "both" if there is no ``config``, ``preset`` or ``objective``
    rng : the only source of randomness; None creates one from ``config.seed``. With ``checkpoint`` or ``resume`` its
        bit generator must be one of NumPy's.
    zero_rows : "error", or "empty" or "skip" to leave zero rows out of training and validation (`checks.ZeroRows`).
        The model is the same, byte for byte, as without these rows in the data
    backend : "numpy", "numba" or "cuda"; the model is the same, byte for byte
    callback : called with a `Progress` after every step; an exception that it raises ends the training
    checkpoint : file from which ``resume`` can continue the training, or `Checkpoints`. It is replaced after every
        ``every`` minutes, and before the training ends early: on an exception of the callback, and on SIGINT, SIGTERM
        or SIGHUP, which wait for the end of the step if this is the main thread. It is not deleted at the end.
    every : minutes between two checkpoints; 0 writes one after every step. None: 10, or more if writing takes longer
        than 6 seconds, so that it costs at most 1 % of the time.
    resume : a checkpoint to continue from, on any backend; the model is the same, byte for byte, as without the
        interruption. ``x`` must be the same data. The checkpoint's settings apply: those that are given (of ``config``
        those that are not the defaults), ``rng`` and ``start`` must not differ from them. ``rows_per_block`` may.
    start : a model whose parameters are the initial values, for example when data have been added. The moments of Adam
        are zero. ``k`` and ``dtype`` are those of the model, and ``init`` is ignored. With fewer ``n_latents`` than
        the model has, those that the data use most are kept (R23). The digest of the model is stored in
        ``training["start"]``.
    relevance : pairs of row numbers of ``x`` whose codes should be near each other, integers (p, 2), or (p, 3) with
        grades, of which all above 0 count alike. They need ``objective="distill"``, and have the share
        ``relevance_weight`` in what the codes are trained for (`spec/distill.md`, section 5). Pairs with a row that is
        held out are not used. Batches then have up to ``batch_size`` rows from all over ``x``. The number of pairs is
        stored in ``training["relevance"]``. ``resume`` needs the same pairs again.

    Returns
    -------
    FitResult

    Raises
    ------
    ShapeError, DTypeError, DomainError
        For invalid data or settings, if the loss is no longer finite, and if the data or a setting differ from those
        of the checkpoint.
    FormatError
        If ``resume`` is not a checkpoint or is damaged.
    OSError
        Before the training, if ``checkpoint`` cannot be written or ``resume`` is missing.
    """
    kernels, left = get_backend(backend), to_train_on(zero_rows)
    given = given_settings(config, preset, settings, serve)
    saved = None if resume is None else load_checkpoint(resume)
    checkpoints = checkpoint if isinstance(checkpoint, Checkpoints | None) else Checkpoints(checkpoint, every)
    if checkpoints is not None:
        checkpoints.require_writable(*filter(None, [getattr(x, "filename", None)]))
    if start is not None and not isinstance(start, Model):
        raise DTypeError(f"expected a Model, got {type(start).__name__}", argument="start")
    with spool_to_disk(x) as source:
        rows = open_rows(source, kernels, d=None if start is None else start.params.d, zero_rows=left)
        pairs = None if relevance is None else related_pairs(relevance, rows)
        can_save = checkpoints is not None
        if saved is not None:
            run = _resume(saved, rows, given, rng, kernels, start, pairs, can_save)
        else:
            config = make_config(config, preset, settings, serve)
            run = _begin(rows, config, given, rng, kernels, start, pairs, can_save)
        params, record = _run(run, callback, checkpoints)
        other = run.history.other_cosine(params)
        return FitResult(_model(run, params), run.history.records, record, run.mean_cosine, rows.skipped, other)


def to_train_on(zero_rows: Any) -> ZeroRows:
    """Return how zero rows are read for training: a row without a direction is refused or left out."""
    return "error" if as_zero_rows(zero_rows) == "error" else "skip"


def _begin(
    rows: Rows,
    config: TrainConfig,
    given: Mapping[str, Any],
    rng: np.random.Generator | None,
    backend: Backend,
    start: Model | None,
    pairs: NDArray[np.int64] | None,
    can_save: bool,
) -> Run:
    """Return a run before its first step."""
    if start is not None:
        config = started_from(config, given, start.params.n_latents, start.k, start.params.dtype.name)
    config = resolve(with_relevance(config, pairs is not None), rows)
    config, rng = (config, np.random.default_rng(config.seed)) if rng is None else (replace(config, seed=None), rng)
    generator = generator_state(rng) if can_save else None
    held_out = held_out_rows(len(rows), config.validation_rows or 0, rng)
    relations = None if pairs is None else Relations(pairs, len(rows), held_out)
    rows.check()
    data = data_facts(rows) if can_save else None
    rows, mean, mean_cosine = _without_mean(rows, held_out, config, backend, start)
    drawn = batches_of(rows, relations, config, rng, held_out=held_out, resumable=can_save)
    if start is None:
        params = init_params(rows.d, config.n_latents or 0, rng, init=config.init, dtype=config.dtype or "float32")
    else:
        params = most_used(as_params(start.params), start.k, config.n_latents or 0, rows, held_out, backend)
    state = init_state(params, backend)
    history = History(config, backend, _validation_rows(rows, held_out, state.params))
    digest = None if start is None else start.digest
    return Run(config, state, drawn, history, digest, data, generator, mean, mean_cosine, relations)


def _resume(
    saved: Checkpoint,
    rows: Rows,
    given: Mapping[str, Any],
    rng: np.random.Generator | None,
    backend: Backend,
    start: Model | None,
    pairs: NDArray[np.int64] | None,
    can_save: bool,
) -> Run:
    """Return a run at the step of a checkpoint."""
    saved.require_data(rows)
    saved.require_relevance(None if pairs is None else digest_of(pairs))
    config = saved.require_settings(given, rows)
    saved.require_start(None if start is None else start.digest)
    rng = saved.generator(rng)
    generator = generator_state(rng)
    held_out = held_out_rows(len(rows), config.validation_rows or 0, rng)
    relations = None if pairs is None else Relations(pairs, len(rows), held_out)
    rows, mean, mean_cosine = _without_mean(rows, held_out, config, backend, start)
    state = saved.state(config, backend)
    history = History(config, backend, _validation_rows(rows, held_out, state.params))
    saved.restore_history(history, state.adam.step)
    at: dict[str, Any] = {"step": state.adam.step, "place": saved.place()}
    drawn = batches_of(rows, relations, config, rng, held_out=held_out, resumable=can_save, **at)
    start_digest = saved.meta["start"]
    return Run(config, state, drawn, history, start_digest, saved.data, generator, mean, mean_cosine, relations)


def _without_mean(
    rows: Rows, held_out: NDArray[np.int64], config: TrainConfig, backend: Backend, start: Model | None
) -> tuple[Rows, Floats | None, float]:
    """Return the rows to train on, the mean that was subtracted from them or None, and the mean cosine of pairs."""
    if start is not None and (config.center or start.params.mean is not None):
        raise DomainError(
            "expected a model without a mean, and center=False, to start from, got "
            + ("center=True" if start.params.mean is None else "a centred model"),
            argument="start",
            hint="train a centred model from the beginning: data that have grown have another mean",
        )
    direction = mean_direction(rows, held_out, config, backend)
    if not config.center:
        return rows, None, direction.mean_cosine()
    mean = direction.mean().astype(config.dtype)
    return centred_rows(rows, mean, backend), mean, direction.mean_cosine()


def _run(
    run: Run, callback: Callable[[Progress], None] | None, checkpoints: Checkpoints | None
) -> tuple[Params, Record]:
    """Run the remaining steps; return the last parameters, or with ``patience`` those of the best record, and it."""
    config, state, history = run.config, run.state, run.history
    steps, record_at = config.steps or 0, set(record_steps(config))
    with nullcontext() if checkpoints is None else checkpoints.saving(run):
        for step in range(state.adam.step + 1, steps + 1):
            if history.stale >= (config.patience or math.inf):
                break
            lr = learning_rate(config, step - 1, steps)
            losses = _step(run, lr)
            record = history.record(state, step, lr) if step in record_at else None
            with nullcontext() if checkpoints is None else checkpoints.between_steps(run):
                if callback is not None:
                    callback(Progress(step, steps, losses, record, run))
    return history.best or (state.params.map(history.backend.fetch), history.records[-1])


def _step(run: Run, lr: float) -> Losses:
    """Run one step on the next batch, and keep its losses for the next record."""
    state, config = run.state, run.config
    batch = next(run.batches)
    with np.errstate(all="ignore"):  # the loss is checked below
        losses = train_step(state, batch, config, run.history.backend, lr, run.batches.related)
    if not math.isfinite(losses.loss):
        raise DomainError(
            f"expected a finite loss, got {losses.loss} in step {state.adam.step} of {config.steps}",
            argument="fit",
            hint="try a lower lr",
        )
    run.history.losses.append(losses)
    return losses


def _model(run: Run, params: Params) -> Model:
    """Return a model with these parameters, which are in host memory and are changed in place."""
    reference.renormalize(params.W_dec)  # "before_step" ends with atoms that are one step from unit norm
    training = described(run.config) | ({} if run.start is None else {"start": run.start})
    if run.relations is not None:
        training["relevance"] = run.relations.n_pairs
    training["history"] = stored_history(run.history.records, run.config)
    return Model(as_params(replace(params, mean=run.mean)), run.config.k, training)


def _validation_rows(rows: Rows, held_out: NDArray[np.int64], params: Params) -> Floats:
    if not len(held_out):
        return np.empty((0, params.d), params.dtype)
    x_unit: Floats = reference.unit_rows(rows.select(held_out), params.dtype)
    return x_unit
