"""Define the interface of a store, and its address on the command line.

A store is a collection or a table in a vector database. Its dense vectors are never changed; codes go into a sparse
field beside them. Only the adapter knows the engine. It checks the data that the engine does not check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, StoreError
from compressae_ref.item_ids import reject_repeated
from compressae_ref.redaction import password_in, scrubbed
from compressae_ref.redaction import without_password as without_password

ROWS = 2048
"""Default number of items that are read, encoded and written together."""

Id = int | str


class Found(NamedTuple):
    """Best items of one query, best first. An engine may return fewer than ``top``."""

    ids: list[Id]
    scores: list[float]


class Rows(NamedTuple):
    """A block of items: ids and dense vectors."""

    ids: list[Id]
    x: Floats
    """(n, d) dense vectors"""


class Store(Protocol):
    """A collection of items with dense vectors and, after `push`, with codes.

    Engines compare sparse vectors by their dot product. `stored_form.Serving` scales the vectors so that the dot
    product is the cosine of the chosen space. ``field`` is the name of a sparse field.
    """

    name: str
    """the address for messages, without a password"""
    signed: bool
    """whether the engine accepts negative values; if not, codes are stored with split signs"""
    exact: bool
    """whether search in the codes is exact, not approximate"""

    def count(self) -> int:
        """Return the number of items that have a dense vector."""

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items with a dense vector in blocks, by ascending id. ``without``: only items without a code there."""

    def has_field(self, field: str) -> bool:
        """Return whether the sparse field exists."""

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse field of ``width`` dimensions; existing data does not change."""

    def drop_field(self, field: str) -> None:
        """Delete a sparse field and its content."""

    def write(self, field: str, ids: Sequence[Id], vectors: Codes) -> None:
        """Write the sparse vectors of these items. After an error, none of them is written."""

    def count_written(self, field: str) -> int:
        """Return the number of items that have a sparse vector in this field."""

    def read(self, field: str, ids: Sequence[Id]) -> list[tuple[list[int], list[float]] | None]:
        """Return ascending indices and values of each item, or None if it has no sparse vector."""

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Return the items with the largest dot products. ``cosine``: all vectors have unit length."""

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Return the items whose dense vectors have the largest cosine with each row."""

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes on disk of the dense vectors, of the sparse field and of its separate index, if any."""

    def close(self) -> None:
        """Close the store. Written data is kept."""


class Address(NamedTuple):
    """A parsed address: ``scheme:rest?name=value&...``."""

    scheme: str
    rest: str
    """the part between the scheme and the options"""
    options: dict[str, str]

    def option(self, name: str, default: str | None = None) -> str | None:
        """Return an option, or the default if it is not given."""
        return self.options.get(name, default)

    def required(self, name: str, path: str) -> str:
        """Return an option, or raise a StoreError about ``path`` if it is not given."""
        value = self.options.get(name)
        if value is None:
            raise StoreError(f"expected a {name} in the address, got none", path=path, hint=f"add ?{name}=NAME")
        return value


ADAPTERS = {
    "edge": ("qdrant_edge", "edge:FOLDER"),
    "qdrant": ("qdrant_server", "qdrant://HOST:PORT/COLLECTION"),
    "postgresql": ("pgvector", "postgresql://HOST/DATABASE?table=TABLE"),
    "milvus": ("milvus", "milvus:FILE?collection=NAME or milvus://HOST:PORT?collection=NAME"),
}
"""Module and address form of each kind of store."""

OPTIONS = ("dense", "id", "table", "collection")
"""Options that this package reads; all others are passed to the engine."""


def open_store(address: str) -> Store:
    """Open the store at an address such as ``edge:shard?dense=embedding``.

    Raises
    ------
    DomainError
        If the address has an unknown scheme.
    StoreError
        If the store does not exist, or has no dense vectors.
    BackendError
        If the client package of the engine is not installed.
    """
    parsed = parse_address(address)
    module = import_module(f"compressae_ref.stores.{ADAPTERS[parsed.scheme][0]}")
    store: Store = module.open_at(parsed)
    return store


def parse_address(address: str) -> Address:
    """Split an address into scheme, rest and options."""
    scheme, colon, _ = address.partition(":")
    scheme = {"postgres": "postgresql"}.get(scheme, scheme)
    if not colon or scheme not in ADAPTERS:
        forms = ", ".join(form for _, form in ADAPTERS.values())
        got = repr(without_password(address))
        raise DomainError(f"expected an address of a store, got {got}", argument="store", hint=f"use {forms}")
    _require_encoded_password(address)
    body, _, query = address.partition("?")
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    return Address(scheme, body.partition(":")[2], options)


def _require_encoded_password(address: str) -> None:
    """Refuse a password that would be split at a special character: its parts would appear in messages."""
    text = address[password_in(address) or slice(0)]
    port = re.match(r"\d+([/?]|$)", text)
    if not port and re.search(r"[/?#@:\[\]\s]|%(?![0-9a-fA-F]{2})", text):
        raise DomainError(
            "expected a percent-encoded password in the address, got special characters",
            argument="store",
            hint="write @ as %40, / as %2F, : as %3A, ? as %3F and % as %25",
        )


def require_existing(path: str, store: str) -> None:
    """Raise StoreError unless a local database exists: clients would create an empty one."""
    if not path or not Path(path).exists():
        raise StoreError("expected the path of a database, got one that does not exist", path=store)


def chosen_field(fields: Sequence[str], wanted: str | None, store: str) -> str:
    """Return the dense field of the given name or, without a name, the only dense field of the store."""
    if wanted is not None and wanted in fields:
        return wanted
    if wanted is None and len(fields) == 1:
        return fields[0]
    expected = "one field of dense vectors" if wanted is None else f"a dense field {wanted!r}"
    if not fields:
        raise StoreError(f"expected {expected}, got a store without dense vectors", path=store)
    listed = ", ".join(map(repr, fields))
    raise StoreError(f"expected {expected}, got {listed}", path=store, hint="choose one with ?dense=NAME")


@contextmanager
def engine_errors(
    name: str, kinds: type[BaseException] | tuple[type[BaseException], ...] = Exception
) -> Iterator[None]:
    """Turn the errors of an engine into a StoreError of one line that names the store."""
    try:
        yield
    except (CompressaeError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except kinds as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(scrubbed(lines[0]), path=name) from error


def checked(ids: Sequence[Id], vectors: Codes) -> None:
    """Raise if ids or indices repeat, or if a value is not finite: not every engine refuses these."""
    if len(ids) != len(vectors):
        raise DomainError(f"expected {len(vectors)} ids, one for each code, got {len(ids)}", argument="ids")
    reject_repeated(list(ids))
    Codes(vectors.indices, vectors.values, vectors.n_latents)


def as_rows(ids: list[Id], vectors: Any, name: str) -> Rows:
    """Return a block of items after checking its vectors: an engine may hold NaN or infinity."""
    try:
        return Rows(ids, as_embeddings(np.asarray(vectors, np.float32), name="x", zeros=True))
    except DomainError as error:
        item = "" if error.row is None else f" in item {ids[error.row]!r}"
        raise StoreError(f"{error.message}{item}", argument=error.argument, path=name) from error


def plain_id(key: Any) -> Id:
    """Return an engine's key as an integer, or as a string if it is of any other type, such as a UUID."""
    return key if isinstance(key, int) else str(key)


def nonzero(vectors: Codes) -> Iterator[tuple[list[int], list[float]]]:
    """Yield the indices and values of each vector without its zeros, which add nothing to a dot product."""
    for indices, values in zip(vectors.indices, vectors.values, strict=True):
        mask = values != 0
        yield indices[mask].tolist(), values[mask].tolist()
