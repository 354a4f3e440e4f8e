"""Codes whose arrays lie on a CUDA device."""

from __future__ import annotations

from typing import Any

from compressae_ref.arrays import on_device, to_host
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError, DTypeError


class DeviceCodes(Codes):
    """Codes on the device: the "cuda" backend decodes them there; everything else needs `to_host` first."""

    def astype(self, dtype: Any) -> Codes:
        """These codes, if they have that dtype."""
        if self.values.dtype != dtype:
            raise DTypeError(
                f"expected {dtype} for codes on a device, got {self.values.dtype}",
                argument="codes",
                hint="use to_host()",
            )
        return self

    def to_host(self) -> Codes:
        """Copy the codes into the memory of the processor."""
        return Codes.trusted(to_host(self.indices), to_host(self.values), self.n_latents, self.model)

    def on(self, backend: str) -> Codes:
        """These codes, for a backend that computes on the device."""
        if backend != "cuda":
            raise BackendError(
                f"expected an array in the computer's memory for backend {backend!r}, got one on a CUDA device",
                argument="codes",
                hint="use backend='cuda'",
            )
        return self


def codes_of(indices: Any, values: Any, n_latents: int, model: str | None = None) -> Codes:
    """Codes of arrays that a kernel has made, wherever they lie."""
    kind = DeviceCodes if on_device(values) else Codes
    return kind.trusted(indices, values, n_latents, model)
