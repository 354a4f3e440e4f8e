"""Build tests and their flags; each claim of a vector is checked before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.backends import get_backend
from compressae_ref.verify import self_test
from compressae_ref.verify.judge import fingerprint, judge
from compressae_ref.verify.operations import OPERATIONS
from compressae_ref.verify.vectors import SPEC_VERSION, Test, values_to_json
from spec.generate.answers import LARGE, Spec, Values
from spec.generate.pages import by_number
from spec.generate.program import Edit

Answer = dict[str, Any]
Bug = tuple[Edit, ...] | Callable[[Values, Values], Answer]
"""An edit of the specification's blocks, or a function from inputs and right outputs to a wrong answer."""


class Flag(NamedTuple):
    """A mistake that a test catches."""

    why: str
    """the mistake; continues the sentence "fails if …" """
    cites: tuple[str, ...]
    bug: Bug
    bits: bool = False
    """whether the mistake changes only bits, within the bounds: other orders of sums are then allowed"""


@dataclass
class Case:
    """A test before its outputs are computed by the specification."""

    comment: str
    flags: tuple[str, ...]
    inputs: Values
    error: str | None = None
    row: int | None = None
    bounds: Callable[[Values, Values], dict[str, float]] | None = None
    """returns bounds of the outputs whose bits depend on the order of sums; None: any order must give the same bits"""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """what the JSON file has in place of an input: a seed or a path"""
    needs: tuple[str, ...] = ()


@dataclass
class Group:
    """One file of tests."""

    name: str
    operation: str
    header: Sequence[str]
    flags: Mapping[str, Flag]
    cases: Sequence[Case]


class BrokenVectorError(AssertionError):
    """A vector whose claims are wrong, for example because it does not catch its bug."""


def _shuffled(seed: int) -> tuple[Edit, ...]:
    """Return edits that change the order of all sums: over d, stored entries and rows."""

    def shuffled(size: str) -> str:
        return f"sorted(range({size}), key=lambda c: (c + {seed}) * 2654435761 % 4294967291)"

    first, entries = "    total = terms[0]\n", "for t in range(len(indices)):"
    start, gathered = "    x_hat = [0.0] * len(W_dec[0])\n    ", "    total = 0.0\n    "
    other_entries = f"for t in {shuffled('len(indices)')}:"
    return (
        (first, f"    terms = [terms[c] for c in {shuffled('len(terms)')}]\n{first}"),
        ("while len(terms) > 16", f"while {seed % 2} and len(terms) > 16"),
        (start + entries, start + other_entries),
        (gathered + entries, gathered + other_entries),
        ("for value in values:\n", f"for value in [values[c] for c in {shuffled('len(values)')}]:\n"),
        ("for x in batch:  # in row order", f"for x in [batch[c] for c in {shuffled('n')}]:"),
        ("for i in range(n):  # rows in order", f"for i in {shuffled('n')}:"),
    )


OTHER_ORDERS = tuple(Spec(*_shuffled(seed)) for seed in range(12))
"""The specification with every sum in another order, once for each seed."""


def spread(operation: str, inputs: Values, outputs: Values) -> dict[str, float]:
    """Return the largest change of each float output, by name, over `OTHER_ORDERS`."""
    others = [spec.answer(operation, inputs) for spec in OTHER_ORDERS]
    floats = [name for name, value in outputs.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    return {name: max(_apart(other[name], outputs[name]) for other in others) for name in floats}


def _apart(a: Any, b: Any) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0))


def shared(groups: Sequence[Group]) -> dict[str, Bug]:
    """Return the edits that change only bits, each once, by "group: flag": any test with bounds may meet them."""
    found: dict[str, Bug] = {}
    for group in groups:
        for name, flag in group.flags.items():
            if flag.bits and not callable(flag.bug) and flag.bug not in found.values():
                found[f"{group.name}: {name}"] = flag.bug
    return found


def built(group: Group, others: Mapping[str, Bug]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Return the file as JSON, and which answer each mistake gives; BrokenVectorError if a claim of a test is wrong.

    ``others`` are mistakes of other groups, which are tried on tests with bounds.
    """
    used = {name for case in group.cases for name in case.flags}
    if used != set(group.flags):
        raise BrokenVectorError(f"{group.name}: flags {sorted(used ^ set(group.flags))} are not both declared and used")
    cites = sorted({cite for flag in group.flags.values() for cite in flag.cites}, key=by_number)
    operation = OPERATIONS[group.operation]
    made = [_built(group, others, number, case) for number, case in enumerate(group.cases, start=1)]
    content = {
        "spec": SPEC_VERSION,
        "operation": group.operation,
        "level": operation.level,
        "section": operation.section,
        "equations": [cite for cite in cites if cite[0] == "E"],
        "rules": [cite for cite in cites if cite[0] == "R"],
        "header": list(group.header),
        "flags": {
            name: {"why": f"fails if {flag.why}", "cites": list(flag.cites)} | ({"bits": True} if flag.bits else {})
            for name, flag in group.flags.items()
        },
        "tests": [test for test, _ in made],
    }
    return content, {test["id"]: answers for test, answers in made}


def _built(group: Group, others: Mapping[str, Bug], number: int, case: Case) -> tuple[dict[str, Any], dict[str, str]]:
    test = _tried(group, f"{group.name}-{number}", case)
    answers = {name: _catches(group, test, group.flags[name], name) for name in case.flags}
    if case.error is None and sum(np.size(value) for value in case.inputs.values()) <= LARGE:
        edits: dict[str, Bug] = {name: flag.bug for name, flag in group.flags.items() if not callable(flag.bug)}
        known = list(edits.values())
        edits |= {name: bug for name, bug in others.items() if case.bounds and bug not in known}
        answers |= {name: _wrong_answer(test, bug) for name, bug in edits.items() if name not in answers}
    right = fingerprint(test, {"error": test.error, "row": test.row} if test.error else {"outputs": test.outputs})
    told = {name: fingerprint(test, answer) for name, answer in answers.items()}
    result = {"result": "valid"} if case.error is None else {"result": "invalid", "error": case.error}
    if case.row is not None:
        result["row"] = case.row  # type: ignore[assignment]
    as_json = {
        "id": test.id,
        "comment": case.comment,
        "flags": list(case.flags),
        **result,
        **({"needs": list(case.needs)} if case.needs else {}),
        "inputs": values_to_json(case.inputs) | dict(case.stated),
        **({"outputs": values_to_json(test.outputs)} if case.error is None else {}),
        **({"bounds": dict(test.bounds)} if test.bounds else {}),
    }
    return as_json, {name: answer for name, answer in told.items() if name in case.flags or answer != right}


def _tried(group: Group, name: str, case: Case) -> Test:
    """Return the test with the outputs of the specification; the package and other orders of sums must agree."""
    asked = Test(name, group.operation, case.flags, case.comment, case.inputs)
    if case.error is not None:
        test = replace(asked, error=case.error, row=case.row)
        if not _forbidden(Spec(), test):
            raise BrokenVectorError(f"{name}: the specification allows what is called invalid")
    else:
        outputs = Spec().answer(group.operation, case.inputs)
        bounds = case.bounds(case.inputs, outputs) if case.bounds else {}
        test = replace(asked, outputs=outputs, bounds={key: _rounded_up(bound) for key, bound in bounds.items()})
        for spec in OTHER_ORDERS:
            verdict = judge(test, {"outputs": spec.answer(group.operation, case.inputs)})
            if not verdict.passed or (not bounds and not verdict.bit_exact):
                raise BrokenVectorError(f"{name}: another order of sums is refused: {verdict.reason}")
    for backend in ("numpy", "numba"):
        verdict = judge(test, self_test.answer(group.operation, case.inputs, get_backend(backend)))
        if not verdict.bit_exact:
            raise BrokenVectorError(f"{name}: {backend} differs from the specification: {verdict.reason}")
    return test


def _rounded_up(bound: float) -> float:
    return float(f"{bound * 1.05:.1e}")


def _forbidden(spec: Spec, test: Test) -> bool:
    try:
        spec.answer(test.operation, test.inputs)
    except (AssertionError, ValueError):  # ValueError: invalid JSON
        return True
    return False


def _catches(group: Group, test: Test, flag: Flag, name: str) -> Answer:
    """Return the answer that a mistake gives; BrokenVectorError if the test does not catch it."""
    wrong = _wrong_answer(test, flag.bug)
    verdict = judge(test, wrong)
    caught = not verdict.bit_exact if flag.bits else not verdict.passed
    if not caught:
        raise BrokenVectorError(f"{test.id}: does not catch {name}: passes although it {flag.why}")
    if test.error is not None and wrong.get("error") == test.error and "row" not in wrong:
        raise BrokenVectorError(f"{test.id}: the bug {name} is refused for another reason, too: one scenario each")
    return {"outputs": {}} if test.error is not None and wrong.get("error") == "crash" else wrong


def _wrong_answer(test: Test, bug: Bug) -> Answer:
    if callable(bug):
        return bug(test.inputs, test.outputs)
    try:
        return {"outputs": Spec(*bug).answer(test.operation, test.inputs)}
    except AssertionError:
        return {"error": test.error or "DomainError"}
    except (ValueError, LookupError, TypeError, ZeroDivisionError, OverflowError):
        return {"error": "crash"}


# -- bounds and data that several files use ---------------------------------------------------------------------------


def accepts(inputs: Values, outputs: Values) -> Answer:
    """Return the answer of a program that accepts invalid inputs."""
    return {"outputs": outputs}


def names_row(row: int, error: str = "DomainError") -> Callable[[Values, Values], Answer]:
    """Return the bug of a program that names another row."""
    return lambda inputs, outputs: {"error": error, "row": row}


def f32(values: Any) -> Any:
    """Return a float32 array in C order."""
    return np.array(values, np.float32)


def exact_rows(rng: np.random.Generator, n: int, d: int, ones: int) -> Any:
    """Return rows with ``ones`` entries of ±1; for a power of four the norm is a power of two."""
    x = np.zeros((n, d), np.float32)
    for row in x:
        row[rng.permutation(d)[:ones]] = rng.choice([-1.0, 1.0], ones)
    return x


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], most: int = 8, unit: float = 1 / 16) -> Any:
    """Return integer multiples of ``unit``: few distinct magnitudes, and sums that are exact in any order."""
    return (rng.integers(-most, most + 1, shape) * unit).astype(np.float32)


def codes(rng: np.random.Generator, n: int, h: int, k: int) -> tuple[Any, Any]:
    """Return indices and nonzero dyadic values."""
    indices = np.sort(rng.random((n, h)).argsort(axis=1)[:, :k], axis=1).astype(np.int32)
    values = f32(rng.integers(1, 9, (n, k)) / 8 * rng.choice([-1, 1], (n, k)))
    return indices, values


def unit_atoms(rng: np.random.Generator, h: int, d: int) -> Any:
    """Return unit rows with four entries of ±1/2, whose norms are exact and which overlap."""
    return exact_rows(rng, h, d, 4) / 2


def exact_exp(x: Any) -> Any:
    """Return exp(x) (n,), correctly rounded: libraries differ in the last bit between processors."""
    digits = Context(prec=40)
    return np.array([float(Decimal(value).exp(digits)) for value in x.tolist()])


def orthonormal(rows: Any) -> Any:
    """Return rows (m, d), m ≤ d, made orthonormal one after the other, in sums whose order no library chooses."""
    basis: list[Any] = []
    for row in rows:
        for _ in range(2):  # once more removes what rounding has left
            row = row - sum(((row * other).sum() * other for other in basis), np.zeros_like(row))
        basis.append(row / np.sqrt((row * row).sum()))
    return np.stack(basis)


def fused_products(x: Any, rows: Any) -> Any:
    """Return the dots (n, m) of float32 rows, one term after the other, each rounded once with the sum so far."""
    dots = np.zeros((len(x), len(rows)), np.float32)
    for a, b in zip(x.T.astype(np.float64), rows.T.astype(np.float64), strict=True):
        dots = f32(a[:, None] * b + dots)
    return dots


def random_atoms(rng: np.random.Generator, h: int, d: int, dtype: Any = np.float32) -> Any:
    """Return unit rows in random directions."""
    W_dec = rng.standard_normal((h, d))
    return (W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)).astype(dtype)
