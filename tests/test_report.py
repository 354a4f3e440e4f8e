"""The report about segments: one HTML file, opened in a real browser, and the lines of the terminal."""

from __future__ import annotations

import copy
import json
import re
import sys
import unicodedata
from html import unescape
from html.parser import HTMLParser
from importlib import resources

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compressae_ref import page as page_room
from compressae_ref.page.text import clean, number, percent, safe
from compressae_ref.segments.page.chart import axis_of, chart
from compressae_ref.segments.page.html import BYTES, page
from compressae_ref.segments.terminal import BLOCKS, WIDTH, lines
from compressae_ref.segments.wording import came_and_went, fallen, risen, shares, times
from tests.report_facts import CLASSES, DECADES, facts

STYLE = resources.files(page_room).joinpath("page.css").read_text(encoding="utf-8")
STATES = {
    "all there is": {},
    "weights": {"weighted": True},
    "many bins": {"bins": 200},
    "one bin": {"bins": 1},
    "no times": {"bins": 0},
    "no sites": {"sites": 0},
    "no texts": {"texts": False},
    "no model": {"model": False},
    "one segment": {"n": 1},
    "no segment": {"n": 0},
    "nothing but codes": {"bins": 0, "sites": 0, "texts": False, "model": False},
}


def state(name: str) -> dict:
    how = {"n": 12, **STATES[name]}
    made = facts(**how)
    for segment in made["segments"] if not how.get("texts", True) else []:
        segment |= {"name": None, "named_by": None, "terms": [], "fidelity": None}
    return made


def with_texts(node, change):
    """The same facts with each of their strings changed."""
    if isinstance(node, dict):
        return {key: with_texts(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [with_texts(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


KINDS = [{"rising", "new"}, {"falling", "gone"}, {"peak"}]


class Structure(HTMLParser):
    """Elements with the names of their attributes; without ``bdi``, which isolates what is read from the right."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        if tag != "bdi":
            self.found.append((tag, *(name for name, _ in attrs)))

    def handle_comment(self, data):
        self.found.append("comment")


# -- texts and numbers ------------------------------------------------------------------------------------------------

OBEYED = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_no_text_keeps_a_character_that_is_obeyed():
    left = clean("a".join(map(chr, range(sys.maxunicode + 1))))
    assert {"Cc", "Cs", "Zl", "Zp"}.isdisjoint(map(unicodedata.category, left))
    assert OBEYED.isdisjoint(map(unicodedata.bidirectional, left))
    left.encode()
    assert not set("\u061c\u200b\u200e\u200f\ufeff\uffff") & set(left)
    letters = [chr(at) for at in range(sys.maxunicode + 1) if unicodedata.category(chr(at))[0] in "LMNP"]
    assert set(letters) <= set(left), "names may be in any script"
    assert {"\u200c", "\u200d"} <= set(left), "Persian needs the joiners"
    assert clean("e" + 9 * "\u0301" + "e" + 9 * "\u20dd") == "e" + 3 * "\u0301" + "e" + 3 * "\u20dd"


@given(st.text(max_size=80), st.integers(1, 60))
@example("a" * 10**6, 10)
@example("\u202e" * 10**6 + "a", 10)
def test_a_text_is_one_line_of_at_most_so_many_characters(text, limit):
    line = safe(text, limit)
    assert len(line) <= limit
    assert line == " ".join(line.split())
    whole = " ".join(clean(" ".join(text.split())).split())
    assert line == whole or (line[-1] == "…" and whole.startswith(line[:-1]))
    assert len(whole) <= limit or line != whole


@given(st.floats(1e-6, 1e15), st.booleans(), st.integers(1, 4))
def test_a_number_has_so_many_significant_digits(size, negative, digits):
    value = -size if negative else size
    shown = number(value, digits)
    assert re.fullmatch(r"-?[\d,]+(\.\d+)?", shown)
    assert abs(float(shown.replace(",", "")) - value) <= 0.5000001 * 10.0 ** (1 - digits) * size


def test_numbers_that_mean_nothing_are_dashes():
    assert {show(value) for show in (number, percent, times) for value in (None, float("nan"), float("inf"))} == {"–"}
    assert [percent(share) for share in (0, 3e-7, 0.0123, 0.5, 1)] == ["0%", "<0.01%", "1.2%", "50%", "100%"]
    assert [times(ratio) for ratio in (0.0, 0.125, 4.25, 12.0, 1e9)] == ["0×", "0.12×", "4.2×", "12×", ">1,000×"]


# -- the file ---------------------------------------------------------------------------------------------------------

HOSTILE = [
    "</script><script>window.ran = 1</script>",
    "<img src=http://example.org/x onerror='window.ran = 1'>",
    '" autofocus onfocus=window.ran=1 x="\'',
    "]]>--><!--<style>*{display:none}",
    "&lt;b&gt; &amp;#60;",
    "\u202eright\u2066 to \x00\x1b[31mleft\ud800",
    "הטקסט מימין לשמאל 12",
    "M" * 2000,
    "漢字" * 500,
    "e" + "\u0301" * 3000,
    " \n\t",
]


@settings(max_examples=15)
@given(st.text(max_size=30) | st.text("<>&\"'/=-! ab\ud800\u202e", max_size=30), st.booleans())
def test_texts_never_become_structure(hostile, before):
    def change(text):
        return text if text in CLASSES else hostile + text if before else text + hostile

    made = facts(12, weighted=True)
    changed = page(with_texts(made, change))
    changed.encode()
    assert Structure(changed).found == Structure(page(made)).found


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_shown_as_text(hostile):
    document = page(with_texts(facts(12), lambda text: hostile))
    assert clean(document.replace("\n", " ")) == document.replace("\n", " ")
    assert "<img" not in document
    assert document.count("<script") == document.count("</script") == 3
    assert len(document.encode()) < 400_000


@pytest.mark.parametrize("filled", ["", "א" + 299 * "&"], ids=["latin", "the most bytes"])
def test_500_segments_take_at_most_two_megabytes(filled):
    made = facts(500, sites=5, weighted=True)
    document = page(with_texts(made, lambda text: text if text in (*CLASSES, *DECADES) else filled or text))
    assert len(document.encode()) <= BYTES
    assert filled or "Texts are cut to 60 characters" in document


def test_60_segments_have_texts_of_160_characters():
    made = facts(60)
    shown = made["segments"][5]["strongest"][0]["text"]
    assert len(shown) == 300
    assert f">{shown[:159].rstrip()}…</" in page(made) or f">{shown[:159].rstrip()}…<li" in page(made)


def test_the_same_facts_give_the_same_file_which_refers_to_nothing():
    made = facts(30, weighted=True)
    document = page(copy.deepcopy(made))
    assert document == page(json.loads(json.dumps(made)))
    assert not re.findall(r"//(?!www\.w3\.org/2000/svg)[\w.]+|\bsrc\s*=|@import|url\(|\beval\b|\son\w+=", document)
    policy = unescape(re.search(r'Content-Security-Policy content="([^"]*)"', document)[1])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", STATES)
def test_whatever_is_missing_is_left_out(name):
    made = state(name)
    document = page(made)
    for value in ("None", "nan", "inf", "–×", "()", "null"):
        assert not re.search(rf"[>\s]{re.escape(value)}[<\s,.]", document.partition("<script")[0]), value
    headings = re.findall(r"<h2>(.*?)</h2>", document)
    assert ("What rose most" in headings) == (made["bins"] is not None) == ("<svg" in document or not made["segments"])
    assert ("Strong but overlooked" in headings) == made["weighted"]
    assert (">Weight</" in document) == made["weighted"]
    assert ("there are no trends" in document) == (made["bins"] is None)
    assert all(line.strip() == line.rstrip() or line.startswith("  ") for line in lines(made))


@pytest.mark.parametrize("points", [240, 60, 7, 1])
def test_fewer_bars_hold_the_same_items(points):
    made = facts(6, bins=200)
    axis = json.loads(re.search(r">(.*)</script>", axis_of(made["bins"], points))[1])
    assert len(axis["labels"]) == len(axis["totals"]) <= points
    assert sum(axis["totals"]) == pytest.approx(sum(made["bins"]["totals"]))
    ends = [axis["labels"][0].partition("–")[0], axis["labels"][-1].rpartition("–")[2]]
    assert ends == [made["bins"]["labels"][at] for at in (0, -1)]
    assert (axis["unit"] == "week") == (points == 240)
    for one in made["segments"]:
        drawn = chart(one, made["bins"], points)
        values = [float(value) for value in re.search(r"data-v=\"?([\d. ]+)", drawn)[1].split()]
        assert len(values) == len(axis["labels"])
        assert sum(values) == sum(one["series"])
        assert one["trend"]["class"] == "steady" or int(re.search(r"data-to=(\d+)", drawn)[1]) < len(values)


def test_each_trend_is_in_one_list_and_what_changed_lately_comes_first():
    made = facts(60)
    peaks = [one for one in made["segments"] if one["trend"]["class"] == "peak"]
    peaks[0]["trend"]["to"] = made["bins"]["labels"][-1]
    recovered = next(one["id"] for one in made["segments"] if one["trend"]["class"] == "falling")
    made |= {"rising": [5, peaks[1]["id"], recovered], "falling": [peaks[2]["id"]]}
    listed = risen(made), fallen(made), came_and_went(made)
    assert (listed[0][:3], listed[1][:1]) == (made["rising"], made["falling"])
    by_class = [{one["id"] for one in made["segments"] if one["trend"]["class"] in kinds} for kinds in KINDS]
    assert set(listed[0]) == by_class[0] | set(made["rising"])
    assert set(listed[1]) == by_class[1] - {recovered} | set(made["falling"])
    assert set(listed[2]) == {one["id"] for one in peaks[3:]}, "the first is not over, and two are listed already"
    document = page(made).partition("<section id=overview")[0]
    for ids, title in zip(listed, ("What rose most", "What fell or is gone", "What came and went"), strict=True):
        shown = re.findall(r"<a href=#s(\d+)", document.partition(title)[2].partition("</ol>")[0])
        assert [int(i) for i in shown] == ids[:10]
        clear = [made["segments"][i]["trend"]["z"] for i in ids if i not in made["rising"] + made["falling"]]
        assert clear == sorted(clear, reverse=True)


def test_a_spike_is_one_item_or_a_theme():
    made = facts(6)
    (first, second), text = made["segments"][0]["spikes"], page(made)
    first["one_item"], second["one_item"] = True, False
    first["largest"] |= {"share": 0.82, "z_without": 0.44}
    text = page(made)
    assert f"One item: the largest item (row {first['largest']['row']:,}) holds 82%; without it z is 0.4." in text
    assert f"A theme: the largest item (row {second['largest']['row']:,})" in text


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(*colours: str) -> float:
    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("scheme", "at"), [("light", 0), ("dark", 1), ("print", 2)])
def test_words_and_bars_have_contrast(scheme, at):
    colours = dict(re.findall(r"--(\w+): (#\w+);", STYLE.split(":root {")[at + 1].partition("}")[0]))
    for word in ("text", "quiet", "accent"):
        for ground in ("page", "shade"):
            assert contrast(colours[word], colours[ground]) >= 4.5, (word, ground)
    for bar in ("bar", "accent"):
        for ground in ("page", "window"):
            assert contrast(colours[bar], colours[ground]) >= 3, (bar, ground)


# -- the terminal -----------------------------------------------------------------------------------------------------


def columns(letter: str) -> int:
    return 0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", None])
@pytest.mark.parametrize("hostile", ["", *HOSTILE], ids=range(len(HOSTILE) + 1))
def test_lines_fit_into_100_columns_of_any_terminal(hostile, encoding):
    for name in ("weights", "no times", "nothing but codes", "no segment"):
        shown = state(name)
        made = [line for line in lines(with_texts(shown, lambda text: hostile + text), encoding) if line]
        assert made[1].startswith(f"{shown['items']:,} items in ")
        for line in made:
            assert clean(line) == line
            assert sum(map(columns, line)) <= WIDTH
            line.encode(encoding if encoding == "utf-8" else "ascii")


def test_bars_are_as_high_as_shares():
    made = facts(60)
    drawn = [line for line in lines(made) if line.startswith("  ")]
    for i, line in zip(risen(made)[:10], drawn, strict=False):
        assert made["segments"][i]["name"][:20] in line
        values = shares(made["segments"][i], made["bins"])
        heights = [BLOCKS.index(letter) for letter in line[2 : 2 + len(values)]]
        assert max(heights) == 8
        assert all(abs(8 * value / max(values) - height) < 1 for value, height in zip(values, heights, strict=True))
        assert all((value > 0) == (height > 0) for value, height in zip(values, heights, strict=True))
