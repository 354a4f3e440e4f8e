"""Every example runs as it stands, from any folder, and shows what it is there to show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, init_params, save_model
from compressae_ref.evaluation.relevance import as_relevance, ndcg_at
from compressae_ref.retrieval.brute_force import nearest_dense

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from benchmarks import measure, pages, relevance

BENCH = Path(__file__).parent.parent / "examples" / "bench.py"
RELEVANCE = Path(relevance.__file__)
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))

SHOWN = {
    "01": ["Read back, they are the same", r"codes, k = 8 .* 64 .*24\.0×", r"SciPy alone reads the codes: .*\(4010, "],
    "02": [r"held-out cosine", r"(?i)same"],
    "03": [r"sparse", r"reconstructed", r"asymmetric"],
    "04": [
        r"grad_W_enc .*finite difference: \S+ \(bound",
        r"grad_b_enc .*finite difference: \S+ \(bound",
        r"x_hat_aux +\(3, 5\)",
    ],
    "05": [r"sparse, 4k \| reconstructed \| asymmetric", r"(?m)^\| 256 \| 0\.", r"(?m)^\| 2048 \| 0\.", r"recall@100"],
    "06": [r"without \w+ ", r"mapped", r"the same, to the bit"],
    "08": [
        r"interrupted after [\d,]+ items; the next push wrote the other",
        r"(?m)^   expanded .*scores equal$",
    ],
    "09": [r"(?m)^   \.fvecs .*the same, ids: no$", r"(?m)^   \.jsonl .*the same$", r"(?m)^   csr .*the same$"],
    "07": [r"(?m)^   32   5 bits +\d+ +0\.\d+ +0\.\d+$", r"read back: ", r"split +0\.\d+   lowest value \+"],
}


def test_there_are_examples():
    assert [path.name[:2] for path in EXAMPLES] == sorted(SHOWN)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path, tmp_path):
    if path.name.startswith("08"):
        pytest.importorskip("qdrant_edge")
    command = [sys.executable, "-W", "error", str(path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for shown in SHOWN[path.name[:2]]:
        assert re.search(shown, run.stdout), f"{shown} is not in\n{run.stdout}"
    assert "DIFFERENT" not in run.stdout
    assert not list(tmp_path.iterdir()), "it left files behind"


def test_relevance_of_packages_is_their_highest_grade():
    """Package 0 asks for 1 to 4: same source and a dependency, a dependency, a suggestion, the same source."""
    relations = {
        "source": np.array([7, 7, 3, 4, 7, 7]),
        "depends_indptr": np.array([0, 2, 2, 2, 2, 2, 3]), "depends_indices": np.array([1, 2, 2]),
        "recsug_indptr": np.array([0, 1, 1, 1, 1, 1, 2]), "recsug_indices": np.array([3, 0]),
    }  # fmt: skip
    pairs = relevance.debian(relations, np.array([5, 0]), np.array([4, 3, 2, 1]))
    assert pairs.tolist() == [[0, 0, 2], [0, 2, 1], [0, 3, 2], [1, 0, 2], [1, 1, 1], [1, 2, 1], [1, 3, 2]]


def test_relevance_of_the_entries_that_ship_is_judged(tmp_path):
    command = [sys.executable, str(RELEVANCE), "wordnet", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    pairs, queries, items = (np.load(tmp_path / f"{name}.npy") for name in ("pairs", "queries", "items"))
    judged = as_relevance(pairs, len(queries), len(items))
    assert f"{len(pairs)} pairs for {len(judged)} queries" in done.stdout
    assert (len(queries), len(items)) == (500, 4010)
    dense = nearest_dense(queries, items, 10).ids
    assert ndcg_at(dense, judged) > 0.5 > 0.1 > ndcg_at(np.roll(dense, 1, axis=0), judged)


def test_a_kept_table_is_written_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "MEASURED", tmp_path)
    monkeypatch.setattr(pages, "MEASURED", tmp_path)
    monkeypatch.setattr(measure, "_tables", [])
    monkeypatch.setattr(sys, "argv", ["bench.py", "step", "/some/folder/x.npy", "--keep", "speed", "--k", "4"])
    measure.head("what", "ms", text=1)
    measure.line("step", "12.3456")
    measure.line("encode", None)
    measure.keep("speed", measure.command_line(), 2)
    text = "<!-- table speed -->\nold\n<!-- end --> took <!--=speed/step/ms-->9<!--/-->"
    shown = pages.rendered(text)
    assert "| what | ms |\n| --- | ---: |\n| step | 12.3 |\n| encode |  |\n" in shown
    assert "Measured with `python examples/bench.py step x.npy --k 4` on 2 threads" in shown
    assert shown.endswith(" took <!--=speed/step/ms-->12.3<!--/-->")
    assert pages.rendered(shown) == shown


SMALL = "--rows 64 --latents 128 --k 4 --turns 1 --budgets 0.2 --picture picture.png"
BENCHMARKS = ["step", "encode", "growth", "numpy", "file", "memory", "minute"]
WITH_MODEL = ["search", "items", "packed", "refine", "paper", "quality", "noise"]


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.parametrize("what", [*BENCHMARKS, *WITH_MODEL])
def test_the_benchmark_prints_its_table(what, tmp_path):
    """What takes minutes at any size (start, sustained) is not tried here."""
    rng, table = np.random.default_rng(0), r"(?m)^\|( ---:? \|)+$\n\| .*\d.* \|$"
    x, q = rng.standard_normal((300, 32), np.float32), rng.standard_normal((120, 32), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", q)
    np.save(tmp_path / "pairs.npy", np.stack([np.arange(120), (q @ x.T).argmax(axis=1)], axis=1))
    command = [sys.executable, str(BENCH), what, tmp_path / "x.npy", "--queries", tmp_path / "q.npy", *SMALL.split()]
    if what in WITH_MODEL:
        save_model(tmp_path / "model.npz", Model(init_params(32, 128, rng, init="tied"), 4))
        command += ["--model", tmp_path / "model.npz", "--items", "1000", "--faiss", "Flat", "--steps", "20"]
        command += ["--models", tmp_path / "model.npz", "--relevance", tmp_path / "pairs.npy"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert re.search(table, run.stdout), run.stdout
    assert (tmp_path / "picture.png").exists() == (what in ("growth", "minute", "items"))


@pytest.mark.oracle
def test_the_backward_pass_by_hand_stands_beside_autograd(tmp_path):
    path = next(path for path in EXAMPLES if path.name.startswith("04"))
    run = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=True)
    for name in ("grad_x_hat_k", "grad_x_hat_aux", "grad_values_k", "grad_values_rest", "grad_W_dec", "grad_W_enc"):
        assert re.search(rf"^{name} .*autograd: \S+ \(bound \S+\)", run.stdout, re.M), name
