"""Each fault of `tests.mutations`, made in a copy of the package, must turn its tests red."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest

import compressae_ref
from tests.conftest import ONE_THREAD, SIMULATED
from tests.mutations import COMPILED_FAULTS, CUDA_FAULTS, FAULTS, Fault
from tests.warm_pytest import WarmPytest, warm_pytest

PACKAGE = Path(compressae_ref.__file__).parent
TESTS = Path(__file__).parent
MODULES = [
    "pytest",
    "hypothesis.extra.numpy",
    "scipy.cluster.hierarchy",
    "scipy.stats",
    *([] if SIMULATED else ["numba"]),
]
"""What most tests import. Numba is not among them where faults differ in its settings, which it reads when imported."""
TESTED_HERE = [*CUDA_FAULTS, *COMPILED_FAULTS] if SIMULATED else FAULTS


@pytest.mark.parametrize("fault", [*FAULTS, *CUDA_FAULTS, *COMPILED_FAULTS], ids=lambda fault: fault.what)
def test_the_fault_can_be_made(fault):
    text = (PACKAGE / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, f"{fault.old!r} stands {text.count(fault.old)} times in {fault.file}"
    compile(text.replace(fault.old, fault.new), fault.file, "exec")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A copy of what the tests need, with its bytecode, which copied times keep valid."""
    folder = tmp_path_factory.mktemp("unchanged")
    for source in (PACKAGE, TESTS, TESTS.parent / "spec"):
        shutil.copytree(source, folder / source.name)
    for name in ("demo_data", "learn"):
        shutil.copytree(TESTS.parent / "examples" / name, folder / "examples" / name)
    return folder


@pytest.fixture(scope="module")
def outcomes(request, unchanged):
    """Exit code and output of the tests of each chosen fault, to come: one process for each processor, at most four."""
    chosen = [item.callspec.params["fault"] for item in request.session.items if "outcomes" in item.fixturenames]
    at_once = min(4, os.cpu_count() or 1)
    with ExitStack() as stack:
        free = SimpleQueue()
        for _ in range(at_once):
            free.put(stack.enter_context(warm_pytest(MODULES, ONE_THREAD)))

        def outcome(fault: Fault) -> tuple[int, str]:
            process = free.get()
            try:
                return run_tests_of(fault, unchanged, process)
            finally:
                free.put(process)

        with ThreadPoolExecutor(at_once) as pool:
            yield {fault.what: pool.submit(outcome, fault) for fault in chosen}
            pool.shutdown(cancel_futures=True)


def run_tests_of(fault: Fault, unchanged: Path, process: WarmPytest) -> tuple[int, str]:
    """Make the fault in a copy, and run its tests there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Links: files are not changed in place, but replaced.
        shutil.copytree(unchanged, folder, copy_function=os.link, dirs_exist_ok=True)
        plant(fault, folder / PACKAGE.name / fault.file)
        file, *options = shlex.split(fault.tests)
        environment = {"PYTHONPATH": name, "HYPOTHESIS_PROFILE": "faults"}
        # Plugins take half of the start, and no fault needs one.
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if SIMULATED:
            environment |= {"HYPOTHESIS_PROFILE": "simulated", "NUMBA_ENABLE_CUDASIM": str(int(fault in CUDA_FAULTS))}
        return process.run(folder, ["-x", "-q", "-p", "no:cacheprovider", f"tests/{file}", *options], environment)


def plant(fault: Fault, file: Path) -> None:
    """Replace a file by one with the fault, and remove the bytecode of the old one."""
    text = file.read_text(encoding="utf-8")
    file.unlink()
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    for bytecode in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        bytecode.unlink()


@pytest.mark.mutation
def test_an_unchanged_copy_is_green(unchanged):
    """Or each fault would seem to be caught."""
    nothing = Fault("nothing", "reference.py", "", "", "test_filter.py tests/test_metrics.py tests/test_signs.py")
    with warm_pytest(MODULES, ONE_THREAD) as process:
        code, output = run_tests_of(nothing, unchanged, process)
    assert code == 0, output[-2000:]


@pytest.mark.mutation
@pytest.mark.parametrize("fault", TESTED_HERE, ids=lambda fault: fault.what)
def test_the_fault_is_caught(fault, outcomes):
    code, output = outcomes[fault.what].result()
    # 1: tests failed. Below 0: the process was killed by what it did to its memory, which is no less red.
    assert code == 1 or code < 0, f"{fault.what}: not caught by {fault.tests}\n{output[-2000:]}"


def test_survivors_that_are_explained_are_mutants_of_the_code_as_it_is():
    command = [sys.executable, "-m", "tests.mutate", "--list"]
    result = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "reference:abs_topk: " in result.stdout
