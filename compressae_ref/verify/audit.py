"""The audit of a deployed encoder: a model, embeddings, and the codes that it says it made of them, row by row.

A row is *equal* if it stores the same values at the same latents, to the bit (a stored zero counts as absent: not every
format keeps it); off by *rounding* if its selection and values are what sums in another order could have given; a *tie*
if of latents of equal magnitude it kept another than R1 says; and *wrong* otherwise.
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
from compressae_ref.checks import reject
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.model import Model
from compressae_ref.reference import unit_rows
from compressae_ref.row_source import RowSource, as_source, read_block
from compressae_ref.unit_blocks import ROWS_PER_BLOCK
from compressae_ref.verify.diagnose import broken_rule
from compressae_ref.verify.mistakes import cause, exact_pre

ROWS_KEPT = 1000
"""Rows that are not equal and are written down one by one."""


@dataclass
class Row:
    """A row that is not equal to the reference's."""

    row: int
    kind: str
    """rounding, tie or wrong"""
    value_error: float
    """largest distance of a stored value from its pre-activation"""
    selection_error: float
    """by how much the largest magnitude left out exceeds the smallest one kept; 0 where it does not"""
    words: str = ""


@dataclass
class Audit:
    """What came out."""

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
    """what explains the wrong rows, where something known does"""

    def passed(self, *, strict: bool) -> bool:
        """No row is wrong; with ``strict`` every row is equal."""
        return self.rows == self.equal if strict else self.wrong == 0

    def add(self, row: Row) -> None:
        """Count a row that is not equal."""
        setattr(self, row.kind, getattr(self, row.kind) + 1)
        self.value_error = max(self.value_error, row.value_error)
        self.selection_error = max(self.selection_error, row.selection_error)
        if len(self.differing) < ROWS_KEPT:
            self.differing.append(row)


def audit(model: Model, x: RowSource, codes: Codes, backend: str | Backend | None = None) -> Audit:
    """Hold codes against what the model makes of the embeddings.

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If codes and embeddings differ in rows, or codes and model in latents or digest; for embeddings that cannot be
        encoded. A zero row has to have a code of zeros.
    """
    source, kernels = as_source(x), get_backend(backend)
    model.check_codes(codes)
    if len(source) != len(codes):
        raise ShapeError(f"expected {len(source)} rows as in the embeddings, got {len(codes)}", argument="codes")
    result, bounds = Audit(codes.k), rounding_bounds(model)
    wrong: list[tuple[Floats, Codes]] = []
    codes = codes.astype(model.params.dtype)
    for start in range(0, len(source), ROWS_PER_BLOCK):
        block = read_block(source, start, ROWS_PER_BLOCK, d=model.params.d, zeros=True)
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
    """(h,) γ_{2d+16} (‖wⱼ‖ + |bⱼ|): how far rounding, in any order of sums, moves a pre-activation."""
    W_enc, b_enc = (array.astype(np.float64) for array in (model.params.W_enc, model.params.b_enc))
    relative = gamma(2 * len(W_enc) + 16, model.params.dtype)
    with np.errstate(over="ignore"):
        bounds: Floats = relative * (np.linalg.norm(W_enc, axis=0) + np.abs(b_enc))
    reject(~np.isfinite(bounds), "expected weights whose squares can be added up, got an infinite sum", "model")
    return bounds


def _same_rows(a: Codes, b: Codes) -> NDArray[np.bool_]:
    """Whether rows store the same values that are not zero, at the same latents."""
    if len(a) == 0:
        return np.zeros(0, np.bool_)
    same: NDArray[np.bool_] = (a.to_dense() == b.to_dense()).all(axis=1)
    return same


def _rows(model: Model, x: Floats, right: Codes, stored: Codes, bounds: Floats) -> Iterator[Row]:
    """What is different about rows that differ, numbered from 0."""
    if len(x) == 0:
        return
    zero = ~x.any(axis=1, keepdims=True)
    x = np.where(zero, 1, x)
    exact = np.where(zero, 0, exact_pre(model, x.astype(np.float64)))
    params = model.params
    pre = np.where(zero, 0, get_backend("numpy").pair_dots(unit_rows(x, params.dtype), params.W_enc.T) + params.b_enc)
    for i in range(len(x)):
        yield _row(i, exact[i], pre[i], right[i], stored[i], bounds)


def _row(number: int, exact: Floats, pre: Floats, right: Codes, stored: Codes, bounds: Floats) -> Row:
    """One row: ``exact`` are its pre-activations in float64, ``pre`` those of the reference."""
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
        return Row(number, "wrong", *measured, _words(pre, right, stored, len(kept)))
    return Row(number, "tie" if _is_tie(pre, kept, right, values[values != 0]) else "rounding", *measured)


def _words(pre: Floats, right: Codes, stored: Codes, stores: int) -> str:
    """What is wrong with a row, in words; entries of zero may have been filled in when it was read."""
    if not pre.any():
        return "is the code of a zero row, and is not zero (R4)"
    if stores < stored.k and (right.values != 0).sum() > stores:
        return f"stores {stores} entries that are not zero, not k = {stored.k} (R2)"
    return broken_rule(pre, right.indices[0], right.values[0], stored.indices[0], stored.values[0])


def _is_tie(pre: Floats, kept: NDArray[np.int32], right: Codes, values: Floats) -> bool:
    """Whether all that differs is which latents of one magnitude, in the reference's bits, were kept."""
    exchanged = np.setxor1d(kept, right.indices[0][right.values[0] != 0])
    return len(exchanged) > 0 and bool(np.ptp(np.abs(pre[exchanged])) == 0) and bool((values == pre[kept]).all())


# -- the report -------------------------------------------------------------------------------------------------------


def as_json(result: Audit, *, strict: bool) -> dict[str, Any]:
    """All of it for machines."""
    return {"passed": result.passed(strict=strict), "strict": strict, **asdict(result)}


def as_text(result: Audit, *, strict: bool) -> str:
    """The same to read."""
    lines = [
        f"{result.rows} rows, k {result.k}",
        f"  {result.equal:10} equal, to the bit",
        f"  {result.rounding:10} off by rounding: what sums in another order can give",
        f"  {result.tie:10} ties: of equal magnitudes another was kept than R1 says",
        f"  {result.wrong:10} wrong",
    ]
    shown = [row for row in result.differing if row.kind == "wrong"][:5]
    for row in shown:
        lines.append(f"    row {row.row} {row.words}")
        lines.append(f"      values off by up to {row.value_error:.2e}, selection by {row.selection_error:.2e}")
    if result.cause:
        lines.append(f"    {result.cause}")
    if result.equal < result.rows:
        lines.append(
            f"largest difference of a value {result.value_error:.2e}, of a selection {result.selection_error:.2e}"
        )
    lines.append(f"{'passes' if result.passed(strict=strict) else 'does not pass'}{', strictly' if strict else ''}")
    return "\n".join(lines)
