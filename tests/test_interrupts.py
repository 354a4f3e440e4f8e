"""Ctrl-C and SIGTERM: one line, the right exit code, and no temporary file, whenever they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from compressae_ref import Model, init_params, save_model
from compressae_ref.cli.interrupts import Terminated, heed_signals
from compressae_ref.cli.main import main
from compressae_ref.files.atomic_write import TEMPORARY, replacing
from tests.memory_store import COLLECTIONS, FIELDS, MemoryStore

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.usefixtures("interruptible", "ends"),
]

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
NOTHING = "compressae-ref: interrupted; nothing was written\n"


@pytest.fixture
def interruptible():
    """Processes that are started now heed Ctrl-C, even where the suite itself runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    np.save(folder / "x.npy", rng.standard_normal((40_000, 64)).astype(np.float32))
    save_model(folder / "m.npz", Model(init_params(64, 512, rng), 8))
    return folder


HEEDING = """
import sys
from contextlib import contextmanager
from compressae_ref.__main__ import main
from compressae_ref.cli import interrupts
heed_signals = interrupts.heed_signals
@contextmanager
def heed(last=False):
    with heed_signals(last=last):
        if last:
            print("started", flush=True)
        yield
interrupts.heed_signals = heed
"""
STARTED = f"{HEEDING}sys.exit(main())\n"


def started(*arguments, code=STARTED):
    """A process that heeds signals from now on, and imports the package next."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def ended(process, seconds=100):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1, 0.2, 0.4, 0.8])
@pytest.mark.parametrize("number", CODES)
def test_a_signal_during_the_imports_is_one_line(files, tmp_path, number, delay):
    process = started("encode", files / "m.npz", files / "x.npy", "-o", tmp_path / "c.npz", "--backend", "numpy")
    time.sleep(delay)
    process.send_signal(number)
    code, *said = ended(process)
    if code == 0:  # it had ended before the signal came
        assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
    else:
        assert (code, *said) == (CODES[number], "", NOTHING)
        assert list(tmp_path.iterdir()) == []


SWALLOWED = f"""{HEEDING}
sys.path.insert(0, sys.argv.pop(1))
import compressae_ref.cli.inspect as command
command.run = lambda options: (__import__("swallows"), __import__("time").sleep(60))
sys.exit(main())
"""
SWALLOWS = """
import time
print("importing", flush=True)
try:
    for number in range(20):
        time.sleep(0.05)
except BaseException:
    raise ImportError("the module takes an interrupt for something else")
print("imported", flush=True)
"""


@pytest.mark.parametrize("number", CODES)
def test_a_module_cannot_disguise_a_signal(tmp_path, number):
    """NumPy's C code turns any exception during its import into an ImportError, for example."""
    (tmp_path / "swallows.py").write_text(SWALLOWS)
    process = started(tmp_path, "inspect", "x", code=SWALLOWED)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    assert ended(process, seconds=20) == (CODES[number], "imported\n", NOTHING)  # and does not wait for the sleep


def begun(folder):
    """Whether there is a temporary file with some content; the first one is empty, and only there for a moment."""
    with suppress(FileNotFoundError):
        return any(path.stat().st_size for path in folder.iterdir() if TEMPORARY.fullmatch(path.name))
    return False


@pytest.mark.parametrize("form", ["npz", "csr", "jsonl"])
@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_file_is_written_leaves_nothing(files, tmp_path, number, form):
    (tmp_path / f"c.{form}").write_bytes(b"before")
    process = started("encode", files / "m.npz", files / "x.npy", "-o", tmp_path / f"c.{form}", "--backend", "numpy")
    until = time.monotonic() + 60
    while not begun(tmp_path):
        assert process.poll() is None
        assert time.monotonic() < until
    process.send_signal(number)
    process.send_signal(number)  # as a program does that forwards the Ctrl-C which the terminal has sent, too
    assert ended(process) == (CODES[number], "", NOTHING)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


LATE = f"""{HEEDING}
import atexit, time
def wait():
    print("ending", flush=True)
    time.sleep(0.5)
atexit.register(wait)
sys.exit(main())
"""


@pytest.mark.parametrize("number", CODES)
def test_a_signal_after_the_work_changes_nothing(files, number):
    process = started("inspect", files / "m.npz", code=LATE)
    while process.stdout.readline() != "ending\n":
        assert process.poll() is None
    process.send_signal(number)
    assert ended(process) == (0, "", "")


@pytest.mark.parametrize("number", CODES)
def test_the_line_says_what_is_complete(files, tmp_path, monkeypatch, capsys, number):
    """A command with two outputs, interrupted after the first one."""

    def run(options):
        with replacing(tmp_path / "first") as file:
            file.write(b"1")
        with replacing(tmp_path / "second"):
            os.kill(os.getpid(), number)
            time.sleep(5)

    monkeypatch.setattr("compressae_ref.cli.inspect.run", run)
    assert main(["inspect", "x"]) == CODES[number]
    said = f"{tmp_path / 'first'} is complete, nothing else was written"
    assert capsys.readouterr().err == f"compressae-ref: interrupted; {said}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    monkeypatch.setattr("compressae_ref.cli.inspect.run", lambda options: os.kill(os.getpid(), number))
    assert main(["inspect", "x"]) == CODES[number]
    assert capsys.readouterr().err == NOTHING, "an earlier command of the process does not count"


def test_a_command_says_how_to_go_on(monkeypatch, capsys):
    def run(options):
        raise Terminated("half is there; run it again")

    monkeypatch.setattr("compressae_ref.cli.inspect.run", run)
    assert main(["inspect", "x"]) == 143
    assert capsys.readouterr().err == "compressae-ref: interrupted; half is there; run it again\n"


@pytest.mark.parametrize("replace", [False, True])
def test_an_interrupted_push_says_how_many_codes_are_there(files, monkeypatch, capsys, replace):
    class Interrupted(MemoryStore):
        def write(self, field, ids, vectors, digests=None):
            if self.count_written(field) >= 30:
                raise KeyboardInterrupt
            super().write(field, ids, vectors, digests)

    items = np.load(files / "x.npy")[:100]
    monkeypatch.setitem(COLLECTIONS, "interrupted", {row: {"dense": x} for row, x in enumerate(items)})
    monkeypatch.setitem(FIELDS, "interrupted", set())
    store = Interrupted("interrupted")
    monkeypatch.setattr("compressae_ref.cli.store_commands.open_store", lambda address: store)
    arguments = ["push", str(files / "m.npz"), "memory:", "--rows", "10", "--backend", "numpy"]
    again = "the same command without --replace" if replace else "the same command"
    assert main(arguments + ["--replace"] * replace) == 130
    expected = f"compressae-ref: interrupted; 30 of 100 codes are in {store.name}; {again} writes the others\n"
    assert capsys.readouterr().err == expected


def test_a_library_call_installs_no_handler(files):
    before = [signal.getsignal(number) for number in CODES]
    with heed_signals():
        assert [signal.getsignal(number) for number in CODES] != before
    assert [signal.getsignal(number) for number in CODES] == before
    code = "import signal, compressae_ref as c; c.fit; print(signal.getsignal(15) == signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_signals_that_are_ignored_stay_ignored(files):
    """As nohup does, or a shell with a command in the background."""
    ignoring = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{STARTED}"
    process = started("inspect", files / "m.npz", code=ignoring)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert out.startswith("file")


TORN_DOWN = """
import os, signal
from compressae_ref.cli.interrupts import heed_signals

class Torn:
    def __del__(self):
        raise AttributeError("half torn down")

kept = Torn()
try:
    with heed_signals(last=True):
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
del kept
"""


def test_what_is_torn_down_after_an_interrupt_says_nothing():
    done = subprocess.run([sys.executable, "-c", TORN_DOWN], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
