"""Load codes that another system stored, in any supported format."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.checks import as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, FormatError, ShapeError
from compressae_ref.files.codes_file import load_codes
from compressae_ref.files.foreign.codes import load_sparse, open_codes
from compressae_ref.files.foreign.partitioned import is_parts
from compressae_ref.files.foreign.sniff import kind_of
from compressae_ref.files.model_file import is_ours
from compressae_ref.files.npz import reading
from compressae_ref.optional import require_scipy
from compressae_ref.unit_blocks import ROWS_PER_BLOCK

LISTED = ("csr", "parquet", "arrow", "jsonl")
"""Formats in which rows may have fewer than k entries."""


def load_any_codes(path: str, k: int | None = None, n_latents: int | None = None) -> Codes:
    """Load codes from a codes file, from any other supported format of sparse codes, or from a dense ``.npy`` (n, h).

    Parameters
    ----------
    path : the file or folder
    k : number of entries per row of the result; None: the longest row decides
    n_latents : h, for formats that do not store it; codes with split signs may have 2h

    Raises
    ------
    FormatError, ShapeError, DomainError
        If the file has no codes; the error names the file.
    OSError
        If the file cannot be read.
    """
    with reading(path, "a codes file, a sparse matrix in SciPy's .npz, or a dense .npy"):
        if not is_parts(path) and is_ours(path):
            codes = load_codes(path)
            return codes if k is None or k == codes.k else codes.truncate(k)
        if _is_listed(path):
            codes = _listed(path, n_latents)
            return codes if k is None or k == codes.k else Codes.from_csr(codes.to_csr(), as_k(k, codes.n_latents))
        matrix = _matrix(Path(path))
        return Codes.from_csr(matrix, k if k is None else as_k(k, matrix.shape[1]))


def _listed(path: str, n_latents: int | None) -> Codes:
    """Load codes over h latents, or over 2h dimensions, if their signs were split."""
    try:
        return open_codes(path, n_latents).load()
    except (DomainError, FormatError):
        if n_latents is not None:
            with suppress(CompressaeError):
                return open_codes(path, 2 * n_latents).load()
        raise


def _is_listed(path: str) -> bool:
    try:
        return is_parts(path) or kind_of(path) in LISTED
    except FormatError:
        return False


def _matrix(path: Path) -> Any:
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return load_sparse(path)
    dense = np.load(path, mmap_mode="r", allow_pickle=False)
    if dense.ndim != 2 or dense.dtype.kind != "f" or dense.dtype.itemsize > 8:
        raise ShapeError(f"expected a dense array (n, h) of floats, got {dense.dtype} of shape {dense.shape}")
    as_dtype = np.float64 if dense.dtype.itemsize == 8 else np.float32  # SciPy has no float16
    sparse = require_scipy("sparse", "dense codes")
    starts = range(0, max(len(dense), 1), ROWS_PER_BLOCK)
    blocks = [sparse.csr_array(dense[start : start + ROWS_PER_BLOCK].astype(as_dtype)) for start in starts]
    return sparse.vstack(blocks, format="csr")
