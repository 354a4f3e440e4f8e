"""Run the code blocks of the specification as one program in float32 or float64, with or without edits."""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import re
import unicodedata
import zlib
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SPEC = Path(__file__).parent.parent
PAGES = (
    "compressae.md", "file-format.md", "small.md", "refine.md", "packed.md", "residual.md", "center.md", "distill.md",
    "fitted.md", "segments.md", "segment-names.md",
)  # fmt: skip

IN_FLOAT32 = (("smallest_normal=2.0**-1022", "smallest_normal=2.0**-126"), ("tolerance=2.0**-26", "tolerance=2.0**-11"))
"""Replacements for constants that depend on the dtype."""

Edit = tuple[str, str]
"""A text that occurs once in the blocks, and its replacement."""


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (SPEC / page).read_text(encoding="utf-8"), re.S)


class StaleEditError(Exception):
    """An edit whose text does not occur exactly once in the blocks."""


@lru_cache
def source() -> str:
    """Return all blocks, joined."""
    return "\n\n".join(block for page in PAGES for block in blocks(page))


@lru_cache
def program(dtype: str = "float64", edits: tuple[Edit, ...] = ()) -> Any:
    """Return a namespace with the functions of the blocks.

    For float32 the inputs are NumPy scalars. NumPy 2 rounds every operation on them, also with a Python constant, to
    float32. ``sqrt``, ``ldexp`` and ``max`` are wrapped to do the same.
    """
    text = source()
    for old, new in edits:
        if text.count(old) != 1:
            raise StaleEditError(f"{old!r} stands {text.count(old)} times in the blocks of the specification")
        text = text.replace(old, new)
    names: dict[str, Any] = {"math": math, "hashlib": hashlib, "json": json, "zlib": zlib, "fma": fma}
    names["unicodedata"] = unicodedata
    if dtype == "float32":
        names |= {"math": _rounding_math(), "max": _max}
        for in_float64, in_float32 in IN_FLOAT32:
            text = text.replace(in_float64, in_float32)
    exec(compile(text, "specification", "exec"), names)
    return SimpleNamespace(**names)


def listed(array: Any) -> Any:
    """Return an array as lists of scalars of its dtype."""
    if array.dtype == np.float32:
        return list(array) if array.ndim == 1 else [listed(row) for row in array]
    return array.tolist()


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a·b + c, rounded once. No block calls it: edits do, to fuse a multiply-add."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = float(exact) or float(a) * float(b) + float(c)  # an exact zero has the sign that the sum has
    if not any(isinstance(value, np.float32) for value in (a, b, c)):
        return near
    rounded = np.float32(near)  # rounded twice: a neighbour can be nearer
    around = (rounded, np.nextafter(rounded, np.float32(-np.inf)), np.nextafter(rounded, np.float32(np.inf)))
    return min(around, key=lambda value: abs(Fraction(float(value)) - exact))


def _rounding_math() -> SimpleNamespace:
    """Return ``math`` with functions whose results have the dtype of their argument."""
    names = dict(vars(math))
    names["sqrt"] = lambda value: type(value)(np.sqrt(value))
    names["ldexp"] = lambda value, exponent: type(value)(math.ldexp(value, exponent))
    return SimpleNamespace(**names)


def _max(*values: Any) -> Any:
    """Return ``max`` of the numbers, in the dtype of the first."""
    if len(values) == 1:
        return builtins.max(values[0])
    return type(values[0])(builtins.max(values))
