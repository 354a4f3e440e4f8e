"""Evaluation: each row is what its search finds; baselines, relevance, the table and the picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    CompressaeError,
    DomainError,
    DTypeError,
    FormatError,
    Index,
    Model,
    ShapeError,
    encode_fitted,
    encode_refined,
    init_params,
    pack,
)
from compressae_ref.evaluation import baselines as baselines_module
from compressae_ref.evaluation.baselines import baselines, left_out, principal_components
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.evaluation.frontier import draw as draw_picture
from compressae_ref.evaluation.frontier import draw_figure, label, on_frontier, series, table
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.levels import MOST_BITS, allocated_bits, normal_error, normal_levels
from compressae_ref.evaluation.quantisers import Quantiser, rotated, transform_coded
from compressae_ref.files.relevance import as_relevance, load_relevance
from compressae_ref.metrics import ndcg_at, recall_at
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense
from tests import strategies as draw

D, H, K, N = 24, 96, 8, 400
TOPS = (5, 20)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, D))
    x = (centres[rng.integers(40, size=N + 30)] + 0.6 * rng.standard_normal((N + 30, D))).astype(np.float32)
    return Model(init_params(D, H, rng, init="tied"), K), x[:N], x[N:]


@pytest.fixture(scope="module")
def pairs(problem):
    rng = np.random.default_rng(1)
    return np.stack([np.repeat(np.arange(0, 30, 2), 4), rng.permutation(N)[:60], rng.integers(0, 3, 60)], axis=1)


@pytest.fixture(scope="module")
def rows(problem, pairs):
    model, x, x_q = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressae_ref.evaluation.baselines.has_faiss", lambda: False)
        return evaluate(model, x, x_q, ks=[8, 4], tops=TOPS, bits=[5, 8], relevance=pairs, baselines=True)


# -- rows -------------------------------------------------------------------------------------------------------------


def expected_ids(problem, row: Row) -> np.ndarray:
    """What a row's search finds, by the public functions."""
    model, x, x_q = problem
    codes = encode_refined(x, model, row.k) if row.refined else model.encode(x, row.k)
    if row.fitted:
        codes = encode_fitted(x, model, x, row.k)
    if row.bits is not None:
        codes = pack(codes, row.bits).unpack()
    if row.method == "split":
        return Index.build(codes.split_signs()).search(model.encode(x_q, row.query_k).split_signs(), 20).ids
    space, rescore = ("sparse", 200) if row.method == "two-stage" else (row.method, None)
    return Index.build(codes, space=space, model=model).search(x_q, 20, query_k=row.query_k, rescore=rescore).ids


def test_each_row_of_codes_is_what_its_search_finds(problem, rows, pairs):
    _, x, x_q = problem
    truth, relevance = nearest_dense(x_q, x, 20).ids, as_relevance(pairs, len(x_q), N)
    of_codes = [row for row in rows if row.k is not None]
    for row in of_codes:
        ids = expected_ids(problem, row)
        assert row.recall == {top: recall_at(ids[:, :top], truth[:, :top]) for top in TOPS}, row
        assert row.ndcg == ndcg_at(ids[:, :10], relevance)
    ways = {(row.method, row.refined, row.bits is not None) for row in of_codes}
    plain = ("sparse", "reconstructed", "asymmetric", "split", "expanded", "two-stage")
    assert ways == {
        *((method, False, False) for method in plain),
        ("sparse", False, True),
        ("two-stage", False, True),
        ("asymmetric", True, False),
        *((method, True, True) for method in ("reconstructed", "asymmetric", "expanded")),
    }  # fmt: skip
    assert len(of_codes) == len({(row.method, row.k, row.query_k, row.refined, row.bits) for row in of_codes})


def test_bytes_are_those_of_what_is_stored(problem, rows):
    model, x, _ = problem
    for row in rows:
        if row.k is not None:
            packed = None if row.bits is None else pack(model.encode(x[:1], row.k), row.bits)
            assert row.bytes_per_item == (8 * row.k if packed is None else packed.data.shape[1])
        assert row.compression == 4 * D / row.bytes_per_item
        assert row.queries_per_second > 0
    sizes = {row.method: row.bytes_per_item for row in rows if row.method in ("dense", "float16", "int8", "binary")}
    assert sizes == {"dense": 96, "float16": 48, "int8": 24, "binary": 3}


def test_components_take_as_many_bytes_as_codes_of_any_dtype(problem, monkeypatch):
    monkeypatch.setattr("compressae_ref.evaluation.baselines.has_faiss", lambda: False)
    _, x, x_q = problem
    model = Model(init_params(D, H, np.random.default_rng(0), init="tied", dtype=np.float64), K)
    rows = evaluate(model, x, x_q, ks=[4], tops=[5], baselines=True)
    assert {row.bytes_per_item for row in rows if row.method == "asymmetric" and row.bits is None} == {48}
    assert 48 in {row.bytes_per_item for row in rows if row.method == "PCA"}


def test_bits_alone_add_packed_rows_and_take_no_time(problem):
    model, x, x_q = problem
    usual = evaluate(model, x, x_q, tops=TOPS)
    more = evaluate(model, x, x_q, tops=TOPS, bits=[4])
    assert [row for row in more if row.bits is None] == usual
    packed = [row for row in more if row.bits is not None]
    assert {(row.bits, row.queries_per_second) for row in packed} == {(4, None)}
    assert {row.method for row in packed if row.refined} == {"reconstructed", "asymmetric", "expanded"}


def test_codes_that_are_fitted_to_the_items(problem):
    model, x, x_q = problem
    usual = evaluate(model, x, x_q, ks=[4], tops=TOPS, bits=[5])
    more = evaluate(model, x, x_q, ks=[4], tops=TOPS, bits=[5], fitted=True)
    added = [row for row in more if row.fitted]
    assert [row for row in more if not row.fitted] == usual
    ways = {("sparse", 4, None), ("sparse", 16, None), ("asymmetric", None, None), ("sparse", 16, 5)}
    assert {(row.method, row.query_k, row.bits) for row in added} == ways
    for row in added:
        assert row.recall[20] == recall_at(expected_ids(problem, row), nearest_dense(x_q, x, 20).ids)
    assert table(more).count("fitted codes, sparse space") == 3


def test_progress_is_told_of_each_row(problem):
    model, x, x_q = problem
    told: list[Row] = []
    assert evaluate(model, x, x_q, tops=[5], progress=told.append) == told


def test_k_may_exceed_that_of_the_model(problem):
    model, x, x_q = problem
    rows = evaluate(model, x, x_q, ks=[K, 3 * K], tops=[20])
    found = {row.k: row.recall[20] for row in rows if row.method == "asymmetric"}
    assert found[3 * K] > found[K]
    with pytest.raises(DomainError, match=f"k: expected k from 1 to n_latents = {H}, got {H + 1}"):
        evaluate(model, x, x_q, ks=[H + 1], tops=[20])


@pytest.mark.parametrize("changes", [{"ks": []}, {"tops": []}, {"tops": [N + 1]}, {"bits": [3]}, {"relevance": [[0]]}])
def test_bad_settings_are_refused(problem, changes):
    model, x, x_q = problem
    with pytest.raises(CompressaeError):
        evaluate(model, x, x_q, **{"tops": [5], **changes})


# -- baselines --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(problem):
    """Recall@20 of each baseline without faiss, by method and bytes."""
    _, x, x_q = problem
    x_unit, x_q = (unit_rows(each, np.float32) for each in (x, x_q))
    truth = nearest_dense(x_q, x_unit, 20).ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressae_ref.evaluation.baselines.has_faiss", lambda: False)
        ways = list(baselines(x_unit, [4 * D, 4 * D + 3, 40, 3], [24]))
    return {(way.method, way.bytes_per_item): recall_at(way.search(x_q, 20), truth) for way in ways}


def test_what_keeps_all_finds_all(found):
    assert found["PCA", 96] == found["truncation", 96] == 1
    assert found["float16", 48] > 0.98
    assert found["int8", 24] > 0.95


def test_what_keeps_less_finds_less(found):
    assert [size for method, size in found if method == "PCA"] == [96, 40, 24]
    for size in (40, 24):
        assert 1 > found["PCA", size] > found["truncation", size]
    assert found["float16", 48] > found["binary, rescored", 3] > found["binary", 3] > 20 / N
    assert found["int8, float32", 24 + 4 * D] == 1
    assert found["binary, float32", 3 + 4 * D] > found["binary, rescored", 3]


def test_binary_codes_are_compared_by_the_bits_that_differ(problem):
    _, x, x_q = problem
    x_unit, x_q = (unit_rows(each, np.float32) for each in (x, x_q))
    way = next(way for way in baselines(x_unit, [], []) if way.method == "binary")
    differ = ((x_q[:, None] > 0) != (x_unit > 0)).sum(axis=2)
    assert way.search(x_q, N).tolist() == np.argsort(differ, axis=1, kind="stable").tolist()


def test_principal_components_are_the_singular_vectors(problem):
    x_unit = unit_rows(problem[1], np.float64)
    components = principal_components(x_unit)
    np.testing.assert_allclose(components @ components.T, np.eye(D), atol=1e-12)
    singular = np.linalg.svd(x_unit)[1]
    np.testing.assert_allclose(np.linalg.norm(x_unit @ components.T, axis=0), singular, rtol=1e-10)


def test_quantisers_of_faiss_have_the_sizes_that_are_asked_for(problem, capfd):
    pytest.importorskip("faiss")
    _, x, x_q = problem
    x_unit, x_q = (unit_rows(each, np.float32) for each in (x, x_q))
    truth = nearest_dense(x_q, x_unit, 20).ids
    ways = [way for way in baselines(x_unit, [], [3]) if "Q" in way.method]
    rabitq = [("RaBitQ", 11), ("RaBitQ, 2 bits", 26), ("RaBitQ, 3 bits", 29), ("RaBitQ, 4 bits", 32)]
    rabitq = rabitq if left_out(N) is None else rabitq[:1]
    expected = [("PQ", 3), ("OPQ", 3), ("RQ", 3), ("LSQ", 3), *rabitq]
    assert [(way.method, way.bytes_per_item) for way in ways] == expected
    shares = [recall_at(way.search(x_q, 20), truth) for way in ways]
    assert min(shares) > 0.5
    assert shares[-len(rabitq) :] == sorted(shares[-len(rabitq) :])
    assert not [way for way in baselines(x_unit[:200], [], [7]) if "PQ" in way.method]
    assert "WARNING" not in "".join(capfd.readouterr())  # faiss prints some by itself for so few rows


def test_codebooks_of_a_residual_quantiser_fill_the_bytes():
    for d, size in ((384, 30), (384, 56), (384, 98), (384, 128), (768, 98), (24, 5), (7, 100), (1, 3), (5, 1)):
        parts, books = baselines_module._codebooks(d, size)
        assert d % parts == 0
        assert 1 <= books <= 8
        assert parts * books <= size
    assert [baselines_module._codebooks(384, size) for size in (5, 56, 98)] == [(1, 5), (8, 7), (12, 8)]


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(baselines_module, "has_faiss", lambda: True)
    monkeypatch.setattr(baselines_module, "_has_multi_bit_rabitq", lambda: True)
    assert left_out(256) is None
    assert "they need 256 items, and there are 255" in left_out(255)
    monkeypatch.setattr(baselines_module, "has_faiss", lambda: False)
    assert "faiss is not installed" in left_out(256)


# -- quantised components ---------------------------------------------------------------------------------------------


def quantised(problem, size: int):
    """Bytes and recall@20 of both quantisers of components."""
    x_unit, x_q = (unit_rows(each, np.float32) for each in problem[1:])
    mean, truth = x_unit.mean(axis=0), nearest_dense(x_q, x_unit, 20).ids
    ways = (
        transform_coded(x_unit, principal_components(x_unit), size),
        rotated(x_unit, mean, principal_components(x_unit - mean), size),
    )
    return [(stored, recall_at(search(x_q, 20), truth)) for stored, search in ways]


def test_quantised_components_find_more_the_more_bytes_they_have_and_in_the_end_all(problem):
    found = {size: quantised(problem, size) for size in (3, 6, 12, D, D + 1)}
    assert all(stored <= size for size, ways in found.items() for stored, _ in ways)
    assert [stored for stored, _ in found[12]] == [12, 12]
    for method in (0, 1):
        shares = [ways[method][1] for ways in found.values()]
        assert shares == sorted(shares)
        assert shares[0] > 2 * 20 / N
        assert shares[-1] > 0.99
    assert quantised(problem, 6) == found[6]


@given(draw.generators(), st.integers(1, 12), st.integers(0, 8 * 12 + 5))
def test_bits_are_within_the_budget_and_go_to_the_largest_variances(rng, m, budget):
    variances = rng.exponential(size=m)
    bits, more = allocated_bits(variances, budget), allocated_bits(variances, budget + 1)
    assert bits.sum() == min(budget, MOST_BITS * m)
    assert (np.diff(bits[np.argsort(-variances)]) <= 0).all()
    assert (more >= bits).all()
    errors = np.array([normal_error(b) for b in range(MOST_BITS + 1)])
    lost = variances[bits > 0] * (errors[bits - 1] - errors[bits])[bits > 0]
    won = variances[bits < MOST_BITS] * (errors[bits] - errors[np.minimum(bits + 1, MOST_BITS)])[bits < MOST_BITS]
    assert max(won, default=0.0) <= min(lost, default=np.inf)  # no bit helps more elsewhere


def test_levels_of_a_normal_variable_are_those_of_the_literature():
    np.testing.assert_allclose(normal_levels(1), [-0.7979, 0.7979], atol=1e-3)  # Max 1960, tables I and II
    np.testing.assert_allclose(normal_levels(2), [-1.510, -0.4528, 0.4528, 1.510], atol=1e-3)
    np.testing.assert_allclose([normal_error(b) for b in (1, 2, 3)], [0.3634, 0.1175, 0.03454], rtol=1e-3)


@given(draw.generators(), st.lists(st.integers(0, MOST_BITS), min_size=1, max_size=6), st.integers(1, 5))
def test_stored_bits_are_the_indices_of_the_nearest_levels(rng, bits, n):
    m = len(bits)
    levels = [np.sort(rng.standard_normal(2**b)) for b in bits]
    padded = np.stack([np.pad(each, (0, 256 - len(each)), mode="edge") for each in levels])
    quantiser = Quantiser(np.linalg.qr(rng.standard_normal((m + 2, m)))[0].T, np.array(bits), padded)
    x = rng.standard_normal((n, m + 2))
    indices = quantiser.indices(x)
    y = x @ quantiser.directions.T
    nearest = [[np.abs(each - value).argmin() for each, value in zip(levels, row, strict=True)] for row in y]
    assert indices.tolist() == nearest
    stored = quantiser.packed(indices)
    assert stored.shape == (n, quantiser.row_bytes) == (n, -(-sum(bits) // 8))
    assert (quantiser.unpacked(stored) == indices).all()
    adjusted = quantiser.adjusted(x, indices)
    assert (adjusted < 2**quantiser.bits).all()
    before, after = (
        np.einsum("ij,ij->i", y, values) / np.maximum(np.linalg.norm(values, axis=1), 1e-300)
        for values in map(quantiser.values, (indices, adjusted))
    )
    assert (after >= before - 1e-9).all()


# -- relevance --------------------------------------------------------------------------------------------------------


@given(draw.generators(), st.integers(1, 12), st.booleans())
def test_ndcg_is_one_for_the_best_order_and_less_for_any_other(rng, top, graded):
    n_q, n = 4, 15
    grades = rng.integers(0, 4 if graded else 2, (n_q, n))
    grades[0, 0] = 1
    pairs = np.stack([*np.nonzero(grades >= 0), grades.ravel()], axis=1)
    relevance = as_relevance(rng.permutation(pairs), n_q, n)
    best = np.argsort(-grades, axis=1, kind="stable")[:, :top]
    assert ndcg_at(best, relevance) == pytest.approx(1)
    other = rng.permuted(np.tile(np.arange(n), (n_q, 1)), axis=1)[:, :top]
    asked = [query for query in range(n_q) if grades[query].any()]
    discounts = 1 / np.log2(np.arange(2, top + 2))[: min(top, n)]
    gain, ideal = ([(grades[query][order[query]] * discounts).sum() for query in asked] for order in (other, best))
    value = ndcg_at(other, relevance)
    assert value == pytest.approx(np.mean(np.divide(gain, ideal)))
    assert 0 <= value <= 1 + 1e-12


def test_ndcg_of_a_known_case():
    relevance = as_relevance([[0, 7], [0, 3], [2, 5]], 3, 10)
    found = np.array([[3, 1, 7], [0, 1, 2], [0, 1, 2]])
    assert ndcg_at(found, relevance) == pytest.approx(((1 + 1 / 2) / (1 + 1 / np.log2(3)) + 0) / 2)


@pytest.mark.parametrize(
    ("pairs", "kind", "message"),
    [
        ([[0, 1, 1, 1]], ShapeError, r"got shape \(1, 4\)"),
        ([0, 1], ShapeError, r"got shape \(2,\)"),
        ([[0.5, 1]], DTypeError, "expected integers, got float64"),
        ([[0, 1], [3, 1]], DomainError, "expected the query from 0 to 2, got 3 in row 1"),
        ([[0, -1]], DomainError, "expected the item from 0 to 9, got -1 in row 0"),
        ([[0, 1, 1], [0, 2, -1]], DomainError, "expected the grade from 0 to 2147483647, got -1 in row 1"),
        ([[0, 1, 1], [1, 1, 1], [0, 1, 2]], DomainError, "got 0 and 1 again in row 2"),
        ([[0, 1, 0]], DomainError, "expected at least one pair with a grade above 0"),
    ],
)
def test_bad_relevance_is_named(pairs, kind, message):
    with pytest.raises(kind, match=message):
        as_relevance(pairs, 3, 10)


def test_relevance_files(tmp_path):
    text, array = tmp_path / "pairs.tsv", tmp_path / "pairs.npy"
    text.write_bytes(b"0\t7\t2\n\n1 3 1\r\n")
    np.save(array, [[0, 7, 2], [1, 3, 1]])
    for path in (text, array):
        assert load_relevance(path).tolist() == [[0, 7, 2], [1, 3, 1]]
    for wrong, expected in ((b"0 1\n0 1 2\n", "2 columns as in the first line"), (b"0 1\n-1 2\n", "row numbers")):
        text.write_bytes(wrong)
        with pytest.raises(CompressaeError, match=rf"pairs\.tsv: expected {expected}.* line 2$"):
            load_relevance(text)
    array.write_bytes(b"no array")
    with pytest.raises(FormatError, match=r"pairs\.npy"):
        load_relevance(array)
    text.write_bytes(b"")
    with pytest.raises(DomainError, match="at least one pair"):
        as_relevance(load_relevance(text), 3, 10)


# -- the table and the picture ----------------------------------------------------------------------------------------


def made(size: int, recall: float) -> Row:
    return Row("PCA", None, None, size, 1.0, {10: 0.0, 100: recall}, queries_per_second=1.0)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.1, 0.2, 0.3])), min_size=1, max_size=8))
def test_the_frontier_has_what_nothing_beats(points):
    rows = [made(*point) for point in points]
    for row in rows:
        beaten = any(
            (other.bytes_per_item <= row.bytes_per_item and other.recall[100] > row.recall[100])
            or (other.bytes_per_item < row.bytes_per_item and other.recall[100] == row.recall[100])
            for other in rows
        )
        assert on_frontier(row, rows) == (not beaten)


def test_the_table_is_ordered_by_bytes_and_marks_the_frontier(rows):
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table(rows).splitlines())
    assert head == [
        "items stored as", "k", "bits", "query k", "bytes/item", "smaller by", "recall@5", "recall@20", "nDCG@10",
        "queries/s",
    ]  # fmt: skip
    assert len(lines) == len(rows)
    sizes = [int(line[4]) for line in lines]
    assert sizes == sorted(sizes, reverse=True)
    marked = {(line[0].removesuffix(" •"), line[4]) for line in lines if line[0].endswith(" •")}
    assert marked == {(label(row), str(row.bytes_per_item)) for row in rows if on_frontier(row, rows)}
    assert ("float16", "48") in marked
    assert any(line[0].startswith("refined codes") for line in lines)


def test_the_picture_is_a_png(tmp_path, rows):
    pytest.importorskip("matplotlib")
    draw_picture(rows, tmp_path / "all.png")
    draw_picture([dataclasses.replace(row, ndcg=None) for row in rows if row.bits is None], tmp_path / "some.png")
    for name in ("all.png", "some.png"):
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_picture_has_few_lines_of_which_each_holds_its_rows(rows):
    lines = series(rows)
    assert len(lines) == 7
    ours = {line.label: line.points for line in lines if line.ours}
    assert list(ours)[:3] == ["refined, packed codes; dense queries", "codes; dense queries", "codes; sparse queries"]
    packed = [row for row in rows if row.method == "asymmetric" and row.refined and row.bits == 5]
    assert ours["refined, packed codes; dense queries"] == sorted(
        (row.bytes_per_item, row.recall[20]) for row in packed
    )
    longer = [row for row in rows if row.method == "sparse" and row.query_k == 4 * row.k and row.bits is None]
    assert ours["codes; sparse queries"] == sorted((row.bytes_per_item, row.recall[20]) for row in longer)
    assert {line.label for line in lines if not line.ours} == {
        "int8",
        "PCA, bits by variance",
        "PCA",
        "binary, re-ranked",
    }
    other_bits = series([row for row in rows if row.bits != 5])
    assert len(next(line for line in other_bits if "refined" in line.label).points) == 2


@given(st.lists(st.sampled_from([0.70, 0.71, 0.72, 0.9]), min_size=5, max_size=5))
def test_labels_of_the_picture_do_not_overlap(shares):
    pytest.importorskip("matplotlib")
    methods = ["asymmetric", "sparse", "int8", "OPQ", "PCA"]
    rows = [Row(m, 4, 16, 64, 1.0, {100: share}) for m, share in zip(methods, shares, strict=True)]
    figure = draw_figure(rows, "title")
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_quantisers_that_take_longest_can_be_left_out(problem):
    pytest.importorskip("faiss")
    _, x, _ = problem
    x_unit = unit_rows(x, np.float32)
    left = {way.method for way in baselines(x_unit, [], [3], ["OPQ", "LSQ"]) if "Q" in way.method}
    assert {"PQ", "RQ", "RaBitQ"} <= left
    assert not {"OPQ", "LSQ"} & left
