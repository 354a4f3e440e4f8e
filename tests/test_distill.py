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
from compressae_ref.training.batches import Related, RowNumbers, ShuffledBatches, held_out_rows
from compressae_ref.training.distillation import Scales, add_related
from compressae_ref.training.kept_latents import SAMPLED_ROWS, most_used
from compressae_ref.training.relations import RelatedBatches, Relations, related_pairs
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
    names = ("temperature", "similarity_weight", "relevance_weight")
    drawn = st.tuples(*map(st.sampled_from, (temperatures, weights, (0.25, 0.7, 1.0))))
    return drawn.map(lambda values: TrainConfig(objective="distill", **dict(zip(names, values, strict=True))))


def related_rows(n, share, seed=0):
    """Which rows of a batch of n are related, each pair with this probability; None: there are no relations."""
    pairs = np.triu(np.random.default_rng(seed).random((n, n)) < (share or 0), 1)
    return None if share is None else Related(*np.nonzero(pairs | pairs.T))


SHARES = st.sampled_from([None, 0.1, 0.5, 1.0])
"""Arguments of `related_rows`."""


def gradients(problem, config, backend=NUMPY, theta=THETA, related=None):
    """Losses, and gradients of W_enc, b_enc, W_dec and θ."""
    state = init_state(problem.params, backend)
    state.scales.theta[:] = theta
    losses, grad_theta = distill_loss_and_grads(problem.x, state, replace(config, k=problem.k), backend, related)
    return losses, [backend.fetch(array) for array in state.grads.arrays().values()] + [grad_theta]


def shortest(problem):
    """The smallest norm of a code or a reconstruction, which divides gradients."""
    acts = forward(unit_rows(problem.x, problem.params.dtype), problem.params, problem.k, NUMPY)
    norms = [np.linalg.norm(x_hat, axis=1) for x_hat in (acts.x_hat_k, acts.x_hat_aux)]
    return min(norm.min() for norm in [*norms, code_norm(acts.codes_k.values)])


# -- the same bits ----------------------------------------------------------------------------------------------------


@given(
    problem=st.sampled_from(draw.DTYPES).flatmap(lambda t: draw.problems(t, st.integers(1, 40))),
    config=configs(),
    share=SHARES,
)
def test_every_backend_gives_the_same_bits(kernels, problem, config, share):
    related = related_rows(len(problem.x), share)
    results = [gradients(problem, config, each, related=related) for each in (kernels, NUMPY)]
    (losses, ours), (right, theirs) = results
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


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(1, 300), d=st.sampled_from([1, 7, 64]))
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


@given(draw.problems(n=st.integers(2, 12)), draw.generators(), configs(temperatures=(0.2, 1.0)), SHARES)
def test_gradients_along_a_random_direction(problem, rng, config, share):
    related = related_rows(len(problem.x), share)
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
    exact = sum((g * e).sum() for g, e in zip(gradients(problem, config, related=related)[1], direction, strict=True))
    losses = [gradients(end, config, theta=theta, related=related)[0].loss for end, theta in ends]
    size = 1 + sum(np.linalg.norm(e) for e in direction) ** 3
    assert abs((losses[0] - losses[1]) / (2 * step) - exact) <= 1e-9 * size / config.temperature


def torch_gradients(problem, config, reconstruct=True, related=None):
    """The similarity loss and what `gradients` returns, by PyTorch, which is told the selections."""
    x, params, k = problem
    acts = forward(unit_rows(x, np.float64), params, k, NUMPY)
    masks = mask_of(acts.codes_k), mask_of(acts.codes_k, acts.codes_rest)
    model, theta = oracle.leaves(params), torch.tensor(THETA.copy(), requires_grad=True)
    pairs = None if related is None else [*zip(*related, strict=True)]
    target = {"pairs": pairs, "relevance_weight": config.relevance_weight}
    similarity = oracle.similarity_loss(torch.tensor(x), model, k, config.temperature, theta, masks, **target)
    loss = config.similarity_weight * similarity
    (loss + oracle.losses(torch.tensor(x), model, k, masks)[0] if reconstruct else loss).backward()
    grads = [None if each.grad is None else each.grad.numpy() for each in (*model, theta)]
    return float(similarity.detach()), grads


@pytest.mark.oracle
@given(draw.problems(n=st.integers(2, 12)), configs(), SHARES)
def test_the_loss_and_every_gradient_agree_with_pytorch(problem, config, share):
    x, params, k = problem
    assume(shortest(problem) > 1e-3)
    related = related_rows(len(x), share)
    losses, grads = gradients(problem, config, related=related)
    similarity, others = torch_gradients(problem, config, related=related)
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


# -- relations --------------------------------------------------------------------------------------------------------


@given(draw.generators(), st.sampled_from(draw.DTYPES), st.integers(1, 30), st.sampled_from([0.001, 0.25, 1.0]), SHARES)
def test_related_rows_get_their_share_of_the_target(rng, dtype, n, weight, share):
    shares, _ = NUMPY.softmax_others(rng.uniform(-1, 1, (n + 1, n + 1)).astype(dtype), 7.0)
    related = related_rows(n + 1, share or 0.0, n)
    matrix = np.zeros_like(shares)
    matrix[related] = 1
    counts, number = matrix.sum(axis=1, keepdims=True), shares.dtype.type
    mixed = number(1 - weight) * shares + (weight / np.maximum(counts, 1.0, dtype="f8")).astype(dtype) * matrix
    target = shares.copy()
    add_related(target, related, weight)
    assert_same_bits(target, np.where(counts > 0, mixed, shares))
    assert_within(target.sum(axis=1), np.ones(n + 1), gamma(4 * n + 8, dtype))


@given(draw.problems(n=st.integers(1, 12)), configs())
def test_without_related_rows_a_batch_has_the_gradients_of_a_training_without_relations(problem, config):
    (losses, ours), (right, theirs) = (gradients(problem, config, related=each) for each in (related_rows(1, 0), None))
    for a, b in zip(ours, theirs, strict=True):
        assert_same_bits(a, b)
    assert losses == pytest.approx(right, abs=1e-12 / config.temperature)


@st.composite
def pairs_of_rows(draw_one):
    """Related pairs of some of n rows as a user has them, n, and the rows that are held out."""
    rng, n = draw_one(draw.generators()), draw_one(st.integers(2, 60))
    chosen = np.argwhere(rng.random((n, n)) < draw_one(st.sampled_from([0.02, 0.3]))).tolist()
    pairs = [(a, b) for a, b in [*chosen, [0, n - 1]] if a != b]
    held_out = held_out_rows(n, draw_one(st.integers(0, n - 2)), rng)
    assume(any(not {a, b} & {*held_out.tolist()} for a, b in pairs))
    return rng.permutation(np.unique(pairs, axis=0)), n, held_out


@given(pairs_of_rows(), st.integers(1, 30), st.sampled_from([1, 7, 100]), st.integers(0, 9))
def test_r25_a_batch_is_what_is_drawn_and_a_partner_of_each(case, batch_size, buffer_rows, step):
    pairs, n, held_out = case
    related = {row: set() for row in range(n)}
    for a, b in pairs.tolist():
        if not {a, b} & {*held_out.tolist()}:
            related[a].add(b)
            related[b].add(a)
    rows = HostRows(np.arange(1.0, n + 1)[:, None])
    relations, same = (
        Relations(related_pairs(pairs, rows), n, held_out),
        {"held_out": held_out, "buffer_rows": buffer_rows},
    )
    made = RelatedBatches(rows, relations, batch_size, np.random.default_rng(n), step=step, **same)
    half = (batch_size + 1) // 2
    drawn = ShuffledBatches(RowNumbers(n), half, np.random.default_rng(n), zeros=True, **same)
    assert relations.n_pairs == sum(map(len, related.values())) // 2
    for t in range(step + 1, step + 6):
        numbers, batch = next(drawn)[:, 0].astype(int).tolist(), next(made)
        partners = [sorted(related[row])[(t - 1) % len(related[row])] for row in numbers if related[row]]
        right = sorted({*numbers, *partners})
        assert (batch[:, 0] - 1).tolist() == right
        assert len(right) <= 2 * half
        places = [[i, j] for i, a in enumerate(right) for j, b in enumerate(right) if b in related[a]]
        assert np.stack(made.related, axis=1).tolist() == places
