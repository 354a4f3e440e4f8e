"""The command ``push``: write codes into a vector database."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.dry_run import add_dry_run, dry_push
from compressae_ref.cli.parser import MODEL, STORE, add_anchors, add_command, add_pushed
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import add_zero_rows, tell_skipped
from compressae_ref.retrieval.spaces import SPACES


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``push``."""
    summary = "Encode the dense vectors in a vector database and write the codes into a sparse field."
    details = (
        "The dense vectors do not change. Items that have a code are skipped: run the command again after an "
        "interruption, or after adding items."
    )
    command = add_command(commands, "push", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("store", metavar="STORE", help=STORE)
    text = "space in which the codes will be searched; the last three use the same stored codes (default: sparse)"
    command.add_argument("--space", choices=SPACES, default="sparse", help=text)
    add_pushed(command)
    add_anchors(command)
    command.add_argument("--replace", action="store_true", help="first delete the field with all its codes")
    add_zero_rows(command, "vectors", "write codes of zeros, which no query finds")
    command.add_argument("--rows", type=int, default=2048, help="items per write (default: 2048)")
    add_dry_run(command)
    command.add_argument("--json", action="store_true", help="print the name of the field and the counts as JSON")


def run(options: argparse.Namespace) -> None:
    """Write codes into a store and report how many."""
    from compressae_ref.cli.progress import shown_progress
    from compressae_ref.cli.store_commands import opened
    from compressae_ref.files.model_file import load_model
    from compressae_ref.stores.push import push, written_before

    model = load_model(options.model)
    settings = {
        name: getattr(options, name) for name in ("k", "space", "refine", "field", "replace", "zero_rows", "rows")
    }
    if options.anchors is not None:
        from compressae_ref.cli.anchors import read_anchors

        settings["anchors"] = read_anchors(options, model)
    with opened(options.store) as store, shown_progress("item") as progress:
        if options.dry_run:
            dry_push(store, model, settings, options)
            return
        try:
            pushed = push(store, model, **settings, backend=options.backend, progress=progress)
        except KeyboardInterrupt as interrupt:
            names = ("k", "space", "refine", "field")
            fitted = options.anchors is not None
            done, total = written_before(store, model, **{name: settings[name] for name in names}, fitted=fitted)
            again = "the same command without --replace" if options.replace else "the same command"
            interrupt.args = (f"{done} of {total} codes are in {store.name}; {again} writes the others",)
            raise
        sizes = store.sizes(pushed.field)
        skipped = {}
        if options.zero_rows == "skip":  # all other items have a code now
            skipped["skipped"] = store.count() - store.count_written(pushed.field)
            tell_skipped(store.name, skipped["skipped"])
    if options.json:
        say(json.dumps({**pushed._asdict(), **skipped, "bytes": sizes}))
        return
    bytes_text = "".join(f"; {name} {size:,} bytes" for name, size in sizes.items())
    counts = f"{pushed.written} codes written, {pushed.before} already present"
    tell(f"{store.name}: field {pushed.field}: {counts}{bytes_text}")
