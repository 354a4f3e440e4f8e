"""Centred models: the mean, the scores of original rows, the same bits from every backend, and files."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    DomainError,
    FormatError,
    Model,
    Params,
    ShapeError,
    fit,
    load_model,
    refine,
    save_model,
    search,
)
from compressae_ref.backends import get_backend
from compressae_ref.backends.rounding import gamma
from compressae_ref.center import MOST_SQUARED_NORM, MeanDirection, restored
from compressae_ref.demo_data import load_demo_data
from compressae_ref.files.weights.original import save_state
from compressae_ref.files.weights.saelens import save_saelens
from compressae_ref.files.weights.sentence_transformers import save_sentence_transformers
from compressae_ref.metrics import recall_at
from compressae_ref.reference import dot, unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.similarity import asymmetric_cosine, reconstructed_cosine
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.stores.contract import open_store
from compressae_ref.stores.push import push
from compressae_ref.stores.query import search_store
from compressae_ref.training.batches import held_out_rows
from compressae_ref.verify.audit import audit
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.conftest import KERNELS_IN_THREADS, kernels_in_threads
from tests.engines import Engine

NUMPY = get_backend("numpy")
SMALL = {"n_latents": 40, "k": 4, "batch_size": 50, "steps": 12, "records": 3}


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels:
        yield kernels


@st.composite
def centred(draw_from, dtypes=st.sampled_from(draw.DTYPES)):
    """A problem whose model has a mean: any, zero, as long as R21 allows, or along a row or an atom."""
    dtype = draw_from(dtypes)
    problem = draw_from(draw.problems(dtype=dtype))
    rng, d = draw_from(draw.generators()), problem.params.d
    kind = draw_from(st.sampled_from(["any", "zero", "row", "opposite", "atom"]))
    row, atom = unit_rows(problem.x[:1], np.float64)[0], problem.params.W_dec[0].astype(np.float64)
    directions = {"any": rng.standard_normal(d), "zero": np.zeros(d), "row": row, "opposite": -row, "atom": atom}
    direction = directions[kind] / max(np.linalg.norm(directions[kind]), 1e-9)
    length = draw_from(st.sampled_from([0.1, 0.5, 0.95, math.sqrt(1 - 2.0**-14)]))
    mean = (length * direction).astype(dtype)
    return problem._replace(params=replace(problem.params, mean=mean))


def rows_without_mean(x, mean):
    """E26 by the reference file."""
    return unit_rows(unit_rows(x, mean.dtype) - mean, mean.dtype)


def shifted(n_queries=100, n=2000, length=3.0):
    """Demo embeddings with one direction that dominates."""
    data = load_demo_data()
    direction = unit_rows(np.random.default_rng(1).standard_normal((1, data.items.shape[1])), np.float32)
    items, queries = (unit_rows(part, np.float32) + length * direction for part in (data.items[:n], data.queries))
    return items, queries[:n_queries]


# -- the mean ---------------------------------------------------------------------------------------------------------


@given(draw.generators(), st.integers(2, 60), st.integers(1, 20), st.sampled_from(draw.DTYPES), st.data())
def test_the_mean_has_no_order_and_no_blocks(rng, n, d, dtype, data):
    x_unit = unit_rows(rng.standard_normal((n, d)) + data.draw(st.sampled_from([0.0, 0.3, 5.0])), dtype)
    whole, parts = MeanDirection(d), MeanDirection(d)
    whole.add(x_unit)
    mixed = x_unit[rng.permutation(n)]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        parts.add(mixed[start:stop])
    assert_same_bits(whole.mean(), parts.mean())
    wide = x_unit.astype(np.float64)
    np.testing.assert_allclose(whole.mean(), wide.mean(axis=0), rtol=0, atol=2.0**-32)
    pairs = wide @ wide.T
    assert whole.mean_cosine() == pytest.approx((pairs.sum() - np.trace(pairs)) / (n * (n - 1)), abs=1e-6)
    assert whole.mean_cosine() == parts.mean_cosine()
    parts.add(mixed[: n // 2], sign=-1)
    whole = MeanDirection(d)
    whole.add(mixed[n // 2 :])
    assert_same_bits(whole.mean(), parts.mean())


def test_one_row_has_no_pairs():
    direction = MeanDirection(3)
    direction.add(np.eye(3)[:1])
    assert math.isnan(direction.mean_cosine())


@pytest.mark.parametrize("validation_rows", [0, 30])
def test_the_mean_is_that_of_the_rows_to_train_on(kernels, validation_rows):
    x = shifted(n=400)[0]
    result = fit(x, center=True, validation_rows=validation_rows, backend=kernels, **SMALL)
    held_out = held_out_rows(len(x), validation_rows, np.random.default_rng(0))
    kept = np.delete(unit_rows(x, np.float32), held_out, axis=0)
    expected = MeanDirection(x.shape[1])
    expected.add(kept)
    assert_same_bits(result.model.params.mean, expected.mean().astype("f4"))
    assert result.mean_cosine == expected.mean_cosine() > 0.9
    assert result.model.training["center"] is True
    right = fit(x, center=True, validation_rows=validation_rows, backend="numpy", **SMALL).model
    assert result.model.digest == right.digest


def test_training_sees_rows_without_the_mean():
    """It is the training on these rows, which are found by hand."""
    x = shifted(n=300)[0].astype(np.float64)
    model = fit(x, center=True, **SMALL).model
    by_hand = fit(unit_rows(x, np.float64) - model.params.mean, **SMALL).model
    assert replace(model.params, mean=None).digest() == by_hand.digest


@pytest.mark.parametrize("stop", [1, 7, 12])
def test_a_centred_training_resumes_with_the_same_model(tmp_path, stop):
    x, path = shifted(n=300)[0], tmp_path / "run.checkpoint"

    def interrupt(progress):
        assert progress.model().params.mean is not None
        if progress.step == stop:
            raise KeyboardInterrupt

    whole = fit(x, center=True, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        fit(x, center=True, checkpoint=path, callback=interrupt, **SMALL)
    resumed = fit(x, resume=path)
    assert resumed.model.digest == whole.model.digest
    assert resumed.mean_cosine == whole.mean_cosine


@pytest.mark.parametrize("centred_start", [True, False])
def test_a_centred_model_is_no_start(centred_start):
    x = shifted(n=300)[0]
    start = fit(x, center=centred_start, **SMALL).model
    with pytest.raises(DomainError, match="start: expected a model without a mean"):
        fit(x, start=start, center=not centred_start, steps=1, batch_size=50)


def test_models_without_it_are_as_before():
    x = shifted(n=300)[0]
    result = fit(x, **SMALL)
    assert "center" not in result.model.training
    assert result.model.params.mean is None
    assert result.mean_cosine == pytest.approx(0.9, abs=0.03), "it is told anyway"


# -- codes ------------------------------------------------------------------------------------------------------------


@given(centred())
def test_codes_are_those_of_rows_without_the_mean(kernels, problem):
    x, params, k = problem
    codes = Model(params, k).encode(x, backend=kernels)
    right = by_reference.encode(rows_without_mean(x, params.mean), params.W_enc, params.b_enc, k)
    assert_same_bits(codes.indices, right.indices)
    assert_same_bits(codes.values, right.values)


@given(centred(), st.data())
def test_refined_codes_are_those_of_rows_without_the_mean(kernels, problem, data):
    x, params, k = problem
    plain = replace(params, mean=None)
    wide = Model(params, k).encode(x, data.draw(st.integers(k, params.n_latents)))
    candidates = type(wide)(wide.indices, wide.values, wide.n_latents)
    # rows that are unit rows of a dtype may change when they are scaled again: the kernel is asked itself
    right = NUMPY.refine_unit(candidates, rows_without_mean(x, params.mean), plain.W_dec, k, None)
    codes = refine(wide, x, params, k, backend=kernels)
    assert_same_bits(codes.indices, right.indices)
    assert_same_bits(codes.values, right.values)
    assert codes.model == params.digest()


@given(centred())
def test_zero_rows_are_an_error_or_codes_of_zeros(problem):
    x, params, k = problem
    x[len(x) // 2] = 0
    model = Model(params, k)
    with pytest.raises(DomainError, match="zero row") as caught:
        model.encode(x)
    assert caught.value.row == len(x) // 2
    codes = model.encode(x, zero_rows="empty")
    assert codes.indices[len(x) // 2].tolist() == list(range(k))
    assert not codes.values[len(x) // 2].any()


# -- scores -----------------------------------------------------------------------------------------------------------


@given(centred())
def test_every_backend_finds_and_scores_the_same(kernels, problem):
    x, params, k = problem
    model = Model(params, k)
    codes = model.encode(x)
    for space in SPACES:
        ours, right = (search(x, codes, 5, model=model, space=space, backend=each) for each in (kernels, "numpy"))
        assert_same_bits(ours.ids, right.ids)
        assert_same_bits(ours.scores, right.scores)


@given(centred(dtypes=st.just("float64")))
def test_scores_are_those_of_the_definition(problem):
    """⟨q, μ + r ŷ⟩ for the r > 0 that gives this vector norm 1, found by the formula of the roots."""
    x, params, k = problem
    model, mean = Model(params, k), params.mean
    codes = model.encode(x)
    x_hat = codes.to_dense() @ params.W_dec
    norms = np.linalg.norm(x_hat, axis=1, keepdims=True)
    usable = norms[:, 0] > 1e-3 * np.abs(codes.values).sum(axis=1)  # shorter ones lose their direction to rounding
    y = x_hat / np.maximum(norms, 1e-8)
    t = y @ mean
    z = mean + (np.sqrt(t * t + 1 - mean @ mean) - t)[:, None] * y
    np.testing.assert_allclose(np.linalg.norm(z[usable], axis=1), 1, rtol=0, atol=1e-9)
    error = 4 * gamma(400, np.float64) * 1e3 / (1 - mean @ mean)
    np.testing.assert_allclose(model.decode(codes)[usable], z[usable], rtol=0, atol=error)
    dense = asymmetric_cosine(x, codes, params.W_dec, mean=mean)
    np.testing.assert_allclose(dense[:, usable], unit_rows(x, np.float64) @ z[usable].T, rtol=0, atol=error)
    coded = reconstructed_cosine(codes, codes, params.W_dec, mean=mean)
    np.testing.assert_allclose(coded[usable][:, usable], z[usable] @ z[usable].T, rtol=0, atol=error)


@given(draw.generators(), st.integers(2, 20), st.integers(1, 30), st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_exact_codes_give_the_cosines_of_the_original_rows(rng, d, n, length):
    """With orthogonal atoms and k = d nothing is lost, so nothing is estimated."""
    mean = length * unit_rows(rng.standard_normal((1, d)), np.float64)[0]
    params = Params(np.eye(d), np.zeros(d), np.eye(d), mean)
    x = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-20, 20, (n, 1))
    model, x_unit = Model(params, d), unit_rows(x, np.float64)
    hits = {space: search(x, model.encode(x), n, model=model, space=space) for space in ("reconstructed", "asymmetric")}
    for found in hits.values():
        scores = np.take_along_axis(x_unit @ x_unit.T, found.ids, axis=1)
        np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.decode(model.encode(x)), x_unit, rtol=0, atol=1e-10)


@given(centred())
def test_with_a_mean_of_zero_the_scores_are_those_without(problem):
    x, params, k = problem
    zero, plain = replace(params, mean=np.zeros_like(params.mean)), replace(params, mean=None)
    codes = Model(plain, k).encode(x)
    unknown = type(codes)(codes.indices, codes.values, codes.n_latents)
    for space in ("asymmetric", "expanded"):
        ours, right = (search(x, unknown, 5, model=Model(each, k), space=space) for each in (zero, plain))
        assert_same_bits(ours.ids, right.ids)
        assert_same_bits(ours.scores, right.scores)
    assert_same_bits(rows_without_mean(x, zero.mean), unit_rows(unit_rows(x, params.dtype), params.dtype))


@given(centred())
def test_codes_of_zeros_stand_for_the_mean(problem):
    mean = problem.params.mean
    assert_same_bits(restored(np.zeros((2, len(mean)), mean.dtype), mean), np.stack([mean, mean]) + mean.dtype.type(0))


@pytest.mark.parametrize("space", ["reconstructed", "asymmetric"])
def test_a_dominant_direction_does_not_cost_recall(space):
    """It costs a third and more without the mean, and some with the cosine of rows without it."""
    items, queries = shifted()
    truth = nearest_dense(queries, items, 100).ids
    settings = {"objective": "reconstruct", "n_latents": 256, "k": 16, "steps": 300}

    def recall(model, x=items, asked=queries):
        return recall_at(search(asked, model.encode(x), 100, model=model, space=space).ids, truth)

    model = fit(items, center=True, **settings).model
    mean = model.params.mean
    rest, asked = (unit_rows(part, np.float32) - mean for part in (items, queries))
    naive = Model(replace(model.params, mean=None), model.k)
    assert recall(model) > recall(naive, rest, asked) + 0.01
    assert recall(model) > recall(fit(items, **settings).model) + 0.15


# -- the index and stores ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_an_index_keeps_scores_when_it_is_saved_and_re_ranks_by_them(tmp_path, kernels, space):
    items, queries = shifted(10, 300)
    model = fit(items, center=True, **SMALL).model
    codes = model.encode(items)
    index = Index.build(codes[:100], space=space, model=model, backend=kernels)
    index.add(codes[100:])
    index.save(tmp_path / "index.npz")
    again = Index.load(tmp_path / "index.npz", model=model, backend=kernels)
    right = search(queries, codes, 20, model=model, space=space)
    for each in (index, again):
        assert_same_bits(each.search(queries, 20).ids, right.ids)
        assert_same_bits(each.search(queries, 20).scores, right.scores)
    dense = search(queries, codes, 20, model=model, space="asymmetric")
    hits = index.search(queries, 20, rescore=len(codes))
    assert_same_bits(hits.ids, dense.ids)
    assert_same_bits(hits.scores, dense.scores)


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize("space", SPACES)
def test_a_store_gives_the_items_and_scores_of_search(tmp_path, space):
    items, queries = shifted(10, 200)
    model = fit(items, center=True, **SMALL).model
    engine = Engine("memory", tmp_path)
    store = open_store(engine.make(engine.ids(len(items)), items))
    push(store, model, space=space)
    right = search(queries, model.encode(items), 7, model=model, space=space)
    for found, ids, scores in zip(search_store(store, model, queries, 7, space=space), *right, strict=True):
        assert found.ids == [engine.ids(len(items))[row] for row in ids]
        np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-5)


# -- files ------------------------------------------------------------------------------------------------------------


def tiny(**changes):
    return Params(np.ones((2, 3), "f4"), np.zeros(3, "f4"), np.eye(3, 2, dtype="f4")[[0, 1, 1]], **changes)


@given(problem=centred())
def test_a_model_file_holds_the_mean(tmp_path_factory, problem):
    path = tmp_path_factory.mktemp("centred") / "m.npz"
    model = Model(problem.params, problem.k)
    save_model(path, model)
    loaded = load_model(path)
    assert loaded.digest == model.digest != replace(problem.params, mean=None).digest()
    for name, array in problem.params.arrays().items():
        assert_same_bits(loaded.params.arrays()[name], array)


def changed_file(path, drop=(), meta=(), **arrays):
    """The file of a centred model, with other members or another meta."""
    params = tiny(mean=np.array([0.5, 0.25], "f4"))
    save_model(path, Model(params, 1))
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files if name not in drop} | arrays
    members["meta"] = np.array(json.dumps(json.loads(str(members["meta"])) | dict(meta)))
    np.savez(path, **members)
    return params


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drop": ["mean"]}, "member 'mean'"),
        ({"mean": np.array([0.5, 0.5], "f4")}, "digest"),
        ({"mean": np.array([0.5], "f4")}, "shape"),
        ({"mean": np.array([[0.5, 0.25]], "f4")}, "shape"),
        ({"mean": np.array([0.5, 0.25])}, "float"),
        ({"mean": np.array([0.5, np.nan], "f4")}, "finite"),
        ({"mean": np.array([1, 0], "f4")}, "squared norm"),
        ({"meta": {"version": 1}}, "digest"),
        ({"meta": {"version": 4}}, "version 4"),
        ({"meta": {"version": 3}}, "expected weights as .* got null"),
    ],
)
def test_a_file_with_a_wrong_mean_is_refused(tmp_path, change, reason):
    changed_file(tmp_path / "m.npz", **change)
    with pytest.raises(FormatError, match=reason) as caught:
        load_model(tmp_path / "m.npz")
    assert str(caught.value).startswith(str(tmp_path / "m.npz"))


def test_a_file_of_a_centred_model_has_version_2_and_others_have_version_1(tmp_path):
    for params, version in ((tiny(), 1), (tiny(mean=np.zeros(2, "f4")), 2)):
        save_model(tmp_path / "m.npz", Model(params, 1))
        with np.load(tmp_path / "m.npz") as archive:
            assert json.loads(str(archive["meta"]))["version"] == version
            assert ("mean" in archive.files) == (version == 2)


def test_in_a_file_of_version_1_a_member_called_mean_is_ignored(tmp_path):
    model = Model(tiny(), 1)
    save_model(tmp_path / "m.npz", model)
    with np.load(tmp_path / "m.npz") as archive:
        np.savez(tmp_path / "m.npz", **dict(archive), mean=np.array([None], object))
    assert load_model(tmp_path / "m.npz").digest == model.digest


@pytest.mark.parametrize(
    "save",
    [
        lambda path, model: save_state(path, model, "safetensors"),
        lambda path, model: save_state(path, model, "pt"),
        save_saelens,
        save_sentence_transformers,
    ],
)
def test_formats_of_other_programs_do_not_lose_the_mean(tmp_path, save):
    with pytest.raises(DomainError, match="centred"):
        save(tmp_path / "model", Model(tiny(mean=np.zeros(2, "f4")), 1))
    assert not (tmp_path / "model").exists()


# -- audits -----------------------------------------------------------------------------------------------------------


@given(centred())
def test_an_audit_knows_the_mean(problem):
    x, params, k = problem
    model = Model(params, k)
    assert audit(model, x, model.encode(x)).equal == len(x)
    pre = rows_without_mean(x.astype(np.float64), params.mean.astype(np.float64)) @ params.W_enc.astype(np.float64)
    other = by_reference.abs_topk((pre + params.b_enc).astype(params.dtype), k)
    assert audit(model, x, other).wrong == 0, "sums in another order are rounding"


def test_an_audit_names_a_mean_that_is_not_subtracted():
    x = shifted(n=100)[0]
    model = fit(x, center=True, **SMALL).model
    codes = Model(replace(model.params, mean=None), model.k).encode(x)
    result = audit(model, x, type(codes)(codes.indices, codes.values, codes.n_latents))
    assert result.wrong > 90
    assert "the mean is not subtracted" in result.cause


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_rows_of_one_direction_cannot_be_centred():
    x = np.ones((50, 4), "f4") * np.arange(1, 51, dtype="f4")[:, None]
    with pytest.raises(DomainError, match="almost one direction"):
        fit(x, center=True, n_latents=8, k=2, steps=1)


@given(draw.generators(), st.integers(1, 30), st.sampled_from(draw.DTYPES))
def test_no_row_equals_a_mean_that_is_allowed(rng, d, dtype):
    x_unit = unit_rows(rng.standard_normal((20, d)), dtype)
    for mean in x_unit * np.dtype(dtype).type(math.sqrt(MOST_SQUARED_NORM)):
        if dot(mean, mean) <= MOST_SQUARED_NORM:
            assert (x_unit - mean).any(axis=1).all()


def test_a_mean_of_another_shape_is_refused(tmp_path):
    with pytest.raises(ShapeError, match="mean of shape"):
        save_model(tmp_path / "m.npz", Model(tiny(mean=np.zeros(3, "f4")), 1))


@pytest.mark.parametrize("value", [1.5, "yes", None, 2, 1, 0.0])
def test_center_is_true_or_false(value):
    with pytest.raises(DomainError, match="center"):
        fit(np.eye(4, dtype="f4"), center=value, n_latents=8, k=2, steps=1)
