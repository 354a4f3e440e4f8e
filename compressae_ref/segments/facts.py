"""Everything that a report of segments shows, as one dictionary for JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.segments.composing import key_name
from compressae_ref.segments.dispersion import over
from compressae_ref.segments.evidence import Ranked, opposite_items
from compressae_ref.segments.names import pick_texts
from compressae_ref.segments.trends import Spike, Trend

if TYPE_CHECKING:
    from compressae_ref.segments.segments import Segments

STRONGEST, OTHERS, SPIKES, ITEMS = 5, 3, 5, 3
Fact = dict[str, Any]


def facts(segments: Segments, title: str, n_groups: int | None = None) -> Fact:
    """Return the facts of segments; those that need times, texts, sites, weights or a model only if these are known.

    Numbers are finite, or None. ``n_groups`` is the number of groups of the hierarchy (default: √S, rounded up).
    """
    parts, trends = _basic(segments), [] if segments.timeline is None else segments.trends()
    _add_times(segments, parts, trends)
    for add in (_add_names, _add_sites, _add_hidden, _add_atoms, _add_items):
        add(segments, parts)
    groups = _groups(segments, parts, n_groups)
    _add_texts(segments, parts)
    timeline, codes = segments.timeline, segments.codes
    return {
        "title": title,
        "items": segments.n,
        "unassigned": segments.unassigned,
        "latents": codes.n_latents,
        "k": codes.k,
        "assign": segments.rule.assign,
        "model": codes.model,
        "weighted": timeline is not None and timeline.weighted,
        "bins": None if timeline is None else _bins(segments),
        "sites": [] if timeline is None else timeline.sites,
        **_lists(trends, parts),
        "segments": parts,
        "groups": groups,
    }


def _basic(segments: Segments) -> list[Fact]:
    sizes, timeline = segments.sizes(), segments.timeline
    weights = sizes.astype(np.float64) if timeline is None else over(over(timeline.counts.weights, 2), 1)
    total = segments.n if timeline is None else float(over(over(timeline.counts.totals, 1), 0))
    return [
        {
            "id": s,
            "latent": latent,
            "sign": sign,
            "name": key_name(latent, sign),
            "named_by": None,
            "terms": [],
            "fidelity": None,
            "items": int(sizes[s]),
            "weight": float(weights[s]),
            "share": float(weights[s]) / total if total else 0.0,
            **dict.fromkeys(("trend", "series", "hidden")),
            **{name: [] for name in ("spikes", "sites", "neighbours", "with")},
            "group": 0,
        }
        for s, (latent, sign) in enumerate(segments.keys.tolist())
    ]


def _add_names(segments: Segments, parts: list[Fact]) -> None:
    if (naming := segments.naming) is None:
        return
    rates = naming.found.recall, naming.found.precision, naming.found.f1
    for s, part in enumerate(parts):
        part["name"], part["named_by"] = naming.names[s], naming.named_by[s]
        part["terms"] = [{"term": term, "score": score, "items": items} for term, score, items in naming.found.terms[s]]
        if naming.named_by[s] == naming.method:
            part["fidelity"] = dict(
                zip(("recall", "precision", "f1"), (_finite(rate[s]) for rate in rates), strict=True)
            )


def _add_times(segments: Segments, parts: list[Fact], trends: list[Trend]) -> None:
    if (timeline := segments.timeline) is None:
        return
    series = over(timeline.counts.weights, 2)
    for s, part in enumerate(parts):
        part["series"] = series[s].tolist()
    labels = timeline.labels()
    for part, trend in zip(parts, trends, strict=True):
        part["trend"] = _trend(trend, labels)
    ranked = Ranked.by_weight(segments.members, *timeline.items(), len(labels))
    for spike in segments.spikes():
        if len(parts[spike.segment]["spikes"]) < SPIKES:
            items = ranked.strongest(spike.segment * len(labels) + spike.bin, ITEMS)
            parts[spike.segment]["spikes"].append(_spike(spike, labels[spike.bin], [row for row, _ in items]))


def _trend(trend: Trend, labels: list[str]) -> Fact:
    return {
        "class": trend.kind,
        "from": labels[trend.start],
        "to": labels[trend.stop - 1],
        "z": trend.z,
        "ratio": _finite(trend.ratio),
        "last_ratio": _finite(trend.last_ratio),
        "last_z": trend.last_z,
    }


def _spike(spike: Spike, label: str, rows: list[int]) -> Fact:
    largest = {"row": spike.largest_item, "share": spike.largest_share, "z_without": spike.z_without, "text": None}
    return {
        "bin": spike.bin,
        "label": label,
        "weight": spike.weight,
        "expected": spike.expected,
        "z": spike.z,
        "largest": largest,
        "one_item": spike.one_item,
        "items": [{"row": row, "text": None} for row in rows],
    }


def _add_sites(segments: Segments, parts: list[Fact]) -> None:
    if segments.timeline is None or len(segments.timeline.sites) < 2:
        return
    found, shares, sites = segments.by_site(), segments.site_shares(), segments.timeline.sites
    for s, part in enumerate(parts):
        order = np.argsort(-np.abs(found.z[s]), kind="stable")
        part["sites"] = [
            {"site": sites[g], "series": shares[s, :, g].tolist()}
            | {name: float(getattr(found, name)[s, g]) for name in ("weight", "ratio", "z")}
            for g in order[found.significant[s, order]][:STRONGEST].tolist()
        ]


def _add_hidden(segments: Segments, parts: list[Fact]) -> None:
    if segments.timeline is None or not segments.timeline.weighted:
        return
    found = segments.hidden()
    for s in np.flatnonzero(found.hidden).tolist():
        parts[s]["hidden"] = {"ratio": float(found.ratio[s]), "z": float(found.z[s])}


def _add_atoms(segments: Segments, parts: list[Fact]) -> None:
    found = segments.together()
    for s, part in enumerate(parts):
        kept = [t for t in _largest(found.z[s]) if found.z[s, t] > 2]
        part["with"] = [{"id": t, "z": float(found.z[s, t]), "ratio": float(found.ratio[s, t])} for t in kept]
    if segments.model is None:
        return
    cosines = segments.cosines.copy()
    np.fill_diagonal(cosines, -np.inf)
    for s, part in enumerate(parts):
        part["neighbours"] = [
            {"id": t, "cosine": float(cosines[s, t])} for t in _largest(cosines[s]) if cosines[s, t] > 0
        ]


def _add_items(segments: Segments, parts: list[Fact]) -> None:
    ranked, opposite = Ranked.by_strength(segments.members), opposite_items(segments.codes, segments.keys, OTHERS)
    for s, part in enumerate(parts):
        kinds = {
            "strongest": ranked.strongest(s, STRONGEST),
            "median": ranked.median(s, OTHERS),
            "borderline": ranked.borderline(s, OTHERS),
            "opposite": opposite[s],
        }
        for kind, items in kinds.items():
            part[kind] = [{"row": row, "strength": strength, "text": None} for row, strength in items]


def _add_texts(segments: Segments, parts: list[Fact]) -> None:
    """Fill in the texts of all items that are shown, in one pass."""
    if (naming := segments.naming) is None:
        return
    shown = [item for part in parts for item in items_of(part) if item["row"] < naming.n]
    texts = pick_texts(naming.texts, {item["row"] for item in shown})
    for item in shown:
        item["text"] = texts.get(item["row"])


def items_of(part: Fact) -> list[Fact]:
    """Return the items that the facts of a segment show: row, and text or None."""
    of_spikes = [item for spike in part["spikes"] for item in (spike["largest"], *spike["items"])]
    return [*of_spikes, *(item for kind in ("strongest", "median", "borderline", "opposite") for item in part[kind])]


def _groups(segments: Segments, parts: list[Fact], n_groups: int | None) -> list[Fact]:
    if segments.model is None:
        return []
    of_segment = segments.groups(math.ceil(math.sqrt(len(parts))) if n_groups is None else n_groups)
    groups = []
    for group in range(int(of_segment.max()) + 1):
        members = np.flatnonzero(of_segment == group).tolist()
        for s in members:
            parts[s]["group"] = group
        largest = sorted(members, key=lambda s: (-parts[s]["items"], s))[:OTHERS]
        name = ", ".join(dict.fromkeys(parts[s]["name"].split(", ")[0] for s in largest))
        groups.append({"id": group, "name": name, "segments": members})
    return groups


def _bins(segments: Segments) -> Fact:
    timeline = segments.require_timeline()
    return {"unit": timeline.unit, "labels": timeline.labels(), "totals": over(timeline.counts.totals, 1).tolist()}


def _lists(trends: list[Trend], parts: list[Fact]) -> Fact:
    """Return the segments that rose and fell in the last window, and those that are strong but overlooked."""
    z = np.array([trend.last_z for trend in trends])
    changed = np.array([trend.last_significant for trend in trends], bool)
    rising, falling = (_ordered(-sign * z, changed & (sign * z > 0)) for sign in (1, -1))
    hidden = [part["hidden"] is not None for part in parts]
    strength = np.array([-part["hidden"]["z"] if part["hidden"] else 0.0 for part in parts])
    return {"rising": rising, "falling": falling, "hidden": _ordered(strength, np.array(hidden))}


def _ordered(keys: Floats, kept: NDArray[np.bool_]) -> list[int]:
    order = np.argsort(keys, kind="stable")
    result: list[int] = order[kept[order]].tolist()
    return result


def _largest(row: Floats) -> list[int]:
    result: list[int] = np.argsort(-row, kind="stable")[:STRONGEST].tolist()
    return result


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
