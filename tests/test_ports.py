"""The ports in C and JavaScript pass their levels to the bit, and a fault in either is caught by the vectors alone."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from compressae_ref.cli.main import main
from compressae_ref.verify.operations import EXTENSIONS
from tests.port_faults import C_FAULTS, JS_FAULTS

ROOT = Path(__file__).parent.parent
EXAMPLES, VECTORS = ROOT / "examples", ROOT / "spec" / "vectors"
C_SOURCE = EXAMPLES / "port_c" / "compressae.c"
JS_PROGRAM, JS_MODULES = EXAMPLES / "port_js" / "protocol.mjs", sorted((EXAMPLES / "port_js").glob("*.mjs"))
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off"]

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")


def built(source: Path, program: Path, *options: str) -> str:
    subprocess.run(["cc", *FLAGS, *options, "-o", str(program), str(source), "-lm"], check=True)
    return shlex.quote(str(program))


LARGE = "encode-13"
"""The test at the paper's size, which takes a port a few seconds."""


def judged(program: str, level: str, capsys, *options: str) -> dict:
    code = main(["verify", "--program", program, "--level", level, "--json", *options])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["passed"] else 1)
    return report


def test_the_port_in_c_is_one_file_that_can_be_read():
    lines = C_SOURCE.read_text("utf-8").splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 120


@needs_cc
def test_the_port_in_c_passes_up_to_retrieval_to_the_bit(tmp_path, capsys):
    report = judged(built(C_SOURCE, tmp_path / "port", "-O2"), "L2", capsys, "--bits")
    assert report["passed"], report["levels"]
    assert sum(level["tests"] for level in report["levels"].values()) > 100


@needs_cc
def test_the_port_in_c_is_safe_with_memory(tmp_path, capsys):
    """Run every request, including those with damaged files, under the compiler's sanitizers."""
    options = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run(["cc", *options, "-o", str(tmp_path / "probe"), str(probe)], capture_output=True).returncode:
        pytest.skip("this compiler has no sanitizers")
    report = judged(built(C_SOURCE, tmp_path / "port", *options), "L2", capsys, "--cases", "100")
    assert report["passed"], report["levels"]


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
    faulty([C_SOURCE], fault, tmp_path)
    program = built(tmp_path / C_SOURCE.name, tmp_path / "port", "-O1", "-Wno-error")
    assert_caught(program, fault, capsys)
