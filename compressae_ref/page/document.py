"""An HTML document that needs nothing else: no network, no fonts, no images."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TypeVar

from compressae_ref.files.atomic_write import PathLike, replacing
from compressae_ref.page.markup import Markup, join, tag

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"
"""What the browser may load: nothing. Our style and our scripts are allowed by their digests."""

Limits = TypeVar("Limits")


def document(title: str, *body: object, style: str = "", script: str = "") -> str:
    """Return a document with the style and the script of all pages.

    Parameters
    ----------
    title : as `text.safe` returns it
    body : the parts of the body
    style, script : what this page has besides; the script runs before that of all pages
    """
    style = Markup(_resource("page.css") + style)
    scripts = [Markup(text) for text in (script, _resource("page.js")) if text]
    policy = f"{POLICY}; style-src {_digest(style)}; script-src {' '.join(map(_digest, scripts))}"
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    whole = tag("html", tag("head", head), tag("body", *body, *(tag("script", text) for text in scripts)), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def fitting(make: Callable[[Limits], str], limits: Sequence[Limits], room: float) -> str:
    """Return the first document of at most ``room`` bytes, or the last one. Sizes fall with the limits."""
    made = make(limits[0])
    found, first, last = None, 1, len(limits) - 1
    if len(made.encode()) <= room:
        return made
    while first < last:
        middle = (first + last) // 2
        made = make(limits[middle])
        if len(made.encode()) <= room:
            found, last = made, middle
        else:
            first = middle + 1
    return found or make(limits[-1])


def write_document(path: PathLike, made: str) -> None:
    """Write a document to a file: all of it, or nothing."""
    with replacing(path) as file:
        file.write(made.encode())


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
