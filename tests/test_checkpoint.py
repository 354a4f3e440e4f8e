"""Checkpoints: a training that is interrupted gives the same model file, and what does not fit together is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import DomainError, DTypeError, FormatError, Model, ShapeError, fit, save_model
from compressae_ref.backends import get_backend
from compressae_ref.cli import train_steps
from compressae_ref.cli.given import parse
from compressae_ref.cli.main import command_line, main
from compressae_ref.errors import CompressaeError
from compressae_ref.files.model_file import load_model
from compressae_ref.files.npz import read_npz, write_npz
from compressae_ref.training import checkpoint_schedule, deferred_signals, kept_latents
from compressae_ref.training import fit as fit_module
from compressae_ref.training.batches import Place, ShuffledBatches, held_out_rows
from compressae_ref.training.checkpoint import digest_of
from compressae_ref.training.checkpoint_schedule import Checkpoints
from compressae_ref.training.deferred_signals import SIGNALS, DeferredSignals
from compressae_ref.training.generator_state import BIT_GENERATORS, generator_state, restored_generator
from compressae_ref.training.kept_latents import most_used
from compressae_ref.training.resume import load_checkpoint
from compressae_ref.training.settings import TrainConfig, learning_rate, make_config
from compressae_ref.training.step import init_state, train_step
from compressae_ref.unit_blocks import HostRows
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.conftest import AVAILABLE_BACKENDS, KERNELS_IN_THREADS, kernels_in_threads

SMALL = {"n_latents": 24, "k": 3, "batch_size": 32, "steps": 12, "records": 4}


RELATED = np.array([(row, row + more) for row in range(2500) for more in (1, 2)])
"""Related pairs of rows: of any four rows in seven at least two are related."""


class Slices:
    """The least that a source must be: a length, and slices of rows."""

    def __init__(self, x):
        self.x, self.dtype, self.shape = x, x.dtype, x.shape

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.x[rows]


class Sequential(Slices):
    """A source that is read in order and only once in each training."""

    sequential = True


class StopTraining(Exception):  # noqa: N818  it is no error
    """Raised by a callback."""


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((400, 6)) @ rng.standard_normal((6, 16))).astype("f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def stop_after(step):
    def callback(progress):
        if progress.step == step:
            raise StopTraining

    return callback


def never(progress):
    pytest.fail("the training began")


def interrupted(x, path, step, **options):
    """Train up to a step, and leave a checkpoint of it."""
    with pytest.raises(StopTraining):
        fit(x, checkpoint=path, callback=stop_after(step), **options)


def bytes_of(model, folder):
    save_model(folder / "model.npz", model)
    return (folder / "model.npz").read_bytes()


def assert_same_result(actual, expected, folder):
    """Model files are equal byte for byte, and histories but for the time."""
    assert bytes_of(actual.model, folder) == bytes_of(expected.model, folder)
    np.testing.assert_array_equal(
        *([but_the_time(record) for record in (*each.history, each.record)] for each in (actual, expected))
    )


def but_the_time(record):
    return dataclasses.astuple(dataclasses.replace(record, rows_per_second=0.0))


# -- a resumed training is the uninterrupted one ----------------------------------------------------------------------


@st.composite
def trainings(draw_one):
    """Data of some dtype, settings, and steps after which the training is interrupted."""
    n, d = draw_one(st.sampled_from([7, 50, 400, 1024, 1025, 2500])), draw_one(st.integers(2, 9))
    dtype = draw_one(st.sampled_from(["f2", "f4", "f8"]))
    held_out = draw_one(st.integers(0, min(n // 2, 30)))
    settings = {
        "n_latents": draw_one(st.integers(4, 20)),
        "k": draw_one(st.integers(1, 4)),
        "batch_size": draw_one(st.sampled_from([1, 5, 64, 1000])),
        "buffer_rows": draw_one(st.sampled_from([1, 40, 700, 65_536])),
        "steps": draw_one(st.integers(1, 14)),
        "records": draw_one(st.integers(1, 6)),
        "validation_rows": held_out,
        "patience": draw_one(st.sampled_from([None, 1, 2])) if held_out else None,
        "decay": draw_one(st.sampled_from(["none", "linear", "cosine"])),
        "warmup_steps": draw_one(st.integers(0, 3)),
        "renormalize": draw_one(st.sampled_from(["after_step", "before_step"])),
        "objective": draw_one(st.sampled_from(["reconstruct", "distill"])),
        "init": draw_one(st.sampled_from(["tied", "original"])),
        "lr": draw_one(st.sampled_from([0.003, 0.3])),
        "dtype": draw_one(st.sampled_from([None, "float32", "float64"])),
        "seed": draw_one(st.integers(0, 99)),
    }
    if settings["objective"] == "distill" and draw_one(st.booleans()):
        settings["relevance"] = RELATED[RELATED[:, 1] < n]
    stops = sorted(draw_one(st.sets(st.integers(1, settings["steps"]), min_size=1, max_size=3)))
    data = np.random.default_rng(n).standard_normal((n, d)).astype(dtype)
    return data, settings, stops


@given(trainings(), st.data())
def test_a_resumed_training_gives_the_same_file(folder, training, data):
    x, settings, stops = training
    choices = st.sampled_from(AVAILABLE_BACKENDS)
    expected = fit(x, backend=data.draw(choices), **settings)
    last = expected.history[-1].step  # `patience` may end it early
    path, resume = folder / "training.checkpoint", None
    for stop in [stop for stop in stops if stop <= last]:
        backend, blocks = data.draw(choices), data.draw(st.sampled_from([3, 2048]))
        interrupted(x, path, stop, resume=resume, backend=backend, rows_per_block=blocks, **settings)
        assert load_checkpoint(path).meta["step"] == stop
        resume = path
    if resume is not None:
        again = {"backend": data.draw(choices), "relevance": settings.get("relevance")}
        assert_same_result(fit(x, resume=path, **again), expected, folder)


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize(
    ("renormalize", "objective"), [("after_step", "distill"), ("before_step", "reconstruct")], ids=str
)
@pytest.mark.parametrize("first", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("second", AVAILABLE_BACKENDS)
def test_every_step_can_be_the_last_before_the_interruption(x, folder, first, second, renormalize, objective, patience):
    settings = {**SMALL, "patience": patience, "renormalize": renormalize, "objective": objective}
    settings |= {"lr": 0.5, "decay": "none"}
    expected = fit(x, backend="numpy", **settings)
    for step in range(1, expected.history[-1].step + 1):
        interrupted(x, folder / "c", step, backend=first, **settings)
        assert_same_result(fit(x, resume=folder / "c", backend=second), expected, folder)


@pytest.mark.parametrize("first", KERNELS_IN_THREADS)
@pytest.mark.parametrize("second", KERNELS_IN_THREADS)
def test_any_number_of_threads_resumes(x, folder, first, second):
    with kernels_in_threads(first) as backend:
        interrupted(x, folder / "c", 7, backend=backend, **SMALL)
    with kernels_in_threads(second) as backend:
        assert_same_result(fit(x, resume=folder / "c", backend=backend), fit(x, backend="numpy", **SMALL), folder)


def test_early_stopping_is_resumed(x, folder):
    settings = {**SMALL, "lr": 3.0, "decay": "none", "records": 12, "patience": 2, "steps": 36}
    expected = fit(x, **settings)
    assert len(expected.history) < 12, "it did not stop early, so the test shows nothing"
    assert expected.record != expected.history[-1]
    for record in expected.history:
        for step in (record.step - 1, record.step):
            if step:
                interrupted(x, folder / "c", step, **settings)
                assert_same_result(fit(x, resume=folder / "c"), expected, folder)


@pytest.mark.parametrize("kind", ["array", "memory-mapped", "slices", "sequential", "Fortran order"])
def test_any_source_of_the_same_rows_resumes(x, tmp_path, kind):
    np.save(tmp_path / "x.npy", x)
    source = {
        "array": x,
        "memory-mapped": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "slices": Slices(x),
        "sequential": Sequential(x),
        "Fortran order": np.asfortranarray(x),
    }[kind]
    interrupted(source, tmp_path / "c", 7, **SMALL)
    expected = fit(x, **SMALL)
    assert_same_result(fit(x, resume=tmp_path / "c"), expected, tmp_path)
    assert_same_result(fit(source, resume=tmp_path / "c"), expected, tmp_path)


def test_saving_changes_nothing_and_the_last_checkpoint_is_of_the_last_step(x, tmp_path):
    expected = fit(x, **SMALL)
    assert_same_result(fit(x, checkpoint=tmp_path / "c", every=0, **SMALL), expected, tmp_path)
    assert load_checkpoint(tmp_path / "c").meta["step"] == 12
    assert_same_result(fit(x, resume=tmp_path / "c"), expected, tmp_path)


def test_a_checkpoint_is_written_when_it_is_time(x, tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint_schedule.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint_schedule, "save_checkpoint", lambda path, run: saved.append(run.state.adam.step))

    def ten_seconds(progress):
        now[0] += 10

    fit(x, checkpoint=tmp_path / "c", every=0.5, callback=ten_seconds, **SMALL)
    assert saved == [3, 6, 9, 12]


@pytest.mark.parametrize(("seconds", "expected"), [(0, range(3, 43, 3)), (2, range(3, 43, 3)), (20, [3, 13, 23, 33])])
def test_by_default_checkpoints_take_at_most_one_percent_of_the_time(x, tmp_path, monkeypatch, seconds, expected):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint_schedule.time, "monotonic", lambda: now[0])

    def save(path, run):
        saved.append(run.state.adam.step)
        now[0] += seconds

    def two_hundred_seconds(progress):
        now[0] += 200

    monkeypatch.setattr(checkpoint_schedule, "save_checkpoint", save)
    fit(x, checkpoint=tmp_path / "c", callback=two_hundred_seconds, **{**SMALL, "steps": 42})
    assert saved == list(expected)
    assert len(saved[1:]) * seconds <= 0.01 * now[0]


@pytest.mark.parametrize(("seconds", "saved"), [(1, False), (60, True)])
def test_of_short_trainings_nothing_is_saved_on_request(x, tmp_path, monkeypatch, seconds, saved):
    now = [0.0]
    monkeypatch.setattr(checkpoint_schedule.time, "monotonic", lambda: now[0])

    def slow(state, *arguments):
        now[0] += 1000 if state.adam.step == 0 else seconds  # the first step compiles
        return train_step(state, *arguments)

    monkeypatch.setattr(fit_module, "train_step", slow)
    with pytest.raises(StopTraining):
        fit(x, checkpoint=Checkpoints(tmp_path / "c", 5, only_long=True), callback=stop_after(5), **SMALL)
    assert (tmp_path / "c").exists() == saved


def test_a_checkpoint_holds_no_rows(tmp_path):
    x = np.random.default_rng(0).standard_normal((5000, 50), np.float32)
    interrupted(x, tmp_path / "c", 3, **{**SMALL, "batch_size": 1000})
    parameters = 3 * (2 * 50 * 24 + 24) * 4
    assert (tmp_path / "c").stat().st_size < parameters + 8 * 1000 + 20_000 < x.nbytes / 10


@given(
    draw.generators(), st.integers(1, 90), st.integers(1, 30), st.integers(1, 50), st.integers(1, 20), st.data()
)  # fmt: skip
def test_batches_go_on_from_any_place(rng, n, batch, buffer, block, data):
    drawn = data.draw(st.integers(1, 40))
    rows = np.arange(1, 2 * n + 1, dtype="f4").reshape(n, 2)
    held_out = held_out_rows(n, data.draw(st.integers(0, n - 1)), rng)
    options = {"held_out": held_out, "buffer_rows": buffer, "block_rows": block}
    batches = ShuffledBatches(rows, batch, rng, resumable=True, **options)
    for _ in range(drawn):
        next(batches)
    place = batches.place()
    assert (0 <= place.left < batch, place.drawn > 0) == (True, True)
    again = ShuffledBatches(rows, batch, np.random.default_rng(), place=place, resumable=True, **options)
    assert_same_place(again.place(), place)
    for _ in range(drawn):
        assert_same_bits(next(again), next(batches))
    assert_same_place(again.place(), batches.place())


def assert_same_place(a: Place, b: Place):
    assert (a.generator, a.left, a.drawn) == (b.generator, b.left, b.drawn)
    assert a.blocks.tolist() == b.blocks.tolist()


def test_a_place_reads_one_buffer_again():
    read = []

    class Watched(Slices):
        def __getitem__(self, rows):
            read.append(rows.start)
            return super().__getitem__(rows)

    source = Watched(np.random.default_rng(0).standard_normal((1000, 2)))
    options = {"held_out": np.empty(0, np.int64), "buffer_rows": 100, "block_rows": 10}
    batches = ShuffledBatches(source, 33, np.random.default_rng(0), resumable=True, **options)
    for _ in range(200):
        next(batches)
    read.clear()
    ShuffledBatches(source, 33, np.random.default_rng(0), place=batches.place(), **options)
    assert len(read) <= 10 + 1


# -- generators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_every_bit_generator_of_numpy_is_restored(kind):
    rng = np.random.Generator(getattr(np.random, kind)(3))
    rng.integers(0, 5, 7, dtype=np.uint8)  # leaves bits for the next call
    rng.random(1001)
    again = restored_generator(json.loads(json.dumps(generator_state(rng))))
    assert_same_bits(again.integers(0, 9, 9, dtype=np.uint8), rng.integers(0, 9, 9, dtype=np.uint8))
    assert_same_bits(again.random(2000), rng.random(2000))


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_a_training_with_its_own_generator_is_resumed(x, tmp_path, kind):
    def rng(seed=5):
        return np.random.Generator(getattr(np.random, kind)(seed))

    ends = rng()
    expected = fit(x, rng=ends, **SMALL)
    interrupted(x, tmp_path / "c", 5, rng=rng(), **SMALL)
    assert_same_result(fit(x, resume=tmp_path / "c"), expected, tmp_path)
    resumed = rng()
    assert_same_result(fit(x, resume=tmp_path / "c", rng=resumed, **SMALL), expected, tmp_path)
    assert generator_state(resumed) == generator_state(ends)
    for other in (rng(6), np.random.default_rng(5) if kind != "PCG64" else rng(7)):
        with pytest.raises(DomainError, match="rng: expected the generator that the training of the checkpoint"):
            fit(x, resume=tmp_path / "c", rng=other, **SMALL)


class OwnBits(np.random.PCG64):
    """A bit generator that NumPy does not know."""


@pytest.mark.parametrize("rng", [np.random.Generator(OwnBits(0)), np.random.RandomState(0), 3], ids=type)
def test_other_generators_are_refused_before_the_training(x, tmp_path, rng):
    with pytest.raises(DomainError, match=r"rng: expected a numpy\.random\.Generator with PCG64"):
        fit(x, rng=rng, checkpoint=tmp_path / "c", callback=never, **SMALL)
    assert list(tmp_path.iterdir()) == []


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(x, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "c"
    interrupted(x, path, 7, **SMALL)
    return path


def with_row(x, row):
    changed = x.copy()
    changed[row, 3] += 1
    return changed


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda x: x[:-1], "got 399 rows, d = 16, float32"),
        (lambda x: np.concatenate([x, x[:1]]), "got 401 rows, d = 16, float32"),
        (lambda x: x[:, :-1], "got 400 rows, d = 15, float32"),
        (lambda x: x.astype("f8"), "got 400 rows, d = 16, float64"),
        (lambda x: with_row(x, 0), "got other rows of that shape"),
        (lambda x: with_row(x, 399), "got other rows of that shape"),
        (lambda x: x[::-1], "got other rows of that shape"),
        (lambda x: 1.001 * x, "got other rows of that shape"),
    ],
)
def test_other_data_are_refused(x, checkpoint, change, got):
    expected = rf"x: expected the data of the checkpoint .*c \(400 rows, d = 16, float32\), {got}; "
    with pytest.raises(DomainError, match=expected):
        fit(change(x), resume=checkpoint)


def test_other_relevance_is_refused_and_the_same_in_another_form_is_not(x, tmp_path):
    pairs = RELATED[:500]
    settings = {**SMALL, "relevance_weight": 0.5}
    interrupted(x, tmp_path / "c", 5, relevance=pairs, **settings)
    same = fit(x, resume=tmp_path / "c", relevance=pairs[::-1, ::-1], **settings)
    assert_same_result(same, fit(x, relevance=pairs, **settings), tmp_path)
    for other, got in ((None, "no pairs"), (pairs[1:], "pairs [0-9a-f]{12}")):
        with pytest.raises(
            DomainError, match=f"^relevance: expected pairs .* as in the checkpoint .*c, got {got}; give"
        ):
            fit(x, resume=tmp_path / "c", relevance=other)
    interrupted(x, tmp_path / "without", 5, **SMALL)
    with pytest.raises(DomainError, match=r"^relevance: expected no pairs as in the checkpoint"):
        fit(x, resume=tmp_path / "without", relevance=pairs)
    arrays, meta = meta_of(tmp_path / "c")
    for value in VALUES:
        with pytest.raises(
            CompressaeError, match=r"c: .*relevance: expected|relevance: .* as in the checkpoint .*c, got"
        ):
            fit(x, resume=write(tmp_path / "c", arrays, changed(meta, ("relevance",), value)), relevance=pairs)


OTHER = {
    "n_latents": 25, "k": 4, "init": "original", "batch_size": 31, "steps": 13, "lr": 0.02, "warmup_steps": 1,
    "decay": "none", "beta1": 0.8, "beta2": 0.9, "eps": 1e-7, "aux_weight": 0.0, "renormalize": "before_step",
    "validation_rows": 3, "records": 5, "patience": 3, "seed": 1, "dtype": "float64", "buffer_rows": 99, "center": True,
    "objective": "reconstruct", "similarity_weight": 0.5, "temperature": 0.1, "relevance_weight": 0.5,
}  # fmt: skip
"""Another value of each setting that affects the model."""


def test_no_setting_is_forgotten():
    assert OTHER.keys() | {"rows_per_block"} == {field.name for field in dataclasses.fields(TrainConfig)}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("way", ["keyword", "config"])
def test_another_setting_is_refused_by_name_and_the_same_is_not(x, tmp_path, checkpoint, name, way):
    stored = load_checkpoint(checkpoint).meta["training"]
    same, other = ({name: value} for value in (stored.get(name, getattr(TrainConfig, name)), OTHER[name]))
    if way == "config":
        same, other = ({"config": TrainConfig(**setting)} for setting in (same, other))
        if name == "objective":  # of a configuration, those settings count that are not the defaults
            assert other == {"config": TrainConfig()}
            return
    with pytest.raises(DomainError, match=rf"^{name}: expected .* as in the checkpoint .*c, got .*; leave it out"):
        fit(x, resume=checkpoint, **other)
    assert_same_result(fit(x, resume=checkpoint, **same), fit(x, **SMALL), tmp_path)


def test_a_preset_counts_as_given(x, tmp_path, checkpoint):
    with pytest.raises(DomainError, match="n_latents: expected 24 as in the checkpoint"):
        fit(x, resume=checkpoint, preset="paper")
    settings = {"preset": "paper", "steps": 3, "n_latents": 24, "k": 2}
    interrupted(x, tmp_path / "c", 2, **settings)
    assert_same_result(fit(x, resume=tmp_path / "c", **settings), fit(x, **settings), tmp_path)


def test_a_setting_that_depends_on_the_data_is_the_same_setting(x, tmp_path):
    settings = {**SMALL, "batch_size": 100_000, "validation_rows": 0}
    interrupted(x, tmp_path / "c", 2, **settings)
    assert_same_result(fit(x, resume=tmp_path / "c", batch_size=100_000), fit(x, **settings), tmp_path)


def meta_of(path):
    arrays = read_npz(path)
    return arrays, json.loads(str(arrays.pop("meta")[()]))


def write(path, arrays, meta, digest=None):
    """Write a checkpoint with the digest of its content, or with another one."""
    meta = meta | {"digest": digest or digest_of(arrays, meta)}
    write_npz(path, {**arrays, "meta": np.array(json.dumps(meta))})
    return path


def places_in(value, path=()):
    """All places in nested JSON objects."""
    for name in value if isinstance(value, dict) else ():
        yield (*path, name)
        yield from places_in(value[name], (*path, name))


def changed(meta, place, value):
    """The meta with another value at a place; ``...`` removes it."""
    meta = json.loads(json.dumps(meta))
    inner = meta
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    if value is ...:
        del inner[place[-1]]
    return meta


VALUES = [..., None, -1, 2**70, 1.5, True, "", "other", [], [1], {}, {"a": 1}]
REFUSED = [
    (("format",), VALUES), (("version",), VALUES), (("step",), VALUES), (("seconds",), [..., None, -1, "", True, []]),
    (("data", "rows"), VALUES), (("data", "digest"), VALUES), (("training", "lr"), [..., None, -1, "", True, []]),
    (("training", "records"), VALUES), (("training",), VALUES), (("place",), VALUES), (("generator",), VALUES),
    (("place", "drawn"), VALUES), (("place", "left"), VALUES), (("start",), [..., -1, True, [], {}]),
    (("place", "generator", "state"), VALUES), (("place", "generator", "bit_generator"), VALUES),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_changed_meta_is_refused(x, checkpoint, tmp_path, value):
    """A value of another type or range at every place of the meta: the digest tells, and so do most values alone."""
    arrays, meta = meta_of(checkpoint)
    for place in places_in({name: part for name, part in meta.items() if name != "digest"}):
        if changed(meta, place, value) == meta and value is not True:  # True is equal to 1, which it replaces
            continue
        with pytest.raises(CompressaeError) as error:
            fit(x, resume=write(tmp_path / "c", arrays, changed(meta, place, value), meta["digest"]))
        assert str(tmp_path / "c") in str(error.value), place
        must = any(place == refused and value in values for refused, values in REFUSED)
        try:
            fit(x, resume=write(tmp_path / "c", arrays, changed(meta, place, value)))
        except CompressaeError as error:
            must = must and str(tmp_path / "c") not in str(error)
        assert not must, place


ARRAYS = ("W_enc", "b_enc", "W_dec", "m.W_enc", "v.W_dec", "usage", "blocks", "records", "losses")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_changed_array_is_refused(x, checkpoint, tmp_path, name):
    arrays, meta = meta_of(checkpoint)
    array = arrays[name]
    others = {
        "missing": None,
        "another dtype": array.astype("f2"),
        "another shape": np.concatenate([array, array[:1]]) if len(array) else np.full(50, 1024),
        "one more axis": array[None],
        "no axis": np.array(1, array.dtype),
    }
    if name == "blocks":
        others["too large"] = np.full(1, 1024 * 400)
        others["negative"] = np.full(1, -1024)
        others["between two"] = np.full(1, 7)
        others["twice the same"] = np.zeros(2, np.int64)
    if name == "records":
        others["of other steps"] = array + 1
    for what, other in others.items():
        members = {key: value for key, value in (arrays | {name: other}).items() if value is not None}
        path = write(tmp_path / "c", members, meta)
        with pytest.raises(FormatError) as error:
            fit(x, resume=path, callback=never)
        assert error.value.path == str(path), what


def test_a_best_model_that_is_missing_or_too_much_is_refused(x, tmp_path):
    interrupted(x, tmp_path / "c", 7, **SMALL, patience=3)
    arrays, meta = meta_of(tmp_path / "c")
    without = {name: array for name, array in arrays.items() if not name.startswith("best.")}
    for other, changes in ((without, {}), (arrays, {"patience": None})):
        path = write(tmp_path / "d", other, meta | {"training": meta["training"] | changes})
        with pytest.raises(FormatError, match="best: expected"):
            fit(x, resume=path)


@given(data=st.data())
def test_damaged_bytes_are_refused_or_change_nothing(x, checkpoint, folder, data):
    content = bytearray(checkpoint.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for at in data.draw(st.sets(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[at] ^= data.draw(st.integers(1, 255))
    path = folder / "damaged"
    path.write_bytes(content)
    caught = []
    try:
        assert_same_result(fit(x, resume=path), fit(x, **SMALL), folder)
    except FormatError as error:
        caught.append(error.path)
    assert caught in ([], [str(path)])


def test_other_files_are_refused(x, tmp_path):
    save_model(tmp_path / "model.npz", fit(x, **SMALL).model)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(FormatError, match=r"model\.npz: expected a compressae-checkpoint file of .*, got 'compr"):
        fit(x, resume=tmp_path / "model.npz")
    for name in ("x.npy", "empty"):
        with pytest.raises(FormatError, match=f"{name}: expected a checkpoint of a training"):
            fit(x, resume=tmp_path / name)
    with pytest.raises(FileNotFoundError):
        fit(x, resume=tmp_path / "absent")


def test_a_checkpoint_is_no_model(checkpoint):
    with pytest.raises(FormatError, match=r"expected a model .*, got 'compressae-checkpoint'"):
        load_model(checkpoint)


@pytest.mark.parametrize("every", [-1, math.nan, "1", True])
def test_other_intervals_are_refused(x, tmp_path, every):
    with pytest.raises(DomainError, match="every: expected a finite number of at least 0"):
        fit(x, checkpoint=tmp_path / "c", every=every, callback=never, **SMALL)


def test_whether_it_can_be_written_is_known_before_the_training(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    for path in (tmp_path / "absent" / "c", tmp_path):
        with pytest.raises(OSError, match="folder"):
            fit(x, checkpoint=path, callback=never, **SMALL)
    with pytest.raises(DomainError, match="expected an output that is not an input"):
        fit(np.load(tmp_path / "x.npy", mmap_mode="r"), checkpoint=tmp_path / "x.npy", callback=never, **SMALL)


def test_a_full_disk_does_not_end_the_training(x, tmp_path, monkeypatch, caplog):
    interrupted(x, tmp_path / "c", 3, **SMALL)
    before = (tmp_path / "c").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = fit(x, checkpoint=tmp_path / "c", resume=tmp_path / "c", every=0, **SMALL)
    assert_same_result(result, fit(x, **SMALL), tmp_path)
    assert (tmp_path / "c").read_bytes() == before
    assert {record.getMessage() for record in caplog.records} == {
        f"{tmp_path / 'c'}: the checkpoint was not written: No space left on device"
    }


# -- signals ----------------------------------------------------------------------------------------------------------


class Delivered(KeyboardInterrupt):
    """What the handlers of these tests raise."""


@pytest.fixture
def handlers():
    """Signals raise `Delivered`, as they do in a program that ends in order."""

    def deliver(number, frame):
        raise Delivered(number)

    before = {number: signal.signal(number, deliver) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def signal_in_step(monkeypatch, number, step, times=1):
    """Send a signal while a step runs, and require that the step ends."""
    ended = []

    def with_signal(state, *arguments):
        now = state.adam.step + 1 == step
        for _ in range(times if now else 0):
            signal.raise_signal(number)
        losses = train_step(state, *arguments)
        ended.append(state.adam.step)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "train_step", with_signal)
        yield
    assert ended[-1] == step


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_signal_waits_for_the_end_of_the_step_and_leaves_a_checkpoint(x, tmp_path, monkeypatch, number, times, step):
    with signal_in_step(monkeypatch, number, step, times), pytest.raises(Delivered):
        fit(x, checkpoint=tmp_path / "c", **SMALL)
    assert load_checkpoint(tmp_path / "c").meta["step"] == step
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert_same_result(fit(x, resume=tmp_path / "c"), fit(x, **SMALL), tmp_path)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_callback_leaves_a_checkpoint(x, tmp_path, number):
    def callback(progress):
        if progress.step == 4:
            signal.raise_signal(number)

    with pytest.raises(Delivered):
        fit(x, checkpoint=tmp_path / "c", callback=callback, **SMALL)
    assert load_checkpoint(tmp_path / "c").meta["step"] == 4


@pytest.mark.usefixtures("handlers")
def test_without_a_checkpoint_a_signal_ends_the_step(x, monkeypatch):
    monkeypatch.setattr(fit_module, "train_step", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Delivered):
        fit(x, **SMALL)


def test_a_signal_that_is_ignored_or_handled_does_not_end_the_training(x, tmp_path, monkeypatch):
    handled, before = [], {number: signal.getsignal(number) for number in SIGNALS[:2]}
    try:
        for handler in (signal.SIG_IGN, lambda number, frame: handled.append(number)):
            signal.signal(signal.SIGTERM, handler)
            with monkeypatch.context() as patch:
                patch.setattr(
                    fit_module, "train_step", lambda *a: (signal.raise_signal(signal.SIGTERM), train_step(*a))[1]
                )
                result = fit(x, checkpoint=tmp_path / "c", **SMALL)
            assert_same_result(result, fit(x, **SMALL), tmp_path)
            assert signal.getsignal(signal.SIGTERM) == handler
        assert handled == [signal.SIGTERM] * 12
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_the_third_request_is_delivered_at_once(monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(deferred_signals, "time", clock)
    with DeferredSignals() as deferred:
        for now in (0.0, 0.5, 2.0, 2.5):
            clock.now = now
            signal.raise_signal(signal.SIGINT)
        assert deferred.pending == signal.SIGINT
        clock.now = 4.0
        with pytest.raises(Delivered):
            signal.raise_signal(signal.SIGINT)
        assert deferred.pending is None


def test_a_thread_trains_with_checkpoints(x, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(x, checkpoint=tmp_path / "c", every=0, **SMALL)))
    thread.start()
    thread.join()
    assert_same_result(results[0], fit(x, resume=tmp_path / "c"), tmp_path)


# -- a model to start from, and the model of now ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(x):
    return fit(x[:200], **SMALL).model


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_training_starts_from_the_parameters_of_a_model_and_zero_moments(x, model, backend):
    before = model.params.copy()
    config = make_config(None, None, {"n_latents": 24, "k": 3, "batch_size": 32, "steps": 1, "validation_rows": 20})
    result = fit(x, start=model, batch_size=32, steps=1, backend=backend)
    rng = np.random.default_rng(0)
    held_out = held_out_rows(len(x), 20, rng)
    state = init_state(model.params, get_backend(backend))
    batch = next(ShuffledBatches(x, 32, rng, held_out=held_out))
    train_step(state, batch, config, get_backend(backend), learning_rate(config, 0, 1))
    assert_same_bits(result.model.params.W_enc, state.params.W_enc)
    assert_same_bits(result.model.params.b_enc, state.params.b_enc)
    assert (result.model.k, result.model.params.n_latents) == (3, 24)
    assert result.model.training["start"] == model.digest
    for name, array in before.arrays().items():
        assert_same_bits(getattr(model.params, name), array)


def test_a_training_from_a_model_is_resumed(x, model, tmp_path):
    expected = fit(x, start=model, steps=12)
    interrupted(x, tmp_path / "c", 5, start=model, steps=12)
    assert_same_result(fit(x, resume=tmp_path / "c"), expected, tmp_path)
    assert_same_result(fit(x, resume=tmp_path / "c", start=model, steps=12), expected, tmp_path)
    with pytest.raises(DomainError, match=r"start: expected 'model .*' as in the checkpoint .*, got 'model"):
        fit(x, resume=tmp_path / "c", start=expected.model)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_r23_the_most_used_latents_of_a_model_are_kept(x, model, backend):
    held_out = held_out_rows(len(x), 20, np.random.default_rng(0))
    training = np.setdiff1d(np.arange(len(x)), held_out)
    counts = np.bincount(model.encode(x[training]).indices.ravel(), minlength=24)
    kept = sorted(sorted(range(24), key=lambda j: (-counts[j], j))[:10])
    rows = HostRows(x)
    params = most_used(model.params, 3, 10, rows, held_out, get_backend(backend))
    assert_same_bits(params.W_enc, model.params.W_enc[:, kept])
    assert_same_bits(params.W_dec, model.params.W_dec[kept])
    assert_same_bits(params.b_enc, model.params.b_enc[kept])
    assert params.W_enc.flags.f_contiguous
    result = fit(x, start=model, n_latents=10, steps=1, backend=backend)
    assert_same_bits(result.model.params.W_dec, fit(x, start=Model(params, 3), steps=1).model.params.W_dec)
    assert result.model.training["start"] == model.digest


def test_r23_of_many_rows_an_even_sample_is_counted(x, model, monkeypatch):
    monkeypatch.setattr(kept_latents, "SAMPLED_ROWS", 7)
    sample = np.setdiff1d(np.arange(400), [3])[np.arange(7) * 399 // 7]
    params = most_used(model.params, 3, 4, HostRows(x), np.array([3]), get_backend("numpy"))
    counts = np.bincount(model.encode(x[sample]).indices.ravel(), minlength=24)
    kept = sorted(sorted(range(24), key=lambda j: (-counts[j], j))[:4])
    assert_same_bits(params.W_dec, model.params.W_dec[kept])


def test_init_is_ignored_with_a_model_to_start_from(x, model):
    digests = {fit(x, start=model, steps=2, init=init).model.digest for init in ("tied", "original")}
    assert len(digests) == 1


@pytest.mark.parametrize("setting", [{"n_latents": 25}, {"k": 2}, {"dtype": "float64"}, {"preset": "paper"}])
@pytest.mark.parametrize("way", ["keyword", "config"])
def test_settings_that_differ_from_the_model_are_refused(x, model, setting, way):
    name = "n_latents" if "preset" in setting else next(iter(setting))
    if way == "config" and name == next(iter(setting)):
        setting = {"config": TrainConfig(**setting)}
    with pytest.raises(DomainError, match=f"^{name}: expected .* (as in|latents of) the model to start from, got"):
        fit(x, start=model, callback=never, **setting)


def test_the_model_decides_the_dtype(x, model):
    assert fit(x.astype("f8"), start=model, steps=1).model.params.dtype == "f4"


def test_what_no_training_can_start_from_is_refused(x, model, tmp_path):
    with pytest.raises(ShapeError, match="expected d = 16 dimensions as in the model, got 15"):
        fit(x[:, :15], start=model, steps=1)
    for other in ("model.npz", model.params, tmp_path):
        with pytest.raises(DTypeError, match="start: expected a Model, got"):
            fit(x, start=other, steps=1)
    broken = Model(dataclasses.replace(model.params, W_dec=2 * model.params.W_dec), 3)
    with pytest.raises(DomainError, match="unit rows in W_dec"):
        fit(x, start=broken, steps=1)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("renormalize", ["after_step", "before_step"])
def test_the_current_model_is_that_of_a_training_which_ends_there(x, folder, backend, renormalize):
    settings = {**SMALL, "decay": "none", "renormalize": renormalize, "backend": backend}
    models = {}
    last = fit(x, callback=lambda now: models.setdefault(now.step, now.model()), **settings).model
    assert models[12].digest == last.digest
    assert models[12].training == last.training
    for step in (1, 5, 11):
        assert models[step].digest == fit(x, **{**settings, "steps": step}).model.digest


# -- the command line -------------------------------------------------------------------------------------------------

TRAIN = "--n-latents 24 --k 3 --batch-size 32 --steps 40 --backend numpy"


@pytest.fixture
def here(x, tmp_path, monkeypatch):
    """A folder with data and the model that an uninterrupted training writes."""
    monkeypatch.chdir(tmp_path)
    np.save("x y.npy", x)
    assert run(f"train 'x y.npy' -o expected.npz {TRAIN}") == 0
    return tmp_path


def run(line: str) -> int:
    return main(shlex.split(line))


class Bar(train_steps.TrainingBar):
    """Interrupts the training after a step."""

    stop = 0

    def __call__(self, progress):
        if progress.step == self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def interrupt(monkeypatch):
    def at(step):
        monkeypatch.setattr(train_steps, "TrainingBar", type("Stops", (Bar,), {"stop": step}))

    return at


def interrupted_text(line: str) -> str:
    """Run an interrupted command; return what it says to the user."""
    try:
        assert run(line) == 130
    except KeyboardInterrupt as error:
        return str(error)
    return ""


def spied(monkeypatch):
    """The texts that interrupted trainings give to `main`."""
    texts, say = [], train_steps._say_how_to_resume

    def spy(interrupt, *arguments):
        say(interrupt, *arguments)
        texts.append(str(interrupt))

    monkeypatch.setattr(train_steps, "_say_how_to_resume", spy)
    return texts


@pytest.mark.parametrize("options", ["", "--every 7 --backend numpy", "--checkpoint 'my file'"])
def test_the_command_that_it_says_resumes(here, interrupt, monkeypatch, options):
    texts = spied(monkeypatch)
    checkpoint = "my file" if "--checkpoint" in options else "m.npz.checkpoint"
    monkeypatch.setattr(Checkpoints, "_expected_seconds", lambda *_: 1e9)
    interrupt(17)
    interrupted_text(f"train 'x y.npy' -o m.npz {TRAIN} {options}")
    assert load_checkpoint(checkpoint).meta["step"] == 17
    assert texts[-1].startswith(f"{checkpoint} has step 17; to continue, run: compressae-ref train ")
    interrupt(31)
    again = texts[-1].partition(" run: compressae-ref ")[2]
    interrupted_text(again.replace("--resume m.npz", "--resume ./m.npz"))
    assert load_checkpoint(checkpoint).meta["step"] == 31
    interrupt(None)
    assert run(texts[-1].partition(" run: compressae-ref ")[2]) == 0
    assert (here / "m.npz").read_bytes() == (here / "expected.npz").read_bytes()
    left = {path.name for path in here.iterdir()} - {"x y.npy", "m.npz", "expected.npz"}
    assert left == ({"my file"} if "--checkpoint" in options else set())


OPTIONS = {
    "train": ["--follow-links", "--zero-rows=skip"],
    "pull": ["--rows=77", "--keep=kept.npz", "--zero-rows=empty"],
    "both": [
        *("--n-latents=24", "--lr=1e-3", "--preset=paper", "--center", "--decay=none", "--checkpoint=a b"),
        *("--every=7", "--backend=numpy", "--start=other.npz", "--seed=3", "--resume=old"),
    ],
}


@given(st.data(), st.sampled_from(["train", "pull"]))
def test_the_command_that_it_says_has_all_options(data, command):
    options = data.draw(st.lists(st.sampled_from(OPTIONS[command] + OPTIONS["both"]), unique=True))
    before = parse(command_line(), [command, "the data", "-o", "m.npz", *options])
    interrupt = KeyboardInterrupt()
    train_steps._say_how_to_resume(interrupt, before, SimpleNamespace(step=3, path="c"))
    words = shlex.split(interrupt.args[0].partition(" run: compressae-ref ")[2])
    after = command_line().parse_args(words)
    assert after.resume == "c"
    for name, value in vars(before).items():
        if name not in ("resume", "parser", "given"):
            assert getattr(after, name) == value, name


def test_an_interruption_before_the_first_step_leaves_the_checkpoint_as_it_was(here, interrupt, monkeypatch):
    texts = spied(monkeypatch)
    interrupt(17)
    interrupted_text(f"train 'x y.npy' -o m.npz {TRAIN} --checkpoint c")
    monkeypatch.setattr(fit_module, "_resume", Mock(side_effect=KeyboardInterrupt))
    interrupted_text("train 'x y.npy' -o m.npz --resume c")
    assert texts[-1] == "c is as it was; to continue, run: compressae-ref train 'x y.npy' -o m.npz --resume c"
    assert load_checkpoint("c").meta["step"] == 17


def test_a_short_training_leaves_nothing(here, interrupt):
    interrupt(17)
    assert interrupted_text(f"train 'x y.npy' -o m.npz {TRAIN}") == ""
    assert {path.name for path in here.iterdir()} == {"x y.npy", "expected.npz"}


def test_an_earlier_checkpoint_is_not_overwritten(here, capsys):
    (here / "m.npz.checkpoint").write_bytes(b"hours of work")
    assert run(f"train 'x y.npy' -o m.npz {TRAIN}") == 1
    said = capsys.readouterr().err
    assert "m.npz.checkpoint: expected no checkpoint of an earlier training to this output, got one" in said
    assert "add --resume m.npz.checkpoint to continue" in said
    assert (here / "m.npz.checkpoint").read_bytes() == b"hours of work"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--checkpoint m.npz", "m.npz: expected a checkpoint that is no other file of the command, got the same file"),
        ("--checkpoint ./m.npz", "m.npz: expected a checkpoint that is no other file"),
        ("--checkpoint 'x y.npy'", "x y.npy: expected a checkpoint that is no other file"),
        ("--checkpoint expected.npz --start expected.npz", "expected a checkpoint that is no other file"),
        ("--resume m.npz", "m.npz: expected an output that is not an input"),
        ("--checkpoint none/c", "none: the output folder does not exist"),
        ("--checkpoint .", ".: expected the name of an output file, got a folder"),
        ("--resume absent", "absent: No such file or directory"),
        ("--resume 'x y.npy' --checkpoint c", "x y.npy: expected a checkpoint of a training"),
        ("--start 'x y.npy'", "x y.npy: expected a model, got embeddings"),
        ("--start absent", "absent: No such file or directory"),
        ("--start expected.npz --k 4", "k: expected 3 as in the model to start from, got 4"),
        ("--every -1", "every: expected a finite number of at least 0, got -1.0"),
    ],
)
def test_files_and_settings_that_do_not_fit_are_refused(here, capsys, monkeypatch, line, message):
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    settings = TRAIN.replace("--k 3", "") if "--k" in line else TRAIN
    assert run(f"train 'x y.npy' -o m.npz {settings} {line}") == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_an_array_of_the_file_is_the_file(here, x, capsys):
    np.savez("both.npz", x=x, y=x)
    before = (here / "both.npz").read_bytes()
    for line in ("-o both.npz", "-o m.npz --checkpoint both.npz"):
        assert run(f"train both.npz::x {line} {TRAIN}") == 1
        assert "both.npz: expected a" in capsys.readouterr().err
    assert (here / "both.npz").read_bytes() == before


def test_other_data_and_settings_are_refused_in_one_line(here, x, capsys, interrupt):
    interrupt(5)
    interrupted_text(f"train 'x y.npy' -o m.npz {TRAIN} --checkpoint c")
    interrupt(None)
    capsys.readouterr()
    np.save("other.npy", x[1:])
    assert run("train other.npy -o m.npz --resume c") == 1
    assert "other.npy: expected the data of the checkpoint c (400 rows, d = 16, float32), got 399 rows" in (
        said := capsys.readouterr().err
    )
    assert said.count("\n") == 1
    assert run("train 'x y.npy' -o m.npz --resume c --lr 0.5") == 1
    assert "lr: expected 0.05 as in the checkpoint c, got 0.5; leave it out" in capsys.readouterr().err
    assert run("train 'x y.npy' -o m.npz --resume c --seed 0 --steps 40") == 0
    assert (here / "m.npz").read_bytes() == (here / "expected.npz").read_bytes()
    assert load_checkpoint("c").meta["step"] == 5, "a file that is named is kept"


def test_start_is_that_of_the_library(here, x):
    assert run("train 'x y.npy' -o m.npz --start expected.npz --steps 9 --backend numpy") == 0
    start = load_model("expected.npz")
    assert load_model("m.npz").digest == fit(x, start=start, steps=9).model.digest


PROGRAM = """
import sys, time
from compressae_ref.cli import progress
from compressae_ref.cli.main import main

class Bar(progress.TrainingBar):
    def __call__(self, done):
        print(done.step, flush=True)
        time.sleep(0.01)

progress.TrainingBar = Bar
sys.exit(main())
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_gets_a_signal_leaves_a_checkpoint(here, x, number):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    words = ["train", "x y.npy", "-o", "m.npz", *TRAIN.split(), "--steps", "500", "--checkpoint", "c"]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    assert process.stdout.readline() == b"1\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (1, 128 + number, -number)
    assert b"Traceback" not in said
    assert 1 <= load_checkpoint("c").meta["step"] < 500
    assert sorted(path.name for path in here.iterdir()) == ["c", "expected.npz", "x y.npy"]
    result = fit(x, resume="c")
    assert_same_result(result, fit(x, n_latents=24, k=3, batch_size=32, steps=500), here)


# -- kill -9 ----------------------------------------------------------------------------------------------------------

KILLED = """
import os, random, signal, sys, time
import numpy as np
from compressae_ref import fit, save_model
from compressae_ref.training.resume import load_checkpoint

x, kills, chance, step = np.load("x y.npy"), int(sys.argv[1]), random.Random(0), 0
settings = dict(n_latents=64, k=4, batch_size=64, steps=60 * kills, records=50, patience=50, backend="numpy")
save_model("expected.npz", fit(x, **settings).model)

def train(every, steps):
    resume = "c" if os.path.exists("c") else None
    say = lambda progress: os.write(steps, b".")
    save_model("m.npz", fit(x, checkpoint="c", every=every, resume=resume, callback=say, **settings).model)
    os._exit(0)

for kill in range(kills + 1):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        train(chance.choice([0, 0.0002]), writing)
    os.close(writing)
    seen, until = 0, chance.randrange(1, 40)
    while kill == kills or seen < until:
        if not os.read(reading, 1):
            break
        seen += 1
    if kill == kills:
        break
    time.sleep(chance.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it ended before it was killed, so the kill shows nothing"
    os.close(reading)
    before, step = step, load_checkpoint("c").meta["step"] if os.path.exists("c") else 0
    assert step >= before, (step, before)
    print(step)
assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_at_random_points_gives_the_same_file(here):
    """`KILLS=200` kills it 200 times."""
    kills = os.environ.get("KILLS", "20")
    done = subprocess.run([sys.executable, "-c", KILLED, kills], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) > int(kills) // 4, "it was hardly ever killed between two checkpoints"
    assert (here / "m.npz").read_bytes() == (here / "expected.npz").read_bytes()
