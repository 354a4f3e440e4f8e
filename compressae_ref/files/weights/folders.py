"""Folders with a configuration in JSON and weights in ``.safetensors``: read, and written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.foreign.safetensors import open_tensors, write_tensors
from compressae_ref.files.npz import PathLike, replacing, require_writable
from compressae_ref.files.weights.original import pieces


def read_folder(path: PathLike, config: str, weights: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and tensors; FormatError with the name of the file that is wrong."""
    try:
        found = json.loads((Path(path) / config).read_bytes())
    except ValueError as error:
        raise FormatError("expected a configuration in JSON, got something else", path=Path(path) / config) from error
    if not isinstance(found, dict):
        raise FormatError(f"expected settings by name, got {type(found).__name__}", path=Path(path) / config)
    return found, open_tensors(Path(path) / weights)[0]


def write_folder(path: PathLike, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write files of a new folder: arrays as ``.safetensors``, anything else as JSON.

    Raises
    ------
    DomainError
        If there is something at ``path``. OSError if it cannot be written. Nothing is left behind.
    """
    path = Path(path)
    if path.exists():
        raise DomainError("expected the name of a new folder, got one that is there", path=path)
    require_writable(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir()
        for name, content in files.items():
            with replacing(temporary / name) as file:
                if name.endswith(".safetensors"):
                    write_tensors(file, pieces(content), {"format": "pt"})
                else:
                    file.write(json.dumps(content, indent=2).encode() + b"\n")
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def tensor(tensors: Mapping[str, Any], name: str, path: PathLike, ndim: int) -> NDArray[Any]:
    """A tensor that must be there with so many dimensions."""
    if name not in tensors:
        raise FormatError(f"expected a tensor {name}, got {', '.join(tensors) or 'none'}", path=path)
    array = np.array(tensors[name])
    if array.ndim != ndim:
        raise FormatError(f"expected {name} with {ndim} dimensions, got shape {array.shape}", path=path)
    return array.astype(np.float32) if array.dtype == np.float16 else array
