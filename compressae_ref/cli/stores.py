"""The commands ``pull`` and ``push``, and ``search --store``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager

from compressae_ref.checks import as_whole
from compressae_ref.cli.progress import shown_progress
from compressae_ref.cli.terminal import say, tell
from compressae_ref.cli.train import train_and_save
from compressae_ref.errors import DomainError, named
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.write import require_embedding_format, write_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.files.npz import require_output
from compressae_ref.files.spool import spooled
from compressae_ref.stores.contract import Found, Store, open_store
from compressae_ref.stores.push import embeddings_of, ids_in, push
from compressae_ref.stores.query import Compared, compare


@contextmanager
def opened(address: str) -> Iterator[Store]:
    """A store that is closed at the end, whatever happens."""
    store = open_store(address)
    try:
        yield store
    finally:
        store.close()


def run_pull(options: argparse.Namespace) -> None:
    """Train on what is in a store, and keep it if that is asked for."""
    require_output(options.output)
    if options.keep is not None:
        require_output(options.keep)
        require_embedding_format(options.keep)
    with opened(options.store) as store:
        most = as_whole(options.rows, "rows")
        source = embeddings_of(store, most)
        tell(f"{store.name}: {store.count()} items, d {source.shape[1]}, of which {len(source)} to train on")
        with shown_progress("row") as progress, spooled(source, progress) as rows:
            if options.keep is not None:
                write_embeddings(options.keep, rows, ids=ids_in(store, most))
                tell(f"{options.keep}: {len(rows)} embeddings with their ids")
            train_and_save(rows, store.name, options)


def run_push(options: argparse.Namespace) -> None:
    """Write codes beside the dense vectors of a store."""
    model = load_model(options.model)
    settings = {
        name: getattr(options, name) for name in ("k", "space", "refine", "field", "replace", "zero_rows", "rows")
    }
    with opened(options.store) as store, shown_progress("item") as progress:
        pushed = push(store, model, **settings, backend=options.backend, progress=progress)
        sizes = store.sizes(pushed.field)
    if options.json:
        say(json.dumps({**pushed._asdict(), "bytes": sizes}))
        return
    tell(
        f"{store.name}: field {pushed.field}: {pushed.written} codes written, {pushed.before} were there{_said(sizes)}"
    )


def _said(sizes: dict[str, int]) -> str:
    return "".join(f"; {name} {size:,} bytes" for name, size in sizes.items())


def run_store_search(options: argparse.Namespace) -> None:
    """Ask for the same queries in the dense field and in the codes."""
    if options.rescore is not None:
        raise DomainError("expected --rescore only without --store", argument="search")
    model, queries = load_model(options.model), open_embeddings(options.queries)
    settings = {name: getattr(options, name) for name in ("k", "space", "refine", "field", "query_k")}
    with opened(options.codes) as store, named(options.queries):
        compared = compare(store, model, queries, options.top, **settings, backend=options.backend)
    for query, pair in enumerate(zip(compared.dense, compared.codes, strict=True)):
        _say_hits(query, dict(zip(("dense", "codes"), pair, strict=True)), as_json=options.json)
    tell(f"{store.name}: {in_words(compared)}")


def _say_hits(query: int, hits: dict[str, Found], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps({"query": query, **{name: found._asdict() for name, found in hits.items()}}))
        return
    for name, found in hits.items():
        pairs = zip(found.ids, found.scores, strict=True)
        say(f"{query}\t{name}\t" + " ".join(f"{each}:{score:.6f}" for each, score in pairs))


def in_words(compared: Compared) -> str:
    """What the same queries before and after have in common, and what they cost."""
    return (
        f"the codes find {compared.overlap:.1%} of the dense neighbours; "
        f"a query takes {1e3 * compared.dense_seconds:.2f} ms in the dense field, "
        f"{1e3 * compared.codes_seconds:.2f} ms in the codes (encoding included)"
    )
