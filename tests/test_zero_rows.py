"""Zero rows: an error that names the first one, codes of zeros, or as if the rows were not there (R4)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    CompresSAE,
    DomainError,
    Index,
    Model,
    asymmetric_cosine,
    encode_fitted,
    encode_refined,
    evaluate,
    expanded_cosine,
    fit,
    init_params,
    load_codes,
    load_model,
    nonzero_rows,
    refine,
    row_source,
    save_codes,
    save_model,
    search,
    unit_blocks,
)
from compressae_ref.cli.main import main
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, ids_of
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.query import compare, search_store
from tests import memory_store
from tests.bounds import assert_same_bits, assert_same_codes

D, H, K = 6, 32, 4
MODEL = Model(init_params(D, H, np.random.default_rng(1)), K)
ITEMS = MODEL.encode(np.random.default_rng(2).standard_normal((12, D)))
TRAINING = {"n_latents": H, "k": K, "steps": 4, "batch_size": 8}
BACKENDS = ("numpy", "numba")


@st.composite
def rows_with_zeros(draw, fewest=1):
    """Rows of which some are zero: the first, the last, whole blocks, ±0; others are subnormal, and not zero."""
    n = draw(st.integers(fewest + 1, 40))
    x = (
        np.random.default_rng(draw(st.integers(0, 99)))
        .standard_normal((n, D))
        .astype(draw(st.sampled_from(["f4", "f8"])))
    )
    start, length = draw(st.integers(0, n)), draw(st.integers(0, 20))
    zero = draw(st.sets(st.sampled_from([0, n - 1, *range(n)]))) | {*range(start, min(n, start + length))}
    x[[*draw(st.sets(st.integers(0, n - 1)))], :] *= np.finfo(x.dtype).smallest_subnormal * 8
    x[~x.any(axis=1), -1] = -np.finfo(x.dtype).smallest_subnormal
    kept = sorted({*range(n)} - zero)
    kept = (kept + sorted(zero)[: fewest - len(kept)]) if len(kept) < fewest else kept
    zero = sorted({*range(n)} - {*kept})
    x[zero] = np.copysign(0, x[zero])
    return x


def mapped(x):
    return np.asfortranarray(x)


def rows_of_a_file(x):
    return EmbeddingRows(x.shape, x.dtype, lambda start, stop: x[start:stop])


def forwards(x):
    """A source that is read in blocks of 5 rows, from its start."""
    read = Forwards(lambda row: (0, (x[start : start + 5] for start in range(0, len(x), 5))))
    return EmbeddingRows(x.shape, x.dtype, read, sequential=True)


SOURCES = st.sampled_from([np.asarray, mapped, rows_of_a_file, forwards])


@pytest.fixture(autouse=True, params=[3, 2048], ids=["small blocks", "one block"])
def block_rows(request, monkeypatch):
    monkeypatch.setattr(unit_blocks, "ROWS_PER_BLOCK", request.param)
    monkeypatch.setattr(row_source, "STREAM_ROWS", request.param)


def assert_same_hits(ours, true):
    assert_same_bits(ours.ids, true.ids)
    assert_same_bits(ours.scores, true.scores)


# -- skip: as if the rows were not there ------------------------------------------------------------------------------


@given(rows_with_zeros(), SOURCES, st.sampled_from(BACKENDS))
def test_skip_gives_the_codes_of_the_other_rows(x, source, backend):
    left = x[nonzero_rows(x)]
    assert_same_bits(left, x[x.any(axis=1)])
    there = {"zero_rows": "skip", "backend": backend}
    assert_same_codes(MODEL.encode(source(x), **there), MODEL.encode(left, backend="numpy"))
    assert_same_codes(encode_refined(source(x), MODEL, **there), encode_refined(left, MODEL, backend="numpy"))
    wide = MODEL.encode(x, 3 * K, zero_rows="skip")
    refined = refine(wide, source(x), MODEL.params, K, **there)
    assert_same_codes(refined, refine(wide, left, MODEL.params, K, backend="numpy"))


@given(rows_with_zeros(fewest=3), SOURCES, st.sampled_from(BACKENDS), st.sampled_from(["skip", "empty"]))
def test_training_leaves_zero_rows_out(x, source, backend, zero_rows):
    left = np.flatnonzero(x.any(axis=1))
    first, second = np.triu_indices(len(left), 1)
    of_zero_rows = [(left[0], row) for row in np.flatnonzero(~x.any(axis=1))]
    related = np.array([*zip(left[first], left[second], strict=True), *of_zero_rows])
    for ours, true in ({}, {}), ({"relevance": related}, {"relevance": np.stack([first, second], axis=1)}):
        assert_trained_without_zero_rows(x, source(x), ours | {"zero_rows": zero_rows, "backend": backend}, true)


def assert_trained_without_zero_rows(x, source, options, true_options):
    ours = fit(source, validation_rows=1, **options, **TRAINING)
    true = fit(x[x.any(axis=1)], backend="numpy", validation_rows=1, **true_options, **TRAINING)
    assert (ours.model.digest, ours.model.training) == (true.model.digest, true.model.training)
    assert ours.record.validation_cosine == true.record.validation_cosine
    assert (ours.skipped, true.skipped) == ((~x.any(axis=1)).sum(), 0)


@given(rows_with_zeros(fewest=0), st.sampled_from(SPACES), st.sampled_from(BACKENDS), st.sampled_from([None, 7]))
def test_a_zero_query_leaves_the_others_alone(x, space, backend, rescore):
    """With "empty" its scores are 0 and the first items are returned, as for a code of zeros."""
    index = Index.build(ITEMS, space=space, model=MODEL, backend=backend)
    asked = np.flatnonzero(x.any(axis=1))
    true = index.search(x[asked], 5, rescore=rescore)
    assert_same_hits(index.search(x, 5, rescore=rescore, zero_rows="skip"), true)
    ids, scores = index.search(x, 5, rescore=rescore, zero_rows="empty")
    assert_same_bits(ids[asked], true.ids)
    assert_same_bits(scores[asked], true.scores)
    others = np.delete(np.arange(len(x)), asked)
    assert (ids[others] == np.arange(5)).all()
    assert not scores[others].any()
    assert not np.signbit(scores[others]).any()


@given(rows_with_zeros(fewest=0))
def test_a_zero_query_is_scored_as_a_code_of_zeros(x):
    """The cosine is clamped (R6), so a code of zeros has the score 0; a dense query of zeros agrees with it."""
    empty = MODEL.encode(x, zero_rows="empty")
    for space in ("sparse", "reconstructed"):
        settings = {"space": space, "model": MODEL}
        assert_same_hits(search(x, ITEMS, 5, zero_rows="empty", **settings), search(empty, ITEMS, 5, **settings))
    W_dec, asked = MODEL.params.W_dec, x[x.any(axis=1)]
    for cosine, more in ((asymmetric_cosine, ()), (expanded_cosine, (9,))):
        assert_same_bits(cosine(x, ITEMS, W_dec, *more, zero_rows="skip"), cosine(asked, ITEMS, W_dec, *more))
        assert not cosine(x, ITEMS, W_dec, *more, zero_rows="empty")[~x.any(axis=1)].any()


@given(rows_with_zeros(fewest=4), rows_with_zeros())
def test_evaluate_measures_what_is_left_and_keeps_the_numbers_of_relevant_pairs(items, queries):
    kept, asked = nonzero_rows(items).tolist(), nonzero_rows(queries).tolist()
    pairs = [(q, i) for q in range(len(queries)) for i in range(q % 3, len(items), 3)]
    pairs += [] if (asked[0], kept[0]) in pairs else [(asked[0], kept[0])]
    left = [(asked.index(q), kept.index(i)) for q, i in pairs if q in asked and i in kept]
    settings = {"tops": [2], "ks": [K], "backend": "numpy"}
    ours = evaluate(MODEL, items, queries, relevance=pairs, zero_rows="skip", **settings)
    assert ours == evaluate(MODEL, items[kept], queries[asked], relevance=left, **settings)
    empty = evaluate(MODEL, items, queries, relevance=pairs, zero_rows="empty", **settings)
    assert [row.method for row in empty] == [row.method for row in ours]
    assert empty[0].recall == {2: 1.0}


def test_pairs_of_zero_rows_alone_are_refused():
    x = np.eye(D)
    x[1] = 0
    with pytest.raises(DomainError, match="relevance: expected a relevant pair of rows that are not zero, got none"):
        evaluate(MODEL, x, x, tops=[1], relevance=[(0, 1), (1, 0)], zero_rows="skip")


# -- what is wrong ----------------------------------------------------------------------------------------------------

USES = {
    "fit": lambda x, **how: fit(x, **how, **TRAINING),
    "encode": MODEL.encode,
    "encode_refined": lambda x, **how: encode_refined(x, MODEL, **how),
    "encode_fitted": lambda x, **how: encode_fitted(x, MODEL, np.eye(D), steps=1, **how),
    "search": lambda x, **how: search(x, ITEMS, 3, model=MODEL, **how),
    "asymmetric": lambda x, **how: asymmetric_cosine(x, ITEMS, MODEL.params.W_dec, **how),
    "evaluate items": lambda x, **how: evaluate(MODEL, x, np.eye(D), tops=[1], **how),
    "evaluate queries": lambda x, **how: evaluate(MODEL, np.eye(D), x, tops=[1], **how),
}


@pytest.mark.parametrize("use", USES)
def test_error_is_the_default_and_says_what_to_do(use):
    x = np.ones((9, D))
    x[[4, 7]] = 0
    for how in ({}, {"zero_rows": "error"}):
        with pytest.raises(DomainError, match=r"expected nonzero rows, got a zero row in row 4; .*zero_rows=\"skip\""):
            USES[use](x, **how)
    USES[use](x, zero_rows="skip")
    for wrong in ("keep", True, None, ["skip"]):
        with pytest.raises(DomainError, match="zero_rows: expected 'error', 'empty' or 'skip', got "):
            USES[use](x, zero_rows=wrong)


@pytest.mark.parametrize("use", USES)
def test_rows_that_are_not_finite_are_named_by_their_number_among_all(use):
    x = np.ones((9, D))
    x[[0, 4]], x[6, 2] = 0, np.nan
    for zero_rows in ("skip", "empty"):
        with pytest.raises(DomainError, match="expected finite numbers, got NaN or infinity in row 6"):
            USES[use](x, zero_rows=zero_rows)


@pytest.mark.parametrize("n", [1, 10])
@pytest.mark.parametrize(
    "use", ["fit", "encode", "encode_refined", "encode_fitted", "evaluate items", "evaluate queries"]
)
def test_data_of_zero_rows_alone_are_told_as_such(use, n):
    with pytest.raises(DomainError, match="expected at least one nonzero row, got 1") as told:
        USES[use](np.zeros((n, D)), zero_rows="skip")
    assert f"got {n} row" in str(told.value)


def test_a_code_that_overflows_is_named_by_the_number_of_its_row():
    params = MODEL.params.copy()
    params.b_enc[:] = np.finfo("f4").max
    params.W_enc[0] = np.finfo("f4").max
    x = np.eye(D, dtype="f4")[[1, 2, 0, 0]]
    x[1] = 0
    with pytest.raises(DomainError, match="got a code with NaN or infinity in row 2"):
        Model(params, K).encode(x, zero_rows="skip", backend="numpy")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_query_of_a_centred_model_scores_0_in_every_space(space, backend):
    rng = np.random.default_rng(3)
    x, mean = rng.standard_normal((20, D)).astype("f4") + 1, np.full(D, 0.3, "f4")
    model = Model(replace(MODEL.params, mean=mean), K)
    queries = x[:3].copy()
    queries[1] = 0
    index = Index.build(model.encode(x, backend=backend), space=space, model=model, backend=backend)
    found = index.search(queries, 20, zero_rows="empty")
    assert found.ids[1].tolist() == [*range(20)]
    assert not found.scores[1].any()
    others = index.search(queries[[0, 2]], 20)
    assert_same_bits(found.scores[[0, 2]], others.scores)
    assert_same_bits(found.ids[[0, 2]], others.ids)


# -- scikit-learn and vector databases --------------------------------------------------------------------------------


@pytest.mark.parametrize("zero_rows", ["empty", "skip"])
def test_the_estimator_trains_without_zero_rows(zero_rows):
    x = np.random.default_rng(3).standard_normal((40, D))
    x[[0, 7, 39]] = 0
    settings = {"n_latents": H, "k": K, "steps": 4, "random_state": 0, "backend": "numpy"}
    left = x[x.any(axis=1)]
    for learn in ("fit", "partial_fit"):
        ours = getattr(CompresSAE(**settings, zero_rows=zero_rows), learn)(x)
        true = getattr(CompresSAE(**settings, zero_rows="error"), learn)(left)
        assert ours.model_.digest == true.model_.digest
        if zero_rows == "skip":
            assert ours.score(x) == true.score(left)
            with pytest.raises(
                DomainError, match="each row needs a code, got a zero row in row 0; use zero_rows='empty'"
            ):
                ours.transform(x)
            assert (ours.transform(left) != true.transform(left)).nnz == 0
        with pytest.raises(DomainError, match="expected at least one nonzero row, got 10 rows, all of them zero"):
            getattr(CompresSAE(**settings, zero_rows=zero_rows), learn)(np.zeros((10, D)))


@pytest.fixture
def store(request):
    x = np.random.default_rng(4).standard_normal((30, D)).astype("f4")
    x[[0, 11, 12, 29]] = 0
    name = request.node.name
    memory_store.COLLECTIONS[name] = {7 * row: {"dense": vector, "name": ""} for row, vector in enumerate(x)}
    memory_store.FIELDS.pop(name, None)
    return memory_store.MemoryStore(name)


@pytest.mark.parametrize("rows", [1, 4, 64])
def test_push_writes_no_codes_of_zero_vectors(store, rows):
    for written, before in ((26, 0), (0, 26)):
        pushed = push(store, MODEL, zero_rows="skip", rows=rows, backend="numpy")
        assert pushed[:3] == (pushed.field, written, before)
    assert [row for row in range(30) if store.read(pushed.field, [7 * row])[0] is None] == [0, 11, 12, 29]
    assert push(store, MODEL, zero_rows="empty", backend="numpy")[:3] == (pushed.field, 4, 26)
    assert push(store, MODEL, zero_rows="skip", backend="numpy")[:3] == (pushed.field, 0, 30)


def test_a_store_is_read_with_and_without_zero_vectors(store):
    assert [len(np.asarray(embeddings_of(store, zero_rows=how))) for how in ("skip", "empty")] == [26, 30]
    with pytest.raises(ValueError, match=r"got a zero vector in item 0; .*--zero-rows skip"):
        np.asarray(embeddings_of(store, zero_rows="error"))


def test_queries_of_zeros_in_a_store(store):
    for row in (0, 11, 12, 29):  # the search in the dense field of this store divides by norms
        del store._items[7 * row]
    push(store, MODEL, backend="numpy")
    x = np.random.default_rng(5).standard_normal((5, D)).astype("f4")
    x[[0, 3]] = 0
    true = search_store(store, MODEL, x[[1, 2, 4]], 3, backend="numpy")
    assert search_store(store, MODEL, x, 3, zero_rows="skip", backend="numpy") == true
    empty = search_store(store, MODEL, x, 3, zero_rows="empty", backend="numpy")
    assert (empty[1:3], empty[4:]) == (true[:2], true[2:])
    assert empty[0] == empty[3] == ([], [])
    both = compare(store, MODEL, x, 3, zero_rows="empty", backend="numpy")
    assert (both.codes, both.dense[0], len(both.dense)) == (empty, ([], []), 5)
    assert both.overlap == compare(store, MODEL, x[[1, 2, 4]], 3, backend="numpy").overlap
    with pytest.raises(DomainError, match="queries: expected at least one nonzero row, got 2 rows, all of them zero"):
        compare(store, MODEL, x[[0, 3]], 3, zero_rows="skip")


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """zeros.npz has two zero rows, with ids; left.npz is the same file without these rows."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(6).standard_normal((40, D)).astype("f4")
    x[[3, 39]] = 0
    kept = np.flatnonzero(x.any(axis=1))
    np.savez("zeros.npz", embeddings=x, ids=100 + np.arange(40))
    np.savez("left.npz", embeddings=x[kept], ids=100 + kept)
    np.save("q.npy", x[[5, 3, 6]])
    save_model("m.npz", MODEL)
    save_codes("items.npz", ITEMS)
    return x


def ran(line: str, capsys) -> tuple[str, str]:
    assert main([*line.split(), *([] if line.startswith("convert") else ["--backend", "numpy"])]) == 0
    return capsys.readouterr()


COMMANDS = {
    "train": "train {x}.npz -o out.npz --n-latents 32 --k 4 --steps 3",
    "encode": "encode m.npz {x}.npz -o out.npz",
    "encode --refine": "encode m.npz {x}.npz -o out.npz --refine",
    "encode --bytes": "encode m.npz {x}.npz -o out.npz --bytes 8 --k 2",
    "encode --anchors": "encode m.npz {x}.npz -o out.npz --anchors {x}.npz --fit-steps 2",
    "convert": "convert {x}.npz -o out.npz",
    "evaluate": "evaluate m.npz {x}.npz --top 3",
    "evaluate with queries": "evaluate m.npz {x}.npz q.npy --top 3",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_skip_is_the_file_without_these_rows_byte_for_byte(files, tmp_path, capsys, command):
    results = []
    for name in ("zeros", "left"):
        out, err = ran(COMMANDS[command].format(x=name) + " --zero-rows skip", capsys)
        written = tmp_path / "out.npz"
        results.append((out, written.read_bytes() if written.exists() else b""))
        assert (f"{name}.npz: 2 zero rows left out" in err) == (name == "zeros")
    assert results[0] == results[1]
    assert results[0] != ("", b"")


def test_convert_copies_zero_rows_unless_told_otherwise(files, capsys):
    ran("convert zeros.npz -o all.npz", capsys)
    assert_same_bits(np.asarray(open_embeddings("all.npz")), files)
    ran("convert zeros.npz -o some.npz --zero-rows skip", capsys)
    assert ids_of(open_embeddings("some.npz")).tolist() == [100 + row for row in range(40) if row not in (3, 39)]
    assert main(["convert", "zeros.npz", "-o", "never.npz", "--zero-rows", "error"]) == 1
    assert "zeros.npz: expected nonzero rows, got a zero row in row 3; to leave out" in capsys.readouterr().err


def test_search_names_the_query_by_its_row(files, capsys):
    alone = ran("search m.npz items.npz q.npy --json --zero-rows skip", capsys)
    assert [json.loads(line)["query"] for line in alone.out.splitlines()] == [0, 2]
    assert alone.err == "q.npy: 1 zero row left out\n"
    all_of_them = [
        json.loads(line)
        for line in ran("search m.npz items.npz q.npy --json --zero-rows empty", capsys).out.splitlines()
    ]
    assert [line["query"] for line in all_of_them] == [0, 1, 2]
    assert (all_of_them[1]["ids"], all_of_them[1]["scores"]) == ([*range(10)], [0.0] * 10)
    assert [json.dumps(all_of_them[row]) for row in (0, 2)] == alone.out.splitlines()


def test_encode_in_parts_refuses_to_skip(files, capsys):
    assert main(["encode", "m.npz", "zeros.npz", "-o", "parts", "--dask", "local:1", "--zero-rows", "skip"]) == 1
    assert "convert --zero-rows skip" in capsys.readouterr().err


def test_codes_and_models_are_those_of_the_other_rows(files, capsys):
    ran("encode m.npz zeros.npz -o c.npz --zero-rows skip", capsys)
    assert_same_codes(load_codes("c.npz"), MODEL.encode(files[files.any(axis=1)]))
    for how in ("skip", "empty"):
        ran(f"train zeros.npz -o {how}.npz --n-latents 32 --k 4 --steps 3 --zero-rows {how}", capsys)
    assert load_model("skip.npz").digest == load_model("empty.npz").digest
