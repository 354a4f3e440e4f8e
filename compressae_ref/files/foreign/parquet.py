"""Read and write embeddings in Parquet and Arrow: a column of equally long lists of floats, and optional ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import no_rows, require_unfolding
from compressae_ref.errors import DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.arrow_messages import rows_of_file, rows_of_stream
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.parquet_footer import read_row_groups, require_few_items
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, Place
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.npz import reading
from compressae_ref.item_ids import as_ids
from compressae_ref.optional import require_package
from compressae_ref.row_source import STREAM_ROWS

FLOATS = {"halffloat": np.float16, "float": np.float32, "double": np.float64}
"""Arrow's names of the float types."""

INTEGERS = {"int8": np.float32}
"""Integers that are read as floats of the same values, as those of ``.i8bin``."""

TEXTS = {"string", "large_string", "binary", "large_binary"}
VIEWS = {"string_view", "binary_view"}
"""Arrow's names of the types of texts and bytes of any length. Views may share their bytes."""

GROUP_ROWS = 65_536
"""Minimum rows per row group of a written file, except the last. Readers load or skip whole groups."""


class Batches(Protocol):
    """A function that returns the record batches of a file."""

    def __call__(self, names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        """Return the number of a row at or before ``row``, and the batches of the columns from there on."""


def arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules."""
    return require_package(module, "parquet", "Parquet and Arrow files")


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
        d = _length_of_lists(place, table, name)
        items = storage_type(table.schema.field(name).type).value_type
        require_unfolding(table.size, table.n * d * items.bit_width // 8, f"column {name}")
    ids = id_entry(place.file, place.ids, table.schema.names)

    def begin(row: int) -> tuple[int, Iterator[Floats]]:
        first, columns = table.batches([name], row)
        return first, blocks(first, columns)

    def blocks(first: int, columns: Iterator[Any]) -> Iterator[Floats]:
        for batch in columns:
            yield _rows(place, storage(batch.column(0)), d, dtype, first)
            first += batch.num_rows

    return EmbeddingRows(
        (table.n, d),
        dtype,
        Forwards(begin),
        sequential=True,
        ids=None if ids is None else lambda: read_ids(place.file, table, ids),
        place=place,
    )


def _chosen_column(place: Place, schema: Any) -> tuple[str, Any]:
    """Return the name of the column of embeddings, and the dtype of its rows. Lists of int8 are read as float32."""
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        raise FormatError(f"expected columns of different names, got {twice!r} twice", path=place.path)
    kinds = {field.name: _items_of_list(field.type) for field in schema}
    floats = [name for name, items in kinds.items() if items in FLOATS]
    candidates = floats or [name for name, items in kinds.items() if items in INTEGERS]
    name = chosen_entry(place, candidates, {field.name: str(field.type) for field in schema})
    dtype = (FLOATS | INTEGERS).get(kinds[name] or "")
    if dtype is None:
        raise DTypeError(f"expected a column of lists of floats, got {schema.field(name).type}", path=place)
    return name, dtype


@dataclass(frozen=True)
class ArrowTable:
    """An open Parquet or Arrow file."""

    n: int
    size: int
    """bytes of the file"""
    schema: Any
    batches: Batches


def open_table(file: InputFile, kind: str) -> ArrowTable:
    """Open a file: "parquet", "arrow" or "arrow-stream". Call it, and iterate over batches, in `reading_arrow`."""
    return {"parquet": _open_parquet, "arrow": _open_arrow, "arrow-stream": _open_stream}[kind](file)


def _open_parquet(opened: InputFile) -> ArrowTable:
    groups = read_row_groups(opened)
    parquet_file = arrow("pyarrow.parquet").ParquetFile
    file = parquet_file(_native(opened), buffer_size=1 << 20)
    lengths = [group.rows for group in groups]

    def batches(names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        number, first = _holding(lengths, row)
        return first, _checked(unfolded(names, range(number, len(groups))), names)

    def unfolded(names: list[str], numbers: range) -> Iterator[Any]:
        # a text of which the dictionary is not unfolded takes its bytes once
        texts = [name for name in names if str(file.schema_arrow.field(name).type) in TEXTS | VIEWS]
        chosen = parquet_file(_native(opened), buffer_size=1 << 20, read_dictionary=texts) if texts else file
        for number in numbers:
            require_few_items(opened, groups[number], names)
            yield from chosen.iter_batches(STREAM_ROWS, row_groups=[number], columns=names, use_threads=False)

    return ArrowTable(sum(lengths), opened.size, file.schema_arrow, batches)


def _open_arrow(opened: InputFile) -> ArrowTable:
    ipc = arrow("pyarrow.ipc")
    lengths = rows_of_file(opened)
    schema = ipc.open_file(_native(opened)).schema

    def batches(names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        group, first = _holding(lengths, row)
        chosen = ipc.open_file(_native(opened), options=_only(schema, names))
        return first, _checked((chosen.get_batch(number) for number in range(group, len(lengths))), names)

    return ArrowTable(sum(lengths), opened.size, schema, batches)


def _open_stream(opened: InputFile) -> ArrowTable:
    ipc = arrow("pyarrow.ipc")
    n = sum(rows_of_stream(opened))
    schema = ipc.open_stream(_native(opened)).schema

    def read(names: list[str]) -> Iterator[Any]:
        yield from ipc.open_stream(_native(opened), options=_only(schema, names))

    return ArrowTable(n, opened.size, schema, lambda names, row=0: (0, _checked(read(names), names)))


def _native(opened: InputFile) -> Any:
    """Return Arrow's own file of a descriptor. A Python file would be read by Arrow's threads after it was closed."""
    return arrow().OSFile(opened.descriptor_path)


def _only(schema: Any, names: list[str]) -> Any:
    """Return options that read only these columns."""
    return arrow("pyarrow.ipc").IpcReadOptions(
        use_threads=False, included_fields=[schema.get_field_index(name) for name in names]
    )


def _holding(lengths: list[int], row: int) -> tuple[int, int]:
    """Return the number of the row group that holds a row, and the number of the group's first row."""
    ends = np.cumsum(lengths, dtype=np.int64)
    group = int(np.searchsorted(ends, row, "right"))
    return group, int(ends[group - 1]) if group else 0


def _checked(batches: Iterable[Any], names: list[str]) -> Iterator[Any]:
    """Yield batches of the named columns, of at most `STREAM_ROWS` rows, after a check of all offsets and texts.

    Arrow itself trusts them, and would read outside of its memory.
    """
    for batch in batches:
        batch.validate(full=True)
        for start in range(0, batch.num_rows, STREAM_ROWS):
            yield batch.select(names).slice(start, STREAM_ROWS)


def reading_arrow(path: str) -> AbstractContextManager[None]:
    """Name the file in errors, as `npz.reading`."""
    return reading(path, "a Parquet or Arrow file")


def storage_type(kind: Any) -> Any:
    """Return the type in which an extension type is stored, or the type itself."""
    types = arrow("pyarrow").BaseExtensionType
    return storage_type(kind.storage_type) if isinstance(kind, types) else kind


def storage(column: Any) -> Any:
    """Return a column of an extension type as it is stored."""
    return storage(column.storage) if isinstance(column.type, arrow("pyarrow").BaseExtensionType) else column


def is_list(kind: Any) -> bool:
    """Return whether a type is one of Arrow's lists, or is stored as one."""
    types, kind = arrow("pyarrow.types"), storage_type(kind)
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


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
            parts.append(_id_items(column))
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


def _id_items(column: Any) -> NDArray[Any]:
    """Return the values of a stored column as an array of integers or of Python objects."""
    types = arrow("pyarrow.types")
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_integer(column.type) and not column.null_count:
        ids: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return ids
    items = column.to_pylist()
    if types.is_fixed_size_binary(column.type) and column.type.byte_width == 16:
        from uuid import UUID

        items = [item if item is None or _is_ascii_text(item) else UUID(bytes=item) for item in items]
    return np.fromiter(items, object, len(items))


def _is_ascii_text(item: bytes) -> bool:
    return item.isascii() and item.decode().isprintable()


def id_type(ids: NDArray[Any]) -> Any:
    """Return the Arrow type of integer or string ids."""
    return arrow().string() if ids.dtype.kind == "O" else arrow().from_numpy_dtype(ids.dtype)


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
