"""The command ``segments``: group items by their codes, name the groups, and follow them over time."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import CODES, EMBEDDINGS, MODEL, add_command, add_follow_links
from compressae_ref.cli.zero_rows import add_zero_rows
from compressae_ref.segments.settings import ASSIGN, AUTO, METHODS, MIN_ITEMS, THRESHOLD, TOP, UNITS


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``segments``."""
    summary = "Find groups of items by their codes, name them, and follow them over time."
    details = (
        "A segment is a group of items whose codes share a strong latent of MODEL, with the same sign. Train the model "
        "with train --serve segments. What rose and fell is printed; -o writes a report of all segments."
    )
    command = add_command(commands, "segments", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=f"{EMBEDDINGS}. Or codes of MODEL: {CODES}")
    _add_columns(command)
    _add_rule(command)
    command.add_argument("--title", help="title of the report (default: the name of FILE or EMBEDDINGS)")
    text = "report to write: one HTML page that needs no network"
    command.add_argument("-o", "--output", metavar="PAGE", help=text)
    command.add_argument("--json", action="store_true", help="print everything that the report shows as JSON")
    add_zero_rows(command, "rows", "count them as items without a segment")
    add_follow_links(command)


def _add_columns(command: argparse.ArgumentParser) -> None:
    """Add the file with the texts, times, sites and weights of the items, and its columns."""
    text = (
        "table with one row for each row of EMBEDDINGS, in the same order: .parquet, .arrow, .csv, .tsv, .jsonl, or a "
        "text in each line; text formats also as .gz. Without it the segments have no names"
    )
    command.add_argument("--texts", metavar="FILE", help=text)
    text = "column of texts, from whose words names are made (default: text, title, body, description or name)"
    command.add_argument("--text", metavar="COLUMN", help=text)
    text = "column of times in ISO 8601, such as 2020-05-01 or 2020-05-01T12:30:00Z, or of years"
    command.add_argument("--time", metavar="COLUMN", help=text)
    text = "column of sites to compare, such as publishers (at most 1,000 different ones)"
    command.add_argument("--site", metavar="COLUMN", help=text)
    text = "column of weights, such as the readers of each item; numbers of at least 0 (default: each item counts 1)"
    command.add_argument("--weight", metavar="COLUMN", help=text)
    text = f"unit of the bins of time (default: {AUTO}, the largest that gives at least 8 bins)"
    command.add_argument("--bin", choices=(AUTO, *UNITS), default=AUTO, help=text)
    command.add_argument(
        "--method", choices=METHODS, default=METHODS[0], help=f"how words are scored (default: {METHODS[0]})"
    )


def _add_rule(command: argparse.ArgumentParser) -> None:
    """Add how items are assigned to segments."""
    text = (
        "segments of an item; dominant: that of its largest entry; top: those of its M largest entries; all: those of "
        f"all entries of at least T times the norm of its code (default: {ASSIGN[0]})"
    )
    command.add_argument("--assign", choices=ASSIGN, default=ASSIGN[0], help=text)
    command.add_argument("--top", metavar="M", type=int, default=TOP, help=f"with --assign top (default: {TOP})")
    text = f"with --assign all (default: {THRESHOLD})"
    command.add_argument("--threshold", metavar="T", type=float, default=THRESHOLD, help=text)
    text = f"least items of a segment; items of smaller ones go to the next latent of their code (default: {MIN_ITEMS})"
    command.add_argument("--min-items", metavar="N", type=int, default=MIN_ITEMS, help=text)


def run(options: argparse.Namespace) -> None:
    """Find, name and follow the segments; print what changed, and write the report."""
    from compressae_ref.cli.segments_steps import run_segments

    run_segments(options)
