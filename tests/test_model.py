"""The public entries of a model: what they refuse, and what they say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compressae_ref import (
    BackendError,
    Codes,
    DomainError,
    Encoder,
    Model,
    Params,
    ShapeError,
    fit,
    init_params,
    search,
    sparse_cosine,
)
from compressae_ref.model import whole_model
from tests.conftest import AVAILABLE_BACKENDS, OnADevice

K, H, D = 2, 6, 4


@pytest.fixture
def model():
    return Model(init_params(D, H, np.random.default_rng(0)), K)


@pytest.fixture
def other():
    return Model(init_params(D, H, np.random.default_rng(1)), K)


def short(digest):
    """The first twelve characters of a digest, and no more."""
    return f"{re.escape(digest[:12])}(?![0-9a-f])"


def test_codes_that_are_not_finite_are_refused_and_the_row_is_named(model):
    large = Params(np.full((D, H), 3e38, np.float32), model.params.b_enc, model.params.W_dec)
    x = np.eye(D, dtype=np.float32)
    assert Model(large, K).encode(x).values.max() == np.float32(3e38)
    x[2] = 1
    with pytest.raises(DomainError, match=r"^x: .* codes are finite, got a code with NaN or infinity in row 2$"):
        Model(large, K).encode(x)


def test_codes_of_another_model_are_not_decoded(model, other):
    codes = model.encode(np.eye(D))
    assert model.decode(codes).shape == (D, D)
    says = f"codes: expected codes of model {short(other.digest)}, got codes of model {short(model.digest)}"
    with pytest.raises(DomainError, match=says):
        other.decode(codes)
    with pytest.raises(ShapeError, match="n_latents = 6 as in the model, got 7"):
        model.decode(Codes(codes.indices, codes.values, H + 1))


def test_codes_of_two_models_are_not_compared(model, other):
    says = (
        f"queries: expected codes of model {short(model.digest)} as the items, got codes of model {short(other.digest)}"
    )
    with pytest.raises(DomainError, match=says):
        sparse_cosine(other.encode(np.eye(D)), model.encode(np.eye(D)))


@pytest.mark.parametrize("name", [*AVAILABLE_BACKENDS, None])
def test_arrays_on_a_device_need_the_backend_that_runs_there(model, name):
    x, here = np.eye(D, dtype=np.float32), model.encode(np.eye(D))
    on = x.view(OnADevice)
    uses = (
        ("x", lambda: model.encode(on, backend=name)),
        ("x", lambda: fit(on, n_latents=H, k=K, batch_size=2, steps=1, backend=name)),
        ("queries", lambda: search(on, here, model=model, backend=name)),
    )
    for what, use in uses:
        says = f"^{what}: expected an array in the computer's memory for backend .* use backend='cuda'$"
        with pytest.raises(BackendError, match=says):
            use()


def test_a_whole_model_is_itself_and_an_encoder_is_none(model):
    assert whole_model(model) is model
    with pytest.raises(DomainError, match="expected a whole model, got an encoder only"):
        whole_model(Encoder(model.params.encoder(), model.k))
