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
from compressae_ref.errors import DomainError, FormatError, reason
from compressae_ref.files.foreign.ragged import ListedCodes, Lists
from compressae_ref.files.foreign.rows import IdEntry
from compressae_ref.files.input_file import InputFile
from compressae_ref.item_ids import as_ids
from compressae_ref.row_source import STREAM_ROWS

MAX_LINE_BYTES = 1 << 21
"""The longest line that is read: about 80,000 entries. The objects of a line take many times as much memory."""

FIELD = "codes"
"""Name of the sparse vector in a point."""


def scan(path: str, file: InputFile, ids: IdEntry = True) -> ListedCodes:
    """Read the ids and the numbers of rows and entries. Every line is checked."""
    n, k, entries, found, key = 0, 1, 0, [], ids if isinstance(ids, str) else "id"
    for point in _points(file, key):
        k, entries = max(k, len(point[1])), entries + len(point[1])
        found.append(point[0])
        n += 1
    without = ids is False or (ids is True and all(item is None for item in found))
    array = None if without else as_ids(found, n, key, path)
    return ListedCodes(n, k, entries, None, None, array, lambda: _lists(file))


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


def _points(file: InputFile, key: str = "id") -> Iterator[tuple[Any, list[int], list[float]]]:
    """Yield the id (or None), which has the name ``key``, the indices and the values of each line."""
    lines, number = io.BufferedReader(file.stream(), 1 << 16), 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(f"expected lines of at most {MAX_LINE_BYTES} bytes, got a longer line {number}")
        if line.strip():
            yield _point(line, number, key)


def _point(line: bytes, number: int, key: str) -> tuple[Any, list[int], list[float]]:
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
    return point.get(key), indices, numbers


def write(file: IO[bytes], blocks: Iterable[Codes], ids: NDArray[Any]) -> None:
    """Write codes as points, with ids that passed `check_ids`."""
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


def check_ids(ids: NDArray[Any]) -> None:
    """Raise DomainError for the first id that Qdrant refuses: it accepts non-negative integers and UUIDs only."""
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
