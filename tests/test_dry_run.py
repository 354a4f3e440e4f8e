"""``--dry-run``: nothing is written, and the bytes are those that the command then writes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressae_ref import Encoder, Model, init_params, save_model
from compressae_ref.cli import dry_run, encode_residual
from compressae_ref.cli import main as cli_main
from compressae_ref.cli.main import main
from compressae_ref.extensions import refine
from compressae_ref.files import npz
from compressae_ref.files.foreign import codes_json
from compressae_ref.files.npz import Pieces, archive_bytes, write_npz
from compressae_ref.stores import contract
from tests import memory_store

N, D, H = 300, 8, 32
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
NUMPY = ("--backend", "numpy")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.savez("named.npz", embeddings=X, id=np.array([f"item {row} ü" for row in range(N)]))
    save_model("model.npz", Model(init_params(D, H, np.random.default_rng(1)), 4))
    return tmp_path


def dry(folder: Path, line: str, capsys) -> str:
    """Run a command with --dry-run, which writes nothing; return what it prints."""
    before = listing(folder)
    assert main([*line.split(), *NUMPY, "--dry-run"]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert listing(folder) == before
    assert out.startswith("dry run: nothing is written\n")
    assert re.search(r"memory: about [\d,]+ MB of arrays, .*; time: about [\d.]+ (s|min|h)", out)
    return out


@pytest.mark.parametrize("more", ["", " --k 7", " --refine --k 2", " --ids none"])
@pytest.mark.parametrize(("source", "out"), [("x.npy", "c.npz"), ("named.npz", "c.npz"), ("x.npy", "c.csr")])
def test_the_bytes_of_codes_are_exact(folder, capsys, source, out, more):
    line = f"encode model.npz {source} -o {out}{more}"
    told = re.search(rf"{out}: ([\d,]+) bytes", dry(folder, line, capsys))
    assert main([*line.split(), *NUMPY]) == 0
    assert int(told[1].replace(",", "")) == Path(out).stat().st_size


def test_the_memory_of_this_process_is_measured():
    """It grows with an array of known size, and not when this array is freed."""
    before = dry_run.most_memory()
    array = np.ones((before + 2**26) // 8)
    most = dry_run.most_memory()
    assert array.nbytes < most < before + array.nbytes + 2**26
    del array
    assert dry_run.most_memory() > most - 2**22  # the kernel counts in batches


def test_bytes_of_other_formats_are_about_right(folder, capsys):
    line = "encode model.npz x.npy -o c.jsonl"
    told = re.search(r"c.jsonl: about ([\d,]+) bytes", dry(folder, line, capsys))
    assert main([*line.split(), *NUMPY]) == 0
    assert int(told[1].replace(",", "")) == pytest.approx(Path("c.jsonl").stat().st_size, rel=0.05)


# -- time -------------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def blocks(self, sizes, first, each):
        """Yield blocks of rows, of which each takes so many seconds, and the first one more."""
        for number, size in enumerate(sizes):
            self.now += size * each + (first if number == 0 else 0)
            yield range(size)


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=40), st.floats(0, 100), st.floats(0, 100), st.floats(0.001, 10)
)
def test_the_time_is_that_of_the_command_if_rows_take_equally_long(sizes, before, first, each):
    """What comes before the first block counts, and so does what is done only in it, once."""
    clock, n = Clock(), sum(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dry_run, "time", clock)
        started = clock.now
        clock.now += before
        _, read, seconds = dry_run.timed(clock.blocks(sizes, first, each), n, started)
    assert seconds == pytest.approx(before + first + n * each)
    assert sizes[0] + sizes[1] <= read <= n
    measured = (read - sizes[0]) * each
    assert read == n or measured >= dry_run.TIMED_SECONDS


def told_seconds(out: str) -> float:
    number, unit = re.search(r"time: about ([\d.]+) (s|min|h)", out).groups()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_the_time_of_a_fitted_codec_and_of_written_rows_is_included(folder, capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(dry_run, "time", clock)
    monkeypatch.setattr(cli_main, "time", clock)
    taking(monkeypatch, clock, encode_residual, "residual_codec", 40)
    taking(monkeypatch, clock, codes_json, "write", 10)
    line = "encode model.npz x.npy -o r.npz --bytes 10 --k 2"
    assert told_seconds(dry(folder, line, capsys)) == 40
    assert told_seconds(dry(folder, "encode model.npz x.npy -o c.jsonl", capsys)) == 10  # all rows are one block
    assert told_seconds(dry(folder, "encode model.npz x.npy -o c.npz", capsys)) == 0


def taking(monkeypatch, clock: Clock, module, name: str, seconds: float) -> None:
    """Let a function of a module take so many seconds."""
    original = getattr(module, name)

    def slow(*args, **settings):
        clock.now += seconds
        return original(*args, **settings)

    monkeypatch.setattr(module, name, slow)


@pytest.mark.parametrize("more", ["--refine", "--refine --k 3 --candidates 9", "--refine --zero-rows skip", "--k 2"])
def test_the_rows_that_are_timed_have_the_settings_of_the_command(folder, capsys, monkeypatch, more):
    asked = []
    for module, name in ((refine, "refined_blocks"), (Encoder, "encode_blocks")):
        original = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *args, original=original, **how: asked.append((args[1:], how)) or original(*args, **how),
        )
    line = f"encode model.npz x.npy -o c.npz {more}"
    dry(folder, line, capsys)
    assert main([*line.split(), *NUMPY]) == 0
    (dry_args, dry_how), (args, how) = asked
    assert dry_how == how
    assert [getattr(each, "digest", getattr(each, "shape", each)) for each in dry_args] == [
        getattr(each, "digest", getattr(each, "shape", each)) for each in args
    ]


shapes = st.lists(st.integers(0, 30), max_size=2).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("aé_", min_size=1, max_size=9), st.tuples(shapes, st.sampled_from("bifU")), max_size=5))
def test_the_size_of_an_archive_follows_from_its_shapes(tmp_path, members):
    dtypes = {"b": "?", "i": "i8", "f": "f4", "U": "U5"}
    arrays = {name: np.zeros(shape, dtypes[kind]) for name, (shape, kind) in members.items()}
    write_npz(tmp_path / "a.npz", arrays)
    pieces = {name: Pieces(array.shape, array.dtype, ()) for name, array in arrays.items()}
    assert archive_bytes(pieces) == (tmp_path / "a.npz").stat().st_size


@pytest.mark.parametrize("limit", [150, 500, 700, 5000])
def test_the_size_of_a_large_archive(tmp_path, monkeypatch, limit):
    """Members and offsets above the limit of 32 bits have longer headers."""
    monkeypatch.setattr(npz.zipfile, "ZIP64_LIMIT", limit)
    arrays = {name: np.zeros(length, "f4") for name, length in {"a": 200, "b": 3, "c": 90}.items()}
    write_npz(tmp_path / "a.npz", arrays)
    assert archive_bytes(arrays) == (tmp_path / "a.npz").stat().st_size


def test_the_settings_of_a_training_are_those_that_it_has(folder, capsys):
    line = "train x.npy -o m.npz --serve dense --steps 5 --k 3"
    out = dry(folder, line, capsys)
    assert f"x.npy: {N} rows, d {D}, float32" in out
    assert "settings: n_latents 256, k 3, objective reconstruct, batch_size 285, steps 5, lr 0.01" in out
    told = re.search(r"m.npz: about ([\d,]+) bytes", out)
    assert main([*line.split(), *NUMPY]) == 0
    assert int(told[1].replace(",", "")) == pytest.approx(Path("m.npz").stat().st_size, rel=0.3)


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setitem(contract.ADAPTERS, "memory", ("memory", "memory:NAME"))
    monkeypatch.setitem(sys.modules, "compressae_ref.stores.memory", memory_store)
    items = {row: {"dense": X[row]} for row in range(40)}
    monkeypatch.setitem(memory_store.COLLECTIONS, "some", items)
    monkeypatch.setitem(memory_store.FIELDS, "some", set())
    return items


def test_a_push_and_a_pull_change_nothing(folder, store, capsys):
    before = {row: dict(item) for row, item in store.items()}
    out = dry(folder, "push model.npz memory:some --refine --space expanded --k 3", capsys)
    assert "40 codes of 3 entries to write, 0 already present" in out
    assert "PostgreSQL with pgvector 1,600" in out
    assert f"memory:some: 40 rows, d {D}" in dry(folder, "pull memory:some -o m.npz --keep kept.npz", capsys)
    assert memory_store.FIELDS["some"] == set()
    assert all(store[row].keys() == item.keys() for row, item in before.items())


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        ("train x.npy -o absent/m.npz", "output folder"),
        ("train x.npy -o m.npz --k 0", "k"),
        ("encode model.npz x.npy -o c.npz --k 99", "n_latents = 32"),
        ("encode model.npz x.npy -o c.txt", "name that ends in"),
        ("encode model.npz bad.npy -o c.npz", "row 17"),
        ("train bad.npy -o c.npz", "row 17"),
    ],
)
def test_bad_input_is_found_as_far_as_it_is_seen(folder, capsys, line, mention):
    np.save("bad.npy", np.where(np.arange(N)[:, None] == 17, np.nan, X))
    before = listing(folder)
    assert main([*line.split(), *NUMPY, "--dry-run"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert mention in err
    assert listing(folder) == before
