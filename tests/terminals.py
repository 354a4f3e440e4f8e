"""Commands on a terminal of a certain width: a real one (a pty), in this process."""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from compressae_ref.cli.main import main
from compressae_ref.layout import columns_of


class Shown(NamedTuple):
    """What a terminal was sent."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Every line of both streams, also those that were overwritten."""
        text = re.sub(r"\x1b\[[A-Z]", "", f"{self.out}\n{self.err}")
        return re.split("[\r\n]+", text)

    def too_wide(self, width: int) -> list[str]:
        """The lines that the terminal must break."""
        return [line for line in self.lines if columns_of(line) > width]

    def left(self) -> list[str]:
        """What stands on the terminal at the end, of standard error: a line is overwritten from its start."""
        rows = []
        for line in self.err.split("\n"):
            seen = ""
            for piece in line.split("\r"):
                seen = piece[3:] if piece.startswith("\x1b[K") else piece + seen[len(piece) :]
            rows.append(seen.rstrip())
        return [row for row in rows if row]


@contextmanager
def terminal(width: int) -> Iterator[tuple[int, list[bytes]]]:
    """A descriptor of a terminal with so many columns, and what was written to it once it is closed."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # on Linux: the other side is closed
                return
            if not more:
                return
            written.append(more)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs, written
    finally:
        reader.join(60)
        os.close(ours)


def on_terminal(work: Callable[[], int], width: int) -> Shown:
    """Do some work while standard output and standard error are terminals."""
    before = sys.stdout, sys.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        with terminal(width) as (out, out_written), terminal(width) as (err, err_written):
            streams = [os.fdopen(stream, "w", encoding="utf-8") for stream in (out, err)]
            sys.stdout, sys.stderr = streams
            try:
                code = work()
            finally:
                sys.stdout, sys.stderr = before
                for stream in streams:
                    stream.close()
    texts = [b"".join(each).decode().replace("\r\n", "\n") for each in (out_written, err_written)]
    return Shown(code, *texts)


def command_on_terminal(arguments: list[object], width: int) -> Shown:
    """Run a command on a terminal."""
    return on_terminal(lambda: main([str(argument) for argument in arguments]), width)
