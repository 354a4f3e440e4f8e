"""Codes as lists of indices and values, for formats whose rows may have any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lists = tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]], NDArray[np.int64]]
"""Concatenated indices of several rows, their values, and the length of each row."""


@dataclass(frozen=True)
class ListedCodes:
    """The result of scanning a file of codes. ``lists()`` reads the entries."""

    n: int
    k: int
    """entries of the longest row"""
    entries: int
    """entries of all rows"""
    n_latents: int | None
    model: str | None
    ids: NDArray[Any] | None
    lists: Callable[[], Iterator[Lists]]
    refined: bool = False
