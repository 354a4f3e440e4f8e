"""Embeddings in text: every way to write the same rows is read as the same rows, and a wrong line is named."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign import rows as rows_module
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.write import write_embeddings
from tests.conftest import HAS

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def cells(row):
    """The shortest digits that give each number, in its own precision."""
    return [str(number) for number in row]


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def in_columns(names, separator=","):
    def lines(x, keys):
        head = separator.join(["sku", *names(x.shape[1]), "price"])
        return [head, *(separator.join([key, *cells(row), "9.5"]) for key, row in zip(keys, x, strict=True))]

    return lines


def in_one(text_of, separator=",", name="embedding"):
    def lines(x, keys):
        rows = (separator.join([key, quoted(text_of(cells(row)))]) for key, row in zip(keys, x, strict=True))
        return [f"sku{separator}{name}", *rows]

    return lines


def in_json(name="embedding"):
    def lines(x, keys):
        lists = ("[" + ", ".join(cells(row)) + "]" for row in x)
        return [f'{{"sku": {json.dumps(key)}, "{name}": {row}}}' for key, row in zip(keys, lists, strict=True)]

    return lines


def numbered(prefix, start=0):
    return lambda d: [f"{prefix}{column}" for column in range(start, start + d)]


FORMS = {
    "v0, v1": ("csv", in_columns(numbered("v"))),
    "dim_1, dim_2": ("csv", in_columns(numbered("dim_", 1))),
    "emb[0], emb[1]": ("tsv", in_columns(lambda d: [f"emb[{column}]" for column in range(d)], "\t")),
    "0, 1": ("csv", in_columns(numbered(""))),
    "JSON in a column": ("csv", in_one(lambda row: "[" + ", ".join(row) + "]")),
    "spaces": ("tsv", in_one(" ".join, "\t")),
    "NumPy's own": ("csv", in_one(lambda row: "[ " + "  ".join(row) + "]", name="whatever")),
    "PostgreSQL": ("csv", in_one(lambda row: "{" + ",".join(row) + "}", name="vector")),
    "objects": ("jsonl", in_json()),
    "objects of another name": ("jsonl", in_json("dense")),
}
WITHOUT_KEYS = {
    "lists": ("jsonl", lambda x, _: ["[" + ", ".join(cells(row)) + "]" for row in x]),
    "no header": ("csv", lambda x, _: [",".join(cells(row)) for row in x]),
    "only numbers, with names": (
        "csv",
        lambda x, _: [",".join("abcdefgh"[: x.shape[1]]), *(",".join(cells(row)) for row in x)],
    ),
}

halves = st.floats(-1e3, 1e3, width=32).filter(lambda number: number != int(number))  # so that a header is none


@FEW
@given(
    form=st.sampled_from([*FORMS, *WITHOUT_KEYS]),
    x=st.integers(2, 8).flatmap(
        lambda d: arrays(np.float32, st.tuples(st.integers(1, 9), st.just(d)), elements=halves)
    ),
    packed=st.booleans(),
    double=st.booleans(),
)
def test_every_form_has_the_same_rows_and_ids(tmp_path, form, x, packed, double):
    if double:
        x = x.astype(np.float64) / 3
    kind, lines = (FORMS | WITHOUT_KEYS)[form]
    keys = [f"k{row}" for row in range(len(x))]
    content = "".join(f"{line}\n" for line in lines(x, keys)).encode()
    path = tmp_path / f"x.{kind}{'.gz' * packed}"
    path.write_bytes(gzip.compress(content) if packed else content)
    source = open_embeddings(str(path))
    rows = np.asarray(source)
    assert source.dtype == rows.dtype
    assert double or rows.dtype == np.float32
    np.testing.assert_array_equal(rows, x if rows.dtype == x.dtype else x.astype(np.float32))
    np.testing.assert_array_equal(source[len(x) // 2 : len(x)], rows[len(x) // 2 :])
    assert source.id_name == (None if form in WITHOUT_KEYS else "sku")
    assert ids_of(source) is None or ids_of(source).tolist() == keys
    assert content_of(str(path)) == "embeddings"


X = np.arange(1, 13, dtype=np.float32).reshape(4, 3) / 8


def csv(*lines):
    return "".join(f"{line}\n" for line in lines)


WRONG = {
    "a word": ("csv", csv("v0,v1", "1.5,2", "x,3"), ["expected numbers in columns v0 to v1, got 'x' in line 3"]),
    "an empty field": ("csv", csv("v0,v1", "1.5,2", "4,"), ["got '' in line 3"]),
    "Python's underscores": ("csv", csv("v0,v1", "1.5,2", "1_0,2"), ["got '1_0' in line 3"]),
    "too few fields": ("csv", csv("v0,v1", "1.5,2", "4"), ["expected 2 fields as in the header, got 1 in line 3"]),
    "a list too short": ("csv", csv("embedding", "1.5 2", "4"), ["expected 2 numbers as in the first row", "line 3"]),
    "an ellipsis": ("csv", csv("embedding", "[1.5 2]", "[4 ... 5]"), ["got '...' in line 3"]),
    "no list": ("jsonl", '{"vector": [1, 2]}\n{"vector": "a"}\n', ["got 'a' in line 2"]),
    "a null": ("jsonl", '{"vector": [1, 2]}\n\n{"vector": [1, null]}\n', ["got None in line 3"]),
    "true": ("jsonl", '{"vector": [1, 2]}\n{"vector": [1, true]}\n', ["got True in line 2"]),
    "a missing key": ("jsonl", '{"vector": [1, 2]}\n{"other": [1]}\n', ["got None in line 2"]),
    "a huge integer": ("jsonl", f"[1, 2]\n[1, 1{'0' * 400}]\n", ["line 2"]),
    "no vectors": ("csv", csv("title,price,rating", "a,1,2", "b,3,4"), ["expected an entry", "title (text)"]),
    "two vectors": ("csv", csv("a0,a1,b0,b1", "1.5,2,3,4"), ["a (2 columns), b (2 columns)", "FILE::ENTRY"]),
    "semicolons": ("csv", csv("v0;v1", "1.5;2"), ["v0;v1"]),
    "no rows": ("csv", csv("v0,v1"), ["at least one row"]),
    "a gap": ("csv", csv("v0,v2", "1.5,2", "a,b"), ["expected"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_named(tmp_path, name):
    kind, content, words = WRONG[name]
    path = tmp_path / f"x.{kind}"
    path.write_text(content)
    with pytest.raises(CompressaeError) as error:
        np.asarray(open_embeddings(str(path)))
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert all(word in message for word in words), message


def written_columns(path, names):
    """Write three rows with a number in each column, and an id in front, as CSV, TSV or JSON lines."""
    rows = [[f"k{row}", *(f"{row}.{j}5" for j in range(len(names)))] for row in range(3)]
    if path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(["sku", *names], [row[0], *map(float, row[1:])], strict=True))) for row in rows]
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        lines = [*map(separator.join, [["sku", *names], *rows])]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


NUMBERED = {"emb_{}": "emb", "{}": None, "dim-{}": "dim", "v[{}]": "v"}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("form", NUMBERED)
@given(
    start=st.sampled_from([0, 1]),
    d=st.integers(6, 30),
    lost=st.sets(st.integers(2, 28), max_size=2),
    seed=st.integers(0, 2**31),
)
def test_numbered_columns_are_whole_or_an_error_that_names_what_is_missing(
    tmp_path_factory, kind, form, start, d, lost, seed
):
    path = tmp_path_factory.mktemp("x") / f"x.{kind}"
    last = start + d - 1
    numbers = [number for number in range(start, last + 1) if number not in lost or number == last]
    np.random.default_rng(seed).shuffle(numbers)
    name = written_columns(path, [form.format(number) for number in numbers])
    missing = [form.format(number) for number in range(start, last) if number not in numbers]
    if not missing:
        assert open_embeddings(name).shape == (3, d)
        return
    for place in (name, *([f"{name}::{NUMBERED[form]}"] if NUMBERED[form] else [])):
        with pytest.raises(FormatError) as caught:
            open_embeddings(place)
        assert f"got none in {', '.join(missing)}; " in str(caught.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["e0", "e1", "e2", "e02"], "got e02 and e2 with one number"),
        (["e0", "e1", "e-1", "e2", "e3"], "got e-1 and e1 with one number"),
        (["e2", "e3", "e4", "e5"], "got none in e1"),
        (["e00", "e01", "e03", "e10", "e02", "e04", "e06", "e07", "e08", "e09"], "got none in e05"),
        (["q0", "q1", "e0", "e1", "e2", "e4"], "got none in e3"),
    ],
)
def test_numbers_that_do_not_number_dimensions_are_refused(tmp_path, names, words):
    with pytest.raises(FormatError, match=re.escape(words)):
        open_embeddings(written_columns(tmp_path / "x.csv", names))


@pytest.mark.parametrize(
    ("names", "d"),
    [
        (["x1", "x3"], 2),
        (["year2019", "year2020", "year2021"], 3),
        (["e0", "e1", "e2", "e3", "q1", "q2", "q4"], 4),
        ([f"e{j:02d}" for j in range(12)], 12),
    ],
)
def test_columns_that_are_numbered_otherwise_are_no_gap(tmp_path, names, d):
    assert open_embeddings(written_columns(tmp_path / "x.csv", names)).shape == (3, d)


def test_a_first_line_of_numbers_with_a_gap_is_no_row(tmp_path):
    (tmp_path / "x.csv").write_text("0,1,2,3,4,6,7,8\n" + "0.5,1,2,3,4,6,7,8\n" * 3)
    with pytest.raises(FormatError, match="got none in 5;"):
        open_embeddings(str(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_text("0,1,3\n2,1,3\n12345678901,1,3\n")
    assert open_embeddings(str(tmp_path / "x.csv")).shape == (3, 3)


def test_one_of_several_vectors_is_chosen_by_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(csv("id,a0,a1,b_0,b_1,c", '7,1.5,2,3,4,"[5, 6, 7]"'))
    for name, row in {"a": [1.5, 2], "b": [3, 4], "c": [5, 6, 7]}.items():
        assert np.asarray(open_embeddings(f"{path}::{name}")).tolist() == [row]
        assert ids_of(open_embeddings(f"{path}::{name}")).tolist() == [7]


@pytest.mark.skipif(not HAS["pyarrow"], reason="needs pyarrow")
def test_lists_in_text_are_read_from_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = str(tmp_path / "x.parquet")
    texts = [json.dumps(row) for row in X.tolist()]
    pq.write_table(pa.table({"title": ["a"] * 4, "embedding": texts}), path, row_group_size=3)
    assert np.array_equal(open_embeddings(path), X)
    assert open_embeddings(path).dtype == np.float32
    pq.write_table(pa.table({"embedding": [*texts, "a word"]}), path)
    with pytest.raises(CompressaeError, match=r"expected a list of numbers, got 'a' in row 4; the column holds text"):
        np.asarray(open_embeddings(path))


def test_numbers_that_begin_as_a_list_does_are_no_text(tmp_path):
    """91 rows or dimensions are "[" in the first byte of a binary file, whose name need not tell what it is."""
    for kind in ("fbin", "fvecs"):
        x = np.ones((ord("["), ord("[")), np.float32)
        write_embeddings(tmp_path / f"x.{kind}", x)
        (tmp_path / f"x.{kind}").rename(tmp_path / "x")
        assert np.array_equal(open_embeddings(str(tmp_path / "x")), x)


def test_memory_is_bounded_and_rows_may_be_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "MAX_ROWS_AHEAD", 100)
    path = tmp_path / "x.csv"
    path.write_text(csv("v0,v1", *(f"{row}.5,1" for row in range(1000))))
    source = open_embeddings(str(path))
    for start in (900, 10, 500, 0, 999):
        assert source[start : start + 3][:, 0].tolist() == [row + 0.5 for row in range(start, min(start + 3, 1000))]


def test_a_folder_of_text_is_read_unless_other_embeddings_are_there(tmp_path):
    for number in (2, 10):
        (tmp_path / f"part-{number}.csv").write_text(csv("id,v0,v1", f"{number},{number}.5,1"))
    assert ids_of(open_embeddings(str(tmp_path))).tolist() == [2, 10]
    np.save(tmp_path / "x.npy", X)
    assert open_embeddings(str(tmp_path)).shape == X.shape
