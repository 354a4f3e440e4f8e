"""The mathematics against its dense one-line equivalents, its laws, and rules 1 to 8 one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import ops, sums
from compressae_ref.codes import Codes
from compressae_ref.order import largest
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_within, gamma

f32 = st.just("float32")


def topk_by_sorting(row, k):
    """R1 and R2 in plain Python: indices of the k largest |a|, ties to the lower index, by ascending index."""
    order = sorted(range(len(row)), key=lambda j: (-abs(row[j]), j))
    return sorted(order[:k])


# -- sums -------------------------------------------------------------------------------------------------------------


@given(draw.matrices())
def test_fold_sum_is_the_sum_in_the_stated_order(terms):
    def folded(row):
        while len(row) > 16 and len(row) % 2 == 0:
            half = len(row) // 2
            row = [a + b for a, b in zip(row[:half], row[half:], strict=True)]
        total = row[0]
        for term in row[1:]:
            total = total + term
        return total

    assert_same_bits(sums.fold_sum(terms), np.array([folded(list(row)) for row in terms], terms.dtype))
    exact = np.array([math.fsum(map(float, row)) for row in terms])
    magnitude = np.abs(terms.astype(np.float64)).sum(axis=1)
    assert_within(sums.fold_sum(terms), exact, gamma(terms.shape[1], terms.dtype) * magnitude)


@given(draw.generators(), st.sampled_from(draw.DTYPES), st.integers(0, 9), st.integers(1, 70))
def test_pair_dots_are_the_dots_of_rows(rng, dtype, n, d):
    a, b = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((5, d)).astype(dtype)
    dots = sums.pair_dots(a, b)
    assert_same_bits(dots, np.stack([sums.row_dots(a, np.tile(row, (n, 1))) for row in b], axis=1))
    assert_within(dots, a.astype(float) @ b.T, gamma(d + 1, dtype) * (np.abs(a.astype(float)) @ np.abs(b.T)))


# -- R3, R4 and unit rows ---------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(draw.DTYPES), st.integers(1, 9), st.integers(1, 70))
def test_unit_rows_at_every_scale(data, dtype, n, d):
    x = data.draw(draw.embeddings(n, d, dtype))
    x_unit = ops.normalize_rows(x)
    assert x_unit.dtype == x.dtype
    wide = x.astype(np.float64)
    expected = wide / np.sqrt(((wide / np.abs(wide).max(1, keepdims=True)) ** 2).sum(1, keepdims=True))
    assert_within(
        x_unit * np.abs(wide).max(1, keepdims=True), expected, (gamma(d + 4, dtype)) * np.abs(expected) + 1e-300
    )


@given(st.data(), st.sampled_from(draw.DTYPES), st.integers(-60, 60))
def test_unit_rows_ignore_powers_of_two_to_the_bit(data, dtype, exponent):
    x = data.draw(draw.matrices(dtype=st.just(dtype)))
    x = np.where(np.abs(x) < 1e-19, 0, np.clip(x, -1e20, 1e20)).astype(dtype)
    x[~x.any(axis=1), 0] = 1
    assert_same_bits(ops.normalize_rows(x), ops.normalize_rows(np.ldexp(x, exponent)))


def test_unit_rows_of_the_smallest_and_largest_numbers():
    for dtype in draw.DTYPES:
        info = np.finfo(dtype)
        x = np.array([[info.smallest_subnormal, 0], [info.max, info.max], [-info.max, 0]], dtype)
        root = math.sqrt(0.5)
        assert_within(ops.normalize_rows(x), [[1, 0], [root, root], [-1, 0]], float(info.eps))


# -- R1, R2, R7: selection --------------------------------------------------------------------------------------------


@given(draw.selections())
def test_abs_topk_is_a_stable_sort_by_magnitude(selection):
    pre, k = selection
    codes = ops.abs_topk(pre, k)
    expected = np.array([topk_by_sorting(row, k) for row in pre.tolist()])
    np.testing.assert_array_equal(codes.indices, expected)
    np.testing.assert_array_equal(codes.values, np.take_along_axis(pre, expected, axis=1))
    assert codes.indices.dtype == np.int32
    assert codes.values.dtype == pre.dtype


def test_r1_ties_go_to_the_lower_index():
    pre = np.array([[1.0, -2, 2, -2, 2, 1]])
    assert ops.abs_topk(pre, 1).indices.tolist() == [[1]]
    assert ops.abs_topk(pre, 3).indices.tolist() == [[1, 2, 3]]
    assert ops.abs_topk(pre, 5).indices.tolist() == [[0, 1, 2, 3, 4]]
    assert ops.abs_topk(np.ones((1, 8)), 3).indices.tolist() == [[0, 1, 2]]


def test_r1_selects_by_magnitude_and_keeps_the_sign():
    codes = ops.abs_topk(np.array([[-3.0, 1, 2], [-1, -2, -3]]), 2)
    assert codes.indices.tolist() == [[0, 2], [1, 2]]
    assert codes.values.tolist() == [[-3, 2], [-2, -3]]


def test_r2_exactly_k_are_stored_and_minus_zero_becomes_plus_zero():
    codes = ops.abs_topk(np.array([[-0.0, -0.0, 5, -0.0], [-0.0, 0, -0.0, 0]]), 3)
    assert codes.indices.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert not np.signbit(codes.values).any()


def test_selection_keeps_nan_in_sight():
    codes = ops.abs_topk(np.array([[np.inf, 1, np.nan, 2]]), 2)
    assert codes.indices.tolist() == [[0, 2]]
    assert np.isnan(codes.values[0, 1])


@given(draw.selections(), draw.generators())
def test_selection_commutes_with_permuting_rows_and_flipping_signs(selection, rng):
    pre, k = selection
    rows = rng.permutation(len(pre))
    codes, permuted, flipped = ops.abs_topk(pre, k), ops.abs_topk(pre[rows], k), ops.abs_topk(-pre, k)
    assert_same_bits(codes.indices[rows], permuted.indices)
    assert_same_bits(codes.values[rows], permuted.values)
    assert_same_bits(codes.indices, flipped.indices)
    np.testing.assert_array_equal(codes.values, -flipped.values)


@given(draw.selections(), st.data())
def test_the_k_largest_of_the_stored_are_the_code_for_that_k(selection, data):
    pre, k = selection
    smaller = data.draw(st.integers(1, k))
    kept, rest = ops.split_codes(ops.abs_topk(pre, k), smaller)
    direct = ops.abs_topk(pre, smaller)
    assert_same_bits(kept.indices, direct.indices)
    assert_same_bits(kept.values, direct.values)
    assert rest.k == k - smaller
    both = np.sort(np.concatenate([kept.indices, rest.indices], axis=1), axis=1)
    assert_same_bits(both, ops.abs_topk(pre, k).indices)
    if rest.k:
        assert (np.diff(rest.indices, axis=1) > 0).all()
        assert (np.abs(rest.values).max(1) <= np.abs(kept.values).min(1)).all()


@given(draw.matrices(), st.data())
def test_largest_marks_the_first_of_a_stable_sort(keys, data):
    k = data.draw(st.integers(0, keys.shape[1]))
    expected = np.zeros(keys.shape, bool)
    np.put_along_axis(expected, np.argsort(-keys, axis=1, kind="stable")[:, :k], True, axis=1)
    np.testing.assert_array_equal(largest(keys, k), expected)


# -- encode: the selection without all of the pre-activations ---------------------------------------------------------


@given(draw.problems(dtype="float32"))
def test_encode_selects_from_the_pre_activations_in_the_stated_order(problem):
    x_unit = ops.normalize_rows(problem.x)
    params = problem.params
    codes = ops.encode(x_unit, params.W_enc, params.b_enc, problem.k)
    truth = ops.abs_topk(ops.pre_activations(x_unit, params.W_enc, params.b_enc), problem.k)
    assert_same_bits(codes.indices, truth.indices)
    assert_same_bits(codes.values, truth.values)


@given(draw.rounding_ties())
def test_encode_is_exact_where_latents_differ_by_rounding_alone(problem):
    x_unit, W_enc, k = problem
    b_enc = np.zeros(W_enc.shape[1], W_enc.dtype)
    truth = ops.abs_topk(ops.pre_activations(x_unit, W_enc, b_enc), k)
    codes = ops.encode(x_unit, W_enc, b_enc, k)
    assert_same_bits(codes.indices, truth.indices)
    assert_same_bits(codes.values, truth.values)


@given(draw.problems(dtype="float32", n=st.integers(2, 40)), draw.generators(), st.data())
def test_the_code_of_a_row_depends_on_that_row_alone(problem, rng, data):
    x_unit, (W_enc, b_enc, _) = ops.normalize_rows(problem.x), problem.params.arrays().values()
    rows = rng.integers(0, len(x_unit), data.draw(st.integers(1, 2 * len(x_unit))))
    whole, some = (ops.encode(x, W_enc, b_enc, problem.k) for x in (x_unit, x_unit[rows]))
    assert_same_bits(whole.indices[rows], some.indices)
    assert_same_bits(whole.values[rows], some.values)


@given(draw.problems(dtype="float32"), st.integers(0, 3))
def test_no_order_of_summation_is_further_away_than_the_bound(problem, seed):
    x_unit, (W_enc, b_enc, _) = ops.normalize_rows(problem.x), problem.params.arrays().values()
    bound = ops.pre_bound(W_enc, b_enc)
    one_order = ops.pre_activations(x_unit, W_enc, b_enc)
    order = np.random.default_rng(seed).permutation(len(W_enc))
    for other in (x_unit @ W_enc + b_enc, ops.pre_activations(x_unit[:, order], W_enc[order], b_enc)):
        assert_within(other, one_order, bound)


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_the_bound_is_the_stated_one(dtype):
    """2 γ_{d+8} (maxⱼ ‖wⱼ‖ + maxⱼ |bⱼ|); with no weights, that of what can underflow."""
    W_enc = np.array([[3, 0], [0, 1], [4, 0], [0, 1]], dtype)
    info, d = np.finfo(dtype), 4
    for b_enc, size in (([0, 0], 5), ([-2, 1], 7)):
        expected = 2 * (d + 8) * float(info.eps) * size
        assert float(ops.pre_bound(W_enc, np.array(b_enc, dtype))) == pytest.approx(expected, rel=1e-5)
    nothing = float(ops.pre_bound(0 * W_enc, np.zeros(2, dtype)))
    assert nothing == pytest.approx(2 * (d + 8) * float(info.eps) * math.sqrt(d * float(info.tiny)), rel=1e-5)
    assert nothing > 1000 * d * float(info.tiny)


def test_blas_does_most_of_the_work(monkeypatch):
    """Of a thousand latents a row, few more than k are computed again."""
    rng = np.random.default_rng(3)
    x_unit = ops.normalize_rows(rng.standard_normal((20, 96)).astype(np.float32))
    computed = []
    whole = ops.chosen_dots
    monkeypatch.setattr(ops, "chosen_dots", lambda a, b, chosen: computed.append(chosen.size) or whole(a, b, chosen))
    ops.encode(x_unit, rng.standard_normal((96, 1000)).astype(np.float32), np.zeros(1000, np.float32), 16)
    assert 20 * 16 <= sum(computed) <= 20 * 20


def test_r7_the_gradient_passes_on_the_selected_entries_alone():
    codes = ops.abs_topk(np.array([[1.0, -5, 3]]), 2)
    assert ops.abs_topk_backward(np.array([[7.0, 8]]), codes).to_dense().tolist() == [[0, 7, 8]]


# -- decoding and its gradients ---------------------------------------------------------------------------------------


@given(st.data(), draw.codes(), draw.generators(), st.integers(1, 40))
def test_decode_and_its_backward_are_their_dense_equivalents(data, codes, rng, d):
    dtype = codes.values.dtype
    W_dec, g = (rng.standard_normal(shape).astype(dtype) for shape in ((codes.n_latents, d), (len(codes), d)))
    dense, wide_W, wide_g = codes.to_dense().astype(float), W_dec.astype(float), g.astype(float)
    x_hat = ops.decode(codes, W_dec)
    assert_within(x_hat, dense @ wide_W, gamma(codes.k + 1, dtype) * (np.abs(dense) @ np.abs(wide_W)))
    grad_values = ops.decode_backward_values(g, codes, W_dec)
    bound = np.take_along_axis(np.abs(wide_g) @ np.abs(wide_W.T), codes.indices, axis=1) * gamma(d + 1, dtype)
    assert_within(grad_values, np.take_along_axis(wide_g @ wide_W.T, codes.indices, axis=1), bound)
    out = rng.standard_normal((codes.n_latents, d)).astype(dtype)
    expected = out + dense.T @ wide_g
    bound = gamma(len(codes) + 2, dtype) * (np.abs(out) + np.abs(dense.T) @ np.abs(wide_g))
    ops.decode_backward_weights([(codes, g)], out)
    assert_within(out, expected, bound)


@given(draw.selections(), draw.generators(), st.data())
def test_weight_gradients_do_not_depend_on_how_rows_are_cut(selection, rng, data):
    pre, k = selection
    cut = data.draw(st.integers(0, len(pre)))
    pre = np.clip(pre, -1e6, 1e6)
    codes = ops.abs_topk(pre, k)
    parts = ops.split_codes(codes, data.draw(st.integers(1, k)))
    y = [rng.standard_normal((len(pre), 3)).astype(pre.dtype) for _ in parts]
    whole, cut_in_two = np.full((pre.shape[1], 3), np.nan, pre.dtype), np.zeros((pre.shape[1], 3), pre.dtype)
    ops.transpose_product(list(zip(parts, y, strict=True)), whole, add=False)
    for rows in (slice(0, cut), slice(cut, None)):
        ops.transpose_product([(part[rows], each[rows]) for part, each in zip(parts, y, strict=True)], cut_in_two)
    assert_same_bits(whole, cut_in_two)


@given(draw.codes(), draw.generators())
def test_pre_activations_backward_is_its_dense_equivalent(codes, rng):
    x_unit = ops.normalize_rows(rng.standard_normal((len(codes), 6)).astype(codes.values.dtype))
    W, b = (
        np.full((6, codes.n_latents), np.nan, codes.values.dtype),
        np.full(codes.n_latents, np.nan, codes.values.dtype),
    )
    ops.pre_activations_backward([codes], x_unit, W, b, add=False)
    dense, bound = codes.to_dense().astype(float), gamma(len(codes) + 1, codes.values.dtype)
    assert_within(W, x_unit.T.astype(float) @ dense, bound * (np.abs(x_unit.T) @ np.abs(dense)) * (1 + 1e-6))
    assert_within(b, dense.sum(0), bound * np.abs(dense).sum(0))


# -- R6: the cosine ---------------------------------------------------------------------------------------------------


def test_r6_norms_are_clamped_below():
    x = np.array([[1.0, 0], [1, 0], [1, 0]])
    x_hat = np.array([[1e-9, 0], [0, 0], [1e-7, 0]])
    np.testing.assert_allclose(ops.cosines(x, x_hat), [0.1, 0, 1], rtol=1e-12)


@given(draw.generators(), st.integers(2, 30))
def test_cosine_laws(rng, d):
    x_unit, x_hat = ops.normalize_rows(rng.standard_normal((4, d))), rng.standard_normal((4, d))
    cos = ops.cosines(x_unit, x_hat)
    assert (np.abs(cos) <= 1 + gamma(3 * d, float)).all()
    assert_within(ops.cosines(x_unit, x_unit), np.ones(4), gamma(3 * d, float))
    assert_same_bits(ops.cosines(x_unit, 4 * x_hat), cos)
    grad = ops.cosines_backward(np.ones(4), x_unit, x_hat)
    # The cosine does not change along x̂, so its gradient is orthogonal to it.
    size = np.linalg.norm(grad, axis=1) * np.linalg.norm(x_hat, axis=1) + 1
    assert_within((grad * x_hat).sum(1), np.zeros(4), gamma(8 * d, float) * size)


def test_a_clamped_norm_leaves_no_trace_of_the_reconstruction():
    x_hat = np.array([[1e-9, 2e-9]])
    assert ops.cosines_backward(np.array([1.0]), np.array([[0.0, 1.0]]), x_hat)[0, 0] == 0


def test_the_gradient_of_a_clamped_norm_has_no_second_term():
    x_unit, x_hat = np.array([[0.6, 0.8]]), np.array([[1e-9, 2e-9]])
    np.testing.assert_allclose(ops.cosines_backward(np.ones(1), x_unit, x_hat), x_unit / 1e-8, rtol=1e-12)


# -- dot products of codes --------------------------------------------------------------------------------------------


@given(st.data(), draw.codes())
def test_codes_dot_is_its_dense_equivalent_and_symmetric_to_the_bit(data, a):
    b = data.draw(draw.codes(dtype=a.values.dtype, n_latents=a.n_latents))
    dots = ops.codes_dot(a.to_dense(), b)
    dense_a, dense_b = a.to_dense().astype(float), b.to_dense().astype(float)
    assert_within(dots, dense_a @ dense_b.T, gamma(b.k + 1, a.values.dtype) * (np.abs(dense_a) @ np.abs(dense_b.T)))
    np.testing.assert_array_equal(dots, ops.codes_dot(b.to_dense(), a).T)


@given(draw.codes())
def test_code_norms(codes):
    expected = np.maximum(np.linalg.norm(codes.values.astype(float), axis=1), 1e-8)
    assert_within(ops.code_norms(codes), expected, gamma(codes.k + 3, codes.values.dtype) * expected + 1e-15)


@pytest.mark.parametrize("k", [1, 3])
def test_a_code_longer_than_a_small_counter_is_added_up_whole(k, backend):
    h = 70_000  # more than 2¹⁶: an index type that is too narrow would wrap
    codes = Codes(np.arange(h)[None].repeat(k, 0), np.ones((k, h), np.float32), h)
    assert backend.codes_dot(np.ones((1, h), np.float32), codes).tolist() == [[h] * k]
