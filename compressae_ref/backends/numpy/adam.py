"""The Adam update of one array (E11), in blocks on all threads."""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats, flat
from compressae_ref.backends.numpy.blocks import map_blocks

NUMBERS_PER_BLOCK = 1 << 16


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    """One step of Adam on one array, in place (E11).

    Parameters
    ----------
    param, grad, m, v : contiguous arrays of one shape and memory order; all but ``grad`` are changed
    constants : (8,) α, β₁, β₂, 1 − β₁, 1 − β₂, ε, 1 − β₁ᵗ, 1 − β₂ᵗ in the dtype of ``param``
    """
    param, grad, m, v = (flat(array) for array in (param, grad, m, v))
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = constants

    def update(some: slice) -> None:
        m[some] = _flushed(beta1 * m[some] + rest1 * grad[some])
        v[some] = _flushed(beta2 * v[some] + rest2 * (grad[some] * grad[some]))
        param[some] -= lr * (m[some] / correction1) / (np.sqrt(v[some] / correction2) + eps)

    map_blocks(param.size, NUMBERS_PER_BLOCK, update)


def _flushed(moment: Floats) -> Floats:
    """Replace subnormal moments by zero (E11).

    The moments of a dead latent would otherwise stay subnormal for ever (0.9 times 4 ulp rounds to 4 ulp), and
    arithmetic on subnormals is up to a hundred times slower. It moves a parameter by less than α · 1e-30.
    """
    return np.where(np.abs(moment) < np.finfo(moment.dtype).tiny, moment.dtype.type(0), moment)
