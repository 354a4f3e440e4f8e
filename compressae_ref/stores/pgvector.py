"""PostgreSQL with pgvector: a table with a key and a column ``vector`` or ``halfvec``; codes go into a ``sparsevec``.

The new column is null until an item is pushed, so adding it is fast. Without an index the server scans all codes, and
search is exact. An HNSW index is approximate. PostgreSQL uses it only if its operator class matches the query:
``sparsevec_cosine_ops`` in the sparse space, ``sparsevec_ip_ops`` in the other spaces (`PgStore.build_index`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import (
    OPTIONS,
    Address,
    CodeRows,
    Entries,
    Found,
    Id,
    Rows,
    as_rows,
    checked,
    dense_of,
    nonzero,
    plain_id,
    without_password,
)
from compressae_ref.stores.digests import SUFFIX
from compressae_ref.stores.pg_table import DENSE_TYPES, MOST_NAME, PgTable, digest_column
from compressae_ref.stores.sparsevec import MOST_ENTRIES, as_binary, as_text, copied, from_binary

DEFAULT_EF, MOST_EF = 40, 1_000
"""Default and maximum of hnsw.ef_search."""


def open_at(address: Address) -> PgStore:
    """Open the table of an address; options that this package does not read are passed to libpq."""
    table = address.required("table", without_password(f"postgresql:{address.rest}"))
    libpq = {name: value for name, value in address.options.items() if name not in OPTIONS}
    uri = f"postgresql:{address.rest}" + (f"?{urlencode(libpq, quote_via=quote)}" if libpq else "")
    return PgStore(uri, table, address.option("id"), address.option("dense"))


class PgStore(PgTable):
    """A table (`contract.Store`)."""

    signed = True

    @property
    def fewer(self) -> str:
        """What limits the results of an HNSW index, and how to set it."""
        return f"an HNSW index returns at most hnsw.ef_search items, now {self._ef()}: {self._larger_ef()}"

    @property
    def accuracy(self) -> str:
        """How to raise the recall of an index."""
        return f"raise hnsw.ef_search, now {self._ef()}: {self._larger_ef()} (for ivfflat, raise ivfflat.probes)"

    def _ef(self) -> int:
        return int(self._run("SELECT current_setting('hnsw.ef_search', true)")[0][0] or DEFAULT_EF)

    def _larger_ef(self) -> str:
        return f"add options=-c%20hnsw.ef_search%3D{min(10 * self._ef(), MOST_EF)} to the address"

    def count(self) -> int:
        """Return the number of rows whose dense vector is not null, or of all rows if there is no dense column."""
        where = "" if self.dense is None else " WHERE {dense} IS NOT NULL"
        return int(self._run("SELECT count(*) FROM {table}" + where)[0][0])

    def known(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these keys exist."""
        query = f"SELECT {{key}} FROM {{table}} WHERE {{key}} = ANY(%s::{self._key_type}[])"
        found = {plain_id(key) for (key,) in self._run(query, list(ids))}
        return [key in found for key in ids]

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield rows in blocks by ascending key; each block is a separate query, so no lock is held between blocks."""
        dense_of(self)
        missing = "" if without is None else " AND {field} IS NULL"
        dtype = DENSE_TYPES[self._dense_type]
        for block in self._blocks("dense", missing, rows, **({} if without is None else {"field": without})):
            vectors = [np.frombuffer(content, dtype, offset=4) for _, content in block]
            yield as_rows([plain_id(key) for key, _ in block], vectors, self.name)

    def scroll_codes(self, field: str, rows: int) -> Iterator[CodeRows]:
        """Yield rows with a code in blocks by ascending key."""
        for block in self._blocks("field", "", rows, field=field):
            yield CodeRows([plain_id(key) for key, _ in block], [from_binary(code) for _, code in block])

    def _blocks(self, column: str, where: str, rows: int, **names: str) -> Iterator[list[Any]]:
        """Yield key and value of rows in which a column is not null."""
        query = f"SELECT {{key}}, {{{column}}} FROM {{table}} WHERE {{{column}}} IS NOT NULL{where}"
        last: tuple[Any, ...] = ()
        while True:
            after = " AND {key} > %s" if last else ""
            block = self._run(f"{query}{after} ORDER BY {{key}} LIMIT %s", *last, rows, **names)
            if not block:
                return
            yield block
            last = (block[-1][0],)

    def fields(self) -> list[str]:
        """Return the columns of type sparsevec."""
        return [name for name, kind in self._columns().items() if kind.startswith("sparsevec")]

    def has_field(self, field: str) -> bool:
        """Return whether the table has this column; raise StoreError if it is not a sparsevec."""
        kind = self._columns().get(field)
        if kind is not None and not kind.startswith("sparsevec"):
            raise StoreError(f"expected a sparsevec in the column {field!r}, got {kind}", path=self.name)
        return kind is not None

    def add_field(self, field: str, width: int) -> None:
        """Add columns of nulls for codes and digests, where they are missing."""
        if not self._run("SELECT 1 FROM pg_type WHERE typname = 'sparsevec'"):
            raise StoreError(
                "expected the type sparsevec of pgvector 0.7 or newer, got a database without it",
                path=self.name,
                hint="install or update the extension vector",
            )
        digest = digest_column(field)
        if not self.has_field(field):
            if digest is None:
                most = MOST_NAME - len(SUFFIX)
                raise StoreError(f"expected a field name of at most {most} bytes, got {field!r}", path=self.name)
            self._run(f"ALTER TABLE {{table}} ADD COLUMN IF NOT EXISTS {{field}} sparsevec({width:d})", field=field)
        if digest is not None and self._digest_of(field) is None:
            self._run("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {digest} bigint", digest=digest)

    def _digest_of(self, field: str) -> str | None:
        """Return the column of the digests if it exists."""
        name = digest_column(field)
        return name if name in self._columns() else None

    def drop_field(self, field: str) -> None:
        """Drop the columns."""
        digest = self._digest_of(field)
        more = "" if digest is None else ", DROP COLUMN {digest}"
        self._run("ALTER TABLE {table} DROP COLUMN {field}" + more, field=field, digest=digest or field)

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        """Copy the codes to a temporary table and update from it, in one transaction."""
        digest = self._digest_of(field)
        also = "" if digest is None else ", {digest} = new.digest"
        update = "UPDATE {table} AS item SET {field} = new.code" + also
        source = " FROM compressae_staged AS new WHERE item.{key} = new.id"
        self._from_staged(update + source, ids, vectors, digests, field=field, digest=digest or field)

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        """Insert rows of key, code and digest, in one transaction."""
        digest = self._digest_of(field)
        columns, values = ("", "") if digest is None else (", {digest}", ", digest")
        insert = "INSERT INTO {table} ({key}, {field}" + columns + ") SELECT id, code" + values
        source = " FROM compressae_staged"
        self._from_staged(insert + source, ids, vectors, digests, field=field, digest=digest or field)

    def _from_staged(
        self, statement: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None, **names: str
    ) -> None:
        """Run a statement that reads ids, codes and digests in the temporary table ``compressae_staged``."""
        checked(ids, vectors)
        if vectors.k > MOST_ENTRIES:
            raise StoreError(f"expected at most {MOST_ENTRIES} entries in a sparsevec, got {vectors.k}", path=self.name)
        codes = (as_binary(*entries, vectors.n_latents) for entries in nonzero(vectors))
        hashes = [None] * len(ids) if digests is None else [digest.to_bytes(8, "big") for digest in digests]
        rows = zip(map(self._key_bytes, ids), codes, hashes, strict=True)
        staged = (
            f"CREATE TEMP TABLE compressae_staged (id {self._key_type}, code sparsevec, digest bigint) ON COMMIT DROP"
        )
        with self._errors(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(staged)
            with cursor.copy("COPY compressae_staged FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(copied(rows))
            cursor.execute("ANALYZE compressae_staged")
            cursor.execute(self._filled(statement, names), ())

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        """Set these codes and their digests to null."""
        digest = self._digest_of(field)
        also = "" if digest is None else ", {digest} = NULL"
        query = "UPDATE {table} SET {field} = NULL" + also + f" WHERE {{key}} = ANY(%s::{self._key_type}[])"
        self._run(query, list(ids), field=field, digest=digest or field)

    def digests(self, field: str, ids: Sequence[Id]) -> list[int | None]:
        """Return the digest beside each code."""
        digest = self._digest_of(field)
        value = "0" if digest is None else "coalesce({digest}, 0)"
        query = (
            "SELECT {key}, " + value + " FROM {table} "
            f"WHERE {{field}} IS NOT NULL AND {{key}} = ANY(%s::{self._key_type}[])"
        )
        found = {
            plain_id(key): value for key, value in self._run(query, list(ids), field=field, digest=digest or field)
        }
        return [found.get(key) for key in ids]

    def count_written(self, field: str) -> int:
        """Return the number of rows whose code is not null."""
        return int(self._run("SELECT count({field}) FROM {table}", field=field)[0][0])

    def codes_alone(self, field: str, rows: int) -> Iterator[list[Id]]:
        """Yield the keys of rows with a code and without a vector, in blocks by ascending key."""
        where = " AND {field} IS NOT NULL" + ("" if self.dense is None else " AND {dense} IS NULL")
        for block in self._blocks("key", where, rows, field=field):
            yield [plain_id(key) for key, _ in block]

    def count_bare(self, field: str) -> int:
        """Return the number of rows in which the vector and the code are null."""
        columns = [] if self.dense is None else ["{dense} IS NULL"]
        columns += ["{field} IS NULL"] if self.has_field(field) else []
        where = " AND ".join(columns) or "true"
        return int(self._run(f"SELECT count(*) FROM {{table}} WHERE {where}", field=field)[0][0])

    def read(self, field: str, ids: Sequence[Id]) -> list[Entries | None]:
        """Return the codes as stored."""
        query = f"SELECT {{key}}, {{field}} FROM {{table}} WHERE {{key}} = ANY(%s::{self._key_type}[])"
        codes = {plain_id(key): code for key, code in self._run(query, list(ids), field=field)}
        return [None if codes.get(key) is None else from_binary(codes[key]) for key in ids]

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Search by ``<=>`` if ``cosine``, else by ``<#>``; PostgreSQL uses an index of that operator, if any."""
        distance, score = ("<=>", "1 - distance") if cosine else ("<#>", "-distance")
        query = self._best(f"{{field}} {distance} %s::text::sparsevec", score, "{field} IS NOT NULL")
        literals = (as_text(*entries, vectors.n_latents) for entries in nonzero(vectors))
        return self._searched(query, field, literals, top, field=field)

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Search by ``<=>``, with an index if one exists."""
        dense = dense_of(self)
        query = self._best(f"{{dense}} <=> %s::text::{self._dense_type}", "1 - distance", "{dense} IS NOT NULL")
        literals = (f"[{','.join(map(repr, row))}]" for row in x.tolist())
        return self._searched(query, dense, literals, top)

    def _searched(self, query: str, column: str, literals: Iterable[str], top: int, **names: str) -> list[Found]:
        """Return the results of each query vector, and keep the last statement for `approximate_index`."""
        found = []
        for literal in literals:
            found.append(_found(self._run(query, literal, literal, top, **names)))
            self._searches[column] = (query, (literal, literal, top), names)
        return found

    def approximate_index(self, field: str) -> str | None:
        """Return the index of pgvector that PostgreSQL plans to use for the last statement."""
        if field not in self._searches:
            return None
        query, values, names = self._searches[field]
        plan = str(self._run(f"EXPLAIN (FORMAT JSON) {query}", *values, **names))
        used = (f"{kind} index {name}" for name, kind in self._approximate() if f"'Index Name': {name!r}" in plan)
        return next(used, None)

    def _approximate(self) -> list[tuple[str, str]]:
        """Return the names and the kinds of the approximate indexes of the table."""
        return self._run(
            "SELECT relname::text, amname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "JOIN pg_am ON pg_am.oid = relam WHERE indrelid = {relation}::regclass AND amname IN ('hnsw', 'ivfflat')"
        )

    def _best(self, distance: str, score: str, where: str) -> str:
        """Return the SQL that orders rows by distance, for which an index may be used, and then by key."""
        inner = (
            f"SELECT {{key}} AS id, {distance} AS distance FROM {{table}} WHERE {where} ORDER BY {distance} LIMIT %s"
        )
        return f"SELECT id, {score} FROM ({inner}) AS best ORDER BY distance, id"

    def build_index(self, field: str, *, cosine: bool, m: int = 16, ef_construction: int = 64) -> None:
        """Build an HNSW index on the codes: approximate, faster on many items, at most 1,000 entries per code."""
        operators = "sparsevec_cosine_ops" if cosine else "sparsevec_ip_ops"
        settings = f"(m = {m:d}, ef_construction = {ef_construction:d})"
        self._run(f"CREATE INDEX ON {{table}} USING hnsw ({{field}} {operators}) WITH {settings}", field=field)


def _found(rows: list[Any]) -> Found:
    return Found([plain_id(key) for key, _ in rows], [float(score) for _, score in rows])
