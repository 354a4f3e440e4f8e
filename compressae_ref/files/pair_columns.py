"""Find the columns of the query, the item and the grade in a file of relevance pairs, by names or by order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

QUERY_NAMES = {"query", "queryid", "qid", "q", "topic", "topicid", "user", "userid"}
ITEM_NAMES = {"item", "itemid", "corpus", "corpusid", "doc", "docid", "docno", "document", "documentid", "did", "pid"}
GRADE_NAMES = {"grade", "score", "rel", "relevance", "relevant", "label", "rating"}
"""Names of columns, in lower case and without "-", "_" and spaces."""


class Columns(NamedTuple):
    """Numbers of the columns."""

    query: int
    item: int
    grade: int | None
    qrels: bool = False


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether the first line names the columns.

    It does if there is a name of a query and one of an item, or no number as its grade (and no two row numbers before
    that), or no integer in it while all other lines have two of them.
    """
    columns = columns_of(first, len(first))
    if columns is None or has_names(first):
        return columns is not None
    if columns.grade is not None:
        pair = first[columns.query], first[columns.item]
        return not _is_number(first[columns.grade]) and not all(map(is_row_number, pair))
    return bool(rest) and not any(map(is_row_number, first)) and all(map(is_row_number, chain(*rest)))


def columns_of(names: Sequence[str] | None, width: int) -> Columns | None:
    """Return the columns of the query, the item and the grade, by their names or else their order; None: unknown."""
    if names is not None and (found := _by_names(names)) is not None:
        return found
    return {2: Columns(0, 1, None), 3: Columns(0, 1, 2), 4: Columns(0, 2, 3, qrels=True)}.get(width)


def has_names(names: Sequence[str]) -> bool:
    """Return whether names say which columns are those of the query and of the item."""
    return _by_names(names) is not None


def _by_names(names: Sequence[str]) -> Columns | None:
    plain = [re.sub("[-_ ]|:.*", "", name.strip().lower()) for name in names]
    query, item, grade = (
        [place for place, name in enumerate(plain) if name in known] for known in (QUERY_NAMES, ITEM_NAMES, GRADE_NAMES)
    )
    if len(query) != 1 or len(item) != 1 or len(grade) > 1:
        return None
    others = [place for place in range(len(names)) if place not in (*query, *item)]
    grade = others if not grade and len(others) == 1 else grade
    qrels = len(names) == 4 and bool(grade) and plain[1] in ("iter", "iteration")
    return Columns(query[0], item[0], grade[0] if grade else None, qrels)


def names_of(names: Sequence[str], columns: Columns) -> list[str]:
    """Return the names of the chosen columns."""
    return [names[place].strip() for place in columns[:3] if place is not None]


def is_row_number(text: str) -> bool:
    """Return whether a text is an integer from 0, as row numbers are written."""
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text) < 19


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_grade(text: str) -> bool:
    """Return whether a text is an integer, which may be written as "2.0"."""
    return _GRADE.fullmatch(text) is not None


_GRADE = re.compile(r"\s*[+-]?\d{1,18}(\.0*)?\s*", re.ASCII)
