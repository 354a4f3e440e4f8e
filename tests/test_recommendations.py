"""The benchmark of recommendations: its two models, its measures and its splits, on data of a few users."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.errors import FormatError
from tests import strategies as draw

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from benchmarks import recommenders
from benchmarks.recommenders import TOP, divided, ease, elsa, elsa_loss, interactions, split

BENCH = Path(__file__).parent.parent / "examples" / "bench.py"


def drawn(rng, users, items):
    """Return interactions of which each user has at least 5, and each item one."""
    x = (rng.random((users, items)) < 0.4).astype(float)
    x[:, :5] = 1
    x[rng.integers(users, size=items), np.arange(items)] = 1
    return x


@given(draw.generators(), st.floats(0.5, 50))
def test_ease_has_a_zero_diagonal_and_no_slope_elsewhere(rng, penalty):
    """The slope of |X - X B|² + penalty |B|² off the diagonal; numbers are below 30, so rounding stays below 1e-9."""
    x = drawn(rng, 20, 9)
    weights = ease(x, penalty)
    slope = 2 * (penalty * weights - x.T @ (x - x @ weights))
    assert not np.diag(weights).any()
    assert np.abs(slope[~np.eye(9, dtype=bool)]).max() < 1e-9
    assert np.abs(weights).max() > 1e-3


@given(draw.generators())
def test_slopes_of_elsa_are_those_of_finite_differences(rng):
    """A central difference errs by size² · a third derivative + rounding / size; norms are at least 0.1."""
    x, W = drawn(rng, 12, 8), rng.standard_normal((8, 3))
    W *= np.maximum(1, 0.5 / np.linalg.norm(W, axis=1, keepdims=True))
    direction = rng.standard_normal(W.shape)
    A = W / np.linalg.norm(W, axis=1, keepdims=True)
    scores = x @ A @ A.T - x
    if np.abs(scores).min() < 1e-3 or np.maximum(scores, 0).sum(axis=1).min() < 0.1:
        return  # the loss has a corner where a score is 0
    size = 1e-6
    before, after = (elsa_loss(W + sign * size * direction, x)[0] for sign in (-1, 1))
    loss, slope = elsa_loss(W, x)
    assert abs((after - before) / (2 * size) - np.sum(slope * direction)) < 1e-6
    positive = np.maximum(scores, 0)
    cosines = np.sum(positive * x, axis=1) / np.linalg.norm(positive, axis=1) / np.linalg.norm(x, axis=1)
    assert loss == pytest.approx(1 - cosines.mean(), abs=1e-12)


def test_elsa_learns_groups_of_items():
    rng = np.random.default_rng(0)
    x = np.kron(np.eye(2), np.ones((30, 12))) * (rng.random((60, 24)) < 0.7)
    *_, A = elsa(x, 8, 60, rng)
    assert np.allclose(np.linalg.norm(A, axis=1), 1)
    likeness = A @ A.T
    within = [likeness[group, group][~np.eye(12, dtype=bool)].mean() for group in (slice(12), slice(12, 24))]
    assert min(within) > likeness[:12, 12:].mean() + 0.3


@given(draw.generators())
def test_recall_and_ndcg_are_those_of_their_definition(rng):
    users = divided(drawn(rng, 6, 90), rng)
    scores = rng.standard_normal(users.history.shape)
    found = users.ranked(scores)
    recall, ndcg = users.recall(found), users.ndcg(found)
    for user, (history, targets) in enumerate(zip(users.history, users.targets, strict=True)):
        order = sorted(set(range(90)) - set(np.flatnonzero(history)), key=lambda item: -scores[user, item])[:TOP]
        assert found[user].tolist() == order
        wanted = set(np.flatnonzero(targets))
        assert recall[user] == len(wanted & set(order)) / min(TOP, len(wanted))
        gains = sum(1 / np.log2(2 + place) for place, item in enumerate(order) if item in wanted)
        assert ndcg[user] == pytest.approx(
            gains / sum(1 / np.log2(2 + place) for place in range(min(TOP, len(wanted))))
        )


@given(draw.generators())
def test_users_are_held_out_and_their_items_divided(rng):
    x = drawn(rng, 40, 30)
    parts = split(x, rng)
    assert [len(parts.train), len(parts.validation.history), len(parts.test.history)] == [28, 4, 8]
    for users in (parts.validation, parts.test):
        items = users.history + users.targets
        assert set(np.unique(items)) == {0, 1}
        shares = users.history.sum(axis=1) / items.sum(axis=1)
        assert ((shares > 0.65) & (shares < 0.95)).all()
    kept = x[:, x.any(axis=0)].shape[1]
    assert parts.train.any(axis=0).all()
    assert parts.train.shape[1] <= kept


@pytest.mark.slow
def test_the_benchmark_prints_its_table(tmp_path):
    rng = np.random.default_rng(0)
    likes = np.kron(np.eye(4), np.ones((30, 25))) * (rng.random((120, 100)) < 0.7) + (rng.random((120, 100)) < 0.05)
    rows = [f"{user}\t{item}\t5" for user, item in zip(*np.nonzero(likes), strict=True)]
    (tmp_path / "some.inter").write_text("\n".join(["user_id\titem_id\trating", *rows]) + "\n")
    small = ["--seeds", "0", "--latents", "64", "--k", "8", "--threads", "1"]
    command = [sys.executable, str(BENCH), "recommendations", str(tmp_path / "some.inter"), *small]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = {line.split(" | ")[0].removeprefix("| "): line for line in run.stdout.splitlines() if line.startswith("|")}
    assert "100.0 ± 0.0" in found["dense vectors (ELSA)"]
    share = re.search(r"\| (\d+\.\d) ± ", found["refined codes, dense queries"])
    assert float(share[1]) > 80
    assert {"popularity", "paper's loss: codes, sparse space", "items and users"} <= set(found)


def test_interactions_are_high_ratings_of_users_with_several(tmp_path, monkeypatch):
    monkeypatch.setattr(recommenders, "FEWEST", 2)
    path = tmp_path / "small.inter"
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float", "7\ta\t4\t1", "7\tb\t5\t2", "7\tc\t3\t3"]
    rows += ["9\ta\t4.0\t1", "9\td\t5\t1", "8\te\t5\t1"]
    path.write_text("\n".join(rows) + "\n")
    assert interactions(str(path)).tolist() == [[1, 1, 0], [1, 0, 1]]
    path.write_text("user_id\titem_id\n1\t2\n")
    with pytest.raises(FormatError, match=r"small\.inter: expected a column rating, got user_id, item_id"):
        interactions(str(path))
