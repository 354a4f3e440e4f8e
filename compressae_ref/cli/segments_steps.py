"""The steps of ``segments``: read, encode, name, count and report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import ZeroRows
from compressae_ref.cli.progress import counted, shown_progress, stage
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import left_of
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, naming_file
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.columns import Table, open_table
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.files.npz import reading
from compressae_ref.item_values import KeptTexts, shown
from compressae_ref.layout import width_of
from compressae_ref.model import Model
from compressae_ref.page.text import count
from compressae_ref.row_source import RowSource, row_numbers
from compressae_ref.segments.dispersion import series_of
from compressae_ref.segments.facts import items_of
from compressae_ref.segments.page.html import write_page
from compressae_ref.segments.segments import Segments
from compressae_ref.segments.terminal import lines
from compressae_ref.segments.times import as_times

Facts = dict[str, Any]


class _Items(NamedTuple):
    """What EMBEDDINGS has."""

    n: int
    """rows of the file"""
    rows: NDArray[np.int64]
    """the numbers of the rows that become items: all, or those that are not zero"""
    codes: Callable[[], Codes]


class _Columns(NamedTuple):
    """What the table has, for each item."""

    texts: KeptTexts | None = None
    times: Any = None
    weights: Any = None
    sites: list[str] | None = None


def run_segments(options: argparse.Namespace) -> None:
    """Read everything that can be refused before the encoding; then find, name and follow the segments."""
    _require_rule(options)
    if options.output is not None:
        require_writable(options.output)
    model = load_model(options.model)
    table = None if options.texts is None else open_table(options.texts)
    items = _opened(model, options)
    columns = _Columns() if table is None else _read(table, items, options)
    with naming_file(options.embeddings), naming_columns(table, options):
        segments = _found(model, items, columns, options)
        with stage("comparing the segments"):
            facts = segments.facts(options.title or Path(options.texts or options.embeddings).name)
    _number_as_in_the_file(facts, items)
    if options.output is not None:
        write_page(options.output, facts)
    _tell_of_items(segments, table, options)
    width = width_of(sys.stdout)
    say(json.dumps(facts, allow_nan=False) if options.json else "\n".join(lines(facts, sys.stdout.encoding, width)))
    if options.output is not None:
        tell(f"{options.output}: {count(len(segments), 'segment')} of {count(segments.n, 'item')}")


def _require_rule(options: argparse.Namespace) -> None:
    """Refuse a setting of another way to assign items. DomainError."""
    for name, assign in (("top", "top"), ("threshold", "all")):
        if name in options.given and options.assign != assign:
            raise DomainError(
                f"expected --assign {assign} with --{name}, got --assign {options.assign}", argument="segments"
            )


def _opened(model: Model, options: argparse.Namespace) -> _Items:
    path, content = options.embeddings, content_of(options.embeddings)
    if content == "codes":
        return _opened_codes(model, options)
    if content != "embeddings":
        raise DomainError(f"expected embeddings or codes, got a file of the kind {content!r}", path=path)
    source = open_embeddings(path, ids=False, follow_links=options.follow_links)
    kept = left_of(source, options.zero_rows, path, d=model.params.d)
    rows = np.array(row_numbers(kept), np.int64)
    return _Items(len(source), rows, lambda: _encoded(model, kept, options))


def _opened_codes(model: Model, options: argparse.Namespace) -> _Items:
    for name in ("zero_rows", "follow_links", "backend"):
        if name in options.given:
            option = f"--{name.replace('_', '-')}"
            raise DomainError(f"expected embeddings with {option}, got codes", path=options.embeddings)
    codes = open_codes(options.embeddings, model.params.n_latents, ids=False).load()
    with naming_file(options.embeddings):
        model.check_codes(codes)
    return _Items(len(codes), np.arange(len(codes)), lambda: codes)


def _encoded(model: Model, source: RowSource, options: argparse.Namespace) -> Codes:
    """Encode in blocks, and show the progress."""
    zero_rows: ZeroRows = "empty" if options.zero_rows == "empty" else "error"  # with skip, none are left
    with shown_progress("row") as progress:
        blocks = model.encode_blocks(source, zero_rows=zero_rows, backend=options.backend)
        return Codes.concatenate([*counted(blocks, len(source), progress)])


def _read(table: Table, items: _Items, options: argparse.Namespace) -> _Columns:
    """Read and check the columns of all rows, and keep those of the items."""
    texts = table.texts(options.text)
    table.require_rows(items.n, "row of EMBEDDINGS")
    kept = np.zeros(items.n, bool)
    kept[items.rows] = True
    times = weights = sites = None
    if options.time is not None:
        values = table.values(options.time)
        with reading(table.path, "a table"):
            times = as_times(values, options.time)[kept]
    if options.weight is not None:
        weights = table.weights(options.weight)[kept]
    if options.site is not None:
        sites = [*compress(table.sites(options.site), kept)]
    return _Columns(KeptTexts(texts, kept), times, weights, sites)


@contextmanager
def naming_columns(table: Table | None, options: argparse.Namespace) -> Iterator[None]:
    """Name the file and its column in errors about the content of a column."""
    try:
        yield
    except CompressaeError as error:
        names = {"times": options.time, "weights": options.weight, "sites": options.site}
        if table is not None and error.path is None:
            names["texts"] = table.texts(options.text).column
            if (name := names.get(error.argument or "")) is not None:
                error.path, error.argument = table.path, name
        raise


def _found(model: Model, items: _Items, columns: _Columns, options: argparse.Namespace) -> Segments:
    rule = {name: getattr(options, name) for name in ("assign", "top", "threshold", "min_items")}
    segments = Segments.build(items.codes(), model=model, **rule)
    if columns.times is not None:
        timeline = segments.over_time(columns.times, bin=options.bin, weights=columns.weights, sites=columns.sites)
        series_of(timeline.counts)  # refuses times in one bin, before the names are made
    if columns.texts is not None:
        with stage("naming the segments"):
            segments.name(columns.texts, method=options.method)
    return segments


def _number_as_in_the_file(facts: Facts, items: _Items) -> None:
    """Give the items that the facts show the numbers of their rows in EMBEDDINGS, in which skipped rows count."""
    for segment in facts["segments"]:
        for item in items_of(segment):
            item["row"] = int(items.rows[item["row"]])


def _tell_of_items(segments: Segments, table: Table | None, options: argparse.Namespace) -> None:
    """Report what of the items could not be used."""
    if segments.naming is not None and (wordless := segments.naming.found.wordless) and table is not None:
        tell(f"{table.path}: {wordless:,} of {count(segments.n, 'text')} without words")
    if lost := segments.unassigned:
        tell(f"{options.embeddings}: {lost:,} of {count(segments.n, 'item')} in no segment")
    timeline = segments.timeline
    if table is None or timeline is None or not timeline.sites:
        return
    place, counts = f"{table.path}: {options.site}", timeline.counts.total_items.sum(axis=0)
    if len(timeline.sites) == 1:
        tell(f"{place}: all items have the site {shown(timeline.sites[0])}, so there is nothing to compare")
    elif len(single := np.flatnonzero(counts == 1)):
        which = shown(timeline.sites[single[0]])
        tell(f"{place}: {len(single):,} of {count(len(timeline.sites), 'site')} with a single item, such as {which}")
