"""The similarity loss: cosines of codes are trained to rank the rows of a batch as dense cosines do.

``spec/distill.md`` states the equations (E29 to E34). u_i is the code of row i with m entries, and s_j is the code of
row j with k entries. The loss for each m in (k, k_aux) is the mean over i of KL(p_i ‖ r_i). Here p_i =
softmax_j(D_ij / τ) of dense cosines, r_i = softmax_j(α_m S_ij / τ) of cosines of codes, and j runs over the other rows.
α_m = exp(θ_m) is learned. All products are kernels that training has anyway: S_ij adds the terms of
`reference.sparse_cosine` in their order, because terms of latents that only one code stores are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.softmax import exponential
from compressae_ref.codes import Codes
from compressae_ref.training.adam_state import AdamConfig
from compressae_ref.training.batches import Related
from compressae_ref.training.settings import TrainConfig

LENGTHS = 2
"""Lengths of query codes in the loss: k and k_aux."""

SCALE_LR = 0.01
"""Learning rate of the scales θ, which does not fall."""


@dataclass
class Scales:
    """θ of each length, with its moments of Adam; float64 (2,), changed in place."""

    theta: NDArray[np.float64]
    m: NDArray[np.float64]
    v: NDArray[np.float64]

    @classmethod
    def zeros(cls) -> Scales:
        """Return the scales before the first step: α = 1."""
        return cls(*(np.zeros(LENGTHS) for _ in range(3)))

    def step(self, grad: NDArray[np.float64], config: AdamConfig, step: int) -> None:
        """Run step ``step`` of Adam, with the learning rate `SCALE_LR` (E11, R24)."""
        reference.adam(self.theta, grad, self.m, self.v, step, SCALE_LR, config.beta1, config.beta2, config.eps)


class Similarity(NamedTuple):
    """The similarity loss of a batch, and its gradients times the weight of the loss."""

    loss: float
    """sum over both lengths of the mean KL divergence"""
    grad_values: tuple[Floats, Floats]
    """(n, k) and (n, k_aux − k): of the values of codes and rest"""
    grad_theta: NDArray[np.float64]
    """(2,): of θ (E33)"""


def similarity_backward(
    x_unit: Floats,
    codes_aux: Codes,
    codes_k: Codes,
    codes_rest: Codes,
    theta: NDArray[np.float64],
    config: TrainConfig,
    backend: Backend,
    related: Related | None = None,
) -> Similarity:
    """Compute the similarity loss of a batch of unit rows (n, d) with these codes, and its gradients (E31, E32).

    Parameters
    ----------
    codes_aux : (n, k_aux) the entries of the codes (n, k) and of the rest (n, k_aux − k)
    related : the related rows of the batch, which get the share ``config.relevance_weight`` (E34)
    """
    if len(codes_k) < 2:  # nothing to compare
        zeros = (np.zeros(codes.values.shape, codes.values.dtype) for codes in (codes_k, codes_rest))
        return Similarity(0.0, (next(zeros), next(zeros)), np.zeros(LENGTHS))
    dense = backend.fetch(backend.pair_dots(x_unit, x_unit))
    shares, log_totals = backend.softmax_others(dense, 1 / config.temperature)
    if related is None or config.relevance_weight is None:
        batch = _Batch(shares, _row_sums(shares, dense) / config.temperature - log_totals, config)
    else:
        add_related(shares, related, config.relevance_weight)
        logarithms = np.log(np.maximum(shares, np.finfo(shares.dtype).tiny))  # 0 log 0 = 0
        batch = _Batch(shares, _row_sums(shares, logarithms), config)
    long_code, code, rest = codes_aux.to_host(), codes_k.to_host(), codes_rest.to_host()
    norms, norms_aux = reference.code_norm(code.values), reference.code_norm(long_code.values)
    columns, columns_aux = backend.place(code.to_columns()), backend.place(long_code.to_columns())

    def cosines(columns: Any, norms_u: Floats) -> tuple[Floats, Floats]:
        """S of every query and item, and the product of the norms of their codes."""
        dots = np.ascontiguousarray(backend.fetch(backend.decode(codes_k, columns)).T)
        lengths = norms_u[:, None] * norms
        return dots / lengths, lengths

    def backward(weights: Floats, codes: Codes, columns: Any) -> Floats:
        """Σ_j weights[i, j] · columns[:, j] at the entries of code i."""
        placed = backend.place(np.ascontiguousarray(weights))
        grad: Floats = backend.fetch(backend.decode_backward_values(placed, codes, columns))
        return grad

    alpha = exponential(theta)
    short = _divergence(batch, *cosines(columns, norms), float(alpha[0]), backend)
    long = _divergence(batch, *cosines(columns_aux, norms_aux), float(alpha[1]), backend)
    along = _along(short.query_sums + short.item_sums, norms) + _along(long.item_sums, norms)
    along_aux = _along(long.query_sums, norms_aux)
    grad_k = backward(short.weights + short.weights.T + long.weights, codes_k, columns)
    grad_k += backward(long.weights.T, codes_k, columns_aux) - (along + along_aux)[:, None] * code.values
    grad_rest = backward(long.weights, codes_rest, columns) - along_aux[:, None] * rest.values
    return Similarity(short.loss + long.loss, (grad_k, grad_rest), np.array([short.grad_theta, long.grad_theta]))


def add_related(shares: Floats, related: Related, weight: float) -> None:
    """Change shares p (n, n) to (1 − λ) p + (λ / q) R, in place: R is 1 where rows are related, q has its sums (E34).

    A row without related rows keeps its shares.
    """
    rows, counts = np.unique(related.rows, return_counts=True)
    shares[rows] *= shares.dtype.type(1 - weight)
    shares[related.rows, related.others] += np.repeat(weight / counts, counts).astype(shares.dtype)


class _Batch(NamedTuple):
    """The rows of a batch, as the loss sees them."""

    shares: Floats
    """(n, n) p: the softmax of the cosines of rows, with relations p′"""
    log_shares: NDArray[np.float64]
    """(n,) Σ_j p_ij log p_ij"""
    config: TrainConfig


class _Divergence(NamedTuple):
    """What the gradients need of the loss for one length of query codes."""

    loss: float
    weights: Floats
    """(n, n) H: gradients with respect to the dots of codes, whose norms are held constant"""
    query_sums: Floats
    """(n,) sums of ∂L/∂S · S over the items of each query"""
    item_sums: Floats
    """(n,) the same over the queries of each item"""
    grad_theta: float


def _divergence(batch: _Batch, cosines: Floats, lengths: Floats, alpha: float, backend: Backend) -> _Divergence:
    config, p = batch.config, batch.shares
    r, log_totals = backend.softmax_others(cosines, alpha / config.temperature)
    log_shares = _row_sums(p, cosines) * (alpha / config.temperature) - log_totals
    loss = float(np.mean(batch.log_shares - log_shares))
    grad = np.subtract(r, p, out=r)
    grad *= p.dtype.type(config.similarity_weight * alpha / (config.temperature * len(p)))
    terms = grad * cosines
    query_sums, item_sums = reference.fold_sum(terms), reference.fold_sum(terms.T)
    grad_theta = float(reference.fold_sum(query_sums.astype(np.float64)))
    return _Divergence(loss, np.divide(grad, lengths, out=grad), query_sums, item_sums, grad_theta)


def _row_sums(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Return Σ_j a_ij b_ij, for losses, whose order of summation is not specified."""
    sums: NDArray[np.float64] = np.einsum("ij,ij->i", a, b).astype(np.float64)
    return sums


def _along(sums: Floats, norms: Floats) -> Floats:
    """The factor of a code in the gradient of its cosines; 0 where the norm is clamped (E32)."""
    zero = norms.dtype.type(0)
    along: Floats = np.where(norms > norms.dtype.type(1e-8), sums / (norms * norms), zero)
    return along
