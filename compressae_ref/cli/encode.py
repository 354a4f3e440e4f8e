"""The command ``encode``: encode embeddings as sparse codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.dry_run import add_dry_run, dry_encode
from compressae_ref.cli.parser import EMBEDDINGS, MODEL, add_anchors, add_command, add_follow_links, add_ids
from compressae_ref.cli.terminal import tell
from compressae_ref.cli.zero_rows import add_zero_rows
from compressae_ref.errors import naming_file

if TYPE_CHECKING:
    from compressae_ref.codes import Codes
    from compressae_ref.model import Encoder
    from compressae_ref.row_source import RowSource


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``encode``."""
    command = add_command(
        commands,
        "encode",
        "Encode embeddings as sparse codes.",
        details="Embeddings are read and codes are written in blocks, so the files may be larger than memory. "
        "Ids of the embeddings are stored with the codes, exactly; ids that cannot be are an error: see --ids.",
    )
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument(
        "-o",
        "--output",
        metavar="CODES",
        required=True,
        help="codes file to write: .npz (scipy.sparse.load_npz opens it), .csr, .parquet, .arrow or .jsonl (points of "
        "Qdrant); with --dask, a folder",
    )
    command.add_argument("--k", type=int, help="entries stored per code (default: the model's k)")
    text = "choose atoms by matching pursuit and values by least squares: slower, with better reconstructions"
    command.add_argument("--refine", action="store_true", help=text)
    text = (
        "with --refine or --bytes, number of latents from which the atoms are chosen (default: 4 k, with --bytes 8 k); "
        "more take longer, with better reconstructions, above all if k exceeds 32"
    )
    command.add_argument("--candidates", metavar="M", type=int, help=text)
    text = (
        "write residual codes of at most N bytes a row, for search with dense queries: a sparse part of --k entries "
        "(default: 12), then what it leaves of the row in the other bytes; only search, inspect and unpack read them"
    )
    command.add_argument("--bytes", metavar="N", type=int, help=text)
    add_anchors(command)
    text = "with --anchors, steps for each code; the time is proportional to them (default: 40)"
    command.add_argument("--fit-steps", metavar="N", type=int, help=text)
    add_ids(command)
    add_zero_rows(command, "rows", "write codes of zeros")
    add_follow_links(command)
    add_dry_run(command)
    text = (
        "encode on a Dask cluster and write a folder CODES of parts; ADDRESS is the scheduler, or local:N for N "
        "processes on this machine; if the command is run again, it writes the missing parts only. "
        "--zero-rows skip and --ids FILE are refused"
    )
    command.add_argument("--dask", metavar="ADDRESS", help=text)
    text = "with --dask, rows per part (default: 131072)"
    command.add_argument("--part-rows", type=int, metavar="N", help=text)


def run(options: argparse.Namespace) -> None:
    """Encode embeddings and write a codes file, or with ``--dask`` a folder of parts."""
    if options.dask is not None:
        from compressae_ref.cli.encode_dask import run_dask

        run_dask(options)
        return
    from compressae_ref.cli.ids_option import open_with_ids
    from compressae_ref.cli.progress import counted, shown_progress
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.write import require_code_format, without_ids, write_codes
    from compressae_ref.files.model_file import load_encoder, load_model

    if options.bytes is not None:
        from compressae_ref.cli.encode_residual import run_residual

        run_residual(options)
        return
    require_writable(options.output)
    require_code_format(options.output)
    model = (load_model if options.refine else load_encoder)(options.model)
    embeddings, ids, tell_ids = open_with_ids(options.embeddings, options, d=model.params.d)
    with naming_file(options.embeddings), shown_progress("row") as progress:
        blocks = _telling(_code_blocks(model, embeddings, options), tell_ids)
        if options.dry_run:
            dry_encode(model, embeddings, ids, blocks, options)
            return
        blocks = counted(blocks, len(embeddings), progress)
        write_codes(options.output, blocks, len(embeddings), ids=ids)
    k = options.k or model.k
    dropped = without_ids(options.output, ids)
    tell(f"{options.output}: {len(embeddings)} codes, k {k} of {model.params.n_latents} latents{dropped}")


def _telling(blocks: Iterator[Codes], tell_ids: Callable[[], None]) -> Iterator[Codes]:
    """Yield blocks, and report where the ids come from as soon as the first one is encoded."""
    for number, block in enumerate(blocks):
        if number == 0:
            tell_ids()
        yield block


def _code_blocks(model: Encoder, embeddings: RowSource, options: argparse.Namespace) -> Iterator[Codes]:
    settings = {"zero_rows": options.zero_rows, "backend": options.backend}
    if options.refine:
        from compressae_ref.extensions.refine import refined_blocks
        from compressae_ref.model import whole_model

        return refined_blocks(embeddings, whole_model(model), options.k, options.candidates, **settings)
    if options.anchors is not None:
        from compressae_ref.cli.anchors import read_anchors
        from compressae_ref.extensions.fitted_codes import STEPS, fitted_blocks

        anchors = read_anchors(options, model)
        steps = STEPS if options.fit_steps is None else options.fit_steps
        return fitted_blocks(embeddings, model, anchors, steps=steps, **settings)
    return model.encode_blocks(embeddings, options.k, **settings)
