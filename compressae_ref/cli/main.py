"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 success, 1 wrong input or a failed check (one line explains it), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
An output file is written completely or not at all. The parser imports all commands, so each command imports its
dependencies in ``run``.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from errno import EISDIR
from pathlib import Path
from types import ModuleType

from compressae_ref import __version__
from compressae_ref.cli import (
    choose,
    convert,
    demo,
    encode,
    evaluate,
    inspect,
    pack,
    pull,
    push,
    report,
    search,
    segments,
    split_signs,
    train,
    unpack,
    verify,
)
from compressae_ref.cli.completion import add_completion
from compressae_ref.cli.given import own_text, parse, require_applicable, require_kept_inputs
from compressae_ref.cli.interrupts import forget_written, heed_signals, report_interrupt
from compressae_ref.cli.terminal import (
    be_quiet,
    flush_results,
    hide_secrets_of,
    naming_standard_output,
    one_line_warnings,
    shown,
    tell_error,
    tell_of_compiling,
    without_secrets,
)
from compressae_ref.cli.usage import Parser
from compressae_ref.errors import CompressaeError, reason

COMMANDS: tuple[ModuleType, ...] = (
    demo,
    choose,
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
    report,
    segments,
    inspect,
    verify,
)
"""The commands in the order of ``--help``. Each module has two functions: ``add_arguments(commands)`` declares the
arguments, and ``run(options)`` runs the command and returns None, or True if a check failed."""

TRACEBACK = "COMPRESSAE_REF_TRACEBACK"
"""Environment variable that adds the traceback to the line of an unexpected error."""

_BY_NAME = {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; report an error in one line on standard error and return 1."""
    hide_secrets_of(sys.argv[1:] if arguments is None else arguments)
    be_quiet(False)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # print "?" on terminals that cannot encode "×"
    options, started = argparse.Namespace(), time.perf_counter()
    try:
        with heed_signals(), one_line_warnings():
            options = _parsed(arguments)
            options.started = started
            be_quiet(options.quiet)
            forget_written()
            require_applicable(options)
            require_kept_inputs(options)
            _require_honest_names(options)
            tell_of_compiling()
            failed = _BY_NAME[options.command].run(options)
            flush_results()
    except KeyboardInterrupt as interrupt:
        return report_interrupt(interrupt)
    except BrokenPipeError:  # the reader of the pipe has closed it, which is no error
        _discard_results()
        return 0
    except CompressaeError as error:
        return _failed(own_text(error, options, _BY_NAME))
    except OSError as error:
        told = "expected a file, got a folder" if error.strerror == os.strerror(EISDIR) else error.strerror
        return _failed(f"{error.filename}: {told}" if error.filename else str(error))
    except MemoryError as error:
        return _failed(f"not enough memory: {error}")
    except Exception as error:  # an error of another package that no module expects, or a bug
        return _unexpected(error)
    return int(failed or False)


def _require_honest_names(options: argparse.Namespace) -> None:
    from compressae_ref.cli.output_names import require_honest_names  # imported here: --help does not need it

    require_honest_names(options)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    with naming_standard_output():
        try:
            return parse(command_line(), arguments)
        finally:
            sys.stdout.flush()  # the text of --help


def command_line() -> Parser:
    """Return the parser; it stores the name of the command in ``options.command``."""
    parser = Parser(
        prog="compressae-ref",
        description="Compress embeddings to sparse codes with a top-k sparse autoencoder (CompresSAE), and search "
        "them by cosine similarity.",
        epilog="To start, run: compressae-ref demo. For the options of a command, run: compressae-ref COMMAND --help. "
        "Exit codes: 0 success, 1 wrong input or a failed check, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.",
    )
    parser.add_argument("--version", action="version", version=f"compressae-ref {__version__}")
    add_completion(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_arguments(commands)
    return parser


def _open_closed_streams() -> None:
    """Replace closed standard streams, which are None in Python, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  it stays open


def _discard_results() -> None:
    """Prevent Python from writing the rest of standard output at its end, which would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(message: str) -> int:
    tell_error(message)
    return 1


def _unexpected(error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            print(shown(line), file=sys.stderr)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return _failed(
        f"unexpected {name}: {reason(Exception(without_secrets(error)))}; set {TRACEBACK}=1 to see the traceback"
    )
