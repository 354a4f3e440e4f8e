"""Choose the array of embeddings in a file that holds several arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import Place

EMBEDDING_ENTRIES = ("embeddings", "embedding", "vectors", "vector", "emb", "train")
"""Default names of arrays or columns of embeddings, in order of preference. "train" is used by ann-benchmarks."""

ID_ENTRIES = ("id", "ids", "_id")
"""Names of arrays or columns of ids."""


def chosen_entry(place: Place, candidates: Mapping[str, Any] | list[str], all_names: list[str]) -> str:
    """Return the requested entry, else one of `EMBEDDING_ENTRIES`, else the only candidate.

    Parameters
    ----------
    place : the file and the requested entry, if any
    candidates : names of the entries that could be embeddings
    all_names : names of all entries

    Raises
    ------
    FormatError
        If the requested entry is missing, or if there is no default or no single candidate.
    """
    entries = ", ".join(all_names) or "a file without entries"
    if place.entry is not None:
        if place.entry in all_names:
            return place.entry
        raise FormatError(f"expected an entry {place.entry!r}, got {entries}", path=place.file)
    usual = next((name for name in EMBEDDING_ENTRIES if name in candidates), None)
    if usual is not None:
        return usual
    if len(candidates) == 1:
        return next(iter(candidates))
    raise FormatError(
        f"expected an entry {EMBEDDING_ENTRIES[0]!r} or a single entry of embeddings, got {entries}",
        path=place.file,
        hint="choose an entry with FILE::ENTRY" if all_names else None,
    )


def id_entry(names: list[str]) -> str | None:
    """Return the first of `ID_ENTRIES` that exists, or None."""
    return next((name for name in ID_ENTRIES if name in names), None)
