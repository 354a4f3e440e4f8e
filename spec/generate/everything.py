"""Make every file in ``spec/vectors``, and the pages that list them, as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spec.generate import (
    accumulated,
    centering,
    coding,
    distilling,
    files,
    fitting,
    naming,
    packing,
    pages,
    refining,
    residual_parts,
    retrieval,
    rounding,
    schema,
    segmenting,
    selection,
    small,
    training,
)
from spec.generate.build import built, shared

FOLDER = Path(__file__).parent.parent


def all_files(fresh: bool = False) -> dict[str, bytes]:
    """Return the bytes of all files by name; ``fresh`` recomputes the digests of a million cases in a minute."""
    groups: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, str]] = {}
    modules = (
        selection,
        coding,
        retrieval,
        training,
        files,
        rounding,
        small,
        refining,
        packing,
        residual_parts,
        centering,
        distilling,
        fitting,
        segmenting,
        naming,
    )
    made_groups = [make() for module in modules for make in module.GROUPS]
    others = shared(made_groups)
    for group in made_groups:
        groups[group.name], of_group = built(group, others)
        answers |= of_group
    made = {"vectors/mistakes/answers.json": _answers(answers)}
    made |= {f"vectors/{name}": content for name, content in _vectors(groups, fresh).items()}
    return made | pages.pages(groups)


def _vectors(groups: dict[str, dict[str, Any]], fresh: bool) -> dict[str, bytes]:
    made = {f"{name}.json": _lines(content) for name, content in groups.items()}
    made |= {name: _json(content) for name, content in schema.schemas().items()}
    made["accumulated.json"] = _json(accumulated.made(None if fresh else _known()))
    return made | files.bytes_of_files() | small.bytes_of_files()


def _answers(answers: dict[str, dict[str, str]]) -> bytes:
    rows = [f"  {json.dumps(test)}: {json.dumps(of_test)}" for test, of_test in answers.items()]
    return f' "answers": {{\n{_joined(rows)}\n }}\n'.join(("{\n", "}\n")).encode()


def _known() -> dict[str, Any] | None:
    path = FOLDER / "vectors" / "accumulated.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _lines(content: dict[str, Any]) -> bytes:
    """Return a file of tests with one line per flag and per part of a test, so that people and diffs can read it."""
    return ("\n".join(_part(content)) + "\n").encode()


def _part(content: dict[str, Any]) -> Iterator[str]:
    def short(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    yield "{"
    for name, value in content.items():
        if name == "flags":
            rows = [f"  {short(flag)}: {short(what)}" for flag, what in value.items()]
            yield f' "flags": {{\n{_joined(rows)}\n }},'
        elif name == "tests":
            tests = [
                "  {\n" + _joined([f"   {short(key)}: {short(part)}" for key, part in test.items()]) + "\n  }"
                for test in value
            ]
            yield f' "tests": [\n{_joined(tests)}\n ]'
        else:
            yield f" {short(name)}: {short(value)},"
    yield "}"


def _joined(rows: list[str]) -> str:
    return ",\n".join(rows)
