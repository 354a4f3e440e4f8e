"""How ``convert`` turns embeddings, codes and models from one format into another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from compressae_ref.cli.any_model import load_any_model, save_any_model
from compressae_ref.errors import DomainError, FormatError, named
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.foreign.write import WITH_IDS, write_codes, write_embeddings
from compressae_ref.files.npz import require_output
from compressae_ref.item_ids import as_ids, reject_repeated


def convert_file(options: argparse.Namespace) -> str:
    """Convert ``options.input`` into ``options.output``; returns in words what was written."""
    require_output(options.output, options.input)
    content = content_of(options.input)
    about = "codes" if content == "codes" else "embeddings" if content == "embeddings" else "model"
    _refuse(options, about)
    return _CONVERT[about](options)


_ONLY_FOR = {
    "ids": ("embeddings", "codes"),
    "dtype": ("embeddings",),
    "n_latents": ("codes",),
    "k": ("model",),
    "to": ("model",),
}
"""Options that mean something for some of what can be converted."""


def _refuse(options: argparse.Namespace, about: str) -> None:
    for name, meant in _ONLY_FOR.items():
        if getattr(options, name) is not None and about not in meant:
            raise DomainError(
                f"expected --{name.replace('_', '-')} for {' or '.join(meant)}, got {about}", argument="convert"
            )


def _model(options: argparse.Namespace) -> str:
    model = load_any_model(options.input, options.k)
    save_any_model(options.output, model, options.to)
    return f"a model, d {model.params.d}, {model.params.n_latents} latents, k {model.k}"


def _codes(options: argparse.Namespace) -> str:
    rows = open_codes(options.input, options.n_latents)
    ids = _ids(options, rows.ids, rows.n)
    with named(options.input, "codes"):
        write_codes(options.output, rows.blocks(), rows.n, ids=ids)
    return f"{rows.n} codes, k {rows.k} of {rows.n_latents} latents{_lost(options.output, ids)}"


def _embeddings(options: argparse.Namespace) -> str:
    rows = open_embeddings(options.input)
    ids = _ids(options, ids_of(rows), len(rows))
    with named(options.input):
        write_embeddings(options.output, rows, ids=ids, dtype=options.dtype)
    return f"{len(rows)} embeddings, d {rows.shape[1]}{_lost(options.output, ids)}"


def _ids(options: argparse.Namespace, own: Any, n: int) -> NDArray[Any] | None:
    """Take ids from a file of lines, or those that the rows have."""
    if options.ids is None:
        return None if own is None else as_ids(own)
    ids = read_id_lines(options.ids)
    if len(ids) != n:
        raise DomainError(f"expected an id for each of {n} rows, got {len(ids)}", path=options.ids)
    return ids


def read_id_lines(path: str) -> NDArray[Any]:
    """Read ids from a text file, one a line: whole numbers if all are, else texts."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise FormatError("expected a text with an id in each line, got something else", path=path) from error
    ids = as_ids(_as_numbers(lines), path)
    try:
        reject_repeated(ids.tolist())
    except DomainError as error:
        error.path = path
        raise
    return ids


def _as_numbers(lines: Sequence[str]) -> list[Any]:
    try:
        return [int(line) for line in lines]
    except ValueError:
        return [*lines]


def _lost(path: str, ids: NDArray[Any] | None) -> str:
    return (
        "" if ids is None or kind_by_name(path) in WITH_IDS else " (without their ids, which this format does not keep)"
    )


_CONVERT = {"model": _model, "codes": _codes, "embeddings": _embeddings}
