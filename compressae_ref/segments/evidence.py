"""Names of segments, and the items that show what a segment is: strongest, median, borderline, opposite, inactive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.segments.composing import key_name, made_distinct
from compressae_ref.segments.fidelity import MULTIPLIER
from compressae_ref.segments.membership import ROWS_PER_BLOCK, Members, numbers_of, numbers_of_keys, strengths_of
from compressae_ref.segments.namer import Evidence, Namer, named_by
from compressae_ref.segments.names import Method, Names, again, name_segments, pick_texts

SHOWN = 10
"""Items of each kind that a namer is shown."""
SAMPLE = 2000
"""Items among which inactive ones are found."""


class Ranked:
    """The items of each segment, the strongest first; equally strong ones in the order of the items."""

    def __init__(self, members: Members) -> None:
        rows, places = np.nonzero(members.segments >= 0)
        of, strengths = members.segments[rows, places], members.strengths[rows, places]
        order = np.lexsort((rows, -strengths, of))
        self._rows, self._strengths = rows[order], strengths[order]
        self._start = np.searchsorted(of[order], np.arange(len(members.keys) + 1))

    def strongest(self, segment: int, count: int) -> list[tuple[int, float]]:
        """Return items and strengths of the strongest ones."""
        first, last = self._start[segment : segment + 2]
        return self._items(first, min(first + count, last))

    def borderline(self, segment: int, count: int) -> list[tuple[int, float]]:
        """Return those of the weakest ones, the weakest first."""
        first, last = self._start[segment : segment + 2]
        return self._items(max(last - count, first), last)[::-1]

    def median(self, segment: int, count: int) -> list[tuple[int, float]]:
        """Return those in the middle."""
        first, last = self._start[segment : segment + 2]
        start = max(first, (first + last - count) // 2)
        return self._items(start, min(start + count, last))

    def _items(self, first: int, last: int) -> list[tuple[int, float]]:
        part = slice(first, last)
        return list(zip(self._rows[part].tolist(), self._strengths[part].tolist(), strict=True))


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
    ranked, inactive = Ranked(members), inactive_items(codes, members.keys)
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
    hashes = np.arange(len(codes), dtype=np.uint64) * np.uint64(MULTIPLIER) & np.uint64(0xFFFF_FFFF)
    rows = np.argsort(hashes, kind="stable")[:SAMPLE]
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
