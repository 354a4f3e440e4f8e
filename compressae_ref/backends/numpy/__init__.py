"""The "numpy" backend: array operations on blocks of rows, on all threads.

NumPy releases Python's lock inside its loops, and the results of one block are still in the cache when they are needed.
Each function returns the bits of `compressae_ref.reference`: the result for a row depends on that row alone, and a sum
over rows stays within one thread.
"""

from compressae_ref.backends.numpy.adam import adam_update
from compressae_ref.backends.numpy.bit_packing import pack_rows, unpack_rows
from compressae_ref.backends.numpy.descent import descend
from compressae_ref.backends.numpy.encode import encode
from compressae_ref.backends.numpy.matching_pursuit import refine_unit
from compressae_ref.backends.numpy.rows import (
    fetch,
    loss_backward,
    place,
    place_params,
    project_decoder_gradient,
    renormalize_decoder,
    unit_rows,
)
from compressae_ref.backends.numpy.search import best_items, best_packed_items, build_index, load_index
from compressae_ref.backends.numpy.softmax import shares_beside, softmax_others
from compressae_ref.backends.numpy.sparse_products import (
    count_latents,
    decode,
    decode_backward_values,
    decode_nested,
    latent_sums,
    weights_backward,
)
from compressae_ref.backends.numpy.sums import codes_dot, pair_dots
from compressae_ref.backends.numpy.topk import split_codes

name = "numpy"
