"""The training steps that ``train`` and ``pull`` share."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressae_ref.cli.any_model import load_any_model
from compressae_ref.cli.given import again, to_run
from compressae_ref.cli.parser import SETTINGS
from compressae_ref.cli.progress import TrainingBar
from compressae_ref.cli.terminal import tell, tell_of_mean
from compressae_ref.cli.train_report import meaning
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.files.atomic_write import PathLike
from compressae_ref.files.model_file import save_model
from compressae_ref.row_source import RowSource
from compressae_ref.training.checkpoint_schedule import Checkpoints
from compressae_ref.training.fit import Progress, fit


def train_and_save(
    source: RowSource,
    name: str,
    options: argparse.Namespace,
    checkpoints: Checkpoints | None = None,
    relevance: NDArray[np.int64] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Train on the rows of a source and write the model to ``options.output``.

    Parameters
    ----------
    source : the rows
    name : name of the source in error messages
    options : the output, the settings of `parser.SETTINGS`, and the options of `parser.add_checkpoints`
    checkpoints : where the training is saved, as `checkpoints_of` returns it
    relevance : related pairs of rows
    notes : lines to print when the first step is done, because until then the data and settings may be refused
    """
    names = (*SETTINGS, *(() if relevance is None else ("relevance_weight",)))
    settings = {name: value for name in names if (value := getattr(options, name)) is not None}
    start = None if options.start is None else load_any_model(options.start)
    try:
        with TrainingBar() as bar, naming_file(name):
            result = fit(
                source,
                zero_rows=options.zero_rows,
                preset=options.preset,
                serve=options.serve,
                backend=options.backend,
                callback=_with_notes(bar, notes),
                checkpoint=checkpoints,
                resume=options.resume,
                start=start,
                relevance=relevance,
                **settings,
            )
        save_model(options.output, result.model)
    except KeyboardInterrupt as interrupt:
        _say_how_to_resume(interrupt, options, checkpoints)
        raise
    default = _default_path(options)
    if checkpoints is not None and options.checkpoint is None and _same(checkpoints.path, default):
        _remove(default)
    tell_skipped(name, result.skipped)
    record = result.record
    cosine = "" if math.isnan(record.validation_cosine) else f"validation cosine {record.validation_cosine:.4f}, "
    tell(f"{options.output}: {cosine}{record.dead_latents} dead latents")
    if result.model.params.mean is None:
        tell_of_mean(name, result.mean_cosine)
    for line in meaning(result, str(options.output), None if name == "-" else name, options):
        tell(line)


def _with_notes(bar: TrainingBar, notes: Sequence[str]) -> Callable[[Progress], None]:
    left = list(notes)

    def callback(progress: Progress) -> None:
        while left:
            tell(left.pop(0))
        bar(progress)

    return callback


def checkpoints_of(options: argparse.Namespace, *others: str | None) -> Checkpoints:
    """Return where and when the training is saved: ``--checkpoint``, or ``--resume``, or beside the output.

    Parameters
    ----------
    options : the output and the options of `parser.add_checkpoints`
    others : further inputs and outputs

    Raises
    ------
    DomainError
        If the file is an input or an output, or if the default file exists: it belongs to an interrupted training.
    OSError
        If the file cannot be written.
    """
    path = options.checkpoint or options.resume or _default_path(options)
    others = (options.output, options.start, *others)
    if any(other is not None and _same(other, path) for other in others):
        raise DomainError("expected a checkpoint that is no other file of the command, got the same file", path=path)
    checkpoints = Checkpoints(path, options.every, only_long=options.checkpoint is None and options.resume is None)
    checkpoints.require_writable()
    if options.checkpoint is None and options.resume is None and os.path.lexists(path):
        raise DomainError(
            "expected no checkpoint of an earlier training to this output, got one",
            path=path,
            hint=f"add --resume {shlex.quote(path)} to continue that training, or delete the file",
        )
    return checkpoints


def _remove(path: str) -> None:
    """Remove a file if it exists. In a read-only folder ``unlink(missing_ok=True)`` fails also without a file."""
    if os.path.lexists(path):
        Path(path).unlink()


def _default_path(options: argparse.Namespace) -> str:
    return f"{options.output}.checkpoint"


def _same(path: PathLike, other: PathLike) -> bool:
    """Return whether two paths name the same file, which need not exist."""
    return os.path.realpath(path) == os.path.realpath(other)


def _say_how_to_resume(
    interrupt: KeyboardInterrupt, options: argparse.Namespace, checkpoints: Checkpoints | None
) -> None:
    """Put into the exception what is saved, and the command that continues."""
    if checkpoints is not None and checkpoints.step is not None:
        path = str(checkpoints.path)
        saved = f"{path} has step {checkpoints.step}"
    elif options.resume is not None:
        path = options.resume
        saved = f"{path} is as it was"
    else:
        return
    given = [str(getattr(options, name)) for name, action in options.given.items() if not action.option_strings]
    words = again(options, [options.command, *given], resume=path)
    interrupt.args = (f"{saved}; to continue, {to_run(words)}",)
