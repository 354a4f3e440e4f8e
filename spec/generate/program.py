"""The blocks of the specification, run as one program in float32 or in float64, as they stand or with an edit."""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import re
import zlib
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SPEC = Path(__file__).parent.parent
PAGES = ("compressae.md", "file-format.md", "refine.md", "packed.md")

IN_FLOAT32 = (("smallest_normal=2.0**-1022", "smallest_normal=2.0**-126"), ("tolerance=2.0**-26", "tolerance=2.0**-11"))
"""Constants that depend on the format."""

Edit = tuple[str, str]
"""What stands once in the blocks, and what is put in its place."""


def blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (SPEC / page).read_text(encoding="utf-8"), re.S)


class StaleEditError(Exception):
    """An edit of what does not stand in the blocks, or stands there twice."""


@lru_cache
def source() -> str:
    """All blocks, one after the other."""
    return "\n\n".join(block for page in PAGES for block in blocks(page))


@lru_cache
def program(dtype: str = "float64", edits: tuple[Edit, ...] = ()) -> Any:
    """A namespace with the functions of the blocks.

    In float32 the numbers that go in are NumPy's scalars: every operation on two of them, or on one and a constant, is
    rounded to float32 (which NumPy does from its version 2 on), and so are the few functions of the library.
    """
    text = source()
    for old, new in edits:
        if text.count(old) != 1:
            raise StaleEditError(f"{old!r} stands {text.count(old)} times in the blocks of the specification")
        text = text.replace(old, new)
    names: dict[str, Any] = {"math": math, "hashlib": hashlib, "json": json, "zlib": zlib}
    if dtype == "float32":
        names |= {"math": _rounding_math(), "max": _max}
        for in_float64, in_float32 in IN_FLOAT32:
            text = text.replace(in_float64, in_float32)
    exec(compile(text, "specification", "exec"), names)
    return SimpleNamespace(**names)


def _rounding_math() -> SimpleNamespace:
    """``math`` whose results have the format of what goes in."""
    names = dict(vars(math))
    names["sqrt"] = lambda value: type(value)(np.sqrt(value))
    names["ldexp"] = lambda value, exponent: type(value)(math.ldexp(value, exponent))
    return SimpleNamespace(**names)


def _max(*values: Any) -> Any:
    """``max`` of numbers in the format of the first."""
    if len(values) == 1:
        return builtins.max(values[0])
    return type(values[0])(builtins.max(values))
