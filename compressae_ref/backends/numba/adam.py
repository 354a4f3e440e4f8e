"""The Numba kernel for the Adam update of one array (E11)."""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats, flat
from compressae_ref.backends.numba.jit import kernel
from compressae_ref.backends.numba.rules import adam_delta, moment, mul_rounded
from compressae_ref.backends.thread_pool import parallel_for

NUMBERS_PER_TASK = 1 << 16


def adam_update(param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
    arrays = (flat(array) for array in (param, grad, m, v))
    parallel_for(param.size, NUMBERS_PER_TASK, _adam_update, *arrays, constants, np.finfo(param.dtype).tiny)


@kernel
def _adam_update(param, grad, m, v, constants, tiny, start, stop):  # type: ignore[no-untyped-def]
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = constants
    zero = param.dtype.type(0)
    param, grad, m, v = param[start:stop], grad[start:stop], m[start:stop], v[start:stop]
    for i in range(param.size):
        one = moment(beta1, m[i], rest1, grad[i], tiny, zero)
        two = moment(beta2, v[i], rest2, mul_rounded(grad[i], grad[i]), tiny, zero)
        m[i], v[i] = one, two
        param[i] -= adam_delta(lr, one, two, correction1, correction2, eps)
