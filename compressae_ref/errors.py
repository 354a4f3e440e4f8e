"""The errors of this package: each says in one line what was expected and what came.

All of them are ``ValueError``, so code that does not know this package still catches them. ``BackendError`` means that
a backend or an optional dependency is missing here; the others mean that the input is wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class CompressaeError(ValueError):
    """Any error that this package raises on purpose."""


class ShapeError(CompressaeError):
    """An array has the wrong number of dimensions, rows or columns."""


class DTypeError(CompressaeError):
    """An array holds the wrong kind of numbers."""


class DomainError(CompressaeError):
    """A value lies outside what the mathematics allows: NaN, a zero row, k > h."""


class FormatError(CompressaeError):
    """A file is not what it should be: truncated, of another kind, of an unknown version, with a wrong digest."""


class BackendError(CompressaeError):
    """A backend or an optional dependency is not installed, or no such backend exists."""


class StoreError(CompressaeError):
    """A vector database is not there, lacks what is asked for, or refuses what it is given."""


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
