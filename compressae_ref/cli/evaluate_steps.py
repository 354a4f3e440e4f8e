"""The steps of ``evaluate``: read, measure, print and plot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import ZeroRows, as_integer
from compressae_ref.cli.progress import stage
from compressae_ref.cli.relevance_option import ids_for_relevance, read_relevance
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.evaluation import baselines
from compressae_ref.evaluation.evaluate import TOPS, evaluate
from compressae_ref.evaluation.frontier import draw, label, require_matplotlib, table
from compressae_ref.evaluation.judge import NDCG_TOP, Row
from compressae_ref.evaluation.leaders import leaders_sentence
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.optional import require_scipy
from compressae_ref.row_source import RowSource, read_all
from compressae_ref.training.batches import held_out_rows
from compressae_ref.training.settings import MOST_SEED

EASY = 0.1
"""A share of the neighbours that a search at random finds, from which on a note says so."""


def run_evaluation(options: argparse.Namespace) -> None:
    """Print the table and draw the picture. With baselines, which take minutes, report each row as it is measured."""
    if options.baselines:
        require_scipy("special", "--baselines")  # before anything is measured
    if options.picture is not None:
        require_matplotlib()
        require_writable(options.picture)
    model = load_model(options.model)
    item_rows = _open(options.embeddings, options)
    query_rows = item_rows if options.queries is None else _open(options.queries, options)
    related = read_relevance(options, QUERIES=query_rows, EMBEDDINGS=item_rows)
    items = _read(item_rows, options.embeddings, model.params.d, options.zero_rows)
    n_items = len(items) if options.zero_rows != "skip" else int(items.any(axis=1).sum())
    tell_skipped(options.embeddings, len(items) - n_items)
    if options.queries is None:
        items = items if len(items) == n_items else items[items.any(axis=1)]
        items, queries = _drawn_queries(items, options.seed)
        n_items = len(items)
    else:
        queries = _read(query_rows, options.queries, model.params.d, options.zero_rows)
    tell_skipped(options.queries or "queries drawn from EMBEDDINGS", int((~queries.any(axis=1)).sum()))
    settings = {
        "ks": options.k,
        "bits": options.bits,
        "baselines": options.baselines,
        "without": options.without,
        "backend": options.backend,
    }
    settings["tops"] = options.top or [top for top in TOPS if top <= n_items] or [n_items]
    settings |= {"zero_rows": options.zero_rows, "fitted": options.fitted, "residual": options.bytes}
    for note in () if related is None else related.notes:
        tell(note)
    settings["relevance"] = None if related is None else related.pairs
    naming = nullcontext() if related is None else related.naming()
    _tell_time(options)
    with naming, _reporting(lines=options.baselines) as report:
        rows = evaluate(model, items, queries, progress=report, **settings)
    if options.queries is None:
        tell(f"no QUERIES given: {len(queries)} rows drawn from EMBEDDINGS are used as queries and are not searched")
    say(json.dumps([row.as_json() for row in rows]) if options.json else table(rows))
    for note in _notes(settings["tops"], n_items, options):
        tell(note)
    if options.baselines:
        if not options.json:
            say(f"\n{leaders_sentence(rows)}")
        if missing := baselines.left_out(n_items):
            tell(missing)
    if options.picture is not None:
        draw(rows, options.picture)


def _tell_time(options: argparse.Namespace) -> None:
    """Say before long trainings how to shorten them."""
    slow = [name for name in ("OPQ", "LSQ") if name not in options.without]
    if options.baselines and slow and baselines.has_faiss():
        tell(f"{' and '.join(slow)} train for minutes at each size; to leave them out: --without {' '.join(slow)}")


def _notes(tops: Sequence[int], n_items: int, options: argparse.Namespace) -> Iterator[str]:
    """Yield what the table does not show: recall that chance explains, and codes that were not measured."""
    if (share := max(tops) / n_items) >= EASY:
        yield (
            f"recall@{max(tops)} among {n_items:,} items says little: a search at random finds {share:.0%} of the "
            "neighbours; measure more items, or a lower --top"
        )
    if not (options.bits or options.baselines):
        yield "not measured: refined codes, and packed codes of fewer bytes; add --bits 5"


def _open(path: str, options: argparse.Namespace) -> Any:
    return open_embeddings(path, ids=ids_for_relevance(options), follow_links=options.follow_links)


def _read(source: RowSource, path: str, d: int, zero_rows: ZeroRows) -> Floats:
    with naming_file(path):
        return read_all(source, d=d, zeros=zero_rows != "error")


@contextmanager
def _reporting(*, lines: bool) -> Iterator[Callable[[Row], None]]:
    """Yield a function that reports each row: in lines, or on a terminal in one line that changes."""
    if lines:
        yield _report
        return
    with stage("measuring the dense vectors") as show:
        yield lambda row: show(f"measured: {label(row)}, {row.bytes_per_item} bytes")


def _report(row: Row) -> None:
    top, ndcg = max(row.recall), "" if row.ndcg is None else f", nDCG@{NDCG_TOP} {row.ndcg:.3f}"
    tell(f"{label(row)}, {row.bytes_per_item} bytes: recall@{top} {row.recall[top]:.3f}{ndcg}")


def _drawn_queries(items: Floats, seed: Any) -> tuple[Floats, Floats]:
    """Draw query rows from the items, and return the other items and these queries."""
    drawn = draw_rows(len(items), seed)
    return np.delete(items, drawn, axis=0), items[drawn]


def draw_rows(n: int, seed: Any, command: str = "evaluate") -> NDArray[np.int64]:
    """Draw the numbers of up to 500 of n rows, at most half of them, as queries. DomainError for fewer than 2 rows."""
    require_drawable(n, command)
    rng = np.random.default_rng(as_integer(seed, "seed", 0, MOST_SEED))
    return held_out_rows(n, min(500, n // 2), rng)


def require_drawable(n: int, command: str) -> None:
    """Refuse to draw queries from fewer than 2 of n items. DomainError of a command."""
    if n < 2:
        raise DomainError(
            f"expected at least 2 items from which to draw queries, got {n}",
            argument=command,
            hint="give a file of queries",
        )
