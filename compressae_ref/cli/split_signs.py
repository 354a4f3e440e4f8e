"""The command ``split-signs``: codes without negative values."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import add_command
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import named


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``split-signs``."""
    text = (
        "Turn codes into codes over twice as many dimensions without negative values, for engines that refuse those: "
        "positive ones of latent j at 2j, the magnitudes of negative ones at 2j + 1. Queries are split, too."
    )
    command = add_command(commands, "split-signs", text, backend=False)
    command.add_argument("codes", metavar="CODES", help="codes file")
    command.add_argument("-o", "--output", metavar="SPLIT", required=True, help="codes file to write (.npz)")


def run(options: argparse.Namespace) -> None:
    """Split the signs of codes and save the result with their ids."""
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.write import require_code_format, write_codes
    from compressae_ref.files.npz import require_output

    require_output(options.output, options.codes)
    require_code_format(options.output)
    rows = open_codes(options.codes)
    with named(options.codes):
        split = rows.load().split_signs()
    write_codes(options.output, [split], len(split), ids=rows.ids)
    tell(f"{options.output}: {len(split)} codes, k {split.k} of {split.n_latents} dimensions without negative values")
