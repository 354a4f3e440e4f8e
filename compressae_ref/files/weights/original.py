"""Read and write state dicts of the original code: ``encoder_w`` (d, h), ``encoder_b`` (h,), ``decoder_w`` (h, d).

``.safetensors`` needs NumPy only. ``.pt`` needs PyTorch, which is told to unpickle nothing but tensors. A state dict
does not store k. The ``.safetensors`` files written here store k and the training settings in their metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_k, as_params
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.atomic_write import replacing
from compressae_ref.files.foreign.safetensors import open_tensors, write_tensors
from compressae_ref.files.npz import PathLike, Pieces, reading
from compressae_ref.model import Model
from compressae_ref.optional import require_package
from compressae_ref.params import Params

NAMES = {"encoder_w": "W_enc", "encoder_b": "b_enc", "decoder_w": "W_dec"}
"""The original code's names of our arrays."""


def load_state(path: PathLike, kind: str, k: int | None = None) -> Model:
    """Load a model from a state dict.

    Parameters
    ----------
    kind : "safetensors" or "pt"
    k : entries stored per code; None: read it from the file

    Raises
    ------
    FormatError
        If a tensor is missing, shapes do not match, or atoms are not unit rows.
    DomainError
        If neither ``k`` nor the file gives k. BackendError for a ``.pt`` file if PyTorch is not installed.
    """
    tensors, metadata = open_tensors(path) if kind == "safetensors" else (_unpickled(path), {})
    missing = [name for name in NAMES if name not in tensors]
    if missing:
        got = ", ".join(map(str, tensors)) or "a file without tensors"
        raise FormatError(f"expected tensors {', '.join(NAMES)}, got {got}", path=path)
    arrays = {ours: tensors[name] for name, ours in NAMES.items()}
    stored_k, training = _facts(path, metadata)
    return model_of(path, arrays, stored_k if k is None else k, training)


def model_of(path: PathLike, arrays: Mapping[str, Any], k: Any, training: Mapping[str, Any] | None = None) -> Model:
    """Build and check a model. Errors name the file. float16 becomes float32, which holds it exactly."""
    if k is None:
        raise DomainError("expected k for weights that do not store it, got None", path=path, hint="pass k (--k)")
    with reading(path, "weights of a model", convert=True):
        params = as_params(Params(**{name: _wide(array) for name, array in arrays.items()}))
        return Model(params, as_k(k, params.n_latents), training or {})


def require_no_mean(model: Model) -> Params:
    """Return the parameters of a model; DomainError if it is centred, which no other program's format can express.

    The row is scaled again after the mean is subtracted, so the mean cannot become part of the bias.
    """
    if model.params.mean is not None:
        raise DomainError(
            "expected a model without a mean for the format of another program, got a centred model",
            argument="model",
            hint="save it as .npz, or train without center",
        )
    return model.params


def _wide(array: Any) -> NDArray[Any]:
    copy: NDArray[Any] = np.array(array)
    return copy.astype(np.float32) if copy.dtype == np.float16 else copy


def _facts(path: PathLike, metadata: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    with reading(path, "weights with k and training as JSON in the metadata"):
        k, training = json.loads(metadata.get("k", "null")), json.loads(metadata.get("training", "{}"))
    if not isinstance(training, dict):
        raise FormatError(f"expected training settings as a JSON object, got {training!r}", path=path)
    return k, training


def _unpickled(path: PathLike) -> dict[str, NDArray[Any]]:
    torch = require_package("torch", "torch", ".pt files")
    with reading(path, "a state dict of tensors"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    return {name: _numpy(tensor, torch) for name, tensor in tensors.items()}


def _numpy(tensor: Any, torch: Any) -> NDArray[Any]:
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
    return array


def save_state(path: PathLike, model: Model, kind: str) -> None:
    """Write a state dict as "safetensors" or "pt".

    Raises
    ------
    BackendError
        For "pt" if PyTorch is not installed. DomainError for a centred model. OSError if the file cannot be written. No
        partial file remains.
    """
    params = require_no_mean(model)
    arrays = {name: np.ascontiguousarray(getattr(params, ours)) for name, ours in NAMES.items()}
    if kind == "safetensors":
        facts = {"format": "pt", "k": json.dumps(model.k), "training": json.dumps(dict(model.training), sort_keys=True)}
        with replacing(path) as file:
            write_tensors(file, pieces(arrays), facts)
        return
    torch = require_package("torch", "torch", ".pt files")
    with replacing(path) as file:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, file)


def pieces(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Pieces]:
    """Wrap arrays for `write_tensors`, one piece each."""
    return {name: Pieces(array.shape, array.dtype, [array]) for name, array in arrays.items()}
