"""The steps of ``convert``: convert embeddings, codes or a model, with their ids."""

from __future__ import annotations

import argparse

from compressae_ref.cli.any_model import load_any_model, save_any_model
from compressae_ref.cli.convert_onnx import OPTIONS, is_onnx, write_onnx
from compressae_ref.cli.given import called
from compressae_ref.cli.ids_option import id_entry_of, ids_by, ids_option, open_with_ids
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.write import without_ids, write_codes, write_embeddings
from compressae_ref.files.packed_file import is_packed
from compressae_ref.row_source import check_rows


def convert_file(options: argparse.Namespace) -> str:
    """Convert ``options.input`` to ``options.output``; return a description of what was written."""
    require_writable(options.output)
    content = content_of(options.input)
    kind = "codes" if content == "codes" else "embeddings" if content == "embeddings" else "model"
    _check_options(options, kind)
    return _CONVERT[kind](options)


_ONLY_FOR = {
    "ids": ("embeddings", "codes"),
    "id_column": ("embeddings", "codes"),
    "dtype": ("embeddings",),
    "zero_rows": ("embeddings",),
    "follow_links": ("embeddings",),
    "n_latents": ("codes",),
    "k": ("model",),
    "to": ("model",),
    **dict.fromkeys(OPTIONS, ("model",)),
}
"""The kinds of input to which an option applies."""


def _check_options(options: argparse.Namespace, kind: str) -> None:
    for name, kinds in _ONLY_FOR.items():
        if name in options.given and kind not in kinds:
            expected = " or ".join(map(_called, kinds))
            message = f"expected {expected} as INPUT with {called(options, name)}, got {_called(kind)}"
            raise DomainError(message, argument="convert")


def _called(kind: str) -> str:
    return "a model" if kind == "model" else kind


def _model(options: argparse.Namespace) -> str:
    onnx = is_onnx(options)
    model = load_any_model(options.input, options.k)
    if onnx:
        return write_onnx(options, model)
    save_any_model(options.output, model, options.to)
    return f"a model, d {model.params.d}, {model.params.n_latents} latents, k {model.k}"


def _codes(options: argparse.Namespace) -> str:
    option = ids_option(options)
    rows = open_codes(options.input, options.n_latents, id_entry_of(option))
    ids = ids_by(option, rows.n, lambda: rows.ids)
    with naming_file(options.input, "codes"):
        write_codes(options.output, rows.blocks(), rows.n, ids=ids)
    unpacked = ", unpacked" if is_packed(options.input) else ""
    return f"{rows.n} codes{unpacked}, k {rows.k} of {rows.n_latents} latents{without_ids(options.output, ids)}"


def _embeddings(options: argparse.Namespace) -> str:
    rows, ids, tell_ids = open_with_ids(options.input, options)
    with naming_file(options.input):
        if options.zero_rows == "error":
            check_rows(rows)
        write_embeddings(options.output, rows, ids=ids, dtype=options.dtype)
    tell_ids()
    return f"{len(rows)} embeddings, d {rows.shape[1]}{without_ids(options.output, ids)}"


_CONVERT = {"model": _model, "codes": _codes, "embeddings": _embeddings}
