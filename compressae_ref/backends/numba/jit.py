"""Compile kernels and cache their machine code on disk.

There is one file for each kernel and signature. The folder's name is a digest of the kernels' source and of the
versions and options of the compilers; the file's name includes the processor. A cached file is therefore never stale.
Numba's own cache tracks the file of a kernel only, not the functions that the kernel calls.

Files are written under a temporary name and then renamed, so that processes can write at the same time. Where the
folder is not writable, kernels are compiled in every process. Compiling can take seconds, so it is logged.

A cached file holds machine code and a pickle, so whoever writes it could run code as its reader. Files are therefore
signed with a secret key that only the user can read. Files with another signature are compiled again and replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import pickle
import secrets
import stat
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

LOG = logging.getLogger("compressae_ref.kernels")

CODE_OPTIONS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "DISABLE_INTEL_SVML")
"""Numba options (``NUMBA_OPT``, ...) that change the machine code."""

PROBE_BYTES = 1 << 16
"""Bytes that are written to find out whether the disk has space for the code of a kernel."""

OPTIONS = {"nogil": True, "error_model": "numpy"}
NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Skip the wrappers that only Python needs to call a function."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls. It releases the GIL; no sum is reordered or fused."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = DiskCache(function.__module__, function.__qualname__)
    return dispatcher


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that only kernels call; its code is cached with theirs."""
    return numba.njit(**NO_WRAPPERS, **OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Inline a function into the kernels that call it."""
    return numba.njit(inline="always", **OPTIONS)(function)


def any_order(function: Callable[..., Any]) -> Any:
    """As `inner`, but the compiler may reorder sums: only where no bit of a result depends on their order."""
    return numba.njit(fastmath={"reassoc", "contract", "nsz"}, **NO_WRAPPERS, **OPTIONS)(function)


class DiskCache:
    """The disk cache of one kernel, with the methods that Numba's dispatcher calls."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        self.cache_path = str(folder() or "")

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the code for a signature, or None if the file is missing or damaged."""
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        payload = None if path is None else _read(path)
        if payload is None:
            LOG.info("compiling %s", self.name)
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the code for a signature; a full or read-only disk is not an error, and is reported once."""
        path = self._path(signature, result.codegen)
        if path is None:
            _report(_why_no_place())
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, dumps(result._reduce()))
        except OSError as error:
            _report(f"{path.parent}: {error.strerror}")

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        if (home := folder()) is None or secret() is None:
            return None
        key = hashlib.sha256(repr((self.name, str(signature), codegen.magic_tuple())).encode()).hexdigest()
        return home / f"{self.name.rpartition('.')[2].strip('_')}-{key[:16]}"


@cache
def can_cache() -> bool:
    """Return whether kernels are cached or can be cached. If not, report it."""
    home = folder()
    if home is None or secret() is None:
        _report(_why_no_place())
        return False
    if home.is_dir() and any(home.iterdir()):  # perhaps by an administrator, in a folder that is read-only
        return True
    probe = home / f"probe.{secrets.token_hex(8)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        _report(f"{home}: {error.strerror}")
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def _why_no_place() -> str:
    if folder() is None:
        return "there is no home folder, or no folder with the source of this package"
    return "there is no folder in which only this user can read their key"


@cache
def _report(why: str) -> None:
    """Say, once for each reason, that nothing can be cached."""
    LOG.warning(
        "compressae_ref: compiled kernels cannot be cached (%s), so each process may compile for many seconds; set "
        "NUMBA_CACHE_DIR to a folder that only you can write to",
        why,
    )


def _read(path: Path) -> bytes | None:
    """Return the payload that `_write` wrote, or None if the file is missing, damaged, or signed with another key."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    signature, payload = content[:32], content[32:]
    return payload if hmac.compare_digest(signature, _signature(path, payload)) else None


def _write(path: Path, payload: bytes) -> None:
    """Write the signature and the payload atomically. The folder's permissions apply to the file."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(_signature(path, payload) + payload)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _signature(path: Path, payload: bytes) -> bytes:
    """Return the HMAC of a file's place and content, so that a signed file cannot stand in for another kernel."""
    place = f"{path.parent.name}/{path.name}\0".encode()
    return hmac.digest(secret() or secrets.token_bytes(32), place + payload, "sha256")


@cache
def secret() -> bytes | None:
    """Return the key that signs cached files, or None if there is no place where only this user can read it.

    It is created in the user's configuration folder or, if that cannot be written, beside the cache.
    """
    for place in (_user_settings, _root):
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the user has no home folder
            path = place() / "compressae_ref" / "kernels.key"
            if (key := _read_key(path) or _new_key(path)) is not None:
                return key
    return None


def _new_key(path: Path) -> bytes | None:
    """Write a key and return what is there then: another process may have written its own key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_bytes(32))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return _read_key(path)


def _read_key(path: Path) -> bytes | None:
    """Return a key, or None if it is missing or damaged, or if another user could have read or written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123
        facts, key = os.fstat(descriptor), file.read(33)
    if os.name == "posix" and (facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077):
        return None
    return key if stat.S_ISREG(facts.st_mode) and len(key) == 32 else None


def _root() -> Path:
    """Return the folder of all caches. RuntimeError if the user has no home folder."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or _user_caches())


@cache
def folder() -> Path | None:
    """Return the cache folder for this source and these versions.

    It is below ``NUMBA_CACHE_DIR`` or the user's cache folder. None if the user has no home folder, or if the source
    cannot be read (it may be in an archive).
    """
    try:
        return _root() / "compressae_ref" / _source_digest()[:16]
    except (OSError, RuntimeError):
        return None


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _user_settings() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _source_digest() -> str:
    """Return the digest of all source files that kernels use, and of the compilers' versions and options."""
    sha, here = hashlib.sha256(), Path(__file__).parent
    for path in (*sorted(here.glob("*.py")), here.parent / "rules.py", here.parent.parent / "arrays.py"):
        sha.update(path.read_bytes())
    sha.update(repr((sys.version, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    sha.update(repr([str(getattr(numba.config, name, None)) for name in CODE_OPTIONS]).encode())
    return sha.hexdigest()
