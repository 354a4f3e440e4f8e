"""Read the weights and the sites of items, and number the sites."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import item_values
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.segments.contrast import Doubles

MAX_SITES = 1000
"""The most sites. More are hardly sites, and their counts would take too much memory."""


def as_weights(weights: Any, n: int) -> Doubles:
    """Return n weights as float64; None is a weight of 1 for each item. The error names the first bad row."""
    if weights is None:
        return np.ones(n)
    array = item_values.as_weights(weights)
    require_rows(len(array), n, "weights")
    return array


def require_weight(weights: Doubles) -> None:
    """Refuse weights that are all 0, of which no item has a share. DomainError."""
    if not weights.any():
        raise DomainError("expected a weight above 0, got 0 in every row", argument="weights")


def as_sites(sites: Any, n: int, known: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each item's site, and the names of all sites: ``known``, then new ones in ascending order.

    Sites are strings, integers or booleans; None is one site for all items.
    """
    if sites is None:
        return np.zeros(n, np.int64), known
    items = item_values.as_sites(sites)
    require_rows(len(items), n, "sites")
    names = known + sorted(set(items) - set(known))
    numbers = {name: number for number, name in enumerate(names)}
    of_item = np.fromiter(map(numbers.__getitem__, items), np.int64, n)
    if len(names) > MAX_SITES:
        raise DomainError(
            f"expected at most {MAX_SITES:,} sites, got {len(names):,}",
            argument="sites",
            hint="choose a column with fewer values",
        )
    return of_item, names


def require_several_items(of_item: NDArray[np.int64], names: list[str]) -> None:
    """Refuse sites of which at least half have a single item: they are ids, not sites. DomainError."""
    items = np.bincount(of_item, minlength=len(names))
    if len(names) > 1 and 2 * (items == 1).sum() >= len(names):
        row = int(np.argmax(items[of_item] == 1))
        raise DomainError(
            f"expected several items for most sites, got a single one for {(items == 1).sum():,} of {len(names):,} "
            f"sites, such as {item_values.shown(names[of_item[row]])}",
            argument="sites",
            row=row,
            hint="choose a column with fewer values",
        )


def require_rows(count: int, n: int, name: str) -> None:
    """Refuse another number of values than of items. ShapeError."""
    if count != n:
        raise ShapeError(f"expected {n:,} {name}, one for each item, got {count:,}", argument=name)
