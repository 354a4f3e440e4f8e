"""Read and write model files, and the parts that all file types of this package share.

All are ``.npz`` archives without pickle, and are written atomically (`npz`). A model file holds ``W_enc``, ``b_enc``,
``W_dec`` and ``meta``, a JSON string. A codes file (`codes_file`) also has ``meta``.

``spec/file-format.md`` is normative: arrays are little-endian and in C order (R11), a file is used whole or not at all
(R12), and codes carry the digest of the model that made them (R13).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import FormatError
from compressae_ref.files.npz import JSON_ERRORS, PathLike, member_names, read_npz, reading, write_npz
from compressae_ref.model import Model
from compressae_ref.params import Params

VERSION = 1
MODEL_FORMAT = "compressae-model"
CODES_FORMAT = "compressae-codes"
PACKED_FORMAT = "compressae-packed"

MEMBERS = ("W_enc", "b_enc", "W_dec", "data", "indices", "indptr", "shape", "packed", "ids", "meta")
"""The members that are read; `spec/file-format.md` lets a reader ignore all others."""

INTEGERS = ("d", "n_latents", "k", "bits")
"""The integers of ``meta``, besides the version."""

Loaded = TypeVar("Loaded")

Build = Callable[[dict[str, NDArray[Any]], dict[str, Any]], Loaded]
"""A function that builds an object from the arrays of a file and its ``meta``."""


def save_model(path: PathLike, model: Model) -> None:
    """Write a model file.

    Raises
    ------
    CompressaeError
        If the parameters are invalid. OSError if the file cannot be written. No partial file remains.
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
        If the file is not an ``.npz``, is truncated, pickled or of an unknown version. Also for wrong shapes, values
        that are not finite, atoms that are not unit rows, or a wrong digest.
    """
    return load_file(path, MODEL_FORMAT, _model)


def _model(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Model:
    params = as_params(Params(**{name: arrays[name] for name in ("W_enc", "b_enc", "W_dec")}))
    model = Model(params, as_k(meta["k"], params.n_latents), meta["training"])
    if not isinstance(model.training, dict):
        raise FormatError(f"expected training settings as a JSON object, got {model.training!r}")
    if model.digest != meta["digest"]:
        raise FormatError(
            f"expected arrays with digest {str(meta['digest'])[:12]}, got {model.digest[:12]}",
            hint="the file was altered or damaged: get it again",
        )
    declared, actual = (meta["d"], meta["n_latents"], meta["dtype"]), (params.d, params.n_latents, params.dtype.name)
    if declared != actual:
        raise FormatError(f"expected d, n_latents and dtype {declared} as in meta, got {actual}")
    return model


def is_ours(path: PathLike) -> bool:
    """Return whether a file is an ``.npz`` with the entries of a model or codes file of this package."""
    names = member_names(path)
    return "meta" in names and bool(names & {"W_dec", "indptr", "packed"})


def describe(path: PathLike) -> dict[str, Any]:
    """Return the ``meta`` of a model or codes file. FormatError for any other file."""
    _, meta = read_meta(path)
    return meta


def json_array(meta: Mapping[str, Any]) -> NDArray[Any]:
    """Return ``meta`` as the array that is stored in a file."""
    return np.array(json.dumps(meta, sort_keys=True, allow_nan=False))


def _from_json_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return the JSON object of `json_array`; ValueError for what is no JSON (RFC 8259), and for true as an integer."""

    def refuse(constant: str) -> None:
        raise ValueError(f"meta is not JSON: it contains {constant}")

    if array.dtype.str[:2] != "<U" or array.shape != ():
        raise FormatError(f"expected meta as one little-endian string, got {array.dtype.str} of shape {array.shape}")
    # NumPy's own conversion to str would drop trailing NULs and keep surrogates.
    meta: dict[str, Any] = json.loads(array.tobytes().decode("utf-32-le"), parse_constant=refuse)
    if true := [name for name in INTEGERS if isinstance(meta.get(name), bool)]:
        raise FormatError(f"expected an integer as {true[0]}, got {str(meta[true[0]]).lower()}")
    return meta


def load_file(path: PathLike, kind: str, build: Build[Loaded]) -> Loaded:
    """Read a file of one kind. Every problem with its content becomes a FormatError that names the file."""
    return built(path, kind, *read_meta(path), build)


def built(
    path: PathLike, kind: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], build: Build[Loaded]
) -> Loaded:
    """Build an object from the result of `read_meta`, which must be of one kind. Errors name the file."""
    if meta["format"] != kind:
        raise FormatError(f"expected a {kind} file, got a {meta['format']} file", path=path)
    with reading(path, f"a {kind} file", *JSON_ERRORS, convert=True):
        return build(arrays, meta)


def read_meta(path: PathLike, *only: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays (all, or ``only`` some) and ``meta`` of a file of this package. FormatError for other files."""
    with reading(path, "a model or codes file of this package", *JSON_ERRORS):
        arrays = read_npz(path, *(only or MEMBERS))
        meta = _from_json_array(arrays.pop("meta"))
        kind, version = meta["format"], meta["version"]
    if kind not in (MODEL_FORMAT, CODES_FORMAT, PACKED_FORMAT) or type(version) is not int or version != VERSION:
        raise FormatError(
            f"expected a model or codes file of version {VERSION}, got {kind!r} of version {version!r}", path=path
        )
    return arrays, meta
