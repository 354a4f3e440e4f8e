"""The command ``convert``, and other formats in the other commands."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from compressae_ref import Codes, Model, init_params, load_codes, save_codes, save_model
from compressae_ref.cli.any_model import load_any_model
from compressae_ref.cli.main import main
from compressae_ref.files.codes_file import load_ids
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of

N, D, H = 60, 8, 24
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), 3)
NAMES = [f"item {row}" for row in range(N)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model, embeddings, ids and codes, in which commands run."""
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", MODEL)
    np.save("x.npy", X)
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    save_codes("codes.npz", MODEL.encode(X, backend="numpy"))
    return tmp_path


def run(line: str) -> int:
    return main(line.split())


def assert_refused(capsys, line: str, reason: str) -> None:
    assert run(line) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("compressae-ref: ")
    assert err.count("\n") == 1
    assert reason in err


def test_embeddings_from_one_format_to_the_next_and_back(here, capsys):
    chain = ["x.npy", "a.fbin", "b.fvecs", "c.safetensors", "d.npz", "e.npy"]
    for source, target in pairwise(chain):
        assert run(f"convert {source} -o {target}") == 0
        assert f"{target}: {N} embeddings, d {D}" in capsys.readouterr().err
    assert (here / "e.npy").read_bytes() == (here / "x.npy").read_bytes()


def test_ids_from_a_text(here, capsys):
    assert run("convert x.npy -o named.npz --ids names.txt") == 0
    assert ids_of(open_embeddings("named.npz")).tolist() == NAMES
    assert run("convert named.npz -o bare.fbin") == 0
    assert "(without ids, which this format cannot store)" in capsys.readouterr().err
    (here / "numbers.txt").write_text("\n".join(str(7 * row) for row in range(N)))
    assert run("convert codes.npz -o numbered.npz --ids numbers.txt") == 0
    assert load_ids("numbered.npz", N).tolist() == [7 * row for row in range(N)]


def test_ids_go_all_the_way_to_the_results(here, capsys):
    run("convert x.npy -o named.npz --ids names.txt")
    assert run("encode model.npz named.npz -o c.npz --backend numpy") == 0
    assert run("pack c.npz -o p.npz") == 0
    assert run("unpack p.npz -o u.npz") == 0
    assert run("split-signs u.npz -o s.npz") == 0
    assert load_ids("s.npz", N).tolist() == NAMES
    capsys.readouterr()
    for codes in ("c.npz", "p.npz"):
        assert run(f"search model.npz {codes} x.npy --top 1 --backend numpy") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("\t")[1].rpartition(":")[0] for line in lines] == NAMES


@pytest.mark.parametrize("kind", ["csr", "jsonl", "npz"])
def test_codes_from_one_format_to_the_next(here, kind, capsys):
    n_latents = f" --n-latents {H}" if kind == "jsonl" else ""
    assert run(f"convert codes.npz -o other.{kind}") == 0
    assert f"{N} codes, k 3 of {H} latents" in capsys.readouterr().err
    assert run(f"convert other.{kind} -o again.npz{n_latents}") == 0
    again, codes = load_codes("again.npz"), load_codes("codes.npz")
    assert again.indices.tolist() == codes.indices.tolist()
    assert again.values.tolist() == codes.values.tolist()


@pytest.mark.parametrize("kind", ["npz", "csr", "parquet", "arrow", "jsonl"])
def test_encode_writes_what_convert_writes(here, kind):
    if kind in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    assert run(f"encode model.npz x.npy -o encoded.{kind} --backend numpy") == 0
    assert run(f"convert codes.npz -o converted.{kind}") == 0
    found, expected = (open_codes(f"{name}.{kind}", H).load() for name in ("encoded", "converted"))
    assert found.values.tolist() == expected.values.tolist()
    if kind != "parquet":
        assert (here / f"encoded.{kind}").read_bytes() == (here / f"converted.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["csr", "parquet"])
def test_foreign_codes_are_searched_and_judged(here, kind, capsys):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    run(f"convert codes.npz -o other.{kind}")
    capsys.readouterr()
    outputs = []
    for codes in ("codes.npz", f"other.{kind}"):
        assert run(f"search model.npz {codes} x.npy --backend numpy --json") == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert run(f"verify model.npz x.npy other.{kind} --strict --backend numpy") == 0
    assert run(f"inspect other.{kind}") == 0


def test_models_from_one_format_to_the_next(here, capsys):
    assert run("convert model.npz -o a.safetensors") == 0
    assert run("convert a.safetensors -o sae --to saelens") == 0
    assert run("convert sae -o csr --to sentence-transformers") == 0
    assert run("convert csr -o again.npz") == 0
    assert load_any_model("again.npz").digest == MODEL.digest
    assert "a model, d 8, 24 latents, k 3" in capsys.readouterr().err
    for path in ("a.safetensors", "sae", "csr"):
        assert run(f"inspect {path}") == 0
        assert MODEL.digest in capsys.readouterr().out


def test_a_split_code_has_no_model(here):
    run("split-signs codes.npz -o s.csr")
    codes = open_codes("s.csr").load()
    assert codes.n_latents == 2 * H
    assert (codes.values >= 0).all()
    assert isinstance(codes, Codes)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("convert absent.npy -o y.fbin", "absent.npy: No such file"),
        ("convert x.npy -o y.txt", "y.txt: expected a name that ends in .npy, .npz, .fbin"),
        ("convert x.npy -o x.npy", "expected an output that is not an input"),
        ("convert x.npy -o y.csr", "y.csr: expected a name that ends in"),
        ("convert x.npy -o y.bvecs", "x.npy: expected values that uint8 holds exactly, got "),
        ("convert x.npy -o y.fbin --k 3", "expected a model as INPUT with --k, got embeddings"),
        ("convert codes.npz -o y.npz --dtype float16", "expected embeddings as INPUT with --dtype, got codes"),
        ("convert codes.npz -o y.fbin", "y.fbin: expected a name that ends in .npz, .csr"),
        ("convert codes.npz -o y.csr --n-latents 25", "codes.npz: expected n_latents = 25, got 24"),
        (
            "convert model.npz -o y.csr",
            "y.csr: expected a name that ends in .npz, .safetensors or .pt for a model, got 'y.csr'",
        ),
        ("convert model.npz -o y.npz --k 25", "k: expected k from 1 to n_latents = 24, got 25"),
        ("convert model.npz -o y.npz --n-latents 3", "expected codes as INPUT with --n-latents, got a model"),
        ("convert x.npy -o y.npz --ids short.txt", "short.txt: ids: expected 60 ids, one for each row, got 1"),
        (
            "convert x.npy -o y.npz --ids twice.txt",
            "twice.txt: ids: expected unique ids, got 'a' of row 0 again in row 1",
        ),
        (
            "convert x.npy -o y.npz --ids x.npy",
            "x.npy: ids: expected a flat array or list of ids, got float32 of shape (60, 8)",
        ),
        (
            "convert x.npy -o y.npz --ids model.npz",
            "model.npz: expected a UTF-8 text file with one id per line, got 'utf-8' codec can't decode",
        ),
        ("convert x.npy -o no/y.npz", "no: the output folder does not exist"),
        ("encode model.npz x.npy -o y.fbin", "y.fbin: expected a name that ends in .npz, .csr"),
        ("train x.npy::a -o m.npz", "expected a format with named arrays for ::a, got .npy"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(here, capsys, line, reason):
    (here / "short.txt").write_text("a\n")
    (here / "twice.txt").write_text("a\n" * N)
    before = {path: path.read_bytes() for path in here.iterdir()}
    assert_refused(capsys, line, reason)
    assert {path: path.read_bytes() for path in here.iterdir()} == before
