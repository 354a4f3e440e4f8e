"""Items and queries in all forms that PostgreSQL is given, and our own scores, with which its results are compared."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.measure import load
from benchmarks.postgres_tables import TOP, literals
from compressae_ref import Model, asymmetric_cosine, encode_refined, expanded_cosine, load_model, sparse_cosine
from compressae_ref.codes import Codes
from compressae_ref.files.relevance import Relevance, as_relevance, load_relevance
from compressae_ref.retrieval.brute_force import unit_or_zero
from compressae_ref.stores.stored_form import serving

ROUNDING, HALF_ROUNDING = 1e-5, 1e-3
"""Bounds on the error of a cosine: 1,100 roundings of less than 2⁻²⁴ of a part; a relative 2⁻¹¹ for each half number."""


@dataclass(frozen=True)
class Variant:
    """A way to search, and our own scores of all items, with which its results are compared."""

    stored: str
    search: str
    table: str
    sql: str
    scores: np.ndarray
    """(n_q, n)"""
    values: dict[str, Sequence[Any]]
    """the parameters of the SQL, one for each query"""
    exact: bool = True
    first: tuple[np.ndarray, int] | None = None
    """distances (n_q, n) of the first stage and its number of candidates"""
    settings: dict[str, Any] = field(default_factory=dict)
    rounding: float = ROUNDING
    prepare: bool | None = None

    @property
    def kind(self) -> str:
        """Return a key of `AT_ONCE`."""
        return "scan" if self.exact else "index"

    def scores_of(self, distances: np.ndarray) -> np.ndarray:
        """Return the scores of distances in SQL."""
        return 1 - distances if "<=>" in self.sql else -distances


class Problem:
    """Items and queries in all forms, and what should be found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model: Model = load_model(options.model)
        self.x, every = load(options.embeddings), load(options.queries)
        self.queries, self.turns = every[: options.asked], options.turns
        self.d, self.h = self.model.params.d, self.model.params.n_latents
        self.codes, self.refined = self.model.encode(self.x), encode_refined(self.x, self.model)
        self.units, self.unit_queries = unit_or_zero(self.x), unit_or_zero(self.queries)
        self.reconstructed = unit_or_zero(self.model.decode(self.refined))
        self.dense = self.unit_queries @ self.units.T
        self.near = best(self.dense, TOP)
        self.relevance: Relevance | None = None
        if options.relevance is not None:
            grades = as_relevance(load_relevance(options.relevance), len(every), len(self.x))
            self.relevance = {query: items for query, items in grades.items() if query < len(self.queries)}
        self._scores: dict[tuple[str, int], np.ndarray] = {}
        self._texts: dict[tuple[str, int], list[str]] = {}
        self.asked: dict[str, Sequence[Any]] = {"dense": [str(row) for row in self.queries.tolist()]}

    def stored(self, space: Any, refine: bool) -> Codes:
        """Return codes as `push` stores them."""
        return serving(self.model, None, space, refine, None).items(self.x, "x", "error")

    def sent(self, space: Any, entries: int) -> Codes:
        """Return the sparse queries of a space."""
        return serving(self.model, None, space, space != "sparse", None).queries(self.queries, min(entries, self.h))

    def text(self, space: Any, entries: int) -> Sequence[str]:
        """Return `sent` as text."""
        if (space, entries) not in self._texts:
            self._texts[space, entries] = literals(self.sent(space, entries))
        return self._texts[space, entries]

    def scores(self, space: str, entries: int) -> np.ndarray:
        """Return our scores of all items, computed from the codes and not from what is stored and sent."""
        key = (space, min(entries, self.h))
        if key not in self._scores:
            self._scores[key] = self._scored(*key)
        return self._scores[key]

    def _scored(self, space: str, entries: int) -> np.ndarray:
        W_dec = self.model.params.W_dec
        if space == "sparse":
            return sparse_cosine(self.model.encode(self.queries, entries), self.codes)
        if entries == self.h:
            return asymmetric_cosine(self.queries, self.refined, W_dec)
        return expanded_cosine(self.queries, self.refined, W_dec, entries)

    def rotated(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return items and queries in the first n principal components of reconstructions, rotated at random."""
        mean = self.reconstructed.mean(axis=0)
        centred = self.reconstructed - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        some = axes[:, ::-1][:, :n]  # the largest variance last
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((some.shape[1], some.shape[1])))[0]
        projection = (some @ turn).astype(np.float32)
        return centred @ projection, (self.unit_queries - mean) @ projection


def best(scores: np.ndarray, top: int) -> np.ndarray:
    """Return the columns of the highest scores of each row, best first."""
    top = min(top, scores.shape[1])
    some = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def hamming(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the number of signs (n_q, n) in which rows of (n, d) and (n_q, d) differ; 0 counts as negative."""
    signs, items = (np.where(rows > 0, 1, -1).astype(np.float32) for rows in (queries, x))
    distances: np.ndarray = (x.shape[1] - signs @ items.T) / 2
    return distances
