"""How kernels are compiled, and where their machine code is kept between processes.

One file for each kernel and signature, in a folder that is named after all that the code depends on: the source of the
kernels, the versions of what compiles them, and the processor. So what is found there cannot be stale (Numba's own
cache looks at the file of the kernel alone, not at what the kernel calls). Files are written whole under another name,
and then renamed: any number of processes may do it at once. Where nothing can be written, kernels are compiled each
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

OPTIONS = {"nogil": True, "error_model": "numpy"}


def kernel(function: Callable[..., Any]) -> Any:
    """A compiled function that Python calls. It runs without Python's lock; no sum in it is reordered or fused."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = KeptCode(function.__module__, function.__qualname__)
    return dispatcher


def inner(function: Callable[..., Any]) -> Any:
    """A compiled function that only kernels call: its code is kept with theirs."""
    return numba.njit(**OPTIONS)(function)


def any_order(function: Callable[..., Any]) -> Any:
    """As `inner`, for a sum whose order is of no account, because no bit of a result depends on it."""
    return numba.njit(fastmath={"reassoc", "contract", "nsz"}, **OPTIONS)(function)


class KeptCode:
    """The machine code of one kernel on disk, under the methods that Numba's dispatcher calls."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        self.cache_path = str(folder())

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The code for a signature, or None where there is none, or what there is has been damaged."""
        target_context.refresh()
        try:
            kept = self._path(signature, target_context.codegen()).read_bytes()
        except OSError:
            return None
        digest, payload = kept[:32], kept[32:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep the code for a signature; a disk that is full or read-only is no error."""
        payload = dumps(result._reduce())
        path = self._path(signature, result.codegen)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, hashlib.sha256(payload).digest() + payload)

    def _path(self, signature: Any, codegen: Any) -> Path:
        key = hashlib.sha256(repr((self.name, str(signature), codegen.magic_tuple())).encode()).hexdigest()
        return folder() / f"{self.name.rpartition('.')[2].strip('_')}-{key[:16]}"


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@cache
def folder() -> Path:
    """``NUMBA_CACHE_DIR``, else the user's folder for caches; in it, a folder for this source and these versions."""
    home = Path(os.environ.get("NUMBA_CACHE_DIR") or _user_caches())
    return home / "compressae_ref" / _source_digest()[:16]


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home())
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _source_digest() -> str:
    """Of all files beside this one, and of the versions of what compiles them."""
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    sha.update(repr((sys.version, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    return sha.hexdigest()
