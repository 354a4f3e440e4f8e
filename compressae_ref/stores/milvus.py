"""Milvus, a server or Milvus Lite in a file.

Milvus refuses negative values, so codes are stored with split signs. It cannot add a sparse field to an existing
collection, so the codes go into a second collection with the same keys, ``COLLECTION_FIELD``. Dot products of split
codes are upper bounds of those of the codes; `query.search_store` fetches more items and re-ranks them.
"""

from __future__ import annotations

import logging
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
    require_existing,
    without_password,
)

CODE = "code"
"""Name of the sparse field in the collection of codes."""

MOST_TEXT = 65_535
"""Maximum number of characters of a string key."""


def open_at(address: Address) -> MilvusStore:
    """Open the collection of an address: ``milvus:FILE?collection=NAME`` or ``milvus://HOST:PORT?collection=NAME``."""
    name = without_password(f"milvus:{address.rest}")
    collection = address.required("collection", name)
    at = address.rest
    if at.startswith("//"):
        at = f"{'https' if address.option('https') else 'http'}:{at}"
    else:
        require_existing(at, name)
    module = require_package("pymilvus", "milvus", "Milvus")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs errors that it also raises
    with engine_errors(name):
        client = module.MilvusClient(at, token=os.environ.get("MILVUS_TOKEN", ""))
    return MilvusStore(client, collection, address.option("dense"), name, at)


class MilvusStore:
    """A collection and the collections of its codes (`contract.Store`)."""

    signed = False
    exact = True

    def __init__(self, client: Any, collection: str, dense: str | None, name: str, at: str) -> None:
        self._types = require_package("pymilvus", "milvus", "Milvus").DataType
        self.name = f"{name} collection {collection}"
        self._client, self._collection, self._at = client, collection, at
        try:
            with self._errors():
                fields = client.describe_collection(collection)["fields"]
                client.load_collection(collection)  # required before reading; Lite forgets it when the file is closed
        except BaseException:
            self.close()
            raise
        self._key = next(field["name"] for field in fields if field.get("is_primary"))
        self._key_type = next(field["type"] for field in fields if field.get("is_primary"))
        denses = [field["name"] for field in fields if field["type"] == self._types.FLOAT_VECTOR]
        self._dense = chosen_field(denses, dense, self.name)

    def _errors(self) -> Any:
        return engine_errors(self.name)

    def _beside(self, field: str) -> str:
        """Return the name of the collection with the codes."""
        return f"{self._collection}_{field}"

    def _row_count(self, collection: str) -> int:
        with self._errors():
            return int(self._client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def count(self) -> int:
        """Return the number of items; every item has a dense vector."""
        return self._row_count(self._collection)

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items in blocks, in the order of the client's iterator."""
        with self._errors():
            fields = [self._key, self._dense]
            blocks = self._client.query_iterator(self._collection, batch_size=rows, output_fields=fields)
        while True:
            with self._errors():
                block = blocks.next()
            if not block:
                blocks.close()
                return
            written = set() if without is None else self._written(without, [item[self._key] for item in block])
            items = [item for item in block if item[self._key] not in written]
            if items:
                yield as_rows([item[self._key] for item in items], [item[self._dense] for item in items], self.name)

    def _written(self, field: str, ids: list[Id]) -> set[Id]:
        with self._errors():
            return {item[self._key] for item in self._client.get(self._beside(field), ids, output_fields=[self._key])}

    def has_field(self, field: str) -> bool:
        """Return whether the collection of these codes exists."""
        with self._errors():
            exists = bool(self._client.has_collection(self._beside(field)))
            if exists:
                self._client.load_collection(self._beside(field))
        return exists

    def add_field(self, field: str, width: int) -> None:
        """Create the collection of codes."""
        with self._errors():
            schema = self._client.create_schema(auto_id=False)
            limit = {"max_length": MOST_TEXT} if self._key_type == self._types.VARCHAR else {}
            schema.add_field(self._key, self._key_type, is_primary=True, **limit)
            schema.add_field(CODE, self._types.SPARSE_FLOAT_VECTOR)
            index = self._client.prepare_index_params()
            index.add_index(CODE, metric_type="IP", index_type="SPARSE_INVERTED_INDEX")
            self._client.create_collection(self._beside(field), schema=schema, index_params=index)

    def drop_field(self, field: str) -> None:
        """Drop the collection of codes."""
        with self._errors():
            self._client.drop_collection(self._beside(field))

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Write the codes in one request; existing codes of the same keys are overwritten."""
        checked(ids, vectors)
        codes = [dict(zip(*entries, strict=True)) for entries in nonzero(vectors)]
        items = [{self._key: key, CODE: code} for key, code in zip(ids, codes, strict=True)]
        with self._errors():
            self._client.upsert(self._beside(field), items)

    def count_written(self, field: str) -> int:
        """Return the number of items that have a code."""
        return self._row_count(self._beside(field))

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Return the codes as stored, with split signs."""
        with self._errors():
            items = self._client.get(self._beside(field), list(ids), output_fields=[self._key, CODE])
        codes = {item[self._key]: sorted(item[CODE].items()) for item in items}
        return [_parts(codes[key]) if key in codes else None for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search by dot products of the stored codes, whose signs are split."""
        codes = [dict(zip(*entries, strict=True)) for entries in nonzero(vectors)]
        return self._search(self._beside(field), CODE, codes, top, "IP")

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the collection."""
        return self._search(self._collection, self._dense, x.tolist(), top, "COSINE")

    def _search(self, collection: str, field: str, vectors: list[Any], top: int, metric: str) -> list[Found]:
        with self._errors():
            results = self._client.search(
                collection, vectors, anns_field=field, limit=top, search_params={"metric_type": metric}
            )
        return [Found([hit[self._key] for hit in hits], [float(hit["distance"]) for hit in hits]) for hits in results]

    def sizes(self, field: str) -> dict[str, int]:
        """Return no sizes: Milvus does not report them."""
        return {}

    def close(self) -> None:
        """Close the connection; another process can open a Lite file after that."""
        self._client.close()
        release(self._at)


def release(at: str) -> None:
    """Stop the server of Milvus Lite in this process, which otherwise keeps its file locked."""
    if not at.startswith("http"):
        manager = require_package("milvus_lite.server_manager", "milvus", "Milvus Lite").server_manager_instance
        manager.release_server(at)


def _parts(entries: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [index for index, _ in entries], [value for _, value in entries]
