"""Copy sources that can only be read in order to a temporary file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile, gettempdir
from typing import Any

import numpy as np

from compressae_ref.files.input_file import FileArray, InputFile
from compressae_ref.row_source import STREAM_ROWS


@contextmanager
def spool_to_disk(source: Any, progress: Callable[[int, int], None] | None = None) -> Iterator[Any]:
    """Yield a source that can be read in any order.

    A sequential source is first copied to a temporary file. Any other source is yielded as it is.

    Parameters
    ----------
    source : (n, d) rows
    progress : called with the number of copied rows and n, after each block

    Raises
    ------
    OSError
        If the temporary file cannot be written. It names the folder, and TMPDIR as the way to choose another one.
    """
    if not getattr(source, "sequential", False):
        yield source
        return
    with ExitStack() as stack:
        with naming_tmpdir():
            file = stack.enter_context(TemporaryFile())
        n = 0
        for start in range(0, len(source), STREAM_ROWS):
            block = source[start : start + STREAM_ROWS]
            if len(block) == 0:  # the source has fewer rows than it declared
                break
            with naming_tmpdir():
                file.write(np.ascontiguousarray(block, source.dtype).data)
            n += len(block)
            if progress is not None:
                progress(n, len(source))
        with naming_tmpdir():
            file.flush()
        yield FileArray(InputFile.of(file), source.dtype, (n, source.shape[1]), 0)


@contextmanager
def naming_tmpdir() -> Iterator[None]:
    """Name the folder of temporary files in errors of the system."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error} (in a temporary file; set TMPDIR to a folder with more room)"
        raise OSError(error.errno, why, gettempdir()) from error
