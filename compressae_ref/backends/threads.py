"""Threads for the kernels: each takes some rows or latents at a time, until none are left.

Kernels are compiled to run without Python's lock, so that Python's own threads run them side by side. They sleep
between calls, where the threads of OpenMP or of a BLAS go on spinning, and a child process may start its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def share(n: int, most: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call ``kernel(*arguments, first, last)`` for parts of ``range(n)``, of at most ``most`` each, on all threads.

    Which thread takes which part, and how many there are, changes no bit: a part has one owner.
    """
    threads = thread_count()
    step = max(1, min(most, -(-n // threads)))
    starts = iter(range(0, n, step))  # shared: its next() is one operation under Python's lock

    def work(starts: Iterator[int]) -> None:
        for first in starts:
            kernel(*arguments, first, min(first + step, n))

    helpers = [_pool().submit(work, starts) for _ in range(min(threads, -(-n // step)) - 1)]
    try:
        work(starts)
    finally:
        for helper in helpers:
            helper.result()


def thread_count() -> int:
    """Threads in use: as `set_threads` says, else ``NUMBA_NUM_THREADS``, else one for each processor we may use."""
    return _threads or _default_threads()


def set_threads(count: int | None) -> None:
    """Use so many threads from now on; None: the default."""
    global _threads
    _threads = count


_threads: int | None = None


@cache
def _default_threads() -> int:
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="compressae")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
