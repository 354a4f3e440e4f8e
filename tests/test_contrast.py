"""The contrast of two counts, and what it says about counts over time, against SciPy and plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from compressae_ref.errors import CompressaeError
from compressae_ref.segments import dispersion, trends
from compressae_ref.segments.contrast import contrast, discoveries, logarithm, tail
from compressae_ref.segments.counts import Counts, Events
from compressae_ref.segments.trends import windows
from tests.strategies import generators

EPS = 2.0**-52


@st.composite
def compared(draw, units=(1.0, 1.0, 0.1, 1e30)):
    """Counts or weights of things on two sides, and their totals: zeros, totals and equal shares, too."""
    rng, size = draw(generators()), 6
    n, n_other = (float(draw(st.integers(1, most))) for most in (40, 10**6))
    y, y_other = (rng.integers(0, min(total, draw(st.sampled_from([2, 10**6]))) + 1, size) for total in (n, n_other))
    y[:3], y_other[:3] = [0, n, 1], [0, n_other, draw(st.sampled_from([0, n_other, n_other - 1]))]
    unit = draw(st.sampled_from(units))
    return [np.asarray(a, np.float64) * unit for a in (y, y_other, n, n_other)]


def swapped(arrays):
    y, y_other, n, n_other = arrays
    return y_other, y, n_other, n


# -- one contrast -----------------------------------------------------------------------------------------------------


@given(st.floats(2.3e-308, allow_infinity=False))
@example(math.sqrt(0.5))
@example(1 + EPS)
@example(1 - EPS / 2)
def test_logarithms_are_within_four_units_in_the_last_place(x):
    exact = math.log(x)
    assert abs(float(logarithm(x)) - exact) <= 4 * math.ulp(exact)


@given(compared((1.0, 1e-30)), st.sampled_from([None, 0.5, 30.0]))
def test_swapped_sides_change_the_sign_and_no_bit(arrays, prior):
    one, other = contrast(*arrays, prior), contrast(*swapped(arrays), prior)
    np.testing.assert_array_equal(one.delta, -other.delta)
    np.testing.assert_array_equal(one.z, -other.z)
    np.testing.assert_array_equal(one.variance, other.variance)


@given(compared(), st.sampled_from([None, 0.5, 30.0]))
def test_the_sign_is_that_of_the_difference_of_the_shares(arrays, prior):
    y, y_other, n, n_other = arrays
    found = contrast(*arrays, prior)
    assert np.isfinite(found).all()
    difference = y * n_other - y_other * n
    nothing = (y + y_other == 0) | ((y == n) & (y_other == n_other))
    assert (np.array(found)[:, nothing] == 0).all()
    # Equal shares may differ by the rounding of seven operations on each side.
    differ = abs(difference) > 1e-9 * y * n_other
    np.testing.assert_array_equal(np.sign(found.delta[differ]), np.sign(difference[differ]))
    assert (abs(found.delta[~differ]) <= 14 * EPS).all()


@given(compared((1.0,)), st.sampled_from([0.5, 30.0]))
def test_what_is_not_counted_has_the_opposite_log_odds(arrays, prior):
    y, y_other, n, n_other = arrays
    rest = contrast(n - y, n_other - y_other, n, n_other, prior)
    np.testing.assert_array_equal(contrast(*arrays, prior).delta, -rest.delta)


@given(compared())
def test_few_counts_shrink_to_zero_and_more_of_them_have_a_larger_z(arrays):
    found = [contrast(*(a / arrays[3] * 2.0**c for a in arrays)) for c in range(-80, 60, 4)]
    assert (abs(found[0].delta) < 2.0**-70).all()
    for less, more in pairwise(found):
        rounded = abs(less.delta) <= 14 * EPS  # equal shares, after seven operations on each side
        assert (rounded | (abs(more.z) >= abs(less.z) * (1 - 1e-9))).all()


def test_nearly_all_of_both_sides_are_compared():
    """Where 1 − p rounds to 0."""
    for size in (1e3, 1e9, 2.0**52, 2.0**60):
        found = contrast(size, 2.5, size, 3.0)
        assert found.delta > 0
        assert np.isfinite(found).all()


def test_z_is_within_a_fifth_of_that_of_an_exact_poisson_tail():
    """Up to ten times what is expected.

    Where n′ is large, y is a Poisson number of mean E, and z = √(y + α) log((y + α) / (E + α)) with α = (1 + E) / 2.
    For large E the exact z is √(2 (y log(y / E) − y + E)), so that with t = y / E their quotient is
    √(t + ½) log((t + ½) / 1.5) / √(2 (t log t − t + 1)). It grows from √(2/3) at t = 1 to 1.1898 at t = 10.
    """
    t = 10.0
    least = math.sqrt(2 / 3)
    most = math.sqrt(t + 0.5) * math.log((t + 0.5) / 1.5) / math.sqrt(2 * (t * math.log(t) - t + 1))
    for expected in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50):
        y = np.arange(math.ceil(expected), max(2, int(10 * expected) + 1)).astype(float)
        z = contrast(y, expected * 1e7, 1e6, 1e13).z
        exact = stats.norm.isf(stats.poisson.sf(y - 1, expected))
        clear = (exact >= 1) & np.isfinite(exact)
        assert clear.any()
        assert ((least <= z / exact) & (z / exact <= most))[clear].all(), (expected, z, exact)
        assert (z[exact < 1] <= most).all()


@given(st.floats(-37, 37))
@example(3.0)
@example(-37.0)
def test_the_tail_is_that_of_a_normal_number(z):
    np.testing.assert_allclose(tail(z), stats.norm.sf(z), rtol=1e-12)
    assert tail([37 + abs(z), np.inf, -np.inf]).tolist() == [tail(37), tail(37), 1]


@given(st.lists(st.integers(0, 64), max_size=30), st.sampled_from([1 / 16, 1 / 4, 1.0]))
def test_discoveries_are_those_of_benjamini_and_hochberg(parts, q):
    largest = -1
    for r, part in enumerate(sorted(parts), 1):
        if part * len(parts) <= q * r * 64:
            largest = part
    assert discoveries(np.array(parts) / 64, q).tolist() == [part <= largest for part in parts]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, -1], [1, 1]), "y: expected counts of at least 0, got -1.0 in row 1"),
        (([1, 1], [np.nan, 1]), "y_other: expected counts of at least 0, got nan in row 0"),
        (([3.0], [1.0], 2.0, 2.0), "y: expected totals of at least the counts, got a smaller total"),
        (([1.0], [1.0], np.nan, 2.0), "y: expected totals of at least the counts, got a smaller total"),
        (([1.0], [1.0], 2.0, 2.0, 0.0), "prior: expected a weight above 0, got 0.0"),
    ],
)
def test_counts_that_are_none_are_refused(arguments, message):
    with pytest.raises(CompressaeError) as caught:
        contrast(*arguments)
    assert str(caught.value) == message


# -- counts over time -------------------------------------------------------------------------------------------------


def counted(y, totals):
    """Counts of items of weight 1 by segment and bin."""
    y = np.asarray(y)
    counts = Counts(*y.shape, 1)
    counts.weights[:, :, 0] = counts.squares[:, :, 0] = counts.items[:, :, 0] = y
    counts.totals[:, 0] = counts.total_items[:, 0] = totals
    counts.largest[:], counts.largest_item[:] = y > 0, np.where(y > 0, 0, -1)
    return counts


def random_counts(rng, phi=1.0, mean=20.0, segments=50, bins=24):
    """Counts with the variance φ times the mean, and totals that vary by a factor of 3."""
    totals = np.round(rng.uniform(0.5, 1.5, bins) * mean * segments * 2)
    expected = np.tile(totals / (2 * segments), (segments, 1))
    y = rng.poisson(expected) if phi == 1 else rng.negative_binomial(expected / (phi - 1), 1 / phi)
    return y, totals


@st.composite
def weighted_counts(draw):
    """Counts of items with weights: ties, zeros, one that is much larger than the others, bins without items."""
    rng, n = draw(generators()), draw(st.integers(2, 60))
    n_segments, n_bins = draw(st.integers(1, 4)), draw(st.integers(2, 14))
    weights = rng.integers(0, 4, n).astype(float) if draw(st.booleans()) else rng.exponential(size=n)
    weights[rng.integers(n)] *= draw(st.sampled_from([1, 1000]))
    bins = rng.integers(0, n_bins, n)
    bins[:2], weights[:2] = [0, n_bins - 1], 1.0
    segments = rng.integers(-1, n_segments, (n, 1)).astype(np.int32)
    return Events(segments, bins, rng.integers(0, 2, n), weights), (n_segments, n_bins, 2)


def counts_of(drawn, factor=1.0):
    events, shape = drawn
    counts = Counts(*shape)
    counts.add(events._replace(weights=events.weights * factor))
    return counts


def plain_series(drawn):
    """E45 for each segment: effective counts y and n of the bins that have weight."""
    events, (n_segments, n_bins, _) = drawn
    for s in range(n_segments):
        own = [w for w, [segment] in zip(events.weights, events.segments, strict=True) if segment == s]
        unit = math.fsum(w * w for w in own) / math.fsum(own) if sum(own) else 1.0
        y, n = [0.0] * n_bins, [0.0] * n_bins
        for w, b, [segment] in zip(events.weights, events.bins, events.segments, strict=True):
            n[b] += w / unit
            y[b] += w / unit if segment == s else 0
        yield [a for a, total in zip(y, n, strict=True) if total], [total for total in n if total]


def plain_excess(y, n):
    """Return Σ (y − e)² / e, with e at the common share."""
    share = sum(y) / sum(n) if n else 0
    return sum((a - share * total) ** 2 / (share * total) for a, total in zip(y, n, strict=True)) if share else 0.0


@given(weighted_counts())
def test_dispersion_is_that_of_the_definition(drawn):
    series = dispersion.series_of(counts_of(drawn))
    own, medians = dispersion.own_dispersion(series), []
    for s, (y, n) in enumerate(plain_series(drawn)):
        np.testing.assert_allclose(series.y[s], y, rtol=1e-12)
        np.testing.assert_allclose(series.n[s], n, rtol=1e-12)
        for b in range(len(n)):
            expected = plain_excess(y[:b], n[:b]) / (b - 1) if b >= 2 else 0.0
            if b < dispersion.PAST:
                others = [a[:b] + a[b + 1 :] for a in (y, n)]
                expected = max(expected, plain_excess(*others) / max(len(n) - 2, 1))
            np.testing.assert_allclose(own[s, b], expected, rtol=1e-6, atol=1e-6 * max(n))
        if sum(y):
            share = sum(y) / sum(n)
            r = [(a - share * total) / math.sqrt(share * total) for a, total in zip(y, n, strict=True)]
            medians.append(sum((b - a) ** 2 for a, b in pairwise(r)) / (2 * (len(r) - 1)))
    np.testing.assert_allclose(dispersion.common_dispersion(series), max([1.0, np.median(medians or [1])]), rtol=1e-9)


@given(st.floats(-30, 30).filter(lambda z: abs(z) > 1e-100), st.floats(0, 1e4), st.floats(1, 50))
@example(5.0, 1e4, 1 + EPS)
@example(5.0, 30.0, 1 + 1e-13)
def test_a_long_tail_shrinks_z_and_keeps_its_sign(z, expected, phi):
    found = float(dispersion.long_tailed(z, expected, phi))
    assert abs(found) <= abs(z) * (1 + 8 * EPS)
    assert math.copysign(1, found) == math.copysign(1, z) or found == z == 0
    if phi > 1:
        nu = 7 + 2 * expected / (phi - 1)
        np.testing.assert_allclose(abs(found), math.sqrt(nu * math.log1p(z * z / nu)), rtol=1e-14)
    else:
        assert found == z


@pytest.mark.parametrize("count", [2, 3, 4, 9, 24, 60])
def test_windows_are_those_of_the_rule(count):
    lengths = [1]
    while lengths[-1] < count:
        lengths.append(lengths[-1] + max(1, lengths[-1] // 4))
    plain = [
        (start, stop)
        for start in range(count)
        for stop in range(start + 1, count + 1)
        if (start, stop) != (0, count) and (start == 0 or stop == count or stop - start in lengths)
    ]
    assert list(zip(*(a.tolist() for a in windows(count)), strict=True)) == plain


@given(weighted_counts())
def test_the_best_window_is_that_of_all_windows(drawn):
    counts = counts_of(drawn)
    series = dispersion.series_of(counts)
    common, count = dispersion.common_dispersion(series), len(series.bins)
    for s, (trend, (y, n)) in enumerate(zip(trends.trends(counts), plain_series(drawn), strict=True)):
        best = -math.inf
        for start, stop in zip(*windows(count), strict=True):
            inside, outside = (y[start:stop], n[start:stop]), (y[:start] + y[stop:], n[:start] + n[stop:])
            phi = max((plain_excess(*inside) + plain_excess(*outside)) / max(count - 2, 1), common)
            sums = [min(sum(a), sum(b)) / phi for a, b in ((inside[0], inside[1]), (outside[0], outside[1]))]
            totals = [sum(inside[1]) / phi, sum(outside[1]) / phi]
            z = float(contrast(*sums, *totals).z)
            best = max(best, float(dispersion.long_tailed(z, totals[0] * phi * sums[1] / totals[1], phi)))
        np.testing.assert_allclose(trend.z, best, rtol=1e-6, atol=1e-6)
        assert trend.p == min(1.0, float(tail(trend.z)) * trends.WINDOWS_PER_BIN * count), s


def facts_of(counts):
    return trends.trends(counts), trends.spikes(counts, 0.2)


@given(weighted_counts(), st.sampled_from([2.0**-60, 0.5, 1024.0]))
def test_a_factor_of_all_weights_changes_no_class_and_no_bit_of_z(drawn, factor):
    (kinds, spikes), (scaled, scaled_spikes) = facts_of(counts_of(drawn)), facts_of(counts_of(drawn, factor))
    assert scaled == kinds
    expected = [s._replace(weight=s.weight * factor, expected=s.expected * factor) for s in spikes]
    assert scaled_spikes == expected


@given(weighted_counts(), generators())
def test_bins_without_items_change_nothing(drawn, rng):
    events, (n_segments, n_bins, n_sites) = drawn
    place = np.sort(rng.choice(3 * n_bins, n_bins, replace=False))
    sparse = events._replace(bins=place[events.bins]), (n_segments, 3 * n_bins, n_sites)
    (kinds, spikes), (found, found_spikes) = facts_of(counts_of(drawn)), facts_of(counts_of(sparse))
    expected = [t._replace(start=int(place[t.start]), stop=int(place[t.stop - 1]) + 1) for t in kinds]
    assert found == expected
    assert found_spikes == [s._replace(bin=int(place[s.bin])) for s in spikes]


def test_few_segments_move_and_few_bins_are_spikes_where_nothing_is_planted():
    """At most 5 % of the runs have a spike, and 5 % for each of the two tests of a trend: bounds of 1 % of 120 runs."""
    most_spikes, most_trends = stats.binom.isf(0.01, 120, [0.05, 0.1])
    for phi in (1.0, 2.0):
        runs = [counted(*random_counts(np.random.default_rng(seed), phi)) for seed in range(120)]
        assert sum(bool(trends.spikes(counts)) for counts in runs) <= most_spikes
        assert sum(any(t.kind != "steady" for t in trends.trends(counts)) for counts in runs) <= most_trends


@pytest.mark.parametrize(("mean", "phi"), [(20, 1.0), (60, 2.0)])
def test_bursts_of_three_times_the_rate_are_found_within_one_bin(mean, phi):
    """Of the bursts 95 % are found when counts end with their first or second bin, by a bound of 0.1 % of 60 runs."""
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, totals = random_counts(rng, phi, mean)
        more = 2 * totals[-2:] / 100
        burst = rng.poisson(more) if phi == 1 else rng.negative_binomial(more / (phi - 1), 1 / phi)
        y[0, -2:] += burst
        spikes = [trends.spikes(counted(y[:, :stop], totals[:stop])) for stop in (23, 24)]
        found += any(s.segment == 0 and s.bin >= 22 for some in spikes for s in some)
    assert found >= stats.binom.isf(0.999, 60, 0.95)


SHAPES = {
    "rising": lambda t: 1 + 3 * (t >= 18),
    "falling": lambda t: 1 + 3 * (t < 8),
    "peak": lambda t: 1 + 4 * ((t >= 9) & (t < 14)),
    "new": lambda t: 2.0 * (t >= 18),
    "gone": lambda t: 2.0 * (t < 8),
    "steady": np.ones_like,
}


@pytest.mark.parametrize("phi", [1.0, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_planted_shapes_have_their_class(seed, phi):
    rng, place = np.random.default_rng(seed), np.arange(24)
    y, _ = random_counts(rng, phi)
    for s, shape in enumerate(SHAPES.values()):
        expected = shape(place) * 30.0
        y[s] = rng.poisson(expected) if phi == 1 else rng.negative_binomial(expected / (phi - 1) + 1e-9, 1 / phi)
    found = trends.trends(counted(y, np.full(24, 4000.0)))
    assert [t.kind for t in found[: len(SHAPES)]] == list(SHAPES)
    assert (found[2].start, found[2].stop) == (9, 14)


@pytest.mark.parametrize("heavy", [1.0, 100.0])
def test_one_viral_item_is_one_item_and_a_theme_is_not(heavy):
    """Segment 0 has one item of such a weight in a bin, and segment 1 has twice its items there."""
    rng, n_bins, n = np.random.default_rng(0), 60, 10_000
    bins = [np.arange(size) % n_bins for size in (n, n, 10 * n)]
    bins[1] = np.r_[bins[1], np.full(n // n_bins, 15)]
    segments = np.repeat(np.arange(3, dtype=np.int32), [len(b) for b in bins])[:, None]
    weights = rng.uniform(0.5, 1.5, len(segments))
    weights[15] = heavy
    counts = Counts(3, n_bins, 1)
    counts.add(Events(segments, np.concatenate(bins), np.zeros(len(segments), int), weights))
    theme, *viral = trends.spikes(counts)
    assert (*theme[:2], theme.one_item) == (1, 15, False)
    assert theme.z_without < theme.z
    assert [(*s[:2], s.largest_item, s.one_item) for s in viral] == ([(0, 15, 15, True)] if heavy > 1 else [])
    assert all(s.largest_share == 100 / counts.weights[0, 15, 0] and s.z_without < 2 for s in viral)


def test_time_needs_two_bins():
    with pytest.raises(CompressaeError, match=r"^times: expected items in at least 2 bins of time, got 1; choose"):
        trends.trends(counted([[3, 0]], [5, 0]))
