"""The model: its parameters and k; it encodes embeddings and decodes codes. An encoder is a model without W_dec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend, seconds_to_encode
from compressae_ref.center import restored
from compressae_ref.checks import ZeroRows, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.params import EncoderParams, Params
from compressae_ref.row_source import RowSource, count_rows
from compressae_ref.unit_blocks import Rows, open_rows, unit_blocks

AUX_WEIGHT = 1 / 8
"""Weight λ of the auxiliary loss in the original code."""


def aux_k(k: int, n_latents: int) -> int:
    """Return k_aux = min(4k, h) (R5)."""
    # spec: "k_aux = min(4k, h)."
    return min(4 * k, n_latents)


@dataclass(frozen=True, eq=False)
class Encoder:
    """What encodes: the parameters of a model, with or without W_dec, its k, and the settings of its training.

    Its codes are those of the whole model. A `Model` is an encoder that also decodes.
    """

    params: EncoderParams | Params
    k: int
    training: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The digest of the parameters of the whole model, which identifies it; codes carry it."""
        return self.params.digest()

    def encode(
        self, x: RowSource, k: int | None = None, *, zero_rows: ZeroRows = "error", backend: str | Backend | None = None
    ) -> Codes:
        """Encode embeddings: keep the k largest entries by magnitude of x̄ W_enc + b_enc (E3, E4, E5).

        Parameters
        ----------
        x : (n, d) array, on a device too, or any source of rows (`row_source.RowSource`), at any scale; read in blocks
        k : stored entries per row; None: the k that the model was trained with
        zero_rows : "error"; "empty" for codes of zeros; "skip" for no codes: those of the other rows remain
            (`checks.ZeroRows`, R4)
        backend : "numpy", "numba" or "cuda"; the result is the same to the bit

        Returns
        -------
        Codes in the model's dtype, with its digest; on the device if x is there

        Raises
        ------
        ShapeError, DTypeError, DomainError
        """
        kernels = self._kernels(backend, x)
        rows = open_rows(x, kernels, d=self.params.d, zero_rows=zero_rows)
        return rows.join(list(self.encode_rows(rows, self._k(k), zero_rows, kernels)))

    def encode_blocks(
        self,
        x: RowSource,
        k: int | None = None,
        *,
        zero_rows: ZeroRows = "error",
        backend: str | Backend | None = None,
        first_row: int = 0,
    ) -> Iterator[Codes]:
        """Yield the codes of `encode` from ``first_row`` on, in blocks of rows, each computed on demand.

        ``first_row`` counts the rows that have codes: with "skip", those that are not zero.
        """
        kernels = self._kernels(backend, x)
        rows = open_rows(x, kernels, d=self.params.d, zero_rows=zero_rows)
        yield from self.encode_rows(rows, self._k(k), zero_rows, kernels, first_row)

    def encode_rows(
        self, rows: Rows, k: int, zero_rows: ZeroRows, backend: Backend, first_row: int = 0
    ) -> Iterator[Codes]:
        """Yield the codes of an open reader, block by block; k must be valid."""
        params = backend.place_params(self.params)
        for block in unit_blocks(rows, params.dtype, backend, zero_rows, first_row, mean=self.params.mean):
            with np.errstate(over="ignore", invalid="ignore"):  # `finish` refuses NaN and infinity
                codes = backend.encode(block.x_unit, params.W_enc, params.b_enc, k)
            yield rows.finish(codes, block.zero, block.start, self.digest)

    def _kernels(self, backend: str | Backend | None, x: Any) -> Backend:
        seconds = seconds_to_encode(count_rows(x), self.params.d, self.params.n_latents)
        return get_backend(backend, numpy_seconds=seconds)

    def _k(self, k: int | None) -> int:
        return as_k(self.k if k is None else k, self.params.n_latents)

    def check_codes(self, codes: Codes, name: str = "codes") -> None:
        """Raise if codes cannot come from this model: by their number of latents, or by their digest."""
        h, digest = self.params.n_latents, self.digest[:12]
        if codes.n_latents != h:
            raise ShapeError(f"expected n_latents = {h} as in the model, got {codes.n_latents}", argument=name)
        if codes.model not in (None, self.digest):
            raise DomainError(f"expected codes of model {digest}, got codes of model {codes.model[:12]}", argument=name)


@dataclass(frozen=True, eq=False)
class Model(Encoder):
    """A trained model: its parameters, its k, and the settings of its training."""

    params: Params

    def encoder(self) -> Encoder:
        """Return the encoder alone, which holds no W_dec."""
        return Encoder(self.params.encoder(), self.k, self.training)

    def decode(self, codes: Codes, *, backend: str | Backend | None = None) -> Floats:
        """Reconstruct rows from codes: x̂ (n, d), not normalised, since only the direction has meaning (E7).

        If the model is centred: z (n, d), which estimates the unit rows themselves (E27).
        """
        self.check_codes(codes)
        kernels = get_backend(backend)
        codes = codes.on(kernels.name).astype(self.params.dtype)
        x_hat = kernels.decode(codes, kernels.place_params(self.params).W_dec)
        if self.params.mean is None:
            return x_hat
        z: Floats = kernels.place(restored(kernels.fetch(x_hat), self.params.mean))
        return z


def whole_model(model: Encoder) -> Model:
    """Return a model; DomainError for an encoder without W_dec (`EncoderParams.W_dec`)."""
    if isinstance(model, Model):
        return model
    W_enc, b_enc, W_dec, mean = model.params.W_enc, model.params.b_enc, model.params.W_dec, model.params.mean
    return Model(Params(W_enc, b_enc, W_dec, mean), model.k, model.training)
