"""Detect the format of a file from its content. The file's name only decides between formats that fit equally.

Formats with a signature are recognised by it. The others are recognised by their size: the numbers of rows and columns
in the header must match the length of the file.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.text_rows import GZIP, byte_stream
from compressae_ref.files.input_file import InputFile, PathLike, opened

SIGNATURES = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
}
"""Formats by their first bytes."""

PICKLE = b"\x80"
"""The first byte of a pickle. The protocol number follows."""

EMBEDDING_NAMES = (
    ".npy", ".npz", ".fbin", ".u8bin", ".i8bin", ".fvecs", ".bvecs", ".safetensors", ".hdf5", ".parquet", ".arrow",
)  # fmt: skip

TEXT_NAMES = (".csv", ".tsv", ".jsonl")
READ_NAMES = EMBEDDING_NAMES + TEXT_NAMES
"""Suffixes of files of embeddings that are read. Text is not written."""

COMPRESSED = {
    b"\x1f\x8b": ("gzip", "unpack it with gunzip"),
    b"BZh": ("bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unpack it with unxz"),
    b"(\xb5/\xfd": ("Zstandard", "unpack it with unzstd"),
    b"\x04\x22\x4d\x18": ("LZ4", "unpack it with unlz4"),
}
"""Compressed files by their first bytes: the program's name, and what to do."""

HEAD_BYTES = 1 << 16
"""Bytes from which a format of text is recognised."""

INTEGER_SUFFIXES = (".ivecs", ".ibin")
"""Suffixes of files of neighbour ids. Their bytes look like embeddings, so only the name tells them apart."""

SYNONYMS = {
    ".h5": "hdf5", ".hdf": "hdf5", ".feather": "arrow", ".ipc": "arrow", ".pq": "parquet", ".pth": "pt", ".bin": "fbin",
    ".ndjson": "jsonl",
}  # fmt: skip


NOT_WRITTEN_AS_NPZ = {
    *READ_NAMES, *INTEGER_SUFFIXES, *SYNONYMS, ".pt", ".csr", ".json", ".txt", ".html", ".htm", ".png", ".onnx", ".pkl",
    ".pickle", ".gz", ".zip",
} - {".npz"}  # fmt: skip
"""Suffixes of other formats than that of this package's own files, which are archives of arrays."""


def require_own_name(path: PathLike) -> None:
    """Raise FormatError if a file of this package would get the suffix of another format. Other names are allowed."""
    suffix = Path(path).suffix.lower()
    if suffix in NOT_WRITTEN_AS_NPZ:
        hint = f"name it {Path(path).with_suffix('.npz').name}; compressae-ref convert writes other formats"
        raise FormatError(f"expected a name that ends in .npz, got {suffix}", path=path, hint=hint)


def kind_of(file: InputFile | PathLike) -> str:
    """Return the format of a file: one of `SIGNATURES`, `_FITS` or `TABLE_NAMES`, or "pickle".

    Raises
    ------
    FormatError
        If no format fits, or if several fit and the name does not decide between them.
    """
    file = opened(file)
    path, head, size = Path(file.path), file.read(0, 64), file.size
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    fitting = [kind for kind, fits in _FITS.items() if fits(_Start(file, head, size))]
    if not fitting:
        text = _text_kind(path, file)
        if text is not None and text != "lines":
            return text
        refuse_compressed(path, head)
        if text is not None:
            raise FormatError(
                f"expected embeddings, got text without columns ({path.suffix or 'no suffix'})",
                path=path,
                hint="name it .csv or .tsv if its first line names columns, or convert it once: "
                "numpy.save('x.npy', numpy.loadtxt('x.txt', numpy.float32))",
            )
    return _by_name(path, fitting, head, size)


def refuse_compressed(path: Path, head: bytes) -> None:
    """Raise FormatError, with what to do, for a file that starts like one of `COMPRESSED`."""
    for signature, (name, hint) in COMPRESSED.items():
        if head.startswith(signature):
            raise FormatError(f"expected an uncompressed file, got one compressed by {name}", path=path, hint=hint)


def _text_kind(path: Path, file: InputFile) -> str | None:
    """Return the format of a text file, which gzip may have packed: one of the values of `TABLE_NAMES`, or None."""
    head = file.read(0, HEAD_BYTES)
    if head.startswith(GZIP):
        with suppress(OSError, EOFError, zlib.error):  # another reader says what is wrong with it
            head = byte_stream(file).read(HEAD_BYTES)
    return table_kind_of(path, head) if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and not any(letter < " " and letter not in "\t\n\r\f" for letter in text)


def kind_by_name(path: PathLike) -> str:
    """Return the format of a file name's suffix, without a dot. Used for files that do not exist yet."""
    suffix = Path(path).suffix.lower()
    return SYNONYMS.get(suffix, suffix.removeprefix("."))


def start_of(size: int, head: bytes) -> str:
    """Describe a file whose format is not known."""
    return f"{size} bytes that start with {head[:8]!r}" if size else "an empty file"


def _by_name(path: Path, fitting: list[str], head: bytes, size: int) -> str:
    pickled = head[:1] == PICKLE and head[1:2] in b"\x02\x03\x04\x05"
    name = kind_by_name(path)
    if path.suffix.lower() in INTEGER_SUFFIXES:
        raise FormatError(
            f"expected embeddings, got a {path.suffix.lower()} file, which holds integer row ids", path=path
        )
    if name in fitting:
        return name
    if not fitting and pickled:  # tested last: a number of rows may start with the same bytes
        return "pickle"
    if name in _FITS:
        raise FormatError(
            f"expected a .{name} file whose header matches its size, got {start_of(size, head)}",
            path=path,
            hint="the file may be truncated",
        )
    if len(fitting) > 1:
        raise FormatError(
            f"expected a file of one format, got one that could be {' or '.join(fitting)}",
            path=path,
            hint="give the file its proper suffix",
        )
    if not fitting:
        raise FormatError(
            f"expected a file of this package, or one of {', '.join(READ_NAMES)}, got {start_of(size, head)}",
            path=path,
        )
    return fitting[0]


class _Start(NamedTuple):
    """The first bytes of a file, and its size."""

    file: InputFile
    head: bytes
    size: int

    def number(self, at: int, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.head[at : at + width], "little", signed=signed)


def _big_ann(width: int) -> Callable[[_Start], bool]:
    """Return a test for: numbers of rows and columns as uint32, then values of ``width`` bytes."""
    return lambda start: len(start.head) >= 8 and start.size == 8 + width * start.number(0, 4) * start.number(4, 4)


def _vecs(width: int) -> Callable[[_Start], bool]:
    """Return a test for: rows that start with their length as int32. The first two lengths must be equal."""

    def fits(start: _Start) -> bool:
        d = start.number(0, 4, signed=True)
        if len(start.head) < 4 or d <= 0 or start.size % (4 + width * d):
            return False
        second = start.file.read(4 + width * d, 4)
        return not second or int.from_bytes(second, "little", signed=True) == d

    return fits


def _safetensors(start: _Start) -> bool:
    return start.head[8:9] == b"{" and start.number(0, 8) <= start.size - 8


def _csr(start: _Start) -> bool:
    n, nnz = start.number(0, 8, signed=True), start.number(16, 8, signed=True)
    return len(start.head) >= 24 and min(n, nnz) >= 0 and start.size == 24 + 8 * (n + 1) + 8 * nnz


def _arrow_stream(start: _Start) -> bool:
    """Test for a message of Arrow's stream format: a mark, and the length of its metadata."""
    return start.head[:4] == b"\xff\xff\xff\xff" and 0 < start.number(4, 4) <= start.size - 8


_FITS: dict[str, Callable[[_Start], bool]] = {
    "safetensors": _safetensors,
    "arrow-stream": _arrow_stream,
    "csr": _csr,
    "fbin": _big_ann(4),
    "u8bin": _big_ann(1),
    "i8bin": _big_ann(1),
    "fvecs": _vecs(4),
    "bvecs": _vecs(1),
    "jsonl": lambda start: (
        start.head.lstrip()[:1] == b"{" or (start.head.lstrip()[:1] == b"[" and _is_text(start.head))
    ),
}


TABLE_NAMES = {
    "csv": "csv", "tsv": "tsv", "tab": "tsv", "jsonl": "jsonl", "json": "jsonl", "txt": "lines", "text": "lines",
}  # fmt: skip
"""Formats of tables that are text, by the names of files."""


def table_kind_of(path: Path, head: bytes) -> str:
    """Return "parquet", "arrow", "arrow-stream" or one of `TABLE_NAMES`, by the first bytes and the name of a file."""
    kind = next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), None)
    if kind in ("parquet", "arrow"):
        return kind
    refuse_compressed(path, head)
    if kind is not None or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        got = "text in UTF-16" if kind is None else f"a file of format {kind}"
        hint = "save it as UTF-8" if kind is None else "export it as CSV or Parquet"
        raise FormatError(f"expected a table, such as CSV, JSON lines or Parquet, got {got}", hint=hint)
    if head.startswith(b"\xff\xff\xff\xff"):
        return "arrow-stream"
    text = head.removeprefix(codecs.BOM_UTF8)
    if not text:
        raise FormatError("expected a table, got an empty file")
    named = TABLE_NAMES.get(kind_by_name(path.with_suffix("") if path.suffix.lower() == ".gz" else path))
    return _by_first_line(text.split(b"\n")[0], named)


def _by_first_line(line: bytes, named: str | None) -> str:
    if named in ("jsonl", "lines", "tsv"):
        return named
    if named is None and line.lstrip()[:1] in (b"{", b"["):
        return "jsonl"
    if b"\t" in line and not (named and b"," in line):
        return "tsv"
    return "csv" if named or b"," in line else "lines"
