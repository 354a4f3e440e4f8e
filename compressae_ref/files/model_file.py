"""Read and write model files, and the parts that all file types of this package share.

All are ``.npz`` archives without pickle, and are written atomically (`npz`). A model file holds ``W_enc``, ``b_enc``,
``W_dec``, ``meta``, a JSON string, and ``mean`` if it is centred (``spec/center.md``). A codes file (`codes_file`) also
has ``meta``.

``spec/file-format.md`` is normative: arrays are little-endian and in C order (R11), a file is used whole or not at all
(R12), and codes carry the digest of the model that made them (R13).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Set
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params, short_repr
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files import small_model
from compressae_ref.files.input_file import InputFile, opened
from compressae_ref.files.memory_map import map_npz
from compressae_ref.files.npz import (
    PathLike,
    member_names,
    members_of,
    read_member,
    read_own_header,
    reading,
    require_first_byte,
    write_npz,
)
from compressae_ref.files.stored_weights import Weights, as_weights
from compressae_ref.model import Encoder, Model, whole_model
from compressae_ref.params import Params

VERSION = 1
CENTRED_VERSION = 2
"""Version of files of centred models, so that a reader that does not know the mean rejects them."""
SMALL_VERSION = 3
"""Version of model files with weights in fewer bytes, or without W_dec (`small_model`)."""
MODEL_VERSIONS = (VERSION, CENTRED_VERSION, SMALL_VERSION)
MODEL_FORMAT = "compressae-model"
CODES_FORMAT = "compressae-codes"
PACKED_FORMAT = "compressae-packed"
RESIDUAL_FORMAT = "compressae-residual"
INDEX_FORMAT = "compressae-index"

MEMBERS = {
    MODEL_FORMAT: ("W_enc", "b_enc", "W_dec"),
    CODES_FORMAT: ("data", "indices", "indptr", "shape"),
    PACKED_FORMAT: ("packed",),
    RESIDUAL_FORMAT: ("residual", "basis", "scales", "bits", "lengths"),
}
"""The arrays of each kind of file that are read; codes may have ids, too (`id_members`). `spec/file-format.md` lets a
reader ignore all others."""

CONTENT = {
    MODEL_FORMAT: "a model",
    CODES_FORMAT: "codes",
    PACKED_FORMAT: "packed codes",
    RESIDUAL_FORMAT: "residual codes",
}
"""What messages call the content of each kind of file."""

MAX_META_BYTES = 1 << 23
"""The longest ``meta`` that is read."""

INTEGERS = ("d", "n_latents", "k", "bits")
"""The integers of ``meta``, besides the version."""

Loaded = TypeVar("Loaded")

Build = Callable[[dict[str, NDArray[Any]], dict[str, Any]], Loaded]
"""A function that builds an object from the arrays of a file and its ``meta``."""


def save_model(
    path: PathLike, model: Encoder, *, weights: Weights | None = None, only: Literal["encoder"] | None = None
) -> None:
    """Write a model file.

    Parameters
    ----------
    path : the file
    model : a model; an `Encoder` without W_dec is written as an encoder-only file
    weights : "int8" or "float16" for a file of about a quarter or half the bytes (``spec/small.md``); "float32" writes
        a float64 model in float32. None: as they are. Rounded weights are another model: its digest differs, and its
        codes cannot be mixed with codes of ``model``.
    only : "encoder" leaves out W_dec; `load_encoder` reads such a file

    Raises
    ------
    CompressaeError
        If the parameters are invalid, or if an encoder without W_dec would be rounded: the digest of the rounded model
        depends on W_dec. OSError if the file cannot be written. No partial file remains.
    """
    if only not in (None, "encoder"):
        raise DomainError(f"expected 'encoder' or None, got {short_repr(only)}", argument="only")
    params, kind = as_params(model.params), as_weights(weights, model.params.dtype)
    arrays, rounded = small_model.stored_arrays(params, kind)
    if only == "encoder" or not isinstance(rounded, Params):
        arrays.pop("W_dec", None), arrays.pop("W_dec_scales", None)
    small = kind not in ("float32", "float64") or "W_dec" not in arrays
    plain = VERSION if params.mean is None else CENTRED_VERSION
    meta = {
        "format": MODEL_FORMAT,
        "version": SMALL_VERSION if small else plain,
        "d": params.d,
        "n_latents": params.n_latents,
        "k": as_k(model.k, params.n_latents),
        "dtype": rounded.dtype.name,
        "digest": rounded.digest(),
        "training": dict(model.training),
        **(small_model.meta_of(rounded, kind, whole="W_dec" in arrays) if small else {}),
    }
    write_npz(path, {**arrays, "meta": json_array(meta)})


def load_model(path: PathLike) -> Model:
    """Read a model file.

    Raises
    ------
    FormatError
        If the file is not an ``.npz``, is truncated, pickled or of an unknown version. Also for wrong shapes, values
        that are not finite, atoms that are not unit rows, a wrong digest, or a file without W_dec (`load_encoder`).
    """
    model = load_file(path, MODEL_FORMAT, _model_or_encoder)
    try:
        return whole_model(model)
    except DomainError as error:
        raise FormatError(error.message, path=path, hint=error.hint) from error


def load_encoder(path: PathLike) -> Encoder:
    """Read what encodes from a model file, with or without W_dec, which is not kept.

    Raises
    ------
    FormatError
        As `load_model`. In a file of version 3, W_dec is not read, and only what is read is checked.
    """
    return load_file(path, MODEL_FORMAT, _encoder, encoder=True)


def load_model_or_encoder(path: PathLike) -> Encoder:
    """Read a `Model`, or an `Encoder` if the file has no W_dec."""
    return load_file(path, MODEL_FORMAT, _model_or_encoder)


def _encoder(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Encoder:
    model = _model_or_encoder(arrays, meta, encoder=True)
    return model.encoder() if isinstance(model, Model) else model


def _model_or_encoder(arrays: dict[str, NDArray[Any]], meta: dict[str, Any], encoder: bool = False) -> Encoder:
    small = meta["version"] == SMALL_VERSION
    params = as_params(small_model.params_of(arrays, meta, encoder) if small else _plain_params(arrays, meta))
    k, training = as_k(meta["k"], params.n_latents), meta["training"]
    model = Model(params, k, training) if isinstance(params, Params) else Encoder(params, k, training)
    if not isinstance(model.training, dict):
        raise FormatError(f"expected training settings as a JSON object, got {model.training!r}")
    _require_digest("digest", meta["digest"], model.digest)
    if small:
        _require_digest("encoder", meta["encoder"], params.encoder_digest())
    declared, actual = (meta["d"], meta["n_latents"], meta["dtype"]), (params.d, params.n_latents, params.dtype.name)
    if declared != actual:
        raise FormatError(f"expected d, n_latents and dtype {declared} as in meta, got {actual}")
    return model


def _plain_params(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Params:
    centred = meta["version"] == CENTRED_VERSION
    if centred and "mean" not in arrays:
        raise FormatError(f"expected a member 'mean' in a model file of version {CENTRED_VERSION}, got none")
    names = ("W_enc", "b_enc", "W_dec", *(("mean",) if centred else ()))
    return Params(**{name: arrays[name] for name in names})


def _require_digest(name: str, expected: Any, got: str) -> None:
    """Raise FormatError unless arrays have the digest that ``meta`` states (E18, R46)."""
    if got != expected:
        what = "encoder arrays" if name == "encoder" else "arrays"
        raise FormatError(
            f"expected {what} with digest {str(expected)[:12]}, got {got[:12]}",
            hint="the file was altered or damaged: get it again",
        )


def is_ours(path: PathLike | InputFile) -> bool:
    """Return whether a file is an ``.npz`` with the entries of a model or codes file of this package."""
    names = member_names(path)
    return "meta" in names and bool(names & {"W_enc", "indptr", "packed", "residual"})


def content_of_members(names: Set[str]) -> str | None:
    """Return what a ``.npz`` with these members holds, if it is a model or codes of any kind; None for others."""
    for name, kind in (("W_enc", MODEL_FORMAT), ("packed", PACKED_FORMAT), ("residual", RESIDUAL_FORMAT)):
        if {"meta", name} <= names:
            return CONTENT[kind]
    return CONTENT[CODES_FORMAT] if {"indptr", "indices", "data"} <= names else None


def describe(path: PathLike) -> dict[str, Any]:
    """Return the ``meta`` of a model or codes file, without reading its arrays. FormatError for any other file."""
    return read_meta(path, arrays=False)[1]


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


def load_file(path: PathLike, kind: str, build: Build[Loaded], *, encoder: bool = False) -> Loaded:
    """Read a file of one kind. Every problem with its content becomes a FormatError that names the file."""
    return built(path, kind, *read_meta(path, encoder=encoder), build)


def built(
    path: object, kind: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], build: Build[Loaded]
) -> Loaded:
    """Build an object from the result of `read_meta`, which must be of one kind. Errors name the file."""
    if meta["format"] != kind:
        raise FormatError(f"expected {CONTENT[kind]}, got {CONTENT[meta['format']]}", path=path)
    with reading(path, f"a {kind} file", convert=True):
        return build(arrays, meta)


def read_meta(
    path: PathLike | InputFile, *also: str, encoder: bool = False, arrays: bool = True, mapped: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays of a file of this package, those of the names ``also``, and its ``meta``.

    Other members are not read, nor any array without ``arrays``. With ``encoder``, those of W_dec in files of version 3
    are not read. With ``mapped`` the arrays are mapped (`memory_map.map_npz`), and no checksum is verified. FormatError
    for other files.
    """
    with reading(path, "a model or codes file of this package"):
        file = opened(path)
        if file.read(0, 2) != b"PK":
            got = "a file of another format" if file.size else "an empty file"
            raise FormatError(f"expected a model or codes file of this package (.npz), got {got}")
        with zipfile.ZipFile(file.stream()) as archive:
            members = members_of(archive)
            if members["meta"].file_size > MAX_META_BYTES:
                raise FormatError(
                    f"expected at most {MAX_META_BYTES} bytes, got {members['meta'].file_size}", argument="meta"
                )
            require_first_byte(archive)
            meta = _from_json_array(read_member(archive, members["meta"], read_own_header))
            kind, version = meta["format"], meta["version"]
            versions = MODEL_VERSIONS if kind == MODEL_FORMAT else (VERSION,)
            if kind not in (*MEMBERS,) or type(version) is not int or version not in versions:
                raise FormatError(
                    f"expected a model or codes file of version {' or '.join(map(str, versions))}, "
                    f"got {kind!r} of version {version!r}",
                    hint="Index.load reads index files" if kind == INDEX_FORMAT else None,
                )
            names = [name for name in (*_members_of(kind, meta, encoder), *also) if arrays and name in members]
            if mapped:
                maps = map_npz(file)
                return {name: maps[name] for name in names}, meta
            return {name: read_member(archive, members[name], read_own_header) for name in names}, meta


def _members_of(kind: str, meta: dict[str, Any], encoder: bool) -> list[str]:
    """Return the names of the arrays to read. In files that are not centred a member "mean" is unknown."""
    if kind == MODEL_FORMAT and meta["version"] == SMALL_VERSION:
        return small_model.members_of(meta, encoder)
    return [*MEMBERS[kind], *(("mean",) if meta["version"] == CENTRED_VERSION else ())]
