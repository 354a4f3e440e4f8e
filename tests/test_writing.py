"""Every command that writes, at every kind of place: the output is written there, or nothing is touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from compressae_ref import Index, Model, init_params, load_codes, save_codes, save_model
from compressae_ref.cli.main import main
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.files import atomic_write
from compressae_ref.files.atomic_write import TEMPORARY, creating_folder, replacing, require_writable
from compressae_ref.files.packed_file import save_packed
from compressae_ref.files.spool import spool_to_disk
from tests.conftest import HAS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, devices and modes of POSIX")

COMMANDS = {
    "train": ("npz", "train {x} -o {out} --n-latents 16 --k 4 --steps 2 --backend numpy"),
    "encode": ("npz", "encode {model} {x} -o {out} --backend numpy"),
    "encode to CSR": ("csr", "encode {model} {x} -o {out} --backend numpy"),
    "encode to JSON lines": ("jsonl", "encode {model} {x} -o {out} --backend numpy"),
    "pack": ("npz", "pack {codes} -o {out} --backend numpy"),
    "unpack": ("npz", "unpack {packed} -o {out} --backend numpy"),
    "split-signs": ("npz", "split-signs {codes} -o {out}"),
    "convert embeddings": ("npy", "convert {x} -o {out}"),
    "convert a model": ("safetensors", "convert {model} -o {out}"),
    "segments": ("html", "segments {model} {x} -o {out} --min-items 1 --backend numpy"),
    "verify --requests": ("jsonl", "verify --requests {out} --only encode-1"),
}
if HAS["pyarrow"]:
    COMMANDS["encode to Parquet"] = ("parquet", "encode {model} {x} -o {out} --backend numpy")
if HAS["h5py"]:
    COMMANDS["convert to HDF5"] = ("hdf5", "convert {x} -o {out}")
if HAS["matplotlib"]:
    COMMANDS["evaluate --picture"] = ("png", "evaluate {model} {x} --picture {out} --top 2 --backend numpy")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> SimpleNamespace:
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    files = SimpleNamespace(folder=folder, **{name: folder / f"{name}.npz" for name in ("model", "codes", "packed")})
    files.x = folder / "x.npy"
    np.save(files.x, rng.standard_normal((40, 8)).astype(np.float32))
    model = Model(init_params(8, 16, np.random.default_rng(1)), 4)
    codes = model.encode(np.load(files.x), backend="numpy")
    save_model(files.model, model)
    save_codes(files.codes, codes)
    save_packed(files.packed, pack(codes, backend="numpy"))
    return files


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory):
    """What each command writes to a new file."""
    folder, outputs = tmp_path_factory.mktemp("plain"), {}
    for name, (suffix, _) in COMMANDS.items():
        out = folder / f"{len(outputs)}.{suffix}"
        assert main(arguments(name, files, out)) == 0
        outputs[name] = out.read_bytes()
    return outputs


def arguments(command: str, files: SimpleNamespace, out: Path) -> list[str]:
    places = {**vars(files), "out": out}
    return [word.format(**places) for word in COMMANDS[command][1].split()]


def facts(folder: Path) -> dict[str, tuple]:
    """Type, mode and content of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = str(path.readlink()) if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else None
        found[str(path.relative_to(folder))] = (oct(mode), content)
    return found


def existing(out: Path, mode: int = 0o644) -> Path:
    out.write_bytes(b"before" * 100_000)
    out.chmod(mode)
    return out


def link(out: Path, target: str) -> Path:
    out.symlink_to(target)
    return out.parent / target


def listening(out: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(out.parent)  # the path of a socket must be short
    server.bind(out.name)
    os.chdir(here)
    server.close()


def linked_folder(out: Path) -> Path:
    (out.parent / "big").mkdir()
    existing(out.parent / "big" / "real")
    return link(out, "big/real")


WRITTEN = {
    "new": lambda out: out,
    "existing": existing,
    "private": lambda out: existing(out, 0o600),
    "for the group": lambda out: existing(out, 0o664),
    "a link": linked_folder,
    "a link to a link": lambda out: (link(out, "middle"), link(out.parent / "middle", "last"))[1],
    "a link to nothing": lambda out: link(out, "nothing"),
}
"""Places that are written to: a function that makes one and returns the file that has to be there afterwards."""

REFUSED = {
    "a folder": lambda out: out.mkdir(),
    "a device": lambda out: link(out, "/dev/null"),
    "standard output": lambda out: link(out, "/dev/stdout"),
    "a descriptor": lambda out: link(out, "/dev/fd/2"),
    "a descriptor of a file": lambda out: link(out, f"/proc/self/fd/{os.open(out.parent, os.O_RDONLY)}"),
    "a pipe": lambda out: os.mkfifo(out),
    "a link to a pipe": lambda out: (link(out, "pipe"), os.mkfifo(out.parent / "pipe")),
    "a socket": listening,
    "a read-only file": lambda out: existing(out, 0o444),
    "a link in a circle": lambda out: link(out, out.name),
    "a link into no folder": lambda out: link(out, "absent/file"),
}
"""Places that are refused: a function that makes one."""


@pytest.mark.parametrize("place", WRITTEN)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_output_is_written_where_its_name_leads(files, plain, tmp_path, command, place):
    out = tmp_path / f"out.{COMMANDS[command][0]}"
    target = WRITTEN[place](out)
    mode = target.stat().st_mode if target.exists() else None
    others = {name: fact for name, fact in facts(tmp_path).items() if tmp_path / name != target}
    assert main(arguments(command, files, out)) == 0
    after = facts(tmp_path)
    name = str(target.relative_to(tmp_path))
    if command != "evaluate --picture":  # a picture holds the version of its library, and nothing else changes
        assert after[name][1] == plain[command]
    assert after[name][1]
    assert mode is None or target.stat().st_mode == mode
    assert {key: fact for key, fact in after.items() if key != name} == others


@pytest.mark.parametrize("place", REFUSED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_that_is_no_file_is_refused_before_any_work(files, tmp_path, capsys, command, place):
    """Inputs that are not there would be reported if the command opened them first."""
    out = tmp_path / f"out.{COMMANDS[command][0]}"
    REFUSED[place](out)
    before = facts(tmp_path)
    absent = SimpleNamespace(**{name: tmp_path / "absent" / name for name in vars(files)})
    assert main(arguments(command, absent, out)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("compressae-ref: ")
    assert printed.err.count("\n") == 1
    assert str(tmp_path / "absent" / "file" if place == "a link into no folder" else out)[:-5] in printed.err
    assert facts(tmp_path) == before


MOUNTED = """
import contextlib, io, json, sys
from compressae_ref.cli.main import main
results = {}
for name, (words, out) in json.loads(sys.argv[1]).items():
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    results[name] = code, error.getvalue()
print(json.dumps(results))
"""


def in_mounts(script: str, words: list[str]) -> str:
    """The output of Python in a mount namespace of its own, after a shell script."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs a mount namespace")
    line = f'set -e; {script}\nexec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", line, "sh", *words], capture_output=True, text=True, check=False, timeout=120
    )
    if "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", ["writable", "read-only"])
def test_a_mounted_file_is_written_in_place(files, plain, tmp_path, folder):
    """As if a container mounts single files: nothing can be renamed over them, and their folder may be read-only."""
    (tmp_path / "out").mkdir()
    script, tasks = [f"mount --bind {tmp_path}/out {tmp_path}/out"], {}
    for number, (name, (suffix, _)) in enumerate(COMMANDS.items()):
        real, out = tmp_path / f"real{number}", tmp_path / "out" / f"{number}.{suffix}"
        existing(real, 0o640)
        out.touch()
        script.append(f"mount --bind {real} {out}")
        tasks[name] = arguments(name, files, out), str(out)
    if folder == "read-only":
        script.append(f"mount -o remount,bind,ro {tmp_path}/out")
    results = json.loads(in_mounts("\n".join(script), [sys.executable, "-c", MOUNTED, json.dumps(tasks)]))
    for number, name in enumerate(COMMANDS):
        assert results[name][0] == 0, results[name]
        assert (tmp_path / f"real{number}").stat().st_mode & 0o777 == 0o640
        if name != "evaluate --picture":
            assert (tmp_path / f"real{number}").read_bytes() == plain[name]
    assert {path.stat().st_size for path in (tmp_path / "out").iterdir()} == {0}, "only the mounted files are written"
    assert not [path for path in tmp_path.rglob("*") if TEMPORARY.fullmatch(path.name)]


def test_a_read_only_folder_is_refused_before_any_work(files, tmp_path):
    (tmp_path / "out").mkdir()
    existing(tmp_path / "out" / "old.npz")
    absent = SimpleNamespace(**{name: tmp_path / "absent" / name for name in vars(files)})
    tasks = {}
    for number, (name, (suffix, _)) in enumerate(COMMANDS.items()):
        out = tmp_path / "out" / ("old.npz" if suffix == "npz" else f"{number}.{suffix}")
        tasks[name] = arguments(name, absent, out), str(out)
    script = f"mount --bind {tmp_path}/out {tmp_path}/out; mount -o remount,bind,ro {tmp_path}/out"
    for name, (code, error) in json.loads(
        in_mounts(script, [sys.executable, "-c", MOUNTED, json.dumps(tasks)])
    ).items():
        assert code == 1
        assert tasks[name][1] in error
        assert "Read-only file system" in error
        assert error.count("\n") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.npz"]


AS_NOBODY = """
import os, sys
from compressae_ref.files.atomic_write import require_writable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    try:
        require_writable(path)
    except OSError as error:
        print(error.filename, error.strerror)
    else:
        print("writable")
"""


@pytest.fixture
def public_folder():
    """A folder that all users can enter: those of pytest are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become another user")
def test_what_other_users_own_is_refused_before_any_work(public_folder):
    """In a folder without permission, and in a shared folder with the sticky bit, where links are refused, too."""
    closed, shared = public_folder / "closed", public_folder / "shared"
    closed.mkdir(mode=0o755)
    shared.mkdir()
    existing(shared / "old.npz", 0o666)
    (shared / "link.npz").symlink_to("target.npz")
    os.chown(shared, 1, 1)
    shared.chmod(0o1777)
    paths = [closed / "new.npz", shared / "old.npz", shared / "link.npz", shared / "new.npz"]
    command = [sys.executable, "-c", AS_NOBODY, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"{paths[0]} the output folder cannot be written to (Permission denied)"
    assert lines[1].startswith(f"{paths[1]} the output exists and belongs to another user")
    assert lines[2] == f"{paths[2]} expected an output that is no link of another user"
    assert lines[3:] == ["writable"]


def test_a_new_file_follows_the_umask(tmp_path):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            with replacing(tmp_path / f"{mask}") as file:
                file.write(b"content")
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}").stat().st_mode & 0o777 == mode


def test_a_private_output_is_private_while_it_is_written(tmp_path):
    existing(tmp_path / "a", 0o600)
    with replacing(tmp_path / "a"):
        modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("name", ["a" * 251, "é" * 125 + "a", "日" * 83])
def test_names_may_be_as_long_as_the_system_allows(files, plain, tmp_path, name):
    out = tmp_path / f"{name}.npz"
    assert 250 <= len(os.fsencode(out.name)) <= 255
    assert main(arguments("encode", files, out)) == 0
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_bytes() == plain["encode"]
    assert main(arguments("encode", files, tmp_path / f"{name}aaaaa.npz")) == 1


# -- what killed processes leave --------------------------------------------------------------------------------------


def leftover(folder: Path, days: float, name: str | None = None) -> Path:
    path = folder / (name or atomic_write._random_name())
    path.write_bytes(b"half")
    os.utime(path, times=(time.time() - days * 86_400,) * 2)
    return path


def test_old_leftovers_are_swept_and_nothing_else(files, tmp_path):
    old, victim = leftover(tmp_path, 1.1), leftover(tmp_path, 9, "victim")
    kept = [
        leftover(tmp_path, 0.9),
        leftover(tmp_path, 9, ".compressae-ref-7.partial"),
        leftover(tmp_path, 9, f"{old.name}.npz"),
        leftover(tmp_path, 9, f"x{old.name}"),
        leftover(tmp_path, 9, ".c.npz.77.partial"),
        victim,
    ]
    folder, symlink, pipe = (tmp_path / atomic_write._random_name() for _ in range(3))
    folder.mkdir()
    young = tmp_path / atomic_write._random_name()
    young.mkdir()
    (folder / "config.json").write_text("{}")
    symlink.symlink_to("victim")
    os.mkfifo(pipe)
    for path in (folder, symlink, pipe):
        os.utime(path, times=(0, 0), follow_symlinks=False)
    others = [leftover(tmp_path, 9)] if os.geteuid() == 0 else []
    for path in others:
        os.chown(path, 1, 1)
        os.utime(path, times=(0, 0))
    assert main(arguments("encode", files, tmp_path / "c.npz")) == 0
    assert not old.exists()
    assert not folder.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*kept, *others, young, symlink, pipe, tmp_path / "c.npz"])


KILLED = """
import os, sys
from compressae_ref.files.atomic_write import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half"); file.flush()
    os.kill(os.getpid(), 9)
"""


KILLED_FOLDER = """
import os, sys
from pathlib import Path
from compressae_ref.files.atomic_write import creating_folder
rename, left = Path.rename, int(sys.argv[2])
def killed(path, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return rename(path, target)
Path.rename = killed
with creating_folder(sys.argv[1]) as add:
    add("cfg.json").write(b"{}"); add("weights").write(b"half")
"""


@pytest.mark.parametrize("renames", range(4))
def test_what_a_killed_export_of_a_folder_leaves_is_swept_after_a_day(tmp_path, renames):
    subprocess.run([sys.executable, "-c", KILLED_FOLDER, str(tmp_path / "new"), str(renames)], check=False)
    left = [*tmp_path.iterdir()]
    assert left
    for path in left:
        os.utime(path, times=(time.time() - 90_000,) * 2)
    with replacing(tmp_path / "c"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"c"} | ({"new"} if renames == 3 else set())


def test_what_a_killed_process_leaves_is_swept_after_a_day(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "c")], check=False)
    (left,) = tmp_path.iterdir()
    assert TEMPORARY.fullmatch(left.name)
    with replacing(tmp_path / "c"):
        pass
    assert left.exists()
    os.utime(left, times=(time.time() - 90_000,) * 2)
    with replacing(tmp_path / "c"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


# -- at the same time -------------------------------------------------------------------------------------------------


def test_threads_that_write_one_output_do_not_fail(files, tmp_path):
    codes = load_codes(files.codes)
    versions = [codes[: 10 * (number + 1)] for number in range(4)]

    def save(version):
        for _ in range(25):
            save_codes(tmp_path / "c.npz", version)

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(save, version) for version in versions]
        while not all(each.done() for each in writing):
            with suppress(FileNotFoundError):
                assert len(load_codes(tmp_path / "c.npz")) in (10, 20, 30, 40)
    assert [each.result() for each in writing] == [None] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


SLOWLY = """
import os, sys, time
from compressae_ref.files.atomic_write import replacing
assert os.getpid() == 1
with replacing(sys.argv[1]) as file:
    file.write(sys.argv[2].encode() * 1000)
    print("begun", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def test_processes_with_one_number_do_not_fail(tmp_path):
    """Two containers on one volume, in each of which the process has the number 1; the last one to finish wins."""
    isolated = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("needs a process namespace")
    command = [*isolated, sys.executable, "-c", SLOWLY, str(tmp_path / "o")]
    with subprocess.Popen([*command, "a", "1.5"], stdout=subprocess.PIPE) as first:
        assert first.stdout.read(6) == b"begun\n"
        assert subprocess.run([*command, "b", "0"], check=False, stdout=subprocess.PIPE).returncode == 0
        assert (tmp_path / "o").read_bytes() == b"b" * 1000
        assert first.wait() == 0
    assert (tmp_path / "o").read_bytes() == b"a" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


# -- disks that fill up -----------------------------------------------------------------------------------------------


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("program", ["saelens", "sentence-transformers"])
def test_a_folder_that_cannot_be_finished_leaves_nothing_and_names_the_output(
    files, tmp_path, capsys, monkeypatch, program
):
    monkeypatch.setattr(os, "fsync", full)
    assert main(["convert", str(files.model), "-o", str(tmp_path / "a"), "--to", program]) == 1
    assert capsys.readouterr().err == f"compressae-ref: {tmp_path / 'a'}: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_as_a_whole(tmp_path):
    with creating_folder(tmp_path / "a") as add:
        add("x").write(b"1")
        add("y").write(b"22")
        assert not (tmp_path / "a").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {"x": b"1", "y": b"22"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_file_that_cannot_be_renamed_over_is_written_in_place(tmp_path, monkeypatch, code):
    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    out = existing(tmp_path / "a", 0o640)
    number = out.stat().st_ino
    monkeypatch.setattr(os, "replace", refuse)
    with replacing(out) as file:
        file.write(b"new")
    assert (out.read_bytes(), out.stat().st_ino, out.stat().st_mode & 0o777) == (b"new", number, 0o640)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_without_space_for_the_copy_keeps_the_old_content(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "a") as file:
        file.write(b"a longer content")
    assert caught.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_full_temporary_folder_is_named_with_tmpdir(tmp_path, monkeypatch):
    class Rows(np.ndarray):
        sequential = True

    class Full:
        write = flush = staticmethod(full)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("compressae_ref.files.spool.TemporaryFile", Full)
    monkeypatch.setattr("compressae_ref.files.spool.gettempdir", lambda: "/the/folder")
    with pytest.raises(OSError, match="set TMPDIR") as caught, spool_to_disk(np.ones((3, 2)).view(Rows)):
        pass
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/the/folder")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a"):
        (tmp_path / "input").read_bytes()
    assert caught.value.filename == str(tmp_path / "input")
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_written_like_all_outputs(files, tmp_path):
    existing(tmp_path / "real.npz", 0o600)
    (tmp_path / "i.npz").symlink_to("real.npz")
    index = Index.build(load_codes(files.codes), backend="numpy")
    index.save(tmp_path / "i.npz")
    assert (tmp_path / "i.npz").is_symlink()
    assert (tmp_path / "real.npz").stat().st_mode & 0o777 == 0o600
    assert len(Index.load(tmp_path / "real.npz", backend="numpy")) == 40
    with pytest.raises(FileExistsError, match="a device or a pipe"):
        index.save("/dev/null")
    require_writable(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.npz", "real.npz"]
