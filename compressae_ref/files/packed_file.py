"""Read and write files of packed codes: an ``.npz`` as in `model_file`, with one array of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from compressae_ref.codes import refined_entry
from compressae_ref.extensions.packed_codes import PackedCodes, from_arrays
from compressae_ref.files.id_members import IDS, LENGTHS, id_members, ids_from
from compressae_ref.files.model_file import PACKED_FORMAT, VERSION, built, json_array, load_file, read_meta
from compressae_ref.files.npz import PathLike, member_names, write_npz
from compressae_ref.item_ids import as_ids


def save_packed(path: PathLike, packed: PackedCodes, ids: Any = None) -> None:
    """Write packed codes with optional ids, as `save_codes`. OSError if the file cannot be written."""
    named = id_members(None if ids is None else as_ids(ids, len(packed)))
    write_npz(path, {"packed": packed.data, "meta": json_array(meta_of(packed)), **named})


def meta_of(packed: PackedCodes) -> dict[str, Any]:
    """Return the ``meta`` of a file of packed codes."""
    meta = {"format": PACKED_FORMAT, "version": VERSION, "bits": packed.bits}
    return meta | {name: getattr(packed, name) for name in ("k", "n_latents", "model")} | refined_entry(packed)


def is_packed(path: str) -> bool:
    """Return whether a path names a file of packed codes; its content is not checked."""
    return Path(path).is_file() and {"meta", "packed"} <= member_names(path)


def load_packed(path: PathLike) -> PackedCodes:
    """Read packed codes and check every row.

    Raises
    ------
    FormatError
        As `load_codes`.
    """
    return load_file(path, PACKED_FORMAT, from_arrays)


def load_packed_and_ids(path: PathLike) -> tuple[PackedCodes, NDArray[Any] | None]:
    """Read the packed codes and the ids of one version of a file. Errors as `load_packed`."""
    arrays, meta = read_meta(path, IDS, LENGTHS)
    packed = built(path, PACKED_FORMAT, arrays, meta, from_arrays)
    return packed, ids_from(arrays, len(packed), path)
