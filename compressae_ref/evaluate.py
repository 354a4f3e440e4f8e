"""One table of what compression costs: recall against the dense neighbours beside bytes per item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import as_embeddings, as_whole
from compressae_ref.data import RowSource, as_source, read_all
from compressae_ref.errors import DomainError
from compressae_ref.index import search
from compressae_ref.metrics import bytes_per_row, recall_at
from compressae_ref.model import Model, aux_k, unit_rows
from compressae_ref.neighbours import nearest_dense
from compressae_ref.ranking import Hits
from compressae_ref.spaces import Space

TOPS = (10, 100)
"""Recall is reported among so many neighbours."""


@dataclass(frozen=True)
class Row:
    """One way of storing the items and asking for them."""

    method: str
    """"dense", "PCA", or a space of the codes"""
    k: int | None
    """stored entries, for codes"""
    query_k: int | None
    """entries of a query's code, where queries are codes"""
    bytes_per_item: int
    compression: float
    """bytes of a dense float32 item divided by bytes_per_item"""
    recall: dict[int, float]
    """for each number of neighbours: the share of the dense neighbours that is found"""

    def as_json(self) -> dict[str, Any]:
        """The row as plain numbers and strings."""
        return asdict(self) | {"recall": {str(top): value for top, value in self.recall.items()}}


def evaluate(
    model: Model,
    items: RowSource,
    queries: Any,
    *,
    ks: Sequence[int] | None = None,
    tops: Sequence[int] = TOPS,
    backend: str | Backend | None = None,
) -> list[Row]:
    """Recall and bytes of dense vectors, of PCA, and of codes in every space and at several k from one encoding.

    Parameters
    ----------
    items : (n, d) embeddings to search among
    queries : (n_q, d) embeddings to ask with; not rows of ``items``, or each would find itself
    ks : stored entries to compare, at most the model's own k; None: that k, its half and its quarter
    tops : numbers of neighbours, at most n

    Notes
    -----
    In sparse space each k is asked twice, with queries of k entries and of min(4k, h): a query's code is not stored,
    and a longer one finds more. The truth is the exact dense neighbours by cosine, in float32. PCA keeps as many
    float32 components as fit into the bytes of a code, of the uncentred second moments, and compares by cosine.
    """
    source, kernels = as_source(items, "items"), get_backend(backend)
    ks = sorted({model.k, max(model.k // 2, 1), max(model.k // 4, 1)} if ks is None else set(ks), reverse=True)
    if not ks or ks[0] > model.k or ks[-1] < 1:
        raise DomainError(f"k: expected numbers from 1 to the model's k = {model.k}, got {ks}")
    tops = [as_whole(top, "top") for top in tops]
    if not tops or max(tops) > len(source):
        raise DomainError(f"top: expected at most as many neighbours as the {len(source)} items, got {tops}")
    queries = as_embeddings(as_source(queries, "queries"), name="queries", d=model.params.d)
    return list(_rows(model, source, queries, ks, tops, kernels))


def _rows(
    model: Model, items: RowSource, queries: Floats, ks: Sequence[int], tops: Sequence[int], backend: Backend
) -> Iterator[Row]:
    dense = unit_rows(read_all(items, d=model.params.d), np.float32)
    truth = nearest_dense(queries, dense, max(tops))

    def row(method: str, hits: Hits, stored_bytes: int, k: int | None = None, query_k: int | None = None) -> Row:
        recall = {top: recall_at(hits.ids[:, :top], truth.ids[:, :top]) for top in tops}
        return Row(method, k, query_k, stored_bytes, bytes_per_row(dense) / stored_bytes, recall)

    yield row("dense", truth, bytes_per_row(dense))
    codes = model.encode(dense, backend=backend)
    components = principal_components(dense)
    for k in ks:
        kept = codes.truncate(k)
        stored_bytes = bytes_per_row(kept)
        m = min(stored_bytes // dense.itemsize, len(components))
        projected = [unit_rows(x, np.float32) @ components[:m].T for x in (queries, dense)]
        yield row("PCA", nearest_dense(projected[0], projected[1], max(tops)), m * dense.itemsize)
        for space, query_k in _ways_to_ask(k, codes.n_latents):
            hits = search(queries, kept, max(tops), space=space, model=model, query_k=query_k, backend=backend)
            yield row(space, hits, stored_bytes, k, query_k)


def _ways_to_ask(k: int, n_latents: int) -> list[tuple[Space, int | None]]:
    """Spaces, and how long the code of a query is in them."""
    in_sparse: list[tuple[Space, int | None]] = [("sparse", query_k) for query_k in sorted({k, aux_k(k, n_latents)})]
    return [*in_sparse, ("reconstructed", k), ("asymmetric", None)]


def principal_components(x_unit: Floats) -> Floats:
    """Directions (d, d) of falling uncentred second moment Σᵢ ⟨x̄ᵢ, c⟩², as rows: the first m keep most of it."""
    moments = x_unit.T.astype(np.float64) @ x_unit
    return np.linalg.eigh(moments)[1].T[::-1].astype(x_unit.dtype)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, dense first."""
    tops = list(rows[0].recall)
    lines = [
        ["items stored as", "k", "query k", "bytes/item", "smaller by", *(f"recall@{top}" for top in tops)],
        ["---", "---:", "---:", "---:", "---:", *("---:" for _ in tops)],
    ]
    for row in rows:
        ks = ["" if k is None else str(k) for k in (row.k, row.query_k)]
        recalls = (f"{row.recall[top]:.3f}" for top in tops)
        lines.append(
            [_LABELS.get(row.method, row.method), *ks, str(row.bytes_per_item), f"{row.compression:.1f}×", *recalls]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(_aligned(line, widths) for line in lines)


_LABELS = {
    "dense": "dense vectors",
    "PCA": "PCA, as many bytes",
    "sparse": "codes, sparse space",
    "reconstructed": "codes, reconstructed space",
    "asymmetric": "codes, asked with dense queries",
}


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    if line[0] == "---":
        cells = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    else:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
    return "| " + " | ".join(cells) + " |"
