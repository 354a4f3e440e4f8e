"""What compressed item embeddings cost recommendations, where users are dense queries (`recommenders`)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import head, line
from benchmarks.recommenders import TOP, Floats, Split, Users, full_matrix, interactions, recommender, split
from compressae_ref import Codes, Model, encode_refined, fit, pack, search
from compressae_ref.metrics import bytes_per_row, half_width
from compressae_ref.retrieval.spaces import Space

BITS = 5
DIMENSIONS, FEWER = 128, (32, 16)
PARTS = 4
"""Histories that are drawn from each user for training on users, beside the whole one."""

DENSE = ("dense vectors (ELSA)", None, None, None, 4 * DIMENSIONS)
COLUMNS = (
    *("items stored as", "k", "query k", "bits", "bytes", f"recall@{TOP}", f"nDCG@{TOP}"),
    *("recall, % of dense", "nDCG, % of dense", f"dense top {TOP} found"),
)


class Result(NamedTuple):
    """What one way to store the items recommends to the test users of one split: (users,), (users,), (users, TOP)."""

    recall: Floats
    ndcg: Floats
    found: NDArray[np.int64]


def recommendations(options: argparse.Namespace) -> None:
    """Compare dense item embeddings with their codes on held-out users, over several splits and trainings."""
    x = interactions(options.embeddings)
    print(f"{x.shape[0]:,} users, {x.shape[1]:,} items, {int(x.sum()):,} interactions\n")
    found: dict[tuple[Any, ...], list[Result]] = {}
    tried: dict[str, list[float]] = {}
    for seed in options.seeds:
        parts = split(x, np.random.default_rng(seed))
        A = recommender(parts, DIMENSIONS, np.random.default_rng(seed))
        models = trained(parts, A, options, seed)
        for name, (quality, _) in models.items():
            tried.setdefault(name, []).append(round(quality, 4))
        model = max(models.values(), key=lambda each: each[0])[1]
        codes = (*code_ways(parts.test, A, model, options.k), *paper_ways(parts.test, A, options, seed))
        for key, items in (*dense_ways(parts, A, seed), *codes):
            found.setdefault(key, []).append(Result(parts.test.recall(items), parts.test.ndcg(items), items))
    head(*COLUMNS, text=1)
    dense = found[DENSE]
    for key, results in found.items():
        means = [[round(float(getattr(each, name).mean()), 4) for each in results] for name in ("recall", "ndcg")]
        shared = np.mean([np.mean(overlap(each.found, true.found)) for each, true in zip(results, dense, strict=True)])
        line(*key, *means, share(results, dense, "recall"), share(results, dense, "ndcg"), round(float(shared), 4))
    print()
    head("trained on", f"nDCG@{TOP} of validation users", text=1)
    for name, qualities in tried.items():
        line(name, qualities)


def overlap(found: NDArray[np.int64], other: NDArray[np.int64]) -> list[float]:
    """Return for each user the share of the items found that the other search finds, too."""
    return [len(np.intersect1d(ours, true)) / len(ours) for ours, true in zip(found, other, strict=True)]


def share(results: list[Result], dense: list[Result], name: str) -> str:
    """Return the mean over all test users in percent of dense, ± half the 95 % interval of the paired difference."""
    ours, true = (np.concatenate([getattr(result, name) for result in each]) for each in (results, dense))
    return f"{100 * ours.mean() / true.mean():.1f} ± {100 * half_width((ours - true) / true.mean()):.1f}"


# -- codes ------------------------------------------------------------------------------------------------------------


def trained(parts: Split, A: Floats, options: argparse.Namespace, seed: int) -> dict[str, tuple[float, Model]]:
    """Return models trained on items, on users and on both, each with its mean nDCG of sparse and dense queries."""
    rng, items = np.random.default_rng(seed), A.astype(np.float32)
    shares = rng.uniform(0.3, 1, (PARTS, len(parts.train), 1))
    drawn = np.concatenate(
        [parts.train, *(np.where(rng.random(parts.train.shape) < part, parts.train, 0) for part in shares)]
    )
    users = (drawn[drawn.any(axis=1)] @ A).astype(np.float32)
    data = {"items": items, "users": users, "items and users": np.concatenate([items, users])}
    k, judged, models = max(options.k), parts.validation, {}
    for name, rows in data.items():
        model = fit(rows, n_latents=options.latents[0], k=k, seed=seed).model
        codes = model.encode(items)
        found = [recommended(judged, A, codes, model, *way) for way in (("sparse", 4 * k), ("asymmetric", None))]
        models[name] = float(np.mean([judged.ndcg(each).mean() for each in found])), model
    return models


Found = tuple[tuple[Any, ...], NDArray[np.int64]]
"""The first cells of a row of the table, and what this way to store the items recommends to each test user."""


def dense_ways(parts: Split, A: Floats, seed: int) -> Iterator[Found]:
    """Yield ELSA in float32 and in int8, and with fewer dimensions, EASE, and popularity."""
    x, test = parts.test.history, parts.test
    yield DENSE, test.ranked(x @ A @ A.T)
    yield ("int8 (ELSA)", None, None, None, DIMENSIONS), test.ranked(x @ A @ np.round(A.T * 127 / np.abs(A).max()))
    for d in FEWER:
        shorter = recommender(parts, d, np.random.default_rng(seed))
        yield (f"dense vectors (ELSA, d = {d})", None, None, None, 4 * d), test.ranked(x @ shorter @ shorter.T)
    weights = full_matrix(parts)
    U, S, Vt = np.linalg.svd(weights)
    d = DIMENSIONS
    yield ("a weight for each pair (EASE)", None, None, None, None), test.ranked(x @ weights)
    yield (f"dense vectors (EASE, d = {d})", None, None, None, 4 * d), test.ranked(x @ (U[:, :d] * S[:d]) @ Vt[:d])
    popular = np.broadcast_to(parts.train.sum(axis=0), x.shape)
    yield ("popularity", None, None, None, 4), test.ranked(popular)


def code_ways(test: Users, A: Floats, model: Model, ks: list[int]) -> Iterator[Found]:
    """Yield codes at each k in sparse space, with dense queries, and refined; then the same codes packed."""
    items = A.astype(np.float32)
    codes = model.encode(items, max(ks))
    for k in ks:
        kept, refined = codes.truncate(k), encode_refined(items, model, k)
        searches: list[tuple[str, Codes, Space, int | None]] = [
            ("codes, sparse space", kept, "sparse", k),
            ("codes, sparse space", kept, "sparse", 4 * k),
            ("codes, dense queries", kept, "asymmetric", None),
            ("refined codes, dense queries", refined, "asymmetric", None),
        ]
        for name, stored, space, query_k in searches:
            found = recommended(test, A, stored, model, space, query_k)
            yield (name, k, query_k, None, bytes_per_row(stored)), found
        for name, stored, space, query_k in searches[1:]:
            packed = pack(stored, BITS)
            found = recommended(test, A, packed.unpack(), model, space, query_k)
            yield (name, k, query_k, BITS, packed.bytes_per_item), found


def paper_ways(test: Users, A: Floats, options: argparse.Namespace, seed: int) -> Iterator[Found]:
    """Yield the ways at the largest k, unpacked, of a model that is trained on items with the paper's loss."""
    k = max(options.k)
    model = fit(A.astype(np.float32), n_latents=options.latents[0], k=k, seed=seed, serve="dense").model
    for (name, _, query_k, bits, size), found in code_ways(test, A, model, [k]):
        if bits is None:
            yield (f"paper's loss: {name}", k, query_k, bits, size), found


def recommended(
    users: Users, A: Floats, codes: Codes, model: Model, space: Space, query_k: int | None
) -> NDArray[np.int64]:
    """Return the first `TOP` items that a search among codes finds for each user, without those of the history."""
    queries = (users.history @ A).astype(np.float32)
    every = search(queries, codes, len(A), space=space, model=model, query_k=query_k).ids
    unseen = np.take_along_axis(users.history, every, axis=1) == 0
    return np.array([row[new][:TOP] for row, new in zip(every, unseen, strict=True)])
