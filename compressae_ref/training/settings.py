"""Training settings: defaults, presets, and values derived from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from compressae_ref.checks import as_integer, as_k, as_real
from compressae_ref.errors import DomainError
from compressae_ref.model import AUX_WEIGHT
from compressae_ref.params import Init
from compressae_ref.training.batches import BUFFER_ROWS
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, Rows

RELEVANCE_WEIGHT = 0.1
"""Default of ``relevance_weight``, if there are relations."""


def _setting(default: Any, text: str) -> Any:
    """Declare a setting with its default and its description, which ``compressae-ref train --help`` prints."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """The settings of `train.fit`.

    `resolve` replaces None with a value that depends on the data, as each description says.
    """

    n_latents: int | None = _setting(
        None, "number of latents h (default: the largest power of two up to a quarter of the rows, from 256 to 4096)"
    )
    k: int = _setting(32, "entries stored per code")
    init: Init = _setting(  # noqa: RUF009  it returns a field
        "tied", "initial weights; tied: W_enc starts as the transpose of W_dec; original: both are random (rule R9)"
    )
    batch_size: int = _setting(128, "rows per step; if there are fewer rows, all of them")
    steps: int | None = _setting(None, "Adam steps (default: 30 passes over the data, from 600 to 20,000 steps)")
    lr: float = _setting(3e-2, "peak learning rate of Adam")
    warmup_steps: int = _setting(0, "steps over which the learning rate rises linearly from zero")
    decay: Literal["none", "linear", "cosine"] = _setting(
        "linear", "how the learning rate falls to zero after the warm-up; none: it stays constant"
    )
    beta1: float = _setting(0.9, "decay rate of Adam's first moment")
    beta2: float = _setting(0.999, "decay rate of Adam's second moment")
    eps: float = _setting(1e-8, "term that Adam adds outside the bias-corrected root")
    aux_weight: float = _setting(AUX_WEIGHT, "weight of the loss at k_aux = min(4k, h)")
    objective: Literal["reconstruct", "distill"] = _setting(
        "reconstruct",
        "the loss; reconstruct: the paper's; distill: also the difference between cosines of codes and dense cosines, "
        "for search in sparse space",
    )
    similarity_weight: float = _setting(1.0, "weight of that difference; only with objective distill")
    temperature: float = _setting(
        0.2, "dense cosines are divided by it; less weights near neighbours more; only with objective distill"
    )
    relevance_weight: float | None = _setting(
        None,
        "share of related rows in the target of the codes' cosines, at most 1; only with relevance "
        f"(default: {RELEVANCE_WEIGHT})",
    )
    renormalize: Literal["after_step", "before_step"] = _setting(
        "after_step",
        "when atoms are scaled to unit rows; before_step, as in May 2025: scale, project the gradient, step (R8)",
    )
    validation_rows: int | None = _setting(
        None, "rows held out to measure the validation cosine (default: one in twenty, at most 2,000)"
    )
    records: int = _setting(20, "entries of the history, evenly spaced over the steps")
    patience: int | None = _setting(
        None,
        "stop if the validation cosine has not risen for this many records, of which a training has 20 by default, "
        "and return the best model (default: train for all steps)",
    )
    seed: int | None = _setting(0, "seed of the random generator")  # None if a generator is passed instead
    dtype: Literal["float32", "float64"] | None = _setting(
        None, "dtype of the model (default: float64 for float64 data, else float32)"
    )
    center: bool = _setting(
        False,
        "subtract the mean of the unit rows before encoding, and take it into account in scores; for embeddings whose "
        "mean cosine of pairs is above 0.5 (inspect reports it)",
    )
    buffer_rows: int = _setting(BUFFER_ROWS, "rows that are shuffled together")
    rows_per_block: int = _setting(
        ROWS_PER_BLOCK,
        "rows whose pre-activations are in memory at once; it changes memory and speed, but no bit of the model",
    )


CHOICES = {
    "objective": ("reconstruct", "distill"),
    "init": ("original", "tied"),
    "decay": ("none", "linear", "cosine"),
    "renormalize": ("after_step", "before_step"),
    "dtype": (None, "float32", "float64"),
    "center": (False, True),
}
"""The values that these settings allow."""

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "n_latents": 4096,
        "k": 32,
        "batch_size": 100_000,
        "steps": 500,
        "init": "original",
        "lr": 1e-2,
        "decay": "none",
    },
}
"""Groups of settings by name. "paper" has the settings of the paper and its poster. They do not publish a learning
rate, so that one is ours (``spec/evidence.md``)."""


SERVE: dict[str, dict[str, Any]] = {
    "both": {"objective": "distill", "temperature": 0.2, "batch_size": 256, "lr": 5e-2, "beta2": 0.99},
    "dense": {"batch_size": 512, "lr": 1e-2},
    "segments": {"n_latents": 512, "k": 8, "batch_size": 512, "center": True},
}
SERVE["sparse"] = SERVE["both"]
"""Groups of settings by what the codes will serve, queries or segments. For sparse queries none are better
than those for both (``spec/evidence.md``)."""

DEFAULT_SERVE = "both"


def make_config(
    config: TrainConfig | None, preset: str | None, settings: Mapping[str, Any], serve: str | None = None
) -> TrainConfig:
    """Return a configuration, overridden first by a preset or a group of `SERVE`, and then by single settings.

    Without a configuration, a preset and an objective, the group is `DEFAULT_SERVE`.

    Raises
    ------
    DomainError
        If the preset, the group or a setting is unknown, or if there are a preset and a group.
    """
    if config is None and preset is None and serve is None and "objective" not in settings:
        serve = DEFAULT_SERVE
    return _changed(config, _named(preset, serve, settings))


def given_settings(
    config: TrainConfig | None, preset: str | None, settings: Mapping[str, Any], serve: str | None = None
) -> dict[str, Any]:
    """Return the settings that the caller chose: those that are named or differ from the defaults, and are not None.

    Raises
    ------
    DomainError
        As `make_config`.
    """
    named, default = _named(preset, serve, settings), asdict(TrainConfig())
    return {
        name: value
        for name, value in asdict(_changed(config, named)).items()
        if value is not None and (name in named or value != default[name])
    }


def _named(preset: str | None, serve: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group, overridden by single ones."""
    for name, value, known in (("preset", preset, PRESETS), ("serve", serve, SERVE)):
        if value is not None and value not in known:
            raise DomainError(f"expected one of {', '.join(known)}, got {value!r}", argument=name)
    if preset is not None and serve is not None:
        raise DomainError(f"expected a preset or serve, got preset={preset!r} and serve={serve!r}", argument="serve")
    return {**PRESETS.get(preset or "", {}), **SERVE.get(serve or "", {}), **settings}


def _changed(config: TrainConfig | None, named: Mapping[str, Any]) -> TrainConfig:
    known = [one.name for one in fields(TrainConfig)]
    for name in named:
        if name not in known:
            raise DomainError(f"expected a setting ({', '.join(known)}), got {name!r}", argument="fit")
    return replace(config or TrainConfig(), **named)


def started_from(config: TrainConfig, given: Mapping[str, Any], n_latents: int, k: int, dtype: str) -> TrainConfig:
    """Return the settings of a training that starts from a model with these sizes, of which it may keep fewer latents.

    Raises
    ------
    DomainError
        If one of the given settings differs from the model.
    """
    kept = given.get("n_latents", n_latents)
    if isinstance(kept, int | np.integer) and kept > n_latents:
        raise DomainError(
            f"expected at most the {n_latents} latents of the model to start from, got {kept}",
            argument="n_latents",
            hint="leave it out, or train without start",
        )
    of_model: dict[str, Any] = {"n_latents": kept, "k": k, "dtype": dtype}
    for name, value in of_model.items():
        if given.get(name, value) != value:
            raise DomainError(
                f"expected {value!r} as in the model to start from, got {given[name]!r}",
                argument=name,
                hint="leave it out, or train without start",
            )
    return replace(config, **of_model)


def resolve(config: TrainConfig, rows: Rows) -> TrainConfig:
    """Check a configuration and replace every None but ``patience`` by a value for these rows."""
    n = len(rows)
    config = replace(config, n_latents=default_latents(n) if config.n_latents is None else config.n_latents)
    config = _with_plain_numbers(config)
    for name, choices in CHOICES.items():
        value = getattr(config, name)
        if value not in choices or isinstance(value, bool) != (name == "center"):  # 1 == True
            raise DomainError(f"expected one of {choices}, got {getattr(config, name)!r}", argument=name)
    validation_rows = min(n // 20, 2000) if config.validation_rows is None else config.validation_rows
    if not 0 <= validation_rows < n:
        raise DomainError(
            f"expected at least 0 and fewer than the {n} rows of the data, got {validation_rows}",
            argument="validation_rows",
        )
    if config.patience is not None and validation_rows == 0:
        raise DomainError(
            "expected validation_rows > 0, which patience needs, got validation_rows = 0", argument="patience"
        )
    batch_size = min(config.batch_size, n - validation_rows)
    _require_fitting_objective(config, batch_size)
    return replace(
        config,
        validation_rows=validation_rows,
        batch_size=batch_size,
        steps=default_steps(n, batch_size) if config.steps is None else config.steps,
        dtype=config.dtype or ("float64" if rows.dtype == np.float64 else "float32"),
    )


def _require_fitting_objective(config: TrainConfig, batch_size: int) -> None:
    """Raise DomainError for settings that have no effect with the objective, or that it cannot be computed with."""
    if config.objective == "reconstruct":
        for name in ("similarity_weight", "temperature"):
            if (got := getattr(config, name)) != getattr(TrainConfig, name):
                raise DomainError(
                    f"expected objective='distill' with {name} = {got}, got objective='reconstruct'",
                    argument=name,
                    hint="leave it out, or change the objective",
                )
        return
    if config.temperature < LEAST_TEMPERATURE:
        raise DomainError(f"expected at least {LEAST_TEMPERATURE}, got {config.temperature}", argument="temperature")
    if batch_size > MOST_COMPARED_ROWS:
        raise DomainError(
            f"expected batches of at most {MOST_COMPARED_ROWS} rows with objective='distill', got {batch_size}",
            argument="batch_size",
            hint="for larger batches use objective='reconstruct'",
        )


MOST_COMPARED_ROWS = 8192
"""Rows per step with ``objective="distill"``: its arrays (n, n) then have 256 MB each in float32 (R22)."""

LEAST_TEMPERATURE = 1e-3
"""Lower temperatures compare a row with its nearest one alone, and would soon overflow."""

MOST_SEED = 2**64 - 1

_INTEGERS = {
    **dict.fromkeys(("n_latents", "batch_size", "records", "buffer_rows", "rows_per_block", "steps", "patience"), 1),
    **dict.fromkeys(("warmup_steps", "validation_rows"), 0),
}
"""Settings that are integers, and their smallest values."""

_REAL = {
    **dict.fromkeys(("lr", "aux_weight", "similarity_weight", "temperature"), math.inf),
    **dict.fromkeys(("beta1", "beta2", "eps"), 1.0),
}
"""Settings that are real numbers, and their upper bounds (excluded)."""


def _with_plain_numbers(config: TrainConfig) -> TrainConfig:
    """Convert all numbers to Python's int and float, as model files store them, and check their ranges."""
    plain: dict[str, Any] = {
        name: as_integer(value, name, least)
        for name, least in _INTEGERS.items()
        if (value := getattr(config, name)) is not None or getattr(TrainConfig, name) is not None
    }
    for name, below in _REAL.items():
        zero_too = name in ("beta1", "aux_weight", "similarity_weight")
        plain[name] = as_real(getattr(config, name), name, below, zero_too=zero_too)
    if config.relevance_weight is not None:
        above_one = math.nextafter(1, 2)  # the bound is excluded
        plain["relevance_weight"] = as_real(config.relevance_weight, "relevance_weight", above_one)
    if config.seed is not None:
        plain["seed"] = as_integer(config.seed, "seed", 0, MOST_SEED)
    return replace(config, **plain, k=as_k(config.k, plain["n_latents"]))


def described(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that a model file stores: all but ``rows_per_block``, which does not affect the model.

    ``center`` is stored if it is True, and ``relevance_weight`` if there is one. So other files do not change.
    """
    settings = asdict(config)
    del settings["rows_per_block"]
    if config.objective == "reconstruct":
        for name in ("objective", "similarity_weight", "temperature"):
            del settings[name]
    if not config.center:
        del settings["center"]
    if config.relevance_weight is None:
        del settings["relevance_weight"]
    return settings


def default_steps(n: int, batch_size: int) -> int:
    """Return the default number of steps for n rows: 30 passes, clipped to 600 and 20,000 steps."""
    return int(np.clip(30 * n // batch_size, 600, 20_000))


def default_latents(n: int) -> int:
    """Return the default number of latents for n rows: the largest power of two that is at most n / 4.

    It is at least 256, and at most the paper's 4,096. With more latents the model would overfit so few rows.
    """
    return 1 << int(np.clip(np.log2(max(n, 1) / 4), 8, 12))


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0): a linear warm-up, then the decay of the configuration."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    factors = {"none": 1.0, "linear": 1 - done, "cosine": (1 + _cosine(math.pi * done)) / 2}
    return config.lr * factors[config.decay]


def _cosine(angle: float) -> float:
    """Return the cosine of an angle from 0 to π.

    It is computed from the power series, because the last bit of ``math.cos`` differs between platforms.
    """
    total = term = 1.0
    for i in range(1, 32, 2):
        term *= -angle * angle / (i * (i + 1))
        total += term
    return total
