"""Turn Ctrl-C (SIGINT) and SIGTERM into exceptions, which delete temporary files on their way, and into one line.

This module is imported first and imports little, because a signal before `heed_signals` ends Python with a traceback.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN_SECONDS = 0.05
"""Delay before a signal that could not be handled is raised again."""

SAME_SIGNAL_SECONDS = 1.0
"""A signal this soon after another one is ignored: programs forward the Ctrl-C that the terminal has sent, too."""

IMPORT_SECONDS = 10.0
"""A signal waits at most this long for the end of an import."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come. The command ends as after Ctrl-C, with another exit code."""


class _Handler:
    """Raise KeyboardInterrupt for SIGINT and `Terminated` for SIGTERM.

    A signal during an import is raised after it: modules and their C code may swallow an exception, or replace it.
    """

    def __init__(self) -> None:
        self.came: float | None = None
        self.raised: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.raised is not None and now - self.raised < SAME_SIGNAL_SECONDS:
            return
        self.came = now if self.came is None else self.came
        if _importing(frame) and now - self.came < IMPORT_SECONDS:
            _raise_later(number)
            return
        self.raised = now
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def redeliver(self, lost: KeyboardInterrupt | None) -> None:
        """Raise a signal again whose exception reached no caller."""
        self.raised = None
        _raise_later(signal.SIGTERM if isinstance(lost, Terminated) else signal.SIGINT)


@contextmanager
def heed_signals(*, last: bool = False) -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT and `Terminated` for SIGTERM in the main thread.

    LLVM calls back into Python while Numba compiles. Python reports an exception in such a callback as unraisable, and
    the program goes on. The signal is then raised again until its exception reaches the caller.

    Parameters
    ----------
    last : whether the process ends after the block: signals are then ignored instead of handled as before
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or any(isinstance(signal.getsignal(number), _Handler) for number in SIGNALS):
        yield
        return
    handler, hook = _Handler(), sys.unraisablehook

    def redeliver(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            handler.redeliver(lost.exc_value)
        else:
            hook(lost)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]  # nohup and & ignore them
    sys.unraisablehook = redeliver
    try:
        for number in heeded:
            signal.signal(number, handler)
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN if last else before[number])
        # after an interrupt, objects of other packages are torn down in any state
        sys.unraisablehook = _ignore if last and handler.raised is not None else hook


def _ignore(_: Any) -> None:
    """Do not report an exception that nothing can handle."""


def forget_written() -> None:
    """Forget which outputs an earlier command of this process has written."""
    from compressae_ref.files.atomic_write import WRITTEN

    WRITTEN.clear()


def report_interrupt(interrupt: KeyboardInterrupt) -> int:
    """Print what an interrupted command has written and return the exit code.

    A command that can resume puts the text into ``interrupt.args``: what was written, and how to go on.
    """
    from compressae_ref.cli.terminal import tell_error
    from compressae_ref.files.atomic_write import WRITTEN

    complete = f"{', '.join(WRITTEN)} {'is' if len(WRITTEN) == 1 else 'are'} complete, nothing else was written"
    default = complete if WRITTEN else "nothing was written"
    tell_error(f"interrupted; {interrupt.args[0] if interrupt.args else default}")
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _importing(frame: FrameType | None) -> bool:
    """Return whether an import is in progress."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            return True
        frame = frame.f_back
    return False


def _raise_later(number: int) -> None:
    timer = threading.Timer(AGAIN_SECONDS, _raise_in_main, [number])
    timer.daemon = True
    timer.start()


def _raise_in_main(number: int) -> None:
    """Send a signal to the main thread, which also ends a system call that it waits in, if the platform can."""
    main_thread = threading.main_thread().ident
    if main_thread is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread, number)
    else:
        interrupt_main(signal.Signals(number))
