"""Files of codes in other programs' formats."""

from __future__ import annotations

import json
import struct
import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy import sparse

from compressae_ref import Codes
from compressae_ref.errors import CompressaeError, DomainError, FormatError, ShapeError
from compressae_ref.files.codes_file import load_codes, load_ids, save_codes
from compressae_ref.files.foreign.codes import _OPEN, CODE_NAMES, open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.write import WITH_IDS, write_codes
from compressae_ref.row_source import STREAM_ROWS
from tests import strategies
from tests.test_formats import NEEDS

IN_FILES = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
OF_FLOAT32 = ("csr", "jsonl")


@pytest.fixture(params=CODE_NAMES)
def kind(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    return request.param


def example(n=20, k=3, h=50, dtype="float32", model="ab" * 32):
    rng = np.random.default_rng(n)
    indices = np.sort(rng.random((n, h)).argsort(axis=1)[:, :k], axis=1).astype(np.int32)
    return Codes(indices, rng.standard_normal((n, k)).astype(dtype), h, model)


def written(tmp_path, kind, codes, **settings):
    path = tmp_path / f"codes.{kind}"
    write_codes(path, [codes], len(codes), **settings)
    return path


def assert_same(found, codes):
    np.testing.assert_array_equal(found.indices, codes.indices, strict=True)
    np.testing.assert_array_equal(found.values, codes.values, strict=True)
    assert not np.signbit(found.values[found.values == 0]).any()


@IN_FILES
@given(codes=strategies.codes())
def test_codes_come_back(tmp_path, kind, codes):
    if kind == "csr" and (codes.values != codes.values.astype(np.float32)).any():
        with pytest.raises(DomainError, match="float32 holds exactly"):
            written(tmp_path, kind, codes)
        return
    rows = open_codes(str(written(tmp_path, kind, codes)), codes.n_latents)
    expected = codes.astype(np.float32) if kind in OF_FLOAT32 else codes
    assert_same(rows.load(), expected)
    assert (rows.n, rows.k, rows.n_latents) == (len(codes), codes.k, codes.n_latents)


def test_which_model_made_the_codes_stays_known_where_the_format_can_say_it(tmp_path, kind):
    rows = open_codes(str(written(tmp_path, kind, example())), 50)
    assert rows.load().model == (None if kind in ("csr", "jsonl") else "ab" * 32)


def test_codes_come_and_go_in_blocks(tmp_path, kind):
    codes = example(2 * STREAM_ROWS + 5)
    path = tmp_path / f"codes.{kind}"
    ids = np.arange(len(codes)) * 3
    write_codes(path, (codes[start : start + 700] for start in range(0, len(codes), 700)), len(codes), ids=ids)
    rows = open_codes(str(path), 50)
    sizes = [len(block) for block in rows.blocks()]
    assert max(sizes) <= STREAM_ROWS
    assert sum(sizes) == len(codes)
    assert_same(rows.load(), codes)
    assert_same(rows.load(), codes)  # as often as they are asked for
    assert (rows.ids is not None) == (kind in WITH_IDS)
    assert rows.ids is None or rows.ids.tolist() == ids.tolist()


# -- what others write and read ---------------------------------------------------------------------------------------


def test_the_bytes_of_a_csr_of_big_ann_benchmarks(tmp_path):
    codes = Codes(np.array([[1, 4], [0, 2]]), np.array([[0.5, -1.0], [0.0, 2.0]], np.float32), 6)
    expected = struct.pack("<3q3q4i4f", 2, 6, 4, 0, 2, 4, 1, 4, 0, 2, 0.5, -1.0, 0.0, 2.0)
    assert written(tmp_path, "csr", codes).read_bytes() == expected


def test_rows_of_different_lengths_are_filled_up(tmp_path):
    content = struct.pack("<3q4q3i3f", 3, 6, 3, 0, 2, 2, 3, 4, 1, 0, 0.5, -1.0, 3.0)  # the first row is not in order
    (tmp_path / "x.csr").write_bytes(content)
    codes = open_codes(str(tmp_path / "x.csr")).load()
    assert codes.indices.tolist() == [[1, 4], [0, 1], [0, 1]]
    assert codes.values.tolist() == [[-1.0, 0.5], [0.0, 0.0], [3.0, 0.0]]


def test_scipy_reads_a_codes_file_and_we_read_scipys(tmp_path):
    codes = example()
    path = written(tmp_path, "npz", codes, ids=np.arange(20))
    matrix = sparse.load_npz(path)
    np.testing.assert_array_equal(matrix.toarray(), codes.to_dense())
    sparse.save_npz(tmp_path / "scipy.npz", matrix)
    assert_same(open_codes(str(tmp_path / "scipy.npz")).load(), codes)


def test_lines_are_points_of_qdrant(tmp_path):
    ids = np.array([str(uuid.UUID(int=row)) for row in range(20)])
    codes = example()
    lines = written(tmp_path, "jsonl", codes, ids=ids).read_text().splitlines()
    for row, line in enumerate(lines):
        point = json.loads(line)
        assert point["id"] == ids[row]
        vector = point["vector"]["codes"]
        assert vector["indices"] == codes.indices[row].tolist()
        assert np.float32(vector["values"]).tolist() == codes.values[row].tolist()
        assert len(str(vector["values"])) < 3 * 14  # not the digits of a float64
    plain = '{"indices": [2], "values": [1]}\n\n{"indices": [], "values": []}\n'
    (tmp_path / "plain.jsonl").write_text(plain)
    rows = open_codes(str(tmp_path / "plain.jsonl"), 5)
    assert rows.load().to_dense().tolist() == [[0, 0, 1, 0, 0], [0] * 5]
    assert rows.ids is None


def test_parquet_for_everybody(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    codes = example()
    table = pq.read_table(written(tmp_path, "parquet", codes, ids=np.array([f"n{row}" for row in range(20)])))
    assert table.column_names == ["id", "indices", "values"]
    assert table["id"].to_pylist()[:2] == ["n0", "n1"]
    assert table["indices"].to_pylist() == codes.indices.tolist()
    assert table["values"].to_pylist() == codes.values.tolist()
    import pyarrow as pa

    foreign = pa.table({"indices": [[3, 1], []], "values": [[1.0, 2.0], []], "key": ["a", "b"]})
    pq.write_table(foreign, tmp_path / "foreign.parquet")
    rows = open_codes(str(tmp_path / "foreign.parquet"), 4)
    assert rows.load().to_dense().tolist() == [[0, 2, 0, 1], [0, 0, 0, 0]]
    with pytest.raises(DomainError, match="expected n_latents for a file that does not store it"):
        open_codes(str(tmp_path / "foreign.parquet"))


def test_ids_stay_in_a_codes_file_and_in_a_packed_one(tmp_path):
    codes, ids = example(), np.array([f"{row} é" for row in range(20)])
    save_codes(tmp_path / "codes.npz", codes, ids)
    assert_same(load_codes(tmp_path / "codes.npz"), codes)
    assert load_ids(tmp_path / "codes.npz", 20).tolist() == ids.tolist()
    save_codes(tmp_path / "without.npz", codes)
    assert load_ids(tmp_path / "without.npz", 20) is None
    save_codes(tmp_path / "few.npz", codes[:3], ids[:3])
    with pytest.raises(FormatError, match=r"few\.npz: ids: expected the UTF-8 bytes \(\|u1\) of 20 ids"):
        load_ids(tmp_path / "few.npz", 20)
    save_codes(tmp_path / "few.npz", codes[:3], range(3))
    with pytest.raises(FormatError, match=r"few\.npz: ids: expected 20 ids, one for each row, got 3"):
        load_ids(tmp_path / "few.npz", 20)


def test_ids_that_qdrant_does_not_take_are_refused(tmp_path):
    for bad in (np.array([f"a{row}" for row in range(20)]), -np.arange(20)):
        with pytest.raises(DomainError, match=r"codes\.jsonl: expected non-negative integers or UUIDs, got"):
            written(tmp_path, "jsonl", example(), ids=bad)
    assert not list(tmp_path.iterdir())


def test_a_number_of_ids_that_is_not_that_of_the_rows_is_refused(tmp_path, kind):
    with pytest.raises(ShapeError, match="ids: expected 20 ids, one for each row, got 19"):
        written(tmp_path, kind, example(), ids=np.arange(19))
    assert not list(tmp_path.iterdir())


# -- damage -----------------------------------------------------------------------------------------------------------


def codes_or_none(path):
    """The codes, or None after an error of one line that names the file."""
    try:
        return open_codes(str(path), 50).load()
    except CompressaeError as error:
        message = str(error)
    assert "\n" not in message
    assert message.startswith(str(path))
    return None


def test_truncated_codes_are_refused(tmp_path, kind):
    content = written(tmp_path, kind, example()).read_bytes()
    bad = tmp_path / f"bad.{kind}"
    lines = {at + 1 for at, byte in enumerate(content) if byte == 10} if kind == "jsonl" else set()
    for length in [1, 4, 8, 23, 24, 60, 100, len(content) // 2, len(content) - 9, len(content) - 2]:
        bad.write_bytes(content[:length])
        assert codes_or_none(bad) is None or length in lines


@pytest.mark.parametrize("lie", [b"\xff", b"\x00", b"\x7f"])
def test_lying_codes_are_refused_or_are_codes(tmp_path, kind, lie):
    content = bytearray(written(tmp_path, kind, example()).read_bytes())
    bad = tmp_path / f"bad.{kind}"
    for at in [*range(200), *range(len(content) - 60, len(content))]:
        for width in (1, 4, 8):
            spoiled = content.copy()
            spoiled[at : at + width] = lie * len(spoiled[at : at + width])
            bad.write_bytes(spoiled)
            codes = codes_or_none(bad)
            if codes is not None:
                Codes(codes.indices, codes.values, codes.n_latents)  # its own checks


LINES = {
    "no JSON": "{indices",
    "a number": '{"indices": 3, "values": [1]}',
    "texts": '{"indices": ["3"], "values": [1]}',
    "fewer values": '{"indices": [1, 2], "values": [1]}',
    "fractions": '{"indices": [1.0], "values": [1]}',
    "true": '{"indices": [true], "values": [1]}',
    "negative": '{"indices": [-1], "values": [1]}',
    "beyond the latents": '{"indices": [50], "values": [1]}',
    "beyond 64 bits": '{"indices": [99999999999999999999], "values": [1]}',
    "NaN": '{"indices": [1], "values": [NaN]}',
    "infinity": '{"indices": [1], "values": [1e999]}',
    "null": '{"indices": [1], "values": [null]}',
    "nothing sparse": '{"id": 1, "vector": {"dense": [1, 2]}}',
    "nested too deep": "{" + '"a":[' * 50_000,
}


@pytest.mark.parametrize("name", LINES)
def test_hostile_lines_are_named(tmp_path, name):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"indices": [1], "values": [1]}\n' + LINES[name] + "\n")
    with pytest.raises((FormatError, DomainError), match=r"in line 2|in row 1"):
        open_codes(str(path), 50).load()


def test_other_files_hold_no_codes(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 4)))
    with pytest.raises(FormatError, match=r"expected codes in \.npz.*, got \.npy"):
        open_codes(str(tmp_path / "x.npy"))
    path = written(tmp_path, "csr", example())
    with pytest.raises(FormatError, match="got a sparse matrix"):
        open_embeddings(str(path))


def test_another_number_of_latents_is_refused(tmp_path, kind):
    path = written(tmp_path, kind, example())
    with pytest.raises((DomainError, FormatError), match=r"n_latents = 20, got 50|from 0 to 19, got"):
        open_codes(str(path), 20).load()


def test_fewer_rows_than_the_file_says_are_refused(tmp_path, monkeypatch):
    path = written(tmp_path, "csr", example())
    rows = open_codes(str(path))
    monkeypatch.setitem(_OPEN, "csr", lambda *_: replace(rows, blocks=lambda: iter([rows.load()[:7]])))
    with pytest.raises(FormatError, match=r"codes\.csr: expected 20 rows, got 7"):
        open_codes(str(path)).load()


def test_places_of_rows_that_do_not_ascend_are_refused(tmp_path):
    content = struct.pack("<3q3q2i2f", 2, 6, 2, 0, 5, 2, 1, 2, 0.5, 1.0)
    (tmp_path / "x.csr").write_bytes(content)
    with pytest.raises(FormatError, match="row offsets that ascend from 0 to 2"):
        open_codes(str(tmp_path / "x.csr"))
