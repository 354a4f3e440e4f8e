"""The page of examples/browser in headless Chromium, built from the demonstration data, and the data that it ships."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Index, load_model, load_packed
from compressae_ref.demo_data import load_demo_data
from compressae_ref.retrieval.brute_force import nearest_dense
from tests.browser import needs_browser
from tests.conftest import ONE_THREAD

EXAMPLE = Path(__file__).parents[1] / "examples" / "browser"
ITEMS, K, TOP = 600, 11, 10  # 11 of 256 latents take 16 bytes, which divide 384
START, HOSTILE = 41, 7


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Embeddings and labels of the demonstration data."""
    folder, demo = tmp_path_factory.mktemp("inputs"), load_demo_data()
    np.save(folder / "embeddings.npy", demo.items[:ITEMS])
    labels = [name.replace(" (", "\t", 1).removesuffix(")") for name in demo.item_names[:ITEMS]]
    labels[HOSTILE] = """<img src=x onerror="window.ran=1">'\t<script>window.ran=1</script>"""
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (folder / "labels.txt.gz").write_bytes(gzip.compress("\n".join(labels).encode()))
    return folder, labels


ENVIRONMENT = os.environ | ONE_THREAD | {"PYTHONPATH": str(EXAMPLE.parents[1])}


def command(*words):
    return [sys.executable, str(EXAMPLE / "make_page.py"), *map(str, words)]


def build(*words, cwd=None):
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, timeout=120)


@pytest.fixture(scope="module")
def site(inputs):
    folder, labels = inputs
    made = folder / "site"
    options = ["--n-latents", 256, "--k", K, "--title", "Six hundred items", "--start", labels[START].split("\t")[0]]
    (folder / "licence.txt").write_text("Free <b>to</b> use.", encoding="utf-8")
    options += ["--source", "Made for this test.", "--licence", folder / "licence.txt"]
    done = build(folder / "embeddings.npy", "--labels", folder / "labels.txt.gz", "-o", made, *options)
    assert done.returncode == 0, done.stderr
    return made


class Plain(SimpleHTTPRequestHandler):
    """Python's server: it ignores ranges."""

    def log_message(self, *_):
        pass


class WithRanges(Plain):
    """A server that honours ranges, as those of most hosts do."""

    sent = ()

    def send_head(self):
        asked = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not asked or not path.is_file():
            return super().send_head()
        data, (first, last) = path.read_bytes(), asked.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(data) - int(last))
        end = int(last) + 1 if first and last else len(data)
        type(self).sent += ((path.name, end - start),)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(data[start:end])
        return None


class Gated(Plain):
    """A server that sends half of the codes, waits for `gate`, and sends the rest in small pieces."""

    gate, pieces = threading.Event(), 24

    def copyfile(self, source, outputfile):
        data = source.read()
        if not self.path.endswith("codes.npz"):
            return outputfile.write(data)
        half, step = len(data) // 2, len(data) // (2 * self.pieces)
        outputfile.write(data[:half])
        self.gate.wait(30)
        for start in range(half, len(data), step):
            outputfile.write(data[start : start + step])
            time.sleep(0.005)
        return None


class Refusing(Plain):
    """A server that closes the connection when it is asked for one file."""

    refused = ""

    @classmethod
    def of(cls, name):
        return type("RefusingOne", (cls,), {"refused": f"/{name}"})

    def send_head(self):
        if not self.path.endswith(self.refused):
            return super().send_head()
        self.close_connection = True
        return None


@pytest.fixture(scope="module")
def served():
    """Serve a folder: with or without ranges; return its address."""
    servers = []

    def serve(folder, kind=Plain):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class Page:
    """The page in a tab of its own, with all that it said and asked for."""

    def __init__(self, tab, address):
        self.tab, self.origin, self.said, self.asked = tab, "/".join(address.split("/")[:3]) + "/", [], []
        tab.on("console", lambda message: self.said.append(message.text))
        tab.on("pageerror", lambda error: self.said.append(str(error)))
        tab.context.on("request", lambda request: self.asked.append(request.url))
        tab.goto(address)

    def shows(self, row, k):
        """Wait until the neighbours of a row are shown, and return both lists."""
        self.tab.locator(f"body[data-row='{row}'][data-k='{k}']").wait_for()
        return [self.rows(which) for which in ("dense", "codes")]

    def rows(self, which):
        return self.tab.locator(f"#{which} li").evaluate_all("all => all.map((each) => Number(each.dataset.row))")

    def text(self, name):
        return self.tab.locator(f"#{name}").text_content()

    def width(self):
        return self.tab.evaluate("document.documentElement.scrollWidth")


@pytest.fixture
def opened(browser, served, site):
    pages = []

    def open_page(folder=site, kind=Plain, at="", **how):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **how)
        pages.append(Page(context.new_page(), served(folder, kind) + at))
        return pages[-1]

    yield open_page
    for page in pages:
        page.tab.context.close()
        assert not page.said
        assert page.asked
        assert all(url.startswith((page.origin, "data:,")) for url in page.asked)


def neighbours(data, row, k):
    """What the package finds for the query of the page: the reconstruction of a row from its k largest entries."""
    codes, model = load_packed(data / "codes.npz").unpack().truncate(k), load_model(data / "model.npz")
    found = Index.build(codes, space="asymmetric", model=model).search(model.decode(codes[row]), TOP + 1).ids[0]
    return found[found != row][:TOP].tolist()


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_files_are_those_of_the_items(site, inputs):
    folder, labels = inputs
    x, data = np.load(folder / "embeddings.npy"), site / "data"
    about = json.loads((data / "about.json").read_text("utf-8"))
    assert gzip.decompress((data / "labels.txt.gz").read_bytes()).decode().split("\n") == labels
    assert (len(load_packed(data / "codes.npz")), about["start"], about["d"]) == (ITEMS, START, 384)
    rises = np.diff(about["recall"]["reconstruction"])
    assert len(rises) == K - 1
    assert rises.mean() > 0
    assert about["recall"]["dense"]["10"] > about["recall"]["reconstruction"][-1] > 0.3
    assert stored_neighbours(data).tolist() == [
        [other for other in ids if other != row][:TOP]
        for row, ids in enumerate(nearest_dense(x, x, TOP + 1).ids.tolist())
    ]


def stored_neighbours(data):
    planes = np.frombuffer(gzip.decompress((data / "neighbours.bin.gz").read_bytes()), np.uint8).reshape(4, -1, TOP)
    unsigned = sum(plane.astype(np.int64) << (8 * at) for at, plane in enumerate(planes))
    return np.where(unsigned % 2, -(unsigned + 1) // 2, unsigned // 2) + np.arange(planes.shape[1])[:, None]


def test_the_shipped_data_fit_together():
    data = EXAMPLE / "data"
    codes, model = load_packed(data / "codes.npz"), load_model(data / "model.npz")
    model.check_codes(codes.unpack())
    labels = gzip.decompress((data / "labels.txt.gz").read_bytes()).decode().split("\n")
    assert len(labels) == len(codes) == len(stored_neighbours(data)) >= 50_000
    assert (data / "codes.npz").stat().st_size < 4e6
    assert sum(path.stat().st_size for path in data.iterdir()) < 9.1e6
    assert "WordNet 3.1 Copyright 2011 by Princeton University" in (data / "LICENSE.txt").read_text("utf-8")


def test_the_figures_of_the_readme_are_those_of_the_data():
    text, data = (EXAMPLE / "README.md").read_text("utf-8"), EXAMPLE / "data"
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    sizes = {name: int(rest[-1].replace(",", "")) for name, *rest in rows if (data / name).is_file() and name}
    assert sizes == {path.name: path.stat().st_size for path in data.iterdir() if path.suffix not in (".txt", ".json")}
    recall = json.loads((data / "about.json").read_text("utf-8"))["recall"]
    codes = next(rest for name, *rest in rows if name == "codes")
    assert [codes[0], *codes[2:5]] == [
        str(load_packed(data / "codes.npz").bytes_per_item),
        *(f"{share:.3f}" for share in (recall["dense"]["10"], recall["dense"]["100"], recall["reconstruction"][-1])),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--labels": "short.txt"}, "short.txt: expected 600 lines, one per embedding, got 2"),
        ({"--labels": "bytes.txt"}, "bytes.txt: expected lines of UTF-8 text"),
        ({"--labels": "unnamed.txt"}, "unnamed.txt: expected a name at the start of the line, got none in row 7"),
        ({"--labels": "none.txt"}, "none.txt: No such file or directory"),
        ({"embeddings": "none.npy"}, "none.npy: No such file or directory"),
        ({"embeddings": "zero.npy"}, "zero.npy: expected finite, nonzero embeddings, got zeros in row 599"),
        ({"embeddings": "nan.npy"}, "nan.npy: expected finite, nonzero embeddings, got NaN or infinity in row 3"),
        ({"embeddings": "flat.npy"}, "flat.npy: expected an array (n, d) with one embedding per row, got shape (3,)"),
        ({"embeddings": "labels.txt"}, "labels.txt: expected a .npy file, got one that starts with b'x"),
        ({"embeddings": "objects.npy"}, "objects.npy: expected a .npy file of numbers, got an array of Python objects"),
        ({"embeddings": "cut.npy"}, "cut.npy: expected a .npy file of numbers, got a damaged one"),
        ({"embeddings": "bytes.npy"}, "bytes.npy: expected float16, float32 or float64, got int8"),
        ({"--licence": "none.txt"}, "none.txt: No such file or directory"),
        ({"embeddings": "few.npy", "--labels": "few.txt"}, "few.npy: expected more than 10 embeddings, got 10"),
        ({"-o": "inputs"}, "inputs: expected a folder that does not exist"),
        ({"--start": "no such item"}, "--start: expected the name of an item, got 'no such item'"),
        ({"--model": "centred.npz"}, "centred.npz: expected a model without a mean"),
        ({"--model": "centred.npz", "--n-latents": 64}, "--n-latents: expected no number of latents beside --model"),
        ({"--model": "other.npz"}, "other.npz: expected d = 384 dimensions as in "),
        ({"--model": "plain.npz", "--k": 65}, "--k: expected k from 1 to n_latents = 64, got 65"),
    ],
)
def test_wrong_input_gets_one_line_and_no_folder(inputs, tmp_path, change, expected):
    from compressae_ref import fit, save_model

    folder, labels = inputs
    (tmp_path / "inputs").mkdir()
    files = {"short.txt": b"a\nb\n", "bytes.txt": b"\xff\xfe", "few.txt": b"a\n" * 10, "labels.txt": b"x\n"}
    files["unnamed.txt"] = "\n".join([*labels[:7], "\tno name", *labels[8:]]).encode()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "flat.npy", np.ones(3))
    np.save(tmp_path / "few.npy", np.eye(10))
    np.save(tmp_path / "bytes.npy", np.ones((ITEMS, 8), np.int8))
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((folder / "embeddings.npy").read_bytes()[:1000])
    for name, row, value in (("zero.npy", 599, 0), ("nan.npy", 3, np.nan)):
        x = np.ones((ITEMS, 8))
        x[row] = value
        np.save(tmp_path / name, x)
    if "--model" in change:
        x = np.load(folder / "embeddings.npy")
        how = {"steps": 1, "n_latents": 64, "k": 4}
        save_model(tmp_path / "centred.npz", fit(x, center=True, **how).model)
        save_model(tmp_path / "plain.npz", fit(x, **how).model)
        save_model(tmp_path / "other.npz", fit(x[:, :32], **how).model)
    words = {"embeddings": folder / "embeddings.npy", "--labels": folder / "labels.txt", "-o": "site"} | change
    done = build(words.pop("embeddings"), *(word for pair in words.items() for word in pair), cwd=tmp_path)
    assert done.returncode == 1
    line = done.stderr.strip()
    assert "unsafe" not in line
    assert line.startswith("error: ")
    assert expected in line
    assert "\n" not in line
    assert not [path for path in tmp_path.iterdir() if "site" in path.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_leaves_no_folder(inputs, tmp_path, number):
    words = command(inputs[0] / "embeddings.npy", "--labels", inputs[0] / "labels.txt", "-o", tmp_path / "site")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stderr.readline() == "training\n"
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + number
    assert said == "interrupted; nothing was written\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("others", [[], pytest.param(["PQ"], marks=pytest.mark.slow)])
def test_compare_states_recall_at_equal_bytes(site, inputs, others):
    if others:
        pytest.importorskip("faiss")
    words = [
        sys.executable,
        EXAMPLE / "compare.py",
        inputs[0] / "embeddings.npy",
        site / "data",
        "--against",
        *others,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=os.environ | ONE_THREAD)
    size = load_packed(site / "data" / "codes.npz").bytes_per_item
    assert f"{ITEMS} items of {size} bytes" in done.stdout
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()[4:]] == [
        "| codes",
        *(f"| {name}" for name in others),
    ]
    codes = next(line for line in done.stdout.splitlines() if line.startswith("| codes"))
    about = json.loads((site / "data" / "about.json").read_text("utf-8"))
    assert [cell.strip() for cell in codes.split("|")[3:5]] == [
        f"{about['recall']['dense'][top]:.3f}" for top in ("10", "100")
    ]


# -- the page ---------------------------------------------------------------------------------------------------------


@needs_browser
@pytest.mark.parametrize("kind", [Plain, WithRanges])
def test_neighbours_are_those_of_the_package(opened, site, kind):
    WithRanges.sent = ()
    page = opened(kind=kind)
    dense, codes = page.shows(START, K)
    assert codes == neighbours(site / "data", START, K)
    assert dense == stored_neighbours(site / "data")[START].tolist()
    common = len(set(codes) & set(dense))
    recall = json.loads((site / "data" / "about.json").read_text("utf-8"))["recall"]["reconstruction"][-1]
    assert page.text("share").startswith(f"{common} of the 10 nearest items by dense vectors are among the 10 nearest")
    assert f"items at k = {K} is {10 * recall:.1f} of 10" in page.text("share")
    assert page.tab.locator("#dense .both").count() == page.tab.locator("#codes .both").count() == common
    asked = sum(size for name, size in WithRanges.sent if name == "model.npz")
    whole = (site / "data" / "model.npz").stat().st_size
    assert (0 < asked < 0.65 * whole) if kind is WithRanges else not asked
    print(f"search: {page.tab.locator('body').get_attribute('data-ms')} ms")


@needs_browser
def test_the_slider_truncates_the_codes(opened, site):
    page = opened()
    page.shows(START, K)
    wide = page.text("bytes")
    page.tab.get_by_label("Entries per code").focus()
    for k in range(K - 1, 4, -1):
        page.tab.keyboard.press("ArrowLeft")
        assert page.text("bytes").startswith(f"k = {k}: ")
    assert page.shows(START, 5)[1] == neighbours(site / "data", START, 5)
    assert int(wide.split()[3]) == load_packed(site / "data" / "codes.npz").bytes_per_item
    assert int(page.text("bytes").split()[3]) == int(page.text("codes-bytes").split()[0]) < int(wide.split()[3])


@needs_browser
def test_the_keyboard_is_enough(opened, site, inputs):
    labels = inputs[1]
    page = opened()
    page.shows(START, K)
    page.tab.keyboard.press("Tab")
    assert page.tab.evaluate("document.activeElement.id") == "item"
    page.tab.keyboard.type("RECLA")
    options = page.tab.get_by_role("option")
    assert options.first.is_visible()
    names = options.locator("b").all_text_contents()
    assert names
    assert all("recla" in name.lower() for name in names)
    matching = sum("recla" in label.split("\t")[0].lower() for label in labels)
    assert page.text("matches").startswith(f"{matching} item")
    page.tab.keyboard.press("ArrowDown")
    assert options.first.get_attribute("aria-selected") == "true"
    assert page.tab.locator("#item").get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    row = int(options.first.get_attribute("data-row"))
    page.tab.keyboard.press("Enter")
    assert page.shows(row, K)[1] == neighbours(site / "data", row, K)
    assert page.text("name") == labels[row].split("\t")[0]
    assert page.tab.locator("#options").is_hidden()
    assert page.text("matches") == ""
    while page.tab.evaluate("document.activeElement.closest('ol')?.id") != "codes":
        page.tab.keyboard.press("Tab")
        outline = page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    nearest = page.rows("codes")[0]
    page.tab.keyboard.press("Enter")
    page.shows(nearest, K)
    assert page.tab.evaluate("document.activeElement.closest('ol')?.id") == "codes", "the focus stays in the list"
    page.tab.go_back()
    page.shows(row, K)


@needs_browser
def test_tab_leaves_the_open_suggestions_for_the_next_control(opened):
    page = opened()
    page.shows(START, K)
    page.tab.locator("#item").focus()
    page.tab.keyboard.type("a")
    assert page.tab.locator("#options").evaluate("list => list.scrollHeight > list.clientHeight"), "it scrolls"
    page.tab.keyboard.press("Tab")
    assert page.tab.evaluate("document.activeElement.id") == "random"
    assert page.tab.locator("#options").is_hidden()
    assert page.text("matches") == ""


@needs_browser
def test_words_match_in_any_order(opened, inputs):
    """All items that have all words are found; those that have the text as typed come first."""
    page = opened()
    page.shows(START, K)
    names = [label.split("\t")[0] for label in inputs[1]]
    found = """async ([names, typed]) => {
      const { matching, plain } = await import("./names.js");
      return matching(names.map(plain), plain(typed));
    }"""
    checked = [name for name in names if len(name.split()) > 1 and name.isascii()][:40]
    assert checked
    for name in [*checked, "a", "re c"]:
        typed = "  ".join(reversed(name.split())) + " "
        rows = page.tab.evaluate(found, [names, typed])
        words = typed.lower().replace(",", " ").split()
        assert sorted(rows) == [row for row, other in enumerate(names) if all(word in other.lower() for word in words)]
        has_text = [name.lower() in names[row].lower() for row in page.tab.evaluate(found, [names, name])]
        assert has_text == sorted(has_text, reverse=True)
        page.tab.locator("#item").fill(typed)
        assert page.text("matches").startswith(f"{len(rows)} item")
    assert page.tab.evaluate(found, [names, " , "]) == []


@needs_browser
def test_a_name_that_no_item_has(opened):
    page = opened()
    page.shows(START, K)
    page.tab.locator("#item").fill("no such name")
    assert page.text("options") == "No item has this name"
    assert page.text("matches") == "0 items match"
    page.tab.keyboard.press("Enter")
    page.tab.keyboard.press("Escape")
    assert page.tab.locator("#options").is_hidden()
    assert page.rows("codes")


@needs_browser
def test_names_are_text_and_rows_that_do_not_exist_are_ignored(opened, inputs):
    page = opened(at="#600")
    page.shows(START, K)
    page.tab.locator("#item").fill("img src")
    page.tab.get_by_role("option").first.click()
    page.shows(HOSTILE, K)
    assert f"{page.text('name')}\t{page.text('about-item')}" == inputs[1][HOSTILE]
    assert page.tab.locator("main img, main script").count() == 0
    assert page.tab.evaluate("window.ran") is None
    for address in ("#nothing", "#999999", "#-1", "#abc", f"#{HOSTILE}.0"):
        page.tab.evaluate("hash => { location.hash = hash; }", address)
        row = HOSTILE if "." in address else START
        page.shows(row, K)
        page.tab.wait_for_function("row => location.hash === `#${row}`", arg=row)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_and_nothing_moves(opened, scheme):
    page = opened(color_scheme=scheme, has_touch=True)
    page.shows(START, K)
    dark = page.tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    for width in (320, 390, 1280):
        page.tab.set_viewport_size({"width": width, "height": 844})
        before = page.tab.locator("#codes").bounding_box()
        page.tab.locator("#item").fill("a")
        assert page.width() <= width
        option = page.tab.get_by_role("option").nth(2)
        row = int(option.get_attribute("data-row"))
        option.tap()
        page.shows(row, K)
        assert page.width() <= width
        assert page.tab.locator("#codes").bounding_box()["y"] == before["y"]
        assert page.tab.locator("#codes").bounding_box()["height"] == before["height"]


@needs_browser
def test_long_names_can_be_read(opened, site, inputs, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    name = ", ".join(f"long name {number} of this item" for number in range(10))
    labels = [name, *inputs[1][1:]]
    (tmp_path / "site" / "data" / "labels.txt.gz").write_bytes(gzip.compress("\n".join(labels).encode()))
    page = opened(tmp_path / "site", at="#0")
    other = page.shows(0, K)[0][0]
    assert page.text("name") == name
    for width in (320, 390, 1280):
        page.tab.set_viewport_size({"width": width, "height": 844})
        assert page.width() <= width
        assert page.tab.locator("#name").evaluate("""each => each.scrollWidth <= each.clientWidth
          && each.scrollHeight <= each.clientHeight && getComputedStyle(each).textOverflow === "clip" """)
    page.tab.evaluate(f"location.hash = '#{other}'")
    page.shows(other, K)
    for which in ("dense", "codes"):
        links = page.tab.locator(f"#{which} a")
        titles = links.evaluate_all("all => all.map((each) => each.title)")
        assert titles == links.all_text_contents()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_placeholder_has_contrast(opened, scheme):
    page = opened(color_scheme=scheme)
    page.shows(START, K)
    colours = page.tab.evaluate("""() => [getComputedStyle(document.getElementById("item"), "::placeholder").color,
      getComputedStyle(document.getElementById("item")).backgroundColor]""")
    text, ground = (luminance([int(part) for part in re.findall(r"\d+", colour)]) for colour in colours)
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    assert len(colour) == 3, colour
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@needs_browser
def test_the_licence_is_a_link(opened, site):
    page = opened()
    page.shows(START, K)
    assert page.text("source") == "Made for this test. Licence"
    assert page.tab.locator("#source a").get_attribute("href") == "data/LICENSE.txt"
    assert (site / "data" / "LICENSE.txt").read_text("utf-8") == "Free <b>to</b> use."


@needs_browser
def test_progress_is_shown_and_announced_a_few_times(opened, site):
    """A server sends half of the codes and waits: the page states the bytes so far, and of how many."""
    Gated.gate.clear()
    sizes = json.loads((site / "data" / "about.json").read_text("utf-8"))["bytes"]
    assert sizes == {name: (site / "data" / name).stat().st_size for name in sizes}
    total = sum(sizes.values())
    text = [f"{size / 1e6:.2f} MB" for size in (total - (sizes["codes.npz"] + 1) // 2, total)]
    page = opened(kind=Gated)
    page.tab.get_by_text(f"Loading codes, names and neighbours: {' of '.join(text)}.").first.wait_for()
    assert page.text("matches").startswith("Loading codes, names and neighbours: ")
    assert page.tab.locator("#matches").get_attribute("role") == "status"
    page.tab.evaluate("""() => {
      window.changes = { "matches": 0, "about-item": 0 };
      for (const id of Object.keys(changes)) {
        new MutationObserver(() => { changes[id]++; }).observe(document.getElementById(id), { childList: true });
      }
    }""")
    Gated.gate.set()
    page.shows(START, K)
    changes = page.tab.evaluate("changes")
    assert changes["about-item"] > changes["matches"]
    assert 1 <= changes["matches"] <= 4
    assert page.text("matches") == ""


@needs_browser
def test_it_goes_on_without_a_network(opened, site):
    page = opened()
    page.shows(START, K)
    page.tab.context.set_offline(True)
    other = page.rows("dense")[0]
    page.tab.locator("#dense a").first.click()
    assert page.shows(other, K)[1] == neighbours(site / "data", other, K)


@needs_browser
def test_screen_readers_get_names_and_messages(opened):
    page = opened()
    page.shows(START, K)
    tree = page.tab.locator("body").aria_snapshot()
    for part in (
        'combobox "Item"',
        'slider "Entries per code, k"',
        'region "Codes"',
        "status: ",
        "of the 10 nearest items",
        "in both lists",
    ):
        assert part in tree
    levels = page.tab.locator("h1, h2, h3").evaluate_all("all => all.map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(later <= before + 1 for before, later in itertools.pairwise(levels))


FILES = ("about.json", "codes.npz", "labels.txt.gz", "model.npz", "neighbours.bin.gz")


@needs_browser
@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *(("missing", name) for name in FILES),
        *(("cut", name) for name in FILES[::2]),
        *(("refused", name) for name in FILES[1::2]),
    ],
)
def test_a_file_that_fails_is_named(opened, site, tmp_path, damage, name):
    shutil.copytree(site, tmp_path / "site")
    path = tmp_path / "site" / "data" / name
    assert {path.name for path in path.parent.iterdir()} == {*FILES, "LICENSE.txt"}
    if damage == "missing":
        path.unlink()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    page = opened(tmp_path / "site", Refusing.of(name) if damage == "refused" else Plain)
    page.tab.get_by_role("alert").wait_for()
    assert f"data/{name}" in page.text("failed")
    assert ("expected status 200, got 404" in page.text("failed")) == (damage == "missing")
    shown = page.tab.locator("main").inner_text()
    assert "The page could not be loaded" in shown
    assert "Loading" not in shown
    assert page.tab.locator("#results").is_hidden()
    page.said.clear()  # the browser reports the status, too


@needs_browser
def test_stored_norms_are_those_that_the_browser_computes(opened):
    page = opened()
    page.shows(START, K)
    same = page.tab.evaluate("""async () => {
      const { PackedIndex, openModel, openPackedCodes } = await import("./port_js/compressae.mjs");
      const codes = await openPackedCodes("data/codes.npz");
      const model = await openModel("data/model.npz", { only: "decoder" });
      const stored = new PackedIndex(codes, model).norms;
      codes.norms = null;
      const { norms } = new PackedIndex(codes, model);
      return [norms.length, stored === norms, norms.filter((norm, i) => norm !== stored[i]).length];
    }""")
    assert same == [ITEMS, False, 0]


@needs_browser
def test_the_shipped_page(opened):
    data = EXAMPLE / "data"
    about = json.loads((data / "about.json").read_text("utf-8"))
    k = len(about["recall"]["reconstruction"])
    page = opened(EXAMPLE.parent, WithRanges, "browser/#1000")
    assert page.shows(1000, k)[1] == neighbours(data, 1000, k)
    assert page.text("title") == about["title"]
    assert page.tab.locator("#source a").get_attribute("href") == "data/LICENSE.txt"
    assert about["bytes"] == {name: (data / name).stat().st_size for name in about["bytes"]}
    received = page.tab.locator("#parts td").all_text_contents()
    assert int(received[-1].replace(",", "")) < 9.1e6
    print(f"search of the shipped page: {page.tab.locator('body').get_attribute('data-ms')} ms")
