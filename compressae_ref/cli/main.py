"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 done, 1 the input or the data is wrong (one line that says how), 2 usage. No file is ever left half
written. All commands are imported to build the parser, so each imports what its work needs only when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from compressae_ref import __version__
from compressae_ref.cli import (
    convert,
    demo,
    encode,
    evaluate,
    inspect,
    pack,
    pull,
    push,
    search,
    split_signs,
    train,
    unpack,
    verify,
)
from compressae_ref.cli.interrupts import kept_interrupts
from compressae_ref.cli.terminal import tell_of_compiling
from compressae_ref.errors import CompressaeError

COMMANDS: tuple[ModuleType, ...] = (
    demo,
    train,
    encode,
    pack,
    unpack,
    split_signs,
    search,
    convert,
    pull,
    push,
    evaluate,
    inspect,
    verify,
)
"""The commands in the order of ``--help``. Each module has two functions: ``add_arguments(commands)`` declares its
arguments, and ``run(options)`` does its work and returns None, or True where what it judged did not pass."""

_BY_NAME = {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every expected failure becomes one line on standard error and exit code 1."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "×" gets a "?", not an error
    options = command_line().parse_args(arguments)
    tell_of_compiling()
    try:
        with kept_interrupts():
            failed = _BY_NAME[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed("interrupted; nothing was written")
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong, and nobody listens
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CompressaeError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        return _failed(f"not enough memory: {error}")
    return int(failed or False)


def command_line() -> argparse.ArgumentParser:
    """Build the parser; ``options.command`` is the name of the command."""
    parser = argparse.ArgumentParser(
        prog="compressae-ref",
        description="Compress embeddings into sparse codes (CompresSAE) and search them by cosine.",
        epilog="Start with: compressae-ref demo. Every command explains itself: compressae-ref COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"compressae-ref {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_arguments(commands)
    return parser


def _open_closed_streams() -> None:
    """Open the null device for streams that the caller closed, which Python has as None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  it stays open


def _failed(message: str) -> int:
    print(f"compressae-ref: {' '.join(message.split())}", file=sys.stderr)
    return 1
