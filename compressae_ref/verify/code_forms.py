"""The forms in which systems store codes: of the encoder, refined or fitted, then packed or with split signs.

A file of codes may say nothing about its form. `recognise` compares a sample of its rows with the codes of each form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.center import encoded_rows
from compressae_ref.codes import Codes
from compressae_ref.extensions.fitted_codes import STEPS, Anchors, fitted_blocks
from compressae_ref.extensions.packed_codes import pack
from compressae_ref.extensions.refine import refined_blocks
from compressae_ref.model import Encoder, Model, aux_k, whole_model
from compressae_ref.row_source import RowSource, read_rows

SAMPLE = 64
"""Rows that are compared with each form, evenly spaced."""

CLOSE = 2.0**-11
"""How near, relative to the largest value of a row, values must be to recognise a form: float16 is that precise."""

TIMES_K = (4, 1, 2, 3, 5, 6, 8, 10, 12, 16, 32)
ROUND = (50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024)
"""Numbers of candidates to try, as multiples of k and as they are. The first is the default (R14)."""


@dataclass(frozen=True)
class Form:
    """How codes were made and stored."""

    method: str = "encoded"
    """encoded, refined or fitted"""
    candidates: int | None = None
    """of refined codes"""
    steps: int | None = None
    """of fitted codes"""
    bits: int | None = None
    """bits per value of packed codes"""
    split_signs: bool = False

    def __str__(self) -> str:
        made = {
            "encoded": "codes of the encoder",
            "refined": f"refined codes (R14, {self.candidates} candidates)",
            "fitted": f"fitted codes (R27, {self.steps} steps)",
        }[self.method]
        packed = "" if self.bits is None else f", packed with {self.bits} bits (R18)"
        return f"{made}{packed}{', signs split' if self.split_signs else ''}"


@dataclass(frozen=True)
class Maker:
    """Makes the right codes of rows, as values are stored in one form; signs are not split."""

    model: Encoder
    k: int
    form: Form
    backend: Backend
    anchors: Anchors | None = None

    def blocks(self, x: RowSource) -> Iterator[Codes]:
        """Yield the codes of all rows in blocks, each on demand; a zero row has a code of zeros (R4)."""
        for codes in self._made(x):
            yield stored(codes, self.form.bits, self.backend).astype(self.model.params.dtype)

    def _made(self, x: RowSource) -> Iterator[Codes]:
        if self.form.method == "refined":
            k, m = self.k, self.form.candidates
            return refined_blocks(x, whole_model(self.model), k, m, zero_rows="empty", backend=self.backend)
        if self.form.method == "fitted" and self.anchors is not None:
            steps = self.form.steps or STEPS
            return fitted_blocks(x, self.model, self.anchors, steps=steps, zero_rows="empty", backend=self.backend)
        return self.model.encode_blocks(x, self.k, zero_rows="empty", backend=self.backend)

    def codes(self, x: RowSource) -> Codes:
        """Return the codes of all rows."""
        return Codes.concatenate(list(self.blocks(x)))


def stored(codes: Codes, bits: int | None, backend: Backend) -> Codes:
    """Return codes as a file with this number of bits per value returns them."""
    return codes if bits is None else pack(codes, bits, backend=backend).unpack(backend=backend)


def unsplit(codes: Codes) -> Codes:
    """Return the codes of which `Codes.split_signs` made these: v of dimension 2j at latent j, of 2j + 1 as −v.

    A latent of which both dimensions have values gets their sum.
    """
    latents, signs = codes.indices // 2, np.where(codes.indices % 2, -1, 1).astype(codes.values.dtype)
    values, h = codes.values * signs + 0, codes.n_latents // 2
    if (np.diff(latents, axis=1) > 0).all():
        return Codes.trusted(latents.astype(np.int32), values, h)
    from scipy.sparse import csr_array

    starts = np.arange(len(codes) + 1) * codes.k
    matrix = csr_array((values.ravel(), latents.ravel(), starts), shape=(len(codes), h))
    matrix.sum_duplicates()
    return Codes.from_csr(matrix, codes.k)


def as_stored_by(model: Encoder, codes: Codes) -> tuple[Codes, bool]:
    """Return codes over the latents of a model, and whether their signs were split. ShapeError for other codes."""
    h = model.params.n_latents
    if codes.n_latents != 2 * h or codes.k > h or (codes.values < 0).any():
        model.check_codes(codes)
        return codes, False
    if codes.model not in (None, model.digest):
        model.check_codes(replace(codes, n_latents=h) if codes.indices.max(initial=0) < h else unsplit(codes))
    return unsplit(codes), True


def recognise(
    model: Encoder,
    x: RowSource,
    codes: Codes,
    backend: Backend,
    anchors: Anchors | None = None,
    candidates: int | None = None,
    steps: int = STEPS,
) -> Form | None:
    """Return the form to which most rows of a sample are nearest, but for their signs and scale; None if there is none.

    Parameters
    ----------
    candidates : of refined codes, if it is known
    """
    rows = np.unique(np.linspace(0, len(codes) - 1, min(SAMPLE, len(codes))).round().astype(np.int64))
    sample = read_rows(x, rows, d=model.params.d, zeros=True)
    given = sample.any(axis=1) & codes.values[rows].any(axis=1)
    if not given.any():
        return Form(bits=bits_of(codes[rows]))
    sample, codes = sample[given], codes[rows[given]]
    best: tuple[float, Form | None] = (0.5, None)
    for form in _forms(model, sample, codes, anchors, candidates, steps):
        right = Maker(model, codes.k, form, backend, anchors).codes(sample)
        share = float(near(right, codes, form.bits).mean())
        if share > best[0]:
            best = share, form
        if share == 1:
            break
    return best[1]


def bits_of(codes: Codes) -> int | None:
    """Return the bits of a value of packed codes: most rows have values ±(q + ½) / 2^(bits−1) (E25). Else None."""
    magnitudes = np.abs(codes.values[codes.values.any(axis=1)].astype(np.float64))
    for bits in BITS if len(magnitudes) else ():
        odd, largest = magnitudes * 2**bits, 2**bits - 1
        if ((odd % 2 == 1).all(axis=1) & (odd.max(axis=1) == largest)).mean() > 0.5:
            return bits
    return None


def near(right: Codes, codes: Codes, bits: int | None) -> Bools:
    """Return for each row whether two codes are nearly the same, but for their signs and, unless packed, their scale.

    Values that were packed may differ by one level.
    """
    a, b = (np.abs(each.to_dense().astype(np.float64)) for each in (right, codes))
    if bits is None:
        a, b = (each / np.maximum(each.max(axis=1, keepdims=True), np.finfo(np.float32).tiny) for each in (a, b))
    close: Bools = (np.abs(a - b) <= (CLOSE if bits is None else 2.0 ** (1 - bits))).all(axis=1)
    return close


def _forms(
    model: Encoder, x: Floats, codes: Codes, anchors: Anchors | None, candidates: int | None, steps: int
) -> Iterator[Form]:
    """Yield the forms that these codes may have, the likeliest first."""
    bits = bits_of(codes)
    if anchors is not None:
        yield Form("fitted", steps=steps, bits=bits)
    if candidates is None:
        yield Form(bits=bits)
        if not isinstance(model, Model):
            return  # refined codes cannot be made without W_dec
        yield Form("refined", aux_k(codes.k, model.params.n_latents), bits=bits)
    least_squares = _is_least_squares(model, x, codes, bits) if candidates is None else None
    if least_squares is not None and least_squares.mean() <= 0.5:
        return  # no number of candidates gives other values to the stored latents
    usual = _usual_candidates(codes.k, model.params.n_latents) if candidates is None else [candidates]
    yield from (Form("refined", m, bits=bits) for m in usual)
    if least_squares is not None:
        yield Form("refined", _deepest(model, x[least_squares], codes[least_squares]), bits=bits)


def _usual_candidates(k: int, h: int) -> Sequence[int]:
    several = sorted({times * k for times in TIMES_K} | set(ROUND))
    return [m for m in several if k <= m <= h and m != aux_k(k, h)]


def _is_least_squares(model: Encoder, x: Floats, codes: Codes, bits: int | None) -> Bools:
    """Return for each row whether its values are nearly those of least squares for its latents (E22)."""
    rows = encoded_rows(x, model.params.mean, model.params.dtype).astype(np.float64)
    atoms, values = model.params.W_dec.astype(np.float64), np.zeros(codes.values.shape)
    for i, (latents, given) in enumerate(zip(codes.indices, codes.values, strict=True)):
        kept = given != 0
        values[i, kept] = np.linalg.lstsq(atoms[latents[kept]].T, rows[i], rcond=None)[0]
    fitted = Codes.trusted(codes.indices, values, codes.n_latents)
    return near(fitted if bits is None else pack(fitted, bits, backend="numpy").unpack(backend="numpy"), codes, bits)


def _deepest(model: Encoder, x: Floats, codes: Codes) -> int:
    """Return the lowest rank, by the encoder, of a latent that these rows store."""
    params = model.params
    rows = encoded_rows(x, params.mean, params.dtype)
    order = np.argsort(-np.abs(rows @ params.W_enc + params.b_enc), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1)
    deepest = np.take_along_axis(ranks, codes.indices, axis=1)[codes.values != 0].max(initial=codes.k - 1)
    return int(deepest) + 1
