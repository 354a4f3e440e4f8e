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
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import FormatError
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
from compressae_ref.model import Model
from compressae_ref.params import Params

VERSION = 1
CENTRED_VERSION = 2
"""Version of files of centred models, so that a reader that does not know the mean rejects them."""
MODEL_FORMAT = "compressae-model"
CODES_FORMAT = "compressae-codes"
PACKED_FORMAT = "compressae-packed"
RESIDUAL_FORMAT = "compressae-residual"

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
        "version": VERSION if params.mean is None else CENTRED_VERSION,
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
    centred = meta["version"] == CENTRED_VERSION
    if centred and "mean" not in arrays:
        raise FormatError(f"expected a member 'mean' in a model file of version {CENTRED_VERSION}, got none")
    names = ("W_enc", "b_enc", "W_dec", *(("mean",) if centred else ()))
    params = as_params(Params(**{name: arrays[name] for name in names}))
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


def is_ours(path: PathLike | InputFile) -> bool:
    """Return whether a file is an ``.npz`` with the entries of a model or codes file of this package."""
    names = member_names(path)
    return "meta" in names and bool(names & {"W_dec", "indptr", "packed", "residual"})


def content_of_members(names: Set[str]) -> str | None:
    """Return what a ``.npz`` with these members holds, if it is a model or codes of any kind; None for others."""
    for name, kind in (("W_dec", MODEL_FORMAT), ("packed", PACKED_FORMAT), ("residual", RESIDUAL_FORMAT)):
        if {"meta", name} <= names:
            return CONTENT[kind]
    return CONTENT[CODES_FORMAT] if {"indptr", "indices", "data"} <= names else None


def describe(path: PathLike) -> dict[str, Any]:
    """Return the ``meta`` of a model or codes file. FormatError for any other file."""
    return read_meta(path)[1]


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
    path: object, kind: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], build: Build[Loaded]
) -> Loaded:
    """Build an object from the result of `read_meta`, which must be of one kind. Errors name the file."""
    if meta["format"] != kind:
        raise FormatError(f"expected {CONTENT[kind]}, got {CONTENT[meta['format']]}", path=path)
    with reading(path, f"a {kind} file", convert=True):
        return build(arrays, meta)


def read_meta(
    path: PathLike | InputFile, *also: str, mapped: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays of a file of this package, those of the names ``also``, and its ``meta``.

    Other members are not read. With ``mapped`` the arrays are mapped (`memory_map.map_npz`), and no checksum is
    verified. FormatError for other files.
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
            versions = (VERSION, CENTRED_VERSION) if kind == MODEL_FORMAT else (VERSION,)
            if kind not in (*MEMBERS,) or type(version) is not int or version not in versions:
                raise FormatError(
                    f"expected a model or codes file of version {' or '.join(map(str, versions))}, "
                    f"got {kind!r} of version {version!r}"
                )
            # in other files a member "mean" is unknown, whatever it contains
            mean = ("mean",) if version == CENTRED_VERSION else ()
            names = [name for name in (*MEMBERS[kind], *mean, *also) if name in members]
            if mapped:
                arrays = map_npz(file)
                return {name: arrays[name] for name in names}, meta
            return {name: read_member(archive, members[name], read_own_header) for name in names}, meta
