"""A folder of codes in parts: each part is a codes file, and ``manifest.json`` says that all of them are there.

``plan.json`` is written first: what is to be encoded, how, and where each part begins. A part is written under another
name and gets its own when it is whole; so a part that is there is done, whoever made it and however often. The
manifest comes last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.checks import ZeroRows
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.codes_file import load_codes, load_ids
from compressae_ref.files.npz import PathLike, replacing, require_writable

PLAN, MANIFEST = "plan.json", "manifest.json"
FORMAT, VERSION = "compressae-parts", 1


@dataclass(frozen=True)
class Plan:
    """What a folder of parts holds."""

    embeddings: str
    """where the rows come from, as every worker finds them"""
    n: int
    """rows"""
    part_rows: int
    """rows of each part but the last"""
    model: str
    """digest of the model"""
    n_latents: int
    k: int
    refine: bool
    candidates: int | None
    zero_rows: ZeroRows

    def parts(self) -> list[tuple[int, int]]:
        """First row of each part, and the row behind its last."""
        return [(start, min(start + self.part_rows, self.n)) for start in range(0, self.n, self.part_rows)]

    def left(self, folder: Path) -> list[tuple[int, int]]:
        """The parts that are not there."""
        return [part for part in self.parts() if not (folder / part_name(part[0])).exists()]


def part_name(start: int) -> str:
    """The file of the part that begins with this row."""
    return f"part-{start:012d}.npz"


def require_folder(folder: PathLike, plan: Plan) -> Path:
    """The folder, where it is new or empty or of an earlier run with this plan; nothing is written.

    Raises
    ------
    DomainError
        If the folder is for something else. OSError if it cannot be written.
    """
    folder = Path(folder)
    require_writable(folder / PLAN if folder.is_dir() else folder)
    if (folder / PLAN).exists():
        _require_same(folder, json.loads((folder / PLAN).read_bytes()), _facts(plan))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DomainError("expected a new or empty folder for the parts, got one with something in it", path=folder)
    return folder


def _facts(plan: Plan) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **asdict(plan)}


def _require_same(folder: Path, found: dict[str, Any], facts: dict[str, Any]) -> None:
    for name in {**facts, **found}:
        if facts.get(name) != found.get(name):
            raise DomainError(
                f"expected an empty folder, or one of an earlier run that was the same, "
                f"got one with {name} {found.get(name)!r} in the place of {facts.get(name)!r}",
                path=folder,
            )


def begin(folder: Path, plan: Plan) -> None:
    """Write the plan."""
    folder.mkdir(exist_ok=True)
    _write_json(folder / PLAN, _facts(plan))
    _forget_halves(folder)


def _forget_halves(folder: Path) -> None:
    """Take away what workers that died left half written."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


def finish(folder: Path, plan: Plan) -> dict[str, Any]:
    """Write the manifest. FormatError if a part is not there."""
    _forget_halves(folder)
    if missing := plan.left(folder):
        raise FormatError(f"expected {part_name(missing[0][0])}, got none", path=folder)
    parts = [
        {"file": part_name(start), "start": start, "stop": stop, "bytes": (folder / part_name(start)).stat().st_size}
        for start, stop in plan.parts()
    ]
    manifest = {**_facts(plan), "parts": parts}
    _write_json(folder / MANIFEST, manifest)
    return manifest


def _write_json(path: Path, facts: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(facts, indent=1).encode() + b"\n")


def is_parts(path: PathLike) -> bool:
    """Whether it is a folder of parts, finished or not."""
    return (Path(path) / PLAN).exists()


def read_manifest(folder: PathLike) -> dict[str, Any]:
    """The manifest of a finished folder.

    Raises
    ------
    FormatError
        Naming the folder: unfinished, or a manifest that is none.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise FormatError(
            "expected a folder with all of its parts, got one that is not finished: encode again", path=folder
        )
    try:
        manifest = json.loads(path.read_bytes())
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            raise ValueError("another format")
        for name in ("n", "k", "n_latents"):
            if type(manifest[name]) is not int or manifest[name] < 1:
                raise ValueError(name)
        if [part["start"] for part in manifest["parts"]] != [start for start, _ in _plan(manifest).parts()]:
            raise ValueError("parts")
    except (ValueError, TypeError, LookupError) as error:
        raise FormatError(f"expected a manifest of version {VERSION}, got something else", path=path) from error
    return dict(manifest)


def _plan(manifest: dict[str, Any]) -> Plan:
    return Plan(**{name: manifest[name] for name in Plan.__dataclass_fields__})


def read_parts(folder: PathLike, manifest: dict[str, Any]) -> Iterator[Codes]:
    """The codes of each part; FormatError for a part that is not what the manifest says."""
    for part in manifest["parts"]:
        path = Path(folder) / Path(part["file"]).name
        codes = load_codes(path)
        expected = (part["stop"] - part["start"], manifest["k"], manifest["n_latents"], manifest["model"])
        if (found := (len(codes), codes.k, codes.n_latents, codes.model)) != expected:
            raise FormatError(f"expected rows, k, n_latents and model {expected}, got {found}", path=path)
        yield codes


def read_part_ids(folder: PathLike, manifest: dict[str, Any]) -> Any:
    """The ids of all parts, or None where they have none."""
    paths = ((Path(folder) / Path(part["file"]).name, part["stop"] - part["start"]) for part in manifest["parts"])
    ids = [load_ids(*each) for each in paths]
    if any(each is None for each in ids):
        return None
    return np.concatenate(ids)  # type: ignore[arg-type]
