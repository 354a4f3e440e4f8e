"""The steps of ``evaluate --store`` and of ``verify --store``."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from compressae_ref.cli.given import called
from compressae_ref.cli.push_steps import bare_line, source_of
from compressae_ref.cli.relevance_option import ids_for_relevance, side
from compressae_ref.cli.store_commands import WHERE, opened, tell_few_codes, tell_searches
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.zero_rows import tell_skipped
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.files.relevance_file import open_store_relevance
from compressae_ref.layout import markdown
from compressae_ref.row_source import read_all
from compressae_ref.stores.audit import Audit, audit_store
from compressae_ref.stores.evaluate import Measured, evaluate_store

TOPS = (10, 100)
"""Default numbers of neighbours for recall."""


def evaluate_in_store(options: argparse.Namespace) -> None:
    """Search a store with the user's queries, and print a table of what the engine returns."""
    if options.queries is None:
        raise DomainError("expected QUERIES with --store, got none", argument="evaluate")
    if options.k is not None and len(options.k) > 1:
        raise DomainError(f"expected one --k with --store, got {len(options.k)}", argument="evaluate")
    model = load_model(options.model)
    source = open_embeddings(options.queries, ids=ids_for_relevance(options), follow_links=options.follow_links)
    with naming_file(options.queries):
        queries = read_all(source, d=model.params.d, zeros=options.zero_rows != "error")
    asked = np.flatnonzero(queries.any(axis=1))
    tell_skipped(options.queries, len(queries) - len(asked))
    settings = {name: getattr(options, name) for name in ("space", "refine", "fitted", "field", "query_k", "backend")}
    settings |= {
        "k": None if options.k is None else options.k[0],
        "relevance": _relevance(options, source, asked.tolist()),
    }
    with opened(options.embeddings) as store, source_of(options.dense, options) as dense, naming_file(options.queries):
        tops = options.top or [top for top in TOPS if top <= store.count()] or [store.count()]
        rows = evaluate_store(store, model, queries[asked], tops, dense=dense, **settings)
        searches = {
            f"{WHERE[row.vectors]} ({row.field})": (store.approximate_index(row.field), row.fewest) for row in rows
        }
        tell_searches(store, searches, min(max(tops), store.count()))
        for field in (row.field for row in rows if row.vectors == "codes"):
            tell_few_codes(store, field)
    if rows[0].recall is None:
        tell(f"{store.name}: recall is not measured without dense vectors; --dense FILE names a file of them")
    say(json.dumps([row.as_json() for row in rows]) if options.json else _table(rows))


def _relevance(options: argparse.Namespace, source: Any, asked: list[int]) -> dict[int, dict[str, int]] | None:
    """Return the relevant ids of the queries that are asked, by their places among these."""
    if options.relevance is None:
        return None
    queries = side("QUERIES", source, ids_for_relevance(options))
    related, notes = open_store_relevance(options.relevance, queries, options.relevance_by)
    for note in notes:
        tell(note)
    places = {row: place for place, row in enumerate(asked)}
    found = {places[query]: grades for query, grades in related.items() if query in places}
    if not found:
        raise DomainError("expected a relevant item of a query, got none", argument="relevance", path=options.relevance)
    return found


def _table(rows: list[Measured]) -> str:
    def cells(value: Any, form: str) -> list[str]:
        return ["" if (number := value(row)) is None else format(number, form) for row in rows]

    columns = {"vectors": [f"{row.vectors} ({row.field})" for row in rows]}
    for top in rows[0].recall or {}:
        columns[f"recall@{top} of dense"] = cells(lambda row, top=top: row.recall[top], ".3f")
    for top in rows[-1].agreement or {}:
        columns[f"agreement@{top}"] = cells(lambda row, top=top: (row.agreement or {}).get(top), ".3f")
    if rows[0].ndcg is not None:
        columns["nDCG@10"] = cells(lambda row: row.ndcg, ".3f")
    columns["ms per query"] = cells(lambda row: row.ms_per_query, ".2f")
    columns["bytes per item"] = cells(lambda row: row.bytes_per_item, ".0f")
    return markdown(columns)


def verify_in_store(options: argparse.Namespace) -> bool:
    """Audit the codes in a store; return True if they are not the codes of the model."""
    if options.embeddings is None:
        raise DomainError(
            "expected MODEL STORE or MODEL EMBEDDINGS STORE with --store, got MODEL alone", argument="verify"
        )
    model, (file, address) = load_model(options.model), (options.embeddings, options.codes)
    if address is None:
        file, address = None, file
        for name in ("ids", "id_column"):
            if name in options.given:
                option = called(options, name)
                raise DomainError(f"expected EMBEDDINGS with {option}, got {option} alone", argument="verify")
    settings: dict[str, Any] = {name: getattr(options, name) for name in ("k", "space", "refine", "field", "backend")}
    if options.anchors is not None:
        from compressae_ref.cli.anchors import read_anchors

        settings["anchors"] = read_anchors(options, model)
    with opened(address) as store, source_of(file, options) as source:
        result = audit_store(store, model, source, **settings)
    passed = result.passed(strict=options.strict)
    say(json.dumps({**result.as_json(), "passed": passed}) if options.json else _text(result, passed))
    return not passed


def _text(result: Audit, passed: bool) -> str:
    first = f" (first: item {result.first_wrong!r})" if result.wrong else ""
    lines = [
        f"field {result.field}: {result.identical} identical to the bit, {result.rounded} off by rounding, "
        f"{result.wrong} wrong{first}, {result.without_code} items without a code"
    ]
    if result.not_compared:
        lines.append(f"{result.not_compared} codes were not compared: no vector is known for them")
    if result.bare:
        lines.append(bare_line(result.bare))
    return "\n".join([*lines, "passes" if passed else "does not pass"])
