"""Check the requirements of the "cuda" backend."""

from __future__ import annotations

import importlib.util

from compressae_ref.optional import install_command


def what_cuda_lacks() -> str | None:
    """Return which package, driver, device or compiler is missing, with its remedy; None if nothing is missing."""
    for module, package in (("numba", "numba"), ("numba_cuda", "numba-cuda")):
        if importlib.util.find_spec(module) is None:
            return f"the package {package}: {install_command('cuda')}"
    from numba import cuda
    from numba.cuda import config

    if config.ENABLE_CUDASIM:
        return None
    from numba.cuda.cudadrv import driver, nvvm

    if not driver.driver.is_available:
        reason = " ".join(str(driver.driver.initialization_error).split())
        if "NO_DEVICE" in reason.upper():
            return "an NVIDIA GPU, and the driver finds none"
        return f"the driver of an NVIDIA GPU, installed with the system, and cannot use one: {reason}"
    if not cuda.list_devices():
        return "an NVIDIA GPU, and the driver finds none"
    if not nvvm.is_available():
        return f"NVIDIA's compiler (libnvvm): {install_command('cuda')}"
    return None
