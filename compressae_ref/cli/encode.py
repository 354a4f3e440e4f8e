"""The command ``encode``: codes from embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.parser import EMBEDDINGS, add_command
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import DomainError, named

if TYPE_CHECKING:
    from compressae_ref.codes import Codes
    from compressae_ref.model import Model
    from compressae_ref.row_source import RowSource


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``encode``."""
    command = add_command(commands, "encode", "Encode embeddings into sparse codes.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument(
        "-o",
        "--output",
        metavar="CODES",
        required=True,
        help="codes file to write: .npz (CSR for SciPy), .csr, .parquet, .arrow, .jsonl (points for Qdrant)",
    )
    command.add_argument("--k", type=int, help="entries stored per code (default: the model's own k)")
    text = "choose the atoms by matching pursuit and their values by least squares: better where reconstructions count"
    command.add_argument("--refine", action="store_true", help=text)
    text = "with --refine, latents to choose from (default: four times k)"
    command.add_argument("--candidates", metavar="M", type=int, help=text)
    text = "what to do with rows of zeros: stop, or give them codes of zeros (default: error)"
    command.add_argument("--zero-rows", choices=("error", "empty"), default="error", help=text)
    text = (
        "encode on a Dask cluster, into a folder CODES of parts: address of its scheduler, or local:N for N processes "
        "here; run again, it makes only the parts that are not there"
    )
    command.add_argument("--dask", metavar="ADDRESS", help=text)
    text = "with --dask, rows of a part (default: 131072)"
    command.add_argument("--part-rows", type=int, metavar="N", help=text)


def run(options: argparse.Namespace) -> None:
    """Encode embeddings into a codes file, or on a cluster into a folder of parts."""
    if options.dask is not None:
        from compressae_ref.cli.encode_dask import run_dask

        run_dask(options)
        return
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.foreign.rows import ids_of
    from compressae_ref.files.foreign.write import require_code_format, write_codes
    from compressae_ref.files.model_file import load_model
    from compressae_ref.files.npz import require_output

    require_output(options.output, options.embeddings, options.model)
    require_code_format(options.output)
    if options.candidates is not None and not options.refine:
        raise DomainError("expected --candidates only with --refine", argument="encode")
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    with named(options.embeddings):
        blocks = _code_blocks(model, embeddings, options)
        write_codes(options.output, blocks, len(embeddings), ids=ids_of(embeddings))
    k = options.k or model.k
    tell(f"{options.output}: {len(embeddings)} codes, k {k} of {model.params.n_latents} latents")


def _code_blocks(model: Model, embeddings: RowSource, options: argparse.Namespace) -> Iterator[Codes]:
    settings = {"zero_rows": options.zero_rows, "backend": options.backend}
    if options.refine:
        from compressae_ref.extensions.refine import refined_blocks

        return refined_blocks(embeddings, model, options.k, options.candidates, **settings)
    return model.encode_blocks(embeddings, options.k, **settings)
