"""The CUDA kernel for the Adam update of one array (E11)."""

from __future__ import annotations

import numpy as np
from numba import cuda

from compressae_ref.arrays import Floats
from compressae_ref.backends.cuda.launch import F1, F, elements, kernel
from compressae_ref.backends.cuda.memory import changed, flat_numbers, place, rows
from compressae_ref.backends.rules import adam_delta, moment, mul_rounded


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    flattened = [flat_numbers(array) for array in (param, m, v)]
    with changed(*flattened) as placed:
        tiny = constants.dtype.type(np.finfo(constants.dtype).tiny)
        _adam_update(elements(param.size), *placed, rows(flat_numbers(grad)), place(constants), tiny)


@kernel
def _adam_update(param: F1, m: F1, v: F1, grad: F1, constants: F1, tiny: F) -> None:
    lr, beta1, beta2, rest1, rest2 = constants[0], constants[1], constants[2], constants[3], constants[4]
    eps, correction1, correction2 = constants[5], constants[6], constants[7]
    zero = param.dtype.type(0)
    for i in range(cuda.grid(1), param.size, cuda.gridsize(1)):
        m[i] = moment(beta1, m[i], rest1, grad[i], tiny, zero)
        v[i] = moment(beta2, v[i], rest2, mul_rounded(grad[i], grad[i]), tiny, zero)
        param[i] -= adam_delta(lr, m[i], v[i], correction1, correction2, eps)
