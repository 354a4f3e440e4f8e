"""The "cuda" backend in Numba's simulator: the bits of the truth, arrays that stay on the device, and its errors.

Run with ``NUMBA_ENABLE_CUDASIM=1`` or, where there is a GPU, with ``TEST_ON_GPU=1``. The contract of all backends is
tested in `test_backends` and `test_best_items`.
"""

from __future__ import annotations

import sys
import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    Index,
    Params,
    evaluate,
    fit,
    init_params,
    load_model,
    pack,
    save_codes,
    save_model,
    search,
    sparse_cosine,
    unit_blocks,
)
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends import get_backend
from compressae_ref.backends.numpy.encode import pre_bound
from compressae_ref.backends.search_types import Items, Queries
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError, DomainError, DTypeError, ShapeError
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import init_state, train_step
from compressae_ref.verify.programs import ask_package
from compressae_ref.verify.report import run
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import default_folder
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import ON_CUDA, SIMULATED

if not ON_CUDA:
    pytest.skip("needs NUMBA_ENABLE_CUDASIM=1, or a GPU and TEST_ON_GPU=1", allow_module_level=True)

from numba import cuda

from compressae_ref.backends.cuda import launch, product
from compressae_ref.backends.cuda.embeddings import cast
from compressae_ref.backends.cuda.launch import F2, KERNELS, Kernel, kernel
from compressae_ref.backends.cuda.memory import place

CUDA = get_backend("cuda")
encoding, searching = (sys.modules[f"compressae_ref.backends.cuda.{name}"] for name in ("encode", "search"))
RNG = np.random.default_rng(0)
D, H, K = 20, 24, 3
X = RNG.standard_normal((41, D)).astype("f4")
MODEL = Model(init_params(D, H, RNG), K)
CODES = MODEL.encode(X, backend="numpy")
QUERIES = X[:4] + np.float32(0.3) * RNG.standard_normal((4, D), "f4")
RELATED = np.stack([np.arange(0, 30), np.arange(5, 35)], axis=1)
"""Related pairs of rows."""
TRAINING = {"n_latents": H, "k": K, "batch_size": 12, "steps": 3, "validation_rows": 5}


class Tensor:
    """What another library has on a device: nothing is known of it but its interface."""

    def __init__(self, array):
        self.there = place(np.ascontiguousarray(array))
        self.shape, self.ndim = self.there.shape, self.there.ndim
        self.__cuda_array_interface__ = {"shape": self.shape, "version": 3}

    def __len__(self):
        return len(self.there)

    def __getitem__(self, rows):
        return Tensor(self.there.copy_to_host()[rows])


@pytest.fixture(autouse=True)
def foreign_arrays(monkeypatch):
    """The simulator has no arrays of other libraries."""
    monkeypatch.setattr(cuda, "as_cuda_array", lambda tensor: tensor.there, raising=False)


KERNELS_BY_NAME = {each.name: each for each in KERNELS}


simulated_only = pytest.mark.skipif(not SIMULATED, reason="is about the simulator")


def on_a_device(*arrays):
    return all(hasattr(array, "__cuda_ndarray__") for array in arrays)


# -- the truth --------------------------------------------------------------------------------------------------------

SUITE = Suite(default_folder(), cases=100)
PAPER_SIZE = ("encode-13",)
"""Takes minutes."""


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3", "distill", "fitted"])
def test_the_vectors_of_the_spec_to_the_bit(level, monkeypatch):
    tests = [test for test in SUITE.tests([level]) if test.id not in PAPER_SIZE]
    monkeypatch.setattr(SUITE, "tests", lambda levels: tests)
    (result,) = run(SUITE, ask_package(CUDA), [level], bits=True)
    assert result.full, result.failures


@pytest.mark.slow
def test_the_vector_of_the_size_of_the_paper_to_the_bit(monkeypatch):
    tests = [test for test in SUITE.tests(["L1"]) if test.id in PAPER_SIZE]
    assert tests
    monkeypatch.setattr(SUITE, "tests", lambda levels: tests)
    (result,) = run(SUITE, ask_package(CUDA), ["L1"], bits=True)
    assert result.full, result.failures


@given(
    rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(1, 9), h=st.integers(1, 9),
    d=st.integers(1, 9)
)  # fmt: skip
def test_the_dense_product_is_within_its_bound(rng, dtype, n, h, d):
    a, b = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((h, d)).astype(dtype)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble).T
    sizes = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    found = product.dense_product(place(a), place(b)).copy_to_host()
    assert (np.abs(found - exact) <= (d + 2) * np.finfo(dtype).eps * sizes).all()


@pytest.mark.parametrize("more", [0, 1, 32])
def test_codes_do_not_depend_on_how_many_latents_are_looked_at(more, monkeypatch):
    monkeypatch.setattr(encoding, "EXTRA_CANDIDATES", more)
    attempts = []
    among = encoding._encode_among
    monkeypatch.setattr(encoding, "_encode_among", lambda m, *rest: attempts.append(m) or among(m, *rest))
    W_enc, b_enc = np.repeat(MODEL.params.W_enc, 2, axis=1), np.zeros(2 * H, "f4")  # each latent comes twice
    x_unit = by_reference.normalize_rows(X[:3])
    assert_same_codes(CUDA.encode(x_unit, W_enc, b_enc, K), by_reference.encode(x_unit, W_enc, b_enc, K))
    assert len(attempts) == (1 if more == 32 else len(attempts)) >= 1
    assert more or attempts[:2] == [K, 2 * K], "a tie at the border proves nothing"


@pytest.mark.parametrize("seed", range(3))
def test_a_product_that_is_off_by_its_bound_changes_no_code(seed, monkeypatch):
    """Latents that differ by less than the rounding that the product is allowed, and a product that is off by that."""
    rng = np.random.default_rng(seed)
    W_enc = (rng.standard_normal((D, 1)) + 1e-6 * rng.standard_normal((D, H))).astype("f4")
    b_enc, x_unit = np.zeros(H, "f4"), by_reference.normalize_rows(X[:4])
    bound = pre_bound(W_enc, b_enc)
    exact = product.dense_product

    def off(a, b):
        near = exact(a, b).copy_to_host()
        return place((near - np.sign(near) * bound * rng.choice([0.9, 0.2], near.shape)).astype("f4"))

    monkeypatch.setattr(encoding, "dense_product", off)
    monkeypatch.setattr(encoding, "EXTRA_CANDIDATES", 1)
    assert_same_codes(CUDA.encode(x_unit, W_enc, b_enc, K), by_reference.encode(x_unit, W_enc, b_enc, K))


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_neither_blocks_nor_threads_change_a_bit(blocks, threads, monkeypatch):
    monkeypatch.setattr(launch, "MAX_BLOCKS", blocks)
    for each in KERNELS:
        if each.name != "product.product":
            monkeypatch.setattr(each, "threads", threads)
    x_unit = by_reference.normalize_rows(X[:4])
    codes = by_reference.encode(x_unit, *list(MODEL.params.arrays().values())[:2], 2 * K)
    assert_same_codes(CUDA.encode(x_unit, MODEL.params.W_enc, MODEL.params.b_enc, 2 * K), codes)
    for ours, true in zip(CUDA.split_codes(codes, K), by_reference.split_codes(codes, K), strict=True):
        assert_same_codes(ours, true)
    grads, truth = ([np.zeros((H, D), "f4").T, np.zeros(H, "f4"), np.zeros((H, D), "f4")] for _ in range(2))
    CUDA.weights_backward([(codes, x_unit)], [codes], x_unit, *grads, True)
    get_backend("numpy").weights_backward([(codes, x_unit)], [codes], x_unit, *truth, True)
    for ours, true in zip(grads, truth, strict=True):
        assert_same_bits(ours, true)


def test_every_kernel_runs_here():
    """So what compiles is what was run; `Kernel` holds the types of each launch against those it is compiled for."""
    launched = set()
    call = Kernel.__call__

    def recorded(self, work, *arguments, **more):
        launched.add(self.name)
        return call(self, work, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "__call__", recorded)
        patch.setattr(searching, "TILE", 4)
        fit(place(X), backend="cuda", renormalize="before_step", **TRAINING)
        fit(X, backend="cuda", **TRAINING)
        zeros = X.astype("f8")
        zeros[3] = 0
        codes = MODEL.encode(place(zeros), zero_rows="empty", backend="cuda")
        index = Index.build(codes, space="asymmetric", model=MODEL, backend="cuda")
        index.search(QUERIES, 1, rescore=2)
        CUDA.split_codes(CODES, K)
        CUDA.split_codes(CODES, 0)
    assert launched == {each.name for each in KERNELS}


@simulated_only
def test_an_argument_of_another_type_than_was_compiled_is_an_error_here():
    pair_dots, x, wide, by_columns = (
        KERNELS_BY_NAME["sums.pair_dots"],
        *map(place, (X, X.astype("f8"), np.asfortranarray(X))),
    )
    for arguments in ((x, wide, x), (x, x, by_columns)):
        with pytest.raises(TypeError, match="pair_dots: expected one of"):
            pair_dots(1, *arguments)


@simulated_only
def test_threads_that_do_not_all_meet_are_an_error_here():
    before = list(KERNELS)

    @kernel
    def uneven(x: F2) -> None:
        if cuda.threadIdx.x > 0:
            cuda.syncthreads()

    KERNELS[:] = before
    with pytest.raises(threading.BrokenBarrierError, match="tid="):
        uneven(1, place(X))


# -- arrays on the device ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [place, Tensor])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_arrays_on_the_device_stay_there(make, dtype):
    x = X.astype(dtype)
    codes = MODEL.encode(make(x), backend="cuda")
    assert on_a_device(codes.indices, codes.values)
    assert (len(codes), codes.k, codes.model) == (len(X), K, MODEL.digest)
    assert_same_codes(codes.to_host(), MODEL.encode(x, backend="numpy"))
    x_hat = MODEL.decode(codes, backend="cuda")
    assert on_a_device(x_hat)
    assert_same_bits(x_hat.copy_to_host(), MODEL.decode(codes.to_host(), backend="numpy"))


@pytest.mark.parametrize("make", [np.array, place, Tensor])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_centred_model_gives_the_bits_of_the_processor(make, dtype):
    x = X.astype(dtype) + 1
    model = Model(replace(MODEL.params, mean=(x / np.linalg.norm(x, axis=1, keepdims=True)).mean(0).astype("f4")), K)
    codes, right = model.encode(make(x), backend="cuda"), model.encode(x, backend="numpy")
    assert on_a_device(codes.indices) == (make is not np.array)
    assert_same_codes(codes.to_host(), right)
    assert_same_bits(fetch(model.decode(codes, backend="cuda")), model.decode(right, backend="numpy"))
    for space in SPACES:
        hits = search(make(x[:3]), codes.to_host(), 5, model=model, space=space, backend="cuda")
        expected = search(x[:3], right, 5, model=model, space=space, backend="numpy")
        assert_same_bits(hits.ids, expected.ids)
        assert_same_bits(hits.scores, expected.scores)


def test_training_without_the_mean_is_for_arrays_on_the_host():
    with pytest.raises(BackendError, match="center=True"):
        fit(place(X + 1), center=True, backend="cuda", **TRAINING)
    models = [fit(X + 1, center=True, backend=backend, **TRAINING).model for backend in ("cuda", "numpy")]
    assert models[0].digest == models[1].digest


def test_any_order_of_memory_will_do():
    for x in (place(np.asfortranarray(X)), place(np.hstack([X, X]))[:, :D]):
        assert_same_codes(MODEL.encode(x, backend="cuda").to_host(), CODES)


def test_weights_may_lie_in_any_order_too():
    W_enc, b_enc, W_dec = MODEL.params.arrays().values()
    by_rows = Params(np.ascontiguousarray(W_enc), b_enc, W_dec)
    assert_same_codes(Model(by_rows, K).encode(X, backend="cuda"), CODES)
    x_unit, codes = by_reference.normalize_rows(X), CODES
    truth = [np.zeros((D, H), "f4"), np.zeros(H, "f4"), np.zeros((H, D), "f4")]
    get_backend("numpy").weights_backward([(codes, x_unit)], [codes], x_unit, *truth, False)
    for order in "CF":
        there = [place(np.ones((D, H), "f4", order=order)), place(np.ones(H, "f4")), place(np.ones((H, D), "f4"))]
        CUDA.weights_backward([(codes, x_unit)], [codes], x_unit, *there, False)
        for ours, true in zip(there, truth, strict=True):
            assert_same_bits(np.ascontiguousarray(ours.copy_to_host()), true)
        ours = CUDA.encode(x_unit, place(np.asarray(W_enc, order=order)), b_enc, K)
        assert_same_codes(ours, by_reference.encode(x_unit, W_enc, b_enc, K))


def test_nothing_is_copied_that_need_not_be(monkeypatch):
    x = place(X)
    monkeypatch.setattr(cuda, "to_device", lambda *_: pytest.fail("an upload"))
    assert place(x) is x
    assert cast(x, np.float32) is x
    x_unit = CUDA.unit_rows(x, x.dtype)
    assert on_a_device(x_unit, CUDA.pair_dots(x_unit, x_unit))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("make", [np.asarray, place, Tensor])
def test_search_on_the_device(space, make):
    items = MODEL.encode(make(X), backend="cuda")
    index = Index.build(items, space=space, model=MODEL, backend="cuda")
    truth = search(QUERIES, CODES, 5, space=space, model=MODEL, backend="numpy")
    hits = index.search(make(QUERIES), 5)
    assert_same_bits(hits.ids, truth.ids)
    assert_same_bits(hits.scores, truth.scores)


def test_an_index_that_grows_shrinks_and_is_kept(tmp_path):
    index, truth = (Index.build(CODES[:20], model=MODEL, backend=name) for name in ("cuda", "numpy"))
    for each in (index, truth):
        each.add(CODES[20:], ids=np.arange(50, 50 + len(CODES) - 20)[::-1])
        each.remove([3, 50, 7])
    allowed = np.arange(0, 60, 2)
    for more in ({}, {"allowed": allowed}, {"rescore": 20}):
        ours, true = (each.search(QUERIES, 9, **more) for each in (index, truth))
        assert_same_bits(ours.ids, true.ids)
        assert_same_bits(ours.scores, true.scores)
    index.save(tmp_path / "cuda.npz")
    truth.save(tmp_path / "numpy.npz")
    assert (tmp_path / "cuda.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()
    Index.build(CODES, model=MODEL, backend="numba").save(tmp_path / "numba.npz")
    loaded = Index.load(tmp_path / "numba.npz", model=MODEL, backend="cuda").search(QUERIES, 9)
    assert_same_bits(loaded.ids, search(QUERIES, CODES, 9, model=MODEL, backend="numpy").ids)


@pytest.mark.parametrize("tile", [4, 16, 64])
@pytest.mark.parametrize("top", [1, 2, 30, 41])
def test_tiles_of_any_size_find_the_same(tile, top, monkeypatch):
    monkeypatch.setattr(searching, "TILE", tile)
    twice = CODES[np.arange(41) // 2]  # ties
    ours, true = (search(CODES[:3], twice, top, backend=name) for name in ("cuda", "numpy"))
    assert_same_bits(ours.ids, true.ids)
    assert_same_bits(ours.scores, true.scores)


def test_minus_zero_is_as_good_as_zero_and_keeps_its_sign():
    """A dot that underflows: −1e-30 · 1e-30 divided by norms is −0, and ties with +0 by rank."""
    items = Codes(np.zeros((5, 1), int), np.array([[-1e-30], [1e-30], [-1e-30], [0], [1]], "f4"), 2)
    norms = np.full(5, 4e7, "f4")
    asked = Queries(Codes([[0]], np.full((1, 1), 1e-15, "f4"), 2), np.ones(1, "f4"))
    ours, true = (
        backend.best_items(asked, Items(items, norms, np.arange(5), None, backend.build_index(items, norms)), 4)
        for backend in (CUDA, get_backend("numpy"))
    )
    assert np.signbit(true.scores[0]).any()
    assert not true.scores[0, 1:].any()
    assert_same_bits(ours.ids, true.ids)
    assert_same_bits(ours.scores, true.scores)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, place, Tensor])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"renormalize": "before_step"},
        {"objective": "reconstruct", "patience": 1, "records": 3},
        {"relevance": RELATED},
    ],
    ids=["", "before_step", "reconstruct", "relevance"],
)
def test_training_gives_the_same_file(make, more, tmp_path):
    for name, x in (("numpy", X), ("cuda", make(X))):
        save_model(tmp_path / name, fit(x, backend=name, **TRAINING, **more).model)
    assert (tmp_path / "numpy").read_bytes() == (tmp_path / "cuda").read_bytes()
    assert load_model(tmp_path / "cuda").params.W_dec.flags.c_contiguous


@pytest.mark.parametrize(
    "more",
    [{"relevance": RELATED}, {"renormalize": "before_step", "patience": 1, "records": 3}],
    ids=["relevance", "before_step"],
)
@pytest.mark.parametrize(("first", "second"), [("cuda", "numpy"), ("numpy", "cuda"), ("cuda", "cuda")])
def test_a_training_is_resumed_on_the_device_and_elsewhere(first, second, more, tmp_path):
    class StopTraining(Exception):  # noqa: N818  it is no error
        pass

    def stop(progress):
        assert progress.model().params.W_dec.shape == (H, D)
        if progress.step == 2:
            raise StopTraining

    there = {"cuda": place, "numpy": np.asarray}
    with pytest.raises(StopTraining):
        fit(there[first](X), backend=first, callback=stop, checkpoint=tmp_path / "c", **TRAINING, **more)
    again = {"backend": second, "resume": tmp_path / "c", "relevance": more.get("relevance")}
    save_model(tmp_path / "resumed", fit(there[second](X), **again).model)
    save_model(tmp_path / "whole", fit(X, backend="numpy", **TRAINING, **more).model)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_step_on_the_device_brings_nothing_but_its_losses(monkeypatch):
    config = TrainConfig(n_latents=H, k=K)
    states = [init_state(MODEL.params, backend) for backend in (CUDA, None)]
    batch, moved = place(X[:12]), []
    to_device = cuda.to_device
    monkeypatch.setattr(cuda, "to_device", lambda array: moved.append(array.nbytes) or to_device(array))
    losses = train_step(states[0], batch, config, CUDA, 1e-3)
    assert max(moved) < X[:12].nbytes, "ranks, ones and constants"
    assert losses == train_step(states[1], X[:12], config, get_backend("numpy"), 1e-3)
    for ours, true in zip(*(state.params.arrays().values() for state in states), strict=True):
        assert on_a_device(ours)
        assert_same_bits(ours.copy_to_host(), true)
    np.testing.assert_array_equal(states[0].usage, states[1].usage)


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_a_step_with_the_similarity_loss_has_the_bits_of_the_processor(dtype):
    config = TrainConfig(n_latents=H, k=K, objective="distill", temperature=0.1)
    params, batch = MODEL.params.map(lambda array: array.astype(dtype)), X[:12].astype(dtype)
    ours, true = init_state(params, CUDA), init_state(params)
    for _ in range(2):
        assert train_step(ours, place(batch), config, CUDA, 1e-3) == pytest.approx(
            train_step(true, batch, config, get_backend("numpy"), 1e-3), abs=1e-5
        )
    for a, b in zip(ours.params.arrays().values(), true.params.arrays().values(), strict=True):
        assert_same_bits(a.copy_to_host(), b)
    assert_same_bits(ours.scales.theta, true.scales.theta)
    np.testing.assert_array_equal(ours.usage, true.usage)


def test_evaluation_takes_the_backend_like_all_others():
    ours, true = (evaluate(MODEL, X, QUERIES, tops=[3], backend=name) for name in ("cuda", "numpy"))
    assert ours == true


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [place, Tensor])
@pytest.mark.parametrize("what", ["nan", "zero", "infinite"])
def test_bad_rows_on_the_device_are_named_as_elsewhere(make, what, monkeypatch):
    monkeypatch.setattr(unit_blocks, "ROWS_PER_BLOCK", 16)
    x = X.copy()
    x[37] = {"nan": np.nan, "zero": 0, "infinite": np.inf}[what]
    for there in (lambda: MODEL.encode(make(x), backend="cuda"), lambda: fit(make(x), backend="cuda", **TRAINING)):
        with pytest.raises(DomainError) as ours:
            there()
        with pytest.raises(DomainError) as true:
            MODEL.encode(x, backend="numpy")
        assert str(ours.value) == str(true.value)
    if what == "zero":
        empty = MODEL.encode(make(x), zero_rows="empty", backend="cuda").to_host()
        assert_same_codes(empty, MODEL.encode(x, zero_rows="empty", backend="numpy"))
        skipped, left = MODEL.encode(make(x), zero_rows="skip", backend="cuda").to_host(), np.delete(x, 37, axis=0)
        assert_same_codes(skipped, MODEL.encode(left, backend="numpy"))
        ours = fit(make(x), zero_rows="skip", backend="cuda", **TRAINING)
        assert ours.skipped == 1
        assert ours.model.digest == fit(left, backend="numpy", **TRAINING).model.digest
        for space in SPACES:
            ours, true = (
                search(a, CODES, 5, space=space, model=MODEL, zero_rows="empty", backend=name)
                for a, name in ((make(x), "cuda"), (x, "numpy"))
            )
            assert_same_bits(ours.ids, true.ids)
            assert not ours.scores[37].any()


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (X[0], ShapeError), (X[:, :5], ShapeError), (X[:, :0], ShapeError),
        (np.ones((3, D), int), DTypeError), (np.ones((3, D), complex), DTypeError), (np.ones((2, 3, D)), ShapeError),
    ],
)  # fmt: skip
def test_what_cannot_be_embeddings_is_refused_as_elsewhere(x, error):
    for use in (MODEL.encode, lambda x, backend: search(x, CODES, model=MODEL, backend=backend)):
        with pytest.raises(error) as ours:
            use(place(x), backend="cuda")
        with pytest.raises(error) as true:
            use(x, backend="numpy")
        assert str(ours.value) == str(true.value)


def test_no_rows_on_the_device():
    with pytest.raises(ShapeError, match=r"^x: expected at least one row, got none$"):
        MODEL.encode(place(X[:0]), backend="cuda")
    assert search(place(X[:0]), CODES, 5, model=MODEL, backend="cuda").ids.shape == (0, 5)


def test_other_choices_are_checked_there_too():
    with pytest.raises(DomainError, match="zero_rows: expected 'error', 'empty' or 'skip', got 'keep'"):
        MODEL.encode(place(X), zero_rows="keep", backend="cuda")
    with pytest.raises(DomainError, match="k: expected k from 1 to"):
        MODEL.encode(place(X), 99, backend="cuda")


class OutOfMemory:
    """A device with so many bytes for one array."""

    def __init__(self, monkeypatch, most):
        self.most, self.refused = most, 0
        device_array = cuda.device_array

        def limited(shape, dtype):
            if np.prod(shape) * np.dtype(dtype).itemsize > self.most:
                self.refused += 1
                raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
            return device_array(shape, dtype)

        monkeypatch.setattr(cuda, "device_array", limited)


def test_where_memory_runs_out_blocks_are_smaller(monkeypatch):
    memory = OutOfMemory(monkeypatch, 2048)
    x_unit = by_reference.normalize_rows(X[:8])
    W_enc = np.tile(MODEL.params.W_enc, (1, 6))  # 8 rows take 8 · 144 · 4 bytes
    b_enc = np.arange(6 * H, dtype="f4") / 1000
    assert_same_codes(CUDA.encode(x_unit, W_enc, b_enc, K), by_reference.encode(x_unit, W_enc, b_enc, K))
    assert memory.refused
    memory.most, memory.refused = 41 * 4 * 20, 0
    ours, true = (search(X, CODES, 3, model=MODEL, backend=name) for name in ("cuda", "numpy"))
    assert_same_bits(ours.ids, true.ids)
    assert memory.refused


def test_where_one_row_is_too_much_the_error_says_so(monkeypatch):
    OutOfMemory(monkeypatch, 64)
    for use in (lambda: MODEL.encode(X, backend="cuda"), lambda: search(X, CODES, 3, model=MODEL, backend="cuda")):
        with pytest.raises(BackendError, match=r"^backend 'cuda': expected \d+ bytes of free memory on the device"):
            use()


def test_rows_too_long_for_shared_memory_are_an_error():
    with pytest.raises(
        BackendError, match="expected rows that fit 49152 bytes of shared memory, got rows of 60004 bytes"
    ):
        CUDA.pair_dots(np.ones((1, 15001), "f4"), np.ones((1, 15001), "f4"))


class Warning128:
    """A compiled kernel as on a GPU, where Numba warns of few blocks when a launch is configured."""

    def __getitem__(self, configuration):
        if configuration[0] < 128:
            warnings.warn(f"Grid size {configuration[0]} will likely result in GPU under-utilization", stacklevel=2)
        return lambda *arguments: None


def test_few_blocks_are_no_reason_for_a_warning(monkeypatch):
    monkeypatch.setattr(KERNELS_BY_NAME["sums.pair_dots"], "compiled", Warning128())
    CUDA.pair_dots(place(X), place(X))  # warnings are errors


# -- the dense product of another library -----------------------------------------------------------------------------


@simulated_only
def test_the_library_is_used_where_it_can_be(monkeypatch):
    calls = []

    def matmul(a, b, out=None):
        calls.append(a.shape)
        return None if out is None else out.__setitem__(slice(None), a @ b)

    def asarray(array):
        return array if isinstance(array, np.ndarray) else array._ary

    library = SimpleNamespace(matmul=matmul, asarray=asarray, eye=np.eye)
    monkeypatch.setitem(sys.modules, "cupy", library)
    for names, used in (({}, True), ({"CUPY_TF32": "0"}, True), ({"CUPY_TF32": "1"}, False)):
        product._cupy.cache_clear()
        calls.clear()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in names.items():
                patch.setenv(name, value)
            assert_same_codes(MODEL.encode(X[:5], backend="cuda"), CODES[:5])
            assert bool(calls) == used
    product._cupy.cache_clear()


def test_a_library_that_does_not_work_is_left_alone(monkeypatch):
    def broken(*_):
        raise RuntimeError("libcublas is missing")

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(matmul=broken, eye=np.eye))
    product._cupy.cache_clear()
    assert_same_codes(MODEL.encode(X[:2], backend="cuda"), CODES[:2])
    product._cupy.cache_clear()


def test_codes_of_the_device_are_brought_here_by_all_that_needs_them(tmp_path):
    codes = MODEL.encode(place(X[:5]), backend="cuda")
    assert isinstance(codes.to_host().values, np.ndarray)
    assert CODES.to_host() is CODES
    assert "5 rows, k 3 of 24 latents, float32" in repr(codes)
    assert Codes.concatenate([codes.to_host(), CODES]).k == K
    save_codes(tmp_path / "device.npz", codes)
    save_codes(tmp_path / "host.npz", CODES[:5])
    assert (tmp_path / "device.npz").read_bytes() == (tmp_path / "host.npz").read_bytes()
    assert_same_bits(sparse_cosine(codes, codes, backend="cuda"), sparse_cosine(CODES[:5], CODES[:5], backend="numpy"))
    packed = pack(codes, backend="cuda")
    assert_same_codes(packed.unpack(backend="cuda"), pack(CODES[:5], backend="numpy").unpack(backend="numpy"))
    assert (codes.to_host().n_latents, codes.to_host().model) == (H, MODEL.digest)
    assert codes.astype(np.float32) is codes
    anonymous = type(codes).trusted(codes.indices, codes.values, H)
    with pytest.raises(DTypeError, match="expected float64 for codes on a device, got float32"):
        Model(MODEL.params.map(lambda array: array.astype("f8")), K).decode(anonymous, backend="cuda")


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_codes_on_the_device_need_the_backend_that_runs_there(name):
    codes = MODEL.encode(place(X[:5]), backend="cuda")
    with pytest.raises(BackendError, match=r"^codes: expected an array in .* use backend='cuda'$"):
        MODEL.decode(codes, backend=name)


def test_parameters_are_copied_to_the_device_once(monkeypatch):
    copies, to_device = [], cuda.to_device
    monkeypatch.setattr(cuda, "to_device", lambda array: copies.append(array.shape) or to_device(array))
    model = Model(Params(*(array.copy("K") for array in MODEL.params.arrays().values())), K)
    for _ in range(3):
        model.decode(model.encode(X[:3], backend="cuda"), backend="cuda")
    assert copies.count((D, H)) == copies.count((H, D)) == 1
