"""Refined codes, an extension: atoms chosen by orthogonal matching pursuit, values of least squares.

``spec/refine.md`` is normative. Per row x̄, with the atoms aᵢ of its m candidates: of those not yet tried take the one
with the largest correlation |r|, orthogonalise, subtract what it explains; after k atoms solve for their values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_k
from compressae_ref.codes import Codes
from compressae_ref.data import RowSource, as_source
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.model import ROWS_PER_BLOCK, Model, aux_k, emptied, encode_unit, unit_block
from compressae_ref.params import Params
from compressae_ref.sums import row_dots

TABLE_BYTES = 1 << 29
"""The dots of all pairs of atoms are kept where they take no more than this."""


class Pursuit(NamedTuple):
    """What `pursue` finds for one row with m candidates; s atoms are chosen."""

    chosen: list[int]
    """candidates in the order in which they were chosen"""
    p: Floats
    """(s, m) what each adds to those before it; at the chosen ones the Cholesky factor of their Gram matrix"""
    y: Floats
    """(s,) correlations of the row with what each adds"""


def tolerance(dtype: np.dtype[np.floating]) -> np.floating:
    """What part of an atom's square must be left after the chosen ones: about √ε.                             (R15)"""
    # spec: "its pivot must be above its own square times 2⁻²⁶, or 2⁻¹¹ in float32."
    return dtype.type(2.0**-11 if dtype == np.float32 else 2.0**-26)


def pursue(latents: NDArray[np.int32], x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Pursuit:
    """At most k of a row's candidates, the most correlated one first.                         (E19), (E20), (E21)

    Dense equivalent: in exact arithmetic each step takes the atom with the largest ``abs(W_dec @ residual)``.
    """
    r = row_dots(W_dec[latents], x_unit)
    left = np.ones(len(latents), bool)
    chosen: list[int] = []
    p, y = np.empty((k, len(latents)), r.dtype), np.empty(k, r.dtype)
    for _ in range(len(latents)):
        s = len(chosen)
        c = int(np.argmax(np.where(left, np.abs(r), -1)))  # the first of the largest: the lowest latent
        left[c] = False
        new = dots[latents[c], latents] if dots is not None else row_dots(W_dec[latents], W_dec[latents[c]])
        square = new[c]
        for old in p[:s]:
            new = new - old[c] * old
        if not new[c] > tolerance(r.dtype) * square:
            continue
        root = np.sqrt(new[c])
        p[s], y[s] = new / root, r[c] / root
        r = r - y[s] * p[s]
        chosen.append(c)
        if len(chosen) == k:
            break
    return Pursuit(chosen, p[: len(chosen)], y[: len(chosen)])


def least_squares(pursuit: Pursuit, m: int) -> Floats:
    """The values of all m candidates, 0 for those not chosen: back substitution.                              (E22)

    Dense equivalent: ``np.linalg.lstsq(atoms[chosen].T, x_unit)[0]`` at ``chosen``.
    """
    chosen, p, y = pursuit
    values = np.zeros(m, y.dtype)
    for t in reversed(range(len(chosen))):
        total = y[t]
        for c in chosen[t + 1 :]:
            total = total - p[t, c] * values[c]
        values[chosen[t]] = total / p[t, chosen[t]]
    return values


def refine_unit(codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None = None) -> Codes:
    """Refined codes of unit rows: for each, at most k of its candidates with the values of least squares.

    Parameters
    ----------
    codes : n rows of m ≥ k candidates; their values do not matter
    x_unit : (n, d) unit rows
    W_dec : (h, d) atoms
    dots : (h, h) dots of all pairs of atoms, `sums.pair_dots` of W_dec with itself; None: computed where needed

    Returns
    -------
    Codes with k entries; where fewer atoms are independent, zeros at the lowest other candidates (R16)
    """
    indices, values = np.empty((len(codes), k), np.int32), np.empty((len(codes), k), W_dec.dtype)
    for row, latents in enumerate(codes.indices):
        pursuit = pursue(latents, x_unit[row], W_dec, k, dots)
        # spec: "Where fewer than k are chosen, the lowest of the other candidates follow, with the value 0."
        others = np.setdiff1d(np.arange(codes.k), pursuit.chosen)
        kept = np.sort(np.append(pursuit.chosen, others[: k - len(pursuit.chosen)]).astype(np.int64))
        indices[row], values[row] = latents[kept], least_squares(pursuit, codes.k)[kept] + 0
    return Codes.trusted(indices, values, codes.n_latents, codes.model)


def _dots_for(n: int, k: int, m: int, W_dec: Floats, backend: Backend) -> Floats | None:
    """The dots of all pairs of atoms, where n rows need more of them than there are, and memory is no matter."""
    h = len(W_dec)
    if n * k * m < h * h or h * h * W_dec.itemsize > TABLE_BYTES:
        return None
    return backend.pair_dots(W_dec, W_dec)


def _check_candidates(k: int, m: int) -> None:
    """Raise where there are fewer candidates than entries (R14)."""
    if m < k:
        raise DomainError(f"candidates: expected at least k = {k} of them, got {m}")


def refine(
    codes: Codes,
    x: RowSource,
    params: Params,
    k: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Codes:
    """Codes that come closer to their rows: up to k of the stored latents, chosen anew, with values of least squares.

    Parameters
    ----------
    codes : codes of x, whose latents are the candidates: `Model.encode` with a larger k gives them
    x : (n, d) array or any source of rows, at any scale: what was encoded
    params : of the model that made the codes
    k : stored entries per row, at most those of ``codes``; None: as many, which is least squares alone
    zero_rows : "error", or "empty" for codes of zeros (R17)
    backend : "numpy" or "numba": the same bits

    Returns
    -------
    Codes in the dtype of ``params``, with its digest

    Raises
    ------
    ShapeError, DTypeError, DomainError
    """
    source, k = as_source(x), as_k(codes.k if k is None else k, params.n_latents)
    _check_candidates(k, codes.k)
    model = Model(params, k)
    model.check_codes(codes)
    if len(codes) != len(source):
        raise ShapeError(f"refine: expected codes and x of as many rows, got {len(codes)} and {len(source)}")
    kernels = get_backend(backend)
    dots = _dots_for(len(source), k, codes.k, params.W_dec, kernels)
    parts = []
    for start in range(0, len(source), ROWS_PER_BLOCK):
        x_unit, zero = unit_block(source, start, params, zero_rows, kernels)
        refined = kernels.refine_unit(codes[start : start + ROWS_PER_BLOCK], x_unit, params.W_dec, k, dots)
        parts.append(emptied(refined, zero, model.digest))
    return Codes.concatenate(parts)


def encode_refined(
    x: RowSource,
    model: Model,
    k: int | None = None,
    candidates: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Codes:
    """`Model.encode` with ``candidates`` entries (None: min(4k, h)), and `refine` down to k, block by block."""
    return Codes.concatenate(list(refined_blocks(x, model, k, candidates, zero_rows=zero_rows, backend=backend)))


def refined_blocks(
    x: RowSource,
    model: Model,
    k: int | None = None,
    candidates: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Iterator[Codes]:
    """The codes of `encode_refined` in blocks of rows, each made when it is asked for."""
    params, source, kernels = model.params, as_source(x), get_backend(backend)
    k = as_k(model.k if k is None else k, params.n_latents)
    m = as_k(aux_k(k, params.n_latents) if candidates is None else candidates, params.n_latents, name="candidates")
    _check_candidates(k, m)
    dots = _dots_for(len(source), k, m, params.W_dec, kernels)
    for start in range(0, len(source), ROWS_PER_BLOCK):
        x_unit, zero = unit_block(source, start, params, zero_rows, kernels)
        wide = encode_unit(x_unit, params, m, kernels)
        yield emptied(kernels.refine_unit(wide, x_unit, params.W_dec, k, dots), zero, model.digest)
