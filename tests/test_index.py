"""The law of the index: whatever was added and removed, results are those of the truth on the items that are there."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from compressae_ref import (
    Codes,
    DomainError,
    DTypeError,
    FormatError,
    Index,
    Model,
    ShapeError,
    asymmetric_cosine,
    encode_refined,
    expanded_cosine,
    init_params,
    pack,
    reconstructed_cosine,
    search,
    sparse_cosine,
)
from compressae_ref.backends import get_backend
from compressae_ref.files.npz import write_npz
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.spaces import SPACES
from tests import by_reference
from tests.bounds import assert_same_bits
from tests.conftest import AVAILABLE_BACKENDS

D, H, K = 6, 24, 3
RNG = np.random.default_rng(7)
MODEL = Model(init_params(D, H, RNG, init="tied"), K)
POOL = RNG.integers(-2, 3, (40, D)) + 0.0  # many are alike: scores tie
POOL[~POOL.any(axis=1)] = 1
CODES = MODEL.encode(POOL.astype("f4"))
ASKED = POOL[::13].astype("f4") + np.float32(0.25)
ASKED_CODES = MODEL.encode(ASKED)
STORED = {
    "encoded": CODES,
    "refined": encode_refined(POOL.astype("f4"), MODEL, K),
    "packed": pack(CODES, 4).unpack(),
    "refined and packed": pack(encode_refined(POOL.astype("f4"), MODEL, K)).unpack(),
    "split": CODES.split_signs(),
}
"""What an index is made of in the law; split codes know no model, and are asked with split codes."""


def all_scores(space, codes, queries=ASKED, query_k=None, backend="numpy"):
    """The score of every item for every query."""
    W_dec = MODEL.params.W_dec
    if space == "asymmetric":
        return asymmetric_cosine(queries, codes, W_dec, backend=backend)
    if space == "expanded":
        return expanded_cosine(queries, codes, W_dec, query_k or min(8 * codes.k, H), backend=backend)
    asked = MODEL.encode(queries, query_k or codes.k, backend=backend)
    if space == "sparse":
        return sparse_cosine(asked, codes, backend=backend)
    return reconstructed_cosine(asked, codes, W_dec, backend=backend)


def truth(scores, ids, top, allowed=None):
    """Ids and scores of the best: a plain sort, −score first, then the id."""
    rows = [row for row in range(len(ids)) if allowed is None or ids[row] in allowed]
    order = [sorted(rows, key=lambda row: (-mine[row], ids[row]))[:top] for mine in scores.tolist()]
    shape = (len(scores), min(top, len(rows)))
    places = np.array(order, np.int64).reshape(shape)
    return [[ids[row] for row in found] for found in order], np.take_along_axis(scores, places, axis=1)


NUMBERS = st.integers(-3, 60) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text("aäb\U0001f600", max_size=3)


class Life(RuleBasedStateMachine):
    """An index and, beside it, a dict of what is in it."""

    kind_of_index, stored = Index, STORED

    def _form(self, codes):
        return codes

    @initialize(
        space=st.sampled_from(SPACES),
        stored=st.sampled_from(sorted(STORED)),
        backend=st.sampled_from(AVAILABLE_BACKENDS),
        ids=st.sampled_from([None, NUMBERS, TEXTS]),
        rows=st.lists(st.integers(0, 39), max_size=30),
        data=st.data(),
    )
    def build(self, space, stored, backend, ids, rows, data):
        self.name, self.split = stored, stored == "split"
        self.codes = self.stored[stored]
        self.space, self.model = ("sparse", None) if self.split else (space, MODEL)
        self.backend, self.kind, self.highest = backend, ids, -1
        given_ids = self._ids(len(rows), {}, data)
        items = self._form(self.codes[rows])
        self.index = self.kind_of_index.build(items, space=self.space, model=self.model, ids=given_ids, backend=backend)
        self.items = dict(zip(range(len(rows)) if given_ids is None else given_ids, rows, strict=True))
        self._see()

    def _ids(self, n, taken, data):
        if self.kind is None:
            return None
        free = self.kind.filter(lambda each: each not in taken)
        return data.draw(st.lists(free, min_size=n, max_size=n, unique=True))

    def _see(self):
        self.highest = max([self.highest, *(each for each in self.items if isinstance(each, int))])

    @rule(rows=st.lists(st.integers(0, 39), max_size=20), data=st.data())
    def add(self, rows, data):
        ids = self._ids(len(rows), self.items, data)
        self.index.add(self._form(self.codes[rows]), ids)
        numbers = range(self.highest + 1, self.highest + 1 + len(rows)) if ids is None else ids
        self.items |= dict(zip(numbers, rows, strict=True))
        self._see()

    @rule(data=st.data())
    def remove(self, data):
        if self.items:
            gone = data.draw(st.lists(st.sampled_from(sorted(self.items)), unique=True))
            self.index.remove(gone)
            for each in gone:
                del self.items[each]

    @rule(data=st.data())
    def add_what_is_there(self, data):
        if self.items:
            again = data.draw(st.sampled_from(sorted(self.items)))
            with pytest.raises(DomainError, match="expected ids that are not in the index"):
                self.index.add(self._form(self.codes[[0]]), [again])

    @rule(number=st.integers(100, 200))
    def remove_what_is_not_there(self, number):
        unknown = str(number) if self.kind is TEXTS else number
        if unknown not in self.items:
            with pytest.raises(DomainError, match=r"expected ids of the index, got .?\d"):
                self.index.remove([*list(self.items)[:2], unknown])

    @rule(backend=st.sampled_from(AVAILABLE_BACKENDS), check=st.booleans())
    def save_and_load(self, backend, check):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index.npz"
            self.index.save(path)
            self.index = self.kind_of_index.load(path, model=self.model, backend=backend, check=check)
            written = path.read_bytes()
            self.index.save(path)
            assert self.backend != backend or path.read_bytes() == written
        self.backend = backend

    @rule(top=st.integers(1, 40), allowed=st.booleans(), data=st.data())
    def find(self, top, allowed, data):
        only = None
        if allowed:
            only = data.draw(st.sets(st.sampled_from(sorted(self.items)) if self.items else st.nothing()))
        asked = MODEL.encode(ASKED).split_signs() if self.split else ASKED
        hits = self.index.search(asked, top, allowed=None if only is None else [*only, *self._strangers()])
        items = self.codes[list(self.items.values())]
        expected = sparse_cosine(asked, items, backend="numpy") if self.split else all_scores(self.space, items)
        ids, scores = truth(expected, list(self.items), top, only)
        assert hits.ids.tolist() == ids
        assert_same_bits(hits.scores, scores)

    def _strangers(self):
        return [] if self.kind is None else ["nobody"] if self.kind is TEXTS else [2**62 + 1]

    @invariant()
    def it_knows_what_is_in_it(self):
        if hasattr(self, "index"):
            assert len(self.index) == len(self.items)
            assert sorted(self.index.ids.tolist()) == sorted(self.items)


Life.TestCase.settings = settings(stateful_step_count=15)
TestLife = Life.TestCase


@pytest.fixture(scope="module", params=AVAILABLE_BACKENDS)
def kept(request, tmp_path_factory):
    """An index file, and its members as NumPy and zipfile see them."""
    path = tmp_path_factory.mktemp("index") / "index.npz"
    Index.build(CODES, model=MODEL, ids=[f"item {row}" for row in range(40)], backend=request.param).save(path)
    return path, request.param


def test_numpy_reads_an_index_file_whose_numbers_begin_with_a_cache_line(kept):
    path, _ = kept
    with np.load(path) as archive, zipfile.ZipFile(path) as zipped, path.open("rb") as file:
        np.testing.assert_array_equal(archive["indices"], CODES.indices)
        ends = np.cumsum(archive["ids_lengths"])
        assert archive["ids"][ends[2] : ends[3]].tobytes() == b"item 3"
        for info in zipped.infolist():
            file.seek(info.header_offset)
            header = file.read(30)
            start = info.header_offset + 30 + header[26] + header[28] + 256 * (header[27] + header[29])
            assert start % 64 == 0
            assert zipped.read(info) == archive.zip.read(info.filename)


def test_what_is_loaded_is_a_copy_when_it_is_changed(kept):
    path, backend = kept
    written = path.read_bytes()
    index = Index.load(path, model=MODEL, backend=backend)
    index._state.segments[0].codes.values[:] = 0
    index.remove(["item 3"])
    index.add(CODES[:1], ["item 3"])
    assert path.read_bytes() == written


def test_every_bit_of_an_index_file_counts(kept, tmp_path):
    """What is altered is refused, or is of no account: names of members, their dates, the room between them."""
    path, backend = kept
    rng, written = np.random.default_rng(0), path.read_bytes()
    expected = Index.load(path, model=MODEL, backend=backend).search(CODES[:3], 40)
    damaged = tmp_path / "damaged.npz"
    refused, messages = 0, set()
    for place in rng.integers(0, len(written), 300).tolist():
        damaged.write_bytes(written[:place] + bytes([written[place] ^ (1 << rng.integers(8))]) + written[place + 1 :])
        try:
            index = Index.load(damaged, model=MODEL, backend=backend)
        except FormatError as error:
            messages.add(str(error))
            refused += 1
            continue
        for a, b in zip(index.search(CODES[:3], 40), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert refused > 150
    assert all(message.startswith(f"{damaged}: ") and "\n" not in message for message in messages)
    for length in (*range(0, len(written), len(written) // 40), len(written) - 1):
        damaged.write_bytes(written[:length])
        for check in (True, False):
            with pytest.raises(FormatError):
                Index.load(damaged, model=MODEL, backend=backend, check=check)


def rewritten(path, out, change, aligned=True):
    """The file with its arrays changed, and with a right digest of each."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    write_npz(out, change(arrays) or arrays, aligned=aligned)
    return out


def put(name, value, at=...):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][at] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("indices", H, (3, 2)), "indices below n_latents"),
        (put("values", np.inf, (3, 2)), "finite values"),
        (put("norms", 0, 3), "finite norms above 0"),
        (put("ids", ord("4"), 6 * 3 + 5), "unique ids, got 'item 4' of row 3 again in row 4"),
        (lambda arrays: {name: arrays[name] for name in arrays if name != "norms"}, "no entry 'norms'"),
        (lambda arrays: {**arrays, "norms": arrays["norms"][1:]}, "40 norms of float32, one for each item"),
        (lambda arrays: {**arrays, "ids": arrays["ids"][1:]}, "ids: expected lengths of at least 0 with the sum 269"),
        (lambda arrays: {**arrays, "ids": arrays["norms"]}, r"ids: expected the UTF-8 bytes \(\|u1\) of 40 ids"),
        (
            lambda arrays: {**arrays, "indices": arrays["indices"].astype("i8")},
            "int32 indices and float",
        ),
        (lambda arrays: {**arrays, "meta": np.array("{}")}, "an index file with format 'compressae-index', got None"),
        (
            lambda arrays: {**arrays, "meta": np.array("[")},
            "an index file, got a file that cannot be read",
        ),
        (lambda arrays: {**arrays, "meta": meta(arrays, version=2)}, "an index file of version 1, got version 2"),
        (lambda arrays: {**arrays, "meta": meta(arrays, version=True)}, "an index file of version 1, got version True"),
        (lambda arrays: {**arrays, "meta": meta(arrays, space="flat")}, "space: expected one of"),
        (
            lambda arrays: {**arrays, "meta": meta(arrays, next_number=0.5)},
            "next_number as an integer or null, got 0",
        ),
    ],
)
def test_an_index_file_at_odds_with_itself_is_refused(kept, tmp_path, change, message):
    path, backend = kept
    out = rewritten(path, tmp_path / "other.npz", change)
    with pytest.raises(FormatError, match=message):
        Index.load(out, model=MODEL, backend=backend)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("fact", ["k", "n_latents", "space", "next_number", "model", "version", "format"])
@pytest.mark.parametrize("value", [True, 0.5, [], {}, [1], -1, 2**70], ids=repr)
def test_no_fact_of_an_index_file_has_another_type(kept, tmp_path, fact, value, check):
    if fact == "next_number" and type(value) is int:
        return
    path, backend = kept
    out = rewritten(path, tmp_path / "other.npz", lambda arrays: {**arrays, "meta": meta(arrays, **{fact: value})})
    with pytest.raises(FormatError, match=re.escape(str(out))):
        Index.load(out, backend=backend, check=check, model=MODEL)


def meta(arrays, **changes):
    return np.array(json.dumps(json.loads(str(arrays["meta"])) | changes))


@pytest.mark.parametrize(
    ("name", "value", "at"),
    [("starts", 3, (0, 0)), ("starts", 10**6, (0, 5)), ("firsts", 7, 1), ("places", 40, 0), ("column_of", 99, (0, 0))],
)
def test_lists_at_odds_with_the_codes_are_refused(tmp_path, name, value, at):
    pytest.importorskip("numba")
    path = tmp_path / "index.npz"
    Index.build(CODES, backend="numba").save(path)
    out = rewritten(path, tmp_path / "other.npz", put(f"lists.{name}", value, at))
    with pytest.raises(FormatError, match="lists that fit the codes"):
        Index.load(out, backend="numba")


def test_an_index_file_of_any_writer_is_read(kept, tmp_path):
    """Numbers that begin anywhere, and no lists."""
    path, backend = kept
    expected = Index.load(path, model=MODEL, backend=backend).search(ASKED, 7)
    no_lists = rewritten(
        path,
        tmp_path / "other.npz",
        lambda arrays: {name: array for name, array in arrays.items() if not name.startswith("lists.")},
        aligned=False,
    )
    for each in (Index.load(no_lists, model=MODEL, backend=name, check=False) for name in AVAILABLE_BACKENDS):
        for a, b in zip(each.search(ASKED, 7), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_compressed_members_cannot_be_mapped(kept, tmp_path):
    path, backend = kept
    with np.load(path) as archive:
        np.savez_compressed(tmp_path / "small.npz", **archive)
    with pytest.raises(FormatError, match="an uncompressed member"):
        Index.load(tmp_path / "small.npz", model=MODEL, backend=backend)


def test_an_index_wants_its_model(kept, tmp_path):
    path, backend = kept
    other = Model(init_params(D, H, np.random.default_rng(1)), K)
    with pytest.raises(DomainError, match=f"^{re.escape(str(path))}: expected codes of model"):
        Index.load(path, model=other, backend=backend)
    Index.build(CODES, space="expanded", model=MODEL, backend=backend).save(tmp_path / "index.npz")
    with pytest.raises(DomainError, match="model: expected the model that made the codes, for the expanded space"):
        Index.load(tmp_path / "index.npz", backend=backend)
    with pytest.raises(OSError, match="no folder"):
        Index.load(path, model=MODEL, backend=backend).save(tmp_path / "no folder" / "index.npz")
    shutil.copy(path, tmp_path / "here.npz")
    index = Index.load(tmp_path / "here.npz", model=MODEL, backend=backend)
    index.remove(["item 0"])
    index.save(tmp_path / "here.npz")
    assert len(Index.load(tmp_path / "here.npz", model=MODEL, backend=backend)) == 39


@pytest.mark.parametrize("space", SPACES)
def test_rescoring_takes_the_best_of_the_best(backend, space):
    """Candidates by the space of the index, then their order by asymmetric cosine, ties by id."""
    ids = np.arange(40)[::-1].copy()
    index = Index.build(CODES[:27], space=space, model=MODEL, ids=ids[:27], backend=backend)
    index.add(CODES[27:], ids[27:])
    assert len(index._state.segments) == 2
    first, second = all_scores(space, CODES), all_scores("asymmetric", CODES)
    for top, rescore in ((1, 1), (3, 10), (40, 40), (5, 1000)):
        hits = index.search(ASKED, top, rescore=rescore)
        for query in range(len(ASKED)):
            near = truth(first[query, None], ids.tolist(), rescore)[0][0]
            rows = [ids.tolist().index(each) for each in near]
            found, scores = truth(second[query, None][:, rows], near, top)
            assert hits.ids[query].tolist() == found[0]
            assert_same_bits(hits.scores[query], scores[0])


@pytest.mark.parametrize("space", SPACES)
def test_no_queries_find_nothing(space, backend):
    index = Index.build(CODES, space=space, model=MODEL, backend=backend)
    for more in ({}, {"rescore": 9}, {"allowed": [1, 2]}):
        hits = index.search(np.empty((0, D), np.float32), 5, **more)
        assert hits.ids.shape == hits.scores.shape == (0, 2 if "allowed" in more else 5)
    with pytest.raises(ShapeError, match=f"queries: expected d = {D} dimensions as in the model, got {D + 1}"):
        index.search(np.empty((0, D + 1), np.float32), 5)


def test_items_may_come_one_by_one(backend):
    index = Index.build(CODES[:0], backend=backend)
    for row in range(40):
        index.add(CODES[[row]])
    assert len(index._state.segments) <= 6
    whole = Index.build(CODES, backend=backend).search(CODES[:5], 40)
    for a, b in zip(index.search(CODES[:5], 40), whole, strict=True):
        assert_same_bits(a, b)


def test_what_was_removed_takes_no_memory_for_long(backend):
    index = Index.build(CODES, backend=backend)
    index.remove(range(30))
    assert [len(segment.codes) for segment in index._state.segments] == [10]
    hits, left = index.search(CODES[:5], 10), Index.build(CODES[30:], backend=backend).search(CODES[:5], 10)
    assert hits.ids.tolist() == (left.ids + 30).tolist()
    assert_same_bits(hits.scores, left.scores)
    index.add(CODES[:1])
    assert index.ids.tolist() == [*range(30, 40), 40]
    index.remove(index.ids)
    assert len(index) == 0
    assert index.search(CODES[:2], 5).ids.shape == (2, 0)
    index.add(CODES[:1])
    assert index.ids.tolist() == [41], "a number is given once"


def test_packed_codes_are_unpacked(backend):
    packed = pack(CODES, 4)
    index = Index.build(packed[:25], model=MODEL, backend=backend)
    index.add(packed[25:])
    for a, b in zip(
        index.search(ASKED, 9), search(ASKED, packed.unpack(), 9, model=MODEL, backend="numpy"), strict=True
    ):
        assert_same_bits(a, b)


def test_expanded_queries_of_all_latents_are_asymmetric(backend):
    full = all_scores("expanded", CODES, query_k=H, backend=backend)
    assert_same_bits(full, all_scores("asymmetric", CODES, backend=backend))
    u = unit_rows(ASKED, np.float32) @ MODEL.params.W_dec.T
    few = expanded_cosine(ASKED, CODES, MODEL.params.W_dec, 4, backend=backend)
    for query in range(len(ASKED)):
        kept = np.sort(np.argsort(-np.abs(u[query]), kind="stable")[:4])
        expected = (
            CODES.to_dense()[:, kept]
            @ u[query, kept]
            / np.linalg.norm(by_reference.decode(CODES, MODEL.params.W_dec), axis=1)
        )
        np.testing.assert_allclose(few[query], expected, rtol=1e-4, atol=1e-6)


build = Index.build


def other(codes):
    return Codes(codes.indices, codes.values, codes.n_latents, "another")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: build(CODES, ids=range(3)), ShapeError, "ids: expected 40 ids, one for each row, got 3"),
        (
            lambda: build(CODES[:3], ids=[1, 2, 1]),
            DomainError,
            "ids: expected unique ids, got 1 of row 0 again",
        ),
        (lambda: build(CODES[:2], ids=["a", 1]), DTypeError, "ids: expected 64-bit integers or strings"),
        (lambda: build(CODES[:2], ids=[0.5, 1]), DTypeError, "ids: expected 64-bit integers or strings"),
        (lambda: build(CODES[:1], ids=[2**63]), DTypeError, "ids: expected 64-bit integers or strings"),
        (lambda: build(CODES[:1], ids="a"), ShapeError, "ids: expected a flat array or list of ids, got 'a'"),
        (lambda: build(CODES[:1], ids=7), ShapeError, "ids: expected a flat array or list of ids, got 7"),
        (
            lambda: build(CODES[:1], ids=["a"]).add(CODES[:1]),
            DTypeError,
            "expected 1 string ids as in the index, got None",
        ),
        (
            lambda: build(CODES[:1], ids=["a"]).add(CODES[:1], [1]),
            DTypeError,
            "got integer ids",
        ),
        (
            lambda: build(CODES[:1], ids=[2**63 - 1]).add(CODES[:1]),
            DomainError,
            "expected automatic ids up to",
        ),
        (
            lambda: build(CODES).add(CODES.truncate(2)),
            ShapeError,
            "expected k = 3 entries as in the index, got 2",
        ),
        (lambda: build(CODES).add(other(CODES)), DomainError, "codes: expected codes of model"),
        (
            lambda: build(CODES).remove([3, 3]),
            DomainError,
            "unique ids, got 3 of row 0 again",
        ),
        (lambda: build(CODES).remove(["a"]), DomainError, "ids: expected ids of the index, got 'a'"),
        (lambda: build(POOL), DTypeError, "codes: expected Codes or PackedCodes, got ndarray"),
        (lambda: build(CODES, space="flat"), DomainError, "space: expected one of sparse, reconstructed, asymm"),
        (lambda: build(CODES, space="expanded"), DomainError, "model: expected the model that made the codes"),
        (
            lambda: build(CODES).search(CODES, rescore=100),
            DomainError,
            "expected the model .* for re-ranking",
        ),
        (
            lambda: build(CODES, model=MODEL).search(ASKED, 10, rescore=9),
            DomainError,
            "rescore: expected at least top = 10 items to re-rank, got 9",
        ),
        (
            lambda: build(CODES, model=MODEL).search(CODES, 10, rescore=20),
            DomainError,
            "queries: expected dense embeddings",
        ),
        (
            lambda: search(CODES, CODES, space="expanded", model=MODEL),
            DomainError,
            "expected dense embeddings for the",
        ),
        (
            lambda: search(ASKED, CODES, space="asymmetric", model=MODEL, query_k=2),
            DomainError,
            "query_k: expected a space",
        ),
        (lambda: search(ASKED, CODES, space="expanded", model=MODEL, query_k=H + 1), DomainError, "query_k: expected"),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_nothing_is_added_or_removed_after_an_error():
    index = build(CODES[:4], ids=["a", "b", "c", "d"])
    for call in (
        lambda: index.add(CODES[:2], ["e", "a"]),
        lambda: index.remove(["a", "z"]),
        lambda: index.remove(["a", "a"]),
    ):
        with pytest.raises(DomainError):
            call()
    assert index.ids.tolist() == ["a", "b", "c", "d"]
    assert index.search(CODES[:1], 9).ids.shape == (1, 4)
    assert get_backend(None) is index.backend


# -- threads, pickles, copies -----------------------------------------------------------------------------------------


class Recorded(Index):
    """An index that remembers all of its states, and lets only the one writer that holds the lock change them."""

    @property
    def _state(self):
        return self.states[-1]

    @_state.setter
    def _state(self, state):
        states = vars(self).setdefault("states", [])
        assert not states or self._lock.locked(), "a writer changes the index without the lock"
        states.append(state)


def in_threads(tasks):
    """Run functions at once, each in its thread, and raise the first error."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()


@pytest.fixture
def _busy_threads():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_busy_threads")
@pytest.mark.parametrize("settings", [{}, {"top": 1}, {"rescore": 30}, {"allowed": range(0, 10_000, 3)}], ids=str)
def test_a_search_sees_one_state_while_others_change_the_index(backend, tmp_path, request, settings):
    """Of 8 threads 2 add and remove, 1 saves and loads, 5 search. Item i has the code of row i modulo 40."""
    calls = max(request.config.getoption("--calls") // 8, 8)
    scores = all_scores("sparse", CODES), all_scores("asymmetric", CODES)
    index = Recorded.build(CODES, model=MODEL, backend=backend)
    kept, ended = {*range(0, 40, 2)}, []

    def write(which):
        rng, mine = np.random.default_rng(which), [*range(1 + 2 * which, 40, 4)]
        new = iter(range(40 + which, 10**6, 2))
        for _ in range(calls):
            if len(mine) < 5 or rng.random() < 0.4:
                added = [next(new) for _ in range(rng.integers(1, 40))]
                index.add(CODES[[item % 40 for item in added]], added)
                mine += added
            else:
                gone = rng.permutation(mine)[: rng.integers(1, len(mine))].tolist()
                index.remove(gone)
                mine = [item for item in mine if item not in {*gone}]
        ended.append(mine)

    def save():
        for _ in range(calls):
            index.save(tmp_path / "index.npz")
            loaded = Index.load(tmp_path / "index.npz", model=MODEL, backend=backend)
            assert {*loaded.ids.tolist()} in [{*state.ids.values[state.ids.alive].tolist()} for state in index.states]

    def read():
        for _ in range(calls):
            first = len(index.states) - 1
            hits = index.search(ASKED, **{"top": 9, **settings})
            states = index.states[first:]
            assert any(equal(hits, state) for state in states), f"{len(states)} states"

    def equal(hits, state):
        ids = state.ids.values[state.ids.alive].tolist()
        rows = [item % 40 for item in ids]
        top, rescore = settings.get("top", 9), settings.get("rescore")
        expected = truth(scores[0][:, rows], ids, rescore or top, settings.get("allowed"))
        if rescore is not None:
            again = [truth(scores[1][[q]][:, [i % 40 for i in near]], near, top) for q, near in enumerate(expected[0])]
            expected = [one[0][0] for one in again], np.concatenate([one[1] for one in again])
        return hits.ids.tolist() == expected[0] and hits.scores.tobytes() == expected[1].tobytes()

    in_threads([lambda: write(0), lambda: write(1), save, *[read] * 5])
    assert {*index.ids.tolist()} == {*kept, *ended[0], *ended[1]}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_a_copy_or_a_pickle_is_the_same_index_and_lives_by_itself(backend, again):
    index = Index.build(CODES[:27], model=MODEL, ids=[f"item {row}" for row in range(27)], backend=backend)
    index.add(CODES[27:], [f"item {row}" for row in range(27, 40)])
    index.remove(["item 4"])
    other = again(index)
    assert other.backend is index.backend
    for a, b in zip(index.search(ASKED, 40, rescore=40), other.search(ASKED, 40, rescore=40), strict=True):
        np.testing.assert_array_equal(a, b)
    writable = index._state.ids._writable_rows()
    assert other._state.ids._writable_rows() is not writable
    other.remove(["item 3"])
    other.add(CODES[:1], ["item 4"])
    index.add(CODES[:2], ["new", "item 4"])
    assert len(index) == 41
    assert len(other) == 39
    assert index.search(CODES[3:4], 1, allowed=["item 3"]).ids.tolist() == [["item 3"]]
    assert other.search(CODES[3:4], 1, allowed=["item 3"]).ids.shape == (1, 0)


def test_a_failed_add_leaves_nothing_behind(backend, monkeypatch):
    index = Index.build(CODES[:9], backend=backend)
    monkeypatch.setattr("compressae_ref.retrieval.index.balanced", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            index.add(CODES[9:], range(9, 40))
    monkeypatch.undo()
    assert index.ids.tolist() == [*range(9)]
    index.add(CODES[9:], range(9, 40))
    for a, b in zip(index.search(ASKED_CODES, 40), search(ASKED_CODES, CODES, 40, backend=backend), strict=True):
        assert_same_bits(a, b)
