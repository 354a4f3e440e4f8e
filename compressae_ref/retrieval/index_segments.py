"""Items in segments: what was added together stays together, until there are as many more."""

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
    """Items that are searched together, and what their search needs."""

    codes: Codes
    norms: Floats
    """(n,) of the space they are searched in"""
    index: Any
    """what the backend made of them"""
    norms_hat: Floats | None = None
    """(n,) ‖x̂‖, once somebody has needed them"""

    @classmethod
    def of(cls, codes: Codes, norms: Floats, backend: Backend) -> Segment:
        """A segment with lists."""
        return cls(codes, norms, backend.build_index(codes, norms))


def joined(segments: Sequence[Segment], backend: Backend) -> Segment:
    """One segment of all the items, in their order."""
    if len(segments) == 1:
        return segments[0]
    codes = Codes.concatenate([each.codes for each in segments])
    return Segment.of(codes, np.concatenate([each.norms for each in segments]), backend)


def balanced(segments: Sequence[Segment], backend: Backend) -> list[Segment]:
    """Each with more than twice the items of the next: so there are few of them, and an item moves rarely."""
    balanced = list(segments)
    while len(balanced) > 1 and 2 * len(balanced[-1].codes) >= len(balanced[-2].codes):
        balanced[-2:] = [joined(balanced[-2:], backend)]
    return balanced


def rows_of(segments: Sequence[Segment], like: Codes, rows: NDArray[np.int64]) -> tuple[Codes, Floats]:
    """Codes and ‖x̂‖ of some rows, by their numbers over all segments."""
    shape, dtype = (len(rows), like.k), like.values.dtype
    indices, values, norms_hat = np.empty(shape, np.int32), np.empty(shape, dtype), np.empty(len(rows), dtype)
    first = 0
    for segment in segments:
        here = (first <= rows) & (rows < first + len(segment.codes))
        some = rows[here] - first
        indices[here], values[here] = segment.codes.indices[some], segment.codes.values[some]
        assert segment.norms_hat is not None
        norms_hat[here] = segment.norms_hat[some]
        first += len(segment.codes)
    return Codes.trusted(indices, values, like.n_latents, like.model), norms_hat
