"""What works where almost nothing is installed: blocked imports stand in for absent packages."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Codes, Model, init_params, load_codes, save_codes, save_model
from compressae_ref.retrieval.spaces import SPACES

ROOT = Path(__file__).parent.parent

BLOCK = """
import sys
ALONE, LISTED = sys.argv[1] == "all but numpy", set(sys.argv[1].split(","))
assert not {"numpy", "numba", "scipy"} & sys.modules.keys()
ALLOWED = {*sys.stdlib_module_names, "compressae_ref", "numpy"}
def blocked(name):
    root = name.split(".")[0]
    return root in LISTED or (ALONE and root not in ALLOWED)
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if blocked(name):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
import importlib.util as util
found = util.find_spec
util.find_spec = lambda name, *rest: None if blocked(name) else found(name, *rest)
"""
"""Blocks what the first argument lists, or all but NumPy and the standard library."""

COMMANDS = """
import contextlib, io, json
from compressae_ref.cli.main import main
for line in json.loads(sys.argv[2]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = main(line.split())
        except SystemExit as wrong_usage:
            code = wrong_usage.code
    print(json.dumps([line, code, out.getvalue()]))
"""

API = """
import hashlib, json
import numpy as np
import compressae_ref as csae
model, x = csae.load_model("model.npz"), np.load("x.npy")
if ALONE:
    assert csae.get_backend().name == "numpy"
codes = model.encode(x)
refined = csae.refine(codes, x, model.params)
packed = csae.pack(refined)
csae.save_codes("own_codes.npz", refined)
csae.save_packed("own_packed.npz", packed)
index = csae.Index.build(packed.unpack(), model=model, backend="numpy")  # files hold the search index of a backend
index.save("own_index.npz")
mapped = csae.Index.load("own_index.npz", model=model)
hits = [csae.search(x[:3], codes, 5, space=space, model=model) for space in ("sparse", "reconstructed", "asymmetric")]
hits += [each.search(x[:3], 5) for each in (index, mapped)]
results = [model.decode(codes), *(array for each in hits for array in each)]
print(json.dumps([hashlib.sha256(np.ascontiguousarray(array)).hexdigest() for array in results]))
"""

TRAIN = """
import numpy as np
from compressae_ref import fit
x = np.load(sys.argv[2])
print("done", fit(x, n_latents=40, k=3, steps=5).model.digest)
"""

WITH_NUMPY_ALONE = [
    "encode model.npz x.npy -o codes.npz",
    "encode model.npz x.npz --k 3 -o smaller.npz",
    "encode model.npz x.npy --refine -o refined.npz",
    "encode model.npz x.npy --anchors x.npy -o fitted.npz",
    "encode model.npz x.npy --bytes 18 -o residual.npz",
    "encode model.npz x.npy -o codes.csr",
    "encode model.npz x.npy -o codes.jsonl",
    *(f"search model.npz codes.npz queries.npy --top 3 --space {space}" for space in SPACES),
    "search model.npz residual.npz queries.npy --top 3",
    "pack refined.npz -o packed.npz",
    "search model.npz packed.npz queries.npy --top 3",
    "search model.npz packed.npz queries.npy --top 3 --json",
    "unpack packed.npz -o unpacked.npz",
    "unpack residual.npz -o sparse_part.npz",
    "split-signs codes.npz -o split.npz",
    *(f"inspect {name}" for name in ("model.npz", "codes.npz", "packed.npz", "residual.npz", "x.npy", "x.npz")),
    "inspect model.npz --json",
    "convert x.npy -o copy.npz",
    "convert x.npz -o copy.npy",
    "convert x.npy -o copy.fvecs",
    "convert model.npz -o model.safetensors",
    "verify model.npz x.npy codes.npz",
    "verify model.npz x.npy packed.npz",
    "verify model.npz x.npy fitted.npz --anchors x.npy",
    "verify model.npz x.npy split.npz",
    "verify --level L3 --bits",
    "verify --level packed --bits",
    "evaluate model.npz x.npy queries.npy --top 3",
    "train x.npy -o trained.npz --n-latents 40 --k 3 --steps 3",
]
"""What a function needs that encodes and searches, and more."""

WITH_SCIPY = {
    "convert codes.csr -o no.npz": "codes of other programs",
    "convert codes.jsonl --n-latents 30 -o no.npz": "codes of other programs",
    "convert scipy.npz -o no.npz": "codes of other programs",
    "verify model.npz x.npy dense.npy": "dense codes",
    "segments model.npz x.npy -o no.html --min-items 1": "segments",
    "evaluate model.npz x.npy queries.npy --top 3 --baselines": "--baselines",
}
"""What needs SciPy, and what its error calls it."""


def run(code, blocked, *arguments, folder=None, options=()):
    command = [sys.executable, *options, "-c", BLOCK + code, blocked, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def environment():
    """The package that is tested is on the path of processes that start in other folders."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minimal")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 8)).astype("f4")
    model = Model(init_params(8, 30, rng, init="tied"), 6)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", embeddings=x)
    np.save(folder / "queries.npy", x[:5] + rng.standard_normal((5, 8)).astype("f4") / 4)
    save_model(folder / "model.npz", model)
    return folder


def outcomes(files, folder, blocked, options=()):
    """What commands and the Python API print and write in a folder of their own."""
    shutil.copytree(files, folder)
    commands = run(COMMANDS, blocked, json.dumps(WITH_NUMPY_ALONE), folder=folder, options=options)
    assert commands.returncode == 0, commands.stderr
    api = run(API, blocked, folder=folder, options=options)
    assert api.returncode == 0, api.stderr
    printed = [json.loads(line) for line in commands.stdout.splitlines()]
    return printed, api.stdout, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    return outcomes(files, tmp_path_factory.mktemp("alone") / "files", "all but numpy")


def test_encoding_and_searching_need_numpy_alone_and_give_the_same_bytes(alone, files, tmp_path):
    printed, of_api, written = alone
    assert [(line, code) for line, code, _ in printed] == [(line, 0) for line in WITH_NUMPY_ALONE]
    with_everything = outcomes(files, tmp_path / "files", "torch")
    for line, expected in zip(printed, with_everything[0], strict=True):
        assert line == expected
    assert of_api == with_everything[1]
    assert written.keys() == with_everything[2].keys()
    for name, data in written.items():
        assert data == with_everything[2][name], name


def test_what_needs_scipy_says_so_in_one_line(alone, files, tmp_path):
    for name in ("model.npz", "x.npy", "queries.npy"):
        shutil.copy(files / name, tmp_path)
    for name in ("codes.csr", "codes.jsonl"):
        (tmp_path / name).write_bytes(alone[2][name])
    sparse = pytest.importorskip("scipy.sparse")
    np.save(tmp_path / "dense.npy", np.eye(40, 30, dtype="f4"))
    sparse.save_npz(tmp_path / "scipy.npz", sparse.eye_array(40, 30, dtype="f4", format="csr"))
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run(COMMANDS, "all but numpy", json.dumps([*WITH_SCIPY]), folder=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("compressae-ref: ")]
    missing = "expected the package scipy, which is not installed; pip install scipy"
    assert errors == [f"compressae-ref: {what}: {missing}" for what in WITH_SCIPY.values()]
    assert [json.loads(line)[1] for line in done.stdout.splitlines()] == [1] * len(WITH_SCIPY)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


WRONG = [
    "encode model.npz nan.npy -o no.npz",
    "encode model.npz zero.npy -o no.npz",
    "encode model.npz wide.npy -o no.npz",
    "encode model.npz x.npy --k 31 -o no.npz",
    "encode cut.npz x.npy -o no.npz",
    "encode changed.npz x.npy -o no.npz",
    "search model.npz codes.npz queries.npy --top 0",
    "search other.npz codes.npz queries.npy",
    "search model.npz codes.npz nan.npy",
    "pack model.npz -o no.npz",
    "unpack codes.npz -o no.npz",
    "pack codes.npz --bits 7 -o no.npz",
    "convert nan.npy -o no.fvecs",
    "inspect cut.npz",
    "verify model.npz wide.npy codes.npz",
    "verify model.npz x.npy wrong.npz",
]
"""Wrong input of each kind."""


@pytest.fixture(scope="module")
def wrong_files(files, alone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong") / "files"
    shutil.copytree(files, folder)
    (folder / "codes.npz").write_bytes(alone[2]["codes.npz"])
    x = np.load(files / "x.npy")
    codes = load_codes(folder / "codes.npz")
    save_codes(folder / "wrong.npz", Codes(codes.indices, -codes.values, codes.n_latents, codes.model))
    save_model(folder / "other.npz", Model(init_params(8, 30, np.random.default_rng(1)), 6))
    changed = dict(np.load(files / "model.npz"))
    np.savez(folder / "changed.npz", **{**changed, "b_enc": changed["b_enc"] + 1})
    (folder / "cut.npz").write_bytes((files / "model.npz").read_bytes()[:-100])
    np.save(folder / "wide.npy", np.ones((3, 9), np.float32))
    for name, value in (("nan", np.nan), ("zero", 0)):
        bad = x.copy()
        bad[7] = value
        np.save(folder / f"{name}.npy", bad)
    return folder


def refusals(wrong_files, options=()):
    done = run(COMMANDS, "all but numpy", json.dumps(WRONG), folder=wrong_files, options=options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def refused(wrong_files):
    return refusals(wrong_files)


def test_wrong_input_is_refused_in_one_line(refused):
    printed, errors = refused
    assert all(code in (1, 2) for _, code, _ in printed), printed
    assert len(errors.splitlines()) == len(WRONG) - 1, errors  # verify says on standard output what differs
    assert "unexpected" not in errors


OPTIONS = [["-OO"], ["-X", "dev", "-W", "error"]]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options_of_python_change_nothing(alone, files, wrong_files, refused, tmp_path, options):
    """``-OO`` removes docstrings, and assertions as ``-O`` does; neither errors nor results depend on them."""
    assert outcomes(files, tmp_path / "files", "all but numpy", options) == alone
    assert refusals(wrong_files, options) == refused


def test_assertions_tell_type_checkers_a_type_and_check_no_input():
    for path in (ROOT / "compressae_ref").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                told = ast.unparse(node.test)
                assert re.fullmatch(r"[\w.]+ is not None|isinstance\([\w.]+, \w+\)", told), f"{path}: {told}"


def test_scipy_is_imported_in_one_place():
    """Elsewhere only the estimator imports it, which scikit-learn needs anyway, and type checkers do."""
    for path in (ROOT / "compressae_ref").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if re.match(r"\s*(from|import) scipy", line)]
        at_top = "from scipy import sparse" if path.name == "estimator.py" else "    from scipy.sparse import csr_array"
        allowed = {"estimator.py": 1, "codes.py": 1}.get(path.name, 0)
        assert found == [at_top] * allowed * (path.parent.name == "compressae_ref"), path


def test_training_without_numba_gives_the_same_model(files):
    without, with_numba = (run(TRAIN, blocked, files / "x.npy") for blocked in ("numba,llvmlite", "torch"))
    assert without.stdout == with_numba.stdout
    assert without.stdout.startswith("done ")


def test_importing_the_package_imports_neither_numba_nor_scipy():
    extras = (
        "{'numba', 'scipy', 'tqdm', 'matplotlib', 'torch', 'sklearn', 'pyarrow', 'h5py', 'qdrant_edge', 'distributed'}"
    )
    code = f"import sys, compressae_ref; print(*sorted({extras} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_public_name_is_imported_when_it_is_first_used():
    code = """
import sys, typing, ast, compressae_ref
assert "numpy" not in sys.modules
tree = ast.parse(open(compressae_ref.__file__, encoding="utf-8").read())
imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "compressae_ref" in node.module]
assert all(alias.asname == alias.name for node in imports for alias in node.names)  # so type checkers export it
typed = {alias.name: node.module for node in imports for alias in node.names}
assert {name: f"compressae_ref.{module}" for name, module in compressae_ref._MODULES.items()} == typed
del typed["CompresSAE"]  # it needs scikit-learn, and ``import *`` must not
assert sorted(typed) == sorted(compressae_ref.__all__), set(typed) ^ set(compressae_ref.__all__)
for name, module in typed.items():
    value = getattr(compressae_ref, name)
    assert value is getattr(sys.modules[module], name)
    assert name in dir(compressae_ref)
try:
    compressae_ref.no_such_name
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'compressae_ref' has no attribute 'no_such_name'\n"
