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


class Barrier:
    """Where the threads of a block meet. One lock guards who waits and who has ended, so neither can miss the other."""

    def __init__(self, parties):
        self.parties, self.waiting, self.meetings, self.ended, self.broken = parties, 0, 0, False, False
        self.changed = threading.Condition()

    def wait(self):
        with self.changed:
            before = self.meetings
            self.waiting += 1
            if self.waiting == self.parties:
                self.waiting, self.meetings = 0, before + 1
                self.changed.notify_all()
                return
            self.broken |= self.ended
            self.changed.wait_for(lambda: self.meetings > before or self.broken, PATIENCE)
            if self.meetings == before:
                self._break()
                raise threading.BrokenBarrierError

    def end(self, failed):
        """Note that a thread has ended: those that wait, or will wait, would do so for ever."""
        with self.changed:
            self.ended = True
            if failed or self.waiting:
                self._break()

    def _break(self):
        self.broken = True
        self.changed.notify_all()


class Block(kernel.BlockManager):
    """Runs the threads of a block."""

    def run(self, grid_point, *args):
        points = list(np.ndindex(*self._block_dim))
        self.barrier = Barrier(len(points))
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
        self._manager.barrier.end(bool(self.exception))

    def syncthreads(self):
        self._manager.barrier.wait()


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
