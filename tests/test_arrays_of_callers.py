"""What is no array of embeddings is an error of this package that says what came, wherever it is given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from compressae_ref import (
    Codes,
    CompressaeError,
    Index,
    Model,
    Params,
    fit,
    init_params,
    mean_cosine,
    recall_at,
    save_model,
    search,
)
from compressae_ref.extensions.fitted_codes import Anchors, encode_fitted
from compressae_ref.extensions.refine import encode_refined
from compressae_ref.retrieval.brute_force import nearest_dense

N, D, H, K = 40, 8, 24, 3
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), K)
CODES = MODEL.encode(X, backend="numpy")
INDEX = Index.build(CODES, model=MODEL, backend="numpy")


def masked(x, row):
    mask = np.zeros(x.shape, bool)
    mask[row, 0] = True
    return np.ma.array(x, mask=mask)


DOORS = {
    "encode": lambda x: MODEL.encode(x, backend="numpy"),
    "encode_blocks": lambda x: list(MODEL.encode_blocks(x, backend="numpy")),
    "encode_refined": lambda x: encode_refined(x, MODEL, backend="numpy"),
    "encode_fitted": lambda x: encode_fitted(x, MODEL, X, steps=1, backend="numpy"),
    "Anchors.read": lambda x: Anchors.read(x, MODEL, backend="numpy"),
    "fit": lambda x: fit(x, n_latents=16, k=2, steps=2, backend="numpy"),
    "Index.search": lambda x: INDEX.search(x, 3),
    "search": lambda x: search(x, CODES, 3, model=MODEL, space="asymmetric", backend="numpy"),
    "nearest_dense": lambda x: nearest_dense(x, X, 3),
}

OTHERS = {
    "a SciPy matrix": (sparse.csr_matrix(X), "expected a dense array, got a sparse csr_matrix of shape (40, 8)", None),
    "a SciPy array": (sparse.coo_array(X), "expected a dense array, got a sparse coo_array of shape (40, 8)", None),
    "a ragged list": ([*X[:5].tolist(), [1.0, 2.0]], "expected rows of 8 numbers as in row 0, got 2", 5),
    "a list of lists and numbers": ([[1.0] * D, 2.0], "expected rows of 8 numbers as in row 0, got 0", 1),
    "a list of ragged lists": ([[[1.0], [2.0]], [[1.0], [2.0, 3.0]]], "a list that NumPy cannot convert", None),
    "a dict": ({"x": X}, "expected an array, got a dict", None),
    "a set": ({1.0, 2.0}, "expected an array, got a set", None),
    "a path": ("x.npy", "expected an array, got a str", None),
    "bytes": (b"x.npy", "expected an array, got a bytes", None),
    "None": (None, "expected an array (n, d) with one embedding per row, got shape ()", None),
    "a number": (7.0, "got shape ()", None),
    "an iterator": (iter(X), "got shape ()", None),
    "texts": ([["a", "b"]], "expected float16, float32 or float64, got <U1", None),
    "nulls": ([[1.0, None]], "expected float16, float32 or float64, got object", None),
    "masked": (masked(X, 33), "expected an array without masked numbers, got a masked one", 33),
    "all masked": (np.ma.masked_all((N, D), np.float32), "expected an array without masked numbers", 0),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_array_is_named(door, what):
    given, message, row = OTHERS[what]
    with pytest.raises(CompressaeError) as error:
        DOORS[door](given)
    assert message in error.value.message
    assert error.value.row == row
    assert error.value.argument in ("x", "queries", "anchors")
    assert "\n" not in str(error.value)


def test_masks_are_refused_wherever_an_array_is_given(tmp_path):
    W_enc, b_enc, W_dec = MODEL.params.arrays().values()
    for call, row in (
        (lambda: Codes(CODES.indices, masked(CODES.values, 7), H), 7),
        (lambda: Codes(masked(CODES.indices, 8), CODES.values, H), 8),
        (lambda: nearest_dense(X, masked(X, 9), 3), 9),
        (lambda: mean_cosine(X, masked(X, 2)), 2),
        (lambda: recall_at(masked(CODES.indices, 6), CODES.indices), 6),
        (lambda: save_model(tmp_path / "m.npz", Model(Params(W_enc, b_enc, masked(W_dec, 5)), K)), 5),
        (lambda: Index.build(CODES, ids=np.ma.array(np.arange(N), mask=np.arange(N) == 11), backend="numpy"), 11),
        (lambda: INDEX.search(CODES, 3, allowed=np.ma.array([1, 2], mask=[0, 1])), 1),
    ):
        with pytest.raises(CompressaeError, match="expected an array without masked numbers") as error:
            call()
        assert error.value.row == row
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metric", [mean_cosine, recall_at])
def test_arrays_that_do_not_fit_a_metric_are_an_error_of_this_package(metric):
    for other in ([[1.0, 2.0], [3.0]], X[0], X[:0], X[:3], {"x": X}, "x", None):
        for pair in ((X, other), (other, X)):
            with pytest.raises(CompressaeError):
                metric(*pair)
    assert 0 <= metric(X[:2].tolist(), X[:2].tolist()) <= 1 + 1e-6


def test_an_array_in_which_nothing_is_masked_is_that_array():
    for x in (np.ma.array(X), np.ma.array(X, mask=False), np.ma.array(X, mask=np.zeros(X.shape, bool))):
        np.testing.assert_array_equal(MODEL.encode(x, backend="numpy").values, CODES.values)


def test_scikit_learn_does_not_drop_the_mask():
    pytest.importorskip("sklearn")
    from compressae_ref import CompresSAE

    estimator = CompresSAE(n_latents=16, k=2, steps=2, backend="numpy").fit(X)
    for call in (estimator.fit, estimator.partial_fit, estimator.transform, estimator.score):
        with pytest.raises(CompressaeError, match="X: expected an array without masked numbers") as error:
            call(masked(X, 3))
        assert error.value.row == 3
