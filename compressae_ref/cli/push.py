"""The command ``push``: codes beside the dense vectors in a vector database."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.parser import STORE, add_command, add_pushed
from compressae_ref.cli.terminal import say, tell
from compressae_ref.retrieval.spaces import SPACES


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``push``."""
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


def run(options: argparse.Namespace) -> None:
    """Write codes beside the dense vectors in a store and say how many."""
    from compressae_ref.cli.progress import shown_progress
    from compressae_ref.cli.store_commands import opened
    from compressae_ref.files.model_file import load_model
    from compressae_ref.stores.push import push

    model = load_model(options.model)
    settings = {
        name: getattr(options, name) for name in ("k", "space", "refine", "field", "replace", "zero_rows", "rows")
    }
    with opened(options.store) as store, shown_progress("item") as progress:
        pushed = push(store, model, **settings, backend=options.backend, progress=progress)
        sizes = store.sizes(pushed.field)
    if options.json:
        say(json.dumps({**pushed._asdict(), "bytes": sizes}))
        return
    bytes_said = "".join(f"; {name} {size:,} bytes" for name, size in sizes.items())
    counts = f"{pushed.written} codes written, {pushed.before} were there"
    tell(f"{store.name}: field {pushed.field}: {counts}{bytes_said}")
