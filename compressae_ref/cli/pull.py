"""The command ``pull``: a model from the dense vectors in a vector database."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import STORE, add_command, add_settings
from compressae_ref.cli.terminal import tell


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``pull``."""
    command = add_command(commands, "pull", "Train a model on the dense vectors in a vector database.")
    command.add_argument("store", metavar="STORE", help=STORE)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    text = "keep the vectors and their ids, too: .npz, .parquet, .hdf5 and others, as for convert"
    command.add_argument("--keep", metavar="FILE", help=text)
    text = "vectors to train on at most, evenly spread over all (default: 2000000); they go through a temporary file"
    command.add_argument("--rows", type=int, metavar="N", default=2_000_000, help=text)
    add_settings(command)


def run(options: argparse.Namespace) -> None:
    """Train a model on the vectors in a store and save it, and keep the vectors where that is asked for."""
    from compressae_ref.checks import as_whole
    from compressae_ref.cli.progress import shown_progress
    from compressae_ref.cli.store_commands import opened
    from compressae_ref.cli.training import train_and_save
    from compressae_ref.files.foreign.write import require_embedding_format, write_embeddings
    from compressae_ref.files.npz import require_output
    from compressae_ref.files.spool import spool_to_disk
    from compressae_ref.stores.push import embeddings_of, ids_in

    require_output(options.output)
    if options.keep is not None:
        require_output(options.keep)
        require_embedding_format(options.keep)
    with opened(options.store) as store:
        most = as_whole(options.rows, "rows")
        source = embeddings_of(store, most)
        tell(f"{store.name}: {store.count()} items, d {source.shape[1]}, of which {len(source)} to train on")
        with shown_progress("row") as progress, spool_to_disk(source, progress) as rows:
            if options.keep is not None:
                write_embeddings(options.keep, rows, ids=ids_in(store, most))
                tell(f"{options.keep}: {len(rows)} embeddings with their ids")
            train_and_save(rows, store.name, options)
