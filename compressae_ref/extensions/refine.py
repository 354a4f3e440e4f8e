"""Refined codes, an extension: orthogonal matching pursuit among the latents that the encoder ranks first."""

from __future__ import annotations

from collections.abc import Iterator

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.model import Model, aux_k
from compressae_ref.params import Params
from compressae_ref.row_source import RowSource, as_source
from compressae_ref.unit_blocks import HostRows, UnitBlock, unit_blocks

TABLE_BYTES = 1 << 29
"""Largest size of a table with the dots of all pairs of atoms."""


def _dots_for(n: int, k: int, m: int, W_dec: Floats, backend: Backend) -> Floats | None:
    """Return the dots of all pairs of atoms if n rows need more than these and they fit `TABLE_BYTES`, else None."""
    h = len(W_dec)
    if n * k * m < h * h or h * h * W_dec.itemsize > TABLE_BYTES:
        return None
    return backend.pair_dots(W_dec, W_dec)


def _check_candidates(k: int, m: int) -> None:
    """Raise if there are fewer candidates than entries (R14)."""
    if m < k:
        raise DomainError(f"expected at least k = {k} of them, got {m}", argument="candidates")


def refine(
    codes: Codes,
    x: RowSource,
    params: Params,
    k: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Codes:
    """Refine codes by orthogonal matching pursuit: choose up to k of the stored latents, with least-squares values.

    Parameters
    ----------
    codes : codes of x, whose latents are the candidates; `Model.encode` with a larger k and the same ``zero_rows``
        returns them
    x : (n, d) array or any source of rows, at any scale: the rows that were encoded
    params : the parameters of the model that made the codes
    k : stored entries per row, at most those of ``codes``; None: all of them, which changes the values only
    zero_rows : "error"; "empty" for codes of zeros; "skip" for no codes (`checks.ZeroRows`, R17)
    backend : "numpy", "numba" or "cuda"; the result is the same to the bit

    Returns
    -------
    Codes in the dtype of ``params``, with its digest and marked as refined

    Raises
    ------
    ShapeError, DTypeError, DomainError
    """
    rows, codes, k = (
        HostRows(as_source(x), d=params.d, zero_rows=zero_rows),
        codes.to_host(),
        as_k(codes.k if k is None else k, params.n_latents),
    )
    _check_candidates(k, codes.k)
    model = Model(params, k)
    model.check_codes(codes)
    if len(codes) != len(rows):
        raise ShapeError(f"expected a code for each of {len(rows)} rows of x, got {len(codes)}", argument="codes")
    kernels = get_backend(backend)
    dots = _dots_for(len(rows), k, codes.k, params.W_dec, kernels)
    parts = []
    for block in unit_blocks(rows, params.dtype, kernels, zero_rows, mean=params.mean):
        some = codes[block.start : block.start + len(block.zero)]
        refined = kernels.refine_unit(some, block.x_unit, params.W_dec, k, dots)
        parts.append(_finished(rows, refined, block, model))
    return rows.join(parts)


def _finished(rows: HostRows, codes: Codes, block: UnitBlock, model: Model) -> Codes:
    """Return the refined codes of a block with the codes of its zero rows, marked as refined."""
    done = rows.finish(codes, block.zero, block.start, model.digest)
    return Codes.trusted(done.indices, done.values, done.n_latents, done.model, refined=True)


def encode_refined(
    x: RowSource,
    model: Model,
    k: int | None = None,
    candidates: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Codes:
    """Encode with ``candidates`` entries (None: min(4k, h)) and `refine` to k entries, block by block."""
    return Codes.concatenate(list(refined_blocks(x, model, k, candidates, zero_rows=zero_rows, backend=backend)))


def refined_blocks(
    x: RowSource,
    model: Model,
    k: int | None = None,
    candidates: int | None = None,
    *,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
    first_row: int = 0,
) -> Iterator[Codes]:
    """Yield the codes of `encode_refined` from ``first_row`` on, in blocks of rows, each computed on demand."""
    kernels = get_backend(backend)
    rows = HostRows(as_source(x), d=model.params.d, zero_rows=zero_rows)
    for _, codes in refined_with_rows(rows, model, k, candidates, zero_rows, kernels, first_row):
        yield codes


def refined_with_rows(
    rows: HostRows,
    model: Model,
    k: int | None,
    candidates: int | None,
    zero_rows: ZeroRows,
    backend: Backend,
    first_row: int = 0,
) -> Iterator[tuple[UnitBlock, Codes]]:
    """Yield blocks of rows that `refined_blocks` reads, each with its codes."""
    params = model.params
    k = as_k(model.k if k is None else k, params.n_latents)
    m = as_k(aux_k(k, params.n_latents) if candidates is None else candidates, params.n_latents, name="candidates")
    _check_candidates(k, m)
    dots, there = _dots_for(len(rows), k, m, params.W_dec, backend), backend.place_params(params)
    for block in unit_blocks(rows, params.dtype, backend, zero_rows, first_row, mean=params.mean):
        wide = backend.encode(block.x_unit, there.W_enc, there.b_enc, m)
        refined = backend.refine_unit(wide, block.x_unit, params.W_dec, k, dots)
        yield block, _finished(rows, refined, block, model)
