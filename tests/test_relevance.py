"""Relevance pairs: every form of a file gives the same pairs, by id or by row, and nothing is ignored in silence."""

import csv
import gzip
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressae_ref import Model, init_params, load_model, save_model
from compressae_ref.cli.main import main
from compressae_ref.errors import CompressaeError
from compressae_ref.files.relevance import as_relevance, load_relevance, relevance_by_ids
from compressae_ref.files.relevance_file import Side, open_relevance, open_store_relevance
from compressae_ref.item_ids import as_ids


def lines(rows, separator, head=()):
    return "".join(f"{separator.join(map(str, row))}\n" for row in (*head, *rows)).encode()


def quoted(rows, separator=","):
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator).writerows(rows)
    return stream.getvalue().encode()


def array(rows):
    stream = io.BytesIO()
    np.save(stream, np.array(rows))
    return stream.getvalue()


def parquet(rows):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    names = ("grade", "qid", "docid")
    pq.write_table(
        pa.table({name: [row[at] for row in rows] for name, at in zip(names, (2, 0, 1), strict=True)}), stream
    )
    return stream.getvalue()


def json_lines(rows):
    return b"".join(json.dumps(dict(zip(BEIR, row, strict=True))).encode() + b"\n" for row in rows)


def trec(rows):
    return lines([(query, number % 2 and "Q0", item, grade) for number, (query, item, grade) in enumerate(rows)], " ")


BEIR = ("query-id", "corpus-id", "score")
PLAIN = {
    "spaces": ("pairs.txt", lambda rows: lines(rows, "  ")),
    "names": ("pairs", lambda rows: lines(rows, " ", [("query", "item", "grade")])),
    "any names": ("pairs", lambda rows: lines(rows, " ", [("left", "right", "weight")])),
    "commas": ("pairs", lambda rows: lines(rows, ",")),
    "other order": ("pairs.csv", lambda rows: lines([(g, i, q) for q, i, g in rows], ", ", [("rel", "doc_id", "QID")])),
    "more columns": ("pairs.csv", lambda rows: lines([("-", *row, "-") for row in rows], ",", [("a", *BEIR, "b")])),
    "qrels": ("qrels.test", trec),
    "qrels with tabs": ("qrels.tsv", lambda rows: trec(rows).replace(b" ", b"\t")),
    "Windows": ("pairs", lambda rows: b"\xef\xbb\xbf" + lines(rows, "\t", [BEIR]).replace(b"\n", b"\r\n")),
    "blank lines": ("pairs", lambda rows: b"\n" + lines(rows, " ").replace(b"\n", b"\n \n").rstrip()),
    "decimal": ("pairs", lambda rows: lines([(q, i, f"{g}.0") for q, i, g in rows], " ")),
}
ANY = {
    "tabs": ("pairs", lambda rows: lines(rows, "\t")),
    "BEIR": ("test.tsv", lambda rows: lines(rows, "\t", [BEIR])),
    "CSV": ("pairs.csv", quoted),
    "gzip": ("pairs.csv.gz", lambda rows: gzip.compress(quoted([BEIR, *rows]))),
    "JSON lines": ("pairs.jsonl", json_lines),
    "Parquet": ("pairs.parquet", parquet),
    ".npy": ("pairs.npy", array),
}  # fmt: skip
"""Forms of a file whose ids are plain words, and those that take any id: a file name, and the bytes of pairs."""

WORDS = st.text("abcXYZ019._:/é中-", min_size=1)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='\ufeff"'), min_size=1)
TEXTS = TEXTS.filter(lambda text: text == text.strip() and not text.startswith("{"))
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def pairs_by_id(draw, ids):
    """Return ids of queries and items, which are no row numbers, and graded pairs of rows."""
    columns = [draw(st.lists(ids, min_size=1, max_size=8, unique=True)) for _ in "qi"]
    cells = [(query, item) for query in range(len(columns[0])) for item in range(len(columns[1]))]
    chosen = draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    return columns, [(*pair, draw(st.integers(0, 5)) if number else 1) for number, pair in enumerate(chosen)]


KINDS = {"numbers": NUMBERS, "words": WORDS, "texts": TEXTS}


@pytest.mark.parametrize("form", PLAIN | ANY)
def test_every_form_of_a_file_gives_the_same_relevance(form, tmp_path_factory):
    name, written = (PLAIN | ANY)[form]
    path = tmp_path_factory.mktemp("forms") / name

    @settings(max_examples=25)
    @given(
        st.sampled_from(["numbers", "words", "texts"][: 3 if form in ANY else 2]).flatmap(
            lambda kind: pairs_by_id(KINDS[kind])
        )
    )
    def law(case):
        ids, rows = case
        sides = [Side(called, len(column), as_ids(column)) for called, column in zip("QI", ids, strict=True)]
        sizes = [len(column) for column in ids]
        by_ids = [(ids[0][query], ids[1][item], grade) for query, item, grade in rows]
        true = as_relevance(rows, *sizes)
        path.write_bytes(written(by_ids))
        found = open_relevance(path, *sides, by="ids")
        assert as_relevance(found.pairs, *sizes) == true
        assert len(found.notes) == 1
        assert found.notes[0].startswith(f"relevance: {len(rows)} pair")
        assert " by id" in found.notes[0]
        assert as_relevance(relevance_by_ids(by_ids, *ids), *sizes) == true
        path.write_bytes(written(rows))
        for pairs in (load_relevance(path), open_relevance(path, *(side._replace(ids=None) for side in sides)).pairs):
            assert as_relevance(pairs, *sizes) == true

    law()


# -- mistakes ---------------------------------------------------------------------------------------------------------

QUERIES, ITEMS = Side("QUERIES", 3, as_ids(["q1", "q2", "q3"])), Side("EMBEDDINGS", 4, as_ids(["a", "b", "c d", "e"]))
NUMBERED = Side("QUERIES", 3, as_ids([2, 0, 9])), Side("EMBEDDINGS", 4, as_ids([3, 2, 1, 70]))
WITHOUT = Side("QUERIES", 3, None), Side("EMBEDDINGS", 4, None)


def read(tmp_path, content, sides=(QUERIES, ITEMS), by=None, name="pairs.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = open_relevance(path, *sides, by)
    return found.pairs.tolist(), found.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1 a 1\nq2 b\n", "expected 3 columns as in the first line, got 'q2 b' in line 2"),
        ("\n\nq1\nq2\n", "expected a query, an item and optionally a grade, or .* got 'q1' in line 3"),
        ("q1 Q0 a 1 0.5 run\n", "expected a query, an item .* qrels, got 'q1 Q0 a 1 0.5 run' in line 1"),
        ("query item grade\nq1 a high\n", "expected an integer grade, got 'high' in line 2"),
        ("q1 a 1\nq1 b 1.5\n", "expected an integer grade, got '1.5' in line 2"),
        ("q1 a nan\nq1 b 1\n", "expected an integer grade, got 'nan' in line 1"),
        (
            "q1 a high\nq1 b 1\n",
            "expected names of columns or a pair with an integer grade, got the ids 'q1' and 'a' in",
        ),
        ("q1 0 a 1\nq1 7 b 1\n", "expected 0 or Q0 in the second of four columns .* in line 2"),
        ("q1,a,1\nq1,,1\n", "expected a query and an item, got 'q1  1' in line 2"),
        ("q1 a 1\nq1 b -1\n", "expected the grade from 0 to 2147483647, got -1 in line 2"),
        ("q1 a 1\nq1 b 2147483648\n", "expected the grade from 0 to .*, got 2147483648 in line 2"),
        ("q1 a 1\n\nq1 b 1\nq1 a 1\n", "expected each pair once, got q1 and a again in line 4"),
        ("q1 0 a 0\nq2 0 a -3\n", "expected at least one pair with a grade above 0, got none"),
        ("x a 1\nq1 y 1\n", "got none in 2: the first is 'x' and 'a' in line 1; ids of both are known, but never in"),
        (
            "q1 x\nq2 y\n",
            "got none in 2: the first is 'q1' and 'x' in line 1; ids of queries are known, but none .* E",
        ),
        ("x a\ny b\n", "got none in 2: the first is 'x' and 'a' in line 1; ids of items are known, but none .* QU"),
        ("", "expected at least one pair with a grade above 0, got none"),
        ("q1 0 a\n", "expected pairs below the names of the columns, got 'q1 0 a' in line 1"),
        ("q1;a;1\n", "got 'q1;a;1' in line 1; separate columns by tabs, commas or spaces"),
        ('q1,"a"b,1\n', "expected a row of fields, got .* in line 1; write a field with quotes"),
        ("q1 x,a b\n", "got lines with commas and spaces; separate them by tabs, or name the file .csv"),
        (b"q1 a 1\nq1 \xff 1\n", "expected text in UTF-8, got byte 0xff in line 2"),
        ("q1 a 1\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04", "got a file of format zip"),
    ],
)
def test_bad_files_are_named_with_the_line(content, message, tmp_path):
    with pytest.raises(CompressaeError, match=rf"^{re.escape(str(tmp_path))}.pairs\.txt: .*{message}"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.npy", array([[0.5, 1]]), "expected integers or strings, got float64"),
        ("p.npy", array([["q1", "a", "b", "1"]]), "expected columns query, item and perhaps grade, got shape"),
        ("p.npy", array([["q1", "a", "1"], ["q1", "b", "x"]]), "expected an integer grade, got 'x' in row 1"),
        ("p.npy", array([["q1", "a"], ["q1", "a"]]), "expected each pair once, got q1 and a again in row 1"),
        ("p.jsonl", b'{"query": "q1", "item": null}', "item: expected integers or strings, got None in row 0"),
        (
            "p.jsonl",
            b'{"a": 1, "b": 2, "c": 3, "d": 4}',
            "expected columns query, item and perhaps grade, got 'a', 'b'",
        ),
    ],
)
def test_bad_arrays_and_tables_are_named_with_the_row(name, content, message, tmp_path):
    with pytest.raises(CompressaeError, match=rf"p\.\w+: {message}"):
        read(tmp_path, content, name=name)


def test_what_is_ignored_or_changed_is_said(tmp_path):
    pairs, notes = read(tmp_path, "q1\ta\t1\nq9\tb\t1\nq2\tx y\t1\nq3\tc d\t2\n")
    assert pairs == [[0, 0, 1], [2, 2, 2]]
    assert notes == [
        "relevance: 4 pairs by id",
        "relevance: 1 of 4 pairs name queries that are not in QUERIES, and are ignored: the first is 'q9' in line 2",
        "relevance: 1 of 4 pairs name items that are not in EMBEDDINGS, and are ignored: the first is 'x y' in line 3",
    ]
    pairs, notes = read(tmp_path, "q1 0 a 1\nq1 0 b -2\nq2 Q0 b 0\n")
    assert pairs == [[0, 0, 1], [0, 1, 0], [1, 1, 0]]
    assert notes[1:] == ["relevance: 1 of 3 grades are below 0 and count as 0 (not relevant)"]
    pairs, notes = read(tmp_path, "topic doc weight\nq1 a 1\n")
    assert notes == ["relevance: 1 pair by id (columns topic, doc, weight)"]
    with pytest.raises(CompressaeError, match="got 5 in line 3"):
        read(tmp_path, "query item\n0 1\n2 5\n", WITHOUT)


@pytest.mark.parametrize(
    ("sides", "by", "content", "expected"),
    [
        (WITHOUT, None, "0 1\n2 3\n", [[0, 1, 1], [2, 3, 1]]),
        (WITHOUT, None, "left right\n2 3\n", [[2, 3, 1]]),
        (
            WITHOUT,
            None,
            "q1 a\n",
            "expected row numbers .* got 'q1' in line 1; pairs by id need ids of both files, and Q",
        ),
        (WITHOUT, "ids", "0 1\n", "expected QUERIES with ids for pairs by id, got a file without ids"),
        ((QUERIES, WITHOUT[1]), None, "q1 0\n", "row numbers .*, got 'q1' in line 1; .*, and EMBEDDINGS has none"),
        ((QUERIES, WITHOUT[1]), None, "1 0\n", [[1, 0, 1]]),
        ((QUERIES, ITEMS), None, "1 0\n", [[1, 0, 1]]),
        ((QUERIES, ITEMS), None, "1 9\n", "expected pairs of ids of QUERIES and EMBEDDINGS, got none in 1: "),
        ((QUERIES, ITEMS), "rows", "1 9\n", "expected the item from 0 to 3, got 9 in line 1"),
        ((QUERIES, ITEMS), "ids", "1 0\n", "expected pairs of ids of QUERIES and EMBEDDINGS, got none in 1: "),
        (NUMBERED, None, "2 3\n9 70\n", [[0, 0, 1], [2, 3, 1]]),
        (
            NUMBERED,
            None,
            "2 3\n1 1\n",
            "may be both: 1 of 2 name ids, and all are row numbers; choose with --relevance-by",
        ),
        (NUMBERED, "rows", "2 3\n1 1\n", [[2, 3, 1], [1, 1, 1]]),
        (NUMBERED, "ids", "2 3\n1 1\n", [[0, 0, 1]]),
        (NUMBERED, None, "1 0\n", [[1, 0, 1]]),
        ((Side("Q", 3, as_ids([0, 1, 2])), Side("I", 4, as_ids([0, 1, 2, 3]))), None, "2 3\n", [[2, 3, 1]]),
    ],
)
def test_pairs_are_ids_if_both_files_have_ids_and_ambiguous_pairs_are_refused(sides, by, content, expected, tmp_path):
    if isinstance(expected, str):
        with pytest.raises(CompressaeError, match=expected):
            read(tmp_path, content, sides, by)
        return
    pairs, notes = read(tmp_path, content, sides, by)
    assert pairs == expected
    by_row = not any("by id" in note for note in notes)
    assert by_row == ("by row number" in notes[0])


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("q1", "a"), ("q1", "x")], {}, "expected ids of the rows, got 'x' in row 1; unknown=\"ignore\""),
        ([("q1", "x")], {"unknown": "ignore"}, "expected at least one pair of known ids"),
        ([("q1", "a"), ("q1", "a", 2)], {}, "expected each pair once, got 'q1' and 'a' again in row 1"),
        (["qa"], {}, "expected the id of a query, the id of an item and perhaps a grade, got 'qa' in row 0"),
        ([("q1", 1.5)], {}, "expected 64-bit integers or strings, got 1.5"),
        ([("q1", "a", 1.5)], {}, "grade: expected an integer of at least 0, got 1.5"),
        ([("q1", "a")], {"unknown": "skip"}, "unknown: expected 'error' or 'ignore', got 'skip'"),
    ],
)
def test_bad_pairs_of_ids_are_named(pairs, options, message):
    with pytest.raises(CompressaeError, match=message):
        relevance_by_ids(pairs, ["q1", "q2"], ["a", "b"], **options)


def test_unknown_ids_are_left_out_on_request():
    found = relevance_by_ids([("q1", "x"), ("q2", "b", 3)], ["q1", "q2"], ["a", "b"], unknown="ignore")
    assert found.tolist() == [[1, 1, 3]]


# -- the commands -----------------------------------------------------------------------------------------------------


def test_commands_take_pairs_by_id_as_by_row_number(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8), np.float32)
    save_model(tmp_path / "m.npz", Model(init_params(8, 16, rng, init="tied"), 4))
    names = {"items": [f"sku {row}" for row in range(50)], "queries": [f"q{row}" for row in range(10)]}
    np.savez(tmp_path / "items.npz", embeddings=x[:50], ids=names["items"])
    np.savez(tmp_path / "queries.npz", embeddings=x[50:], ids=names["queries"])
    rows = [(row % 10, row * 7 % 50, row % 3 + 1) for row in range(30)]
    (tmp_path / "rows.txt").write_bytes(lines(rows, " "))
    ids = [(names["queries"][query], names["items"][item], grade) for query, item, grade in rows]
    (tmp_path / "ids.tsv").write_bytes(lines([*ids, ("q1", "gone", 1)], "\t", [BEIR]))
    files = [str(tmp_path / name) for name in ("m.npz", "items.npz", "queries.npz")]
    tables = []
    for name in ("rows.txt", "ids.tsv"):
        assert main(["evaluate", *files, "--top", "5", "--json", "--relevance", str(tmp_path / name)]) == 0
        out, err = capsys.readouterr()
        tables.append(json.loads(out))
    assert tables[0] == tables[1]
    assert all(0 <= row["ndcg"] <= 1 for row in tables[0])
    assert "relevance: 31 pairs by id (columns query-id, corpus-id, score)" in err
    assert "1 of 31 pairs name items that are not in EMBEDDINGS, and are ignored: the first is 'gone' in line 32" in err
    related = [(row, row + 25) for row in range(25)]
    (tmp_path / "rows.txt").write_bytes(lines(related, " "))
    (tmp_path / "ids.tsv").write_bytes(lines([[names["items"][row] for row in pair] for pair in related], "\t"))
    start = ["train", files[1], "--steps", "3", "--n-latents", "16", "--k", "4", "--relevance-weight", "0.5", "-o"]
    for name in ("rows.txt", "ids.tsv"):
        assert main([*start, str(tmp_path / f"{name}.npz"), "--relevance", str(tmp_path / name)]) == 0
    assert "relevance: 25 pairs by id" in capsys.readouterr().err
    models = [load_model(tmp_path / f"{name}.npz") for name in ("rows.txt", "ids.tsv")]
    assert models[0].digest == models[1].digest
    assert models[0].training["relevance"] > 0
    (tmp_path / "ids.tsv").write_bytes(b"sku 1\tsku 2\nsku 1\tgone\nsku 3\tsku 3\n")
    assert main([*start, str(tmp_path / "other.npz"), "--relevance", str(tmp_path / "ids.tsv")]) == 1
    assert "ids.tsv: expected two different rows, got one row twice in line 3" in capsys.readouterr().err
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.parametrize(
    ("ids", "by", "content", "expected", "note"),
    [
        (
            None,
            None,
            "0 sku-7 1\n2 sku-1 3\n",
            {0: {"sku-7": 1}, 2: {"sku-1": 3}},
            "queries by row number, items by id",
        ),
        (["a", "b", "c"], None, "query,item\nc,9\nx,8\n", {2: {"9": 1}}, "not in QUERIES"),
        (["2", "1", "0"], None, "0 9\n", {2: {"9": 1}}, "queries by id"),
        (["2", "1", "0"], "rows", "0 9\n", {0: {"9": 1}}, "queries by row number"),
        (["a", "b", "c"], None, "1 0 9 -1\n2 0 9 1\n", {2: {"9": 1}}, "queries by row number"),
    ],
)
def test_pairs_with_the_ids_of_a_store(ids, by, content, expected, note, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    found, notes = open_store_relevance(path, Side("QUERIES", 3, None if ids is None else np.array(ids)), by)
    assert found == expected
    assert note in " ".join(notes)


@pytest.mark.parametrize(
    ("by", "content", "message"),
    [
        (None, "0 9\n3 9\n", "row number of a query from 0 to 2, got '3' in line 2"),
        (None, "a 9\n", "row number of a query from 0 to 2, got 'a' in line 1"),
        ("ids", "0 9\n", "expected QUERIES with ids"),
        (None, "0 9\n0 9\n", "each pair once"),
    ],
)
def test_bad_pairs_with_the_ids_of_a_store_are_named(by, content, message, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    with pytest.raises(CompressaeError, match=re.escape(message)):
        open_store_relevance(path, Side("QUERIES", 3, None), by)
