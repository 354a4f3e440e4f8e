"""The report about a model: its facts, its page, and that page in a real browser."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import nullcontext
from itertools import cycle, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Model, encode_refined, fit, save_model
from compressae_ref.backends import get_backend
from compressae_ref.cli.main import main
from compressae_ref.evaluation import encoded_items
from compressae_ref.evaluation.encoded_items import EncodedItems
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.evaluation.report.facts import LATENTS, QUERIES, STRONGEST, TOP, Rows, facts
from compressae_ref.evaluation.report.html import page
from compressae_ref.page.plot import LABEL_HEIGHT, Axis, Line, label_tops, plot
from compressae_ref.page.text import clean
from tests.browser import needs_browser
from tests.test_report import HOSTILE, Structure

N, D = 240, 12
WORDS = ["".join(pair) for pair in zip("bdfghklm", "aeiouaei", strict=True)]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    of = rng.integers(0, 8, N)
    x = (rng.standard_normal((8, D))[of] + 0.4 * rng.standard_normal((N, D))).astype(np.float32)
    texts = [f"{WORDS[group]} {WORDS[group]}{row % 7} item" for row, group in enumerate(of.tolist())]
    model = fit(x, n_latents=64, k=8, steps=60, batch_size=32, seed=0).model
    return model, x[:200], x[200:], texts


def made(data, *, texts=True, relevance=True, ids=True, change=lambda text: text):
    model, items, queries, written = data
    written = [change(text) for text in written]
    pairs = [[q, q] for q in range(len(queries))] if relevance else None
    encoded = list[EncodedItems]()
    rows = evaluate(model, items, queries, bits=[5], tops=(10, 100), relevance=pairs, hand_over=encoded.append)
    own = Rows(
        items,
        np.arange(len(items)),
        np.array([change(f"id{row}") for row in range(len(items))]) if ids else None,
        written[:200] if texts else None,
    )
    asked = Rows(queries, np.arange(len(queries)), None, written[200:] if texts else None)
    return facts("A report", model, own, asked, rows, *encoded, stage=lambda what: nullcontext())


STATES = {
    "all there is": {},
    "no texts": {"texts": False},
    "row numbers": {"texts": False, "ids": False},
    "no relevance": {"relevance": False},
}


def test_the_facts_are_those_of_the_data(data):
    model, items, queries, texts = data
    found = made(data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    codes = model.encode(items)
    leads = np.abs(codes.values).argmax(axis=1)
    rows = np.arange(len(codes))
    latents, signs = codes.indices[rows, leads], np.sign(codes.values[rows, leads])
    assert 0 < len(found["strongest"]) <= LATENTS
    for latent in found["strongest"]:
        own = np.flatnonzero((latents == latent["latent"]) & (signs == latent["sign"]))
        shown = [item["row"] for item in latent["items"]]
        assert 0 < len(shown) <= STRONGEST
        assert set(shown) <= set(own.tolist()) | set(rows.tolist())
        assert [item["text"] for item in latent["items"]] == [texts[row] for row in shown]
        assert [item["id"] for item in latent["items"]] == [f"id{row}" for row in shown]
        strengths = [item["strength"] for item in latent["items"]]
        assert strengths == sorted(strengths, reverse=True)
    assert len(found["searches"]) == QUERIES
    for query in found["searches"]:
        assert query["text"] == texts[200 + query["row"]]
        cosines = items @ queries[query["row"]] / np.linalg.norm(items, axis=1)
        dense = [hit["row"] for hit in query["dense"]]
        assert dense == np.argsort(-cosines)[:TOP].tolist()
        for name in ("dense", "refined", "sparse"):
            assert [hit["kept"] for hit in query[name]] == [hit["row"] in dense for hit in query[name]]
    assert found["usage"]["items"] == sorted(found["usage"]["items"], reverse=True)


@pytest.mark.parametrize("name", STATES)
def test_whatever_is_missing_is_left_out(data, name):
    document = page(made(data, **STATES[name]))
    for value in ("None", "nan", "inf", "()", "null", "undefined"):
        assert not re.search(rf"[>\s]{re.escape(value)}[<\s,.]", document.partition("<script")[0]), value
    assert ("nDCG@10</span>" in document) == (name != "no relevance")
    assert bool(re.search(r"\bid\d", document.partition("</style>")[2])) == (name != "row numbers")


def test_the_same_facts_give_the_same_file_which_refers_to_nothing(data):
    found = made(data)
    document = page(found)
    assert document == page(json.loads(json.dumps(found)))
    assert not re.findall(r"//(?!www\.w3\.org/2000/svg)[\w.]+|\bsrc\s*=|@import|url\(|\beval\b|\son\w+=", document)
    assert "unsafe" not in document
    assert " style=" not in document


@pytest.mark.parametrize("first", range(len(HOSTILE)))
def test_hostile_texts_are_shown_as_text(data, first):
    hostile = cycle([*HOSTILE[first:], *HOSTILE[:first]])
    document = page(made(data, change=lambda text: f"{text} {next(hostile)}"))
    assert clean(document.replace("\n", " ")) == document.replace("\n", " ")
    assert document.count("<script") == document.count("</script") == 1
    assert not [found for found in Structure(document).found if found[0] in ("img", "iframe", "comment")]


# -- plots ------------------------------------------------------------------------------------------------------------

SHARES = Axis("", 0, 1, ())


@given(st.lists(st.floats(0, 1), max_size=12))
def test_labels_are_near_their_lines_and_do_not_overlap(ends):
    tops = label_tops([Line("", [(0, end)]) for end in ends], SHARES)
    ordered = sorted(tops)
    assert all(-1e-9 <= top <= 1 + 1e-9 for top in tops)
    assert all(b - a >= LABEL_HEIGHT - 1e-9 for a, b in pairwise(ordered))
    if len(ends) == 1:
        assert tops == [1 - ends[0]]


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_places_keep_the_order_of_values(low, high, value, logarithmic):
    low, high = sorted((low, high))
    axis = Axis("", low, high, (), logarithmic=logarithmic)
    assert 0 <= axis.place(value) <= 1
    assert axis.place(value) <= axis.place(2 * value)
    if low < high:
        assert (axis.place(low), axis.place(high)) == (0, 1)


def test_a_plot_draws_each_point_where_it_is():
    figure, style = plot("p", [Line("line", [(1, 0.25), (4, 1)])], Axis("", 1, 16, (1, 16), logarithmic=True), SHARES)
    assert 'd="M0.0 375.0L500.0 0.0"' in figure
    assert "#p-l0{left:50.00%;top:0.00%}" in style


# -- the browser ------------------------------------------------------------------------------------------------------


@needs_browser
@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_a_word_and_fits_each_window(data, opened_page, name, scheme):
    found = made(data, **STATES[name])
    with opened_page(page(found), scheme=scheme) as report:
        report.open_all()
        for width in (320, 390, 768, 1280):
            report.tab.set_viewport_size({"width": width, "height": 800})
            assert report.width() <= width
        assert report.tab.locator(".part").count() == len(found["strongest"])
        assert report.tab.locator("svg").count() == 2 + bool(found["history"])
        dark = report.tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")


@needs_browser
def test_the_table_sorts_and_the_latents_are_filtered(data, opened_page):
    found = made(data)
    with opened_page(page(found)) as report:
        report.tab.get_by_role("button", name="recall@100").click()
        shown = [float(text.split()[0]) for text in report.column(7)]
        assert shown == sorted(shown, reverse=True)
        report.tab.get_by_role("button", name="recall@100").click()
        assert [float(text.split()[0]) for text in report.column(7)] == shown[::-1] or len(set(shown)) < len(shown)
        word = found["strongest"][0]["items"][0]["text"].split()[0]
        report.tab.get_by_label("Search").fill(word.upper())
        left = report.tab.locator(".part:visible").count()
        assert 0 < left < len(found["strongest"])
        assert report.tab.get_by_role("status").text_content() == f"{left} of {len(found['strongest'])} latents"


@needs_browser
def test_without_scripts_the_page_can_be_read(data, opened_page):
    found = made(data)
    with opened_page(page(found), scripts=False) as report:
        assert report.tab.locator("form:visible").count() == 0
        assert report.tab.locator("svg:visible").count() == 2 + bool(found["history"])


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(data, tmp_path, monkeypatch):
    model, items, queries, texts = data
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", model)
    np.save("items.npy", items)
    np.save("queries.npy", queries)
    (tmp_path / "items.csv").write_text("name\n" + "\n".join(texts[:200]) + "\n")
    (tmp_path / "queries.csv").write_text("name\n" + "\n".join(texts[200:]) + "\n")
    return tmp_path


def test_the_command_writes_the_page_of_its_facts(files, data, capsys):
    line = "report model.npz items.npy queries.npy -o r.html --texts items.csv --query-texts queries.csv --json"
    assert main(line.split()) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (files / "r.html").read_text(encoding="utf-8") == page(found)
    assert found["searches"][0]["text"].startswith(data[3][200].split()[0])
    assert err.startswith("r.html: ")


@pytest.mark.parametrize(("ks", "encodings"), [([], {8: 1}), (["--k", "16"], {16: 1}), (["--k", "2"], {2: 1, 8: 1})])
def test_the_items_are_encoded_and_refined_once(files, monkeypatch, ks, encodings):
    """The page shows codes of the model's k = 8."""
    encoded, refined = list[int](), list[int]()

    def encode(self, x, k=None, *, original=Model.encode, **how):
        encoded.extend([k] if len(x) == 200 else [])
        return original(self, x, k, **how)

    def refining(original):
        return lambda *args, **how: refined.append(args[-1]) or original(*args, **how)

    monkeypatch.setattr(Model, "encode", encode)
    for name in ("refine", "encode_refined"):
        monkeypatch.setattr(encoded_items, name, refining(getattr(encoded_items, name)))
    assert main(["report", "model.npz", "items.npy", "queries.npy", "-o", "r.html", *ks]) == 0
    assert Counter(encoded) == encodings
    assert sorted(refined) == sorted({8, *(map(int, ks[1:]) if ks else (4, 2))})


@pytest.mark.parametrize("k", [1, 3, 8, 11])
@pytest.mark.parametrize("longest", [1, 4, 32, 64])
def test_codes_of_any_encoding_are_those_of_encoding_each(data, k, longest):
    model, items, *_ = data
    encoded = EncodedItems(model, items, longest, get_backend("numpy"))
    for made, expected in (
        (encoded.codes(k), model.encode(items, k)),
        (encoded.refined(k), encode_refined(items, model, k)),
    ):
        np.testing.assert_array_equal(made.indices, expected.indices)
        np.testing.assert_array_equal(made.values, expected.values)


@pytest.mark.parametrize("zeros", [0, 3])
def test_drawn_queries_are_no_items_and_rows_are_those_of_the_file(files, capsys, zeros):
    x = np.load("items.npy")
    x[:zeros] = 0
    np.save("items.npy", x)
    assert (
        main(
            [
                "report",
                "model.npz",
                "items.npy",
                "-o",
                "r.html",
                "--texts",
                "items.csv",
                "--zero-rows",
                "skip",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    texts = (files / "items.csv").read_text().splitlines()[1:]
    shown = [item for latent in found["strongest"] for item in latent["items"]]
    shown += [hit for query in found["searches"] for name in ("dense", "sparse") for hit in query[name]]
    assert all(item["text"] == texts[item["row"]] for item in shown)
    assert {item["row"] for item in shown}.isdisjoint({query["row"] for query in found["searches"]} | set(range(zeros)))
    assert found["items"] + found["queries"] == 200 - zeros


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        ("report model.npz items.npy -o r.html --texts queries.csv", "expected 200 rows"),
        ("report model.npz items.npy -o r.html --text name", "expected --texts with --text"),
        ("report model.npz items.npy -o r.html --query-texts queries.csv", "expected QUERIES with --query-texts"),
        ("report model.npz items.npy queries.npy -o r.html --seed 3", "expected no --seed with QUERIES"),
        ("report model.npz items.npy -o items.npy", "got the same file"),
        ("report items.npy items.npy -o r.html", "items.npy"),
        ("report model.npz items.npy -o none/r.html", "the output folder does not exist"),
        ("report model.npz items.npy -o r.html --texts items.csv --text title", "expected a column 'title'"),
    ],
)
def test_what_cannot_be_reported_is_one_line(files, capsys, line, mention):
    before = sorted(files.iterdir())
    assert main(line.split()) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert mention in err
    assert sorted(files.iterdir()) == before
