"""A process that has imported what tests need, and forks for each run of pytest: imports are most of a short run.

It is told the modules, as arguments. It reads one run a line from its standard input, as JSON: the folder to run in,
pytest's arguments, variables of the environment and the file that takes the output. It answers by the exit code, which
is negative if a signal ended the run. It imports nothing of this package, so each folder may hold another version.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


class WarmPytest:
    """The caller's side of the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, arguments: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
        """Run pytest in a folder; return its exit code and what it printed."""
        output = folder / "output.txt"
        stdin, stdout = self._process.stdin, self._process.stdout
        print(json.dumps([str(folder), list(arguments), environment, str(output)]), file=stdin, flush=True)
        return int(stdout.readline()), output.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def warm_pytest(modules: Sequence[str], environment: dict[str, str]) -> Iterator[WarmPytest]:
    """Start the process; it ends with its standard input."""
    variables = {name: value for name, value in (os.environ | environment).items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    command = [sys.executable, __file__, *modules]
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True) as process:
        yield WarmPytest(process)
        process.stdin.close()


def serve(modules: Sequence[str]) -> None:
    """Answer each line; in a forked process, return from here to run pytest there and exit as it says."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # a collection would write to what is shared with the forked processes
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.exit(run(*json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(folder: str, arguments: list[str], environment: dict[str, str], output: str) -> int:
    """Run pytest as if it had been started in a folder."""
    import pytest

    nowhere = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, target in ((nowhere, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.chdir(folder)
    os.environ.update(environment)
    sys.path[0] = folder  # was the folder of this file
    sys.argv = ["pytest", *arguments]
    return pytest.main(arguments)


if __name__ == "__main__":
    serve(sys.argv[1:])
