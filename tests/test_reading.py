"""Reading any file: one version of it, in bounded memory, near relatives of known formats, and the right reason."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from compressae_ref import Codes, Index, fit, load_model, pack, save_codes, save_model, save_packed, search
from compressae_ref.errors import CompressaeError, DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.files.codes_file import load_codes_and_ids
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.write import write_embeddings
from compressae_ref.files.input_file import FileArray, InputFile
from compressae_ref.files.packed_file import load_packed_and_ids
from tests.test_files import make_codes, make_model, npy
from tests.test_formats import NEEDS, X, assert_same_rows

KINDS = ["npy", "npz", "fbin", "fvecs", "safetensors", "hdf5", "parquet", "arrow"]


@pytest.fixture(params=KINDS)
def kind(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    return request.param


def refused(act, *reasons, kind=CompressaeError):
    """Check that a call raises an error of one line with all reasons."""
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    for reason in reasons:
        assert reason in message
    return message


# -- one version ------------------------------------------------------------------------------------------------------


def write_version(path, version):
    """A file of 100 rows, or 60 of another size, in which every number is the version, and every id begins with it."""
    write_embeddings(
        path, np.full((100 if version % 2 else 60, 8), version, np.float32), ids=version_ids(path, version)
    )


def version_ids(path, version):
    n = 100 if version % 2 else 60
    return [f"{version} {row}" for row in range(n)] if path.suffix in (".npz", ".hdf5", ".parquet", ".arrow") else None


def versions_of(ids):
    return {int(item.split()[0]) for item in ids}


def read_version(path):
    source = open_embeddings(str(path))
    found, ids = {*np.asarray(source).ravel().tolist()}, ids_of(source)
    return found | (set() if ids is None else versions_of(ids))


def write_code_version(path, version):
    n = 100 if version % 2 else 60
    codes = Codes(np.zeros((n, 1), np.int32), np.full((n, 1), version, np.float32), 4)
    save_codes(path, codes, version_ids(path, version))


def read_code_version(path):
    rows = open_codes(str(path))
    return {*rows.load().values.ravel().tolist()} | versions_of(rows.ids)


def write_index_version(path, version):
    n = 100 if version % 2 else 60
    codes = Codes(np.zeros((n, 1), np.int32), np.full((n, 1), version, np.float32), 4)
    Index.build(codes, ids=version_ids(path, version), backend="numpy").save(path)


def read_index_version(path, check=True):
    index = Index.load(path, backend="numpy", check=check)
    return versions_of(index.ids) | {*index._state.segments[0].codes.values.ravel().tolist()}


def write_packed_version(path, version):
    n = 100 if version % 2 else 60
    codes = Codes(np.full((n, 1), version, np.int32), np.ones((n, 1), np.float32), 4)
    save_packed(path, pack(codes, backend="numpy"), version_ids(path, version))


def read_packed_version(path):
    packed, ids = load_packed_and_ids(path)
    return {*packed.unpack(backend="numpy").indices.ravel().tolist()} | versions_of(ids)


VERSIONED = {
    "packed": (write_packed_version, read_packed_version),
    **dict.fromkeys(KINDS, (write_version, read_version)),
    "codes": (write_code_version, read_code_version),
    "index": (write_index_version, read_index_version),
    "mapped index": (write_index_version, lambda path: read_index_version(path, check=False)),
}


@pytest.mark.parametrize("name", VERSIONED)
def test_what_is_loaded_is_one_version_however_often_the_file_is_replaced(tmp_path, name, request):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    write, read = VERSIONED[name]
    path, ended = tmp_path / f"x.{name if name in KINDS else 'npz'}", threading.Event()
    versions = [tmp_path / f"{version}{path.suffix}" for version in (1, 2, 3)]
    for version, file in enumerate(versions, 1):
        write(file, version)
    path.write_bytes(versions[0].read_bytes())

    def replace():
        number = 0
        while not ended.is_set():
            link = tmp_path / "link"
            os.link(versions[number % 3], link)
            os.replace(link, path)  # noqa: PTH105
            number += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(max(30, (request.config.getoption("--fuzz") or 0) // len(VERSIONED))):
            assert len(read(path)) == 1
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_file_that_shrinks_while_it_is_read_gives_one_line(tmp_path, kind, left):
    path = tmp_path / f"x.{kind}"
    x = np.ones((20_000, 16), np.float32)
    write_embeddings(path, x)
    source = open_embeddings(str(path))
    os.truncate(path, int(left * path.stat().st_size))

    def read():
        assert np.array_equal(np.asarray(source), x[:20_000])  # HDF5 and Parquet may hold rows in memory already
        raise FormatError(f"{path}: whole")

    refused(read, str(path))


def test_an_index_that_was_checked_does_not_depend_on_its_file(tmp_path):
    write_index_version(tmp_path / "x.npz", 1)
    index = Index.load(tmp_path / "x.npz", backend="numpy")
    os.truncate(tmp_path / "x.npz", 0)
    assert len(index.search(Codes([[0]], np.float32([[1]]), 4), 10).ids[0]) == 10


def test_a_pipe_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(lambda: open_embeddings(str(tmp_path / "pipe")), "got a pipe or a device")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)


def test_a_pipe_that_replaces_a_file_before_it_is_opened_does_not_block(tmp_path, monkeypatch):
    real, pipe = os.stat, str(tmp_path / "x.npy")
    write_embeddings(tmp_path / "before.npy", X)
    os.mkfifo(pipe)
    before = real(tmp_path / "before.npy")
    monkeypatch.setattr(os, "stat", lambda path, **options: before if path == pipe else real(path, **options))
    caught: list[BaseException] = []

    def read():
        try:
            InputFile(pipe)
        except FormatError as error:
            caught.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert "got a pipe or a device" in str(caught[0])


@given(st.data())
def test_slices_of_an_array_in_a_file(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=3)))
    dtype = data.draw(st.sampled_from(["<f4", ">f8", "<f2", "?", "<U3"]))
    by_columns, offset = data.draw(st.booleans()), data.draw(st.integers(0, 9))
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path_factory.mktemp("arrays") / "x"
    path.write_bytes(bytes(offset) + array.tobytes("F" if by_columns else "C"))
    found = FileArray(InputFile(path), dtype, shape, offset, fortran_order=by_columns)
    start, stop = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    np.testing.assert_array_equal(found[start:stop], array[start:stop], strict=True)
    np.testing.assert_array_equal(np.asarray(found), array, strict=True)


# -- bounded memory ---------------------------------------------------------------------------------------------------

BOMB_BYTES = 1 << 26


def bomb(path, members, bomb_in, shape, dtype="<f4"):
    """An archive with one array of zeros that takes a thousandth of its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if name != bomb_in:
                archive.writestr(f"{name}.npy", content)
        archive.writestr(f"{bomb_in}.npy", npy(np.zeros(shape, dtype)))


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *(("model", name) for name in ("W_enc", "b_enc", "W_dec", "meta", "unknown")),
        *(("codes", name) for name in ("data", "indices", "indptr", "shape", "ids", "meta", "unknown")),
        *(("scipy", name) for name in ("data", "indices", "indptr", "format", "unknown")),
        *(("embeddings", name) for name in ("embeddings", "ids", "unknown")),
    ],
)
def test_a_member_that_unfolds_to_far_more_is_refused_or_not_read(tmp_path, what, name):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    write, read = {
        "model": (lambda: save_model(good, make_model()), load_model),
        "codes": (lambda: save_codes(good, make_codes(), np.arange(5)), load_codes_and_ids),
        "scipy": (lambda: sparse.save_npz(good, make_codes().to_csr()), lambda path: open_codes(str(path))),
        "embeddings": (
            lambda: write_embeddings(good, X, ids=np.arange(300)),
            lambda path: ids_of(open_embeddings(str(path))),
        ),
    }[what]
    write()
    shape, dtype = ((), f"<U{BOMB_BYTES // 4}") if name == "meta" else ((BOMB_BYTES // 4,), "<f4")
    bomb(bad, members_of(good), name, shape, dtype)
    tracemalloc.start()
    if name == "unknown":
        read(bad)
    else:
        refused(lambda: read(bad), str(bad), name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOMB_BYTES / 4


@pytest.mark.parametrize("footer_lies", [False, True])
def test_a_row_of_parquet_that_unfolds_to_far_more_is_refused(tmp_path, footer_lies):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"embeddings": pa.array([np.ones(BOMB_BYTES // 4, np.float32)])}), path)
    if footer_lies:  # the number of items, as Thrift writes it: 10 bits that are 0, then the highest one
        content, number = path.read_bytes(), bytes([0x80, 0x80, 0x80, 0x10])
        at = content.rindex(number)
        path.write_bytes(content[:at] + bytes([0x82, 0x80, 0x80, 0x00]) + content[at + 4 :])
    refused(lambda: open_embeddings(str(path)), "embeddings: expected at most 100 times", str(path))


def shared_texts(n, size):
    """Columns of n equal texts that are stored once or nearly so, by the way in which they are stored."""
    import pyarrow as pa

    text = pa.array(["a" * size])
    plain = pa.array(["a" * size] * n)
    view = struct.pack("<i4sii", size, b"aaaa", 0, 0)
    return {
        "plain": plain,
        "dictionary": plain.dictionary_encode(),
        "fixed": plain.cast(pa.binary()).cast(pa.binary(size)),
        "views": pa.Array.from_buffers(pa.string_view(), n, [None, pa.py_buffer(view * n), text.buffers()[2]]),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([n], pa.int32()), text),
    }


def write_packed(path, table, compression, rows):
    """Write a table in batches of some rows; return whether the format has such columns."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.suffix == ".parquet":
            parquet.write_table(table, path, compression=compression, row_group_size=rows)
        else:
            new = pa.ipc.new_stream if path.suffix == ".stream" else pa.ipc.new_file
            with new(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
                writer.write_table(table, max_chunksize=rows)
    except pa.ArrowNotImplementedError:
        return False
    return True


ROOT = Path(__file__).parents[1]

READ_ALL = """
import sys
from tests.test_fuzz import peak, read_embeddings as read
read(sys.argv[1])
for path in sys.argv[2:]:
    before = peak()
    try:
        read(path)
        print(f"{path} was read")
    except Exception as error:
        print(peak() - before, error)
"""


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_columns_that_unfold_to_far_more_are_refused_in_little_memory(tmp_path, form):
    pa = pytest.importorskip("pyarrow")
    good, bad = tmp_path / f"good.{form}", []
    few = {
        "embeddings": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 16),
        "id": [f"{row:032}" for row in range(300)],  # packs well
    }
    write_packed(good, pa.table(few), "zstd", 100)
    source = open_embeddings(str(good))
    assert_same_rows(source, X)
    assert ids_of(source).tolist() == few["id"]
    ones = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(BOMB_BYTES // 4, np.float32)), 16)
    for packing in ("zstd", "lz4"):
        tables = {
            name: (pa.table(few | {"id": ids}), 300) for name, ids in shared_texts(300, BOMB_BYTES // 300).items()
        }
        tables |= {f"rows {rows}": (pa.table({"embeddings": ones}), rows) for rows in (1 << 16, 1 << 20)}
        for name, (table, rows) in tables.items():
            path = tmp_path / f"{name}-{packing}.{form}"
            if write_packed(path, table, packing, rows):
                assert path.stat().st_size < 2 << 20
                bad.append(str(path))
    assert len(bad) >= 12
    arguments = [sys.executable, "-c", READ_ALL, str(good), *bad]
    lines = subprocess.run(arguments, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout.splitlines()
    for path, line in zip(bad, lines, strict=True):
        more, _, message = line.partition(" ")
        assert message.startswith(path)
        assert "expected at most 100 times" in message
        assert int(more) < 1 << 26


def test_datasets_that_unfold_to_far_more_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("embeddings", data=np.ones((BOMB_BYTES // 64, 16), "f4"), chunks=True, compression="gzip")
    refused(lambda: open_embeddings(str(tmp_path / "x.hdf5")), "expected at most 100 times")
    with h5py.File(tmp_path / "y.hdf5", "w") as file:  # one chunk, of which ten rows are used
        file.create_dataset(
            "embeddings", (10, 16), "f4", data=X[:10], chunks=(1 << 20, 16), maxshape=(None, 16), compression=9
        )
    refused(lambda: open_embeddings(str(tmp_path / "y.hdf5")), "expected at most 100 times")


def test_a_string_of_hdf5_outside_of_its_heap_is_refused(tmp_path):
    """Each size in the heap, with numbers of which some keep HDF5 in a loop for ever: hence a process with a limit."""
    h5py = pytest.importorskip("h5py")
    path, texts = tmp_path / "x.hdf5", [f"é{row}" * 40 for row in range(60)]
    with h5py.File(path, "w") as file:
        file["embeddings"], file["ids"] = X[:60], texts
    assert ids_of(open_embeddings(str(path))).tolist() == texts
    good = path.read_bytes()
    first = good.index(b"GCOL\x01")
    free = first + 16
    while good[free : free + 2] != b"\0\0":
        free += 16 + -(-int.from_bytes(good[free + 8 : free + 16], "little") // 8) * 8
    bad = [(free, 0), (free, 1 << 12), *((first + 16, size) for size in (1 << 12, 2**63, 2**64 - 1, 2**64 - 16))]
    for number, (at, size) in enumerate(bad):
        content = good[: at + 8] + size.to_bytes(8, "little") + good[at + 16 :]
        (tmp_path / f"{number}.hdf5").write_bytes(content)
    code = (
        "import contextlib, sys\n"
        "with contextlib.suppress(ImportError):  # Windows\n"
        "    import resource; resource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
        "from compressae_ref.files.foreign.embeddings import open_embeddings as read\n"
        "for path in sys.argv[1:]:\n"
        "    try: read(path).ids\n"
        "    except Exception as error: print(error)"
    )
    paths = [str(tmp_path / f"{number}.hdf5") for number in range(len(bad))]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=30)
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{path}: expected strings inside their")


@pytest.mark.parametrize(
    "storage", [{}, {"chunks": (200,)}, {"chunks": (200,), "compression": "gzip", "shuffle": True}]
)
def test_strings_of_hdf5_that_share_one_piece_of_the_heap_are_refused(tmp_path, storage):
    """Three hundred references of 16 bytes, all to one string of 64 kB: 20 MB."""
    h5py = pytest.importorskip("h5py")
    path, texts = tmp_path / "x.hdf5", ["a" * (1 << 16), *(f"é{row}" for row in range(299))]
    with h5py.File(path, "w") as file:
        file["embeddings"] = X
        file.create_dataset("ids", data=texts, **storage)
    assert ids_of(open_embeddings(str(path))).tolist() == texts
    with h5py.File(path, "r+") as file:
        dataset = file["ids"].id
        place = dataset.get_offset()
        if storage:
            first = dataset.read_direct_chunk((0,))[1]
            if len(storage) > 1:
                first = np.frombuffer(zlib.decompress(first), np.uint8).reshape(16, 200).T.tobytes()
            for row in (0, 200):
                dataset.write_direct_chunk((row,), first[:16] * 200, 0xF)  # its filters are marked as not used
    if not storage:
        content = path.read_bytes()
        path.write_bytes(content[:place] + content[place : place + 16] * 300 + content[place + 16 * 300 :])
    rows = open_embeddings(str(path))
    refused(lambda: rows.ids, str(path), "ids: expected at most 100 times the", kind=FormatError)


@pytest.mark.parametrize("kind", ["npz", "csr", "jsonl", "parquet", "arrow"])
def test_rows_that_would_be_filled_up_to_far_more_unfold_to_nothing(tmp_path, kind):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    n, longest, path = 20_000, 5_000, tmp_path / f"x.{kind}"
    indices, values = np.arange(longest, dtype=np.int32), np.ones(longest, np.float32)
    indptr = np.full(n + 1, longest)
    indptr[0] = 0
    if kind == "npz":
        sparse.save_npz(path, sparse.csr_array((values, indices, indptr), shape=(n, longest)))
    elif kind == "csr":
        path.write_bytes(
            struct.pack("<3q", n, longest, longest) + b"".join(a.tobytes() for a in (indptr, indices, values))
        )
    elif kind == "jsonl":
        first = json.dumps({"indices": indices.tolist(), "values": values.tolist()})
        path.write_text(first + '\n{"indices": [], "values": []}' * (n - 1))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        columns = {"indices": (indices, pa.int32()), "values": (values, pa.float32())}
        rows = {name: pa.array([part] + [[]] * (n - 1), pa.list_(item)) for name, (part, item) in columns.items()}
        if kind == "parquet":
            parquet.write_table(pa.table(rows), path)
        else:
            with pa.ipc.new_file(path, pa.table(rows).schema) as writer:
                writer.write_table(pa.table(rows))
    tracemalloc.start()
    refused(lambda: open_codes(str(path), longest), str(path), "rows of about equal length", "5000 entries")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20  # filled up they take 800 MB


@pytest.mark.parametrize("n_latents", [2**31 - 1, 2**40, 2**62])
def test_latents_that_nobody_can_hold_are_refused_before_anything_is_allocated(tmp_path, n_latents):
    codes = Codes(make_codes().indices, make_codes().values, n_latents)
    save_codes(tmp_path / "c.npz", codes)
    rows = open_codes(str(tmp_path / "c.npz"))
    refused(lambda: search(codes, rows.load(), 2), "fits into the memory of", "GiB", kind=DomainError)
    from compressae_ref.cli.inspect_facts import inspect_file

    assert inspect_file(str(tmp_path / "c.npz"))["latents_h"] == n_latents
    assert inspect_file(str(tmp_path / "c.npz"))["latents_in_use"] > 0


def test_a_model_that_no_memory_holds_is_refused_before_anything_is_allocated():
    refused(lambda: fit(X, n_latents=10**9, k=4, steps=1), "n_latents", "GiB", kind=DomainError)


# -- reasons ----------------------------------------------------------------------------------------------------------


def test_a_file_that_another_program_writes_is_locked_not_damaged(tmp_path):
    pytest.importorskip("h5py")
    program = "import h5py, sys\nfile = h5py.File('x.hdf5', 'w'); file['embeddings'] = [[1.0]]; file.flush()\n"
    program += "print(flush=True); sys.stdin.read()"
    writer = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    writer.stdout.readline()
    try:
        refused(lambda: open_embeddings(str(tmp_path / "x.hdf5")), "unable to lock", "another program")
    finally:
        writer.communicate()


def test_a_filter_that_is_missing_is_named_with_what_to_install(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("embeddings", data=X, chunks=(10, 16), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    refused(lambda: open_embeddings(str(tmp_path / "x.hdf5")), "filter", "deflate", "pip install hdf5plugin")


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [
        ("x.npy.gz", b"\x1f\x8b\x08\x00", "gunzip"),
        ("x.parquet.zst", b"(\xb5/\xfd\x00", "unzstd"),
        ("x.npy.bz2", b"BZh91AY", "bunzip2"),
        ("x.npy.xz", b"\xfd7zXZ\x00", "unxz"),
        ("x.npy.lz4", b"\x04\x22\x4d\x18", "unlz4"),
        ("x.txt", b"0.5 0.25\n1 2\n", "numpy.loadtxt"),
    ],
)
def test_compressed_files_and_text_are_refused_by_name_with_what_to_do(tmp_path, name, start, reason):
    (tmp_path / name).write_bytes(start + b"1" * 50)
    for read in (open_embeddings, content_of, open_codes):
        refused(lambda read=read: read(str(tmp_path / name)), name, reason, kind=FormatError)


@pytest.mark.parametrize("first", [[], [None], [[]], [None, [], None]], ids=str)
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_the_length_is_that_of_the_first_row_that_has_one_and_the_row_at_fault_is_named(tmp_path, form, first):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"embeddings": pa.array([*first, *X[:5].tolist()], pa.list_(pa.float32()))})
    path = write_table(tmp_path / f"x.{form}", table)
    if not first:
        assert_same_rows(open_embeddings(path), X[:5])
        return
    got = "null" if first[0] is None else "0"
    refused(
        lambda: np.asarray(open_embeddings(path)), f"expected lists of 16 numbers, got {got} in row 0", kind=ShapeError
    )


def write_table(path, table):
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with (pa.ipc.new_stream if path.suffix == ".stream" else pa.ipc.new_file)(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    return str(path)


@pytest.mark.parametrize("item", ["int16", "int32", "string", "uint8"])
def test_a_column_of_another_type_is_named_with_its_type(tmp_path, item):
    pa = pytest.importorskip("pyarrow")
    lists = pa.array([["1"], ["0"]] if item == "string" else [[1], [0]], pa.list_(pa.type_for_alias(item)))
    path = write_table(tmp_path / "x.parquet", pa.table({"embeddings": lists, "number": [1, 2]}))
    refused(lambda: open_embeddings(path), f"embeddings (list<element: {item}>)", "number (int64)")
    refused(lambda: open_embeddings(f"{path}::embeddings"), f"got list<element: {item}>", kind=DTypeError)


@pytest.mark.parametrize("columns", [{"indices": [1]}, {"indices": [[1]]}, {"indices": [{"a": 1}]}, {"indices": ["a"]}])
def test_columns_called_indices_and_values_need_not_be_codes(tmp_path, columns):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({**columns, "values": [1.5], "embeddings": pa.array([[1.0, 2.0]], pa.list_(pa.float32()))})
    path = write_table(tmp_path / "x.parquet", table)
    assert content_of(path) == "embeddings"
    assert open_embeddings(path).shape == (1, 2)
    refused(lambda: open_codes(path, 5), path, "expected lists in column", kind=FormatError)


# -- near relatives ---------------------------------------------------------------------------------------------------


def test_a_stream_of_arrow(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": range(300), "embeddings": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 16)})
    path = Path(write_table(tmp_path / "x.stream", table)).rename(tmp_path / "x.arrow")
    source = open_embeddings(str(path))
    assert_same_rows(source, X)
    assert ids_of(source).tolist() == list(range(300))
    np.testing.assert_array_equal(source[150:160], X[150:160])
    np.testing.assert_array_equal(source[3:9], X[3:9])


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_an_extension_type_is_read_as_it_is_stored(tmp_path, form):
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 16)
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [16]), lists)
    assert_same_rows(open_embeddings(write_table(tmp_path / f"x.{form}", pa.table({"v": tensors}))), X)


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_lists_of_int8_are_read_as_floats_of_the_same_values(tmp_path, form):
    pa = pytest.importorskip("pyarrow")
    x = np.random.default_rng(0).integers(-128, 128, (50, 7)).astype(np.int8)
    table = pa.table({"v": pa.array(x.tolist(), pa.list_(pa.int8()))})
    assert_same_rows(open_embeddings(write_table(tmp_path / f"x.{form}", table)), x.astype(np.float32))


def test_a_tensor_that_numpy_lacks_does_not_matter_beside_the_one_that_is_read(tmp_path):
    header = {
        "embeddings": {"dtype": "F32", "shape": [*X.shape], "data_offsets": [0, X.nbytes]},
        "scales": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [X.nbytes, X.nbytes + 4]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + X.tobytes() + bytes(4))
    assert_same_rows(open_embeddings(str(path)), X)
    assert_same_rows(open_embeddings(f"{path}::embeddings"), X)
    refused(lambda: open_embeddings(f"{path}::scales"), "expected a dtype of", "F8_E4M3", kind=FormatError)


def test_datasets_in_groups(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["model/embeddings"], file["model/ids"] = X, np.arange(300) + 7
        file["model/deeper/other"] = X[:9]
        file["again"] = h5py.SoftLink("/model/deeper/other")
        file["circle"] = h5py.SoftLink("/circle")
    source = open_embeddings(f"{path}::model/embeddings")
    assert_same_rows(source, X)
    assert ids_of(source).tolist() == (np.arange(300) + 7).tolist()
    assert_same_rows(open_embeddings(f"{path}::model/deeper/other"), X[:9])
    assert_same_rows(open_embeddings(f"{path}::again"), X[:9])
    refused(lambda: open_embeddings(f"{path}::circle"), "soft links")
    refused(lambda: open_embeddings(f"{path}::model"), "expected a dataset 'model', got a group")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["obsm/X_pca"], file["obs/n"] = X, np.arange(3)
    assert_same_rows(open_embeddings(str(tmp_path / "y.h5")), X)


@pytest.mark.parametrize("how", ["link", "link to a group", "soft link", "storage", "virtual"])
def test_links_to_other_files_are_followed_on_request_only(tmp_path, how, monkeypatch):
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    with h5py.File("other.hdf5", "w") as file:
        file["group/x"] = X
    Path("raw").write_bytes(X.tobytes())
    name = "embeddings"
    with h5py.File("x.hdf5", "w") as file:
        if how == "link":
            file[name] = h5py.ExternalLink("other.hdf5", "/group/x")
        elif how == "link to a group":
            file["far"], name = h5py.ExternalLink("other.hdf5", "/group"), "far/x"
        elif how == "soft link":
            file["far"] = h5py.ExternalLink("other.hdf5", "/group")
            file[name] = h5py.SoftLink("/far/x")
        elif how == "storage":
            file.create_dataset(name, X.shape, "f4", external=[("raw", 0, X.nbytes)])
        else:
            layout = h5py.VirtualLayout(X.shape, "f4")
            layout[:] = h5py.VirtualSource("other.hdf5", "group/x", X.shape)
            file.create_virtual_dataset(name, layout)
    for path in {f"x.hdf5::{name}", "x.hdf5" if how in ("link", "storage", "virtual") else f"x.hdf5::{name}"}:
        refused(lambda path=path: open_embeddings(path), "stored in this file, got a link to", "--follow-links")
        assert_same_rows(open_embeddings(path, follow_links=True), X)


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5"])
def test_rows_of_no_numbers_are_refused_when_they_are_opened(tmp_path, kind):
    path, none = tmp_path / f"x.{kind}", np.empty((5, 0), np.float32)
    if kind == "hdf5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["embeddings"] = none
    else:
        (np.save if kind == "npy" else np.savez)(path, none)
    refused(lambda: open_embeddings(str(path)), str(path), r"got shape (5, 0)", kind=ShapeError)


# -- shards -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, kind):
    """Twelve files whose order by letters is not that of their numbers."""
    (tmp_path / "shards").mkdir()
    for number, rows in enumerate(np.array_split(np.arange(300), 12)):
        ids = rows + 1000 if kind in ("npz", "hdf5", "parquet", "arrow") else None
        write_embeddings(tmp_path / "shards" / f"part-{number}.{kind}", X[rows], ids=ids)
    (tmp_path / "shards" / "README.md").write_text("not a shard")
    (tmp_path / "shards" / "_SUCCESS").touch()
    return tmp_path / "shards"


@pytest.mark.parametrize("at_once", [2, 64])
def test_shards_are_joined_in_natural_order(shards, kind, at_once, monkeypatch):
    monkeypatch.setattr("compressae_ref.files.foreign.shards.MAX_OPEN", at_once)
    for path in (str(shards), str(shards / f"part-*.{kind}"), str(shards / f"part-*[0-9].{kind}")):
        assert content_of(path) == "embeddings"
        source = open_embeddings(path)
        assert_same_rows(source, X)
        np.testing.assert_array_equal(source[20:80], X[20:80])
        assert ids_of(source) is None or ids_of(source).tolist() == list(range(1000, 1300))
        assert (ids_of(source) is None) == (kind not in ("npz", "hdf5", "parquet", "arrow"))
    assert fit(
        open_embeddings(str(shards)), n_latents=32, k=4, steps=3, batch_size=64, backend="numpy"
    ).model.digest == (fit(X, n_latents=32, k=4, steps=3, batch_size=64, backend="numpy").model.digest)


def test_shards_without_rows_change_nothing(tmp_path, kind):
    """Spark writes one for each partition that no row falls into."""
    if kind == "fvecs":
        pytest.skip("a file without bytes is taken for a truncated one")
    with_ids = kind in ("npz", "hdf5", "parquet", "arrow")
    for number, rows in enumerate([slice(0, 0), slice(0, 200), slice(0, 0), slice(200, 300), slice(0, 0)]):
        write_embeddings(tmp_path / f"{number}.{kind}", X[rows], ids=np.arange(300)[rows] if with_ids else None)
    source = open_embeddings(str(tmp_path))
    assert_same_rows(source, X)
    assert not with_ids or ids_of(source).tolist() == list(range(300))
    refused(lambda: np.asarray(open_embeddings(str(tmp_path / "[024].*"))), "[024].*", "expected at least one row")


def test_shards_that_do_not_fit_together_are_named(tmp_path):
    refused(lambda: open_embeddings(str(tmp_path)), str(tmp_path), "got none")
    refused(lambda: open_embeddings(str(tmp_path / "a-*.npy")), "a-*.npy", "got none")
    write_embeddings(tmp_path / "a-1.npy", X)
    write_embeddings(tmp_path / "a-2.npy", X[:, :5])
    refused(lambda: open_embeddings(str(tmp_path)), "a-2.npy", "expected d = 16 dimensions", kind=ShapeError)
    write_embeddings(tmp_path / "a-2.npy", X)
    write_embeddings(tmp_path / "b-1.fbin", X)
    refused(lambda: open_embeddings(str(tmp_path)), "shards of one format, got .fbin and .npy", "*.fbin")
    write_embeddings(tmp_path / "c-1.npz", X, ids=np.arange(300))
    write_embeddings(tmp_path / "c-2.npz", X)
    refused(lambda: open_embeddings(str(tmp_path / "c-*")), "c-2.npz", "got none")


@pytest.mark.parametrize("nested", ["sub/b.npy", "sub/deeper/b.npy"])
def test_no_shard_of_a_folder_is_left_out_without_a_word(tmp_path, nested):
    write_embeddings(tmp_path / "a.npy", X)
    (tmp_path / "b.npy.sha256").write_bytes(b"not a shard")
    (tmp_path / "_b.npy.gz").write_bytes(gzip.compress(b"hidden"))
    (tmp_path / "_sub").mkdir()
    write_embeddings(tmp_path / "_sub" / "b.npy", X)
    for folder in ("notes", "sub/deeper"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notes" / "README.md.gz").write_bytes(gzip.compress(b"no embeddings"))
    assert len(open_embeddings(str(tmp_path))) == len(X)
    (tmp_path / "b.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    refused(lambda: open_embeddings(str(tmp_path)), "b.npy.gz", "gunzip", kind=FormatError)
    (tmp_path / "b.npy.gz").unlink()
    write_embeddings(tmp_path / nested, X)
    refused(lambda: open_embeddings(str(tmp_path)), f"got {nested}", "**", kind=FormatError)
    assert len(open_embeddings(str(tmp_path / "**" / "*.npy"))) == 3 * len(X)
    assert len(open_embeddings(str(tmp_path / "*.npy"))) == len(X)


@pytest.mark.parametrize("name", ["", "::embeddings"])
def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_embeddings("a.npy", X)
    for read in (open_embeddings, content_of, open_codes, load_model, Index.load):
        with pytest.raises((CompressaeError, OSError)):
            read(name)
    with pytest.raises(OSError, match="an empty name"):
        save_codes("", make_codes())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_shard_that_is_replaced_in_between_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("compressae_ref.files.foreign.shards.MAX_OPEN", 1)
    for number in (1, 2):
        write_embeddings(tmp_path / f"{number}.npy", X)
    source = open_embeddings(str(tmp_path))
    write_embeddings(tmp_path / "1.npy", X + 1)
    refused(lambda: source[0:5], "1.npy", "got one that was replaced")


def test_a_shard_is_not_overwritten(tmp_path, monkeypatch, capsys):
    from compressae_ref.cli.main import main

    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        write_embeddings(tmp_path / f"x{number}.npy", X)
    for source in ("x*.npy", "."):
        assert main(["convert", source, "-o", "x1.npy"]) == 1
        assert "expected an output that is not an input" in capsys.readouterr().err
    assert main(["convert", "x*.npy", "-o", "all.npz"]) == 0
    np.testing.assert_array_equal(np.asarray(open_embeddings("all.npz")), np.concatenate([X, X]))


# -- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(20_000, 128), (20_000, 1), (9000, 64), (700, 128), None])
def test_a_chunk_of_hdf5_is_unpacked_once_in_order(tmp_path, chunks):
    h5py = pytest.importorskip("h5py")
    x = np.round(np.random.default_rng(0).standard_normal((20_000, 128)), 1).astype(np.float32)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("embeddings", data=x, chunks=chunks, compression=None if chunks is None else "gzip")
    source = open_embeddings(str(tmp_path / "x.hdf5"))
    np.testing.assert_array_equal(source[19_990:20_000], x[19_990:])
    if chunks in ((20_000, 128), (20_000, 1)):  # everything was unpacked, and is in the cache
        with (tmp_path / "x.hdf5").open("r+b") as file:
            file.write(bytes((tmp_path / "x.hdf5").stat().st_size))
        np.testing.assert_array_equal(np.asarray(source), x)
