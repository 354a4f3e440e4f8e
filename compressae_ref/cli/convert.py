"""From one format to another: embeddings, codes and models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from compressae_ref.checks import as_k
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import DomainError, FormatError, named
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.foreign.write import WITH_IDS, write_codes, write_embeddings
from compressae_ref.files.model_file import load_model, save_model
from compressae_ref.files.npz import PathLike, require_output
from compressae_ref.files.weights.original import load_state, save_state
from compressae_ref.files.weights.saelens import load_saelens, save_saelens
from compressae_ref.files.weights.sentence_transformers import load_sentence_transformers, save_sentence_transformers
from compressae_ref.item_ids import as_ids, reject_repeated
from compressae_ref.model import Model

FOLDERS = {"saelens": save_saelens, "sentence-transformers": save_sentence_transformers}
"""What writes folders of weights for other programs."""


def run_conversion(options: argparse.Namespace) -> None:
    """The command ``convert``."""
    require_output(options.output, options.input)
    content = content_of(options.input)
    about = "codes" if content == "codes" else "embeddings" if content == "embeddings" else "model"
    _refuse(options, about)
    tell(f"{options.output}: {_CONVERT[about](options)}")


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


def load_any_model(path: str, k: int | None = None) -> Model:
    """A model from a file of this package, from a state dict of the original, or from a folder of `FOLDERS`.

    Raises
    ------
    FormatError, DomainError
        Naming the file, and why it is no CompresSAE, or that k is missing. BackendError for a ``.pt`` without PyTorch.
    """
    content = content_of(path)
    if content == "model":
        model = load_model(path)
        return model if k is None else Model(model.params, as_k(k, model.params.n_latents), model.training)
    if content in ("state", "pt"):
        return load_state(path, "safetensors" if content == "state" else "pt", k)
    if content == "saelens":
        return load_saelens(path, k)
    if content == "sentence-transformers":
        return load_sentence_transformers(path, k)
    raise FormatError(f"expected a model, got {content}", path=path)


def save_any_model(path: PathLike, model: Model, to: str | None = None) -> None:
    """Write a model as ``to`` in `FOLDERS`, or as the end of the name says: .npz, .safetensors, .pt."""
    kind = kind_by_name(path)
    if to is not None:
        FOLDERS[to](path, model)
    elif kind == "npz":
        save_model(path, model)
    elif kind in ("safetensors", "pt"):
        save_state(path, model, kind)
    else:
        raise FormatError(
            f"expected a name that ends in .npz, .safetensors, .pt, or --to {' or '.join(FOLDERS)}", path=path
        )


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
    """Ids from a file of lines, or those that the rows have."""
    if options.ids is None:
        return None if own is None else as_ids(own)
    ids = read_id_lines(options.ids)
    if len(ids) != n:
        raise DomainError(f"expected an id for each of {n} rows, got {len(ids)}", path=options.ids)
    return ids


def read_id_lines(path: str) -> NDArray[Any]:
    """Ids from a text file, one a line: whole numbers, if all are, else texts."""
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
