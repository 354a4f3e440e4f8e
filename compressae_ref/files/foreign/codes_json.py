"""Read and write codes as JSON lines, one Qdrant point per line.

A line is ``{"id": 7, "vector": {"codes": {"indices": [3, 77], "values": [0.5, -0.25]}}}``. Lines of the form
``{"indices": [...], "values": [...]}`` can be read, too. Values are written with the fewest digits that give the same
float.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, FormatError, reason
from compressae_ref.files.foreign.ragged import ListedCodes, Lists
from compressae_ref.files.input_file import InputFile
from compressae_ref.item_ids import MAX_ID, as_ids
from compressae_ref.row_source import STREAM_ROWS

MAX_LINE_BYTES = 1 << 21
"""The longest line that is read: about 80,000 entries. The objects of a line take many times as much memory."""

FIELD = "codes"
"""Name of the sparse vector in a point."""


def scan(path: str, file: InputFile) -> ListedCodes:
    """Read the ids and the numbers of rows and entries. Every line is checked."""
    n, k, entries, ids = 0, 1, 0, []
    for point in _points(file):
        k, entries = max(k, len(point[1])), entries + len(point[1])
        ids.append(point[0])
        n += 1
    try:
        array = None if all(item is None for item in ids) else as_ids(ids)
    except CompressaeError as error:
        row = _first_unlike(ids)
        raise FormatError(
            f"expected an id in each line, all 64-bit integers or all strings, got {short_repr(ids[row])}",
            path=path,
            row=row,
        ) from error
    return ListedCodes(n, k, entries, None, None, array, lambda: _lists(file))


def _first_unlike(ids: list[Any]) -> int:
    """Return the row of the first id that is not valid, or not of the type of the first id."""
    kind = type(ids[0]) if type(ids[0]) in (int, str) else None
    return next((row for row, item in enumerate(ids) if type(item) is not kind or (kind is int and item > MAX_ID)), 0)


def _lists(file: InputFile) -> Iterator[Lists]:
    block: list[tuple[Any, list[int], list[float]]] = []
    for point in _points(file):
        block.append(point)
        if len(block) == STREAM_ROWS:
            yield _joined(block)
            block = []
    if block:
        yield _joined(block)


def _joined(block: list[tuple[Any, list[int], list[float]]]) -> Lists:
    indices = np.array([index for point in block for index in point[1]], np.int64)
    values = np.array([value for point in block for value in point[2]], np.float32)
    return indices, values, np.array([len(point[1]) for point in block])


def _points(file: InputFile) -> Iterator[tuple[Any, list[int], list[float]]]:
    """Yield the id (or None), the indices and the values of each line."""
    lines, number = io.BufferedReader(file.stream(), 1 << 16), 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(f"expected lines of at most {MAX_LINE_BYTES} bytes, got a longer line {number}")
        if line.strip():
            yield _point(line, number)


def _point(line: bytes, number: int) -> tuple[Any, list[int], list[float]]:
    try:
        point = json.loads(line)
        vector = point.get("vector", point)
        vector = vector if "indices" in vector else next(field for field in vector.values() if "indices" in field)
        indices, values = vector["indices"], vector["values"]
        wrong = [index for index in indices if type(index) is not int or not 0 <= index < 2**32]
        numbers = [float(value) for value in values]
    except Exception as error:
        start = short_repr(line[:40].decode(errors="replace"))
        raise FormatError(
            f'expected {{"indices": [...], "values": [...]}}, got {start} in line {number} ({reason(error)})'
        ) from error
    if wrong:
        raise FormatError(f"expected indices from 0 to 2**32 - 1, got {short_repr(wrong[0])} in line {number}")
    if len(indices) != len(values):
        raise FormatError(f"expected as many indices as values, got {len(indices)} and {len(values)} in line {number}")
    return point.get("id"), indices, numbers


def write(file: IO[bytes], blocks: Iterable[Codes], ids: NDArray[Any]) -> None:
    """Write codes as points. Qdrant accepts only non-negative integers and UUIDs as ids."""
    _check_ids(ids)
    first = 0
    for codes in blocks:
        texts = codes.values.astype(np.str_)  # NumPy writes the fewest digits that give the same value
        block_ids = ids[first : first + len(codes)].tolist()
        for item, indices, values in zip(block_ids, codes.indices.tolist(), texts.tolist(), strict=True):
            file.write(
                f'{{"id": {json.dumps(item)}, "vector": {{"{FIELD}": '
                f'{{"indices": {indices}, "values": [{", ".join(values)}]}}}}}}\n'.encode()
            )
        first += len(codes)


def _check_ids(ids: NDArray[Any]) -> None:
    for row, item in enumerate(ids.tolist()):
        if not (item >= 0 if isinstance(item, int) else _is_uuid(item)):
            raise DomainError(
                f"expected non-negative integers or UUIDs, got {short_repr(item)}", argument="ids", row=row
            )


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
