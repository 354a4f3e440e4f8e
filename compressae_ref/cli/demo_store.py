"""The steps of ``demo --store``, in a vector database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compressae_ref.backends import Backend
from compressae_ref.cli.demo_steps import Say, short, shown_queries, train
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.errors import StoreError
from compressae_ref.files.foreign.write import write_embeddings
from compressae_ref.files.model_file import save_model
from compressae_ref.layout import markdown
from compressae_ref.model import Model
from compressae_ref.optional import require_package
from compressae_ref.retrieval.spaces import Space
from compressae_ref.stores.contract import Found
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.qdrant_edge import EdgeStore, create
from compressae_ref.stores.query import compare, search_store
from compressae_ref.stores.stored_form import serving

SPACES_SHOWN: tuple[Space, ...] = ("sparse", "expanded")
TOP = 5
INDEXED = 451
"""Bytes of a code with its index, as measured on 59,847 items (``examples/pages/stores.md``)."""
WIDTH = 26
"""Characters of a name, at most."""


def run_store_demo(say: Say, *, folder: str = "", backend: str | Backend | None = None) -> None:
    """Fill a vector database, train on it, write codes into it, and search with the same queries before and after.

    Parameters
    ----------
    folder : new folder in which the shard, the model and the queries are kept; "": a temporary folder

    Raises
    ------
    StoreError
        If the folder is not empty.
    BackendError
        If Qdrant Edge is not installed.
    """
    require_package("qdrant_edge", "edge", "Qdrant Edge")
    data = load_demo_data()
    with _place(folder) as place:
        store = _filled(f"{place}/shard", data, say)
        try:
            model = _trained(store, say, backend)
            for space in SPACES_SHOWN:
                _pushed(store, model, space, say, backend)
            _compared(store, model, data, say, backend)
            store.optimize()
            _sizes(store, model, say)
        finally:
            store.close()
        if folder:
            save_model(f"{folder}/model.npz", model)
            write_embeddings(f"{folder}/queries.npy", data.queries)
            say(f"\nThe database, the model and the queries are in {folder}. To search them again:")
            say(f"  compressae-ref search {folder}/model.npz edge:{folder}/shard {folder}/queries.npy --store")


@contextmanager
def _place(folder: str) -> Iterator[str]:
    if not folder:
        with TemporaryDirectory() as temporary:
            yield temporary
        return
    if Path(folder).exists() and (not Path(folder).is_dir() or any(Path(folder).iterdir())):
        what = "a folder that is not empty" if Path(folder).is_dir() else "a file"
        raise StoreError(f"expected a new or empty folder, got {what}", path=folder)
    yield folder


def _filled(place: str, data: DemoData, say: Say) -> EdgeStore:
    n, d = data.items.shape
    say(f"1. Insert the embeddings of {n:,} WordNet entries, {d} dimensions, into a vector database (Qdrant Edge).")
    store = create(place, "dense", d)
    store.insert(range(n), data.items.astype(np.float32), [{"name": name} for name in data.item_names])
    return store


def _trained(store: EdgeStore, say: Say, backend: str | Backend | None) -> Model:
    say("\n2. pull: train on the vectors in the database ...")
    return train(embeddings_of(store), say, backend)


def _pushed(store: EdgeStore, model: Model, space: Space, say: Say, backend: str | Backend | None) -> None:
    started = time.perf_counter()
    pushed = push(store, model, space=space, backend=backend)
    rate = pushed.written / (time.perf_counter() - started)
    if space == SPACES_SHOWN[0]:
        say("\n3. push: write the codes into sparse fields. The dense vectors do not change.")
    norms = "their own norms" if space == "sparse" else "the norms of their reconstructions"
    say(f"   {pushed.field}: {pushed.written:,} codes, divided by {norms}, {rate:,.0f} per second")


def _compared(store: EdgeStore, model: Model, data: DemoData, say: Say, backend: str | Backend | None) -> None:
    say("\n4. search --store: the nearest neighbours of three queries, in the dense vectors and in the codes:")
    queries = data.queries.astype(np.float32)
    columns: list[tuple[str, list[Found]]] = [("dense field", store.query_dense(queries, TOP))]
    for space in SPACES_SHOWN:
        hits = search_store(store, model, queries, TOP, space=space, backend=backend)
        columns += [(f"codes, {space}", hits)]
    for query in shown_queries(data.query_names):
        say(f"\n   {short(data.query_names[query], 76)}")
        ranks = {"rank": [str(rank + 1) for rank in range(TOP)]}
        cells = {title: [_cell(hits[query], rank, data) for rank in range(TOP)] for title, hits in columns}
        say(markdown(ranks | cells, right=False))
    say(f"\n   For all {len(queries)} queries and 10 neighbours each:")
    for space in SPACES_SHOWN:
        compared = compare(store, model, queries, 10, space=space, backend=backend)
        say(
            f"     codes, {space:<9} find {compared.overlap:.1%} of the dense neighbours, "
            f"in {1e3 * compared.codes_seconds:.3f} ms per query (dense field: {1e3 * compared.dense_seconds:.3f} ms)"
        )
    say(
        "   sparse: the cosine of two codes. expanded: about the cosine of the dense query and the reconstruction.\n"
        "   The expanded query is a sparse vector as well, so any database for sparse vectors can search with it."
    )


def _cell(hits: Found, rank: int, data: DemoData) -> str:
    if rank >= len(hits.ids):
        return ""
    name = data.item_names[int(hits.ids[rank])].split(" (")[0].split(", ")[0]
    return f"{hits.scores[rank]:.3f} {short(name, WIDTH)}"


def _sizes(store: EdgeStore, model: Model, say: Say) -> None:
    say("\n5. Bytes of each field on disk:\n")
    fields = {space: store.sizes(serving(model, None, space, False, None).field) for space in SPACES_SHOWN}
    dense = fields[SPACES_SHOWN[0]]["dense"]
    say(f"     dense field       {dense:>12,} bytes")
    for space, sizes in fields.items():
        say(f"     codes, {space:<10} {sizes['codes']:>12,} bytes, {dense / sizes['codes']:.1f} times smaller")
    each = fields[SPACES_SHOWN[0]]["codes"] / store.count()
    say(f"   The stored vectors are counted, {each:.0f} bytes per code. The engine builds no index of so few items.")
    say(f"   With the index of a larger database, a code takes {INDEXED} bytes (examples/pages/stores.md).")
