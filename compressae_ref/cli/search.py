"""The command ``search``: find the nearest items of each query, in a codes file or in a vector database."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.parser import CODES, EMBEDDINGS, MODEL, STORE, add_command, add_follow_links, add_pushed
from compressae_ref.cli.terminal import hits_text, say
from compressae_ref.cli.zero_rows import add_zero_rows, left_of
from compressae_ref.errors import naming_file
from compressae_ref.retrieval.spaces import SPACES

if TYPE_CHECKING:
    from compressae_ref.cli.shown_columns import ShownColumns

QUERIES = 256
"""Queries that are searched with at once while progress is shown."""


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``search``."""
    summary = "Find the nearest items of each query by exact cosine search."
    details = (
        "It prints one line for each query: its row number, and the ids and scores of the items, best first. "
        "With --store it searches a vector database and prints two lines: hits in the dense vectors, if it has a dense "
        "field, and in the codes."
    )
    command = add_command(commands, "search", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("codes", metavar="CODES", help=f"items to search: {CODES}. With --store: {STORE}")
    command.add_argument("queries", metavar="QUERIES", help=f"queries to encode: {EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        default="sparse",
        help="what the cosine compares; sparse: two codes; reconstructed: two decoded codes; asymmetric: the dense "
        "query and decoded codes; expanded: as asymmetric, but with a sparse query for databases of sparse vectors "
        "(default: sparse)",
    )
    text = (
        "entries of a query's code; more entries have higher recall and need no storage (default: as many as the items "
        "have; in the expanded space 8 times as many)"
    )
    command.add_argument("--query-k", type=int, help=text)
    text = "find the N best items in the space, then re-rank them by asymmetric cosine"
    command.add_argument("--rescore", type=int, metavar="N", help=text)
    text = "search the vector database CODES, in its dense field and in the codes that push has written"
    command.add_argument("--store", action="store_true", help=text)
    add_pushed(command, "with --store, ")
    text = "with --store, use the codes that push --anchors wrote"
    command.add_argument("--fitted", action="store_true", help=text)
    text = (
        "table of the items (.parquet, .arrow, .csv, .tsv or .jsonl), such as the file that was encoded, for --show; "
        "items are matched by their ids, or by their rows if CODES has no ids"
    )
    command.add_argument("--items", metavar="FILE", help=text)
    text = "print this column of --items for each hit, one hit in a line; may be repeated, or be several between commas"
    command.add_argument("--show", metavar="COLUMN", action="append", help=text)
    text = "with --items, its column of ids (default: it is found as encode finds it)"
    command.add_argument("--id-column", metavar="NAME", help=text)
    add_zero_rows(command, "queries", "print the first items with scores of 0, or no items with --store")
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print one JSON object per query")


def run(options: argparse.Namespace) -> None:
    """Search the codes with each query and print the hits."""
    if options.store:
        from compressae_ref.cli.store_commands import search_and_compare

        search_and_compare(options)
        return
    import numpy as np

    from compressae_ref.backends import get_backend, seconds_to_encode, seconds_to_search
    from compressae_ref.cli.progress import in_parts, shown_progress
    from compressae_ref.cli.shown_columns import ShownColumns, hit_lines
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.model_file import load_model
    from compressae_ref.retrieval.index import Index
    from compressae_ref.row_source import row_numbers

    model = load_model(options.model)
    rows = open_codes(options.codes)
    queries = open_embeddings(options.queries, ids=False, follow_links=options.follow_links)
    seconds = seconds_to_search(len(queries), rows.n) + seconds_to_encode(len(queries), model.params.d, rows.n_latents)
    kernels = get_backend(options.backend, numpy_seconds=seconds)
    with naming_file(options.codes):
        index = Index.build(rows.load(), ids=rows.ids, space=options.space, model=model, backend=kernels)
    queries = left_of(queries, options.zero_rows, options.queries, d=model.params.d, empty=True)
    settings = {name: getattr(options, name) for name in ("query_k", "rescore", "zero_rows")}
    columns = None if options.items is None else ShownColumns(options, rows.ids is not None, rows.n)
    with naming_file(options.queries), shown_progress("query") as progress:
        parts = in_parts(lambda part: index.search(part, options.top, **settings), queries, progress, QUERIES)
    found_ids, found_scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    found = None if columns is None else columns.values(np.unique(found_ids).tolist())
    for query, ids, scores in zip(row_numbers(queries), found_ids.tolist(), found_scores.tolist(), strict=True):
        if options.json:
            say(json.dumps({"query": query, "ids": ids, "scores": scores, **_shown(columns, found, ids)}))
        elif found is not None:
            say(hit_lines(query, ids, scores, found))
        else:
            say(f"{query}\t{hits_text(ids, scores)}")


def _shown(columns: ShownColumns | None, found: Any, ids: list[Any]) -> dict[str, Any]:
    """Return the entry of the JSON with a list for each shown column."""
    if columns is None:
        return {}
    return {"show": {name: [found[item][name] for item in ids] for name in columns.names}}
