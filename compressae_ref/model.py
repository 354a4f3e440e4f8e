"""The model: its parameters and k; it encodes embeddings and decodes codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from compressae_ref.arrays import Bools, Floats, on_device
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_k, as_zero_rows, reject
from compressae_ref.codes import Codes
from compressae_ref.device import encode_on_device, needs_cuda, placed
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.params import Params
from compressae_ref.row_source import RowSource, as_source, read_block

AUX_WEIGHT = 1 / 8
"""Weight λ of the auxiliary loss in the original code."""

FINITE_CODES = "expected rows whose codes are finite, got a code with NaN or infinity"

ROWS_PER_BLOCK = 2048
"""Rows whose (rows, h) pre-activations are in memory at once; it changes no bit."""


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
            params = placed(self.params, backend)
            codes = backend.encode(x_unit, params.W_enc, params.b_enc, k).to_host()
        reject(~np.isfinite(codes.values).all(axis=1), FINITE_CODES, "x", first_row)
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
            raise ShapeError(f"expected n_latents = {h} as in the model, got {codes.n_latents}", argument=name)
        if codes.model not in (None, self.digest):
            raise DomainError(f"expected codes of model {digest}, got codes of model {codes.model[:12]}", argument=name)
