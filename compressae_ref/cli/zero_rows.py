"""The option ``--zero-rows``, and what commands say about zero rows."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.checks import ZERO_ROWS, ZeroRows
from compressae_ref.cli.terminal import tell

TRAINING = "as skip, because training needs directions"
"""What "empty" means for ``train`` and ``pull``."""


def add_zero_rows(command: argparse.ArgumentParser, rows: str, empty: str, default: ZeroRows = "error") -> None:
    """Add ``--zero-rows``.

    Parameters
    ----------
    rows : what the help calls the rows
    empty : what "empty" does with them
    """
    text = (
        f"how to treat {rows} of zeros, which have no direction; error: stop; empty: {empty}; skip: leave them out and "
        f"report their number (default: {default})"
    )
    command.add_argument("--zero-rows", choices=ZERO_ROWS, default=default, help=text)


def left_of(source: Any, zero_rows: ZeroRows, name: str, **checks: Any) -> Any:
    """Return a source without its zero rows if these are to be skipped, and report their number; else the source."""
    left = without_zero_rows(source, zero_rows, name, **checks)
    tell_left_out(name, left)
    return left


def without_zero_rows(source: Any, zero_rows: ZeroRows, name: str, **checks: Any) -> Any:
    """Return a source without its zero rows if these are to be skipped; else the source."""
    if zero_rows != "skip":
        return source
    from compressae_ref.errors import naming_file
    from compressae_ref.row_source import NonzeroRows

    with naming_file(name):
        return NonzeroRows(source, **checks)


def tell_left_out(name: str, rows: Any) -> None:
    """Report how many zero rows `without_zero_rows` has left out, if any."""
    tell_skipped(name, getattr(rows, "skipped", 0))


def tell_skipped(name: str, skipped: int) -> None:
    """Report how many zero rows of a file or a database were left out, if any."""
    if skipped:
        tell(f"{name}: {skipped} zero row{'s'[: skipped > 1]} left out")
