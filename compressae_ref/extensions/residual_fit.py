"""Fit the codec of residual codes to rows of a collection: principal directions of residuals, and bits for each."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.numpy.bit_packing import Layout
from compressae_ref.checks import all_zero, as_integer, as_k
from compressae_ref.errors import DomainError
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import refined_with_rows
from compressae_ref.extensions.residual_codec import MOST_BITS, RANGE, ResidualCodec, residuals, sparse_rows
from compressae_ref.model import Model
from compressae_ref.row_source import RowSource, as_source, read_rows
from compressae_ref.unit_blocks import HostRows

K = 12
"""Entries of the sparse part by default."""

LEAST_REST = 8
"""Fewest bytes of the components without a stated k: with fewer, refined packed codes are as good."""

CANDIDATES = 8
"""Candidates of the sparse part, in entries."""

VALUE_BITS = 4
"""Bits of a value of the sparse part: its residual repairs coarse values."""

SAMPLE_ROWS = 10_000
"""Rows to which a codec is fitted, at most."""

WEIGHT = 0.75
"""Power of the second moment of the rows by which errors are weighted when bits are allocated."""

DISTORTION = (1.0, 0.3634, 0.1175, 0.03454, 0.009497, 0.002499, 0.000642)
"""Mean squared error of a standard normal number in 0 to 6 bits."""


def residual_codec(
    x: RowSource,
    model: Model,
    n_bytes: int,
    k: int | None = None,
    *,
    candidates: int | None = None,
    backend: str | Backend | None = None,
) -> ResidualCodec:
    """Fit a codec to at most 10,000 evenly spaced rows of x. Arguments and errors as `encode_residual`."""
    k = as_bytes(n_bytes, model, k)
    m = candidates_of(k, candidates, model.params.n_latents)
    return _fitted(as_source(x), model, n_bytes, k, m, get_backend(backend))


def as_bytes(n_bytes: int, model: Model, k: int | None = None) -> int:
    """Return k of residual codes of ``n_bytes`` bytes; DomainError if there are no such codes of the model."""
    d, h = model.params.d, model.params.n_latents
    (least, most), k = bytes_range(model, k), _k_of(model, k)
    if not least <= as_integer(n_bytes, "bytes") <= most:
        hint = "use refined, packed codes (encode --refine, then pack)" if n_bytes < least else None
        what = f"from {least} to {most} bytes for d {d}, k {k} of {h} latents"
        raise DomainError(f"expected {what}, got {n_bytes}", argument="bytes", hint=hint)
    return k


def bytes_range(model: Model, k: int | None = None) -> tuple[int, int]:
    """Return the fewest and the most bytes of residual codes of a model, for k as in `residual_codec`."""
    sparse = Layout.of(model.params.n_latents, _k_of(model, k), VALUE_BITS).row_bytes
    most = sparse + 1 + (MOST_BITS * model.params.d + 7) // 8
    return sparse + 2 if k is not None else min(sparse + 1 + LEAST_REST, most), most


def _k_of(model: Model, k: int | None) -> int:
    h = model.params.n_latents
    return as_k(min(K, h) if k is None else k, h)


def candidates_of(k: int, candidates: int | None, n_latents: int) -> int:
    """Return the candidates of the sparse part: None stands for min(8k, h)."""
    return min(CANDIDATES * k, n_latents) if candidates is None else candidates


def _fitted(
    x: RowSource, model: Model, n_bytes: int, k: int, candidates: int | None, backend: Backend
) -> ResidualCodec:
    """Fit a codec to at most `SAMPLE_ROWS` evenly spaced rows that are not zero; rows take at most ``n_bytes`` bytes.

    Raises
    ------
    DomainError
        If all of these rows are zero, or if the sparse part leaves nothing of them.
    """
    d, n = model.params.d, min(len(x), SAMPLE_ROWS)
    sample = read_rows(x, np.arange(n) * len(x) // n, name="x", d=d, zeros=True)
    sample = sample[sample.any(axis=1)]
    if not len(sample):
        raise all_zero(n, argument="x")
    of_rows, of_residuals, lengths = np.zeros((d, d)), np.zeros((d, d)), [np.empty(0)]
    for block, codes in refined_with_rows(HostRows(sample), model, k, candidates, "error", backend):
        x_unit = backend.fetch(block.x_unit)
        x_sparse = sparse_rows(pack(codes, VALUE_BITS, backend=backend).unpack(backend=backend), model, backend)
        r = residuals(x_unit, x_sparse).astype(np.float64)[x_sparse.any(axis=1)]
        rho = np.linalg.norm(r, axis=1)
        u = r[rho > 0] / rho[rho > 0, None]
        of_rows += x_unit.T.astype(np.float64) @ x_unit
        of_residuals += u.T @ u
        lengths.append(rho[rho > 0])
    rho = np.concatenate(lengths)
    if not len(rho):
        raise DomainError("expected rows that their sparse codes do not explain, got none", argument="x")
    layout = Layout.of(model.params.n_latents, k, VALUE_BITS)
    arrays = _components(of_rows / len(sample), of_residuals / len(rho), 8 * (n_bytes - layout.row_bytes - 1))
    low, high = np.log(np.clip([rho.min(), rho.max()], 2 * RANGE[0], RANGE[1] / 2))
    table = np.exp(np.linspace(low, high, 256)).astype(np.float32)
    return ResidualCodec(*arrays, table, model.params.n_latents, k, VALUE_BITS, model.digest)


def _components(
    of_rows: NDArray[np.float64], of_residuals: NDArray[np.float64], total: int
) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Return basis, scales and bits from the second moments (d, d) of unit rows and of unit residuals."""
    variances, vectors = np.linalg.eigh(of_residuals)
    order = np.arange(len(variances))[::-1]
    order = order[variances[order] > 1e-9 * variances[-1]]  # the others are rounding
    variances, basis = variances[order], vectors.T[order]
    basis *= np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)])[:, None]
    moments, directions = np.linalg.eigh(of_rows)
    weights = (basis @ directions) ** 2 @ np.maximum(moments, 0) ** WEIGHT
    bits = allocate(variances * weights, total)
    used = bits > 0
    kept = np.ascontiguousarray(basis[used], np.float32)
    return kept, np.sqrt(variances[used]).astype(np.float32), bits[used]


def allocate(weights: Sequence[float] | NDArray[np.float64], total: int) -> NDArray[np.uint8]:
    """Give up to ``total`` bits to components, each bit where it lowers Σ weight · distortion most; at most 6 each."""
    bits = np.zeros(len(weights), np.uint8)
    gains = [(-weight * (DISTORTION[0] - DISTORTION[1]), j) for j, weight in enumerate(weights)]
    heapq.heapify(gains)  # of equal gains, the lower component comes first
    for _ in range(min(total, MOST_BITS * len(weights))):
        _, j = heapq.heappop(gains)
        bits[j] += 1
        if bits[j] < MOST_BITS:
            heapq.heappush(gains, (-weights[j] * (DISTORTION[bits[j]] - DISTORTION[bits[j] + 1]), j))
    return bits
