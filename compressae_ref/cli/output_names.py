"""The rule that the name of an output never lies about its format.

A suffix that stands for a format must be that of the file that is written. No suffix, or one that stands for no format,
such as ``model-0.5``, is allowed, unless the suffix selects the format: then the command itself refuses it.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.sniff import EMBEDDING_NAMES, SYNONYMS, kind_by_name

_EMBEDDINGS = tuple(name.removeprefix(".") for name in EMBEDDING_NAMES)
_CODES = ("npz", "csr", "parquet", "arrow", "jsonl")
_PAGE, _MODEL = ("html", "htm"), ("npz",)

FORMATS: dict[str, tuple[str, ...]] = {
    "picture": ("png",),
    "requests": ("jsonl", "json", "txt"),
    "checkpoint": ("checkpoint", "npz"),
    "keep": _EMBEDDINGS,
    "keep_model": _MODEL,
}
"""Formats of an output by the name of its argument, in every command. `OUTPUT` has those of ``-o``."""

OUTPUT: dict[str, tuple[str, ...]] = {
    "train": _MODEL,
    "pull": _MODEL,
    "encode": _CODES,
    "pack": ("npz",),
    "unpack": ("npz",),
    "split-signs": _CODES,
    "convert": tuple(dict.fromkeys((*_EMBEDDINGS, *_CODES, "pt"))),
    "report": _PAGE,
    "segments": _PAGE,
    "demo": _PAGE,
}
"""Formats of ``-o`` by command. With ``encode --dask`` and ``convert --to`` it is a folder, which has none."""

KNOWN = frozenset(
    {name.removeprefix(".") for name in (*EMBEDDING_NAMES, *SYNONYMS)}
    | {kind for formats in FORMATS.values() for kind in formats}
    | {*_CODES, *_PAGE, "pt", "ckpt", "onnx", "pb", "tflite", "gguf", "joblib", "pkl", "pickle", "mat", "msgpack"}
    | {"csv", "tsv", "tab", "xls", "xlsx", "json", "xml", "yaml", "yml", "toml", "txt", "text", "log", "md"}
    | {"sql", "db", "sqlite"}
    | {"pdf", "jpg", "jpeg", "gif", "svg", "webp", "tif", "tiff", "bmp", "eps", "ps", "ivecs", "ibin", "orc", "avro"}
    | {"zip", "gz", "bz2", "xz", "zst", "lz4", "7z", "tar", "tgz", "py", "ipynb", "c", "js", "css", "tex", "lance"}
)  # fmt: skip
"""Suffixes that stand for a format, ours or that of another program."""


def formats_of(options: argparse.Namespace, name: str) -> tuple[str, ...]:
    """Return the formats of the file that an output argument names; none for a folder."""
    if name != "output":
        return FORMATS[name]
    folder = getattr(options, "dask", None) is not None or getattr(options, "to", None) is not None
    return () if folder else OUTPUT[options.command]


def require_honest_names(options: argparse.Namespace) -> None:
    """Raise FormatError for an output whose suffix stands for another format than that of the file."""
    for name in ("output", *FORMATS):
        path = getattr(options, name, None)
        if not isinstance(path, str):
            continue
        suffix, formats = Path(path).suffix.lower().removeprefix("."), formats_of(options, name)
        if suffix in KNOWN and kind_by_name(path) not in formats:
            expected = f"that ends in .{', .'.join(formats)}" if formats else "of a folder, without a suffix"
            raise FormatError(f"expected a name {expected}, got .{suffix}", path=path, hint=_hint(formats, path))


def _hint(formats: tuple[str, ...], path: str) -> str | None:
    if formats == _MODEL and kind_by_name(path) in ("pt", "safetensors"):
        own = shlex.quote(str(Path(path).with_suffix(".npz")))
        return f"write {own}, then run: compressae-ref convert {own} -o {shlex.quote(path)}"
    return None
