"""Functions of the "cuda" backend that run on the CPU, with the same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats, to_host
from compressae_ref.backends.numba import descent, matching_pursuit, softmax, sparse_products
from compressae_ref.codes import Codes


def refine_unit(codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Codes:
    """Run `backends.numba.matching_pursuit.refine_unit` on copies in host memory."""
    return matching_pursuit.refine_unit(codes.to_host(), to_host(x_unit), to_host(W_dec), k, dots)


def softmax_others(cosines: Floats, factor: float) -> tuple[Floats, NDArray[np.float64]]:
    """Run `backends.numba.softmax.softmax_others` on a copy in host memory, where the results stay."""
    return softmax.softmax_others(to_host(cosines), factor)


def shares_beside(cosines: Floats, factor: float, totals: NDArray[np.float64]) -> Floats:
    """Run `backends.numba.softmax.shares_beside` on a copy in host memory, where the results stay."""
    return softmax.shares_beside(to_host(cosines), factor, totals)


def latent_sums(codes: Codes, y: Floats) -> Floats:
    """Run `backends.numba.sparse_products.latent_sums` on copies in host memory, where the results stay."""
    return sparse_products.latent_sums(codes.to_host(), to_host(y))


def descend(codes: Codes, grad: Floats, rate: float) -> Codes:
    """Run `backends.numba.descent.descend` on copies in host memory, where the results stay."""
    return descent.descend(codes.to_host(), to_host(grad), rate)
