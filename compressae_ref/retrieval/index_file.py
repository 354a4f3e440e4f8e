"""Index files: an ``.npz`` with items, their norms and ids, and the lists of a backend, to be mapped, not loaded."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, FormatError, format_error, reason
from compressae_ref.files.memory_map import map_npz
from compressae_ref.files.npz import READ_ERRORS, PathLike, write_npz
from compressae_ref.item_ids import Ids, reject_repeated
from compressae_ref.row_source import BLOCK_ROWS

FORMAT, VERSION = "compressae-index", 1

LISTS = "lists."
"""How the names of members begin that belong to a backend."""


def write_index(path: PathLike, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], index: Any) -> None:
    """Write an index file; what of ``index`` is no array goes into the meta. Only named tuples are kept."""
    fields = index._asdict() if isinstance(index, tuple) else {}  # type: ignore[attr-defined]
    numbers = {name: value for name, value in fields.items() if not isinstance(value, np.ndarray)}
    members = {f"{LISTS}{name}": value for name, value in fields.items() if name not in numbers}
    text = json.dumps({**meta, "format": FORMAT, "version": VERSION, "lists": numbers}, sort_keys=True)
    write_npz(path, {**arrays, **members, "meta": np.array(text)}, aligned=True)


def read_index(path: PathLike, check: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
    """The meta of an index file, its arrays, and the fields of its lists.

    Raises
    ------
    FormatError
        Naming the file and the reason.
    """
    try:
        if check:
            _check_bytes(path)
        arrays = map_npz(path)
        meta = _meta(arrays)
        fields = {name.removeprefix(LISTS): array for name, array in arrays.items() if name.startswith(LISTS)}
        return meta, arrays, fields and fields | meta["lists"]
    except READ_ERRORS as error:
        raise damaged(path, error) from error


def damaged(path: PathLike, error: Exception) -> Exception:
    """What to raise for what was found in a file; an error of the system that names its file stays as it is."""
    if isinstance(error, OSError) and error.filename is not None:
        return error
    if isinstance(error, KeyError):
        return FormatError(f"expected an index file with an entry {error}, got none", path=path)
    if isinstance(error, CompressaeError):
        return format_error(path, error)
    return FormatError(f"expected an index file, got one that cannot be read ({reason(error)})", path=path)


def _check_bytes(path: PathLike) -> None:
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise FormatError("expected the bytes of its checksum, got damaged bytes", argument=bad)


def _meta(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    meta = json.loads(str(arrays.pop("meta")[()]))
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise FormatError("expected an index file of this package, got something else")
    if type(meta.get("version")) is not int or meta["version"] != VERSION:
        raise FormatError(f"expected an index file of version {VERSION}, got version {meta.get('version')!r}")
    return meta


def codes_of(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], check: bool) -> Codes:
    """The items; all numbers are looked at where ``check`` says so, else only shapes and dtypes."""
    indices, values = arrays["indices"], arrays["values"]
    if indices.dtype != np.int32 or values.dtype not in (np.float32, np.float64) or indices.shape != values.shape:
        raise FormatError(f"expected indices and values of one shape, got {indices.dtype}, {values.dtype}")
    for start in range(0, len(indices) if check else 0, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        try:
            Codes(indices[rows], values[rows], meta["n_latents"])
        except CompressaeError as error:
            row = None if error.row is None else start + error.row
            raise FormatError(error.message, argument=error.argument, row=row) from error
    return Codes.trusted(indices, values, meta["n_latents"], meta["model"])


def norms_of(codes: Codes, arrays: Mapping[str, NDArray[Any]], check: bool) -> Floats:
    """The norm of each item."""
    norms = arrays["norms"]
    if norms.shape != (len(codes),) or norms.dtype != codes.values.dtype:
        raise FormatError(f"expected a norm of each of {len(codes)} items, got {norms.dtype} {norms.shape}")
    if check and not (np.isfinite(norms) & (norms > 0)).all():
        raise FormatError("expected finite norms above 0, got others")
    return norms


def ids_of(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], check: bool) -> Ids:
    """The id of each item."""
    ids, next_number = arrays["ids"], meta["next_number"]
    if ids.shape != arrays["indices"].shape[:1] or (ids.dtype != np.int64 and ids.dtype.kind != "U"):
        raise FormatError(f"expected an id of each item, got {ids.dtype} {ids.shape}")
    if next_number is not None and type(next_number) is not int:
        raise FormatError(f"expected the next number or null, got {next_number!r}")
    if check:
        reject_repeated(ids.tolist())
    return Ids(ids, next_number)
