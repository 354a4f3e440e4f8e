"""The "numpy" backend: the mathematics itself, under the names of the contract."""

from compressae_ref.adam import adam_update
from compressae_ref.ops import (
    codes_dot,
    decode,
    decode_backward_values,
    encode,
    split_codes,
    transpose_product,
)
from compressae_ref.sums import pair_dots, row_dots

name = "numpy"

__all__ = [
    "adam_update",
    "codes_dot",
    "decode",
    "decode_backward_values",
    "encode",
    "name",
    "pair_dots",
    "row_dots",
    "split_codes",
    "transpose_product",
]
