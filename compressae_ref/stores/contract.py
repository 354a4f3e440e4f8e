"""What every store can do, and how one is named on the command line.

A store is a collection, or a table, in a vector database. Its dense vectors stay as they are; codes go into a sparse
field beside them. Each adapter checks what its engine does not, and is the only place that knows the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, StoreError
from compressae_ref.item_ids import reject_repeated

ROWS = 2048
"""Items that are read, encoded and written together."""

Id = int | str


class Found(NamedTuple):
    """The best items of one query, best first; fewer than were asked for where the engine finds fewer."""

    ids: list[Id]
    scores: list[float]


class Rows(NamedTuple):
    """Some items of a store."""

    ids: list[Id]
    x: Floats
    """(n, d) their dense vectors"""


class Store(Protocol):
    """A collection of items with dense vectors, and perhaps with codes.

    Sparse vectors are compared by their dot; `serving` makes of it the cosine of any space. ``field`` is the name of a
    sparse field.
    """

    name: str
    """for messages: as on the command line, without a password"""
    signed: bool
    """whether it takes negative values; codes are written with split signs where it does not"""
    exact: bool
    """whether it finds the best items of all, and not only most of them"""

    def count(self) -> int:
        """Items that have a dense vector."""

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """All items with a dense vector, by ascending id, in blocks; only those without a code in ``without``."""

    def has_field(self, field: str) -> bool:
        """Whether there is such a sparse field."""

    def add_field(self, field: str, width: int) -> None:
        """Make a sparse field of so many dimensions; nothing happens to what is there."""

    def drop_field(self, field: str) -> None:
        """Take a sparse field away, and all that is in it."""

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Give items their sparse vectors: all of them, or after an error none."""

    def count_written(self, field: str) -> int:
        """Items that have a sparse vector in this field."""

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Indices, ascending, and values of these items, or None for one without."""

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """The items whose sparse vectors have the largest dots with each of these; ``cosine``: all of them are unit."""

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """The items whose dense vectors have the largest cosines with each row."""

    def sizes(self, field: str) -> dict[str, int]:
        """Bytes on disk of the dense vectors, of the sparse field and, where it is apart, of its index."""

    def close(self) -> None:
        """Let go of it; what was written stays."""


class Address(NamedTuple):
    """Where a store is: ``scheme:rest?name=value&...``."""

    scheme: str
    rest: str
    """all between the scheme and the options"""
    options: dict[str, str]

    def option(self, name: str, default: str | None = None) -> str | None:
        """An option, or its default."""
        return self.options.get(name, default)


ADAPTERS = {
    "edge": ("qdrant_edge", "edge:FOLDER: a shard of Qdrant Edge"),
    "qdrant": ("qdrant_server", "qdrant://HOST:PORT/COLLECTION"),
    "postgresql": ("pgvector", "postgresql://HOST/DATABASE?table=TABLE"),
    "milvus": ("milvus", "milvus:FILE?collection=COLLECTION or milvus://HOST:PORT?collection=COLLECTION"),
}
"""Module and form of each kind of store."""

OPTIONS = ("dense", "id", "table", "collection")
"""Options of an address; all others go to the engine."""


def open_store(address: str) -> Store:
    """The store at an address such as ``edge:shard?dense=embedding``.

    Raises
    ------
    DomainError
        For an address of no known kind. StoreError for a store that is not there, or without dense vectors.
    BackendError
        If the package that talks to it is not installed.
    """
    parsed = parse_address(address)
    module = import_module(f"compressae_ref.stores.{ADAPTERS[parsed.scheme][0]}")
    store: Store = module.open_at(parsed)
    return store


def parse_address(address: str) -> Address:
    """The parts of an address."""
    scheme, colon, _ = address.partition(":")
    scheme = {"postgres": "postgresql"}.get(scheme, scheme)
    if not colon or scheme not in ADAPTERS:
        forms = "; ".join(form for _, form in ADAPTERS.values())
        raise DomainError(f"expected an address ({forms}), got {address!r}", argument="store")
    body, _, query = address.partition("?")
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    return Address(scheme, body.partition(":")[2], options)


def without_password(address: str) -> str:
    """An address for messages."""
    parts = urlsplit(address)
    return address.replace(f":{parts.password}@", ":***@") if parts.password else unquote(address)


def chosen_field(fields: Sequence[str], asked: str | None, name: str) -> str:
    """The field of dense vectors that is asked for, or the only one."""
    if asked is not None and asked in fields:
        return asked
    if asked is None and len(fields) == 1:
        return fields[0]
    wanted = "?dense=NAME with one of its fields of dense vectors" if asked is None else f"a dense field {asked!r}"
    raise StoreError(f"expected {wanted}, got {', '.join(map(repr, fields)) or 'none'}", path=name)


@contextmanager
def engine_errors(
    name: str, kinds: type[BaseException] | tuple[type[BaseException], ...] = Exception
) -> Iterator[None]:
    """What an engine raises as one line with the name of the store."""
    try:
        yield
    except (CompressaeError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except kinds as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(lines[0], path=name) from error


def checked(ids: Sequence[Id], vectors: Codes) -> None:
    """Raise for what no engine should be given: ids that repeat, indices that do, values that are not finite."""
    if len(ids) != len(vectors):
        raise DomainError(f"expected one for each of {len(vectors)} codes, got {len(ids)}", argument="ids")
    reject_repeated(list(ids))
    Codes(vectors.indices, vectors.values, vectors.n_latents)


def as_rows(ids: list[Id], vectors: Any, name: str) -> Rows:
    """A block of a store, checked: an engine may have been given anything."""
    try:
        return Rows(ids, as_embeddings(np.asarray(vectors, np.float32), name="x", zeros=True))
    except DomainError as error:
        item = "" if error.row is None else f" in the item {ids[error.row]!r}"
        raise StoreError(f"{error.message}{item}", argument=error.argument, path=name) from error


def plain_id(each: Any) -> Id:
    """An id as an engine's client gives it: a whole number, or whatever else it is as a text."""
    return each if isinstance(each, int) else str(each)


def nonzero(vectors: Codes) -> Iterator[tuple[list[int], list[float]]]:
    """Indices and values of each vector without its zeros, which carry nothing."""
    for indices, values in zip(vectors.indices, vectors.values, strict=True):
        kept = values != 0
        yield indices[kept].tolist(), values[kept].tolist()
