"""Check the kinds of the values that a student's function returns, and name them. Shapes are judged later."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.verify.exercises.table import INTEGERS, NUMBERS, STRINGS, Returns, written

MOST = 1 << 24
"""Most numbers of an array that is sent; no test expects as many."""


class FormError(Exception):
    """A returned value of another kind than expected."""


def outputs_of(returns: Returns, returned: Any, whole: str) -> dict[str, Any]:
    """Return the returned values by name, arrays of integers in the dtypes of `INTEGERS`.

    Parameters
    ----------
    returns : the names, nested as the values have to be
    returned : what a function has returned
    whole : how all that the function has to return is written

    Raises
    ------
    FormError
        If a value is of another kind.
    """
    if isinstance(returns, str):
        return {returns: _output(returns, returned)}
    if not isinstance(returned, (tuple, list)) or len(returned) != len(returns):
        expected = f"{len(returns)} values, {whole}" if whole == written(returns) else f"{written(returns)} in {whole}"
        raise FormError(f"expected {expected}, got {_described(returned)}{_hint(returned)}")
    outputs: dict[str, Any] = {}
    for each, value in zip(returns, returned, strict=True):
        outputs |= outputs_of(each, value, whole)
    return outputs


def _output(name: str, value: Any) -> Any:
    if name in STRINGS:
        if isinstance(value, (list, tuple, np.ndarray)) and all(isinstance(word, str) for word in value):
            return [str(word) for word in value]
        raise FormError(f"{name}: expected a list of strings, got {_described(value)}{_hint(value)}")
    if name in NUMBERS and np.ndim(value) == 0 and isinstance(value, (float, np.floating, np.ndarray)):
        return np.array(value, np.float64)
    kind = "a number" if name in NUMBERS else "an array of integers" if name in INTEGERS else "an array of floats"
    if not isinstance(value, np.ndarray) or name in NUMBERS:
        raise FormError(f"{name}: expected {kind}, got {_described(value)}{_hint(value)}")
    if value.size > MOST:
        raise FormError(f"{name}: expected at most {MOST:,} numbers, got {_described(value)}")
    if name in INTEGERS and value.dtype.kind in "iu":
        return _narrowed(name, value)
    if name not in INTEGERS and value.dtype.name in ("float32", "float64"):
        return np.asarray(value, value.dtype.newbyteorder("="))
    raise FormError(f"{name}: expected {kind}, got {_described(value)}")


def _narrowed(name: str, value: Any) -> Any:
    """Return integers in the dtype in which they are compared; one that does not fit becomes −1, which is wrong."""
    dtype = np.dtype(INTEGERS[name])
    fits = (value >= 0) & (value <= np.iinfo(dtype).max)
    return np.where(fits, value, -1).astype(dtype)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, (tuple, list)):
        kinds = ", ".join("None" if each is None else type(each).__name__ for each in value[:4])
        return f"a {type(value).__name__} of {len(value)} ({kinds}{', …' if len(value) > 4 else ''})"
    return "None" if value is None else f"{type(value).__name__} {value!r:.40}"


def _hint(value: Any) -> str:
    if value is None:
        return ": is there a return at the end?"
    return "; np.array(…) makes an array of a list" if isinstance(value, list) else ""
