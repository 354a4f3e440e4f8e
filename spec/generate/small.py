"""Vectors of small model files: files of version 3, whole and of the encoder only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spec.generate.answers import Spec, Values, meta_array
from spec.generate.build import Bug, Group, accepts, dyadic, f32, unit_atoms
from spec.generate.files import (
    RUN,
    Members,
    Scenario,
    _changed,
    _group,
    _header,
    _member,
    _meta,
    _npy,
    _without,
    file_name,
)
from spec.generate.program import Edit

D, H, K = 4, 6, 2

ENCODER = ("W_enc", "b_enc", "mean")
MODEL = ("W_enc", "b_enc", "W_dec", "mean")


def digests(found: Members, meta: dict[str, Any], run: Any = RUN) -> dict[str, str]:
    """Return the digests of a file with these members, as a program of blocks decodes them."""
    arrays = {}
    for name in MODEL:
        if name in found and (name != "mean" or meta.get("centered") is True):
            content = run.array(found[name])
            own = name in ("b_enc", "mean")
            arrays[name] = content if own else run.decoded_array(found, name, content[1], meta["weights"])
    encoder = RUN.digest_of({name: array for name, array in arrays.items() if name in ENCODER})
    return {"digest": RUN.digest_of(arrays), "encoder": encoder}


def small_file(members: Members, weights: str, **entries: Any) -> bytes:
    """Return the bytes of a whole file of version 3."""
    dtype = "float64" if weights == "float64" else "float32"
    meta = {"format": "compressae-model", "version": 3, "d": D, "n_latents": H, "k": K, "weights": weights}
    meta |= {"dtype": dtype, "training": {"k": 5, "steps": 100}, **entries}
    meta |= digests(members, meta)
    return bytes(RUN.archive([*members.items(), ("meta", meta_array(meta))]))


def encoder_file(whole: bytes) -> bytes:
    """Return a file without its decoder."""
    return _changed(whole, lambda found, meta: meta.update(only="encoder", **_popped(found)))


def _popped(found: Members) -> dict[str, Any]:
    for name in ("W_dec", "W_dec_scales"):
        found.pop(name, None)
    return {}


def _files() -> dict[str, bytes]:
    """Return good files by their weights."""
    rng = np.random.default_rng(83)
    weights = {"W_enc": dyadic(rng, (D, H)) + f32(2.0**-14), "W_dec": unit_atoms(rng, H, D)}
    weights["W_dec"][0] = f32([0.6, 0, -0.8, 0])
    rounded = Spec().answer("round_weights", weights)
    bias = {"b_enc": _npy(dyadic(rng, (H,)))}
    half = {name: _npy(array.astype("<f2")) for name, array in weights.items()}
    tiny = weights["W_enc"].astype("<f2")
    tiny[1, 2], tiny[3, 4], tiny[0, 0] = 2.0**-24, -(2.0**-15), -0.0
    int8 = {name: _npy(rounded[f"{name}_q"].astype(np.int8)) for name in weights}
    int8 |= {f"{name}_scales": _npy(rounded[f"{name}_scales"]) for name in weights}
    plain = {name: _npy(array) for name, array in weights.items()}
    wide = {name: _npy(array.astype("<f8")) for name, array in (weights | {"b_enc": dyadic(rng, (H,))}).items()}
    mean = {"mean": _npy(dyadic(rng, (D,), 3))}
    return {
        "int8": small_file(int8 | bias, "int8"),
        "float16": small_file(half | bias | {"W_enc": _npy(tiny)}, "float16"),
        "float32": small_file(plain | bias, "float32"),
        "float64": small_file(wide, "float64"),
        "centred": small_file(int8 | bias | mean, "int8", centered=True),
    }


def _skip(*checks: str) -> tuple[Edit, ...]:
    return tuple((check, "assert True") for check in checks)


WEIGHTS_OF = "    assert weights in STORED  # R44\n"
CENTERED = 'assert head.get("centered") is None or type(head["centered"]) is bool  # R44'
SCALES = "assert all(math.isfinite(scale) and scale > 0.0 for scale in scales)  # R45"
LOWEST = "assert all(q >= -127 for q in values)  # R45"
ENCODER_DIGEST = 'assert head.get("encoder") == digest_of(arrays)  # R46'
MODEL_DIGEST = 'assert head.get("digest") == digest_of(arrays)  # R46'


def _crash(given: Values, right: Values) -> dict[str, Any]:
    return {"error": "FormatError"}


def _scales(file: bytes, name: str, latent: int, scale: float) -> bytes:
    """Return a file with another scale of one latent."""
    found = RUN.members(file)
    raw = np.frombuffer(RUN.array(found[name])[2], "<f4").copy()
    raw[latent] = scale
    return _changed(file, _member(name, _npy(raw)))


def _with_integer(file: bytes, name: str, number: int) -> bytes:
    """Return a file with another first integer."""
    _, shape, raw = RUN.array(RUN.members(file)[name])
    q = np.frombuffer(raw, np.int8).reshape(shape).copy()
    q[0, 0] = number
    return _changed(file, _member(name, _npy(q)))


def model_scenarios() -> list[Scenario]:
    """Return the scenarios of whole files."""
    good = _files()
    int8, half = good["int8"], good["float16"]
    negative = _skipping(SCALES, lambda: _scales(int8, "W_enc_scales", 2, -1.0))
    return [
        Scenario("int8", "ByLatent", "the scales of W_enc are taken by dense dimension", ("E64",), int8, True, (("latents = [i % h if by_column", "latents = [i // width if by_column"),)),
        Scenario("float16", "Float16", "subnormal numbers of float16, or the sign of 0, are lost", ("E64",), half, True, (("return sign * math.ldexp(fraction, 1 - bias - fraction_bits)", "return 0.0"),)),
        Scenario("float32", "AsVersion1", "weights that are not rounded are refused in version 3", ("R44",), good["float32"], True, _crash),
        Scenario("float64", "Float64", "weights of float64 are decoded in float32", ("R44",), good["float64"], True, _crash, ("float64",)),
        Scenario("centred", "Mean", "the digests leave out the mean", ("R46",), good["centred"], True, (('    if head.get("centered"):\n', "    if False:\n"),)),
        Scenario("a mean of no centred model", "UnknownMean", "a mean is read that the meta does not announce", ("R44", "R12"), _changed(int8, _member("mean", _npy(f32([0.5] * D)))), True, (('    if head.get("centered"):\n', '    if "mean" in found:\n'),)),
        Scenario("scales of float16", "UnknownScales", "scales are used that the meta does not announce", ("R44", "R12"), _changed(half, _member("W_enc_scales", _npy(f32([2] * H)))), True, _crash),
        Scenario("null entries", "Null", "entries that are null are refused", ("R44",), _changed(int8, _meta(only=None, centered=None)), True, _crash),
        Scenario("version 4", "Version", "a file of an unknown version is read", ("R12",), _changed(int8, _meta(version=4)), False, _skip('assert type(head.get("version")) is int and head["version"] == 3')),
        Scenario("weights of int4", "WeightsKnown", "weights of another name are taken for some that are known", ("R44",), _changed(int8, _meta(weights="int4")), False, ((WEIGHTS_OF, '    weights = weights if weights in STORED else "int8"\n'),)),
        Scenario("decoded in float64", "Dtype", "the dtype in the meta is not looked at", ("R44",), _changed(int8, _meta(dtype="float64")), False, _skip('assert head.get("dtype") == dtype  # R44')),
        Scenario("only the decoder", "OnlyKnown", "another part than the encoder is taken for a whole model", ("R44",), _changed(int8, _meta(only="decoder")), False, _skip('assert head.get("only") in ("encoder", None)  # R44', 'assert head.get("only") is None  # a file of the encoder only')),
        Scenario("only the encoder", "Whole", "a decoder is made up that the file does not have", ("R44",), encoder_file(int8), False, accepts),
        Scenario("centred is 1", "CenteredText", "1 is taken for true", ("R44",), _changed(good["centred"], _meta(centered=1)), False, _skip(CENTERED)),
        Scenario("no scales of the encoder", "Scales", "scales that are missing are made up", ("R44", "R45"), _changed(int8, _without("W_enc_scales")), False, accepts),
        Scenario("no scales of the decoder", "Scales", "scales that are missing are made up", ("R44", "R45"), _changed(int8, _without("W_dec_scales")), False, accepts),
        Scenario("no mean", "MeanMissing", "a mean that is missing counts as zero", ("R44",), _changed(good["centred"], _without("mean")), False, accepts),
        Scenario("no decoder", "DecoderMissing", "a file without W_dec is taken for one of the encoder", ("R44",), _changed(int8, lambda found, meta: meta.update(_popped(found))), False, accepts),
        Scenario("a scale below 0", "NegativeScale", "a scale below 0 is read", ("R45",), negative, False, _skip(SCALES)),
        Scenario("a scale of 0", "ZeroScale", "a scale of 0 is read", ("R45",), _skipping(SCALES, lambda: _scales(int8, "W_enc_scales", 1, 0.0)), False, _skip(SCALES)),
        Scenario("a scale of NaN", "ScaleFinite", "a scale that is not finite is read", ("R45",), _scales(int8, "W_enc_scales", 3, np.nan), False, accepts),
        Scenario("an infinite scale", "ScaleFinite", "a scale that is not finite is read", ("R45",), _scales(int8, "W_enc_scales", 3, np.inf), False, accepts),
        Scenario("the integer -128", "Lowest", "the integer -128 is read", ("R45",), _skipping(LOWEST, lambda: _with_integer(int8, "W_enc", -128)), False, _skip(LOWEST)),
        Scenario("a weight beyond float32", "Overflow", "weights that overflow are read", ("R12",), _scales(int8, "W_enc_scales", 0, 3e38), False, accepts),
        Scenario("an infinite weight", "Infinite", "an infinite weight of float16 is read", ("R12",), _with_half(half, np.inf), False, accepts),
        Scenario("a scale too few", "ScalesCounted", "scales and latents are not held against each other", ("R44",), _changed(int8, _member("W_enc_scales", _npy(f32([1] * (H - 1))))), False, accepts),
        Scenario("scales of float64", "ScalesType", "scales may be float64", ("R44",), _changed(int8, _wide("W_enc_scales")), False, accepts),
        Scenario("float32 as int8", "Stored", "the type of a member is taken in place of that in the meta", ("R44",), _changed(good["float32"], _meta(weights="int8")), False, accepts),
        Scenario("unsigned integers", "Unsigned", "integers may be unsigned", ("R11", "R44"), _header(int8, "W_enc", "'|i1'", "'|u1'"), False, accepts),
        Scenario("an atom of norm 2", "UnitAtoms", "atoms that are not unit rows are read", ("E12", "R12"), _redone(_long_atom(int8)), False, _skip("assert abs(math.sqrt(sum(value * value for value in atom)) - 1) <= 1e-3")),
        Scenario("a mean of norm 1", "MeanNorm", "a mean whose norm is 1 is read", ("R21",), _redone(_changed(good["centred"], _member("mean", _npy(f32([0, 1, 0, 0]))))), False, accepts),
        Scenario("altered integer", "Digest", "the digests are not looked at", ("E18", "R46"), _with_integer(int8, "W_enc", 5), False, _skip(ENCODER_DIGEST, MODEL_DIGEST)),
        Scenario("altered decoder", "ModelDigest", "only the digest of the encoder is looked at", ("E18", "R46"), _changed(int8, _digest("digest")), False, _skip(MODEL_DIGEST)),
        Scenario("another encoder", "EncoderDigest", "only the digest of the model is looked at", ("R46",), _changed(int8, _digest("encoder")), False, _skip(ENCODER_DIGEST)),
    ]  # fmt: skip


def encoder_scenarios() -> list[Scenario]:
    """Return the scenarios of files that `read_encoder` reads."""
    good = {name: encoder_file(file) for name, file in _files().items()}
    int8, whole = good["int8"], _files()["int8"]
    own_digest: Bug = lambda given, right: {"outputs": right | {"digest": "0" * 64}}  # noqa: E731
    return [
        Scenario("int8", "ModelDigest", "codes carry the digest of the encoder, not that of the model", ("R46", "R13"), int8, True, own_digest),
        Scenario("float16", "Float16", "float16 weights are refused", ("R44",), good["float16"], True, _crash),
        Scenario("float32", "Float32", "an encoder in float32 is refused", ("R44",), good["float32"], True, _crash),
        Scenario("centred", "Mean", "the digest of the encoder leaves out the mean", ("R46",), good["centred"], True, (('    if head.get("centered"):\n', "    if False:\n"),)),
        Scenario("whole", "WholeFile", "a whole file is refused", ("R44",), whole, True, _crash),
        Scenario("a decoder that is not announced", "UnknownDecoder", "W_dec is read that the meta does not announce", ("R44", "R12"), _changed(int8, _member("W_dec", _npy(f32([7])))), True, _crash),
        Scenario("altered integer", "EncoderDigest", "the digest of the encoder is not looked at", ("R46",), _with_integer(int8, "W_enc", 5), False, _skip(ENCODER_DIGEST)),
        Scenario("altered bias", "EncoderDigest", "the digest of the encoder is not looked at", ("R46",), _changed(int8, _member("b_enc", _npy(f32([1] * H)))), False, _skip(ENCODER_DIGEST)),
        Scenario("no digest", "DigestText", "the digest of the model may be missing", ("R46",), _changed(int8, lambda found, meta: meta.pop("digest")), False, accepts),
        Scenario("a short digest", "DigestText", "the digest of the model may be anything", ("R46",), _changed(int8, _meta(digest="5e" * 20)), False, accepts),
        Scenario("no scales", "Scales", "scales that are missing are made up", ("R44", "R45"), _changed(int8, _without("W_enc_scales")), False, accepts),
        Scenario("no encoder", "EncoderMissing", "a file without W_enc is read", ("R44",), _changed(int8, _without("W_enc")), False, accepts),
    ]  # fmt: skip


def _skipping(check: str, change: Callable[[], bytes]) -> bytes:
    """Return a changed file with the digests of a reader that skips one check, so that nothing else refuses it."""
    return _redone(change(), _skip(check))


def _redone(file: bytes, edits: Any = ()) -> bytes:
    """Return a file with the digests of what it holds."""
    run, found = Spec(*edits).program(np.float64), RUN.members(file)
    return _changed(file, lambda _, meta: meta.update(digests(found, meta, run)))


def _digest(name: str) -> Callable[[Members, dict[str, Any]], None]:
    return _meta(**{name: "5e" * 32})


def _wide(name: str) -> Callable[[Members, dict[str, Any]], None]:
    def change(found: Members, meta: dict[str, Any]) -> None:
        found[name] = _npy(np.frombuffer(RUN.array(found[name])[2], "<f4").astype("<f8"))

    return change


def _with_half(file: bytes, value: float) -> bytes:
    _, shape, raw = RUN.array(RUN.members(file)["W_enc"])
    array = np.frombuffer(raw, "<f2").reshape(shape).copy()
    array[1, 1] = value
    return _changed(file, _member("W_enc", _npy(array)))


def _long_atom(file: bytes) -> bytes:
    raw = np.frombuffer(RUN.array(RUN.members(file)["W_dec_scales"])[2], "<f4").copy()
    raw[1] *= 2
    return _changed(file, _member("W_dec_scales", _npy(raw)))


def small_models() -> Group:
    """Return the vectors of `read_small_model`."""
    return _group("small_models", "read_small_model", "small", model_scenarios())


def encoder_files() -> Group:
    """Return the vectors of `read_encoder`."""
    return _group("encoder_files", "read_encoder", "encoder", encoder_scenarios())


def bytes_of_files() -> dict[str, bytes]:
    """Return the bytes of every file by its path in the folder of vectors."""
    kinds = (("small", model_scenarios()), ("encoder", encoder_scenarios()))
    return {file_name(folder, each): each.file for folder, scenarios in kinds for each in scenarios}


GROUPS = (small_models, encoder_files)
