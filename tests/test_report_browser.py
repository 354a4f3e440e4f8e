"""The report about segments in a real browser: headless Chromium opens the file from the disk."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest

from compressae_ref.segments.page.html import page
from compressae_ref.segments.wording import by_size
from tests.browser import Opened, needs_browser
from tests.report_facts import facts
from tests.test_report import HOSTILE, state, with_texts

pytestmark = needs_browser

MADE = functools.cache(lambda: facts(24, weighted=True))
"""Facts that no test changes."""


class Report(Opened):
    """A report about segments."""

    def ids(self):
        """The ids of the segments whose rows are shown, in their order; their parts are in the same one."""
        rows = self.tab.locator(".overview tbody tr:visible a").evaluate_all("all => all.map((a) => a.hash.slice(2))")
        shown = "all => all.map((part) => part.querySelector(':scope > div').id.slice(1))"
        assert rows == self.tab.locator(".part:visible").evaluate_all(shown)
        return [int(i) for i in rows]


@pytest.fixture
def opened(opened_page):
    return lambda made, **how: opened_page(page(made), kind=Report, **how)


@pytest.mark.parametrize("name", ["many bins", "one bin", "no times", "nothing but codes", "no segment"])
def test_every_state_opens_without_a_word(opened, name):
    made = state(name)
    with opened(made) as report:
        assert len(report.ids()) == len(made["segments"])
        report.open_all()
        assert report.width() <= 1280


@pytest.mark.parametrize("first", [0, 4, 8])
def test_hostile_texts_do_not_run_and_do_not_widen_the_page(opened, first):
    hostile = itertools.cycle([*HOSTILE[first:], *HOSTILE[:first]])
    with opened(with_texts(facts(13, weighted=True), lambda text: next(hostile))) as report:
        report.open_all()
        for width in (1280, 390):
            report.tab.set_viewport_size({"width": width, "height": 844})
            assert report.width() <= width
        assert report.tab.evaluate("window.ran") is None
        assert report.tab.locator("img, iframe, body style, bdi script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_wide_as_the_window(opened, scheme):
    with opened(MADE(), at="#s0", scheme=scheme) as report:
        dark = report.tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        for width in (320, 390, 768, 1280):
            report.tab.set_viewport_size({"width": width, "height": 800})
            assert report.width() <= width
            assert all(report.column(0)), "no row hides its name"


SORTED_BY = {
    "Segment": lambda one: one["name"],
    "Trend": None,
    "Share over time": lambda one: max(
        range(24), key=lambda at: (one["series"][at] / MADE()["bins"]["totals"][at], -at)
    ),
    "Items": lambda one: -one["items"],
    "Weight": lambda one: -one["weight"],
    "Share": lambda one: -float(f"{one['share']:.1e}"),
    "F1": lambda one: -float(f"{one['fidelity']['f1']:.2f}"),
}


def test_each_column_sorts_the_table_both_ways(opened):
    made = MADE()
    with opened(made) as report:
        by_weight = [one["id"] for one in by_size(made)]
        assert report.ids() == by_weight
        for title, key in SORTED_BY.items():
            heading = report.tab.locator(f"thead th:has(button:text-is('{title}'))")
            heading.get_by_role("button").click()
            first, way = report.ids(), heading.get_attribute("aria-sort")
            heading.get_by_role("button").click()
            assert {way, heading.get_attribute("aria-sort")} == {"ascending", "descending"}
            assert report.tab.locator("[aria-sort]").count() == 1
            if key is None:
                classes = [made["segments"][i]["trend"]["class"] for i in first]
                assert list(dict.fromkeys(classes)) == ["new", "rising", "peak", "steady", "falling", "gone"]
            else:
                keys = [key(made["segments"][i]) for i in first]
                assert keys == sorted(keys), title


def test_filters_count_what_is_left(opened):
    made = copy.deepcopy(MADE())
    made["segments"][5]["terms"][9]["term"] = "Zanzibar"
    made["segments"][9]["name"] = "zanzibar and mombasa"
    made["segments"][20]["borderline"][2]["text"] = "The sultan of ＺＡＮＺＩＢＡＲ"
    assert 9 in [near["id"] for near in made["segments"][8]["neighbours"]]  # whose names are not searched
    with opened(made) as report:
        status, form = report.tab.get_by_role("status"), report.tab.locator("form")
        assert status.text_content() == "24 of 24 segments"

        def check(expected):
            left = [one["id"] for one in by_size(made) if expected(one)]
            assert report.ids() == left
            assert status.text_content() == f"{len(left)} of 24 segments"
            assert 0 < len(left) < 24

        form.get_by_label("Search").fill("ZANZI")
        check(lambda one: one["id"] in (5, 9, 20))
        form.get_by_label("Search").fill("mombasa  zanzibar")
        check(lambda one: one["id"] == 9)
        form.get_by_label("Search").fill("")
        form.get_by_label("Trend").select_option("gone")
        check(lambda one: one["trend"]["class"] == "gone")
        form.get_by_label("Group").select_option(label=made["groups"][4]["name"])
        check(lambda one: one["trend"]["class"] == "gone" and one["group"] == 4)
        form.get_by_role("button", name="Reset").click()
        report.tab.get_by_text("24 of 24 segments").wait_for()
        form.get_by_label("Search").fill("no such word")
        assert status.text_content() == "0 of 24 segments"


def test_links_open_the_part_of_a_segment(opened):
    made = MADE()
    with opened(made, at="#s12") as report:
        part = report.tab.locator("details:has(> #s12)")
        assert part.evaluate("part => part.open")
        assert 0 <= part.evaluate("part => part.getBoundingClientRect().top") < 400
        assert part.locator("h3").text_content() == made["segments"][12]["name"]
        near = made["segments"][12]["neighbours"][0]["id"]
        report.tab.get_by_label("Search").fill(made["segments"][12]["name"])  # hides the neighbour
        part.locator(f"a[href='#s{near}']").first.click()
        other = report.tab.locator(f"details:has(> #s{near})")
        assert other.evaluate("part => part.open && part.checkVisibility()")
        other.locator("summary").first.click()
        assert not other.evaluate("part => part.open")
        part.locator(f"a[href='#s{near}']").first.click()  # the address does not change
        assert other.evaluate("part => part.open")


def test_an_opened_part_has_the_numbers_of_its_chart(opened):
    made = MADE()
    one, bins = made["segments"][7], made["bins"]
    with opened(made, at="#s7") as report:
        numbers = report.tab.locator("details:has(> #s7) .numbers")
        numbers.locator("summary").click()
        cells = numbers.locator("tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        assert [cell[0] for cell in cells] == bins["labels"]
        assert [float(cell[1].replace(",", "")) for cell in cells] == one["series"]
        for (*_, share), value, total in zip(cells, one["series"], bins["totals"], strict=True):
            assert abs(float(share.strip("<%")) / 100 - value / total) <= 0.051 * value / total + 1e-4
        assert numbers.locator("..").locator("rect.k").count() == 1


FOCUSED = """(() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return [element.tagName, element.textContent.trim(), outlineStyle, parseFloat(outlineWidth)];
})()"""


def test_the_page_obeys_the_keyboard(opened):
    with opened(MADE()) as report:
        seen = []
        for _ in range(50):
            report.tab.keyboard.press("Tab")
            tag, text, style, width = report.tab.evaluate(FOCUSED)
            assert style != "none"
            assert width >= 1
            seen.append((tag, text))
            if (tag, text) == ("BUTTON", "F1"):
                break
        assert [tag for tag, _ in seen].index("INPUT") > 15, "the lists come first"
        report.tab.keyboard.press("Enter")
        assert report.tab.locator("th[aria-sort]").text_content() == "F1"
        report.tab.keyboard.press("Tab")
        first = report.ids()[0]
        report.tab.keyboard.press("Enter")
        assert report.tab.locator(f"details:has(> #s{first})").evaluate("part => part.open")
        assert report.tab.evaluate(FOCUSED)[0] == "SUMMARY"
        report.tab.keyboard.press("Space")
        assert not report.tab.locator(f"details:has(> #s{first})").evaluate("part => part.open")


def test_screen_readers_find_their_way(opened):
    with opened(MADE(), at="#s3") as report:
        levels = report.tab.locator("h1:visible, h2:visible, h3:visible, h4:visible").evaluate_all(
            "all => all.map((each) => Number(each.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(later <= before + 1 for before, later in itertools.pairwise(levels))
        tree = report.tab.locator("body").aria_snapshot()
        assert 'textbox "Search"' in tree or 'searchbox "Search"' in tree
        assert 'columnheader "Trend' in tree
        assert "rowheader" in tree
        assert 'img "peak ' in tree
        unnamed = "all => all.filter((each) => !each.textContent.trim() && !each.labels?.length).length"
        assert report.tab.locator("button, a, select, input, summary").evaluate_all(unnamed) == 0
        assert report.tab.evaluate("document.documentElement.lang") == "en"


def test_print_shows_all_parts_and_no_controls(opened):
    with opened(MADE()) as report:
        report.tab.emulate_media(media="print")
        assert not report.tab.locator("form").is_visible()
        assert len(report.tab.pdf()) > 50_000
        opened_parts = "document.querySelectorAll('.part[open]').length"
        assert report.tab.evaluate(opened_parts) == 0
        report.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert report.tab.evaluate(opened_parts) == 24
        assert report.tab.locator(".part figure svg").count() == 24
        report.tab.evaluate("dispatchEvent(new Event('afterprint'))")
        assert report.tab.evaluate(opened_parts) == 0


def test_the_page_can_be_read_without_a_script(opened):
    with opened(MADE(), at="#s12", scripts=False) as report:
        assert not report.tab.locator("form").is_visible()
        assert report.tab.locator("button:visible").count() == 0
        part = report.tab.locator("details:has(> #s12)")
        assert part.locator(".items").first.is_visible(), "browsers open what a link leads into"
        assert part.locator("figcaption").text_content().startswith("Share of each decade: peak ")
