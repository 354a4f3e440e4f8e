"""The law of ids: whatever holds them, every output and every search has the same ids, or one line names the file."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from compressae_ref import Codes, Index, Model, init_params, pack, save_code_blocks, save_codes, save_model, save_packed
from compressae_ref.cli import main as command_line
from compressae_ref.cli.main import main
from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.files.codes_file import load_codes, load_ids
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.safetensors import write_tensors
from compressae_ref.files.foreign.write import WITH_IDS, write_codes, write_embeddings
from compressae_ref.files.npz import Pieces, write_npz
from compressae_ref.files.packed_file import load_packed_and_ids
from compressae_ref.item_ids import as_ids
from spec.generate.program import program
from tests.conftest import HAS

SPEC = program()
PARSER = cache(command_line.command_line)

N, D, H, K = 6, 8, 24, 3
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), K)
CODES = MODEL.encode(X, backend="numpy")

# -- kinds of ids: what is stored, and the ids that come of it, or None if they are refused ----------------------------

NUMBERS = np.arange(N) * 7 % 11
NAMES = ["a", "ü", "\U0001f600 b", "c\0d", "", "https://example.org/" + "x" * 300]
TEXT = ["a", "ü", "\U0001f600 b", "c", "d e", "f\tg"]
UUIDS = [UUID(int=row * 2**100 + 5) for row in range(N)]
LARGE = [2**63 + row for row in range(N)]
WIDTHS = ("i1", "u1", "<i2", ">u2", "<u4", ">i4", "<u8", ">i8")
KINDS = {
    **{dtype: (NUMBERS.astype(dtype), NUMBERS.tolist()) for dtype in WIDTHS},
    "the ends of int64": (np.array([-(2**63), 2**63 - 1, 0, 1, 2, 3]), [-(2**63), 2**63 - 1, 0, 1, 2, 3]),
    "beyond int64": (np.array(LARGE, np.uint64), None),
    "one beyond int64": (np.array([0, 1, 2, 2**63, 4, 5], np.uint64), None),
    "beyond 64 bits": ([0, 1, 2, 2**64, 4, 5], None),
    "strings": (np.array(TEXT), TEXT),
    "strings of digits": (np.array(["007", "7", "1_0", " 1", "1.0", "-0"]), ["007", "7", "1_0", " 1", "1.0", "-0"]),
    "objects": (np.array(NAMES, object), NAMES),
    "a list": (NAMES, NAMES),
    "bytes": (np.array([name.encode() for name in TEXT]), TEXT),
    "a list of bytes": ([name.encode() for name in TEXT], TEXT),
    "Latin-1": (np.array([b"a", b"b", b"c", b"d", b"\xe9", b"f"]), None),
    "UUIDs": (UUIDS, [str(item) for item in UUIDS]),
    "a column": (NUMBERS[:, None], NUMBERS.tolist()),
    "a column of strings": (np.array(TEXT)[:, None], TEXT),
    "a row": (NUMBERS[None], None),
    "two columns": (np.stack([NUMBERS, NUMBERS], 1), None),
    "one number": (np.array(7), None),
    "none": (np.empty(0, np.int64), None),
    "one too few": (NUMBERS[1:], None),
    "one too many": (np.arange(N + 1), None),
    "floats": (NUMBERS + 0.0, None),
    "halves": ((NUMBERS + 0.5).astype("f4"), None),
    "complex": (NUMBERS + 0j, None),
    "booleans": (NUMBERS % 2 == 0, None),
    "dates": (NUMBERS.astype("M8[D]"), None),
    "times": (NUMBERS.astype("m8[s]"), None),
    "a list of times": ([np.timedelta64(row, "s") for row in range(N)], None),
    "opaque": (np.zeros(N, "V16"), None),
    "records": (np.zeros(N, [("a", "i4"), ("b", "i4")]), None),
    "twice": (np.array([0, 1, 2, 3, 1, 5]), None),
    "strings twice": (np.array(["a", "b", "c", "d", "b", "f"]), None),
    "integers and strings": ([0, 1, "2", 3, 4, 5], None),
    "null": ([0, 1, None, 3, 4, 5], None),
    "null among strings": (["a", "b", None, "d", "e", "f"], None),
    "true": ([0, 1, True, 3, 4, 5], None),
    "decimals": ([Decimal(row) for row in range(N)], None),
    "lists": ([[row, row] for row in range(N)], None),
    "masked": (np.ma.array(NUMBERS, mask=NUMBERS == 0), None),
    "nothing masked": (np.ma.array(NUMBERS), NUMBERS.tolist()),
}  # fmt: skip
if hasattr(np.dtypes, "StringDType"):
    KINDS["StringDType"] = (np.array(NAMES, np.dtypes.StringDType()), NAMES)


# -- sources: each writes ids as its own kind of them; None: it has no such kind --------------------------------------


def saved_by_numpy(ids):
    """An array that `np.save` stores as it is: no mask and no StringDType."""
    if isinstance(ids, list):
        return np.array(ids, object)
    return None if isinstance(ids, np.ma.MaskedArray) or ids.dtype.kind == "T" else ids


def npz(path, ids, **entries):
    ids = saved_by_numpy(ids)
    if ids is not None:
        np.savez(path, **(entries or {"embeddings": X}), ids=ids)
        return ids.dtype.kind != "O"  # pickles are refused
    return None


def codes_npz(path, ids, save=save_codes, codes=CODES):
    save(path, codes)
    with np.load(path) as archive:
        return npz(path, ids, **archive)


def scipy_npz(path, ids):
    sparse.save_npz(path, CODES.to_csr(), compressed=False)
    with np.load(path) as archive:
        return npz(path, ids, **archive)


def hdf5(path, ids):
    h5py = pytest.importorskip("h5py")
    if isinstance(ids, np.ma.MaskedArray) or getattr(ids, "dtype", X.dtype).kind in "MmT":
        return None
    with h5py.File(path, "w") as file:
        file["embeddings"] = X
        if isinstance(ids, list) or ids.dtype.kind in "OU":
            items = ids if isinstance(ids, list) else ids.tolist()
            if not all(isinstance(item, str) and "\0" not in item for item in np.ravel(np.array(items, object))):
                return None
            file.create_dataset("ids", data=np.array(items, object), dtype=h5py.string_dtype())
        else:
            file["ids"] = ids
    return True


def column(ids):
    """The ids as a column of Arrow, or None if there is no such column."""
    import pyarrow as pa

    if isinstance(ids, np.ma.MaskedArray):
        return pa.array(ids.tolist())
    if isinstance(ids, list) and isinstance(ids[0], UUID):
        return pa.array([item.bytes for item in ids], pa.binary(16))
    if isinstance(ids, np.ndarray) and ids.ndim == 2 and ids.shape[1] == 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(ids[:, 0].tolist()), 1)
    if isinstance(ids, np.ndarray) and (ids.ndim != 1 or ids.dtype.kind in "Vc"):
        return None
    items = ids.tolist() if isinstance(ids, np.ndarray) and ids.dtype.kind in "OUST" else ids
    items = items.astype(items.dtype.newbyteorder("=")) if isinstance(items, np.ndarray) else items
    try:
        return pa.array(items)
    except (pa.ArrowException, OverflowError):
        return None


def table(path, ids, kind, change=lambda column: column, **entries):
    pa = pytest.importorskip("pyarrow")
    ids = column(ids)
    if ids is None or len(ids) != N:
        return None
    rows = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), D)
    save_table(path, pa.table({"id": change(ids), **(entries or {"embeddings": rows})}), kind)
    return True


def save_table(path, table, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    else:
        with pytest.importorskip("pyarrow.ipc").new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)


def codes_table(path, ids, kind):
    return table(path, ids, kind, indices=CODES.indices.tolist(), values=CODES.values.tolist())


def as_type(name):
    """A change of a string column to another type of Arrow; of other columns none."""

    def change(ids):
        import pyarrow as pa

        if not pa.types.is_string(ids.type):
            return ids
        if name == "list":
            return pa.array([[item] for item in ids.to_pylist()])
        return ids.dictionary_encode() if name == "dictionary" else ids.cast(getattr(pa, name)())

    return change


def safetensors(path, ids):
    names = {"u1": "U8", "i1": "I8", "u2": "U16", "i2": "I16", "u4": "U32", "i4": "I32", "u8": "U64", "i8": "I64"}
    names |= {"f4": "F32", "f8": "F64", "b1": "BOOL"}
    if not isinstance(ids, np.ndarray) or isinstance(ids, np.ma.MaskedArray) or ids.dtype.str[1:] not in names:
        return None
    little = ids.astype(ids.dtype.newbyteorder("<"))
    parts = {"embeddings": ("F32", X), "ids": (names[ids.dtype.str[1:]], little)}
    header, end = {}, 0
    for name, (dtype, part) in parts.items():
        header[name] = {"dtype": dtype, "shape": [*part.shape], "data_offsets": [end, end + part.nbytes]}
        end += part.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(part.tobytes() for _, part in parts.values()))
    return True


def jsonl(path, ids):
    items = ids.tolist() if isinstance(ids, np.ndarray) and ids.dtype.kind in "iufbUOT" else ids
    items = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in items] if np.ndim(items) else []
    if len(items) != N or isinstance(items, np.ndarray):
        return None
    try:
        texts = [json.dumps(item) for item in items]
    except TypeError:
        return None
    pairs = zip(texts, CODES.indices.tolist(), CODES.values.tolist(), strict=True)
    path.write_text("".join(f'{{"id": {id}, "indices": {j}, "values": {v}}}\n' for id, j, v in pairs))
    return True


def ids_npy(path, ids):
    np.save(path.parent / "x.npy", X)
    ids = saved_by_numpy(ids)
    if ids is not None:
        np.save(path, ids)
        return ids.dtype.kind != "O"
    return None


def ids_text(path, ids):
    np.save(path.parent / "x.npy", X)
    items = (
        np.asarray(ids).tolist() if isinstance(ids, np.ndarray) and ids.dtype.kind in "iuU" and ids.ndim == 1 else ids
    )
    if not isinstance(items, list) or not all(type(item) in (int, str) for item in items):
        return None
    path.write_text("".join(f"{item}\n" for item in items), encoding="utf-8", newline="")
    texts = [str(item) for item in items]
    if len({*texts}) != N or len(texts) != N:
        return False
    numbers = [int(text) for text in texts] if all(text.removeprefix("-").isdecimal() for text in texts) else []
    plain = [str(item) for item in numbers] == texts and -(2**63) <= min(numbers) <= max(numbers) < 2**63
    return numbers if plain else texts  # lines are text: what is no integer id stays text


EMBEDDINGS = {
    "npz": ("x.npz", npz),
    "hdf5": ("x.hdf5", hdf5),
    "parquet": ("x.parquet", partial(table, kind="parquet")),
    "arrow": ("x.arrow", partial(table, kind="arrow")),
    **{
        f"parquet, {name}": ("x.parquet", partial(table, kind="parquet", change=as_type(name)))
        for name in ("large_string", "string_view", "dictionary", "list", "binary", "large_binary")
    },
    "safetensors": ("x.safetensors", safetensors),
    "--ids .npy": ("ids.npy", ids_npy),
    "--ids text": ("ids.txt", ids_text),
}
OF_CODES = {
    "codes": ("c.npz", codes_npz),
    "packed codes": ("c.npz", partial(codes_npz, save=save_packed, codes=pack(CODES, backend="numpy"))),
    "SciPy": ("c.npz", scipy_npz),
    "codes, parquet": ("c.parquet", partial(codes_table, kind="parquet")),
    "codes, arrow": ("c.arrow", partial(codes_table, kind="arrow")),
    "codes, jsonl": ("c.jsonl", jsonl),
}


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, path, *words):
    """The one line of a command that must fail, which names the file."""
    assert run(*words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"compressae-ref: {path}: "), err
    return err


def found(capsys, codes):
    """The ids of the best items, each asked with its own embedding."""
    capsys.readouterr()
    assert run("search", "m.npz", codes, "x.npy", "--top", 1, "--json", "--backend", "numpy") == 0
    return [json.loads(line)["ids"][0] for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "command_line", PARSER)  # thousands of commands run here
    monkeypatch.setattr(os, "fsync", lambda file: None)
    save_model("m.npz", MODEL)
    np.save("x.npy", X)
    return tmp_path


def outputs(*kinds):
    needs = {"parquet": "pyarrow", "arrow": "pyarrow", "hdf5": "h5py"}
    return [f"y.{kind}" for kind in kinds if HAS[needs.get(kind, "scipy")]]


def fits(kind, ids):
    """Whether a format stores these ids: Qdrant's points need integers from 0 or UUIDs; HDF5 ends strings at NUL."""
    if kind == "jsonl":
        return all(item >= 0 for item in ids) if isinstance(ids[0], int) else ids == [str(item) for item in UUIDS]
    return kind != "hdf5" or isinstance(ids[0], int) or not any("\0" in item for item in ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", EMBEDDINGS)
def test_ids_of_embeddings_stay_or_are_refused_in_one_line(here, capsys, source, kind):
    name, write = EMBEDDINGS[source]
    ids, expected = KINDS[kind]
    held = write(here / name, ids)
    if held is None:
        return
    expected = held if isinstance(held, list) else expected if held else None
    option = ["--ids", name] if source.startswith("--ids") else []
    source_path = "x.npy" if option else name
    encode = ["encode", "m.npz", source_path, *option, "--backend", "numpy", "-o"]
    convert = ["convert", source_path, *option, "-o"]
    if expected is None:
        before = sorted(here.iterdir())
        for command, output in ((encode, "y.npz"), (encode, "y.csr"), (convert, "y.npz"), (convert, "y.npy")):
            refused(capsys, name, *command, output)
        if not option:
            capsys.readouterr()
            assert run("inspect", name) == 0
            assert re.search(r"\nids +False\nwhy no ids +\S", capsys.readouterr().out)
            assert run(*encode, "y.npz", "--ids", "none") == 0
            assert load_ids("y.npz", N) is None
            (here / "y.npz").unlink()
        assert sorted(here.iterdir()) == before
        return
    assert run(*encode, "y.npz") == 0
    assert load_ids("y.npz", N).tolist() == expected
    assert found(capsys, "y.npz") == expected
    for output in outputs("npz", "parquet", "arrow", "jsonl", "csr"):
        follow(here, capsys, [*encode, output], output, expected, lambda path: open_codes(path, H).ids)
    for output in outputs("npz", "hdf5", "parquet", "arrow", "npy", "fbin", "safetensors"):
        follow(here, capsys, [*convert, output], output, expected, lambda path: ids_of(open_embeddings(path)))


def follow(here, capsys, command, output, expected, read):
    """Run a command, and compare the ids of its output; a format without ids says so, one that cannot refuses."""
    (here / output).unlink(missing_ok=True)
    capsys.readouterr()
    if not fits(kind := output.rpartition(".")[2], expected) and kind in WITH_IDS:
        refused(capsys, output, *command)
        assert not (here / output).exists()
        return
    assert run(*command) == 0
    err = capsys.readouterr().err
    assert ("without ids, which this format cannot store" in err) == (kind not in WITH_IDS)
    ids = read(output)
    assert ids is None if kind not in WITH_IDS else ids.tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", OF_CODES)
def test_ids_of_codes_stay_or_are_refused_in_one_line(here, capsys, source, kind):
    name, write = OF_CODES[source]
    ids, expected = KINDS[kind]
    held = write(here / name, ids)
    if held is None:
        return
    n_latents = ["--n-latents", H] if name.endswith(("jsonl", "parquet", "arrow")) else []
    convert = ["convert", name, *n_latents, "-o"]
    if expected is None or not held:
        before = sorted(here.iterdir())
        for output in ("y.npz", "y.csr"):
            refused(capsys, name, *convert, output)
        if not n_latents:
            refused(capsys, name, "search", "m.npz", name, "x.npy")
            refused(capsys, name, "inspect", name)
            refused(capsys, name, "pack", name, "-o", "p.npz")
            refused(capsys, name, "split-signs", name, "-o", "p.npz")
        if held:  # otherwise there are pickled objects in the file
            assert run(*convert, "y.npz", "--ids", "none") == 0
            assert load_ids("y.npz", N) is None
            (here / "y.npz").unlink()
        assert sorted(here.iterdir()) == before
        return
    for output in outputs("npz", "parquet", "arrow", "jsonl", "csr"):
        follow(here, capsys, [*convert, output], output, expected, lambda path: open_codes(path, H).ids)
    assert found(capsys, "y.npz") == expected
    assert run("pack", "y.npz", "-o", "p.npz", "--backend", "numpy") == 0
    assert found(capsys, "p.npz") == expected
    assert run("unpack", "p.npz", "-o", "u.npz", "--backend", "numpy") == 0
    assert run("split-signs", "u.npz", "-o", "s.npz") == 0
    assert load_ids("s.npz", N).tolist() == expected


def saved_index(path, codes, ids):
    Index.build(codes, ids=ids, backend="numpy").save(path)


SAVES = {
    "save_codes": (
        lambda path, ids: save_codes(path, CODES, ids),
        lambda path: load_ids(path, N),
    ),
    "save_code_blocks": (
        lambda path, ids: save_code_blocks(path, [CODES[:4], CODES[4:]], N, ids),
        lambda path: load_ids(path, N),
    ),
    "save_packed": (
        lambda path, ids: save_packed(path, pack(CODES, backend="numpy"), ids),
        lambda path: load_packed_and_ids(path)[1],
    ),
    "Index.save": (
        lambda path, ids: saved_index(path, CODES, ids),
        lambda path: Index.load(path, backend="numpy").ids,
    ),
    "write_codes": (
        lambda path, ids: write_codes(path, iter([CODES]), N, ids=ids),
        lambda path: open_codes(str(path)).ids,
    ),
    "write_embeddings": (
        lambda path, ids: write_embeddings(path, X, ids=ids),
        lambda path: ids_of(open_embeddings(str(path))),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("save", SAVES)
def test_what_is_saved_is_what_is_given(tmp_path, save, kind):
    write, read = SAVES[save]
    ids, expected = KINDS[kind]
    path = tmp_path / "y.npz"
    if expected is None:
        with pytest.raises(CompressaeError, match="ids: expected") as error:
            write(path, ids)
        assert "\n" not in str(error.value)
        assert not list(tmp_path.iterdir())
        return
    write(path, ids)
    found = read(path)
    assert found.tolist() == expected
    assert {type(item) for item in found.tolist()} == {type(expected[0])}


ROWS = {"beyond int64": 0, "one beyond int64": 3, "twice": 4, "strings twice": 4, "integers and strings": 2, "null": 2}
ROWS |= {"null among strings": 2, "true": 2, "Latin-1": 4, "floats": 0, "booleans": 0, "dates": 0, "masked": 0}


@pytest.mark.parametrize("kind", ROWS)
def test_the_first_row_at_fault_is_named(kind):
    with pytest.raises(CompressaeError) as error:
        as_ids(KINDS[kind][0], N)
    assert error.value.row == ROWS[kind]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(TEXTS, max_size=20, unique=True) | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20, unique=True))
def test_any_ids_come_back_in_their_order(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("ids") / "codes.npz"
    codes = Codes.none(K, H) if not ids else Codes.concatenate([CODES[:1]] * len(ids))
    save_codes(path, codes, ids)
    assert load_ids(path, len(ids)).tolist() == ids
    assert SPEC.ids_of(SPEC.members(path.read_bytes()), len(ids)) == ids
    index = Index.build(codes, ids=ids, backend="numpy")
    assert index.search(CODES[:1], 20).ids.tolist() == [sorted(ids)]  # R10: equal scores, so by id, by code points


# -- the form of strings in files -------------------------------------------------------------------------------------


def test_files_with_strings_in_the_old_form_are_read(tmp_path):
    for save, codes in ((save_codes, CODES), (save_packed, pack(CODES, backend="numpy"))):
        path = tmp_path / "codes.npz"
        codes_npz(path, np.array(TEXT), save, codes)
        assert load_ids(path, N).tolist() == TEXT
        assert SPEC.ids_of(SPEC.members(path.read_bytes()), N) == TEXT
    saved_index(tmp_path / "index.npz", CODES, TEXT)
    with np.load(tmp_path / "index.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if name != "ids_lengths"} | {"ids": np.array(TEXT)}
    write_npz(tmp_path / "old.npz", arrays, aligned=True)
    assert Index.load(tmp_path / "old.npz", backend="numpy").search(CODES, 1).ids[:, 0].tolist() == TEXT


def test_integers_and_no_ids_are_stored_as_ever(tmp_path):
    save_codes(tmp_path / "a.npz", CODES, np.arange(N, dtype="i2"))
    save_codes(tmp_path / "b.npz", CODES)
    for name, members in (("a", ["ids"]), ("b", [])):
        with np.load(tmp_path / f"{name}.npz") as archive:
            assert archive.files == ["data", "indices", "indptr", "shape", "format", "_is_array", "meta", *members]
            assert not members or archive["ids"].dtype.str == "<i8"


SPOILED = {
    "a length too few": {"ids_lengths": lambda lengths: lengths[1:]},
    "a negative length": {"ids_lengths": lambda lengths: lengths + np.array([0, 0, 0, -1, 1, 0], "i4")},
    "lengths that are too long": {"ids_lengths": lambda lengths: lengths + np.array([0, 0, 0, 0, 0, 1], "i4")},
    "lengths of 64 bits": {"ids_lengths": lambda lengths: lengths.astype("i8")},
    "floats": {"ids_lengths": lambda lengths: lengths.astype("f4")},
    "a byte too few": {"ids": lambda utf8: utf8[1:]},
    "no bytes": {"ids": lambda utf8: utf8.astype("i4")},
    "no UTF-8": {"ids": lambda utf8: np.where(utf8 == ord("d"), 255, utf8).astype("u1")},
    "characters cut in two": {"ids_lengths": lambda lengths: lengths + np.array([1, -1, 0, 0, 0, 0], "i4")},
    "an id twice": {"ids": lambda utf8: np.where(utf8 == ord("b"), ord("a"), utf8).astype("u1")},
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_lengths_and_bytes_that_do_not_fit_are_refused(tmp_path, spoiled):
    ids = ["a", "ü", "b", "", "d", "ee"]
    saves = {"codes": save_codes, "index": saved_index}
    for name, save in saves.items():
        path = tmp_path / f"{name}.npz"
        save(path, CODES, ids)
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        for member, change in SPOILED[spoiled].items():
            arrays[member] = np.ascontiguousarray(change(arrays[member]))
        write_npz(path, arrays, aligned=True)
        with pytest.raises(FormatError, match=rf"^{path}: ids: expected") as error:
            load_ids(path, N) if name == "codes" else Index.load(path, backend="numpy")
        assert "\n" not in str(error.value)
        with pytest.raises((AssertionError, UnicodeDecodeError)):
            SPEC.ids_of(SPEC.members(path.read_bytes()), N)
    assert len(load_codes(tmp_path / "codes.npz")) == N  # who does not use the ids need not check them


@pytest.mark.parametrize("save", ["save_codes", "Index.save", "write_embeddings"])
def test_one_long_id_costs_its_own_bytes(tmp_path, save):
    n, long = 20_000, 8000
    codes = Codes(np.zeros((n, 1), np.int32), np.ones((n, 1), np.float32), 2)
    write = {
        "save_codes": lambda path, ids: save_codes(path, codes, ids),
        "Index.save": lambda path, ids: saved_index(path, codes, ids),
        "write_embeddings": lambda path, ids: write_embeddings(path, np.ones((n, 1), np.float32), ids=ids),
    }[save]
    read = {
        "save_codes": lambda path: load_ids(path, n),
        "Index.save": lambda path: Index.load(path, backend="numpy").ids,
        "write_embeddings": lambda path: ids_of(open_embeddings(str(path))),
    }[save]
    sizes, peaks = [], []
    for length in (4, long):
        ids = [f"{row:05}" for row in range(n)]
        ids[7] = "x" * length
        path = tmp_path / f"{length}.npz"
        tracemalloc.start()
        write(path, ids)
        assert read(path).tolist() == ids
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] <= long + 64  # members of an index begin on cache lines
    assert peaks[1] - peaks[0] < 50 * long


# -- the option -------------------------------------------------------------------------------------------------------


def test_another_entry_holds_the_ids(here, capsys):
    np.savez("x.npz", embeddings=X, ids=NUMBERS + 0.5, names=np.array(TEXT))
    refused(capsys, "x.npz", "encode", "m.npz", "x.npz", "-o", "y.npz")
    for command in (("encode", "m.npz"), ("convert",)):
        assert run(*command, "x.npz", "--ids", "::names", "-o", "y.npz") == 0
        capsys.readouterr()
        assert "expected an entry 'no' of ids" in refused(
            capsys, "x.npz", *command, "x.npz", "--ids", "::no", "-o", "z.npz"
        )
        assert "named arrays for ids" in refused(capsys, "x.npy", *command, "x.npy", "--ids", "::no", "-o", "z.npz")
    assert ids_of(open_embeddings("y.npz")).tolist() == TEXT


NOT_IDS = {
    "a group": lambda file: file.create_group("ids").create_dataset("codes", data=NUMBERS),
    "a link that leads nowhere": lambda file: file.__setitem__("ids", pytest.importorskip("h5py").SoftLink("/no")),
    "a dataset without a shape": lambda file: file.__setitem__("ids", pytest.importorskip("h5py").Empty("i8")),
    "two entries": lambda file: file.update({"id": NUMBERS, "ids": NUMBERS}),
}


@pytest.mark.parametrize("what", NOT_IDS)
def test_an_entry_called_ids_that_holds_none_is_never_ignored(here, capsys, what):
    with pytest.importorskip("h5py").File("x.h5", "w") as file:
        file["embeddings"] = X
        NOT_IDS[what](file)
    for command in (
        ["encode", "m.npz", "x.h5", "-o", "y.npz"],
        ["convert", "x.h5", "-o", "y.npz"],
    ):
        told = refused(capsys, "x.h5", *command)
        assert "--ids" in told
    capsys.readouterr()
    assert run("inspect", "x.h5") == 0
    out = capsys.readouterr().out
    assert re.search(r"\nwhy no ids +\S.*ids", out)
    assert "--ids" not in out
    assert run("encode", "m.npz", "x.h5", "-o", "y.npz", "--ids", "none") == 0


@pytest.mark.parametrize("kind", ["npz", "safetensors", "hdf5", "parquet", "arrow"])
def test_two_entries_of_ids_are_refused_until_one_is_chosen(here, capsys, kind):
    name = f"x.{kind}"
    if kind == "hdf5":
        with pytest.importorskip("h5py").File(name, "w") as file:
            file.update({"embeddings": X, "_id": NUMBERS, "ids": NUMBERS + 1})
    elif kind in ("parquet", "arrow"):
        rows = pytest.importorskip("pyarrow").FixedSizeListArray.from_arrays(X.reshape(-1), D)
        parts = pytest.importorskip("pyarrow").table({"embeddings": rows, "_id": NUMBERS, "ids": NUMBERS + 1})
        save_table(name, parts, kind)
    elif kind == "npz":
        np.savez(name, embeddings=X, _id=NUMBERS, ids=NUMBERS + 1)
    else:
        with Path(name).open("wb") as file:
            arrays = {"embeddings": X, "_id": NUMBERS.astype("<i8"), "ids": NUMBERS.astype("<i8") + 1}
            write_tensors(file, {key: Pieces(each.shape, each.dtype, [each]) for key, each in arrays.items()}, {})
    assert "expected one entry of ids, got id" in refused(capsys, name, "encode", "m.npz", name, "-o", "y.npz")
    assert run("encode", "m.npz", name, "-o", "y.npz", "--ids", "::ids") == 0
    assert load_ids("y.npz", N).tolist() == (NUMBERS + 1).tolist()
    train = ("--steps", 2, "--n-latents", 8, "--k", 2, "--validation-rows", 1, "--backend", "numpy")
    assert run("train", name, "-o", "t.npz", *train) == 0  # training reads no ids


def test_sixteen_bytes_of_text_are_text_and_those_of_a_uuid_a_uuid(here, capsys):
    pa = pytest.importorskip("pyarrow")
    text = [f"0123456789abcde{row}" for row in range(N)]
    mixed = [*(item.encode() for item in text[:-1]), UUIDS[-1].bytes]
    for items, expected in (
        ([item.encode() for item in text], text),
        ([item.bytes for item in UUIDS], [str(item) for item in UUIDS]),
        (mixed, None),
    ):
        table("x.parquet", [0] * N, "parquet", change=lambda _, items=items: pa.array(items, pa.binary(16)))
        if expected is None:
            capsys.readouterr()
            assert "among bytes in row 5" in refused(capsys, "x.parquet", "encode", "m.npz", "x.parquet", "-o", "z.npz")
            continue
        assert run("encode", "m.npz", "x.parquet", "-o", "y.npz") == 0
        assert load_ids("y.npz", N).tolist() == expected


def test_training_does_not_look_at_ids(here):
    np.savez("x.npz", embeddings=np.repeat(X, 9, 0), ids=np.array([None, {}], object))
    assert run("train", "x.npz", "-o", "t.npz", "--steps", 2, "--n-latents", 8, "--k", 2, "--backend", "numpy") == 0


def test_lines_are_integers_only_if_they_are_printed_as_they_are_written(here):
    for text, expected in (
        ("1\n-2\n0\n", [1, -2, 0]),
        ("1\r\n2\r\n3\r\n", [1, 2, 3]),
        ("\ufeff1\n2\n3", [1, 2, 3]),
        ("1\n02\n3\n", ["1", "02", "3"]),
        ("1\n2_0\n3\n", ["1", "2_0", "3"]),
        ("1\n٣\n3\n", ["1", "٣", "3"]),
        ("1\n 2\n3\n", ["1", " 2", "3"]),
        (f"1\n{2**63}\n3\n", ["1", f"{2**63}", "3"]),
        ("a\x0bb\n\u2028c\nd", ["a\x0bb", "\u2028c", "d"]),
    ):
        (here / "ids.txt").write_bytes(text.encode())
        assert run("convert", "x.npy", "--ids", "ids.txt", "-o", "y.npz") == (1 if len(expected) != N else 0)
        np.save("three.npy", X[:3])
        assert run("convert", "three.npy", "--ids", "ids.txt", "-o", "y.npz") == 0
        assert ids_of(open_embeddings("y.npz")).tolist() == expected


def test_nulls_of_arrow_are_named_with_their_row(here, capsys):
    pa = pytest.importorskip("pyarrow")
    for ids, value in ((pa.array([1, 2, None, 4, 5, 6]), "None"), (pa.array(["a", "b", "c", None, "e", "f"]), "None")):
        table(here / "x.parquet", [0] * N, "parquet", change=lambda _, ids=ids: ids)
        row = ids.to_pylist().index(None)
        assert f"got {value} in row {row}" in refused(
            capsys, "x.parquet", "encode", "m.npz", "x.parquet", "-o", "y.npz"
        )
