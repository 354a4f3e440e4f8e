"""Train on the dense vectors of a store, and write their codes beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_integer, as_zero_rows
from compressae_ref.errors import StoreError
from compressae_ref.extensions.fitted_codes import Anchors
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards
from compressae_ref.item_ids import as_ids
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import ROWS, Rows, Store, dense_of
from compressae_ref.stores.coverage import codes_to_write
from compressae_ref.stores.stored_form import serving
from compressae_ref.stores.writer import CODES_COMPARED, Pushed, Writer, reject_zero_vectors

TRAIN_HINT = "train on a file of the vectors, such as pull --keep has written"
PUSH_HINT = "push --from encodes vectors of a file"


def embeddings_of(store: Store, most: int | None = None, *, zero_rows: ZeroRows = "error") -> EmbeddingRows:
    """Return the dense vectors of a store as rows to train on, by ascending id.

    Changes to the store during training may be missed.

    Parameters
    ----------
    most : maximum number of items, evenly spaced over all, before zero rows are left out; None: all
    zero_rows : for zero vectors: "skip" leaves them out, "empty" keeps them, "error" is a StoreError with the id
    """
    zero_rows = as_zero_rows(zero_rows)
    dense_of(store, TRAIN_HINT)
    n, d = store.count(), _first(store).x.shape[1]

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        return 0, (block.x for block in _to_train_on(store, n, most, zero_rows))

    return EmbeddingRows((min(n, most or n), d), np.float32, Forwards(begin), sequential=True)


def ids_in(store: Store, most: int | None = None, *, zero_rows: ZeroRows = "error") -> NDArray[Any]:
    """Return the ids of the rows of `embeddings_of`."""
    blocks = [block.ids for block in _to_train_on(store, store.count(), most, zero_rows)]
    return as_ids([item for block in blocks for item in block], sum(map(len, blocks)), path=store.name)


def _to_train_on(store: Store, n: int, most: int | None, zero_rows: ZeroRows) -> Iterator[Rows]:
    """Yield ``most`` of n items, evenly spaced."""
    first = 0
    for block in store.scroll(ROWS):
        numbers = np.arange(first, first + len(block.ids), dtype=np.int64)
        mask: Bools = np.ones(len(block.ids), np.bool_)
        if most is not None and most < n:
            mask = (numbers + 1) * most // n > numbers * most // n  # true for exactly ``most`` of n numbers
        if zero_rows == "skip":
            mask &= np.any(block.x, axis=1)
        elif zero_rows == "error":
            reject_zero_vectors(store, block, ~mask | np.any(block.x, axis=1))
        yield Rows([item_id for item_id, chosen in zip(block.ids, mask, strict=True) if chosen], block.x[mask])
        first += len(block.ids)


def _first(store: Store) -> Rows:
    """Return a block of one item."""
    for block in store.scroll(1):
        return block
    raise StoreError("expected items with dense vectors, got an empty store", path=store.name)


def read_some(store: Store, rows: int) -> Rows:
    """Return the first items of a store, at most so many. StoreError if it is empty or has no dense vectors."""
    dense_of(store, PUSH_HINT)
    for block in store.scroll(as_integer(rows, "rows")):
        return block
    return _first(store)


def push(
    store: Store,
    model: Model,
    *,
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    anchors: Anchors | None = None,
    field: str | None = None,
    replace: bool = False,
    zero_rows: ZeroRows = "error",
    rows: int = ROWS,
    backend: str | Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Write the codes of all items that have no code, or the code of an earlier vector, into a sparse field.

    Items without a dense vector are left out; ``store.count_bare(field)`` is the number of those without a code.
    Ids, dense vectors and payload do not change. Each block is written as a whole or not at all, together with digests
    of its dense vectors. The code of a vector that has the stored digest is never rewritten. An interrupted push
    therefore resumes with the same call, which also encodes items that were added or changed since.

    Parameters
    ----------
    k : stored entries per item; None: k of the model
    space : the space to search in; the last three of `spaces.SPACES` use the same stored codes
    refine : choose entries by matching pursuit, as `extensions.refine.refine` does
    anchors : fit the codes to these, as `extensions.fitted_codes.encode_fitted` does; k is theirs. Later calls need
        the same anchors
    field : name of the sparse field; None: `stored_form.Serving.field`, which is unique to model and settings
    replace : delete the field and its content first. Refused if an item has a code, but no vector in the store
    zero_rows : "error" refuses zero vectors; "empty" gives them codes of zeros, which no query finds; "skip" writes no
        codes for them
    rows : number of items that are read, encoded and written together
    progress : called with the number of items done, which are those read, and the number of items to do: first those
        without a code, then all of them if there were codes before

    Raises
    ------
    StoreError
        If the store has no dense vectors, if the field holds codes of another model or other settings, if ``replace``
        would delete codes of items without a vector, if a vector is zero or not finite (with its id), or if the engine
        refuses a request.
    DomainError, ShapeError
        If a setting is out of range, or the vectors do not have the dimension of the model.
    """
    rows, zero_rows = as_integer(rows, "rows"), as_zero_rows(zero_rows)
    form = serving(model, k, space, refine, backend, anchors=anchors)
    field = form.field if field is None else field
    dense_of(store, PUSH_HINT)
    as_embeddings(_first(store).x, name=store.name, d=model.params.d, zeros=True)  # before the store is changed
    missing = codes_to_write(store, field, replace=replace)
    if replace and store.has_field(field):
        store.drop_field(field)
    store.add_field(field, form.width(signed=store.signed))
    before = store.count_written(field)
    writer = Writer(store, field, form, zero_rows)
    if before:
        writer.require_same_form(store.scroll(CODES_COMPARED))
    total, done = missing + (store.count() if before else 0), 0
    for block in store.scroll(rows, without=field):
        writer.write(block)
        done += len(block.ids)
        if progress is not None:
            progress(done, max(total, done))
    for block in store.scroll(rows) if before else ():
        writer.write_changed(block)
        done += len(block.ids)
        if progress is not None:
            progress(done, max(total, done))
    return writer.pushed(before)


def written_before(
    store: Store, model: Model, *, k: int | None, space: Space, refine: bool, field: str | None, fitted: bool = False
) -> tuple[int, int]:
    """Return how many items have the codes that `push` writes with these settings, and how many will have them."""
    field = serving(model, k, space, refine, None, fitted=fitted).field if field is None else field
    done = store.count_written(field) if store.has_field(field) else 0
    return done, store.count() if store.dense is None else done + codes_to_write(store, field)
