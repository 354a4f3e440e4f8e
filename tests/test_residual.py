"""Residual codes: the bytes that the layout promises, the same from every backend; more bytes, a smaller error."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    CompressaeError,
    DomainError,
    DTypeError,
    FormatError,
    Index,
    Model,
    Params,
    ResidualCodec,
    ResidualCodes,
    ResidualIndex,
    ShapeError,
    encode_refined,
    encode_residual,
    load_codes,
    load_residual,
    pack,
    recall_at,
    residual_blocks,
    save_model,
    save_residual,
    search,
)
from compressae_ref.backends import get_backend
from compressae_ref.cli.main import main
from compressae_ref.demo_data import load_demo_data
from compressae_ref.extensions import residual_codec as codec_module
from compressae_ref.extensions.residual_fit import DISTORTION, allocate
from compressae_ref.files.residual_file import load_residual_and_ids
from compressae_ref.metrics import mean_cosine
from compressae_ref.reference import dot
from compressae_ref.retrieval.brute_force import nearest_dense, unit_or_zero
from spec.generate.lloyd_max import positive_levels
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import AVAILABLE_BACKENDS

NUMPY = get_backend("numpy")


@pytest.fixture(scope="module", params=AVAILABLE_BACKENDS)
def backend(request):
    return get_backend(request.param)


def random_codec(rng, model: Model, k: int, value_bits: int) -> ResidualCodec:
    d, h = model.params.d, model.params.n_latents
    size = int(rng.integers(1, d + 1))
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0][:size]
    lengths = np.sort(rng.choice([0.25, 0.5, 1.0, 2.0], 256) if rng.random() < 0.3 else rng.random(256) * 2 + 0.01)
    return ResidualCodec(
        np.ascontiguousarray(basis, np.float32),
        (10.0 ** -rng.integers(0, 4, size)).astype(np.float32),
        rng.integers(1, 7, size).astype(np.uint8),
        lengths.astype(np.float32),
        h,
        k,
        value_bits,
        model.digest,
    )


@st.composite
def coded(draw_from, dtypes=st.sampled_from(draw.DTYPES)):
    """Rows, some of them zero, a model that may be centred, and a codec of any numbers."""
    x, params, k = draw_from(draw.problems(dtype=draw_from(dtypes)))
    rng = draw_from(draw.generators())
    if draw_from(st.booleans()):
        mean = rng.standard_normal(params.d) * 0.3 / np.sqrt(params.d)
        params = replace(params, mean=mean.astype(params.dtype))
    if draw_from(st.booleans()):
        x[rng.integers(len(x))] = 0
    model = Model(params, k)
    return x, model, random_codec(rng, model, k, draw_from(st.sampled_from([4, 5, 6, 8])))


def encoded(x, model, codec, backend=NUMPY, **how) -> ResidualCodes:
    return ResidualCodes.concatenate([*residual_blocks(x, model, codec, zero_rows="empty", backend=backend, **how)])


@given(problem=coded())
def test_every_backend_gives_the_bytes_that_the_layout_promises(backend, problem):
    """The packed code, the number of the nearest length, then each number from its lowest bit, and zero bits."""
    x, model, codec = problem
    codes = encoded(x, model, codec, backend)
    assert_same_bits(codes.data, encoded(x, model, codec).data)
    codes.check()
    sparse = pack(
        encode_refined(x, model, codec.k, min(8 * codec.k, codec.n_latents), zero_rows="empty"), codec.value_bits
    )
    assert_same_bits(codes.sparse.data, sparse.data)
    x_sparse = model.decode(sparse.unpack()) if model.params.mean is None else None
    for row, stored in enumerate(codes.data):
        rest = stored[codec.sparse_bytes :]
        bits = [(int(rest[1 + i // 8]) >> (i % 8)) & 1 for i in range(8 * (len(rest) - 1))]
        if not sparse.data[row].any():
            assert not rest.any()
        elif x_sparse is not None:
            number, numbers = by_hand(x[row : row + 1], x_sparse[row], codec)
            told = [numbers[j] >> i & 1 for j in range(len(numbers)) for i in range(codec.bits[j])]
            assert (rest[0], bits[: len(told)]) == (number, told)
        assert not any(bits[codec.total_bits :])


def by_hand(x, x_sparse, codec):
    """E56 to E61 of one row, number by number."""
    real = x_sparse.dtype.type
    x_unit = by_reference.normalize_rows(x).astype(real)[0]
    beta = dot(x_sparse, x_sparse) / max(dot(x_sparse, x_unit), real(2.0**-10))
    r = beta * x_unit - x_sparse
    lengths = [real(each) for each in codec.lengths]
    rho = np.sqrt(dot(r, r))
    number = sum((a + b) / real(2) <= rho for a, b in itertools.pairwise(lengths))
    numbers = []
    for j, bits in enumerate(codec.bits):
        y = dot(r, codec.basis[j].astype(real)) / (lengths[number] * real(codec.scales[j]))
        half = [real(each / 4096) for each in positive_levels(int(bits))]
        levels = [-each for each in reversed(half)] + half
        numbers.append(sum((a + b) / real(2) <= y for a, b in itertools.pairwise(levels)))
    return number, numbers


@given(problem=coded())
def test_reconstructions_and_scores_have_the_same_bits(backend, problem):
    """From every backend, for slices, and for all candidates as for a scan of all items."""
    x, model, codec = problem
    codes = encoded(x, model, codec)
    x_hat = codes.decode(model)
    assert np.isfinite(x_hat).all()
    assert_same_bits(codes.decode(model, backend=backend), x_hat)
    assert_same_bits(codes[len(codes) // 2 :].decode(model, backend=backend), x_hat[len(codes) // 2 :])
    expected = ResidualIndex(codes, model, backend=NUMPY).search(x, len(x), exact=True, zero_rows="empty")
    for rescore in (None, len(x)):
        hits = ResidualIndex(codes, model, backend=backend).search(x, len(x), rescore=rescore, zero_rows="empty")
        assert_same_bits(hits.ids, expected.ids)
        assert_same_bits(hits.scores, expected.scores)


@given(problem=coded())
def test_equal_rows_have_equal_bytes_wherever_they_stand(problem):
    x, model, codec = problem
    codes = encoded(np.concatenate([x, x[::-1]]), model, codec)
    assert_same_bits(codes.data[: len(x)], codes.data[len(x) :][::-1])
    assert_same_bits(encoded(x, model, codec, first_row=len(x) // 2).data, codes.data[len(x) // 2 : len(x)])


@given(problem=coded())
def test_numbers_are_read_back_and_levels_are_fixed_points(problem):
    """Whatever numbers are stored are read again, and the nearest level of a level is itself."""
    _, _, codec = problem
    numbers = np.random.default_rng(0).integers(0, 1 << codec.bits.astype(int), (5, len(codec.bits))).astype(np.uint8)
    assert_same_bits(codec.numbers_of(codec.bytes_of(numbers)), numbers)
    assert_same_bits(codec.nearest_levels(codec.level_of(numbers, np.float32)), numbers)
    assert (codec.lengths[codec.nearest_length(codec.lengths)] == codec.lengths).all()


def test_the_levels_are_those_of_lloyd_and_max():
    assert [*codec_module.POSITIVE_LEVELS] == [tuple(positive_levels(bits)) for bits in range(1, 7)]


@pytest.mark.parametrize("bits", range(1, 7))
def test_a_number_between_two_levels_takes_the_upper_one(bits):
    """E61 counts the midpoints that are at most y."""
    codec = replace(CODES.codec, bits=np.full_like(CODES.codec.bits, bits))
    levels = codec_module.levels(bits)
    midpoints = np.repeat(((levels[1:] + levels[:-1]) / 2)[:, None], len(codec.bits), axis=1)
    assert (codec.nearest_levels(midpoints) == np.arange(1, 2**bits)[:, None]).all()


@given(weights=st.lists(st.floats(0, 100), min_size=1, max_size=4), total=st.integers(0, 9))
def test_no_other_bits_are_better(weights, total):
    bits = allocate(weights, total)
    assert bits.sum() == min(total, 6 * len(weights))

    def error(bits):
        return sum(weight * DISTORTION[b] for weight, b in zip(weights, bits, strict=True))

    others = itertools.product(range(7), repeat=len(weights))
    assert error(bits) <= min(error(other) for other in others if sum(other) <= total) * (1 + 1e-12)


# -- real rows --------------------------------------------------------------------------------------------------------


def real() -> tuple[np.ndarray, np.ndarray, Model]:
    """Items, queries, and a model that knows its items: atoms are rows of the data."""
    items, queries = (each.astype(np.float32) for each in load_demo_data()[:2])
    W_dec = by_reference.normalize_rows(items[::4])
    return items, queries, Model(Params(np.asfortranarray(W_dec.T), np.zeros(len(W_dec), np.float32), W_dec), 16)


ITEMS, QUERIES, REAL = real()


def test_more_bytes_never_raise_the_mean_error_and_the_budget_is_kept():
    x_unit, cosines = by_reference.normalize_rows(ITEMS), []
    for n_bytes in (32, 40, 64, 98, 160, 280):
        codes = encode_residual(ITEMS, REAL, n_bytes)
        assert codes.bytes_per_item == n_bytes
        cosines.append(mean_cosine(x_unit, codes.decode(REAL)))
    assert cosines == sorted(cosines)


def test_98_bytes_are_better_spent_than_by_refined_packed_codes():
    x_unit, true = by_reference.normalize_rows(ITEMS), nearest_dense(QUERIES, ITEMS, 10).ids
    packed = pack(encode_refined(ITEMS, REAL, 73), 5)
    codes = encode_residual(ITEMS, REAL, 98)
    assert packed.bytes_per_item >= codes.bytes_per_item
    assert mean_cosine(x_unit, codes.decode(REAL)) > mean_cosine(x_unit, REAL.decode(packed.unpack()))
    found = search(QUERIES, packed, 10, space="asymmetric", model=REAL).ids
    assert recall_at(ResidualIndex(codes, REAL).search(QUERIES, 10).ids, true) >= recall_at(found, true)


@pytest.mark.parametrize("centred", [False, True])
def test_a_scan_ranks_by_the_cosines_of_decoded_rows(centred):
    model = REAL
    if centred:
        mean = by_reference.normalize_rows(ITEMS).mean(axis=0)
        model = Model(Params(REAL.params.W_enc, REAL.params.b_enc, REAL.params.W_dec, mean), 16)
    codes = encode_residual(ITEMS[:900], model, 64)
    z = by_reference.normalize_rows(codes.decode(model)).astype(np.float64)
    cosines = by_reference.normalize_rows(QUERIES[:20]).astype(np.float64) @ z.T
    index = ResidualIndex(codes, model, ids=np.arange(900)[::-1])
    exact = index.search(QUERIES[:20], 10, exact=True)
    assert np.abs(np.take_along_axis(cosines, 899 - exact.ids, 1) - exact.scores).max() < 1e-5
    assert (exact.scores.min(axis=1) >= np.sort(cosines, axis=1)[:, -10] - 1e-5).all()
    some = index.search(QUERIES[:20], 10, rescore=30)
    everything = index.search(QUERIES[:20], 900, exact=True)
    of_all = [
        dict(zip(*each, strict=True)) for each in zip(everything.ids.tolist(), everything.scores.tolist(), strict=True)
    ]
    for scores, ids, query in zip(some.scores.tolist(), some.ids.tolist(), of_all, strict=True):
        assert scores == [query[item] for item in ids] == sorted(scores, reverse=True)
    few = index.search(QUERIES[:20], 10, allowed=[5, 3, 8, 10**6])
    assert {*few.ids.ravel().tolist()} == {3, 5, 8}


def test_zero_rows():
    x = ITEMS[:600].copy()
    x[[0, 300]] = 0
    with pytest.raises(DomainError, match="zero row in row 0"):
        encode_residual(x, REAL, 40)
    codes = encode_residual(x, REAL, 40, zero_rows="empty")
    assert (np.flatnonzero(~codes.data.any(axis=1)) == [0, 300]).all()
    assert not codes[300].decode(REAL).any()
    left = encode_residual(x, REAL, 40, zero_rows="skip")
    assert_same_bits(left.data, np.delete(codes.data, [0, 300], axis=0))
    index = ResidualIndex(codes, REAL)
    hits = index.search(np.zeros_like(x[:1]), 3, zero_rows="empty")
    assert (hits.ids.tolist(), hits.scores.tolist()) == ([[0, 1, 2]], [[0, 0, 0]])
    assert len(index.search(np.zeros_like(x[:1]), 3, zero_rows="skip").ids) == 0
    with pytest.raises(DomainError, match="2 rows, all of them zero"):
        encode_residual(np.zeros((2, ITEMS.shape[1]), np.float32), REAL, 40)


CODES = encode_residual(ITEMS[:600], REAL, 40)


def changed(**fields):
    return lambda: ResidualCodec(**{**{name: getattr(CODES.codec, name) for name in FIELDS}, **fields})


FIELDS = ("basis", "scales", "bits", "lengths", "n_latents", "k", "value_bits", "model")
OTHER = Model(Params(REAL.params.W_enc, REAL.params.b_enc + np.float32(1), REAL.params.W_dec), 16)
NAN = np.where(np.arange(len(CODES.codec.scales)) == 1, np.nan, CODES.codec.scales).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "match", "ask"),
    [
        (
            DomainError,
            "bytes: expected from 28 to .*got 20; use refined, packed",
            lambda: encode_residual(ITEMS, REAL, 20),
        ),
        (DomainError, "bytes: expected from .* got 1000$", lambda: encode_residual(ITEMS, REAL, 1000)),
        (DomainError, "bytes: expected an integer", lambda: encode_residual(ITEMS, REAL, 98.5)),
        (DomainError, "k from 1 to", lambda: encode_residual(ITEMS, REAL, 98, 0)),
        (DomainError, "at least k = 12 of them, got 11", lambda: encode_residual(ITEMS, REAL, 98, candidates=11)),
        (DomainError, "do not explain", lambda: encode_residual(SURE.params.W_dec[:1], SURE, 20, 1)),
        (DomainError, "codec of model", lambda: CODES.decode(OTHER)),
        (DomainError, "codec of model", lambda: ResidualIndex(CODES, OTHER)),
        (DomainError, "codec of model", lambda: next(residual_blocks(ITEMS, OTHER, CODES.codec))),
        (DomainError, "got codes", lambda: ResidualIndex(CODES, REAL).search(REAL.encode(QUERIES))),
        (DomainError, "at least top = 9", lambda: ResidualIndex(CODES, REAL).search(QUERIES, 9, rescore=8)),
        (DTypeError, "ResidualIndex searches", lambda: Index.build(CODES)),
        (ShapeError, "rows of 40 bytes", lambda: ResidualCodes(CODES.data[:, 1:], CODES.codec)),
        (FormatError, "scales from", changed(scales=CODES.codec.scales * 0)),
        (FormatError, "scales from", changed(scales=NAN)),
        (FormatError, "differences of lengths", changed(lengths=CODES.codec.lengths[::-1].copy())),
        (FormatError, "bits from 1 to 6", changed(bits=CODES.codec.bits + np.uint8(6))),
        (FormatError, "entries of the basis", changed(basis=CODES.codec.basis * 40)),
        (FormatError, "at least one component", changed(basis=CODES.codec.basis[:0])),
        (FormatError, "<f4", changed(basis=CODES.codec.basis.astype(np.float64))),
        (DomainError, "one of 4, 5, 6, 8", changed(value_bits=7)),
    ],
)
def test_what_is_refused(kind, match, ask):
    with pytest.raises(kind, match=match):
        ask()


SURE = Model(Params(np.eye(64, dtype=np.float32), np.zeros(64, np.float32), np.eye(64, dtype=np.float32)), 1)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("residual") / "codes.npz"
    save_residual(path, CODES[:20], [f"item {i}" for i in range(20)])
    return path


def same(codes: ResidualCodes, other: ResidualCodes) -> bool:
    pairs = [(codes.data, other.data), *((getattr(codes.codec, name), getattr(other.codec, name)) for name in FIELDS)]
    return all(np.array_equal(a, b) for a, b in pairs)


def test_files_hold_what_was_saved(good, tmp_path):
    codes, ids = load_residual_and_ids(good)
    assert same(codes, CODES[:20])
    assert ids.tolist() == [f"item {i}" for i in range(20)]
    save_residual(tmp_path / "again.npz", codes, ids)
    assert (tmp_path / "again.npz").read_bytes() == good.read_bytes()


@given(data=st.data())
def test_an_altered_or_cut_file_is_an_error_or_the_same(good, tmp_path_factory, data):
    content = bytearray(good.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    path = tmp_path_factory.getbasetemp() / "altered.npz"
    path.write_bytes(content)
    try:
        codes = load_residual(path)
    except CompressaeError as error:
        assert error.path == str(path)  # noqa: PT017
    else:
        assert same(codes, CODES[:20])


def without_the_last_component() -> ResidualCodec:
    arrays = {name: getattr(CODES.codec, name)[:-1] for name in ("basis", "scales", "bits")}
    return replace(CODES.codec, **arrays)


@pytest.mark.parametrize("kind", ["padding", "a residual without a sparse part"])
def test_bytes_that_encoding_cannot_produce_name_their_row(kind, tmp_path):
    codec = without_the_last_component() if kind == "padding" else CODES.codec
    codes = encoded(ITEMS[:20], REAL, codec)
    if kind == "padding":
        assert codec.total_bits % 8 != 0
        codes.data[[7, 9], -1] |= 128
    else:
        codes.data[[7, 9], : codec.sparse_bytes] = 0
    save_residual(tmp_path / "bad.npz", codes)
    with pytest.raises(FormatError, match=r"bad.npz: .*cannot produce in row 7"):
        load_residual(tmp_path / "bad.npz")


def test_readers_of_codes_say_what_reads_residual_codes(good):
    with pytest.raises(FormatError, match="got residual codes; search and inspect read"):
        load_codes(good)


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    save_model(folder / "model.npz", REAL)
    np.savez(folder / "x.npz", embeddings=ITEMS[:600], ids=np.arange(600) + 7)
    np.save(folder / "queries.npy", QUERIES[:5])
    assert main(f"encode --bytes 40 {folder}/model.npz {folder}/x.npz -o {folder}/r.npz".split()) == 0
    return folder


REFUSED = {
    "pack": "pack r.npz -o new.npz",
    "split-signs": "split-signs r.npz -o new.npz",
    "convert": "convert r.npz -o new.csr",
    "verify": "verify model.npz x.npz r.npz",
    "segments": "segments model.npz r.npz -o new.html",
    "a query's entries": "search model.npz r.npz queries.npy --query-k 9",
    "sparse space": "search model.npz r.npz queries.npy --space sparse",
    "encode": "encode model.npz r.npz -o new.npz",
    "train": "train r.npz -o new.npz",
    "evaluate": "evaluate model.npz r.npz",
    "report": "report model.npz r.npz -o new.html",
    "evaluate too few": "evaluate model.npz x.npz queries.npy --bytes 98 9",
    "choose": "choose r.npz --bytes 40",
    "another format": "encode --bytes 40 model.npz x.npz -o new.parquet",
    "too few": "encode --bytes 9 model.npz x.npz -o new.npz",
    "refined": "encode --bytes 40 --refine model.npz x.npz -o new.npz",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_commands_that_do_not_read_residual_codes_say_so(line, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert main(line.split()) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "new." in line or "r.npz" in err or "--bytes" in line
    assert "expected" in err
    assert sorted(folder.iterdir()) == before


def test_evaluate_measures_what_the_search_finds(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["evaluate", "model.npz", "x.npz", "queries.npy", "--bytes", "64", "40", "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["method"] == "residual"]
    assert [row["bytes_per_item"] for row in rows] == [40, 64]
    dense = unit_or_zero(ITEMS[:600])
    for row in rows:
        found = ResidualIndex(encode_residual(dense, REAL, row["bytes_per_item"]), REAL).search(QUERIES[:5], 100)
        assert row["recall"]["100"] == recall_at(found.ids, nearest_dense(QUERIES[:5], ITEMS[:600], 100).ids)


def test_commands_that_read_residual_codes(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    codes, ids = load_residual_and_ids(folder / "r.npz")
    assert same(codes, CODES)
    assert main(["search", "model.npz", "r.npz", "queries.npy", "--top", "2", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    hits = ResidualIndex(codes, REAL, ids).search(QUERIES[:5], 2)
    assert [each["ids"] for each in told] == hits.ids.tolist()
    assert [each["scores"] for each in told] == hits.scores.tolist()
    assert main(["unpack", "r.npz", "-o", "sparse.npz"]) == 0
    assert "without the residuals" in capsys.readouterr().err
    assert_same_codes(load_codes("sparse.npz"), codes.sparse.unpack())
    assert load_codes("sparse.npz").refined
    assert main(["inspect", "r.npz", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bytes_per_code"], facts["bytes_of_the_sparse_part"], facts["ids"]) == (40, 19, True)
    assert main(["encode", "--bytes", "40", "model.npz", "x.npz", "-o", "r.npz", "--dry-run"]) == 0
    assert f"r.npz: {(folder / 'r.npz').stat().st_size:,} bytes" in capsys.readouterr().out
