"""Signals that end a program, deferred until it is at a point from which it can resume."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, the request to end, and the loss of the terminal."""

SAME_SECONDS = 1.0
"""Signals within this time are one request: `timeout`, for example, sends its signal twice."""

REQUESTS = 3
"""The request that is not deferred."""


class DeferredSignals:
    """Keep the first of `SIGNALS` that arrives within the block in ``pending``, until `deliver` is called.

    The third request goes to the previous handler at once, so that a program that hangs can be ended. Signals that the
    process ignores are still ignored. Outside the main thread Python delivers no signals, and nothing is deferred.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._requests, self._last = 0, -math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler is not None and handler != signal.SIG_IGN:  # None: installed by other than Python code
                    self._before[number] = handler
                    signal.signal(number, self._defer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        self.deliver()

    def deliver(self) -> None:
        """Hand the pending signal, if any, to the handler that was there before."""
        number, self.pending, self._requests, self._last = self.pending, None, 0, -math.inf
        if number is not None:
            self._hand_over(number, sys._getframe())

    def _defer(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < SAME_SECONDS:
            return
        self._last, self._requests = now, self._requests + 1
        self.pending = self.pending or number
        if self._requests == REQUESTS:
            self.pending = None
            self._hand_over(number, frame)

    def _hand_over(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        else:  # the default action, which ends the process
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
