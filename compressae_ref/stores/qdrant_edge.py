"""Qdrant Edge: Qdrant's own engine in this process, on a folder that it calls a shard.

Sparse vectors are compared exactly, with their signs. The engine looks at nothing that it is given, so
`contract.checked` does. It finds no item that shares no latent with the query, whose score would be 0.
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


def open_at(address: Address) -> EdgeStore:
    """The shard in a folder."""
    return EdgeStore(address.rest, address.option("dense"))


def create(folder: str, dense: str, d: int) -> EdgeStore:
    """A new shard for items with a dense vector that is compared by cosine."""
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
            raise StoreError("expected the folder of a shard, got one without edge_config.json", path=self.name)
        self._dense = chosen_field([*json.loads(config.read_bytes())["vectors"]], dense, self.name)
        with self._errors():
            self._shard = self.edge.EdgeShard.load(folder)

    def _errors(self) -> Any:
        return engine_errors(self.name, BaseException)  # what Rust panics with is no Exception

    def insert(self, ids: Sequence[Id], x: Floats, payload: Sequence[dict[str, Any]]) -> None:
        """New items with dense vectors."""
        items = zip(ids, x.tolist(), payload, strict=True)
        points = [self.edge.Point(each, {self._dense: vector}, facts) for each, vector, facts in items]
        self._update(self.edge.UpdateOperation.upsert_points(points))

    def _update(self, operation: Any) -> None:
        with self._errors():
            self._shard.update(operation)

    def _filter(self, *with_: str, without: str | None = None) -> Any:
        has = self.edge.HasVectorCondition
        lacking = [] if without is None else [has(without)]
        return self.edge.Filter(must=[has(field) for field in with_], must_not=lacking)

    def _count(self, *fields: str) -> int:
        with self._errors():
            counted: int = self._shard.count(self.edge.CountRequest(exact=True, filter=self._filter(*fields)))
        return counted

    def count(self) -> int:
        """Items that have a dense vector."""
        return self._count(self._dense)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Items in blocks, by id."""
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
        """Whether the shard has a sparse vector of this name."""
        config = json.loads((self._folder / "edge_config.json").read_bytes())
        return field in config.get("sparse_vectors", {})

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse vector to the shard as it is."""
        self._update(self.edge.UpdateOperation.create_sparse_vector(field))

    def drop_field(self, field: str) -> None:
        """Take it away."""
        self._update(self.edge.UpdateOperation.delete_vector_name(field))

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """One operation of the write-ahead log."""
        checked(ids, vectors)
        edge = self.edge
        pairs = zip(ids, vectors.indices.tolist(), vectors.values.tolist(), strict=True)
        points = [edge.PointVectors(each, {field: edge.SparseVector(*entries)}) for each, *entries in pairs]
        self._update(edge.UpdateOperation.update_vectors(points))

    def count_written(self, field: str) -> int:
        """Items that have a code."""
        return self._count(self._dense, field)

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Codes as they are stored."""
        with self._errors():
            records = self._shard.retrieve([_uuid(each) for each in ids], with_payload=False, with_vector=[field])
        found = {plain_id(record.id): (record.vector or {}).get(field) for record in records}
        vectors = [found.get(each) for each in ids]
        return [None if vector is None else (list(vector.indices), list(vector.values)) for vector in vectors]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Exact, all queries in one pass over the segments."""
        return self._query(field, [self.edge.SparseVector(*entries) for entries in nonzero(vectors)], top)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """As the shard's own index does it: exactly as long as it has built no HNSW."""
        return self._query(self._dense, x.tolist(), top)

    def _query(self, field: str, vectors: list[Any], top: int) -> list[Found]:
        edge, found = self.edge, []
        with self._errors():
            for start in range(0, len(vectors), QUERIES_AT_ONCE):
                asked = [edge.Query.Nearest(each, using=field) for each in vectors[start : start + QUERIES_AT_ONCE]]
                requests = [edge.QueryRequest(limit=top, query=each) for each in asked]
                found += self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [Found([plain_id(hit.id) for hit in hits], [hit.score for hit in hits]) for hits in found]

    def sizes(self, field: str) -> dict[str, int]:
        """Bytes that the files of each vector take on disk: the engine keeps a folder for each."""
        with self._errors():
            self._shard.flush()
        return {
            "dense": _on_disk(self._folder, f"vector_storage-{self._dense}", f"vector_index-{self._dense}"),
            "codes": _on_disk(self._folder, f"vector_storage-{field}", f"vector_index-{field}"),
        }

    def optimize(self) -> None:
        """Let the engine build its indexes and pack its files."""
        with self._errors():
            self._shard.optimize()

    def close(self) -> None:
        """Flush, and unlock the folder."""
        with self._errors():
            self._shard.close()


def _uuid(each: Id) -> Any:
    return each if isinstance(each, int) else uuid.UUID(each)


def _on_disk(folder: Path, *names: str) -> int:
    """Bytes of all blocks of the files in folders of these names: some files are mostly holes."""
    files = [file for name in names for file in folder.glob(f"segments/*/{name}/**/*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)
