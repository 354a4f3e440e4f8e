"""What compression costs and saves: the numbers that tables are made of, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    Codes,
    ShapeError,
    bytes_per_row,
    dead_latents,
    effective_latents,
    mean_cosine,
    recall_at,
)
from compressae_ref.metrics import half_width, latent_usage
from compressae_ref.reference import unit_rows
from tests import strategies as draw


def test_recall_counts_the_true_neighbours_that_are_found_in_any_order():
    true = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall_at(true[:, ::-1], true) == 1
    assert recall_at(np.array([[9, 1, 8, 2], [5, 0, 1, 2]]), true) == 3 / 8
    assert recall_at(np.array([[1], [5]]), true) == 2 / 8
    assert recall_at(np.arange(10)[None].repeat(2, 0), true) == 1


@pytest.mark.parametrize(("found", "true"), [((2, 3), (3, 3)), ((0, 3), (0, 3)), ((2, 3), (2, 0))])
def test_recall_needs_a_truth_for_every_query(found, true):
    with pytest.raises(ShapeError, match="n_q, top ≥ 1, got"):
        recall_at(np.zeros(found, np.int64), np.zeros(true, np.int64))


def test_about_19_of_20_intervals_contain_the_true_mean():
    values = np.random.default_rng(0).uniform(size=(2000, 200)) < 0.3
    inside = [abs(each.mean() - 0.3) <= half_width(each.astype(float)) for each in values]
    assert 0.93 < np.mean(inside) < 0.97
    assert half_width(np.array([0.5])) == 0


@given(draw.codes())
def test_usage_counts_the_rows_that_store_a_latent_with_a_value(codes):
    dense = codes.to_dense() != 0
    assert latent_usage(codes).tolist() == dense.sum(0).tolist()
    assert dead_latents(codes) == (~dense.any(0)).sum()


@given(draw.codes())
def test_effective_latents_lie_between_one_and_the_latents_in_use(codes):
    in_use = codes.n_latents - dead_latents(codes)
    effective = effective_latents(codes)
    assert effective == 0 if in_use == 0 else 1 - 1e-12 <= effective <= in_use * (1 + 1e-12)


@given(st.integers(1, 30), st.integers(1, 5))
def test_effective_latents_count_those_that_are_used_alike(n, k):
    indices = np.arange(n * k).reshape(n, k)
    assert effective_latents(Codes(indices, np.ones((n, k)), n * k + 7)) == pytest.approx(n * k)


def test_effective_latents_weigh_uneven_use():
    codes = Codes(np.array([[0], [0], [0], [1]]), np.ones((4, 1)), 9)
    assert effective_latents(codes) == pytest.approx(4 / 3**0.75)


@given(draw.generators(), st.integers(1, 20))
def test_the_mean_cosine_is_one_minus_the_loss(rng, n):
    x_unit, x_hat = unit_rows(rng.standard_normal((n, 7)), float), rng.standard_normal((n, 7))
    cos = [(a @ b) / np.linalg.norm(b) for a, b in zip(x_unit, x_hat, strict=True)]
    assert mean_cosine(x_unit, x_hat) == pytest.approx(np.mean(cos), abs=1e-12)


def test_bytes_of_a_row():
    assert bytes_per_row(Codes(np.array([[0, 1]]), np.ones((1, 2), np.float32), 5)) == 2 * (4 + 4)
    assert bytes_per_row(Codes(np.array([[0, 1]]), np.ones((1, 2)), 5)) == 2 * (4 + 8)
    assert bytes_per_row(np.ones((3, 10), np.float16)) == 20
