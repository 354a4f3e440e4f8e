"""What a file is. Its content decides; the name only where several contents are the same bytes.

Formats with a signature are known by it. Those without one are known by their sizes: a header that says how many rows
of how many numbers follow must fit the length of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from compressae_ref.errors import FormatError

SIGNATURES = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
}
"""The first bytes of formats that have a signature."""

PICKLE = b"\x80"
"""The first byte of a pickle, which the number of its protocol follows."""

EMBEDDING_NAMES = (
    ".npy", ".npz", ".fbin", ".u8bin", ".i8bin", ".fvecs", ".bvecs", ".safetensors", ".hdf5", ".parquet", ".arrow",
)  # fmt: skip

OF_WHOLE_NUMBERS = (".ivecs", ".ibin")
"""Names of files of neighbours, which would pass for embeddings: the bytes alone do not tell."""

SYNONYMS = {
    ".h5": "hdf5", ".hdf": "hdf5", ".feather": "arrow", ".ipc": "arrow", ".pq": "parquet", ".pth": "pt", ".bin": "fbin",
    ".ndjson": "jsonl",
}  # fmt: skip


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of a file: as in `SIGNATURES`, or pickle, safetensors, csr, fbin, u8bin, i8bin, fvecs, bvecs, jsonl.

    Raises
    ------
    FormatError
        Naming the file, for none of them, and for one that could be several and is named as none of those.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(64)
        for signature, kind in SIGNATURES.items():
            if head.startswith(signature):
                return kind
        fitting = [kind for kind, fits in _FITS.items() if fits(_Start(file, head, os.fstat(file.fileno()).st_size))]
    return _by_name(path, fitting, pickled=head[:1] == PICKLE and head[1:2] in b"\x02\x03\x04\x05")


def kind_by_name(path: str | os.PathLike[str]) -> str:
    """What the end of a name calls a format, without a dot: for files that are yet to be written."""
    suffix = Path(path).suffix.lower()
    return SYNONYMS.get(suffix, suffix.removeprefix("."))


def _by_name(path: Path, fitting: list[str], *, pickled: bool) -> str:
    name = kind_by_name(path)
    if path.suffix.lower() in OF_WHOLE_NUMBERS:
        raise FormatError("expected embeddings, got whole numbers, by its name: numbers of rows", path=path)
    if name in fitting:
        return name
    if not fitting and pickled:  # a number of rows may begin with the same bytes
        return "pickle"
    if name in _FITS:
        raise FormatError(f"expected the size that its header as a .{name} file says, got another", path=path)
    if len(fitting) > 1:
        raise FormatError(f"expected a name that says which it is, got what could be {' or '.join(fitting)}", path=path)
    if not fitting:
        raise FormatError(
            f"expected a file of {', '.join(EMBEDDING_NAMES)} or of this package, got something else or a part of one",
            path=path,
        )
    return fitting[0]


class _Start(NamedTuple):
    """The beginning of a file, and its size."""

    file: IO[bytes]
    head: bytes
    size: int

    def number(self, at: int, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.head[at : at + width], "little", signed=signed)


def _big_ann(width: int) -> Callable[[_Start], bool]:
    """Numbers of rows and columns, as unsigned 32 bits, and then the numbers."""
    return lambda start: len(start.head) >= 8 and start.size == 8 + width * start.number(0, 4) * start.number(4, 4)


def _vecs(width: int) -> Callable[[_Start], bool]:
    """Each row with its length in front, as signed 32 bits: that of the second row must be that of the first."""

    def fits(start: _Start) -> bool:
        d = start.number(0, 4, signed=True)
        if len(start.head) < 4 or d <= 0 or start.size % (4 + width * d):
            return False
        start.file.seek(4 + width * d)
        second = start.file.read(4)
        return not second or int.from_bytes(second, "little", signed=True) == d

    return fits


def _safetensors(start: _Start) -> bool:
    return start.head[8:9] == b"{" and start.number(0, 8) <= start.size - 8


def _csr(start: _Start) -> bool:
    n, nnz = start.number(0, 8, signed=True), start.number(16, 8, signed=True)
    return len(start.head) >= 24 and min(n, nnz) >= 0 and start.size == 24 + 8 * (n + 1) + 8 * nnz


_FITS: dict[str, Callable[[_Start], bool]] = {
    "safetensors": _safetensors,
    "csr": _csr,
    "fbin": _big_ann(4),
    "u8bin": _big_ann(1),
    "i8bin": _big_ann(1),
    "fvecs": _vecs(4),
    "bvecs": _vecs(1),
    "jsonl": lambda start: start.head.lstrip()[:1] == b"{",
}
