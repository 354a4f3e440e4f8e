"""Classify refined codes that differ from the right ones by a bit or more (``spec/refine.md``).

With the Gram matrix G of the stored atoms and their dots b with the row, the values solve G v = b. Whatever the order
of sums, the computed values solve (G + ΔG) v = b + Δb, where no entry of ΔG and Δb exceeds c = γ_{2d+3k+16} (Higham,
Accuracy and Stability, theorem 10.4; atoms and rows have norm 1). So they differ by at most |G⁻¹| c (1 + ‖v‖₁).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.numpy.matching_pursuit import tolerance
from compressae_ref.center import encoded_rows
from compressae_ref.codes import Codes
from compressae_ref.verify.code_forms import Maker
from compressae_ref.verify.mistakes import exact_pre
from compressae_ref.verify.rounding_bounds import Judged, packed_errors, relative_bound


class Solved(NamedTuple):
    """Values of least squares, and bounds on what rounding changes in them; both (n, k) and 0 where not kept."""

    values: Floats
    bounds: Floats


def judge_refined(maker: Maker, bounds: Floats, x: Floats, zero: Bools, right: Codes, stored: Codes) -> Judged:
    """Classify rows: values by the bound above, other latents than the right ones by a pursuit in float64."""
    params, bits = maker.model.params, maker.form.bits
    rows = encoded_rows(x.astype(np.float64), params.mean, np.float64)
    kept = stored.values != 0
    solved = _least_squares(maker, rows, stored, kept & ~_filled(maker, x, stored))
    given = stored.values.astype(np.float64)
    if bits is None:
        errors = np.where(kept, np.abs(given - solved.values), 0)
        bad = errors > solved.bounds
    else:
        errors, bad = packed_errors(given, kept, solved.values, solved.bounds, bits, params.dtype)
    wrong = zero | bad.any(axis=1)
    others = np.array([set(a[u != 0]) != set(b[v != 0]) for a, u, b, v in _pairs(right, stored)], bool)
    if (doubtful := np.flatnonzero(others & ~wrong)).size:
        wide = maker.backend.encode(
            encoded_rows(x[doubtful], params.mean, params.dtype), params.W_enc, params.b_enc, maker.form.candidates or 0
        ).to_host()
        pre = exact_pre(maker.model, x[doubtful].astype(np.float64))
        for place, i in enumerate(doubtful):
            candidates = _candidates(np.abs(pre[place]), bounds, wide.indices[place], stored.indices[i, kept[i]])
            wrong[i] = candidates is None or not _can_be_chosen(maker, rows[i], *candidates, stored.k)
    none = np.zeros(len(x))
    return Judged(wrong, none.astype(bool), errors.max(axis=1), none)


def _pairs(a: Codes, b: Codes) -> zip[tuple[NDArray[np.int32], Floats, NDArray[np.int32], Floats]]:
    return zip(a.indices, a.values, b.indices, b.values, strict=True)


def _filled(maker: Maker, x: Floats, stored: Codes) -> Bools:
    """Return which entries (n, k) fill a packed code: their value is 0 (R16), and packing makes them positive (R19)."""
    filled = np.zeros(stored.shape, bool)
    if maker.form.bits is not None:
        right = replace(maker, form=replace(maker.form, bits=None)).codes(x)
        np.put_along_axis(filled, right.indices, right.values == 0, axis=1)
    entries: Bools = np.take_along_axis(filled, stored.indices, axis=1)
    return entries


def _bound(maker: Maker, k: int) -> float:
    params = maker.model.params
    largest = float(np.square(params.W_dec.astype(np.float64)).sum(axis=1).max())
    return max(largest, 1.0) * relative_bound(maker.model, 2 * params.d + 3 * k + 16)


def _least_squares(maker: Maker, rows: Floats, stored: Codes, kept: Bools) -> Solved:
    """Solve for the values of the kept latents. Of dependent atoms, which no pursuit chooses, the bounds are −1."""
    atoms = maker.model.params.W_dec[stored.indices].astype(np.float64) * kept[..., None]
    gram = atoms @ atoms.transpose(0, 2, 1) + np.eye(stored.k) * ~kept[..., None]
    least = np.linalg.eigvalsh(gram)[:, 0]
    independent = least > np.finfo(np.float64).eps * stored.k
    gram[~independent] = np.eye(stored.k)
    inverse = np.linalg.inv(gram)
    values = (inverse @ (atoms @ rows[..., None]))[..., 0]
    c, size = _bound(maker, stored.k), np.abs(stored.values).sum(axis=1, dtype=np.float64)
    if maker.form.bits is not None:  # the scale is not stored: by the bound itself, ‖v̂‖₁ ≤ (‖v‖₁ + t) / (1 − t)
        t = c * np.abs(inverse).sum(axis=(1, 2))
        size = (np.abs(values * kept).sum(axis=1) + t) / np.maximum(1 - t, np.finfo(np.float32).tiny)
    bounds = c * (1 + size)[:, None] * np.abs(inverse).sum(axis=2)
    return Solved(values * kept, np.where(independent[:, None], bounds, -1) * kept)


def _candidates(
    magnitude: Floats, bounds: Floats, wide: NDArray[np.int32], stored: NDArray[np.int32]
) -> tuple[NDArray[np.integer], Bools, Bools] | None:
    """Return the latents to choose from, which are stored, and which are certainly among the candidates.

    None if a stored latent is certainly not among them (R14).
    """
    left_out = np.ones(len(magnitude), bool)
    left_out[wide] = False
    border = (magnitude - bounds)[wide].min()
    if ((magnitude + bounds)[stored] < border).any():
        return None
    latents = np.union1d(wide, stored)
    highest = np.where(left_out, magnitude + bounds, -np.inf).max()
    return latents, np.isin(latents, stored), (magnitude - bounds)[latents] > highest


def _can_be_chosen(
    maker: Maker, row: Floats, latents: NDArray[np.integer], stored: Bools, certain: Bools, k: int
) -> bool:
    """Return whether a pursuit with rounded sums can choose exactly the stored latents (E19 to E21, R15).

    Each step takes the stored latent with the largest correlation |r|. No other certain candidate that is independent
    of the chosen atoms may exceed it by more than the bounds.
    """
    atoms, params = maker.model.params.W_dec[latents].astype(np.float64), maker.model.params
    gram, r, least = atoms @ atoms.T, atoms @ row, float(tolerance(params.dtype))
    b, pivots, c = r.copy(), np.diag(gram).copy(), _bound(maker, k)
    p, chosen, left = np.empty((0, len(latents))), np.empty(0, np.int64), stored.copy()
    others = certain & ~stored
    for step in range(int(stored.sum()) + 1):
        triangle = p[:, chosen]  # Lᵀ: entries of the Cholesky factor
        shares = np.abs(np.linalg.solve(triangle, p)).sum(axis=0) if step else np.zeros(len(latents))
        size = np.abs(np.linalg.solve(triangle, np.linalg.solve(triangle.T, b[chosen]))).sum() if step else 0.0
        errors = c * (1 + size) * (1 + shares)
        independent = pivots - c * (1 + shares) ** 2 > least * np.diag(gram)
        rivals = np.abs(r[others & independent]) - errors[others & independent]
        if not left.any():
            return step == k or not len(rivals)
        now = int(np.argmax(np.where(left, np.abs(r), -1)))
        if rivals.max(initial=-np.inf) > np.abs(r[now]) + errors[now]:
            return False
        if pivots[now] + c * (1 + shares[now]) ** 2 <= least * gram[now, now] or pivots[now] <= 0:
            return False
        new = (gram[now] - p[:, now] @ p) / np.sqrt(pivots[now])
        r, pivots = r - r[now] / np.sqrt(pivots[now]) * new, pivots - new**2
        p, chosen = np.vstack([p, new]), np.append(chosen, now)
        left[now] = False
    return False
