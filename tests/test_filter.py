"""The product of integers that says where `encode` need not look: what it leaves out cannot be among the largest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.reference import unit_rows
from tests import strategies as draw

pytest.importorskip("numba")

from compressae_ref.backends.numba import prefilter
from compressae_ref.backends.numba.int16_gemm import LATENTS_PER_TILE
from compressae_ref.backends.numba.prefilter import SCALE, make_filter


def integers_of(columns, n_latents, d):
    """The integers (h, d) of the packed columns."""
    places = len(columns)
    pairs = columns.view(np.int16).reshape(places, -1, LATENTS_PER_TILE, 2).transpose(0, 2, 1, 3)
    return pairs.reshape(places * LATENTS_PER_TILE, -1)[:n_latents, :d].astype(np.int64)


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), h=st.integers(1, 150), d=st.integers(1, 70))
def test_pre_activations_are_within_the_error(rng, dtype, h, d):
    lengths = rng.choice([0.01, 1, 1, 30], (h, 1))
    columns = (rng.choice([0, 1, 1, 9], (h, d)) * rng.standard_normal((h, d)) * lengths).astype(dtype)
    columns[0, 0] += 1  # not all of them zero
    b_enc = (rng.choice([0, 1, 50]) * rng.standard_normal(h)).astype(dtype)
    packed, affine, error = make_filter(columns, b_enc)
    p, norms = integers_of(packed, h, d), np.linalg.norm(columns.astype(float), axis=1, keepdims=True)
    # The worst rows are those in the direction of what the rounding of a column has taken away.
    lost = columns - norms * p / SCALE
    x_unit = unit_rows(np.concatenate([rng.standard_normal((4, d)), lost[lost.any(axis=1)]]), dtype)
    q = np.rint(x_unit * SCALE).astype(np.int64)
    assert np.sqrt((p**2).sum(axis=1).max() * (q**2).sum(axis=1).max()) < 2**31
    near = (q @ p.T) * affine[0].astype(float) + affine[1]
    size = max(norms.max(), np.abs(b_enc).max())
    exact = (x_unit.astype(float) @ columns.T.astype(float) + b_enc) / size
    remainder = np.linalg.norm(x_unit - q / SCALE, axis=1)[:, None]
    assert (np.abs(near - exact) <= error + 1.02 * remainder).all()
    # Not by being generous: what a row of numbers of any size can lose by rounding, twice.
    assert error <= 2.1 * np.sqrt(d) / SCALE + 1e-5


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_columns_of_which_nothing_is_known_pass_always(dtype):
    columns = np.ones((5, 3), dtype)
    columns[1, 2], columns[3, 0] = np.nan, np.inf
    affine = make_filter(columns, np.zeros(5, dtype)).affine
    assert np.isnan(affine[0]).tolist() == [False, True, False, True, False]
    tiny = np.full((5, 3), 1e-30, dtype)
    assert np.isnan(make_filter(tiny, np.zeros(5, dtype)).affine[0]).all()
    assert np.isnan(make_filter(np.zeros((5, 3), dtype), np.zeros(5, dtype)).affine[0]).all()


def test_few_are_left():
    rng = np.random.default_rng(0)
    columns, x_unit = (
        rng.standard_normal((4096, 256)).astype("f4"),
        unit_rows(rng.standard_normal((50, 256)), "f4"),
    )
    starts, _ = prefilter.candidates(x_unit, 0, 50, 32, make_filter(columns, np.zeros(4096, "f4")))
    assert 50 * 32 <= starts[-1] <= 50 * 34
