"""What compression costs downstream: nDCG@10 of relevance pairs, and recall of the dense neighbours, over several models."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import Codes, encode_refined, load_model, pack, search
from compressae_ref.evaluation.evaluate import NDCG_TOP, Row, evaluate
from compressae_ref.files.relevance import as_relevance, load_relevance
from compressae_ref.metrics import ndcg_of_each
from compressae_ref.retrieval.brute_force import nearest_dense

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
            load_model(path), items, queries, ks=options.k, tops=TOPS, bits=[BITS], relevance=pairs, fitted=options.fitted,
            baselines=options.baselines and number == 0,
        )  # fmt: skip
        for row in rows:
            found.setdefault(_key(row), []).append(row)
    head(*COLUMNS, text=2)
    for key, rows in found.items():
        recalls = [[round(row.recall[top], 4) for row in rows] for top in TOPS]
        line(*key, *recalls, [round(row.ndcg or 0, 4) for row in rows])


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
