"""Models side by side in real engines, in sparse space: what is found, how useful it is, and how fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.engines import edge, milvus, postgres
from benchmarks.measure import head, in_turns, line, load, same, spread
from benchmarks.stores import TOP, as_found, our_search
from compressae_ref import Model, load_model
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.judge import NDCG_TOP
from compressae_ref.files.relevance import Relevance, as_relevance, load_relevance
from compressae_ref.metrics import ndcg_at
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.stores.contract import Found, Store
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.query import overlap, search_store
from compressae_ref.stores.stored_form import serving

SPACE = "sparse"

QUERY_ENTRIES = (1, 4)
"""Entries of a query, in multiples of those of an item."""

SLOW = 50
"""Queries in a turn of an engine that takes many milliseconds for each. All queries are asked once, for recall."""

ROUNDING = 1e-5
"""Bound on the error of a cosine in float32: 130 roundings of at most 2⁻²⁴ each are 8e-6."""

Ask = Callable[[Any, int], list[Found]]
"""Search with dense queries (n_q, d), of which so many entries are used."""


class Problem(NamedTuple):
    """Models, their items and queries, and what should be found."""

    models: dict[str, Model]
    x: np.ndarray
    queries: np.ndarray
    turns: int
    near: list[Found]
    relevance: Relevance


def models(options: argparse.Namespace) -> None:
    """Push the codes of each model into each engine, and ask the models in turns."""
    problem = _problem(options)
    head(
        "engine", "search", "model", "query entries", f"recall@{TOP} of dense", f"nDCG@{NDCG_TOP}, % of dense",
        "agreement with our search", "ms per query", f"time, {next(iter(problem.models))} = 1", text=3,
    )  # fmt: skip
    for in_engine in (_in_edge, _in_postgres, _in_milvus, _in_seismic):
        in_engine(problem)


def _problem(options: argparse.Namespace) -> Problem:
    x, all_queries = load(options.embeddings), load(options.queries)
    relevance = as_relevance(load_relevance(options.relevance), len(all_queries), len(x))
    queries = all_queries[: options.asked]
    asked = {query: grades for query, grades in relevance.items() if query < len(queries)}
    if not asked:
        raise DomainError(
            f"expected a relevant item of the first {len(queries)} queries, got none", hint="give a larger --asked"
        )
    named = {Path(path).stem: load_model(path) for path in options.models}
    if len(named) < len(options.models):
        raise DomainError("expected model files with different names, got two of one name", hint="rename one")
    near = as_found(*nearest_dense(queries, x, TOP))
    return Problem(named, x, queries, options.turns, near, asked)


def _dense(name: str, store: Store, problem: Problem, at_once: int | None = None) -> None:
    """Measure the dense field before codes stand beside it, while every engine searches it exactly."""
    found, some = store.query_dense(problem.queries, TOP), problem.queries[:at_once]
    seconds = in_turns(problem.turns, 1, dense=lambda: store.query_dense(some, TOP))["dense"] / len(some)
    line(name, "exact", "dense vectors", "", *_quality(found, problem), "", f"{1e3 * np.median(seconds):.2f}", "")


def _in_edge(problem: Problem) -> None:
    with edge(problem.x) as store:
        _dense("Qdrant Edge", store, problem)
        asks = _pushed(store, problem)
        store.optimize()
        units = np.asarray(embeddings_of(store))  # it scales dense vectors, so some codes have another entry
        _side_by_side("Qdrant Edge", asks, problem, exact=True, kept=units)


def _in_postgres(problem: Problem) -> None:
    with postgres(problem.x) as store:
        _dense("pgvector, scan", store, problem, at_once=SLOW)
        asks = _pushed(store, problem)
        store._run("VACUUM ANALYZE {table}")  # each push leaves a dead row behind for each item
        _side_by_side("pgvector, scan", asks, problem, exact=True, at_once=SLOW)
        for model in problem.models.values():
            store.build_index(serving(model, None, SPACE, False, None).field, cosine=True)
        for ef in (100, 400):
            store._run(f"SET hnsw.ef_search = {ef}")
            _side_by_side(f"pgvector, HNSW, ef {ef}", asks, problem)


def _in_milvus(problem: Problem) -> None:
    with milvus(problem.x) as store:
        _dense("Milvus Lite", store, problem, at_once=SLOW)
        _side_by_side("Milvus Lite, signs split", _pushed(store, problem), problem, at_once=SLOW)


def _in_seismic(problem: Problem) -> None:
    from compressae_ref.stores.seismic import SeismicCodes

    asks: dict[str, Ask] = {}
    for name, model in problem.models.items():
        form = serving(model, None, SPACE, False, None)
        index = SeismicCodes(form.items(problem.x, "x", "error"))
        asks[name] = lambda queries, query_k, form=form, index=index: index.search(form.queries(queries, query_k), TOP)
    _side_by_side("Seismic, signs split", asks, problem)


def _pushed(store: Store, problem: Problem) -> dict[str, Ask]:
    """Write the codes of all models."""
    for model in problem.models.values():
        push(store, model, space=SPACE)
    settings = {"top": TOP, "space": SPACE}
    return {
        name: lambda queries, query_k, model=model: search_store(store, model, queries, query_k=query_k, **settings)
        for name, model in problem.models.items()
    }


def _side_by_side(
    name: str, asks: dict[str, Ask], problem: Problem, *,
    exact: bool = False, kept: np.ndarray | None = None, at_once: int | None = None,
) -> None:  # fmt: skip
    """Check what is found by each model, then time all models in turns. ``kept``: the items as the engine holds them."""
    x, some = problem.x if kept is None else kept, problem.queries[:at_once]
    for multiple in QUERY_ENTRIES:
        entries = {model: multiple * problem.models[model].k for model in asks}
        cells = {
            model: checked(ask, problem, problem.models[model], x, entries[model], exact) for model, ask in asks.items()
        }
        calls = {model: partial(ask, some, entries[model]) for model, ask in asks.items()}
        seconds = in_turns(problem.turns, 1, **calls)
        first = next(iter(seconds.values()))
        for model, each in seconds.items():
            ratio = "" if each is first else spread(each / first, 2)
            ms = f"{1e3 * np.median(each) / len(some):.2f}"
            line(name, "exact" if exact else "approximate", model, entries[model], *cells[model], ms, ratio)


def checked(ask: Ask, problem: Problem, model: Model, x: np.ndarray, query_k: int, exact: bool) -> tuple[str, str, str]:
    """Return recall, nDCG and agreement with our search, after checking the scores: wrong results are not timed."""
    found, right = ask(problem.queries, query_k), our_search(model, x, problem.queries, SPACE, False, query_k)
    same(*_of_shared_items(right, found), ROUNDING, "scores of the same items")
    if exact:
        same(*map(_by_rank, (right, found)), ROUNDING, "scores of each rank")
    return *_quality(found, problem), f"{overlap(right, found):.4f}"


def _of_shared_items(right: list[Found], found: list[Found]) -> np.ndarray:
    """Return both scores (2, n) of the items that both results of a query hold."""
    pairs = []
    for mine, other in zip(right, found, strict=True):
        theirs = dict(zip(*other, strict=True))
        pairs += [(score, theirs[item]) for item, score in zip(*mine, strict=True) if item in theirs]
    return np.array(pairs).T


def _by_rank(found: list[Found]) -> np.ndarray:
    """Return positive scores (n_q, top): ties may be in any order, and Qdrant leaves out items of score 0."""
    return np.array([np.maximum([*hits.scores, *[0.0] * TOP][:TOP], 0) for hits in found])


def _quality(found: list[Found], problem: Problem) -> tuple[str, str]:
    share = _ndcg(found, problem) / _ndcg(problem.near, problem)
    return f"{overlap(problem.near, found):.4f}", f"{100 * share:.1f}"


def _ndcg(found: list[Found], problem: Problem) -> float:
    """nDCG of the first results; engines may return fewer."""
    ids = [[*hits.ids, *[-1] * NDCG_TOP][:NDCG_TOP] for hits in found]
    return ndcg_at(np.array(ids), problem.relevance)
