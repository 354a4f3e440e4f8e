"""From dense vectors to codes in one store: train on what is there, write the codes beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_integer
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards
from compressae_ref.item_ids import as_ids
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import ROWS, Id, Rows, Store
from compressae_ref.stores.stored_form import Serving, serving

LOOKED_AT = 64
"""Codes of a field that are compared with those of the model before more are written."""


class Pushed(NamedTuple):
    """What `push` has done."""

    field: str
    written: int
    """items that got a code now"""
    before: int
    """items that had one already"""


def embeddings_of(store: Store, most: int | None = None) -> EmbeddingRows:
    """The dense vectors of a store as a source of rows to train on, by ascending id, without those that are zero.

    What changes meanwhile may be missed.

    Parameters
    ----------
    most : rows at most, evenly spread over all; None: all
    """
    n, d = store.count(), _first(store).x.shape[1]

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        return 0, (block.x for block in _to_train_on(store, n, most))

    return EmbeddingRows((min(n, most or n), d), np.float32, Forwards(begin), sequential=True)


def ids_in(store: Store, most: int | None = None) -> NDArray[Any]:
    """The ids of the rows of `embeddings_of`."""
    return as_ids(np.concatenate([np.array(block.ids) for block in _to_train_on(store, store.count(), most)]))


def _to_train_on(store: Store, n: int, most: int | None) -> Iterator[Rows]:
    """Every so many items, and of them those whose vectors are not zero."""
    first = 0
    for block in store.scroll(ROWS):
        numbers = np.arange(first, first + len(block.ids), dtype=np.int64)
        kept: Bools = np.any(block.x, axis=1)
        if most is not None and most < n:
            kept &= (numbers + 1) * most // n > numbers * most // n  # as many as ``most`` of n
        yield Rows([each for each, keep in zip(block.ids, kept, strict=True) if keep], block.x[kept])
        first += len(block.ids)


def _first(store: Store) -> Rows:
    """Any item."""
    for block in store.scroll(1):
        return block
    raise StoreError("expected items with dense vectors, got none", path=store.name)


def push(
    store: Store,
    model: Model,
    *,
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    field: str | None = None,
    replace: bool = False,
    zero_rows: ZeroRows = "error",
    rows: int = ROWS,
    backend: str | Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Write the codes of all items that have none yet into a sparse field; ids, dense vectors and payload stay.

    Each block is written whole or not at all, and what is written is not touched again: after an interruption of any
    kind the same call goes on where it was. So it does for items that came later.

    Parameters
    ----------
    k : stored entries per item; None: the model's
    space : the space to search in; the last three of `spaces.SPACES` share what is stored
    refine : choose entries by matching pursuit, as `refinement.refine` does
    field : name of the sparse field; None: `serving.Serving.field`, which no codes of another model have
    replace : drop the field first, with all that is in it
    zero_rows : what becomes of vectors of zeros: "error" stops, "empty" gives them codes of zeros, which nothing finds
    rows : items that are read, encoded and written together
    progress : called with the number of items that have codes and that of all

    Raises
    ------
    StoreError
        If the field holds other codes than those of this model and these settings, or the engine refuses something.
    DomainError, ShapeError
        For vectors that have no code, with the id; for another dimension than the model's.
    """
    rows, how = as_integer(rows, "rows"), serving(model, k, space, refine, backend)
    field = how.field if field is None else field
    as_embeddings(_first(store).x, name=store.name, d=model.params.d, zeros=True)  # before anything is changed
    if replace and store.has_field(field):
        store.drop_field(field)
    if not store.has_field(field):
        store.add_field(field, model.params.n_latents * (1 if store.signed else 2))
    before = store.count_written(field)
    if before:
        _check_field(store, field, how, zero_rows)
    written, total = 0, store.count()
    for block in store.scroll(rows, without=field):
        store.write(field, block.ids, _coded(store, block, how, zero_rows))
        written += len(block.ids)
        if progress is not None:
            progress(before + written, max(total, before + written))
    return Pushed(field, written, before)


def _coded(store: Store, block: Rows, how: Serving, zero_rows: ZeroRows) -> Codes:
    """The codes of a block as the engine takes them."""
    some = block.x.any(axis=1)
    if zero_rows == "error" and not some.all():
        raise StoreError(
            f"expected vectors that are not zero, got the item {block.ids[some.argmin()]!r}", path=store.name
        )
    codes = how.items(block.x, store.name, zero_rows)
    return codes if store.signed else codes.split_signs()


def _check_field(store: Store, field: str, how: Serving, zero_rows: ZeroRows) -> None:
    """Raise unless the first codes in the field are what would be written there."""
    for block in store.scroll(LOOKED_AT):
        stored = store.read(field, block.ids)
        if wrong := [*_different(block.ids, stored, _coded(store, block, how, zero_rows))]:
            raise StoreError(
                f"expected the codes of this model and these settings in the field {field!r}, "
                f"got others for the item {wrong[0]!r}: name another field, or replace it",
                path=store.name,
            )
        if any(found is not None for found in stored):
            return


def _different(ids: list[Id], stored: list[Any], expected: Codes) -> Iterator[Id]:
    """Items whose stored code is not the expected one; engines may leave out zeros, and round to float32."""
    for each, found, indices, values in zip(ids, stored, expected.indices, expected.values, strict=True):
        if found is None:
            continue
        there, kept = np.asarray(found[1], np.float32) != 0, values != 0
        same = np.array_equal(np.asarray(found[0])[there], indices[kept])
        if not same or not np.allclose(np.asarray(found[1])[there], values[kept], rtol=1e-5, atol=1e-7):
            yield each
