"""Compute the digests of the accumulated tests, and check which mistakes they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compressae_ref.backends import get_backend
from compressae_ref.verify import accumulated
from compressae_ref.verify.self_test import answer
from compressae_ref.verify.vectors import SPEC_VERSION
from spec.generate.answers import Spec, Values
from spec.generate.build import OTHER_ORDERS, BrokenVectorError
from spec.generate.program import Edit

BY_THE_TEXT = 100
"""Number of cases that the blocks of the specification compute as well, scalar by scalar."""

KEY = "(-abs(pre[j]), j))  # R1"
BUGS: dict[str, dict[str, Edit]] = {
    "abs_topk": {
        "ties go to the higher index": (KEY, "(-abs(pre[j]), -j))"),
        "a positive entry wins against a negative one of equal magnitude": (KEY, "(-abs(pre[j]), -pre[j], j))"),
        "the largest values are kept, not the largest magnitudes": (KEY, "(-pre[j], j))"),
        "−0 is stored": ("values = [pre[j] + 0.0 for", "values = [pre[j] for"),
        "entries are stored by descending magnitude": ("indices = sorted(order[:k])  # R2", "indices = order[:k]"),
    },
    "encode": {
        "ties go to the higher index": (KEY, "(-abs(pre[j]), -j))"),
        "the bias is left out": (" + b_enc[j])", ")"),
        "rows are not made unit rows": ("return [value / length for value in scaled]", "return x"),
    },
}


def _by_package(operation: str) -> Callable[[Values], Values]:
    backend = get_backend("numba")
    return lambda inputs: answer(operation, inputs, backend)["outputs"]


def _by_text(operation: str, *edits: Edit, order: Spec | None = None) -> Callable[[Values], Values]:
    spec = order or Spec(*edits)
    return lambda inputs: spec.answer(operation, inputs)


def digest_of(operation: str, cases: int, answer_group: Callable[[Values], Values]) -> str:
    """Return the digest of the first ``cases`` cases; ``answer_group`` maps inputs to outputs."""
    return accumulated.digest(map(answer_group, accumulated.groups(operation, cases)))


def made(known: dict[str, Any] | None) -> dict[str, Any]:
    """Return ``accumulated.json``; digests of a million cases come from ``known`` or take a minute each."""
    digests = {operation: _digests(operation, (known or {}).get("digests", {})) for operation in accumulated.GROUPS}
    return {
        "spec": SPEC_VERSION,
        "header": [
            "SHA-256 of all answers to so many cases. README.md says how the cases are drawn from SHAKE-128.",
            "Every sum is exact, so any order gives these digests.",
        ],
        "rows": accumulated.ROWS,
        "flags": {operation: [f"fails if {what}" for what in bugs] for operation, bugs in BUGS.items()},
        "digests": digests,
    }


def _digests(operation: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    of = {str(cases): digest_of(operation, cases, _by_package(operation)) for cases in accumulated.CASES[:2]}
    most = str(accumulated.CASES[2])
    of[most] = known.get(operation, {}).get(most) or digest_of(operation, int(most), _by_package(operation))
    right = of[str(BY_THE_TEXT)]
    for order in (Spec(), *OTHER_ORDERS[:2]):
        if digest_of(operation, BY_THE_TEXT, _by_text(operation, order=order)) != right:
            raise BrokenVectorError(f"accumulated {operation}: the specification has another digest than the package")
    more = 10 * BY_THE_TEXT
    right = digest_of(operation, more, _by_package(operation))
    for what, edit in BUGS[operation].items():
        if digest_of(operation, more, _by_text(operation, edit)) == right:
            raise BrokenVectorError(f"accumulated {operation}: does not catch that {what}")
    return of
