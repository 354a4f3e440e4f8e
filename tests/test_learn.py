"""The class: every chapter runs as a script and as a notebook, and its page shows what it prints today."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import reference as ref

LEARN = Path(__file__).parent.parent / "examples" / "learn"
sys.path.insert(0, str(LEARN))
make = importlib.import_module("make")
torch_gradients = importlib.import_module("torch_gradients")
CHAPTERS = list(make.CHAPTERS)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")


@pytest.fixture(scope="module", params=CHAPTERS)
def chapter(request, tmp_path_factory):
    """Name, source, page, printed lines and folder of pictures of a chapter that ran as a script, in another folder."""
    pytest.importorskip("matplotlib")
    name, folder = request.param, tmp_path_factory.mktemp("pictures")
    cwd = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-W", "error", str(LEARN / f"{name}.py")]
    environment = os.environ | {"PICTURES": str(folder)}
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not list(cwd.iterdir()), "it left files behind"
    source, page = ((LEARN / f"{name}{suffix}").read_text(encoding="utf-8") for suffix in (".py", ".md"))
    return name, source, page, run.stdout.splitlines(), folder


def test_the_page_has_the_text_the_code_and_what_is_printed(chapter):
    """In this order: so a page is never older than its script."""
    name, source, page, printed, _ = chapter
    rest, expected = page, []
    for cell in re.split(r"(?m)^# %%", source)[1:]:
        kind, _, body = cell.partition("\n")
        expected += [
            line.removeprefix("# ").removeprefix("#") if "markdown" in kind else line for line in body.splitlines()
        ]
    for wanted in (expected, [f"    {line}".rstrip() for line in printed]):
        rest = page
        for line in (line.rstrip() for line in wanted):
            if line:
                _, found, rest = rest.partition(f"{line}\n")
                assert found, f"{line!r} is not in {name}.md: run python examples/learn/make.py pages {name}"


def test_every_picture_is_shown_described_and_drawn(chapter):
    name, _, page, _, folder = chapter
    shown = IMAGE.findall(page)
    assert shown, "a chapter shows pictures"
    for text, target in shown:
        assert len(text) >= 30, f"{target}: describe what the picture shows"
        assert (LEARN / target).is_file()
    drawn = {f"pictures/{path.name}" for path in folder.iterdir()}
    assert drawn == {target for _, target in shown}
    assert all(target.startswith(f"pictures/{name[0]}_") for target in drawn)


def test_a_chapter_is_plain_python_without_typography(chapter):
    """Printing takes at most ten lines, or a fifth of the lines of code."""
    name, source, _, _, _ = chapter
    tree = ast.parse(source)
    lines = {
        n for node in ast.walk(tree) if isinstance(node, ast.stmt) for n in range(node.lineno, node.end_lineno + 1)
    }
    prints = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]
    assert sum(node.end_lineno - node.lineno + 1 for node in prints) <= max(10, 0.2 * len(lines)), name


def test_a_chapter_names_equations_and_ends_with_what_it_does_not_show(chapter):
    _, _, page, _, _ = chapter
    assert re.search(r"(?m)^Equations: .*\bE\d+", page)
    headings = re.findall(r"(?m)^## (.*)$", page)
    assert headings[-1] == "What this does not show"
    assert any(heading.startswith("Exercises") for heading in headings)


def test_what_chapters_4_and_6_say_about_bits_is_what_they_print():
    train, bits = ((LEARN / f"{name}.md").read_text(encoding="utf-8") for name in ("4_train", "6_why_bits_differ"))
    package, loop = (re.search(rf"(?m)^ +{who} +([0-9a-f]{{16}})$", train)[1] for who in ("package", "our loop"))
    assert package == loop, "the loop of the chapter computes other bits than the package"
    for pattern in (r": (\d+\.0)$", r", cosine [\d.]+: stores \[(\d+)\]$"):
        answers = re.findall(rf"(?m)^    (?:left to right|eight lanes|fold \(E1\)){pattern}", bits)
        assert len(answers) == 3
        assert len(set(answers)) > 1, "the order of the sum changes nothing"
    verdicts = re.findall(r"(?m)^ +[a-z_]+-\d+: (passed|FAILED)", bits)
    assert verdicts == ["FAILED", "passed", "passed", "passed", "FAILED"]


def test_what_chapter_6_answers_about_minus_zero_is_so(monkeypatch, tmp_path, capsys):
    """The folded code runs, and the tests that it names fail; those that expect an error are judged, too."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PICTURES", str(tmp_path))
    chapter = runpy.run_path(str(LEARN / "6_why_bits_differ.py"))
    _, answer = (LEARN / "6_why_bits_differ.md").read_text(encoding="utf-8").split("**−0.**")
    code, words = re.search(r"(?s)```python\n(.*?)```\n(.*?)</details>", answer).groups()
    capsys.readouterr()
    exec(code, chapter)
    failed = re.findall(r"(?m)^(abs_topk-\d+): FAILED", capsys.readouterr().out)
    assert failed == re.findall(r"`(abs_topk-\d+)`", words)
    for test in chapter["file"].tests[15:]:
        indices, values = chapter["wrong_topk"](**test.inputs)
        assert "FAILED: expected DomainError" in chapter["verdict"](test, indices=indices, values=values)


def test_what_chapters_1_and_4_say_of_their_numbers_is_what_they_print():
    """A sentence that claims more than the lines above it is wrong."""
    code, train = ((LEARN / f"{name}.md").read_text(encoding="utf-8") for name in ("1_what_a_code_is", "4_train"))
    one, two = (re.search(rf"(?m)^ +{k} +\d+ +(\d\.\d) +(?:–|(\d+)%)$", code) for k in (1, 2))
    assert re.search(rf"mean rises from {one[1]} to {two[1]}, and only {two[2]} % of\s+the items lose", code)
    good, other = re.search(r"in (\d+) of 100 seeds; ", train)[1], re.search(r"In the other (\d+) of 100", train)[1]
    assert int(good) + int(other) == 100
    pairs = re.findall(r"k = (\d), seed \d: .*loss (0\.\d+), with a fixed encoder (0\.\d+)", train)
    assert {learned == fixed for k, learned, fixed in pairs if k == "1"} == {True}
    lower = [learned < fixed for k, learned, fixed in pairs if k == "2"]
    assert (sum(lower), len(lower)) == (7, 8)
    assert "for seven of the eight seeds" in train
    adam, plain = re.findall(r"for the busiest: (\d+\.\d) times as far", train)
    assert f"the factor is {adam}" in train
    assert f"moves {float(plain):.0f} times as far in a step" in train


@pytest.mark.parametrize("seed", range(3))
def test_the_encoder_of_chapter_4_has_a_gradient_only_if_there_is_more_than_one_entry(seed):
    """One entry: ∂L/∂x̂ is perpendicular to the atom. 20 rows, each with a gradient below 10: rounding alone."""
    rng = np.random.default_rng(seed)
    x, params = rng.standard_normal((20, 2)), ref.initial(rng.random((2, 6)), rng.random((6, 2)), tied=False)
    for k, aux_weight, learns in ((1, 0, False), (1, 1 / 8, True), (2, 0, True)):
        _, (grad_W_enc, grad_b_enc, grad_W_dec) = ref.loss_and_gradients(x, *params, k, aux_weight)
        assert (np.abs(grad_W_enc).max() > 1e-3) == learns
        assert learns or max(np.abs(grad_W_enc).max(), np.abs(grad_b_enc).max()) < 1e-13
        assert np.abs(grad_W_dec).max() > 1e-3


def test_the_loop_of_chapter_4_can_be_typed():
    loop = re.search(r"(?s)\ndef start\(.*?\n    return params\n", (LEARN / "4_train.py").read_text(encoding="utf-8"))[
        0
    ]
    assert len([line for line in loop.splitlines() if line.strip()]) <= 60
    assert (LEARN / "pictures" / "4_atoms.gif").stat().st_size < 400_000


def test_no_picture_is_left_over():
    shown = {target for page in LEARN.glob("*.md") for _, target in IMAGE.findall(page.read_text(encoding="utf-8"))}
    assert {f"pictures/{path.name}" for path in (LEARN / "pictures").iterdir()} <= shown


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_the_page_is_what_the_notebook_shows(name, monkeypatch, tmp_path):
    for module in ("jupytext", "nbclient", "nbconvert", "ipykernel"):
        pytest.importorskip(module)
    monkeypatch.setenv("PICTURES", str(tmp_path))
    notebook = make.executed(make.CHAPTERS[name])
    assert make.page(notebook) == (LEARN / f"{name}.md").read_text(encoding="utf-8")
    make.write_notebook(notebook, tmp_path / name)
    html = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=\"https?:", html), "the page needs no network"


@pytest.fixture(scope="module")
def backward(tmp_path_factory):
    """What chapter 3 defines, by name."""
    pytest.importorskip("matplotlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PICTURES", str(tmp_path_factory.mktemp("pictures")))
        return runpy.run_path(str(LEARN / "3_backward_by_hand.py"))


@pytest.mark.parametrize("seed", range(5))
def test_gradients_by_hand_are_those_of_the_reference(backward, seed):
    """Sums of at most 24 numbers below 1 in another order than that of E14: rounding alone."""
    model = torch_gradients.small_model(seed)
    for k in (1, 2, 5):
        found = backward["gradients"](**model, k=k)
        _, expected = ref.loss_and_gradients(**model, k=k)
        for name, gradient in zip(("W_enc", "b_enc", "W_dec"), expected, strict=True):
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-15, err_msg=f"{name}, k = {k}")


def test_slopes_by_hand_are_those_of_finite_differences(backward):
    """A central difference errs by size² · a third derivative + rounding / size: 1e-10 each, times less than 100."""
    claimed, measured = backward["claimed_slope"], backward["measured_slope"]
    for name in ("W_enc", "b_enc", "W_dec"):
        assert abs(measured(name, 1e-5) - claimed(name, backward["ours"])) < 1e-8, name
        assert abs(measured(name, 1e-5) - claimed(name, backward["wrong"])) > 1e-2, name


def test_every_gradient_by_hand_is_that_of_autograd_which_is_stored(backward):
    """Chains of fewer than 100 rounded operations, of numbers below 10 that are divided by norms above 0.1."""
    stored = torch_gradients.stored()
    assert {name: array.tolist() for name, array in torch_gradients.small_model(3).items()} == {
        name: array.tolist() for name, array in stored["model"].items()
    }
    assert set(stored["gradients"]) == set(backward["ours"])
    for name, gradient in stored["gradients"].items():
        np.testing.assert_allclose(backward["ours"][name], gradient, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.oracle
def test_every_gradient_by_hand_is_that_of_autograd(backward):
    """What is stored is what PyTorch says today, and other models agree with it, too."""
    stored = torch_gradients.stored()
    loss, gradients = torch_gradients.autograd(**stored["model"], k=stored["k"])
    assert abs(loss - stored["loss"]) < 1e-12
    for name, gradient in gradients.items():
        np.testing.assert_allclose(stored["gradients"][name], gradient, rtol=0, atol=1e-12, err_msg=name)
    for seed in range(5):
        model = torch_gradients.small_model(seed)
        found = backward["gradients"](**model, k=2)
        for name, gradient in torch_gradients.autograd(**model, k=2)[1].items():
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-12, err_msg=f"{name}, seed {seed}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pages"], r"make.py: expected the package no_such_package, .* pip install '\.\[learn\]'"),
        (["slides", "4_train"], r"2"),
        (["pages", "-o", "somewhere"], r"2"),
        (["pages", "7_more"], r"2"),
    ],
)
def test_what_cannot_be_made_is_one_line(words, expected, monkeypatch):
    monkeypatch.setattr(make, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(sys, "argv", ["make.py", *words])
    with pytest.raises(SystemExit, match=expected):
        make.main()


def test_a_notebook_is_not_overwritten(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "HERE", tmp_path)
    monkeypatch.setattr(make, "NEEDED", ())
    (tmp_path / "4_train.ipynb").write_text("notes")
    for words in (["notebooks"], ["notebooks", "4_train"]):
        monkeypatch.setattr(sys, "argv", ["make.py", *words])
        with pytest.raises(SystemExit, match=r"4_train.ipynb exists"):
            make.main()
    assert (tmp_path / "4_train.ipynb").read_text() == "notes"
