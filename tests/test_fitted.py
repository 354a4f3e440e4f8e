"""Fitted codes: the same bits, the gradient, the laws of anchors, and what fitting is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Anchors, DomainError, Index, Model, Params, ShapeError, encode_fitted, fit, fitted_blocks
from compressae_ref.backends import get_backend
from compressae_ref.backends.numpy.descent import unit_codes
from compressae_ref.codes import Codes
from compressae_ref.demo_data import load_demo_data
from compressae_ref.extensions import fitted_codes
from compressae_ref.extensions.fitted_codes import FACTOR
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import KERNELS_IN_THREADS, kernels_in_threads

NUMPY = get_backend("numpy")


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels:
        yield kernels


def problems(dtype="float64", anchors=st.integers(2, 12)):
    """A problem with as many anchors, which are other rows."""
    return st.tuples(draw.problems(dtype), anchors, draw.generators())


def given_(problem):
    (x, params, k), m, rng = problem
    return x, Model(params, k), rng.standard_normal((m, x.shape[1])).astype(x.dtype)


# -- the same bits ----------------------------------------------------------------------------------------------------


@given(problem=st.sampled_from(draw.DTYPES).flatmap(problems), steps=st.integers(1, 4), size=st.integers(1, 5))
def test_every_backend_gives_the_same_bits(kernels, problem, steps, size):
    x, model, anchors = given_(problem)

    def fitted(backend):
        read = Anchors.read(anchors, model, rows_per_group=size, most_groups=2, backend=backend)
        return encode_fitted(x, model, read, steps=steps, backend=backend)

    assert_same_codes(fitted(kernels), fitted(NUMPY))


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(1, 80), m=st.integers(1, 40))
def test_shares_have_the_same_bits(kernels, rng, dtype, n, m):
    cosines, totals = rng.uniform(-1, 1, (n, m)).astype(dtype), rng.uniform(0, 2, m)
    shares = kernels.shares_beside(cosines, FACTOR, totals)
    assert_same_bits(shares, NUMPY.shares_beside(cosines, FACTOR, totals))
    powers = np.exp(FACTOR * (cosines.astype(np.float64) - 1))
    np.testing.assert_allclose(shares, powers / (totals + powers), rtol=1e-6)


@given(codes=draw.codes(st.integers(1, 40)), rng=draw.generators(), m=st.integers(1, 70))
def test_sums_over_latents_are_those_of_the_reference(kernels, codes, rng, m):
    y = rng.standard_normal((len(codes), m)).astype(codes.values.dtype)
    right = np.zeros((codes.n_latents, m), y.dtype)
    for row in range(len(codes)):
        right[codes.indices[row]] += codes.values[row, :, None] * y[row]
    np.testing.assert_array_equal(kernels.latent_sums(codes, y), right)


@given(codes=draw.codes(st.integers(1, 40)), gradients=draw.generators(), rate=st.sampled_from([0.0, 1e-3, 0.1, 2.0]))
def test_steps_have_the_same_bits(kernels, codes, gradients, rate):
    """With ties, gradients along the code, and gradients of zeros."""
    grad = gradients.integers(-2, 3, codes.shape[::-1]).astype(codes.values.dtype) / 2
    codes = unit_codes(codes)
    moved = kernels.descend(codes, grad, rate)
    assert_same_codes(moved, NUMPY.descend(codes, grad, rate))
    Codes(moved.indices, moved.values, moved.n_latents)  # as every code


@given(codes=draw.codes(st.integers(1, 12), "float64"), rng=draw.generators())
def test_a_step_is_along_the_gradient_on_the_sphere(codes, rng):
    """Before the k largest entries are kept, a code has moved by the rate, orthogonally to itself."""
    every = unit_codes(by_reference.as_codes((np.tile(np.arange(20), (6, 1)), rng.standard_normal((6, 20))), 20))
    grad = rng.standard_normal((20, 6))
    moved = NUMPY.descend(every, grad, 0.25)
    tangent = grad.T - np.sum(grad.T * every.values, axis=1, keepdims=True) * every.values
    right = every.values - 0.25 * tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    np.testing.assert_allclose(moved.values, right / np.linalg.norm(right, axis=1, keepdims=True), atol=1e-12)


# -- the gradient -----------------------------------------------------------------------------------------------------


def divergence(s, x_unit, group):
    """Σᵢ (log(Yᵢ + e(⟨uᵢ, s⟩)) − pᵢ 20 ⟨uᵢ, s⟩) of a dense s (h,), in float64 by NumPy alone."""
    u = group.queries.to_columns().T.astype(np.float64)
    near = np.exp(FACTOR * (group.x_unit.astype(np.float64) @ x_unit - 1))
    p = near / (group.totals[0] + near)
    return np.sum(np.log(group.totals[1] + np.exp(FACTOR * (u @ s - 1))) - p * FACTOR * (u @ s))


@given(problems())
def test_the_gradient_is_that_of_the_divergence(problem):
    """E37 against finite differences in random directions, along the code, too."""
    x, model, anchors = given_(problem)
    (group,) = Anchors.read(anchors, model, backend=NUMPY).groups
    codes, seen = unit_codes(model.encode(x, backend=NUMPY)), []

    class Spy:
        def __getattr__(self, name):
            return getattr(NUMPY, name)

        def descend(self, codes, grad, rate):
            seen.append(grad)
            return codes

    x_unit = unit_rows(x, x.dtype)
    fitted_codes.fitted_step(codes, x_unit, group, 0.1, Spy())
    rng, step = np.random.default_rng(0), 1e-6
    for row, dense in enumerate(codes.to_dense()):
        direction = rng.standard_normal(len(dense))
        ends = [divergence(dense + sign * step * direction, x_unit[row], group) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        # The shares move by 20 per unit of a cosine, so the second difference is at most 400 ‖direction‖² a step.
        bound = 1e-5 * (1 + np.abs(FACTOR * seen[0][:, row]) @ np.abs(direction))
        assert abs(FACTOR * seen[0][:, row] @ direction - slope) <= bound + 1e-4


def test_totals_are_those_of_the_other_anchors():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((7, 6))
    model = Model(Params(np.eye(6), np.zeros(6), np.eye(6)), 2)
    (group,) = Anchors.read(x, model, backend=NUMPY).groups
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    powers = np.exp(FACTOR * (unit @ unit.T - 1))
    np.fill_diagonal(powers, 0)
    np.testing.assert_allclose(group.totals[0], powers.sum(axis=1), rtol=1e-12)
    short = unit_codes(model.encode(x, 2)).to_dense()
    sparse = np.exp(FACTOR * (unit @ short.T - 1))  # with k_aux = h the code is the row
    np.fill_diagonal(sparse, 0)
    np.testing.assert_allclose(group.totals[1], sparse.sum(axis=1), rtol=1e-12)


# -- rows and anchors -------------------------------------------------------------------------------------------------


@given(problems("float32"), st.integers(0, 12))
def test_a_code_depends_on_no_other_row(problem, start):
    x, model, anchors = given_(problem)
    every = encode_fitted(x, model, anchors, steps=2)
    order = np.random.default_rng(0).permutation(len(x))
    assert_same_codes(encode_fitted(x[order], model, anchors, steps=2), every[order])
    later = Codes.concatenate([every[:0], *fitted_blocks(x, model, anchors, steps=2, first_row=start)])
    assert_same_codes(later, every[start:])


def test_blocks_do_not_change_codes(monkeypatch):
    x = np.random.default_rng(3).standard_normal((30, 8)).astype("f4")
    model = Model(Params(np.eye(8, 16, dtype="f4"), np.zeros(16, "f4"), np.eye(16, 8, dtype="f4")), 3)
    every = encode_fitted(x, model, x, steps=3, backend="numpy")
    monkeypatch.setattr("compressae_ref.unit_blocks.ROWS_PER_BLOCK", 7)
    assert_same_codes(encode_fitted(x, model, x, steps=3, backend="numpy"), every)


@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 5))
def test_anchors_are_evenly_spaced_and_dealt(m, size, most):
    """R26: groups are as many and as even as they can be, none is larger than it may be, and each row is used once."""
    rows = np.eye(m, dtype="f4")
    model = Model(Params(np.eye(m, dtype="f4"), np.zeros(m, "f4"), np.eye(m, dtype="f4")), 1)
    groups = Anchors.read(rows, model, rows_per_group=size, most_groups=most, backend=NUMPY).groups
    used = [np.argmax(group.x_unit, axis=1) for group in groups]
    sizes = [*map(len, used)]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= size or len(groups) == 1
    assert max(sizes) <= 4 * size or len(groups) < most
    n = min(m, 4 * size * most)
    assert len(groups) == most or n < size * (len(groups) + 1)
    in_order = np.sort(np.concatenate(used))
    assert in_order.tolist() == [i * m // n for i in range(n)]
    assert [group[0] for group in used] == in_order[: len(used)].tolist()


def test_zero_rows_among_anchors_are_left_out():
    x = np.random.default_rng(4).standard_normal((20, 8)).astype("f4")
    model = Model(Params(np.eye(8, dtype="f4"), np.zeros(8, "f4"), np.eye(8, dtype="f4")), 2)
    with_zeros = np.insert(x, [0, 7, 20], 0, axis=0)
    assert_same_codes(encode_fitted(x, model, with_zeros), encode_fitted(x, model, x))


@pytest.mark.parametrize(
    ("anchors", "settings", "error", "message"),
    [
        (np.ones((1, 8)), {}, DomainError, "anchors: expected at least 2 rows that are not zero, got 1"),
        (np.eye(5, 8) * [[1], [0], [0], [0], [0]], {}, DomainError, "at least 2 rows that are not zero, got 1"),
        (np.ones((4, 7)), {}, ShapeError, "anchors: expected d = 8"),
        (np.full((4, 8), np.nan), {}, DomainError, "anchors: .*row 0"),
        (np.ones((4, 8)), {"steps": 0}, DomainError, "steps: expected an integer of at least 1, got 0"),
        (np.ones((4, 8)), {"k": 9}, DomainError, "k: expected k from 1 to n_latents = 8, got 9"),
    ],
)
def test_bad_input(anchors, settings, error, message):
    model = Model(Params(np.eye(8), np.zeros(8), np.eye(8)), 2)
    with pytest.raises(error, match=message):
        encode_fitted(np.eye(8), model, anchors, **settings)


def test_anchors_of_another_model_or_k_are_refused():
    model = Model(Params(np.eye(8), np.zeros(8), np.eye(8)), 2)
    other = Model(Params(2 * np.eye(8), np.zeros(8), np.eye(8)), 2)
    anchors = Anchors.read(np.eye(8), model)
    with pytest.raises(DomainError, match=f"expected anchors of model {other.digest[:12]} and k = 2, got model"):
        encode_fitted(np.eye(8), other, anchors)
    with pytest.raises(DomainError, match=r"and k = 3, got model .* and k = 2"):
        encode_fitted(np.eye(8), model, anchors, 3)


# -- what it is for ---------------------------------------------------------------------------------------------------


def test_fitted_codes_find_more_neighbours_of_unseen_queries():
    """On the embeddings that ship, in sparse space, with queries of 4k entries; anchors are the items."""
    items, queries = (each.astype("f4") for each in load_demo_data()[:2])
    model = fit(items, n_latents=256, k=16, steps=200).model
    near = nearest_dense(queries, items, 100).ids

    def recalls(codes):
        found = Index.build(codes).search(model.encode(queries, 64), 100).ids
        return np.array([len(np.intersect1d(a, b)) / 100 for a, b in zip(near, found, strict=True)])

    gains = recalls(encode_fitted(items, model, items)) - recalls(model.encode(items))
    assert gains.mean() > 4 * gains.std() / np.sqrt(len(gains)) > 0
