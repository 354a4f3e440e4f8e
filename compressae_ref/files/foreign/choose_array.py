"""Which of the arrays in a file holds the embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import Place

EMBEDDING_ENTRIES = ("embeddings", "embedding", "vectors", "vector", "emb", "train")
"""Names of arrays or columns that are taken without being asked for, the first that is there;
"train" is that of ann-benchmarks."""

ID_ENTRIES = ("id", "ids", "_id")
"""Names of columns of ids."""


def chosen_entry(place: Place, candidates: Mapping[str, Any] | list[str], all_names: list[str]) -> str:
    """The entry that is asked for or, if none is, one with a usual name, or the only candidate.

    Parameters
    ----------
    candidates : names of what could be embeddings
    all_names : names of all that is there, for messages

    Raises
    ------
    FormatError
        Naming the file and its entries.
    """
    if place.entry is not None:
        if place.entry in all_names:
            return place.entry
        raise FormatError(f"expected an entry {place.entry!r}, got {', '.join(all_names) or 'none'}", path=place.file)
    usual = next((name for name in EMBEDDING_ENTRIES if name in candidates), None)
    if usual is not None:
        return usual
    if len(candidates) == 1:
        return next(iter(candidates))
    raise FormatError(
        f"expected an entry {EMBEDDING_ENTRIES[0]!r} or only one of embeddings, or FILE::ENTRY, "
        f"got {', '.join(all_names) or 'none'}",
        path=place.file,
    )


def id_entry(names: list[str]) -> str | None:
    """The column of ids, if one is called like that."""
    return next((name for name in ID_ENTRIES if name in names), None)
