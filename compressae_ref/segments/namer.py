"""Let the user's own program, such as a language model, name segments. If it fails, computed names stay."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from compressae_ref.checks import as_real
from compressae_ref.errors import DTypeError, reason
from compressae_ref.segments.composing import key_name, made_distinct
from compressae_ref.segments.words import JOINERS, printable

MOST_CHARACTERS = 80
TIMEOUT = 30.0
"""Seconds."""

PROMPT = """\
The texts of a collection were grouped by topic. Name the group of the texts below.

Frequent in the group and rare elsewhere, most telling first: {terms}
The group's computed name: {name}

Typical texts of the group:
{strongest}

Texts at the edge of the group:
{borderline}

Texts of other groups, which the name must not fit:
{inactive}

Answer with the name alone: two to five words for what the typical texts have in common and the others lack. \
Be specific. Write in the language of the texts, without quotes or explanation.
"""
"""A prompt for language models: a format string with the fields of `Evidence`, which `Evidence.prompt` fills in."""


@dataclass(frozen=True)
class Evidence:
    """What a namer is told about a segment."""

    latent: int
    sign: int
    """1 or −1"""
    name: str
    """the computed name"""
    terms: tuple[str, ...]
    """the terms that tell the segment from the others, the best first"""
    strongest: tuple[str, ...]
    """at most ten texts: the members with the largest strength"""
    borderline: tuple[str, ...]
    """at most ten texts: the members with the smallest strength"""
    inactive: tuple[str, ...]
    """at most ten texts of items whose codes do not have the latent"""

    def prompt(self, template: str = PROMPT) -> str:
        """Return a template with the fields filled in: terms in one line, texts in a list."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        lists = {
            name: "\n".join(f"- {text}" for text in value) for name, value in values.items() if isinstance(value, tuple)
        }
        return template.format(**values | lists | {"terms": ", ".join(self.terms)})


Namer = Callable[[Evidence], str]


def named_by(namer: Namer, evidence: Sequence[Evidence], timeout: float = TIMEOUT) -> list[str | None]:
    """Return the names that a program gives to segments, None where the computed name has to stay.

    The computed name stays if the namer raises an error, does not answer in time, or answers with something that is not
    a name of 1 to `MOST_CHARACTERS` printable characters, once white space and quotes around it are removed. After
    the first answer that is late, the namer is not called again. All faults together cause one warning. A name that
    another segment has, too, gets the key of its segment.

    Parameters
    ----------
    namer : is called with the `Evidence` of one segment at a time, in a thread of its own
    evidence : one for each segment, with distinct keys
    timeout : seconds for each answer

    Raises
    ------
    DTypeError
        If the namer cannot be called.
    DomainError
        If the timeout is not a number above 0.
    """
    if not callable(namer):
        raise DTypeError(f"expected a function of Evidence, got {type(namer).__name__}", argument="namer")
    timeout = as_real(timeout, "timeout", math.inf)
    answers, errors = list[str | None](), list[_NamerError]()
    for one in evidence:
        answers.append(None)
        try:
            if not any(error.late for error in errors):
                answers[-1] = _as_name(_asked(namer, one, timeout))
        except _NamerError as error:
            errors.append(error)
    if errors:
        kept = f"{answers.count(None):,} of {len(answers):,} segments keep their computed names"
        warnings.warn(f"namer: {kept}: {errors[0]}", stacklevel=2)
    names = [one.name if answer is None else answer for answer, one in zip(answers, evidence, strict=True)]
    distinct = made_distinct(names, [key_name(one.latent, one.sign) for one in evidence])
    return [None if answer is None else name for answer, name in zip(answers, distinct, strict=True)]


class _NamerError(Exception):
    """What is wrong with an answer, or that it is late."""

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


def _asked(namer: Namer, evidence: Evidence, timeout: float) -> object:
    """Return the namer's answer. _NamerError."""
    answers: list[object] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(namer(evidence))
        except BaseException as error:  # an error in a thread ends there, so it is raised again below
            errors.append(error)

    thread = threading.Thread(target=ask, name="namer", daemon=True)
    thread.start()
    thread.join(min(timeout, threading.TIMEOUT_MAX))
    for error in errors:
        if not isinstance(error, Exception):
            raise error
        raise _NamerError(f"it raised {type(error).__name__}: {printable(reason(error))}")
    if not answers:
        raise _NamerError(f"no answer within {timeout:g} seconds, so it was not called again", late=True)
    return answers[0]


def _as_name(answer: object) -> str:
    """Return an answer as a name. _NamerError."""
    if not isinstance(answer, str):
        raise _NamerError(f"expected a string, got {type(answer).__name__}")
    name = answer.strip().strip("\"'“”„«»`").strip()
    if not name:
        raise _NamerError("expected a name, got an empty string")
    if len(name) > MOST_CHARACTERS:
        raise _NamerError(f"expected at most {MOST_CHARACTERS} characters, got {len(name):,}")
    if not all(c.isprintable() or c in JOINERS for c in name):
        raise _NamerError("expected one line of printable characters, got control characters")
    return name
