"""Addresses of stores, as on the command line: ``scheme:rest?name=value&...``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

from compressae_ref.errors import DomainError, StoreError
from compressae_ref.redaction import PORT, password_in, pasteable, without_password


class Address(NamedTuple):
    """A parsed address: ``scheme:rest?name=value&...``."""

    scheme: str
    rest: str
    """the part between the scheme and the options"""
    options: dict[str, str]

    def option(self, name: str, default: str | None = None) -> str | None:
        """Return an option, or the default if it is not given."""
        return self.options.get(name, default)

    def required(self, name: str, path: str) -> str:
        """Return an option, or raise a StoreError about ``path`` if it is not given."""
        value = self.options.get(name)
        if value is None:
            raise StoreError(f"expected a {name} in the address, got none", path=path, hint=f"add ?{name}=NAME")
        return value


ADAPTERS = {
    "edge": ("qdrant_edge", "edge:FOLDER"),
    "qdrant": ("qdrant_server", "qdrant://HOST:PORT/COLLECTION"),
    "postgresql": ("pgvector", "postgresql://HOST/DATABASE?table=TABLE"),
    "milvus": ("milvus", "milvus:FILE?collection=NAME or milvus://HOST:PORT?collection=NAME"),
}
"""Module and address form of each kind of store."""

OPTIONS = ("dense", "id", "table", "collection")
"""Options that this package reads; all others are passed to the engine."""


def parse_address(address: str) -> Address:
    """Split an address into scheme, rest and options."""
    scheme, colon, _ = address.partition(":")
    scheme = {"postgres": "postgresql"}.get(scheme, scheme)
    if not colon or scheme not in ADAPTERS:
        forms = ", ".join(form for _, form in ADAPTERS.values())
        got = repr(without_password(address))
        raise DomainError(f"expected an address of a store, got {got}", argument="store", hint=f"use {forms}")
    _require_encoded_password(address)
    body, _, query = address.partition("?")
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    return Address(scheme, body.partition(":")[2], options)


def _require_encoded_password(address: str) -> None:
    """Refuse a password that would be split at a special character: its parts would appear in messages."""
    text = address[password_in(address) or slice(0)]
    if not PORT.match(text) and re.search(r"[/?#@:\[\]\s]|%(?![0-9a-fA-F]{2})", text):
        raise DomainError(
            "expected a percent-encoded password in the address, got special characters",
            argument="store",
            hint="write @ as %40, / as %2F, : as %3A, ? as %3F and % as %25",
        )


def require_existing(path: str, store: str) -> None:
    """Raise StoreError unless a local database exists: clients would create an empty one."""
    if not path or not Path(path).exists():
        raise StoreError("expected the path of a database, got one that does not exist", path=store)


def is_address(text: str) -> bool:
    """Return whether a text begins like an address of a store, and is therefore not the name of a file."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and {"postgres": "postgresql"}.get(scheme, scheme) in ADAPTERS


SECRETS_BY = {
    "postgresql": "set PGPASSWORD, or write the password to ~/.pgpass",
    "qdrant": "set QDRANT_API_KEY",
    "milvus": "set MILVUS_TOKEN",
}
"""How the password of a store is given without an address."""


def to_type(word: str) -> tuple[str, str]:
    """Return a word of a command line without the passwords of an address, and how to give them, or ""."""
    if not is_address(word) or pasteable(word) == word:
        return word, ""
    return pasteable(word), SECRETS_BY.get(parse_address(word).scheme, "give its password in the address")
