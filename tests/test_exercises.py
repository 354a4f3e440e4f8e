"""The exercises: their grader, its words for wrong answers, and the files of `examples/learn`."""

from __future__ import annotations

import ast
import doctest
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import reference
from compressae_ref.cli.main import main
from compressae_ref.verify.exercises import from_vectors, report, table
from compressae_ref.verify.exercises.from_vectors import original
from compressae_ref.verify.exercises.grade import _telling, grade, grades
from compressae_ref.verify.exercises.mistakes import MISTAKES, PAIRS, named, usual_mistake
from compressae_ref.verify.exercises.process import grouped
from compressae_ref.verify.exercises.table import CHAPTERS, EXERCISES, FUNCTIONS, names_of
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import default_folder
from tests.broken_sentences import BROKEN, EXPLANATIONS
from tests.student_mistakes import CASES

ROOT = Path(__file__).parent.parent
LEARN = ROOT / "examples" / "learn"
SOLUTIONS, TO_FILL_IN = LEARN / "solutions.py", LEARN / "exercises.py"
SUITE = Suite(default_folder(), cases=100)
TESTS = {name: from_vectors.tests_of(exercise, function, SUITE) for name, (exercise, function) in FUNCTIONS.items()}
VECTORS = {test.id: test for file in SUITE.files for test in file.tests}
EXACT = (1, 4, 5, 15, 16)
"""Exercises whose solutions give the bits of the vectors: selections, and sums in the stated order."""


def loaded(path):
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graded(path, number=None, **options):
    chosen = EXERCISES if number is None else [EXERCISES[number - 1]]
    results = list(grades(str(path), chosen, SUITE, **options))
    return results if number is None else results[0]


@pytest.fixture
def student(tmp_path):
    """Grade an exercise of a file with this content; returns the grade and its text."""

    def run(number, source, **options):
        path = tmp_path / "my_solution.py"
        path.write_text(f"import numpy as np{source}", encoding="utf-8")
        result = graded(path, number, **options)
        return result, report.full_text(result)

    return run


def verify(*arguments):
    return main(["verify", *map(str, arguments)])


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.names)
def test_each_solution_passes(exercise):
    result = graded(SOLUTIONS, exercise.number)
    assert (result.status, result.tests_passed) == ("passed", result.tests), report.full_text(result)
    assert result.tests >= 3
    assert (result.tests_to_the_bit == result.tests) == (exercise.number in EXACT)
    assert ("all bits equal" if exercise.number in EXACT else "within the bounds") in report.full_text(result)


def test_the_file_to_fill_in_is_not_started():
    assert {result.status for result in graded(TO_FILL_IN)} == {"not started"}


@pytest.mark.parametrize("path", [TO_FILL_IN, SOLUTIONS], ids=lambda path: path.stem)
def test_numbers_names_equations_and_chapters_agree_with_the_table(path):
    source = path.read_text(encoding="utf-8")
    headings = re.findall(r"^# (?:==|--) (Chapter|Exercise) (\d+):? ?(.*?) [=-]+$|^def (\w+)\(", source, re.MULTILINE)
    chapter, number, found = 0, 0, {}
    for kind, at, rest, function in headings:
        if kind == "Chapter":
            chapter = int(at)
            assert rest == CHAPTERS[chapter]
        elif kind == "Exercise":
            number = int(at)
            if path == TO_FILL_IN:
                assert rest == ", ".join(EXERCISES[number - 1].cites)
        elif function in FUNCTIONS:
            found[function] = number, chapter
    assert found == {name: (exercise.number, exercise.chapter) for name, (exercise, _) in FUNCTIONS.items()}
    assert [exercise.number for exercise in EXERCISES] == list(range(1, 17))


def test_arguments_are_those_of_the_tests_and_the_same_in_both_files():
    files = [{node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
             for path in (TO_FILL_IN, SOLUTIONS)]  # fmt: skip
    for name, tests in TESTS.items():
        arguments = [[argument.arg for argument in file[name].args.args] for file in files]
        assert arguments == [list(grouped(tests[0].inputs))] * 2


def test_examples_of_the_tasks_are_right():
    """The docstrings of the tasks, run with the solutions."""
    solutions = vars(loaded(SOLUTIONS))
    for name in FUNCTIONS:
        task = getattr(loaded(TO_FILL_IN), name)
        examples = doctest.DocTestFinder().find(task, name, globs={"np": np, name: solutions[name]})
        assert [len(example.examples) > 0 for example in examples] == [True]
        assert doctest.DocTestRunner().run(examples[0]).failed == 0


def test_each_task_says_what_is_needed():
    for name, function in FUNCTIONS.items():
        text = getattr(loaded(TO_FILL_IN), name).__doc__
        assert "Hints: " in text
        assert "returns : " in text
        assert all(argument in text for argument in grouped(TESTS[name][0].inputs)), name
        assert all(
            returned in text for returned in names_of(function[1].returns) if returned[:2] not in ("m_", "v_", "W_")
        )


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.names)
def test_sections_and_equations_stand_in_the_specification(exercise):
    text = (ROOT / "spec" / exercise.page).read_text(encoding="utf-8")
    assert f"\n## {exercise.section}\n" in text
    assert all(f"**{cite}**" in text for cite in exercise.cites)


@pytest.mark.parametrize(("number", "name"), CHAPTERS.items())
def test_a_page_of_a_chapter_names_its_exercises(number, name):
    pages = [path.read_text(encoding="utf-8") for path in LEARN.glob(f"{name}.md")]
    own = [(str(exercise.number), exercise.functions[0].name) for exercise in EXERCISES if exercise.chapter == number]
    assert [re.findall(r"\*\*Exercise (\d+)\*\*, `(\w+)`", page) for page in pages] == [own] * len(pages)
    assert [re.findall(r"--exercise (\d+)`", page) for page in pages] == [[each for each, _ in own]] * len(pages)


# -- the tests --------------------------------------------------------------------------------------------------------


def right(test):
    """The answer of the test itself."""
    return {
        "outputs": {
            name: value.copy() if isinstance(value, np.ndarray) else list(value) for name, value in test.outputs.items()
        }
    }


def one(number, answer, **options):
    """The grade of an exercise whose tests are answered by a function of the test."""
    return grade(EXERCISES[number - 1], SUITE, lambda function, test: answer(test), **options)


def all_right_but(test, outputs):
    """A function that answers all tests right, and one with these outputs."""
    return lambda other: {"outputs": outputs} if other.id == test.id else right(other)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.names)
def test_any_changed_number_is_found_and_named(exercise):
    """Each output of each test with one changed entry: the grader says which one, and what was expected."""
    rng = np.random.default_rng(exercise.number)
    for function in exercise.functions:
        for test in TESTS[function.name]:
            for name in names_of(function.returns):
                outputs = right(test)["outputs"]
                value = outputs[name]
                if not np.size(value):
                    continue
                if isinstance(value, list):
                    value[-1] += "x"
                    at = f"[{len(value) - 1}]"
                else:
                    place = tuple(int(rng.integers(size)) for size in value.shape)
                    bound = test.bounds.get(name, 0)
                    value[place] += 1 if value.dtype.kind == "i" else max(3 * bound, abs(value[place]), 1e-3)
                    at = f"[{', '.join(map(str, place))}]" if place else ""
                result = one(exercise.number, all_right_but(test, outputs))
                assert (result.status, result.tests_passed) == ("wrong", result.tests - 1), (test.id, name)
                assert result.failure.test == test.id
                text = report.full_text(result)
                assert at in text or re.search(r"row \d+ (keeps|stores)", text), text
                assert "expected" in text or "stores" in text or "keeps" in text


@pytest.mark.parametrize("exercise", [each for each in EXERCISES if each.bits], ids=lambda exercise: exercise.names)
def test_one_bit_is_found_where_the_exercise_is_about_bits(exercise):
    (function,) = exercise.functions
    for test in TESTS[function.name]:
        outputs = right(test)["outputs"]
        value = outputs[list(outputs)[-1]]
        value[(0,) * value.ndim] = np.nextafter(value[(0,) * value.ndim], value.dtype.type(np.inf))
        result = one(exercise.number, all_right_but(test, outputs))
        assert result.tests_passed == result.tests - 1


def test_bits_can_be_demanded_of_all():
    assert graded(SOLUTIONS, 3).passed
    strict = graded(SOLUTIONS, 3, bits=True)
    assert strict.status == "wrong"
    assert "but not the bits of the stated order of sums" in strict.failure.reason
    assert graded(SOLUTIONS, 5, bits=True).passed


def test_computed_tests_follow_from_the_vectors():
    """Where the vectors have only a result, the expected parts lead to its bits."""
    for test in TESTS["gather"]:
        file = test.id.partition("/")[0]
        vector = VECTORS[file]
        item = vector.inputs["indices"], vector.inputs["values"]
        if vector.inputs["space"] == "sparse":
            query = reference.code_norm(vector.inputs["query_values"])[:, None]
            scores = test.outputs["scores"] / (query * reference.code_norm(item[1]))
        else:
            scores = test.outputs["scores"] / reference.clamped_norm(reference.decode(*item, vector.inputs["W_dec"]))
        ids = reference.best(scores, vector.inputs["top"])
        assert np.array_equal(ids, vector.outputs["ids"])
        assert np.take_along_axis(scores, ids, axis=1).tobytes() == vector.outputs["scores"].tobytes()
    for test in TESTS["fold_sum"]:
        name, _, what = test.id.partition("/")
        vector = VECTORS[name]
        if what == "squares":
            x = vector.inputs["x"]
            scaled = np.ldexp(x, -np.frexp(np.abs(x).max(axis=1, keepdims=True))[1])
            assert (scaled / np.sqrt(test.outputs["sums"])[:, None]).tobytes() == vector.outputs["x_unit"].tobytes()
        elif name.startswith("cosine"):
            norms = reference.clamped_norm(vector.inputs["x_unit"]) * reference.clamped_norm(vector.inputs["x_hat"])
            assert (test.outputs["sums"] / norms).tobytes() == vector.outputs["cos"].tobytes()
    for test in TESTS["decode_backward"]:
        made = reference.decode_backward_values(*(test.inputs[name] for name in ("grad_x_hat", "indices", "W_dec")))
        assert made.tobytes() == test.outputs["grad_values"].tobytes()
        grad_W_dec = np.zeros_like(test.inputs["W_dec"])
        for i, indices in enumerate(test.inputs["indices"]):
            reference.add_outer(test.inputs["values"][i], indices, test.inputs["grad_x_hat"][i], grad_W_dec)
        assert grad_W_dec.tobytes() == test.outputs["grad_W_dec"].tobytes()  # those of the vectors, to the bit


def test_expected_words_of_latents_have_the_scores_of_the_vectors():
    seen = 0
    for test in TESTS["name_latent"]:
        name, _, segment = test.id.partition("/")
        if name == "extra":
            continue
        vector = VECTORS[name]
        start = int(vector.outputs["lengths"][: int(segment)].sum())
        stop = start + int(vector.outputs["lengths"][int(segment)])
        of_vector = dict(zip(vector.outputs["terms"][start:stop], vector.outputs["scores"][start:stop], strict=True))
        for word, score in zip(test.outputs["names"], test.outputs["scores"], strict=True):
            seen += word in of_vector
            assert of_vector.get(word, score) == score
    assert seen > 30


def test_a_test_of_a_vector_keeps_its_id_and_purpose():
    for tests in TESTS.values():
        assert len({test.id for test in tests}) == len(tests)
        for test in tests:
            assert test.comment
            assert "/" in test.id or original(test, SUITE).comment == test.comment


# -- usual mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, own in MISTAKES.items() for words in own])
def test_each_usual_mistake_is_recognised(name, words):
    """A function that makes the mistake fails, and the report of the first test that fails says so."""

    def answer(test):
        if test.id not in ids:  # of the other function of the exercise
            return right(test)
        with np.errstate(all="ignore"):
            made = named(name, MISTAKES[name][words](**grouped(test.inputs)))
        return {"outputs": {key: as_sent(value, test.outputs[key]) for key, value in made.items()}}

    ids = {test.id for test in TESTS[name]}
    result = one(FUNCTIONS[name][0].number, answer)
    assert result.status == "wrong", "no test catches it"
    causes = result.failure.causes
    rule = re.search(r": .* \([ER]\d+\)$", result.failure.reason)
    assert causes == [f"these numbers come out if {words}"] or causes[:1] == [exact_cause(result)] or rule, causes


def exact_cause(result):
    """What begins the sentence about the exact cause."""
    return next((cause for cause in result.failure.causes if cause.startswith("exactly this answer")), None)


@pytest.mark.parametrize("name", PAIRS)
def test_two_mistakes_at_once_get_a_cause(name):
    """One of both can hide the other or give its numbers: then one of them is named, and mostly both are."""
    test, both = TESTS[name][0], 0
    for words, mistake in PAIRS[name].items():
        with np.errstate(all="ignore"):
            made = named(name, mistake(**grouped(test.inputs)))
        found = usual_mistake(name, [(test, {key: as_sent(value, test.outputs[key]) for key, value in made.items()})])
        assert found, words
        both += found == words
    assert both >= 3


def test_two_usual_mistakes_of_a_student_are_both_named(tmp_path):
    path = tmp_path / "mine.py"
    source = SOLUTIONS.read_text(encoding="utf-8")
    for old, new in (
        ("u = unit_rows(queries)", "u = queries"),
        ("clamped_norm(decode(indices, values, W_dec))", "clamped_norm(values)"),
    ):
        assert old in source
        source = source.replace(old, new)
    path.write_text(source, encoding="utf-8")
    (cause,) = graded(path, 14).failure.causes
    assert "the norm of the code, not by ‖x̂‖ (E17); and the queries are not made unit rows (E3)" in cause


def of_truncate(test):
    """The answer that keeps the largest values, not the largest magnitudes."""
    indices, values, k = test.inputs.values()
    order = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)
    return {"indices": np.take_along_axis(indices, order, axis=1), "values": np.take_along_axis(values, order, axis=1)}


def test_the_failing_test_with_the_fewest_causes_is_reported():
    """In any order of the tests; a test that only one of many wrong answers explains is not preferred."""
    tie, small = TESTS["truncate"][1], TESTS["truncate"][0]
    answers = [(test, {"outputs": of_truncate(test)}, None) for test in (tie, small)]
    assert _telling(answers, SUITE) is answers[1]
    assert _telling(answers[:1], SUITE) is answers[0]
    unknown = (small, {"outputs": {name: 0 * value for name, value in small.outputs.items()}}, None)
    assert _telling([unknown, answers[1]], SUITE) is unknown
    assert _telling([unknown, answers[1], answers[0]], SUITE) is answers[1]


@pytest.mark.parametrize("name", ["cosine", "cosine_backward", "search_sparse", "search_asymmetric"])
def test_not_a_number_is_explained_only_by_rows_of_zeros(name):
    """NaN in a row that has no zeros has another cause than an absent clamp."""
    for test in TESTS[name]:
        outputs = right(test)["outputs"]
        outputs["scores" if "search" in name else next(iter(outputs))][...] = np.nan
        rows = [test.inputs[each] for each in ("x_unit", "x_hat", "query_values", "values") if each in test.inputs]
        zeros = [~each.any(axis=1) for each in rows]
        possible = any(each.any() for each in zeros) if "search" in name else np.logical_or(*zeros).all()
        assert ("0 / 0 is NaN" in usual_mistake(name, [(test, outputs)])) == possible


@pytest.mark.parametrize(("row", "explained"), [(0, True), (1, False)])
def test_only_the_row_of_zeros_has_the_cause_of_an_absent_clamp(row, explained):
    inputs = {"grad_cos": np.ones(2), "x_unit": np.eye(2), "x_hat": np.array([[0.0, 0.0], [3.0, 4.0]])}
    right = {"grad_x_hat": reference.cosine_backward(**inputs)}
    test = replace(TESTS["cosine_backward"][0], inputs=inputs, outputs=right)
    got = right["grad_x_hat"].copy()
    got[row] = np.nan
    assert ("0 / 0 is NaN" in usual_mistake("cosine_backward", [(test, {"grad_x_hat": got})])) == explained


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_mistakes_have_no_cause(name):
    """Wrong numbers that no known mistake gives."""
    rng = np.random.default_rng(0)

    def answer(test):
        made = right(test)["outputs"]
        for value in made.values():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                value += rng.standard_normal(value.shape)
        return {"outputs": made}

    result = one(FUNCTIONS[name][0].number, answer)
    assert result.status == "wrong"
    assert result.failure.causes == []


def as_sent(value, expected):
    """A value as the student's process sends it."""
    if isinstance(expected, list):
        return list(value)
    return np.asarray(value, expected.dtype)


@pytest.mark.parametrize("case", CASES)
def test_mistakes_of_students_get_words(case, student):
    number, source, words = CASES[case]
    result, text = student(number, source)
    assert result.status == "wrong"
    assert [each for each in words if each not in text] == [], text
    assert "Traceback" not in text
    assert text.splitlines()[-1] == f"  read: {EXERCISES[number - 1].read}"


def test_an_endless_loop_is_ended(student):
    start = time.monotonic()
    _, text = student(3, "\ndef unit_rows(x):\n    while True:\n        pass", timeout=0.5)
    assert "no answer within 0.5 s: is there a loop that never ends? (--timeout waits longer)" in text
    assert time.monotonic() - start < 8


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "while True:\n    pass",
            "did not end within 0.7 s: is there a loop that never ends? (--timeout waits longer)",
        ),
        ("import os\nos._exit(3)", "ended Python with exit code 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "crashed Python (SIGSEGV)"),
    ],
    ids=["loop", "exit", "crash"],
)
def test_code_outside_functions_is_not_blamed_on_a_test(source, words, tmp_path):
    """No test is named, and the file is not run again for each exercise."""
    path = tmp_path / "mine.py"
    path.write_text(f"{source}\n", encoding="utf-8")
    start = time.monotonic()
    results = graded(path, timeout=0.7 if "while" in source else 10)
    assert time.monotonic() - start < 8
    for result in results:
        text = report.full_text(result)
        assert f"no test was run: the file's code outside functions {words}" in text
        assert (result.status, result.failure.test) == ("wrong", "")
        assert result.tests_run == 0
        assert f"0 of {result.tests} tests pass, {result.tests} were not run" in text


def test_a_notebook_is_named(tmp_path, capsys):
    notebook = json.dumps({"cells": [], "nbformat": 4, "nbformat_minor": 5})
    for name, content in (("mine.ipynb", notebook), ("mine.IPYNB", ""), ("mine.py", notebook)):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        assert verify("--student", path) == 1
        assert capsys.readouterr().err == (
            f"compressae-ref: {path}: this is a notebook: expected a file of Python; "
            "copy the cells with your functions into a file such as my_solution.py, and grade that\n"
        )


def test_a_crash_in_one_exercise_leaves_the_others(tmp_path):
    path = tmp_path / "mine.py"
    source = SOLUTIONS.read_text(encoding="utf-8").replace(
        "def decode(", "def decode(*_):\n    import os\n    os._exit(1)\n\n\ndef other("
    )
    path.write_text(source, encoding="utf-8")
    status = {result.exercise.number: result.status for result in grades(str(path), EXERCISES[:14], SUITE)}
    assert {number for number, word in status.items() if word != "passed"} == {5, 9, 12, 14}


def test_a_kernel_may_be_compiled_already(student):
    source = SOLUTIONS.read_text(encoding="utf-8").replace("def gather(", "@numba.njit\ndef gather(")
    result, text = student(15, f"\nimport numba\n{source}")
    assert result.passed, text


PRINTING = """
import os
from compressae_ref import reference


def cosine(x_unit, x_hat):
    print("printed", len(x_unit))
    os.write(1, b"written\\n")
    return reference.cosine(x_unit, x_hat)
"""


def test_prints_are_no_answers(student, capfd):
    result, _ = student(6, PRINTING)
    assert result.passed
    out, err = capfd.readouterr()
    assert out == ""
    assert (err.count("printed 3\n"), err.count("written\n")) == (3, 8)


def test_a_loop_that_prints_without_end_hides_nothing(student, capfd):
    _, text = student(3, "\ndef unit_rows(x):\n    while True:\n        print('x' * 99)", timeout=0.5)
    assert "is there a loop that never ends?" in text
    err = capfd.readouterr().err
    assert err.endswith("\n… the rest of what the file prints is left out\n")
    assert len(err) < 21_000


def test_a_file_may_use_its_neighbours_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "mine.py").write_text("from other import unit_rows\n")
    (tmp_path / "other.py").write_text(SOLUTIONS.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "json.py").write_text("raise ValueError('not the module of Python')\n")
    assert graded(tmp_path / "mine.py", 3).passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json.py", "mine.py", "other.py"]


OF_REFERENCE = """
from compressae_ref import reference as r
from compressae_ref.reference import abs_topk, decode, cosine, cosine_backward, fold_sum, gather as _gather

def truncate(indices, values, k):
    return r.split_code(indices, values, k)[0]

def unit_rows(x):
    return r.unit_rows(x, x.dtype)

def decode_backward(grad_x_hat, indices, values, W_dec):
    out = np.zeros_like(W_dec)
    for i in range(len(indices)):
        r.add_outer(values[i], indices[i], grad_x_hat[i], out)
    return r.decode_backward_values(grad_x_hat, indices, W_dec), out

def gradients(x, W_enc, b_enc, W_dec, k):
    return r.loss_and_gradients(x, W_enc, b_enc, W_dec, k)

def adam(param, grad, m, v, step, lr):
    param, m, v = param.copy(), m.copy(), v.copy()
    r.adam(param, grad, m, v, step, lr)
    return param, m, v

def renormalize(W_dec):
    W_dec = W_dec.copy()
    r.renormalize(W_dec)
    return W_dec

def project(grad_W_dec, W_dec):
    grad_W_dec = grad_W_dec.copy()
    r.project(grad_W_dec, W_dec)
    return grad_W_dec

def train_step(batch, params, m, v, t, k, lr, may_2025):
    params, m, v = ([a.copy() for a in group] for group in (params, m, v))
    losses = r.train_step(batch, params, m, v, t, k, lr, may_2025)
    return losses, params, m, v

def hits(scores, top):
    ids = r.best(scores, top)
    return ids, np.take_along_axis(scores, ids, axis=1)

def search_sparse(query_indices, query_values, indices, values, n_latents, top):
    return hits(r.sparse_cosine((query_indices, query_values), (indices, values), n_latents), top)

def search_asymmetric(queries, indices, values, W_dec, top):
    return hits(r.asymmetric_cosine(r.unit_rows(queries, W_dec.dtype), (indices, values), W_dec), top)
"""


@pytest.mark.parametrize("number", [exercise.number for exercise in EXERCISES if exercise.number not in (2, 15)])
def test_the_reference_passes_with_all_bits(number, student):
    result, text = student(number, OF_REFERENCE)
    assert f"passed: {result.tests} tests, all bits equal" in text


# -- the command ------------------------------------------------------------------------------------------------------


def test_one_exercise_that_passes(capsys):
    assert verify("--student", SOLUTIONS, "--exercise", 4) == 0
    out = capsys.readouterr().out
    assert (
        out == "exercise 4, abs_topk: keep the k largest magnitudes (E5, R1, R2)\n  passed: 15 tests, all bits equal\n"
    )


def test_all_exercises_get_a_line_each(tmp_path, capsys):
    path = tmp_path / "mine.py"
    source = TO_FILL_IN.read_text(encoding="utf-8").replace("    raise NotImplementedError", "    return values", 1)
    path.write_text(source + "\n\nfrom compressae_ref.reference import decode\n", encoding="utf-8")
    assert verify("--student", path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 17
    assert lines[0].startswith(" 1 truncate: wrong: expected 2 values, (indices, values), got float32 of shape (1, 4)")
    assert lines[1] == " 2 name_latent: not started"
    assert lines[4] == " 5 decode: passed (5 tests, all bits equal)"
    assert lines[16] == "1 of 16 exercises passed, 1 wrong, 14 not started; --exercise N says more about one"


def test_all_solutions_are_exit_code_0(capsys):
    assert verify("--student", SOLUTIONS) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "16 of 16 exercises passed"


def test_json(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("def decode(indices, values, W_dec):\n    return W_dec[indices].sum(axis=1)\n")
    assert verify("--student", path, "--exercise", 5, "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    (exercise,) = result["exercises"]
    assert (exercise["exercise"], exercise["status"], exercise["chapter"]) == (5, "wrong", "2_forward_by_hand")
    assert exercise["failure"]["test"] == "decode-1"
    assert exercise["failure"]["words"].startswith("x_hat: expected ")
    assert verify("--exercise", 5, "--json") == 0
    assert "x̂ᵢ = Σ_t" in json.loads(capsys.readouterr().out)["task"]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.names)
def test_a_task_is_printed(exercise, capsys):
    assert verify("--exercise", exercise.number) == 0
    out = capsys.readouterr().out
    for function in exercise.functions:
        assert f"def {function.name}(" in out
    assert f"examples/learn/{CHAPTERS[exercise.chapter]}.md" in out
    assert f"--student my_solution.py --exercise {exercise.number}" in out


def test_tasks_need_a_clone(monkeypatch, tmp_path, capsys):
    """An installed package prints tasks in a clone, also in a folder of it."""
    monkeypatch.setattr("compressae_ref.verify.exercises.table._ROOT", tmp_path)
    for folder in (ROOT, LEARN):
        monkeypatch.chdir(folder)
        assert verify("--exercise", 3) == 0
    assert capsys.readouterr().out.count("def unit_rows(x):") == 2
    monkeypatch.chdir(tmp_path)
    assert verify("--exercise", 3) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "exercises: expected examples/learn/exercises.py, which only a clone of the repository has" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"def f(:\n    pass\n", "expected a file of Python, got invalid syntax in line 1, 'def f(:'"),
        (b"x = 1\n  y = 2\n", "expected a file of Python, got unexpected indent in line 2, 'y = 2'"),
        (b"\x00\x01", "expected a file of Python, got "),
        (b"x = '\xff'\n", "expected a file of Python, got "),
    ],
)
def test_a_file_that_is_no_python_is_one_line(content, words, tmp_path, capsys):
    path = tmp_path / "bad.py"
    if content is not None:
        path.write_bytes(content)
    assert verify("--student", path) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"compressae-ref: {path}: {words}")


def test_a_folder_is_one_line(tmp_path, capsys):
    assert verify("--student", tmp_path) == 1
    assert capsys.readouterr().err == f"compressae-ref: {tmp_path}: expected a file, got a folder\n"


@pytest.mark.parametrize("number", ["0", "17", "abc", "-1", "1.5", ""])
def test_numbers_that_are_no_exercise_are_wrong_usage(number, capsys):
    with pytest.raises(SystemExit) as caught:
        verify("--student", SOLUTIONS, f"--exercise={number}")
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--exercise: expected " in err
    assert "did you mean" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["model.npz", "--student", "x.py"], "expected no --student with MODEL, got both"),
        (["model.npz", "--exercise", "3"], "expected no --exercise with MODEL, got both"),
        (["--student", "x.py", "--backend", "numpy"], "expected no --backend with --student, got both"),
        (["--student", "x.py", "--level", "L1"], "expected no --level with --student, got both"),
        (["--exercise", "3", "--program", "x"], "expected no --program with --exercise, got both"),
        (["--student", "x.py", "--store"], "expected MODEL with --store, got --store alone"),
        (["--exercise", "3", "--bits"], "expected --student with --exercise and --bits, got no --student"),
        (["--exercise", "3", "--timeout", "2"], "expected --student with --exercise and --timeout, got no --student"),
        (["--student", str(SOLUTIONS), "--timeout", "-1"], "--timeout: expected "),
        (["--student", ""], "expected a file, got a folder"),
    ],
)
def test_options_that_do_not_apply_are_refused(options, words, capsys):
    assert verify(*options) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_a_program_and_a_student_are_wrong_usage(capsys):
    with pytest.raises(SystemExit):
        verify("--student", "x.py", "--program", "y")
    assert "expected no --program with --student, got both" in capsys.readouterr().err


def test_absent_vectors_are_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("compressae_ref.optional._ROOT", tmp_path)
    monkeypatch.setattr("compressae_ref.optional.find_spec", lambda name: None)
    assert verify("--student", SOLUTIONS) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install ./spec" in err


def test_the_help_says_whose_risk_it_is(capsys):
    with pytest.raises(SystemExit):
        verify("--help")
    assert "nothing protects you from hostile code" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_ends_the_file_and_says_so(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def unit_rows(x):\n    print('here', flush=True)\n    while True:\n        pass\n")
    command = [sys.executable, "-m", "compressae_ref", "verify", "--student", str(path), "--exercise", "3"]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr.readline() == b"here\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    assert err.decode() == "compressae-ref: interrupted; nothing was written\n"


def test_a_grade_needs_all_tests():
    """A function that is right in the first test only is wrong."""
    first = TESTS["decode"][0].id
    result = one(
        5, lambda test: right(test) if test.id == first else {"outputs": {"x_hat": 0 * test.outputs["x_hat"] + 9}}
    )
    assert (result.status, result.tests_passed, result.tests_run) == ("wrong", 1, 5)


def test_both_functions_of_an_exercise_count():
    failing = replace(TESTS["project"][0])
    result = one(
        11, lambda test: right(test) if test.id != failing.id else {"error": "NotStarted", "message": "not written"}
    )
    assert result.status == "not started"
    assert result.failure.function == "project"
    assert "project" in report.short_text(result)


# -- sentences of the tasks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "sentence", "changes", "words"), BROKEN, ids=[f"{row[0]}: {row[1]}" for row in BROKEN]
)
def test_a_broken_sentence_of_a_task_is_noticed(number, sentence, changes, words, tmp_path):
    assert sentence in " ".join(table.statement(EXERCISES[number - 1]).split())
    source = SOLUTIONS.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    result = graded(path, number)
    text = report.full_text(result)
    assert result.status == "wrong"
    assert result.failure.test
    assert words in text


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.names)
def test_each_sentence_of_a_task_is_broken_or_explains(exercise):
    own = [sentence for number, sentence, _, _ in BROKEN if number == exercise.number]
    for sentence in sentences(exercise):
        broken = any(quote in sentence or sentence in quote for quote in own)
        assert broken != (sentence in EXPLANATIONS), sentence


def test_all_explanations_stand_in_tasks():
    assert {*EXPLANATIONS} <= {sentence for exercise in EXERCISES for sentence in sentences(exercise)}


def sentences(exercise):
    """The sentences of a task without its arguments, hints and examples."""
    for task in re.split(r"def \w+\(.*\):", table.statement(exercise))[1:]:
        for paragraph in re.split(r"\n\s+Hints:", task)[0].split("\n\n"):
            text = " ".join(paragraph.split())
            if text and " : " not in text:
                yield from re.split(r"(?<=[.:]) (?=[A-Z∂])", text)
