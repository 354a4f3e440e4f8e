"""Load and save models in every supported format."""

from __future__ import annotations

from pathlib import Path

from compressae_ref.checks import as_k
from compressae_ref.errors import FormatError
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.sniff import kind_by_name
from compressae_ref.files.model_file import load_model, save_model
from compressae_ref.files.npz import PathLike
from compressae_ref.files.weights.original import load_state, save_state
from compressae_ref.files.weights.saelens import load_saelens, save_saelens
from compressae_ref.files.weights.sentence_transformers import load_sentence_transformers, save_sentence_transformers
from compressae_ref.model import Model

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
        If the file or folder holds no CompresSAE model.
    DomainError
        If k is missing or out of range.
    BackendError
        If reading a ``.pt`` file requires PyTorch, which is not installed.
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
    """Save a model as the folder ``to`` of `FOLDERS`, or in the format of the extension: .npz, .safetensors or .pt.

    Raises
    ------
    FormatError
        If ``to`` is None and the extension is none of these.
    """
    kind = kind_by_name(path)
    if to is not None:
        FOLDERS[to](path, model)
    elif kind == "npz":
        save_model(path, model)
    elif kind in ("safetensors", "pt"):
        save_state(path, model, kind)
    else:
        raise FormatError(
            f"expected a name that ends in .npz, .safetensors or .pt for a model, got {Path(path).name!r}",
            path=path,
            hint=f"for a folder, give --to {' or --to '.join(FOLDERS)}",
        )
