"""PostgreSQL only: all types of keys, quoted names, indexes, and unsuitable tables."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import numpy as np
import pytest

from compressae_ref import Model, init_params
from compressae_ref.cli.choose_commands import statements_of
from compressae_ref.errors import StoreError
from compressae_ref.evaluation.choose import Option
from compressae_ref.evaluation.judge import Row
from compressae_ref.item_ids import as_ids
from compressae_ref.stores.contract import nonzero, open_store
from compressae_ref.stores.push import push
from compressae_ref.stores.push_from import push_from, source_of_rows
from compressae_ref.stores.query import overlap, search_store
from compressae_ref.stores.sparsevec import as_binary, as_text, from_binary
from compressae_ref.stores.stored_form import serving
from tests.engines import Engine

psycopg = pytest.importorskip("psycopg")

N, D, H = 60, 8, 32
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float16).astype(np.float32)
MODEL = Model(init_params(D, H, np.random.default_rng(1)), 4)
SET = {"backend": "numpy"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine("pgvector", tmp_path_factory.mktemp("pg"))


@pytest.fixture
def opened(engine):
    stores = []

    def act(options):
        stores.append(open_store(f"{engine.uri}&{options}"))
        return stores[-1]

    yield act
    for store in stores:
        store.close()


def table(engine, create, keys, x=X):
    """Create a table whose first column is the key and whose second is the vector, and fill it."""
    name = create.split("CREATE TABLE ")[1].split(" (")[0]
    engine._execute(create)
    rows = [(each, str(vector)) for each, vector in zip(keys, x.tolist(), strict=True)]
    engine._execute(f"INSERT INTO {name} VALUES (%s, %s)", rows)


KEYS = {
    "smallint": [*range(-5, N - 5)],
    "integer": [*range(10**9, 10**9 + N)],
    "varchar(100)": [f"a'\"%s{{}}{row:03d}" for row in range(N)],
    "uuid": [str(uuid.UUID(int=row << 70)) for row in range(N)],
}


OTHER = {"smallint": -7, "integer": 7, "varchar(100)": "new", "uuid": str(uuid.UUID(int=7))}
"""A key that is not in the table."""


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_all_kinds(engine, opened, kind):
    name = f"keys_{kind[:4]}"
    table(engine, f"CREATE TABLE {name} (key {kind} PRIMARY KEY, v vector({D}))", KEYS[kind])
    store = opened(f"table={name}")
    pushed = push(store, MODEL, rows=25, **SET)
    assert (pushed.written, store.count_written(pushed.field)) == (N, N)
    found = search_store(store, MODEL, X[:3], 2, **SET)
    assert [hits.ids[0] for hits in found] == KEYS[kind][:3]
    assert store.read(pushed.field, KEYS[kind][5:6])[0][0] == MODEL.encode(X[5:6], **SET).indices[0].tolist()
    new = source_of_rows(X[:9][::-1], as_ids(KEYS[kind][:9], 9), "new vectors")  # all but the one in the middle changed
    assert push_from(store, MODEL, new, **SET)[1:] == (0, N - 8, 8, 0, 0, 0, 0)
    other = as_ids([*KEYS[kind][:2], OTHER[kind]], 3)
    with pytest.raises(StoreError, match="got 1 unknown of 3 ids in new vectors: "):
        push_from(store, MODEL, source_of_rows(X[:3], other, "new vectors"), **SET)
    added = push_from(store, MODEL, source_of_rows(X[:3], other, "new vectors"), on_missing="insert", **SET)
    assert (added.inserted, store.read(added.field, [OTHER[kind]])[0] is not None) == (1, True)


def test_names_that_must_be_quoted_and_half_vectors(engine, opened):
    engine._execute('CREATE SCHEMA "My schema"')
    create = f'CREATE TABLE "My schema"."the ""items""" ("Key id" bigint, "de nse" halfvec({D}), other vector(3))'
    table(engine, create, range(N))
    store = opened('table=My schema.the "items"&id=Key id&dense=de nse')
    np.testing.assert_array_equal(np.concatenate([block.x for block in store.scroll(17)]), X)
    assert push(store, MODEL, field='codes "of" %s', **SET).written == N
    assert search_store(store, MODEL, X[:3], 1, field='codes "of" %s', **SET)[2].ids == [2]


def test_an_index_is_used_for_its_own_operator(engine, opened):
    table(engine, f"CREATE TABLE indexed (key bigint PRIMARY KEY, v vector({D}))", range(N))
    store = opened("table=indexed")
    for space, cosine in (("sparse", True), ("expanded", False)):
        field = push(store, MODEL, space=space, **SET).field
        before = search_store(store, MODEL, X[:9], 5, space=space, **SET)
        assert store.approximate_index(field) is None
        store.build_index(field, cosine=cosine)
        engine._execute("ANALYZE indexed")
        after = search_store(store, MODEL, X[:9], 5, space=space, **SET)
        assert overlap(before, after) > 0.9
        assert store.sizes(field)["index"] > 0
        operator = "<=>" if cosine else "<#>"
        query = f"EXPLAIN SELECT key FROM indexed ORDER BY \"{field}\" {operator} '{{1:1}}/{H}' LIMIT 5"
        with psycopg.connect(engine.uri) as connection:
            connection.execute("SET enable_seqscan = off")
            assert "Index Scan using indexed_" in str(connection.execute(query).fetchall())


def test_the_index_that_took_part_is_named(engine, opened):
    """It is the one that PostgreSQL plans to use, which depends on its settings and costs."""
    table(engine, f"CREATE TABLE named (key bigint PRIMARY KEY, v vector({D}))", range(N))
    store = opened("table=named")
    field = push(store, MODEL, **SET).field
    store.build_index(field, cosine=True)
    engine._execute("CREATE INDEX flat_lists ON named USING ivfflat (v vector_cosine_ops) WITH (lists = 2)")
    assert store.approximate_index(field) is None  # nothing was searched
    for scans, indexes in (
        ("on", [None, None]),
        ("off", ["ivfflat index flat_lists", f"hnsw index named_{field}_idx"]),
    ):
        store._run(f"SET enable_seqscan = {scans}")
        store.query_dense(X[:2], 3)
        search_store(store, MODEL, X[:2], 3, **SET)
        assert [store.approximate_index(name) for name in ("v", field)] == indexes
    assert "at most hnsw.ef_search items, now 40: add options=-c%20hnsw.ef_search%3D400 to the address" in store.fewer
    store._run("SET hnsw.ef_search = 400")
    assert "raise hnsw.ef_search, now 400: add options=-c%20hnsw.ef_search%3D1000 to the address" in store.accuracy
    search_store(store, MODEL, X[:2], 3, space="expanded", field=field, **SET)  # not the operator of the index
    assert store.approximate_index(field) is None


@pytest.mark.parametrize(
    ("create", "options", "reason"),
    [
        ("CREATE TABLE a1 (v vector(8))", "table=a1", "got no primary key; choose a column with .id=COLUMN"),
        ("CREATE TABLE a2 (key date PRIMARY KEY, v vector(8))", "table=a2", "got key date"),
        ("CREATE TABLE a3 (k bigint, l bigint, v vector(8), PRIMARY KEY (k, l))", "table=a3", "got k bigint, l bigint"),
        (
            "CREATE TABLE a4 (key bigint PRIMARY KEY, v text)",
            "table=a4",
            "expected a field of dense vectors, got a store without one; push --from encodes vectors of a file",
        ),
        ("CREATE TABLE a5 (key bigint PRIMARY KEY, v vector(8), w vector(8))", "table=a5", "got 'v', 'w'"),
        ("CREATE TABLE a6 (key bigint PRIMARY KEY, v vector(8))", "table=none.a6", "does not exist"),
        (
            "CREATE TABLE a7 (key bigint PRIMARY KEY, v vector(8))",
            "x=1",
            "expected a table in the address, got none; add ",
        ),
        ("CREATE TABLE a8 (key bigint PRIMARY KEY, v vector(8))", "table=a8&nonsense=1", "nonsense"),
    ],
)
def test_tables_without_what_is_needed_are_refused_in_one_line(engine, opened, create, options, reason):
    engine._execute(create)
    with pytest.raises(StoreError, match=reason) as error:
        push(opened(options), MODEL, **SET)
    assert "\n" not in str(error.value)


def test_a_column_that_is_no_sparsevec_is_refused(engine, opened):
    table(engine, f"CREATE TABLE taken (key bigint PRIMARY KEY, v vector({D}), name text)", range(N))
    store = opened("table=taken")
    with pytest.raises(StoreError, match="expected a sparsevec in the column 'name', got text"):
        push(store, MODEL, field="name", **SET)


def test_the_statements_of_a_choice_store_the_vectors_as_halfvec(engine):
    table(engine, f"CREATE TABLE items (key bigint PRIMARY KEY, embedding vector({D}))", range(N))
    row = Row(f"halfvec({D})", None, None, 8 + 2 * D, 2.0, {10: 1.0})
    for statement in statements_of(Option("PostgreSQL with pgvector", row)):
        engine._execute(statement)
    with psycopg.connect(engine.uri) as connection:
        found = connection.execute("SELECT half::vector = embedding FROM items").fetchall()
    assert found == [(True,)] * N


def test_rows_without_a_vector_are_left_alone(engine, opened):
    table(engine, f"CREATE TABLE holes (key bigint PRIMARY KEY, v vector({D}))", range(N))
    engine._execute("UPDATE holes SET v = NULL WHERE key % 3 = 0")
    store = opened("table=holes")
    assert store.count() == 40
    assert push(store, MODEL, **SET).written == 40


def test_forms_of_a_sparsevec():
    assert from_binary(as_binary([3, 70], [0.5, -0.25], 4096)) == ([3, 70], [0.5, -0.25])
    assert as_binary([1], [2.0], 5).hex() == "00000005000000010000000000000001" + "40000000"
    assert as_text([0, 5], [0.6, -0.8], 4096) == "{1:0.6,6:-0.8}/4096"


def test_the_sql_of_the_page_searches_by_bits_and_re_ranks_by_codes(engine, opened):
    """With more candidates than items, re-ranking by all entries is exact asymmetric search, by a scan and by HNSW."""
    page = (Path(__file__).parents[1] / "examples" / "pages" / "stores.md").read_text(encoding="utf-8")
    add, search = re.findall(r"```sql\n(.*?)```", page.partition("## What serves best")[2], re.S)[:2]
    d, field = 384, re.search(r"codes_\w+", search)[0]
    x = np.random.default_rng(0).standard_normal((200, d)).astype(np.float32)
    model = Model(init_params(d, H, np.random.default_rng(1)), 4)
    engine._execute("CREATE SCHEMA page")
    table(engine, f"CREATE TABLE page.items (id bigint PRIMARY KEY, embedding vector({d}))", range(200), x)
    store = opened("table=page.items")
    push(store, model, space="expanded", refine=True, field=field, **SET)
    right = search_store(store, model, x[:5], 100, space="asymmetric", refine=True, field=field, **SET)
    sent = serving(model, None, "expanded", True, "numpy").queries(x[:5], H)
    set_ef, query = search.replace("$1", "%(dense)s").replace("$2", "%(codes)s").split(";\n")[:2]
    with psycopg.connect(engine.uri, autocommit=True) as connection:
        connection.execute("SET search_path = page, public")
        for statement in filter(str.strip, add.split(";")):
            connection.execute(statement)
        connection.execute(set_ef)
        for scans in ("on", "off"):
            connection.execute(f"SET enable_seqscan = {scans}")
            for row, (hits, codes) in enumerate(zip(right, nonzero(sent), strict=True)):
                values = {"dense": str(x[row].tolist()), "codes": as_text(*codes, H)}
                found = connection.execute(query, values).fetchall()
                np.testing.assert_allclose([-distance for _, distance in found], hits.scores, atol=1e-6)
                assert {key for key, _ in found[:50]} == {*hits.ids[:50]}
            plan = "".join(str(line) for line in connection.execute("EXPLAIN " + query, values))
            assert ("items_bits_idx" in plan) == (scans == "off")
