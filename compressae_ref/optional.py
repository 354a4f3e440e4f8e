"""Import optional packages when they are needed, with an error that says how to install them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from compressae_ref.errors import BackendError


def require_package(module: str, extra: str, purpose: str) -> Any:
    """Import and return an optional module.

    Parameters
    ----------
    module : name of the module, such as "pyarrow.parquet"
    extra : the extra of this package that installs it
    purpose : what needs it, for the message: "Parquet files"

    Raises
    ------
    BackendError
        If the module cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendError(
            f"expected the package {package}, which is not installed",
            argument=purpose,
            hint=f"pip install 'compressae-ref[{extra}]'",
        ) from error
