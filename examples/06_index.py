"""An index that changes: items come and go, searches are filtered, the file is mapped, and all of it stays exact.

Run it with ``python examples/06_index.py``. It uses the embeddings that come with the package, and takes seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressae_ref import Index, Model, fit
from compressae_ref.demo_data import DemoData, load_demo_data


def show(title: str, index: Index, query: np.ndarray, names: dict[str, str], **settings: object) -> None:
    ids, scores = index.search(query, 4, **settings)
    found = ", ".join(f"{names[each]} {score:.3f}" for each, score in zip(ids[0], scores[0], strict=True))
    print(f"   {title:<28}{found}")


def keys(data: DemoData) -> dict[str, str]:
    """Ids of our own, and what they stand for."""
    return {f"word-{row:04}": name.split(" (")[0].split(", ")[0] for row, name in enumerate(data.item_names)}


def live(data: DemoData, model: Model) -> Index:
    """Build, add, remove, filter, rescore."""
    names, codes = keys(data), model.encode(data.items)
    ids = list(names)
    index = Index.build(codes[:3000], model=model, ids=ids[:3000])
    index.add(codes[3000:], ids[3000:])
    place = next(place for place, name in enumerate(data.query_names) if "butter" in name.split(" (")[0])
    query = data.queries[place : place + 1]
    print(f"1. {len(index):,} items, 1,010 of them added later. Asked for {data.query_names[place][:40]} ...\n")
    show("the four best", index, query, names)
    show("with a longer query", index, query, names, query_k=128)
    show("of 50, the best when dense", index, query, names, rescore=50)
    best = index.search(query, 1).ids[0]
    show("only of every tenth", index, query, names, allowed=ids[::10])
    index.remove(best)
    show(f"without {names[best[0]]}", index, query, names)
    return index


def keep(index: Index, model: Model, data: DemoData) -> None:
    """Save, map, and compare with an index that is built anew of what is left."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.npz"
        index.save(path)
        mapped = Index.load(path, model=model)
        print(f"\n2. Saved in {path.stat().st_size:,} bytes, and mapped: nothing is copied until something changes.")
        left = [int(each.removeprefix("word-")) for each in index.ids]
        anew = Index.build(model.encode(data.items)[left], model=model, ids=index.ids)
        results = [each.search(data.queries, 100) for each in (index, mapped, anew)]
    same = all(np.array_equal(a, b) for found in results[1:] for a, b in zip(results[0], found, strict=True))
    outcome = "the same, to the bit" if same else "DIFFERENT"
    print(f"   500 queries, 100 results each: as it was, as mapped and as built anew they are {outcome}.")


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    keep(live(data, model), model, data)


if __name__ == "__main__":
    main()
