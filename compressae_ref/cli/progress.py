"""Progress of what takes longer than a second, on a terminal only, in lines that fit its width."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from compressae_ref.cli.terminal import watched
from compressae_ref.errors import rows_from
from compressae_ref.layout import width_of, wrapped
from compressae_ref.training.fit import Progress

DELAY = 1.0
"""Seconds after which progress is shown."""

SECONDS = 10.0
"""Seconds between two lines without tqdm."""

LEAST_BAR = 10
"""Columns of a bar: what does not fit beside it is left out, in the order of `FORMS`."""

FORMS = (
    "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
    "{percentage:3.0f}%|{bar}| {remaining} left{postfix}",
    "{percentage:3.0f}%|{bar}| {remaining} left",
)
"""What a bar of tqdm shows, the most first."""

Done = Callable[[int, int], None]
"""What is called with the number of rows, items or steps that are done, and of all."""

S = TypeVar("S", bound=Sized)
T = TypeVar("T")


class TrainingBar:
    """Callback for `train.fit` that prints steps, loss, validation cosine and remaining time to standard error.

    It is a bar of tqdm if that is installed, else a line each ten seconds.
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.shown = watched()
        self.cosine = math.nan

    def __enter__(self) -> TrainingBar:
        if self.shown:
            _rewrite("preparing ...")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.shown:
            _rewrite("")  # training did not start

    def __call__(self, progress: Progress) -> None:
        """Show the progress of one step."""
        if not self.shown:
            return
        if progress.record is not None:
            self.cosine = progress.record.validation_cosine
        known = "" if math.isnan(self.cosine) else f", validation cosine {self.cosine:.4f}"
        if self.bar is None:
            _rewrite("")
            self.bar = bar(progress.steps, first=progress.step - 1)
        self.bar.step(progress.step, f"loss {progress.losses.loss_k:.4f}{known}")


class _TqdmBar:
    def __init__(self, tqdm: Any, steps: int, unit: str, first: int) -> None:
        self.tqdm = _fitted(tqdm)(total=steps, initial=first, unit=unit, file=sys.stderr, delay=DELAY)

    def step(self, step: int, facts: str = "") -> None:
        self.tqdm.set_postfix_str(facts, refresh=False)
        self.tqdm.update(step - self.tqdm.n)

    def close(self) -> None:
        self.tqdm.close()


def _fitted(tqdm: Any) -> Any:
    """Return a class of bars that show the most of `FORMS` for which there is room."""

    class Fitted(tqdm):  # type: ignore[misc]
        @staticmethod
        def format_meter(*args: Any, **facts: Any) -> str:
            width = (width_of(sys.stderr) or 80) - 1  # in the last column some terminals begin a new line
            for form in FORMS:
                line = tqdm.format_meter(*args, **facts | {"bar_format": form, "ncols": None})
                if len(line) <= width:  # without ncols a bar has `LEAST_BAR` columns
                    break
            return str(tqdm.format_meter(*args, **facts | {"bar_format": form, "ncols": width}))

    return Fitted


class _PlainBar:
    def __init__(self, steps: int, unit: str, first: int) -> None:
        self.unit, self.first, self.steps = unit, first, steps
        self.started = time.monotonic()
        self.next = self.started + DELAY

    def step(self, step: int, facts: str = "") -> None:
        now = time.monotonic()
        if now < self.next or step <= self.first:
            return
        self.next = now + SECONDS
        left = f"{(now - self.started) / (step - self.first) * (self.steps - step):.0f} s left"
        counts = f"{self.unit} {step:,} of {self.steps:,}, {left}"
        forms = (f"{counts}, {facts}" if facts else counts, counts, f"{step / self.steps:.0%}, {left}")
        width = width_of(sys.stderr) or 80
        print(next((form for form in forms if len(form) <= width), forms[-1]), file=sys.stderr, flush=True)

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
def shown_progress(unit: str) -> Iterator[Done | None]:
    """Yield a function that shows (done, total) as a progress bar, or None if nobody may look at it (`watched`)."""
    if not watched():
        yield None
        return
    bars: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not bars:
            bars.append(bar(total, unit))
        bars[0].step(done)

    try:
        yield progress
    finally:
        for shown in bars:
            shown.close()


def counted(blocks: Iterable[S], total: int, progress: Done | None) -> Iterator[S]:
    """Yield blocks of rows, and show how many of all rows are done when the next one is asked for."""
    done = 0
    for block in blocks:
        if progress is not None:
            progress(done, total)
        yield block
        done += len(block)
    if progress is not None:
        progress(done, total)


def in_parts(work: Callable[[Any], T], source: Any, progress: Done | None, rows: int) -> list[T]:
    """Return the results of ``work`` on parts of a source, whose rows do not depend on each other.

    Without ``progress`` there is one part. Errors name rows of the source.
    """
    n = len(source)
    if progress is None or n <= rows:
        return [work(source)]
    parts = []
    for start in range(0, n, rows):
        progress(start, n)
        with rows_from(start):
            parts.append(work(source[start : start + rows]))
    progress(n, n)
    return parts


@contextmanager
def stage(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done, as long as it takes. The function that is yielded replaces the text."""
    shown = watched()

    def show(what: str) -> None:
        if shown:
            _rewrite(f"{what} ...")

    show(what)
    try:
        yield show
    finally:
        if shown:
            _rewrite("")


def _rewrite(text: str) -> None:
    """Replace the last line of the terminal."""
    width = (width_of(sys.stderr) or 80) - 1
    print(f"\r\x1b[K{wrapped(text, width)[0]}", end="\r", file=sys.stderr, flush=True)
