"""The command ``demo``: the whole way once, on real embeddings that come with the package."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import say


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``demo``."""
    text = "Train on 4,010 real embeddings that come with the package, compress them, and show what it cost."
    command = add_command(commands, "demo", text)
    default = "compressae_demo.png"
    command.add_argument(
        "--picture",
        metavar="PNG",
        default=default,
        help=f"recall against bytes, where matplotlib is installed ({default})",
    )
    command.add_argument(
        "--store",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="do it in a vector database: Qdrant Edge, in this folder, or in a temporary one",
    )


def run(options: argparse.Namespace) -> None:
    """Show the whole way, with files or in a vector database."""
    if options.store is not None:
        from compressae_ref.cli.demo_store import run_store_demo

        run_store_demo(say, folder=options.store, backend=options.backend)
    else:
        from compressae_ref.cli.demo_steps import run_demo

        run_demo(say, picture=options.picture, backend=options.backend)
