"""What a user does after a push to save bytes and time: statements of each database, and what each changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compressae_ref.stores.contract import Step

MOST_INDEXED = 1_000
"""Maximum number of entries of a code in an HNSW index of pgvector."""

INDEX_BYTES = 320
"""Bytes of an item in an HNSW index with m = 16, besides its code: measured on 100,000 codes."""

ROW_BYTES = 32
"""Bytes of a row of PostgreSQL besides its values: header, pointer and alignment."""

FULL_ENOUGH = 1.3
"""A table of at most so many times its estimated bytes is not worth a rewrite."""


class Table(NamedTuple):
    """Facts about a table of PostgreSQL; names are quoted."""

    name: str
    field: str
    dense: str | None
    rows: int
    kept: int
    """bytes of the values of all columns but the dense one"""
    codes: int
    """bytes of the values of the codes"""
    longest: int
    """bytes of the longest code"""
    table: int
    """bytes on disk without indexes"""
    indexed: bool
    """whether the codes have an index"""
    dense_indexes: Sequence[tuple[str, int, str]]
    """indexes on the dense column: name, bytes and operator class"""


def steps_of_postgres(facts: Table, *, cosine: bool) -> list[Step]:
    """Return the statements from the index on the codes to the table without dense vectors."""
    steps = []
    if not facts.indexed and 0 < facts.longest <= 12 + 8 * MOST_INDEXED:
        operators = "sparsevec_cosine_ops" if cosine else "sparsevec_ip_ops"
        more = _about(facts.codes + INDEX_BYTES * facts.rows)
        effect = f"optional: approximate search by an index instead of an exact scan; takes {more} more"
        steps.append(Step(f"CREATE INDEX ON {facts.name} USING hnsw ({facts.field} {operators});", effect))
    for name, size, _ in facts.dense_indexes:
        steps.append(Step(f"DROP INDEX {name};", f"drops an index on the dense vectors; saves {size:,} bytes"))
    if facts.dense is not None:
        effect = "drops the dense vectors, which cannot be undone; saves nothing before the next statement"
        steps.append(Step(f"ALTER TABLE {facts.name} DROP COLUMN {facts.dense};", effect))
    left = facts.kept + ROW_BYTES * facts.rows
    if facts.dense is not None or facts.table > FULL_ENOUGH * left + (1 << 16):
        shrinks = _about(max(facts.table - left, 0))
        effect = f"rewrites the table and its indexes under a lock; the table shrinks by {shrinks}"
        steps.append(Step(f"VACUUM FULL {facts.name};", effect))
    return steps


def steps_of_edge(folder: str, dense: str | None, size: int) -> list[Step]:
    """Return the Python statement that drops the dense vectors of a shard."""
    if dense is None:
        return []
    words = [
        "from qdrant_edge import EdgeShard, UpdateOperation",
        f"shard = EdgeShard.load({folder!r})",
        f"shard.update(UpdateOperation.delete_vector_name({dense!r}))",
        "shard.optimize()",
        "shard.close()",
    ]
    effect = f"in Python: drops the dense vectors, which cannot be undone; saves {size:,} bytes, the payload stays"
    return [Step("; ".join(words), effect)]


def steps_of_qdrant(collection: str, dense: str | None, rows: int) -> list[Step]:
    """Return what drops the dense vectors of a collection; a vector without a name cannot be dropped."""
    if dense is None:
        return []
    if dense:
        effect = f"in Python: drops the dense vectors of {rows} points, which cannot be undone; the payload stays"
        return [Step(f"client.delete_vector_name({collection!r}, {dense!r})", effect)]
    effect = (
        "in Python: Qdrant cannot drop the only vector without a name; copies the points without it. Check the copy "
        "before you delete the collection, and let an alias with its name point to the copy"
    )
    return [Step(_copy_of_points(collection), effect)]


def _copy_of_points(collection: str) -> str:
    return f"""from qdrant_client import models
old, new, offset = {collection!r}, {collection + "_codes"!r}, None
params = client.get_collection(old).config.params
digests = {{name: models.VectorParams(size=3, distance="Dot") for name in params.sparse_vectors}}
digests = {{f"{{name}}_digest": vector for name, vector in digests.items()}}
client.create_collection(new, digests, sparse_vectors_config=params.sparse_vectors)
while True:
    points, offset = client.scroll(old, limit=1000, offset=offset, with_payload=True, with_vectors=True)
    points = [models.PointStruct(id=p.id, vector={{k: v for k, v in p.vector.items() if k}}, payload=p.payload)
              for p in points]
    client.upsert(new, points)
    if offset is None:
        break"""


def steps_of_milvus(collection: str, codes: str, others: Sequence[str], dense: str | None, size: int) -> list[Step]:
    """Return what frees the memory and the disk of the collection with the dense vectors."""
    if dense is None:
        return []
    return [
        Step(f"client.release_collection({collection!r})", "in Python: frees the memory of this collection"),
        Step(
            f"client.load_collection({collection!r}, load_fields={[*others]!r})",
            "in Python: optional: loads the other fields without the dense vectors, for queries by key",
        ),
        Step(
            f"client.drop_collection({collection!r})",
            f"in Python: drops the dense vectors AND the other fields, which cannot be undone: first "
            f"copy {', '.join(others)}; saves {_about(size)}. The codes stay in {codes!r}",
        ),
    ]


def _about(size: int) -> str:
    return f"about {size:,} bytes (estimate)"
