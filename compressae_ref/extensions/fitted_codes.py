"""Fitted codes, an extension: codes for sparse space that are fitted to the sparse queries of other rows, the anchors.

The encoder codes each row as if there were no others. A fitted code starts from the encoder's. Each step compares it
with a group of anchors, and moves it so that its cosines with the codes of these queries compete as the dense cosines
do: a step of gradient descent, of which the k largest entries are kept (``spec/distill.md``, E35 to E38). The anchors
do not change, so the code of a row depends on the model, the anchors and the row alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.numpy.descent import unit_codes
from compressae_ref.backends.numpy.softmax import closeness
from compressae_ref.checks import ZeroRows, as_integer, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.model import Encoder, aux_k
from compressae_ref.row_source import RowSource, as_source
from compressae_ref.unit_blocks import HostRows, unit_blocks

STEPS = 40
"""Steps of each code by default."""

FACTOR = 20.0
"""Factor of cosines in the exponents, the inverse of a temperature of 0.05 (E35)."""

RATE = 0.1
"""Length of the first step; it falls linearly (E37)."""

ROWS_PER_GROUP = 256
"""Least anchors that a step compares a code with, if there are so many; at most four times as many (R26)."""

MOST_GROUPS = 40
"""Most groups of anchors (R26)."""


class Group(NamedTuple):
    """Anchors of one step, as queries."""

    x_unit: Floats
    """(m, d) unit rows"""
    queries: Codes
    """(m, k_aux) their codes, of norm 1"""
    totals: NDArray[np.float64]
    """(2, m) what a row competes with in the softmax of each anchor: dense, and sparse (E35)"""


@dataclass(frozen=True)
class Anchors:
    """Rows that stand for the queries to expect: read, dealt to groups, and encoded by a model."""

    model: Encoder
    k: int
    """stored entries of the codes that are fitted; the codes of the anchors have k_aux"""
    groups: list[Group]
    backend: Backend

    @classmethod
    def read(
        cls,
        anchors: RowSource,
        model: Encoder,
        k: int | None = None,
        *,
        rows_per_group: int = ROWS_PER_GROUP,
        most_groups: int = MOST_GROUPS,
        backend: str | Backend | None = None,
    ) -> Anchors:
        """Read anchors (a, d) at any scale, without zero rows (R26).

        Raises
        ------
        ShapeError, DTypeError, DomainError
            For invalid rows, and if fewer than two of them are not zero.
        """
        kernels, k = get_backend(backend), as_k(model.k if k is None else k, model.params.n_latents)
        rows = HostRows(as_source(anchors, "anchors"), "anchors", model.params.d, zero_rows="skip")
        n = min(len(rows), 4 * rows_per_group * most_groups)
        if n < 2:
            raise DomainError(f"expected at least 2 rows that are not zero, got {n}", argument="anchors")
        x, n_groups = rows.select(np.arange(n) * len(rows) // n), max(min(n // rows_per_group, most_groups), 1)
        return cls(model, k, [_group(x[g::n_groups], model, k, kernels) for g in range(n_groups)], kernels)

    def fit(self, codes: Codes, x_unit: Floats, steps: int = STEPS) -> Codes:
        """Fit codes (n, k) of unit rows (n, d), which the encoder made (R27). → codes of norm 1"""
        codes = unit_codes(codes)
        for step in range(steps):
            group = self.groups[step % len(self.groups)]
            codes = fitted_step(codes, x_unit, group, RATE * (1 - step / steps), self.backend)
        return codes


def encode_fitted(
    x: RowSource, model: Encoder, anchors: RowSource | Anchors, k: int | None = None, **settings: Any
) -> Codes:
    """Encode rows, and fit their codes to anchors, for search in sparse space. `fitted_blocks` says more."""
    return Codes.concatenate(list(fitted_blocks(x, model, anchors, k, **settings)))


def fitted_blocks(
    x: RowSource,
    model: Encoder,
    anchors: RowSource | Anchors,
    k: int | None = None,
    *,
    steps: int = STEPS,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
    first_row: int = 0,
) -> Iterator[Codes]:
    """Yield codes that are fitted to anchors, from ``first_row`` on, in blocks of rows, each computed on demand.

    Parameters
    ----------
    x : (n, d) array or any source of rows, at any scale
    model : the best is one that was trained with ``objective="distill"``
    anchors : (a, d), a ≥ 2, rows like the queries to expect, such as x itself; zero rows are left out, and of more than
        40,960 rows evenly spaced ones are used. Or `Anchors`, which were read before, with the same model and k
    k : stored entries per row; None: k of the model
    steps : steps for each code; the time is proportional to it
    zero_rows : "error"; "empty" for codes of zeros; "skip" for no codes (`checks.ZeroRows`, R28)
    backend : "numpy", "numba" or "cuda"; the result is the same to the bit

    Yields
    ------
    Codes of norm 1 in the model's dtype, with its digest. The code of a row depends on no other row of x.

    Raises
    ------
    ShapeError, DTypeError, DomainError
    """
    params, kernels, steps = model.params, get_backend(backend), as_integer(steps, "steps", 1)
    rows = HostRows(as_source(x), d=params.d, zero_rows=zero_rows)
    if not isinstance(anchors, Anchors):
        anchors = Anchors.read(anchors, model, k, backend=kernels)
    elif (made_for := (anchors.model.digest[:12], anchors.k)) != (asked := (model.digest[:12], k or anchors.k)):
        raise DomainError("expected anchors of model {} and k = {}, got model {} and k = {}".format(*asked, *made_for))
    there = kernels.place_params(params)
    for block in unit_blocks(rows, params.dtype, kernels, zero_rows, first_row, mean=params.mean):
        codes = kernels.encode(block.x_unit, there.W_enc, there.b_enc, anchors.k).to_host()
        fitted = anchors.fit(codes, kernels.fetch(block.x_unit), steps)
        yield rows.finish(fitted, block.zero, block.start, model.digest)


def _group(x: Floats, model: Encoder, k: int, backend: Backend) -> Group:
    """Encode the anchors of a group, and compute their totals (E35)."""
    params, there = model.params, backend.place_params(model.params)
    blocks = unit_blocks(HostRows(x, "anchors"), params.dtype, backend, mean=params.mean)
    x_unit = np.concatenate([backend.fetch(block.x_unit) for block in blocks])
    wide = backend.encode(backend.place(x_unit), there.W_enc, there.b_enc, aux_k(k, params.n_latents))
    queries, items = unit_codes(wide.to_host()), unit_codes(backend.split_codes(wide, k)[0].to_host())
    dense, sparse = backend.pair_dots(x_unit, x_unit), backend.decode(items, queries.to_columns()).T
    return Group(x_unit, queries, np.stack([totals(dense), totals(sparse)]))


def totals(cosines: Floats) -> NDArray[np.float64]:
    """Σ_j exp((c_ij − 1) / τ) over the other rows j of a group, with 1 / τ = 20 (E35). (m, m) → (m,)."""
    powers = closeness(cosines, FACTOR)
    np.fill_diagonal(powers, 0)
    folded: NDArray[np.float64] = reference.fold_sum(powers)
    return folded


def fitted_step(codes: Codes, x_unit: Floats, group: Group, rate: float, backend: Backend) -> Codes:
    """Move codes of norm 1 by ``rate`` against the gradient, and keep their k largest entries (E36 to E38)."""
    columns = group.queries.to_columns()  # made in each step: those of all groups would be 0.6 GB at h = 4,096
    dense, sparse = backend.pair_dots(x_unit, group.x_unit), backend.decode(codes, columns)
    excess = backend.shares_beside(sparse, FACTOR, group.totals[1])
    excess -= backend.shares_beside(dense, FACTOR, group.totals[0])
    grad = backend.latent_sums(group.queries, np.ascontiguousarray(excess.T))
    return backend.descend(codes, grad, rate)
