"""The "numba" backend: kernels for the CPU. Each gives the same bits as its namesake in `compressae_ref.reference`.

That holds because every sum runs in the order that ops states, whatever the number of threads: each row, latent or pair
of rows has one owner. No ``fastmath`` where a number is kept, so nothing is reordered and no multiply-add is fused.
Rows are read through ``indices`` without a bounds check: `Codes` has checked them.
"""

from compressae_ref.backends.numba.bit_packing import unpack_rows
from compressae_ref.backends.numba.encode import encode
from compressae_ref.backends.numba.inverted_index import build_index, load_index
from compressae_ref.backends.numba.matching_pursuit import refine_unit
from compressae_ref.backends.numba.rows import (
    adam_update,
    codes_dot,
    loss_backward,
    renormalize_decoder,
    unit_rows,
)
from compressae_ref.backends.numba.search import best_items
from compressae_ref.backends.numba.sparse_products import (
    decode,
    decode_backward_values,
    decode_nested,
    weights_backward,
)
from compressae_ref.backends.numba.sums import pair_dots
from compressae_ref.backends.numba.topk import split_codes
from compressae_ref.backends.numpy import count_latents, fetch, pack_rows, place, place_params, project_decoder_gradient

name = "numba"

__all__ = [
    "adam_update",
    "best_items",
    "codes_dot",
    "count_latents",
    "decode",
    "decode_backward_values",
    "decode_nested",
    "encode",
    "fetch",
    "build_index",
    "load_index",
    "loss_backward",
    "name",
    "pack_rows",
    "pair_dots",
    "place",
    "place_params",
    "project_decoder_gradient",
    "refine_unit",
    "renormalize_decoder",
    "split_codes",
    "unit_rows",
    "unpack_rows",
    "weights_backward",
]
