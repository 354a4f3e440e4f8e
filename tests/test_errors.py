"""Errors: fields that programs read, one place that words them, and messages that say what came."""

from __future__ import annotations

import ast
import pickle
import re
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import compressae_ref
from compressae_ref import optional
from compressae_ref.errors import CompressaeError, DomainError, FormatError, format_error, naming_file, reason
from compressae_ref.optional import install_command

PACKAGE = Path(compressae_ref.__file__).parent
SOURCES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
SAYS_NOTHING = re.compile(
    r"\b(got|found) (others?|something else|less|fewer|another|more)( [a-z]+)?( or a part of (one|it))?$"
)
"""Endings that do not say what came."""


def literals(tree: ast.AST) -> list[tuple[int, str]]:
    """The string literals of a file, each f-string as one text with ``{}`` for its values."""
    texts, parts = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in ast.walk(node)}
            texts.append((node.lineno, "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)))
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return texts + [(node.lineno, node.value) for node in constants if id(node) not in parts]


EXTRAS = {
    "numba": {"numba"}, "cuda": {"numba", "numba-cuda"}, "edge": {"qdrant-edge-py"}, "pgvector": {"psycopg"},
    "milvus": {"pymilvus", "milvus-lite"}, "formats": {"h5py", "pyarrow"}, "oracle": {"torch"},
}  # fmt: skip


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_for_a_missing_package_installs_its_extra_from_anywhere(extra, monkeypatch, tmp_path):
    """It names packages of the index, never this package, which a clone or a folder that is gone may have brought."""
    words = shlex.split(install_command(extra))
    assert words[:2] == ["pip", "install"]
    assert {re.split(r"[<>=\[]", word)[0] for word in words[2:]} == EXTRAS[extra]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ['a b<2,>=1; extra == "x"', "c; extra == 'y'"])
    assert install_command("x") == "pip install 'a b<2,>=1'"
    monkeypatch.setattr("importlib.metadata.requires", missing)
    assert install_command(extra) == f"pip install {shlex.quote(f'{PACKAGE.parent}[{extra}]')}"
    monkeypatch.setattr(optional, "_ROOT", tmp_path / "site packages")
    assert install_command(extra) == f"pip install 'compressae-ref[{extra}]'"


def missing(name):
    raise PackageNotFoundError(name)


def test_each_field_has_its_place_in_the_text():
    error = DomainError("expected 1, got 2", argument="x", row=3, path=Path("a.npy"), hint="try 1")
    assert str(error) == "a.npy: x: expected 1, got 2 in row 3; try 1"
    assert (error.message, error.argument, error.row, error.path, error.hint) == (
        "expected 1, got 2", "x", 3, "a.npy", "try 1",
    )  # fmt: skip
    assert str(DomainError("expected 1, got 2")) == "expected 1, got 2"
    assert str(DomainError("expected 1, got 2", row=0)) == "expected 1, got 2 in row 0"


def test_errors_keep_their_fields_between_processes():
    error = FormatError("expected 1, got 2", argument="x", row=3, path="a.npy", hint="try 1")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (FormatError, str(error), vars(error))


def test_a_file_is_named_in_place_of_the_argument_that_holds_its_content():
    for argument, text in (("x", "f.npy: expected 1, got 2 in row 5"), ("lr", "lr: expected 1, got 2 in row 5")):
        with pytest.raises(DomainError, match=f"^{re.escape(text)}$"), naming_file("f.npy"):
            raise DomainError("expected 1, got 2", argument=argument, row=5)
    with pytest.raises(DomainError, match=r"^g: expected"), naming_file("f"), naming_file("g"):
        raise DomainError("expected 1, got 2", argument="x")
    with pytest.raises(DomainError, match=r"^standard input: expected"), naming_file("-", "codes"):
        raise DomainError("expected 1, got 2", argument="codes")


def test_errors_of_a_files_content_become_errors_about_the_file():
    error = format_error("f", DomainError("expected 1, got 2", argument="codes", row=5))
    assert (type(error), str(error)) == (FormatError, "f: codes: expected 1, got 2 in row 5")
    assert str(format_error("f", KeyError("a"))) == "f: 'a'"
    assert reason(ValueError("one\ntwo")) == "one"
    assert reason(EOFError()) == "EOFError"


def test_no_message_ends_without_saying_what_came():
    texts = [(file, *each) for file, tree in SOURCES.items() for each in literals(tree)]
    assert len(texts) > 2000
    silent = [f"{file}, line {line}: {text}" for file, line, text in texts if SAYS_NOTHING.search(text)]
    assert not silent, "\n".join(silent)


def test_nothing_parses_the_text_of_an_error():
    """No method of ``str(error)`` that takes it apart, and no pattern that is searched in it."""
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                about = ast.unparse(node)
                taken_apart = re.search(r"str\(error\)\.(r?partition|r?split\(|removeprefix|removesuffix)", about)
                assert not taken_apart, f"{file}: {about}"
                assert not re.search(r"re\.(search|match|fullmatch)\([^)]*str\(error\)", about), f"{file}: {about}"


def test_each_error_is_one_of_the_package():
    for each in CompressaeError.__subclasses__():
        assert issubclass(each, ValueError)
        assert each.__module__.startswith("compressae_ref.")
