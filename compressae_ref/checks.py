"""Checks of user input: the only ones in this package.

Public functions call them once; internal functions trust their arguments. An error says in one line what was expected
and what came, and in which row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats, host_array
from compressae_ref.center import MOST_SQUARED_NORM
from compressae_ref.errors import CompressaeError, DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.params import AnyParams

ZeroRows = Literal["error", "empty", "skip"]
"""How to treat zero rows, which have no direction (R4).

- "error": raise an error that names the first one.
- "empty": give it a code of zeros. As a query its score is 0 with every item, so the first items are returned.
- "skip": leave it out, as if the input did not have the row. There is no code and no result for it.

Training and validation need directions: "empty" and "skip" both leave zero rows out of them.
"""
ZERO_ROWS: tuple[ZeroRows, ...] = ("error", "empty", "skip")

SKIP_HINT = 'to leave out zero rows, use zero_rows="skip" (--zero-rows skip)'

UNIT_TOLERANCE = 1e-3
"""Largest distance of an atom's norm from 1. Storing a unit row in float16 changes its norm by up to 5e-4."""


ROWS_PER_PIECE = 256
"""Rows of parameters that are checked at a time. The choice affects memory only."""


def as_embeddings(x: Any, *, name: str = "x", d: int | None = None, first_row: int = 0, zeros: bool = False) -> Floats:
    """Return a block of embeddings as a contiguous float32 or float64 array (n, d).

    Parameters
    ----------
    x : array-like (n, d) of floats; float16 is converted to float32
    name : name of the argument in error messages
    d : the expected dimension, if any
    first_row : row number of the block's first row, for error messages
    zeros : whether zero rows are allowed

    Raises
    ------
    ShapeError
        If the array is not two-dimensional, or if its dimension is not d.
    DTypeError
        If the numbers are integers, complex or objects.
    DomainError
        If a row is not finite (R3), or is zero and ``zeros`` is False (R4).
    """
    return checked_rows(x, name=name, d=d, first_row=first_row, zeros=zeros)[0]


def checked_rows(
    x: Any, *, name: str = "x", d: int | None = None, first_row: int = 0, zeros: bool = False
) -> tuple[Floats, Bools]:
    """Return `as_embeddings`, and which of its rows are zero (n,)."""
    array = host_array(x, name, first_row)
    check_kind(array.shape, array.dtype, name, d)
    block: Floats = np.ascontiguousarray(array, np.float64 if array.dtype.itemsize == 8 else np.float32)
    infinite, zero = np.logical_not(np.isfinite(block).all(axis=1)), np.logical_not(block.any(axis=1))
    reject_rows(infinite, zero, name, first_row, zeros)
    return block, zero


def check_kind(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, d: int | None) -> None:
    """Raise ShapeError or DTypeError unless an array has the shape and dtype of embeddings (of d dimensions)."""
    if len(shape) != 2 or shape[1] == 0:
        raise not_rows(shape, name)
    check_floats(dtype, name)
    if d is not None and shape[1] != d:
        raise ShapeError(f"expected d = {d} dimensions as in the model, got {shape[1]}", argument=name)


def not_rows(shape: tuple[int, ...], name: str) -> ShapeError:
    """Return the error about an array that is not two-dimensional."""
    return ShapeError(f"expected an array (n, d) with one embedding per row, got shape {shape}", argument=name)


class NoRowsError(ShapeError):
    """Embeddings without rows, of which some formats do not know the number of dimensions."""


def no_rows(**where: Any) -> NoRowsError:
    """Return the error about embeddings without rows; ``where`` is their argument or path."""
    return NoRowsError("expected at least one row, got none", **where)


def check_floats(dtype: Any, name: str) -> None:
    """Raise DTypeError unless embeddings have a dtype that this package reads."""
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise DTypeError(f"expected float16, float32 or float64, got {dtype}", argument=name)


def reject_rows(infinite: Any, zero: Any, name: str, first_row: int, zeros: bool) -> None:
    """Raise an error about the first row that is not finite or is zero.

    The row number alone decides which error is raised, so the block size has no influence.
    """
    bad: Bools = infinite if zeros else np.logical_or(infinite, zero)
    if bad.any() and not infinite[np.argmax(bad)]:
        reject(bad, "expected nonzero rows, got a zero row", name, first_row, hint=SKIP_HINT)
    reject(bad, "expected finite numbers, got NaN or infinity", name, first_row)


def reject_codes(infinite: Any, name: str, rows: Any) -> None:
    """Raise an error about the first row whose code is not finite: weights that are too large overflow.

    ``rows`` (n,) are the numbers of the rows.
    """
    if infinite.any():
        first = int(np.argmax(infinite))
        message = "expected rows whose codes are finite, got a code with NaN or infinity"
        reject(infinite, message, name, int(rows[first]) - first)


def as_zero_rows(zero_rows: Any) -> ZeroRows:
    """Return ``zero_rows`` if it is one of `ZERO_ROWS`."""
    if not isinstance(zero_rows, str) or zero_rows not in ZERO_ROWS:
        raise DomainError(f"expected 'error', 'empty' or 'skip', got {short_repr(zero_rows)}", argument="zero_rows")
    return zero_rows


def all_zero(n: int, **where: Any) -> DomainError:
    """Return the error about embeddings of which no row is left, because all n are zero."""
    rows = "1 row of zeros" if n == 1 else f"{n} rows, all of them zero"
    return DomainError(f"expected at least one nonzero row, got {rows}", **where)


def as_k(k: Any, n_latents: int, *, name: str = "k") -> int:
    """Return k as an int; it must be from 1 to h."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise DTypeError(f"expected an integer, got {short_repr(k)}", argument=name)
    if not 1 <= k <= n_latents:
        raise DomainError(f"expected {name} from 1 to n_latents = {n_latents}, got {short_repr(k)}", argument=name)
    return int(k)


def as_integer(value: Any, name: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """Return an integer from ``least`` to ``most`` as an int."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DomainError(f"expected an integer of at least {least}, got {short_repr(value)}", argument=name)
    if value > most:
        raise DomainError(f"expected an integer of at most {most}, got {short_repr(value)}", argument=name)
    return int(value)


def as_real(value: Any, name: str, below: float, *, zero_too: bool = False) -> float:
    """Return a number from 0 (excluded unless ``zero_too``) to ``below`` (excluded) as a float."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not (0 < value < below or (zero_too and value == 0)):
        finite = f"a finite number {'of at least' if zero_too else 'above'} 0"
        expected = finite if below == math.inf else f"a number between 0 and {below:g}"
        raise DomainError(f"expected {expected}, got {short_repr(value)}", argument=name)
    return float(value)


MAX_UNFOLDING = 100
"""The largest ratio of unfolded bytes to stored bytes. Embeddings and codes of real data stay far below it."""

FREE_BYTES = 1 << 23
"""Bytes that anything may unfold to, however few bytes are stored."""


def require_unfolding(stored: int, unfolded: int, what: str) -> None:
    """Raise FormatError if ``what`` takes far more memory than the bytes of the file that it is made from (R12)."""
    if unfolded > max(FREE_BYTES, MAX_UNFOLDING * stored):
        raise FormatError(
            f"expected at most {MAX_UNFOLDING} times the {stored} bytes that are stored, got {unfolded} bytes",
            argument=what,
        )


def short_repr(value: Any) -> str:
    """Return the repr of a value, shortened to 40 characters, for an error message."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 40 else text[:36] + " ..."


def as_params(params: AnyParams) -> AnyParams:
    """Check parameters and return them in this package's memory order: W_enc in Fortran order, W_dec in C order.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    DTypeError
        If the arrays are not all float32 or all float64.
    DomainError
        If a number is not finite, a row of W_dec is not a unit vector, or the mean's norm is near 1.
    """
    weights = {name: host_array(array, "params") for name, array in params.arrays().items() if name != "mean"}
    _check_shapes({name: array.shape for name, array in weights.items()})
    dtypes = {np.asarray(array).dtype for array in params.arrays().values()}
    if len(dtypes) != 1 or weights["W_enc"].dtype not in (np.float32, np.float64):
        raise DTypeError(
            f"expected all float32 or all float64, got {', '.join(sorted(map(str, dtypes)))}", argument="params"
        )
    for name, array in params.arrays().items():
        finite = by_pieces(lambda rows: np.isfinite(rows).all(axis=1), np.atleast_2d(array))
        reject(~finite, f"expected finite numbers in {name}, got NaN or infinity", "params")
    if "W_dec" in weights:
        norms = by_pieces(lambda rows: np.linalg.norm(rows.astype(np.float64), axis=1), weights["W_dec"])
        not_unit = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
        if not_unit.any():
            norm = norms[np.argmax(not_unit)]
            reject(not_unit, f"expected unit rows in W_dec, got one of norm {norm:.6g}", "params")
    mean = None if params.mean is None else as_mean(params.mean, params.d)
    ordered = {name: np.ascontiguousarray(array) for name, array in weights.items() if name != "W_enc"}
    return replace(params, W_enc=np.asfortranarray(weights["W_enc"]), mean=mean, **ordered)  # type: ignore[type-var]


def _check_shapes(shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise ShapeError unless the shapes are W_enc (d, h), b_enc (h,) and W_dec (h, d), if it is there."""
    W_enc = shapes["W_enc"]
    expected = {"W_enc": "(d, h)", "b_enc": "(h,)", "W_dec": "(h, d)"}
    if len(W_enc) != 2 or shapes["b_enc"] != W_enc[1:] or shapes.get("W_dec", W_enc[::-1]) != W_enc[::-1]:
        raise ShapeError(
            f"expected {', '.join(f'{name} {expected[name]}' for name in shapes)}, "
            f"got {', '.join(map(str, shapes.values()))}",
            argument="params",
        )


def by_pieces(function: Callable[[Any], Any], rows: NDArray[Any]) -> Any:
    """Apply a function to pieces of rows and join the results: a temporary copy is then small."""
    starts = range(0, max(1, len(rows)), ROWS_PER_PIECE)
    return np.concatenate([function(rows[start : start + ROWS_PER_PIECE]) for start in starts])


def as_mean(mean: Any, d: int, argument: str = "params") -> Floats:
    """Return the mean (d,) of a centred model: ShapeError for another shape, DomainError for a norm near 1 (R21)."""
    array: Floats = np.ascontiguousarray(mean)
    if array.shape != (d,):
        raise ShapeError(f"expected a mean of shape ({d},), got {array.shape}", argument=argument)
    squared = float(reference.dot(array, array))
    if not squared <= MOST_SQUARED_NORM:
        raise DomainError(
            f"expected a mean whose squared norm is at most 1 - 2^-16, got {squared:.6g}",
            argument=argument,
            hint="the rows have almost one direction: train without center",
        )
    return array


def reject(
    bad: Any,
    message: str,
    argument: str,
    first_row: int = 0,
    kind: type[CompressaeError] = DomainError,
    hint: str | None = None,
) -> None:
    """Raise an error about the first True in ``bad`` (n,), if any; ``bad[0]`` is about row ``first_row``."""
    if bad.any():
        raise kind(message, argument=argument, row=first_row + int(np.argmax(bad)), hint=hint)
