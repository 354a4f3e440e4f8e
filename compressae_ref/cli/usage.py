"""Wrong usage: one line that says what came, what was expected, and which name is near.

argparse itself prints the whole usage first, and its messages differ between versions of Python.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from compressae_ref.cli.terminal import shown

TYPES: dict[Any, str] = {int: "an integer", float: "a number"}
"""What the values of options are called, by their ``type``."""

_PLACE = "; write files before the options"
_NUMBER = re.compile(r"-(?:\d+|\d*\.\d+)")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with control characters as escapes. It does not ignore a full disk."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, exit_on_error=False)

    def format_help(self) -> str:
        """Return the help. Its first line is short: argparse would list all options there, and again below."""
        self.usage = f"%(prog)s {self._usage()} {'...' if self._subparsers is not None else '[options]'}"
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print an error in one line and exit with code 2."""
        text = " ".join(self._named_missing(message).split())
        self.exit(2, f"{shown(f'{self.prog}: error: {text}; for help, run: {self.prog} --help')}\n")

    def error_of_rest(self, rest: Sequence[str]) -> NoReturn:
        """Report arguments that are left over when all those of the command have a value."""
        place = _PLACE if any(map(_is_optional, self._actions)) else ""
        self.error(f"expected {self._usage()}, got also {rest[0]!r}{place}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments. An unknown option is reported first: another argument may seem to be missing due to it."""
        args = sys.argv[1:] if args is None else list(args)
        self._require_known_options(args)
        try:
            return super().parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            self.error(self._in_own_words(error))

    def _require_known_options(self, arguments: Iterable[str]) -> None:
        for argument in arguments:
            if argument == "--" or (self._subparsers is not None and not argument.startswith("-")):
                return  # what follows a command is for its own parser
            name = argument.partition("=")[0]
            if name[:1] != "-" or name == "-" or " " in argument or _NUMBER.fullmatch(argument) or self._knows(name):
                continue
            expected = f"an option of {self.prog.split()[-1]}" if self._subparsers is None else "a command first"
            self.error(f"expected {expected}, got {name}{near(name, self._option_string_actions)}")

    def _knows(self, name: str) -> bool:
        if name.startswith("--"):
            return any(option.startswith(name) for option in self._option_string_actions)
        long = len(name) > 2 and any(option.startswith(f"-{name}") for option in self._option_string_actions)
        return name[:2] in self._option_string_actions and not long  # "-output" is not "-o utput"

    def _in_own_words(self, error: argparse.ArgumentError) -> str:
        name, message = error.argument_name, error.message
        if name is None:
            return message
        if (other := message.removeprefix("not allowed with argument ")) != message:
            return f"expected no {name} with {other}, got both"
        value = message.removeprefix("ignored explicit argument ")
        return f"{name}: {message if value == message else f'expected no value, got {value}'}"

    def _named_missing(self, message: str) -> str:
        """Return what argparse says of required arguments with all that is expected; other messages as they are."""
        if (rest := message.removeprefix("the following arguments are required: ")) == message:
            return message
        if self._subparsers is not None:
            return "expected a command, got none; to start, run: compressae-ref demo"
        missing = [action for action in self._actions if argparse._get_action_name(action) in rest.split(", ")]
        return f"expected {self._usage()}, got {' and '.join(f'no {_form(action)}' for action in missing)}"

    def _usage(self) -> str:
        return " ".join(_form(action) for action in self._actions if action.required or not action.option_strings)

    def _get_option_tuples(self, option_string: str) -> Any:
        found = super()._get_option_tuples(option_string)
        if len(found) > 1:
            names = ", ".join(dict.fromkeys(option for _, option, *_ in found))
            self.error(f"expected the name of one option, got {option_string}, which may be {names}")
        return found

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            place = _PLACE if action.nargs == "+" else ""
            self.error(f"{_name(action)}: expected {TYPES[action.type]}, got {_quoted(arg_string)}{place}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices, name = [*map(str, action.choices)], _name(action)
        question = "" if action.type is int else near(str(value), choices)  # no number is a mistyped other one
        got = f"{_quoted(value)}{question}"
        if not action.option_strings:  # the command
            known = "" if question else f" ({', '.join(choices)})"
            self.error(f"expected a command{known}, got {got}")
        self.error(f"{name}: expected {' or '.join(filter(None, (', '.join(choices[:-1]), choices[-1])))}, got {got}")

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError:
            value = TYPES.get(action.type, "a value")
            self.error(f"{_name(action)}: expected {value}, got none")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a text. argparse would ignore an error, such as a full disk."""
        (file or sys.stderr).write(message)


def near(name: str, names: Iterable[str]) -> str:
    """Return the question for the known name that is nearest to an unknown one, or "" if none is near."""
    plain = {_plain(each): each for each in names}
    wanted = _plain(name)
    parts = [each for each in plain if len(wanted) > 2 and (each.startswith(wanted) or f"-{wanted}" in each)]
    closest = [each for each in (wanted,) if each in plain] or difflib.get_close_matches(wanted, plain, 1) or parts
    return f" (did you mean {plain[closest[0]]}?)" if closest else ""


def _plain(name: str) -> str:
    return name.lstrip("-").lower().replace("_", "-")


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def _is_optional(action: argparse.Action) -> bool:
    return not action.option_strings and action.nargs == "?"


def _form(action: argparse.Action) -> str:
    if _is_optional(action):
        return f"[{action.metavar}]"
    return " ".join([*action.option_strings[:1], str(action.metavar)])


def _quoted(value: Any) -> str:
    return repr(value) if value != "" else "an empty value"
