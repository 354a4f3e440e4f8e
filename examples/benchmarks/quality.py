"""What compression costs downstream: nDCG@10 of relevance pairs, and recall of the dense neighbours, over several models."""

from __future__ import annotations

import argparse

from benchmarks.measure import head, line, load
from compressae_ref import load_model
from compressae_ref.evaluation.evaluate import Row, evaluate
from compressae_ref.evaluation.relevance import load_relevance

BITS = 5
TOPS = (10, 100)
COLUMNS = ("method", "refined", "k", "query k", "bits", "bytes", *(f"recall@{top}" for top in TOPS), "nDCG@10")


def quality(options: argparse.Namespace) -> None:
    """Evaluate each model; with --baselines other ways of storing dense vectors, once, since they use no model.

    Models that differ only in their seed show how much of a figure is chance. The last three columns list one value for
    each model.
    """
    items, queries, pairs = load(options.embeddings), load(options.queries), load_relevance(options.relevance)
    found: dict[tuple[object, ...], list[Row]] = {}
    for number, path in enumerate(options.models):
        rows = evaluate(
            load_model(path), items, queries, ks=options.k, tops=TOPS, bits=[BITS], relevance=pairs,
            baselines=options.baselines and number == 0,
        )  # fmt: skip
        for row in rows:
            found.setdefault(_key(row), []).append(row)
    head(*COLUMNS, text=2)
    for key, rows in found.items():
        recalls = [[round(row.recall[top], 4) for row in rows] for top in TOPS]
        line(*key, *recalls, [round(row.ndcg or 0, 4) for row in rows])


def _key(row: Row) -> tuple[object, ...]:
    return row.method, "refined" if row.refined else "", row.k, row.query_k, row.bits, row.bytes_per_item
