"""The settings of training: defaults, named presets, and what is decided from the data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from compressae_ref.checks import as_k, as_real, as_whole
from compressae_ref.errors import DomainError
from compressae_ref.model import AUX_WEIGHT
from compressae_ref.params import Init
from compressae_ref.training.batches import BUFFER_ROWS
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, Rows


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of `train.fit`. None means: decided from the data by `resolve`, as the comment says."""

    n_latents: int | None = None
    """h; None: `default_latents`"""
    k: int = 32
    """stored entries per code"""
    init: Init = "tied"
    """initial values: "original" or "tied" (R9)"""
    batch_size: int = 128
    """rows per step (all there are, if that is fewer)"""
    steps: int | None = None
    """Adam steps; None: `default_steps`"""
    lr: float = 3e-2
    """learning rate of Adam, at its height"""
    warmup_steps: int = 0
    """steps over which the learning rate rises from zero in a straight line"""
    decay: Literal["none", "linear", "cosine"] = "linear"
    """how the learning rate falls to zero after the warm-up: not, in a straight line, or by half a cosine"""
    beta1: float = 0.9
    """decay rate of Adam's first moment"""
    beta2: float = 0.999
    """decay rate of Adam's second moment"""
    eps: float = 1e-8
    """added by Adam outside the bias-corrected root"""
    aux_weight: float = AUX_WEIGHT
    """weight of the loss at k_aux = min(4k, h)"""
    renormalize: Literal["after_step", "before_step"] = "after_step"
    """when atoms become unit rows; "before_step", of May 2025: renormalise, project the gradient, step (R8)"""
    validation_rows: int | None = None
    """rows held out; None: one in twenty, at most 2,000"""
    records: int = 20
    """entries of the history, evenly spaced over the steps"""
    patience: int | None = None
    """stop when the validation cosine has not risen for so many records, and return the best; None: never"""
    seed: int | None = 0
    """of the random generator; None where a generator was passed in"""
    dtype: Literal["float32", "float64"] | None = None
    """of the model; None: float64 for float64 data, else float32"""
    buffer_rows: int = BUFFER_ROWS
    """rows that are shuffled with each other"""
    rows_per_block: int = ROWS_PER_BLOCK
    """rows whose pre-activations are in memory at once: changes memory and speed, and not one bit"""


CHOICES = {
    "init": ("original", "tied"),
    "decay": ("none", "linear", "cosine"),
    "renormalize": ("after_step", "before_step"),
    "dtype": (None, "float32", "float64"),
}
"""What the settings that are words may be."""

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
"""Named settings. "paper": the paper's and its poster's; its learning rate is nowhere published, this one is ours
(``spec/evidence.md``)."""


def make_config(config: TrainConfig | None, preset: str | None, settings: dict[str, Any]) -> TrainConfig:
    """A configuration, overridden by a preset and then by single settings; unknown names are errors."""
    if preset is not None and preset not in PRESETS:
        raise DomainError(f"expected one of {', '.join(PRESETS)}, got {preset!r}", argument="preset")
    known = [each.name for each in fields(TrainConfig)]
    for name in settings:
        if name not in known:
            raise DomainError(f"expected settings out of {', '.join(known)}, got {name!r}", argument="fit")
    return replace(config or TrainConfig(), **{**PRESETS.get(preset or "", {}), **settings})


def resolve(config: TrainConfig, rows: Rows) -> TrainConfig:
    """The configuration with everything checked and every None decided for these data (``patience`` stays)."""
    n = len(rows)
    config = replace(config, n_latents=default_latents(n) if config.n_latents is None else config.n_latents)
    config = _with_plain_numbers(config)
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise DomainError(f"expected one of {choices}, got {getattr(config, name)!r}", argument=name)
    validation_rows = min(n // 20, 2000) if config.validation_rows is None else config.validation_rows
    if not 0 <= validation_rows < n:
        raise DomainError(
            f"expected from 0 to less than the {n} rows of the data, got {validation_rows}", argument="validation_rows"
        )
    if config.patience is not None and validation_rows == 0:
        raise DomainError("expected validation rows to judge by, got validation_rows = 0", argument="patience")
    batch_size = min(config.batch_size, n - validation_rows)
    return replace(
        config,
        validation_rows=validation_rows,
        batch_size=batch_size,
        steps=default_steps(n, batch_size) if config.steps is None else config.steps,
        dtype=config.dtype or ("float64" if rows.dtype == np.float64 else "float32"),
    )


MOST_SEED = 2**64 - 1

_WHOLE = {
    **dict.fromkeys(("n_latents", "batch_size", "records", "buffer_rows", "rows_per_block", "steps", "patience"), 1),
    **dict.fromkeys(("warmup_steps", "validation_rows"), 0),
}
"""Settings that are whole numbers, and the least that each may be."""

_REAL = {"lr": math.inf, "beta1": 1.0, "beta2": 1.0, "eps": 1.0, "aux_weight": math.inf}
"""Settings that are numbers from 0, and what each must be below."""


def _with_plain_numbers(config: TrainConfig) -> TrainConfig:
    """The same settings as Python's own numbers, each within its range: a model file remembers them."""
    plain: dict[str, Any] = {
        name: as_whole(value, name, least)
        for name, least in _WHOLE.items()
        if (value := getattr(config, name)) is not None
    }
    for name, below in _REAL.items():
        zero_too = name in ("beta1", "aux_weight")
        plain[name] = as_real(getattr(config, name), name, below, zero_too=zero_too)
    if config.seed is not None:
        plain["seed"] = as_whole(config.seed, "seed", 0, MOST_SEED)
    return replace(config, **plain, k=as_k(config.k, plain["n_latents"]))


def described(config: TrainConfig) -> dict[str, Any]:
    """The settings that a model remembers: all but the one that cannot change a bit of it."""
    settings = asdict(config)
    del settings["rows_per_block"]
    return settings


def default_steps(n: int, batch_size: int) -> int:
    """Steps for n rows: 30 passes, but at least 600 and at most 20,000 steps."""
    return int(np.clip(30 * n // batch_size, 600, 20_000))


def default_latents(n: int) -> int:
    """Latents for n rows: the paper's 4,096, or the largest power of two that leaves four rows to each, at least 256.

    More latents than the rows can tell apart reconstruct those rows and nothing else.
    """
    return 1 << int(np.clip(np.log2(max(n, 1) / 4), 8, 12))


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of a step (from 0): warm-up in a straight line, then the decay of the configuration."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    factors = {"none": 1.0, "linear": 1 - done, "cosine": (1 + _cosine(math.pi * done)) / 2}
    return config.lr * factors[config.decay]


def _cosine(angle: float) -> float:
    """The cosine of an angle from 0 to π by its series: ``math.cos`` differs between processors in its last bit."""
    total = term = 1.0
    for i in range(1, 32, 2):
        term *= -angle * angle / (i * (i + 1))
        total += term
    return total
