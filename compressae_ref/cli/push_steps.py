"""The steps of ``push``: open what ``--from`` names, and report what was written and what follows."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from compressae_ref.cli.ids_option import id_entry_of, ids_by, ids_option, tell_id_column
from compressae_ref.cli.store_commands import opened
from compressae_ref.cli.terminal import tell
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.model import Model
from compressae_ref.stores.address import is_address
from compressae_ref.stores.contract import Step, Store
from compressae_ref.stores.field_names import PUSHED_FITTED, other_fields
from compressae_ref.stores.push_from import Source, source_of_rows, source_of_store
from compressae_ref.stores.writer import Pushed


@contextmanager
def source_of(path: str | None, options: argparse.Namespace) -> Iterator[Source | None]:
    """Yield the vectors and ids of a file, as ``--ids`` and ``--follow-links`` say, or of the address of a store."""
    if path is None:
        yield None
    elif is_address(path):
        with opened(path) as store:
            yield source_of_store(store)
    else:
        option = ids_option(options)
        rows = open_embeddings(path, id_entry_of(option), follow_links=options.follow_links)
        ids = ids_by(option, len(rows), lambda: ids_of(rows))
        if option is None or option.startswith("::"):
            tell_id_column(path, rows)
        yield source_of_rows(rows, ids, path)


def tell_other_fields(store: Store, model: Model, field: str) -> None:
    """Name the other fields of codes of this model, which a push with these settings does not update."""
    others = [
        f"{name} ({name.settings()}): {store.count_written(str(name)):,} codes; "
        f"add {name.options(PUSHED_FITTED)} to update it"
        for name in other_fields(store, model, field)
    ]
    if others:
        tell(f"{store.name}: this push writes {field}; the store also has {', and '.join(others)}")


def reported(store: Store, pushed: Pushed, before: dict[str, int], options: argparse.Namespace) -> dict[str, Any]:
    """Print what was written, what the database weighs and what follows, unless as JSON; return all of it."""
    sizes, now = store.sizes(pushed.field), store.footprint()
    steps = store.next_steps(pushed.field, cosine=options.space == "sparse")
    bare = store.count_bare(pushed.field)
    tell_skipped(store.name, pushed.skipped)
    if not options.json:
        tell(f"{store.name}: field {pushed.field}: {_counts(pushed)}{_bytes(sizes)}")
        if pushed.unchecked:
            hint = "" if options.source else "; push --replace writes all of them again"
            unseen = f"{pushed.unchecked} codes have no digest, so changes of their vectors are not detected{hint}"
            tell(f"{store.name}: {unseen}")
        if now:
            tell(f"{store.name}: on disk before: {parts(before)}; now: {parts(now)}")
        if bare:
            tell(f"{store.name}: {bare_line(bare)}")
        for line in step_lines(steps):
            tell(line)
    report = {**pushed._asdict(), "without_vector_and_code": bare, "bytes": sizes}
    report |= {"disk_before": before, "disk_now": now}
    return report | {"next_steps": [step._asdict() for step in steps]}


def bare_line(n: int) -> str:
    """Return what is told about n items of a store that have neither a dense vector nor a code."""
    return f"{n:,} items have neither a vector nor a code in this field, so no search finds them"


def _counts(pushed: Pushed) -> str:
    """Return the counts in words; those that are seldom are left out if they are 0."""
    inserted = f" ({pushed.inserted} of them new items)" if pushed.inserted else ""
    absent = f", {pushed.absent} ids left out that are not in the store" if pushed.absent else ""
    return (
        f"{pushed.written} codes written{inserted}, {pushed.changed} changed, {pushed.before} already present{absent}"
    )


def _bytes(sizes: dict[str, int]) -> str:
    return "".join(f"; {name} {size:,} bytes" for name, size in sizes.items())


def parts(footprint: dict[str, int]) -> str:
    """Return the bytes of a collection and its parts in words."""
    return ", ".join(f"{name} {size:,}{'' if name == 'dead rows' else ' bytes'}" for name, size in footprint.items())


def step_lines(steps: Sequence[Step]) -> list[str]:
    """Return the statements that may follow, each with its effect."""
    lines = ["what may follow, if the codes serve well (push executes none of it):"] if steps else []
    for step in steps:
        lines += [*(f"  {line}" for line in step.statement.split("\n")), f"    {step.effect}"]
    return lines
