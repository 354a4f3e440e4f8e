"""The library of examples/port_c, built and called from Python."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import byref, c_char, c_char_p, c_int, c_int64, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref import Codes, PackedCodes

SOURCE = Path(__file__).parent.parent / "examples" / "port_c"
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off", "-O2", "-ftree-vectorize"]
UNVERIFIED, ENCODER_ONLY, EMPTY_ZERO_ROWS = 1, 2, 4
STATUSES = ("", "Domain", "Shape", "Format", "IO", "Memory", "Build", "Argument")
SPACES = ("sparse", "reconstructed", "asymmetric")

COUNTING = """
#include <stdlib.h>
int allocations, in_use, fail_at = -1;
void *counted_malloc(size_t size) {
    if (allocations++ == fail_at) return NULL;
    in_use++;
    return malloc(size);
}
void counted_free(void *memory) { in_use -= memory != NULL; free(memory); }
"""


class LibraryError(Exception):
    """What a function of the library returned instead of CSAE_OK."""

    def __init__(self, error: _Error) -> None:
        super().__init__(error.text.decode())
        self.status, self.row = STATUSES[error.status], error.row


class _Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("row", c_int64), ("text", c_char * 320)]


class Rows(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int), ("n", c_size_t), ("d", c_size_t)]


class CodeRows(ctypes.Structure):
    _fields_ = [
        ("indices", c_void_p), ("values", c_void_p), ("dtype", c_int), ("n", c_size_t), ("k", c_size_t),
        ("h", c_size_t), ("model", c_char_p),
    ]  # fmt: skip


class _ModelInfo(ctypes.Structure):
    _fields_ = [
        ("dtype", c_int), ("d", c_size_t), ("h", c_size_t), ("k", c_size_t), ("version", c_int), ("centered", c_int),
        ("has_encoder", c_int), ("has_decoder", c_int), ("weights", c_char_p), ("digest", c_char_p),
    ]  # fmt: skip


class _CodesInfo(ctypes.Structure):
    _fields_ = [
        ("dtype", c_int), ("n", c_size_t), ("k", c_size_t), ("h", c_size_t), ("bits", c_uint), ("packed", c_void_p),
        ("model", c_char_p),
    ]  # fmt: skip


def build(folder: Path, *options: str, flags: list[str] = FLAGS) -> Library:
    """Compile the library with malloc() that counts."""
    path = folder / f"lib{len(list(folder.iterdir()))}.so"
    counting = folder / "counting.c"
    counting.write_text(COUNTING)
    names = ["-DCSAE_MALLOC=counted_malloc", "-DCSAE_FREE=counted_free", "-include", str(folder / "counting.h")]
    (folder / "counting.h").write_text(
        "#include <stddef.h>\nvoid *counted_malloc(size_t);\nvoid counted_free(void *);\n"
    )
    command = ["cc", *flags, *options, *names, "-shared", "-fPIC", "-o", str(path), str(SOURCE / "compressae.c")]
    subprocess.run([*command, str(counting), "-lm"], check=True)
    return Library(path)


def rows(x: np.ndarray) -> Rows:
    return Rows(x.ctypes.data, x.dtype.itemsize, *x.shape)


def code_rows(codes: Codes) -> CodeRows:
    model = None if codes.model is None else codes.model.encode()
    i, v = codes.indices, codes.values
    return CodeRows(i.ctypes.data, v.ctypes.data, v.dtype.itemsize, *v.shape, codes.n_latents, model)


class Library:
    """The functions of compressae.h. Handles are closed with the library's own functions when their wrapper is."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        for name in ("workspace_bytes", "refine_workspace_bytes", "index_workspace_bytes", "packed_bytes"):
            getattr(self.c, f"csae_{name}").restype = c_size_t
        self.c.csae_describe_model.restype, self.c.csae_describe_codes.restype = _ModelInfo, _CodesInfo

    def call(self, name: str, *arguments: Any) -> None:
        error = _Error()
        if getattr(self.c, f"csae_{name}")(*arguments, byref(error)):
            raise LibraryError(error)

    def counter(self, name: str) -> c_int:
        return c_int.in_dll(self.c, name)

    def open_model(self, file: Path | bytes, flags: int = 0) -> CModel:
        handle = c_void_p()
        if isinstance(file, bytes):
            self.call("open_model_bytes", byref(handle), file, c_size_t(len(file)), c_uint(flags))
        else:
            self.call("open_model", byref(handle), str(file).encode(), c_uint(flags))
        return CModel(self, handle, file)

    def open_codes(self, file: Path | bytes) -> CCodes:
        handle = c_void_p()
        if isinstance(file, bytes):
            self.call("open_codes_bytes", byref(handle), file, c_size_t(len(file)))
        else:
            self.call("open_codes", byref(handle), str(file).encode())
        return CCodes(self, handle, file)

    def make_codes(self, codes: Codes) -> CCodes:
        handle = c_void_p()
        self.call("make_codes", byref(handle), code_rows(codes))
        return CCodes(self, handle, codes)

    def make_packed_codes(self, address: int, packed: PackedCodes) -> CCodes:
        """Use the bytes at an address, which are those of ``packed``."""
        handle, (n, h, k) = c_void_p(), (len(packed), packed.n_latents, packed.k)
        sizes = c_size_t(n), c_size_t(h), c_size_t(k), c_uint(packed.bits)
        self.call("make_packed_codes", byref(handle), c_void_p(address), *sizes, None)
        return CCodes(self, handle, packed)

    def make_index(self, model: CModel | None, codes: CCodes, space: str) -> CIndex:
        handle = c_void_p()
        arguments = None if model is None else model.handle, codes.handle, SPACES.index(space)
        self.call("make_index", byref(handle), *arguments)
        return CIndex(self, handle, codes)


class _Handle:
    def __init__(self, library: Library, handle: c_void_p, kept: Any) -> None:
        self.library, self.handle, self.kept = library, handle, kept

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CModel(_Handle):
    @property
    def info(self) -> _ModelInfo:
        return self.library.c.csae_describe_model(self.handle)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(f"f{self.info.dtype}")

    def close(self) -> None:
        self.library.c.csae_close_model(self.handle)

    def workspace(self) -> ctypes.Array:
        return ctypes.create_string_buffer(self.library.c.csae_workspace_bytes(self.handle))

    def codes(self, name: str, x: np.ndarray, k: int, *arguments: Any, flags: int, workspace: Any) -> Codes:
        indices, values = np.full((len(x), k), -1, np.int32), np.full((len(x), k), np.nan, self.dtype)
        out = c_uint(flags), indices.ctypes, values.ctypes, workspace
        self.library.call(name, self.handle, rows(x), c_size_t(k), *arguments, *out)
        return Codes(indices, values, self.info.h, model=self.info.digest.decode() or None)

    def encode(self, x: np.ndarray, k: int | None = None, flags: int = 0, workspace: Any = None) -> Codes:
        k = self.info.k if k is None else k
        return self.codes("encode", x, k, flags=flags, workspace=workspace or self.workspace())

    def refine(self, x: np.ndarray, k: int, m: int) -> Codes:
        size = self.library.c.csae_refine_workspace_bytes(self.handle, c_size_t(k), c_size_t(m))
        workspace = ctypes.create_string_buffer(size)
        return self.codes("refine", x, k, c_size_t(m), None, flags=0, workspace=workspace)

    def query(self, x: np.ndarray) -> np.ndarray:
        u = np.empty(self.info.h + 1, self.dtype)
        self.library.call("query", self.handle, rows(x[None]), u.ctypes, self.workspace())
        return u

    def packed_norm(self, packed: bytes, k: int, bits: int) -> np.ndarray:
        norm = np.empty(1, self.dtype)
        row = packed, c_size_t(k), c_uint(bits)
        self.library.call("packed_norm", self.handle, *row, norm.ctypes, self.workspace())
        return norm

    def packed_score(self, u: np.ndarray, packed: bytes, k: int, bits: int, norm: np.ndarray) -> np.ndarray:
        score = np.empty(1, self.dtype)
        row = packed, c_size_t(k), c_uint(bits)
        self.library.call("packed_score", self.handle, u.ctypes, *row, norm.ctypes, score.ctypes, self.workspace())
        return score

    def unit_rows(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, self.dtype)
        self.library.call("unit_rows", self.handle, rows(x), c_uint(0), out.ctypes, self.workspace())
        return out


class CCodes(_Handle):
    @property
    def info(self) -> _CodesInfo:
        return self.library.c.csae_describe_codes(self.handle)

    def close(self) -> None:
        self.library.c.csae_close_codes(self.handle)

    def read(self, first: int, n: int) -> Codes:
        info = self.info
        indices, values = np.empty((n, info.k), np.int32), np.empty((n, info.k), f"f{info.dtype}")
        self.library.call("read_codes", self.handle, c_size_t(first), c_size_t(n), indices.ctypes, values.ctypes)
        return Codes(indices, values, info.h, model=info.model and info.model.decode())


class CIndex(_Handle):
    def close(self) -> None:
        self.library.c.csae_close_index(self.handle)

    def search(self, queries: np.ndarray | Codes, top: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
        n, found = len(queries), min(top, self.kept.info.n)
        ids, scores = np.full((n, found), -1, np.int64), np.full((n, found), np.nan, dtype)
        workspace = ctypes.create_string_buffer(self.library.c.csae_index_workspace_bytes(self.handle))
        dense = isinstance(queries, np.ndarray)
        name, given = ("search", rows(queries)) if dense else ("search_codes", code_rows(queries))
        self.library.call(name, self.handle, given, c_size_t(top), ids.ctypes, scores.ctypes, workspace)
        return ids, scores
