"""Parquet and Arrow: a column with a list of floats for each row, of one length, and perhaps a column of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.errors import DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, Place
from compressae_ref.optional import needed_package
from compressae_ref.row_source import STREAM_ROWS

FLOATS = {"halffloat": np.float16, "float": np.float32, "double": np.float64}
"""What Arrow calls the kinds of floats."""

GROUP_ROWS = 65_536
"""Rows, or a few more, that lie together in a written file: a reader skips or loads them together."""


class Batches(Protocol):
    """What gives the record batches of a file."""

    def __call__(self, names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        """Batches of these columns from a row at or before ``row`` on, and the number of that row."""


def arrow(module: str = "pyarrow") -> Any:
    """pyarrow, or a module of it."""
    return needed_package(module, "parquet", "Parquet and Arrow files")


def open_columns(place: Place, kind: str) -> EmbeddingRows:
    """Rows from the column of embeddings of a Parquet or Arrow file, block by block.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        Naming the file: damaged, without such a column, with rows that are null, have another length or hold nulls.
    """
    with damage_named(place.path):
        n, schema, batches = open_table(place.path, kind)
    kinds = {field.name: _kind_of_list(field.type) for field in schema}
    name = chosen_entry(place, [name for name, found in kinds.items() if found], schema.names)
    if kinds[name] is None:
        raise DTypeError(f"expected a column with lists of floats, got {schema.field(name).type}", path=place)
    with damage_named(place.path):
        d = _length_of_lists(place, batches, name, schema.field(name).type)
    dtype, ids = FLOATS[str(kinds[name])], id_entry(schema.names)

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        first, found = batches([name], row)
        return first, blocks(first, found)

    def blocks(first: int, found: Iterator[Any]) -> Iterator[Floats]:
        with damage_named(place.path):
            for batch in found:
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
    """Number of rows, schema, and what gives the batches of a Parquet or Arrow file."""
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
    """Which of some groups of rows holds a row, and the number of the group's first row."""
    ends = np.cumsum(lengths, dtype=np.int64)
    group = int(np.searchsorted(ends, row, "right"))
    return group, int(ends[group - 1]) if group else 0


def _slices(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, STREAM_ROWS):
            yield batch.slice(start, STREAM_ROWS)


@contextmanager
def damage_named(path: str) -> Iterator[None]:
    """What pyarrow raises for damage, as one line with the name of the file."""
    arrow_errors: tuple[type[Exception], ...] = (arrow().ArrowException, OSError, ValueError)
    try:
        yield
    except FileNotFoundError:
        raise
    except arrow_errors as error:
        if isinstance(error, (FormatError, ShapeError, DTypeError)):
            raise
        reason = str(error).splitlines()[0][:200]
        raise FormatError(
            f"expected a Parquet or Arrow file, got a damaged one or a part of one ({reason})", path=path
        ) from error


def _kind_of_list(kind: Any) -> str | None:
    """What Arrow calls the floats of a column of lists; None for what is no list of floats."""
    types = arrow("pyarrow.types")
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return str(kind.value_type) if is_list and str(kind.value_type) in FLOATS else None


def _length_of_lists(place: Place, batches: Batches, name: str, kind: Any) -> int:
    if arrow("pyarrow.types").is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in batches([name])[1]:
        if batch.num_rows:
            return len(batch.column(0)[0].as_py() or ())
    raise ShapeError("expected at least one row, got none", path=place)


def _rows(place: Place, column: Any, d: int, dtype: Any, first_row: int) -> Floats:
    """A block (rows, d) of a column of lists."""
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    wrong = ~(lengths == d)  # a null has length NaN
    if wrong.any():
        row = int(np.argmax(wrong))
        got = "null" if column[row].as_py() is None else f"{int(lengths[row])}"
        raise ShapeError(f"expected lists of {d} numbers, got {got}", path=place, row=first_row + row)
    values = column.flatten()
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // d
        raise ShapeError(f"expected lists of {d} numbers, got a null among them", path=place, row=first_row + row)
    block: Floats = values.to_numpy(zero_copy_only=False).reshape(-1, d).astype(dtype, copy=False)
    return block


def read_ids(path: str, batches: Batches, name: str) -> NDArray[Any]:
    """A column of ids: whole numbers or texts, none of them null."""
    with damage_named(path):
        columns = [batch.column(0) for batch in batches([name])[1]]
    if any(column.null_count for column in columns):
        raise FormatError(f"expected an id in every row of column {name!r}, got null", path=path)
    ids = np.concatenate([column.to_numpy(zero_copy_only=False) for column in columns])
    if ids.dtype == object and all(isinstance(each, str) for each in ids):
        return ids.astype(np.str_)
    if ids.dtype.kind not in "iu":
        raise DTypeError(
            f"expected ids that are whole numbers or texts in column {name!r}, got {columns[0].type}", path=path
        )
    return ids


def id_type(ids: NDArray[Any]) -> Any:
    """What Arrow calls ids: whole numbers or texts."""
    return arrow().string() if ids.dtype.kind == "U" else arrow().from_numpy_dtype(ids.dtype)


def write_columns(
    file: IO[bytes],
    kind: str,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    blocks: Iterable[Floats],
    ids: NDArray[Any],
) -> None:
    """Write rows as lists of one length, with their ids."""
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
    """Gives what writes one batch of columns after the other to a Parquet or Arrow file, some of them in one group."""
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
