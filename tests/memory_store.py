"""A store in a dictionary, for machines without a vector database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import Address, Found, Id, Rows, as_rows, checked, chosen_field, nonzero

COLLECTIONS: dict[str, dict[Id, dict[str, Any]]] = {}
"""Items of each collection by id: "dense", "name", and codes by field."""
FIELDS: dict[str, set[str]] = {}


def open_at(address: Address) -> MemoryStore:
    """Open a collection by its name."""
    return MemoryStore(address.rest, address.option("dense"))


class MemoryStore:
    """A collection (`contract.Store`)."""

    signed = True
    exact = True

    def __init__(self, collection: str, dense: str | None = None) -> None:
        self.name = f"memory:{collection}"
        if collection not in COLLECTIONS:
            raise StoreError("expected an existing collection, got an unknown name", path=self.name)
        chosen_field(["dense"], dense, self.name)
        self._items, self._fields = COLLECTIONS[collection], FIELDS.setdefault(collection, set())

    def count(self) -> int:
        return len(self._items)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        last = None
        while True:
            keys = sorted(key for key in self._items if last is None or key > last)
            keys = [key for key in keys if without is None or without not in self._items[key]][:rows]
            if not keys:
                return
            last = keys[-1]
            yield as_rows(keys, np.stack([self._items[key]["dense"] for key in keys]), self.name)

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
        for key, entries in zip(ids, nonzero(vectors), strict=True):
            self._items[key][field] = entries

    def count_written(self, field: str) -> int:
        return sum(field in item for item in self._items.values())

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        return [self._items[key].get(field) for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        stored = {key: item[field] for key, item in self._items.items() if field in item}
        return [
            self._best({key: float(u[indices] @ np.array(values)) for key, (indices, values) in stored.items()}, top)
            for u in vectors.to_dense()
        ]

    def query_dense(self, x: np.ndarray, top: int) -> list[Found]:
        unit = {key: item["dense"] / np.linalg.norm(item["dense"]) for key, item in self._items.items()}
        return [self._best({key: float(row @ vector) for key, vector in unit.items()}, top) for row in x]

    def _best(self, scores: dict[Id, float], top: int) -> Found:
        best = sorted(scores, key=lambda key: -scores[key])[:top]
        return Found(best, [scores[key] for key in best])

    def sizes(self, field: str) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Do nothing: there is no connection."""
