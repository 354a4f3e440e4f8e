"""Read columns of strings, numbers, dates and times of Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.arrow_ids import UUID_BYTES, id_items, item_bytes, text_of
from compressae_ref.files.foreign.arrow_table import ArrowTable, arrow, storage, storage_type
from compressae_ref.files.foreign.choose_array import require_distinct

STRINGS = {"string", "large_string", "string_view"}
"""Arrow's names of the types of strings."""

BYTES_PER_BLOCK = 1 << 20
"""Bytes of strings that become Python objects at a time."""


class ArrowColumns:
    """The columns of a Parquet or Arrow file. Call it, and read it, in `npz.reading`.

    ``likely`` are those that may hold ids: integers, strings and UUIDs.
    """

    written = False

    def __init__(self, table: ArrowTable) -> None:
        self._table = table
        schema = table.schema
        require_distinct(schema.names)
        self.n, self.names = self._table.n, list(schema.names)
        self._kinds = {field.name: storage_type(field.type) for field in schema}
        self.textual = [name for name, kind in self._kinds.items() if str(_value_type(kind)) in STRINGS]
        integers = arrow("pyarrow.types").is_integer
        whole = {name for name, kind in self._kinds.items() if integers(kind) or _is_uuid(kind)}
        self.likely = [name for name in self.names if name in whole or name in self.textual]

    def blocks(self, name: str) -> Iterator[list[Any] | NDArray[Any]]:
        """Yield the values of a column: arrays, or lists if there are strings or nulls among them."""
        if not _is_read(kind := self._kinds[name]):
            expected = "a column of strings, numbers, booleans, dates or times"
            raise FormatError(f"expected {expected}, got {str(kind)[:40]}", argument=name)
        for batch in self._table.batches([name])[1]:
            column = storage(batch.column(0))
            yield from map(_values, _parts(column) if name in self.textual else [column])


def _value_type(kind: Any) -> Any:
    """Return the type of the values of a dictionary, or the type itself."""
    return storage_type(kind.value_type) if arrow("pyarrow.types").is_dictionary(kind) else kind


def _is_read(kind: Any) -> bool:
    types, kind = arrow("pyarrow.types"), _value_type(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    return bool(number or types.is_timestamp(kind) or types.is_date(kind) or str(kind) in STRINGS or _is_uuid(kind))


def _is_uuid(kind: Any) -> bool:
    return bool(arrow("pyarrow.types").is_fixed_size_binary(kind) and kind.byte_width == UUID_BYTES)


def _parts(column: Any) -> Iterator[Any]:
    """Yield consecutive parts of a column of strings, of about `BYTES_PER_BLOCK`, however many share their bytes."""
    sizes = item_bytes(column)
    if arrow("pyarrow.types").is_dictionary(column.type):  # of which `_values` makes each string once
        first = np.unique(np.asarray(column.indices.fill_null(-1)), return_index=True)[1]
        sizes = np.bincount(first, sizes[first], len(sizes)).astype(np.int64)
    starts = np.flatnonzero(np.diff(np.cumsum(sizes) // BYTES_PER_BLOCK, prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], len(column)), strict=True):
        yield column.slice(int(start), int(stop - start))


def _values(column: Any) -> list[Any] | NDArray[Any]:
    types = arrow("pyarrow.types")
    if types.is_dictionary(column.type):
        used, places = np.unique(np.asarray(column.indices.fill_null(-1)).astype(np.int64), return_inverse=True)
        items = column.dictionary.take(arrow().array(used, mask=used < 0))
        values = np.fromiter(_items(items), object, len(items))
        return list(values[places])
    return _items(column)


def _items(column: Any) -> list[Any] | NDArray[Any]:
    types = arrow("pyarrow.types")
    if types.is_timestamp(column.type) or types.is_date(column.type):  # a null becomes NaT
        times: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return times.astype("datetime64[s]") if times.dtype.kind == "O" else times
    if _is_uuid(column.type):
        return [None if item is None else text_of(item) for item in id_items(column)]
    if column.null_count or str(column.type) in STRINGS or types.is_decimal(column.type):
        items: list[Any] = column.to_pylist()
        return items
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return numbers
