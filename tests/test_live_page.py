"""The live page of examples/learn in headless Chromium: its numbers are those of the reference, to the bit."""

from __future__ import annotations

import ast
import base64
import html
import itertools
import json
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import load_model, reference
from compressae_ref.demo_data import load_demo_data
from tests.browser import Opened, needs_browser
from tests.conftest import ONE_THREAD

LEARN = Path(__file__).parents[1] / "examples" / "learn"
PAGE, MODEL = LEARN / "live.html", LEARN.parent / "browser" / "data" / "model.npz"
TOP, K_MAX, AUX = 10, 64, 1 / 8


def block(text, name):
    """Return what the page holds in a block of data."""
    return re.search(rf'<script id="data-{name}"[^>]*>(.*?)</script>', text, re.DOTALL)[1]


# -- the file ---------------------------------------------------------------------------------------------------------


def make(*words):
    command = [sys.executable, str(LEARN / "make.py"), "live", *map(str, words)]
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(LEARN.parents[1])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_page_is_what_its_sources_give(tmp_path):
    done = make("-o", tmp_path / "live.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "live.html").read_bytes() == PAGE.read_bytes(), "build it: python examples/learn/make.py live"
    assert PAGE.stat().st_size < 6e6
    assert [path.name for path in tmp_path.iterdir()] == ["live.html"]


def test_a_folder_that_is_missing_is_one_line(tmp_path):
    done = make("-o", tmp_path / "none" / "live.html")
    assert done.returncode == 1
    assert re.fullmatch(r"make.py: .*none.*\n", done.stderr)


def test_the_page_holds_the_model_as_it_is_and_the_rounded_entries():
    text, demo = PAGE.read_text("utf-8"), load_demo_data()
    assert base64.b64decode(block(text, "model")) == MODEL.read_bytes()
    assert json.loads(block(text, "labels")) == demo.item_names
    x = demo.items.astype(np.float64)
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    numbers = np.frombuffer(base64.b64decode(block(text, "vectors")), np.int8).reshape(x.shape)
    assert np.abs(numbers * step - x).max(axis=1).max() <= step.max() / 2 * (1 + 1e-9)
    assert (np.abs(numbers.astype(int)).max(axis=1) == 127).all()
    units = [reference.unit_rows(each.astype(np.float64), np.float64) for each in (x, numbers)]
    assert f"mean cosine of {np.mean(reference.cosine(*units)):.5f} with" in text
    for name in ("demo_data/compressae_ref_demo/small_wordnet.LICENSE.txt", "browser/data/LICENSE.txt"):
        assert html.escape((LEARN.parent / name).read_text("utf-8")) in text


def test_no_source_is_long():
    for path in (path for path in (LEARN / "live").iterdir() if path.is_file()):
        assert len(path.read_text("utf-8").splitlines()) < 250, path.name


# -- the page ---------------------------------------------------------------------------------------------------------


class Live(Opened):
    """The live page, opened from its file; it stays open for all tests, as it encodes all entries at its start."""

    def ready(self):
        self.tab.locator("#one-word[data-encoded='true']").wait_for()
        return self

    def word(self, row, k, aux):
        """Choose a word and settings, and return the numbers that the page shows."""
        self.tab.evaluate("row => { location.hash = `w${row}`; }", row)
        self.tab.locator("#k").fill(str(k))
        self.tab.locator("#aux").set_checked(aux)
        self.tab.locator(f"#one-word[data-row='{row}'][data-k='{k}'][data-aux='{str(aux).lower()}']").wait_for()
        return self.tab.evaluate(PLAIN, "word")

    def toy(self):
        return self.tab.evaluate(PLAIN, "toy")

    def settle(self, **settings):
        """Set controls of the toy, and start again."""
        for name, value in settings.items():
            control = self.tab.locator(f"#{name.replace('_', '-')}")
            if isinstance(value, bool):
                control.set_checked(value)
            elif name == "init":
                control.select_option(value)
            else:
                control.fill(str(value))
        self.tab.locator("#reset").click()

    def text(self, name):
        return self.tab.locator(f"#{name}").text_content()

    def exact(self, where):
        """Return the exact values of the numbers shown within an element, and their digits."""
        return self.tab.locator(f"{where} data").evaluate_all(
            "all => all.map((each) => [+each.value, each.textContent])"
        )


PLAIN = """name => JSON.parse(JSON.stringify(live[name],
  (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value))"""


@pytest.fixture(scope="module")
def page(tabs):
    with Live(tabs(True), PAGE, "") as page:
        yield page.ready()


@pytest.fixture(scope="module")
def entries():
    """The rows of the page, unit rows, the model's arrays, and codes with 64 entries."""
    numbers = np.frombuffer(base64.b64decode(block(PAGE.read_text("utf-8"), "vectors")), np.int8)
    x, model = numbers.reshape(-1, 384).astype(np.float32), load_model(MODEL)
    return x, reference.unit_rows(x, np.float32), model, model.encode(x, K_MAX)


def f32(values):
    """Return numbers of the page as float32, which they are exactly."""
    rounded = np.array(values, np.float32)
    assert (rounded == np.array(values)).all()
    return rounded


def written(value):
    """Return a number as the page writes it: four decimals, or three digits of a small number."""
    size = abs(value)
    text = f"{value:.4f}" if size >= 0.1 or value == 0 else f"{value:#.3g}" if size >= 1e-3 else f"{value:.2e}"
    return re.sub("e-0?", "e-", text).replace("-", "−")


WORDS = [(0, 29, False), (1041, 1, False), (1041, 3, True), (2500, 64, True), (4009, 17, False)]


@needs_browser
@pytest.mark.parametrize(("row", "k", "aux"), WORDS)
def test_the_numbers_of_a_word_are_those_of_the_reference(page, entries, row, k, aux):
    x, _, model, _ = entries
    W_enc, b_enc, W_dec = model.params.W_enc, model.params.b_enc, model.params.W_dec
    shown, weight = page.word(row, k, aux), AUX if aux else 0
    x_unit = reference.unit_rows(x[row : row + 1], np.float32)
    pre = reference.pre_activations(x_unit, W_enc, b_enc)
    indices, values = reference.abs_topk(pre, k)
    x_hat = reference.decode(indices, values, W_dec)
    cos = reference.cosine(x_unit, x_hat)
    for name, expected in (
        ("x_unit", x_unit), ("pre", pre), ("indices", indices), ("values", values), ("x_hat", x_hat), ("cos", cos),
        ("norm_x_hat", reference.norm(x_hat)),
    ):  # fmt: skip
        assert np.array_equal(f32(shown[name]).reshape(expected.shape), expected), name
    losses, grads = reference.loss_and_gradients(x[row : row + 1], W_enc, b_enc, W_dec, k, weight)
    assert [shown[name] for name in ("loss", "loss_k", "loss_aux")] == list(losses)
    check_gradients(shown, x_unit, x_hat, indices, W_dec, grads, hat_of_aux(pre, k, W_dec) if aux else None)
    check_digits(page, shown)


def hat_of_aux(pre, k, W_dec):
    """Return the reconstruction of the auxiliary loss (E13)."""
    code, rest = reference.split_code(*reference.abs_topk(pre, min(4 * k, pre.shape[1])), k)
    return reference.decode(*code, W_dec) + reference.decode(*rest, W_dec)


def check_gradients(shown, x_unit, x_hat, indices, W_dec, grads, x_hat_aux):
    grad_x_hat = reference.cosine_backward(np.full(1, -1, np.float32), x_unit, x_hat)
    if x_hat_aux is not None:
        grad_x_hat = grad_x_hat + reference.cosine_backward(np.full(1, -AUX, np.float32), x_unit, x_hat_aux)
    grad_values = reference.decode_backward_values(grad_x_hat, indices, W_dec)
    assert np.array_equal(f32(shown["grad_x_hat"]), grad_x_hat[0])
    assert np.array_equal(f32(shown["grad_values"]), grad_values[0])
    assert f32(shown["norm_grad_x_hat"]) == reference.norm(grad_x_hat)[0]
    assert f32(shown["along"]) == reference.dot(grad_x_hat, x_hat)[0]
    grad_W_enc, grad_b_enc, grad_W_dec = grads
    latents = indices[0]
    for name, rows in (("W_dec", grad_W_dec), ("W_enc", grad_W_enc.T)):
        norms = reference.norm(np.ascontiguousarray(rows))
        assert np.array_equal(f32(shown[f"norms_{name}"]), norms[latents]), name
        assert math.isclose(shown[f"norm_{name}"], np.sqrt(np.sum(norms.astype(np.float64) ** 2)), rel_tol=1e-12)
    assert np.array_equal(grad_b_enc[latents], grad_values[0])
    total = np.sqrt(np.sum(grad_b_enc.astype(np.float64) ** 2))
    assert math.isclose(shown["norm_b_enc"], total, rel_tol=1e-12)


def check_digits(page, shown):
    """The page shows these numbers, with the exact value beside the rounded one."""
    places = dict.fromkeys(("cos", "bar-cos"), shown["cos"])
    places |= {f"word-{name}": shown[name] for name in ("loss", "loss_k", "loss_aux")}
    places |= {"hat-norm": shown["norm_x_hat"], "norm-hat": shown["norm_grad_x_hat"], "along": shown["along"]}
    places |= {f"norm-{name}": shown[f"norm_{name}"] for name in ("W_dec", "W_enc", "b_enc")}
    for name, value in places.items():
        assert page.exact(f"#{name}") == [[value, written(value)]], name
    order = np.argsort(-np.abs(shown["values"]), kind="stable")
    assert shown["order"] == order.tolist()
    summaries = "#code-first > li > details > summary, #code-rest > li > details > summary"
    values = page.tab.locator(summaries).locator("data").evaluate_all("all => all.map((each) => +each.value)")
    assert values == [shown["values"][t] for t in order]
    names = ("values", "grad_values", "norms_W_dec", "norms_W_enc")
    expected = [shown[name][t] for t in order for name in names]
    assert page.exact("#grads") == [[value, written(value)] for value in expected]


@needs_browser
@pytest.mark.parametrize(("row", "k"), [(0, 29), (1041, 5), (2500, 64)])
def test_neighbours_are_those_of_the_reference(page, entries, row, k):
    _, units, model, codes = entries
    h = codes.n_latents
    found = page.word(row, k, False)["neighbours"]
    items, _ = reference.split_code(codes.indices, codes.values, k)
    query = tuple(part[row : row + 1] for part in items)
    scores = {
        "dense": reference.dot(units[row], units)[None],
        "sparse": reference.sparse_cosine(query, items, h),
        "asymmetric": reference.asymmetric_cosine(units[row : row + 1], items, model.params.W_dec),
        "restored": reference.cosine(units, reference.decode(*query, model.params.W_dec))[None],
    }
    for name, own in scores.items():
        ids = reference.best(own, TOP + 1)[0]
        ids = ids[ids != row][:TOP]
        assert [each["row"] for each in found[name]] == ids.tolist(), name
        assert np.array_equal(f32([each["score"] for each in found[name]]), own[0, ids]), name
        rows = page.tab.locator(f"#{name} li").evaluate_all("all => all.map((each) => Number(each.dataset.row))")
        assert rows == ids.tolist()
        assert page.exact(f"#{name}") == [[float(score), written(score)] for score in own[0, ids]]
    dense = {each["row"] for each in found["dense"]}
    common = [sum(each["row"] in dense for each in found[name]) for name in ("sparse", "asymmetric", "restored")]
    assert page.text("shared") == (
        f"At k = {k}, the codes alone find {common[0]} of the {TOP} dense neighbours, "
        f"the dense query finds {common[1]}, and x̂ finds {common[2]}."
    )
    assert page.text("bar-found") == (
        f"Neighbours, of {TOP}: codes {common[0]}, dense query {common[1]}, x̂ {common[2]}"
    )
    assert page.tab.locator("#asymmetric .both").count() == common[1]


@needs_browser
def test_x_hat_finds_what_it_finds_in_chapter_1(page):
    """The picture of chapter 1: neighbours of `alarm clock` that x̂ finds, from vectors that are not rounded."""
    demo, model = load_demo_data(), load_model(MODEL)
    row = next(i for i, name in enumerate(demo.item_names) if name.startswith("alarm clock"))
    units = reference.unit_rows(demo.items, np.float32)
    codes = model.encode(demo.items[[row]], 32)

    def nearest(vector):
        ids = reference.best(reference.cosine(units, vector)[None], TOP + 1)[0]
        return [i for i in ids if i != row][:TOP]

    for k in (1, 2, 4, 8, 16, 32):
        expected = len({*nearest(units[[row]])} & {*nearest(model.decode(codes.truncate(k)))})
        found = page.word(row, k, False)["neighbours"]
        assert (
            len({each["row"] for each in found["dense"]} & {each["row"] for each in found["restored"]}) == expected
        ), k


@needs_browser
def test_the_words_of_a_latent_are_its_strongest_entries(page, entries):
    codes = entries[3]
    names = [label.partition(" (")[0] for label in load_demo_data().item_names]
    shown = page.word(1041, 29, False)
    for place, t in enumerate(shown["order"][:4]):
        j, sign = shown["indices"][t], np.sign(shown["values"][t])
        rows, at = np.nonzero(codes.indices == j)
        values = codes.values[rows, at]
        own = {}
        for side in (1, -1):
            keep = np.sign(values) == side
            order = np.lexsort((rows[keep], -np.abs(values[keep])))
            own[side] = [names[row] for row in rows[keep][order][:TOP]]
        box = page.tab.locator("#code-first > li > details").nth(place)
        named = box.locator(".named").text_content()
        assert named == " · ".join(name.split(",")[0] for name in own[sign][:3])
        box.locator("summary").click()
        box.locator(".sides").wait_for()
        assert box.locator(".sides > div:nth-child(1) a").all_text_contents() == own[1]
        assert box.locator(".sides > div:nth-child(2) a").all_text_contents() == own[-1]


# -- the toy ----------------------------------------------------------------------------------------------------------

TOYS = [
    {"seed": 0, "clusters": 5, "h": 8, "toy_k": 2, "lr": 2, "init": "original", "toy_aux": True},
    {"seed": 3, "clusters": 3, "h": 6, "toy_k": 1, "lr": 3, "init": "tied", "toy_aux": False},
    {"seed": 41, "clusters": 8, "h": 16, "toy_k": 3, "lr": 1, "init": "original", "toy_aux": False},
]
RATES = [0.001, 0.003, 0.01, 0.03, 0.1]


def params_of(stored, h):
    shapes = {"W_enc": (2, h), "b_enc": (h,), "W_dec": (h, 2)}
    return [f32(stored[name]).reshape(shape) for name, shape in shapes.items()]


def assert_is_the_reference(toy, settings, monkeypatch):
    """The page's parameters and moments are those of as many steps of the reference, from the same start."""
    weight = AUX if settings["toy_aux"] else 0
    given = partial(LOSS_AND_GRADIENTS, aux_weight=weight)
    monkeypatch.setattr(reference, "loss_and_gradients", given)
    batch, h = f32(toy["points"]).reshape(-1, 2), settings["h"]
    params = params_of(toy["start"], h)
    u_enc, u_dec = np.array(toy["u_enc"]).reshape(2, h), np.array(toy["u_dec"]).reshape(h, 2)
    for own, first in zip(params, reference.initial(u_enc, u_dec, settings["init"] == "tied"), strict=True):
        assert np.array_equal(own, first.astype(np.float32))
    m, v = [[np.zeros_like(p) for p in params] for _ in range(2)]
    for t in range(1, toy["step"] + 1):
        reference.train_step(batch, params, m, v, t, settings["toy_k"], RATES[settings["lr"]])
    for name, *expected in zip(("W_enc", "b_enc", "W_dec"), params, m, v, strict=True):
        own = [toy["params"][name], toy["state"][name]["m"], toy["state"][name]["v"]]
        for one, other in zip(own, expected, strict=True):
            assert np.array_equal(f32(one).reshape(other.shape), other), name
    return LOSS_AND_GRADIENTS(batch, *params, settings["toy_k"], weight)[0], params, batch


LOSS_AND_GRADIENTS = reference.loss_and_gradients


@needs_browser
@pytest.mark.parametrize("settings", TOYS, ids=lambda settings: f"seed {settings['seed']}")
def test_the_toy_takes_the_steps_of_the_reference(page, monkeypatch, settings):
    page.settle(**settings)
    assert page.toy()["step"] == 0
    for _ in range(12):
        page.tab.locator("#one-step").click()
    toy = page.toy()
    assert toy["step"] == 12 == int(page.text("toy-step"))
    losses, params, batch = assert_is_the_reference(toy, settings, monkeypatch)
    for name, loss in zip(("loss", "loss_k", "loss_aux"), losses, strict=True):
        ((value, digits),) = page.exact(f"#toy-{name}")
        assert math.isclose(value, loss, rel_tol=1e-12)
        assert digits == written(value)
    x_unit = reference.unit_rows(batch, np.float32)
    stored, _ = reference.abs_topk(reference.pre_activations(x_unit, *params[:2]), settings["toy_k"])
    uses = np.bincount(stored.ravel(), minlength=settings["h"])
    dead = np.flatnonzero(uses == 0)
    told = f"{len(dead)} of {settings['h']}: {', '.join(map(str, dead))}" if len(dead) else f"none of {settings['h']}"
    assert page.text("toy-dead") == told
    rows = page.tab.locator("#latents tr").evaluate_all("all => all.map((row) => row.cells[2].textContent)")
    assert rows == [f"{use} of 60" for use in uses]
    assert page.tab.locator("#atoms .dead").count() == len(dead)
    angles = np.degrees(np.arctan2(params[2][:, 1].astype(float), params[2][:, 0].astype(float)))
    shown = page.tab.locator("#latents tr").evaluate_all(
        "all => all.map((row) => parseFloat(row.cells[1].textContent))"
    )
    assert np.abs(np.array(shown) - angles).max() <= 0.5 + 1e-9


CHAPTER = {"seed": 15, "h": 4, "toy_k": 1, "lr": 3, "init": "original", "toy_aux": False}


class SameDraws:
    """A generator that returns the uniform numbers of the page's generator (toy.js), for a function of a chapter."""

    def __init__(self, seed):
        self.state = (seed + 1) * 0x9E3779B1 % 2**32
        self.random(8)

    def random(self, shape):
        numbers = np.empty(shape)
        for i in range(numbers.size):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            numbers.flat[i] = self.state / 2**32
        return numbers


def toy_rows(rng):
    """Call the function of chapter 4 with this name. The chapter trains for seconds, so it is not imported."""
    tree = ast.parse((LEARN / "4_train.py").read_text("utf-8"))
    (own,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "toy_rows"]
    names = {"np": np, "ref": reference}
    exec(compile(ast.Module([own], []), "4_train.py", "exec"), names)
    return names["toy_rows"](rng)


@needs_browser
def test_the_example_of_chapter_4_has_its_points_and_takes_the_steps_of_the_reference(page, monkeypatch):
    page.settle(**TOYS[0])
    page.tab.locator("#example-bunches").click()
    assert page.tab.locator("#about-bunches").is_visible()
    assert page.tab.locator("#clusters").is_disabled()
    page.tab.locator("#speed").fill("7")
    page.tab.locator("#run").click()
    page.tab.locator("#train[data-step='120']").wait_for()
    toy = page.toy()
    assert page.text("toy-status").startswith("Stopped after 120 steps. ")
    expected = toy_rows(SameDraws(CHAPTER["seed"]))
    assert np.abs(reference.unit_rows(f32(toy["points"]).reshape(-1, 2), np.float64) - expected).max() < 1e-6
    (_, loss_k, _), params, batch = assert_is_the_reference(toy, CHAPTER, monkeypatch)
    assert loss_k < 0.01
    check_what_the_page_says_of_it(params, batch)
    at_120, at_500, *others = page.tab.evaluate(LOSSES)
    assert at_120 == pytest.approx(loss_k, rel=1e-12)
    assert at_500 > 5 * at_120, "the encoder drifts"
    assert np.mean(np.array(others) > 0.02) > 0.7, "most seeds end worse"
    for control, changed in (("h", 5), ("toy-aux", True)):
        page.tab.locator("#example-bunches").click()
        assert page.tab.locator("[aria-pressed=true]").get_attribute("id") == "example-bunches"
        page.settle(**{control: changed})
        assert page.tab.locator("[aria-pressed=true]").count() == 0
    page.tab.locator("#example-clusters").click()
    assert page.tab.locator("#about-bunches").is_hidden()
    settings = [page.tab.evaluate("id => document.getElementById(id).value", id_) for id_ in ("clusters", "h", "seed")]
    assert settings == ["5", "8", "0"]
    assert len(page.toy()["points"]) == 120


LOSSES = """() => { // of the example's seed at step 120 and 500, and of other seeds at step 120
  const { toy } = live, loss = (steps) => { toy.train(steps); return toy.look().loss_k; };
  const ofSeed = (seed) => { toy.seed = seed; toy.reset(); return loss(120); };
  return [toy.look().loss_k, loss(380), ...Array.from({ length: 8 }, (_, seed) => ofSeed(seed))];
}"""


def check_what_the_page_says_of_it(params, batch):
    """Three atoms are enough: one serves both opposite bunches. The encoder gets rounding, far below ε in float64."""
    indices, values = reference.encode_rows(batch, *params[:2], 1)
    used = [
        {(j, v > 0) for j, v in zip(indices[rows, 0], values[rows, 0], strict=True)}
        for rows in np.split(np.arange(80), 4)
    ]
    ((one, sign),), ((other, opposite),) = used[:2]
    assert one == other
    assert sign != opposite
    assert len(np.unique(indices)) == 3
    for dtype, most in ((np.float32, 1e-7), (np.float64, 1e-15)):
        grads = LOSS_AND_GRADIENTS(batch.astype(dtype), *(p.astype(dtype) for p in params), 1, 0)[1]
        assert max(np.abs(grads[0]).max(), np.abs(grads[1]).max()) < most
        assert np.abs(grads[2]).max() > 1e-4


@needs_browser
def test_it_runs_until_it_is_paused(page, monkeypatch):
    page.settle(**TOYS[0])
    page.tab.locator("#run").click()
    assert page.text("run") == "Pause"
    while int(page.text("toy-step")) < 40:
        page.tab.wait_for_timeout(20)
    page.tab.locator("#run").click()
    toy = page.toy()
    page.tab.wait_for_timeout(100)
    assert page.toy()["step"] == toy["step"] == int(page.text("toy-step"))
    assert page.text("toy-status").startswith(f"Paused. Step {toy['step']}: loss ")
    assert_is_the_reference(toy, TOYS[0], monkeypatch)
    page.settle(**TOYS[0])
    again = page.toy()
    assert (again["step"], again["params"]) == (0, toy["start"])


@needs_browser
def test_nothing_moves_by_itself_where_motion_is_not_wanted(page):
    page.tab.emulate_media(reduced_motion="reduce")
    page.settle(**TOYS[0])
    assert page.text("run") == "Run 100 steps"
    page.tab.locator("#run").click()
    page.tab.wait_for_timeout(60)
    assert page.toy()["step"] == 100
    page.tab.emulate_media(reduced_motion="no-preference")
    page.settle(**TOYS[0])
    assert page.text("run") == "Start"


@needs_browser
def test_a_wrong_seed_is_said_in_words_and_keeps_the_toy(page):
    page.settle(**TOYS[0])
    before = page.toy()["start"]
    for wrong in ("", "-1", "1.5", "ten", "1234567"):
        page.tab.locator("#seed").fill(wrong)
        assert page.text("seed-error") == f"Seed: expected an integer from 0 to 999999, got “{wrong}”."
        assert page.tab.locator("#seed").get_attribute("aria-invalid") == "true"
    assert page.toy()["start"] == before
    page.tab.locator("#seed").fill("7")
    assert page.text("seed-error") == ""
    assert page.toy()["start"] != before


# -- everybody --------------------------------------------------------------------------------------------------------


@needs_browser
def test_the_keyboard_is_enough(page):
    page.word(0, 29, False)
    names = [label.partition(" (")[0] for label in load_demo_data().item_names]
    page.tab.locator("#run").focus()
    settings = ("clusters", "h", "toy-k", "lr", "speed", "init", "seed", "toy-aux")
    for id_ in ("one-step", "reset", "example-clusters", "example-bunches", *settings):
        page.tab.keyboard.press("Tab")
        assert page.tab.evaluate("document.activeElement.id") == id_
        assert page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.tab.locator("#item").focus()
    page.tab.keyboard.type("RECLA")
    assert page.tab.locator("#item").get_attribute("aria-expanded") == "true"
    page.tab.keyboard.press("ArrowDown")
    row = names.index("reclamation")
    assert page.tab.locator("[role=option][aria-selected=true]").get_attribute("data-row") == str(row)
    page.tab.keyboard.press("Enter")
    page.tab.locator(f"#one-word[data-row='{row}']").wait_for()
    assert page.text("word") == "reclamation"
    page.tab.keyboard.press("Tab")
    page.tab.keyboard.press("Tab")
    assert page.tab.evaluate("document.activeElement.id") == "k"
    for k in (28, 27):
        page.tab.keyboard.press("ArrowLeft")
        assert page.text("k-value") == str(k)
    page.tab.locator("#one-word[data-k='27']").wait_for()
    page.tab.locator("#unit-exact summary").focus()
    page.tab.keyboard.press("Enter")
    page.tab.locator("#unit-exact td").last.wait_for()
    cells = page.tab.locator("#unit-exact td").all_text_contents()
    assert np.array_equal(np.array(cells, np.float32), page.tab.evaluate(PLAIN, "word")["x_unit"])
    page.tab.locator("#dense a").first.focus()
    nearest = page.tab.locator("#dense li").first.get_attribute("data-row")
    page.tab.keyboard.press("Enter")
    page.tab.locator(f"#one-word[data-row='{nearest}']").wait_for()
    assert page.tab.evaluate("document.activeElement.id") == "word", "the list is new: the focus is on the word"
    page.tab.go_back()
    page.tab.locator(f"#one-word[data-row='{row}']").wait_for()


@needs_browser
def test_words_that_do_not_exist_are_ignored(page):
    page.word(5, 29, False)
    for address in ("#w4010", "#w", "#wx", "#E4"):
        page.tab.evaluate("hash => { location.hash = hash; }", address)
        page.tab.wait_for_timeout(20)
        assert page.tab.locator("#one-word").get_attribute("data-row") == "5"
    page.tab.evaluate("location.hash = ''")
    start = load_demo_data().item_names.index("cream (the part of milk containing the butterfat)")
    page.tab.locator(f"#one-word[data-row='{start}']").wait_for()


@needs_browser
def test_a_latent_stays_open_and_focused_when_k_changes(page):
    shown = page.word(1041, 29, False)
    latent = shown["indices"][shown["order"][2]]
    place = page.tab.locator(f".code details[data-latent='{latent}']")
    place.locator("summary").focus()
    page.tab.keyboard.press("Enter")
    place.locator(".sides").wait_for()
    page.tab.evaluate("document.getElementById('k').value = 20")
    page.tab.locator("#k").dispatch_event("input")
    page.tab.locator("#one-word[data-k='20']").wait_for()
    place.locator(".sides").wait_for()
    assert page.tab.evaluate("document.activeElement.closest('details').dataset.latent") == str(latent)


@needs_browser
def test_all_digits_are_a_choice(page):
    page.word(1041, 29, False)
    for width in (390, 1280):
        page.tab.set_viewport_size({"width": width, "height": 844})
        page.tab.locator("#all-digits").check()
        numbers = page.exact("body")
        assert len(numbers) > 150
        assert not [pair for pair in numbers if not names_all(pair[1].replace("−", "-"), pair[0])]
        assert page.width() <= width
        page.tab.locator("#all-digits").uncheck()
        assert all(text == written(value) for value, text in page.exact("body"))


def names_all(text, value):
    """Return whether a text has the digits with which NumPy prints a float32, or all digits of a float64."""
    if float(np.float32(value)) != value:
        return float(text) == value
    return float(text) == float(str(np.float32(value)))


NAMED = re.compile(r"- (slider|checkbox|button|combobox|textbox|img|region|listbox|navigation|spinbutton)(?! \")")


@needs_browser
def test_screen_readers_get_names_and_messages(page):
    page.settle(**TOYS[0])
    page.word(1041, 29, False)
    tree = page.tab.locator("body").aria_snapshot()
    assert not NAMED.search(tree), NAMED.search(tree)
    for part in (
        'combobox "Word"', 'slider "Stored entries k:', 'slider "Learning rate α:',
        'checkbox "With the auxiliary loss, weight ⅛"',
        'button "Start"', 'combobox "First encoder (R9)"', 'img "60 points on the unit circle and 8 atoms',
        'region "What this does not show"', 'img "The 2,048 pre-activations, from', "also a dense neighbour",
    ):  # fmt: skip
        assert part in tree, part
    levels = page.tab.locator("h1, h2, h3, h4").evaluate_all("all => all.map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(later <= before + 1 for before, later in itertools.pairwise(levels))
    numbers = f"cosine {page.text('cos')}, loss {page.text('word-loss')}"
    assert page.text("word-status") == f"{page.text('word')}, k = 29: {numbers}. {page.text('shared')}"
    assert page.tab.locator("#word-status").get_attribute("role") == "status"


@needs_browser
def test_every_number_names_an_equation_that_the_page_states(page):
    page.word(1041, 29, True)
    stated = dict(
        page.tab.locator("#equations dt").evaluate_all(
            "all => all.map((each) => [each.firstChild.textContent, each.id])"
        )
    )
    spec = (LEARN.parents[1] / "spec" / "compressae.md").read_text("utf-8")
    for name in stated:
        assert f"**{name}**" in spec, name
    titles = page.tab.locator("data").evaluate_all("all => all.map((each) => each.title)")
    assert len(titles) > 150
    for title in titles:
        names, exact = title.split(", exactly ")
        assert set(re.findall(r"E\d+'*", names)) <= stated.keys()
        assert re.findall(r"E\d+'*", names)
        assert math.isfinite(float(exact))
    links = page.tab.locator("a.eq").evaluate_all("all => all.map((each) => [each.textContent, each.hash, each.title])")
    assert {name for name, _, _ in links} == stated.keys()
    for name, address, title in links:
        assert address == f"#{stated[name]}"
        assert title.startswith(f"{name}: ")


@needs_browser
def test_buttons_controls_and_picture_of_the_toy_are_seen_together(page):
    for width, height, at, seen in (
        (1280, 720, "body", ("#run", "#one-step", "#reset", "#atoms", ".settings", ".numbers")),
        (1280, 800, "#train", ("#run", "#atoms", ".settings")),
        (390, 844, "#train", ("#run", "#reset", "#atoms")),
    ):
        page.tab.locator("#large").set_checked(height == 800)
        page.tab.set_viewport_size({"width": width, "height": height})
        page.tab.evaluate("at => document.querySelector(at).scrollIntoView()", at)
        boxes = {where: page.tab.locator(where).first.bounding_box() for where in seen}
        for where, box in boxes.items():
            assert box["y"] >= 0, (height, where)
            assert box["y"] + box["height"] <= height, (height, where)
        assert 0 <= boxes["#atoms"]["y"] - boxes["#run"]["y"] - boxes["#run"]["height"] < 20
    page.tab.locator("#large").uncheck()
    page.tab.set_viewport_size({"width": 1280, "height": 900})


@needs_browser
@pytest.mark.parametrize(("width", "height", "large"), [(1280, 720, False), (1280, 800, True), (390, 844, False)])
def test_the_word_and_k_stay_in_view_and_cover_no_focus(page, width, height, large):
    page.word(1041, 29, False)
    page.tab.locator("#large").set_checked(large)
    page.tab.set_viewport_size({"width": width, "height": height})
    for step in page.tab.locator("#bar nav a").all():
        step.click()
        top = page.tab.evaluate(
            "hash => document.querySelector(hash).getBoundingClientRect().top", step.get_attribute("href")
        )
        bar = page.tab.locator("#bar").bounding_box()
        assert bar["y"] == 0
        assert bar["height"] <= height / 4
        assert bar["height"] <= top < height
        assert all(page.tab.locator(where).is_visible() for where in ("#k", "#item", "#bar-cos", "#bar-found"))
    page.tab.locator("#equations a, #equations dt, #limits summary").first.focus()
    covered = page.tab.evaluate(COVERED)
    assert covered["visited"] > 40
    assert covered["hidden"] == []
    page.tab.locator("#large").uncheck()
    page.tab.set_viewport_size({"width": 1280, "height": 900})


COVERED = """() => { // from the last to the first, as the keyboard goes back
  const bar = document.getElementById("bar"), found = { visited: 0, hidden: [] };
  const places = [...document.querySelectorAll("#one-word > section :is(a, summary, input, [tabindex='0'])")];
  for (const place of places.filter((each) => each.checkVisibility()).reverse()) {
    place.focus();
    found.visited += 1;
    const { top } = place.getBoundingClientRect();
    const isSeen = top >= bar.getBoundingClientRect().bottom - 0.5 && top < innerHeight;
    if (!isSeen) found.hidden.push(place.outerHTML.slice(0, 80));
  }
  return found;
}"""


@needs_browser
def test_large_text_is_a_switch_and_an_address(page):
    page.word(1041, 29, True)
    assert page.tab.evaluate(SMALLEST) < 16
    page.tab.evaluate("location.hash = '#projector'")
    page.tab.locator("#large:checked").wait_for()
    assert page.tab.locator("#one-word").get_attribute("data-row") == "1041"
    page.tab.locator("#all-digits").check()
    page.open_all()
    for width, least in ((1280, 19), (390, 14), (320, 14)):
        page.tab.set_viewport_size({"width": width, "height": 800})
        assert page.width() <= width
        assert page.tab.evaluate(SMALLEST) >= least
    page.tab.locator("details").evaluate_all("all => all.forEach((each) => { each.open = false; })")
    for control in ("#all-digits", "#large"):
        page.tab.locator(control).uncheck()
    assert page.tab.evaluate(SMALLEST) < 16


SMALLEST = """() => { // the size of the smallest text that is seen
  const hasText = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const seen = [...document.querySelectorAll("body *")].filter((each) =>
    each.checkVisibility() && hasText(each) && !each.closest("svg, .hidden, #failed"));
  return Math.min(...seen.map((each) => parseFloat(getComputedStyle(each).fontSize)));
}"""


@needs_browser
def test_boxes_that_scroll_have_a_name_and_answer_to_the_keyboard(page):
    page.word(1041, 29, False)
    page.open_all()
    for box in page.tab.locator(".exact").all():
        assert box.get_attribute("role") == "region"
        assert box.get_attribute("aria-label")
        height, inside, border = box.evaluate(
            "box => [box.clientHeight, box.scrollHeight, getComputedStyle(box).borderTopWidth]"
        )
        assert inside > height
        assert border == "1px"
        box.focus()
        page.tab.keyboard.press("End")
        page.tab.wait_for_function(
            "box => box.scrollTop + box.clientHeight >= box.scrollHeight - 1", arg=box.element_handle()
        )
    assert page.text("grads-count") == "29 rows."
    page.tab.locator("details").evaluate_all("all => all.forEach((each) => { each.open = false; })")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_contrast(page, scheme):
    page.word(2500, 64, True)
    page.tab.emulate_media(color_scheme=scheme)
    page.open_all()
    page.tab.locator("#item").fill("a")
    for width in (320, 390, 1280):
        page.tab.set_viewport_size({"width": width, "height": 844})
        assert page.width() <= width
    page.tab.locator("#item").fill("")
    for where in ("p", ".quiet", "a.eq", "data", "dd", ".error", "#run", ".both a", "#equations dd"):
        text, ground = page.tab.evaluate(
            """where => {
              const place = document.querySelector(where);
              let around = place;
              while (getComputedStyle(around).backgroundColor === "rgba(0, 0, 0, 0)") around = around.parentElement;
              return [getComputedStyle(place).color, getComputedStyle(around).backgroundColor];
            }""",
            where,
        )
        assert contrast(text, ground) >= 4.5, (where, text, ground)
    for name in ("own", "hat", "chosen"):  # pictures
        stroke, ground = page.tab.evaluate(
            """name => [getComputedStyle(document.querySelector(`.sticks .${name}`)).stroke,
              getComputedStyle(document.querySelector(".sticks svg")).backgroundColor]""",
            name,
        )
        assert contrast(stroke, ground) >= 2.8, name
    page.tab.locator("details").evaluate_all("all => all.forEach((each) => { each.open = false; })")


def contrast(one, other):
    """Return the contrast of WCAG 2."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@needs_browser
def test_times_in_this_browser(page):
    """One training step and one word; they are printed, not judged."""
    ms = page.tab.evaluate("""() => {
      const before = live.toy.step, start = performance.now();
      live.toy.train(100);
      return [before, live.toy.step, (performance.now() - start) / 100];
    }""")
    assert ms[1] == ms[0] + 100
    print(f"a step: {ms[2]:.2f} ms; {page.text('ms')} {page.text('encoding')}; {PAGE.stat().st_size:,} bytes")
    page.tab.locator("#reset").click()


# -- what goes wrong --------------------------------------------------------------------------------------------------


@needs_browser
def test_a_browser_without_import_maps_is_told_in_words(browser):
    tab = browser.new_context().new_page()
    tab.add_init_script("HTMLScriptElement.supports = () => false;")
    with Opened(tab, PAGE, "") as opened:
        opened.tab.get_by_role("alert").wait_for()
        text = opened.tab.locator("#failed").text_content()
    tab.context.close()
    assert text.startswith("The page could not start: this browser does not know import maps")
    assert text.endswith("Open it in a browser of 2023 or later.")


@needs_browser
@pytest.mark.parametrize("fault", ["model", "labels"])
def test_damaged_data_are_told_in_words(browser, tmp_path, fault):
    text = PAGE.read_text("utf-8")
    path, inside = tmp_path / "live.html", block(text, fault)
    at = text.index(inside) + len(inside) // 2
    path.write_text(text[:at] + text[at + 4 :] if fault == "model" else text.replace(inside, "[", 1), encoding="utf-8")
    tab = browser.new_context().new_page()
    with Opened(tab, path, "") as opened:
        opened.tab.get_by_role("alert").wait_for()
        said = opened.tab.locator("#failed").text_content()
        assert opened.tab.locator("#atoms .atom").count() == 8, "the toy needs no data"
    tab.context.close()
    name = {"model": "the model", "labels": "the names"}[fault]
    assert re.match(rf"The page could not start: {name}: .+\. Its file was altered or cut off: get it again\.$", said)
