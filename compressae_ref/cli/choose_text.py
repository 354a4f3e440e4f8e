"""The choice as commands to type and as text of at most 100 columns."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.cli.choose_inputs import Files
from compressae_ref.evaluation.choose import ENGINES, PACKAGE, Goal, Option, best, nearest
from compressae_ref.evaluation.measured_options import Measured
from compressae_ref.layout import filled

WIDTH = 100

ALTERNATIVES = 4
"""Other settings of each way of serving that the table shows."""

_ENGINES = {engine.name: engine for engine in ENGINES}


class Choice(NamedTuple):
    """What to do for one way of serving."""

    serving: str
    option: Option | None
    """the best setting, or the one that is nearest to the goal; None if nothing could be measured"""
    met: bool
    """whether it reaches the goal"""
    least: int
    """the bytes of the smallest code"""
    milliseconds: float | None
    commands: list[list[str]]


def choice_of(
    serving: str, goal: Goal, measured: Sequence[Measured], files: Files, options: argparse.Namespace, trained: bool
) -> Choice:
    """Choose among the measured settings of one way of serving, and write its commands."""
    of_package = serving == PACKAGE
    source = measured[0 if of_package else 1]
    candidates = [option for option in source.options if option.serving == serving]
    option = best(candidates, goal)
    met = option is not None
    option = option or nearest(candidates, goal)
    h = source.model.params.n_latents
    least = Layout.of(h, 1, min(BITS)).row_bytes if of_package else _ENGINES[serving].bytes_of(1)
    if option is None:
        return Choice(serving, None, False, least, None, [])
    milliseconds = source.milliseconds(option) if of_package else None
    return Choice(serving, option, met, least, milliseconds, commands_of(option, files, options, trained))


def commands_of(option: Option, files: Files, options: argparse.Namespace, trained: bool) -> list[list[str]]:
    """Return the commands that serve the items with these settings, as lists of words."""
    row, embeddings = option.row, files.embeddings
    base, words = _base(embeddings), ["compressae-ref"]
    more = [] if options.zero_rows == "error" else ["--zero-rows", options.zero_rows]
    links = ["--follow-links"] if options.follow_links else []
    k = ["--k", str(row.k), *(["--refine"] if row.refined else [])]
    model, commands = files.model or "", []
    if trained:
        dense = option.serving == PACKAGE
        model = _free(f"{base}.{'dense' if dense else 'sparse'}.model")
        serve = ["--serve", "dense" if dense else "sparse"]
        commands.append([*words, "train", embeddings, "-o", model, *serve, *more, *links])
    queries, top = files.queries or embeddings, str(max(row.recall))
    if option.serving == PACKAGE:
        codes, packed = _free(f"{base}.k{row.k}.codes"), _free(f"{base}.k{row.k}.packed")
        return [
            *commands,
            [*words, "encode", model, embeddings, "-o", codes, *k, *more, *links],
            [*words, "pack", codes, "-o", packed, "--bits", str(row.bits)],
            [*words, "search", model, packed, queries, "--space", "asymmetric", "--top", top, *more, *links],
        ]
    store, space = _ENGINES[option.serving].address, ["--space", row.method, *k]
    asked = ["--store", *space, "--query-k", str(row.query_k), "--top", top]
    return [
        *commands,
        [*words, "push", model, store, *space, *more],
        [*words, "search", model, store, queries, *asked, *more, *links],
    ]


def _base(embeddings: str) -> str:
    """Return the start of the names of new files: the name of the embeddings without its suffix."""
    name = re.sub(r"[^\w.-]+", "_", Path(embeddings.partition("::")[0]).name).lstrip("-.")
    return Path(name).stem or "embeddings"


def _free(stem: str) -> str:
    """Return a name of a file that does not exist in the current folder."""
    number, name = 2, f"{stem}.npz"
    while os.path.lexists(name):
        number, name = number + 1, f"{stem}{number}.npz"
    return name


# -- text -------------------------------------------------------------------------------------------------------------


def as_text(goal: Goal, choices: Sequence[Choice], others: Sequence[Option], measured: Sequence[Option]) -> str:
    """Return the recommendations, each with its commands, and the table of the alternatives."""
    blocks = [_recommended(choice, goal) for choice in choices]
    return "\n\n".join([*blocks, _table(_alternatives(goal, choices, measured), others)])


def _recommended(choice: Choice, goal: Goal) -> str:
    if choice.option is None:
        return f"{choice.serving}: not in {goal.value:,.0f} bytes; the least possible is {choice.least} bytes (k 1)"
    row, engine = choice.option.row, _ENGINES.get(choice.serving)
    head = f"{choice.serving}: {_quality(choice.option)} in {row.bytes_per_item} bytes per item"
    if not choice.met:
        head = f"{choice.serving}: does not reach the goal; the best that was measured is {_quality(choice.option)}"
        head += f" in {row.bytes_per_item} bytes"
    lines = [*wrapped(head), *wrapped(_setting(choice), "  ")]
    if engine is not None:
        lines += wrapped(f"bytes: {engine.source}; time: measure it in your database", "  ")
    for command in choice.commands:
        lines += filled(_joined(command), WIDTH, "    ", "        ", " \\", whole=True)
    return "\n".join(lines)


def _quality(option: Option) -> str:
    shown = f"recall@{max(option.row.recall)} {option.recall:.3f} ± {option.recall_error:.3f}"
    if option.share is not None:
        shown += f", nDCG@10 {100 * option.share:.1f} ± {100 * (option.share_error or 0):.1f} % of dense"
    return shown


def _setting(choice: Choice) -> str:
    assert choice.option is not None
    row = choice.option.row
    kind = "refined codes" if row.refined else "codes"
    if choice.serving == PACKAGE:
        time = "" if choice.milliseconds is None else f"; about {choice.milliseconds:.2g} ms per query"
        return f"{kind}, k {row.k}, {row.bits} bits per value, dense queries{time}"
    signs = "" if _ENGINES[choice.serving].signed else "; push splits the signs, and search re-ranks"
    return f"{kind}, k {row.k}, {row.method} space, queries of {row.query_k} entries{signs}"


def _joined(command: Sequence[str]) -> list[str]:
    """Return quoted words, each option in one piece with its value."""
    pieces: list[str] = []
    for before, word in zip(["", *command], command, strict=False):
        if before.startswith("-") and not word.startswith("-"):
            pieces[-1] += f" {shlex.quote(word)}"
        else:
            pieces.append(shlex.quote(word))
    return pieces


def wrapped(text: str, indent: str = "", others: str = "  ") -> list[str]:
    """Return a text in lines of at most `WIDTH` columns."""
    return [*filled(text.split(" "), WIDTH, indent, others, whole=True)]


def _alternatives(goal: Goal, choices: Sequence[Choice], measured: Sequence[Option]) -> list[Option]:
    """Return the chosen settings, each followed by some others that are next to it in quality."""
    shown = []
    for choice in choices:
        if choice.option is None:
            continue
        near = [option for option in measured if option.serving == choice.serving and option is not choice.option]
        near.sort(key=lambda option, chosen=choice.option: abs(option.quality(goal) - chosen.quality(goal)))  # type: ignore[misc]
        shown += [choice.option, *near[:ALTERNATIVES]]
    return shown


def _table(options: Sequence[Option], others: Sequence[Option]) -> str:
    rows = [*map(_cells, [*options, *sorted(others, key=lambda option: -option.row.bytes_per_item)])]
    top = max(others[0].row.recall)
    head = ["measured", "codes", "k", "bits", "query k", "bytes", f"recall@{top}", "nDCG %"]
    if all(row[-1] == "" for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cells(option: Option) -> list[str]:
    row = option.row
    codes = "" if row.k is None else ("refined, " if row.refined else "") + row.method
    share = "" if option.share is None else f"{100 * option.share:.1f} ± {100 * (option.share_error or 0):.1f}"
    numbers = ["" if number is None else str(number) for number in (row.k, row.bits, row.query_k)]
    recall = f"{option.recall:.3f} ± {option.recall_error:.3f}"
    return [option.serving or row.method, codes, *numbers, f"{row.bytes_per_item:,}", recall, share]


def as_json(choice: Choice) -> dict[str, Any]:
    """Return a choice as plain numbers and strings."""
    plain = choice._asdict() | {"option": None if choice.option is None else option_json(choice.option)}
    return plain | {"commands": [shlex.join(command) for command in choice.commands]}


def option_json(option: Option) -> dict[str, Any]:
    """Return an option as plain numbers and strings."""
    return option._asdict() | {"row": option.row.as_json()}
