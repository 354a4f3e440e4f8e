"""The state dict of the original code: ``encoder_w`` (d, h), ``encoder_b`` (h,), ``decoder_w`` (h, d).

``.safetensors`` is read and written with NumPy alone, ``.pt`` by PyTorch, which unpickles nothing but tensors. A state
dict does not say k; a ``.safetensors`` file written here says it, and the settings of the training, in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import DomainError, FormatError, format_error
from compressae_ref.files.foreign.safetensors import open_tensors, write_tensors
from compressae_ref.files.npz import PathLike, Pieces, replacing
from compressae_ref.model import Model
from compressae_ref.optional import needed_package
from compressae_ref.params import Params

NAMES = {"encoder_w": "W_enc", "encoder_b": "b_enc", "decoder_w": "W_dec"}
"""What the original calls our arrays."""


def load_state(path: PathLike, kind: str, k: int | None = None) -> Model:
    """A model from a state dict.

    Parameters
    ----------
    kind : "safetensors" or "pt"
    k : entries stored per code; None: what the file says, if it does

    Raises
    ------
    FormatError
        Naming the file: no state dict of these tensors, shapes that do not fit together, atoms that are not unit.
    DomainError
        Without k. BackendError for a ``.pt`` where PyTorch is not installed.
    """
    tensors, metadata = open_tensors(path) if kind == "safetensors" else (_unpickled(path), {})
    missing = [name for name in NAMES if name not in tensors]
    if missing:
        raise FormatError(
            f"expected tensors {', '.join(NAMES)}, got {', '.join(map(str, tensors)) or 'none'}", path=path
        )
    arrays = {ours: tensors[name] for name, ours in NAMES.items()}
    said, training = _facts(path, metadata)
    return model_of(path, arrays, said if k is None else k, training)


def model_of(path: PathLike, arrays: Mapping[str, Any], k: Any, training: Mapping[str, Any] | None = None) -> Model:
    """A checked model; errors name the file or folder. float16 becomes float32, which holds it exactly."""
    if k is None:
        raise DomainError("expected k for weights that do not say it (--k), got none", path=path)
    try:
        params = as_params(Params(**{name: _wide(array) for name, array in arrays.items()}))
        return Model(params, as_k(k, params.n_latents), training or {})
    except ValueError as error:
        raise format_error(path, error) from error


def _wide(array: Any) -> NDArray[Any]:
    own: NDArray[Any] = np.array(array)
    return own.astype(np.float32) if own.dtype == np.float16 else own


def _facts(path: PathLike, metadata: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    try:
        said, training = json.loads(metadata.get("k", "null")), json.loads(metadata.get("training", "{}"))
    except ValueError as error:
        raise FormatError("expected k and training as JSON in the metadata, got something else", path=path) from error
    if not isinstance(training, dict):
        raise FormatError(f"expected training settings by name, got {training!r}", path=path)
    return said, training


def _unpickled(path: PathLike) -> dict[str, NDArray[Any]]:
    torch = needed_package("torch", "torch", ".pt files")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    except FileNotFoundError:
        raise
    except Exception as error:  # unpicklers raise anything
        raise FormatError("expected a state dict of tensors, got something else or a part of one", path=path) from error
    return {name: _numpy(tensor, torch) for name, tensor in tensors.items()}


def _numpy(tensor: Any, torch: Any) -> NDArray[Any]:
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
    return array


def save_state(path: PathLike, model: Model, kind: str) -> None:
    """Write a state dict as "safetensors" or "pt".

    Raises
    ------
    BackendError
        For "pt" where PyTorch is not installed. OSError if the file cannot be written. Nothing is left behind.
    """
    arrays = {name: np.ascontiguousarray(getattr(model.params, ours)) for name, ours in NAMES.items()}
    if kind == "safetensors":
        facts = {"format": "pt", "k": json.dumps(model.k), "training": json.dumps(dict(model.training), sort_keys=True)}
        with replacing(path) as file:
            write_tensors(file, pieces(arrays), facts)
        return
    torch = needed_package("torch", "torch", ".pt files")
    with replacing(path) as file:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, file)


def pieces(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Pieces]:
    """Whole arrays as what is written piece by piece."""
    return {name: Pieces(array.shape, array.dtype, [array]) for name, array in arrays.items()}
