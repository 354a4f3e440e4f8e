"""The "numpy" backend: the mathematics itself, under the names of the contract."""

from compressae_ref.adam import adam_update
from compressae_ref.ops import (
    abs_topk,
    codes_dot,
    decode,
    decode_backward_values,
    row_dots,
    split_codes,
    transpose_product,
)

name = "numpy"

__all__ = [
    "abs_topk",
    "adam_update",
    "codes_dot",
    "decode",
    "decode_backward_values",
    "name",
    "row_dots",
    "split_codes",
    "transpose_product",
]
