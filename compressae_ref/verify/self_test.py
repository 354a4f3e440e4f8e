"""Answer every operation with this package; `verify` judges these answers if no program is given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.checks import as_embeddings, as_k, as_mean
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, reason
from compressae_ref.extensions.fitted_codes import Anchors, encode_fitted
from compressae_ref.extensions.packed_codes import PackedCodes, pack
from compressae_ref.extensions.refine import refine
from compressae_ref.files.codes_file import load_codes, save_codes
from compressae_ref.files.model_file import load_model, save_model
from compressae_ref.files.packed_file import load_packed
from compressae_ref.model import AUX_WEIGHT, Model
from compressae_ref.params import Params, initial_params
from compressae_ref.retrieval.index import Index
from compressae_ref.training.adam_state import AdamConfig, adam_constants, init_adam
from compressae_ref.training.settings import TrainConfig
from compressae_ref.training.step import TrainState, forward, loss_and_grads, train_step
from compressae_ref.unit_blocks import HostRows, unit_blocks
from compressae_ref.verify import distill_answers, names_answers, residual_answers, segments_answers, small_answers
from compressae_ref.verify.operations import OPERATIONS
from compressae_ref.verify.vectors import Values


def answer(operation: str, inputs: Values, backend: Backend) -> dict[str, Any]:
    """Answer a request on a backend."""
    return answered(ANSWERS[operation], backend, **inputs)


def answered(function: Callable[..., Values], *arguments: Any, **inputs: Any) -> dict[str, Any]:
    """Call a function of an operation and return its answer.

    Returns
    -------
    ``{"outputs": …}``, ``{"error": …}`` with the row if it has one, or ``{"failed": reason}`` for any other exception,
    so that a fault of this installation fails one test and the report goes on
    """
    try:
        with np.errstate(all="ignore"):
            return {"outputs": function(*arguments, **inputs)}
    except CompressaeError as error:
        return {"error": type(error).__name__, **({} if error.row is None else {"row": error.row})}
    except Exception as error:
        return {"failed": f"this installation raised {type(error).__name__}: {reason(error)}"}


def _of(codes: Codes, suffix: str = "") -> Values:
    return {f"indices{suffix}": codes.indices, f"values{suffix}": codes.values}


def _codes(indices: Any, values: Any, n_latents: int | None = None, model: str | None = None) -> Codes:
    h = int(indices.max(initial=0)) + 1 if n_latents is None else n_latents
    return Codes(indices, values, max(h, indices.shape[1]), model)


def _abs_topk(backend: Backend, pre: Floats, k: int) -> Values:
    return _of(abs_topk(pre, as_k(k, pre.shape[1])))


def _truncate(backend: Backend, indices: Any, values: Any, k: int) -> Values:
    return _of(_codes(indices, values).truncate(k))


def _split_codes(backend: Backend, indices: Any, values: Any, k: int) -> Values:
    codes_k, codes_rest = backend.split_codes(_codes(indices, values), as_k(k, indices.shape[1]))
    return _of(codes_k, "_k") | _of(codes_rest, "_rest")


def _normalize_rows(backend: Backend, x: Floats) -> Values:
    return {"x_unit": backend.unit_rows(as_embeddings(x), x.dtype)}


def _encode(backend: Backend, x: Floats, W_enc: Floats, b_enc: Floats, k: int, zero_rows: Any) -> Values:
    model = Model(Params(W_enc, b_enc, np.zeros(W_enc.shape[::-1], W_enc.dtype)), k)
    return _of(model.encode(x, zero_rows=zero_rows, backend=backend))


def _refine(backend: Backend, x: Floats, indices: Any, W_dec: Floats, k: int, zero_rows: Any) -> Values:
    params = Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec)
    candidates = _codes(indices, np.zeros(indices.shape, W_dec.dtype), len(W_dec))
    return _of(refine(candidates, x, params, k, zero_rows=zero_rows, backend=backend))


def _fitted_codes(
    backend: Backend,
    x: Floats,
    anchors: Floats,
    W_enc: Floats,
    b_enc: Floats,
    k: int,
    steps: int,
    size: int,
    most: int,
    zero_rows: Any,
) -> Values:
    model = Model(Params(W_enc, b_enc, np.zeros(W_enc.shape[::-1], W_enc.dtype)), k)
    read = Anchors.read(anchors, model, rows_per_group=size, most_groups=most, backend=backend)
    return _of(encode_fitted(x, model, read, steps=steps, zero_rows=zero_rows, backend=backend))


def _pack(backend: Backend, indices: Any, values: Any, n_latents: int, bits: int) -> Values:
    return {"packed": pack(Codes(indices, values, n_latents), bits, backend=backend).data}


def _unpack(backend: Backend, packed: Any, n_latents: int, k: int, bits: int) -> Values:
    return _of(PackedCodes(packed, n_latents, k, bits).unpack(backend=backend))


def _decode(backend: Backend, indices: Any, values: Any, W_dec: Floats) -> Values:
    return {"x_hat": backend.decode(_codes(indices, values, len(W_dec)), W_dec)}


def _search(
    backend: Backend,
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
    params = None if W_dec is None else Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec)
    items = _codes(indices, values, n_latents, model)
    decoder = None if params is None else Model(params, items.k)
    index = Index.build(items, space=space, model=decoder, backend=backend)
    query = queries if queries is not None else _codes(query_indices, query_values, n_latents, query_model)
    hits = index.search(query, top)
    return {"ids": hits.ids, "scores": hits.scores}


def _expanded_search(
    backend: Backend, top: int, m: int, n_latents: int, indices: Any, values: Any, W_dec: Floats, queries: Floats
) -> Values:
    model = Model(Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec), indices.shape[1])
    index = Index.build(_codes(indices, values, n_latents), space="expanded", model=model, backend=backend)
    hits = index.search(queries, top, query_k=m)
    return {"ids": hits.ids, "scores": hits.scores}


def _center_rows(backend: Backend, x: Floats, mean: Floats) -> Values:
    mean = as_mean(mean, x.shape[1])
    blocks = unit_blocks(HostRows(x), mean.dtype, backend, mean=mean)
    return {"x_unit": np.concatenate([block.x_unit for block in blocks])}


def _center_search(
    backend: Backend,
    space: Any,
    top: int,
    n_latents: int,
    indices: Any,
    values: Any,
    W_dec: Floats,
    mean: Floats,
    queries: Floats | None = None,
    query_indices: Any = None,
    query_values: Any = None,
) -> Values:
    params = Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec, as_mean(mean, W_dec.shape[1]))
    items, model = _codes(indices, values, n_latents), Model(params, indices.shape[1])
    query = queries if queries is not None else _codes(query_indices, query_values, n_latents)
    hits = Index.build(items, space=space, model=model, backend=backend).search(query, top)
    return {"ids": hits.ids, "scores": hits.scores}


def _cosine(backend: Backend, x_unit: Floats, x_hat: Floats, grad_cos: Floats) -> Values:
    return {"cos": reference.cosine(x_unit, x_hat), "grad_x_hat": reference.cosine_backward(grad_cos, x_unit, x_hat)}


def _losses(losses: Any) -> Values:
    return {name: np.array(getattr(losses, name)) for name in ("loss_k", "loss_aux", "loss")}


def _named(prefix: str, params: Params) -> Values:
    return {f"{prefix}{name}": array.copy() for name, array in params.arrays().items()}


def _gradients(backend: Backend, x: Floats, W_enc: Floats, b_enc: Floats, W_dec: Floats, k: int) -> Values:
    params = Params(W_enc, b_enc, W_dec)
    grads = params.zeros_like()
    losses = loss_and_grads(as_embeddings(x, d=params.d), params, as_k(k, params.n_latents), backend, grads)
    return _losses(losses) | _named("grad_", grads)


def _adam(backend: Backend, param: Floats, grad: Floats, m: Floats, v: Floats, step: int, lr: Floats) -> Values:
    param, m, v = (array.copy() for array in (param, m, v))
    backend.adam_update(param, grad, m, v, adam_constants(AdamConfig(float(lr)), step, param.dtype))
    return {"param": param, "m": m, "v": v}


def _renormalize(backend: Backend, W_dec: Floats) -> Values:
    W_dec = W_dec.copy()
    backend.renormalize_decoder(W_dec)
    return {"W_dec": W_dec}


def _project(backend: Backend, grad_W_dec: Floats, W_dec: Floats) -> Values:
    grad_W_dec = grad_W_dec.copy()
    backend.project_decoder_gradient(grad_W_dec, W_dec)
    return {"grad_W_dec": grad_W_dec}


def _init_params(backend: Backend, u_enc: Floats, u_dec: Floats, init: Any) -> Values:
    return initial_params(u_enc if init == "original" else None, u_dec, "float32").arrays()


def _train_steps(
    backend: Backend,
    batches: Floats,
    W_enc: Floats,
    b_enc: Floats,
    W_dec: Floats,
    k: int,
    lr: Floats,
    renormalize: Any,
) -> Values:
    params = Params(np.array(W_enc, order="F"), b_enc.copy(), W_dec.copy())
    state = TrainState(params, init_adam(params), params.zeros_like(), np.zeros(len(b_enc), np.int64))
    config = TrainConfig(k=as_k(k, params.n_latents), renormalize=renormalize)
    outputs: Values = {}
    for step, batch in enumerate(batches, start=1):
        as_embeddings(batch, name="batches", d=params.d)
        inner = _intermediates(batch, params, k, backend)
        before = {"param": params.W_dec, "m": state.adam.m.W_dec, "v": state.adam.v.W_dec}
        before = {name: array.copy() for name, array in before.items()}
        losses = train_step(state, batch, config, backend, float(lr))
        stepped = params.W_dec.copy()
        if renormalize == "after_step":
            stepped = _adam(backend, grad=state.grads.W_dec, step=step, lr=lr, **before)["param"]
        inner |= {"W_dec_stepped": stepped}
        inner |= _losses(losses) | _named("grad_", state.grads)
        inner |= _named("m_", state.adam.m) | _named("v_", state.adam.v) | _named("", params)
        outputs |= {f"{step}.{name}": value for name, value in inner.items()}
    return outputs


def _intermediates(batch: Floats, params: Params, k: int, backend: Backend) -> Values:
    acts = forward(backend.unit_rows(batch, params.dtype), params, k, backend)
    x_unit, codes_k, codes_rest, x_hat_k, x_hat_aux, _ = acts
    outputs = {"x_unit": x_unit, "x_hat_k": x_hat_k, "x_hat_aux": x_hat_aux}
    outputs |= _of(codes_k, "_k") | _of(codes_rest, "_rest")
    (cos_k, cos_aux), (grad_k, grad_aux) = backend.loss_backward(x_unit, x_hat_k, x_hat_aux, len(batch), AUX_WEIGHT)
    outputs |= {"cos_k": cos_k, "cos_aux": cos_aux}
    outputs |= {"grad_x_hat_k": grad_k, "grad_x_hat_aux": grad_aux}
    for name, codes, grad in (("k", codes_k, grad_k), ("rest", codes_rest, grad_aux)):
        outputs[f"grad_values_{name}"] = backend.decode_backward_values(grad, codes, params.W_dec)
    return outputs


def _on_disk(use: Callable[[Path], Values]) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        return use(Path(folder) / "file.npz")


def _read_model(backend: Backend, file: Any) -> Values:
    def use(path: Path) -> Values:
        file.tofile(path)
        model = load_model(path)
        return {**model.params.arrays(), "k": model.k, "digest": model.digest}

    return _on_disk(use)


def _read_codes(backend: Backend, file: Any) -> Values:
    def use(path: Path) -> Values:
        file.tofile(path)
        codes = load_codes(path)
        return _of(codes) | {"n_latents": codes.n_latents, "model": codes.model}

    return _on_disk(use)


def _read_packed(backend: Backend, file: Any) -> Values:
    def use(path: Path) -> Values:
        file.tofile(path)
        packed = load_packed(path)
        names = ("n_latents", "k", "bits", "model")
        return {"packed": packed.data, **{name: getattr(packed, name) for name in names}}

    return _on_disk(use)


def _write_codes(backend: Backend, indices: Any, values: Any, n_latents: int, model: str | None) -> Values:
    def use(path: Path) -> Values:
        save_codes(path, Codes(indices, values, n_latents, model))
        return {"file": np.fromfile(path, np.uint8)}

    return _on_disk(use)


def _write_model(backend: Backend, W_enc: Floats, b_enc: Floats, W_dec: Floats, k: int) -> Values:
    def use(path: Path) -> Values:
        save_model(path, Model(Params(W_enc, b_enc, W_dec), k))
        return {"file": np.fromfile(path, np.uint8)}

    return _on_disk(use)


EXTENSIONS = (distill_answers, names_answers, residual_answers, segments_answers, small_answers)
OF_EXTENSIONS = {name: function for module in EXTENSIONS for name, function in module.ANSWERS.items()}
ANSWERS: dict[str, Callable[..., Values]] = {
    name: OF_EXTENSIONS.get(name) or globals()[f"_{name}"] for name in OPERATIONS
}
"""The function for each operation; it takes the backend and the inputs as arguments."""
