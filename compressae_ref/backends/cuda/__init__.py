"""The "cuda" backend: GPU kernels that return the same bits as their namesakes in `compressae_ref.reference`.

Every sum has one owner and the specified order. Products are rounded before they are added, nothing is fused or flushed
to zero, and no count or sum is atomic. Results are in the same memory as the first argument: NumPy arrays for NumPy
arrays, and device arrays for any object with ``__cuda_array_interface__``, without a copy.

Codes are packed, unpacked and refined on the CPU, with the same bits, and so is the softmax over the rows of a batch;
these steps are not time-critical.
"""

from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.adam import adam_update
from compressae_ref.backends.cuda.encode import encode
from compressae_ref.backends.cuda.host import place_params
from compressae_ref.backends.cuda.memory import place
from compressae_ref.backends.cuda.on_cpu import descend, latent_sums, refine_unit, shares_beside, softmax_others
from compressae_ref.backends.cuda.products import (
    count_latents,
    decode,
    decode_backward_values,
    decode_nested,
    weights_backward,
)
from compressae_ref.backends.cuda.rows import (
    loss_backward,
    project_decoder_gradient,
    renormalize_decoder,
    unit_rows,
)
from compressae_ref.backends.cuda.search import best_items, best_packed_items, build_index, codes_dot, load_index
from compressae_ref.backends.cuda.select import split_codes
from compressae_ref.backends.cuda.sums import pair_dots
from compressae_ref.backends.numba import pack_rows, unpack_rows

name = "cuda"
