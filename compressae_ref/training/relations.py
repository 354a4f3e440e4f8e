"""Relations between rows of the data: pairs that the user has, as part of the batches and of the target of training.

``spec/distill.md`` states the equation and the rule (E34, R25).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import reject, short_repr
from compressae_ref.errors import DomainError
from compressae_ref.files.relevance import as_pairs
from compressae_ref.training.batches import GatheredBatches, Related, ShuffledBatches, batches
from compressae_ref.training.settings import RELEVANCE_WEIGHT, TrainConfig
from compressae_ref.unit_blocks import Rows


def with_relevance(config: TrainConfig, given: bool) -> TrainConfig:
    """Return the settings of a training with the relevance of some pairs of rows, or without.

    Raises
    ------
    DomainError
        If the objective cannot use the pairs, or if there is a weight without pairs.
    """
    if not given and config.relevance_weight is not None:
        raise DomainError(
            f"expected relevance with relevance_weight = {short_repr(config.relevance_weight)}, got none",
            argument="relevance_weight",
            hint="give the related pairs, or leave it out",
        )
    if given and config.objective != "distill":
        raise DomainError(
            f"expected objective='distill' with relevance, got objective={config.objective!r}",
            argument="relevance",
            hint="leave it out, or change the objective",
        )
    chosen = RELEVANCE_WEIGHT if config.relevance_weight is None else config.relevance_weight
    return replace(config, relevance_weight=chosen) if given else config


def related_pairs(pairs: Any, rows: Rows) -> NDArray[np.int64]:
    """Return the different pairs (m, 2) of related rows: the lower number first, in ascending order.

    Parameters
    ----------
    pairs : (p, 2), or (p, 3) with grades, of which all above 0 count alike; numbers of the rows that were opened. The
        order of a pair does not matter. Pairs of zero rows that are left out are ignored.

    Raises
    ------
    ShapeError, DTypeError, DomainError
        As `files.relevance.as_pairs`, for a row that is related to itself, and if no pair is left.
    """
    n = len(rows) + rows.skipped
    given = as_pairs(pairs, n, n, ("first row", "second row"))
    reject(given[:, 0] == given[:, 1], "expected two different rows, got one row twice", "relevance")
    new_number = np.full(n, -1)
    new_number[rows.numbers(0, len(rows))] = np.arange(len(rows))
    ends = np.sort(new_number[given[given[:, 2] > 0, :2]], axis=1)
    return _some(_different(ends[ends[:, 0] >= 0], n), "rows that are not zero")


def digest_of(pairs: NDArray[np.int64]) -> str:
    """Return the SHA-256 of pairs, by which a checkpoint knows them."""
    return hashlib.sha256(np.ascontiguousarray(pairs, "<i8").tobytes()).hexdigest()


class Relations:
    """For each of n rows the rows that are related to it, in ascending order.

    Parameters
    ----------
    pairs : (m, 2) row numbers, as `related_pairs` returns them
    held_out : ascending numbers of the rows whose pairs are not used

    Attributes
    ----------
    n_pairs : number of pairs that are used
    digest : digest of all pairs

    Raises
    ------
    DomainError
        If no pair is used.
    """

    def __init__(self, pairs: NDArray[np.int64], n: int, held_out: NDArray[np.int64]) -> None:
        used = pairs[~np.isin(pairs, held_out).any(axis=1)]
        self.n_pairs, self.digest = len(_some(used, "rows that are not held out for validation")), digest_of(pairs)
        directed = _different(np.concatenate([used, used[:, ::-1]]), n)
        self._others = directed[:, 1]
        self._starts = np.searchsorted(directed[:, 0], np.arange(n + 1))

    def batch(self, drawn: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Return the rows of the batch of a step, from 1: the drawn ones and a partner of each (R25). Ascending."""
        starts, counts = self._parts(drawn)
        chosen = starts[counts > 0] + (step - 1) % counts[counts > 0]
        return np.unique(np.concatenate([drawn, self._others[chosen]]))

    def within(self, rows: NDArray[np.int64]) -> Related:
        """Return which rows of a batch are related (E34). ``rows``: different row numbers, ascending."""
        starts, counts = self._parts(rows)
        of_row = np.repeat(np.arange(len(rows)), counts)
        number = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
        others = self._others[np.repeat(starts, counts) + number]
        place = np.minimum(np.searchsorted(rows, others), len(rows) - 1)
        here = rows[place] == others
        return Related(of_row[here], place[here])

    def _parts(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the related rows of some rows start, and how many there are."""
        starts = self._starts[rows]
        return starts, self._starts[rows + 1] - starts


class RelatedBatches(GatheredBatches):
    """Batches of drawn rows and a partner of each (R25).

    Parameters
    ----------
    rows : the rows to train on
    relations : which of them are related
    batch_size : the largest number of rows of a batch, rounded up to an even one
    step : number of batches that came before
    arguments, options : further arguments of `ShuffledBatches`
    """

    def __init__(
        self, rows: Rows, relations: Relations, batch_size: int, *arguments: Any, step: int = 0, **options: Any
    ) -> None:
        super().__init__(rows, -(-batch_size // 2), *arguments, **options)
        self._relations, self._step = relations, step

    def __next__(self) -> Any:
        self._step += 1
        numbers = self._relations.batch(self.next_numbers(), self._step)
        self.related = self._relations.within(numbers)
        return self._rows.gather(numbers)


def batches_of(
    rows: Rows,
    relations: Relations | None,
    config: TrainConfig,
    rng: np.random.Generator,
    *,
    step: int = 0,
    **options: Any,
) -> ShuffledBatches:
    """Return the batches of a training after ``step`` steps. ``options`` are arguments of `ShuffledBatches`."""
    options["buffer_rows"] = config.buffer_rows
    if relations is None:
        return batches(rows, config.batch_size, rng, **options)
    return RelatedBatches(rows, relations, config.batch_size, rng, step=step, **options)


def _different(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return pairs of numbers below n in ascending order, each once."""
    keys = np.unique(pairs[:, 0] * n + pairs[:, 1])
    return np.stack([keys // n, keys % n], axis=1)


def _some(pairs: NDArray[np.int64], kind: str) -> NDArray[np.int64]:
    if not len(pairs):
        raise DomainError(f"expected at least one related pair of {kind}, got none", argument="relevance")
    return pairs
