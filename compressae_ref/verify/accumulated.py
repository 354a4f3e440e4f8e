"""Accumulated tests: any number of cases from SHAKE-128, in groups of 100 rows, and one digest of all answers.

The bytes of group g are SHAKE-128 of the string ``"abs_topk g"`` or ``"encode g"``. All sums over them are exact in
float32, in any order. `spec/vectors/README.md` describes the format in prose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.verify.vectors import Values

ROWS = 100
"""Number of cases in a group."""

CASES = (100, 10_000, 1_000_000)
"""Numbers of cases for which a digest is known."""


def abs_topk_group(group: int) -> Values:
    """Return pre-activations and k of a group.

    About one group in four has any finite magnitudes. The others have few distinct magnitudes, with +0 and −0.
    """
    (h, k, kind), data = _drawn(
        "abs_topk", group, lambda a, b, c: (1 + a % 64, 1 + b % (1 + a % 64), c % 4), ROWS * 64 * 4
    )
    if kind == 3:
        bits = data[: ROWS * h * 4].view("<u4") & np.uint32(0xBFFFFFFF)
        return {"pre": bits.view(np.float32).reshape(ROWS, h), "k": k}
    sign_and_magnitude = data[: ROWS * h]
    magnitude = ((sign_and_magnitude & 127) >> (2 * kind)).astype(np.float32) / 16
    pre = np.where(sign_and_magnitude & 128, -magnitude, magnitude)
    return {"pre": pre.reshape(ROWS, h), "k": k}


def encode_group(group: int) -> Values:
    """Return rows of ±1 whose norm is a power of two, weights that are multiples of 1/64, and k."""
    (d, h, k), data = _drawn(
        "encode", group, lambda a, b, c: (4 ** (1 + a % 3), 1 + b % 64, 1 + c % (1 + b % 64)), 64 * 165
    )
    weights = ((data % 16).astype(np.float32) - 8) / 64
    x = np.where(data[: ROWS * d] & 1, np.float32(1), np.float32(-1)).reshape(ROWS, d)
    W_enc = weights[ROWS * d : (ROWS + h) * d].reshape(d, h)
    return {"x": x, "W_enc": W_enc, "b_enc": weights[(ROWS + h) * d :][:h], "k": k, "zero_rows": "error"}


GROUPS = {"abs_topk": abs_topk_group, "encode": encode_group}
"""The function that makes the inputs of a group, by operation."""


def _drawn(operation: str, group: int, sizes: Any, n_bytes: int) -> tuple[Any, NDArray[np.uint8]]:
    """Return ``sizes`` of the first three bytes, and the ``n_bytes`` bytes after them."""
    stream = np.frombuffer(hashlib.shake_128(f"{operation} {group}".encode()).digest(3 + n_bytes), np.uint8)
    return sizes(*stream[:3].tolist()), stream[3:]


def digest(answers: Iterable[Values]) -> str:
    """Return the SHA-256 of the indices (int32) and then the values (float32) of each group, as lower-case hex."""
    sha = hashlib.sha256()
    for codes in answers:
        add(sha, codes)
    return sha.hexdigest()


def add(sha: Any, codes: Values) -> None:
    """Add the answer to one group to a digest."""
    sha.update(codes["indices"].astype("<i4").tobytes())
    sha.update(codes["values"].astype("<f4").tobytes())


def groups(operation: str, cases: int) -> Iterator[Values]:
    """Yield the inputs of the first ``cases`` cases, group by group."""
    return (GROUPS[operation](group) for group in range(cases // ROWS))
