"""The rule that the suffix of an output is that of its format.

Other suffixes are refused before any work, with a list of those that are possible. A name without a suffix is allowed
where the command has one format, or a usual one. Digits alone are no suffix: ``model-0.5`` is a name of a model.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.sniff import EMBEDDING_NAMES, kind_by_name

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
    "convert": tuple(dict.fromkeys((*_EMBEDDINGS, *_CODES, "pt", "onnx"))),
    "report": _PAGE,
    "segments": _PAGE,
    "demo": _PAGE,
}
"""Formats of ``-o`` by command. With ``encode --dask`` and ``convert --to`` it is a folder, which has none."""

SELECTED = (_CODES, _EMBEDDINGS, OUTPUT["convert"])
"""Outputs of several formats, of which the suffix selects one."""

NO_DEFAULT = SELECTED[1:]
"""Outputs of several formats, of which none is usual."""


def formats_of(options: argparse.Namespace, name: str) -> tuple[str, ...]:
    """Return the formats of the file that an output argument names; none for a folder."""
    if name != "output":
        return FORMATS[name]
    if getattr(options, "dask", None) is not None or getattr(options, "to", None) is not None:
        return ()
    if options.command == "encode" and options.bytes is not None:
        return ("npz",)
    return OUTPUT[options.command]


def require_honest_names(options: argparse.Namespace) -> None:
    """Raise FormatError for an output whose suffix is not that of a format that the command writes there."""
    for name in ("output", *FORMATS):
        path = getattr(options, name, None)
        if isinstance(path, str) and not _fits(path, formats := formats_of(options, name)):
            got = Path(path).suffix.lower() or "no suffix"
            expected = f"that ends in .{', .'.join(formats)}" if formats else "of a folder, without a suffix"
            raise FormatError(f"expected a name {expected}, got {got}", path=path, hint=_hint(formats, path))


def _fits(path: str, formats: tuple[str, ...]) -> bool:
    suffix = Path(path).suffix.removeprefix(".")
    if not suffix:
        return formats not in NO_DEFAULT
    return kind_by_name(path) in formats or (suffix.isdigit() and formats not in SELECTED)


def _hint(formats: tuple[str, ...], path: str) -> str | None:
    if formats == _MODEL and kind_by_name(path) in ("pt", "safetensors"):
        own = shlex.quote(str(Path(path).with_suffix(".npz")))
        return f"write {own}, then run: compressae-ref convert {own} -o {shlex.quote(path)}"
    return None
