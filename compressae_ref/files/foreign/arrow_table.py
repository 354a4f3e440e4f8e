"""Open Parquet files, Arrow files and Arrow streams as batches of columns, within limits on what they unfold to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from compressae_ref.files.foreign.arrow_messages import rows_of_file, rows_of_stream
from compressae_ref.files.foreign.parquet_footer import read_row_groups, require_few_items
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.npz import reading
from compressae_ref.optional import require_package
from compressae_ref.row_source import STREAM_ROWS

TEXTS = {"string", "large_string", "binary", "large_binary"}
VIEWS = {"string_view", "binary_view"}
"""Arrow's names of the types of texts and bytes of any length. Views may share their bytes."""


class Batches(Protocol):
    """A function that returns the record batches of a file."""

    def __call__(self, names: list[str], row: int = 0) -> tuple[int, Iterator[Any]]:
        """Return the number of a row at or before ``row``, and the batches of the columns from there on."""


def arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules."""
    return require_package(module, "parquet", "Parquet and Arrow files")


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
