"""Answer the operations of segments with the blocks of the specification, as `answers` does for all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compressae_ref.verify.segments_answers import COUNTED
from spec.generate.program import listed

if TYPE_CHECKING:
    from spec.generate.answers import Spec, Values


def _rows(indices: Any, values: Any) -> list[tuple[list[int], list[Any]]]:
    return list(zip(indices.tolist(), listed(values), strict=True))


def _padded(rows: list[list[Any]], width: int, filler: Any, dtype: Any) -> Any:
    return np.array([row + [filler] * (width - len(row)) for row in rows], dtype).reshape(len(rows), width)


def _fields(found: list[tuple[Any, ...]], **dtypes: Any) -> Values:
    """Return the fields of tuples as arrays, by name."""
    return {name: np.array([each[i] for each in found], dtype) for i, (name, dtype) in enumerate(dtypes.items())}


def _assign_segments(
    spec: Spec, indices: Any, values: Any, n_latents: int, assign: str, top: int, threshold: Any, min_items: int
) -> Values:
    run, k = spec.program(values.dtype), indices.shape[1]
    keys, found = run.assign_segments(_rows(indices, values), assign, top, float(threshold), min_items)
    width = {"dominant": 1, "top": min(top, k), "all": k}[assign]
    numbers, strengths = ([[entry[i] for entry in row] for row in found] for i in (0, 1))
    segments = _padded(numbers, width, -1, np.int32)
    return {
        "keys": np.array(keys, np.int32),
        "segments": segments,
        "strengths": _padded(strengths, width, 0.0, np.float32),
    }


def _time_bins(spec: Spec, times: Any, unit: str) -> Values:
    run, seconds = spec.program(np.float64), times.tolist()
    unit = run.unit_of(seconds) if unit == "auto" else unit
    return {"bins": np.array([run.bin_of(t, unit) for t in seconds]), "unit_of_bins": unit}


def _logarithm(spec: Spec, numbers: Any) -> Values:
    return {"logarithm": np.array([spec.program(np.float64).logarithm(x) for x in numbers.tolist()])}


def _contrast(spec: Spec, y: Any, y_other: Any, n: Any, n_other: Any) -> Values:
    things = zip(*(side.tolist() for side in (y, y_other, n, n_other)), strict=True)
    found = [spec.program(np.float64).contrast(*thing) for thing in things]
    return _fields(found, delta=float, variance=float, z_score=float)


def _tail(spec: Spec, z_score: Any) -> Values:
    return {"p": np.array([spec.program(np.float64).tail(value) for value in z_score.tolist()])}


def _discoveries(spec: Spec, p: Any, q: Any) -> Values:
    return {"found": np.array(spec.program(np.float64).discoveries(p.tolist(), float(q)), np.uint8)}


def _count_items(
    spec: Spec, segments: Any, bins: Any, sites: Any, weights: Any, n_segments: int, n_bins: int, n_sites: int
) -> Values:
    own = [[s for s in row if s >= 0] for row in segments.tolist()]
    items = list(zip(own, bins.tolist(), sites.tolist(), weights.tolist(), strict=True))
    cells, totals, largest = spec.program(np.float64).count_items(items, n_segments, n_bins, n_sites)
    columns = [
        *(np.array([[[cell[i] for cell in row] for row in rows] for rows in cells]) for i in range(3)),
        *(np.array([[cell[i] for cell in row] for row in totals]) for i in range(3)),
        *(np.array([[cell[i] for cell in row] for row in largest]) for i in range(2)),
    ]
    return dict(zip(COUNTED, columns, strict=True))


def _trends(spec: Spec, weights: Any, squares: Any, totals: Any, q: Any) -> Values:
    found = spec.program(np.float64).trends(weights.tolist(), squares.tolist(), totals.tolist(), float(q))
    whole = dict.fromkeys(("kind", "start", "stop"), np.int64)
    real = dict.fromkeys(("z_score", "p", "ratio", "last_ratio", "last_z"), np.float64)
    return _fields(found, **whole, **real, last_significant=np.uint8)


def _spikes(spec: Spec, weights: Any, squares: Any, totals: Any, largest: Any, largest_item: Any, q: Any) -> Values:
    items = [list(zip(*row, strict=True)) for row in zip(largest.tolist(), largest_item.tolist(), strict=True)]
    run = spec.program(np.float64)
    found = run.spikes(weights.tolist(), squares.tolist(), totals.tolist(), items, float(q))
    names = (
        "segment",
        "bin",
        "weight",
        "expected",
        "z_score",
        "largest_item",
        "largest_share",
        "z_without",
        "one_item",
    )
    whole, flags = ("segment", "bin", "largest_item"), ("one_item",)
    dtypes = {name: np.int64 if name in whole else np.uint8 if name in flags else np.float64 for name in names}
    return _fields(found, **dtypes)


def _site_contrast(spec: Spec, weights: Any, squares: Any, totals: Any, q: Any) -> Values:
    run, given = spec.program(np.float64), (weights.tolist(), squares.tolist(), totals.tolist())
    shape = len(weights), weights.shape[2]
    found = _fields(run.by_site(*given, float(q)), weight=float, ratio=float, z_score=float, significant=np.uint8)
    shares = np.array(run.site_shares(given[0], given[2])).reshape(weights.shape)
    return {name: array.reshape(shape) for name, array in found.items()} | {"shares": shares}


def _hidden_segments(
    spec: Spec, weights: Any, squares: Any, items: Any, totals: Any, total_items: Any, q: Any
) -> Values:
    given = (array.tolist() for array in (weights, squares, items, totals, total_items))
    return _fields(spec.program(np.float64).hidden(*given, float(q)), ratio=float, z_score=float, hidden=np.uint8)


def _together(spec: Spec, indices: Any, values: Any, keys: Any) -> Values:
    found = spec.program(np.float64).together(_rows(indices, values), [tuple(key) for key in keys.tolist()])
    return {name: array.reshape(len(keys), -1) for name, array in _fields(found, ratio=float, z_score=float).items()}


def _cut_hierarchy(spec: Spec, W_dec: Any, keys: Any, n_groups: int) -> Values:
    return {"groups": np.array(spec.program(np.float64).cut(W_dec.tolist(), keys.tolist(), n_groups))}


def _match_segments(
    spec: Spec, segments: Any, earlier: Any, sizes: Any, atoms: Any = None, earlier_atoms: Any = None
) -> Values:
    both = (None, None) if atoms is None else (atoms.tolist(), earlier_atoms.tolist())
    parts = [[{s for s in row if s >= 0} for row in part.tolist()] for part in (segments, earlier)]
    found = spec.program(np.float64).match_segments(*parts, sizes.tolist(), *both)
    outputs = _fields(found, new=np.int64, old=np.int64, confidence=float, cosine=float)
    return {name: value for name, value in outputs.items() if atoms is not None or name != "cosine"}


def _explained(spec: Spec, x: Any, indices: Any, values: Any, W_dec: Any) -> Values:
    run = spec.program(W_dec.dtype)
    cosines = run.explained(listed(x), _rows(indices, values), listed(W_dec))
    return {"explained": np.array(cosines, W_dec.dtype), "low": np.array(float(run.low(cosines)))}


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
