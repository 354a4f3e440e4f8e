"""The command ``train``: train a model on embeddings.

The help of each training setting is its text in `training.settings.TrainConfig`.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

from compressae_ref.cli.parser import (
    EMBEDDINGS,
    NEW_MODEL,
    add_checkpoints,
    add_command,
    add_follow_links,
    add_settings,
)
from compressae_ref.cli.zero_rows import TRAINING, add_zero_rows
from compressae_ref.training.settings import TrainConfig


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``train``."""
    details = "It writes a model file, and reports the validation cosine and the number of dead latents."
    command = add_command(commands, "train", "Train a model on embeddings.", details=details)
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help=NEW_MODEL)
    add_zero_rows(command, "rows", TRAINING)
    add_settings(command)
    text = (
        "text file or .npy of related pairs of rows, whose codes are trained to be near each other: each line has two "
        "row numbers of EMBEDDINGS, from 0, and optionally a grade, of which all above 0 count alike; rows of zeros "
        "count, and pairs of rows that are left out or held out are ignored"
    )
    command.add_argument("--relevance", metavar="FILE", help=text)
    weight = next(each for each in fields(TrainConfig) if each.name == "relevance_weight")
    command.add_argument("--relevance-weight", type=float, help=weight.metadata["help"])
    add_checkpoints(command)
    add_follow_links(command)


def run(options: argparse.Namespace) -> None:
    """Train a model and save it."""
    from compressae_ref.cli.train_steps import checkpoints_of, train_and_save
    from compressae_ref.errors import naming_file
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.embeddings import input_files, open_embeddings
    from compressae_ref.files.relevance import load_relevance

    require_writable(options.output)
    relevance = None if options.relevance is None else load_relevance(options.relevance)
    checkpoints = checkpoints_of(options, input_files(options.embeddings)[0], options.relevance)
    embeddings = open_embeddings(options.embeddings, ids=False, follow_links=options.follow_links)
    with nullcontext() if relevance is None else naming_file(options.relevance, "relevance"):
        train_and_save(embeddings, options.embeddings, options, checkpoints, relevance)
