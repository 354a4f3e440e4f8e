"""Read embeddings that are divided among several files: a folder, or a pattern such as ``part-*.parquet``.

The files are joined in natural order, in which part-2 comes before part-10. All of them have the same dimension. Either
all or none of them have ids.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import NoRowsError, no_rows
from compressae_ref.errors import FormatError, ShapeError
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.files.foreign.sniff import (
    EMBEDDING_NAMES,
    READ_NAMES,
    SYNONYMS,
    TEXT_NAMES,
    kind_by_name,
    refuse_compressed,
)
from compressae_ref.item_ids import as_ids, file_hint

MAX_OPEN = 64
"""Shards that are open at the same time: the system limits open files, often to 1,024."""

Opened = TypeVar("Opened")

_SUFFIXES = {name.removeprefix(".") for name in EMBEDDING_NAMES} | {*SYNONYMS.values()} - {"pt", "jsonl"}


def shard_paths(place: Place) -> list[str] | None:
    """Return the names of the shards of a folder or pattern, with the entry in each. None for a single file.

    Files of a folder whose suffix is not one of embeddings are ignored, and so are hidden ones. Text is ignored, too,
    if there are others: beside embeddings it usually holds what belongs to them.

    Raises
    ------
    FormatError
        If there are no such files, or if they have several formats. Also if some are compressed or in a subfolder.
    """
    path, files = Path(place.path), files_of(place.path)
    if files is None:
        return None
    if path.is_dir():
        _refuse_hard_to_see(path)
        files = [file for file in files if _is_shard(file)] or [file for file in files if _is_text_shard(file)]
    if not files:
        raise FormatError(
            f"expected files of embeddings ({', '.join(READ_NAMES)}) in the directory or pattern, got none",
            path=place.path,
        )
    formats = sorted({kind_by_name(_unpacked_name(file)) for file in files})
    if len(formats) > 1:
        raise FormatError(
            f"expected shards of one format, got {' and '.join(f'.{name}' for name in formats)}",
            path=place.path,
            hint=f"choose with a pattern: '{path / '*' if path.is_dir() else path.parent / '*'}.{formats[0]}'",
        )
    entry = "" if place.entry is None else f"::{place.entry}"
    return [f"{file}{entry}" for file in sorted(files, key=_natural)]


def _is_shard(file: Path) -> bool:
    return not file.name.startswith((".", "_")) and kind_by_name(file) in _SUFFIXES


def _is_text_shard(file: Path) -> bool:
    return not file.name.startswith((".", "_")) and f".{kind_by_name(_unpacked_name(file))}" in TEXT_NAMES


def _unpacked_name(file: Path) -> Path:
    return file.with_suffix("") if file.suffix.lower() == ".gz" else file


def _refuse_hard_to_see(folder: Path) -> None:
    """Raise FormatError for shards that would be left out without a word: compressed ones and those in subfolders."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith((".", "_")):
            nested = next((file for file in entry.rglob("*") if _is_shard(file) and file.is_file()), None)
            if nested is not None:
                these, all_of_them = folder / f"*{nested.suffix}", folder / "**" / f"*{nested.suffix}"
                raise FormatError(
                    f"expected shards in the folder itself, got {nested.relative_to(folder)}",
                    path=folder,
                    hint=f"choose with a pattern: '{these}' or '{all_of_them}'",
                )
        elif _is_shard(Path(entry.stem)) and entry.is_file():
            with entry.open("rb") as file:
                refuse_compressed(entry, file.read(8))


def files_of(path: str) -> list[Path] | None:
    """Return all files of a folder or pattern. None for a single file."""
    if Path(path).is_dir():
        return [file for file in Path(path).iterdir() if file.is_file()]
    if glob.has_magic(path) and not Path(path).exists():
        return [Path(file) for file in glob.glob(path, recursive=True) if Path(file).is_file()]  # noqa: PTH207
    return None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key for sorting that compares digits by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def join_shards(path: str, shards: Sequence[str], open_shard: Callable[[str], EmbeddingRows]) -> EmbeddingRows:
    """Return the rows of all shards as one source. Shards without rows are left out: Spark writes them.

    Shards beyond `MAX_OPEN` are closed and opened again. FormatError if one was replaced in between.

    Parameters
    ----------
    path : the folder or pattern, for messages
    shards : names for ``open_shard``
    """
    shard = one_version(open_shard)
    names: list[str] = []
    lengths, kinds, sequential = [], set(), False
    likely: list[str] = []
    for name in shards:
        rows = _opened_unless_empty(shard, name)
        if rows is None:
            continue
        if not names:
            first, likely = rows, rows.id_columns.likely if rows.id_columns else []
        likely = [each for each in likely if rows.id_columns and each in rows.id_columns.likely]
        _require_like(first, names[0] if names else name, rows, name)
        names.append(name)
        lengths.append(len(rows))
        kinds.add(rows.dtype)
        sequential = sequential or rows.sequential
    if not names:
        raise no_rows(path=path)
    ends = np.cumsum(lengths, dtype=np.int64)
    dtype = np.result_type(*kinds)

    def read(start: int, stop: int) -> Floats:
        parts = []
        while start < stop:
            number = int(np.searchsorted(ends, start, "right"))
            before = int(ends[number]) - lengths[number]
            part = shard(names[number])[start - before : min(stop, int(ends[number])) - before]
            if len(part) == 0:
                break
            parts.append(np.asarray(part, dtype))
            start += len(part)
        return np.concatenate(parts) if parts else np.empty((0, first.shape[1]), dtype)

    def ids_of(name: str, column: str) -> Any:
        columns = shard(name).id_columns
        assert columns is not None
        return columns.read(columns.fixed or column)

    def ids(column: str) -> NDArray[Any]:
        of_shards: list[Any] = [ids_of(name, column) for name in names]
        for name, some in zip(names, of_shards, strict=True):
            if some.dtype != of_shards[0].dtype:
                raise FormatError(
                    f"expected {_kind(of_shards[0])} as ids, as in {names[0]}, got {_kind(some)}",
                    path=name,
                    hint=file_hint(None),
                )
        return as_ids(np.concatenate(of_shards), shape[0], column, path)

    def blocks(column: str) -> Iterator[Any]:
        for name in names:
            columns = shard(name).id_columns
            assert columns is not None
            yield from columns.blocks(column)

    shape = (int(ends[-1]), first.shape[1])
    joined = None
    if first.id_columns is not None:
        joined = first.id_columns._replace(n=shape[0], likely=likely, blocks=blocks, read=ids)
    return EmbeddingRows(shape, dtype, read, ids=joined, sequential=sequential, place=path)


def _opened_unless_empty(shard: Callable[[str], EmbeddingRows], name: str) -> EmbeddingRows | None:
    try:
        return shard(name)
    except NoRowsError:  # some formats do not know the dimension of no rows, so none of them may open
        return None


def _require_like(first: EmbeddingRows, first_name: str, rows: EmbeddingRows, name: str) -> None:
    """Raise unless a shard has the dimension of the first one, and has ids if that has."""
    if rows.shape[1] != first.shape[1]:
        raise ShapeError(f"expected d = {first.shape[1]} dimensions as in {first_name}, got {rows.shape[1]}", path=name)
    ids, own = _named_ids(first), _named_ids(rows)
    if (own is None) != (ids is None) or not _has_ids(rows, ids):
        having = "no ids" if ids is None else f"ids in {ids}"
        got = "none" if own is None else own if ids is None else f"no {ids}"
        raise FormatError(f"expected {having} as in {first_name}, got {got}", path=name, hint=file_hint(None))


def _named_ids(rows: EmbeddingRows) -> str | None:
    return None if rows.id_columns is None else rows.id_columns.named


def _has_ids(rows: EmbeddingRows, name: str | None) -> bool:
    """Return whether a shard has the ids that the first one has, or has a column of a usual name."""
    columns = rows.id_columns
    return name is None or (columns is not None and (columns.fixed is not None or name in columns.claims))


def one_version(open_file: Callable[[str], Opened]) -> Callable[[str], Opened]:
    """Return ``open_file`` for many files, each of which is read in one version.

    At most `MAX_OPEN` files stay open; FormatError if one of the others was replaced before it is opened again.
    """
    versions: dict[str, tuple[int, ...]] = {}

    @lru_cache(MAX_OPEN)
    def opened(name: str) -> Opened:
        version = _version(name)
        if versions.setdefault(name, version) != version:
            raise FormatError(
                "expected a file that nobody changes while it is read, got one that was replaced", path=name
            )
        return open_file(name)

    return opened


def _kind(ids: NDArray[Any]) -> str:
    return "integers" if ids.dtype.kind == "i" else "strings"


def _version(name: str) -> tuple[int, ...]:
    """Return what changes if a file is replaced or written."""
    path = name if Path(name).exists() else name.rpartition("::")[0] or name
    facts = os.stat(path)  # noqa: PTH116
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
