"""The errors of this package, and the one place that words them.

All of them are ``ValueError``, so code that does not know this package still catches them. ``BackendError`` means that
a backend or an optional dependency is missing; the others mean that the input is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class CompressaeError(ValueError):
    """Any error that this package raises on purpose: what was expected, what came, and where.

    Parameters
    ----------
    message : what was expected and what came, without the place
    argument : name of the argument, setting or operation that is wrong
    row : number of the first row that is wrong, from 0
    path : the file or folder that is wrong
    hint : what the user can do

    Notes
    -----
    ``str(error)`` is "path: argument: message in row 3; hint", without the parts that are None. Programs read the
    attributes; nothing has to parse the text.
    """

    def __init__(
        self,
        message: str,
        *,
        argument: str | None = None,
        row: int | None = None,
        path: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.argument, self.hint = message, argument, hint
        self.row = None if row is None else int(row)
        self.path = None if path is None else str(path)

    def __str__(self) -> str:
        place = "".join(f"{part}: " for part in (self.path, self.argument) if part is not None)
        row = "" if self.row is None else f" in row {self.row}"
        return f"{place}{self.message}{row}" + ("" if self.hint is None else f"; {self.hint}")


class ShapeError(CompressaeError):
    """An array has the wrong number of dimensions, rows or columns."""


class DTypeError(CompressaeError):
    """An array has the wrong dtype."""


class DomainError(CompressaeError):
    """A value lies outside its domain: NaN, a zero row, k > h."""


class FormatError(CompressaeError):
    """A file is damaged, truncated, of another kind, of an unknown version, or has a wrong digest."""


class BackendError(CompressaeError):
    """A backend or an optional dependency is not installed, or no such backend exists."""


class StoreError(CompressaeError):
    """A vector database cannot be reached, lacks a requested field, or refuses the data."""


DATA = ("x", "items", "queries", "codes")
"""Arguments that hold the content of a file, for `naming_file`."""


@contextmanager
def naming_file(path: object, *arguments: str) -> Iterator[None]:
    """Name a file in the errors that its content causes.

    An error about one of ``arguments`` (by default `DATA`) gets the path in place of the argument's name. Errors about
    settings, and errors that already name a file, pass unchanged.
    """
    try:
        yield
    except CompressaeError as error:
        if error.argument in (arguments or DATA) and error.path is None:
            error.path, error.argument = "standard input" if path == "-" else str(path), None
        raise


@contextmanager
def rows_from(start: int) -> Iterator[None]:
    """Number the rows in errors from ``start``: for a block of rows that begins there."""
    try:
        yield
    except CompressaeError as error:
        error.row = None if error.row is None else start + error.row
        raise


def format_error(path: object, error: Exception) -> FormatError:
    """A `FormatError` about a file, with the words and fields of another error that its content caused."""
    if isinstance(error, CompressaeError):
        return FormatError(
            error.message, argument=error.argument, row=error.row, path=error.path or path, hint=error.hint
        )
    return FormatError(str(error), path=path)


HINTS = {
    "unable to lock": "another program has the file open for writing: close it there, or copy the file",
    "not a zip file": "the file is incomplete or of another format: get it again",
    "truncated": "the file is incomplete: get it again",
    "end-of-stream": "the file is incomplete: get it again",
    "required filter": "the data needs a plug-in of HDF5: pip install hdf5plugin",
    "can't open directory": "the data needs a plug-in of HDF5: pip install hdf5plugin",
}
"""What to do, by words of other libraries' errors."""


def unreadable(path: object, expected: str, error: Exception) -> FormatError:
    """Return the `FormatError` about a file for which another library raised an error of any class."""
    why = f"no entry {error}" if isinstance(error, KeyError) else reason(error)
    if isinstance(error, MemoryError):
        why = f"it needs more memory than there is: {why}"
    if isinstance(error, RecursionError):
        why = "it is nested too deeply"
    hint = next((hint for words, hint in HINTS.items() if words in str(error)), None)
    return FormatError(f"expected {expected}, got a file that cannot be read as one ({why})", path=path, hint=hint)


def reason(error: BaseException) -> str:
    """The first line of what another library says, at most 160 characters, or the name of its error."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
