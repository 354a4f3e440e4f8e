"""Ids in a column of a Parquet or Arrow file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import require_unfolding
from compressae_ref.files.foreign.arrow_table import TEXTS, VIEWS, ArrowTable, arrow, reading_arrow, storage
from compressae_ref.item_ids import as_ids

UUID_BYTES = 16


def read_ids(path: str, table: ArrowTable, name: str) -> NDArray[Any]:
    """Read a column with the ids of all rows. Errors as in `as_ids`.

    16 bytes of fixed size are a UUID unless they are all printable ASCII: the variant of a UUID sets a bit that ASCII
    does not have.
    """
    with reading_arrow(path):
        parts, unfolded = [], 0
        for batch in table.batches([name])[1]:
            column = storage(batch.column(0))
            unfolded += int(item_bytes(column).sum())
            require_unfolding(table.size, unfolded, f"column {name}")
            parts.append(id_items(column))
        return as_ids(np.concatenate(parts) if parts else [], table.n, name, path)


def item_bytes(column: Any) -> NDArray[np.int64]:
    """Return the bytes of each item of a column when its dictionary, runs or views are unfolded."""
    types = arrow("pyarrow.types")
    if types.is_dictionary(column.type):
        sizes = np.append(item_bytes(column.dictionary), 0)
        of_items: NDArray[np.int64] = sizes[np.asarray(column.indices.fill_null(len(sizes) - 1))]
        return of_items
    if types.is_run_end_encoded(column.type):
        ends = np.clip(np.asarray(column.run_ends).astype(np.int64) - column.offset, 0, len(column))
        return np.repeat(item_bytes(column.values), np.diff(ends, prepend=0))
    if str(column.type) in VIEWS:  # each of 16 bytes starts with its length
        views = np.frombuffer(column.buffers()[1] or b"", "<i4")[::4]
        return views[column.offset : column.offset + len(column)].astype(np.int64)
    if str(column.type) in TEXTS:
        offsets = np.frombuffer(column.buffers()[1] or b"", "<i8" if "large" in str(column.type) else "<i4")
        return np.diff(offsets[column.offset : column.offset + len(column) + 1]).astype(np.int64)
    return np.full(len(column), 8)


def id_items(column: Any) -> NDArray[Any]:
    """Return the values of a stored column as an array of integers or of Python objects."""
    types = arrow("pyarrow.types")
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_integer(column.type) and not column.null_count:
        ids: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return ids
    items = column.to_pylist()
    if types.is_fixed_size_binary(column.type) and column.type.byte_width == UUID_BYTES:
        from uuid import UUID

        items = [item if item is None or _is_ascii_text(item) else UUID(bytes=item) for item in items]
    return np.fromiter(items, object, len(items))


def text_of(item: Any) -> str:
    """Return a UUID, or bytes of ASCII, as text."""
    return item.decode() if isinstance(item, bytes) else str(item)


def _is_ascii_text(item: bytes) -> bool:
    return item.isascii() and item.decode().isprintable()


def id_type(ids: NDArray[Any]) -> Any:
    """Return the Arrow type of integer or string ids."""
    return arrow().string() if ids.dtype.kind == "O" else arrow().from_numpy_dtype(ids.dtype)
