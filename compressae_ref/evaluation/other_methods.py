"""What other ways to store dense vectors reach on a sample, as options of a choice (`choose`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compressae_ref.evaluation.baselines import baselines
from compressae_ref.evaluation.choose import ENGINES, Option
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.measured_options import judged
from compressae_ref.evaluation.sample import PARTS, Sample
from compressae_ref.retrieval.brute_force import unit_or_zero


def other_methods(sample: Sample, sizes: Sequence[int], quantised: Sequence[int]) -> Iterator[Option]:
    """Yield what other ways to store dense vectors reach on the sample (`baselines.baselines`)."""
    x_unit, x_q = unit_or_zero(sample.items), unit_or_zero(sample.queries)
    top = sample.most
    yield judged(sample, "", Row("dense", None, None, 4 * x_unit.shape[1], 1.0, {}), sample.dense)
    for one in baselines(x_unit, sizes, quantised):
        row = Row(one.method, None, None, one.bytes_per_item, 1.0, {})
        deeper = one.search(x_q, min(len(x_unit), (PARTS + 1) * top))
        yield judged(sample, "", row, lambda top, allowed, ids=deeper: among(ids, top, allowed))  # type: ignore[misc]


def half_in_engines(others: Sequence[Option], d: int) -> Iterator[Option]:
    """Yield float16, as it was measured, as an option of each engine that has a type for it."""
    float16 = next(option for option in others if option.row.method == "float16")
    for engine in ENGINES:
        if engine.half is not None:
            size = engine.half_bytes(d)
            row = replace(float16.row, method=engine.half_type(d), bytes_per_item=size, compression=4 * d / size)
            yield float16._replace(serving=engine.name, row=row)


def among(ids: NDArray[np.int64], top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the first ``top`` of the results of each query that are allowed; −1 where a query has too few."""
    if allowed is None:
        return ids[:, :top]
    inside = np.isin(ids, allowed)
    order = np.argsort(~inside, axis=1, kind="stable")[:, :top]
    return np.where(np.take_along_axis(inside, order, axis=1), np.take_along_axis(ids, order, axis=1), -1)
