"""Compile every CUDA kernel without a GPU, and say what each needs: ``python -m tests.cuda_report``.

Numba's CUDA compiler makes PTX for two generations of devices, and NVIDIA's assembler makes machine code of it: so
types are checked, and registers, shared memory and spills are known. Nothing is run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

GENERATIONS = ((8, 0), (9, 0))
"""Compute capabilities: A100, and H100."""

D = 768
"""Dimensions of the rows for which shared memory is said."""

WIDTH = 9
"""Characters of a column of numbers."""


class Compiled(NamedTuple):
    """A kernel for one kind of floats and one generation of devices."""

    name: str
    floats: str
    capability: tuple[int, int]
    threads: int
    ptx: str
    registers: int
    shared: int
    """bytes of shared memory of a block, for rows of the paper's 768 dimensions"""
    local: int
    """bytes of local memory of a thread: arrays that are not in registers"""
    spilled: int
    """bytes of registers that are stored in and loaded from local memory"""
    cubin: bytes


def compile_all() -> list[Compiled]:
    """Compile all kernels of the backend, with all their signatures: each generation in a process of its own."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return [each for compiled in pool.map(compile_for_generation, GENERATIONS) for each in compiled]


def compile_for_generation(capability: tuple[int, int]) -> list[Compiled]:
    from compressae_ref.backends import cuda as _backend  # noqa: F401 - it declares the kernels
    from compressae_ref.backends.cuda.launch import KERNELS

    return [
        _assembled(kernel, signature, capability, compiled_for(kernel.function, signature, capability))
        for kernel in KERNELS
        for signature in kernel.signatures()
    ]


def compiled_for(function: Callable[..., None], signature: Sequence[Any], capability: tuple[int, int]) -> str:
    """The PTX of a kernel."""
    from numba import cuda, types

    # Numba asks the device what to compile pieces of kernels for; there is none.
    device = SimpleNamespace(compute_capability=capability)
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device):
        ptx, _ = cuda.compile_ptx(function, types.void(*signature), cc=capability)
    return str(ptx)


def _assembled(kernel: Any, signature: Sequence[Any], capability: tuple[int, int], ptx: str) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        source, machine_code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        architecture = f"-arch=sm_{capability[0]}{capability[1]}"
        command = [str(assembler()), architecture, "-v", str(source), "-o", str(machine_code)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{kernel.name}: {done.stderr}")
        said, cubin = done.stderr, machine_code.read_bytes()

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, said)))

    floats = _floats(kernel, signature)
    first = SimpleNamespace(shape=(1, D), dtype=np.dtype(floats if floats != "none" else np.int32))
    shared = number(r"(\d+) bytes smem") + kernel.shared(first, kernel.threads)
    spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    counts = number(r"Used (\d+) registers"), shared, number(r"(\d+) bytes stack frame"), spilled
    return Compiled(kernel.name, floats, capability, kernel.threads, ptx, *counts, cubin)


def _floats(kernel: Any, signature: Sequence[Any]) -> str:
    """The floats that a kernel computes with."""
    for kind, argument in zip(kernel.kinds, signature, strict=True):
        if kind[0] in "FU":
            return f"float{getattr(argument, 'dtype', argument).bitwidth}"
    return "none"


def assembler() -> Path:
    """``ptxas`` of the package nvidia-cuda-nvcc-cu12."""
    spec = find_spec("nvidia.cuda_nvcc")
    for folder in spec.submodule_search_locations or [] if spec else []:
        if (program := Path(folder, "bin/ptxas")).exists():
            return program
    raise FileNotFoundError("expected ptxas of nvidia-cuda-nvcc-cu12: pip install 'compressae-ref[cuda]'")


def main() -> None:
    """Print a table."""
    heads = ("threads", "registers", "shared", "local", "spilled")
    print(f"{'kernel':28} {'floats':8} {'device':6} " + " ".join(f"{head:>{WIDTH}}" for head in heads))
    for each in compile_all():
        device = f"sm_{each.capability[0]}{each.capability[1]}"
        numbers = " ".join(f"{getattr(each, head):{WIDTH}}" for head in heads)
        print(f"{each.name:28} {each.floats:8} {device:6} {numbers}")


if __name__ == "__main__":
    sys.exit(main())
