"""Read relevance pairs by the ids of two files, or by their row numbers, and say which of the two was done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.errors import CompressaeError, DomainError, naming_file
from compressae_ref.files.input_file import PathLike
from compressae_ref.files.relevance import as_pairs
from compressae_ref.files.written_pairs import Written, read_pairs
from compressae_ref.item_ids import as_ids

By = Literal["ids", "rows"]


class Side(NamedTuple):
    """The embeddings that one column of the pairs is about."""

    called: str
    """their name in messages: "QUERIES\""""
    n: int
    ids: NDArray[Any] | None


class RelevantPairs(NamedTuple):
    """Pairs of row numbers, as `files.relevance.as_pairs` checks them."""

    pairs: NDArray[np.int64]
    """(m, 3) row of the query, row of the item, grade"""
    places: list[str]
    """where the file has each pair: "line 7\""""
    path: str
    notes: list[str]
    """what was read and what is ignored, for the user"""

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Name the file and the line in errors about the pairs."""
        with naming_file(self.path, "relevance"):
            try:
                yield
            except CompressaeError as error:
                if error.argument == "relevance" and error.row is not None:
                    error.message, error.row = f"{error.message} in {self.places[error.row]}", None
                raise


def open_relevance(path: PathLike, queries: Side, items: Side, by: By | None = None) -> RelevantPairs:
    """Read pairs of the rows of two files, or of one that is both.

    If both have ids, the pairs are ids. They are row numbers if a file has no ids, or if no pair names ids of both.
    Pairs of unknown ids are ignored, and noted.

    Parameters
    ----------
    path : file of the pairs (`written_pairs`)
    by : "ids" or "rows" if the user says what the pairs are

    Raises
    ------
    CompressaeError
        If the file is not one of pairs, or if a pair is refused by `files.relevance.as_pairs`. Also if the pairs may
        be ids as well as row numbers and mean different rows, and if no id is known.
    """
    written = read_pairs(path)
    with naming_file(path, "relevance"):
        _refuse_repeated(written)
        by_row = None if by == "ids" else written.rows()
        by_id = None if by == "rows" else _by_id(written, queries, items)
        chosen = by or _choice(by_id, by_row, queries, items)
        rows = _required(written, chosen, by_id, queries, items)
        known = (rows >= 0).all(axis=1)
        _refuse_named(written, chosen, queries, items)
    how, unit = _how(written, chosen, by is None and by_id is not None), "pair" if len(rows) == 1 else "pairs"
    notes = [f"relevance: {len(rows):,} {unit} by {how}"]
    if written.qrels and (below := sum(grade < 0 for grade in written.grades)):
        notes.append(f"relevance: {below:,} of {len(rows):,} grades are below 0 and count as 0 (not relevant)")
    notes += _ignored(written, rows, queries, items)
    pairs = np.column_stack([rows, np.array(written.counted, np.int64)])[known]
    found = RelevantPairs(pairs, [written.place(pair) for pair in np.flatnonzero(known).tolist()], str(path), notes)
    with found.naming():
        columns = ("query", "item") if queries.called != items.called else ("first row", "second row")
        return found._replace(pairs=as_pairs(pairs, queries.n, items.n, columns))


def open_store_relevance(
    path: PathLike, queries: Side, by: By | None = None
) -> tuple[dict[int, dict[str, int]], list[str]]:
    """Read pairs of the rows of a file of queries and the ids of a store, which are all strings here.

    Queries are ids if the file has ids and a pair names one of them, and row numbers otherwise, unless ``by`` says so.

    Returns
    -------
    For each query, by its row number, the relevant items with a grade above 0 and their grades; and what to tell.
    """
    written = read_pairs(path)
    with naming_file(path, "relevance"):
        _refuse_repeated(written)
        known = None if queries.ids is None else np.array(_rows_of(queries.ids, written.queries), np.int64)
        if by == "ids" and known is None:
            raise DomainError("expected QUERIES with ids for pairs by id, got a file without ids", argument="relevance")
        by_id = by == "ids" or (by is None and known is not None and bool((known >= 0).any()))
        rows = known if by_id and known is not None else written.required_queries(queries.n)
    found: dict[int, dict[str, int]] = {}
    for row, item, grade in zip(rows.tolist(), written.items, written.counted, strict=True):
        if row >= 0 and grade > 0:
            found.setdefault(row, {})[item.strip()] = grade
    notes = [f"relevance: {len(rows):,} pairs, queries by {'id' if by_id else 'row number'}, items by id"]
    return found, [*notes, *_unknown("queries", queries, written.queries, rows, written)]


def _choice(by_id: NDArray[np.int64] | None, by_row: NDArray[np.int64] | None, queries: Side, items: Side) -> By:
    """Return what the pairs are. DomainError if they may be both and mean different rows."""
    if by_id is None:
        return "rows"
    known: NDArray[np.bool_] = np.min(by_id, axis=1, initial=0) >= 0
    if by_row is None or not (by_row < [queries.n, items.n]).all():
        return "ids"
    if not known.any():
        return "rows"
    if known.all() and (by_id == by_row).all():
        return "ids"
    raise DomainError(
        f"expected pairs by id or by row number, got pairs that may be both: {known.sum():,} of {len(known):,} name "
        "ids, and all are row numbers",
        argument="relevance",
        hint="choose with --relevance-by ids or --relevance-by rows",
    )


def _by_id(written: Written, queries: Side, items: Side) -> NDArray[np.int64] | None:
    """Return the rows (m, 2) that ids belong to, -1 for unknown ones; None if one of the files has no ids."""
    if queries.ids is None or items.ids is None:
        return None
    columns = ((queries.ids, written.queries), (items.ids, written.items))
    return np.array([_rows_of(ids, names) for ids, names in columns], np.int64).T.reshape(-1, 2)


def _rows_of(ids: NDArray[Any], names: Sequence[str]) -> list[int]:
    table = {str(item): row for row, item in enumerate(as_ids(ids, len(ids)).tolist())}
    return [table.get(name, table.get(name.strip(), -1)) for name in names]


def _required(
    written: Written,
    chosen: By,
    by_id: NDArray[np.int64] | None,
    queries: Side,
    items: Side,
) -> NDArray[np.int64]:
    """Return the rows by the chosen reading. DomainError if it is impossible, with what would make it possible."""
    without = next((side.called for side in (queries, items) if side.ids is None), None)
    if chosen == "ids":
        if by_id is None:
            raise DomainError(
                f"expected {without} with ids for pairs by id, got a file without ids", argument="relevance"
            )
        if not (by_id >= 0).all(axis=1).any() and written.queries:
            raise _none_known(written, by_id, queries, items)
        return by_id
    hint = None if without is None else f"pairs by id need ids of both files, and {without} has none"
    return written.required_rows(hint)


def _none_known(written: Written, by_id: NDArray[np.int64], queries: Side, items: Side) -> DomainError:
    """Return the error about pairs of which none names known ids, and whether one of the columns does."""
    known: NDArray[np.bool_] = np.max(by_id, axis=0) >= 0
    first = f"{short_repr(written.queries[0])} and {short_repr(written.items[0])} in {written.place(0)}"
    got = f"got none in {len(by_id):,}: the first is {first}"
    hint = None
    if known.any():
        column, side = ("queries", items) if known[0] else ("items", queries)
        hint = f"ids of {column} are known, but none of the others is in {side.called}"
        hint = "ids of both are known, but never in one pair" if known.all() else hint
    expected = f"expected pairs of ids of {queries.called} and {items.called}"
    return DomainError(f"{expected}, {got}", argument="relevance", hint=hint)


def _refuse_repeated(written: Written) -> None:
    seen: set[tuple[str, str]] = set()
    for number, pair in enumerate(zip(written.queries, written.items, strict=True)):
        if pair in seen:
            got = f"{pair[0]} and {pair[1]} again in {written.place(number)}"
            raise DomainError(f"expected each pair once, got {got}", argument="relevance")
        seen.add(pair)


def _refuse_named(written: Written, chosen: By, queries: Side, items: Side) -> None:
    """Refuse a first line that was read as the names of the columns, and is a pair of known ids, too."""
    if written.names is None or chosen == "rows" or queries.ids is None or items.ids is None:
        return
    query, item = written.names[:2]
    if _rows_of(queries.ids, [query])[0] >= 0 <= _rows_of(items.ids, [item])[0]:
        got = f"the ids {short_repr(query)} and {short_repr(item)} in the first line"
        raise DomainError(
            f"expected names of columns or a pair with an integer grade, got {got}",
            argument="relevance",
            hint="put the line query, item, grade before it",
        )


def _how(written: Written, chosen: By, had_ids: bool) -> str:
    kind = "id" if chosen == "ids" else "row number"
    names = "" if written.names is None else f" (columns {', '.join(written.names)})"
    return f"{kind}{names}" + ("; none of them names ids of both files" if chosen == "rows" and had_ids else "")


def _ignored(written: Written, rows: NDArray[np.int64], queries: Side, items: Side) -> list[str]:
    """Say how many pairs are ignored because the id of the query or of the item is unknown."""
    of_queries = _unknown("queries", queries, written.queries, rows[:, 0], written)
    return [*of_queries, *_unknown("items", items, written.items, rows[:, 1], written)]


def _unknown(what: str, side: Side, names: Sequence[str], rows: NDArray[np.int64], written: Written) -> list[str]:
    """Say how many of the names of one column are unknown: their rows are negative."""
    unknown = np.flatnonzero(rows < 0)
    if not len(unknown):
        return []
    first = f"{short_repr(names[unknown[0]])} in {written.place(int(unknown[0]))}"
    which = f"{len(unknown):,} of {len(rows):,} pairs name {what} that are not in {side.called}"
    return [f"relevance: {which}, and are ignored: the first is {first}"]
