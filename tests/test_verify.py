"""`verify`: its verdicts and their reasons, the protocol, and the audit of codes of other systems."""

from __future__ import annotations

import json
import random
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Codes, Model, ShapeError, init_params, save_codes, save_model
from compressae_ref.backends import get_backend
from compressae_ref.cli.main import main
from compressae_ref.errors import DomainError
from compressae_ref.verify import audit as auditing
from compressae_ref.verify import self_test
from compressae_ref.verify.judge import Verdict, judge
from compressae_ref.verify.operations import PARTS, STEP_OUTPUTS, STEP_REQUIRED
from compressae_ref.verify.programs import ask_package
from compressae_ref.verify.report import run
from compressae_ref.verify.self_test import answer
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import default_folder
from spec.generate import build, coding, retrieval, selection, training
from tests import strategies as draw

ROOT = Path(__file__).parent.parent
SUITE = Suite(default_folder(), cases=100)
TESTS = {test.id: test for test in SUITE.tests(["L0", "L1", "L2", "L3"])}
NUMPY = get_backend("numpy")
PORT = f"{shlex.quote(sys.executable)} -m tests.port_program"


def right(test):
    return answer(test.operation, test.inputs, NUMPY)


def judged(test, **changes):
    """Return the verdict on the right answer with some outputs changed."""
    return judge(test, {"outputs": right(test)["outputs"] | changes})


# -- judging ----------------------------------------------------------------------------------------------------------


def slow_where_many_are_trained(name: str):
    return pytest.param(name, marks=[pytest.mark.slow] if name.startswith("train_steps") else [])


@pytest.mark.parametrize("name", [slow_where_many_are_trained(name) for name, test in TESTS.items() if not test.error])
def test_any_changed_output_is_noticed(name):
    """Change each output of each test: its value, its shape, its dtype, and leave it out."""
    test = TESTS[name]
    outputs = right(test)["outputs"]
    assert judge(test, {"outputs": outputs}).bit_exact
    if test.operation.startswith("write_"):
        return
    needed = [key for key in test.outputs if test.operation != "train_steps" or key.split(".")[1] in STEP_REQUIRED]
    for key in needed:
        missing = {other: value for other, value in outputs.items() if other != key}
        assert f"expected an output {key}, got " in judge(test, {"outputs": missing}).reason
    for key, value in test.outputs.items():
        if not isinstance(value, np.ndarray):
            assert not judged(test, **{key: [value]}).passed
            continue
        if value.size:
            changed = value.copy()
            changed.flat[-1] = changed.flat[-1] + abs(changed.flat[-1]) + 1
            assert not judged(test, **{key: changed}).passed, key
        assert not judged(test, **{key: value[None]}).passed
        assert not judged(test, **{key: value.astype(np.complex64)}).passed
        assert not judged(test, **{key: None}).passed
        if value.dtype.kind == "f" and value.size:
            nan = value.copy()
            nan.flat[0] = np.nan
            assert not judged(test, **{key: nan}).passed


def test_any_changed_string_of_a_list_is_noticed():
    """Change each string of each list, leave it out, and add one: the first place that differs is named."""
    for test in SUITE.tests(["segments"]):
        for name, strings in right(test).get("outputs", {}).items():
            for at, string in enumerate(strings if isinstance(strings, list) else ()):
                for other in ([string + "x"], [None], [0], [], [string, "x"]):
                    verdict = judged(test, **{name: [*strings[:at], *other, *strings[at + 1 :]]})
                    assert not verdict.passed
                    assert f"{name}: expected " in verdict.reason
                    assert int(verdict.reason.rpartition("[")[2].rstrip("]")) >= at
                assert not judged(test, **{name: string}).in_form


@pytest.mark.parametrize("name", [name for name, test in TESTS.items() if test.error is not None])
def test_errors_are_compared_by_name_and_row(name):
    test = TESTS[name]
    assert judge(test, {"error": test.error, "row": test.row}).passed
    assert not judge(test, {"error": "OtherError", "row": test.row}).passed
    assert not judge(test, {"outputs": {}}).passed
    if test.row is not None:
        assert not judge(test, {"error": test.error}).passed
        assert f"in row {test.row + 1}" in judge(test, {"error": test.error, "row": test.row + 1}).reason


def test_a_bound_excuses_another_order_of_sums_and_not_more():
    test = next(test for test in TESTS.values() if test.bounds and test.operation == "decode")
    x_hat, bound = right(test)["outputs"]["x_hat"], test.bounds["x_hat"]
    within, beyond = x_hat.copy(), x_hat.copy()
    within[0, 0] += np.float32(bound / 2)
    beyond[0, 0] += np.float32(bound * 2)
    assert judged(test, x_hat=within)[:2] == (True, False)
    verdict = judged(test, x_hat=beyond)
    assert not verdict.passed
    assert "at [0, 0]" in verdict.reason


def test_minus_zero_is_not_zero_where_bits_are_compared():
    test = next(test for test in TESTS.values() if test.operation == "abs_topk" and "MinusZero" in test.flags)
    values = right(test)["outputs"]["values"]
    verdict = judged(test, values=np.where(values == 0, np.float32(-0.0), values))
    assert "−0 is stored as +0 (R2)" in verdict.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, v: (i[:, ::-1].copy(), v[:, ::-1].copy()), "not in ascending order (R2)"),
        (lambda i, v: (i, np.abs(v)), "a value keeps its sign (E5)"),
        (lambda i, v: (np.tile(np.int32([1, 1]), (2, 1)), v), "a latent twice (R2)"),
        (lambda i, v: (np.tile(np.int32([0, 9]), (2, 1)), v), "latent 9, but h = 4 (R2)"),
        (lambda i, v: (i[:, :1].copy(), v[:, :1].copy()), "1 indices and 1 values instead of k = 2 (R2)"),
        (lambda i, v: (np.tile(np.int32([0, 2]), (2, 1)), np.float32([[0.5, 1], [-1, -3]])), "not the value (R1)"),
    ],
)
def test_a_wrong_selection_is_said_in_words(change, words):
    test = next(test for test in TESTS.values() if test.comment == "the largest magnitude is negative")
    outputs = right(test)["outputs"]
    indices, values = change(outputs["indices"], outputs["values"])
    verdict = judge(test, {"outputs": {"indices": indices, "values": values}})
    assert words in verdict.reason


def test_a_wrong_tie_is_said_in_words():
    test = next(test for test in TESTS.values() if test.comment == "all magnitudes equal")
    indices = np.tile(np.int32([5, 6, 7]), (2, 1))
    values = np.float32([[1, 1, 1], [-1, -1, -1]])
    reason = judged(test, indices=indices, values=values).reason
    assert reason.startswith("row 0 keeps latent 7 (1) but not latent 0 (1)")
    assert "the lower index is kept (R1)" in reason


def test_encoding_has_its_selections_explained_too():
    test = TESTS["encode-1"]
    values = right(test)["outputs"]["values"].copy()
    values[2, 1] += 1
    assert judged(test, values=values).reason.startswith("row 2 stores ")


def test_the_first_intermediate_value_that_differs_is_named():
    test = next(test for test in TESTS.values() if test.operation == "train_steps")
    for step, name in ((1, "x_unit"), (2, "grad_values_rest"), (3, "W_dec_stepped")):
        outputs = dict(right(test)["outputs"])
        after = list(STEP_OUTPUTS)[list(STEP_OUTPUTS).index(name) :]
        for later in (f"{number}.{each}" for number in range(step, 4) for each in STEP_OUTPUTS):
            number, each = later.split(".")
            if int(number) > step or each in after:
                outputs[later] = outputs[later] + 1
        verdict = judge(test, {"outputs": outputs})
        assert verdict.reason.startswith(f"step {step}, first difference in {name}:")
    few = {name: value for name, value in right(test)["outputs"].items() if name.split(".")[1] in STEP_REQUIRED}
    assert judge(test, {"outputs": few}).passed


def test_a_file_that_is_not_one_is_not_passed():
    test = next(test for test in TESTS.values() if test.operation == "write_codes")
    assert "follows file-format.md (R12), got FormatError" in judged(test, file=np.uint8([1, 2, 3])).reason
    assert "expected the output 'file' as U8 [b], got null" in judged(test, file=None).reason
    other = answer("write_codes", test.inputs | {"n_latents": 10}, NUMPY)["outputs"]
    assert "n_latents" in judge(test, {"outputs": other}).reason


def test_with_bits_nothing_is_excused():
    def nearly(test):
        told = right(test)
        for name in test.bounds:
            told["outputs"][name] = told["outputs"][name] * (1 + np.finfo(told["outputs"][name].dtype).eps)
        return told

    (excused,) = run(SUITE, nearly, ["L1"])
    assert excused.full
    assert excused.bit_exact < excused.passed
    (strict,) = run(SUITE, nearly, ["L1"], bits=True)
    assert not strict.full
    assert "within the bound, but not the bits of the stated order of sums: expected " in strict.failures[0].reason
    assert not any("bias" in why for failure in strict.failures for why in failure.flags)


def test_a_reference_that_has_changed_is_noticed(monkeypatch):
    """The digest of the accumulated cases is stored with the vectors, and detects other results."""
    from compressae_ref.errors import FormatError

    whole = self_test.abs_topk
    monkeypatch.setattr(self_test, "abs_topk", lambda pre, k: whole(-pre, k))
    with pytest.raises(FormatError, match="digest"):
        list(SUITE.tests(["L0"]))


ODD = (
    np.float32([]),
    np.zeros((0, 3), np.float32),
    np.zeros((3, 0), np.int32),
    np.full((2, 2), np.nan),
    np.array(1.5),
    np.int32([[-1, 2**31 - 1]]),
    np.zeros(2, np.uint8),
    None,
    -1,
    1e300,
    "text",
    [1],
)


@pytest.mark.parametrize("place", range(len(ODD)))
def test_no_answer_is_too_odd_to_be_judged(place):
    """Each test gets odd values in place of one output, and of all, also in the right shape and dtype."""

    def odd(test):
        told = right(test).get("outputs", {})
        names = list(told)[place % max(1, len(told)) :][: 1 + place % 3]
        changed = {name: ODD[(place + at) % len(ODD)] for at, name in enumerate(names)}
        for name in names if place % 2 else ():
            if isinstance(told[name], np.ndarray):
                changed[name] = np.full_like(told[name], np.nan if told[name].dtype.kind == "f" else 10**6 % 251)
        return {"outputs": told | changed}

    for result in run(SUITE, odd, list(PARTS)):
        assert not any("this installation raised" in failure.reason for failure in result.failures)


@pytest.mark.parametrize(
    "error", [ValueError("negative dimensions"), MemoryError(), KeyError("x"), ZeroDivisionError()]
)
def test_an_exception_of_the_installation_fails_a_test_and_ends_nothing(error, monkeypatch, capsys):
    def broken(*_, **__):
        raise error

    monkeypatch.setitem(self_test.ANSWERS, "truncate", broken)
    assert verify("--cases", "100", "--level", "L0", "--json") == 1
    failures = json.loads(capsys.readouterr().out)["levels"]["L0"]["failures"]
    assert {failure["test"] for failure in failures} == {name for name in TESTS if name.startswith("truncate")}
    assert all(f"this installation raised {type(error).__name__}" in failure["words"] for failure in failures)


def test_an_exception_while_judging_fails_a_test_and_ends_nothing(monkeypatch):
    from compressae_ref.verify import report

    def broken(test, answer):
        raise IndexError("list index out of range")

    monkeypatch.setattr(report, "judge", broken)
    (result,) = run(SUITE, right, ["L0"])
    assert "raised IndexError while it judged the answer: list index" in result.failures[0].reason
    assert result.failures[0].flags == []


@pytest.mark.parametrize(
    "make", [*selection.GROUPS, coding.normalize_rows, coding.decode, training.cosine, retrieval.sparse_search]
)
def test_the_mistake_that_gives_exactly_an_answer_is_named(make):
    group = make()
    for number, case in enumerate(group.cases, start=1):
        test = TESTS[f"{group.name}-{number}"]
        for name in case.flags:
            wrong = build._wrong_answer(test, group.flags[name].bug)
            if wrong.get("error") == "crash":
                continue
            (why,) = SUITE.causes(test, wrong, judge(test, wrong), bits=group.flags[name].bits)
            assert why.startswith("exactly this answer is given if "), f"{test.id}: {name}"
            assert f"({name})" in why


def test_what_no_single_mistake_gives_has_only_possible_causes():
    test = TESTS["decode-4"]
    wrong = {"outputs": {"x_hat": right(test)["outputs"]["x_hat"] * np.float32(1.5)}}
    causes = SUITE.causes(test, wrong, judge(test, wrong), bits=False)
    assert causes == [
        "possible cause: an atom takes the place of the one before (Sum)",
        "possible cause: values lose their sign (Sign)",
    ]


def test_a_fused_multiply_add_is_not_taken_for_another_order():
    test = TESTS["decode-4"]
    wrong = build._wrong_answer(test, coding.decode().flags["Fused"].bug)
    (why,) = SUITE.causes(test, wrong, judge(test, wrong), bits=True)
    assert why.endswith("a multiply-add is fused; this concerns only bit-identical implementations (Fused)")


def test_nan_among_the_scores_is_said():
    test = next(test for test in TESTS.values() if test.comment == "codes of zeros" and "ZeroCode" in test.flags)
    outputs = right(test)["outputs"]
    scores, ids = outputs["scores"].copy(), outputs["ids"].copy()
    scores[1, 3], ids[0, 0] = np.nan, ids[0, 1]
    reason = judged(test, scores=scores, ids=ids).reason
    assert reason.startswith("ids: expected ")
    assert reason.endswith("; scores has NaN at [1, 3]")


# -- programs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def verify(*arguments):
    return main(["verify", *arguments])


def test_a_right_program_passes(in_root, capsys):
    assert verify("--program", PORT, "--cases", "100") == 0
    out = capsys.readouterr().out
    assert out.count("to the bit") == 4
    assert out.count(" and 100 of 100 cases passed") == 2
    assert "passes L3 (specification 1.7, vectors " in out


def test_a_program_for_inference_passes_its_level_and_no_more(in_root, capsys):
    port = f"{PORT} unsupported"
    assert verify("--program", port, "--cases", "100", "--level", "L2") == 0
    assert verify("--program", port, "--cases", "100", "--level", "L3") == 1
    out = capsys.readouterr().out
    assert "not supported by the program: write_codes, split_codes, cosine" in out
    assert "does not pass L3" in out


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("exits", "ended with exit code 7"),
        ("hangs", "no answer within 3 s"),
        ("not JSON", "expected an answer as one line of JSON, got 'hello'"),
        ("a list", "expected an answer as a JSON object, got [1]"),
        ("another id", "got 'abs_topk-99'"),
        ("two kinds", "got error, outputs"),
        ("nothing", "got only an id"),
        ("no outputs", "expected an output indices, got no outputs"),
        ("outputs are a list", "expected outputs as a JSON object, got [1]"),
        ("bad hex", "indices: expected 4 bytes for I32 [1], got 1"),
        ("error", "expected outputs, got DomainError in row 3"),
    ],
)
def test_a_fault_of_a_program_fails_one_test_and_is_told(fault, words, in_root, capsys):
    port = f"{PORT} {shlex.quote(fault)}"
    code = verify("--program", port, "--cases", "100", "--level", "L0", "--timeout", "3", "--json")
    report = json.loads(capsys.readouterr().out)
    assert code == 1
    (failure,) = report["levels"]["L0"]["failures"]
    assert failure["test"] == "abs_topk-3"
    assert words in failure["words"]
    assert failure["flags"] == [], "no mistake in the numbers is the cause"
    assert report["levels"]["L0"]["tests_passed"] == report["levels"]["L0"]["tests"] - 1
    assert not report["passed"]


def test_lines_that_are_not_answers_are_skipped_and_reported(in_root, capsys):
    assert verify("--program", f"{PORT} 'chats once'", "--cases", "100", "--level", "L0", "--only", "abs_topk-3") == 0
    assert "skipped lines that are not answers ('working on abs_topk-3'): only answers" in capsys.readouterr().out


def test_after_three_lines_that_are_not_answers_nothing_is_asked(in_root, capsys):
    assert verify("--program", f"{PORT} chats", "--cases", "100", "--level", "L0", "--timeout", "9", "--json") == 1
    level = json.loads(capsys.readouterr().out)["levels"]["L0"]
    assert level["noise"] == ["working on abs_topk-3", "working on abs_topk-4", "working on abs_topk-5"]
    words = [failure["words"] for failure in level["failures"]]
    assert "only answers may go to standard output" in words[0]
    assert all("request not sent" in each for each in words[1:])
    assert level["tests_passed"] == 4
    assert not any(failure["flags"] for failure in level["failures"])


def test_a_program_without_float64_is_told_how_to_leave_it_out(in_root, capsys):
    assert verify("--program", f"{PORT} float32", "--cases", "100", "--level", "L1") == 1
    out = capsys.readouterr().out
    assert "not supported by the program in float64: encode, decode; --without float64 skips these tests" in out
    assert verify("--program", f"{PORT} float32", "--cases", "100", "--level", "L1", "--without", "float64") == 0


@pytest.mark.parametrize(
    ("fault", "words"), [("float64", "expected F32 [1, 3], got F64 [1, 3]"), ("extra", "got also 'more'")]
)
def test_outputs_of_another_form_are_refused(fault, words, in_root, capsys):
    assert verify("--program", f"{PORT} {fault}", "--cases", "100", "--level", "L0") == 1
    assert words in (out := capsys.readouterr().out)
    assert "possible cause" not in out


@pytest.mark.parametrize("program", ["./no_such_program", "", "/"])
def test_a_program_that_cannot_be_started_is_one_line(program, capsys):
    assert verify("--program", program) == 1
    err = capsys.readouterr().err
    assert err.startswith("compressae-ref: verify: expected a program that can be started, got ")
    assert err.count("\n") == 1


def test_requests_and_answers_in_files(in_root, tmp_path, capsys):
    import subprocess

    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    assert verify("--requests", str(requests), "--cases", "100", "--level", "L1") == 0
    with requests.open() as given, answers.open("w") as told:
        subprocess.run(shlex.split(PORT), stdin=given, stdout=told, check=True)
    lines = answers.read_text().splitlines()
    answers.write_text("\n".join(reversed(lines)) + "\n\n")
    assert verify("--answers", str(answers), "--cases", "100", "--level", "L1") == 0
    answers.write_text("\n".join(lines[1:]))
    assert verify("--answers", str(answers), "--cases", "100", "--level", "L1") == 1
    assert "no answer in the file" in capsys.readouterr().out
    for bad, line in ("{\n{\n{", 4), ("[]\n[]\n[]", 4), ('{"id": 3}', 2):  # two lines of noise are skipped
        answers.write_text(lines[0] + "\n" + bad)
        assert verify("--answers", str(answers)) == 1
        assert f"{answers}: expected" in (err := capsys.readouterr().err)
        assert f"in line {line}" in err


def test_without_float64(in_root, capsys):
    needing = [test.id for test in TESTS.values() if test.needs_float64]
    assert len(needing) >= 8
    kept = Suite(default_folder(), cases=100, without=["float64"])
    assert not {test.id for test in kept.tests(["L0", "L1"])} & set(needing)
    assert verify("--without", "float64", "--level", "L0", "--cases", "100", "--backend", "numpy") == 0
    assert "passes L0, without float64" in capsys.readouterr().out


def test_the_package_passes_as_it_is_installed(capsys):
    assert verify("--cases", "100", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert set(report["levels"]) == set(PARTS)
    assert all(level["tests"] == level["tests_to_the_bit"] for level in report["levels"].values())


def test_other_vectors_can_be_given(tmp_path, capsys):
    assert verify("--vectors", str(tmp_path)) == 1
    assert "expected files of test vectors" in capsys.readouterr().err
    assert verify("--timeout", "-1", "--program", "x") == 1


# -- the audit --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    """A model with a bias, and embeddings of many scales."""
    rng = np.random.default_rng(5)
    params = init_params(24, 60, rng, init="original")
    params.b_enc[:] = rng.standard_normal(60) * 0.2
    x = (rng.standard_normal((700, 24)) * 10.0 ** rng.integers(-3, 4, (700, 1))).astype(np.float32)
    return Model(params, 6), x


def in_another_order(model, x, k):
    """Return the codes of a matrix product by NumPy, in float32."""
    x_unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pre = x_unit @ model.params.W_enc + model.params.b_enc
    order = np.sort(np.argsort(-np.abs(pre), axis=1, kind="stable")[:, :k], axis=1)
    return Codes(order, np.take_along_axis(pre, order, axis=1), pre.shape[1])


def test_codes_of_the_package_are_equal(problem, backend):
    model, x = problem
    result = auditing.audit(model, x, model.encode(x), backend)
    assert (result.rows, result.equal, result.differing) == (700, 700, [])
    assert result.passed(strict=True)
    assert auditing.audit(model, x, model.encode(x).truncate(3), backend).equal == 700


def test_rounding_is_told_from_mistakes(problem):
    model, x = problem
    result = auditing.audit(model, x, in_another_order(model, x, 6))
    assert result.rounding > 100
    assert (result.tie, result.wrong) == (0, 0)
    assert result.equal + result.rounding == 700
    assert 0 < result.value_error < 1e-5
    assert result.passed(strict=False)
    assert not result.passed(strict=True)


def test_a_single_wrong_row_is_found_and_measured(problem):
    model, x = problem
    codes = model.encode(x)
    values, indices = codes.values.copy(), codes.indices.copy()
    values[555, 2] += 0.25
    indices[601], values[601] = codes.indices[600], codes.values[600]
    result = auditing.audit(model, x, Codes(indices, values, 60))
    assert [row.row for row in result.differing] == [555, 601]
    assert result.wrong == 2
    assert result.differing[0].value_error == pytest.approx(0.25, rel=1e-5)
    assert result.differing[0].selection_error == 0
    assert result.differing[1].selection_error > 0
    assert not result.passed(strict=False)


def test_a_wrong_selection_with_right_values_is_wrong(problem):
    model, x = problem
    longer, right = model.encode(x, 12), model.encode(x)
    others = ~(longer.indices[5, :, None] == right.indices[5]).any(axis=1)  # six latents that are not the six largest
    indices, values = right.indices.copy(), right.values.copy()
    indices[5], values[5] = longer.indices[5, others], longer.values[5, others]
    result = auditing.audit(model, x, Codes(indices, values, 60))
    (row,) = result.differing
    assert (row.row, row.kind) == (5, "wrong")
    assert row.value_error < 1e-5 < row.selection_error
    assert "the largest magnitudes are kept (R1)" in row.reason or "not the value (R1)" in row.reason


def test_another_choice_among_equal_latents_is_a_tie(problem):
    model, x = problem
    model = Model(replace(model.params), 1)
    twice = [np.concatenate([array, array], axis=-1) for array in (model.params.W_enc, model.params.b_enc)]
    params = replace(model.params, W_enc=twice[0], b_enc=twice[1], W_dec=np.concatenate([model.params.W_dec] * 2))
    model = Model(params, 1)
    right = model.encode(x)
    result = auditing.audit(model, x, Codes(right.indices + 60, right.values, 120))
    assert (result.equal, result.rounding, result.tie, result.wrong) == (0, 0, 700, 0)
    assert result.passed(strict=False)
    assert not result.passed(strict=True)


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("largest values", lambda pre, raw, bias: top(pre, pre)),
        ("lose their sign", lambda pre, raw, bias: np.abs(top(pre, np.abs(pre)))),
        ("bias", lambda pre, raw, bias: top(pre - bias, np.abs(pre - bias))),
        ("unit rows", lambda pre, raw, bias: top(raw, np.abs(raw))),
        ("norm", lambda pre, raw, bias: unit(top(pre, np.abs(pre)))),
        ("float16", lambda pre, raw, bias: top(pre, np.abs(pre)).astype(np.float16).astype(np.float32)),
    ],
)
def test_known_mistakes_are_recognised(problem, what, make):
    model, x = problem
    x_unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    W_enc, b_enc = model.params.W_enc, model.params.b_enc
    dense = make(x_unit @ W_enc + b_enc, x @ W_enc + b_enc, b_enc)
    codes = Codes.from_csr(pytest.importorskip("scipy.sparse").csr_array(dense), 6)
    result = auditing.audit(model, x, codes)
    assert result.wrong > 600
    assert what in result.cause


def top(pre, by, k=6):
    kept = np.argsort(-by, axis=1, kind="stable")[:, :k]
    dense = np.zeros_like(pre)
    np.put_along_axis(dense, kept, np.take_along_axis(pre, kept, axis=1), axis=1)
    return dense


def unit(dense):
    return dense / np.linalg.norm(dense, axis=1, keepdims=True)


def test_a_mistake_that_nobody_knows_has_no_cause(problem):
    model, x = problem
    codes = model.encode(x)
    result = auditing.audit(model, x, Codes(codes.indices, codes.values * np.float32(1.7), 60))
    assert result.wrong == 700
    assert result.cause == ""


def test_a_zero_row_has_a_code_of_zeros(problem):
    model, x = problem
    x = x.copy()
    x[3] = 0
    codes = model.encode(x, zero_rows="empty")
    assert auditing.audit(model, x, codes).equal == 700
    values = codes.values.copy()
    values[3, 0] = 0.5
    assert [row.row for row in auditing.audit(model, x, Codes(codes.indices, values, 60)).differing] == [3]


def test_what_does_not_belong_together_is_refused(problem):
    model, x = problem
    codes = model.encode(x)
    with pytest.raises(ShapeError, match="expected 700 rows"):
        auditing.audit(model, x, codes[:699])
    with pytest.raises(ShapeError, match="n_latents"):
        auditing.audit(model, x, Codes(codes.indices, codes.values, 61))
    with pytest.raises(DomainError, match="of model"):
        auditing.audit(model, x, Codes(codes.indices, codes.values, 60, "0" * 64))


@given(draw.problems(dtype="float32"))
def test_no_order_of_sums_is_called_wrong(problem):
    model = Model(problem.params, problem.k)
    result = auditing.audit(model, problem.x, in_another_order(model, problem.x.astype(np.float64), problem.k), "numpy")
    assert result.wrong == 0


@given(draw.problems(dtype="float32"), st.data())
def test_a_wrong_value_is_never_called_rounding(problem, data):
    model = Model(problem.params, problem.k)
    codes = model.encode(problem.x, backend="numpy")
    row, t = data.draw(st.integers(0, len(codes) - 1)), data.draw(st.integers(0, codes.k - 1))
    values = codes.values.copy()
    values[row, t] += np.float32(data.draw(st.sampled_from([-0.01, 0.01, 1.0])))
    result = auditing.audit(model, problem.x, Codes(codes.indices, values, codes.n_latents), "numpy")
    assert [each.row for each in result.differing if each.kind == "wrong"] == [row]


@pytest.fixture
def files(problem, tmp_path):
    model, x = problem
    save_model(tmp_path / "model.npz", model)
    np.save(tmp_path / "x.npy", x)
    return tmp_path


def audited(files, codes, *options):
    return verify(str(files / "model.npz"), str(files / "x.npy"), str(files / codes), *options)


def test_codes_come_as_codes_as_csr_and_dense(problem, files, capsys):
    sparse = pytest.importorskip("scipy.sparse")
    model, x = problem
    codes = model.encode(x)
    save_codes(files / "codes.npz", codes)
    sparse.save_npz(files / "csr.npz", sparse.csr_array(codes.to_dense()))
    np.save(files / "dense.npy", codes.to_dense())
    for name in ("codes.npz", "csr.npz", "dense.npy"):
        assert audited(files, name, "--strict") == 0, name
        assert "700 equal, to the bit" in capsys.readouterr().out
    assert audited(files, "codes.npz", "--k", "4") == 0
    assert "700 rows, k 4" in capsys.readouterr().out


def test_a_failed_audit_lists_rows_and_has_exit_code_1(problem, files, capsys):
    model, x = problem
    codes = model.encode(x)
    save_codes(files / "codes.npz", Codes(codes.indices, np.abs(codes.values), 60))
    assert audited(files, "codes.npz") == 1
    out = capsys.readouterr().out
    assert "a value keeps its sign (E5)" in out
    assert "if values lose their sign (E5)" in out
    assert "does not pass" in out
    assert audited(files, "codes.npz", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["wrong"] == sum(row["kind"] == "wrong" for row in report["differing"])
    assert all(set(row) >= {"row", "kind", "words"} for row in report["differing"]), "names that programs know"
    assert not report["passed"]


def save(path, array):
    """Save as .npy under a name with another suffix."""
    with path.open("wb") as file:
        np.save(file, array)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"hello"), "expected a codes file, a sparse matrix"),
        (lambda path: path.write_bytes(b""), "expected a codes file, a sparse matrix"),
        (lambda path: np.savez(path, a=np.zeros(3)), "expected a sparse matrix in SciPy's .npz"),
        (lambda path: save(path, np.zeros(3)), "expected a dense array (n, h)"),
        (lambda path: save(path, np.zeros((3, 60), int)), "expected a dense array (n, h)"),
        (lambda path: save(path, np.ones((3, 60), "f4")), "expected 700 rows"),
        (lambda path: save(path, np.ones((700, 61), "f4")), "n_latents"),
        (lambda path: save(path, np.full((700, 60), np.nan)), "finite"),
        (lambda path: None, "No such file"),
    ],
)
def test_codes_that_cannot_be_read_are_one_line_with_the_file(files, make, message, capsys):
    make(files / "bad.npz")
    assert audited(files, "bad.npz") == 1
    err = capsys.readouterr().err
    assert message in err
    assert "bad.npz" in err
    assert err.count("\n") == 1


def test_an_audit_needs_three_files(files, capsys):
    assert verify(str(files / "model.npz")) == 1
    assert "expected all of MODEL EMBEDDINGS CODES, or none of them, got MODEL alone" in capsys.readouterr().err
    assert audited(files, "codes.npz", "--program", "x") == 1
    assert "expected no --program with MODEL, got both" in capsys.readouterr().err


def test_asking_the_package_is_asking_its_functions(backend):
    test = TESTS["abs_topk-1"]
    assert judge(test, ask_package(backend)(test)).bit_exact


def test_a_program_that_never_answers_is_asked_three_times(in_root, capsys):
    assert verify("--program", "sleep 60", "--timeout", "0.2", "--level", "L0", "--json") == 1
    failures = json.loads(capsys.readouterr().out)["levels"]["L0"]["failures"]
    assert all({"test", "words"} <= set(failure) for failure in failures), "names that programs know"
    assert [failure["words"] for failure in failures[:3]] == ["no answer within 0.2 s"] * 3
    assert {failure["words"] for failure in failures[3:]} == {
        "request not sent: the program did not answer 3 requests in a row"
    }


def test_one_test_alone(in_root, capsys):
    assert verify("--program", PORT, "--only", "encode-2", "--only", "abs_topk-1") == 0
    out = capsys.readouterr().out
    assert "1 of 1 tests passed, to the bit\n" in out
    assert "passes encode-2, abs_topk-1 (" in out
    assert verify("--only", "encode-999") == 1
    assert "expected ids of tests" in capsys.readouterr().err


def test_of_many_failures_some_are_shown_and_more_are_named(in_root, capsys):
    assert verify("--program", f"{PORT} float64", "--level", "L0", "--cases", "100") == 1
    out = capsys.readouterr().out
    assert out.count("   abs_topk-") == 5
    assert " more: abs_topk-6, abs_topk-7, " in out


def test_a_test_that_catches_many_mistakes_names_them():
    test = TESTS["gradients-1"]
    outputs = right(test)["outputs"]
    wrong = {"outputs": outputs | {"grad_b_enc": outputs["grad_b_enc"] + np.float32(1)}}
    (line,) = SUITE.causes(test, wrong, judge(test, wrong), bits=False)
    assert line.startswith("possible causes: one of AuxWeight, KAux, ")
    assert line.endswith(" (described in gradients.json), or another one")
    only_bits = "this concerns only bit-identical implementations"
    assert SUITE.causes(test, wrong, judge(test, wrong), bits=True) == [
        f"possible cause: rows are not added in their order; {only_bits} (RowOrder)",
        f"possible cause: a multiply-add is fused; {only_bits} (Fused)",
    ]
    cases = TESTS["accumulated-encode-0"]
    assert SUITE.causes(cases, wrong, Verdict(False, False, ""), bits=False) == []


# -- what is wrong with programs, folders and options ------------------------------------------------------------------


@pytest.mark.parametrize("program", ["sleep 60", "yes"])
def test_a_program_that_does_not_read_or_does_not_stop_holds_nobody_up(program, capsys):
    assert verify("--program", program, "--only", "encode-13", "--timeout", "0.5") == 1
    out = capsys.readouterr().out
    assert "no answer within 0.5 s" in out or "expected an answer as one line of JSON, got 'y'" in out


def test_a_command_that_is_none_is_one_line(capsys):
    assert verify("--program", "'x") == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("option", ["--answers", "--requests", "--vectors", "--program"])
def test_an_empty_name_is_not_no_name(option, capsys):
    assert verify(option, "", "--level", "L0", "--cases", "100") == 1
    assert capsys.readouterr().out == ""


@pytest.fixture
def vectors(tmp_path):
    """Return a copy of the vectors that a test may change."""
    import shutil

    folder = tmp_path / "vectors"
    shutil.copytree(default_folder(), folder)
    return folder


def changed(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("flags"),
        lambda content: content["tests"][0].pop("id"),
        lambda content: content.update(operation="abs_bottomk"),
        lambda content: content.update(tests=[]),
        lambda content: content["tests"][1].update(id="abs_topk-1"),
        lambda content: content["tests"][0]["inputs"].update(more=1),
        lambda content: content["tests"][0]["inputs"]["pre"].update(dtype=["F32"]),
        lambda content: content["tests"][0]["inputs"]["pre"].update(hex="zz"),
        lambda content: content["tests"][0]["inputs"].update(pre={"dtype": "F32", "shape": "x", "shake128": "y"}),
    ],
)
def test_a_spoilt_folder_of_vectors_is_one_line(change, vectors, capsys):
    changed(vectors / "abs_topk.json", change)
    assert verify("--vectors", str(vectors), "--level", "L0", "--cases", "100") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(vectors) in err


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\udcff"])
@pytest.mark.parametrize("name", ["abs_topk.json", "accumulated.json", "more.json"])
def test_a_file_of_vectors_that_is_none_is_one_line(name, content, vectors, capsys):
    (vectors / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert verify("--vectors", str(vectors), "--level", "L0", "--cases", "100") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert name in err


HOSTILE = (
    *(None, True, -1, 2**70, 1.5, "", "x", [], {}, {"a": 1}, {"path": "absent"}, {"path": 3}, {"path": "/dev/zero"}),
    *({"dtype": "F32", "shape": shape, "shake128": "s"} for shape in ([2**34], [2**70], [-3], [1.5], 3, [2**13] * 2)),
    {"dtype": "F32", "shape": [2**39], "hex": ""},
)


def places_in(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places_in(inner, (*path, key))


@pytest.mark.parametrize("seed", range(40))
def test_any_hostile_value_in_the_vectors_is_a_report_or_one_line(seed, vectors, capsys):
    rng = random.Random(seed)
    path = vectors / rng.choice(["abs_topk.json", "accumulated.json", "encode.json"])
    content = json.loads(path.read_text("utf-8"))
    *outer, last = rng.choice([*places_in(content)][1:])
    at = content
    for key in outer:
        at = at[key]
    at[last] = HOSTILE[seed % len(HOSTILE)]
    path.write_text(json.dumps(content), "utf-8")
    assert verify("--vectors", str(vectors), "--level", "L0", "--cases", "100", "--backend", "numpy") in (0, 1)
    err = capsys.readouterr().err
    assert err.count("\n") <= 1
    assert "unexpected" not in err
    assert "not enough memory" not in err


@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_a_hostile_input_of_a_test_is_a_report_or_one_line(value, vectors, capsys):
    changed(vectors / "abs_topk.json", lambda content: content["tests"][0]["inputs"].update(pre=value))
    verify("--vectors", str(vectors), "--level", "L0", "--cases", "100", "--backend", "numpy")
    err = capsys.readouterr().err
    assert err.count("\n") <= 1
    assert "unexpected" not in err
    assert "not enough memory" not in err


def test_a_level_without_tests_is_not_passed(vectors, capsys):
    (vectors / "train_steps.json").unlink()
    assert verify("--vectors", str(vectors), "--level", "L0") == 1
    assert "found no tests of train_steps" in capsys.readouterr().err
    assert verify("--only", "adam-1", "--level", "L1") == 1
    assert "expected ids of tests up to L1" in capsys.readouterr().err


def test_noise_in_a_file_of_answers_is_skipped_and_reported_as_that_of_a_program(tmp_path, capsys):
    answer, answers = '{"id":"abs_topk-1","error":"DomainError"}\n', tmp_path / "answers.jsonl"
    for lines in (["Loading…\n", answer, "[]\n"], [answer, "\udcff\n", "3\n"]):
        answers.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
        assert verify("--answers", str(answers), "--level", "L0", "--json", "--only", "abs_topk-1") == 1
        out, err = capsys.readouterr()
        assert err == ""
        assert len(json.loads(out)["levels"]["L0"]["noise"]) == 2
    answers.write_text("a\nb\nc\n" + answer)
    assert verify("--answers", str(answers), "--level", "L0") == 1
    assert "expected an answer as JSON in line 3, got 'c'" in capsys.readouterr().err


def test_two_answers_to_one_request_are_refused(tmp_path, capsys):
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id":"abs_topk-1","error":"DomainError"}\n' * 2)
    assert verify("--answers", str(answers)) == 1
    assert "expected one answer to 'abs_topk-1', got a second one in line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"values": np.zeros((1, 6), "f4")}, "stores 3 indices and 6 values instead of k = 3 (R2)"),
        ({"values": np.full((1, 3), -3.4e38, "f4")}, "stores -3.4e+38"),
        ({"indices": np.zeros((0, 3), "i4")}, "expected I32 [1, 3], got I32 [0, 3]"),
    ],
)
def test_outputs_of_strange_sizes_are_judged(outputs, words):
    assert words in judged(TESTS["abs_topk-1"], **outputs).reason


def test_options_that_would_do_nothing_are_refused(problem, files, capsys):
    save_codes(files / "codes.npz", problem[0].encode(problem[1]))
    for options in (["--bits"], ["--only", "encode-1"], ["--vectors", "x"], ["--without", "float64"]):
        assert audited(files, "codes.npz", *options) == 1
        assert f"expected no {options[0]} with MODEL, got both" in capsys.readouterr().err
    for options in (["--strict"], ["--k", "3"]):
        assert verify(*options) == 1
        assert f"expected MODEL with {options[0]}, got {options[0]} alone" in capsys.readouterr().err


# -- what an audit of strange numbers says -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_embeddings_of_any_scale_are_judged_alike(problem, scale):
    model, x = problem
    params = replace(model.params, **{name: array.astype("f8") for name, array in model.params.arrays().items()})
    wide = Model(params, 6)
    x = x.astype(np.float64) * scale
    codes = wide.encode(x)
    assert auditing.audit(wide, x, codes).equal == 700
    assert auditing.audit(wide, x, in_another_order(wide, x / scale, 6)).wrong == 0
    garbage = Codes(codes.indices, codes.values[::-1].copy(), 60)
    assert auditing.audit(wide, x, garbage).wrong > 600


def test_a_model_without_a_bound_is_not_audited(problem):
    model, x = problem
    params = replace(model.params, W_enc=model.params.W_enc.astype("f8") * 1e200)
    params = replace(params, b_enc=params.b_enc.astype("f8"), W_dec=params.W_dec.astype("f8"))
    with pytest.raises(DomainError, match="squares have a finite sum"):
        auditing.audit(Model(params, 6), x, Model(params, 6).encode(x))


def test_rows_that_store_too_little_and_codes_of_zero_rows_are_told_as_such(problem):
    model, x = problem
    x = x.copy()
    x[3] = 0
    codes = model.encode(x, zero_rows="empty")
    values = codes.values.copy()
    values[3, 0], values[7, 2] = 0.5, 0
    reasons = {row.row: row.reason for row in auditing.audit(model, x, Codes(codes.indices, values, 60)).differing}
    assert reasons == {
        3: "is not zero, but belongs to a zero row (R4)",
        7: "stores 5 nonzero entries instead of k = 6 (R2)",
    }


def test_half_precision_and_empty_dense_codes(problem, files, capsys):
    model, x = problem
    save_array = (model.encode(x).to_dense()).astype(np.float16)
    np.save(files / "half.npy", save_array)
    assert audited(files, "half.npy") == 1
    assert "if values are rounded to float16 (R11)" in capsys.readouterr().out
    np.save(files / "empty.npy", save_array[:0])
    assert audited(files, "empty.npy") == 1
    assert "expected 700 rows as in the embeddings, got 0" in capsys.readouterr().err
    assert audited(files, "half.npy", "--k", "0") == 1
    assert "expected k from 1" in capsys.readouterr().err
