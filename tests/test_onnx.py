"""ONNX graphs, executed by onnxruntime: the codes of `Model.encode` up to rounding, and the queries of two spaces."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import DomainError, Model, Params, get_backend, init_params, load_model, save_codes, save_model
from compressae_ref.cli.main import main
from compressae_ref.codes import Codes
from compressae_ref.files.weights import onnx_graph
from compressae_ref.files.weights.onnx_graph import save_onnx
from compressae_ref.retrieval.spaces import as_queries
from compressae_ref.verify.rounding_bounds import rounding_bounds
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_within, gamma

onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
reference = importlib.import_module("onnx.reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("graphs")


def session(path: Path) -> ort.InferenceSession:
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return ort.InferenceSession(path, options)


def executed(folder: Path, model: Model, x: np.ndarray, **settings: object) -> dict[str, np.ndarray]:
    """Write a graph, execute it, and return its outputs by name."""
    k = {"k": settings.pop("fed")} if "fed" in settings else {}
    save_onnx(folder / "graph.onnx", model, **settings)
    running = session(folder / "graph.onnx")
    return dict(zip([output.name for output in running.get_outputs()], running.run(None, {"x": x} | k), strict=True))


def assert_selected(found, exact, bounds, values):
    """The selection of ``exact`` (n, h) is right up to ``bounds``, and so are the values.

    So where the k-th magnitude exceeds the next one by more than the bounds of both, the selection is that of R1.
    """
    kept = np.zeros(exact.shape, bool)
    np.put_along_axis(kept, found, True, axis=1)
    assert (kept.sum(axis=1) == found.shape[1]).all()
    assert (np.diff(found, axis=1) > 0).all()
    highest = np.where(kept, np.abs(exact) + bounds, np.inf).min(axis=1)
    lowest = np.where(kept, -np.inf, np.abs(exact) - bounds).max(axis=1)
    assert (highest >= lowest).all()
    assert_within(values, np.take_along_axis(exact, found, axis=1), bounds[found], "values")


def unit(x):
    """Unit rows in more precision, for rows of any scale."""
    wide = x / np.abs(x).max(axis=1, keepdims=True).astype(np.longdouble)
    return wide / np.sqrt(np.square(wide).sum(axis=1, keepdims=True))


def assert_codes(model: Model, x: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Codes are right up to rounding, and have the selection of `Model.encode` where rounding cannot change it."""
    params, k, bounds = model.params.map(lambda array: array.astype(np.longdouble)), model.k, rounding_bounds(model)
    rows = unit(x) if params.mean is None else unit(unit(x) - params.mean)
    exact = rows @ params.W_enc + params.b_enc
    assert (found["indices"].dtype, found["values"].dtype) == (np.int32, model.params.dtype)
    assert_selected(found["indices"], exact, bounds, found["values"])
    order = np.sort(np.abs(exact), axis=1)[:, ::-1]
    below = order[:, k] if k < params.n_latents else -np.inf
    clear = order[:, k - 1] - below > 2 * bounds.max()
    ours = model.encode(x, backend="numpy")
    assert_same_bits(found["indices"][clear], ours.indices[clear])
    assert_within(found["values"][clear], ours.values[clear], 2 * bounds[ours.indices[clear]])


@st.composite
def models(draw_from, centred=st.booleans()):
    """Embeddings, and a model with or without a mean."""
    problem = draw_from(draw.problems(draw_from(st.sampled_from(draw.DTYPES))))
    params = problem.params
    if draw_from(centred):
        rng = draw_from(draw.generators())
        mean = unit(rng.standard_normal((1, params.d)))[0] * draw_from(st.sampled_from([0.0, 0.3, 0.9]))
        params = replace(params, mean=mean.astype(params.dtype))
    return problem.x, Model(params, problem.k)


@given(models())
def test_codes_are_those_of_encode_up_to_rounding(folder, drawn):
    x, model = drawn
    assert_codes(model, x, executed(folder, model, x))


@given(models(), st.data())
def test_queries_are_those_of_search_up_to_rounding(folder, drawn, data):
    """Atoms have norm 1, so γ bounds each entry of u as in `rounding_bounds`. The query keeps its mean (E28)."""
    x, model = drawn
    params = model.params
    exact = unit(x) @ params.W_dec.T.astype(np.longdouble)
    bounds = np.full(params.n_latents, 2 * gamma(2 * params.d + 16, params.dtype))
    u = executed(folder, model, x, query="asymmetric")["values"]
    assert_within(u, exact, bounds, "u")
    items = Codes.none(1, params.n_latents, params.dtype)
    assert_within(u, as_queries("asymmetric", x, items, model, None, get_backend("numpy")).u, 2 * bounds, "u of search")
    m = data.draw(st.integers(1, params.n_latents))
    found = executed(folder, model, x, query="expanded", query_k=m)
    assert_selected(found["indices"], exact, bounds, found["values"])


@given(draw.generators(), st.integers(1, 12), st.integers(1, 60), st.sampled_from(draw.DTYPES), st.data())
def test_equal_magnitudes_go_to_the_lower_index(folder, rng, d, h, dtype, data):
    """Rows along an axis have exact pre-activations, small integers, most of which are equal: nothing is rounded."""
    k = data.draw(st.integers(1, h))
    W_enc, b_enc = rng.integers(-2, 3, (d, h)), rng.integers(-1, 2, h) * np.where(rng.random(h) < 0.5, 1.0, -0.0)
    atoms = np.eye(d)[rng.integers(0, d, h)]
    model = Model(Params(*(np.ascontiguousarray(array, dtype) for array in (W_enc, b_enc, atoms))), k)
    x = (np.eye(d) * rng.choice([-1.0, 1.0, 8.0], d)).astype(dtype)
    expected, found = model.encode(x, backend="numpy"), executed(folder, model, x)
    by_onnx = reference.ReferenceEvaluator(str(folder / "graph.onnx")).run(None, {"x": x})
    for indices, values in (found.values(), by_onnx):
        assert_same_bits(indices, expected.indices)
        assert_same_bits(values, expected.values)


@pytest.fixture(scope="module", params=[None, 0.6], ids=["no mean", "centred"])
def model(request):
    params = init_params(12, 40, np.random.default_rng(0))
    mean = None if request.param is None else np.full(12, request.param / np.sqrt(12), "f4")
    return Model(replace(params, mean=mean), 5)


@pytest.mark.parametrize("query", [None, "expanded", "asymmetric"])
def test_the_scale_of_a_row_changes_no_bit(folder, model, query):
    """Every power of two that changes no digit, subnormal numbers too; the entries have 10 digits."""
    rng = np.random.default_rng(1)
    row = (rng.integers(512, 1024, 12) * rng.choice([-1, 1], 12)).astype("f4")
    exponents = np.arange(-149, 119)
    rows = np.ldexp(np.broadcast_to(row, (len(exponents), 12)), exponents[:, None])
    assert np.isfinite(rows).all()
    for output in executed(folder, model, rows, query=query, query_k=9).values():
        assert_same_bits(output, np.broadcast_to(output[0], output.shape))
    found = executed(folder, model, row[None], query=query, query_k=9)
    assert not query or np.linalg.norm(found["values"]) > 0.1


@pytest.mark.parametrize("query", [None, "expanded", "asymmetric"])
def test_rows_without_a_code_are_marked_and_leave_others_alone(folder, model, query):
    """A zero row is that of R4. ONNX knows no errors: a row that is not finite has NaN as all its values."""
    x = np.random.default_rng(2).standard_normal((6, 12)).astype("f4")
    plain = executed(folder, model, x, query=query, query_k=9)
    x[1], x[2, 3], x[3, 0], x[4, 11] = 0, np.nan, -np.inf, np.inf
    found = executed(folder, model, x, query=query, query_k=9)
    for name, output in found.items():
        assert_same_bits(output[[0, 5]], plain[name][[0, 5]])
    if "indices" in found:
        assert (found["indices"][1:5] == np.arange(found["indices"].shape[1])).all()
    assert_same_bits(found["values"][1], np.zeros_like(found["values"][1]))
    assert np.isnan(found["values"][2:5]).all()
    if query is None:
        empty = model.encode(x[:2], zero_rows="empty")
        assert_same_bits(found["indices"][1], empty.indices[1])


@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_a_batch_has_any_number_of_rows(folder, model, n):
    x = np.random.default_rng(3).standard_normal((n, 12)).astype("f4")
    found = executed(folder, model, x)
    assert found["indices"].shape == found["values"].shape == (n, model.k)
    assert executed(folder, model, x, query="asymmetric")["values"].shape == (n, 40)
    if n > 0:
        assert_codes(model, x, found)


def test_the_number_of_entries_can_be_an_input(folder, model):
    x = np.random.default_rng(4).standard_normal((20, 12)).astype("f4")
    for k in (1, 3, 40):
        assert_codes(replace(model, k=k), x, executed(folder, model, x, k_input=True, fed=np.array([k])))
    assert_codes(model, x, executed(folder, model, x, k_input=True))


@pytest.mark.parametrize("weights", ["float16", "int8"])
@pytest.mark.parametrize("query", [None, "expanded"])
def test_weights_in_fewer_bytes_are_stored_as_in_the_model_file(tmp_path, monkeypatch, capsys, weights, query):
    """The graph computes with the decoded weights: its outputs have the bits of the graph that stores those."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(6)
    save_model("model.npz", Model(init_params(64, 512, rng), 8), weights=weights)
    x = rng.standard_normal((30, 64)).astype("f4")
    options = ["--query", query, "--query-k", "20"] if query else []
    assert main(["convert", "model.npz", "-o", "small.onnx", *options]) == 0
    assert f"weights {weights}" in capsys.readouterr().err
    decoded = load_model("model.npz")
    expected = executed(tmp_path, decoded, x, query=query, query_k=20)
    for output, array in zip(expected.values(), session(tmp_path / "small.onnx").run(None, {"x": x}), strict=True):
        assert_same_bits(array, output)
    if query is None:
        assert_codes(decoded, x, expected)
    share = (tmp_path / "small.onnx").stat().st_size / (tmp_path / "graph.onnx").stat().st_size
    assert share < {"float16": 0.55, "int8": 0.33}[weights]


def test_weights_that_would_change_are_refused(tmp_path, model):
    with pytest.raises(DomainError, match="weights: expected W_enc that int8 holds exactly, got numbers"):
        save_onnx(tmp_path / "graph.onnx", model, weights="int8")
    assert not any(tmp_path.iterdir())


def test_an_encoder_without_a_decoder_encodes(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    save_model("encoder.npz", model, only="encoder")
    assert main(["convert", "encoder.npz", "-o", "encoder.onnx"]) == 0
    save_onnx("whole.onnx", model)
    assert (tmp_path / "encoder.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    capsys.readouterr()
    assert main(["convert", "encoder.npz", "-o", "query.onnx", "--query", "expanded"]) == 1
    assert "encoder.npz: " in (err := capsys.readouterr().err)
    assert "expected a whole model, got an encoder only" in err


def test_a_file_says_what_it_computes(folder, model):
    save_onnx(folder / "graph.onnx", model, query="expanded", query_k=7)
    running = session(folder / "graph.onnx")
    facts = running.get_modelmeta().custom_metadata_map
    assert (facts["digest"], facts["graph"]) == (model.digest, "expanded_query")
    assert [json.loads(facts[name]) for name in ("d", "n_latents", "k")] == [12, 40, 7]
    assert json.loads(facts["centered"]) == (model.params.mean is not None)
    assert [*json.loads(facts["outputs"])] == [output.name for output in running.get_outputs()]
    written = onnx.load(folder / "graph.onnx")
    assert [opset.version for opset in written.opset_import] == [17]
    assert {node.domain for node in written.graph.node} == {""}


def test_codes_of_the_graph_pass_the_audit(tmp_path, monkeypatch, capsys):
    """The command, from a model file to codes that `verify` judges."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    save_model("model.npz", Model(init_params(48, 200, rng), 8))
    x = rng.standard_normal((500, 48)).astype("f4")
    np.save("x.npy", x)
    assert main(["convert", "model.npz", "-o", "encoder.onnx", "--k", "6"]) == 0
    assert "encoder.onnx: an ONNX graph of the encoder, d 48, 200 latents, k 6" in capsys.readouterr().err
    indices, values = session(tmp_path / "encoder.onnx").run(["indices", "values"], {"x": x})
    save_codes("codes.npz", Codes(indices, values, 200, load_model("model.npz").digest))
    assert main(["verify", "model.npz", "x.npy", "codes.npz", "--k", "6", "--json"]) == 0
    audit = json.loads(capsys.readouterr().out)
    assert audit["wrong"] == 0
    assert main(["convert", "model.npz", "-o", "query.onnx", "--query", "expanded", "--k-input"]) == 0
    assert "expanded queries, d 48, 200 latents, k 64" in capsys.readouterr().err


def test_a_model_too_large_for_the_format_is_refused(tmp_path, monkeypatch, model):
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", (1 << 20) + 2000)
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"before")
    with pytest.raises(DomainError, match=r"graph\.onnx: expected at most 2 GB of weights"):
        save_onnx(path, model)
    assert path.read_bytes() == b"before"


REFUSED = {
    "convert model.npz -o q.onnx --query asymmetric --query-k 9": "with --query-k, got --query asymmetric",
    "convert model.npz -o q.onnx --query asymmetric --k-input": "expected no --k-input with --query asymmetric",
    "convert model.npz -o q.npz --k-input": "expected an OUTPUT that ends in .onnx with --k-input, got q.npz",
    "convert model.npz -o q.onnx --query-k 9": "expected --query expanded with --query-k, got none",
    "convert model.npz -o q.onnx --query expanded --query-k 41": "expected query_k from 1 to n_latents = 40, got 41",
    "convert model.npz -o q.onnx --weights int8": "an OUTPUT that ends in .npz with --weights, got q.onnx",
    "convert model.npz -o q.onnx --only encoder": "an OUTPUT that ends in .npz with --only, got q.onnx",
    "convert model.npz -o q.onnx --to saelens": "q.onnx: expected a name of a folder, without a suffix",
    "convert x.npy -o q.onnx": "expected a model as INPUT with an OUTPUT that ends in .onnx, got embeddings",
    "convert x.npy -o q.pt": "expected a model as INPUT with an OUTPUT that ends in .pt, got embeddings",
    "convert model.npz -o q.onnx --query expanded --k 3": "expected no --k with --query, got both",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch, capsys, model, line):
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", model)
    np.save("x.npy", np.ones((3, 12), "f4"))
    assert main(line.split()) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert REFUSED[line] in err
    assert not (tmp_path / "q.onnx").exists()


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    save_model("model.npz", model)
    assert main(["convert", "model.npz", "-o", "q.onnx"]) == 1
    assert "expected the package onnx, which is not installed; pip install" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
