"""The break-it lab: a fault is planted in a copy of the reference file. You see symptoms, and find the line.

    python examples/learn/break_it.py --list         the faults, by number
    python examples/learn/break_it.py 3              plant fault 3 in broken/reference.py, and show what goes wrong
    python examples/learn/break_it.py 3 --line N     answer: is it line N?
    python examples/learn/break_it.py 3 --vectors    also show test vectors that fail
    python examples/learn/break_it.py 3 --hint       name the function; --hint 2 names the equation as well
    python examples/learn/break_it.py 3 --give-up    tell
    python examples/learn/break_it.py --check        after you repaired broken/reference.py: do all test vectors pass?

It runs in a clone of the repository. Nothing outside the folder broken/ is written. A diff of the two files tells the
line at once, and teaches nothing: read the docstrings, which are right, and the lines below them.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from lab.faults import CASES, Case, functions, sound

HIDDEN = ":[^:]*\\([ER]\\d+'*\\)$"
"""What ``verify`` adds to a wrong code: the rule that it breaks, which would tell too much."""


def main() -> None:
    options = arguments()
    if options.check:
        check(options.output / "reference.py")
        return
    if options.list or options.number is None:
        show_list()
        return
    case = CASES[options.number - 1]
    if options.line is not None:
        judge(case, options.line, options.number)
    elif options.hint:
        equation = f", {case.equation}" if options.hint == 2 else ""
        print(f"Look at the function {case.function}{equation}.")
    elif options.give_up:
        tell(case)
    else:
        plant(case, options.output / "reference.py")
        show_symptoms(case, options.number, options.output, options.vectors)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", help=f"a fault, from 1 to {len(CASES)}")
    parser.add_argument("--list", action="store_true", help="list the faults")
    parser.add_argument("--line", metavar="N", help="your answer: a line of reference.py")
    parser.add_argument("--vectors", action="store_true", help="show test vectors that fail, whatever the curves show")
    parser.add_argument("--hint", nargs="?", const="1", metavar="1|2", help="1: the function; 2: its equation as well")
    parser.add_argument("--give-up", action="store_true", help="tell what is changed, and why it shows as it does")
    parser.add_argument("--check", action="store_true", help="run the test vectors on the copy as it is now")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("broken"), help="folder of the copy (default: broken)"
    )
    options = parser.parse_args()
    most = {
        "number": (len(CASES), "a fault"),
        "line": (sound().count("\n"), "a line of reference.py"),
        "hint": (2, "a hint"),
    }
    for name, (last, what) in most.items():
        value = getattr(options, name)
        if value is not None and not (value.isdecimal() and 1 <= int(value) <= last):
            stop(f"expected {what} from 1 to {last}, got {value!r}")
        setattr(options, name, None if value is None else int(value))
    if options.number is None and (options.line or options.hint or options.give_up or options.vectors):
        stop(f"expected the number of a fault from 1 to {len(CASES)} as well; --list shows them")
    return options


def stop(message: str) -> None:
    """End with one line."""
    print(f"break_it.py: {message}", file=sys.stderr)
    sys.exit(2)


def show_list() -> None:
    print("fault  difficulty, 1 to 3   shows in")
    for number, case in enumerate(CASES, start=1):
        print(
            f"{number:>5}  {'*' * case.level:<19}  {'curves or the gradient check' if case.seen else 'test vectors only'}"
        )


def plant(case: Case, path: Path) -> None:
    """Write the reference file with the fault; a copy that somebody has changed stays."""
    if path.exists() and path.read_text("utf-8") not in {sound(), *(each.planted() for each in CASES)}:
        stop(
            f"{path}: expected a copy that this program wrote, got a file with your changes; move it, or pass -o FOLDER"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(case.planted(), encoding="utf-8", newline="\n")
    except OSError as error:
        stop(f"{path}: cannot be written ({error.strerror})")


def measuring() -> ModuleType:
    """Return the module that measures. It is imported late, because answers and hints need nothing but Python."""
    try:
        from lab import symptoms
    except ImportError as error:
        stop(f'expected the package {error.name}, which is not installed; in the clone, run: pip install ".[plot]"')
    return symptoms


def show_symptoms(case: Case, number: int, folder: Path, vectors: bool) -> None:
    symptoms = measuring()
    ours, theirs = symptoms.measure(sound()), symptoms.measure(case.planted())
    seen = symptoms.visible(ours, theirs)
    texts = [symptoms.summary(measured) for measured in (ours, theirs)]
    print(f"Fault {number} is in {folder / 'reference.py'}. A short training with it, beside the sound file")
    print("(<-- differs by more than chance, at the last step or before):\n")
    print(f"{'':<48}{'sound':<23}broken")
    for name, what in symptoms.NAMES.items():
        print(f"{what:<48}{texts[0][name]:<23}{texts[1][name]:<23}{'<--' if name in seen else ''}".rstrip())
    print(f"\n{drawn(symptoms, ours, theirs, folder / 'symptoms.png')}")
    if vectors or not seen:
        print("" if seen else "No curve differs by more than chance. The test vectors do:")
        show_vectors(symptoms.failures(case.planted()))
    print(
        f"\nWhich line is it? Answer: python {sys.argv[0]} {number} --line N   (also --vectors, --hint, --give-up, --check)"
    )


def drawn(symptoms: ModuleType, ours: dict, theirs: dict, path: Path) -> str:
    try:
        symptoms.draw(ours, theirs, path)
    except ImportError:
        return 'For a picture of the curves: pip install ".[plot]"'
    return f"Picture: {path}"


def show_vectors(failures: list) -> None:
    print(
        f"   {len(failures)} test vectors of compressae-ref verify --backend reference --bits fail, the first of them:"
    )
    for failure in failures[:3]:
        print(f"   {failure.test}: {failure.comment}\n      {re.sub(HIDDEN, '', failure.reason)}")


def check(path: Path) -> None:
    """Say whether the copy passes the test vectors; exit code 1 if it does not."""
    try:
        failures = measuring().failures(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        stop(f"{path}: no such file; plant a fault first")
    except Exception as error:  # whatever a student's file raises while it is loaded
        stop(f"{path}: cannot be loaded: {type(error).__name__}: {error}")
    if failures:
        show_vectors(failures)
        sys.exit(1)
    print("All test vectors of compressae-ref verify --backend reference --bits pass.")


def judge(case: Case, line: int, number: int) -> None:
    """Say whether the answer is right; exit code 1 if it is not."""
    if line == case.line:
        print(f"Right: line {line}.")
        tell(case)
        return
    function = functions().get(line)
    where = f"in {function}" if function else "outside all functions"
    print(f"Not line {line}. " + (f"Warm: it is {where}." if function == case.function else f"Cold: not {where}."))
    sys.exit(1)


def tell(case: Case) -> None:
    before, after = (text.splitlines()[case.line - 1].strip() for text in (sound(), case.planted()))
    print(f"\nLine {case.line}, in {case.function} ({case.equation}):\n   sound    {before}\n   broken   {after}\n")
    print(textwrap.fill(case.why, 100))
    print(f'\nThe suite catches it with: python -m pytest {case.tests}\n   (pytest comes with: pip install ".[test]")')
    failures = measuring().failures(case.planted())
    known = [failure for failure in failures if any(flag.startswith("exactly") for flag in failure.flags)]
    failure = (known or failures)[0]
    print(f"verify says of {failure.test}: {failure.flags[0] if known else failure.reason}")


if __name__ == "__main__":
    with suppress(AttributeError):  # Windows has no such signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` ends it without a word
    main()
