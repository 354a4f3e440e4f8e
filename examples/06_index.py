"""An index that changes: add and remove items, filter, re-rank, save and map. Search stays exact throughout.

Run it with ``python examples/06_index.py``. It uses the demo embeddings and takes seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressae_ref import Index, Model, fit
from compressae_ref.demo_data import DemoData, load_demo_data


def show(title: str, index: Index, query: np.ndarray, names: dict[str, str], **settings: object) -> None:
    ids, scores = index.search(query, 4, **settings)
    results = ", ".join(f"{names[item_id]} {score:.3f}" for item_id, score in zip(ids[0], scores[0], strict=True))
    print(f"   {title:<28}{results}")


def keys(data: DemoData) -> dict[str, str]:
    """Return string ids and the name of each item."""
    return {f"word-{row:04}": name.split(" (")[0].split(", ")[0] for row, name in enumerate(data.item_names)}


def update_and_search(data: DemoData, model: Model) -> Index:
    """Build an index, add and remove items, filter and re-rank."""
    names, codes = keys(data), model.encode(data.items)
    ids = list(names)
    index = Index.build(codes[:3000], model=model, ids=ids[:3000])
    index.add(codes[3000:], ids[3000:])
    row = next(row for row, name in enumerate(data.query_names) if "butter" in name.split(" (")[0])
    query = data.queries[row : row + 1]
    print(f"1. {len(index):,} items, 1,010 of them added later. Query: {data.query_names[row][:40]} ...\n")
    show("four best items", index, query, names)
    show("query with 128 entries", index, query, names, query_k=128)
    show("50 best, re-ranked", index, query, names, rescore=50)
    best = index.search(query, 1).ids[0]
    show("filter: every tenth item", index, query, names, allowed=ids[::10])
    index.remove(best)
    show(f"without {names[best[0]]}", index, query, names)
    return index


def save_and_map(index: Index, model: Model, data: DemoData) -> None:
    """Save and map the index, and compare it with a new index of the remaining items."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.npz"
        index.save(path)
        mapped = Index.load(path, model=model, check=False)
        print(f"\n2. Saved in {path.stat().st_size:,} bytes and mapped. Arrays are copied only when the index changes.")
        rows = [int(item_id.removeprefix("word-")) for item_id in index.ids]
        rebuilt = Index.build(model.encode(data.items)[rows], model=model, ids=index.ids)
        results = [variant.search(data.queries, 100) for variant in (index, mapped, rebuilt)]
    same = all(np.array_equal(a, b) for hits in results[1:] for a, b in zip(results[0], hits, strict=True))
    outcome = "the same, to the bit" if same else "DIFFERENT"
    print(f"   500 queries with 100 results each: in memory, mapped and rebuilt, the results are {outcome}.")


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    save_and_map(update_and_search(data, model), model, data)


if __name__ == "__main__":
    main()
