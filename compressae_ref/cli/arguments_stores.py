"""The arguments of the commands that show the way, or go it in a vector database."""

from __future__ import annotations

from typing import Any

from compressae_ref.cli.arguments_common import STORE, add_command, add_pushed, add_settings
from compressae_ref.retrieval.spaces import SPACES


def add_demo(commands: Any) -> None:
    """``demo``."""
    text = "Train on 4,010 real embeddings that come with the package, compress them, and show what it cost."
    command = add_command(commands, "demo", text)
    default = "compressae_demo.png"
    command.add_argument(
        "--picture",
        metavar="PNG",
        default=default,
        help=f"recall against bytes, where matplotlib is installed ({default})",
    )
    command.add_argument(
        "--store",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="do it in a vector database: Qdrant Edge, in this folder, or in a temporary one",
    )


def add_pull(commands: Any) -> None:
    """``pull``."""
    command = add_command(commands, "pull", "Train a model on the dense vectors in a vector database.")
    command.add_argument("store", metavar="STORE", help=STORE)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    text = "keep the vectors and their ids, too: .npz, .parquet, .hdf5 and others, as for convert"
    command.add_argument("--keep", metavar="FILE", help=text)
    text = "vectors to train on at most, evenly spread over all (default: 2000000); they go through a temporary file"
    command.add_argument("--rows", type=int, metavar="N", default=2_000_000, help=text)
    add_settings(command)


def add_push(commands: Any) -> None:
    """``push``."""
    text = (
        "Write the codes of all items of a vector database into a sparse field beside their dense vectors. What has "
        "been written stays: after an interruption, or when items were added, run it again."
    )
    command = add_command(commands, "push", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("store", metavar="STORE", help=STORE)
    text = "the space to search in; the last three share what is stored (default: sparse)"
    command.add_argument("--space", choices=SPACES, default="sparse", help=text)
    add_pushed(command)
    command.add_argument("--replace", action="store_true", help="drop the field first, with all codes in it")
    text = "what to do with vectors of zeros: stop, or give them codes of zeros (default: error)"
    command.add_argument("--zero-rows", choices=("error", "empty"), default="error", help=text)
    command.add_argument("--rows", type=int, default=2048, help="items written together, or not at all (default: 2048)")
    command.add_argument("--json", action="store_true", help="what was done as JSON")
