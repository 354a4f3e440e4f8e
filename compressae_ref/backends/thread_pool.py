"""A thread pool for the kernels: threads take chunks of rows or latents until none are left.

Kernels release the GIL, so plain Python threads run them in parallel. Unlike the threads of OpenMP or BLAS, these
sleep between calls instead of spinning, and a forked child process can start its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any

Work = Callable[[], None]
Done = SimpleQueue[BaseException | None]
"""Each helper puts its error here when it ends, or None."""

MAX_SPLIT = 8
"""`parallel_for` splits a chunk into at most this many smaller ones to use all threads."""


def parallel_for(n: int, chunk: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call ``kernel(*arguments, start, stop)`` for ranges of at most ``chunk`` that cover ``range(n)``, in parallel.

    The number of threads changes no bit of a result: every row has one owner. Small ranges are not split, because
    waking a thread takes as long as processing them.
    """
    threads = thread_count()
    parts = threads * -(-n // (threads * chunk))  # a multiple of the number of threads
    step = max(1, chunk // MAX_SPLIT, -(-n // max(1, parts)))
    starts = iter(range(0, n, step))  # shared by all threads: the GIL makes next() atomic

    def work() -> None:
        for start in starts:
            kernel(*arguments, start, min(start + step, n))

    _together(work, min(threads, -(-n // step)) - 1)


def _together(work: Work, helpers: int) -> None:
    """Call ``work`` in this thread and in ``helpers`` others; raise the first error after all of them have ended.

    A KeyboardInterrupt during the wait is raised at once; the helpers then finish in the background.
    """
    done: Done = SimpleQueue()
    for _ in range(helpers):
        _waiting(helpers).put((work, done))
    try:
        work()
    finally:
        errors = [done.get() for _ in range(helpers)]
    for error in errors:
        if error is not None:
            raise error


def thread_count() -> int:
    """Return the number set by `set_threads`, else ``NUMBA_NUM_THREADS``, else the number of available CPUs."""
    return _threads or _default_threads()


def set_threads(count: int | None) -> None:
    """Set the number of threads; None restores the default."""
    global _threads
    _threads = count


_threads: int | None = None


@cache
def _default_threads() -> int:
    value = os.environ.get("NUMBA_NUM_THREADS", "")
    if value.isdecimal() and int(value) > 0:
        return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _waiting(helpers: int) -> SimpleQueue[tuple[Work, Done]]:
    """Return the queue of ``helpers`` waiting threads; a ThreadPoolExecutor takes twice as long to wake them."""
    queue: SimpleQueue[tuple[Work, Done]] = SimpleQueue()
    for _ in range(helpers):
        threading.Thread(target=_help, args=(queue,), name="compressae", daemon=True).start()
    return queue


def _help(queue: SimpleQueue[tuple[Work, Done]]) -> None:
    while True:
        work, done = queue.get()
        try:
            work()
        except BaseException as error:  # `_together` raises it in the calling thread
            done.put(error)
        else:
            done.put(None)
        del work, done  # otherwise the arrays would stay alive until the next call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.cache_clear)  # a forked child has no threads but its own
