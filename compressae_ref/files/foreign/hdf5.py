"""Read and write embeddings in HDF5 datasets, such as ``train`` and ``test`` of ann-benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.files.npz import reading
from compressae_ref.optional import require_package

EXPECTED = "an HDF5 file"

MAX_COMPRESSION_RATIO = 2000
"""The largest plausible ratio of array size to stored size. The compressors of HDF5 stay below it."""


def _h5py() -> Any:
    return require_package("h5py", "hdf5", "HDF5 files")


def open_hdf5(place: Place) -> EmbeddingRows:
    """Open a dataset of rows, which are read on access. The dataset ``ids`` next to it holds the ids, if it exists."""
    h5py = _h5py()
    with reading(place.path, EXPECTED, KeyError):
        file = h5py.File(place.path, "r")
        datasets = {name: entry for name, entry in file.items() if isinstance(entry, h5py.Dataset)}
        rows = [name for name, entry in datasets.items() if entry.ndim == 2 and entry.dtype.kind == "f"]
        name = chosen_entry(place, rows, [*datasets])
    dataset, ids = datasets[name], id_entry([*datasets])
    if dataset.ndim != 2 or dataset.dtype.kind != "f":
        raise FormatError(f"expected floats of shape (n, d), got {dataset.dtype} of shape {dataset.shape}", path=place)
    _require_stored(place, dataset)

    def read(start: int, stop: int) -> Floats:
        with reading(place, EXPECTED):
            block: Floats = dataset[start:stop]
        return block

    return EmbeddingRows(dataset.shape, dataset.dtype, read, ids=None if ids is None else lambda: _ids(datasets[ids]))


def _require_stored(place: Place, dataset: Any) -> None:
    """Raise FormatError if the file does not store the declared rows: HDF5 would return fill values for them."""
    stored, declared = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    if declared > MAX_COMPRESSION_RATIO * stored:
        raise FormatError(f"expected data for {declared} bytes, got {stored} stored bytes", path=place)


def _ids(dataset: Any) -> NDArray[Any]:
    ids = dataset[:] if dataset.dtype.kind in "iu" else dataset.asstr()[:].astype(np.str_)
    return np.asarray(ids)


def write_hdf5(
    file: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any], blocks: Iterable[Floats], ids: NDArray[Any] | None
) -> None:
    """Write rows and optional ids."""
    with _h5py().File(file, "w", track_order=True) as out:
        rows = out.create_dataset(EMBEDDING_ENTRIES[0], shape, dtype)
        start = 0
        for block in blocks:
            rows[start : start + len(block)] = block
            start += len(block)
        if ids is not None:
            out.create_dataset("ids", data=ids.astype(object) if ids.dtype.kind == "U" else ids)
