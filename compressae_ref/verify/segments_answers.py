"""Answer the operations of segments (`spec/segments.md`) with this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.codes import Codes
from compressae_ref.model import Model
from compressae_ref.params import Params
from compressae_ref.segments import comparisons, drift, hierarchy, identity, trends
from compressae_ref.segments.contrast import Doubles, contrast, discoveries, logarithm, tail
from compressae_ref.segments.counts import Counts, Events
from compressae_ref.segments.segments import Segments
from compressae_ref.segments.settings import Assign
from compressae_ref.segments.times import as_times, bin_numbers, choose_unit
from compressae_ref.verify.operations import TREND_KINDS
from compressae_ref.verify.vectors import Values

Integers = NDArray[np.int32]


def _named(found: Any) -> Values:
    """Return the fields of a named tuple; z has another name, because the notation has it for rows."""
    return {"z_score" if name == "z" else name: value for name, value in found._asdict().items()}


def _flags(found: Any) -> NDArray[np.uint8]:
    return np.asarray(found, np.uint8)


def _assign_segments(
    backend: Backend,
    indices: Integers,
    values: Floats,
    n_latents: int,
    assign: Assign,
    top: int,
    threshold: Doubles,
    min_items: int,
) -> Values:
    codes = Codes(indices, values, n_latents)
    rule: dict[str, Any] = {"assign": assign, "top": top, "threshold": float(threshold), "min_items": min_items}
    return Segments.build(codes, **rule).members._asdict()


def _time_bins(backend: Backend, times: NDArray[np.int64], unit: str) -> Values:
    read = as_times(times.astype("datetime64[s]"))
    unit = choose_unit(read) if unit == "auto" else unit
    return {"bins": bin_numbers(read, unit), "unit_of_bins": unit}


def _logarithm(backend: Backend, numbers: Doubles) -> Values:
    return {"logarithm": logarithm(numbers)}


def _contrast(backend: Backend, **sides: Doubles) -> Values:
    return _named(contrast(**sides))


def _tail(backend: Backend, z_score: Doubles) -> Values:
    return {"p": tail(z_score)}


def _discoveries(backend: Backend, p: Doubles, q: Doubles) -> Values:
    return {"found": _flags(discoveries(p, float(q)))}


COUNTED = ("weights", "squares", "items", "totals", "total_items", "unassigned", "largest", "largest_item")


def _count_items(backend: Backend, n_segments: int, n_bins: int, n_sites: int, **events: Any) -> Values:
    """Count the first half of the items, and then each other one alone (R39)."""
    counts, n = Counts(n_segments, n_bins, n_sites), len(events["weights"])
    ends = [0, *range(n // 2, n + 1)]
    for start, stop in pairwise(ends):
        counts.add(Events(**{name: array[start:stop] for name, array in events.items()}))
    return {name: getattr(counts, name) for name in COUNTED}


def _counts(**arrays: NDArray[Any]) -> Counts:
    """Return counts of which only some arrays are known."""
    counts = Counts(*arrays["weights"].shape)
    for name, array in arrays.items():
        setattr(counts, name, array)
    return counts


def _fields(found: Sequence[Any], fields: Sequence[str], whole: Sequence[str]) -> Values:
    """Return the fields of named tuples as arrays."""
    columns = {name: [getattr(each, name) for each in found] for name in fields}
    outputs = {name: np.array(column, np.int64 if name in whole else float) for name, column in columns.items()}
    return {"z_score" if name == "z" else name: array for name, array in outputs.items()}


def _trends(backend: Backend, q: Doubles, **arrays: NDArray[Any]) -> Values:
    found = trends.trends(_counts(**arrays), float(q))
    outputs = _fields(found, trends.Trend._fields[1:], ("start", "stop"))
    kinds = np.array([TREND_KINDS.index(trend.kind) for trend in found])
    return {"kind": kinds} | outputs | {"last_significant": _flags(outputs["last_significant"])}


def _spikes(backend: Backend, q: Doubles, **arrays: NDArray[Any]) -> Values:
    found = trends.spikes(_counts(**arrays), float(q))
    outputs = _fields(found, trends.Spike._fields, ("segment", "bin", "largest_item"))
    return outputs | {"one_item": _flags(outputs["one_item"])}


def _site_contrast(backend: Backend, q: Doubles, **arrays: NDArray[Any]) -> Values:
    counts = _counts(**arrays)
    outputs = _named(comparisons.by_site(counts, float(q)))
    return outputs | {"significant": _flags(outputs["significant"]), "shares": comparisons.site_shares(counts)}


def _hidden_segments(backend: Backend, q: Doubles, **arrays: NDArray[Any]) -> Values:
    outputs = _named(comparisons.hidden(_counts(**arrays), float(q)))
    return outputs | {"hidden": _flags(outputs["hidden"])}


def _together(backend: Backend, indices: Integers, values: Floats, keys: NDArray[np.int32]) -> Values:
    n_latents = max(int(indices.max()), int(keys[:, 0].max())) + 1
    return _named(comparisons.together(Codes(indices, values, max(n_latents, indices.shape[1])), keys))


def _params(W_dec: Floats) -> Params:
    return Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec)


def _cut_hierarchy(backend: Backend, W_dec: Floats, keys: NDArray[np.int32], n_groups: int) -> Values:
    atoms = hierarchy.signed_atoms(_params(W_dec), keys)
    return {"groups": hierarchy.cut(hierarchy.linkage(hierarchy.cosines(atoms, atoms)), n_groups)}


def _match_segments(
    backend: Backend,
    segments: NDArray[np.int32],
    earlier: NDArray[np.int32],
    sizes: NDArray[np.int64],
    atoms: Doubles | None = None,
    earlier_atoms: Doubles | None = None,
) -> Values:
    both = None if atoms is None or earlier_atoms is None else (atoms, earlier_atoms)
    found = identity.match(segments, earlier, (int(sizes[0]), int(sizes[1])), both)
    return {name: value for name, value in found._asdict().items() if both is not None or name != "cosine"}


def _explained(backend: Backend, x: Floats, indices: Integers, values: Floats, W_dec: Floats) -> Values:
    codes = Codes(indices, values, len(W_dec))
    cosines = drift.explained(Model(_params(W_dec), codes.k), x, codes, backend)
    return {"explained": cosines, "low": np.array(drift.low_quantile(cosines))}


ANSWERS: dict[str, Callable[..., Values]] = {
    "assign_segments": _assign_segments,
    "time_bins": _time_bins,
    "logarithm": _logarithm,
    "contrast": _contrast,
    "tail": _tail,
    "discoveries": _discoveries,
    "count_items": _count_items,
    "trends": _trends,
    "spikes": _spikes,
    "site_contrast": _site_contrast,
    "hidden_segments": _hidden_segments,
    "together": _together,
    "cut_hierarchy": _cut_hierarchy,
    "match_segments": _match_segments,
    "explained": _explained,
}
"""The function for each operation; it takes the backend and the inputs as arguments."""
