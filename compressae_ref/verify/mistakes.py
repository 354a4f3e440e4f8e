"""Known mistakes of encoders, and the codes that each of them produces: they explain wrong codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.center import encoded_rows
from compressae_ref.codes import Codes
from compressae_ref.model import Model


def cause(model: Model, wrong: list[tuple[Floats, Codes]]) -> str:
    """Return a sentence about the mistake that explains at least 90% of the wrong rows, or an empty string."""
    if not wrong:
        return ""
    x, stored = np.stack([row for row, _ in wrong]), Codes.concatenate([code for _, code in wrong])
    dense = stored.to_dense().astype(np.float64)
    for what, mistake in MISTAKES.items():
        with np.errstate(all="ignore"):
            made = mistake(model, x.astype(np.float64), stored.k)
        explained = _close(made, dense).sum()
        if explained >= 0.9 * len(wrong):
            return f"{explained} of the {len(wrong)} wrong rows examined are as expected if {what}"
    return ""


def _close(made: Floats, dense: Floats) -> NDArray[np.bool_]:
    scale = np.abs(dense).max(axis=1, keepdims=True)
    close: NDArray[np.bool_] = (np.abs(made - dense) <= 1e-4 * scale).all(axis=1)
    return close


def exact_pre(model: Model, x: Floats, *, unit: bool = True, bias: bool = True, center: bool = True) -> Floats:
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


def _with_mean(model: Model, x: Floats, k: int) -> Floats:
    """Return codes of rows with the mean; NaN, which explains nothing, for a model without one."""
    codes = _selected(exact_pre(model, x, center=False), k)
    return codes if model.params.mean is not None else np.full_like(codes, np.nan)


Mistake = Callable[[Model, Floats, int], Floats]
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
"""Mistakes seen in real encoders; each function returns the dense codes (n, h) that its mistake produces."""
