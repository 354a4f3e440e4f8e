"""How well a model explains items: the signal to train again (E55)."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.model import Model
from compressae_ref.unit_blocks import open_rows, unit_blocks

QUANTILE = 0.05


def explained(model: Model, x: Any, codes: Codes, backend: str | Backend | None = None) -> Floats:
    """Return the cosine of each row x̄ with the reconstruction x̂ of its code (E9): (n,).

    A row of zeros, with a code of zeros, has the cosine 0.
    """
    model.check_codes(codes)
    kernels = get_backend(backend)
    rows = open_rows(x, kernels, d=model.params.d)
    if len(rows) != len(codes):
        raise ShapeError(f"expected {len(codes):,} rows, one for each code, got {len(rows):,}", argument="embeddings")
    params, parts = kernels.place_params(model.params), []
    for block in unit_blocks(rows, params.dtype, kernels, "empty", mean=model.params.mean):
        x_unit = kernels.fetch(block.x_unit)
        own = codes[block.start : block.start + len(x_unit)].astype(params.dtype)
        parts.append(reference.cosine(x_unit, kernels.fetch(kernels.decode(own, params.W_dec))))
    return np.concatenate(parts)


def low_quantile(cosines: Floats, quantile: float = QUANTILE) -> float:
    """Return the cosine number ⌊quantile · n⌋ in ascending order, from 0 (E55)."""
    return float(np.sort(cosines)[int(quantile * len(cosines))])
