"""The command ``train``: train a model on embeddings.

The help of each training setting is its text in `training.settings.TrainConfig`.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from compressae_ref.cli.dry_run import add_dry_run, dry_train
from compressae_ref.cli.parser import (
    EMBEDDINGS,
    NEW_MODEL,
    add_checkpoints,
    add_command,
    add_follow_links,
    add_settings,
)
from compressae_ref.cli.relevance_option import FORM, add_relevance, ids_for_relevance, read_relevance
from compressae_ref.cli.zero_rows import TRAINING, add_zero_rows
from compressae_ref.training.settings import TrainConfig


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``train``."""
    details = (
        "It writes a model file, and reports the validation cosine and the number of dead latents, what they mean, and "
        "the next commands. The file also holds the history of the training: inspect --picture draws it."
    )
    command = add_command(commands, "train", "Train a model on embeddings.", details=details)
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help=NEW_MODEL)
    add_zero_rows(command, "rows", TRAINING)
    add_settings(command)
    text = (
        "file of related pairs of rows, whose codes are trained to be near each other: in each line two rows of "
        f"EMBEDDINGS and optionally an integer grade, of which all above 0 count alike, {FORM}; pairs of unknown ids, "
        "of rows of zeros that are left out, and of rows that are held out are ignored"
    )
    add_relevance(command, text)
    weight = next(each for each in fields(TrainConfig) if each.name == "relevance_weight")
    command.add_argument("--relevance-weight", type=float, help=weight.metadata["help"])
    add_checkpoints(command)
    add_follow_links(command)
    add_dry_run(command)


def run(options: argparse.Namespace) -> None:
    """Train a model and save it."""
    from compressae_ref.cli.train_steps import checkpoints_of, train_and_save
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.embeddings import input_files, open_embeddings

    require_writable(options.output)
    checkpoints = checkpoints_of(options, input_files(options.embeddings)[0], options.relevance)
    ids = ids_for_relevance(options)
    embeddings = open_embeddings(options.embeddings, ids=ids, follow_links=options.follow_links)
    related = read_relevance(options, EMBEDDINGS=embeddings)
    if options.dry_run:
        dry_train(embeddings, options.embeddings, options)
        return
    if related is None:
        train_and_save(embeddings, options.embeddings, options, checkpoints)
        return
    with related.naming():
        train_and_save(embeddings, options.embeddings, options, checkpoints, related.pairs, related.notes)
