"""Qdrant Edge: the engine of Qdrant in this process, on a folder that is called a shard.

Search in sparse vectors is exact and uses their signs. The engine does not check its input, so `contract.checked` does.
Items that share no latent with the query, whose score would be 0, are not returned. The digests of the dense vectors
are a dense vector of `digests.PARTS` numbers, so one operation writes a code together with its digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
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
)
from compressae_ref.stores.digests import PARTS, SUFFIX
from compressae_ref.stores.next_steps import steps_of_edge
from compressae_ref.stores.qdrant_points import (
    QUERIES_AT_ONCE,
    QdrantPoints,
    is_digests,
    named_vectors,
    on_disk,
    require_ids,
    vectors_by_id,
)


def open_at(address: Address) -> EdgeStore:
    """Open the shard in the folder of an address."""
    return EdgeStore(address.rest, address.option("dense"))


def create(folder: str, dense: str, d: int) -> EdgeStore:
    """Create a shard for items with one dense vector of d dimensions, compared by cosine."""
    edge = _edge()
    config = edge.EdgeConfig(vectors={dense: edge.EdgeVectorParams(d, edge.Distance.Cosine)})
    Path(folder).mkdir(parents=True, exist_ok=True)
    with engine_errors(f"edge:{folder}", BaseException):
        edge.EdgeShard.create(folder, config).close()
    return EdgeStore(folder, dense)


def _edge() -> Any:
    return require_package("qdrant_edge", "edge", "Qdrant Edge")


class EdgeStore(QdrantPoints):
    """A shard (`contract.Store`)."""

    def __init__(self, folder: str, dense: str | None = None) -> None:
        self.edge = _edge()
        self.name = f"edge:{folder}"
        self._folder = Path(folder)
        config = self._folder / "edge_config.json"
        if not config.exists():
            what = "a folder without edge_config.json" if self._folder.is_dir() else "a path that is not a folder"
            raise StoreError(f"expected the folder of a shard, got {what}", path=self.name)
        self.dense = chosen_field([name for name in self._config("vectors") if not is_digests(name)], dense, self.name)
        with self._errors():
            self._shard = self.edge.EdgeShard.load(folder)

    def _errors(self) -> Any:
        return engine_errors(self.name, BaseException)  # a panic in Rust is not an Exception

    def _config(self, kind: str) -> dict[str, Any]:
        """Return the vectors of the shard by name: ``vectors`` or ``sparse_vectors``."""
        return json.loads((self._folder / "edge_config.json").read_bytes()).get(kind) or {}

    def insert(self, ids: Sequence[Id], x: Floats, payload: Sequence[dict[str, Any]]) -> None:
        """Insert new items with dense vectors and payload."""
        items, dense = zip(ids, x.tolist(), payload, strict=True), dense_of(self)
        points = [self.edge.Point(key, {dense: vector}, fields) for key, vector, fields in items]
        self._update(self.edge.UpdateOperation.upsert_points(points))

    def _update(self, operation: Any) -> None:
        with self._errors():
            self._shard.update(operation)

    def _filter(self, *with_: str, without: str | None = None) -> Any:
        has = self.edge.HasVectorCondition
        excluded = [] if without is None else [has(without)]
        return self.edge.Filter(must=[has(field) for field in with_], must_not=excluded)

    def _count(self, *fields: str) -> int:
        with self._errors():
            n: int = self._shard.count(self.edge.CountRequest(exact=True, filter=self._filter(*fields)))
        return n

    def _vectors(self, ids: Sequence[Id], names: list[str]) -> dict[Id, dict[str, Any]]:
        keys = require_ids(ids, self.name)
        with self._errors():
            return vectors_by_id(self._shard.retrieve(keys, with_payload=False, with_vector=names))

    def _blocks(self, rows: int, field: str, without: str | None) -> Iterator[tuple[list[Id], list[Any]]]:
        chosen, offset = self._filter(field, without=without), None
        while True:
            request = self.edge.ScrollRequest(
                offset=offset, limit=rows, filter=chosen, with_vector=[field], with_payload=False
            )
            with self._errors():
                records, offset = self._shard.scroll(request)
            if records:
                yield [plain_id(record.id) for record in records], [record.vector[field] for record in records]
            if offset is None:
                return

    def fields(self) -> list[str]:
        """Return the names of the sparse vectors."""
        return [*self._config("sparse_vectors")]

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector and its digests to the existing shard, where they are missing."""
        operations = self.edge.UpdateOperation
        if not self.has_field(field):
            self._update(operations.create_sparse_vector(field))
        if not self._has_digests(field):
            self._update(operations.create_dense_vector(field + SUFFIX, PARTS, self.edge.Distance.Dot))

    def _has_digests(self, field: str) -> bool:
        return field + SUFFIX in self._config("vectors")

    def drop_field(self, field: str) -> None:
        """Delete the sparse vector and its digests."""
        for name in (field, field + SUFFIX) if self._has_digests(field) else (field,):
            self._update(self.edge.UpdateOperation.delete_vector_name(name))

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        """Write the codes in one operation of the write-ahead log."""
        items = named_vectors(field, ids, vectors, digests, self.edge.SparseVector)
        self._update(self.edge.UpdateOperation.update_vectors([self.edge.PointVectors(*item) for item in items]))

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        """Add points that have only a code, in one operation of the write-ahead log."""
        items = named_vectors(field, ids, vectors, digests, self.edge.SparseVector)
        self._update(self.edge.UpdateOperation.upsert_points([self.edge.Point(*item, {}) for item in items]))

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        """Delete the sparse vectors of these points."""
        self._update(self.edge.UpdateOperation.delete_vectors(require_ids(ids, self.name), [field]))

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search exactly, all queries in one pass over the segments."""
        return self._query(field, [self.edge.SparseVector(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the shard: exact until the shard builds an HNSW index."""
        return self._query(dense_of(self), x.tolist(), top)

    def _query(self, field: str, vectors: list[Any], top: int) -> list[Found]:
        edge, results = self.edge, []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                batch = vectors[start : start + QUERIES_AT_ONCE]
                queries = [edge.Query.Nearest(vector, using=field) for vector in batch]
                requests = [edge.QueryRequest(limit=top, query=query) for query in queries]
                results += self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [Found([plain_id(hit.id) for hit in hits], [hit.score for hit in hits]) for hits in results]

    def approximate_index(self, field: str) -> str | None:
        """Return the HNSW index on the dense vectors, which `optimize` builds of many items. Codes have none."""
        built = field == self.dense and any(self._folder.glob(f"segments/*/vector_index-{field}/graph.bin"))
        return "HNSW index" if built else None

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes on disk of each vector, which the engine stores in a separate folder."""
        with self._errors():
            self._shard.flush()
        fields = {"codes": field} if self.dense is None else {"dense": self.dense, "codes": field}
        return {
            what: on_disk(self._folder, f"segments/*/vector_storage-{name}", f"segments/*/vector_index-{name}")
            for what, name in fields.items()
        }

    def footprint(self) -> dict[str, int]:
        """Return the bytes on disk of the segments, without the write-ahead log."""
        with self._errors():
            self._shard.flush()
        return {"shard": on_disk(self._folder, "segments")}

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        """Return how to drop the dense vectors in Python: Qdrant Edge has no other interface."""
        return steps_of_edge(str(self._folder), self.dense, self.sizes(field).get("dense", 0))

    def optimize(self) -> None:
        """Let the engine build its indexes and compact its files."""
        with self._errors():
            self._shard.optimize()

    def close(self) -> None:
        """Flush the shard and unlock its folder."""
        with self._errors():
            self._shard.close()
