"""Tables of a PostgreSQL server that hold the same items in several forms, and the SQL that searches them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.stores.contract import nonzero
from compressae_ref.stores.sparsevec import as_binary, as_text, copied

TOP = 100


class Tables:
    """Create and measure tables with a column ``id``. Names and types are ours, so they are not quoted."""

    def __init__(self, connection: Any, n: int) -> None:
        self._connection, self.n = connection, n
        self.built: dict[str, float] = {}
        """seconds that the index of a table took"""
        self.run("SET maintenance_work_mem = '2GB'")  # else a large HNSW graph does not fit, and its build slows down

    def run(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        cursor = self._connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def copy(self, table: str, column: str, kind: str, values: Iterable[bytes]) -> None:
        """Create a table with one column besides the id, from values in binary form."""
        self.run(f"CREATE TABLE {table} (id bigint, {column} {kind})")
        rows = ((row.to_bytes(8, "big"), value) for row, value in enumerate(values))
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copied(rows))
        self._settled(table)

    def derive(self, table: str, query: str, *, plain: str = "", index: str = "") -> None:
        """Create a table from a query, with ``plain`` columns neither compressed nor shortened, and with an index."""
        self.run(f"CREATE TABLE {table} AS {query} LIMIT 0")
        if plain:
            self.run(f"ALTER TABLE {table} ALTER {plain} SET STORAGE PLAIN")
        self.run(f"INSERT INTO {table} {query}")
        self._settled(table)
        if index:
            started = time.perf_counter()
            self.run(f"CREATE INDEX {table}_index ON {table} USING {index}")
            self.built[table] = time.perf_counter() - started
            self.run(f"VACUUM ANALYZE {table}")

    def inverted(self, table: str, codes: Codes) -> None:
        """Create a table with a row for each entry of each code, in the order of the latents."""
        self.run(f"CREATE TABLE {table} (latent smallint, id integer, value real)")
        entries = [np.repeat(np.arange(len(codes)), codes.k), codes.indices.ravel(), codes.values.ravel()]
        rows = zip(*(part[np.argsort(entries[1], kind="stable")].tolist() for part in entries), strict=True)
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} (id, latent, value) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        started = time.perf_counter()
        self.run(f"CREATE INDEX {table}_index ON {table} (latent) INCLUDE (id, value)")
        self.built[table] = time.perf_counter() - started
        self.run(f"VACUUM ANALYZE {table}")

    def _settled(self, table: str) -> None:
        self.run(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        self.run(f"VACUUM (FULL, ANALYZE) {table}")

    def sizes(self, table: str) -> tuple[float, float, float | None]:
        """Return bytes per item: of all values but the id, of the table with its headers, and of the index."""
        columns = self.run(
            "SELECT attname FROM pg_attribute "
            f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND attname NOT IN ('id', 'latent')"
        )
        values = " + ".join(f"sum(pg_column_size({name}))" for (name,) in columns)
        index = self.run(f"SELECT pg_relation_size('{table}_index')")[0][0] if table in self.built else None
        stored, whole = self.run(f"SELECT ({values})::bigint, pg_table_size('{table}') FROM {table}")[0]
        return stored / self.n, whole / self.n, None if index is None else index / self.n


# -- binary and text forms of values ----------------------------------------------------------------------------------


def vectors(x: np.ndarray) -> Iterator[bytes]:
    """Yield the binary form of type ``vector`` of rows: the number of dimensions and 0 as int16, then float32."""
    head = struct.pack(">hh", x.shape[1], 0)
    return (head + row.tobytes() for row in x.astype(">f4"))


def bits(x: np.ndarray) -> Iterator[bytes]:
    """Yield the binary form of type ``bit`` of the signs of rows: their number as int32, then the bits."""
    head = struct.pack(">i", x.shape[1])
    return (head + row.tobytes() for row in np.packbits(x > 0, axis=1))


def bit_strings(x: np.ndarray) -> list[str]:
    """Return the text form of the signs of rows."""
    return ["".join(row) for row in np.where(x > 0, "1", "0").tolist()]


def sparsevecs(codes: Codes) -> list[bytes]:
    """Return the binary form of codes."""
    return [as_binary(*entries, codes.n_latents) for entries in nonzero(codes)]


def entries_of(codes: Codes) -> tuple[list[list[int]], list[list[float]]]:
    """Return the latents and the values of each code."""
    latents, values = zip(*nonzero(codes), strict=True)
    return [list(each) for each in latents], [list(each) for each in values]


class Sparsevec(bytes):
    """The binary form of a ``sparsevec`` as a parameter."""


def register_binary(connection: Any) -> None:
    """Let a connection send `Sparsevec` in binary form."""
    from psycopg import pq
    from psycopg.adapt import Dumper
    from psycopg.types import TypeInfo

    class SparsevecDumper(Dumper):
        format = pq.Format.BINARY
        oid = TypeInfo.fetch(connection, "sparsevec").oid

        def dump(self, obj: Sparsevec) -> bytes:
            return bytes(obj)

    connection.adapters.register_dumper(Sparsevec, SparsevecDumper)


def literals(codes: Codes) -> list[str]:
    """Return the text form of codes."""
    return [as_text(*entries, codes.n_latents) for entries in nonzero(codes)]


# -- the SQL ----------------------------------------------------------------------------------------------------------


def nearest(table: str, distance: str) -> str:
    """Return the SQL for the ids and distances of the nearest items."""
    # The distance is named and not repeated: PostgreSQL would compute it twice for each row.
    return f"SELECT id, {distance} AS distance FROM {table} ORDER BY distance LIMIT {TOP}"


def reranked(table: str, first: str, candidates: int, distance: str, column: str = "code") -> str:
    """Return the SQL that takes the nearest candidates by one distance and orders them by another."""
    near = f"SELECT id, {column} FROM {table} ORDER BY {first} LIMIT {candidates}"
    return f"WITH near AS MATERIALIZED ({near}) {nearest('near', distance)}"


def summed(table: str) -> str:
    """Return the SQL for the best items by an inverted table (latent, id, value), as negative dot products."""
    query = "unnest(%(latents)s::smallint[], %(values)s::real[]) AS query (latent, value)"
    total = f"SELECT id, -sum(entry.value * query.value) AS distance FROM {query} JOIN {table} AS entry USING (latent)"
    return f"{total} GROUP BY id ORDER BY distance LIMIT {TOP}"
