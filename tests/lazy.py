"""Modules that are imported when a test first uses them: collecting the tests does not wait for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module until one of its attributes is needed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for such attributes in everything that it collects
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
