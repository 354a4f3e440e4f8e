"""Every example runs as it stands, from any folder, and shows what it is there to show."""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Model, encode_refined, fit, init_params, pack, save_model, save_packed, search
from compressae_ref.demo_data import Addresses, demo_folder, load_addresses, read_demo_file
from compressae_ref.files.relevance import as_relevance
from compressae_ref.metrics import ndcg_at
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.stores.contract import Found
from tests.conftest import HAS
from tests.engines import NEEDS, needs

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from benchmarks import measure, models, pages, postgres, postgres_problem, quality, relevance, segments
from benchmarks.routes import python as python_route

BENCH = Path(__file__).parent.parent / "examples" / "bench.py"
RELEVANCE = Path(relevance.__file__)
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))

SHOWN = {
    "01": [r"Read back equal: True", r"codes with k = 8 .* 64 .*24\.0×", r"SciPy alone reads the codes: .*\(4010, "],
    "02": [r"held-out cosine", r"one seed are the same bytes: True"],
    "03": [
        r"(?m)^   sparse +0\.\d{3} ",
        r"(?m)^   reconstructed +0\.\d{3} ",
        r"(?m)^   asymmetric +0\.\d{3} ",
        r"e-1\d from the Gram-matrix form",
    ],
    "04": [r"sparse, 4k \| reconstructed \| asymmetric", r"(?m)^\| 256 \| 0\.", r"(?m)^\| 1024 \| 0\.", r"recall@100"],
    "05": [r"without \w+ ", r"mapped file and rebuilt index give the same bits: True"],
    "06": [
        r"(?m)^   32  5 bits +\d+ +0\.\d+ +0\.\d+$",
        r"read back:\n   \d+: [+-]\d",
        r"split +0\.\d+  \+",
    ],
    "07": [
        r"interrupted after [\d,]+ items; the next push wrote the other",
        r"scores equal to .*exact search\n   sparse +\d.*  True\n   expanded +\d.*  True\n",
    ],
    "08": [
        r"(?m)^   npz +[\d,]+  True  ids$",
        r"(?m)^   fvecs +[\d,]+  True  no ids$",
        r"(?m)^   jsonl +\d+  True$",
        r"(?m)^   csr +\d+  True$",
        r"the same digest\n(   \S+ +True\n){3}",
    ],
    "09": [
        r"falling +1790s-1830s .*france",
        r"1\. .* segments of 9,335 paragraphs",
        r"spike in the 2000s",
        r"about Vietnam joins '[^']*vietnam",
        r"One by one equals a batch: True",
        r"report\.html: [\d,]+ bytes",
    ],
    "10": [
        r"1\. One ONNX file",
        r"(?m)^   (1,000|99\d) of 1,000 texts have the same latents; values differ by at most [0-9]e-0[678]$",
        r"'health insurance for children':\n   .*health",
    ],
    "11": [
        r"queries whose ids are those of search; largest difference of scores\n",
        r"aggregate over packed codes .*  30 of 30  0e\+00",
        r"the same of the last half .*  30 of 30  0e\+00",
        r"inverted table, 256 entries .*  30 of 30  [0-9]e-0[789]",
    ],
}

CHAPTERS = ["1_what_a_code_is", "2_forward_by_hand", "3_backward_by_hand", "4_train", "5_search", "6_why_bits_differ"]
"""The chapters of ``examples/learn``."""

LESSON = re.compile(
    r"Equations: (?P<equations>.+?)\. Pages of spec/: (?P<pages>.+?)\. Chapter: examples/learn/(?P<chapter>\w+)\.py\."
)
"""The last line of an example's docstring."""


def cited(text: str) -> list[str]:
    """Return the equations and rules of a list such as "E3 to E5, R10"."""
    first_and_last = (re.fullmatch(r"([ER])(\d+)(?: to \1(\d+))?", part) for part in text.split(", "))
    return [
        f"{kind}{number}"
        for kind, first, last in (found.groups() for found in first_and_last)
        for number in range(int(first), int(last or first) + 1)
    ]


def test_there_are_examples():
    assert [path.name[:2] for path in EXAMPLES] == sorted(SHOWN)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path, tmp_path):
    if path.name.startswith("07"):
        pytest.importorskip("qdrant_edge")
    if path.name.startswith("10"):
        pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    command = [sys.executable, "-W", "error", str(path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for shown in SHOWN[path.name[:2]]:
        assert re.search(shown, run.stdout), f"{shown} is not in\n{run.stdout}"
    assert not re.search(r"\bFalse\b", run.stdout), run.stdout
    assert not list(tmp_path.iterdir()), "it left files behind"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_names_its_equations_and_its_chapter(path):
    line = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[-1]
    found = LESSON.fullmatch(line)
    assert found, f"{line!r} is not of the form {LESSON.pattern}"
    spec = path.parent.parent / "spec"
    stated = [
        set(re.findall(r"\*\*([ER]\d+)\*\*", (spec / page).read_text(encoding="utf-8")))
        for page in found["pages"].split(", ")
    ]
    named = set(cited(found["equations"]))
    assert named <= set().union(*stated), "no page of these states it"
    assert all(named & page for page in stated), "a page states none of them"
    assert found["chapter"] in CHAPTERS


def test_examples_that_are_named_anywhere_exist():
    root = BENCH.parent.parent
    texts = [
        *root.glob("*.md"),
        *root.glob("spec/*.md"),
        *root.glob("examples/**/*.md"),
        *root.glob("examples/**/*.py"),
    ]
    named = {
        name
        for path in texts
        if "node_modules" not in path.parts
        for name in re.findall(r"\b[01]\d_[a-z_]+\b", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= {path.stem for path in EXAMPLES}


def test_a_list_of_equations_is_read():
    assert cited("E3, E9 to E11, R2") == ["E3", "E9", "E10", "E11", "R2"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_computes_more_than_it_prints(path):
    """Results speak; explanations are comments and docstrings, which a reader of the source sees."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert 0 < sum(call.end_lineno - call.lineno + 1 for call in prints) < 10


def test_relevance_of_packages_is_their_highest_grade():
    """Package 0 asks for 1 to 4: same source and a dependency, a dependency, a suggestion, the same source."""
    relations = {
        "source": np.array([7, 7, 3, 4, 7, 7]),
        "depends_indptr": np.array([0, 2, 2, 2, 2, 2, 3]), "depends_indices": np.array([1, 2, 2]),
        "recsug_indptr": np.array([0, 1, 1, 1, 1, 1, 2]), "recsug_indices": np.array([3, 0]),
    }  # fmt: skip
    pairs, related = relevance.debian(relations, np.array([5, 0]), np.array([4, 3, 2, 1]))
    assert pairs.tolist() == [[0, 0, 2], [0, 2, 1], [0, 3, 2], [1, 0, 2], [1, 1, 1], [1, 2, 1], [1, 3, 2]]
    assert related.tolist() == [[3, 0, 2]]


def test_relevance_of_the_entries_that_ship_is_judged(tmp_path):
    command = [sys.executable, str(RELEVANCE), "wordnet", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    pairs, queries, items = (np.load(tmp_path / f"{name}.npy") for name in ("pairs", "queries", "items"))
    judged = as_relevance(pairs, len(queries), len(items))
    assert f"{len(pairs)} pairs for {len(judged)} queries" in done.stdout
    assert (len(queries), len(items)) == (500, 4010)
    dense = nearest_dense(queries, items, 10).ids
    assert ndcg_at(dense, judged) > 0.5 > 0.1 > ndcg_at(np.roll(dense, 1, axis=0), judged)
    assert f"{len(np.load(tmp_path / 'related.npy')):,} pairs of items" in done.stdout


def test_the_addresses_that_ship_are_dated_paragraphs_with_their_own_vectors():
    found = load_addresses()
    n = len(found.texts)
    assert (demo_folder() / "addresses.npz").stat().st_size <= 3_500_000
    assert f"{n:,} paragraphs" in Addresses.__doc__
    assert {len(column) for column in found} == {n}
    assert (found.vectors.shape, found.vectors.dtype, found.dates.dtype) == ((n, 384), np.float16, "M8[D]")
    assert all(map(str.strip, (*found.texts, *found.presidents, *found.parties)))
    assert len(set(found.texts)) == n
    assert max(map(len, found.texts)) <= 400
    years = found.dates.astype("M8[Y]").astype(int) + 1970
    assert (np.diff(found.dates).astype(int) >= 0).all()
    assert (years[0], years[-1], np.bincount(years).max()) == (1790, 2026, 44)
    vectors = found.vectors.astype("f4")
    for word in ("slavery", "Panama", "Vietnam", "inflation"):
        holds = np.array([word in text for text in found.texts])
        neighbours = nearest_dense(vectors[holds], vectors, 2).ids[:, 1]
        assert holds[neighbours].mean() > 0.3, word


def test_training_on_relations_raises_the_ndcg_of_queries_that_it_never_saw():
    items, queries, pairs, related = relevance.wordnet(read_demo_file("small_wordnet.npz"))
    judged = as_relevance(pairs, len(queries), len(items))

    def ndcg(**options):
        model = fit(items, n_latents=512, k=16, steps=200, **options).model
        return ndcg_at(search(model.encode(queries, 64), model.encode(items), 10).ids, judged)

    assert ndcg(relevance=related) > ndcg() + 0.03


def test_groups_are_measured_against_labels_seeds_and_halves():
    pytest.importorskip("sklearn")
    groups, others = np.array([0, 0, 0, 1, 1, -1], "i4"), np.array([1, 1, 0, 0, 0, 0], "i4")
    assert segments.gini(groups) == pytest.approx(0.1)
    assert segments.gini(others) == pytest.approx(1 / 6)
    assert segments.purity(groups, others) == 5 / 6
    assert segments.kept(groups, others) == segments.kept(others, groups) == 4 / 6
    assert segments.first_half(np.array(["1901", "1800", "1900", "1800"])).tolist() == [False, True, False, True]
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 8
    x = (np.eye(12)[labels] + 0.05 * rng.standard_normal((400, 12))).astype("f4")
    problem = segments.Problem(x, labels, np.arange(400) < 200, [0, 1])
    found, means = segments.rows(problem, [16], [1], 300, 5)
    assert set(found) >= set(segments.COLUMNS) > set(means)
    for name in ("ARI of seeds", "items kept of seeds", "ARI of halves", "purity", "NMI with labels"):
        assert found[name] == pytest.approx([1.0] * len(found[name])), name
    assert found["purity"] == [1.0, 1.0]
    assert found["groups"] == [8, 8]
    assert means["purity"] == [1.0, 1.0]


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


def test_python_is_measured_in_processes_of_their_own(tmp_path, capsys):
    """Routes whose files are missing are left out, and standard error says so."""
    rng = np.random.default_rng(0)
    x, model = rng.standard_normal((60, 8), np.float32), Model(init_params(8, 32, rng, init="tied"), 4)
    np.save(tmp_path / "queries.npy", x[:5])
    save_model(tmp_path / "model.npz", model)
    save_packed(tmp_path / "packed.npz", pack(encode_refined(x, model)))
    found = python_route.measure(tmp_path, turns=1)
    assert [route.name.split(", ")[1] for route in found] == ["NumPy alone", *(["with Numba"] if HAS["numba"] else [])]
    for route in found:
        assert route.model_bytes == (tmp_path / "model.npz").stat().st_size
        assert route.installed_bytes > 1e7
        assert min(route.encode_ms, route.search_ms, route.peak_mb) > 0
    assert "int8.npz is not in" in capsys.readouterr().err


@given(st.integers(1, 40), st.integers(4, 32))
def test_codes_that_fit_into_bytes_have_as_many_entries_as_fit(size, h):
    model = Model(init_params(4, h, np.random.default_rng(0)), 1)
    found = {bits: k for k, bits in quality.fitting(model, size)}
    codes = model.encode(np.ones((1, 4), np.float32), h)
    for bits in quality.EVERY_BITS:
        sizes = [pack(codes.truncate(k), bits).bytes_per_item for k in range(1, h + 1)]
        expected = max((k for k, stored in enumerate(sizes, 1) if stored <= size), default=None)
        assert found.get(bits) == expected


def test_quality_at_equal_bytes_needs_no_relevance(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((140, 8), np.float32))
    np.save(tmp_path / "q.npy", rng.standard_normal((9, 8), np.float32))
    save_model(tmp_path / "m.npz", Model(init_params(8, 32, rng, init="tied"), 4))
    monkeypatch.setattr(measure, "_tables", [])
    monkeypatch.setattr(pages, "MEASURED", tmp_path)
    monkeypatch.setattr(measure, "MEASURED", tmp_path)
    x, q, model = (str(tmp_path / name) for name in ("x.npy", "q.npy", "m.npz"))
    files = {"embeddings": x, "queries": q, "models": [model, model]}
    quality.quality(argparse.Namespace(**files, relevance=None, baselines=True, sizes=[4, 6], without=()))
    assert "than codes of as few bytes" in capsys.readouterr().out
    measure.keep("sizes", "python sizes", 1)
    shown = pages.VIEWS["at-sizes"](
        [dict(zip(quality.COLUMNS, row, strict=True)) for row in pages.load_measured("sizes")["rows"]]
    )
    assert shown.columns == ["items stored as", "k", "bits", "bytes", "recall@10", "recall@100"]
    labels = [row[0] for row in shown.rows]
    assert {"refined codes, dense queries", "PCA, bits by variance (as SAQ)", "int8"} <= set(labels)
    assert all(int(row[3]) <= 6 for row in shown.rows if row[1])
    assert all("±" in row[-1] for row in shown.rows)


def test_data_sets_are_compared_at_their_best_settings():
    def record(method: str, size: int, *recalls: float, refined: str = "") -> dict[str, object]:
        shares = {"recall@100": [*recalls], "recall@100 ±": [0.01], "nDCG@10": [recalls[0] / 2]}
        return {"method": method, "refined": refined, "bytes": size, **shares}

    first = [
        record("dense", 1536, 1.0),
        record("asymmetric", 29, 0.5, 0.7, refined="refined"),
        record("asymmetric", 30, 0.8, 0.8, refined="refined"),
        record("PQ", 24, 0.5),
        record("PQ", 56, 0.9),
        record("truncation", 28, 0.99),
        record("PCA", 28, 0.99),
        record("RaBitQ", 56, 0.7),
    ]
    second = [record("PQ", 30, 0.75), record("asymmetric", 30, 0.6, refined="refined"), record("PQ", 48, 0.5)]
    for row in second:
        row["nDCG@10"] = None  # no relevance
    shown = pages.data_sets({"sizes-minilm": first, "sizes-wordnet": second})
    assert shown.columns == ["items stored as", "bytes at most", "MiniLM", "WordNet", "MiniLM: nDCG@10, % of dense"]
    assert shown.rows == [
        ["refined codes, dense queries", "30", "0.800 ± 0.010", "0.600 ± 0.010", "80.0"],
        ["PQ", "30", "0.500 ± 0.010", "0.750 ± 0.010", "50.0"],
        ["PQ", "56", "0.900 ± 0.010", "0.500 ± 0.010", "90.0"],
        ["RaBitQ", "56", "0.700 ± 0.010", "", "70.0"],
    ]


SMALL = "--rows 64 --latents 128 --k 4 --turns 1 --budgets 0.2 --picture picture.png"
BENCHMARKS = ["step", "encode", "growth", "numpy", "file", "memory", "minute", "checkpoint"]
WITH_MODEL = [
    "search",
    "items",
    "packed",
    "refine",
    "paper",
    "center",
    "quality",
    "noise",
    "chunks",
    "models",
    "postgres",
    "fitted",
]


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.parametrize("what", [*BENCHMARKS, *WITH_MODEL])
def test_the_benchmark_prints_its_table(what, tmp_path):
    """What takes minutes at any size (start, sustained) is not tried here."""
    if what == "models":
        pytest.importorskip("seismic")
        [needs(engine) for engine in NEEDS]
    if what == "postgres":
        needs("pgvector")
    rng, table = np.random.default_rng(0), r"(?m)^\|( ---:? \|)+$\n\| .*\d.* \|$"
    x, q = rng.standard_normal((300, 32), np.float32), rng.standard_normal((120, 32), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", q)
    np.save(tmp_path / "pairs.npy", np.stack([np.arange(120), (q @ x.T).argmax(axis=1)], axis=1))
    command = [sys.executable, str(BENCH), what, tmp_path / "x.npy", "--queries", tmp_path / "q.npy", *SMALL.split()]
    if what in WITH_MODEL:
        for name in ("model.npz", "other.npz"):
            save_model(tmp_path / name, Model(init_params(32, 128, rng, init="tied"), 4))
        command += ["--model", tmp_path / "model.npz", "--items", "1000", "--faiss", "Flat", "--steps", "20"]
        command += ["--models", tmp_path / "model.npz", tmp_path / "other.npz", "--relevance", tmp_path / "pairs.npy"]
        command += ["--asked", "20"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert re.search(table, run.stdout), run.stdout
    assert (tmp_path / "picture.png").exists() == (what in ("growth", "minute", "items"))


def _one_worse(right: list[Found]) -> list[Found]:
    """The best result of each query is missing."""
    return [Found(hits.ids[1:], hits.scores[1:]) for hits in right]


def _one_wrong(right: list[Found]) -> list[Found]:
    """The best result of each query has another score, by more than rounding."""
    return [Found(hits.ids, [hits.scores[0] + 2 * models.ROUNDING, *hits.scores[1:]]) for hits in right]


@pytest.mark.parametrize(("change", "exact"), [(_one_worse, True), (_one_wrong, True), (_one_wrong, False)])
def test_an_engine_that_answers_wrongly_is_not_timed(change, exact):
    rng = np.random.default_rng(0)
    x, q = rng.standard_normal((300, 32), np.float32), rng.standard_normal((20, 32), np.float32)
    model = Model(init_params(32, 128, rng, init="tied"), 4)
    right = models.our_search(model, x, q, "sparse", False, 16)
    problem = models.Problem({"model": model}, x, q, 1, right, {0: {right[0].ids[0]: 1}})
    checked = functools.partial(models.checked, problem=problem, model=model, x=x, query_k=16, exact=exact)
    assert checked(lambda queries, query_k: right) == ("1.0000", "100.0", "1.0000")
    with pytest.raises(SystemExit, match="expected the same"):
        checked(lambda queries, query_k: change(right))


RNG = np.random.default_rng(0)
SCORES, HAMMING = RNG.uniform(-1, 1, (5, 300)), RNG.integers(0, 20, (5, 300))
TWO_STAGES = np.argsort(HAMMING, axis=1, kind="stable")[:, :150]  # ties at the end: any 150 of the nearest are right
TWO_STAGES = np.take_along_axis(
    TWO_STAGES, np.argsort(-np.take_along_axis(SCORES, TWO_STAGES, axis=1), axis=1)[:, :100], axis=1
)


@pytest.mark.parametrize(
    ("first", "right"), [(None, postgres_problem.best(SCORES, 100)), ((HAMMING, 150), TWO_STAGES)], ids=["scan", "bits"]
)
def test_sql_that_answers_wrongly_is_not_timed(first, right):
    """Right results pass. A wrong score never does, and a missed item only where search is approximate."""
    problem = argparse.Namespace(near=right, relevance=None)
    variant = postgres_problem.Variant("", "", "", "", SCORES, {}, first=first)
    distances = -np.take_along_axis(SCORES, right, axis=1)
    assert postgres.checked(variant, right, distances, problem) == ["1.0000", "1.0000", ""]
    for change, exact, fails in (
        ("score", True, True),
        ("score", False, True),
        ("miss", True, True),
        ("miss", False, False),
    ):
        ids, wrong = right.copy(), distances.copy()
        if change == "score":
            wrong[2, 7] += 2 * postgres_problem.ROUNDING
        else:
            ids[2], wrong[2] = np.append(ids[2, 1:], -1), np.append(wrong[2, 1:], np.inf)
        changed = dataclasses.replace(variant, exact=exact)
        with pytest.raises(SystemExit, match="expected the same") if fails else contextlib.nullcontext():
            postgres.checked(changed, ids, wrong, problem)
