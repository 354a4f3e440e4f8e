"""Check before any work starts that an output can be written, and follow links to the file that its name stands for."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PathLike = str | os.PathLike[str]

MAX_LINKS = 40
"""Linux follows as many symbolic links."""


class Target(NamedTuple):
    """The file that an output's name stands for."""

    path: Path
    """the path without symbolic links"""
    before: os.stat_result | None
    """facts about the file, or None if it does not exist"""
    mounted: bool
    """whether the file is a mount point, as if a container mounts a single file"""


def checked_target(path: PathLike) -> Target:
    """Follow links to the file that an output's name stands for. OSError if it cannot be replaced."""
    if os.fspath(path) in ("", "-"):
        what = "standard output" if os.fspath(path) else "an empty name"
        raise OSError(errno.EINVAL, f"expected the name of an output file, got {what}", os.fspath(path))
    at = _followed(Path(path))
    if not at.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the output folder does not exist", str(at.parent))
    try:
        before = at.lstat()
    except FileNotFoundError:
        return Target(at, None, False)
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, "expected the name of an output file, got a folder", str(path))
    if not stat.S_ISREG(before.st_mode):
        raise FileExistsError(errno.EEXIST, "expected the name of an output file, got a device or a pipe", str(path))
    target = Target(at, before, _mount_of(at) != _mount_of(at.parent))
    _require_replaceable(target, before)
    return target


def _followed(at: Path) -> Path:
    """Return the path without symbolic links; its last part need not exist."""
    given = str(at)
    for _ in range(MAX_LINKS):
        folder = Path(os.path.realpath(at.parent))
        if folder.parts[1:2] == ("proc",) or folder == Path("/dev/fd"):
            message = "expected the name of an output file, got a descriptor of an open file or a pipe"
            raise FileExistsError(errno.EEXIST, message, given)
        at = folder / at.name
        if not at.is_symlink():
            return at
        _require_own_link(at, given)
        at = folder / at.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), given)


def _require_own_link(link: Path, given: str) -> None:
    """Refuse a link that another user has placed in a shared folder such as /tmp, as Linux does for opened files."""
    folder, owner = link.parent.stat(), link.lstat().st_uid
    shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if shared and owner not in (user_id(), folder.st_uid):
        raise PermissionError(errno.EACCES, "expected an output that is no link of another user", given)


def _require_replaceable(target: Target, before: os.stat_result) -> None:
    """Raise unless this process may write to an existing file, and may rename another file to its name."""
    if not before.st_mode & 0o222:
        raise PermissionError(errno.EACCES, "the output exists and is read-only", str(target.path))
    os.close(os.open(target.path, os.O_WRONLY))
    folder = target.path.parent.stat()
    if folder.st_mode & stat.S_ISVTX and not target.mounted and user_id() not in (0, before.st_uid, folder.st_uid):
        message = "the output exists and belongs to another user, and its folder has the sticky bit"
        raise PermissionError(errno.EACCES, message, str(target.path))


def user_id() -> int:
    """Return the effective user id; 0 on systems without it."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _mount_of(path: Path) -> bytes | None:
    """Return Linux's number of the mount that holds a path, or None on other systems."""
    with suppress(OSError, AttributeError):
        descriptor = os.open(path, os.O_PATH)
        try:
            facts = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes()
        finally:
            os.close(descriptor)
        return next((line for line in facts.splitlines() if line.startswith(b"mnt_id:")), None)
    return None
