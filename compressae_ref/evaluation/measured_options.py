"""Measure settings of codes, and other methods, on a sample (`sample`), as the options of a choice (`choose`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.choose import PACKAGE, Engine, Goal, Option, best
from compressae_ref.evaluation.encoded_items import EncodedItems
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.sample import Find, Sample
from compressae_ref.evaluation.sample_searches import SampleSearches
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.residual_codes import ResidualCodes, encode_residual
from compressae_ref.extensions.residual_fit import bytes_range
from compressae_ref.model import Model, aux_k
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.residual_index import ResidualIndex
from compressae_ref.retrieval.spaces import EXPANSION, Space, as_space

MOST_K = 128
"""Codes with more entries are not measured: refining takes time in proportion to k², and int8 is near."""

FIRST_K = 8
"""The first number that `smallest` tries."""

LONGEST_QUERY = 1000
"""Entries of an expanded query, at most: an index of pgvector (HNSW) takes no more."""

RESIDUAL_PARTS = 16
"""The smallest residual codes that reach a quality are found up to this part of their bytes."""


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
        self.searches = SampleSearches(model, sample.queries, backend)
        self._encoded = EncodedItems(model, sample.items, aux_k(self.most_k, model.params.n_latents), backend)
        self._residual: dict[int, ResidualCodes] = {}
        self._judged: dict[tuple[Any, ...], Option] = {}

    @property
    def most_k(self) -> int:
        """The largest k that is measured."""
        return min(MOST_K, self.model.params.n_latents)

    def codes(self, k: int, refined: bool) -> Codes:
        """Return the codes of the items."""
        return self._encoded.refined(k) if refined else self._encoded.codes(k)

    def packed(self, k: int, bits: int, refined: bool = True) -> Option:
        """Measure packed codes that are searched with dense queries."""
        size = Layout.of(self.model.params.n_latents, k, bits).row_bytes
        row = Row("asymmetric", k, None, size, 1.0, {}, refined, bits)
        return self._option(
            PACKAGE, row, lambda: self.searches.exact("asymmetric", self._unpacked(k, bits, refined), None)
        )

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

    # -- residual codes -------------------------------------------------------------------------------------------

    def residual(self, size: int) -> Option | None:
        """Measure residual codes of at most ``size`` bytes; None if the items have none.

        There are none if ``size`` is too small for the model, or if short codes explain the items without a rest.
        """
        least, most = bytes_range(self.model)
        if size < least:
            return None
        try:
            codes = encode_residual(
                self.sample.items, self.model, min(size, most), zero_rows="empty", backend=self.backend
            )
        except DomainError:
            return None
        self._residual[codes.bytes_per_item] = codes
        row = Row("residual", codes.codec.k, None, codes.bytes_per_item, 1.0, {})
        return self._option(PACKAGE, row, lambda: self.searches.residual(codes))

    def residual_that_reach(self, goal: Goal) -> None:
        """Measure residual codes around the smallest ones that reach a quality in fewer bytes than packed codes."""
        least, most = bytes_range(self.model)
        packed = best([option for option in self.options if option.serving == PACKAGE], goal)
        most = most if packed is None else min(most, packed.row.bytes_per_item - 1)
        if most < least:
            return

        def reaches(size: int) -> bool:
            option = self.residual(size)
            return option is not None and option.meets(goal)

        smallest(reaches, most, least=least, first=2 * least, parts=RESIDUAL_PARTS)

    # -- vector databases -----------------------------------------------------------------------------------------

    def in_engine(self, engine: Engine, k: int) -> list[Option]:
        """Measure codes of k entries in an engine: with sparse queries, and with expanded ones."""
        h = self.model.params.n_latents
        longer = sorted({min(EXPANSION * k, h, LONGEST_QUERY), min(LONGEST_QUERY, h)})
        ways: list[tuple[Space, int, bool]] = [("sparse", aux_k(k, h), False)]
        ways += [("expanded", query_k, True) for query_k in longer]
        options = []
        for space, query_k, refined in ways:
            search = self.searches.exact if engine.signed else self.searches.split
            row = Row(space, k, query_k, engine.bytes_of(k), 1.0, {}, refined)
            find = partial(self._found_by, search, row)
            options.append(self._option(engine.name, row, find, split=not engine.signed))
        return options

    def _found_by(self, search: Callable[[Space, Codes, int | None], Find], row: Row) -> Find:
        return search(as_space(row.method), self.codes(row.k or 0, row.refined), row.query_k)

    def engine_that_reaches(self, engine: Engine, goal: Goal) -> None:
        """Measure codes in an engine around the smallest ones that reach a quality."""
        smallest(lambda k: best(self.in_engine(engine, k), goal) is not None, self.most_k)

    # -- measurements -------------------------------------------------------------------------------------------------

    def milliseconds(self, option: Option) -> float:
        """Return the time of a query among all items: a line through the times among the sample and half of it."""
        row, m = option.row, len(self.sample.items)
        if row.method == "residual":
            residual = self._residual[row.bytes_per_item]
            whole, half = (
                self._seconds(ResidualIndex(codes, self.model, backend=self.backend))
                for codes in (residual, residual[: (m + 1) // 2])
            )
        else:
            packed = self._unpacked(row.k or 0, row.bits or 0, row.refined)
            whole, half = (
                self._seconds(Index.build(codes, space="asymmetric", model=self.model, backend=self.backend))
                for codes in (packed, packed[: (m + 1) // 2])
            )
        more = max(0.0, whole - half) / max(1, m // 2) * (self.sample.n - m)
        return 1e3 * (whole + more) / len(self.sample.queries)

    def _seconds(self, index: Index | ResidualIndex) -> float:
        """Return the time of all queries."""
        top = min(self.sample.top, len(index))
        index.search(self.sample.queries, top)
        started = time.perf_counter()
        index.search(self.sample.queries, top)
        return time.perf_counter() - started

    def _option(self, serving: str, row: Row, search: Callable[[], Find], split: bool = False) -> Option:
        """Return the option of a row; the same search in another engine is measured once."""
        of_residual = row.bytes_per_item if row.method == "residual" else None
        key = (split, row.method, row.k, row.query_k, row.refined, row.bits, of_residual)
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


def smallest(
    reaches: Callable[[int], bool], most: int, *, least: int = 1, first: int = FIRST_K, parts: int = 8
) -> int | None:
    """Return about the smallest number from ``least`` to ``most`` for which a function is true; None if there is none.

    It tries ``first``, doubles, then bisects, up to one of ``parts`` parts of the number. The function should be true
    for all larger numbers, too.
    """
    below, number = least - 1, min(max(first, least), most)
    while not reaches(number):
        if number == most:
            return None
        below, number = number, min(2 * number, most)
    while number - below > max(1, number // parts):
        middle = (below + number) // 2
        below, number = (below, middle) if reaches(middle) else (middle, number)
    return number
