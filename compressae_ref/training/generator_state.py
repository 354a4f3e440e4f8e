"""The state of NumPy's random generators as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, FormatError

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
"""The bit generators of NumPy. Their states consist of integers and arrays of integers."""

_LARGEST_POSITION = {"MT19937": 624, "Philox": 4}
"""NumPy reads its tables at the position in the state without a check."""


def generator_state(rng: Any) -> dict[str, Any]:
    """Return the state of a generator as JSON objects, lists and integers.

    Raises
    ------
    DomainError
        If the generator is not a `numpy.random.Generator` with one of `BIT_GENERATORS`.
    """
    kind = type(getattr(rng, "bit_generator", rng))
    if not isinstance(rng, np.random.Generator) or kind not in _known().values():
        raise DomainError(
            f"expected a numpy.random.Generator with {', '.join(BIT_GENERATORS[:-1])} or {BIT_GENERATORS[-1]}, whose "
            f"state a checkpoint can store, got {kind.__name__}",
            argument="rng",
        )
    state: dict[str, Any] = _as_json(rng.bit_generator.state)
    return state


def restored_generator(state: dict[str, Any]) -> np.random.Generator:
    """Return a new generator in a state that `generator_state` returned. FormatError for any other value."""
    kind = state["bit_generator"]
    if kind not in BIT_GENERATORS:
        raise FormatError(f"expected a generator of {', '.join(BIT_GENERATORS)}, got {short_repr(kind)}")
    position = state["state"].get("pos", 0) if kind == "MT19937" else state.get("buffer_pos", 0)
    if type(position) is not int or not 0 <= position <= _LARGEST_POSITION.get(kind, 0):
        raise FormatError(f"expected a position in the state of the generator, got {short_repr(position)}")
    rng = np.random.Generator(_known()[kind](0))
    rng.bit_generator.state = _as_arrays(state, np.dtype(np.uint32 if kind == "MT19937" else np.uint64))
    if json.dumps(generator_state(rng), sort_keys=True) != json.dumps(state, sort_keys=True):  # true is not 1
        raise FormatError(f"expected the state of a {kind} generator, got {short_repr(state)}")
    return rng


def set_generator_state(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Bring a generator into a state of `generator_state`; both must have the same bit generator."""
    rng.bit_generator.state = restored_generator(state).bit_generator.state


def _known() -> dict[str, Any]:
    return {name: getattr(np.random, name) for name in BIT_GENERATORS}


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return int(value) if isinstance(value, np.integer) else value


def _as_arrays(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, dict):
        return {name: _as_arrays(part, dtype) for name, part in value.items()}
    return np.array(value, dtype) if isinstance(value, list) else value
