"""Milvus, a server or Milvus Lite in a file.

Milvus refuses negative values, so codes are stored with split signs. It cannot add a sparse field to an existing
collection, so the codes and their digests go into a second collection with the same keys, ``COLLECTION_FIELD``, which
can be searched after the first was dropped. Dot products of split codes are upper bounds: `query` re-ranks them.
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
    NO_SHARED,
    NOTHING,
    Address,
    CodeRows,
    Entries,
    Found,
    Id,
    Planned,
    Rows,
    Step,
    as_rows,
    checked,
    chosen_field,
    dense_of,
    engine_errors,
    nonzero,
    require_existing,
    without_password,
)
from compressae_ref.stores.digests import UNKNOWN
from compressae_ref.stores.milvus_schema import (
    CODE,
    DIGEST,
    MOST_TEXT,
    collection_or_codes,
    create_codes,
    entries_of,
    fields_beside,
    has_field,
    scalar_fields,
    types,
)
from compressae_ref.stores.next_steps import steps_of_milvus


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
    fewer = NO_SHARED
    accuracy = "an index of type FLAT is exact"

    def __init__(self, client: Any, collection: str, dense: str | None, name: str, at: str) -> None:
        self._types = types()
        self.name = f"{name} collection {collection}"
        self._client, self._collection, self._at = client, collection, at
        try:
            with self._errors():
                self._main = collection_or_codes(client, collection)
                fields = client.describe_collection(self._main)["fields"]
                client.load_collection(self._main)  # required before reading; Lite forgets it when the file is closed
        except BaseException:
            self.close()
            raise
        self._key = next(field["name"] for field in fields if field.get("is_primary"))
        self._key_type = next(field["type"] for field in fields if field.get("is_primary"))
        self._others = scalar_fields(fields)
        self._d = max((int(field["params"].get("dim", 0)) for field in fields), default=0)
        denses = [field["name"] for field in fields if field["type"] == self._types.FLOAT_VECTOR]
        self.dense = chosen_field(denses, dense, self.name)

    def _errors(self) -> Any:
        return engine_errors(self.name)

    def _beside(self, field: str) -> str:
        """Return the name of the collection with the codes."""
        return f"{self._collection}_{field}"

    def _row_count(self, collection: str) -> int:
        with self._errors():
            return int(self._client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def count(self) -> int:
        """Return the number of items; every item of the collection has a dense vector. If it was dropped: of codes."""
        return self._row_count(self._main)

    @property
    def id_type(self) -> str:
        """The type of the key field, as Milvus calls it."""
        return "VARCHAR" if self._key_type == self._types.VARCHAR else "INT64"

    def holds(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these ids can be keys, by their type and range."""
        if self._key_type == self._types.VARCHAR:
            return [isinstance(key, str) and len(key.encode()) <= MOST_TEXT for key in ids]
        return [isinstance(key, int) and -(2**63) <= key < 2**63 for key in ids]

    def known(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these items exist in the collection."""
        found = {item[self._key] for item in self._get(self._main, ids, [self._key])}
        return [key in found for key in ids]

    def _get(self, collection: str, ids: Sequence[Id], fields: list[str]) -> list[dict[str, Any]]:
        with self._errors():
            return list(self._client.get(collection, list(ids), output_fields=fields)) if ids else []

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items in blocks, in the order of the client's iterator."""
        dense = dense_of(self)
        for block in self._blocks(self._main, rows, [self._key, dense]):
            ids = [item[self._key] for item in block]
            codes = [None] * len(ids) if without is None else self.digests(without, ids)
            items = [item for item, code in zip(block, codes, strict=True) if code is None]
            if items:
                yield as_rows([item[self._key] for item in items], [item[dense] for item in items], self.name)

    def scroll_codes(self, field: str, rows: int) -> Iterator[CodeRows]:
        """Yield items with a code in blocks, in the order of the client's iterator."""
        for block in self._blocks(self._beside(field), rows, [self._key, CODE]):
            yield CodeRows([item[self._key] for item in block], [entries_of(item[CODE]) for item in block])

    def _blocks(self, collection: str, rows: int, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        with self._errors():
            blocks = self._client.query_iterator(collection, batch_size=rows, output_fields=fields)
        while True:
            with self._errors():
                block = blocks.next()
            if not block:
                blocks.close()
                return
            yield block

    def fields(self) -> list[str]:
        """Return the fields whose codes have a collection."""
        with self._errors():
            return [*fields_beside(self._client, self._collection)]

    def has_field(self, field: str) -> bool:
        """Return whether the collection of these codes exists."""
        with self._errors():
            exists = bool(self._client.has_collection(self._beside(field)))
            if exists:
                self._client.load_collection(self._beside(field))
        return exists

    def add_field(self, field: str, width: int) -> None:
        """Create the collection of codes and digests, unless it exists."""
        if self.has_field(field):
            return
        with self._errors():
            create_codes(self._client, self._beside(field), self._key, self._key_type)

    def drop_field(self, field: str) -> None:
        """Drop the collection of codes."""
        with self._errors():
            self._client.drop_collection(self._beside(field))

    def _has_digests(self, field: str) -> bool:
        with self._errors():
            return has_field(self._client, self._beside(field), DIGEST, self._types.INT64)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        """Write the codes in one request; existing codes of the same keys are overwritten."""
        checked(ids, vectors)
        codes = [dict(zip(*entries, strict=True)) for entries in nonzero(vectors)]
        items: list[dict[str, Any]] = [{self._key: key, CODE: code} for key, code in zip(ids, codes, strict=True)]
        if self._has_digests(field):
            items = [{**item, DIGEST: d} for item, d in zip(items, digests or [UNKNOWN] * len(ids), strict=True)]
        with self._errors():
            self._client.upsert(self._beside(field), items)

    def require_addable(self, ids: Sequence[Id], n: int) -> None:
        """Do nothing: the collection of codes takes any key."""

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        """Add codes to their collection; the first collection does not change."""
        self.write(field, ids, vectors, digests)

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        """Delete these codes."""
        with self._errors():
            self._client.delete(self._beside(field), ids=list(ids))

    def old_versions(self, n: int) -> int:
        """Return 0: codes are stored apart from the items."""
        return 0

    def digests(self, field: str, ids: Sequence[Id]) -> list[int | None]:
        """Return the digest beside each code."""
        fields = [self._key, DIGEST] if self._has_digests(field) else [self._key]
        found = {item[self._key]: item.get(DIGEST, UNKNOWN) for item in self._get(self._beside(field), ids, fields)}
        return [found.get(key) for key in ids]

    def count_written(self, field: str) -> int:
        """Return the number of items that have a code."""
        return self._row_count(self._beside(field))

    def codes_alone(self, field: str, rows: int) -> Iterator[list[Id]]:
        """Yield the keys of codes whose item is not in the first collection, in blocks."""
        for block in self._blocks(self._beside(field), rows, [self._key]):
            ids = [item[self._key] for item in block]
            known = [False] * len(ids) if self.dense is None else self.known(ids)
            if alone := [key for key, is_known in zip(ids, known, strict=True) if not is_known]:
                yield alone

    def count_bare(self, field: str) -> int:
        """Return 0: each item of the first collection has a vector, and each of the second one a code."""
        return 0

    def read(self, field: str, ids: Sequence[Id]) -> list[Entries | None]:
        """Return the codes as stored, with split signs."""
        items = self._get(self._beside(field), ids, [self._key, CODE])
        codes = {item[self._key]: entries_of(item[CODE]) for item in items}
        return [codes.get(key) for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search by dot products of the stored codes, whose signs are split."""
        codes = [dict(zip(*entries, strict=True)) for entries in nonzero(vectors)]
        return self._search(self._beside(field), CODE, codes, top, "IP")

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search with the index of the collection."""
        return self._search(self._collection, dense_of(self), x.tolist(), top, "COSINE")

    def _search(self, collection: str, field: str, vectors: list[Any], top: int, metric: str) -> list[Found]:
        with self._errors():
            results = self._client.search(
                collection, vectors, anns_field=field, limit=top, search_params={"metric_type": metric}
            )
        return [Found([hit[self._key] for hit in hits], [float(hit["distance"]) for hit in hits]) for hits in results]

    def approximate_index(self, field: str) -> str | None:
        """Return the type of the index on the dense vectors, unless it is FLAT. The index on codes is exact."""
        if field != self.dense:
            return None
        with self._errors():
            names = self._client.list_indexes(self._collection, field)
            kinds = [self._client.describe_index(self._collection, name)["index_type"] for name in names]
        return next((f"{kind} index" for kind in kinds if kind != "FLAT"), None)

    def sizes(self, field: str) -> dict[str, int]:
        """Return no sizes: Milvus does not report them."""
        return {}

    def footprint(self) -> dict[str, int]:
        """Return no sizes: Milvus does not report them."""
        return {}

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        """Return how to drop the collection with the dense vectors."""
        size = 4 * self._d * self.count()
        return steps_of_milvus(self._collection, self._beside(field), self._others, self.dense, size)

    def close(self) -> None:
        """Close the connection; another process can open a Lite file after that."""
        self._client.close()
        release(self._at)


def release(at: str) -> None:
    """Stop the server of Milvus Lite in this process, which otherwise keeps its file locked."""
    if not at.startswith("http"):
        manager = require_package("milvus_lite.server_manager", "milvus", "Milvus Lite").server_manager_instance
        manager.release_server(at)
