"""Refined codes: the same bits from every backend; values of least squares; the choices of a pursuit done by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import DomainError, DTypeError, Index, Model, Params, ShapeError, encode_refined, refine, save_model
from compressae_ref.backends import get_backend
from compressae_ref.backends.numpy.matching_pursuit import refine_unit
from compressae_ref.backends.numpy.sums import pair_dots
from compressae_ref.backends.rounding import gamma
from compressae_ref.cli.main import main
from compressae_ref.codes import Codes
from compressae_ref.demo_data import load_demo_data
from compressae_ref.extensions import refine as refine_module
from compressae_ref.extensions.packed_codes import PackedCodes, pack
from compressae_ref.files.codes_file import save_codes
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.write import write_codes
from compressae_ref.files.model_file import describe
from compressae_ref.files.packed_file import save_packed
from compressae_ref.metrics import mean_cosine
from compressae_ref.reference import cosine
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.conftest import KERNELS_IN_THREADS, kernels_in_threads

NUMPY = get_backend("numpy")


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels:
        yield kernels


@st.composite
def candidates(draw_from, dtypes=st.sampled_from(draw.DTYPES)):
    """A problem, m candidates for each of its rows, and a k; some atoms are zero, equal, or nearly so."""
    dtype = draw_from(dtypes)
    problem = draw_from(draw.problems(dtype=dtype))
    W_dec, h = problem.params.W_dec, problem.params.n_latents
    rng = draw_from(draw.generators())
    for row in rng.integers(h, size=draw_from(st.integers(0, 3))):
        W_dec[row] = draw_from(st.sampled_from([0, 1])) * W_dec[0] + 10.0 ** -rng.integers(2, 9) * W_dec[row]
    m = draw_from(st.integers(1, h))
    indices = np.sort(rng.random((len(problem.x), h)).argsort(axis=1)[:, :m], axis=1)
    codes = Codes(indices, np.zeros(indices.shape, dtype), h)
    return problem, codes, draw_from(st.one_of(st.integers(1, m), st.just(m)))


def assert_same_codes(a, b):
    assert_same_bits(a.indices, b.indices)
    assert_same_bits(a.values, b.values)


@given(given_=candidates(), table=st.booleans())
def test_every_backend_gives_the_bits_of_the_truth(kernels, given_, table):
    """With the dots of all pairs of atoms at hand or without."""
    (x, params, _), codes, k = given_
    x_unit, W_dec = by_reference.normalize_rows(x), params.W_dec
    dots = pair_dots(W_dec, W_dec) if table else None
    right = refine_unit(codes, x_unit, W_dec, k)
    assert_same_codes(kernels.refine_unit(codes, x_unit, W_dec, k, dots), right)
    Codes(right.indices, right.values, right.n_latents)  # as every code


@pytest.mark.parametrize("shape", [(40, 48, 64, 64, 16), (20, 384, 200, 100, 30), (9, 33, 70, 65, 65)])
@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_codes_of_a_real_size(kernels, shape, dtype):
    """Rows and candidates beyond one vector of a processor."""
    n, d, h, m, k = shape
    rng = np.random.default_rng(0)
    W_dec = by_reference.normalize_rows(rng.standard_normal((h, d)).astype(dtype))
    x_unit = by_reference.normalize_rows(rng.standard_normal((n, d)).astype(dtype))
    codes = by_reference.encode(x_unit, np.ascontiguousarray(W_dec.T), np.zeros(h, dtype), m)
    right = refine_unit(codes, x_unit, W_dec, k)
    for dots in (None, pair_dots(W_dec, W_dec)):
        assert_same_codes(kernels.refine_unit(codes, x_unit, W_dec, k, dots), right)


@given(candidates(st.just("float64")))
def test_values_are_those_of_least_squares(given_):
    """What is left of the row is orthogonal to every chosen atom."""
    (x, params, _), codes, k = given_
    x_unit = by_reference.normalize_rows(x)
    refined = refine_unit(codes, x_unit, params.W_dec, k)
    residual = x_unit - by_reference.decode(refined, params.W_dec)
    for row, latents in enumerate(refined.indices):
        chosen = params.W_dec[latents[refined.values[row] != 0]]
        scale = 1 + np.abs(refined.values[row]).sum()
        # A pivot is at least 2⁻²⁶ of a square, so rounding grows by 2¹³ at the most in each direction.
        bound = 2**14 * k * gamma(len(residual[row]) + k, x.dtype) * scale
        assert np.abs(chosen @ residual[row]).max(initial=0) <= bound


@given(draw.problems())
def test_the_choices_are_those_of_a_pursuit_by_hand(problem):
    """Each atom is the one most correlated with what the others leave; looked at where rounding cannot decide."""
    model, x_unit = Model(problem.params, problem.k), by_reference.normalize_rows(problem.x)
    wide = model.encode(problem.x, k=min(4 * problem.k, problem.params.n_latents))
    W_dec = problem.params.W_dec
    refined = refine_unit(wide, x_unit, W_dec, problem.k)
    for row, latents in enumerate(wide.indices):
        by_hand = greedy(W_dec[latents], x_unit[row], problem.k)
        if by_hand is not None:
            assert set(latents[by_hand].tolist()) == set(refined.indices[row].tolist())


def greedy(atoms, x_unit, k):
    """Places of the chosen atoms; None where a choice is close, or an atom nearly in the span of the others."""
    chosen: list[int] = []
    for _ in range(k):
        values = np.linalg.lstsq(atoms[chosen].T, x_unit, rcond=None)[0]
        magnitudes = np.abs(atoms @ (x_unit - atoms[chosen].T @ values))
        magnitudes[chosen] = -1
        best, *others = np.argsort(-magnitudes)
        if len(others) > len(chosen) and magnitudes[best] - magnitudes[others[0]] < 1e-6:
            return None
        chosen.append(int(best))
        if np.linalg.svd(atoms[chosen], compute_uv=False)[-1] < 1e-3:
            return None
    return chosen


@given(draw.problems())
def test_no_other_values_come_closer(problem):
    """With as many candidates as entries: by the cosine, refined codes are at least as good as encoded ones."""
    codes = Model(problem.params, problem.k).encode(problem.x)
    x_unit, W_dec = by_reference.normalize_rows(problem.x), problem.params.W_dec
    refined = refine(codes, problem.x, problem.params)
    before, after = (cosine(x_unit, by_reference.decode(each, W_dec)) for each in (codes, refined))
    kept = (refined.values != 0).sum(axis=1) == problem.k  # where atoms depend on each other, some are set aside
    assert (after[kept] >= before[kept] - 1e-7).all()


@given(draw.problems(dtype="float32"), st.data())
def test_one_call_blocks_and_two_steps_are_one_thing(problem, data):
    model, h = Model(problem.params, problem.k), problem.params.n_latents
    m = data.draw(st.one_of(st.none(), st.integers(problem.k, h)))
    wide = model.encode(problem.x, k=min(4 * problem.k, h) if m is None else m)
    truth = refine(wide, problem.x, problem.params, problem.k, backend="numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressae_ref.unit_blocks.ROWS_PER_BLOCK", 3)
        assert_same_codes(encode_refined(problem.x, model, candidates=m), truth)
        assert_same_codes(refine(wide, problem.x * 2, problem.params, problem.k), truth)
    assert truth.model == model.digest


def test_real_embeddings_come_closer():
    x, model = real()
    encoded = model.encode(x)
    codes = (encoded, refine(encoded, x, model.params), encode_refined(x, model))
    cosines = [mean_cosine(by_reference.normalize_rows(x), model.decode(each)) for each in codes]
    assert cosines == sorted(cosines)
    assert cosines[2] > cosines[0] + 0.01


def real():
    """A model that knows its items: atoms are rows of the data."""
    x = load_demo_data().items[:400].astype(np.float32)
    W_dec = by_reference.normalize_rows(x[:120])
    return x, Model(Params(np.asfortranarray(W_dec.T), np.zeros(len(W_dec), np.float32), W_dec), 8)


def test_zero_rows():
    x, model = real()
    x = x[:5].copy()
    x[3] = 0
    wide = model.encode(x, k=20, zero_rows="empty")
    for refined in (
        refine(wide, x, model.params, 4, zero_rows="empty"),
        encode_refined(x, model, 4, zero_rows="empty"),
    ):
        assert refined.indices[3].tolist() == [0, 1, 2, 3]
        assert not refined.values[3].any()
    for ask in (lambda: refine(wide, x, model.params), lambda: encode_refined(x, model)):
        with pytest.raises(DomainError, match="got a zero row in row 3"):
            ask()


def of_another_model(wide):
    return Codes(wide.indices, wide.values, 120, "0" * 64)


def of_more_latents(wide):
    return Codes(wide.indices, wide.values, 121)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (DomainError, "at least k = 21 of them, got 20", lambda x, w, m: refine(w, x, m.params, 21)),
        (DTypeError, "k: expected an integer, got 2.5", lambda x, w, m: refine(w, x, m.params, 2.5)),
        (ShapeError, "for each of 29 rows of x, got 30", lambda x, w, m: refine(w, x[:29], m.params)),
        (DomainError, "expected codes of model", lambda x, w, m: refine(of_another_model(w), x, m.params)),
        (ShapeError, "expected n_latents = 120", lambda x, w, m: refine(of_more_latents(w), x, m.params)),
        (ShapeError, "expected d = 384", lambda x, w, m: refine(w, x[:, :5], m.params)),
        (DomainError, "candidates from 1 to n_latents = 120, got 121", lambda x, w, m: encode_refined(x, m, 4, 121)),
        (DomainError, "at least k = 4 of them, got 3", lambda x, w, m: encode_refined(x, m, 4, 3)),
    ],
)
def test_what_does_not_fit_is_refused(error, match, call):
    x, model = real()
    wide = model.encode(x[:30], k=20)
    with pytest.raises(error, match=match):
        call(x[:30], wide, model)


def test_the_dots_of_all_atoms_are_made_where_many_rows_need_them(monkeypatch):
    _, model = real()
    made = refine_module._dots_for(400, 8, 32, model.params.W_dec, NUMPY)
    assert_same_bits(made, pair_dots(model.params.W_dec, model.params.W_dec))
    assert refine_module._dots_for(10, 8, 32, model.params.W_dec, NUMPY) is None
    monkeypatch.setattr(refine_module, "TABLE_BYTES", made.nbytes - 1)
    assert refine_module._dots_for(400, 8, 32, model.params.W_dec, NUMPY) is None


# -- refined codes are marked, so that they are searched where they serve ---------------------------------------------

DERIVED = {
    "a slice": lambda codes: codes[3:9],
    "astype": lambda codes: codes.astype("float64"),
    "truncate": lambda codes: codes.truncate(2),
    "to_host": lambda codes: codes.to_host(),
    "concatenate": lambda codes: Codes.concatenate([codes[:3], codes[3:]]),
    "pack": pack,
    "a slice of packed codes": lambda codes: pack(codes)[2:],
    "packed codes, concatenated": lambda codes: PackedCodes.concatenate([pack(codes[:3]), pack(codes[3:])]),
    "unpack": lambda codes: pack(codes).unpack(),
    "pickle": lambda codes: pickle.loads(pickle.dumps(codes)),
    "the items of an index": lambda codes: Index.build(codes, space="sparse").like,
}


@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
def test_codes_that_are_derived_from_refined_codes_are_refined(derive):
    x, model = real()
    plain, refined = model.encode(x[:20], k=8), encode_refined(x[:20], model, 8)
    assert (derive(plain).refined, derive(refined).refined) == (False, True)
    assert "refined" in repr(derive(refined))
    assert "refined" not in repr(derive(plain))


def test_a_mixture_is_not_refined():
    x, model = real()
    plain, refined = model.encode(x[:5], k=8), encode_refined(x[:5], model, 8)
    assert not Codes.concatenate([refined, plain]).refined
    assert not Codes.concatenate([plain, refined]).refined
    with pytest.raises(ShapeError, match="packed alike"):
        PackedCodes.concatenate([pack(plain), pack(refined)])
    assert not refined.split_signs().refined  # they are for sparse space alone


@pytest.mark.parametrize("name", ["codes.npz", "codes.parquet", "codes.arrow", "packed.npz"])
def test_a_file_says_whether_its_codes_are_refined(tmp_path, name):
    x, model = real()
    for codes in (model.encode(x[:20], k=8), encode_refined(x[:20], model, 8)):
        path = tmp_path / name
        if name.startswith("packed"):
            save_packed(path, pack(codes))
        else:
            write_codes(path, [codes], len(codes))
        assert open_codes(str(path)).load().refined == codes.refined
        if path.suffix == ".npz":
            assert describe(path).get("refined", "absent") == (True if codes.refined else "absent")


def test_refined_codes_are_searched_in_asymmetric_space_by_default():
    x, model = real()
    plain, refined = model.encode(x[:60], k=8), encode_refined(x[:60], model, 8)
    for codes, space in ((plain, "sparse"), (refined, "asymmetric"), (pack(refined), "asymmetric")):
        by_default = Index.build(codes, model=model)
        assert by_default.space == space
        found, expected = (
            index.search(x[60:70], 5) for index in (by_default, Index.build(codes, space=space, model=model))
        )
        assert_same_bits(found.ids, expected.ids)
        assert_same_bits(found.scores, expected.scores)
    assert Index.build(refined, space="sparse", model=model).space == "sparse"
    with pytest.raises(DomainError, match="for refined codes in the asymmetric space, got None; space='sparse'"):
        Index.build(refined)


@pytest.mark.parametrize("packed", [False, True])
def test_the_command_search_says_how_it_searches_refined_codes(tmp_path, capsys, packed):
    x, model = real()
    places = {name: str(tmp_path / f"{name}.npz") for name in ("model", "codes", "packed")}
    queries = str(tmp_path / "queries.npy")
    np.save(queries, x[60:65])
    save_model(places["model"], model)
    refined = encode_refined(x[:60], model, 8)
    save_codes(places["codes"], refined)
    save_packed(places["packed"], pack(refined))
    items = places["packed" if packed else "codes"]

    def searched(*options):
        assert main(["search", places["model"], items, queries, "--top", "5", *options]) == 0
        return capsys.readouterr()

    by_default, asymmetric, sparse = searched(), searched("--space", "asymmetric"), searched("--space", "sparse")
    assert by_default.out == asymmetric.out != sparse.out
    assert by_default.err == f"{items}: refined codes, searched in asymmetric space\n"
    assert asymmetric.err == ""
    assert "lower recall in sparse space; --space asymmetric" in sparse.err
    save_codes(places["codes"], model.encode(x[:60], k=8))
    assert main(["search", places["model"], places["codes"], queries]) == 0
    assert capsys.readouterr().err == ""
