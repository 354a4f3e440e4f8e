"""The command ``segments``, with good input and with every kind of bad input."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressae_ref import DomainError, Segments, fit, load_codes, load_model, save_codes, save_model
from compressae_ref.cli import demo_segments
from compressae_ref.cli.main import main
from compressae_ref.demo_data import load_demo_data
from compressae_ref.files import atomic_write
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.segments import trends
from compressae_ref.segments.page.html import page
from compressae_ref.segments.terminal import lines
from tests.conftest import HAS

N = 400
COLUMNS = ("text", "date", "site", "views")
ALL = "--texts {table} --time date --site site --weight views"
LEAST = ("--min-items", "2")
Row = dict[str, Any]


def table_of(names: list[str]) -> list[Row]:
    """Rows that are dated over eight years, at three sites."""
    return [
        {"text": name, "date": f"{2010 + i // 50}-05-{1 + i % 28:02d}", "site": f"site {i % 3}", "views": i % 7}
        for i, name in enumerate(names)
    ]


def write_csv(path: Path, rows: list[Row], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([list(rows[0]) if rows else COLUMNS, *([*row.values()] for row in rows)])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> SimpleNamespace:
    """Embeddings, a model, its codes, codes of another model, and a table of texts, dates, sites and views."""
    folder, data = tmp_path_factory.mktemp("good"), load_demo_data()
    names = "x.npy", "model.npz", "codes.npz", "other.npz", "table.csv"
    files = SimpleNamespace(**{name.split(".")[0]: folder / name for name in names})
    x = data.items[:N].astype(np.float32)
    np.save(files.x, x)
    models = [fit(x, serve="segments", n_latents=64, k=4, steps=60, batch_size=64, seed=seed).model for seed in (0, 1)]
    save_model(files.model, models[0])
    for path, model in zip((files.codes, files.other), models, strict=True):
        save_codes(path, model.encode(x))
    files.rows = table_of(data.item_names[:N])
    write_csv(files.table, files.rows)
    return files


@pytest.fixture
def ran(files, capsys, tmp_path):
    """Run the command on files by name; returns its exit code, standard output and standard error."""

    def ran(line: str, **places: Path) -> tuple[int, str, str]:
        places = {**vars(files), "out": tmp_path / "report.html", **places}
        code = main(["segments", *(word.format(**places) for word in line.split()), *LEAST])
        return code, *capsys.readouterr()

    return ran


@pytest.fixture
def facts_of(ran):
    def facts_of(line: str, **places: Path) -> dict[str, Any]:
        code, out, err = ran(f"{line} --json", **places)
        assert code == 0, err
        return json.loads(out, parse_constant=pytest.fail)

    return facts_of


# -- good input --------------------------------------------------------------------------------------------------------


def built(files) -> Segments:
    segments = Segments.build(load_codes(files.codes), model=load_model(files.model), min_items=2)
    segments.over_time(
        np.array([row["date"] for row in files.rows]),
        weights=[row["views"] for row in files.rows],
        sites=[row["site"] for row in files.rows],
    )
    segments.name([row["text"] for row in files.rows])
    return segments


def test_the_command_gives_what_the_class_does(files, ran, facts_of, tmp_path):
    expected = built(files).facts("table.csv")
    facts = facts_of(f"{{model}} {{x}} {ALL}")
    assert facts == json.loads(json.dumps(expected))
    assert facts["bins"]["unit"] == "year"
    assert facts_of(f"{{model}} {{codes}} {ALL}") == facts
    code, out, err = ran(f"{{model}} {{x}} {ALL} -o {{out}}")
    assert (code, out) == (0, "\n".join(lines(expected)) + "\n")
    assert err == f"{tmp_path / 'report.html'}: {len(facts['segments'])} segments of 400 items\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(expected)


@pytest.mark.parametrize("kind", ["tsv", "jsonl", *["parquet"] * HAS["pyarrow"]])
def test_columns_of_any_format_give_the_same(files, facts_of, tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(files.rows), path)
    elif kind == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in files.rows), encoding="utf-8")
    else:
        write_csv(path, files.rows, "\t")
    other = facts_of(f"{{model}} {{codes}} {ALL} --title t", table=path)
    assert other == facts_of(f"{{model}} {{codes}} {ALL} --title t")


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("", ()),
        ("--texts {table}", ("names",)),
        ("--texts {table} --method log-odds", ("names",)),
        ("--texts {table} --time date --bin quarter", ("names", "bins")),
        ("--texts {table} --time date --site site --assign all --threshold 0.5", ("names", "bins", "sites")),
        ("--texts {table} --time date --weight views --assign top --top 2", ("names", "bins", "weighted")),
    ],
)
def test_each_argument_adds_its_part(facts_of, line, has):
    facts = facts_of(f"{{model}} {{codes}} {line}")
    segments = facts["segments"]
    assert any(segment["named_by"] for segment in segments) == ("names" in has)
    assert bool(facts["bins"]) == all(segment["trend"] is not None for segment in segments) == ("bins" in has)
    assert (bool(facts["sites"]), facts["weighted"]) == ("sites" in has, "weighted" in has)


def test_skipped_rows_are_no_items_and_empty_ones_are_in_no_segment(files, ran, facts_of, tmp_path):
    x, lost = np.load(files.x), [0, 7, 399]
    x[lost] = 0
    np.save(tmp_path / "zeros.npy", x)
    np.save(tmp_path / "left.npy", np.delete(x, lost, axis=0))
    left = write_csv(tmp_path / "left.csv", [row for i, row in enumerate(files.rows) if i not in lost])
    line, zeros = f"{{model}} {{x}} {ALL} --title t", tmp_path / "zeros.npy"
    skipped, alone = facts_of(f"{line} --zero-rows skip", x=zeros), facts_of(line, x=tmp_path / "left.npy", table=left)
    numbers = np.delete(np.arange(N), lost).tolist()
    strongest = [[segment["strongest"] for segment in facts["segments"]] for facts in (skipped, alone)]
    assert [[item["row"] for item in own] for own in strongest[0]] == [
        [numbers[item["row"]] for item in own] for own in strongest[1]
    ]
    assert "zero" not in json.dumps(skipped)
    for facts in (skipped, alone):
        del facts["segments"]
    assert skipped == alone
    empty = facts_of(f"{line} --zero-rows empty --assign all", x=zeros)
    assert (empty["items"], empty["unassigned"]) == (N, 3)
    assert ran(f"{line} --zero-rows empty", x=zeros)[2] == f"{zeros}: 3 of 400 items in no segment\n"
    code, _, err = ran(line, x=zeros)
    assert (code, f"{zeros}: expected nonzero rows, got a zero row in row 0" in err) == (1, True)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda row, i: {**row, "text": "" if i == 3 else "?!" if i == 9 else row["text"]}, "2 of 400 texts without"),
        (
            lambda row, i: {**row, "site": "alone" if i == 5 else row["site"]},
            "1 of 4 sites with a single item, such as",
        ),
        (lambda row, i: {**row, "site": "one"}, "site: all items have the site 'one', so"),
    ],
)
def test_what_could_not_be_used_is_told_in_one_line(files, ran, tmp_path, change, note):
    table = write_csv(tmp_path / "t.csv", [change(row, i) for i, row in enumerate(files.rows)])
    code, _, err = ran(f"{{model}} {{codes}} {ALL}", table=table)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"{table}: ")
    assert note in err


# -- bad input ---------------------------------------------------------------------------------------------------------


def in_row(number: int, **values: Any) -> Callable[[list[Row]], list[Row]]:
    """Change values of one row."""
    return lambda rows: [{**row, **values} if i == number else row for i, row in enumerate(rows)]


def everywhere(**values: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{**row, **{name: str(value).format(i) for name, value in values.items()}} for i, row in
                         enumerate(rows)]  # fmt: skip


TABLES: dict[str, tuple[Callable[[list[Row]], list[Row]], tuple[str, ...]]] = {
    "a row too few": (lambda rows: rows[1:], ("expected 400 rows", "got 399")),
    "a row too many": (lambda rows: [*rows, rows[0]], ("expected 400 rows", "got 401")),
    "no rows": (lambda rows: [], ("expected 400 rows", "got 0")),
    **{
        f"no column {name}": (
            lambda rows, name=name: [{k: v for k, v in row.items() if k != name} for row in rows],
            (f"'{name}'" if name != "text" else "a column text", *(other for other in COLUMNS if other != name)),
        )
        for name in COLUMNS
    },
    "times that are none": (in_row(7, date="soon"), ("date", "'soon'", "row 7")),
    "no time": (in_row(7, date=""), ("date", "''", "row 7")),
    "a day that is none": (in_row(7, date="2020-02-30"), ("date", "'2020-02-30'", "row 7")),
    "a time with a zone": (in_row(7, date="2012-01-01T00:00Z"), ("date", "no zone", "row 7", "append the zone")),
    "seconds": (everywhere(date="158000000{}"), ("date", "row 0", "1580000000")),
    "all items in one bin": (everywhere(date="2020-05-01"), ("date", "at least 2 bins", "--bin")),
    "one bin has all weight": (lambda rows: [*in_row(9, views=1)(everywhere(views=0)(rows))], ("date", "2 bins")),
    "too many bins": (lambda rows: in_row(0, date="0001-01-01")(in_row(1, date="9999-01-01")(rows)),
                      ("date", "at most 10,000 bins", "--bin")),
    "NaN weights": (in_row(5, views="nan"), ("views", "'nan'", "row 5")),
    "infinite weights": (in_row(5, views="1e999"), ("views", "inf", "row 5")),
    "negative weights": (in_row(5, views=-1), ("views", "-1", "row 5")),
    "weights that are none": (in_row(5, views="many"), ("views", "'many'", "row 5")),
    "weights of 0": (everywhere(views=0), ("views", "above 0")),
    "sites of one item": (everywhere(site="site {}"), ("site", "single one for 400 of 400", "row 0")),
    "no site": (in_row(5, site=""), ("site", "name of a site", "row 5")),
    "no words": (everywhere(text=""), ("text", "texts with words")),
    "no letters": (everywhere(text="{} ?!"), ("text", "texts with words")),
}  # fmt: skip


@pytest.fixture
def refused(ran, tmp_path):
    """Exit code 1, one line with these words, no results, and the folder as it was."""

    def refused(line: str, *words: str, **places: Path) -> None:
        before = sorted(path.name for path in tmp_path.iterdir())
        code, out, err = ran(f"{line} -o {{out}}" if "-o " not in line else line, **places)
        assert (code, out) == (1, ""), err
        assert err.startswith("compressae-ref: ")
        assert err.count("\n") == 1
        assert [word for word in words if word not in err] == [], err
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    return refused


@pytest.mark.parametrize("name", TABLES)
def test_bad_tables_are_refused_by_column_row_and_value(files, refused, tmp_path, name):
    change, words = TABLES[name]
    table = write_csv(tmp_path / "bad.csv", change(files.rows))
    bins = "--bin day" if name == "too many bins" else ""
    refused(f"{{model}} {{codes}} {ALL} {bins}", str(table), *words, table=table)


FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "codes of another model": (f"{{model}} {{other}} {ALL}", ("other.npz", "codes of model")),
    "a model as embeddings": (f"{{model}} {{model}} {ALL}", ("model.npz", "embeddings or codes")),
    "embeddings as a model": (f"{{x}} {{x}} {ALL}", ("x.npy", "a model")),
    "codes as a model": ("{codes} {x}", ("codes.npz", "expected a model, got codes")),
    "embeddings as a table": ("{model} {x} --texts {x}", ("x.npy", "a table")),
    "a model as a table": ("{model} {codes} --texts {model}", ("model.npz", "a table")),
    "an absent table": ("{model} {codes} --texts absent.csv", ("absent.csv", "No such file")),
    "an absent model": ("absent.npz {x}", ("absent.npz", "No such file")),
    "the table as output": ("{model} {x} --texts {table} -o {table}", ("table.csv", "same file")),
    "the embeddings as output": ("{model} {x} -o {x}", ("x.npy", "same file")),
    "no such folder": ("{model} {x} -o absent/report.html", ("absent", "folder")),
    "large segments alone": ("{model} {codes} --min-items 401", ("at least 401 items", "smaller")),
    "years in one century": (f"{{model}} {{codes}} {ALL} --bin century", ("table.csv: date", "2 bins", "--bin")),
    "a time for sites": ("{model} {codes} --texts {table} --site site", ("--time", "alone")),
    "texts for times": ("{model} {codes} --time date", ("--texts", "alone")),
    "top without it": ("{model} {codes} --top 2", ("--assign top", "dominant")),
    "a threshold without it": ("{model} {codes} --assign top --threshold 0.5", ("--assign all", "top")),
    "a threshold above 1": ("{model} {codes} --assign all --threshold 2", ("threshold", "2")),
    "a backend for codes": ("{model} {codes} --backend numpy", ("--backend", "codes")),
    "zero rows of codes": ("{model} {codes} --zero-rows skip", ("--zero-rows", "codes")),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_and_options_are_refused(files, ran, capsys, tmp_path, monkeypatch, name):
    line, words = FILES[name]
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in files.x.parent.iterdir()}
    arguments = [word.format(**vars(files)) for word in f"{line} {'' if '-o' in line else '-o report.html'}".split()]
    assert main(["segments", *(() if "--min-items" in line else LEAST), *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:16]) == ("", 1, "compressae-ref: ")
    assert [word for word in words if word not in err] == [], err
    assert list(tmp_path.iterdir()) == []
    assert {path: path.read_bytes() for path in files.x.parent.iterdir()} == before


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("kind", ["embeddings", "codes"])
def test_fewer_than_two_items_are_refused(files, refused, tmp_path, kind, n):
    x, table = tmp_path / "few.npz", write_csv(tmp_path / "few.csv", files.rows[:n])
    if kind == "codes":
        save_codes(x, load_codes(files.codes)[:n])
    else:
        np.savez(x, np.load(files.x)[:n])
    refused(f"{{model}} {{x}} {ALL}", "few.npz", "at least", x=x, table=table)


def test_a_site_for_each_of_100_000_items_is_refused(files, refused, tmp_path):
    codes = load_codes(files.codes)
    save_codes(tmp_path / "many.npz", type(codes).concatenate([codes] * 250))
    many = [{"text": "a b", "date": 1900 + i // 1000, "site": i // 2, "views": 1} for i in range(100_000)]
    table = write_csv(tmp_path / "many.csv", many)
    refused(
        f"{{model}} {{x}} {ALL}", f"{table}: site: ", "1,000 sites, got 50,000", x=tmp_path / "many.npz", table=table
    )
    table = write_csv(tmp_path / "many.csv", everywhere(site="{}")(many))
    refused(f"{{model}} {{x}} {ALL}", f"{table}: site: ", "1,000 sites", x=tmp_path / "many.npz", table=table)


@pytest.mark.parametrize("place", [(Segments, "build"), (Segments, "name"), (atomic_write, "_finish")])
def test_an_interrupted_command_leaves_no_file(ran, tmp_path, monkeypatch, place):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, interrupt)
    code, out, err = ran(f"{{model}} {{codes}} {ALL} -o {{out}}")
    assert (code, out, err) == (130, "", "compressae-ref: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_changes_while_it_is_read_is_refused(files, refused, tmp_path, monkeypatch):
    table, name = write_csv(tmp_path / "t.csv", files.rows), Segments.name

    def shorten_then_name(*arguments, **options):
        write_csv(table, files.rows[:-5])
        return name(*arguments, **options)

    monkeypatch.setattr(Segments, "name", shorten_then_name)
    assert open_table(table).n == N
    refused(f"{{model}} {{codes}} {ALL}", str(table), "pass before", table=table)


@pytest.mark.parametrize("show", ["facts", "trends", "spikes", "report"])
def test_times_in_one_bin_have_no_trends(files, tmp_path, show):
    segments = Segments.build(load_codes(files.codes), min_items=2)
    segments.over_time(["2020-05-01"] * N)
    with pytest.raises(DomainError, match=r"times: expected items in at least 2 bins of time, got 1; .*smaller bins"):
        getattr(segments, show)(*[tmp_path / "report.html"] * (show == "report"))
    assert list(tmp_path.iterdir()) == []


def test_a_new_item_that_needs_too_many_bins_changes_nothing(files):
    segments, codes = Segments.build(load_codes(files.codes), min_items=2), load_codes(files.codes)
    counts = segments.over_time([f"2020-05-{1 + i % 28:02d}" for i in range(N)], bin="day").counts
    before = counts.items.copy()
    with pytest.raises(DomainError, match=r"times: expected at most 10,000 bins, got [\d,]+; choose larger"):
        segments.update(codes[:1], times=["2120-01-01"])
    assert np.array_equal(counts.items, before)
    assert (counts.n, segments.n) == (N, N)


# -- demo --segments ---------------------------------------------------------------------------------------------------


def test_the_demo_shows_what_rose_and_fell_and_writes_one_page(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_segments, "fit", lambda *arguments, **settings: fit(*arguments, steps=150, **settings))
    assert main(["demo", "--segments"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for shown in ("9,335 paragraphs", r"24 decades \(1790s to 2020s\), 7 sites", "What rose most",
                  "What fell or is gone", "What came and went", "falling 1790s–1830s .* france",
                  "peak 1840s–1850s .* mexico",
                  "The page compressae_segments.html shows all"):  # fmt: skip
        assert re.search(shown, out), f"{shown} is not in\n{out}"
    assert [path.name for path in tmp_path.iterdir()] == ["compressae_segments.html"]
    document = (tmp_path / "compressae_segments.html").read_text(encoding="utf-8")
    assert document.startswith("<!DOCTYPE html>")
    assert "Democratic" in document


# -- many bins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 7, 24, 61])
def test_windows_are_those_of_the_rule(count):
    """The list is made without a square array; here the rule is applied to all pairs of ends (R37)."""
    lengths = {1}
    while (longest := max(lengths)) < count:
        lengths.add(longest + max(1, longest // 4))
    pairs = [(start, stop) for start in range(count) for stop in range(start + 1, count + 1)]
    at_ends = {(start, stop) for start, stop in pairs if (start == 0) != (stop == count)}
    inside = {(start, stop) for start, stop in pairs if start > 0 and stop < count and stop - start in lengths}
    assert [*zip(*(ends.tolist() for ends in trends.windows(count)), strict=True)] == sorted(at_ends | inside)


def test_trends_do_not_depend_on_how_many_segments_are_compared_at_a_time(files, monkeypatch):
    segments = built(files)
    expected = repr(segments.trends())
    monkeypatch.setattr(trends, "CELLS_PER_BLOCK", 1)
    assert repr(segments.trends()) == expected


# -- any input ---------------------------------------------------------------------------------------------------------

TEXTS = ("war and peace", "战争与和平", "<script>alert(1)</script>", "\x1b[31mred\u202e", "x" * 9999, "")
TIMES = ("2020", "2020-05-01", "1790-01-08", "0001-01-01", "9999-12-31", "2020-05-01T10:00Z", "soon")
VALUES = {
    "text": st.sampled_from(TEXTS),
    "date": st.sampled_from(6 * TIMES[:3] + TIMES),
    "site": st.sampled_from([*3 * ("a", "b", "c", "<b>", "\x07"), ""]),
    "views": st.sampled_from([*3 * ("0", "1", "7.5", "1e12", "1e-12"), "1e308", "1e-308", "-1", "nan"]),
}
KINDS = st.fixed_dictionaries(
    {name: st.lists(values, min_size=2, max_size=3, unique=True) for name, values in VALUES.items()}
)
OPTIONS = st.tuples(
    st.sampled_from(["", "--time date", "--time date --site site", "--time date --weight views",
                     "--time date --site site --weight views", "--time date --bin day"]),
    st.sampled_from(["", "--assign top", "--assign all", "--method log-odds", "--min-items 1"]),
    st.sampled_from(["--zero-rows skip", "--zero-rows empty", ""]),
)  # fmt: skip


@pytest.mark.filterwarnings("error")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KINDS, OPTIONS, st.sampled_from([120, 60, 60, 3, 1, 0]), st.booleans())
def test_any_table_gives_finite_facts_or_one_line(files, tmp_path, kinds, options, n, zero):
    x, columns = np.load(files.x)[:n], [*kinds]
    if zero:
        x[: n // 3] = 0
    np.save(tmp_path / "x.npy", x)
    rows = [{name: kinds[name][row % len(kinds[name])] for name in columns} for row in range(n)]
    table, page_file = write_csv(tmp_path / "t.csv", rows), tmp_path / "report.html"
    line = ["--texts", table, "--text", "text", "--json", "-o", page_file, "--backend", "numpy", "--min-items", "2"]
    out, err = io.StringIO(), io.StringIO()
    page_file.unlink(missing_ok=True)
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["segments", *map(str, (files.model, tmp_path / "x.npy", *line)), *" ".join(options).split()])
    errors = [each for each in err.getvalue().splitlines() if each.startswith("compressae-ref: ")]
    assert (code, len(errors), page_file.exists()) in ((0, 0, True), (1, 1, False)), err.getvalue()
    assert "unexpected" not in err.getvalue()
    if code == 0:
        json.loads(out.getvalue(), parse_constant=pytest.fail)
