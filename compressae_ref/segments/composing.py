"""Compose names of the terms of segments, and make names distinct (R34)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from compressae_ref.segments.words import related

TERMS, TERMS_OF_A_NAME = 10, 3


class Candidate(NamedTuple):
    """A term of one or two words, and what is known of it in a segment."""

    words: tuple[str, ...]
    score: float
    items: int


def compose(ranked: Sequence[Candidate], pairs: Sequence[Candidate]) -> list[Candidate]:
    """Return at most `TERMS` terms of a segment (R34).

    Candidates are tried from the best to the worst. One that is `related` to a word of a term already taken is skipped.
    A pair of the candidate and another one, which is related to no word taken, is taken in its place if it is in at
    least two thirds of the items that have the one, and of those that have the other. Of several pairs, it is the one
    with the most items, then the first in the order of code points.
    """
    terms, taken, items = list[Candidate](), list[str](), {word.words[0]: word.items for word in ranked}
    bound = [pair for pair in pairs if all(3 * pair.items >= 2 * items[word] for word in pair.words)]
    for candidate in ranked:
        free = [
            term
            for term in (candidate, *bound)
            if candidate.words[0] in term.words
            and not any(related(word, other) for word in term.words for other in taken)
        ]
        if len(terms) < TERMS and candidate in free:
            terms.append(min(free[1:], key=lambda pair: (-pair.items, pair.words), default=candidate))
            taken += terms[-1].words
    return terms


def name_lengths(terms: list[list[Candidate]]) -> list[int]:
    """Return how many terms the name of each segment has: three, and more as long as another name has the same ones."""
    lengths = [min(TERMS_OF_A_NAME, len(own)) for own in terms]
    while True:
        sets = [frozenset(term.words for term in own[:length]) for own, length in zip(terms, lengths, strict=True)]
        counts = Counter(sets)
        longer = [s for s, own in enumerate(terms) if counts[sets[s]] > 1 and lengths[s] < len(own)]
        if not longer:
            return lengths
        for s in longer:
            lengths[s] += 1


def key_name(latent: int, sign: int) -> str:
    """Return the name of a segment without words, as "latent 12 +"."""
    return f"latent {latent} {'+' if sign > 0 else '-'}"


def made_distinct(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return names with their distinct keys appended, as "name (latent 12 +)", where the name occurs more than once.

    Names that differ in the case of letters alone count as one.
    """
    result = list(names)
    while len(counts := Counter(name.casefold() for name in result)) < len(result):
        pairs = zip(result, keys, strict=True)
        result = [f"{name} ({key})" if counts[name.casefold()] > 1 else name for name, key in pairs]
    return result
