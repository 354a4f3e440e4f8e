"""Hide passwords in addresses of databases, and in every message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

SECRETS = re.compile(r"pass|secret|token|api_?key|sslkey", re.IGNORECASE)
"""Part of the names of parameters whose values are hidden: password, sslpassword, passfile, token and others."""

HIDDEN = "***"

_PAIR = re.compile(r"([^\s=&?;]+)(\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)", re.DOTALL)
"""A parameter of libpq's keyword form, such as ``password = 'it\\'s'``."""


def without_password(address: str) -> str:
    """Return an address with its passwords hidden, for messages.

    It hides what stands between the user and the host of a URI, and the values of parameters with names as in
    `SECRETS`, in the query of a URI or in libpq's keyword form.
    """
    if re.match(r"\s*\w+\s*=", address):
        return _PAIR.sub(lambda pair: pair[1] + pair[2] + (HIDDEN if _is_secret(pair[1]) else pair[3]), address)
    body, mark, query = _without_userinfo(address).partition("?")
    return unquote(body) + mark + "&".join(map(_without_secret, query.split("&")))


def pasteable(address: str) -> str:
    """Return the address of a store without its passwords, so that it can be typed again. Other parts do not change."""
    place = password_in(address)
    if place is not None and not PORT.match(address[place]):
        address = address[: place.start - 1] + address[place.stop :]
    body, mark, query = address.partition("?")
    pairs = [pair for pair in query.split("&") if not _is_secret(pair.partition("=")[0])]
    return body + mark + "&".join(pairs) if any(pairs) else body


PORT = re.compile(r"\d+([/?]|$)")
"""Beginning of a port and what follows it; `password_in` takes it for a password if an "@" comes later."""


def password_in(address: str) -> slice | None:
    """Return the place of the password in a URI: up to the last "@", whatever characters are not encoded."""
    start = address.find("//")
    colon, at = address.find(":", start + 2), address.rfind("@")
    return slice(colon + 1, at) if 0 <= start < colon and colon + 1 < at else None


def _without_secret(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{unquote(name)}{equals}{HIDDEN if _is_secret(name) else unquote(value)}"


_URI = re.compile(r"\w[\w+.-]*://[^\s'\"]*")

_ASSIGNED = re.compile(r"([^\s=&?;,'\"]+)(\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&'\"]*)")
"""A parameter in a text: in the query of a URI, or in libpq's keyword form."""

SHORTEST = 4
"""Shorter passwords are hidden in addresses only: they occur in words, too."""


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with ``secrets`` hidden, and the passwords of all addresses and parameters in it."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _URI.sub(lambda uri: _without_userinfo(uri[0]), text)
    return _ASSIGNED.sub(lambda pair: pair[1] + pair[2] + HIDDEN if _is_secret(pair[1]) else pair[0], text)


def secrets_in(address: str) -> list[str]:
    """Return the passwords of an address as they stand there and decoded, the longest first."""
    found = [address[place]] if (place := password_in(address)) else []
    parameters = [*_PAIR.finditer(address), *re.finditer(r"([^?&=]+)(=)([^&]*)", address.partition("?")[2])]
    found += [pair[3] for pair in parameters if _is_secret(pair[1])]
    found += [re.sub(r"\\(.)", r"\1", secret.strip("'")) for secret in found]
    found += [decode(secret) for secret in found for decode in (unquote, unquote_plus)]
    return sorted({secret for secret in found if len(secret) >= SHORTEST}, key=len, reverse=True)


def _without_userinfo(uri: str) -> str:
    place = password_in(uri)
    return uri if place is None else uri[: place.start] + HIDDEN + uri[place.stop :]


def _is_secret(name: str) -> bool:
    return SECRETS.search(unquote_plus(name)) is not None
