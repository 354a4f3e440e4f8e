"""The "numba" backend: CPU kernels that return the same bits as their namesakes in `compressae_ref.reference`.

Every sum runs in the specified order with any number of threads, because each row, latent or pair of rows has one
owner. ``fastmath`` is off wherever a result is kept, so no sum is reordered and no multiply-add is fused. Kernels read
rows through ``indices`` without bounds checks: `Codes` has validated them.
"""

from compressae_ref.backends.numba.adam import adam_update
from compressae_ref.backends.numba.bit_packing import unpack_rows
from compressae_ref.backends.numba.descent import descend
from compressae_ref.backends.numba.encode import encode
from compressae_ref.backends.numba.inverted_index import build_index, load_index
from compressae_ref.backends.numba.matching_pursuit import refine_unit
from compressae_ref.backends.numba.packed_scan import best_packed_items
from compressae_ref.backends.numba.rows import (
    codes_dot,
    loss_backward,
    renormalize_decoder,
    unit_rows,
)
from compressae_ref.backends.numba.search import best_items
from compressae_ref.backends.numba.softmax import shares_beside, softmax_others
from compressae_ref.backends.numba.sparse_products import (
    decode,
    decode_backward_values,
    decode_nested,
    latent_sums,
    weights_backward,
)
from compressae_ref.backends.numba.sums import pair_dots
from compressae_ref.backends.numba.topk import split_codes
from compressae_ref.backends.numpy import count_latents, fetch, pack_rows, place, place_params, project_decoder_gradient

name = "numba"
