"""Numba's simulator of a GPU, made fit for a test suite: threads of a block meet at a barrier.

The simulator asks its threads again and again whether all of them are there, and is five times as slow as this for it.
And where one thread goes on to the end while the others wait for it, as no GPU allows, it lets them go; here that is an
error.
"""

from __future__ import annotations

import threading

import numpy as np
from numba.cuda.simulator import kernel
from numba.cuda.simulator.cudadrv import devicearray

PATIENCE = 60
"""Seconds after which a thread that waits for the others gives up."""


class Block(kernel.BlockManager):
    """Runs the threads of a block."""

    def run(self, grid_point, *args):
        points = list(np.ndindex(*self._block_dim))
        self.barrier, self.ended = threading.Barrier(len(points)), False
        threads = [Thread(lambda: self._f(*args), self, grid_point, point, self._debug) for point in points]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [thread.exception for thread in threads if thread.exception]
        causes = [each for each in errors if not isinstance(each[0], threading.BrokenBarrierError)]
        for error, trace in (causes or errors)[:1]:
            raise error.with_traceback(trace)


class Thread(kernel.BlockThread):
    """A thread that waits at the barrier of its block, and breaks it where it fails or ends before the others."""

    def run(self):
        with np.errstate(all="ignore"):  # a GPU says nothing
            super().run()
        self._manager.ended = True
        if self.exception or self._manager.barrier.n_waiting:
            self._manager.barrier.abort()

    def syncthreads(self):
        if self._manager.ended:
            self._manager.barrier.abort()
        self._manager.barrier.wait(PATIENCE)


ATTRIBUTES = {"shape", "strides", "dtype", "size", "nbytes", "ndim", "flags", "itemsize", "squeeze"}
"""What an array on a device has (but for the last, which the simulator asks for); here it would have all of NumPy's."""


def attribute(array, name):
    if name not in ATTRIBUTES:
        raise AttributeError(name)
    return getattr(array._ary, name)


def getitem(array, item, before=devicearray.FakeCUDAArray.__getitem__):
    if array._ary.size == 0:
        raise RuntimeError("non-empty slice into empty slice")  # what Numba says on a GPU
    return before(array, item)


def install():
    """Let kernels run like that, on arrays that can do no more than real ones."""
    kernel.BlockManager = Block
    devicearray.FakeCUDAArray.__getattr__ = attribute
    devicearray.FakeCUDAArray.__getitem__ = getitem
