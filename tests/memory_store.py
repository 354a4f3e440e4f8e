"""A store in a dictionary, for machines without a vector database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import (
    NOTHING,
    Address,
    CodeRows,
    Found,
    Id,
    Planned,
    Rows,
    Step,
    as_rows,
    checked,
    chosen_field,
    dense_of,
    nonzero,
)
from compressae_ref.stores.digests import SUFFIX, UNKNOWN

COLLECTIONS: dict[str, dict[Id, dict[str, Any]]] = {}
"""Items of each collection by id: "dense", "name", and codes by field."""
FIELDS: dict[str, set[str]] = {}


def open_at(address: Address) -> MemoryStore:
    """Open a collection by its name."""
    return MemoryStore(address.rest, address.option("dense"))


class MemoryStore:
    """A collection (`contract.Store`). Without ``dense`` in its items, the dense field is gone."""

    signed = True
    fewer = "this store is a test"
    accuracy = "this store is exact"
    id_type = "integers"

    def __init__(self, collection: str, dense: str | None = None) -> None:
        self.name = f"memory:{collection}"
        if collection not in COLLECTIONS:
            raise StoreError("expected an existing collection, got an unknown name", path=self.name)
        self._items, self._fields = COLLECTIONS[collection], FIELDS.setdefault(collection, set())
        there = any("dense" in item for item in self._items.values()) or not self._fields
        self.dense = chosen_field(["dense"] * there, dense, self.name)

    def _with_dense(self) -> list[Id]:
        return sorted(key for key, item in self._items.items() if "dense" in item)

    def count(self) -> int:
        return len(self._items if self.dense is None else self._with_dense())

    def holds(self, ids: Sequence[Id]) -> list[bool]:
        kind = type(next(iter(self._items), 0))
        return [isinstance(key, kind) for key in ids]

    def known(self, ids: Sequence[Id]) -> list[bool]:
        return [key in self._items for key in ids]

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        last = None
        dense_of(self)
        while True:
            keys = [key for key in self._with_dense() if last is None or key > last]
            keys = [key for key in keys if without is None or without not in self._items[key]][:rows]
            if not keys:
                return
            last = keys[-1]
            yield as_rows(keys, np.stack([self._items[key]["dense"] for key in keys]), self.name)

    def scroll_codes(self, field: str, rows: int) -> Iterator[CodeRows]:
        keys = sorted(key for key, item in self._items.items() if field in item)
        for start in range(0, len(keys), rows):
            block = keys[start : start + rows]
            yield CodeRows(block, [self._items[key][field] for key in block])

    def fields(self) -> list[str]:
        return [*self._fields]

    def has_field(self, field: str) -> bool:
        return field in self._fields

    def add_field(self, field: str, width: int) -> None:
        self._fields.add(field)

    def drop_field(self, field: str) -> None:
        self._fields.remove(field)
        self.erase(field, [*self._items])

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        checked(ids, vectors)
        for key, entries, digest in zip(ids, nonzero(vectors), digests or [UNKNOWN] * len(ids), strict=True):
            self._items[key] |= {field: entries, field + SUFFIX: digest}

    def require_addable(self, ids: Sequence[Id], n: int) -> None:
        """Do nothing: any item can be added."""

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        checked(ids, vectors)
        self._items.update({key: {} for key in ids})
        self.write(field, ids, vectors, digests)

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        for key in ids:
            self._items[key].pop(field, None)
            self._items[key].pop(field + SUFFIX, None)

    def old_versions(self, n: int) -> int:
        """Return 0: codes are stored apart from the items."""
        return 0

    def digests(self, field: str, ids: Sequence[Id]) -> list[int | None]:
        items = [self._items.get(key, {}) for key in ids]
        return [item.get(field + SUFFIX, UNKNOWN) if field in item else None for item in items]

    def count_written(self, field: str) -> int:
        return sum(field in item for item in self._items.values())

    def codes_alone(self, field: str, rows: int) -> Iterator[list[Id]]:
        keys = sorted(key for key, item in self._items.items() if field in item and "dense" not in item)
        for start in range(0, len(keys), rows):
            yield keys[start : start + rows]

    def count_bare(self, field: str) -> int:
        return sum(field not in item and "dense" not in item for item in self._items.values())

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        return [self._items.get(key, {}).get(field) for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        stored = {key: item[field] for key, item in self._items.items() if field in item}
        return [
            self._best({key: float(u[indices] @ np.array(values)) for key, (indices, values) in stored.items()}, top)
            for u in vectors.to_dense()
        ]

    def query_dense(self, x: np.ndarray, top: int) -> list[Found]:
        dense_of(self)
        unit = {
            key: self._items[key]["dense"] / np.linalg.norm(self._items[key]["dense"]) for key in self._with_dense()
        }
        return [self._best({key: float(row @ vector) for key, vector in unit.items()}, top) for row in x]

    def _best(self, scores: dict[Id, float], top: int) -> Found:
        best = sorted(scores, key=lambda key: -scores[key])[:top]
        return Found(best, [scores[key] for key in best])

    def approximate_index(self, field: str) -> str | None:
        return None

    def sizes(self, field: str) -> dict[str, int]:
        return {}

    def footprint(self) -> dict[str, int]:
        return {}

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        return []

    def close(self) -> None:
        """Do nothing: there is no connection."""
