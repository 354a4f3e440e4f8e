"""Classify rows that differ from the right codes, by `rounding_bounds`: rounding, tie or wrong.

All rows of a block are classified at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats
from compressae_ref.center import encoded_rows
from compressae_ref.codes import Codes
from compressae_ref.model import Encoder
from compressae_ref.verify.audit_refined import judge_refined
from compressae_ref.verify.code_forms import Maker
from compressae_ref.verify.diagnose import broken_rule, shortened
from compressae_ref.verify.mistakes import exact_pre
from compressae_ref.verify.rounding_bounds import Judged, packed_errors

ROWS_AT_ONCE = 256
"""Rows whose (rows, h) pre-activations in float64 are in memory at once."""


class Exact(NamedTuple):
    """Values (n, h) in float64 that codes are made of, and bounds on what another order of sums changes in them."""

    values: Floats
    bounds: Floats
    zero: Bools


def judge_rows(maker: Maker, bounds: Floats, x: Floats, right: Codes, stored: Codes) -> Judged:
    """Classify rows (n, d) whose stored codes differ from the right ones."""
    parts = [
        _judge(maker, bounds, x[rows], right[rows], stored[rows])
        for start in range(0, len(x), ROWS_AT_ONCE)
        for rows in [slice(start, start + ROWS_AT_ONCE)]
    ]
    return Judged(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _judge(maker: Maker, bounds: Floats, x: Floats, right: Codes, stored: Codes) -> Judged:
    zero: Bools = np.logical_not(x.any(axis=1))
    x = np.where(zero[:, None], x.dtype.type(1), x)
    if maker.form.method == "fitted":
        return _differences(right, stored)
    if maker.form.method == "refined":
        return judge_refined(maker, bounds, x, zero, right, stored)
    values = np.where(zero[:, None], 0, exact_pre(maker.model, x.astype(np.float64)))
    return _judge_encoded(maker, Exact(values, bounds, zero), x, right, stored)


def _differences(right: Codes, stored: Codes) -> Judged:
    """All of these rows are wrong: the steps of fitting amplify rounding, so no bound excuses other bits (R27)."""
    errors = np.abs(right.to_dense().astype(np.float64) - stored.to_dense()).max(axis=1)
    return Judged(np.ones(len(right), bool), np.zeros(len(right), bool), errors, np.zeros(len(right)))


def _judge_encoded(maker: Maker, exact: Exact, x: Floats, right: Codes, stored: Codes) -> Judged:
    given, kept, left = stored.values.astype(np.float64), stored.values != 0, np.abs(exact.values)
    values, bounds = np.take_along_axis(exact.values, stored.indices, axis=1), exact.bounds[stored.indices]
    magnitude, full = np.abs(values), kept.all(axis=1)
    np.put_along_axis(left, stored.indices, np.where(kept, -np.inf, magnitude), axis=1)
    smallest, least = (
        np.where(full, np.where(kept, some, np.inf).min(axis=1), 0) for some in (magnitude, magnitude + bounds)
    )
    selection = np.maximum(left.max(axis=1) - smallest, 0)
    if maker.form.bits is None:
        errors = np.where(kept, np.abs(given - values), 0)
        wrong = (errors > bounds).any(axis=1)
    else:
        errors, bad = packed_errors(given, kept, values, bounds, maker.form.bits, maker.model.params.dtype)
        wrong = bad.any(axis=1)
    left -= exact.bounds
    wrong |= left.max(axis=1) > least
    wrong |= exact.zero
    return Judged(wrong, ~wrong & _ties(maker, x, right, stored, ~wrong), errors.max(axis=1), selection)


def _ties(maker: Maker, x: Floats, right: Codes, stored: Codes, among: Bools) -> Bools:
    """Return which rows differ only in latents to which the reference gives one and the same magnitude."""
    ties, params = np.zeros(len(x), bool), maker.model.params
    if maker.form.bits is not None:
        return ties
    for i in np.flatnonzero(among):
        kept = stored.values[i] != 0
        latents, values = stored.indices[i, kept], stored.values[i, kept]
        exchanged = np.setxor1d(latents, right.indices[i, right.values[i] != 0])
        if not len(exchanged):
            continue
        row = encoded_rows(x[i : i + 1], params.mean, params.dtype)
        of = reference_pre(maker.model, row, np.concatenate([exchanged, latents]))
        same = np.ptp(np.abs(of[: len(exchanged)])) == 0
        ties[i] = same and bool((values == of[len(exchanged) :]).all())
    return ties


def reference_pre(model: Encoder, row: Floats, latents: NDArray[np.integer]) -> Floats:
    """Return the pre-activations of a unit row (1, d) at some latents, in the stated order of sums (E4)."""
    pre: Floats = reference.dot(model.params.W_enc.T[latents], row[0]) + model.params.b_enc[latents]
    return pre


# -- reasons, in words ------------------------------------------------------------------------------------------------


def reasons(maker: Maker, x: Floats, right: Codes, stored: Codes, rows: NDArray[np.intp]) -> dict[int, str]:
    """Return what is wrong with each of these ``rows``; zeros may be padding that was added when codes were read."""
    plain = maker.form.method == "encoded" and maker.form.bits is None
    pre, params = np.zeros((len(rows), 0)), maker.model.params
    if plain and len(rows):
        some = x[rows]
        units = encoded_rows(np.where(some.any(axis=1, keepdims=True), some, 1), params.mean, params.dtype)
        pre = maker.backend.fetch(
            maker.backend.pair_dots(maker.backend.place(units), maker.backend.place(params.W_enc.T))
        )
        pre = pre + params.b_enc
    return {int(i): _reason(maker, pre[at], x[i], right[i], stored[i]) for at, i in enumerate(rows)}


def _reason(maker: Maker, pre: Floats, x: Floats, right: Codes, stored: Codes) -> str:
    kept = [each.values[0] != 0 for each in (right, stored)]
    if not x.any():
        return "is not zero, but belongs to a zero row (R4)"
    if kept[1].sum() < min(stored.k, kept[0].sum()):
        return f"stores {kept[1].sum()} nonzero entries instead of k = {stored.k} (R2)"
    if len(pre):
        return broken_rule(pre, right.indices[0], right.values[0], stored.indices[0], stored.values[0])
    choice, value = RULES[maker.form.method]
    latents = [set(each.indices[0, some].tolist()) for each, some in zip((right, stored), kept, strict=True)]
    if missing := sorted(latents[0] - latents[1]):
        return f"keeps latents {shortened(sorted(latents[1] - latents[0]))} instead of {shortened(missing)} ({choice})"
    a, b = (each.to_dense()[0] for each in (right, stored))
    j = int(np.argmax(np.abs(a.astype(np.float64) - b)))
    text = f"stores {b[j]!s} for latent {j}, not {a[j]!s}"
    return f"{text}: a value keeps its sign (E5)" if b[j] == -a[j] else f"{text} ({value})"


RULES = {"encoded": ("R1", "E25"), "refined": ("R14", "E22"), "fitted": ("E38", "E38")}
"""The rules of the selection and of the values, by method."""
