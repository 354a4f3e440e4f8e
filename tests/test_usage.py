"""The law of wrong usage: each mistake, in each option of each command, is one line that says what was expected."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from compressae_ref.cli.main import main
from compressae_ref.cli.usage import TYPES, near
from tests.test_cli import NAMES, assert_usage_error, line_of, parser_of


def refused(capsys, line):
    """Return the one line with which a command line is refused."""
    with pytest.raises(SystemExit) as caught:
        main(line)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert_usage_error(err, line[:1])
    return err


def options_of(command):
    return [action for action in parser_of(command)._actions if action.option_strings and action.dest != "help"]


@pytest.mark.parametrize("command", [name for name in NAMES if any(each.required for each in parser_of(name)._actions)])
def test_each_missing_argument_is_named(command, capsys):
    required = [action for action in parser_of(command)._actions if action.required]
    err = refused(capsys, [command])
    expected, _, got = err.partition(", got ")
    for action in required:
        form = " ".join([*action.option_strings[:1], action.metavar])
        assert form in expected
        assert f"no {form}" in got
    for action in required:
        if action.option_strings:
            line = line_of(command)
            at = line.index(action.option_strings[-1])
            err = refused(capsys, line[:at] + line[at + 2 :])
            assert f"{expected}, got no {action.option_strings[0]} {action.metavar}; for help" in err


@pytest.mark.parametrize("command", NAMES)
def test_each_mistyped_option_gets_the_nearest(command, capsys):
    rng = random.Random(0)
    names = {name for action in options_of(command) for name in action.option_strings if len(name) > 5}
    assert names
    for name in sorted(names):
        at = rng.randrange(3, len(name) - 1)
        typed = name[:at] + name[at + 1 :] + ("" if rng.random() < 0.5 else "x")
        if any(other.startswith(typed) for other in names):
            continue  # a start of a name is no mistake
        meant = near(typed, names)
        assert f"expected an option of {command}, got {typed} (did you mean " in refused(capsys, [command, typed])
        assert name in meant or any(other in meant for other in names if abs(len(other) - len(name)) < 3), (
            typed,
            meant,
        )
    for typed in ("--xyzzy", "--xyzzy=1", "-z"):
        assert f"got {typed.partition('=')[0]}; for help" in refused(capsys, [command, typed])


@pytest.mark.parametrize("command", NAMES)
def test_each_value_of_another_type_is_quoted(command, capsys):
    for action in options_of(command):
        name = action.option_strings[-1]
        if action.nargs == 0:
            line = [*line_of(command), f"{name}=yes"]
            assert f"{name}: expected no value, got 'yes'" in refused(capsys, line).replace("-q/", "")
            continue
        if action.nargs != "?":
            assert f"{name}: expected " in refused(capsys, [*line_of(command), name])
        if action.choices:
            err = refused(capsys, [*line_of(command), name, "77"])
            assert all(str(choice) in err for choice in action.choices)
        elif action.type is not None:
            assert f"expected {TYPES[action.type]}, got 'many'" in refused(capsys, [*line_of(command), name, "many"])
            assert f"{name}: expected {TYPES[action.type]}, got an empty value" in refused(
                capsys, [*line_of(command), f"{name}=", "5"]
            )


@pytest.mark.parametrize("command", NAMES)
def test_an_argument_that_is_left_over_is_quoted(command, capsys):
    positional = [action for action in parser_of(command)._actions if not action.option_strings]
    needed = [
        word
        for action in parser_of(command)._actions
        if action.required and action.option_strings
        for word in (action.option_strings[-1], "y")
    ]
    err = refused(capsys, [command, *("x" for _ in positional), "left over\x1b", *needed])
    assert "got also 'left over\\x1b'" in err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("tran", "train"), ("encdoe", "encode"), ("eval", "evaluate"), ("seg", "segments"), ("split", "split-signs")],
)
def test_a_mistyped_command_gets_the_nearest(typed, meant, capsys):
    assert f"got '{typed}' (did you mean {meant}?)" in refused(capsys, [typed, "--top", "5"])


def test_a_name_that_is_near_no_command_gets_all_commands(capsys):
    err = refused(capsys, ["xyzzy"])
    assert all(name in err for name in NAMES)
    assert "did you mean" not in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "expected a command, got none; to start, run: compressae-ref demo"),
        ("--json search", "expected a command first, got --json"),
        ("--versoin", "expected a command first, got --versoin (did you mean --version?)"),
        ("train x -output y", "got -output (did you mean --output?)"),
        ("train x -o y --latents 8", "got --latents (did you mean --n-latents?)"),
        ("train x -o y --N_Latents 8", "(did you mean --n-latents?)"),
        ("train x -o y -k 8", "got -k (did you mean --k?)"),
        ("train x -o y --st 3", "expected the name of one option, got --st, which may be --steps, --start"),
        ("verify --program a --answers b", "expected no --answers with --program, got both"),
        ("evaluate m x --k 5 q", "--k: expected an integer, got 'q'; write files before the options"),
        ("evaluate m x --json q", "expected MODEL EMBEDDINGS [QUERIES], got also 'q'; write files before the options"),
    ],
)
def test_mistakes_of_newcomers(line, words, capsys):
    assert words in refused(capsys, line.split())


def test_a_mistake_comes_before_the_argument_that_is_missing_due_to_it(capsys):
    for command, typed in product(NAMES, ("--ouptut", "--josn")):
        assert f"got {typed}" in refused(capsys, [command, typed, "x"])


EMPTY = ["npy", "npz", "csv", "tsv", "jsonl", "parquet", "arrow", "hdf5", "safetensors", "fbin", "csr", "txt"]
READING = [
    "inspect {bad}",
    "train {bad} -o new.npz",
    "encode {bad} {bad} -o new.npz",
    "pack {bad} -o new.npz",
    "unpack {bad} -o new.npz",
]


@pytest.mark.parametrize("line", READING)
@pytest.mark.parametrize("suffix", EMPTY)
def test_an_empty_file_is_called_empty(line, suffix, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"bad.{suffix}").touch()
    assert main(line.format(bad=f"bad.{suffix}").split()) == 1
    (err,) = capsys.readouterr().err.splitlines()
    assert err.startswith(f"compressae-ref: bad.{suffix}: expected ")
    assert "got an empty file" in err
    assert [path.name for path in tmp_path.iterdir()] == [f"bad.{suffix}"]


@pytest.mark.parametrize(
    "line",
    [
        "encode {bad} {bad} -o new.npz",
        "search {bad} {bad} {bad}",
        "unpack {bad} -o new.npz",
        "verify {bad} {bad} {bad}",
        "segments {bad} {bad}",
    ],
)
def test_a_folder_in_place_of_a_file_is_called_one(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    assert main(line.format(bad="bad").split()) == 1
    assert capsys.readouterr().err == "compressae-ref: bad: expected a file, got a folder\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train x.npy -o m.npz --n-latents -3", "--n-latents: expected an integer of at least 1, got -3"),
        ("train x.npy -o m.npz --k 99 --n-latents 8", "--k: expected k from 1 to n_latents = 8, got 99"),
        ("train x.npy -o m.npz --lr nan", "--lr: expected a finite number above 0, got nan"),
    ],
)
def test_a_value_that_is_refused_is_called_by_its_option(line, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.eye(20, 6, dtype=np.float32) + 1)
    assert main(line.split()) == 1
    assert capsys.readouterr().err == f"compressae-ref: {words}\n"


@pytest.mark.parametrize("command", ["", *NAMES])
def test_the_help_fits_a_terminal_and_begins_with_a_short_usage(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    usage, *lines = capsys.readouterr().out.partition("\nexamples:\n")[0].splitlines()
    assert [line for line in (usage, *lines) if len(line) > 80] == []
    assert usage.endswith(" [options]" if command else " COMMAND ...")
    required = [action for action in parser_of(command)._actions if action.required] if command else []
    assert all(f" {action.metavar}" in usage for action in required)
