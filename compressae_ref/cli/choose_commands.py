"""The choice for each way of serving, and the commands to type."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from compressae_ref.cli.choose_inputs import Files
from compressae_ref.evaluation.choose import ENGINES, PACKAGE, Goal, Option, best, least_bytes, nearest
from compressae_ref.evaluation.measured_options import Measured

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
    statements: list[str]
    """of SQL, for dense vectors"""
    alternative: Choice | None = None
    """the best of what stores something else and reaches the goal, too (`Option.kind`)"""


def choice_of(
    serving: str, goal: Goal, measured: Sequence[Measured], files: Files, options: argparse.Namespace, trained: bool
) -> Choice:
    """Choose among the measured settings of one way of serving, and write its commands."""
    source = measured[0 if serving == PACKAGE else 1]
    least = least_bytes(source.model.params.n_latents)[serving]

    def made(option: Option, met: bool = True) -> Choice:
        commands, statements = commands_of(option, files, options, trained), statements_of(option)
        milliseconds = source.milliseconds(option) if serving == PACKAGE else None
        return Choice(serving, option, met, least, milliseconds, commands, statements)

    candidates = [option for option in source.options if option.serving == serving]
    option = best(candidates, goal)
    if option is None:
        closest = None if goal.kind == "bytes" else nearest(candidates, goal)
        return Choice(serving, None, False, least, None, [], []) if closest is None else made(closest, False)
    other = best([each for each in candidates if each.kind != option.kind], goal)
    return made(option)._replace(alternative=None if other is None else made(other))


def commands_of(option: Option, files: Files, options: argparse.Namespace, trained: bool) -> list[list[str]]:
    """Return the commands that serve the items with these settings, as lists of words."""
    row, embeddings = option.row, files.embeddings
    if option.kind == "dense":
        return []
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
    if option.kind == "residual":
        codes, size = _free(f"{base}.{row.bytes_per_item}bytes"), str(row.bytes_per_item)
        return [
            *commands,
            [*words, "encode", model, embeddings, "-o", codes, "--bytes", size, *more, *links],
            [*words, "search", model, codes, queries, "--top", top, *more, *links],
        ]
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


def statements_of(option: Option) -> list[str]:
    """Return the statements of SQL that store a column ``embedding`` of ``items`` in float16, too; none for codes."""
    if option.kind != "dense":
        return []
    half = option.row.method
    return [f"ALTER TABLE items ADD COLUMN half {half};", f"UPDATE items SET half = embedding::{half};"]


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
