"""The scikit-learn estimator passes the checks of scikit-learn and equals the model of this package."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import unittest

import numpy as np
import pytest

import compressae_ref as csae
from compressae_ref import fit
from compressae_ref.errors import BackendError
from compressae_ref.training.settings import SERVE
from tests.conftest import AVAILABLE_BACKENDS, HAS

if not HAS["sklearn"]:
    pytest.skip("needs scikit-learn", allow_module_level=True)

SMALL = {"n_latents": 24, "k": 3, "steps": 30, "batch_size": 16, "random_state": 0}
X = np.random.default_rng(0).standard_normal((80, 8)).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    [{"n_latents": 16, "k": 2, "steps": 20, "batch_size": 16}, {"k": 2, "steps": 3, "sparse_output": False}],
)
def test_scikit_learns_own_checks(settings):
    """Run all checks of scikit-learn, without a list of expected failures. Some skip if a package is missing."""
    from sklearn.utils.estimator_checks import estimator_checks_generator

    checks = list(estimator_checks_generator(csae.CompresSAE(**settings)))
    assert len(checks) > 40
    for estimator, check in checks:
        with contextlib.suppress(unittest.SkipTest):
            check(estimator)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_it_is_the_model_of_this_package(backend):
    settings = {key: value for key, value in SMALL.items() if key != "random_state"}
    model = fit(X, **settings, seed=0, backend=backend).model
    estimator = csae.CompresSAE(**SMALL, backend=backend).fit(X)
    assert estimator.model_.digest == model.digest
    codes = estimator.transform(X)
    np.testing.assert_array_equal(codes.toarray(), model.encode(X).to_dense())
    assert codes.has_sorted_indices
    assert np.diff(codes.indptr).tolist() == [3] * len(X)
    np.testing.assert_array_equal(estimator.inverse_transform(codes), model.decode(model.encode(X)))
    np.testing.assert_array_equal(estimator.components_, model.params.W_dec)
    assert estimator.n_iter_ == 30
    assert len(estimator.history_) == 20


@pytest.mark.parametrize("serve", SERVE)
def test_serve_chooses_the_same_settings_as_in_fit(serve):
    settings = {"n_latents": 40, "steps": 2, "serve": serve}
    assert csae.CompresSAE(**settings, random_state=0).fit(X).model_.digest == fit(X, **settings).model.digest
    if SERVE[serve].get("center"):
        with pytest.raises(ValueError, match="center=False for partial_fit"):
            csae.CompresSAE(**settings).partial_fit(X)
        csae.CompresSAE(**settings, center=False).partial_fit(X)


def test_a_warm_start_goes_on_from_the_last_model():
    estimator = csae.CompresSAE(**SMALL, warm_start=True).fit(X[:50])
    first = estimator.model_
    settings = {key: value for key, value in SMALL.items() if key != "random_state"}
    assert estimator.fit(X).model_.digest == fit(X, start=first, seed=0, **settings).model.digest
    with pytest.raises(ValueError, match="k: expected 3 as in the model to start from, got 2"):
        estimator.set_params(k=2).fit(X)
    with pytest.raises(ValueError, match="features"):
        estimator.set_params(k=3).fit(X[:, :4])


def test_related_pairs_are_an_argument_of_fit_and_their_weight_a_parameter():
    pairs, settings = np.stack([np.arange(40), np.arange(40, 80)], axis=1), {**SMALL, "relevance_weight": 0.5}
    ours = csae.CompresSAE(**settings).fit(X, relevance=pairs).model_
    del settings["random_state"]
    assert ours.digest == fit(X, relevance=pairs, seed=0, **settings).model.digest
    assert ours.training["relevance_weight"] == 0.5
    for train in (csae.CompresSAE(**settings).fit, csae.CompresSAE(**settings).partial_fit):
        with pytest.raises(ValueError, match=r"^relevance_weight: expected .*, got"):
            train(X)


def test_inverse_transform_takes_dense_codes_too():
    estimator = csae.CompresSAE(**SMALL).fit(X)
    codes = estimator.transform(X)
    np.testing.assert_allclose(
        estimator.inverse_transform(codes.toarray()), estimator.inverse_transform(codes), rtol=1e-5, atol=1e-6
    )


def test_the_score_is_the_mean_cosine():
    estimator = csae.CompresSAE(**SMALL).fit(X)
    x_hat = estimator.inverse_transform(estimator.transform(X))
    cosines = np.sum(X * x_hat, axis=1) / np.linalg.norm(X, axis=1) / np.linalg.norm(x_hat, axis=1)
    assert estimator.score(X) == pytest.approx(cosines.mean(), abs=1e-6)
    zero = np.zeros((1, 8), np.float32)
    assert estimator.score(np.concatenate([X, zero])) == pytest.approx(cosines.sum() / 81, abs=1e-6)


def test_zero_rows_are_left_out_or_refused():
    with_zeros = np.concatenate([X, np.zeros((2, 8), np.float32)])
    estimator = csae.CompresSAE(**SMALL).fit(with_zeros)
    assert estimator.model_.digest == csae.CompresSAE(**SMALL).fit(X).model_.digest
    assert not estimator.transform(with_zeros)[80:].toarray().any()
    strict = csae.CompresSAE(**SMALL, zero_rows="error")
    with pytest.raises(ValueError, match="zero row in row 80"):
        strict.fit(with_zeros)
    with pytest.raises(ValueError, match="zero row in row 80"):
        strict.fit(X).transform(with_zeros)


def test_in_a_pipeline_behind_a_normaliser_and_before_neighbours():
    from sklearn.neighbors import NearestNeighbors
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    pipeline = make_pipeline(Normalizer(), csae.CompresSAE(**SMALL), NearestNeighbors(metric="cosine"))
    pipeline.fit(X)
    codes = pipeline[:-1].transform(X)
    found = pipeline[-1].kneighbors(codes, 1, return_distance=False)
    assert found.ravel().tolist() == list(range(80))
    np.testing.assert_allclose(codes.toarray(), csae.CompresSAE(**SMALL).fit(X).transform(X).toarray(), atol=1e-5)


def test_a_grid_search_prefers_longer_codes():
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(csae.CompresSAE(**SMALL), {"k": [1, 6]}, cv=2).fit(X)
    assert search.best_params_ == {"k": 6}
    assert search.best_score_ <= 1


def test_partial_fit_learns_and_repeats():
    parts = np.array_split(np.tile(X, (20, 1)), 10)
    settings = SMALL | {"lr": 0.01}
    estimators = [csae.CompresSAE(**settings), csae.CompresSAE(**settings)]
    for estimator in estimators:
        for part in parts:
            estimator.partial_fit(part)
    assert estimators[0].model_.digest == estimators[1].model_.digest
    assert estimators[0].n_iter_ == sum(-(-len(part) // 16) for part in parts)
    assert estimators[0].score(X) > csae.CompresSAE(**settings).partial_fit(parts[0]).score(X) + 0.05
    with pytest.raises(ValueError, match="8 features"):
        estimators[0].partial_fit(X[:, :5])
    earlier = estimators[0].model_
    estimators[0].partial_fit(X)
    assert earlier.digest == estimators[1].model_.digest  # a later call does not change an earlier model


def test_a_centred_estimator_reconstructs_the_rows_themselves():
    shifted = X / np.linalg.norm(X, axis=1, keepdims=True) + 1
    estimator = csae.CompresSAE(center=True, **SMALL).fit(shifted)
    assert estimator.model_.params.mean is not None
    x_hat = estimator.inverse_transform(estimator.transform(shifted))
    x_unit = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(x_hat, axis=1), 1, atol=1e-5)
    assert estimator.score(shifted) == pytest.approx((x_hat * x_unit).sum(axis=1).mean(), abs=1e-5)
    with pytest.raises(ValueError, match="center=False for partial_fit"):
        csae.CompresSAE(center=True, **SMALL).partial_fit(shifted)


def test_fit_begins_anew_after_partial_fit():
    estimator = csae.CompresSAE(**SMALL).partial_fit(X[:, :5])
    assert estimator.fit(X).model_.digest == csae.CompresSAE(**SMALL).fit(X).model_.digest
    assert estimator.partial_fit(X).n_iter_ == 5


def test_random_state():
    digests = {
        csae.CompresSAE(**SMALL | {"random_state": state}).fit(X).model_.digest for state in (0, 0, 1, np.int64(1))
    }
    assert len(digests) == 2
    state = np.random.RandomState(0)
    assert len({csae.CompresSAE(**SMALL | {"random_state": state}).fit(X).model_.digest for _ in range(2)}) == 2


def test_names_and_frames():
    pandas = pytest.importorskip("pandas")
    estimator = csae.CompresSAE(**SMALL, sparse_output=False).set_output(transform="pandas").fit(X)
    frame = estimator.transform(X)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == [f"compressae{latent}" for latent in range(24)]
    np.testing.assert_array_equal(frame.to_numpy(), estimator.model_.encode(X).to_dense())


def test_clones_and_pickles():
    from sklearn.base import clone

    estimator = csae.CompresSAE(**SMALL).fit(X)
    again = pickle.loads(pickle.dumps(estimator))
    assert again.model_.digest == estimator.model_.digest
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "model_")


def test_bad_settings_are_said_when_fitting_not_before():
    for settings, reason in (({"k": 25}, "k from 1 to n_latents = 24"), ({"decay": "fast"}, "decay: expected one of")):
        estimator = csae.CompresSAE(**SMALL | settings)
        with pytest.raises(ValueError, match=reason):
            estimator.fit(X)


def test_scikit_learn_is_imported_only_by_who_asks_for_the_estimator():
    code = (
        "import sys, numpy as np, compressae_ref as csae\n"
        "csae.fit(np.random.default_rng(0).standard_normal((9, 4)), n_latents=8, k=2, steps=2, backend='numpy')\n"
        "from compressae_ref import *\n"
        "assert 'sklearn' not in sys.modules\n"
        "assert csae.CompresSAE.__name__ == 'CompresSAE' and 'sklearn' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "compressae_ref.estimator")
    with pytest.raises(BackendError, match=r"; pip install 'scikit-learn>="):
        import compressae_ref.estimator  # noqa: F401


def test_the_rate_of_partial_fit_may_fall_on_the_way():
    estimator = csae.CompresSAE(**SMALL).partial_fit(X)
    before = estimator.components_.copy()
    estimator.set_params(lr=1e-9).partial_fit(X)
    assert 0 < np.abs(estimator.components_ - before).max() < 1e-6
