"""Vectors of refined codes: exact for orthogonal and equal atoms, with bounds for others."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.backends.rounding import gamma
from spec.generate.answers import Values
from spec.generate.build import BrokenVectorError, Case, Flag, Group, accepts, exact_rows, f32, names_row, random_atoms
from spec.generate.coding import NOT_FINITE, NOT_UNIT, ZERO_ROW

HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def _candidates(rng: np.random.Generator, n: int, h: int, m: int) -> Any:
    return np.sort(rng.random((n, h)).argsort(axis=1)[:, :m], axis=1).astype(np.int32)


def _bound(inputs: Values, outputs: Values) -> dict[str, float]:
    """Bound the first-order difference of two orders: Gram matrix, dots with the row, and Cholesky solution."""
    W_dec, d, k = inputs["W_dec"].astype(np.float64), inputs["W_dec"].shape[1], inputs["k"]
    dtype, worst = inputs["W_dec"].dtype, 0.0
    for latents, values in zip(outputs["indices"], outputs["values"].astype(np.float64), strict=True):
        gram = W_dec[latents] @ W_dec[latents].T
        largest, smallest = np.linalg.eigvalsh(gram)[[-1, 0]]
        off = k * (gamma(3 * k + 1, dtype) * largest + gamma(d, dtype)) * np.linalg.norm(values)
        worst = max(worst, (off + np.sqrt(k) * gamma(2 * d + 8, dtype)) / smallest)
    return {"values": float(2 * worst)}


def _separated_bound(inputs: Values, outputs: Values) -> dict[str, float]:
    """Return that bound, after checking that it cannot change a choice."""
    bounds, W_dec = _bound(inputs, outputs), inputs["W_dec"].astype(np.float64)
    for x, latents in zip(inputs["x"].astype(np.float64), inputs["indices"], strict=True):
        if _clearance(x / np.linalg.norm(x), W_dec[latents], inputs["k"]) <= 2 * bounds["values"]:
            raise BrokenVectorError(f"choices are not separated by {2 * bounds['values']}")
    return bounds


def _clearance(x_unit: Any, atoms: Any, k: int) -> float:
    """Return the smallest margin of the best correlation over the second best, over k steps."""
    chosen: list[int] = []
    closest = np.inf
    for _ in range(k):
        residual = x_unit - atoms[chosen].T @ np.linalg.lstsq(atoms[chosen].T, x_unit, rcond=None)[0]
        magnitudes = np.abs(atoms @ residual)
        magnitudes[chosen] = -1
        order = np.argsort(-magnitudes)
        if len(chosen) + 1 < len(atoms):
            closest = min(closest, magnitudes[order[0]] - magnitudes[order[1]])
        chosen.append(int(order[0]))
    return float(closest)


def _separated(rng: np.random.Generator, n: int, d: int, h: int, m: int, k: int) -> Values:
    """Return random inputs: of many rows and candidates, those whose choices have the largest margin."""
    W_dec = random_atoms(rng, h, d)
    x, indices = f32(rng.standard_normal((60 * n, d))), _candidates(rng, 60 * n, h, m)
    clear = [
        _clearance(row / np.linalg.norm(row), W_dec[latents].astype(np.float64), k)
        for row, latents in zip(x.astype(np.float64), indices, strict=True)
    ]
    best = np.argsort(clear)[-n:]
    return {"x": x[best], "indices": indices[best], "W_dec": W_dec, "k": k, "zero_rows": "error"}


def refine() -> Group:
    """Return the vectors of refined codes."""
    flags = {
        "Tie": Flag("of equal correlations another than that of the lowest latent is taken", ("R14",), (("(-abs(r[i]), i))[0]  # R14", "(-abs(r[i]), -i))[0]"),)),
        "Magnitude": Flag("the largest correlation is taken, not the one of largest magnitude", ("R14",), (("(-abs(r[i]), i))[0]  # R14", "(-r[i], i))[0]"),)),
        "Sign": Flag("values lose the sign of the correlation", ("E19",), (("r = [dot(atom, x_unit) for", "r = [abs(dot(atom, x_unit)) for"),)),
        "NotUnit": NOT_UNIT,
        "SetAside": Flag("an atom in the span of the chosen ones is chosen, too", ("R15",), (("if not new[c] > tolerance * square:  # R15", "if False:"),)),
        "Tolerance": Flag("an atom almost in the span of the chosen ones is chosen, too", ("R15",), (("tolerance=2.0**-26", "tolerance=0.0"),)),
        "TooCareful": Flag("an atom is set aside though enough of it is left", ("R15",), (("tolerance=2.0**-26", "tolerance=2.0**-8"),)),
        "Filled": Flag("a code with fewer atoms than k is not filled with zeros at the lowest other candidates", ("R16",), (("others[: k - len(chosen)]", "others[len(others) - k + len(chosen) :]"),)),
        "Orthogonalize": Flag("atoms are not orthogonalised against those chosen before", ("E20",), (("factor = old[c]", "factor = 0.0 * old[c]"),)),
        "Residual": Flag("correlations stay those with the whole row", ("E21",), (("r = [r[i] - y[-1] * p[-1][i] for", "r = [r[i] for"),)),
        "BackSubstitution": Flag("values are the coefficients along the directions, not of the atoms", ("E22",), (("total = total - p[t][chosen[s]] * values[chosen[s]]", "total = total - 0.0 * values[chosen[s]]"),)),
        "LeftToRight": Flag("parts along the chosen directions are taken away in another order: only who promises the same bits must not", ("E20",), (("for old in p:", "for old in p[::-1]:"),), bits=True),
        "Ascending": Flag("entries come in the order in which they were chosen", ("R2", "R16"), (("kept = sorted(chosen + others[: k - len(chosen)])", "kept = chosen + others[: k - len(chosen)]"),)),
        "ZeroRowEmpty": Flag("with zero_rows = empty a zero row does not get zeros at the first latents", ("R17",), (("return list(range(k)), empty", "return indices[:k], empty"),)),
        "ZeroRow": Flag(ZERO_ROW.why, ("R4", "R17"), ZERO_ROW.bug),
        "NotFinite": NOT_FINITE,
        "FirstBadRow": Flag("the error does not name the first bad row", ("R3", "R17"), names_row(3)),
        "TooFew": Flag("fewer candidates than k are not refused", ("R14", "R17"), accepts),
        "KZero": Flag("k = 0 is not refused", ("R17",), accepts),
        "OtherDimension": Flag("rows of another dimension than the atoms' are not refused", ("E19",), accepts),
    }  # fmt: skip
    rng = np.random.default_rng(31)
    orthogonal = f32(np.kron(np.eye(5), HADAMARD))
    model: Values = {"W_dec": orthogonal, "k": 4, "zero_rows": "error"}
    rows: Values = {"x": exact_rows(rng, 8, 20, 16) * 4, "indices": _candidates(rng, 8, 20, 12)}
    twice: Values = {"W_dec": np.repeat(orthogonal, 2, axis=0), "k": 6, "zero_rows": "error"}
    few = np.sort(np.repeat(2 * _candidates(rng, 8, 20, 5), 2, axis=1) + np.tile([0, 1], 5), axis=1).astype(np.int32)
    near = f32([[1, 0, 0], [1, 2.0**-6, 0], [0, 0, 1]])
    apart = f32([[1, 0, 0], [1, 2.0**-5, 0], [0, 0, 1]])
    three: Values = {"x": f32([[1, 0, 0], [-2, 0, 0]]), "indices": np.tile(np.arange(3, dtype=np.int32), (2, 1)), "k": 2, "zero_rows": "error"}  # fmt: skip
    zero, bad = rows["x"].copy(), rows["x"].copy()
    zero[1], bad[2, 5], bad[3, 0] = 0, np.nan, np.inf
    separated, alone = _separated(rng, 6, 48, 40, 10, 4), _separated(rng, 4, 48, 40, 6, 6)
    wide = {name: separated[name].astype(np.float64) / 3 for name in ("x", "W_dec")}
    cases = [
        Case("orthogonal atoms: the largest correlations", ("Tie", "Magnitude", "Sign", "Ascending"), model | rows),
        Case("as many candidates as entries", ("Sign",), model | rows | {"k": 12}),
        Case("one entry", ("Tie", "Magnitude"), model | rows | {"k": 1}),
        Case("every atom twice", ("SetAside",), twice | {"x": rows["x"], "indices": few}),
        Case("fewer different atoms than entries", ("SetAside", "Filled"), twice | {"x": rows["x"], "indices": few, "k": 8}),
        Case("atoms almost alike", ("Tolerance",), three | {"W_dec": near}),
        Case("atoms a little further apart", ("TooCareful",), three | {"W_dec": apart}),
        Case("any rows and atoms", ("NotUnit", "Orthogonalize", "Residual", "BackSubstitution"), separated, bounds=_separated_bound),
        Case("least squares alone: as many candidates as entries", ("Orthogonalize", "BackSubstitution", "LeftToRight"), alone, bounds=_bound),
        Case("any rows and atoms in float64", ("Orthogonalize", "Residual", "BackSubstitution"), separated | wide | {"k": 3}, bounds=_separated_bound, needs=("float64",)),
        Case("a zero row on request", ("ZeroRowEmpty",), model | rows | {"x": zero, "zero_rows": "empty"}),
        Case("a zero row", ("ZeroRow",), model | rows | {"x": zero}, error="DomainError", row=1),
        Case("NaN, then infinity", ("NotFinite", "FirstBadRow"), model | rows | {"x": bad}, error="DomainError", row=2),
        Case("k larger than there are candidates", ("TooFew",), model | rows | {"k": 13}, error="DomainError"),
        Case("k = 0", ("KZero",), model | rows | {"k": 0}, error="DomainError"),
        Case("19 dimensions for atoms of 20", ("OtherDimension",), model | rows | {"x": rows["x"][:, :19].copy()}, error="ShapeError"),
    ]  # fmt: skip
    header = [
        "Where there are no bounds, all sums are exact or have one order.",
        "The bound of values is that of two Cholesky solutions with two Gram matrices and right sides, to first order: twice (k (γ_{3k+1} λ₁ + γ_d) ‖v‖ + √k γ_{2d+8}) / λₖ,",
        "with the eigenvalues of the Gram matrix of the chosen atoms. Choices are separated by more than twice as much, but where all candidates are chosen.",
    ]
    return Group("refine", "refine", header, flags, cases)


GROUPS = (refine,)
