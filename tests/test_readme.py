"""What the README says is run: its Python, its commands, its links and the sizes that it and the design claim."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from compressae_ref.cli.main import main
from spec.generate.program import PAGES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


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


def test_the_commands_of_the_readme_run(folder, capsys):
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("compressae-ref ")]
    assert len(commands) >= 5
    for line in commands:
        assert main(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr().err
    assert "asked with dense queries" in capsys.readouterr().out


def test_the_links_of_the_readme_and_the_specification_lead_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "spec").glob("*.md")), *sorted((ROOT / "examples").glob("*.md"))):
        for target in re.findall(r"\]\((?!http)([^)#]*)", page.read_text(encoding="utf-8")):
            assert not target or (page.parent / target).exists(), f"{page.name}: {target}"


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
