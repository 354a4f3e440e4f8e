"""Arrays and ``meta`` of model files of version 3: weights in fewer bytes, or no decoder (``spec/small.md``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.stored_weights import WEIGHTS, Weights, decoded, stored
from compressae_ref.params import EncoderParams, Params

Arrays = dict[str, NDArray[Any]]

KNOWN = {
    "weights": [json.dumps(name) for name in WEIGHTS],
    "only": ['"encoder"', "null"],
    "centered": ["true", "false", "null"],
}
"""The values that entries of ``meta`` may have, as JSON; null: the entry may be missing."""


def members_of(meta: Mapping[str, Any], encoder: bool) -> list[str]:
    """Return the names of the arrays to read from a file with this ``meta``; ``encoder``: without those of W_dec."""
    weights = ("W_enc",) if encoder or meta.get("only") == "encoder" else ("W_enc", "W_dec")
    scales = [f"{name}_scales" for name in weights if meta.get("weights") == "int8"]
    return [*weights, *scales, "b_enc", *(["mean"] if meta.get("centered") is True else [])]


def stored_arrays(params: EncoderParams | Params, weights: Weights) -> tuple[Arrays, EncoderParams | Params]:
    """Return the arrays of a file, and the parameters that a reader decodes from them.

    Raises
    ------
    DomainError
        If parameters without W_dec would change: the digest of the whole model could not be computed.
    """
    arrays: Arrays = {}
    read: dict[str, Any] = {}
    for name, array in params.arrays().items():
        if name in ("W_enc", "W_dec"):
            members = stored(name, array, weights)
            read[name] = decoded(name, members, weights)
        else:
            members = {name: array if weights == "float64" else array.astype(np.float32, copy=False)}
            read[name] = members[name]
        arrays.update(members)
    rounded = replace(params, **read)
    if isinstance(rounded, EncoderParams) and rounded.encoder_digest() != params.encoder_digest():
        raise DomainError(
            f"expected a whole model to round its weights to {weights}, got an encoder only, without W_dec",
            argument="weights",
            hint="the digest of a rounded model depends on W_dec: convert the whole model",
        )
    return arrays, rounded


def meta_of(params: EncoderParams | Params, weights: Weights, whole: bool) -> dict[str, Any]:
    """Return the entries of ``meta`` that only files of version 3 have."""
    return {
        "weights": weights,
        "encoder": params.encoder_digest(),
        **({} if whole else {"only": "encoder"}),
        **({} if params.mean is None else {"centered": True}),
    }


def params_of(arrays: Arrays, meta: Mapping[str, Any], encoder: bool) -> EncoderParams | Params:
    """Return the parameters of a file of version 3; without W_dec if the file lacks it, or if ``encoder``.

    Raises
    ------
    FormatError
        For an entry of ``meta`` that is unknown, a member that is missing, or one that cannot be decoded (R44, R45).
    """
    for name, known in KNOWN.items():
        if json.dumps(meta.get(name)) not in known:  # in Python 1 == True, in JSON they differ
            raise FormatError(f"expected {name} as {' or '.join(known)} in meta, got {json.dumps(meta.get(name))}")
    names, weights = members_of(meta, encoder), meta["weights"]
    if missing := [name for name in names if name not in arrays]:
        raise FormatError(f"expected a member {missing[0]!r}, got none")
    arrays = {name: arrays[name] for name in names}
    read: Arrays = {name: decoded(name, arrays, weights) for name in ("W_enc", "W_dec") if name in arrays}
    read.update({name: arrays[name] for name in ("b_enc", "mean") if name in arrays})
    dtype = np.dtype(np.float64 if weights == "float64" else np.float32)
    if wrong := [name for name, array in read.items() if array.dtype != dtype]:
        raise FormatError(f"expected {wrong[0]} as {dtype}, got {read[wrong[0]].dtype}")
    if "W_dec" in read:
        return Params(**read)
    return EncoderParams(read["W_enc"], read["b_enc"], read.get("mean"), _digest(meta))


def _digest(meta: Mapping[str, Any]) -> str:
    """Return the digest of the whole model, which a file without W_dec has to state (R44)."""
    digest = meta["digest"]
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise FormatError(f"expected a digest of 64 hexadecimal digits in meta, got {short_repr(digest)}")
    return digest
