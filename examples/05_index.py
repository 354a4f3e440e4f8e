"""An index that changes: add and remove items, filter, re-rank, save and map. Search stays exact throughout.

Run it with ``python examples/05_index.py``. It uses the demo embeddings and takes seconds.

Equations: E10, E15, E17, R10, R13. Pages of spec/: compressae.md, file-format.md. Chapter: examples/learn/5_search.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressae_ref import Index, Model, fit
from compressae_ref.demo_data import DemoData, load_demo_data


def keys(data: DemoData) -> dict[str, str]:
    """Return string ids and the name of each item."""
    return {f"word-{row:04}": name.split(" (")[0].split(", ")[0] for row, name in enumerate(data.item_names)}


def update_and_search(data: DemoData, model: Model) -> Index:
    """Build an index, add and remove items, filter and re-rank."""
    names, codes = keys(data), model.encode(data.items)
    ids = list(names)
    row = next(row for row, name in enumerate(data.query_names) if "butter" in name.split(" (")[0])

    def show(title: str, **settings: object) -> str:
        found, scores = index.search(data.queries[row : row + 1], 4, **settings)
        results = [f"{names[item]} {score:.3f}" for item, score in zip(found[0], scores[0], strict=True)]
        print(f"   {title:<25}{', '.join(results)}")
        return found[0, 0]

    index = Index.build(codes[:3000], model=model, ids=ids[:3000])
    index.add(codes[3000:], ids[3000:])
    print(f"1. {len(index):,} items, 1,010 of them added later. The best for 'butter', with scores:")
    best = show("a code of 32 entries")
    show("query of 128 entries", query_k=128)
    show("50 best, re-ranked", rescore=50)  # in asymmetric space
    show("among every tenth item", allowed=ids[::10])
    index.remove([best])
    show(f"without {names[best]}")
    return index


def save_and_map(index: Index, model: Model, data: DemoData) -> None:
    """Save and map the index, and compare it with a new index of the remaining items."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.npz"
        index.save(path)
        mapped = Index.load(path, model=model, check=False)  # arrays are copied only when the index changes
        rows = [int(item_id.removeprefix("word-")) for item_id in index.ids]
        rebuilt = Index.build(model.encode(data.items)[rows], model=model, ids=index.ids)
        results = [variant.search(data.queries, 100) for variant in (index, mapped, rebuilt)]
        size = path.stat().st_size
    same = all(np.array_equal(a, b) for hits in results[1:] for a, b in zip(results[0], hits, strict=True))
    print(f"\n2. Saved in {size:,} bytes. Memory, mapped file and rebuilt index give the same bits: {same}")


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    save_and_map(update_and_search(data, model), model, data)


if __name__ == "__main__":
    main()
