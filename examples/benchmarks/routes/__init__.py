"""Routes to encode and search outside a data centre: each module measures one, for the table of ``anywhere.md``.

A module has ``measure(folder) -> list[Route]``. The folder holds ``model.npz``, ``int8.npz`` (the same model with int8
weights), ``encoder.npz`` (only its encoder), ``packed.npz`` (refined and packed codes of ``items.npy``), ``items.npy``
and ``queries.npy``. A route whose program is missing returns no rows and says on standard error what is missing.
"""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """One way to encode or search, and what it needs."""

    name: str
    """for example "Node 20, examples/port_js" """
    installed_bytes: int | None
    """bytes of the program and everything it needs besides the system, without model and codes"""
    model_bytes: int | None
    """bytes of the model that it loads"""
    encode_ms: float | None
    """median milliseconds to encode one row, after the first"""
    search_ms: float | None
    """median milliseconds for one dense query over all items of ``packed.npz``, the 10 best"""
    peak_mb: float | None
    """most memory of the process, in MB"""
    note: str = ""
    """what one must know to read the row"""
