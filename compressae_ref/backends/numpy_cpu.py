"""The "numpy" backend: the mathematics itself, under the names of the contract."""

from collections.abc import Sequence

from compressae_ref.adam import adam_update, renormalize_decoder
from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.ops import (
    codes_dot,
    decode,
    decode_backward_values,
    decode_backward_weights,
    encode,
    loss_backward,
    normalize_rows,
    pre_activations_backward,
    split_codes,
)
from compressae_ref.sums import pair_dots

name = "numpy"


def decode_nested(codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Floats, Floats]:
    """x̂_k, and x̂_aux = x̂_k + the reconstruction of the rest."""
    x_hat_k = decode(codes_k, W_dec)
    return x_hat_k, x_hat_k + decode(codes_rest, W_dec)


def weights_backward(
    parts: Sequence[tuple[Codes, Floats]],
    grad_pre: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    grad_W_dec: Floats,
    add: bool,
) -> None:
    """The gradients of all weights: `ops.decode_backward_weights` and `ops.pre_activations_backward`."""
    decode_backward_weights(parts, grad_W_dec, add)
    pre_activations_backward(grad_pre, x_unit, grad_W_enc, grad_b_enc, add)


__all__ = [
    "adam_update",
    "codes_dot",
    "decode",
    "decode_backward_values",
    "decode_nested",
    "encode",
    "loss_backward",
    "name",
    "normalize_rows",
    "pair_dots",
    "renormalize_decoder",
    "split_codes",
    "weights_backward",
]
