"""Read and write codes in Parquet and Arrow: columns ``id``, ``indices``, ``values``, and metadata in the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import require_unfolding
from compressae_ref.codes import Codes, is_refined, refined_entry
from compressae_ref.errors import FormatError, reason
from compressae_ref.files.foreign.arrow_ids import id_type, read_ids
from compressae_ref.files.foreign.arrow_table import ArrowTable, arrow, is_list, open_table, reading_arrow, storage
from compressae_ref.files.foreign.choose_array import id_entry
from compressae_ref.files.foreign.parquet import table_writer
from compressae_ref.files.foreign.ragged import ListedCodes, Lists
from compressae_ref.files.foreign.rows import IdEntry
from compressae_ref.files.input_file import InputFile

META = b"compressae"
"""Key of the JSON metadata in the schema: k, model, n_latents, and refined if it is true."""

ENCODINGS = {"indices.list.element": "DELTA_BINARY_PACKED", "values.list.element": "BYTE_STREAM_SPLIT"}
"""Parquet encodings for ascending integers and for floats. They make the files about a third smaller."""


def scan(path: str, file: InputFile, kind: str, ids: IdEntry = True) -> ListedCodes:
    """Read the metadata, the ids and the row lengths of a file of codes."""
    with reading_arrow(path):
        table = open_table(file, kind)
        for name in ("indices", "values"):
            if name not in table.schema.names:
                raise FormatError(f"expected columns indices and values, got {', '.join(table.schema.names)}")
            if not is_list(table.schema.field(name).type):
                raise FormatError(f"expected lists in column {name}, got {table.schema.field(name).type}")
        longest, entries = _longest(table)
        require_unfolding(table.size, 8 * entries, "codes")
    try:
        meta = json.loads((table.schema.metadata or {}).get(META, b"{}"))
        n_latents, model, refined = meta.get("n_latents"), meta.get("model"), is_refined(meta)
    except (ValueError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"expected a JSON object under {META.decode()!r} in the schema's metadata, "
            f"got {table.schema.metadata[META][:40]!r} ({reason(error)})"
        ) from error
    column = id_entry(path, ids, table.schema.names)
    return ListedCodes(
        table.n,
        longest,
        entries,
        n_latents if type(n_latents) is int else None,
        model if isinstance(model, str) else None,
        None if column is None else read_ids(path, table, column),
        lambda: _lists(path, table),
        refined,
    )


def _longest(table: ArrowTable) -> tuple[int, int]:
    """Return the entries of the longest row, at least 1, and of all rows."""
    longest, entries = 1, 0
    for batch in table.batches(["indices"])[1]:
        lengths = np.asarray(storage(batch.column(0)).value_lengths().fill_null(0))
        longest, entries = max(longest, int(lengths.max(initial=0))), entries + int(lengths.sum())
    return longest, entries


def _lists(path: str, table: ArrowTable) -> Iterator[Lists]:
    first = 0
    with reading_arrow(path):
        for batch in table.batches(["indices", "values"])[1]:
            indices, values = (_column(storage(batch.column(name)), name, first) for name in ("indices", "values"))
            if not np.array_equal(indices[1], values[1]):
                row = first + int(np.argmax(indices[1] != values[1]))
                got = f"{indices[1][row - first]} and {values[1][row - first]}"
                raise FormatError(f"expected as many indices as values, got {got}", row=row)
            yield indices[0], values[0], indices[1]
            first += batch.num_rows


def _column(column: Any, name: str, first_row: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the concatenated entries of a list column, and the length of each list. FormatError for nulls."""
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise FormatError(f"expected a list in column {name}, got null", row=row)
    entries = column.flatten()
    kind = {"indices": "iu", "values": "f"}[name]
    array = entries.to_numpy(zero_copy_only=False)
    if entries.null_count or array.dtype.kind not in kind:
        got = f"{entries.null_count} nulls" if entries.null_count else str(column.type)
        raise FormatError(f"expected lists of {_ENTRIES[kind]} without nulls in column {name}, got {got}")
    return array.astype(np.int64) if kind == "iu" else array, np.asarray(column.value_lengths(), np.int64)


_ENTRIES = {"iu": "integers", "f": "floats"}


def write(file: IO[bytes], kind: str, like: Codes, blocks: Iterable[Codes], ids: NDArray[Any]) -> None:
    """Write codes with their ids, one record batch per block."""
    pa = arrow()
    floats = pa.from_numpy_dtype(like.values.dtype)
    facts = {"k": like.k, "model": like.model, "n_latents": like.n_latents}
    schema = pa.schema(
        [("id", id_type(ids)), ("indices", pa.list_(pa.uint32(), like.k)), ("values", pa.list_(floats, like.k))],
        {META: json.dumps(facts | refined_entry(like)).encode()},
    )
    first = 0
    with table_writer(file, kind, schema, column_encoding=ENCODINGS, use_dictionary=["id"]) as write_batch:
        for codes in blocks:
            entries = (codes.indices.astype(np.uint32), codes.values)
            lists = (pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), like.k) for part in entries)
            write_batch([pa.array(ids[first : first + len(codes)], id_type(ids)), *lists])
            first += len(codes)
