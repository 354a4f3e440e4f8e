"""The command ``pack``: store codes in fewer bytes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.parser import CODES, add_command
from compressae_ref.cli.terminal import tell

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 65_536
"""Codes that are packed or unpacked at once while progress is shown."""


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``pack``."""
    command = add_command(
        commands,
        "pack",
        "Store codes in fewer bytes.",
        details="Values are rounded to few bits. Every command that reads codes also reads packed codes.",
    )
    command.add_argument("codes", metavar="CODES", help=CODES)
    command.add_argument("-o", "--output", metavar="PACKED", required=True, help="file of packed codes to write (.npz)")
    text = "bits per value (default: 5); the more entries a code has, the more its reconstruction loses by rounding"
    command.add_argument("--bits", type=int, choices=BITS, default=5, help=text)


def run(options: argparse.Namespace) -> None:
    """Pack codes and save them with their ids."""
    from compressae_ref.cli.progress import in_parts, shown_progress
    from compressae_ref.extensions.packed_codes import PackedCodes, pack
    from compressae_ref.files.atomic_write import require_writable
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.packed_file import save_packed
    from compressae_ref.metrics import bytes_per_row

    require_writable(options.output)
    rows = open_codes(options.codes)
    codes = rows.load()
    with shown_progress("code") as progress:
        parts = in_parts(lambda part: pack(part, options.bits, backend=options.backend), codes, progress, ROWS)
    packed = PackedCodes.concatenate(parts)
    save_packed(options.output, packed, rows.ids)
    size = f"{packed.bytes_per_item} bytes each, {bytes_per_row(codes)} before"
    tell(f"{options.output}: {len(packed)} packed codes, {size}")
    tell(f"{options.output}: {_of_the_file(options.output, len(packed), rows.ids)}")


def _of_the_file(path: str, n: int, ids: NDArray[Any] | None) -> str:
    """Describe what the ids and the whole file take for each of the n rows."""
    from pathlib import Path

    from compressae_ref.files.id_members import id_bytes

    size = Path(path).stat().st_size
    own = "no ids" if ids is None else f"ids: {id_bytes(ids) / max(n, 1):.1f} bytes each"
    return f"{own}; file: {size:,} bytes, {size / max(n, 1):.1f} a row"
