"""A Qdrant server or cluster, or the local mode of the client, through ``qdrant-client``.

The address is ``qdrant://HOST:PORT/COLLECTION`` (``?https=1``; the API key is read from QDRANT_API_KEY) or
``qdrant:FOLDER?collection=NAME``. The local mode is written in Python and scans all items: it suits a few thousand.

Search in sparse vectors is exact and uses their signs. Items that share no latent with the query are not returned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.optional import require_package
from compressae_ref.stores.contract import (
    Address,
    Found,
    Id,
    Rows,
    as_rows,
    checked,
    chosen_field,
    engine_errors,
    nonzero,
    plain_id,
    require_existing,
    without_password,
)

QUERIES_AT_ONCE = 64
"""Queries in one request."""


def open_at(address: Address) -> QdrantStore:
    """Open the collection of an address."""
    module = require_package("qdrant_client", "qdrant", "Qdrant")
    dense = address.option("dense")
    if not address.rest.startswith("//"):
        collection = address.required("collection", f"qdrant:{address.rest}")
        require_existing(address.rest, f"qdrant:{address.rest}")
        with engine_errors(f"qdrant:{address.rest}"):
            client = module.QdrantClient(path=address.rest)
        return QdrantStore(client, collection, dense, f"qdrant:{address.rest}")
    host, _, in_path = address.rest[2:].partition("/")
    scheme, name = "https" if address.option("https") else "http", without_password(f"qdrant://{host}")
    with engine_errors(name):
        client = module.QdrantClient(url=f"{scheme}://{host}", api_key=os.environ.get("QDRANT_API_KEY"))
    return QdrantStore(client, address.option("collection") or in_path, dense, name)


class QdrantStore:
    """A collection (`contract.Store`)."""

    signed = True
    exact = True

    def __init__(self, client: Any, collection: str, dense: str | None = None, name: str = "qdrant") -> None:
        self.models = require_package("qdrant_client.models", "qdrant", "Qdrant")
        self.name = f"{name} collection {collection}"
        self._client, self._collection = client, collection
        vectors = self._params().vectors
        fields = [*vectors] if isinstance(vectors, dict) else [""]  # a single vector without a name
        self._dense = chosen_field(fields, dense, self.name)
        self._with = [self._dense] if self._dense else True

    def _errors(self) -> Any:
        return engine_errors(self.name)

    def _params(self) -> Any:
        with self._errors():
            return self._client.get_collection(self._collection).config.params

    def _filter(self, *with_: str, without: str | None = None) -> Any:
        has = [self.models.HasVectorCondition(has_vector=field) for field in with_]
        excluded = [] if without is None else [self.models.HasVectorCondition(has_vector=without)]
        return self.models.Filter(must=has, must_not=excluded)

    def _count(self, *fields: str) -> int:
        with self._errors():
            return int(self._client.count(self._collection, count_filter=self._filter(*fields), exact=True).count)

    def count(self) -> int:
        """Return the number of items that have a dense vector."""
        return self._count(self._dense)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items in blocks, by ascending id."""
        chosen, offset = self._filter(self._dense, without=without), None
        while True:
            with self._errors():
                records, offset = self._client.scroll(
                    self._collection, chosen, limit=rows, offset=offset, with_payload=False, with_vectors=self._with
                )
            if records:
                vectors = [self._dense_of(record.vector) for record in records]
                yield as_rows([plain_id(record.id) for record in records], vectors, self.name)
            if offset is None:
                return

    def _dense_of(self, vector: Any) -> Any:
        return vector[self._dense] if isinstance(vector, dict) else vector

    def has_field(self, field: str) -> bool:
        """Return whether the collection has a sparse vector of this name."""
        return field in (self._params().sparse_vectors or {})

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector to the existing collection."""
        config = self.models.SparseVectorNameConfig(sparse=self.models.SparseVectorConfig())
        with self._errors():
            self._client.create_vector_name(self._collection, field, config)

    def drop_field(self, field: str) -> None:
        """Delete the sparse vector."""
        with self._errors():
            self._client.delete_vector_name(self._collection, field)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Write the codes in one request; return when the server has logged and applied it."""
        checked(ids, vectors)
        pairs = zip(ids, vectors.indices.tolist(), vectors.values.tolist(), strict=True)
        points = [self.models.PointVectors(id=key, vector={field: self._sparse(*entries)}) for key, *entries in pairs]
        with self._errors():
            self._client.update_vectors(self._collection, points, wait=True)

    def _sparse(self, indices: list[int], values: list[float]) -> Any:
        return self.models.SparseVector(indices=indices, values=values)

    def count_written(self, field: str) -> int:
        """Return the number of items that have a code."""
        return self._count(self._dense, field)

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Return the codes as stored."""
        with self._errors():
            records = self._client.retrieve(self._collection, list(ids), with_payload=False, with_vectors=[field])
        codes = {plain_id(record.id): (record.vector or {}).get(field) for record in records}
        vectors = [codes.get(key) for key in ids]
        return [None if vector is None else (list(vector.indices), list(vector.values)) for vector in vectors]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search exactly."""
        return self._query(field, [self._sparse(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the collection."""
        return self._query(self._dense or None, x.tolist(), top)

    def _query(self, field: str | None, vectors: list[Any], top: int) -> list[Found]:
        results: list[Any] = []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                batch = vectors[start : start + QUERIES_AT_ONCE]
                requests = [self.models.QueryRequest(query=vector, using=field, limit=top) for vector in batch]
                results += self._client.query_batch_points(self._collection, requests)
        hits = (result.points for result in results)
        return [Found([plain_id(hit.id) for hit in points], [hit.score for hit in points]) for points in hits]

    def sizes(self, field: str) -> dict[str, int]:
        """Return no sizes: a server does not report them."""
        return {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
