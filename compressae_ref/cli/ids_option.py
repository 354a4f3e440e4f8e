"""The options ``--ids``, ``--id-column`` and ``--query-ids``: where the ids of rows come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.cli.terminal import printable, tell
from compressae_ref.cli.zero_rows import tell_left_out, without_zero_rows
from compressae_ref.errors import FormatError, reason
from compressae_ref.files.foreign.choose_array import listed
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import IdEntry, ids_of
from compressae_ref.files.npz import reading
from compressae_ref.item_ids import as_ids, written_ids
from compressae_ref.row_source import row_numbers

NONE, CHOOSE = "none", "--id-column NAME chooses one"


def id_entry_of(option: str | None) -> IdEntry:
    """Return where a reader of INPUT has to look for ids: where they are found, in a named entry, or nowhere."""
    if option is None:
        return True
    return option.removeprefix("::") if option.startswith("::") else False


def ids_option(options: argparse.Namespace) -> str | None:
    """Return the value of ``--ids``, for which ``--id-column NAME`` is short."""
    return options.ids if options.id_column is None else f"::{options.id_column}"


def ids_by(option: str | None, n: int, of_input: Callable[[], NDArray[Any] | None]) -> NDArray[Any] | None:
    """Return the ids of n rows: those in a file, those of INPUT, or None."""
    if option is None or option.startswith("::"):
        return of_input()
    return None if option == NONE else read_id_file(option, n)


def tell_id_column(path: str, source: Any, how: str = CHOOSE) -> None:
    """Report the column that the ids of a source come from, or which columns there are and how to choose one."""
    if source.id_name is not None:
        tell(f"{path}: ids: column {source.id_name}")
    elif source.columns:
        tell(f"{path}: no ids: {without_ids(source)}; {how}")


def without_ids(source: Any) -> str:
    """Say why no column is taken as ids, and name those beside the embeddings."""
    columns = listed(dict.fromkeys(map(printable, source.columns), ""))
    return f"not exactly one column has a different integer or string in each row; columns: {columns}"


class Opened(NamedTuple):
    """Embeddings and their ids."""

    rows: Any
    """the rows, without those that are skipped"""
    ids: NDArray[Any] | None
    """their ids, which are checked against all rows first"""
    tell: Callable[[], None]
    """reports rows that are left out, and where the ids come from; called when all checks are done, so that an error is
    a single line"""


def open_with_ids(path: str, options: argparse.Namespace, **checks: Any) -> Opened:
    """Open embeddings as the options ``--ids``, ``--id-column``, ``--zero-rows`` and ``--follow-links`` say."""
    return _opened(path, ids_option(options), options, CHOOSE, **checks)


def open_queries(path: str, options: argparse.Namespace, **checks: Any) -> Opened:
    """Open queries as the options ``--query-ids``, ``--zero-rows`` and ``--follow-links`` say."""
    return _opened(path, options.query_ids, options, "--query-ids ::NAME chooses one", **checks)


def names_of(queries: Any, ids: Any) -> list[dict[str, Any]]:
    """Return what names each query in results: its row number, and its id if there are ids."""
    rows = [{"query": row} for row in row_numbers(queries)]
    return rows if ids is None else [{**row, "id": name} for row, name in zip(rows, ids.tolist(), strict=True)]


def _opened(path: str, option: str | None, options: argparse.Namespace, how: str, **checks: Any) -> Opened:
    source = open_embeddings(path, id_entry_of(option), follow_links=options.follow_links)
    ids = ids_by(option, len(source), lambda: ids_of(source))
    of_input = option is None or option.startswith("::")
    rows = without_zero_rows(source, options.zero_rows, path, **checks)
    ids = ids if ids is None or rows is source else ids[row_numbers(rows)]

    def tell_of_rows() -> None:
        tell_left_out(path, rows)
        if of_input:
            tell_id_column(path, source, how)

    return Opened(rows, ids, tell_of_rows)


def read_id_file(path: str, n: int) -> NDArray[Any]:
    """Read the ids of n rows from a text file with one per line, or from a ``.npy``.

    Lines are integers if all of them are written as this package writes integers; otherwise all are strings.
    """
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read()
        if content.startswith(b"\x93NUMPY"):
            file.seek(0)
            with reading(path, "a .npy file of ids"):
                return as_ids(np.load(file, allow_pickle=False), n, path=path)
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"expected a UTF-8 text file with one id per line, got {reason(error)}", path=path) from error
    lines = lines if content else []
    return as_ids(written_ids(lines), n, path=path)
