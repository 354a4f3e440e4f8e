"""Vector databases as they are: what is found in each space, how fast, in how many bytes; signs where they are refused."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.engines import edge, milvus, postgres
from benchmarks.measure import head, line, load
from compressae_ref import Codes, Index, Model, encode_refined, load_model
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.stores.contract import Found, Store
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.query import RESCORED, overlap, search_store
from compressae_ref.stores.stored_form import serving

TOP = 100
ASKED = (
    ("sparse", 128),
    ("reconstructed", None),
    ("asymmetric", None),
    ("expanded", None),
    ("expanded", 1024),
)  # fmt: skip
"""Spaces, and entries of a query where they are not the usual ones."""


def stores(options: argparse.Namespace) -> None:
    """Push into each engine, ask in each space, and compare with our own search and with the dense neighbours."""
    model, x = load_model(options.model), load(options.embeddings)
    queries = load(options.queries)[: options.asked]
    near = as_found(*nearest_dense(queries, x, TOP))
    head(
        "engine", "codes", "space", f"recall@{TOP} of the dense", "as our search finds", "scores differ by", "ms per query",
        "pushed a second", "bytes per item, dense", "codes", text=3,
    )  # fmt: skip
    for name, make in {"Qdrant Edge": edge, "pgvector, scan": postgres}.items():
        with make(x) as store:
            kept = np.asarray(
                embeddings_of(store)
            )  # Qdrant makes them unit: a bit more or less, and another entry counts
            _pushed_and_asked(name, store, model, kept, queries, near)
            if name.startswith("pgvector"):
                _approximate(store, model, kept, queries, near)


def _pushed_and_asked(name: str, store: Store, model: Model, x: Any, queries: Any, near: list[Found]) -> None:
    store.query_dense(queries[:2], TOP)
    started = time.perf_counter()
    found = store.query_dense(queries, TOP)
    seconds = (time.perf_counter() - started) / len(queries)
    line(name, "", "dense vectors", f"{overlap(near, found):.4f}", "", "", f"{1e3 * seconds:.2f}", "", "", "")
    for refine in (False, True):
        rates = {}
        for space, query_k in ASKED:
            started = time.perf_counter()
            pushed = push(store, model, space=space, refine=refine)
            if pushed.written:
                rates[pushed.field] = len(x) / (time.perf_counter() - started)
                if hasattr(store, "optimize"):
                    store.optimize()
            found, seconds = _asked(store, model, queries, space=space, refine=refine, query_k=query_k)
            ours = our_search(model, x, queries, space, refine, query_k)
            shown = space if query_k is None else f"{space}, query of {query_k}"
            sizes, rate = store.sizes(pushed.field), rates[pushed.field]
            _say(name, refine, shown, found, ours, near, seconds, rate, sizes, len(x))


def _approximate(store: Any, model: Model, x: Any, queries: Any, near: list[Found]) -> None:
    """Indexes of PostgreSQL: by cosine in the sparse space, by inner product in the others."""
    for space, refine, query_k in (("sparse", False, 128), ("expanded", True, None)):
        field = serving(model, None, space, refine, None).field
        started = time.perf_counter()
        store.build_index(field, cosine=space == "sparse")
        seconds, size = time.perf_counter() - started, store.sizes(field)["index"] / len(x)
        print(f"HNSW on {field}: built in {seconds:.0f} s, {size:.0f} bytes per item")
        ours = our_search(model, x, queries, space, refine, query_k)
        for ef in (100, 400):
            store._run(f"SET hnsw.ef_search = {ef}")
            found, seconds = _asked(store, model, queries, space=space, refine=refine, query_k=query_k)
            name, sizes = f"pgvector, HNSW, ef {ef}", store.sizes(field)
            _say(name, refine, space, found, ours, near, seconds, float("nan"), sizes, len(x))


def _asked(store: Store, model: Model, queries: Any, **settings: Any) -> tuple[list[Found], float]:
    search_store(store, model, queries[:2], TOP, **settings)
    started = time.perf_counter()
    found = search_store(store, model, queries, TOP, **settings)
    return found, (time.perf_counter() - started) / len(queries)


def our_search(model: Model, x: Any, queries: Any, space: Any, refine: bool, query_k: int | None = None) -> list[Found]:
    codes = encode_refined(x, model) if refine else model.encode(x)
    hits = Index.build(codes, space=space, model=model).search(queries, TOP, query_k=query_k)
    return as_found(*hits)


def as_found(ids: np.ndarray, scores: np.ndarray) -> list[Found]:
    """Return the results of a search as those of a store."""
    return [Found(*pair) for pair in zip(ids.tolist(), scores.tolist(), strict=True)]


def _say(
    name: str, refine: bool, space: str, found: list[Found], ours: list[Found], near: list[Found], seconds: float,
    rate: float, sizes: dict[str, int], n: int,
) -> None:  # fmt: skip
    shared = [
        (score, dict(zip(*other, strict=True)).get(each))
        for mine, other in zip(found, ours, strict=True)
        for each, score in zip(*mine, strict=True)
    ]
    worst = max(abs(score - other) for score, other in shared if other is not None)
    line(
        name, "refined" if refine else "encoded", space, f"{overlap(near, found):.4f}", f"{overlap(ours, found):.4f}",
        f"{worst:.0e}", f"{1e3 * seconds:.2f}", "" if np.isnan(rate) else f"{rate:,.0f}",
        f"{sizes['dense'] / n:.0f}", f"{sizes['codes'] / n:.0f}",
    )  # fmt: skip


# -- engines that take no negative values -----------------------------------------------------------------------------


def signs(options: argparse.Namespace) -> None:
    """Recall of the exact results of signed codes: split signs, magnitudes alone, negative values cut off."""
    model, x = load_model(options.model), load(options.embeddings)[: max(options.items)]
    queries = load(options.queries)[: options.asked]
    head(
        "engine", "items", "space", "what is stored", "fetched", "recall@10 of the exact codes", "ms per query", text=4
    )
    for space in ("sparse", "expanded"):
        how = serving(model, None, space, False, None)
        items, asked = how.items(x, "x", "error"), how.queries(queries, None)
        hits = Index.build(model.encode(x), space=space, model=model).search(queries, 10)
        exact = as_found(*hits)
        for name, make in {"Seismic": _seismic, "Milvus Lite": _milvus}.items():
            for stored, change in CHANGES.items():
                with make(change(items)) as search:
                    if search is None:
                        line(name, f"{len(x):,}", space, stored, "", "refused", "")
                        continue
                    for fetch in (10, 10 * RESCORED) if stored == "signs split" else (10,):
                        started = time.perf_counter()
                        found = [
                            _again(items, u, ids, fetch > 10)
                            for u, ids in zip(asked.to_dense(), search(change(asked), fetch), strict=True)
                        ]
                        seconds = (time.perf_counter() - started) / len(queries)
                        what = f"{fetch}, scored again" if fetch > 10 else fetch
                        line(
                            name,
                            f"{len(x):,}",
                            space,
                            stored,
                            what,
                            f"{overlap(exact, found):.4f}",
                            f"{1e3 * seconds:.2f}",
                        )


def _again(items: Codes, u: np.ndarray, ids: list[int], scored: bool) -> Found:
    """The best ten, by the codes themselves where they are scored again."""
    if not scored:
        return Found(ids[:10], [])
    scores = np.sum(u[items.indices[ids]] * items.values[ids], axis=1)
    return Found([ids[place] for place in np.argsort(-scores)[:10]], [])


CHANGES: dict[str, Callable[[Codes], Codes]] = {
    "signs as they are": lambda codes: codes,
    "signs split": Codes.split_signs,
    "magnitudes": lambda codes: Codes.trusted(codes.indices, np.abs(codes.values), codes.n_latents),
    "negative values cut off": lambda codes: Codes.trusted(codes.indices, np.maximum(codes.values, 0), codes.n_latents),
}


@contextmanager
def _seismic(vectors: Codes) -> Iterator[Callable[[Codes, int], list[list[int]]]]:
    from compressae_ref.stores.seismic import RawSeismic

    index = RawSeismic(vectors)
    yield lambda asked, top: index.search(asked, top)


@contextmanager
def _milvus(vectors: Codes) -> Iterator[Callable[[Codes, int], list[list[int]]] | None]:
    if (vectors.values < 0).any():
        yield None  # it refuses them
        return
    with milvus(np.ones((len(vectors), 2), np.float32)) as store:
        store.add_field("raw", vectors.n_latents)
        for start in range(0, len(vectors), 2000):
            block = vectors[start : start + 2000]
            store.write("raw", range(start, start + len(block)), block)
        yield lambda asked, top: [found.ids for found in store.query("raw", asked, top)]
