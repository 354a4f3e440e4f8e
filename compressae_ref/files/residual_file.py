"""Read and write files of residual codes: an ``.npz`` as in `model_file`, with the bytes of rows and the codec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.extensions.residual_codec import ResidualCodec
from compressae_ref.extensions.residual_codes import ResidualCodes
from compressae_ref.files.id_members import IDS, LENGTHS, id_members, ids_from
from compressae_ref.files.model_file import RESIDUAL_FORMAT, VERSION, built, json_array, read_meta
from compressae_ref.files.npz import PathLike, Pieces, archive_bytes, member_names, write_npz
from compressae_ref.item_ids import as_ids

ARRAYS = ("basis", "scales", "bits", "lengths")
"""Members with the arrays of the codec."""


def save_residual(path: PathLike, codes: ResidualCodes, ids: Any = None) -> None:
    """Write residual codes and their codec with optional ids, as `save_codes`. OSError if it cannot be written."""
    save_residual_blocks(path, [codes], len(codes), codes.codec, ids)


def save_residual_blocks(
    path: PathLike, blocks: Iterable[ResidualCodes], n: int, codec: ResidualCodec, ids: Any = None
) -> None:
    """Write n rows that come in blocks, with one block in memory at a time. Errors as `save_code_blocks`."""
    write_npz(path, _members((block.data for block in blocks), n, codec, ids))


def residual_bytes(n: int, codec: ResidualCodec, ids: Any = None) -> int:
    """Return the size of the file of n rows."""
    return archive_bytes(_members(iter(()), n, codec, ids))


def _members(
    data: Iterator[NDArray[np.uint8]], n: int, codec: ResidualCodec, ids: Any
) -> Mapping[str, NDArray[Any] | Pieces]:
    named = id_members(None if ids is None else as_ids(ids, n))
    meta = {"format": RESIDUAL_FORMAT, "version": VERSION, "bits": codec.value_bits}
    meta |= {name: getattr(codec, name) for name in ("k", "n_latents", "model")}
    rows = Pieces((n, codec.row_bytes), np.dtype(np.uint8), data)
    return {"residual": rows, **{name: getattr(codec, name) for name in ARRAYS}, "meta": json_array(meta), **named}


def is_residual(path: str) -> bool:
    """Return whether a path names a file of residual codes; its content is not checked."""
    return Path(path).is_file() and {"meta", "residual"} <= member_names(path)


def load_residual(path: PathLike) -> ResidualCodes:
    """Read residual codes and check every row.

    Raises
    ------
    FormatError
        As `load_codes`.
    """
    return load_residual_and_ids(path)[0]


def load_residual_and_ids(path: PathLike) -> tuple[ResidualCodes, NDArray[Any] | None]:
    """Read the residual codes and the ids of one version of a file. Errors as `load_residual`."""
    arrays, meta = read_meta(path, IDS, LENGTHS)
    codes = built(path, RESIDUAL_FORMAT, arrays, meta, _from_arrays)
    return codes, ids_from(arrays, len(codes), path)


def _from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> ResidualCodes:
    if not isinstance(meta["model"], str):
        raise FormatError(f"expected the digest of a model, got {meta['model']!r}")
    codec = ResidualCodec(
        **{name: arrays[name] for name in ARRAYS},
        n_latents=meta["n_latents"],
        k=meta["k"],
        value_bits=meta["bits"],
        model=meta["model"],
    )
    codes = ResidualCodes(arrays["residual"], codec)
    codes.check()
    return codes
