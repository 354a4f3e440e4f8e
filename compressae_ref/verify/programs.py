"""Send requests to an implementation and read its answers: one JSON object per line, through pipes or files.

``spec/vectors/README.md`` specifies the protocol.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from compressae_ref.backends import Backend
from compressae_ref.errors import BackendError, CompressaeError, FormatError, reason
from compressae_ref.files.atomic_write import PathLike, replacing
from compressae_ref.verify import self_test
from compressae_ref.verify.vectors import Test, compact, described, values_from_json, values_to_json

UNREAD = 16
"""Number of lines that are read ahead from a program."""

LONGEST = 2**28
"""Number of characters of a line that are read at once."""

NOISE = 3
"""Number of lines on standard output that are not answers after which a program gets no more requests."""

PATIENCE = 3
"""Number of consecutive timeouts after which a program gets no more requests."""

ONLY_ANSWERS = "only answers may go to standard output: print everything else to standard error"

Ask = Callable[[Test], dict[str, Any]]
"""Answers a test: ``{"outputs": …}``, ``{"error": …}``, ``{"unsupported": …}``, or ``{"failed": reason}``.

An answer of a program may also have ``noise``: the lines before it that are not answers.
"""


def request(test: Test) -> str:
    """Return the request of a test as one line of JSON."""
    return compact({"id": test.id, "operation": test.operation, "inputs": values_to_json(test.inputs)})


def is_noise(line: str) -> bool:
    """Return whether a line is no answer at all, neither to this request nor to another one."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(answer, dict) and answer.keys() & {"id", "outputs", "error", "unsupported"})


def decoded(line: str, test: Test) -> dict[str, Any]:
    """Decode an answer and its arrays; return ``{"failed": reason}`` for a line that does not answer the test."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {"failed": f"expected an answer as one line of JSON, got {line.strip()[:60]!r}"}
    if not isinstance(answer, dict):
        return {"failed": f"expected an answer as a JSON object, got {described(answer)}"}
    if answer.get("id") != test.id:
        return {"failed": f"expected an answer with the id {test.id!r}, got {str(answer.get('id'))[:60]!r}"}
    kinds = set(answer) & {"outputs", "error", "unsupported"}
    if len(kinds) != 1 or set(answer) - {"id", "outputs", "error", "row", "unsupported", "message"}:
        got = ", ".join(sorted(set(answer) - {"id"})) or "only an id"
        return {"failed": f"expected one of outputs, error and unsupported, got {got}"}
    if "outputs" in answer:
        return _with_arrays(answer)
    if "error" in answer and not (isinstance(answer["error"], str) and answer["error"].isidentifier()):
        return {"failed": f"expected the name of an error, got {described(answer['error'])}"}
    return answer


def _with_arrays(answer: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(answer["outputs"], dict):
        return {"failed": f"expected outputs as a JSON object, got {described(answer['outputs'])}"}
    try:
        return {"outputs": values_from_json(answer["outputs"])}
    except CompressaeError as error:
        return {"failed": str(error)}


def ask_package(backend: Backend) -> Ask:
    """Return a function that answers with this package, on a backend."""
    return lambda test: self_test.answer(test.operation, test.inputs, backend)


def ask_reference() -> Ask:
    """Return a function that answers with the reference file, `compressae_ref.reference`."""
    from compressae_ref.verify import reference_answers

    return lambda test: reference_answers.answer(test.operation, test.inputs)


class Program:
    """A program that answers on its standard output; it is restarted if it ends or does not answer in time."""

    def __init__(self, command: str, timeout: float) -> None:
        try:
            self.command, self.timeout = shlex.split(command), timeout
        except ValueError as error:
            raise _not_started(command, reason(error)) from error
        self.process: subprocess.Popen[str] | None = None
        self.silences = self.noise = 0
        self.lines: queue.Queue[str] = queue.Queue(UNREAD)
        self.stopped = threading.Event()

    def __enter__(self) -> Program:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, test: Test) -> dict[str, Any]:
        """Send one request and wait for its answer, and skip lines that are not answers.

        After `PATIENCE` consecutive timeouts, or `NOISE` lines that are not answers, no request is sent.
        """
        if self.noise == NOISE:
            return {"failed": f"request not sent: {NOISE} lines on standard output were not answers"}
        if self.silences == PATIENCE:
            return {"failed": f"request not sent: the program did not answer {PATIENCE} requests in a row"}
        process = self.process
        if process is None or process.poll() is not None:
            process = self._start()
        # A thread writes: if the program does not read its input, writing blocks, and the timeout must still count.
        threading.Thread(target=_write, args=(process.stdin, request(test)), daemon=True).start()
        noise: list[str] = []
        try:
            line = self._next_answer(noise)
        except queue.Empty:
            self._stop(patience=0)
            self.silences += 1
            instead = f"; {decoded(noise[0], test)['failed']}; {ONLY_ANSWERS}" if noise else ""
            return {"failed": f"no answer within {self.timeout:g} s{instead}", "noise": noise}
        self.silences = 0
        if self.noise == NOISE:
            self._stop(patience=0)
            return {"failed": f"{decoded(noise[-1], test)['failed']}; {ONLY_ANSWERS}", "noise": noise}
        answer = decoded(line, test) if line else {"failed": f"the program {self._ending()}"}
        return answer | ({"noise": noise} if noise else {})

    def _next_answer(self, noise: list[str]) -> str:
        """Wait for the next answer, or for the `NOISE`-th line that is none; ``noise`` gets the lines that are none."""
        deadline = time.monotonic() + self.timeout
        while True:
            line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            if line and not line.strip():
                continue
            if not line or not is_noise(line):
                return line
            noise.append(line.strip()[:60])
            self.noise += 1
            if self.noise == NOISE:
                return line

    def _start(self) -> subprocess.Popen[str]:
        self._stop()
        options: dict[str, Any] = {"text": True, "encoding": "utf-8", "errors": "replace"}
        try:
            process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        except (OSError, IndexError) as error:
            why = getattr(error, "strerror", None) or "empty command"
            raise _not_started(" ".join(self.command), why) from error
        self.lines, self.stopped = queue.Queue(UNREAD), threading.Event()
        reading = (process.stdout, self.lines, self.stopped)
        threading.Thread(target=_read, args=reading, daemon=True).start()
        self.process = process
        return process

    def _stop(self, patience: float = 2) -> None:
        """Close the program's input, which should end it, and kill it after ``patience`` seconds."""
        process, self.process = self.process, None
        self.stopped.set()
        if process is None:
            return
        if not patience:
            process.kill()
        with suppress(OSError, ValueError):  # the program may have ended already
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(patience or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _ending(self) -> str:
        """Return how the program ended, after its output ended."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._stop()
            return "closed its output"
        return f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"


def _not_started(command: str, why: str) -> BackendError:
    message = f"expected a program that can be started, got {command!r} ({why})"
    return BackendError(message, argument="verify")


def _write(stream: Any, line: str) -> None:
    """Write a request. Errors are ignored: if the program has ended, the end of its output is reported."""
    with suppress(OSError, ValueError):
        stream.write(line + "\n")
        stream.flush()


def _read(stream: Any, lines: queue.Queue[str], stopped: threading.Event) -> None:
    """Put every line into the queue, and an empty one at the end; wait while the queue is full."""
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
    """Write all requests to a file, one per line; return their number."""
    count = 0
    with replacing(path) as file:
        for count, test in enumerate(tests, start=1):  # noqa: B007  the count is the result
            file.write((request(test) + "\n").encode())
    return count


def ask_file(path: PathLike) -> Ask:
    """Return a function that answers from a file: one answer per line, in any order.

    As in the output of a program, up to two lines that are not answers are skipped and reported.

    Raises
    ------
    FormatError
        If a line is not a JSON object with an id, or if an id occurs twice. The error names the line, from 1.
    """
    places: dict[str, tuple[int, int]] = {}
    noise: list[str] = []
    with Path(path).open("rb") as file:
        start = 0
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8", "replace")
            if line.strip() and len(noise) < NOISE - 1 and is_noise(text):
                noise.append(text)
                line = b"\n" * len(line)
            if line.strip() and (name := _id_of(path, number, line)) in places:
                raise FormatError(f"expected one answer to {name[:40]!r}, got a second one in line {number}", path=path)
            if line.strip():
                places[name] = (start, len(line))
            start += len(line)

    def ask(test: Test) -> dict[str, Any]:
        if test.id not in places:
            return {"failed": "no answer in the file"}
        start, length = places[test.id]
        with Path(path).open("rb") as file:
            file.seek(start, os.SEEK_SET)
            answer = decoded(file.read(length).decode("utf-8", "replace"), test)
        skipped = noise[:]
        noise.clear()  # each line is reported once
        return answer | ({"noise": skipped} if skipped else {})

    return ask


def _id_of(path: PathLike, number: int, line: bytes) -> str:
    """Return the id of the answer in a line."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        got = repr(line.strip()[:60].decode("utf-8", "replace"))
        raise FormatError(f"expected an answer as JSON in line {number}, got {got}", path=path) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        message = f"expected a JSON object with a string as id in line {number}, got {described(answer)}"
        raise FormatError(message, path=path)
    return str(answer["id"])
