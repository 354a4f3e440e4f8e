"""Print results to standard output and messages to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def say(line: str) -> None:
    """Print a line of the result to standard output."""
    print(line, flush=True)


def hits_text(ids: Iterable[Any], scores: Iterable[float]) -> str:
    """Format the hits of a query as items with their scores."""
    return " ".join(f"{item}:{score:.6f}" for item, score in zip(ids, scores, strict=True))


def tell(line: str) -> None:
    """Print a message to standard error."""
    print(line, file=sys.stderr)


def tell_of_compiling() -> None:
    """On a terminal, print once that kernels are being compiled, which may take many seconds."""
    if not sys.stderr.isatty():
        return
    import logging

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.removeHandler(self)
            tell("\r\x1b[Kcompiling the kernels (only once on this machine) ...")

    log = logging.getLogger("compressae_ref.kernels")
    log.setLevel(logging.INFO)
    log.addHandler(Once())
