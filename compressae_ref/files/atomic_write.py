"""Write files and folders so that the whole output appears, or nothing changes.

Content goes into a temporary file beside the output, which is then renamed. Its name is random, so threads, processes
and containers can write one output at the same time: the last one that finishes wins. A file that is a mount point
cannot be replaced by renaming, so the finished content is copied into it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from compressae_ref.errors import DomainError
from compressae_ref.files.output_target import PathLike as PathLike
from compressae_ref.files.output_target import Target, checked_target, user_id

TEMPORARY = re.compile(r"\.compressae-ref-([0-9a-f]{16})?[0-9a-f]{32}\.partial")
"""Names of temporary files: nothing else has such a name, and no output's name makes them too long."""

LEFT_OVER_SECONDS = 24 * 60 * 60
"""A temporary file that was not written to for this long belongs to a process that was killed."""

RUN: ContextVar[str] = ContextVar("RUN", default="")
"""16 hexadecimal digits of a run of several processes, which can delete the temporary files of all of them."""

WRITTEN: list[str] = []
"""Outputs that this process has written, for the message of an interrupted command."""

CANNOT_RENAME = (errno.EBUSY, errno.EXDEV)
"""Error codes of renaming to a mount point."""


def require_writable(path: PathLike) -> None:
    """Raise OSError before any work starts if a file could not be written at ``path``.

    Devices, pipes, sockets and descriptors such as ``/dev/stdout`` are refused, and so is a file that is read-only.
    Whether a file can be created is tested by creating one.
    """
    with naming_output(path):
        target = checked_target(path)
        if not target.mounted:
            with _temporary(target.path.parent):
                pass


def require_output(output: PathLike, *inputs: PathLike) -> None:
    """Raise if an output cannot be written, or would overwrite an input."""
    require_writable(output)
    for path in map(Path, inputs):
        if Path(output).exists() and path.exists() and path.samefile(output):
            raise DomainError("expected an output that is not an input, got the same file", path=output)


@contextmanager
def replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` when the block succeeds, and is deleted when it fails.

    The target of a symbolic link is replaced, not the link. The mode and, if permitted, the owner of an existing file
    are kept.

    Raises
    ------
    OSError
        As `require_writable`, and if the content cannot be written. It names ``path``.
    """
    with naming_output(path):
        target = checked_target(path)
        folder = _spool_folder(target)
        _sweep(folder)
        with _temporary(folder, target.before) as file:
            yield file
            _finish(file)
            _publish(Path(file.name), target)
        WRITTEN.append(str(path))


@contextmanager
def creating_folder(path: PathLike) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield a function that opens a file of a new folder by name. The folder appears when the block succeeds.

    Raises
    ------
    DomainError
        If ``path`` exists.
    OSError
        If the folder cannot be written. It names ``path``.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise DomainError("expected the name of a new folder, got an existing path", path=path)
    files: dict[str, IO[bytes]] = {}
    with naming_output(path), ExitStack() as stack:
        target = checked_target(path).path
        _sweep(target.parent)

        def add(name: str) -> IO[bytes]:
            files[name] = stack.enter_context(_temporary(target.parent))
            return files[name]

        yield add
        folder = target.with_name(_random_name())
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for file in files.values():
            _finish(file)
        folder.mkdir()
        for name, file in files.items():
            Path(file.name).rename(folder / name)
        folder.rename(target)
        WRITTEN.append(str(path))


@contextmanager
def spool_beside(path: PathLike) -> Iterator[IO[bytes]]:
    """Open an unnamed temporary file on the disk of an output, for content that the output stores later."""
    from tempfile import TemporaryFile

    with naming_output(path):
        folder = _spool_folder(checked_target(path))
        try:
            file = TemporaryFile(dir=folder)  # noqa: SIM115  closed below
        except OSError as error:
            raise OSError(error.errno, error.strerror) from error  # its file name is random
        with file:
            yield file


@contextmanager
def naming_output(path: PathLike) -> Iterator[None]:
    """Name the output in system errors that its temporary file caused. Errors that name another file pass unchanged."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is not None and not TEMPORARY.fullmatch(Path(os.fsdecode(name)).name):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def forget_run(folder: PathLike, run: str) -> None:
    """Delete the temporary files of one run (`RUN`), whose processes have all ended."""
    for path in Path(folder).iterdir():
        if (match := TEMPORARY.fullmatch(path.name)) and match[1] == run:
            path.unlink(missing_ok=True)


def _random_name() -> str:
    return f".compressae-ref-{RUN.get()}{os.urandom(16).hex()}.partial"


@contextmanager
def _temporary(folder: Path, like: os.stat_result | None = None) -> Iterator[IO[bytes]]:
    """Create a file under a random name, with the mode and owner of ``like``. It is deleted unless it was renamed."""
    path = folder / _random_name()
    mode = 0o666 if like is None else stat.S_IMODE(like.st_mode) & 0o666
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    made = True
    try:
        try:
            file = open(path, "w+b", opener=lambda name, _: os.open(name, flags, mode))  # noqa: SIM115  closed below
        except OSError as error:
            made = False
            raise OSError(error.errno, f"the output folder cannot be written to ({error.strerror})") from error
        with file:
            if like is not None:
                _copy_owner(file.fileno(), like)
            yield file
    finally:
        if made:
            path.unlink(missing_ok=True)


def _copy_owner(descriptor: int, like: os.stat_result) -> None:
    """Give a file the owner and group of another one as far as permitted, and its mode."""
    if not hasattr(os, "fchown"):
        return
    for owner in (like.st_uid, like.st_gid), (-1, like.st_gid):
        with suppress(OSError):
            os.fchown(descriptor, *owner)
            break
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != stat.S_IMODE(like.st_mode):
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _finish(file: IO[bytes]) -> None:
    """Write a file to the disk before it is renamed, so that a crash cannot leave an empty file."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _publish(temporary: Path, target: Target) -> None:
    """Rename a finished temporary file to the output. Copy its content where renaming is not possible."""
    if not target.mounted:
        try:
            temporary.replace(target.path)
            return
        except OSError as error:
            if error.errno not in CANNOT_RENAME or target.before is None:
                raise
    with temporary.open("rb") as file, target.path.open("r+b") as output:
        size = file.seek(0, os.SEEK_END)
        _reserve(output, size)
        file.seek(0)
        shutil.copyfileobj(file, output, 1 << 20)
        output.truncate(size)
        output.flush()
        os.fsync(output.fileno())


def _reserve(output: IO[bytes], size: int) -> None:
    """Take the space on the disk before the old content is overwritten."""
    before = os.fstat(output.fileno()).st_size
    if size <= before or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(output.fileno(), before, size - before)
    except OSError as error:
        output.truncate(before)
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise


def _spool_folder(target: Target) -> Path:
    """Return the folder for temporary files of an output."""
    from tempfile import gettempdir

    return Path(gettempdir()) if target.mounted else target.path.parent


def _sweep(folder: Path) -> None:
    """Delete the temporary files and folders that killed processes of this user have left."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _forget_old(entry)


def _forget_old(entry: os.DirEntry[str]) -> None:
    facts = entry.stat(follow_symlinks=False)
    if facts.st_uid != user_id() or time.time() - facts.st_mtime <= LEFT_OVER_SECONDS:
        return
    if stat.S_ISREG(facts.st_mode):
        Path(entry.path).unlink()
    elif stat.S_ISDIR(facts.st_mode):  # a folder of files that was not renamed yet
        shutil.rmtree(entry.path)
