"""Files of `PackedIndex`: a file of packed codes (``spec/packed.md``) with the norms, which other readers ignore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import short_repr
from compressae_ref.errors import FormatError
from compressae_ref.extensions.packed_codes import PackedCodes, from_arrays
from compressae_ref.files.id_members import IDS, LENGTHS, id_members, ids_from
from compressae_ref.files.model_file import PACKED_FORMAT, built, json_array, read_meta
from compressae_ref.files.npz import PathLike, Pieces, write_npz
from compressae_ref.files.packed_file import meta_of
from compressae_ref.model import Encoder
from compressae_ref.retrieval.packed_items import Chunk, all_ids, next_after
from compressae_ref.retrieval.spaces import Space, as_space

NORMS = "norms"


class Facts(NamedTuple):
    """What the meta says about an index, in an entry ``index`` that other readers ignore."""

    space: Space | None
    """of the norms; None if the file has none"""
    model: str | None
    """digest of the model that the norms depend on"""
    next_number: int


class PackedIndexFile(NamedTuple):
    """The content of a file."""

    packed: PackedCodes
    ids: NDArray[Any] | range
    facts: Facts
    norms: Floats | None

    def norms_for(self, space: Space, model: Encoder | None, dtype: Any) -> Floats | None:
        """Return the norms if they are those of this space and model, else None.

        All spaces but the sparse one have the same norms of items.
        """
        if self.norms is None or self.norms.dtype != dtype or (self.facts.space == "sparse") != (space == "sparse"):
            return None
        same_model = model is not None and model.digest == self.facts.model
        return self.norms if same_model or space == "sparse" else None


def write_packed_index(path: PathLike, like: PackedCodes, chunks: Sequence[Chunk], facts: Facts) -> None:
    """Write the items of an index."""
    n, ids = sum(map(len, chunks)), all_ids(chunks)
    numbered = n == facts.next_number and ids.dtype.kind == "i" and (ids == np.arange(n)).all()
    dtype = chunks[0].norms.dtype if chunks else np.dtype(np.float32)
    arrays = {
        "packed": Pieces((n, like.layout.row_bytes), np.dtype(np.uint8), (chunk.data for chunk in chunks)),
        NORMS: Pieces((n,), dtype, (chunk.norms for chunk in chunks)),
        "meta": json_array(meta_of(like) | {"index": facts._asdict()}),
        **id_members(None if numbered else ids),
    }
    write_npz(path, arrays, aligned=True)


def read_packed_index(path: PathLike, *, check: bool) -> PackedIndexFile:
    """Read a file of packed codes, with norms or without, or map it if ``check`` is False."""
    arrays, meta = read_meta(path, IDS, LENGTHS, NORMS, mapped=not check)

    def build(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> PackedIndexFile:
        packed = from_arrays(arrays, meta, check=check)
        stored = ids_from(arrays, len(packed), path, unique=check, may_choose=False)
        ids = range(len(packed)) if stored is None else stored
        if "index" not in meta:  # a member "norms" has no meaning in other files of packed codes
            return PackedIndexFile(packed, ids, Facts(None, None, next_after(ids, 0)), None)
        facts = _facts(meta["index"])
        facts = facts._replace(next_number=next_after(ids, facts.next_number))
        return PackedIndexFile(packed, ids, facts, _norms(arrays, len(packed)))

    return built(path, PACKED_FORMAT, arrays, meta, build)


def _facts(index: Any) -> Facts:
    if not isinstance(index, dict) or set(index) != {*Facts._fields}:
        raise FormatError(f"expected index with {', '.join(Facts._fields)}, got {short_repr(index)}")
    facts = Facts(as_space(index["space"]), index["model"], index["next_number"])
    if not isinstance(facts.model, str | None) or type(facts.next_number) is not int or facts.next_number < 0:
        raise FormatError(f"expected a digest or null and a next_number from 0, got {short_repr(index)}")
    return facts


def _norms(arrays: dict[str, NDArray[Any]], n: int) -> Floats:
    norms = arrays.get(NORMS)
    if norms is None or norms.shape != (n,) or norms.dtype not in (np.float32, np.float64):
        got = "none" if norms is None else f"{norms.dtype} of shape {norms.shape}"
        raise FormatError(f"expected {n} norms, one for each item, got {got}")
    valid = np.isfinite(norms) & (norms > 0)  # also of a mapped file: backends assume it
    if not valid.all():
        row = int(np.argmin(valid))
        raise FormatError(f"expected finite norms above 0, got {norms[row]}", row=row)
    return norms
