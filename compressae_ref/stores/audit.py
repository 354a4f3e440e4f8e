"""Check that the codes in a store are the codes of a model for the dense vectors, in the store or in a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compressae_ref.backends import Backend
from compressae_ref.checks import as_embeddings
from compressae_ref.extensions.fitted_codes import Anchors
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import ROWS, Entries, Id, Store, dense_of
from compressae_ref.stores.field_names import PUSHED_FITTED, require_field
from compressae_ref.stores.push_from import Source
from compressae_ref.stores.stored_form import serving
from compressae_ref.stores.writer import same_code

TIE = 1e-4
"""Entries whose magnitudes differ by at most this share may be exchanged: their order depends on rounding."""

NO_DENSE = "verify MODEL EMBEDDINGS STORE --store reads the vectors and their ids from a file"


@dataclass
class Audit:
    """Numbers of items."""

    field: str
    identical: int = 0
    """codes with the expected bits"""
    rounded: int = 0
    """codes that differ by rounding: in the last digits, or in entries whose magnitudes are almost the same"""
    wrong: int = 0
    """codes that are not those of the model"""
    without_code: int = 0
    """items that have a vector, but no code"""
    not_compared: int = 0
    """codes of items whose vector is not known"""
    first_wrong: Id | None = None
    bare: int = 0
    """items of the store that have neither a dense vector nor a code"""

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)

    def passed(self, *, strict: bool = False) -> bool:
        """Return whether at least one code was compared, and none is wrong or missing; ``strict``: nor rounded."""
        return self.wrong + self.without_code + (self.rounded if strict else 0) == 0 < self.identical + self.rounded


def audit_store(
    store: Store,
    model: Model,
    source: Source | None = None,
    *,
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    anchors: Anchors | None = None,
    field: str | None = None,
    backend: str | Backend | None = None,
) -> Audit:
    """Compare the codes in a store with those of a model. ``source``: the dense vectors; None: those in the store.

    A zero vector may have a code of zeros, or none.

    Raises
    ------
    StoreError
        If there are no codes with these settings, or no dense vectors.
    """
    form = serving(model, k, space, refine, backend, anchors=anchors)
    field = form.field if field is None else field
    if source is None:
        dense_of(store, NO_DENSE)
    require_field(store, model, field, fitted=PUSHED_FITTED)
    result, compared = Audit(field), 0
    for block in store.scroll(ROWS) if source is None else source.blocks(ROWS):
        x = as_embeddings(block.x, name="x", d=model.params.d, zeros=True)
        codes = form.items(x, store.name, "empty")
        codes = codes if store.signed else codes.split_signs()
        stored = store.read(field, block.ids)
        compared += sum(code is not None for code in stored)
        zeros: list[bool] = np.logical_not(x.any(axis=1)).tolist()
        for key, zero, code, *expected in zip(block.ids, zeros, stored, codes.indices, codes.values, strict=True):
            _judge(result, key, code, expected, zero=zero)
    result.not_compared, result.bare = store.count_written(field) - compared, store.count_bare(field)
    return result


def _judge(result: Audit, key: Id, code: Entries | None, expected: Iterable[Any], *, zero: bool) -> None:
    indices, values = expected
    if code is None:
        result.without_code += not zero
    elif _identical(code, indices, values):
        result.identical += 1
    elif same_code(code, indices, values) or _exchanged(code, indices, values):
        result.rounded += 1
    else:
        result.wrong += 1
        result.first_wrong = key if result.first_wrong is None else result.first_wrong


def _identical(code: Entries, indices: Any, values: Any) -> bool:
    stored, mask = np.asarray(code[1], values.dtype), values != 0
    left = stored != 0
    same = np.array_equal(np.asarray(code[0], np.int64)[left], indices[mask])
    return same and np.array_equal(stored[left], values[mask])


def _exchanged(code: Entries, indices: Any, values: Any) -> bool:
    """Return whether the codes differ only in entries whose magnitude is that of the smallest entry."""
    stored, wanted = dict(zip(*code, strict=True)), dict(zip(indices.tolist(), values.tolist(), strict=True))
    if not stored or not wanted or len(stored) > len(wanted):
        return False
    least = min(abs(value) for value in (*stored.values(), *wanted.values()) if value)
    only = [abs({**stored, **wanted}[place]) for place in stored.keys() ^ wanted.keys()]
    common = stored.keys() & wanted.keys()
    close = np.allclose([stored[place] for place in common], [wanted[place] for place in common], rtol=TIE)
    return bool(close and common and max(only, default=0) <= least * (1 + TIE))
