"""Model and codes files: ``.npz`` without pickle, which NumPy reads everywhere; the same content gives the same bytes.

A model file holds ``W_enc``, ``b_enc``, ``W_dec`` and ``meta``; a codes file holds what ``scipy.sparse.load_npz`` opens
as CSR, and ``meta``. ``meta`` is one JSON text. There never is a half-written file (`archive`).

``spec/file-format.md`` is normative: numbers are little-endian and in C order (R11), a file is used whole or not at all
(R12), and codes carry the digest of the model that made them (R13).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.archive import DAMAGE, PathLike, Pieces, errors_of, read_npz, require_writable, write_npz
from compressae_ref.checks import as_k, as_params
from compressae_ref.codes import Codes
from compressae_ref.data import BLOCK_ROWS
from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.model import Model
from compressae_ref.packing import from_arrays
from compressae_ref.params import Params

VERSION = 1
MODEL_FORMAT = "compressae-model"
CODES_FORMAT = "compressae-codes"
PACKED_FORMAT = "compressae-packed"

Loaded = TypeVar("Loaded")

Build = Callable[[dict[str, NDArray[Any]], dict[str, Any]], Loaded]
"""What makes an object of the arrays of a file and its ``meta``."""


def save_model(path: PathLike, model: Model) -> None:
    """Write a model file.

    Raises
    ------
    CompressaeError
        If the parameters could not be loaded again; OSError if the file cannot be written. Nothing is left behind.
    """
    params = as_params(model.params)
    meta = {
        "format": MODEL_FORMAT,
        "version": VERSION,
        "d": params.d,
        "n_latents": params.n_latents,
        "k": as_k(model.k, params.n_latents),
        "dtype": params.dtype.name,
        "digest": params.digest(),
        "training": dict(model.training),
    }
    write_npz(path, {**params.arrays(), "meta": json_array(meta)})


def load_model(path: PathLike) -> Model:
    """Read a model file.

    Raises
    ------
    FormatError
        Naming the file and the reason: not an ``.npz``, truncated, pickled, an unknown version, wrong shapes, numbers
        that are not finite, atoms that are not unit rows, another digest than the one written down.
    """
    return load_file(path, MODEL_FORMAT, _model)


def _model(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Model:
    params = as_params(Params(**{name: arrays[name] for name in ("W_enc", "b_enc", "W_dec")}))
    model = Model(params, as_k(meta["k"], params.n_latents), meta["training"])
    if not isinstance(model.training, dict):
        raise FormatError(f"expected training settings by name, got {model.training!r}")
    if model.digest != meta["digest"]:
        raise FormatError(
            f"expected arrays with digest {str(meta['digest'])[:12]}, got {model.digest[:12]}: the file was altered"
        )
    written, found = (meta["d"], meta["n_latents"], meta["dtype"]), (params.d, params.n_latents, params.dtype.name)
    if written != found:
        raise FormatError(f"expected d, n_latents and dtype {written} as in meta, got {found}")
    return model


_CODES_ARRAYS = {"data": ("<f4", "<f8"), "indices": ("<i4",), "indptr": ("<i4", "<i8"), "shape": ("<i8",)}
"""What a codes file holds, and as what (R11)."""


def save_codes(path: PathLike, codes: Codes) -> None:
    """Write a codes file: CSR for ``scipy.sparse.load_npz``, and which model made the codes."""
    _save_codes(path, codes, len(codes), [codes.values], [codes.indices])


def save_code_blocks(path: PathLike, blocks: Iterable[Codes], n: int) -> None:
    """Write the file of the codes whose n rows come in ``blocks``, without holding more than one of them in memory.

    Raises
    ------
    OSError
        If the file cannot be written. What ``blocks`` raises is passed on. Nothing is left behind.
    """
    require_writable(path)
    blocks = iter(blocks)
    first = next(blocks)
    with (
        errors_of(path),
        TemporaryFile(dir=Path(path).parent) as file,
    ):  # values come first in the file, and with them the indices
        _save_codes(path, first, n, _spooled(chain([first], blocks), file), _read_back(file))


def _spooled(blocks: Iterable[Codes], file: IO[bytes]) -> Iterator[NDArray[Any]]:
    for codes in blocks:
        file.write(codes.indices.tobytes())
        yield codes.values


def _read_back(file: IO[bytes]) -> Iterator[NDArray[np.int32]]:
    file.seek(0)
    while piece := file.read(1 << 22):
        yield np.frombuffer(piece, np.int32)


def _save_codes(
    path: PathLike, like: Codes, n: int, values: Iterable[NDArray[Any]], indices: Iterable[NDArray[np.int32]]
) -> None:
    """Write n rows of codes that are as ``like`` in all but their number."""
    meta = {
        "format": CODES_FORMAT,
        "version": VERSION,
        "k": like.k,
        "n_latents": like.n_latents,
        "model": like.model,
    }
    size, step = n * like.k, BLOCK_ROWS * like.k
    wide: np.dtype[Any] = np.dtype(np.int32 if size <= np.iinfo(np.int32).max else np.int64)
    starts = (np.arange(start, min(start + step, size + 1), like.k, dtype=wide) for start in range(0, size + 1, step))
    arrays: dict[str, NDArray[Any] | Pieces] = {
        "data": Pieces((size,), like.values.dtype, values),
        "indices": Pieces((size,), np.dtype(np.int32), indices),
        "indptr": Pieces((n + 1,), wide, starts),
        "shape": np.array([n, like.n_latents], np.int64),
        "format": np.array(b"csr"),
        "_is_array": np.array(True),
        "meta": json_array(meta),
    }
    write_npz(path, arrays)


def load_codes(path: PathLike) -> Codes:
    """Read a codes file, or the codes in a file of packed ones.

    Raises
    ------
    FormatError
        As `load_model`, and for indices that do not ascend or rows that do not store exactly k entries.
    """
    arrays, meta = _read(path)
    if meta["format"] == PACKED_FORMAT:
        return _built(path, PACKED_FORMAT, arrays, meta, lambda *content: from_arrays(*content).unpack())
    return _built(path, CODES_FORMAT, arrays, meta, _codes)


def _codes(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Codes:
    for name, kinds in _CODES_ARRAYS.items():
        if arrays[name].dtype.str not in kinds or arrays[name].ndim != 1:
            found = f"{arrays[name].dtype.str} of shape {arrays[name].shape}"
            raise FormatError(f"expected {name} as a list of {' or '.join(kinds)}, got {found}")
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
        raise FormatError(f"expected {n} rows of exactly k = {k} entries over {meta['n_latents']} latents")
    return Codes(arrays["indices"].reshape(n, k), arrays["data"].reshape(n, k), n_latents, meta["model"])


def is_ours(path: PathLike) -> bool:
    """Whether a file is an ``.npz`` with all entries of a model or of a file of codes, whole or not."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        return False
    return "meta" in names and bool(names & {"W_dec", "indptr", "packed"})


def describe(path: PathLike) -> dict[str, Any]:
    """The ``meta`` of a model or codes file; FormatError for any other file."""
    _, meta = _read(path)
    return meta


def json_array(meta: Mapping[str, Any]) -> NDArray[Any]:
    """``meta`` as it is kept in a file."""
    return np.array(json.dumps(meta, sort_keys=True, allow_nan=False))


def load_file(path: PathLike, kind: str, build: Build[Loaded]) -> Loaded:
    """Read a file of one kind; every way in which it can be wrong becomes a FormatError that names it."""
    return _built(path, kind, *_read(path), build)


def _built(
    path: PathLike, kind: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], build: Build[Loaded]
) -> Loaded:
    if meta["format"] != kind:
        raise FormatError(f"{path}: expected a {kind} file, got a {meta['format']} file")
    try:
        return build(arrays, meta)
    except KeyError as error:
        raise FormatError(f"{path}: expected a {kind} file with an entry {error}, got none") from error
    except (CompressaeError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from error


def _read(path: PathLike) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        arrays = read_npz(path)
        meta = json.loads(str(arrays.pop("meta")[()]))
        kind, version = meta["format"], meta["version"]
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FormatError(
            f"{path}: expected a model or codes file of this package, got something else or a part of it"
        ) from error
    if kind not in (MODEL_FORMAT, CODES_FORMAT, PACKED_FORMAT) or type(version) is not int or version != VERSION:
        raise FormatError(
            f"{path}: expected a model or codes file of version {VERSION}, got {kind!r} of version {version!r}"
        )
    return arrays, meta
