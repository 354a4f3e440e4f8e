"""Codes in Parquet and Arrow: columns ``id``, ``indices`` and ``values``, and facts about all of them in the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.codes import Codes
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.choose_array import id_entry
from compressae_ref.files.foreign.parquet import (
    Batches,
    arrow,
    damage_named,
    id_type,
    open_table,
    read_ids,
    table_writer,
)
from compressae_ref.files.foreign.ragged import ListedCodes, Lists

META = b"compressae"
"""Key of the schema under which the facts about all rows stand, as JSON."""

ENCODINGS = {"indices.list.element": "DELTA_BINARY_PACKED", "values.list.element": "BYTE_STREAM_SPLIT"}
"""Of Parquet: ascending numbers by their differences, and the bytes of floats by their places: a third smaller."""


def scan(path: str, kind: str) -> ListedCodes:
    """What stands in a file of codes; only their lengths and the ids are read."""
    with damage_named(path):
        n, schema, batches = open_table(path, kind)
    for name in ("indices", "values"):
        if name not in schema.names:
            raise FormatError(f"expected columns indices and values, got {', '.join(schema.names)}")
    try:
        meta = json.loads((schema.metadata or {}).get(META, b"{}"))
        n_latents, model = meta.get("n_latents"), meta.get("model")
    except (ValueError, AttributeError) as error:
        raise FormatError(f"expected facts as JSON under {META.decode()!r} in the schema, got others") from error
    ids = id_entry(schema.names)
    return ListedCodes(
        n,
        _longest(path, batches),
        n_latents if type(n_latents) is int else None,
        model if isinstance(model, str) else None,
        None if ids is None else read_ids(path, batches, ids),
        lambda: _lists(path, batches),
    )


def _longest(path: str, batches: Batches) -> int:
    with damage_named(path):
        lengths = [np.asarray(batch.column(0).value_lengths().fill_null(0)) for batch in batches(["indices"])[1]]
    return max([1, *(int(part.max(initial=0)) for part in lengths)])


def _lists(path: str, batches: Batches) -> Iterator[Lists]:
    first = 0
    with damage_named(path):
        for batch in batches(["indices", "values"])[1]:
            indices, values = (_column(batch.column(name), name, first) for name in ("indices", "values"))
            if not np.array_equal(indices[1], values[1]):
                row = first + int(np.argmax(indices[1] != values[1]))
                raise FormatError("expected as many indices as values, got other numbers", row=row)
            yield indices[0], values[0], indices[1]
            first += batch.num_rows


def _column(column: Any, name: str, first_row: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Entries of lists one after the other, and their lengths; there are no nulls."""
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise FormatError(f"expected a list in column {name}, got null", row=row)
    entries = column.flatten()
    kind = {"indices": "iu", "values": "f"}[name]
    array = entries.to_numpy(zero_copy_only=False)
    if entries.null_count or array.dtype.kind not in kind:
        raise FormatError(f"expected numbers in the lists of column {name}, got {column.type} or nulls among them")
    return array.astype(np.int64) if kind == "iu" else array, np.asarray(column.value_lengths(), np.int64)


def write(file: IO[bytes], kind: str, like: Codes, blocks: Iterable[Codes], ids: NDArray[Any]) -> None:
    """Write codes with their ids, one batch for each block."""
    pa = arrow()
    floats = pa.from_numpy_dtype(like.values.dtype)
    schema = pa.schema(
        [("id", id_type(ids)), ("indices", pa.list_(pa.uint32(), like.k)), ("values", pa.list_(floats, like.k))],
        {META: json.dumps({"k": like.k, "model": like.model, "n_latents": like.n_latents}).encode()},
    )
    first = 0
    with table_writer(file, kind, schema, column_encoding=ENCODINGS, use_dictionary=["id"]) as write_batch:
        for codes in blocks:
            entries = (codes.indices.astype(np.uint32), codes.values)
            lists = (pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), like.k) for part in entries)
            write_batch([pa.array(ids[first : first + len(codes)]), *lists])
            first += len(codes)
