"""The "numpy" backend: the functions of `compressae_ref.ops` on some rows at a time, on all threads.

NumPy lets go of Python's lock in its loops, and what is made of a few rows is still in a cache when it is needed. Each
function gives the bits of its namesake: what belongs to a row depends on that row alone, and a sum over rows stays in
one thread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressae_ref import adam, ops, packed_rows, pursuit, ranking, sums
from compressae_ref.arrays import Floats, flat
from compressae_ref.backends.threads import share
from compressae_ref.codes import Codes
from compressae_ref.ranking import Hits, Items, Queries

name = "numpy"

ROWS_PER_TASK = 128
LATENTS_PER_TASK = 512
NUMBERS_PER_TASK = 1 << 16

Result = TypeVar("Result")


def _in_parts(n: int, most: int, function: Callable[[slice], Result]) -> list[Result]:
    """What ``function`` gives for consecutive parts of range(n), of at most ``most`` each."""
    results: dict[int, Result] = {}
    errors = np.geterr()  # other threads do not know of the caller's `np.errstate`

    def work(first: int, last: int) -> None:
        with np.errstate(**errors):
            results[first] = function(slice(first, last))

    share(n, most, work)
    return [results[first] for first in sorted(results)] or [function(slice(0, 0))]


def place(array: Any) -> Any:
    """The array itself."""
    return array


def cast(x: Floats, dtype: Any) -> Floats:
    """An array in another dtype; itself, if it has it."""
    return x.astype(dtype, copy=False)


def normalize_rows(x: Floats) -> Floats:
    """`ops.normalize_rows`."""
    return np.concatenate(_in_parts(len(x), ROWS_PER_TASK, lambda rows: ops.normalize_rows(x[rows])))


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    """`ops.encode`."""
    product, bound = x_unit @ W_enc, ops.pre_bound(W_enc, b_enc)

    def encode_some(rows: slice) -> Codes:
        return ops.encode_near(product[rows], bound, x_unit[rows], W_enc, b_enc, k)

    return Codes.concatenate(_in_parts(len(x_unit), ROWS_PER_TASK, encode_some))


def refine_unit(codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Codes:
    """`pursuit.refine_unit`."""

    def refine(rows: slice) -> Codes:
        return pursuit.refine_unit(codes[rows], x_unit[rows], W_dec, k, dots)

    return Codes.concatenate(_in_parts(len(codes), ROWS_PER_TASK, refine))


def pack_rows(codes: Codes, bits: int) -> NDArray[np.uint8]:
    """`packed_rows.pack_rows`."""
    return np.concatenate(
        _in_parts(len(codes), packed_rows.ROWS_AT_ONCE, lambda rows: packed_rows.pack_rows(codes[rows], bits))
    )


def unpack_rows(data: NDArray[np.uint8], n_latents: int, k: int, bits: int) -> tuple[Any, Floats]:
    """`packed_rows.unpack_rows`; of several bad rows the first one is named."""
    starts = range(0, max(1, len(data)), packed_rows.ROWS_AT_ONCE)
    parts = [
        packed_rows.unpack_rows(data[start : start + packed_rows.ROWS_AT_ONCE], n_latents, k, bits, start)
        for start in starts
    ]
    indices, values = zip(*parts, strict=True)
    return np.concatenate(indices), np.concatenate(values)


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    """`ops.split_codes`."""
    kept, rest = zip(*_in_parts(len(codes), ROWS_PER_TASK, lambda rows: ops.split_codes(codes[rows], k)), strict=True)
    return Codes.concatenate(kept), Codes.concatenate(rest)


def decode(codes: Codes, W_dec: Floats) -> Floats:
    """`ops.decode`."""
    product = (lambda rows: rows.to_csr() @ W_dec) if scipy_sums_in_order() else (lambda rows: ops.decode(rows, W_dec))
    return np.concatenate(_in_parts(len(codes), ROWS_PER_TASK, lambda rows: product(codes[rows])))


@cache
def scipy_sums_in_order() -> bool:
    """Whether SciPy is there, and its product of a sparse and a dense array gives the bits of `ops.decode`.

    It adds up in the stored order. But where its compiler fused products and sums, each is rounded once, not twice.
    """
    if importlib.util.find_spec("scipy") is None:
        return False
    rng = np.random.default_rng(0)
    codes = Codes(np.arange(8 * 32, dtype=np.int32).reshape(8, 32) % 64, rng.standard_normal((8, 32), np.float32), 64)
    W_dec = rng.standard_normal((64, 67), np.float32)
    return np.array_equal(codes.to_csr() @ W_dec, ops.decode(codes, W_dec))


def decode_nested(codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Floats, Floats]:
    """x̂_k, and x̂_aux = x̂_k + the reconstruction of the rest."""
    x_hat_k = decode(codes_k, W_dec)
    return x_hat_k, x_hat_k + decode(codes_rest, W_dec)


def loss_backward(
    x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float
) -> tuple[Floats, Floats]:
    """`ops.loss_backward`."""

    def backward(rows: slice) -> tuple[Floats, Floats]:
        return ops.loss_backward(x_unit[rows], x_hat_k[rows], x_hat_aux[rows], n_batch, aux_weight)

    cos, grad = zip(*_in_parts(len(x_unit), ROWS_PER_TASK, backward), strict=True)
    return np.concatenate(cos, axis=1), np.concatenate(grad, axis=1)


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
    """`ops.decode_backward_values`."""

    def backward(rows: slice) -> Floats:
        return ops.decode_backward_values(grad_x_hat[rows], codes[rows], W_dec)

    return np.concatenate(_in_parts(len(codes), ROWS_PER_TASK, backward))


def weights_backward(
    parts: Sequence[tuple[Codes, Floats]],
    grad_pre: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    grad_W_dec: Floats,
    add: bool,
) -> None:
    """The gradients of all weights: `ops.decode_backward_weights` and `ops.pre_activations_backward`."""
    if not scipy_sums_in_order():
        ops.decode_backward_weights(parts, grad_W_dec, add)
        ops.pre_activations_backward(grad_pre, x_unit, grad_W_enc, grad_b_enc, add)
        return
    ones = np.ones((len(x_unit), 1), x_unit.dtype)
    _transpose_product(parts, grad_W_dec, add)
    _transpose_product([(grad, x_unit) for grad in grad_pre], grad_W_enc.T, add)
    _transpose_product([(grad, ones) for grad in grad_pre], grad_b_enc[:, None], add)


def _transpose_product(parts: Sequence[tuple[Codes, Floats]], out: Floats, add: bool) -> None:
    """`ops.transpose_product`, as the product of a sparse and a dense array.

    A row of the sparse one belongs to a latent: 1 for what is there before, if it counts, then its entries in order.
    """
    from scipy.sparse import csr_array

    codes, y = [part[0] for part in parts], np.stack([part[1] for part in parts], axis=1).reshape(-1, out.shape[1])
    values, latents = (np.concatenate([getattr(c, of) for c in codes], axis=1).ravel() for of in ("values", "indices"))
    starts = np.cumsum([0, *[part.k for part in codes] * len(codes[0])])
    if add:
        own = np.arange(len(out))
        y, values, latents = (
            np.concatenate([out, y]),
            np.append(np.ones_like(out[:, 0]), values),
            np.append(own, latents),
        )
        starts = np.append(own, len(out) + starts)
    by_latent = csr_array((values, latents, starts), shape=(len(y), len(out))).T.tocsr()

    def product(some: slice) -> None:
        out[some] = by_latent[some] @ y

    _in_parts(len(out), LATENTS_PER_TASK, product)


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    """`adam.adam_update`."""
    param, grad, m, v = (flat(array) for array in (param, grad, m, v))

    def update(some: slice) -> None:
        adam.adam_update(param[some], grad[some], m[some], v[some], constants)

    _in_parts(param.size, NUMBERS_PER_TASK, update)


def renormalize_decoder(W_dec: Floats) -> None:
    """`adam.renormalize_decoder`."""
    _in_parts(len(W_dec), ROWS_PER_TASK, lambda rows: adam.renormalize_decoder(W_dec[rows]))


def project_decoder_gradient(grad_W_dec: Floats, W_dec: Floats) -> None:
    """`adam.project_decoder_gradient`."""
    adam.project_decoder_gradient(grad_W_dec, W_dec)


def count_latents(codes: Codes) -> NDArray[np.int64]:
    """How many rows store each latent. → (h,)."""
    return np.bincount(codes.indices.ravel(), minlength=codes.n_latents)


def pair_dots(a: Floats, b: Floats) -> Floats:
    """`sums.pair_dots`."""
    return np.concatenate(_in_parts(len(b), 4 * ROWS_PER_TASK, lambda rows: sums.pair_dots(a, b[rows])), axis=1)


def codes_dot(u: Floats, codes: Codes) -> Floats:
    """`ops.codes_dot`."""
    return np.concatenate(_in_parts(len(codes), 64 * ROWS_PER_TASK, lambda rows: ops.codes_dot(u, codes[rows])), axis=1)


def index_items(codes: Codes, norms: Floats) -> None:
    """Nothing: all items are scored."""


def lists_from(fields: Mapping[str, Any], codes: Codes, check: bool) -> None:
    """Nothing, whatever another backend has left."""


def best_items(queries: Queries, items: Items, top: int) -> Hits:
    """`ranking.best_items`."""
    return ranking.best_items(queries, items, top, codes_dot)
