"""Ids that a store does not have: find them before the first write, and say what to do about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from compressae_ref.errors import DomainError, StoreError
from compressae_ref.stores.contract import SHOWN_IDS, Id, Store, listed

OnMissing = Literal["error", "insert", "skip"]
"""What to do with ids that the store does not have."""

SAMPLE = 3
"""Ids of the store that a message shows."""


def as_on_missing(value: OnMissing) -> OnMissing:
    """Return the value, or raise DomainError if there is no such value."""
    if value not in get_args(OnMissing):
        raise DomainError(f"expected one of {', '.join(get_args(OnMissing))}, got {value!r}", argument="on_missing")
    return value


@dataclass
class Ids:
    """A number of ids, and the first ones."""

    n: int = 0
    first: list[Id] = field(default_factory=list)

    def add(self, ids: Sequence[Id]) -> None:
        """Count more ids."""
        self.n += len(ids)
        self.first += ids[: SHOWN_IDS - len(self.first)]

    def __str__(self) -> str:
        return f"{listed(self.first, self.n)} ({' and '.join(_types(self.first))})"


@dataclass
class Unknown:
    """Ids of a source that a store does not have."""

    source: str
    looked_up: int = 0
    """number of all ids"""
    ids: Ids = field(default_factory=Ids)
    refused: Ids = field(default_factory=Ids)
    """those that the store cannot hold, because of their type or range"""


def find_unknown(store: Store, name: str, blocks: Iterable[Sequence[Id]], source: str) -> Unknown:
    """Look up all ids of a source, block by block. ``name``: the field of the codes."""
    unknown = Unknown(source)
    for ids in blocks:
        absent = [key for key, is_absent in zip(ids, are_unknown(store, name, ids), strict=True) if is_absent]
        unknown.looked_up += len(ids)
        unknown.ids.add(absent)
        unknown.refused.add([key for key, held in zip(absent, store.holds(absent), strict=True) if not held])
    return unknown


def find_refused(store: Store, blocks: Iterable[Sequence[Id]], source: str) -> Unknown:
    """Check all ids of a source, and look up none of them."""
    unknown = Unknown(source)
    for ids in blocks:
        unknown.looked_up += len(ids)
        unknown.refused.add([key for key, held in zip(ids, store.holds(ids), strict=True) if not held])
    return unknown


def are_unknown(store: Store, name: str, ids: Sequence[Id]) -> list[bool]:
    """Return which of these ids have neither an item nor a code in the field ``name``."""
    asked = [key for key, held in zip(ids, store.holds(ids), strict=True) if held]
    known = {key for key, is_known in zip(asked, store.known(asked), strict=True) if is_known}
    rest = [key for key in asked if key not in known]
    if rest and store.has_field(name):  # Milvus keeps codes of new items apart from the items
        known |= {key for key, digest in zip(rest, store.digests(name, rest), strict=True) if digest is not None}
    return [key not in known for key in ids]


def refuse_unknown(store: Store, name: str, unknown: Unknown, on_missing: OnMissing) -> None:
    """Raise StoreError if the store cannot hold one of these ids, or if they are not to be added, or cannot be."""
    if unknown.refused.n:
        raise StoreError(
            f"expected ids that the store can hold ({_has(store, name)}), got {unknown.refused.n:,} of another kind "
            f"among {unknown.looked_up:,} ids in {unknown.source}: {unknown.refused}",
            path=store.name,
            hint=_CONVERT,
        )
    if on_missing == "error" and unknown.ids.n:
        raise StoreError(
            f"expected ids that the store has ({_has(store, name)}), got {unknown.ids.n:,} unknown of "
            f"{unknown.looked_up:,} ids in {unknown.source}: {unknown.ids}",
            path=store.name,
            hint=f"{_CHOOSE}; {_ADD}",
        )
    if on_missing == "insert" and unknown.ids.n:
        store.require_addable(unknown.ids.first, unknown.ids.n)


_CHOOSE = "if the ids are of the wrong column, choose another with --ids"
_CONVERT = "convert the ids of the file to the type of the store, or choose others with --ids"
_ADD = "if these items are new, push --on-missing insert adds them; push --on-missing skip leaves them out"


def _has(store: Store, name: str) -> str:
    """Return what ids the store has: their type and some of them."""
    ids: list[Id] = []
    if store.dense is not None:
        ids = next((block.ids for block in store.scroll(SAMPLE)), [])
    elif store.has_field(name):
        ids = next((block.ids for block in store.scroll_codes(name, SAMPLE)), [])
    return store.id_type + (f", such as {', '.join(map(repr, ids[:SAMPLE]))}" if ids else "")


def _types(ids: Sequence[Id]) -> list[str]:
    return sorted({"integer" if isinstance(key, int) else "string" for key in ids})
