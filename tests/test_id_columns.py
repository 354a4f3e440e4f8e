"""The law of the column of ids: one rule in all formats with columns, and it says what it found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compressae_ref import Model, init_params, load_model, save_codes, save_model
from compressae_ref.cli.main import main
from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.files.codes_file import load_ids
from compressae_ref.files.foreign import id_columns
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.id_columns import LONGEST, are_ids, says_ids
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.safetensors import write_tensors
from compressae_ref.files.npz import Pieces

N, D = 6, 4
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)

# -- columns: their values, and whether they qualify in a table and in an archive of arrays ----------------------------

UNIQUE, TEXTS = [7, 3, -5, 2**40, 0, 1], ["b", "a", "007", "é", "x y", "C"]
COLUMNS = {
    "product_id": (TEXTS, True, True),
    "ProductID": (UNIQUE, True, True),
    "skus": (UNIQUE, True, True),
    "image url": (TEXTS, True, True),
    "name": (TEXTS, True, True),
    "rows": (UNIQUE, True, False),
    "title": (TEXTS, True, False),
    "constant": ([5] * N, False, False),
    "twice": ([1, 2, 3, 4, 1, 6], False, False),
    "price": ([1.5, 2.0, 3.25, 4.0, 5.0, 6.0], False, False),
    "price_paid": ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False, False),
    "null": (["a", None, "c", "d", "e", "f"], False, False),
    "some_number": ([1, None, 3, 4, 5, 6], False, False),
    "body": (["x" * LONGEST + f"{row}" for row in range(N)], False, False),
}
WRONG = {
    "constant_id": ([5] * N, "expected unique ids, got 5 of row 0 again in row 1"),
    "sku": (["a", "b", "b", "c", "d", "a"], "expected unique ids, got 'b' of row 1 again in row 2"),
    "null_id": (["a", None, "c", "d", "e", "f"], "expected 64-bit integers or strings, got None"),
    "some_number_id": ([1, None, 3, 4, 5, 6], "expected 64-bit integers or strings, got None"),
    "price_id": ([1.5, 2.0, 3.25, 4.0, 5.0, 6.0], "expected 64-bit integers or strings, got 1.5"),
    "flag_key": ([True, False] * 3, "expected 64-bit integers or strings, got True"),
}
"""Columns whose names say that they hold ids, and why they do not"""

TABLES, TEXT, ARCHIVES = ("parquet", "arrow"), ("csv", "tsv", "jsonl"), ("npz", "hdf5", "safetensors")

WHY_NONE = "not exactly one column has a different integer or string in each row"


def written(path, columns):
    """Write embeddings and columns in a format. Return False if the format has no such columns."""
    kind = path.suffix[1:]
    if kind in TABLES:
        pa = pytest.importorskip("pyarrow")
        table = pa.table({**{name: pa.array(values) for name, values in columns.items()}, "embedding": X.tolist()})
        if kind == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=4)
        return True
    if kind in TEXT:
        return write_text(path, columns)
    if any(value is None for values in columns.values() for value in values):
        return False
    arrays = {name: np.array(values) for name, values in columns.items()}
    if kind == "npz":
        np.savez(path, embeddings=X, **arrays)
    elif kind == "hdf5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["embeddings"] = X
            for name, array in arrays.items():
                file[name] = array.tolist() if array.dtype.kind == "U" else array
    elif any(array.dtype.kind in "Ub" for array in arrays.values()):
        return False
    else:
        with path.open("wb") as file:
            all_of_them = {**arrays, "embeddings": X}
            write_tensors(
                file, {name: Pieces(array.shape, array.dtype, [array]) for name, array in all_of_them.items()}, {}
            )
    return True


def write_text(path, columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] or [{}] * N
    if path.suffix == ".jsonl":
        lines = [json.dumps({**row, "embedding": x.tolist()}) for row, x in zip(rows, X, strict=True)]
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        names = [*columns, *(f"v{j}" for j in range(D))]
        cells = [
            ["" if row[name] is None else f"{row[name]}" for name in columns] + [repr(float(v)) for v in x]
            for row, x in zip(rows, X, strict=True)
        ]
        lines = [separator.join(names), *map(separator.join, cells)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


@pytest.mark.parametrize("kind", [*TABLES, *TEXT, *ARCHIVES])
def test_a_column_alone_is_the_ids_if_it_qualifies(tmp_path, kind):
    for number, (name, (values, in_table, in_archive)) in enumerate(COLUMNS.items()):
        path = tmp_path / f"{number}.{kind}"
        if not written(path, {name: values}):
            continue
        source = open_embeddings(str(path))
        qualifies = in_archive if kind in ARCHIVES else in_table
        assert (source.id_name, source.columns) == (name if qualifies else None, [name]), (kind, name)
        assert (ids_of(source) is None) == (not qualifies)
        assert not qualifies or ids_of(source).tolist() == values
        assert open_embeddings(str(path), ids=False).id_name is None


@example(names=["rows", "title"])
@example(names=["constant", "name", "rows"])
@given(names=st.lists(st.sampled_from([*COLUMNS, "id"]), min_size=1, max_size=5, unique=True))
def test_a_name_decides_and_otherwise_a_column_that_is_the_only_one(tmp_path_factory, names):
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("x") / "x.parquet"
    assert written(path, {name: UNIQUE if name == "id" else COLUMNS[name][0] for name in names})
    say_ids = [name for name in names if name in ("product_id", "ProductID", "skus", "image url")]
    unique = [name for name in names if name in ("rows", "title")]
    by_content = ["name"] if "name" in names else unique if len(unique) == 1 else []
    expected = next(iter([*(["id"] if "id" in names else []), *say_ids, *by_content]), None)
    assert open_embeddings(str(path)).id_name == expected


@pytest.mark.parametrize("kind", [*TABLES, *TEXT, *ARCHIVES])
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("others", [{}, {"stock": UNIQUE}, {"stock": UNIQUE, "uuid": TEXTS}])
def test_no_column_is_taken_in_place_of_one_that_says_it_holds_ids(here, capsys, kind, name, others):
    values, words = WRONG[name]
    if kind in ("csv", "tsv") and name in ("price_id", "flag_key"):
        return  # there, numbers and words are strings; flag_key repeats
    if not written(here / f"x.{kind}", {name: values, **others}):
        return
    x = f"x.{kind}"
    before = sorted(here.iterdir())
    for command in (["encode", "m.npz", x], ["convert", x]):
        (line,) = run(capsys, *command, "-q", "-o", "y.npz", code=1)
        assert line.startswith(f"compressae-ref: {x}: {name}: {words}")
        assert line.endswith("or choose a column with --ids ::NAME or none with --ids none (encode, convert)")
    save_codes("c.npz", load_model("m.npz").encode(X, backend="numpy"))
    (line,) = run(capsys, "search", "m.npz", "c.npz", x, "-q", code=1)
    assert line.startswith(f"compressae-ref: {x}: {name}: {words}")
    (here / "c.npz").unlink()
    assert sorted(here.iterdir()) == before
    assert main(["inspect", x]) == 0
    out = capsys.readouterr().out
    assert f"{'why no ids':<30} {name}: {words}" in out
    assert main(["encode", "m.npz", x, "--ids", "none", "-o", "y.npz", "--backend", "numpy"]) == 0
    assert load_ids("y.npz", N) is None


def test_inspect_names_the_columns_where_no_name_decides(here, capsys):
    written(here / "x.csv", {"stock": UNIQUE, "weight": TEXTS})
    assert main(["inspect", "x.csv"]) == 0
    assert f"{'why no ids':<30} {WHY_NONE}; columns: stock, weight" in capsys.readouterr().out
    np.save("x.npy", X)
    assert main(["inspect", "x.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["why_no_ids"] == "the file has no column beside the embeddings"
    written(here / "x.csv", {"id": UNIQUE, "_id": UNIQUE})
    assert main(["inspect", "x.csv"]) == 0
    assert "expected one entry of ids, got id and _id" in capsys.readouterr().out


def test_words_that_end_like_ids_say_nothing():
    for name in ("key", "SKU", "itemUuid", "guid", "asin", "isbn", "url", "doi", "code", "handle", "slugs", "docid"):
        assert says_ids(name), name
    for name in ("paid", "is_valid", "android", "grid", "monkey", "name", "identity", "code_of", "basin"):
        assert not says_ids(name), name


values = st.one_of(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40), st.lists(st.text(max_size=3), max_size=40))


@given(values, st.integers(1, 7))
def test_a_column_qualifies_if_and_only_if_its_values_differ(items, size):
    def blocks():
        return (items[start : start + size] for start in range(0, len(items), size))

    assert are_ids(blocks(), len(items)) == (len(set(items)) == len(items))
    assert not are_ids(blocks(), len(items) + 1)


def test_a_column_that_repeats_early_is_not_read_to_its_end():
    assert not are_ids((pytest.fail("read on") if block else [1, 1] for block in range(2)), 4)


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_shards_have_one_column_of_ids(tmp_path, kind):
    columns = {"a_key": [1, 2, 3, 4, 5, 6], "product_id": UNIQUE}
    assert written(tmp_path / f"0.{kind}", columns)
    assert written(tmp_path / f"1.{kind}", {**columns, "product_id": [item + 100 for item in UNIQUE]})
    with pytest.raises(CompressaeError, match="a_key: expected unique ids, got 1 of row 0 again in row 6"):
        ids_of(open_embeddings(str(tmp_path)))
    assert written(tmp_path / f"1.{kind}", {**columns, "a_key": [7, 8, 9, 10, 11, 12]})
    source = open_embeddings(str(tmp_path))
    assert source.id_name == "a_key"
    assert ids_of(source).tolist() == [*range(1, 7), *range(7, 13)]
    assert written(tmp_path / f"2.{kind}", {"title": TEXTS})
    with pytest.raises(FormatError, match=f"2.{kind}: expected ids in a_key as in .*0.{kind}, got none"):
        open_embeddings(str(tmp_path))


@pytest.mark.parametrize("kind", ["parquet", "npz"])
@pytest.mark.parametrize("again", [True, False])
def test_a_column_of_shards_qualifies_if_it_does_in_all_of_them_together(tmp_path, kind, again):
    assert written(tmp_path / f"0.{kind}", {"name": UNIQUE})
    assert written(tmp_path / f"1.{kind}", {"name": [item + (0 if again else 100) for item in UNIQUE]})
    assert open_embeddings(str(tmp_path)).id_name == (None if again else "name")


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model("m.npz", Model(init_params(D, 12, np.random.default_rng(1)), 3))
    return tmp_path


ENCODE = ("encode", "m.npz", "x.parquet", "-o", "c.npz", "--backend", "numpy")


def run(capsys, *words, code=0):
    assert main([*words]) == code
    return capsys.readouterr().err.splitlines()


def test_encode_names_the_column_or_says_which_there_are(here, capsys):
    pytest.importorskip("pyarrow")
    columns = {"price": COLUMNS["price"][0], "product_id": TEXTS, "twice": [1, 2, 3, 4, 1, 6]}
    written(here / "x.parquet", columns)
    assert run(capsys, *ENCODE)[0] == "x.parquet: ids: column product_id"
    assert load_ids("c.npz", N).tolist() == TEXTS
    assert run(capsys, *ENCODE, "--ids", "none") == ["c.npz: 6 codes, k 3 of 12 latents"]
    for option in (("--id-column", "twice"), ("--ids", "::twice")):
        (line,) = run(capsys, *ENCODE, *option, code=1)
        assert "x.parquet: twice: expected unique ids, got 1 of row 0 again in row 4; remove one" in line
    del columns["product_id"]
    written(here / "x.parquet", columns)
    assert (
        run(capsys, *ENCODE)[0] == f"x.parquet: no ids: {WHY_NONE}; columns: price, twice; --id-column NAME chooses one"
    )
    assert load_ids("c.npz", N) is None
    (line,) = run(capsys, *ENCODE, "--ids", "none", "--id-column", "price", code=1)
    assert "expected no --id-column with --ids, got both" in line
    assert run(capsys, "convert", "x.parquet", "-o", "y.npz", "--id-column", "price", code=1)[0].startswith(
        "compressae-ref: x.parquet: price: expected 64-bit integers or strings"
    )


@pytest.mark.parametrize(
    "command", ["encode m.npz x.parquet", "convert x.parquet", "pack c.parquet", "convert c.parquet"]
)
def test_repeated_ids_are_told_with_both_rows_and_what_to_do_before_any_work(here, capsys, command):
    pa = pytest.importorskip("pyarrow")
    ids = ["a", "b", "c", "b", "a", "f"]
    written(here / "x.parquet", {"id": ids})
    codes = pa.table({"id": ids, "indices": [[0, 1]] * N, "values": [[1.0, 2.0]] * N})
    codes = codes.replace_schema_metadata({"compressae": '{"n_latents": 12}'})
    pytest.importorskip("pyarrow.parquet").write_table(codes, here / "c.parquet")
    (line,) = run(capsys, *command.split(), "-o", "y.npz", code=1)
    expected = (
        ".parquet: id: expected unique ids, got 'b' of row 1 again in row 3; remove one of the two rows, or correct"
    )
    assert expected in line
    assert line.endswith("with --ids none (encode, convert)") == (not command.startswith("pack"))
    assert not (here / "y.npz").exists()


# -- ids of queries ---------------------------------------------------------------------------------------------------


def searched(capsys, queries, *options, code=0):
    capsys.readouterr()
    assert main(["search", "m.npz", "c.npz", queries, "--top", "2", "--backend", "numpy", *options]) == code
    return capsys.readouterr()


@pytest.fixture
def codes(here):
    save_codes("c.npz", load_model("m.npz").encode(X, backend="numpy"), np.arange(100, 100 + N))
    return here


def without_ids(capsys, queries):
    """The results of queries without their ids, as JSON and as text."""
    out, err = searched(capsys, queries, "--query-ids", "none", "--json")
    assert err == ""
    assert all(set(json.loads(line)) == {"query", "ids", "scores"} for line in out.splitlines())
    text = searched(capsys, queries, "--query-ids", "none").out
    return [json.loads(line) for line in out.splitlines()], text.splitlines()


@pytest.mark.parametrize("kind", [*TABLES, *TEXT, *ARCHIVES])
@pytest.mark.parametrize(("name", "ids"), [("id", UNIQUE), ("query_id", UNIQUE), ("query_id", TEXTS)])
def test_the_results_of_a_query_name_its_id(codes, capsys, kind, name, ids):
    if not written(codes / f"q.{kind}", {name: ids}):
        pytest.skip("the format has no strings")
    objects, lines = without_ids(capsys, f"q.{kind}")
    out, err = searched(capsys, f"q.{kind}", "--json")
    assert err == f"q.{kind}: ids: column {name}\n"
    assert [json.loads(line) for line in out.splitlines()] == [
        {"query": row, "id": ids[row], **result} for row, result in enumerate(objects)
    ]
    expected = [f"{row}\t{ids[row]}\t{line.partition(chr(9))[2]}" for row, line in enumerate(lines)]
    assert searched(capsys, f"q.{kind}").out.splitlines() == expected


def test_the_ids_of_queries_are_chosen_like_those_of_items(codes, capsys):
    pytest.importorskip("pyarrow")
    written(codes / "q.parquet", {"id": [1, 1, 2, 3, 4, 5], "sku": TEXTS})
    (line,) = searched(capsys, "q.parquet", code=1).err.splitlines()
    assert "q.parquet: id: expected unique ids, got 1 of row 0 again in row 1; remove one of the two rows" in line
    assert line.endswith("or choose a column with --query-ids ::NAME or none with --query-ids none (search)")
    out, err = searched(capsys, "q.parquet", "--query-ids", "::sku", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == TEXTS
    assert err == "q.parquet: ids: column sku\n"
    (codes / "names.txt").write_text("\n".join(f"q{row}" for row in range(N)))
    out, err = searched(capsys, "q.parquet", "--query-ids", "names.txt")
    assert [line.split("\t")[:2] for line in out.splitlines()] == [[f"{row}", f"q{row}"] for row in range(N)]
    assert err == ""
    written(codes / "two.parquet", {"id": UNIQUE, "_id": UNIQUE})
    (line,) = searched(capsys, "two.parquet", code=1).err.splitlines()
    assert line.endswith("expected one entry of ids, got id and _id; choose one with --query-ids ::id (search)")
    written(codes / "no.parquet", {"price": COLUMNS["price"][0]})
    out, err = searched(capsys, "no.parquet")
    assert out.splitlines() == without_ids(capsys, "no.parquet")[1]
    assert err == f"no.parquet: no ids: {WHY_NONE}; columns: price; --query-ids ::NAME chooses one\n"


def test_the_id_of_a_query_stays_with_its_row_when_rows_of_zeros_are_left_out(codes, capsys):
    x = X.copy()
    x[[0, 3]] = 0
    np.savez("q.npz", embeddings=x, ids=np.array(UNIQUE))
    out, err = searched(capsys, "q.npz", "--zero-rows", "skip", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(line["query"], line["id"]) for line in found] == [(row, UNIQUE[row]) for row in (1, 2, 4, 5)]
    assert err.splitlines() == ["q.npz: 2 zero rows left out", "q.npz: ids: column ids"]


def test_each_shown_hit_names_the_id_of_its_query(codes, capsys):
    written(codes / "q.csv", {"query_id": ["a\tb", *TEXTS[1:]]})
    written(codes / "items.csv", {"id": range(100, 100 + N), "title": TEXTS})
    out, _ = searched(capsys, "q.csv", "--items", "items.csv", "--show", "title")
    assert len(out.splitlines()) == 2 * N
    for place, line in enumerate(out.splitlines()):
        row, name, item, _, title = line.split("\t")
        assert (row, name) == (f"{place // 2}", "a\\tb" if place < 2 else TEXTS[place // 2])
        assert title == TEXTS[int(item) - 100]


def test_pack_tells_the_bytes_of_ids(here, capsys):
    pytest.importorskip("pyarrow")
    written(here / "x.parquet", {"product_id": TEXTS})
    run(capsys, *ENCODE)
    line = run(capsys, "pack", "c.npz", "-o", "p.npz", "--backend", "numpy")[-1]
    size = sum(len(text.encode()) + 4 for text in TEXTS) / N  # UTF-8, and the length of each
    file = (here / "p.npz").stat().st_size
    assert line == f"p.npz: ids: {size:.1f} bytes each; file: {file:,} bytes, {file / N:.1f} a row"


def test_training_does_not_look_for_ids(here, monkeypatch):
    pytest.importorskip("pyarrow")
    written(here / "x.parquet", {"product_id": TEXTS})
    monkeypatch.setattr(id_columns, "are_ids", lambda *_, **__: pytest.fail("looked for ids"))
    settings = ["--n-latents", "8", "--k", "2", "--steps", "2", "--backend", "numpy", "--validation-rows", "1"]
    assert main(["train", "x.parquet", "-o", "n.npz", *settings]) == 0


def test_a_report_names_the_columns_of_ids(codes, capsys):
    written(codes / "q.csv", {"query_id": TEXTS})
    written(codes / "x.csv", {"group_id": [1, 1, 2, 2, 3, 3], "sku": TEXTS})
    words = ("report", "m.npz", "x.csv", "q.csv", "-o", "r.html", "--json", "--backend", "numpy")
    (line,) = run(capsys, *words, code=1)
    assert "x.csv: group_id: expected unique ids, got 1 of row 0 again in row 1" in line
    assert "--ids ::NAME" in line
    (line,) = run(capsys, *words, "--ids", "names.txt", code=1)
    assert "expected ::NAME or none, got 'names.txt'" in line
    assert not (codes / "r.html").exists()
    assert main([*words, "--id-column", "sku"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[:2] == [
        "x.csv: ids: column sku",
        "q.csv: ids: column query_id",
    ]
    shown = {query["id"] for query in json.loads(out)["searches"]}
    assert shown
    assert shown <= {*TEXTS}
    assert main([*words, "--ids", "none", "--query-ids", "none"]) == 0
    out, _ = capsys.readouterr()
    assert {query["id"] for query in json.loads(out)["searches"]} <= {*range(N), None}
