"""The command ``inspect``: print facts about a file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.parser import add_command, add_follow_links
from compressae_ref.cli.terminal import say, tell_of_mean


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``inspect``."""
    command = add_command(
        commands,
        "inspect",
        "Print facts about a model, codes, embeddings, an index or a checkpoint.",
        details="They include the shape, the dtype, the bytes per row, and statistics of the content.",
        backend=False,
    )
    command.add_argument("file", metavar="FILE", help="any file or folder that this package can read")
    text = "for a model: plot of its training, loss, validation cosine and dead latents, to write (needs matplotlib)"
    command.add_argument("--picture", metavar="PNG", help=text)
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(options: argparse.Namespace) -> None:
    """Print the facts about a file."""
    from compressae_ref.cli.inspect_facts import explain, inspect_file

    if options.picture is not None:
        draw(options.file, options.picture)
    facts = inspect_file(options.file, options.follow_links)
    say(json.dumps(facts) if options.json else explain(facts))
    tell_of_mean(options.file, facts.get("mean_cosine_of_pairs"))


def draw(file: str, picture: str) -> None:
    """Draw the history of a model, before anything is printed."""
    from compressae_ref.cli.any_model import load_any_encoder
    from compressae_ref.cli.inspect_picture import draw_history
    from compressae_ref.files.atomic_write import require_writable

    require_writable(picture)
    draw_history(file, load_any_encoder(file), picture)
