"""Search the codes of a store, and compare the results with those of its dense field."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import as_embeddings, as_integer
from compressae_ref.errors import StoreError
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import Found, Store
from compressae_ref.stores.stored_form import serving

RESCORED = 4
"""Items fetched per result if the scores of an engine are only upper bounds; they are re-ranked."""


def search_store(
    store: Store,
    model: Model,
    queries: Any,
    top: int = 10,
    *,
    k: int | None = None,
    space: Space = "sparse",
    refine: bool = False,
    query_k: int | None = None,
    field: str | None = None,
    fetch: int | None = None,
    backend: str | Backend | None = None,
) -> list[Found]:
    """Return the best items of each query by the codes in a store, with the scores of `index.search`.

    Parameters
    ----------
    queries : (n_q, d) dense embeddings
    k, space, refine, field : the settings of `push`
    query_k : entries per query, as in `index.search`
    fetch : number of items to re-rank if the scores of the engine are only upper bounds; None: 4 · top

    Raises
    ------
    StoreError
        If no codes were pushed with these settings, or the engine refuses the query.
    """
    top, form = as_integer(top, "top"), serving(model, k, space, refine, backend)
    field = form.field if field is None else field
    if not store.has_field(field):
        raise StoreError(
            f"expected a field {field!r} of codes, got a store without it",
            path=store.name,
            hint="push codes with these settings first",
        )
    vectors, added = form.queries_and_added(queries, query_k)
    if store.signed:
        found = store.query(field, vectors, top, cosine=form.space == "sparse")
    else:
        bounds = store.query(field, vectors.split_signs(), max(fetch or RESCORED * top, top))
        found = [rescored(store, field, u, bound, top) for u, bound in zip(vectors.to_dense(), bounds, strict=True)]
    if model.params.mean is None:
        return found
    return [
        Found(hits.ids, [score + more for score in hits.scores])
        for hits, more in zip(found, added.tolist(), strict=True)
    ]


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


def compare(store: Store, model: Model, queries: Any, top: int = 10, **settings: Any) -> Compared:
    """Run the same queries in the dense field and in the codes. ``settings`` are those of `search_store`."""
    x = as_embeddings(queries, name="queries", d=model.params.d)
    search_store(store, model, x[:1], top, **settings)  # loading and compilation are not timed
    store.query_dense(x[:1], top)
    started = time.perf_counter()
    dense = store.query_dense(x, top)
    between = time.perf_counter()
    codes = search_store(store, model, x, top, **settings)
    seconds = np.array([between - started, time.perf_counter() - between]) / len(x)
    return Compared(dense, codes, overlap(dense, codes), *seconds.tolist())


def overlap(before: list[Found], after: list[Found]) -> float:
    """Return the mean share of the items in ``before`` that are also in ``after``."""
    pairs = zip(before, after, strict=True)
    return float(np.mean([len({*old.ids} & {*new.ids}) / max(len(old.ids), 1) for old, new in pairs]))
