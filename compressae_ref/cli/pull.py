"""The command ``pull``: train a model on the dense vectors in a vector database."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.dry_run import add_dry_run, dry_train
from compressae_ref.cli.parser import NEW_MODEL, STORE, add_checkpoints, add_command, add_settings
from compressae_ref.cli.terminal import tell
from compressae_ref.cli.zero_rows import TRAINING, add_zero_rows

if TYPE_CHECKING:
    from compressae_ref.checks import ZeroRows


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``pull``."""
    details = "The model is written to a file. The database does not change."
    command = add_command(commands, "pull", "Train a model on the dense vectors in a vector database.", details=details)
    command.add_argument("store", metavar="STORE", help=STORE)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help=NEW_MODEL)
    text = "also write these vectors with their ids to a file: .npz, .parquet, .hdf5 or another format of convert"
    command.add_argument("--keep", metavar="FILE", help=text)
    text = (
        "train on at most N vectors, evenly spaced over all of them (default: 2000000). N includes zero vectors, also "
        "those that --zero-rows skip leaves out. The vectors are first copied to a temporary file"
    )
    command.add_argument("--rows", type=int, metavar="N", default=2_000_000, help=text)
    add_zero_rows(command, "vectors", f"{TRAINING}, but --keep writes them")
    add_settings(command)
    add_checkpoints(command)
    add_dry_run(command)


def run(options: argparse.Namespace) -> None:
    """Train a model on the vectors in a store and save it; with ``--keep``, save the vectors, too."""
    from compressae_ref.checks import as_integer
    from compressae_ref.cli.given import again, to_run
    from compressae_ref.cli.progress import shown_progress
    from compressae_ref.cli.store_commands import opened
    from compressae_ref.cli.train_steps import checkpoints_of, train_and_save
    from compressae_ref.errors import naming_file
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.write import require_embedding_format, without_ids, write_embeddings
    from compressae_ref.files.spool import spool_to_disk
    from compressae_ref.row_source import NonzeroRows
    from compressae_ref.stores.push import embeddings_of, ids_in

    require_writable(options.output)
    if options.keep is not None:
        require_writable(options.keep)
        require_embedding_format(options.keep)
    checkpoints = checkpoints_of(options, options.keep)
    with opened(options.store) as store:
        limit = as_integer(options.rows, "rows")
        read: ZeroRows = "error" if options.zero_rows == "error" else "empty"
        source = embeddings_of(store, limit, zero_rows=read)
        tell(f"{store.name}: training on {len(source)} of {store.count()} items, d {source.shape[1]}")
        if options.dry_run:
            dry_train(source, store.name, options)
            return
        with shown_progress("row") as progress, spool_to_disk(source, progress) as rows:
            ids = None if options.keep is None else ids_in(store, limit, zero_rows=read)
            if options.zero_rows == "skip":
                with naming_file(store.name):
                    rows = NonzeroRows(rows)
                ids = None if ids is None else ids[rows.numbers()]
            if options.keep is not None:
                write_embeddings(options.keep, rows, ids=ids)
                tell(f"{options.keep}: {len(rows)} embeddings{without_ids(options.keep, ids) or ' with their ids'}")
            try:
                train_and_save(rows, store.name, options, checkpoints)
            except KeyboardInterrupt as interrupt:
                if options.keep is not None and not interrupt.args:
                    words = again(options, ["train", options.keep], "keep", "rows")
                    interrupt.args = (f"{options.keep} is complete; to train on it, {to_run(words)}",)
                raise
