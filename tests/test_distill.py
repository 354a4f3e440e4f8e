"""Training for sparse space: the similarity loss against finite differences, PyTorch and its own laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compressae_ref.backends import get_backend
from compressae_ref.backends.numpy.softmax import exponential
from compressae_ref.params import Params, init_params
from compressae_ref.reference import code_norm, unit_rows
from compressae_ref.training.adam_state import AdamConfig, adam_constants
from compressae_ref.training.distillation import Scales
from compressae_ref.training.kept_latents import SAMPLED_ROWS, most_used
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import distill_loss_and_grads, forward, init_state, loss_and_grads, train_step
from compressae_ref.unit_blocks import HostRows
from spec.generate.program import program
from tests import strategies as draw
from tests import torch_oracle as oracle
from tests.bounds import assert_same_bits, assert_within, gamma
from tests.conftest import KERNELS_IN_THREADS, kernels_in_threads
from tests.lazy import LazyModule
from tests.test_gradients import moved, selections
from tests.test_oracle import mask_of

torch = LazyModule("torch")
NUMPY = get_backend("numpy")
THETA = np.array([0.25, -0.5])


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels:
        yield kernels


def configs(temperatures=(0.05, 0.2, 1.0), weights=(0.3, 1.0)):
    """Settings of the similarity loss."""
    drawn = st.tuples(st.sampled_from(temperatures), st.sampled_from(weights))
    return drawn.map(lambda pair: TrainConfig(objective="distill", temperature=pair[0], similarity_weight=pair[1]))


def gradients(problem, config, backend=NUMPY, theta=THETA):
    """Losses, and gradients of W_enc, b_enc, W_dec and θ."""
    state = init_state(problem.params, backend)
    state.scales.theta[:] = theta
    losses, grad_theta = distill_loss_and_grads(problem.x, state, replace(config, k=problem.k), backend)
    return losses, [backend.fetch(array) for array in state.grads.arrays().values()] + [grad_theta]


def shortest(problem):
    """The smallest norm of a code or a reconstruction, which divides gradients."""
    acts = forward(unit_rows(problem.x, problem.params.dtype), problem.params, problem.k, NUMPY)
    norms = [np.linalg.norm(x_hat, axis=1) for x_hat in (acts.x_hat_k, acts.x_hat_aux)]
    return min(norm.min() for norm in [*norms, code_norm(acts.codes_k.values)])


# -- the same bits ----------------------------------------------------------------------------------------------------


@given(problem=st.sampled_from(draw.DTYPES).flatmap(lambda t: draw.problems(t, st.integers(1, 40))), config=configs())
def test_every_backend_gives_the_same_bits(kernels, problem, config):
    (losses, ours), (right, theirs) = (gradients(problem, config, each) for each in (kernels, NUMPY))
    for a, b in zip(ours, theirs, strict=True):
        assert_same_bits(a, b)
    assert losses == pytest.approx(right, abs=1e-4)


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(2, 150), data=st.data())
def test_shares_of_many_rows_have_the_same_bits(kernels, rng, dtype, n, data):
    cosines = rng.uniform(-1, 1, (n, n)).astype(dtype)
    factor = data.draw(st.sampled_from([0.0, 1.0, 20.0, 800.0, 1e6, 1e300]))
    (shares, logs), (right, right_logs) = (each.softmax_others(cosines, factor) for each in (kernels, NUMPY))
    assert_same_bits(shares, right)
    np.testing.assert_allclose(logs, right_logs, rtol=1e-15)


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(1, 150), d=st.sampled_from([1, 7, 64]))
def test_dots_of_rows_with_themselves_are_those_of_a_copy(kernels, rng, dtype, n, d):
    x = rng.standard_normal((n, d)).astype(dtype)
    assert_same_bits(kernels.pair_dots(x, x), kernels.pair_dots(x, x.copy()))


@given(problem=draw.problems(n=st.integers(1, 12)))
def test_a_weight_of_zero_gives_the_gradients_of_reconstruction(kernels, problem):
    _, (*ours, grad_theta) = gradients(problem, TrainConfig(similarity_weight=0.0), kernels)
    grads = init_state(problem.params, kernels).grads
    loss_and_grads(problem.x, problem.params, problem.k, kernels, grads)
    for a, b in zip(ours, grads.arrays().values(), strict=True):
        assert_same_bits(a, kernels.fetch(b))
    assert not grad_theta.any()


# -- finite differences and PyTorch -----------------------------------------------------------------------------------


@given(draw.problems(n=st.integers(2, 12)), draw.generators(), configs(temperatures=(0.2, 1.0)))
def test_gradients_along_a_random_direction(problem, rng, config):
    direction = [rng.standard_normal(array.shape) for array in (*problem.params.arrays().values(), THETA)]
    step = 1e-6
    ends = [
        (problem._replace(params=moved(problem.params, direction[:3], sign * step)), THETA + sign * step * direction[3])
        for sign in (1, -1)
    ]
    here = selections(problem, problem.params)
    # As in test_gradients: neither across a kink, nor where a direction turns within the step.
    assume(all(np.array_equal(a, b) for end, _ in ends for a, b in zip(selections(end, end.params), here, strict=True)))
    assume(shortest(problem) > 0.1)
    exact = sum((g * e).sum() for g, e in zip(gradients(problem, config)[1], direction, strict=True))
    losses = [gradients(end, config, theta=theta)[0].loss for end, theta in ends]
    size = 1 + sum(np.linalg.norm(e) for e in direction) ** 3
    assert abs((losses[0] - losses[1]) / (2 * step) - exact) <= 1e-9 * size / config.temperature


def torch_gradients(problem, config, reconstruct=True):
    """The similarity loss and what `gradients` returns, by PyTorch, which is told the selections."""
    x, params, k = problem
    acts = forward(unit_rows(x, np.float64), params, k, NUMPY)
    masks = mask_of(acts.codes_k), mask_of(acts.codes_k, acts.codes_rest)
    model, theta = oracle.leaves(params), torch.tensor(THETA.copy(), requires_grad=True)
    similarity = oracle.similarity_loss(torch.tensor(x), model, k, config.temperature, theta, masks)
    loss = config.similarity_weight * similarity
    (loss + oracle.losses(torch.tensor(x), model, k, masks)[0] if reconstruct else loss).backward()
    grads = [None if each.grad is None else each.grad.numpy() for each in (*model, theta)]
    return float(similarity.detach()), grads


@pytest.mark.oracle
@given(draw.problems(n=st.integers(2, 12)), configs())
def test_the_loss_and_every_gradient_agree_with_pytorch(problem, config):
    x, params, k = problem
    assume(shortest(problem) > 1e-3)
    losses, grads = gradients(problem, config)
    similarity, others = torch_gradients(problem, config)
    # The bound of test_oracle; logits are cosines over τ, and the shares of large ones are uncertain by as much.
    acts = forward(unit_rows(x, np.float64), params, k, NUMPY)
    terms = 1 + (np.abs(acts.codes_k.values).sum(1) + np.abs(acts.codes_rest.values).sum(1)).max()
    size = terms / min(shortest(problem), 1)
    bound = gamma(40 * (params.d + params.n_latents + len(x)), np.float64) * size**2 * (1 + 1 / config.temperature**2)
    assert_within(losses.loss_similarity, similarity, bound)
    for ours, theirs in zip(grads, others, strict=True):
        assert_within(ours, theirs, bound * size)


@pytest.mark.oracle
def test_fifty_steps_agree_with_pytorch_in_every_parameter_and_scale(backend):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((256, 20)) @ rng.standard_normal((20, 20))
    params = init_params(20, 40, rng, init="tied", dtype="float64")
    state, model = init_state(params, backend), oracle.leaves(params)
    config = TrainConfig(k=4, objective="distill", temperature=0.2, similarity_weight=0.7)
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def more(batch):
        return 0.7 * oracle.similarity_loss(batch, model, 4, 0.2, theta)

    optimizer = torch.optim.Adam([{"params": list(model)}, {"params": [theta], "lr": 0.01}], lr=3e-3)
    for step in range(50):
        rows = x[(32 * step) % 256 :][:32]
        ours = train_step(state, rows, config, backend, 3e-3)
        theirs = oracle.train_step(torch.tensor(rows), model, 4, optimizer, more=more)
        assert ours.loss == pytest.approx(theirs, abs=1e-9), f"step {step}"
    for name, array in state.params.arrays().items():
        assert_within(backend.fetch(array), getattr(model, name).detach().numpy(), 1e-8, name)
    assert_within(state.scales.theta, theta.detach().numpy(), 1e-9)
    assert np.abs(state.scales.theta).min() > 0.01


@pytest.mark.oracle
def test_a_clamped_norm_has_no_gradient():
    """The codes of one row are shorter than 1e-8, so its cosines are linear in its values (R6)."""
    rng = np.random.default_rng(3)
    x, params = rng.standard_normal((4, 6)), init_params(6, 12, rng, init="tied", dtype="float64")
    x[:, 0], x[1] = 0, np.eye(6)[0]
    params.W_enc[0] = 2.0**-36 * np.arange(1, 13)
    problem = draw.Problem(x, params, 2)
    with_it, without = (gradients(problem, TrainConfig(similarity_weight=weight))[1] for weight in (1.0, 0.0))
    # PyTorch differentiates the clamped norms of reconstructions, so it is asked about this loss alone.
    _, (grad_W_enc, grad_b_enc, _, grad_theta) = torch_gradients(problem, TrainConfig(), reconstruct=False)
    for place, theirs in ((0, grad_W_enc), (1, grad_b_enc), (3, grad_theta)):
        assert_within(with_it[place] - without[place], theirs, 1e-12 * np.abs(theirs).max())


# -- laws -------------------------------------------------------------------------------------------------------------


@given(draw.generators(), st.integers(2, 12), st.integers(2, 30), configs())
def test_nothing_is_lost_where_cosines_of_codes_are_those_of_rows(rng, n, d, config):
    """The encoder is a rotation and keeps every latent: the codes have the cosines of the rows."""
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    params = Params(rotation, np.zeros(d), np.ascontiguousarray(rotation.T))
    problem = draw.Problem(rng.standard_normal((n, d)), params, d)
    losses, (grad_W_enc, *_, grad_theta) = gradients(problem, config, theta=0.0)
    assert_within(losses.loss_similarity, 0, 1e-13 / config.temperature**2)
    plain = params.zeros_like()
    loss_and_grads(problem.x, params, d, NUMPY, plain)
    assert_within(grad_W_enc, plain.W_enc, 1e-13 / config.temperature**2)
    assert_within(grad_theta, np.zeros(2), 1e-13 / config.temperature**2)


@given(draw.problems(n=st.integers(2, 12)), draw.generators(), configs())
def test_the_order_of_a_batch_does_not_matter(problem, rng, config):
    assume(shortest(problem) > 0.01)
    mixed = problem._replace(x=problem.x[rng.permutation(len(problem.x))])
    (losses, ours), (other, theirs) = (gradients(each, config) for each in (problem, mixed))
    assert losses == pytest.approx(other, abs=1e-12 / config.temperature)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 / config.temperature**2)


@given(draw.generators(), st.integers(2, 40), st.sampled_from([0.5, 20.0, 1e4]))
def test_shares_are_those_of_the_other_rows(rng, n, factor):
    cosines = rng.uniform(-1, 1, (n, n))
    shares, logs = NUMPY.softmax_others(cosines, factor)
    assert not np.diag(shares).any()
    assert_within(shares.sum(axis=1), np.ones(n), gamma(2 * n, np.float64))
    others = factor * cosines[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    np.testing.assert_allclose(logs, np.logaddexp.reduce(others, axis=1), rtol=1e-13, atol=1e-13)
    np.fill_diagonal(cosines, rng.uniform(-9, 9, n))
    assert_same_bits(NUMPY.softmax_others(cosines, factor)[0], shares)


@given(draw.generators())
def test_the_exponential_is_within_two_units_in_the_last_place_and_monotone(rng):
    x = np.sort(np.concatenate([rng.uniform(-700, 700, 500), rng.uniform(-1, 1, 500), [-700.0, 0.0, 700.0]]))
    ours, right = exponential(x), np.array([math.exp(value) for value in x])
    assert (np.abs(ours - right) <= 2 * np.spacing(right)).all()
    assert (np.diff(ours) >= 0).all()
    assert exponential(np.array([0.0])) == 1
    below = np.array([np.nextafter(-700, -701), -1e5, -1e300, -np.finfo(float).max])
    assert not exponential(below).any()


@given(draw.generators(), st.integers(1, 1000))
def test_the_scales_take_the_step_of_the_kernels(rng, t):
    """Subnormal moments become zero there, too (E11, R24)."""
    theta, m, v, grad = rng.standard_normal((4, 2)) * 10.0 ** rng.integers(-300, 1, (4, 2))
    m[0], v, grad[0] = 1e-308, np.abs(v), 0
    scales = Scales(theta.copy(), m.copy(), v.copy())
    scales.step(grad, AdamConfig(0.5, 0.8, 0.99, 1e-7), t)
    NUMPY.adam_update(theta, grad, m, v, adam_constants(AdamConfig(0.01, 0.8, 0.99, 1e-7), t, theta.dtype))
    for ours, right in zip((scales.theta, scales.m, scales.v), (theta, m, v), strict=True):
        assert_same_bits(ours, right)


def test_training_that_reconstructs_leaves_the_scales_alone():
    rng = np.random.default_rng(0)
    params, x = init_params(6, 12, rng), rng.standard_normal((5, 6)).astype("f4")
    states = [init_state(params) for _ in range(2)]
    for state, settings in zip(states, ({}, {"objective": "distill"}), strict=True):
        train_step(state, x, TrainConfig(n_latents=12, k=2, **settings), NUMPY, 1e-3)
    assert not states[0].scales.theta.any()
    assert states[1].scales.theta.all()
    assert not np.array_equal(states[0].params.W_enc, states[1].params.W_enc)


@pytest.mark.parametrize("n", [300, SAMPLED_ROWS, SAMPLED_ROWS + 4321])
def test_the_latents_that_are_kept_are_those_of_the_sample(n):
    rng, spec = np.random.default_rng(n), program()
    x, params = rng.standard_normal((n, 3)), init_params(3, 30, rng, dtype="float64")
    x[n // 2 :, 0] += 5  # the first rows use other latents
    held_out = np.flatnonzero(rng.random(n) < 0.02)
    sample = np.delete(x, held_out, axis=0)[spec.sample(n - len(held_out))]
    codes = NUMPY.encode(unit_rows(sample, np.float64), params.W_enc, params.b_enc, 2)
    used = np.bincount(codes.indices.ravel(), minlength=30)
    right = sorted(sorted(range(30), key=lambda j: (-used[j], j))[:9])
    kept = most_used(params, 2, 9, HostRows(x), held_out, NUMPY)
    assert_same_bits(kept.W_dec, params.W_dec[right])
    assert_same_bits(kept.W_enc, params.W_enc[:, right])
    if n < SAMPLED_ROWS:
        assert spec.kept_latents(sample.tolist(), params.W_enc.tolist(), params.b_enc.tolist(), 2, 9) == right
