"""The steps of ``encode --dask``."""

from __future__ import annotations

import argparse

from compressae_ref.cli.ids_option import NONE, id_entry_of, ids_option, tell_id_column
from compressae_ref.cli.progress import shown_progress
from compressae_ref.cli.terminal import tell
from compressae_ref.cluster.on_dask import PART_ROWS, encode_on_dask
from compressae_ref.errors import DomainError
from compressae_ref.files.foreign.choose_array import ID_ENTRIES
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.partitioned import parts_written
from compressae_ref.files.model_file import load_model, load_model_or_encoder


def run_dask(options: argparse.Namespace) -> None:
    """Encode on a Dask cluster and write a folder of parts."""
    entry = id_entry_of(ids_option(options))
    if entry is False and options.ids != NONE:
        raise DomainError(f"expected --ids ::NAME or none with --dask, got {options.ids!r}", argument="encode")
    if options.zero_rows == "skip":
        raise DomainError(
            "expected --zero-rows error or empty with --dask, because parts are ranges of rows, got skip",
            argument="encode",
            hint="convert --zero-rows skip writes the embeddings without zero rows",
        )
    if entry:
        source = open_embeddings(options.embeddings, entry, follow_links=options.follow_links)
        tell_id_column(options.embeddings, source)
        entry = entry if source.id_name in (None, *ID_ENTRIES) else source.id_name
    names = ("k", "refine", "candidates", "zero_rows", "backend", "follow_links")
    settings = {name: getattr(options, name) for name in names}
    try:
        with shown_progress("row") as progress:
            manifest = encode_on_dask(
                (load_model if options.refine else load_model_or_encoder)(options.model),
                options.embeddings,
                options.output,
                options.dask,
                **settings,
                ids=entry,
                part_rows=PART_ROWS if options.part_rows is None else options.part_rows,
                progress=progress,
            )
    except KeyboardInterrupt as interrupt:
        if parts := parts_written(options.output):
            done, total = parts
            message = f"{done} of {total} parts are in {options.output}; the same command writes the others"
            interrupt.args = (message,)
        raise
    size = sum(part["bytes"] for part in manifest["parts"])
    tell(
        f"{options.output}: {manifest['n']} codes, k {manifest['k']}, in {len(manifest['parts'])} parts, {size:,} bytes"
    )
