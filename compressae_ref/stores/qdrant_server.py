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
    NOTHING,
    Address,
    Found,
    Id,
    Planned,
    Step,
    chosen_field,
    dense_of,
    engine_errors,
    nonzero,
    plain_id,
    require_existing,
    without_password,
)
from compressae_ref.stores.digests import PARTS, SUFFIX
from compressae_ref.stores.next_steps import steps_of_qdrant
from compressae_ref.stores.qdrant_points import (
    QUERIES_AT_ONCE,
    QdrantPoints,
    is_digests,
    named_vectors,
    require_ids,
    vectors_by_id,
)


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


class QdrantStore(QdrantPoints):
    """A collection (`contract.Store`)."""

    def __init__(self, client: Any, collection: str, dense: str | None = None, name: str = "qdrant") -> None:
        self.models = require_package("qdrant_client.models", "qdrant", "Qdrant")
        self.name = f"{name} collection {collection}"
        self._client, self._collection = client, collection
        self.dense = chosen_field([name for name in self._dense_fields() if not is_digests(name)], dense, self.name)

    def _errors(self) -> Any:
        return engine_errors(self.name)

    def _params(self) -> Any:
        with self._errors():
            return self._client.get_collection(self._collection).config.params

    def _dense_fields(self) -> list[str]:
        vectors = self._params().vectors
        if vectors is None or isinstance(vectors, dict):
            return [*(vectors or {})]
        return [""]  # a single vector without a name

    def _filter(self, *with_: str, without: str | None = None) -> Any:
        has = [self.models.HasVectorCondition(has_vector=field) for field in with_]
        excluded = [] if without is None else [self.models.HasVectorCondition(has_vector=without)]
        return self.models.Filter(must=has, must_not=excluded)

    def _count(self, *fields: str) -> int:
        with self._errors():
            return int(self._client.count(self._collection, count_filter=self._filter(*fields), exact=True).count)

    def _vectors(self, ids: Sequence[Id], names: list[str]) -> dict[Id, dict[str, Any]]:
        require_ids(ids, self.name)
        with self._errors():
            records = self._client.retrieve(
                self._collection, list(ids), with_payload=False, with_vectors=names or False
            )
        return vectors_by_id(records)

    def _blocks(self, rows: int, field: str, without: str | None) -> Iterator[tuple[list[Id], list[Any]]]:
        chosen, offset, names = self._filter(field, without=without), None, [field] if field else True
        while True:
            with self._errors():
                records, offset = self._client.scroll(
                    self._collection, chosen, limit=rows, offset=offset, with_payload=False, with_vectors=names
                )
            if records:
                vectors = (record.vector for record in records)
                found = [vector.get(field) if isinstance(vector, dict) else vector for vector in vectors]
                yield [plain_id(record.id) for record in records], found
            if offset is None:
                return

    def fields(self) -> list[str]:
        """Return the names of the sparse vectors."""
        return [*(self._params().sparse_vectors or {})]

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector and its digests to the existing collection, where they are missing."""
        models = self.models
        if not self.has_field(field):
            self._create(field, models.SparseVectorNameConfig(sparse=models.SparseVectorConfig()))
        if not self._has_digests(field):
            config = models.DenseVectorConfig(size=PARTS, distance=models.Distance.DOT)
            self._create(field + SUFFIX, models.DenseVectorNameConfig(dense=config))

    def _create(self, name: str, config: Any) -> None:
        with self._errors():
            self._client.create_vector_name(self._collection, name, config)

    def _has_digests(self, field: str) -> bool:
        return field + SUFFIX in self._dense_fields()

    def drop_field(self, field: str) -> None:
        """Delete the sparse vector and its digests."""
        with self._errors():
            for name in (field, field + SUFFIX) if self._has_digests(field) else (field,):
                self._client.delete_vector_name(self._collection, name)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        """Write the codes in one request; return when the server has logged and applied it."""
        items = named_vectors(field, ids, vectors, digests, self._sparse)
        points = [self.models.PointVectors(id=key, vector=vector) for key, vector in items]
        with self._errors():
            self._client.update_vectors(self._collection, points, wait=True)

    def _sparse(self, indices: list[int], values: list[float]) -> Any:
        return self.models.SparseVector(indices=indices, values=values)

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        """Add points that have only a code, in one request."""
        items = named_vectors(field, ids, vectors, digests, self._sparse)
        points = [self.models.PointStruct(id=key, vector=vector, payload={}) for key, vector in items]
        with self._errors():
            self._client.upsert(self._collection, points, wait=True)

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        """Delete the sparse vectors of these points."""
        with self._errors():
            self._client.delete_vectors(self._collection, [field], [*ids], wait=True)

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search exactly."""
        return self._query(field, [self._sparse(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the collection."""
        return self._query(dense_of(self) or None, x.tolist(), top)

    def _query(self, field: str | None, vectors: list[Any], top: int) -> list[Found]:
        results: list[Any] = []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                batch = vectors[start : start + QUERIES_AT_ONCE]
                requests = [self.models.QueryRequest(query=vector, using=field, limit=top) for vector in batch]
                results += self._client.query_batch_points(self._collection, requests)
        hits = (result.points for result in results)
        return [Found([plain_id(hit.id) for hit in points], [hit.score for hit in points]) for points in hits]

    def approximate_index(self, field: str) -> str | None:
        """Return the HNSW index on the dense vectors, if the server may have one. The sparse index is exact."""
        with self._errors():
            info = self._client.get_collection(self._collection)
        return "HNSW index, if the server has built it" if field == self.dense and info.indexed_vectors_count else None

    def sizes(self, field: str) -> dict[str, int]:
        """Return no sizes: a server does not report them."""
        return {}

    def footprint(self) -> dict[str, int]:
        """Return no sizes: a server does not report them."""
        return {}

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        """Return how to drop the dense vectors with the client."""
        return steps_of_qdrant(self._collection, self.dense, self.count())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
