"""What commands print: results on standard output, messages on standard error."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print a line of a result."""
    print(line, flush=True)


def tell(line: str) -> None:
    """Print a message, which is no result."""
    print(line, file=sys.stderr)


def tell_of_compiling() -> None:
    """On a terminal, say once that kernels are being compiled: a command may be silent for seconds meanwhile."""
    if not sys.stderr.isatty():
        return
    import logging

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.removeHandler(self)
            tell("\r\x1b[Kcompiling the kernels, once on this machine ...")

    log = logging.getLogger("compressae_ref.kernels")
    log.setLevel(logging.INFO)
    log.addHandler(Once())
