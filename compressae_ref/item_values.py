"""Weights, sites and texts of items, from arrays, lists or columns of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, items_of
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError

NUMBERS = (int, float, np.integer, np.floating, Decimal)
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30
"""Weights above 0 are in this range, so that neither their squares nor their products leave that of float64."""
KINDS: dict[str, tuple[type, ...]] = {
    "strings": (str,), "booleans": (bool, np.bool_), "integers": (int, np.integer),
}  # fmt: skip
"""The kinds of site names. Python counts a boolean among the integers, so it comes before them."""


class KeptTexts:
    """The texts of some rows, read again in each iteration.

    Parameters
    ----------
    texts : a text or None for each row, iterable several times
    kept : (n,) which rows are kept
    """

    def __init__(self, texts: Iterable[str | None], kept: Bools) -> None:
        self._texts, self._kept = texts, kept

    def __iter__(self) -> Iterator[str | None]:
        return compress(self._texts, self._kept)


def as_weights(values: Any, name: str = "weights") -> NDArray[np.float64]:
    """Return weights (n,) as float64.

    Parameters
    ----------
    values : finite numbers, 0 or from 1e-30 to 1e30, in a flat array or list
    name : the argument, for error messages

    Raises
    ------
    DTypeError, ShapeError
        If ``values`` is not a flat array or list.
    DomainError
        Naming the first row that is negative, not finite, out of range, or no number.
    """
    array = items_of(values, name)
    if array.dtype.kind not in "iuf":
        items = array.tolist()
        numbers = np.fromiter(map(_number, items), np.float64, len(items))
    else:
        items, numbers = array, array.astype(np.float64)
    bad = ~((numbers == 0) | ((numbers >= LEAST_WEIGHT) & (numbers <= MOST_WEIGHT)))
    if bad.any():
        row = int(np.argmax(bad))
        in_range = f"0 or numbers from {LEAST_WEIGHT} to {MOST_WEIGHT}"
        expected = in_range if 0 < numbers[row] < np.inf else "finite numbers of at least 0"
        raise DomainError(f"expected {expected}, got {shown(items[row])}", argument=name, row=row)
    return numbers + 0.0  # −0 becomes 0


def _number(item: Any) -> float:
    """Return a number as a float, or NaN for anything else."""
    if not isinstance(item, NUMBERS) or isinstance(item, (bool, np.timedelta64)):
        return np.nan
    try:
        return float(item)
    except (OverflowError, ValueError):  # an integer above float64; a signalling NaN
        return np.inf


def number_in(item: Any) -> Any:
    """Return the number that a string in a text file writes, or the item itself if it writes none."""
    return float(item) if isinstance(item, str) and NUMBER.fullmatch(item) else item


def as_sites(values: Any, name: str = "sites") -> list[str]:
    """Return the names of sites (n,) as strings: integers in decimal, booleans as "true" and "false".

    Parameters
    ----------
    values : strings, integers or booleans, all of one kind, in a flat array or list
    name : the argument, for error messages

    Raises
    ------
    DTypeError, ShapeError
        If ``values`` is not a flat array or list. Naming the first row that is of no or another kind.
    DomainError
        Naming the first row that is null, blank, or not valid Unicode.
    """
    items = items_of(values, name).tolist()
    kinds = {kind: _kind(kind) for kind in set(map(type, items))}
    if None in kinds.values() or len(set(kinds.values())) > 1:
        raise _mixed(items, kinds, name)
    text_of = {item: _text(item) for item in set(items)}
    texts = [text_of[item] for item in items]
    bad = {text for text in text_of.values() if not text.strip() or not _is_unicode(text)}
    if bad:
        row = next(row for row, text in enumerate(texts) if text in bad)
        raise DomainError(f"expected the name of a site, got {short_repr(texts[row])}", argument=name, row=row)
    return texts


def _kind(kind: type) -> str | None:
    if issubclass(kind, np.timedelta64):  # NumPy counts time differences among the integers
        return None
    return next((name for name, types in KINDS.items() if issubclass(kind, types)), None)


def _mixed(items: list[Any], kinds: dict[type, str | None], name: str) -> DTypeError | DomainError:
    """Return the error about the first item that has no kind, or another one than the first item."""
    first = kinds[type(items[0])]
    row = next(row for row, item in enumerate(items) if first is None or kinds[type(item)] != first)
    item, expected = items[row], "strings, integers or booleans" if first is None else f"{first} as in row 0"
    if item is None or (isinstance(item, float) and item != item):
        return DomainError(f"expected the name of a site, got {shown(item)}", argument=name, row=row)
    return DTypeError(f"expected {expected}, got {shown(item)}", argument=name, row=row)


def _text(item: Any) -> str:
    if isinstance(item, (bool, np.bool_)):
        return "true" if item else "false"
    return str(item)


def _is_unicode(text: str) -> bool:
    """Return whether a string can be written as UTF-8: it has no surrogates, which JSON may escape one by one."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def shown(item: Any) -> str:
    """Return an item for an error message: on one line, at most 40 characters."""
    if isinstance(item, (date, np.datetime64)):
        return str(item)[:40]
    known = item is None or isinstance(item, (str, bytes, bool, np.generic, *NUMBERS))
    return short_repr(item) if known else f"a {type(item).__name__}"
