"""Training: sources, shuffling, determinism, schedules, the history, early stopping, memory; and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import DomainError, DTypeError, Model, Params, ShapeError, TrainConfig, fit, init_params, load_model
from compressae_ref.center import encoded_rows
from compressae_ref.checks import as_params
from compressae_ref.files.model_file import save_model
from compressae_ref.training import centering
from compressae_ref.training.batches import ShuffledBatches, held_out_rows
from compressae_ref.training.history import Record, read_history, stored_history
from compressae_ref.training.settings import (
    DEFAULT_SERVE,
    PRESETS,
    SERVE,
    default_latents,
    default_steps,
    learning_rate,
    resolve,
)
from compressae_ref.training.step import init_state
from compressae_ref.unit_blocks import HostRows
from tests import strategies as draw
from tests.bounds import assert_same_bits

SMALL = {"n_latents": 50, "k": 4, "batch_size": 32, "steps": 12}


RELATED = np.stack([np.arange(0, 390), np.arange(10, 400)], axis=1)
"""Related pairs of the 400 rows."""


class Slices:
    """The least that a source must be: a length, and slices of rows."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.x[rows]


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((400, 6)) @ rng.standard_normal((6, 16))).astype("f4")


# -- the same model from the same data and seed -----------------------------------------------------------------------


@pytest.mark.parametrize("relevance", [None, RELATED], ids=["", "relevance"])
def test_any_source_of_the_same_rows_gives_the_same_model(x, tmp_path, relevance):
    np.save(tmp_path / "x.npy", x)
    sources = [x, np.load(tmp_path / "x.npy", mmap_mode="r"), Slices(x), np.asfortranarray(x), x.tolist()]
    digests = [fit(source, dtype="float32", relevance=relevance, **SMALL).model.digest for source in sources[:4]]
    assert len(set(digests)) == 1
    half = x.astype("f2")
    assert fit(half, **SMALL).model.digest == fit(half.astype("f4"), **SMALL).model.digest


def test_a_state_copies_the_parameters_and_starts_from_zeros():
    params = init_params(4, 6, np.random.default_rng(0))
    state = init_state(params)
    for name in ("W_enc", "b_enc", "W_dec"):
        own, given = getattr(state.params, name), getattr(params, name)
        assert isinstance(own, np.ndarray)
        assert_same_bits(own, given)
        assert not np.shares_memory(own, given)
        assert not any(getattr(each, name).any() for each in (state.adam.m, state.adam.v, state.grads))
    assert (state.adam.step, state.usage.any()) == (0, False)


def test_settings_may_be_numpy_numbers_and_the_model_can_be_saved(x, tmp_path):
    plain = fit(x, seed=3, lr=float(np.float32(1e-3)), **SMALL).model
    numpy = fit(x, seed=np.int64(3), lr=np.float32(1e-3), **{name: np.int32(v) for name, v in SMALL.items()}).model
    for name, model in (("plain", plain), ("numpy", numpy)):
        save_model(tmp_path / name, model)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "numpy").read_bytes()


def test_a_model_does_not_name_a_seed_that_was_not_used(x):
    assert fit(x, rng=np.random.default_rng(3), **SMALL).model.training["seed"] is None
    assert fit(x, seed=3, **SMALL).model.training["seed"] == 3


def test_the_seed_decides_and_global_state_does_not(x):
    np.random.seed(1)  # noqa: NPY002
    first = fit(x, seed=3, **SMALL).model.digest
    np.random.seed(2)  # noqa: NPY002
    assert fit(x, seed=3, **SMALL).model.digest == first
    assert fit(x, rng=np.random.default_rng(3), **SMALL).model.digest == first
    assert fit(x, seed=4, **SMALL).model.digest != first


def test_block_sizes_do_not_change_the_model_file(x, tmp_path):
    for rows in (100, 1024):
        save_model(
            tmp_path / f"{rows}.npz", fit(np.tile(x, (3, 1)), rows_per_block=rows, **{**SMALL, "batch_size": 700}).model
        )
    assert (tmp_path / "100.npz").read_bytes() == (tmp_path / "1024.npz").read_bytes()


def test_training_leaves_the_data_alone(x):
    before = x.copy()
    fit(x, **SMALL)
    assert_same_bits(x, before)


@pytest.mark.parametrize(
    ("data", "asked", "expected"), [("f2", None, "f4"), ("f4", None, "f4"), ("f8", None, "f8"), ("f8", "float32", "f4")]
)
def test_r11_single_precision_unless_the_caller_brings_double(x, data, asked, expected):
    result = fit(x.astype(data), dtype=asked, **SMALL)
    assert result.model.params.dtype == expected
    assert result.model.encode(x.astype("f4")).values.dtype == expected


def test_scales_of_rows_do_not_matter(x):
    scales = 2.0 ** np.random.default_rng(1).integers(-90, 90, (len(x), 1))
    assert fit((x * scales).astype("f4"), **SMALL).model.digest == fit(x, **SMALL).model.digest


# -- shuffling --------------------------------------------------------------------------------------------------------


@given(draw.generators(), st.integers(1, 70), st.integers(1, 30), st.integers(1, 40), st.integers(1, 20), st.data())
def test_every_row_comes_once_per_epoch_and_held_out_rows_never(rng, n, batch, buffer, block, data):
    rows = np.arange(1, n + 1, dtype="f4")[:, None]
    held_out = held_out_rows(n, data.draw(st.integers(0, n - 1)), rng)
    kept = np.delete(rows, held_out, axis=0)[:, 0]
    batches = ShuffledBatches(rows, batch, rng, held_out=held_out, buffer_rows=buffer, block_rows=block)
    seen = np.concatenate([next(batches)[:, 0] for _ in range(-(-3 * len(kept) // batch))])
    assert set(seen) <= set(kept)
    # Whole buffers hold whole blocks, so up to the last of them all counts are within 1. What comes of that last buffer
    # adds no more than it holds of one row; it is less than a block longer than its size.
    size = max(batch, min(buffer, len(kept)))
    in_one_buffer = -(-(size + block) // len(kept)) + 1
    counts = (seen[:, None] == kept).sum(axis=0)
    assert counts.max() - counts.min() <= 1 + in_one_buffer
    if batch <= len(kept) <= buffer:  # a buffer is an epoch
        for start in range(0, len(seen) - len(kept) + 1, len(kept)):
            assert sorted(seen[start : start + len(kept)]) == kept.tolist()


def test_rows_of_one_buffer_are_mixed():
    rows = np.arange(1, 2001, dtype="f4")[:, None]
    batches = ShuffledBatches(rows, 100, np.random.default_rng(0), held_out=np.empty(0, np.int64), block_rows=50)
    first = next(batches)[:, 0]
    assert np.unique(first // 500).size >= 4
    assert (np.diff(first) != 1).mean() > 0.8


# -- schedules and the history ----------------------------------------------------------------------------------------


def test_learning_rates():
    flat = TrainConfig(lr=2.0, decay="none")
    assert [learning_rate(flat, step, 5) for step in range(5)] == [2.0] * 5
    warm = TrainConfig(lr=2.0, warmup_steps=4, decay="linear")
    assert [learning_rate(warm, step, 8) for step in range(8)] == [0.5, 1, 1.5, 2, 2, 1.5, 1, 0.5]
    cosine = TrainConfig(lr=2.0, decay="cosine")
    assert [round(learning_rate(cosine, step, 4), 6) for step in range(4)] == [2, 1.707107, 1, 0.292893]


def test_the_half_cosine_is_one_and_needs_no_library():
    config = TrainConfig(lr=1.0, decay="cosine")
    for step in range(101):
        assert learning_rate(config, step, 100) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2, abs=1e-14)


@pytest.mark.parametrize("objective", ["reconstruct", "distill"])
@pytest.mark.parametrize(("records", "steps"), [(1, 5), (5, 5), (20, 30), (300, 90)])
@pytest.mark.parametrize("validation_rows", [0, 50])
def test_a_model_has_the_history_of_its_training(x, tmp_path, objective, records, steps, validation_rows, backend):
    """It has at most 40 records, rounded; the first, the best and the last are among them. All backends agree."""
    settings = {**SMALL, "objective": objective, "steps": steps, "records": records, "validation_rows": validation_rows}
    result = fit(x, backend="numpy", **settings)
    stored, by_step = result.model.training["history"], {record.step: record for record in result.history}
    assert len(stored) == min(len(result.history), 40) or (len(result.history) > 40 > len(stored) - 1 >= 38)
    assert [row[0] for row in stored] == sorted({row[0] for row in stored})
    cosines = [record.validation_cosine for record in result.history]
    best = result.history[int(np.nanargmax(cosines))] if validation_rows else result.history[-1]
    assert {result.history[0].step, best.step, result.history[-1].step} <= {row[0] for row in stored}
    for row, named in zip(stored, read_history(result.model.training), strict=True):
        record = by_step[row[0]]
        similarity = record.loss_similarity * (result.model.training.get("similarity_weight", 0))
        loss = record.loss_k + record.loss_aux / 8 + similarity
        assert (named["loss"], named["dead_latents"]) == (pytest.approx(loss, abs=1e-6), record.dead_latents)
        assert named["top_latent_share"] == pytest.approx(record.top_latent_share, abs=1e-6)
        assert named["lr"] == pytest.approx(record.lr, rel=1e-5)
        if validation_rows:
            assert named["validation_cosine"] == pytest.approx(record.validation_cosine, abs=1e-6)
        else:
            assert named["validation_cosine"] is None
    save_model(tmp_path / "m.npz", result.model)
    save_model(tmp_path / "bare.npz", Model(result.model.params, 4, {**result.model.training, "history": []}))
    assert (tmp_path / "m.npz").stat().st_size - (tmp_path / "bare.npz").stat().st_size < 10_000
    assert load_model(tmp_path / "m.npz").training == result.model.training
    save_model(tmp_path / "other.npz", fit(x, backend=backend, **settings).model)
    assert (tmp_path / "m.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


@given(st.integers(1, 300), st.data())
def test_of_many_records_the_best_is_in_the_history(n, data):
    best = data.draw(st.integers(0, n - 1))
    records = [Record(i + 1, 0.5, 0.5, 0.9 if i == best else 0.1, 3, 0.2, 1.0, 0.01) for i in range(n)]
    stored = stored_history(records, TrainConfig())
    assert len(stored) <= 40
    assert {1, best + 1, n} <= {row[0] for row in stored}


@pytest.mark.parametrize(
    "stored", [None, [], {}, "x", [1], [[1, 2]], [[1, "a", 0.5, 3, 0.1, 0.2]], [[1, None, 0.5, 3, 0.1, 0.2]]]
)
def test_a_history_of_another_form_is_none(stored):
    assert read_history({"history": stored}) == read_history({}) == []


@pytest.mark.parametrize("center", [False, True])
def test_the_cosine_with_the_reconstruction_of_another_row(x, center, backend):
    """It is that of rows half of the held-out rows apart; without two of them it is not known."""
    settings = {**SMALL, "validation_rows": 80, "center": center, "objective": "reconstruct"}
    result = fit(x, seed=0, backend=backend, **settings)
    held_out = held_out_rows(len(x), 80, np.random.default_rng(0))
    rows = encoded_rows(x[held_out], result.model.params.mean, np.float32)
    codes = Model(replace(result.model.params, mean=None), 4).encode(rows)
    x_hat = codes.to_dense() @ result.model.params.W_dec
    x_hat /= np.linalg.norm(x_hat, axis=1, keepdims=True)
    assert result.other_cosine == pytest.approx((rows * np.roll(x_hat, 40, axis=0)).sum(axis=1).mean(), abs=1e-5)
    assert result.other_cosine < result.record.validation_cosine
    for few in (0, 1):
        assert math.isnan(fit(x, backend=backend, **{**settings, "validation_rows": few}).other_cosine)


def test_the_history(x):
    seen = []
    result = fit(x, records=4, callback=seen.append, **SMALL)
    assert [record.step for record in result.history] == [3, 6, 9, 12]
    assert [each.step for each in seen] == list(range(1, 13))
    assert [each.record for each in seen if each.record] == result.history
    last = result.history[-1]
    mean = np.mean([each.losses.loss_k for each in seen[-3:]])
    assert last.loss_k == pytest.approx(mean)
    assert result.history[0].loss_k > last.loss_k > 0
    assert 0 < last.validation_cosine < 1
    assert 0 <= last.dead_latents < 50
    assert 4 / 50 <= last.top_latent_share <= 1
    assert last.rows_per_second > 0
    assert result.model.training["steps"] == 12


def test_the_validation_cosine_is_that_of_held_out_rows(x):
    result = fit(x, records=1, validation_rows=30, **SMALL)
    held_out = x[held_out_rows(len(x), 30, np.random.default_rng(0))]
    x_hat = result.model.decode(result.model.encode(held_out))
    cos = (x_hat * held_out).sum(1) / np.linalg.norm(x_hat, axis=1) / np.linalg.norm(held_out, axis=1)
    assert result.history[-1].validation_cosine == pytest.approx(cos.mean(), abs=1e-6)


def test_training_learns(x):
    result = fit(x, n_latents=64, k=8, batch_size=64, steps=400, lr=3e-3)
    assert result.history[-1].validation_cosine > 0.95


def test_early_stopping_returns_the_best(x):
    result = fit(x, lr=3.0, decay="none", records=12, patience=2, **{**SMALL, "steps": 36})
    cosines = [record.validation_cosine for record in result.history]
    assert len(cosines) < 12, "it did not stop early, so the test shows nothing"
    assert cosines.index(max(cosines)) == len(cosines) - 3
    held_out = x[held_out_rows(len(x), 20, np.random.default_rng(0))]
    x_hat = result.model.decode(result.model.encode(held_out))
    cos = (x_hat * held_out).sum(1) / np.linalg.norm(x_hat, axis=1) / np.linalg.norm(held_out, axis=1)
    assert cos.mean() == pytest.approx(max(cosines), abs=1e-5)
    assert result.record == result.history[cosines.index(max(cosines))]


@pytest.mark.filterwarnings("ignore:overflow")
def test_early_stopping_with_a_validation_cosine_that_is_no_number(x):
    with pytest.raises(DomainError, match="params: expected"):
        fit(x, lr=1e39, steps=1, patience=1, **{name: v for name, v in SMALL.items() if name != "steps"})


def test_no_validation_rows(x):
    assert math.isnan(fit(x, validation_rows=0, **SMALL).history[-1].validation_cosine)


@pytest.mark.parametrize("order", ["after_step", "before_step"])
def test_r8_atoms_are_unit_rows_in_either_order(x, order):
    result = fit(x, renormalize=order, **SMALL)
    np.testing.assert_allclose(np.linalg.norm(result.model.params.W_dec, axis=1), 1, atol=1e-6)


def test_r8_the_orders_differ(x):
    assert fit(x, renormalize="before_step", **SMALL).model.digest != fit(x, **SMALL).model.digest


def test_an_exception_of_the_callback_ends_the_training(x):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(x, callback=stop, **SMALL)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_papers_preset():
    config = resolve(TrainConfig(**PRESETS["paper"]), HostRows(np.ones((200_000, 2), "f4")))
    assert (config.n_latents, config.k, config.batch_size, config.steps, config.init) == (
        4096,
        32,
        100_000,
        500,
        "original",
    )


def test_defaults_for_few_and_for_many_rows():
    assert [default_steps(n, 512) for n in (10, 100_000, 10**9)] == [600, 5859, 20_000]
    assert [default_latents(n) for n in (1, 1023, 2048, 4010, 16_383, 16_384, 10**9)] == [
        256,
        256,
        512,
        512,
        2048,
        4096,
        4096,
    ]
    few = resolve(TrainConfig(n_latents=8, k=2), HostRows(np.ones((10, 2), "f4")))
    assert (few.batch_size, few.validation_rows, few.dtype) == (10, 0, "float32")


def test_presets_configs_and_single_settings_override_each_other_in_this_order(x):
    base = TrainConfig(**SMALL)
    training = fit(x, base, preset="paper", n_latents=60, k=3, batch_size=16, steps=2, lr=0.5).model.training
    assert (training["n_latents"], training["k"], training["init"], training["lr"]) == (60, 3, "original", 0.5)


@pytest.mark.parametrize("serve", [None, *SERVE])
def test_serve_names_settings_that_single_ones_override(x, serve):
    training = fit(x, serve=serve, **SMALL, lr=0.07).model.training
    wanted = {"objective": "reconstruct", "center": False, **SERVE[serve or DEFAULT_SERVE], **SMALL, "lr": 0.07}
    assert {name: training.get(name, getattr(TrainConfig, name)) for name in wanted} == wanted


@pytest.mark.parametrize(
    "other", [{"config": TrainConfig()}, {"preset": "paper"}, {"objective": "reconstruct"}], ids=str
)
def test_a_training_with_its_own_objective_has_the_papers_loss(x, other):
    given = {**SMALL, "n_latents": 60}
    training = fit(x, **other, **given).model.training
    assert training.keys().isdisjoint({"objective", "similarity_weight", "temperature"})


def test_each_serve_gives_settings_that_exist_and_are_not_all_the_defaults():
    for group in SERVE.values():
        assert dataclasses.replace(TrainConfig(), **group) != TrainConfig()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 51}, "k: expected k from 1 to n_latents = 50, got 51"),
        ({"k": 0}, "k: expected k from 1"),
        ({"k": 2.5}, "k: expected an integer, got 2.5"),
        ({"n_latents": 0}, "n_latents: expected an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
        ({"steps": 0}, "steps: expected an integer of at least 1"),
        ({"lr": -1.0}, "lr: expected a finite number above 0, got -1.0"),
        ({"lr": math.nan}, "lr: expected a finite number above 0, got nan"),
        ({"beta1": 1.0}, "beta1: expected a number between 0 and 1"),
        ({"init": "random"}, "init: expected one of .*'tied'.*, got 'random'"),
        ({"decay": "step"}, "decay: expected one of"),
        ({"dtype": "float16"}, "dtype: expected one of"),
        ({"rows_per_block": 0}, "rows_per_block: expected an integer of at least 1, got 0"),
        (
            {"validation_rows": 400},
            "validation_rows: expected at least 0 and fewer than the 400 rows of the data, got 400",
        ),
        ({"patience": 1, "validation_rows": 0}, "patience: expected validation_rows > 0"),
        ({"warmup_steps": -1}, "warmup_steps: expected an integer of at least 0, got -1"),
        ({"warmup_steps": 1.5}, "warmup_steps: expected an integer of at least 0, got 1.5"),
        ({"validation_rows": 10.5}, "validation_rows: expected an integer"),
        ({"lr": "0.1"}, "lr: expected a finite number above 0, got '0.1'"),
        ({"n_latents": 2**62}, "n_latents: expected an integer of at most 2147483647"),
        ({"serve": "soup"}, "serve: expected one of .*, got 'soup'"),
        ({"serve": "dense", "preset": "paper"}, "serve: expected a preset or serve, got preset='paper' and serve="),
        ({"objective": "both"}, "objective: expected one of"),
        (
            {"objective": "reconstruct", "temperature": 0.1},
            "temperature: expected objective='distill' with temperature = 0.1",
        ),
        ({"objective": "reconstruct", "similarity_weight": 2}, "similarity_weight: expected objective='distill' with"),
        ({"temperature": 0}, "temperature: expected a finite number above 0, got 0"),
        ({"temperature": 1e-4}, "temperature: expected at least 0.001, got 0.0001"),
        ({"similarity_weight": -1}, "similarity_weight: expected a finite number of at least 0, got -1"),
        ({"preset": "thesis"}, "preset: expected one of paper, got 'thesis'"),
        ({"learning_rate": 1}, "fit: expected a setting \\(n_latents, .*\\), got 'learning_rate'"),
    ],
)
def test_settings_that_are_refused(x, settings, message):
    with pytest.raises((DomainError, DTypeError), match=message):
        fit(x, **{**SMALL, **settings})


@pytest.mark.parametrize("setting", dataclasses.fields(TrainConfig), ids=lambda setting: setting.name)
def test_none_is_the_default_or_is_refused(x, setting):
    if setting.default is None or setting.name == "seed":
        fit(x, **{**SMALL, "steps": 1, setting.name: None})
        return
    with pytest.raises((DomainError, DTypeError), match=f"^{setting.name}: expected .*, got None"):
        fit(x, **{**SMALL, setting.name: None})


def test_batches_whose_rows_are_all_compared_have_a_limit():
    config = TrainConfig(objective="distill", n_latents=8, k=2, batch_size=9000, validation_rows=0)
    with pytest.raises(DomainError, match=r"batch_size: expected batches of at most 8192 rows .*, got 9000"):
        resolve(config, HostRows(np.ones((9000, 2), "f4")))


@given(draw.generators(), st.sampled_from([0.25, 0.6]))
def test_the_order_the_direction_and_the_grade_of_related_pairs_do_not_matter(x, rng, weight):
    turned = np.where(rng.random((len(RELATED), 1)) < 0.5, RELATED, RELATED[:, ::-1])
    graded = np.column_stack([turned, rng.integers(1, 9, len(turned))])
    graded = np.concatenate([graded, [(0, 399, 0)], np.column_stack([turned[:9, ::-1], np.ones(9, int)])])
    options = {**SMALL, "steps": 3, "relevance_weight": weight}
    ours, true = (fit(x, relevance=pairs, **options).model for pairs in (rng.permutation(graded), RELATED))
    assert ours.digest == true.digest
    assert ours.training == true.training
    assert true.training["relevance_weight"] == weight
    assert true.training["relevance"] < len(RELATED), "those of held-out rows do not count"
    assert fit(x, **{**SMALL, "steps": 3}).model.training.keys().isdisjoint({"relevance", "relevance_weight"})


@pytest.mark.parametrize("relevance", [None, RELATED], ids=["", "relevance"])
def test_a_latent_that_every_row_stores_has_the_whole_share(x, relevance):
    """Batches with related rows are smaller where rows are drawn twice, or have no partner."""
    for record in fit(x, relevance=relevance, **{**SMALL, "n_latents": 4}, records=3).history:
        assert (record.top_latent_share, record.dead_latents) == (1, 0)


@pytest.mark.parametrize(
    ("pairs", "settings", "message"),
    [
        ([[0, 1], [7, 7]], {}, "relevance: expected two different rows, got one row twice in row 1"),
        ([[0, 400]], {}, "relevance: expected the second row from 0 to 399, got 400 in row 0"),
        ([[0, 1], [0, 1]], {}, "relevance: expected each pair once, got 0 and 1 again in row 1"),
        ([[0, 1, 0]], {}, "relevance: expected at least one pair with a grade above 0, got none"),
        ([[0, 1, 1, 1]], {}, "relevance: expected columns first row, second row and perhaps grade, got shape"),
        ([[0.5, 1]], {}, "relevance: expected integers, got float64"),
        ([[0, 1], [2]], {}, "relevance: expected rows of 2 numbers as in row 0, got 1 in row 1"),
        (np.ma.array([[0, 1]], mask=True), {}, "relevance: expected an array without masked numbers"),
        ([[0, 1]], {"validation_rows": 399}, "relevance: expected at least one related pair of rows that are not held"),
        (RELATED, {"serve": "dense"}, "relevance: expected objective='distill' with relevance, got objective='recon"),
        (RELATED, {"preset": "paper"}, "relevance: expected objective='distill' with relevance"),
        (RELATED, {"relevance_weight": 0}, "relevance_weight: expected a number between 0 and 1, got 0"),
        (RELATED, {"relevance_weight": 1.01}, "relevance_weight: expected a number between 0 and 1, got 1.01"),
        (None, {"relevance_weight": 0.5}, "relevance_weight: expected relevance with relevance_weight = 0.5, got none"),
    ],
)
def test_relevance_that_is_refused(x, pairs, settings, message):
    with pytest.raises((DomainError, DTypeError, ShapeError), match=message):
        fit(x, relevance=pairs, **{**SMALL, **settings})


def with_row(x, row, value):
    changed = x.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ShapeError, r"expected an array \(n, d\).*got shape \(16,\)"),
        (lambda x: x[:0], ShapeError, "at least one row, got none"),
        (lambda x: x[:, :0], ShapeError, r"got shape \(400, 0\)"),
        (lambda x: x.astype(int), DTypeError, "float16, float32 or float64, got int64"),
        (lambda x: x.astype(complex), DTypeError, "got complex128"),
        (lambda x: with_row(x, 17, np.nan), DomainError, "NaN or infinity in row 17"),
        (lambda x: with_row(x, 399, -np.inf), DomainError, "NaN or infinity in row 399"),
        (lambda x: with_row(x, 17, 0), DomainError, "got a zero row in row 17"),
    ],
)
def test_r3_r4_data_that_are_refused_with_the_row(x, change, error, message):
    with pytest.raises(error, match=message):
        fit(change(x), **{**SMALL, "steps": 40})


def test_a_loss_that_is_no_number_is_said_and_not_saved(x):
    with (
        pytest.raises(DomainError, match=r"expected a finite loss, got nan in step \d+ of 12; try a lower lr"),
        np.errstate(all="ignore"),
    ):
        fit(x, lr=1e38, decay="none", **SMALL)


def test_r3_rows_are_counted_over_all_blocks(x):
    many = with_row(np.tile(x, (10, 1)), 3777, np.nan)
    with pytest.raises(DomainError, match="NaN or infinity in row 3777"):
        fit(many, **{**SMALL, "steps": 400})
    with pytest.raises(DomainError, match="NaN or infinity in row 3777"):
        fit(x, **SMALL).model.encode(many)


def test_r3_a_bad_row_is_found_even_where_training_would_not_come_to_it(x, monkeypatch):
    monkeypatch.setattr(centering, "SAMPLED_BLOCKS", 1)  # the mean cosine is computed from the first block alone
    for row in (500, 1500, 2500, 3777):  # one step reads one block of 1,024 rows, so it comes to one of these
        many = with_row(np.tile(x, (10, 1)), row, np.nan)
        with pytest.raises(DomainError, match=f"NaN or infinity in row {row}"):
            fit(many, **{**SMALL, "steps": 1}, buffer_rows=32, validation_rows=0)


def test_a_source_that_gives_fewer_rows_than_it_says_is_refused(x):
    class Short(Slices):
        def __len__(self):
            return 1000

    with pytest.raises(ShapeError, match="expected 1000 rows from row 0 of 1000, got 400"):
        fit(Short(x), **SMALL)
    model = fit(x, **SMALL).model
    with pytest.raises(ShapeError, match="expected 1000 rows from row 0 of 1000, got 400"):
        model.encode(Short(x))


# -- initial values ---------------------------------------------------------------------------------------------------


def test_r9_the_original_start():
    params = init_params(200, 3000, np.random.default_rng(0), init="original")
    bound = math.sqrt(6 / 3000)
    assert 0.999 * bound < np.abs(params.W_enc).max() <= bound
    assert params.W_enc.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(params.W_dec, axis=1), 1, atol=1e-6)
    # Uniform before it was normalised: the largest entry of a row is close to √3 times its root mean square.
    assert np.median(np.abs(params.W_dec).max(1)) * math.sqrt(200) == pytest.approx(math.sqrt(3), rel=0.02)
    assert not params.b_enc.any()
    assert abs(np.corrcoef(params.W_enc.ravel(), params.W_dec.T.ravel())[0, 1]) < 0.01


def test_r9_the_tied_start():
    params = init_params(20, 30, np.random.default_rng(0), init="tied")
    np.testing.assert_array_equal(params.W_enc, params.W_dec.T)
    assert params.W_enc.flags.f_contiguous
    with pytest.raises(DomainError, match="init: expected"):
        init_params(2, 3, np.random.default_rng(0), init="pca")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_dec": np.ones((3, 2))}, r"expected unit rows in W_dec, got one of norm 1.41421 in row 0"),
        ({"b_enc": np.zeros(4)}, r"expected W_enc \(d, h\), b_enc \(h,\)"),
        ({"W_enc": np.full((2, 3), np.nan)}, "finite numbers in W_enc"),
        ({"b_enc": np.zeros(3, "f4")}, "all float32 or all float64, got float32, float64"),
    ],
)
def test_params_that_are_refused(change, message):
    good = {"W_enc": np.ones((2, 3)), "b_enc": np.zeros(3), "W_dec": np.array([[1.0, 0]] * 3)}
    as_params(Params(**good))
    with pytest.raises((DomainError, ShapeError, DTypeError), match=message):
        as_params(Params(**{**good, **change}))


# -- memory -----------------------------------------------------------------------------------------------------------

PEAK = r"""
import re, numpy as np
from pathlib import Path
from compressae_ref import fit
class Rows:
    def __len__(self): return 120_000
    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self))
        return np.random.default_rng(start).standard_normal((stop - start, 384), np.float32)
fit(Rows(), preset="paper", steps=1, validation_rows=100)
# Not ru_maxrss: that of the process which started this one would count, too.
print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_papers_batch_trains_in_bounded_memory():
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1536, "MiB"
