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
    if zero_rows != "skip":
        return source
    from compressae_ref.errors import naming_file
    from compressae_ref.row_source import NonzeroRows

    with naming_file(name):
        left = NonzeroRows(source, **checks)
    tell_skipped(name, left.skipped)
    return left


def tell_skipped(name: str, skipped: int) -> None:
    """Report how many zero rows of a file or a database were left out, if any."""
    if skipped:
        tell(f"{name}: {skipped} zero row{'s'[: skipped > 1]} left out")
