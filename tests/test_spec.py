"""The specification is a program: its blocks, extracted and run, give the bits of the package in float64."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Model, Params, asymmetric_cosine, reconstructed_cosine, reference, search, sparse_cosine
from compressae_ref.backends import get_backend, rules
from compressae_ref.backends.numpy.softmax import exponential
from compressae_ref.codes import Codes
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.files.codes_file import save_codes
from compressae_ref.files.model_file import VERSION, save_model
from compressae_ref.files.packed_file import save_packed
from compressae_ref.model import AUX_WEIGHT
from compressae_ref.segments.times import UNITS
from compressae_ref.training.adam_state import AdamConfig, adam_constants
from compressae_ref.training.step import forward, loss_and_grads
from compressae_ref.verify import reference_answers, self_test
from compressae_ref.verify.operations import OPERATIONS, STEP_OUTPUTS
from compressae_ref.verify.vectors import SPEC_VERSION, default_folder, load_folder
from spec.generate import files as made
from spec.generate.answers import Spec
from spec.generate.program import PAGES as NAMES
from spec.generate.program import SPEC, blocks, program
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.test_names import WORDS

PAGES = {name: (SPEC / name).read_text(encoding="utf-8") for name in NAMES}
BLOCKS = {page: blocks(page) for page in PAGES}
NUMPY = get_backend("numpy")
spec = program()
VECTORS = load_folder(default_folder())


def rows(codes):
    """Codes as the specification has them: for each row a list of indices and one of values."""
    return list(zip(codes.indices.tolist(), codes.values.tolist(), strict=True))


def assert_same_code(ours, theirs):
    assert ours[0] == theirs[0]
    assert_same_bits(np.array(ours[1], float), np.array(theirs[1], float))


def arrays(problem):
    return [array.tolist() for array in problem.params.arrays().values()]


# -- the blocks against the package -----------------------------------------------------------------------------------


@given(draw.matrices(m=st.integers(1, 200), dtype=st.just("float64")), draw.generators())
def test_sums(a, rng):
    a = np.where(np.abs(a) < 1e-30, 0, a)
    b = rng.standard_normal(a.shape)
    assert_same_bits(reference.fold_sum(a), np.array([spec.fold_sum(row) for row in a.tolist()]))
    assert_same_bits(
        reference.dot(a, b), np.array([spec.dot(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)])
    )
    assert_same_bits(reference.norm(a), np.array([spec.norm(row) for row in a.tolist()]))


@given(draw.selections(), st.data())
def test_selection_and_the_split(selection, data):
    pre, k = selection
    pre = pre.astype(float)
    theirs = by_reference.abs_topk(pre, k)
    for row, code in zip(pre.tolist(), rows(theirs), strict=True):
        assert_same_code(code, spec.abs_topk(row, k))
    smaller = data.draw(st.integers(1, k))
    kept, rest = (rows(part) for part in by_reference.split_codes(theirs, smaller))
    for code, ours_kept, ours_rest in zip(rows(theirs), kept, rest, strict=True):
        theirs_kept, theirs_rest = spec.split_code(*code, smaller)
        assert_same_code(ours_kept, theirs_kept)
        assert_same_code(ours_rest, theirs_rest)


@given(draw.problems())
def test_the_forward_pass(problem):
    x_unit = reference.unit_rows(problem.x, np.float64)
    acts = forward(x_unit, problem.params, problem.k, NUMPY)
    W_enc, b_enc, W_dec = arrays(problem)
    cos = reference.cosine(x_unit, acts.x_hat_k)
    codes = zip(rows(acts.codes_k), rows(acts.codes_rest), strict=True)
    for i, (code_k, code_rest) in enumerate(codes):
        ours = spec.unit_row(problem.x[i].tolist())
        assert_same_bits(x_unit[i], np.array(ours))
        spec_k, spec_rest, x_hat_k, x_hat_aux = spec.forward(ours, W_enc, b_enc, W_dec, problem.k)
        assert_same_code(code_k, spec_k)
        assert_same_code(code_rest, spec_rest)
        assert_same_bits(acts.x_hat_k[i], np.array(x_hat_k))
        assert_same_bits(acts.x_hat_aux[i], np.array(x_hat_aux))
        assert_same_bits(cos[i : i + 1], np.array([spec.cosine(ours, x_hat_k)]))


@given(draw.problems())
def test_the_gradients(problem):
    grads = problem.params.zeros_like()
    loss_and_grads(problem.x, problem.params, problem.k, NUMPY, grads)
    ours = spec.gradients(problem.x.tolist(), *arrays(problem), problem.k)
    for theirs, array in zip(grads.arrays().values(), ours, strict=True):
        assert_same_bits(theirs, np.array(array))


def test_a_gradient_through_a_clamped_norm():
    x_unit, x_hat = np.array([[0.6, 0.8]]), np.array([[1e-9, 2e-9]])
    ours = spec.cosine_backward(0.5, x_unit[0].tolist(), x_hat[0].tolist())
    assert_same_bits(reference.cosine_backward(np.array([0.5]), x_unit, x_hat)[0], np.array(ours))


@given(draw.generators(), st.integers(1, 1000), st.floats(1e-5, 0.3))
def test_a_step_of_adam(rng, t, lr):
    p, g, m, v = rng.standard_normal((4, 6)) * 10.0 ** rng.integers(-30, 3, (4, 6))
    v = np.abs(v)
    m[0], v[1], g[:2] = 1e-308, 1e-308, 0
    ours = [spec.adam(*each, t, lr) for each in zip(*(a.tolist() for a in (p, g, m, v)), strict=True)]
    NUMPY.adam_update(p, g, m, v, adam_constants(AdamConfig(lr), t, np.dtype(float)))
    for theirs, array in zip((p, m, v), zip(*ours, strict=True), strict=True):
        assert_same_bits(theirs, np.array(array))


@given(draw.generators(), st.integers(1, 5), st.integers(1, 40))
def test_unit_atoms_and_the_projection(rng, h, d):
    W_dec, grad = rng.standard_normal((2, h, d))
    ours = spec.renormalize(W_dec.tolist())
    NUMPY.renormalize_decoder(W_dec)
    assert_same_bits(W_dec, np.array(ours))
    projected = spec.project(grad.tolist(), ours)
    NUMPY.project_decoder_gradient(grad, W_dec)
    assert_same_bits(grad, np.array(projected))


@given(draw.problems(n=st.integers(1, 6)), st.data())
def test_similarity_in_every_space_and_search(problem, data):
    model = Model(problem.params, problem.k)
    items, W_dec, h = model.encode(problem.x), problem.params.W_dec, problem.params.n_latents
    query = model.encode(problem.x[:1], data.draw(st.integers(1, h)))
    x_unit = spec.unit_row(problem.x[0].tolist())
    (asked,), stored, atoms = rows(query), rows(items), W_dec.tolist()
    scores = {
        "sparse": (sparse_cosine(query, items), [spec.sparse_cosine(asked, item, h) for item in stored]),
        "reconstructed": (
            reconstructed_cosine(query, items, W_dec),
            [spec.reconstructed_cosine(asked, item, atoms) for item in stored],
        ),
        "asymmetric": (
            asymmetric_cosine(problem.x[:1], items, W_dec),
            [spec.asymmetric_cosine(x_unit, item, atoms) for item in stored],
        ),
    }
    for space, (theirs, ours) in scores.items():
        assert_same_bits(theirs[0], np.array(ours))
        hits = search(problem.x[:1] if space == "asymmetric" else query, items, len(stored), space=space, model=model)
        assert hits.ids[0].tolist() == spec.best(ours, len(stored))


# -- the whole program in both formats, by the operations of `verify` -------------------------------------------------


def assert_same_answer(operation, inputs, backend=NUMPY):
    """The text of the specification and the package: the same bits, or both refuse."""
    theirs = self_test.answer(operation, inputs, backend)
    try:
        ours = Spec().answer(operation, inputs)
    except AssertionError:
        assert "error" in theirs
        return None
    assert "outputs" in theirs, theirs
    for name, value in ours.items():
        if isinstance(value, np.ndarray):
            assert_same_bits(theirs["outputs"][name], value)
        else:
            assert theirs["outputs"][name] == value
    return ours


float32 = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="the specification runs in float32 with NumPy 2"
)


@float32
@given(draw.problems(dtype="float32", n=st.integers(1, 5)))
def test_in_float32_encoding_decoding_and_gradients(problem):
    W_enc, b_enc, W_dec = problem.params.arrays().values()
    encoded = {"W_enc": W_enc, "b_enc": b_enc, "k": problem.k, "zero_rows": "error"}
    codes = assert_same_answer("encode", {"x": problem.x, **encoded})
    assert_same_answer("decode", {**codes, "W_dec": W_dec})
    assert_same_answer("gradients", {"x": problem.x, "W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "k": problem.k})


@float32
@given(draw.problems(dtype="float32", n=st.integers(1, 5)), st.sampled_from(["sparse", "reconstructed", "asymmetric"]))
def test_in_float32_search(problem, space):
    model = Model(problem.params, problem.k)
    items = model.encode(problem.x)
    inputs = {"space": space, "top": 3, "n_latents": items.n_latents, "indices": items.indices, "values": items.values}
    inputs |= {} if space == "sparse" else {"W_dec": problem.params.W_dec}
    queries = {"query_indices": items.indices[:2], "query_values": items.values[:2]}
    assert_same_answer("search", inputs | ({"queries": problem.x[:2]} if space == "asymmetric" else queries))


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=float32), "float64"])
@given(data=st.data())
def test_refined_codes(dtype, data):
    problem = data.draw(draw.problems(dtype=dtype, n=st.integers(1, 4)))
    m = data.draw(st.integers(problem.k, min(problem.params.n_latents, 12 + problem.k)))
    wide = Model(problem.params, problem.k).encode(problem.x, k=m)
    inputs = {"x": problem.x, "indices": wide.indices, "W_dec": problem.params.W_dec, "k": problem.k}
    assert_same_answer("refine", inputs | {"zero_rows": "error"})


@given(draw.problems(n=st.integers(1, 4)), draw.generators(), st.sampled_from(["after_step", "before_step"]))
def test_training_steps_with_all_that_is_in_them(problem, rng, renormalize):
    batches = problem.x + rng.standard_normal((2, *problem.x.shape)) * np.abs(problem.x).max(axis=1, keepdims=True)
    inputs = {"batches": batches, **problem.params.arrays(), "k": problem.k, "lr": np.array(0.01)}
    outputs = assert_same_answer("train_steps", inputs | {"renormalize": renormalize})
    assert {name.split(".")[1] for name in outputs} == set(STEP_OUTPUTS)


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=float32), "float64"])
@given(data=st.data())
def test_training_for_sparse_space(dtype, data):
    problem = data.draw(draw.problems(dtype=dtype, n=st.integers(1, 4)))
    rng = data.draw(draw.generators())
    settings = {"temperature": np.array(rng.choice([0.05, 0.3, 2.0])), "weight": np.array(rng.choice([0.5, 1.0]))}
    inputs = {**problem.params.arrays(), "k": problem.k, **settings}
    run, theta = Spec().program(dtype), rng.standard_normal(2)
    rows, first = np.sort(rng.choice(9, len(problem.x), replace=False)), rng.integers(0, 8, 6)
    pairs = np.unique(np.stack([first, rng.integers(first + 1, 9)], axis=1), axis=0)
    related = {"rows": rows, "pairs": pairs, "relevance_weight": np.array(rng.choice([0.25, 1.0]))}
    for operation, more in (("similarity_gradients", {}), ("related_gradients", related)):
        asked = inputs | {"x": problem.x, "theta": theta} | more
        theirs, ours = self_test.answer(operation, asked, NUMPY)["outputs"], Spec().answer(operation, asked)
        for name, value in ours.items():
            if name != "loss_similarity":
                assert_same_bits(theirs[name], value)
        error = 1e-3 if dtype == "float32" else 1e-9
        assert theirs["loss_similarity"] == pytest.approx(ours["loss_similarity"], abs=error)
    assert_same_answer(
        "related_batches", {"drawn": rng.permutation(rows), "pairs": pairs, "step": int(rng.integers(1, 99))}
    )
    exponents = rng.uniform(-720, 700, 20)
    assert_same_bits(exponential(exponents), np.array([run.exponential(value) for value in exponents.tolist()]))
    batches = problem.x[None] * np.array([1, -1], dtype)[:, None, None]
    assert_same_answer("distill_steps", inputs | {"batches": batches, "lr": np.array(0.01)})


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=float32), "float64"])
@given(data=st.data())
def test_fitted_codes(dtype, data):
    problem, rng = data.draw(draw.problems(dtype=dtype, n=st.integers(1, 3))), data.draw(draw.generators())
    sizes = {"steps": st.integers(1, 3), "size": st.integers(1, 4), "most": st.integers(2, 3)}
    sizes = {name: data.draw(drawn) for name, drawn in sizes.items()}
    anchors = rng.standard_normal((data.draw(st.integers(2, 9)), problem.x.shape[1])).astype(dtype)
    anchors[0] = problem.x[0]
    weights = {name: array for name, array in problem.params.arrays().items() if name != "W_dec"}
    inputs = {"x": problem.x, "anchors": anchors, **weights, "k": problem.k, **sizes, "zero_rows": "error"}
    assert_same_answer("fitted_codes", inputs)


def drawn_items(rng, n, S, bins, sites):
    """Return n items of up to three of S segments, and the counts of them."""
    segments = np.sort(rng.random((n, S)).argsort(axis=1)[:, : min(S, 3)], axis=1).astype(np.int32)
    segments[rng.random(segments.shape) < 0.4] = -1
    segments = np.take_along_axis(segments, np.argsort(segments < 0, axis=1, kind="stable"), 1)
    items = {"segments": segments, "bins": rng.integers(0, bins, n), "sites": rng.integers(0, sites, n)}
    items["bins"][segments[:, 0] == 0] //= 2  # one segment falls
    items["weights"] = np.where(rng.random(n) < 0.1, 0.0, np.round(10 ** rng.normal(0, 1, n), 3))
    return items | {"n_segments": S, "n_bins": bins, "n_sites": sites}


@given(draw.generators(), st.integers(2, 60), st.integers(1, 4), st.integers(2, 12), st.integers(1, 3))
def test_counts_of_segments(rng, n, S, bins, sites):
    counts = assert_same_answer("count_items", drawn_items(rng, n, S, bins, sites))

    def asked(*names):
        return {name: counts[name] for name in ("weights", "squares", "totals", *names)} | {"q": np.array(0.3)}

    if np.count_nonzero(counts["totals"].sum(axis=1)) > 1:
        assert_same_answer("trends", asked())
        assert_same_answer("spikes", asked("largest", "largest_item"))
    assert_same_answer("site_contrast", asked())
    assert_same_answer("hidden_segments", asked("items", "total_items"))


@given(draw.codes(), st.data())
def test_segments_of_codes(codes, data):
    inputs = {"indices": codes.indices, "values": codes.values}
    rule = {"assign": data.draw(st.sampled_from(["dominant", "top", "all"])), "top": data.draw(st.integers(1, 3))}
    rule |= {
        "threshold": np.array(data.draw(st.sampled_from([0.0, 0.3, 0.7]))),
        "min_items": data.draw(st.integers(1, 3)),
    }
    if len(codes) > 1 and (
        found := assert_same_answer("assign_segments", inputs | {"n_latents": codes.n_latents} | rule)
    ):
        assert_same_answer("together", inputs | {"keys": found["keys"]})


@given(draw.generators(), st.integers(1, 30), st.sampled_from(["auto", *UNITS]))
def test_numbers_of_segments(rng, n, unit):
    z, scale = rng.normal(0, 8, n), 10.0 ** rng.integers(-3, 6, n)
    p = assert_same_answer("tail", {"z_score": z})["p"]
    assert_same_answer("discoveries", {"p": p, "q": np.array(rng.choice([0.05, 0.5]))})
    assert_same_answer("logarithm", {"numbers": np.exp(rng.uniform(-700, 700, n))})
    totals, shares = scale * rng.random((2, n)), rng.choice([0.0, 0.01, 0.5, 1.0], (2, n))
    sides = zip(("y", "y_other", "n", "n_other"), (*(totals * shares), *totals), strict=True)
    assert_same_answer("contrast", dict(sides))
    first, last = -62_135_596_800, 253_402_300_799
    span = int(rng.choice([3 * 10**4, 10**6, 10**8, 10**10, last - first]))
    start = int(rng.integers(first, last - span + 1))
    assert_same_answer("time_bins", {"times": rng.integers(start, start + span + 1, n), "unit": unit})


@given(draw.generators(), st.integers(2, 6), st.integers(1, 5))
def test_groups_and_matches_of_segments(rng, S, T):
    W_dec, keys = rng.standard_normal((9, 20)), np.stack([rng.permutation(9)[:S], rng.choice([-1, 1], S)], 1)
    asked = {"W_dec": W_dec.astype(rng.choice(["f4", "f8"])), "keys": keys.astype(np.int32)}
    assert_same_answer("cut_hierarchy", asked | {"n_groups": int(rng.integers(1, S + 1))})
    own, old = (np.where(rng.random((40, 2)) < 0.2, -1, rng.integers(0, (size, 9), (40, 2))) for size in (S, T))
    own, old = (np.where(part < size, part, -1).astype(np.int32) for part, size in ((own, S), (old, T)))
    for part in (own, old):
        part[part[:, 0] == part[:, 1], 1] = -1  # an item has a segment once
    atoms, other = (rng.random((size, 5)) for size in (S, T))  # cosines above 0, so no two matches are equal
    atoms, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (atoms, other))
    assert_same_answer(
        "match_segments",
        {"segments": own, "earlier": old, "sizes": np.array([S, T]), "atoms": atoms, "earlier_atoms": other},
    )


@given(st.text(), st.lists(st.tuples(st.lists(st.sampled_from(WORDS), max_size=6), st.integers(-1, 2)), min_size=9))
def test_names_of_segments(text, items):
    assert_same_answer("words_of", {"text": text})
    keys = np.array([(0, 1), (0, -1), (7, 1)], np.int32)
    inputs = {"texts": [" ".join(words) for words, _ in items], "keys": keys, "most_words": 9}
    inputs["segments"] = np.array([[s] for _, s in items], np.int32)
    for method in ("c-tf-idf", "log-odds"):
        assert_same_answer("name_segments", inputs | {"method": method})


@given(draw.generators(), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["tied", "original"]))
def test_the_start(rng, d, h, init):
    assert_same_answer("init_params", {"u_enc": rng.random((d, h)), "u_dec": rng.random((h, d)), "init": init})


# -- files ------------------------------------------------------------------------------------------------------------


def saved(save, *content) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npz"
        save(path, *content)
        return path.read_bytes()


def unit_params(rng, d, h, dtype):
    W_dec = rng.standard_normal((h, d))
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    return Params(*(array.astype(dtype) for array in (rng.standard_normal((d, h)), rng.standard_normal(h), W_dec)))


@given(draw.generators(), st.integers(1, 6), st.integers(1, 9), st.sampled_from(draw.DTYPES))
def test_a_model_file_byte_by_byte(rng, d, h, dtype):
    params = unit_params(rng, d, h, dtype)
    k = int(rng.integers(1, h + 1))
    file = saved(save_model, Model(params, k))
    assert bytes(Spec().answer("write_model", {**params.arrays(), "k": k})["file"]) == file
    assert_same_answer("read_model", {"file": np.frombuffer(file, np.uint8)})


@given(draw.codes(), st.sampled_from([None, "0" * 64]))
def test_a_codes_file_byte_by_byte(codes, model):
    inputs = {"indices": codes.indices, "values": codes.values, "n_latents": codes.n_latents, "model": model}
    file = saved(save_codes, Codes(**inputs))
    assert bytes(Spec().answer("write_codes", inputs)["file"]) == file
    assert_same_answer("read_codes", {"file": np.frombuffer(file, np.uint8)})


@given(draw.generators(), st.booleans())
def test_of_damaged_files_the_package_takes_no_more_than_the_specification(rng, is_model):
    """Some bytes changed, some cut off or put in: what the text refuses, the package does not make another thing of."""
    if is_model:
        file = saved(save_model, Model(unit_params(rng, 3, 5, "float32"), 2))
    else:
        file = saved(save_codes, Codes(np.array([[0, 2], [1, 3]]), np.float32([[1, -2], [3, 4]]), 5, "0" * 64))
    damaged = bytearray(file)
    for _ in range(rng.integers(1, 3)):
        at = int(rng.integers(len(damaged)))
        damaged[at : at + int(rng.integers(2))] = rng.integers(0, 256, int(rng.integers(1, 3)), np.uint8).tobytes()
    operation = "read_model" if is_model else "read_codes"
    inputs = {"file": np.frombuffer(bytes(damaged), np.uint8)}
    theirs = self_test.answer(operation, inputs, NUMPY)
    if "outputs" in theirs:
        ours = self_test.answer(operation, {"file": np.frombuffer(file, np.uint8)}, NUMPY)["outputs"]
        for name, value in theirs["outputs"].items():
            assert np.array_equal(value, ours[name]), "a damaged file gives other contents"
    else:
        assert theirs["error"] == "FormatError"


def tiny_file(kind: str) -> bytes:
    """Return a file in which every size is 1, so that true equals each of its integers."""
    one = np.ones((1, 1), np.float32)
    model = Model(Params(one / 2, one[0], one), 1, {"steps": 100})
    if kind == "model":
        return saved(save_model, model)
    if kind in ("small_model", "encoder"):
        only = "encoder" if kind == "encoder" else None
        return saved(partial(save_model, weights="int8", only=only), model)
    codes = Codes(np.zeros((1, 1), np.int32), np.float32([[2]]), 1, "0" * 64)
    return saved(save_codes, codes) if kind == "codes" else saved(save_packed, pack(codes))


CODES_MEMBERS = ("data", "indices", "indptr", "shape", "meta")
SMALL_MEMBERS = ("W_enc", "W_enc_scales", "b_enc", "meta")
READ = {
    "model": ("W_enc", "b_enc", "W_dec", "meta"),
    "codes": CODES_MEMBERS,
    "packed": ("packed", "meta"),
    "small_model": (*SMALL_MEMBERS, "W_dec", "W_dec_scales"),
    "encoder": SMALL_MEMBERS,
}
"""The members that a reader of each kind of file needs."""
INTEGERS = {
    "model": ("version", "d", "n_latents", "k"),
    **dict.fromkeys(("codes", "packed"), ("version", "n_latents", "k")),
    **dict.fromkeys(("small_model", "encoder"), ("d", "n_latents", "k")),
}


def classes_of_headers(kind, file):
    """Yield (what, file, whether a reader reads it; None: as it likes) for each array that a reader needs."""
    for name in READ[kind]:
        descr = spec.array(spec.members(file)[name])[0]
        for mark in "=>":
            yield f"{name}: {mark}", made._header(file, name, descr, mark + descr[1:]), False
        yield f"{name}: without a mark", made._header(file, name, descr, descr[1:]), False
        yield f"{name}: Fortran order", made._header(file, name, "False", "True "), False
        yield f"{name}: version 2", made._version_2(file, name), False
        for what, old, new in (
            ("double quotes", "'", '"'),
            ("no spaces", ": ", ":"),
            ("another order", f"{{'descr': '{descr}', 'fortran_order': False, ", "{"),
            ("a further key", "{", "{'more': 1, "),
        ):
            changed = made._header(file, name, old, new)
            if what == "another order":
                changed = made._header(changed, name, "), }", f"), 'fortran_order': False, 'descr': '{descr}'}}")
            yield f"{name}: {what}", changed, None


def classes_of_metas(kind, file):
    text = made._meta_text(file)
    for constant in ("NaN", "Infinity", "-Infinity"):
        yield constant, made._with_meta(file, text.replace("{", f'{{"a": [{constant}], ', 1)), False
    for what, behind in (("NUL", "\0"), ("an object", "{}"), ("a letter", " x"), ("a comma", ",")):
        yield f"{what} behind", made._with_meta(file, text + behind), False
    for surrogate in ("\ud800", "\udfff"):
        yield f"{surrogate!a}", made._with_meta(file, text.replace("{", f'{{"{surrogate}": 0, ', 1)), False
    yield "spaces around", made._with_meta(file, f" \n{text}\t "), True
    yield "an equal name in front", made._with_meta(file, text.replace("{", '{"k": 7, "version": 9, ', 1)), True
    for name in INTEGERS[kind]:
        yield f"{name} is true", made._with_meta(file, text.replace(f'"{name}": 1', f'"{name}": true')), False
        yield f"{name} is 1.0", made._with_meta(file, text.replace(f'"{name}": 1', f'"{name}": 1.0')), None


def classes_of_archives(kind, file):
    bad = b"\x93NUMPY\x01\x00"
    others = {"README.txt": b"text", "folder/": b"", "cut.npy": bad, "notes": b"\0", "W_enc.txt": bad, "ä.npy": bad}
    others |= {"mean.npy": bad}  # no file here is centred
    for name, content in others.items():
        yield f"a member {name}", made._archive(file, (name, content)), True
        yield f"a member {name} first", made._archive(file, first=((name, content),)), True
    for name in READ[kind]:
        yield f"another {name} first", made._archive(file, first=((f"{name}.npy", bad),)), True
        yield f"another {name} last", made._archive(file, (f"{name}.npy", bad)), False
    for front in (b"\0", b"#!/bin/sh\n", file):
        yield f"{len(front)} bytes in front", front + file, False
    yield "bytes behind", file + b"\0", None


@pytest.mark.parametrize("classes", [classes_of_headers, classes_of_metas, classes_of_archives])
@pytest.mark.parametrize("kind", READ)
def test_the_blocks_and_the_package_read_the_files_that_the_text_says_are_read(kind, classes):
    file = tiny_file(kind)
    right = Spec().answer(f"read_{kind}", {"file": np.frombuffer(file, np.uint8)})
    for what, changed, is_read in classes(kind, file):
        assert changed != file, what
        inputs = {"file": np.frombuffer(changed, np.uint8)}
        theirs = self_test.answer(f"read_{kind}", inputs, NUMPY)
        try:
            ours = {"outputs": Spec().answer(f"read_{kind}", inputs)}
        except (AssertionError, ValueError):
            ours = {"error": "FormatError"}
        for who, told in (("the blocks", ours), ("the package", theirs)):
            allowed = {True: ["outputs"], False: ["error"], None: ["outputs", "error"]}[is_read]
            assert [key for key in told if key in allowed], f"{what}: {who} gave {told}"
            assert told.get("error", "FormatError") == "FormatError"
            for name, value in told.get("outputs", {}).items():
                assert np.array_equal(value, right[name]), f"{what}: {who} read another {name}"


# -- errors -----------------------------------------------------------------------------------------------------------

COUNTS = {"k": (-1, 0, 2**31 - 1), "m": (-1, 0, 2**31 - 1), "top": (-1, 0), "bits": (-1, 0, 3, 7, 9)}
ROWS = ("x", "queries", "batches")


def wrong_inputs():
    """Yield (operation, inputs, error): for each operation, each count out of range and rows of other dimensions."""
    valid = {test.operation + test.inputs.get("space", ""): test for file in VECTORS for test in file.tests[:1]}
    for test in valid.values():
        for name, wrong in COUNTS.items():
            for value in wrong if isinstance(test.inputs.get(name), int) else ():
                yield pytest.param(test, {name: value}, "DomainError", id=f"{test.id} {name}={value}")
        for name in set(ROWS) & set(test.inputs) if "W_dec" in test.inputs or "W_enc" in test.inputs else ():
            x = test.inputs[name]
            for d, other in (("d-1", x[..., :-1].copy()), ("d+1", np.concatenate([x, x[..., :1]], axis=-1))):
                yield pytest.param(test, {name: other}, "ShapeError", id=f"{test.id} {name} {d}")


@float32
@pytest.mark.parametrize(("test", "wrong", "error"), list(wrong_inputs()))
def test_what_the_text_forbids_is_refused_by_name_in_every_operation(test, wrong, error):
    inputs = test.inputs | wrong
    assert self_test.answer(test.operation, inputs, NUMPY) == {"error": error}
    assert reference_answers.answer(test.operation, inputs) == {"error": error}
    if test.operation != "write_model":  # a block that writes trusts its caller
        with pytest.raises(AssertionError):
            Spec().answer(test.operation, inputs)


# -- the blocks themselves --------------------------------------------------------------------------------------------


def test_every_equation_has_its_place_once():
    stated = re.findall(r"\*\*([ER]\d+'*)\*\*", "".join(PAGES.values()))
    assert len(stated) == len(set(stated)), sorted(name for name in stated if stated.count(name) > 1)
    numbers = [{int(name[1:].rstrip("'")) for name in stated if name[0] == kind} for kind in "ER"]
    assert numbers == [{*range(1, 66)}, {*range(1, 48)}]


@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page, texts in BLOCKS.items() for block in texts],
    ids=lambda text: text.split("(")[0].removeprefix("def ").strip(),
)
def test_blocks_are_plain(page, block):
    assert not re.search(r"\b(import|numpy|np|class|yield|async|map|filter|reduce|lambda \*)\b", block)
    modules = set(re.findall(r"\b(math|json|hashlib|zlib|struct|re|os)\.", block))
    assert modules <= ({"math", "json", "hashlib", "zlib"} if page == "file-format.md" else {"math"})
    assert max(map(len, block.splitlines())) <= 125


def test_the_blocks_pass_the_linter(tmp_path):
    """Under the rules of the project, but for docstrings, which stand in the text around them."""
    header = "import hashlib\nimport json\nimport math\nimport unicodedata\nimport zlib\n\n\n"
    file = tmp_path / "blocks.py"
    file.write_text(header + "\n\n".join(block for texts in BLOCKS.values() for block in texts), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,W,B,PLE", "--line-length", "125"]
    run = subprocess.run([*command, "--ignore", "B905", str(file)], capture_output=True, text=True, check=False)
    if "No module named ruff" in run.stderr:
        pytest.skip("needs ruff")
    assert run.returncode == 0, run.stdout


# -- names, shapes, quotes and numbers --------------------------------------------------------------------------------

NOTATION = (SPEC / "notation.md").read_text("utf-8")
CODE = {path: path.read_text("utf-8") for path in sorted((SPEC.parent / "compressae_ref").rglob("*.py"))}


def notation() -> dict[str, str]:
    """Name → shape."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (\([^|]+\)) \|$", NOTATION, re.M)
    return {name: shape for cell, shape in rows for name in re.findall(r"`(\w+)`", cell)}


def shapes_in_docstrings() -> list[tuple[str, str, str]]:
    """(file, name, shape): ``name : (n, d)``, ``name (n, d)``, or a field with ``(n, d)`` first in its text."""
    found = []
    for path, text in CODE.items():
        for pattern in (r"\b(\w+)`* (\([nhdk_q]+, ?[nhdk]?\))", r'^    (\w+): \w+\n    """(\([nhdk, ]+\)) '):
            found += [(path.name, name, shape) for name, shape in re.findall(pattern, text, re.M)]
        for names, shape in re.findall(r"^ +([\w, ]+) : (\([nhdkmq_, ]+\))", text, re.M):
            found += [(path.name, name.strip(), shape) for name in names.split(",")]
    return found


def test_shapes_in_docstrings_are_those_of_the_notation():
    table, seen = notation(), set()
    assert len(table) >= 12
    for file, name, shape in shapes_in_docstrings():
        if name in table:
            assert shape == table[name], f"{file}: {name} is {shape}, and {table[name]} in the notation"
            seen.add(name)
    assert {"x", "x_unit", "W_enc", "b_enc", "W_dec", "x_hat_k", "x_hat_aux", "indices", "values"} <= seen


def test_shapes_of_operations_are_those_of_the_notation():
    table = notation()
    kinds = [item for each in OPERATIONS.values() for item in (*each.inputs.items(), *each.outputs.items())]
    seen = {name for name, kind in [*kinds, *STEP_OUTPUTS.items()] if _checked(name, kind, table)}
    assert {"W_enc", "b_enc", "W_dec", "pre", "x_unit", "x_hat", "x_hat_k", "x_hat_aux"} <= seen


def _checked(name, kind, table):
    """Whether a name stands in the notation; its shape must be the same, or that of a selection's input (n, m)."""
    if name not in table or " (" not in kind:
        return False
    shape = "(" + kind.rstrip("?").split(" (")[1]
    assert shape.replace("m", "k") == table[name].replace(",)", ")"), f"{name}: {kind}"
    return True


def test_every_name_of_the_notation_is_used_in_the_code():
    rows_of_table = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", NOTATION, re.M)
    names = [name for cell, _ in rows_of_table for name in re.findall(r"`(\w+)`", cell)]
    code = "".join(CODE.values())
    assert len(names) > 10
    assert [name for name in names if name != "grad_y" and not re.search(rf"\b{name}\b", code)] == []


def test_codes_of_the_specification_are_codes_of_the_package():
    indices, values = spec.abs_topk([0.0, -3.0, 2.0, -0.0], 3)
    code = Codes(np.array([indices]), np.array([values]), 4)
    assert (code.indices.tolist(), code.values.tolist()) == ([[0, 1, 2]], [[0, -3, 2]])


def plain(text):
    """Without line breaks, comment signs and repeated spaces."""
    return " ".join(text.replace("#", " ").split())


def test_quotes_in_comments_occur_verbatim():
    pages = plain("".join(PAGES.values()).replace("**", ""))
    quotes = [
        (path.name, plain(quote))
        for path, text in CODE.items()
        for quote in re.findall(r'# spec: "([^"]+)"', text, re.S)
    ]
    assert len(quotes) >= 8
    for name, quote in quotes:
        assert quote in pages, f"{name}: {quote!r} is not in the specification"


def test_stated_values_are_what_they_are():
    """`expression` (= value), anywhere in the pages: the value is that of the expression, to the digits it has."""
    names = {"sqrt": np.sqrt, "beta1": 0.9, "beta2": 0.999}
    found = 0
    for page in (*(SPEC.glob("*.md")), SPEC / "vectors" / "README.md", SPEC.parent / "README.md"):
        for expression, value in re.findall(r"`([^`]+)` \(= ([^)]+)\)", page.read_text("utf-8")):
            digits = len(re.sub(r"e.*|[^0-9]", "", value).lstrip("0"))
            actual = eval(expression.replace("^", "**"), {"__builtins__": {}}, names)
            assert f"{actual:.{digits}g}" == f"{float(value.replace(',', '')):.{digits}g}", f"{page.name}: {expression}"
            found += 1
    assert found >= 6


def test_constants_of_the_text_are_those_of_the_code():
    text = PAGES["compressae.md"]
    adam = AdamConfig(0.1)
    assert f"β₁ = {adam.beta1}, β₂ = {adam.beta2} and ε = 1e-8" in text
    assert adam.eps == rules.COSINE_EPS == 1e-8
    assert "clamped below at 1e-8" in text
    assert AUX_WEIGHT == 1 / 8
    assert "loss = loss_k + loss_aux / 8" in text
    assert f"version {SPEC_VERSION}" in (SPEC / "README.md").read_text("utf-8")
    assert f"## {SPEC_VERSION}" in (SPEC / "CHANGELOG.md").read_text("utf-8")
    assert f'meta["version"] == {VERSION}\n' in PAGES["file-format.md"]
