"""Choose the array of embeddings in a file that holds several arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compressae_ref.checks import short_repr
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import IdEntry, Place

EMBEDDING_ENTRIES = ("embeddings", "embedding", "vectors", "vector", "emb", "train")
"""Default names of arrays or columns of embeddings, in order of preference. "train" is used by ann-benchmarks."""

MAX_LISTED = 20
"""Entries of a file that an error lists."""

ID_ENTRIES = ("id", "ids", "_id")
"""Names of arrays or columns of ids."""


def chosen_entry(place: Place, candidates: Sequence[str], entries: Mapping[str, str]) -> str:
    """Return the requested entry, else one of `EMBEDDING_ENTRIES`, else the only candidate.

    Parameters
    ----------
    place : the file and the requested entry, if any
    candidates : names of the entries that could be embeddings
    entries : names of all entries, with the type of each for messages

    Raises
    ------
    FormatError
        If the requested entry is missing, or if there is no default or no single candidate.
    """
    if place.entry is not None:
        if place.entry in entries:
            return place.entry
        raise FormatError(f"expected an entry {place.entry!r}, got {listed(entries)}", path=place.file)
    usual = next((name for name in EMBEDDING_ENTRIES if name in candidates), None)
    if usual is not None:
        return usual
    if len(candidates) == 1:
        return candidates[0]
    raise FormatError(
        f"expected an entry {EMBEDDING_ENTRIES[0]!r} or a single entry of embeddings, got "
        + listed(entries if not candidates else {name: entries[name] for name in candidates}),
        path=place.file,
        hint="choose an entry with FILE::ENTRY" if candidates else None,
    )


def listed(entries: Mapping[str, str]) -> str:
    """Return the names of at most `MAX_LISTED` entries with their types."""
    names = [f"{name} ({kind})" if kind else name for name, kind in list(entries.items())[:MAX_LISTED]]
    more = f" and {len(entries) - MAX_LISTED} more" if len(entries) > MAX_LISTED else ""
    return ", ".join(names) + more if names else "a file without entries"


def id_entry(file: str, wanted: IdEntry, names: Sequence[str]) -> str | None:
    """Return the entry of ids, or None if there are none.

    FormatError if the requested entry is missing, or if there are several of `ID_ENTRIES` and none is requested.
    """
    if not isinstance(wanted, str):
        usual = [name for name in ID_ENTRIES if name in names] if wanted else []
        if len(usual) > 1:
            raise FormatError(
                f"expected one entry of ids, got {' and '.join(usual)}",
                path=file,
                hint=f"choose one with --ids ::{usual[0]} (encode, convert), or choose one with "
                f"--query-ids ::{usual[0]} (search)",
            )
        return usual[0] if usual else None
    if wanted in names:
        return wanted
    raise FormatError(f"expected an entry {wanted!r} of ids, got {listed(dict.fromkeys(names, ''))}", path=file)


def require_distinct(names: Sequence[str]) -> None:
    """Raise FormatError for the first column whose name repeats an earlier one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"expected columns of different names, got {short_repr(name)} twice")
        seen.add(name)
