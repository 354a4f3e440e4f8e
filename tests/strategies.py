"""Hypothesis strategies that draw the nasty cases: ties, ±0, duplicates, extreme scales, tiny and full k."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from compressae_ref.codes import Codes
from compressae_ref.params import Params

DTYPES = ("float32", "float64")


class Problem(NamedTuple):
    """A small model, its embeddings and its k."""

    x: np.ndarray
    params: Params
    k: int


def generators():
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def matrices(draw, n=st.integers(1, 9), m=st.integers(1, 70), dtype=st.sampled_from(DTYPES)):
    """An array with few distinct magnitudes in some rows, ±0, subnormals and one scale per row in others."""
    rng, shape = draw(generators()), (draw(n), draw(m))
    as_dtype = np.dtype(draw(dtype))
    kind = draw(st.sampled_from(["normal", "ties", "zeros", "scales", "equal"]))
    values = rng.standard_normal(shape)
    if kind == "ties":
        values = rng.integers(-2, 3, shape) * 0.5
    elif kind == "zeros":
        values = np.where(rng.random(shape) < 0.7, np.copysign(0.0, values), values)
    elif kind == "scales":
        exponents = rng.integers(-40, 35, (shape[0], 1)).astype(float)
        values = values * 10.0**exponents
    elif kind == "equal":
        values = np.copysign(np.full(shape, 0.25), values)
    return np.ascontiguousarray(values, as_dtype)


@st.composite
def selections(draw):
    """Pre-activations and a k from 1 to h."""
    pre = draw(matrices())
    return pre, draw(st.integers(1, pre.shape[1]))


@st.composite
def codes(draw, n=st.integers(1, 9), dtype=None, n_latents=None):
    """Codes with distinct random latents in each row; values may be zero, tied or duplicated between rows."""
    rng = draw(generators())
    h = draw(st.integers(1, 60)) if n_latents is None else n_latents
    k, rows = draw(st.integers(1, h)), draw(n)
    indices = np.sort(rng.random((rows, h)).argsort(axis=1)[:, :k], axis=1)
    values = rng.standard_normal((rows, k)) if draw(st.booleans()) else rng.integers(-2, 3, (rows, k)) * 0.5
    if draw(st.booleans()) and rows > 1:
        indices[rows // 2 :], values[rows // 2 :] = indices[0], values[0]
    return Codes(indices, (values + 0.0).astype(draw(st.sampled_from(DTYPES)) if dtype is None else dtype), h)


@st.composite
def embeddings(draw, n, d, dtype="float64"):
    """Rows of very different scales, some of them duplicates or opposites of others; no zero rows."""
    rng = draw(generators())
    x = rng.standard_normal((n, d))
    if draw(st.booleans()):
        x = rng.integers(-1, 2, (n, d)) + 0.0
        x[~x.any(axis=1), 0] = 1
    if draw(st.booleans()) and n > 1:
        x[n // 2 :] = x[: n - n // 2] * rng.choice([1.0, -1.0, 2.0], (n - n // 2, 1))
    low, high = (-30, 30) if draw(st.booleans()) else (0, 0)
    return (x * 10.0 ** rng.integers(low, high + 1, (n, 1)).astype(float)).astype(dtype)


@st.composite
def rounding_ties(draw):
    """x_unit, W_enc and k where the pre-activations of a row are one real number, and differ by rounding alone."""
    rng, dtype = draw(generators()), draw(st.sampled_from(DTYPES))
    d, h = draw(st.integers(3, 60)), draw(st.integers(2, 60))
    column = rng.standard_normal(d)
    W_enc = np.stack([rng.permutation(column) for _ in range(h)], axis=1)
    x_unit = np.full((draw(st.integers(1, 4)), d), 1 / np.sqrt(d))
    return x_unit.astype(dtype), W_enc.astype(dtype), draw(st.integers(1, h))


@st.composite
def problems(draw, dtype="float64", n=st.integers(1, 12)):
    """A random model with random biases, tied at the start or not, and embeddings for it."""
    rng = draw(generators())
    d, h, rows = draw(st.integers(1, 40)), draw(st.integers(1, 50)), draw(n)
    k = draw(st.one_of(st.integers(1, h), st.just(1), st.just(h)))
    W_dec = rng.standard_normal((h, d))
    if draw(st.booleans()) and h > 1:
        W_dec[h // 2 :] = W_dec[: h - h // 2]
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    W_enc = W_dec.T if draw(st.booleans()) else rng.standard_normal((d, h)) / np.sqrt(d)
    b_enc = rng.standard_normal(h) * draw(st.sampled_from([0.0, 0.1]))
    params = Params(*(np.ascontiguousarray(array, dtype) for array in (W_enc, b_enc, W_dec)))
    return Problem(draw(embeddings(rows, d, dtype)), params, k)
