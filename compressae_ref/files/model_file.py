"""Model and codes files: ``.npz`` without pickle, which NumPy reads everywhere; the same content gives the same bytes.

A model file holds ``W_enc``, ``b_enc``, ``W_dec`` and ``meta``; a codes file holds what ``scipy.sparse.load_npz`` opens
as CSR, and ``meta``. ``meta`` is one JSON text. There never is a half-written file (`archive`).

``spec/file-format.md`` is normative: numbers are little-endian and in C order (R11), a file is used whole or not at all
(R12), and codes carry the digest of the model that made them (R13).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import CompressaeError, FormatError, format_error, reason
from compressae_ref.files.npz import READ_ERRORS, PathLike, member_names, read_npz, write_npz
from compressae_ref.model import Model
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


def is_ours(path: PathLike) -> bool:
    """Whether a file is an ``.npz`` with all entries of a model or of a file of codes, whole or not."""
    names = member_names(path)
    return "meta" in names and bool(names & {"W_dec", "indptr", "packed"})


def describe(path: PathLike) -> dict[str, Any]:
    """The ``meta`` of a model or codes file; FormatError for any other file."""
    _, meta = read_meta(path)
    return meta


def json_array(meta: Mapping[str, Any]) -> NDArray[Any]:
    """``meta`` as it is kept in a file."""
    return np.array(json.dumps(meta, sort_keys=True, allow_nan=False))


def load_file(path: PathLike, kind: str, build: Build[Loaded]) -> Loaded:
    """Read a file of one kind; every way in which it can be wrong becomes a FormatError that names it."""
    return built(path, kind, *read_meta(path), build)


def built(
    path: PathLike, kind: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], build: Build[Loaded]
) -> Loaded:
    """The object of what `read_meta` found, which must be of one kind; errors name the file."""
    if meta["format"] != kind:
        raise FormatError(f"expected a {kind} file, got a {meta['format']} file", path=path)
    try:
        return build(arrays, meta)
    except KeyError as error:
        raise FormatError(f"expected a {kind} file with an entry {error}, got none", path=path) from error
    except (CompressaeError, TypeError, ValueError) as error:
        raise format_error(path, error) from error


def read_meta(path: PathLike, *only: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a file of this package, or some of them, and its ``meta``; FormatError for any other file."""
    try:
        arrays = read_npz(path, *only)
        meta = json.loads(str(arrays.pop("meta")[()]))
        kind, version = meta["format"], meta["version"]
    except FormatError as error:
        raise format_error(path, error) from error
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FormatError(
            f"expected a model or codes file of this package, got a file that cannot be read as one ({reason(error)})",
            path=path,
        ) from error
    if kind not in (MODEL_FORMAT, CODES_FORMAT, PACKED_FORMAT) or type(version) is not int or version != VERSION:
        raise FormatError(
            f"expected a model or codes file of version {VERSION}, got {kind!r} of version {version!r}", path=path
        )
    return arrays, meta
