"""Every backend has the bits of the reference file, with any number of threads; absent ones say what to install."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import backends as backends_module
from compressae_ref import fit, reference
from compressae_ref.backends import cuda_requirements, get_backend, rules
from compressae_ref.backends.cuda_requirements import what_cuda_lacks
from compressae_ref.backends.numpy import sparse_products, topk
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError
from compressae_ref.files.model_file import save_model
from compressae_ref.optional import install_command
from compressae_ref.training.adam_state import AdamConfig, adam_constants
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import KERNELS_IN_THREADS, ON_CUDA, SIMULATED, kernels_in_threads

pytest.importorskip("numba")
FEW = 16
MANY, H = (3, 40) if SIMULATED else (FEW + 90, 300)
"""Rows and latents of a test that is about many of them; simulated threads take their time."""


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels:
        yield kernels


def encode_these(kernels, pre, k):
    """Codes of rows whose pre-activations are ``pre``, exactly: unit vectors ask for the rows of W_enc."""
    return kernels.encode(np.eye(len(pre), dtype=pre.dtype), pre, np.zeros(pre.shape[1], pre.dtype), k)


def assert_encodes_alike(kernels, x_unit, W_enc, b_enc, k):
    """Few rows are encoded by all of their pre-activations, many by those that a filter leaves."""
    many = [] if SIMULATED else [np.tile(x_unit, (-(-FEW // len(x_unit)), 1))]
    for rows in (x_unit[: FEW - 1], *many):
        assert_same_codes(kernels.encode(rows, W_enc, b_enc, k), by_reference.encode(rows, W_enc, b_enc, k))


@given(selection=draw.selections(), data=st.data())
def test_selection(kernels, selection, data):
    pre, k = selection
    truth = by_reference.abs_topk(pre, k)
    assert_same_codes(encode_these(kernels, pre, k), truth)
    smaller = data.draw(st.integers(1, k))
    for ours, true in zip(kernels.split_codes(truth, smaller), by_reference.split_codes(truth, smaller), strict=True):
        assert_same_codes(ours, true)


@given(problem=st.sampled_from(draw.DTYPES).flatmap(lambda dtype: draw.problems(dtype=dtype)))
def test_encoding(kernels, problem):
    x_unit, (W_enc, b_enc, _) = by_reference.normalize_rows(problem.x), problem.params.arrays().values()
    for order in "CF":
        assert_encodes_alike(kernels, x_unit, np.asarray(W_enc, order=order), b_enc, problem.k)


@given(problem=draw.rounding_ties())
def test_encoding_where_latents_differ_by_rounding_alone(kernels, problem):
    x_unit, W_enc, k = problem
    b_enc = np.zeros(W_enc.shape[1], W_enc.dtype)
    assert_encodes_alike(kernels, x_unit, W_enc, b_enc, k)


@given(problem=draw.problems(dtype="float32", n=st.integers(2, 40)), rng=draw.generators(), data=st.data())
def test_the_code_of_a_row_depends_on_that_row_alone(kernels, problem, rng, data):
    x_unit, (W_enc, b_enc, _) = reference.unit_rows(problem.x, "f4"), problem.params.arrays().values()
    rows = rng.integers(0, len(x_unit), data.draw(st.integers(1, 2 * len(x_unit))))
    whole, some = (kernels.encode(x, W_enc, b_enc, problem.k) for x in (x_unit, x_unit[rows]))
    assert_same_codes(whole[rows], some)


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), k=st.integers(1, H), d=st.sampled_from([7, 48, 256]))
def test_encoding_many_rows_with_columns_of_all_lengths(kernels, rng, dtype, k, d):
    lengths = rng.choice([0, 1e-30, 1e-7, 1, 1, 1, 30], H) * rng.choice([1, 1e-20, 1e20])
    W_enc, b_enc = (rng.standard_normal((d, H)) * lengths).astype(dtype), rng.standard_normal(H).astype(dtype)
    x_unit = by_reference.normalize_rows(rng.standard_normal((MANY, d)).astype(dtype))
    for bias in (b_enc, np.zeros_like(b_enc)):
        assert_same_codes(kernels.encode(x_unit, W_enc, bias, k), by_reference.encode(x_unit, W_enc, bias, k))


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES))
def test_selection_among_numbers_that_differ_in_their_last_bits(kernels, rng, dtype):
    unsigned = np.dtype(dtype).str.replace("f", "u")
    one = np.ones(1, dtype).view(unsigned)[0]
    pre = (one + rng.integers(0, 10 * H, (3, H)).astype(unsigned)).view(dtype) * rng.choice([-1, 1], (3, H))
    pre = pre.astype(dtype)
    for k in (1, H // 2, H):
        assert_same_codes(encode_these(kernels, pre, k), by_reference.abs_topk(pre, k))


def test_minus_zero_is_stored_as_zero_whatever_it_comes_from(kernels):
    x_unit, W_enc, b_enc = (
        np.ones((1, 1), "f4"),
        np.array([[-0.0, 1, -0.0, 0]], "f4"),
        np.array([-0.0, 0, 0, -0.0], "f4"),
    )
    for rows in (1, FEW):
        codes = kernels.encode(np.tile(x_unit, (rows, 1)), W_enc, b_enc, 4)
        assert_same_bits(codes.values, np.tile(np.array([0, 1, 0, 0], "f4"), (rows, 1)))


def test_selection_of_not_a_number(kernels):
    pre = np.array([[np.nan, 1, -np.inf, 2, -0.0]], np.float32)
    with np.errstate(invalid="ignore"):
        for k in range(1, 6):
            truth = topk.abs_topk(pre, k).indices  # the reference does not judge NaN
            np.testing.assert_array_equal(encode_these(kernels, pre, k).indices, truth)
            many = kernels.encode(np.ones((FEW, 1), np.float32), pre, np.zeros(5, np.float32), k)
            np.testing.assert_array_equal(many.indices, np.tile(truth, (FEW, 1)))


@given(rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), n=st.integers(0, 5), d=st.integers(1, 70))
def test_dots_of_all_pairs(kernels, rng, dtype, n, d):
    a, b = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((7, d)).astype(dtype)
    assert_same_bits(kernels.pair_dots(a, b), reference.over_latents(a, b))


@given(codes=draw.codes(), rng=draw.generators(), d=st.integers(1, 70))
def test_decoding_and_its_gradients(kernels, codes, rng, d):
    dtype = codes.values.dtype
    W_dec, g = (rng.standard_normal(shape).astype(dtype) for shape in ((codes.n_latents, d), (len(codes), d)))
    assert_same_bits(kernels.decode(codes, W_dec), by_reference.decode(codes, W_dec))
    for split in {0, 1, codes.k // 2, codes.k}:
        parts = [
            codes.entries(np.broadcast_to(mask, codes.indices.shape), mask.sum())
            for mask in (np.arange(codes.k) < split, np.arange(codes.k) >= split)
        ]
        x_hat_k, x_hat_aux = kernels.decode_nested(*parts, W_dec)
        assert_same_bits(x_hat_k, by_reference.decode(parts[0], W_dec))
        assert_same_bits(x_hat_aux, x_hat_k + by_reference.decode(parts[1], W_dec))
    truth = by_reference.decode_backward_values(g, codes, W_dec)
    assert_same_bits(kernels.decode_backward_values(g, codes, W_dec), truth)


@given(
    selection=draw.selections(), rng=draw.generators(), m=st.sampled_from([1, 2, 16, 20, 64, 87, 130]), data=st.data()
)
def test_products_that_add_up_rows(kernels, selection, rng, m, data):
    pre, k = selection
    codes = by_reference.abs_topk(np.clip(pre, -1e6, 1e6), k)
    parts = by_reference.split_codes(codes, data.draw(st.integers(1, k)))
    rows = rng.standard_normal((len(parts), len(pre), m)).astype(pre.dtype)
    together, apart = (
        [(part, each) for part, each in zip(parts, y, strict=True)] for y in (rows, [y.copy() for y in rows])
    )
    before = [
        rng.standard_normal(shape).astype(pre.dtype) for shape in ((pre.shape[1], m), pre.shape[1], (pre.shape[1], m))
    ]
    grad_pre = [
        Codes.trusted(part.indices, rng.standard_normal(part.values.shape).astype(pre.dtype), part.n_latents)
        for part in parts
    ]
    for add in (True, False):
        for pairs in (together, apart):
            ours, truth = ([array.copy() for array in before] for _ in range(2))
            kernels.weights_backward(pairs, grad_pre, rows[0], ours[0].T, *ours[1:], add)
            by_reference.weights_backward(pairs, grad_pre, rows[0], truth[0].T, *truth[1:], add)
            for mine, true in zip(ours, truth, strict=True):
                assert_same_bits(mine, true)


@given(
    rng=draw.generators(),
    dtype=st.sampled_from(draw.DTYPES),
    n=st.integers(1, 70),
    d=st.integers(1, 70),
    data=st.data(),
)
def test_rows(kernels, rng, dtype, n, d, data):
    scales = np.ldexp(np.ones((n, 1), dtype), rng.integers(np.finfo(dtype).minexp - 20, np.finfo(dtype).maxexp, (n, 1)))
    x = rng.uniform(-1, 1, (n, d)).astype(dtype) * scales
    x[~x.any(axis=1), 0] = np.finfo(dtype).smallest_subnormal
    x_unit = by_reference.normalize_rows(x)
    assert_same_bits(kernels.unit_rows(x, x.dtype), x_unit)
    x_hat = rng.choice([0, 1e-9, 1e-3, 1, 1e4], (2, n, 1)) * rng.standard_normal((2, n, d))
    x_hat = x_hat.astype(dtype) + data.draw(st.sampled_from([0, 1])) * x_unit
    arguments = (x_unit, *x_hat, n + 3, data.draw(st.sampled_from([0.0, 0.125, 1.0])))
    for ours, true in zip(kernels.loss_backward(*arguments), by_reference.loss_backward(*arguments), strict=True):
        assert_same_bits(ours, true)
    ours, true = x_unit + x_unit[::-1] + 1, x_unit + x_unit[::-1] + 1
    kernels.renormalize_decoder(ours)
    reference.renormalize(true)
    assert_same_bits(ours, true)


@given(codes=draw.codes(), rng=draw.generators(), n_q=st.integers(1, 5))
def test_dots_of_codes(kernels, codes, rng, n_q):
    u = rng.standard_normal((n_q, codes.n_latents)).astype(codes.values.dtype)
    assert_same_bits(kernels.codes_dot(u, codes), by_reference.codes_dot(u, codes))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_code_longer_than_a_small_counter_is_added_up_whole(kernels, rows):
    h = 300 if SIMULATED else 70_000  # more than 2¹⁶: an index type that is too narrow would wrap
    codes = Codes(np.arange(h)[None].repeat(rows, 0), np.ones((rows, h), np.float32), h)
    assert kernels.codes_dot(np.ones((1, h), np.float32), codes).tolist() == [[h] * rows]


@given(
    rng=draw.generators(), dtype=st.sampled_from(draw.DTYPES), order=st.sampled_from("CF"), step=st.integers(1, 2000)
)
def test_adam(kernels, rng, dtype, order, step):
    arrays = [np.array(rng.standard_normal((7, 5)), dtype, order=order) for _ in range(4)]
    arrays[3] = np.abs(arrays[3])
    for array in arrays[1:]:
        array *= rng.choice([1, 0, np.finfo(dtype).tiny, np.sqrt(np.finfo(dtype).tiny)], array.shape)
    constants = adam_constants(AdamConfig(1e-3), step, np.dtype(dtype))
    ours, truth = [array.copy("K") for array in arrays], [array.copy("K") for array in arrays]
    kernels.adam_update(*ours, constants)
    reference.adam(*truth, step, 1e-3)
    for a, b in zip(ours, truth, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_a_whole_training_run_gives_the_same_file_from_either_backend(kernels, dtype, tmp_path):
    x = np.random.default_rng(3).standard_normal((400, 24)).astype(dtype)
    settings = {"n_latents": 70, "k": 5, "batch_size": 64, "steps": 25, "warmup_steps": 3}
    if SIMULATED:
        x, settings = x[:50], {"n_latents": 24, "k": 3, "batch_size": 10, "steps": 4, "rows_per_block": 4}
    names = ("numpy", "cuda" if ON_CUDA else "numba")
    for name in names:
        save_model(tmp_path / f"{name}.npz", fit(x, backend=name, **settings).model)
    one, other = ((tmp_path / f"{name}.npz").read_bytes() for name in names)
    assert one == other


def test_numpy_gives_the_same_model_where_scipy_adds_up_otherwise(monkeypatch):
    x = np.random.default_rng(3).standard_normal((400, 24)).astype(np.float32)
    settings = {"n_latents": 70, "k": 5, "batch_size": 64, "steps": 5, "backend": "numpy"}
    assert sparse_products.scipy_sums_in_order()
    truth = fit(x, **settings).model.digest
    monkeypatch.setattr(sparse_products, "scipy_sums_in_order", lambda: False)
    assert fit(x, **settings).model.digest == truth


# -- other processors -------------------------------------------------------------------------------------------------

FINGERPRINT = """
import hashlib, sys, numpy as np
from compressae_ref import fit, search
x = np.random.default_rng(0).standard_normal((700, 48)).astype("f4")
x[350:] = x[:350]
model = fit(x, n_latents=200, k=7, batch_size=100, steps=40, backend=sys.argv[1]).model
codes = model.encode(x, backend=sys.argv[1])
sha = hashlib.sha256(codes.indices.tobytes() + codes.values.tobytes())
for space in ("sparse", "reconstructed", "asymmetric"):
    hits = search(x[:5] + 0.1, codes, 50, space=space, model=model, backend=sys.argv[1])
    sha.update(hits.ids.tobytes() + hits.scores.tobytes())
print(model.digest, sha.hexdigest())
"""
PROCESSORS = [
    {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Sandybridge", "OPENBLAS_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "4"},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512F AVX512CD AVX512_SKX AVX2 FMA3"},
    {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_NUM_THREADS": "1"},
]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of processors are of this family")
@pytest.mark.skipif(SIMULATED, reason="nothing of CUDA runs in it")
def test_other_processors_and_other_kernels_of_blas_change_no_bit(tmp_path):
    def fingerprint(name, processor):
        cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if processor else {}  # kernels of this one may be there already
        environment = os.environ | cache | processor
        command = [sys.executable, "-W", "ignore", "-c", FINGERPRINT, name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    here = fingerprint("numba", {})
    for processor in PROCESSORS:
        name = "numba" if any("NUMBA" in variable for variable in processor) else "numpy"
        assert fingerprint(name, processor) == here, processor


# -- the choice of a backend ------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_choice():
    """The choice of the default is made once; here it is made anew."""
    backends_module._default.cache_clear()
    yield
    backends_module._default.cache_clear()


def test_numba_is_the_default_where_it_is_installed(monkeypatch, fresh_choice):
    assert get_backend().name == "numba"
    backends_module._default.cache_clear()
    monkeypatch.setattr(backends_module, "_numba_is_installed", lambda: False)
    assert get_backend().name == "numpy"


def test_a_numba_that_cannot_be_imported_is_said_and_not_needed(monkeypatch, fresh_choice):
    load = backends_module._load

    def failing(name):
        if name == "numba":
            raise ImportError("Numba needs NumPy 2.4 or less")
        return load(name)

    monkeypatch.setattr(backends_module, "_load", failing)
    with pytest.warns(UserWarning, match="using NumPy alone: Numba needs NumPy 2.4 or less"):
        assert get_backend().name == "numpy"
    with pytest.raises(BackendError, match="'numba' is installed, but cannot be used: Numba needs"):
        get_backend("numba")


def test_an_absent_or_unknown_backend_says_what_to_do(monkeypatch):
    with pytest.raises(BackendError, match="expected one of numpy, numba, cuda, got 'torch'"):
        get_backend("torch")
    monkeypatch.setattr(backends_module, "_numba_is_installed", lambda: False)
    with pytest.raises(BackendError, match=r"; pip install 'numba>=[\d.]+'"):
        get_backend("numba")


def test_cuda_is_only_asked_for_by_name_and_says_what_it_lacks(monkeypatch, fresh_choice):
    assert get_backend().name in ("numba", "numpy")
    here = importlib.util.find_spec
    for package, module in (("numba", "numba"), ("numba-cuda", "numba_cuda")):
        missing = lambda name, module=module: None if name == module else here(name) or True  # noqa: E731
        monkeypatch.setattr(cuda_requirements.importlib.util, "find_spec", missing)
        with pytest.raises(BackendError) as error:
            get_backend("cuda")
        expected = f"backend 'cuda' needs the package {package}: {install_command('cuda')}"
        assert str(error.value) == expected


@pytest.mark.parametrize(
    ("driver", "devices", "compiler", "message"),
    [
        (None, 1, True, None),
        ("CUDA driver library cannot be found.\n\nEnsure that", 1, True, "the driver of an NVIDIA GPU, .* Ensure that"),
        ("[100] Call to cuInit results in CUDA_ERROR_NO_DEVICE", 0, True, "an NVIDIA GPU, and the driver finds none"),
        (None, 0, True, "an NVIDIA GPU, and the driver finds none"),
        (None, 1, False, r"NVIDIA's compiler \(libnvvm\): pip install 'numba-cuda\[cu12\]>=[\d.]+' 'numba>=[\d.]+'"),
    ],
)
def test_what_else_a_gpu_needs_is_named_in_one_line(driver, devices, compiler, message, monkeypatch):
    if SIMULATED:
        pytest.skip("nothing is lacking there")
    loaded = SimpleNamespace(driver=SimpleNamespace(is_available=driver is None, initialization_error=driver))
    fakes = {
        "numba.cuda": SimpleNamespace(config=SimpleNamespace(ENABLE_CUDASIM=0), list_devices=lambda: [0] * devices),
        "numba.cuda.cudadrv": SimpleNamespace(driver=loaded, nvvm=SimpleNamespace(is_available=lambda: compiler)),
    }
    import numba

    monkeypatch.setattr(numba, "cuda", fakes["numba.cuda"], raising=False)
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(cuda_requirements.importlib.util, "find_spec", lambda name: True)
    lacking = what_cuda_lacks()
    assert lacking == message if message is None else re.fullmatch(message, lacking)


def test_a_backend_is_taken_as_it_is():
    numpy_backend = get_backend("numpy")
    assert get_backend(numpy_backend) is numpy_backend


def test_each_rule_on_numbers_is_used_by_the_kernels_of_both_compilers():
    folder = Path(rules.__file__).parent
    source = (folder / "rules.py").read_text()
    for compiler in ("numba", "cuda"):
        texts = "".join(path.read_text() for path in (folder / compiler).glob("*.py") if path.name != "rules.py")
        for rule in rules.RULES:
            called = rf"(?<!def )\b{rule.__name__}\("
            assert re.search(called, texts) or re.search(called, source), rule.__name__
