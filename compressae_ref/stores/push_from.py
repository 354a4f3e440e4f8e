"""Encode vectors that come from a file or from another store, and write their codes into a store by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_integer, as_zero_rows
from compressae_ref.errors import DomainError, StoreError
from compressae_ref.extensions.fitted_codes import Anchors
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.row_source import RowSource
from compressae_ref.stores.contract import ROWS, Id, Rows, Store, as_rows, dense_of
from compressae_ref.stores.stored_form import serving
from compressae_ref.stores.writer import CODES_COMPARED, Pushed, Writer, chosen

OnMissing = Literal["insert", "error", "skip"]
"""What to do with ids that the store does not have."""

SHOWN_IDS = 10
"""Number of ids in a message."""


class Source(NamedTuple):
    """Vectors with ids that are to be encoded."""

    name: str
    n: int
    blocks: Callable[[int], Iterator[Rows]]
    """all vectors in blocks of that many; each call starts again"""
    ids: Sequence[Id] | None
    """all ids, if they are known before the vectors are read"""


def source_of_rows(x: RowSource, ids: NDArray[Any] | None, name: str) -> Source:
    """Return the rows of a file or an array. DomainError without ids."""
    if ids is None:
        raise DomainError(
            "expected ids with the vectors, got vectors without ids",
            path=name,
            hint="name them with --ids; they are the keys of the items in the store",
        )
    keys: list[Id] = ids.tolist()

    def blocks(rows: int) -> Iterator[Rows]:
        for start in range(0, len(keys), rows):
            yield as_rows(keys[start : start + rows], np.asarray(x[start : start + rows], np.float32), name)

    return Source(name, len(keys), blocks, keys)


def source_of_store(store: Store) -> Source:
    """Return the dense vectors of another store or table."""
    dense_of(store)
    return Source(store.name, store.count(), store.scroll, None)


def push_from(
    store: Store,
    model: Model,
    source: Source,
    *,
    on_missing: OnMissing = "insert",
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    anchors: Anchors | None = None,
    field: str | None = None,
    zero_rows: ZeroRows = "error",
    rows: int = ROWS,
    backend: str | Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Write the codes of vectors that are not in the store, under their ids. It needs no dense field.

    An item that has a code of the same vector is left alone, by the digest of the vector. Items without a code get one,
    and codes of other vectors are replaced. Each block is written as a whole or not at all, so the same call resumes.

    Parameters
    ----------
    on_missing : for ids that the store does not have: "insert" adds items that have only an id and a code; "error"
        refuses; "skip" leaves them out. If the ids are known in advance, all are checked before the first is written
    k, space, refine, anchors, field, zero_rows, rows, backend, progress : as in `push.push`

    Raises
    ------
    StoreError
        If an id does not exist and cannot be added, and as in `push.push`.
    """
    if on_missing not in get_args(OnMissing):
        raise DomainError(
            f"expected one of {', '.join(get_args(OnMissing))}, got {on_missing!r}", argument="on_missing"
        )
    rows, zero_rows = as_integer(rows, "rows"), as_zero_rows(zero_rows)
    form = serving(model, k, space, refine, backend, anchors=anchors)
    field = form.field if field is None else field
    for block in source.blocks(1):
        as_embeddings(block.x, name=source.name, d=model.params.d, zeros=True)  # before the store is changed
        break
    absent = [_absent(store, field, block) for block in _blocks_of_ids(source.ids or (), rows)]
    _refuse_absent(store, [key for keys in absent for key in keys], on_missing)
    store.add_field(field, form.width(signed=store.signed))
    before = store.count_written(field)
    writer = Writer(store, field, form, zero_rows)
    if before:
        writer.require_same_form(source.blocks(CODES_COMPARED))
    done = 0
    for block in source.blocks(rows):
        _write_block(writer, block, on_missing)
        done += len(block.ids)
        if progress is not None:
            progress(done, max(source.n, done))
    return writer.pushed(before)


def _write_block(writer: Writer, block: Rows, on_missing: OnMissing) -> None:
    absent = {*_absent(writer.store, writer.field, block.ids)}
    _refuse_absent(writer.store, [*absent], on_missing)
    stored = writer.store.digests(writer.field, block.ids)
    without = [was is None and key not in absent for key, was in zip(block.ids, stored, strict=True)]
    if absent and on_missing == "insert":
        writer.write(chosen(block, [key in absent for key in block.ids]), new=True)
    elif absent:
        writer.counts["absent"] += len(absent)
    writer.write(chosen(block, without))
    writer.write_changed(chosen(block, [was is not None for was in stored]), unknown=True)


def _blocks_of_ids(ids: Sequence[Id], rows: int) -> Iterator[Sequence[Id]]:
    for start in range(0, len(ids), rows):
        yield ids[start : start + rows]


def _absent(store: Store, field: str, ids: Sequence[Id]) -> list[Id]:
    """Return the ids that have neither an item nor a code."""
    absent = [key for key, is_known in zip(ids, store.known(ids), strict=True) if not is_known]
    if not absent or not store.has_field(field):
        return absent
    return [key for key, was in zip(absent, store.digests(field, absent), strict=True) if was is None]


def _refuse_absent(store: Store, absent: Sequence[Id], on_missing: OnMissing) -> None:
    """Raise StoreError if these ids are not to be added, or cannot be."""
    if absent and on_missing == "insert":
        store.require_addable(absent)
    elif absent and on_missing == "error":
        more = f" and {len(absent) - SHOWN_IDS} more" * (len(absent) > SHOWN_IDS)
        raise StoreError(
            f"expected ids of items in the store, got {len(absent)} others: "
            f"{', '.join(map(repr, absent[:SHOWN_IDS]))}{more}",
            path=store.name,
            hint="insert these items first, or choose push --on-missing insert or skip",
        )
