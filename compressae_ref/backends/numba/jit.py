"""How kernels are compiled, and where their machine code is kept between processes.

One file for each kernel and signature, in a folder that is named after all that the code depends on: the source of the
kernels, the versions and options of what compiles them, and the processor. So what is found there cannot be stale
(Numba's own cache looks at the file of the kernel alone, not at what the kernel calls). Files are written whole under
another name, and then renamed: any number of processes may do it at once. Where nothing can be written, kernels are
compiled each time. A kernel that has to be compiled is logged: it may take seconds.
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
"""Options of Numba (``NUMBA_OPT``, ...) that make other code of the same source."""

OPTIONS = {"nogil": True, "error_model": "numpy"}
NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Nothing is compiled that would only be there for Python to call."""


def kernel(function: Callable[..., Any]) -> Any:
    """A compiled function that Python calls. It runs without Python's lock; no sum in it is reordered or fused."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = DiskCache(function.__module__, function.__qualname__)
    return dispatcher


def inner(function: Callable[..., Any]) -> Any:
    """A compiled function that only kernels call: its code is kept with theirs."""
    return numba.njit(**NO_WRAPPERS, **OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """As `inner`, for what is called from one place: it is compiled once, as a piece of its caller."""
    return numba.njit(inline="always", **OPTIONS)(function)


def any_order(function: Callable[..., Any]) -> Any:
    """As `inner`, for a sum whose order is of no account, because no bit of a result depends on it."""
    return numba.njit(fastmath={"reassoc", "contract", "nsz"}, **NO_WRAPPERS, **OPTIONS)(function)


class DiskCache:
    """The machine code of one kernel on disk, under the methods that Numba's dispatcher calls."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        self.cache_path = str(folder() or "")

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The code for a signature, or None: there is none, or what there is has been damaged."""
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        payload = None if path is None else _read(path)
        if payload is None:
            LOG.info("compiling %s", self.name)
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep the code for a signature; a disk that is full or read-only is no error."""
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
    """What `_write` wrote, or None."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:32], content[32:]
    return payload if hashlib.sha256(payload).digest() == digest else None


def _write(path: Path, payload: bytes) -> None:
    """The whole file, its digest first, or nothing. Who may read the folder may read it, too."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(hashlib.sha256(payload).digest() + payload)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@cache
def folder() -> Path | None:
    """``NUMBA_CACHE_DIR``, else the user's folder for caches; in it, a folder for this source and these versions.

    None where a user has no home, or where the source cannot be read: it may be in an archive.
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
    """Of all files that kernels take anything from, and of the versions and options of what compiles them."""
    sha, here = hashlib.sha256(), Path(__file__).parent
    for path in (*sorted(here.glob("*.py")), here.parent / "rules.py", here.parent.parent / "arrays.py"):
        sha.update(path.read_bytes())
    sha.update(repr((sys.version, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    sha.update(repr([str(getattr(numba.config, name, None)) for name in CODE_OPTIONS]).encode())
    return sha.hexdigest()
