"""The command ``report``: one HTML page about a model on the user's data."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.parser import EMBEDDINGS, MODEL, add_command, add_follow_links
from compressae_ref.cli.relevance_option import FORM, add_relevance
from compressae_ref.cli.zero_rows import add_zero_rows


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``report``."""
    summary = (
        "Write a page about a model on your data: what compression costs, what latents mean, queries before and after."
    )
    details = "It measures as evaluate does, and writes one HTML file that needs no network."
    command = add_command(commands, "report", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=f"items to search: {EMBEDDINGS}")
    text = "embeddings to use as queries (default: up to 500 rows drawn from EMBEDDINGS, which are then not searched)"
    command.add_argument("queries", metavar="QUERIES", nargs="?", help=text)
    command.add_argument("-o", "--output", metavar="PAGE", required=True, help="page to write (.html)")
    text = (
        "table with one row for each row of EMBEDDINGS, in the same order, to show items by their texts: .parquet, "
        ".arrow, .csv, .tsv, .jsonl, or a text in each line (default: items are shown by their ids or row numbers)"
    )
    command.add_argument("--texts", metavar="FILE", help=text)
    text = "column of texts (default: text, title, body, description or name)"
    command.add_argument("--text", metavar="COLUMN", help=text)
    command.add_argument("--query-texts", metavar="FILE", help="such a table for QUERIES")
    command.add_argument(
        "--k", type=int, nargs="+", help="entries per code to compare (default: the model's k, k/2, k/4)"
    )
    text = "bits per value of packed codes (default: 5)"
    command.add_argument("--bits", type=int, choices=BITS, default=5, help=text)
    text = "compare with other compression methods for dense vectors, too; takes minutes"
    command.add_argument("--baselines", action="store_true", help=text)
    text = f"file of relevant pairs, for nDCG@10: each line has a query, an item and optionally a grade, {FORM}"
    add_relevance(command, text)
    text = "the ids of EMBEDDINGS: ::NAME for a column or array; none for row numbers (default: found as in encode)"
    command.add_argument("--ids", metavar="IDS", help=text)
    command.add_argument("--id-column", metavar="NAME", help="the column or array of the ids: short for --ids ::NAME")
    command.add_argument("--query-ids", metavar="IDS", help="the same for the ids of QUERIES")
    command.add_argument("--title", help="title of the page (default: the name of EMBEDDINGS)")
    empty = "give items codes of zeros, and leave queries out, because they have no neighbours"
    add_zero_rows(command, "rows", empty)
    command.add_argument("--seed", type=int, default=0, help="seed for drawing queries (default: 0)")
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print everything that the page shows as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    from compressae_ref.cli.report_steps import run_report

    run_report(options)
