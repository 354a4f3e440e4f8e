"""Where other methods are ahead of codes: one rule for `evaluate`, `choose` and the demo.

A method is ahead of codes of equal or fewer bytes if its recall is higher by more than the 95 % interval of the
difference. The measure is recall of the most neighbours. The interval is that of the difference of independent means,
√(a² + b²); it is 0 where no interval is known. The queries are the same, so it is rather too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from compressae_ref.evaluation.frontier import label
from compressae_ref.evaluation.judge import Row


def is_ahead(row: Row, than: Row) -> bool:
    """Tell whether the recall of a row is higher by more than the interval of the difference."""
    return row.deepest - than.deepest > hypot(row.deepest_error, than.deepest_error)


def leaders(rows: Sequence[Row], budget: float | None = None) -> list[Row]:
    """Return the other methods that are ahead of codes, by bytes.

    Parameters
    ----------
    rows : results of `evaluate.evaluate`, or of other measurements of the same queries, in any order
    budget : bytes per item. Rows of more bytes do not count, and a method must be ahead of all codes in the budget.
        None: a method must be ahead of all codes that take at most its own bytes

    Notes
    -----
    Each method is compared with the best codes in these bytes. A method with fewer or equal bytes and higher recall
    replaces it. So a row that another one of its kind beats changes nothing. Methods that store at least the bytes of
    dense vectors do not count.
    """
    within = [row for row in rows if budget is None or row.bytes_per_item <= budget]
    codes = _undominated([row for row in within if row.k is not None])
    others = _undominated([row for row in within if row.k is None and row.compression > 1])
    found = []
    for row in others:
        size = row.bytes_per_item if budget is None else budget
        rivals = [code for code in codes if code.bytes_per_item <= size]
        if not rivals or is_ahead(row, rivals[-1]):
            found.append(row)
    return found


def best_codes(rows: Sequence[Row], budget: float) -> Row | None:
    """Return the codes with the highest recall in a budget, with which `leaders` compares; None if there are none."""
    codes = _undominated([row for row in rows if row.k is not None and row.bytes_per_item <= budget])
    return codes[-1] if codes else None


def _undominated(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with higher recall than all rows of fewer or equal bytes, by bytes and so by recall.

    Of equal recalls the one with the smaller interval is the higher.
    """
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.bytes_per_item, *(-value for value in _quality(row)), label(row))):
        if not found or _quality(row) > _quality(found[-1]):
            found.append(row)
    return found


def _quality(row: Row) -> tuple[float, float]:
    return row.deepest, -row.deepest_error


# -- sentences --------------------------------------------------------------------------------------------------------


def leaders_sentence(rows: Sequence[Row]) -> str:
    """Say in one sentence where `leaders` have higher recall than codes."""
    top, ahead = max(rows[0].recall), leaders(rows)
    measure = f"recall@{top} than codes of as few bytes"
    if not ahead:
        return f"At no size measured here another method has higher {measure} (95 % intervals over queries)."
    named = [f"{label(row)} at {row.bytes_per_item:,} bytes ({row.deepest:.3f})" for row in ahead]
    return f"Methods with higher {measure} (95 % intervals over queries): {', '.join(named)}."


def better_than_codes(rows: Sequence[Row], budget: float) -> str | None:
    """Say in a sentence which of `leaders` has the highest recall in a budget of bytes; None if there is none."""
    ahead, codes = leaders(rows, budget), best_codes(rows, budget)
    if not ahead:
        return None
    other = max(ahead, key=lambda row: (row.deepest, -row.bytes_per_item))
    found = f"At {other.bytes_per_item:,} bytes use {label(other)}: recall@{max(other.recall)} {shown(other)}"
    if codes is None:
        return f"{found}. No codes of at most {budget:,.0f} bytes were measured."
    return f"{found}; {label(codes)}, k {codes.k}, have {shown(codes)} in {codes.bytes_per_item:,} bytes."


def shown(row: Row) -> str:
    """Return the recall of the most neighbours with its interval."""
    return f"{row.deepest:.3f} ± {row.deepest_error:.3f}"
