"""The package held against PyTorch: losses, gradients, training, selections and cosine retrieval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compressae_ref import Model, asymmetric_cosine, reconstructed_cosine, search, sparse_cosine
from compressae_ref.backends import get_backend
from compressae_ref.model import aux_k
from compressae_ref.params import Params, init_params
from compressae_ref.reference import power, unit_rows
from compressae_ref.training.adam_state import AdamConfig, adam_constants, adam_step, init_adam
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import forward, init_state, loss_and_grads, train_step
from tests import strategies as draw
from tests import torch_oracle as oracle
from tests.bounds import assert_within, gamma
from tests.lazy import LazyModule

pytestmark = pytest.mark.oracle
torch = LazyModule("torch")
NUMPY = get_backend("numpy")


def mask_of(codes, *more):
    """The selection as a dense mask; PyTorch does not judge ties, so it is told."""
    mask = np.zeros(codes.shape, bool)
    for each in (codes, *more):
        np.put_along_axis(mask, each.indices, True, axis=1)
    return torch.tensor(mask)


def pre_bound(x, params):
    """Bound (n, h) on the distance of two float computations of the pre-activations.

    Both round x̄ (d + 6 roundings: scaling, squares, sum, root, division), the product of d terms and the bias.
    """
    x_unit = np.abs(unit_rows(np.asarray(x, np.float64), np.float64))
    size = x_unit @ np.abs(params.W_enc.astype(float)) + np.abs(params.b_enc.astype(float))
    return 2 * gamma(2 * params.d + 8, params.dtype) * size


# -- forward, losses and gradients ------------------------------------------------------------------------------------


@given(draw.problems())
def test_losses_and_every_gradient_agree_in_float64(problem):
    x, params, k = problem
    acts = forward(unit_rows(x, np.float64), params, k, NUMPY)
    norms = np.linalg.norm(acts.x_hat_k, axis=1), np.linalg.norm(acts.x_hat_aux, axis=1)
    assume(min(norms[0].min(), norms[1].min()) > 1e-3)  # shorter ones are tested with R6; here they blow up the bound
    grads = params.zeros_like()
    losses = loss_and_grads(x, params, k, NUMPY, grads)
    model = oracle.leaves(params)
    masks = mask_of(acts.codes_k), mask_of(acts.codes_k, acts.codes_rest)
    loss, loss_k, loss_aux = oracle.losses(torch.tensor(x), model, k, masks)
    loss.backward()
    # Everything is a sum of at most n·h·d terms over quantities whose size is bounded by values/‖x̂‖.
    size = 1 + (np.abs(acts.codes_k.values).sum(1) + np.abs(acts.codes_rest.values).sum(1)).max() / min(
        n.min() for n in norms
    )
    bound = gamma(40 * (params.d + params.n_latents + len(x)), np.float64) * size**2
    assert_within(
        [losses.loss, losses.loss_k, losses.loss_aux],
        [float(each.detach()) for each in (loss, loss_k, loss_aux)],
        bound,
    )
    scale = size / min(n.min() for n in norms)
    for name, ours in grads.arrays().items():
        assert_within(ours, getattr(model, name).grad.numpy(), bound * scale, name)


@given(draw.problems(dtype="float32"))
def test_the_selection_agrees_in_float32_where_the_margin_is_wider_than_rounding(problem):
    x, params, k = problem
    codes = NUMPY.encode(unit_rows(x, np.float32), params.W_enc, params.b_enc, k)
    pre = oracle.pre_activations(torch.tensor(x), oracle.leaves(params))
    bound = pre_bound(x, params)
    theirs = pre.detach().numpy()
    magnitudes = -np.sort(-np.abs(theirs), axis=1)
    margin = magnitudes[:, k - 1] - magnitudes[:, k] if k < params.n_latents else np.full(len(x), np.inf)
    clear = margin > 2 * bound.max(axis=1)
    same = mask_of(codes).numpy() == oracle.mask_of(pre, k).numpy()
    assert same[clear].all()
    at = codes.indices
    assert_within(codes.values, np.take_along_axis(theirs, at, 1), np.take_along_axis(bound, at, 1))


def test_the_margins_of_random_models_are_wide_enough_to_test_anything():
    rng = np.random.default_rng(0)
    x, params = rng.standard_normal((200, 64)).astype("f4"), init_params(64, 256, rng, init="tied")
    pre = -np.sort(-np.abs(unit_rows(x, "f4") @ params.W_enc), axis=1)
    assert (pre[:, 7] - pre[:, 8] > 2 * pre_bound(x, params).max(1)).mean() > 0.9


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["after_step", "before_step"])
@pytest.mark.parametrize("init", ["original", "tied"])
def test_two_hundred_steps_agree_in_every_parameter(backend, init, order):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((512, 20)) @ rng.standard_normal((20, 20))
    params = init_params(20, 60, rng, init=init, dtype="float64")
    state, model = init_state(params), oracle.leaves(params)
    config = TrainConfig(n_latents=60, k=4, renormalize=order, dtype="float64")
    optimizer = torch.optim.Adam(model, lr=1e-3)
    for step in range(200):
        batch = x[(64 * step) % 512 :][:64]
        ours = train_step(state, batch, config, backend, 1e-3)
        theirs = oracle.train_step(torch.tensor(batch), model, 4, optimizer, order)
        assert ours.loss == pytest.approx(theirs, abs=1e-10), f"step {step}"
    for name, array in state.params.arrays().items():
        assert_within(array, getattr(model, name).detach().numpy(), 1e-9, name)


@given(draw.generators(), st.floats(1e-5, 0.3), st.sampled_from([1e-8, 1e-2]), st.integers(1, 30))
def test_r8_adam_is_that_of_pytorch(rng, lr, eps, steps):
    start = rng.standard_normal((3, 4))
    params = Params(start.copy(), np.zeros(4), np.ones((4, 3)))
    theirs = torch.tensor(start.copy(), requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=lr, eps=eps)
    state = init_adam(params)
    for _ in range(steps):
        grad = rng.standard_normal((3, 4)) * 10.0 ** rng.integers(-9, 3)
        grads = params.zeros_like()
        grads.W_enc[...] = grad
        adam_step(params, grads, state, AdamConfig(lr=lr, eps=eps), NUMPY.adam_update)
        theirs.grad = torch.tensor(grad)
        optimizer.step()
    assert_within(params.W_enc, theirs.detach().numpy(), 1e-11 * (1 + lr * steps))


@given(st.sampled_from([0.0, 0.9, 0.999]), st.integers(1, 100_000))
def test_powers_by_repeated_squaring(base, exponent):
    assert power(base, exponent) == pytest.approx(base**exponent, rel=1e-11)


def test_r8_the_first_step_tells_where_epsilon_stands():
    params = Params(np.array([[1.0]]), np.zeros(1), np.ones((1, 1)))
    grads = params.zeros_like()
    grads.W_enc[...] = 0.5
    adam_step(params, grads, init_adam(params), AdamConfig(lr=0.1, eps=0.1), NUMPY.adam_update)
    assert params.W_enc[0, 0] == pytest.approx(1 - 0.1 * 0.5 / (0.5 + 0.1), abs=1e-15)


def test_r8_moments_fall_to_zero_and_not_into_the_subnormals(backend):
    m, v = np.full((1, 1), 1e-36, "f4"), np.full((1, 1), 2e-38, "f4")
    param, no_gradient = np.ones((1, 1), "f4"), np.zeros((1, 1), "f4")
    for step in range(1, 2000):
        backend.adam_update(param, no_gradient, m, v, adam_constants(AdamConfig(1e-3), step, np.dtype("f4")))
    assert (m, v, param) == (0, 0, 1)


def test_r8_atoms_are_unit_rows_after_every_step(backend):
    rng = np.random.default_rng(1)
    W_dec = rng.standard_normal((30, 24)).astype("f4")
    before = W_dec / np.linalg.norm(W_dec.astype(float), axis=1, keepdims=True)
    backend.renormalize_decoder(W_dec)
    assert_within(W_dec, before, gamma(30, "f4"))


# -- cosine retrieval on sparse codes ---------------------------------------------------------------------------------


def assert_same_retrieval(hits, scores, bound):
    """The same items with the same scores; items may differ only where their scores tie within the bound."""
    top = hits.ids.shape[1]
    found = np.take_along_axis(scores, hits.ids, axis=1)
    assert_within(hits.scores, found, bound, "scores of the items found")
    best = -np.sort(-scores, axis=1)[:, :top]
    assert_within(found, best, 2 * bound, "the items found against the best ones, rank by rank")
    assert all(len(set(row)) == top for row in hits.ids.tolist())


@given(st.data(), draw.problems(n=st.integers(1, 25)), st.sampled_from(["sparse", "reconstructed", "asymmetric"]))
def test_cosine_retrieval_on_sparse_codes_agrees_with_pytorch(backend, data, problem, space):
    x, params, k = problem
    queries = data.draw(draw.embeddings(data.draw(st.integers(1, 5)), params.d))
    top = data.draw(st.integers(1, len(x)))
    model = Model(params, k)
    items, asked = model.encode(x), model.encode(queries)
    torch_model = oracle.leaves(params)
    s_items = oracle.dense_codes(torch.tensor(x), torch_model, mask_of(items))
    s_asked = oracle.dense_codes(torch.tensor(queries), torch_model, mask_of(asked))
    W_dec = torch_model.W_dec.detach()
    if space == "sparse":
        pair, ours = (s_asked, s_items), sparse_cosine(asked, items, backend=backend)
    elif space == "reconstructed":
        pair, ours = (
            (s_asked @ W_dec, s_items @ W_dec),
            reconstructed_cosine(asked, items, params.W_dec, backend=backend),
        )
    else:
        pair = oracle.unit(torch.tensor(queries)), s_items @ W_dec
        ours = asymmetric_cosine(queries, items, params.W_dec, backend=backend)
    scores = oracle.cosine_matrix(*pair).numpy()
    # Relative to Σ|terms| over the norms: cancellation in x̂ makes its direction as uncertain as it is short.
    length = min(float(each.norm(dim=1).min()) for each in pair)
    terms = max(1.0, float(s_items.abs().sum(1).max()), float(s_asked.abs().sum(1).max()))
    assume(length > 1e-6)
    bound = gamma(20 * (params.d + params.n_latents), np.float64) * (terms / length) ** 2
    assert_within(ours, scores, bound)
    hits = search(queries, items, top, space=space, model=model, backend=backend)
    assert_same_retrieval(hits, scores, bound)


@pytest.mark.parametrize("space", ["sparse", "reconstructed", "asymmetric"])
def test_retrieval_in_float32_on_real_embeddings(backend, space):
    from compressae_ref.demo_data import load_demo_data

    data = load_demo_data()
    params = init_params(384, 1024, np.random.default_rng(0), init="tied")
    model = Model(params, 32)
    items = model.encode(data.items[:1000], backend=backend)
    hits = search(data.queries[:50], items, 20, space=space, model=model, backend=backend)
    wide = Params(*(array.astype(float) for array in params.arrays().values()))
    torch_model = oracle.leaves(wide)
    codes = [items, model.encode(data.queries[:50])]
    x = [torch.tensor(each.astype(float)) for each in (data.items[:1000], data.queries[:50])]
    s_items, s_asked = (oracle.dense_codes(a, torch_model, mask_of(b)) for a, b in zip(x, codes, strict=True))
    W_dec = torch_model.W_dec.detach()
    pairs = {
        "sparse": (s_asked, s_items),
        "reconstructed": (s_asked @ W_dec, s_items @ W_dec),
        "asymmetric": (oracle.unit(x[1]), s_items @ W_dec),
    }
    terms = float(s_items.abs().sum(1).max()) / float(pairs[space][1].norm(dim=1).min())
    # d + k + h terms at most enter one score; γ bounds each order of summation.
    bound = gamma(2 * (384 + 32) + 20, np.float32) * max(terms, 1) ** 2
    assert_same_retrieval(hits, oracle.cosine_matrix(*pairs[space]).numpy(), bound)


def test_the_oracle_takes_the_auxiliary_k_as_the_package_does():
    assert aux_k(3, 10) == 10
    params = init_params(4, 10, np.random.default_rng(0), dtype="float64")
    losses = oracle.losses(torch.tensor(np.random.default_rng(1).standard_normal((5, 4))), oracle.leaves(params), 3)
    assert all(torch.isfinite(each) for each in losses)
