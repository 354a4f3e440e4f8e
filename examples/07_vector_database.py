"""Codes in a vector database: train on its vectors, write the codes beside them, and query both.

Run ``pip install 'compressae-ref[edge]'``, then ``python examples/07_vector_database.py``. It uses the demo embeddings
and Qdrant Edge, which runs in this process on a temporary folder. Other databases need only another address instead
of ``edge:...`` (examples/pages/stores.md).

Equations: E15, E23, R10, R13. Pages of spec/: compressae.md, file-format.md. Chapter: examples/learn/5_search.py.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress

import numpy as np

from compressae_ref import BackendError, Index, fit
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.stores.contract import Store, open_store
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.qdrant_edge import create
from compressae_ref.stores.query import compare, search_store


def fill(folder: str, data: DemoData) -> str:
    """Create a database with dense vectors and names, and return its address."""
    store = create(folder, "dense", data.items.shape[1])
    store.insert(range(len(data.items)), data.items.astype(np.float32), [{"name": name} for name in data.item_names])
    store.close()
    return f"edge:{folder}"


def interrupted_push(store: Store, model: object) -> None:
    """Interrupt a push; the next push resumes where it stopped."""

    def stop(done: int, total: int) -> None:
        if done > total // 3:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        push(store, model, space="expanded", rows=500, progress=stop)
    pushed = push(store, model, space="expanded", rows=500)
    print(f"   interrupted after {pushed.before:,} items; the next push wrote the other {pushed.written:,}")


def main() -> None:
    data = load_demo_data()
    queries = data.queries.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(fill(f"{folder}/shard", data))
        model = fit(embeddings_of(store), n_latents=1024, k=32, steps=150, batch_size=256).model
        pushed = push(store, model)
        print(f"1. Codes beside the {store.count():,} dense vectors, in the field {pushed.field}")
        interrupted_push(store, model)
        print("\n2. Share of the dense results that codes find; scores equal to those of this package's exact search")
        codes = model.encode(np.asarray(embeddings_of(store)))
        for space in ("sparse", "expanded"):
            overlap = compare(store, model, queries, 10, space=space).overlap
            exact = Index.build(codes, space=space, model=model).search(queries, 10).scores
            found = [hits.scores for hits in search_store(store, model, queries, 10, space=space)]
            print(f"   {space:<9} {overlap:.1%}  {np.allclose(found, exact, atol=1e-6)}")
        store.close()


if __name__ == "__main__":
    try:
        main()
    except BackendError as error:
        sys.exit(str(error))
