"""The segments of an index: items that were added together, merged as the index grows (a log-structured merge)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.codes import Codes


@dataclass
class Segment:
    """Items that are searched together, with what their search needs."""

    codes: Codes
    norms: Floats
    """(n,) norms in the space of the index"""
    index: Any
    """the search index of the backend, from `build_index`"""
    norms_hat: Floats | None = None
    """(n,) ‖x̂‖, computed on first use"""

    @classmethod
    def of(cls, codes: Codes, norms: Floats, backend: Backend) -> Segment:
        """Return a segment with a search index."""
        return cls(codes, norms, backend.build_index(codes, norms))


def joined(segments: Sequence[Segment], backend: Backend) -> Segment:
    """Merge segments into one, in their order."""
    if len(segments) == 1:
        return segments[0]
    codes = Codes.concatenate([segment.codes for segment in segments])
    return Segment.of(codes, np.concatenate([segment.norms for segment in segments]), backend)


def balanced(segments: Sequence[Segment], backend: Backend) -> list[Segment]:
    """Merge until each segment has more than twice the items of the next: few segments, and an item rarely moves."""
    balanced = list(segments)
    while len(balanced) > 1 and 2 * len(balanced[-1].codes) >= len(balanced[-2].codes):
        balanced[-2:] = [joined(balanced[-2:], backend)]
    return balanced


def rows_of(segments: Sequence[Segment], like: Codes, rows: NDArray[np.int64]) -> tuple[Codes, Floats]:
    """Return the codes and ‖x̂‖ of rows that are numbered over all segments."""
    shape, dtype = (len(rows), like.k), like.values.dtype
    indices, values, norms_hat = np.empty(shape, np.int32), np.empty(shape, dtype), np.empty(len(rows), dtype)
    first = 0
    for segment in segments:
        inside = (first <= rows) & (rows < first + len(segment.codes))
        local = rows[inside] - first
        indices[inside], values[inside] = segment.codes.indices[local], segment.codes.values[local]
        assert segment.norms_hat is not None
        norms_hat[inside] = segment.norms_hat[local]
        first += len(segment.codes)
    return Codes.trusted(indices, values, like.n_latents, like.model, refined=like.refined), norms_hat
