"""Relevance pairs from relations that do not come from the embeddings, to judge search and to train for it.

    python examples/benchmarks/relevance.py wordnet -o folder
        items.npy, queries.npy, pairs.npy and related.npy from the WordNet entries that ship with the package
    python examples/benchmarks/relevance.py debian relations.npz split.npz -o folder
        pairs.npy and related.npy from the relations of Debian packages

`pairs.npy` is for ``compressae-ref evaluate --relevance pairs.npy``. A pair is the row of a query, the row of an item,
and a grade. `related.npy` has the same relations between two items, each pair once. It is for ``compressae-ref train
items.npy --relevance related.npy``. WordNet: grade 1 for any relation between the two entries
(hypernym, holonym, similar, antonym, derived form), in either direction. Debian: grade 2 for the same source package,
grade 1 if the query's package depends on, recommends or suggests the item's package.

relations.npz holds `source` (n,), and `depends` and `recsug` as `NAME_indptr` (n + 1,) and `NAME_indices`. split.npz
holds the row numbers `query` and `train`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from compressae_ref.demo_data import read_demo_file

SAME_SOURCE, RELATED = 2, 1


def debian(relations: dict[str, np.ndarray], query: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (m, 3) of packages: query row, item row, grade; and pairs of items."""
    n = len(relations["source"])
    of_queries, of_items = (_of_packages(relations, asked, train) for asked in (query, train))
    return _pairs(of_queries, query, train, n), _between_items(of_items, train, n)


def _of_packages(
    relations: dict[str, np.ndarray], asked: np.ndarray, train: np.ndarray
) -> list[tuple[np.ndarray, int]]:
    """Related rows (2, m) with their grades: items of the same source as a row that is asked for, and all links."""
    source = relations["source"]
    links = [np.stack(_linked(relations, name)) for name in ("depends", "recsug")]
    by_source = np.argsort(source[train], kind="stable")
    of_items = source[train][by_source]
    first, last = (np.searchsorted(of_items, source[asked], side) for side in ("left", "right"))
    same = [train[by_source[a:b]] for a, b in zip(first, last, strict=True)]
    siblings = np.stack([np.repeat(asked, last - first), np.concatenate(same)])
    return [(siblings, SAME_SOURCE), *((rows, RELATED) for rows in links)]


def wordnet(archive: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Items, queries, pairs (m, 3) of entries: query row, item row, grade; and pairs of items."""
    x, query = archive["embeddings"], archive["query"].astype(np.int64)
    train = np.setdiff1d(np.arange(len(x)), query)
    one_way = np.stack([archive["rel_src"], archive["rel_dst"]]).astype(np.int64)
    both_ways = np.concatenate([one_way, one_way[::-1]], axis=1)
    related = [(both_ways, RELATED)]
    return x[train], x[query], _pairs(related, query, train, len(x)), _between_items(related, train, len(x))


def _linked(relations: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Each package, and each package that it names in this relation."""
    indptr, indices = relations[f"{name}_indptr"], relations[f"{name}_indices"]
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices


def _between_items(related: list[tuple[np.ndarray, int]], train: np.ndarray, n: int) -> np.ndarray:
    """Pairs of two different items, each in one direction."""
    ordered = [(np.sort(rows[:, rows[0] != rows[1]], axis=0), grade) for rows, grade in related]
    return _pairs(ordered, train, train, n)


def _pairs(related: list[tuple[np.ndarray, int]], query: np.ndarray, train: np.ndarray, n: int) -> np.ndarray:
    """Related rows (2, m) of the whole set → pairs with their highest grade, ordered by query and item."""
    query_row, item_row = np.full(n, -1), np.full(n, -1)
    query_row[query], item_row[train] = np.arange(len(query)), np.arange(len(train))
    numbered = [
        np.stack([query_row[a], item_row[b], np.full(len(a), -grade)]) for (a, b), grade in related
    ]  # −grade: the highest grade of a pair sorts first
    pairs = np.concatenate(numbered, axis=1)
    pairs = np.unique(pairs[:, (pairs[:2] >= 0).all(axis=0)], axis=1)
    is_first = np.append(True, (np.diff(pairs[:2], axis=1) != 0).any(axis=0))
    return (pairs[:, is_first] * [[1], [1], [-1]]).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("wordnet", "debian"))
    parser.add_argument("files", nargs="*", metavar="FILE", help="debian: relations.npz split.npz")
    parser.add_argument("-o", "--output", required=True, help="folder to write to")
    options = parser.parse_args()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    if options.data == "debian":
        if len(options.files) != 2:
            parser.error(f"debian: expected relations.npz and split.npz, got {len(options.files)} files")
        relations, split = (dict(np.load(path)) for path in options.files)
        pairs, related = debian(relations, split["query"], split["train"])
    else:
        items, queries, pairs, related = wordnet(read_demo_file("small_wordnet.npz"))
        np.save(folder / "items.npy", items)
        np.save(folder / "queries.npy", queries)
    np.save(folder / "pairs.npy", pairs)
    np.save(folder / "related.npy", related)
    print(f"{len(pairs):,} pairs for {len(np.unique(pairs[:, 0])):,} queries in {folder / 'pairs.npy'}")
    print(f"{len(related):,} pairs of items in {folder / 'related.npy'}")


if __name__ == "__main__":
    main()
