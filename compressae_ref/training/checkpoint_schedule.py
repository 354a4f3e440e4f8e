"""When a training is saved: at even intervals, and before it ends between two steps."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from compressae_ref.checks import as_real
from compressae_ref.files.atomic_write import PathLike, require_output
from compressae_ref.files.foreign.sniff import require_own_name
from compressae_ref.training.checkpoint import Run, save_checkpoint
from compressae_ref.training.deferred_signals import DeferredSignals

MINUTES = 10.0
"""Default time between two checkpoints."""

SHARE = 0.01
"""Largest share of the time that checkpoints take by default."""

log = logging.getLogger("compressae_ref.training")


class Checkpoints:
    """The checkpoints of a training.

    Parameters
    ----------
    path : the file, which is replaced by each checkpoint
    every : minutes between two checkpoints; 0 saves after every step. None: `MINUTES`, or longer if checkpoints would
        take more than `SHARE` of the time
    only_long : if True, nothing is saved unless the whole training is expected to take longer than ``every``

    Attributes
    ----------
    step : steps completed in the last checkpoint that was written, or None
    """

    def __init__(self, path: PathLike, every: float | None = None, *, only_long: bool = False) -> None:
        self.path, self._only_long = path, only_long
        self._share = SHARE if every is None else math.inf
        self._seconds = 60 * as_real(MINUTES if every is None else every, "every", math.inf, zero_too=True)
        self._took = 0.0
        self.step: int | None = None

    def require_writable(self, *inputs: PathLike) -> None:
        """Raise if the file cannot be written, is an input, or has the suffix of another format.

        A file that nobody asked for does not stop a training.
        """
        if not self._only_long:
            require_output(self.path, *inputs)
            require_own_name(self.path)

    @contextmanager
    def saving(self, run: Run) -> Iterator[None]:
        """Save within this block, in which the steps run. Signals that end the program wait for the end of a step."""
        self._first_step, self._first_ended, self._saved = run.state.adam.step, math.nan, time.monotonic()
        with DeferredSignals() as self._signals:
            yield

    @contextmanager
    def between_steps(self, run: Run) -> Iterator[None]:
        """Save after this block if it is time, if a signal has arrived, or if the block raises anything."""
        if run.state.adam.step == self._first_step + 1:
            self._first_ended = time.monotonic()
        try:
            yield
        except BaseException:
            self._save(run)
            raise
        pause = max(self._seconds, self._took / self._share)
        if self._signals.pending is not None or time.monotonic() - self._saved >= pause:
            self._save(run)
        self._signals.deliver()

    def _save(self, run: Run) -> None:
        """Write a checkpoint. If that fails, log it: the training goes on, and the previous checkpoint stays."""
        if self._only_long and self._expected_seconds(run) <= self._seconds:
            return
        started = time.monotonic()
        try:
            save_checkpoint(self.path, run)
            self.step = run.state.adam.step
        except OSError as error:
            log.warning("%s: the checkpoint was not written: %s", self.path, error.strerror or error)
        self._saved = time.monotonic()
        self._took = self._saved - started

    def _expected_seconds(self, run: Run) -> float:
        """Estimate the time of the whole training. The first step does not count: it may compile kernels."""
        timed = run.state.adam.step - self._first_step - 1
        if timed == 0:
            return 0.0
        return (time.monotonic() - self._first_ended) / timed * (run.config.steps or 0)
