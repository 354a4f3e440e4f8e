"""The parameters of the autoencoder and their initial values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats, aligned_copy, require_memory
from compressae_ref.errors import DomainError

Init = Literal["tied", "original"]

ENCODER = ("W_enc", "b_enc", "mean")
"""The arrays that encode."""

BYTES_PER_PIECE = 1 << 20
"""Bytes that are copied at a time for a digest. The choice affects memory only."""


AnyParams = TypeVar("AnyParams", bound="_Arrays")
"""A type variable for parameters with or without W_dec."""


class _Arrays:
    """What `Params` and `EncoderParams` share: their shapes, and their arrays by name."""

    W_enc: Floats
    b_enc: Floats
    mean: Floats | None

    NAMES: ClassVar[tuple[str, ...]] = ENCODER

    @property
    def d(self) -> int:
        """Dense dimension."""
        return int(self.W_enc.shape[0])

    @property
    def n_latents(self) -> int:
        """h, the number of latents."""
        return int(self.W_enc.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.W_enc.dtype

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays by name, in the order of the digest, without ``mean`` if it is None."""
        named = {name: getattr(self, name) for name in self.NAMES}
        return {name: array for name, array in named.items() if array is not None}

    def map(self: AnyParams, function: Callable[[Floats], Any]) -> AnyParams:
        """Apply ``function`` to each array."""
        return replace(self, **{name: function(array) for name, array in self.arrays().items()})  # type: ignore[type-var]

    def encoder_digest(self) -> str:
        """SHA-256 as `Params.digest`, over W_enc, b_enc and the mean alone: what a reader of an encoder can check."""
        arrays = self.arrays()
        return digest_of({name: arrays[name] for name in ENCODER if name in arrays})


@dataclass(frozen=True, eq=False)
class EncoderParams(_Arrays):
    """W_enc (d, h), b_enc (h,), mean (d,) or None: the parameters of a model without its decoder W_dec.

    ``whole`` is the digest of the model that they are part of. It cannot be computed without W_dec.
    """

    W_enc: Floats
    b_enc: Floats
    mean: Floats | None
    whole: str

    @property
    def W_dec(self) -> Floats:
        """Raise the DomainError of everything that decodes."""
        raise DomainError(
            "expected a whole model, got an encoder only, which has no decoder W_dec",
            argument="model",
            hint=f"use the file of the whole model with digest {self.whole[:12]}",
        )

    def digest(self) -> str:
        """The digest of the whole model: codes of an encoder are codes of its model."""
        return self.whole


@dataclass(frozen=True, eq=False)
class Params(_Arrays):
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

    NAMES: ClassVar[tuple[str, ...]] = ("W_enc", "b_enc", "W_dec", "mean")

    def zeros_like(self) -> Params:
        """Return zeros of the same shapes, dtype and memory order, for gradients and moments."""
        zeros = self.copy()
        for array in zeros.arrays().values():
            array[...] = 0
        return zeros

    def copy(self) -> Params:
        """Return a deep copy."""
        return self.map(aligned_copy)

    def encoder(self) -> EncoderParams:
        """Return the parameters without W_dec, with the digest of all."""
        return EncoderParams(self.W_enc, self.b_enc, self.mean, self.digest())

    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and little-endian C-order bytes: the identity of a model (E18)."""
        return digest_of(self.arrays())


def digest_of(arrays: Mapping[str, Floats]) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian C-order bytes of arrays (E18), read in pieces."""
    sha = hashlib.sha256()
    for name, array in arrays.items():
        little = array.dtype.newbyteorder("<")
        sha.update(f"{name} {little.str} {array.shape}\n".encode())
        rows = max(1, BYTES_PER_PIECE * len(array) // max(1, array.nbytes))
        for start in range(0, len(array), rows):
            sha.update(np.ascontiguousarray(array[start : start + rows], little).reshape(-1).view(np.uint8).data)
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
