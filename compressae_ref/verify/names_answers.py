"""Answer the operations of names of segments (`spec/segment-names.md`) with this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressae_ref.backends import Backend
from compressae_ref.segments.membership import Members
from compressae_ref.segments.names import name_segments
from compressae_ref.segments.words import words_of
from compressae_ref.verify.vectors import Values


def _words_of(backend: Backend, text: str) -> Values:
    return {"words": words_of(text)}


def _name_segments(
    backend: Backend, texts: list[str | None], keys: Any, segments: Any, method: Any, most_words: int
) -> Values:
    members = Members(keys, segments, (segments >= 0).astype(np.float32))
    named = name_segments(texts, members, method=method, most_words=most_words)
    terms = [term for own in named.terms for term in own]
    return {
        "names": named.names,
        "lengths": np.array([len(own) for own in named.terms], np.int64),
        "terms": [term.term for term in terms],
        "scores": np.array([term.score for term in terms], np.float64),
        "items": np.array([term.items for term in terms], np.int64),
        **{name: _one_nan(getattr(named, name)) for name in ("recall", "precision", "f1")},
        "wordless": named.wordless,
    }


def _one_nan(rates: Any) -> Any:
    """Return rates with one NaN: the bits of 0 / 0 differ between machines."""
    return np.where(np.isnan(rates), np.nan, rates)


ANSWERS: dict[str, Callable[..., Values]] = {"words_of": _words_of, "name_segments": _name_segments}
"""The function for each operation; it takes the backend and the inputs as arguments."""
