"""The collection that holds the codes of a collection of Milvus, and their digests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compressae_ref.optional import require_package
from compressae_ref.stores.contract import Entries

CODE = "code"
"""Name of the sparse field in the collection of codes."""

DIGEST = "digest"
"""Name of the field of digests there. Collections that older versions made have none."""

MOST_TEXT = 65_535
"""Maximum number of bytes of a string key."""


def types() -> Any:
    """Return the types of fields."""
    return require_package("pymilvus", "milvus", "Milvus").DataType


def create_codes(client: Any, name: str, key: str, key_type: Any) -> None:
    """Create an empty collection of codes and digests."""
    schema = client.create_schema(auto_id=False)
    limit = {"max_length": MOST_TEXT} if key_type == types().VARCHAR else {}
    schema.add_field(key, key_type, is_primary=True, **limit)
    schema.add_field(CODE, types().SPARSE_FLOAT_VECTOR)
    schema.add_field(DIGEST, types().INT64)
    index = client.prepare_index_params()
    index.add_index(CODE, metric_type="IP", index_type="SPARSE_INVERTED_INDEX")
    client.create_collection(name, schema=schema, index_params=index)


def collection_or_codes(client: Any, collection: str) -> str:
    """Return the collection or, if it was dropped, one with its codes, which has the same keys."""
    if client.has_collection(collection):
        return collection
    return next((f"{collection}_{field}" for field in fields_beside(client, collection)), collection)


def fields_beside(client: Any, collection: str) -> Iterator[str]:
    """Yield the names of the fields of codes: those of the collections ``COLLECTION_FIELD``, without COLLECTION_."""
    start = f"{collection}_"
    for name in sorted(client.list_collections()):
        if name.startswith(start) and has_field(client, name, CODE, types().SPARSE_FLOAT_VECTOR):
            yield name.removeprefix(start)


def has_field(client: Any, collection: str, field: str, kind: Any) -> bool:
    """Return whether a collection has a field of this name and type."""
    fields = client.describe_collection(collection)["fields"]
    return any((each["name"], each["type"]) == (field, kind) for each in fields)


def scalar_fields(fields: list[dict[str, Any]]) -> list[str]:
    """Return the names of the fields that are no vectors."""
    return [field["name"] for field in fields if not types()(field["type"]).name.endswith("VECTOR")]


def entries_of(code: dict[int, float]) -> Entries:
    """Return the ascending indices and the values of a sparse vector."""
    entries = sorted(code.items())
    return [index for index, _ in entries], [value for _, value in entries]
