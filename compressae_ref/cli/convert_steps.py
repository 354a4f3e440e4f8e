"""The steps of ``convert``: convert embeddings, codes or a model, with their ids."""

from __future__ import annotations

import argparse
from pathlib import Path

from compressae_ref.cli.any_model import load_any_encoder, save_any_model
from compressae_ref.cli.convert_onnx import OPTIONS, is_onnx, write_onnx
from compressae_ref.cli.given import called
from compressae_ref.cli.ids_option import id_entry_of, ids_by, ids_option, open_with_ids
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.foreign.write import without_ids, write_codes, write_embeddings
from compressae_ref.files.model_file import describe, load_encoder
from compressae_ref.files.packed_file import is_packed
from compressae_ref.files.stored_weights import Weights
from compressae_ref.model import Encoder
from compressae_ref.row_source import check_rows


def convert_file(options: argparse.Namespace) -> str:
    """Convert ``options.input`` to ``options.output``; return a description of what was written."""
    require_writable(options.output)
    content = content_of(options.input)
    kind = "codes" if content == "codes" else "embeddings" if content == "embeddings" else "model"
    _check_options(options, kind)
    if kind != "model" and kind_by_name(options.output) in ONLY_MODELS:
        suffix = Path(options.output).suffix
        message = f"expected a model as INPUT with an OUTPUT that ends in {suffix}, got {kind}"
        raise DomainError(message, argument="convert")
    return _CONVERT[kind](options)


ONLY_MODELS = ("onnx", "pt")
"""Formats of an output that store models alone."""

_ONLY_FOR = {
    "ids": ("embeddings", "codes"),
    "id_column": ("embeddings", "codes"),
    "dtype": ("embeddings",),
    "zero_rows": ("embeddings",),
    "follow_links": ("embeddings",),
    "n_latents": ("codes",),
    "k": ("model",),
    "to": ("model",),
    "weights": ("model",),
    "only": ("model",),
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
    model = load_any_encoder(options.input, options.k)
    if onnx:
        with naming_file(options.input, "model"):
            return write_onnx(options, model, _stored_weights(options.input))
    of_ours = options.to is None and kind_by_name(options.output) == "npz"
    weights = options.weights or (_stored_weights(options.input) if of_ours else None)
    with naming_file(options.input, "weights", "model"):
        save_any_model(options.output, model, options.to, weights=weights, only=options.only)
    shape = f"d {model.params.d}, {model.params.n_latents} latents, k {model.k}"
    return _written(options, model, shape) if of_ours else f"a model, {shape}"


def _stored_weights(path: str) -> Weights | None:
    """Return how a model file of this package stores its weights; None for the models of other programs."""
    return describe(path).get("weights") if content_of(path) == "model" else None


def _written(options: argparse.Namespace, model: Encoder, shape: str) -> str:
    """Describe a model file that was written, and say whether it is another model than that of the input."""
    written, meta = load_encoder(options.output), describe(options.output)
    only = "an encoder only" if meta.get("only") else "a model"
    weights = meta.get("weights", written.params.dtype.name)
    text = f"{only}, {shape}, weights {weights}, {Path(options.output).stat().st_size:,} bytes"
    if written.digest == model.digest:
        return text
    return (
        f"{text}; this is another model ({written.digest[:12]}) than {options.input} ({model.digest[:12]}): encode the "
        "items again, since codes of the two models cannot be mixed"
    )


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
