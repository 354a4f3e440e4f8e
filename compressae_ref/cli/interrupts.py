"""Ctrl-C that is not lost while kernels are compiled."""

from __future__ import annotations

import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_SECONDS = 0.05
"""After how long a lost Ctrl-C is repeated."""


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Repeat a KeyboardInterrupt that nothing could catch.

    LLVM calls back into Python while Numba compiles. What is raised in there goes nowhere: Python reports it as ignored
    and the work goes on. So it is asked for again, a moment later and without a word, until it arrives where it counts.
    """
    before = sys.unraisablehook

    def repeat(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        timer = threading.Timer(AGAIN_SECONDS, interrupt_main)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = before
