"""A student's file, seen from outside: its functions answer tests in a process of their own.

A crash or an endless loop ends only that process. This is no protection against hostile code, which runs with all
rights of the user, at the user's own risk.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from compressae_ref.verify.exercises.process import LOAD
from compressae_ref.verify.exercises.table import Function
from compressae_ref.verify.programs import Program
from compressae_ref.verify.vectors import Test

TIMEOUT = 10.0
"""Seconds to wait for an answer."""

_ROOT = Path(__file__).resolve().parents[3]
_CHILD = (
    f"import sys; sys.path[:1] = [{str(_ROOT)!r}]; "  # instead of the current folder, where a file may be named json.py
    "from compressae_ref.verify.exercises.process import serve; serve(sys.argv[1])"
)

CRASHES = {
    "SIGSEGV": ": does a kernel read or write outside of an array?",
    "SIGBUS": ": does a kernel read or write outside of an array?",
    "SIGKILL": ": did it need more memory than there is?",
}
"""What may be wrong, by the signal that ended a process."""


class Student:
    """A student's file, whose functions answer tests; its process starts again after a crash or an endless loop."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path, self.timeout = path, timeout
        self._program: Program | None = None
        self._unusable: dict[str, Any] = {}

    def __call__(self, function: Function, test: Test) -> dict[str, Any]:
        """Return ``{"outputs": …}``, ``{"error": …, "message": …}`` of `process`, or ``{"failed": reason}``."""
        if self._program is None and not self._unusable:
            self._start()
        if self._unusable:
            return self._unusable
        return self._asked(replace(test, operation=function.name))

    def _start(self) -> None:
        """Start the process and wait until it has run the file, so that no test is blamed for what stands outside."""
        command = shlex.join([sys.executable, "-c", _CHILD, self.path])
        self._program = Program(command, self.timeout)
        answer = self._asked(Test("load", LOAD, (), "", {}))
        if "failed" in answer:
            words = answer["failed"].replace("no answer", "did not end", 1).removeprefix("the file ")
            answer = {"error": "NoFile", "message": f"no test was run: the file's code outside functions {words}"}
        self._unusable = answer if "error" in answer else {}

    def _asked(self, test: Test) -> dict[str, Any]:
        assert self._program is not None
        answer = self._program(test)
        if "failed" in answer:
            self.close()
            return {"failed": _in_words(str(answer["failed"]))}
        return answer

    def close(self) -> None:
        """End the process."""
        program, self._program = self._program, None
        if program is not None:
            program.__exit__()


def _in_words(failed: str) -> str:
    """Return how a process ended, for somebody who did not start it."""
    if failed.startswith("no answer"):
        return f"{failed}: is there a loop that never ends? (--timeout waits longer)"
    words = failed.replace("the program", "the file ended Python:", 1).replace("Python: ended with", "Python with", 1)
    if not (number := re.search(r"was ended by signal (\d+)", words)):
        return words
    name = next((each.name for each in signal.Signals if each == int(number[1])), f"signal {number[1]}")
    return f"the file crashed Python ({name}){CRASHES.get(name, '')}"
