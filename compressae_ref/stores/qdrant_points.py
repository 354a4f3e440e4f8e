"""Points of Qdrant, and what both adapters do alike: a code and the digest of its dense vector are named vectors.

Both adapters write the two vectors in one operation. The digest is a dense vector of `digests.PARTS` numbers, which
takes about 14 bytes per point; as a sparse vector it would take ten times as many. The payload does not change.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import NO_SHARED, CodeRows, Entries, Id, Rows, as_rows, checked, dense_of, plain_id
from compressae_ref.stores.digests import SUFFIX, as_vector, from_vector

QUERIES_AT_ONCE = 64
"""Queries in one request."""


ID_TYPE = "integers from 0 or UUIDs in lower case"
"""Ids that Qdrant takes."""


def require_ids(ids: Sequence[Id], name: str) -> list[int | uuid.UUID]:
    """Return ids as integers and UUIDs. Qdrant takes no others, and a UUID must be written as Qdrant writes it."""
    keys = [_as_key(key) for key in ids]
    for key, found in zip(ids, keys, strict=True):
        if found is None:
            raise StoreError(f"expected ids that are {ID_TYPE}, got {key!r}", path=name)
    return [key for key in keys if key is not None]


def _as_key(key: Id) -> int | uuid.UUID | None:
    """Return an id as Qdrant takes it, or None."""
    if isinstance(key, int) and 0 <= key < 2**64:
        return key
    with suppress(ValueError):
        if isinstance(key, str) and str(uuid.UUID(key)) == key:
            return uuid.UUID(key)
    return None


def is_digests(name: str) -> bool:
    """Return whether a dense vector of this name holds digests."""
    return name.endswith(SUFFIX)


def named_vectors(
    field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None, sparse: Callable[..., Any]
) -> Iterator[tuple[Id, dict[str, Any]]]:
    """Yield the ids and the named vectors of points; ``sparse`` makes the sparse vectors of a client."""
    checked(ids, vectors)
    entries = zip(vectors.indices.tolist(), vectors.values.tolist(), strict=True)
    hashes: Sequence[int | None] = [None] * len(ids) if digests is None else digests
    for key, pair, digest in zip(ids, entries, hashes, strict=True):
        yield key, {field: sparse(*pair)} | ({} if digest is None else {field + SUFFIX: as_vector(digest)})


def vectors_by_id(records: Sequence[Any]) -> dict[Id, dict[str, Any]]:
    """Return the named vectors of points that were read."""
    return {plain_id(record.id): record.vector if isinstance(record.vector, dict) else {} for record in records}


def digests_in(vectors: Mapping[Id, dict[str, Any]], field: str, ids: Sequence[Id]) -> list[int | None]:
    """Return the digest beside the code of each id (`contract.Store.digests`)."""
    points = [vectors.get(key, {}) for key in ids]
    return [from_vector(point.get(field + SUFFIX)) if field in point else None for point in points]


def codes_in(vectors: Mapping[Id, dict[str, Any]], field: str, ids: Sequence[Id]) -> list[Entries | None]:
    """Return the code of each id, or None."""
    codes = [vectors.get(key, {}).get(field) for key in ids]
    return [None if code is None else as_entries(code) for code in codes]


def as_entries(code: Any) -> Entries:
    """Return the indices and the values of a sparse vector of a client."""
    return list(code.indices), list(code.values)


def on_disk(folder: Path, *patterns: str) -> int:
    """Return the bytes of the allocated blocks in these folders: some files are sparse, so their size misleads."""
    files = [file for pattern in patterns for file in folder.glob(f"{pattern}/**/*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)


class QdrantPoints:
    """What both adapters have in common (`contract.Store`); they differ in how they reach the engine."""

    signed = True
    fewer = NO_SHARED
    accuracy = "raise ef_construct and m of the HNSW index"
    id_type = ID_TYPE
    name: str
    dense: str | None

    def _count(self, *fields: str) -> int:
        """Return the number of points that have all of these vectors."""
        raise NotImplementedError

    def _vectors(self, ids: Sequence[Id], names: list[str]) -> dict[Id, dict[str, Any]]:
        """Return the named vectors of those of these points that exist."""
        raise NotImplementedError

    def _blocks(self, rows: int, field: str, without: str | None) -> Iterator[tuple[list[Id], list[Any]]]:
        """Yield the ids and one vector of points that have it, in blocks by ascending id."""
        raise NotImplementedError

    def _has_digests(self, field: str) -> bool:
        raise NotImplementedError

    def fields(self) -> list[str]:
        """Return the names of the sparse vectors."""
        raise NotImplementedError

    def has_field(self, field: str) -> bool:
        """Return whether there is a sparse vector of this name."""
        return field in self.fields()

    def count(self) -> int:
        """Return the number of items that have a dense vector, or of all items if there is no dense field."""
        return self._count() if self.dense is None else self._count(self.dense)

    def holds(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these ids Qdrant takes."""
        return [_as_key(key) is not None for key in ids]

    def known(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these items exist."""
        found = self._vectors(ids, [])
        return [key in found for key in ids]

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items in blocks, by ascending id."""
        dense = dense_of(self)
        for ids, vectors in self._blocks(rows, dense, without):
            yield as_rows(ids, vectors, self.name)

    def scroll_codes(self, field: str, rows: int) -> Iterator[CodeRows]:
        """Yield items with a code in blocks, by ascending id."""
        for ids, vectors in self._blocks(rows, field, None):
            yield CodeRows(ids, [as_entries(vector) for vector in vectors])

    def require_addable(self, ids: Sequence[Id], n: int) -> None:
        """Do nothing: points may have any vectors."""

    def old_versions(self, n: int) -> int:
        """Return 0: codes are stored apart from the items."""
        return 0

    def digests(self, field: str, ids: Sequence[Id]) -> list[int | None]:
        """Return the digest beside each code."""
        names = [field, field + SUFFIX] if self._has_digests(field) else [field]
        return digests_in(self._vectors(ids, names), field, ids)

    def count_written(self, field: str) -> int:
        """Return the number of items that have a code."""
        return self._count(field)

    def codes_alone(self, field: str, rows: int) -> Iterator[list[Id]]:
        """Yield the ids of points with a code and without a dense vector, in blocks by ascending id."""
        for ids, _ in self._blocks(rows, field, self.dense):
            yield ids

    def count_bare(self, field: str) -> int:
        """Return the number of points that have neither vector."""
        names = [name for name in (self.dense, field if self.has_field(field) else None) if name is not None]
        both = self._count(*names) if len(names) == 2 else 0
        return self._count() - sum(map(self._count, names)) + both

    def read(self, field: str, ids: Sequence[Id]) -> list[Entries | None]:
        """Return the codes as stored."""
        return codes_in(self._vectors(ids, [field]), field, ids)
