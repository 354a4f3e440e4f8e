"""Read and write index files: an uncompressed ``.npz`` with codes, norms, ids and the search lists of a backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_integer, short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.files.id_members import id_members, ids_from
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.memory_map import map_npz
from compressae_ref.files.model_file import INDEX_FORMAT, PACKED_FORMAT
from compressae_ref.files.npz import PathLike, reading, write_npz
from compressae_ref.retrieval.index_ids import Ids
from compressae_ref.row_source import BLOCK_ROWS

VERSION = 1

LISTS = "lists."
"""Prefix of the members that belong to a backend."""


def write_index(
    path: PathLike, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], ids: Ids, index: Any
) -> None:
    """Write an index file. ``index`` is saved if it is a named tuple; fields that are not arrays go into the meta."""
    fields = index._asdict() if isinstance(index, tuple) else {}  # type: ignore[attr-defined]
    numbers = {name: value for name, value in fields.items() if not isinstance(value, np.ndarray)}
    members = {f"{LISTS}{name}": value for name, value in fields.items() if name not in numbers}
    facts = {**meta, "next_number": ids.next_number, "format": INDEX_FORMAT, "version": VERSION, "lists": numbers}
    text = json.dumps(facts, sort_keys=True)
    write_npz(path, {**arrays, **id_members(ids.values), **members, "meta": np.array(text)}, aligned=True)


def read_index(path: PathLike, check: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the meta of an index file, its arrays, and the fields of its lists.

    Parameters
    ----------
    path : the file
    check : if True, read the file into memory and verify its checksums; if False, map it

    Raises
    ------
    FormatError
        If the file is damaged or not an index file.
    """
    with reading_index(path):
        arrays = map_npz(InputFile(path), check=check)
        meta = _meta(arrays)
        fields = {name.removeprefix(LISTS): array for name, array in arrays.items() if name.startswith(LISTS)}
        return meta, arrays, fields and fields | meta["lists"]


def reading_index(path: PathLike) -> AbstractContextManager[None]:
    """Turn every error that the content of an index file causes into a FormatError with its path."""
    return reading(path, "an index file", convert=True)


def _meta(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    meta = json.loads(str(arrays.pop("meta")[()]))
    if not isinstance(meta, dict) or meta.get("format") != INDEX_FORMAT:
        got = repr(meta.get("format")) if isinstance(meta, dict) else type(meta).__name__
        hint = "PackedIndex.load reads packed codes" if got == repr(PACKED_FORMAT) else None
        raise FormatError(f"expected an index file with format {INDEX_FORMAT!r}, got {got}", hint=hint)
    if type(meta.get("version")) is not int or meta["version"] != VERSION:
        raise FormatError(f"expected an index file of version {VERSION}, got version {meta.get('version')!r}")
    return meta


def codes_of(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], check: bool) -> Codes:
    """Return the codes of the items. Shapes and dtypes are always checked, all values if ``check`` is True."""
    indices, values = arrays["indices"], arrays["values"]
    if indices.dtype != np.int32 or values.dtype not in (np.float32, np.float64) or indices.shape != values.shape:
        raise FormatError(
            "expected int32 indices and float values of equal shape, "
            f"got {indices.dtype} {indices.shape} and {values.dtype} {values.shape}"
        )
    for start in range(0, len(indices) if check else 0, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        try:
            Codes(indices[rows], values[rows], meta["n_latents"])
        except CompressaeError as error:
            row = None if error.row is None else start + error.row
            raise FormatError(error.message, argument=error.argument, row=row) from error
    k, model = meta.get("k", indices.shape[1]), meta["model"]
    if type(k) is not int or k != indices.shape[1]:
        raise FormatError(f"expected k = {indices.shape[1]} as the indices have, got {short_repr(k)}")
    if not isinstance(model, str | None):
        raise FormatError(f"expected the digest of a model or null, got {short_repr(model)}")
    return Codes.trusted(indices, values, as_integer(meta["n_latents"], "n_latents"), model)


def norms_of(codes: Codes, arrays: Mapping[str, NDArray[Any]], check: bool) -> Floats:
    """Return the norms of the items, one for each row of ``codes``."""
    norms = arrays["norms"]
    if norms.shape != (len(codes),) or norms.dtype != codes.values.dtype:
        raise FormatError(
            f"expected {len(codes)} norms of {codes.values.dtype}, one for each item, got {norms.dtype} {norms.shape}"
        )
    valid = np.isfinite(norms) & (norms > 0) if check else np.ones(len(norms), np.bool_)
    if not valid.all():
        row = int(np.argmin(valid))
        raise FormatError(f"expected finite norms above 0, got {norms[row]}", row=row)
    return norms


def ids_of(path: PathLike, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], check: bool) -> Ids:
    """Return the ids of the items, one for each row; that they are all different is checked if ``check`` is True."""
    next_number, n = meta["next_number"], len(arrays["indices"])
    ids = ids_from(arrays, n, path, unique=check, may_choose=False)
    if ids is None:
        raise FormatError("expected ids, got no entry 'ids'")
    if next_number is not None and type(next_number) is not int:
        raise FormatError(f"expected next_number as an integer or null, got {next_number!r}")
    return Ids(ids, next_number)
