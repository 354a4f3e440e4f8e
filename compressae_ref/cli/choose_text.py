"""The choice as text of at most 100 columns, and as JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from compressae_ref.cli.choose_commands import Choice
from compressae_ref.evaluation.choose import ENGINES, PACKAGE, Goal, Option
from compressae_ref.evaluation.frontier import label
from compressae_ref.evaluation.leaders import shown as shown_recall
from compressae_ref.layout import filled, markdown, width_of

WIDTH = 100

ALTERNATIVES = 4
"""Other settings of each way of serving that the table shows."""

_ENGINES = {engine.name: engine for engine in ENGINES}


def as_text(
    goal: Goal, choices: Sequence[Choice], others: Sequence[Option], measured: Sequence[Option], better: str | None
) -> str:
    """Return the recommendations, each with its commands, then tables of alternatives and what is better than codes."""
    blocks = [_recommended(choice, goal) for choice in choices]
    shown = _alternatives(goal, choices, measured)
    servings = dict.fromkeys(option.serving for option in shown)
    blocks += [_table(serving, [option for option in shown if option.serving == serving]) for serving in servings]
    dense = others[0].row.bytes_per_item
    small = [option for option in others if option.row.bytes_per_item <= dense]
    blocks.append(_table("the other methods", sorted(small, key=lambda option: -option.row.bytes_per_item)))
    return "\n\n".join([*blocks, *(["\n".join(wrapped(better, others=""))] if better else [])])


def _recommended(choice: Choice, goal: Goal) -> str:
    if choice.option is None:
        budget, least = bytes_of(int(goal.value)), bytes_of(choice.least)
        return f"{choice.serving}: not in {budget}; the least possible is {least} (k 1)"
    size = bytes_of(choice.option.row.bytes_per_item)
    head = f"{choice.serving}: {quality_of(choice.option)} in {size} per item"
    if not choice.met:
        best_of = f"the best that was measured is {quality_of(choice.option)} in {size}"
        head = f"{choice.serving}: does not reach the goal; {best_of}"
    lines = [*wrapped(head), *_how(choice, "")]
    if (other := choice.alternative) is not None and other.option is not None:
        size = bytes_of(other.option.row.bytes_per_item)
        lines += _how(other, f"or, with {quality_of(other.option)} in {size}: ")
    return "\n".join(lines)


def _how(choice: Choice, start: str) -> list[str]:
    """Return the setting of a choice, and what to type."""
    lines, engine = wrapped(start + _setting(choice), "  "), _ENGINES.get(choice.serving)
    if engine is not None and choice.commands:
        lines += wrapped(f"bytes: {engine.source}; time: measure it in your database", "  ")
    for command in choice.commands:
        lines += filled(_joined(command), _width(), "    ", "        ", " \\", whole=True)
    return [*lines, *(f"    {statement}" for statement in choice.statements)]


def bytes_of(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size:,} byte{'s' * (size != 1)}"


def quality_of(option: Option) -> str:
    """Return recall and nDCG of an option, with their intervals."""
    recall = f"recall@{max(option.row.recall)} {shown_recall(option.row)}"
    return recall if option.share is None else f"{recall}, nDCG@10 {_share(option)} % of dense"


def _setting(choice: Choice) -> str:
    assert choice.option is not None
    row, time = choice.option.row, ""
    if choice.milliseconds is not None:
        time = f"; about {choice.milliseconds:.2g} ms per query"
    if choice.option.kind == "dense":
        return f"the dense vectors as {row.method}, without codes"
    if choice.option.kind == "residual":
        d = round(row.bytes_per_item * row.compression) // 4
        text = f"residual codes, k {row.k}, dense queries{time}; only search, inspect and unpack read them"
        return f"{text}; the file also holds a codec of at most {4 * d * (d + 2) + 2048:,} bytes"
    kind = "refined codes" if row.refined else "codes"
    if choice.serving == PACKAGE:
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
    """Return a text in lines of at most `WIDTH` columns, or of those of a narrower terminal."""
    return [*filled(text.split(" "), _width(), indent, others, whole=True)]


def _width() -> int:
    return min(WIDTH, width_of(sys.stdout) or WIDTH)


def _alternatives(goal: Goal, choices: Sequence[Choice], measured: Sequence[Option]) -> list[Option]:
    """Return the chosen settings, each followed by its alternative and by others that are next to it in quality."""
    shown = []
    for choice in choices:
        if choice.option is None:
            continue
        first = [choice.option]
        if choice.alternative is not None and choice.alternative.option is not None:
            first.append(choice.alternative.option)
        near = [option for option in measured if option.serving == choice.serving and option not in first]
        near.sort(key=lambda option, chosen=choice.option: abs(option.quality(goal) - chosen.quality(goal)))  # type: ignore[misc]
        shown += [*first, *near[:ALTERNATIVES]]
    return shown


def _table(title: str, options: Sequence[Option]) -> str:
    """Return a title and a table in Markdown without the columns that are empty."""
    rows = [option.row for option in options]
    columns = {"items stored as": [label(row) for row in rows]}
    for name, of in (("k", "k"), ("bits", "bits"), ("query k", "query_k")):
        numbers = [getattr(row, of) for row in rows]
        columns[name] = ["" if number is None else str(number) for number in numbers]
    columns["bytes"] = [f"{row.bytes_per_item:,}" for row in rows]
    columns[f"recall@{max(rows[0].recall)}"] = [shown_recall(row) for row in rows]
    columns["nDCG@10, %"] = ["" if option.share is None else _share(option) for option in options]
    table = markdown({name: cells for name, cells in columns.items() if any(cells)})
    return f"Measured for {title}:\n{table}"


def _share(option: Option) -> str:
    return f"{100 * (option.share or 0):.1f} ± {100 * (option.share_error or 0):.1f}"


def as_json(choice: Choice) -> dict[str, Any]:
    """Return a choice as plain numbers and strings."""
    option, other = choice.option, choice.alternative
    return choice._asdict() | {
        "option": None if option is None else option_json(option),
        "commands": [shlex.join(command) for command in choice.commands],
        "alternative": None if other is None else as_json(other),
    }


def option_json(option: Option) -> dict[str, Any]:
    """Return an option as plain numbers and strings."""
    return option._asdict() | {"row": option.row.as_json()}
