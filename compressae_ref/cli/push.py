"""The command ``push``: write codes into a vector database."""

from __future__ import annotations

import argparse
import json
from typing import Any

from compressae_ref.cli.dry_run import add_dry_run
from compressae_ref.cli.parser import (
    EMBEDDINGS,
    MODEL,
    STORE,
    add_anchors,
    add_command,
    add_follow_links,
    add_ids,
    add_pushed,
)
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import add_zero_rows
from compressae_ref.retrieval.spaces import SPACES


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``push``."""
    summary = "Encode the dense vectors in a vector database and write the codes into a sparse field."
    details = (
        "The dense vectors do not change. Run the command again after an interruption, and after items were added or "
        "their vectors have changed: unchanged vectors are only read and compared with their digests. At the end it "
        "prints the statements that drop the dense vectors and free their bytes; none of them is executed."
    )
    command = add_command(commands, "push", summary, details=details)
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("store", metavar="STORE", help=STORE)
    text = "space in which the codes will be searched; the last three use the same stored codes (default: sparse)"
    command.add_argument("--space", choices=SPACES, default="sparse", help=text)
    add_pushed(command)
    add_anchors(command, "the file of pull --keep")
    text = (
        f"encode these vectors instead of those in STORE, and write the codes under their ids: {EMBEDDINGS}; or the "
        "address of another store or table. STORE needs no dense field"
    )
    command.add_argument("--from", dest="source", metavar="FILE", help=text)
    text = (
        "with --from, what to do with ids that STORE does not have; error: write nothing and name some of them; "
        "insert: add items that have only an id and a code, if your application does not insert them; skip: leave "
        "them out and report their number (default: error). Ids of another kind than those of STORE are always refused"
    )
    command.add_argument("--on-missing", choices=("error", "insert", "skip"), default="error", help=text)
    add_ids(command)
    add_follow_links(command)
    text = "first delete the field with all its codes; refused if an item has a code, but no vector in STORE"
    command.add_argument("--replace", action="store_true", help=text)
    add_zero_rows(command, "vectors", "write codes of zeros, which no query finds")
    command.add_argument("--rows", type=int, default=2048, help="items per write (default: 2048)")
    add_dry_run(command, "; with --from, all vectors are read, to count unknown, new, changed and unchanged ids")
    command.add_argument("--json", action="store_true", help="print the field, counts, bytes and next steps as JSON")


def run(options: argparse.Namespace) -> None:
    """Write codes into a store, and report how many and what follows."""
    from compressae_ref.cli.progress import shown_progress
    from compressae_ref.cli.push_steps import reported, source_of, tell_other_fields
    from compressae_ref.cli.store_commands import opened
    from compressae_ref.files.model_file import load_model
    from compressae_ref.stores.push import push, written_before
    from compressae_ref.stores.push_from import push_from
    from compressae_ref.stores.stored_form import serving

    model = load_model(options.model)
    if options.refine and options.space == "sparse":
        text = "refined codes have lower recall in sparse space; --space expanded is for them, and for search --store"
        tell(text)
    settings = {name: getattr(options, name) for name in ("k", "space", "refine", "field", "zero_rows", "rows")}
    fitted = options.anchors is not None
    if fitted:
        from compressae_ref.cli.anchors import read_anchors

        settings["anchors"] = read_anchors(options, model)
    form = serving(model, options.k, options.space, options.refine, options.backend, fitted=fitted)
    with (
        opened(options.store) as store,
        source_of(options.source, options) as source,
        shown_progress("item") as progress,
    ):
        tell_other_fields(store, model, options.field or form.field)
        if options.dry_run:
            from compressae_ref.cli.dry_push import dry_push

            dry_push(store, model, source, settings, options)
            return
        before, shared = store.footprint(), {"backend": options.backend, "progress": progress}
        try:
            if source is None:
                pushed = push(store, model, replace=options.replace, **settings, **shared)
            else:
                pushed = push_from(store, model, source, on_missing=options.on_missing, **settings, **shared)
        except KeyboardInterrupt as interrupt:
            names = ("k", "space", "refine", "field")
            done, total = written_before(store, model, **{name: settings[name] for name in names}, fitted=fitted)
            again = "the same command without --replace" if options.replace else "the same command"
            interrupt.args = (f"{done} of {total} codes are in {store.name}; {again} writes the others",)
            raise
        report = reported(store, pushed, before, options)
    if options.json:
        say(json.dumps(report))
