"""Codes as lists of indices and values, as files keep them that know no k."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lists = tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]], NDArray[np.int64]]
"""Indices of some rows one after the other, values, and how many each row has."""


@dataclass(frozen=True)
class ListedCodes:
    """What one look at a file finds."""

    n: int
    k: int
    """entries of the longest row"""
    n_latents: int | None
    model: str | None
    ids: NDArray[Any] | None
    lists: Callable[[], Iterator[Lists]]
