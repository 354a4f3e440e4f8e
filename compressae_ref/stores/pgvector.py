"""PostgreSQL with pgvector: a table with a key and a column ``vector`` or ``halfvec``; codes go into a ``sparsevec``.

The new column is null until an item is pushed, so adding it is fast. Without an index the server scans all codes, and
search is exact. An HNSW index is approximate. PostgreSQL uses it only if its operator class matches the query:
``sparsevec_cosine_ops`` in the sparse space, ``sparsevec_ip_ops`` in the other spaces (`PgStore.build_index`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.optional import require_package
from compressae_ref.stores.contract import (
    OPTIONS,
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
    without_password,
)
from compressae_ref.stores.sparsevec import MOST_ENTRIES, as_binary, as_text, copied, from_binary

DENSE_TYPES = {"vector": ">f4", "halfvec": ">f2"}
"""Types of dense columns, and the dtype of their binary form."""

ID_TYPES = ("smallint", "integer", "bigint", "text", "character varying", "uuid")
"""Types of keys that can be read as integers or strings."""


def open_at(address: Address) -> PgStore:
    """Open the table of an address; options that this package does not read are passed to libpq."""
    table = address.required("table", without_password(f"postgresql:{address.rest}"))
    libpq = {name: value for name, value in address.options.items() if name not in OPTIONS}
    uri = f"postgresql:{address.rest}" + (f"?{urlencode(libpq)}" if libpq else "")
    return PgStore(uri, table, address.option("id"), address.option("dense"))


class PgStore:
    """A table (`contract.Store`)."""

    signed = True

    def __init__(self, uri: str, table: str, key: str | None = None, dense: str | None = None) -> None:
        self._psycopg = require_package("psycopg", "pgvector", "PostgreSQL")
        self._sql = require_package("psycopg.sql", "pgvector", "PostgreSQL")
        self.name = f"{without_password(uri)} table {table}"
        self._table = self._sql.Identifier(*table.split("."))
        self._names: dict[str, str] = {}
        with self._errors():
            self._connection = self._psycopg.connect(uri, autocommit=True)
        try:
            self._inspect(key, dense)
        except BaseException:
            self.close()
            raise

    def _inspect(self, key: str | None, dense: str | None) -> None:
        """Find the key column and the dense column of the table."""
        self._run("SET lock_timeout = '10s'")  # fail instead of blocking the queries that queue behind ours
        columns = self._columns()
        keys = [key] if key is not None else self._primary_key()
        if len(keys) != 1 or _base(columns.get(keys[0])) not in ID_TYPES:
            types = [f"{name} {columns[name]}" if name in columns else f"no column {name!r}" for name in keys]
            raise StoreError(
                f"expected a key of one column ({', '.join(ID_TYPES)}), got {', '.join(types) or 'no primary key'}",
                path=self.name,
                hint="choose a column with ?id=COLUMN",
            )
        self._key_type = _base(columns[keys[0]])
        denses = [name for name, kind in columns.items() if _base(kind) in DENSE_TYPES]
        self._names = {"key": keys[0], "dense": chosen_field(denses, dense, self.name)}
        self._dense_type = _base(columns[self._names["dense"]])

    @property
    def exact(self) -> bool:
        """Whether no column of codes has an approximate index."""
        return not self._run(
            "SELECT 1 FROM pg_index JOIN pg_opclass ON pg_opclass.oid = ANY(indclass::oid[]) "
            "WHERE indrelid = {relation}::regclass AND opcname LIKE 'sparsevec%%'"
        )

    # -- the SQL ------------------------------------------------------------------------------------------------------

    def _errors(self) -> Any:
        return engine_errors(self.name, self._psycopg.Error)

    def _run(self, query: str, *values: Any, **names: str) -> list[Any]:
        """Return the rows of a statement; {table}, {key}, {dense} and ``names`` are replaced by identifiers."""
        with self._errors():
            cursor = self._connection.cursor(binary=True).execute(self._filled(query, names), values)
            return cursor.fetchall() if cursor.description else []

    def _filled(self, query: str, names: dict[str, str]) -> Any:
        sql = self._sql
        parts = {name: sql.Identifier(value) for name, value in {**self._names, **names}.items()}
        parts |= {"table": self._table, "relation": sql.Literal(self._table.as_string(None))}
        escaped = {name: sql.SQL(part.as_string(None).replace("%", "%%")) for name, part in parts.items()}
        return sql.SQL(query).format(**escaped)

    def _columns(self) -> dict[str, str]:
        query = (
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = {relation}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return dict(self._run(query))

    def _primary_key(self) -> list[str]:
        query = (
            "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
            "WHERE indrelid = {relation}::regclass AND indisprimary"
        )
        return [name for (name,) in self._run(query)]

    # -- the contract -------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return the number of rows whose dense vector is not null."""
        return int(self._run("SELECT count(*) FROM {table} WHERE {dense} IS NOT NULL")[0][0])

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield rows in blocks by ascending key; each block is a separate query, so no lock is held between blocks."""
        missing = " AND {field} IS NULL" if without is not None else ""
        query = (
            "SELECT {key}, {dense} FROM {table} WHERE {dense} IS NOT NULL" + missing + "{after} ORDER BY {key} LIMIT %s"
        )
        last: tuple[Any, ...] = ()
        while True:
            after = " AND {key} > %s" if last else ""
            block = self._run(query.replace("{after}", after), *last, rows, **({"field": without} if without else {}))
            if not block:
                return
            vectors = [np.frombuffer(content, DENSE_TYPES[self._dense_type], offset=4) for _, content in block]
            yield as_rows([plain_id(key) for key, _ in block], vectors, self.name)
            last = (block[-1][0],)

    def has_field(self, field: str) -> bool:
        """Return whether the table has this column; raise StoreError if it is not a sparsevec."""
        kind = self._columns().get(field)
        if kind is not None and not kind.startswith("sparsevec"):
            raise StoreError(f"expected a sparsevec in the column {field!r}, got {kind}", path=self.name)
        return kind is not None

    def add_field(self, field: str, width: int) -> None:
        """Add a column of nulls."""
        if not self._run("SELECT 1 FROM pg_type WHERE typname = 'sparsevec'"):
            raise StoreError(
                "expected the type sparsevec of pgvector 0.7 or newer, got a database without it",
                path=self.name,
                hint="install or update the extension vector",
            )
        self._run(f"ALTER TABLE {{table}} ADD COLUMN IF NOT EXISTS {{field}} sparsevec({width:d})", field=field)

    def drop_field(self, field: str) -> None:
        """Drop the column."""
        self._run("ALTER TABLE {table} DROP COLUMN {field}", field=field)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Copy the codes to a temporary table and update from it, in one transaction."""
        checked(ids, vectors)
        if vectors.k > MOST_ENTRIES:
            raise StoreError(f"expected at most {MOST_ENTRIES} entries in a sparsevec, got {vectors.k}", path=self.name)
        codes = (as_binary(*entries, vectors.n_latents) for entries in nonzero(vectors))
        rows = zip(map(self._key_bytes, ids), codes, strict=True)
        staged = f"CREATE TEMP TABLE compressae_staged (id {self._key_type}, code sparsevec) ON COMMIT DROP"
        update = "UPDATE {table} AS item SET {field} = new.code FROM compressae_staged AS new WHERE item.{key} = new.id"
        with self._errors(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(staged)
            with cursor.copy("COPY compressae_staged FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(copied(rows))
            cursor.execute("ANALYZE compressae_staged")
            cursor.execute(self._filled(update, {"field": field}), ())

    def _key_bytes(self, key: Id) -> bytes:
        """Return a key in PostgreSQL's binary format."""
        if isinstance(key, int):
            return key.to_bytes({"smallint": 2, "integer": 4, "bigint": 8}[self._key_type], "big", signed=True)
        return bytes.fromhex(key.replace("-", "")) if self._key_type == "uuid" else key.encode()

    def count_written(self, field: str) -> int:
        """Return the number of rows whose dense vector and code are not null."""
        query = "SELECT count(*) FROM {table} WHERE {dense} IS NOT NULL AND {field} IS NOT NULL"
        return int(self._run(query, field=field)[0][0])

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Return the codes as stored."""
        query = f"SELECT {{key}}, {{field}} FROM {{table}} WHERE {{key}} = ANY(%s::{self._key_type}[])"
        codes = {plain_id(key): code for key, code in self._run(query, list(ids), field=field)}
        return [None if codes.get(key) is None else from_binary(codes[key]) for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search by ``<=>`` if ``cosine``, else by ``<#>``; PostgreSQL uses an index of that operator, if any."""
        distance, score = ("<=>", "1 - distance") if cosine else ("<#>", "-distance")
        query = self._best(f"{{field}} {distance} %s::text::sparsevec", score, "{field} IS NOT NULL")
        literals = (as_text(*entries, vectors.n_latents) for entries in nonzero(vectors))
        return [_found(self._run(query, literal, literal, top, field=field)) for literal in literals]

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search by ``<=>``, with an index if one exists."""
        query = self._best(f"{{dense}} <=> %s::text::{self._dense_type}", "1 - distance", "{dense} IS NOT NULL")
        literals = (f"[{','.join(map(repr, row))}]" for row in x.tolist())
        return [_found(self._run(query, literal, literal, top)) for literal in literals]

    def _best(self, distance: str, score: str, where: str) -> str:
        """Return the SQL that orders rows by distance, for which an index may be used, and then by key."""
        inner = (
            f"SELECT {{key}} AS id, {distance} AS distance FROM {{table}} WHERE {where} ORDER BY {distance} LIMIT %s"
        )
        return f"SELECT id, {score} FROM ({inner}) AS best ORDER BY distance, id"

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes of the stored values of both columns and of the indexes on the codes."""
        query = "SELECT sum(pg_column_size({dense}))::bigint, sum(pg_column_size({field}))::bigint FROM {table}"
        (dense, codes), *_ = self._run(query, field=field)
        query = (
            "SELECT sum(pg_relation_size(indexrelid))::bigint FROM pg_index JOIN pg_attribute "
            "ON attrelid = indrelid AND attnum = ANY(indkey) WHERE indrelid = {relation}::regclass AND attname = %s"
        )
        index = self._run(query, field)[0][0]
        return {"dense": dense or 0, "codes": codes or 0} | ({} if index is None else {"index": index})

    def build_index(self, field: str, *, cosine: bool, m: int = 16, ef_construction: int = 64) -> None:
        """Build an HNSW index on the codes: approximate, faster on many items, at most 1,000 entries per code."""
        operators = "sparsevec_cosine_ops" if cosine else "sparsevec_ip_ops"
        settings = f"(m = {m:d}, ef_construction = {ef_construction:d})"
        self._run(f"CREATE INDEX ON {{table}} USING hnsw ({{field}} {operators}) WITH {settings}", field=field)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _base(kind: str | None) -> str:
    """Return the name of a type without its size."""
    return (kind or "").partition("(")[0]


def _found(rows: list[Any]) -> Found:
    return Found([plain_id(key) for key, _ in rows], [float(score) for _, score in rows])
