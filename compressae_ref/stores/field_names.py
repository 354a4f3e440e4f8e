"""Names of the fields of codes, which state the model and the settings of a push, and the options that repeat them."""

from __future__ import annotations

import re
from typing import NamedTuple

from compressae_ref.errors import StoreError
from compressae_ref.model import Encoder
from compressae_ref.stores.contract import Store

_NAME = re.compile(r"codes_([0-9a-f]{8})_k([1-9]\d*)(_reconstruction)?(_refined)?(_fitted)?")


class FieldName(NamedTuple):
    """What the name of a field states."""

    model: str
    """the first 8 characters of the digest of the model"""
    k: int
    scaled: bool
    """whether codes are divided by the norm of the reconstruction, for all spaces but sparse space"""
    refined: bool
    fitted: bool

    def __str__(self) -> str:
        ends = "_reconstruction" * self.scaled + "_refined" * self.refined + "_fitted" * self.fitted
        return f"codes_{self.model}_k{self.k}{ends}"

    def settings(self) -> str:
        """Return the settings in words."""
        words = [f"k {self.k}", "expanded" if self.scaled else "sparse"]
        return ", ".join(words + ["refined"] * self.refined + ["fitted"] * self.fitted)

    def options(self, fitted: str) -> str:
        """Return the options of a command. ``fitted``: the option that stands for fitted codes."""
        words = [f"--k {self.k}", *["--space expanded"] * self.scaled]
        return " ".join(words + ["--refine"] * self.refined + [fitted] * self.fitted)


PUSHED_FITTED, READ_FITTED = "--anchors FILE", "--fitted"
"""Options for fitted codes: of commands that make the codes of items, and of those that only read them."""


def parsed(field: str) -> FieldName | None:
    """Return what the name of a field states, or None if it has another form."""
    found = _NAME.fullmatch(field)
    if found is None:
        return None
    model, k, *flags = found.groups()
    return FieldName(model, int(k), *map(bool, flags))


def other_fields(store: Store, model: Encoder, field: str) -> list[FieldName]:
    """Return the other fields of codes of this model, by their names."""
    names = (parsed(name) for name in sorted(store.fields()) if name != field)
    return [name for name in names if name is not None and name.model == model.digest[:8]]


def require_field(store: Store, model: Encoder, field: str, *, fitted: str = READ_FITTED, missing: str = "") -> None:
    """Raise StoreError if a store does not have this field of codes, and name the fields that it has.

    ``missing``: what to do if the store has no codes of this model.
    """
    if store.has_field(field):
        return
    others = other_fields(store, model, field)
    listed = "; ".join(f"{name.options(fitted)} for {name}" for name in others)
    raise StoreError(
        f"expected a field {field!r} of codes, got a store without it",
        path=store.name,
        hint=f"it has other codes of this model: use {listed}" if others else _without(store, missing),
    )


def _without(store: Store, missing: str) -> str:
    """Return what to do if no field is known to have codes of the model."""
    names = sorted(store.fields())
    hint = missing or "push codes with these settings first"
    return f"{hint}; its sparse fields are {', '.join(map(repr, names))} (--field NAME)" if names else hint
