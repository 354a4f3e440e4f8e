"""Work divided into blocks that run on all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from compressae_ref.backends.thread_pool import parallel_for

ROWS_PER_BLOCK = 128

Result = TypeVar("Result")


def map_blocks(n: int, most: int, function: Callable[[slice], Result]) -> list[Result]:
    """Call ``function`` with consecutive slices of range(n), at most ``most`` long; return the results in order.

    Without anything to divide it is called once, with an empty slice, so that results have their shapes and dtypes.
    """
    results: dict[int, Result] = {}
    errors = np.geterr()  # `np.errstate` applies to one thread only

    def work(start: int, stop: int) -> None:
        with np.errstate(**errors):
            results[start] = function(slice(start, stop))

    parallel_for(n, most, work)
    return [results[start] for start in sorted(results)] or [function(slice(0, 0))]
