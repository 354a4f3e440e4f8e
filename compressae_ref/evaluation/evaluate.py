"""Measure what compression costs: recall of the dense neighbours, nDCG and bytes, for many ways to store items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_integer, as_k, as_zero_rows
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.baselines import baselines as all_baselines
from compressae_ref.evaluation.baselines import by_components, int8, principal_components
from compressae_ref.evaluation.encoded_items import EncodedItems
from compressae_ref.evaluation.judge import Find, Judge, Row, Way
from compressae_ref.extensions.fitted_codes import encode_fitted
from compressae_ref.extensions.packed_codes import as_bits, pack
from compressae_ref.extensions.residual_codes import encode_residual
from compressae_ref.extensions.residual_fit import as_bytes
from compressae_ref.files.relevance import as_relevance, renumbered
from compressae_ref.metrics import bytes_per_row
from compressae_ref.model import Model, aux_k
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import best_products, nearest_dense, unit_or_zero
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.residual_index import ResidualIndex
from compressae_ref.retrieval.spaces import EXPANSION, as_space
from compressae_ref.row_source import NonzeroRows, RowSource, as_source, read_all

TOPS = (10, 100)
"""Numbers of neighbours for which recall is reported."""

RESCORED = 10
"""Two-stage search: candidates from sparse space for each item to be returned."""


def evaluate(
    model: Model,
    items: RowSource,
    queries: Any,
    *,
    ks: Sequence[int] | None = None,
    tops: Sequence[int] = TOPS,
    bits: Sequence[int] | None = None,
    relevance: Any = None,
    baselines: bool = False,
    without: Sequence[str] = (),
    fitted: bool = False,
    residual: Sequence[int] = (),
    zero_rows: ZeroRows = "error",
    progress: Callable[[Row], None] | None = None,
    hand_over: Callable[[EncodedItems], None] | None = None,
    backend: str | Backend | None = None,
) -> list[Row]:
    """Return recall and bytes of dense vectors, int8, PCA, and of codes in every space and at several k.

    Parameters
    ----------
    items : (n, d) embeddings to search among
    queries : (n_q, d) embeddings; not rows of ``items``, because each row is its own nearest neighbour
    ks : stored entries to compare; None: the model's own k, its half and its quarter
    tops : numbers of neighbours, at most n
    bits : bits per value of packed codes, plain and refined; None: no packed codes, or 5 bits with baselines
    relevance : (m, 2 or 3) integers for nDCG: row of a query, row of a relevant item, grade (default 1)
    zero_rows : "error"; "empty" for codes of zeros of zero items; "skip" to leave zero items out. Both leave zero
        queries out, because these have no neighbours. Row numbers in ``relevance`` count all rows; pairs of rows that
        are left out are ignored
    baselines : whether to add other ways to store dense vectors, all ways to search codes, and the time of each
    without : baselines that are left out, of "PQ", "OPQ", "RQ" and "LSQ"; OPQ and LSQ take longest
    fitted : whether to add codes that are fitted to the items as anchors
    residual : numbers of bytes, for each of which residual codes are added; the bytes of their codec do not count
    progress : called with each row as soon as it is measured
    hand_over : called at the end with the items and their codes (`encoded_items.EncodedItems`), for further use

    Notes
    -----
    In sparse space each k is searched twice, with queries of k and of min(4k, h) entries: a query's code is not
    stored, and a longer one has higher recall. The truth is the exact dense neighbours by cosine, in float32. PCA uses
    the uncentred second moments, keeps as many float32 components as fit into the bytes of a code, and compares by
    cosine. Queries per second are those of one call with all queries on all processors, after a call to warm up.
    """
    source, kernels, h = as_source(items, "items"), get_backend(backend), model.params.n_latents
    queries, zero_rows, d = as_source(queries, "queries"), as_zero_rows(zero_rows), model.params.d
    sizes = len(queries), len(source)
    if zero_rows == "skip":
        source = NonzeroRows(source, name="items", d=d)
    ks = sorted({model.k, max(model.k // 2, 1), max(model.k // 4, 1)} if ks is None else set(ks), reverse=True)
    if not ks:
        raise DomainError("expected at least one number, got none", argument="k")
    ks = [as_k(k, h) for k in ks]
    tops = [as_integer(top, "top") for top in tops]
    if not tops or max(tops) > len(source):
        raise DomainError(f"expected at most as many neighbours as the {len(source)} items, got {tops}", argument="top")
    if zero_rows != "error":
        queries = NonzeroRows(queries, name="queries", d=d)
    pairs = None if relevance is None else renumbered(as_relevance(relevance, *sizes), queries, source)
    queries = as_embeddings(queries, name="queries", d=d)
    bits = ((5,) if baselines else ()) if bits is None else sorted(set(map(as_bits, bits)), reverse=True)
    dense = unit_or_zero(read_all(source, d=d, zeros=zero_rows == "empty"))
    truth = nearest_dense(queries, dense, max(tops)).ids
    judge = Judge(queries, tops, truth, bytes_per_row(dense), pairs, baselines)
    encoded, rows = EncodedItems(model, dense, max(ks), kernels), []
    for size in residual:
        as_bytes(size, model)
    of_residual_codes = (residual_row(model, dense, judge, size, kernels) for size in sorted(set(residual)))
    for row in chain(_rows(encoded, judge, ks, bits, fitted, without), of_residual_codes):
        rows.append(row)
        if progress is not None:
            progress(row)
    if hand_over is not None:
        hand_over(encoded)
    return rows


def _rows(
    encoded: EncodedItems, judge: Judge, ks: Sequence[int], bits: Sequence[int], fitted: bool, without: Sequence[str]
) -> Iterator[Row]:
    model, dense, backend = encoded.model, encoded.x, encoded.backend
    everything, top, h = judge.timed, judge.most, model.params.n_latents
    x_q = unit_rows(judge.queries, np.float32)
    yield judge.row("dense", judge.dense_bytes, lambda: best_products(x_q, dense, top).ids)
    codes = encoded.codes(max(ks))
    if everything:
        none = [codes[:0].truncate(k) for k in ks]
        packed_sizes = [pack(each, b).bytes_per_item for each in none for b in bits]
        for one in all_baselines(dense, list(map(bytes_per_row, none)), packed_sizes, without):
            yield judge.row(one.method, one.bytes_per_item, lambda one=one: one.search(x_q, top))  # type: ignore[misc]
    else:
        of_integers, components = int8(dense), principal_components(dense)
        yield judge.row(of_integers.method, of_integers.bytes_per_item, lambda: of_integers.search(x_q, top))
    for k in ks:
        kept = codes.truncate(k)
        if not everything:
            pca = by_components("PCA", dense, components[: bytes_per_row(kept) // dense.itemsize])
            yield judge.row(pca.method, pca.bytes_per_item, lambda: pca.search(x_q, top))  # noqa: B023  called at once
        yield from _asked(judge, model, kept, Way(k), _ways_to_ask(Way(k), h, everything), backend)
        if fitted:
            moved = encode_fitted(dense, model, dense, k, zero_rows="empty", backend=backend)
            for way in (Way(k, fitted=True), *(Way(k, each, fitted=True) for each in bits)):
                yield from _asked(judge, model, moved, way, _ways_to_ask(way, h, everything), backend)
        if bits or everything:
            refined = encoded.refined(k)
        if everything:
            yield from _asked(judge, model, refined, Way(k, None, True), [("asymmetric", None)], backend)
        for each in bits:
            for way, stored in ((Way(k, each), kept), (Way(k, each, True), refined)):
                yield from _asked(judge, model, stored, way, _ways_to_ask(way, h, everything), backend)
        if k != model.k:
            encoded.forget(k)


def residual_row(model: Model, dense: Floats, judge: Judge, n_bytes: int, backend: Backend | None = None) -> Row:
    """Return the row of residual codes of so many bytes, which are searched in two stages."""
    codes = encode_residual(dense, model, n_bytes, zero_rows="empty", backend=backend)
    index = ResidualIndex(codes, model, backend=backend)
    return judge.row(
        "residual", codes.bytes_per_item, lambda: index.search(judge.queries, judge.most).ids, Way(codes.codec.k)
    )


def _ways_to_ask(way: Way, h: int, everything: bool) -> list[tuple[str, int | None]]:
    """Return the methods to search with, and the entries of a query in each.

    Refining lowers recall in sparse space and raises it in the others; fitting raises it in both. Packing costs little.
    """
    k, longer = way.k, aux_k(way.k, h)
    expanded = ("expanded", min(EXPANSION * k, h))
    if way.refined:
        return [("reconstructed", k), ("asymmetric", None), expanded]
    if way.bits is not None:
        return [("sparse", longer)] if way.fitted else [("sparse", longer), ("two-stage", longer)]
    sparse: list[tuple[str, int | None]] = [*dict.fromkeys([("sparse", k), ("sparse", longer)])]
    if way.fitted:
        return [*sparse, ("asymmetric", None)]
    usual = [*sparse, ("reconstructed", k), ("asymmetric", None)]
    return [*usual, ("split", longer), expanded, ("two-stage", longer)] if everything else usual


def _asked(
    judge: Judge, model: Model, codes: Codes, way: Way, methods: Sequence[tuple[str, int | None]], backend: Backend
) -> Iterator[Row]:
    stored_bytes = bytes_per_row(codes)
    if way.bits is not None:
        packed = pack(codes, way.bits, backend=backend)
        codes, stored_bytes = packed.unpack(backend=backend), packed.bytes_per_item
    for method, query_k in methods:
        find = _search(method, model, codes, judge.queries, query_k, judge.most, backend)
        yield judge.row(method, stored_bytes, find, way, query_k)


def _search(
    method: str, model: Model, codes: Codes, x_q: Floats, query_k: int | None, top: int, backend: Backend
) -> Find:
    """Return a search among codes. The index is built now; queries are encoded in each call."""
    if method == "split":
        split = Index.build(codes.split_signs(), backend=backend)
        return lambda: split.search(model.encode(x_q, query_k, backend=backend).split_signs(), top).ids
    space = as_space("sparse" if method == "two-stage" else method)
    index = Index.build(codes, space=space, model=model, backend=backend)
    rescore = RESCORED * top if method == "two-stage" else None
    return lambda: index.search(x_q, top, query_k=query_k, rescore=rescore).ids
