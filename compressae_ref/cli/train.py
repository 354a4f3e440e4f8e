"""The command ``train``: a model from embeddings."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import EMBEDDINGS, add_command, add_settings


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``train``."""
    command = add_command(commands, "train", "Train a model on embeddings.")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    add_settings(command)


def run(options: argparse.Namespace) -> None:
    """Train a model and save it."""
    from compressae_ref.cli.training import train_and_save
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.npz import require_output

    require_output(options.output, options.embeddings)
    train_and_save(open_embeddings(options.embeddings), options.embeddings, options)
