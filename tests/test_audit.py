"""The audit of stored codes of every kind: which kind it recognises, which rows it calls wrong, and when it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Codes, Model, init_params, save_codes, save_model
from compressae_ref.cli.main import main
from compressae_ref.extensions.fitted_codes import encode_fitted
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import encode_refined
from compressae_ref.files.foreign.write import write_codes
from compressae_ref.files.packed_file import save_packed
from compressae_ref.verify.audit import as_json, as_text, audit
from compressae_ref.verify.code_forms import Form
from tests import strategies as draw

D, H, K, N = 24, 60, 6, 300


def made_model(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    params = init_params(D, H, rng)
    params.b_enc[:] = rng.standard_normal(H) * 0.1
    return Model(params, K)


MODEL, OTHER = made_model(5), made_model(6)
X = (np.random.default_rng(7).standard_normal((N, D)) * 10.0 ** np.arange(N)[:, None] ** 0.2).astype(np.float32)
ANCHORS = X[::2]


def half(codes: Codes) -> Codes:
    return Codes(codes.indices, codes.values.astype(np.float16).astype(np.float32), codes.n_latents, codes.model)


MADE = {
    "encoded": (lambda model: model.encode(X), Form()),
    "refined": (lambda model: encode_refined(X, model), Form("refined", 4 * K)),
    "refined among 2k": (lambda model: encode_refined(X, model, candidates=2 * K), Form("refined", 2 * K)),
    "refined among all": (lambda model: encode_refined(X, model, candidates=H), Form("refined", H)),
    "fitted": (lambda model: encode_fitted(X, model, ANCHORS), Form("fitted", steps=40)),
}
STORED = {
    "as they are": (lambda codes: codes, {}),
    "split": (lambda codes: codes.split_signs(), {"split_signs": True}),
    "half": (half, {}),
    "packed and split": (lambda codes: pack(codes, 5).unpack().split_signs(), {"bits": 5, "split_signs": True}),
    **{f"{bits} bits": (lambda codes, bits=bits: pack(codes, bits).unpack(), {"bits": bits}) for bits in (4, 5, 6, 8)},
}


def kinds():
    for made, (make, form) in MADE.items():
        for stored, (store, changes) in STORED.items():
            if made in ("encoded", "refined") or stored in ("as they are", "5 bits"):
                yield pytest.param(make, store, replace(form, **changes), id=f"{made}, {stored}")


def anonymous(codes: Codes) -> Codes:
    return Codes(codes.indices, codes.values, codes.n_latents)


def audited(codes: Codes, form: Form, **options):
    return audit(MODEL, X, codes, anchors=ANCHORS if form.method == "fitted" else None, **options)


@pytest.mark.parametrize(("make", "store", "form"), [*kinds()])
def test_every_kind_of_codes_is_recognised_and_judged(make, store, form):
    """Right codes pass, single wrong rows are found, and codes of other rows or of another model do not pass."""
    right = make(MODEL)
    result = audited(store(right), form)
    assert result.form == form
    if store is half:
        assert result.wrong > 0.9 * N
        assert "values are rounded to float16 (R11)" in result.cause
        return
    assert (result.equal, result.passed(strict=True), result.cause) == (N, True, "")
    values = right.values.copy()
    for row in (3, 71, 298):
        values[row, np.abs(values[row]).argmax()] *= -1
    result = audited(store(Codes(right.indices, values, H)), form)
    assert [row.row for row in result.differing if row.kind == "wrong"] == [3, 71, 298]
    assert (result.form, result.equal) == (form, N - 3)
    assert "a value keeps its sign (E5)" in result.differing[0].reason
    result = audited(store(right[np.roll(np.arange(N), 7)]), form)
    assert result.wrong == N
    assert f"store {replace(form, split_signs=False)} of other rows" in result.cause
    assert "row 0 stores the code of row 293" in result.cause
    result = audited(store(anonymous(make(OTHER))), form)
    assert result.wrong > 0.95 * N
    assert "no codes of this model" in result.cause or "neither codes of the encoder nor" in result.cause


@pytest.mark.parametrize("stored", ["as they are", "packed and split"])
@pytest.mark.parametrize("encode", [Model.encode, lambda model, x, **how: encode_refined(x, model, **how)])
def test_a_zero_row_has_a_code_of_zeros_in_every_kind(encode, stored):
    x = X.copy()
    x[[0, 100, 299]] = 0
    codes, (store, _) = encode(MODEL, x, zero_rows="empty"), STORED[stored]
    assert audit(MODEL, x, store(codes)).equal == N
    values = codes.values.copy()
    values[100, 2] = 0.5
    result = audit(MODEL, x, store(Codes(codes.indices, values, H)))
    assert [(row.row, row.reason) for row in result.differing] == [(100, "is not zero, but belongs to a zero row (R4)")]


@pytest.mark.parametrize("bits", [None, 5])
def test_fitted_codes_without_their_anchors_are_told_to_need_them(bits):
    codes = encode_fitted(X, MODEL, ANCHORS)
    result = audit(MODEL, X, codes if bits is None else pack(codes, bits).unpack())
    assert result.wrong > 0.9 * N
    assert "fitted codes need their anchors" in result.cause


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda codes: np.abs(codes.values), "values lose their sign (E5)"),
        (lambda codes: np.maximum(codes.values, 0), "negative values count as zero (E5)"),
        (lambda codes: codes.values / np.linalg.norm(codes.values, axis=1)[:, None], "divided by their norm (E5)"),
        (lambda codes: codes.values * np.linalg.norm(X, axis=1)[:, None], "rows are not made unit rows (E3)"),
        (lambda codes: pre_at(codes), "the encoder's values are kept at the chosen latents (E22)"),
    ],
)
def test_mistakes_of_refined_codes_are_named(change, what):
    codes = encode_refined(X, MODEL)
    result = audit(MODEL, X, Codes(codes.indices, change(codes).astype(np.float32), H))
    assert result.wrong > 0.9 * N
    assert what in result.cause
    assert not result.passed(strict=False)


def pre_at(codes: Codes) -> np.ndarray:
    pre = X / np.linalg.norm(X, axis=1, keepdims=True) @ MODEL.params.W_enc + MODEL.params.b_enc
    return np.take_along_axis(pre, codes.indices, axis=1)


def test_rows_of_another_kind_are_named():
    """Of each two kinds, a third of one among rows of the other are wrong, and are said to be of that kind."""
    encoded, refined = MODEL.encode(X), encode_refined(X, MODEL)
    for most, few, what in (encoded, refined, "refined codes (R14"), (refined, encoded, "codes of the encoder"):
        third = np.arange(N)[:, None] % 3 == 0
        indices, values = (np.where(third, *pair) for pair in zip(arrays(few), arrays(most), strict=True))
        result = audit(MODEL, X, Codes(indices, values, H))
        assert result.wrong == N // 3
        assert f"if they are {what}" in result.cause


def arrays(codes: Codes) -> tuple[np.ndarray, np.ndarray]:
    return codes.indices, codes.values


# -- rounding of refined codes ----------------------------------------------------------------------------------------


def in_float64(problem, m: int) -> Codes:
    """Return refined codes that were computed in float64, and rounded once: their sums have other errors."""
    params = problem.params.map(lambda array: array.astype(np.float64))
    codes = encode_refined(problem.x.astype(np.float64), Model(params, problem.k), candidates=m, backend="numpy")
    return anonymous(codes.astype(np.float32))


@given(draw.problems(dtype="float32"), st.data())
def test_no_rounding_of_refined_codes_is_called_wrong(problem, data):
    m = data.draw(st.integers(problem.k, problem.params.n_latents))
    model, codes = Model(problem.params, problem.k), in_float64(problem, m)
    # of dependent atoms, a packed code does not tell which of its entries fill it
    independent = np.linalg.matrix_rank(problem.params.W_dec) == problem.params.n_latents
    bits = data.draw(st.sampled_from([None, 4, 5, 6, 8] if independent else [None]))
    codes = codes if bits is None else pack(codes, bits, backend="numpy").unpack(backend="numpy")
    form = Form("refined", m, bits=bits)
    result = audit_as(model, problem.x, codes, form)
    assert result.wrong == 0, as_text(result, strict=False)


def audit_as(model, x, codes, form):
    """Audit rows as codes of one form, which few rows or tiny models may not tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressae_ref.verify.audit.recognise", lambda *_: form)
        return audit(model, x, codes, "numpy")


@given(st.integers(0, N - 1), st.integers(0, K - 1), st.sampled_from([-0.01, 0.01, 1.0]))
def test_a_wrong_value_of_a_refined_code_is_never_called_rounding(row, t, change):
    codes = encode_refined(X, MODEL)
    values = codes.values.copy()
    values[row, t] += np.float32(change)
    result = audit(MODEL, X, Codes(codes.indices, values, H))
    assert [each.row for each in result.differing if each.kind == "wrong"] == [row]


def test_least_squares_of_other_atoms_is_wrong():
    """In each row, one of the chosen atoms gives way to the best that was not chosen; the values are fitted again."""
    codes = encode_refined(X, MODEL)
    longer = encode_refined(X, MODEL, K + 1, candidates=4 * K)
    indices, values = codes.indices.copy(), codes.values.copy()
    atoms = MODEL.params.W_dec.astype(np.float64)
    for row, unit in enumerate(X / np.linalg.norm(X, axis=1, keepdims=True)):
        (new,) = set(longer.indices[row]) - set(codes.indices[row])
        indices[row] = np.sort(np.append(np.delete(indices[row], np.abs(values[row]).argmax()), new))
        values[row] = np.linalg.lstsq(atoms[indices[row]].T, unit, rcond=None)[0]
    result = audit_as(MODEL, X, Codes(indices, values, H), Form("refined", 4 * K))
    assert result.wrong == N
    assert all("instead of" in row.reason and "(R14)" in row.reason for row in result.differing)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_packed_value_may_be_at_another_level_only_at_its_border(bits):
    codes = pack(MODEL.encode(X), bits).unpack()
    for levels in (1, 2):
        values = codes.values.copy()
        values[:, 0] += np.where(np.abs(values[:, 0]) < 0.5, 1, -1) * np.sign(values[:, 0]) * levels * 2.0 ** (1 - bits)
        result = audit(MODEL, X, Codes(codes.indices, values.astype(np.float32), H))
        assert result.wrong == N


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "stops"), [(0.4, False), (0.6, True), (1.0, True)])
def test_an_audit_ends_early_only_if_most_rows_are_wrong(share, stops):
    x = np.random.default_rng(0).standard_normal((9000, D)).astype(np.float32)
    codes = MODEL.encode(x)
    values = codes.values.copy()
    values[np.random.default_rng(1).random(9000) < share] *= 1.5
    codes = Codes(codes.indices, values, H)
    result = audit(MODEL, x, codes)
    assert (result.stopped, result.total) == (stops, 9000)
    assert (result.wrong >= 1000 and result.rows < 9000) if stops else result.rows == 9000
    assert ("stopped after" in as_text(result, strict=False)) == stops == as_json(result, strict=False)["stopped"]
    whole = audit(MODEL, x, codes, whole=True)
    assert (whole.rows, whole.stopped) == (9000, False)
    assert whole.wrong == (values != MODEL.encode(x).values).any(axis=1).sum()


def test_wrong_rows_are_listed_also_after_many_that_are_rounded():
    x = np.random.default_rng(0).standard_normal((3000, D)).astype(np.float32)
    codes = Model(MODEL.params.map(lambda array: array.astype(np.float64)), K).encode(x.astype(np.float64))
    values = codes.values.astype(np.float32)
    values[2900] *= -1
    result = audit(MODEL, x, Codes(codes.indices, values, H))
    assert result.rounding > 1000
    assert [row.row for row in result.differing if row.kind == "wrong"] == [2900]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model.npz", MODEL)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "anchors.npy", ANCHORS)
    return tmp_path


def verify(folder, name, *options):
    return main(["verify", *(str(folder / each) for each in ("model.npz", "x.npy", name)), *options])


def test_the_command_says_which_codes_a_file_has(folder, capsys):
    save_packed(folder / "packed.npz", pack(encode_refined(X, MODEL), 6))
    save_codes(folder / "fitted.npz", encode_fitted(X, MODEL, ANCHORS, steps=3))
    for name in ("split.csr", "split.jsonl"):
        write_codes(folder / name, [MODEL.encode(X).split_signs()], N)
    for name, options, words in (
        ("packed.npz", [], "refined codes (R14, 24 candidates), packed with 6 bits (R18)"),
        ("packed.npz", ["--candidates", "24"], "refined codes (R14, 24 candidates), packed with 6 bits (R18)"),
        ("fitted.npz", ["--anchors", str(folder / "anchors.npy"), "--fit-steps", "3"], "fitted codes (R27, 3 steps)"),
        ("split.csr", [], "codes of the encoder, signs split"),
        ("split.jsonl", [], "codes of the encoder, signs split"),
    ):
        assert verify(folder, name, *options, "--strict") == 0
        assert f"{N} rows, k {K}: {words}\n" in capsys.readouterr().out
    assert verify(folder, "fitted.npz", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["recognised"]
    assert verify(folder, "fitted.npz") == 1
    assert f"{N} rows, k {K}, compared with codes of the encoder\n" in capsys.readouterr().out
    assert report["form"] == {
        "method": "encoded",
        "candidates": None,
        "steps": None,
        "bits": None,
        "split_signs": False,
    }
    assert "fitted codes need their anchors" in report["cause"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--candidates", "5"], "expected at least k = 6 of them, got 5"),
        (["--candidates", "61"], "expected candidates from 1 to n_latents = 60"),
        (["--fit-steps", "3"], "expected --anchors with --fit-steps"),
        (["--anchors", "absent.npy"], "absent.npy"),
    ],
)
def test_options_of_an_audit_are_checked(options, words, folder, capsys):
    save_codes(folder / "codes.npz", MODEL.encode(X))
    assert verify(folder, "codes.npz", *options) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert words in err
