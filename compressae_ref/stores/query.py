"""Search the codes of a store, and compare the results with those of its dense field."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, all_zero, as_integer, as_zero_rows, checked_rows
from compressae_ref.model import Encoder
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import Found, Store
from compressae_ref.stores.field_names import require_field
from compressae_ref.stores.stored_form import serving

RESCORED = 4
"""Items fetched per result if the scores of an engine are only upper bounds; they are re-ranked."""


def search_store(
    store: Store,
    model: Encoder,
    queries: Any,
    top: int = 10,
    *,
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    fitted: bool = False,
    query_k: int | None = None,
    field: str | None = None,
    fetch: int | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> list[Found]:
    """Return the best items of each query by the codes in a store, with the scores of `index.search`.

    Parameters
    ----------
    queries : (n_q, d) dense embeddings
    k, space, refine, field : the settings of `push`
    fitted : whether the codes were pushed with ``anchors``
    query_k : entries per query, as in `index.search`
    fetch : number of items to re-rank if the scores of the engine are only upper bounds; None: 4 · top
    zero_rows : for queries of zeros: "error"; "empty" for a result without items, because engines do not return items
        whose score is 0; "skip" for no result

    Raises
    ------
    StoreError
        If no codes were pushed with these settings, or the engine refuses the query.
    """
    top, form = as_integer(top, "top"), serving(model, k, space, refine, backend, fitted=fitted)
    field = form.field if field is None else field
    require_field(store, model, field)
    x, nonzero = _checked_queries(queries, model, zero_rows)
    vectors, added = form.queries_and_added(x[nonzero], query_k)
    if not len(vectors):
        found = []
    elif store.signed:
        found = store.query(field, vectors, top, cosine=form.space == "sparse")
    else:
        bounds = store.query(field, vectors.split_signs(), max(fetch or RESCORED * top, top))
        found = [rescored(store, field, u, bound, top) for u, bound in zip(vectors.to_dense(), bounds, strict=True)]
    if model.params.mean is not None:
        found = [
            Found(hits.ids, [score + more for score in hits.scores])
            for hits, more in zip(found, added.tolist(), strict=True)
        ]
    return _of_all_queries(found, nonzero, zero_rows)


def _checked_queries(queries: Any, model: Encoder, zero_rows: ZeroRows) -> tuple[Floats, Bools]:
    """Return dense queries, and which of them an engine is asked: those that are not zero."""
    zeros = as_zero_rows(zero_rows) != "error"
    x, zero = checked_rows(queries, name="queries", d=model.params.d, zeros=zeros)
    return x, ~zero


def _of_all_queries(found: list[Found], nonzero: Bools, zero_rows: ZeroRows) -> list[Found]:
    """Insert results without items for queries of zeros, unless these are left out."""
    if zero_rows == "skip":
        return found
    results = iter(found)
    return [next(results) if asked else Found([], []) for asked in nonzero.tolist()]


def rescored(store: Store, field: str, u: Floats, found: Found, top: int) -> Found:
    """Re-rank items found by split signs by the dot products of their signed codes with one query u."""
    scores = []
    for stored in store.read(field, found.ids):
        indices, values = (np.asarray(part) for part in stored or ((), ()))
        indices = indices.astype(np.int64)
        scores.append(float(u[indices // 2] @ np.where(indices % 2, -values, values)))
    best = np.argsort(np.negative(scores), kind="stable")[:top].tolist()
    return Found([found.ids[row] for row in best], [scores[row] for row in best])


class Compared(NamedTuple):
    """Results and times of the same queries in the dense field and in the codes."""

    dense: list[Found]
    codes: list[Found]
    overlap: float
    """mean share of the dense results that the codes return too"""
    dense_seconds: float
    """seconds per query"""
    codes_seconds: float
    """seconds per query"""


def compare(
    store: Store, model: Encoder, queries: Any, top: int = 10, *, zero_rows: ZeroRows = "error", **settings: Any
) -> Compared:
    """Run the same queries in the dense field and in the codes. ``settings`` are those of `search_store`.

    The overlap and the times are those of the queries that are not zero.
    """
    x, nonzero = _checked_queries(queries, model, zero_rows)
    x = x[nonzero]
    if not len(x) and len(nonzero):
        raise all_zero(len(nonzero), argument="queries")
    search_store(store, model, x[:1], top, **settings)  # loading and compilation are not timed
    store.query_dense(x[:1], top)
    started = time.perf_counter()
    dense = store.query_dense(x, top)
    between = time.perf_counter()
    codes = search_store(store, model, x, top, **settings)
    seconds = np.array([between - started, time.perf_counter() - between]) / len(x)
    all_dense, all_codes = (_of_all_queries(found, nonzero, zero_rows) for found in (dense, codes))
    return Compared(all_dense, all_codes, overlap(dense, codes), *seconds.tolist())


def overlap(before: list[Found], after: list[Found]) -> float:
    """Return the mean share of the items in ``before`` that are also in ``after``."""
    pairs = zip(before, after, strict=True)
    return float(np.mean([len({*old.ids} & {*new.ids}) / max(len(old.ids), 1) for old, new in pairs]))
