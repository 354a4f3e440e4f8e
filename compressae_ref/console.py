"""What commands print, and how errors name the file that they are about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from compressae_ref.errors import CompressaeError


def say(line: str) -> None:
    """A line of a result."""
    print(line, flush=True)


def tell(line: str) -> None:
    """A message, which is no result."""
    print(line, file=sys.stderr)


@contextmanager
def named(path: str, *arguments: str) -> Iterator[None]:
    """Put a file's name in the place of the argument's in the errors that its content causes (settings are not)."""
    try:
        yield
    except CompressaeError as error:
        argument, _, message = str(error).partition(": ")
        if argument not in (arguments or ("x", "items", "queries", "codes", "encode")):
            raise
        raise type(error)(f"{'standard input' if path == '-' else path}: {message}") from error
