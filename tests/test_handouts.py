"""What is printed and shown in the class: the equation sheet fits on a page, and the slides hold what they need."""

from __future__ import annotations

import csv
import importlib
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.browser import needs_browser
from tests.conftest import HAS

LEARN = Path(__file__).parent.parent / "examples" / "learn"
sys.path.insert(0, str(LEARN))
pages, faults = (importlib.import_module(name) for name in ("handouts.pages", "lab.faults"))
SHEET = (LEARN / "equations.md").read_text(encoding="utf-8")
SLIDES = (LEARN / "slides.md").read_text(encoding="utf-8").split("\n---\n")
PLAN = (LEARN / "lesson_plan.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(LEARN.glob("*.md"))}
needs_markdown = pytest.mark.skipif(not HAS["jupytext"], reason="needs markdown-it-py, which comes with Jupytext")


def equations(text):
    return set(re.findall(r"\bE\d+'*", text))


# -- the equation sheet -----------------------------------------------------------------------------------------------


def test_lines_of_the_sheet_are_those_of_the_functions():
    assert pages.with_lines(SHEET) == SHEET, "run python examples/learn/make.py sheet"
    lines = pages.REFERENCE.read_text(encoding="utf-8").splitlines()
    links = re.findall(r"\[`(\w+)`\]\([^)]*#L(\d+)\)", SHEET)
    assert len(links) >= 25
    for name, line in links:
        assert lines[int(line) - 1].startswith(f"def {name}(")


def test_the_sheet_has_all_equations_and_each_stands_in_its_function():
    spec = (LEARN.parents[1] / "spec" / "compressae.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\*\*(E\d+'*)\*\*", spec)) <= equations(SHEET)
    functions = re.split(r"(?m)^(?=def )", pages.REFERENCE.read_text(encoding="utf-8"))
    bodies = {body.partition("(")[0].removeprefix("def "): body for body in functions}
    for number, cells in re.findall(r"(?m)^\| (E\d+'*) \|(.*)$", SHEET):
        for name in re.findall(r"\[`(\w+)`\]", cells):
            assert number in equations(bodies[name]), f"{name} does not cite {number}"
        assert set(re.findall(r"\d", cells.split("|")[-2])) <= set("123456")
    assert re.findall(r"\| (R\d+) \|", SHEET) == ["R1", "R6", "R2", "R7", "R3", "R8", "R4", "R9", "R5", "R10"]


def test_a_chapter_of_the_sheet_speaks_of_the_equation():
    for number, cells in re.findall(r"(?m)^\| (E\d+'*) \|(.*)$", SHEET):
        for chapter in re.findall(r"\d", cells.split("|")[-2]):
            (page,) = [text for name, text in PAGES.items() if name.startswith(chapter)]
            ranges = re.findall(r"\bE(\d+) to E(\d+)", page)
            named = equations(page) | {f"E{n}" for a, b in ranges for n in range(int(a), int(b))}
            assert number in named, f"chapter {chapter} does not speak of {number}"


@needs_markdown
def test_the_printable_sheet_is_made_of_the_page():
    assert (LEARN / "equations.html").read_text(encoding="utf-8") == pages.sheet()


@needs_browser
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_sheet_prints_on_one_page(opened_page, paper):
    with opened_page((LEARN / "equations.html").read_text(encoding="utf-8")) as page:
        printed = page.tab.pdf(format=paper, prefer_css_page_size=paper == "A4")
        assert number_of_pages(printed) == 1
        for width in (1280, 390):
            page.tab.set_viewport_size({"width": width, "height": 800})
            assert page.width() <= width


def number_of_pages(pdf):
    return max(map(int, re.findall(rb"/Count (\d+)", pdf)))


# -- the slides -------------------------------------------------------------------------------------------------------


def test_each_slide_has_a_heading_and_describes_its_pictures():
    headings = [re.findall(r"(?m)^#{1,2} (.+)$", re.sub(r"(?s)```.*?```", "", slide)) for slide in SLIDES]
    assert all(len(found) == 1 for found in headings)
    assert len({found[0] for found in headings}) == len(SLIDES) >= 25
    for text, _ in (image for slide in SLIDES for image in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", slide)):
        assert len(text) >= 30
    assert all(name in SLIDES[-1] for name in ("CC BY 4.0", "MIT", "WordNet", "Apache-2.0"))


def minutes_of_slides():
    return [pages.minutes(slide) for slide in SLIDES]


def numbers_of(text):
    """The numbers of a text such as "2, 13 to 15"."""
    ranges = re.findall(r"(\d+)(?: to (\d+))?", text)
    return [number for first, last in ranges for number in range(int(first), int(last or first) + 1)]


def test_the_slides_take_ninety_minutes_and_the_plan_has_the_same_parts():
    minutes = minutes_of_slides()
    ends = [sum(minutes[:number]) for number in range(len(SLIDES) + 1)]
    assert ends[-1] == 90
    for number, slide in enumerate(SLIDES, start=1):
        assert all(int(minute) == ends[number] for minute in re.findall(r"[Mm]inute (\d+)\.", slide)), number
    overview = PLAN.split("## Ninety minutes")[1].split("\n## ")[0]
    parts = re.findall(r"(?m)^\| (\d+) to (\d+) \|.*?\| (\d+) to (\d+) \|", overview)
    last_minute, last_slide = 0, 0
    for start, end, first, last in (map(int, part) for part in parts):
        assert (start, first) == (last_minute, last_slide + 1)
        assert ends[last] == end
        last_minute, last_slide = end, last
        assert f"\n## {start} to {end}: " in PLAN
    assert (last_minute, last_slide) == (90, len(SLIDES))


def test_the_variant_of_45_minutes_takes_as_long_as_its_slides():
    minutes, last = minutes_of_slides(), 0
    variant = PLAN.split("## 45 minutes")[1].split("\n## ")[0]
    parts = re.findall(r"(?m)^\| (\d+) to (\d+) \|.*\| ([\d, to]+) \|$", variant)
    for start, end, those in parts:
        assert int(start) == last
        last += sum(minutes[number - 1] for number in numbers_of(those))
        assert int(end) == last
    assert last == 45


def test_live_pages_and_scripts_take_no_more_than_the_minutes_of_their_slides():
    """What the plan runs stands in the note of its slide, too."""
    timed = re.findall(r"\(slide (\d+), (\d+) minutes?\b", PLAN)
    assert len(timed) >= 7
    for slide, minutes in timed:
        note = re.search(r"<!-- (\d+) minutes?(?:, (\d+) of them)?", SLIDES[int(slide) - 1])
        assert int(minutes) in {int(found) for found in note.groups() if found}, slide
    shared = {n for n, slide in enumerate(SLIDES, start=1) if re.search(r"<!-- \d+ minutes, \d+ of them", slide)}
    assert shared <= {int(slide) for slide, _ in timed}


def test_answers_wait_and_the_plan_lists_them():
    """A slide that asks for a vote does not show its answer at once."""
    waits = [number for number, slide in enumerate(SLIDES, start=1) if "\n***\n" in slide]
    (listed,) = re.findall(r"answers on slides ([\d, and]+) appear", PLAN)
    assert waits == numbers_of(listed)
    for number, slide in enumerate(SLIDES, start=1):
        assert ("press →" in slide or "\n> " in slide.split("\n***\n")[0]) or number not in waits
        assert "Vote" not in slide or number in waits


def test_the_plan_speaks_of_slides_that_are_there():
    for part in re.split(r"(?m)^(?=## \d+ to \d+: )", PLAN)[1:]:
        end = int(re.match(r"## \d+ to (\d+)", part)[1])
        ends = [sum(minutes_of_slides()[:number]) for number in range(len(SLIDES) + 1)]
        for number in map(int, re.findall(r"\bslide (\d+)", part.split("\n## ")[0])):
            assert ends[number] <= end, f"slide {number} comes in a later part"


def test_the_slide_of_the_lab_asks_for_the_fault_that_it_shows():
    (slide,) = [slide for slide in SLIDES if "lab_symptoms.png" in slide]
    assert set(re.findall(r"break_it\.py (\d+)", slide)) == {str(pages.QUESTION)}
    case = faults.CASES[pages.QUESTION - 1]
    assert str(case.line) not in slide


def test_faults_that_curves_show_are_counted():
    seen, all_of_them = sum(bool(case.seen) for case in faults.CASES), len(faults.CASES)
    counts = re.findall(r"[Cc]urves or the gradient check show (\d+) of the (\d+) faults", "".join(SLIDES))
    assert counts == [(str(seen), str(all_of_them))]


def test_an_answer_is_never_spelled_out():
    """A command that is printed is typed: so it holds no line that is a wrong answer, and none that is right."""
    for page in (*PAGES.values(), (LEARN / "break_it.py").read_text(encoding="utf-8")):
        assert not re.findall(r"--line \d+", page)


def test_what_unit_atoms_are_for_is_what_chapter_4_prints():
    printed = re.findall(r"(?m)^    k = +4: cosine ([\d.]+) before, ([\d.]+) after", PAGES["4_train.md"])
    before, after = (f"{np.mean([float(pair[side]) for pair in printed]):.2f}" for side in (0, 1))
    (slide,) = [slide for slide in SLIDES if "4_norms.png" in slide]
    assert f"**{after} instead of {before}**" in slide
    assert f"from {before} to {after}" in PLAN


def test_recalls_of_the_plan_are_those_of_chapter_5_and_of_the_readme():
    printed = {name: recall for recall, name in re.findall(r"(?m)^ +\d+ +([\d.]+)  (.+)$", PAGES["5_search.md"])}
    named = [printed[name] for name in ("PCA", "codes, sparse", "codes, sparse, query of 4k entries")]
    for text in (PLAN, "".join(SLIDES)):
        assert f"({named[0]} against {named[1]}, and {named[2]}" in " ".join(text.split())
    table = (LEARN.parents[1] / "README.md").read_text(encoding="utf-8")
    pca, sparse = (
        float(re.search(rf"(?m)^\| {name} \| 256 \| ([\d.]+)", table)[1]) for name in ("PCA", "codes, sparse queries")
    )
    assert pca < sparse, "the plan says that sparse queries are ahead there"


def test_the_exception_of_slide_7_is_the_one_that_chapter_1_counts():
    chapter = " ".join(PAGES["1_what_a_code_is.md"].split())
    found = re.search(r"the mean (rises from [\d.]+ to [\d.]+)", chapter)
    if not found:
        pytest.skip("chapter 1 counts the neighbours of one entry alone")
    for text in (PLAN, "".join(SLIDES)):
        assert f"of 1,003 entries {found[1]}" in " ".join(text.split())


def test_three_degrees_are_near():
    assert f"{math.cos(math.radians(3)):.4f}" in PLAN


def test_nodes_that_two_arrows_leave_are_those_of_the_graph():
    drawings = pytest.importorskip("drawings.chapters_1_to_3", exc_type=ImportError)
    starts = [start for start, *_ in drawings.EDGES]
    two = {start for start in starts if starts.count(start) == 2}
    (note,) = [slide.split("<!--")[1] for slide in SLIDES if "3_graph.png" in slide]
    assert two == {"a", "x̂_k", "W_dec"}
    assert "Three: a, x̂_k and W_dec" in note


def test_one_fault_rises_in_the_lab_with_its_steps_and_falls_with_those_of_chapter_3(monkeypatch):
    """What the plan says of slides 18 and 26."""
    symptoms = importlib.import_module("lab.symptoms")
    broken = symptoms.load(faults.CASES[pages.QUESTION - 1].planted())
    change = {}
    for rate in (symptoms.LR, 0.003):
        monkeypatch.setattr(symptoms, "LR", rate)
        losses = [curve[0][0] for curve in symptoms.trained(broken)[1]]
        change[rate] = np.mean(losses[-5:]) - np.mean(losses[-10:-5])
    assert change[0.01] > 0.01
    assert change[0.003] < -0.01


SHOWN = """
all => all.map((each) => {
  const { width, height } = each.getBoundingClientRect();
  return [each.alt, Math.min(width / each.naturalWidth, height / each.naturalHeight)];
})
"""


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1024, 768)])
def test_text_of_pictures_can_be_read_from_the_last_row(opened_page, width, height):
    """It is at least 1/40 of the height of a slide of 16:9 high."""
    names = dict(image for slide in SLIDES for image in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", slide))
    with opened_page((LEARN / "slides.html").read_text(encoding="utf-8")) as page:
        page.tab.set_viewport_size({"width": width, "height": height})
        shown = page.tab.locator("section img").evaluate_all(SHOWN)
    assert len(shown) == len(names) >= 18
    sizes = {names[alt]: factor * smallest_text((LEARN / names[alt]).read_bytes()) for alt, factor in shown}
    least = min(height, width * 9 / 16) / 40
    assert not {name: round(size, 1) for name, size in sizes.items() if size < least}


def smallest_text(png):
    """The size of the smallest text of a picture in pixels, which `drawings.look` stores in it."""
    found = re.search(rb"smallest text\0(\d+\.\d)", png)
    assert found, "run make.py pages and make.py slides"
    return float(found[1])


def test_words_of_the_slides_are_those_of_the_chapter():
    (slide,) = [slide for slide in SLIDES if slide.strip().startswith("## A latent is what")]
    rows = re.findall(r"(?m)^\| (\d+) \| [+−]\S+ \| (.*) \|$", slide)
    assert len(rows) == 5
    for latent, words in rows:
        found = PAGES["1_what_a_code_is.md"].split(f"latent {latent}, value")[-1].split("latent ")[0]
        assert words in found


@needs_markdown
def test_the_slides_are_made_of_their_pages_and_pictures():
    assert (LEARN / "slides.html").read_text(encoding="utf-8") == pages.slides(), "run make.py slides"


@needs_browser
def test_slides_move_by_keys_print_one_by_one_and_fit(opened_page):
    with opened_page((LEARN / "slides.html").read_text(encoding="utf-8")) as page:
        tab = page.tab
        tab.set_viewport_size({"width": 1280, "height": 720})
        place = "Math.round(scrollY / innerHeight) + 1"
        for key, expected in (
            ("ArrowRight", 2),
            (" ", 3),
            ("PageDown", 4),
            ("ArrowLeft", 3),
            ("End", len(SLIDES)),
            ("Home", 1),
        ):
            tab.keyboard.press(key)
            assert tab.evaluate(place) == expected
            assert tab.evaluate("document.activeElement.id") == str(expected), "a screen reader reads from here"
            done = tab.evaluate("parseFloat(document.querySelector('#progress i').style.width)")
            assert done == pytest.approx(100 * expected / len(SLIDES), abs=0.1)
        heights = tab.locator("section").evaluate_all("all => all.map((each) => each.scrollHeight)")
        assert max(heights) <= 720, "no slide is cut off"
        assert tab.locator("section h1, section h2").count() == len(SLIDES)
        assert tab.locator("img:not([alt])").count() == 0
        assert tab.locator("aside:visible").count() == 0, "notes are not for the class"
        assert number_of_pages(tab.pdf(prefer_css_page_size=True)) == len(SLIDES)
        tab.set_viewport_size({"width": 390, "height": 844})
        assert page.width() <= 390


HIDDEN = """
Array.from(document.querySelectorAll('.later > *')).filter((each) => getComputedStyle(each).opacity === '0').length
"""


@needs_browser
def test_an_answer_appears_with_the_next_key(opened_page):
    first = next(number for number, slide in enumerate(SLIDES, start=1) if "\n***\n" in slide)
    with opened_page((LEARN / "slides.html").read_text(encoding="utf-8")) as page:
        tab = page.tab
        tab.set_viewport_size({"width": 1280, "height": 720})
        assert tab.evaluate(HIDDEN) == 0, "who scrolls reads all"
        for _ in range(first - 1):
            tab.keyboard.press("ArrowRight")
        for hidden, place in ((True, first), (False, first), (False, first + 1)):
            assert (tab.evaluate(HIDDEN) > 0, tab.evaluate("document.activeElement.id")) == (hidden, str(place))
            tab.keyboard.press("PageDown")
        for _ in range(2):
            tab.keyboard.press("ArrowLeft")
        assert tab.evaluate("document.activeElement.id") == str(first)
        assert tab.evaluate(HIDDEN) == 0, "going back shows it"
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("ArrowRight")
        assert tab.evaluate(HIDDEN) > 0
        tab.emulate_media(media="print")
        assert tab.evaluate(HIDDEN) == 0
        tab.emulate_media(media="screen")
        tab.set_viewport_size({"width": 390, "height": 844})
        assert tab.evaluate(HIDDEN) == 0


def shows(window, title):
    """Wait until the window with the notes shows a title: a key in one window acts later in the other."""
    window.wait_for_function("(title) => document.getElementById('title')?.textContent.startsWith(title)", arg=title)


@needs_browser
def test_notes_are_in_a_second_window_that_moves_the_slides(opened_page):
    with opened_page((LEARN / "slides.html").read_text(encoding="utf-8")) as page:
        tab = page.tab
        with tab.expect_popup() as opened:
            tab.keyboard.press("n")
        notes = opened.value
        notes.set_viewport_size({"width": 900, "height": 640})
        ends = 0
        for number, slide in enumerate(SLIDES, start=1):
            ends += pages.minutes(slide)
            shows(notes, f"{number} of {len(SLIDES)}: ")
            assert notes.locator("#until").inner_text() == f"this slide ends at {ends}"
            size = notes.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            assert size[0] <= 900
            assert size[1] <= 640, f"the notes to slide {number} fit in their window"
            if "<!--" in slide:
                words = slide.split("<!-- ")[1].split()[0]
                assert notes.locator("#notes").inner_text().startswith(words)
            for _ in range(1 + slide.count("\n***\n")):
                notes.keyboard.press("ArrowRight")
        notes.keyboard.press("Home")
        tab.wait_for_function("Math.round(scrollY / innerHeight) === 0")
        assert re.fullmatch(r"\d\d:\d\d", notes.locator("#time").inner_text())
        assert notes.locator("#passed").inner_text() == "0"
        tab.keyboard.press("n")
        tab.keyboard.press("ArrowRight")
        shows(notes, "2 of")  # a second n keeps one window
        notes.close()
        tab.keyboard.press("ArrowRight")


@needs_browser
def test_slides_are_read_without_scripts(opened_page):
    with opened_page((LEARN / "slides.html").read_text(encoding="utf-8"), scripts=False) as page:
        assert page.tab.locator("section:visible").count() == len(SLIDES)
        answers = page.tab.locator(".later > *")
        assert answers.evaluate_all("all => all.every((each) => getComputedStyle(each).opacity === '1')")


# -- the plan and the entry page --------------------------------------------------------------------------------------


def test_a_student_alone_meets_every_fault_and_every_exercise():
    alone = PLAN.split("## Alone")[1].split("\n## ")[0]
    named = [int(n) for text in re.findall(r"Faults ([\d, and]+)\.", alone) for n in re.findall(r"\d+", text)]
    assert sorted(named) == list(range(1, len(faults.CASES) + 1))
    exercises = set()
    for first, last in re.findall(r"Exercises? (\d+)(?: (?:to|and) (\d+))?", alone):
        exercises |= set(range(int(first), int(last or first) + 1))
    assert exercises == set(range(1, 17))


@pytest.mark.parametrize("name", ["README.md", "lesson_plan.md", "slides.md"])
def test_commands_are_about_what_is_there(name):
    text = PAGES[name]
    commands = re.findall(r"python (examples/learn/\w+\.py)((?: [^`\s]+)*)", text)
    assert commands
    for script, options in commands:
        assert (LEARN.parents[1] / script).is_file()
        if script.endswith("break_it.py"):
            assert 1 <= int(options.split()[0]) <= len(faults.CASES)
    assert {int(n) for n in re.findall(r"--exercise (\d+)", text)} <= set(range(1, 17))
    assert all(int(count) == len(faults.CASES) for count in re.findall(r"(\d+) faults", text))


def test_the_entry_page_is_short_and_has_a_licence():
    assert len(PAGES["README.md"].splitlines()) <= 70
    assert "CC BY 4.0" in PAGES["README.md"]


def test_links_lead_somewhere():
    for name, text in PAGES.items():
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (LEARN / target).exists(), f"{name}: {target}"


def test_commands_work_in_the_command_prompt_of_windows():
    """It knows double quotes alone."""
    for page in (PLAN, PAGES["README.md"]):
        assert not re.findall(r"pip (?:install|wheel)[^\n]*'", page)
        assert r".venv\Scripts\activate" in page
    assert r"copy examples\learn\exercises.py" in PLAN


def test_homework_of_the_slide_is_that_of_the_plan():
    (slide,) = [slide for slide in SLIDES if "## Homework" in slide]
    plan = PLAN.split("\n## Homework")[1].split("\n## ")[0]
    tasks = [re.findall(r"(?m)^(\d)\. (.*)$", text) for text in (slide, plan)]
    assert [number for number, _ in tasks[0]] == [number for number, _ in tasks[1]]
    for task in zip(*tasks, strict=True):
        assert (
            len({frozenset(re.findall(r"exercises|fault|page|squared error", text.lower())) for _, text in task}) == 1
        )
    (fault,) = re.findall(r"break_it\.py (\d+)", slide)
    assert f"difficulty {faults.CASES[int(fault) - 1].level}" in tasks[0][1][1]
    assert all(f"--exercise {number}\n" in slide for number in (4, 7)), (
        "the variant of 45 minutes leaves them to the students"
    )


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_loop_that_grades_knows_empty_folders_and_any_name(tmp_path):
    (loop,) = re.findall(r"(?s)```bash\n(for file in .*?)```", PLAN)
    program = tmp_path / "bin" / "compressae-ref"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$3$5" in *good*|*4) exit 0 ;; *) exit 1 ;; esac\n', encoding="utf-8")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "submissions").mkdir()

    def marks():
        run = subprocess.run(
            ["bash", "-c", loop], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert run.stderr == ""
        with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    assert marks() == []
    names = ["good.py", 'Li, "Wei".py', "a b.py"]
    for name in names:
        (tmp_path / "submissions" / name).touch()
    expected = {(f"submissions/{name}", exercise): str(int(name == "good.py" or exercise == "4"))
                for name in names for exercise in ("4", "7", "9", "13")}  # fmt: skip
    assert {(name, exercise): mark for name, exercise, mark in marks()} == expected


@pytest.mark.skipif(not shutil.which("grep"), reason="needs grep")
def test_imported_answers_are_listed(tmp_path):
    (search,) = re.findall(r"(?s)```bash\n(grep .*?)```", PLAN)
    folder = tmp_path / "submissions"
    folder.mkdir()
    for name in ("exercises", "solutions"):
        shutil.copy(LEARN / f"{name}.py", folder)
    assert (
        subprocess.run(["bash", "-c", search], cwd=tmp_path, capture_output=True, text=True, check=False).stdout == ""
    )
    imports = [
        "from compressae_ref.reference import *",
        "import numpy, compressae_ref",
        "  import compressae_ref.reference as r",
    ]
    for number, line in enumerate(imports):
        (folder / f"copied{number}.py").write_text(f"import numpy as np\n{line}\n", encoding="utf-8")
    found = subprocess.run(["bash", "-c", search], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert [line.rsplit(":", 1)[1] for line in found.splitlines()] == imports


def test_a_picture_is_described_on_slides_as_in_its_chapter():
    def described(path):
        return {picture: text for text, picture in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", path.read_text("utf-8"))}

    of_chapters = {picture: text for path in LEARN.glob("[1-6]_*.md") for picture, text in described(path).items()}
    on_slides = described(LEARN / "slides.md")
    both = on_slides.keys() & of_chapters.keys()
    assert len(both) > 10
    assert {picture: on_slides[picture] for picture in both} == {picture: of_chapters[picture] for picture in both}
