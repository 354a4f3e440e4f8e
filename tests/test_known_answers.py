"""Segments of the messages of US presidents: what history knows, segments find."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compressae_ref import fit
from compressae_ref.demo_data import load_addresses
from compressae_ref.segments.segments import Segments

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]

ANSWERS = {
    "militia": (1790, 1810, "a small army, and the war of 1812"),
    "french": (1790, 1830, "the quasi-war, and claims for ships until 1836"),
    "spain": (1810, 1820, "Florida, ceded in 1819"),
    "banks": (1830, 1840, "the war of Jackson on the Bank of the United States"),
    "mexico": (1840, 1840, "the war of 1846 to 1848"),
    "texas": (1840, 1840, "annexed in 1845"),
    "kansas": (1850, 1850, "its constitution, with or without slavery"),
    "utah": (1850, 1880, "a territory with an insurrection, then with polygamy"),
    "silver": (1870, 1890, "coined or not, from 1873 to 1896"),
    "gold": (1870, 1890, "payments in gold since 1879, and the reserve of 1893"),
    "cuba": (1870, 1890, "the wars of independence of 1868 and 1895"),
    "philippine": (1890, 1900, "the islands, since 1898"),
    "porto": (1900, 1900, "Porto Rico, since 1898"),
    "forest": (1900, 1900, "conservation under Roosevelt"),
    "canal": (1900, 1910, "built in Panama from 1904 to 1914"),
    "panama": (1900, 1910, "its canal"),
    "corporations": (1890, 1910, "the trusts"),
    "railroads": (1900, 1920, "rates, the eight-hour day, and control in the war"),
    "agriculture": (1920, 1930, "the farm crisis after the first world war"),
    "nuclear": (1950, 1980, "the cold war"),
    "vietnam": (1960, 1970, "the war"),
    "oil": (1970, 1980, "the shocks of 1973 and 1979"),
    "energy": (1970, 1980, "the same"),
    "deficit": (1980, 1990, "of the budget"),
    "schools": (1990, 2000, "standards and teachers, Clinton and Bush"),
    "teachers": (1990, 2000, "the same"),
    "college": (1990, 2010, "its costs"),
    "social security": (1990, 2000, "saved from the surplus, then private accounts"),
    "iraq": (1990, 2000, "the wars of 1991 and 2003"),
    "saddam": (1990, 2000, "the same"),
    "terrorists": (2000, 2010, "since 2001"),
}  # fmt: skip
"""The first and the last decade in which a word can have its peak, and why."""


@pytest.fixture(scope="module", params=SEEDS)
def segments(request):
    addresses = load_addresses()
    model = fit(addresses.vectors, serve="segments", n_latents=256, seed=request.param).model
    found = Segments.build(model.encode(addresses.vectors), model=model)
    found.name(addresses.texts)
    found.over_time(addresses.dates, bin="decade")
    return found


def segment_of(segments, word):
    """The segment that has the word in the first of its terms; of several, the largest."""
    places = [
        (place, -size, s)
        for s, (terms, size) in enumerate(zip(segments.naming.found.terms, segments.sizes(), strict=True))
        for place, term in enumerate(terms)
        if re.search(rf"\b{word}\b", term.term)
    ]
    return min(places)[-1]


@pytest.mark.parametrize("word", ANSWERS)
def test_what_history_knows_is_found(segments, word):
    first, last, _ = ANSWERS[word]
    s, counts = segment_of(segments, word), segments.timeline.counts
    decades = [int(label[:4]) for label in segments.timeline.labels()]
    share = counts.weights[s].sum(axis=1) / counts.totals.sum(axis=1)
    assert first <= decades[int(np.argmax(share))] <= last
    trend = segments.trends()[s]
    assert decades[trend.start] <= last
    assert decades[trend.stop - 1] >= first


def test_indians_are_gone(segments):
    """Treaties with tribes and their wars fill the messages until their lands are divided."""
    trend = segments.trends()[segment_of(segments, "tribes")]
    assert (trend.kind, trend.start, segments.timeline.labels()[trend.stop - 1]) == ("gone", 0, "1900s")


def test_names_are_distinct_and_rated(segments):
    assert len(set(segments.names)) == len(segments)
    assert np.median(segments.naming.found.f1) > 2 / 3  # that of a name that all items have
    assert segments.unassigned < 0.01 * segments.n
