"""Weights to and from PyTorch programs: exact there and back, and refused where they mean something else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from compressae_ref import Model
from compressae_ref.cli.any_model import load_any_model, save_any_model
from compressae_ref.errors import BackendError, DomainError, FormatError
from compressae_ref.files.foreign.safetensors import open_tensors, write_tensors
from compressae_ref.files.npz import Pieces
from compressae_ref.files.weights.original import NAMES, save_state
from compressae_ref.params import Params, init_params
from tests import strategies

IN_FILES = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMS = {
    "npz": ("model.npz", None),
    "safetensors": ("model.safetensors", None),
    "pt": ("model.pt", None),
    "saelens": ("sae", "saelens"),
    "sentence-transformers": ("csr", "sentence-transformers"),
}
SAYS_NO_K = ("pt",)


@pytest.fixture(params=FORMS)
def form(request):
    if request.param == "pt":
        pytest.importorskip("torch")
    return request.param


def example(dtype="float32", k=3):
    params = init_params(6, 10, np.random.default_rng(1), dtype=dtype)
    params.b_enc[:] = np.linspace(-0.1, 0.1, 10)
    return Model(params, k, {"steps": 7, "lr": 0.01})


def saved(tmp_path, form, model):
    name, to = FORMS[form]
    save_any_model(tmp_path / name, model, to)
    return str(tmp_path / name)


@IN_FILES
@given(problem=strategies.problems())
def test_there_and_back_is_exact(tmp_path_factory, form, problem):
    model = Model(problem.params, problem.k)
    again = load_any_model(
        saved(tmp_path_factory.mktemp("models"), form, model), problem.k if form in SAYS_NO_K else None
    )
    for name, array in model.params.arrays().items():
        found = getattr(again.params, name)
        np.testing.assert_array_equal(found, array, strict=True)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(array))
    assert (again.k, again.digest) == (model.k, model.digest)


def test_settings_of_the_training_stay_where_the_format_can_say_them(tmp_path, form):
    again = load_any_model(saved(tmp_path, form, example()), 3)
    assert again.training == (example().training if form in ("npz", "safetensors") else {})


def test_a_given_k_overrides_and_must_be_possible(tmp_path, form):
    path = saved(tmp_path, form, example())
    assert load_any_model(path, 5).k == 5
    with pytest.raises((DomainError, FormatError), match="expected k from 1 to n_latents = 10, got 11"):
        load_any_model(path, 11)


def test_a_state_dict_needs_k(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(DomainError, match=r"expected k for weights that do not store it, got None; pass k \(--k\)"):
        load_any_model(saved(tmp_path, "pt", example()))


def test_the_same_model_gives_the_same_file(tmp_path):
    save_state(tmp_path / "a.safetensors", example(), "safetensors")
    save_state(tmp_path / "b.safetensors", example(), "safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


# -- PyTorch's own view -----------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_pytorch_reads_what_is_written_and_we_read_what_it_writes(tmp_path):
    torch = pytest.importorskip("torch")
    model = example()
    state = torch.load(saved(tmp_path, "pt", model), weights_only=True)
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "encoder_w": (6, 10),
        "encoder_b": (10,),
        "decoder_w": (10, 6),
    }
    for name, ours in NAMES.items():
        assert torch.equal(state[name], torch.from_numpy(np.ascontiguousarray(getattr(model.params, ours))))
    parameters = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in state.items()}
    torch.save({"state_dict": parameters, "epoch": 3}, tmp_path / "theirs.pt")
    assert load_any_model(str(tmp_path / "theirs.pt"), 3).digest == model.digest
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_any_model(str(tmp_path / "old.pt"), 3).digest == model.digest


@pytest.mark.oracle
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_halves_are_widened_exactly(tmp_path, half):
    torch = pytest.importorskip("torch")
    state = {"encoder_w": torch.randn(4, 8), "encoder_b": torch.randn(8), "decoder_w": torch.eye(4).repeat(2, 1)}
    halves = {name: tensor.to(getattr(torch, half)) for name, tensor in state.items()}
    torch.save(halves, tmp_path / "half.pt")
    params = load_any_model(str(tmp_path / "half.pt"), 3).params
    for name, ours in NAMES.items():
        assert torch.equal(torch.from_numpy(np.ascontiguousarray(getattr(params, ours))), halves[name].float())


@pytest.mark.oracle
def test_pytorch_unpickles_nothing_but_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"encoder_w": Model}, tmp_path / "bad.pt")
    with pytest.raises(FormatError, match=r"bad\.pt: expected a state dict of tensors"):
        load_any_model(str(tmp_path / "bad.pt"), 3)


@pytest.mark.oracle
def test_safetensors_of_its_own_package(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = example()
    arrays = numpy.load_file(saved(tmp_path, "safetensors", model))
    assert arrays.keys() == NAMES.keys()
    numpy.save_file(arrays, tmp_path / "theirs.safetensors")
    assert load_any_model(str(tmp_path / "theirs.safetensors"), 3).digest == model.digest


@pytest.mark.oracle
def test_the_sparse_module_gives_our_codes_with_split_signs(tmp_path):
    """What sentence-transformers does with these weights: pre-activations, the k largest, nothing below 0."""
    torch = pytest.importorskip("torch")
    model = example("float64", k=4)
    folder = saved(tmp_path, "sentence-transformers", model)
    config = json.loads((tmp_path / "csr" / "config.json").read_text())
    weights = {
        name: torch.from_numpy(np.array(array))
        for name, array in open_tensors(f"{folder}/model.safetensors")[0].items()
    }
    x = np.random.default_rng(2).standard_normal((50, 6))
    unit = torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True))
    pre = torch.nn.functional.linear(unit - weights["pre_bias"], weights["encoder.weight"], weights["latent_bias"])
    best = torch.topk(pre, config["k"], dim=-1)
    found = torch.relu(torch.zeros_like(pre).scatter_(-1, best.indices, best.values)).numpy()
    expected = model.encode(x, backend="numpy").split_signs()
    assert found.shape == expected.shape == (50, config["hidden_dim"])
    np.testing.assert_allclose(found, expected.to_dense(), rtol=0, atol=1e-14)


@pytest.mark.oracle
@pytest.mark.parametrize("rescale", [False, True])
def test_abstopk_gives_our_codes(tmp_path, rescale):
    """What SAELens' AbsTopK does with these weights; with ``rescale`` atoms may have any length."""
    torch = pytest.importorskip("torch")
    model = example("float64", k=4)
    folder = saved(tmp_path, "saelens", model)
    path, scales = tmp_path / "sae", np.linspace(0.5, 2, 10) if rescale else np.ones(10)
    weights = {name: np.array(array) for name, array in open_tensors(f"{folder}/sae_weights.safetensors")[0].items()}
    weights["W_dec"] *= scales[:, None]
    rewrite(path, "sae_weights.safetensors", weights)
    configure(path, "cfg.json", rescale_acts_by_decoder_norm=rescale)
    x = np.random.default_rng(2).standard_normal((50, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pre = torch.from_numpy((unit - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"])
    pre = pre * torch.from_numpy(weights["W_dec"]).norm(dim=-1) if rescale else pre
    places = torch.topk(pre.abs(), 4, dim=-1).indices
    found = torch.zeros_like(pre).scatter_(-1, places, pre.gather(-1, places)).numpy()
    codes = load_any_model(folder).encode(x, backend="numpy")
    np.testing.assert_allclose(codes.to_dense(), found, rtol=0, atol=1e-14)


# -- what means something else ----------------------------------------------------------------------------------------


def rewrite(folder, name, arrays):
    with (folder / name).open("wb") as file:
        write_tensors(file, {key: Pieces(value.shape, value.dtype, [value]) for key, value in arrays.items()}, {})


def configure(folder, name, **settings):
    config = json.loads((folder / name).read_text()) | settings
    (folder / name).write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def change(name, **arrays):
    """A fault that puts other arrays into a file of weights; None takes one away."""

    def apply(folder):
        found = {key: np.array(value) for key, value in open_tensors(folder / name)[0].items()}
        for key, value in arrays.items():
            key = key.replace("__", ".")
            found[key] = value(found[key]) if callable(value) else value
        rewrite(folder, name, {key: value for key, value in found.items() if value is not None})

    return apply


def setting(name, **settings):
    return lambda folder: configure(folder, name, **settings)


CFG, SAE, CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors", "config.json", "model.safetensors"
OTHERS = {
    "a ReLU": ("saelens", setting(CFG, architecture="topk"), "architecture 'abstopk'.*got 'topk'"),
    "no architecture": ("saelens", setting(CFG, architecture=...), "architecture 'abstopk'.*got None"),
    "layer norm": ("saelens", setting(CFG, normalize_activations="layer_norm"), "got 'layer_norm'"),
    "heads": ("saelens", setting(CFG, reshape_activations="hook_z"), "got 'hook_z'"),
    "a bias of the decoder": ("saelens", change(SAE, b_dec=lambda b: b + 0.5), "b_dec of zeros"),
    "atoms of any length": (
        "saelens",
        change(SAE, W_dec=lambda w: w * 2),
        "unit rows in W_dec, got one of norm ",
    ),
    "no W_enc": ("saelens", change(SAE, W_enc=None), "expected a tensor W_enc, got W_dec, b_dec, b_enc|got b_enc"),
    "a flat W_enc": ("saelens", change(SAE, W_enc=lambda w: w.ravel()), "W_enc with 2 dimensions"),
    "other shapes": ("saelens", change(SAE, b_enc=lambda b: b[:5]), r"W_enc \(d, h\)"),
    "a list of settings": (
        "saelens",
        lambda folder: (folder / CFG).write_text("[1]"),
        "a JSON object, got list",
    ),
    "no JSON": ("saelens", lambda folder: (folder / CFG).write_text("{"), "a configuration in JSON"),
    "CSR as it is trained": (
        "sentence-transformers",
        change(WEIGHTS, encoder__weight=lambda w: w + 0.01),
        "in pairs of weights and their negatives",
    ),
    "one latent alone": ("sentence-transformers", change(WEIGHTS, encoder__weight=lambda w: w[:-1]), "in pairs"),
    "other biases": ("sentence-transformers", change(WEIGHTS, latent_bias=lambda b: b + 0.01), "in pairs"),
    "a bias in front": ("sentence-transformers", change(WEIGHTS, pre_bias=lambda b: b + 1), "pre_bias of zeros"),
    "normalised layers": (
        "sentence-transformers",
        setting(CONFIG, normalize=True),
        "got normalize True",
    ),
    "no k": ("sentence-transformers", setting(CONFIG, k=...), "expected k for weights that do not store it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_weights_that_mean_something_else_are_refused_with_the_reason(tmp_path, name):
    form, spoil, reason = OTHERS[name]
    folder = tmp_path / FORMS[form][0]
    saved(tmp_path, form, example())
    spoil(folder)
    with pytest.raises(ValueError, match=reason) as error:
        load_any_model(str(folder))
    assert str(folder) in str(error.value)


def test_a_tied_decoder_is_taken_where_its_atoms_are_unit(tmp_path):
    params = init_params(6, 10, np.random.default_rng(1))
    tied = Params(np.asfortranarray(params.W_dec.T), params.b_enc, params.W_dec)
    path = saved(tmp_path, "sentence-transformers", Model(tied, 3))
    (tmp_path / "csr" / "compressae_decoder.safetensors").unlink()
    assert load_any_model(path).digest == Model(tied, 3).digest
    change(WEIGHTS, encoder__weight=lambda w: w * 2)(tmp_path / "csr")
    with pytest.raises(FormatError, match=r"unit rows in W_dec"):
        load_any_model(path)


def test_a_folder_that_is_there_is_not_written_to(tmp_path):
    saved(tmp_path, "saelens", example())
    with pytest.raises(DomainError, match="expected the name of a new folder"):
        saved(tmp_path, "saelens", example())


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compressae_ref.files.weights.folders.write_tensors", fails)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path, "saelens", example())
    assert not list(tmp_path.iterdir())


def test_without_pytorch_a_pt_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"\.pt files: expected the package torch.*pip install 'torch>="):
        save_any_model(tmp_path / "model.pt", example())


def test_embeddings_and_codes_are_no_models(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 4)))
    with pytest.raises(FormatError, match="expected a model, got embeddings"):
        load_any_model(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("form", ["pt", "safetensors", "npz"])
def test_weights_that_are_cut_off_are_refused(tmp_path, form):
    if form == "pt":
        pytest.importorskip("torch")
    content = Path(saved(tmp_path, form, example())).read_bytes()
    bad = tmp_path / f"bad.{form}"
    for length in (0, 1, 9, 100, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:length])
        with pytest.raises(FormatError) as error:
            load_any_model(str(bad), 3)
        assert str(error.value).startswith(str(bad))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["saelens", "sentence-transformers"])
def test_folders_whose_files_are_missing_are_refused(tmp_path, form):
    folder = Path(saved(tmp_path, form, example()))
    weights = next(folder.glob("*weights*.safetensors" if form == "saelens" else "model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"safetensors: expected \d+ bytes after the header"):
        load_any_model(str(folder))
    weights.unlink()
    with pytest.raises(FileNotFoundError):
        load_any_model(str(folder))
