"""The options ``--relevance`` and ``--relevance-by``: pairs of a query and an item, by id or by row number."""

from __future__ import annotations

import argparse
from typing import Any

FORM = (
    "as ids if the files have ids, otherwise as row numbers from 0; separated by tabs, commas or spaces, with or "
    "without a line of names; or qrels of TREC, JSON lines, Parquet or .npy, also packed by gzip"
)


def add_relevance(command: argparse.ArgumentParser, text: str) -> None:
    """Declare the options. ``text`` says what the pairs are for, and what of them is ignored."""
    command.add_argument("--relevance", metavar="FILE", help=text)
    by = (
        "whether the pairs are ids or row numbers (default: ids if all embeddings have ids, but row numbers if none "
        "of the pairs names known ids; pairs that may be both and mean different rows are refused)"
    )
    command.add_argument("--relevance-by", choices=("ids", "rows"), help=by)


def ids_for_relevance(options: argparse.Namespace) -> bool:
    """Return whether embeddings are opened with ids because the pairs may be ids."""
    return options.relevance is not None and options.relevance_by != "rows"


def read_relevance(options: argparse.Namespace, **sources: Any) -> Any:
    """Read the pairs of two sources of rows, or of one that is both.

    Parameters
    ----------
    sources : the embeddings by their names in the help, of the queries and then of the items

    Returns
    -------
    `files.relevance_file.RelevantPairs`, or None without ``--relevance``. Its ``notes`` are to be printed.
    """
    if options.relevance is None:
        return None
    from compressae_ref.files.relevance_file import open_relevance

    sides = [side(name, source, ids_for_relevance(options)) for name, source in sources.items()]
    return open_relevance(options.relevance, sides[0], sides[-1], options.relevance_by)


def side(name: str, source: Any, with_ids: bool) -> Any:
    """Return the rows that pairs of relevance name, with their ids if these are needed."""
    from compressae_ref.errors import CompressaeError
    from compressae_ref.files.foreign.rows import ids_of
    from compressae_ref.files.relevance_file import Side

    try:
        return Side(name, len(source), ids_of(source) if with_ids else None)
    except CompressaeError as error:
        error.hint = "correct the ids, or give row numbers with --relevance-by rows"
        raise
