"""Read and write a folder of codes in parts: codes files, with ``manifest.json`` once all of them are complete.

``plan.json`` is written first. It holds the settings and the first row of each part. Each part is written under a
temporary name and renamed when it is complete, so an existing part is a finished one. This also holds if several
workers or several runs of the same plan write the same part. The manifest is written last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.checks import ZeroRows, short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.atomic_write import replacing, require_writable
from compressae_ref.files.codes_file import load_codes, load_ids
from compressae_ref.files.foreign.rows import IdEntry
from compressae_ref.files.foreign.shards import one_version
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.npz import PathLike, reading
from compressae_ref.item_ids import as_ids, file_hint

PLAN, MANIFEST = "plan.json", "manifest.json"
FORMAT, VERSION = "compressae-parts", 1

LATER = {"ids": True, "follow_links": False}
"""Settings that older folders do not have, and their defaults, which are not stored."""


@dataclass(frozen=True)
class Plan:
    """The settings of a folder of parts."""

    embeddings: str
    """path of the embeddings, valid for every worker"""
    n: int
    """number of rows"""
    part_rows: int
    """rows per part, except the last"""
    model: str
    """digest of the model"""
    n_latents: int
    k: int
    refine: bool
    candidates: int | None
    zero_rows: ZeroRows
    ids: IdEntry = True
    """where the ids of the embeddings are"""
    follow_links: bool = False
    """whether HDF5 files may refer to data in other files"""

    def parts(self) -> list[tuple[int, int]]:
        """Return the rows [start, stop) of each part."""
        return [(start, min(start + self.part_rows, self.n)) for start in range(0, self.n, self.part_rows)]

    def left(self, folder: Path) -> list[tuple[int, int]]:
        """Return the parts that are not written yet."""
        return [part for part in self.parts() if not (folder / part_name(part[0])).exists()]


def part_name(start: int) -> str:
    """Return the file name of the part that starts at a row."""
    return f"part-{start:012d}.npz"


def require_folder(folder: PathLike, plan: Plan) -> Path:
    """Check that a folder is new, empty, or from an earlier run with the same plan. Nothing is written.

    Raises
    ------
    DomainError
        If the folder has other content. OSError if it cannot be written.
    """
    folder = Path(folder)
    require_writable(folder / PLAN if folder.is_dir() else folder)
    if (folder / PLAN).exists():
        with reading(folder / PLAN, "a plan in JSON"):
            _require_same(folder, json.loads((folder / PLAN).read_bytes()), _facts(plan))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        got = f"one that holds {min(folder.iterdir()).name}" if folder.is_dir() else "a file"
        raise DomainError(f"expected a new or empty folder for the parts, got {got}", path=folder)
    return folder


def _facts(plan: Plan) -> dict[str, Any]:
    facts = {name: value for name, value in asdict(plan).items() if name not in LATER or value is not LATER[name]}
    return {"format": FORMAT, "version": VERSION, **facts}


def _require_same(folder: Path, stored: dict[str, Any], facts: dict[str, Any]) -> None:
    for name in {**facts, **stored}:
        if facts.get(name) != stored.get(name):
            raise DomainError(
                f"expected an empty folder, or one of an earlier run with {name} = {facts.get(name)!r}, "
                f"got {name} = {stored.get(name)!r}",
                path=folder,
                hint="use the same settings to resume, or another folder",
            )


def begin(folder: Path, plan: Plan) -> None:
    """Create the folder and write the plan. DomainError if a run with another plan has begun in the meantime."""
    folder.mkdir(exist_ok=True)
    if (folder / PLAN).exists():
        _require_same(folder, json.loads((folder / PLAN).read_bytes()), _facts(plan))
    _write_json(folder / PLAN, _facts(plan))


def finish(folder: Path, plan: Plan) -> dict[str, Any]:
    """Write the manifest. FormatError if a part is missing."""
    if missing := plan.left(folder):
        raise FormatError(
            f"expected {len(plan.parts())} parts, got all but {part_name(missing[0][0])}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            path=folder,
            hint="run encode again to resume",
        )
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


def parts_written(folder: PathLike) -> tuple[int, int] | None:
    """Return the numbers of written parts and of all parts of a folder, or None if no run has begun there."""
    try:
        plan = _plan(json.loads((Path(folder) / PLAN).read_bytes()))
    except FileNotFoundError:
        return None
    return len(plan.parts()) - len(plan.left(Path(folder))), len(plan.parts())


def is_parts(path: PathLike) -> bool:
    """Return whether a path is a folder of parts, finished or not."""
    return (Path(path) / PLAN).exists()


def read_manifest(folder: PathLike) -> dict[str, Any]:
    """Read the manifest of a finished folder.

    Raises
    ------
    FormatError
        If the folder is not finished, or the manifest is invalid.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise FormatError(
            f"expected a finished folder of parts, got one without {MANIFEST}",
            path=folder,
            hint="run encode again to resume",
        )
    with reading(path, f"a manifest of version {VERSION}"):
        manifest = json.loads(path.read_bytes())
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            got = f"{manifest['format']!r} of version {manifest['version']!r}"
            raise FormatError(f"expected a manifest of version {VERSION}, got {got}")
        for name in ("n", "k", "n_latents"):
            if type(manifest[name]) is not int or manifest[name] < 1:
                raise FormatError(f"expected {name} as a positive integer, got {short_repr(manifest[name])}")
        starts = [part["start"] for part in manifest["parts"]]
        expected = [start for start, _ in _plan(manifest).parts()]
        if starts != expected:
            raise FormatError(f"expected parts that start at rows {short_repr(expected)}, got {short_repr(starts)}")
        return dict(manifest)


def _plan(manifest: dict[str, Any]) -> Plan:
    return Plan(**{name: manifest[name] for name in Plan.__dataclass_fields__ if name not in LATER or name in manifest})


def opened_parts(folder: PathLike) -> Callable[[str], InputFile]:
    """Return a function that opens a part by its name in the manifest. All reads are of one version of the part."""
    opened = one_version(InputFile)
    return lambda name: opened(str(Path(folder) / Path(name).name))


def read_parts(manifest: dict[str, Any], part_file: Callable[[str], InputFile]) -> Iterator[Codes]:
    """Yield the codes of each part. FormatError for a part that does not match the manifest."""
    for part in manifest["parts"]:
        file = part_file(part["file"])
        codes = load_codes(file)
        expected = (part["stop"] - part["start"], manifest["k"], manifest["n_latents"], manifest["model"])
        if (got := (len(codes), codes.k, codes.n_latents, codes.model)) != expected:
            raise FormatError(f"expected rows, k, n_latents and model {expected}, got {got}", path=file.path)
        yield codes


def read_part_ids(folder: PathLike, manifest: dict[str, Any], part_file: Callable[[str], InputFile]) -> Any:
    """Read the ids of all parts. None if no part has ids; FormatError if only some have."""
    files = ((part_file(part["file"]), part["stop"] - part["start"]) for part in manifest["parts"])
    ids = [load_ids(*part) for part in files]
    known = [part for part in ids if part is not None]
    if not known:
        return None
    if len(known) < len(ids):
        name = next(part["file"] for part, each in zip(manifest["parts"], ids, strict=True) if each is None)
        raise FormatError(f"expected ids in every part, got none in {name}", path=folder, hint=file_hint(None))
    return as_ids(np.concatenate(known), manifest["n"], path=folder)
