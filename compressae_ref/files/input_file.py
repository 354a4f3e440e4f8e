"""Open a file once and read it by its descriptor.

Everything that is read is then from one version of the file, also if another program replaces it in between. Reading
copies bytes instead of mapping them: a file that another program shortens gives an error, not a signal.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import threading
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError

PathLike = str | os.PathLike[str]

BYTES_PER_READ = 1 << 28
"""Bytes that are asked of the system at a time, which reads at most 2 GB."""


class Readable(Protocol):
    """A file with positional reads."""

    def read_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable buffer from an offset of the file."""


class InputFile:
    """A regular file, opened once. Reads have no common position, so threads and forks can share it.

    Raises
    ------
    OSError
        If the file is missing, a folder, or must not be read.
    FormatError
        If it is a pipe or a device, which cannot be read in any order.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = os.fspath(path)
        self._require_regular(os.stat(path).st_mode)  # noqa: PTH116  opening a device may have effects
        flags = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"))
        self._descriptor = os.open(path, os.O_RDONLY | flags)
        self._lock = threading.Lock()
        self._require_regular(os.fstat(self._descriptor).st_mode)  # another program may have replaced it by a pipe

    def _require_regular(self, mode: int) -> None:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        if not stat.S_ISREG(mode):
            hint = "copy its content to a file"
            raise FormatError("expected a file, got a pipe or a device", path=self.path, hint=hint)

    @classmethod
    def of(cls, file: IO[bytes]) -> InputFile:
        """Return a file that is open already, such as a temporary one."""
        opened = object.__new__(cls)
        opened.path, opened._descriptor, opened._lock = str(file.name), os.dup(file.fileno()), threading.Lock()
        return opened

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def __str__(self) -> str:
        return self.path

    def fileno(self) -> int:
        """Return the descriptor, for `mmap`."""
        return self._descriptor

    @property
    def descriptor_path(self) -> str:
        """A name under which the system opens the same file again, whatever has its path by now."""
        path = f"/dev/fd/{self._descriptor}"
        return path if os.path.exists(path) else self.path  # noqa: PTH110

    @property
    def size(self) -> int:
        """The number of bytes at this moment."""
        return os.fstat(self._descriptor).st_size

    def stream(self) -> io.RawIOBase:
        """Return a stream with a position of its own, for libraries that read Python files."""
        return _Stream(self)

    def read(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes from an offset; fewer at the end of the file."""
        content = bytearray(max(0, min(size, self.size - offset)))
        return bytes(content[: self._fill(memoryview(content), offset)])

    def read_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable buffer from an offset. FormatError if the file ends before."""
        view = memoryview(buffer).cast("B")
        if (got := self._fill(view, offset)) < len(view):
            raise FormatError(
                f"expected {len(view)} bytes at byte {offset}, got {got}",
                path=self.path,
                hint="the file is truncated, or another program shortened it: get it again",
            )

    def _fill(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < len(view):
            piece = view[done : done + BYTES_PER_READ]
            if hasattr(os, "preadv"):
                got = os.preadv(self._descriptor, [piece], offset + done)
            else:  # Windows has one position for each file
                with self._lock:
                    os.lseek(self._descriptor, offset + done, os.SEEK_SET)
                    content = os.read(self._descriptor, len(piece))
                got = len(content)
                piece[:got] = content
            if got == 0:
                break
            done += got
        return done


def opened(file: PathLike | InputFile) -> InputFile:
    """Open a file by its name, or return one that is open."""
    return file if isinstance(file, InputFile) else InputFile(file)


class _Stream(io.RawIOBase):
    def __init__(self, file: InputFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return int(self._position)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most the bytes that are left, so that a wrong size in a header allocates nothing."""
        left = max(0, self._file.size - self._position)
        content = self._file.read(self._position, left if size is None or size < 0 else min(size, left))
        self._position += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(memoryview(buffer).cast("B")))
        memoryview(buffer).cast("B")[: len(content)] = content
        return len(content)


class FileArray:
    """An array in a file, which is read on access. A slice of rows is a copy.

    Parameters
    ----------
    file : the file
    dtype, shape : of the array
    offset : byte of the file at which it starts
    fortran_order : whether the file stores it by columns
    """

    def __init__(
        self, file: Readable, dtype: Any, shape: tuple[int, ...], offset: int, *, fortran_order: bool = False
    ) -> None:
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)
        self._file, self._offset, self._by_columns = file, offset, fortran_order and len(shape) > 1

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of all items."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError(f"expected consecutive rows, got a step of {step}")
        n = max(0, stop - start)
        if self._by_columns:
            columns = np.empty((math.prod(self.shape[1:]), n), self.dtype)
            for number, column in enumerate(columns):
                self._file.read_into(
                    column.view(np.uint8).data, self._offset + (number * len(self) + start) * self.dtype.itemsize
                )
            return columns.reshape(*self.shape[:0:-1], n).T
        block = np.empty((n, *self.shape[1:]), self.dtype)
        if block.nbytes:
            self._file.read_into(block.reshape(-1).view(np.uint8).data, self._offset + start * self._row_bytes)
        return block

    @property
    def _row_bytes(self) -> int:
        return int(math.prod(self.shape[1:]) * self.dtype.itemsize)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.shape:
            return np.asarray(self[0 : len(self)], dtype)
        single = np.empty(1, self.dtype)
        self._file.read_into(single.view(np.uint8).data, self._offset)
        return np.asarray(single.reshape(()), dtype)
