"""A Qdrant server or cluster, or the client's own local mode, through ``qdrant-client``.

``qdrant://HOST:PORT/COLLECTION`` (``?https=1``; an API key in QDRANT_API_KEY), or ``qdrant:FOLDER?collection=NAME``,
which holds some thousand items at most: the local mode is written in Python and looks at every item.

Sparse vectors are compared exactly, with their signs; items that share no latent with the query are not found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
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
)

QUERIES_AT_ONCE = 64


def open_at(address: Address) -> QdrantStore:
    """The collection of an address."""
    module = require_package("qdrant_client", "qdrant", "Qdrant")
    dense, collection = address.option("dense"), address.option("collection")
    if not address.rest.startswith("//"):
        if collection is None:
            raise StoreError("expected ?collection=NAME, got none", path=f"qdrant:{address.rest}")
        with engine_errors(f"qdrant:{address.rest}"):
            client = module.QdrantClient(path=address.rest)
        return QdrantStore(client, collection, dense, f"qdrant:{address.rest}")
    host, _, in_path = address.rest[2:].partition("/")
    scheme = "https" if address.option("https") else "http"
    with engine_errors(f"qdrant://{host}"):
        client = module.QdrantClient(url=f"{scheme}://{host}", api_key=os.environ.get("QDRANT_API_KEY"))
    return QdrantStore(client, collection or in_path, dense, f"qdrant://{host}")


class QdrantStore:
    """A collection (`contract.Store`)."""

    signed = True
    exact = True

    def __init__(self, client: Any, collection: str, dense: str | None = None, name: str = "qdrant") -> None:
        self.models = require_package("qdrant_client.models", "qdrant", "Qdrant")
        self.name = f"{name} collection {collection}"
        self._client, self._collection = client, collection
        vectors = self._params().vectors
        fields = [*vectors] if isinstance(vectors, dict) else [""]  # one without a name
        self._dense = chosen_field(fields, dense, self.name)
        self._with = [self._dense] if self._dense else True

    def _errors(self) -> Any:
        return engine_errors(self.name)

    def _params(self) -> Any:
        with self._errors():
            return self._client.get_collection(self._collection).config.params

    def _filter(self, *with_: str, without: str | None = None) -> Any:
        has = [self.models.HasVectorCondition(has_vector=field) for field in with_]
        lacking = [] if without is None else [self.models.HasVectorCondition(has_vector=without)]
        return self.models.Filter(must=has, must_not=lacking)

    def _count(self, *fields: str) -> int:
        with self._errors():
            return int(self._client.count(self._collection, count_filter=self._filter(*fields), exact=True).count)

    def count(self) -> int:
        """Items that have a dense vector."""
        return self._count(self._dense)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Items in blocks, by id."""
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
        """Whether the collection has a sparse vector of this name."""
        return field in (self._params().sparse_vectors or {})

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector to the collection as it is."""
        config = self.models.SparseVectorNameConfig(sparse=self.models.SparseVectorConfig())
        with self._errors():
            self._client.create_vector_name(self._collection, field, config)

    def drop_field(self, field: str) -> None:
        """Take it away."""
        with self._errors():
            self._client.delete_vector_name(self._collection, field)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """One request, answered when it is in the write-ahead log and applied."""
        checked(ids, vectors)
        pairs = zip(ids, vectors.indices.tolist(), vectors.values.tolist(), strict=True)
        points = [self.models.PointVectors(id=each, vector={field: self._sparse(*entries)}) for each, *entries in pairs]
        with self._errors():
            self._client.update_vectors(self._collection, points, wait=True)

    def _sparse(self, indices: list[int], values: list[float]) -> Any:
        return self.models.SparseVector(indices=indices, values=values)

    def count_written(self, field: str) -> int:
        """Items that have a code."""
        return self._count(self._dense, field)

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Codes as they are stored."""
        with self._errors():
            records = self._client.retrieve(self._collection, list(ids), with_payload=False, with_vectors=[field])
        found = {plain_id(record.id): (record.vector or {}).get(field) for record in records}
        vectors = [found.get(each) for each in ids]
        return [None if vector is None else (list(vector.indices), list(vector.values)) for vector in vectors]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Exact."""
        return self._query(field, [self._sparse(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """As the server's own index does it."""
        return self._query(self._dense or None, x.tolist(), top)

    def _query(self, field: str | None, vectors: list[Any], top: int) -> list[Found]:
        answers: list[Any] = []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                asked = vectors[start : start + QUERIES_AT_ONCE]
                requests = [self.models.QueryRequest(query=each, using=field, limit=top) for each in asked]
                answers += self._client.query_batch_points(self._collection, requests)
        return [
            Found([plain_id(hit.id) for hit in each.points], [hit.score for hit in each.points]) for each in answers
        ]

    def sizes(self, field: str) -> dict[str, int]:
        """Nothing: a server does not say what its files take."""
        return {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
