"""The sixteen exercises of `examples/learn`: number, functions, equations, chapter, and what each function returns.

Each is graded by the tests that `from_vectors` makes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from compressae_ref.errors import BackendError
from compressae_ref.optional import NAME

CHAPTERS = {
    1: "1_what_a_code_is",
    2: "2_forward_by_hand",
    3: "3_backward_by_hand",
    4: "4_train",
    5: "5_search",
    6: "6_why_bits_differ",
}
"""The chapters of `examples/learn`: each is a script (``.py``) and a page (``.md``)."""

_ROOT = Path(__file__).resolve().parents[3]

TO_FILL_IN = "exercises.py"
"""The file with all functions to write, which a student copies."""

Returns: TypeAlias = "str | tuple[Returns, ...]"
"""What a function returns: the name of a value, or a tuple of such, which may be nested."""

INTEGERS = {"indices": "int32", "ids": "int64"}
"""Returned arrays of integers, and the dtype in which they are compared: a student may use any integer dtype."""

NUMBERS = ("loss", "loss_k", "loss_aux")
"""Returned values that are single numbers."""

STRINGS = ("names",)
"""Returned values that are lists of strings."""


class Function(NamedTuple):
    """One function that a student writes."""

    name: str
    returns: Returns
    compiled: bool = False
    """whether the grader compiles it with Numba"""


class Exercise(NamedTuple):
    """One exercise."""

    number: int
    chapter: int
    what: str
    functions: tuple[Function, ...]
    cites: tuple[str, ...]
    """equations and rules"""
    section: str
    bits: bool = False
    """whether only the stated bits pass: the exercise is about a selection or about the order of a sum"""
    page: str = "compressae.md"

    @property
    def names(self) -> str:
        """The names of the functions, such as "renormalize, project"."""
        return ", ".join(function.name for function in self.functions)

    @property
    def read(self) -> str:
        """Where the subject stands: the section of the specification, and the chapter."""
        return (
            f"spec/{self.page}, section {self.section} ({', '.join(self.cites)}); "
            f"examples/learn/{CHAPTERS[self.chapter]}.md"
        )


_CODE = ("indices", "values")
PARAMS = ("W_enc", "b_enc", "W_dec")
"""The parameters of a model, in the order in which `reference.train_step` takes them."""
_GRADS = ("grad_W_enc", "grad_b_enc", "grad_W_dec")
_STEP: Returns = (NUMBERS, PARAMS, tuple(f"m_{name}" for name in PARAMS), tuple(f"v_{name}" for name in PARAMS))
_HITS = ("ids", "scores")


def _one(name: str, returns: Returns, *, compiled: bool = False) -> tuple[Function, ...]:
    return (Function(name, returns, compiled),)


EXERCISES = (
    Exercise(
        *(1, 1, "keep the k largest entries of a code"),
        *(_one("truncate", _CODE), ("E6", "R2"), "3. Encoding"),
        bits=True,
    ),
    Exercise(
        *(2, 1, "find the words that name a latent"),
        *(_one("name_latent", ("names", "scores")), ("E43", "R33"), "2. Counts and scores"),
        page="segment-names.md",
    ),
    Exercise(3, 2, "make rows unit rows", _one("unit_rows", "x_unit"), ("E3",), "2. Unit rows"),
    Exercise(
        *(4, 2, "keep the k largest magnitudes"),
        *(_one("abs_topk", _CODE), ("E5", "R1", "R2"), "3. Encoding"),
        bits=True,
    ),
    Exercise(5, 2, "reconstruct rows from codes", _one("decode", "x_hat"), ("E7",), "4. Decoding"),
    Exercise(6, 3, "compute cosines", _one("cosine", "cos"), ("E9", "R6"), "5. The loss"),
    Exercise(7, 3, "derive the cosine", _one("cosine_backward", "grad_x_hat"), ("E9'", "R6"), "6. Gradients"),
    Exercise(
        *(8, 3, "go back through the decoder"),
        *(_one("decode_backward", ("grad_values", "grad_W_dec")), ("E7'", "E7''", "E8"), "6. Gradients"),
    ),
    Exercise(
        *(9, 3, "compute the losses and all gradients of a batch"),
        *(_one("gradients", (NUMBERS, _GRADS)), ("E13", "E13'", "E14", "R5", "R7"), "6. Gradients"),
    ),
    Exercise(
        *(10, 4, "move parameters by Adam"),
        *(_one("adam", ("param", "m", "v")), ("E11", "R8"), "7. The step"),
    ),
    Exercise(
        *(11, 4, "keep the atoms unit rows"),
        (Function("renormalize", "W_dec"), Function("project", "grad_W_dec")),
        *(("E12", "E12'"), "7. The step"),
    ),
    Exercise(
        12, 4, "take one step of training", _one("train_step", _STEP), ("R8", "E13'", "E11", "E12"), "7. The step"
    ),
    Exercise(
        *(13, 5, "search codes with codes"),
        *(_one("search_sparse", _HITS), ("E15", "E10", "R6", "R10"), "8. Similarity and search"),
    ),
    Exercise(
        *(14, 5, "search codes with dense queries"),
        *(_one("search_asymmetric", _HITS), ("E17", "E10", "R6", "R10"), "8. Similarity and search"),
    ),
    Exercise(
        *(15, 5, "write a kernel for Numba: gather the entries of queries"),
        *(_one("gather", "scores", compiled=True), ("E10",), "8. Similarity and search"),
        bits=True,
    ),
    Exercise(16, 6, "sum in the stated order", _one("fold_sum", "sums"), ("E1",), "1. Sums", bits=True),
)
"""All exercises, in the order of their numbers, from 1."""

FUNCTIONS = {function.name: (exercise, function) for exercise in EXERCISES for function in exercise.functions}
"""Exercise and function by the name of the function."""


def names_of(returns: Returns) -> Iterator[str]:
    """Yield the names of all values that a function returns, in their order."""
    if isinstance(returns, str):
        yield returns
        return
    for each in returns:
        yield from names_of(each)


def written(returns: Returns) -> str:
    """Return how a returned value is written: ``x_hat``, or ``(indices, values)``."""
    return returns if isinstance(returns, str) else f"({', '.join(map(written, returns))})"


def task_file() -> Path:
    """Return the path of `TO_FILL_IN` in the clone of this code, or else in the clone that the current folder is in.

    Raises
    ------
    BackendError
        If there is no such clone: an installed package does not have the course.
    """
    here = Path.cwd()
    for folder in (_ROOT, here, *here.parents):
        if (path := folder / "examples" / "learn" / TO_FILL_IN).is_file():
            return path
    raise BackendError(
        f"expected examples/learn/{TO_FILL_IN}, which only a clone of the repository has",
        argument="exercises",
        hint=f"run the command in a clone of {NAME}",
    )


def statement(exercise: Exercise) -> str:
    """Return the task of an exercise: signature and docstring of its functions in the file of `task_file`."""
    path = task_file()
    found = {
        node.name: node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    parts = []
    for function in exercise.functions:
        node = found[function.name]
        text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
        parts.append(f"def {node.name}({ast.unparse(node.args)}):\n\n{_indented(text)}")
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
