"""Answer every operation of `compressae_ref.verify.operations` with the blocks of the specification."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from spec.generate import segment_answers
from spec.generate.program import Edit, listed, program

Values = dict[str, Any]

LARGE = 100_000
"""Number of weights above which the scalar code of the blocks is too slow."""

FORMATS = {"<f4": np.float32, "<f8": np.float64}


class Spec:
    """The specification, with or without edits."""

    def __init__(self, *edits: Edit) -> None:
        self.edits = edits

    def program(self, dtype: Any) -> Any:
        """Return the functions of the blocks in float32 or float64."""
        return program(np.dtype(dtype).name, self.edits)

    def answer(self, operation: str, inputs: Values) -> Values:
        """Return the outputs; AssertionError if the specification forbids the inputs."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs: Values = ANSWERS[operation](self, **inputs)
        return outputs


def _pairs(codes: list[tuple[list[int], list[Any]]], dtype: Any, suffix: str = "") -> Values:
    indices = np.array([row[0] for row in codes], np.int32).reshape(len(codes), -1)
    values = np.array([row[1] for row in codes], dtype).reshape(len(codes), -1)
    return {f"indices{suffix}": indices, f"values{suffix}": values}


def _rows(indices: Any, values: Any) -> list[tuple[list[int], list[Any]]]:
    return list(zip(indices.tolist(), listed(values), strict=True))


def _abs_topk(spec: Spec, pre: Any, k: int) -> Values:
    run = spec.program(pre.dtype)
    return _pairs([run.abs_topk(row, k) for row in listed(pre)], pre.dtype)


def _split_codes(spec: Spec, indices: Any, values: Any, k: int) -> Values:
    run = spec.program(values.dtype)
    split = [run.split_code(*row, k) for row in _rows(indices, values)]
    kept, rest = [each[0] for each in split], [each[1] for each in split]
    return _pairs(kept, values.dtype, "_k") | _pairs(rest, values.dtype, "_rest")


def _truncate(spec: Spec, indices: Any, values: Any, k: int) -> Values:
    split = _split_codes(spec, indices, values, k)
    return {"indices": split["indices_k"], "values": split["values_k"]}


def _normalize_rows(spec: Spec, x: Any) -> Values:
    run = spec.program(x.dtype)
    return {"x_unit": np.array([run.unit_row(row) for row in listed(x)], x.dtype)}


def _encode(spec: Spec, x: Any, W_enc: Any, b_enc: Any, k: int, zero_rows: str) -> Values:
    assert x.shape[1] == len(W_enc)
    run, wide = spec.program(W_enc.dtype), spec.program(np.result_type(x, W_enc))
    if W_enc.size > LARGE:
        return _encode_exactly(run, x, W_enc, b_enc, k)
    codes = []
    for row in listed(x.astype(np.result_type(x, W_enc))):
        if zero_rows == "empty" and not any(row):
            codes.append(run.encode_row(row, listed(W_enc), listed(b_enc), k, zero_rows))
        else:
            x_unit = listed(np.array(wide.unit_row(row)).astype(W_enc.dtype))
            codes.append(run.encode(x_unit, listed(W_enc), listed(b_enc), k))
    return _pairs(codes, W_enc.dtype)


def _encode_exactly(run: Any, x: Any, W_enc: Any, b_enc: Any, k: int) -> Values:
    """Encode with a matrix product, for inputs whose sums are exact in float32 in any order.

    The product then has the bits of the blocks, which would take minutes. Edits have an effect only if they change unit
    rows, the bias or the selection.
    """
    x_unit = np.array([run.unit_row(row) for row in listed(x)], x.dtype)
    product = x_unit.astype(np.float64) @ W_enc
    bias = run.pre_activations([0.0], [[0.0] * len(b_enc)], listed(b_enc))
    pre = (product + np.array(bias, np.float64)).astype(np.float32)
    return _pairs([run.abs_topk(row, k) for row in listed(pre)], x.dtype)


def _refine(spec: Spec, x: Any, indices: Any, W_dec: Any, k: int, zero_rows: str) -> Values:
    run, wide = spec.program(W_dec.dtype), spec.program(np.result_type(x, W_dec))
    atoms, codes = listed(W_dec), []
    for row, latents in zip(listed(x.astype(np.result_type(x, W_dec))), indices.tolist(), strict=True):
        if zero_rows == "empty" and not any(row):
            codes.append(run.refine_row(row, latents, atoms, k, zero_rows))
        else:
            codes.append(run.refine(listed(np.array(wide.unit_row(row)).astype(W_dec.dtype)), latents, atoms, k))
    return _pairs(codes, W_dec.dtype)


def _pack(spec: Spec, indices: Any, values: Any, n_latents: int, bits: int) -> Values:
    run = spec.program(values.dtype)
    packed = [run.pack(*row, n_latents, bits) for row in _rows(indices, values)]
    return {"packed": np.array([list(row) for row in packed], np.uint8)}


def _unpack(spec: Spec, packed: Any, n_latents: int, k: int, bits: int) -> Values:
    run = spec.program(np.float64)
    return _pairs([run.unpack(bytes(row), n_latents, k, bits) for row in packed], np.float32)


def _codec(dtype: Any, basis: Any, scales: Any, bits: Any, lengths: Any, k: int, value_bits: int) -> Values:
    floats = {"basis": basis, "scales": scales, "lengths": lengths}
    whole = {"bits": bits.tolist(), "k": k, "value_bits": value_bits}
    return {name: listed(array.astype(dtype)) for name, array in floats.items()} | whole


def _encode_residual(spec: Spec, x: Any, packed: Any, W_dec: Any, **fields: Any) -> Values:
    run, wide = spec.program(W_dec.dtype), spec.program(np.result_type(x, W_dec))
    codec, atoms, rest = _codec(W_dec.dtype, **fields), listed(W_dec), []
    for row, sparse in zip(listed(x.astype(np.result_type(x, W_dec))), packed, strict=True):
        x_unit = listed(np.array(wide.unit_row(row)).astype(W_dec.dtype))
        rest.append(list(run.residual_bytes(x_unit, bytes(sparse), atoms, codec)))
    return {"rest": np.array(rest, np.uint8)}


def _decode_residual(spec: Spec, packed: Any, rest: Any, W_dec: Any, **fields: Any) -> Values:
    run, codec, atoms = spec.program(W_dec.dtype), _codec(W_dec.dtype, **fields), listed(W_dec)
    rows = [run.decode_residual(bytes(b), bytes(a), atoms, codec) for a, b in zip(packed, rest, strict=True)]
    return {"x_hat": np.array(rows, W_dec.dtype)}


def _search_residual(spec: Spec, top: int, queries: Any, packed: Any, rest: Any, W_dec: Any, **fields: Any) -> Values:
    run, codec, atoms = spec.program(W_dec.dtype), _codec(W_dec.dtype, **fields), listed(W_dec)
    items = [(bytes(b), bytes(a)) for a, b in zip(packed, rest, strict=True)]
    units = [run.unit_row(query) for query in listed(queries)]
    assert queries.shape[1] == W_dec.shape[1]
    scores = [[run.residual_score(x_unit, *item, atoms, codec) for item in items] for x_unit in units]
    return _best(run, scores, top, W_dec.dtype)


def _decode(spec: Spec, indices: Any, values: Any, W_dec: Any) -> Values:
    run = spec.program(values.dtype)
    return {"x_hat": np.array([run.decode(*row, listed(W_dec)) for row in _rows(indices, values)], values.dtype)}


def _search(
    spec: Spec,
    space: str,
    top: int,
    n_latents: int,
    indices: Any,
    values: Any,
    W_dec: Any = None,
    queries: Any = None,
    query_indices: Any = None,
    query_values: Any = None,
    model: str | None = None,
    query_model: str | None = None,
) -> Values:
    assert indices.max() < n_latents
    assert None in (model, query_model) or model == query_model
    run, items = spec.program(values.dtype), _rows(indices, values)
    asked = listed(queries) if space == "asymmetric" else _rows(query_indices, query_values)
    atoms = None if W_dec is None else listed(W_dec)
    cosines: dict[str, Callable[[Any, Any], Any]] = {
        "sparse": lambda query, item: run.sparse_cosine(query, item, n_latents),
        "reconstructed": lambda query, item: run.reconstructed_cosine(query, item, atoms),
        "asymmetric": lambda query, item: run.asymmetric_cosine(run.unit_row(query), item, atoms),
    }
    return _best(run, [[cosines[space](query, item) for item in items] for query in asked], top, values.dtype)


def _expanded_search(
    spec: Spec, top: int, m: int, n_latents: int, indices: Any, values: Any, W_dec: Any, queries: Any
) -> Values:
    run, atoms, items = spec.program(values.dtype), listed(W_dec), _rows(indices, values)
    asked = [run.unit_row(query) for query in listed(queries)]
    scores = [[run.expanded_cosine(query, item, atoms, m) for item in items] for query in asked]
    return _best(run, scores, top, values.dtype)


def _center_rows(spec: Spec, x: Any, mean: Any) -> Values:
    run, wide = spec.program(mean.dtype), spec.program(np.result_type(x, mean))
    units = [np.array(wide.unit_row(row)).astype(mean.dtype) for row in listed(x.astype(np.result_type(x, mean)))]
    return {"x_unit": np.array([run.center_row(listed(unit), listed(mean)) for unit in units], mean.dtype)}


def _center_search(
    spec: Spec,
    space: str,
    top: int,
    n_latents: int,
    indices: Any,
    values: Any,
    W_dec: Any,
    mean: Any,
    queries: Any = None,
    query_indices: Any = None,
    query_values: Any = None,
) -> Values:
    assert top >= 1
    run, items, atoms, dtype = spec.program(values.dtype), _rows(indices, values), listed(W_dec), values.dtype
    if space == "asymmetric":
        asked = [run.unit_row(query) for query in listed(queries)]
    else:
        asked = [run.restore(run.decode(*query, atoms), listed(mean)) for query in _rows(query_indices, query_values)]
    found = [run.centered_best(query, items, atoms, listed(mean), top) for query in asked]
    return {"ids": np.array([ids for ids, _ in found], np.int64), "scores": np.array([s for _, s in found], dtype)}


def _best(run: Any, scores: list[list[Any]], top: int, dtype: Any) -> Values:
    ids = [run.best(row, top) for row in scores]
    best = [[row[i] for i in found] for row, found in zip(scores, ids, strict=True)]
    return {"ids": np.array(ids, np.int64), "scores": np.array(best, dtype)}


def _cosine(spec: Spec, x_unit: Any, x_hat: Any, grad_cos: Any) -> Values:
    run = spec.program(x_unit.dtype)
    rows = list(zip(listed(x_unit), listed(x_hat), listed(grad_cos), strict=True))
    return {
        "cos": np.array([run.cosine(a, b) for a, b, _ in rows], x_unit.dtype),
        "grad_x_hat": np.array([run.cosine_backward(grad, a, b) for a, b, grad in rows], x_unit.dtype),
    }


def _losses(run: Any, x: Any, arrays: list[Any], k: int) -> tuple[Values, Values]:
    """Return the losses in float64, and the cosines."""
    params = [listed(array) for array in arrays]
    cos_k, cos_aux = [], []
    for row in listed(x):
        x_unit = run.unit_row(row)
        _, _, x_hat_k, x_hat_aux = run.forward(x_unit, *params, k)
        cos_k.append(run.cosine(x_unit, x_hat_k))
        cos_aux.append(run.cosine(x_unit, x_hat_aux))
    losses = [(1 - np.array(cos, np.float64)).mean() for cos in (cos_k, cos_aux)]
    named = dict(zip(("loss_k", "loss_aux", "loss"), (*losses, losses[0] + losses[1] / 8), strict=True))
    cosines = {"cos_k": np.array(cos_k, x.dtype), "cos_aux": np.array(cos_aux, x.dtype)}
    return {name: np.array(value, np.float64) for name, value in named.items()}, cosines


def _gradients(spec: Spec, x: Any, W_enc: Any, b_enc: Any, W_dec: Any, k: int) -> Values:
    run = spec.program(W_enc.dtype)
    grads = run.gradients(listed(x), listed(W_enc), listed(b_enc), listed(W_dec), k)
    names = ("grad_W_enc", "grad_b_enc", "grad_W_dec")
    losses, _ = _losses(run, x, [W_enc, b_enc, W_dec], k)
    return losses | {name: np.array(grad, W_enc.dtype) for name, grad in zip(names, grads, strict=True)}


def _adam(spec: Spec, param: Any, grad: Any, m: Any, v: Any, step: int, lr: Any) -> Values:
    run = spec.program(param.dtype)
    entries = zip(*(listed(array) for array in (param, grad, m, v)), strict=True)
    moved = [run.adam(*entry, step, float(lr)) for entry in entries]
    columns = zip(("param", "m", "v"), zip(*moved, strict=True), strict=True)
    return {name: np.array(column, param.dtype) for name, column in columns}


def _renormalize(spec: Spec, W_dec: Any) -> Values:
    return {"W_dec": np.array(spec.program(W_dec.dtype).renormalize(listed(W_dec)), W_dec.dtype)}


def _project(spec: Spec, grad_W_dec: Any, W_dec: Any) -> Values:
    projected = spec.program(W_dec.dtype).project(listed(grad_W_dec), listed(W_dec))
    return {"grad_W_dec": np.array(projected, W_dec.dtype)}


def _init_params(spec: Spec, u_enc: Any, u_dec: Any, init: str) -> Values:
    arrays = spec.program(np.float64).initial(u_enc.tolist(), u_dec.tolist(), init == "tied")
    return {
        name: np.array(array, np.float64).astype(np.float32)
        for name, array in zip(("W_enc", "b_enc", "W_dec"), arrays, strict=True)
    }


def _train_steps(
    spec: Spec, batches: Any, W_enc: Any, b_enc: Any, W_dec: Any, k: int, lr: Any, renormalize: str
) -> Values:
    run, dtype = spec.program(W_enc.dtype), W_enc.dtype
    params = [listed(array) for array in (W_enc, b_enc, W_dec)]
    m, v = ([np.zeros_like(array) for array in (W_enc, b_enc, W_dec)] for _ in range(2))
    m, v = ([listed(array) for array in moments] for moments in (m, v))
    outputs: Values = {}
    for step, batch in enumerate(batches, start=1):
        before = [np.array(array, dtype) for array in params]
        inner = _intermediates(run, batch, before, k)
        recorded: dict[str, Any] = {}
        run_with_hook = _recording(run, recorded)
        params = list(run_with_hook(listed(batch), params, m, v, step, k, float(lr), renormalize == "before_step"))
        inner |= {name: np.array(value, dtype) for name, value in recorded.items()}
        for name, moments in (("m", m), ("v", v), ("", params)):
            for which, array in zip(("W_enc", "b_enc", "W_dec"), moments, strict=True):
                inner[f"{name}_{which}" if name else which] = np.array(array, dtype)
        outputs |= {f"{step}.{name}": value for name, value in inner.items()}
    return outputs


def _recording(run: Any, recorded: dict[str, Any]) -> Callable[..., Any]:
    """Return ``run.train_step`` that also records the gradients, and the atoms before they become unit rows."""
    names, move = dict(vars(run)), run.move

    def recording_move(p: Any, g: Any, *rest: Any) -> None:
        name = ("grad_W_enc", "grad_b_enc", "grad_W_dec")[len([key for key in recorded if key.startswith("grad_")])]
        recorded[name] = np.array(g[0] if name == "grad_b_enc" else g)
        move(p, g, *rest)
        if name == "grad_W_dec":
            recorded["W_dec_stepped"] = np.array(p)

    names["move"] = recording_move
    function = run.train_step
    recording: Callable[..., Any] = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    return recording


def _intermediates(run: Any, batch: Any, arrays: list[Any], k: int) -> Values:
    """Return the intermediate values of a step, computed by the functions that the block ``gradients`` calls."""
    params, dtype = [listed(array) for array in arrays], arrays[0].dtype
    columns: dict[str, list[Any]] = {}

    def keep(name: str, value: Any) -> None:
        columns.setdefault(name, []).append(value)

    for row in listed(batch):
        x_unit = run.unit_row(row)
        code_k, code_rest, x_hat_k, x_hat_aux = run.forward(x_unit, *params, k)
        grad_k, grad_aux = run.loss_backward(x_unit, x_hat_k, x_hat_aux, len(batch))
        for name, value in (
            ("x_unit", x_unit),
            ("indices_k", code_k[0]),
            ("values_k", code_k[1]),
            ("indices_rest", code_rest[0]),
            ("values_rest", code_rest[1]),
            ("x_hat_k", x_hat_k),
            ("x_hat_aux", x_hat_aux),
            ("grad_x_hat_k", grad_k),
            ("grad_x_hat_aux", grad_aux),
            ("grad_values_k", run.decode_backward_values(grad_k, code_k[0], params[2])),
            ("grad_values_rest", run.decode_backward_values(grad_aux, code_rest[0], params[2])),
        ):
            keep(name, value)
    losses, cosines = _losses(run, batch, arrays, k)
    rows = {
        name: np.array(column, np.int32 if name.startswith("indices") else dtype).reshape(len(batch), -1)
        for name, column in columns.items()
    }
    return rows | cosines | losses


def _bytes(file: Any) -> bytes:
    return bytes(file.tobytes())


def _softmax_others(spec: Spec, cosines: Any, factor: Any) -> Values:
    run = spec.program(cosines.dtype)
    shares = [run.softmax_others(row, i, float(factor)) for i, row in enumerate(listed(cosines))]
    return {"shares": np.array(shares, cosines.dtype)}


def _similarity_gradients(
    spec: Spec,
    x: Any,
    W_enc: Any,
    b_enc: Any,
    W_dec: Any,
    k: int,
    temperature: Any,
    weight: Any,
    theta: Any,
    **target: Any,
) -> Values:
    run, arrays = spec.program(W_enc.dtype), (listed(W_enc), listed(b_enc), listed(W_dec))
    settings, related = (float(temperature), float(weight)), _related(run, **target) if target else ()
    grads, grad_theta = run.distill_gradients(listed(x), *arrays, k, *settings, theta.tolist(), *related)
    loss = _similarity_loss(run, listed(x), arrays, k, settings[0], theta.tolist(), *related)
    named = zip(("grad_W_enc", "grad_b_enc", "grad_W_dec"), grads, strict=True)
    outputs = {name: np.array(grad, W_enc.dtype) for name, grad in named}
    return {"loss_similarity": np.array(loss), **outputs, "grad_theta": np.array(grad_theta)}


def _related(run: Any, rows: Any, pairs: Any, relevance_weight: Any) -> tuple[list[list[int]], float]:
    """Return R and λ of E34."""
    related = run.relations(int(max(rows.max(), pairs.max())) + 1, pairs.tolist())
    return run.related_rows(rows.tolist(), related), float(relevance_weight)


def _related_batches(spec: Spec, drawn: Any, pairs: Any, step: int) -> Values:
    run = spec.program(np.float64)
    related = run.relations(int(max(drawn.max(), pairs.max())) + 1, pairs.tolist())
    return {"rows": np.array(run.related_batch(drawn.tolist(), related, step), np.int64)}


def _related_targets(spec: Spec, shares: Any, **target: Any) -> Values:
    run = spec.program(shares.dtype)
    return {"targets": np.array(run.related_targets(listed(shares), *_related(run, **target)), shares.dtype)}


def _similarity_loss(
    run: Any, batch: Any, arrays: Any, k: int, tau: float, theta: list[float], R: Any = None, share: float = 0.0
) -> float:
    """Return the similarity loss of E31 in float64."""
    if len(batch) < 2:
        return 0.0
    x_units = [run.unit_row(row) for row in batch]
    codes, rests = zip(*[run.forward(x_unit, *arrays, k)[:2] for x_unit in x_units], strict=True)
    longs = [run.long_code(*pair) for pair in zip(codes, rests, strict=True)]
    dense = np.array([[run.dot(a, b) for b in x_units] for a in x_units], np.float64)
    loss = 0.0
    for queries, scale in zip((codes, longs), np.exp(theta), strict=True):
        cosines = [[run.sparse_cosine(query, item, len(arrays[1])) for item in codes] for query in queries]
        log_p, log_r = (_log_shares(logits / tau) for logits in (dense, scale * np.array(cosines, np.float64)))
        others = ~np.eye(len(batch), dtype=bool)
        if R is not None:
            p = np.array(run.related_targets(np.where(others, np.exp(log_p), 0).tolist(), R, share))
            log_p = np.log(np.where(p > 0, p, 1))
            loss += float((p * (log_p - log_r))[others].sum() / len(batch))
            continue
        loss += float((np.exp(log_p) * (log_p - log_r))[others].sum() / len(batch))
    return loss


def _log_shares(logits: Any) -> Any:
    largest = logits.max(axis=1, keepdims=True)
    powers = np.where(np.eye(len(logits), dtype=bool), 0, np.exp(logits - largest))
    return logits - largest - np.log(powers.sum(axis=1, keepdims=True))


def _distill_steps(
    spec: Spec, batches: Any, W_enc: Any, b_enc: Any, W_dec: Any, k: int, lr: Any, temperature: Any, weight: Any
) -> Values:
    run, dtype = spec.program(W_enc.dtype), W_enc.dtype
    params = [listed(array) for array in (W_enc, b_enc, W_dec)]
    m, v = ([listed(np.zeros_like(array)) for array in (W_enc, b_enc, W_dec)] for _ in range(2))
    scales, settings = run.start_scales(), (float(temperature), float(weight))
    for step, batch in enumerate(batches, start=1):
        params = list(run.distill_step(listed(batch), params, m, v, scales, step, k, float(lr), *settings))
    named = zip(("W_enc", "b_enc", "W_dec"), params, strict=True)
    return {name: np.array(array, dtype) for name, array in named} | {"theta": np.array(scales[0])}


def _fitted_codes(spec: Spec, x: Any, anchors: Any, W_enc: Any, b_enc: Any, zero_rows: str, **sizes: int) -> Values:
    run, k = spec.program(W_enc.dtype), sizes["k"]
    empty = [] if zero_rows == "error" else [number for number, row in enumerate(x) if not row.any()]
    rows = [row for number, row in enumerate(listed(x)) if number not in empty]
    codes = run.fitted_codes(rows, listed(anchors), listed(W_enc), listed(b_enc), **sizes)
    for number in empty:
        codes.insert(number, (list(range(k)), [0.0] * k))
    return _pairs(codes, W_enc.dtype)


def _words_of(spec: Spec, text: str) -> Values:
    return {"words": spec.program(np.float64).words_of(text)}


def _name_segments(
    spec: Spec, texts: list[str | None], keys: Any, segments: Any, method: str, most_words: int
) -> Values:
    run, members = spec.program(np.float64), [[s for s in row if s >= 0] for row in segments.tolist()]
    names, terms, scores, counts, rates, wordless = run.name_segments(texts, keys.tolist(), members, method, most_words)
    recall, precision, f1 = np.array(rates, np.float64).reshape(-1, 3).T
    return {
        "names": names,
        "lengths": np.array([len(each) for each in terms], np.int64),
        "terms": [each for own in terms for each in own],
        "scores": np.array([each for own in scores for each in own], np.float64),
        "items": np.array([each for own in counts for each in own], np.int64),
        "recall": recall.copy(),
        "precision": precision.copy(),
        "f1": f1.copy(),
        "wordless": wordless,
    }


def _kept_latents(spec: Spec, x: Any, W_enc: Any, b_enc: Any, k: int, m: int) -> Values:
    kept = spec.program(W_enc.dtype).kept_latents(listed(x), listed(W_enc), listed(b_enc), k, m)
    return {"latents": np.array(kept, np.int32)}


def _read_model(spec: Spec, file: Any) -> Values:
    arrays, k, digest = spec.program(np.float64).read_model(_bytes(file))
    outputs: Values = {
        name: np.frombuffer(raw, descr).reshape(shape).astype(FORMATS[descr])
        for name, (descr, shape, raw) in arrays.items()
    }
    return outputs | {"k": k, "digest": digest}


def _read_codes(spec: Spec, file: Any) -> Values:
    run = spec.program(np.float64)
    rows, n_latents, model = run.read_codes(_bytes(file))
    dtype = FORMATS[run.array(run.members(_bytes(file))["data"])[0]]
    return _pairs(rows, dtype) | {"n_latents": n_latents, "model": model}


def _read_packed(spec: Spec, file: Any) -> Values:
    rows, n_latents, k, bits, model = spec.program(np.float64).read_packed(_bytes(file))
    packed = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    return {"packed": packed, "n_latents": n_latents, "k": k, "bits": bits, "model": model}


def _read_version_3(spec: Spec, file: Any, reader: str) -> Values:
    arrays, k, digest = getattr(spec.program(np.float64), reader)(_bytes(file))
    read = {name: arrays[name] for name in ("W_enc", "b_enc", "W_dec") if name in arrays}
    outputs: Values = {
        name: np.frombuffer(raw, descr).reshape(shape).astype(FORMATS[descr])
        for name, (descr, shape, raw) in read.items()
    }
    return outputs | {"k": k, "digest": digest}


def _read_small_model(spec: Spec, file: Any) -> Values:
    return _read_version_3(spec, file, "read_small_model")


def _read_encoder(spec: Spec, file: Any) -> Values:
    return _read_version_3(spec, file, "read_encoder")


def _round_weights(spec: Spec, W_enc: Any, W_dec: Any) -> Values:
    run = spec.program(np.float64)
    columns = [run.round_column(weights) for weights in W_enc.astype(np.float64).T.tolist()]
    atoms = [run.round_atom(weights) for weights in W_dec.astype(np.float64).tolist()]
    return {
        "W_enc_q": np.array([q for q, _ in columns], np.int32).T.copy(),
        "W_enc_scales": np.array([scale for _, scale in columns], np.float32),
        "W_dec_q": np.array([q for q, _ in atoms], np.int32),
        "W_dec_scales": np.array([scale for _, scale in atoms], np.float32),
    }


def _decode_weights(spec: Spec, W_enc_q: Any, W_enc_scales: Any, W_dec_q: Any, W_dec_scales: Any) -> Values:
    run = spec.program(np.float64)
    scales = W_enc_scales.astype(np.float64).tolist(), W_dec_scales.astype(np.float64).tolist()
    W_enc = [[run.decode_weight(q, scales[0][j]) for j, q in enumerate(row)] for row in W_enc_q.tolist()]
    W_dec = [[run.decode_weight(q, scales[1][j]) for q in row] for j, row in enumerate(W_dec_q.tolist())]
    return {"W_enc": np.array(W_enc, np.float32), "W_dec": np.array(W_dec, np.float32)}


def text_array(text: str) -> bytes:
    """Return a member of an archive that holds one string."""
    return bytes(program().npy(f"<U{len(text)}", [], text.encode("utf-32-le")))


def meta_array(meta: dict[str, Any]) -> bytes:
    """Return the member ``meta``."""
    return text_array(json.dumps(meta, sort_keys=True))


def codes_file(spec: Spec, indices: Any, values: Any, n_latents: int, model: str | None) -> bytes:
    """Return the bytes of a codes file, made by the blocks of section 5."""
    run = spec.program(np.float64)
    (n, k), raw = indices.shape, {4: "<f4", 8: "<f8"}[values.itemsize]
    meta = {"format": "compressae-codes", "version": 1, "k": k, "n_latents": n_latents, "model": model}
    files = [
        ("data", run.npy(raw, [n * k], values.astype(raw).tobytes())),
        ("indices", run.npy("<i4", [n * k], indices.astype("<i4").tobytes())),
        ("indptr", run.npy("<i4", [n + 1], (np.arange(n + 1) * k).astype("<i4").tobytes())),
        ("shape", run.npy("<i8", [2], np.array([n, n_latents], "<i8").tobytes())),
        ("format", run.npy("|S3", [], b"csr")),
        ("_is_array", run.npy("|b1", [], b"\x01")),
        ("meta", meta_array(meta)),
    ]
    return bytes(run.archive(files))


def model_arrays(W_enc: Any, b_enc: Any, W_dec: Any) -> dict[str, tuple[str, list[int], bytes]]:
    """Return the arrays of a model as (descr, shape, bytes), as the blocks represent them."""
    descr = {4: "<f4", 8: "<f8"}[W_dec.itemsize]
    named = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec}
    return {name: (descr, list(array.shape), array.astype(descr).tobytes()) for name, array in named.items()}


def model_meta(spec: Spec, arrays: dict[str, tuple[str, list[int], bytes]], k: int) -> dict[str, Any]:
    """Return the meta of a model file."""
    h, d = arrays["W_dec"][1]
    return {
        "format": "compressae-model",
        "version": 1,
        "d": d,
        "n_latents": h,
        "k": k,
        "dtype": {"<f4": "float32", "<f8": "float64"}[arrays["W_dec"][0]],
        "digest": spec.program(np.float64).digest_of(arrays),
        "training": {},
    }


def model_file(spec: Spec, W_enc: Any, b_enc: Any, W_dec: Any, k: int) -> bytes:
    """Return the bytes of a model file, made by the blocks of section 5."""
    run, arrays = spec.program(np.float64), model_arrays(W_enc, b_enc, W_dec)
    files = [(name, run.npy(*array)) for name, array in arrays.items()]
    return bytes(run.archive([*files, ("meta", meta_array(model_meta(spec, arrays, k)))]))


def _write_codes(spec: Spec, indices: Any, values: Any, n_latents: int, model: str | None) -> Values:
    return {"file": np.frombuffer(codes_file(spec, indices, values, n_latents, model), np.uint8)}


def _write_model(spec: Spec, W_enc: Any, b_enc: Any, W_dec: Any, k: int) -> Values:
    return {"file": np.frombuffer(model_file(spec, W_enc, b_enc, W_dec, k), np.uint8)}


ANSWERS: dict[str, Callable[..., Values]] = {
    "abs_topk": _abs_topk,
    "truncate": _truncate,
    "split_codes": _split_codes,
    "normalize_rows": _normalize_rows,
    "encode": _encode,
    "refine": _refine,
    "pack": _pack,
    "unpack": _unpack,
    "encode_residual": _encode_residual,
    "decode_residual": _decode_residual,
    "search_residual": _search_residual,
    "decode": _decode,
    "search": _search,
    "expanded_search": _expanded_search,
    "center_rows": _center_rows,
    "center_search": _center_search,
    "cosine": _cosine,
    "gradients": _gradients,
    "adam": _adam,
    "renormalize": _renormalize,
    "project": _project,
    "init_params": _init_params,
    "train_steps": _train_steps,
    "softmax_others": _softmax_others,
    "similarity_gradients": _similarity_gradients,
    "distill_steps": _distill_steps,
    "related_batches": _related_batches,
    "related_targets": _related_targets,
    "related_gradients": _similarity_gradients,
    "kept_latents": _kept_latents,
    "fitted_codes": _fitted_codes,
    "words_of": _words_of,
    "name_segments": _name_segments,
    "read_model": _read_model,
    "read_codes": _read_codes,
    "read_packed": _read_packed,
    "read_small_model": _read_small_model,
    "read_encoder": _read_encoder,
    "round_weights": _round_weights,
    "decode_weights": _decode_weights,
    "write_codes": _write_codes,
    "write_model": _write_model,
    **segment_answers.ANSWERS,
}
