"""What the "numpy" backend does to be fast: selection by partition, and encoding where BLAS rules out most latents."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.backends.numpy.encode import encode, pre_bound
from compressae_ref.backends.numpy.topk import abs_topk, largest
from compressae_ref.reference import pre_activations, unit_rows
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_codes, assert_within


@given(draw.selections())
def test_selection_by_partition_is_a_stable_sort(selection):
    assert_same_codes(abs_topk(*selection), by_reference.abs_topk(*selection))


def test_selection_keeps_nan_in_sight():
    codes = abs_topk(np.array([[np.inf, 1, np.nan, 2]]), 2)
    assert codes.indices.tolist() == [[0, 2]]
    assert np.isnan(codes.values[0, 1])


@given(draw.matrices(), st.data())
def test_largest_marks_the_first_of_a_stable_sort(keys, data):
    k = data.draw(st.integers(0, keys.shape[1]))
    expected = np.zeros(keys.shape, bool)
    np.put_along_axis(expected, np.argsort(-keys, axis=1, kind="stable")[:, :k], True, axis=1)
    np.testing.assert_array_equal(largest(keys, k), expected)


@given(draw.problems(dtype="float32"), st.integers(0, 3))
def test_no_order_of_summation_is_further_away_than_the_bound(problem, seed):
    x_unit, (W_enc, b_enc, _) = unit_rows(problem.x, "f4"), problem.params.arrays().values()
    bound = pre_bound(W_enc, b_enc)
    one_order = pre_activations(x_unit, W_enc, b_enc)
    order = np.random.default_rng(seed).permutation(len(W_enc))
    for other in (x_unit @ W_enc + b_enc, pre_activations(x_unit[:, order], W_enc[order], b_enc)):
        assert_within(other, one_order, bound)


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_the_bound_is_the_stated_one(dtype):
    """2 γ_{d+8} (maxⱼ ‖wⱼ‖ + maxⱼ |bⱼ|); with no weights, that of what can underflow."""
    W_enc = np.array([[3, 0], [0, 1], [4, 0], [0, 1]], dtype)
    info, d = np.finfo(dtype), 4
    for b_enc, size in (([0, 0], 5), ([-2, 1], 7)):
        expected = 2 * (d + 8) * float(info.eps) * size
        assert float(pre_bound(W_enc, np.array(b_enc, dtype))) == pytest.approx(expected, rel=1e-5)
    nothing = float(pre_bound(0 * W_enc, np.zeros(2, dtype)))
    assert nothing == pytest.approx(2 * (d + 8) * float(info.eps) * math.sqrt(d * float(info.tiny)), rel=1e-5)
    assert nothing > 1000 * d * float(info.tiny)


def test_blas_does_most_of_the_work(monkeypatch):
    """Of a thousand latents a row, few more than k are computed again."""
    rng = np.random.default_rng(3)
    x_unit = unit_rows(rng.standard_normal((20, 96)), "f4")
    computed = []
    module = sys.modules[encode.__module__]
    whole = module.chosen_dots
    monkeypatch.setattr(module, "chosen_dots", lambda a, b, chosen: computed.append(chosen.size) or whole(a, b, chosen))
    encode(x_unit, rng.standard_normal((96, 1000)).astype(np.float32), np.zeros(1000, np.float32), 16)
    assert 20 * 16 <= sum(computed) <= 20 * 20
