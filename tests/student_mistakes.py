"""Usual mistakes of students: the number of the exercise, a file with the mistake, and words that the grade must have.

Line 1 of each file is ``import numpy as np``, so the source begins in line 2.
"""

from __future__ import annotations

CASES = {
    "sign lost": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argsort(-abs(pre), axis=1, kind='stable')[:, :k], axis=1)
    return j, abs(np.take_along_axis(pre, j, axis=1))
""",
        ["a value keeps its sign (E5)", "(Sign)"],
    ),
    "ties to the higher index": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argsort(abs(pre), axis=1, kind='stable')[:, -k:], axis=1)
    return j, np.take_along_axis(pre, j, axis=1) + 0
""",
        ["of equal magnitudes the lower index is kept (R1)"],
    ),
    "descending": (
        4,
        """
def abs_topk(pre, k):
    j = np.argsort(-abs(pre), axis=1, kind='stable')[:, :k]
    return j, np.take_along_axis(pre, j, axis=1) + 0
""",
        ["not in ascending order (R2)", "(AscendingIndex)"],
    ),
    "minus zero": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argsort(-abs(pre), axis=1, kind='stable')[:, :k], axis=1)
    return j, np.take_along_axis(pre, j, axis=1)
""",
        ["−0 is stored as +0 (R2)"],
    ),
    "unstable": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argpartition(-abs(pre), k - 1, axis=1)[:, :k], axis=1)
    return j, np.take_along_axis(pre, j, axis=1) + 0
""",
        ["the lower index is kept (R1)"],
    ),
    "argsort that is not stable": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argsort(-abs(pre), axis=1, kind='heapsort')[:, :k], axis=1)
    return j, np.take_along_axis(pre, j, axis=1) + 0
""",
        ['of equal magnitudes the lower index is not kept (R1): np.argsort needs kind="stable"'],
    ),
    "argsort of a code that is not stable": (
        1,
        """
def truncate(indices, values, k):
    at = np.sort(np.argsort(-abs(values), axis=1, kind='heapsort')[:, :k], axis=1)
    return np.take_along_axis(indices, at, axis=1), np.take_along_axis(values, at, axis=1)
""",
        ['of equal magnitudes the lower index is not kept (R1): np.argsort needs kind="stable"'],
    ),
    "largest values": (
        4,
        """
def abs_topk(pre, k):
    j = np.sort(np.argsort(-pre, axis=1, kind='stable')[:, :k], axis=1)
    return j, np.take_along_axis(pre, j, axis=1) + 0
""",
        [
            "of those that fail, the clearest is abs_topk-5",
            "the magnitude decides, not the value (R1)",
            "exactly this answer is given if the largest values are kept, not the largest magnitudes (Magnitude)\n",
        ],
    ),
    "no clamp": (
        7,
        """
def cosine_backward(g, x, y):
    n = lambda a: np.sqrt((a * a).sum(axis=1, keepdims=True))
    c = (x * y).sum(axis=1, keepdims=True) / (n(x) * n(y))
    return g[:, None] * (x / (n(x) * n(y)) - c * y / n(y) ** 2)
""",
        ["a norm is not clamped at 1e-8 (R6): 0 / 0 is NaN"],
    ),
    "no norm of the embedding": (
        7,
        """
def cosine_backward(g, x, y):
    n = np.maximum(np.sqrt((y * y).sum(axis=1)), np.float32(1e-8)).astype(y.dtype)
    c = np.where(n > 1e-8, (x * y).sum(axis=1) / n, y.dtype.type(0))
    return g[:, None] * (x / n[:, None] - (c / n / n)[:, None] * y)
""",
        ["nothing is divided by ‖x̄‖, which need not be 1 (E9')"],
    ),
    "no term of the norm": (
        7,
        """
def cosine_backward(g, x, y):
    n = lambda a: np.maximum(np.sqrt((a * a).sum(axis=1)), np.float32(1e-8))
    return (g / (n(x) * n(y)))[:, None] * x
""",
        ["the second term of E9' is missing", "at [0, 1]"],
    ),
    "no correction": (
        10,
        """
def adam(p, g, m, v, t, lr):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - lr * m / (np.sqrt(v) + 1e-8), m, v
""",
        ["both bias corrections are missing"],
    ),
    "epsilon inside the root": (
        10,
        """
def adam(p, g, m, v, t, lr):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - lr * m / (1 - 0.9**t) / np.sqrt(v / (1 - 0.999**t) + 1e-8), m, v
""",
        ["inside the root"],
    ),
    "float64": (
        5,
        """
def decode(indices, values, W_dec):
    x = np.zeros((len(values), W_dec.shape[1]))
    for t in range(values.shape[1]):
        x += values[:, t, None] * W_dec[indices[:, t]]
    return x
""",
        [
            "expected float32 of shape (5, 16), got float64 of shape (5, 16)",
            "np.zeros, np.ones and np.full make float64",
        ],
    ),
    "shape": (
        6,
        """
def cosine(x, y):
    return (x * y).sum(axis=1, keepdims=True)
""",
        ["cos: expected float32 of shape (3,), got float32 of shape (3, 1)"],
    ),
    "list": (
        6,
        """
def cosine(x, y):
    return [0.5 for row in x]
""",
        ["cos: expected an array of floats, got a list of 3 (float, float, float)", "np.array("],
    ),
    "lists of rows": (
        1,
        """
def truncate(indices, values, k):
    return [[1]], [[2.0]]
""",
        ["indices: expected an array of integers, got a list of 1"],
    ),
    "floats as indices": (
        1,
        """
def truncate(indices, values, k):
    return indices[:, :k].astype(float), values[:, :k]
""",
        ["indices: expected an array of integers, got float64 of shape (1, 2)"],
    ),
    "integers as values": (
        5,
        """
def decode(indices, values, W_dec):
    return indices
""",
        ["x_hat: expected an array of floats, got int32 of shape (5, 4)"],
    ),
    "one value for two": (
        4,
        """
def abs_topk(pre, k):
    return pre
""",
        ["expected 2 values, (indices, values), got float32 of shape (1, 6)"],
    ),
    "changed": (
        11,
        """
def renormalize(W_dec):
    W_dec /= np.sqrt((W_dec * W_dec).sum(axis=1, keepdims=True))
    return W_dec
""",
        ["the function changes its argument W_dec", "W_dec.copy()"],
    ),
    "changed in a tuple": (
        12,
        """
def train_step(batch, params, m, v, t, k, lr, may_2025):
    m[1][...] = 7
    return (0.0, 0.0, 0.0), params, m, v
""",
        ["changes its argument m: compute with copies of its 3 arrays"],
    ),
    "nothing returned": (
        3,
        """
def unit_rows(x):
    x / 2
""",
        ["x_unit: expected an array of floats, got None: is there a return at the end?"],
    ),
    "nothing returned for two": (
        4,
        """
def abs_topk(pre, k):
    pre
""",
        ["expected 2 values, (indices, values), got None: is there a return at the end?"],
    ),
    "exception": (
        3,
        """
def unit_rows(x):
    y = 2 * x
    return y @ y
""",
        ["line 4, 'return y @ y', raised ValueError: matmul"],
    ),
    "exception in a helper": (
        3,
        """
def helper(x):
    return 1 / 0


def unit_rows(x):
    return helper(x)
""",
        ["line 3, 'return 1 / 0', raised ZeroDivisionError: division by zero"],
    ),
    "recursion": (
        3,
        """
def unit_rows(x):
    return unit_rows(x)
""",
        ["line 3, 'return unit_rows(x)', raised RecursionError"],
    ),
    "sys.exit": (
        3,
        """
import sys
def unit_rows(x):
    sys.exit('bye')
""",
        ["line 4, \"sys.exit('bye')\", raised sys.exit(), which ends Python"],
    ),
    "exit of the process": (
        3,
        """
import os
def unit_rows(x):
    os._exit(3)
""",
        ["the file ended Python with exit code 3", "8 were not run"],
    ),
    "crash": (
        3,
        """
import os, signal
def unit_rows(x):
    os.kill(os.getpid(), signal.SIGSEGV)
""",
        ["the file crashed Python (SIGSEGV)"],
    ),
    "input": (
        3,
        """
def unit_rows(x):
    return input()
""",
        ["line 3, 'return input()', raised EOFError"],
    ),
    "wrong arguments": (
        3,
        """
def unit_rows():
    return 1
""",
        ["raised TypeError: unit_rows() takes 0 positional arguments but 1 was given"],
    ),
    "another name": (
        3,
        """
def unit_row(x):
    return x
""",
        ["expected a function unit_rows, got none (did you mean unit_row?)", "9 were not run"],
    ),
    "no function": (
        3,
        """
unit_rows = 3
""",
        ["expected a function unit_rows, got int"],
    ),
    "error of the file": (
        3,
        """
import nothing_of_this_name
""",
        ["the file cannot be run: line 2, 'import nothing_of_this_name', raised ModuleNotFoundError", "9 were not run"],
    ),
    "exit of the file": (
        3,
        """
raise SystemExit(0)
""",
        [
            "the file cannot be run: line 2, 'raise SystemExit(0)', raised sys.exit()",
            "0 of 9 tests pass, 9 were not run",
        ],
    ),
    "needs another exercise": (
        9,
        """
def unit_rows(x):
    raise NotImplementedError


def gradients(x, W_enc, b_enc, W_dec, k):
    return unit_rows(x)
""",
        ["it calls unit_rows, which is not written yet: that is exercise 3"],
    ),
    "kernel out of bounds": (
        15,
        """
def gather(u, indices, values):
    return u[:, values.shape[1] + 999:][:, indices[0, 0]:] * u[0, 10**6]
""",
        ["IndexError: index is out of bounds"],
    ),
    "kernel that is none": (
        15,
        """
def gather(u, indices, values):
    return u.no_such_thing
""",
        ["line 3, 'return u.no_such_thing': Numba cannot compile this (Unknown attribute 'no_such_thing'"],
    ),
    "kernel in double": (
        15,
        """
def gather(u, indices, values):
    s = np.zeros((len(u), len(indices)), u.dtype)
    for q in range(len(u)):
        for i in range(len(indices)):
            total = 0.0
            for t in range(indices.shape[1]):
                total += u[q, indices[i, t]] * values[i, t]
            s[q, i] = total
    return s
""",
        ["the sum runs in float64"],
    ),
    "sum of NumPy": (
        16,
        """
def fold_sum(terms):
    return terms.sum(axis=-1)
""",
        ["np.sum adds in its own order"],
    ),
    "without Numba": (
        15,
        """
import sys

sys.modules["numba"] = None


def gather(u, indices, values):
    return u
""",
        ["expected the package numba, which is not installed; pip install numba", "16 were not run"],
    ),
    "an unknown signal": (
        3,
        """
import os


def unit_rows(x):
    os.kill(os.getpid(), 40)
""",
        ["the file crashed Python (signal 40)"],
    ),
    "a warning of Python": (
        3,
        """
PATTERN = "\\d"


def unit_rows(x):
    return 2 * x
""",
        ["x_unit: expected 0.25"],
    ),
}
