"""The only checks of user input. Public entries call them once; inside, functions trust.

Messages say in one line what was expected and what came, with the row where there is one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from compressae_ref.arrays import Bools, Floats, host_array
from compressae_ref.errors import CompressaeError, DomainError, DTypeError, ShapeError
from compressae_ref.params import Params

ZeroRows = Literal["error", "empty"]
"""What becomes of zero rows: an error that names the first, or a code of zeros (R4)."""

UNIT_TOLERANCE = 1e-3
"""How far an atom's norm may be from 1: float16 storage of a unit row moves it by up to 5e-4."""


def as_embeddings(x: Any, *, name: str = "x", d: int | None = None, first_row: int = 0, zeros: bool = False) -> Floats:
    """A block of embeddings as a contiguous float32 or float64 array (n, d).

    Parameters
    ----------
    x : anything that ``np.asarray`` takes; float16 becomes float32
    name : what messages call it
    d : the dimension that is expected, if any
    first_row : number of the block's first row, for messages
    zeros : whether zero rows may pass

    Raises
    ------
    ShapeError, DTypeError, DomainError
        For another number of dimensions or a wrong dimension; for integers, objects and complex numbers; for a row that
        is not finite (R3) or zero (R4).
    """
    array = host_array(x, name)
    check_kind(array.shape, array.dtype, name, d)
    block: Floats = np.ascontiguousarray(array, np.float64 if array.dtype.itemsize == 8 else np.float32)
    infinite, zero = np.logical_not(np.isfinite(block).all(axis=1)), np.logical_not(block.any(axis=1))
    reject_rows(infinite, zero, name, first_row, zeros)
    return block


def check_kind(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, d: int | None) -> None:
    """ShapeError or DTypeError for what cannot be embeddings (of d dimensions)."""
    if len(shape) != 2 or shape[1] == 0:
        raise ShapeError(f"expected an array (n, d) of embeddings as rows, got shape {shape}", argument=name)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise DTypeError(f"expected float16, float32 or float64, got {dtype}", argument=name)
    if d is not None and shape[1] != d:
        raise ShapeError(f"expected d = {d} dimensions as in the model, got {shape[1]}", argument=name)


def reject_rows(infinite: Any, zero: Any, name: str, first_row: int, zeros: bool) -> None:
    """Raise for the first row that is bad, whichever way it is: which block it came in must not decide."""
    bad: Bools = infinite if zeros else np.logical_or(infinite, zero)
    if bad.any() and not infinite[np.argmax(bad)]:
        reject(bad, "expected rows that are not zero, got a zero row", name, first_row)
    reject(bad, "expected finite numbers, got NaN or infinity", name, first_row)


def reject_codes(infinite: Any, name: str, first_row: int) -> None:
    """Raise for the first row whose code is not finite: weights that are too large overflow."""
    reject(infinite, "expected rows whose codes are finite, got a code with NaN or infinity", name, first_row)


def as_zero_rows(zero_rows: Any) -> bool:
    """Whether zero rows may pass: for "empty", and not for "error"."""
    if zero_rows not in ("error", "empty"):
        raise DomainError(f"expected 'error' or 'empty', got {zero_rows!r}", argument="zero_rows")
    return bool(zero_rows == "empty")


def as_k(k: Any, n_latents: int, *, name: str = "k") -> int:
    """k as an int from 1 to h."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise DTypeError(f"expected a whole number, got {shown(k)}", argument=name)
    if not 1 <= k <= n_latents:
        raise DomainError(f"expected {name} from 1 to n_latents = {n_latents}, got {shown(k)}", argument=name)
    return int(k)


def as_whole(value: Any, name: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """A whole number from ``least`` to ``most``, as an int."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DomainError(f"expected a whole number of at least {least}, got {shown(value)}", argument=name)
    if value > most:
        raise DomainError(f"expected a whole number of at most {most}, got {shown(value)}", argument=name)
    return int(value)


def as_real(value: Any, name: str, below: float, *, zero_too: bool = False) -> float:
    """A number from 0 (without it, unless ``zero_too``) to below ``below``, as a float."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not (0 < value < below or (zero_too and value == 0)):
        raise DomainError(f"expected a number between 0 and {below:g}, got {shown(value)}", argument=name)
    return float(value)


def shown(value: Any) -> str:
    """A value for a message of one line."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 40 else text[:36] + " ..."


def as_params(params: Params) -> Params:
    """Params whose shapes and dtypes fit together, finite, with unit atoms; W_enc is returned by columns.

    Raises
    ------
    ShapeError, DTypeError, DomainError
    """
    W_enc, b_enc, W_dec = (np.asarray(array) for array in params.arrays().values())
    if W_dec.ndim != 2 or W_enc.shape != W_dec.shape[::-1] or b_enc.shape != W_dec.shape[:1]:
        raise ShapeError(
            f"expected W_enc (d, h), b_enc (h,), W_dec (h, d), got {W_enc.shape}, {b_enc.shape}, {W_dec.shape}",
            argument="params",
        )
    dtypes = {array.dtype for array in (W_enc, b_enc, W_dec)}
    if len(dtypes) != 1 or W_dec.dtype not in (np.float32, np.float64):
        raise DTypeError(
            f"expected all float32 or all float64, got {', '.join(sorted(map(str, dtypes)))}", argument="params"
        )
    for name, array in params.arrays().items():
        reject(
            ~np.isfinite(np.atleast_2d(array)).all(axis=1),
            f"expected finite numbers in {name}, got NaN or infinity",
            "params",
        )
    norms = np.linalg.norm(W_dec.astype(np.float64), axis=1)
    not_unit = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
    if not_unit.any():
        found = norms[np.argmax(not_unit)]
        reject(not_unit, f"expected unit rows in W_dec, got one of norm {found:.6g}", "params")
    return Params(np.asfortranarray(W_enc), np.ascontiguousarray(b_enc), np.ascontiguousarray(W_dec))


def reject(
    bad: Any, message: str, argument: str, first_row: int = 0, kind: type[CompressaeError] = DomainError
) -> None:
    """Raise an error about the first row that is bad, if one is; ``bad`` (n,) begins with row ``first_row``."""
    if bad.any():
        raise kind(message, argument=argument, row=first_row + int(np.argmax(bad)))
