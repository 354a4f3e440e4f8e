"""Names of segments, and the items that show what a segment is: strongest, median, borderline, opposite, inactive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.segments.composing import key_name, made_distinct
from compressae_ref.segments.contrast import Doubles
from compressae_ref.segments.fidelity import hashes
from compressae_ref.segments.membership import ROWS_PER_BLOCK, Members, numbers_of, numbers_of_keys, strengths_of
from compressae_ref.segments.namer import Evidence, Namer, named_by
from compressae_ref.segments.names import Names, again, name_segments, pick_texts
from compressae_ref.segments.settings import Method

SHOWN = 10
"""Items of each kind that a namer is shown."""
SAMPLE = 2000
"""Items among which inactive ones are found."""


class Ranked:
    """The items of groups by a value, the largest first; those of equal values in the order of the items."""

    def __init__(self, groups: NDArray[np.integer], rows: NDArray[np.int64], values: NDArray[np.floating]) -> None:
        order = np.lexsort((rows, -values, groups))
        self._groups, self._rows, self._values = groups[order], rows[order], values[order]

    @classmethod
    def by_strength(cls, members: Members) -> Ranked:
        """Return the items of each segment by their strength."""
        rows, places = np.nonzero(members.segments >= 0)
        return cls(members.segments[rows, places], rows, members.strengths[rows, places])

    @classmethod
    def by_weight(cls, members: Members, bins: NDArray[np.int64], weights: Doubles, n_bins: int) -> Ranked:
        """Return the items of each segment s and bin b, as group s · n_bins + b, by their weight."""
        rows, places = np.nonzero(members.segments >= 0)
        cells = members.segments[rows, places].astype(np.int64) * n_bins + bins[rows]
        return cls(cells, rows, weights[rows])

    def strongest(self, group: int, count: int) -> list[tuple[int, float]]:
        """Return items and values of those with the largest values."""
        first, last = self._ends(group)
        return self._items(first, min(first + count, last))

    def borderline(self, group: int, count: int) -> list[tuple[int, float]]:
        """Return those of the smallest values, the smallest first."""
        first, last = self._ends(group)
        return self._items(max(last - count, first), last)[::-1]

    def median(self, group: int, count: int) -> list[tuple[int, float]]:
        """Return those in the middle."""
        first, last = self._ends(group)
        start = max(first, (first + last - count) // 2)
        return self._items(start, min(start + count, last))

    def _ends(self, group: int) -> tuple[int, int]:
        first, last = np.searchsorted(self._groups, [group, group + 1]).tolist()
        return first, last

    def _items(self, first: int, last: int) -> list[tuple[int, float]]:
        part = slice(first, last)
        return list(zip(self._rows[part].tolist(), self._values[part].tolist(), strict=True))


@dataclass(frozen=True)
class Naming:
    """What `named` found."""

    found: Names
    names: list[str]
    """of the segments: computed ones, or those of a namer"""
    named_by: list[str]
    """of each segment: the method of the computed names, "namer", or "carried" from an earlier model"""
    method: str
    """of the computed names, which alone are rated"""
    texts: Iterable[str | None] = field(repr=False)
    n: int
    """the number of texts"""


def named(
    texts: Iterable[str | None],
    members: Members,
    codes: Codes,
    *,
    method: Method,
    namer: Namer | None,
    timeout: float,
) -> Naming:
    """Name segments by words, and then by a namer if there is one."""
    texts = again(texts)
    found = name_segments(texts, members, method=method)
    if found.wordless == len(members.segments):
        raise DomainError("expected texts with words, got none in any item", argument="texts")
    names, sources = list(found.names), [str(method)] * len(found.names)
    if namer is not None:
        for s, name in enumerate(named_by(namer, _evidence(texts, members, codes, found), timeout)):
            if name is not None:
                names[s], sources[s] = name, "namer"
    return Naming(found, names, sources, str(method), texts, len(members.segments))


def carried(naming: Naming, names: dict[int, str], keys: NDArray[np.int32]) -> Naming:
    """Return a naming with some names of another one, by segment."""
    own = [names.get(s, name) for s, name in enumerate(naming.names)]
    sources = ["carried" if s in names else source for s, source in enumerate(naming.named_by)]
    return replace(naming, names=made_distinct(own, [key_name(*key) for key in keys.tolist()]), named_by=sources)


def _evidence(texts: Iterable[str | None], members: Members, codes: Codes, found: Names) -> list[Evidence]:
    ranked, inactive = Ranked.by_strength(members), inactive_items(codes, members.keys)
    kinds = [
        ([row for row, _ in ranked.strongest(s, SHOWN)], [row for row, _ in ranked.borderline(s, SHOWN)], inactive[s])
        for s in range(len(members.keys))
    ]
    picked = pick_texts(texts, {row for own in kinds for rows in own for row in rows})
    result = []
    for (latent, sign), name, terms, own in zip(members.keys.tolist(), found.names, found.terms, kinds, strict=True):
        shown = (tuple(picked[row] for row in rows if row in picked) for rows in own)
        result.append(Evidence(latent, sign, name, tuple(term.term for term in terms), *shown))
    return result


def inactive_items(codes: Codes, keys: NDArray[np.int32], count: int = SHOWN) -> list[list[int]]:
    """Return, for each segment, items whose codes do not store its latent: the first in the order of their hashes."""
    rows = np.argsort(hashes(len(codes)), kind="stable")[:SAMPLE]
    latents = np.where(codes.values[rows] == 0, -1, codes.indices[rows])
    return [rows[~(latents == latent).any(axis=1)][:count].tolist() for latent in keys[:, 0]]


def opposite_items(codes: Codes, keys: NDArray[np.int32], count: int) -> list[list[tuple[int, float]]]:
    """Return, for each segment, the items that store its latent with the other sign, strongest first, and strengths."""
    of_key = numbers_of_keys(keys * np.array([1, -1], np.int32), codes.n_latents)
    rows, of, strengths = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    for start in range(0, len(codes), ROWS_PER_BLOCK):
        block = codes[start : start + ROWS_PER_BLOCK]
        own = of_key[numbers_of(block)]
        new, places = np.nonzero(own >= 0)
        rows = np.concatenate([rows, start + new])
        of = np.concatenate([of, own[new, places]])
        strengths = np.concatenate([strengths, strengths_of(block)[new, places]])
        order = np.lexsort((rows, -strengths, of))
        order = order[np.arange(len(of)) - np.searchsorted(of[order], of[order]) < count]
        rows, of, strengths = rows[order], of[order], strengths[order]
    result: list[list[tuple[int, float]]] = [[] for _ in keys]
    for row, segment, strength in zip(rows.tolist(), of.tolist(), strengths.tolist(), strict=True):
        result[segment].append((row, strength))
    return result
