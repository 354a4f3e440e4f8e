"""Model files of version 3, written and decoded as spec/small.md states, without the package's own writer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from compressae_ref import Model, Params


def digest(arrays: dict[str, np.ndarray]) -> str:
    sha = hashlib.sha256()
    for name, array in arrays.items():
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return sha.hexdigest()


def rounded(matrix: np.ndarray, weights: str, latents: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Members of a file, named "" and "_scales", and the decoded matrix; ``latents`` is the axis of the latents."""
    if weights != "int8":
        stored = matrix.astype({"float16": "<f2"}.get(weights, matrix.dtype))
        return {"": stored}, stored.astype(matrix.dtype)
    other = 1 - latents
    scales = (np.abs(matrix).max(axis=other, keepdims=True) / 127).astype("<f4")
    scales[scales < 2.0**-126] = 1
    q = np.rint(matrix / scales).clip(-127, 127).astype(np.int8)
    if latents == 0:
        scales = (1 / np.sqrt((q.astype(np.float64) ** 2).sum(axis=1, keepdims=True))).astype("<f4")
    return {"": q, "_scales": scales.ravel()}, q.astype("<f4") * scales


def small_file(path: Path, model: Model, weights: str, only: str | None = None, changes: dict | None = None) -> Model:
    """Write a file of version 3; return the model that it stores."""
    members, decoded = {}, {}
    for name, latents in (("W_enc", 1), ("b_enc", None), ("W_dec", 0), ("mean", None)):
        array = getattr(model.params, name)
        if array is None:
            continue
        parts, decoded[name] = ({"": array}, array) if latents is None else rounded(array, weights, latents)
        if name != "W_dec" or only is None:
            members |= {name + end: part for end, part in parts.items()}
    d, h = decoded["W_enc"].shape
    meta = {
        "format": "compressae-model", "version": 3, "d": d, "n_latents": h, "k": model.k, "training": {},
        "weights": weights, "dtype": str(decoded["b_enc"].dtype), "only": only, "centered": "mean" in decoded,
        "digest": digest(decoded), "encoder": digest({n: a for n, a in decoded.items() if n != "W_dec"}),
    }  # fmt: skip
    np.savez(
        path, **{name: np.ascontiguousarray(a) for name, a in members.items()}, meta=json.dumps(meta | (changes or {}))
    )
    return Model(Params(**decoded), model.k)
