"""One training step through the kernels of a backend: forward, backward, Adam, unit atoms.

It computes what `reference.train_step` computes, in blocks of rows. The auxiliary reconstruction keeps
k_aux = min(4k, h) entries. Its k largest are the code, so it is computed as x̂_aux = x̂_k + decode(remainder), and
nothing is decoded or differentiated twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.codes import Codes
from compressae_ref.model import AUX_WEIGHT, aux_k
from compressae_ref.params import Params
from compressae_ref.training.adam_state import AdamConfig, AdamState, adam_step, init_adam
from compressae_ref.training.batches import Related
from compressae_ref.training.distillation import Scales, similarity_backward
from compressae_ref.training.settings import TrainConfig
from compressae_ref.unit_blocks import ROWS_PER_BLOCK


class Activations(NamedTuple):
    """What the backward pass needs of a forward pass over n rows."""

    x_unit: Floats
    """(n, d) unit rows"""
    codes_k: Codes
    """the k largest pre-activations by magnitude: the codes"""
    codes_rest: Codes
    """the next k_aux − k of them"""
    x_hat_k: Floats
    """(n, d) reconstruction from the codes"""
    x_hat_aux: Floats
    """(n, d) reconstruction from codes and remainder"""
    codes_aux: Codes
    """the k_aux largest pre-activations: codes and remainder"""


class Losses(NamedTuple):
    """Means over the rows of a batch."""

    loss: float
    """loss_k + aux_weight · loss_aux + similarity_weight · loss_similarity"""
    loss_k: float
    """mean of 1 − cos(x̄, x̂_k)"""
    loss_aux: float
    """mean of 1 − cos(x̄, x̂_aux)"""
    loss_similarity: float = 0.0
    """similarity loss of ``objective="distill"`` (E31)"""


def forward(x_unit: Floats, params: Params, k: int, backend: Backend) -> Activations:
    """Run the forward pass over a block of unit rows (E13)."""
    codes_aux = backend.encode(x_unit, params.W_enc, params.b_enc, aux_k(k, params.n_latents))
    codes_k, codes_rest = backend.split_codes(codes_aux, k)
    x_hat_k, x_hat_aux = backend.decode_nested(codes_k, codes_rest, params.W_dec)
    return Activations(x_unit, codes_k, codes_rest, x_hat_k, x_hat_aux, codes_aux)


def backward(
    acts: Activations,
    params: Params,
    grads: Params,
    n_batch: int,
    backend: Backend,
    aux_weight: float = AUX_WEIGHT,
    add: bool = True,
    more: Sequence[Floats] = (),
) -> Floats:
    """Run the forward pass in reverse: gradients of the loss over a block of rows, and its cosines (E7', E4').

    Parameters
    ----------
    acts : what `forward` returned for the block
    grads : arrays like ``params``, changed in place
    n_batch : rows of the whole batch
    add : if False, overwrite ``grads`` instead of adding to them
    more : further gradients of the values of codes (n, k) and rest (n, k_aux − k), in host memory

    Returns
    -------
    (2, n) cosines of x̄ with x̂_k and x̂_aux
    """
    cos, grad_x_hat = backend.loss_backward(acts.x_unit, acts.x_hat_k, acts.x_hat_aux, n_batch, aux_weight)
    parts = list(zip((acts.codes_k, acts.codes_rest), grad_x_hat, strict=True))
    grad_values = [backend.decode_backward_values(grad, codes, params.W_dec) for codes, grad in parts]
    if more:
        grad_values = [backend.place(backend.fetch(grad) + own) for grad, own in zip(grad_values, more, strict=True)]
    grad_pre = [_codes_like(codes, grad) for (codes, _), grad in zip(parts, grad_values, strict=True)]
    backend.weights_backward(parts, grad_pre, acts.x_unit, grads.W_enc, grads.b_enc, grads.W_dec, add)
    return cos


def _codes_like(codes: Codes, grad_values: Floats) -> Codes:
    """∂L/∂a: ∂L/∂v at the selected entries, zero elsewhere (E5', R7)."""
    return Codes.trusted(codes.indices, grad_values, codes.n_latents)


def loss_and_grads(
    x: Floats,
    params: Params,
    k: int,
    backend: Backend,
    grads: Params,
    usage: NDArray[np.int64] | None = None,
    rows_per_block: int = ROWS_PER_BLOCK,
    aux_weight: float = AUX_WEIGHT,
) -> Losses:
    """Losses and gradients of a batch, in blocks of rows (E14).

    Parameters
    ----------
    x : (n, d) checked embeddings, at any scale
    grads : arrays like ``params``, overwritten with the gradients of ``loss``
    usage : (h,) counts; each is raised by the number of rows that store the latent
    rows_per_block : rows whose (rows, h) pre-activations are in memory at once

    Notes
    -----
    Sums over rows run in row order: the bits do not depend on the blocks.
    The means of the losses are taken once, over all rows, in float64.
    """
    cos = np.empty((2, len(x)))
    for start in range(0, len(x), rows_per_block):
        rows = slice(start, start + rows_per_block)
        acts = forward(backend.unit_rows(backend.place(x[rows]), params.dtype), params, k, backend)
        cos[:, rows] = backward(acts, params, grads, len(x), backend, aux_weight, add=start > 0)
        if usage is not None:
            usage += backend.count_latents(acts.codes_k)
    loss_k, loss_aux = (1 - cos).mean(axis=1).tolist()
    return Losses(loss_k + aux_weight * loss_aux, loss_k, loss_aux)


@dataclass
class TrainState:
    """What `train_step` reads and changes in place."""

    params: Params
    adam: AdamState
    grads: Params
    usage: NDArray[np.int64]
    """(h,) number of rows that have stored each latent since it was last set to zero"""
    scales: Scales = field(default_factory=Scales.zeros)
    """the learned scales of ``objective="distill"``"""


def init_state(params: Params, backend: Backend | None = None) -> TrainState:
    """Return a state with copies of the parameters and zero moments, in the memory of the backend."""
    own, there = params.copy(), get_backend("numpy") if backend is None else backend
    adam = init_adam(own)
    placed, m, v, grads = (each.map(there.place) for each in (own, adam.m, adam.v, own.zeros_like()))
    return TrainState(placed, AdamState(adam.step, m, v), grads, np.zeros(own.n_latents, np.int64))


def distill_loss_and_grads(
    batch: Floats, state: TrainState, config: TrainConfig, backend: Backend, related: Related | None = None
) -> tuple[Losses, NDArray[np.float64]]:
    """As `loss_and_grads`, with the similarity loss (E31, E32): losses, and gradients of θ (2,).

    The loss compares every row with every other one, so the batch is one block.
    """
    params = state.params
    x_unit = backend.unit_rows(backend.place(batch), params.dtype)
    acts = forward(x_unit, params, config.k, backend)
    codes = acts.codes_aux, acts.codes_k, acts.codes_rest
    similarity = similarity_backward(x_unit, *codes, state.scales.theta, config, backend, related)
    cos = backward(acts, params, state.grads, len(batch), backend, config.aux_weight, False, similarity.grad_values)
    state.usage += backend.count_latents(acts.codes_k)
    loss_k, loss_aux = (1 - cos.astype(np.float64)).mean(axis=1).tolist()
    loss = loss_k + config.aux_weight * loss_aux + config.similarity_weight * similarity.loss
    return Losses(loss, loss_k, loss_aux, similarity.loss), similarity.grad_theta


def train_step(
    state: TrainState, batch: Floats, config: TrainConfig, backend: Backend, lr: float, related: Related | None = None
) -> Losses:
    """Run one step on checked rows, some perhaps related, in place: losses, gradients, Adam, unit atoms (R8, E34)."""
    params, grads = state.params, state.grads
    if config.objective == "distill":
        losses, grad_theta = distill_loss_and_grads(batch, state, config, backend, related)
    else:
        options = state.usage, config.rows_per_block, config.aux_weight
        losses = loss_and_grads(batch, params, config.k, backend, grads, *options)
    if config.renormalize == "before_step":
        backend.renormalize_decoder(params.W_dec)
        backend.project_decoder_gradient(grads.W_dec, params.W_dec)
    adam_config = AdamConfig(lr, config.beta1, config.beta2, config.eps)
    adam_step(params, grads, state.adam, adam_config, backend.adam_update)
    if config.objective == "distill":
        state.scales.step(grad_theta, adam_config, state.adam.step)
    if config.renormalize == "after_step":
        backend.renormalize_decoder(params.W_dec)
    return losses
