"""Start and end Dask's processes on this machine so that Ctrl-C at any moment ends all of them without a traceback.

A terminal sends Ctrl-C to every process of a command. Only the command handles it here: the workers inherit a blocked
SIGINT, and the command then closes them.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from compressae_ref.training.deferred_signals import DeferredSignals

SILENT = logging.CRITICAL + 1
"""No message of Dask has this level: it reports each task that ends with an interrupted command, with tracebacks."""


@contextmanager
def local_client(distributed: Any, processes: int) -> Iterator[Any]:
    """Yield a client of new processes, which end with the block.

    A signal that comes while they start or end is delivered afterwards: Dask would leave processes behind.
    """
    stack = ExitStack()
    try:
        with DeferredSignals(), _blocked_interrupt():
            settings = {
                "n_workers": processes,
                "threads_per_worker": 1,
                "silence_logs": SILENT,
                "dashboard_address": "127.0.0.1:0",  # any free port: a taken one would be a warning
                "scheduler_kwargs": {"dashboard": False},
            }
            cluster = stack.enter_context(distributed.LocalCluster(**settings))
            client = stack.enter_context(distributed.Client(cluster))
        yield client
    finally:
        with DeferredSignals():
            stack.close()


@contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """Block SIGINT in this thread, and in the threads and processes that it starts, for as long as they live."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # later it would unblock SIGINT in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
