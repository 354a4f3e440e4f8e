"""Explain which rule a wrong selection breaks, and where lists differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.verify.vectors import described


def broken_rule(pre_row: Floats, expected: Any, values: Any, indices: Any, got: Any) -> str:
    """Return a predicate such as "stores a latent twice (R2)" for the first broken rule, or an empty string.

    Parameters
    ----------
    pre_row : (h,) the pre-activations, from which the latents are selected
    expected, values : arrays of length k, the indices and values of the right code
    indices, got : indices and values of the code in question
    """
    k, h = len(expected), len(pre_row)
    if len(indices) != k or len(got) != k:
        return f"stores {len(indices)} indices and {len(got)} values instead of k = {k} (R2)"
    if indices.min() < 0 or indices.max() >= h:
        return f"stores latent {int(indices[(indices < 0) | (indices >= h)][0])}, but h = {h} (R2)"
    if len(set(indices.tolist())) < k:
        return "stores a latent twice (R2)"
    if not np.array_equal(np.sort(indices), np.sort(expected)):
        return _wrong_choice(pre_row, expected, indices)
    if not np.array_equal(indices, expected):
        return f"stores indices {shortened(indices)}, which are not in ascending order (R2)"
    return _wrong_value(indices, values, got)


def _wrong_choice(pre_row: Floats, expected: Any, indices: Any) -> str:
    """Name the largest latent that is missing, and the smallest one that is stored instead."""
    missing = max(set(expected.tolist()) - set(indices.tolist()), key=lambda j: (abs(pre_row[j]), -j))
    stored = min(set(indices.tolist()) - set(expected.tolist()), key=lambda j: (abs(pre_row[j]), -j))
    text = f"keeps latent {stored} ({pre_row[stored]:.9g}) but not latent {missing} ({pre_row[missing]:.9g})"
    if abs(pre_row[stored]) == abs(pre_row[missing]):
        return f"{text}: of equal magnitudes the lower index is kept (R1)"
    if pre_row[stored] > pre_row[missing] and abs(pre_row[stored]) < abs(pre_row[missing]):
        return f"{text}: the magnitude decides, not the value (R1)"
    return f"{text}: the largest magnitudes are kept (R1)"


def _wrong_value(indices: Any, values: Any, got: Any) -> str:
    """Name the value with the largest error."""
    bad = np.flatnonzero(_bits(values) != _bits(got))
    if not len(bad):
        return ""
    t = int(bad[np.argmax(np.abs(got[bad] - values[bad]))])
    text = f"stores {got[t]!s} for latent {indices[t]}, not {values[t]!s}"
    if got[t] == values[t]:
        return f"{text}: −0 is stored as +0 (R2)"
    if abs(got[t] + values[t]) < 1e-3 * abs(values[t]):
        return f"{text}: a value keeps its sign (E5)"
    return f"{text} (E4, E5)"


def _bits(values: Any) -> Any:
    array = np.ascontiguousarray(values)
    return array.view(f"u{array.itemsize}")


def shortened(array: Any) -> str:
    """Return the first eight entries of an array, as text."""
    entries = [str(entry) for entry in np.ravel(array)[:8].tolist()]
    return ", ".join(entries) + (", …" if np.size(array) > 8 else "")


def unequal(expected: Any, got: Any) -> str:
    """Describe two values that are no arrays; of two lists, the first place where they differ."""
    if isinstance(expected, list) and isinstance(got, list):
        pairs = enumerate(zip(expected, got, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(got)))
        sides = [described(side[at]) if at < len(side) else f"only {at} strings" for side in (expected, got)]
        return f"expected {sides[0]}, got {sides[1]} at [{at}]"
    return f"expected {described(expected)}, got {described(got)}"
