"""The command ``search``: the nearest items to each query, from files or in a vector database."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.parser import CODES, EMBEDDINGS, STORE, add_command, add_pushed
from compressae_ref.cli.terminal import say
from compressae_ref.errors import DomainError, named
from compressae_ref.retrieval.spaces import SPACES


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``search``."""
    text = "Find the nearest items to each query, exactly, by cosine; --store asks a vector database, before and after."
    command = add_command(commands, "search", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("codes", metavar="CODES", help=f"of the items; {CODES}; with --store: {STORE}")
    command.add_argument("queries", metavar="QUERIES", help=f"embeddings to ask with: {EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        default="sparse",
        help="sparse: code against code; reconstructed: their reconstructions; "
        "asymmetric: the dense query against reconstructions; expanded: the largest entries of that query over the "
        "latents, as engines for sparse vectors take it (default: sparse)",
    )
    text = (
        "entries of a query's code; more find more, and nothing is stored for it (default: as the items; expanded: "
        "8 times as many)"
    )
    command.add_argument("--query-k", type=int, help=text)
    text = "take so many best items in that space, and of these the best in the asymmetric one"
    command.add_argument("--rescore", type=int, metavar="N", help=text)
    text = "CODES is a vector database: ask it in its dense field, and in the codes that push wrote there"
    command.add_argument("--store", action="store_true", help=text)
    add_pushed(command)
    command.add_argument("--json", action="store_true", help="one JSON object per query")


def run(options: argparse.Namespace) -> None:
    """Search the codes for each query and print what is found."""
    if options.store:
        from compressae_ref.cli.store_commands import search_and_compare

        search_and_compare(options)
        return
    if options.k is not None or options.refine or options.field is not None:
        raise DomainError("expected --k, --refine and --field only with --store", argument="search")
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.model_file import load_model
    from compressae_ref.retrieval.index import Index

    model = load_model(options.model)
    rows = open_codes(options.codes)
    with named(options.codes):
        index = Index.build(rows.load(), ids=rows.ids, space=options.space, model=model, backend=options.backend)
    queries = open_embeddings(options.queries)
    with named(options.queries):
        hits = index.search(queries, options.top, query_k=options.query_k, rescore=options.rescore)
    for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
        if options.json:
            say(json.dumps({"query": query, "ids": ids, "scores": scores}))
        else:
            say(f"{query}\t" + " ".join(f"{item}:{score:.6f}" for item, score in zip(ids, scores, strict=True)))
