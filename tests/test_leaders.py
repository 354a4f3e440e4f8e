"""Where other methods are ahead of codes: the laws of the rule, and the sentences that say it."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

from hypothesis import example, given
from hypothesis import strategies as st

from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.leaders import best_codes, better_than_codes, is_ahead, leaders, leaders_sentence

DENSE = 6
"""Bytes of a dense item."""


def made(ours: bool, size: int, recall: float, error: float) -> Row:
    method, k = ("asymmetric", 4) if ours else ("PCA", None)
    return Row(method, k, None, size, DENSE / size, {10: 0.0, 100: recall}, recall_error={10: 0.9, 100: error})


recalls, errors = st.sampled_from([0.2, 0.4, 0.5, 0.6]), st.sampled_from([0.0, 0.05, 0.1, 0.3])
some_rows = st.lists(st.builds(made, st.booleans(), st.integers(1, 7), recalls, errors), min_size=1, max_size=8)
budgets = st.none() | st.integers(1, 8)


@given(some_rows, budgets)
@example([made(False, 3, 0.6, 0.3), made(True, 3, 0.5, 0.0)], None)
@example([made(False, 3, 0.6, 0.0), made(True, 4, 0.7, 0.0)], None)
@example([made(False, 3, 0.6, 0.0), made(True, 4, 0.7, 0.0)], 4)
def test_a_leader_is_ahead_of_the_best_codes_of_as_few_bytes(rows, budget):
    found = leaders(rows, budget)
    for row in found:
        size = row.bytes_per_item if budget is None else budget
        codes = [code for code in rows if code.k is not None and code.bytes_per_item <= size]
        highest = max((code.recall[100] for code in codes), default=-1)
        error = min((code.recall_error[100] for code in codes if code.recall[100] == highest), default=0)
        assert row.k is None
        assert row.bytes_per_item < DENSE
        assert row.bytes_per_item <= size
        assert row.recall[100] - highest > hypot(row.recall_error[100], error)
    sizes = [row.bytes_per_item for row in found]
    assert sizes == sorted(set(sizes))
    assert [row.recall[100] for row in found] == sorted(row.recall[100] for row in found)


@given(some_rows, budgets)
@example([made(False, 3, 0.6, 0.0), made(True, 4, 0.7, 0.0)], None)
def test_who_is_ahead_of_all_codes_of_as_few_bytes_leads_or_is_beaten_by_a_leader(rows, budget):
    found = leaders(rows, budget)
    for row in rows:
        size = row.bytes_per_item if budget is None else budget
        codes = [code for code in rows if code.k is not None and code.bytes_per_item <= size]
        may_lead = row.k is None and row.bytes_per_item < DENSE and row.bytes_per_item <= size
        if may_lead and all(is_ahead(row, code) for code in codes):
            assert any(one.bytes_per_item <= row.bytes_per_item and one.recall[100] >= row.recall[100] for one in found)


@given(st.builds(made, st.booleans(), st.integers(1, 7), recalls, errors), budgets)
def test_nothing_leads_itself(row, budget):
    assert not is_ahead(row, row)
    as_codes, as_other = replace(row, k=4), replace(row, k=None)
    assert leaders([as_codes, as_other], budget) == []
    assert leaders([as_codes], budget) == []


@given(st.builds(made, st.booleans(), st.integers(1, 7), recalls, errors), some_rows)
def test_two_rows_are_not_ahead_of_each_other(row, rows):
    assert not any(is_ahead(row, other) and is_ahead(other, row) for other in rows)


@given(some_rows, budgets, st.data())
def test_a_worse_row_changes_nothing(rows, budget, data):
    row = data.draw(st.sampled_from(rows))
    worse = replace(
        row,
        bytes_per_item=row.bytes_per_item + data.draw(st.integers(0, 3)),
        recall={10: 1.0, 100: row.recall[100] - data.draw(st.sampled_from([0.0, 0.1]))},
        recall_error={10: 0.0, 100: row.recall_error[100] + data.draw(st.sampled_from([0.0, 0.1]))},
    )
    assert _facts(leaders([*rows, worse], budget)) == _facts(leaders(rows, budget))


@given(some_rows, budgets, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(rows, budget, random):
    shuffled = random.sample(rows, len(rows))
    assert _facts(leaders(shuffled, budget)) == _facts(leaders(rows, budget))
    assert leaders_sentence(shuffled) == leaders_sentence(rows)


@given(some_rows)
def test_a_budget_above_all_bytes_admits_the_leaders_that_are_ahead_of_all_codes(rows):
    in_budget, at_sizes = _facts(leaders(rows, 100)), _facts(leaders(rows))
    assert set(in_budget) <= set(at_sizes)


def _facts(rows: list[Row]) -> list[tuple[int, float, float]]:
    return [(row.bytes_per_item, row.recall[100], row.recall_error[100]) for row in rows]


@given(some_rows)
def test_the_sentence_about_all_sizes_names_each_leader(rows):
    found, sentence = leaders(rows), leaders_sentence(rows)
    assert sentence.startswith("Methods with higher recall@100" if found else "At no size")
    assert all(f"PCA at {row.bytes_per_item} bytes ({row.recall[100]:.3f})" in sentence for row in found)


@given(some_rows, st.integers(1, 8))
def test_the_sentence_about_a_budget_names_the_leader_with_the_highest_recall(rows, budget):
    found, sentence = leaders(rows, budget), better_than_codes(rows, budget)
    assert (sentence is None) == (not found)
    if sentence is not None:
        highest = max(found, key=lambda row: (row.recall[100], -row.bytes_per_item))
        assert sentence.startswith(f"At {highest.bytes_per_item} bytes use PCA: recall@100 {highest.recall[100]:.3f} ±")
        codes = best_codes(rows, budget)
        assert (codes is None) == ("No codes of at most" in sentence)
        assert codes is None or f"have {codes.recall[100]:.3f} ±" in sentence
