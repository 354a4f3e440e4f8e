"""The command ``demo``: train, encode, search and compare on embeddings that come with the package."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import say


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``demo``."""
    summary = "Train on 4,010 real embeddings that come with the package, compress them, and measure what it costs."
    details = (
        "The demo needs no input. It prints recall and bytes per item, and the neighbours of three queries "
        "before and after compression."
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


def run(options: argparse.Namespace) -> None:
    """Run the demo on arrays or in a vector database."""
    if options.store is not None:
        from compressae_ref.cli.demo_store import run_store_demo

        run_store_demo(say, folder=options.store, backend=options.backend)
    else:
        from compressae_ref.cli.demo_steps import run_demo

        run_demo(say, picture=options.picture, backend=options.backend)
