"""Assign items to segments, which are the signed latents of their codes (R29, R30)."""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.numpy.blocks import map_blocks
from compressae_ref.checks import as_integer, as_real
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.segments.settings import MIN_ITEMS, THRESHOLD, TOP, Assign

ROWS_PER_BLOCK = 16_384
MOST_LATENTS = 1 << 24
"""The most latents of codes: the items of each are counted."""


class Rule(NamedTuple):
    """How items are assigned to segments."""

    assign: Assign = "dominant"
    top: int = TOP
    """with assign "top": the most segments of an item"""
    threshold: float = THRESHOLD
    """with assign "all": the least strength"""
    min_items: int = MIN_ITEMS
    """the least candidates of a segment"""


class Members(NamedTuple):
    """The segments of items."""

    keys: NDArray[np.int32]
    """(S, 2): latent and sign (1 or −1) of each segment, ascending by latent, 1 before −1"""
    segments: NDArray[np.int32]
    """(n, m): segments of each item, strongest first, padded with −1"""
    strengths: NDArray[np.float32]
    """(n, m): |v| / ‖code‖ of the entry, padded with 0"""


def as_rule(assign: str, top: int, threshold: float, min_items: int) -> Rule:
    """Check the settings of an assignment. DomainError."""
    if assign not in get_args(Assign):
        raise DomainError(f"expected one of {', '.join(get_args(Assign))}, got {assign!r}", argument="assign")
    threshold = as_real(threshold, "threshold", below=1, zero_too=True)
    return Rule(assign, as_integer(top, "top"), threshold, as_integer(min_items, "min_items"))  # type: ignore[arg-type]


def keys_of(codes: Codes, rule: Rule) -> NDArray[np.int32]:
    """Return the keys (S, 2) that at least ``min_items`` items have as a candidate (R29, R30). DomainError."""
    if codes.n_latents > MOST_LATENTS:
        raise DomainError(f"expected at most {MOST_LATENTS:,} latents, got {codes.n_latents:,}", argument="codes")

    def count(rows: slice) -> NDArray[np.int64]:
        block = codes[rows]
        places, strengths = _strongest(block, np.abs(block.values), rule)
        numbers = np.take_along_axis(numbers_of(block), places, axis=1)
        taken = _candidates(strengths, rule) & (numbers < 2 * codes.n_latents)
        return np.bincount(numbers[taken], minlength=2 * codes.n_latents)

    counts = sum(map_blocks(len(codes), ROWS_PER_BLOCK, count))
    large = np.flatnonzero(counts >= rule.min_items)
    return np.stack([large // 2, 1 - 2 * (large % 2)], axis=1).astype(np.int32)


def assign(codes: Codes, keys: NDArray[np.int32], rule: Rule) -> Members:
    """Assign each item to its strongest segments (R30)."""
    of_key = numbers_of_keys(keys, codes.n_latents)

    def assigned(rows: slice) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        block = codes[rows]
        own = of_key[numbers_of(block)]
        places, strengths = _strongest(block, np.where(own >= 0, np.abs(block.values), -1), rule)
        own = np.take_along_axis(own, places, axis=1)
        kept = (own >= 0) & _candidates(strengths, rule)
        return np.where(kept, own, np.int32(-1)), np.where(kept, strengths, np.float32(0))

    parts = map_blocks(len(codes), ROWS_PER_BLOCK, assigned)
    return Members(keys, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def numbers_of_keys(keys: NDArray[np.int32], n_latents: int) -> NDArray[np.int32]:
    """Return the segment of each number 2·latent + (value < 0), −1 where there is none; the last entry is for zeros."""
    of_key = np.full(2 * n_latents + 1, -1, np.int32)
    of_key[2 * keys[:, 0] + (keys[:, 1] < 0)] = np.arange(len(keys), dtype=np.int32)
    return of_key


def concatenate(parts: list[Members]) -> Members:
    """Concatenate the items of members with the same keys."""
    return Members(parts[0].keys, *(np.concatenate([part[i] for part in parts]) for i in (1, 2)))


def numbers_of(codes: Codes) -> NDArray[np.int32]:
    """Return the numbers 2·latent + (value < 0) of the entries; 2h, which is no key, for zeros, which have no sign."""
    numbers = 2 * codes.indices + (codes.values < 0)
    return np.where(codes.values == 0, np.int32(2 * codes.n_latents), numbers)


def strengths_of(codes: Codes) -> Floats:
    """Return |v| / ‖code‖ of the entries, float32 (E39)."""
    norms = reference.code_norm(codes.values)
    strengths: Floats = (np.abs(codes.values) / norms[:, None]).astype(np.float32)
    return strengths


def _strongest(codes: Codes, magnitudes: Floats, rule: Rule) -> tuple[NDArray[np.int64], Floats]:
    """Return the places (n, m) of the largest magnitudes that a rule may take, the largest first, and their strengths.

    Equal magnitudes are in the order of the latents.
    """
    width = {"dominant": 1, "top": min(rule.top, codes.k), "all": codes.k}[rule.assign]
    if width == 1:
        places = magnitudes.argmax(axis=1)[:, None]
    else:
        places = np.argsort(-magnitudes, axis=1, kind="stable")[:, :width]
    return places, np.take_along_axis(strengths_of(codes), places, axis=1)


def _candidates(strengths: Floats, rule: Rule) -> Bools:
    """Return which of the strongest entries a rule takes, if they have a sign."""
    if rule.assign != "all":
        return np.ones(strengths.shape, np.bool_)
    taken: Bools = (strengths >= np.float32(rule.threshold)) | (np.arange(strengths.shape[1]) == 0)
    return taken
