"""Answer the operations of residual codes (`spec/residual.md`) with this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.checks import as_k
from compressae_ref.extensions.packed_codes import PackedCodes
from compressae_ref.extensions.residual_codec import ResidualCodec
from compressae_ref.extensions.residual_codes import ResidualCodes, residual_bytes
from compressae_ref.model import Model
from compressae_ref.params import Params
from compressae_ref.retrieval.residual_index import ResidualIndex
from compressae_ref.unit_blocks import HostRows, unit_blocks
from compressae_ref.verify.vectors import Values


def _model(W_dec: Floats) -> Model:
    return Model(Params(W_dec.T, np.zeros(len(W_dec), W_dec.dtype), W_dec), 1)


def _codec(model: Model, k: int, **fields: Any) -> ResidualCodec:
    h = model.params.n_latents
    return ResidualCodec(**fields, n_latents=h, k=as_k(k, h), model=model.digest)


def _encode_residual(backend: Backend, x: Floats, packed: Any, W_dec: Floats, **fields: Any) -> Values:
    model = _model(W_dec)
    codec = _codec(model, **fields)
    block = next(unit_blocks(HostRows(x, d=model.params.d), W_dec.dtype, backend))
    sparse = PackedCodes(packed, codec.n_latents, codec.k, codec.value_bits)
    return {"rest": residual_bytes(sparse, backend.fetch(block.x_unit), model, codec, backend)}


def _codes(model: Model, packed: Any, rest: Any, **fields: Any) -> ResidualCodes:
    data: NDArray[np.uint8] = np.hstack([packed, rest])
    codes = ResidualCodes(data, _codec(model, **fields))
    codes.check()
    return codes


def _decode_residual(backend: Backend, W_dec: Floats, **parts: Any) -> Values:
    model = _model(W_dec)
    return {"x_hat": _codes(model, **parts).decode(model, backend=backend)}


def _search_residual(backend: Backend, top: int, queries: Floats, W_dec: Floats, **parts: Any) -> Values:
    model = _model(W_dec)
    hits = ResidualIndex(_codes(model, **parts), model, backend=backend).search(queries, top, exact=True)
    return {"ids": hits.ids, "scores": hits.scores}


ANSWERS: dict[str, Callable[..., Values]] = {
    "encode_residual": _encode_residual,
    "decode_residual": _decode_residual,
    "search_residual": _search_residual,
}
"""The function for each operation; it takes the backend and the inputs as arguments."""
