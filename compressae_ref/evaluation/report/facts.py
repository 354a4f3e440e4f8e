"""Everything that the report about a model shows, as one dictionary for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.center import MeanDirection
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.encoded_items import EncodedItems
from compressae_ref.evaluation.frontier import label, on_frontier, series
from compressae_ref.evaluation.judge import Row
from compressae_ref.extensions.packed_codes import PackedCodes, pack
from compressae_ref.item_values import KeptTexts
from compressae_ref.metrics import dead_latents, effective_latents, latent_usage, mean_cosine
from compressae_ref.model import Model, aux_k
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.index import search
from compressae_ref.segments.evidence import Ranked
from compressae_ref.segments.membership import Rule, keys_of
from compressae_ref.segments.names import pick_texts
from compressae_ref.segments.segments import Segments
from compressae_ref.training.history import read_history

LATENTS, STRONGEST = 200, 6
"""Latents that are shown, and items of each."""
QUERIES, TOP = 10, 5
"""Queries that are shown, and results of each search."""
PAIRED = 10_000
"""Rows from which mean cosines are computed, evenly spaced."""
POINTS = 200
"""Points of the curve of used latents."""

Fact = dict[str, Any]


class Rows(NamedTuple):
    """Embeddings, and what people call them."""

    x: Floats
    """(n, d)"""
    numbers: NDArray[np.int64]
    """the numbers of the rows in their file"""
    ids: NDArray[Any] | None = None
    """an id for each row of the file"""
    texts: Iterable[str | None] | None = None
    """a text for each row of the file, iterable several times"""


def facts(
    title: str,
    model: Model,
    items: Rows,
    queries: Rows,
    rows: Sequence[Row],
    encoded: EncodedItems,
    *,
    bits: int = 5,
    backend: str | Backend | None = None,
    stage: Callable[[str], Any],
) -> Fact:
    """Return the facts of a model on data. Numbers are finite, or None.

    Parameters
    ----------
    items, queries : as they were given to `evaluate`
    rows, encoded : the results of `evaluate`, and the codes that it hands over
    bits : bits per value of the codes that are searched
    stage : a context manager that says what is being done
    """
    with stage("reading the latents"):
        codes = encoded.codes(model.k)
        latents, count = _latents(model, codes, items)
    with stage("searching before and after"):
        packed = pack(encoded.refined(model.k), bits, backend=backend)
        searches = _searches(model, codes, packed, items, queries, backend)
    _add_names(latents, searches, items, queries)
    return {
        "title": title,
        "items": len(items.x),
        "queries": len(queries.x),
        "d": model.params.d,
        "latents": model.params.n_latents,
        "k": model.k,
        "digest": model.digest,
        "training": {name: value for name, value in model.training.items() if name != "history"},
        "history": read_history(model.training),
        "dense_bytes": 4 * model.params.d,
        "packed_bytes": packed.bytes_per_item,
        "quality": [_quality(row, rows) for row in rows],
        "series": [{**line._asdict(), "points": [[*point] for point in line.points]} for line in series(rows)],
        "cosines": _cosines(model, codes, items),
        "usage": _usage(codes),
        "keys": count,
        "strongest": latents,
        "searches": searches,
    }


def _quality(row: Row, rows: Sequence[Row]) -> Fact:
    return row.as_json() | {"label": label(row), "frontier": on_frontier(row, rows)}


def _cosines(model: Model, codes: Codes, items: Rows) -> Fact:
    """Return the mean cosine of rows and their reconstructions, and that of random pairs of rows, to compare with."""
    places = np.unique(np.linspace(0, len(items.x) - 1, PAIRED).round().astype(np.int64))
    places = places[np.any(items.x[places], axis=1)]
    if not len(places):
        return {"reconstruction": None, "pairs": None}
    x_unit = unit_rows(items.x[places], model.params.dtype)
    mean = MeanDirection(model.params.d)
    mean.add(x_unit)
    reconstruction = mean_cosine(x_unit, model.decode(codes[places]))
    return {"reconstruction": _finite(reconstruction), "pairs": _finite(mean.mean_cosine())}


def _usage(codes: Codes) -> Fact:
    """Return how many items store each latent, most used first, at evenly spaced ranks."""
    usage = np.sort(latent_usage(codes))[::-1]
    ranks = np.unique(np.linspace(0, len(usage) - 1, POINTS).round().astype(np.int64))
    return {
        "dead": dead_latents(codes),
        "effective": effective_latents(codes),
        "ranks": ranks.tolist(),
        "items": usage[ranks].tolist(),
    }


def _latents(model: Model, codes: Codes, items: Rows) -> tuple[list[Fact], int]:
    """Return the largest signed latents with their strongest items, and the number of all that lead an item."""
    least = next((least for least in (5, 2, 1) if len(keys_of(codes, Rule(min_items=least)))), None)
    if least is None or len(codes) < 2:
        return [], 0
    found = Segments.build(codes, model=model, min_items=least)
    if items.texts is not None:
        try:
            found.name(KeptTexts(items.texts, np.isin(np.arange(items.numbers.max() + 1), items.numbers)))
        except DomainError:  # no text has a word
            found.naming = None
    sizes, ranked = found.sizes(), Ranked.by_strength(found.members)
    largest = np.argsort(-sizes, kind="stable")[:LATENTS].tolist()
    stored = latent_usage(codes)
    return [
        {
            "latent": int(found.keys[s, 0]),
            "sign": int(found.keys[s, 1]),
            "name": None if found.naming is None else found.naming.names[s],
            "leads": int(sizes[s]),
            "stored": int(stored[found.keys[s, 0]]),
            "items": [{"place": row, "strength": strength} for row, strength in ranked.strongest(s, STRONGEST)],
        }
        for s in largest
    ], len(found)


def _searches(
    model: Model, codes: Codes, packed: PackedCodes, items: Rows, queries: Rows, backend: str | Backend | None
) -> list[Fact]:
    asked = np.flatnonzero(np.any(queries.x, axis=1))
    chosen = asked[np.unique(np.linspace(0, len(asked) - 1, min(QUERIES, len(asked))).round().astype(np.int64))]
    x = queries.x[chosen]
    query_k = aux_k(model.k, model.params.n_latents)
    settings: Fact = {"model": model, "backend": backend}
    dense = nearest_dense(x, items.x, TOP)
    refined = search(x, packed.unpack(backend=backend), TOP, space="asymmetric", **settings)
    sparse = search(x, codes, TOP, space="sparse", query_k=query_k, **settings)
    found = {"dense": dense, "refined": refined, "sparse": sparse}
    return [
        {
            "place": int(place),
            **{
                name: [
                    {"place": int(item), "score": float(score), "kept": int(item) in dense.ids[at]}
                    for item, score in zip(hits.ids[at], hits.scores[at], strict=True)
                ]
                for name, hits in found.items()
            },
        }
        for at, place in enumerate(chosen)
    ]


def _add_names(latents: Sequence[Fact], searches: Sequence[Fact], items: Rows, queries: Rows) -> None:
    """Replace the places of items and queries by row numbers of their files, with ids and texts."""
    of_items = [item for latent in latents for item in latent["items"]]
    of_items += [item for one in searches for name in ("dense", "refined", "sparse") for item in one[name]]
    for things, rows in ((of_items, items), (searches, queries)):
        numbers = [int(rows.numbers[thing.pop("place")]) for thing in things]
        texts = {} if rows.texts is None else pick_texts(rows.texts, numbers)
        for thing, number in zip(things, numbers, strict=True):
            thing |= {
                "row": number,
                "id": None if rows.ids is None else str(rows.ids[number]),
                "text": texts.get(number),
            }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
