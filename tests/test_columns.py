"""Tables: every format gives the same columns, in blocks, and a damaged or unsuitable one is refused by line or row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import threading
import tracemalloc
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressae_ref import checks
from compressae_ref.errors import BackendError, CompressaeError
from compressae_ref.files.foreign import columns, csv_rows, text_rows
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.item_values import as_sites, as_weights
from compressae_ref.segments.times import as_times
from tests.conftest import HAS

IN_FILES = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT_KINDS = ["csv", "tsv", "jsonl"]
ARROW_KINDS = ["parquet", "arrow", "stream.arrow"] if HAS["pyarrow"] else []
KINDS = TEXT_KINDS + ARROW_KINDS
ARROW_ROWS = 2
"""Rows in a group or batch of the files that are written."""
needs_arrow = pytest.mark.skipif(not HAS["pyarrow"], reason="needs pyarrow")

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\t")
TEXTS = st.text(st.sampled_from("ab,;\"'\r\n \\é{}\ufeff") | LETTERS, max_size=12)
NAMES = st.text(LETTERS, min_size=1, max_size=5).filter(lambda name: name.strip())
ROWS = st.lists(
    st.tuples(
        TEXTS, NAMES, st.just(0.0) | st.floats(1e-30, 1e30), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
    ),
    min_size=1,
    max_size=5,
)


def write_table(path, kind, table):
    """Write columns of Python values in one of the formats; gzip packs it if the path says so."""
    stream = io.BytesIO()
    if kind in ("csv", "tsv"):
        wrapped = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
        writer = csv.writer(wrapped, delimiter={"csv": ",", "tsv": "\t"}[kind])
        writer.writerows([[*table], *zip(*table.values(), strict=True)])
        wrapped.detach()
    elif kind == "jsonl":
        for row in zip(*table.values(), strict=True):
            stream.write(json.dumps(dict(zip(table, row, strict=True)), default=str).encode() + b"\n")
    else:
        write_arrow(stream, kind, table)
    content = stream.getvalue()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_arrow(stream, kind, table):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = table if isinstance(table, pa.Table) else pa.table(table)
    if kind == "parquet":
        pq.write_table(table, stream, row_group_size=ARROW_ROWS)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(stream, table.schema) as writer:
            writer.write_table(table, max_chunksize=ARROW_ROWS)


def saved(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", KINDS)
@IN_FILES
@given(rows=ROWS, named=st.booleans())
def test_every_format_gives_the_same_columns(tmp_path, kind, packed, rows, named):
    texts, sites, weights, times = map(list, zip(*rows, strict=True))
    name = f"x.{kind}{packed}" if named else f"x{packed}"
    content = {"id": [*range(len(rows))], "Title": texts, "site": sites, "views": weights, "date": times}
    table = open_table(write_table(tmp_path / name, kind, content))
    assert table.names == [*content]
    assert table.n == len(rows)
    found = table.texts()
    assert (found.column, len(found)) == ("Title", len(rows))
    assert list(found) == list(found) == texts
    assert table.sites("site") == sites
    assert table.sites("id") == [str(row) for row in range(len(rows))]
    assert table.weights("views").tolist() == weights
    assert table.weights("id").dtype == np.float64
    assert (as_times(table.values("date")) == as_times(times)).all()
    table.require_rows(len(rows))


@given(texts=st.lists(st.text(LETTERS, max_size=9).map(lambda text: text.replace("\n", "").rstrip("\r")), min_size=1))
@IN_FILES
def test_a_text_in_each_line(tmp_path, texts):
    for end, mark in (("\n", ""), ("\r\n", "\ufeff")):
        path = saved(tmp_path, "x.txt", mark + "".join(text + end for text in texts))
        assert [*open_table(path).texts()] == [*open_table(path).texts("text")] == texts
    path = saved(tmp_path, "x.txt", "\n".join([*texts, "the last line has no end"]))
    assert [*open_table(path).texts()][:-1] == texts


def test_quotes_in_tsv_are_letters_unless_whole_fields_are_quoted(tmp_path):
    raw = 'n\ttext\n1\t"In vain may we expect\n2\t"Cheap" is a word\n3\tsaid "no"\n4\t5\' 10"\n'
    assert [*open_table(saved(tmp_path, "x.tsv", raw)).texts()] == [
        '"In vain may we expect', '"Cheap" is a word', 'said "no"', "5' 10\"",
    ]  # fmt: skip
    quoted = 'n\ttext\r\n1\t"two\r\nlines"\r\n2\t"a ""b"""\r\n3\tplain "x"\r\n'
    assert [*open_table(saved(tmp_path, "x.tsv", quoted)).texts()] == ["two\r\nlines", 'a "b"', 'plain "x"']
    long = 'n\ttext\n1\t"' + "a" * 200_000 + '"\n'
    assert [*open_table(saved(tmp_path, "x.tsv", long)).texts()] == ["a" * 200_000]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["n", "Text", "title"], "Text"), (["body", "TITLE"], "TITLE"), (["only"], "only"), (["name", "n"], "name"),
        (["description", "body"], "body"), (["a", "b"], None), (["n", "TEXT", "text"], "TEXT"),
    ],
)  # fmt: skip
def test_the_default_column_of_texts(tmp_path, names, expected):
    path = write_table(tmp_path / "x.csv", "csv", {name: ["v"] for name in names})
    if expected is None:
        with pytest.raises(CompressaeError, match=r"expected a column text, title, .*, got a, b; choose .* --text$"):
            open_table(path).texts()
    else:
        assert open_table(path).texts().column == expected


@pytest.mark.parametrize("kind", KINDS[2:])
def test_the_only_column_of_strings(tmp_path, kind):
    table = {"n": [1, 2], "words": ["a", None], "views": [1.5, 2.0]}
    found = open_table(write_table(tmp_path / f"x.{kind}", kind, table)).texts()
    assert (found.column, [*found]) == ("words", ["a", None])


def test_keys_of_json_lines_are_those_of_all_first_lines(tmp_path):
    table = open_table(saved(tmp_path, "x.jsonl", '{"n": 1}\n\n{"title": "b", "n": 2, "deep": {"n": [1]}}\n'))
    assert (table.names, table.n) == (["n", "title", "deep"], 2)
    assert [*table.texts()] == [None, "b"]


# -- what is refused --------------------------------------------------------------------------------------------------

CSV = b"text,site,views\n"
DAMAGED = {
    "empty.csv": (b"", "got an empty file"),
    "mark.csv": (b"\xef\xbb\xbf", "empty file"),
    "empty.txt.gz": (gzip.compress(b""), "empty file"),
    "blank.csv": (b"\n\n", "names of the columns in the first line, got an empty line"),
    "short.csv": (CSV + b"a,b,1\na,b\n", "expected 3 fields as in the header, got 2 in line 3"),
    "long.csv": (CSV + b'"a\nb",b,1\na,b,1,2\n', "expected 3 fields as in the header, got 4 in line 4"),
    "hole.csv": (CSV + b"a,b,1\n\n\na,b,1\n", "got an empty line 3"),
    "holes.csv": (CSV + b"\n" * 200 + b"a,b,1\n", "got an empty line 2"),
    "open.csv": (CSV + b'a,b,1\n"a,b,1\nc,d,1\n', "got 'unexpected end of data' in line 3; write a field with quotes"),
    "quote.csv": (CSV + b'"a" b,b,1\n', "in line 2; write a field with quotes"),
    "mac.csv": (b"text,site\ra,b\r", "new-line character"),
    "twice.csv": (b"text,site,text\n", "expected columns of different names, got 'text' twice"),
    "latin.csv": (CSV + b"a,b,1\ncaf\xe9,b,1\n", "expected text in UTF-8, got byte 0xe9 in line 3; save"),
    "late.csv": (CSV + b"a,b,1\n" * 200_000 + b"caf\xe9,b,1\n", "got byte 0xe9 in line 200002"),
    "cut.csv": (CSV + b"caf\xc3", "got byte 0xc3 in line 2"),
    "nul.csv": (CSV + b"a,b,1\na\0,b,1\n", "got a NUL byte in line 3"),
    "nul.tsv": (b"text\tn\na\0\tb\n", "got a NUL byte in line 2"),
    "latin.txt": (b"a\nb\xff\n", "got byte 0xff in line 2"),
    "nul.txt": (b"a\n\nb\0", "got a NUL byte in line 3"),
    "utf16.csv": ("text,site\n".encode("utf-16"), "got text in UTF-16; save it as UTF-8"),
    "short.tsv": (b"text\tsite\na\tb\na\n", "expected 2 fields as in the header, got 1 in line 3"),
    "half.jsonl": (b'{"text": "a"}\n{"text": \n', "expected a JSON object in each line, got .* in line 2"),
    "list.jsonl": (b'{"text": "a"}\n["b"]\n', "got '.*' in line 2"),
    "array.json": (b'[{"text": "a"},\n{"text": "b"}]\n', "got '.*' in line 1"),
    "twice.jsonl": (b'{"text": "a", "text": "b"}\n', r"in line 1 \('text' twice\)"),
    "deep.jsonl": (b'{"text": ' + b"[" * 10**5, "expected a JSON object in each line, got .* in line 1"),
    "nul.jsonl": (b'{"text": "a\0"}\n', "got a NUL byte in line 1"),
    "surrogate.jsonl": (b'{"text": "a"}\n{"text": "b\\ud800"}\n', r"valid Unicode, got '\\ud800' in line 2"),
    "blank.jsonl": (b"\n \n", "expected JSON objects with keys, got none"),
    "keyless.jsonl": (b"{}\n{}\n", "expected JSON objects with keys, got none"),
    "number.jsonl": (b'{"text": "a"}\n{"text": 3}\n', "text: expected strings, got 3 in row 1"),
    "numbers.jsonl": (b'{"n": 1}\n{"n": 2}\n', "expected a column text, .*, got n;"),
    "table.xlsx": (b"PK\x03\x04 and more", "got a file of format zip; export it as CSV or Parquet"),
    "table.csv.bz2": (b"BZh91AY", "got one compressed by bzip2; unpack it with bunzip2"),
    "packed.csv.gz": (gzip.compress(gzip.compress(CSV)), "got one compressed by gzip"),
    "cut.csv.gz": (gzip.compress(CSV + b"a,b,1\n" * 99)[:-9], "end-of-stream.*; the file is incomplete"),
    "crc.csv.gz": (gzip.compress(CSV)[:-8] + bytes(8), "cannot be read as one .*CRC"),
    "not.parquet": (b"PAR1 and more", "cannot be read as one|expected a footer"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_refused_by_line(tmp_path, name):
    content, words = DAMAGED[name]
    path = saved(tmp_path, name, content)
    with pytest.raises(CompressaeError, match=words) as caught:
        [*open_table(path).texts()]
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_lists_those_there_are(tmp_path, kind):
    table = open_table(write_table(tmp_path / f"x.{kind}", kind, {"text": ["a"], "Site": ["b"], "": [1]}))
    for call in (table.texts, table.values, table.weights, table.sites):
        with pytest.raises(CompressaeError, match=rf"x\.{kind}: expected a column 'site', got text, Site, ''$"):
            call("site")


def test_a_missing_column_of_a_file_with_semicolons(tmp_path):
    table = open_table(saved(tmp_path, "x.csv", "text;site\na;b\n"))
    with pytest.raises(CompressaeError, match="got text;site; separate columns by commas"):
        table.values("site")
    names = ",".join(f"column{number}" for number in range(99)) + ',"two\nlines",' + "x" * 10**5
    with pytest.raises(CompressaeError, match=r"column19 and 81 more$") as caught:
        open_table(saved(tmp_path, "x.csv", names)).values("site")
    assert "\n" not in str(caught.value)


def test_the_number_of_rows_is_that_of_the_embeddings(tmp_path):
    path = saved(tmp_path, "texts.csv", "text\n" + "a\n" * 499 + "\n\n")
    open_table(path).require_rows(499)
    for n, hint in ((500, "; the first line of the file names the columns"), (498, "")):
        with pytest.raises(CompressaeError) as caught:
            open_table(path).require_rows(n)
        assert str(caught.value) == f"{path}: expected {n} rows, one for each embedding, got 499{hint}"


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_file_that_changes_between_passes_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(text_rows, "ROWS_PER_BLOCK", 2)
    path = write_table(tmp_path / f"x.{kind}", kind, {"text": [*"abcdef"], "n": [*range(6)]})
    table = open_table(path)
    texts = table.texts()
    assert len(texts) == 6
    content = path.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    for changed, got in ((content[: -len(last)], "got 5"), (content + last * 100, r"got at least \d+")):
        path.write_bytes(changed)
        taken = []
        with pytest.raises(CompressaeError, match=rf"x\.{kind}: expected 6 rows as in the pass before, {got}; another"):
            taken.extend(texts)
        with pytest.raises(CompressaeError, match="expected 6 rows"):
            table.values("n")
    path.write_bytes(content)
    assert [*texts] == [*"abcdef"]


# -- long texts, memory and threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_title_of_a_megabyte_is_read_and_the_limit_of_csv_is_set_back(tmp_path, kind):
    before = csv.field_size_limit()
    long = 'He said "é,\n' * 90_000
    path = write_table(tmp_path / f"x.{kind}", kind, {"n": [1, 2], "title": [long, "b"]})
    assert [*open_table(path).texts()] == [long, "b"]
    assert csv.field_size_limit() == before


def test_a_field_and_a_line_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_FIELD_CHARACTERS", 1000)
    monkeypatch.setattr(text_rows, "MAX_LINE_BYTES", 5000)
    monkeypatch.setattr(text_rows, "BYTES_PER_READ", 100)
    before = csv.field_size_limit()
    for content, words in (("a\n" * 1000, "field larger than field limit"), ("x" * 9000, "longer line 3")):
        path = saved(tmp_path, "x.csv", 'text,n\na,1\n"' + content)
        with pytest.raises(CompressaeError, match=words):
            [*open_table(path).texts()]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_never_all_in_memory(tmp_path, kind, monkeypatch):
    texts = [f"{row} " + "word " * 400 for row in range(2500)]  # 5 MB
    monkeypatch.setattr("tests.test_columns.ARROW_ROWS", 6000)
    packed = "" if kind in ARROW_KINDS else ".gz"
    path = write_table(tmp_path / f"x.{kind}{packed}", kind, {"n": [*range(2500)], "text": texts})
    del texts
    tracemalloc.start()
    found = open_table(path).texts()
    assert sum(map(len, found)) > 5_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_500_000


def test_repeated_strings_are_one_object(tmp_path):
    path = saved(tmp_path, "x.csv", "text,site\n" + "a,a long name of a site\n" * 1000)
    assert len({id(site) for site in open_table(path).sites("site")}) == 1


def test_what_unfolds_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "FREE_BYTES", 10_000)
    path = saved(tmp_path, "x.csv.gz", gzip.compress(b"text,n\n" + b"a,1\n" * 20_000))
    assert len(open_table(path).texts()) == 20_000
    with pytest.raises(CompressaeError, match="column n: expected at most 100 times the"):
        open_table(path).weights("n")


def test_threads_may_read_tables_at_once(tmp_path):
    path = write_table(tmp_path / "x.csv", "csv", {"n": [*range(30)], "text": ["a" * 200_000] * 30})
    before, faults = csv.field_size_limit(), []

    def read():
        try:
            assert sum(map(len, open_table(path).texts())) == 6_000_000
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert csv.field_size_limit() == before


# -- Arrow's types ----------------------------------------------------------------------------------------------------


@needs_arrow
@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_arrows_types_of_strings(tmp_path, kind):
    import pyarrow as pa

    values = ["a", None, "b", "a", "é" * 9]
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
    for arrow_type in kinds:
        column = (
            pa.array(values, pa.string()).cast(arrow_type)
            if "view" in str(arrow_type)
            else pa.array(values, arrow_type)
        )
        table = open_table(write_table(tmp_path / "x", kind, pa.table({"text": column})))
        assert [*table.texts()] == table.values("text") == values
        with pytest.raises(CompressaeError, match="text: expected the name of a site, got None in row 1"):
            table.sites("text")


@needs_arrow
@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_arrows_numbers_and_times(tmp_path, kind):
    import pyarrow as pa

    moment = datetime(1790, 1, 8, 12)
    table = pa.table(
        {
            "seconds": pa.array([moment] * 3, pa.timestamp("ms")),
            "zoned": pa.array(
                [moment.replace(tzinfo=timezone(timedelta(hours=2)))] * 3, pa.timestamp("us", "Europe/Prague")
            ),
            "day": pa.array([moment.date()] * 3, pa.date32()),
            "day64": pa.array([moment.date()] * 3, pa.date64()),
            "year": pa.array([1790] * 3, pa.uint16()),
            "hole": pa.array([moment, None, moment], pa.timestamp("s")),
            "views": pa.array([1, None, 3]),
            "price": pa.array([Decimal("1.50")] * 3),
            "flag": pa.array([True, False, True]),
            "vector": pa.array([[1.0]] * 3),
            "bytes": pa.array([b"a"] * 3),
        }
    )
    table = open_table(write_table(tmp_path / "x", kind, table))
    for name, expected in (
        ("seconds", "1790-01-08T12"),
        ("zoned", "1790-01-08T10"),
        ("day", "1790-01-08T00"),
        ("year", "1790-01-01T00"),
    ):
        assert as_times(table.values(name)).astype("datetime64[h]").astype(str).tolist() == [expected] * 3
    assert as_times(table.values("day64"))[0] == np.datetime64("1790-01-08")
    with pytest.raises(CompressaeError, match="got NaT in row 1"):
        as_times(table.values("hole"))
    assert table.weights("price").tolist() == [1.5] * 3
    assert table.sites("flag") == ["true", "false", "true"]
    for name, call, words in (
        ("views", table.weights, "views: expected finite numbers of at least 0, got None in row 1"),
        ("views", table.sites, "views: expected the name of a site, got None in row 1"),
        ("flag", table.weights, "got True in row 0"),
        ("price", table.sites, r"expected strings, integers or booleans, got Decimal\('1.50'\) in row 0"),
        ("day", table.sites, "got a date in row 0|got 1790-01-08 in row 0"),
        ("vector", table.values, "vector: expected a column of strings, numbers, .*, got list"),
        ("bytes", lambda name: [*table.texts(name)], "bytes: expected a column of strings, .*, got binary"),
        ("year", lambda name: [*table.texts(name)], "year: expected strings, got 1790 in row 0"),
    ):
        with pytest.raises(CompressaeError, match=words) as caught:
            call(name)
        assert str(caught.value).startswith(str(tmp_path))


@needs_arrow
def test_one_string_that_many_rows_share_is_one_object(tmp_path, monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr("tests.test_columns.ARROW_ROWS", 6000)

    values = pa.DictionaryArray.from_arrays(pa.array(np.arange(4000) % 2, pa.int32()), pa.array(["a" * 10**6, "b"]))
    path = write_table(tmp_path / "x", "arrow", pa.table({"text": values}).combine_chunks())
    assert sum(map(len, open_table(path).texts())) == 2000 * (10**6 + 1)
    assert len({id(value) for value in open_table(path).values("text")}) == 2


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    path = saved(tmp_path, "x.arrow", b"ARROW1\0\0" + bytes(99))
    with pytest.raises(BackendError, match=r"; pip install 'pyarrow>=\d+'"):
        columns.open_table(path)


# -- weights and sites ------------------------------------------------------------------------------------------------

NO_WEIGHTS = [
    -1,
    -1e-300,
    float("nan"),
    float("inf"),
    None,
    "",
    "3",
    "x",
    True,
    1j,
    b"1",
    [1],
    Decimal(-1),
    Decimal("sNaN"),
    10**400,
]


@pytest.mark.parametrize("bad", NO_WEIGHTS, ids=repr)
def test_a_weight_that_is_none_is_named_with_its_row(bad):
    with pytest.raises(CompressaeError, match=r"^w: expected finite numbers of at least 0, got .* in row 2$") as caught:
        as_weights([1, 2.5, bad, -1], "w")
    assert len(str(caught.value)) < 120
    if isinstance(bad, float):
        with pytest.raises(CompressaeError, match="in row 1"):
            as_weights(np.array([0, bad]), "w")


@pytest.mark.parametrize("bad", [5e-324, 9e-31, Decimal("1.1e30"), 1e300], ids=repr)
def test_weights_whose_squares_have_no_digits_are_refused(bad):
    assert as_weights([0, 1e-30, 1e30]).tolist() == [0, 1e-30, 1e30]
    with pytest.raises(CompressaeError, match=r"^w: expected 0 or numbers from 1e-30 to 1e\+30, got .* in row 1$"):
        as_weights([1, bad], "w")


def test_weights_of_any_numbers():
    values = [0, 1.5, np.float32(2), np.uint8(3), Decimal("4.5"), -0.0]
    found = as_weights(values)
    assert found.tolist() == [0, 1.5, 2, 3, 4.5, 0]
    assert not np.signbit(found).any()
    assert as_weights(np.array([1, 2], "u1")).dtype == np.float64
    assert as_weights([]).shape == (0,)
    for bad in (1.0, "1", {"a": 1}, [[1.0]] and np.ones((2, 1))):
        with pytest.raises(CompressaeError, match=r"^weights: expected a flat array or list"):
            as_weights(bad)


@pytest.mark.parametrize("bad", ["-1", "nan", "NaN", "inf", "", "x", "1,000", "1_000", "0x10", "١", "1 2", "1e99999"])
def test_a_weight_in_csv_is_a_number(tmp_path, bad):
    good = ["1", "2.5", "1e3", "+.5", "7.", "0"]
    table = open_table(write_table(tmp_path / "x.csv", "csv", {"n": range(7), "w": [*good, bad]}))
    with pytest.raises(CompressaeError, match=r"x\.csv: w: expected finite numbers .*, got .* in row 6$"):
        table.weights("w")
    table = open_table(write_table(tmp_path / "x.csv", "csv", {"n": range(6), "w": good}))
    assert table.weights("w").tolist() == [1, 2.5, 1000, 0.5, 7, 0]


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (["a", None], 1), (["a", ""], 1), (["a", " \t"], 1), (["a", float("nan")], 1), ([1.0, 2.0], 0), ([1, "1"], 1),
        ([1, True], 1), (["a", b"a"], 1), ([None], 0), (["a", "\ud800"], 1), ([object()], 0), (["a", ["b"]], 1),
        ([np.ones(2)], 0), ([np.timedelta64(1, "s")], 0), (np.array([1.5]), 0),
    ],
)  # fmt: skip
def test_a_site_without_a_name_is_named_with_its_row(values, row):
    with pytest.raises(CompressaeError, match=rf"^s: expected .*, got .* in row {row}$"):
        as_sites(values, "s")


def test_names_of_sites():
    assert as_sites(["a", " b ", np.str_("c")]) == ["a", " b ", "c"]
    assert as_sites(np.array([1, -2])) == as_sites([1, np.int8(-2)]) == ["1", "-2"]
    assert as_sites([True, np.bool_(False)]) == as_sites(np.array([True, False])) == ["true", "false"]
    assert as_sites(np.array(["a", "b"])) == ["a", "b"]
    assert as_sites([]) == []
    for bad in ("abc", None, {"a"}, 7):
        with pytest.raises(CompressaeError, match=r"^sites: expected a flat array or list"):
            as_sites(bad)
