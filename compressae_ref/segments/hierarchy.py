"""A hierarchy of segments by their atoms, cut at any number of groups (E53, R38)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.checks import as_integer
from compressae_ref.optional import require_scipy
from compressae_ref.params import Params
from compressae_ref.segments.contrast import Doubles

ROWS_PER_BLOCK = 64


def signed_atoms(params: Params, keys: NDArray[np.int32]) -> Doubles:
    """Return the atom of each key, of norm 1, with its sign: (S, d) float64."""
    atoms = params.W_dec[keys[:, 0]].astype(np.float64) * keys[:, 1:]
    unit: Doubles = atoms / reference.clamped_norm(atoms)[:, None]
    return unit


def cosines(atoms: Doubles, others: Doubles) -> Doubles:
    """Return the cosines of unit atoms, (S, d) and (T, d) → (S, T), with folded sums."""
    blocks = [
        reference.dot(atoms[i : i + ROWS_PER_BLOCK, None, :], others[None])
        for i in range(0, len(atoms), ROWS_PER_BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(others)))


def linkage(similarities: Doubles) -> Doubles:
    """Return the average linkage of the distances 1 − cosine, (S, S), as SciPy's matrix (S − 1, 4)."""
    if len(similarities) < 2:
        return np.zeros((0, 4))
    distances = np.maximum(1.0 - similarities[np.triu_indices(len(similarities), 1)], 0.0)
    tree: Doubles = require_scipy("cluster.hierarchy", "segments").linkage(distances, "average")
    return tree


def cut(tree: Doubles, n_groups: int) -> NDArray[np.int64]:
    """Return the group of each segment after all but the last n_groups − 1 merges (R38).

    Groups are numbered from 0 in the order of their first segment. A cut into more groups divides the groups of a cut
    into fewer.
    """
    n = len(tree) + 1
    n_groups = min(as_integer(n_groups, "n_groups"), n)
    parent = np.arange(2 * n - 1)
    for merge in range(n - n_groups):
        parent[tree[merge, :2].astype(np.int64)] = n + merge
    for node in range(2 * n - 2, -1, -1):  # a parent has a larger number than its children
        parent[node] = parent[parent[node]]
    _, first, group = np.unique(parent[:n], return_index=True, return_inverse=True)
    rank: NDArray[np.int64] = np.argsort(np.argsort(first))
    return rank[group]
