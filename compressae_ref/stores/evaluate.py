"""Measure what an engine returns for the user's queries: agreement with exact search, recall, nDCG and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.search import merged
from compressae_ref.backends.ranking import by_score
from compressae_ref.backends.search_types import no_hits
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import Codes
from compressae_ref.errors import StoreError
from compressae_ref.metrics import ndcg_at
from compressae_ref.model import Model
from compressae_ref.retrieval.brute_force import unit_or_zero
from compressae_ref.stores.contract import ROWS, CodeRows, Found, Id, Store
from compressae_ref.stores.decoded import as_matrix
from compressae_ref.stores.push_from import Source
from compressae_ref.stores.query import overlap, search_store
from compressae_ref.stores.stored_form import serving

ROUNDING = 1e-5
"""Scores that differ by at most this are ties: engines sum float32 products in their own order."""

NDCG_TOP = 10
"""Results of a query that count for nDCG."""


@dataclass
class Measured:
    """Results of the same queries in one field of a store. None: not measured, or not reported by the engine."""

    vectors: str
    """``dense`` or ``codes``"""
    field: str
    recall: dict[int, float] | None
    """by number of neighbours: share of the exact dense neighbours that the engine returns"""
    agreement: dict[int, float] | None
    """by number of results: share of the exact results for the same stored codes that the engine returns"""
    ndcg: float | None
    """nDCG@10"""
    ms_per_query: float
    """milliseconds, with encoding"""
    bytes_per_item: float | None
    fewest: int
    """the fewest items that a query got"""

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def evaluate_store(
    store: Store,
    model: Model,
    queries: Any,
    tops: Sequence[int] = (10, 100),
    *,
    dense: Source | None = None,
    relevance: Mapping[int, Mapping[Any, int]] | None = None,
    field: str | None = None,
    **settings: Any,
) -> list[Measured]:
    """Search the codes and, if there is one, the dense field of a store, and measure the results.

    Parameters
    ----------
    queries : (n_q, d) dense embeddings that are not zero
    tops : numbers of neighbours for recall
    dense : the dense vectors with their ids, if the store has none; they are read once. None: those in the store
    relevance : for each query by its row number: the relevant ids and their grades
    settings : k, space, refine, fitted, query_k and backend as in `query.search_store`

    Raises
    ------
    StoreError
        If there are no codes with these settings, or the engine refuses a query.
    """
    x, top = as_embeddings(queries, name="queries", d=model.params.d), max([*tops, NDCG_TOP])
    of_items: dict[str, Any] = {"k": None, "space": "sparse", "refine": False, "backend": None, "fitted": False}
    form = serving(model, **{name: settings.get(name, default) for name, default in of_items.items()})
    field = form.field if field is None else field
    found, seconds = _timed(lambda part: search_store(store, model, part, top, field=field, **settings), x)
    if not store.count_written(field):
        raise StoreError(f"expected codes in the field {field!r}, got none", path=store.name, hint="push codes first")
    exact = _Exact(form.queries(x, settings.get("query_k")), found, top, signed=store.signed)
    for block in store.scroll_codes(field, ROWS):
        exact.add(block)
    truth, sizes = _nearest(store, dense, x, top), store.sizes(field)

    def measured(what: str, name: str, hits: list[Found], seconds: float, n: int) -> Measured:
        recall = None if truth is None else {m: overlap(_first(truth, m), _first(hits, m)) for m in tops}
        ndcg = None if relevance is None else _ndcg(hits, relevance)
        agreement = {m: exact.agreement(m) for m in tops} if what == "codes" else None
        size = sizes[what] / max(n, 1) if what in sizes else None
        fewest = min(len(each.ids) for each in hits)
        return Measured(what, name, recall, agreement, ndcg, 1e3 * seconds, size, fewest)

    rows = [measured("codes", field, found, seconds, store.count_written(field))]
    if store.dense is not None:
        hits, seconds = _timed(lambda part: store.query_dense(part, top), x)
        rows.insert(0, measured("dense", store.dense, hits, seconds, store.count()))
    return rows


def _timed(search: Callable[[Floats], list[Found]], x: Floats) -> tuple[list[Found], float]:
    """Return the results, and the seconds per query; loading and compilation are not timed."""
    search(x[:1])
    started = time.perf_counter()
    found = search(x)
    return found, (time.perf_counter() - started) / len(x)


def _first(found: list[Found], top: int) -> list[Found]:
    return [Found(hits.ids[:top], hits.scores[:top]) for hits in found]


def _ndcg(found: list[Found], relevance: Mapping[int, Mapping[Any, int]]) -> float:
    """Return nDCG@10. Ids are compared by their text: 7 and "7" are the same."""
    ids = np.full((len(found), NDCG_TOP), None, object)
    for row, hits in zip(ids, found, strict=True):
        row[: len(hits.ids[:NDCG_TOP])] = [*map(str, hits.ids[:NDCG_TOP])]
    grades: Any = {query: {str(item): grade for item, grade in own.items()} for query, own in relevance.items()}
    return ndcg_at(ids, grades)


def _nearest(store: Store, dense: Source | None, x: Floats, top: int) -> list[Found] | None:
    """Return the exact dense neighbours by one pass over the dense vectors, or None if there are none."""
    if dense is None and store.dense is None:
        return None
    best, ids, unit = no_hits(len(x), np.float32), list[Id](), unit_or_zero(x)
    for block in store.scroll(ROWS) if dense is None else dense.blocks(ROWS):
        rows = np.arange(len(ids), len(ids) + len(block.ids), dtype=np.int64)
        ids += block.ids
        best = merged(best, unit @ unit_or_zero(block.x).T, rows, top)
    best = by_score(best)
    pairs = zip(best.ids.tolist(), best.scores.tolist(), strict=True)
    return [Found([ids[row] for row in rows], scores) for rows, scores in pairs]


class _Exact:
    """Exact scores of all stored codes, block by block, beside what the engine returned."""

    def __init__(self, queries: Codes, found: list[Found], top: int, *, signed: bool) -> None:
        self._u, self._top, self._signed = queries.to_dense().astype(np.float64).T, top, signed
        self._best = np.full((len(found), top), -np.inf)
        self._places: dict[Id, list[tuple[int, int]]] = {}
        self._scores = [np.full(len(hits.ids), -np.inf) for hits in found]
        for query, hits in enumerate(found):
            for rank, key in enumerate(hits.ids):
                self._places.setdefault(key, []).append((query, rank))

    def add(self, block: CodeRows) -> None:
        """Score a block of codes."""
        scores = as_matrix(block, len(self._u), signed=self._signed) @ self._u
        joined = np.concatenate([self._best, scores.T], axis=1)
        self._best = -np.sort(-joined, axis=1)[:, : self._top]
        for row, key in enumerate(block.ids):
            for query, rank in self._places.get(key, ()):
                self._scores[query][rank] = scores[row, query]

    def agreement(self, top: int) -> float:
        """Return the mean share of the ``top`` exact results that are among the first ``top`` of the engine.

        Results whose exact score is that of the last exact one are as good. Exact results with a score of at most 0
        are not expected: an engine may leave out items that share no latent with the query.
        """
        return float(np.mean([*self._shares(top)]))

    def _shares(self, top: int) -> Iterator[float]:
        for best, scores in zip(self._best, self._scores, strict=True):
            expected = int((best[:top] > ROUNDING).sum())
            good = scores[:top] >= best[expected - 1] - ROUNDING if expected else scores[:0]
            yield min(int(np.sum(good)), expected) / expected if expected else 1.0
