"""Codes whose arrays are on a CUDA device."""

from __future__ import annotations

from typing import Any

from compressae_ref.arrays import on_device, to_host
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError, DTypeError


class DeviceCodes(Codes):
    """Codes on the device. The "cuda" backend decodes them there; call `to_host` before anything else."""

    def astype(self, dtype: Any) -> Codes:
        """Return these codes if they have that dtype; raise DTypeError otherwise."""
        if self.values.dtype != dtype:
            raise DTypeError(
                f"expected {dtype} for codes on a device, got {self.values.dtype}",
                argument="codes",
                hint="use to_host()",
            )
        return self

    def to_host(self) -> Codes:
        """Return a copy of the codes in host memory."""
        return Codes.trusted(to_host(self.indices), to_host(self.values), self.n_latents, self.model)

    def on(self, backend: str) -> Codes:
        """Return these codes if ``backend`` computes on the device; raise BackendError otherwise."""
        if backend != "cuda":
            raise BackendError(
                f"expected an array in the computer's memory for backend {backend!r}, got one on a CUDA device",
                argument="codes",
                hint="use backend='cuda'",
            )
        return self


def codes_of(indices: Any, values: Any, n_latents: int, model: str | None = None) -> Codes:
    """Return `DeviceCodes` for arrays on the device, and `Codes` for arrays in host memory."""
    kind = DeviceCodes if on_device(values) else Codes
    return kind.trusted(indices, values, n_latents, model)
