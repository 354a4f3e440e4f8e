"""Read and write embeddings in Parquet and Arrow: a column of equally long lists of floats, and optional ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import no_rows
from compressae_ref.errors import DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, Place
from compressae_ref.files.npz import reading
from compressae_ref.optional import require_package
from compressae_ref.row_source import STREAM_ROWS

FLOATS = {"halffloat": np.float16, "float": np.float32, "double": np.float64}
"""Arrow's names of the float types."""

GROUP_ROWS = 65_536
"""Minimum rows per row group of a written file, except the last. Readers load or skip whole groups."""


class Batches(Protocol):
    """A function that returns the record batches of a file."""

    def __call__(self, names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        """Return the number of a row at or before ``row``, and the batches of the columns from there on."""


def arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules."""
    return require_package(module, "parquet", "Parquet and Arrow files")


def open_columns(place: Place, kind: str) -> EmbeddingRows:
    """Open the column of embeddings of a Parquet or Arrow file. Rows are read in blocks.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        If the file is damaged or has no such column. On reading, if a row is null, holds nulls or has another length.
    """
    with reading_arrow(place.path):
        n, schema, batches = open_table(place.path, kind)
    kinds = {field.name: _kind_of_list(field.type) for field in schema}
    name = chosen_entry(place, [name for name, floats in kinds.items() if floats], schema.names)
    if kinds[name] is None:
        raise DTypeError(f"expected a column of lists of floats, got {schema.field(name).type}", path=place)
    with reading_arrow(place.path):
        d = _length_of_lists(place, batches, name, schema.field(name).type)
    dtype, ids = FLOATS[str(kinds[name])], id_entry(schema.names)

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        first, columns = batches([name], row)
        return first, blocks(first, columns)

    def blocks(first: int, columns: Iterator[Any]) -> Iterator[Floats]:
        with reading_arrow(place.path):
            for batch in columns:
                yield _rows(place, batch.column(0), d, dtype, first)
                first += batch.num_rows

    return EmbeddingRows(
        (n, d),
        dtype,
        Forwards(begin),
        sequential=True,
        ids=None if ids is None else lambda: read_ids(place.path, batches, ids),
    )


def open_table(path: str, kind: str) -> tuple[int, Any, Batches]:
    """Open a Parquet or Arrow file. Return its number of rows, its schema, and a function that reads batches."""
    return _open_parquet(path) if kind == "parquet" else _open_arrow(path)


def _open_parquet(path: str) -> tuple[int, Any, Batches]:
    file = arrow("pyarrow.parquet").ParquetFile(path, memory_map=True)
    lengths = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]

    def batches(names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        group, first = _holding(lengths, row)
        groups = range(group, len(lengths))
        return first, file.iter_batches(STREAM_ROWS, row_groups=groups, columns=names)

    return file.metadata.num_rows, file.schema_arrow, batches


def _open_arrow(path: str) -> tuple[int, Any, Batches]:
    reader = arrow("pyarrow.ipc").open_file(arrow().memory_map(path))
    lengths = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]

    def batches(names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        group, first = _holding(lengths, row)
        return first, _slices(reader.get_batch(number).select(names) for number in range(group, len(lengths)))

    return sum(lengths), reader.schema, batches


def _holding(lengths: list[int], row: int) -> tuple[int, int]:
    """Return the number of the row group that holds a row, and the number of the group's first row."""
    ends = np.cumsum(lengths, dtype=np.int64)
    group = int(np.searchsorted(ends, row, "right"))
    return group, int(ends[group - 1]) if group else 0


def _slices(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, STREAM_ROWS):
            yield batch.slice(start, STREAM_ROWS)


def reading_arrow(path: str) -> AbstractContextManager[None]:
    """Name the file in errors, as `npz.reading`, also in those of pyarrow."""
    return reading(path, "a Parquet or Arrow file", arrow().ArrowException)


def _kind_of_list(kind: Any) -> str | None:
    """Return Arrow's name of the floats in a list type, or None if it is no list of floats."""
    types = arrow("pyarrow.types")
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return str(kind.value_type) if is_list and str(kind.value_type) in FLOATS else None


def _length_of_lists(place: Place, batches: Batches, name: str, kind: Any) -> int:
    if arrow("pyarrow.types").is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in batches([name])[1]:
        if batch.num_rows:
            return len(batch.column(0)[0].as_py() or ())
    raise no_rows(path=place)


def _rows(place: Place, column: Any, d: int, dtype: Any, first_row: int) -> Floats:
    """Convert a column of lists to an array (rows, d). ShapeError for nulls and lists of another length."""
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    wrong = ~(lengths == d)  # a null has length NaN
    if wrong.any():
        row = int(np.argmax(wrong))
        got = "null" if column[row].as_py() is None else f"{int(lengths[row])}"
        raise ShapeError(f"expected lists of {d} numbers, got {got}", path=place, row=first_row + row)
    values = column.flatten()
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // d
        raise ShapeError(f"expected lists of {d} numbers, got a list with nulls", path=place, row=first_row + row)
    block: Floats = values.to_numpy(zero_copy_only=False).reshape(-1, d).astype(dtype, copy=False)
    return block


def read_ids(path: str, batches: Batches, name: str) -> NDArray[Any]:
    """Read a column of ids: integers or strings, without nulls."""
    with reading_arrow(path):
        columns = [batch.column(0) for batch in batches([name])[1]]
    if any(column.null_count for column in columns):
        raise FormatError(f"expected an id in every row of column {name!r}, got null", path=path)
    ids = np.concatenate([column.to_numpy(zero_copy_only=False) for column in columns])
    if ids.dtype == object and all(isinstance(item, str) for item in ids):
        return ids.astype(np.str_)
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"expected integer or string ids in column {name!r}, got {columns[0].type}", path=path)
    return ids


def id_type(ids: NDArray[Any]) -> Any:
    """Return the Arrow type of integer or string ids."""
    return arrow().string() if ids.dtype.kind == "U" else arrow().from_numpy_dtype(ids.dtype)


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
            write([pa.array(ids[start : start + len(block)]), lists])
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
