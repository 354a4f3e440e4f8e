"""Files of embeddings of other programs: what is written comes back, and what is damaged is refused in one line."""

from __future__ import annotations

import json
import re
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import fit
from compressae_ref.errors import BackendError, CompressaeError, DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, ids_of
from compressae_ref.files.foreign.sniff import kind_of
from compressae_ref.files.foreign.write import WITH_IDS, write_embeddings
from compressae_ref.files.spool import spool_to_disk
from compressae_ref.row_source import STREAM_ROWS, read_blocks

PLAIN = ["npy", "npz", "fbin", "fvecs", "safetensors"]
EXTRA = ["hdf5", "parquet", "arrow"]
BYTES = ["u8bin", "i8bin", "bvecs"]
NEEDS = {"hdf5": "h5py", "parquet": "pyarrow", "arrow": "pyarrow"}
X = np.random.default_rng(3).standard_normal((300, 16)).astype(np.float32)
WHOLE = np.random.default_rng(4).integers(0, 128, (300, 16)).astype(np.float32)
TEXTS = np.array([f"item {row} é" for row in range(300)])


@pytest.fixture(params=[*PLAIN, *EXTRA, *BYTES])
def kind(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    return request.param


def written(tmp_path, kind, x=None, **settings):
    path = tmp_path / f"x.{kind}"
    write_embeddings(path, (WHOLE if kind in BYTES else X) if x is None else x, **settings)
    return path


def assert_same_rows(source, x):
    assert source.shape == x.shape
    assert source.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(source), x, strict=True)


# -- what is written comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_embeddings_come_back(tmp_path, kind, dtype):
    x = (WHOLE if kind in BYTES else X).astype(dtype)
    source = open_embeddings(str(written(tmp_path, kind, x))) if holds(kind, x) else None
    if source is None:
        with pytest.raises(DomainError, match=r"holds exactly, got \S+ in row 0"):
            written(tmp_path, kind, x)
    else:
        assert_same_rows(source, x.astype(np.float32) if kind in {*BYTES, "fbin", "fvecs"} else x)


def holds(kind, x):
    return kind not in ("fbin", "fvecs") or x.dtype != np.float64 or (x == x.astype(np.float32)).all()


def test_numbers_that_a_format_cannot_hold_are_refused_and_nothing_is_written(tmp_path):
    x = WHOLE.copy()
    x[7, 3] = 0.5
    with pytest.raises(DomainError, match=r"uint8 holds exactly, got \S+ in row 7"):
        written(tmp_path, "bvecs", x)
    with pytest.raises(DomainError, match=r"float32 holds exactly, got \S+ in row 0"):
        written(tmp_path, "fbin", X + np.float64(1e-12))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ids", [TEXTS, np.arange(300) * 7 - 30], ids=["texts", "numbers"])
def test_ids_come_back_where_the_format_keeps_any(tmp_path, kind, ids):
    found = ids_of(open_embeddings(str(written(tmp_path, kind, ids=ids))))
    if kind in WITH_IDS:
        np.testing.assert_array_equal(found, ids)
    else:
        assert found is None


def test_any_slice_is_that_of_the_rows(tmp_path, kind):
    rng = np.random.default_rng(0)
    n = 2 * STREAM_ROWS + 17  # several blocks of what comes in blocks
    x = rng.integers(0, 100, (n, 2)).astype(np.float32)
    source = open_embeddings(str(written(tmp_path, kind, x)))
    for start in [0, *rng.integers(0, n + 5, 30).tolist(), STREAM_ROWS, STREAM_ROWS - 1, 0]:
        for length in (0, 1, 100, STREAM_ROWS + 1):
            np.testing.assert_array_equal(source[start : start + length], x[start : start + length], strict=True)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_what_comes_forwards_can_be_read_in_any_order(sizes, data):
    x = np.arange(sum(sizes), dtype=np.float32)[:, None]
    begun, ends = [], np.cumsum(sizes).tolist()

    def begin(row):
        begun.append(row)
        first = data.draw(st.integers(0, row))
        block = max(block for block in range(len(sizes)) if ends[block] - sizes[block] <= first)
        return ends[block] - sizes[block], iter(np.split(x, ends[:-1])[block:])

    source = EmbeddingRows(x.shape, x.dtype, Forwards(begin), sequential=True)
    for _ in range(6):
        start = data.draw(st.integers(0, len(x) - 1))
        stop = data.draw(st.integers(start + 1, len(x)))
        np.testing.assert_array_equal(source[start:stop], x[start:stop])
    begun.clear()
    for start in range(len(x)):
        source[start : start + 1]
    assert len(begun) <= 1  # in order, it is read once


def test_training_does_not_depend_on_the_format(tmp_path, kind):
    x = WHOLE * 0.5 // 1 + 1 if kind in BYTES else X
    settings = {"n_latents": 32, "k": 4, "steps": 5, "batch_size": 64, "backend": "numpy"}
    expected = fit(x, **settings).model
    assert fit(open_embeddings(str(written(tmp_path, kind, x))), **settings).model.digest == expected.digest


def test_training_reads_what_is_sequential_once(tmp_path):
    begun = []

    def begin(row):
        begun.append(row)
        return 0, iter([X[:100], X[100:]])

    source = EmbeddingRows(X.shape, X.dtype, Forwards(begin), sequential=True)
    fit(source, n_latents=32, k=4, steps=20, batch_size=64, backend="numpy")
    assert len(begun) == 1


# -- other programs ---------------------------------------------------------------------------------------------------


def test_the_bytes_of_the_formats_without_a_signature(tmp_path):
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    rows = {
        "fbin": struct.pack("<II6f", 2, 3, *x.ravel()),
        "u8bin": struct.pack("<II6B", 2, 3, *x.ravel().astype(int)),
        "i8bin": struct.pack("<II6b", 2, 3, *x.ravel().astype(int)),
        "fvecs": struct.pack("<i3fi3f", 3, *x[0], 3, *x[1]),
        "bvecs": struct.pack("<i3Bi3B", 3, *x[0].astype(int), 3, *x[1].astype(int)),
    }
    for kind, content in rows.items():
        assert written(tmp_path, kind, x).read_bytes() == content
        assert_same_rows(open_embeddings(str(tmp_path / f"x.{kind}")), x)
    (tmp_path / "signed.i8bin").write_bytes(struct.pack("<II3b", 1, 3, -128, 127, -1))
    assert open_embeddings(str(tmp_path / "signed.i8bin"))[0:1].tolist() == [[-128, 127, -1]]


def test_safetensors_of_its_own_package(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = written(tmp_path, "safetensors")
    np.testing.assert_array_equal(numpy.load_file(path)["embeddings"], X)
    numpy.save_file({"a": X, "b": X[:5].astype(np.float16), "c": np.arange(3)}, tmp_path / "theirs.safetensors")
    assert_same_rows(open_embeddings(f"{tmp_path / 'theirs.safetensors'}::a"), X)
    assert_same_rows(open_embeddings(f"{tmp_path / 'theirs.safetensors'}::b"), X[:5].astype(np.float16))
    with pytest.raises(FormatError, match="expected an entry 'embeddings' or a single entry"):
        open_embeddings(str(tmp_path / "theirs.safetensors"))
    with pytest.raises(ShapeError, match=r"::c: expected an array \(n, d\)"):
        open_embeddings(f"{tmp_path / 'theirs.safetensors'}::c")


def test_bfloat16_is_widened_exactly(tmp_path):
    upper = (X.view(np.uint32) >> 16).astype(np.uint16)
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensors({"x": {"dtype": "BF16", "shape": [*X.shape], "data_offsets": [0, upper.nbytes]}}, upper))
    expected = (X.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert_same_rows(open_embeddings(str(path)), expected)


def tensors(header, numbers):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + np.asarray(numbers).tobytes()


def test_hdf5_of_ann_benchmarks(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "set.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "angular"
        file["train"], file["test"] = X, X[:7] * 2
        file["neighbors"], file["distances"] = np.zeros((7, 100), int), np.zeros((7, 100), np.float32)
    assert_same_rows(open_embeddings(str(path)), X)
    assert_same_rows(open_embeddings(f"{path}::test"), X[:7] * 2)
    with pytest.raises(FormatError, match="expected an entry 'tests', got distances, neighbors, test, train"):
        open_embeddings(f"{path}::tests")
    with pytest.raises(FormatError, match=r"expected floats of shape \(n, d\)"):
        open_embeddings(f"{path}::neighbors")


def test_hdf5_that_stores_nothing_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "bad.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("train", (10**15, 16), np.float32, chunks=(100, 16))
    assert path.stat().st_size < 10_000
    assert read_whole(path) is None


def test_rows_that_are_fewer_than_said_end_a_stream():
    source = EmbeddingRows((10**15, 16), np.float32, Forwards(lambda row: (0, iter([X]))), sequential=True)
    np.testing.assert_array_equal(np.asarray(source), X)
    with spool_to_disk(source) as rows:
        np.testing.assert_array_equal(rows, X)
    with pytest.raises(ShapeError, match="expected 1024 rows from row 0 of 1000000000000000, got 300"):
        list(read_blocks(source, 1024))


@pytest.mark.parametrize("form", ["list", "large_list", "fixed"])
@pytest.mark.parametrize("floats", ["float16", "float32", "float64"])
def test_columns_of_lists(tmp_path, form, floats):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    x = X.astype(floats)
    flat, width = pa.array(x.ravel()), x.shape[1]
    lists = {
        "list": lambda: pa.ListArray.from_arrays(np.arange(0, x.size + 1, width, dtype=np.int32), flat),
        "large_list": lambda: pa.LargeListArray.from_arrays(np.arange(0, x.size + 1, width), flat),
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(flat, width),
    }
    table = pa.table({"text": TEXTS.tolist(), "id": range(300), "emb": lists[form]()})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=77)
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=90)
    for name in ("x.parquet", "x.arrow"):
        source = open_embeddings(str(tmp_path / name))
        assert_same_rows(source, x)
        assert ids_of(source).tolist() == list(range(300))
        with pytest.raises(FormatError, match="expected a list of numbers, got 'item' in row 0; the column holds text"):
            open_embeddings(f"{tmp_path / name}::text")
        with pytest.raises(DTypeError, match="expected a column of lists of floats, got int64"):
            open_embeddings(f"{tmp_path / name}::id")


@pytest.mark.parametrize(
    ("row", "value", "reason"),
    [
        (17, None, "lists of 16 numbers, got null in row 17"),
        (17, [1.0] * 15, "lists of 16 numbers, got 15 in row 17"),
        (9000, [1.0] * 17, "lists of 16 numbers, got 17 in row 9000"),
        (3, [1.0] * 15 + [None], "got a list with nulls in row 3"),
    ],
)
def test_bad_rows_of_columns_are_named(tmp_path, row, value, reason):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = np.ones((9005, 16), np.float32).tolist()
    rows[row] = value
    pq.write_table(pa.table({"emb": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "x.parquet")
    with pytest.raises(ShapeError, match=reason):
        np.asarray(open_embeddings(str(tmp_path / "x.parquet")))


def test_rows_that_lie_about_their_length_are_named(tmp_path):
    path = written(tmp_path, "fvecs")
    content = bytearray(path.read_bytes())
    content[68 * 17 : 68 * 17 + 4] = struct.pack("<i", 15)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.fvecs: expected rows of 16 values, got 15 values in row 17"):
        np.asarray(open_embeddings(str(path)))


# -- which format it is -----------------------------------------------------------------------------------------------


def test_content_decides_whatever_the_name(tmp_path, kind):
    path = written(tmp_path, kind)
    expected = np.asarray(open_embeddings(str(path)))
    if kind in ("u8bin", "i8bin"):
        with pytest.raises(FormatError, match="could be u8bin or i8bin"):
            open_embeddings(str(path.rename(tmp_path / "x.dat")))
        return
    for name in ("x.dat", "x.npy" if kind != "npy" else "x.npz"):
        path = path.rename(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(open_embeddings(str(path))), expected)


def test_a_number_of_rows_that_looks_like_a_pickle(tmp_path):
    x = np.ones((640, 2), np.float32)  # 640 begins with the bytes 80 02
    assert_same_rows(open_embeddings(str(written(tmp_path, "fbin", x))), x)
    (tmp_path / "x.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(FormatError, match="got pickled objects"):
        open_embeddings(str(tmp_path / "x.pt"))


def test_files_of_neighbours_are_no_embeddings(tmp_path):
    (tmp_path / "x.ivecs").write_bytes(struct.pack("<i3i", 3, 1, 2, 3))
    with pytest.raises(FormatError, match=r"expected embeddings, got a \.ivecs file, which holds integer row ids"):
        open_embeddings(str(tmp_path / "x.ivecs"))


def test_a_name_that_lies_about_the_format_is_refused_where_the_content_has_no_signature(tmp_path):
    (tmp_path / "x.fbin").write_bytes(b"these are no numbers")
    with pytest.raises(FormatError, match=r"got text without columns \(\.fbin\)"):
        kind_of(tmp_path / "x.fbin")
    (tmp_path / "x.fbin").write_bytes(b"\x00\xffese are no numbers")
    with pytest.raises(FormatError, match=r"expected a \.fbin file whose header matches its size, got 20 bytes"):
        kind_of(tmp_path / "x.fbin")


def test_a_path_with_colons_is_a_path(tmp_path):
    write_embeddings(tmp_path / "a::b.npy", X)
    assert_same_rows(open_embeddings(str(tmp_path / "a::b.npy")), X)
    with pytest.raises(FormatError, match="expected a format with named arrays for ::x"):
        open_embeddings(f"{written(tmp_path, 'npy')}::x")


# -- damage -----------------------------------------------------------------------------------------------------------

HEADS = 48
"""Bytes of a file in which headers lie."""


def read_whole(path):
    """Everything that a command reads of a file, or the error that it gets; never more memory than a few such files."""
    tracemalloc.start()
    try:
        source = open_embeddings(str(path))
        rows, _ = np.asarray(source), ids_of(source)
        return rows
    except (CompressaeError, DomainError) as error:
        message = str(error)
        assert "\n" not in message
        assert message.startswith(str(path))
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


def test_truncated_files_are_refused(tmp_path, kind):
    content = written(tmp_path, kind).read_bytes()
    bad = tmp_path / f"bad.{kind}"
    for length in [0, 1, 4, 7, 8, 9, 20, 60, 100, len(content) // 2, len(content) - 8, len(content) - 1]:
        bad.write_bytes(content[:length])
        rows = read_whole(bad)
        assert rows is None or length % {"fvecs": 68, "bvecs": 20}.get(kind, 1 << 30) == 0  # whole rows are such a file


@pytest.mark.parametrize("lie", [b"\xff", b"\x00", b"\x7f"])
def test_headers_that_lie_are_refused_or_harmless(tmp_path, kind, lie):
    content = bytearray(written(tmp_path, kind).read_bytes())
    bad = tmp_path / f"bad.{kind}"
    for at in [*range(HEADS), *range(len(content) - HEADS, len(content))]:
        for width in (1, 4, 8):
            spoiled = content.copy()
            spoiled[at : at + width] = lie * len(spoiled[at : at + width])
            bad.write_bytes(spoiled)
            rows = read_whole(bad)
            assert rows is None or rows.nbytes <= 4 * max(len(content), X.nbytes)


ONE, TWO = '"dtype":"U8","shape":[1],"data_offsets":[0,1]', '"dtype":"U8","shape":[4],"data_offsets":[2,6]'
HEADERS = {
    "no JSON": (b"{" * 100, b"", "expected a .safetensors file"),
    "nested too deep": (b"{" + b'"a":[' * 50_000, b"", "expected a .safetensors file"),
    "a list": (b"[]      ", b"", "whose header matches its size"),
    "a name twice": (f'{{"a":{{{ONE}}},"a":{{{ONE}}}}}'.encode(), b"1", "got 'a' twice"),
    "beyond the file": (
        b'{"a":{"dtype":"F32","shape":[1,999999999999],"data_offsets":[0,3999999999996]}}',
        b"1234",
        "bytes after the header",
    ),
    "overlapping": (f'{{"a":{{{TWO}}},"b":{{{TWO}}}}}'.encode(), b"123456", "expected contiguous tensors"),
    "a hole": (f'{{"b":{{{TWO}}}}}'.encode(), b"123456", "expected contiguous tensors"),
    "left over": (
        b'{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}',
        b"12345",
        "expected 4 bytes after the header",
    ),
    "another shape": (
        b'{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,4]}}',
        b"1234",
        "expected 4 bytes by its offsets",
    ),
    "a negative shape": (
        b'{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}',
        b"1234",
        "expected 4 bytes by its offsets",
    ),
    "fractions": (
        b'{"a":{"dtype":"F32","shape":[1,1.0],"data_offsets":[0,4.0]}}',
        b"1234",
        "expected contiguous tensors",
    ),
    "an unknown dtype": (
        b'{"a":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]}}',
        b"1234",
        "expected a dtype of",
    ),
    "no text": (
        b'{"\xff\xfe":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}',
        b"1234",
        "expected a .safetensors file",
    ),
    "empty": (b"{}", b"", "expected an entry 'embeddings'"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_safetensors(tmp_path, name):
    header, numbers, reason = HEADERS[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    assert read_whole(path) is None
    with pytest.raises(FormatError, match=re.escape(reason)):
        open_embeddings(str(path))


@pytest.mark.parametrize("kind", EXTRA)
def test_what_is_missing_is_named_with_what_to_install(tmp_path, kind, monkeypatch):
    pytest.importorskip(NEEDS[kind])
    path = written(tmp_path, kind)
    for name in [name for name in sys.modules if name.partition(".")[0] == NEEDS[kind]]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, NEEDS[kind], None)
    package = "h5py" if kind == "hdf5" else "pyarrow"
    for act in (lambda: open_embeddings(str(path)), lambda: written(tmp_path, kind)):
        with pytest.raises(BackendError, match=rf"; pip install '{package}>="):
            act()
