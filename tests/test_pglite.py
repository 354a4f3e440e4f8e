"""Codes in PGlite, PostgreSQL as WebAssembly: the commands of its page, and a result that differs is seen."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, init_params, save_model
from compressae_ref.cli.main import main
from tests.conftest import HAS

FOLDER = Path(__file__).parent.parent / "examples" / "pglite"
COMMANDS = re.search(r"```bash\nnpm install\n(.*?)```", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL)[1]

pytestmark = pytest.mark.skipif(not (HAS["node"] and HAS["pglite"]), reason="needs npm install in examples/pglite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the commands of the page have run, but the last one."""
    folder = tmp_path_factory.mktemp("pglite")
    rng = np.random.default_rng(0)
    save_model(folder / "model.npz", Model(init_params(16, 4096, rng), 8))
    np.save(folder / "items.npy", rng.standard_normal((300, 16)).astype("f4"))
    np.save(folder / "queries.npy", rng.standard_normal((12, 16)).astype("f4"))
    return folder


def searched(folder: Path, capsys: pytest.CaptureFixture[str]) -> subprocess.CompletedProcess[str]:
    *commands, search = COMMANDS.splitlines()
    for command in commands:
        words, _, output = command.removeprefix("compressae-ref ").partition(" > ")
        capsys.readouterr()
        assert main(shlex.split(words)) == 0
        if output:
            (folder / output).write_text(capsys.readouterr().out, "utf-8")
    return node(search, folder)


def node(search: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, script, *rest = shlex.split(search)
    return subprocess.run([program, FOLDER / script, *rest], cwd=folder, capture_output=True, text=True, check=False)


def test_pglite_finds_what_search_finds(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    done = searched(folder, capsys)
    assert done.returncode == 0, done.stderr
    assert re.search(r"same ids: 12 of 12; scores differ by at most [0-9]e-[0-9]", done.stdout), done.stdout
    found = [json.loads(line) for line in (folder / "found.jsonl").read_text("utf-8").splitlines()]
    found[7]["scores"][3] += 1e-5
    (folder / "found.jsonl").write_text("\n".join(map(json.dumps, found)), "utf-8")
    assert node(COMMANDS.splitlines()[-1], folder).returncode == 1
