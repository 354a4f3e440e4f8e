"""Other ways to store dense items in few bytes, to compare with: each has a size and a search."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.evaluation.quantisers import Search, blocks, rotated, some_rows, transform_coded
from compressae_ref.optional import install_command
from compressae_ref.retrieval.brute_force import best_products, unit_or_zero

RESCORED = 4
"""Binary and int8 codes: candidates to re-rank, for each item to be returned."""

CENTROIDS = 256
"""Centroids for each part of a row in product quantisation: one byte. Training needs at least as many rows."""

FEWEST = 1
"""Rows for each centroid below which faiss prints a warning, one for each of hundreds of clusterings."""

TRAINED = 10_000
"""Rows on which residual and additive quantisers are trained, at most: their training is slow."""

MOST_CODEBOOKS = 8
"""Codebooks of a residual or additive quantiser that are searched together; with more bytes a row is split."""


class Baseline(NamedTuple):
    """One way to store items."""

    method: str
    bytes_per_item: int
    search: Search


def baselines(
    x_unit: Floats, sizes: Sequence[int], quantised_sizes: Sequence[int], without: Sequence[str] = ()
) -> Iterator[Baseline]:
    """Yield the baselines for unit items (n, d): those with one size, and the others at given sizes in bytes.

    Parameters
    ----------
    sizes : of PCA and of the first dimensions (as for Matryoshka embeddings); both keep float32
    quantised_sizes : of quantised components, and of PQ, OPQ, RQ and LSQ
    without : those of PQ, OPQ, RQ and LSQ that are not trained

    Notes
    -----
    PQ, OPQ, RQ, LSQ and RaBitQ are those of faiss. `left_out` says which are left out.
    """
    yield from _scalar(x_unit)
    components = principal_components(x_unit)
    axes = np.eye(x_unit.shape[1], dtype=x_unit.dtype)
    for size in sorted({*sizes, *quantised_sizes}, reverse=True):
        m = min(size // x_unit.itemsize, len(axes))
        if m:
            yield by_components("PCA", x_unit, components[:m])
            yield by_components("truncation", x_unit, axes[:m])
    yield from _quantised_components(x_unit, components, sorted(set(quantised_sizes), reverse=True))
    if has_faiss() and len(x_unit) >= CENTROIDS:
        yield from _quantised(x_unit, sorted(set(quantised_sizes), reverse=True), without)


def has_faiss() -> bool:
    """Tell whether faiss, and with it product quantisation, is installed."""
    return importlib.util.find_spec("faiss") is not None


def left_out(n: int) -> str | None:
    """Say which baselines are left out for n items, and why; None if all of them are measured."""
    every = "left out: PQ, OPQ, RQ, LSQ and RaBitQ, because"
    if not has_faiss():
        return f"{every} faiss is not installed ({install_command('faiss')})"
    if n < CENTROIDS:
        return f"{every} they need {CENTROIDS} items, and there are {n}"
    if not _has_multi_bit_rabitq():
        import faiss

        return f"left out: RaBitQ with 2 to 4 bits, because faiss {faiss.__version__} lacks it (1.13.2 has it)"
    return None


def principal_components(x_unit: Floats) -> Floats:
    """Return directions (d, d) as rows, by decreasing uncentred second moment Σᵢ ⟨x̄ᵢ, c⟩²."""
    moments = x_unit.T.astype(np.float64) @ x_unit
    return np.linalg.eigh(moments)[1].T[::-1].astype(x_unit.dtype)


def by_components(method: str, x_unit: Floats, directions: Floats) -> Baseline:
    """Store one float32 number for each of the directions (m, d), and compare by cosine."""
    items = unit_or_zero(x_unit @ directions.T)
    return Baseline(
        method, len(directions) * items.itemsize, lambda x_q, top: best_products(x_q @ directions.T, items, top).ids
    )


def int8(x_unit: Floats) -> Baseline:
    """Store an integer of 8 bits for each dimension, whose largest magnitude in the items becomes 127."""
    scale = np.maximum(np.abs(x_unit).max(axis=0), np.finfo(np.float32).tiny) / 127
    integers = np.rint(x_unit / scale).astype(np.int8)
    return Baseline("int8", x_unit.shape[1], _decoded(integers, lambda rows: rows * scale))


def _scalar(x_unit: Floats) -> Iterator[Baseline]:
    d, half = x_unit.shape[1], x_unit.astype(np.float16)
    yield Baseline("float16", 2 * d, _decoded(half, lambda rows: rows.astype(np.float32)))
    of_integers = int8(x_unit)
    yield of_integers
    yield _with_floats(of_integers, x_unit)
    bits = np.packbits(x_unit > 0, axis=1)
    binary = Baseline("binary", bits.shape[1], lambda x_q, top: _nearest_signs(x_q, bits, top))
    yield binary
    rescored = _reranked(binary.search, lambda rows: _signs(bits[rows], d))
    yield Baseline("binary, rescored", binary.bytes_per_item, rescored)
    yield _with_floats(binary, x_unit)


def _with_floats(small: Baseline, x_unit: Floats) -> Baseline:
    """Find candidates by small codes, and re-rank them by the dense vectors, which are stored, too."""
    stored_bytes = small.bytes_per_item + x_unit.shape[1] * x_unit.itemsize
    return Baseline(f"{small.method}, float32", stored_bytes, _reranked(small.search, lambda rows: x_unit[rows]))


def _reranked(search: Search, read: Callable[[NDArray[np.int64]], Floats]) -> Search:
    """Re-rank the results of a search by the dot products of the query and the rows that ``read`` returns for ids."""

    def both(x_q: Floats, top: int) -> NDArray[np.int64]:
        near = search(x_q, RESCORED * top)
        scores = np.stack([read(rows) @ query for rows, query in zip(near, x_q, strict=True)])
        return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable")[:, :top], axis=1)

    return both


def _decoded(stored: NDArray[Any], decode: Callable[[NDArray[Any]], Floats]) -> Search:
    """Search among stored rows that are decoded to nearly unit rows, block by block."""
    return lambda x_q, top: best_products(x_q, stored, top, lambda rows, first: decode(rows)).ids


def _signs(bits: NDArray[np.uint8], d: int) -> Floats:
    """Decode bits to ±1."""
    return np.where(np.unpackbits(bits, axis=1, count=d), np.float32(1), np.float32(-1))


def _nearest_signs(x_q: Floats, bits: NDArray[np.uint8], top: int) -> NDArray[np.int64]:
    """Return the items with the fewest differing bits, which have the highest dot of signs."""
    signs_q = np.where(x_q > 0, np.float32(1), np.float32(-1))
    return best_products(signs_q, bits, top, lambda rows, first: _signs(rows, x_q.shape[1])).ids


def _quantised_components(x_unit: Floats, components: Floats, sizes: Sequence[int]) -> Iterator[Baseline]:
    mean = x_unit.mean(axis=0)
    of_rest = principal_components(x_unit - mean)
    for size in sizes:
        if size > 1:  # one byte is the scale
            yield Baseline("transform coding", *transform_coded(x_unit, components, size))
        yield Baseline("PCA, rotated", *rotated(x_unit, mean, of_rest, size))


def _quantised(x_unit: Floats, sizes: Sequence[int], without: Sequence[str]) -> Iterator[Baseline]:
    """Train the quantisers of faiss: one byte per part of a row; OPQ drops dimensions so that the parts are equal."""
    d = x_unit.shape[1]
    for size in sizes:
        equal = max(m for m in range(1, min(size, d) + 1) if d % m == 0)
        parts = min(size, d)
        factories = {"PQ": f"PQ{equal}", "OPQ": f"OPQ{parts}_{d // parts * parts},PQ{parts}"}
        yield from (_of_faiss(name, factories[name], x_unit) for name in factories if name not in without)
        yield from (_additive(name, x_unit, size) for name in ("RQ", "LSQ") if name not in without)
    for bits in range(1, 5 if _has_multi_bit_rabitq() else 2):
        method, factory = (f"RaBitQ, {bits} bits", f"RR,RaBitQ{bits}") if bits > 1 else ("RaBitQ", "RR,RaBitQ")
        yield _of_faiss(method, factory, x_unit)


def _has_multi_bit_rabitq() -> bool:
    import faiss

    try:
        faiss.index_factory(8, "RaBitQ2", faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        return False
    return True


def _of_faiss(method: str, factory: str, x_unit: Floats) -> Baseline:
    import faiss

    index: Any = faiss.index_factory(x_unit.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    quantiser: Any = faiss.downcast_index(getattr(index, "index", index))  # behind the rotation, if there is one
    if hasattr(quantiser, "do_polysemous_training"):
        quantiser.do_polysemous_training = False  # takes most of the time, and is not used here
        quantiser.pq.cp.min_points_per_centroid = FEWEST
        if hasattr(index, "chain"):
            of_rotation = faiss.ProductQuantizer(quantiser.d, quantiser.pq.M, 8)
            of_rotation.cp.min_points_per_centroid = FEWEST
            rotation: Any = faiss.downcast_VectorTransform(index.chain.at(0))
            rotation.pq = of_rotation
    index.train(x_unit)
    index.add(x_unit)
    return Baseline(method, int(index.sa_code_size()), lambda x_q, top: _found(index, x_q, top))


def _additive(method: str, x_unit: Floats, size: int) -> Baseline:
    """Train RQ or LSQ with one byte per codebook. Items are ranked by the cosine of their reconstructions.

    Training is shortened to take minutes: at most `TRAINED` rows, k-means without progressive dimensions (RQ), and a
    fifth of the default iterations (LSQ).
    """
    import faiss

    library: Any = faiss  # its stubs lack some functions, and may not be installed
    parts, books = _codebooks(x_unit.shape[1], size)
    index: Any = faiss.index_factory(x_unit.shape[1], f"P{method}{parts}x{books}x8", faiss.METRIC_INNER_PRODUCT)
    split = index.prq if method == "RQ" else index.plsq
    for number in range(parts):
        part = library.downcast_AdditiveQuantizer(split.subquantizer(number))
        if method == "RQ":
            part.train_type = faiss.ResidualQuantizer.Train_default
            part.cp.min_points_per_centroid = FEWEST
        else:
            part.train_iters, part.train_ils_iters, part.encode_ils_iters = 5, 2, 4
    index.train(some_rows(x_unit, TRAINED))
    stored = np.vstack([index.sa_encode(block) for block in blocks(x_unit)])
    return Baseline(method, stored.shape[1], _decoded(stored, lambda rows: unit_or_zero(index.sa_decode(rows))))


def _codebooks(d: int, size: int) -> tuple[int, int]:
    """Return the equal parts of a row and the codebooks of each, which take most of the bytes: parts · books ≤ size.

    Of splits that take equally many bytes, the one with the fewest parts is taken.
    """
    splits = [(parts, min(size // parts, MOST_CODEBOOKS)) for parts in range(1, min(size, d) + 1) if d % parts == 0]
    return max(splits, key=lambda split: (split[0] * split[1], -split[0]))


def _found(index: Any, x_q: Floats, top: int) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = index.search(x_q, min(top, index.ntotal))[1]
    return ids
