"""Why a selection is wrong: which rule it breaks, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.arrays import Floats


def broken_rule(pre_row: Floats, expected: Any, values: Any, indices: Any, got: Any) -> str:
    """One sentence about the first thing that is wrong with a code, or nothing.

    Parameters
    ----------
    pre_row : (h,) what was selected from
    expected, values : the right code, k entries each
    indices, got : the code in question
    """
    k, h = len(expected), len(pre_row)
    if len(indices) != k or len(got) != k:
        return f"stores {len(indices)} indices and {len(got)} values, not k = {k} (R2)"
    if indices.min() < 0 or indices.max() >= h:
        return f"stores latent {int(indices[(indices < 0) | (indices >= h)][0])} of {h} (R2)"
    if len(set(indices.tolist())) < k:
        return "stores a latent twice (R2)"
    if not np.array_equal(np.sort(indices), np.sort(expected)):
        return _wrong_choice(pre_row, expected, indices)
    if not np.array_equal(indices, expected):
        return f"stores indices {shortened(indices)}, which do not ascend (R2)"
    return _wrong_value(indices, values, got)


def _wrong_choice(pre_row: Floats, expected: Any, indices: Any) -> str:
    """About the largest latent that is left out, and the least of those kept in its place."""
    out = max(set(expected.tolist()) - set(indices.tolist()), key=lambda j: (abs(pre_row[j]), -j))
    kept = min(set(indices.tolist()) - set(expected.tolist()), key=lambda j: (abs(pre_row[j]), -j))
    said = f"keeps latent {kept} ({pre_row[kept]:.9g}) and leaves out {out} ({pre_row[out]:.9g})"
    if abs(pre_row[kept]) == abs(pre_row[out]):
        return f"{said}: of equal magnitudes the lower index is kept (R1)"
    if pre_row[kept] > pre_row[out] and abs(pre_row[kept]) < abs(pre_row[out]):
        return f"{said}: the magnitude decides, not the value (R1)"
    return f"{said}: the largest magnitudes are kept (R1)"


def _wrong_value(indices: Any, values: Any, got: Any) -> str:
    bad = np.flatnonzero(_bits(values) != _bits(got))
    if not len(bad):
        return ""
    t = int(bad[np.argmax(np.abs(got[bad] - values[bad]))])
    said = f"stores {got[t]!s} for latent {indices[t]}, not {values[t]!s}"
    if got[t] == values[t]:
        return f"{said}: −0 is stored as +0 (R2)"
    if abs(got[t] + values[t]) < 1e-3 * abs(values[t]):
        return f"{said}: a value keeps its sign (E5)"
    return f"{said} (E4, E5)"


def _bits(values: Any) -> Any:
    array = np.ascontiguousarray(values)
    return array.view(f"u{array.itemsize}")


def shortened(array: Any) -> str:
    """An array for a line of text."""
    entries = [str(entry) for entry in np.ravel(array)[:8].tolist()]
    return ", ".join(entries) + (", …" if np.size(array) > 8 else "")
