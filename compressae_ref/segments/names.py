"""Name segments by the words of their items (R33, R34, E43). Texts are streamed: four passes, in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from itertools import pairwise
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import DomainError, DTypeError, ShapeError
from compressae_ref.segments.composing import Candidate, compose, key_name, made_distinct, name_lengths
from compressae_ref.segments.contrast import Doubles, contrast, logarithm
from compressae_ref.segments.fidelity import fidelity, held_out
from compressae_ref.segments.membership import Members
from compressae_ref.segments.settings import Method
from compressae_ref.segments.terms import (
    MOST_WORDS,
    Corpus,
    Counts,
    Integers,
    Pairs,
    distinct_keys,
    pair_counts,
    vocabulary,
    word_counts,
)
from compressae_ref.segments.words import as_text, joined, printable

RANKED_WORDS = 30
"""The best words of a segment, among which its terms are found."""
RARE_ELSEWHERE = 10
"""A word is a candidate of a segment if at most one in so many of the items elsewhere has it, …"""
TIMES_ELSEWHERE = 3
"""… and if its share in the segment is at least so many times its share elsewhere."""
SHOWN = 300
"""The most characters of a text that is shown."""


class Term(NamedTuple):
    """A word, or two words that follow each other, which tells a segment from the others."""

    term: str
    score: float
    items: int
    """items of the segment that have it, without those held out"""


class Names(NamedTuple):
    """The names of S segments."""

    names: list[str]
    """S distinct names"""
    terms: list[list[Term]]
    """at most ten of each segment, the best first"""
    recall: Doubles
    """(S,): see `fidelity.Fidelity`"""
    precision: Doubles
    f1: Doubles
    wordless: int
    """items whose text is None or has no word"""


class _Scorer:
    """Score terms of segments by the items that have them (E43)."""

    def __init__(self, method: Method, counts: Counts, in_all: Integers, n_segments: int) -> None:
        self._method = method
        self._in_segment = np.zeros(n_segments, np.int64)
        np.add.at(self._in_segment, counts.segment, counts.items)
        self._in_all = int(in_all.sum())
        self._mean = int(self._in_segment.sum()) / max(n_segments, 1)

    def __call__(self, counts: Counts, in_all: Integers) -> Doubles:
        """Return the score of each entry; ``in_all`` are the items that have each term.

        With y items of the segment and f of all items that have the term, A = Σ y / S (the sum over all words and
        segments), and the sums N_s of y and N of f over all words:

        - c-tf-idf: y · log(1 + A / f);
        - log-odds: z of the contrast of y of N_s with f − y of N − N_s (E41).
        """
        y, f, total = counts.items, in_all[counts.term], self._in_segment[counts.segment]
        if self._method == "c-tf-idf":
            return y * logarithm(1.0 + self._mean / f)
        return contrast(y, f - y, total, self._in_all - total).z


def name_segments(
    texts: Iterable[str | None], members: Members, *, method: Method = "c-tf-idf", most_words: int = MOST_WORDS
) -> Names:
    """Name each segment by the terms that tell it from the others (R33 to R35, E43), and rate the names (E44).

    Parameters
    ----------
    texts : one string or None for each item; iterated four times, never held whole
    members : the segments of the items
    method : how terms are scored
    most_words : the most words that are held while their items are counted (see `terms.Vocabulary`)

    Raises
    ------
    DTypeError
        If ``texts`` is a string, can be iterated only once, or holds other things than strings and None.
    ShapeError
        If there are fewer or more texts than items.
    """
    if method not in get_args(Method):
        raise DomainError(f"expected one of {', '.join(get_args(Method))}, got {method!r}", argument="method")
    corpus = Corpus(again(texts), members, held_out(len(members.segments)))
    words, wordless = vocabulary(corpus, most_words)
    counts, in_all = word_counts(corpus, words)
    scorer = _Scorer(method, counts, in_all, len(members.keys))
    ranked = _ranked(corpus, counts, in_all, scorer, words)
    terms = [compose(own, pairs) for own, pairs in zip(ranked, _pairs(corpus, ranked, scorer), strict=True)]
    lengths = name_lengths(terms)
    named = [own[:length] for own, length in zip(terms, lengths, strict=True)]
    keys = [key_name(*key) for key in members.keys.tolist()]
    names = [", ".join(joined(*term.words) for term in own) or key for own, key in zip(named, keys, strict=True)]
    rates, more = fidelity(corpus, [[term.words for term in own] for own in named])
    shown = [[Term(joined(*words), score, items) for words, score, items in own] for own in terms]
    return Names(made_distinct(names, keys), shown, *rates, wordless + more)


def again(texts: Iterable[str | None]) -> Iterable[str | None]:
    """Return texts that can be iterated several times, in the order of the items. DTypeError."""
    unordered = isinstance(texts, (str, bytes, Set, Mapping))
    if unordered or not isinstance(texts, Iterable) or iter(texts) is texts:
        raise DTypeError(
            f"expected texts that can be iterated several times, got {type(texts).__name__}",
            argument="texts",
            hint="pass a list, or an object whose __iter__ starts at the first item again",
        )
    return texts


def pick_texts(texts: Iterable[str | None], rows: Iterable[int]) -> dict[int, str]:
    """Return the texts of some rows as they may be shown: `printable`, cut to `SHOWN` characters; None is left out."""
    wanted, picked, row = {int(row) for row in rows}, dict[int, str](), -1
    last = max(wanted, default=-1)
    for row, text in enumerate(texts if wanted else ()):
        if row in wanted and (known := as_text(text, row)) is not None:
            picked[row] = printable(known)[:SHOWN]
        if row == last:
            break
    if row < last:
        raise ShapeError(f"expected at least {last + 1:,} texts, got {row + 1:,}", argument="texts")
    return picked


def _ranked(
    corpus: Corpus, counts: Counts, in_all: Integers, scorer: _Scorer, words: list[str]
) -> list[list[Candidate]]:
    """Return at most `RANKED_WORDS` candidates of each segment, the best first (R33).

    A word is a candidate of a segment if it is in at most one in `RARE_ELSEWHERE` of the items elsewhere, and if its
    share in the segment is at least `TIMES_ELSEWHERE` times its share elsewhere. The higher score is better, then the
    larger count, then the word that comes first in the order of code points.
    """
    S, used = len(corpus.members.keys), ~corpus.held_out
    own = corpus.members.segments[used]
    size = np.bincount(own[own >= 0], minlength=S)[counts.segment]
    others, elsewhere = int(used.sum()) - size, in_all[counts.term] - counts.items
    candidates = (RARE_ELSEWHERE * elsewhere <= others) & (counts.items * others >= TIMES_ELSEWHERE * elsewhere * size)
    counts = Counts(*(part[candidates] for part in counts))
    score = scorer(counts, in_all)
    order = np.lexsort((counts.term, -counts.items, -score, counts.segment))
    start = np.searchsorted(counts.segment[order], np.arange(S + 1))
    best = [order[first : min(first + RANKED_WORDS, end)] for first, end in pairwise(start.tolist())]
    return [[Candidate((words[counts.term[i]],), float(score[i]), int(counts.items[i])) for i in own] for own in best]


def _pairs(corpus: Corpus, ranked: list[list[Candidate]], scorer: _Scorer) -> list[list[Candidate]]:
    """Return, for each segment, the pairs of its candidates that follow each other in its items."""
    words = sorted({candidate.words[0] for own in ranked for candidate in own})
    ids = {word: i for i, word in enumerate(words)}
    of_segments = [_keys_of_pairs([ids[candidate.words[0]] for candidate in own], len(ids)) for own in ranked]
    pairs = distinct_keys(np.concatenate([np.empty(0, np.int64), *of_segments]))
    counts, in_all = pair_counts(corpus, ids, Pairs(pairs, len(ids)))
    result: list[list[Candidate]] = [[] for _ in ranked]
    own_keys = [set(own.tolist()) for own in of_segments]
    columns = counts.segment, pairs[counts.term], scorer(counts, in_all), counts.items
    for s, key, score, items in zip(*(column.tolist() for column in columns), strict=True):
        if key in own_keys[s]:
            result[s].append(Candidate((words[key // len(ids)], words[key % len(ids)]), score, items))
    return result


def _keys_of_pairs(ids: list[int], width: int) -> NDArray[np.int64]:
    """Return the keys of all pairs of different words (see `terms.Pairs`)."""
    first, second = np.meshgrid(np.array(ids, np.int64), np.array(ids, np.int64))
    keys: NDArray[np.int64] = (first * width + second)[first != second]
    return keys
