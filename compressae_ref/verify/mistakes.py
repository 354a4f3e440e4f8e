"""Known mistakes of encoders, and the codes that each of them produces: they explain wrong codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats
from compressae_ref.center import encoded_rows, restored
from compressae_ref.codes import Codes
from compressae_ref.model import Encoder, Model, aux_k
from compressae_ref.params import Params
from compressae_ref.row_source import RowSource, read_blocks, read_rows
from compressae_ref.unit_blocks import ROWS_PER_BLOCK
from compressae_ref.verify.code_forms import Form, Maker, near, recognise, stored

SHARE = 0.9
"""A mistake is named if it explains this share of the wrong rows."""

EXAMINED = 100
"""Wrong rows, evenly spaced, of which the cause is looked for: each mistake takes as long as encoding them."""

LOOKED_FOR = 16
"""Wrong rows whose codes are looked for among those of all rows."""


def cause(maker: Maker, x: Floats, codes: Codes) -> str:
    """Return a sentence about the mistake that explains at least 90% of the wrong rows, or an empty string."""
    some = _evenly(len(x), EXAMINED)
    x, dense = x[some], codes[some].to_dense().astype(np.float64)
    for what, made in _explanations(maker, x):
        explained = int(_close(made, dense, maker).sum())
        if explained >= SHARE * len(x):
            return f"{explained} of the {len(x)} wrong rows examined are as expected if {what}"
    return ""


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, n - 1, min(most, n)).round().astype(np.int64)


def _explanations(maker: Maker, x: Floats) -> Iterator[tuple[str, Floats]]:
    """Yield what may be wrong, and the dense codes (n, h) of these rows then."""
    with np.errstate(all="ignore"):
        if maker.form.method == "encoded":
            for what, mistake in MISTAKES.items():
                yield what, mistake(maker.model, x.astype(np.float64), maker.k)
        else:
            yield from _of_made(maker, x)
        for form in _other_forms(maker):
            other = replace(maker, form=form)
            yield f"they are {form}", _dense(other, x)
            for what, made in _of_made(other, x):
                yield f"they are {form}, and {what}", made


def _other_forms(maker: Maker) -> Iterator[Form]:
    """Yield the forms of other methods, with the bits and signs of this one."""
    plain = replace(maker.form, candidates=None, steps=None)
    m = aux_k(maker.k, maker.model.params.n_latents)
    refined = [replace(plain, method="refined", candidates=m)] if isinstance(maker.model, Model) else []
    for form in (replace(plain, method="encoded"), *refined):
        if form.method != maker.form.method:
            yield form


def _of_made(maker: Maker, x: Floats) -> Iterator[tuple[str, Floats]]:
    """Yield the mistakes that concern codes of every method."""
    right, params = _dense(maker, x), maker.model.params
    yield "values lose their sign (E5)", np.abs(right)
    yield "negative values count as zero (E5)", np.maximum(right, 0)
    yield "codes are divided by their norm (E5)", _unit_codes(right)
    yield "values are rounded to float16 (R11)", _as_float16(right)
    if maker.form.method == "fitted":
        return
    yield "rows are not made unit rows (E3)", right * np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    yield "the bias is left out (E4)", _dense(_with(maker, b_enc=np.zeros_like(params.b_enc)), x)
    if params.mean is not None:
        yield "the mean is not subtracted (E26)", _dense(_with(maker, mean=None), x)
    if maker.form.method == "refined":
        yield "the encoder's values are kept at the chosen latents (E22)", _kept_values(maker, x, right)
        form = replace(maker.form, candidates=maker.k)
        yield "only the values are refined: candidates = k (R14)", _dense(replace(maker, form=form), x)


def _with(maker: Maker, **arrays: Floats | None) -> Maker:
    params = replace(maker.model.params, **arrays)  # type: ignore[arg-type]
    return replace(maker, model=replace(maker.model, params=params))


def _dense(maker: Maker, x: Floats) -> Floats:
    dense: Floats = maker.codes(x).to_dense().astype(np.float64)
    return dense


def _kept_values(maker: Maker, x: Floats, right: Floats) -> Floats:
    return np.where(right != 0, exact_pre(maker.model, x.astype(np.float64)), 0)


def _close(made: Floats, dense: Floats, maker: Maker) -> Bools:
    """Return which rows are as a mistake makes them: within 1e-4 of their largest value, or one level if packed."""
    within = 1e-4 * np.abs(dense).max(axis=1, keepdims=True)
    if maker.form.bits is not None:
        made, within = _packed(made, maker), np.full((len(dense), 1), 2.0 ** (1 - maker.form.bits))
    close: Bools = (np.abs(made - dense) <= within).all(axis=1)
    return close


def _packed(made: Floats, maker: Maker) -> Floats:
    """Return dense codes as they are read back when they were packed; NaN for those that no file can hold."""
    finite = np.isfinite(np.abs(made).max(axis=1, keepdims=True))
    made = np.where(finite, made, 0)
    indices = np.sort(np.argsort(made == 0, axis=1, kind="stable")[:, : maker.k], axis=1)
    values = np.take_along_axis(made, indices, axis=1).astype(maker.model.params.dtype)
    codes = Codes.trusted(indices.astype(np.int32), values, made.shape[1])
    packed: Floats = stored(codes, maker.form.bits, maker.backend).to_dense().astype(np.float64)
    return np.where(finite, packed, np.nan)


def of_other_rows(maker: Maker, x: RowSource, numbers: NDArray[np.int64], codes: Codes) -> str:
    """Return a sentence if wrong rows store the codes of other rows, or an empty string.

    The reconstruction of a code finds the row that it belongs to.

    Parameters
    ----------
    x : all rows
    numbers, codes : the numbers of some wrong rows, and what they store
    """
    params = maker.model.params
    if not isinstance(params, Params):  # an encoder cannot reconstruct a row
        return ""
    some = _evenly(len(numbers), LOOKED_FOR)
    codes = codes[some]
    estimates: Floats = codes.to_dense().astype(np.float64) @ params.W_dec.astype(np.float64)
    estimates = estimates if params.mean is None else restored(estimates, params.mean.astype(np.float64))
    best, at = np.full(len(some), -np.inf), np.zeros(len(some), np.int64)
    for number, block in enumerate(read_blocks(x, ROWS_PER_BLOCK, d=params.d, zeros=True)):
        zero = np.logical_not(block.any(axis=1))
        units = reference.unit_rows(np.where(zero[:, None], 1, block), np.float64)
        cosines = np.where(zero, -np.inf, estimates @ units.T)
        nearest = cosines.argmax(axis=1)
        better = cosines[np.arange(len(some)), nearest] > best
        best = np.maximum(best, cosines.max(axis=1))
        at[better] = nearest[better] + number * ROWS_PER_BLOCK
    unique, place = np.unique(at, return_inverse=True)
    rows = read_rows(x, unique, d=params.d, zeros=True)[place]
    form = recognise(maker.model, rows, codes, maker.backend, maker.anchors, maker.form.candidates)
    if form is None or (found := near(replace(maker, form=form).codes(rows), codes, form.bits)).mean() < SHARE:
        return ""
    found &= at != numbers[some]
    if found.mean() < SHARE:
        return ""
    first = int(np.argmax(found))
    return (
        f"{found.sum()} of the {len(some)} wrong rows examined store {form} of other rows: "
        f"row {numbers[some[first]]} stores the code of row {at[first]}"
    )


def exact_pre(model: Encoder, x: Floats, *, unit: bool = True, bias: bool = True, center: bool = True) -> Floats:
    """Return the pre-activations in float64, optionally without unit rows, bias or mean. (n, d) → (n, h)."""
    params = model.params
    rows = encoded_rows(x, params.mean if center else None, np.float64) if unit else x
    pre: Floats = rows @ params.W_enc.astype(np.float64) + (params.b_enc if bias else 0)
    return pre


def _selected(pre: Floats, k: int, by: Floats | None = None) -> Floats:
    """Keep the entries of ``pre`` where ``by`` (default: its magnitude) is among the k largest, and zero the rest."""
    order = np.argsort(-(np.abs(pre) if by is None else by), axis=1, kind="stable")[:, :k]
    dense = np.zeros_like(pre)
    np.put_along_axis(dense, order, np.take_along_axis(pre, order, axis=1), axis=1)
    return dense


def _by_value(pre: Floats, k: int) -> Floats:
    return _selected(pre, k, by=pre)


def _unit_codes(dense: Floats) -> Floats:
    unit: Floats = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    return unit


def _as_float16(dense: Floats) -> Floats:
    return dense.astype(np.float16).astype(np.float64)


def _with_mean(model: Encoder, x: Floats, k: int) -> Floats:
    """Return codes of rows with the mean; NaN, which explains nothing, for a model without one."""
    codes = _selected(exact_pre(model, x, center=False), k)
    return codes if model.params.mean is not None else np.full_like(codes, np.nan)


Mistake = Callable[[Encoder, Floats, int], Floats]
MISTAKES: dict[str, Mistake] = {
    "the largest values are kept, not the largest magnitudes (R1)": lambda m, x, k: _by_value(exact_pre(m, x), k),
    "negative pre-activations count as zero (R1)": lambda m, x, k: np.maximum(_by_value(exact_pre(m, x), k), 0),
    "values lose their sign (E5)": lambda m, x, k: np.abs(_selected(exact_pre(m, x), k)),
    "the bias is left out (E4)": lambda m, x, k: _selected(exact_pre(m, x, bias=False), k),
    "rows are not made unit rows (E3)": lambda m, x, k: _selected(exact_pre(m, x, unit=False), k),
    "the mean is not subtracted (E26)": _with_mean,
    "codes are divided by their norm (E5)": lambda m, x, k: _unit_codes(_selected(exact_pre(m, x), k)),
    "values are rounded to float16 (R11)": lambda m, x, k: _as_float16(_selected(exact_pre(m, x), k)),
}
"""Mistakes of plain encoders; each function returns the dense codes (n, h) that its mistake produces."""
