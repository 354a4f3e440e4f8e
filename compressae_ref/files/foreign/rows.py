"""Present the rows of a file as a source for training, encoding and search (`row_source.RowSource`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.files.foreign.id_columns import IdColumns
from compressae_ref.files.npz import reading
from compressae_ref.row_source import STREAM_ROWS, NonzeroRows

MAX_ROWS_AHEAD = 16 * STREAM_ROWS
"""A row at most this far ahead is reached by reading on, any other one by starting again near it."""


IdEntry = str | bool
"""The array or column of ids: its name, True for the one that is found (`id_columns`), False for no ids."""


class Place(NamedTuple):
    """An array in a file."""

    path: str
    entry: str | None
    """name of the array or column; None: choose the default (`choose_array`)"""
    ids: IdEntry = True
    """the array or column of the ids"""

    @property
    def file(self) -> str:
        """The name of the file, for messages."""
        return "standard input" if self.path == "-" else self.path

    def __str__(self) -> str:
        return self.file if self.entry is None else f"{self.file}::{self.entry}"


class EmbeddingRows:
    """Embeddings that are read on access: ``rows[start:stop]`` is an array (stop − start, d).

    Parameters
    ----------
    shape : (n, d)
    dtype : dtype of the rows
    read : ``read(start, stop)`` returns rows
    ids : the columns beside the embeddings, of which one may hold the ids; None if the format has none
    place : the file or array, which errors name
    sequential : True if reading blocks in any other order than the file's is slow
    """

    ndim = 2

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: Any,
        read: Callable[[int, int], Floats],
        *,
        ids: IdColumns | None = None,
        sequential: bool = False,
        place: object = None,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.sequential = sequential
        self._place = place
        self._read = read
        self.id_columns = ids

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Floats:
        start, stop, _ = rows.indices(len(self))
        with self._reading():
            block = self._read(start, max(start, stop))
        return block if len(block) else np.empty((0, self.shape[1]), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        blocks = [np.empty((0, self.shape[1]), self.dtype)]
        for start in range(0, len(self), STREAM_ROWS):
            blocks.append(self[start : start + STREAM_ROWS])
            if len(blocks[-1]) == 0:  # the file has fewer rows than it declares
                break
        return np.concatenate(blocks).astype(dtype or self.dtype)

    @property
    def columns(self) -> list[str]:
        """The names of the columns or arrays beside the embeddings, [] if the format has none."""
        return [] if self.id_columns is None else self.id_columns.names

    @cached_property
    def id_name(self) -> str | None:
        """The column of the ids, or None if there are none. On first access columns are read until one qualifies."""
        if self.id_columns is None:
            return None
        with self._reading():
            return self.id_columns.chosen()

    @cached_property
    def ids(self) -> NDArray[Any] | None:
        """The ids of the rows, read on first access, or None if the file has none."""
        if self.id_columns is None or self.id_name is None:
            return None
        with self._reading():
            return self.id_columns.read(self.id_name)

    def _reading(self) -> AbstractContextManager[None]:
        return nullcontext() if self._place is None else reading(self._place, "rows of embeddings")


def rows_in_file(place: Place, array: Any, ids: IdColumns | None = None) -> EmbeddingRows:
    """Return an array (n, d), in memory or in a file, as a source that names the file in errors."""
    return EmbeddingRows(array.shape, array.dtype, lambda start, stop: array[start:stop], ids=ids, place=place)


def ids_of(source: Any) -> NDArray[Any] | None:
    """Return the ids of a source of rows, or None if it has none. CompressaeError for ids that `as_ids` refuses."""
    if isinstance(source, NonzeroRows):
        ids = ids_of(source.source)
        return None if ids is None else ids[source.numbers()]
    return source.ids if isinstance(source, EmbeddingRows) else None


class Forwards:
    """The ``read`` function of `EmbeddingRows` for a file that can only be read forwards in blocks.

    Parameters
    ----------
    begin : ``begin(row)`` returns the number of a row at or before ``row``, and the blocks from there on
    """

    def __init__(self, begin: Callable[[int], tuple[int, Iterator[Floats]]]) -> None:
        self._begin = begin
        self._blocks: Iterator[Floats] = iter(())
        self._first, self._block = 0, None

    def _restart(self, row: int) -> None:
        self._first, self._blocks = self._begin(row)
        self._block = None

    def __call__(self, start: int, stop: int) -> Floats:
        """Read rows [start, stop). Rows behind the current block, or far ahead of it, start a new iteration."""
        if self._block is None or not 0 <= start - self._first < MAX_ROWS_AHEAD:
            self._restart(start)
        parts = []
        while self._advance_to(start):
            assert self._block is not None
            part = self._block[start - self._first : stop - self._first]
            parts.append(part)
            start += len(part)
            if start >= stop:
                break
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, 0))])

    _block: Floats | None
    _first: int

    def _advance_to(self, row: int) -> bool:
        """Read blocks until one holds ``row``. Return False if the file ends before it."""
        while self._block is None or row >= self._first + len(self._block):
            self._first += 0 if self._block is None else len(self._block)
            self._block = next(self._blocks, None)
            if self._block is None:
                return False
        return True
