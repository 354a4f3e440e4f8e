"""The mean of the rows to train on, and training on rows without it (``spec/center.md``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.center import MeanDirection
from compressae_ref.checks import as_mean
from compressae_ref.errors import BackendError
from compressae_ref.row_source import BLOCK_ROWS
from compressae_ref.training.settings import TrainConfig
from compressae_ref.unit_blocks import HostRows, Rows

SAMPLED_BLOCKS = 16
"""Blocks of rows from which the mean cosine is estimated if the mean is not subtracted."""


def mean_direction(rows: Rows, held_out: NDArray[np.int64], config: TrainConfig, backend: Backend) -> MeanDirection:
    """Return the mean of all training rows if it will be subtracted, else of evenly spaced blocks of rows."""
    direction = MeanDirection(rows.d)
    starts = np.arange(0, len(rows), BLOCK_ROWS)
    if not config.center and len(starts) > SAMPLED_BLOCKS:
        starts = starts[np.linspace(0, len(starts) - 1, SAMPLED_BLOCKS).astype(int)]
    for start in starts.tolist():
        block, _ = rows.block(start, start + BLOCK_ROWS, zeros=False)
        direction.add(backend.fetch(backend.unit_rows(backend.place(block), config.dtype)))
    if config.center and len(held_out):
        direction.add(reference.unit_rows(rows.select(held_out), config.dtype), sign=-1)
    return direction


def centred_rows(rows: Rows, mean: Floats, backend: Backend) -> Rows:
    """Return rows x̄ − μ (E26).

    Raises
    ------
    DomainError
        If all rows have almost one direction (R21). BackendError for rows on a device.
    """
    if not isinstance(rows, HostRows):
        raise BackendError(
            "expected embeddings in the computer's memory for center=True, got an array on a CUDA device",
            argument="x",
            hint="copy it to the host",
        )
    return HostRows(CentredSource(rows, as_mean(mean, rows.d, "x"), backend))


class CentredSource:
    """A source of rows x̄ − μ, computed when they are read."""

    def __init__(self, rows: HostRows, mean: Floats, backend: Backend) -> None:
        self._rows, self._mean, self._backend = rows, mean, backend
        self.shape, self.dtype = (len(rows), rows.d), mean.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> Floats:
        start, stop, _ = rows.indices(len(self))
        block, _ = self._rows.block(start, stop, zeros=False)
        x_unit: Floats = self._backend.fetch(self._backend.unit_rows(self._backend.place(block), self.dtype))
        return x_unit - self._mean
