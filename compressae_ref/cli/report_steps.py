"""The steps of ``report``: read everything that can be refused, measure, and write the page."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.cli.evaluate_steps import draw_rows
from compressae_ref.cli.ids_option import NONE, id_entry_of, ids_option, tell_id_column
from compressae_ref.cli.progress import stage
from compressae_ref.cli.relevance_option import read_relevance
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.evaluation.encoded_items import EncodedItems
from compressae_ref.evaluation.evaluate import TOPS, evaluate
from compressae_ref.evaluation.report.facts import Rows, facts
from compressae_ref.evaluation.report.html import write_page
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.foreign.columns import Texts, open_table
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.model_file import load_model
from compressae_ref.model import Model
from compressae_ref.row_source import read_all


def run_report(options: argparse.Namespace) -> None:
    """Measure, write the page, and print its facts on request."""
    require_writable(options.output)
    model = load_model(options.model)
    source = _open(options.embeddings, ids_option(options), "--ids", options)
    items = _read(model, source, options.embeddings, options.texts, options)
    related, sources = None, {options.embeddings: source}
    if options.queries is None:
        items, queries = _drawn(items, options)
    else:
        query_source = _open(options.queries, options.query_ids, "--query-ids", options)
        sources[options.queries] = query_source
        related = read_relevance(options, QUERIES=query_source, EMBEDDINGS=source)
        queries = _read(model, query_source, options.queries, options.query_texts, options)
    items_left, queries_left = _left(items, options.embeddings, options), _left(queries, "the queries", options)
    n = len(items_left.x)
    for path, each in sources.items():
        if each.id_name is not None:
            tell_id_column(path, each)
    for note in () if related is None else related.notes:
        tell(note)
    naming, encoded = nullcontext() if related is None else related.naming(), list[EncodedItems]()
    with naming, stage("measuring what compression costs"):
        rows = evaluate(
            model,
            items.x,
            queries.x,
            ks=options.k,
            bits=[options.bits],
            tops=[top for top in TOPS if top <= n] or [n],
            relevance=None if related is None else related.pairs,
            baselines=options.baselines,
            zero_rows=options.zero_rows,
            hand_over=encoded.append,
            backend=options.backend,
        )
    title = options.title or Path(options.embeddings).name
    settings = {"bits": options.bits, "backend": options.backend, "stage": stage}
    found = facts(title, model, items_left, queries_left, rows, *encoded, **settings)
    write_page(options.output, found)
    if options.json:
        say(json.dumps(found, allow_nan=False))
    size = Path(options.output).stat().st_size
    tell(f"{options.output}: {len(rows)} ways to store {n:,} items, {len(found['strongest'])} latents, {size:,} bytes")


def _open(path: str, ids: str | None, option: str, options: argparse.Namespace) -> Any:
    entry = id_entry_of(ids)
    if entry is False and ids != NONE:
        raise DomainError(f"expected ::NAME or none, got {ids!r}", argument=option)
    return open_embeddings(path, entry, follow_links=options.follow_links)


def _read(model: Model, source: Any, path: str, texts: str | None, options: argparse.Namespace) -> Rows:
    found = None if texts is None else _texts(texts, len(source), options.text)
    with naming_file(path):
        x = read_all(source, d=model.params.d, zeros=options.zero_rows != "error")
    return Rows(x, np.arange(len(x)), ids_of(source), found)


def _texts(path: str, n: int, column: str | None) -> Texts:
    table = open_table(path)
    texts = table.texts(column)
    table.require_rows(n)
    return texts


def _drawn(items: Rows, options: argparse.Namespace) -> tuple[Rows, Rows]:
    """Draw rows that are not zero as queries, and return the other items and these queries."""
    nonzero = np.flatnonzero(np.any(items.x, axis=1))
    drawn = nonzero[draw_rows(len(nonzero), options.seed, "report")]
    others = np.delete(np.arange(len(items.x)), drawn)
    tell(f"no QUERIES given: {len(drawn)} rows drawn from EMBEDDINGS are used as queries and are not searched")
    return _rows(items, others), _rows(items, drawn)


def _left(rows: Rows, name: str, options: argparse.Namespace) -> Rows:
    """Return the rows without zero rows if these are skipped."""
    nonzero = np.any(rows.x, axis=1)
    if not nonzero.any():
        raise DomainError("expected a row that is not zero, got none", path=name)
    if options.zero_rows != "skip" or nonzero.all():
        return rows
    tell_skipped(name, int((~nonzero).sum()))
    return _rows(rows, np.flatnonzero(nonzero))


def _rows(rows: Rows, places: Any) -> Rows:
    x: Floats = rows.x[places]
    return rows._replace(x=x, numbers=rows.numbers[places])
