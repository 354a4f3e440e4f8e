"""Embeddings that already lie on a CUDA device, and parameters that stay there.

What has ``__cuda_array_interface__``, such as a tensor of PyTorch or an array of CuPy, is read where it is, and what
comes of it stays there. It is checked as `checks.as_embeddings` checks what lies in the computer's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import on_device, to_host
from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_zero_rows, check_kind, reject, reject_rows
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError, ShapeError
from compressae_ref.params import Params
from compressae_ref.training.batches import shuffled_batches

_PLACED: WeakKeyDictionary[Params, Params] = WeakKeyDictionary()


def placed(params: Params, backend: Backend) -> Params:
    """The parameters of a model where the backend wants them; they are copied there once."""
    if backend.name != "cuda":
        return params
    if params not in _PLACED:
        by_columns = Params(np.asfortranarray(params.W_enc), params.b_enc, params.W_dec)
        _PLACED[params] = by_columns.map(backend.place)
    return _PLACED[params]


def needs_cuda(array: Any, backend: Backend, name: str) -> None:
    """BackendError for an array on a device, where the kernels do not run."""
    if on_device(array) and backend.name != "cuda":
        raise BackendError(
            f"expected an array in the computer's memory for backend {backend.name!r}, got one on a CUDA "
            "device: ask for backend='cuda'",
            argument=name,
        )


def as_device_embeddings(x: Any, backend: Backend, name: str, d: int | None) -> Any:
    """An array on a device as one of Numba's, if the kernels run there and it can be embeddings."""
    needs_cuda(x, backend, name)
    there = backend.place(x)
    check_kind(there.shape, there.dtype, name, d)
    return there


def unit_rows_on_device(
    x: Any, params: Params, zero_rows: ZeroRows, backend: Backend, name: str = "x", first_row: int = 0
) -> tuple[Any, Any]:
    """Checked unit rows on the device, and which rows are zero (n,): those get any direction."""
    block = as_device_embeddings(x, backend, name, params.d)
    from compressae_ref.backends.cuda.embeddings import faults

    block = backend.cast(block, np.result_type(block.dtype, params.dtype))
    infinite, zero = faults(block)
    reject_rows(infinite, zero, name, first_row, as_zero_rows(zero_rows))
    return backend.cast(backend.normalize_rows(block), params.dtype), zero


def encode_on_device(
    params: Params, x: Any, k: int, zero_rows: ZeroRows, backend: Backend, model: str | None, name: str = "x"
) -> Codes:
    """`Model.encode` of an array on the device, in blocks of rows; the codes stay there."""
    x = as_device_embeddings(x, backend, name, params.d)
    from compressae_ref.backends.cuda.embeddings import empty_rows, faults
    from compressae_ref.backends.cuda.encode import ROWS_AT_ONCE
    from compressae_ref.backends.cuda.select import empty_codes

    params = placed(params, backend)
    if not len(x):
        raise ShapeError("expected at least one row, got none", argument=name)
    indices, values = empty_codes((len(x), k), params.dtype)
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        x_unit, zero = unit_rows_on_device(x[rows], params, zero_rows, backend, name, start)
        codes = backend.encode(x_unit, params.W_enc, params.b_enc, k)
        reject(
            faults(codes.values)[0],
            "expected rows whose codes are finite, got a code with NaN or infinity",
            name,
            start,
        )
        empty_rows(zero, codes)
        indices[rows].copy_to_device(codes.indices)
        values[rows].copy_to_device(codes.values)
    return Codes.trusted(indices, values, params.n_latents, model)


class DeviceSource:
    """Embeddings on a device to train on: batches are gathered there, and all else reads copies of a few rows."""

    ndim = 2

    def __init__(self, x: Any, backend: Backend) -> None:
        x = as_device_embeddings(x, backend, "x", None)
        self.dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        self.rows = backend.cast(x, self.dtype)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> Any:
        return to_host(self.rows[rows])

    def check(self) -> None:
        """`data.check_rows`, without a copy."""
        from compressae_ref.backends.cuda.embeddings import faults

        reject_rows(*faults(self.rows), "x", 0, zeros=False)

    def batches(
        self, batch_size: int, rng: np.random.Generator, held_out: NDArray[np.int64], buffer_rows: int
    ) -> Iterator[Any]:
        """The batches of `data.shuffled_batches`, on the device: what is shuffled are the numbers of rows."""
        from compressae_ref.backends.cuda.embeddings import some_rows

        source = _Numbers(len(self))
        drawn = shuffled_batches(source, batch_size, rng, held_out=held_out, buffer_rows=buffer_rows, zeros=True)
        for numbers in drawn:
            yield some_rows(self.rows, numbers[:, 0].astype(np.int64))


class _Numbers:
    """The numbers of n rows, as embeddings of one dimension."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        return np.arange(*rows.indices(self._n), dtype=np.float64)[:, None]
