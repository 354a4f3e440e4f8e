"""The specification is a program: its blocks, extracted and run, give the bits of the package in float64."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import Model, asymmetric_cosine, ops, reconstructed_cosine, search, sparse_cosine, sums
from compressae_ref.adam import AdamConfig, adam_constants, project_decoder_gradient, renormalize_decoder
from compressae_ref.backends import get_backend
from compressae_ref.codes import Codes
from compressae_ref.model import forward, loss_and_grads, unit_rows
from tests import strategies as draw
from tests.bounds import assert_same_bits

SPEC = Path(__file__).parent.parent / "spec"
TEXT = (SPEC / "compressae.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
NUMPY = get_backend("numpy")


def extracted() -> SimpleNamespace:
    names: dict = {"math": math}
    for block in BLOCKS:
        exec(compile(block, "spec/compressae.md", "exec"), names)
    return SimpleNamespace(**names)


spec = extracted()


def rows(codes):
    """Codes as the specification has them: for each row a list of indices and one of values."""
    return list(zip(codes.indices.tolist(), codes.values.tolist(), strict=True))


def assert_same_code(ours, theirs):
    assert ours[0] == theirs[0]
    assert_same_bits(np.array(ours[1], float), np.array(theirs[1], float))


def arrays(problem):
    return [array.tolist() for array in problem.params.arrays().values()]


# -- the blocks against the package -----------------------------------------------------------------------------------


@given(draw.matrices(m=st.integers(1, 200), dtype=st.just("float64")), draw.generators())
def test_sums(a, rng):
    a = np.where(np.abs(a) < 1e-30, 0, a)
    b = rng.standard_normal(a.shape)
    assert_same_bits(sums.fold_sum(a), np.array([spec.fold_sum(row) for row in a.tolist()]))
    assert_same_bits(
        sums.row_dots(a, b), np.array([spec.dot(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)])
    )
    assert_same_bits(sums.row_norms(a), np.array([spec.norm(row) for row in a.tolist()]))


@given(draw.selections(), st.data())
def test_selection_and_the_split(selection, data):
    pre, k = selection
    pre = pre.astype(float)
    theirs = ops.abs_topk(pre, k)
    for row, code in zip(pre.tolist(), rows(theirs), strict=True):
        assert_same_code(code, spec.abs_topk(row, k))
    smaller = data.draw(st.integers(1, k))
    kept, rest = (rows(part) for part in ops.split_codes(theirs, smaller))
    for code, ours_kept, ours_rest in zip(rows(theirs), kept, rest, strict=True):
        theirs_kept, theirs_rest = spec.split_code(*code, smaller)
        assert_same_code(ours_kept, theirs_kept)
        assert_same_code(ours_rest, theirs_rest)


@given(draw.problems())
def test_the_forward_pass(problem):
    x_unit = unit_rows(problem.x, np.float64)
    acts = forward(x_unit, problem.params, problem.k, NUMPY)
    W_enc, b_enc, W_dec = arrays(problem)
    cos = ops.cosines(x_unit, acts.x_hat_k)
    codes = zip(rows(acts.codes_k), rows(acts.codes_rest), strict=True)
    for i, (code_k, code_rest) in enumerate(codes):
        ours = spec.unit_row(problem.x[i].tolist())
        assert_same_bits(x_unit[i], np.array(ours))
        spec_k, spec_rest, x_hat_k, x_hat_aux = spec.forward(ours, W_enc, b_enc, W_dec, problem.k)
        assert_same_code(code_k, spec_k)
        assert_same_code(code_rest, spec_rest)
        assert_same_bits(acts.x_hat_k[i], np.array(x_hat_k))
        assert_same_bits(acts.x_hat_aux[i], np.array(x_hat_aux))
        assert_same_bits(cos[i : i + 1], np.array([spec.cosine(ours, x_hat_k)]))


@given(draw.problems())
def test_the_gradients(problem):
    grads = problem.params.zeros_like()
    loss_and_grads(problem.x, problem.params, problem.k, NUMPY, grads)
    ours = spec.gradients(problem.x.tolist(), *arrays(problem), problem.k)
    for theirs, array in zip(grads.arrays().values(), ours, strict=True):
        assert_same_bits(theirs, np.array(array))


def test_a_gradient_through_a_clamped_norm():
    x_unit, x_hat = np.array([[0.6, 0.8]]), np.array([[1e-9, 2e-9]])
    ours = spec.cosine_backward(0.5, x_unit[0].tolist(), x_hat[0].tolist())
    assert_same_bits(ops.cosines_backward(np.array([0.5]), x_unit, x_hat)[0], np.array(ours))


@given(draw.generators(), st.integers(1, 1000), st.floats(1e-5, 0.3))
def test_a_step_of_adam(rng, t, lr):
    p, g, m, v = rng.standard_normal((4, 6)) * 10.0 ** rng.integers(-30, 3, (4, 6))
    v = np.abs(v)
    m[0], v[1], g[:2] = 1e-308, 1e-308, 0
    ours = [spec.adam(*each, t, lr) for each in zip(*(a.tolist() for a in (p, g, m, v)), strict=True)]
    NUMPY.adam_update(p, g, m, v, adam_constants(AdamConfig(lr), t, np.dtype(float)))
    for theirs, array in zip((p, m, v), zip(*ours, strict=True), strict=True):
        assert_same_bits(theirs, np.array(array))


@given(draw.generators(), st.integers(1, 5), st.integers(1, 40))
def test_unit_atoms_and_the_projection(rng, h, d):
    W_dec, grad = rng.standard_normal((2, h, d))
    ours = spec.renormalize(W_dec.tolist())
    renormalize_decoder(W_dec)
    assert_same_bits(W_dec, np.array(ours))
    projected = spec.project(grad.tolist(), ours)
    project_decoder_gradient(grad, W_dec)
    assert_same_bits(grad, np.array(projected))


@given(draw.problems(n=st.integers(1, 6)), st.data())
def test_similarity_in_every_space_and_search(problem, data):
    model = Model(problem.params, problem.k)
    items, W_dec, h = model.encode(problem.x), problem.params.W_dec, problem.params.n_latents
    query = model.encode(problem.x[:1], data.draw(st.integers(1, h)))
    x_unit = spec.unit_row(problem.x[0].tolist())
    (asked,), stored, atoms = rows(query), rows(items), W_dec.tolist()
    scores = {
        "sparse": (sparse_cosine(query, items), [spec.sparse_cosine(asked, item, h) for item in stored]),
        "reconstructed": (
            reconstructed_cosine(query, items, W_dec),
            [spec.reconstructed_cosine(asked, item, atoms) for item in stored],
        ),
        "asymmetric": (
            asymmetric_cosine(problem.x[:1], items, W_dec),
            [spec.asymmetric_cosine(x_unit, item, atoms) for item in stored],
        ),
    }
    for space, (theirs, ours) in scores.items():
        assert_same_bits(theirs[0], np.array(ours))
        hits = search(problem.x[:1] if space == "asymmetric" else query, items, len(stored), space=space, model=model)
        assert hits.ids[0].tolist() == spec.best(ours, len(stored))


# -- the blocks themselves --------------------------------------------------------------------------------------------


def test_every_equation_has_its_place_once():
    stated = re.findall(r"\*\*([ER]\d+'*)\*\*", TEXT)
    assert len(stated) == len(set(stated)), sorted(name for name in stated if stated.count(name) > 1)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("(")[0].removeprefix("def "))
def test_blocks_need_nothing_but_math(block):
    assert not re.search(r"\b(import|numpy|np|class|yield|async|map|filter|reduce)\b", block)
    assert max(map(len, block.splitlines())) <= 120


def test_every_name_of_the_notation_is_used_in_the_code():
    rows_of_table = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", (SPEC / "notation.md").read_text("utf-8"), re.M)
    names = [name for cell, _ in rows_of_table for name in re.findall(r"`(\w+)`", cell)]
    code = "".join(path.read_text("utf-8") for path in (SPEC.parent / "compressae_ref").rglob("*.py"))
    assert len(names) > 10
    assert [name for name in names if name != "grad_y" and not re.search(rf"\b{name}\b", code)] == []


def test_codes_of_the_specification_are_codes_of_the_package():
    indices, values = spec.abs_topk([0.0, -3.0, 2.0, -0.0], 3)
    code = Codes(np.array([indices]), np.array([values]), 4)
    assert (code.indices.tolist(), code.values.tolist()) == ([[0, 1, 2]], [[0, -3, 2]])
