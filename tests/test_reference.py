"""The reference file: what it may import, its size, its names, its laws, and rules R1 to R10 one by one."""

from __future__ import annotations

import ast
import inspect
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import reference
from compressae_ref.params import init_params
from spec.generate.program import SPEC, blocks, program
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_within, gamma


def topk_by_sorting(row, k):
    """R1 and R2 in plain Python: indices of the k largest |a|, ties to the lower index, by ascending index."""
    order = sorted(range(len(row)), key=lambda j: (-abs(row[j]), j))
    return sorted(order[:k])


# -- sums -------------------------------------------------------------------------------------------------------------


@given(draw.matrices())
def test_fold_sum_is_the_sum_in_the_stated_order(terms):
    def folded(row):
        while len(row) > 16 and len(row) % 2 == 0:
            half = len(row) // 2
            row = [a + b for a, b in zip(row[:half], row[half:], strict=True)]
        total = row[0]
        for term in row[1:]:
            total = total + term
        return total

    assert_same_bits(reference.fold_sum(terms), np.array([folded(list(row)) for row in terms], terms.dtype))
    exact = np.array([math.fsum(map(float, row)) for row in terms])
    magnitude = np.abs(terms.astype(np.float64)).sum(axis=1)
    assert_within(reference.fold_sum(terms), exact, gamma(terms.shape[1], terms.dtype) * magnitude)


@given(draw.generators(), st.sampled_from(draw.DTYPES), st.integers(0, 9), st.integers(1, 70))
def test_pair_dots_are_the_dots_of_rows(rng, dtype, n, d):
    a, b = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((5, d)).astype(dtype)
    dots = reference.over_latents(a, b)
    assert_same_bits(dots, np.stack([reference.dot(a, np.tile(row, (n, 1))) for row in b], axis=1))
    assert_within(dots, a.astype(float) @ b.T, gamma(d + 1, dtype) * (np.abs(a.astype(float)) @ np.abs(b.T)))


# -- R3, R4 and unit rows ---------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(draw.DTYPES), st.integers(1, 9), st.integers(1, 70))
def test_unit_rows_at_every_scale(data, dtype, n, d):
    x = data.draw(draw.embeddings(n, d, dtype))
    x_unit = by_reference.normalize_rows(x)
    assert x_unit.dtype == x.dtype
    wide = x.astype(np.float64)
    expected = wide / np.sqrt(((wide / np.abs(wide).max(1, keepdims=True)) ** 2).sum(1, keepdims=True))
    assert_within(
        x_unit * np.abs(wide).max(1, keepdims=True), expected, (gamma(d + 4, dtype)) * np.abs(expected) + 1e-300
    )


@given(st.data(), st.sampled_from(draw.DTYPES), st.integers(-60, 60))
def test_unit_rows_ignore_powers_of_two_to_the_bit(data, dtype, exponent):
    x = data.draw(draw.matrices(dtype=st.just(dtype)))
    x = np.where(np.abs(x) < 1e-19, 0, np.clip(x, -1e20, 1e20)).astype(dtype)
    x[~x.any(axis=1), 0] = 1
    assert_same_bits(by_reference.normalize_rows(x), by_reference.normalize_rows(np.ldexp(x, exponent)))


def test_unit_rows_of_the_smallest_and_largest_numbers():
    for dtype in draw.DTYPES:
        info = np.finfo(dtype)
        x = np.array([[info.smallest_subnormal, 0], [info.max, info.max], [-info.max, 0]], dtype)
        root = math.sqrt(0.5)
        assert_within(by_reference.normalize_rows(x), [[1, 0], [root, root], [-1, 0]], float(info.eps))


# -- R1, R2, R7: selection --------------------------------------------------------------------------------------------


@given(draw.selections())
def test_abs_topk_is_a_stable_sort_by_magnitude(selection):
    pre, k = selection
    codes = by_reference.abs_topk(pre, k)
    expected = np.array([topk_by_sorting(row, k) for row in pre.tolist()])
    np.testing.assert_array_equal(codes.indices, expected)
    np.testing.assert_array_equal(codes.values, np.take_along_axis(pre, expected, axis=1))
    assert codes.indices.dtype == np.int32
    assert codes.values.dtype == pre.dtype


def test_r1_ties_go_to_the_lower_index():
    pre = np.array([[1.0, -2, 2, -2, 2, 1]])
    assert by_reference.abs_topk(pre, 1).indices.tolist() == [[1]]
    assert by_reference.abs_topk(pre, 3).indices.tolist() == [[1, 2, 3]]
    assert by_reference.abs_topk(pre, 5).indices.tolist() == [[0, 1, 2, 3, 4]]
    assert by_reference.abs_topk(np.ones((1, 8)), 3).indices.tolist() == [[0, 1, 2]]


def test_r1_selects_by_magnitude_and_keeps_the_sign():
    codes = by_reference.abs_topk(np.array([[-3.0, 1, 2], [-1, -2, -3]]), 2)
    assert codes.indices.tolist() == [[0, 2], [1, 2]]
    assert codes.values.tolist() == [[-3, 2], [-2, -3]]


def test_r2_exactly_k_are_stored_and_minus_zero_becomes_plus_zero():
    codes = by_reference.abs_topk(np.array([[-0.0, -0.0, 5, -0.0], [-0.0, 0, -0.0, 0]]), 3)
    assert codes.indices.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert not np.signbit(codes.values).any()


@given(draw.selections(), draw.generators())
def test_selection_commutes_with_permuting_rows_and_flipping_signs(selection, rng):
    pre, k = selection
    rows = rng.permutation(len(pre))
    codes, permuted, flipped = (
        by_reference.abs_topk(pre, k),
        by_reference.abs_topk(pre[rows], k),
        by_reference.abs_topk(-pre, k),
    )
    assert_same_bits(codes.indices[rows], permuted.indices)
    assert_same_bits(codes.values[rows], permuted.values)
    assert_same_bits(codes.indices, flipped.indices)
    np.testing.assert_array_equal(codes.values, -flipped.values)


@given(draw.selections(), st.data())
def test_the_k_largest_of_the_stored_are_the_code_for_that_k(selection, data):
    pre, k = selection
    smaller = data.draw(st.integers(1, k))
    kept, rest = by_reference.split_codes(by_reference.abs_topk(pre, k), smaller)
    direct = by_reference.abs_topk(pre, smaller)
    assert_same_bits(kept.indices, direct.indices)
    assert_same_bits(kept.values, direct.values)
    assert rest.k == k - smaller
    both = np.sort(np.concatenate([kept.indices, rest.indices], axis=1), axis=1)
    assert_same_bits(both, by_reference.abs_topk(pre, k).indices)
    if rest.k:
        assert (np.diff(rest.indices, axis=1) > 0).all()
        assert (np.abs(rest.values).max(1) <= np.abs(kept.values).min(1)).all()


def test_r7_the_gradient_passes_on_the_selected_entries_alone():
    rng = np.random.default_rng(0)
    x, params = rng.standard_normal((1, 5)), init_params(5, 20, rng, dtype="float64")
    W_enc, b_enc, W_dec = params.arrays().values()
    _, (grad_W_enc, grad_b_enc, grad_W_dec) = reference.loss_and_gradients(x, W_enc, b_enc, W_dec, 2)
    stored, _ = reference.encode_rows(x, W_enc, b_enc, 8)  # k_aux = 4k
    for grad in (grad_W_enc.any(axis=0), grad_b_enc, grad_W_dec.any(axis=1)):
        assert np.flatnonzero(grad).tolist() == stored[0].tolist()


# -- decoding and its gradients ---------------------------------------------------------------------------------------


@given(st.data(), draw.codes(), draw.generators(), st.integers(1, 40))
def test_decode_and_its_backward_are_their_dense_equivalents(data, codes, rng, d):
    dtype = codes.values.dtype
    W_dec, g = (rng.standard_normal(shape).astype(dtype) for shape in ((codes.n_latents, d), (len(codes), d)))
    dense, wide_W, wide_g = codes.to_dense().astype(float), W_dec.astype(float), g.astype(float)
    x_hat = by_reference.decode(codes, W_dec)
    assert_within(x_hat, dense @ wide_W, gamma(codes.k + 1, dtype) * (np.abs(dense) @ np.abs(wide_W)))
    grad_values = by_reference.decode_backward_values(g, codes, W_dec)
    bound = np.take_along_axis(np.abs(wide_g) @ np.abs(wide_W.T), codes.indices, axis=1) * gamma(d + 1, dtype)
    assert_within(grad_values, np.take_along_axis(wide_g @ wide_W.T, codes.indices, axis=1), bound)
    out = rng.standard_normal((codes.n_latents, d)).astype(dtype)
    expected = out + dense.T @ wide_g
    bound = gamma(len(codes) + 2, dtype) * (np.abs(out) + np.abs(dense.T) @ np.abs(wide_g))
    for i in range(len(codes)):
        reference.add_outer(codes.values[i], codes.indices[i], g[i], out)
    assert_within(out, expected, bound)


# -- R6: the cosine ---------------------------------------------------------------------------------------------------


def test_r6_norms_are_clamped_below():
    x = np.array([[1.0, 0], [1, 0], [1, 0]])
    x_hat = np.array([[1e-9, 0], [0, 0], [1e-7, 0]])
    np.testing.assert_allclose(reference.cosine(x, x_hat), [0.1, 0, 1], rtol=1e-12)


@given(draw.generators(), st.integers(2, 30))
def test_cosine_laws(rng, d):
    x_unit, x_hat = by_reference.normalize_rows(rng.standard_normal((4, d))), rng.standard_normal((4, d))
    cos = reference.cosine(x_unit, x_hat)
    assert (np.abs(cos) <= 1 + gamma(3 * d, float)).all()
    assert_within(reference.cosine(x_unit, x_unit), np.ones(4), gamma(3 * d, float))
    assert_same_bits(reference.cosine(x_unit, 4 * x_hat), cos)
    grad = reference.cosine_backward(np.ones(4), x_unit, x_hat)
    # The cosine does not change along x̂, so its gradient is orthogonal to it.
    size = np.linalg.norm(grad, axis=1) * np.linalg.norm(x_hat, axis=1) + 1
    assert_within((grad * x_hat).sum(1), np.zeros(4), gamma(8 * d, float) * size)


def test_a_clamped_norm_leaves_no_trace_of_the_reconstruction():
    x_hat = np.array([[1e-9, 2e-9]])
    assert reference.cosine_backward(np.array([1.0]), np.array([[0.0, 1.0]]), x_hat)[0, 0] == 0


def test_the_gradient_of_a_clamped_norm_has_no_second_term():
    x_unit, x_hat = np.array([[0.6, 0.8]]), np.array([[1e-9, 2e-9]])
    np.testing.assert_allclose(reference.cosine_backward(np.ones(1), x_unit, x_hat), x_unit / 1e-8, rtol=1e-12)


# -- dot products of codes --------------------------------------------------------------------------------------------


@given(st.data(), draw.codes())
def test_codes_dot_is_its_dense_equivalent_and_symmetric_to_the_bit(data, a):
    b = data.draw(draw.codes(dtype=a.values.dtype, n_latents=a.n_latents))
    dots = by_reference.codes_dot(a.to_dense(), b)
    dense_a, dense_b = a.to_dense().astype(float), b.to_dense().astype(float)
    assert_within(dots, dense_a @ dense_b.T, gamma(b.k + 1, a.values.dtype) * (np.abs(dense_a) @ np.abs(dense_b.T)))
    np.testing.assert_array_equal(dots, by_reference.codes_dot(b.to_dense(), a).T)


@given(draw.codes())
def test_code_norms(codes):
    expected = np.maximum(np.linalg.norm(codes.values.astype(float), axis=1), 1e-8)
    assert_within(by_reference.code_norms(codes), expected, gamma(codes.k + 3, codes.values.dtype) * expected + 1e-15)


# -- R4, R10 ----------------------------------------------------------------------------------------------------------


@given(draw.problems(), st.data())
def test_r4_a_zero_row_gets_a_code_of_zeros_and_changes_no_other(problem, data):
    x, (W_enc, b_enc, _), k = problem.x.copy(), problem.params.arrays().values(), problem.k
    zero = np.array(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))), bool)
    before = reference.encode_rows(x, W_enc, b_enc, k)
    x[zero] = np.copysign(0.0, x[zero])
    indices, values = reference.encode_rows(x, W_enc, b_enc, k)
    assert_same_bits(indices[~zero], before[0][~zero])
    assert_same_bits(values[~zero], before[1][~zero])
    assert (indices[zero] == np.arange(k)).all()
    assert_same_bits(values[zero], np.zeros((zero.sum(), k)))


def test_r10_the_best_come_first_and_ties_by_ascending_number():
    scores = np.array([[1.0, 3, 2, 3], [0, 0, 0, 0]])
    assert reference.best(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert reference.best(scores, 9).shape == (2, 4)


@given(draw.generators(), st.integers(1, 9), st.integers(1, 40), st.booleans())
def test_r9_initial_values_are_those_of_the_block_to_the_bit(rng, h, d, tied):
    """In float64, where nothing is rounded away: the bound of W_dec changes its last bits, though rows become unit."""
    u_enc, u_dec = rng.random((d, h)), rng.random((h, d))
    ours, theirs = reference.initial(u_enc, u_dec, tied), program().initial(u_enc.tolist(), u_dec.tolist(), tied)
    for array, block in zip(ours, theirs, strict=True):
        assert_same_bits(array, np.array(block))


# -- the file itself --------------------------------------------------------------------------------------------------

PATH = Path(reference.__file__)
FUNCTIONS = {name: each for name, each in vars(reference).items() if inspect.isfunction(each)}
OF_A_BATCH = {"unit_rows": "unit_row", "encode_rows": "encode_row", "loss_and_gradients": "gradients"}
"""Functions that do for n rows what a block of the specification does for one, or return more than it."""
MORE = {"unit_rows": ["dtype"], "loss_and_gradients": ["aux_weight"]}
"""Parameters that the blocks do without: they are plain numbers, and λ is 1/8."""
FEWER = {"encode_rows": ["zero_rows"], "adam": ["smallest_normal"]}
"""Parameters of blocks: a zero row that may not pass is refused elsewhere, and arrays know their format."""


def test_it_can_be_read_in_half_an_hour():
    assert len(PATH.read_text(encoding="utf-8").splitlines()) <= 250


def test_it_imports_numpy_and_nothing_else():
    """Everything else is blocked while the file is loaded and every function of it is called."""
    script = """
import builtins, sys
import numpy as np
path, whole = sys.argv[1], builtins.__import__
def only_numpy(name, globals=None, *rest):
    if (globals or {}).get("__name__") == "alone" and name.split(".")[0] != "numpy":
        raise ImportError(f"{name} is not NumPy")
    return whole(name, globals, *rest)
builtins.__import__ = only_numpy
alone = {"__name__": "alone"}
exec(compile(open(path, encoding="utf-8").read(), path, "exec"), alone)
assert "compressae_ref" not in sys.modules
rng = np.random.default_rng(0)
params = [array.copy() for array in alone["initial"](rng.random((6, 9)), rng.random((9, 6)), False)]
m, v = ([np.zeros_like(array) for array in params] for _ in range(2))
x = rng.standard_normal((5, 6))
for t, may_2025 in ((1, False), (2, True)):
    losses = alone["train_step"](x, params, m, v, t, 2, 0.01, may_2025)
W_enc, b_enc, W_dec = params
code, x_unit = alone["encode_rows"](x, W_enc, b_enc, 2), alone["unit_rows"](x, x.dtype)
for scores in (alone["sparse_cosine"](code, code, 9), alone["reconstructed_cosine"](code, code, W_dec),
               alone["asymmetric_cosine"](x_unit, code, W_dec), alone["expanded_cosine"](x_unit, code, W_dec, 4)):
    assert alone["best"](scores, 3).shape == (5, 3)
"""
    run = subprocess.run([sys.executable, "-I", "-c", script, PATH], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_it_is_plain():
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    assert [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))] == [
        "import numpy as np"
    ]
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_the_name_parameters_and_equation_of_a_block(name):
    """The equation in a docstring stands before the block of that name, in the same section of the specification."""
    block = OF_A_BATCH.get(name, name)
    theirs = list(inspect.signature(getattr(program(), block)).parameters)
    ours = list(inspect.signature(FUNCTIONS[name]).parameters)
    assert [each for each in ours if each not in MORE.get(name, ())] == [
        each for each in theirs if each not in FEWER.get(name, ())
    ]
    page = (SPEC / "compressae.md").read_text("utf-8")
    (section,) = [part for part in page.split("\n## ") if f"\ndef {block}(" in part]
    cited = re.findall(r"\b[ER]\d+'*", FUNCTIONS[name].__doc__ or "")
    assert cited, "cites no equation or rule"
    stated = set(re.findall(r"\*\*(E\d+'*)\*\*", section)) | {"R" + number for number in re.findall(r"R(\d+)", page)}
    assert set(cited) & stated, f"{cited} and {stated}"


def test_every_block_of_the_algorithm_has_its_function():
    stated = {name for text in blocks("compressae.md") for name in re.findall(r"^def (\w+)\(", text, re.M)}
    parts = {"encode", "forward", "loss_backward", "move"}  # lines of other functions of the file
    assert stated - parts == {OF_A_BATCH.get(name, name) for name in FUNCTIONS}


SIZES = {"n": 3, "d": 5, "h": 7, "k": 2, "n_q": 4}
SHAPE = r"\((?:n_q|n|d|h|k)(?:, (?:n|d|h|k))?,?\)"


def stated_shapes(function) -> tuple[list[str], str] | None:
    """The shapes of arguments and result, where a docstring states both: ``(n, d), (h, d) → (n, h)``."""
    found = re.search(rf"((?:{SHAPE}(?:, )?)+) → ({SHAPE})", function.__doc__)
    return (re.findall(SHAPE, found[1]), found[2]) if found else None


def test_the_shapes_in_docstrings_are_those_of_arguments_and_results():
    rng, checked = np.random.default_rng(0), set()
    given_numbers = {"k": 2, "dtype": np.dtype(np.float64), "top": 2}
    for name, function in FUNCTIONS.items():
        stated = stated_shapes(function)
        arrays = [each for each in inspect.signature(function).parameters if each not in given_numbers]
        if stated is None or len(stated[0]) != len(arrays):
            continue
        arguments = {}
        for array, shape in zip(arrays, stated[0], strict=True):
            size = tuple(SIZES[letter] for letter in shape.strip("(),").split(", "))
            drawn = rng.permuted(np.tile(np.arange(SIZES["h"]), (size[0], 1)), axis=1)[:, : size[-1]]
            arguments[array] = np.sort(drawn, axis=1) if array == "indices" else rng.standard_normal(size)
        numbers = {
            each: given_numbers[each] for each in inspect.signature(function).parameters if each in given_numbers
        }
        results = function(**arguments, **numbers)
        for result in results if isinstance(results, tuple) else [results]:
            assert result.shape == tuple(SIZES[letter] for letter in stated[1].strip("(),").split(", ")), name
        checked.add(name)
    assert {"pre_activations", "decode", "decode_backward_values", "cosine", "cosine_backward", "gather"} <= checked
