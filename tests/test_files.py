"""Model and codes files: exact round trips, equal bytes for equal content, and a reason for every refusal."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from compressae_ref import (
    Codes,
    Index,
    Model,
    Params,
    arrays,
    encode_residual,
    fit,
    init_params,
    load_codes,
    load_model,
    pack,
    save_codes,
    save_model,
    save_packed,
    save_residual,
)
from compressae_ref.checks import as_params
from compressae_ref.errors import CompressaeError, DomainError, FormatError
from compressae_ref.files.codes_file import save_code_blocks
from compressae_ref.files.foreign.sniff import NOT_WRITTEN_AS_NPZ, READ_NAMES
from compressae_ref.files.model_file import describe
from tests import strategies
from tests.bounds import assert_same_bits, assert_same_codes

D, H, K, N = 16, 64, 32, 5
DTYPES = ("float32", "float64")
TRAINING = {"steps": 20, "lr": 3e-3, "init": "original", "patience": None, "note": "Kasalický"}
NOT_THERE = object()
"""What leaves out a member of a file or a key of its meta."""


def make_model(dtype="float32", seed=0) -> Model:
    params = init_params(D, H, np.random.default_rng(seed), dtype=dtype)
    params.b_enc[:3] = -0.0, np.finfo(dtype).smallest_subnormal, 1 / 3
    return Model(params, K, TRAINING)


def make_codes(dtype="float32", model: str | None = "ab" * 32) -> Codes:
    rng = np.random.default_rng(1)
    indices = np.sort(rng.random((N, H)).argsort(axis=1)[:, :K], axis=1)
    values = rng.standard_normal((N, K)).astype(dtype)
    values[0, :3] = 0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    return Codes(indices, values, H, model)


def assert_same_model(a: Model, b: Model) -> None:
    for name, array in a.params.arrays().items():
        assert_same_bits(array, b.params.arrays()[name])
    assert (a.k, a.digest, dict(a.training)) == (b.k, b.digest, dict(b.training))


def same_content(a: Model | Codes, b: Model | Codes) -> bool:
    try:
        (assert_same_model if isinstance(a, Model) else assert_same_codes)(a, b)
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    """The bytes of a model file and of a codes file."""
    folder = tmp_path_factory.mktemp("good")
    save_model(folder / "model", make_model())
    save_codes(folder / "codes", make_codes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def model_file(good, tmp_path) -> Path:
    path = tmp_path / "model.npz"
    path.write_bytes(good["model"])
    return path


@pytest.fixture
def codes_file(good, tmp_path) -> Path:
    path = tmp_path / "codes.npz"
    path.write_bytes(good["codes"])
    return path


# -- what is written is what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_comes_back_to_the_bit(tmp_path, dtype):
    model = make_model(dtype)
    save_model(tmp_path / "m.npz", model)
    loaded = load_model(tmp_path / "m.npz")
    assert loaded.params.dtype == dtype
    assert_same_model(loaded, model)


@pytest.mark.parametrize("model", [None, "ab" * 32], ids=["unknown model", "known model"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_come_back_to_the_bit(tmp_path, dtype, model):
    codes = make_codes(dtype, model)
    save_codes(tmp_path / "c.npz", codes)
    loaded = load_codes(tmp_path / "c.npz")
    assert loaded.values.dtype == dtype
    assert_same_codes(loaded, codes)


def test_no_codes_at_all_come_back(tmp_path):
    none = make_codes()[:0]
    save_codes(tmp_path / "c.npz", none)
    assert_same_codes(load_codes(tmp_path / "c.npz"), none)


def test_paths_may_be_strings(tmp_path):
    save_model(str(tmp_path / "m.npz"), make_model())
    assert_same_model(load_model(str(tmp_path / "m.npz")), make_model())


def test_a_file_has_exactly_the_name_that_was_asked_for(tmp_path):
    save_codes(tmp_path / "codes", make_codes())
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("make", "save", "load"), [(make_model, save_model, load_model), (make_codes, save_codes, load_codes)]
)
def test_the_same_content_gives_the_same_bytes(tmp_path, make, save, load, dtype):
    first, second, again = (tmp_path / name for name in ("first.npz", "second.npz", "again.npz"))
    save(first, make(dtype))
    save(second, make(dtype))
    save(again, load(first))
    assert first.read_bytes() == second.read_bytes() == again.read_bytes()


def test_the_order_in_memory_and_in_the_settings_does_not_matter(tmp_path):
    model = make_model()
    by_columns = Params(*(np.asfortranarray(array) for array in model.params.arrays().values()))
    assert not by_columns.W_dec.flags.c_contiguous
    save_model(tmp_path / "rows.npz", model)
    save_model(tmp_path / "columns.npz", Model(by_columns, K, dict(reversed(TRAINING.items()))))
    assert (tmp_path / "rows.npz").read_bytes() == (tmp_path / "columns.npz").read_bytes()


def test_other_content_gives_other_bytes(tmp_path, model_file):
    save_model(tmp_path / "other.npz", make_model(seed=1))
    assert (tmp_path / "other.npz").read_bytes() != model_file.read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scipy_opens_codes_as_csr(tmp_path, dtype):
    codes = make_codes(dtype)
    save_codes(tmp_path / "c.npz", codes)
    matrix = sparse.load_npz(tmp_path / "c.npz")
    assert (matrix.format, matrix.shape, matrix.nnz) == ("csr", (N, H), N * K)
    assert_same_bits(matrix.toarray(), codes.to_dense())


def test_numpy_opens_a_model_without_pickle(model_file):
    model = make_model()
    with np.load(model_file, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["W_dec", "W_enc", "b_enc", "meta"]
        for name, array in model.params.arrays().items():
            assert_same_bits(archive[name], array)
        meta = json.loads(str(archive["meta"]))
    assert meta == {
        "format": "compressae-model",
        "version": 1,
        "d": D,
        "n_latents": H,
        "k": K,
        "dtype": "float32",
        "digest": model.digest,
        "training": TRAINING,
    }
    assert describe(model_file) == meta


def test_every_array_is_little_endian_by_rows_and_dated_alike(model_file, codes_file):
    for path in (model_file, codes_file):
        with zipfile.ZipFile(path) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            headers = [archive.read(name)[10:128] for name in archive.namelist()]
        assert all(b"'fortran_order': False" in header for header in headers)
        assert not any(b"'>" in header for header in headers)


# -- broken files -----------------------------------------------------------------------------------------------------


def assert_refused(load, path: Path, *reasons: str) -> None:
    """One line, which begins with the file's name and holds the reasons."""
    with pytest.raises(FormatError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: "), message
    assert "\n" not in message, message
    for reason in reasons:
        assert reason in message


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def with_header(header: str, data: bytes = bytes(640)) -> bytes:
    """A .npy whose header is any text."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def claiming(shape: str, descr: str = "'<f4'") -> bytes:
    """A .npy of 160 numbers whose header claims a shape."""
    return with_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")


def rewrite(path: Path, compression: int = zipfile.ZIP_STORED, **changes) -> None:
    """Write the file anew with some members replaced, added or left out; checksums are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    for name, new in changes.items():
        as_it_is = isinstance(new, bytes) or new is NOT_THERE
        members[name] = new if as_it_is else npy(np.asarray(new, order="C"))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            if content is not NOT_THERE:
                archive.writestr(f"{name}.npy", content)


def rewrite_meta(path: Path, **changes) -> None:
    meta = {key: value for key, value in (describe(path) | changes).items() if value is not NOT_THERE}
    rewrite(path, meta=np.array(json.dumps(meta)))


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Invert some bits of a byte, in place; once more undoes it."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0] ^ mask
        file.seek(offset)
        file.write(bytes([byte]))


def central_directory(content: bytes) -> int:
    """Offset of the central directory of a zip file."""
    return struct.unpack("<I", content[-6:-2])[0]


def test_the_helper_writes_files_that_load(model_file, codes_file):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        rewrite(model_file, compression)
        rewrite(codes_file, compression)
        assert_same_model(load_model(model_file), make_model())
        assert_same_codes(load_codes(codes_file), make_codes())
    rewrite_meta(model_file)
    assert_same_model(load_model(model_file), make_model())


BOTH = pytest.mark.parametrize("kind", ["model", "codes"])


@pytest.fixture
def broken(kind, request):
    """A file of the kind, to be broken, and what loads it."""
    return request.getfixturevalue(f"{kind}_file"), {"model": load_model, "codes": load_codes}[kind]


@BOTH
@pytest.mark.parametrize("content", [b"", b"P", b"PK\x03\x04", b"no zip at all\n" * 50, npy(np.eye(3))])
def test_what_is_no_zip_is_refused(broken, content):
    path, load = broken
    path.write_bytes(content)
    assert_refused(load, path, "expected a model or codes file")


@BOTH
def test_an_absent_file_is_an_os_error_that_names_it(broken, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        broken[1](tmp_path / "absent.npz")
    assert Path(caught.value.filename).name == "absent.npz"


CUTS = [*(f"{percent}% of the members" for percent in (1, 10, 30, 50, 70, 90, 99, 100))]
CUTS += [f"{percent}% of the directory" for percent in (1, 20, 40, 60, 80, 95)]
CUTS += [f"{missing} bytes short" for missing in (1, 2, 11, 21, 22, 23)]


@BOTH
@pytest.mark.parametrize("cut", CUTS)
def test_a_truncated_file_is_refused(broken, cut):
    path, load = broken
    content = path.read_bytes()
    directory, number = central_directory(content), int(cut.split("%")[0].split()[0])
    if cut.endswith("members"):
        end = directory * number // 100
    elif cut.endswith("directory"):
        end = directory + (len(content) - directory) * number // 100
    else:
        end = len(content) - number
    assert 0 < end < len(content)
    path.write_bytes(content[:end])
    assert_refused(load, path, "expected a model or codes file")


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
@pytest.mark.parametrize(
    ("kind", "name"),
    [("model", name) for name in ("W_enc", "b_enc", "W_dec", "meta")]
    + [("codes", name) for name in ("data", "indices", "indptr", "shape", "meta")],
)
def test_a_flipped_byte_in_an_array_is_refused(broken, name, place):
    path, load = broken
    with zipfile.ZipFile(path) as archive:
        content, info = archive.read(f"{name}.npy"), archive.getinfo(f"{name}.npy")
    start = path.read_bytes().index(content, info.header_offset)
    flip(path, start + 128 + int(place * (info.file_size - 128)))
    assert_refused(load, path)


@BOTH
def test_a_flipped_bit_in_the_directory_is_refused_or_changes_nothing(broken):
    path, load = broken
    content, truth, wrong = path.read_bytes(), load(path), {}
    for bit in range(8 * central_directory(content), 8 * len(content)):
        flip(path, bit // 8, 1 << bit % 8)
        try:
            if not same_content(load(path), truth):
                wrong[bit] = "loaded as something else"
        except FormatError as error:
            if not str(error).startswith(f"{path}: ") or "\n" in str(error):
                wrong[bit] = str(error)
        except Exception as error:  # whatever comes, the list below shows it
            wrong[bit] = repr(error)
        flip(path, bit // 8, 1 << bit % 8)
    assert path.read_bytes() == content
    assert not wrong


@BOTH
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_compressed_member_is_refused(broken, method):
    """The first bytes of a compressed array no longer make sense to the decompressor."""
    path, load = broken
    rewrite(path, method)
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset
    content = bytearray(path.read_bytes())
    data = start + 30 + sum(struct.unpack_from("<HH", content, start + 26))
    content[data : data + 12] = b"\x07" * 12
    path.write_bytes(content)
    assert_refused(load, path)


HOSTILE = {
    "pickled objects": (npy(np.array([{}, None], object)), "pickled"),
    "a huge shape": (claiming("(16, 1_000_000_000_000)"), "expected 64000000000000 bytes"),
    "a shape beyond 64 bits": (claiming("(16, 10_000_000_000_000_000_000_000)"), "expected"),
    "a shape that overflows to the right size": (claiming(f"({2**63}, {2**63}, 160)"), "expected"),
    "a negative shape": (claiming("(-16, 10)"), "expected"),
    "two negative shapes": (claiming("(-16, -10)"), "expected"),
    "a shape that is no tuple": (claiming("[16, 10]"), "expected"),
    "a shape of truth values": (claiming("(True, 160)"), "expected"),
    "no such dtype": (claiming("(160,)", "'<q9'"), "expected"),
    "numbers without size": (claiming("(160,)", "'|V0'"), "expected"),
    "too few numbers": (claiming("(161,)"), "expected 644 bytes after the header, got 640"),
    "a header that does not end": (with_header("{'descr': ("), "expected"),
    "a header in an open string": (with_header("'''abc"), "expected"),
    "a header that is no mapping": (with_header("[1, 2]"), "expected"),
    "a header with a list as key": (with_header("{[]: 1}"), "expected"),
    "no header": (b"\x93NUMPY\x01\x00", "expected"),
    "an unknown version of .npy": (b"\x93NUMPY\x09\x00" + npy(np.eye(3))[8:], "expected"),
    "no .npy": (b"hello", "expected"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(("kind", "name"), [("model", "W_dec"), ("codes", "data"), ("codes", "meta")])
def test_a_hostile_array_is_refused_and_allocates_nothing(broken, name, hostile):
    path, load = broken
    content, reason = HOSTILE[hostile]
    rewrite(path, **{name: content})
    tracemalloc.start()
    try:
        assert_refused(load, path, reason)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@BOTH
@pytest.mark.parametrize(
    "meta", ["", "{", "nan", "[]", "17", "null", '"text"', "{}", "[" * 100_000], ids=lambda meta: meta[:8] or "empty"
)
def test_meta_that_is_not_a_json_object_is_refused(broken, meta):
    path, load = broken
    rewrite(path, meta=np.array(meta))
    assert_refused(load, path)


@pytest.mark.parametrize(
    ("kind", "key"),
    [("model", key) for key in ("format", "version", "d", "n_latents", "k", "dtype", "digest", "training")]
    + [("codes", key) for key in ("format", "version", "k", "n_latents", "model")],
)
def test_meta_without_a_key_is_refused(broken, key):
    path, load = broken
    rewrite_meta(path, **{key: NOT_THERE})
    assert_refused(load, path)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("model", name) for name in ("W_enc", "b_enc", "W_dec", "meta")]
    + [("codes", name) for name in ("data", "indices", "indptr", "shape", "meta")],
)
def test_a_missing_entry_is_refused(broken, name):
    path, load = broken
    rewrite(path, **{name: NOT_THERE})
    assert_refused(load, path, *([] if name == "meta" else [f"entry '{name}'"]))


@BOTH
@pytest.mark.parametrize("version", [0, 2, 1.5, "1", None, [1]])
def test_an_unknown_version_is_refused(broken, version):
    path, load = broken
    rewrite_meta(path, version=version)
    centred = version == 2 and load is load_model  # version 2 is that of centred models
    assert_refused(load, path, "member 'mean'" if centred else "version 1", f"version {version!r}")


@BOTH
@pytest.mark.parametrize("kind_in_file", ["compressae-map", "", None, []])
def test_an_unknown_format_is_refused(broken, kind_in_file):
    path, load = broken
    rewrite_meta(path, format=kind_in_file)
    assert_refused(load, path, repr(kind_in_file))


def test_codes_are_no_model_and_a_model_is_no_codes(model_file, codes_file):
    assert_refused(load_model, codes_file, "expected a model, got codes")
    assert_refused(load_codes, model_file, "expected codes, got a model")


def named(value) -> str:
    """The name of a case: the arrays that it changes, and the reason."""
    return "+".join(value) if isinstance(value, dict) else value


P = make_model().params
nan_in_row_2 = np.where(np.arange(D)[:, None] == 2, np.nan, P.W_enc).astype("f4")
long_row_3 = np.where(np.arange(H)[:, None] == 3, 2, 1).astype("f4") * P.W_dec


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"W_enc": P.W_enc[:-1]}, "expected W_enc (d, h)"),
        ({"W_enc": P.W_dec}, "expected W_enc (d, h)"),
        ({"b_enc": P.b_enc[:-1]}, "expected W_enc (d, h)"),
        ({"b_enc": P.b_enc[:, None]}, "expected W_enc (d, h)"),
        ({"W_dec": P.W_dec[:, :-1]}, "expected W_enc (d, h)"),
        ({"W_dec": P.W_dec[0]}, "expected W_enc (d, h)"),
        ({"W_enc": P.W_enc[:0], "W_dec": P.W_dec[:, :0]}, "expected"),
        ({"W_enc": P.W_enc.astype("f8")}, "all float32 or all float64"),
        ({"W_enc": P.W_enc.astype("f2"), "b_enc": P.b_enc.astype("f2"), "W_dec": P.W_dec.astype("f2")}, "float16"),
        ({"b_enc": np.zeros(H, int)}, "int64"),
        ({"W_enc": nan_in_row_2}, "finite numbers in W_enc, got NaN or infinity in row 2"),
        ({"b_enc": np.full(H, np.inf, "f4")}, "finite numbers in b_enc"),
        ({"W_dec": np.full_like(P.W_dec, -np.inf)}, "finite numbers in W_dec"),
        ({"W_dec": long_row_3}, "unit rows in W_dec, got one of norm "),
        ({"W_dec": np.zeros_like(P.W_dec)}, "unit rows in W_dec"),
        ({"W_enc": -P.W_enc}, "digest"),
        ({"b_enc": np.nextafter(P.b_enc, np.float32(1))}, "digest"),
        ({"W_dec": P.W_dec[::-1]}, "digest"),
    ],
    ids=named,
)
def test_wrong_parameters_are_refused(model_file, changes, reason):
    rewrite(model_file, **changes)
    assert_refused(load_model, model_file, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 64}, "digest 000000000000"),
        ({"digest": 7}, "digest"),
        ({"k": 0}, f"n_latents = {H}, got 0"),
        ({"k": -1}, f"n_latents = {H}, got -1"),
        ({"k": H + 1}, f"n_latents = {H}, got {H + 1}"),
        ({"k": 4.0}, "integer"),
        ({"k": "4"}, "integer"),
        ({"k": None}, "integer"),
        ({"k": True}, "integer"),
        ({"d": D + 1}, "expected"),
        ({"n_latents": H + 1}, "expected"),
        ({"dtype": "float64"}, "expected"),
        ({"training": None}, "training"),
        ({"training": [1, 2]}, "training"),
    ],
    ids=str,
)
def test_a_model_with_wrong_meta_is_refused(model_file, changes, reason):
    rewrite_meta(model_file, **changes)
    assert_refused(load_model, model_file, reason)


C = make_codes()
swapped = C.indices.copy()
swapped[3, [0, 1]] = swapped[3, [1, 0]]
repeated = C.indices.copy()
repeated[2, 1] = repeated[2, 0]
irregular = np.arange(N + 1) * K
irregular[2] += 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"indptr": irregular}, f"rows of exactly k = {K}"),
        ({"indptr": irregular[:-1]}, f"rows of exactly k = {K}"),
        ({"indptr": np.zeros(N + 1, int)}, f"rows of exactly k = {K}"),
        ({"indices": swapped.ravel()}, "indices that ascend"),
        ({"indices": repeated.ravel()}, "indices that ascend"),
        ({"indices": np.where(C.indices == H - 1, H, C.indices).ravel()}, f"indices below n_latents = {H}"),
        ({"indices": np.where(C.indices == C.indices.min(), -1, C.indices).ravel()}, "from 0"),
        ({"indices": C.indices.ravel().astype("f4")}, "indices as a one-dimensional array of <i4, got <f4"),
        ({"indices": C.indices.ravel()[:-1]}, ""),
        ({"data": C.values.ravel()[:-1]}, ""),
        ({"data": np.where(np.arange(N * K) == 4 * K, np.nan, C.values.ravel())}, "finite values"),
        ({"data": np.arange(N * K)}, "data as a one-dimensional array of <f4 or <f8, got <i8"),
        ({"shape": np.array([N + 1, H])}, "expected 6 rows"),
        ({"shape": np.array([N, H + 1])}, f"over {H} latents"),
        ({"shape": np.array([N])}, ""),
        ({"shape": np.array([-N, H])}, "expected -5 rows"),
        ({"shape": np.array([10**13, H])}, f"expected {10**13} rows"),
    ],
    ids=named,
)
def test_wrong_codes_are_refused(codes_file, changes, reason):
    rewrite(codes_file, **changes)
    assert_refused(load_codes, codes_file, reason)


@pytest.mark.parametrize(
    "changes",
    [
        *({"k": k} for k in (0, -K, K - 1, K + 1, H + 1, float(K), str(K), None, [K])),
        *({"n_latents": h} for h in (0, K - 1, H - 1, H + 1, str(H), None)),
        *({"model": model} for model in (7, True, ["ab" * 32], {})),
    ],
    ids=str,
)
def test_codes_with_wrong_meta_are_refused(codes_file, changes):
    rewrite_meta(codes_file, **changes)
    assert_refused(load_codes, codes_file)


@pytest.mark.parametrize("k", [0, H + 1])
def test_codes_of_no_possible_k_are_refused(codes_file, k):
    """Arrays and meta agree, so that only k itself is wrong."""
    indices = np.tile(np.arange(k, dtype=np.int32), N)
    rewrite_meta(codes_file, k=k)
    rewrite(codes_file, indices=indices, data=np.ones(N * k, "f4"), indptr=np.arange(N + 1) * k)
    assert_refused(load_codes, codes_file, "k")


# -- all or nothing ---------------------------------------------------------------------------------------------------


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def after_one_array(fault):
    """A `write_array_header_1_0` with which the second array begins, and then fails."""
    write_header, written = np.lib.format.write_array_header_1_0, []

    def write(stream, header):
        written.append(header)
        if len(written) == 2:
            stream.write(b"half of it")
            fault()
        write_header(stream, header)

    return write


FAULTS = {
    "full while writing": (np.lib.format, "write_array_header_1_0", after_one_array, full_disk),
    "interrupted while writing": (np.lib.format, "write_array_header_1_0", after_one_array, interrupted),
    "full while flushing": (os, "fsync", lambda fault: fault, full_disk),
    "interrupted while flushing": (os, "fsync", lambda fault: fault, interrupted),
    "full while renaming": (os, "replace", lambda fault: fault, full_disk),
}


def save_in_blocks(path, codes):
    """As `save_codes`."""
    save_code_blocks(path, (codes[row : row + 2] for row in range(0, len(codes), 2)), len(codes))


SAVES = {"model": (save_model, make_model), "codes": (save_codes, make_codes), "blocks": (save_in_blocks, make_codes)}


@pytest.mark.parametrize("before", [None, b"what was there before"], ids=["new", "existing"])
@pytest.mark.parametrize(("save", "make"), SAVES.values(), ids=SAVES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_write_that_fails_leaves_things_as_they_were(tmp_path, monkeypatch, name, save, make, before):
    path, content = tmp_path / "file.npz", make()
    if before is not None:
        path.write_bytes(before)
    module, attribute, wrap, fault = FAULTS[name]
    with monkeypatch.context() as patch:
        patch.setattr(module, attribute, wrap(fault))
        with pytest.raises((OSError, KeyboardInterrupt)) as caught:
            save(path, content)
    assert caught.type is (KeyboardInterrupt if fault is interrupted else OSError)
    if fault is full_disk:
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == ({"file.npz": before} if before else {})
    save(path, content)
    assert [each.name for each in tmp_path.iterdir()] == ["file.npz"]


@given(st.data())
def test_blocks_of_codes_give_the_same_file(tmp_path_factory, data):
    folder, codes = tmp_path_factory.mktemp("blocks"), data.draw(strategies.codes())
    ends = sorted({*data.draw(st.lists(st.integers(1, len(codes)), max_size=4)), len(codes)})
    blocks = (codes[start:end] for start, end in zip([0, *ends], ends, strict=False))
    save_codes(folder / "whole.npz", codes)
    save_code_blocks(folder / "blocks.npz", blocks, len(codes))
    assert (folder / "blocks.npz").read_bytes() == (folder / "whole.npz").read_bytes()


def test_an_error_in_a_block_leaves_nothing(tmp_path):
    def blocks():
        yield make_codes()
        raise DomainError("row 7: expected better")

    with pytest.raises(DomainError, match="row 7: expected better"):
        save_code_blocks(tmp_path / "c.npz", blocks(), 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [1, 1000])
def test_another_number_of_rows_than_said_is_no_file(tmp_path, n):
    with pytest.raises(ValueError, match=r"data: expected \d+ bytes, got"):
        save_code_blocks(tmp_path / "c.npz", [make_codes()], n)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("save", "make"), SAVES.values(), ids=SAVES)
def test_an_existing_file_is_replaced(tmp_path, save, make):
    path, other = tmp_path / "file.npz", tmp_path / "other.npz"
    path.write_bytes(b"what was there before, and longer than nothing")
    save(path, make())
    save(other, make())
    assert path.read_bytes() == other.read_bytes()


def test_the_flush_comes_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *a: (calls.append("fsync"), fsync(*a))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a))[1])
    save_codes(tmp_path / "c.npz", make_codes())
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize(("save", "make"), [(save_model, make_model), (save_codes, make_codes)], ids=["model", "codes"])
def test_a_place_where_nothing_can_be_written(tmp_path, save, make):
    with pytest.raises(FileNotFoundError) as caught:
        save(tmp_path / "absent" / "file.npz", make())
    assert caught.value.filename == str(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        save(tmp_path / "folder", make())
    assert caught.value.filename == str(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder"]


@pytest.mark.parametrize(
    "model",
    [
        Model(Params(nan_in_row_2, P.b_enc, P.W_dec), K),
        Model(Params(P.W_enc, P.b_enc, long_row_3), K),
        Model(Params(P.W_enc, P.b_enc[:-1], P.W_dec), K),
        Model(P, 0),
        Model(P, H + 1),
    ],
    ids=["not finite", "no unit atoms", "wrong shapes", "k = 0", "k > h"],
)
def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path, model):
    with pytest.raises(CompressaeError):
        save_model(tmp_path / "m.npz", model)
    assert list(tmp_path.iterdir()) == []


# -- names ------------------------------------------------------------------------------------------------------------


def unread():
    """Yield a block of codes, but fail: names are refused before any work."""
    pytest.fail("made a block")
    yield make_codes()


def write_all(path):
    """Yield functions of this package that write their own files."""
    x = np.random.default_rng(0).standard_normal((64, D), np.float32)
    model = Model(init_params(D, H, np.random.default_rng(1)), 4)
    codes = model.encode(x, backend="numpy")
    yield lambda: save_model(path, model)
    yield lambda: save_codes(path, codes)
    yield lambda: save_code_blocks(path, unread(), N)
    yield lambda: save_packed(path, pack(codes, 5))
    yield lambda: Index.build(codes).save(path)
    yield lambda: save_residual(path, encode_residual(x, model, 26, backend="numpy"))
    yield lambda: fit(x, n_latents=H, k=4, steps=2, checkpoint=path, callback=lambda _: pytest.fail("a step"))


@pytest.mark.parametrize("suffix", [".pt", ".PTH", ".safetensors", ".npy", ".parquet", ".csv", ".json", ".onnx", ".h5"])
def test_a_name_of_another_format_is_refused_before_any_work(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for write in write_all(path):
        with pytest.raises(FormatError) as caught:
            write()
        expected = f"{path}: expected a name that ends in .npz, got {suffix.lower()}; name it x.npz"
        assert str(caught.value).startswith(expected)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["x", "x.npz", "x.NPZ", "model-0.5", "x.model", "x.index"])
def test_other_names_are_allowed(tmp_path, name):
    save_model(tmp_path / name, make_model())
    assert_same_model(load_model(tmp_path / name), make_model())


def test_every_format_that_is_read_has_its_suffix_for_itself():
    assert {*READ_NAMES} - NOT_WRITTEN_AS_NPZ == {".npz"}


def whole_digest(params):
    """SHA-256 of the arrays, each as one copy (E18)."""
    sha = hashlib.sha256()
    for name, array in params.arrays().items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{name} {little.dtype.str} {little.shape}\n".encode() + little.tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_digest_does_not_depend_on_the_blocks_it_is_computed_in(monkeypatch, size, dtype):
    monkeypatch.setattr(arrays, "BYTES_AT_ONCE", size)
    params = init_params(5, 7, np.random.default_rng(0), dtype=dtype)
    for each in (params, as_params(params), replace(params, mean=params.W_dec[0] / 2)):
        assert each.digest() == whole_digest(each)


@pytest.mark.parametrize("size", [1, 100])
def test_an_atom_is_checked_in_every_block(monkeypatch, size):
    monkeypatch.setattr(arrays, "BYTES_AT_ONCE", size)
    for row in range(7):
        params = init_params(5, 7, np.random.default_rng(0))
        params.W_dec[row] *= 2
        with pytest.raises(DomainError, match=f"got one of norm 2 in row {row}$"):
            as_params(params)


def test_loading_a_model_takes_the_memory_of_one_copy_of_the_encoder_besides_the_model(tmp_path):
    params = init_params(256, 4096, np.random.default_rng(0))
    save_model(tmp_path / "model.npz", Model(params, 8))
    load_model(tmp_path / "model.npz")
    tracemalloc.start()
    try:
        load_model(tmp_path / "model.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * params.W_enc.nbytes + 4 * arrays.BYTES_AT_ONCE
