"""Assign items to segments, which are the signed latents of their codes (R29, R30)."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats
from compressae_ref.checks import as_integer, as_real
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError

Assign = Literal["dominant", "top", "all"]
MIN_ITEMS = 20
TOP = 3
THRESHOLD = 0.25
ROWS_PER_BLOCK = 65_536


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
    """Return the keys (S, 2) that at least ``min_items`` items have as a candidate (R29, R30)."""
    counts = np.zeros(2 * codes.n_latents, np.int64)
    for start in range(0, len(codes), ROWS_PER_BLOCK):
        numbers, strengths = by_strength(codes[start : start + ROWS_PER_BLOCK])
        counts += np.bincount(numbers[_candidates(numbers, strengths, rule)], minlength=len(counts))
    large = np.flatnonzero(counts >= rule.min_items)
    return np.stack([large // 2, 1 - 2 * (large % 2)], axis=1).astype(np.int32)


def assign(codes: Codes, keys: NDArray[np.int32], rule: Rule) -> Members:
    """Assign each item to its strongest segments (R30)."""
    of_key = numbers_of_keys(keys, codes.n_latents)
    width = {"dominant": 1, "top": min(rule.top, codes.k), "all": codes.k}[rule.assign]
    segments = np.full((len(codes), width), -1, np.int32)
    strengths = np.zeros((len(codes), width), np.float32)
    for start in range(0, len(codes), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        numbers, found = by_strength(codes[block])
        own = of_key[numbers]
        # Entries of segments move to the front, in order of their strength.
        order = np.argsort(own < 0, axis=1, kind="stable")
        own, found = np.take_along_axis(own, order, 1), np.take_along_axis(found, order, 1)
        kept = (own >= 0) & _candidates(own, found, rule)
        segments[block] = np.where(kept, own, -1)[:, :width]
        strengths[block] = np.where(kept, found, 0)[:, :width]
    return Members(keys, segments, strengths)


def numbers_of_keys(keys: NDArray[np.int32], n_latents: int) -> NDArray[np.int32]:
    """Return the segment of each number 2·latent + (value < 0), −1 where there is none; the last entry is for zeros."""
    of_key = np.full(2 * n_latents + 1, -1, np.int32)
    of_key[2 * keys[:, 0] + (keys[:, 1] < 0)] = np.arange(len(keys), dtype=np.int32)
    return of_key


def concatenate(parts: list[Members]) -> Members:
    """Concatenate the items of members with the same keys."""
    return Members(parts[0].keys, *(np.concatenate([part[i] for part in parts]) for i in (1, 2)))


def by_strength(codes: Codes) -> tuple[NDArray[np.int64], Floats]:
    """Return the numbers 2·latent + (value < 0) of the entries, strongest first, and their strengths, float32.

    Equal magnitudes are in the order of the latents. An entry without a sign has the number of no key, and strength 0.
    """
    order = np.argsort(-np.abs(codes.values), axis=1, kind="stable")
    values = np.take_along_axis(codes.values, order, axis=1)
    latents = np.take_along_axis(codes.indices, order, axis=1).astype(np.int64)
    norms = reference.code_norm(codes.values)
    strengths = (np.abs(values) / norms[:, None]).astype(np.float32)
    return np.where(values == 0, 2 * codes.n_latents, 2 * latents + (values < 0)), strengths


def _candidates(numbers: NDArray[np.integer], strengths: Floats, rule: Rule) -> Bools:
    """Return the entries, strongest first, that the rule takes; entries without a sign have strength 0."""
    place = np.arange(numbers.shape[1])
    if rule.assign == "all":
        taken = (strengths >= np.float32(rule.threshold)) | (place == 0)
    else:
        taken = np.broadcast_to(place < (1 if rule.assign == "dominant" else rule.top), numbers.shape)
    found: Bools = taken & (strengths > 0)
    return found
