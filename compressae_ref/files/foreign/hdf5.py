"""Read and write embeddings in HDF5 datasets, such as ``train`` and ``test`` of ann-benchmarks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import FREE_BYTES, reject, require_unfolding, short_repr
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, MAX_LISTED, chosen_entry, id_entry
from compressae_ref.files.foreign.hdf5_heap import require_strings
from compressae_ref.files.foreign.id_columns import IdColumns, called_name, may_be_ids, one_a_row, that_say_ids
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.files.npz import reading
from compressae_ref.item_ids import as_ids, file_hint
from compressae_ref.optional import require_package

EXPECTED = "an HDF5 file"

CACHE_BYTES = 1 << 28
"""The largest cache of unpacked chunks. HDF5 unpacks a chunk that does not fit again for each read."""

MAX_SOFT_LINKS = 16
"""Soft links that are followed for one dataset, so that a circle of links ends."""


def _h5py() -> Any:
    return require_package("h5py", "hdf5", "HDF5 files")


def open_hdf5(place: Place, follow_links: bool = False) -> EmbeddingRows:
    """Open a dataset of rows, which are read on access. The dataset ``ids`` next to it holds the ids, if it exists.

    ``FILE::GROUP/NAME`` selects a dataset in a group. Without a name, groups are searched if the root has no
    embeddings.

    Raises
    ------
    FormatError
        If the dataset is stored in another file and ``follow_links`` is False, or if a filter is not installed.
    """
    h5py = _h5py()
    with reading(place.path, EXPECTED):
        file = _File(h5py.File(place.path, "r"), place, follow_links)
        dataset, group = file.rows_and_group()
        fixed = file.id_name(group)
        cache = _require_stored(dataset)
        if dataset.chunks is not None:
            parent, name = dataset.parent.id, dataset.name
            del dataset  # HDF5 keeps the cache of a dataset that is open
            dataset = file.reopened(parent, name, cache)
    packed = dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters() > 0

    def read(start: int, stop: int) -> Floats:
        block: Floats = dataset[start:stop]
        file.require_whole()  # HDF5 returns zeros for what is missing
        return block

    return EmbeddingRows(
        dataset.shape,
        dataset.dtype,
        read,
        ids=file.id_columns(dataset, group, fixed),
        sequential=packed,  # unpacking for single rows takes longer than a copy
        place=place,
    )


class _File:
    """An open file, whose links to other files are followed only on request."""

    def __init__(self, file: Any, place: Place, follow_links: bool) -> None:
        self._h5py, self._file, self._place, self._follow = _h5py(), file, place, follow_links
        self._size = self._bytes()

    def _bytes(self) -> int:
        return os.fstat(self._file.id.get_vfd_handle()).st_size

    def require_whole(self) -> None:
        """Raise FormatError if the file is shorter than when it was opened."""
        if (size := self._bytes()) < self._size:
            raise FormatError(f"expected a file of {self._size} bytes as at the start, got {size} bytes")

    def rows_and_group(self) -> tuple[Any, str]:
        """Return the dataset of embeddings, and the path of its group."""
        name = self._place.entry
        if name is None:
            names = self._names_of(self._file)
            if not any(self._is_rows(self.at(each)) for each in names):
                names = self._nested_names() or names
            datasets = {each: self.at(each) for each in names}
            rows = [each for each in names if self._is_rows(datasets[each])]
            name = chosen_entry(self._place, rows, {each: _kind(dataset) for each, dataset in datasets.items()})
        dataset = self.at(name)
        if not self._is_rows(dataset):
            raise FormatError(f"expected floats of shape (n, d), got {_kind(dataset)}", path=self._place)
        return dataset, name.rpartition("/")[0]

    def id_name(self, group: str) -> str | None:
        """Return the name of the dataset of ids beside the embeddings by its usual or its given name, or None."""
        beside = [*(self._file[group] if group else self._file)]  # a group called ids is an error, and not ignored
        name = id_entry(self._place.file, self._place.ids, beside)
        if name is not None:
            self._ids_at(group, name)
        return name

    def id_columns(self, rows: Any, group: str, fixed: str | None) -> IdColumns:
        """Return the datasets beside the embeddings."""
        n, own = len(rows), rows.name.rpartition("/")[2]
        names = [name for name in self._names_of(self._file[group] if group else self._file) if name != own]
        found = names if self._place.ids is True else []
        return IdColumns(
            names,
            n,
            fixed,
            [name for name in that_say_ids(found) if self._has_one_a_row(group, name, n)],
            called_name(found),
            lambda name: self._id_blocks(group, name, n),
            lambda name: self._ids(self._ids_at(group, name), n),
        )

    def _ids_at(self, group: str, name: str) -> Any:
        try:
            dataset = self.at(f"{group}/{name}" if group else name)
            if dataset.shape is None:
                raise FormatError(f"expected a dataset {name!r} with a value for each row, got an empty one")
        except FormatError as error:
            error.path, error.hint = self._place.file, file_hint(error.hint)
            raise
        return dataset

    def _has_one_a_row(self, group: str, name: str, n: int) -> bool:
        """Return whether a dataset has a value for each row. True for one that reading refuses."""
        try:
            return one_a_row(self.at(f"{group}/{name}" if group else name).shape or (), n)
        except FormatError:
            return True

    def _id_blocks(self, group: str, name: str, n: int) -> Iterator[NDArray[Any]]:
        """Yield the values of a dataset that may hold ids. One in another file that is not followed does not."""
        try:
            dataset = self.at(f"{group}/{name}" if group else name)
        except FormatError:
            return
        if may_be_ids(dataset.shape or (), dataset.dtype, n):
            yield self._values(dataset)

    def _ids(self, dataset: Any, n: int) -> NDArray[Any]:
        """Read the ids of n rows. Errors as in `as_ids`."""
        return as_ids(self._values(dataset), n, dataset.name.rpartition("/")[2], self._place.file)

    def _values(self, dataset: Any) -> Any:
        _require_stored(dataset)
        if dataset.dtype.hasobject:
            require_strings(self._h5py, dataset)
        values = dataset[()]
        self.require_whole()
        return values

    def at(self, name: str) -> Any:
        """Return a dataset by its path, in this file unless links are followed."""
        try:
            found: Any = self._walk(self._file, [part for part in name.split("/") if part], name, MAX_SOFT_LINKS)
        except KeyError as error:
            names = (
                ", ".join([*dict.fromkeys([*self._names_of(self._file), *self._nested_names()])][:MAX_LISTED])
                or "no datasets"
            )
            raise FormatError(f"expected an entry {name!r}, got {names}", path=self._place.path) from error
        if not isinstance(found, self._h5py.Dataset):
            raise FormatError(f"expected a dataset {name!r}, got a {type(found).__name__.lower()}", path=self._place)
        if not self._follow and (found.external or found.is_virtual):
            sources = [part[0] for part in found.external or ()]
            if found.is_virtual:
                sources = [source.file_name for source in found.virtual_sources() if source.file_name != "."]
            if sources:
                raise self._in_another_file(name, sources[0])
        return found

    def _walk(self, group: Any, parts: list[str], name: str, links: int) -> Any:
        for number, part in enumerate(parts):
            link = group.get(part, getlink=True) if isinstance(group, self._h5py.Group) else None
            if link is None:
                raise KeyError(name)
            if isinstance(link, self._h5py.ExternalLink) and not self._follow:
                raise self._in_another_file(name, link.filename)
            if isinstance(link, self._h5py.SoftLink):
                if links == 0:
                    raise FormatError(
                        f"expected at most {MAX_SOFT_LINKS} soft links, got at least {MAX_SOFT_LINKS + 1}",
                        path=self._place,
                    )
                start = self._file if link.path.startswith("/") else group
                target = [piece for piece in link.path.split("/") if piece not in ("", ".")]
                return self._walk(start, [*target, *parts[number + 1 :]], name, links - 1)
            group = group[part]
        return group

    def _in_another_file(self, name: str, other: str) -> FormatError:
        return FormatError(
            f"expected {name!r} stored in this file, got a link to {short_repr(other)}",
            path=self._place.path,
            hint="pass --follow-links (follow_links=True) if you trust the file",
        )

    def _names_of(self, group: Any) -> list[str]:
        """Return the names of a group's datasets, and of links to other files."""
        return [name for name in group if self._is_dataset(group, name)]

    def _is_dataset(self, group: Any, name: str) -> bool:
        if isinstance(group.get(name, getlink=True), self._h5py.ExternalLink):
            return True
        try:
            return isinstance(self._walk(group, [name], name, MAX_SOFT_LINKS), self._h5py.Dataset)
        except (FormatError, KeyError):  # a soft link that leads nowhere
            return False

    def _nested_names(self) -> list[str]:
        """Return the paths of all datasets in groups. Links are not followed."""
        names: list[str] = []

        def visit(name: str, entry: Any) -> None:
            if isinstance(entry, self._h5py.Dataset):
                names.append(name)

        self._file.visititems(visit)
        return names

    def _is_rows(self, dataset: Any) -> bool:
        return bool(dataset.ndim == 2 and dataset.dtype.kind == "f")

    def reopened(self, parent: Any, name: str, cache: int) -> Any:
        """Return a dataset with room for ``cache`` bytes of unpacked chunks. Nothing else may have it open."""
        h5 = self._h5py
        access = h5.h5p.create(h5.h5p.DATASET_ACCESS)
        access.set_chunk_cache(10_007, cache, 1.0)  # a prime number of slots; whole chunks may go first
        return h5.Dataset(h5.h5d.open(parent, name.encode(), access))


def _kind(dataset: Any) -> str:
    return f"{dataset.dtype} of shape {dataset.shape}"


def _bytes(shape: tuple[int, ...], dataset: Any) -> int:
    return int(math.prod(shape) * dataset.dtype.itemsize)


def _require_stored(dataset: Any) -> int:
    """Check that the file stores the declared rows, and that its filters are installed.

    HDF5 would return fill values for rows that are not stored.

    Returns
    -------
    Bytes of all chunks that a row lies in, from 8 MB to `CACHE_BYTES`
    """
    _require_filters(dataset)
    stored = dataset.id.get_storage_size()
    if dataset.is_virtual:
        _require_sources(dataset)
        return FREE_BYTES
    if dataset.external:
        return FREE_BYTES
    if dataset.size and stored == 0:
        raise FormatError(f"expected data for {_bytes(dataset.shape, dataset)} bytes, got 0 stored bytes")
    require_unfolding(stored, _bytes(dataset.shape, dataset), dataset.name)
    if dataset.chunks is None:
        return FREE_BYTES
    require_unfolding(stored, _bytes(dataset.chunks, dataset), dataset.name)
    if dataset.ndim != 2:
        return FREE_BYTES
    sides = [-(-side // chunk) * chunk for side, chunk in zip(dataset.shape[1:], dataset.chunks[1:], strict=True)]
    across = _bytes((dataset.chunks[0], *sides), dataset)
    return int(min(max(across, FREE_BYTES), CACHE_BYTES))


def _require_filters(dataset: Any) -> None:
    h5z, properties = _h5py().h5z, dataset.id.get_create_plist()
    filters = [properties.get_filter(number) for number in range(properties.get_nfilters())]
    for code, _, _, name in filters:
        if not h5z.filter_avail(code):
            with suppress(ImportError):
                import_module("hdf5plugin")  # registers its filters
        if not h5z.filter_avail(code):
            raise FormatError(
                f"expected a filter that HDF5 has, got {name.decode(errors='replace') or 'filter'} ({code})",
                hint="pip install hdf5plugin (from Python: import hdf5plugin)",
            )


def _require_sources(dataset: Any) -> None:
    """Raise FormatError for a missing source of a virtual dataset: HDF5 would return fill values."""
    folder = Path(dataset.file.filename).parent
    for source in dataset.virtual_sources():
        if source.file_name != "." and not (folder / source.file_name).exists():
            raise FormatError(f"expected the source {source.file_name} of a virtual dataset, got no such file")


def write_hdf5(
    file: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any], blocks: Iterable[Floats], ids: NDArray[Any] | None
) -> None:
    """Write rows and optional ids. DomainError for an id that HDF5 cannot store."""
    if ids is not None and ids.dtype.kind == "O":
        reject(np.array(["\0" in item for item in ids]), "expected ids without NUL, which ends a string in HDF5", "ids")
    with _h5py().File(file, "w", track_order=True) as out:
        rows = out.create_dataset(EMBEDDING_ENTRIES[0], shape, dtype)
        start = 0
        for block in blocks:
            rows[start : start + len(block)] = block
            start += len(block)
        if ids is not None:
            out.create_dataset("ids", data=ids, dtype=_h5py().string_dtype() if ids.dtype.kind == "O" else None)
