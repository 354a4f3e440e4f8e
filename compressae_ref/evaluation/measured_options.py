"""Measure settings of codes, and other methods, on a sample (`sample`), as the options of a choice (`choose`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.backends.search_types import Items, Queries
from compressae_ref.codes import Codes
from compressae_ref.evaluation.choose import PACKAGE, Engine, Goal, Option, best
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.sample import Find, Sample
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import refine
from compressae_ref.model import Model, aux_k
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.spaces import EXPANSION, Space, as_queries, as_space, checked_item_norms

MOST_K = 128
"""Codes with more entries are not measured: refining takes time in proportion to k², and int8 is near."""

FIRST_K = 8
"""The first k that is measured for a quality."""

LONGEST_QUERY = 1000
"""Entries of an expanded query, at most: an index of pgvector (HNSW) takes no more."""

FETCHED = 4
"""Items that are re-ranked per result, if signs are split (`stores.query.RESCORED`)."""


class Measured:
    """The settings of one model on one sample; each option is measured once.

    Parameters
    ----------
    progress : called with each option as soon as it is measured
    """

    def __init__(
        self, model: Model, sample: Sample, backend: Backend, progress: Callable[[Option], None] = lambda option: None
    ) -> None:
        self.model, self.sample, self.backend, self._progress = model, sample, backend, progress
        self.options: list[Option] = []
        self._codes: dict[tuple[int, bool], Codes] = {}
        self._queries: dict[tuple[Space, int | None], Queries] = {}
        self._judged: dict[tuple[Any, ...], Option] = {}

    @property
    def most_k(self) -> int:
        """The largest k that is measured."""
        return min(MOST_K, self.model.params.n_latents)

    @cached_property
    def _wide(self) -> Codes:
        """Codes with the candidates for the largest k."""
        k = aux_k(self.most_k, self.model.params.n_latents)
        return self.model.encode(self.sample.items, k, zero_rows="empty", backend=self.backend)

    def codes(self, k: int, refined: bool) -> Codes:
        """Return the codes of the items."""
        if (k, refined) not in self._codes:
            codes = self._wide.truncate(aux_k(k, self.model.params.n_latents) if refined else k)
            if refined:
                settings = {"zero_rows": "empty", "backend": self.backend}
                codes = refine(codes, self.sample.items, self.model.params, k, **settings)  # type: ignore[arg-type]
            self._codes[k, refined] = codes
        return self._codes[k, refined]

    def packed(self, k: int, bits: int, refined: bool = True) -> Option:
        """Measure packed codes that are searched with dense queries."""
        size = Layout.of(self.model.params.n_latents, k, bits).row_bytes
        row = Row("asymmetric", k, None, size, 1.0, {}, refined, bits)
        return self._option(PACKAGE, row, lambda: self._search("asymmetric", self._unpacked(k, bits, refined), None))

    def _unpacked(self, k: int, bits: int, refined: bool) -> Codes:
        """Return codes as they are after packing."""
        return pack(self.codes(k, refined), bits, backend=self.backend).unpack(backend=self.backend)

    def packed_within(self, size: float) -> None:
        """Measure for each number of bits the largest k whose codes take at most ``size`` bytes."""
        h, ks = self.model.params.n_latents, range(1, self.most_k + 1)
        for bits in BITS:
            if fitting := [k for k in ks if Layout.of(h, k, bits).row_bytes <= size]:
                for refined in (True, False):
                    self.packed(fitting[-1], bits, refined)

    def packed_that_reach(self, goal: Goal) -> None:
        """Measure refined codes around the smallest ones that reach a quality."""

        def measure(k: int) -> bool:
            return best([self.packed(k, bits) for bits in BITS], goal) is not None

        reached = smallest(measure, self.most_k)
        for more in sorted({reached + reached // 8, reached + reached // 4} - {reached}) if reached else ():
            if more <= self.most_k:  # more entries of fewer bits may take fewer bytes
                measure(more)

    # -- vector databases -----------------------------------------------------------------------------------------

    def in_engine(self, engine: Engine, k: int) -> list[Option]:
        """Measure codes of k entries in an engine: with sparse queries, and with expanded ones."""
        h = self.model.params.n_latents
        longer = sorted({min(EXPANSION * k, h, LONGEST_QUERY), min(LONGEST_QUERY, h)})
        ways: list[tuple[Space, int, bool]] = [("sparse", aux_k(k, h), False)]
        ways += [("expanded", query_k, True) for query_k in longer]
        options = []
        for space, query_k, refined in ways:
            search = self._search if engine.signed else self._split_search
            row = Row(space, k, query_k, engine.bytes_of(k), 1.0, {}, refined)
            find = partial(self._found_by, search, row)
            options.append(self._option(engine.name, row, find, split=not engine.signed))
        return options

    def _found_by(self, search: Callable[[Space, Codes, int | None], Find], row: Row) -> Find:
        return search(as_space(row.method), self.codes(row.k or 0, row.refined), row.query_k)

    def engine_that_reaches(self, engine: Engine, goal: Goal) -> None:
        """Measure codes in an engine around the smallest ones that reach a quality."""
        smallest(lambda k: best(self.in_engine(engine, k), goal) is not None, self.most_k)

    # -- searches -------------------------------------------------------------------------------------------------

    def _vectors(self, space: Space, query_k: int | None) -> Queries:
        """Return the queries as vectors over the latents; they are the same for all codes."""
        if (space, query_k) not in self._queries:
            like = Codes.none(1, self.model.params.n_latents, self.model.params.dtype)
            vectors = as_queries(space, self.sample.queries, like, self.model, query_k, self.backend)
            self._queries[space, query_k] = vectors
        return self._queries[space, query_k]

    def _search(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        """Return the search of `Index.search`, without encoding the queries again."""
        codes = codes.astype(self.model.params.dtype)
        norms, ranks = checked_item_norms(space, codes, self.model, self.backend), np.arange(len(codes))
        built, vectors = self.backend.build_index(codes, norms), self._vectors(space, query_k)

        def find(top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
            items = Items(codes, norms, ranks, _mask(allowed, len(codes)), built)
            return self.backend.best_items(vectors, items, top).ids

        return find

    def _split_search(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        """Return the search of an engine that refuses signs: it finds items by split codes, and signed ones re-rank."""
        norms, ranks = checked_item_norms(space, codes, self.model, self.backend), np.arange(len(codes))
        vectors = self._vectors(space, query_k)
        assert isinstance(vectors.u, Codes)
        split, queries = codes.split_signs(), Queries(vectors.u.split_signs(), vectors.norms)
        built, u = self.backend.build_index(split, norms), vectors.dense()

        def find(top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
            items = Items(split, norms, ranks, _mask(allowed, len(codes)), built)
            near = self.backend.best_items(queries, items, FETCHED * top).ids
            scores = [
                (query[codes.indices[ids]] * codes.values[ids]).sum(axis=1) / norms[ids]
                for query, ids in zip(u, near, strict=True)
            ]
            order = np.argsort(np.negative(scores), axis=1, kind="stable")[:, :top]
            return np.take_along_axis(near, order, axis=1)

        return find

    def milliseconds(self, option: Option) -> float:
        """Return the time of a query among all items: a line through the times among the sample and half of it."""
        row, m = option.row, len(self.sample.items)
        codes = self._unpacked(row.k or 0, row.bits or 0, row.refined)
        whole, half = self._seconds(codes), self._seconds(codes[: (m + 1) // 2])
        more = max(0.0, whole - half) / max(1, m // 2) * (self.sample.n - m)
        return 1e3 * (whole + more) / len(self.sample.queries)

    def _seconds(self, codes: Codes) -> float:
        """Return the time of all queries."""
        index = Index.build(codes, space="asymmetric", model=self.model, backend=self.backend)
        index.search(self.sample.queries, self.sample.top)
        started = time.perf_counter()
        index.search(self.sample.queries, self.sample.top)
        return time.perf_counter() - started

    def _option(self, serving: str, row: Row, search: Callable[[], Find], split: bool = False) -> Option:
        """Return the option of a row; the same search in another engine is measured once."""
        key = (split, row.method, row.k, row.query_k, row.refined, row.bits)
        if key not in self._judged:
            self._judged[key] = judged(self.sample, serving, row, search())
        judgement = self._judged[key]
        sizes = {
            "bytes_per_item": row.bytes_per_item,
            "compression": self.sample.items.shape[1] * 4 / row.bytes_per_item,
        }
        option = judgement._replace(serving=serving, row=replace(judgement.row, **sizes))
        if option not in self.options:
            self.options.append(option)
            self._progress(option)
        return option


def _mask(allowed: NDArray[np.int64] | None, n: int) -> Bools | None:
    return None if allowed is None else np.isin(np.arange(n), allowed)


def judged(sample: Sample, serving: str, row: Row, find: Find) -> Option:
    """Return an option with the quality that a search has, expected among all items."""
    found = sample.found(find)
    recall = sample.recall(found)
    share = None if sample.relevance is None else sample.share(found)
    ndcg = None if sample.relevance is None else float(np.mean(sample.gains(found)[0]))
    dense_bytes = sample.items.shape[1] * 4
    return Option(
        serving,
        Row(
            row.method,
            row.k,
            row.query_k,
            row.bytes_per_item,
            dense_bytes / row.bytes_per_item,
            {sample.top: recall.mean},
            row.refined,
            row.bits,
            ndcg,
            recall_error={sample.top: recall.error},
        ),
        None if share is None else share.mean,
        None if share is None else share.error,
        recall.extrapolated or (share is not None and share.extrapolated),
    )


def smallest(reaches: Callable[[int], bool], most: int) -> int | None:
    """Return about the smallest k up to ``most`` for which a function is true: it doubles, then bisects. None if none.

    The function should be true for all larger k, too.
    """
    below, k = 0, min(FIRST_K, most)
    while not reaches(k):
        if k == most:
            return None
        below, k = k, min(2 * k, most)
    while k - below > max(1, k // 8):
        middle = (below + k) // 2
        below, k = (below, middle) if reaches(middle) else (middle, k)
    return k
