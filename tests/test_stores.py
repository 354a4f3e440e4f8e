"""The interface of stores, tested with real engines."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from unittest.mock import patch
from urllib.parse import quote, quote_plus, unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from compressae_ref import Anchors, Codes, Index, Model, encode_fitted, encode_refined, init_params, save_model
from compressae_ref.cli.main import main
from compressae_ref.errors import CompressaeError, DomainError, ShapeError, StoreError
from compressae_ref.redaction import pasteable, secrets_in
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.stores.contract import engine_errors, open_store, parse_address, without_password
from compressae_ref.stores.push import embeddings_of, push
from compressae_ref.stores.query import compare, search_store
from tests.engines import ENGINES, Engine

pytestmark = pytest.mark.usefixtures("ends")

N, D, H, K = 150, 12, 40, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
QUERIES = RNG.standard_normal((9, D)).astype(np.float32)
PARAMS = init_params(D, H, np.random.default_rng(1))
PARAMS.b_enc[:] = np.linspace(-0.05, 0.05, H)
MODEL = Model(PARAMS, K)
OTHER = Model(init_params(D, H, np.random.default_rng(2)), K)
TOLERANCE = 1e-6
"""Engines sum some dozens of float32 products in another order, which is an ulp or two of 1 each."""


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, tmp_path_factory):
    return Engine(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def opened(engine):
    """Create and open stores, and close them at the end."""
    stores = []

    def open_new(ids=None, x=X):
        address = engine.make(engine.ids(len(x)) if ids is None else ids, x)
        stores.append(open_store(address))
        return stores[-1], address

    def open_again(address, act=lambda: None):
        stores.pop().close()
        act()
        stores.append(open_store(address))
        return stores[-1]

    open_new.again = open_again  # after another process changed it
    yield open_new
    for store in stores:
        store.close()


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_all_items_come_once_by_ascending_id(engine, opened, kind):
    ids = engine.ids(N, kind)
    store, _ = opened(ids)
    assert store.count() == N
    for rows in (1000, N, 7):
        blocks = [*store.scroll(rows)]
        assert max(len(block.ids) for block in blocks) <= rows
        assert [each for block in blocks for each in block.ids] == ids
        np.testing.assert_allclose(np.concatenate([block.x for block in blocks]), X, rtol=0, atol=1e-7)


def test_training_reads_a_store_as_it_reads_an_array(opened):
    store, _ = opened()
    source = embeddings_of(store)
    assert source.shape == (N, D)
    np.testing.assert_allclose(np.asarray(source), X, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(source[20:40], np.asarray(source)[20:40])


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "texts"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_every_item_gets_its_code_once_and_keeps_all_else(engine, opened, kind, rows):
    ids = engine.ids(N, kind)
    store, address = opened(ids)
    pushed = push(store, MODEL, rows=rows, backend="numpy")
    assert (pushed.written, pushed.before) == (N, 0)
    assert pushed.field == f"codes_{MODEL.digest[:8]}_k{K}"
    assert store.count_written(pushed.field) == N
    assert_stored(store, pushed.field, ids, unit(MODEL.encode(np.concatenate([b.x for b in store.scroll(N)]))))
    store = opened.again(address)
    assert push(store, MODEL, backend="numpy")[:3] == (pushed.field, 0, N)
    store.close()
    for each, (name, vector), row in zip(ids, engine.payload(address, ids), X, strict=True):
        assert name == f"n{each}"
        np.testing.assert_allclose(vector, row, rtol=0, atol=1e-6)


def unit(codes):
    norms = np.sqrt(np.sum(codes.values.astype(np.float64) ** 2, axis=1))
    return Codes(codes.indices, (codes.values / norms[:, None]).astype(np.float32), codes.n_latents)


def assert_stored(store, field, ids, codes):
    codes = codes if store.signed else codes.split_signs()
    for found, indices, values in zip(store.read(field, ids), codes.indices, codes.values, strict=True):
        assert found[0] == indices.tolist()
        np.testing.assert_allclose(found[1], values, rtol=1e-6)


def test_later_items_get_theirs_with_the_next_push(engine, opened):
    store, address = opened(engine.ids(100), X[:100])
    push(store, MODEL, backend="numpy")
    store = opened.again(address, lambda: engine.insert(address, engine.ids(N)[100:], X[100:]))
    pushed = push(store, MODEL, backend="numpy")
    assert (pushed.written, pushed.before) == (50, 100)
    assert store.count_written(pushed.field) == N


class InterruptError(Exception):
    """Stands for the end of the process."""


def test_an_interrupted_push_goes_on_where_it_was(engine, opened):
    store, address = opened()
    calls = []

    def interrupt(done, total):
        calls.append((done, total))
        if len(calls) == 3:
            raise InterruptError

    with pytest.raises(InterruptError):
        push(store, MODEL, rows=20, backend="numpy", progress=interrupt)
    assert calls == [(20, N), (40, N), (60, N)]
    store = opened.again(address)
    pushed = push(store, MODEL, rows=20, backend="numpy")
    assert (pushed.written, pushed.before) == (N - 60, 60)
    dense = np.concatenate([block.x for block in store.scroll(N)])
    assert_stored(store, pushed.field, engine.ids(N), unit(MODEL.encode(dense, backend="numpy")))


def test_codes_of_two_models_live_beside_each_other(opened):
    store, _ = opened()
    fields = {push(store, model, k=k, backend="numpy").field for model in (MODEL, OTHER) for k in (3, 5)}
    assert len(fields) == 4
    assert {*store.fields()} == fields
    assert len(store.fields()) == 4
    assert all(store.count_written(field) == N for field in fields)


def test_a_field_with_other_codes_is_not_written_to(opened):
    store, _ = opened()
    push(store, MODEL, field="mine", backend="numpy")
    for model, settings in ((OTHER, {}), (MODEL, {"k": 4}), (MODEL, {"space": "asymmetric"})):
        with pytest.raises(StoreError, match="expected the codes of this model and these settings in the field 'mine'"):
            push(store, model, field="mine", backend="numpy", **settings)
    assert push(store, MODEL, field="mine", backend="numpy").written == 0
    assert push(store, OTHER, field="mine", replace=True, backend="numpy").written == N
    assert push(store, OTHER, field="mine", backend="numpy").written == 0


def test_vectors_of_zeros(engine, opened):
    if engine.engine == "milvus":
        pytest.skip("Milvus does not take codes of zeros: they have no entries")
    x = X[:10].copy()
    x[6] = 0
    store, _ = opened(engine.ids(10), x)
    with pytest.raises(StoreError, match="expected vectors that are not zero, got a zero vector in item 43"):
        push(store, MODEL, backend="numpy")
    pushed = push(store, MODEL, zero_rows="empty", backend="numpy")
    assert store.count_written(pushed.field) == 10
    assert not any(store.read(pushed.field, [43])[0][1])
    assert len(np.asarray(embeddings_of(store, zero_rows="skip"))) == 9  # training ignores the zero row


def test_what_an_engine_would_take_silently_is_refused(engine, opened):
    store, _ = opened()
    store.add_field("raw", H if store.signed else 2 * H)
    good = np.array([[1, 2], [3, 4]], np.int32)
    ids = engine.ids(2)
    bad = {
        "finite values": Codes.trusted(good, np.array([[1, np.nan], [1, 1]], np.float32), H),
        "indices that ascend": Codes.trusted(np.array([[1, 1], [3, 4]], np.int32), np.ones((2, 2), np.float32), H),
        "indices below": Codes.trusted(np.array([[1, H], [3, 4]], np.int32), np.ones((2, 2), np.float32), H),
    }
    for reason, codes in bad.items():
        with pytest.raises(DomainError, match=reason):
            store.write("raw", ids, codes)
    codes = Codes(good, np.ones((2, 2), np.float32), H)
    with pytest.raises(DomainError, match="unique ids"):
        store.write("raw", [1, 1], codes)
    with pytest.raises(DomainError, match="expected 2 ids, one for each code, got 1"):
        store.write("raw", [1], codes)
    assert store.count_written("raw") == 0


# -- search -----------------------------------------------------------------------------------------------------------


CODED = {
    "": lambda: MODEL.encode(X, backend="numpy"),
    "refine": lambda: encode_refined(X, MODEL),
    "fitted": lambda: encode_fitted(X, MODEL, X),
}
"""Codes of all items, by the setting of a push."""


@pytest.mark.parametrize(
    ("space", "how"), [*((space, "") for space in SPACES), ("expanded", "refine"), ("sparse", "fitted")]
)
def test_results_are_those_of_our_own_search(engine, opened, space, how):
    store, _ = opened()
    anchors = Anchors.read(X, MODEL) if how == "fitted" else None
    pushed = push(store, MODEL, space=space, refine=how == "refine", anchors=anchors, backend="numpy")
    assert pushed.field.endswith({"": "", "refine": "_refined", "fitted": "_fitted"}[how])
    settings = {how: True} if how else {}
    found = search_store(store, MODEL, QUERIES, 10, space=space, fetch=N, backend="numpy", **settings)
    assert_as_ours(engine, found, space, how)


def assert_as_ours(engine, found, space, how=""):
    codes = CODED[how]()
    index = Index.build(codes, ids=engine.ids(N), space=space, model=MODEL, backend="numpy")
    hits = index.search(QUERIES, N)
    for mine, ids, scores in zip(found, hits.ids.tolist(), hits.scores.tolist(), strict=True):
        assert 0 < len(mine.ids) <= 10
        assert mine.scores == sorted(mine.scores, reverse=True)
        expected = dict(zip(ids, scores, strict=True))
        np.testing.assert_allclose(mine.scores, [expected[each] for each in mine.ids], rtol=0, atol=TOLERANCE)
        missed = [score for each, score in expected.items() if each not in mine.ids]
        worst = mine.scores[-1] if len(mine.ids) == 10 else 0  # fewer than 10: no other item shares a latent
        assert max(missed) <= worst + TOLERANCE


def test_the_same_queries_before_and_after(opened):
    store, _ = opened()
    push(store, MODEL, space="asymmetric", backend="numpy")
    compared = compare(store, MODEL, QUERIES, 10, space="asymmetric", backend="numpy")
    similar = QUERIES @ X.T
    for found, row in zip(compared.dense, similar, strict=True):
        assert len(found.ids) == 10
        assert found.ids == [7 * place + 1 for place in np.argsort(-row)[:10].tolist()]
    shares = [len({*a.ids} & {*b.ids}) / 10 for a, b in zip(compared.dense, compared.codes, strict=True)]
    assert compared.overlap == pytest.approx(np.mean(shares))
    assert compared.dense_seconds > 0
    assert compared.codes_seconds > 0


def test_what_was_not_pushed_cannot_be_asked(opened):
    store, _ = opened()
    with pytest.raises(StoreError, match=r"expected a field 'codes_.*' of codes, got a store without it; push"):
        search_store(store, MODEL, QUERIES, backend="numpy")
    push(store, MODEL, backend="numpy")
    with pytest.raises(StoreError, match="_reconstruction' of codes, got a store without it"):
        search_store(store, MODEL, QUERIES, space="expanded", backend="numpy")


def test_another_dimension_is_refused(opened):
    store, _ = opened()
    wide = Model(init_params(D + 1, H, np.random.default_rng(1)), K)
    with pytest.raises(ShapeError, match=f"expected d = {D + 1} dimensions as in the model, got {D}"):
        push(store, wide, field="mine", backend="numpy")
    assert not store.has_field("mine")
    with pytest.raises(CompressaeError, match=f"expected d = {D}"):
        search_after_push(store, RNG.standard_normal((1, D + 1)))


def search_after_push(store, queries):
    push(store, MODEL, backend="numpy")
    return search_store(store, MODEL, queries, backend="numpy")


def test_sizes(engine, opened):
    store, _ = opened()
    pushed = push(store, MODEL, backend="numpy")
    sizes = store.sizes(pushed.field)
    assert {*sizes} >= ({"dense", "codes"} if engine.engine in ("edge", "pgvector") else set())
    assert all(size > 0 for size in sizes.values())


# -- addresses --------------------------------------------------------------------------------------------------------


def test_a_store_that_is_not_there_is_refused_in_one_line(engine, tmp_path):
    address = {
        "memory": "memory:none",
        "edge": f"edge:{tmp_path}",
        "qdrant": f"qdrant:{tmp_path}/none?collection=none",
        "pgvector": f"{engine.uri}&table=none" if engine.engine == "pgvector" else "",
        "milvus": f"milvus:{tmp_path}/none.db?collection=none",
    }[engine.engine]
    with pytest.raises(StoreError) as error:
        open_store(address)
    assert "\n" not in str(error.value)
    assert not [*tmp_path.iterdir()]  # a client may create an empty database


def test_a_dense_field_that_is_not_there_is_refused(engine):
    address = engine.make(engine.ids(N), X)
    with pytest.raises(StoreError, match="expected a dense field 'other', got 'dense'"):
        open_store(f"{address}{'&' if '?' in address else '?'}dense=other")


def test_addresses():
    assert parse_address("edge:/a/b?dense=x") == ("edge", "/a/b", {"dense": "x"})
    assert parse_address("postgres://u@h/d?table=t") == ("postgresql", "//u@h/d", {"table": "t"})
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    for bad in ("shard", "redis://x", ""):
        with pytest.raises(DomainError, match="expected an address"):
            open_store(bad)


HOSTS = ("host", "host:5432", "[::1]:5432", "one:1,two:2")
NAMES = ("password", "PASSWORD", "sslpassword", "passfile", "sslkey", "token", "api_key", "p%61ssword")
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).map("QX{}XQ".format)
"""Passwords, with parts at both ends that stand nowhere else in an address."""


def quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@st.composite
def addresses(draw):
    """An address with passwords in places where an engine takes them, encoded as it demands."""
    secret, host, name = draw(SECRETS), draw(st.sampled_from(HOSTS)), draw(st.sampled_from(NAMES))
    scheme = draw(st.sampled_from(["postgresql", "qdrant", "milvus", "mysql", "http"]))
    return draw(
        st.sampled_from(
            [
                f"{scheme}://me:{quote(secret, safe='')}@{host}/db?table=t",
                f"{scheme}://:{quote(secret, safe='')}@{host}",
                f"{scheme}://me:{secret}@{host}/db",
                f"{scheme}://{host}/db?table=t&{name}={quote_plus(secret)}&dense=x",
                f"{scheme}://{host}?{name}={quote(secret, safe='')}",
                f"{scheme}:file?{name}={quote(secret, safe='')}&collection=c",
                f"{scheme}://me:{quote(secret, safe='')}@{host}/db?{name}={quote(secret, safe='')}",
                f"host={host} {unquote(name)} = {quoted(secret)} dbname=d",
                f"{unquote(name)}={quoted(secret)}",
            ]
        )
    )


@given(addresses())
def test_no_password_is_printed(address):
    shown = without_password(address)
    assert "QX" not in shown
    assert "XQ" not in shown
    assert "***" in shown


@given(addresses())
def test_an_address_without_its_passwords_is_left_to_type(address):
    """It has no password, also not a hidden one; all else is as it was, and it is read as the same store."""
    try:
        parsed = parse_address(address)
    except DomainError:
        return
    left = pasteable(address)
    assert not re.search(r"QX|XQ|\*\*\*", left)
    assert pasteable(left) == left == without_password(left)
    again = parse_address(left)
    assert again.scheme == parsed.scheme
    assert again.options == {name: value for name, value in parsed.options.items() if "QX" not in value}
    for part in ("host", "me@", "dbname", "collection=c", "dense=x"):
        assert (part in left) == (part.replace("@", ":") in address or part in address)


@given(addresses())
def test_no_error_about_an_address_prints_a_password(address):
    with pytest.raises(CompressaeError) as caught:
        parse_address(address).required("nothing", without_password(address))
    assert "QX" not in str(caught.value)
    assert "XQ" not in str(caught.value)


@limits(max_examples=40)
@given(addresses(), st.sampled_from(["could not parse {}", "at {}: refused", "{}", 'got "{}"']))
def test_no_message_of_a_command_prints_a_password(tmp_path_factory, address, words):
    def refuse(address):
        known = " and ".join([address, *secrets_in(address)])
        raise RuntimeError(words.format(known))

    output, said = str(tmp_path_factory.getbasetemp() / "never.npz"), io.StringIO()
    with patch("compressae_ref.cli.store_commands.open_store", refuse), patch("sys.stderr", said):
        assert main(["pull", address, "-o", output]) == 1
    with patch("sys.stderr", said), pytest.raises(SystemExit):
        main(["pull", "edge:x", "-o", output, "--no-such-option", address])
    assert "***" in said.getvalue()
    assert "QX" not in said.getvalue()
    assert "XQ" not in said.getvalue()


@given(addresses())
def test_no_error_of_an_engine_prints_the_password_of_an_address(address):
    if re.search(r"[\s'\"]", address):
        return  # the engine prints it as it was encoded
    with pytest.raises(StoreError) as caught, engine_errors("store"):
        raise RuntimeError(f"could not connect to {address}")
    assert "QX" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://host:5432/db?table=t",
        "edge:/a folder/x?dense=a",
        "qdrant://host:6333/passages",
        "milvus:file.db?collection=c",
        "postgresql://me@host/db?options=a@b",
        "postgresql://me:@host/db?table=t",
    ],
)
def test_an_address_without_a_password_is_shown_as_it_is(address):
    assert without_password(address) == pasteable(address) == address
    assert parse_address(address).scheme == address.partition(":")[0]


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "se@cret", "se cret", "100%", "a:b"])
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(password):
    with pytest.raises(DomainError, match="expected a percent-encoded password") as caught:
        open_store(f"postgresql://me:{password}@host/db?table=t")
    assert password not in str(caught.value)


# -- kill -9 ----------------------------------------------------------------------------------------------------------

MANY = 900
PUSHES = """
import sys
from compressae_ref import load_model
from compressae_ref.stores.contract import open_store
from compressae_ref.stores.push import push
store = open_store(sys.argv[2])
told = lambda done, total: print(store.count_written(sys.argv[3]), flush=True)
push(store, load_model(sys.argv[1]), rows=6, field=sys.argv[3], backend="numpy", progress=told)
"""


def test_a_killed_push_leaves_every_item_with_its_code_once(engine, tmp_path):
    if engine.engine == "memory":
        pytest.skip("its data ends with the process")
    x = np.random.default_rng(7).standard_normal((MANY, D)).astype(np.float32)
    ids = engine.ids(MANY)
    address = engine.make(ids, x)
    save_model(tmp_path / "model.npz", MODEL)
    before = 0
    for blocks in (1, 4, 13):  # the kill comes while a later block is read, encoded or written
        child = subprocess.Popen(
            [sys.executable, "-c", PUSHES, str(tmp_path / "model.npz"), address, "mine"],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [int(next(child.stdout)) for _ in range(blocks)]
        child.kill()
        child.wait()
        child.stdout.close()
        assert lines[0] >= before + 6 or before == 0  # it resumed where it stopped
        before = lines[-1]
    store = open_store(address)
    pushed = push(store, MODEL, rows=100, field="mine", backend="numpy")
    assert pushed.before >= before
    assert pushed.before + pushed.written == MANY == store.count_written(pushed.field) == store.count()
    blocks = [*store.scroll(MANY)]
    assert [each for block in blocks for each in block.ids] == ids
    codes = unit(MODEL.encode(np.concatenate([block.x for block in blocks]), backend="numpy"))
    assert_stored(store, pushed.field, ids, codes)
    store.close()
