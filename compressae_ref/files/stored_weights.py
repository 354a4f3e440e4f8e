"""Weights in fewer bytes: float16, or int8 with a scale for each latent (``spec/small.md``).

Decoding is one product in float32 (E64). Rounding is done once, by the writer (E65). Rounding decoded weights again
returns the same bytes (R47).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats, aligned_empty
from compressae_ref.checks import reject, short_repr
from compressae_ref.errors import DomainError, DTypeError, FormatError

Weights = Literal["float64", "float32", "float16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
"""How the weights of a file may be stored."""

LARGEST = 127
"""The largest integer of a rounded weight."""

ROWS_PER_PIECE = 64
"""Rows that are converted at a time. The choice affects memory only."""

Stored = dict[str, NDArray[Any]]
"""One array as it is stored: itself, and with int8 its scales, by their names."""


def as_weights(weights: Any, dtype: np.dtype[Any]) -> Weights:
    """Return ``weights`` if parameters of a dtype can be stored so. None: as they are.

    Raises
    ------
    DomainError
        For another name.
    DTypeError
        For float64 parameters and fewer bits than float32 has, or float32 parameters and float64.
    """
    chosen = dtype.name if weights is None else weights
    if chosen not in WEIGHTS:
        raise DomainError(f"expected one of {', '.join(WEIGHTS)}, got {short_repr(weights)}", argument="weights")
    if dtype == np.float64 and chosen in ("float16", "int8"):
        message = f"expected float32 parameters for {chosen} weights, got float64"
        hint = "write them as float32 first (convert --weights float32), then convert that file"
        raise DTypeError(message, argument="weights", hint=hint)
    if dtype == np.float32 and chosen == "float64":
        raise DTypeError("expected float64 parameters for float64 weights, got float32", argument="weights")
    return chosen


def stored(name: str, array: Floats, weights: Weights) -> Stored:
    """Return W_enc or W_dec as it is stored: rounded (E65).

    Raises
    ------
    DomainError
        For a number that float16 cannot hold.
    """
    if weights == "int8":
        q, scales = round_encoder(array) if name == "W_enc" else round_atoms(array)
        return {name: q, f"{name}_scales": scales}
    with np.errstate(over="ignore"):
        rounded = array.astype(weights)
    reject(~np.isfinite(rounded).all(axis=1), f"expected {name} within the range of {weights}, got more", "weights")
    return {name: rounded}


def round_encoder(W_enc: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """q (d, h) and scales (h,): max_c |W_enc[c, j]| / 127, and W_enc / scale rounded half to even (E65)."""
    q, scales = _rounded(W_enc.T)
    return np.ascontiguousarray(q.T), scales


def round_atoms(W_dec: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """q (h, d) as that of W_encᵀ, and scales (h,): 1 / √(Σ q²), so that decoded atoms are unit rows (E65)."""
    q, _ = _rounded(W_dec)
    squares = np.square(q, dtype=np.int32).sum(axis=1, dtype=np.int64)
    return q, (1 / np.sqrt(np.maximum(squares, 1).astype(np.float64))).astype(np.float32)


def _rounded(rows: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round rows to integers within ±127, and return them with their scales (n,)."""
    q = np.empty(rows.shape, np.int8)
    scales = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), ROWS_PER_PIECE):
        piece = rows[start : start + ROWS_PER_PIECE].astype(np.float64)
        scale = (np.abs(piece).max(axis=1) / LARGEST).astype(np.float32)
        scale[scale < np.finfo(np.float32).tiny] = 1  # all of these weights are rounded to 0
        q[start : start + len(piece)] = np.rint(piece / scale[:, None].astype(np.float64))
        scales[start : start + len(piece)] = scale
    return q, scales


def decoded(name: str, arrays: Mapping[str, NDArray[Any]], weights: Weights) -> Floats:
    """Return W_enc in Fortran order, or W_dec in C order, from what is stored (E64).

    Raises
    ------
    FormatError
        If the array or its scales are missing, have another dtype or shape, or if a scale is not finite and positive,
        or if an integer is -128 (R45).
    """
    array = arrays[name]
    if array.dtype != np.dtype(weights) or array.ndim != 2:
        raise FormatError(f"expected {name} as {weights} of two axes, got {array.dtype} of shape {array.shape}")
    if weights in ("float32", "float64"):
        return array
    scales = _scales(name, arrays, array.shape[name == "W_enc"]) if weights == "int8" else None
    by_latents = name == "W_enc"
    out = aligned_empty(array.shape[::-1], np.float32).T if by_latents else aligned_empty(array.shape, np.float32)
    for start in range(0, len(array), ROWS_PER_PIECE):
        piece = slice(start, start + ROWS_PER_PIECE)
        out[piece] = array[piece]
        if scales is not None:
            out[piece] *= scales if by_latents else scales[piece, None]
    return out


def _scales(name: str, arrays: Mapping[str, NDArray[Any]], h: int) -> NDArray[np.float32]:
    member = f"{name}_scales"
    scales = arrays[member]
    if scales.dtype != np.float32 or scales.shape != (h,):
        raise FormatError(f"expected {member} as float32 of shape ({h},), got {scales.dtype} of shape {scales.shape}")
    bad = ~(np.isfinite(scales) & (scales > 0))
    reject(bad, f"expected {member} that are finite and above 0, got another number", member, kind=FormatError)
    if (low := (arrays[name] == -LARGEST - 1).any(axis=1)).any():
        reject(low, f"expected integers from -127 to 127 in {name}, got -128", name, kind=FormatError)
    return scales
