"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 success, 1 wrong input or a failed check (one line explains it), 2 wrong usage. An output file is written
completely or not at all. The parser imports all commands, so each command imports its dependencies in ``run``.
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
from compressae_ref.cli.interrupts import redeliver_interrupts
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
"""The commands in the order of ``--help``. Each module has two functions: ``add_arguments(commands)`` declares the
arguments, and ``run(options)`` runs the command and returns None, or True if a check failed."""

_BY_NAME = {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; report an expected error in one line on standard error and return 1."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # print "?" on terminals that cannot encode "×"
    options = command_line().parse_args(arguments)
    tell_of_compiling()
    try:
        with redeliver_interrupts():
            failed = _BY_NAME[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed("interrupted; nothing was written")
    except BrokenPipeError:  # the reader of the pipe has closed it, which is no error
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
    """Return the parser; it stores the name of the command in ``options.command``."""
    parser = argparse.ArgumentParser(
        prog="compressae-ref",
        description="Compress embeddings to sparse codes with a top-k sparse autoencoder (CompresSAE), and search "
        "them by cosine similarity.",
        epilog="To start, run: compressae-ref demo. For the options of a command, run: compressae-ref COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"compressae-ref {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_arguments(commands)
    return parser


def _open_closed_streams() -> None:
    """Replace closed standard streams, which are None in Python, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  it stays open


def _failed(message: str) -> int:
    print(f"compressae-ref: {' '.join(message.split())}", file=sys.stderr)
    return 1
