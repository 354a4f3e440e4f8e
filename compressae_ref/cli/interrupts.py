"""Deliver Ctrl-C even while Numba compiles kernels."""

from __future__ import annotations

import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_SECONDS = 0.05
"""Delay before a lost KeyboardInterrupt is raised again."""


@contextmanager
def redeliver_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt again if it was raised where no caller could receive it.

    LLVM calls back into Python while Numba compiles. Python reports an exception in such a callback as unraisable, and
    the program goes on. This context manager interrupts the main thread again until the exception reaches the caller.
    """
    before = sys.unraisablehook

    def redeliver(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        timer = threading.Timer(AGAIN_SECONDS, interrupt_main)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = redeliver
    try:
        yield
    finally:
        sys.unraisablehook = before
