"""Answer the operations of training with the similarity loss (`spec/distill.md`) with this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import as_embeddings, as_k
from compressae_ref.params import Params
from compressae_ref.training.batches import Related
from compressae_ref.training.distillation import add_related
from compressae_ref.training.kept_latents import most_used
from compressae_ref.training.relations import Relations, related_pairs
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import distill_loss_and_grads, init_state, train_step
from compressae_ref.unit_blocks import HostRows
from compressae_ref.verify.vectors import Values


def _config(k: int, n_latents: int, temperature: Floats, weight: Floats) -> TrainConfig:
    similarity: dict[str, Any] = {"temperature": float(temperature), "similarity_weight": float(weight)}
    return TrainConfig(k=as_k(k, n_latents), objective="distill", **similarity)


def _softmax_others(backend: Backend, cosines: Floats, factor: Floats) -> Values:
    return {"shares": backend.softmax_others(cosines, float(factor))[0]}


def _similarity_gradients(
    backend: Backend,
    x: Floats,
    W_enc: Floats,
    b_enc: Floats,
    W_dec: Floats,
    k: int,
    temperature: Floats,
    weight: Floats,
    theta: Floats,
    relevance_weight: Floats | None = None,
    **related: NDArray[np.int64],
) -> Values:
    params = Params(W_enc, b_enc, W_dec)
    config, state = _config(k, params.n_latents, temperature, weight), init_state(params, backend)
    state.scales.theta[:] = theta
    pairs = None
    if relevance_weight is not None:
        config, pairs = replace(config, relevance_weight=float(relevance_weight)), _related(**related)
    losses, grad_theta = distill_loss_and_grads(as_embeddings(x, d=params.d), state, config, backend, pairs)
    grads = {f"grad_{name}": backend.fetch(array) for name, array in state.grads.arrays().items()}
    return {"loss_similarity": np.array(losses.loss_similarity), **grads, "grad_theta": grad_theta}


def _relations(numbers: NDArray[np.int64], pairs: NDArray[np.int64]) -> Relations:
    """Return the relations of as many rows as these numbers ask for."""
    n = int(max(numbers.max(), pairs.max())) + 1
    return Relations(related_pairs(pairs, HostRows(np.ones((n, 1)))), n, np.empty(0, np.int64))


def _related(rows: NDArray[np.int64], pairs: NDArray[np.int64]) -> Related:
    return _relations(rows, pairs).within(rows)


def _related_batches(backend: Backend, drawn: NDArray[np.int64], pairs: NDArray[np.int64], step: int) -> Values:
    return {"rows": _relations(drawn, pairs).batch(drawn, step)}


def _related_targets(
    backend: Backend, shares: Floats, rows: NDArray[np.int64], pairs: NDArray[np.int64], relevance_weight: Floats
) -> Values:
    targets = shares.copy()
    add_related(targets, _related(rows, pairs), float(relevance_weight))
    return {"targets": targets}


def _distill_steps(
    backend: Backend,
    batches: Floats,
    W_enc: Floats,
    b_enc: Floats,
    W_dec: Floats,
    k: int,
    lr: Floats,
    temperature: Floats,
    weight: Floats,
) -> Values:
    params = Params(W_enc, b_enc, W_dec)
    config, state = _config(k, params.n_latents, temperature, weight), init_state(params, backend)
    for batch in batches:
        train_step(state, as_embeddings(batch, name="batches", d=params.d), config, backend, float(lr))
    arrays = {name: backend.fetch(array) for name, array in state.params.arrays().items()}
    return {**arrays, "theta": state.scales.theta}


def _kept_latents(backend: Backend, x: Floats, W_enc: Floats, b_enc: Floats, k: int, m: int) -> Values:
    h = len(b_enc)
    numbered = np.zeros(W_enc.shape[::-1], W_enc.dtype)
    numbered[:, 0] = np.arange(h)  # atoms that tell which latents are kept
    rows, kept = HostRows(as_embeddings(x, d=len(W_enc))), as_k(m, h, name="m")
    params = most_used(Params(W_enc, b_enc, numbered), as_k(k, h), kept, rows, np.empty(0, np.int64), backend)
    return {"latents": params.W_dec[:, 0].astype(np.int32)}


ANSWERS: dict[str, Callable[..., Values]] = {
    "softmax_others": _softmax_others,
    "similarity_gradients": _similarity_gradients,
    "distill_steps": _distill_steps,
    "related_batches": _related_batches,
    "related_targets": _related_targets,
    "related_gradients": _similarity_gradients,
    "kept_latents": _kept_latents,
}
"""The function for each operation; it takes the backend and the inputs as arguments."""
