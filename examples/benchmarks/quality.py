"""What compression costs downstream: nDCG@10 of relevance pairs, and recall of the dense neighbours, over several models."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import Codes, DomainError, Index, Model, encode_refined, load_model, pack, search
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.bit_packing import BITS as EVERY_BITS
from compressae_ref.evaluation.baselines import Baseline, baselines
from compressae_ref.evaluation.evaluate import evaluate, residual_row
from compressae_ref.evaluation.frontier import label
from compressae_ref.evaluation.judge import NDCG_TOP, Judge, Row, Way
from compressae_ref.evaluation.leaders import leaders_sentence
from compressae_ref.extensions.residual_fit import as_bytes
from compressae_ref.files.relevance import as_relevance, load_relevance
from compressae_ref.metrics import bytes_per_row, ndcg_of_each
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import best_products, nearest_dense, unit_or_zero

BITS = 5
TOPS = (10, 100)
MEASURES = (*(f"recall@{top}" for top in TOPS), "nDCG@10")
COLUMNS = ("method", "refined", "k", "query k", "bits", "bytes", *MEASURES, *(f"{name} ±" for name in MEASURES))


def quality(options: argparse.Namespace) -> None:
    """Evaluate each model; with --baselines other ways of storing dense vectors, once, since they use no model.

    With --sizes the rows are those of `at_sizes`. Models that differ only in their seed show how much of a figure is
    chance. The last six columns list one value for each model; ± is half the width of the 95 % interval over queries.
    """
    items, queries = load(options.embeddings), load(options.queries)
    pairs = None if options.relevance is None else load_relevance(options.relevance)
    found: dict[tuple[object, ...], list[Row]] = {}
    for number, path in enumerate(options.models):
        model, compared = load_model(path), options.baselines and number == 0
        if options.sizes:
            others = baselines(unit_or_zero(items), [], options.sizes, options.without) if compared else ()
            rows = [_told(row) for row in at_sizes(model, items, queries, pairs, options.sizes, others)]
        else:
            rows = evaluate(
                model, items, queries, ks=options.k, tops=TOPS, bits=[BITS], relevance=pairs, fitted=options.fitted,
                baselines=compared,
            )  # fmt: skip
        if compared:
            first = rows
        for row in rows:
            found.setdefault(_key(row), []).append(row)
    head(*COLUMNS, text=2)
    for key, rows in found.items():
        line(*key, *_values(rows, "recall", "ndcg"), *_values(rows, "recall_error", "ndcg_error"))
    if options.baselines:
        print(f"\n{leaders_sentence(first)}")


def _told(row: Row) -> Row:
    """Print a row to stderr as soon as it is measured, because all of them take long."""
    print(f"{time.strftime('%X')} {label(row)}, {row.bytes_per_item} bytes: {row.recall}", file=sys.stderr, flush=True)
    return row


def _values(rows: Sequence[Row], recall: str, ndcg: str) -> Iterator[list[float] | None]:
    """Yield a list for each measure, with a value for each model; None instead of nDCG without relevance."""
    for top in TOPS:
        yield [round(getattr(row, recall)[top], 4) for row in rows]
    gains = [getattr(row, ndcg) for row in rows]
    yield None if None in gains else [round(gain, 4) for gain in gains]


def at_sizes(
    model: Model, items: Floats, queries: Floats, pairs: Any, sizes: Sequence[int], others: Iterable[Baseline]
) -> Iterator[Row]:
    """Evaluate refined, packed codes with dense queries at every `fitting` k and bits, residual codes, and others."""
    dense, x_q = unit_or_zero(items), unit_rows(queries, np.float32)
    relevance = None if pairs is None else as_relevance(pairs, len(queries), len(items))
    truth = nearest_dense(queries, dense, max(TOPS)).ids
    judge = Judge(queries, TOPS, truth, bytes_per_row(dense), relevance, timed=False)
    yield judge.row("dense", judge.dense_bytes, lambda: best_products(x_q, dense, judge.most).ids)
    for k, bits in dict.fromkeys(pair for size in sizes for pair in fitting(model, size)):
        packed = pack(encode_refined(dense, model, k), bits)
        index = Index.build(packed, space="asymmetric", model=model)
        find = _searching(index, queries, judge.most)
        yield judge.row("asymmetric", packed.bytes_per_item, find, Way(k, bits, refined=True))
    for size in filter(lambda size: holds_residual_codes(model, size), sizes):
        yield residual_row(model, dense, judge, size)
    for one in others:
        yield judge.row(one.method, one.bytes_per_item, lambda one=one: one.search(x_q, judge.most))  # type: ignore[misc]


def holds_residual_codes(model: Model, size: int) -> bool:
    """Return whether there are residual codes of ``size`` bytes."""
    try:
        as_bytes(size, model)
    except DomainError:
        return False
    return True


def _searching(index: Index, queries: Floats, top: int) -> Any:
    return lambda: index.search(queries, top).ids


def fitting(model: Model, size: int) -> list[tuple[int, int]]:
    """Return (k, bits) for each number of bits: the largest k whose packed codes take at most ``size`` bytes."""
    h, found = model.params.n_latents, []
    for bits in EVERY_BITS:
        smaller = [k for k in range(1, min(h, 4 * size) + 1) if _packed_bytes(k, h, bits) <= size]
        found += [(smaller[-1], bits)] if smaller else []
    return found


def _packed_bytes(k: int, h: int, bits: int) -> int:
    nothing = Codes(np.empty((0, k), np.int32), np.empty((0, k), np.float32), h)
    return pack(nothing, bits).bytes_per_item


def noise(options: argparse.Namespace) -> None:
    """Standard error of nDCG@10 as a percentage of dense: how much depends on which queries were drawn."""
    model, items, queries = load_model(options.model), load(options.embeddings), load(options.queries)
    relevance = as_relevance(load_relevance(options.relevance), len(queries), len(items))
    dense = ndcg_of_each(nearest_dense(queries, items, NDCG_TOP).ids, relevance)
    codes = model.encode(items)
    refined = pack(encode_refined(items, model), BITS).unpack()
    ways: dict[str, tuple[Codes, dict[str, Any]]] = {
        "codes, sparse queries": (codes, {"space": "sparse", "query_k": 4 * codes.k}),
        "codes, dense queries": (codes, {"space": "asymmetric"}),
        "refined and packed codes, dense queries": (refined, {"space": "asymmetric"}),
    }
    head("items stored as", "% of dense", "standard error", text=1)
    for name, (stored, way) in ways.items():
        shares = ndcg_of_each(search(queries, stored, NDCG_TOP, model=model, **way).ids, relevance) / dense.mean()
        error = (shares - dense / dense.mean()).std() / np.sqrt(len(shares))
        line(name, f"{100 * shares.mean():.1f}", f"{100 * error:.1f}")


def _key(row: Row) -> tuple[object, ...]:
    return (
        row.method,
        "refined" if row.refined else "fitted" if row.fitted else "",
        row.k,
        row.query_k,
        row.bits,
        row.bytes_per_item,
    )
