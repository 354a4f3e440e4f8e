"""The option ``--bytes`` of ``encode``: residual codes of a number of bytes."""

from __future__ import annotations

import argparse

from compressae_ref.cli.dry_run import dry_encode_residual
from compressae_ref.cli.ids_option import open_with_ids
from compressae_ref.cli.progress import counted, shown_progress, stage
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import naming_file
from compressae_ref.extensions.residual_codes import residual_blocks
from compressae_ref.extensions.residual_fit import residual_codec
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.model_file import load_model
from compressae_ref.files.residual_file import save_residual_blocks


def run_residual(options: argparse.Namespace) -> None:
    """Fit a codec to the embeddings, encode them with it, and write a file of residual codes."""
    require_writable(options.output)
    model = load_model(options.model)
    embeddings, ids, tell_ids = open_with_ids(options.embeddings, options, d=model.params.d)
    how = {"candidates": options.candidates, "backend": options.backend}
    with naming_file(options.embeddings):
        with stage("fitting the codec"):
            codec = residual_codec(embeddings, model, options.bytes, options.k, **how)
        blocks = residual_blocks(embeddings, model, codec, zero_rows=options.zero_rows, **how)
        if options.dry_run:
            dry_encode_residual(model, codec, embeddings, ids, blocks, options)
            return
        tell_ids()
        with shown_progress("row") as progress:
            counting = counted(blocks, len(embeddings), progress)
            save_residual_blocks(options.output, counting, len(embeddings), codec, ids)
    what = f"{codec.row_bytes} bytes each, {codec.sparse_bytes} of them for k {codec.k} of {codec.n_latents} latents"
    shared = f"{codec.nbytes:,} bytes of the codec, {codec.nbytes / len(embeddings):.1f} a row"
    tell(f"{options.output}: {len(embeddings)} residual codes, {what}; {shared}")
