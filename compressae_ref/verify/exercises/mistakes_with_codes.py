"""The usual mistakes in exercises about codes (chapters 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from compressae_ref import reference

Mistake = Callable[..., Any]
"""Takes the arguments of a function and returns what comes out if it is wrong."""

Options = dict[str, dict[str, Any]]
"""By what is wrong, as a clause: keyword arguments of what makes the mistakes of a function."""


def singles_of(make: Callable[..., Mistake], options: Options) -> dict[str, Mistake]:
    """Return each mistake alone."""
    return {words: make(**each) for words, each in options.items()}


def pairs_of(make: Callable[..., Mistake], options: Options) -> dict[str, Mistake]:
    """Return all pairs of mistakes that can be made at once, except those that have words of their own."""
    own = list(options.values())
    return {
        f"{one}; and {other}": make(**both)
        for (one, of_one), (other, of_other) in combinations(options.items(), 2)
        if not of_one.keys() & of_other.keys() and (both := of_one | of_other) not in own
    }


# -- chapters 1 and 2: codes ------------------------------------------------------------------------------------------


def _code(pre: Any, order: Any, indices: Any = None) -> tuple[Any, Any]:
    """Return entries in an order that is given."""
    indices = order if indices is None else np.take_along_axis(indices, order, axis=1)
    return indices, np.take_along_axis(pre, order, axis=1) + 0


def _sorted_magnitudes(pre: Any) -> Any:
    return np.argsort(-np.abs(pre), axis=1, kind="stable")


def _by_magnitude(pre: Any, k: int) -> Any:
    return _code(pre, _sorted_magnitudes(pre)[:, :k])


def _last_of_ties(pre: Any) -> Any:
    h = pre.shape[1]
    return h - 1 - _sorted_magnitudes(pre[:, ::-1])


def _higher_index(pre: Any, k: int) -> Any:
    return _code(pre, np.sort(_last_of_ties(pre)[:, :k], axis=1))


def _kept_magnitudes(pre: Any, k: int) -> Any:
    indices, values = reference.abs_topk(pre, k)
    return indices, np.abs(values)


def _largest_values(pre: Any, k: int) -> Any:
    return _code(pre, np.sort(np.argsort(-pre, axis=1, kind="stable")[:, :k], axis=1))


def _kept_minus_zero(pre: Any, k: int) -> Any:
    indices = reference.abs_topk(pre, k)[0]
    return indices, np.take_along_axis(pre, indices, axis=1)


def _first_entries(indices: Any, values: Any, k: int) -> Any:
    return indices[:, :k], values[:, :k]


def _places(indices: Any, values: Any, k: int) -> Any:
    return reference.abs_topk(values, k)


def _truncated_by_magnitude(indices: Any, values: Any, k: int) -> Any:
    return _code(values, _sorted_magnitudes(values)[:, :k], indices)


def _truncated_higher(indices: Any, values: Any, k: int) -> Any:
    return _code(values, np.sort(_last_of_ties(values)[:, :k], axis=1), indices)


def _scaled(x: Any) -> Any:
    return np.ldexp(x, -np.frexp(np.abs(x).max(axis=1, keepdims=True))[1])


def _scaled_as_one(x: Any) -> Any:
    scaled = np.ldexp(x, -np.frexp(np.abs(x).max())[1])
    return scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))


def _words(
    score: Callable[[Any, Any, float], Any], *, last: bool = False, worst: bool = False, sign: int = -1
) -> Mistake:
    """Return a function that names a latent by other scores, or in another order."""

    def named(words: list[str], y: Any, f: Any, mean: float, top: int) -> Any:
        scores = score(y, f, mean)
        order = sorted(range(len(words)), key=lambda w: words[w], reverse=last)
        order = sorted(order, key=lambda w: (scores[w], y[w]) if worst else (-scores[w], sign * y[w]))[:top]
        return [words[w] for w in order], scores[order]

    return named


def _score(y: Any, f: Any, mean: float) -> Any:
    return y * np.log(1 + mean / f)


MISTAKES: dict[str, dict[str, Mistake]] = {
    "truncate": {
        "the first k stored entries are kept, not the largest magnitudes": _first_entries,
        "the indices are places in the row, not latents: take indices at these places, too": _places,
        "the entries stay in the order of their magnitudes (R2)": _truncated_by_magnitude,
        "ties go to the higher index (R2)": _truncated_higher,
    },
    "name_latent": {
        "of equal scores the words are not in the order of descending y (R33)": _words(_score, sign=0),
        "the words with the lowest scores come first": _words(_score, worst=True),
        "of equal scores and counts the last word comes first (R33)": _words(_score, last=True),
        "the score is y alone: ln(1 + A / f) is missing": _words(lambda y, f, mean: y.astype(np.float64)),
        "the 1 in ln(1 + A / f) is missing": _words(lambda y, f, mean: y * np.log(mean / f)),
        "the logarithm has another base than e": _words(lambda y, f, mean: y * np.log2(1 + mean / f)),
        "the logarithm has base 10": _words(lambda y, f, mean: y * np.log10(1 + mean / f)),
        "the factor y is missing": _words(lambda y, f, mean: np.log(1 + mean / f)),
    },
    "unit_rows": {
        "rows stay as they are": lambda x: x,
        "columns are divided by their norms, not rows": lambda x: x / np.linalg.norm(x, axis=0),
        "rows are divided by the norm of the whole matrix: use axis=1": lambda x: x / np.linalg.norm(x),
        "rows are divided by ‖x‖²: the root is missing": lambda x: x / (x * x).sum(axis=1, keepdims=True),
        "rows are divided by ‖x‖² after they are scaled: the root is missing": lambda x: (
            _scaled(x) / (_scaled(x) * _scaled(x)).sum(axis=1, keepdims=True)
        ),
        "all rows are scaled by one power of two: each row has an exponent of its own": _scaled_as_one,
        "rows are divided by Σ|x|": lambda x: x / np.abs(x).sum(axis=1, keepdims=True),
        "squares overflow or vanish: scale each row by a power of two first": lambda x: (
            x / np.sqrt((x * x).sum(axis=1, keepdims=True))
        ),
    },
    "abs_topk": {
        "the entries are stored in the order of their magnitudes (R2)": _by_magnitude,
        "ties go to the higher index (R1)": _higher_index,
        "values lose their sign (E5)": _kept_magnitudes,
        "the largest values are kept, not the largest magnitudes (R1)": _largest_values,
        "−0 is stored as it is (R2): adding 0 makes it +0": _kept_minus_zero,
    },
    "decode": {
        "values lose their sign": lambda indices, values, W_dec: reference.decode(indices, np.abs(values), W_dec),
        "the sum is divided by its norm: a reconstruction is not rescaled": lambda indices, values, W_dec: (
            reference.decode(indices, values, W_dec)
            / np.linalg.norm(reference.decode(indices, values, W_dec), axis=1, keepdims=True)
        ),
        "atoms are added without their values": lambda indices, values, W_dec: reference.decode(
            indices, np.ones_like(values), W_dec
        ),
        "only the last atom is left: add to x̂ instead of overwriting it": lambda indices, values, W_dec: (
            reference.decode(indices[:, -1:], values[:, -1:], W_dec)
        ),
    },
}
"""By function: what is wrong, as a clause, and a function of the arguments that returns what comes out then."""
