"""What people see: lines fit the terminal, progress is shown and goes away, and ``--quiet`` leaves it out."""

from __future__ import annotations

import math
import re
import sys
import time
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compressae_ref.cli import demo_steps, progress, terminal
from compressae_ref.cli.main import COMMANDS, main
from compressae_ref.evaluation.judge import Row
from compressae_ref.layout import GAP, LEAST, PROSE, columns_of, fitted, markdown, width_of
from compressae_ref.training.fit import fit
from tests.terminals import command_on_terminal, on_terminal

WIDTHS = (100, 80, 40)
NUMPY = ("--backend", "numpy")

# -- layout -----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="|\\{}[]"), min_size=1, max_size=30)
sentences = st.lists(texts, max_size=6).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, list[str]], bool]:
    heads = draw(st.lists(sentences.filter(bool), min_size=1, max_size=9, unique=True))
    n = draw(st.integers(0, 4))
    return {head: draw(st.lists(sentences, min_size=n, max_size=n)) for head in heads}, draw(st.booleans())


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@given(tables(), st.integers(LEAST, 130))
@example(({"a": ["long " * 9], "b": ["1"], "c": ["22"]}, True), 20)
@example(({"a": [f"{'x' * 15} ({'y' * 13} •"], "b": ["1"]}, True), 20)
@example(({"a": ["x" * 15], "b": ["12345678"]}, True), 20)  # a word that fits a line, and not the column that is left
def test_a_table_fits_any_width_and_keeps_every_cell(table, width):
    """Every word of every cell is there as often as in the table; a word is broken only if it is wider than a line."""
    columns, right = table
    made = fitted(markdown(columns, right=right), width)
    assert [line for line in made.split("\n") if columns_of(line) > width] == []
    words, left = made.replace("|", " ").split(), squeezed(made)
    for word in chain.from_iterable(cell.split() for cells in columns.values() for cell in cells):
        if columns_of(word) <= width - 4 and word not in ("-", ":", "-:"):
            assert word in words
            words.remove(word)
        else:
            assert squeezed(word) in left


@given(
    st.lists(st.tuples(st.integers(0, 30), st.lists(texts.filter(lambda t: t[0] not in "|"))), max_size=5),
    st.integers(LEAST, 130),
)
def test_prose_fits_any_width_and_keeps_every_word(lines, width):
    prose = "\n".join(" " * indent + "  ".join(words) for indent, words in lines)
    made = fitted(prose, width)
    assert [line for line in made.split("\n") if columns_of(line) > width] == []
    assert squeezed(made) == squeezed(prose)
    if columns_of(prose) <= min(width, PROSE):
        assert made == prose


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_broken_command_can_be_copied(width):
    import shlex

    command = "compressae-ref search 'my model.npz' packed.npz queries.npy --space asymmetric --top 5"
    made = fitted(f"   {command}", width)
    assert "\\\n" in made
    assert shlex.split(made.replace("\\\n", "")) == shlex.split(command)
    made = fitted(f"then, for dense queries: {command}", width)
    assert shlex.split(made.partition(": ")[2].replace("\\\n", "")) == shlex.split(command)


def test_data_for_programs_are_not_wrapped():
    for line in ('{"a": ' + '"b c"' * 50 + "}", "0\t" + "17:0.5 " * 50):
        assert fitted(line, 40) == line


# -- every command on a real terminal ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Embeddings of 300 items, and what each command makes of them."""
    folder = tmp_path_factory.mktemp("on a terminal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        np.save("x.npy", np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32))
        Path("texts.csv").write_text("text,date\n" + "".join(f"word {i},{2000 + i // 30}\n" for i in range(300)))
        for name, line in LINES.items():
            if "{out}" in line:
                assert main(line.format(out=name).split()) == 0
    return folder


LINES = {
    "train": "train x.npy -o {out}.npz --steps 12 --n-latents 64 --k 4 --backend numpy",
    "encode": "encode train.npz x.npy -o {out}.npz --backend numpy",
    "refine": "encode train.npz x.npy -o {out}.npz --refine --backend numpy",
    "fitted": "encode train.npz x.npy -o {out}.npz --anchors x.npy --fit-steps 2 --backend numpy",
    "pack": "pack encode.npz -o {out}.npz --backend numpy",
    "unpack": "unpack pack.npz -o {out}.npz --backend numpy",
    "search": "search train.npz pack.npz x.npy --top 3 --backend numpy",
    "evaluate": "evaluate train.npz x.npy x.npy --k 4 --bits 5 --backend numpy",
    "segments": "segments train.npz x.npy --texts texts.csv --time date --min-items 2 --backend numpy",
    "inspect": "inspect train.npz",
    "audit": "verify train.npz x.npy encode.npz --backend numpy",
    "verify": "verify --only encode-1 --backend numpy",
}
"""A command line for each thing that takes time or prints to people. What ``search`` prints is data."""

SLOW = ("encode", "refine", "fitted", "pack", "unpack", "search", "evaluate", "segments")


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_fit_the_terminal(files, monkeypatch, width, tmp_path):
    monkeypatch.chdir(files)
    monkeypatch.setattr(progress, "DELAY", 0)
    for name, line in LINES.items():
        shown = command_on_terminal(line.format(out=tmp_path / name).split(), width)
        assert shown.code == 0
        wide = [line for line in shown.too_wide(width) if "\t" not in line and str(tmp_path)[:20] not in line]
        assert wide == [], name
        assert "nan" not in shown.err


@pytest.mark.parametrize("width", WIDTHS)
def test_the_demo_fits_the_terminal(monkeypatch, width, demo):
    _, said = demo
    shown = on_terminal(lambda: [terminal.say(text) for text in said] and 0, width)
    assert shown.too_wide(width) == []
    for number in ("1,026,560", "6,159,360", "118.2×", "1536", "384"):
        assert number in shown.out
    assert "compressae-ref train embeddings.npy -o model.npz" in re.sub(r" \\\n *", " ", shown.out)


@pytest.mark.parametrize("width", range(LEAST, 130))
def test_marks_are_on_the_line_of_a_word_and_short_headers_are_explained(width):
    names = {"items stored as": ["dense vectors •", "refined codes, dense queries • (best)", "int8"]}
    heads = ("k", "query k", "bytes/item", "smaller by", "recall@100")
    lines = fitted(markdown(names | {head: ["1.0", "2", "3"] for head in heads}), width).split("\n")
    for line in lines:
        title = line.split(GAP)[0].strip("| -:")
        assert title == "" or re.search(r"\w", title.replace("(best)", ""))
    assert "".join(lines).count("(best)") == 1
    used = set(lines[0].split()) & {"qk", "ratio", "R@100"}
    explained = set(re.findall(r"(\S+): ", " ".join(lines)))
    assert used == explained & {"qk", "ratio", "R@100"}
    assert not used or "qk: query k; ratio: smaller by; R@100: recall@100" in " ".join(" ".join(lines).split())


def test_a_pipe_gets_the_whole_table(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setenv("COLUMNS", "40")
    assert main(LINES["evaluate"].split()) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line]
    assert all(line.startswith("| ") for line in rows)
    assert len({len(line) for line in rows}) == 1
    assert len(rows[0]) > 80


def test_columns_overrides_the_terminal(monkeypatch):
    def width(columns):
        monkeypatch.setenv("COLUMNS", columns)
        return width_of(sys.stdout)

    widths = []

    def work():
        widths.extend(map(width, ("72", "0", "-3", "many", "5")))
        return 0

    on_terminal(work, 60)
    assert widths == [72, 60, 60, 60, LEAST]


# -- progress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """Progress is shown at once, and what takes one step takes several."""
    from compressae_ref import unit_blocks
    from compressae_ref.cli import pack, search

    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(unit_blocks, "ROWS_PER_BLOCK", 64)
    monkeypatch.setattr(pack, "ROWS", 64)
    monkeypatch.setattr(search, "QUERIES", 64)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", SLOW)
def test_progress_is_shown_and_changes_nothing(files, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(files)
    line = LINES[name].format(out=tmp_path / "seen").split()
    shown = command_on_terminal(line, 200)
    assert shown.code == 0
    bars = re.findall(r"(\d+)%\|", shown.err)
    assert (bars[-1:] == ["100"]) if name != "evaluate" else ("measured: codes" in shown.err)
    quiet = command_on_terminal([*line, "-q"], 200)
    assert (quiet.code, quiet.err, quiet.out) == (0, "", shown.out)
    written = [path.read_bytes() for path in tmp_path.iterdir()]
    assert main(LINES[name].format(out=tmp_path / "seen").split()) == 0
    piped = capsys.readouterr()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == written
    assert "%|" not in piped.err
    if name == "search":
        assert piped.out == shown.out


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["encode", "refine", "search"])
@pytest.mark.parametrize("tqdm", [True, False], ids=["tqdm", "plain"])
def test_an_error_stands_below_the_bar_and_names_the_row(files, tmp_path, monkeypatch, name, tqdm):
    monkeypatch.chdir(files)
    x = np.load("x.npy")
    x[200] = np.nan
    np.save(tmp_path / "bad.npy", x)
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    shown = command_on_terminal(
        LINES[name].replace("x.npy", str(tmp_path / "bad.npy")).format(out=tmp_path / "c").split(), 60
    )
    assert shown.code == 1
    *_, bar, error = shown.left()
    assert ("%|" in bar) if tqdm else re.fullmatch(r"(row|query) \d+ of 300, \d+ s left", bar)
    assert error.startswith(f"compressae-ref: {tmp_path / 'bad.npy'}: ")
    assert error.endswith("in row 200")
    assert not (tmp_path / "c.npz").exists()


@pytest.mark.parametrize("tqdm", [True, False], ids=["tqdm", "plain"])
@pytest.mark.parametrize("width", [*WIDTHS, 20])
def test_the_bar_of_a_training_leaves_out_what_has_no_room(monkeypatch, width, tqdm):
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "SECONDS", 0)
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)

    def train(cosine):
        with progress.TrainingBar() as bar:
            for step in range(1, 1001):
                record = SimpleNamespace(validation_cosine=cosine) if step % 50 == 0 else None
                bar(SimpleNamespace(step=step, steps=1000, losses=SimpleNamespace(loss_k=0.5), record=record))
                time.sleep(0.0002)
        return 0

    for cosine in (math.nan, 0.75):
        shown = on_terminal(partial(train, cosine), width)
        bars = [line for line in shown.lines if "%" in line or "step " in line]
        assert len(bars) > 2
        assert shown.too_wide(width) == []
        assert all("left" in line or "<" in line for line in bars)
        assert not any("nan" in line for line in bars)
        if width >= 80 or tqdm:  # a plain line of 40 columns may have room for the loss
            assert any("loss 0.5000" in line for line in bars) == (width >= 80)
        assert any("validation cosine 0.7500" in line for line in bars) == (width >= 80 and cosine == 0.75)


def test_nothing_is_shown_of_what_is_quick(files, monkeypatch, tmp_path):
    monkeypatch.chdir(files)
    monkeypatch.setattr(progress, "DELAY", 60)
    shown = command_on_terminal(LINES["encode"].format(out=tmp_path / "c").split(), 100)
    assert shown.left()[-1].endswith("latents")
    assert "%" not in shown.err


# -- quiet ------------------------------------------------------------------------------------------------------------


def test_quiet_leaves_errors_and_is_over_with_the_command(files, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(files)
    assert main(["encode", "train.npz", "absent.npy", "-o", str(tmp_path / "c.npz"), "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("compressae-ref: absent.npy: ")
    for line in LINES.values():
        assert main([*line.format(out=tmp_path / "c").split(), "--quiet"]) == 0
        assert capsys.readouterr().err == ""
    assert main(LINES["encode"].format(out=tmp_path / "c").split()) == 0
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2].replace("_", "-") for module in COMMANDS])
def test_every_command_can_be_quiet(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "-q, --quiet" in capsys.readouterr().out


# -- demo -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    """The rows of a demo that trains for a moment, and what it says."""
    said = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_steps, "fit", partial(fit, steps=30))
        rows = demo_steps.run_demo(said.append, backend=None)
    return rows, said


def test_the_demo_marks_the_best_row(demo):
    rows, said = demo
    top = [row for row in rows if 10 * row.bytes_per_item <= 1536]
    best = max(top, key=lambda row: row.recall[100])
    assert best.refined
    marked = [line for line in "\n".join(said).split("\n") if line.startswith("| ") and "(best)" in line]
    assert [f"{best.recall[100]:.3f}" in line for line in marked] == [True]
    assert all(row.ndcg is not None for row in rows)


def row(method: str, size: int, recall: float, k: int | None = None, error: float = 0.0) -> Row:
    return Row(method, k, None, size, 1536 / size, {10: 0.5, 100: recall}, recall_error={100: error})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("int8", 384, 0.99)], "int8 is the better choice if 384 bytes per item (recall@100 0.990) are"),
        ([row("int8", 384, 0.69)], "int8 is better at none of these sizes"),
        ([row("PCA", 256, 0.85)], "PCA is the better choice if 256 bytes per item (recall@100 0.850) are"),
        ([row("PCA", 256, 0.85, error=0.04)], "PCA is better than codes in sparse space at 256 bytes"),
        ([row("PCA", 256, 0.75)], "PCA is better than codes in sparse space at 256 bytes"),
        ([row("PCA", 256, 0.65), row("PCA", 64, 0.1)], "PCA is better than codes in sparse space at 64 bytes"),
        ([row("PCA", 256, 0.65)], "PCA is better at none of these sizes"),
        ([], ""),
    ],
)
def test_the_sentence_about_other_methods_follows_from_the_rows(rows, said):
    codes = [row("asymmetric", 48, 0.82, 32), row("sparse", 256, 0.70, 32), row("sparse", 128, 0.6, 16)]
    sentence = demo_steps.other_methods([*codes, *rows])
    assert said in sentence
    assert sentence.count(".") <= 1 + sentence.count("0.")


def test_the_commands_at_the_end_of_the_demo_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("embeddings.npy", rng.standard_normal((200, 16)).astype(np.float32))
    np.save("queries.npy", rng.standard_normal((3, 16)).astype(np.float32))
    for command in demo_steps.COMMANDS:
        quick = ["--steps", "5", *NUMPY] if " train " in command else [*NUMPY]
        assert main([*command.split()[1:], *quick]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_demo_in_a_database_starts_where_a_demo_left_its_picture(tmp_path, monkeypatch):
    from compressae_ref.cli import demo_store

    monkeypatch.chdir(tmp_path)
    Path("compressae_demo.png").write_bytes(b"")
    monkeypatch.setattr(demo_store, "run_store_demo", lambda *args, **settings: None)
    assert main(["demo", "--store"]) == 0
