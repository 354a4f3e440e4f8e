"""The command ``evaluate``: measure recall and bytes per item on the user's data."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.parser import (
    EMBEDDINGS,
    MODEL,
    STORE,
    add_command,
    add_follow_links,
    add_ids,
    add_pushed,
)
from compressae_ref.cli.relevance_option import FORM, add_relevance
from compressae_ref.cli.zero_rows import add_zero_rows
from compressae_ref.retrieval.spaces import SPACES


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``evaluate``."""
    summary = "Measure what compression costs on your data: recall of the dense neighbours and bytes per item."
    details = (
        "It encodes EMBEDDINGS, searches them with QUERIES in each space, for several k, and prints a table, "
        "with int8 and principal components to compare with. "
        "With --store it searches a vector database with QUERIES and measures what the engine returns."
    )
    command = add_command(commands, "evaluate", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "embeddings", metavar="EMBEDDINGS", help=f"items to search: {EMBEDDINGS}. With --store: {STORE}"
    )
    text = "embeddings to use as queries (default: up to 500 rows drawn from EMBEDDINGS, which are then not searched)"
    command.add_argument("queries", metavar="QUERIES", nargs="?", help=text)
    text = "entries per code to compare (default: the model's k, k/2 and k/4)"
    command.add_argument("--k", type=int, nargs="+", help=text)
    text = "numbers of neighbours for recall (default: 10 and 100, as far as there are so many items)"
    command.add_argument("--top", type=int, nargs="+", help=text)
    text = (
        "compare with other compression methods for dense vectors, search in all spaces, and measure the time of each; "
        "if faiss is installed, its methods are included and train for many minutes"
    )
    command.add_argument("--baselines", action="store_true", help=text)
    text = "with --baselines, quantisers of faiss that are not trained; OPQ and LSQ take longest"
    command.add_argument("--without", nargs="+", choices=("PQ", "OPQ", "RQ", "LSQ"), default=(), help=text)
    text = "add packed codes, plain and refined, with this many bits per value (default: none; with --baselines: 5)"
    command.add_argument("--bits", type=int, choices=BITS, nargs="+", help=text)
    text = (
        "add codes that are fitted to EMBEDDINGS as anchors, as encode --anchors makes them; slower. With --store, use "
        "the codes that push --anchors wrote"
    )
    command.add_argument("--fitted", action="store_true", help=text)
    text = "add residual codes of N bytes, as encode --bytes makes them"
    command.add_argument("--bytes", metavar="N", type=int, nargs="+", default=(), help=text)
    text = (
        "file of relevant pairs, for nDCG@10: in each line a query, an item and optionally an integer grade, "
        f"{FORM}; pairs of unknown ids and of rows of zeros that are left out are ignored"
    )
    add_relevance(command, text)
    empty = "give items codes of zeros, and leave queries out, because they have no neighbours"
    add_zero_rows(command, "rows", empty)
    command.add_argument("--picture", metavar="PNG", help="plot of recall against bytes to write (needs matplotlib)")
    command.add_argument("--seed", type=int, default=0, help="seed for drawing queries (default: 0)")
    text = (
        "measure the vector database EMBEDDINGS: agreement with exact search in its codes, recall of the dense "
        "neighbours if dense vectors are known, nDCG, time and bytes"
    )
    command.add_argument("--store", action="store_true", help=text)
    text = "with --store, file or store with the dense vectors and their ids, if the database has none"
    command.add_argument("--dense", metavar="FILE", help=text)
    add_ids(command)
    text = "with --store, space in which the codes are searched (default: sparse)"
    command.add_argument("--space", choices=SPACES, default="sparse", help=text)
    add_pushed(command, "with --store, ", k=False)
    command.add_argument("--query-k", type=int, help="with --store, entries of a query's code, as in search")
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print the table as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure recall and bytes per item, print the table, and plot it on request."""
    if options.store:
        from compressae_ref.cli.store_checks import evaluate_in_store

        evaluate_in_store(options)
        return
    from compressae_ref.cli.evaluate_steps import run_evaluation

    run_evaluation(options)
