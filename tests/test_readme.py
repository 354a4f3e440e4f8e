"""README and pages: their code and commands run, links and sizes hold, and numbers are those that were measured."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, encode_refined, init_params, pack, save_model, save_packed
from compressae_ref.cli.main import main
from spec.generate.program import PAGES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from benchmarks import pages  # noqa: E402  it is no part of the package

README = (ROOT / "README.md").read_text(encoding="utf-8")


EXAMPLES = ROOT / "examples"
WRITTEN = [ROOT / "README.md", *sorted((EXAMPLES / "pages").glob("*.md"))]
RUN_WITHOUT_MORE = ("anywhere.md", "search.md", "stores.md")
"""Pages whose Python needs no GPU."""


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "embeddings.npy", rng.standard_normal((300, 16)).astype("f2"))
    np.save(tmp_path / "queries.npy", rng.standard_normal((120, 16)).astype("f2"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(folder):
    pytest.importorskip("scipy")
    (code,) = blocks("python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["ids"].shape == (5, 10)
    from scipy.sparse import load_npz

    assert load_npz(folder / "codes.npz").shape == (300, names["codes"].n_latents)


@pytest.mark.parametrize("name", RUN_WITHOUT_MORE)
def test_the_python_of_the_pages_runs(folder, name):
    x = np.load("embeddings.npy").astype(np.float32)
    model = Model(init_params(16, 1024, np.random.default_rng(0), init="tied"), 32)
    save_model("model.npz", model)
    save_packed("packed.npz", pack(encode_refined(x, model)))
    names: dict = {"x": x}
    found = blocks("python", (EXAMPLES / "pages" / name).read_text(encoding="utf-8"))
    assert found
    for code in found:
        exec(compile(code, name, "exec"), names)


def test_the_commands_of_the_readme_run(folder, capsys):
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("compressae-ref ")]
    assert len(commands) == 8
    for line in commands:
        assert main(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err
    assert "codes, dense queries" in capsys.readouterr().out


def test_the_readme_is_a_front_page():
    assert len(README.splitlines()) <= 130
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 8
    (result,) = re.findall(r"<!-- table .*?<!-- end -->", README, re.S)
    assert len(re.findall(r"(?m)^\|", result)) <= 2 + 7


def test_links_lead_somewhere():
    for page in (*WRITTEN, *sorted((ROOT / "spec").glob("*.md"))):
        for target in re.findall(r"\]\((?!http)([^)#]*)", page.read_text(encoding="utf-8")):
            assert not target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_headings_that_links_name_exist():
    for page in WRITTEN:
        for target, heading in re.findall(r"\]\((?!http)([^)#]*)#([^)]*)\)", page.read_text(encoding="utf-8")):
            text = (page.parent / target).read_text(encoding="utf-8") if target else page.read_text(encoding="utf-8")
            headings = [re.sub(r"[^\w\- ]", "", line.lower()) for line in re.findall(r"(?m)^#+ (.*)", text)]
            assert heading in [line.replace(" ", "-") for line in headings], f"{page.name}: {target}#{heading}"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_numbers_in_tables_and_figures_are_those_that_were_measured(path):
    text = path.read_text(encoding="utf-8")
    assert pages.rendered(text) == text, "run: python examples/bench.py pages"
    assert not re.findall(r"(?m)^ *<!--=", text), "a line that begins with a comment ends the paragraph"
    by_hand = re.sub(r"<!-- table .*?<!-- end -->|```.*?```|`[^`]*`", "", text, flags=re.S)
    assert not re.findall(r"(?m)^\|.*\d\.\d\d.*", by_hand), "a table of numbers belongs between markers"


def test_each_measurement_is_shown_and_names_its_command():
    text = "".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    for path in pages.MEASURED.glob("*.json"):
        measured = pages.load_measured(path.stem)
        assert set(measured) == {"command", "where", "when", "text", "columns", "rows"}, path.name
        assert {len(row) for row in measured["rows"]} == {len(measured["columns"])}, path.name
        assert re.search(rf"<!-- table (?:[\w-]+\+)*{path.stem}[ /+]|<!--={path.stem}/", text), (
            f"{path.name} is not shown anywhere"
        )


def test_pictures_are_small():
    for path in (EXAMPLES / "pages").glob("*.png"):
        assert path.stat().st_size < 150_000, path.name


def test_the_equations_and_rules_that_the_code_cites_are_in_the_specification():
    spec = "".join((ROOT / "spec" / name).read_text("utf-8") for name in PAGES)
    stated = set(re.findall(r"\*\*([ER]\d+'*)\*\*", spec))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "compressae_ref").rglob("*.py"))
    cited = set(re.findall(r"\b([ER]\d{1,2}(?!\w)'*)", code))
    assert cited <= stated, cited - stated
    assert not stated - cited, stated - cited


def test_the_mathematics_can_be_read_in_one_evening():
    for name, at_most in {"reference.py": 250, "model.py": 150, "training/step.py": 200}.items():
        assert len((ROOT / "compressae_ref" / name).read_text("utf-8").splitlines()) <= at_most, name


def test_nothing_uses_fastmath():
    for path in (ROOT / "compressae_ref").rglob("*.py"):
        assert not re.search(r"fastmath\s*=\s*True", path.read_text(encoding="utf-8")), path
