"""Continue a training from a checkpoint: read the file, compare data and settings with those given, restore the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import aligned_copy
from compressae_ref.backends import Backend
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.npz import PathLike, read_npz, reading
from compressae_ref.params import Params
from compressae_ref.row_source import BLOCK_ROWS
from compressae_ref.training.adam_state import AdamState
from compressae_ref.training.batches import Place
from compressae_ref.training.checkpoint import (
    FORMAT,
    N_FIELDS,
    N_LOSSES,
    VERSIONS,
    DataFacts,
    data_facts,
    digest_of,
)
from compressae_ref.training.distillation import LENGTHS, Scales
from compressae_ref.training.generator_state import generator_state, restored_generator
from compressae_ref.training.history import History, Record, record_steps
from compressae_ref.training.settings import TrainConfig, described, resolve
from compressae_ref.training.step import Losses, TrainState, init_state
from compressae_ref.unit_blocks import Rows


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file, of which `restore` checks the rest together with the data."""

    path: str
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    data: DataFacts
    settings: TrainConfig

    def require_data(self, rows: Rows) -> None:
        """Check all rows. Raise DomainError unless they are the ones that the training was interrupted with."""
        shape = f"{len(rows)} rows, d = {rows.d}, {rows.dtype}"
        if shape == str(self.data):
            rows.check()
            if data_facts(rows) == self.data:
                return
            shape = "other rows of that shape"
        raise DomainError(
            f"expected the data of the checkpoint {self.path} ({self.data}), got {shape}",
            argument="x",
            hint="to train on other data from this state of a model, use start in place of resume",
        )

    def require_settings(self, given: Mapping[str, Any], rows: Rows) -> TrainConfig:
        """Return the settings of the training. Raise DomainError if one of the given ones differs.

        ``rows_per_block`` is taken from ``given``, because it does not affect the model.
        """
        free = {name: given[name] for name in ("rows_per_block",) if name in given}
        with self.reading():
            config = resolve(self.settings, rows)
            complete, got = described(config), self.meta["training"]
            if wrong := [name for name in complete if name not in got or got[name] != complete[name]]:
                missing = {name: got.get(name, "nothing") for name in wrong}
                raise FormatError(f"expected all settings of a training, got {missing}", argument="training")
        asked = resolve(replace(config, **given), rows)
        for name in given:
            if name not in free and (stored := getattr(config, name)) != (got := getattr(asked, name)):
                raise _differs(name, stored, got, self.path)
        return replace(config, **{name: getattr(asked, name) for name in free})

    def require_start(self, start: str | None) -> None:
        """Raise DomainError if a model to start from is given, and is not the one of the training."""
        if start is not None and start != self.meta["start"]:
            stored = self.meta["start"]
            raise _differs("start", f"model {stored[:12]}" if stored else None, f"model {start[:12]}", self.path)

    def require_relevance(self, digest: str | None) -> None:
        """Raise DomainError unless the related pairs with this digest are those of the training."""
        stored = self.meta.get("relevance")
        if digest != stored:
            expected, got = (f"pairs {each[:12]}" if each else "no pairs" for each in (stored, digest))
            raise DomainError(
                f"expected {expected} as in the checkpoint {self.path}, got {got}",
                argument="relevance",
                hint="give the same pairs to resume, or train without resume",
            )

    def generator(self, rng: np.random.Generator | None) -> np.random.Generator:
        """Return the generator in its state before the training.

        A given one must be in that state already, so that a script can be run again unchanged.
        """
        with self.reading():
            first = restored_generator(self.meta["generator"])
        if rng is None:
            return first
        if generator_state(rng) != self.meta["generator"]:
            raise DomainError(
                f"expected the generator that the training of the checkpoint {self.path} began with, got another one "
                "or one in another state",
                argument="rng",
                hint="leave it out: the checkpoint has its state",
            )
        return rng

    def place(self) -> Place:
        """Return the place in the shuffled data."""
        with self.reading():
            n, place, blocks = self.data.rows, self.meta["place"], self._array("blocks", np.int64, (None,))
            if len(blocks) and not (0 <= blocks.min() <= blocks.max() < n and not (blocks % BLOCK_ROWS).any()):
                got = f"numbers from {blocks.min()} to {blocks.max()}"
                raise FormatError(f"expected multiples of {BLOCK_ROWS} below {n}, got {got}", argument="blocks")
            if (repeated := len(blocks) - len(np.unique(blocks))) > 0:
                raise FormatError(f"expected each block once, got {repeated} repeated", argument="blocks")
            left = _integer(place["left"], "left", 0, self.settings.batch_size - 1)
            restored_generator(place["generator"])
            return Place(place["generator"], left, blocks, _integer(place["drawn"], "drawn", 1, 2**31))

    def state(self, config: TrainConfig, backend: Backend) -> TrainState:
        """Return the parameters, moments and usage in the memory of a backend."""
        with self.reading():
            state = init_state(self._params("", config), backend)
            m, v = (self._params(prefix, config).map(backend.place) for prefix in ("m.", "v."))
            state.adam = AdamState(_integer(self.meta["step"], "step", 1, config.steps or 0), m, v)
            state.usage[:] = self._array("usage", np.int64, state.usage.shape)
            if config.objective == "distill":
                state.scales = Scales(*self._array("scales", np.float64, (3, LENGTHS)).copy())
            return state

    def restore_history(self, history: History, step: int) -> None:
        """Bring the history of a new run to a step."""
        config = history.config
        with self.reading():
            n_fields, n_losses = (sizes[self.meta["version"]] for sizes in (N_FIELDS, N_LOSSES))
            records = [_record(row) for row in self._array("records", np.float64, (None, n_fields)).tolist()]
            losses = [Losses(*row) for row in self._array("losses", np.float64, (None, n_losses)).tolist()]
            made = [each for each in record_steps(config) if each <= step]
            got, n_steps = [record.step for record in records], step - max(made, default=0)
            if got != made or len(losses) != n_steps:
                raise FormatError(
                    f"expected records of steps {short_repr(made)} and {n_steps} losses, "
                    f"got records of steps {short_repr(got)} and {len(losses)} losses",
                    argument="records",
                )
            best = self._params("best.", config) if "best.W_dec" in self.arrays else None
            measured = [record for record in records if not math.isnan(record.validation_cosine)]
            has_best = config.patience is not None and bool(measured)
            if (best is not None) != has_best:
                wanted, got_one = ("one" if one else "none" for one in (has_best, best is not None))
                raise FormatError(f"expected parameters of the best record: {wanted}, got {got_one}", argument="best")
            seconds = self.meta["seconds"]
            if type(seconds) is not float or not 0 <= seconds < math.inf:
                raise FormatError(f"expected seconds of at least 0, got {short_repr(seconds)}", argument="seconds")
            history.restore(records, losses, best, seconds)

    def reading(self) -> AbstractContextManager[None]:
        """Turn every error that the content of the file causes into a FormatError with its path."""
        return _reading(self.path)

    def _params(self, prefix: str, config: TrainConfig) -> Params:
        d, h, dtype = self.data.d, config.n_latents or 0, np.dtype(config.dtype or "float32")
        shapes = {"W_enc": (d, h), "b_enc": (h,), "W_dec": (h, d)}
        arrays = {name: self._array(prefix + name, dtype, shape) for name, shape in shapes.items()}
        return Params(np.asfortranarray(arrays["W_enc"]), arrays["b_enc"], arrays["W_dec"]).map(aligned_copy)

    def _array(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return an array of the file, of this dtype and shape; None stands for any size."""
        array = self.arrays[name]
        fits = array.ndim == len(shape) and all(
            size in (None, got) for size, got in zip(shape, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            raise FormatError(
                f"expected {np.dtype(dtype)} of shape {shape}, got {array.dtype} {array.shape}", argument=name
            )
        return array


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Read a checkpoint file.

    Raises
    ------
    FormatError
        If the file is no checkpoint, is damaged, or has an unknown version. OSError if it is missing.
    """
    with _reading(path):
        arrays = read_npz(path)
        meta = json.loads(str(arrays.pop("meta")[()]))
        kind, version = meta["format"], meta["version"]
        wanted = VERSIONS.get(meta["training"].get("objective", "reconstruct"))
        if kind != FORMAT or type(version) is not int or version != wanted:
            got = f"{short_repr(kind)} of version {short_repr(version)}"
            raise FormatError(f"expected a {FORMAT} file of version {wanted}, got {got}")
        if meta["digest"] != (digest := digest_of(arrays, meta)):
            raise FormatError(f"expected digest {short_repr(meta['digest'])}, got content with {digest!r}")
        rows, d = (_integer(meta["data"][name], name, 1, 2**63) for name in ("rows", "d"))
        data = DataFacts(rows, d, str(meta["data"]["dtype"]), str(meta["data"]["digest"]))
        if not isinstance(start := meta["start"], str | None):
            raise FormatError(f"expected the digest of a model or null, got {short_repr(start)}", argument="start")
        settings, relevance = TrainConfig(**meta["training"]), meta.get("relevance")
        if not isinstance(relevance, str | None) or (relevance is None) != (settings.relevance_weight is None):
            expected = "nothing" if settings.relevance_weight is None else "the digest of related pairs"
            raise FormatError(f"expected {expected}, got {short_repr(relevance)}", argument="relevance")
        return Checkpoint(str(path), arrays, meta, data, settings)


def _reading(path: PathLike) -> AbstractContextManager[None]:
    return reading(path, "a checkpoint of a training", convert=True)


def _integer(value: Any, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise FormatError(f"expected an integer from {least} to {most}, got {short_repr(value)}", argument=name)
    return value


def _record(row: list[float]) -> Record:
    integers = {field.name for field in fields(Record) if field.type == "int"}
    named = zip((field.name for field in fields(Record)), row, strict=False)
    values: dict[str, Any] = {name: int(value) if name in integers else value for name, value in named}
    return Record(**values)


def _differs(name: str, stored: Any, got: Any, path: str) -> DomainError:
    return DomainError(
        f"expected {stored!r} as in the checkpoint {path}, got {got!r}",
        argument=name,
        hint="leave it out to resume, or train without resume",
    )
