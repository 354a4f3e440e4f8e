"""Generate the parts of the pages between ``<!-- name -->`` and ``<!-- end -->``, which list the vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from compressae_ref.verify.operations import OPERATIONS, PARTS, STEP_OUTPUTS, words
from spec.generate.program import PAGES, SPEC

FILLED = (*PAGES, "vectors/README.md")

Groups = Mapping[str, dict[str, Any]]
"""Content of the files of tests, by name."""


def pages(groups: Groups) -> dict[str, bytes]:
    """Return each page with its parts generated, by its path in the folder of the specification."""
    return {name: _filled((SPEC / name).read_text(encoding="utf-8"), name, groups).encode() for name in FILLED}


def _filled(text: str, page: str, groups: Groups) -> str:
    """Fill a page section by section, because the content of a part depends on its section."""
    sections = re.split(r"(?m)^(?=## )", text)
    return "".join(_filled_section(section, page, groups) for section in sections)


def _filled_section(section: str, page: str, groups: Groups) -> str:
    def part(match: re.Match[str]) -> str:
        made = MADE[match[1]](section, page, groups)
        return f"<!-- {match[1]} -->\n{made}\n<!-- end -->"

    return re.sub(r"(?s)<!-- (\w+) -->\n(?:.*?\n)??<!-- end -->", part, section)


def _stated(section: str) -> set[str]:
    """Return the equations and rules that a section states."""
    return set(re.findall(r"\*\*([ER]\d+'*)\*\*", section))


def by_number(cite: str) -> tuple[str, int, str]:
    """Return a sort key for equations and rules: kind, number, then primes."""
    return cite[0], int(cite[1:].rstrip("'")), cite


def _vectors(section: str, page: str, groups: Groups) -> str:
    """List the flags of this section's operations, and those of other operations that cite its equations."""
    heading, stated = section.splitlines()[0].removeprefix("## "), _stated(section)
    lines = []
    for name, group in groups.items():
        flags = [
            flag for flag, what in group["flags"].items() if group["section"] == heading or stated & set(what["cites"])
        ]
        if flags:
            lines.append(f"[{name}](vectors/{name}.json) ({', '.join(flags)})")
    return f"Vectors: {'; '.join(lines)}."


def _rules(section: str, page: str, groups: Groups) -> str:
    """Return a table of the flags that cite each rule of the section."""
    rows = ["| rule | vectors that show it |", "|---|---|"]
    for rule in sorted((cite for cite in _stated(section) if cite[0] == "R"), key=by_number):
        shown = [
            f"{name}: {', '.join(flags)}"
            for name, group in groups.items()
            if (flags := [flag for flag, what in group["flags"].items() if rule in what["cites"]])
        ]
        rows.append(f"| {rule} | {'; '.join(shown)} |")
    return "\n".join(rows)


def _places(section: str, page: str, groups: Groups) -> str:
    """List the section of each equation."""
    lines = []
    for name in PAGES if page == "compressae.md" else (page,):
        for part in re.split(r"(?m)^(?=## )", (SPEC / name).read_text(encoding="utf-8")):
            found = sorted((cite for cite in _stated(part) if cite[0] == "E"), key=by_number)
            if found:
                where = part.splitlines()[0].removeprefix("## ").split(".")[0]
                place = f"section {where}" if name == page else f"[{name.removesuffix('.md')}]({name}), section {where}"
                lines.append(f"{', '.join(found)}: {place}")
    return "; ".join(lines) + "."


def _operations(section: str, page: str, groups: Groups) -> str:
    rows = []
    for level in PARTS:
        for name, each in OPERATIONS.items():
            if each.level == level:
                outputs = _kinds(each.outputs) or "see below"
                rows.append(f"| {level} | `{name}` | {each.what} | {_kinds(each.inputs)} | {outputs} |")
    head = "| level | operation | what it gives | inputs | outputs |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _kinds(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {_kind(kind)}" for name, kind in kinds.items())


def _kind(kind: str) -> str:
    return f"str ({', '.join(words(kind))})" if words(kind) else kind.replace("F32|F64 ", "")


def _steps(section: str, page: str, groups: Groups) -> str:
    return _kinds(STEP_OUTPUTS) + "."


MADE = {"places": _places, "vectors": _vectors, "rules": _rules, "operations": _operations, "steps": _steps}
