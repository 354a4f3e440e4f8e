"""Import optional packages when they are needed, with an error that says how to install them."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compressae_ref.errors import BackendError

NAME = "compressae-ref"

_ROOT = Path(__file__).resolve().parent.parent
"""The clone, if this is one."""


def require_package(module: str, extra: str | None, purpose: str) -> Any:
    """Import and return an optional module.

    Parameters
    ----------
    module : name of the module, such as "pyarrow.parquet"
    extra : the extra of this package that installs it; None: every installation does, unless it is ``--no-deps``
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
        hint = f"pip install {package}" if extra is None else install_command(extra)
        raise BackendError(
            f"expected the package {package}, which is not installed", argument=purpose, hint=hint
        ) from error


def require_scipy(module: str, purpose: str) -> Any:
    """Import and return a module of SciPy, such as "sparse". Encoding, searching and packing need NumPy alone."""
    return require_package(f"scipy.{module}", None, purpose)


def data_folder(module: str, in_clone: str, purpose: str) -> Path:
    """Return the folder of a package that holds only data. Nothing is downloaded.

    In a clone of the repository it is the clone's own folder, which fits this code. Elsewhere the package must be
    installed.

    Parameters
    ----------
    module : name of the package's module, such as "compressae_ref_demo"
    in_clone : its folder in a clone; the folder above has the ``pyproject.toml``
    purpose : what the data are, for the message

    Raises
    ------
    BackendError
        If the data are in neither place.
    """
    folder = _ROOT / in_clone
    if folder.is_dir():
        return folder
    spec = find_spec(module)
    places = None if spec is None else spec.submodule_search_locations  # which a folder without __init__.py has, too
    if not places:
        raise BackendError(
            f"expected the package {module.replace('_', '-')}, which is not installed",
            argument=purpose,
            hint=f"in a clone of the repository, run: pip install ./{Path(in_clone).parent.as_posix()}",
        )
    return Path(places[0])


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of this package requires.

    It names the required packages themselves. So it works however this package was installed: from an index, from a
    clone, even one that is gone, or without its dependencies. Without metadata of an installation, as in a clone that
    is only on the path, it names the folder of the clone.
    """
    packages = _required_by(extra)
    if not packages:
        packages = [f"{_ROOT if (_ROOT / 'pyproject.toml').exists() else NAME}[{extra}]"]
    return f"pip install {shlex.join(packages)}"


def _required_by(extra: str) -> list[str]:
    """Return the requirements of an extra, and of other extras that it includes; [] if they are not known."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires(NAME) or []
    except PackageNotFoundError:
        return []
    found: dict[str, None] = {}
    left = [extra]
    for name in left:  # which grows
        for line in lines:
            requirement, _, marker = line.partition(";")
            if not re.search(rf"extra\s*==\s*['\"]{re.escape(name)}['\"]", marker):
                continue
            if own := re.fullmatch(rf"{NAME}\[(.*)\]", requirement.strip()):
                left += [each for each in re.split(r"\s*,\s*", own[1]) if each not in left]
            else:
                found[requirement.strip()] = None
    return [*found]
