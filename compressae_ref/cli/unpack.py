"""The command ``unpack``: convert packed codes, or the sparse part of residual codes, to a codes file."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import FormatError


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``unpack``."""
    command = add_command(
        commands,
        "unpack",
        "Convert packed codes to a codes file.",
        details="The values stay rounded to the packed bits. Of residual codes (encode --bytes), the sparse part is "
        "written and the rest is left out.",
    )
    command.add_argument(
        "packed", metavar="PACKED", help="file of packed codes (.npz), as pack writes it, or of residual codes"
    )
    command.add_argument("-o", "--output", metavar="CODES", required=True, help="codes file to write (.npz)")


def run(options: argparse.Namespace) -> None:
    """Unpack codes and save them with their ids."""
    from compressae_ref.cli.pack import ROWS
    from compressae_ref.cli.progress import in_parts, shown_progress
    from compressae_ref.codes import Codes
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.codes_file import save_codes
    from compressae_ref.files.model_file import CODES_FORMAT, RESIDUAL_FORMAT, describe
    from compressae_ref.files.packed_file import load_packed_and_ids
    from compressae_ref.files.residual_file import load_residual_and_ids

    require_writable(options.output)
    kind = describe(options.packed)["format"]
    if kind == CODES_FORMAT:
        hint = "use them as they are, or give the file that pack wrote"
        raise FormatError("expected packed codes, got codes that are not packed", path=options.packed, hint=hint)
    if residual := kind == RESIDUAL_FORMAT:
        codes_and_rest, ids = load_residual_and_ids(options.packed)
        packed = codes_and_rest.sparse
    else:
        packed, ids = load_packed_and_ids(options.packed)
    with shown_progress("code") as progress:
        parts = in_parts(lambda part: part.unpack(backend=options.backend), packed, progress, ROWS)
    codes = Codes.concatenate(parts)
    save_codes(options.output, codes, ids)
    left_out = ", without the residuals" if residual else ""
    tell(f"{options.output}: {len(codes)} codes, k {codes.k} of {codes.n_latents} latents{left_out}")
