"""Threads for the kernels: each takes some rows or latents at a time, until none are left.

Kernels are compiled to run without Python's lock, so that Python's own threads run them side by side. They sleep
between calls, where the threads of OpenMP or of a BLAS go on spinning, and a child process may start its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any

Work = Callable[[], None]
Ended = SimpleQueue[BaseException | None]
"""Where a helper says that it has ended, and with which error."""

MAX_SPLIT = 8
"""No part is smaller than the largest one divided by this."""


def parallel_for(n: int, chunk: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call ``kernel(*arguments, first, last)`` for parts of ``range(n)``, of at most ``most`` each, on all threads.

    Which thread takes which part, and how many there are, changes no bit: a part has one owner. What is little is not
    divided: it takes as long to wake a thread.
    """
    threads = thread_count()
    parts = threads * -(-n // (threads * chunk))  # as many for each thread
    step = max(1, chunk // MAX_SPLIT, -(-n // max(1, parts)))
    starts = iter(range(0, n, step))  # shared: its next() is one operation under Python's lock

    def work() -> None:
        for start in starts:
            kernel(*arguments, start, min(start + step, n))

    _together(work, min(threads, -(-n // step)) - 1)


def _together(work: Work, helpers: int) -> None:
    """Call ``work`` here and in other threads at once; an error in any of them is raised here, when all have ended.

    Only an interrupt that comes while the others are waited for is raised before that: they end their work unseen.
    """
    ended: Ended = SimpleQueue()
    for _ in range(helpers):
        _waiting(helpers).put((work, ended))
    try:
        work()
    finally:
        errors = [ended.get() for _ in range(helpers)]
    for error in errors:
        if error is not None:
            raise error


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
def _waiting(helpers: int) -> SimpleQueue[tuple[Work, Ended]]:
    """Where so many threads wait for work. An executor of the standard library takes twice as long to wake them."""
    queue: SimpleQueue[tuple[Work, Ended]] = SimpleQueue()
    for _ in range(helpers):
        threading.Thread(target=_help, args=(queue,), name="compressae", daemon=True).start()
    return queue


def _help(queue: SimpleQueue[tuple[Work, Ended]]) -> None:
    while True:
        work, ended = queue.get()
        try:
            work()
        except BaseException as error:  # raised where the work was asked for
            ended.put(error)
        else:
            ended.put(None)
        del work, ended  # or the arrays would live on until the next work


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.cache_clear)  # threads do not survive a fork
