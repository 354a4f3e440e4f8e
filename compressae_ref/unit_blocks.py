"""The one way in which embeddings reach the kernels: checked unit rows, in blocks, where a backend computes.

`open_rows` is the only place that asks where embeddings lie. Encoding, refining, queries and training read what it
returns in one loop, `unit_blocks`, whether that is in the memory of the processor or of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats, on_device
from compressae_ref.backends import Backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_zero_rows, reject_codes
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError
from compressae_ref.row_source import NonzeroRows, RowSource, as_source, check_rows, read_block, read_rows

ROWS_PER_BLOCK = 2048
"""Rows whose (rows, h) pre-activations are in memory at once. The choice affects memory and speed only."""


class UnitBlock(NamedTuple):
    """Consecutive rows of a source."""

    start: int
    """number of the first row"""
    x_unit: Floats
    """(n, d) unit rows, of x̄ − μ if there is a mean, where the kernels run; a zero row has some direction"""
    zero: Bools
    """(n,) which rows are zero (R4)"""


class Rows(Protocol):
    """Embeddings to read, wherever they lie."""

    skipped: int
    """number of zero rows that are left out, and not counted or read"""

    def __len__(self) -> int:
        """Number of rows."""

    @property
    def d(self) -> int:
        """Dense dimension."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 for embeddings in float64."""

    def block(self, start: int, stop: int, zeros: bool) -> tuple[Any, Bools]:
        """Checked rows without zero rows, which are replaced by others, and which rows these are."""

    def check(self) -> None:
        """Read everything once: a bad row is an error now, not when training comes to it (R3)."""

    def select(self, numbers: NDArray[np.int64]) -> Floats:
        """Checked rows by ascending number, in the memory of the processor."""

    def gather(self, numbers: NDArray[np.int64]) -> Any:
        """Rows by ascending number, where they lie. `check` has read them before."""

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Row numbers, for messages: those of the embeddings that were opened, with zero rows."""

    def finish(self, codes: Codes, zero: Bools, start: int, model: str | None) -> Codes:
        """Codes of a block, where its rows lie: finite, zeros for ``zero`` rows (R4), with their model's digest."""

    def join(self, parts: Sequence[Codes]) -> Codes:
        """All codes below each other, where the rows lie."""


def open_rows(
    x: Any,
    backend: Backend,
    name: str = "x",
    d: int | None = None,
    *,
    empty: bool = False,
    zero_rows: ZeroRows = "error",
) -> Rows:
    """Return a reader of embeddings for a backend.

    Parameters
    ----------
    x : an array, on a device too, or any `RowSource`
    name : what messages call it
    d : the dimension that is expected, if any
    empty : whether it may have no rows
    zero_rows : with "skip", one pass over all rows finds the zero rows, and the reader leaves them out

    Raises
    ------
    BackendError
        If x lies on a device where the backend does not compute.
    """
    if not on_device(x):
        return HostRows(as_source(x, name, empty=empty), name, d, empty=empty, zero_rows=zero_rows)
    if backend.name != "cuda":
        raise BackendError(
            f"expected an array in the computer's memory for backend {backend.name!r}, got one on a CUDA device",
            argument=name,
            hint="use backend='cuda'",
        )
    from compressae_ref.backends.cuda.host import DeviceRows

    return DeviceRows(x, name, d, empty=empty, zero_rows=zero_rows)


def unit_blocks(
    rows: Rows,
    dtype: Any,
    backend: Backend,
    zero_rows: ZeroRows = "error",
    first_row: int = 0,
    rows_per_block: int | None = None,
    mean: Floats | None = None,
) -> Iterator[UnitBlock]:
    """Read checked unit rows in ``dtype`` from ``first_row`` on, block by block (E3); with a mean, centred (E26)."""
    size, zeros = rows_per_block or ROWS_PER_BLOCK, as_zero_rows(zero_rows) == "empty"
    for start in range(first_row, len(rows), size):
        block, zero = rows.block(start, start + size, zeros)
        x_unit = backend.unit_rows(backend.place(block), dtype)
        if mean is not None:
            x_unit = backend.unit_rows(backend.place(backend.fetch(x_unit) - mean), dtype)
        yield UnitBlock(start, x_unit, zero)


class HostRows:
    """Embeddings in the memory of the processor, or in a file: any `RowSource`."""

    def __init__(
        self,
        source: RowSource,
        name: str = "x",
        d: int | None = None,
        *,
        empty: bool = False,
        zero_rows: ZeroRows = "error",
    ) -> None:
        if as_zero_rows(zero_rows) == "skip" and not isinstance(source, NonzeroRows):
            source = NonzeroRows(source, empty=empty, name=name, d=d)
        self.source, self._name, self._d = source, name, d
        self.skipped = source.skipped if isinstance(source, NonzeroRows) else 0
        if len(source) == 0:  # there will be no block to check
            as_embeddings(source[0:0], name=name, d=d)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def _first(self) -> Floats:
        return as_embeddings(self.source[0:1], name=self._name, d=self._d, zeros=True)

    @property
    def d(self) -> int:
        """Dense dimension."""
        return int(self._first.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 for embeddings in float64."""
        return self._first.dtype

    def block(self, start: int, stop: int, zeros: bool) -> tuple[Floats, Bools]:
        """Checked rows, and which are zero. Without zero rows nothing is copied."""
        block, zero = read_block(self.source, start, stop - start, name=self._name, d=self._d, zeros=zeros)
        return (np.where(zero[:, None], block.dtype.type(1), block) if zero.any() else block), zero

    def check(self) -> None:
        """Read everything once."""
        check_rows(self.source, name=self._name, d=self.d)

    def select(self, numbers: NDArray[np.int64]) -> Floats:
        """Checked rows by ascending number."""
        return read_rows(self.source, numbers, name=self._name, d=self.d)

    def gather(self, numbers: NDArray[np.int64]) -> Floats:
        """Checked rows by ascending number."""
        return self.select(numbers)

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Row numbers in the source that was opened."""
        return self.source.numbers(start, stop) if isinstance(self.source, NonzeroRows) else np.arange(start, stop)

    def finish(self, codes: Codes, zero: Bools, start: int, model: str | None) -> Codes:
        """Codes in the memory of the processor."""
        codes = codes.to_host()
        infinite = ~np.isfinite(codes.values).all(axis=1)
        reject_codes(infinite, self._name, self.numbers(start, start + len(codes)))
        if zero.any():  # spec: "on request it gets a code of zeros at the indices 0 to k − 1"
            codes.indices[zero], codes.values[zero] = np.arange(codes.k), 0
        return Codes.trusted(codes.indices, codes.values, codes.n_latents, model)

    def join(self, parts: Sequence[Codes]) -> Codes:
        """All codes below each other."""
        return Codes.concatenate(parts)
