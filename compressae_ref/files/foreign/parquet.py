"""Read and write embeddings in Parquet and Arrow: a column of equally long lists of floats, and optional ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import no_rows, require_unfolding
from compressae_ref.errors import DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.arrow_columns import STRINGS, ArrowColumns
from compressae_ref.files.foreign.arrow_ids import id_type, read_ids
from compressae_ref.files.foreign.arrow_table import (
    ArrowTable,
    arrow,
    is_list,
    open_table,
    reading_arrow,
    storage,
    storage_type,
)
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry, require_distinct
from compressae_ref.files.foreign.id_columns import IdColumns, that_say_ids
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, Place
from compressae_ref.files.foreign.text_embeddings import dtype_of, vector_in
from compressae_ref.files.input_file import InputFile

FLOATS = {"halffloat": np.float16, "float": np.float32, "double": np.float64}
"""Arrow's names of the float types."""

INTEGERS = {"int8": np.float32}
"""Integers that are read as floats of the same values, as those of ``.i8bin``."""


GROUP_ROWS = 65_536
"""Minimum rows per row group of a written file, except the last. Readers load or skip whole groups."""


def open_columns(place: Place, file: InputFile, kind: str) -> EmbeddingRows:
    """Open the column of embeddings of a Parquet or Arrow file. Rows are read in blocks.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        If the file is damaged or has no such column. On reading, if a row is null, holds nulls or has another length.
    """
    with reading_arrow(place.path):
        table = open_table(file, kind)
        name, dtype = _chosen_column(place, table.schema)
        columns = ArrowColumns(table)
        is_text = name in columns.textual
        if is_text:
            d, dtype = _vectors_in_text(place, columns, name)
            bits = 8 * np.dtype(dtype).itemsize
        else:
            d = _length_of_lists(place, table, name)
            bits = storage_type(table.schema.field(name).type).value_type.bit_width
        require_unfolding(table.size, table.n * d * bits // 8, f"column {name}")
    others = [each for each in columns.names if each != name]
    fixed = id_entry(place.file, place.ids, columns.names)
    likely = [each for each in columns.likely if place.ids is True and each != name]
    claims = that_say_ids(others) if place.ids is True else []

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        first, batches = table.batches([name], row)
        return first, blocks(first, batches)

    def blocks(first: int, batches: Iterator[Any]) -> Iterator[Floats]:
        for batch in batches:
            column = storage(batch.column(0))
            yield (_rows_in_text if is_text else _rows)(place, column, d, dtype, first)
            first += batch.num_rows

    return EmbeddingRows(
        (table.n, d),
        dtype,
        Forwards(begin),
        sequential=True,
        ids=IdColumns(
            others, table.n, fixed, claims, likely, columns.blocks, lambda column: read_ids(place.file, table, column)
        ),
        place=place,
    )


def _chosen_column(place: Place, schema: Any) -> tuple[str, Any]:
    """Return the name of the column of embeddings, and the dtype of its rows, None for lists in text.

    Lists of int8 are read as float32. Text is taken for embeddings if its column is asked for, or has a usual name.
    """
    require_distinct(schema.names)
    kinds = {field.name: _items_of_list(field.type) for field in schema}
    floats = [name for name, items in kinds.items() if items in FLOATS]
    candidates = floats or [name for name, items in kinds.items() if items in INTEGERS]
    texts = [field.name for field in schema if str(storage_type(field.type)) in STRINGS]
    candidates = candidates or [name for name in texts if name in EMBEDDING_ENTRIES]
    name = chosen_entry(place, candidates, {field.name: str(field.type) for field in schema})
    if name in texts:
        return name, None
    dtype = (FLOATS | INTEGERS).get(kinds[name] or "")
    if dtype is None:
        raise DTypeError(f"expected a column of lists of floats, got {schema.field(name).type}", path=place)
    return name, dtype


def _items_of_list(kind: Any) -> str | None:
    """Return Arrow's name of the items in a list type, or None if it is no list."""
    return str(storage_type(kind).value_type) if is_list(kind) else None


def _length_of_lists(place: Place, table: ArrowTable, name: str) -> int:
    """Return the length of the first list that is neither null nor empty."""
    kind = storage_type(table.schema.field(name).type)
    if arrow("pyarrow.types").is_fixed_size_list(kind):
        if kind.list_size < 1:
            raise ShapeError(f"expected lists of at least one number in column {name!r}, got {kind.list_size}")
        return int(kind.list_size)
    if table.n == 0:
        raise no_rows(path=place)
    for batch in table.batches([name])[1]:
        lengths = _lengths(storage(batch.column(0)))
        if (lengths > 0).any():
            return int(lengths[np.argmax(lengths > 0)])
    raise ShapeError(f"expected lists of floats in column {name!r}, got only nulls and empty lists", path=place)


def _vectors_in_text(place: Place, columns: ArrowColumns, name: str) -> tuple[int, Any]:
    """Return the length and the dtype of the lists that a column of strings writes, by its first row."""
    for block in columns.blocks(name):
        if len(block):
            numbers = _vector(place, block[0], 0)
            return len(numbers), dtype_of(numbers)
    raise no_rows(path=place)


def _rows_in_text(place: Place, column: Any, d: int, dtype: Any, first_row: int) -> Floats:
    rows = [_vector(place, text, row) for row, text in enumerate(column.to_pylist(), first_row)]
    for row, numbers in enumerate(rows, first_row):
        if len(numbers) != d:
            raise ShapeError(f"expected {d} numbers as in the first row, got {len(numbers)}", path=place, row=row)
    return np.array(rows, dtype)


def _vector(place: Place, text: Any, row: int) -> list[float]:
    try:
        return vector_in(text or "")
    except ValueError as error:
        hint = "the column holds text: store lists of floats, or lists as text, such as [0.1, 0.2]"
        raise FormatError(f"expected a list of numbers, {error}", path=place, row=row, hint=hint) from None


def _lengths(column: Any) -> NDArray[np.int64]:
    """Return the lengths of lists, −1 for null."""
    lengths: NDArray[np.int64] = np.asarray(column.value_lengths().fill_null(-1)).astype(np.int64)
    return lengths


def _rows(place: Place, column: Any, d: int, dtype: Any, first_row: int) -> Floats:
    """Convert a column of lists to an array (rows, d). ShapeError for nulls and lists of another length."""
    lengths = _lengths(column)
    wrong = lengths != d
    if wrong.any():
        row = int(np.argmax(wrong))
        got = "null" if lengths[row] < 0 else f"{lengths[row]}"
        raise ShapeError(f"expected lists of {d} numbers, got {got}", path=place, row=first_row + row)
    values = column.flatten()
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // d
        raise ShapeError(f"expected lists of {d} numbers, got a list with nulls", path=place, row=first_row + row)
    block: Floats = values.to_numpy(zero_copy_only=False).reshape(-1, d).astype(dtype, copy=False)
    return block


def write_columns(
    file: IO[bytes],
    kind: str,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    blocks: Iterable[Floats],
    ids: NDArray[Any],
) -> None:
    """Write rows as equally long lists, with their ids."""
    pa = arrow()
    of_list = pa.list_(pa.from_numpy_dtype(dtype), shape[1])
    schema = pa.schema(
        [
            ("id", id_type(ids)),
            (EMBEDDING_ENTRIES[0], of_list),
        ]
    )
    with table_writer(file, kind, schema) as write:
        start = 0
        for block in blocks:
            lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(block).reshape(-1)), shape[1])
            write([pa.array(ids[start : start + len(block)], id_type(ids)), lists])
            start += len(block)


@contextmanager
def table_writer(file: IO[bytes], kind: str, schema: Any, **parquet: Any) -> Iterator[Callable[[list[Any]], None]]:
    """Yield a function that appends a batch of columns to a Parquet or Arrow file. Batches are joined to row groups."""
    pa = arrow()
    if kind == "parquet":
        writer = arrow("pyarrow.parquet").ParquetWriter(file, schema, compression="zstd", **parquet)
    else:
        writer = arrow("pyarrow.ipc").new_file(file, schema)
    group: list[Any] = []

    def end_group() -> None:
        if group:
            writer.write_table(pa.Table.from_batches(group))
            group.clear()

    def write(columns: list[Any]) -> None:
        group.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        if sum(batch.num_rows for batch in group) >= GROUP_ROWS:
            end_group()

    with writer:
        yield write
        end_group()
