"""Models in every format that this package reads or writes."""

from __future__ import annotations

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
"""Functions that write a folder of weights for another program, by the program's name."""


def load_any_model(path: str, k: int | None = None) -> Model:
    """Load a model from a file of this package, from a state dict of the original, or from a folder of `FOLDERS`.

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
