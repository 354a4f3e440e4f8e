"""Ids of items: integers or strings from the caller, or automatic integers.

`as_ids` is the only check of ids. Every reader of a file calls it, and so does every function that takes or writes ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import host_array
from compressae_ref.checks import short_repr
from compressae_ref.errors import CompressaeError, DomainError, DTypeError, ShapeError

MIN_ID, MAX_ID = -(2**63), 2**63 - 1
"""The integer ids: they are stored as int64."""

EXPECTED = "expected 64-bit integers or strings"


def file_hint(hint: str | None) -> str:
    """Return the hint of an error about the ids in a file, after the hint of the error itself."""
    by_option = (
        f"choose a column with {option} ::NAME or none with {option} none ({commands})"
        for option, commands in (("--ids", "encode, convert"), ("--query-ids", "search"))
    )
    return ", or ".join([hint or "correct the ids", *by_option])


def as_ids(
    ids: Any, n: int | None = None, name: str = "ids", path: object = None, *, unique: bool = True
) -> NDArray[Any]:
    """Return ids as a flat array of int64, or as an object array of ``str``. Every id is kept exactly or refused.

    Parameters
    ----------
    ids : integers of any width and byte order, strings of any kind, UTF-8 in bytes, or UUIDs, which become their
        canonical text; in an array, a list or a column (n, 1)
    n : number of the rows that the ids belong to: there must be one id for each row, and all must be different.
        None: any number of ids
    name, path : the argument or entry, and the file, for error messages
    unique : if False, skip the check that the n ids are different

    Raises
    ------
    ShapeError
        If ``ids`` is neither flat nor a column, or if there are not n ids.
    DTypeError
        If an id is a float, a date, a boolean, None or any other object, or an integer beyond the range of int64.
        Also if integers, strings, bytes and UUIDs are mixed.
    DomainError
        If an id repeats an earlier one, is masked, or is not valid Unicode.
    """
    try:
        array = _exact(_flat(ids, ordered=n is not None))
        if n is not None:
            if len(array) != n:
                raise ShapeError(f"expected {n} ids, one for each row, got {len(array)}")
            if unique:
                reject_repeated(array)
    except CompressaeError as error:
        error.argument, error.path = name, None if path is None else str(path)
        error.hint = error.hint if path is None else file_hint(error.hint)
        raise
    return array


def _flat(ids: Any, *, ordered: bool) -> NDArray[Any]:
    """Return ids as a one-dimensional array whose items are not converted."""
    if ordered and isinstance(ids, (Set, Mapping)):
        raise DTypeError(f"expected ids in the order of the rows, got a {type(ids).__name__}", hint="pass a list")
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise ShapeError(f"expected a flat array or list of ids, got {short_repr(ids)}")
    if isinstance(ids, np.ndarray) or hasattr(ids, "__array__"):
        array = host_array(ids, "ids")
    else:
        items = list(ids)
        array = np.fromiter(items, object, len(items))  # np.asarray would turn integers among strings into strings
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise ShapeError(f"expected a flat array or list of ids, got {array.dtype} of shape {array.shape}")
    return array


def _exact(array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind in "UST" or (kind == "O" and array.size):
        return _of_items(array.tolist())
    if array.size == 0:
        return np.empty(0, np.int64)
    if kind == "u":
        _reject_large(array > MAX_ID, array)
    elif kind != "i":
        value = short_repr(array[0])
        raise DTypeError(f"{EXPECTED}, got {value} ({array.dtype})", row=0, hint=_PLAIN)
    return array.astype(np.int64, copy=False)


_PLAIN = "store or pass ids as integers or strings"


def _reject_large(bad: Any, items: Any) -> None:
    if np.any(bad):
        row = int(np.argmax(bad))
        hint = "integer ids end at 2**63 - 1: store or pass these as strings"
        raise DTypeError(f"{EXPECTED}, got {short_repr(items[row])}", row=row, hint=hint)


def _of_items(items: list[Any]) -> NDArray[Any]:
    """Return the array of a list of Python objects, which must be of one kind."""
    if items and all(isinstance(item, (list, tuple)) and len(item) == 1 for item in items):
        items = [item for (item,) in items]  # a column (n, 1)
    kinds = {kind: _kind(kind) for kind in set(map(type, items))}
    first = kinds[type(items[0])] if items else "strings"
    if first is None or set(kinds.values()) - {first}:
        row = next(row for row, item in enumerate(items) if kinds[type(item)] != first or first is None)
        among = f" among {first}" if kinds[type(items[row])] else ""
        raise DTypeError(f"{EXPECTED}, got {short_repr(items[row])}{among}", row=row, hint=_PLAIN)
    if first == "integers":
        numbers = [int(item) for item in items]
        if not MIN_ID <= min(numbers) <= max(numbers) <= MAX_ID:
            _reject_large([not MIN_ID <= item <= MAX_ID for item in numbers], numbers)
        return np.array(numbers, np.int64)
    return np.fromiter(_bytes_as_text(items) if first == "bytes" else _text(items), object, len(items))


def _kind(kind: type) -> str | None:
    """Return the name of the kind of ids that a type is, or None for a type of no ids."""
    if issubclass(kind, (bool, np.bool_, np.timedelta64)):  # NumPy counts time differences among the integers
        return None
    for name, types in (("integers", (int, np.integer)), ("strings", str), ("bytes", bytes)):
        if issubclass(kind, types):
            return name
    from uuid import UUID

    return "UUIDs" if issubclass(kind, UUID) else None


def _text(items: list[Any]) -> list[str]:
    texts = [str.__str__(item) if isinstance(item, str) else str(item) for item in items]
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        row = texts.index(error.object)
        raise DomainError(f"expected ids of valid Unicode, got {short_repr(error.object)}", row=row) from None
    return texts


def _bytes_as_text(items: list[bytes]) -> list[str]:
    try:
        return [item.decode() for item in items]
    except UnicodeDecodeError as error:
        row = items.index(error.object)
        raise DomainError(f"expected bytes of UTF-8, got {short_repr(error.object)}", row=row) from None


def written_ids(texts: list[str]) -> list[Any]:
    """Return ids that a text file writes: integers if all are written as this package writes them, otherwise strings.

    So "007" and "1_000" are strings.
    """
    return [int(text) for text in texts] if all(map(_is_integer, texts)) else texts


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return (
        digits.isascii()
        and digits.isdigit()
        and len(digits) < 20
        and MIN_ID <= int(text) <= MAX_ID
        and str(int(text)) == text
    )


def reject_repeated(ids: NDArray[Any] | Sequence[Any]) -> None:
    """Raise DomainError for the first id that repeats an earlier one. It names both rows."""
    if isinstance(ids, np.ndarray) and ids.dtype.kind == "i":
        ascending = np.sort(ids)  # a set of Python integers would take ten times the memory
        if not (ascending[1:] == ascending[:-1]).any():
            return
    elif len(set(ids)) == len(ids):
        return
    first: dict[Any, int] = {}
    for row, item in enumerate(ids.tolist() if isinstance(ids, np.ndarray) else ids):
        if (before := first.setdefault(item, row)) != row:
            raise DomainError(
                f"expected unique ids, got {short_repr(item)} of row {before} again",
                argument="ids",
                row=row,
                hint="remove one of the two rows, or correct its id",
            )
