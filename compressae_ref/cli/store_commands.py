"""Open vector databases for commands; the steps of ``search --store``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from compressae_ref.cli.ids_option import names_of, open_queries
from compressae_ref.cli.terminal import hits_text, printable, say, tell
from compressae_ref.errors import naming_file
from compressae_ref.files.model_file import load_model, load_model_or_encoder
from compressae_ref.model import Encoder
from compressae_ref.stores.contract import Found, Store, open_store
from compressae_ref.stores.query import Compared, compare, search_store
from compressae_ref.stores.stored_form import serving


@contextmanager
def opened(address: str) -> Iterator[Store]:
    """Open a store, and close it at the end even after an error."""
    store = open_store(address)
    try:
        yield store
    finally:
        store.close()


def search_and_compare(options: argparse.Namespace) -> None:
    """Search the dense field and the codes with the same queries, and report how far the results agree.

    If the dense field is gone, search the codes alone.
    """
    in_sparse_space = options.space in (None, "sparse")
    model = (load_model_or_encoder if in_sparse_space else load_model)(options.model)
    queries, query_ids, tell_ids = open_queries(options.queries, options, d=model.params.d)
    names = ("k", "space", "refine", "fitted", "field", "query_k", "zero_rows")
    settings = {name: getattr(options, name) for name in names} | {"backend": options.backend}
    settings["space"] = options.space or "sparse"
    with opened(options.codes) as store:
        with naming_file(options.queries):
            results, summary = _searched(store, model, queries, options.top, settings)
        tell_ids()
        for query, *hits in zip(names_of(queries, query_ids), *results.values(), strict=True):
            _say_hits(query, dict(zip(results, hits, strict=True)), as_json=options.json)
        tell(f"{store.name}: {summary}")
        most = min(options.top, store.count())
        fields = {"dense": store.dense or "", "codes": options.field or _field(model, settings)}
        searches = {
            WHERE[name]: (
                store.approximate_index(fields[name]),
                min((len(hits.ids) for hits in found if hits.ids), default=most),
            )
            for name, found in results.items()
        }
        tell_searches(store, searches, most)
        tell_few_codes(store, fields["codes"])


def _searched(
    store: Store, model: Encoder, queries: Any, top: int, settings: dict[str, Any]
) -> tuple[dict[str, list[Found]], str]:
    """Return the results by field, and what they say."""
    if store.dense is None:
        found = search_store(store, model, queries, top, **settings)
        return {"codes": found}, "no dense field: these are the hits in the codes; evaluate --store measures them"
    compared = compare(store, model, queries, top, **settings)
    return {"dense": compared.dense, "codes": compared.codes}, _summary(compared)


def _field(model: Encoder, settings: dict[str, Any]) -> str:
    return serving(model, **{name: settings[name] for name in ("k", "space", "refine", "backend", "fitted")}).field


WHERE = {"dense": "the dense field", "codes": "the codes"}
"""Fields as messages call them."""


def tell_searches(store: Store, searches: Mapping[str, tuple[str | None, int]], most: int) -> None:
    """Report which searches were exact, which queries got too few items, and what to do about either.

    Parameters
    ----------
    searches : by field: the approximate index that took part, or None, and the fewest items that a query got
    most : the number of items that each query should get
    """
    how = {where: "exact" if index is None else f"by an approximate {index}" for where, (index, _) in searches.items()}
    tell(f"{store.name}: {'; '.join(f'search in {where}: {text}' for where, text in how.items())}")
    few = {where: _tell_fewer(store, where, index, fewest, most) for where, (index, fewest) in searches.items()}
    if any(index and not few[where] for where, (index, _) in searches.items()):
        tell(f"{store.name}: an approximate index may miss items; to miss fewer, {store.accuracy}")


def _tell_fewer(store: Store, where: str, index: str | None, fewest: int, most: int) -> bool:
    """Report that a query got fewer items than it was asked for, which lowers recall, and what to do."""
    if fewest < most:
        why = store.fewer if index else "an exact search finds all items that have vectors there and share a latent"
        tell(f"{store.name}: {where}: a query got {fewest} of {most} items: {why}")
    return fewest < most


def tell_few_codes(store: Store, field: str) -> None:
    """Report that not all items have a code in the field, so that a search there cannot find the others."""
    coded, n = store.count_written(field), store.count()
    if coded < n:
        tell(f"{store.name}: field {field} has codes of {coded:,} of {n:,} items: a search there misses the others")


def _say_hits(query: dict[str, Any], results: dict[str, Found], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(query | {name: hits._asdict() for name, hits in results.items()}))
        return
    start = "\t".join(map(printable, query.values()))
    for name, hits in results.items():
        say(f"{start}\t{name}\t{hits_text(hits.ids, hits.scores)}")


def _summary(compared: Compared) -> str:
    """Describe how far both results agree, and the time of each search."""
    sizes = sorted({len(hits.ids) for hits in compared.dense if hits.ids})
    n = " to ".join(f"{size:,}" for size in dict.fromkeys([*sizes[:1], *sizes[-1:]]))
    return (
        f"the codes find {compared.overlap:.1%} of the {n or 0} items that the dense search returns for a query; "
        f"a query takes {1e3 * compared.dense_seconds:.2f} ms in the dense field and "
        f"{1e3 * compared.codes_seconds:.2f} ms in the codes (including encoding)"
    )
