"""The command ``split-signs``: convert codes to codes without negative values."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import CODES, add_command
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import naming_file


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``split-signs``."""
    summary = "Convert codes to codes without negative values, for databases that reject those."
    details = (
        "The new codes have twice as many dimensions. A positive value of latent j is stored at 2j, the magnitude of a "
        "negative one at 2j + 1. Codes of queries must be split in the same way."
    )
    command = add_command(commands, "split-signs", summary, details=details, backend=False)
    command.add_argument("codes", metavar="CODES", help=CODES)
    text = "codes file to write: .npz, .csr, .parquet, .arrow or .jsonl"
    command.add_argument("-o", "--output", metavar="SPLIT", required=True, help=text)


def run(options: argparse.Namespace) -> None:
    """Split the signs of codes and save the result with their ids."""
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.write import require_code_format, without_ids, write_codes

    require_writable(options.output)
    require_code_format(options.output)
    rows = open_codes(options.codes)
    with naming_file(options.codes):
        split = rows.load().split_signs()
    write_codes(options.output, [split], len(split), ids=rows.ids)
    shape = f"{len(split)} codes, k {split.k} of {split.n_latents} dimensions"
    tell(f"{options.output}: {shape} without negative values{without_ids(options.output, rows.ids)}")
