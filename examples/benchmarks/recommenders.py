"""Recommendations from interactions: held-out users, and two models that score items by the items of a history.

A row of the matrix X is a user, a column is an item, and an entry is 1 if the user liked the item. ELSA (Vančura et
al., RecSys 2022) learns an embedding for each item: rows of A with norm 1, such that X (A Aᵀ - I) has the directions
of X. A user is the sum of the embeddings of the items in the history, u = x A, and the score of an item is the product
of u and its row. EASE (Steck, WWW 2019) has a weight for each pair of items instead, in closed form.

Users are held out (strong generalisation): nothing is trained on them. Four fifths of the items of a held-out user
are the history, and the others are the targets. Items of the history are not recommended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.item_values import number_in
from compressae_ref.metrics import ndcg_of_each

Floats = NDArray[np.float64]

LIKED = 4
"""The lowest rating that counts as an interaction."""

FEWEST = 5
"""Users with fewer interactions are left out."""

HELD_OUT = 0.1, 0.2
"""Shares of the users for validation and for the test."""

HISTORY = 0.8
TOP = 20
PENALTIES = 50.0, 100.0, 200.0, 400.0
EPOCHS, RATE, BATCH, TINY = 20, 0.01, 256, 1e-12
"""Of ELSA, which is validated after each epoch."""


class Users(NamedTuple):
    """Held-out users: their histories (users, items) of 0 and 1, and their targets."""

    history: Floats
    targets: Floats

    def ranked(self, scores: Floats) -> NDArray[np.int64]:
        """Return the `TOP` items of each user with the highest scores, without those of the history."""
        order = np.argsort(np.where(self.history > 0, -np.inf, scores), axis=1, kind="stable")
        return order[:, : -TOP - 1 : -1].astype(np.int64)

    def recall(self, found: NDArray[np.int64]) -> Floats:
        """Return for each user: targets among the items found, divided by the most that are possible."""
        hits = np.take_along_axis(self.targets, found, axis=1).sum(axis=1)
        recall: Floats = hits / np.minimum(found.shape[1], self.targets.sum(axis=1))
        return recall

    def ndcg(self, found: NDArray[np.int64]) -> Floats:
        """Return for each user the nDCG of the items found, with grade 1 for targets."""
        return ndcg_of_each(
            found, {user: dict.fromkeys(np.flatnonzero(row).tolist(), 1) for user, row in enumerate(self.targets)}
        )


class Split(NamedTuple):
    """Interactions of users for training, for validation and for the test."""

    train: Floats
    validation: Users
    test: Users


# -- data ---------------------------------------------------------------------------------------------------------------


def interactions(path: str) -> Floats:
    """Read ratings of at least `LIKED` as a matrix (users, items), of users with at least `FEWEST` of them.

    The file is a table with the columns user_id, item_id and rating. RecBole writes a type behind the names.
    """
    table = open_table(path)
    by_name = {name.split(":")[0]: name for name in table.names}
    if missing := {"user_id", "item_id", "rating"} - by_name.keys():
        raise FormatError(f"expected a column {min(missing)}, got {', '.join(table.names)}", path=path)
    users, items, ratings = (table.values(by_name[name]) for name in ("user_id", "item_id", "rating"))
    liked = np.array([number_in(rating) for rating in ratings]) >= LIKED
    user, item = (np.unique(np.asarray(names)[liked], return_inverse=True)[1] for names in (users, items))
    x = np.zeros((user.max() + 1, item.max() + 1))
    x[user, item] = 1
    x = x[x.sum(axis=1) >= FEWEST]
    return x[:, x.any(axis=0)]


def split(x: Floats, rng: np.random.Generator) -> Split:
    """Draw the held-out users and their histories. Items that no training user has are left out."""
    sizes = [int(part * len(x)) for part in HELD_OUT]
    validation, test, rest = np.split(rng.permutation(len(x)), np.cumsum(sizes))
    known = x[rest].any(axis=0)
    return Split(x[np.ix_(rest, known)], *(divided(x[np.ix_(part, known)], rng) for part in (validation, test)))


def divided(x: Floats, rng: np.random.Generator) -> Users:
    """Divide the items of each user at random into history and targets, of which there is at least one of each."""
    history = np.zeros_like(x)
    for row, ours in zip(x, history, strict=True):
        items = rng.permutation(np.flatnonzero(row))
        ours[items[: min(round(HISTORY * len(items)), len(items) - 1)]] = 1
    return Users(history, x - history)


# -- models of recommendations ----------------------------------------------------------------------------------------


def ease(x: Floats, penalty: float) -> Floats:
    """Return the item weights B with zero diagonal that minimise |X - X B|² + penalty |B|² (Steck 2019, equation 8)."""
    inverse = np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1]))
    weights: Floats = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def elsa_loss(W: Floats, x: Floats) -> tuple[float, Floats]:
    """Return the mean of 1 - cos(relu(x A Aᵀ - x), x) over users and its gradient, where A is W with unit rows.

    The authors' program minimises twice this, the squared distance of both vectors with norm 1.
    """
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    A, truth = W / norms, x / np.linalg.norm(x, axis=1, keepdims=True)
    users = x @ A
    scores = np.maximum(users @ A.T - x, 0)
    sizes = np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), TINY)
    scores /= sizes
    cosines = np.sum(scores * truth, axis=1, keepdims=True)
    slope = (cosines * scores - truth) * (scores > 0) / (sizes * len(x))
    of_A = slope.T @ users + x.T @ (slope @ A)
    return float(1 - cosines.mean()), (of_A - A * np.sum(A * of_A, axis=1, keepdims=True)) / norms


def elsa(x: Floats, d: int, epochs: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield A (items, d) with unit rows after each epoch of Adam."""
    W, step = rng.standard_normal((x.shape[1], d)) / np.sqrt(d), 0
    first, second = np.zeros_like(W), np.zeros_like(W)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), -(-len(x) // BATCH)):
            slope, step = elsa_loss(W, x[rows])[1], step + 1
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            W -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + TINY)
        yield W / np.linalg.norm(W, axis=1, keepdims=True)


def recommender(parts: Split, d: int, rng: np.random.Generator) -> Floats:
    """Return the embeddings of ELSA (items, d) after the epoch with the highest nDCG of the validation users."""
    users = parts.validation

    def quality(A: Floats) -> float:
        return float(users.ndcg(users.ranked(users.history @ A @ A.T)).mean())

    return max(elsa(parts.train, d, EPOCHS, rng), key=quality)


def full_matrix(parts: Split) -> Floats:
    """Return the weights of EASE with the penalty that gives the highest nDCG of the validation users."""
    users = parts.validation

    def quality(weights: Floats) -> float:
        return float(users.ndcg(users.ranked(users.history @ weights)).mean())

    return max((ease(parts.train, penalty) for penalty in PENALTIES), key=quality)
