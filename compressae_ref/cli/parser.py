"""The arguments of the command ``compressae-ref``, and what its ``--help`` says."""

from __future__ import annotations

import argparse

from compressae_ref import __version__
from compressae_ref.cli.arguments_codes import (
    add_convert,
    add_encode,
    add_pack,
    add_search,
    add_split_signs,
    add_train,
)
from compressae_ref.cli.arguments_evaluate import add_evaluate, add_inspect, add_verify
from compressae_ref.cli.arguments_stores import add_demo, add_pull, add_push


def command_line() -> argparse.ArgumentParser:
    """The parser; ``options.command`` is the name of the command."""
    parser = argparse.ArgumentParser(
        prog="compressae-ref",
        description="Compress embeddings into sparse codes (CompresSAE) and search them by cosine.",
        epilog="Start with: compressae-ref demo. Every command explains itself: compressae-ref COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"compressae-ref {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        add_demo,
        add_train,
        add_encode,
        add_pack,
        add_split_signs,
        add_search,
        add_convert,
        add_pull,
        add_push,
        add_evaluate,
        add_inspect,
        add_verify,
    ):
        add(commands)
    return parser
