"""Print results to standard output and messages to standard error."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from compressae_ref.layout import fitted, width_of
from compressae_ref.redaction import scrubbed, secrets_in

CONTROLS = "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
"""Characters that a terminal may obey, that reorder text, or that stand for bytes of a name that are not UTF-8."""


def printable(text: object) -> str:
    """Return a text with its control characters as escape sequences of Python: names and errors come from anywhere."""
    return re.sub(CONTROLS, lambda match: match[0].encode("unicode_escape").decode(), str(text))


_SECRETS: list[str] = []
"""Passwords on the command line."""


def hide_secrets_of(arguments: Iterable[str]) -> None:
    """Hide the passwords of these arguments in all messages."""
    _SECRETS[:] = [secret for argument in arguments for secret in secrets_in(str(argument))]


def without_secrets(text: object) -> str:
    """Return a text without passwords. This comes first: a password that was cut or changed is not found."""
    return scrubbed(str(text), _SECRETS)


def shown(text: object) -> str:
    """Return a message as it leaves the program: without passwords, with control characters as escapes."""
    return printable(without_secrets(text))


_QUIET = False
"""Whether messages and progress are left out."""


def be_quiet(quiet: bool) -> None:
    """Leave out messages and progress from now on, or no longer. Errors, warnings and results remain."""
    global _QUIET
    _QUIET = quiet


def watched() -> bool:
    """Return whether somebody may look at progress: standard error is a terminal, and ``--quiet`` was not given."""
    return not _QUIET and sys.stderr.isatty()


def say(text: str) -> None:
    """Print lines of the result to standard output; on a terminal they fit its width (`layout.fitted`).

    OSError, which names standard output, if it cannot be written.
    """
    text = "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    with naming_standard_output():
        print(fitted(text, width_of(sys.stdout)), flush=True)


def flush_results() -> None:
    """Write what is left of the result to standard output. OSError, which names it, if it cannot be written."""
    with naming_standard_output():
        sys.stdout.flush()


@contextmanager
def naming_standard_output() -> Iterator[None]:
    """Name standard output in its system errors. A pipe that its reader has closed is none of them."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def hits_text(ids: Iterable[Any], scores: Iterable[float]) -> str:
    """Format the hits of a query as items with their scores."""
    return " ".join(f"{printable(item)}:{score:.6f}" for item, score in zip(ids, scores, strict=True))


def tell(line: str) -> None:
    """Print a message to standard error unless ``--quiet`` was given; on a terminal it fits its width."""
    if not _QUIET:
        print(fitted(shown(line), width_of(sys.stderr)), file=sys.stderr)


def tell_error(message: object) -> None:
    """Print an error or a warning to standard error, in one line on terminals too: people search and copy it."""
    with suppress(OSError):  # there is no other place to report it
        print(shown(f"compressae-ref: {' '.join(without_secrets(message).split())}"), file=sys.stderr)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings of Python without the place in the source."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: tell_error(message)
        yield


def tell_of_mean(name: str, mean_cosine: float | None) -> None:
    """Print what to do about embeddings whose mean dominates, if it does."""
    from compressae_ref.center import DOMINANT

    if mean_cosine is not None and mean_cosine > DOMINANT:
        tell(f"{name}: the mean cosine of pairs is {mean_cosine:.2f}, so one direction dominates: train with --center")


def tell_of_compiling() -> None:
    """On a terminal, print once that kernels are being compiled, which may take many seconds."""
    if not watched():
        return
    import logging

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                tell_error(record.getMessage())
                return
            log.removeHandler(self)
            tell("compiling the kernels (only once on this machine) ...")

    log = logging.getLogger("compressae_ref.kernels")
    log.setLevel(logging.INFO)
    log.addHandler(Once())
