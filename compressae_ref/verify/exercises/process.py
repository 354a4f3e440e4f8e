"""Run a student's functions in a process of their own: requests on standard input, answers on standard output.

The protocol is that of `programs`. ``operation`` is the name of a function, and ``inputs`` are its arguments in their
order. Arguments ``params.0``, ``params.1``, … are one tuple ``params``. Instead of outputs, an answer may have an
``error`` (see `Fault`) and a ``message`` in words. What the file prints goes to standard error. The code runs with all
rights of the user: a process of its own is no protection against hostile code. The first request, `LOAD`, is answered
when the file has run.
"""

from __future__ import annotations

import difflib
import io
import json
import linecache
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.verify.exercises.returned import FormError, outputs_of
from compressae_ref.verify.exercises.table import FUNCTIONS, Function, written
from compressae_ref.verify.vectors import compact, values_from_json, values_to_json

LOAD = "load"
"""The operation that waits for the file itself."""

PRINTED = 20_000
"""Characters that a file may print: a loop that prints without end would hide everything else."""


class Fault(NamedTuple):
    """Why there are no outputs."""

    error: str
    """NoFile, Missing, NotStarted, Raised, Changed, Form or Compile"""
    message: str


def serve(path: str) -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # after Ctrl-C the main process says what happened
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the student prints is no answer
    sys.stdout = Printed()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.dont_write_bytecode = True
    loaded = load(path)
    for line in requests:
        request = json.loads(line)
        answers.write(compact({"id": request["id"], **answer(loaded, request, path)}) + "\n")
        answers.flush()


class Printed(io.TextIOBase):
    """Standard output of a student's file: its first characters go to standard error, the others are left out."""

    left = PRINTED

    def write(self, text: str) -> int:
        """Write a text, or what is left of it."""
        if self.left > 0:
            sys.stderr.write(text[: self.left])
            self.left -= len(text)
            sys.stderr.write("" if self.left > 0 else "\n… the rest of what the file prints is left out\n")
            sys.stderr.flush()
        return len(text)


def load(path: str) -> ModuleType | Fault:
    """Run a student's file and return its module, or why it cannot be run."""
    loader = SourceFileLoader("student", path)
    spec = spec_from_loader("student", loader)
    assert spec is not None
    module = sys.modules["student"] = module_from_spec(spec)
    sys.path.insert(0, str(Path(path).resolve().parent))  # as if Python ran the file
    try:
        loader.exec_module(module)
    except BaseException as error:  # also sys.exit()
        return Fault("NoFile", f"the file cannot be run: {where(error, path)}")
    return module


def answer(loaded: ModuleType | Fault, request: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the outputs of a request, or the fault."""
    if request["operation"] == LOAD:
        return loaded._asdict() if isinstance(loaded, Fault) else {"outputs": {}}
    _, function = FUNCTIONS[request["operation"]]
    arguments = grouped(values_from_json(request["inputs"]))
    callable_ = loaded if isinstance(loaded, Fault) else _callable(loaded, function)
    outputs = callable_ if isinstance(callable_, Fault) else call(callable_, function, arguments, path)
    if isinstance(outputs, Fault):
        return outputs._asdict()
    return {"outputs": values_to_json(outputs)}


def grouped(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by name, arrays as copies that can be changed; those with a number are gathered in tuples."""
    arguments: dict[str, Any] = {}
    for name, value in inputs.items():
        value = value.copy() if isinstance(value, np.ndarray) else value
        base, dot, _ = name.partition(".")
        arguments[base] = (*arguments.get(base, ()), value) if dot else value
    return arguments


def _callable(module: ModuleType, function: Function) -> Callable[..., Any] | Fault:
    found: Callable[..., Any] | None = getattr(module, function.name, None)
    if not callable(found):
        own = [name for name, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(function.name, own, 1)
        if found is None and not near:
            return Fault("NotStarted", f"the file has no function {function.name}")
        question = f" (did you mean {near[0]}?)" if near else ""
        got = "none" if found is None else type(found).__name__
        return Fault("Missing", f"expected a function {function.name}, got {got}{question}")
    if not function.compiled or hasattr(found, "py_func"):
        return found
    try:
        from numba import njit
    except ImportError:
        return Fault("Compile", "expected the package numba, which is not installed; pip install numba")
    compiled: Callable[..., Any] = njit(boundscheck=True)(found)
    setattr(module, function.name, compiled)  # for the next request
    return compiled


def call(found: Callable[..., Any], function: Function, arguments: dict[str, Any], path: str) -> dict[str, Any] | Fault:
    """Call a function and return its outputs by name."""
    before = [_bytes(value) for value in arguments.values()]
    try:
        with np.errstate(all="ignore"):
            returned = found(*arguments.values())
    except NotImplementedError as error:
        return _not_written(error, function, path)
    except BaseException as error:  # also sys.exit()
        if type(error).__module__.startswith("numba."):
            return _not_compiled(error, function, path)
        return Fault("Raised", where(error, path))
    after = [_bytes(value) for value in arguments.values()]
    changed = [name for name, old, new in zip(arguments, before, after, strict=True) if old != new]
    if changed:
        return Fault("Changed", _of_change(changed[0], arguments[changed[0]]))
    try:
        return outputs_of(function.returns, returned, written(function.returns))
    except FormError as error:
        return Fault("Form", str(error))


def _of_change(name: str, value: Any) -> str:
    copies = f"copies of its {len(value)} arrays" if isinstance(value, tuple) else f"{name}.copy()"
    return f"the function changes its argument {name}: compute with {copies}, and return the result"


def _bytes(value: Any) -> Any:
    """Return what tells whether a value was changed."""
    if isinstance(value, tuple):
        return [_bytes(each) for each in value]
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


# -- what is raised ---------------------------------------------------------------------------------------------------


def where(error: BaseException, path: str) -> str:
    """Return the line of the student's file in which an exception was raised, and what it says."""
    name = type(error).__name__
    says = f"{name}: {_first_line(error)}" if str(error) else name
    if isinstance(error, SystemExit):
        says = "sys.exit(), which ends Python"
    frame = _frame(error, path)
    if frame is None:
        return f"raised {says}"
    return f"line {frame.lineno}, {linecache.getline(path, frame.lineno or 0).strip()!r}, raised {says}"


def _frame(error: BaseException, path: str) -> traceback.FrameSummary | None:
    """Return the innermost frame of the student's file."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return own[-1] if own else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def _not_written(error: NotImplementedError, function: Function, path: str) -> Fault:
    frame = _frame(error, path)
    name = function.name if frame is None else frame.name
    if name == function.name:
        return Fault("NotStarted", f"{name} is not written yet")
    if name not in FUNCTIONS:
        return Fault("Raised", where(error, path))
    number = FUNCTIONS[name][0].number
    return Fault("Raised", f"it calls {name}, which is not written yet: that is exercise {number}")


def _not_compiled(error: BaseException, function: Function, path: str) -> Fault:
    """Return why Numba cannot compile a function: the line of the student's file, and what is unknown there."""
    if "NotImplementedError" in str(error):
        return Fault("NotStarted", f"{function.name} is not written yet")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    numbers = [match[1] for line in lines if (match := re.search(r'File ".*", line (\d+)', line))]
    words = next((line for line in lines if not line.startswith(("Failed in", "During", "-"))), type(error).__name__)
    place = f"line {numbers[-1]}, {linecache.getline(path, int(numbers[-1])).strip()!r}" if numbers else function.name
    return Fault("Compile", f"{place}: Numba cannot compile this ({re.sub(chr(27) + r'.*?m', '', words)[:160]})")
