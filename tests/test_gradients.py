"""The backward pass against finite differences, away from selection kinks, and against itself in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compressae_ref.backends import get_backend
from compressae_ref.model import AUX_WEIGHT, aux_k
from compressae_ref.params import Params, init_params
from compressae_ref.reference import clamped_norm, unit_rows
from compressae_ref.training.step import forward, loss_and_grads
from tests import strategies as draw
from tests.bounds import assert_same_bits

NUMPY = get_backend("numpy")


def selections(problem, params):
    x_unit = unit_rows(problem.x, params.dtype)
    k_aux = aux_k(problem.k, params.n_latents)
    return [NUMPY.encode(x_unit, params.W_enc, params.b_enc, k).indices for k in (problem.k, k_aux)]


def moved(params, direction, step):
    return Params(*(p + step * e for p, e in zip(params.arrays().values(), direction, strict=True)))


@given(draw.problems(), draw.generators(), st.sampled_from([0.0, AUX_WEIGHT, 1.0]))
def test_gradients_along_a_random_direction(problem, rng, aux_weight):
    x, params, k = problem
    direction = [rng.standard_normal(array.shape) for array in params.arrays().values()]
    step = 1e-6
    ends = [moved(params, direction, sign * step) for sign in (1, -1)]
    here = selections(problem, params)
    # A finite difference across a kink is not a derivative: the selection must be the same at both ends.
    assume(all(np.array_equal(a, b) for end in ends for a, b in zip(selections(problem, end), here, strict=True)))
    # Nor is one where a reconstruction is so short that its direction turns within the step.
    acts = forward(unit_rows(x, params.dtype), params, k, NUMPY)
    assume(np.linalg.norm(acts.x_hat_k, axis=1).min() > 0.1 and np.linalg.norm(acts.x_hat_aux, axis=1).min() > 0.1)
    grads = params.zeros_like()
    loss_and_grads(x, params, k, NUMPY, grads, aux_weight=aux_weight)
    losses = [loss_and_grads(x, end, k, NUMPY, end.zeros_like(), aux_weight=aux_weight).loss for end in ends]
    slope = (losses[0] - losses[1]) / (2 * step)
    exact = sum((g * e).sum() for g, e in zip(grads.arrays().values(), direction, strict=True))
    # Central differences err by step² · third derivative and by rounding over the step: ~1e-9 at this scale and 1e-9.
    size = 1 + sum(np.linalg.norm(e) for e in direction) ** 3
    assert abs(slope - exact) <= 1e-9 * size


@given(draw.problems(n=st.integers(2, 12)))
def test_a_batch_is_the_mean_of_its_rows(problem):
    x, params, k = problem
    grads = params.zeros_like()
    losses = loss_and_grads(x, params, k, NUMPY, grads)
    single = [params.zeros_like() for _ in x]
    single_losses = [loss_and_grads(row[None], params, k, NUMPY, g) for row, g in zip(x, single, strict=True)]
    assert losses.loss == pytest.approx(np.mean([each.loss for each in single_losses]), abs=1e-12)
    # The gradient of a reconstruction grows as its norm shrinks, up to 1e8 at the clamp (R6). It stands at right angles
    # to the reconstruction, so that sums of large terms may be small: what they are rounded by is the terms' size.
    acts = forward(unit_rows(x, params.dtype), params, k, NUMPY)
    size = 1 + max((1 / clamped_norm(x_hat)).max() for x_hat in (acts.x_hat_k, acts.x_hat_aux))
    for name, total in grads.arrays().items():
        mean = np.mean([each.arrays()[name] for each in single], axis=0)
        np.testing.assert_allclose(total, mean, rtol=1e-9, atol=1e-12 * (size + np.abs(mean).max()))


@pytest.mark.parametrize("dtype", draw.DTYPES)
@pytest.mark.parametrize("n", [700, 1024, 1])
def test_block_sizes_change_no_bit(backend, dtype, n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 20)).astype(dtype)
    params = init_params(20, 90, rng, dtype=dtype)
    results = []
    for rows_per_block in (1, 100, 512, 5000):
        grads, usage = params.zeros_like(), np.zeros(90, np.int64)
        losses = loss_and_grads(x, params, 4, backend, grads, usage, rows_per_block)
        results.append((losses, grads, usage))
    for losses, grads, usage in results[1:]:
        assert losses == results[0][0]
        assert_same_bits(usage, results[0][2])
        for a, b in zip(grads.arrays().values(), results[0][1].arrays().values(), strict=True):
            assert_same_bits(a, b)
    assert usage.sum() == 4 * n


def test_r5_the_auxiliary_k_is_four_k_but_at_most_h():
    assert [aux_k(*case) for case in ((1, 100), (25, 100), (26, 100), (100, 100))] == [4, 100, 100, 100]
    x, params = (
        np.random.default_rng(0).standard_normal((3, 5)),
        init_params(5, 6, np.random.default_rng(1), dtype="float64"),
    )
    losses = loss_and_grads(x, params, 6, NUMPY, params.zeros_like())
    assert losses.loss_k == losses.loss_aux  # k = k_aux = h: one and the same reconstruction
    assert losses.loss == losses.loss_k * 1.125


def test_the_auxiliary_loss_does_not_change_the_codes():
    rng = np.random.default_rng(2)
    x_unit, params = unit_rows(rng.standard_normal((9, 8)), "float64"), init_params(8, 40, rng, dtype="float64")
    acts = forward(x_unit, params, 3, NUMPY)
    direct = NUMPY.encode(x_unit, params.W_enc, params.b_enc, 3)
    assert_same_bits(acts.codes_k.indices, direct.indices)
    assert_same_bits(acts.codes_k.values, direct.values)
    assert_same_bits(acts.x_hat_k, NUMPY.decode(direct, params.W_dec))
