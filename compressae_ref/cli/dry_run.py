"""The option ``--dry-run``: what a command would read and write, and about how long it would take."""

from __future__ import annotations

import argparse
import io
import re
import sys
import time
from collections.abc import Iterator, Sized
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compressae_ref.cli.terminal import say

if TYPE_CHECKING:
    from compressae_ref.codes import Codes
    from compressae_ref.extensions.residual_codec import ResidualCodec
    from compressae_ref.extensions.residual_codes import ResidualCodes
    from compressae_ref.model import Encoder
    from compressae_ref.row_source import RowSource
    from compressae_ref.training.settings import TrainConfig

T = TypeVar("T", bound=Sized)

TIMED_STEPS = 6
"""Steps of a training that are timed; the first one is not, because kernels may be compiled in it."""

TIMED_SECONDS = 1.0
"""Time after which no further block of rows is encoded."""

TIMED_ROWS = 1024
"""Rows of a step that is timed, at most; the time of a larger step is in proportion to its rows."""


def add_dry_run(command: argparse.ArgumentParser, more: str = "") -> None:
    """Add ``--dry-run``. ``more``: what is particular to the command."""
    text = (
        "write nothing: print the rows, the bytes to write, the memory and the time to expect, and the settings; a "
        f"small part of the work is done to measure the time, and other rows are not read{more}"
    )
    command.add_argument("--dry-run", action="store_true", help=text)


def say_dry(lines: list[str]) -> None:
    """Print the result of a dry run."""
    say("\n".join(["dry run: nothing is written", *lines]))


def _rows(name: str, rows: Any, read: int) -> str:
    shape, dtype = rows.shape, getattr(rows, "dtype", "")
    checked = "all of them" if read >= len(rows) else f"the first {read:,}"
    return f"{name}: {shape[0]:,} rows, d {shape[1]}, {dtype}; {checked} were read"


def costs(size: float, seconds: float) -> str:
    """Return the memory and the time to expect."""
    return f"memory: about {size / 2**20:,.0f} MB{_with_libraries()}; time: about {duration(seconds)}"


def _with_libraries() -> str:
    """Return what an estimate of the memory leaves out, and the most that this process has taken with it."""
    left_out, most = " of arrays, without Python and its libraries", most_memory()
    return left_out if most is None else f"{left_out}; this dry run took {most / 2**20:,.0f} MB with them"


def most_memory() -> int | None:
    """Return the most bytes of main memory that this process has taken, or None if the system does not report them."""
    status = Path("/proc/self/status")  # Linux; there ru_maxrss may be that of the process that started this one
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.M)):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def duration(seconds: float) -> str:
    """Return a time with the unit that is read most easily."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


# -- encode -----------------------------------------------------------------------------------------------------------


def dry_encode(model: Encoder, rows: RowSource, ids: Any, blocks: Iterator[Codes], options: argparse.Namespace) -> None:
    """Encode some blocks, and print what encoding all rows takes. ``blocks`` yields the codes of the rows."""
    first, read, seconds = timed(blocks, len(rows), options.started)
    started = time.perf_counter()
    size, exact = codes_size(options.output, first, len(rows), ids)
    if not exact:  # the first block was written to memory
        seconds += (time.perf_counter() - started) / len(first) * len(rows)
    k, how = first.k, "refined" if options.refine else "fitted" if options.anchors is not None else "encoded"
    kept = "" if ids is None else f", with {len(ids):,} ids"
    say_dry(
        [
            _rows(options.embeddings, rows, read),
            f"{options.output}: {'' if exact else 'about '}{size:,} bytes{kept}",
            costs(encoding_memory(model, k, options.refine) + (0 if ids is None else 64 * len(ids)), seconds),
            f"settings: {how}, k {k} of {model.params.n_latents} latents, zero rows: {options.zero_rows}",
        ]
    )


def dry_encode_residual(
    model: Encoder,
    codec: ResidualCodec,
    rows: RowSource,
    ids: Any,
    blocks: Iterator[ResidualCodes],
    options: argparse.Namespace,
) -> None:
    """Encode some blocks with a codec that is fitted already, and print what fitting and encoding takes."""
    from compressae_ref.files.residual_file import residual_bytes

    _, read, seconds = timed(blocks, len(rows), options.started)
    kept = "" if ids is None else f", with {len(ids):,} ids"
    memory = encoding_memory(model, codec.k, True) + (0 if ids is None else 64 * len(ids))
    say_dry(
        [
            _rows(options.embeddings, rows, read) + ", and up to 10,000 evenly spaced rows to fit the codec",
            f"{options.output}: {residual_bytes(len(rows), codec, ids):,} bytes{kept}",
            costs(memory, seconds),
            f"settings: residual codes of {codec.row_bytes} bytes, k {codec.k} of {codec.n_latents} latents, "
            f"zero rows: {options.zero_rows}",
        ]
    )


def timed(blocks: Iterator[T], n: int, started: float) -> tuple[T, int, float]:
    """Return the first block, the rows of the blocks that were encoded, and the time of a command that encodes n rows.

    Parameters
    ----------
    blocks : of the command itself, so with its settings
    started : the time at which the command began. What it did before the first block, such as fitting a codec or
        loading kernels, counts once; the first block may contain such work, so the time of a row is that of the others
    """
    first = next(blocks)
    begun = time.perf_counter()
    rows, seconds = 0, 0.0
    for block in blocks:
        rows, seconds = rows + len(block), time.perf_counter() - begun
        if seconds >= TIMED_SECONDS:
            break
    each = seconds / rows if rows else 0.0
    return first, len(first) + rows, begun - started + each * max(0, n - len(first))


def codes_size(path: str, like: Codes, n: int, ids: Any) -> tuple[int, bool]:
    """Return the bytes of a codes file of n rows like these, and whether they are exact."""
    from compressae_ref.files.codes_file import codes_bytes
    from compressae_ref.files.foreign import codes_json, codes_parquet
    from compressae_ref.files.foreign.write import require_code_format

    kind = require_code_format(path)
    if kind == "npz":
        return codes_bytes(like, n, ids), True
    if kind == "csr":
        return 24 + 8 * (n + 1) + 8 * n * like.k, True
    file, numbers = io.BytesIO(), np.arange(len(like)) if ids is None else ids[: len(like)]
    if kind == "jsonl":
        codes_json.write(file, iter([like]), numbers)
    else:
        codes_parquet.write(file, kind, like, iter([like]), numbers)
    return file.tell() * n // len(like), False


def encoding_memory(model: Encoder, k: int, refined: bool) -> int:
    """Return the bytes that encoding takes in memory."""
    from compressae_ref.extensions.refine import TABLE_BYTES
    from compressae_ref.unit_blocks import ROWS_PER_BLOCK

    params = model.params
    d, h, itemsize = params.d, params.n_latents, params.dtype.itemsize
    table = h * h * itemsize if refined and h * h * itemsize <= TABLE_BYTES else 0
    return itemsize * (2 * d * h + ROWS_PER_BLOCK * (h + 3 * d)) + 8 * ROWS_PER_BLOCK * k + table


# -- train and pull ---------------------------------------------------------------------------------------------------


def dry_train(rows: RowSource, name: str, options: argparse.Namespace) -> None:
    """Run a few steps on the first rows, and print what training on all rows takes."""
    from compressae_ref.cli.any_model import load_any_model
    from compressae_ref.cli.parser import SETTINGS
    from compressae_ref.training.settings import given_settings, make_config, resolve, started_from
    from compressae_ref.unit_blocks import HostRows

    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    config = make_config(None, options.preset, settings, options.serve)
    if options.start is not None:
        start = load_any_model(options.start)
        given = given_settings(None, options.preset, settings, options.serve)
        config = started_from(config, given, start.params.n_latents, start.k, start.params.dtype.name)
    config = resolve(config, HostRows(rows))
    read, seconds = _time_of_training(rows, name, config, options)
    h, d, itemsize = config.n_latents or 0, rows.shape[1], np.dtype(config.dtype).itemsize  # type: ignore[attr-defined]
    arrays = itemsize * (2 * d * h + h)
    batch = config.batch_size * (h + 4 * d) * itemsize
    buffer = min(len(rows), max(config.buffer_rows, config.batch_size)) * d * itemsize
    shown = ("n_latents", "k", "objective", "batch_size", "steps", "lr", "validation_rows", "seed", "dtype", "center")
    facts = asdict(config)
    say_dry(
        [
            _rows(name, rows, read),
            f"{options.output}: about {arrays + 4096:,} bytes",
            costs(4 * arrays + batch + buffer, seconds),
            "settings: " + ", ".join(f"{name} {facts[name]}" for name in shown),
        ]
    )


def _time_of_training(
    rows: RowSource, name: str, config: TrainConfig, options: argparse.Namespace
) -> tuple[int, float]:
    """Return how many rows were used to measure, and the time of all steps."""
    from compressae_ref.errors import naming_file
    from compressae_ref.row_source import Head
    from compressae_ref.training.fit import fit

    batch = min(config.batch_size, TIMED_ROWS)
    few = Head(rows, min(len(rows), 4 * batch))
    times: list[float] = []
    changed = {"steps": TIMED_STEPS, "validation_rows": 0, "records": 1, "patience": None, "batch_size": batch}
    with naming_file(name):
        fit(
            few,
            replace(config, **changed),  # type: ignore[arg-type]
            zero_rows=options.zero_rows,
            backend=options.backend,
            callback=lambda progress: times.append(time.perf_counter()),
        )
    pauses = sorted(after - before for before, after in pairwise(times))
    return len(few), pauses[len(pauses) // 2] * (config.batch_size / batch) * (config.steps or 0)
