"""Measure settings of codes, and other methods, on a sample (`sample`), as the options of a choice (`choose`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.backends.search_types import Items, Queries
from compressae_ref.codes import Codes
from compressae_ref.evaluation.baselines import baselines
from compressae_ref.evaluation.choose import PACKAGE, Engine, Goal, Option, best
from compressae_ref.evaluation.evaluate import Row
from compressae_ref.evaluation.sample import PARTS, Find, Sample
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import refine
from compressae_ref.model import Model, aux_k
from compressae_ref.retrieval.brute_force import unit_or_zero
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.spaces import EXPANSION, Space, as_queries, checked_item_norms

MOST_K = 128
"""Codes with more entries are not measured: refining takes time in proportion to k², and int8 is near."""

FIRST_K = 8
"""The first k that is measured for a quality."""

LONGEST_QUERY = 1000
"""Entries of an expanded query, at most: an index of pgvector (HNSW) takes no more."""

FETCHED = 4
"""Items that are re-ranked per result, if signs are split (`stores.query.RESCORED`)."""


class Asked(NamedTuple):
    """How a database is asked."""

    space: Space
    query_k: int
    refined: bool


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

    # -- this package ---------------------------------------------------------------------------------------------

    def packed(self, k: int, bits: int, refined: bool = True) -> Option:
        """Measure packed codes that are searched with dense queries."""
        packed = pack(self.codes(k, refined), bits, backend=self.backend)
        find = self._search("asymmetric", packed.unpack(backend=self.backend), None)
        row = Row("asymmetric", k, None, packed.bytes_per_item, 1.0, {}, refined, bits)
        return self._option(PACKAGE, row, find)

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
        ways = [Asked("sparse", aux_k(k, h), False), *(Asked("expanded", query_k, True) for query_k in longer)]
        options = []
        for space, query_k, refined in ways:
            codes = self.codes(k, refined)
            search = self._search if engine.signed else self._split_search
            row = Row(space, k, query_k, engine.bytes_of(k), 1.0, {}, refined)
            options.append(self._option(engine.name, row, search(space, codes, query_k)))
        return options

    def engine_that_reaches(self, engine: Engine, goal: Goal) -> None:
        """Measure codes in an engine around the smallest ones that reach a quality."""
        smallest(lambda k: best(self.in_engine(engine, k), goal) is not None, self.most_k)

    # -- searches -------------------------------------------------------------------------------------------------

    def _search(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        index = Index.build(codes, space=space, model=self.model, backend=self.backend)
        return lambda top, allowed: index.search(self.sample.queries, top, query_k=query_k, allowed=allowed).ids

    def _split_search(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        """Return the search of an engine that refuses signs: it finds items by split codes, and signed ones re-rank."""
        norms = checked_item_norms(space, codes, self.model, self.backend)
        vectors = as_queries(space, self.sample.queries, codes[:0], self.model, query_k, self.backend)
        assert isinstance(vectors.u, Codes)
        split, queries = codes.split_signs(), Queries(vectors.u.split_signs(), vectors.norms)
        built, ranks, u = self.backend.build_index(split, norms), np.arange(len(codes)), vectors.dense()

        def find(top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
            mask = None if allowed is None else np.isin(ranks, allowed)
            near = self.backend.best_items(queries, Items(split, norms, ranks, mask, built), FETCHED * top).ids
            scores = [
                (query[codes.indices[ids]] * codes.values[ids]).sum(axis=1) / norms[ids]
                for query, ids in zip(u, near, strict=True)
            ]
            order = np.argsort(np.negative(scores), axis=1, kind="stable")[:, :top]
            return np.take_along_axis(near, order, axis=1)

        return find

    def milliseconds(self, option: Option) -> float:
        """Return the time of a query among all items: that of the sample, in proportion to the number of items."""
        row = option.row
        codes = self.codes(row.k or 0, row.refined)
        if row.bits is not None:
            codes = pack(codes, row.bits, backend=self.backend).unpack(backend=self.backend)
        find = self._search("asymmetric", codes, None)
        find(self.sample.top, None)
        started = time.perf_counter()
        find(self.sample.top, None)
        seconds = (time.perf_counter() - started) / len(self.sample.queries)
        return 1e3 * seconds * self.sample.n / len(self.sample.items)

    def _option(self, serving: str, row: Row, find: Find) -> Option:
        key = (serving, row.method, row.k, row.query_k, row.refined, row.bits)
        for option in self.options:
            if key == (option.serving, *(getattr(option.row, name) for name in _NAMES)):
                return option
        option = judged(self.sample, serving, row, find)
        self.options.append(option)
        self._progress(option)
        return option


_NAMES = ("method", "k", "query_k", "refined", "bits")


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


def other_methods(sample: Sample, sizes: Sequence[int], quantised: Sequence[int]) -> Iterator[Option]:
    """Yield what other ways to store dense vectors reach on the sample (`baselines.baselines`)."""
    x_unit, x_q = unit_or_zero(sample.items), unit_or_zero(sample.queries)
    top = sample.most
    yield judged(sample, "", Row("dense", None, None, 4 * x_unit.shape[1], 1.0, {}), sample.dense)
    for one in baselines(x_unit, sizes, quantised):
        row = Row(one.method, None, None, one.bytes_per_item, 1.0, {})
        deeper = one.search(x_q, min(len(x_unit), (PARTS + 1) * top))
        yield judged(sample, "", row, lambda top, allowed, ids=deeper: among(ids, top, allowed))  # type: ignore[misc]


def among(ids: NDArray[np.int64], top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the first ``top`` of the results of each query that are allowed; −1 where a query has too few."""
    if allowed is None:
        return ids[:, :top]
    inside = np.isin(ids, allowed)
    order = np.argsort(~inside, axis=1, kind="stable")[:, :top]
    return np.where(np.take_along_axis(inside, order, axis=1), np.take_along_axis(ids, order, axis=1), -1)


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
