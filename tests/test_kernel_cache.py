"""Machine code is kept between processes, and never used where it is stale, damaged, or half written."""

from __future__ import annotations

import ast
import importlib
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import compressae_ref
from compressae_ref import Model, backends, init_params, save_model
from compressae_ref.backends.numba import jit

PACKAGE = Path(compressae_ref.__file__).parent

LOGGED = """
import logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
logging.getLogger("compressae_ref.kernels").setLevel(logging.INFO)
"""
ONE_KERNEL = f"""{LOGGED}
import numpy as np
from compressae_ref.backends.numba.rows import codes_dot
from compressae_ref.codes import Codes
codes = Codes(np.array([[0, 2]], np.int32), np.array([[2, 3]], np.float32), 3)
print(codes_dot(np.array([[1, 10, 100]], np.float32), codes)[0, 0])
"""
"""It needs one kernel, `_codes_dot`, which takes the least time to compile; 2 · 1 + 3 · 100 = 302."""
COMPILED = "compiling compressae_ref.backends.numba.rows._codes_dot\n302.0\n"
KEPT = "302.0\n"


def uncached(why):
    """What is printed if nothing can be cached."""
    return re.compile(
        rf"compiling compressae_ref\.backends\.numba\.rows\._codes_dot\n"
        rf"compressae_ref: compiled kernels cannot be cached \({why}\), so each process may compile for many seconds; "
        rf"set NUMBA_CACHE_DIR to a folder that only you can write to\n302\.0\n"
    )


TINY = {
    "backends/numba/tiny.py": """
from compressae_ref.arrays import CACHE_LINE_BYTES
from compressae_ref.backends.numba.jit import kernel
from compressae_ref.backends.numba.tiny_inner import times, twice

@kernel
def tiny(x):
    return twice(x) + times(x) + CACHE_LINE_BYTES
""",
    "backends/numba/tiny_inner.py": """
from compressae_ref.backends.numba.jit import inlined, inner

@inner
def twice(x):
    return 2 * x

@inlined
def times(x):
    return 5 * x
""",
}
"""Modules that are added to a copy of the package: a kernel, and what it is made of."""
TINY_KERNEL = f"{LOGGED}from compressae_ref.backends.numba.tiny import tiny\nprint(tiny(3))\n"
TINY_COMPILED = "compiling compressae_ref.backends.numba.tiny.tiny\n"


def start(cache, package=PACKAGE, code=ONE_KERNEL, **environment):
    """The program, started with a folder for what it compiles."""
    told = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command, told = [sys.executable, "-c", code], {**os.environ, **told, **environment}
    return subprocess.Popen(command, cwd=os.sep, env=told, stdout=subprocess.PIPE, text=True)


def end(program, status=0):
    """What it has printed."""
    try:
        printed = program.communicate(timeout=120)[0]
    finally:
        program.kill()
    assert program.returncode == status
    return printed


def output(*arguments, **options):
    return end(start(*arguments, **options))


def kept(cache):
    """What has been kept, by name."""
    return {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def whole(path):
    return jit._read(path) is not None


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder in which the kernel is kept."""
    cache = tmp_path_factory.mktemp("kernels")
    assert output(cache) == COMPILED
    return cache


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of it."""
    return shutil.copytree(filled, tmp_path / "kernels")


def test_a_second_process_compiles_nothing_and_writes_nothing(cache):
    before = kept(cache)
    assert [path.name.rpartition("-")[0] for path in before] == ["codes_dot"]
    assert output(cache) == KEPT
    assert kept(cache) == before


def test_what_is_kept_in_a_read_only_folder_is_used(cache):
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    printed = output(cache)
    for path in folders:
        path.chmod(0o755)  # so that it can be removed
    assert printed == KEPT


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:]],
    ids=["empty", "a bit flipped"],
)
def test_what_is_damaged_is_compiled_again_and_mended(cache, damage):
    (name,) = kept(cache)
    (cache / name).write_bytes(damage((cache / name).read_bytes()))
    assert output(cache) == COMPILED
    assert list(kept(cache)) == [name]
    assert whole(cache / name)


def test_every_damage_is_noticed(tmp_path):
    """A change of any byte, an end anywhere."""
    path = tmp_path / "kernel"
    jit._write(path, b"machine code")
    assert jit._read(path) == b"machine code"
    content = path.read_bytes()
    for damaged in (
        *(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(len(content))),
        *(content[:i] for i in range(len(content))),
        content + b"\0",
    ):
        path.write_bytes(damaged)
        assert jit._read(path) is None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A copy of the package with a tiny kernel in it, and a folder in which that is kept."""
    package = tmp_path_factory.mktemp("tiny") / "compressae_ref"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in TINY.items():
        (package / file).write_text(text, encoding="utf-8")
    cache = tmp_path_factory.mktemp("kernels")
    assert output(cache, package, TINY_KERNEL) == f"{TINY_COMPILED}85\n"
    return package, cache


@pytest.mark.parametrize(
    ("file", "was", "now", "result"),
    [
        ("backends/numba/tiny.py", "+ CACHE_LINE_BYTES", "- CACHE_LINE_BYTES", 21 - 64),
        ("backends/numba/tiny_inner.py", "2 * x", "3 * x", 24 + 64),
        ("backends/numba/tiny_inner.py", "5 * x", "6 * x", 24 + 64),
        ("arrays.py", "CACHE_LINE_BYTES = 64", "CACHE_LINE_BYTES = 128", 21 + 128),
    ],
    ids=["kernel", "inner", "inlined", "constant"],
)
def test_other_source_finds_nothing(tiny, tmp_path, file, was, now, result):
    """Whatever kernels are made of: also what one of them only calls."""
    package, cache = (shutil.copytree(each, tmp_path / each.name) for each in tiny)
    before, text = kept(cache), (package / file).read_text(encoding="utf-8")
    assert text.count(was) == 1
    (package / file).write_text(text.replace(was, now), encoding="utf-8")
    assert output(cache, package, TINY_KERNEL) == f"{TINY_COMPILED}{result}\n"
    after = kept(cache)
    assert len(after) == 2
    assert before.items() <= after.items(), "it is there for the other source"


@pytest.mark.parametrize(
    "what",
    [
        "numba.__version__",
        "llvmlite.__version__",
        "np.__version__",
        "sys.version",
        "numba.config.BOUNDSCHECK",
        "numba.config.OPT",
    ],
)
def test_other_versions_and_options_have_another_folder(monkeypatch, what):
    before = jit.folder()
    monkeypatch.setattr(f"compressae_ref.backends.numba.jit.{what}", "other")
    assert jit.folder.__wrapped__() != before


def test_another_processor_finds_nothing(cache):
    assert output(cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == COMPILED
    assert len(kept(cache)) == 2


COVERED = ("compressae_ref.backends.numba", "compressae_ref.backends.rules", "compressae_ref.arrays")
"""Modules whose files are in the digest."""


def test_kernels_take_nothing_from_files_that_the_digest_leaves_out():
    """A constant from elsewhere would be compiled in, and would go stale."""
    for path in PACKAGE.glob("backends/numba/[a-z]*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("compressae_ref"):
                continue
            if not node.module.startswith(COVERED):
                names = {each.asname or each.name for each in node.names}
                assert not names & numba_names(path.stem), (
                    f"kernels of {path.name} use {names & numba_names(path.stem)}"
                )
    assert "push" in numba_names("search"), "names are found"


def functions(module):
    """The compiled functions of a module, as Python has them."""
    members = vars(importlib.import_module(f"compressae_ref.backends.numba.{module}")).values()
    return [each.py_func for each in members if hasattr(each, "py_func")]


def numba_names(module):
    """Global names that the kernels of a module use."""
    return {name for function in functions(module) for name in function.__code__.co_names}


def test_kernels_close_over_nothing():
    """What is made in a function belongs to no module, and could not be loaded again."""
    modules = {path.stem for path in PACKAGE.glob("backends/numba/[a-z]*.py")}
    closures = {function.__closure__ for module in modules for function in functions(module)}
    assert closures == {None}


def test_each_kernel_and_signature_has_a_file_of_its_own(tmp_path, monkeypatch, caplog):
    """Kernels of two modules, with one name, each for two types: nothing takes the other's code."""
    cache, functions = tmp_path / "kernels", []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(jit, "folder", lambda: cache)
    caplog.set_level(logging.INFO, "compressae_ref.kernels")
    for number in (1, 2):
        (tmp_path / f"adds_{number}.py").write_text(f"def add(x):\n    return x + {number}\n")
        functions.append(importlib.import_module(f"adds_{number}").add)
    for to_compile in (4, 0):
        caplog.clear()
        kernels = [jit.kernel(function) for function in functions]
        assert [each(x) for each in kernels for x in (3, 0.5)] == [4, 1.5, 5, 2.5]
        assert len(caplog.messages) == to_compile
        assert len(kept(cache)) == 4


@pytest.mark.slow
def test_processes_that_compile_at_once_leave_one_whole_file(tmp_path, filled):
    programs = [start(tmp_path) for _ in range(3)]
    assert {end(program) for program in programs} <= {COMPILED, KEPT}
    assert list(kept(tmp_path)) == list(kept(filled))
    assert all(whole(tmp_path / name) for name in kept(tmp_path))
    assert output(tmp_path) == KEPT


@pytest.mark.slow
@pytest.mark.parametrize("place", ["the folder for caches", "our folder", "a folder in place of the code"])
def test_where_nothing_can_be_kept_it_is_compiled(tmp_path, filled, place):
    """What is in the way stays as it is."""
    cache = tmp_path / "cache"
    (name,) = kept(filled)
    if place == "a folder in place of the code":
        (cache / name).mkdir(parents=True)
    else:
        taken = cache if place == "the folder for caches" else (cache / name).parent
        taken.parent.mkdir(parents=True, exist_ok=True)
        taken.write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    assert uncached(".*: (Not a directory|File exists|Is a directory)").fullmatch(output(cache))
    assert sorted(tmp_path.rglob("*")) == before


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.{})
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""
"""Files end after 1000 bytes: with an error, or the process is killed."""
limited = pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="files have no limit on this system")


@limited
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path):
    assert uncached(".*: File too large").fullmatch(output(tmp_path, code=LIMITED.format("SIG_IGN") + ONE_KERNEL))
    assert kept(tmp_path) == {}


@pytest.mark.slow
@limited
def test_a_process_killed_while_it_writes_harms_no_other(tmp_path, filled):
    end(start(tmp_path, code=LIMITED.format("SIG_DFL") + ONE_KERNEL), -signal.SIGXFSZ)
    (name,) = kept(filled)
    assert [len(content) for content in kept(tmp_path).values()] == [1000]
    assert name not in kept(tmp_path), "it is written under another name"
    assert output(tmp_path) == COMPILED
    assert whole(tmp_path / name)


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced")
def test_a_reader_finds_what_one_writer_wrote(tmp_path):
    """All of it, however many write at once."""
    path, payloads = tmp_path / "kernel", [bytes([number]) * 1_000_000 for number in range(4)]
    jit._write(path, payloads[0])
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(jit._write, path, payload) for payload in payloads * 5]
        while not all(each.done() for each in writing):
            assert jit._read(path) in payloads
    assert [each.result() for each in writing] == [None] * 20
    assert list(kept(tmp_path)) == [Path("kernel")]


# -- who may write what is run ----------------------------------------------------------------------------------------


@pytest.fixture
def key_of_another_user(tmp_path):
    """A folder of settings with another key."""
    settings = tmp_path / "settings"
    (settings / "compressae_ref").mkdir(parents=True)
    key = settings / "compressae_ref" / "kernels.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    return str(settings)


def test_code_that_another_user_has_cached_is_compiled_again_and_replaced(cache, key_of_another_user):
    (name,) = kept(cache)
    foreign = (cache / name).read_bytes()
    assert output(cache, XDG_CONFIG_HOME=key_of_another_user) == COMPILED
    assert list(kept(cache)) == [name]
    assert kept(cache)[name] != foreign
    assert output(cache, XDG_CONFIG_HOME=key_of_another_user) == KEPT


def test_a_signed_file_cannot_stand_in_for_another_kernel(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    jit._write(tmp_path / "a" / "one", b"machine code")
    for place in ("a/two", "b/one"):
        shutil.copy(tmp_path / "a" / "one", tmp_path / place)
        assert jit._read(tmp_path / place) is None
    assert jit._read(tmp_path / "a" / "one") == b"machine code"


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders for the key, and what `jit.secret` finds in them now."""
    monkeypatch.setattr(jit, "_user_settings", lambda: tmp_path / "settings")
    monkeypatch.setattr(jit, "_root", lambda: tmp_path / "cache")
    return tmp_path, jit.secret.__wrapped__


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_key_is_private_and_stays(places):
    folder, secret = places
    before = os.umask(0)
    try:
        key = secret()
    finally:
        os.umask(before)
    path = folder / "settings" / "compressae_ref" / "kernels.key"
    assert (len(key), path.read_bytes(), secret()) == (32, key, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["kernels.key"]


SPOILED = {
    "others may read it": lambda path: path.chmod(0o644),
    "others may write it": lambda path: path.chmod(0o620),
    "it is cut": lambda path: path.write_bytes(path.read_bytes()[:16]),
    "it is empty": lambda path: path.write_bytes(b""),
    "it is longer": lambda path: path.write_bytes(path.read_bytes() * 2),
    "it is a link": lambda path: path.rename(path.with_name("own")) and path.symlink_to("own"),
    "it is a pipe": lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
}


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_key_that_others_could_know_is_replaced(places, spoil):
    folder, secret = places
    before = secret()
    spoil(folder / "settings" / "compressae_ref" / "kernels.key")
    after = secret()
    assert (len(after), secret()) == (32, after)
    assert after != before


def test_without_a_place_for_settings_the_key_is_beside_the_cache(places):
    folder, secret = places
    (folder / "settings").write_text("a file")
    key = secret()
    assert (folder / "cache" / "compressae_ref" / "kernels.key").read_bytes() == key


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_without_a_private_place_nothing_is_cached(places, monkeypatch):
    """As on a file system without modes."""
    _, secret = places
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda at: os.stat_result((real(at).st_mode | 0o077, *real(at)[1:])))
    assert secret() is None


def test_a_user_without_a_home_compiles_each_time():
    code = "import pathlib\ndef home(): raise RuntimeError('no home')\npathlib.Path.home = home\n" + ONE_KERNEL
    printed = output("", code=code, XDG_CACHE_HOME="", LOCALAPPDATA="", XDG_CONFIG_HOME="", APPDATA="")
    assert uncached("there is no home folder, or .*").fullmatch(printed)


def test_an_installation_in_an_archive_compiles_each_time(tmp_path):
    """Its source is in no file of its own: nothing would tell when the code is stale."""
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", PACKAGE.parent, PACKAGE.name))
    cache = tmp_path / "cache"
    assert uncached(".* no folder with the source of this package").fullmatch(output(cache, archive / "compressae_ref"))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("linux", {}, "home/.cache"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches"),
        ("win32", {}, "home"),
        ("win32", {"LOCALAPPDATA": "local"}, "local"),
        *((each, {"NUMBA_CACHE_DIR": "told"}, "told") for each in ("linux", "darwin", "win32")),
    ],
)
def test_where_code_is_kept(monkeypatch, platform, environment, place):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    folder = jit.folder.__wrapped__()
    assert folder.parent == Path(place) / "compressae_ref"


# -- where nothing can be cached --------------------------------------------------------------------------------------


@pytest.fixture
def choose(monkeypatch):
    """The choice of a backend, with a cache or without one."""

    def choose(backend, seconds, can_cache):
        monkeypatch.setattr(jit, "can_cache", lambda: can_cache)
        backends._can_cache.cache_clear()
        name = backends.get_backend(backend, numpy_seconds=seconds).name
        backends._can_cache.cache_clear()
        return name

    return choose


@pytest.mark.parametrize(
    ("backend", "seconds", "can_cache", "chosen"),
    [
        (None, 0.9, False, "numpy"),
        (None, 1.1, False, "numba"),
        (None, float("inf"), False, "numba"),
        (None, 0.9, True, "numba"),
        ("numba", 0.0, False, "numba"),
        ("numpy", 9.0, True, "numpy"),
    ],
)
def test_small_work_is_left_to_numpy_if_kernels_cannot_be_cached(choose, backend, seconds, can_cache, chosen):
    assert choose(backend, seconds, can_cache) == chosen


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    np.save(folder / "x.npy", rng.standard_normal((100, 8)).astype(np.float32))
    save_model(folder / "m.npz", Model(init_params(8, 16, rng), 4))
    return folder


def command(inputs, out, *options, **environment):
    """Encode in a process of its own."""
    words = ["encode", str(inputs / "m.npz"), str(inputs / "x.npy"), "-o", str(out), *options]
    done = subprocess.run(
        [sys.executable, "-m", "compressae_ref", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr.splitlines()


def test_a_cache_that_cannot_be_written_is_said_once_and_small_work_compiles_nothing(inputs, tmp_path):
    (tmp_path / "file").write_text("no folder")
    reference = command(inputs, tmp_path / "a.npz", "--backend", "numpy")
    assert reference[0] == 0
    started = time.monotonic()
    code, lines = command(inputs, tmp_path / "b.npz", NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert code == 0
    assert len(lines) == 2
    assert "cannot be cached" in lines[0]
    assert "set NUMBA_CACHE_DIR" in lines[0]
    assert time.monotonic() - started < 60
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_compiler_that_is_switched_off_is_one_line(inputs, tmp_path):
    code, lines = command(inputs, tmp_path / "a.npz", NUMBA_DISABLE_JIT="1")
    assert code == 0
    assert len(lines) == 2
    assert lines[0].startswith("compressae-ref: Numba is installed, but cannot be used; using NumPy alone")
    code, lines = command(inputs, tmp_path / "b.npz", "--backend", "numba", NUMBA_DISABLE_JIT="1")
    assert code == 1
    assert len(lines) == 1
    assert "NUMBA_DISABLE_JIT" in lines[0]
    assert not (tmp_path / "b.npz").exists()
