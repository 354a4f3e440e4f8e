"""What works where almost nothing is installed: blocked imports stand in for absent packages."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from compressae_ref import Model, init_params, save_codes, save_model

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
import importlib.util as util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name.split(".")[0] in BLOCKED else found(name, *rest)
"""

ENCODE_AND_SEARCH = """
import numpy as np
from compressae_ref import load_model, load_codes, search, get_backend
assert get_backend().name == "numpy"
model = load_model(sys.argv[2])
x = np.load(sys.argv[3])
codes = model.encode(x)
stored = load_codes(sys.argv[4])
assert np.array_equal(codes.indices, stored.indices) and np.array_equal(codes.values, stored.values)
for space in ("sparse", "reconstructed", "asymmetric"):
    assert search(x[:3], codes, 1, space=space, model=model).ids.shape == (3, 1)
assert search(x, codes, 1, model=model).ids[:, 0].tolist() == list(range(len(x)))
print("done", *sorted(BLOCKED & set(sys.modules)))
"""

TRAIN = """
import numpy as np
from compressae_ref import fit
x = np.load(sys.argv[3])
print("done", fit(x, n_latents=40, k=3, steps=5).model.digest)
"""


def run(code, blocked, *arguments):
    command = [sys.executable, "-c", BLOCK + code, blocked, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minimal")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 8)).astype("f4")
    model = Model(init_params(8, 30, rng, init="tied"), 6)
    np.save(folder / "x.npy", x)
    save_model(folder / "model.npz", model)
    save_codes(folder / "codes.npz", model.encode(x, backend="numpy"))
    return folder / "model.npz", folder / "x.npy", folder / "codes.npz"


def test_encoding_and_searching_need_numpy_alone(files):
    blocked = "numba,llvmlite,scipy,tqdm,matplotlib,torch,hypothesis,pytest"
    assert run(ENCODE_AND_SEARCH, blocked, *files) == ["done"]


def test_training_without_numba_gives_the_same_model(files):
    without, with_numba = (run(TRAIN, blocked, *files) for blocked in ("numba,llvmlite", "torch"))
    assert without == with_numba


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
