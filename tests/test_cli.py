"""The command line: results, the one line for every wrong input, and what is on the disk afterwards."""

from __future__ import annotations

import argparse
import ast
import ctypes
import dataclasses
import errno
import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import unicodedata
import warnings
import zipfile
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import compressae_ref
from compressae_ref import (
    Index,
    Model,
    checks,
    fit,
    init_params,
    load_codes,
    load_model,
    save_codes,
    save_model,
    search,
)
from compressae_ref.backends.cuda_requirements import what_cuda_lacks
from compressae_ref.cli import convert_onnx, demo_segments, demo_steps, evaluate_steps, given, output_names, train_steps
from compressae_ref.cli.examples import EXAMPLES
from compressae_ref.cli.given import parse, require_applicable, require_kept_inputs
from compressae_ref.cli.interrupts import heed_signals
from compressae_ref.cli.main import COMMANDS as MODULES
from compressae_ref.cli.main import command_line, main
from compressae_ref.cli.terminal import hits_text
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.evaluation.frontier import table
from compressae_ref.extensions.fitted_codes import encode_fitted
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.training.settings import DEFAULT_SERVE, SERVE, TrainConfig
from tests.bounds import assert_same_bits, assert_same_codes

D, H, K, N, N_QUERIES = 16, 64, 4, 300, 7
NUMPY = ("--backend", "numpy")
TRAIN = (*NUMPY, "--n-latents", H, "--k", K, "--steps", 20)
COMMANDS = (
    "demo",
    "choose",
    "train",
    "encode",
    "pack",
    "unpack",
    "split-signs",
    "search",
    "evaluate",
    "inspect",
    "verify",
    "segments",
    "report",
)


NAMES = [module.__name__.rpartition(".")[2].replace("_", "-") for module in MODULES]


def words(arguments) -> list[str]:
    return [str(argument) for argument in arguments]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> SimpleNamespace:
    """Embeddings, queries, a model that was trained on them, its codes, and another model with its codes."""
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    names = {"x": "x.npy", "queries": "queries.npy", "wide": "wide.npy", "model": "model.npz", "codes": "codes.npz"}
    names |= {f"{kind}_{what}": f"{kind}_{what}.npz" for kind in ("other", "small") for what in ("model", "codes")}
    files = SimpleNamespace(**{key: folder / name for key, name in names.items()})
    np.save(files.x, rng.standard_normal((N, D)).astype(np.float32))
    np.save(files.queries, rng.standard_normal((N_QUERIES, D)).astype(np.float32))
    np.save(files.wide, rng.standard_normal((N, D + 1)).astype(np.float32))
    for model, codes, *settings in (
        (files.model, files.codes),
        (files.other_model, files.other_codes, "--seed", 1),
        (files.small_model, files.small_codes, "--n-latents", H // 2),
    ):
        assert main(words(["train", files.x, "-o", model, *TRAIN, *settings])) == 0
        assert main(words(["encode", model, files.x, "-o", codes, *NUMPY])) == 0
    return files


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; returns its standard output and standard error."""

    def run(*arguments) -> tuple[str, str]:
        code = main(words(arguments))
        out, err = capsys.readouterr()
        assert code == 0, err
        return out, err

    return run


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_line(err: str, *mentions) -> None:
    assert err.startswith("compressae-ref: "), err
    assert err.endswith("\n"), err
    assert err.count("\n") == 1, err
    without_paths = re.sub(r"/\S+", "", err)
    for mention in mentions:
        assert str(mention) in (err if isinstance(mention, Path) else without_paths)


def assert_usage_error(err: str, command=()) -> None:
    """One line that names the command, says what was expected and what came, and where help is."""
    program = " ".join(["compressae-ref", *(each for each in command if each in NAMES)])
    assert re.fullmatch(rf"{program}: error: .*expected .*, got .*; for help, run: {program} --help\n", err), err


@pytest.fixture
def assert_refused(capsys, tmp_path):
    """Exit code 1, one line that mentions what it should, no results, and the folder as it was."""

    def check(arguments, mentions=()) -> None:
        before = listing(tmp_path)
        code = main(words(arguments))
        out, err = capsys.readouterr()
        assert code == 1
        assert out == ""
        assert_one_line(err, *mentions)
        assert listing(tmp_path) == before

    return check


def read_json(text: str):
    """Strict JSON, without NaN and Infinity, which many readers refuse."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# -- train ------------------------------------------------------------------------------------------------------------


def test_train_writes_a_model_and_says_so(files, tmp_path, run):
    out, err = run("train", files.x, "-o", tmp_path / "m.npz", *TRAIN)
    assert out == ""
    first, *meaning = err.splitlines()
    assert re.fullmatch(rf"{tmp_path}/m\.npz: validation cosine 0\.\d{{4}}, \d+ dead latents", first)
    assert 3 <= len(meaning) <= 6
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
    model = load_model(tmp_path / "m.npz")
    assert (model.params.d, model.params.n_latents, model.k, model.params.dtype) == (D, H, K, np.float32)


def test_the_same_seed_gives_the_same_file_and_another_seed_another(files, tmp_path, run):
    run("train", files.x, "-o", tmp_path / "again.npz", *TRAIN)
    assert (tmp_path / "again.npz").read_bytes() == files.model.read_bytes()
    assert load_model(files.other_model).digest != load_model(files.model).digest


def test_train_gives_the_model_of_the_library(files, tmp_path):
    model = compressae_ref.fit(np.load(files.x), n_latents=H, k=K, steps=20, backend="numpy").model
    save_model(tmp_path / "library.npz", model)
    assert (tmp_path / "library.npz").read_bytes() == files.model.read_bytes()


SETTINGS = {
    "n_latents": 48,
    "k": 3,
    "init": "original",
    "batch_size": 32,
    "steps": 6,
    "lr": 0.001,
    "warmup_steps": 2,
    "decay": "cosine",
    "validation_rows": 11,
    "patience": 5,
    "seed": 9,
    "dtype": "float64",
}


def test_every_setting_arrives(files, tmp_path, run):
    assert not [name for name, value in SETTINGS.items() if getattr(TrainConfig(), name) == value]
    flags = [flag for name, value in SETTINGS.items() for flag in (f"--{name.replace('_', '-')}", value)]
    run("train", files.x, "-o", tmp_path / "m.npz", *NUMPY, *flags)
    training = load_model(tmp_path / "m.npz").training
    assert {name: training[name] for name in SETTINGS} == SETTINGS


SPARSE, DENSE = "then, for sparse queries: ", "then, for dense queries: "


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], ["with another row's", "usually 0% to 41%", "serves sparse and dense", "next: ", SPARSE, DENSE]),
        (["--serve", "sparse"], ["with another row's", "usually", "serves sparse", "next: ", "then: "]),
        (["--serve", "dense"], ["with another row's", "usually 0% to 23%", "serves dense queries", "next: ", "then: "]),
        (["--preset", "paper"], ["with another row's", "usually", "serves dense queries", "next: ", "then: "]),
        (["--serve", "segments"], ["with another row's", "usually", "serves segments of items", "next: "]),
        (["--validation-rows", 0], ["no rows were held out", "usually", "serves sparse", "next: ", SPARSE, DENSE]),
        (["--validation-rows", 1], ["cosine of", "usually", "serves sparse", "next: ", SPARSE, DENSE]),
        (["--zero-rows", "skip"], ["mean cosine", "usually", "serves sparse", "next: ", SPARSE, DENSE]),
        (["--n-latents", 4096, "--steps", 1], ["mean cosine", "is enough", "serves sparse", "next: ", SPARSE, DENSE]),
    ],
)
def test_train_ends_with_its_meaning_and_with_commands_that_run(options, says, files, tmp_path, run):
    data, model = tmp_path / "my x.npy", tmp_path / "it's.npz"
    x = np.load(files.x)
    np.save(data, np.vstack([x, np.zeros_like(x[:1])]) if "--zero-rows" in options else x)
    _, err = run("train", data, "-o", model, *TRAIN, *options)
    lines = [line for line in err.splitlines() if not line.startswith(str(tmp_path))]
    assert len(lines) == len(says)
    for line, words in zip(lines, says, strict=True):
        assert words in line
        assert len(line.replace(str(tmp_path), "")) <= (140 if "compressae-ref" in line else 110)
        assert "nan" not in line
        if words in ("next: ", "then: ", SPARSE, DENSE):
            program, *command = shlex.split(line.removeprefix(words))
            assert program == "compressae-ref"
            for_dense = words == DENSE or (words == "then: " and "sparse" not in options)
            assert ("--refine" in command) == (for_dense and command[0] == "encode")
            few = ["--min-items", 1] if command[0] == "segments" else []  # for 300 random rows
            run(*command, *few, *NUMPY)


def test_inspect_tells_and_draws_the_history(files, tmp_path, run, assert_refused):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from compressae_ref.cli.inspect_picture import history_figure

    pictures = []
    for name in (files.model, files.other_model):
        out, _ = run("inspect", name, "--picture", tmp_path / "picture.png")
        history = load_model(name).training["history"]
        for words, row in (("first", history[0]), ("last", history[-1])):
            assert re.search(rf"\n  {words} +step {row[0]}: loss {row[1]:.4f}, validation cosine {row[2]:.4f}", out)
        facts = read_json(run("inspect", name, "--json")[0])
        assert facts["training"]["history"] == history
        assert facts["history"]["best"]["validation_cosine"] == max(row[2] for row in history)
        figure = history_figure(load_model(name))
        assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["loss", "cosine", "latents"]
        assert figure.axes[-1].get_xlabel() == "steps"
        for axes, column in zip(figure.axes, (1, 2, 3), strict=True):
            assert axes.lines[0].get_xydata().tolist() == [[row[0], row[column]] for row in history]
        pictures.append(imread(tmp_path / "picture.png"))
    assert pictures[0].shape == pictures[1].shape
    assert 0.001 < (pictures[0] != pictures[1]).any(axis=2).mean() < 0.5
    (tmp_path / "picture.png").unlink()
    model = load_model(files.model)
    without = {name: value for name, value in model.training.items() if name != "history"}
    save_model(tmp_path / "old.npz", Model(model.params, model.k, without))
    assert re.search("\nhistory +not stored", run("inspect", tmp_path / "old.npz")[0])
    for name, words in ((tmp_path / "old.npz", "the history of its training"), (files.x, "expected a model")):
        assert_refused(["inspect", name, "--picture", tmp_path / "no.png"], [words, Path(name)])
    assert_refused(["inspect", files.model, "--picture", files.model], ["an output that is not an input"])


@pytest.fixture(scope="module")
def dominated(tmp_path_factory):
    """Embeddings whose mean cosine of pairs is 0.6 or so."""
    x = np.random.default_rng(0).standard_normal((300, D)).astype("f4")
    path = tmp_path_factory.mktemp("dominated") / "x.npy"
    np.save(path, x + 1.25)
    return path


def test_inspect_and_train_say_that_one_direction_dominates(files, dominated, tmp_path, run):
    out, err = run("inspect", dominated, "--json")
    share = read_json(out)["mean_cosine_of_pairs"]
    x = np.load(dominated).astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert share == pytest.approx(((x @ x.T).sum() - len(x)) / (len(x) * (len(x) - 1)), abs=1e-6)
    assert 0.5 < share < 0.7
    settings = ["--steps", 5, "--n-latents", 32, "--k", 3, *NUMPY]
    _, told = run("train", dominated, "-o", tmp_path / "plain.npz", *settings)
    for text in (err, told):
        assert f"{dominated}: the mean cosine of pairs is {share:.2f}" in text
        assert "--center" in text
    _, told = run("train", dominated, "-o", tmp_path / "m.npz", *settings, "--center")
    assert "--center" not in told
    model = load_model(tmp_path / "m.npz")
    assert model.training["center"] is True
    assert read_json(run("inspect", tmp_path / "m.npz", "--json")[0])["norm_of_the_mean"] == pytest.approx(
        np.linalg.norm(model.params.mean)
    )
    assert (
        "--center"
        not in "".join(run("inspect", files.x)) + run("train", files.x, "-o", tmp_path / "x.npz", *settings)[1]
    )


def test_inspect_of_one_row_says_no_mean_cosine(tmp_path, run):
    np.save(tmp_path / "one.npy", np.ones((1, D), "f4"))
    assert read_json(run("inspect", tmp_path / "one.npy", "--json")[0])["mean_cosine_of_pairs"] is None


def test_a_centred_model_goes_through_every_command(files, dominated, tmp_path, run):
    """What is found by its codes is what the library finds."""
    model, codes = tmp_path / "m.npz", tmp_path / "codes.npz"
    run("train", dominated, "-o", model, "--steps", 5, "--n-latents", 32, "--k", 3, "--center", *NUMPY)
    run("encode", model, dominated, "-o", codes, *NUMPY)
    loaded, x = load_model(model), np.load(dominated)
    for space in ("sparse", "reconstructed", "asymmetric", "expanded"):
        out, _ = run("search", model, codes, dominated, "--space", space, "--top", 3, *NUMPY)
        hits = compressae_ref.search(x, loaded.encode(x), 3, model=loaded, space=space)
        lines = [hits_text(*pair) for pair in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)]
        assert [line.split("\t")[-1] for line in out.splitlines()] == lines
    run("pack", codes, "-o", tmp_path / "packed.npz")
    packed = compressae_ref.load_packed(tmp_path / "packed.npz").unpack()
    assert packed.model == loaded.digest
    run("evaluate", model, dominated, files.queries, "--top", 5, *NUMPY)


def test_single_settings_override_a_preset(files, tmp_path, run):
    run("train", files.x, "-o", tmp_path / "m.npz", *NUMPY, "--preset", "paper", "--steps", 1, "--n-latents", 40)
    training = load_model(tmp_path / "m.npz").training
    assert (training["k"], training["n_latents"], training["steps"]) == (32, 40, 1)


def test_an_existing_model_is_replaced(files, tmp_path, run):
    (tmp_path / "m.npz").write_text("what was there before")
    run("train", files.x, "-o", tmp_path / "m.npz", *TRAIN)
    assert listing(tmp_path) == {"m.npz": files.model.read_bytes()}


# -- encode -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [None, 2, 9])
def test_encode_writes_the_codes_of_the_library(files, tmp_path, run, k):
    out, err = run("encode", files.model, files.x, "-o", tmp_path / "c.npz", *NUMPY, *([] if k is None else ["--k", k]))
    assert out == ""
    assert err.startswith(f"{tmp_path / 'c.npz'}: {N} codes, k {k or K} of {H} latents")
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
    model, codes = load_model(files.model), load_codes(tmp_path / "c.npz")
    expected = model.encode(np.load(files.x), k, backend="numpy")
    assert_same_bits(codes.indices, expected.indices)
    assert_same_bits(codes.values, expected.values)
    assert codes.model == model.digest


PEAK = """
import re, sys
from pathlib import Path
from compressae_ref.cli.main import COMMANDS as MODULES
from compressae_ref.cli.main import command_line, main
assert main(sys.argv[1:]) == 0
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of memory")
def test_encode_takes_the_same_memory_for_a_file_ten_times_as_large(tmp_path):
    """What is read (51 MB) and what is written (51 MB) is in memory in blocks only."""
    rng = np.random.default_rng(0)
    save_model(tmp_path / "m.npz", Model(init_params(64, 64, rng), 32))
    peaks = []
    for n in (20_000, 200_000):
        np.save(tmp_path / "x.npy", rng.standard_normal((n, 64), np.float32))
        arguments = ["encode", str(tmp_path / "m.npz"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "c.npz"), *NUMPY]
        done = process(arguments, [sys.executable, "-c", PEAK], text=True)
        peaks.append(int(done.stdout))
    assert (tmp_path / "c.npz").stat().st_size > 50e6
    assert peaks[1] - peaks[0] < 10, peaks


def test_encode_gives_zero_rows_empty_codes_on_request(files, tmp_path, run):
    x = np.load(files.x)
    x[[5, 299]] = 0
    np.save(tmp_path / "zeros.npy", x)
    run("encode", files.model, tmp_path / "zeros.npy", "-o", tmp_path / "c.npz", "--zero-rows", "empty", *NUMPY)
    values = load_codes(tmp_path / "c.npz").values
    assert np.flatnonzero(~values.any(axis=1)).tolist() == [5, 299]


def test_embeddings_may_lie_in_an_npz_under_any_name_or_beside_others(files, tmp_path, run):
    x = np.load(files.x)
    np.savez(tmp_path / "only.npz", anything=x)
    np.savez_compressed(tmp_path / "named.npz", words=np.arange(N), embeddings=x)
    for name in ("only.npz", "named.npz"):
        run("encode", files.model, tmp_path / name, "-o", tmp_path / "c.npz", *NUMPY)
        assert (tmp_path / "c.npz").read_bytes() == files.codes.read_bytes()


@pytest.mark.parametrize("bits", [4, 8])
def test_pack_and_unpack_write_what_the_library_does(files, tmp_path, run, bits):
    codes, packed, back = load_codes(files.codes), tmp_path / "packed.npz", tmp_path / "back.npz"
    out, err = run("pack", files.codes, "-o", packed, "--bits", bits, *NUMPY)
    size = pack(codes, bits).bytes_per_item
    first, second = err.splitlines()
    assert (out, first) == ("", f"{packed}: {N} packed codes, {size} bytes each, {8 * K} before")
    file = packed.stat().st_size
    assert second == f"{packed}: no ids; file: {file:,} bytes, {file / N:.1f} a row"
    out, err = run("unpack", packed, "-o", back, *NUMPY)
    assert (out, err) == ("", f"{back}: {N} codes, k {K} of {H} latents\n")
    read, expected = load_codes(back), pack(codes, bits).unpack()
    assert_same_bits(read.indices, expected.indices)
    assert_same_bits(read.values, expected.values)
    assert read.model == codes.model
    searches = [run("search", files.model, each, files.queries, *NUMPY) for each in (packed, back)]
    assert searches[0] == searches[1]
    run("pack", back, "-o", tmp_path / "again.npz", "--bits", bits, *NUMPY)
    assert (tmp_path / "again.npz").read_bytes() == packed.read_bytes()


def test_codes_that_are_packed_already_are_packed_again_with_fewer_bits_only(files, tmp_path, run, assert_refused):
    packed = {bits: tmp_path / f"p{bits}.npz" for bits in (4, 5, 8)}
    run("pack", files.codes, "-o", packed[5], *NUMPY)
    for bits in (5, 6, 8):
        words = [f"more than {bits} bits per value, got codes packed with 5 bits; use them as they are"]
        assert_refused(["pack", packed[5], "-o", packed[8], "--bits", bits], words)
    _, err = run("pack", packed[5], "-o", packed[4], "--bits", 4, *NUMPY)
    codes = load_codes(files.codes)
    sizes = [pack(codes, bits).bytes_per_item for bits in (4, 5)]
    assert f"{N} packed codes, {sizes[0]} bytes each, {sizes[1]} with 5 bits before\n" in err
    assert_same_codes(load_codes(packed[4]), pack(pack(codes, 5).unpack(), 4).unpack())
    _, err = run("convert", packed[5], "-o", tmp_path / "back.npz")
    assert err == f"{tmp_path / 'back.npz'}: {N} codes, unpacked, k {K} of {H} latents\n"


KINDS = {"model": "a model", "codes": "codes", "packed": "packed codes", "residual": "residual codes"}
NEEDED = [
    ("encode {model} {bad} -o {out}", "embeddings"),
    ("encode {bad} {x} -o {out}", "a model"),
    ("train {bad} -o {out}", "embeddings"),
    ("search {model} {codes} {bad}", "embeddings"),
    ("search {bad} {codes} {queries}", "a model"),
    ("evaluate {model} {bad}", "embeddings"),
    ("report {model} {bad} -o page.html", "embeddings"),
    ("split-signs {bad} -o {out}", "codes"),
    ("pack {bad} -o {out}", "codes"),
    ("unpack {bad} -o {out}", "packed codes"),
]


@pytest.mark.parametrize(("form", "needed"), NEEDED)
def test_a_file_in_the_place_of_another_is_called_by_its_content(
    files, command, run, assert_refused, tmp_path, form, needed
):
    """Swapped arguments: the error says what the file holds, and what was expected in its place."""
    run("pack", files.codes, "-o", tmp_path / "p.npz", *NUMPY)
    run("encode", files.model, files.x, "-o", tmp_path / "r.npz", "--bytes", 14, "--k", 2, *NUMPY)
    paths = {"model": files.model, "codes": files.codes, "packed": tmp_path / "p.npz", "residual": tmp_path / "r.npz"}
    fits = {"codes": {"codes", "packed"}, "packed codes": {"packed", "residual"}, "a model": {"model"}}.get(
        needed, set()
    )
    for kind in KINDS.keys() - fits:
        assert_refused(command(form, bad=paths[kind]), [f"expected {needed}", f"got {KINDS[kind]}"])


def test_split_signs_writes_what_the_library_does(files, tmp_path, run):
    split = tmp_path / "split.npz"
    _, err = run("split-signs", files.codes, "-o", split)
    assert err == f"{split}: {N} codes, k {K} of {2 * H} dimensions without negative values\n"
    expected = load_codes(files.codes).split_signs()
    assert_same_bits(load_codes(split).indices, expected.indices)
    assert_same_bits(load_codes(split).values, expected.values)


@pytest.mark.parametrize("name", ["pack", "unpack", "split-signs"])
def test_commands_that_change_codes_refuse_what_they_cannot_read_or_write(files, assert_refused, tmp_path, name):
    out = ["-o", tmp_path / "out.npz"]
    assert_refused([name, files.model, *out], [files.model])
    assert_refused([name, tmp_path / "absent.npz", *out], [tmp_path / "absent.npz"])
    assert_refused([name, files.codes, "-o", tmp_path / "no folder" / "out.npz"], [tmp_path / "no folder"])
    assert_refused([name, files.codes, "-o", files.codes], ["an output that is not an input"])
    if name == "unpack":
        assert_refused([name, files.codes, *out], ["expected packed codes, got codes"])


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected_hits(files):
    model, codes, queries = load_model(files.model), load_codes(files.codes), np.load(files.queries)
    return {space: search(queries, codes, 5, space=space, model=model, backend="numpy") for space in SPACES}


@pytest.mark.parametrize("space", SPACES)
def test_search_prints_json(files, run, expected_hits, space):
    out, err = run("search", files.model, files.codes, files.queries, "--top", 5, "--space", space, "--json", *NUMPY)
    rows = [read_json(line) for line in out.splitlines()]
    assert [row["query"] for row in rows] == list(range(N_QUERIES))
    assert [row["ids"] for row in rows] == expected_hits[space].ids.tolist()
    assert [row["scores"] for row in rows] == expected_hits[space].scores.tolist()
    assert err == ""


@pytest.mark.parametrize("space", SPACES)
def test_search_prints_text(files, run, expected_hits, space):
    out, _ = run("search", files.model, files.codes, files.queries, "--top", 5, "--space", space, *NUMPY)
    lines = [line.split("\t") for line in out.splitlines()]
    assert [int(query) for query, _ in lines] == list(range(N_QUERIES))
    hits = [[pair.split(":") for pair in pairs.split(" ")] for _, pairs in lines]
    assert [[int(item) for item, _ in pairs] for pairs in hits] == expected_hits[space].ids.tolist()
    scores = [[float(score) for _, score in pairs] for pairs in hits]
    assert np.abs(np.array(scores) - expected_hits[space].scores).max() <= 0.5e-6 + 1e-12


def test_the_spaces_differ(expected_hits):
    assert len({hits.scores.tobytes() for hits in expected_hits.values()}) == len(SPACES)


def test_search_rescores(files, run, expected_hits):
    """All items are rescored: so the result is that of the asymmetric space."""
    out, _ = run("search", files.model, files.codes, files.queries, "--top", 5, "--rescore", 10**6, "--json", *NUMPY)
    rows = [read_json(line) for line in out.splitlines()]
    assert [row["ids"] for row in rows] == expected_hits["asymmetric"].ids.tolist()
    assert [row["scores"] for row in rows] == expected_hits["asymmetric"].scores.tolist()


def test_search_finds_the_items_themselves_and_ten_by_default(files, run):
    out, _ = run("search", files.model, files.codes, files.x, "--json", *NUMPY)
    ids = [read_json(line)["ids"] for line in out.splitlines()]
    assert {len(row) for row in ids} == {10}
    assert [row[0] for row in ids] == list(range(N))


def test_more_neighbours_than_items_are_all_items(files, run):
    out, _ = run("search", files.model, files.codes, files.queries, "--top", 10**9, "--json", *NUMPY)
    assert [sorted(read_json(line)["ids"]) for line in out.splitlines()] == [list(range(N))] * N_QUERIES


# -- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate_prints_the_table_of_the_library(files, run):
    rows = evaluate(load_model(files.model), np.load(files.x), np.load(files.queries), backend="numpy")
    out, err = run("evaluate", files.model, files.x, files.queries, *NUMPY)
    assert out == table(rows) + "\n"
    assert err.splitlines() == [
        "recall@100 among 300 items says little: a search at random finds 33% of the neighbours; measure more items, "
        "or a lower --top",
        "not measured: refined codes, and packed codes of fewer bytes; add --bits 5",
    ]
    _, err = run("evaluate", files.model, files.x, files.queries, "--top", 10, "--bits", 5, *NUMPY)
    assert err == ""
    head, rule, dense, *others = out.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "items stored as",
        "k",
        "query k",
        "bytes/item",
        "smaller by",
        "recall@10",
        "recall@100",
    ]
    assert set(rule) == set("|-: ")
    assert [cell.strip() for cell in dense.strip("|").split("|")] == [
        "dense vectors",
        "",
        "",
        str(4 * D),
        "1.0×",
        "1.000",
        "1.000",
    ]
    assert len(others) == 1 + 3 * 5
    assert {len(line) for line in out.splitlines()} == {len(head)}


def test_evaluate_prints_json(files, run):
    rows = evaluate(
        load_model(files.model), np.load(files.x), np.load(files.queries), ks=[1, 4], tops=[3, 20], backend="numpy"
    )
    out, _ = run("evaluate", files.model, files.x, files.queries, "--k", 1, 4, "--top", 3, 20, "--json", *NUMPY)
    assert read_json(out) == [row.as_json() for row in rows]
    assert [(row["method"], row["k"], row["query_k"], row["bytes_per_item"]) for row in read_json(out)] == [
        ("dense", None, None, 64),
        ("int8", None, None, 16),
        ("PCA", None, None, 32),
        ("sparse", 4, 4, 32),
        ("sparse", 4, 16, 32),
        ("reconstructed", 4, 4, 32),
        ("asymmetric", 4, None, 32),
        ("PCA", None, None, 8),
        ("sparse", 1, 1, 8),
        ("sparse", 1, 4, 8),
        ("reconstructed", 1, 1, 8),
        ("asymmetric", 1, None, 8),
    ]
    assert all(set(row["recall"]) == {"3", "20"} for row in read_json(out))


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_evaluate_without_queries_draws_them_from_the_items(files, run, form):
    out, err = run("evaluate", files.model, files.x, "--seed", 3, *form, *NUMPY)
    assert "150 rows" in err
    again, _ = run("evaluate", files.model, files.x, "--seed", 3, *form, *NUMPY)
    other, _ = run("evaluate", files.model, files.x, "--seed", 4, *form, *NUMPY)
    assert out == again
    assert out != other
    with_queries, _ = run("evaluate", files.model, files.x, files.queries, *form, *NUMPY)
    assert out != with_queries


def test_evaluate_compares_with_baselines_and_draws(files, run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("compressae_ref.evaluation.baselines.has_faiss", lambda: False)
    pairs, picture = tmp_path / "pairs.tsv", tmp_path / "frontier.png"
    pairs.write_text("0 1\n1 299\n")
    more = ["--baselines", "--bits", 5, 8, "--k", 4, "--relevance", pairs, "--picture", picture]
    out, err = run("evaluate", files.model, files.x, files.queries, *more, *NUMPY)
    in_table, said = out.split("\n\n")
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in in_table.splitlines())
    assert head[-2:] == ["nDCG@10", "queries/s"]
    assert "than codes of as few bytes" in said
    assert {"int8", "binary", "first dimensions", "codes, two stages"} <= {line[0].removesuffix(" •") for line in lines}
    assert err.splitlines()[0] == "relevance: 2 pairs by row number"
    assert len(err.splitlines()) == 3 + len(lines), err
    measured = [line for line in err.splitlines() if " bytes: " in line]
    assert len(measured) == len(lines)
    assert all(re.search(r" bytes: recall@100 [01]\.\d+, nDCG@10 [01]\.\d+$", line) for line in measured)
    assert "float16, 32 bytes: recall@100 " in err
    assert "left out: PQ, OPQ, RQ, LSQ and RaBitQ, because faiss is not installed" in err
    assert picture.read_bytes()[:4] == b"\x89PNG"
    out, _ = run("evaluate", files.model, files.x, files.queries, *more, "--json", *NUMPY)
    packed = [row for row in read_json(out) if row["bits"] == 8 and row["refined"]]
    assert {row["method"] for row in packed} == {"reconstructed", "asymmetric", "expanded"}
    assert all(row["queries_per_second"] > 0 and 0 <= row["ndcg"] <= 1 for row in packed)


def test_train_takes_related_pairs_from_a_file(files, run, assert_refused, tmp_path):
    text, array, model, checkpoint = (tmp_path / name for name in ("pairs.tsv", "pairs.npy", "m.npz", "c"))
    pairs = np.array([[row, row + 150] for row in range(150)])
    np.save(array, pairs[:, ::-1])
    text.write_text("".join(f"{a}\t{b}\t{a % 3 + 1}\n" for a, b in pairs.tolist()))
    settings = {"n_latents": 32, "k": 4, "steps": 3, "relevance_weight": 0.5}
    start = [
        "train",
        files.x,
        "-o",
        model,
        *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()),
    ]
    expected = fit(np.load(files.x), relevance=pairs, **settings).model
    for path in (text, array):
        run(*start, "--relevance", path, "--checkpoint", checkpoint, "--every", 0, *NUMPY)
        assert load_model(model).digest == expected.digest
        assert load_model(model).training == expected.training
    resume = ["train", files.x, "-o", model, "--resume", checkpoint]
    run(*resume, "--relevance", text)
    assert load_model(model).digest == expected.digest
    assert_refused(resume, [checkpoint, "relevance: expected pairs", "got no pairs"])
    text.write_text("0 1\n5 5\n")
    assert_refused([*start, "--relevance", text], [text, "expected two different rows, got one row twice in line 2"])
    text.write_text("0 one\n")
    assert_refused(
        [*start, "--relevance", text], [text, "expected row numbers of queries and items, got 'one' in line 1"]
    )
    assert_refused([*start, "--relevance", tmp_path / "absent"], [tmp_path / "absent"])
    assert_refused([*start, "--relevance", array, "--serve", "dense"], [array, "expected objective='distill' with"])


def test_evaluate_refuses_what_it_cannot_relate_or_draw(files, assert_refused, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("0 1\n1 300\n")
    start = ["evaluate", files.model, files.x]
    assert_refused([*start, "--relevance", pairs, *NUMPY], ["expected QUERIES with --relevance"])
    start += [files.queries, *NUMPY]
    assert_refused([*start, "--relevance", pairs], [pairs, "expected the item from 0 to 299, got 300 in line 2"])
    assert_refused([*start, "--relevance", tmp_path / "absent"], [tmp_path / "absent"])
    assert_refused([*start, "--relevance", files.model], [files.model, "got a file of format zip"])
    assert_refused([*start, "--picture", tmp_path / "no folder" / "a.png"], [tmp_path / "no folder"])
    assert_refused([*start, "--picture", files.x], ["an output that is not an input"])


def test_evaluate_says_at_once_that_it_cannot_draw(files, assert_refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(evaluate_steps, "load_model", None)
    picture = tmp_path / "a.png"
    assert_refused(
        ["evaluate", files.model, files.x, "--picture", picture, *NUMPY],
        ["matplotlib, which is not installed; pip install 'matplotlib>="],
    )


def test_drawn_queries_are_not_searched(files, run, monkeypatch):
    """Whatever is drawn, items and queries together are the rows of the file, each once."""
    seen = {}

    def watched(model, items, queries, **options):
        seen.update(items=items, queries=queries)
        return evaluate(model, items, queries, **options)

    monkeypatch.setattr(evaluate_steps, "evaluate", watched)
    run("evaluate", files.model, files.x, *NUMPY)
    together = np.concatenate([np.asarray(seen["items"]), np.asarray(seen["queries"])])
    assert len(seen["queries"]) == 150
    assert_same_bits(together[np.lexsort(together.T)], np.load(files.x)[np.lexsort(np.load(files.x).T)])


# -- inspect ----------------------------------------------------------------------------------------------------------


def text_facts(out: str) -> dict[str, str]:
    """The lines of the text form that stand at the left margin, as names and values."""
    pairs = [re.split(r"\s{2,}|(?<=\S{30})\s", line, maxsplit=1) for line in out.splitlines() if line[:1] != " "]
    return {name.strip(): value.strip() for name, value in (pair for pair in pairs if len(pair) == 2)}


EXPECTED_FACTS = {
    "model": {
        "kind": "compressae-model",
        "dense_dimension_d": D,
        "latents_h": H,
        "stored_entries_k": K,
        "dtype": "float32",
        "bytes_per_code": 8 * K,
    },
    "codes": {
        "kind": "compressae-codes",
        "rows_n": N,
        "latents_h": H,
        "stored_entries_k": K,
        "dtype": "float32",
        "bytes_per_code": 8 * K,
        "rows_of_zeros": 0,
    },
    "x": {
        "kind": "embeddings",
        "rows_n": N,
        "dense_dimension_d": D,
        "dtype": "float32",
        "bytes_per_row": 4 * D,
        "rows_not_finite": 0,
        "rows_of_zeros": 0,
    },
}


@pytest.mark.parametrize("name", EXPECTED_FACTS)
def test_inspect_tells_the_facts(files, run, name):
    path, expected = getattr(files, name), EXPECTED_FACTS[name]
    out, err = run("inspect", path, "--json")
    facts = read_json(out)
    assert facts | expected == facts
    assert facts["file"] == str(path)
    assert err == ""
    shown, _ = run("inspect", path)
    assert text_facts(shown) | {key.replace("_", " "): str(value) for key, value in expected.items()} == text_facts(
        shown
    )


def test_inspect_tells_the_facts_of_an_index_and_of_a_checkpoint(files, tmp_path, run, assert_refused):
    model, codes, x = load_model(files.model), load_codes(files.codes), np.load(files.x)
    index, checkpoint = tmp_path / "i.npz", tmp_path / "k.npz"
    Index.build(codes, space="reconstructed", model=model).save(index)
    settings = {"n_latents": H, "k": K, "steps": 9, "batch_size": 8, "callback": stop_at_4}
    with pytest.raises(KeyboardInterrupt):  # a training that ends well deletes its checkpoint
        fit(x, checkpoint=checkpoint, **settings)
    facts = {path: read_json(run("inspect", path, "--json")[0]) for path in (index, checkpoint)}
    of_codes = read_json(run("inspect", files.codes, "--json")[0])
    same = {"file": str(index), "kind": "compressae-index", "space": "reconstructed"}
    assert facts[index] == {name: value for name, value in of_codes.items() if name != "ids"} | same
    expected = {"kind": "compressae-checkpoint", "step": 4, "steps": 9, "rows_n": N, "dense_dimension_d": D}
    assert facts[checkpoint] | expected == facts[checkpoint]
    for path in (index, checkpoint):
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
        assert_refused(["inspect", path], [path])


def stop_at_4(progress):
    if progress.step == 4:
        raise KeyboardInterrupt


def test_inspect_tells_what_only_the_content_knows(files, run):
    model, codes, x = load_model(files.model), load_codes(files.codes), np.load(files.x)
    facts = {name: read_json(run("inspect", getattr(files, name), "--json")[0]) for name in ("model", "codes", "x")}
    assert facts["model"]["digest"] == facts["codes"]["made_by_model"] == model.digest
    assert facts["model"]["training"] == dict(model.training)
    assert facts["codes"]["latents_in_use"] == len(np.unique(codes.indices[codes.values != 0]))
    assert facts["codes"]["effective_latents"] == compressae_ref.effective_latents(codes)
    assert facts["codes"]["share_of_negative_values"] == pytest.approx(np.mean(codes.values < 0))
    norms = np.linalg.norm(x.astype(np.float64), axis=1)
    assert (facts["x"]["smallest_norm"], facts["x"]["largest_norm"]) == pytest.approx((norms.min(), norms.max()))


def test_inspect_counts_bad_rows_in_valid_json(files, tmp_path, run):
    x = np.load(files.x)
    x[17, 3], x[20, 0], x[30] = np.nan, np.inf, 0
    np.save(tmp_path / "bad.npy", x)
    facts = read_json(run("inspect", tmp_path / "bad.npy", "--json")[0])
    assert (facts["rows_not_finite"], facts["rows_of_zeros"]) == (2, 1)


def test_inspect_takes_embeddings_of_any_scale(files, tmp_path, run):
    np.save(tmp_path / "large.npy", np.load(files.x).astype(np.float64) * 1e200)
    out, err = run("inspect", tmp_path / "large.npy", "--json")
    assert 1e200 < read_json(out)["largest_norm"] < 1e202
    assert err == ""


# -- wrong input ------------------------------------------------------------------------------------------------------


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_header(header: str) -> bytes:
    """A .npy of 160 numbers with any text as its header."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(640)


def claiming(shape: str) -> bytes:
    return with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")


def damaged(content: bytes) -> bytes:
    return content[:2000] + b"\xff\x00\xff" + content[2003:]


X = np.random.default_rng(5).standard_normal((N, D)).astype(np.float32)
OBJECTS = np.array([[1.0, "a"], [None, 2.0]], object)

NOT_EMBEDDINGS = {
    "empty": (b"", []),
    "text": (b"these are no numbers\n" * 9, []),
    "truncated in the numbers": (npy(X)[:9000], []),
    "truncated in the last number": (npy(X)[:-1], []),
    "truncated in the header": (npy(X)[:60], []),
    "truncated in the magic": (npy(X)[:5], []),
    "pickled": (npy(OBJECTS), ["pickled objects"]),
    "one-dimensional": (npy(X[0]), ["(n, d)", "got shape (16,)"]),
    "three-dimensional": (npy(X[None]), ["(n, d)", "got shape (1, 300, 16)"]),
    "a single number": (npy(np.float32(1)), ["(n, d)", "got shape ()"]),
    "integers": (npy(X.astype(np.int64)), ["got int64"]),
    "complex": (npy(X.astype(complex)), ["got complex128"]),
    "text array": (npy(X.astype("U4")), ["got <U4"]),
    "no rows": (npy(X[:0]), ["at least one row"]),
    "claiming a large shape": (claiming("(1_000_000_000_000, 16)"), []),
    "claiming a shape beyond 64 bits": (claiming("(100_000_000_000_000_000_000, 16)"), []),
    "claiming a shape that overflows": (claiming(f"({2**62}, 16)"), []),
    "claiming a negative shape": (claiming("(-10, 16)"), []),
    "a header that does not end": (with_header("{'descr': ("), []),
    "a header that is no mapping": (with_header("[1, 2]"), []),
}
NO_ARCHIVE_OF_EMBEDDINGS = {
    "two arrays": (npz(a=X, b=X), ["'embeddings'", "a, b"]),
    "no array": (zipped(), []),
    "truncated": (npz(a=X)[:9000], []),
    "damaged": (damaged(npz(a=X)), []),
    "pickled": (npz(a=OBJECTS), ["pickled objects"]),
    "integers": (npz(embeddings=X.astype(int)), ["got int64"]),
    "a text file": (zipped(readme=b"hello"), []),
    "a text file for embeddings": (zipped(embeddings=b"hello", other=npy(X)), []),
    "claiming a large shape": (zipped(**{"a.npy": claiming("(1_000_000_000_000_000, 16)")}), []),
}
BAD_FILES = {f"{name}.npy": case for name, case in NOT_EMBEDDINGS.items()}
BAD_FILES |= {f"{name}.npz": case for name, case in NO_ARCHIVE_OF_EMBEDDINGS.items()}


def spoiled(row: int, value: float) -> bytes:
    x = X.copy()
    x[row, : 1 if value else None] = value
    return npy(x)


BAD_ROWS = {
    "NaN in row 17": (spoiled(17, np.nan), ["finite", "row 17"]),
    "infinity in row 17": (spoiled(17, -np.inf), ["finite", "row 17"]),
    "zeros in row 5": (spoiled(5, 0), ["zero row", "row 5"]),
    "zeros in row 299": (spoiled(299, 0), ["zero row", "row 299"]),
    "no columns": (npy(X[:, :0]), [", 0)"]),
}
FORMS = {
    "train": "train {bad} -o {out} --n-latents 64 --k 4 --steps 3 --backend numpy",
    "encode": "encode {model} {bad} -o {out} --backend numpy",
    "encode --bytes": "encode {model} {bad} -o {out} --bytes 12 --k 4 --backend numpy",
    "anchors": "encode {model} {x} -o {out} --anchors {bad} --backend numpy",
    "search": "search {model} {codes} {bad} --backend numpy",
    "evaluate items": "evaluate {model} {bad} {queries} --backend numpy",
    "evaluate items alone": "evaluate {model} {bad} --backend numpy",
    "choose": "choose {model} {bad} {queries} --bytes 9 --backend numpy",
    "evaluate queries": "evaluate {model} {x} {bad} --backend numpy",
    "verify": "verify {model} {bad} {codes} --backend numpy",
    "inspect": "inspect {bad}",
    "report items": "report {model} {bad} {queries} -o {page} --backend numpy",
    "report queries": "report {model} {x} {bad} -o {page} --backend numpy",
}


@pytest.fixture
def command(files, tmp_path):
    """The arguments of a form with the names of the good files, and of others, put in."""
    out = tmp_path / "out"
    out.mkdir()

    def arguments(form: str, **names) -> list[str]:
        places = vars(files) | {"out": out / "new.npz", "page": out / "new.html"} | names
        return [word.format(**places) for word in form.split()]

    return arguments


@pytest.mark.parametrize(("form", "name"), [*product(FORMS, BAD_FILES)])
def test_files_that_hold_no_embeddings_are_refused(command, assert_refused, tmp_path, form, name):
    content, reasons = BAD_FILES[name]
    bad = tmp_path / f"bad{name[-4:]}"
    bad.write_bytes(content)
    assert_refused(command(FORMS[form], bad=bad), [bad, *reasons])


def judges_rows(form, name):
    """Every command but one that explains, one that wants codes of zeros, and anchors, which are used without them."""
    return form != "inspect" and not (form in ("verify", "anchors") and name.startswith("zeros"))


@pytest.mark.parametrize(("form", "name"), [pair for pair in product(FORMS, BAD_ROWS) if judges_rows(*pair)])
def test_bad_rows_are_refused_by_file_and_number(command, assert_refused, tmp_path, form, name):
    content, reasons = BAD_ROWS[name]
    bad = tmp_path / "bad.npy"
    bad.write_bytes(content)
    assert_refused(command(FORMS[form], bad=bad), [bad, *reasons])


@pytest.mark.parametrize("form", FORMS)
def test_absent_files_are_refused(command, assert_refused, tmp_path, form):
    assert_refused(command(FORMS[form], bad=tmp_path / "absent.npy"), [tmp_path / "absent.npy", "No such file"])


@pytest.mark.parametrize("form", FORMS)
def test_folders_are_refused(command, assert_refused, tmp_path, form):
    assert_refused(command(FORMS[form], bad=tmp_path), [tmp_path, "directory"])


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("train", "inspect")])
def test_embeddings_of_another_dimension_are_refused(files, command, assert_refused, form):
    assert_refused(command(FORMS[form], bad=files.wide), [files.wide, "d = 16", "got 17"])


@pytest.mark.parametrize("name", NOT_EMBEDDINGS)
@pytest.mark.parametrize("form", ["train", "encode", "search"])
def test_standard_input_that_holds_no_embeddings_is_refused(command, assert_refused, monkeypatch, form, name):
    content, reasons = NOT_EMBEDDINGS[name]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert_refused(command(FORMS[form], bad="-"), ["standard input", *reasons])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(spoiled(17, np.nan), "row 17"), (npz(a=X, b=X), "got a, b")],
    ids=["a bad row", "two arrays"],
)
def test_bad_content_on_standard_input_is_refused(command, assert_refused, monkeypatch, content, reason):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert_refused(command(FORMS["encode"], bad="-"), ["standard input", reason])


def test_codes_that_are_fitted_to_anchors(files, run, tmp_path):
    """Codes of the command are those of the function."""
    out, x = tmp_path / "fitted.npz", np.load(files.x)
    run("encode", files.model, files.x, "-o", out, "--anchors", files.queries, "--fit-steps", 3, "--k", 2, *NUMPY)
    right = encode_fitted(x, load_model(files.model), np.load(files.queries), 2, steps=3)
    assert_same_codes(load_codes(out), right)


WITH_MODEL = {
    "encode": "encode {bad} {x} -o {out} --backend numpy",
    "search": "search {bad} {codes} {queries} --backend numpy",
    "evaluate": "evaluate {bad} {x} {queries} --backend numpy",
    "verify": "verify {bad} {x} {codes} --backend numpy",
}
WITH_CODES = {
    "search": "search {model} {bad} {queries} --backend numpy",
    "verify": "verify {model} {x} {bad} --backend numpy",
}


@pytest.mark.parametrize(
    ("form", "kind", "break_it"),
    [(form, "model", how) for form in (*WITH_MODEL.values(), "inspect {bad}") for how in ("truncated", "damaged")]
    + [(form, "codes", how) for form in (*WITH_CODES.values(), "inspect {bad}") for how in ("truncated", "damaged")],
)
def test_broken_models_and_codes_are_refused(files, command, assert_refused, tmp_path, form, kind, break_it):
    content, bad = getattr(files, kind).read_bytes(), tmp_path / f"{kind}.npz"
    bad.write_bytes(content[: len(content) // 2] if break_it == "truncated" else damaged(content))
    assert_refused(command(form, bad=bad), [bad])


@pytest.mark.parametrize("wrong", ["x", "codes", "absent"])
@pytest.mark.parametrize("form", WITH_MODEL.values(), ids=WITH_MODEL)
def test_what_is_no_model_is_refused(files, command, assert_refused, tmp_path, form, wrong):
    bad = getattr(files, wrong, tmp_path / "absent.npz")
    assert_refused(command(form, bad=bad), [bad])


@pytest.mark.parametrize("wrong", ["x", "model", "absent"])
def test_what_is_no_codes_file_is_refused(files, command, assert_refused, tmp_path, wrong):
    bad = getattr(files, wrong, tmp_path / "absent.npz")
    assert_refused(command(WITH_CODES["search"], bad=bad), [bad])


@pytest.mark.parametrize("space", SPACES)
def test_codes_of_another_model_are_refused(files, command, assert_refused, space):
    ours, theirs = (load_model(path).digest[:12] for path in (files.model, files.other_model))
    form = f"{WITH_CODES['search']} --space {space}"
    assert_refused(command(form, bad=files.other_codes), [files.other_codes, ours, theirs])
    assert_refused(command(form, bad=files.small_codes), [files.small_codes, "64", "32"])


def test_inspect_tells_of_a_version_that_it_does_not_know(files, command, assert_refused, tmp_path):
    with np.load(files.model) as archive:
        arrays = dict(archive)
    arrays["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | {"version": 2}))
    np.savez(tmp_path / "future.npz", **arrays)
    assert_refused(command("inspect {bad}", bad=tmp_path / "future.npz"), [tmp_path / "future.npz", "version 2"])


WRONG_NUMBERS = {
    "train": {
        "--k 65": "n_latents = 64, got 65",
        "--k 0": "got 0",
        "--k -1": "got -1",
        "--n-latents 3": "n_latents = 3, got 4",
        "--n-latents 0": "--n-latents: ",
        "--n-latents 2000000000": "memory",
        "--n-latents 1000000000000000": "at most 2147483647",
        f"--warmup-steps {'9' * 401}": "999 ...",
        "--batch-size 0": "--batch-size: ",
        "--steps 0": "steps",
        "--lr 0": "lr",
        "--lr -1": "lr",
        "--lr nan": "lr",
        "--lr inf": "lr",
        "--lr 1e30": "lr",
        "--warmup-steps -1": "--warmup-steps: ",
        "--validation-rows -1": "--validation-rows: ",
        "--validation-rows 300": "--validation-rows: ",
        "--patience 0": "patience",
        "--patience 1 --validation-rows 0": "patience",
        "--seed -1": "seed",
    },
    "encode": {
        "--k 65": "n_latents = 64, got 65",
        "--k 0": "got 0",
        "--k -1": "got -1",
        "--candidates 8": "encode: expected --refine or --bytes with --candidates",
        "--refine --candidates 3": "candidates: expected at least k = 4 of them, got 3",
        "--refine --candidates 65": "candidates",
        "--fit-steps 3": "encode: expected --anchors with --fit-steps",
        "--anchors {x} --fit-steps 0": "steps: expected an integer of at least 1, got 0",
        "--anchors {x} --k 65": "n_latents = 64, got 65",
        "--anchors {x} --refine": "expected no --refine with --anchors, got both",
    },
    "search": {"--top 0": "top", "--top -1": "top", "--rescore 9": "rescore", "--rescore -1": "rescore"},
    "evaluate items": {
        "--top 0": "top",
        "--top 10 0": "top",
        "--top -1": "top",
        "--top 301": "301",
        "--k 65": "n_latents = 64, got 65",
        "--k 4 0": "k: expected",
        "--k -1": "k: expected",
    },
    "evaluate items alone": {"--top 0": "top", "--top 151": "151", "--k 65": "got 65", "--seed -1": "seed"},
}


@pytest.mark.parametrize(
    ("form", "flags", "mention"),
    [(form, flags, mention) for form, cases in WRONG_NUMBERS.items() for flags, mention in cases.items()],
)
def test_numbers_out_of_range_are_refused(files, command, assert_refused, form, flags, mention):
    assert_refused(command(f"{FORMS[form]} {flags}", bad=files.x), [mention])


def test_one_row_cannot_ask_itself(command, assert_refused, tmp_path):
    np.save(tmp_path / "one.npy", X[:1])
    assert_refused(command(FORMS["evaluate items alone"], bad=tmp_path / "one.npy"), ["at least 2 items"])


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no-such-command",
        "train",
        "train {x}",
        "train {x} -o {out} --init random",
        "train {x} -o {out} --decay step",
        "train {x} -o {out} --dtype float16",
        "train {x} -o {out} --preset huge",
        "train {x} -o {out} --backend torch",
        "train {x} -o {out} --steps many",
        "train {x} -o {out} --steps 1.5",
        "train {x} -o {out} --lr fast",
        "train {x} -o {out} --no-such-setting 1",
        "encode {model} {x}",
        "encode {model} {x} -o {out} --zero-rows keep",
        "encode {model} {x} -o {out} --k few",
        "search {model} {codes}",
        "search {model} {codes} {queries} --space dense",
        "search {model} {codes} {queries} --top ten",
        "evaluate {model}",
        "evaluate {model} {x} --top",
        "evaluate {model} {x} --backend cupy",
        "evaluate {model} {x} --bits 7",
        "pack {codes} -o {out} --bits 3",
        "pack {codes}",
        "split-signs -o {out}",
        "inspect",
        "inspect {x} --backend numpy",
        "verify --level L4",
        "verify --cases 7",
        "verify --without float32",
        "verify --program a --answers b",
        "verify --timeout soon",
        "demo --backend torch",
    ],
)
def test_wrong_usage_is_exit_code_2(command, capsys, tmp_path, line):
    before = listing(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(command(line))
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert_usage_error(err, line.split()[:1])
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "line",
    [
        "train {x} -o {out} --n-latents 64 --k 4 --steps 3 --backend cuda",
        "encode {model} {x} -o {out} --backend cuda",
        "search {model} {codes} {queries} --backend cuda",
        "evaluate {model} {x} --backend cuda",
        "segments {model} {x} --backend cuda",
        "demo --backend cuda",
    ],
)
@pytest.mark.skipif(what_cuda_lacks() is None, reason="there is one")
def test_without_a_gpu_the_backend_is_refused_in_one_line(command, capsys, tmp_path, line):
    before = listing(tmp_path)
    assert main(command(line)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("compressae-ref: backend 'cuda' needs ")
    assert "Traceback" not in err
    assert listing(tmp_path) == before


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_help_of_each_command_ends_with_examples_that_can_be_copied(module, capsys, monkeypatch):
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    copied = [line.strip() for line in capsys.readouterr().out.partition("\nexamples:\n")[2].splitlines()]
    assert len(copied) == len(EXAMPLES[name]) >= 2
    for line in copied:
        program, *arguments = shlex.split(line)
        options = parse(command_line(), arguments)
        require_applicable(options)
        require_kept_inputs(options)
        output_names.require_honest_names(options)
        assert (program, options.command) == ("compressae-ref", name)


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("tr", {"train"}),
        ("train --ser", {"--serve"}),
        ("train x.npy --serve d", {"dense"}),
        ("encode mod", {"model.npz"}),
        ("push model.npz ed", set()),
    ],
)
def test_bash_completes_what_was_typed(capsys, tmp_path, monkeypatch, typed, completions):
    pytest.importorskip("shtab")
    if (bash := shutil.which("bash")) is None:
        pytest.skip("bash is not installed")
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "bash"])
    assert caught.value.code == 0
    (tmp_path / "model.npz").touch()
    script = f"""{capsys.readouterr().out}
        COMP_WORDS=(compressae-ref {typed}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        _shtab_compressae_ref; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    run = subprocess.run([bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == completions


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_without_its_package_is_an_error_of_one_line(capsys, monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", shell]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "compressae-ref: --print-completion: expected the package shtab, which is not installed; pip install"
    )


def test_the_help_of_train_says_what_to_change_first(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    lines = capsys.readouterr().out.partition("\nwhat to change first:\n")[2].partition("\n\nexamples:")[0].split("\n")
    assert len(lines) == 4
    assert re.findall(r"--[a-z-]+", " ".join(lines)) == ["--serve", "--k", "--n-latents", "--steps", "--seed"]


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"compressae-ref {compressae_ref.__version__}\n"


# -- places that cannot be written to ---------------------------------------------------------------------------------


def never(*arguments, **options):
    pytest.fail("long work began although its result cannot be written")


WRITERS = {
    "train": "train {x} -o {bad} --n-latents 64 --k 4 --steps 3 --backend numpy",
    "encode": "encode {model} {x} -o {bad} --backend numpy",
    "demo": "demo --picture {bad} --backend numpy",
    "demo --segments": "demo --segments -o {bad} --backend numpy",
    "segments": "segments {model} {x} -o {bad} --backend numpy",
    "report": "report {model} {x} -o {bad} --backend numpy",
}


@pytest.fixture
def no_work(monkeypatch):
    monkeypatch.setattr(train_steps, "fit", never)
    monkeypatch.setattr(demo_steps, "fit", never)
    monkeypatch.setattr(demo_segments, "fit", never)
    monkeypatch.setattr(compressae_ref.Model, "encode", never)


@pytest.mark.parametrize("form", WRITERS.values(), ids=WRITERS)
@pytest.mark.usefixtures("no_work")
def test_an_output_that_cannot_be_written_is_refused_before_any_work(command, assert_refused, tmp_path, form):
    (tmp_path / "file").write_text("no folder")
    for bad in (tmp_path / "absent" / "new", tmp_path / "file" / "new"):
        assert_refused(command(form, bad=bad), [bad.parent, "folder"])
    assert_refused(command(form, bad=tmp_path / "out"), [tmp_path / "out", "folder"])


@pytest.mark.parametrize("form", WRITERS.values(), ids=WRITERS)
@pytest.mark.usefixtures("no_work")
def test_a_folder_without_permission_is_refused_before_any_work(command, assert_refused, tmp_path, monkeypatch, form):
    real = os.open

    def refuse(path, flags, *mode, **folder):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *mode, **folder)

    monkeypatch.setattr(os, "open", refuse)
    assert_refused(command(form, bad=tmp_path / "new"), [tmp_path / "new", "cannot be written"])


@pytest.mark.parametrize("before", [None, b"what was there before"], ids=["new", "existing"])
@pytest.mark.parametrize("form", ["train", "encode"])
def test_a_full_disk_is_refused(command, assert_refused, tmp_path, monkeypatch, files, form, before):
    arguments, out = command(FORMS[form], bad=files.x), tmp_path / "out" / "new.npz"
    if before is not None:
        out.write_bytes(before)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert_refused(arguments, [out, "No space left"])


def test_too_little_memory_is_refused(files, command, assert_refused, monkeypatch):
    def exhausted(*arguments, **options):
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr(train_steps, "fit", exhausted)
    assert_refused(command(FORMS["train"], bad=files.x), ["memory"])


# -- whatever goes wrong is one line ----------------------------------------------------------------------------------

CONTROL = "a\x1b[31m\x07\r\n\u202eb\x9b"
"""A name that would change colours, ring, overwrite the line, and turn the text round."""


def has_controls(text: str) -> bool:
    return any(
        unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in text.replace("\n", "").replace("\t", "")
    )


@pytest.mark.parametrize("form", [*FORMS.values(), "convert {bad} -o {out}", "encode {model} {x} -o {bad}/x.npz"])
def test_control_characters_in_names_are_shown_as_escapes(command, capsys, tmp_path, form):
    bad = tmp_path / CONTROL
    assert main([word.replace("BAD", str(bad)) for word in command(form, bad="BAD")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert not has_controls(printed.err)
    assert r"a\x1b[31m" in printed.err


def test_inspect_and_search_show_control_characters_as_escapes(files, tmp_path, run):
    path = tmp_path / f"{CONTROL}.npy"
    path.write_bytes(files.x.read_bytes())
    out, err = run("inspect", path)
    assert err == ""
    assert not has_controls(out)
    assert r"a\x1b[31m\x07\r\n\u202eb\x9b.npy" in out
    codes = load_codes(files.codes)
    save_codes(tmp_path / "c.npz", codes, ids=np.array([f"{CONTROL}{row}" for row in range(len(codes))]))
    out, _ = run("search", files.model, tmp_path / "c.npz", files.queries, *NUMPY)
    assert not has_controls(out)
    assert out.count("\n") == N_QUERIES


def test_wrong_usage_shows_control_characters_as_escapes(capsys):
    with pytest.raises(SystemExit):
        main(["inspect", "x", CONTROL])
    assert not has_controls(capsys.readouterr().err)


class ForeignError(Exception):
    """An error of another package, of a class that nothing here knows."""


@pytest.mark.parametrize(
    "error",
    [
        ForeignError("what it says\nand more"),
        NotImplementedError("not here"),
        KeyError("x"),
        RecursionError(),
        ForeignError(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("form", ["train", "encode", "inspect"])
def test_an_error_that_nobody_expects_is_one_line(command, assert_refused, files, monkeypatch, form, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(np, "load", fail)
    monkeypatch.setattr("compressae_ref.cli.main._BY_NAME", dict.fromkeys(FORMS, SimpleNamespace(run=fail)))
    mentions = [type(error).__name__, "COMPRESSAE_REF_TRACEBACK=1", *str(error).split("\n")[:1]]
    assert_refused(command(FORMS[form], bad=files.x), mentions)


def test_the_traceback_is_printed_on_request(command, files, capsys, monkeypatch):
    def fail(options):
        raise ForeignError("what it says")

    monkeypatch.setattr("compressae_ref.cli.inspect.run", fail)
    monkeypatch.setenv("COMPRESSAE_REF_TRACEBACK", "1")
    assert main(["inspect", "x"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("compressae-ref: unexpected ")


def test_a_warning_is_one_line(capsys, monkeypatch):
    def warn(options):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("in two\nlines", stacklevel=1)

    monkeypatch.setattr("compressae_ref.cli.inspect.run", warn)
    assert main(["inspect", "x"]) == 0
    assert capsys.readouterr().err == "compressae-ref: in two lines\n"


# -- as a process -----------------------------------------------------------------------------------------------------

AS_MODULE = (sys.executable, "-m", "compressae_ref")


def process(arguments, program=AS_MODULE, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "timeout": 120} | options
    return subprocess.run([*program, *words(arguments)], check=False, **options)


@contextmanager
def running(arguments, **options):
    """A process that ends with the block at the latest."""
    with subprocess.Popen(words(arguments), **options) as started:
        try:
            yield started
        finally:
            started.kill()


def test_help_names_what_each_serve_changes():
    text = re.sub(r"\s+", " ", process(["train", "--help"], text=True).stdout)
    default = {**dataclasses.asdict(TrainConfig()), **SERVE[DEFAULT_SERVE]}
    for serve, group in SERVE.items():
        for setting, value in group.items():
            assert value == default[setting] or f"{value} with --serve {serve}" in text, setting
    assert "--no-center" in text


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help(name):
    done = process([*name.split(), "--help"], text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: compressae-ref {name}".rstrip())
    assert name == "" or "-q, --quiet" in done.stdout
    expected = {
        "": COMMANDS,
        "demo": ["--picture", "--backend", "--store", "--segments", "--output"],
        "choose": [
            *("MODEL", "EMBEDDINGS", "QUERIES", "--bytes", "--recall", "--ndcg", "--relevance", "--top", "--sample"),
            *("--steps", "--keep-model", "--baselines", "--picture", "--seed", "--zero-rows", "--json"),
        ],
        "train": [
            "EMBEDDINGS",
            "--output",
            "--preset",
            "--zero-rows",
            f"(default: {SERVE[DEFAULT_SERVE]['batch_size']}, {SERVE['dense']['batch_size']} with --serve dense,",
            "--serve",
            *(f"--{name.replace('_', '-')}" for name in SETTINGS),
            *("--checkpoint", "--every", "--resume", "--start"),
            *("--relevance", "--relevance-by", "--relevance-weight"),
        ],
        "encode": [
            "MODEL",
            "EMBEDDINGS",
            "--output",
            "--k",
            "--refine",
            "--candidates",
            "--anchors",
            "--fit-steps",
            "--zero-rows",
        ],
        "pack": ["CODES", "--output", "--bits"],
        "unpack": ["PACKED", "--output"],
        "split-signs": ["CODES", "--output"],
        "search": ["MODEL", "CODES", "QUERIES", "--top", "--space", "--rescore", "--zero-rows", "--json"],
        "evaluate": [
            *("MODEL", "EMBEDDINGS", "QUERIES", "--k", "--top", "--seed", "--json"),
            *("--baselines", "--bits", "--relevance", "--relevance-by", "--zero-rows", "--picture"),
        ],
        "report": ["MODEL", "EMBEDDINGS", "QUERIES", "--output", "--texts", "--relevance", "--json"],
        "segments": [
            *("MODEL", "EMBEDDINGS", "--output", "--json", "--title", "--zero-rows", "--backend", "--method"),
            *("--texts", "--text", "--time", "--site", "--weight", "--bin", "--assign", "--top", "--threshold"),
            "--min-items",
        ],
        "inspect": ["FILE", "--json"],
        "verify": [
            "MODEL",
            "EMBEDDINGS",
            "CODES",
            "--program",
            "--requests",
            "--answers",
            "--level",
            "--bits",
            "--cases",
        ],
    }[name]
    assert [each for each in expected if each not in done.stdout] == []


def test_embeddings_from_a_pipe(files, tmp_path):
    x, queries = files.x.read_bytes(), files.queries.read_bytes()
    for arguments, stdin, expected in (
        (["train", "-", "-o", tmp_path / "model.npz", *TRAIN], x, files.model),
        (["encode", files.model, "-", "-o", tmp_path / "codes.npz", *NUMPY], x, files.codes),
    ):
        done = process(arguments, input=stdin)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        assert (tmp_path / expected.name).read_bytes() == expected.read_bytes()
    piped = process(["search", files.model, files.codes, "-", *NUMPY], input=queries)
    named = process(["search", files.model, files.codes, files.queries, *NUMPY])
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert len(piped.stdout.splitlines()) == N_QUERIES
    assert piped.stdout == named.stdout


def test_text_from_a_pipe_is_not_called_a_pickle(files):
    done = process(["encode", files.model, "-", "-o", "never.npz", *NUMPY], input=b"a,b\n1,2\n")
    assert done.returncode == 1
    assert rb"got input that starts with b'a,b\n1,2\n'" in done.stderr
    assert b"pickle" not in done.stderr


def test_evaluate_from_a_pipe(files, run, monkeypatch):
    expected = run("evaluate", files.model, files.x, files.queries, *NUMPY)
    for place, path in enumerate([files.x, files.queries]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
        arguments = [files.x, files.queries]
        arguments[place] = "-"
        assert run("evaluate", files.model, *arguments, *NUMPY) == expected


def test_a_wrong_input_as_a_process(files, tmp_path):
    (tmp_path / "bad.npy").write_bytes(spoiled(17, np.nan))
    done = process(["encode", files.model, tmp_path / "bad.npy", "-o", tmp_path / "c.npz", *NUMPY], text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, tmp_path / "bad.npy", "row 17")
    assert list(listing(tmp_path)) == ["bad.npy"]


def test_a_reader_that_goes_away_is_no_error(files):
    """As ``search ... | head -1``; the output is much more than a pipe holds."""
    arguments = [*AS_MODULE, "search", files.model, files.codes, files.x, "--top", N, "--json", *NUMPY]
    with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as searching:
        head = subprocess.run(["head", "-1"], stdin=searching.stdout, capture_output=True, timeout=120, check=True)
        searching.stdout.close()
        assert searching.stderr.read() == b""
        assert searching.wait(timeout=120) == 0
    assert read_json(head.stdout.decode())["query"] == 0
    assert head.stdout.count(b"\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "line",
    [
        "search {model} {codes} {queries} --backend numpy",
        "evaluate {model} {x} {queries} --backend numpy",
        "inspect {x}",
        "--help",
        "encode --help",
    ],
)
def test_results_that_do_not_fit_on_the_disk(command, line):
    with Path("/dev/full").open("wb") as full:
        done = process(command(line), capture_output=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert_one_line(done.stderr, "standard output: No space left")


LIMITED = """
import resource, sys
from compressae_ref.cli.main import COMMANDS as MODULES
from compressae_ref.cli.main import command_line, main

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.exit(main())
"""


@pytest.mark.parametrize("form", ["train", "encode"])
def test_a_disk_that_fills_up(files, command, tmp_path, form):
    pytest.importorskip("resource")
    assert min(len(path.read_bytes()) for path in (files.model, files.codes)) > 2000
    done = process(command(FORMS[form], bad=files.x), (sys.executable, "-B", "-c", LIMITED), text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, tmp_path / "out" / "new.npz", os.strerror(errno.EFBIG))
    assert list((tmp_path / "out").iterdir()) == []


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------

LONG = ("--n-latents", H, "--k", K, "--steps", 10_000_000, "--every", 1e9, "--backend", "numpy")
WATCHED = """
import sys
from compressae_ref.cli import progress
from compressae_ref.cli.main import COMMANDS as MODULES
from compressae_ref.cli.main import command_line, main

class Bar(progress.TrainingBar):
    def __call__(self, done):
        super().__call__(done)
        print(done.step, flush=True)

progress.TrainingBar = Bar
sys.exit(main())
"""
INTERRUPTED = "compressae-ref: interrupted; nothing was written"


@pytest.fixture
def interruptible():
    """Processes that are started now heed Ctrl-C, even where the suite itself runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("before", [None, b"what was there before"], ids=["new", "existing"])
def test_ctrl_c_in_training(files, tmp_path, before):
    if before is not None:
        (tmp_path / "m.npz").write_bytes(before)
    arguments = [sys.executable, "-c", WATCHED, "train", files.x, "-o", tmp_path / "m.npz", *LONG]
    with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        assert training.stdout.readline() == "1\n"
        training.send_signal(signal.SIGINT)
        _, err = training.communicate(timeout=60)
    assert training.returncode == 130
    assert err == f"{INTERRUPTED}\n"
    assert listing(tmp_path) == ({"m.npz": before} if before else {})


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_that_a_callback_swallows_arrives_all_the_same(capsys):
    """So it happens while Numba compiles: LLVM calls back into Python, and drops what is raised there."""

    @ctypes.CFUNCTYPE(None)
    def callback():
        raise KeyboardInterrupt

    def interrupted():
        with heed_signals():
            callback()
            for _ in range(6000):  # many short waits: it arrives between two of them
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_training_on_a_terminal(files, tmp_path):
    """On a terminal there is a progress bar; the message stands on a line of its own below it."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    arguments = [*AS_MODULE, "train", files.x, "-o", tmp_path / "m.npz", *LONG]
    with running(arguments, stdout=subprocess.PIPE, stderr=theirs) as training:
        os.close(theirs)
        shown = read_until(ours, b"loss")
        training.send_signal(signal.SIGINT)
        shown += read_until(ours, None)
        assert training.wait(timeout=60) == 130
        assert training.stdout.read() == b""
    os.close(ours)
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    assert lines[-2:] == [INTERRUPTED, ""]
    assert "loss 0." in lines[-3]
    assert "Traceback" not in shown.decode()
    assert list(tmp_path.iterdir()) == []


def read_until(descriptor: int, wanted: bytes | None, seconds: float = 60) -> bytes:
    """What a terminal shows until something wanted has come, or until it is closed."""
    shown, until = b"", time.monotonic() + seconds
    while wanted is None or wanted not in shown:
        assert select.select([descriptor], [], [], max(until - time.monotonic(), 0))[0], shown[-500:]
        try:
            more = os.read(descriptor, 4096)
        except OSError:  # on Linux: the other side is closed
            more = b""
        if not more:
            assert wanted is None, shown
            break
        shown += more
    return shown


def test_there_is_no_bar_in_a_pipe(files, tmp_path):
    done = process(["train", files.x, "-o", tmp_path / "m.npz", *TRAIN], text=True)
    assert done.returncode == 0
    assert done.stderr.startswith(str(tmp_path / "m.npz"))
    assert done.stderr.count("\n") <= 7
    assert "\r" not in done.stderr


# -- demo -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo(tmp_path, run, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    out, err = run("demo")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line[:1] == "|"]
    head, _, dense, int8, *others = lines
    assert head[-3:] == ["recall@10", "recall@100", "nDCG@10"]
    assert dense[:-1] == ["dense vectors •", "", "", "", "1536", "1.0×", "1.000", "1.000"]
    assert (int8[0], int8[4], float(int8[7]) > 0.99) == ("int8 •", "384", True)
    assert [line[1:5] for line in others if line[0] == "codes, sparse space"] == [
        ["32", "", "128", "256"],
        ["16", "", "64", "128"],
        ["8", "", "32", "64"],
    ]
    assert len(others) == 4 * 3
    best = [line for line in lines if "(best)" in line[0]]
    assert [line[:5] for line in best] == [["refined codes, dense queries • (best)", "32", "5", "", "44"]]
    assert float(best[0][7]) > max(float(line[7]) for line in others if line[1] and line not in best)
    assert float(best[0][8]) > 0.95 * float(dense[8])
    assert "int8 is the better choice if 384 bytes per item" in out
    for said in ("k = 32 take 1,026,560 bytes.", "packed, they take 176,440 bytes.", "vectors take 6,159,360 bytes."):
        assert said in out
    assert err == ""
    assert (tmp_path / "compressae_demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert list(listing(tmp_path)) == ["compressae_demo.png"]


# -- outputs that are no files ----------------------------------------------------------------------------------------


def test_a_device_a_pipe_and_a_dash_are_no_outputs(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for output, said in (
        (tmp_path / "pipe", "a device or a pipe"),
        ("/dev/null", "a device or a pipe"),
        ("-", "-: exp"),
    ):
        assert main(words(["encode", files.model, files.x, "-o", output, *NUMPY])) == 1
        assert said in capsys.readouterr().err
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_terminal_that_has_no_multiplication_sign_gets_another(files):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    line = ["evaluate", files.model, files.x, files.queries, "--top", 10, "--bits", 5, *NUMPY]
    done = process(line, env=environment, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1.0?" in done.stdout


def test_embeddings_from_a_pipe_are_explained(files):
    piped = process(["inspect", "-", "--json"], input=files.x.read_bytes())
    named = process(["inspect", files.x, "--json"])
    assert piped.returncode == 0
    assert read_json(piped.stdout.decode()) | {"file": ""} == read_json(named.stdout.decode()) | {"file": ""}


def test_few_items_are_evaluated_with_fewer_neighbours(files, run, tmp_path):
    np.save(tmp_path / "few.npy", X[:30])
    out, _ = run("evaluate", files.model, tmp_path / "few.npy", *NUMPY)
    assert [cell.strip() for cell in out.splitlines()[0].strip("|").split("|")][-2:] == ["smaller by", "recall@10"]
    np.save(tmp_path / "few.npy", X[:8])
    out, _ = run("evaluate", files.model, tmp_path / "few.npy", *NUMPY)
    assert "recall@4" in out


def test_an_archive_of_embeddings_with_an_entry_meta_is_not_taken_for_a_model(files, run, tmp_path):
    np.savez(tmp_path / "x.npz", embeddings=X, meta=np.arange(3))
    out, _ = run("inspect", tmp_path / "x.npz", "--json")
    assert read_json(out)["kind"] == "embeddings"


def test_the_file_whose_content_is_wrong_is_named(files, tmp_path, capsys):
    codes = load_codes(files.codes)
    codes.values[7] = 1e30
    save_codes(tmp_path / "large.npz", codes)
    assert main(words(["search", files.model, tmp_path / "large.npz", files.queries, *NUMPY])) == 1
    assert capsys.readouterr().err == (
        f"compressae-ref: {tmp_path / 'large.npz'}: expected values whose sum of squares is finite in float32, "
        "got infinity in row 7\n"
    )


def test_train_reports_the_model_that_it_saves(files, tmp_path, capsys):
    settings = ["--lr", 3, "--decay", "none", "--patience", 2, "--n-latents", 64, "--k", 4, "--steps", 40]
    assert main(words(["train", files.x, "-o", tmp_path / "m.npz", *settings, *NUMPY])) == 0
    said = float(re.search(r"validation cosine ([\d.]+)", capsys.readouterr().err)[1])
    best = fit(np.load(files.x), lr=3.0, decay="none", patience=2, n_latents=64, k=4, steps=40, backend="numpy")
    assert load_model(tmp_path / "m.npz").digest == best.model.digest
    assert said == pytest.approx(best.record.validation_cosine, abs=1e-4)
    assert best.record != best.history[-1], "the last was the best, so the test shows nothing"


def test_train_says_when_its_cosine_is_low(files, tmp_path, capsys, monkeypatch):
    for lowest, told in ((-1.0, False), (1.1, True)):
        monkeypatch.setattr("compressae_ref.cli.train_report.LOW_COSINE", lowest)
        assert main(words(["train", files.x, "-o", tmp_path / "m.npz", "--steps", 3, *NUMPY])) == 0
        assert (f"a cosine below {lowest} is low" in capsys.readouterr().err) is told


# -- outputs that are inputs ------------------------------------------------------------------------------------------


NO_PATHS = {"field", "id_column", "show", "dask", "only", "program", "text", "time", "site", "weight", "title"}
"""Arguments that are strings, but name no file."""


def parser_of(command: str) -> argparse.ArgumentParser:
    actions = command_line()._actions
    return next(action for action in actions if isinstance(action, argparse._SubParsersAction)).choices[command]


def line_of(command: str, **values: str) -> list[str]:
    """A line of a command in which arguments have these values, and required ones the names of absent files."""
    line = [command]
    for action in parser_of(command)._actions:
        value = values.get(action.dest, "absent" if action.required else None)
        if value is not None and action.nargs == 0:
            line += action.option_strings[-1:]
        elif value is not None:
            line += [*action.option_strings[-1:], str(next(iter(action.choices))) if action.choices else value]
    return line


def strings_of(command: str) -> list[str]:
    return [
        action.dest
        for action in parser_of(command)._actions
        if action.nargs != 0 and action.type is None and action.choices is None
    ]


@pytest.mark.parametrize("command", NAMES)
def test_no_output_is_another_file_of_the_command(command, tmp_path, assert_refused):
    """Each argument that is a string is known as an input, an output or no path; no output replaces another file."""
    strings = strings_of(command)
    assert {*strings} <= {*given.INPUTS, *given.OUTPUTS, *NO_PATHS}
    path = tmp_path / "a file"
    path.write_text("precious")
    for output, other in product({*strings} & {*given.OUTPUTS}, {*strings} - NO_PATHS):
        apart = command == "demo" or (command == "verify" and other != "vectors")  # these do not go together
        apart |= command == "evaluate" and other in ("dense", "ids")  # --store has no picture
        if output == other or apart or (output, other) in (("checkpoint", "resume"), ("resume", "checkpoint")):
            continue
        values = {output: f"{path}", other: f"milvus:{path}?collection=c" if other == "store" else f"{path}"}
        needed = given.NEEDS.get(command, {}).get(other)
        values |= {needed: "absent"} if needed in strings and needed not in values else {}
        assert_refused(line_of(command, **values), ["got the same file"])


OTHER_SUFFIXES = (
    "foo md ckpt onnx gguf pkl mat csv tsv xlsx json yaml txt db pdf jpg svg webp zip gz zst tar py ivecs NPZ PT"
)
FORMATS = [*output_names.FORMATS.values(), *output_names.OUTPUT.values()]
SUFFIXES = ["", ".5", *sorted({f".{suffix}" for suffix in (*OTHER_SUFFIXES.split(), *sum(FORMATS, ()))})]


@pytest.mark.parametrize("command", NAMES)
def test_the_suffix_of_an_output_is_that_of_its_format(command, assert_refused):
    """Each command × each output × each suffix: refused with all suffixes that are possible, before any file is read.

    An output of a new command must have its formats in `output_names`.
    """
    for output, suffix in product(sorted({*strings_of(command)} & {*given.OUTPUTS}), SUFFIXES):
        formats = output_names.OUTPUT[command] if output == "output" else output_names.FORMATS[output]
        names = {each.dest: f"absent {each.dest}" for each in parser_of(command)._actions if each.required}
        needed = given.NEEDS.get(command, {}).get(output, output)
        line = line_of(command, **{**names, needed: "1", output: f"x{suffix}"})
        selects = formats in output_names.SELECTED
        allowed = kind_by_name(f"x{suffix}") in formats
        allowed |= suffix == "" and formats not in output_names.NO_DEFAULT
        allowed |= suffix == ".5" and not selects
        if allowed:
            output_names.require_honest_names(given.parse(command_line(), line))
        else:
            expected = (
                f"x{suffix}: expected a name that ends in .{', .'.join(formats)}, got {suffix.lower() or 'no suffix'}"
            )
            assert_refused(line, [expected])


def test_a_folder_and_residual_codes_have_their_own_suffixes(command, assert_refused):
    for suffix in (".npz", ".foo"):
        assert_refused(
            command(f"encode {{model}} {{x}} --dask local:1 -o new{suffix}"), ["expected a name of a folder"]
        )
    for suffix in (".parquet", ".foo"):
        assert_refused(command(f"encode {{model}} {{x}} --bytes 20 -o new{suffix}"), [f"ends in .npz, got {suffix}"])


def test_a_model_of_another_format_is_refused_with_what_to_do(command, assert_refused):
    for suffix in (".pt", ".pth", ".safetensors"):
        assert_refused(
            command(f"train {{x}} -o new{suffix}"), [f"new{suffix}: expected", "new.npz", "compressae-ref convert"]
        )
    assert_refused(command("convert {model} --to saelens -o new.npz"), ["expected a name of a folder"])


RULES = [(command, name, (needed,)) for command, rule in given.NEEDS.items() for name, needed in rule.items()]


@pytest.mark.parametrize(("command", "option", "needed"), RULES)
def test_an_option_that_needs_another_argument_is_refused_alone(command, option, needed, assert_refused):
    assert_refused(line_of(command, **{option: "1"}), [f"with --{option.replace('_', '-')}", "alone"])


EXCLUDED = [
    (command, name, other)
    for command, rule in given.CONFLICTS.items()
    for name, others in rule.items()
    for other in others
]


@pytest.mark.parametrize(("command", "name", "other"), EXCLUDED)
def test_an_option_that_would_be_ignored_is_refused(command, name, other, capsys):
    values = {name: "x", other: "1"}
    assert main(line_of(command, **values)) == 1
    err = capsys.readouterr().err
    (option,) = [action.option_strings[-1] for action in parser_of(command)._actions if action.dest == other]
    assert_one_line(err, f"expected no {option} with", "got both")


APPLY = {
    "x": {"ids", "dtype", "zero_rows", "follow_links"},
    "codes": {"ids", "n_latents"},
    "model": {"k", "to", "query", "query_k", "k_input"},
}
"""Options of convert, by the kind of the input."""


@pytest.mark.parametrize("kind", APPLY)
def test_convert_refuses_options_of_other_kinds(kind, files, tmp_path, assert_refused, run):
    for option in set().union(*APPLY.values()):
        values = {"input": str(getattr(files, kind)), "output": str(tmp_path / "new.npz"), option: "none"}
        if option in ("k", "n_latents", "query_k"):
            values[option] = "64" if option == "n_latents" else "4"
        if option == "to":
            values["output"] = str(tmp_path / "folder")
        if option not in APPLY[kind]:
            assert_refused(line_of("convert", **values), [f"as INPUT with --{option.replace('_', '-')}, got"])
        elif option not in convert_onnx.OPTIONS:  # tests/test_onnx.py runs these
            run(*line_of("convert", **values))
    named = line_of("convert", input=str(getattr(files, kind)), output=str(tmp_path / "new.npz"), id_column="none")
    assert_refused(named, ["as INPUT with --id-column, got a model" if kind == "model" else "ids ::none, got"])


def hints() -> set[str]:
    """The constant parts of all hints in the package that name an option."""
    found = set()
    for path in Path(compressae_ref.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                found.add(" ".join(part for part in parts if isinstance(part, str)))
    return {hint for hint in found | {checks.SKIP_HINT} if "--" in hint}


def test_hints_name_only_options_of_the_command():
    assert len(hints()) > 8
    for command, hint in product(NAMES, hints()):
        error = compressae_ref.DomainError("expected, got", hint=hint)
        options = argparse.Namespace(parser=parser_of(command))
        text = given.own_text(error, options, NAMES)
        for before, option in re.findall(r"(?:([\w-]+) )?(--[a-z][a-z-]*)", text):
            parser = parser_of(before if before in NAMES else command)
            assert option in parser._option_string_actions, (command, hint)


@pytest.mark.parametrize("form", ["verify {model} {bad} {codes}", "encode {model} {bad} -o {out}"])
def test_a_zero_row_is_explained_by_options_that_exist(command, form, tmp_path, capsys):
    np.save(tmp_path / "zeros.npy", np.zeros((3, D), "f4"))
    assert main(command(form, bad=tmp_path / "zeros.npy")) == 1
    assert ("--zero-rows" in capsys.readouterr().err) == form.startswith("encode")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_outputs_are_no_error(files, closed):
    line = f"{shlex.join(words([*AS_MODULE, 'inspect', files.model]))} {closed}"
    assert subprocess.run(["sh", "-c", line], capture_output=True, check=False).returncode == 0


def test_a_closed_input_is_an_empty_one(files, tmp_path):
    line = shlex.join(words([*AS_MODULE, "encode", files.model, "-", "-o", tmp_path / "c.npz"])) + " <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert_one_line(done.stderr, "standard input", "expected a .npy or .npz file")


def test_an_archive_from_a_pipe(files, tmp_path, run, monkeypatch):
    np.savez(tmp_path / "x.npz", embeddings=np.load(files.x), other=np.ones(3))
    content = io.BytesIO((tmp_path / "x.npz").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    run("encode", files.model, "-", "-o", tmp_path / "piped.npz")
    run("encode", files.model, files.x, "-o", tmp_path / "named.npz")
    assert (tmp_path / "piped.npz").read_bytes() == (tmp_path / "named.npz").read_bytes()
