"""Keep the most used latents of a model, for a training that starts from it with fewer (R23)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import aligned_copy
from compressae_ref.backends import Backend
from compressae_ref.params import Params
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, Rows

SAMPLED_ROWS = 10_000
"""Rows that count how often a latent is stored."""


def most_used(
    params: Params, k: int, n_latents: int, rows: Rows, held_out: NDArray[np.int64], backend: Backend
) -> Params:
    """Return the ``n_latents`` latents that most training rows of a sample store, in ascending order (R23).

    Parameters
    ----------
    k : entries of the codes that are counted
    rows : the rows to train on; with those that are ``held_out``, which are not counted
    """
    if n_latents == params.n_latents:
        return params
    training = np.setdiff1d(np.arange(len(rows)), held_out)
    if len(training) > SAMPLED_ROWS:
        training = training[np.arange(SAMPLED_ROWS) * len(training) // SAMPLED_ROWS]
    placed = backend.place_params(params)
    counts = np.zeros(params.n_latents, np.int64)
    for start in range(0, len(training), ROWS_PER_BLOCK):
        x_unit = reference.unit_rows(rows.select(training[start : start + ROWS_PER_BLOCK]), params.dtype)
        counts += backend.count_latents(backend.encode(backend.place(x_unit), placed.W_enc, placed.b_enc, k))
    kept = np.sort(np.argsort(-counts, kind="stable")[:n_latents])
    W_enc = np.asfortranarray(params.W_enc[:, kept])
    return Params(W_enc, params.b_enc[kept], params.W_dec[kept], params.mean).map(aligned_copy)
