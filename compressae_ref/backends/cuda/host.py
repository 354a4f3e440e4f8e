"""Access to embeddings and parameters on a CUDA device for the rest of the package.

Any object with ``__cuda_array_interface__``, such as a PyTorch tensor or a CuPy array, is read in place, and the
results stay on the device. Embeddings are validated as `checks.as_embeddings` validates arrays in host memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.codes import DeviceCodes
from compressae_ref.backends.cuda.embeddings import cast, empty_rows, faults, take_rows
from compressae_ref.backends.cuda.memory import place
from compressae_ref.backends.cuda.select import empty_codes
from compressae_ref.checks import ZeroRows, all_zero, as_zero_rows, check_kind, no_rows, reject_codes, reject_rows
from compressae_ref.codes import Codes
from compressae_ref.params import AnyParams

_PLACED: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def place_params(params: AnyParams) -> AnyParams:
    """Return the parameters on the device; they are copied there once."""
    if params not in _PLACED:
        by_columns = replace(params, W_enc=np.asfortranarray(params.W_enc), mean=None)  # type: ignore[type-var]
        _PLACED[params] = by_columns.map(place)
    placed: AnyParams = _PLACED[params]
    return placed


class DeviceRows:
    """Embeddings on a device, as `unit_blocks.Rows`."""

    def __init__(self, x: Any, name: str, d: int | None, *, empty: bool = False, zero_rows: ZeroRows = "error") -> None:
        self._x, self._name, self.skipped = place(x), name, 0
        self._numbers: NDArray[np.int64] | None = None
        check_kind(self._x.shape, self._x.dtype, name, d)
        if not len(self._x) and not empty:
            raise no_rows(argument=name)
        if as_zero_rows(zero_rows) == "skip":
            self._leave_out_zero_rows(empty)

    def _leave_out_zero_rows(self, empty: bool) -> None:
        """Keep a copy without the zero rows; without zero rows nothing is copied."""
        n, (_, zero) = len(self), self.block(0, len(self), zeros=True)
        self.skipped = int(zero.sum())
        if self.skipped == n > 0 and not empty:
            raise all_zero(n, argument=self._name)
        if self.skipped:
            self._numbers = np.flatnonzero(~zero)
            self._x = self.gather(self._numbers)

    def __len__(self) -> int:
        return len(self._x)

    @property
    def d(self) -> int:
        """Dense dimension."""
        return int(self._x.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 for embeddings in float64."""
        return np.dtype(np.float64 if self._x.dtype == np.float64 else np.float32)

    def block(self, start: int, stop: int, zeros: bool) -> tuple[Any, Bools]:
        """Return validated rows and which of them are zero; `unit_rows` gives zero rows an arbitrary direction."""
        block = cast(self._x[start:stop], self.dtype)
        infinite, zero = faults(block)
        reject_rows(infinite, zero, self._name, start, zeros)
        return block, zero

    def check(self) -> None:
        """Validate all rows, without a copy."""
        self.block(0, len(self), zeros=False)

    def select(self, numbers: NDArray[np.int64]) -> Floats:
        """Return rows by their numbers, in host memory."""
        rows: Floats = fetch(self.gather(numbers))
        return rows

    def gather(self, numbers: NDArray[np.int64]) -> Any:
        """Return rows by their numbers, on the device."""
        return take_rows(cast(self._x, self.dtype), numbers)

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return row numbers in the array that was opened."""
        return np.arange(start, stop) if self._numbers is None else self._numbers[start:stop]

    def finish(self, codes: Codes, zero: Bools, start: int, model: str | None) -> Codes:
        """Validate the codes of a block and set those of zero rows; return them on the device."""
        reject_codes(faults(codes.values)[0], self._name, self.numbers(start, start + len(codes)))
        empty_rows(zero, codes)
        return DeviceCodes.trusted(codes.indices, codes.values, codes.n_latents, model)

    def join(self, parts: Sequence[Codes]) -> Codes:
        """Return the concatenated codes, on the device."""
        if len(parts) == 1:
            return parts[0]
        first, start = parts[0], 0
        indices, values = empty_codes((sum(map(len, parts)), first.k), first.values.dtype)
        for part in parts:
            rows = slice(start, start := start + len(part))
            indices[rows].copy_to_device(part.indices)
            values[rows].copy_to_device(part.values)
        return DeviceCodes.trusted(indices, values, first.n_latents, first.model)
