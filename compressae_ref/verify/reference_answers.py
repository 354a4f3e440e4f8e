"""Answer the operations of `verify` with the reference file, so that the test vectors check its results.

Inputs are checked here, because `compressae_ref.reference` trusts them. The reference file has no file formats and no
extensions: the package reads and writes files, and there are no requests for refined and packed codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import get_backend
from compressae_ref.checks import as_embeddings, as_integer, as_k, as_zero_rows
from compressae_ref.codes import Codes
from compressae_ref.retrieval.spaces import check_pair
from compressae_ref.verify import self_test
from compressae_ref.verify.vectors import Values

NAMES = ("W_enc", "b_enc", "W_dec")
"""Names of the model's arrays, in the order of the reference file."""


def answer(operation: str, inputs: Values) -> dict[str, Any]:
    """Answer a request with the reference file, or with the package if it is about files."""
    if operation not in ANSWERS:
        return self_test.answer(operation, inputs, get_backend("numpy"))
    return self_test.answered(ANSWERS[operation], **inputs)


def _code(code: Any, suffix: str = "") -> Values:
    indices, values = code
    return {f"indices{suffix}": indices.astype(np.int32), f"values{suffix}": values}


def _abs_topk(pre: Floats, k: int) -> Values:
    return _code(reference.abs_topk(pre, as_k(k, pre.shape[1])))


def _truncate(indices: Any, values: Any, k: int) -> Values:
    return _code(reference.split_code(indices, values, as_k(k, indices.shape[1]))[0])


def _split_codes(indices: Any, values: Any, k: int) -> Values:
    code_k, code_rest = reference.split_code(indices, values, as_k(k, indices.shape[1]))
    return _code(code_k, "_k") | _code(code_rest, "_rest")


def _normalize_rows(x: Floats) -> Values:
    return {"x_unit": reference.unit_rows(as_embeddings(x), x.dtype)}


def _encode(x: Floats, W_enc: Floats, b_enc: Floats, k: int, zero_rows: Any) -> Values:
    x = as_embeddings(x, d=len(W_enc), zeros=as_zero_rows(zero_rows) == "empty")
    return _code(reference.encode_rows(x, W_enc, b_enc, as_k(k, len(b_enc))))


def _decode(indices: Any, values: Any, W_dec: Floats) -> Values:
    return {"x_hat": reference.decode(indices, values, W_dec)}


def _search(
    space: Any,
    top: int,
    n_latents: int,
    indices: Any,
    values: Any,
    W_dec: Floats | None = None,
    queries: Floats | None = None,
    query_indices: Any = None,
    query_values: Any = None,
    model: str | None = None,
    query_model: str | None = None,
) -> Values:
    if space == "asymmetric":
        x_unit = _unit_queries(queries, W_dec, values.dtype)
        return _best(reference.asymmetric_cosine(x_unit, (indices, values), W_dec), top)
    query = query_indices, query_values
    check_pair(Codes(*query, n_latents, query_model), Codes(indices, values, n_latents, model))
    if space == "sparse":
        return _best(reference.sparse_cosine(query, (indices, values), n_latents), top)
    return _best(reference.reconstructed_cosine(query, (indices, values), W_dec), top)


def _expanded_search(
    top: int, m: int, n_latents: int, indices: Any, values: Any, W_dec: Floats, queries: Floats
) -> Values:
    x_unit = _unit_queries(queries, W_dec, values.dtype)
    return _best(reference.expanded_cosine(x_unit, (indices, values), W_dec, as_k(m, n_latents, name="m")), top)


def _unit_queries(queries: Any, W_dec: Any, dtype: Any) -> Floats:
    x_unit: Floats = reference.unit_rows(as_embeddings(queries, name="queries", d=W_dec.shape[1]), dtype)
    return x_unit


def _best(scores: Floats, top: int) -> Values:
    ids = reference.best(scores, as_integer(top, "top"))
    return {"ids": ids, "scores": np.take_along_axis(scores, ids, axis=1)}


def _cosine(x_unit: Floats, x_hat: Floats, grad_cos: Floats) -> Values:
    return {"cos": reference.cosine(x_unit, x_hat), "grad_x_hat": reference.cosine_backward(grad_cos, x_unit, x_hat)}


def _losses(losses: Any) -> Values:
    return {name: np.array(loss) for name, loss in zip(("loss", "loss_k", "loss_aux"), losses, strict=True)}


def _gradients(x: Floats, W_enc: Floats, b_enc: Floats, W_dec: Floats, k: int) -> Values:
    x, k = as_embeddings(x, d=len(W_enc)), as_k(k, len(b_enc))
    losses, grads = reference.loss_and_gradients(x, W_enc, b_enc, W_dec, k)
    return _losses(losses) | {f"grad_{name}": grad for name, grad in zip(NAMES, grads, strict=True)}


def _adam(param: Floats, grad: Floats, m: Floats, v: Floats, step: int, lr: Floats) -> Values:
    param, m, v = (array.copy() for array in (param, m, v))
    reference.adam(param, grad, m, v, step, float(lr))
    return {"param": param, "m": m, "v": v}


def _renormalize(W_dec: Floats) -> Values:
    W_dec = W_dec.copy()
    reference.renormalize(W_dec)
    return {"W_dec": W_dec}


def _project(grad_W_dec: Floats, W_dec: Floats) -> Values:
    grad_W_dec = grad_W_dec.copy()
    reference.project(grad_W_dec, W_dec)
    return {"grad_W_dec": grad_W_dec}


def _init_params(u_enc: Floats, u_dec: Floats, init: Any) -> Values:
    arrays = reference.initial(u_enc, u_dec, init == "tied")
    return {name: array.astype(np.float32) for name, array in zip(NAMES, arrays, strict=True)}


def _train_steps(
    batches: Floats, W_enc: Floats, b_enc: Floats, W_dec: Floats, k: int, lr: Floats, renormalize: Any
) -> Values:
    params = [array.copy() for array in (W_enc, b_enc, W_dec)]
    m, v = ([np.zeros_like(array) for array in params] for _ in range(2))
    outputs: Values = {}
    k = as_k(k, len(b_enc))
    for t, batch in enumerate(batches, start=1):
        batch = as_embeddings(batch, name="batches", d=len(W_enc))
        losses = reference.train_step(batch, params, m, v, t, k, float(lr), renormalize == "before_step")
        outputs |= {f"{t}.{name}": value for name, value in _losses(losses).items()}
        for prefix, arrays in (("m_", m), ("v_", v), ("", params)):
            named = zip(NAMES, arrays, strict=True)
            outputs |= {f"{t}.{prefix}{name}": array.copy() for name, array in named}
    return outputs


ANSWERS: dict[str, Callable[..., Values]] = {
    name.removeprefix("_"): function
    for name, function in list(globals().items())
    if name in {f"_{operation}" for operation in self_test.ANSWERS}
}
"""The function for each operation that the reference file has; it takes the inputs as arguments."""
