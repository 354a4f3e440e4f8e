"""The autoencoder as straight lines through `compressae_ref.ops`, forward and then in reverse.

The auxiliary reconstruction keeps k_aux = min(4k, h) entries. Its k largest are the codes, so it is computed as the
reconstruction plus that of the *rest*: x̂_aux = x̂_k + decode(rest). Nothing is decoded or differentiated twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import ops
from compressae_ref.arrays import Bools, Floats, on_device, to_host
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_k, as_zero_rows, reject
from compressae_ref.codes import Codes
from compressae_ref.data import RowSource, as_source, read_block
from compressae_ref.device import encode_on_device, needs_cuda, placed
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.params import Params

AUX_WEIGHT = 1 / 8
"""Weight λ of the auxiliary loss in the original code."""

ROWS_PER_BLOCK = 2048
"""Rows whose (rows, h) pre-activations are in memory at once; it changes no bit."""


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
    """(n, d) reconstruction from codes and rest"""


class Losses(NamedTuple):
    """Means over the rows of a batch."""

    loss: float
    """loss_k + aux_weight · loss_aux"""
    loss_k: float
    """mean of 1 − cos(x̄, x̂_k)"""
    loss_aux: float
    """mean of 1 − cos(x̄, x̂_aux)"""


def aux_k(k: int, n_latents: int) -> int:
    """k_aux = min(4k, h) (R5)."""
    # spec: "k_aux = min(4k, h)."
    return min(4 * k, n_latents)


def unit_rows(x: Floats, dtype: Any, backend: Backend | None = None) -> Floats:
    """Unit rows in ``dtype``, normalised in the wider of it and the data's own: no scale over- or underflows.  (E3)"""
    kernels = get_backend("numpy") if backend is None else backend
    return kernels.cast(kernels.normalize_rows(kernels.cast(x, np.result_type(x.dtype, dtype))), dtype)


def unit_block(
    source: RowSource, first_row: int, params: Params, zero_rows: ZeroRows, backend: Backend
) -> tuple[Floats, Bools]:
    """Checked unit rows of a block, where the backend wants them, and which are zero: those get any direction."""
    block = read_block(source, first_row, ROWS_PER_BLOCK, d=params.d, zeros=as_zero_rows(zero_rows))
    zero: Bools = ~np.any(block, axis=1)
    return unit_rows(backend.place(np.where(zero[:, None], 1, block)), params.dtype, backend), zero


def emptied(codes: Codes, zero: Bools, model: str | None) -> Codes:
    """Codes of ``model``, those of ``zero`` rows without a value (R4)."""
    # spec: "on request it gets a code of zeros at the indices 0 to k − 1"
    codes.indices[zero], codes.values[zero] = np.arange(codes.k), 0
    return Codes.trusted(codes.indices, codes.values, codes.n_latents, model)


def encode_unit(x_unit: Floats, params: Params, k: int, backend: Backend) -> Codes:
    """Codes of unit rows: the k largest pre-activations by magnitude.                                 (E4), (E5)"""
    return backend.encode(x_unit, params.W_enc, params.b_enc, k)


def forward(x_unit: Floats, params: Params, k: int, backend: Backend) -> Activations:
    """The forward pass of training over a block of unit rows.                                                  (E13)"""
    codes_aux = encode_unit(x_unit, params, aux_k(k, params.n_latents), backend)
    codes_k, codes_rest = backend.split_codes(codes_aux, k)
    x_hat_k, x_hat_aux = backend.decode_nested(codes_k, codes_rest, params.W_dec)
    return Activations(x_unit, codes_k, codes_rest, x_hat_k, x_hat_aux)


def backward(
    acts: Activations,
    params: Params,
    grads: Params,
    n_batch: int,
    backend: Backend,
    aux_weight: float = AUX_WEIGHT,
    add: bool = True,
) -> Floats:
    """The forward pass in reverse: gradients of the loss over a block of rows, and its cosines.            (E7'), (E4')

    Parameters
    ----------
    acts : what `forward` returned for the block
    grads : arrays like ``params``, changed in place
    n_batch : rows of the whole batch
    add : add to ``grads``; False: overwrite them

    Returns
    -------
    (2, n) cosines of x̄ with x̂_k and x̂_aux
    """
    cos, grad_x_hat = backend.loss_backward(acts.x_unit, acts.x_hat_k, acts.x_hat_aux, n_batch, aux_weight)
    parts = list(zip((acts.codes_k, acts.codes_rest), grad_x_hat, strict=True))
    grad_pre = [
        ops.abs_topk_backward(backend.decode_backward_values(grad, codes, params.W_dec), codes) for codes, grad in parts
    ]
    backend.weights_backward(parts, grad_pre, acts.x_unit, grads.W_enc, grads.b_enc, grads.W_dec, add)
    return cos


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
    """Losses and gradients of a batch, in blocks of rows.                                                        (E14)

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
        acts = forward(unit_rows(backend.place(x[rows]), params.dtype, backend), params, k, backend)
        cos[:, rows] = to_host(backward(acts, params, grads, len(x), backend, aux_weight, add=start > 0))
        if usage is not None:
            usage += backend.count_latents(acts.codes_k)
    loss_k, loss_aux = (1 - cos).mean(axis=1).tolist()
    return Losses(loss_k + aux_weight * loss_aux, loss_k, loss_aux)


# -- the public entries -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Model:
    """What is saved, loaded and used: the parameters, k, and the settings of the training."""

    params: Params
    k: int
    training: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Identity of the model: the digest of its parameters. Codes carry it."""
        return self.params.digest()

    def encode(
        self, x: RowSource, k: int | None = None, *, zero_rows: ZeroRows = "error", backend: str | Backend | None = None
    ) -> Codes:
        """Codes of embeddings: the k largest entries by magnitude of x̄ W_enc + b_enc.                  (E3), (E4), (E5)

        Parameters
        ----------
        x : (n, d) array, on a device too, or any source of rows (`data.RowSource`), at any scale; read in blocks
        k : stored entries per row; None: the k that the model was trained with
        zero_rows : "error", or "empty" for codes of zeros (R4)
        backend : "numpy", "numba" or "cuda": the same bits

        Returns
        -------
        Codes in the model's dtype, with its digest; on the device, if x is there

        Raises
        ------
        ShapeError, DTypeError, DomainError
        """
        if on_device(x):
            return encode_on_device(self.params, x, self._k(k), zero_rows, get_backend(backend), self.digest)
        return Codes.concatenate(list(self.encode_blocks(x, k, zero_rows=zero_rows, backend=backend)))

    def encode_blocks(
        self,
        x: RowSource,
        k: int | None = None,
        *,
        zero_rows: ZeroRows = "error",
        backend: str | Backend | None = None,
        first_row: int = 0,
    ) -> Iterator[Codes]:
        """The codes of `encode` from ``first_row`` on, in blocks of rows, each made when it is asked for."""
        source, kernels = as_source(x), get_backend(backend)
        k = self._k(k)
        for start in range(first_row, len(source), ROWS_PER_BLOCK):
            yield self._encode_block(source, k, start, zero_rows, kernels)

    def _k(self, k: int | None) -> int:
        return as_k(self.k if k is None else k, self.params.n_latents)

    def _encode_block(self, source: RowSource, k: int, first_row: int, zero_rows: ZeroRows, backend: Backend) -> Codes:
        x_unit, zero = unit_block(source, first_row, self.params, zero_rows, backend)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at in the next line
            codes = encode_unit(x_unit, placed(self.params, backend), k, backend).to_host()
        reject(~np.isfinite(codes.values).all(axis=1), "encode: expected finite codes, got NaN or infinity", first_row)
        return emptied(codes, zero, self.digest)

    def decode(self, codes: Codes, *, backend: str | Backend | None = None) -> Floats:
        """Reconstructions x̂ (n, d) of codes, unnormalised: what carries meaning is their direction.             (E7)"""
        self.check_codes(codes)
        kernels = get_backend(backend)
        needs_cuda(codes.values, kernels, "codes")
        return kernels.decode(codes.astype(self.params.dtype), placed(self.params, kernels).W_dec)

    def check_codes(self, codes: Codes, name: str = "codes") -> None:
        """Raise where codes cannot come from this model: another number of latents, or another model's digest."""
        h, digest = self.params.n_latents, self.digest[:12]
        if codes.n_latents != h:
            raise ShapeError(f"{name}: expected n_latents = {h} as in the model, got {codes.n_latents}")
        if codes.model not in (None, self.digest):
            raise DomainError(f"{name}: expected codes of model {digest}, got codes of model {codes.model[:12]}")
