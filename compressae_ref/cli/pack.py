"""The command ``pack``: store codes in fewer bytes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.parser import CODES, add_command
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import DomainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressae_ref.codes import Codes

ROWS = 65_536
"""Codes that are packed or unpacked at once while progress is shown."""


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``pack``."""
    command = add_command(
        commands,
        "pack",
        "Store codes in fewer bytes.",
        details="Values are rounded to few bits. Every command that reads codes also reads packed codes. Packed codes "
        "can be packed again with fewer bits only.",
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
    from compressae_ref.files.packed_file import save_packed

    require_writable(options.output)
    codes, ids, before = _read(options)
    with shown_progress("code") as progress:
        parts = in_parts(lambda part: pack(part, options.bits, backend=options.backend), codes, progress, ROWS)
    packed = PackedCodes.concatenate(parts)
    save_packed(options.output, packed, ids)
    tell(f"{options.output}: {len(packed)} packed codes, {packed.bytes_per_item} bytes each, {before} before")
    tell(f"{options.output}: {_of_the_file(options.output, len(packed), ids)}")


def _read(options: argparse.Namespace) -> tuple[Codes, NDArray[Any] | None, str]:
    """Return codes, their ids and the bytes of each in the file. DomainError if packing again gains nothing."""
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.packed_file import is_packed, load_packed_and_ids
    from compressae_ref.metrics import bytes_per_row

    if not is_packed(options.codes):
        rows = open_codes(options.codes)
        codes = rows.load()
        return codes, rows.ids, f"{bytes_per_row(codes)}"
    packed, ids = load_packed_and_ids(options.codes)
    if packed.bits <= options.bits:
        raise DomainError(
            f"expected codes that are not packed, or have more than {options.bits} bits per value, got codes packed "
            f"with {packed.bits} bits",
            path=options.codes,
            hint="use them as they are: more bits cannot restore values that were rounded",
        )
    return packed.unpack(backend=options.backend), ids, f"{packed.bytes_per_item} with {packed.bits} bits"


def _of_the_file(path: str, n: int, ids: NDArray[Any] | None) -> str:
    """Describe what the ids and the whole file take for each of the n rows."""
    from pathlib import Path

    from compressae_ref.files.id_members import id_bytes

    size = Path(path).stat().st_size
    own = "no ids" if ids is None else f"ids: {id_bytes(ids) / max(n, 1):.1f} bytes each"
    return f"{own}; file: {size:,} bytes, {size / max(n, 1):.1f} a row"
