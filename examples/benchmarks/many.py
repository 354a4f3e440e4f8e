"""More embeddings like some that there are: as many items as a benchmark needs, with the latents as unevenly in use."""

from __future__ import annotations

import numpy as np

from compressae_ref.reference import unit_rows

NEIGHBOURS = 10


def many_embeddings(x: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """n unit rows: those of x, and then such as lie between and beside them.

    A new row is a real one, moved towards one of its 10 nearest by a share between 0 and 1, and by half of the
    difference between another real row and one of its 10 nearest: it varies as neighbours vary. Latents that many real
    rows use are used by as many of the new ones.
    """
    rng, x = np.random.default_rng(seed), unit_rows(x, np.float32)
    near = _neighbours(x)
    rows = np.empty((n, x.shape[1]), np.float32)
    rows[: len(x)] = x[:n]
    for start in range(len(x), n, 50_000):
        some = rows[start : start + 50_000]
        a, c = rng.integers(len(x), size=(2, len(some)))
        b, d = (near[each, rng.integers(NEIGHBOURS, size=len(some))] for each in (a, c))
        share = rng.random((len(some), 1), np.float32)
        some[:] = unit_rows(x[a] + share * (x[b] - x[a]) + np.float32(0.5) * (x[c] - x[d]), np.float32)
    return rows


def _neighbours(x: np.ndarray) -> np.ndarray:
    """The nearest others of each row, in any order."""
    near = []
    for start in range(0, len(x), 512):
        scores = x[start : start + 512] @ x.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -np.inf
        near.append(np.argpartition(scores, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].copy())  # not a view of them all
    return np.concatenate(near)
