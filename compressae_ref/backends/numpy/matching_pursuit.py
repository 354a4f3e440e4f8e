"""Orthogonal matching pursuit (OMP) among the candidates of a row, with least-squares values (E19 to E22).

``spec/refine.md`` is normative. For each row x̄ and the atoms of its m candidates: choose the candidate with the largest
correlation |r|, orthogonalise it against the chosen ones, and subtract what it explains. After k atoms, solve for their
values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.codes import Codes


class Pursuit(NamedTuple):
    """The result of `pursue` for one row with m candidates, of which s are chosen."""

    chosen: list[int]
    """candidates, in the order in which they were chosen"""
    p: Floats
    """(s, m) rows of the Cholesky factor of the Gram matrix of the chosen atoms, for all candidates"""
    y: Floats
    """(s,) correlations of the row with the orthogonalised atoms"""


def tolerance(dtype: np.dtype[np.floating]) -> np.floating:
    """The share of an atom's square that must remain after orthogonalisation, about √ε (R15)."""
    # spec: "only if its pivot (E20) is greater than ⟨a, a⟩ times 2⁻²⁶ in float64, or 2⁻¹¹ in float32."
    return dtype.type(2.0**-11 if dtype == np.float32 else 2.0**-26)


def pursue(latents: NDArray[np.int32], x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Pursuit:
    """Choose at most k candidates of a row, the most correlated one first (E19, E20, E21).

    Dense equivalent: in exact arithmetic each step takes the atom with the largest ``abs(W_dec @ residual)``.
    """
    r = reference.dot(W_dec[latents], x_unit)
    left = np.ones(len(latents), bool)
    chosen: list[int] = []
    p, y = np.empty((k, len(latents)), r.dtype), np.empty(k, r.dtype)
    for _ in range(len(latents)):
        s = len(chosen)
        c = int(np.argmax(np.where(left, np.abs(r), -1)))  # the first of the largest: the lowest latent
        left[c] = False
        new = dots[latents[c], latents] if dots is not None else reference.dot(W_dec[latents], W_dec[latents[c]])
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
    """Solve for the values of all m candidates by back substitution; they are 0 where not chosen (E22).

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
    """Refine the codes of unit rows: for each, at most k of its candidates with least-squares values.

    Parameters
    ----------
    codes : n rows of m ≥ k candidates; their values are ignored
    x_unit : (n, d) unit rows
    W_dec : (h, d) atoms
    dots : (h, h) dots of all pairs of atoms, `pair_dots` of W_dec with itself; None: computed as needed

    Returns
    -------
    Codes with k entries; if fewer atoms are independent, zeros at the lowest other candidates (R16)
    """

    def refine(rows: slice) -> Codes:
        return _refine_rows(codes[rows], x_unit[rows], W_dec, k, dots)

    return Codes.concatenate(map_blocks(len(codes), ROWS_PER_BLOCK, refine))


def _refine_rows(codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Codes:
    indices, values = np.empty((len(codes), k), np.int32), np.empty((len(codes), k), W_dec.dtype)
    for row, latents in enumerate(codes.indices):
        pursuit = pursue(latents, x_unit[row], W_dec, k, dots)
        # spec: "the other candidates with the lowest latents fill the code, with the value 0."
        others = np.setdiff1d(np.arange(codes.k), pursuit.chosen)
        kept = np.sort(np.append(pursuit.chosen, others[: k - len(pursuit.chosen)]).astype(np.int64))
        indices[row], values[row] = latents[kept], least_squares(pursuit, codes.k)[kept] + 0
    return Codes.trusted(indices, values, codes.n_latents, codes.model)
