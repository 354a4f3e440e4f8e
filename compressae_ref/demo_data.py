"""Load the demo data, which are a package of their own: ``examples/demo_data`` in a clone of the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.optional import data_folder


class DemoData(NamedTuple):
    """4,510 WordNet entries: dense vectors of all-MiniLM-L6-v2, split into items and held-out queries."""

    items: Floats
    """(4010, 384) float16"""
    queries: Floats
    """(500, 384) float16"""
    item_names: list[str]
    query_names: list[str]
    relevance: NDArray[np.int64]
    """(m, 2) queries and items that WordNet relates, as row numbers"""


class Addresses(NamedTuple):
    """9,335 paragraphs of the annual messages of US presidents, 1790 to 2026: vectors of all-MiniLM-L6-v2 and texts."""

    vectors: Floats
    """(9335, 384) float16, not unit rows"""
    texts: list[str]
    """the first sentences of each paragraph, at most 400 characters"""
    dates: NDArray[np.datetime64]
    """(9335,) datetime64[D], ascending: when the message was given"""
    presidents: list[str]
    """family names, which several presidents may share"""
    parties: list[str]


def load_demo_data() -> DemoData:
    """Read the embeddings and names; ``small_wordnet.LICENSE.txt`` is their licence."""
    archive = read_demo_file("small_wordnet.npz")
    vectors, queries = archive["embeddings"], archive["query"].astype(np.int64)
    names = _lines(archive["names"]), _lines(archive["gloss"])
    labels = [f"{name} ({gloss})" for name, gloss in zip(*names, strict=True)]
    items = np.setdiff1d(np.arange(len(vectors)), queries)
    relevance = _between(queries, items, archive["rel_src"], archive["rel_dst"])
    return DemoData(
        vectors[items], vectors[queries], [labels[i] for i in items], [labels[q] for q in queries], relevance
    )


def _between(
    queries: NDArray[np.int64], items: NDArray[np.int64], a: NDArray[Any], b: NDArray[Any]
) -> NDArray[np.int64]:
    """Return the related pairs of a query and an item, in either direction, as ascending row numbers of both."""
    related = np.concatenate([np.stack([a, b], axis=1), np.stack([b, a], axis=1)]).astype(np.int64)
    between = related[np.isin(related[:, 0], queries) & np.isin(related[:, 1], items)]
    rows = np.stack([np.searchsorted(queries, between[:, 0]), np.searchsorted(items, between[:, 1])], axis=1)
    return np.unique(rows, axis=0)


def load_addresses() -> Addresses:
    """Read the dated paragraphs; ``addresses.SOURCE.txt`` says where they come from and how they were chosen."""
    archive = read_demo_file("addresses.npz")
    vectors = archive["vectors"] * archive["scales"][:, None]
    texts, presidents, parties = (_lines(archive[name]) for name in ("texts", "presidents", "parties"))
    return Addresses(vectors, texts, archive["dates"], presidents, parties)


def demo_folder() -> Path:
    """Return the folder of the demo data; BackendError if they are not installed."""
    return data_folder("compressae_ref_demo", "examples/demo_data/compressae_ref_demo", "demo data")


def read_demo_file(name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one file of the demo data by name."""
    with np.load(demo_folder() / name, allow_pickle=False) as archive:
        return dict(archive)


def _lines(encoded: NDArray[np.uint8]) -> list[str]:
    return encoded.tobytes().decode().split("\n")
