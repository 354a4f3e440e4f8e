"""Packages that serve one purpose each: imported when asked for, and named where they are not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from compressae_ref.errors import BackendError


def needed_package(module: str, extra: str, purpose: str) -> Any:
    """The module; BackendError that says what to install where it cannot be imported.

    Parameters
    ----------
    module : name of the module, such as "pyarrow.parquet"
    extra : the extra of this package that brings it
    purpose : what it is needed for, as a subject: "Parquet files"
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendError(
            f"expected the package {package}, which is not installed: pip install 'compressae-ref[{extra}]'",
            argument=purpose,
        ) from error
