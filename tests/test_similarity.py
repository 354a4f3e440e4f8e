"""The three spaces: each against its definition, and exact search against a plain sort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compressae_ref import (
    Codes,
    DomainError,
    Index,
    Model,
    Params,
    ShapeError,
    asymmetric_cosine,
    expanded_cosine,
    gram,
    init_params,
    reconstructed_cosine,
    search,
    sparse_cosine,
)
from compressae_ref.backends import get_backend, search_types
from compressae_ref.backends.numpy import search as numpy_search
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval import brute_force
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.spaces import SPACES, as_queries, as_top, rescoring_queries, space_for
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_within, gamma


@pytest.fixture(scope="module")
def small():
    """A model with duplicated items, so that scores tie."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 12)).astype("f4")
    x[100:200] = x[:100]
    return Model(init_params(12, 40, rng, init="tied"), 4), x, rng.standard_normal((7, 12)).astype("f4")


def cosine(a, b):
    lengths = [np.maximum(np.linalg.norm(each, axis=1), 1e-8) for each in (a, b)]
    return (a @ b.T) / np.outer(*lengths)


@given(draw.problems(), st.data())
def test_each_space_is_its_definition(problem, data):
    x, params, k = problem
    model = Model(params, k)
    queries = data.draw(draw.embeddings(3, params.d))
    a, b = model.encode(queries), model.encode(x)
    x_hat = [each.to_dense() @ params.W_dec for each in (a, b)]
    shortest = min(np.linalg.norm(each, axis=1).min() for each in x_hat)
    assume(shortest > 1e-3)
    terms = max(np.abs(each.values).sum(1).max() for each in (a, b))
    bound = gamma(20 * (params.d + params.n_latents), float) * max(1, terms / shortest) ** 2
    assert_within(sparse_cosine(a, b), cosine(a.to_dense(), b.to_dense()), bound, "sparse")
    reconstructed = reconstructed_cosine(a, b, params.W_dec)
    assert_within(reconstructed, cosine(*x_hat), bound, "cosine of the decoded rows")
    K = gram(params)
    s_q, s = a.to_dense(), b.to_dense()
    lengths = [np.sqrt(np.einsum("ij,jk,ik->i", each, K, each)) for each in (s_q, s)]
    assert_within(reconstructed, s_q @ K @ s.T / np.outer(*lengths), bound * params.n_latents, "Gram form")
    scaled = queries / np.abs(queries).max(1, keepdims=True)
    assert_within(asymmetric_cosine(queries, b, params.W_dec), cosine(scaled, x_hat[1]), bound, "asymmetric")


def test_a_code_of_zeros_is_similar_to_nothing(small):
    model, _, queries = small
    zeros = model.encode(np.zeros((1, 12), "f4"), zero_rows="empty")
    assert not sparse_cosine(model.encode(queries), zeros).any()
    assert not reconstructed_cosine(model.encode(queries), zeros, model.params.W_dec).any()
    assert not asymmetric_cosine(queries, zeros, model.params.W_dec).any()


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("space", SPACES)
@given(draw.problems(), st.sets(st.integers(0, 6)), st.sampled_from(["error", "empty"]))
def test_a_zero_query_scores_zero_and_leaves_the_others_alone(space, mean, problem, zeros, zero_rows):
    x, params, k = problem
    if mean:
        params = replace(params, mean=(0.5 * unit_rows(x[:1], params.dtype)[0]).astype(params.dtype))
    model = Model(params, k)
    items = model.encode(x)
    queries = np.random.default_rng(len(zeros)).standard_normal((7, params.d)).astype(params.dtype)
    queries[[*zeros]] = 0
    asked = np.flatnonzero(queries.any(axis=1))
    settings = {"space": space, "model": model, "backend": "numpy"}
    if zeros and zero_rows == "error":
        with pytest.raises(DomainError, match=f"row {min(zeros)}"):
            search(queries, items, len(x), **settings)
        return
    hits = search(queries, items, len(x), zero_rows=zero_rows, **settings)
    if len(asked):
        true = search(queries[asked], items, len(x), **settings)
        assert_same_bits(hits.ids[asked], true.ids)
        assert_same_bits(hits.scores[asked], true.scores)
    assert (hits.ids[[*zeros]] == np.arange(len(x))).all()
    assert not hits.scores[[*zeros]].any()


def test_a_query_whose_code_is_too_long_is_named_by_the_number_of_its_row(small):
    model, x, _ = small
    params = model.params.copy()
    params.b_enc[:] = 3e38  # each value is finite, the sum of their squares is not
    large, items = Model(params, model.k), model.encode(x)
    items = Codes(items.indices, items.values, items.n_latents, large.digest)
    queries = np.eye(12, dtype="f4")[[1, 2, 0]]
    queries[1] = 0
    for first, zero_rows, row in ((0, "skip", 0), (0, "empty", 0), (1, "skip", 1)):
        with pytest.raises(DomainError, match=f"sum of squares is finite in float32, got infinity in row {row}$"):
            search(queries[first:], items, space="sparse", model=large, zero_rows=zero_rows, backend="numpy")


def full_scores(space, model, queries, codes, backend):
    if space == "sparse":
        return sparse_cosine(model.encode(queries, codes.k), codes, backend=backend)
    if space == "reconstructed":
        return reconstructed_cosine(model.encode(queries, codes.k), codes, model.params.W_dec, backend=backend)
    if space == "expanded":
        query_k = min(8 * codes.k, codes.n_latents)
        return expanded_cosine(queries, codes, model.params.W_dec, query_k, backend=backend)
    return asymmetric_cosine(queries, codes, model.params.W_dec, backend=backend)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("top", [1, 3, 150, 300, 1000])
def test_r10_search_is_a_stable_sort_of_all_scores(small, backend, space, top, monkeypatch):
    model, x, queries = small
    codes = model.encode(x)
    scores = full_scores(space, model, queries, codes, backend)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    for items, asked in ((8192, 256), (7, 2), (300, 7)):
        monkeypatch.setattr(numpy_search, "ITEMS_PER_BLOCK", items)
        monkeypatch.setattr(search_types, "QUERIES_PER_BLOCK", asked)
        hits = search(queries, codes, top, space=space, model=model, backend=backend)
        np.testing.assert_array_equal(hits.ids, expected)
        assert_same_bits(hits.scores, np.take_along_axis(scores, expected, axis=1))


def test_r10_equal_items_come_by_ascending_id(small):
    model, x, queries = small
    hits = search(queries, model.encode(x), 300, model=model)
    place = np.argsort(hits.ids, axis=1)
    assert (place[:, :100] < place[:, 100:200]).all()


@pytest.mark.parametrize("space", SPACES)
def test_both_backends_find_the_same_with_the_same_scores(small, space):
    pytest.importorskip("numba")
    model, x, queries = small
    codes = model.encode(x)
    a, b = (search(queries, codes, 20, space=space, model=model, backend=name) for name in ("numpy", "numba"))
    assert_same_bits(a.ids, b.ids)
    assert_same_bits(a.scores, b.scores)


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4"), ("f4", "f4")])
@pytest.mark.parametrize("space", SPACES)
def test_both_backends_agree_where_codes_and_model_differ_in_dtype(small, space, dtypes):
    pytest.importorskip("numba")
    model, x, queries = small
    params = Params(*(array.astype(dtypes[0]) for array in model.params.arrays().values()))
    model = Model(params, 4)
    codes = Codes(model.encode(x).indices, model.encode(x).values.astype(dtypes[1]) * (1 / 3), 40)
    found = [search(queries, codes, 20, space=space, model=model, backend=name) for name in ("numpy", "numba")]
    scores = [full_scores(space, model, queries, codes, name) for name in ("numpy", "numba")]
    for a, b in (found[0], found[1]), (scores[:1], scores[1:]):
        for ours, theirs in zip(a, b, strict=True):
            assert_same_bits(ours, theirs)
    assert found[0].scores.dtype == dtypes[0]


def test_queries_may_be_codes_and_then_need_no_model(small):
    model, x, queries = small
    codes, asked = model.encode(x), model.encode(queries)
    dense = search(queries, codes, 5, model=model)
    sparse = search(asked, codes, 5)
    assert_same_bits(dense.ids, sparse.ids)
    assert_same_bits(dense.scores, sparse.scores)
    again = search(asked, codes, 5, space="reconstructed", model=model)
    assert_same_bits(again.ids, search(queries, codes, 5, space="reconstructed", model=model).ids)


def test_dense_queries_are_encoded_with_the_k_of_the_items(small):
    model, x, queries = small
    codes = model.encode(x).truncate(2)
    by_hand = search(model.encode(queries, 2), codes, 5)
    assert_same_bits(search(queries, codes, 5, model=model).scores, by_hand.scores)


@pytest.mark.parametrize("space", ["sparse", "reconstructed"])
def test_the_code_of_a_query_may_be_longer_or_shorter_than_those_of_the_items(small, backend, space):
    model, x, queries = small
    codes = model.encode(x)
    for query_k in (1, 4, 17, 40):
        by_hand = search(model.encode(queries, query_k), codes, 9, space=space, model=model, backend=backend)
        hits = search(queries, codes, 9, space=space, model=model, query_k=query_k, backend=backend)
        assert_same_bits(hits.ids, by_hand.ids)
        assert_same_bits(hits.scores, by_hand.scores)


@pytest.mark.parametrize("space", SPACES)
def test_no_items_and_no_queries(small, space):
    model, x, _ = small
    codes = model.encode(x)
    assert asymmetric_cosine(x[:0], codes, model.params.W_dec).shape == (0, len(codes))
    assert search(x[:2], codes[:0], 5, space=space, model=model).ids.shape == (2, 0)
    assert search(x[:0], codes, 5, space=space, model=model).ids.shape == (0, 5)
    if space in ("sparse", "reconstructed"):
        assert search(codes[:0], codes, 5, space=space, model=model).ids.shape == (0, 5)


def test_what_search_refuses(small):
    model, x, queries = small
    codes = model.encode(x)
    other = Model(init_params(12, 40, np.random.default_rng(9)), 4)
    anonymous = Codes(codes.indices, codes.values, codes.n_latents)
    cases = [
        (lambda: search(queries, codes), DomainError, "expected the model.*for dense queries"),
        (lambda: search(queries, codes, space="asymmetric"), DomainError, "expected the model.*asymmetric"),
        (lambda: search(queries, codes, space="dense", model=model), DomainError, "space: expected one of sparse"),
        (lambda: search(queries, codes, 0, model=model), DomainError, "top: expected an integer of at least 1"),
        (
            lambda: search(queries, codes, query_k=41, model=model),
            DomainError,
            "query_k: expected query_k from 1 to .* 40",
        ),
        (lambda: search(codes, codes, query_k=4), DomainError, "query_k: expected dense queries to encode, got codes"),
        (
            lambda: search(queries, codes, space="asymmetric", query_k=4, model=model),
            DomainError,
            "query_k: expected a space whose queries have a number of entries",
        ),
        (lambda: search(queries[:, :5], codes, model=model), ShapeError, "queries: expected d = 12.*got 5"),
        (lambda: search(queries, codes, model=other), DomainError, "expected codes of model .*, got codes of model"),
        (lambda: search(other.encode(queries), codes), DomainError, "queries: expected codes of model"),
        (lambda: search(codes, codes, space="asymmetric", model=model), DomainError, "dense embeddings.*got codes"),
        (
            lambda: search(Codes([[0, 1], [2, 3]], np.array([[1, 1], [1e20, 1]], np.float32), 40), anonymous),
            DomainError,
            "queries: expected values whose sum of squares is finite in float32, got infinity.* row 1",
        ),
        (lambda: search(Codes([[0]], [[1.0]], 3), codes), ShapeError, "n_latents = 40 as the items have, got 3"),
        (
            lambda: search(other.encode(queries), anonymous, space="reconstructed", model=model),
            DomainError,
            "queries: exp",
        ),
        (lambda: sparse_cosine(other.encode(queries), codes), DomainError, "queries: expected codes of model"),
        (
            lambda: reconstructed_cosine(other.encode(x), codes, model.params.W_dec),
            DomainError,
            "queries: expected codes",
        ),
        (
            lambda: asymmetric_cosine(queries, codes, model.params.W_dec[:30]),
            ShapeError,
            "codes: expected n_latents = 30",
        ),
        (lambda: Index.build(codes, model=model).search([[np.nan] * 12]), DomainError, "NaN or infinity in row 0"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_codes_too_large_for_their_dtype_are_refused_and_not_propagated():
    large = Codes(np.array([[0], [1]]), np.array([[1], [1e30]], np.float32), 2)
    with pytest.raises(DomainError, match="infinity in row 1"), np.errstate(over="ignore"):
        search(large, large)


def test_nearest_dense_is_a_plain_sort(monkeypatch):
    rng = np.random.default_rng(1)
    items, queries = rng.standard_normal((50, 6)).astype("f2"), rng.standard_normal((3, 6))
    monkeypatch.setattr(brute_force, "ITEMS_PER_BLOCK", 16)
    monkeypatch.setattr(brute_force, "QUERIES_PER_BLOCK", 2)
    expected = np.argsort(-cosine(queries, items.astype(float)), axis=1)[:, :10]
    np.testing.assert_array_equal(nearest_dense(queries, items, 10).ids, expected)
    items[7] = 0
    hits = nearest_dense(np.vstack([queries, np.zeros((1, 6))]), items, 50)
    assert (hits.scores[hits.ids == 7] == 0).all()
    assert hits.ids[3].tolist() == list(range(50))


def test_the_space_of_codes_is_sparse_unless_they_are_refined():
    rng = np.random.default_rng(0)
    model = Model(init_params(6, 8, rng), 2)
    plain = model.encode(rng.standard_normal((4, 6), np.float32))
    refined = replace(plain, refined=True)
    assert (space_for(None, plain, None), space_for(None, plain, model)) == ("sparse", "sparse")
    assert space_for(None, refined, model) == "asymmetric"
    for codes in (plain, refined):
        assert space_for("sparse", codes, None) == "sparse"
        assert [space_for(space, codes, model) for space in SPACES] == [*SPACES]
        with pytest.raises(DomainError, match=r"for the expanded space, got None$"):
            space_for("expanded", codes, None)
    with pytest.raises(DomainError, match="for refined codes in the asymmetric space, got None; space='sparse'"):
        space_for(None, refined, None)


def test_a_search_re_ranks_at_least_as_many_items_as_it_returns(small):
    model, _, _ = small
    assert as_top(5, None, None) == (5, 5)
    assert as_top(5, 5, model) == (5, 5)
    assert as_top(5, 9, model) == (5, 9)
    for top, rescore, given_model, message in (
        (0, None, None, "top: expected"),
        (5, 0, model, "rescore: expected"),
        (5, 4, model, "expected at least top = 5 items to re-rank, got 4"),
        (5, 9, None, "expected the model that made the codes, for re-ranking"),
    ):
        with pytest.raises(DomainError, match=message):
            as_top(top, rescore, given_model)


def test_hits_are_re_ranked_by_dense_queries(small):
    model, x, queries = small
    codes, kernels = model.encode(x), get_backend("numpy")
    ours = rescoring_queries(queries, codes, model, kernels, "error")
    assert_same_bits(ours.dense(), as_queries("asymmetric", queries, codes, model, None, kernels).dense())
    with pytest.raises(DomainError, match="expected dense embeddings to re-rank with, got codes"):
        rescoring_queries(codes[:2], codes, model, kernels, "error")
