"""Define the interface of a store.

A store is a collection or a table in a vector database. Its dense vectors are never changed; codes go into a sparse
field beside them. The dense field may be gone: codes alone can be searched, and new items come from elsewhere.
Only the adapter knows the engine. It checks the data that the engine does not check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, StoreError
from compressae_ref.item_ids import reject_repeated
from compressae_ref.redaction import scrubbed
from compressae_ref.redaction import without_password as without_password
from compressae_ref.stores.address import ADAPTERS as ADAPTERS
from compressae_ref.stores.address import OPTIONS as OPTIONS
from compressae_ref.stores.address import Address as Address
from compressae_ref.stores.address import parse_address as parse_address
from compressae_ref.stores.address import require_existing as require_existing

ROWS = 2048
"""Default number of items that are read, encoded and written together."""

NO_SHARED = "items that share no latent with the query are not returned; a larger --query-k reaches more of them"
"""Why engines with an inverted index return few items."""

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


Entries = tuple[list[int], list[float]]
"""Ascending indices of a stored sparse vector, and its values."""


class CodeRows(NamedTuple):
    """A block of items: ids and stored codes."""

    ids: list[Id]
    codes: list[Entries]


class Step(NamedTuple):
    """What a user may do next in a database, and what it changes."""

    statement: str
    """what to type, with quoted names"""
    effect: str
    """what it does and what it saves; an estimate is called so"""


class Planned(NamedTuple):
    """Codes that a push is going to write."""

    codes: int = 0
    """number of codes of existing items"""
    new: int = 0
    """number of codes of items that are added"""
    size: int = 0
    """bytes of a code, about"""


NOTHING = Planned()


class Store(Protocol):
    """A collection of items with dense vectors and, after `push`, with codes.

    Engines compare sparse vectors by their dot product. `stored_form.Serving` scales the vectors so that the dot
    product is the cosine of the chosen space. ``field`` is the name of a sparse field.
    """

    name: str
    """the address for messages, without a password"""
    signed: bool
    """whether the engine accepts negative values; if not, codes are stored with split signs"""
    dense: str | None
    """the name of the dense field; None if the store has none, so that `scroll` and `query_dense` are refused"""

    @property
    def fewer(self) -> str:
        """Why a search may return fewer items than it is asked for, and what to do, for messages."""

    @property
    def accuracy(self) -> str:
        """How to raise the recall of an approximate index, for messages."""

    @property
    def id_type(self) -> str:
        """What ids the store holds, for messages, such as ``bigint``."""

    def count(self) -> int:
        """Return the number of items that have a dense vector, or of all items if there is no dense field."""

    def holds(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these ids the store can hold, by their type and range. They need not exist."""

    def known(self, ids: Sequence[Id]) -> list[bool]:
        """Return which of these items exist. All ids must be such that the store `holds` them."""

    def scroll(self, rows: int, *, without: str | None = None) -> Iterator[Rows]:
        """Yield items with a dense vector in blocks, by ascending id. ``without``: only items without a code there."""

    def scroll_codes(self, field: str, rows: int) -> Iterator[CodeRows]:
        """Yield items with a code in blocks, in the order of the engine."""

    def fields(self) -> list[str]:
        """Return the names of the sparse fields."""

    def has_field(self, field: str) -> bool:
        """Return whether the sparse field exists."""

    def add_field(self, field: str, width: int) -> None:
        """Add a sparse field of ``width`` dimensions and its digests, where they are missing; existing data stay."""

    def drop_field(self, field: str) -> None:
        """Delete a sparse field and its content."""

    def write(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int] | None = None) -> None:
        """Write the sparse vectors of existing items, and the digests of their dense vectors (`digests.digests_of`).

        After an error, none of them is written.
        """

    def add_items(self, field: str, ids: Sequence[Id], vectors: Codes, digests: Sequence[int]) -> None:
        """Add new items that have only an id and a code. After an error, none of them is added."""

    def require_addable(self, ids: Sequence[Id], n: int) -> None:
        """Raise StoreError if the store does not take n new items with only an id and a code. ``ids``: some of them."""

    def erase(self, field: str, ids: Sequence[Id]) -> None:
        """Delete the sparse vectors of these items."""

    def digests(self, field: str, ids: Sequence[Id]) -> list[int | None]:
        """Return the digest beside the code of each item: None without a code, `digests.UNKNOWN` without a digest."""

    def count_written(self, field: str) -> int:
        """Return the number of items that have a sparse vector in this field."""

    def codes_alone(self, field: str, rows: int) -> Iterator[list[Id]]:
        """Yield the ids of items that have a code in this field, but no dense vector, in blocks."""

    def count_bare(self, field: str) -> int:
        """Return how many items have neither a dense vector nor a code in this field, which need not exist."""

    def read(self, field: str, ids: Sequence[Id]) -> list[Entries | None]:
        """Return the stored code of each item, or None if it has no sparse vector."""

    def query(self, field: str, vectors: Codes, top: int, *, cosine: bool = False) -> list[Found]:
        """Return the items with the largest dot products. ``cosine``: all vectors have unit length."""

    def query_dense(self, x: Floats, top: int) -> list[Found]:
        """Return the items whose dense vectors have the largest cosine with each row."""

    def approximate_index(self, field: str) -> str | None:
        """Return the approximate index that the last search in a field used, or may have; None if it was exact."""

    def sizes(self, field: str) -> dict[str, int]:
        """Return the bytes on disk of the dense vectors, of the sparse field and of its separate index, if any."""

    def footprint(self) -> dict[str, int]:
        """Return the bytes on disk of the whole collection and of its parts: {} if the engine does not report them."""

    def old_versions(self, n: int) -> int:
        """Return about how many bytes of old versions of items a push leaves that writes codes of n existing items."""

    def next_steps(self, field: str, *, cosine: bool, planned: Planned = NOTHING) -> list[Step]:
        """Return what saves bytes and time after a push, also after a planned one.

        ``cosine``: the codes are searched by their cosine.
        """

    def close(self) -> None:
        """Close the store. Written data is kept."""


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


def chosen_field(fields: Sequence[str], wanted: str | None, store: str) -> str | None:
    """Return the dense field of the given name or, without a name, the only dense field, or None if there is none."""
    if wanted is not None and wanted in fields:
        return wanted
    if wanted is None and len(fields) <= 1:
        return fields[0] if fields else None
    expected = "one field of dense vectors" if wanted is None else f"a dense field {wanted!r}"
    if not fields:
        raise StoreError(f"expected {expected}, got a store without dense vectors", path=store)
    listed = ", ".join(map(repr, fields))
    raise StoreError(f"expected {expected}, got {listed}", path=store, hint="choose one with ?dense=NAME")


class _MayHaveDense(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def dense(self) -> str | None: ...


def dense_of(store: _MayHaveDense, hint: str = "give the dense vectors in a file") -> str:
    """Return the name of the dense field, or raise StoreError if it is gone."""
    if store.dense is None:
        raise StoreError("expected a field of dense vectors, got a store without one", path=store.name, hint=hint)
    return store.dense


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


SHOWN_IDS = 10
"""Number of ids in a message."""


def listed(ids: Sequence[Id], n: int) -> str:
    """Return the first of n ids for a message."""
    shown = ", ".join(map(repr, ids[:SHOWN_IDS]))
    return shown if n <= SHOWN_IDS else f"{shown} and {n - SHOWN_IDS:,} more"


def nonzero(vectors: Codes) -> Iterator[tuple[list[int], list[float]]]:
    """Yield the indices and values of each vector without its zeros, which add nothing to a dot product."""
    for indices, values in zip(vectors.indices, vectors.values, strict=True):
        mask = values != 0
        yield indices[mask].tolist(), values[mask].tolist()
