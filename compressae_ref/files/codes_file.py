"""Read and write codes files: a CSR matrix for ``scipy.sparse.load_npz``, the model's digest, and optional ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k
from compressae_ref.codes import Codes, is_refined, refined_entry
from compressae_ref.errors import FormatError
from compressae_ref.extensions.packed_codes import from_arrays
from compressae_ref.files.atomic_write import spool_beside
from compressae_ref.files.foreign.sniff import require_own_name
from compressae_ref.files.id_members import IDS, LENGTHS, id_members, ids_from
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.model_file import (
    CODES_FORMAT,
    PACKED_FORMAT,
    RESIDUAL_FORMAT,
    VERSION,
    built,
    json_array,
    read_meta,
)
from compressae_ref.files.npz import PathLike, Pieces, archive_bytes, write_npz
from compressae_ref.item_ids import as_ids
from compressae_ref.row_source import BLOCK_ROWS

_CODES_ARRAYS = {"data": ("<f4", "<f8"), "indices": ("<i4",), "indptr": ("<i4", "<i8"), "shape": ("<i8",)}
"""The arrays of a codes file and their dtypes (R11)."""


ONLY_SPARSE = "search and inspect read residual codes; unpack writes the codes of their sparse part"
"""Hint for readers of codes that get residual codes."""


def save_codes(path: PathLike, codes: Codes, ids: Any = None) -> None:
    """Write codes to a file, with the digest of their model.

    Parameters
    ----------
    ids : (n,) integers or strings, all different, optional; what `item_ids.as_ids` accepts

    Raises
    ------
    CompressaeError
        For ids that cannot be stored exactly. OSError if the file cannot be written. No partial file remains.
    """
    codes = codes.to_host()
    _save_codes(path, codes, len(codes), [codes.values], [codes.indices], ids)


def save_code_blocks(path: PathLike, blocks: Iterable[Codes], n: int, ids: Any = None) -> None:
    """Write n rows of codes that come in ``blocks``. Only one block is in memory at a time.

    Parameters
    ----------
    path : the file
    blocks : codes, at least one block
    n : number of rows in all blocks
    ids : (n,) integers or strings, all different, optional; what `item_ids.as_ids` accepts

    Raises
    ------
    CompressaeError
        For ids that cannot be stored exactly, before the first block is made. Errors of ``blocks`` are passed on.
    OSError
        If the file cannot be written. No partial file remains.
    """
    require_own_name(path)
    ids = None if ids is None else as_ids(ids, n)
    with spool_beside(path) as file:  # the file stores all values before all indices, which wait here
        blocks = iter(blocks)
        first = next(blocks)
        pairs = ((codes.values, codes.indices) for codes in chain([first], blocks))
        _save_codes(path, first, n, spool_second(pairs, file), read_spooled(file, np.int32), ids)


def spool_second(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], file: IO[bytes]) -> Iterator[NDArray[Any]]:
    """Yield the first array of each pair and write the second one to ``file``, for `read_spooled`."""
    for first, second in pairs:
        file.write(second.tobytes())
        yield first


def read_spooled(file: IO[bytes], dtype: Any) -> Iterator[NDArray[Any]]:
    """Yield the arrays that `spool_second` wrote, in pieces."""
    file.seek(0)
    while piece := file.read(1 << 22):
        yield np.frombuffer(piece, dtype)


def _save_codes(
    path: PathLike,
    like: Codes,
    n: int,
    values: Iterable[NDArray[Any]],
    indices: Iterable[NDArray[np.int32]],
    ids: Any,
) -> None:
    """Write n rows of codes with the k, n_latents, model and dtype of ``like``."""
    write_npz(path, _members(like, n, values, indices, ids))


def codes_bytes(like: Codes, n: int, ids: Any = None) -> int:
    """Return the size of the codes file of n rows with the k, n_latents, model and dtype of ``like``."""
    return archive_bytes(_members(like, n, (), (), ids))


def _members(
    like: Codes, n: int, values: Iterable[NDArray[Any]], indices: Iterable[NDArray[np.int32]], ids: Any
) -> dict[str, NDArray[Any] | Pieces]:
    meta = {
        "format": CODES_FORMAT,
        "version": VERSION,
        "k": like.k,
        "n_latents": like.n_latents,
        "model": like.model,
        **refined_entry(like),
    }
    size, step = n * like.k, BLOCK_ROWS * like.k
    wide: np.dtype[Any] = np.dtype(np.int32 if size <= np.iinfo(np.int32).max else np.int64)
    starts = (np.arange(start, min(start + step, size + 1), like.k, dtype=wide) for start in range(0, size + 1, step))
    return {
        "data": Pieces((size,), like.values.dtype, values),
        "indices": Pieces((size,), np.dtype(np.int32), indices),
        "indptr": Pieces((n + 1,), wide, starts),
        "shape": np.array([n, like.n_latents], np.int64),
        "format": np.array(b"csr"),
        "_is_array": np.array(True),
        "meta": json_array(meta),
        **id_members(None if ids is None else as_ids(ids, n)),
    }


def load_codes(path: PathLike | InputFile) -> Codes:
    """Read a codes file, or unpack a file of packed codes.

    Raises
    ------
    FormatError
        As `load_model`, and for indices that do not ascend or rows that do not store exactly k entries.
    """
    return _built_codes(path, *read_meta(path))


def load_codes_and_ids(path: PathLike | InputFile) -> tuple[Codes, NDArray[Any] | None]:
    """Read the codes and the ids of one version of a file, packed or not. Errors as `load_codes` and `load_ids`."""
    arrays, meta = read_meta(path, IDS, LENGTHS)
    codes = _built_codes(path, arrays, meta)
    return codes, ids_from(arrays, len(codes), path)


def _built_codes(path: object, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Codes:
    if meta["format"] == PACKED_FORMAT:
        return built(path, PACKED_FORMAT, arrays, meta, lambda *content: from_arrays(*content).unpack())
    if meta["format"] == RESIDUAL_FORMAT:  # to read its sparse part alone would drop the rest in silence
        raise FormatError("expected codes or packed codes, got residual codes", path=path, hint=ONLY_SPARSE)
    return built(path, CODES_FORMAT, arrays, meta, _codes)


def load_ids(path: PathLike | InputFile, n: int) -> NDArray[Any] | None:
    """Read the ids of the n rows of a codes file, packed or not.

    Returns
    -------
    (n,) int64 or ``str`` objects, or None if the file has no ids

    Raises
    ------
    FormatError
        As `load_codes`, and for ids that are not n different integers or strings.
    """
    return ids_from(read_meta(path, IDS, LENGTHS)[0], n, path)


def _codes(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Codes:
    for name, kinds in _CODES_ARRAYS.items():
        if arrays[name].dtype.str not in kinds or arrays[name].ndim != 1:
            got = f"{arrays[name].dtype.str} of shape {arrays[name].shape}"
            raise FormatError(f"expected {name} as a one-dimensional array of {' or '.join(kinds)}, got {got}")
    # spec: "every row stores exactly k entries (R2)"
    k, (n, n_latents) = meta["k"], arrays["shape"].tolist()
    as_k(k, n_latents)
    if not isinstance(meta["model"], str | None):
        raise FormatError(f"expected the digest of a model or null, got {meta['model']!r}")
    if (
        n_latents != meta["n_latents"]
        or arrays["indptr"].shape != (n + 1,)
        or not np.array_equal(arrays["indptr"], np.arange(n + 1) * k)
    ):
        raise FormatError(
            f"expected {n} rows of exactly k = {k} entries over {meta['n_latents']} latents, "
            f"got {n_latents} columns and {len(arrays['indptr'])} row offsets, "
            f"the last of them {arrays['indptr'][-1] if len(arrays['indptr']) else 'missing'}"
        )
    indices, values = arrays["indices"].reshape(n, k), arrays["data"].reshape(n, k)
    return Codes(indices, values, n_latents, meta["model"], is_refined(meta))
