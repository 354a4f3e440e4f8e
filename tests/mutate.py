"""A mutation run over the truth: every small change must be noticed. ``python -m tests.mutate`` prints the score.

Each mutant changes one comparison, operator, number, condition or call in a function of the files below. It runs in a
process forked from one that has imported everything, where the code of that one function is exchanged: first against
the test vectors, then, if it is still alive, against the tests of the mathematics. All of it is NumPy: the kernels are
held against the truth elsewhere. Survivors must be explained in ``EXPLAINED``: those that are count as survivors and
are not run again, unless they are asked for. ``--list`` prints the mutants, and runs none; other words choose those
whose lines hold one of them.
"""

from __future__ import annotations

import os
import sys

sys.modules["numba"] = None  # type: ignore[assignment]  # before anything imports it: the truth alone
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: there is a process for each processor

import ast
import contextlib
import copy
import importlib
import io
import signal
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.extra.numpy  # noqa: F401 - with SciPy, half of the start of the tests: imported once, before the forks
import pytest
import scipy.sparse  # noqa: F401

import compressae_ref
from compressae_ref.backends import get_backend
from compressae_ref.verify.operations import IN_REFERENCE
from compressae_ref.verify.programs import ask_package, ask_reference
from compressae_ref.verify.report import judged
from compressae_ref.verify.suite import Suite, levels_up_to
from compressae_ref.verify.vectors import default_folder

PACKAGE = Path(compressae_ref.__file__).parent
FILES = (
    "reference",
    "model",
    "training.step",
    "training.distillation",
    "training.adam_state",
    "extensions.fitted_codes",
    "codes",
    "retrieval.spaces",
    "retrieval.similarity",
)
TESTS = (
    "model",
    "metrics",
    "reference",
    "codes",
    "similarity",
    "files",
    "gradients",
    "distill",
    "spec",
    "train",
    "fitted",
)
"""By the time that they take, the shortest first: a run ends where one of them is red."""
FIRST = {
    "training.step": "gradients",
    "training.distillation": "distill",
    "training.adam_state": "train",
    "extensions.fitted_codes": "fitted",
    "retrieval.spaces": "similarity",
}
"""The tests that run first for a file, where they do not have its name."""
LEVELS = {
    "training.step": [*levels_up_to("L3"), "distill"],
    "training.distillation": ["distill"],
    "extensions.fitted_codes": ["fitted"],
}
"""The levels of the test vectors that run for a file, if these are not all but the extensions."""
AIM = 0.97
TIMES_AS_LONG = 4
"""A mutant whose vectors or tests take so many times as long as the unchanged code's is noticed: it does not end."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip

EXPLAINED: dict[str, str] = {
    "reference:fold_sum: 16 → 17": "17 is odd, and odd numbers of terms are not halved",
    "reference:sparse_cosine: 0 → 1": "indices and values of a code have one length",
    "reference:train_step: True → False": "strict zip of four lists with three arrays each",
    "training.step:backward: True → False": "strict zip of two pairs",
    "training.adam_state:adam_step: True → False": "strict zip of four dictionaries with the same names",
    "training.distillation:similarity_backward: len(codes_k) < 2 → len(codes_k) <= 2": "each of two rows has one share",
    "training.distillation:similarity_backward: 2 → 3": "each of two rows has one share",
    "training.distillation:_along: 0 → 1": "it is multiplied by values of a code that is shorter than 1e-8",
    "codes:_as_values: 8 → 9": "no float has nine bytes",
    "codes:_filled_rows: 2 → 3": "more candidates than are needed, of which the lowest are taken",
    "retrieval.spaces:dense_queries: 1 → 0": "a block has room for one row where there are no rows",
}
"""``file:function: before → after`` of each survivor that may live, and why."""


class Mutant(NamedTuple):
    """One change, and the code that it makes."""

    module: str
    function: str
    line: int
    before: str
    after: str
    code: types.CodeType

    def __str__(self) -> str:
        return f"{self.module}:{self.function}: {self.before} → {self.after}"


# -- the mutants ------------------------------------------------------------------------------------------------------


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a file."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name, function in functions(tree):
        for node in [each for statement in function.body for each in ast.walk(statement)]:  # no defaults: they stay
            for change in changes(node):
                mutated, undo = change()
                if mutated is None:
                    continue
                before, after = mutated
                code = compile(ast.fix_missing_locations(tree), str(path), "exec")
                undo()
                yield Mutant(module, name, getattr(node, "lineno", function.lineno), before, after, code_of(code, name))


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods with their dotted names, without docstrings and annotations, which nothing runs."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for function in inside:
            if isinstance(function, ast.FunctionDef):
                _strip(function)
                yield prefix + function.name, function


def _strip(function: ast.FunctionDef) -> None:
    """Leave only what runs when the function is called."""
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:] or [ast.Pass()]
    function.returns = None
    for argument in (*function.args.args, *function.args.kwonlyargs):
        argument.annotation = None


Change = Callable[[], tuple[tuple[str, str] | None, Callable[[], None]]]


def changes(node: ast.AST) -> Iterator[Change]:
    """The ways in which one node is changed, each with its undoing."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _set(node, "ops", [COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS and not _is_text(node):
        yield _set(node, "op", OPERATORS[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield _set(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        yield _set(node, "value", _other(node.value))
    if isinstance(node, (ast.If, ast.IfExp)):
        yield _set(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.UnaryOp):
        yield _set(node, "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub())
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield _set(node, "value", ast.Constant(None))


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    return any(isinstance(each, ast.JoinedStr) for each in ast.walk(node))


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return 0 if value == 1 else value + 1


def _set(node: ast.AST, field: str, value: Any) -> Change:
    def change() -> tuple[tuple[str, str] | None, Callable[[], None]]:
        before, old = ast.unparse(node), getattr(node, field)
        setattr(node, field, value)
        after = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
        shown = (_first_line(before), _first_line(after))
        return (shown if before != after else None), lambda: setattr(node, field, old)

    return change


def _first_line(text: str) -> str:
    return text.splitlines()[0]


def code_of(module: types.CodeType, name: str) -> types.CodeType:
    """The code of a function in that of its module."""
    code = module
    for part in name.split("."):
        code = next(each for each in code.co_consts if isinstance(each, types.CodeType) and each.co_name == part)
    return code


def live_function(mutant: Mutant) -> types.FunctionType:
    """The function that runs, under its descriptors."""
    found: Any = importlib.import_module(f"compressae_ref.{mutant.module}")
    for part in mutant.function.split("."):
        found = vars(found)[part] if isinstance(found, (type, types.ModuleType)) else getattr(found, part)
    for inside in ("__func__", "fget", "func", "__wrapped__"):
        found = getattr(found, inside, found)
    assert isinstance(found, types.FunctionType), mutant
    return found


# -- running them -----------------------------------------------------------------------------------------------------


def vectors_notice(module: str) -> bool:
    """Whether the test vectors turn red, answered by the reference file or by the package."""
    ask, levels = (
        (ask_reference(), IN_REFERENCE)
        if module == "reference"
        else (ask_package(get_backend("numpy")), LEVELS.get(module, levels_up_to("L3")))
    )
    try:
        return not all(judged(test, ask(test), bits=False)[0].passed for test in suite().tests(levels))
    except Exception:
        return True


@cache
def suite() -> Suite:
    """The test vectors, read once, before the forks."""
    return Suite(default_folder(), cases=100)


def order_for(module: str) -> tuple[list[str], list[str]]:
    """The tests of the mathematics in two runs: first those of the file itself."""
    first = FIRST.get(module, module.rpartition(".")[2])
    return [first], [name for name in TESTS if name != first]


def tests_notice(names: list[str]) -> bool:
    """Whether some of the tests of the mathematics turn red."""
    os.environ |= {"HYPOTHESIS_PROFILE": "mutants", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    files = [f"tests/test_{name}.py" for name in names]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]) != 0


def noticed_by(mutant: Mutant, limits: Limits) -> str:
    """``vectors``, ``tests`` or ``nothing``, found out in a process of its own."""

    def work() -> int:
        live_function(mutant).__code__ = mutant.code
        signal.alarm(limits.vectors)
        if vectors_notice(mutant.module):
            return 1
        signal.alarm(limits.tests)
        return 2 if any(map(tests_notice, order_for(mutant.module))) else 0

    code = in_child(work)
    return "tests" if code < 0 else ("nothing", "vectors", "tests")[code]


class Limits(NamedTuple):
    """Seconds after which a mutant does not end; 0: as many as it takes."""

    vectors: int = 0
    tests: int = 0


def limits_of_unchanged() -> Limits:
    """Time the unchanged code, which must be green: the tests in a process for each file."""
    started = time.perf_counter()
    assert not any(vectors_notice(module) for module in ("reference", "model")), "red before anything is changed"
    vectors = time.perf_counter() - started
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tests = sum(pool.map(seconds_of, TESTS))
    return Limits(*(int(TIMES_AS_LONG * seconds) + 1 for seconds in (vectors, tests)))


def seconds_of(name: str) -> float:
    """Time the tests of one file on the unchanged code, which must be green, in a process of its own."""
    started = time.perf_counter()
    assert in_child(lambda: int(tests_notice([name]))) == 0, f"{name}: red before anything is changed"
    return time.perf_counter() - started


def in_child(work: Callable[[], int]) -> int:
    """Run something in a forked process that prints nothing; return its exit code, below 0 if a signal ended it."""
    child = os.fork()
    if child == 0:
        code = os.EX_SOFTWARE  # if it raises
        try:
            with open(os.devnull, "w") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> int:
    """Exit code 1 if the score is below the aim, or a survivor is not explained."""
    chosen = [mutant for module in FILES for mutant in mutants(module)]
    if unfounded := EXPLAINED.keys() - {str(mutant) for mutant in chosen}:
        print(f"explained, but no mutant: {', '.join(sorted(unfounded))}")
        return 1
    if arguments == ["--list"]:
        print(*chosen, sep="\n")
        return 0
    if arguments:
        chosen = [mutant for mutant in chosen if any(text in str(mutant) for text in arguments)]
    started = time.perf_counter()
    limits = limits_of_unchanged()

    def outcome(mutant: Mutant) -> str:
        return "nothing" if str(mutant) in EXPLAINED and not arguments else noticed_by(mutant, limits)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(zip(chosen, pool.map(outcome, chosen), strict=True))
    survivors = [mutant for mutant, by in results if by == "nothing"]
    by_vectors = sum(by == "vectors" for _, by in results)
    for mutant in survivors:
        print(f"survives, line {mutant.line}: {mutant}: {EXPLAINED.get(str(mutant), 'NOT EXPLAINED')}")
    score = 1 - len(survivors) / len(results)
    print(
        f"mutation score {score:.1%}: of {len(results)} mutants {by_vectors} noticed by the vectors, "
        f"{len(results) - by_vectors - len(survivors)} by the tests, {len(survivors)} survive "
        f"({time.perf_counter() - started:.0f} s)"
    )
    return int(score < AIM or any(str(mutant) not in EXPLAINED for mutant in survivors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
