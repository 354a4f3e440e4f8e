"""The command ``search``: find the nearest items of each query, in a codes file or in a vector database."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.parser import (
    CODES,
    EMBEDDINGS,
    MODEL,
    STORE,
    add_command,
    add_follow_links,
    add_pushed,
    add_query_ids,
)
from compressae_ref.cli.terminal import hits_text, printable, say, tell
from compressae_ref.cli.zero_rows import add_zero_rows
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.retrieval.spaces import SPACES

if TYPE_CHECKING:
    from compressae_ref.cli.shown_columns import ShownColumns
    from compressae_ref.model import Encoder
    from compressae_ref.retrieval.index import Index
    from compressae_ref.retrieval.residual_index import ResidualIndex

QUERIES = 256
"""Queries that are searched with at once while progress is shown."""


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``search``."""
    summary = "Find the nearest items of each query by exact cosine search."
    details = (
        "It prints one line for each query: its row number, its id if QUERIES has ids, and the ids and scores of the "
        "items, best first. With --store a vector database searches, and each query has two lines: the hits in the "
        "dense vectors, if it has any, and in the codes. A summary on standard error says how many hits are the same, "
        "and whether the database used an approximate index."
    )
    command = add_command(commands, "search", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("codes", metavar="CODES", help=f"items to search: {CODES}. With --store: {STORE}")
    command.add_argument("queries", metavar="QUERIES", help=f"queries to encode: {EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        help="what the cosine compares; sparse: two codes; reconstructed: two decoded codes; asymmetric: the dense "
        "query and decoded codes; expanded: as asymmetric, but with a sparse query for databases of sparse vectors "
        "(default: sparse; asymmetric for refined codes)",
    )
    text = (
        "entries of a query's code; more entries have higher recall and need no storage (default: as many as the items "
        "have; in the expanded space 8 times as many)"
    )
    command.add_argument("--query-k", type=int, help=text)
    text = (
        "find the N best items in the space, then re-rank them by asymmetric cosine; of residual codes, the number of "
        "items that their sparse part finds (default there: 500, or 5 --top if that is more)"
    )
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
    add_query_ids(command)
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

    from compressae_ref.cli.ids_option import names_of, open_queries
    from compressae_ref.cli.progress import in_parts, shown_progress
    from compressae_ref.cli.shown_columns import ShownColumns, hit_lines
    from compressae_ref.files.model_file import load_model, load_model_or_encoder
    from compressae_ref.files.residual_file import is_residual

    residual = is_residual(options.codes)
    model = (load_model if residual else load_model_or_encoder)(options.model)
    if residual:
        _require_dense(options)
    queries, query_ids, tell_ids = open_queries(options.queries, options, d=model.params.d, empty=True)
    index, with_ids = (_residual_index if residual else _index)(options, model, len(queries))
    settings = {name: getattr(options, name) for name in ("rescore", "zero_rows", *(() if residual else ("query_k",)))}
    columns = None if options.items is None else ShownColumns(options, with_ids, len(index))
    with naming_file(options.queries), naming_file(options.model, "model"), shown_progress("query") as progress:
        parts = in_parts(lambda part: index.search(part, options.top, **settings), queries, progress, QUERIES)
    found_ids, found_scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    found = None if columns is None else columns.values(np.unique(found_ids).tolist())
    tell_ids()
    for query, ids, scores in zip(names_of(queries, query_ids), found_ids.tolist(), found_scores.tolist(), strict=True):
        if options.json:
            say(json.dumps({**query, "ids": ids, "scores": scores, **_shown(columns, found, ids)}))
            continue
        start = "\t".join(map(printable, query.values()))
        say(f"{start}\t{hits_text(ids, scores)}" if found is None else hit_lines(start, ids, scores, found))


def _index(options: argparse.Namespace, model: Encoder, n_queries: int) -> tuple[Index, bool]:
    """Return an index over a file of codes, and whether the file has ids."""
    from compressae_ref.backends import get_backend, seconds_to_encode, seconds_to_search
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.retrieval.index import Index

    rows = open_codes(options.codes)
    seconds = seconds_to_search(n_queries, rows.n) + seconds_to_encode(n_queries, model.params.d, rows.n_latents)
    kernels = get_backend(options.backend, numpy_seconds=seconds)
    with naming_file(options.codes), naming_file(options.model, "model"):
        index = Index.build(rows.load(), ids=rows.ids, space=options.space, model=model, backend=kernels)
    if index.like.refined and index.space != options.space:
        tell(f"{options.codes}: refined codes, searched in {index.space} space")
    elif index.like.refined and index.space == "sparse":
        tell(f"{options.codes}: refined codes have lower recall in sparse space; --space asymmetric is for them")
    return index, rows.ids is not None


def _residual_index(options: argparse.Namespace, model: Encoder, n_queries: int) -> tuple[ResidualIndex, bool]:
    """Return an index over a file of residual codes, and whether the file has ids."""
    from compressae_ref.files.residual_file import load_residual_and_ids
    from compressae_ref.model import whole_model
    from compressae_ref.retrieval.residual_index import ResidualIndex

    codes, ids = load_residual_and_ids(options.codes)
    with naming_file(options.codes):
        return ResidualIndex(codes, whole_model(model), ids, backend=options.backend), ids is not None


def _require_dense(options: argparse.Namespace) -> None:
    """Refuse options that residual codes do not have: their queries stay dense."""
    if "query_k" in options.given or ("space" in options.given and options.space != "asymmetric"):
        option = "--query-k" if "query_k" in options.given else f"--space {options.space}"
        hint = "leave it out: queries of residual codes stay dense"
        raise DomainError(f"expected no {option} with residual codes, got it", path=options.codes, hint=hint)


def _shown(columns: ShownColumns | None, found: Any, ids: list[Any]) -> dict[str, Any]:
    """Return the entry of the JSON with a list for each shown column."""
    if columns is None:
        return {}
    return {"show": {name: [found[item][name] for item in ids] for name in columns.names}}
