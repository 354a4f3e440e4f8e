"""Read the weights and the sites of items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import host_array
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError, ShapeError
from compressae_ref.segments.contrast import Doubles

MAX_SITES = 1000
"""The most sites: more are hardly sites, and take too much memory."""


def as_weights(weights: Any, n: int) -> Doubles:
    """Return n weights as float64; None is a weight of 1 for each item. The error names the first bad row."""
    if weights is None:
        return np.ones(n)
    array = host_array(weights, "weights")
    if array.dtype.kind not in "fiu":
        raise DTypeError(f"expected numbers, got {array.dtype}", argument="weights")
    _require_rows(array.shape, n, "weights")
    array = array.astype(np.float64)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DomainError(f"expected finite weights of at least 0, got {array[row]}", argument="weights", row=row)
    if not array.any():
        raise DomainError("expected a weight above 0, got 0 in every row", argument="weights")
    return array


def as_sites(sites: Any, n: int, known: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each item's site, and the names of all sites: ``known``, then new ones in ascending order.

    Sites are strings, integers or booleans; None is one site for all items.
    """
    if sites is None:
        return np.zeros(n, np.int64), known
    items = sites.tolist() if hasattr(sites, "tolist") else list(sites)
    _require_rows((len(items),), n, "sites")
    for row, site in enumerate(items):
        if not isinstance(site, (str, int, np.integer)) or site == "":
            raise DomainError(
                f"expected a site, which is a string or an integer, got {short_repr(site)}", argument="sites", row=row
            )
    texts = [str(site) for site in items]
    names = known + sorted(set(texts) - set(known))
    numbers = {name: number for number, name in enumerate(names)}
    of_item = np.fromiter(map(numbers.__getitem__, texts), np.int64, n)
    if len(names) > MAX_SITES:
        row = int(np.argmax(of_item >= MAX_SITES))
        raise DomainError(
            f"expected at most {MAX_SITES:,} sites, got {len(names):,}",
            argument="sites",
            row=row if of_item.max() >= MAX_SITES else None,
            hint="choose a column with fewer values",
        )
    return of_item, names


def require_several_items(of_item: NDArray[np.int64], names: list[str]) -> None:
    """Refuse sites of which more than half have a single item: they are ids, not sites. DomainError."""
    items = np.bincount(of_item, minlength=len(names))
    if len(names) > 1 and 2 * (items == 1).sum() > len(names):
        row = int(np.argmax(items[of_item] == 1))
        raise DomainError(
            f"expected several items for most sites, got a single one for {(items == 1).sum():,} of {len(names):,} "
            f"sites, such as {names[of_item[row]][:60]!r}",
            argument="sites",
            row=row,
            hint="choose a column with fewer values",
        )


def _require_rows(shape: tuple[int, ...], n: int, name: str) -> None:
    if shape != (n,):
        raise ShapeError(f"expected {n:,} {name}, one for each item, got shape {shape}", argument=name)
