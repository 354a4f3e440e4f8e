"""The command ``demo``: what the package does, on data of the package ``compressae-ref-demo``."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import say


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``demo``."""
    summary = "Train on the 4,010 embeddings of the demo data, compress them, and measure what it costs."
    details = (
        "The demo needs no input. It prints recall and bytes per item, and the neighbours of three queries "
        "before and after compression. Its data are a package of their own: in a clone of the repository, run "
        "pip install ./examples/demo_data."
    )
    command = add_command(commands, "demo", summary, details=details)
    default = "compressae_demo.png"
    command.add_argument(
        "--picture",
        metavar="PNG",
        default=default,
        help=f"plot of recall against bytes to write, if matplotlib is installed (default: {default})",
    )
    command.add_argument(
        "--store",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="use a vector database instead of files: Qdrant Edge, in this new folder or in a temporary one",
    )
    command.add_argument(
        "--segments",
        action="store_true",
        help="find, name and follow groups of dated texts, 9,335 paragraphs of messages of US presidents, instead",
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="PAGE",
        help="with --segments, report to write: one HTML page (default: compressae_segments.html)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the demo on arrays, in a vector database, or on dated texts."""
    if options.segments:
        from compressae_ref.cli.demo_segments import run_segments_demo

        run_segments_demo(say, page=options.output, backend=options.backend)
    elif options.store is not None:
        from compressae_ref.cli.demo_store import run_store_demo

        run_store_demo(say, folder=options.store, backend=options.backend)
    else:
        from compressae_ref.cli.demo_steps import run_demo

        run_demo(say, picture=options.picture, backend=options.backend)
