"""The usual mistakes of each exercise, and the numbers that come out then: they explain a wrong answer.

The test vectors know mistakes by the bits of their answers. These are also recognised if sums ran in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compressae_ref.verify.exercises import (
    mistakes_in_gradients,
    mistakes_in_search,
    mistakes_in_training,
    mistakes_with_codes,
)
from compressae_ref.verify.exercises.mistakes_with_codes import Mistake
from compressae_ref.verify.exercises.process import grouped
from compressae_ref.verify.exercises.table import FUNCTIONS, names_of
from compressae_ref.verify.vectors import Test, Values

NEAR = 1e-3
"""A mistake explains an answer that is nearer to its numbers than to the right ones by this factor."""

SEVERAL = 8
"""Number of wrong answers that decide between mistakes that give equal numbers in the first one."""

ROUNDED = 64
"""Sums that are nearer than so many roundings of the largest differ by rounding alone."""

_PARTS = (mistakes_with_codes, mistakes_in_gradients, mistakes_in_training, mistakes_in_search)

MISTAKES: dict[str, dict[str, Mistake]] = {name: own for part in _PARTS for name, own in part.MISTAKES.items()}
"""By function: what is wrong, and what comes out then."""

PAIRS = mistakes_in_gradients.PAIRS | mistakes_in_training.PAIRS | mistakes_in_search.PAIRS
"""By function: two mistakes at once, for answers that no single one explains."""


def usual_mistake(name: str, wrong: Sequence[tuple[Test, Values]]) -> str:
    """Return the usual mistake of a function that gives the first of these wrong answers, as a clause, or "".

    Of several mistakes, the one that explains the most of the first answers is returned.
    """
    singles = _explaining(name, MISTAKES[name], wrong)
    return singles or _by_property(*wrong[0]) or _explaining(name, PAIRS.get(name, {}), wrong)


def _explaining(name: str, mistakes: Mapping[str, Mistake], wrong: Sequence[tuple[Test, Values]]) -> str:
    first = {words: _share(name, mistake, *wrong[0]) for words, mistake in mistakes.items()}
    found = {words: share for words, share in first.items() if share}
    if len(found) > 1:
        others = wrong[1:SEVERAL]
        found = {words: found[words] + sum(_share(name, mistakes[words], *each) for each in others) for words in found}
    return max(found, key=lambda words: found[words], default="")


def _by_property(test: Test, outputs: Values) -> str:
    """Return a mistake that does not decide which numbers come out, as a clause, or ""."""
    if "ids" in outputs and _off(test.outputs["scores"], outputs["scores"]) <= test.bounds.get("scores", 0):
        ids, wanted, scores = outputs["ids"], test.outputs["ids"], test.outputs["scores"]
        if _ties_alone(ids, wanted, scores):
            return 'equal scores are not in the order of ascending numbers (R10): np.argsort needs kind="stable"'
    if "indices" in outputs and _magnitudes_alone(test, outputs):
        return 'of equal magnitudes the lower index is not kept (R1): np.argsort needs kind="stable"'
    if _unclamped(test, outputs):
        return "a norm is not clamped at 1e-8 (R6): 0 / 0 is NaN"
    if test.operation in ("fold_sum", "gather"):
        (expected,), (got,) = test.outputs.values(), outputs.values()
        if _off(expected, got) <= ROUNDED * np.finfo(expected.dtype).eps * np.abs(expected).max(initial=0):
            return "the terms are added in another order, or rounded otherwise: only the last digits differ"
    return ""


def _magnitudes_alone(test: Test, outputs: Values) -> bool:
    """Return whether a code has the right magnitudes and stores its own entries: only the choice of ties is wrong."""
    right = [np.sort(np.abs(values), axis=1) for values in (test.outputs["values"], outputs["values"])]
    indices, values = outputs["indices"], outputs["values"]
    if np.array_equal(indices, test.outputs["indices"]) or not _same(*right) or (np.diff(indices, axis=1) <= 0).any():
        return False
    stored = test.inputs["pre"] if "pre" in test.inputs else _dense(test.inputs["indices"], test.inputs["values"])
    inside = (indices >= 0) & (indices < stored.shape[1])
    return bool(inside.all()) and np.array_equal(np.take_along_axis(stored, indices, axis=1), values)


def _dense(indices: Any, values: Any) -> Any:
    """Return codes as rows with NaN where nothing is stored."""
    rows = np.full((len(values), int(indices.max(initial=0)) + 1), np.nan, values.dtype)
    np.put_along_axis(rows, indices, values, axis=1)
    return rows


def _unclamped(test: Test, outputs: Values) -> bool:
    """Return whether NaN and infinities come out, though only where an input has a row of zeros."""
    rows = [test.inputs[name] for name in ("x_unit", "x_hat", "query_values", "values") if name in test.inputs]
    zero = [~each.any(axis=1) for each in rows]
    odd = [~np.isfinite(each) for each in outputs.values() if np.asarray(each).dtype.kind == "f"]
    if not any(each.any() for each in odd) or not any(each.any() for each in zero):
        return False
    if "x_hat" not in test.inputs:  # a score belongs to a query and an item, and the ids are wrong
        return "ids" in outputs
    return not any(each[~np.logical_or(*zero)].any() for each in odd)


def _ties_alone(ids: Any, wanted: Any, scores: Any) -> bool:
    """Return whether ids differ only where scores are equal, in the row or at its end, where a tie may be cut off."""
    tied = (scores[:, :, None] == scores[:, None, :]).sum(axis=2) > 1
    tied |= scores == scores[:, -1:]
    unique = all(len(set(row)) == len(row) for row in ids.tolist())
    return unique and bool(tied[ids != wanted].all())


def _share(name: str, mistake: Mistake, test: Test, outputs: Values) -> float:
    """Return which share of the outputs a mistake gives, if it gives the first that is wrong; else 0."""
    with np.errstate(all="ignore"):
        made = named(name, mistake(**grouped(test.inputs)))
    first = first_wrong(test, outputs)
    if not _explains(made[first], test.outputs[first], outputs[first]):
        return 0
    others = [_off(made[other], outputs[other]) <= test.bounds.get(other, 0) for other in outputs]
    return (1 + sum(others)) / (1 + len(others))


def first_wrong(test: Test, outputs: Values) -> str:
    """Return the name of the first output that is off by more than its bound, or else of the first that differs."""
    differing = [name for name, expected in test.outputs.items() if not _same(expected, outputs[name])]
    beyond = [name for name in differing if _off(test.outputs[name], outputs[name]) > test.bounds.get(name, 0)]
    return [*beyond, *differing, *test.outputs][0]


def _off(a: Any, b: Any) -> float:
    """Return the largest difference of two arrays of floats; infinity if other values, or places of NaN, differ."""
    if _same(a, b):
        return 0
    if np.asarray(a).dtype.kind != "f" or not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    return float(np.nanmax(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)), initial=0))


def named(name: str, made: Any) -> Values:
    """Return by name what a function has returned."""
    flat: list[Any] = []
    _flatten(made, flat)
    return dict(zip(names_of(FUNCTIONS[name][1].returns), flat, strict=True))


def _flatten(made: Any, flat: list[Any]) -> None:
    for each in made if isinstance(made, tuple) else (made,):
        if isinstance(each, tuple):
            _flatten(each, flat)
        else:
            flat.append(each)


def _explains(made: Any, expected: Any, got: Any) -> bool:
    """Return whether an output is that of a mistake, or much nearer to it than to the right one."""
    if np.shape(made) != np.shape(got) or _same(made, expected):
        return False
    return _same(made, got) or _off(made, got) <= NEAR * _off(expected, got) < np.inf


def _same(a: Any, b: Any) -> bool:
    """Return whether two values are equal; −0 is not +0, and NaN is NaN."""
    if np.asarray(a).dtype.kind != "f":
        return bool(np.array_equal(a, b))
    zeros = np.signbit(a) != np.signbit(b)
    return bool(np.array_equal(a, b, equal_nan=True) and not (zeros & (np.asarray(a) == 0)).any())
