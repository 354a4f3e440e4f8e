"""Qdrant Edge: the engine of Qdrant in this process, on a folder that is called a shard.

Search in sparse vectors is exact and uses their signs. The engine does not check its input, so `contract.checked` does.
Items that share no latent with the query, whose score would be 0, are not returned.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
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
"""Queries in one request."""


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


class EdgeStore:
    """A shard (`contract.Store`)."""

    signed = True
    exact = True

    def __init__(self, folder: str, dense: str | None = None) -> None:
        self.edge = _edge()
        self.name = f"edge:{folder}"
        self._folder = Path(folder)
        config = self._folder / "edge_config.json"
        if not config.exists():
            what = "a folder without edge_config.json" if self._folder.is_dir() else "a path that is not a folder"
            raise StoreError(f"expected the folder of a shard, got {what}", path=self.name)
        self._dense = chosen_field([*json.loads(config.read_bytes())["vectors"]], dense, self.name)
        with self._errors():
            self._shard = self.edge.EdgeShard.load(folder)

    def _errors(self) -> Any:
        return engine_errors(self.name, BaseException)  # a panic in Rust is not an Exception

    def insert(self, ids: Sequence[Id], x: Floats, payload: Sequence[dict[str, Any]]) -> None:
        """Insert new items with dense vectors and payload."""
        items = zip(ids, x.tolist(), payload, strict=True)
        points = [self.edge.Point(key, {self._dense: vector}, fields) for key, vector, fields in items]
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

    def count(self) -> int:
        """Return the number of items that have a dense vector."""
        return self._count(self._dense)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items in blocks, by ascending id."""
        chosen, offset = self._filter(self._dense, without=without), None
        while True:
            request = self.edge.ScrollRequest(
                offset=offset, limit=rows, filter=chosen, with_vector=[self._dense], with_payload=False
            )
            with self._errors():
                records, offset = self._shard.scroll(request)
            if records:
                vectors = [record.vector[self._dense] for record in records]
                yield as_rows([plain_id(record.id) for record in records], vectors, self.name)
            if offset is None:
                return

    def has_field(self, field: str) -> bool:
        """Return whether the shard has a sparse vector of this name."""
        config = json.loads((self._folder / "edge_config.json").read_bytes())
        return field in config.get("sparse_vectors", {})

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector to the existing shard."""
        self._update(self.edge.UpdateOperation.create_sparse_vector(field))

    def drop_field(self, field: str) -> None:
        """Delete the sparse vector."""
        self._update(self.edge.UpdateOperation.delete_vector_name(field))

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Write the codes in one operation of the write-ahead log."""
        checked(ids, vectors)
        edge = self.edge
        pairs = zip(ids, vectors.indices.tolist(), vectors.values.tolist(), strict=True)
        points = [edge.PointVectors(key, {field: edge.SparseVector(*entries)}) for key, *entries in pairs]
        self._update(edge.UpdateOperation.update_vectors(points))

    def count_written(self, field: str) -> int:
        """Return the number of items that have a code."""
        return self._count(self._dense, field)

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Return the codes as stored."""
        with self._errors():
            records = self._shard.retrieve([_native_id(key) for key in ids], with_payload=False, with_vector=[field])
        codes = {plain_id(record.id): (record.vector or {}).get(field) for record in records}
        vectors = [codes.get(key) for key in ids]
        return [None if vector is None else (list(vector.indices), list(vector.values)) for vector in vectors]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search exactly, all queries in one pass over the segments."""
        return self._query(field, [self.edge.SparseVector(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the shard: exact until the shard builds an HNSW index."""
        return self._query(self._dense, x.tolist(), top)

    def _query(self, field: str, vectors: list[Any], top: int) -> list[Found]:
        edge, results = self.edge, []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                batch = vectors[start : start + QUERIES_AT_ONCE]
                queries = [edge.Query.Nearest(vector, using=field) for vector in batch]
                requests = [edge.QueryRequest(limit=top, query=query) for query in queries]
                results += self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [Found([plain_id(hit.id) for hit in hits], [hit.score for hit in hits]) for hits in results]

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes on disk of each vector, which the engine stores in a separate folder."""
        with self._errors():
            self._shard.flush()
        return {
            "dense": _on_disk(self._folder, f"vector_storage-{self._dense}", f"vector_index-{self._dense}"),
            "codes": _on_disk(self._folder, f"vector_storage-{field}", f"vector_index-{field}"),
        }

    def optimize(self) -> None:
        """Let the engine build its indexes and compact its files."""
        with self._errors():
            self._shard.optimize()

    def close(self) -> None:
        """Flush the shard and unlock its folder."""
        with self._errors():
            self._shard.close()


def _native_id(key: Id) -> Any:
    return key if isinstance(key, int) else uuid.UUID(key)


def _on_disk(folder: Path, *names: str) -> int:
    """Return the bytes of the allocated blocks in these folders: some files are sparse, so their size misleads."""
    files = [file for name in names for file in folder.glob(f"segments/*/{name}/**/*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)
