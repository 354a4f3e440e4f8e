"""Say how well names tell the items of their segments, on items that were not used to find them (R35, E44)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.segments.contrast import Doubles
from compressae_ref.segments.terms import Block, Corpus, Integers, Pairs, distinct, distinct_keys

MULTIPLIER = 2_654_435_761
"""The prime next to 2³² divided by the golden ratio, which spreads neighbours (Knuth, volume 3, section 6.4)."""
PARTS = 5


class Fidelity(NamedTuple):
    """How well the names of S segments do as classifiers of items."""

    recall: Doubles
    """(S,): of the held-out items of the segment, the share that has a term of the name"""
    precision: Doubles
    """(S,): of the held-out items that have a term of the name, the share that is in the segment"""
    f1: Doubles
    """(S,): balanced F1, as if as many items were in the segment as not (E44)"""


def hashes(n: int) -> NDArray[np.uint64]:
    """Return i · `MULTIPLIER` mod 2³² of n items: numbers that look random, and always the same."""
    return np.arange(n, dtype=np.uint64) * np.uint64(MULTIPLIER) & np.uint64(0xFFFF_FFFF)


def held_out(n: int) -> Bools:
    """Return which of n items are not used to find names: those whose hash times 5 is below 2³² (R35)."""
    held: Bools = hashes(n) * np.uint64(PARTS) < np.uint64(1 << 32)
    return held


def fidelity(corpus: Corpus, names: list[list[tuple[str, ...]]]) -> tuple[Fidelity, int]:
    """Return the fidelity of names, each a list of terms of one or two words, and the held-out items without words.

    An item is found by a name if it has one of its words, or two that follow each other as in one of its pairs (E44).
    With the recall r and the share f of the items outside of the segment that the name finds, in two classes of the
    same size the precision is r / (r + f), and F1 = 2 · r / (1 + r + f). A number is NaN where it would divide by zero,
    and all three are NaN where the name has no term.
    """
    S, finder, wordless = len(names), _Finder(names), -int((~corpus.held_out).sum())
    found, both = np.zeros(S, np.int64), np.zeros(S, np.int64)
    for block in corpus.blocks(held_out=True):
        items, segments = finder.find(block)
        found += np.bincount(segments, minlength=S)
        hit = (corpus.members.segments[items] == segments[:, None]).any(axis=1)
        both += np.bincount(segments[hit], minlength=S)
        wordless += int((block.lengths == 0).sum())
    items = np.flatnonzero(corpus.held_out)
    members = np.bincount(corpus.in_segments(items, items)[0], minlength=S)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision, false = both / members, both / found, (found - both) / (len(items) - members)
    named = np.array([len(name) > 0 for name in names], bool)
    rates = recall, precision, 2.0 * recall / (1.0 + recall + false)
    return Fidelity(*(np.where(named, rate, np.nan) for rate in rates)), wordless


class _Finder:
    """Find items by the terms of names."""

    def __init__(self, names: list[list[tuple[str, ...]]]) -> None:
        words = sorted({word for name in names for term in name for word in term})
        self._index = {word: i for i, word in enumerate(words)}
        owned: list[list[tuple[int, int]]] = [[], []]
        for s, name in enumerate(names):
            for term in name:
                first, *second = (self._index[word] for word in term)
                owned[len(second)].append((first * len(words) + second[0] if second else first, s))
        keys = distinct_keys(np.array([key for key, _ in owned[1]], np.int64))
        self._pairs = Pairs(keys, len(words))
        self._of_words = _Owners(np.arange(len(words)), owned[0])
        self._of_pairs = _Owners(keys, owned[1])

    def find(self, block: Block) -> tuple[Integers, Integers]:
        """Return distinct pairs of an item of a block and a segment whose name finds it."""
        ids = block.ids(self._index)
        by_words = self._of_words.of(block.items[ids >= 0], ids[ids >= 0])
        by_pairs = self._of_pairs.of(*self._pairs.find(block, ids))
        items, segments = (np.concatenate(part) for part in zip(by_words, by_pairs, strict=True))
        return distinct(items, segments)


class _Owners:
    """The segments whose names have each of some terms, ascending keys."""

    def __init__(self, keys: Integers, owned: list[tuple[int, int]]) -> None:
        keys_of, self._segments = np.array(sorted(owned), np.int64).reshape(-1, 2).T
        self._first = np.searchsorted(keys_of, keys)
        self._counts = np.searchsorted(keys_of, keys, side="right") - self._first

    def of(self, items: Integers, places: Integers) -> tuple[Integers, Integers]:
        """Return the items, each as often as its term (a place among the keys) has owners, and these segments."""
        counts = self._counts[places]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(items, counts), self._segments[np.repeat(self._first[places], counts) + within]
