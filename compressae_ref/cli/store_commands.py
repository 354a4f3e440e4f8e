"""What ``pull``, ``push`` and ``search --store`` have in common, and the body of the last."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager

from compressae_ref.cli.terminal import say, tell
from compressae_ref.errors import DomainError, named
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.stores.contract import Found, Store, open_store
from compressae_ref.stores.query import Compared, compare


@contextmanager
def opened(address: str) -> Iterator[Store]:
    """Open a store and close it at the end, whatever happens."""
    store = open_store(address)
    try:
        yield store
    finally:
        store.close()


def search_and_compare(options: argparse.Namespace) -> None:
    """Ask the same queries in the dense field and in the codes, and say how far the answers agree."""
    if options.rescore is not None:
        raise DomainError("expected --rescore only without --store", argument="search")
    model, queries = load_model(options.model), open_embeddings(options.queries)
    settings = {name: getattr(options, name) for name in ("k", "space", "refine", "field", "query_k")}
    with opened(options.codes) as store, named(options.queries):
        compared = compare(store, model, queries, options.top, **settings, backend=options.backend)
    for query, pair in enumerate(zip(compared.dense, compared.codes, strict=True)):
        _say_hits(query, dict(zip(("dense", "codes"), pair, strict=True)), as_json=options.json)
    tell(f"{store.name}: {_in_words(compared)}")


def _say_hits(query: int, hits: dict[str, Found], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps({"query": query, **{name: found._asdict() for name, found in hits.items()}}))
        return
    for name, found in hits.items():
        pairs = zip(found.ids, found.scores, strict=True)
        say(f"{query}\t{name}\t" + " ".join(f"{each}:{score:.6f}" for each, score in pairs))


def _in_words(compared: Compared) -> str:
    """Say what both answers have in common, and what they cost."""
    return (
        f"the codes find {compared.overlap:.1%} of the dense neighbours; "
        f"a query takes {1e3 * compared.dense_seconds:.2f} ms in the dense field, "
        f"{1e3 * compared.codes_seconds:.2f} ms in the codes (encoding included)"
    )
