"""Ids as members of an ``.npz`` of this package: integers in one array, strings as their UTF-8 bytes and lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.files.npz import Pieces, reading
from compressae_ref.item_ids import as_ids, file_hint
from compressae_ref.row_source import STREAM_ROWS

IDS, LENGTHS = "ids", "ids_lengths"
"""The members. Readers that know no lengths refuse ``ids`` for its dtype, rather than ignore string ids."""


def id_members(ids: NDArray[Any] | None) -> dict[str, NDArray[Any] | Pieces]:
    """Return the members that store ids from `as_ids`; none for None."""
    if ids is None or ids.dtype.kind == "i":
        return {} if ids is None else {IDS: ids}
    lengths = np.fromiter((len(item.encode()) for item in ids), np.int32, len(ids))
    starts = range(0, len(ids), STREAM_ROWS)
    blocks = (np.frombuffer("".join(ids[start : start + STREAM_ROWS]).encode(), np.uint8) for start in starts)
    return {IDS: Pieces((int(lengths.sum(dtype=np.int64)),), np.dtype(np.uint8), blocks), LENGTHS: lengths}


def id_bytes(ids: NDArray[Any]) -> int:
    """Return the bytes that ids from `as_ids` take in an archive, without its headers."""
    return sum(math.prod(member.shape) * member.dtype.itemsize for member in id_members(ids).values())


def ids_from(
    members: Mapping[str, NDArray[Any]],
    n: int,
    path: object,
    name: str = IDS,
    *,
    unique: bool = True,
    may_choose: bool = True,
) -> NDArray[Any] | None:
    """Return the ids of n rows from the members of an archive, or None if it has none.

    Parameters
    ----------
    name : the member with the ids
    unique : if False, skip the check that all ids are different
    may_choose : whether the hint of an error names the option for other ids

    Raises
    ------
    FormatError
        With the path, and the row if it is known.
    """
    if name not in members:
        return None
    try:
        stored = members[name]
        with reading(path, "ids of rows"):
            if name == IDS and LENGTHS in members:
                stored = _from_utf8(stored, members[LENGTHS], n)
            return as_ids(stored, n, name, unique=unique)
    except CompressaeError as error:
        hint = file_hint(error.hint) if may_choose else error.hint
        raise FormatError(error.message, argument=name, row=error.row, path=path, hint=hint) from error


def _from_utf8(utf8: NDArray[Any], lengths: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the bytes of each id. FormatError if the lengths do not fit the bytes or the rows."""
    if utf8.dtype != np.uint8 or utf8.ndim != 1 or lengths.dtype.str != "<i4" or lengths.shape != (n,):
        raise FormatError(
            f"expected the UTF-8 bytes (|u1) of {n} ids and {n} lengths (<i4), "
            f"got {utf8.dtype.str} of shape {utf8.shape} and {lengths.dtype.str} of shape {lengths.shape}"
        )
    if (lengths < 0).any() or lengths.sum(dtype=np.int64) != len(utf8):
        raise FormatError(
            f"expected lengths of at least 0 with the sum {len(utf8)}, "
            f"got a sum of {lengths.sum(dtype=np.int64)} and a least length of {lengths.min(initial=0)}"
        )
    if n == 0:
        return np.empty(0, np.str_)
    content, ends = utf8.tobytes(), np.cumsum(lengths, dtype=np.int64).tolist()
    return np.fromiter((content[end - size : end] for end, size in zip(ends, lengths.tolist(), strict=True)), object, n)
