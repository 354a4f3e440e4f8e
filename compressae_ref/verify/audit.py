"""Audit a deployed encoder: compare its stored codes with the codes of its model and embeddings, row by row.

Each row is one of four kinds:

- *equal*: bit-identical values at the same latents. A stored zero counts as absent, because not every format keeps it.
- *rounding*: the selection and the values differ by no more than another summation order can explain.
- *tie*: the row keeps another latent of equal magnitude than R1 demands.
- *wrong*: everything else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.rounding import gamma
from compressae_ref.checks import as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.extensions.fitted_codes import STEPS, Anchors
from compressae_ref.files.spool import spool_to_disk
from compressae_ref.model import Encoder, Model, whole_model
from compressae_ref.row_source import RowSource, as_source, read_block, read_rows
from compressae_ref.verify.audit_rows import ROWS_AT_ONCE, judge_rows, reasons
from compressae_ref.verify.code_forms import Form, Maker, as_stored_by, bits_of, recognise
from compressae_ref.verify.mistakes import cause, of_other_rows
from compressae_ref.verify.report import json_fields
from compressae_ref.verify.rounding_bounds import Judged, rounding_bounds

ROWS_KEPT = 1000
"""Number of wrong rows, and of other differing rows, that a report lists one by one."""

WRONG_TO_STOP = 1000
"""Number of wrong rows after which an audit stops, if more than half of the rows so far are wrong."""


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
    form: Form = field(default_factory=Form)
    """the form that the rows are compared with"""
    recognised: bool = True
    """whether most rows of a sample are near to codes of this form"""
    total: int = 0
    """number of stored codes"""
    rows: int = 0
    """number of rows that were compared"""
    stopped: bool = False
    """whether rows are left, because most of those compared are wrong"""
    equal: int = 0
    rounding: int = 0
    tie: int = 0
    wrong: int = 0
    value_error: float = 0.0
    selection_error: float = 0.0
    differing: list[Row] = field(default_factory=list)
    cause: str = ""
    """what explains the wrong rows, or an empty string"""

    def passed(self, *, strict: bool) -> bool:
        """Return True if no row is wrong; with ``strict``, if every row is equal."""
        return self.rows == self.equal if strict else self.wrong == 0

    def add(self, judged: Judged) -> None:
        """Count rows that differ from the reference."""
        self.wrong += int(judged.wrong.sum())
        self.tie += int(judged.tie.sum())
        self.rounding += int((~judged.wrong & ~judged.tie).sum())
        self.value_error = max(self.value_error, float(judged.value_error.max()))
        self.selection_error = max(self.selection_error, float(judged.selection_error.max()))


def audit(
    model: Encoder,
    x: RowSource,
    codes: Codes,
    backend: str | Backend | None = None,
    *,
    candidates: int | None = None,
    anchors: RowSource | Anchors | None = None,
    steps: int = STEPS,
    whole: bool = False,
) -> Audit:
    """Compare stored codes with the codes that the model makes of the embeddings.

    A sample of the rows decides in which form they are stored (`code_forms.Form`). A zero row must have a code of
    zeros.

    Parameters
    ----------
    model : the model of the audited system; its encoder is enough for codes that are not refined
    x : (n, d) embeddings, as an array or any other source of rows
    codes : the n stored codes; those with split signs have 2h dimensions
    backend : name of the backend that encodes, or the backend itself; None: the default
    candidates : number of candidates of refined codes; None: the default, or another usual number that explains them
    anchors, steps : of fitted codes, which nothing else can explain; as in `extensions.fitted_codes.fitted_blocks`
    whole : if False, stop when at least `WRONG_TO_STOP` rows and more than half of the rows so far are wrong

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If codes and embeddings differ in their number of rows, if codes and model differ in their number of latents or
        in their digest, or if the embeddings cannot be encoded. If codes are refined, and the model is an encoder.
    """
    kernels = get_backend(backend)
    if codes.refined or candidates is not None:
        model = whole_model(model)
    codes, split = as_stored_by(model, codes)
    if candidates is not None:
        candidates = as_k(candidates, model.params.n_latents, name="candidates")
    with spool_to_disk(as_source(x)) as source:
        if len(source) != len(codes):
            raise ShapeError(f"expected {len(source)} rows as in the embeddings, got {len(codes)}", argument="codes")
        if anchors is not None and not isinstance(anchors, Anchors):
            anchors = Anchors.read(anchors, model, codes.k, backend=kernels)
        codes = codes.astype(model.params.dtype)
        form = recognise(model, source, codes, kernels, anchors, candidates, steps)
        result = Audit(codes.k, total=len(codes), recognised=form is not None)
        result.form = replace(form or Form(bits=bits_of(codes)), split_signs=split)
        maker = Maker(model, codes.k, result.form, kernels, anchors)
        _compare(maker, source, codes, result, whole)
        result.cause = _cause(maker, source, codes, result)
    return result


def _compare(maker: Maker, source: RowSource, codes: Codes, result: Audit, whole: bool) -> None:
    """Compare the blocks of rows, until the end or until most rows are wrong."""
    bounds = rounding_bounds(maker.model)
    for right in maker.blocks(source):
        start, stored = result.rows, codes[result.rows : result.rows + len(right)]
        places = np.flatnonzero(~_same_rows(right, stored))
        result.rows += len(right)
        result.equal += len(right) - len(places)
        if len(places):
            block, _ = read_block(source, start, len(right), d=maker.model.params.d, zeros=True)
            differing = block[places], right[places], stored[places]
            result.add(judged := judge_rows(maker, bounds, *differing))
            _list(maker, start + places, judged, differing, result)
        if not whole and result.wrong >= WRONG_TO_STOP and 2 * result.wrong > result.rows:
            result.stopped = result.rows < result.total
            return


def _list(
    maker: Maker, numbers: NDArray[np.int64], judged: Judged, differing: tuple[Floats, Codes, Codes], result: Audit
) -> None:
    """List up to `ROWS_KEPT` wrong rows, and as many others, with those that were listed before."""
    n_wrong = sum(row.kind == "wrong" for row in result.differing)
    wrong = np.flatnonzero(judged.wrong)[: ROWS_KEPT - n_wrong]
    others = np.flatnonzero(~judged.wrong)[: ROWS_KEPT - len(result.differing) + n_wrong]
    words = reasons(maker, *differing, wrong)
    for i in np.sort(np.concatenate([wrong, others])).tolist():
        measured = float(judged.value_error[i]), float(judged.selection_error[i])
        result.differing.append(Row(int(numbers[i]), judged.kind(i), *measured, words.get(i, "")))


def _cause(maker: Maker, source: RowSource, codes: Codes, result: Audit) -> str:
    """Return what explains the wrong rows, if that is known."""
    numbers = np.array([row.row for row in result.differing if row.kind == "wrong"])
    if not len(numbers):
        return ""
    x, stored = read_rows(source, numbers, d=maker.model.params.d, zeros=True), codes[numbers]
    found = cause(maker, x, stored) or of_other_rows(maker, source, numbers, stored)
    if found or result.recognised:
        return found
    norms = np.linalg.norm(stored.values.astype(np.float64), axis=1)
    unit = np.abs(norms - 1) <= gamma(stored.k + 8, stored.values.dtype)
    if not isinstance(maker.model, Model):
        return "they are no codes of the encoder; to check refined codes, give the whole model instead of its encoder"
    if maker.anchors is None and (maker.form.bits is not None or unit.all()):
        return "they are neither codes of the encoder nor refined codes of this model; fitted codes need their anchors"
    return "they are no codes of this model for these embeddings in any known form"


def _same_rows(a: Codes, b: Codes) -> NDArray[np.bool_]:
    """Return for each row whether both codes have the same nonzero values at the same latents."""
    same: NDArray[np.bool_] = ((a.indices == b.indices) & (a.values == b.values)).all(axis=1)
    rest = np.flatnonzero(~same)
    for start in range(0, len(rest), ROWS_AT_ONCE):
        rows = rest[start : start + ROWS_AT_ONCE]
        same[rows] = (a[rows].to_dense() == b[rows].to_dense()).all(axis=1)
    return same


# -- the report -------------------------------------------------------------------------------------------------------


def as_json(result: Audit, *, strict: bool) -> dict[str, Any]:
    """Return the whole result as a JSON object."""
    fields = asdict(result)
    fields["form_text"] = str(result.form)
    fields["differing"] = [json_fields(row) for row in fields["differing"]]
    return {"passed": result.passed(strict=strict), "strict": strict, **fields}


def as_text(result: Audit, *, strict: bool) -> str:
    """Return the result as text for people."""
    lines = [
        f"{result.rows} rows, k {result.k}{':' if result.recognised else ', compared with'} {result.form}",
        *([_stopped_text(result)] if result.stopped else []),
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


def _stopped_text(result: Audit) -> str:
    return (
        f"stopped after {result.rows} of {result.total} rows, because most of them are wrong; --all compares all rows"
    )
