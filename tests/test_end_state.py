"""Stores whose dense field is dropped after a push: what was printed is typed, and all commands go on."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from compressae_ref import Model, encode_refined, init_params, save_model
from compressae_ref.cli.given import to_run
from compressae_ref.cli.main import main
from compressae_ref.cli.store_commands import tell_few_codes, tell_searches
from compressae_ref.errors import DomainError, StoreError
from compressae_ref.files.foreign.write import write_embeddings
from compressae_ref.item_ids import as_ids
from compressae_ref.stores.audit import audit_store
from compressae_ref.stores.contract import Found, open_store
from compressae_ref.stores.coverage import codes_to_write
from compressae_ref.stores.decoded import decoded
from compressae_ref.stores.evaluate import evaluate_store
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.push_from import push_from, source_of_rows, source_of_store
from compressae_ref.stores.query import search_store
from tests import memory_store
from tests.engines import DENSE, ENGINES, Engine
from tests.test_stores import MODEL, QUERIES, K, X, assert_stored, unit

pytestmark = pytest.mark.usefixtures("ends")

SET = {"backend": "numpy"}
N = 60
"""Items in the store; vectors with later ids are new."""


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, tmp_path_factory):
    return Engine(request.param, tmp_path_factory.mktemp(request.param))


def source(ids, x, name="new vectors"):
    return source_of_rows(x, as_ids(ids, len(ids)), name)


def drop_dense(engine, store, address, field):
    """Do what the store says, and return the opened store without a dense field."""
    steps = store.next_steps(field, cosine=True)
    store.close()
    run_steps(engine, address, [step.statement for step in steps])
    return open_store(address)


def run_steps(engine, address, statements):
    if engine.engine == "memory":
        for item in memory_store.COLLECTIONS[address.removeprefix("memory:")].values():
            del item["dense"]
    elif engine.engine == "pgvector":
        for statement in statements:
            engine._execute(statement)
    elif engine.engine == "edge":
        exec(statements[0])
    else:
        client = engine._client(address) if engine.engine == "qdrant" else engine._milvus()[0]
        for statement in statements:
            exec(statement, {"client": client})
        client.close() if engine.engine == "qdrant" else engine._done(client)


def change(engine, address, ids, x):
    """Give items other dense vectors, as their application does; their codes stay."""
    for key, vector in zip(ids, x, strict=True):
        if engine.engine == "memory":
            memory_store.COLLECTIONS[address.removeprefix("memory:")][key][DENSE] = vector
        elif engine.engine == "pgvector":
            table = address.rpartition("=")[2]
            engine._execute(f"UPDATE {table} SET dense = '{vector.tolist()}' WHERE key = {key}")
        elif engine.engine == "edge":
            store = open_store(address)
            store._update(
                store.edge.UpdateOperation.update_vectors([store.edge.PointVectors(key, {DENSE: vector.tolist()})])
            )
            store.close()
        elif engine.engine == "qdrant":
            from qdrant_client import models

            client = engine._client(address)
            point = models.PointVectors(id=key, vector={DENSE: vector.tolist()})
            client.update_vectors(address.partition("=")[2], [point])
            client.close()
        else:
            client, _ = engine._milvus()
            client.upsert(address.partition("=")[2], [{"key": key, DENSE: vector.tolist(), "name": f"n{key}"}])
            engine._done(client)


def forget_vectors(engine, address, ids):
    """Take the dense vectors of items away; their codes stay. Milvus cannot do it: there the items go."""
    if engine.engine == "memory":
        for key in ids:
            del memory_store.COLLECTIONS[address.removeprefix("memory:")][key][DENSE]
    elif engine.engine == "pgvector":
        engine._execute(f"UPDATE {address.rpartition('=')[2]} SET dense = NULL WHERE key IN ({str(ids)[1:-1]})")
    elif engine.engine == "edge":
        store = open_store(address)
        store._update(store.edge.UpdateOperation.delete_vectors(ids, [DENSE]))
        store.close()
    else:
        client = engine._client(address) if engine.engine == "qdrant" else engine._milvus()[0]
        if engine.engine == "qdrant":
            client.delete_vectors(address.partition("=")[2], [DENSE], ids)
            client.close()
        else:
            client.delete(address.partition("=")[2], ids=ids)
            engine._done(client)


def outputs(line, address, capsys):
    """Run a command on a store, and return all that it prints."""
    name, *options = line.split()
    assert run(name, "model.npz", address, *options) == 0
    return "".join(capsys.readouterr())


# -- every engine ------------------------------------------------------------------------------------------------------


def test_items_without_a_vector_are_counted_and_keep_their_codes(engine, tmp_path, monkeypatch, capsys):
    """A dry run counts what the push writes, and no push deletes a code that it cannot write again."""
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", MODEL)
    ids = engine.ids(N)
    address = engine.make(ids[:50], X[:50])
    store = open_store(address)
    assert (codes_to_write(store, "codes"), store.count_bare("codes")) == (50, 0)
    field = push(store, MODEL, **SET).field
    store.close()
    forget_vectors(engine, address, ids[:7])
    engine.insert(address, ids[50:], X[50:N])
    forget_vectors(engine, address, ids[50:52])
    bare = 0 if engine.engine == "milvus" else 2
    assert run("push", "model.npz", address, "--dry-run") == 0
    assert f"field {field}: 8 codes of {K} entries to write, 50 already present" in capsys.readouterr().out
    store = open_store(address)
    assert (codes_to_write(store, field), store.count_bare(field)) == (8, bare)
    assert store.count_bare("codes") == (0 if engine.engine == "milvus" else 9)
    assert push(store, MODEL, **SET)[1:4] == (8, 50, 0)
    blocks = [*store.codes_alone(field, 3)]
    assert [key for block in blocks for key in block] == ids[:7]
    assert 0 < min(map(len, blocks)) <= max(map(len, blocks)) <= 3
    audit = audit_store(store, MODEL, **SET)
    assert (audit.passed(), audit.identical + audit.rounded, audit.bare, audit.not_compared) == (True, 51, bare, 7)
    got = f"got 7 items with a code and without a vector: {', '.join(map(str, ids[:7]))}"
    with pytest.raises(StoreError, match=got):
        push(store, MODEL, replace=True, **SET)
    assert store.count_written(field) == 58
    store.close()
    said = {line: outputs(line, address, capsys) for line in ("push", "push --dry-run", "verify --store")}
    for line, text in said.items():
        assert ("2 items have neither a vector nor a code in this field" in text) == bool(bare), line
        before, _, after = text.partition("neither a vector")
        assert "what may follow" not in before or not after
    for more in ((), ("--dry-run",)):
        assert run("push", "model.npz", address, "--replace", *more) == 1
        out, err = capsys.readouterr()
        assert (out, got in err, err.count("\n")) == ("", True, 1)
    store = open_store(address)
    assert store.count_written(field) == 58
    store.erase(field, ids[:7])
    assert codes_to_write(store, field, replace=True) == 51
    assert push(store, MODEL, replace=True, **SET)[1:4] == (51, 0, 0)
    store.close()


def test_all_goes_on_when_the_dense_field_is_gone(engine):
    ids = engine.ids(N + 5)
    address = engine.make(ids[:N], X[:N])
    store = open_store(address)
    try:
        pushed = push(store, MODEL, **SET)
        dense = np.concatenate([block.x for block in store.scroll(N)])
        kept = source(ids[:N], dense, "kept")
        before = evaluate_store(store, MODEL, QUERIES, [10], **SET)
        assert [row.vectors for row in before] == ["dense", "codes"]
        assert before[0].recall[10] == 1
        audit = audit_store(store, MODEL, **SET)
        assert audit.passed()
        assert audit.identical + audit.rounded == N
        store = drop_dense(engine, store, address, pushed.field)
        assert store.dense is None
        assert store.count() == N
        (after,) = evaluate_store(store, MODEL, QUERIES, [10], dense=kept, **SET)
        assert after.recall == before[1].recall
        assert before[1].agreement == after.agreement == {10: 1}
        assert evaluate_store(store, MODEL, QUERIES, [10], **SET)[0].recall is None
        new = np.concatenate([dense, X[N : N + 5]])
        new[3] = X[-1]
        changed = push_from(store, MODEL, source(ids, new), on_missing="insert", rows=7, **SET)
        assert changed[1:] == (5, N - 1, 1, 5, 0, 0, 0)
        assert_stored(store, pushed.field, ids, unit(MODEL.encode(new, **SET)))
        assert push_from(store, MODEL, source(ids, new), **SET)[1:4] == (0, N + 5, 0)
        assert store.count_written(pushed.field) == N + 5
        audit = audit_store(store, MODEL, kept, **SET)
        assert (audit.identical + audit.rounded, audit.wrong, audit.first_wrong) == (N - 1, 1, ids[3])
        assert (audit.not_compared, audit.passed()) == (5, False)
        for refused in (embeddings_of, lambda store: push(store, MODEL, **SET), lambda store: store.query_dense(X, 1)):
            with pytest.raises(StoreError, match="expected a field of dense vectors, got a store without one; "):
                refused(store)
    finally:
        store.close()


def test_changed_vectors_are_seen_by_their_digests(engine):
    ids = engine.ids(N)
    address = engine.make(ids, X[:N])
    store = open_store(address)
    push(store, MODEL, **SET)
    store.close()
    change(engine, address, [ids[4], ids[9]], X[[100, 101]])
    store = open_store(address)
    pushed = push(store, MODEL, **SET)
    assert pushed[1:4] == (0, N - 2, 2)
    assert audit_store(store, MODEL, **SET).wrong == 0
    assert push(store, MODEL, **SET)[1:] == (0, N, 0, 0, 0, 0, 0)
    store.close()


def test_a_vector_that_becomes_zero_loses_its_code(engine):
    ids = engine.ids(N)
    address = engine.make(ids, X[:N])
    store = open_store(address)
    field = push(store, MODEL, **SET).field
    store.close()
    change(engine, address, ids[5:6], np.zeros_like(X[:1]))
    store = open_store(address)
    with pytest.raises(StoreError, match=f"got a zero vector in item {ids[5]}"):
        push(store, MODEL, **SET)
    assert push(store, MODEL, zero_rows="skip", **SET)[1:4] == (0, N - 1, 0)
    assert [code is None for code in store.read(field, ids[4:7])] == [False, True, False]
    assert push(store, MODEL, zero_rows="skip", **SET).skipped == 1
    store.close()


def test_a_field_without_digests_goes_on_and_says_what_is_not_checked(engine):
    """Codes of earlier versions of the package: their vectors are not known to be those of the codes."""
    ids = engine.ids(N)
    address = engine.make(ids, X[:N])
    store = open_store(address)
    field = push(store, MODEL, **SET).field
    stored = store.read(field, ids)
    forget_digests(engine, store, address, field)
    store = open_store(address)
    assert store.has_field(field)
    assert store.digests(field, ids) == [0] * N
    pushed = push(store, MODEL, **SET)
    assert pushed[1:] == (0, N, 0, 0, N, 0, 0)
    assert store.read(field, ids) == stored
    assert push_from(store, MODEL, source(ids[:9], X[:9]), **SET).changed == 9
    expected = [0] * (N if engine.engine == "milvus" else N - 9)  # Milvus cannot add a field
    assert store.digests(field, ids)[-len(expected) :] == expected
    store.close()


def forget_digests(engine, store, address, field):
    if engine.engine == "pgvector":
        store._run("ALTER TABLE {table} DROP COLUMN {digest}", digest=f"{field}_digest")
    elif engine.engine == "edge":
        store._update(store.edge.UpdateOperation.delete_vector_name(f"{field}_digest"))
    elif engine.engine == "qdrant":
        store._client.delete_vector_name(store._collection, f"{field}_digest")
    elif engine.engine == "memory":
        for item in store._items.values():
            del item[f"{field}_digest"]
    else:
        codes = [*store.scroll_codes(field, N)]
        store.drop_field(field)
        schema = store._client.create_schema(auto_id=False)
        schema.add_field("key", store._types.INT64, is_primary=True)
        schema.add_field("code", store._types.SPARSE_FLOAT_VECTOR)
        index = store._client.prepare_index_params()
        index.add_index("code", metric_type="IP", index_type="SPARSE_INVERTED_INDEX")
        store._client.create_collection(store._beside(field), schema=schema, index_params=index)
        for block in codes:
            items = zip(block.ids, (dict(zip(*code, strict=True)) for code in block.codes), strict=True)
            store._client.upsert(store._beside(field), [{"key": key, "code": code} for key, code in items])
    store.close()


def test_a_zero_vector_of_a_file_that_is_skipped_leaves_the_stored_code_alone(engine, capsys, tmp_path):
    ids = engine.ids(N)
    address = engine.make(ids, X[:N])
    store = open_store(address)
    field = push(store, MODEL, **SET).field
    before = store.read(field, ids), store.digests(field, ids)
    x = X[:N].copy()
    x[[3, 7]] = 0
    pushed = push_from(store, MODEL, source(ids, x), zero_rows="skip", **SET)
    assert (pushed.written, pushed.changed, pushed.skipped) == (0, 0, 2)
    for code, stored in zip(store.read(field, ids), before[0], strict=True):
        assert [np.asarray(part).tolist() for part in code] == [np.asarray(part).tolist() for part in stored]
    assert store.digests(field, ids) == before[1]
    store.close()
    save_model(tmp_path / "m.npz", MODEL)
    np.savez(tmp_path / "new.npz", embeddings=x, ids=np.array(ids))
    line = ["push", tmp_path / "m.npz", address, "--from", tmp_path / "new.npz", "--zero-rows", "skip", "--dry-run"]
    assert main([*map(str, line), "--k", str(K), "--backend", "numpy"]) == 0
    assert "2 vectors of zeros left out" in capsys.readouterr().out


@pytest.mark.parametrize(("how", "counts"), [("insert", (3, 0, 0, 3, 0, 0, 0)), ("skip", (0, 0, 0, 0, 0, 0, 3))])
def test_ids_that_the_store_does_not_have(engine, how, counts):
    ids = engine.ids(N + 3)
    address = engine.make(ids[:N], X[:N])
    store = open_store(address)
    message = rf"\(.*, such as 1, 8, 15\), got 3 unknown of 63 ids in new vectors: {ids[N]}, .* \(integer\); if the ids"
    with pytest.raises(StoreError, match=message):
        push_from(store, MODEL, source(ids, X[: N + 3]), rows=9, **SET)
    field = f"codes_{MODEL.digest[:8]}_k{K}"
    assert not store.has_field(field)
    pushed = push_from(store, MODEL, source(ids[N:], X[N : N + 3]), on_missing=how, **SET)
    assert pushed[1:] == counts
    assert store.count_written(field) == counts[0]
    with pytest.raises(DomainError, match="expected ids with the vectors, got vectors without ids; name them"):
        source_of_rows(X, None, "x.npy")
    store.close()


@pytest.mark.parametrize("how", ["error", "insert", "skip"])
@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_ids_of_another_type_are_not_written(engine, kind, how):
    """The file has "8" where the store has 8, or the other way round."""
    ids = engine.ids(N, kind)
    wrong = ["8", "15"] if kind == "numbers" else [-8, -15]
    address = engine.make(ids, X[:N])
    store = open_store(address)
    vectors = source(wrong, X[:2])
    got = r"got 2 of another kind among 2 ids in new vectors: .*15'? \((string|integer)\); convert"
    for dry_run in (True, False):
        with pytest.raises(StoreError, match=got) as refused:
            push_from(store, MODEL, vectors, on_missing=how, dry_run=dry_run, **SET)
        assert f"such as {ids[0]!r}" in str(refused.value)
        assert not store.has_field(f"codes_{MODEL.digest[:8]}_k{K}")
    assert not any(store.known([key for key, held in zip(wrong, store.holds(wrong), strict=True) if held]))
    assert store.count() == N
    store.close()


def test_vectors_come_from_another_store(engine):
    ids = engine.ids(N)
    address, other = engine.make(ids[:40], X[:40]), engine.make(ids[30:N], X[30:N])
    if engine.engine == "milvus":
        pytest.skip("one process opens a file of Milvus Lite once")
    store, new = open_store(address), open_store(other)
    with pytest.raises(
        StoreError, match=r"got 20 unknown of 30 ids in .*: 281, .* and 10 more \(integer\); if the ids"
    ):
        push_from(store, MODEL, source_of_store(new), rows=8, **SET)
    assert not store.has_field(f"codes_{MODEL.digest[:8]}_k{K}")
    dry = push_from(store, MODEL, source_of_store(new), on_missing="insert", rows=8, dry_run=True, **SET)
    assert push_from(store, MODEL, source_of_store(new), on_missing="insert", rows=8, **SET) == dry
    assert dry[1:] == (30, 0, 0, 20, 0, 0, 0)
    assert audit_store(store, MODEL, source_of_store(new), **SET).identical == 30
    store.close()
    new.close()


@pytest.mark.parametrize("form", [{}, {"space": "expanded", "refine": True, "k": 7}])
@pytest.mark.parametrize("mean", [0, 0.1])
def test_codes_are_decoded_when_the_dense_field_is_gone(engine, form, mean):
    """The law: the decoded vectors are those of the codes that the model makes, whatever the store has scaled."""
    ids = engine.ids(N, "texts")
    params = MODEL.params if not mean else replace(MODEL.params, mean=np.full(X.shape[1], mean, np.float32))
    model = Model(params, K)
    address = engine.make(ids, X[:N])
    store = open_store(address)
    dense = np.concatenate([block.x for block in store.scroll(N)])
    store = drop_dense(engine, store, address, push(store, model, **form, **SET).field)
    blocks = [*decoded(store, model, rows=9, **form, **SET)]
    assert max(len(block.ids) for block in blocks) <= 9
    codes = encode_refined(dense, model, 7, **SET) if form else model.encode(dense, **SET)
    expected = dict(zip(ids, model.decode(codes, **SET), strict=True))
    found = {key: x for block in blocks for key, x in zip(block.ids, block.x, strict=True)}
    assert found.keys() == expected.keys()
    for key, x in found.items():
        np.testing.assert_allclose(x, expected[key] / np.linalg.norm(expected[key]), atol=1e-5)
    with pytest.raises(StoreError, match="expected a field 'mine' of codes, got a store without it; it has other"):
        next(decoded(store, model, field="mine", **SET))
    store.close()


def test_what_an_engine_misses_is_counted(tmp_path_factory, monkeypatch):
    memory = Engine("memory", tmp_path_factory.mktemp("misses"))
    address = memory.make([*range(N)], X[:N])
    store = open_store(address)
    push(store, MODEL, space="asymmetric", **SET)
    settings = {"space": "asymmetric", **SET}
    found = search_store(store, MODEL, QUERIES, 10, **settings)
    best = {query: {hits.ids[0]: 2, hits.ids[1]: 1} for query, hits in enumerate(found)}
    assert evaluate_store(store, MODEL, QUERIES, [5, 10], relevance=best, **settings)[1].ndcg == 1
    query = memory_store.MemoryStore.query

    def without_the_best(self, field, vectors, top, *, cosine=False):
        return [Found(hits.ids[1:], hits.scores[1:]) for hits in query(self, field, vectors, top, cosine=cosine)]

    monkeypatch.setattr(memory_store.MemoryStore, "query", without_the_best)
    codes = evaluate_store(store, MODEL, QUERIES, [5, 10], relevance=best, **settings)[1]
    assert codes.agreement == {5: pytest.approx(0.8), 10: pytest.approx(0.9)}
    assert codes.fewest == 9
    assert codes.ndcg == pytest.approx(1 / (2 + 1 / np.log2(3)))


@pytest.mark.parametrize(("fewest", "index"), [(40, "hnsw index i"), (100, "hnsw index i"), (100, None)])
def test_a_search_says_whether_it_was_exact_and_what_to_set(fewest, index, capsys):
    store = SimpleNamespace(name="shop", fewer="set this", accuracy="set that")
    tell_searches(store, {"the dense field": (index, fewest), "the codes": (None, 100)}, 100)
    first, *rest = capsys.readouterr().err.splitlines()
    how = "exact" if index is None else "by an approximate hnsw index i"
    assert first == f"shop: search in the dense field: {how}; search in the codes: exact"
    few = "shop: the dense field: a query got 40 of 100 items: set this"
    missed = "shop: an approximate index may miss items; to miss fewer, set that"
    assert rest == ([few] if fewest < 100 else [missed] if index else [])


def test_a_search_says_why_it_found_few_items(capsys):
    store = SimpleNamespace(
        name="shop", fewer="set this", count=lambda: 8000, count_written={"few": 5, "all": 8000}.get
    )
    tell_searches(store, {"the codes": (None, 5)}, 10)
    told = capsys.readouterr().err
    assert "shop: the codes: a query got 5 of 10 items: an exact search finds all items that have vectors there" in told
    assert "set this" not in told
    tell_few_codes(store, "few")
    expected = "shop: field few has codes of 5 of 8,000 items: a search there misses the others\n"
    assert capsys.readouterr().err == expected
    tell_few_codes(store, "all")
    assert capsys.readouterr().err == ""


# -- the commands, in PostgreSQL ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    return Engine("pgvector", tmp_path_factory.mktemp("end"))


def run(*line):
    return main([*line, "--backend", "numpy"])


ROWS, TABLE = 1200, '"The shop"."the ""items"""'
VECTORS = np.random.default_rng(5).standard_normal((ROWS + 20, 384)).astype(np.float32)
WIDE = Model(init_params(384, 512, np.random.default_rng(6)), 32)


@pytest.fixture
def shop(postgres, tmp_path, monkeypatch):
    """Return the address of a table with an index on the dense column."""
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", WIDE)
    np.save("queries.npy", VECTORS[:20])
    columns = '"Key" bigint PRIMARY KEY, name text DEFAULT \'none\', "de nse" vector(384)'
    postgres._execute('DROP SCHEMA IF EXISTS "The shop" CASCADE')
    postgres._execute('CREATE SCHEMA "The shop"')
    postgres._execute(f"CREATE TABLE {TABLE} ({columns})")
    rows = [(key, f"n{key}", str(vector)) for key, vector in enumerate(VECTORS[:ROWS].tolist())]
    postgres._execute(f"INSERT INTO {TABLE} VALUES (%s, %s, %s)", rows)
    postgres._execute(f'CREATE INDEX ON {TABLE} USING hnsw ("de nse" vector_cosine_ops)')
    return f'{postgres.uri}&table=The shop.the "items"'


def weight(postgres):
    return postgres._execute(f"SELECT pg_table_size('{TABLE}'), pg_total_relation_size('{TABLE}')")[0]


def push_and_drop(postgres, address, capsys):
    """Push, type what was printed, and check the bytes that it has said."""
    before = weight(postgres)
    assert run("push", "model.npz", address) == 0
    said = capsys.readouterr().err
    assert f"{ROWS} codes written, 0 changed, 0 already present" in said
    assert f"on disk before: total {before[1]:,} bytes, table {before[0]:,} bytes" in said
    parts = "total {0} bytes, table {0} bytes, indexes {0} bytes, toast {0} bytes, dead rows".format(r"[\d,]+")
    assert re.search(f"; now: {parts}", said)
    statements = re.findall(r"^  (\w.*;)$", said, re.M)
    assert statements == [
        f'CREATE INDEX ON {TABLE} USING hnsw ("codes_{WIDE.digest[:8]}_k32" sparsevec_cosine_ops);',
        'DROP INDEX "The shop"."the ""items""_de nse_idx";',
        f'ALTER TABLE {TABLE} DROP COLUMN "de nse";',
        f"VACUUM FULL {TABLE};",
    ]
    saved = [int(found.replace(",", "")) for found in re.findall(r"(?:saves|shrinks by about) ([\d,]+) bytes", said)]
    between, exact = weight(postgres), compared(address, capsys)
    for statement in statements:
        postgres._execute(statement)
    after = weight(postgres)
    assert after[0] < 0.25 * before[0]
    assert after[1] < 0.25 * before[1] + 900 * ROWS  # the new index
    assert saved[1] == pytest.approx(between[0] - after[0], rel=0.05)  # the estimate for VACUUM FULL
    return exact


def compared(address, capsys, *more):
    assert run("evaluate", "model.npz", address, "queries.npy", "--store", "--json", *more) == 0
    return json.loads(capsys.readouterr().out)


def test_the_printed_statements_shrink_the_table_and_all_commands_go_on(postgres, shop, capsys):
    settings = ("--n-latents", "64", "--k", "4", "--steps", "2")
    assert run("pull", shop, "-o", "m.npz", "--keep", "kept.npz", *settings) == 0
    capsys.readouterr()
    dense, exact = push_and_drop(postgres, shop, capsys)
    assert dense["recall"]["10"] > 0.8  # by the index on the dense column
    assert exact["agreement"] == {"10": 1, "100": 1}  # by a scan
    assert run("search", "model.npz", shop, "queries.npy", "--store", "--top", "3") == 0
    out, err = capsys.readouterr()
    assert {line.split("\t")[1] for line in out.splitlines()} == {"codes"}
    assert "no dense field" in err
    (codes,) = compared(shop, capsys)
    assert (codes["recall"], codes["bytes_per_item"]) == (None, exact["bytes_per_item"])
    (codes,) = compared(f"{shop}&options=-c%20hnsw.ef_search%3D400", capsys, "--dense", "kept.npz")
    assert codes["agreement"]["10"] > 0.9  # by the index
    assert codes["recall"]["10"] == pytest.approx(exact["recall"]["10"], abs=0.1)
    assert run("evaluate", "model.npz", shop, "queries.npy", "--store") == 0
    assert "recall is not measured without dense vectors" in capsys.readouterr().err
    push_new_and_changed(postgres, shop, capsys)


def push_new_and_changed(postgres, shop, capsys):
    new = VECTORS.copy()
    new[7] = -VECTORS[7]
    write_embeddings("new.npz", new, ids=np.arange(ROWS + 20))
    assert run("push", "model.npz", shop, "--from", "new.npz", "--rows", "500") == 1
    assert f"got 20 unknown of {ROWS + 20:,} ids in new.npz: {ROWS}, " in capsys.readouterr().err
    assert run("push", "model.npz", shop, "--from", "new.npz", "--rows", "500", "--on-missing", "insert") == 0
    err = capsys.readouterr().err
    assert f"20 codes written (20 of them new items), 1 changed, {ROWS - 1} already present" in err
    assert "DROP COLUMN" not in err
    assert run("push", "model.npz", shop, "--from", "new.npz") == 0
    assert f"0 codes written, 0 changed, {ROWS + 20} already present" in capsys.readouterr().err
    assert postgres._execute(f'SELECT count(*), count(name) FROM {TABLE} WHERE "Key" >= {ROWS}') == [(20, 20)]
    assert run("verify", "model.npz", "new.npz", shop, "--store", "--strict") == 0
    assert f"{ROWS + 20} identical to the bit" in capsys.readouterr().out
    assert run("verify", "model.npz", "kept.npz", shop, "--store") == 1
    assert "1 wrong (first: item 7)" in capsys.readouterr().out
    for line, reason in {
        f"verify model.npz|{shop}|--store": "got a store without one; verify MODEL EMBEDDINGS STORE --store reads",
        f"push model.npz|{shop}": "got a store without one; push --from encodes vectors of a file",
        f"pull {shop}|-o|new_model.npz": "got a store without one; train on a file of the vectors",
    }.items():
        command, _, rest = line.partition(" ")
        assert run(command, *rest.split("|")) == 1
        assert reason in capsys.readouterr().err


def test_a_search_names_the_index_that_took_part_and_its_setting(shop, capsys):
    assert run("push", "model.npz", shop) == 0
    for command, dense in (("search", "the dense field"), ("evaluate", "the dense field (de nse)")):
        for ef, few in ((40, True), (400, False)):
            capsys.readouterr()
            address = f"{shop}&options=-c%20enable_seqscan%3Doff%20-c%20hnsw.ef_search%3D{ef}"
            assert run(command, "model.npz", address, "queries.npy", "--store", "--top", "100") == 0
            err = capsys.readouterr().err
            assert f'search in {dense}: by an approximate hnsw index the "items"_de nse_idx; search in the codes' in err
            assert (f"{dense}: a query got 40 of 100 items: an HNSW index returns at most hnsw.ef_search" in err) == few
            assert ("an approximate index may miss items; to miss fewer, raise hnsw.ef_search, now 400" in err) != few


def test_the_next_command_of_a_pull_can_be_pasted(shop, capsys):
    """Without the password, which this server does not ask for."""
    address = re.sub("//[^@]*@", "//postgres:open%20sesame@", shop) + "&passfile=none"
    settings = ("--n-latents", "64", "--k", "4", "--steps", "2")
    assert run("pull", address, "-o", "m.npz", *settings) == 0
    *_, note, last = capsys.readouterr().err.splitlines()
    assert note == "the next command has no password: set PGPASSWORD, or write the password to ~/.pgpass"
    program, *words = shlex.split(last.removeprefix("next: "))
    assert (program, words[:2]) == ("compressae-ref", ["push", "m.npz"])
    assert words[2] == re.sub("//[^@]*@", "//postgres@", shop)
    assert run(*words) == 0
    assert f"{ROWS} codes written" in capsys.readouterr().err


def test_a_command_that_continues_a_pull_can_be_pasted():
    words = ["pull", "postgresql://me:secret@host/db?table=t", "-o", "m.npz", "--resume", "a file"]
    assert to_run(words) == (
        "set PGPASSWORD, or write the password to ~/.pgpass, then run: "
        "compressae-ref pull 'postgresql://me@host/db?table=t' -o m.npz --resume 'a file'"
    )
    assert to_run(["pull", "edge:shard", "-o", "m.npz"]) == "run: compressae-ref pull edge:shard -o m.npz"


def contents(postgres, table):
    """All rows of a table with all their columns, and its bytes on disk."""
    rows = postgres._execute(f"SELECT items::text, xmin::text, ctid::text FROM {table} AS items ORDER BY ctid")
    columns = f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass ORDER BY attnum"
    return rows, postgres._execute(columns), postgres._execute(f"SELECT pg_total_relation_size('{table}')")


def numbers(text):
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)]


def test_a_dry_push_foretells_what_the_table_weighs_and_what_follows(postgres, shop, capsys):
    before, (_, total) = contents(postgres, TABLE), weight(postgres)
    assert run("push", "model.npz", shop, "--dry-run") == 0
    out = capsys.readouterr().out
    assert contents(postgres, TABLE) == before
    assert f"{ROWS:,} codes of 32 entries to write, 0 already present" in out
    assert f"on disk now: total {total:,} bytes, table " in out
    (told,) = re.findall(r"on disk after the push: about ([\d,]+) bytes more: .* of old versions of rows", out)
    assert run("push", "model.npz", shop) == 0
    err = capsys.readouterr().err
    assert numbers(told)[0] == pytest.approx(weight(postgres)[1] - total, rel=0.15)
    steps, expected = (text.partition("what may follow")[2].splitlines()[1:] for text in (out, err))
    assert len(steps) == len(expected) == 8
    for line, other in zip(steps, expected, strict=True):
        assert re.sub(r"\d", "", line) == re.sub(r"\d", "", other)
        if "bytes" in line:
            assert numbers(line) == pytest.approx(numbers(other), rel=0.2)


@pytest.mark.parametrize("vacuum", [False, True])
def test_a_dry_push_of_a_second_field_foretells_how_much_the_table_grows(postgres, shop, capsys, vacuum):
    """The growth is that of the first push, whose old versions do not count again; less if there is free space."""
    first = weight(postgres)[1]
    assert run("push", "model.npz", shop) == 0
    if vacuum:
        postgres._execute(f"VACUUM {TABLE}")
    before = weight(postgres)[1]
    capsys.readouterr()
    assert run("push", "model.npz", shop, "--k", "10", "--dry-run") == 0
    (told,) = re.findall(r"on disk after the push: about ([\d,]+) bytes more", capsys.readouterr().out)
    assert run("push", "model.npz", shop, "--k", "10") == 0
    grown = weight(postgres)[1] - before
    assert numbers(told)[0] == pytest.approx(before - first, rel=0.15)
    assert grown < 0.5 * (before - first) if vacuum else grown == pytest.approx(before - first, rel=0.15)


@pytest.mark.parametrize("how", [None, "error", "insert", "skip"])
def test_a_dry_push_of_a_file_counts_its_ids(postgres, shop, capsys, how):
    assert run("push", "model.npz", shop) == 0
    postgres._execute(f'UPDATE {TABLE} SET "codes_{WIDE.digest[:8]}_k32" = NULL WHERE "Key" < 30')
    new = VECTORS.copy()
    new[100:107] = -VECTORS[100:107]
    write_embeddings("new.npz", new, ids=np.arange(ROWS + 20))
    before = contents(postgres, TABLE)
    line = ("push", "model.npz", shop, "--from", "new.npz", *(() if how is None else ("--on-missing", how)))
    capsys.readouterr()
    assert run(*line, "--dry-run") == (1 if how in (None, "error") else 0)
    out, err = capsys.readouterr()
    assert contents(postgres, TABLE) == before
    assert f"30 ids without a code, 7 whose vector has changed, {ROWS - 37:,} unchanged, 20 unknown (push would " in out
    codes = 57 if how == "insert" else 37
    assert f"codes of 32 entries to write: {codes}\n" in out
    assert f"bytes of these codes, about: PostgreSQL with pgvector {codes * 272:,}\n" in out
    if how in (None, "error"):
        assert f"got 20 unknown of {ROWS + 20:,} ids in new.npz: {ROWS}, " in err
        return
    assert run(*line, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["written"] + report["changed"], report["changed"]) == (codes, 7)


def test_rows_that_cannot_be_inserted_are_refused_with_the_statement(postgres, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", MODEL)
    postgres._execute('CREATE TABLE named (key int PRIMARY KEY, "the name" text NOT NULL, v vector(12))')
    postgres._execute("INSERT INTO named VALUES (1, 'one', NULL)")
    write_embeddings("new.npz", X[:14], ids=np.arange(14))
    address = f"{postgres.uri}&table=named"
    assert run("push", "model.npz", address, "--from", "new.npz", "--on-missing", "insert") == 1
    assert (
        "expected ids of existing rows, because new rows need 'the name' text NOT NULL; got 13 new: "
        "0, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more; insert these rows first: "
        'INSERT INTO "named" ("key", "the name") VALUES (0, ...)'
    ) in capsys.readouterr().err
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'named'"
    assert postgres._execute(columns) == [(3,)]  # nothing was done
    assert run("push", "model.npz", address, "--from", "new.npz", "--on-missing", "skip", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["written"], report["absent"]) == (1, 13)
    assert report["disk_now"]["total"] >= report["disk_before"]["total"] > 0
    assert [step["statement"].split()[0] for step in report["next_steps"]] == ["CREATE", "ALTER", "VACUUM"]
    np.save("no_ids.npy", X)
    assert run("push", "model.npz", address, "--from", "no_ids.npy") == 1
    assert "no_ids.npy: expected ids with the vectors, got vectors without ids" in capsys.readouterr().err
    assert run("push", "model.npz", address, "--from", f"{postgres.uri}&table=nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


KEYS = {"bigint": int, "text": 'item {}\'s "é"'.format, "uuid": lambda row: str(uuid.UUID(int=row << 70))}


@pytest.mark.parametrize("kind", KEYS)
def test_the_page_rolls_back(postgres, tmp_path, monkeypatch, capsys, kind):
    """From the kept file the vectors are exact; from the codes they have the directions of the decoded codes."""
    monkeypatch.chdir(tmp_path)
    save_model("model.npz", WIDE)
    n, keys, columns = 120, [KEYS[kind](row) for row in range(120)], f"id {kind} PRIMARY KEY, embedding vector(384)"
    postgres._execute("DROP TABLE IF EXISTS items")
    postgres._execute(f"CREATE TABLE items ({columns}, title text DEFAULT 'none')")
    rows = [(key, str(x)) for key, x in zip(keys, VECTORS[:n].tolist(), strict=True)]
    postgres._execute("INSERT INTO items VALUES (%s, %s)", rows)
    address = f"{postgres.uri}&table=items"
    assert run("push", "model.npz", address) == 0
    settings = ("--n-latents", "64", "--k", "4", "--steps", "2")
    assert run("pull", address, "-o", "m.npz", "--keep", "kept.npz", *settings) == 0
    page = Path(__file__).parents[1] / "examples" / "pages" / "switching-over.md"
    text = page.read_text(encoding="utf-8").partition("## 6. Roll back")[2].partition("\n## ")[0]
    assert [main(shlex.split(line)[1:]) for line in re.findall(r"```sh\n(.*?)```", text, re.S)] == [0]
    text = text.replace("postgresql://db/shop?table=items", address).replace("postgresql://db/shop", postgres.uri)
    exact, approximate = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict = {}
    for code in (exact, approximate):
        postgres._execute("ALTER TABLE items DROP COLUMN embedding")
        exec(compile(code, page.name, "exec"), names)
        found = {str(key): json.loads(x) for key, x in postgres._execute("SELECT id, embedding::text FROM items")}
        x = np.array([found[str(key)] for key in keys], np.float32)
        if code == exact:
            np.testing.assert_array_equal(x, VECTORS[:n])
            assert run("verify", "model.npz", address, "--store") == 0
        else:
            decoded_rows = WIDE.decode(WIDE.encode(VECTORS[:n], **SET), **SET)
            norms = np.linalg.norm(decoded_rows, axis=1, keepdims=True)
            np.testing.assert_allclose(x, decoded_rows / norms, atol=1e-5)


# -- a law -------------------------------------------------------------------------------------------------------------


class Application(RuleBasedStateMachine):
    """Items come, change and go; after a push, each one has the code of the latest vector that the push could see."""

    @initialize()
    def start(self):
        self.items = memory_store.COLLECTIONS["application"] = {}
        memory_store.FIELDS.pop("application", None)
        self.seen, self.pushes, self.field = {}, 0, f"codes_{MODEL.digest[:8]}_k{K}"
        self.alive = True

    def opened(self):
        return memory_store.MemoryStore("application")

    @rule(key=st.integers(0, 12), row=st.integers(0, 30))
    @precondition(lambda self: self.alive)
    def insert_or_change(self, key, row):
        self.items.setdefault(key, {"name": f"n{key}"})["dense"] = X[row]

    @rule(key=st.integers(0, 12))
    def delete(self, key):
        self.items.pop(key, None)
        self.seen.pop(key, None)

    @rule(rows=st.integers(1, 5))
    @precondition(lambda self: any("dense" in item for item in self.items.values()))
    def push(self, rows):
        self.seen |= {key: item["dense"] for key, item in self.items.items() if "dense" in item}
        missing = codes_to_write(self.opened(), self.field)
        assert self.after(lambda: push(self.opened(), MODEL, rows=rows, **SET)).written == missing

    @rule()
    @precondition(lambda self: any("dense" in item for item in self.items.values()))
    def replace_all(self):
        act = partial(push, self.opened(), MODEL, replace=True, **SET)
        if any("dense" not in item for key, item in self.items.items() if key in self.seen):
            before = self.content()
            with pytest.raises(StoreError, match="without a vector"):
                act()
            assert self.content() == before
            return
        self.seen |= {key: item["dense"] for key, item in self.items.items() if "dense" in item}
        assert self.after(act).written == len(self.seen)

    @rule(key=st.integers(0, 12))
    def forget_vector(self, key):
        self.items.setdefault(key, {"name": f"n{key}"}).pop("dense", None)

    @rule(
        new=st.dictionaries(st.integers(0, 20), st.integers(0, 30), min_size=1),
        rows=st.integers(1, 5),
        how=st.sampled_from([{}, {"on_missing": "insert"}, {"on_missing": "skip"}]),
    )
    def push_from(self, new, rows, how):
        vectors, unknown = source([*new], X[[*new.values()]]), new.keys() - self.items.keys()
        act = partial(push_from, self.opened(), MODEL, vectors, rows=rows, **how, **SET)
        before = self.content()
        if unknown and not how:
            with pytest.raises(StoreError, match=f"got {len(unknown)} unknown of {len(new)} ids in new vectors"):
                act()
            assert self.content() == before
            return
        dry = act(dry_run=True)
        assert self.content() == before
        pushed = self.after(act)
        assert pushed == dry
        left_out = unknown if how == {"on_missing": "skip"} else set()
        self.seen |= {key: X[row] for key, row in new.items() if key not in left_out}
        assert (pushed.inserted, pushed.absent) == (len(unknown - left_out), len(left_out))
        assert pushed.written + pushed.changed <= len(new) - len(left_out)
        assert act()[1::2][:2] == (0, 0)

    def content(self):
        return repr(self.items), repr(memory_store.FIELDS.get("application", set()))

    @rule()
    @precondition(lambda self: any(self.field in item for item in self.items.values()))
    def drop_dense(self):
        self.alive = False
        for item in self.items.values():
            item.pop("dense", None)

    def after(self, act):
        rest = {key: self.rest(item) for key, item in self.items.items()}
        pushed = act()
        assert {key: self.rest(item) for key, item in self.items.items() if key in rest} == rest
        return pushed

    def rest(self, item):
        return {name: str(value) for name, value in item.items() if not name.startswith(self.field)}

    @invariant()
    def each_item_has_the_code_of_its_latest_vector(self):
        coded = {key: item[self.field] for key, item in self.items.items() if self.field in item}
        assert coded.keys() == self.seen.keys()
        if coded:
            expected = unit(MODEL.encode(np.stack([self.seen[key] for key in coded]), **SET))
            for (indices, values), places, numbers in zip(
                coded.values(), expected.indices, expected.values, strict=True
            ):
                assert indices == places.tolist()
                np.testing.assert_allclose(values, numbers, rtol=1e-6)


Application.TestCase.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_every_item_has_the_code_of_its_latest_vector = Application.TestCase
