"""How an implementation is asked: one request and one answer a line, as JSON; or all of them from files.

``spec/vectors/README.md`` states the protocol for whoever writes a program.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from compressae_ref.backends import Backend
from compressae_ref.errors import BackendError, CompressaeError, FormatError
from compressae_ref.files.npz import PathLike, replacing
from compressae_ref.verify import self_test
from compressae_ref.verify.vectors import Test, compact, values_from_json, values_to_json

UNREAD = 16
"""Lines of a program that may wait to be looked at."""

LONGEST = 2**28
"""Characters of a line of a program that are read at once."""

PATIENCE = 3
"""How often in a row a program may give no answer in time, before it is asked no more."""

Ask = Callable[[Test], dict[str, Any]]
"""Gives the answer to a test: ``{"outputs": …}``, ``{"error": …}``, ``{"unsupported": …}`` or ``{"failed": words}``."""


def request(test: Test) -> str:
    """The question, as one line of JSON."""
    return compact({"id": test.id, "operation": test.operation, "inputs": values_to_json(test.inputs)})


def decoded(line: str, test: Test) -> dict[str, Any]:
    """An answer with its arrays decoded; ``{"failed": …}`` for a line that is not an answer to the test."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {"failed": f"expected an answer as one line of JSON, got {line.strip()[:60]!r}"}
    if not isinstance(answer, dict) or answer.get("id") != test.id:
        got = answer.get("id") if isinstance(answer, dict) else answer
        return {"failed": f"expected an answer with the id {test.id!r}, got {str(got)[:60]!r}"}
    kinds = set(answer) & {"outputs", "error", "unsupported"}
    if len(kinds) != 1 or set(answer) - {"id", "outputs", "error", "row", "unsupported", "message"}:
        got = ", ".join(sorted(set(answer) - {"id"})) or "nothing"
        return {"failed": f"expected outputs, error or unsupported, got {got}"}
    if "outputs" in answer:
        return _with_arrays(answer)
    if "error" in answer and not (isinstance(answer["error"], str) and answer["error"].isidentifier()):
        return {"failed": f"expected the name of an error, got {str(answer['error'])[:60]!r}"}
    return answer


def _with_arrays(answer: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(answer["outputs"], dict):
        return {"failed": "expected outputs by name, got something else"}
    try:
        return {"outputs": values_from_json(answer["outputs"])}
    except CompressaeError as error:
        return {"failed": str(error)}


def ask_package(backend: Backend) -> Ask:
    """The package itself."""
    return lambda test: self_test.answer(test.operation, test.inputs, backend)


def ask_reference() -> Ask:
    """The reference file."""
    from compressae_ref.verify import reference_answers

    return lambda test: reference_answers.answer(test.operation, test.inputs)


class Program:
    """A program that answers on its standard output; it is started again when it ends or does not answer in time."""

    def __init__(self, command: str, timeout: float) -> None:
        try:
            self.command, self.timeout = shlex.split(command), timeout
        except ValueError as error:
            raise BackendError(f"expected a program to start, got {command!r}: {error}", argument="verify") from error
        self.process: subprocess.Popen[str] | None = None
        self.silences = 0
        self.lines: queue.Queue[str] = queue.Queue(UNREAD)
        self.stopped = threading.Event()

    def __enter__(self) -> Program:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, test: Test) -> dict[str, Any]:
        """Ask it one thing; not any more when it has been silent for too often."""
        if self.silences == PATIENCE:
            return {"failed": f"not asked: the program did not answer {PATIENCE} times in a row"}
        process = self.process
        if process is None or process.poll() is not None:
            process = self._start()
        # From a thread: a program that does not read its input must not hold up the clock.
        threading.Thread(target=_write, args=(process.stdin, request(test)), daemon=True).start()
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            self._stop(patience=0)
            self.silences += 1
            return {"failed": f"no answer within {self.timeout:g} s"}
        self.silences = 0
        return decoded(line, test) if line else {"failed": f"the program ended{self._how()}"}

    def _start(self) -> subprocess.Popen[str]:
        self._stop()
        options: dict[str, Any] = {"text": True, "encoding": "utf-8", "errors": "replace"}
        try:
            process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        except (OSError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "no command"
            raise BackendError(
                f"expected a program to start, got {' '.join(self.command)!r}: {reason}", argument="verify"
            ) from error
        self.lines, self.stopped = queue.Queue(UNREAD), threading.Event()
        reading = (process.stdout, self.lines, self.stopped)
        threading.Thread(target=_read, args=reading, daemon=True).start()
        self.process = process
        return process

    def _stop(self, patience: float = 2) -> None:
        """Close its input, which should end it, and wait for so many seconds before it is killed."""
        process, self.process = self.process, None
        self.stopped.set()
        if process is None:
            return
        if not patience:
            process.kill()
        with suppress(OSError, ValueError):  # it may have gone already
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(patience or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _how(self) -> str:
        assert self.process is not None
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._stop()
            return " its output"
        return f" with exit code {code}" if code >= 0 else f" by signal {-code}"


def _write(stream: Any, line: str) -> None:
    """Hand over a request; if the program has gone, the end of its output will say so."""
    with suppress(OSError, ValueError):
        stream.write(line + "\n")
        stream.flush()


def _read(stream: Any, lines: queue.Queue[str], stopped: threading.Event) -> None:
    """Hand on every line, and an empty one at the end; wait where nobody takes them."""
    with suppress(OSError, ValueError), stream:
        while line := stream.readline(LONGEST):
            if not _put(lines, line, stopped):
                return
    _put(lines, "", stopped)


def _put(lines: queue.Queue[str], line: str, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        with suppress(queue.Full):
            lines.put(line, timeout=0.2)
            return True
    return False


def write_requests(path: PathLike, tests: Iterable[Test]) -> int:
    """Write all questions to a file, one a line; returns how many."""
    count = 0
    with replacing(path) as file:
        for count, test in enumerate(tests, start=1):  # noqa: B007  the count is the result
            file.write((request(test) + "\n").encode())
    return count


def ask_file(path: PathLike) -> Ask:
    """Answers that a program wrote to a file, in any order.

    Raises
    ------
    FormatError
        For a line that is not a JSON object with an id, naming the line.
    """
    places: dict[str, tuple[int, int]] = {}
    with Path(path).open("rb") as file:
        start = 0
        for number, line in enumerate(file, start=1):
            if line.strip() and (name := _id_of(path, number, line)) in places:
                raise FormatError(f"expected one answer to {name[:40]!r}, got another in line {number}", path=path)
            if line.strip():
                places[name] = (start, len(line))
            start += len(line)

    def ask(test: Test) -> dict[str, Any]:
        if test.id not in places:
            return {"failed": "no answer in the file"}
        start, length = places[test.id]
        with Path(path).open("rb") as file:
            file.seek(start, os.SEEK_SET)
            return decoded(file.read(length).decode("utf-8", "replace"), test)

    return ask


def _id_of(path: PathLike, number: int, line: bytes) -> str:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected an answer as JSON in line {number}, got something else", path=path) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        raise FormatError(f"expected an object with an id in line {number}, got something else", path=path)
    return str(answer["id"])
