"""Segments: membership, counts, comparisons, hierarchy, identity and the class, against dictionaries and loops."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from scipy.cluster.hierarchy import fcluster
from scipy.optimize import linear_sum_assignment

from compressae_ref import Codes, Model, Params, reference
from compressae_ref.errors import CompressaeError
from compressae_ref.segments import comparisons, hierarchy, identity, membership
from compressae_ref.segments.contrast import contrast
from compressae_ref.segments.counts import Counts, Events
from compressae_ref.segments.drift import explained, low_quantile
from compressae_ref.segments.evidence import Ranked, inactive_items, opposite_items
from compressae_ref.segments.membership import Members, Rule, as_rule, assign, keys_of
from compressae_ref.segments.segments import Segments
from tests.strategies import codes as drawn_codes
from tests.strategies import generators

RULES = ("dominant", "top", "all")


@st.composite
def rules(draw):
    threshold = draw(st.sampled_from([0.0, 0.25, 0.5, 0.99]))
    return Rule(draw(st.sampled_from(RULES)), draw(st.integers(1, 4)), threshold, draw(st.integers(1, 3)))


def many_codes():
    return st.one_of(drawn_codes(n=st.integers(2, 30), n_latents=4), drawn_codes(n=st.integers(2, 12)))


def random_codes(rng, n=400, h=12, k=4):
    """Codes of which some latents are much more frequent than others."""
    indices = np.sort(np.argsort(rng.random((n, h)) * np.arange(3, h + 3), axis=1)[:, :k], axis=1)
    return Codes(indices.astype(np.int32), rng.standard_normal((n, k)).astype(np.float32), h)


# -- membership -------------------------------------------------------------------------------------------------------


def plain_entries(codes):
    """For each item its (key, strength): strongest first, ties to the lower latent, no zeros."""
    norms = reference.code_norm(codes.values)
    for indices, values, norm in zip(codes.indices.tolist(), codes.values, norms, strict=True):
        entries = [(-abs(float(v)), j, 1 if v > 0 else -1, np.float32(abs(v) / norm))
                   for j, v in zip(indices, values, strict=True) if v != 0]  # fmt: skip
        yield [((j, sign), strength) for _, j, sign, strength in sorted(entries)]


def plain_taken(entries, rule):
    """The entries that a rule takes of those that it may take."""
    if rule.assign == "all":
        return [entry for i, entry in enumerate(entries) if i == 0 or entry[1] >= np.float32(rule.threshold)]
    return entries[: 1 if rule.assign == "dominant" else rule.top]


def plain_members(codes, rule):
    """R29 and R30: keys, and for each item its (segment, strength)."""
    candidates = Counter(key for entries in plain_entries(codes) for key, _ in plain_taken(entries, rule))
    keys = sorted((j, -sign) for (j, sign), count in candidates.items() if count >= rule.min_items)
    number = {(j, -sign): s for s, (j, sign) in enumerate(keys)}
    items = [
        plain_taken([(number[key], strength) for key, strength in entries if key in number], rule)
        for entries in plain_entries(codes)
    ]
    return [(j, -sign) for j, sign in keys], items


def items_of(members):
    return [
        [(s, strength) for s, strength in zip(own, strengths, strict=True) if s >= 0]
        for own, strengths in zip(members.segments.tolist(), members.strengths, strict=True)
    ]


@given(many_codes(), rules())
@example(Codes([[0, 1]], np.array([[1.0, -1.0]]), 2), Rule(min_items=1))
@example(Codes([[0, 1]], np.array([[1e-300, 1e-320]]), 2), Rule("top", min_items=1))
@example(Codes([[0, 1]] * 3, np.array([[0.0, 0.0], [0.0, 2.0], [-0.5, 0.0]]), 2), Rule(min_items=1))
def test_items_have_their_strongest_segments(codes, rule):
    keys, items = plain_members(codes, rule)
    found = keys_of(codes, rule)
    assert [tuple(key) for key in found.tolist()] == keys
    members = assign(codes, found, rule)
    assert items_of(members) == items
    # A place without a segment is behind all others, and without strength.
    without = members.segments < 0
    assert (np.diff(without.astype(int), axis=1) >= 0).all()
    assert (members.strengths[without] == 0).all()
    if rule.assign == "dominant":
        assert sum(Counter(s for [(s, _)] in filter(None, items)).values()) + items.count([]) == len(codes)


@given(many_codes(), rules(), generators(), st.integers(1, 9))
def test_blocks_and_orders_and_scales_change_no_segment(codes, rule, rng, block):
    keys = keys_of(codes, rule)
    members = assign(codes, keys, rule)
    order = rng.permutation(len(codes))
    np.testing.assert_array_equal(keys_of(codes[order], rule), keys)
    np.testing.assert_array_equal(assign(codes[order], keys, rule).segments, members.segments[order])
    scaled = Codes(codes.indices, codes.values * codes.values.dtype.type(4.0), codes.n_latents)
    np.testing.assert_array_equal(keys_of(scaled, rule), keys)
    np.testing.assert_array_equal(assign(scaled, keys, rule).segments, members.segments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "ROWS_PER_BLOCK", block)
        np.testing.assert_array_equal(keys_of(codes, rule), keys)
        for one, other in zip(assign(codes, keys, rule), members, strict=True):
            np.testing.assert_array_equal(one, other)


@given(many_codes(), st.integers(1, 3))
def test_rules_that_take_one_entry_are_one_rule(codes, min_items):
    dominant = Rule("dominant", min_items=min_items)
    keys = keys_of(codes, dominant)
    for rule in (Rule("top", 1, min_items=min_items), Rule("all", threshold=1 - 1e-9, min_items=min_items)):
        np.testing.assert_array_equal(keys_of(codes, rule), keys)
        np.testing.assert_array_equal(
            assign(codes, keys, rule).segments[:, 0], assign(codes, keys, dominant).segments[:, 0]
        )
    everything = as_rule("all", 1, 0, 1)
    stored = int((codes.values != 0).sum())
    assert (assign(codes, keys_of(codes, everything), everything).segments >= 0).sum() == stored


# -- counts -----------------------------------------------------------------------------------------------------------


@st.composite
def events(draw):
    """Items with up to three segments each, in bins and at sites; weights with ties and zeros, or of any size."""
    rng, n, n_segments = draw(generators()), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    ranks = np.argsort(rng.random((n, n_segments)), axis=1)[:, :3].astype(np.int32)
    ranks[np.arange(ranks.shape[1]) >= rng.integers(0, ranks.shape[1] + 1, (n, 1))] = -1
    weights = rng.integers(0, 4, n).astype(float) if draw(st.booleans()) else rng.lognormal(0, 5, n)
    return Events(ranks, rng.integers(0, 4, n), rng.integers(0, 3, n), weights), n_segments


def filled(events, n_segments, cuts=()):
    counts = Counts(n_segments, 4, 3)
    for start, stop in itertools.pairwise([0, *sorted(cuts), len(events.bins)]):
        counts.add(Events(*(array[start:stop] for array in events)))
    return counts


def assert_same_counts(one, other):
    assert vars(one).keys() == vars(other).keys()
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, vars(other)[name], name)


@given(events())
def test_counts_are_sums_over_items(drawn):
    items, n_segments = drawn
    sums, largest = defaultdict(float), {}
    for row, (own, b, g, w) in enumerate(zip(*(a.tolist() for a in items), strict=True)):
        sums["totals", b, g] += w
        sums["total_items", b, g] += 1
        sums["unassigned", b, g] += w * (own[0] < 0)
        for s in own:
            if s >= 0:
                for name, value in (("weights", w), ("squares", w * w), ("items", 1)):
                    sums[name, s, b, g] += value
                if w > largest.get((s, b), (-1, -1))[0]:
                    largest[s, b] = w, row
    counts = filled(items, n_segments)
    for name in ("weights", "squares", "items", "totals", "total_items", "unassigned"):
        for cell, value in np.ndenumerate(getattr(counts, name)):
            assert value == sums[(name, *cell)], (name, cell)
    for cell, item in np.ndenumerate(counts.largest_item):
        assert (counts.largest[cell], item) == largest.get(cell, (0, -1))
    if items.segments.shape[1] == 1 and (items.weights % 1 == 0).all():
        np.testing.assert_array_equal(counts.weights.sum(0) + counts.unassigned, counts.totals)


@given(events(), generators())
def test_counts_do_not_depend_on_batches(drawn, rng):
    at_once = filled(*drawn)
    n = len(drawn[0].bins)
    for cuts in (range(1, n), rng.integers(0, n + 1, 3).tolist()):
        assert_same_counts(filled(*drawn, cuts), at_once)


@given(many_codes().filter(lambda c: np.count_nonzero(c.values) > 0), st.sampled_from(RULES), generators())
def test_updates_one_by_one_are_those_of_all_at_once(codes, how, rng):
    """New bins before and behind, and new sites; the first items are in the same segments."""
    n, first = len(codes), max(1, len(codes) // 2)
    times = np.datetime64("2000-01", "M") + np.r_[rng.integers(0, 5, first), rng.integers(-9, 20, n - first)]
    weights = np.r_[1.0, rng.integers(0, 3, n - 1) * 0.1]
    sites = np.array(list("aabb" * n))[:n].tolist()[:first] + rng.choice(list("dcba"), n - first).tolist()
    rule = Rule(how, min_items=1)
    keys = keys_of(codes, rule)

    def followed(cuts):
        segments = Segments(rule, assign(codes[:first], keys, rule), codes[:first], None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("compressae_ref.segments.timeline.require_several_items", lambda *_: None)
            segments.over_time(times[:first], bin="month", weights=weights[:first], sites=sites[:first])
        found = [segments.members.segments]
        for start, stop in itertools.pairwise([first, *cuts, n]):
            part = slice(start, stop)
            found.append(segments.update(codes[part], times=times[part], weights=weights[part], sites=sites[part]))
        return segments, np.concatenate(found)

    at_once, expected = followed([])
    names = at_once.timeline.sites
    for cuts in (range(first + 1, n), sorted(rng.integers(first, n + 1, 2).tolist())):
        segments, found = followed(cuts)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(segments.members.segments, expected)
        order = [segments.timeline.sites.index(name) for name in names]  # new sites are numbered as they come
        for name, array in vars(at_once.timeline.counts).items():
            own = vars(segments.timeline.counts)[name]
            own = own[..., order] if np.ndim(own) and own.shape[-1] == len(order) and "largest" not in name else own
            np.testing.assert_array_equal(own, array, name)
        assert segments.timeline.labels() == at_once.timeline.labels()
        for one, other in zip(segments.timeline.items(), at_once.timeline.items(), strict=True):
            np.testing.assert_array_equal(one, other)


# -- comparisons ------------------------------------------------------------------------------------------------------


def random_events(rng, n_segments=40, n=20_000, sites=3):
    segments = rng.integers(0, n_segments, (n, 1)).astype(np.int32)
    return segments, rng.integers(0, 6, n), rng.integers(0, sites, n)


def counted(segments, bins, sites, weights):
    counts = Counts(int(segments.max()) + 1, int(bins.max()) + 1, int(sites.max()) + 1)
    counts.add(Events(segments, bins, sites, weights))
    return counts


@pytest.mark.parametrize("seed", range(3))
def test_planted_sites_are_found_and_no_others(seed):
    rng = np.random.default_rng(seed)
    segments, bins, sites = random_events(rng)
    none = comparisons.by_site(counted(segments, bins, sites, np.ones(len(bins))))
    assert none.significant.sum() <= stats.binom.isf(0.001, none.z.size, 0.05 / none.z.size) + 1
    sites[(segments[:, 0] == 0) & (rng.random(len(bins)) < 0.5)] = 2
    sites[(segments[:, 0] == 1) & (sites == 2)] = 0
    counts = counted(segments, bins, sites, np.ones(len(bins)))
    found = comparisons.by_site(counts)
    assert found.significant[0, 2]
    assert found.significant[1, 2]
    assert found.ratio[0, 2] > 1.5
    assert found.ratio[1, 2] < 0.2
    assert found.significant[2:].sum() <= 3
    # Shares of sites are between those of the bin and of the site alone.
    shares, own = comparisons.site_shares(counts), counts.weights / counts.totals
    in_bin = counts.weights.sum(2, keepdims=True) / counts.totals.sum(1)[:, None]
    assert (np.abs(shares - in_bin) <= np.abs(own - in_bin) + 1e-12).all()
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_hidden_segments_have_few_items_and_much_weight(seed):
    rng = np.random.default_rng(seed)
    segments, bins, sites = random_events(rng)
    segments = np.where((segments == 7) & (rng.random(segments.shape) < 0.7), 8, segments)
    segments = np.where((segments == 9) & (rng.random(segments.shape) < 0.5), 10, segments)
    sites = np.where(segments[:, 0] == 9, 1, sites)
    factor = np.array([1.0, 3.0, 0.5])[sites] * (1 + bins)  # what bins and sites explain is not hidden
    weights = factor * rng.lognormal(0, 0.5, len(bins))
    assert not comparisons.hidden(counted(segments, bins, sites, weights)).hidden[[7, 9]].any()
    weights = np.where(np.isin(segments[:, 0], [7, 8]), 3 * weights, weights)
    found = comparisons.hidden(counted(segments, bins, sites, weights))
    assert found.hidden[7]
    assert found.hidden.sum() <= 3
    assert (found.z[8] > 4, found.hidden[8]) == (True, False)  # it is strong, and has many items
    assert 1.8 < found.ratio[7] < 3


@given(many_codes(), st.integers(1, 2))
def test_segments_that_are_stored_together_are_counted(codes, min_items):
    rule = Rule("dominant", min_items=min_items)
    keys = keys_of(codes, rule)
    found = comparisons.together(codes, keys)
    stored = [{key for key, _ in entries} for entries in plain_entries(codes)]
    for s, t in itertools.product(range(len(keys)), repeat=2):
        one, other = tuple(keys[s].tolist()), tuple(keys[t].tolist())
        with_one, without = [own for own in stored if one in own], [own for own in stored if one not in own]
        y, y_other = (sum(other in own for own in side) for side in (with_one, without))
        z = 0.0 if s == t else float(contrast(y, y_other, len(with_one), len(without)).z)
        assert found.z[s, t] == z
        p = comparisons.SHRINKAGE * (y + y_other) / len(codes)
        ratio = (
            (y + p) / (len(with_one) + comparisons.SHRINKAGE) / ((y_other + p) / (len(without) + comparisons.SHRINKAGE))
        )
        np.testing.assert_allclose(found.ratio[s, t], 1.0 if s == t else ratio, rtol=1e-12)


# -- hierarchy and identity -------------------------------------------------------------------------------------------


def partition(groups):
    """Groups as sets of segments."""
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups.tolist())}


@given(generators(), st.integers(1, 25), st.booleans())
def test_cuts_are_nested_and_have_as_many_groups(rng, n, ties):
    atoms = rng.integers(-1, 2, (n, 3)) + 0.0 if ties else rng.standard_normal((n, 6))
    atoms = atoms / reference.clamped_norm(atoms)[:, None]
    tree = hierarchy.linkage(hierarchy.cosines(atoms, atoms))
    np.testing.assert_array_equal(hierarchy.linkage(hierarchy.cosines(atoms.copy(), atoms.copy())), tree)
    cuts = [hierarchy.cut(tree, count) for count in range(1, n + 1)]
    for count, groups in enumerate(cuts, 1):
        assert [groups.tolist().index(group) for group in range(count)] == sorted(
            set(np.unique(groups, return_index=True)[1])
        )
        assert len(set(groups.tolist())) == count
        if not ties and n > 1:
            assert partition(groups) == partition(fcluster(tree, count, "maxclust"))
    for fewer, more in itertools.pairwise(cuts):
        assert all(any(own <= other for other in partition(fewer)) for own in partition(more))
    np.testing.assert_array_equal(hierarchy.cut(tree, n + 9), np.arange(n))


def test_atoms_of_both_signs_are_opposite():
    rng = np.random.default_rng(0)
    params = Params(
        rng.standard_normal((5, 3)).astype("f4"), np.zeros(3, "f4"), rng.standard_normal((3, 5)).astype("f4")
    )
    atoms = hierarchy.signed_atoms(params, np.array([[1, 1], [1, -1], [2, 1]], np.int32))
    np.testing.assert_array_equal(atoms[0], -atoms[1])
    np.testing.assert_allclose(hierarchy.cosines(atoms, atoms)[:2, :2], [[1, -1], [-1, 1]], rtol=1e-15)


@given(generators(), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_matches_are_the_best_pairs_of_sets_of_items(rng, s, t, with_atoms):
    new, old = rng.integers(-1, s, (20, 1)).astype(np.int32), rng.integers(-1, t, (20, 1)).astype(np.int32)
    atoms = [rng.standard_normal((count, 4)) for count in (s, t)] if with_atoms else None
    if atoms:
        atoms = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in atoms]
    sets = [
        [set(np.flatnonzero(of == j).tolist()) for j in range(count)] for of, count in ((new[:, 0], s), (old[:, 0], t))
    ]
    jaccard = np.array([[len(a & b) / max(1, len(a | b)) for b in sets[1]] for a in sets[0]])
    score = (jaccard + np.maximum(atoms[0] @ atoms[1].T, 0)) / 2 if with_atoms else jaccard
    found = identity.match(new, old, (s, t), atoms)
    best = np.transpose(linear_sum_assignment(score, maximize=True)).tolist()
    if with_atoms:
        pairs = [[i, j] for i, j in best if jaccard[i, j] > 0]
        assert np.transpose([found.new, found.old]).tolist() == pairs
    else:  # several matchings may be the best; pairs without a common item add nothing
        np.testing.assert_allclose(score[found.new, found.old].sum(), sum(score[i, j] for i, j in best))
    np.testing.assert_array_equal(found.confidence, jaccard[found.new, found.old])
    assert (found.confidence > 0).all()
    assert sorted(set(found.new.tolist())) == found.new.tolist()
    assert len(set(found.old.tolist())) == len(found.old)
    assert np.isnan(found.cosine).all() or with_atoms


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    W_dec = rng.standard_normal((16, 12))
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    return Model(Params(*(np.ascontiguousarray(a, np.float32) for a in (W_dec.T, np.zeros(16), W_dec))), 4)


def rows_of(model, n, seed=0):
    """Rows near to sums of few atoms."""
    rng = np.random.default_rng(seed)
    W = model.params.W_dec
    loads = rng.exponential(size=(n, 3)) * rng.choice([1, 1, 1, -1], (n, 3))
    rows = (loads[:, :, None] * W[rng.integers(0, len(W), (n, 3))]).sum(axis=1)
    return (rows + 0.05 * rng.standard_normal(rows.shape)).astype(np.float32)


@pytest.mark.parametrize("how", RULES)
def test_latents_in_another_order_are_matched_and_keep_their_names(model, how):
    x, order = rows_of(model, 500), np.random.default_rng(2).permutation(16)
    params = model.params
    other = Model(
        Params(np.ascontiguousarray(params.W_enc[:, order]), params.b_enc[order], params.W_dec[order]), model.k
    )
    one, two = (Segments.build(m.encode(x), model=m, min_items=5, assign=how) for m in (model, other))
    words = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in ("lnt", "rks", "mpf")]
    texts = [words[own[0]] for own in one.members.segments]
    earlier, before = one.name(texts), two.name(["word other"] * 500)
    found = two.carry_names(one)
    np.testing.assert_array_equal(order[two.keys[found.new, 0]], one.keys[found.old, 0])
    np.testing.assert_array_equal(two.keys[found.new, 1], one.keys[found.old, 1])
    assert len(found.new) == len(one) == len(two)
    np.testing.assert_array_equal(found.confidence, 1)
    np.testing.assert_allclose(found.cosine, 1, rtol=1e-6)
    assert [two.names[s] for s in found.new] == [earlier[t] for t in found.old]
    assert set(two.naming.named_by) == {"carried"}
    assert before != two.names


# -- evidence ---------------------------------------------------------------------------------------------------------


@given(many_codes(), rules(), st.integers(1, 4))
def test_evidence_is_that_of_sorted_lists(codes, rule, count):
    keys = keys_of(codes, rule)
    members = assign(codes, keys, rule)
    ranked, opposite = Ranked.by_strength(members), opposite_items(codes, keys, count)
    inactive = inactive_items(codes, keys, count)
    entries = list(plain_entries(codes))
    hashes = sorted(range(len(codes)), key=lambda row: row * 2_654_435_761 % 2**32)
    for s, (j, sign) in enumerate(keys.tolist()):
        own = sorted((-strength, row) for row, of in enumerate(items_of(members)) for t, strength in of if t == s)
        own = [(row, float(-strength)) for strength, row in own]
        assert ranked.strongest(s, count) == own[:count]
        assert ranked.borderline(s, count) == own[::-1][:count]
        start = max(0, (len(own) - count) // 2)
        assert ranked.median(s, count) == own[start : start + count]
        other = sorted((-x, row) for row, of in enumerate(entries) for key, x in of if key == (j, -sign))
        assert opposite[s] == [(row, float(-x)) for x, row in other[:count]]
        assert inactive[s] == [row for row in hashes if j not in {key[0] for key, _ in entries[row]}][:count]


# -- the class --------------------------------------------------------------------------------------------------------


def built(model, n=600, seed=0, **options):
    x = rows_of(model, n, seed)
    return Segments.build(model.encode(x), model=model, embeddings=x, min_items=5, **options), x


def test_embeddings_are_updates_like_their_codes(model):
    (one, x), (other, _) = built(model), built(model)
    new, times = rows_of(model, 50, seed=3), np.arange(1990, 2040)
    for segments, items in ((one, new), (other, model.encode(new))):
        segments.over_time(np.full(600, 2000), bin="year")
        segments.update(items, times=times)
    np.testing.assert_array_equal(one.members.segments, other.members.segments)
    np.testing.assert_array_equal(one.codes.values, model.encode(np.concatenate([x, new])).values)
    assert_same_counts(one.timeline.counts, other.timeline.counts)
    assert (one.n, one.sizes().sum() + one.unassigned) == (650, 650)
    assert math.isnan(other.unexplained)  # codes alone do not tell


def test_items_that_the_model_does_not_explain_are_counted(model):
    """Among as many items of the same kind, 95 % of the time the share is within two standard deviations."""
    segments, x = built(model, 2000)
    rows = explained(model, x, segments.codes)
    plain = [np.dot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v))
             for u, v in zip(x.astype(float), model.decode(segments.codes).astype(float), strict=True)]  # fmt: skip
    np.testing.assert_allclose(rows, plain, rtol=1e-5)
    assert segments.least_explained == low_quantile(rows) == sorted(rows.tolist())[100]
    assert math.isnan(segments.unexplained)
    segments.update(x)
    assert segments.unexplained == 100 / 2000
    alike, _ = built(model, 2000)
    alike.update(rows_of(model, 2000, seed=7))
    least, most = stats.binom.interval(0.999, 2000, 0.05)
    assert least - 45 <= 2000 * alike.unexplained <= most + 45  # the quantile itself is one of 2,000 items
    alike.update(np.random.default_rng(0).standard_normal((2000, 12)).astype(np.float32))
    assert alike.unexplained > 0.25


def finite(value):
    """Whether there is no NaN and no infinity, and nothing that JSON does not know."""
    json.dumps(value, allow_nan=False)
    return True


@pytest.mark.parametrize("known", [*itertools.product([False, True], repeat=5)], ids=str)
def test_facts_are_json_whatever_is_known(model, known):
    with_model, with_texts, with_times, with_sites, with_weights = known
    x = rows_of(model, 150)
    segments = Segments.build(model.encode(x), model=model if with_model else None, min_items=5)
    rng = np.random.default_rng(0)
    if with_texts:
        segments.name(
            [None if i % 7 == 0 else f"word{own[0]} common" for i, own in enumerate(segments.members.segments)]
        )
    if with_times:
        sites = rng.choice(list("ab"), 150).tolist() if with_sites else None
        weights = rng.exponential(size=150) if with_weights else None
        segments.over_time(rng.integers(1980, 2000, 150), sites=sites, weights=weights)
    facts = segments.facts("Title")
    assert finite(facts)
    assert [facts[name] for name in ("title", "items", "unassigned")] == ["Title", 150, segments.unassigned]
    assert sum(part["items"] for part in facts["segments"]) + facts["unassigned"] == 150
    assert bool(facts["groups"]) == with_model
    if with_model:
        with pytest.raises(CompressaeError, match=r"^n_groups: expected an integer of at least 1, got 0$"):
            segments.facts(n_groups=0)
    assert sorted(s for group in facts["groups"] for s in group["segments"]) == list(range(len(segments))) * with_model
    assert (facts["bins"] is not None) == with_times
    assert facts["sites"] == (["a", "b"] if with_times and with_sites else [])
    assert facts["weighted"] == (with_times and with_weights)
    for part in facts["segments"]:
        assert (part["trend"] is not None) == with_times
        assert (part["named_by"] is not None) == with_texts
        for item in part["strongest"]:
            assert (item["text"] is None) == (not with_texts or item["row"] % 7 == 0)
        if with_times:
            np.testing.assert_allclose(sum(part["series"]), part["weight"])


@pytest.mark.parametrize("case", ["one segment", "two bins", "tiny and huge", "updated", "all zero codes"])
def test_facts_are_json_of_few_and_of_extreme_items(model, case):
    codes = model.encode(rows_of(model, 60))
    if case == "one segment":
        codes = Codes(np.zeros((60, 1), np.int32), np.ones((60, 1), np.float32), 1)
    if case == "all zero codes":
        codes = Codes(codes.indices, np.where(np.arange(60)[:, None] < 50, np.float32(0), codes.values), 16)
    segments = Segments.build(codes, min_items=1)
    segments.name(["word"] * 60)
    years = 2000 + np.arange(60) % 2 if case == "two bins" else 1990 + np.arange(60) // 5
    weights = np.where(np.arange(60) % 13 == 5, 1e30, 1e-30) if case == "tiny and huge" else np.ones(60)
    segments.over_time(years, bin="year", weights=weights, sites=[i % 2 for i in range(60)])
    if case == "updated":
        segments.update(codes[:9], times=[1980] * 9, weights=[0.0] * 9, sites=[7] * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = segments.facts()
    assert finite(facts)


CODES = Codes(np.tile(np.int32([0, 1]), (8, 1)), np.float32([[2, 1], [1, 2]] * 4), 3)
YEARS = list(range(2000, 2008))


def followed(**options):
    segments = Segments.build(CODES, min_items=1)
    segments.over_time(YEARS, bin="year", **options)
    return segments


def segments_in_one_bin():
    segments = followed()
    segments.over_time(YEARS, bin="century")
    return segments


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Segments.build(np.ones((3, 2))), "codes: expected Codes, got ndarray"),
        (lambda: Segments.build(CODES[:1]), "codes: expected at least 2 items, got 1"),
        (
            lambda: Segments.build(CODES),
            "min_items: expected a segment of at least 20 items, got none among 8 items; choose a smaller number",
        ),
        (
            lambda: Segments.build(Codes(CODES.indices, CODES.values, 2**40)),
            "codes: expected at most 16,777,216 latents, got 1,099,511,627,776",
        ),
        (lambda: Segments.build(CODES, assign="best"), "assign: expected one of dominant, top, all, got 'best'"),
        (lambda: Segments.build(CODES, threshold=1), "threshold: expected a number between 0 and 1, got 1"),
        (lambda: as_rule("top", 0, 0.5, 1), "top: expected an integer of at least 1, got 0"),
        (
            lambda: Segments.build(CODES, min_items=1, embeddings=np.ones((8, 2))),
            "model: expected a model for embeddings, got none; pass build(…, model=…)",
        ),
        (
            lambda: Segments.build(CODES, min_items=1).trends(),
            "times: expected times, got none; call over_time(times) first",
        ),
        (
            lambda: Segments.build(CODES, min_items=1).names,
            "names: expected segments with names, got none; call name(texts) first",
        ),
        (lambda: followed().hidden(), "weights: expected weights, got none; pass over_time(…, weights=…)"),
        (lambda: followed().by_site(), "sites: expected at least 2 sites, got 0"),
        (lambda: followed().trends(q=1), "q: expected a number between 0 and 1, got 1"),
        (
            lambda: segments_in_one_bin().facts(),
            "times: expected items in at least 2 bins of time, got 1; choose smaller bins (--bin)",
        ),
        (lambda: followed().groups(2), "model: expected a model for atoms, got none; pass build(…, model=…)"),
        (
            lambda: followed(weights=[1, 2, -1, np.nan, 0, 0, 0, 0]),
            "weights: expected finite numbers of at least 0, got -1 in row 2",
        ),
        (lambda: followed(weights=[0] * 8), "weights: expected a weight above 0, got 0 in every row"),
        (lambda: followed(weights=[1]), "weights: expected 8 weights, one for each item, got 1"),
        (lambda: followed(sites=["a"] * 7), "sites: expected 8 sites, one for each item, got 7"),
        (lambda: followed().update(CODES), "times: expected times, got none"),
        (
            lambda: followed().update(CODES, times=YEARS, weights=[1] * 8),
            "weights: expected no weights, as for the first items, got weights",
        ),
        (lambda: followed().update(CODES, times=YEARS[1:]), "times: expected 8 times, one for each item, got 7"),
        (
            lambda: followed().update(Codes(CODES.indices, CODES.values, 5), times=YEARS),
            f"codes: expected codes like {CODES!r}, got {Codes(CODES.indices, CODES.values, 5)!r}",
        ),
        (
            lambda: followed().match(Segments.build(CODES[:6], min_items=1)),
            "match: expected segments of the same items, got 8 and 6 items",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(act, message):
    with pytest.raises(CompressaeError) as caught:
        act()
    assert str(caught.value) == message


def test_what_is_refused_changes_nothing(model):
    segments, x = built(model)
    segments.over_time(np.full(600, 2000), bin="year", weights=np.ones(600))
    before = {name: np.copy(array) for name, array in vars(segments.timeline.counts).items()}
    for options in ({}, {"times": [2001]}, {"times": ["x"], "weights": [1]}, {"times": [2001], "weights": [-1]}):
        with pytest.raises(CompressaeError):
            segments.update(x[:1], **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressae_ref.segments.segments.explained", lambda *_: 1 // 0)  # as of an interrupt
        with pytest.raises(ZeroDivisionError):
            segments.update(x[:1], times=[2001], weights=[1])
    assert segments.n == len(segments.timeline.items()[0]) == 600
    assert math.isnan(segments.unexplained)
    for name, array in vars(segments.timeline.counts).items():
        np.testing.assert_array_equal(array, before[name])
    nothing = segments.update(segments.codes[:0], times=[], weights=[])
    assert nothing.shape == (0, 1)
    assert segments.n == 600


def test_names_are_carried_only_with_enough_confidence():
    texts = ["gold coin", "corn field"] * 4
    one, other = Segments.build(CODES, min_items=1), Segments.build(CODES, min_items=1)
    other.name(["iron ship"] * 8)
    with pytest.raises(CompressaeError, match=r"^names: "):
        other.carry_names(one)
    one.name(texts)
    found = other.carry_names(one)
    assert found.confidence.tolist() == [1, 1]
    assert np.isnan(found.cosine).all()
    assert other.names == one.names
    half = Members(
        one.keys,
        np.where(np.arange(8)[:, None] < 4, one.members.segments, 1 - one.members.segments),
        one.members.strengths,
    )
    third = Segments(one.rule, half, CODES, None)
    third.name(["iron ship"] * 8)
    before = list(third.names)
    assert third.carry_names(one, confidence=0.5).confidence.tolist() == [1 / 3, 1 / 3]
    assert (third.names, set(third.naming.named_by)) == (before, {"c-tf-idf"})
