"""HDF5: datasets of rows, as ann-benchmarks keeps them (``train`` and ``test``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.optional import needed_package

MOST_COMPRESSED = 2000
"""How many times smaller stored numbers may be than they are: more than its compressors reach."""


def _h5py() -> Any:
    return needed_package("h5py", "hdf5", "HDF5 files")


def open_hdf5(place: Place) -> EmbeddingRows:
    """A dataset of rows, which are read when they are asked for; its ids are the dataset ``ids`` beside it, if any."""
    h5py = _h5py()
    try:
        file = h5py.File(place.path, "r")
        datasets = {name: entry for name, entry in file.items() if isinstance(entry, h5py.Dataset)}
        rows = [name for name, entry in datasets.items() if entry.ndim == 2 and entry.dtype.kind == "f"]
        name = chosen_entry(place, rows, [*datasets])
    except (OSError, RuntimeError, KeyError) as error:
        raise FormatError("expected an HDF5 file, got a damaged one or a part of one", path=place.path) from error
    dataset, ids = datasets[name], id_entry([*datasets])
    if dataset.ndim != 2 or dataset.dtype.kind != "f":
        raise FormatError(f"expected rows of floats (n, d), got {dataset.dtype} of shape {dataset.shape}", path=place)
    _require_stored(place, dataset)

    def read(start: int, stop: int) -> Floats:
        try:
            block: Floats = dataset[start:stop]
        except (OSError, RuntimeError) as error:
            raise FormatError(f"expected rows {start} to {stop}, got damaged bytes", path=place) from error
        return block

    return EmbeddingRows(dataset.shape, dataset.dtype, read, ids=None if ids is None else lambda: _ids(datasets[ids]))


def _require_stored(place: Place, dataset: Any) -> None:
    """Refuse rows that no bytes stand for: HDF5 makes up numbers for them, as many as a header says."""
    stored, said = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    if said > MOST_COMPRESSED * stored:
        raise FormatError(f"expected {said} bytes of numbers, got {stored}", path=place)


def _ids(dataset: Any) -> NDArray[Any]:
    ids = dataset[:] if dataset.dtype.kind in "iu" else dataset.asstr()[:].astype(np.str_)
    return np.asarray(ids)


def write_hdf5(
    file: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any], blocks: Iterable[Floats], ids: NDArray[Any] | None
) -> None:
    """Write rows, and their ids if there are any."""
    with _h5py().File(file, "w", track_order=True) as out:
        rows = out.create_dataset(EMBEDDING_ENTRIES[0], shape, dtype)
        start = 0
        for block in blocks:
            rows[start : start + len(block)] = block
            start += len(block)
        if ids is not None:
            out.create_dataset("ids", data=ids.astype(object) if ids.dtype.kind == "U" else ids)
