"""Load the embeddings that are included in the package."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats


class DemoData(NamedTuple):
    """4,510 WordNet entries: dense vectors of all-MiniLM-L6-v2, split into items and held-out queries."""

    items: Floats
    """(4010, 384) float16"""
    queries: Floats
    """(500, 384) float16"""
    item_names: list[str]
    query_names: list[str]


def load_demo_data() -> DemoData:
    """Read the embeddings and names; ``small_wordnet.LICENSE.txt`` is their licence."""
    file = resources.files("compressae_ref.demo_data") / "small_wordnet.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        vectors, queries = archive["embeddings"], archive["query"].astype(np.int64)
        names = _lines(archive["names"]), _lines(archive["gloss"])
    labels = [f"{name} ({gloss})" for name, gloss in zip(*names, strict=True)]
    items = np.setdiff1d(np.arange(len(vectors)), queries)
    return DemoData(vectors[items], vectors[queries], [labels[i] for i in items], [labels[q] for q in queries])


def _lines(encoded: NDArray[np.uint8]) -> list[str]:
    return encoded.tobytes().decode().split("\n")
