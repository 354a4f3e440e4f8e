"""The break-it lab: every fault shows, its line alone is right, and nothing tells it before."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

LEARN = Path(__file__).parent.parent / "examples" / "learn"
sys.path.insert(0, str(LEARN))
break_it = importlib.import_module("break_it")
faults, symptoms = (importlib.import_module(f"lab.{name}") for name in ("faults", "symptoms"))
CASES = faults.CASES
EACH = pytest.mark.parametrize("number", range(1, len(CASES) + 1), ids=lambda n: CASES[n - 1].what)


def ran(folder, *arguments):
    command = [sys.executable, "-W", "error", str(LEARN / "break_it.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_there_are_faults_of_every_kind():
    assert len(CASES) == len({case.what for case in CASES}) >= 10
    assert {case.level for case in CASES} == {1, 2, 3}
    assert sum({"loss", "cosine", "dead", "atoms", "recall"} & set(case.seen) != set() for case in CASES) >= 4
    assert sum(not case.seen for case in CASES) >= 1


@EACH
def test_a_fault_changes_one_line(number):
    case = CASES[number - 1]
    fault = faults.BY_NAME[case.what]
    assert fault.file == "reference.py"
    assert faults.sound().count(fault.old) == 1
    pairs = zip(faults.sound().splitlines(), case.planted().splitlines(), strict=True)
    assert [line for line, (a, b) in enumerate(pairs, start=1) if a != b] == [case.line]


@EACH
def test_its_symptoms_appear_and_do_not_tell_it(number, capsys, monkeypatch, tmp_path):
    case = CASES[number - 1]
    fault = faults.BY_NAME[case.what]
    monkeypatch.setattr(symptoms, "draw", lambda *_: None)
    break_it.show_symptoms(case, number, tmp_path, vectors=True)
    shown = capsys.readouterr().out
    marked = [name for name, what in symptoms.NAMES.items() if re.search(rf"(?m)^{what}.* <--$", shown)]
    if case.seen:
        assert set(case.seen) <= set(marked)
    else:
        assert not marked
    assert re.search(r"   [1-9]\d* test vectors of .* fail", shown), "every fault is caught by a vector"
    changed = {text.strip() for text in (fault.old, fault.new) if len(text.strip()) > 1}
    flags = {flag for failure in symptoms.failures(case.planted()) for flag in failure.flags}
    for secret in {case.what.removeprefix("reference: "), f"({case.equation})", case.why, *changed, *flags}:
        assert secret not in shown, secret


def test_a_sound_file_has_no_symptoms():
    sound = symptoms.measure(faults.sound())
    assert symptoms.visible(sound, sound) == []
    assert symptoms.failures(faults.sound()) == []
    assert sound["cosine"][-1] > 0.8
    assert sound["recall"].min() > 0.3


@EACH
def test_its_line_alone_is_right(number, capsys):
    case = CASES[number - 1]
    for line in range(1, len(faults.sound().splitlines()) + 1):
        if line != case.line:
            with pytest.raises(SystemExit, match="1"):
                break_it.judge(case, line, number)
            told = capsys.readouterr().out
            assert told.startswith(f"Not line {line}. ")
            assert ("Warm" in told) == (faults.functions().get(line) == case.function)
    break_it.judge(case, case.line, number)
    told = " ".join(capsys.readouterr().out.split())
    broken = case.planted().splitlines()[case.line - 1]
    assert told.startswith(f"Right: line {case.line}.")
    for shown in (broken, case.why, case.tests, case.equation, case.function, "verify says of"):
        assert " ".join(shown.split()) in told


def test_its_function_states_its_equation_or_rule():
    """So a hint leads to a docstring, a comment or a section of the specification."""
    page = (LEARN.parents[1] / "spec" / "compressae.md").read_text(encoding="utf-8")
    for case in CASES:
        assert f"**{case.equation}**" in page
        lines = faults.sound().splitlines()
        inside = "\n".join(lines[line - 1] for line, name in faults.functions().items() if name == case.function)
        assert case.equation in inside, f"{case.what}: {case.function} does not cite {case.equation}"


def test_the_list_tells_nothing(tmp_path):
    listed = ran(tmp_path, "--list").stdout
    assert len(listed.splitlines()) == len(CASES) + 1
    for case in CASES:
        assert case.function not in listed
        assert case.equation not in listed


def test_a_game_from_the_symptoms_to_the_answer(tmp_path):
    pytest.importorskip("matplotlib")
    case = CASES[2]
    shown = ran(tmp_path, "3")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {"reference.py", "symptoms.png"}
    assert (tmp_path / "broken" / "reference.py").read_text(encoding="utf-8") == case.planted()
    assert "test vectors of" not in shown.stdout, "curves first"
    assert case.function in ran(tmp_path, "3", "--hint").stdout
    assert case.equation not in ran(tmp_path, "3", "--hint").stdout
    assert case.equation in ran(tmp_path, "3", "--hint", "2").stdout
    assert ran(tmp_path, "3", "--line", "1").returncode == 1
    assert ran(tmp_path, "3", "--line", str(case.line)).returncode == 0
    assert case.why.split(",")[0] in ran(tmp_path, "3", "--give-up").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["21"], "expected a fault from 1 to 20, got '21'"),
        (["0"], "expected a fault from 1 to 20, got '0'"),
        (["decode"], "expected a fault from 1 to 20, got 'decode'"),
        (["3", "--line", "0"], "expected a line of reference.py from 1 to 247, got '0'"),
        (["3", "--line", "x"], "expected a line of reference.py from 1 to 247, got 'x'"),
        (["3", "--hint", "3"], "expected a hint from 1 to 2, got '3'"),
        (["--line", "3"], "expected the number of a fault from 1 to 20 as well; --list shows them"),
    ],
)
def test_wrong_arguments_get_one_line(arguments, message, tmp_path):
    run = ran(tmp_path, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"break_it.py: {message}\n".replace("247", str(len(faults.sound().splitlines())))
    assert not list(tmp_path.iterdir())


def test_a_copy_that_a_student_has_changed_stays(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "reference.py").write_text("mine", encoding="utf-8")
    run = ran(tmp_path, "3", "-o", "mine")
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "with your changes" in run.stderr
    assert (folder / "reference.py").read_text(encoding="utf-8") == "mine"
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot be written" in ran(tmp_path, "3", "-o", "file/below").stderr


def test_a_repaired_copy_passes(tmp_path):
    copy = tmp_path / "broken" / "reference.py"
    assert "no such file" in ran(tmp_path, "--check").stderr
    copy.parent.mkdir()
    copy.write_text(CASES[12].planted(), encoding="utf-8")
    run = ran(tmp_path, "--check")
    assert (run.returncode, "test vectors of" in run.stdout) == (1, True)
    copy.write_text(faults.sound() + "# repaired\n", encoding="utf-8")
    run = ran(tmp_path, "--check")
    assert (run.returncode, run.stdout.count("\n"), "pass" in run.stdout) == (0, 1, True)
    copy.write_text("def dot(a, b:\n", encoding="utf-8")
    run = ran(tmp_path, "--check")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)


def test_symptoms_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    case = CASES[14]
    path = tmp_path / "symptoms.png"
    symptoms.draw(symptoms.measure(faults.sound()), symptoms.measure(case.planted()), path)
    assert path.read_bytes().startswith(b"\x89PNG")
