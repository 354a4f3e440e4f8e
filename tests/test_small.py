"""Small model files: rounded weights, files of the encoder only, and what an encoder can and cannot do."""

from __future__ import annotations

import json
import re
import shlex
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import compressae_ref as csae
from compressae_ref import Codes, Encoder, Index, Model, Params, init_params, load_encoder, load_model, save_model
from compressae_ref.backends import get_backend
from compressae_ref.cli.main import COMMANDS, command_line, main
from compressae_ref.errors import DomainError, DTypeError, FormatError
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.extensions.residual_fit import residual_codec
from compressae_ref.files.model_file import describe
from compressae_ref.files.stored_weights import decoded, round_atoms, round_encoder
from compressae_ref.params import EncoderParams
from spec.generate.program import program
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import HAS

N, D, H, K = 400, 16, 96, 6
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
BACKENDS = [name for name in ("numpy", "numba") if name == "numpy" or HAS["numba"]]
spec = program()


def make_model(dtype: str = "float32", *, mean: bool = False, h: int = H) -> Model:
    rng = np.random.default_rng(1)
    params = init_params(D, h, rng, dtype=dtype, init="original")
    params.b_enc[:] = rng.standard_normal(h) / 8
    if mean:
        params = replace(params, mean=(X.mean(axis=0) / 4).astype(dtype))
    return Model(params, K, {"steps": 3})


MODEL = make_model()
CENTRED = make_model(mean=True)


def saved(path: Path, model: Encoder, **how: str) -> Path:
    save_model(path, model, **how)
    return path


# -- rounding ---------------------------------------------------------------------------------------------------------


@st.composite
def weights(draw):
    """Columns of any magnitude down to subnormal numbers, with ties, zeros and equal numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    exponents = rng.integers(*draw(st.sampled_from([(-3, 3), (-149, -120), (-140, 100)])), (shape[0], 1))
    columns = np.ldexp(rng.integers(-(2**24), 2**24, shape).astype(np.float64), exponents - 24)
    if draw(st.booleans()):
        columns = np.ldexp(rng.integers(-254, 255, shape) / 2.0, exponents)  # halves of the largest integer's scale
        columns[:, 0] = np.ldexp(127.0, exponents[:, 0])
    return np.ascontiguousarray(np.where(rng.random(shape) < 0.1, 0, columns), np.float32)


@given(weights())
def test_rounding_is_that_of_the_specification(rows):
    q, scales = round_encoder(np.asfortranarray(rows.T))
    atoms, atom_scales = round_atoms(rows)
    for j, row in enumerate(rows.astype(np.float64).tolist()):
        assert (q[:, j].tolist(), scales[j]) == spec.round_column(row)
        assert (atoms[j].tolist(), atom_scales[j]) == spec.round_atom(row)


@given(weights())
def test_decoding_is_one_product_in_float32(rows):
    q, scales = round_encoder(rows.T)
    W_enc = decoded("W_enc", {"W_enc": q, "W_enc_scales": scales}, "int8")
    assert_same_bits(W_enc, q.astype(np.float32) * scales)
    atoms, scales = round_atoms(rows)
    W_dec = decoded("W_dec", {"W_dec": atoms, "W_dec_scales": scales}, "int8")
    assert_same_bits(W_dec, atoms.astype(np.float32) * scales[:, None])
    assert (W_enc.flags.f_contiguous, W_dec.flags.c_contiguous) == (True, True)


@given(weights())
def test_rounding_decoded_weights_again_changes_nothing(rows):
    q, scales = round_encoder(rows.T)
    again = round_encoder(decoded("W_enc", {"W_enc": q, "W_enc_scales": scales}, "int8"))
    assert_same_bits(again[0], q)
    assert_same_bits(again[1], scales)


@given(draw.generators(), st.integers(1, 9), st.integers(1, 70))
def test_rounding_decoded_atoms_again_changes_nothing(rng, n, d):
    rows = rng.standard_normal((n, d)) ** 3
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    q, scales = round_atoms(rows)
    W_dec = decoded("W_dec", {"W_dec": q, "W_dec_scales": scales}, "int8")
    again = round_atoms(W_dec)
    assert_same_bits(again[0], q)
    assert_same_bits(again[1], scales)
    assert np.abs(np.linalg.norm(W_dec.astype(np.float64), axis=1) - 1).max() <= 2.0**-23


def test_every_scale_is_kept():
    """The law above for the scale of W_enc, for all significands of the largest weight."""
    largest = np.arange(2**23, 2**24).astype(np.float32)
    scale = (largest.astype(np.float64) / 127).astype(np.float32)
    assert_same_bits(((np.float32(127) * scale).astype(np.float64) / 127).astype(np.float32), scale)


@given(weights())
def test_no_weight_moves_by_more_than_half_a_step(rows):
    q, scales = round_encoder(rows.T)
    wide = scales.astype(np.float64)
    normal = np.abs(rows).max(axis=1) >= 127.01 * np.finfo(np.float32).tiny
    moved = np.abs(q * wide - rows.T.astype(np.float64)) / wide
    assert (moved[:, normal] <= 0.5 + 2.0**-16).all()
    assert (np.abs(q.astype(int)).max(axis=0)[normal] == 127).all()
    assert not np.abs(q[:, scales == 1]).any() or (np.abs(rows).max(axis=1)[scales == 1] == 127).any()


# -- files ------------------------------------------------------------------------------------------------------------

SMALL = ("float16", "int8")


@pytest.mark.parametrize("model", [MODEL, CENTRED], ids=["plain", "centred"])
@pytest.mark.parametrize("weights", SMALL)
def test_a_small_file_holds_the_model_of_its_decoded_weights(tmp_path, model, weights):
    small = load_model(saved(tmp_path / "small.npz", model, weights=weights))
    for name, array in small.params.arrays().items():
        original = model.params.arrays()[name]
        if name[0] != "W":
            right = original
        elif weights == "float16":
            right = original.astype(np.float16).astype(np.float32)
        else:
            q, scales = (round_encoder if name == "W_enc" else round_atoms)(original)
            right = q * (scales if name == "W_enc" else scales[:, None])
        assert_same_bits(array, right)
    assert (small.k, dict(small.training)) == (model.k, dict(model.training))
    assert small.digest == Model(small.params.copy(), 1).digest != model.digest
    save_model(tmp_path / "wide.npz", small)
    wide = load_model(tmp_path / "wide.npz")
    assert wide.digest == small.digest
    for backend in BACKENDS:
        assert_same_codes(small.encode(X, backend=backend), wide.encode(X, backend="numpy"))


@pytest.mark.parametrize("only", [None, "encoder"])
@pytest.mark.parametrize("model", [MODEL, CENTRED], ids=["plain", "centred"])
@pytest.mark.parametrize("weights", SMALL)
def test_a_small_file_is_written_again_byte_by_byte(tmp_path, model, weights, only):
    first = saved(tmp_path / "first.npz", model, weights=weights, only=only)
    load = load_model if only is None else load_encoder
    second = saved(tmp_path / "second.npz", load(first), weights=weights, only=only)
    assert first.read_bytes() == second.read_bytes()
    third = saved(tmp_path / "third.npz", load(first), only=only)  # decoded
    fourth = saved(tmp_path / "fourth.npz", load(third), weights=weights, only=only)
    assert first.read_bytes() == fourth.read_bytes() != third.read_bytes()


@pytest.mark.parametrize("model", [MODEL, CENTRED, make_model("float64")], ids=["plain", "centred", "float64"])
def test_weights_as_they_are_are_files_of_earlier_versions(tmp_path, model):
    plain = saved(tmp_path / "plain.npz", model)
    named = saved(tmp_path / "named.npz", model, weights=model.params.dtype.name)
    assert plain.read_bytes() == named.read_bytes()
    assert describe(plain)["version"] == (1 if model.params.mean is None else 2)
    assert "weights" not in describe(plain)


def test_what_a_file_says(tmp_path):
    whole = describe(saved(tmp_path / "whole.npz", CENTRED, weights="int8"))
    only = describe(saved(tmp_path / "only.npz", CENTRED, weights="int8", only="encoder"))
    assert {name for name in only if name not in whole} == {"only"}
    assert (only["version"], only["weights"], only["dtype"], only["only"]) == (3, "int8", "float32", "encoder")
    assert whole["centered"] is True
    assert {**whole, "only": "encoder"} == only
    with zipfile.ZipFile(tmp_path / "only.npz") as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    assert names == ["W_enc", "W_enc_scales", "b_enc", "mean", "meta"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_of_files(tmp_path, dtype):
    model, itemsize = make_model(dtype), np.dtype(dtype).itemsize
    sizes = {"int8": 1, "float16": 2} if dtype == "float32" else {}
    for weights, size in {dtype: itemsize, **sizes}.items():
        for only in (None, "encoder"):
            path = saved(tmp_path / "m.npz", model, weights=weights, only=only)
            parts = 1 if only else 2
            content = parts * D * H * size + H * itemsize + (4 * parts * H if weights == "int8" else 0)
            assert content < path.stat().st_size < content + 5000


@pytest.mark.parametrize(
    ("model", "how", "error", "reason"),
    [
        (make_model("float64"), {"weights": "int8"}, DTypeError, "float32 parameters for int8 weights, got float64"),
        (make_model("float64"), {"weights": "float16"}, DTypeError, "write them as float32 first"),
        (MODEL, {"weights": "float64"}, DTypeError, "float64 parameters for float64 weights, got float32"),
        (MODEL, {"weights": "int4"}, DomainError, "expected one of float64, float32, float16, int8, got 'int4'"),
        (MODEL, {"weights": 8}, DomainError, "expected one of .*, got 8"),
        (MODEL, {"only": "decoder"}, DomainError, "expected 'encoder' or None, got 'decoder'"),
        (MODEL.encoder(), {"weights": "int8"}, DomainError, "convert the whole model"),
        (MODEL.encoder(), {"weights": "float16"}, DomainError, "a whole model to round its weights to float16"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_written(tmp_path, model, how, error, reason):
    with pytest.raises(error, match=reason):
        save_model(tmp_path / "m.npz", model, **how)
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_float16_are_refused(tmp_path):
    W_enc = MODEL.params.W_enc.copy(order="F")
    W_enc[3, 2] = 65520  # the smallest that rounds to infinity
    model = replace(MODEL, params=replace(MODEL.params, W_enc=W_enc))
    with pytest.raises(DomainError, match="expected W_enc within the range of float16, got more in row 3"):
        save_model(tmp_path / "m.npz", model, weights="float16")
    W_enc[3, 2] = 65519
    save_model(tmp_path / "m.npz", model, weights="float16")
    assert load_model(tmp_path / "m.npz").params.W_enc[3, 2] == 65504


def test_a_float64_model_is_written_in_float32_on_request(tmp_path):
    model = make_model("float64")
    narrow = load_model(saved(tmp_path / "m.npz", model, weights="float32"))
    for name, array in narrow.params.arrays().items():
        assert_same_bits(array, model.params.arrays()[name].astype(np.float32))
    save_model(tmp_path / "small.npz", narrow, weights="int8")
    assert load_model(tmp_path / "small.npz").params.dtype == np.float32


# -- encoders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MODEL, CENTRED, make_model("float64")], ids=["plain", "centred", "float64"])
@pytest.mark.parametrize("only", [None, "encoder"])
def test_an_encoder_makes_the_codes_of_its_model(tmp_path, model, only):
    encoder = load_encoder(saved(tmp_path / "m.npz", model, only=only))
    assert type(encoder) is Encoder
    assert isinstance(encoder.params, EncoderParams)
    assert (encoder.digest, encoder.k, dict(encoder.training)) == (model.digest, K, dict(model.training))
    assert (encoder.params.d, encoder.params.n_latents, encoder.params.dtype) == (D, H, model.params.dtype)
    for backend in BACKENDS:
        assert_same_codes(encoder.encode(X, backend=backend), model.encode(X, backend="numpy"))
        blocks = [*encoder.encode_blocks(X, K + 2, backend=backend, first_row=7)]
        assert_same_codes(Codes.concatenate(blocks), model.encode(X, K + 2, backend="numpy")[7:])
    encoder.check_codes(model.encode(X[:3]))
    with pytest.raises(DomainError, match="expected codes of model"):
        encoder.check_codes(replace(model.encode(X[:3]), model="0" * 64))


@pytest.mark.parametrize("weights", ["int8", "float16", "float32"])
def test_files_of_whole_models_and_of_their_encoders_have_one_digest(tmp_path, weights):
    whole = saved(tmp_path / "whole.npz", MODEL, weights=weights)
    only = saved(tmp_path / "only.npz", MODEL, weights=weights, only="encoder")
    assert load_model(whole).digest == load_encoder(whole).digest == load_encoder(only).digest
    assert load_encoder(only).params.encoder_digest() == load_model(whole).params.encoder_digest()


def test_an_encoder_does_not_decode():
    assert not hasattr(MODEL.encoder(), "decode")
    assert isinstance(MODEL, Encoder)
    assert MODEL.encoder().digest == MODEL.digest


ENCODER = MODEL.encoder()
CODES = MODEL.encode(X)
NEEDS_W_DEC = {
    "encode_refined": lambda: csae.encode_refined(X, ENCODER),
    "refined_blocks": lambda: next(csae.refined_blocks(X, ENCODER)),
    "encode_residual": lambda: csae.encode_residual(X, ENCODER, 25),
    "residual_codec": lambda: residual_codec(X, ENCODER, 25),
    "reconstructed": lambda: Index.build(CODES, space="reconstructed", model=ENCODER),
    "asymmetric": lambda: Index.build(CODES, space="asymmetric", model=ENCODER),
    "expanded": lambda: csae.search(X[:2], CODES, space="expanded", model=ENCODER),
    "no items": lambda: Index.build(CODES[:0], space="asymmetric", model=ENCODER),
    "rescore": lambda: csae.search(X[:2], CODES, 5, model=ENCODER, rescore=10),
    "refined codes": lambda: csae.search(X[:2], replace(CODES, refined=True), model=ENCODER),
    "evaluate": lambda: evaluate(ENCODER, X, X[:5]),
    "gram": lambda: csae.gram(ENCODER.params),
}


@pytest.mark.parametrize("what", NEEDS_W_DEC)
def test_what_needs_the_decoder_says_so(what):
    with pytest.raises(DomainError) as raised:
        NEEDS_W_DEC[what]()
    assert str(raised.value) == (
        "model: expected a whole model, got an encoder only, which has no decoder W_dec; "
        f"use the file of the whole model with digest {MODEL.digest[:12]}"
    )


def test_sparse_space_needs_no_decoder():
    packed = csae.pack(CODES)
    for items in (CODES, packed):
        right = csae.search(X[:5], items, 7, model=MODEL, query_k=9)
        found = csae.search(X[:5], items, 7, model=ENCODER, query_k=9)
        assert_same_bits(found.ids, right.ids)
        assert_same_bits(found.scores, right.scores)
    fitted = csae.encode_fitted(X[:50], ENCODER, X)
    assert_same_codes(fitted, csae.encode_fitted(X[:50], MODEL, X))


def test_a_whole_model_is_not_read_from_a_file_of_the_encoder(tmp_path):
    path = saved(tmp_path / "only.npz", MODEL, weights="int8", only="encoder")
    digest = load_encoder(path).digest[:12]
    with pytest.raises(FormatError) as raised:
        load_model(path)
    assert str(raised.value) == (
        f"{path}: expected a whole model, got an encoder only, which has no decoder W_dec; "
        f"use the file of the whole model with digest {digest}"
    )


def damage(path: Path, name: str) -> None:
    """Change a byte of a member, so that its CRC is wrong."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(info.filename) + info.file_size - 5] ^= 1
    path.write_bytes(content)


def test_the_decoder_is_not_read_where_it_is_not_needed(tmp_path):
    path = saved(tmp_path / "m.npz", MODEL, weights="int8")
    right = load_encoder(path)
    damage(path, "W_dec")
    assert load_encoder(path).params.encoder_digest() == right.params.encoder_digest()
    with pytest.raises(FormatError):
        load_model(path)
    damage(path, "W_enc")
    with pytest.raises(FormatError):
        load_encoder(path)


def test_loading_and_encoding_hold_no_more_than_the_encoder(tmp_path):
    d, h = 256, 2048
    W_dec = np.zeros((h, d), np.float32)
    W_dec[np.arange(h), np.arange(h) % d] = 1
    W_enc = np.asfortranarray(np.random.default_rng(2).standard_normal((d, h)), np.float32)
    model = Model(Params(W_enc, np.zeros(h, np.float32), W_dec), 8)
    path = saved(tmp_path / "m.npz", model, weights="int8")
    load_encoder(path)
    tracemalloc.start()
    try:
        encoder = load_encoder(path)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    decoded_size = encoder.params.W_enc.nbytes
    assert held < 1.1 * decoded_size
    assert most < 1.25 * decoded_size + (4 << 20)  # the decoded weights, their integers, and pieces that are checked


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a whole small model, its encoder, rows, queries and codes of several kinds."""
    folder = tmp_path_factory.mktemp("small")
    save_model(folder / "whole.npz", MODEL, weights="int8")
    save_model(folder / "only.npz", MODEL, weights="int8", only="encoder")
    model = load_model(folder / "whole.npz")
    np.save(folder / "x.npy", X)
    np.save(folder / "q.npy", X[:4])
    csae.save_codes(folder / "codes.npz", model.encode(X))
    csae.save_packed(folder / "packed.npz", csae.pack(model.encode(X)))
    refined = csae.encode_refined(X, model)
    csae.save_codes(folder / "refined.npz", refined)
    csae.save_codes(folder / "unmarked.npz", replace(refined, refined=False))
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


WORK = {
    "encode": (
        "encode only.npz x.npy -o new.npz",
        "encode only.npz x.npy -o new.npz --dry-run",
        "encode only.npz x.npy -o new.npz --anchors x.npy --fit-steps 2",
    ),
    "search": (
        "search only.npz codes.npz q.npy",
        "search only.npz packed.npz q.npy --query-k 9 --json",
        "search only.npz refined.npz q.npy --space sparse",
    ),
    "verify": (
        "verify only.npz x.npy codes.npz --strict",
        "verify only.npz x.npy packed.npz --strict",
        "verify whole.npz x.npy refined.npz --strict",
    ),
    "inspect": ("inspect only.npz",),
    "convert": ("convert only.npz -o new.npz --weights float32", "convert only.npz -o new.npz --k 3"),
}
REFUSED = {
    "encode": ("encode only.npz x.npy -o new.npz --refine", "encode only.npz x.npy -o new.npz --bytes 40"),
    "search": (
        "search only.npz codes.npz q.npy --space asymmetric",
        "search only.npz codes.npz q.npy --rescore 20",
        "search only.npz refined.npz q.npy",
        "search only.npz edge:shard q.npy --store",
    ),
    "verify": (
        "verify only.npz x.npy refined.npz",
        "verify only.npz x.npy codes.npz --candidates 9",
        "verify only.npz edge:shard --store",
    ),
    "convert": (
        "convert only.npz -o new.safetensors",
        "convert only.npz -o new --to saelens",
        "convert only.npz -o new --to sentence-transformers",
    ),
    "choose": ("choose only.npz x.npy q.npy --bytes 56",),
    "evaluate": ("evaluate only.npz x.npy q.npy", "evaluate only.npz edge:shard q.npy --store"),
    "report": ("report only.npz x.npy -o new.html",),
    "segments": ("segments only.npz x.npy -o new.html",),
    "push": ("push only.npz edge:shard", "push only.npz edge:shard --dry-run"),
    "train": ("train x.npy -o new.npz --start only.npz", "train x.npy -o new.npz --start only.npz --dry-run"),
}


@pytest.mark.parametrize("line", [line for lines in WORK.values() for line in lines])
def test_commands_that_need_no_decoder_work_with_an_encoder(here, capsys, line):
    assert main(line.split()) == 0
    told = capsys.readouterr()
    assert "W_dec" not in told.out + told.err


@pytest.mark.parametrize("line", [line for lines in REFUSED.values() for line in lines])
def test_commands_that_need_the_decoder_say_which_file_to_give(here, capsys, line):
    before = {path.name for path in here.iterdir()}
    assert main(line.split()) == 1
    digest = load_encoder("only.npz").digest[:12]
    assert capsys.readouterr() == (
        "",
        "compressae-ref: only.npz: expected a whole model, got an encoder only, which has no decoder W_dec; "
        f"use the file of the whole model with digest {digest}\n",
    )
    assert {path.name for path in here.iterdir()} == before


def test_every_command_that_reads_a_model_is_tried_above():
    names = {module.__name__.rpartition(".")[2].replace("_", "-") for module in COMMANDS}
    parsers = command_line()._subparsers._group_actions[0].choices
    assert set(parsers) == names
    models = {"model", "start"}
    reading = {name for name, parser in parsers.items() if models & {action.dest for action in parser._actions}}
    assert reading - {"pull"} <= set(WORK) | set(REFUSED), "pull --start needs a database first"
    assert {"inspect", "convert"} <= set(WORK)


def test_codes_that_may_be_refined_need_the_whole_model(here, capsys):
    assert main(["verify", "only.npz", "x.npy", "unmarked.npz"]) == 1
    out = capsys.readouterr().out
    assert "no codes of the encoder; to check refined codes, give the whole model instead of its encoder" in out
    assert main(["verify", "whole.npz", "x.npy", "unmarked.npz", "--strict"]) == 0


def test_convert_rounds_and_says_that_this_is_another_model(here, capsys):
    save_model("model.npz", MODEL)
    assert main(["convert", "model.npz", "-o", "int8.npz", "--weights", "int8"]) == 0
    digest, size = load_model("int8.npz").digest[:12], Path("int8.npz").stat().st_size
    assert capsys.readouterr().err == (
        f"int8.npz: a model, d {D}, {H} latents, k {K}, weights int8, {size:,} bytes; this is another model ({digest}) "
        f"than model.npz ({MODEL.digest[:12]}): encode the items again, since codes of the two models cannot be mixed\n"
    )
    assert Path("int8.npz").read_bytes() == Path("whole.npz").read_bytes()
    for line, weights, kept in (
        ("convert int8.npz -o other.npz", "int8", True),
        ("convert int8.npz -o other.npz --only encoder", "int8", True),
        ("convert int8.npz -o other.npz --weights float32", "float32", True),
        ("convert int8.npz -o other.npz --weights float16", "float16", False),
        ("convert model.npz -o other.npz --only encoder", "float32", False),
    ):
        assert main(line.split()) == 0
        told = capsys.readouterr().err
        assert f"weights {weights}, " in told
        assert ("an encoder only" in told) == ("--only" in line)
        assert (load_encoder("other.npz").digest[:12] == digest) == kept
        assert ("another model" in told) == (not kept and "--only" not in line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x.npy -o y.npy --weights int8", "expected a model as INPUT with --weights, got embeddings"),
        ("codes.npz -o y.npz --only encoder", "expected a model as INPUT with --only, got codes"),
        ("whole.npz -o m.safetensors --weights int8", "expected a name that ends in .npz with --weights int8"),
        ("whole.npz -o m.safetensors --only encoder", "expected a name that ends in .npz with --only encoder"),
        ("whole.npz -o m --to saelens --weights int8", "expected no --weights with --to, got both"),
        ("only.npz -o m.npz --weights float16", "convert the whole model"),
        ("wide.npz -o m.npz --weights int8", "write them as float32 first (convert --weights float32)"),
    ],
)
def test_conversions_that_are_refused(here, capsys, line, reason):
    save_model("wide.npz", make_model("float64"))
    assert main(["convert", *line.split()]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
    assert not Path(line.split()[2]).exists()


@pytest.mark.parametrize(("file", "only"), [("whole.npz", False), ("only.npz", True), ("plain.npz", False)])
def test_inspect_says_how_a_model_is_stored(here, capsys, file, only):
    save_model("plain.npz", MODEL)
    assert main(["inspect", file, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["encoder_only"] is only
    assert facts["weights"] == ("float32" if file == "plain.npz" else "int8")
    assert facts["bytes_of_the_file"] == Path(file).stat().st_size
    assert ("mean_cosine_of_atom_with_closest" in facts) is not only
    assert main(["inspect", file]) == 0
    assert re.search(rf"^encoder only +{only}$", capsys.readouterr().out, re.M)


def test_codes_of_a_rounded_model_are_refused_by_the_model_before(here, capsys):
    save_model("model.npz", MODEL)
    assert main(["search", "model.npz", "codes.npz", "q.npy"]) == 1
    assert "expected codes of model" in capsys.readouterr().err


@pytest.mark.skipif(not HAS["distributed"], reason="needs Dask")
def test_many_processes_encode_with_an_encoder(here, capsys):
    assert main(shlex.split("encode only.npz x.npy -o parts --dask local:1 --part-rows 300")) == 0
    codes = csae.load_codes("codes.npz")
    from compressae_ref.files.foreign.codes import open_codes

    assert_same_codes(open_codes("parts").load(), codes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_without_a_decoder_on_each_backend(backend):
    kernels = get_backend(backend)
    assert kernels.place_params(ENCODER.params).W_enc is ENCODER.params.W_enc
