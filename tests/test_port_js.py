"""The modules of the port in JavaScript have the bits of the package: codes, reconstructions and searches."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import compressae_ref as csae
from compressae_ref.reference import loss_and_gradients, unit_rows
from tests.node import model_of, rows_of, run, same, same_codes, tied_codes

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")


# -- encode, refine, decode -------------------------------------------------------------------------------------------


def near_ties():
    """Columns that differ by the last bits, so that the order of a sum decides between them."""
    rng = np.random.default_rng(5)
    column = rng.normal(size=(96, 1)).astype(np.float32)
    return model_of(96, 60, 7, W_enc=column * (1 + rng.integers(-4, 5, (96, 60)) * 2.0**-23), b_enc=np.zeros(60))


def duplicates():
    W = rows_of(20, 12)
    return model_of(20, 48, 5, W_enc=np.concatenate([W, -W, W, W], axis=1), b_enc=np.zeros(48))


def small_integers():
    rng = np.random.default_rng(7)
    return model_of(16, 90, 8, W_enc=rng.integers(-1, 2, (16, 90)), b_enc=rng.integers(-1, 2, 90))


def scaled(scale, dtype="float32"):
    W_enc = rows_of(24, 64, dtype=dtype) * np.dtype(dtype).type(scale)
    return model_of(24, 64, 5, dtype, W_enc=W_enc, b_enc=np.zeros(64))


SCALES = np.float32([1, 5e37, 1e-44, 1e-30, 9e37, 7])
MEAN = np.linspace(-0.1, 0.12, 24)
ENCODED = {
    "plain": (model_of(48, 130, 9), rows_of(6, 48)),
    "float64": (model_of(33, 70, 6, "float64"), rows_of(6, 33, dtype=np.float64)),
    "wide rows": (model_of(32, 64, 6), rows_of(6, 32, dtype=np.float64) * 1e300),
    "wide model": (model_of(40, 64, 6, "float64"), rows_of(6, 40)),
    "centred": (model_of(24, 64, 6, mean=MEAN), rows_of(6, 24)),
    "ties": (small_integers(), np.sign(rows_of(40, 16))),
    "duplicates": (duplicates(), rows_of(30, 20)),
    "near ties": (near_ties(), rows_of(30, 96)),
    "scales of rows": (model_of(24, 64, 5), rows_of(6, 24) * SCALES[:, None]),
    "tiny weights": (scaled(1e-42), rows_of(20, 24)),
    "huge weights": (scaled(1e37), rows_of(20, 24)),
    "tiny float64": (scaled(1e-310, "float64"), rows_of(20, 24)),
    "all latents": (model_of(12, 10, 10), rows_of(5, 12)),
    "one latent": (model_of(1, 1, 1), np.float32([[2], [-3]])),
}


def test_codes_have_the_bits_of_the_package(tmp_path):
    """Encoded, refined and decoded rows, and a query over the latents."""
    for name, (model, x) in ENCODED.items():
        csae.save_model(tmp_path / f"{name}.npz", model)
        (tmp_path / f"{name}.x").write_bytes(x.tobytes())
    cases = [[name, "f8" if x.dtype == np.float64 else "f4"] for name, (_, x) in ENCODED.items()]
    script = """
    const answers = {};
    for (const [name, type] of %s) {
      const [model, x] = [await C.openModel(readFileSync(`${name}.npz`)), (type === "f8" ? f8 : f4)(`${name}.x`)];
      const [first, codes] = [x.subarray(0, model.d), model.encode(x)];
      answers[name] = {
        checked: model.checked, digest: model.digest, codes, first: model.encode(first), one: model.encode(x, { k: 1 }),
        refined: model.refine(x), x_hat: model.decode(codes), u: model.overLatents(first),
      };
    }
    return answers;"""
    answers = run(script % cases, tmp_path)
    numpy = csae.get_backend("numpy")
    for name, (model, x) in ENCODED.items():
        answer, codes = answers[name], model.encode(x)
        assert (answer["checked"], answer["digest"]) == ("digest", model.digest), name
        assert same_codes(answer["codes"], codes), name
        assert same_codes(answer["first"], codes[:1]), name
        assert same_codes(answer["one"], model.encode(x, 1)), name
        assert same_codes(answer["refined"], csae.encode_refined(x, model)), name
        assert same(answer["x_hat"], model.decode(codes)), name
        u = numpy.pair_dots(numpy.unit_rows(x[:1], model.params.dtype), model.params.W_dec)
        assert same(answer["u"], u), name


def test_the_fast_product_leaves_few_candidates(tmp_path):
    """With a bound that excluded nothing, the codes would be right, and slow."""
    csae.save_model(tmp_path / "model.npz", model_of(384, 1024, 32))
    (tmp_path / "x").write_bytes(rows_of(20, 384).tobytes())
    script = """
    const { Encoder } = await import(process.argv[1].replace("compressae", "encoder"));
    let computed = 0;
    class Counting extends Encoder {
      exact(...given) {
        computed += 1;
        return super.exact(...given);
      }
    }
    const { W_enc, b_enc, d } = await C.openModel(readFileSync("model.npz"));
    const encoder = new Counting(W_enc, b_enc, d);
    const x = f4("x").map((value) => value / 20); // rows of about norm 1
    for (let i = 0; i < 20; i++) encoder.encode(x.subarray(i * d, (i + 1) * d), 32, i);
    return computed / 20;"""
    assert 32 <= run(script, tmp_path) < 34


FAULTS = {
    "DomainError in row 1": ["model.encode(zeros)", "model.refine(zeros)", "model.encode(bad(9, Infinity))"],
    "DomainError in row 2": ["model.encode(bad(17, NaN))"],
    "DomainError": [
        "model.encode(zeros, { k: 17 })", "model.encode(zeros, { k: 2.5 })",
        "model.encode(zeros, { zeroRows: 'skip' })", "model.refine(zeros, { k: 5, candidates: 4 })",
        "encoder.decode(codes)", "decoder.encode(zeros)",
        "encoder.refine(bad(0, 1))", "C.openModel(new Uint8Array(9), { only: 'W_enc' })",
        "model.decode({ indices: Int32Array.of(16), values: Float32Array.of(1) })",
    ],
    "ShapeError": ["model.encode(new Float32Array(9))", "model.overLatents(new Float32Array(16).fill(1))"],
    "DTypeError": [
        "model.encode([1, 2, 3])", "C.openModel(7)",
        "model.decode({ indices: Int32Array.of(1, 2), values: Float32Array.of(1) })",
    ],
}  # fmt: skip


def test_bad_rows_and_arguments_are_typed_errors(tmp_path):
    csae.save_model(tmp_path / "model.npz", model_of(8, 16, 4))
    script = """
    const open = (only) => C.openModel(readFileSync("model.npz"), { only });
    const [model, encoder, decoder] = [await open(), await open("encoder"), await open("decoder")];
    const zeros = new Float32Array(24).fill(1).fill(0, 8, 16);
    const bad = (i, value) => new Float32Array(24).fill(1).fill(value, i, i + 1);
    const codes = model.encode(bad(0, 1));
    const [empty, none] = [model.encode(zeros, { zeroRows: "empty" }), model.encode(new Float32Array(0))];
    return { empty, none, faults: [%s] };"""
    calls = [(call, expected) for expected, calls in FAULTS.items() for call in calls]
    answer = run(script % ", ".join(f"await fault(() => {call})" for call, _ in calls), tmp_path)
    assert answer["empty"]["indices"].reshape(3, 4)[1].tolist() == [0, 1, 2, 3]
    assert answer["empty"]["values"].reshape(3, 4)[1].tolist() == [0, 0, 0, 0]
    assert answer["none"]["length"] == 0
    for (call, expected), fault in zip(calls, answer["faults"], strict=True):
        where = f" in row {fault['row']}" if "row" in fault else ""
        assert fault["name"] + where == expected, call
        assert "expected" in fault["message"], call


def test_a_preactivation_that_overflows_is_an_error(tmp_path):
    """Also where a sum overflows on the way to a number that would not be selected."""
    W_enc = np.full((8, 16), 1e37, np.float32)
    csae.save_model(tmp_path / "model.npz", model_of(8, 16, 4, W_enc=W_enc))
    W_enc[:, 3] = [3e38, 3e38, 3e38, 3e38, -3e38, -3e38, -3e38, -3e38]
    csae.save_model(tmp_path / "overflows.npz", model_of(8, 16, 4, W_enc=W_enc))
    script = """
    const encode = async (name) => (await C.openModel(readFileSync(name))).encode(new Float32Array(8).fill(1));
    return [await fault(() => encode("model.npz")), await fault(() => encode("overflows.npz"))];"""
    finite, overflows = run(script, tmp_path)
    assert finite is None
    assert overflows["name"] == "DomainError"


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [None, MEAN], ids=["plain", "centred"])
def test_searches_have_the_bits_of_the_package(dtype, mean, tmp_path):
    """With ties, a code of zeros, excluded items, fewer entries, and fewer items than are asked for."""
    model, queries = model_of(24, 90, 8, dtype, mean=mean), rows_of(7, 24, seed=8)
    codes = csae.Codes(*tied_codes(200, 90, 8), 90, model.digest)
    packed = csae.pack(codes)
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_packed(tmp_path / "packed.npz", packed, ids=np.arange(200) * 10)
    csae.save_codes(tmp_path / "codes.npz", codes)
    (tmp_path / "q").write_bytes(queries.tobytes())
    script = """
    const model = await C.openModel(readFileSync("model.npz"), { only: "decoder" });
    const packed = await C.openPackedCodes(readFileSync("packed.npz"));
    const codes = await C.openCodes(readFileSync("codes.npz"));
    const index = new C.PackedIndex(packed, model);
    const queries = Array.from({ length: 7 }, (_, i) => f4("q").subarray(24 * i, 24 * i + 24));
    const found = (one) => queries.map((query) => one.search(query, 12));
    return {
      packed: found(index), codes: found(new C.PackedIndex(codes, model)),
      few: found(new C.PackedIndex(packed, model, { k: 3 })),
      fewCodes: found(new C.PackedIndex(codes, model, { k: 3 })),
      again: found(new C.PackedIndex(packed, model, { norms: index.norms })), ids: index.ids.slice(0, 3),
      all: [index.search(queries[0], 1000)], but: [index.search(queries[0], 12, { exclude: [3, 53, 103] })],
      butOne: [index.search(queries[0], 12, { exclude: 5 })],
    };"""
    answer = run(script, tmp_path)

    def check(name, ids, scores):
        for i, hits in enumerate(answer[name]):
            assert same(hits["ids"], ids[i].astype(np.int32)), name
            assert same(hits["scores"], scores[i]), name

    few, few_codes = packed.unpack().truncate(3), codes.truncate(3)
    for name, items in {"packed": packed, "codes": codes, "few": few, "fewCodes": few_codes, "again": packed}.items():
        check(name, *csae.search(queries, items, 12, model=model, space="asymmetric"))
    ids, scores = csae.search(queries[:1], packed, 200, model=model, space="asymmetric")
    check("all", ids, scores)
    for name, excluded in (("but", [3, 53, 103]), ("butOne", [5])):
        kept = ~np.isin(ids[0], excluded)
        check(name, ids[:, kept][:, :12], scores[:, kept][:, :12])
    assert answer["ids"] == [0, 10, 20]


def test_norms_of_a_file_are_used_for_its_model_alone(tmp_path):
    model, queries = model_of(24, 90, 8), rows_of(3, 24, seed=8)
    packed = csae.pack(csae.Codes(*tied_codes(200, 90, 8), 90))
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_model(tmp_path / "other.npz", model_of(24, 90, 8, W_dec=unit_rows(rows_of(90, 24, seed=9), np.float32)))
    csae.PackedIndex.build(packed, space="asymmetric", model=model).save(tmp_path / "index.npz")
    (tmp_path / "q").write_bytes(queries.tobytes())
    script = """
    const [model, other] = [await C.openModel(readFileSync("model.npz")), await C.openModel(readFileSync("other.npz"))];
    const codes = await C.openPackedCodes(readFileSync("index.npz"));
    const search = (index) => index.search(f4("q").subarray(0, 24), 12);
    const expected = [new C.PackedIndex(codes.unpack(), model), new C.PackedIndex(codes.unpack(), other)].map(search);
    const found = [new C.PackedIndex(codes, model), new C.PackedIndex(codes, other)].map(search);
    const few = [codes.unpack(), codes].map((each) => search(new C.PackedIndex(each, model, { k: 3 })));
    codes.norms.values.fill(0.5);
    const doubled = search(new C.PackedIndex(codes, model));
    return { expected, found, few, stored: doubled.scores[0] !== found[0].scores[0] };"""
    answer = run(script, tmp_path)
    for ours, theirs in (answer["found"], answer["expected"]), (answer["few"][:1], answer["few"][1:]):
        for a, b in zip(ours, theirs, strict=True):
            assert same(a["ids"], b["ids"])
            assert same(a["scores"], b["scores"])
    assert answer["stored"]


def test_codes_and_arguments_that_do_not_fit_a_model_are_refused(tmp_path):
    csae.save_model(tmp_path / "model.npz", model_of(8, 16, 4))
    for name, digest, h in (("other", "0" * 64, 16), ("wide", None, 17), ("unknown", None, 16)):
        csae.save_packed(tmp_path / f"{name}.npz", csae.pack(csae.Codes(*tied_codes(8, 16, 4), h, digest)))
    script = """
    const model = await C.openModel(readFileSync("model.npz"));
    const [other, wide, codes] = await Promise.all(
      ["other", "wide", "unknown"].map((name) => C.openPackedCodes(readFileSync(`${name}.npz`))));
    const index = new C.PackedIndex(codes, model);
    return [
      await fault(() => new C.PackedIndex(other, model)), await fault(() => new C.PackedIndex(wide, model)),
      await fault(() => new C.PackedIndex(codes, model, { k: 5 })),
      await fault(() => new C.PackedIndex(codes, model, { norms: new Float32Array(3) })),
      await fault(() => index.search(new Float32Array(8).fill(1), 0)),
      await fault(() => index.search(new Float32Array(8))),
      await fault(() => index.search(new Float32Array(9))), await fault(() => codes.row(8)),
    ];"""
    names = [fault["name"] for fault in run(script, tmp_path)]
    assert " ".join(names).replace("Error", "") == "Domain Shape Domain Shape Domain Domain Shape Shape"


# -- training ---------------------------------------------------------------------------------------------------------


def test_gradients_have_the_bits_of_the_reference_for_any_weight_of_the_auxiliary_loss(tmp_path):
    weights, models = [0, 1 / 8, 0.3], {dtype: model_of(33, 20, 3, dtype) for dtype in ("float32", "float64")}
    for dtype, model in models.items():
        x_unit = unit_rows(rows_of(7, 33), np.dtype(dtype))
        for name, array in (model.params.arrays() | {"x": x_unit}).items():
            (tmp_path / f"{dtype}.{name}").write_bytes(np.ascontiguousarray(array).tobytes())
    script = """
    const { gradients } = await import(process.argv[1].replace("compressae", "training"));
    const answers = {};
    for (const [dtype, read] of [["float32", f4], ["float64", f8]]) {
      const params = Object.fromEntries(["W_enc", "b_enc", "W_dec"].map((name) => [name, read(`${dtype}.${name}`)]));
      const [x, d] = [read(`${dtype}.x`), 33];
      const rows = Array.from({ length: x.length / d }, (_, i) => x.subarray(i * d, (i + 1) * d));
      answers[dtype] = %s.map((weight) => gradients(rows, params, 3, weight));
    }
    return answers;"""
    answers = run(script % weights, tmp_path)
    for dtype, model in models.items():
        params = [np.ascontiguousarray(array) for array in list(model.params.arrays().values())[:3]]
        for weight, answer in zip(weights, answers[dtype], strict=True):
            losses, grads = loss_and_gradients(rows_of(7, 33), *params, 3, weight)
            assert np.allclose([answer[name] for name in ("loss", "loss_k", "loss_aux")], losses, rtol=1e-12, atol=0)
            for name, grad in zip(("W_enc", "b_enc", "W_dec"), grads, strict=True):
                own = answer[f"grad_{name}"].reshape(grad.shape)
                assert own.dtype == grad.dtype
                assert np.array_equal(own, grad), (dtype, weight, name)
    assert not np.array_equal(answers["float32"][0]["grad_W_enc"], answers["float32"][2]["grad_W_enc"])
