"""The command ``evaluate``: recall beside bytes per item, on the user's own data."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.parser import EMBEDDINGS, add_command


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``evaluate``."""
    text = "Show what compression costs on your data: recall of the dense neighbours beside bytes per item."
    command = add_command(commands, "evaluate", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument(
        "queries", metavar="QUERIES", nargs="?", help="embeddings to ask with (default: 500 drawn rows)"
    )
    command.add_argument(
        "--k", type=int, nargs="+", help="entries per code to compare (default: the model's k, 1/2, 1/4 of it)"
    )
    command.add_argument(
        "--top", type=int, nargs="+", help="neighbours that count (default: 10 100, or fewer for fewer items)"
    )
    text = (
        "compare with other ways of storing dense vectors (those of faiss, too, where it is installed: it trains for "
        "minutes), ask in all ways, and take the time of each"
    )
    command.add_argument("--baselines", action="store_true", help=text)
    text = "bits of values, for packed codes: refined ones, too (default: none; with --baselines 5)"
    command.add_argument("--bits", type=int, choices=BITS, nargs="+", help=text)
    text = (
        "pairs of a query and an item that is relevant to it, as row numbers, perhaps with a grade: a line for each, "
        "or .npy; for nDCG@10"
    )
    command.add_argument("--relevance", metavar="FILE", help=text)
    command.add_argument("--picture", metavar="PNG", help="draw recall against bytes, too")
    command.add_argument("--seed", type=int, default=0, help="for drawing queries (default: 0)")
    command.add_argument("--json", action="store_true", help="the table as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure recall and bytes per item, print the table, and draw it where that is asked for."""
    from compressae_ref.cli.evaluate_steps import run_evaluation

    run_evaluation(options)
