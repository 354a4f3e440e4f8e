"""Read and check the files of make_page.py and compare.py, and report wrong input and signals in one line."""

from __future__ import annotations

import argparse
import gzip
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import compressae_ref as csae
from compressae_ref.checks import check_kind
from compressae_ref.cli.interrupts import Terminated, heed_signals
from compressae_ref.errors import naming_file

TOP = 10
"""Neighbours that the page shows, as in dom.js."""
MAGIC = b"\x93NUMPY"
SAVE_HINT = "write one with numpy.save"


def run(command: Callable[[], None]) -> int:
    """Run a command and return its exit code. Wrong input and signals are reported in one line."""
    try:
        with heed_signals(last=True):
            command()
    except KeyboardInterrupt as interrupt:
        say("interrupted; nothing was written")
        return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)
    except (csae.CompressaeError, OSError) as error:
        say(f"error: {message_of(error)}")
        return 1
    return 0


def message_of(error: Exception) -> str:
    named = isinstance(error, OSError) and error.filename
    return f"{error.filename}: {error.strerror}" if named else str(error)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_embeddings(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start != MAGIC:
        raise csae.FormatError(f"expected a .npy file, got one that starts with {start!r}", path=path, hint=SAVE_HINT)
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        pickled = "object" in str(error).lower()  # NumPy's message advises to load them nevertheless
        found = "an array of Python objects" if pickled else f"a damaged one ({error})"
        raise csae.FormatError(f"expected a .npy file of numbers, got {found}", path=path, hint=SAVE_HINT) from error
    with naming_file(path, "x"):
        check_kind(x.shape, x.dtype, "x", None)
    return x


def read_model(options: argparse.Namespace, x: np.ndarray) -> csae.Model:
    """Load the model. Raise for one that the page cannot use, or that does not fit the embeddings or --k."""
    path, model = options.model, csae.load_model(options.model)
    d, n_latents = model.params.W_enc.shape
    if model.params.mean is not None:
        raise csae.DomainError("expected a model without a mean: train it without --center", path=path)
    if d != x.shape[1]:
        found = f"got {d}; name the model of these embeddings"
        raise csae.ShapeError(f"expected d = {x.shape[1]} dimensions as in {options.embeddings}, {found}", path=path)
    if not 1 <= options.k <= n_latents:
        raise csae.DomainError(f"expected k from 1 to n_latents = {n_latents}, got {options.k}", argument="--k")
    return model


def read_labels(path: Path) -> list[str]:
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise csae.FormatError(f"expected lines of UTF-8 text, packed by gzip or not: {error}", path=path) from error
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


def check(options: argparse.Namespace, x: np.ndarray, labels: list[str]) -> None:
    if options.model is not None and options.n_latents is not None:
        message = f"expected no number of latents beside --model, got {options.n_latents}; leave one of them out"
        raise csae.DomainError(message, argument="--n-latents")
    if options.licence is not None:
        options.licence.open("rb").close()
    if options.output.exists():
        raise csae.DomainError("expected a folder that does not exist; delete it or name another", path=options.output)
    if len(labels) != len(x):
        raise csae.ShapeError(f"expected {len(x):,} lines, one per embedding, got {len(labels):,}", path=options.labels)
    check_rows(options.embeddings, x)
    if len(x) <= TOP:
        raise csae.ShapeError(f"expected more than {TOP} embeddings, got {len(x)}", path=options.embeddings)
    for row, name in enumerate(map(name_of, labels)):
        if not name.strip():
            raise csae.DomainError("expected a name at the start of the line, got none", row=row, path=options.labels)
    if options.start is not None and options.start not in map(name_of, labels):
        raise csae.DomainError(f"expected the name of an item, got {options.start!r}", argument="--start")


def check_rows(path: Path, x: np.ndarray) -> None:
    """Raise for the first row without a direction: each item needs a code and neighbours."""
    for start in range(0, len(x), 4096):
        lengths = np.linalg.norm(x[start : start + 4096].astype(np.float64), axis=1)
        bad = ~(np.isfinite(lengths) & (lengths > 0))
        if bad.any():
            row = int(np.argmax(bad))
            found = "zeros" if lengths[row] == 0 else "NaN or infinity"
            hint = "remove it, and its line of the labels"
            raise csae.DomainError(
                f"expected finite, nonzero embeddings, got {found}", row=start + row, path=path, hint=hint
            )


def name_of(label: str) -> str:
    return label.split("\t", 1)[0]
