"""Write the encoder, or what turns a dense query into a vector over the latents, as an ONNX graph for other runtimes.

The graphs use standard operators of opset 17 and no control flow. Input ``x`` (n, d) has the model's dtype, any scale
and any n. `save_onnx` describes the outputs. ONNX prescribes no order of sums: the selection and the values are those
of `Model.encode` but for rounding, and ``compressae-ref verify`` judges the difference.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import SPEC_VERSION
from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import DomainError
from compressae_ref.files.atomic_write import replacing
from compressae_ref.files.npz import PathLike
from compressae_ref.files.stored_weights import Weights, decoded, stored
from compressae_ref.model import Encoder
from compressae_ref.optional import require_package

OPSET, IR_VERSION = 17, 8
"""The oldest versions that have every operator used here: runtimes refuse files of versions that they do not know."""

MOST_BYTES = 2**31 - 1
"""The longest message of protocol buffers, and so the longest ONNX file without external data."""

Query = Literal["expanded", "asymmetric"]

CHECKED = """
    x_abs = Abs (x)
    is_finite = LessOrEqual (x_abs, largest_number)
    finite_entries = Cast <to = 6> (is_finite)
    finite_row = ReduceMin <axes = [1]> (finite_entries)
    finite = Cast <to = 9> (finite_row)
    rows = Where (finite, x, zero)
"""
"""A row with NaN or infinity becomes a zero row: an invalid number would make the selection undefined."""

UNIT = """
    NAME_abs = Abs (ROWS)
    NAME_largest = ReduceMax <axes = [1]> (NAME_abs)
    NAME_reached = GreaterOrEqual (NAME_largest, thresholds)
    NAME_reached_number = Cast <to = 7> (NAME_reached)
    NAME_range = ReduceSum (NAME_reached_number, axis_1)
    NAME_scale = Gather (scales, NAME_range)
    NAME_scaled = Mul (ROWS, NAME_scale)
    NAME_squares = Mul (NAME_scaled, NAME_scaled)
    NAME_square = ReduceSum (NAME_squares, axis_1)
    NAME_norm = Sqrt (NAME_square)
    NAME_divisor = Max (NAME_norm, smallest_number)
    NAME = Div (NAME_scaled, NAME_divisor)
"""
"""Unit rows (E3). Any power of two gives the same unit row, as long as no square overflows or underflows: one of five
is enough. A zero row stays zero."""

CENTRED = """
    without_mean = Sub (x_unit, mean)
"""
"""Rows without the mean (E26), which become unit rows again."""

PRE_ACTIVATIONS = """
    pre_activations = Gemm (ENCODED, W_enc, b_enc)
    nonzero = Greater (x_unit_largest, zero)
    candidates = Where (nonzero, pre_activations, zero)
"""
"""Pre-activations (E4); zeros for a zero row, so that its code has zeros at the indices 0 to k − 1 (R4)."""

OVER_LATENTS = """
    candidates = Gemm <transB = 1> (x_unit, W_dec)
"""
"""u = W_dec x̄ (E10)."""

SELECTED = """
    magnitudes = Abs (candidates)
    largest, by_magnitude = TopK (magnitudes, k)
    ascending, by_largest = TopK <largest = 0> (by_magnitude, k)
    signed = GatherElements <axis = 1> (candidates, ascending)
    is_zero = Equal (signed, zero)
    stored = Where (is_zero, zero, signed)
    values = Where (finite, stored, not_a_number)
    indices = Cast <to = 6> (ascending)
"""
"""The k largest magnitudes, by ascending index, −0 as +0 (E5). TopK puts the lower of equal entries first (R1)."""

DECODED = {
    "float16": """
    NAME = Cast <to = 1> (NAME_stored)
""",
    "int8": """
    NAME_integers = Cast <to = 1> (NAME_stored)
    NAME = Mul (NAME_integers, NAME_scales)
""",
}
"""Weights in fewer bytes (E64). A runtime computes them once, when it loads the file."""

ALL = """
    values = Where (finite, candidates, not_a_number)
"""


class Graph(NamedTuple):
    """A graph before it becomes a file."""

    name: str
    nodes: str
    weights: tuple[str, ...]
    k: int | None
    """entries selected per row; None: all entries are returned"""
    outputs: dict[str, str]
    """what each output is"""


def graph_of(model: Encoder, query: Query | None = None, query_k: int | None = None) -> Graph:
    """Return the graph of the encoder, or of queries in a space. DomainError for ``query_k`` above h."""
    h, unit = model.params.n_latents, CHECKED + _unit("x_unit", "rows")
    if query == "asymmetric":
        outputs = {"values": "float (n, n_latents): u = W_dec x_unit"}
        return Graph("query", unit + OVER_LATENTS + ALL, ("W_dec",), None, outputs)
    kept = "int32 (n, k): latents, ascending", "(n, k): "
    if query == "expanded":
        m = as_k(query_k, h, name="query_k")
        outputs = {"indices": kept[0], "values": kept[1] + "the k largest magnitudes of W_dec x_unit"}
        return Graph("expanded_query", unit + OVER_LATENTS + SELECTED, ("W_dec",), m, outputs)
    centred = model.params.mean is not None
    if centred:
        unit += CENTRED + _unit("encoded", "without_mean")
    encode = PRE_ACTIVATIONS.replace("ENCODED", "encoded" if centred else "x_unit")
    outputs = {"indices": kept[0], "values": kept[1] + "pre-activations at these latents"}
    weights = ("W_enc", "b_enc", *(("mean",) if centred else ()))
    return Graph("encoder", unit + encode + SELECTED, weights, as_k(model.k, h), outputs)


def save_onnx(
    path: PathLike,
    model: Encoder,
    *,
    weights: Weights | None = None,
    query: Query | None = None,
    query_k: int | None = None,
    k_input: bool = False,
) -> None:
    """Write an ONNX graph.

    Its outputs are ``indices`` (n, k) int32, ascending, and ``values`` (n, k). A zero row has zeros at the indices 0 to
    k − 1. A row with NaN or infinity has NaN as its values: ONNX has no errors.

    Parameters
    ----------
    weights : "float16" or "int8" for a model that was read from a file with such weights: they are stored as there
    query : None: the encoder (E3, E4, E5). "expanded": the ``query_k`` largest entries of u = W_dec x̄ (E23).
        "asymmetric": ``values`` alone, here all h entries of u. With a centred model, x̄ keeps its mean (E28)
    query_k : m, the number of entries of an expanded query
    k_input : whether the number of entries is an optional input ``k`` (1,) int64 with the usual number as its default

    Raises
    ------
    BackendError
        If the package onnx is not installed.
    DomainError
        For ``query_k`` above h, weights that would change, or a graph above 2 GB.
    """
    onnx = require_package("onnx", "onnx", ".onnx files")
    params, graph = as_params(model.params), graph_of(model, query, query_k)
    arrays = {name: getattr(params, name) for name in graph.weights}
    if weights in DECODED:
        arrays, nodes = _in_fewer_bytes(arrays, weights)
        graph = graph._replace(nodes=nodes + graph.nodes)
    arrays |= _constants(params.dtype)
    size = sum(array.nbytes for array in arrays.values())
    if size > MOST_BYTES - (1 << 20):
        raise DomainError(
            f"expected at most 2 GB of weights, the limit of an ONNX file, got {size / 1e9:.1f} GB", path=path
        )
    built = _model_proto(onnx, model, graph, arrays, k_input)
    with replacing(path) as file:
        file.write(built.SerializeToString())


def _unit(name: str, rows: str) -> str:
    return UNIT.replace("NAME", name).replace("ROWS", rows)


def _in_fewer_bytes(arrays: dict[str, NDArray[Any]], weights: Weights) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays as stored, and the nodes that decode them. DomainError for weights that would change."""
    found, nodes = dict(arrays), ""
    for name in {"W_enc", "W_dec"} & arrays.keys():
        members = stored(name, arrays[name], weights)
        change = np.abs(decoded(name, members, weights) - arrays[name]).max()
        if change != 0:
            message = f"expected {name} that {weights} holds exactly, got numbers that it changes by up to {change:.2g}"
            hint = "save the model with these weights and load that file: it is another model"
            raise DomainError(message, argument="weights", hint=hint)
        found |= {f"{name}_stored": members[name]}
        if weights == "int8":
            scales = members[f"{name}_scales"]
            found |= {f"{name}_scales": scales if name == "W_enc" else scales[:, None]}
        nodes += DECODED[weights].replace("NAME", name)
        del found[name]
    return found, nodes


def _constants(dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    """Return the constants of `CHECKED`, `UNIT` and `SELECTED`."""
    info = np.finfo(dtype)
    step = info.maxexp // 128
    powers = {"thresholds": (-96, -32, 32, 96), "scales": (120, 64, 0, -64, -96)}
    scalars = {"zero": 0, "not_a_number": np.nan, "largest_number": info.max, "smallest_number": info.tiny}
    return {
        **{name: np.ldexp(np.ones(len(of), dtype), np.array(of) * step) for name, of in powers.items()},
        **{name: np.array(value, dtype) for name, value in scalars.items()},
        "axis_1": np.array([1]),
    }


def _model_proto(onnx: Any, model: Encoder, graph: Graph, arrays: dict[str, NDArray[Any]], k_input: bool) -> Any:
    """Assemble the file. An initializer that is also an input is its default."""
    d, h, real = model.params.d, model.params.n_latents, {"f": "float", "d": "double"}[model.params.dtype.char]
    width = h if graph.k is None else "k" if k_input else graph.k
    inputs, outputs = f"{real}[n, {d}] x", f"{real}[n, {width}] values"
    if graph.k is not None:
        arrays = arrays | {"k": np.array([graph.k])}
        inputs += ", int64[1] k" if k_input else ""
        outputs = f"int32[n, {width}] indices, {outputs}"
    proto = onnx.parser.parse_graph(f"{graph.name} ({inputs}) => ({outputs}) {{{graph.nodes}}}")
    used = {name for node in proto.node for name in node.input}
    tensors = (
        onnx.numpy_helper.from_array(np.ascontiguousarray(arrays[name]), name) for name in arrays if name in used
    )
    proto.initializer.extend(tensors)
    for value in proto.output:
        value.doc_string = graph.outputs[value.name]
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    built = onnx.helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="compressae_ref")
    onnx.helper.set_model_props(built, _properties(model, graph))
    return built


def _properties(model: Encoder, graph: Graph) -> dict[str, str]:
    """Return the metadata of the file: what it computes, and for which model."""
    params = model.params
    strings = {"graph": graph.name, "digest": model.digest, "specification": SPEC_VERSION}
    facts = {"d": params.d, "n_latents": params.n_latents, "k": graph.k, "centered": params.mean is not None}
    return strings | {name: json.dumps(value) for name, value in (facts | {"outputs": graph.outputs}).items()}
