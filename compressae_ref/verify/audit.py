"""Audit a deployed encoder: compare its stored codes with the codes of its model and embeddings, row by row.

Each row is one of four kinds:

- *equal*: bit-identical values at the same latents. A stored zero counts as absent, because not every format keeps it.
- *rounding*: the selection and the values differ by no more than another summation order can explain.
- *tie*: the row keeps another latent of equal magnitude than R1 demands.
- *wrong*: everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.rounding import gamma
from compressae_ref.center import encoded_rows
from compressae_ref.checks import reject
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.model import Model
from compressae_ref.row_source import RowSource, as_source, read_block
from compressae_ref.unit_blocks import ROWS_PER_BLOCK
from compressae_ref.verify.diagnose import broken_rule
from compressae_ref.verify.mistakes import cause, exact_pre
from compressae_ref.verify.report import json_fields

ROWS_KEPT = 1000
"""Number of differing rows that a report lists one by one."""


@dataclass
class Row:
    """A row that differs from the reference."""

    row: int
    kind: str
    """rounding, tie or wrong"""
    value_error: float
    """largest absolute difference between a stored value and its pre-activation"""
    selection_error: float
    """largest magnitude that is not stored, minus the smallest one that is; at least 0"""
    reason: str = ""
    """what is wrong with the row"""


@dataclass
class Audit:
    """The result of an audit: number of rows of each kind, and the first rows that differ."""

    k: int
    rows: int = 0
    equal: int = 0
    rounding: int = 0
    tie: int = 0
    wrong: int = 0
    value_error: float = 0.0
    selection_error: float = 0.0
    differing: list[Row] = field(default_factory=list)
    cause: str = ""
    """the known mistake that explains the wrong rows, or an empty string"""

    def passed(self, *, strict: bool) -> bool:
        """Return True if no row is wrong; with ``strict``, if every row is equal."""
        return self.rows == self.equal if strict else self.wrong == 0

    def add(self, row: Row) -> None:
        """Count a row that differs from the reference."""
        setattr(self, row.kind, getattr(self, row.kind) + 1)
        self.value_error = max(self.value_error, row.value_error)
        self.selection_error = max(self.selection_error, row.selection_error)
        if len(self.differing) < ROWS_KEPT:
            self.differing.append(row)


def audit(model: Model, x: RowSource, codes: Codes, backend: str | Backend | None = None) -> Audit:
    """Compare stored codes with the codes that the model makes of the embeddings.

    A zero row must have a code of zeros.

    Parameters
    ----------
    model : the model of the audited system
    x : (n, d) embeddings, as an array or any other source of rows
    codes : the n stored codes
    backend : name of the backend that encodes, or the backend itself; None: the default

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If codes and embeddings differ in their number of rows, if codes and model differ in their number of latents or
        in their digest, or if the embeddings cannot be encoded.
    """
    source, kernels = as_source(x), get_backend(backend)
    model.check_codes(codes)
    if len(source) != len(codes):
        raise ShapeError(f"expected {len(source)} rows as in the embeddings, got {len(codes)}", argument="codes")
    result, bounds = Audit(codes.k), rounding_bounds(model)
    wrong: list[tuple[Floats, Codes]] = []
    codes = codes.astype(model.params.dtype)
    for start in range(0, len(source), ROWS_PER_BLOCK):
        block, _ = read_block(source, start, ROWS_PER_BLOCK, d=model.params.d, zeros=True)
        stored = codes[start : start + len(block)]
        right = model.encode(block, codes.k, zero_rows="empty", backend=kernels)
        result.rows += len(block)
        different = ~_same_rows(right, stored)
        result.equal += int(len(block) - different.sum())
        places = np.flatnonzero(different)
        for place, row in zip(places, _rows(model, block[places], right[places], stored[places], bounds), strict=True):
            if row.kind == "wrong" and len(wrong) < ROWS_KEPT:
                wrong.append((block[place].copy(), stored[int(place)]))
            result.add(replace(row, row=start + int(place)))
    result.cause = cause(model, wrong)
    return result


def rounding_bounds(model: Model) -> Floats:
    """Return (h,) γ_{2d+16} (‖wⱼ‖ + |bⱼ|): a bound on the rounding error of a pre-activation, in any order of sums.

    With a mean it is larger by the factor 1 + 2 / (1 − ‖μ‖), since errors are divided by the length of x̄ − μ. That
    length is at least 1 − ‖μ‖.
    """
    W_enc, b_enc = (array.astype(np.float64) for array in (model.params.W_enc, model.params.b_enc))
    relative = gamma(2 * len(W_enc) + 16, model.params.dtype)
    if (mean := model.params.mean) is not None:
        relative *= 1 + 2 / (1 - float(np.linalg.norm(mean.astype(np.float64))))
    with np.errstate(over="ignore"):
        bounds: Floats = relative * (np.linalg.norm(W_enc, axis=0) + np.abs(b_enc))
    reject(~np.isfinite(bounds), "expected weights whose squares have a finite sum, got an infinite sum", "model")
    return bounds


def _same_rows(a: Codes, b: Codes) -> NDArray[np.bool_]:
    """Return for each row whether both codes have the same nonzero values at the same latents."""
    if len(a) == 0:
        return np.zeros(0, np.bool_)
    same: NDArray[np.bool_] = (a.to_dense() == b.to_dense()).all(axis=1)
    return same


def _rows(model: Model, x: Floats, right: Codes, stored: Codes, bounds: Floats) -> Iterator[Row]:
    """Yield a `Row` for each of these differing rows, numbered from 0."""
    if len(x) == 0:
        return
    zero = ~x.any(axis=1, keepdims=True)
    x = np.where(zero, 1, x)
    exact = np.where(zero, 0, exact_pre(model, x.astype(np.float64)))
    params = model.params
    rows = encoded_rows(x, params.mean, params.dtype)
    pre = np.where(zero, 0, get_backend("numpy").pair_dots(rows, params.W_enc.T) + params.b_enc)
    for i in range(len(x)):
        yield _row(i, exact[i], pre[i], right[i], stored[i], bounds)


def _row(number: int, exact: Floats, pre: Floats, right: Codes, stored: Codes, bounds: Floats) -> Row:
    """Classify one row: ``exact`` are its pre-activations in float64, ``pre`` those of the reference."""
    indices, values = stored.indices[0], stored.values[0]
    kept, magnitude = indices[values != 0], np.abs(exact)
    errors = np.abs(values - exact[indices])[values != 0]
    left_out = np.delete(np.arange(len(exact)), kept)
    full = len(kept) == stored.k
    selection_error = max(
        magnitude[left_out].max(initial=0) - (magnitude[kept].min(initial=np.inf) if full else 0), 0.0
    )
    least = (magnitude + bounds)[kept].min(initial=np.inf) if full else 0.0
    measured = float(errors.max(initial=0)), float(selection_error)
    if (errors > bounds[kept]).any() or ((magnitude - bounds)[left_out] > least).any():
        return Row(number, "wrong", *measured, _reason(pre, right, stored, len(kept)))
    return Row(number, "tie" if _is_tie(pre, kept, right, values[values != 0]) else "rounding", *measured)


def _reason(pre: Floats, right: Codes, stored: Codes, n_nonzero: int) -> str:
    """Return what is wrong with a row; its zeros may be padding that was added when the codes were read."""
    if not pre.any():
        return "is not zero, but belongs to a zero row (R4)"
    if n_nonzero < stored.k and (right.values != 0).sum() > n_nonzero:
        return f"stores {n_nonzero} nonzero entries instead of k = {stored.k} (R2)"
    return broken_rule(pre, right.indices[0], right.values[0], stored.indices[0], stored.values[0])


def _is_tie(pre: Floats, kept: NDArray[np.int32], right: Codes, values: Floats) -> bool:
    """Return True if the rows differ only in latents to which the reference gives one and the same magnitude."""
    exchanged = np.setxor1d(kept, right.indices[0][right.values[0] != 0])
    return len(exchanged) > 0 and bool(np.ptp(np.abs(pre[exchanged])) == 0) and bool((values == pre[kept]).all())


# -- the report -------------------------------------------------------------------------------------------------------


def as_json(result: Audit, *, strict: bool) -> dict[str, Any]:
    """Return the whole result as a JSON object."""
    fields = asdict(result)
    fields["differing"] = [json_fields(row) for row in fields["differing"]]
    return {"passed": result.passed(strict=strict), "strict": strict, **fields}


def as_text(result: Audit, *, strict: bool) -> str:
    """Return the result as text for people."""
    lines = [
        f"{result.rows} rows, k {result.k}",
        f"  {result.equal:10} equal, to the bit",
        f"  {result.rounding:10} rounding: sums in another order can differ by as much",
        f"  {result.tie:10} ties: among equal magnitudes the lower index was not kept (R1)",
        f"  {result.wrong:10} wrong",
    ]
    shown = [row for row in result.differing if row.kind == "wrong"][:5]
    for row in shown:
        lines.append(f"    row {row.row} {row.reason}")
        lines.append(f"      largest error of a value {row.value_error:.2e}, of a selection {row.selection_error:.2e}")
    if result.cause:
        lines.append(f"    {result.cause}")
    if result.equal < result.rows:
        lines.append(f"largest error of a value {result.value_error:.2e}, of a selection {result.selection_error:.2e}")
    lines.append(f"{'passes' if result.passed(strict=strict) else 'does not pass'}{', strictly' if strict else ''}")
    return "\n".join(lines)
