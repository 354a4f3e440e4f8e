"""Read and write folders with a JSON configuration and ``.safetensors`` weights. They are written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.files.atomic_write import creating_folder
from compressae_ref.files.foreign.safetensors import open_tensors, write_tensors
from compressae_ref.files.npz import PathLike, reading
from compressae_ref.files.weights.original import pieces


def read_folder(path: PathLike, config: str, weights: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Read the configuration and the tensors. FormatError names the invalid file."""
    with reading(Path(path) / config, "a configuration in JSON"):
        settings = json.loads((Path(path) / config).read_bytes())
    if not isinstance(settings, dict):
        raise FormatError(f"expected a JSON object, got {type(settings).__name__}", path=Path(path) / config)
    return settings, open_tensors(Path(path) / weights)[0]


def write_folder(path: PathLike, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a new folder. Files whose names end in ``.safetensors`` hold arrays, all others hold JSON.

    Raises
    ------
    DomainError
        If ``path`` exists. OSError if it cannot be written. No partial folder remains.
    """
    with creating_folder(path) as add:
        for name, content in files.items():
            if name.endswith(".safetensors"):
                write_tensors(add(name), pieces(content), {"format": "pt"})
            else:
                add(name).write(json.dumps(content, indent=2).encode() + b"\n")


def tensor(tensors: Mapping[str, Any], name: str, path: PathLike, ndim: int) -> NDArray[Any]:
    """Return a tensor by name, float16 as float32. FormatError if it is missing or has another number of dimensions."""
    if name not in tensors:
        raise FormatError(f"expected a tensor {name}, got {', '.join(tensors) or 'a file without tensors'}", path=path)
    array = np.array(tensors[name])
    if array.ndim != ndim:
        raise FormatError(f"expected {name} with {ndim} dimensions, got shape {array.shape}", path=path)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def require_zeros(tensors: Mapping[str, Any], bias: str, path: PathLike) -> None:
    """Raise FormatError if the bias of a decoder, a tensor by name, has a value other than 0."""
    if count := np.count_nonzero(tensor(tensors, bias, path, 1)):
        raise FormatError(
            f"expected {bias} of zeros, because a CompresSAE's decoder has no bias, got {count} values other than 0",
            path=path,
        )
