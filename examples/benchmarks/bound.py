"""Recall in sparse space of codes that are fitted: to anchors, or to the very queries, which is a bound."""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import Anchors, Codes, encode_fitted, get_backend, load_model, recall_at, search
from compressae_ref.backends.numpy.descent import unit_codes
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense

TOP, TEMPERATURE, RATE, STEPS = 100, 0.05, 0.1, 100
FIT_STEPS = (10, 20, 40, 80)


def bound(options: argparse.Namespace) -> None:
    """Recall with the encoder's codes of items, and with codes that are fitted to these very queries: an upper bound.

    Both are asked with the encoder's codes of queries.
    """
    model, items, queries = load_model(options.model), load(options.embeddings), load(options.queries)
    x, x_q = (unit_rows(each, np.float32) for each in (items[: options.items[0]], queries[: options.asked]))
    truth, shares, steps = nearest_dense(x_q, x, TOP).ids, _softmax(x_q @ x.T), options.steps or STEPS
    kernels, encoded = get_backend(), unit_codes(model.encode(x))
    head("query k", "items encoded", "items fitted to the queries")
    for query_k in (model.k, 4 * model.k):
        asked, fitted = unit_codes(model.encode(x_q, query_k)).to_dense(), encoded
        for step in range(steps):
            grad = asked.T @ (_softmax(asked @ fitted.to_dense().T) - shares)
            fitted = kernels.descend(fitted, grad, RATE * (1 - step / steps))
        line(query_k, *(f"{_recall(asked, each.to_dense(), truth):.4f}" for each in (encoded, fitted)))


def fitted(options: argparse.Namespace) -> None:
    """Recall of codes that are fitted to all embeddings as anchors, after so many steps."""
    model, x, queries = load_model(options.model), load(options.embeddings), load(options.queries)[: options.asked]
    items = x[: options.items[0]]
    truth = nearest_dense(queries, items, TOP).ids
    head("anchors per step", "steps", "sparse", "sparse, 4k", "asymmetric", "seconds")

    def say(size: int | None, steps: int | None, codes: Codes, seconds: str) -> None:
        found = [
            search(queries, codes, TOP, model=model, space=space, query_k=query_k).ids
            for space, query_k in (("sparse", model.k), ("sparse", 4 * model.k), ("asymmetric", None))
        ]
        line(size, steps, *(f"{recall_at(each, truth):.4f}" for each in found), seconds)

    say(None, None, model.encode(items), "")
    for steps in FIT_STEPS:
        started = time.perf_counter()
        anchors = Anchors.read(x, model, most_groups=steps)
        codes = encode_fitted(items, model, anchors, steps=steps)
        say(len(anchors.groups[0].x_unit), steps, codes, f"{time.perf_counter() - started:.0f}")


def _softmax(cosines: np.ndarray) -> np.ndarray:
    """The shares of the items for each query."""
    powers = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / TEMPERATURE)
    return powers / powers.sum(axis=1, keepdims=True)


def _recall(queries: np.ndarray, items: np.ndarray, truth: np.ndarray) -> float:
    found = np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :TOP]
    return recall_at(found, truth)
