"""Codes as lines of JSON: in each a point of Qdrant, as its interface takes points.

``{"id": 7, "vector": {"codes": {"indices": [3, 77], "values": [0.5, -0.25]}}}``; what is read may also be just
``{"indices": [...], "values": [...]}``. Values are written with as few digits as give the same float again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, FormatError
from compressae_ref.files.foreign.ragged import ListedCodes, Lists
from compressae_ref.item_ids import as_ids
from compressae_ref.row_source import STREAM_ROWS

MOST_LINE = 1 << 26
"""Bytes of a line at most."""

FIELD = "codes"
"""Name of the sparse vector of a point."""


def scan(path: str) -> ListedCodes:
    """What stands in a file; every line is looked at once."""
    n, k, ids = 0, 1, []
    for point in _points(path):
        k = max(k, len(point[1]))
        ids.append(point[0])
        n += 1
    try:
        given = None if all(each is None for each in ids) else as_ids(ids)
    except CompressaeError as error:
        raise FormatError(f"expected an id in each line, all whole numbers or all texts, got {error}") from error
    return ListedCodes(n, k, None, None, given, lambda: _lists(path))


def _lists(path: str) -> Iterator[Lists]:
    block: list[tuple[Any, list[int], list[float]]] = []
    for point in _points(path):
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


def _points(path: str) -> Iterator[tuple[Any, list[int], list[float]]]:
    """Id (or None), indices and values of each line."""
    with open(path, "rb") as file:  # noqa: PTH123
        number = 0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            if len(line) > MOST_LINE:
                raise FormatError(f"expected at most {MOST_LINE} bytes in a line, got more in line {number}")
            if line.strip():
                yield _point(line, number)


def _point(line: bytes, number: int) -> tuple[Any, list[int], list[float]]:
    try:
        point = json.loads(line)
        vector = point.get("vector", point)
        vector = vector if "indices" in vector else next(each for each in vector.values() if "indices" in each)
        indices, values = vector["indices"], vector["values"]
        good = len(indices) == len(values) and all(type(each) is int and 0 <= each < 2**32 for each in indices)
        numbers = [float(value) for value in values]
    except (ValueError, TypeError, LookupError, AttributeError, StopIteration, RecursionError, OverflowError) as error:
        raise FormatError(
            f'expected {{"indices": [...], "values": [...]}}, got something else in line {number}'
        ) from error
    if not good:
        raise FormatError(f"expected as many whole numbers as values, got others in line {number}")
    return point.get("id"), indices, numbers


def write(file: IO[bytes], blocks: Iterable[Codes], ids: NDArray[Any]) -> None:
    """Write codes; ids are whole numbers from 0 or UUIDs, as Qdrant takes no others."""
    _check_ids(ids)
    first = 0
    for codes in blocks:
        texts = codes.values.astype(np.str_)  # the shortest that give these values
        named = ids[first : first + len(codes)].tolist()
        for each, indices, values in zip(named, codes.indices.tolist(), texts.tolist(), strict=True):
            file.write(
                f'{{"id": {json.dumps(each)}, "vector": {{"{FIELD}": '
                f'{{"indices": {indices}, "values": [{", ".join(values)}]}}}}}}\n'.encode()
            )
        first += len(codes)


def _check_ids(ids: NDArray[Any]) -> None:
    for row, each in enumerate(ids.tolist()):
        if not (each >= 0 if isinstance(each, int) else _is_uuid(each)):
            raise DomainError(f"expected ids that are whole numbers from 0 or UUIDs, got {short_repr(each)}", row=row)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
