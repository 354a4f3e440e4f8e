"""Scalar quantisers of principal components: bits by variance, or a random rotation and as many bits for each.

Components and levels are shared by all items. Only the bits of an item, and its scale if it has one, are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.search import ITEMS_PER_BLOCK
from compressae_ref.evaluation.levels import MOST_BITS, allocated_bits, fitted_levels, normal_levels, padded
from compressae_ref.metrics import recall_at
from compressae_ref.retrieval.brute_force import best_products, unit_or_zero

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Search = Callable[[Floats, int], Integers]
"""Unit queries (n_q, d), top → ids (n_q, top)."""

SAMPLE = 20_000
"""Items from which levels are learned, at most."""

TRIED = 5_000
"""Items among which each number of bits of a rotation is tried, at most."""

ROUNDS = 3
"""Rounds of moving each index to the next level where this raises the cosine."""

SCALE_STEPS = 255


class Quantiser(NamedTuple):
    """Coordinates along directions, each rounded to one of its own levels."""

    directions: Floats
    """(m, d), orthonormal rows"""
    bits: Integers
    """(m,), from 0 to `MOST_BITS`"""
    levels: Floats
    """(m, 2^`MOST_BITS`): row j has 2^bits[j] ascending levels, then repeats the last one"""

    @property
    def row_bytes(self) -> int:
        """The bytes of one item's bits."""
        return -(-int(self.bits.sum()) // 8)

    def indices(self, x: Floats) -> Bytes:
        """Return the nearest level of each coordinate. (n, d) → (n, m)."""
        columns = (x @ self.directions.T).T
        middles = (self.levels[:, 1:] + self.levels[:, :-1]) / 2
        found = [np.searchsorted(each[: 2**b - 1], y) for each, b, y in zip(middles, self.bits, columns, strict=True)]
        return np.array(found, np.uint8).T

    def values(self, indices: Bytes) -> Floats:
        """Return the levels with the given indices. (n, m) → (n, m)."""
        found: Floats = self.levels[np.arange(len(self.bits)), indices]
        return found

    def packed(self, indices: Bytes) -> Bytes:
        """Return the bits of the indices. (n, m) → (n, row_bytes)."""
        bits = np.unpackbits(indices[:, :, None], axis=2, bitorder="little")
        return np.packbits(bits[:, self._stored_bits()], axis=1)

    def unpacked(self, stored: Bytes) -> Bytes:
        """Return the indices from their bits. (n, row_bytes) → (n, m)."""
        bits = np.zeros((len(stored), len(self.bits), 8), np.uint8)
        bits[:, self._stored_bits()] = np.unpackbits(stored, axis=1, count=int(self.bits.sum()))
        return np.packbits(bits, axis=2, bitorder="little")[:, :, 0]

    def _stored_bits(self) -> NDArray[np.bool_]:
        """Tell which of the 8 bits of each index are stored. (m, 8)."""
        stored: NDArray[np.bool_] = np.arange(8) < self.bits[:, None]
        return stored

    def adjusted(self, x: Floats, indices: Bytes) -> Bytes:
        """Move indices to neighbouring levels, one coordinate after the other, while the cosine with x rises."""
        true, table = (x @ self.directions.T).T, self.levels
        chosen = indices.T.astype(np.int64)
        value = table[np.arange(len(table))[:, None], chosen]
        dot, square = (true * value).sum(axis=0), (value * value).sum(axis=0)
        for _ in range(ROUNDS):
            for j, last in enumerate(2**self.bits - 1):
                for step in (-1, 1):
                    moved = np.clip(chosen[j] + step, 0, last)
                    new = table[j, moved]
                    new_dot = dot + true[j] * (new - value[j])
                    new_square = square + new * new - value[j] * value[j]
                    better = new_dot * np.abs(new_dot) * square > dot * np.abs(dot) * new_square
                    chosen[j], value[j] = np.where(better, moved, chosen[j]), np.where(better, new, value[j])
                    dot, square = np.where(better, new_dot, dot), np.where(better, new_square, square)
        return chosen.T.astype(np.uint8)


def transform_coded(x_unit: Floats, components: Floats, size: int) -> tuple[int, Search]:
    """Give each component bits by its variance, as transform coding and SAQ (arXiv:2509.12086) do.

    An item is stored as its bits, whose indices are adjusted to raise the cosine, and as its least-squares scale
    ⟨x, x̂⟩ / ⟨x̂, x̂⟩ in one byte. Items are ranked by the dot product with the scaled reconstruction.

    Parameters
    ----------
    components : (d, d) principal components as rows
    size : bytes of an item, at least 2

    Returns
    -------
    bytes of an item, at most ``size``, and a search
    """
    sample = some_rows(x_unit) @ components.T
    bits = allocated_bits(sample.var(axis=0), 8 * (size - 1))
    kept = bits > 0
    levels = np.stack([padded(fitted_levels(y, b)) for y, b in zip(sample.T[kept], bits[kept], strict=True)])
    quantiser = Quantiser(components[kept], bits[kept], levels)
    indices = [quantiser.adjusted(block, quantiser.indices(block)) for block in blocks(x_unit)]
    scales = np.concatenate([_scales(x, quantiser, each) for x, each in zip(blocks(x_unit), indices, strict=True)])
    low, step = scales.min(), np.ptp(scales) / SCALE_STEPS
    steps = np.rint((scales - low) / (step or 1)).astype(np.uint8)
    stored = np.hstack([np.vstack([quantiser.packed(each) for each in indices]), steps[:, None]])

    def decode(rows: Bytes) -> Floats:
        values = quantiser.values(quantiser.unpacked(rows[:, :-1]))
        scaled: Floats = values * (low + step * rows[:, -1:].astype(np.float32))
        return scaled

    return stored.shape[1], _search(quantiser, stored, decode)


def rotated(x_unit: Floats, mean: Floats, components: Floats, size: int, seed: int = 0) -> tuple[int, Search]:
    """Rotate the first m components at random, and give b bits to each coordinate, as ASH (arXiv:2606.07870) does.

    Of all (m, b) that fill the bytes, the one with the highest recall on a sample of the items is taken. Items are
    ranked by the cosine with the reconstruction, to which the mean is added. Its norm follows from the bits, so nothing
    else is stored.

    Parameters
    ----------
    mean, components : (d,) mean of the items, and (d, d) principal components of the items without it
    size : bytes of an item, at least 1

    Returns
    -------
    bytes of an item, at most ``size``, and a search
    """
    sample = some_rows(x_unit, TRIED)
    d, most = len(components), min(MOST_BITS, 8 * size)
    fitting = {min(d, 8 * size // b): b for b in range(1, most + 1)}  # the most bits for each number of components
    made = [_rotated(sample, mean, components[:m], b, seed) for m, b in fitting.items()]
    quantiser = made[0] if len(made) == 1 else max(made, key=lambda each: _recall_within(sample, each))
    stored = np.vstack([quantiser.packed(quantiser.indices(block)) for block in blocks(x_unit)])
    return stored.shape[1], _search(quantiser, stored, lambda rows: _unit_values(quantiser, rows))


def _rotated(sample: Floats, mean: Floats, components: Floats, b: int, seed: int) -> Quantiser:
    """The last direction is that of the rest of the mean: it is the same for all items and takes no bits."""
    m = len(components)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((m, m)))[0].astype(np.float32)
    directions = rotation @ components
    middle = directions @ mean
    rest = mean - middle @ directions
    norm = np.linalg.norm(rest)
    deviation = np.sqrt(np.mean(((sample - mean) @ components.T) ** 2))
    levels = middle[:, None] + deviation * padded(normal_levels(b)).astype(np.float32)
    last = np.full((1, 2**MOST_BITS), norm, np.float32)
    bits = np.append(np.full(m, b), 0)
    return Quantiser(np.vstack([directions, rest / (norm or 1)]), bits, np.vstack([levels, last]))


def _unit_values(quantiser: Quantiser, rows: Bytes) -> Floats:
    return unit_or_zero(quantiser.values(quantiser.unpacked(rows)))


def _recall_within(sample: Floats, quantiser: Quantiser) -> float:
    """Recall of the 100 dense neighbours, or a tenth, of some sampled items among the others."""
    asked = min(200, len(sample) // 2)
    queries, items = sample[:asked], sample[asked:]
    top = max(1, min(100, len(items) // 10))
    stored = quantiser.packed(quantiser.indices(items))
    found = _search(quantiser, stored, lambda rows: _unit_values(quantiser, rows))(queries, top)
    return recall_at(found, best_products(queries, items, top).ids) if asked else 0.0


def _search(quantiser: Quantiser, stored: Bytes, decode: Callable[[Bytes], Floats]) -> Search:
    def search(x_q: Floats, top: int) -> Integers:
        return best_products(x_q @ quantiser.directions.T, stored, top, lambda rows, first: decode(rows)).ids

    return search


def _scales(x: Floats, quantiser: Quantiser, indices: Bytes) -> Floats:
    """Return the least-squares scale of each reconstruction. (n,)."""
    values = quantiser.values(indices)
    scales: Floats = (x @ quantiser.directions.T * values).sum(axis=1) / np.maximum((values**2).sum(axis=1), 1e-12)
    return scales


def some_rows(x: Floats, most: int = SAMPLE) -> Floats:
    """Return at most ``most`` rows, drawn at random and always the same."""
    return x[np.random.default_rng(0).permutation(len(x))[:most]]


def blocks(x: Floats) -> Sequence[Floats]:
    """Return the rows in blocks, which bound the memory."""
    return [x[start : start + ITEMS_PER_BLOCK] for start in range(0, len(x), ITEMS_PER_BLOCK)]
