"""What serves codes best in PostgreSQL: scans, HNSW, and a cheap first stage whose candidates are re-ranked by codes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.engines import server
from benchmarks.measure import head, in_turns, line, same, spread
from benchmarks.postgres_problem import Problem, Variant, best
from benchmarks.postgres_tables import TOP, Tables, register_binary
from benchmarks.postgres_variants import GROUPS, dense_scan
from compressae_ref.evaluation.judge import NDCG_TOP
from compressae_ref.metrics import ndcg_at, recall_at

SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB", "max_parallel_workers_per_gather": "0"}
"""All tables stay in the server's memory: with the default of 128 MB, each dense scan would copy its table anew."""

AT_ONCE = {"scan": 10, "index": 50}
"""Queries of one variant in a turn. All queries are asked once, for recall."""


def postgres(options: argparse.Namespace) -> None:
    """Measure groups of variants: each is checked, then timed in turns with a scan of the dense vectors."""
    import psycopg

    problem = Problem(options)
    with server(**SERVER) as uri, psycopg.connect(uri, autocommit=True) as connection:
        tables = Tables(connection, len(problem.x))
        print(_versions(tables), end="\n\n")
        head(
            "stored", "search", f"recall@{NDCG_TOP} of dense", f"recall@{TOP} of dense", f"nDCG@{NDCG_TOP}, % of dense",
            "ms per query", "time, dense scan = 1", "bytes per item: values", "table", "index", "index built, s", text=2,
        )  # fmt: skip
        for number, group in enumerate(GROUPS):
            _measured(group(problem, tables), problem, tables, uri, show_first=not number)


def _versions(tables: Tables) -> str:
    """Return what is measured, and whether it could compile expressions."""
    (version, extension, compiles), *_ = tables.run(
        "SELECT current_setting('server_version'), extversion, pg_jit_available() "
        "FROM pg_extension WHERE extname = 'vector'"
    )
    return f"PostgreSQL {version}, pgvector {extension}, JIT {'available' if compiles else 'not available'}"


def _measured(group: Sequence[Variant], problem: Problem, tables: Tables, uri: str, show_first: bool) -> None:
    """Check the variants of a group, time them in turns with the scan of dense vectors, and print their rows."""
    group = [dense_scan(problem), *group]
    counts = [min(AT_ONCE[variant.kind], len(problem.queries)) for variant in group]
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(_session(uri, variant)) for variant in group]
        cells = [
            checked(variant, *_found(session, variant, len(problem.queries)), problem)
            for session, variant in zip(sessions, group, strict=True)
        ]
        searches = [_named(session, variant) for session, variant in zip(sessions, group, strict=True)]
        asks = {
            str(place): partial(_found, *each) for place, each in enumerate(zip(sessions, group, counts, strict=True))
        }
        turns = in_turns(problem.turns, 1, **asks)
    seconds = [each / count for each, count in zip(turns.values(), counts, strict=True)]
    for variant, search, quality, each in list(zip(group, searches, cells, seconds, strict=True))[not show_first :]:
        weights = ["" if size is None else f"{size:.0f}" for size in tables.sizes(variant.table)]
        built = f"{tables.built[variant.table]:.0f}" if variant.table in tables.built else ""
        ms, ratio = f"{1e3 * np.median(each):.1f}", spread(each / seconds[0], 2)
        line(variant.stored, search, *quality, ms, ratio, *weights, built)


def _named(session: Any, variant: Variant) -> str:
    """Return what is searched, and whether the planner prefers a scan to the index."""
    values = {name: every[0] for name, every in variant.values.items()}
    plan = "".join(row for (row,) in session.execute(f"EXPLAIN {variant.sql}", values).fetchall())
    scans = not variant.exact and f"Index Scan using {variant.table}_index" not in plan
    return variant.search + "; the planner scans" * scans


@contextlib.contextmanager
def _session(uri: str, variant: Variant) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        register_binary(connection)
        for name, value in variant.settings.items():
            connection.execute(f"SET {name} = {value}")
        yield connection


def _found(session: Any, variant: Variant, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and distances (queries, TOP) of the first queries; −1 and infinity where fewer items came."""
    ids, distances = np.full((queries, TOP), -1), np.full((queries, TOP), np.inf)
    for query in range(queries):
        values = {name: every[query] for name, every in variant.values.items()}
        rows = session.execute(variant.sql, values, prepare=variant.prepare).fetchall()
        ids[query, : len(rows)], distances[query, : len(rows)] = zip(*rows, strict=True)
    return ids, distances


def checked(variant: Variant, ids: np.ndarray, distances: np.ndarray, problem: Problem) -> list[str]:
    """Return recall and nDCG after comparing the scores with ours: wrong results are not timed."""
    came = ids >= 0
    found = np.where(came, variant.scores_of(distances), -np.inf)
    ours = np.take_along_axis(variant.scores, np.maximum(ids, 0), axis=1)
    same(ours[came], found[came], variant.rounding, f"{variant.search}: scores of the same items")
    if variant.exact:
        # An inverted table does not return items that share no latent with the query: scores up to 0 count as 0.
        least, most, positive = (np.maximum(scores, 0) for scores in (*_expected(variant), found))
        within = np.clip(positive, least - variant.rounding, most + variant.rounding)
        same(within, positive, 0, f"{variant.search}: scores of each rank")
    recalls = [recall_at(ids[:, :top], problem.near[:, :top]) for top in (NDCG_TOP, TOP)]
    return [*(f"{recall:.4f}" for recall in recalls), _relevant(ids, problem)]


def _expected(variant: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest correct scores of each rank: they differ if ties decide who is a candidate."""
    if variant.first is None:
        right = np.take_along_axis(variant.scores, best(variant.scores, TOP), axis=1)
        return right, right
    distances, candidates = variant.first
    last = np.sort(distances, axis=1)[:, min(candidates, distances.shape[1]) - 1, None]
    bounds = []
    for candidate in (distances < last, distances <= last):
        scores = np.where(candidate, variant.scores, -np.inf)
        bounds.append(np.take_along_axis(scores, best(scores, TOP), axis=1))
    return bounds[0], bounds[1]


def _relevant(ids: np.ndarray, problem: Problem) -> str:
    if not problem.relevance:
        return ""
    found, dense = (ndcg_at(each[:, :NDCG_TOP], problem.relevance) for each in (ids, problem.near))
    return f"{100 * found / dense:.1f}"
