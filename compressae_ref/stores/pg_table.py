"""A table of PostgreSQL: the connection, its statements, its columns, and the bytes that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from compressae_ref.errors import StoreError
from compressae_ref.optional import require_package
from compressae_ref.stores.contract import (
    NOTHING,
    Id,
    Planned,
    Step,
    chosen_field,
    engine_errors,
    listed,
    without_password,
)
from compressae_ref.stores.digests import SUFFIX
from compressae_ref.stores.next_steps import ROW_BYTES, Table, steps_of_postgres

DENSE_TYPES = {"vector": ">f4", "halfvec": ">f2"}
"""Types of dense columns, and the dtype of their binary form."""

ID_TYPES = ("smallint", "integer", "bigint", "text", "character varying", "uuid")
"""Types of keys that can be read as integers or strings."""

INTEGERS = {"smallint": 2, "integer": 4, "bigint": 8}
"""Bytes of the keys that are integers."""

DIGEST_BYTES = 8
"""Bytes of a digest."""

PAGE = 8192
"""Bytes of a page, which holds whole rows."""

MOST_NAME = 63
"""Bytes of a name. PostgreSQL would cut a longer one."""


class PgTable:
    """The part of `pgvector.PgStore` that knows the table, but not its codes."""

    dense: str | None

    def __init__(self, uri: str, table: str, key: str | None = None, dense: str | None = None) -> None:
        self._psycopg = require_package("psycopg", "pgvector", "PostgreSQL")
        self._sql = require_package("psycopg.sql", "pgvector", "PostgreSQL")
        self.name = f"{without_password(uri)} table {table}"
        self._table = self._sql.Identifier(*table.split("."))
        self._names: dict[str, str] = {}
        self._searches: dict[str, tuple[str, tuple[Any, ...], dict[str, str]]] = {}
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
        self.dense = chosen_field(denses, dense, self.name)
        self._names = {"key": keys[0]} | ({} if self.dense is None else {"dense": self.dense})
        self._dense_type = _base(columns.get(self.dense or ""))

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

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _key_bytes(self, key: Id) -> bytes:
        """Return a key in PostgreSQL's binary format."""
        if isinstance(key, int):
            return key.to_bytes(INTEGERS[self._key_type], "big", signed=True)
        return bytes.fromhex(key.replace("-", "")) if self._key_type == "uuid" else key.encode()

    @property
    def id_type(self) -> str:
        """The type of the key column."""
        return "uuid in lower case" if self._key_type == "uuid" else self._key_type

    def holds(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these ids can be keys, as PostgreSQL writes them."""
        size = INTEGERS.get(self._key_type)
        if size is not None:
            most = 1 << 8 * size - 1
            return [isinstance(key, int) and -most <= key < most for key in ids]
        return [isinstance(key, str) and (self._key_type != "uuid" or _is_uuid(key)) for key in ids]

    def require_addable(self, ids: Sequence[Id], n: int) -> None:
        """Raise StoreError if a row cannot consist of key and code, and say what to type."""
        needed = self._needed()
        if not needed or not ids:
            return
        columns = ", ".join(f"{name!r} {kind} NOT NULL" for name, kind in needed.items())
        names = ", ".join(self._quoted(name) for name in [*dict.fromkeys([self._names["key"], *needed])])
        values = ", ".join([self._literal(ids[0]), *("..." for name in needed if name != self._names["key"])])
        raise StoreError(
            f"expected ids of existing rows, because new rows need {columns}; got {n:,} new: {listed(ids, n)}",
            path=self.name,
            hint=f"insert these rows first: INSERT INTO {self._table.as_string(None)} ({names}) VALUES ({values})",
        )

    def _needed(self) -> dict[str, str]:
        """Return names and types of the columns without which a row of key and code cannot be inserted."""
        query = (
            "SELECT attname::text, format_type(atttypid, atttypmod) || CASE WHEN attidentity = 'a' THEN "
            "' GENERATED ALWAYS' ELSE '' END FROM pg_attribute WHERE attrelid = {relation}::regclass AND attnum > 0 "
            "AND NOT attisdropped AND (attidentity = 'a' AND attname = %s OR attnotnull AND NOT atthasdef "
            "AND attidentity = '' AND attname <> %s) ORDER BY attnum"
        )
        return dict(self._run(query, self._names["key"], self._names["key"]))

    def _quoted(self, name: str) -> str:
        return str(self._sql.Identifier(name).as_string(None))

    def _literal(self, value: Id) -> str:
        return str(self._sql.Literal(value).as_string(None))

    # -- bytes --------------------------------------------------------------------------------------------------------

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes of the stored values of both columns and of the indexes on the codes."""
        columns = {"codes": field} if self.dense is None else {"dense": self.dense, "codes": field}
        sums = ", ".join(f"sum(pg_column_size({{{name}}}))::bigint" for name in columns)
        found = self._run(f"SELECT {sums} FROM {{table}}", **columns)[0]
        indexes = self._indexes(field)
        sizes = {name: size or 0 for name, size in zip(columns, found, strict=True)}
        return sizes | ({"index": sum(size for _, size, _ in indexes)} if indexes else {})

    def _indexes(self, column: str) -> list[tuple[str, int, str]]:
        """Return the indexes on a column: quoted name with schema, bytes, and operator class."""
        query = (
            "SELECT indexrelid, format('%%I.%%I', nspname, relname), pg_relation_size(indexrelid), opcname::text "
            "FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
            "JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "JOIN pg_opclass ON pg_opclass.oid = indclass[0] "
            "WHERE indrelid = {relation}::regclass AND attname = %s ORDER BY 2"
        )
        return [(name, size, operators) for _, name, size, operators in self._run(query, column)]

    def footprint(self) -> dict[str, int]:
        """Return the bytes on disk of the table, of its indexes and of its long values, and the number of dead rows."""
        if self._run("SELECT to_regproc('pg_stat_force_next_flush')")[0][0]:
            self._run("SELECT pg_stat_force_next_flush()")
        query = (
            "SELECT pg_total_relation_size(oid), pg_table_size(oid), pg_indexes_size(oid), "
            "CASE WHEN reltoastrelid = 0 THEN 0 ELSE pg_total_relation_size(reltoastrelid) END, "
            "coalesce(pg_stat_get_dead_tuples(oid), 0) FROM pg_class WHERE oid = {relation}::regclass"
        )
        return dict(zip(("total", "table", "indexes", "toast", "dead rows"), self._run(query)[0], strict=True))

    def old_versions(self, n: int) -> int:
        """Return about the bytes of n rows on disk: PostgreSQL writes an updated row anew and keeps the old version.

        The table also holds dead rows and free space of earlier updates, so a row takes at most what its values need.
        Long values are stored apart and not written anew, so a row takes at most its share of the table.
        """
        rows, values = self._values([*self._columns()])
        size = self._run("SELECT pg_relation_size({relation}::regclass)")[0][0]
        share = size / max(rows + self.footprint()["dead rows"], 1)
        needed = PAGE / max(PAGE // (values / max(rows, 1) + ROW_BYTES), 1)
        return int(n * min(share, needed))

    def _values(self, columns: Sequence[str]) -> tuple[int, int]:
        """Return the number of rows, and the bytes of the values in these columns."""
        names = {f"column{number}": name for number, name in enumerate(columns)}
        values = " + ".join(f"coalesce(sum(pg_column_size({{{name}}})), 0)" for name in names)
        rows, size = self._run(f"SELECT count(*), ({values})::bigint FROM {{table}}", **names)[0]
        return rows, size

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        """Return the statements that build an index on the codes, drop the dense column, and free its bytes."""
        existing = self._columns()
        rows, kept = self._values([name for name in existing if name != self.dense])
        sizes = self.sizes(field) if field in existing else {"codes": 0}
        codes = sizes["codes"] + planned.size * (planned.codes + planned.new)
        more = (planned.size + DIGEST_BYTES) * (planned.codes + planned.new)
        return steps_of_postgres(
            Table(
                name=self._table.as_string(None),
                field=self._quoted(field),
                dense=None if self.dense is None else self._quoted(self.dense),
                rows=rows + planned.new,
                kept=kept + more,
                codes=codes,
                longest=max(self._longest(field) if field in existing else 0, planned.size),
                table=self.footprint()["table"] + self.old_versions(planned.codes) + more,
                indexed="index" in sizes,
                dense_indexes=[] if self.dense is None else self._indexes(self.dense),
            ),
            cosine=cosine,
        )

    def _longest(self, field: str) -> int:
        return self._run("SELECT max(pg_column_size({field})) FROM {table}", field=field)[0][0] or 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _base(kind: str | None) -> str:
    """Return the name of a type without its size."""
    return (kind or "").partition("(")[0]


def _is_uuid(key: str) -> bool:
    with suppress(ValueError):
        return str(UUID(key)) == key
    return False


def digest_column(field: str) -> str | None:
    """Return the column of the digests beside a column of codes, or None if its name would be too long."""
    name = field + SUFFIX
    return name if len(name.encode()) <= MOST_NAME else None
