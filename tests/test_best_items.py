"""The best items of every backend, by lists, by scanning and in blocks: those of a sort of all scores, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.backends import search_types
from compressae_ref.backends.numpy import search as numpy_search
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Items, Queries
from compressae_ref.codes import Codes
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.conftest import KERNELS_IN_THREADS, SIMULATED, kernels_in_threads

numba_lists = pytest.importorskip("compressae_ref.backends.numba.inverted_index")
numba_heap = pytest.importorskip("compressae_ref.backends.numba.topk_heap")


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels, pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_search, "ITEMS_PER_BLOCK", 7)
        patch.setattr(search_types, "QUERIES_PER_BLOCK", 20)
        yield kernels


def by_sorting(queries, items, top):
    """All scores, sorted: −score first, then the rank."""
    u = queries.u.to_dense() if isinstance(queries.u, Codes) else queries.u
    scores = by_reference.codes_dot(u, items.codes) / (queries.norms[:, None] * items.norms)
    rows = np.arange(len(items.norms)) if items.allowed is None else np.flatnonzero(items.allowed)
    order = [sorted(rows.tolist(), key=lambda row: (-mine[row], items.ranks[row]))[:top] for mine in scores.tolist()]
    ids = np.array(order, np.int64).reshape(len(scores), min(top, len(rows)))
    return Hits(ids, np.take_along_axis(scores, ids, axis=1))


def with_lists(items, kernels, block=None):
    if kernels.name == "numba" and block is not None:
        return items._replace(index=numba_lists.build_index(items.codes, items.norms, block))
    return items._replace(index=kernels.build_index(items.codes, items.norms))


def assert_found(kernels, queries, items, top, block=None):
    hits, truth = kernels.best_items(queries, with_lists(items, kernels, block), top), by_sorting(queries, items, top)
    assert_same_bits(hits.ids, truth.ids)
    assert_same_bits(hits.scores, truth.scores)


@st.composite
def searches(draw_from):
    """Queries and items of one h, with ties and extreme scales, some of them forbidden, in any order of ranks."""
    rng, dtype = draw_from(draw.generators()), draw_from(st.sampled_from(draw.DTYPES))
    h, n = draw_from(st.integers(1, 40)), draw_from(st.integers(1, 70))
    items = draw_from(draw.codes(st.just(n), dtype, h))
    asked = draw_from(draw.codes(st.integers(0, 40), dtype, h))
    if draw_from(st.booleans()):
        scales = 10.0 ** rng.integers(-12, 12, (2, max(n, len(asked)), 1))
        items, asked = (
            Codes.trusted(c.indices, (c.values * scale[: len(c)]).astype(dtype), h)
            for c, scale in zip((items, asked), scales, strict=True)
        )
    norms = by_reference.code_norms(items) if draw_from(st.booleans()) else rng.uniform(0.5, 2, n).astype(dtype)
    queries = Queries(asked if draw_from(st.booleans()) else asked.to_dense(), by_reference.code_norms(asked))
    ranks = np.arange(n) if draw_from(st.booleans()) else rng.permutation(n)
    allowed = None if draw_from(st.booleans()) else rng.random(n) < draw_from(st.sampled_from([0, 0.1, 0.9]))
    return queries, Items(items, norms, ranks, allowed, None)


@given(
    search=searches(),
    top=st.integers(1, 80),
    block=st.sampled_from([1, 3, 16, 64]),
    crowded=st.sampled_from([1, 4, 99]),
)
def test_it_is_a_sort_of_all_scores(kernels, search, top, block, crowded):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_lists, "COLUMN_THRESHOLD", crowded)
        assert_found(kernels, *search, top, block)


@pytest.mark.parametrize("dtype", draw.DTYPES)
@pytest.mark.parametrize("top", [1, 100])
def test_many_items(kernels, dtype, top):
    """More than a block, and queries that know most of them to be far away."""
    rng = np.random.default_rng(0)
    n, h, k = 300 if SIMULATED else 40_000, 64, 4
    indices = np.sort(np.minimum(rng.exponential(8, (n, h)).argsort(axis=1), h - 1)[:, :k], axis=1)
    values = rng.standard_normal((n, k)).round(1)
    items = Codes(indices, values.astype(dtype), h)
    asked = items[rng.integers(0, n, 5)]
    for queries in (
        Queries(asked, by_reference.code_norms(asked)),
        Queries(asked.to_dense(), by_reference.code_norms(asked)),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(numpy_search, "ITEMS_PER_BLOCK", 8192)
            assert_found(kernels, queries, Items(items, by_reference.code_norms(items), np.arange(n), None, None), top)


@pytest.mark.parametrize("best", [0, 40])
def test_rounding_to_integers_costs_nothing_even_at_its_worst(kernels, best):
    """The best item loses 0.49 in each of 30 integers, the others gain as much: their integers look better."""
    values = np.full((50, 30), 10.51) / 127
    values[:, 28:] = 9.6 / 127
    values[best] = 10.49 / 127
    values = np.hstack([values, np.zeros((50, 1))])
    values[49] = [0] * 30 + [1]  # so that integers are 127 times the values
    items = Codes(np.tile(np.arange(31), (50, 1)), values.astype("f4"), 31)
    asked = Codes(np.arange(30)[None], np.ones((1, 30), "f4"), 31)
    for top, block in ((1, 64), (1, 16), (5, 64)):
        everything = Items(items, np.ones(50, "f4"), np.arange(50), None, None)
        assert_found(kernels, Queries(asked, by_reference.code_norms(asked)), everything, top, block)
        assert by_sorting(Queries(asked, by_reference.code_norms(asked)), everything, 1).ids == [[best]]


def test_a_score_that_underflows_is_what_it_is(kernels):
    """What lists know of it lies far from it: 1e-30 times 1e-30 is 0, and all items are alike."""
    items = Codes(np.zeros((50, 1), int), np.linspace(1e-31, 1e-30, 50, dtype="f4")[:, None], 2)
    asked = Codes([[0]], np.full((1, 1), 1e-30, "f4"), 2)
    everything = Items(items, by_reference.code_norms(items), np.arange(50), None, None)
    assert_found(kernels, Queries(asked, by_reference.code_norms(asked)), everything, 3, 16)


def test_a_long_query_does_not_overflow_sums(kernels):
    """As many entries as latents, all of one sign, against items just like it, and others that are less and less."""
    for h, k in ((30, 30), (900, 1), (900, 30), (900, 900)):
        indices = np.tile(np.arange(k), (20, 1))
        values = np.linspace(1, 2, 20 * k, dtype="f4").reshape(20, k)
        values[np.arange(k) < np.arange(20)[:, None] * k // 30] *= -1
        items = Codes(indices, values, h)
        for sign in (1, -1):
            asked = Codes(np.arange(h)[None], np.full((1, h), sign, "f4"), h)
            norms = by_reference.code_norms(items)
            assert_found(
                kernels,
                Queries(asked, by_reference.code_norms(asked)),
                Items(items, norms, np.arange(20), None, None),
                5,
            )


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6)), unique_by=lambda each: each[1]), st.integers(1, 12)
)
def test_the_best_of_parts_are_the_best(results, top):
    ranks = np.array([rank for _, rank in results] + [0])
    cut = len(results) // 2
    parts = [
        Hits(np.arange(first, last)[None], np.array([[score for score, _ in results[first:last]]], "f4"))
        for first, last in ((0, cut), (cut, len(results)))
    ]
    expected = sorted(range(len(results)), key=lambda row: (-results[row][0], results[row][1]))[:top]
    assert best_of(parts, ranks, top).ids.tolist() == [expected]
