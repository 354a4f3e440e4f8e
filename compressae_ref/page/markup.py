"""HTML that is escaped by construction: only a `Markup` is taken as it is, and only `tag` and `join` make one."""

from __future__ import annotations

import re
from html import escape

from compressae_ref.page.text import clean, safe

UNCLOSED = {"li", "tr", "th", "td", "input", "meta", "option"}
"""Elements whose end tag HTML does not need, or forbids: the next tag ends them."""

QUOTE = '"'
VOID_IN_SVG = {"path", "use"}
PLAIN = re.compile(r"[\w#.-]+", re.ASCII)
"""Values of attributes that need no quotes."""

FROM_THE_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")
"""Letters and digits that change the direction of what is around them. Text without them needs no isolation."""

LONGEST = 1000
"""Characters of any text that is not Markup; callers cut shorter."""


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


def escaped(part: object) -> str:
    """Return a part as HTML: a Markup unchanged, anything else without controls, and escaped."""
    return part if isinstance(part, Markup) else escape(clean(str(part)[:LONGEST]), quote=False)


def join(*parts: object) -> Markup:
    """Return the parts as HTML, one after the other. None is left out."""
    return Markup("".join([escaped(part) for part in parts if part is not None]))


def tag(name: str, /, *parts: object, **attributes: object) -> Markup:
    """Return an element. Attributes are given by name, with "_" for "-" and a final "_" left out: ``class_="note"``.

    An attribute with the value True has no value in HTML, and one with None or False is left out.
    """
    written = "".join([_attribute(key, value) for key, value in attributes.items()]) if attributes else ""
    if name in VOID_IN_SVG:
        return Markup(f"<{name}{written}{'' if written.endswith(QUOTE) else ' '}/>")
    return Markup(f"<{name}{written}>{join(*parts)}{'' if name in UNCLOSED else f'</{name}>'}")


def foreign(text: object, limit: int) -> Markup:
    """Return a text that comes from the data, isolated, so that its direction does not reorder what is around it."""
    line = safe(text, limit)
    if not line:
        return tag("i", "empty")
    return tag("bdi", line) if FROM_THE_RIGHT.search(line) else Markup(escaped(line))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = value if isinstance(value, Markup) else escape(clean(str(value)[:LONGEST]), quote=True)
    return f" {key}={text}" if PLAIN.fullmatch(text) else f' {key}="{text}"'
