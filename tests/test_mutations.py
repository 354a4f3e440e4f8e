"""Each fault of `tests.mutations`, made in a copy of the package, must turn its tests red."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import compressae_ref
from tests.conftest import SIMULATED
from tests.mutations import COMPILED_FAULTS, CUDA_FAULTS, FAULTS, Fault

PACKAGE = Path(compressae_ref.__file__).parent
TESTS = Path(__file__).parent
TESTED_HERE = [*CUDA_FAULTS, *COMPILED_FAULTS] if SIMULATED else FAULTS


@pytest.mark.parametrize("fault", [*FAULTS, *CUDA_FAULTS, *COMPILED_FAULTS], ids=lambda fault: fault.what)
def test_the_fault_can_be_made(fault):
    text = (PACKAGE / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, f"{fault.old!r} stands {text.count(fault.old)} times in {fault.file}"
    compile(text.replace(fault.old, fault.new), fault.file, "exec")


@pytest.fixture(scope="module")
def outcomes(request):
    """The result of the tests of each chosen fault, to come: as many at once as there are processors, at most four."""
    chosen = [item.callspec.params["fault"] for item in request.session.items if "outcomes" in item.fixturenames]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        yield {fault.what: pool.submit(run_tests_of, fault) for fault in chosen}
        pool.shutdown(cancel_futures=True)


def run_tests_of(fault: Fault) -> subprocess.CompletedProcess[str]:
    """Make the fault in a copy, and run its tests there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in (PACKAGE, TESTS, TESTS.parent / "spec"):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        mutant = folder / PACKAGE.name / fault.file
        mutant.write_text(mutant.read_text(encoding="utf-8").replace(fault.old, fault.new), encoding="utf-8")
        file, *options = shlex.split(fault.tests)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{file}", *options]
        environment = os.environ | {"PYTHONPATH": name, "HYPOTHESIS_PROFILE": "faults"}
        # Plugins take half of the start, and no fault needs one.
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if SIMULATED:
            environment |= {"HYPOTHESIS_PROFILE": "simulated", "NUMBA_ENABLE_CUDASIM": str(int(fault in CUDA_FAULTS))}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.mutation
@pytest.mark.parametrize("fault", TESTED_HERE, ids=lambda fault: fault.what)
def test_the_fault_is_caught(fault, outcomes):
    result = outcomes[fault.what].result()
    # 1: tests failed. Below 0: the process was killed by what it did to its memory, which is no less red.
    assert result.returncode == 1 or result.returncode < 0, (
        f"{fault.what}: not caught by {fault.tests}\n{result.stdout[-2000:]}"
    )


def test_survivors_that_are_explained_are_mutants_of_the_code_as_it_is():
    command = [sys.executable, "-m", "tests.mutate", "--list"]
    result = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "reference:abs_topk: " in result.stdout
