"""Search results with columns of the items: the same values from every table, by ids or by row, or one line."""

from __future__ import annotations

import json
import os
from datetime import date

import numpy as np
import pytest

from compressae_ref import Model, init_params, save_codes, save_model
from compressae_ref.cli import shown_columns
from compressae_ref.cli.main import main
from compressae_ref.cli.shown_columns import cut
from tests.conftest import HAS
from tests.test_columns import write_table

N, D, H, K, TOP = 12, 8, 24, 3, 4
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), K)
KINDS = ["csv", "tsv", "jsonl", "csv.gz", *(["parquet", "arrow"] if HAS["pyarrow"] else [])]
TABLE = {
    "title": [f"Title, {row} of «{N}»\t\x1b[1m\n" for row in range(N)],
    "sku": [f"k{row:03d}" for row in range(N)],
    "price": [row + 0.5 for row in range(N)],
    "day": [date(2024, 1, 1 + row) for row in range(N)],
}
IDS = {"strings": TABLE["sku"], "integers": [*range(100, 100 + N)], "none": None}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model("m.npz", MODEL)
    np.save("q.npy", X[:3])
    return tmp_path


def table(path, kind, **columns):
    columns = {**TABLE, **columns}
    if kind.startswith("tsv"):
        columns["title"] = [text.replace("\t", " ") for text in columns["title"]]
    write_table(path, kind.removesuffix(".gz"), columns)
    return columns


def search(capsys, *options, codes="c.npz", code=0):
    capsys.readouterr()
    words = ("search", "m.npz", codes, "q.npy", "--top", f"{TOP}", "--backend", "numpy", *options)
    assert main([*words]) == code
    return capsys.readouterr()


def hits(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ids", IDS)
def test_each_hit_has_the_values_of_its_row(here, capsys, kind, ids):
    save_codes("c.npz", MODEL.encode(X, backend="numpy"), IDS[ids])
    own = {"sku": IDS["integers"]} if ids == "integers" else {}
    items = f"items.{kind}"
    columns = table(here / items, kind, **own)
    plain = hits(search(capsys, "--json").out)
    out, err = search(capsys, "--json", "--items", items, "--show", "title", "--show", "price,day")
    assert err == ("" if ids == "none" else f"{items}: ids: column sku\n")
    for before, hit in zip(plain, hits(out), strict=True):
        shown = hit.pop("show")
        assert hit == before
        assert list(shown) == ["title", "price", "day"]
        rows = [item if IDS[ids] is None else IDS[ids].index(item) for item in hit["ids"]]
        assert shown["title"] == [columns["title"][row] for row in rows]
        assert [float(price) for price in shown["price"]] == [columns["price"][row] for row in rows]
        assert shown["day"] == [str(columns["day"][row]) for row in rows]
    lines = search(capsys, "--items", items, "--show", "title").out.split("\n")
    assert len(lines) == 3 * TOP + 1
    assert all(line.count("\t") == 3 and "\x1b" not in line for line in lines[:-1])
    query, item, score, title = lines[0].split("\t")
    assert (query, item, score) == ("0", str(plain[0]["ids"][0]), f"{plain[0]['scores'][0]:.6f}")
    assert title.startswith("Title, 0 of «12»")
    assert title.endswith("\\x1b[1m\\n")


WRONG = {
    "an unknown column": ({}, ["--show", "name"], "items.csv: expected a column 'name', got title, sku, price, day"),
    "a missing id": ({"sku": [f"z{row}" for row in range(N)]}, [], "items.csv: sku: expected the id 'k00"),
    "an id twice": ({"sku": ["k000"] * N}, ["--id-column", "sku"], "expected unique ids, got 'k000' of row 0 again"),
    "ids of others": ({"sku": ["a"] * N, "stock": [*range(N)]}, [], "items.csv: sku: expected the id 'k00"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_table_that_does_not_fit_is_refused_in_one_line(here, capsys, name):
    columns, options, words = WRONG[name]
    save_codes("c.npz", MODEL.encode(X, backend="numpy"), TABLE["sku"])
    table(here / "items.csv", "csv", **columns)
    out, err = search(capsys, "--items", "items.csv", "--show", "title", *options, code=1)
    assert out == ""
    assert words in err.splitlines()[-1]


def test_a_table_whose_columns_all_repeat_needs_a_chosen_one(here, capsys):
    save_codes("c.npz", MODEL.encode(X, backend="numpy"), TABLE["sku"])
    write_table(here / "items.csv", "csv", {"title": ["a"] * N, "day": ["a"] * N})
    _, err = search(capsys, "--items", "items.csv", "--show", "title", code=1)
    assert "expected a column with the ids of CODES, got title, day; choose it with --id-column" in err


def test_without_ids_the_table_has_a_row_for_each_code(here, capsys):
    save_codes("c.npz", MODEL.encode(X[:-1], backend="numpy"))
    table(here / "items.csv", "csv")
    _, err = search(capsys, "--items", "items.csv", "--show", "title", code=1)
    assert "items.csv: expected 11 rows, one for each item, got 12" in err


def test_texts_are_cut_to_the_width_of_a_terminal_only(here, capsys, monkeypatch):
    save_codes("c.npz", MODEL.encode(X, backend="numpy"))
    table(here / "items.jsonl", "jsonl", title=["字" * 200] * N)
    options = ("--items", "items.jsonl", "--show", "title,sku")
    assert search(capsys, *options).out.count("字" * 200) == 3 * TOP
    monkeypatch.setattr(shown_columns.shutil, "get_terminal_size", lambda: os.terminal_size((60, 20)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = search(capsys, *options).out
    assert "…" in out
    for line in out.splitlines():
        assert sum(2 if letter == "字" else 1 for letter in line.expandtabs()) <= 60 + 8
    assert [cut("字字a", width) for width in (2, 3, 4, 5)] == ["…", "字…", "字…", "字字a"]
