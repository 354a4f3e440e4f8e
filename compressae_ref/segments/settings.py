"""What can be chosen about segments, and the defaults. The command line shows them, so this module imports little."""

from __future__ import annotations

from typing import Literal, get_args

Assign = Literal["dominant", "top", "all"]
ASSIGN: tuple[Assign, ...] = get_args(Assign)
Method = Literal["c-tf-idf", "log-odds"]
METHODS: tuple[Method, ...] = get_args(Method)

MIN_ITEMS = 20
TOP = 3
THRESHOLD = 0.25

UNITS = ("hour", "day", "week", "month", "quarter", "year", "decade", "century")
"""Units of a bin, from fine to coarse."""
AUTO = "auto"
"""Stands for the coarsest unit with enough bins."""
