"""Progress bars, which are shown on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from compressae_ref.training.fit import Progress


class TrainingBar:
    """Callback for `train.fit` that prints steps, loss, validation cosine and remaining time to standard error.

    It is a bar of tqdm if that is installed, else one line for each record of the history.
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.shown = sys.stderr.isatty()
        self.cosine = float("nan")

    def __enter__(self) -> TrainingBar:
        if self.shown:
            print("preparing ...", end="\r", file=sys.stderr, flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.shown:
            print(end="\r\x1b[K", file=sys.stderr, flush=True)  # training did not start: erase "preparing ..."

    def __call__(self, progress: Progress) -> None:
        """Show the progress of one step."""
        if not self.shown:
            return
        if progress.record is not None:
            self.cosine = progress.record.validation_cosine
        facts = f"loss {progress.losses.loss_k:.4f}, validation cosine {self.cosine:.4f}"
        if self.bar is None:
            self.bar = bar(progress.steps, first=progress.step - 1)
        self.bar.step(progress.step, facts, progress.record is not None)


class _TqdmBar:
    def __init__(self, tqdm: Any, steps: int, unit: str, first: int) -> None:
        self.tqdm = tqdm(total=steps, initial=first, unit=unit, file=sys.stderr, dynamic_ncols=True, leave=True)

    def step(self, step: int, facts: str, recorded: bool) -> None:
        self.tqdm.set_postfix_str(facts, refresh=False)
        self.tqdm.update(step - self.tqdm.n)

    def close(self) -> None:
        self.tqdm.close()


class _PlainBar:
    def __init__(self, steps: int, unit: str, first: int) -> None:
        import time

        self.unit, self.first = unit, first
        self.steps, self.clock, self.started = steps, time.monotonic, time.monotonic()

    def step(self, step: int, facts: str, recorded: bool) -> None:
        if recorded:
            left = (self.clock() - self.started) / (step - self.first) * (self.steps - step)
            print(f"{self.unit} {step} of {self.steps}, {facts}{left:.0f} s left", file=sys.stderr)

    def close(self) -> None:
        """Do nothing: plain lines need no closing."""


def bar(steps: int, unit: str = "step", first: int = 0) -> _TqdmBar | _PlainBar:
    """Return a progress bar of tqdm if it is installed, else one that prints lines; ``first`` steps are done."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _PlainBar(steps, unit, first)
    return _TqdmBar(tqdm, steps, unit, first)


@contextmanager
def shown_progress(unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function that shows (done, total) as a progress bar, or None if standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bars: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not bars:
            bars.append(bar(total, unit))
        bars[0].step(done, "", done == total)

    try:
        yield progress
    finally:
        for shown in bars:
            shown.close()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show on a terminal what is being done, as long as it takes."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{what} ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(end="\r\x1b[K", file=sys.stderr, flush=True)
