"""Write the codes of blocks of items that have none, or whose vector has changed, and count them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Bools
from compressae_ref.checks import SKIP_HINT, ZeroRows
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import Entries, Id, Rows, Store
from compressae_ref.stores.digests import UNKNOWN, digests_of
from compressae_ref.stores.stored_form import Serving

CODES_COMPARED = 64
"""Stored codes of an existing field that are compared with those of the model before more codes are written."""


class Pushed(NamedTuple):
    """Result of `push` and of `push_from`: numbers of items."""

    field: str
    written: int
    """items without a code that have one now"""
    before: int
    """items whose code was there, and did not change"""
    changed: int = 0
    """items whose code was replaced, because their vector has another digest"""
    inserted: int = 0
    """those of the written items that did not exist in the store"""
    unchecked: int = 0
    """items whose code was there without a digest, so that a change of their vector is not seen"""
    skipped: int = 0
    """items without a code because their vector is zero"""
    absent: int = 0
    """items that were left out because they do not exist in the store"""


class Writer:
    """Writes codes into a field of a store (`push`). ``dry_run``: only counts them."""

    def __init__(self, store: Store, field: str, form: Serving, zero_rows: ZeroRows, *, dry_run: bool = False) -> None:
        self.store, self.field, self.form, self.zero_rows = store, field, form, zero_rows
        self._dry_run, self._no_field = dry_run, not store.has_field(field)
        self.counts, self._erased = dict.fromkeys(Pushed._fields[1:], 0), 0

    def pushed(self, before: int) -> Pushed:
        """Return the counts. ``before``: number of items with a code before the first block."""
        return Pushed(self.field, **{**self.counts, "before": before - self.counts["changed"] - self._erased})

    def digests(self, ids: Sequence[Id]) -> list[int | None]:
        """Return the digest beside the code of each item, also if the field does not exist yet."""
        return [None] * len(ids) if self._no_field else self.store.digests(self.field, ids)

    def write(self, block: Rows, *, new: bool = False) -> None:
        """Write the codes of items that have none. ``new``: these items are added to the store."""
        self._write(block, digests_of(block.x), "written", new=new)

    def write_changed(self, block: Rows, *, unknown: bool = False) -> None:
        """Replace the codes of vectors with another digest; ``unknown``: and of those without a digest."""
        now, stored = digests_of(block.x), self.digests(block.ids)
        pairs = [*zip(stored, now, strict=True)]
        changed = [was not in (None, UNKNOWN, digest) or (unknown and was == UNKNOWN) for was, digest in pairs]
        self.counts["unchecked"] += 0 if unknown else stored.count(UNKNOWN)
        self._write(chosen(block, changed), [d for d, mask in zip(now, changed, strict=True) if mask], "changed")

    def _write(self, block: Rows, digests: list[int], what: str, *, new: bool = False) -> None:
        nonzero: Bools = np.any(block.x, axis=1)
        if self.zero_rows == "skip" and not nonzero.all():
            zeros = chosen(block, ~nonzero).ids
            if what == "changed":
                if not self._dry_run:
                    self.store.erase(self.field, zeros)
                self._erased += len(zeros)
            self.counts["skipped"] += len(zeros)
            block, digests = chosen(block, nonzero), [d for d, mask in zip(digests, nonzero, strict=True) if mask]
        if self._dry_run:
            self._require_encodable(block)
        elif block.ids:
            write = self.store.add_items if new else self.store.write
            write(self.field, block.ids, self._coded(block), digests)
        self.counts[what] += len(block.ids)
        self.counts["inserted"] += len(block.ids) if new else 0

    def _require_encodable(self, block: Rows) -> None:
        if self.zero_rows == "error":
            reject_zero_vectors(self.store, block, np.any(block.x, axis=1))

    def _coded(self, block: Rows) -> Codes:
        """Return the codes of a block, with split signs if the engine refuses negative values."""
        self._require_encodable(block)
        codes = self.form.items(block.x, self.store.name, self.zero_rows)
        return codes if self.store.signed else codes.split_signs()

    def require_same_form(self, blocks: Iterable[Rows]) -> None:
        """Raise unless the first stored codes of unchanged vectors equal those that would be written."""
        for block in blocks:
            stored = self.store.digests(self.field, block.ids)
            if not any(was is not None for was in stored):
                continue
            pairs = zip(stored, digests_of(block.x), strict=True)
            block = chosen(block, [was is not None and was in (UNKNOWN, now) for was, now in pairs])
            if self.zero_rows == "skip":
                block = chosen(block, np.any(block.x, axis=1))
            if block.ids:
                self._compare(block)
                return

    def _compare(self, block: Rows) -> None:
        stored = self.store.read(self.field, block.ids)
        if wrong := [*different(block.ids, stored, self._coded(block))]:
            raise StoreError(
                f"expected the codes of this model and these settings in the field {self.field!r}, "
                f"got a different code in item {wrong[0]!r}",
                path=self.store.name,
                hint="choose another field, or replace this one",
            )


def chosen(block: Rows, mask: Sequence[bool] | Bools) -> Rows:
    """Return the rows of a block for which the mask is true."""
    return Rows([key for key, is_left in zip(block.ids, mask, strict=True) if is_left], block.x[np.array(mask, bool)])


def reject_zero_vectors(store: Store, block: Rows, good: Bools) -> None:
    """Raise a StoreError that names the first item that is not good, because its vector is zero."""
    if not good.all():
        raise StoreError(
            f"expected vectors that are not zero, got a zero vector in item {block.ids[good.argmin()]!r}",
            path=store.name,
            hint=SKIP_HINT,
        )


def different(ids: list[Id], stored: Sequence[Entries | None], expected: Codes) -> Iterator[Id]:
    """Yield the ids whose stored code differs; engines may omit zeros and round to float32."""
    for item_id, code, indices, values in zip(ids, stored, expected.indices, expected.values, strict=True):
        if code is not None and not same_code(code, indices, values):
            yield item_id


def same_code(code: Entries, indices: Any, values: Any) -> bool:
    """Return whether a stored code equals an expected one up to rounding to float32."""
    stored_mask, expected_mask = np.asarray(code[1], np.float32) != 0, values != 0
    stored_values, expected_values = np.asarray(code[1])[stored_mask], values[expected_mask]
    same = np.array_equal(np.asarray(code[0])[stored_mask], indices[expected_mask])
    return same and bool(np.allclose(stored_values, expected_values, rtol=1e-5, atol=1e-7))
