"""Compile kernels and cache their machine code on disk.

There is one file for each kernel and signature. The folder's name is a digest of the kernels' source and of the
versions and options of the compilers; the file's name includes the processor. A cached file is therefore never stale.
Numba's own cache tracks the file of a kernel only, not the functions that the kernel calls.

Files are written under a temporary name and then renamed, so that processes can write at the same time. Where the
folder is not writable, kernels are compiled in every process. Compiling can take seconds, so it is logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import secrets
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
        """Write the code for a signature; a full or read-only disk is not an error."""
        path = self._path(signature, result.codegen)
        if path is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, dumps(result._reduce()))

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        if (home := folder()) is None:
            return None
        key = hashlib.sha256(repr((self.name, str(signature), codegen.magic_tuple())).encode()).hexdigest()
        return home / f"{self.name.rpartition('.')[2].strip('_')}-{key[:16]}"


def _read(path: Path) -> bytes | None:
    """Return the payload that `_write` wrote, or None if the file is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:32], content[32:]
    return payload if hashlib.sha256(payload).digest() == digest else None


def _write(path: Path, payload: bytes) -> None:
    """Write the digest and the payload atomically. The folder's permissions apply to the file."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(hashlib.sha256(payload).digest() + payload)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@cache
def folder() -> Path | None:
    """Return the cache folder for this source and these versions.

    It is below ``NUMBA_CACHE_DIR`` or the user's cache folder. None if the user has no home folder, or if the source
    cannot be read (it may be in an archive).
    """
    try:
        home = Path(os.environ.get("NUMBA_CACHE_DIR") or _user_caches())
        return home / "compressae_ref" / _source_digest()[:16]
    except (OSError, RuntimeError):
        return None


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _source_digest() -> str:
    """Return the digest of all source files that kernels use, and of the compilers' versions and options."""
    sha, here = hashlib.sha256(), Path(__file__).parent
    for path in (*sorted(here.glob("*.py")), here.parent / "rules.py", here.parent.parent / "arrays.py"):
        sha.update(path.read_bytes())
    sha.update(repr((sys.version, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    sha.update(repr([str(getattr(numba.config, name, None)) for name in CODE_OPTIONS]).encode())
    return sha.hexdigest()
