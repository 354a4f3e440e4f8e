"""Answer the operations of small model files with this package."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.files.model_file import load_encoder, load_model
from compressae_ref.files.stored_weights import decoded, stored
from compressae_ref.verify.vectors import Values

WEIGHTS = ("W_enc", "W_dec")


def _round_weights(backend: Backend, **weights: Floats) -> Values:
    rounded: Values = {}
    for name in WEIGHTS:
        members = stored(name, weights[name], "int8")
        rounded |= {f"{name}_q": members[name].astype(np.int32), f"{name}_scales": members[f"{name}_scales"]}
    return rounded


def _decode_weights(backend: Backend, **members: NDArray[Any]) -> Values:
    stored_as = {name: members[f"{name}_q"].astype(np.int8) for name in WEIGHTS}
    return {name: decoded(name, members | stored_as, "int8") for name in WEIGHTS}


def _read_small_model(backend: Backend, file: Any) -> Values:
    model = _on_disk(file, load_model)
    return {**_arrays(model.params.arrays()), "k": model.k, "digest": model.digest}


def _read_encoder(backend: Backend, file: Any) -> Values:
    encoder = _on_disk(file, load_encoder)
    return {**_arrays(encoder.params.arrays()), "k": encoder.k, "digest": encoder.digest}


def _arrays(arrays: Values) -> Values:
    return {name: array for name, array in arrays.items() if name != "mean"}


def _on_disk(file: Any, load: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npz"
        file.tofile(path)
        return load(path)


ANSWERS: dict[str, Callable[..., Values]] = {
    "round_weights": _round_weights,
    "decode_weights": _decode_weights,
    "read_small_model": _read_small_model,
    "read_encoder": _read_encoder,
}
