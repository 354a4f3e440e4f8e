"""Encoding on Dask: parts are complete, even if workers die, and load as one array of codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Index, Model, encode_refined, init_params, load_codes, save_codes, save_model
from compressae_ref.cli.main import main
from compressae_ref.cluster.on_dask import encode_on_dask
from compressae_ref.errors import BackendError, CompressaeError, DomainError, FormatError
from compressae_ref.files.atomic_write import TEMPORARY
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.write import write_embeddings
from tests.lazy import LazyModule

dask, distributed = LazyModule("dask"), LazyModule("distributed")

N, D, H = 4000, 16, 64
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), 4)
IDS = np.array([f"item {row}" for row in range(N)])

pytestmark = [
    pytest.mark.skipif(find_spec("distributed") is None, reason="needs distributed"),
    pytest.mark.filterwarnings("ignore"),  # a cluster that loses workers prints many warnings
    pytest.mark.usefixtures("ends"),
]


def small_cluster(n_workers):
    return distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes for all tests of this module."""
    with small_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def encode(cluster, tmp_path):
    """Encode a file with the cluster into a folder."""
    np.save(tmp_path / "x.npy", X)

    def act(folder="parts", embeddings="x.npy", relative=False, on=cluster, **settings):
        given = {"part_rows": 300, "backend": "numpy"} | settings
        source, target = embeddings, folder
        if not relative:
            source, target = str(tmp_path / embeddings), str(tmp_path / folder)
        return encode_on_dask(MODEL, source, target, on.scheduler_address, **given)

    return act


def loaded(folder):
    return open_codes(str(folder)).load()


def assert_same(found, codes):
    np.testing.assert_array_equal(found.indices, codes.indices, strict=True)
    np.testing.assert_array_equal(found.values, codes.values, strict=True)
    assert found.model == codes.model


@pytest.mark.parametrize("settings", [{}, {"part_rows": 1}, {"part_rows": N}, {"k": 7}, {"refine": True}], ids=str)
def test_the_parts_are_the_codes(encode, tmp_path, settings):
    few = X[:12] if settings.get("part_rows") == 1 else X
    np.save(tmp_path / "x.npy", few)
    manifest = encode(**settings)
    k = settings.get("k", 4)
    codes = encode_refined(few, MODEL, k) if "refine" in settings else MODEL.encode(few, k)
    assert_same(loaded(tmp_path / "parts"), codes)
    assert [part["start"] for part in manifest["parts"]] == [*range(0, len(few), manifest["part_rows"])]
    assert not [*(tmp_path / "parts").glob(".*")]


@pytest.mark.parametrize("kind", ["parquet", "fbin"])
def test_workers_read_any_format_and_keep_its_ids(encode, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    write_embeddings(tmp_path / f"x.{kind}", X, ids=IDS)
    encode(embeddings=f"x.{kind}")
    rows = open_codes(str(tmp_path / "parts"))
    assert_same(rows.load(), MODEL.encode(X))
    index = Index.build(rows.load(), ids=rows.ids)
    assert index.search(rows.load()[:1], 1).ids.tolist() == [["item 0" if kind == "parquet" else 0]]


def test_workers_take_other_ids_or_none_and_wrong_ones_stop_before_the_first_part(encode, tmp_path):
    np.savez(tmp_path / "x.npz", embeddings=X, ids=np.arange(N) + 0.5, names=IDS)
    with pytest.raises(CompressaeError, match=r"x\.npz: ids: expected 64-bit integers or strings, got 0\.5"):
        encode(embeddings="x.npz")
    assert not (tmp_path / "parts").exists()
    encode(embeddings="x.npz", ids="names")
    assert open_codes(str(tmp_path / "parts")).ids.tolist() == IDS.tolist()
    with pytest.raises(DomainError, match="ids = False, got ids = 'names'"):
        encode(embeddings="x.npz", ids=False)
    part = sorted((tmp_path / "parts").glob("part-*"))[1]
    save_codes(part, load_codes(part))
    with pytest.raises(FormatError, match=f"parts: expected ids in every part, got none in {part.name}"):
        open_codes(str(tmp_path / "parts"))
    assert_same(open_codes(str(tmp_path / "parts"), ids=False).load(), MODEL.encode(X))


def test_a_part_that_is_replaced_between_two_reads_is_read_in_one_version(encode, tmp_path):
    write_embeddings(tmp_path / "x.npz", X, ids=np.arange(N))
    encode(embeddings="x.npz")
    rows = open_codes(str(tmp_path / "parts"))
    for part in (tmp_path / "parts").glob("part-*"):
        codes = load_codes(part)
        save_codes(part, codes[::-1], ids=np.arange(len(codes)))
    assert rows.ids.tolist() == [*range(N)]
    assert_same(rows.load(), MODEL.encode(X))


def test_workers_follow_links_on_request(encode, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["x"] = X
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["x"] = h5py.ExternalLink("data.hdf5", "x")
    with pytest.raises(FormatError, match="--follow-links"):
        encode(embeddings="x.hdf5")
    assert "follow_links" in encode(embeddings="x.hdf5", follow_links=True)
    assert_same(loaded(tmp_path / "parts"), MODEL.encode(X))


def test_an_array_in_a_file_of_several_is_found_from_anywhere(encode, tmp_path, monkeypatch):
    np.savez(tmp_path / "two.npz", a=X[:50], b=X)
    monkeypatch.chdir(tmp_path)  # the workers run in another folder
    encode(embeddings="two.npz::b", relative=True)
    assert_same(loaded(tmp_path / "parts"), MODEL.encode(X))
    with pytest.raises(DomainError, match="a file that every worker can read"):
        encode_on_dask(MODEL, "-", "parts2", "local:1")


def test_a_restart_makes_only_what_is_missing(encode, tmp_path):
    encode()
    folder = tmp_path / "parts"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for name in ("part-000000000300.npz", "part-000000003900.npz", "manifest.json"):
        (folder / name).unlink()
        del before[name]
    running = folder / f".compressae-ref-{'0' * 48}.partial"
    running.write_bytes(b"half")
    with pytest.raises(FormatError, match="expected a finished folder of parts"):
        loaded(folder)
    seen = []
    encode(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (N, N)
    assert len(seen) == 2
    assert running.read_bytes() == b"half", "another run is writing it"
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert all(after[name] == when for name, when in before.items() if name.startswith("part"))
    assert_same(loaded(folder), MODEL.encode(X))


def test_a_killed_worker_loses_nothing(encode, cluster, tmp_path):
    killed = []

    def kill(done, total):
        if len(killed) < 2:
            worker = [*cluster.workers.values()][len(killed)]
            killed.append(worker.process.pid)
            os.kill(killed[-1], signal.SIGKILL)

    encode(part_rows=100, progress=kill)
    assert len(killed) == 2
    assert_same(loaded(tmp_path / "parts"), MODEL.encode(X))
    assert not [*(tmp_path / "parts").glob(".*")]


def test_a_driver_that_is_interrupted_can_go_on(encode, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(part_rows=100, progress=stop)
    with pytest.raises(FormatError, match="expected a finished folder of parts"):
        loaded(tmp_path / "parts")
    encode(part_rows=100)
    assert_same(loaded(tmp_path / "parts"), MODEL.encode(X))


def test_a_bad_row_is_named_by_its_number_in_the_file(encode, tmp_path):
    x = X.copy()
    x[3333, 5] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DomainError, match=r"x\.npy: expected finite numbers, got NaN or infinity in row 3333"):
        encode()


def test_a_folder_for_something_else_is_refused(encode, tmp_path):
    encode()
    others = (({"k": 5}, "k = 4"), ({"part_rows": 400}, "part_rows = 300"), ({"refine": True}, "refine = False"))
    for settings, what in others:
        with pytest.raises(DomainError, match=f"an earlier run with .*, got {what}"):
            encode(**settings)
    with pytest.raises(DomainError, match="expected a new or empty folder"):
        encode(folder=".")
    with pytest.raises(OSError, match="the output folder does not exist"):
        encode(folder="none/parts")


def test_damaged_folders_are_refused(encode, tmp_path):
    encode()
    folder = tmp_path / "parts"
    whole = json.loads((folder / "manifest.json").read_text())
    for wrong, reason in (
        ({**whole, "version": 2}, "a manifest of version 1, got 'compressae-parts' of version 2"),
        ({**whole, "n": 0}, "n as a positive integer, got 0"),
        ({**whole, "parts": whole["parts"][1:]}, r"parts that start at rows \[0, .*, got \[300"),
        ({}, "a manifest of version 1, got .*no entry 'format'"),
        ([], "a manifest of version 1, got a file that cannot be read as one"),
    ):
        (folder / "manifest.json").write_text(json.dumps(wrong))
        with pytest.raises(FormatError, match=rf"manifest\.json: expected {reason}"):
            loaded(folder)
    (folder / "manifest.json").write_text(json.dumps(whole))
    (folder / "part-000000000300.npz").write_bytes((folder / "part-000000003900.npz").read_bytes())
    with pytest.raises(FormatError, match=r"part-000000000300\.npz: expected rows, k, n_latents and model"):
        loaded(folder)
    (folder / "part-000000000300.npz").unlink()
    with pytest.raises((CompressaeError, OSError), match="part-000000000300"):
        loaded(folder)


def test_workers_have_one_thread_each(cluster):
    from compressae_ref.backends.thread_pool import thread_count
    from compressae_ref.cluster import on_dask

    def threads():
        on_dask.set_threads(1)
        return thread_count()

    with distributed.Client(cluster) as client:
        assert {*client.run(threads).values()} == {1}


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    save_model("model.npz", MODEL)
    line = "encode model.npz x.npy -o parts --dask local:1 --part-rows 1500 --backend numpy"
    assert main(line.split()) == 0
    assert "parts: 4000 codes, k 4, in 3 parts" in capsys.readouterr().err
    np.save("q.npy", X[:20])
    main(["encode", "model.npz", "x.npy", "-o", "codes.npz", "--backend", "numpy"])
    outputs = []
    for codes in ("codes.npz", "parts"):
        assert main(f"search model.npz {codes} q.npy --backend numpy".split()) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert main(["verify", "model.npz", "x.npy", "parts", "--strict", "--backend", "numpy"]) == 0
    assert main(["inspect", "parts"]) == 0
    assert main(["convert", "parts", "-o", "whole.npz"]) == 0
    assert_same(loaded("whole.npz"), loaded("parts"))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("written", [0, 1])
def test_ctrl_c_in_a_terminal_is_one_line_of_the_command_and_nothing_of_its_workers(tmp_path, written):
    """The terminal sends SIGINT to every process, while they start or when the first part is written."""
    np.save(tmp_path / "x.npy", X)
    save_model(tmp_path / "model.npz", MODEL)
    line = "encode model.npz x.npy -o parts --dask local:2 --part-rows 2 --backend numpy"
    command = [sys.executable, "-m", "compressae_ref", *line.split()]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while written and len([*tmp_path.glob("parts/part-*")]) < written and process.poll() is None:
        time.sleep(0.01)
    while not written and process.poll() is None and not _group_has(process.pid, b"spawn_main"):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"compressae-ref: interrupted; [^\n]*\n", err), err
    assert [*tmp_path.rglob("*.partial")] == []


def _group_has(group, words):
    """Whether a process of a group has these words in its command, or True where that cannot be seen."""
    if not Path("/proc").is_dir():
        return True
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == group and words in (folder / "cmdline").read_bytes():
                return True
    return False


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "local:", "local:x"])
def test_no_scheduler_is_one_line_and_writes_nothing(tmp_path, address, monkeypatch):
    monkeypatch.setattr("compressae_ref.cluster.on_dask.TIMEOUT", 1)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises((BackendError, DomainError), match="--dask"):
        encode_on_dask(MODEL, str(tmp_path / "x.npy"), str(tmp_path / "parts"), address)
    assert not (tmp_path / "parts").exists()


def test_a_part_that_kills_its_workers_is_an_error_and_not_an_endless_loop(encode, tmp_path):
    """Every worker that writes a part is killed. A later run resumes.

    The killed workers have a cluster of their own: a nanny whose worker dies while it starts does not replace it.
    """
    np.save(tmp_path / "x.npy", X)
    stop = threading.Event()

    def hunt():
        while not stop.is_set():
            for pid in [worker.process.pid for worker in [*victims.workers.values()] if worker.process is not None]:
                with contextlib.suppress(OSError, TypeError):  # it has ended, or not started
                    if any(TEMPORARY.fullmatch(file.readlink().name) for file in Path(f"/proc/{pid}/fd").iterdir()):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.0005)

    try:
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}), small_cluster(3) as victims:
            hunter = threading.Thread(target=hunt)
            hunter.start()
            try:
                encode(part_rows=N // 2, refine=True, on=victims)
            finally:
                stop.set()
                hunter.join()
    except DomainError as error:
        assert "killed repeatedly" in str(error)  # noqa: PT017  a fast worker may finish before it is killed
    encode(part_rows=N // 2, refine=True)
    assert_same(loaded(tmp_path / "parts"), encode_refined(X, MODEL))
