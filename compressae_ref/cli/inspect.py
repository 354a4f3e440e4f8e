"""The command ``inspect``: what a file is, in plain facts and in plain words."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import say


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``inspect``."""
    command = add_command(
        commands, "inspect", "Explain a model file, a codes file or a file of embeddings.", backend=False
    )
    command.add_argument("file", metavar="FILE", help="any file that this package writes or reads")
    command.add_argument("--json", action="store_true", help="the facts as JSON")


def run(options: argparse.Namespace) -> None:
    """Print the facts about a file."""
    from compressae_ref.cli.inspect_facts import explain, inspect_file

    facts = inspect_file(options.file)
    say(json.dumps(facts) if options.json else explain(facts))
