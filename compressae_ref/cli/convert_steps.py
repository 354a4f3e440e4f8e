"""The steps of ``convert``: convert embeddings, codes or a model, with their ids."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from compressae_ref.cli.any_model import load_any_model, save_any_model
from compressae_ref.errors import DomainError, FormatError, naming_file, reason
from compressae_ref.files.atomic_write import require_output
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import input_files, open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.foreign.write import WITH_IDS, write_codes, write_embeddings
from compressae_ref.item_ids import as_ids, reject_repeated


def convert_file(options: argparse.Namespace) -> str:
    """Convert ``options.input`` to ``options.output``; return a description of what was written."""
    require_output(options.output, *input_files(options.input))
    content = content_of(options.input)
    kind = "codes" if content == "codes" else "embeddings" if content == "embeddings" else "model"
    _check_options(options, kind)
    return _CONVERT[kind](options)


_ONLY_FOR = {
    "ids": ("embeddings", "codes"),
    "dtype": ("embeddings",),
    "n_latents": ("codes",),
    "k": ("model",),
    "to": ("model",),
}
"""The kinds of input to which an option applies."""


def _check_options(options: argparse.Namespace, kind: str) -> None:
    for name, kinds in _ONLY_FOR.items():
        if getattr(options, name) is not None and kind not in kinds:
            raise DomainError(
                f"expected {' or '.join(kinds)} as INPUT with --{name.replace('_', '-')}, got {kind}",
                argument="convert",
            )


def _model(options: argparse.Namespace) -> str:
    model = load_any_model(options.input, options.k)
    save_any_model(options.output, model, options.to)
    return f"a model, d {model.params.d}, {model.params.n_latents} latents, k {model.k}"


def _codes(options: argparse.Namespace) -> str:
    rows = open_codes(options.input, options.n_latents)
    ids = _ids(options, rows.ids, rows.n)
    with naming_file(options.input, "codes"):
        write_codes(options.output, rows.blocks(), rows.n, ids=ids)
    return f"{rows.n} codes, k {rows.k} of {rows.n_latents} latents{_ids_dropped(options.output, ids)}"


def _embeddings(options: argparse.Namespace) -> str:
    rows = open_embeddings(options.input, follow_links=options.follow_links)
    ids = _ids(options, ids_of(rows), len(rows))
    with naming_file(options.input):
        write_embeddings(options.output, rows, ids=ids, dtype=options.dtype)
    return f"{len(rows)} embeddings, d {rows.shape[1]}{_ids_dropped(options.output, ids)}"


def _ids(options: argparse.Namespace, ids_in_input: Any, n: int) -> NDArray[Any] | None:
    """Return the ids of ``--ids`` or else those of the input."""
    if options.ids is None:
        return None if ids_in_input is None else as_ids(ids_in_input)
    ids = read_id_lines(options.ids)
    if len(ids) != n:
        raise DomainError(f"expected {n} ids, one for each row, got {len(ids)}", path=options.ids)
    return ids


def read_id_lines(path: str) -> NDArray[Any]:
    """Read ids from a text file with one per line: integers if all lines are integers, else strings."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"expected a UTF-8 text file with one id per line, got {reason(error)}", path=path) from error
    ids = as_ids(_as_integers(lines), path)
    try:
        reject_repeated(ids.tolist())
    except DomainError as error:
        error.path = path
        raise
    return ids


def _as_integers(lines: Sequence[str]) -> list[Any]:
    try:
        return [int(line) for line in lines]
    except ValueError:
        return [*lines]


def _ids_dropped(path: str, ids: NDArray[Any] | None) -> str:
    return "" if ids is None or kind_by_name(path) in WITH_IDS else " (without ids, which this format cannot store)"


_CONVERT = {"model": _model, "codes": _codes, "embeddings": _embeddings}
