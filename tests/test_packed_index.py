"""A packed index: the law of the index, with codes that stay packed, in few bytes for each item."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    Codes,
    DomainError,
    DTypeError,
    FormatError,
    Index,
    Model,
    PackedCodes,
    PackedIndex,
    ShapeError,
    init_params,
    load_packed,
    pack,
    save_packed,
)
from compressae_ref.backends import search_types, unpacked_blocks
from compressae_ref.backends.numpy.bit_packing import BITS, Layout
from compressae_ref.backends.search_types import Items, PackedItems, Queries
from compressae_ref.retrieval import packed_index, packed_items
from compressae_ref.retrieval.spaces import SPACES
from tests import by_reference
from tests import strategies as draw
from tests.bounds import assert_same_bits
from tests.conftest import AVAILABLE_BACKENDS, KERNELS_IN_THREADS, SIMULATED, kernels_in_threads
from tests.test_best_items import by_sorting
from tests.test_index import ASKED, CODES, MODEL, STORED, Life, meta, put, rewritten

BITS_OF = {"packed": 4, "refined and packed": 5, "encoded": 6, "refined": 8, "split": 8}
PACKED = pack(CODES, 4)
OTHERS = Codes(CODES.indices, CODES.values, CODES.n_latents, "0" * 64)


STORED_PACKED = {name: pack(codes, BITS_OF[name]).unpack() for name, codes in STORED.items()}


class PackedLife(Life):
    """The life of an index whose codes stay packed, in chunks of 7."""

    kind_of_index, stored = PackedIndex, STORED_PACKED

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(packed_items, "ROWS_PER_CHUNK", 7)

    def teardown(self):
        self.patch.undo()

    def _form(self, codes):
        return pack(codes, BITS_OF[self.name])


TestPackedLife = PackedLife.TestCase
TestPackedLife.settings = Life.TestCase.settings


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def kernels(request):
    with kernels_in_threads(request.param) as kernels, pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacked_blocks, "ITEMS_PER_BLOCK", 7)
        patch.setattr(search_types, "QUERIES_PER_BLOCK", 20)
        yield kernels


@st.composite
def packed_searches(draw_from):
    """Queries, and packed items in parts, with ties and extreme scales, some forbidden, in any order of ranks."""
    rng, dtype = draw_from(draw.generators()), draw_from(st.sampled_from(draw.DTYPES))
    h, n = draw_from(st.integers(1, 40)), draw_from(st.integers(1, 600) if not SIMULATED else st.integers(1, 40))
    packed = pack(draw_from(draw.codes(st.just(n), np.float32, h)), draw_from(st.sampled_from(BITS)))
    codes = packed.unpack().astype(dtype)
    asked = draw_from(draw.codes(st.integers(0, 40), dtype, h))
    if draw_from(st.booleans()):
        asked = Codes.trusted(asked.indices, (asked.values * 10.0 ** rng.uniform(-12, 12)).astype(dtype), h)
    norms = by_reference.code_norms(codes) if draw_from(st.booleans()) else rng.uniform(0.5, 2, n).astype(dtype)
    ranks = np.arange(n) if draw_from(st.booleans()) else rng.permutation(n)
    allowed = None if draw_from(st.booleans()) else rng.random(n) < draw_from(st.sampled_from([0, 0.1, 0.9]))
    queries = Queries(asked if draw_from(st.booleans()) else asked.to_dense(), by_reference.code_norms(asked))
    cuts = np.sort(rng.integers(0, n + 1, draw_from(st.integers(0, 3))))
    parts = []
    for rows in np.split(np.arange(n), cuts):
        part = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        own = np.asarray(ranks[part], draw_from(st.sampled_from([np.int32, np.int64])))
        consecutive = len(own) and (np.diff(own) == 1).all()
        own = range(int(own[0]), int(own[-1]) + 1) if consecutive and draw_from(st.booleans()) else own
        mask = None if allowed is None else allowed[part]
        parts.append(PackedItems(packed.data[part], h, packed.k, packed.bits, norms[part], own, mask))
    return queries, parts, Items(codes, norms, ranks, allowed, None)


@given(search=packed_searches(), top=st.integers(1, 80))
def test_packed_items_are_found_as_by_a_sort_of_all_scores(kernels, search, top):
    queries, parts, items = search
    hits, truth = kernels.best_packed_items(queries, parts, top), by_sorting(queries, items, top)
    assert_same_bits(hits.ids, truth.ids)
    assert_same_bits(hits.scores, truth.scores)


@pytest.mark.skipif("numba" not in AVAILABLE_BACKENDS, reason="reads bytes without a check")
@given(content=draw.generators(), h=st.integers(1, 5000), bits=st.sampled_from(BITS), data=st.data())
def test_bytes_that_packing_cannot_produce_never_lead_out_of_the_arrays(content, h, bits, data):
    k = data.draw(st.integers(1, min(h, 40)))
    rows = content.integers(0, 256, (300, Layout.of(h, k, bits).row_bytes), np.uint8)
    with kernels_in_threads("numba, 1 thread") as kernels:
        part = PackedItems(rows, h, k, bits, np.ones(300, np.float32), range(300), None)
        hits = kernels.best_packed_items(Queries(np.ones((2, h), np.float32), np.ones(2, np.float32)), [part], 10)
    assert (hits.ids >= 0).all()
    assert (hits.ids < 300).all()
    assert (np.abs(hits.scores) <= k).all()


def random_packed(n, h=4096, k=32, seed=0):
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.integers(0, h - k, (n, k)), axis=1) + np.arange(k)
    return pack(Codes(indices.astype(np.int32), rng.standard_normal((n, k)).astype(np.float32), h))


@pytest.mark.parametrize(("ids", "size"), [(None, 60), ("32 bits", 64), ("64 bits", 68)])
def test_an_item_takes_at_most_64_bytes(ids, size):
    packed, n = random_packed(100_000), 100_000
    ids = {None: None, "32 bits": np.arange(n) * 3, "64 bits": np.arange(n) * 2**40}[ids]
    tracemalloc.start()
    index = PackedIndex.build(packed, ids=ids)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.nbytes == size * n
    assert taken <= (size - 56) * n + 50_000  # the codes themselves are those of `packed`


def assert_same_hits(found, expected):
    assert found.ids.tolist() == expected.ids.tolist()
    assert_same_bits(found.scores, expected.scores)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("space", SPACES)
def test_it_finds_what_the_index_finds(backend, space):
    ids = [f"item {row:02}" for row in range(40)]
    ours = PackedIndex.build(PACKED, space=space, model=MODEL, ids=ids, backend=backend)
    index = Index.build(PACKED, space=space, model=MODEL, ids=ids, backend=backend)
    for settings in ({}, {"allowed": ids[::3]}, {"rescore": 9}, {"allowed": []}, {"zero_rows": "empty"}):
        queries = np.vstack([ASKED, np.zeros_like(ASKED[:1])]) if settings.get("zero_rows") else ASKED
        for found, expected in zip(
            ours.search(queries, 7, **settings), index.search(queries, 7, **settings), strict=True
        ):
            assert_same_bits(found, expected)


def test_refined_codes_are_searched_with_dense_queries():
    packed = pack(STORED["refined"])
    assert PackedIndex.build(packed, model=MODEL).space == "asymmetric"
    with pytest.raises(DomainError, match="expected the model that made the codes, for refined codes"):
        PackedIndex.build(packed)


@pytest.fixture(scope="module", params=AVAILABLE_BACKENDS)
def kept(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "index.npz"
    ids = [f"item {row:02}" for row in range(40)]
    index = PackedIndex.build(PACKED, space="asymmetric", model=MODEL, ids=ids, backend=request.param)
    index.save(path)
    return path, index


@pytest.mark.parametrize("check", [True, False])
def test_its_file_is_one_of_packed_codes_and_keeps_the_norms(kept, check, monkeypatch):
    path, index = kept
    assert_same_bits(load_packed(path).data, PACKED.data)
    monkeypatch.setattr(packed_index, "checked_item_norms", None)
    again = PackedIndex.load(path, model=MODEL, backend=index.backend, check=check)
    assert again.space == "asymmetric"
    assert again.ids.tolist() == index.ids.tolist()
    assert_same_hits(again.search(ASKED, 7), index.search(ASKED, 7))


@pytest.mark.parametrize("check", [True, False])
def test_norms_of_another_space_or_model_are_computed_again(kept, check, tmp_path):
    path, _ = kept
    sparse = PackedIndex.load(path, space="sparse", model=MODEL, check=check)
    assert_same_bits(sparse.search(ASKED, 7).scores, Index.build(PACKED, model=MODEL).search(ASKED, 7).scores)
    other = Model(init_params(MODEL.params.d, MODEL.params.n_latents, np.random.default_rng(5)), MODEL.k)
    unknown = PackedCodes(PACKED.data, PACKED.n_latents, PACKED.k, PACKED.bits)
    PackedIndex.build(unknown, space="asymmetric", model=MODEL).save(tmp_path / "unknown.npz")
    found = PackedIndex.load(tmp_path / "unknown.npz", model=other, check=check).search(ASKED, 7)
    expected = Index.build(unknown, space="asymmetric", model=other).search(ASKED, 7)
    assert_same_bits(found.scores, expected.scores)
    with pytest.raises(DomainError, match="expected codes of model"):
        PackedIndex.load(path, model=other, check=check)


@pytest.mark.parametrize("check", [True, False])
def test_any_file_of_packed_codes_is_an_index(check, tmp_path):
    save_packed(tmp_path / "packed.npz", PACKED, np.arange(40) * 2)
    index = PackedIndex.load(tmp_path / "packed.npz", model=MODEL, check=check)
    index.add(PACKED[:1])
    assert index.ids.tolist() == [*range(0, 80, 2), 79]
    empty = tmp_path / "empty.npz"
    save_packed(empty, PACKED[:0])
    assert PackedIndex.load(empty, model=MODEL, check=check).search(ASKED, 7).ids.shape == (len(ASKED), 0)


def test_a_mapped_file_with_a_damaged_norm_is_refused(kept, tmp_path):
    out = rewritten(kept[0], tmp_path / "other.npz", put("norms", np.nan, 3))
    with pytest.raises(FormatError, match="expected finite norms above 0, got nan in row 3"):
        PackedIndex.load(out, model=MODEL, check=False)


def test_plain_codes_can_join_refined_ones(tmp_path):
    index = PackedIndex.build(pack(STORED["refined"]), model=MODEL)
    with pytest.raises(DomainError, match="expected ids that are not in the index"):
        index.add(pack(CODES), range(40))
    assert index.like.refined  # nothing was added
    index.add(pack(CODES))
    index.save(tmp_path / "index.npz")
    assert not load_packed(tmp_path / "index.npz").refined
    assert PackedIndex.load(tmp_path / "index.npz", model=MODEL).space == "asymmetric"


def test_each_loader_names_the_other(kept, tmp_path):
    Index.build(CODES, model=MODEL).save(tmp_path / "index.npz")
    with pytest.raises(FormatError, match=r"PackedIndex\.load reads packed codes"):
        Index.load(kept[0], model=MODEL)
    with pytest.raises(FormatError, match=r"Index\.load reads index files"):
        PackedIndex.load(tmp_path / "index.npz", model=MODEL)


def test_a_mapped_file_is_not_changed_by_its_index(kept):
    path, index = kept
    written = path.read_bytes()
    mapped = PackedIndex.load(path, model=MODEL, check=False)
    mapped.remove(["item 03"])
    mapped.add(PACKED[:1], ["item 03"])
    assert path.read_bytes() == written
    assert len(mapped) == len(index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("packed", 255, (3, 0)), "bytes that packing cannot produce in row 3"),
        (put("norms", np.nan, 3), "expected finite norms above 0, got nan in row 3"),
        (lambda arrays: {**arrays, "norms": arrays["norms"][1:]}, "expected 40 norms, one for each item, got float32"),
        (lambda arrays: {name: arrays[name] for name in arrays if name != "norms"}, "expected 40 norms, .* got none"),
        (lambda arrays: {**arrays, "meta": meta(arrays, index={"space": "flat"})}, "expected index with space, model"),
        (lambda arrays: {**arrays, "meta": meta(arrays, index=3)}, "expected index with space, model"),
        (lambda arrays: {**arrays, "meta": facts(space="flat")(arrays)}, "space: expected one of sparse"),
        (lambda arrays: {**arrays, "meta": facts(next_number=-1)(arrays)}, "a next_number from 0"),
        (lambda arrays: {**arrays, "meta": facts(next_number=True)(arrays)}, "a next_number from 0"),
        (lambda arrays: {**arrays, "meta": facts(model=3)(arrays)}, "a digest or null"),
    ],
)
def test_a_file_at_odds_with_itself_is_refused(kept, tmp_path, change, message):
    out = rewritten(kept[0], tmp_path / "other.npz", change)
    with pytest.raises(FormatError, match=message) as refused:
        PackedIndex.load(out, model=MODEL)
    assert str(refused.value).startswith(f"{out}: ")


def facts(**changes):
    return lambda arrays: meta(arrays, index={"space": "sparse", "model": None, "next_number": 40} | changes)


@pytest.mark.parametrize("share", np.linspace(0, 0.99, 12).tolist())
def test_a_file_that_is_cut_off_is_refused_also_when_it_is_mapped(kept, tmp_path, share):
    path, _ = kept
    cut = tmp_path / "cut.npz"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for check in (True, False):
        with pytest.raises(FormatError, match=str(cut)):
            PackedIndex.load(cut, model=MODEL, check=check)


def test_copies_and_pickles_change_independently(kept):
    _, index = kept
    for other in (copy.copy(index), copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        other.remove(["item 07"])
        assert (len(other), len(index)) == (39, 40)
        found = other.search(ASKED, 40).ids
        assert "item 07" not in found
        assert "item 07" in index.search(ASKED, 40).ids


def test_searches_see_the_items_before_or_after_a_change():
    index = PackedIndex.build(PACKED, model=MODEL)
    before, more = set(range(40)), PACKED[:10]

    def change():
        for _ in range(30):
            index.add(more)
            index.remove(index.ids[40:])

    with ThreadPoolExecutor(3) as pool:
        changing = pool.submit(change)
        while not changing.done():
            ids = index.search(ASKED[:1], 60).ids[0].tolist()
            assert before <= set(ids)
            assert len(ids) in (40, 50)
        changing.result()


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda index: index.add(CODES), DTypeError, r"packed: expected PackedCodes, got Codes; pack\(codes\) packs"),
        (lambda index: index.add(PACKED.data), DTypeError, "packed: expected PackedCodes, got ndarray"),
        (
            lambda index: index.add(pack(CODES, 8)),
            ShapeError,
            "expected bits = 4 bits of a value as in the index, got 8",
        ),
        (
            lambda index: index.add(pack(CODES.truncate(2), 4)),
            ShapeError,
            "expected k = 3 entries as in the index, got 2",
        ),
        (
            lambda index: index.add(pack(OTHERS, 4)),
            DomainError,
            "expected codes of model .* as the items, got codes of",
        ),
        (lambda index: index.add(PACKED[:2], [90, 90]), DomainError, "expected unique ids"),
        (lambda index: index.add(PACKED[:2], [90, 3]), DomainError, "expected ids that are not in the index, got 3"),
        (lambda index: index.add(PACKED[:1], ["a"]), DTypeError, "expected integer ids as in the index, got string"),
        (lambda index: index.remove([1, 90]), DomainError, "expected ids of the index, got 90"),
        (lambda index: index.remove(["a"]), DomainError, "expected ids of the index, got 'a'"),
        (lambda index: index.search(ASKED, 0), DomainError, "top"),
        (lambda index: index.search(ASKED, 10, rescore=9), DomainError, "expected at least top = 10 items"),
        (lambda index: index.search(CODES, 5, rescore=9), DomainError, "expected dense embeddings to re-rank"),
    ],
)
def test_what_cannot_be_done_changes_nothing(act, error, message):
    index = PackedIndex.build(PACKED, model=MODEL)
    with pytest.raises(error, match=message):
        act(index)
    assert index.ids.tolist() == [*range(40)]
    assert_same_bits(index.search(ASKED, 9).ids, Index.build(PACKED, model=MODEL).search(ASKED, 9).ids)


def test_the_first_bad_row_is_named_across_blocks(monkeypatch):
    from compressae_ref.extensions import packed_codes

    monkeypatch.setattr(packed_codes, "ROWS_PER_BLOCK", 8)
    data = PACKED.data.copy()
    data[[21, 30]] = 255
    bad = PackedCodes(data, PACKED.n_latents, PACKED.k, PACKED.bits, PACKED.model)
    with pytest.raises(FormatError, match="in row 21"):
        PackedIndex.build(bad, model=MODEL)
