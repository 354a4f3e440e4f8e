"""Load and save models in every supported format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from compressae_ref.checks import as_k
from compressae_ref.errors import FormatError, naming_file
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.model_file import load_model_or_encoder, save_model
from compressae_ref.files.npz import PathLike
from compressae_ref.files.stored_weights import Weights
from compressae_ref.files.weights.original import load_state, save_state
from compressae_ref.files.weights.saelens import load_saelens, save_saelens
from compressae_ref.files.weights.sentence_transformers import load_sentence_transformers, save_sentence_transformers
from compressae_ref.model import Encoder, Model, whole_model

FOLDERS = {"saelens": save_saelens, "sentence-transformers": save_sentence_transformers}
"""Functions that save a model as a folder for another program, by the name of the program."""


def load_any_model(path: str, k: int | None = None) -> Model:
    """Load a model from a model file, from a state dict of the original code, or from a folder of `FOLDERS`.

    Parameters
    ----------
    path : the file or folder; its content decides how it is read
    k : entries stored per code; required if the weights do not record it

    Raises
    ------
    FormatError
        If the file or folder holds no CompresSAE model, or only the encoder of one.
    DomainError
        If k is missing or out of range.
    BackendError
        If reading a ``.pt`` file requires PyTorch, which is not installed.
    """
    with naming_file(path, "model"):
        return whole_model(load_any_encoder(path, k))


def load_any_encoder(path: str, k: int | None = None) -> Encoder:
    """Load a model as `load_any_model`, or an encoder from an encoder-only file."""
    content = content_of(path)
    if content == "model":
        model = load_model_or_encoder(path)
        return model if k is None else replace(model, k=as_k(k, model.params.n_latents))
    if content in ("state", "pt"):
        return load_state(path, "safetensors" if content == "state" else "pt", k)
    if content == "saelens":
        return load_saelens(path, k)
    if content == "sentence-transformers":
        return load_sentence_transformers(path, k)
    raise FormatError(f"expected a model, got {content}", path=path)


def save_any_model(
    path: PathLike,
    model: Encoder,
    to: str | None = None,
    *,
    weights: Weights | None = None,
    only: Literal["encoder"] | None = None,
) -> None:
    """Save a model as the folder ``to`` of `FOLDERS`, or in the format of the extension: .npz, .safetensors or .pt.

    Raises
    ------
    FormatError
        If ``to`` is None and the extension is none of these. If other files than .npz are given ``weights`` or
        ``only``, or an encoder without W_dec.
    """
    kind = kind_by_name(path) if to is None else to
    if kind == "npz":
        save_model(path, model, weights=weights, only=only)
        return
    if kind not in (*FOLDERS, "safetensors", "pt"):
        raise FormatError(
            f"expected a name that ends in .npz, .safetensors or .pt for a model, got {Path(path).name!r}",
            path=path,
            hint=f"for a folder, give --to {' or --to '.join(FOLDERS)}",
        )
    for option, value in (("weights", weights), ("only", only)):
        if value is not None:
            raise FormatError(f"expected a name that ends in .npz with --{option} {value}, got {kind}", path=path)
    if kind in FOLDERS:
        FOLDERS[kind](path, whole_model(model))
    else:
        save_state(path, whole_model(model), kind)
