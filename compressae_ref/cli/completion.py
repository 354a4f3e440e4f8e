"""The option ``--print-completion``: print a script with which a shell completes commands, options and file names.

The script is made by shtab, from the parser. It is static, so that no key press starts Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from compressae_ref.cli.given import INPUTS, OUTPUTS

SHELLS = ("bash", "zsh", "tcsh")


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add ``--print-completion``."""
    text = (
        "print a completion script and exit; for bash: compressae-ref --print-completion bash > "
        "~/.local/share/bash-completion/completions/compressae-ref (needs the package shtab)"
    )
    parser.add_argument("--print-completion", action=_Print, choices=SHELLS, help=text)


class _Print(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, option: str | None = None) -> None:
        """Print the script for a shell."""
        from compressae_ref.cli.terminal import say
        from compressae_ref.optional import require_package

        shtab = require_package("shtab", "completion", "--print-completion")
        for action in _actions(parser):
            if action.dest in (*INPUTS, *OUTPUTS) and not action.choices:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        say(shtab.complete(parser, shell))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the actions of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
