"""The inputs of ``choose``: which argument is a model, the goal, and a sample of the rows."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_integer
from compressae_ref.cli.evaluate_steps import require_drawable
from compressae_ref.cli.relevance_option import ids_for_relevance, read_relevance
from compressae_ref.cli.terminal import tell
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.evaluation.choose import Goal, least_bytes
from compressae_ref.evaluation.sample import Sample, drawn_rows, smaller_sample
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.relevance import Relevance, as_relevance, renumbered
from compressae_ref.row_source import NonzeroRows
from compressae_ref.training.settings import MOST_SEED

N_QUERIES = 500
"""Queries to measure with, at most."""

LEAST_SAMPLE = 20
"""Sampled items for each neighbour of recall, at least: among fewer, a search at random finds too many of them."""

FEW_ITEMS = 1000
"""Among fewer items, 100 neighbours would be too easy to find."""


class Files(NamedTuple):
    """The files that the positional arguments name."""

    model: str | None
    embeddings: str
    queries: str | None


def files_of(options: argparse.Namespace) -> Files:
    """Return what each file is: the content of the first one tells whether it is a model. DomainError for too many."""
    given = [name for name in (options.model, options.embeddings, options.queries) if name is not None]
    if content_of(given[0]) != "embeddings":
        if len(given) == 1:
            raise DomainError(f"expected EMBEDDINGS after the model {given[0]}, got none", argument="choose")
        return Files(*given, *[None] * (3 - len(given)))
    if len(given) == 3:
        raise DomainError("expected a model, or EMBEDDINGS and QUERIES alone, got embeddings", path=given[0])
    return Files(None, *given, *[None] * (2 - len(given)))


def goal_of(options: argparse.Namespace) -> Goal:
    """Return the one goal that is given."""
    kinds = ("bytes", "recall", "ndcg")
    given = [kind for kind in kinds if getattr(options, kind) is not None]
    if len(given) != 1:
        got = " and ".join(f"--{kind}" for kind in given) or "none"
        raise DomainError(f"expected exactly one of --bytes, --recall and --ndcg, got {got}", argument="choose")
    (kind,) = given
    if kind == "ndcg" and options.relevance is None:
        raise DomainError("expected --relevance with --ndcg, got --ndcg alone", argument="choose")
    value = getattr(options, kind)
    return Goal(kind, as_integer(value, "bytes") if kind == "bytes" else _as_share(value, kind))  # type: ignore[arg-type]


def _as_share(value: float, kind: str) -> float:
    """Return a number above 0 and at most 1. DomainError for others."""
    if not 0 < value <= 1:  # NaN compares false
        hint = f"for {value:g} % use --{kind} {value / 100:g}" if 1 < value <= 100 else None
        raise DomainError(f"expected a number above 0 and at most 1, got {value:g}", argument=kind, hint=hint)
    return value


def require_reachable(goal: Goal, h: int) -> None:
    """Raise DomainError if no code of any way of serving fits the bytes of a goal.

    Parameters
    ----------
    h : latents of the model
    """
    least = least_bytes(h)
    if goal.kind != "bytes" or goal.value >= min(least.values()):
        return
    each = ", ".join(f"{size} for {serving}" for serving, size in least.items())
    raise DomainError(
        f"expected at least {min(least.values())} bytes, got {goal.value:g}",
        argument="bytes",
        hint=f"the smallest codes take {each}",
    )


def sample_of(options: argparse.Namespace, files: Files, d: int | None) -> Sample:
    """Read a sample of items and queries.

    Parameters
    ----------
    d : the dimension of the model, if there is one
    """
    m = as_integer(options.sample, "sample", 2)
    rng = np.random.default_rng(as_integer(options.seed, "seed", 0, MOST_SEED))
    source = _opened(files.embeddings, options, d)
    dense = source.shape[1]
    if files.queries is None:
        if options.relevance is not None:
            raise DomainError("expected QUERIES with --relevance, got --relevance alone", argument="choose")
        return _with_drawn_queries(source, files, options, m, rng)
    query_source = _opened(files.queries, options, dense if d is None else d, of_queries=True)
    relevance = _relevance(options, query_source, source)
    candidates = np.arange(len(query_source)) if relevance is None else np.array(sorted(relevance))
    rows = np.sort(rng.permutation(candidates)[:N_QUERIES])
    queries = _read(query_source, rows, files.queries, options)
    kept = np.zeros(0, np.int64)
    if relevance is not None:
        relevance = {new: relevance[old] for new, old in enumerate(rows.tolist())}
        kept = np.array(sorted({item for grades in relevance.values() for item in grades}), np.int64)
    nonzero = queries.any(axis=1)
    tell_skipped(files.queries, int((~nonzero).sum()))
    if relevance is not None:
        new_rows = np.cumsum(nonzero) - 1
        relevance = {int(new_rows[row]): grades for row, grades in relevance.items() if nonzero[row]}
    others = rng.permutation(np.setdiff1d(np.arange(len(source)), kept))[: max(0, m - len(kept))]
    numbers = np.sort(np.concatenate([kept, others]))
    return _sample(source, queries[nonzero], numbers, len(source), relevance, files, options, rng)


def _with_drawn_queries(
    source: Any, files: Files, options: argparse.Namespace, m: int, rng: np.random.Generator
) -> Sample:
    """Use rows of the items as queries, which are then not among the items."""
    require_drawable(len(source), "choose")
    n_q = min(N_QUERIES, len(source) // 2)
    drawn = rng.permutation(len(source))[: m + n_q]
    queries = _read(source, np.sort(drawn[:n_q]), files.embeddings, options)
    queries = queries[queries.any(axis=1)]
    return _sample(source, queries, np.sort(drawn[n_q:]), len(source) - n_q, None, files, options, rng)


def _sample(
    source: Any,
    queries: Any,
    numbers: NDArray[np.int64],
    n: int,
    relevance: Relevance | None,
    files: Files,
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> Sample:
    """Return the sample with the items of these numbers, which relevance names by the numbers of all items."""
    items = _read(source, numbers, files.embeddings, options)
    usual = 100 if len(items) >= FEW_ITEMS else min(10, len(items))
    top = usual if options.top is None else as_integer(options.top, "top")
    if top > len(items):
        raise DomainError(f"expected at most as many neighbours as the {len(items)} items, got {top}", argument="top")
    if len(items) < min(n, LEAST_SAMPLE * top):
        got = f"got {len(items):,} of {n:,} for recall@{top}"
        raise DomainError(
            f"expected at least {LEAST_SAMPLE} sampled items for each neighbour, {got}",
            argument="sample",
            hint=f"use --sample {LEAST_SAMPLE * top}, or a lower --top",
        )
    if not len(queries):
        raise DomainError("expected at least one query that is not zero, got none", argument="choose")
    kept = np.zeros(0, np.int64)
    if relevance is not None:
        rows = {number: row for row, number in enumerate(numbers.tolist())}
        relevance = {
            query: {rows[item]: grade for item, grade in grades.items()} for query, grades in relevance.items()
        }
        kept = np.array(sorted({item for grades in relevance.values() for item in grades}), np.int64)
    return Sample(items, queries, n, top, smaller_sample(len(items), kept, rng), relevance)


def _relevance(options: argparse.Namespace, queries: Any, items: Any) -> Relevance | None:
    every = items.source if isinstance(items, NonzeroRows) else items
    related = read_relevance(options, QUERIES=queries, EMBEDDINGS=every)
    if related is None:
        return None
    for note in related.notes:
        tell(note)
    with related.naming():
        return renumbered(as_relevance(related.pairs, len(queries), len(every)), queries, items)


def _opened(path: str, options: argparse.Namespace, d: int | None, of_queries: bool = False) -> Any:
    source = open_embeddings(path, ids=ids_for_relevance(options), follow_links=options.follow_links)
    with naming_file(path):
        if d is not None and source.shape[1] != d:
            drawn_rows(source, np.zeros(1, np.int64), d=d)
        if options.zero_rows != "skip" or of_queries:
            return source
        left = NonzeroRows(source, d=d)
    tell_skipped(path, left.skipped)
    return left


def _read(source: Any, rows: NDArray[np.int64], path: str, options: argparse.Namespace) -> Any:
    with naming_file(path):
        return drawn_rows(source, rows, zeros=options.zero_rows != "error")
