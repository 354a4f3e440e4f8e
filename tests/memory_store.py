"""A store in a dictionary: the contract without an engine, for machines that have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import Address, Found, Id, Rows, as_rows, checked, chosen_field, nonzero

COLLECTIONS: dict[str, dict[Id, dict[str, Any]]] = {}
"""Items of each collection by their ids: "dense", "name", and codes by field."""
FIELDS: dict[str, set[str]] = {}


def open_at(address: Address) -> MemoryStore:
    """A collection by its name."""
    return MemoryStore(address.rest, address.option("dense"))


class MemoryStore:
    """A collection (`contract.Store`)."""

    signed = True
    exact = True

    def __init__(self, collection: str, dense: str | None = None) -> None:
        self.name = f"memory:{collection}"
        if collection not in COLLECTIONS:
            raise StoreError(f"{self.name}: expected a collection, got none")
        chosen_field(["dense"], dense, self.name)
        self._items, self._fields = COLLECTIONS[collection], FIELDS.setdefault(collection, set())

    def count(self) -> int:
        return len(self._items)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        last = None
        while True:
            left = sorted(each for each in self._items if last is None or each > last)
            left = [each for each in left if without is None or without not in self._items[each]][:rows]
            if not left:
                return
            last = left[-1]
            yield as_rows(left, np.stack([self._items[each]["dense"] for each in left]), self.name)

    def has_field(self, field: str) -> bool:
        return field in self._fields

    def add_field(self, field: str, width: int) -> None:
        self._fields.add(field)

    def drop_field(self, field: str) -> None:
        self._fields.remove(field)
        for item in self._items.values():
            item.pop(field, None)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        checked(ids, vectors)
        for each, entries in zip(ids, nonzero(vectors), strict=True):
            self._items[each][field] = entries

    def count_written(self, field: str) -> int:
        return sum(field in item for item in self._items.values())

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        return [self._items[each].get(field) for each in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        stored = {each: item[field] for each, item in self._items.items() if field in item}
        return [
            self._best({each: float(u[indices] @ np.array(values)) for each, (indices, values) in stored.items()}, top)
            for u in vectors.to_dense()
        ]

    def query_dense(self, x: np.ndarray, top: int) -> list[Found]:
        unit = {each: item["dense"] / np.linalg.norm(item["dense"]) for each, item in self._items.items()}
        return [self._best({each: float(row @ vector) for each, vector in unit.items()}, top) for row in x]

    def _best(self, scores: dict[Id, float], top: int) -> Found:
        best = sorted(scores, key=lambda each: -scores[each])[:top]
        return Found(best, [scores[each] for each in best])

    def sizes(self, field: str) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing to let go of."""
