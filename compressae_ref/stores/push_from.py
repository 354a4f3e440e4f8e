"""Encode vectors that come from a file or from another store, and write their codes into a store by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_integer, as_zero_rows
from compressae_ref.errors import DomainError
from compressae_ref.extensions.fitted_codes import Anchors
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.row_source import RowSource
from compressae_ref.stores.contract import ROWS, Id, Rows, Store, as_rows, dense_of
from compressae_ref.stores.stored_form import serving
from compressae_ref.stores.unknown_ids import (
    OnMissing,
    are_unknown,
    as_on_missing,
    find_refused,
    find_unknown,
    refuse_unknown,
)
from compressae_ref.stores.writer import CODES_COMPARED, Pushed, Writer, chosen


class Source(NamedTuple):
    """Vectors with ids that are to be encoded."""

    name: str
    n: int
    blocks: Callable[[int], Iterator[Rows]]
    """all vectors in blocks of that many; each call starts again"""
    ids: Callable[[int], Iterator[Sequence[Id]]]
    """all ids in blocks of that many; each call starts again. From another store they come with its vectors"""


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

    def ids_in(rows: int) -> Iterator[Sequence[Id]]:
        for start in range(0, len(keys), rows):
            yield keys[start : start + rows]

    return Source(name, len(keys), blocks, ids_in)


def source_of_store(store: Store) -> Source:
    """Return the dense vectors of another store or table."""
    dense_of(store)
    return Source(store.name, store.count(), store.scroll, lambda rows: (block.ids for block in store.scroll(rows)))


def push_from(
    store: Store,
    model: Model,
    source: Source,
    *,
    on_missing: OnMissing = "error",
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    anchors: Anchors | None = None,
    field: str | None = None,
    zero_rows: ZeroRows = "error",
    rows: int = ROWS,
    dry_run: bool = False,
    backend: str | Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Write the codes of vectors that are not in the store, under their ids. It needs no dense field.

    An item that has a code of the same vector is left alone, by the digest of the vector. Items without a code get one,
    and codes of other vectors are replaced. Each block is written as a whole or not at all, so the same call resumes.

    Parameters
    ----------
    on_missing : for ids that the store does not have: "error" refuses them; "insert" adds items that have only an id
        and a code; "skip" leaves them out. Ids of another kind than those of the store are always refused. All ids are
        looked up before anything is written, so another store is read twice. Each block is looked up again before it
        is written: if another program changes one of the stores in between, an error may come after blocks that were
        written
    dry_run : only count what would be written: read all vectors, encode a few, and write nothing
    k, space, refine, anchors, field, zero_rows, rows, backend, progress : as in `push.push`

    Raises
    ------
    StoreError
        If the store cannot hold an id, if an id does not exist and is not added, and as in `push.push`.
    """
    on_missing = as_on_missing(on_missing)
    rows, zero_rows = as_integer(rows, "rows"), as_zero_rows(zero_rows)
    form = serving(model, k, space, refine, backend, anchors=anchors)
    field = form.field if field is None else field
    for block in source.blocks(1):
        as_embeddings(block.x, name=source.name, d=model.params.d, zeros=True)  # before the store is changed
        break
    ids = source.ids(rows)
    unknown = find_refused(store, ids, source.name) if on_missing == "skip" else None
    refuse_unknown(store, field, unknown or find_unknown(store, field, ids, source.name), on_missing)
    if not dry_run:
        store.add_field(field, form.width(signed=store.signed))
    before = store.count_written(field) if store.has_field(field) else 0
    writer = Writer(store, field, form, zero_rows, dry_run=dry_run)
    if before:
        writer.require_same_form(source.blocks(CODES_COMPARED))
    done = 0
    for block in source.blocks(rows):
        _write_block(writer, block, source.name, on_missing)
        done += len(block.ids)
        if progress is not None:
            progress(done, max(source.n, done))
    return writer.pushed(before)


def _write_block(writer: Writer, block: Rows, source: str, on_missing: OnMissing) -> None:
    store, field = writer.store, writer.field
    if writer.zero_rows == "skip":  # left out as if the source did not have them: their codes stay as they are
        nonzero = np.any(block.x, axis=1)
        writer.counts["skipped"] += int((~nonzero).sum())
        block = chosen(block, nonzero)
    unknown = are_unknown(store, field, block.ids)
    if any(unknown):
        new = chosen(block, unknown)
        refuse_unknown(store, field, find_unknown(store, field, [new.ids], source), on_missing)
        if on_missing == "insert":
            writer.write(new, new=True)
        else:
            writer.counts["absent"] += len(new.ids)
        block = chosen(block, [not is_unknown for is_unknown in unknown])
    stored = writer.digests(block.ids)
    writer.write(chosen(block, [was is None for was in stored]))
    writer.write_changed(chosen(block, [was is not None for was in stored]), unknown=True)
