"""``push --dry-run``: what a push would write, what the database weighs, and what may follow."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from compressae_ref.cli.dry_run import costs, encoding_memory, say_dry
from compressae_ref.cli.push_steps import bare_line, parts, step_lines
from compressae_ref.evaluation.choose import ENGINES, Engine
from compressae_ref.stores.contract import ROWS, Planned, Rows, Store, parse_address
from compressae_ref.stores.coverage import codes_to_write
from compressae_ref.stores.push import read_some
from compressae_ref.stores.push_from import Source, push_from
from compressae_ref.stores.stored_form import Serving, serving
from compressae_ref.stores.unknown_ids import find_unknown, refuse_unknown

if TYPE_CHECKING:
    from compressae_ref.model import Model


TIME_LEFT_OUT = " for encoding; reading and writing in the database is not estimated, and often takes longer"
"""What follows the time of a dry push."""


def dry_push(
    store: Store, model: Model, source: Source | None, settings: dict[str, Any], options: argparse.Namespace
) -> None:
    """Count what a push would write, encode a block to measure the time, and print what to expect.

    StoreError at the end if the push would refuse the ids of the source.
    """
    k, space, refine = settings["k"], settings["space"], settings["refine"]
    form = serving(model, k, space, refine, options.backend, anchors=settings.get("anchors"))
    field = settings["field"] or form.field
    if source is None:
        block = read_some(store, settings["rows"])
        planned, found = _items(store, form, field, block, options)
    else:
        planned, found = _vectors(store, model, source, form, settings, options)
        block = next(source.blocks(settings["rows"]))
    seconds = _seconds(form, block, store.name, settings["zero_rows"]) * (planned.codes + planned.new)
    bare = store.count_bare(field)
    say_dry(
        [
            *found,
            *_bytes(store, form, planned, options),
            costs(encoding_memory(model, form.k, form.refine), seconds) + TIME_LEFT_OUT,
            f"settings: k {form.k}, {form.space} space, refined: {form.refine}, fitted: {form.fitted}",
            *([f"before this push, {bare_line(bare)}"] if bare else []),
            *step_lines(store.next_steps(field, cosine=form.space == "sparse", planned=planned)),
        ]
    )
    if source is not None and options.on_missing == "error":
        unknown = find_unknown(store, field, source.ids(ROWS), source.name)
        refuse_unknown(store, field, unknown, "error")


def _items(
    store: Store, form: Serving, field: str, block: Rows, options: argparse.Namespace
) -> tuple[Planned, list[str]]:
    """Return what a push of the vectors in the store would write, by the numbers of items and of codes."""
    n, missing = store.count(), codes_to_write(store, field, replace=options.replace)
    kept = 0 if options.replace or not store.has_field(field) else store.count_written(field)
    lines = [
        f"{store.name}: {n:,} items with a vector, d {block.x.shape[1]}; the first {len(block.ids):,} were read",
        f"field {field}: {missing:,} codes of {form.k} entries to write, {kept:,} already present"
        + ("; changes of their vectors were not looked for" if kept else "")
        + ("; vectors of zeros, which get no code, are counted" if options.zero_rows == "skip" else ""),
    ]
    return Planned(missing, 0, _engines(options)[0].bytes_of(form.k)), lines


def _vectors(
    store: Store,
    model: Model,
    source: Source,
    form: Serving,
    settings: dict[str, Any],
    options: argparse.Namespace,
) -> tuple[Planned, list[str]]:
    """Return what a push of these vectors would write, after all of them were read."""
    read = [0]
    pushed = push_from(
        store,
        model,
        source,
        on_missing="skip" if options.on_missing == "error" else options.on_missing,
        dry_run=True,
        backend=options.backend,
        progress=lambda done, _: read.append(done),
        **settings,
    )
    existing, zeros = pushed.written - pushed.inserted, pushed.skipped
    unknown = pushed.inserted + pushed.absent
    what = {"error": "push would refuse all ids", "insert": "push would add them", "skip": "push would leave them out"}
    lines = [
        f"{source.name}: {read[-1]:,} vectors with ids, d {model.params.d}; all of them were read",
        f"field {pushed.field}: {existing:,} ids without a code, {pushed.changed:,} whose vector has changed, "
        f"{read[-1] - existing - pushed.changed - unknown - zeros:,} unchanged, {unknown:,} unknown"
        + (f" ({what[options.on_missing]})" if unknown else "")
        + (f", {zeros:,} vectors of zeros left out" if zeros else ""),
        f"codes of {form.k} entries to write: {pushed.written + pushed.changed:,}",
    ]
    return Planned(existing + pushed.changed, pushed.inserted, _engines(options)[0].bytes_of(form.k)), lines


def _engines(options: argparse.Namespace) -> list[Engine]:
    """Return the engine of the address, or all engines if it is not known."""
    scheme = parse_address(options.store).scheme.replace("edge", "qdrant")
    return [engine for engine in ENGINES if engine.address.startswith(f"{scheme}:")] or [*ENGINES]


def _seconds(form: Serving, block: Rows, name: str, zero_rows: Any) -> float:
    """Return the seconds that encoding a vector takes."""
    form.items(block.x[:2], name, "empty")  # compiles
    started = time.perf_counter()
    form.items(block.x, name, "empty" if zero_rows == "skip" else zero_rows)  # the time without zero rows is alike
    return (time.perf_counter() - started) / len(block.ids)


def _bytes(store: Store, form: Serving, planned: Planned, options: argparse.Namespace) -> list[str]:
    """Return what the codes take, what the database weighs now, and how much it grows."""
    codes = planned.codes + planned.new
    sizes = "; ".join(f"{engine.name} {codes * engine.bytes_of(form.k):,}" for engine in _engines(options))
    lines, now, old = [f"bytes of these codes, about: {sizes}"], store.footprint(), store.old_versions(planned.codes)
    if now:
        lines.append(f"on disk now: {parts(now)}")
    if old:
        new = codes * planned.size
        lines.append(
            f"on disk after the push: about {new + old:,} bytes more: {new:,} of codes, and {old:,} of old versions of "
            "rows, which the database keeps until they are removed; less if it has free space from earlier updates"
        )
    return lines
