"""What is installed: the wheel of the package holds no data and stays small; the data are packages of their own."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, init_params, optional, save_model
from compressae_ref.cli.main import main
from compressae_ref.demo_data import load_addresses, load_demo_data, read_demo_file
from compressae_ref.errors import BackendError
from compressae_ref.verify.vectors import SPEC_VERSION, default_folder, load_folder
from tests.test_minimal import BLOCK
from tests.test_minimal import COMMANDS as RUN

ROOT = Path(__file__).parent.parent
MOST_BYTES = 1_000_000
"""Bytes of the package's wheel, at most."""

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"

SOURCES = {
    "compressae_ref": (".", ("compressae_ref", "pyproject.toml", "README.md", "LICENSE")),
    "compressae_ref_demo": ("examples/demo_data", ("compressae_ref_demo", "pyproject.toml", "README.md")),
    "compressae_ref_vectors": ("spec", ("vectors", "pyproject.toml", "LICENSE")),
}
"""For each wheel its folder in a clone, and what is read there to build it."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Wheels of all packages, built from copies: a build leaves files behind."""
    pytest.importorskip("setuptools", minversion="77")
    folder, built = tmp_path_factory.mktemp("wheels"), {}
    for name, (place, parts) in SOURCES.items():
        copy = folder / name
        for part in parts:
            source, target = ROOT / place / part, copy / part
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        command = [sys.executable, "-c", BUILD, str(folder)]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        built[name] = folder / done.stdout.split()[-1]
    return built


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def metadata(files: dict[str, bytes]) -> email.message.Message:
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(files[name])


def test_the_wheel_is_small_and_holds_no_data(wheels):
    assert wheels["compressae_ref"].stat().st_size < MOST_BYTES
    files = content(wheels["compressae_ref"])
    assert {Path(name).suffix for name in files if ".dist-info" not in name} == {".py", ".typed", ".css", ".js"}


def test_the_wheel_holds_every_module(wheels):
    files = content(wheels["compressae_ref"])
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compressae_ref").rglob("*.py")}
    assert modules == {name for name in files if name.endswith(".py")}
    assert "compressae_ref/py.typed" in files


def test_the_metadata_names_licences_and_the_readme(wheels):
    for name, wheel in wheels.items():
        files = content(wheel)
        about = metadata(files)
        readme = ROOT / SOURCES[name][0] / ("vectors/README.md" if name == "compressae_ref_vectors" else "README.md")
        assert about.get_payload(decode=True).decode().strip() == readme.read_text(encoding="utf-8").strip()
        assert about["Requires-Python"] == ">=3.10"
        assert about["License-Expression"]
        for licence in about.get_all("License-File"):
            (stored,) = (text for path, text in files.items() if path.endswith(f".dist-info/licenses/{licence}"))
            assert stored == (ROOT / SOURCES[name][0] / licence).read_bytes()


FOLDERS = {"compressae_ref_demo": "examples/demo_data/compressae_ref_demo", "compressae_ref_vectors": "spec/vectors"}


@pytest.mark.parametrize("name", FOLDERS)
def test_data_need_nothing_and_are_stored_as_they_are(wheels, name):
    files = content(wheels[name])
    assert metadata(files).get_all("Requires-Dist") is None
    folder = ROOT / FOLDERS[name]
    paths = [path for path in folder.rglob("*.*") if path.is_file() and not {"__pycache__", "schema"} & {*path.parts}]
    stored = {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}
    assert stored == {path: data for path, data in files.items() if ".dist-info" not in path}


def test_the_vectors_have_the_version_of_the_specification(wheels):
    assert metadata(content(wheels["compressae_ref_vectors"]))["Version"] == SPEC_VERSION


def test_licences_of_our_own_are_one(wheels):
    assert (ROOT / "spec" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


READ = """
import compressae_ref
from compressae_ref.demo_data import demo_folder, load_demo_data
from compressae_ref.verify.vectors import default_folder, load_folder
print(compressae_ref.__file__, demo_folder(), load_demo_data().items.shape)
print(default_folder(), len(load_folder(default_folder())))
"""


def run_installed(folder, wheels, code, *arguments):
    """Run code in a process that finds these wheels, which are installed without dependencies; returns its output."""
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*install, *map(str, wheels)], check=True)
    command, environment = [sys.executable, "-c", code, *arguments], os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheels_that_are_installed_find_the_data(wheels, tmp_path):
    places = f"{tmp_path}/compressae_ref/__init__.py {tmp_path}/compressae_ref_demo"
    expected = f"{places} (4010, 384)\n{tmp_path}/compressae_ref_vectors {len(load_folder(default_folder()))}\n"
    assert run_installed(tmp_path, wheels.values(), READ) == expected


def test_the_wheel_without_dependencies_encodes_and_searches(wheels, tmp_path):
    """The installation of ``anywhere.md``: the wheel and NumPy."""
    page = (ROOT / "examples" / "pages" / "anywhere.md").read_text(encoding="utf-8")
    assert "```sh\npip install numpy && pip install --no-deps .\n```" in page
    model = Model(init_params(8, 32, np.random.default_rng(0), init="tied"), 4)
    save_model(tmp_path / "model.npz", model)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((9, 8)).astype("f4"))
    lines = ["encode model.npz x.npy -o codes.npz", "search model.npz codes.npz x.npy --top 1"]
    out = run_installed(tmp_path, [wheels["compressae_ref"]], BLOCK + RUN, "all but numpy", json.dumps(lines))
    encoded, searched = map(json.loads, out.splitlines())
    assert (encoded[1], searched[1]) == (0, 0)
    assert len(searched[2].splitlines()) == 9


# -- without the data -------------------------------------------------------------------------------------------------


@pytest.fixture
def without_data(monkeypatch, tmp_path):
    """No clone around the package, and no package of data."""
    monkeypatch.setattr(optional, "_ROOT", tmp_path)
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)


NO_DEMO = (
    "demo data: expected the package compressae-ref-demo, which is not installed; "
    "in a clone of the repository, run: pip install ./examples/demo_data"
)


NO_VECTORS = (
    "test vectors: expected the package compressae-ref-vectors, which is not installed; "
    "in a clone of the repository, run: pip install ./spec"
)


@pytest.mark.parametrize("read", [load_demo_data, load_addresses, lambda: read_demo_file("small_wordnet.npz")])
def test_reading_says_which_data_are_missing(without_data, read):
    with pytest.raises(BackendError) as caught:
        read()
    assert str(caught.value) == NO_DEMO


COMMANDS = {"demo": NO_DEMO, "demo --segments": NO_DEMO, "demo --store here": NO_DEMO}
COMMANDS |= {"verify": NO_VECTORS, "verify --program true": NO_VECTORS, "verify --requests here": NO_VECTORS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_which_data_are_missing(without_data, tmp_path, capsys, command):
    if "--store" in command:
        pytest.importorskip("qdrant_edge")
    assert main(command.split()) == 1
    assert capsys.readouterr().err == f"compressae-ref: {COMMANDS[command]}\n"
    assert not list(tmp_path.iterdir())
