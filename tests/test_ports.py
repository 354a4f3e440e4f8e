"""The ports in C and JavaScript pass their levels to the bit, and a fault in either is caught by the vectors alone."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, init_params, pack, save_codes, save_packed
from compressae_ref.cli.main import main
from compressae_ref.verify.operations import EXTENSIONS
from tests.conftest import HAS
from tests.port_faults import C_FAULTS, JS_FAULTS
from tests.small_files import small_file

ROOT = Path(__file__).parent.parent
EXAMPLES, VECTORS = ROOT / "examples", ROOT / "spec" / "vectors"
C_FOLDER = EXAMPLES / "port_c"
JS_PROGRAM, JS_MODULES = EXAMPLES / "port_js" / "protocol.mjs", sorted((EXAMPLES / "port_js").glob("*.mjs"))
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off"]
SMALL = ["-O2", "-ftree-vectorize", "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-Wl,--gc-sections", "-s"]

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
CROSS = "aarch64-linux-gnu-gcc"
needs_cross = pytest.mark.skipif(not (HAS[CROSS] and HAS["qemu-aarch64"]), reason=f"needs {CROSS} and qemu-aarch64")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")


def built(folder: Path, program: Path, *options: str, compiler: str = "cc") -> str:
    sources = [str(folder / name) for name in ("port.c", "compressae.c")]
    subprocess.run([compiler, *FLAGS, *options, "-o", str(program), *sources, "-lm"], check=True)
    return shlex.quote(str(program))


LARGE = "encode-13"
"""The test at the paper's size, which takes a port a few seconds."""


def judged(program: str, level: str, capsys, *options: str) -> dict:
    code = main(["verify", "--program", program, "--level", level, "--json", *options])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["passed"] else 1)
    return report


def test_lines_of_the_port_in_c_fit_the_screen():
    for path in C_FOLDER.glob("*.[ch]"):
        assert max(map(len, path.read_text("utf-8").splitlines())) <= 120, path.name


@needs_cc
@pytest.mark.parametrize("level", ["L2", "refine", "packed", "center", "small"])
def test_the_port_in_c_passes_to_the_bit(level, small, capsys):
    report = judged(small, level, capsys, "--bits")
    assert report["passed"], report["levels"]
    assert sum(level["tests"] for level in report["levels"].values()) > 10


@needs_cc
def test_the_program_in_c_is_small(small):
    assert Path(shlex.split(small)[0]).stat().st_size < 100_000


@needs_cc
@pytest.mark.parametrize("level", ["L2", "refine", "packed", "center", "small"])
def test_the_port_in_c_is_safe_with_memory(level, sanitized, capsys):
    """Run every request, including those with damaged files, under the compiler's sanitizers."""
    report = judged(sanitized, level, capsys, "--cases", "100")
    assert report["passed"], report["levels"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    return built(C_FOLDER, tmp_path_factory.mktemp("small") / "port", *SMALL)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("sanitized")
    options = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    probe = ["cc", *options, "-o", str(folder / "probe"), str(folder / "probe.c")]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this compiler has no sanitizers")
    return built(C_FOLDER, folder / "port", *options)


@needs_cc
def test_damaged_files_are_safe_with_memory(sanitized, tmp_path):
    """Any byte of any kind of file may be another one. A sanitizer would end the program before its last answer."""
    rng = np.random.default_rng(1)
    model = Model(init_params(16, 20, rng), 3)
    codes = model.encode(rng.normal(size=(5, 16)))
    small_file(tmp_path / "read_small_model", model, "int8")
    small_file(tmp_path / "read_encoder", model, "float16", only="encoder")
    save_codes(tmp_path / "read_codes.npz", codes)
    save_packed(tmp_path / "read_packed.npz", pack(codes))
    requests = []
    for path in tmp_path.iterdir():
        for _ in range(200):
            damaged = bytearray(path.read_bytes())
            for _ in range(rng.integers(0, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            file = {"dtype": "U8", "shape": [len(damaged)], "hex": damaged.hex()}
            requests.append({"id": str(len(requests)), "operation": path.stem, "inputs": {"file": file}})
    lines = "".join(json.dumps(request, separators=(",", ":")) + "\n" for request in requests)
    ended = subprocess.run(shlex.split(sanitized), input=lines, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, len(answers)) == (0, len(requests)), ended.stderr
    assert {answer.get("error", "none") for answer in answers} == {"FormatError", "none"}
    assert all("outputs" in answer or "error" in answer for answer in answers)


@needs_cross
def test_the_port_in_c_gives_the_same_bits_on_aarch64(tmp_path, capsys):
    program = built(C_FOLDER, tmp_path / "port", "-O2", "-ftree-vectorize", "-static", compiler=CROSS)
    for level in ("L2", "refine", "packed", "center", "small"):
        report = judged(f"qemu-aarch64 {program}", level, capsys, "--bits", "--cases", "100")
        assert report["passed"], report["levels"]


@needs_cross
def test_a_build_that_fuses_multiply_adds_refuses_to_compute(tmp_path, capsys):
    sources = [str(C_FOLDER / name) for name in ("port.c", "compressae.c")]
    options = ["-std=c99", "-O2", "-static", "-ffp-contract=fast", "-o", str(tmp_path / "port")]
    subprocess.run([CROSS, *options, *sources, "-lm"], check=True)
    report = judged(f"qemu-aarch64 {tmp_path / 'port'}", "L1", capsys, "--only", "encode-1")
    assert not report["passed"]
    assert "BuildError" in json.dumps(report["levels"])


@needs_node
@pytest.mark.parametrize(
    "level", ["L3", *(name for name in ("refine", "packed", "small", "center") if name in EXTENSIONS)]
)
def test_the_port_in_javascript_passes_its_levels_to_the_bit(level, capsys):
    report = judged(f"node {shlex.quote(str(JS_PROGRAM))}", level, capsys, "--bits")
    assert report["passed"], report["levels"]


@needs_node
@pytest.mark.slow
def test_the_port_in_javascript_passes_a_million_cases(capsys):
    assert judged(f"node {shlex.quote(str(JS_PROGRAM))}", "L0", capsys, "--cases", "1000000")["passed"]


def faulty(sources: Sequence[Path], fault, folder: Path) -> None:
    """Copy the sources with the fault, which must be in one place of one of them."""
    texts = {source.name: source.read_text("utf-8") for source in sources}
    count = sum(text.count(fault.old) for text in texts.values())
    assert count == 1, f"{fault.old!r} stands {count} times in {', '.join(texts)}"
    for name, text in texts.items():
        (folder / name).write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def assert_caught(program: str, fault, capsys) -> None:
    """Assert that the tests with the flag fail, and that the report explains the fault."""
    name, _, flag = fault.flag.partition(": ")
    tests = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))["tests"]
    chosen = [test["id"] for test in tests if flag in test["flags"] and test["id"] != LARGE]
    report = judged(program, "all", capsys, "--bits", *(word for test in chosen for word in ("--only", test)))
    assert not report["passed"], f"{fault.what}: not caught by {chosen}"
    failures = [failure for level in report["levels"].values() for failure in level["failures"]]
    report_text = " ".join(text for failure in failures for text in (failure["words"], *failure["flags"]))
    assert fault.told in report_text, f"{fault.what}: {failures[:3]}"


def test_the_large_test_is_the_one_that_is_left_out():
    tests = {test["id"]: test for test in json.loads((VECTORS / "encode.json").read_text("utf-8"))["tests"]}
    assert tests[LARGE]["flags"][0] == "PaperSize"


def test_every_rule_has_a_fault_that_the_vectors_alone_catch():
    rules = {fault.rule for fault in (*JS_FAULTS, *C_FAULTS)}
    assert {f"R{number}" for number in range(1, 22)} <= rules


@needs_node
@pytest.mark.mutation
@pytest.mark.parametrize("fault", JS_FAULTS, ids=lambda fault: fault.what)
def test_a_fault_in_javascript_is_caught(fault, tmp_path, capsys):
    faulty(JS_MODULES, fault, tmp_path)
    assert_caught(f"node {shlex.quote(str(tmp_path / JS_PROGRAM.name))}", fault, capsys)


@needs_cc
@pytest.mark.mutation
@pytest.mark.parametrize("fault", C_FAULTS, ids=lambda fault: fault.what)
def test_a_fault_in_c_is_caught(fault, tmp_path, capsys):
    faulty(sorted(C_FOLDER.glob("*.[ch]")), fault, tmp_path)
    program = built(tmp_path, tmp_path / "port", "-O1", "-Wno-error")
    assert_caught(program, fault, capsys)
