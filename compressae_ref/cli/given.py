"""What was given on the command line, and what follows from it.

Options that do not apply are refused, and so are outputs that are inputs. Hints name only options that exist.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from compressae_ref.cli.usage import Parser
from compressae_ref.errors import CompressaeError, DomainError
from compressae_ref.stores.address import to_type

NEEDS: dict[str, dict[str, str]] = {
    "demo": {"output": "segments"},
    "choose": {"ndcg": "relevance"},
    "encode": {"candidates": "refine|bytes", "fit_steps": "anchors", "part_rows": "dask"},
    "report": {
        "relevance": "queries",
        "relevance_by": "relevance",
        "query_texts": "queries",
        "query_ids": "queries",
        "text": "texts",
    },
    "push": dict.fromkeys(("on_missing", "ids", "id_column", "follow_links"), "source"),
    "train": dict.fromkeys(("relevance_weight", "relevance_by"), "relevance"),
    "evaluate": {
        "relevance": "queries",
        "relevance_by": "relevance",
        "without": "baselines",
        **dict.fromkeys(("space", "refine", "field", "query_k", "dense", "ids", "id_column"), "store"),
    },
    "search": {
        **dict.fromkeys(("k", "refine", "fitted", "field"), "store"),
        **dict.fromkeys(("show", "id_column"), "items"),
        "items": "show",
    },
    "segments": {
        **dict.fromkeys(("text", "time", "method"), "texts"),
        **dict.fromkeys(("site", "weight", "bin"), "time"),
    },
    "verify": {
        **dict.fromkeys(("k", "candidates", "anchors", "all", "strict", "follow_links", "store"), "model"),
        **dict.fromkeys(("space", "refine", "field", "ids", "id_column"), "store"),
        "fit_steps": "anchors",
    },
}
"""By command: options that have no effect without another argument, or one of several."""

_WITH_VECTORS = ("program", "requests", "answers", "vectors", "level", "only", "bits", "without", "cases", "timeout")
_WITH_ALL_VECTORS = ("backend", "level", "only", "without", "cases")

CONFLICTS: dict[str, dict[str, tuple[str, ...]]] = {
    "demo": {"store": ("picture", "segments"), "segments": ("picture",)},
    "encode": {
        "anchors": ("refine", "dask", "bytes"),
        "refine": ("bytes",),
        "dask": ("bytes",),
        "ids": ("id_column",),
        "dry_run": ("dask",),
    },
    "convert": {"ids": ("id_column",), "to": ("weights", "only")},
    "push": {"anchors": ("refine",), "dry_run": ("json",), "source": ("replace",), "ids": ("id_column",)},
    "train": {"start": ("init",), "preset": ("serve",), "dry_run": ("resume",)},
    "pull": {"start": ("init",), "preset": ("serve",), "dry_run": ("resume",)},
    "search": {"store": ("rescore", "items", "show", "id_column")},
    "evaluate": {
        "queries": ("seed",),
        "store": ("baselines", "bits", "picture", "seed"),
        "ids": ("id_column",),
    },
    "report": {"queries": ("seed",), "ids": ("id_column",)},
    "verify": {
        "model": (*_WITH_VECTORS, "student", "exercise"),
        "student": _WITH_ALL_VECTORS,
        "exercise": (*_WITH_ALL_VECTORS, "program", "requests", "answers"),
        "program": ("backend",),
        "requests": ("backend", "bits", "json", "timeout"),
        "answers": ("backend", "timeout"),
    },
}
"""By command: arguments, and the options that have no effect together with them."""

INPUTS = (
    *("model", "embeddings", "queries", "codes", "packed", "input", "file"),
    *(
        "anchors",
        "ids",
        "query_ids",
        "items",
        "relevance",
        "texts",
        "query_texts",
        "answers",
        "vectors",
        "start",
        "resume",
        "store",
    ),
    *("source", "dense", "student"),
)
"""Arguments that name files, folders or patterns to read."""

OUTPUTS = ("output", "keep", "keep_model", "picture", "requests", "checkpoint")
"""Arguments that name files to write."""


def parse(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line. ``options.given`` holds the arguments that it has, by name; the others have defaults."""
    options: argparse.Namespace
    options, rest = parser.parse_known_args(arguments)
    if rest:
        options.parser.error_of_rest(rest)
    actions = options.parser._actions
    defaults = [action.default for action in actions]
    for action in actions:
        action.default = argparse.SUPPRESS
    names = vars(parser.parse_args(arguments))
    for action, default in zip(actions, defaults, strict=True):
        action.default = default
    options.given = {action.dest: action for action in actions if action.dest in names}
    return options


def called(options: argparse.Namespace, name: str) -> str:
    """Return how the help calls an argument: ``--part-rows``, or ``QUERIES``."""
    action = next(action for action in options.parser._actions if action.dest == name)
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def require_applicable(options: argparse.Namespace) -> None:
    """Refuse an option that would have no effect. DomainError."""
    for name, excluded in CONFLICTS.get(options.command, {}).items():
        for other in excluded:
            if name in options.given and other in options.given:
                message = f"expected no {called(options, other)} with {called(options, name)}, got both"
                raise DomainError(message, argument=options.command)
    for name, needed in NEEDS.get(options.command, {}).items():
        alternatives = needed.split("|")
        if name in options.given and not any(other in options.given for other in alternatives):
            option = called(options, name)
            others = " or ".join(called(options, other) for other in alternatives)
            message = f"expected {others} with {option}, got {option} alone"
            raise DomainError(message, argument=options.command)


def require_kept_inputs(options: argparse.Namespace) -> None:
    """Refuse an output that would overwrite an input or another output. DomainError."""
    outputs = [name for name in OUTPUTS if getattr(options, name, None) is not None]
    for number, name in enumerate(outputs):
        path = getattr(options, name)
        for other in (*INPUTS, *outputs[:number]):
            if (name, other) != ("checkpoint", "resume") and any(_same(path, file) for file in _files(options, other)):
                expected = "a checkpoint that is no other file of the command"
                if name != "checkpoint":
                    expected = f"an output that is not {'an input' if other in INPUTS else called(options, other)}"
                raise DomainError(f"expected {expected}, got the same file", path=path)


def again(options: argparse.Namespace, positional: Sequence[str], *without: str, **values: str) -> list[str]:
    """Return the options that were given as a command line, without some of them, and with other values."""
    words = [*positional]
    for name, action in options.given.items():
        if action.option_strings and name not in (*without, *values):
            words += [action.option_strings[0], *([] if action.nargs == 0 else [str(getattr(options, name))])]
    return [*words, *(word for name, value in values.items() for word in (f"--{name}", value))]


def typed(words: Iterable[object]) -> tuple[str, str]:
    """Return a command line that can be pasted, and how to give the passwords that it does not have, or ""."""
    pairs = [to_type(str(word)) for word in words]
    how = ", and ".join(dict.fromkeys(how for _, how in pairs if how))
    return shlex.join(["compressae-ref", *(word for word, _ in pairs)]), how


def to_run(words: Iterable[object]) -> str:
    """Return the end of a message: the command line to run."""
    command, how = typed(words)
    return f"{how}, then run: {command}" if how else f"run: {command}"


def own_text(error: CompressaeError, options: argparse.Namespace, commands: Container[str]) -> str:
    """Return the text of an error: it calls options as they are typed, and its hint names no option of other commands.

    Parts of a hint are joined by ", or ". One may name an option of another command after the name of that command.
    """
    if "parser" not in options:  # the command line itself has failed, before a command was known
        return str(error)
    own = options.parser._option_string_actions
    parts = [
        part
        for part in (error.hint or "").split(", or ")
        if all(option in own or before in commands for before, option in _OPTION.findall(part))
    ]
    error.hint = ", or ".join(parts) or None
    options_by_name = {
        action.dest: action.option_strings[-1] for action in options.parser._actions if action.option_strings
    }
    if error.path is None and error.argument in options_by_name:
        error.argument = options_by_name[error.argument]
    return str(error)


_OPTION = re.compile(r"(?:([\w-]+) )?(--[a-z][a-z-]*)")


def _files(options: argparse.Namespace, name: str) -> Iterator[str | Path]:
    """Yield the files that an argument names."""
    value = getattr(options, name, None)
    if not isinstance(value, str) or (name in ("ids", "query_ids") and (value == "none" or value.startswith("::"))):
        return
    if name in OUTPUTS:
        yield value
        return
    from compressae_ref.files.foreign.embeddings import input_files

    path = value.partition(":")[2].partition("?")[0] if name == "store" else value
    yield from input_files(path) if path else ()
    if name in ("store", "vectors") and path and Path(path).is_dir():
        yield from Path(path).rglob("*")


def _same(path: str, other: str | Path) -> bool:
    """Return whether two names stand for one file, which need not exist."""
    if os.path.exists(path) and os.path.exists(other):  # noqa: PTH110
        return os.path.samefile(path, other)  # noqa: PTH121
    return os.path.realpath(path) == os.path.realpath(other)
