"""``choose``: the best of what was measured, estimates from a sample, and commands that do what they promise."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Index, Model, evaluate, init_params, load_model, save_model
from compressae_ref.backends import get_backend
from compressae_ref.cli.choose_commands import Choice
from compressae_ref.cli.choose_steps import verdict
from compressae_ref.cli.choose_text import WIDTH
from compressae_ref.cli.main import command_line, main
from compressae_ref.evaluation.choose import ENGINES, PACKAGE, Goal, Option, best, nearest
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.measured_options import Measured, smallest
from compressae_ref.evaluation.other_methods import among
from compressae_ref.evaluation.sample import Sample, smaller_sample
from compressae_ref.extensions.residual_fit import bytes_range
from compressae_ref.files.packed_file import load_packed
from compressae_ref.files.residual_file import load_residual
from compressae_ref.retrieval.brute_force import nearest_dense

D, H, K, N, N_QUERIES = 16, 64, 8, 400, 30
NUMPY = ("--backend", "numpy")
MEASURED = Path(__file__).parent.parent / "examples" / "pages" / "measured"


def option(size: int, recall: float, share: float = 0.0, k: int | None = 4, error: float = 0.0) -> Option:
    row = Row("int8" if k is None else "asymmetric", k, None, size, 1.0, {100: recall}, recall_error={100: error})
    return Option(PACKAGE, row, share)


shares = st.integers(0, 20).map(lambda number: number / 20)
some_options = st.lists(st.builds(option, st.integers(1, 40), shares, shares), max_size=12)
goals = st.one_of(
    st.builds(Goal, st.just("bytes"), st.integers(1, 40)), st.builds(Goal, st.sampled_from(["recall", "ndcg"]), shares)
)


@given(some_options, goals)
def test_the_choice_is_the_best_of_what_was_measured(options, goal):
    def reaches(each: Option) -> bool:
        quality = each.row.recall[100] if goal.kind == "recall" else each.share
        return each.row.bytes_per_item <= goal.value if goal.kind == "bytes" else quality >= goal.value

    chosen, reaching = best(options, goal), [each for each in options if reaches(each)]
    assert (chosen is None) == (not reaching)
    if chosen is None:
        closest = nearest(options, goal)
        assert closest is None or not reaches(closest)
        return
    assert reaches(chosen)
    for other in reaching:
        if goal.kind == "bytes":
            assert other.recall <= chosen.recall
        else:
            assert other.row.bytes_per_item >= chosen.row.bytes_per_item


@given(st.integers(20, 300), st.integers(20, 400), st.integers(1, 20), st.integers(1, 60), st.sampled_from([8, 16]))
def test_the_search_for_the_smallest_number_stays_in_its_range(most, threshold, least, first, parts):
    asked = []

    def reaches(number: int) -> bool:
        asked.append(number)
        return number >= threshold

    found = smallest(reaches, most, least=least, first=first, parts=parts)
    assert all(least <= number <= most for number in asked)
    assert (found is None) == (threshold > most)
    assert found is None or threshold <= found <= max(threshold, threshold * parts / (parts - 1) + 1)


@given(st.integers(1, 130), st.integers(1, 140))
def test_the_search_for_the_smallest_k_finds_it_within_an_eighth(most, threshold):
    asked = []

    def reaches(k: int) -> bool:
        asked.append(k)
        return k >= threshold

    found = smallest(reaches, most)
    assert all(1 <= k <= most for k in asked)
    if threshold > most:
        assert found is None
    else:
        assert found is not None
        assert threshold <= found <= max(threshold, threshold * 8 / 7 + 1)
    assert len(asked) == len(set(asked)) <= 12


def test_bytes_in_engines_are_those_that_were_measured():
    measured = json.loads((MEASURED / "stores.json").read_text("utf-8"))
    place = {name: column for column, name in enumerate(measured["columns"])}
    found = {
        (row[place["engine"]], float(row[place["bytes per item, code"]]))
        for row in measured["rows"]
        if row[place["codes"]]
    }
    of_32 = {engine.name: engine.bytes_of(32) for engine in ENGINES}
    assert {size for engine, size in found if engine.startswith("pgvector")} == {of_32["PostgreSQL with pgvector"]}
    assert {size for engine, size in found if engine.startswith("Qdrant")} == {of_32["Qdrant"]}


@given(st.sampled_from(ENGINES), st.integers(0, 5000))
def test_no_code_in_an_engine_takes_more_than_the_budget(engine, size):
    k = engine.most_entries(size)
    assert k == 0 or engine.bytes_of(k) <= size
    assert engine.bytes_of(k + 1) > size


# -- samples ----------------------------------------------------------------------------------------------------------


def sample_of(rng, n, n_all=None, top=5, relevance=None) -> Sample:
    items = rng.standard_normal((n, D)).astype(np.float32)
    part = smaller_sample(n, np.zeros(0, np.int64), rng)
    return Sample(items, rng.standard_normal((40, D)).astype(np.float32), n_all or n, top, part, relevance)


def test_a_sample_of_all_items_estimates_nothing():
    sample = sample_of(np.random.default_rng(0), 200)
    assert sample.factor == 0
    recall = sample.recall(sample.found(sample.dense))
    assert (recall.mean, recall.error, recall.extrapolated) == (1, 0, False)


def test_a_loss_that_grows_with_the_logarithm_of_the_items_is_extrapolated():
    """A search that misses the nearest item among the sample, and finds all among its part."""
    sample = sample_of(np.random.default_rng(0), 400, n_all=6400, top=40)

    def find(top, allowed):
        ids = sample.dense(top + 1, allowed)
        return ids[:, 1:] if allowed is None else ids[:, :top]

    recall = sample.recall(sample.found(find))
    assert sample.factor == pytest.approx(2)  # 100, 400, 6,400
    assert sample.shallow == 5  # of 100 and 400, as 40 of 400 and 6,400: the same depths but for a shift
    assert recall.extrapolated
    assert recall.mean == pytest.approx(39 / 40 - 2 / 5)


def test_the_interval_holds_that_of_the_trend_and_of_the_queries():
    rng = np.random.default_rng(0)
    sample = sample_of(rng, 400, n_all=1600)
    noisy = replace(sample, items=sample.items + 0.5 * rng.standard_normal(sample.items.shape).astype(np.float32))
    recall = sample.recall(sample.found(noisy.dense))
    alone = replace(sample, n=400).recall([noisy.dense(5, None)])
    assert recall.error > alone.error > 0


@given(st.integers(1, 60), st.integers(1, 10), st.randoms(use_true_random=False))
def test_results_of_a_part_are_those_of_the_whole_that_are_in_it(n, top, random):
    rng = np.random.default_rng(random.randrange(2**32))
    ids = np.stack([rng.permutation(n) for _ in range(3)])
    allowed = np.flatnonzero(rng.random(n) < 0.5)
    found = among(ids, top, allowed)
    for row, expected in zip(found, ids, strict=True):
        inside = [item for item in expected.tolist() if item in allowed][:top]
        assert row.tolist() == inside + [-1] * (min(top, n) - len(inside))


def test_an_engine_that_refuses_signs_returns_what_signed_codes_find():
    rng = np.random.default_rng(0)
    model, sample = Model(init_params(D, H, rng, init="tied"), K), sample_of(rng, 300, top=10)
    measured = Measured(model, sample, get_backend("numpy"))
    for space, refined in (("sparse", False), ("expanded", True)):
        codes, allowed = measured.codes(K, refined), np.arange(0, 300, 2)
        for which in (None, allowed):
            signed = measured.searches.exact(space, codes, 16)(10, which)
            split = measured.searches.split(space, codes, 16)(10, which)
            shared = [len(np.intersect1d(*pair)) for pair in zip(signed, split, strict=True)]
            assert np.mean(shared) > 9.5
            index = Index.build(codes, space=space, model=model, backend="numpy")
            np.testing.assert_array_equal(signed, index.search(sample.queries, 10, query_k=16, allowed=which).ids)
            assert which is None or np.isin(split, which).all()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, D))
    x = (centres[rng.integers(40, size=N + N_QUERIES)] + 0.5 * rng.standard_normal((N + N_QUERIES, D))).astype("f4")
    pairs = np.stack([np.arange(N_QUERIES), rng.permutation(N)[:N_QUERIES]], axis=1)
    return x[:N], x[N:], pairs, Model(init_params(D, H, rng, init="tied"), K)


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    x, queries, pairs, model = data
    monkeypatch.chdir(tmp_path)
    np.save("my items.npy", x)
    np.save("queries.npy", queries)
    np.save("pairs.npy", pairs)
    save_model("model.npz", model)
    return tmp_path


@pytest.fixture
def chosen(folder, capsys):
    def chosen(*arguments: object) -> dict:
        assert main(["choose", *map(str, arguments), *NUMPY, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return chosen


def run_all(commands: list[str], capsys) -> str:
    """Run commands one by one, as a user would type them; return what the last one printed."""
    out = ""
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "compressae-ref"
        assert main([*arguments, *([] if arguments[0] == "search" else NUMPY)]) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
    return out


def test_the_commands_give_the_bytes_and_the_recall_that_are_promised(folder, chosen, data, capsys):
    x, queries, _, model = data
    found = chosen("model.npz", "my items.npy", "queries.npy", "--bytes", 12)
    choice = found["choices"][0]
    assert choice["alternative"] is None  # residual codes take more bytes
    row = choice["option"]["row"]
    assert (choice["serving"], choice["met"], found["items"]) == (PACKAGE, True, N)
    assert row["bytes_per_item"] <= 12
    hits = run_all(choice["commands"], capsys)
    packed = load_packed(shlex.split(choice["commands"][1])[4])
    assert (packed.bytes_per_item, packed.k, packed.bits) == (row["bytes_per_item"], row["k"], row["bits"])
    rows = evaluate(model, x, queries, ks=[row["k"]], tops=[10], bits=[row["bits"]], backend="numpy")
    same = [each for each in rows if (each.method, each.bits, each.refined) == ("asymmetric", row["bits"], True)]
    assert row["refined"]
    assert same[0].recall[10] == pytest.approx(row["recall"]["10"])
    assert same[0].recall_error[10] == pytest.approx(row["recall_error"]["10"])
    assert found_by(hits, queries, x) == pytest.approx(row["recall"]["10"])  # all items were measured
    for each in found["measured"]:
        if each["serving"] == PACKAGE:
            assert each["row"]["recall"]["10"] <= row["recall"]["10"]
            assert each["row"]["bytes_per_item"] <= 12


def found_by(hits: str, queries, x) -> float:
    """Return recall@10 of the hits that ``search`` prints."""
    ids = np.array([[int(hit.split(":")[0]) for hit in line.split("\t")[1].split()] for line in hits.splitlines()])
    truth = nearest_dense(queries, x, 10).ids
    return float(np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(ids, truth, strict=True)]))


def ways_of(choice: dict) -> list[dict]:
    """Return the way that is recommended, and the alternative."""
    return [choice, *([choice["alternative"]] if choice["alternative"] else [])]


@pytest.mark.parametrize("size", [20, 26, 28, 900])
def test_residual_codes_are_offered_beside_packed_codes(folder, chosen, data, capsys, size):
    x, queries, _, model = data
    least, most = bytes_range(model)
    choice = chosen("model.npz", "my items.npy", "queries.npy", "--bytes", size)["choices"][0]
    ways = {way["option"]["row"]["method"]: way for way in ways_of(choice)}
    assert set(ways) == ({"asymmetric", "residual"} if size >= least else {"asymmetric"})
    assert choice["option"]["row"]["recall"]["10"] == max(way["option"]["row"]["recall"]["10"] for way in ways.values())
    for method, way in ways.items():
        row = way["option"]["row"]
        assert row["bytes_per_item"] <= size
        assert found_by(run_all(way["commands"], capsys), queries, x) == pytest.approx(row["recall"]["10"])
        if method == "residual":
            codes = load_residual(shlex.split(way["commands"][0])[5])
            assert (codes.bytes_per_item, codes.codec.k) == (row["bytes_per_item"], row["k"])
            assert row["bytes_per_item"] <= most
            (same,) = evaluate(model, x, queries, ks=[1], tops=[10], residual=[size if size < most else most])[-1:]
            assert same.recall[10] == pytest.approx(row["recall"]["10"])
            assert same.recall_error[10] == pytest.approx(row["recall_error"]["10"])


def test_the_smallest_size_of_both_kinds_reaches_the_quality(folder, chosen, data):
    few = Model(init_params(D, 8, np.random.default_rng(0), init="tied"), 4)
    save_model("few.npz", few)
    for goal in (0.2, 0.5, 0.9):
        found = chosen("few.npz", "my items.npy", "queries.npy", "--recall", goal)
        of_package = [each["row"] for each in found["measured"] if each["serving"] == PACKAGE]
        sizes = {}
        for row in of_package:
            if row["recall"]["10"] >= goal:
                sizes.setdefault(row["method"], []).append(row["bytes_per_item"])
        chosen_row = found["choices"][0]["option"]["row"]
        assert found["choices"][0]["met"] == bool(sizes)
        assert not sizes or chosen_row["bytes_per_item"] == min(map(min, sizes.values()))
    assert set(sizes) == {"residual"}  # 8 latents do not tell 16 dimensions apart


def test_residual_codes_are_measured_where_there_are_any(data):
    *_, model = data
    atoms = np.asarray(model.params.W_dec, np.float32)
    exact = Sample(np.zeros((9, D), np.float32), atoms[:3], 9, 1, np.zeros(9, bool))
    measured = Measured(model, exact, get_backend("numpy"))
    assert measured.residual(60) is None
    rough = Measured(model, replace(exact, items=atoms[:9] + atoms[9:18]), get_backend("numpy"))
    assert rough.residual(bytes_range(model)[0] - 1) is None
    option = rough.residual(10**6)
    assert option is not None
    assert option.row.bytes_per_item <= bytes_range(model)[1]


def test_all_commands_are_of_this_package(folder, chosen):
    parser, kinds = command_line(), set()
    for goal in (("--bytes", 300), ("--recall", 0.5), ("--ndcg", 0.3, "--relevance", "pairs.npy")):
        for choice in chosen("model.npz", "my items.npy", "queries.npy", *goal)["choices"]:
            assert choice["met"], (goal, choice)
            for way in ways_of(choice):
                assert bool(way["commands"]) != bool(way["statements"])
                for command in way["commands"]:
                    parsed = parser.parse_args(shlex.split(command)[1:])
                    kinds.add(parsed.command)
    assert kinds == {"encode", "pack", "push", "search"}


@pytest.mark.parametrize("goal", [("--bytes", 39), ("--bytes", 40), ("--recall", 0.2), ("--recall", 1)])
def test_halfvec_is_named_for_postgresql_where_the_goal_allows_it(folder, chosen, goal):
    """A halfvec of 16 dimensions takes 40 bytes: as many as a code of 3 entries."""
    found = chosen("model.npz", "my items.npy", "queries.npy", *goal)
    postgres = next(choice for choice in found["choices"] if choice["serving"].startswith("PostgreSQL"))
    halves = [way for way in ways_of(postgres) if way["option"]["row"]["method"] == f"halfvec({D})"]
    assert bool(halves) == (goal != ("--bytes", 39))
    for way in halves:
        assert way["option"]["row"]["bytes_per_item"] == 2 * D + 8
        float16 = next(each["row"] for each in found["measured"] if each["row"]["method"] == "float16")
        assert way["option"]["row"]["recall"] == float16["recall"]
        assert way["commands"] == []
        assert f"ADD COLUMN half halfvec({D});" in way["statements"][0]
    if goal == ("--bytes", 40):
        assert postgres["option"]["row"]["method"] == f"halfvec({D})"
        assert postgres["alternative"]["option"]["row"]["k"] == 3
    others = [choice for choice in found["choices"] if choice is not postgres]
    assert "halfvec" not in json.dumps(others)


def test_the_bytes_of_a_halfvec_are_those_that_were_measured():
    measured = json.loads((MEASURED / "postgres.json").read_text("utf-8"))
    at = measured["columns"].index("bytes per item: values")
    sizes = {int(row[at]) for row in measured["rows"] if row[0] == "halfvec(384)"}
    assert sizes == {engine.half_bytes(384) for engine in ENGINES if engine.half}


def test_a_sample_contains_the_judged_items_and_says_so(folder, chosen):
    goal = ("--ndcg", 0.3, "--relevance", "pairs.npy", "--sample", 200)
    found = chosen("model.npz", "my items.npy", "queries.npy", *goal)
    assert found["sample"]["items"] == 200
    assert any(f"all {N_QUERIES} items that are relevant" in note for note in found["notes"])
    assert all(each["share"] is not None for each in found["measured"])


def test_without_a_model_it_trains_and_says_how_to_train_the_real_one(folder, capsys):
    arguments = ["choose", "my items.npy", "--bytes", "300", "--steps", "3", "--keep-model", "kept.npz"]
    assert main([*arguments, *NUMPY]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"no MODEL given: training two models on the sample, 3 and 3 steps, about [\d.]+ s\n", err)
    assert "models that were trained on the sample" in err
    assert load_model("kept.npz").training["steps"] == 3
    assert "compressae-ref train 'my items.npy' -o my_items.dense.model.npz --serve dense" in out
    assert "compressae-ref train 'my items.npy' -o my_items.sparse.model.npz --serve sparse" in out
    assert not [line for line in (out + err).splitlines() if len(line) > WIDTH]


def test_what_cannot_be_had_is_said(folder, chosen, capsys):
    found = chosen("model.npz", "my items.npy", "queries.npy", "--bytes", 3)
    assert [choice["option"] is None for choice in found["choices"]] == [False] + [True] * len(ENGINES)
    assert [choice["least"] for choice in found["choices"]] == [2, 24, 157, 8]
    save_model("few.npz", Model(init_params(D, 8, np.random.default_rng(0), init="tied"), 4))
    found = chosen("few.npz", "my items.npy", "queries.npy", "--recall", 1)
    assert [choice["met"] for choice in found["choices"]] == [False, True, False, False]  # halfvec
    assert "do not reach the goal. Use int8: recall@10 1.000 ± 0.000 in 16 bytes." in found["better"]
    assert main(["choose", "few.npz", "my items.npy", "queries.npy", "--recall", "1", *NUMPY]) == 0
    assert capsys.readouterr().out.count("does not reach the goal; the best that was measured is recall@10 ") == 3


def test_a_budget_below_all_codes_is_an_error_that_names_the_smallest(folder, capsys):
    """It is found before a training."""
    for model in (["model.npz"], []):
        assert main(["choose", *model, "my items.npy", "queries.npy", "--bytes", "1", *NUMPY]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "training" not in err
        *_, error = err.splitlines()
        assert error.startswith(
            "compressae-ref: --bytes: expected at least 2 bytes, got 1; the smallest codes take 2 for"
        )
        assert "24 for PostgreSQL with pgvector, 157 for Qdrant, 8 for Milvus, Elasticsearch" in error


def test_the_verdict_for_a_quality_names_the_method_that_needs_fewer_bytes():
    others = [option(1536, 1.0, k=None), option(384, 0.99, k=None)]
    codes = option(400, 0.98)
    goal = Goal("recall", 0.95)
    choice = Choice(PACKAGE, codes, True, 2, None, [], [])
    assert verdict(goal, choice, others, []) == "Use int8: it reaches the goal in 384 bytes."
    assert verdict(goal, choice._replace(option=option(300, 0.96)), others, []) is None
    missed = verdict(Goal("recall", 0.999), choice._replace(met=False), others, [])
    assert missed is not None
    assert "do not reach the goal, and neither does another method" in missed
    assert "the best is int8 with recall@100 0.990 ± 0.000" in missed


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        ("choose model.npz queries.npy", "exactly one of --bytes, --recall and --ndcg, got none"),
        ("choose model.npz queries.npy --bytes 9 --recall 0.5", "got --bytes and --recall"),
        ("choose model.npz --bytes 9", "expected EMBEDDINGS after the model"),
        ("choose queries.npy queries.npy queries.npy --bytes 9", "expected a model, or EMBEDDINGS and QUERIES alone"),
        ("choose model.npz queries.npy --bytes 0", "at least 1"),
        ("choose model.npz queries.npy --recall 0", "recall: expected a number above 0 and at most 1, got 0"),
        ("choose model.npz queries.npy --recall nan", "at most 1, got nan"),
        ("choose model.npz queries.npy --recall -0.5", "at most 1, got -0.5"),
        ("choose model.npz queries.npy --recall 85", "got 85; for 85 % use --recall 0.85"),
        (
            "choose model.npz queries.npy queries.npy --ndcg 1.5 --relevance pairs.npy",
            "ndcg: expected a number above 0",
        ),
        ("choose model.npz queries.npy queries.npy --ndcg 0.9", "expected --relevance with --ndcg"),
        ("choose model.npz queries.npy --bytes 9 --top 0", "top: expected an integer of at least 1, got 0"),
        ("choose model.npz queries.npy --bytes 9 --top 500", "500"),
        ("choose model.npz queries.npy --bytes 9 --keep-model m.npz", "no --keep-model with a model"),
        ("choose model.npz queries.npy --bytes 9 --sample 1", "sample"),
        ("choose model.npz queries.npy --ndcg 0.9 --relevance pairs.npy", "expected QUERIES with --relevance"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(folder, capsys, line, mention):
    assert main([*line.split(), *NUMPY]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert mention in err


def test_zero_rows_are_left_out_and_the_commands_too(folder, chosen, data, capsys):
    x, *_ = data
    np.save("zeros.npy", np.where(np.arange(N)[:, None] % 50 == 7, 0, x))
    assert main(["choose", "model.npz", "zeros.npy", "queries.npy", "--bytes", "9", *NUMPY]) == 1
    assert "zeros.npy: expected nonzero rows, got a zero row in row 7" in capsys.readouterr().err
    found = chosen("model.npz", "zeros.npy", "queries.npy", "--bytes", 9, "--zero-rows", "skip")
    assert found["items"] == N - 8
    run_all(found["choices"][0]["commands"], capsys)


def test_the_picture_marks_the_choice(folder, chosen):
    pytest.importorskip("matplotlib")
    chosen("model.npz", "my items.npy", "queries.npy", "--bytes", 12, "--picture", "f.png")
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_sample_that_is_too_small_for_its_neighbours_is_refused(folder, capsys):
    goal = ("choose", "model.npz", "my items.npy", "queries.npy", "--bytes", "30", "--top", "10")
    assert main([*goal, "--sample", "199"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--sample: expected at least 20 sampled items for each neighbour, got 199 of" in line
    assert line.endswith("use --sample 200, or a lower --top")
    assert main([*goal, "--sample", "200"]) == 0
