"""Approximate dense vectors from the codes in a store, for when the dense field is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compressae_ref.backends import Backend
from compressae_ref.codes import Codes
from compressae_ref.model import Model
from compressae_ref.optional import require_scipy
from compressae_ref.retrieval.brute_force import unit_or_zero
from compressae_ref.stores.contract import ROWS, CodeRows, Rows, Store
from compressae_ref.stores.field_names import require_field
from compressae_ref.stores.stored_form import serving


def decoded(
    store: Store,
    model: Model,
    *,
    field: str | None = None,
    rows: int = ROWS,
    backend: str | Backend | None = None,
    **settings: Any,
) -> Iterator[Rows]:
    """Yield the ids and the decoded codes of a store in blocks: unit vectors near the directions of the dense vectors.

    Their cosines with the dense vectors are those that training reports. The norms of the dense vectors are lost.

    Parameters
    ----------
    field : name of the sparse field; None: that of ``settings``
    rows : number of items in a block, at most
    settings : k, space, refine and fitted as in `query.search_store`

    Raises
    ------
    StoreError
        If there are no codes with these settings.
    """
    of_codes: dict[str, Any] = {"k": None, "space": "sparse", "refine": False, "fitted": False, **settings}
    field = serving(model, backend=backend, **of_codes).field if field is None else field
    require_field(store, model, field, missing="name the field, or give the settings of the push")
    for block in store.scroll_codes(field, rows):
        codes = as_codes(block, model.params.n_latents, signed=store.signed)
        yield Rows(block.ids, unit_or_zero(model.decode(codes, backend=backend)))


def as_codes(block: CodeRows, n_latents: int, *, signed: bool) -> Codes:
    """Return stored codes as `Codes`, without split signs."""
    return Codes.from_csr(as_matrix(block, n_latents, signed=signed), max(len(code[0]) for code in block.codes) or 1)


def as_matrix(block: CodeRows, n_latents: int, *, signed: bool) -> Any:
    """Return stored codes as a sparse matrix (n, h) of float64, without split signs."""
    indices = np.concatenate([np.asarray(indices, np.int64) for indices, _ in block.codes])
    values = np.concatenate([np.asarray(values, np.float64) for _, values in block.codes])
    if not signed:
        indices, values = indices // 2, np.where(indices % 2, -values, values)
    starts = np.cumsum([0, *(len(indices) for indices, _ in block.codes)])
    return require_scipy("sparse", "codes of a store").csr_array(
        (values, indices, starts), shape=(len(block.ids), n_latents)
    )
