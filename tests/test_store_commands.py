"""The commands ``pull``, ``push``, ``search --store`` and ``demo --store``, with valid and with invalid input."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from compressae_ref import Index, Model, encode_fitted, init_params, load_model, save_model
from compressae_ref.cli import train_steps
from compressae_ref.cli.main import command_line, main
from compressae_ref.errors import CompressaeError
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.stores.contract import Rows, open_store
from compressae_ref.stores.push import ids_in
from tests.engines import Engine

N, D, H = 120, 8, 32
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), 4)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine("edge", tmp_path_factory.mktemp("edge"))


@pytest.fixture
def address(engine, tmp_path, monkeypatch):
    """A shard, with a model and queries in the current folder."""
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", MODEL)
    np.save("q.npy", X[:7])
    return engine.make(engine.ids(N), X)


def run(line: str) -> int:
    return main(line.split())


def test_pull_trains_on_what_is_there(address, capsys):
    assert run(f"pull {address} -o m.npz --n-latents 32 --k 4 --steps 5 --backend numpy --keep kept.npz") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"training on {N} of {N} items, d {D}" in err
    assert f"kept.npz: {N} embeddings with their ids" in err
    assert main(shlex.split(err.splitlines()[-1].removeprefix("next: compressae-ref "))) == 0
    assert f"push m.npz {address}" in err
    kept = open_embeddings("kept.npz")
    assert ids_of(kept).tolist() == [7 * row + 1 for row in range(N)]
    np.testing.assert_allclose(np.asarray(kept), X / np.linalg.norm(X, axis=1, keepdims=True), atol=1e-6)
    assert run("train kept.npz -o again.npz --n-latents 32 --k 4 --steps 5 --backend numpy") == 0
    assert load_model("again.npz").digest == load_model("m.npz").digest


def test_pull_trains_on_some_that_are_evenly_spread(address, capsys):
    assert run(f"pull {address} -o m.npz --n-latents 32 --k 4 --steps 5 --backend numpy --rows 40 --keep kept.npz") == 0
    assert f"training on 40 of {N} items, d {D}" in capsys.readouterr().err
    kept = open_embeddings("kept.npz")
    assert ids_of(kept).tolist() == [7 * row + 1 for row in range(2, N, 3)]
    np.testing.assert_allclose(np.asarray(kept), (X / np.linalg.norm(X, axis=1, keepdims=True))[2::3], atol=1e-6)


def test_an_interrupted_pull_resumes_with_the_command_that_it_says(address, monkeypatch):
    settings = "--n-latents 32 --k 4 --steps 9 --backend numpy"
    assert run(f"pull {address} -o expected.npz {settings} --rows 100") == 0
    say, said = train_steps._say_how_to_resume, []

    def spy(interrupt, *arguments):
        say(interrupt, *arguments)
        said.append(str(interrupt))

    class Stops(train_steps.TrainingBar):
        def __call__(self, progress):
            if progress.step == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(train_steps, "_say_how_to_resume", spy)
    with monkeypatch.context() as patch:
        patch.setattr(train_steps, "TrainingBar", Stops)
        with contextlib.suppress(KeyboardInterrupt):
            assert run(f"pull {address} -o m.npz {settings} --rows 100 --checkpoint c") != 0
    assert not Path("m.npz").exists()
    words = shlex.split(said[0].partition("run: compressae-ref ")[2])
    assert words[:2] == ["pull", address]
    assert main(words) == 0
    assert Path("m.npz").read_bytes() == Path("expected.npz").read_bytes()
    assert run(f"pull {address} -o n.npz --resume c --rows 99") == 1


def test_a_pull_that_is_interrupted_before_training_says_what_is_kept(address, monkeypatch, capsys):
    monkeypatch.setattr(train_steps, "fit", Mock(side_effect=KeyboardInterrupt))
    settings = "--n-latents 32 --k 4 --steps 9 --backend numpy"
    assert run(f"pull {address} -o m.npz {settings} --rows 100 --keep kept.npz") == 130
    said = capsys.readouterr().err
    assert "interrupted; kept.npz is complete; to train on it, run: compressae-ref train kept.npz" in said
    words = shlex.split(said.partition("run: compressae-ref ")[2])
    assert command_line().parse_args(words).n_latents == 32
    assert "--rows" not in words


def test_push_and_the_same_queries_before_and_after(address, capsys):
    field = f"codes_{MODEL.digest[:8]}_k4"
    assert run(f"push model.npz {address} --backend numpy") == 0
    assert f"field {field}: {N} codes written, 0 changed, 0 already present; dense " in capsys.readouterr().err
    assert run(f"push model.npz {address} --backend numpy --json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["field"], said["written"], said["before"]) == (field, 0, N)
    assert said["bytes"]["codes"] > 0
    assert run(f"search model.npz {address} q.npy --store --top 3 --backend numpy") == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[:2] for line in lines[:4]] == [["0", "dense"], ["0", "codes"], ["1", "dense"], ["1", "codes"]]
    assert all(line[2].startswith(f"{7 * int(line[0]) + 1}:") for line in lines if line[1] == "dense")
    share = re.search(r"the codes find ([\d.]+)% of the 3 items that the dense search returns for a query; ", err)[1]
    found = [{hit.partition(":")[0] for hit in line[2].split()} for line in lines]
    mean = np.mean([len(dense & codes) / 3 for dense, codes in zip(found[::2], found[1::2], strict=True)])
    assert float(share) == pytest.approx(100 * mean, abs=0.06)
    assert f"{address}: search in the dense field: exact; search in the codes: exact\n" in err
    assert "approximate" not in err
    assert run(f"search model.npz {address} q.npy --store --json --backend numpy") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["query"] == 0
    assert first["dense"]["ids"][0] == 1
    assert len(first["codes"]["ids"]) == len(first["codes"]["scores"]) <= 10


def test_an_approximate_index_is_named_with_what_to_set(tmp_path, monkeypatch, capsys):
    edge = pytest.importorskip("qdrant_edge")
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", MODEL)
    np.save("q.npy", X[:7])
    vectors = {"dense": edge.EdgeVectorParams(D, edge.Distance.Cosine)}
    early = edge.EdgeOptimizersConfig(indexing_threshold=1)  # kB
    Path("shard").mkdir()
    edge.EdgeShard.create("shard", edge.EdgeConfig(vectors=vectors, optimizers=early)).close()
    store = open_store("edge:shard")
    store.insert(range(N), X, [{}] * N)
    store.optimize()
    store.close()
    assert run("push model.npz edge:shard --backend numpy") == 0
    capsys.readouterr()
    for line in ("search model.npz edge:shard q.npy --store", "evaluate model.npz edge:shard q.npy --store"):
        assert run(f"{line} --backend numpy") == 0
        err = capsys.readouterr().err
        assert re.search(
            r"search in the dense field.*: by an approximate HNSW index; search in the codes.*: exact\n", err
        )
        assert "an approximate index may miss items; to miss fewer, raise ef_construct and m of the HNSW index" in err


def test_search_names_the_ids_of_the_queries(address, capsys):
    assert run(f"push model.npz {address} --backend numpy") == 0
    queries = np.load("q.npy")
    names = [f"q{number}" for number in range(len(queries))]
    np.savez("named.npz", embeddings=queries, ids=np.array(names))
    capsys.readouterr()
    search = f"search model.npz {address} named.npz --store --backend numpy"
    assert run(f"{search} --json") == 0
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [(each["query"], each["id"]) for each in found] == list(enumerate(names))
    assert "named.npz: ids: column ids" in err
    assert run(search) == 0
    lines = [line.split("\t")[:3] for line in capsys.readouterr().out.splitlines()]
    assert lines == [[str(row), name, field] for row, name in enumerate(names) for field in ("dense", "codes")]
    assert run(f"{search} --query-ids none --json") == 0
    assert "id" not in json.loads(capsys.readouterr().out.splitlines()[0])


def test_evaluate_takes_relevant_ids_of_the_store(address, capsys):
    assert run(f"push model.npz {address} --backend numpy") == 0
    Path("pairs.tsv").write_text("query-id\tcorpus-id\tscore\n0\t1\t1\n1\t8\t2\n", encoding="utf-8")
    capsys.readouterr()
    assert run(f"evaluate model.npz {address} q.npy --store --relevance pairs.tsv --json --backend numpy") == 0
    out, err = capsys.readouterr()
    assert "relevance: 2 pairs, queries by row number, items by id" in err
    assert json.loads(out)[0]["ndcg"] == 1  # the queries are near these items


def test_options_of_what_was_pushed(address, capsys):
    options = "--space expanded --k 3 --refine --field mine --backend numpy"
    assert run(f"push model.npz {address} --rows 50 {options}") == 0
    assert run(f"search model.npz {address} q.npy --store {options} --query-k 9") == 0
    assert run(f"push model.npz {address} --field mine --backend numpy") == 1
    assert "expected the codes of this model and these settings in the field 'mine'" in capsys.readouterr().err
    assert run(f"push model.npz {address} --field mine --replace --backend numpy") == 0


OTHERS = [
    "",
    "--k 3",
    "--space expanded",
    "--k 2 --space asymmetric --refine",
    "--refine",
    "--anchors q.npy --space expanded --k 3",
    "--anchors q.npy",
]
"""Settings of a push. No two have the same field."""


@pytest.mark.parametrize("row", range(len(OTHERS)))
def test_codes_with_other_settings_are_named_with_the_options_to_type(address, capsys, row):
    """The law: with the options that are printed, each command finds the codes."""
    pushed, asked = OTHERS[row], OTHERS[row - 1]
    read, asked_of = (line.replace("--anchors q.npy", "--fitted") for line in (pushed, asked))
    assert run(f"push model.npz {address} {pushed} --backend numpy --json") == 0
    out, err = capsys.readouterr()
    field = json.loads(out)["field"]
    assert "also has" not in err
    for name, line in {
        f"search model.npz {address} q.npy --store": asked_of,
        f"evaluate model.npz {address} q.npy --store": asked_of,
        f"verify model.npz {address} --store": asked,
    }.items():
        assert run(f"{name} {line} --backend numpy") == 1
        said = capsys.readouterr().err
        found = re.search(r"got a store without it; it has other codes of this model: use (.*) for (\w+)\n", said)
        assert found[2] == field, said
        assert run(f"{name} {found[1].replace('FILE', 'q.npy')} --backend numpy") == 0, (read, found[1])
        capsys.readouterr()
    np.savez("new.npz", embeddings=X[:9], ids=np.array([7 * row + 1 for row in range(9)]))
    for more in ("--dry-run", "--from new.npz --dry-run", "--from new.npz", ""):
        assert run(f"push model.npz {address} {asked} {more} --backend numpy") == 0
        said = capsys.readouterr().err
        found = re.search(rf"the store also has {field} \(.*\): {N} codes; add (.*) to update it\n", said)
        assert run(f"push model.npz {address} {found[1].replace('FILE', 'q.npy')} --backend numpy") == 0
        assert f"field {field}: 0 codes written, 0 changed, {N} already present" in capsys.readouterr().err


def test_fields_of_other_names_and_other_models(address, capsys):
    save_model("other.npz", Model(init_params(D, H, np.random.default_rng(9)), 4))
    assert run(f"push other.npz {address} --backend numpy") == 0
    assert run(f"push model.npz {address} --field mine --backend numpy") == 0
    assert "also has" not in capsys.readouterr().err
    assert run(f"search model.npz {address} q.npy --store --backend numpy") == 1
    said = capsys.readouterr().err
    assert "push codes with these settings first; its sparse fields are 'codes_" in said
    assert "'mine' (--field NAME)" in said


@pytest.mark.parametrize(("options", "told"), [("--refine", True), ("", False), ("--refine --space expanded", False)])
def test_refined_codes_are_not_for_sparse_space(address, capsys, options, told):
    assert run(f"push model.npz {address} --backend numpy {options}") == 0
    hint = "refined codes have lower recall in sparse space; --space expanded is for them"
    assert (hint in capsys.readouterr().err) == told


def test_codes_that_are_fitted_to_anchors(address, capsys):
    field = f"codes_{MODEL.digest[:8]}_k4_fitted"
    np.save("anchors.npy", X[::2])
    assert run(f"push model.npz {address} --anchors anchors.npy --backend numpy") == 0
    assert f"field {field}: {N} codes written, 0 changed, 0 already present" in capsys.readouterr().err
    assert run(f"push model.npz {address} --anchors anchors.npy --backend numpy") == 0
    assert "0 codes written" in capsys.readouterr().err
    assert run(f"search model.npz {address} q.npy --store --fitted --json --backend numpy") == 0
    shard = np.load("anchors.npy")  # the engine makes vectors unit: rounding may change the last digits of a score
    x = X / np.linalg.norm(X, axis=1, keepdims=True)
    hits = Index.build(encode_fitted(x, MODEL, shard)).search(MODEL.encode(np.load("q.npy")), 10)
    for line, ids, scores in zip(capsys.readouterr().out.splitlines(), hits.ids, hits.scores, strict=True):
        found = json.loads(line)["codes"]
        assert len(found["ids"]) > 0
        np.testing.assert_allclose(found["scores"], scores[: len(found["ids"])], atol=1e-5)
        assert len(set(found["ids"]) - set((7 * ids + 1).tolist())) <= 1  # two may be equally near
    np.save("others.npy", X[1::2])
    assert run(f"push model.npz {address} --anchors others.npy --backend numpy") == 1
    assert "expected the codes of this model and these settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("push model.npz {address} --anchors q.npy --refine", "expected no --refine with --anchors, got both"),
        ("search model.npz {address} q.npy --store --fitted --refine", "expected refined or fitted codes, got both"),
        ("push model.npz {address} --anchors absent.npy", "absent.npy: No such file"),
        ("search model.npz {address} q.npy --store --fitted", "got a store without it; push codes with these settings"),
        ("search model.npz codes.npz q.npy --fitted", "expected --store with --fitted, got --fitted alone"),
        ("push model.npz {address} --k 33", "k: expected k from 1 to n_latents = 32, got 33"),
        ("push model.npz {address} --rows 0", "rows: expected an integer of at least 1, got 0"),
        ("push model.npz {address}?dense=other", "expected a dense field 'other', got 'dense'"),
        ("push q.npy {address}", "q.npy: expected a model or codes file"),
        ("push model.npz edge:nowhere", "edge:nowhere: expected the folder of a shard"),
        ("push model.npz nowhere", "expected an address of a store, got 'nowhere'; use edge:FOLDER, "),
        ("push wide.npz {address}", "expected d = 9 dimensions as in the model, got 8"),
        ("pull {address} -o none/m.npz", "none: the output folder does not exist"),
        ("pull {address} -o m.npz --keep kept.txt", "kept.txt: expected a name that ends in"),
        ("pull {address} -o m.npz --k 500 --n-latents 32", "k: expected k from 1 to n_latents = 32, got 500"),
        ("search model.npz {address} q.npy --store", "got a store without it; push codes with these settings first"),
        ("search model.npz {address} absent.npy --store", "absent.npy: No such file"),
        ("search model.npz {address} q.npy --store --rescore 5", "expected no --rescore with --store, got both"),
        ("search model.npz codes.npz q.npy --k 3", "expected --store with --k, got --k alone"),
        ("demo --store .", "expected a new or empty folder"),
    ],
)
def test_bad_input_is_one_line(address, capsys, tmp_path, line, reason):
    save_model("wide.npz", Model(init_params(9, H, np.random.default_rng(1)), 4))
    names = {path.name for path in tmp_path.iterdir()}
    assert run(line.format(address=address)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    *told, said = err.splitlines()
    assert said.startswith("compressae-ref: ")
    assert reason in said
    assert all("Traceback" not in line for line in told)
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.slow
def test_the_demo_in_a_store(address, capsys):
    assert run("demo --store here --backend numba") == 0
    out = capsys.readouterr().out
    for shown in ("4,010 WordNet entries", "4,010 codes", "dense field", "codes, expanded", "times smaller"):
        assert shown in out
    assert run("search here/model.npz edge:here/shard here/queries.npy --store --space expanded") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1000


def test_the_commands_of_the_page_about_stores_run(engine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parent.parent / "examples" / "pages" / "stores.md").read_text(encoding="utf-8")
    block = re.findall(r"```sh\n(.*?)```", page, re.S)[0]
    lines = [line for line in block.splitlines() if "demo" not in line]
    assert len(lines) == 3
    x = np.random.default_rng(3).standard_normal((300, 16)).astype(np.float32)
    Path(engine.make([*range(300)], x).removeprefix("edge:")).rename(tmp_path / "shard")
    np.save("queries.npy", x[:5])
    for line in lines:
        command = line.replace("--query-k 1024", "--query-k 200")  # a model of so few rows has 256 latents
        assert main(shlex.split(command, comments=True)[1:]) == 0, capsys.readouterr().err
    assert "% of the 10 items that the dense search returns" in capsys.readouterr().err


def test_without_the_engine_it_says_what_to_install(address, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "qdrant_edge", None)
    assert run(f"push model.npz {address}") == 1
    assert "; pip install 'qdrant-edge-py" in capsys.readouterr().err


def test_lines_of_json_are_points_that_qdrant_takes(address, tmp_path):
    models = pytest.importorskip("qdrant_client.models")
    run("encode model.npz q.npy -o codes.jsonl --backend numpy")
    for row, line in enumerate((tmp_path / "codes.jsonl").read_text().splitlines()):
        point = models.PointStruct(**json.loads(line))
        assert point.id == row
        assert len(point.vector["codes"].indices) == 4


def test_ids_of_a_store_are_kept_exactly_or_refused():
    class Items:
        name = "a store"
        count = staticmethod(lambda: N)

        def __init__(self, ids):
            self.ids = ids

        def scroll(self, rows):
            yield from (Rows(self.ids[start : start + 50], X[start : start + 50]) for start in range(0, N, 50))

    numbers = [*range(2**62, 2**62 + N)]
    assert ids_in(Items(numbers)).tolist() == numbers
    assert ids_in(Items(numbers), 40).tolist() == numbers[2::3]
    for row, wrong in ((3, "00000000-0000-0000-0000-000000000007"), (100, 2**63), (101, numbers[0])):
        with pytest.raises(CompressaeError, match=f"^a store: ids: expected .* in row {row}"):
            ids_in(Items([*numbers[:row], wrong, *numbers[row + 1 :]]))
