"""The parameters of the autoencoder and their initial values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats, aligned_copy, require_memory, row_blocks
from compressae_ref.errors import DomainError

Init = Literal["tied", "original"]


@dataclass(frozen=True, eq=False)
class Params:
    """W_enc (d, h), b_enc (h,), W_dec (h, d) with unit rows (the atoms), mean (d,) or None; all of one dtype.

    Notes
    -----
    W_enc is stored in Fortran order, so the weights of one latent are contiguous.
    The dtype is float32 or float64. ``mean`` is μ of a centred model (``spec/center.md``).
    The constructor checks nothing. `checks.as_params` does, after training and when files are written or read.
    """

    W_enc: Floats
    b_enc: Floats
    W_dec: Floats
    mean: Floats | None = None

    @property
    def d(self) -> int:
        """Dense dimension."""
        return int(self.W_dec.shape[1])

    @property
    def n_latents(self) -> int:
        """h, the number of latents."""
        return int(self.W_dec.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.W_dec.dtype

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays by name, in the order of the fields, without ``mean`` if it is None."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}

    def map(self, function: Callable[[Floats], Any]) -> Params:
        """Apply ``function`` to each array."""
        return Params(**{name: function(array) for name, array in self.arrays().items()})

    def zeros_like(self) -> Params:
        """Return zeros of the same shapes, dtype and memory order, for gradients and moments."""
        zeros = self.copy()
        for array in zeros.arrays().values():
            array[...] = 0
        return zeros

    def copy(self) -> Params:
        """Return a deep copy."""
        return self.map(aligned_copy)

    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and little-endian C-order bytes: the identity of a model (E18)."""
        sha = hashlib.sha256()
        for name, array in self.arrays().items():
            little = array.dtype.newbyteorder("<")
            sha.update(f"{name} {little.str} {array.shape}\n".encode())
            for rows in row_blocks(array):
                sha.update(np.ascontiguousarray(array[rows], little).data)
        return sha.hexdigest()


def init_params(
    d: int, n_latents: int, rng: np.random.Generator, *, init: Init = "tied", dtype: str = "float32"
) -> Params:
    """Draw initial values (R9).

    Parameters
    ----------
    d, n_latents : shape of the model
    rng : the source of randomness; it is sampled in float64, whatever ``dtype`` is
    init : "original": W_enc uniform within ±√(6/h), W_dec uniform within ±√(6/d) and then unit rows, b_enc zero;
        "tied": W_dec as before, W_enc = W_decᵀ at the start (they are trained apart)
    dtype : "float32" or "float64"

    Raises
    ------
    DomainError
        For another ``init``, or a model that does not fit into memory.

    Notes
    -----
    ±√(6/h) and not ±√(6/d): the original calls ``kaiming_uniform_`` on a (d, h) array, which reads h as the fan-in.
    """
    if init not in ("tied", "original"):
        raise DomainError(f"expected 'tied' or 'original', got {init!r}", argument="init")
    require_memory(16 * d * n_latents, f"a model of d = {d} and n_latents = {n_latents}", "n_latents")
    u_enc = rng.random((d, n_latents)) if init == "original" else None
    return initial_params(u_enc, rng.random((n_latents, d)), dtype)


def initial_params(u_enc: Floats | None, u_dec: Floats, dtype: str) -> Params:
    """Compute initial values from u uniform in [0, 1), in float64 and rounded once (R9). Tied if ``u_enc`` is None."""
    W_enc, b_enc, W_dec = reference.initial(u_enc, u_dec, u_enc is None)
    as_dtype = np.dtype(dtype)
    return Params(np.array(W_enc, as_dtype, order="F"), b_enc.astype(as_dtype), W_dec.astype(as_dtype))
