"""Count words, and pairs of words, in streamed texts: in how many items of each segment, and in how many of all (R33).

All counts are numbers of items: a text counts a term once, however often it repeats it. The counts are integers, so
they depend neither on the order of the items nor on the blocks in which texts are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.errors import ShapeError
from compressae_ref.segments.membership import Members
from compressae_ref.segments.words import as_text, words_of

Integers = NDArray[np.int64]

ITEMS_PER_BLOCK, WORDS_PER_BLOCK = 65_536, 1 << 20
LEAST_ITEMS = 5
"""Words in fewer items are no terms."""
MOST_WORDS = 1_000_000
"""The most words that are held while their items are counted."""


class Block(NamedTuple):
    """The words of items that follow each other."""

    first: int
    """number of the first item"""
    words: list[str]
    lengths: Integers
    """how many of the words each item has"""

    @property
    def items(self) -> Integers:
        """The item of each word."""
        return self.first + np.repeat(np.arange(len(self.lengths)), self.lengths)

    def ids(self, index: dict[str, int]) -> Integers:
        """Return the number of each word, −1 for the words that have none."""
        return np.fromiter(map(index.get, self.words, repeat(-1)), np.int64, len(self.words))


class Corpus(NamedTuple):
    """Texts that can be streamed several times, and the segments of their items."""

    texts: Iterable[str | None]
    members: Members
    held_out: Bools
    """(n,): items that are not used to find names (R35)"""

    def blocks(self, *, held_out: bool = False) -> Iterator[Block]:
        """Yield the words of the items that are held out, or of the others, in blocks (see `blocks`)."""
        return blocks(self.texts, self.held_out if held_out else ~self.held_out)

    def in_segments(self, items: Integers, ids: Integers) -> tuple[Integers, Integers]:
        """Return the segments of items, each with the id of its item: an item may have several, or none."""
        segments = self.members.segments[items]
        place, column = np.nonzero(segments >= 0)
        return segments[place, column].astype(np.int64), ids[place]


class Counts(NamedTuple):
    """In how many items of segments terms are: one entry for each segment and term that meet, ordered by both."""

    segment: Integers
    term: Integers
    items: Integers


class Tally:
    """Counts of terms in segments. It holds one number for each segment and term that meet, and some new ones."""

    def __init__(self, corpus: Corpus, n_terms: int) -> None:
        self._corpus, self._width = corpus, max(n_terms, 1)
        self._keys, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._new: list[Integers] = []

    def add(self, items: Integers, terms: Integers) -> None:
        """Count distinct pairs of an item and a term in the segments of the item."""
        segments, terms = self._corpus.in_segments(items, terms)
        self._new.append(segments * self._width + terms)
        if sum(map(len, self._new)) > max(len(self._keys), 4 * WORDS_PER_BLOCK):
            self._merge()

    def total(self) -> Counts:
        """Return all counts."""
        self._merge()
        return Counts(self._keys // self._width, self._keys % self._width, self._counts)

    def _merge(self) -> None:
        new = np.sort(np.concatenate([np.empty(0, np.int64), *self._new]))
        self._new.clear()
        first = np.flatnonzero(np.diff(new, prepend=-1))
        keys = distinct_keys(np.concatenate([self._keys, new[first]]))
        counts = np.zeros(len(keys), np.int64)
        counts[np.searchsorted(keys, self._keys)] = self._counts
        counts[np.searchsorted(keys, new[first])] += np.diff(first, append=len(new))
        self._keys, self._counts = keys, counts


class Vocabulary:
    """The items that have each word, in bounded memory (R33)."""

    def __init__(self, most: int = MOST_WORDS) -> None:
        self._most = most
        self._hold([], np.empty(0, np.int64))

    def add(self, words: list[str], lengths: Integers) -> None:
        """Count the words of some items.

        As soon as more than ``most`` are held after an item, they are ordered by their counts, descending. The words
        are forgotten whose count is not above that of the word at place ``most`` // 2, from 0.
        """
        while len(lengths):
            ids = np.fromiter(map(self._ids.__getitem__, words), np.int64, len(words))
            items = np.repeat(np.arange(len(lengths)), lengths)
            full = len(self._ids) > self._most
            # The items up to the one with which too many are held are counted first.
            stop = int(items[np.argmax(ids >= self._most)]) + 1 if full else len(lengths)
            end = int(lengths[:stop].sum())
            self._count(distinct(items[:end], ids[:end])[1])
            if full:
                self._forget()
            words, lengths = words[end:], lengths[stop:]

    def terms(self) -> list[str]:
        """Return the words in at least `LEAST_ITEMS` items, in the order of their code points."""
        held = zip(self._ids, self._counts.tolist(), strict=True)
        return sorted(word for word, count in held if count >= LEAST_ITEMS)

    def _hold(self, words: list[str], counts: Integers) -> None:
        self._ids: defaultdict[str, int] = defaultdict(None, zip(words, range(len(words)), strict=True))
        self._ids.default_factory = self._ids.__len__
        self._counts = counts

    def _count(self, ids: Integers) -> None:
        counts = np.bincount(ids, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def _forget(self) -> None:
        kept = self._counts > np.sort(self._counts)[::-1][self._most // 2]
        # Words that only later items have are held already, but have no count: zip leaves them out.
        words = [word for word, keep in zip(self._ids, kept.tolist(), strict=False) if keep]
        self._hold(words, self._counts[kept])


class Pairs:
    """A set of pairs of words: ascending keys, first word · ``width`` + second word."""

    SIEVE = 1 << 22

    def __init__(self, keys: Integers, width: int) -> None:
        self.keys, self._width = keys, width
        # Most neighbours in texts are none of these, and a table says so faster than a search.
        self._sieve = np.zeros(self.SIEVE, bool)
        self._sieve[keys % self.SIEVE] = True

    def find(self, block: Block, ids: Integers) -> tuple[Integers, Integers]:
        """Return items of a block whose words have these ids, and the places among the keys of their pairs."""
        start = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0))
        keys = ids[start] * self._width + ids[start + 1]
        likely = self._sieve[keys % self.SIEVE]
        start, keys = start[likely], keys[likely]
        place, items = np.searchsorted(self.keys, keys), block.items
        there = (np.append(self.keys, -1)[place] == keys) & (items[start] == items[start + 1])
        return distinct(items[start[there]], place[there])


def vocabulary(corpus: Corpus, most: int = MOST_WORDS) -> tuple[list[str], int]:
    """Return the words that can be terms, by code points, and how many items have no words."""
    held, wordless = Vocabulary(most), -int(corpus.held_out.sum())
    for block in corpus.blocks():
        held.add(block.words, block.lengths)
        wordless += int((block.lengths == 0).sum())
    return held.terms(), wordless


def word_counts(corpus: Corpus, words: list[str]) -> tuple[Counts, Integers]:
    """Count the items that have words, in each segment and in all: a `Vocabulary` may have forgotten some of them."""
    index = {word: i for i, word in enumerate(words)}

    def found(block: Block) -> tuple[Integers, Integers]:
        ids = block.ids(index)
        return distinct(block.items[ids >= 0], ids[ids >= 0])

    return _counts(corpus, len(words), found)


def pair_counts(corpus: Corpus, index: dict[str, int], pairs: Pairs) -> tuple[Counts, Integers]:
    """Count the items that have pairs of words that follow each other, in each segment and in all."""
    return _counts(corpus, len(pairs.keys), lambda block: pairs.find(block, block.ids(index)))


def _counts(
    corpus: Corpus, n_terms: int, find: Callable[[Block], tuple[Integers, Integers]]
) -> tuple[Counts, Integers]:
    tally, in_all = Tally(corpus, n_terms), np.zeros(n_terms, np.int64)
    for block in corpus.blocks():
        items, terms = find(block)
        in_all += np.bincount(terms, minlength=n_terms)
        tally.add(items, terms)
    return tally.total(), in_all


def blocks(texts: Iterable[str | None], wanted: Bools) -> Iterator[Block]:
    """Yield the words of texts in blocks. Those of an item that is not wanted are left out.

    Raises
    ------
    DTypeError
        If a text is neither a string nor None.
    ShapeError
        If there are fewer or more texts than ``wanted`` (n,) has entries.
    """
    n, first, words, lengths = len(wanted), 0, list[str](), list[int]()
    take = wanted.tolist()
    for row, text in enumerate(texts):
        if row == n:
            raise ShapeError(f"expected {n:,} texts, one for each item, got at least {n + 1:,}", argument="texts")
        known = as_text(text, row)
        found = words_of(known) if known and take[row] else []
        words += found
        lengths.append(len(found))
        if len(lengths) == ITEMS_PER_BLOCK or len(words) >= WORDS_PER_BLOCK:
            yield Block(first, words, np.array(lengths, np.int64))
            first, words, lengths = row + 1, [], []
    if first + len(lengths) < n:
        raise ShapeError(f"expected {n:,} texts, one for each item, got {first + len(lengths):,}", argument="texts")
    yield Block(first, words, np.array(lengths, np.int64))


def distinct(items: Integers, ids: Integers) -> tuple[Integers, Integers]:
    """Return the distinct pairs of an item and an id ≥ 0, ordered."""
    width = int(ids.max(initial=0)) + 1
    keys = distinct_keys(items * width + ids)
    return keys // width, keys % width


def distinct_keys(keys: Integers) -> Integers:
    """Return the distinct ones of keys ≥ 0, ascending. Sorting is faster than the hashing of `np.unique`."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=-1) > 0]
