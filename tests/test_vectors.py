"""The test vectors: made anew byte for byte, in their schemas, catching what they say, passed by every backend."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from compressae_ref.errors import FormatError
from compressae_ref.verify import accumulated
from compressae_ref.verify.operations import IN_REFERENCE, OPERATIONS, PARTS
from compressae_ref.verify.programs import ask_package, ask_reference
from compressae_ref.verify.reference_answers import ANSWERS
from compressae_ref.verify.report import Suite, run
from compressae_ref.verify.self_test import answer
from compressae_ref.verify.vectors import (
    array_from_json,
    array_to_json,
    default_folder,
    drawn,
    load_file,
    load_folder,
    values_from_json,
    values_to_json,
)
from spec.generate.program import PAGES

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "spec" / "vectors"
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in VECTORS.glob("*.json")}
DIGESTS = FILES.pop("accumulated")["digests"]


def stated() -> set[str]:
    pages = "".join((ROOT / "spec" / name).read_text("utf-8") for name in PAGES)
    return set(re.findall(r"\*\*([ER]\d+'*)\*\*", pages))


# -- what the files say -----------------------------------------------------------------------------------------------


def test_the_vectors_are_what_the_specification_makes_byte_for_byte():
    """The generator also tries every flag: it stops at a vector that does not catch its bug."""
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("the specification runs in float32 with NumPy 2")
    pytest.importorskip("numba")
    from spec.generate.everything import FOLDER, all_files

    made = all_files()
    stale = [name for name, content in made.items() if (FOLDER / name).read_bytes() != content]
    assert stale == [], "run python -m spec.generate"
    there = {path.relative_to(FOLDER).as_posix() for path in VECTORS.rglob("*") if path.is_file()}
    assert there == {name for name in made if name.startswith("vectors/")}


def test_they_are_small():
    assert sum(path.stat().st_size for path in VECTORS.rglob("*")) < 2_000_000


@pytest.mark.parametrize("name", FILES)
def test_a_file_obeys_its_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    from referencing import Registry, Resource

    common = json.loads((VECTORS / "schema" / "common.schema.json").read_text("utf-8"))
    registry = Registry().with_resource("common.schema.json", Resource.from_contents(common))
    schema = json.loads((VECTORS / "schema" / f"{FILES[name]['operation']}.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    validator.validate(FILES[name])
    broken = json.loads(json.dumps(FILES[name]))
    broken["tests"][0]["inputs"]["unheard_of"] = 1
    assert not validator.is_valid(broken)


def test_every_equation_and_rule_is_shown_by_a_vector():
    cited = {cite for file in FILES.values() for flag in file["flags"].values() for cite in flag["cites"]}
    assert cited <= stated(), cited - stated()
    assert stated() <= cited, stated() - cited


def test_every_flag_is_used_and_every_use_is_declared():
    for name, file in FILES.items():
        assert {flag for test in file["tests"] for flag in test["flags"]} == set(file["flags"]), name
        assert len({test["id"] for test in file["tests"]}) == len(file["tests"]), name


def test_every_operation_and_every_kind_of_test_is_there():
    assert {file["operation"] for file in FILES.values()} == set(OPERATIONS)
    tests = [test for file in FILES.values() for test in file["tests"]]
    assert {test["result"] for test in tests} == {"valid", "invalid"}
    assert any(test.get("bounds") for test in tests)
    assert any(not test.get("bounds") and test["result"] == "valid" for test in tests)


def test_decisions_name_flags_that_exist():
    page = (ROOT / "spec" / "decisions.md").read_text("utf-8")
    named = re.findall(r"`(\w+): (\w+)`", page)
    assert len(named) >= 10
    for file, flag in named:
        assert flag in FILES[file]["flags"], f"{file}: {flag}"


# -- what they are worth ----------------------------------------------------------------------------------------------


def test_every_backend_passes_every_level_to_the_bit(backend):
    for result in run(Suite(default_folder(), cases=10_000), ask_package(backend), list(PARTS), bits=True):
        assert result.full, result.failures[:3]
        assert result.tests >= 5


def test_the_reference_file_passes_every_level_that_it_has_to_the_bit():
    for result in run(Suite(default_folder(), cases=10_000), ask_reference(), IN_REFERENCE, bits=True):
        assert result.full, result.failures[:3]
        assert result.tests >= 5
    left = {OPERATIONS[name].level for name in OPERATIONS.keys() - ANSWERS.keys()}
    assert left == {"L0", "L3", *(set(PARTS) - set(IN_REFERENCE))}, "files, and what it does not have"


@pytest.mark.parametrize("operation", accumulated.GROUPS)
@pytest.mark.parametrize("cases", accumulated.CASES[:2])
def test_the_accumulated_digests(operation, cases, backend):
    check_digest(operation, cases, backend)


@pytest.mark.slow
@pytest.mark.parametrize("operation", accumulated.GROUPS)
def test_the_digests_of_a_million_cases(operation, backend):
    check_digest(operation, accumulated.CASES[2], backend)


def check_digest(operation, cases, backend):
    answers = (answer(operation, inputs, backend)["outputs"] for inputs in accumulated.groups(operation, cases))
    assert accumulated.digest(answers) == DIGESTS[operation][str(cases)]


def test_accumulated_cases_draw_what_the_page_says():
    """Both zeros, ties at the border, subnormal numbers, k = 1 and k = h: among the first ten thousand."""
    seen = set()
    for inputs in accumulated.groups("abs_topk", 10_000):
        pre, k = inputs["pre"], inputs["k"]
        assert np.isfinite(pre).all()
        ordered = -np.sort(-np.abs(pre), axis=1)
        seen |= {"k = 1"} if k == 1 else {"k = h"} if k == pre.shape[1] else set()
        seen |= {"ties"} if k < pre.shape[1] and (ordered[:, k - 1] == ordered[:, k]).any() else set()
        seen |= {"−0"} if (np.signbit(pre) & (pre == 0)).any() else set()
        seen |= {"subnormal"} if ((np.abs(pre) < np.finfo("f4").tiny) & (pre != 0)).any() else set()
    assert seen == {"k = 1", "k = h", "ties", "−0", "subnormal"}


# -- reading them -----------------------------------------------------------------------------------------------------


def test_arrays_come_back_as_they_were():
    for array in (np.float32([[1, -0.0]]), np.array(2.5), np.int64([]).reshape(0, 3), np.uint8([7]), np.int32([-1])):
        back = array_from_json(array_to_json(array))
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    by_columns = np.asfortranarray(np.float32([[1, 2], [3, 4]]))
    assert array_to_json(by_columns)["hex"] == "0000803f000000400000404000008040"
    values = {"x": np.float32([1]), "k": 3, "model": None}
    assert values_from_json(values_to_json(values))["k"] == 3
    with pytest.raises(TypeError):
        array_to_json(np.complex64([1]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"dtype": "F32", "shape": [1]}, "dtype, shape and hex"),
        ({"dtype": "F16", "shape": [1], "hex": "0000"}, "F16"),
        ({"dtype": "F32", "shape": [-1], "hex": ""}, "up to three integers"),
        ({"dtype": "F32", "shape": [True], "hex": "00000000"}, "up to three integers"),
        ({"dtype": "F32", "shape": 1, "hex": ""}, "shape 1"),
        ({"dtype": "F32", "shape": [1], "hex": "zz000000"}, "hex"),
        ({"dtype": "F32", "shape": [2], "hex": "00000000"}, "8 bytes"),
        ({"dtype": "F32", "shape": [2**39, 2**39], "hex": ""}, "bytes"),
        ({"dtype": "F32", "shape": [0, 10**30], "hex": ""}, "up to three integers"),
        ({"dtype": "F32", "shape": [1] * 65, "hex": ""}, "up to three integers"),
        ({"dtype": ["F32"], "shape": [1], "hex": ""}, "got dtype"),
    ],
)
def test_what_is_not_an_array_is_refused(value, message):
    with pytest.raises(FormatError, match=message):
        array_from_json(value)


def test_a_file_with_an_unknown_key_or_of_another_version_is_refused(tmp_path):
    content = FILES["truncate"]
    for name, change in {
        "key": {"extra": 1},
        "version": {"spec": "9.9"},
        "test": {"tests": [content["tests"][0] | {"surprise": 1}]},
    }.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content | change), encoding="utf-8")
        with pytest.raises(FormatError, match=rf"{name}.json"):
            load_file(path)
    with pytest.raises(FormatError, match="found none"):
        load_folder(tmp_path / "nothing")


def test_drawn_numbers_are_sixteen_sixty_fourths():
    values = drawn([3, 50], "seed")
    assert values.dtype == np.float32
    assert set((values * 64).ravel()) <= set(range(-8, 8))
    assert len(set(values.ravel())) > 10
    assert not np.array_equal(values, drawn([3, 50], "other seed"))
