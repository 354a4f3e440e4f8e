"""The command ``choose``: find the settings for a number of bytes or for a quality, on the user's data."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import EMBEDDINGS, MODEL, add_command, add_follow_links
from compressae_ref.cli.relevance_option import FORM, add_relevance
from compressae_ref.cli.zero_rows import add_zero_rows


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``choose``."""
    summary = "Find the settings for a number of bytes or for a quality on your data, and print the commands to type."
    details = (
        "It measures settings on a sample of the items, for search in this package and in vector databases. "
        "Give exactly one of --bytes, --recall and --ndcg. Without MODEL it trains two models on the sample first: "
        "choose EMBEDDINGS [QUERIES]."
    )
    command = add_command(commands, "choose", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=f"{MODEL}; or leave it out")
    command.add_argument("embeddings", metavar="EMBEDDINGS", nargs="?", help=f"items to search: {EMBEDDINGS}")
    text = "embeddings to use as queries (default: up to 500 rows drawn from EMBEDDINGS, which are then not searched)"
    command.add_argument("queries", metavar="QUERIES", nargs="?", help=text)
    text = "goal: at most N bytes per item, without ids; in a vector database, the bytes that a code takes there"
    command.add_argument("--bytes", type=int, metavar="N", help=text)
    command.add_argument("--recall", type=float, metavar="R", help="goal: at least this recall of the dense neighbours")
    text = "goal: at least this share of the nDCG@10 of dense vectors, such as 0.98"
    command.add_argument("--ndcg", type=float, metavar="SHARE", help=text)
    text = (
        f"file of relevant pairs, each a query, an item and optionally a grade, {FORM}; the sample then contains "
        "judged queries and all items that are relevant to them"
    )
    add_relevance(command, text)
    text = "neighbours for recall (default: 100, or 10 if there are fewer than 1,000 items)"
    command.add_argument("--top", type=int, help=text)
    text = "items to measure on; their number decides how long it takes (default: 20000)"
    command.add_argument("--sample", type=int, metavar="N", default=20_000, help=text)
    text = "without MODEL, steps of each training on the sample (default: 1500, or fewer if the data are small)"
    command.add_argument("--steps", type=int, metavar="N", help=text)
    text = "without MODEL, save the model for dense queries that was trained on the sample (.npz)"
    command.add_argument("--keep-model", metavar="FILE", help=text)
    text = (
        "compare with more compression methods for dense vectors; if faiss is installed, its methods train for minutes "
        "(default: int8, float16, binary, PCA and the first dimensions)"
    )
    command.add_argument("--baselines", action="store_true", help=text)
    text = "plot of recall against bytes to write, with the choice marked (needs matplotlib)"
    command.add_argument("--picture", metavar="PNG", help=text)
    command.add_argument("--seed", type=int, default=0, help="seed for drawing the sample (default: 0)")
    add_zero_rows(command, "rows", "give items codes of zeros, and leave queries out, because they have no neighbours")
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print the choice and what was measured as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure settings on a sample, and print the choice with its commands."""
    from compressae_ref.cli.choose_steps import run_choice

    run_choice(options)
